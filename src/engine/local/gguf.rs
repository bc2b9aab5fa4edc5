//! Reads the header of a GGUF file, to say what is wrong with a model before llama.cpp sees it and to take its
//! vocabulary, of which llama.cpp hands out only parts.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Longest string in a header: a chat template or a tokenizer's model may be long, but not this long.
const MAX_STRING: u64 = 64 << 20;
/// Most key-value pairs and most tensors of a header.
const MAX_ENTRIES: u64 = 1 << 20;
/// Deepest nesting of arrays.
const MAX_DEPTH: u32 = 4;

/// One metadata value. Numbers are widened; arrays that are not of strings or whole numbers are dropped.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A whole number or a boolean.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// An array of whole numbers.
    Ints(Vec<i64>),
    /// Any other array.
    Other,
}

/// The header of a GGUF file.
#[derive(Debug)]
pub(in crate::engine) struct Header {
    values: HashMap<String, Value>,
}

impl Header {
    /// Reads the header of the file at `path` and checks that the file holds every tensor that it names.
    ///
    /// # Errors
    /// [`ErrorKind::ModelNotFound`], [`ErrorKind::Io`] or [`ErrorKind::InvalidModel`], saying what is wrong.
    pub(in crate::engine) fn read(path: &Path) -> Result<Self> {
        let place = path.display();
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::ModelNotFound, format!("{place}: there is no such model file"))
            }
            _ => Error::new(ErrorKind::Io, format!("{place}: cannot be opened: {error}")),
        })?;
        let meta = file.metadata().map_err(|error| Error::new(ErrorKind::Io, format!("{place}: {error}")))?;
        if meta.is_dir() {
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!("{place} is a folder: the embedded engine takes a .gguf file"),
            ));
        }
        let mut reader = Reader { input: BufReader::with_capacity(1 << 20, file), at: 0, size: meta.len() };
        reader.header().map_err(|error| match error {
            Fault::Io(error) => Error::new(ErrorKind::Io, format!("{place}: cannot be read: {error}")),
            Fault::Invalid(message) => Error::new(ErrorKind::InvalidModel, format!("{place}: {message}")),
        })
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

    /// A whole number by its key.
    pub(super) fn int(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// An array of strings by its key.
    pub(super) fn texts(&self, key: &str) -> Option<&[String]> {
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
}

/// Why a header cannot be read.
enum Fault {
    Io(std::io::Error),
    Invalid(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

fn invalid<T>(message: impl Into<String>) -> std::result::Result<T, Fault> {
    Err(Fault::Invalid(message.into()))
}

type Step<T> = std::result::Result<T, Fault>;

struct Reader<R> {
    input: R,
    at: u64,
    size: u64,
}

impl<R: Read> Reader<R> {
    fn header(&mut self) -> Step<Header> {
        if self.size < 24 {
            return invalid(format!("has only {} bytes: not a GGUF model", self.size));
        }
        let magic: [u8; 4] = self.bytes()?;
        if &magic != b"GGUF" {
            return invalid("does not start with \"GGUF\": not a GGUF model");
        }
        let version = u32::from_le_bytes(self.bytes()?);
        if version.swap_bytes() < 256 {
            return invalid("is a big-endian GGUF file: convert it to little-endian");
        }
        if !(2..=3).contains(&version) {
            return invalid(format!("has GGUF version {version}: versions 2 and 3 can be read"));
        }
        let tensors = self.count("tensors")?;
        let pairs = self.count("metadata entries")?;
        let mut values = HashMap::new();
        for _ in 0..pairs {
            let key = self.string()?;
            let kind = u32::from_le_bytes(self.bytes()?);
            let value = self.value(kind, 0).map_err(|fault| in_key(fault, &key))?;
            values.insert(key, value);
        }
        let alignment = match values.get("general.alignment") {
            Some(Value::Int(alignment)) => u64::try_from(*alignment).unwrap_or(0),
            _ => 32,
        };
        if !alignment.is_power_of_two() {
            return invalid(format!("has the alignment {alignment}, which is not a power of two"));
        }
        self.tensors(tensors, alignment)?;
        Ok(Header { values })
    }

    /// Walks the tensor descriptions and compares the ends of the tensors with the size of the file.
    fn tensors(&mut self, count: u64, alignment: u64) -> Step<()> {
        let mut furthest = (0, String::new());
        for _ in 0..count {
            let name = self.string()?;
            let dimensions = u32::from_le_bytes(self.bytes()?);
            if !(1..=4).contains(&dimensions) {
                return invalid(format!("tensor {name:?} has {dimensions} dimensions"));
            }
            let mut elements: u64 = 1;
            for _ in 0..dimensions {
                elements = elements.saturating_mul(u64::from_le_bytes(self.bytes()?));
            }
            let kind = u32::from_le_bytes(self.bytes()?);
            let offset = u64::from_le_bytes(self.bytes()?);
            let end = tensor_bytes(kind, elements).and_then(|bytes| offset.checked_add(bytes));
            match end {
                None => return invalid(format!("tensor {name:?} has an impossible size or the unknown type {kind}")),
                Some(end) if end > furthest.0 => furthest = (end, name),
                Some(_) => {}
            }
        }
        let data = self.at.next_multiple_of(alignment);
        let needed = data.saturating_add(furthest.0);
        if needed > self.size {
            return invalid(format!(
                "is truncated: tensor {:?} ends at byte {needed}, the file has {} bytes; fetch it again",
                furthest.1, self.size
            ));
        }
        Ok(())
    }

    fn count(&mut self, what: &str) -> Step<u64> {
        let count = u64::from_le_bytes(self.bytes()?);
        if count > MAX_ENTRIES {
            return invalid(format!("claims {count} {what}: damaged"));
        }
        Ok(count)
    }

    fn value(&mut self, kind: u32, depth: u32) -> Step<Value> {
        Ok(match kind {
            0 => Value::Int(i64::from(u8::from_le_bytes(self.bytes()?))),
            1 => Value::Int(i64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Int(i64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Int(i64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Int(i64::from(u32::from_le_bytes(self.bytes()?))),
            5 => Value::Int(i64::from(i32::from_le_bytes(self.bytes()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.bytes()?))),
            7 => Value::Int(i64::from(u8::from_le_bytes(self.bytes()?) != 0)),
            8 => Value::Text(self.string()?),
            9 => self.array(depth)?,
            10 => Value::Int(i64::try_from(u64::from_le_bytes(self.bytes()?)).unwrap_or(i64::MAX)),
            11 => Value::Int(i64::from_le_bytes(self.bytes()?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            _ => return invalid(format!("metadata has the unknown type {kind}")),
        })
    }

    fn array(&mut self, depth: u32) -> Step<Value> {
        if depth >= MAX_DEPTH {
            return invalid("metadata nests arrays too deep");
        }
        let kind = u32::from_le_bytes(self.bytes()?);
        let count = u64::from_le_bytes(self.bytes()?);
        // Every element takes a byte or more: a count past what is left is damage, and must not be allocated for.
        if count > self.left() {
            return invalid(format!("an array of {count} elements does not fit the file: truncated or damaged"));
        }
        let mut texts = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..count {
            match self.value(kind, depth + 1)? {
                Value::Text(text) => texts.push(text),
                Value::Int(number) => numbers.push(number),
                _ => {}
            }
        }
        Ok(match (texts.is_empty(), numbers.is_empty()) {
            (false, _) => Value::Texts(texts),
            (true, false) => Value::Ints(numbers),
            (true, true) => Value::Other,
        })
    }

    fn string(&mut self) -> Step<String> {
        let length = u64::from_le_bytes(self.bytes()?);
        if length > MAX_STRING || length > self.left() {
            return invalid(format!("a string of {length} bytes does not fit the file: truncated or damaged"));
        }
        let mut bytes = vec![0; usize::try_from(length).expect("bounded by MAX_STRING")];
        self.fill(&mut bytes)?;
        // Tokens of some vocabularies are cut inside a character: kept readable, never refused.
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    fn bytes<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Step<()> {
        match self.input.read_exact(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return invalid(format!("ends inside its header, at byte {}: truncated", self.size));
            }
            result => result?,
        }
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn left(&self) -> u64 {
        self.size.saturating_sub(self.at)
    }
}

fn in_key(fault: Fault, key: &str) -> Fault {
    match fault {
        Fault::Invalid(message) => Fault::Invalid(format!("{key:?}: {message}")),
        fault @ Fault::Io(_) => fault,
    }
}

/// Bytes of a tensor of `elements` of a ggml type; `None` for a type that this build does not know.
fn tensor_bytes(kind: u32, elements: u64) -> Option<u64> {
    if kind >= llama_cpp_sys_2::GGML_TYPE_COUNT {
        return None;
    }
    // SAFETY: both functions only look up a table of `GGML_TYPE_COUNT` entries, and `kind` is below that.
    let (block, size) = unsafe { (llama_cpp_sys_2::ggml_blck_size(kind), llama_cpp_sys_2::ggml_type_size(kind)) };
    let block = u64::try_from(block).ok().filter(|&block| block > 0)?;
    elements.div_ceil(block).checked_mul(u64::try_from(size).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> std::result::Result<Header, String> {
        let mut reader = Reader { input: bytes, at: 0, size: bytes.len() as u64 };
        reader.header().map_err(|fault| match fault {
            Fault::Io(error) => error.to_string(),
            Fault::Invalid(message) => message,
        })
    }

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn file() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(string("general.architecture"));
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(string("qwen3"));
        bytes.extend(string("list"));
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(5u32.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(7i32.to_le_bytes());
        bytes.extend((-7i32).to_le_bytes());
        bytes.extend(string("weight"));
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(8u64.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 32, 0);
        bytes
    }

    #[test]
    fn reads_what_is_there() {
        let header = read(&file()).unwrap();
        assert_eq!(header.text("general.architecture"), Some("qwen3"));
        assert_eq!(header.ints("list"), Some(&[7, -7][..]));
    }

    #[test]
    fn every_truncation_is_named_and_none_panics() {
        let whole = file();
        for length in 0..whole.len() {
            let message = read(&whole[..length]).expect_err("a truncated file must not pass");
            assert!(
                ["truncated", "not a GGUF", "damaged"].iter().any(|word| message.contains(word)),
                "{length}: {message}"
            );
        }
    }

    #[test]
    fn no_single_damaged_byte_panics() {
        let whole = file();
        for at in 0..whole.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = read(&damaged);
            }
        }
    }
}
