//! What makes the prompts of a model, as far as the header of its file gives it; none of it uses llama.cpp.

use crate::engine::isolation::TextParts;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::{BpeVocab, TokenKind, Tokenizer, VocabToken};

use super::gguf::{Header, Texts};

/// Everything that the header of the file at `place` gives.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if it has no chat template or a broken vocabulary.
pub(in crate::engine) fn parts(header: &Header, place: &str, profile: &Profile) -> Result<TextParts> {
    Ok(TextParts {
        chat_template: chat_template(header, place, profile)?.to_owned(),
        bos: token(header, "tokenizer.ggml.bos_token_id"),
        eos: token(header, "tokenizer.ggml.eos_token_id"),
        tokenizer: tokenizer(header, place)?,
        kinds: kinds(header),
    })
}

/// The chat template of the profile, else the one in the file.
pub(super) fn chat_template<'a>(header: &'a Header, place: &str, profile: &'a Profile) -> Result<&'a str> {
    if let Some(template) = &profile.chat_template {
        return Ok(template);
    }
    header.text("tokenizer.chat_template").ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidModel,
            format!(
                "{place}: the model has no chat template (tokenizer.chat_template): give a file with one (\"chat_template\" of \
                 the configuration, --chat-template; the tokenizer_config.json of the model will do), set \"chat_template\" \
                 in its profile, or use an instruction-tuned model"
            ),
        )
    })
}

/// The text of the token whose id stands under `key`.
pub(super) fn token(header: &Header, key: &str) -> Option<String> {
    let id = usize::try_from(header.int(key)?).ok()?;
    Some(String::from_utf8_lossy(header.texts("tokenizer.ggml.tokens")?.get(id)?).into_owned())
}

/// What each token is for, by its id.
pub(super) fn kinds(header: &Header) -> Vec<TokenKind> {
    let kind = |kind: &i64| match kind {
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        _ => TokenKind::Normal,
    };
    header.ints("tokenizer.ggml.token_type").unwrap_or_default().iter().map(kind).collect()
}

/// The tokenizer of the `tokenizers` crate, which is faithful to the reference; `None` for vocabularies that the crate
/// cannot rebuild.
pub(super) fn tokenizer(header: &Header, place: &str) -> Result<Option<Tokenizer>> {
    if header.text("tokenizer.ggml.model") != Some("gpt2") {
        return Ok(None);
    }
    let kinds = kinds(header);
    let kind = |id: usize| kinds.get(id).copied().unwrap_or(TokenKind::Normal);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let texts = header.texts("tokenizer.ggml.tokens").into_iter().flat_map(Texts::iter);
    let tokens = texts.enumerate().map(|(id, bytes)| VocabToken { text: text(bytes), kind: kind(id) }).collect();
    let merges = header.texts("tokenizer.ggml.merges");
    let merges = merges.into_iter().flat_map(|merges| merges.iter().map(text)).collect();
    let pre = header.text("tokenizer.ggml.pre").unwrap_or("default").to_owned();
    match Tokenizer::from_bpe(BpeVocab { tokens, merges, pre }) {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
        outcome => outcome.map(Some).map_err(|error| error.context(place)),
    }
}
