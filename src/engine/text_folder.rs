//! The model's text side from a folder: its tokenizer and its chat template.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::TextModel;
use crate::error::{Error, ErrorKind, Result};
use crate::files::read_bounded;
use crate::prompt::tokenize::Tokenizer;

const MAX_TOKENIZER_BYTES: u64 = 128 << 20;
const MAX_JSON_BYTES: u64 = 16 << 20;

fn invalid(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("{}: {what}", path.display()))
}

/// Reads `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` in a folder, in the form of Hugging Face.
/// `template` is the profile's chat template, if it has one; `setting` names the folder in messages.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] naming the file and what is wrong with it.
pub(crate) fn from_folder(folder: &Path, template: Option<&str>, setting: &str) -> Result<TextModel> {
    let file = folder.join("tokenizer.json");
    let json = read_bounded(&file, MAX_TOKENIZER_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid(
            &file,
            format!("is missing: {setting} is a folder with the model's tokenizer.json and tokenizer_config.json"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demonstration_judges_folder_is_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/hf");
        let text = from_folder(&folder, None, "remote.tokenizer").unwrap();
        assert!(text.chat_template.contains("messages") && text.tokenizer.vocab_size() > 256);
        let error = from_folder(Path::new("/nonexistent"), None, "remote.tokenizer").err().unwrap();
        assert!(error.message().contains("remote.tokenizer"), "{error}");
    }
}
