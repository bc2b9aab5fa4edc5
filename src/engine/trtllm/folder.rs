//! An engine folder: the output of `trtllm-build`, with the tokenizer and the profile beside it. All of it is checked
//! here, before the library is touched.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{TrtllmConfig, TrtllmMode};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::read_bounded;

/// Releases whose engines and library this adapter can drive: from the first to the last, including patches.
const FIRST: (u32, u32, u32) = (1, 0, 0);
const LAST: (u32, u32, u32) = (1, 2, 1);
/// Architectures whose engines were examined.
const ARCHITECTURES: [&str; 2] = ["Qwen3ForCausalLM", "Qwen3MoeForCausalLM"];
/// Types of logits that the executor's guided decoder accepts.
const LOGITS: [&str; 2] = ["float32", "float16"];
const MAX_JSON_BYTES: u64 = 16 << 20;
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
/// Most GPUs of one engine.
const MAX_RANKS: u32 = 64;

/// The content of an engine folder.
#[derive(Debug)]
pub(super) struct EngineFolder {
    pub(super) path: PathBuf,
    /// The release that built it.
    pub(super) version: String,
    pub(super) vocabulary: usize,
    pub(super) max_input_tokens: usize,
    pub(super) max_tokens: usize,
    pub(super) max_batch_size: u32,
    pub(super) tokens_per_block: usize,
    pub(super) ranks: u32,
    pub(super) pipeline_ranks: u32,
    pub(super) tokenizer_json: Vec<u8>,
    pub(super) chat_template: String,
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    /// Ids of the tokens that end a text, if `generation_config.json` names them.
    pub(super) ends: Vec<u32>,
}

#[derive(Deserialize)]
struct ConfigFile {
    version: Option<String>,
    pretrained_config: Option<Pretrained>,
    build_config: Option<Build>,
}

#[derive(Deserialize)]
struct Pretrained {
    architecture: String,
    vocab_size: usize,
    logits_dtype: Option<String>,
    #[serde(default)]
    mapping: Mapping,
}

#[derive(Deserialize)]
#[serde(default)]
struct Mapping {
    world_size: u32,
    pp_size: u32,
}

impl Default for Mapping {
    fn default() -> Self {
        Self { world_size: 1, pp_size: 1 }
    }
}

#[derive(Deserialize)]
struct Build {
    max_input_len: usize,
    max_seq_len: usize,
    max_batch_size: u32,
    max_num_tokens: usize,
    kv_cache_type: Option<String>,
    #[serde(default)]
    plugin_config: Plugins,
}

#[derive(Default, Deserialize)]
struct Plugins {
    use_paged_context_fmha: Option<bool>,
    tokens_per_block: Option<usize>,
}

#[derive(Default, Deserialize)]
struct TokenizerConfig {
    chat_template: Option<Value>,
    bos_token: Option<Value>,
    eos_token: Option<Value>,
}

#[derive(Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Value>,
}

fn invalid(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("{}: {what}", path.display()))
}

fn unsupported(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{}: {what}", path.display()))
}

/// Reads a file that must exist; `what_to_do` ends the message if it does not.
fn read(path: &Path, limit: u64, what_to_do: &str) -> Result<Vec<u8>> {
    read_bounded(path, limit).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid(path, format!("is missing: {what_to_do}")),
        _ => invalid(path, format!("cannot be read: {error}")),
    })
}

fn parse<T: DeserializeOwned + Send>(path: &Path, bytes: &[u8]) -> Result<T> {
    crate::json::read(bytes).map_err(|error| invalid(path, format!("is not what trtllm-build writes: {error}")))
}

