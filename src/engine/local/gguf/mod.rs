//! What a GGUF file says about itself, read and checked before llama.cpp sees it.
//!
//! llama.cpp ends the process on much that a damaged file can hold: it asserts, and it follows offsets unchecked. So
//! everything that the header can tell is checked here, and every refusal names the key or tensor, its value and what
//! to do.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

mod check;
mod reader;
#[cfg(test)]
mod tests;
#[expect(unsafe_code, reason = "looks up llama.cpp's table of tensor types")]
mod types;
mod vocabulary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::files::open_regular;
pub(super) use vocabulary::byte_of;

/// Most parts of a split model.
const MAX_PARTS: i64 = 1024;

/// One metadata value. Numbers are widened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A whole number.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Texts),
    /// An array of whole numbers or truth values.
    Ints(Vec<i64>),
    /// An array of floating-point numbers.
    Floats(Vec<f64>),
    /// An empty array.
    Empty,
}

/// An array of strings, in one piece: a vocabulary has some 150,000. Each is kept byte for byte.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    /// How many strings there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a string.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(&self.bytes[start..end])
    }

    /// The strings in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }
}

/// What the header says of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    /// Elements of each dimension, the fastest first; 1 for a dimension that is not there.
    pub(super) shape: [u64; 4],
    /// Dimensions that the header lists.
    pub(super) dimensions: usize,
    /// The type, by ggml's numbers.
    pub(super) kind: u32,
    /// Bytes of its data.
    pub(super) bytes: u64,
}

/// What arranging the weights of a model for a processor takes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Packed {
    /// Weights that are arranged.
    pub(super) bytes: u64,
    /// The table of tokens, if it is arranged for the output and stays as it is to be looked up.
    pub(super) twice: u64,
    /// The largest tensor that is arranged, as it lies in the file.
    pub(super) largest: u64,
}

/// The header of a GGUF file.
#[derive(Debug, Default)]
pub(in crate::engine) struct Header {
    values: HashMap<String, Value>,
    tensors: HashMap<String, Tensor>,
    /// The files that hold the model: one, or the parts of a split model in their order.
    files: Vec<PathBuf>,
}

impl Header {
    /// Reads the header of the model at `path`, with all parts of a split model, and checks that a judge can run on it.
    ///
    /// # Errors
    /// [`ErrorKind::ModelNotFound`], [`ErrorKind::Io`], [`ErrorKind::Unsupported`] or [`ErrorKind::InvalidModel`], saying
    /// what is wrong.
    pub(in crate::engine) fn read(path: &Path) -> Result<Self> {
        let mut header = Self::read_file(path)?;
        header.add_parts(path)?;
        header.check().map_err(|error| error.context(path.display()))?;
        Ok(header)
    }

