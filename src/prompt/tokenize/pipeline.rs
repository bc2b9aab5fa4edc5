//! Byte-pair tokenization by the `tokenizers` crate: normalize, split, merge.
//!
//! The crate's own table of added tokens is left out: it would recognize them in any text.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizer::Range as Slice;
use tokenizers::{
    Model, NormalizedString, Normalizer, NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, PreTokenizerWrapper, Token,
};
use unicode_normalization::{IsNormalized, is_nfc_quick};

use super::pre::{self, Recipe};
use super::specials::{Extent, Piece, Special, Specials, is_blank};
use super::vocab::{BpeVocab, Bytes, TokenKind, byte_level, letters, sentence_piece};
use super::words::Words;
use crate::error::{Error, ErrorKind, Result};

/// Largest token id that is accepted; the largest vocabularies in use have about 260,000 tokens.
const MAX_TOKEN_ID: u32 = (1 << 22) - 1;

/// What turns ordinary text into ids.
pub(super) struct Pipeline {
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    model: BPE,
    /// For text that the normalizer would leave as it is.
    words: Option<Words>,
    /// Bytes that no token can write. Some vocabularies were made from texts without rare bytes.
    missing: Vec<u8>,
}

impl Pipeline {
    fn new(
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        model: BPE,
        missing: Vec<u8>,
    ) -> Self {
        let words = match normalizer {
            None | Some(NormalizerWrapper::NFC(_)) => Words::new(pre_tokenizer.as_ref()),
            Some(_) => None,
        };
        Self { normalizer, pre_tokenizer, model, words, missing }
    }

    /// The ids of `text`, split into `pieces` that cover it.
    pub(super) fn encode(&self, text: &str, pieces: &[Piece]) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        let done = match &self.words {
            Some(words) if self.is_normal(text) => self.look_up(words, text, pieces, &mut ids),
            _ => self.run(text, pieces, &mut ids),
        };
        done.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => {
                Error::new(ErrorKind::InvalidModel, format!("the model's tokenizer cannot write the prompt: {error}"))
            }
        })?;
        Ok(ids)
    }

    /// Refuses a text with a byte that no token can write: the crate would silently leave it out.
    fn check_written(&self, text: &str) -> Result<()> {
        let lost = text
            .chars()
            .find(|letter| letter.encode_utf8(&mut [0; 4]).bytes().any(|byte| self.missing.contains(&byte)));
        match lost {
            Some(letter) => Err(Error::new(
                ErrorKind::InvalidRequest,
                format!(
                    "the model's vocabulary cannot write {letter:?} (U+{:04X}): it has no token for one of its bytes; remove \
                     the character, or use another model",
                    u32::from(letter)
                ),
            )),
            None => Ok(()),
        }
    }

    /// Whether the normalizer, if there is one, leaves `text` as it is.
    fn is_normal(&self, text: &str) -> bool {
        self.normalizer.is_none() || text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes
    }

    fn look_up(&self, words: &Words, text: &str, pieces: &[Piece], ids: &mut Vec<u32>) -> tokenizers::Result<()> {
        for piece in pieces {
            let Some(id) = piece.token else {
                let part = &text[piece.range.clone()];
                if !self.missing.is_empty() {
                    self.check_written(part)?;
                }
                words.encode(part, &self.model, ids)?;
                continue;
            };
            ids.push(id);
        }
        Ok(())
    }

    fn run(&self, text: &str, pieces: &[Piece], ids: &mut Vec<u32>) -> tokenizers::Result<()> {
        let mut splits = PreTokenizedString::from(text);
        splits.split(|_, whole| {
            let parts: Option<Vec<(NormalizedString, Option<Vec<Token>>)>> = pieces
                .iter()
                .map(|piece| {
                    let part = whole.slice(Slice::Normalized(piece.range.clone()))?;
                    let tokens = piece.token.map(|id| vec![Token::new(id, String::new(), (0, part.len()))]);
                    Some((part, tokens))
                })
                .collect();
            parts.ok_or_else(|| "a piece does not end at a character".into())
        })?;
        if let Some(normalizer) = &self.normalizer {
            splits.normalize(|part| normalizer.normalize(part))?;
        }
        if !self.missing.is_empty() {
            for (part, _, tokens) in splits.get_splits(OffsetReferential::Normalized, OffsetType::None) {
                if tokens.is_none() {
                    self.check_written(part)?;
                }
            }
        }
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(&mut splits)?;
        }
        splits.tokenize(|part| self.model.tokenize(part.get()))?;
        for (_, _, tokens) in splits.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            ids.extend(tokens.iter().flatten().map(|token| token.id));
        }
        Ok(())
    }
}

/// The parts of a `tokenizer.json` that this crate reads. Truncation, padding and post-processing are left out on purpose: a
/// prompt is never cut, and its template writes every token that belongs to it.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    decoder: Option<serde_json::Value>,
    model: ModelFile,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(flatten)]
    extent: Extent,
}

