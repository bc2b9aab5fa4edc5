//! The parts of a vocabulary, and the bytes that its tokens stand for.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a token is for, by the types of GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Ordinary text.
    Normal,
    /// Control: begins, ends or structures text; ordinary text never yields it.
    Control,
    /// Added by hand, such as `<think>`. Treated as control, unless it is only white space.
    UserDefined,
    /// Padding of the vocabulary: never read or written.
    Unused,
    /// One byte, for text that no other token can write.
    Byte,
    /// Stands for text outside the vocabulary.
    Unknown,
}

/// A token of a byte-pair vocabulary. Its id is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabToken {
    /// Its text: for [`TokenKind::Normal`], in the byte-to-unicode alphabet of GPT-2; for the others, as it is.
    pub text: String,
    /// What it is for.
    pub kind: TokenKind,
}

/// A byte-pair vocabulary as a GGUF file holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BpeVocab {
    /// All tokens, by id (`tokenizer.ggml.tokens` and `tokenizer.ggml.token_type`).
    pub tokens: Vec<VocabToken>,
    /// All merges, the earliest first, each two tokens with a blank between (`tokenizer.ggml.merges`).
    pub merges: Vec<String>,
    /// How text is split before merging (`tokenizer.ggml.pre`).
    pub pre: String,
}

/// A token of a vocabulary that the engine tokenizes by itself. Its id is its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawToken {
    /// The bytes that it stands for.
    pub bytes: Vec<u8>,
    /// What it is for.
    pub kind: TokenKind,
}

/// The bytes of every token, in one piece: a vocabulary has some 150,000.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    bytes: Vec<u8>,
    /// Where each token ends.
    ends: Vec<usize>,
}

impl Bytes {
    /// Takes the bytes of token 0, 1, 2, …; an empty entry is an id without a token.
    pub(super) fn collect<B: AsRef<[u8]>>(tokens: impl IntoIterator<Item = B>) -> Self {
        let mut this = Self::default();
        for token in tokens {
            this.bytes.extend_from_slice(token.as_ref());
            this.ends.push(this.bytes.len());
        }
        this
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<&[u8]> {
        let id = usize::try_from(id).ok()?;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        (start < end).then(|| &self.bytes[start..end])
    }
}

/// GPT-2's alphabet: printable Latin-1 stands for itself, each other byte for a letter from U+0100 on.
const LETTERS: [char; 256] = {
    let mut letters = ['\0'; 256];
    let (mut at, mut moved) = (0_u32, 0x100);
    while at < 256 {
        let printable = matches!(at, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable { at } else { moved };
        moved += !printable as u32;
        letters[at as usize] = char::from_u32(code).expect("none is above U+0143");
        at += 1;
    }
    letters
};

/// The letter of a byte in GPT-2's alphabet.
pub(super) fn letter(byte: u8) -> char {
    LETTERS[usize::from(byte)]
}

static BYTE_OF: LazyLock<HashMap<char, u8>> = LazyLock::new(|| LETTERS.iter().copied().zip(0..=u8::MAX).collect());

/// The letters of the bytes that occur in UTF-8, with these bytes: a vocabulary without one of them cannot write every
/// text.
pub(super) fn letters() -> impl Iterator<Item = (char, u8)> {
    BYTE_OF.iter().map(|(&letter, &byte)| (letter, byte)).filter(|(_, byte)| !matches!(byte, 0xc0 | 0xc1 | 0xf5..))
}

/// The bytes of a token in GPT-2's alphabet; the text itself if it is not written in that alphabet.
pub(super) fn byte_level(text: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = text.chars().map(|letter| BYTE_OF.get(&letter).copied()).collect();
    bytes.unwrap_or_else(|| text.as_bytes().to_vec())
}

/// The bytes of a token as `SentencePiece` writes them: `▁` for a blank, `<0x0A>` for a byte.
pub(super) fn sentence_piece(text: &str) -> Vec<u8> {
    let byte = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).filter(|digits| digits.len() == 2);
    match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
        Some(byte) => vec![byte],
        None => text.replace('\u{2581}', " ").into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_of_gpt2_is_undone() {
        assert_eq!(byte_level("ĠaĊ"), b" a\n");
        assert_eq!(byte_level("Ã©"), "é".as_bytes());
        assert_eq!(byte_level("日本"), "日本".as_bytes());
        assert_eq!(BYTE_OF.len(), 256);
    }

    #[test]
    fn sentence_piece_writes_blanks_and_bytes() {
        assert_eq!(sentence_piece("▁▁a"), b"  a");
        assert_eq!(sentence_piece("<0x0A>"), b"\n");
        assert_eq!(sentence_piece("<0x0>"), b"<0x0>");
    }

    #[test]
    fn ids_without_a_token_have_no_bytes() {
        let bytes = Bytes::collect(["a", "", "bc"]);
        assert_eq!(
            (bytes.len(), bytes.get(0), bytes.get(1), bytes.get(2)),
            (3, Some(&b"a"[..]), None, Some(&b"bc"[..]))
        );
        assert_eq!(bytes.get(3), None);
    }
}
