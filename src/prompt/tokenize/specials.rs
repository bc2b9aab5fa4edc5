//! Control and added tokens: where they are in a prompt, and where they must not be.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;

use super::vocab::TokenKind;
use crate::error::{Error, ErrorKind, Result};

/// A token that is found by its text before anything is merged.
#[derive(Clone, Debug)]
pub(super) struct Special {
    pub(super) text: String,
    pub(super) id: u32,
    /// Recognized only in the template's own text. The others are runs of white space, which are found anywhere.
    pub(super) control: bool,
    pub(super) extent: Extent,
}

/// What a token includes of its surroundings, and what it requires of them; with the names of `tokenizer.json`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Extent {
    /// Includes the white space before it.
    lstrip: bool,
    /// Includes the white space after it.
    rstrip: bool,
    /// Counts only if no letter or digit touches it.
    single_word: bool,
}

/// A stretch of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) range: Range<usize>,
    /// The token that it is; `None` for ordinary text.
    pub(super) token: Option<u32>,
}

/// The table of control and added tokens.
pub(super) struct Specials {
    ids: HashMap<String, u32>,
    never_in_text: Vec<bool>,
    control: Finder,
    plain: Finder,
}

/// Finds the tokens of one group.
struct Finder {
    tokens: Vec<Special>,
    longest: Option<AhoCorasick>,
}

impl Finder {
    fn new(tokens: Vec<Special>) -> Result<Self> {
        let longest = automaton(&tokens, MatchKind::LeftmostLongest)?;
        Ok(Self { tokens, longest })
    }

    /// Appends the tokens within `range` of `text`.
    fn find<'a>(&'a self, text: &str, range: Range<usize>, found: &mut Vec<(Range<usize>, &'a Special)>) {
        let Some(automaton) = &self.longest else { return };
        for hit in automaton.find_iter(&text[range.clone()]) {
            let at = range.start + hit.start()..range.start + hit.end();
            let token = &self.tokens[hit.pattern()];
            if !token.extent.single_word || stands_alone(text, &at) {
                found.push((at, token));
            }
        }
    }
}

fn automaton(tokens: &[Special], kind: MatchKind) -> Result<Option<AhoCorasick>> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let automaton = AhoCorasick::builder().match_kind(kind).build(tokens.iter().map(|token| &token.text));
    automaton.map(Some).map_err(|error| {
        Error::new(ErrorKind::InvalidModel, format!("the model's control tokens are too many or too long: {error}"))
    })
}

fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let word = |letter: char| letter.is_alphanumeric() || letter == '_';
    !text[..at.start].chars().next_back().is_some_and(word) && !text[at.end..].chars().next().is_some_and(word)
}

/// Finds every place where the text of a control token begins.
pub(super) struct Guard(Option<AhoCorasick>);

impl Guard {
    /// Cuts `text` inside every control token's text, so that no part contains one.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let Some(automaton) = &self.0 else { return vec![text] };
        let mut cuts: Vec<usize> = automaton
            .find_overlapping_iter(text)
            .map(|hit| hit.start() + text[hit.start()..].chars().next().map_or(1, char::len_utf8))
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts = Vec::with_capacity(cuts.len() + 1);
        let mut done = 0;
        for cut in cuts {
            parts.push(&text[done..cut]);
            done = cut;
        }
        parts.push(&text[done..]);
        parts.retain(|part| !part.is_empty());
        parts
    }
}

/// Whether an added token is a run of white space, which no template uses to structure a chat.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|letter| letter.is_whitespace() || letter == '\u{2581}')
}

impl Specials {
    /// A table of these tokens. `unread` are ids that ordinary text never yields either.
    pub(super) fn new(tokens: Vec<Special>, unread: impl IntoIterator<Item = u32>) -> Result<Self> {
        let tokens: Vec<Special> = tokens.into_iter().filter(|token| !token.text.is_empty()).collect();
        let ids = tokens.iter().map(|token| (token.text.clone(), token.id)).collect();
        let mut never_in_text = Vec::new();
        let controls = tokens.iter().filter(|token| token.control).map(|token| token.id);
        for id in controls.chain(unread) {
            let id = id as usize;
            if never_in_text.len() <= id {
                never_in_text.resize(id + 1, false);
            }
            never_in_text[id] = true;
        }
        let (control, plain) = tokens.into_iter().partition(|token| token.control);
        Ok(Self { ids, never_in_text, control: Finder::new(control)?, plain: Finder::new(plain)? })
    }

