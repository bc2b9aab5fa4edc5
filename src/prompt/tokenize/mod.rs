//! Text to token ids, in such a way that text of users can never become a control token.

mod pipeline;
mod pre;
mod specials;
mod vocab;
mod words;

use std::ops::Range;

use super::template::{Rendered, Segment};
use crate::error::{Error, ErrorKind, Result};
use pipeline::Pipeline;
use specials::{Guard, Piece, Specials};
use vocab::Bytes;

pub use vocab::{BpeVocab, RawToken, TokenKind, VocabToken};

/// Turns ordinary text into token ids; see [`Tokenizer::from_encoder`].
pub type Encoder = Box<dyn Fn(&str) -> Result<Vec<u32>> + Send + Sync>;

/// A model's tokenizer. Shared by any number of threads.
pub struct Tokenizer {
    backend: Backend,
    specials: Specials,
    bytes: Bytes,
}

enum Backend {
    /// The `tokenizers` crate.
    Pipeline(Box<Pipeline>),
    /// A function of the engine's.
    Encoder(Encoder, Guard),
}

/// A vocabulary of single bytes, as GPT-2 writes them.
pub(super) fn alphabet() -> Vec<VocabToken> {
    vocab::letters().map(|(letter, _)| VocabToken { text: letter.into(), kind: TokenKind::Normal }).collect()
}

impl Tokenizer {
    /// Reads a `tokenizer.json` as Hugging Face writes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if it is not valid, or of a kind that the `tokenizers` crate does not support.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let (pipeline, specials, bytes) = with_room(|| pipeline::from_json(json))?;
        Ok(Self { backend: Backend::Pipeline(Box::new(pipeline)), specials, bytes })
    }

    /// Builds the tokenizer of a GGUF file whose `tokenizer.ggml.model` is `gpt2`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for an unknown `pre` (the error lists the known ones),
    /// [`ErrorKind::InvalidModel`] if vocabulary and merges do not fit together.
    pub fn from_bpe(vocab: BpeVocab) -> Result<Self> {
        let (pipeline, specials, bytes) = with_room(|| pipeline::from_bpe(vocab))?;
        Ok(Self { backend: Backend::Pipeline(Box::new(pipeline)), specials, bytes })
    }

    /// A tokenizer whose ordinary text is encoded by a function of the engine's: for vocabularies that only the engine
    /// can tokenize. `tokens` holds every token by its id.
    ///
    /// The function gets text without any control token's text in it, piece by piece; it must add no token of its own
    /// (no beginning of sequence).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if there are too many control tokens to look for.
    pub fn from_encoder(encode: Encoder, tokens: Vec<RawToken>) -> Result<Self> {
        let specials = Specials::of_kinds(tokens.iter().map(|token| (token.bytes.as_slice(), token.kind)))?;
        let guard = specials.guard()?;
        let bytes = Bytes::collect(tokens.into_iter().map(|token| token.bytes));
        Ok(Self { backend: Backend::Encoder(encode, guard), specials, bytes })
    }

    /// The ids of a rendered prompt. Control tokens are recognized only inside template segments; ordinary text is
    /// tokenized across the borders of segments. So if contents hold no control token's text, the ids are those of the whole
    /// rendered string.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where the vocabulary cannot write the text.
    pub fn encode(&self, segments: &[Segment]) -> Result<Vec<u32>> {
        let mut text = String::with_capacity(segments.iter().map(|segment| segment.text().len()).sum());
        let mut template = Vec::new();
        for segment in segments {
            let start = text.len();
            text.push_str(segment.text());
            if matches!(segment, Segment::Template(_)) {
                template.push(start..text.len());
            }
        }
        self.encode_ranges(&text, &template)
    }

    /// As [`Self::encode`], of a prompt in one piece.
    pub(super) fn encode_prompt(&self, prompt: &Rendered) -> Result<Vec<u32>> {
        self.encode_ranges(&prompt.text, &prompt.template)
    }

    /// The ids of ordinary text: never a control token.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where the vocabulary cannot write the text.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_ranges(text, &[])
    }

    fn encode_ranges(&self, text: &str, template: &[Range<usize>]) -> Result<Vec<u32>> {
        let pieces = self.specials.pieces(text, template);
        match &self.backend {
            Backend::Pipeline(pipeline) => pipeline.encode(text, &pieces),
            Backend::Encoder(encoder, guard) => self.encode_outside(encoder, guard, text, &pieces),
        }
    }

    /// Encodes with a function that may recognize control tokens itself, so it never gets the whole text of one.
    fn encode_outside(&self, encoder: &Encoder, guard: &Guard, text: &str, pieces: &[Piece]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in pieces {
            let Some(id) = piece.token else {
                for part in guard.cut(&text[piece.range.clone()]) {
                    let part_ids = encoder(part)?;
                    if let Some(id) = part_ids.iter().find(|&&id| self.specials.is_control(id)) {
                        return Err(Error::new(
                            ErrorKind::InvalidModel,
                            format!("the model's tokenizer writes ordinary text with control token {id}"),
                        ));
                    }
                    // Often the only one.
                    if ids.is_empty() {
                        ids = part_ids;
                    } else {
                        ids.extend(part_ids);
                    }
                }
                continue;
            };
            ids.push(id);
        }
        Ok(ids)
    }

    /// The id of the control or added token with this text.
    pub fn special(&self, text: &str) -> Option<u32> {
        self.specials.id(text)
    }

    /// One more than the largest token id.
    pub fn vocab_size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes that a token stands for; those of its name for a control token. `None` for an id without a token.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id)
    }

    /// Whether ordinary text never yields this token: control tokens, added tokens such as `<think>`, unused ones.
    pub fn is_control(&self, id: u32) -> bool {
        self.specials.is_control(id)
    }

    /// The bytes of a row of tokens; ids without a token give none. A character may be cut at either end.
    pub fn decode(&self, ids: &[u32]) -> Vec<u8> {
        ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect()
    }
}
/// Compiles regular expressions where there is room for it: the caller's stack may be small.
fn with_room<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    crate::thread::on_stack(crate::thread::ROOMY, work).unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Engine, format!("there is no thread to read the vocabulary: {error}")))
    })
}
