//! What a header must hold so that llama.cpp can run on it: sizes in range, tensors that fit them, numbers that are
//! neither infinite nor undefined.
//!
//! The bounds are those that llama.cpp asserts (`load_hparams`, `load_tensors`, the graph builders), so that a file that
//! breaks one is refused by name instead of ending the process.

use super::{Header, Tensor, Value, types, vocabulary};
use crate::error::{Error, ErrorKind, Result};

/// Most layers that llama.cpp holds (`LLAMA_MAX_LAYERS`).
const MAX_LAYERS: u64 = 512;
/// Most experts that llama.cpp holds (`LLAMA_MAX_EXPERTS`).
const MAX_EXPERTS: u64 = 1024;
/// Largest width of a layer, and of a feed-forward layer: far above the largest models.
const MAX_WIDTH: u64 = 1 << 20;
/// Most heads of attention, and the largest size of one.
const MAX_HEADS: u64 = 1 << 14;
/// Longest context that llama.cpp can count with signed numbers.
const MAX_CONTEXT: u64 = 1 << 30;
/// A context below this is too small for a judgment.
const MIN_CONTEXT: u64 = 64;

/// Architectures in which every layer has attention over its own queries, keys and values, stored apart or together.
const PLAIN_ATTENTION: &[&str] = &[
    "llama",
    "mistral3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "gemma",
    "gemma2",
    "gemma3",
    "phi3",
    "phimoe",
    "smollm3",
    "olmo",
    "olmo2",
    "olmoe",
    "granite",
    "granitemoe",
    "internlm2",
    "exaone",
    "exaone4",
    "starcoder2",
    "command-r",
    "cohere2",
    "glm4",
    "stablelm",
    "baichuan",
    "xverse",
    "orion",
    "minicpm",
    "seed_oss",
    "ernie4_5",
    "hunyuan-dense",
    "arcee",
    "apertus",
    "nemotron",
    "dream",
    "llada",
];

pub(super) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidModel, message))
}

impl Header {
    /// Checks everything that the header says. See the module.
    pub(super) fn check(&self) -> Result<()> {
        self.check_kind()?;
        self.check_numbers()?;
        self.check_sizes()?;
        self.check_heads()?;
        self.check_experts()?;
        self.check_rope()?;
        vocabulary::check(self)?;
        self.check_tensors()
    }