#[derive(Deserialize)]
struct ModelFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: Vocab,
    merges: Vec<Merge>,
}

/// Two tokens that become one. Written as `"a b"` or, in newer files, `["a", "b"]`.
struct Merge(String, String);

impl Merge {
    /// Reads `a b`. The first may itself begin with a blank in vocabularies that are not written in an alphabet.
    fn parse(text: &str) -> Option<Self> {
        let first = text.chars().next()?.len_utf8();
        let blank = first + text[first..].find(' ')?;
        Some(Self(text[..blank].to_owned(), text[blank + 1..].to_owned()))
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a merge: \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Merge, E> {
                Merge::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Merge, A::Error> {
                let missing = |count| serde::de::Error::invalid_length(count, &Self);
                let first = list.next_element()?.ok_or_else(|| missing(0))?;
                let second = list.next_element()?.ok_or_else(|| missing(1))?;
                Ok(Merge(first, second))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

fn invalid(what: impl fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("the model's tokenizer {what}"))
}

/// Reads a `tokenizer.json`.
pub(super) fn from_json(json: &[u8]) -> Result<(Pipeline, Specials, Bytes)> {
    let File { added_tokens, normalizer, pre_tokenizer, decoder, model } = crate::json::read(json)
        .map_err(|error| Error::new(ErrorKind::InvalidModel, format!("tokenizer.json is not valid: {error}")))?;
    if let Some(kind) = model.kind.as_deref().filter(|&kind| kind != "BPE") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("tokenizer.json holds a {kind} model: only BPE is supported"),
        ));
    }
    let affix = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
    if affix.into_iter().flatten().any(|affix| !affix.is_empty()) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "tokenizer.json marks the parts of a word by prefix or suffix: not supported",
        ));
    }
    let largest = model.vocab.values().copied().chain(added_tokens.iter().map(|token| token.id)).max().unwrap_or(0);
    if largest > MAX_TOKEN_ID {
        return Err(invalid(format!("has token id {largest}: the limit is {MAX_TOKEN_ID}")));
    }

    let in_alphabet = decoder.is_some_and(|decoder| decoder.to_string().contains("\"ByteLevel\""));
    let mut bytes = vec![Vec::new(); largest as usize + 1];
    for (text, &id) in &model.vocab {
        bytes[id as usize] = if in_alphabet { byte_level(text) } else { sentence_piece(text) };
    }
    let unknown = model.unk_token.clone();
    let mut specials = Vec::with_capacity(added_tokens.len());
    for token in added_tokens {
        bytes[token.id as usize] = token.content.clone().into_bytes();
        let control = token.special || !is_blank(&token.content);
        if unknown.as_ref() != Some(&token.content) {
            let Added { id, content: text, extent, .. } = token;
            specials.push(Special { text, id, control, extent });
        }
    }
    let specials = Specials::new(specials, [])?;
    // A character that is neither a token nor written by bytes would be silently left out.
    if !in_alphabet && !model.byte_fallback && model.unk_token.is_none() {
        return Err(invalid("has no token for unknown text"));
    }
    let missing = if in_alphabet { missing_bytes(&model.vocab)? } else { Vec::new() };
    let bpe = merges(model, &specials)?;
    Ok((Pipeline::new(normalizer, pre_tokenizer, bpe, missing), specials, Bytes::collect(bytes)))
}

/// Builds the pipeline of a GGUF file.
pub(super) fn from_bpe(vocab: BpeVocab) -> Result<(Pipeline, Specials, Bytes)> {
    let recipe = pre::recipe(&vocab.pre)?;
    if vocab.tokens.len() > MAX_TOKEN_ID as usize {
        return Err(invalid(format!("has {} tokens: the limit is {MAX_TOKEN_ID}", vocab.tokens.len())));
    }
    let specials = Specials::of_kinds(vocab.tokens.iter().map(|token| (token.text.as_bytes(), token.kind)))?;
    let bytes = Bytes::collect(vocab.tokens.iter().map(|token| match token.kind {
        TokenKind::Normal | TokenKind::Byte => byte_level(&token.text),
        _ => token.text.clone().into_bytes(),
    }));
    let merges_file = vocab
        .merges
        .iter()
        .map(|text| Merge::parse(text).ok_or_else(|| invalid(format!("has a merge that is not two tokens: {text:?}"))))
        .collect::<Result<Vec<_>>>()?;
    let mut texts = Vocab::with_capacity(vocab.tokens.len());
    for (id, token) in (0_u32..).zip(vocab.tokens) {
        if token.kind != TokenKind::Unused {
            texts.insert(token.text, id);
        }
    }
    let missing = missing_bytes(&texts)?;
    let model = ModelFile {
        kind: None,
        unk_token: None,
        continuing_subword_prefix: None,
        end_of_word_suffix: None,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: recipe.ignore_merges,
        vocab: texts,
        merges: merges_file,
    };
    let model = merges(model, &specials)?;
    let Recipe { normalizer, pre_tokenizer, .. } = recipe;
    Ok((Pipeline::new(normalizer, pre_tokenizer, model, missing), specials, bytes))
}

