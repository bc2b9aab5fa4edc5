//! Reads the bytes of a header. Memory is allocated as bytes are read, and within limits: neither a count nor the
//! length of a sparse file is trusted.

use std::collections::HashMap;
use std::io::{BufReader, Read};

use super::{Header, Tensor, Texts, Value, types};

/// Longest string in a header: a chat template may be long, but not this long.
const MAX_STRING: u64 = 16 << 20;
/// Longest key.
const MAX_KEY: u64 = 64 << 10;
/// Most key-value pairs of a header.
const MAX_PAIRS: u64 = 1 << 16;
/// Most tensors of a header.
const MAX_TENSORS: u64 = 1 << 18;
/// Most elements of an array: vocabularies have about 260,000 tokens and 520,000 merges.
const MAX_ARRAY: u64 = 1 << 22;
/// Largest header. The largest ones in use have about 20 MB.
const MAX_HEADER: u64 = 256 << 20;
/// Longest name of a tensor that llama.cpp accepts.
const MAX_NAME: usize = 63;
/// Alignments with which a mapped file can be computed on, in bytes.
const ALIGNMENT: std::ops::RangeInclusive<i64> = 32..=1 << 20;

/// Why a header cannot be read.
pub(super) enum Fault {
    Io(std::io::Error),
    Invalid(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

type Step<T> = Result<T, Fault>;

fn invalid<T>(message: impl Into<String>) -> Step<T> {
    Err(Fault::Invalid(message.into()))
}

/// Reads the header of a file of `size` bytes.
pub(super) fn read(input: impl Read, size: u64) -> Step<Header> {
    Reader { input: BufReader::with_capacity(1 << 18, input), at: 0, size }.header()
}

struct Reader<R> {
    input: R,
    at: u64,
    size: u64,
}

impl<R: Read> Reader<R> {
    fn header(&mut self) -> Step<Header> {
        let mut start = vec![0; usize::try_from(self.size.min(4)).expect("4 at most")];
        self.fill(&mut start)?;
        if start != b"GGUF" {
            return invalid(self.not_a_model(&start)?);
        }
        if self.size < 24 {
            return invalid(format!("has only {} bytes: truncated; fetch it again", self.size));
        }
        let version = u32::from_le_bytes(self.bytes()?);
        if version.swap_bytes() < 256 {
            return invalid("is a big-endian GGUF file: convert it to little-endian");
        }
        if !(2..=3).contains(&version) {
            return invalid(format!("has GGUF version {version}: versions 2 and 3 can be read"));
        }
        let tensors = self.count("tensors", MAX_TENSORS)?;
        let pairs = self.count("metadata entries", MAX_PAIRS)?;
        let mut values = HashMap::new();
        for _ in 0..pairs {
            let key = self.key()?;
            let kind = u32::from_le_bytes(self.bytes()?);
            let value = self.value(kind).map_err(|fault| in_key(fault, &key))?;
            if values.insert(key.clone(), value).is_some() {
                return invalid(format!("holds the key {key:?} twice: convert the model again"));
            }
        }
        let alignment = match values.get("general.alignment") {
            Some(Value::Int(alignment)) => *alignment,
            Some(_) => return invalid("general.alignment is not a whole number: damaged"),
            None => 32,
        };
        if !ALIGNMENT.contains(&alignment) || alignment.count_ones() != 1 {
            return invalid(format!("general.alignment is {alignment}: it must be a power of two from 32 to 1048576"));
        }
        let tensors = self.tensors(tensors, alignment.unsigned_abs())?;
        Ok(Header { values, tensors, files: Vec::new() })
    }

    /// What a file is if it is no model: some kinds are common.
    fn not_a_model(&mut self, start: &[u8]) -> Step<String> {
        let mut more = start.to_vec();
        (&mut self.input).take(508).read_to_end(&mut more)?;
        let text = String::from_utf8_lossy(&more);
        let text = text.trim_start().to_ascii_lowercase();
        Ok(if text.starts_with("version https://git-lfs") {
            "is a Git LFS pointer, not the model itself: run `git lfs pull`, or download the file".into()
        } else if ["<!doctype", "<html", "<?xml"].iter().any(|tag| text.starts_with(tag)) {
            "is a web page, not a model: the download gave an error or sign-in page; fetch the file itself".into()
        } else if start == b"PK\x03\x04"
            || more.starts_with(&[0x1f, 0x8b])
            || more.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        {
            "is a compressed archive, not a GGUF model: unpack it".into()
        } else if ["ggml", "lmgg", "tjgg", "ggjt", "fmgg", "ggmf"].iter().any(|magic| text.starts_with(magic)) {
            "is a model in a format older than GGUF: convert it again".into()
        } else if more.get(8..10) == Some(b"{\"") {
            "is a safetensors file, not a GGUF model: convert it, or use the model's GGUF file".into()
        } else if self.size < 24 {
            format!("has only {} bytes: not a GGUF model", self.size)
        } else if more.iter().all(|&byte| byte == 0) {
            "begins with zeros: not a GGUF model, or a download that was never filled; fetch it again".into()
        } else {
            "does not start with \"GGUF\": not a GGUF model".into()
        })
    }

    /// Reads the tensor descriptions. As llama.cpp requires, each tensor must begin where the one before it ends, so
    /// that none overlap; the last one must end within the file.
    fn tensors(&mut self, count: u64, alignment: u64) -> Step<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        let mut next = 0_u64;
        let mut furthest = (0, String::new());
        for _ in 0..count {
            let name = self.key()?;
            let (tensor, offset) = self.tensor(&name)?;
            if offset != next {
                return invalid(format!("tensor {name:?} begins at {offset} of the data, not at {next}: damaged"));
            }
            let end = offset.checked_add(tensor.bytes);
            let padded = end.and_then(|end| end.checked_next_multiple_of(alignment));
            let (Some(end), Some(padded)) = (end, padded) else {
                return invalid(format!("tensor {name:?} has an impossible size"));
            };
            next = padded;
            furthest = (end, name.clone());
            if tensors.insert(name.clone(), tensor).is_some() {
                return invalid(format!("holds the tensor {name:?} twice: convert the model again"));
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
        Ok(tensors)
    }

    /// One tensor and where its data begins.
    fn tensor(&mut self, name: &str) -> Step<(Tensor, u64)> {
        if name.len() > MAX_NAME {
            return invalid(format!(
                "a tensor's name has {} bytes, at most {MAX_NAME} are allowed: damaged",
                name.len()
            ));
        }
        let dimensions = u32::from_le_bytes(self.bytes()?);
        if !(1..=4).contains(&dimensions) {
            return invalid(format!("tensor {name:?} has {dimensions} dimensions: damaged"));
        }
        let dimensions = dimensions as usize;
        let mut shape = [1_u64; 4];
        for length in &mut shape[..dimensions] {
            *length = u64::from_le_bytes(self.bytes()?);
            if *length == 0 || i64::try_from(*length).is_err() {
                return invalid(format!("tensor {name:?} has a dimension of {length} elements: damaged"));
            }
        }
        let kind = u32::from_le_bytes(self.bytes()?);
        let offset = u64::from_le_bytes(self.bytes()?);
        let rows = shape[1..].iter().try_fold(1_u64, |product, &length| product.checked_mul(length));
        let elements = rows.and_then(|rows| rows.checked_mul(shape[0])).filter(|&count| i64::try_from(count).is_ok());
        let (Some(rows), Some(_)) = (rows, elements) else {
            return invalid(format!("tensor {name:?} has an impossible size"));
        };
        let bytes = types::bytes(kind, shape[0], rows).or_else(|what| invalid(format!("tensor {name:?} {what}")))?;
        Ok((Tensor { shape, dimensions, kind, bytes }, offset))
    }

    fn count(&mut self, what: &str, most: u64) -> Step<u64> {
        let count = u64::from_le_bytes(self.bytes()?);
        if count > most {
            return invalid(format!("claims {count} {what}: damaged"));
        }
        Ok(count)
    }

    fn value(&mut self, kind: u32) -> Step<Value> {
        Ok(match kind {
            0 => Value::Int(i64::from(u8::from_le_bytes(self.bytes()?))),
            1 => Value::Int(i64::from(i8::from_le_bytes(self.bytes()?))),
            2 => Value::Int(i64::from(u16::from_le_bytes(self.bytes()?))),
            3 => Value::Int(i64::from(i16::from_le_bytes(self.bytes()?))),
            4 => Value::Int(i64::from(u32::from_le_bytes(self.bytes()?))),
            5 => Value::Int(i64::from(i32::from_le_bytes(self.bytes()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.bytes()?))),
            7 => Value::Bool(u8::from_le_bytes(self.bytes()?) != 0),
            8 => Value::Text(text(&self.string(MAX_STRING)?)),
            9 => self.array()?,
            10 => Value::Int(i64::try_from(u64::from_le_bytes(self.bytes()?)).unwrap_or(i64::MAX)),
            11 => Value::Int(i64::from_le_bytes(self.bytes()?)),
            12 => Value::Float(f64::from_le_bytes(self.bytes()?)),
            _ => return invalid(format!("metadata has the unknown type {kind}: damaged")),
        })
    }

    fn array(&mut self) -> Step<Value> {
        let kind = u32::from_le_bytes(self.bytes()?);
        let count = u64::from_le_bytes(self.bytes()?);
        // Every element takes at least a byte: a count above the bytes left means damage.
        if count > self.left() || count > MAX_ARRAY {
            return invalid(format!("an array of {count} elements: truncated or damaged"));
        }
        if count == 0 {
            return Ok(Value::Empty);
        }
        match kind {
            8 => {
                let mut texts = Texts::default();
                for _ in 0..count {
                    texts.push(&self.string(MAX_STRING)?);
                }
                Ok(Value::Texts(texts))
            }
            9 => invalid("metadata holds an array of arrays, which llama.cpp cannot read"),
            6 | 12 => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    if let Value::Float(number) = self.value(kind)? {
                        numbers.push(number);
                    }
                }
                Ok(Value::Floats(numbers))
            }
            _ => {
                let mut numbers = Vec::new();
                for _ in 0..count {
                    match self.value(kind)? {
                        Value::Int(number) => numbers.push(number),
                        Value::Bool(truth) => numbers.push(i64::from(truth)),
                        _ => {}
                    }
                }
                Ok(Value::Ints(numbers))
            }
        }
    }

    /// A key or a tensor's name.
    fn key(&mut self) -> Step<String> {
        let key = self.string(MAX_KEY)?;
        match String::from_utf8(key) {
            Ok(key) if key.is_empty() => invalid("holds a key or a tensor without a name: damaged"),
            Ok(key) if key.contains('\0') => invalid(format!("holds the name {key:?}: damaged")),
            Ok(key) => Ok(key),
            Err(error) => invalid(format!(
                "holds the name {:?}, which is not UTF-8: damaged",
                String::from_utf8_lossy(error.as_bytes())
            )),
        }
    }

    fn string(&mut self, most: u64) -> Step<Vec<u8>> {
        let length = u64::from_le_bytes(self.bytes()?);
        if length > most || length > self.left() {
            return invalid(format!("a string of {length} bytes: truncated or damaged"));
        }
        self.advance(length)?;
        let mut bytes = Vec::new();
        (&mut self.input).take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return self.ended();
        }
        Ok(bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Step<()> {
        self.advance(bytes.len() as u64)?;
        match self.input.read_exact(bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => self.ended(),
            result => Ok(result?),
        }
    }

    /// Moves on by `length` bytes, within the bounds of a header.
    fn advance(&mut self, length: u64) -> Step<()> {
        self.at += length;
        if self.at > MAX_HEADER {
            return invalid(format!("has a header of more than {MAX_HEADER} bytes: damaged"));
        }
        Ok(())
    }

    fn ended<T>(&self) -> Step<T> {
        invalid(format!("ends inside its header, at byte {}: truncated; fetch it again", self.size))
    }

    fn left(&self) -> u64 {
        self.size.saturating_sub(self.at)
    }
}

/// A string for people to read. Bytes that are not UTF-8 are shown as such.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn in_key(fault: Fault, key: &str) -> Fault {
    match fault {
        Fault::Invalid(message) => Fault::Invalid(format!("{key:?}: {message}")),
        fault @ Fault::Io(_) => fault,
    }
}