    /// Reads the header of one file and checks that the file holds every tensor that it names.
    fn read_file(path: &Path) -> Result<Self> {
        let place = path.display();
        let file = open_regular(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::ModelNotFound, format!("{place}: there is no such model file"))
            }
            std::io::ErrorKind::IsADirectory => Error::new(
                ErrorKind::InvalidModel,
                format!("{place} is a folder: the embedded engine takes a .gguf file"),
            ),
            std::io::ErrorKind::InvalidInput => Error::new(ErrorKind::InvalidModel, format!("{place} {error}")),
            _ => Error::new(ErrorKind::Io, format!("{place}: cannot be opened: {error}")),
        })?;
        let size = file.metadata().map_err(|error| Error::new(ErrorKind::Io, format!("{place}: {error}")))?.len();
        let mut header = reader::read(file, size).map_err(|fault| match fault {
            reader::Fault::Io(error) => Error::new(ErrorKind::Io, format!("{place}: cannot be read: {error}")),
            reader::Fault::Invalid(message) => Error::new(ErrorKind::InvalidModel, format!("{place}: {message}")),
        })?;
        header.files.push(path.to_owned());
        Ok(header)
    }

    /// Adds the tensors of the other parts of a split model. llama.cpp finds the parts by their names.
    fn add_parts(&mut self, path: &Path) -> Result<()> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidModel, format!("{}: {message}", path.display()));
        let count = self.int("split.count").unwrap_or(1);
        if self.int("split.no").is_some_and(|part| part != 0) {
            return Err(invalid("is a later part of a split model: name the first part (…-00001-of-…)".into()));
        }
        if count <= 1 {
            return Ok(());
        }
        if count > MAX_PARTS {
            return Err(invalid(format!("split.count is {count}: at most {MAX_PARTS} parts can be read")));
        }
        let ending = format!("-00001-of-{count:05}.gguf");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(&ending) else {
            return Err(invalid(format!("is the first of {count} parts: its name must end in {ending}")));
        };
        for part in 1..count {
            let place = path.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", part + 1));
            let other = Self::read_file(&place).map_err(|error| match error.kind() {
                ErrorKind::ModelNotFound => {
                    invalid(format!("part {} of {count} is missing: {}", part + 1, place.display()))
                }
                _ => error,
            })?;
            if other.int("split.no") != Some(part) {
                return Err(invalid(format!("{} does not say that it is part {}", place.display(), part + 1)));
            }
            for (name, tensor) in other.tensors {
                if self.tensors.insert(name.clone(), tensor).is_some() {
                    return Err(invalid(format!("two parts hold the tensor {name:?}")));
                }
            }
            self.files.push(place);
        }
        match self.int("split.tensors.count") {
            Some(tensors) if usize::try_from(tensors) != Ok(self.tensors.len()) => Err(invalid(format!(
                "split.tensors.count is {tensors}, but the parts hold {} tensors: fetch them again",
                self.tensors.len()
            ))),
            _ => Ok(()),
        }
    }

    /// Oddities that are no reason to refuse the model.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.text("tokenizer.ggml.model") == Some("gpt2") && self.text("tokenizer.ggml.pre").is_none() {
            warnings.push(
                "the file does not say how texts are split (tokenizer.ggml.pre is missing): it gets other tokens than in its \
                 training, and judges worse; convert the model again"
                    .to_owned(),
            );
        }
        warnings
    }

    /// The files that hold the model.
    pub(in crate::engine) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Bytes of all tensors.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.tensors.values().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes))
    }

    /// What arranging weights for a processor takes. `packed` gives the bytes of a tensor that is arranged, or 0.
    pub(super) fn packed(&self, packed: impl Fn(&Tensor) -> u64) -> Packed {
        const TABLE: &str = "token_embd.weight";
        let mut sum = Packed::default();
        let tied = self.tensor("output.weight").is_none();
        for (name, tensor) in &self.tensors {
            // Rows of tables are looked up. Only where the output has no matrix of its own is that of tokens multiplied, too.
            let is_table = ["token_embd", "position_embd", "token_types"].iter().any(|table| name.contains(table));
            let is_both = name == TABLE && tied;
            let bytes = if is_table && !is_both { 0 } else { packed(tensor) };
            sum.bytes = sum.bytes.saturating_add(bytes);
            if bytes > 0 {
                sum.largest = sum.largest.max(tensor.bytes);
                sum.twice = sum.twice.max(if is_both { tensor.bytes } else { 0 });
            }
        }
        sum
    }

    /// The description of a tensor.
    pub(super) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// A value by its key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// A string by its key.
    pub(in crate::engine) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the vocabulary has a token with this text that ordinary text is never tokenized to.
    pub(in crate::engine) fn has_special(&self, text: &str) -> bool {
        let place =
            self.texts(vocabulary::TOKENS).and_then(|texts| texts.iter().position(|other| other == text.as_bytes()));
        let kinds = self.ints("tokenizer.ggml.token_type").unwrap_or_default();
        // Control tokens, and those added by hand.
        place.is_some_and(|id| matches!(kinds.get(id), Some(3 | 4)))
    }

    /// A whole number by its key.
    pub(super) fn int(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// An array of strings by its key.
    pub(super) fn texts(&self, key: &str) -> Option<&Texts> {
        match self.get(key) {
            Some(Value::Texts(texts)) => Some(texts),
            _ => None,
        }
    }

    /// An array of whole numbers by its key.
    pub(super) fn ints(&self, key: &str) -> Option<&[i64]> {
        match self.get(key) {
            Some(Value::Ints(numbers)) => Some(numbers),
            _ => None,
        }
    }

    /// The model's architecture, such as `qwen3`; empty if the header names none, which [`Self::read`] refuses.
    pub(super) fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or_default()
    }

    /// A whole number of the model's architecture, such as `block_count`.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        u64::try_from(self.int(&format!("{}.{name}", self.architecture()))?).ok()
    }

    /// A whole number of the model's architecture that may differ from layer to layer: its sum over all layers.
    pub(super) fn sum_over_layers(&self, name: &str) -> Option<u64> {
        let key = format!("{}.{name}", self.architecture());
        match self.get(&key)? {
            Value::Int(number) => u64::try_from(*number).ok()?.checked_mul(self.size("block_count")?),
            Value::Ints(numbers) => {
                numbers.iter().try_fold(0u64, |sum, &number| sum.checked_add(u64::try_from(number).ok()?))
            }
            _ => None,
        }
    }
}