/// Reads a JSON file that may be missing.
fn optional<T: Default + DeserializeOwned + Send>(path: &Path) -> Result<T> {
    match read_bounded(path, MAX_JSON_BYTES) {
        Ok(bytes) => crate::json::read(&bytes).map_err(|error| invalid(path, format!("is not valid JSON: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(invalid(path, format!("cannot be read: {error}"))),
    }
}

/// The release in a version; anything after the numbers (`rc1`, `.post1`) is ignored.
fn release(version: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().ok()
    });
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// Whether this adapter can drive a release.
pub(super) fn is_supported(version: &str) -> bool {
    release(version).is_some_and(|release| (FIRST..=LAST).contains(&release))
}

/// Whether an engine of one release runs on the library of another: patches of one minor release are compatible.
pub(super) fn runs_on(engine: &str, library: &str) -> bool {
    match (release(engine), release(library)) {
        (Some(engine), Some(library)) => (engine.0, engine.1) == (library.0, library.1),
        _ => false,
    }
}

impl EngineFolder {
    /// Reads and checks the folder.
    ///
    /// # Errors
    /// Each thing that can be wrong has its own message: the release, the architecture, a missing rank, tokenizer or
    /// template, a setting that the engine was not built for.
    pub(super) fn read(path: &Path, config: &TrtllmConfig) -> Result<Self> {
        let file = path.join("config.json");
        let bytes = read(&file, MAX_JSON_BYTES, "it is part of every engine folder; run trtllm-build again")?;
        let ConfigFile { version, pretrained_config, build_config } = parse(&file, &bytes)?;
        let version = version.ok_or_else(|| invalid(&file, "has no version: it is not an engine's"))?;
        if !is_supported(&version) {
            return Err(unsupported(
                &file,
                format!(
                    "the engine was built by TensorRT-LLM {version}; this adapter drives 1.0 to 1.2.1: build the engine \
                     again with one of them"
                ),
            ));
        }
        let (Some(model), Some(build)) = (pretrained_config, build_config) else {
            return Err(invalid(
                &file,
                "has no pretrained_config or no build_config: it is a checkpoint's, not an engine's; run trtllm-build",
            ));
        };
        if !ARCHITECTURES.contains(&model.architecture.as_str()) {
            return Err(unsupported(
                &file,
                format!("the engine is a {}; this adapter drives {}", model.architecture, ARCHITECTURES.join(" and ")),
            ));
        }
        if let Some(dtype) = model.logits_dtype.as_deref().filter(|dtype| !LOGITS.contains(dtype)) {
            return Err(unsupported(
                &file,
                format!(
                    "the engine computes logits of type {dtype}, which grammars cannot mask and score distributions cannot \
                     be read from: build it with --logits_dtype float32"
                ),
            ));
        }
        check_ranks(path, &model.mapping, config)?;
        check_build(&file, &build, config)?;
        let tokenizer_json = read(
            &path.join("tokenizer.json"),
            MAX_TOKENIZER_BYTES,
            "copy the Hugging Face model's tokenizer.json, tokenizer_config.json and generation_config.json there",
        )?;
        let tokenizer: TokenizerConfig = optional(&path.join("tokenizer_config.json"))?;
        let generation: GenerationConfig = optional(&path.join("generation_config.json"))?;
        Ok(Self {
            path: path.to_owned(),
            version,
            vocabulary: model.vocab_size,
            max_input_tokens: build.max_input_len,
            max_tokens: build.max_seq_len,
            max_batch_size: build.max_batch_size,
            tokens_per_block: build.plugin_config.tokens_per_block.unwrap_or(32).max(1),
            ranks: model.mapping.world_size,
            pipeline_ranks: model.mapping.pp_size.max(1),
            tokenizer_json,
            chat_template: chat_template(path, tokenizer.chat_template)?,
            bos: token_text(tokenizer.bos_token),
            eos: token_text(tokenizer.eos_token),
            ends: ids(generation.eos_token_id.as_ref()),
        })
    }
}

fn check_ranks(path: &Path, mapping: &Mapping, config: &TrtllmConfig) -> Result<()> {
    let ranks = mapping.world_size;
    if !(1..=MAX_RANKS).contains(&ranks) {
        return Err(invalid(path, format!("config.json names {ranks} ranks: only 1 to {MAX_RANKS} are possible")));
    }
    for rank in 0..ranks {
        let engine = path.join(format!("rank{rank}.engine"));
        match std::fs::metadata(&engine) {
            Ok(meta) if meta.is_file() && meta.len() > 0 => {}
            Ok(_) => return Err(invalid(&engine, "is empty or not a file: build the engine again")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(invalid(
                    &engine,
                    format!("is missing: the engine was built for {ranks} GPUs and has one such file for each"),
                ));
            }
            Err(error) => return Err(invalid(&engine, format!("cannot be read: {error}"))),
        }
    }
    if !config.device_ids.is_empty() && config.device_ids.len() != ranks as usize {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "trtllm.device_ids names {} GPUs, but the engine was built for {ranks}: name that many",
                config.device_ids.len()
            ),
        ));
    }
    // Set by the launchers of Open MPI, MPICH and Slurm.
    let launched = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"];
    if ranks > 1
        && config.mode == TrtllmMode::Leader
        && !launched.iter().any(|name| std::env::var(name).is_ok_and(|size| size == ranks.to_string()))
    {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "{}: the engine was built for {ranks} GPUs: start this program under mpirun -n {ranks}, or set \
                 trtllm.mode to orchestrator and trtllm.worker_path to the vendor's executorWorker",
                path.display()
            ),
        ));
    }
    Ok(())
}

