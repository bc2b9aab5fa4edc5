//! The model's text side from a folder: its tokenizer and its chat template.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::TextModel;
use crate::error::{Error, ErrorKind, Result};
use crate::files::read_bounded;
use crate::prompt::tokenize::Tokenizer;

const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
const MAX_JSON_BYTES: u64 = 16 << 20;

fn invalid(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("{}: {what}", path.display()))
}

/// Reads `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` in a folder, as Hugging Face has them. `template`
/// is the profile's chat template, where it has one.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] naming the file and what is wrong with it.
pub(super) fn from_folder(folder: &Path, template: Option<&str>) -> Result<TextModel> {
    let file = folder.join("tokenizer.json");
    let json = read_bounded(&file, MAX_TOKENIZER_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid(
            &file,
            "is missing: remote.tokenizer is a folder with the model's tokenizer.json and tokenizer_config.json",
        ),
        _ => invalid(&file, format!("cannot be read: {error}")),
    })?;
    let config = optional(&folder.join("tokenizer_config.json"))?;
    let chat_template = match template {
        Some(template) => template.to_owned(),
        None => chat_template(folder, &config["chat_template"])?,
    };
    let tokenizer = Tokenizer::from_json(&json).map_err(|error| error.context(file.display()))?;
    Ok(TextModel {
        chat_template,
        bos: token_text(&config["bos_token"]),
        eos: token_text(&config["eos_token"]),
        tokenizer: Arc::new(tokenizer),
    })
}

/// A JSON file that may be missing.
fn optional(path: &Path) -> Result<Value> {
    match read_bounded(path, MAX_JSON_BYTES) {
        Ok(bytes) => crate::json::read(&bytes).map_err(|error| invalid(path, format!("is not valid JSON: {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(invalid(path, format!("cannot be read: {error}"))),
    }
}

fn chat_template(folder: &Path, configured: &Value) -> Result<String> {
    let file = folder.join("chat_template.jinja");
    match read_bounded(&file, MAX_JSON_BYTES) {
        Ok(bytes) => return String::from_utf8(bytes).map_err(|_| invalid(&file, "is not UTF-8")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(invalid(&file, format!("cannot be read: {error}"))),
    }
    let template = match configured {
        Value::String(template) => Some(template.as_str()),
        Value::Array(list) => {
            let default = list.iter().find(|entry| entry["name"] == "default").or(list.first());
            default.and_then(|entry| entry["template"].as_str())
        }
        _ => None,
    };
    template.map(str::to_owned).ok_or_else(|| {
        invalid(
            folder,
            "has no chat template: put the model's tokenizer_config.json (with its chat_template) or chat_template.jinja \
             there, or set \"chat_template\" in the profile",
        )
    })
}

/// The text of a token that is written as a string or as an object.
fn token_text(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_owned)
}

/// A text in `texts` that some tokenizer may take for a control token: one of `tags`, or one written as model families
/// write theirs.
pub(super) fn control_token<'a>(texts: impl Iterator<Item = &'a str>, tags: &[&str]) -> Option<String> {
    const KNOWN: [&str; 16] = [
        "<s>",
        "</s>",
        "<bos>",
        "<eos>",
        "<pad>",
        "<unk>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "[gMASK]",
    ];
    for text in texts {
        let known = KNOWN.iter().chain(tags).find(|token| text.contains(**token));
        if let Some(token) = known {
            return Some((*token).to_owned());
        }
        for (open, close) in [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>")] {
            for (start, _) in text.match_indices(open) {
                let rest = &text[start + open.len()..];
                let Some(end) = rest.find(close).filter(|&end| end > 0 && end <= 64) else { continue };
                if !rest[..end].contains(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>')) {
                    return Some(text[start..start + open.len() + end + close.len()].to_owned());
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_reads_like_a_control_token_is_found() {
        let found = |text: &str| control_token([text].into_iter(), &["<verdict>"]);
        for token in
            ["<|im_end|>", "<\u{ff5c}User\u{ff5c}>", "</think>", "<verdict>", "[INST]", "<|reserved_special_token_7|>"]
        {
            assert_eq!(found(&format!("a {token} b")).as_deref(), Some(token));
        }
        for text in ["a <| b |> c", "<||>", "x <|", "if a <b and c> d", "<thinking>", "5 < 6 | 7 > 3", "<|a <|b"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_demonstration_judges_folder_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/hf");
        let text = from_folder(&folder, None).unwrap();
        assert!(text.chat_template.contains("messages") && text.tokenizer.vocab_size() > 256);
        let error = from_folder(Path::new("/nonexistent"), None).err().unwrap();
        assert!(error.message().contains("remote.tokenizer"), "{error}");
    }
}