    /// The table of a vocabulary that gives the kind of each token, with its tokens in the order of their ids.
    pub(super) fn of_kinds<'a>(tokens: impl Iterator<Item = (&'a [u8], TokenKind)>) -> Result<Self> {
        let mut specials = Vec::new();
        let mut unread = Vec::new();
        for (id, (bytes, kind)) in (0_u32..).zip(tokens) {
            let control = match kind {
                TokenKind::Control => true,
                TokenKind::UserDefined => !std::str::from_utf8(bytes).is_ok_and(is_blank),
                TokenKind::Unused => {
                    unread.push(id);
                    continue;
                }
                TokenKind::Normal | TokenKind::Byte | TokenKind::Unknown => continue,
            };
            match std::str::from_utf8(bytes) {
                Ok(text) => specials.push(Special { text: text.to_owned(), id, control, extent: Extent::default() }),
                Err(_) => unread.push(id),
            }
        }
        Self::new(specials, unread)
    }

    /// Keeps control tokens away from an encoder that would recognize them.
    pub(super) fn guard(&self) -> Result<Guard> {
        automaton(&self.control.tokens, MatchKind::Standard).map(Guard)
    }

    /// The token with this text.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// Whether ordinary text never yields this token.
    pub(super) fn is_control(&self, id: u32) -> bool {
        usize::try_from(id).is_ok_and(|id| self.never_in_text.get(id).copied().unwrap_or(false))
    }

    /// Splits a prompt. Control tokens are looked for inside each range of `template` (in order, not overlapping)
    /// and never across its borders; runs of white space that are tokens are looked for everywhere else.
    pub(super) fn pieces(&self, text: &str, template: &[Range<usize>]) -> Vec<Piece> {
        let mut found = Vec::new();
        for range in template {
            self.control.find(text, range.clone(), &mut found);
        }
        let mut pieces = Vec::with_capacity(2 * found.len() + 1);
        let mut done = 0;
        for (at, token) in found {
            let mut range = at;
            if token.extent.lstrip {
                range.start = done + text[done..range.start].trim_end().len();
            }
            if token.extent.rstrip {
                range.end += text[range.end..].len() - text[range.end..].trim_start().len();
            }
            // A neighbour may have included the white space at its start, never more, because no token begins with white space.
            range.start = range.start.max(done);
            if range.start >= range.end {
                continue;
            }
            self.ordinary(text, done..range.start, &mut pieces);
            done = range.end;
            pieces.push(Piece { range, token: Some(token.id) });
        }
        self.ordinary(text, done..text.len(), &mut pieces);
        pieces
    }

    /// Appends ordinary text, with the runs of white space in it that are tokens.
    fn ordinary(&self, text: &str, range: Range<usize>, pieces: &mut Vec<Piece>) {
        let mut found = Vec::new();
        self.plain.find(text, range.clone(), &mut found);
        let mut done = range.start;
        for (at, token) in found {
            if done < at.start {
                pieces.push(Piece { range: done..at.start, token: None });
            }
            done = at.end;
            pieces.push(Piece { range: at, token: Some(token.id) });
        }
        if done < range.end {
            pieces.push(Piece { range: done..range.end, token: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(text: &str, id: u32, extent: Extent) -> Special {
        Special { text: text.into(), id, control: !is_blank(text), extent }
    }

    /// The pieces as text, tokens by their id in brackets.
    fn shown(specials: &Specials, text: &str, template: &[Range<usize>]) -> String {
        let piece = |piece: &Piece| {
            let part = &text[piece.range.clone()];
            piece.token.map_or_else(|| format!("{part}|"), |id| format!("[{id}:{part}]"))
        };
        specials.pieces(text, template).iter().map(piece).collect()
    }

    #[test]
    fn the_longest_token_wins_inside_of_the_template_alone() {
        let plain = Extent::default();
        let tokens = vec![special("<a>", 1, plain), special("<a><b>", 2, plain), special("<b>", 3, plain)];
        let specials = Specials::new(tokens, [9]).expect("a table");
        let text = "<a><b><a>x<b>";
        assert_eq!(shown(&specials, text, &[0..text.len(), text.len()..text.len()]), "[2:<a><b>][1:<a>]x|[3:<b>]");
        assert_eq!(shown(&specials, text, &[0..3, 3..6]), "[1:<a>][3:<b>]<a>x<b>|");
        assert_eq!(shown(&specials, text, &[0..2, 2..5]), format!("{text}|"));
        assert_eq!(shown(&specials, text, &[]), format!("{text}|"));
        assert_eq!((specials.id("<b>"), specials.is_control(3), specials.is_control(4)), (Some(3), true, false));
        assert!(specials.is_control(9) && !specials.is_control(u32::MAX));
    }

    #[test]
    fn white_space_goes_with_a_token_that_takes_it() {
        let left = Extent { lstrip: true, ..Extent::default() };
        let right = Extent { rstrip: true, ..Extent::default() };
        let specials = Specials::new(vec![special("<l>", 1, left), special("<r>", 2, right)], []).expect("a table");
        let text = "a \n<l> b <r> \u{a0}c<r>  <l>";
        let whole = 0..text.len();
        assert_eq!(shown(&specials, text, &[whole]), "a|[1: \n<l>] b |[2:<r> \u{a0}]c|[2:<r>  ][1:<l>]");
    }

    #[test]
    fn a_whole_word_stands_alone() {
        let word = Extent { single_word: true, ..Extent::default() };
        let specials = Specials::new(vec![special("end", 1, word)], []).expect("a table");
        let text = "end bend end_ end";
        assert_eq!(shown(&specials, text, &[0..text.len(), text.len()..text.len()]), "[1:end] bend end_ |[1:end]");
    }

    #[test]
    fn runs_of_white_space_are_tokens_everywhere() {
        let plain = Extent::default();
        let specials = Specials::new(vec![special("\n\n", 1, plain), special("<a>", 2, plain)], []).expect("a table");
        assert_eq!(shown(&specials, "x\n\n\n<a>", &[]), "x|[1:\n\n]\n<a>|");
        assert_eq!(shown(&specials, "x\n\n\n<a>", &[4..7, 7..7]), "x|[1:\n\n]\n|[2:<a>]");
        assert!(!specials.is_control(1));
    }

    #[test]
    fn a_guard_leaves_no_token_whole() {
        let plain = Extent::default();
        let tokens = vec![special("<a>", 1, plain), special("a><", 2, plain), special("é>", 3, plain)];
        let guard = Specials::new(tokens, []).and_then(|specials| specials.guard()).expect("a guard");
        assert_eq!(guard.cut("x<a><a>é>"), ["x<", "a", "><", "a>é", ">"]);
        assert_eq!(guard.cut("nothing"), ["nothing"]);
        assert!(guard.cut("").is_empty());
    }
}
