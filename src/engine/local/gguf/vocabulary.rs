//! What a vocabulary must hold for llama.cpp and the tokenizers to work on it.

use std::collections::HashMap;

use super::check::invalid;
use super::{Header, Texts, Value};
use crate::error::Result;

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const MODEL: &str = "tokenizer.ggml.model";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";

/// Longest token: its bytes are copied for every comparison.
const MAX_TOKEN_BYTES: usize = 64 << 10;
/// The type of a token that stands for one byte.
const BYTE: i64 = 6;

/// The tokenizers that llama.cpp has.
const MODELS: &[&str] = &["llama", "gpt2", "gemma4", "t5", "bert", "rwkv", "plamo2", "hybriddna", "whitespace"];

/// Checks the vocabulary of a header.
pub(super) fn check(header: &Header) -> Result<()> {
    let Some(model) = header.text(MODEL).filter(|model| *model != "none") else {
        return invalid("holds no vocabulary (tokenizer.ggml.model): convert the model with its tokenizer");
    };
    if !MODELS.contains(&model) {
        return invalid(format!("{MODEL} is {model:?}: llama.cpp knows {}", MODELS.join(", ")));
    }
    let Some(tokens) = header.texts(TOKENS) else {
        return invalid(format!("holds no vocabulary ({TOKENS}): convert the model with its tokenizer"));
    };
    check_texts(tokens, model)?;
    check_types(header, tokens, model)?;
    check_scores(header, tokens)?;
    check_special(header, tokens)?;
    check_merges(header, model)?;
    match header.get("tokenizer.chat_template") {
        None | Some(Value::Text(_)) => Ok(()),
        Some(_) => invalid("tokenizer.chat_template is not a string: convert the model again"),
    }
}

/// llama.cpp looks up tokens by their texts and asserts that no two are equal.
fn check_texts(tokens: &Texts, model: &str) -> Result<()> {
    let mut ids = HashMap::with_capacity(tokens.len());
    for (id, text) in tokens.iter().enumerate() {
        if text.len() > MAX_TOKEN_BYTES || text.contains(&0) && text.len() > 1 && model != "rwkv" {
            return invalid(format!("token {id} of {TOKENS} has {} bytes, or a zero among them: damaged", text.len()));
        }
        // If texts are written in letters, all of them must be.
        if ["gpt2", "gemma4", "bert"].contains(&model) && std::str::from_utf8(text).is_err() {
            return invalid(format!(
                "token {id} of {TOKENS} is {:?}, which is not UTF-8",
                String::from_utf8_lossy(text)
            ));
        }
        // The name that llama.cpp gives to an empty token.
        let text = if text.is_empty() { format!("[EMPTY_{id}]").into_bytes() } else { text.to_vec() };
        if let Some(other) = ids.insert(text, id) {
            return invalid(format!(
                "tokens {other} and {id} of {TOKENS} are both {:?}: llama.cpp cannot tell them apart; convert the model again",
                String::from_utf8_lossy(tokens.get(id).unwrap_or_default())
            ));
        }
    }
    Ok(())
}

/// The type of each token. For byte tokens, the text says which byte.
fn check_types(header: &Header, tokens: &Texts, model: &str) -> Result<()> {
    let types = match header.get(TYPES) {
        // Without types, byte tokens are texts such as "<0x0A>" to llama.cpp.
        None if model == "llama" && tokens.iter().any(|text| byte_of(text).is_some()) => {
            return invalid(format!("{TYPES} is missing: convert the model again with its tokenizer"));
        }
        None => return Ok(()),
        Some(Value::Ints(types)) if types.len() == tokens.len() => types,
        Some(Value::Ints(types)) => {
            return invalid(format!("{TYPES} has {} entries for {} tokens: damaged", types.len(), tokens.len()));
        }
        Some(_) => return invalid(format!("{TYPES} is no array of whole numbers: damaged")),
    };
    for (id, (&kind, text)) in types.iter().zip(tokens.iter()).enumerate() {
        if !(0..=6).contains(&kind) {
            return invalid(format!("token {id} has the type {kind} in {TYPES}: it must be from 0 to 6"));
        }
        let is_byte = byte_of(text).is_some();
        if kind == BYTE && !is_byte {
            return invalid(format!(
                "token {id} is marked as a byte in {TYPES}, but its text is {:?} instead of, say, <0x0A>",
                String::from_utf8_lossy(text)
            ));
        }
        if kind != BYTE && is_byte && model == "llama" {
            return invalid(format!(
                "token {id} is {:?}, but not marked as a byte (type 6) in {TYPES}: convert the model again",
                String::from_utf8_lossy(text)
            ));
        }
    }
    Ok(())
}

/// The byte that a token such as `<0x0A>` stands for.
pub(in crate::engine::local) fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2 && !digits.starts_with('+'))?;
    // llama.cpp looks for upper-case digits; a text with lower-case digits is no byte to it.
    digits.bytes().all(|digit| digit.is_ascii_digit() || digit.is_ascii_uppercase()).then_some(())?;
    u8::from_str_radix(digits, 16).ok()
}

fn check_scores(header: &Header, tokens: &Texts) -> Result<()> {
    let count = match header.get(SCORES) {
        None => return Ok(()),
        Some(Value::Floats(scores)) => scores.len(),
        Some(Value::Ints(scores)) => scores.len(),
        Some(_) => return invalid(format!("{SCORES} is no array of numbers: damaged")),
    };
    if count != tokens.len() {
        return invalid(format!("{SCORES} has {count} entries for {} tokens: damaged", tokens.len()));
    }
    Ok(())
}

/// Special tokens that are named must exist.
fn check_special(header: &Header, tokens: &Texts) -> Result<()> {
    const NONE: i64 = 0xffff_ffff;
    for name in ["bos", "eos", "eot", "eom", "unknown", "seperator", "padding"] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        match header.get(&key) {
            None | Some(Value::Int(-1 | NONE)) => {}
            Some(Value::Int(id)) if usize::try_from(*id).is_ok_and(|id| id < tokens.len()) => {}
            Some(Value::Int(id)) => {
                return invalid(format!("{key} is {id}, but the vocabulary has {} tokens: damaged", tokens.len()));
            }
            Some(_) => return invalid(format!("{key} is no whole number: damaged")),
        }
    }
    Ok(())
}

fn check_merges(header: &Header, model: &str) -> Result<()> {
    let merges = match header.get(MERGES) {
        None | Some(Value::Empty) => return Ok(()),
        Some(Value::Texts(merges)) => merges,
        Some(_) => return invalid(format!("{MERGES} is no array of strings: damaged")),
    };
    if !["gpt2", "gemma4"].contains(&model) {
        return Ok(());
    }
    let broken = merges.iter().position(|merge| {
        // The first part may itself begin with a blank.
        std::str::from_utf8(merge).is_err() || !merge.get(1..).is_some_and(|rest| rest.contains(&b' '))
    });
    match broken {
        Some(place) => invalid(format!(
            "merge {place} of {MERGES} is {:?}, which is not two tokens: damaged",
            String::from_utf8_lossy(merges.get(place).unwrap_or_default())
        )),
        None => Ok(()),
    }
}