    /// Whether the file is a language model that generates text.
    fn check_kind(&self) -> Result<()> {
        let kind = self.text("general.type").unwrap_or("model");
        let architecture = self.architecture();
        if kind != "model" || architecture == "clip" {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "is a file of the kind {kind:?} for {architecture:?}, not a language model: name the model itself"
                ),
            ));
        }
        if architecture.is_empty() {
            return invalid("names no architecture (general.architecture): not a language model");
        }
        if architecture.len() > 64 || !architecture.bytes().all(|byte| byte.is_ascii_graphic()) {
            return invalid(format!("general.architecture is {architecture:?}: damaged"));
        }
        let prefix = self.key("");
        if !self.values.keys().any(|key| key.starts_with(&prefix)) {
            return invalid(format!(
                "general.architecture is {architecture:?}, but no key begins with that name: an unknown model \
                 architecture, or a damaged file"
            ));
        }
        if self.get(&self.key("attention.causal")) == Some(&Value::Bool(false)) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{} is false: such a model embeds texts and cannot write any", self.key("attention.causal")),
            ));
        }
        Ok(())
    }

    /// No number is infinite or undefined, and every divisor is positive.
    fn check_numbers(&self) -> Result<()> {
        for (key, value) in &self.values {
            let (least, most) = match value {
                Value::Float(number) => (*number, *number),
                Value::Floats(numbers) => match numbers.iter().position(|number| !number.is_finite()) {
                    Some(place) => return invalid(format!("{key}[{place}] is {}: damaged", numbers[place])),
                    None => continue,
                },
                _ => continue,
            };
            if !least.is_finite() {
                return invalid(format!("{key} is {least}: damaged"));
            }
            let positive = ["epsilon", "freq_base", "freq_base_swa", "freq_base_per_layer"];
            if positive.iter().any(|name| key.ends_with(name)) && least <= 0.0 {
                return invalid(format!("{key} is {least}: it must be above 0"));
            }
            if key.ends_with("epsilon") && most > 1.0 {
                return invalid(format!("{key} is {most}: it must be at most 1"));
            }
            if key.contains(".rope.scaling.") && least < 0.0 {
                return invalid(format!("{key} is {least}: it must not be negative"));
            }
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        self.required("context_length", MIN_CONTEXT, MAX_CONTEXT)?;
        self.required("block_count", 1, MAX_LAYERS)?;
        self.required("embedding_length", 1, MAX_WIDTH)?;
        self.per_layer("feed_forward_length", 0, MAX_WIDTH)?;
        for name in ["embedding_length_out", "expert_feed_forward_length", "expert_shared_feed_forward_length"] {
            self.optional(name, 0, MAX_WIDTH)?;
        }
        let layers = self.size("block_count").unwrap_or(0);
        self.optional("nextn_predict_layers", 0, layers.saturating_sub(1))?;
        self.optional("leading_dense_block_count", 0, layers)?;
        self.optional("attention.sliding_window", 0, MAX_CONTEXT)?;
        for name in ["q_lora_rank", "kv_lora_rank"] {
            self.optional(&format!("attention.{name}"), 0, MAX_WIDTH)?;
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<()> {
        self.per_layer("attention.head_count", 0, MAX_HEADS)?;
        self.per_layer("attention.head_count_kv", 0, MAX_HEADS)?;
        for name in
            ["key_length", "value_length", "key_length_swa", "value_length_swa", "key_length_mla", "value_length_mla"]
        {
            self.optional(&format!("attention.{name}"), 1, MAX_HEADS)?;
        }
        let (Some(heads), width) = (self.size("attention.head_count"), self.size("embedding_length").unwrap_or(0))
        else {
            return Ok(());
        };
        let key = self.key("attention.head_count");
        let plain = PLAIN_ATTENTION.contains(&self.architecture());
        if heads == 0 && plain {
            return invalid(format!("{key} is 0: damaged"));
        }
        if heads > 0 && self.size("attention.key_length").is_none() && width / heads == 0 {
            return invalid(format!("{key} is {heads}, more than the width of a layer ({width}): damaged"));
        }
        if let Some(shared) = self.size("attention.head_count_kv") {
            let key = self.key("attention.head_count_kv");
            if (shared == 0 && plain) || shared > heads || (shared > 0 && !heads.is_multiple_of(shared)) {
                return invalid(format!("{key} is {shared}: it must divide the {heads} heads of attention"));
            }
        }
        Ok(())
    }

    fn check_experts(&self) -> Result<()> {
        let experts = self.optional("expert_count", 0, MAX_EXPERTS)?.unwrap_or(0);
        self.per_layer("expert_used_count", 0, experts)?;
        if experts > 0 && self.most("expert_used_count").is_none_or(|used| used == 0) {
            return invalid(format!("{} must be from 1 to {experts}: damaged", self.key("expert_used_count")));
        }
        let groups = self.optional("expert_group_count", 0, experts.saturating_sub(1))?.unwrap_or(0);
        if groups > 1 {
            if !experts.is_multiple_of(groups) {
                return invalid(format!(
                    "{} is {groups}: it must divide the {experts} experts",
                    self.key("expert_group_count")
                ));
            }
            let used = self.optional("expert_group_used_count", 1, groups - 1)?;
            if used.is_none() {
                return invalid(format!("{} is missing: damaged", self.key("expert_group_used_count")));
            }
        }
        Ok(())
    }

    fn check_rope(&self) -> Result<()> {
        if let Some(kind) = self.text(&self.key("rope.scaling.type"))
            && !["none", "linear", "yarn", "longrope"].contains(&kind)
        {
            return invalid(format!(
                "{} is {kind:?}: llama.cpp knows none, linear, yarn and longrope",
                self.key("rope.scaling.type")
            ));
        }
        self.optional("rope.scaling.original_context_length", 1, MAX_CONTEXT)?;
        let head = self.size("attention.key_length").or_else(|| {
            let heads = self.most("attention.head_count").filter(|&heads| heads > 0)?;
            Some(self.size("embedding_length")? / heads)
        });
        for name in ["rope.dimension_count", "rope.dimension_count_swa"] {
            let most = if name.ends_with("swa") { MAX_HEADS } else { head.unwrap_or(MAX_HEADS) };
            if let Some(dimensions) = self.optional(name, 0, most)?
                && dimensions % 2 == 1
            {
                return invalid(format!("{} is {dimensions}: it must be even", self.key(name)));
            }
        }
        if let Some(sections) = self.ints(&self.key("rope.dimension_sections"))
            && (sections.len() > 4 || sections.iter().any(|&section| !(0..=1 << 14).contains(&section)))
        {
            return invalid(format!("{} is {sections:?}: damaged", self.key("rope.dimension_sections")));
        }
        Ok(())
    }

    fn check_tensors(&self) -> Result<()> {
        let width = self.size("embedding_length").unwrap_or(0);
        let layers = self.size("block_count").unwrap_or(0);
        let tokens = self.texts(vocabulary::TOKENS).map_or(0, super::Texts::len) as u64;
        for (name, tensor) in &self.tensors {
            self.check_tensor(name, tensor, layers)?;
        }
        self.check_table("token_embd.weight", width, tokens, true)?;
        self.check_table("output.weight", width, tokens, false)?;
        if PLAIN_ATTENTION.contains(&self.architecture()) {
            for layer in 0..layers {
                self.check_attention(layer)?;
            }
        }
        Ok(())
    }

    fn check_tensor(&self, name: &str, tensor: &Tensor, layers: u64) -> Result<()> {
        if let Some(layer) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')?.0.parse::<u64>().ok())
            && layer >= layers
        {
            return invalid(format!("tensor {name:?} belongs to no layer: {} is {layers}", self.key("block_count")));
        }
        let vector = tensor.dimensions == 1 || tensor.shape[1..] == [1, 1, 1];
        let of_vectors = ["norm.weight", "norm.bias", ".bias", "rope_freqs.weight", "rope_factors_long.weight"];
        if of_vectors.iter().any(|ending| name.ends_with(ending)) {
            if tensor.kind != types::F32 {
                return invalid(format!(
                    "tensor {name:?} has the type {}, but norms and biases are computed in f32: convert the model again",
                    types::name(tensor.kind)
                ));
            }
        } else if !vector && name.ends_with(".weight") && !types::can_multiply(tensor.kind) && !name.contains("tid2eid")
        {
            return invalid(format!(
                "tensor {name:?} has the type {}, which matrices cannot be multiplied in: convert the model again",
                types::name(tensor.kind)
            ));
        }
        Ok(())
    }

    /// The two tables that have a row for each token.
    fn check_table(&self, name: &str, width: u64, tokens: u64, required: bool) -> Result<()> {
        let Some(tensor) = self.tensor(name) else {
            return if required {
                invalid(format!("holds no tensor {name:?}: not a language model, or damaged"))
            } else {
                Ok(())
            };
        };
        if tensor.shape != [width, tokens, 1, 1] {
            return invalid(format!(
                "tensor {name:?} has the shape {:?}, but {} is {width} and the vocabulary has {tokens} tokens",
                &tensor.shape[..tensor.dimensions],
                self.key("embedding_length")
            ));
        }
        Ok(())
    }

    fn check_attention(&self, layer: u64) -> Result<()> {
        let name = |part: &str| format!("blk.{layer}.attn_{part}.weight");
        if self.tensor(&name("qkv")).is_some() {
            return Ok(());
        }
        match ["q", "k", "v"].map(name).into_iter().find(|name| self.tensor(name).is_none()) {
            Some(missing) => {
                invalid(format!("holds no tensor {missing:?}: damaged, or cut short when it was converted"))
            }
            None => Ok(()),
        }
    }

    /// A key of the model's architecture.
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture())
    }

    /// A whole number that must be present and in its range.
    fn required(&self, name: &str, least: u64, most: u64) -> Result<u64> {
        self.optional(name, least, most)?.map_or_else(
            || {
                invalid(format!(
                    "{} is missing: unknown model architecture {:?}, or no language model, or damaged",
                    self.key(name),
                    self.architecture()
                ))
            },
            Ok,
        )
    }

    /// A whole number that must be in its range if it is present.
    fn optional(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>> {
        let key = self.key(name);
        match self.get(&key) {
            None => Ok(None),
            Some(Value::Int(number)) => self.in_range(&key, *number, least, most).map(Some),
            // In models with several kinds of layers, each kind has its own number.
            Some(Value::Ints(numbers)) if numbers.len() as u64 <= MAX_LAYERS => {
                for &number in numbers {
                    self.in_range(&key, number, least, most)?;
                }
                Ok(None)
            }
            Some(_) => invalid(format!("{key} is no whole number: damaged")),
        }
    }

    /// A whole number, or one for each layer.
    fn per_layer(&self, name: &str, least: u64, most: u64) -> Result<()> {
        let key = self.key(name);
        if let Some(Value::Ints(numbers)) = self.get(&key)
            && Some(numbers.len() as u64) != self.size("block_count")
        {
            return invalid(format!(
                "{key} has {} entries, but {} is {}",
                numbers.len(),
                self.key("block_count"),
                self.size("block_count").unwrap_or(0)
            ));
        }
        self.optional(name, least, most).map(drop)
    }

    /// The largest of a number's values over the layers.
    pub(in crate::engine::local) fn most(&self, name: &str) -> Option<u64> {
        match self.get(&self.key(name))? {
            Value::Int(number) => u64::try_from(*number).ok(),
            Value::Ints(numbers) => numbers.iter().filter_map(|&number| u64::try_from(number).ok()).max(),
            _ => None,
        }
    }

    #[expect(clippy::unused_self, reason = "reads as the others do")]
    fn in_range(&self, key: &str, number: i64, least: u64, most: u64) -> Result<u64> {
        match u64::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => invalid(format!(
                "{key} is {number}: it must be from {least} to {most}; the file is damaged, or not for judging"
            )),
        }
    }
}
