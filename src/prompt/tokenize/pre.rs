//! How the vocabularies of GGUF files split text before merging, by `tokenizer.ggml.pre`.

use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, ErrorKind, Result};

/// The steps before merging.
pub(super) struct Recipe {
    pub(super) normalizer: Option<NormalizerWrapper>,
    pub(super) pre_tokenizer: Option<PreTokenizerWrapper>,
    /// Whether a whole word that is a token is taken without merging.
    pub(super) ignore_merges: bool,
}

/// Words with the blank or sign before them, single digits, signs with line ends, white space.
const QWEN2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with up to three digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The names that are known, for people.
const KNOWN: &str = "qwen2, deepseek-r1-qwen, llama-bpe, llama3, llama-v3, gpt-2, smollm";

/// What `tokenizer.ggml.pre` stands for.
pub(super) fn recipe(pre: &str) -> Result<Recipe> {
    match pre {
        "qwen2" | "deepseek-r1-qwen" => Ok(Recipe {
            normalizer: Some(NormalizerWrapper::NFC(NFC)),
            pre_tokenizer: Some(split_by(QWEN2)?),
            ignore_merges: false,
        }),
        "llama-bpe" | "llama3" | "llama-v3" => {
            Ok(Recipe { normalizer: None, pre_tokenizer: Some(split_by(LLAMA3)?), ignore_merges: true })
        }
        "gpt-2" => Ok(Recipe { normalizer: None, pre_tokenizer: Some(alphabet(true).into()), ignore_merges: false }),
        "smollm" => Ok(Recipe {
            normalizer: None,
            pre_tokenizer: Some(Sequence::new(vec![Digits::new(true).into(), alphabet(true).into()]).into()),
            ignore_merges: false,
        }),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the model's vocabulary is split by {other:?} (tokenizer.ggml.pre), which is unknown; known are {KNOWN}"
            ),
        )),
    }
}

fn split_by(regex: &str) -> Result<PreTokenizerWrapper> {
    let split = Split::new(SplitPattern::Regex(regex.to_owned()), SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("the splitting rule does not compile: {error}")))?;
    Ok(Sequence::new(vec![split.into(), alphabet(false).into()]).into())
}

/// Bytes in GPT-2's alphabet, split by GPT-2's own rule on demand.
fn alphabet(split: bool) -> ByteLevel {
    ByteLevel::new(false, true, split)
}