fn check_build(file: &Path, build: &Build, config: &TrtllmConfig) -> Result<()> {
    if build.max_input_len == 0 || build.max_seq_len < 2 {
        return Err(invalid(
            file,
            format!("max_input_len {} and max_seq_len {} leave no room", build.max_input_len, build.max_seq_len),
        ));
    }
    if let Some(kind) = build.kv_cache_type.as_deref().filter(|kind| !kind.eq_ignore_ascii_case("paged")) {
        return Err(unsupported(
            file,
            format!("the engine has a KV cache of type {kind}: build it with --kv_cache_type paged"),
        ));
    }
    if build.plugin_config.use_paged_context_fmha == Some(false) && (config.block_reuse || config.chunked_context) {
        return Err(unsupported(
            file,
            "the engine was built without paged context attention, which reusing KV blocks and chunked context need: \
             build it with --use_paged_context_fmha enable, or set trtllm.block_reuse and trtllm.chunked_context to false",
        ));
    }
    let over = |key: &str, value: u64, most: u64, flag: &str| {
        Err(Error::new(
            ErrorKind::InvalidConfig,
            format!(
                "trtllm.{key} is {value}, but the engine was built for {most}: lower it, or build the engine with a \
                 larger {flag}"
            ),
        ))
    };
    if config.max_batch_size > build.max_batch_size {
        return over("max_batch_size", config.max_batch_size.into(), build.max_batch_size.into(), "--max_batch_size");
    }
    if config.max_batch_tokens as usize > build.max_num_tokens {
        let (value, most) = (u64::from(config.max_batch_tokens), build.max_num_tokens as u64);
        return over("max_batch_tokens", value, most, "--max_num_tokens");
    }
    Ok(())
}

/// The chat template: a text, or a list of named ones; in newer models a file of its own.
fn chat_template(folder: &Path, from_config: Option<Value>) -> Result<String> {
    let file = folder.join("chat_template.jinja");
    match read_bounded(&file, MAX_JSON_BYTES) {
        Ok(bytes) => return String::from_utf8(bytes).map_err(|_| invalid(&file, "is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(invalid(&file, format!("cannot be read: {error}"))),
    }
    let named = |list: Vec<Value>| {
        let default = list.iter().find(|entry| entry["name"] == "default").or(list.first());
        default.and_then(|entry| entry["template"].as_str().map(str::to_owned))
    };
    let template = match from_config {
        Some(Value::String(template)) => Some(template),
        Some(Value::Array(list)) => named(list),
        _ => None,
    };
    template.ok_or_else(|| {
        invalid(
            folder,
            "has no chat template: copy the model's tokenizer_config.json (with its chat_template) or \
             chat_template.jinja there",
        )
    })
}

/// The text of a token that is written as a string or as an object.
fn token_text(token: Option<Value>) -> Option<String> {
    match token? {
        Value::String(text) => Some(text),
        Value::Object(token) => token.get("content")?.as_str().map(str::to_owned),
        _ => None,
    }
}

fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(single) => id(single).into_iter().collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_apart() {
        for supported in ["1.0.0", "1.0", "1.1.0rc2", "1.2.1", "1.2.0.post1", "v1.2.1"] {
            assert!(is_supported(supported), "{supported}");
        }
        for other in ["0.21.0", "1.2.2", "1.3.0rc20", "2.0", "", "main", "1"] {
            assert!(!is_supported(other), "{other}");
        }
        assert!(runs_on("1.2.0", "1.2.1"));
        assert!(!runs_on("1.1.0", "1.2.1"));
    }
}