/// The bytes that the vocabulary has no token for. Those of plain text must be there: a prompt is made of them.
fn missing_bytes(vocab: &Vocab) -> Result<Vec<u8>> {
    let missing: Vec<u8> = letters()
        .filter(|(letter, _)| !vocab.contains_key(letter.encode_utf8(&mut [0; 4]) as &str))
        .map(|(_, byte)| byte)
        .collect();
    match missing.iter().find(|&&byte| byte == b'\n' || byte == b' ' || byte.is_ascii_graphic()) {
        Some(byte) => {
            Err(invalid(format!("has no token for {:?}: damaged, or not in GPT-2's alphabet", char::from(*byte))))
        }
        None => Ok(missing),
    }
}

/// The byte-pair model without any control token: none can be looked up, none can come out of a merge.
fn merges(file: ModelFile, specials: &Specials) -> Result<BPE> {
    let ModelFile { mut vocab, merges, .. } = file;
    let is_control = |text: &str| specials.id(text).is_some_and(|id| specials.is_control(id));
    vocab.retain(|text, _| !is_control(text));
    let mut kept = Vec::with_capacity(merges.len());
    for Merge(first, second) in merges {
        let merged = format!("{first}{second}");
        if [&first, &second, &merged].into_iter().any(|text| is_control(text)) {
            continue;
        }
        if let Some(missing) = [&first, &second, &merged].into_iter().find(|&text| !vocab.contains_key(text)) {
            return Err(invalid(format!("merges {first:?} and {second:?}, but has no token {missing:?}")));
        }
        kept.push((first, second));
    }
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, kept)
        // The crate's cache keeps words of users in every thread for as long as the thread lives.
        .cache_capacity(0)
        .fuse_unk(file.fuse_unk)
        .byte_fallback(file.byte_fallback)
        .ignore_merges(file.ignore_merges);
    if let Some(unknown) = file.unk_token {
        builder = builder.unk_token(unknown);
    }
    builder.build().map_err(|error| invalid(format!("cannot be built: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A random number generator of a few lines (xorshift): the texts must be the same in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, count: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % count as u64).expect("it is below a usize")
        }
    }

    /// Every byte, and some merges.
    fn vocabulary(pre: &str) -> BpeVocab {
        let mut tokens = super::super::alphabet();
        let merges: Vec<String> =
            ["h e", "l l", "Ġ Ġ", "ĠĠ Ġ", "Ċ Ċ", "' s", "1 2", "Ġ h", "Ġh e", "Ã ©", "č Ċ", "Ġ Ċ", "ll o"]
                .iter()
                .map(|merge| (*merge).to_owned())
                .collect();
        tokens.extend(
            merges
                .iter()
                .map(|merge| super::super::VocabToken { text: merge.replace(' ', ""), kind: TokenKind::Normal }),
        );
        BpeVocab { tokens, merges, pre: pre.to_owned() }
    }

    #[test]
    fn both_ways_from_text_to_ids_agree() {
        let parts = [
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "\u{a0}",
            "\u{3000}",
            "\u{85}",
            "he",
            "hello",
            "Hello",
            "'s",
            "'S",
            "'ll",
            "\u{17f}",
            "12",
            "1",
            "\u{661}",
            "\u{b2}",
            "\u{216b}",
            ".",
            "...",
            "{\"",
            "\",\n",
            "é",
            "日本",
            "e\u{301}",
            "\u{1f600}",
            "\u{200d}",
            "_",
            "\0",
            "\u{ad}",
        ];
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for pre in ["qwen2", "llama3", "gpt-2", "smollm"] {
            let (pipeline, ..) = from_bpe(vocabulary(pre)).unwrap();
            let words = pipeline.words.as_ref().expect("a usual rule");
            let mut looked_up = 0;
            for _ in 0..4000 {
                let text: String = (0..dice.below(12)).map(|_| parts[dice.below(parts.len())]).collect();
                if !pipeline.is_normal(&text) {
                    continue;
                }
                looked_up += 1;
                let pieces = [Piece { range: 0..text.len(), token: None }];
                let (mut fast, mut slow) = (Vec::new(), Vec::new());
                pipeline.look_up(words, &text, &pieces, &mut fast).unwrap();
                pipeline.run(&text, &pieces, &mut slow).unwrap();
                assert_eq!(fast, slow, "{pre}: {text:?}");
            }
            assert!(looked_up > 2000, "{pre}");
        }
    }
}
