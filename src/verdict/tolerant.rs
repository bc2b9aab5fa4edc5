//! A reader for JSON that a model has damaged. It always ends, in linear time and bounded memory, and never guesses a
//! value.
//!
//! It gives a tree in which duplicate keys are kept, an object may hold values without a key and a list may hold keys:
//! the interpretation decides what that means. Text that cannot be part of any structure is kept as a word, so that a
//! stray digit beside a score is seen and not lost.

pub(super) mod token;

use std::borrow::Cow;

use super::amend;
use super::chars::{self, Quote};
use super::repair::{Repair, Repairs};

/// How deep brackets may nest. A verdict needs three or four levels.
const MAX_DEPTH: usize = 32;
/// Most entries of one structure, and how many more for each requested name.
const MAX_ENTRIES: usize = 16_384;
const ENTRIES_A_NAME: usize = 8;

/// A value.
#[derive(Debug)]
pub(super) enum Node<'a> {
    /// A string in quotes.
    Text(Cow<'a, str>),
    /// Anything else that is not a structure: a number, a literal, an unquoted string. `cut`: the text ended with it,
    /// so that more of it may be missing. Empty if a value is missing.
    Word { text: &'a str, cut: bool },
    /// An object, a list or a tuple.
    Group(Group<'a>),
}

/// An object, or a list or tuple.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) object: bool,
    pub(super) entries: Vec<Entry<'a>>,
}

/// A value with its key, if it has one.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) value: Node<'a>,
}

/// One structure at the top level of the text.
#[derive(Debug)]
pub(super) struct Root<'a> {
    /// Always a [`Node::Group`].
    pub(super) node: Node<'a>,
    /// Byte after its end.
    pub(super) end: usize,
    /// Whether its end was written; if not, the text ended first.
    pub(super) closed: bool,
    /// Whether it holds an ellipsis, as a template does.
    pub(super) ellipsis: bool,
    /// Whether a comment in it gives a response another score.
    pub(super) amended: bool,
    pub(super) repairs: Repairs,
}

/// Why reading stopped before the structure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Too deep or too many entries; nothing from the start to the place given can be a verdict.
    TooLarge(usize),
    /// The work allowed for the whole text is done.
    Exhausted,
}

/// How many bytes may still be looked at, which keeps the time linear for every text; and how many entries one
/// structure may hold.
#[derive(Debug)]
pub(super) struct Work {
    bytes: usize,
    entries: usize,
}

impl Work {
    /// Work enough for any sensible text of `len` bytes about so many responses.
    pub(super) fn for_len(len: usize, responses: usize) -> Self {
        let bytes = len.saturating_mul(6).saturating_add(4096);
        Self { bytes, entries: responses.saturating_mul(ENTRIES_A_NAME).max(MAX_ENTRIES) }
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Stop::Exhausted)?;
        Ok(())
    }
}

/// Reads the structure whose opening bracket stands at `start`.
pub(super) fn read<'a>(text: &'a str, start: usize, work: &mut Work) -> Result<Root<'a>, Stop> {
    let mut reader = Reader {
        text,
        at: start,
        work,
        open: Vec::new(),
        entries: 0,
        unclosed: [false; Quote::COUNT],
        ellipsis: false,
        amended: false,
        repairs: Repairs::default(),
    };
    let (group, closed) = reader.group()?;
    let Reader { at, ellipsis, amended, repairs, .. } = reader;
    Ok(Root { node: Node::Group(group), end: at, closed, ellipsis, amended, repairs })
}

/// Whether the bracket at `start` opens a structure that could hold a verdict, judged by its first entry alone: an
/// object whose first entry has a key, or a list of structures or strings. Sets, placeholders and formulas in prose do
/// not.
pub(super) fn opens_structure(text: &str, start: usize, longest_name: usize) -> bool {
    let rest = &text[start..];
    let Some(open) = rest.chars().next() else { return false };
    let window = &rest[open.len_utf8()..];
    let window = &window[..chars::floor_boundary(window, longest_name + 256)];
    let inner = trim_escaped_blank(window);
    let Some(first) = inner.chars().next() else { return false };
    if chars::fold(open) == '[' {
        // `[[4]]` is a score mark.
        if first == '['
            && inner[1..]
                .trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | ';' | '/' | ' '))
                .starts_with("]]")
        {
            return false;
        }
        return matches!(chars::fold(first), '{' | '[' | '(') || Quote::of(first).is_some();
    }
    if matches!(first, '/' | '#' | '…') || inner.starts_with("...") {
        return true;
    }
    let key = &inner[first.len_utf8()..];
    let key_end = if let Some(quote) = Quote::of(first) {
        // A key whose closing quote is missing ends at its colon.
        key.find(|c| quote.closes(c) || chars::fold(c) == ':')
    } else if first.is_alphanumeric() || matches!(first, '_' | '-' | '*' | '$') {
        key.find(|c| matches!(chars::fold(c), ':' | '=' | '"' | '{' | '}' | '[' | '\n'))
    } else {
        None
    };
    let Some(key_end) = key_end else { return false };
    let after = key[key_end..].trim_start_matches(|c| Quote::of(c).is_some());
    chars::trim_blank_start(after)
        .chars()
        .next()
        .is_some_and(|c| matches!(chars::fold(c), ':' | '=' | '{' | '[' | '-' | ';' | '.' | '|') || c.is_ascii_digit())
}

/// The text without blanks and line breaks in escaped form at its start.
fn trim_escaped_blank(text: &str) -> &str {
    let mut rest = chars::trim_blank_start(text);
    while rest.starts_with('\\') && rest[1..].starts_with(['n', 't', 'r']) {
        rest = chars::trim_blank_start(&rest[2..]);
    }
    rest
}

/// What a bracket opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    Object,
    List,
    Tuple,
}

impl Bracket {
    fn opened_by(c: char) -> Option<Self> {
        match c {
            '{' => Some(Self::Object),
            '[' => Some(Self::List),
            '(' => Some(Self::Tuple),
            _ => None,
        }
    }

    fn closed_by(c: char) -> Option<Self> {
        match c {
            '}' => Some(Self::Object),
            ']' => Some(Self::List),
            ')' => Some(Self::Tuple),
            _ => None,
        }
    }
}

/// What a closing bracket does to the innermost open structure.
enum Closing {
    /// Ends it.
    Ends,
    /// Ends it, and then ends an outer structure.
    EndsOuter,
    /// Nothing: it is stray.
    Stray,
}

struct Reader<'a, 'w> {
    text: &'a str,
    at: usize,
    work: &'w mut Work,
    open: Vec<Bracket>,
    entries: usize,
    /// Kinds of quotes that are not closed in the rest of the text.
    unclosed: [bool; Quote::COUNT],
    ellipsis: bool,
    amended: bool,
    repairs: Repairs,
}

impl<'a> Reader<'a, '_> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character, with full-width forms folded, and its length in bytes.
    fn peek(&self) -> Option<(char, usize)> {
        let byte = *self.text.as_bytes().get(self.at)?;
        if byte < 0x80 {
            return Some((char::from(byte), 1));
        }
        let c = self.rest().chars().next()?;
        Some((chars::fold(c), c.len_utf8()))
    }

    /// Steps over a structural character of `len` bytes.
    fn bump(&mut self, len: usize) {
        if len > 1 {
            self.repairs.push(Repair::FullWidth);
        }
        self.at += len;
    }

    /// Skips blanks and comments.
    fn skip_blank(&mut self) -> Result<(), Stop> {
        loop {
            let blank = chars::blank_prefix(self.rest());
            self.work.spend(blank + 1)?;
            self.at += blank;
            let rest = self.rest();
            let (skipped, repair) = match rest.as_bytes() {
                [b'#', ..] | [b'/', b'/', ..] => (rest.find('\n').unwrap_or(rest.len()), Repair::Comment),
                [b'/', b'*', ..] => (rest[2..].find("*/").map_or(rest.len(), |end| end + 4), Repair::Comment),
                [b'<', b'!', b'-', b'-', ..] => (rest.find("-->").map_or(rest.len(), |end| end + 3), Repair::Comment),
                [b'\\', b'n' | b't' | b'r', ..] => (2, Repair::Unescaped),
                _ => return Ok(()),
            };
            self.work.spend(skipped)?;
            self.amended |= repair == Repair::Comment && amend::is_in_comment(&rest[..skipped]);
            self.repairs.push(repair);
            self.at += skipped;
        }
    }

    /// Reads a structure from its opening bracket; returns whether its end was written.
    fn group(&mut self) -> Result<(Group<'a>, bool), Stop> {
        let (kind, len) = match self.peek() {
            Some((c, len)) => (Bracket::opened_by(c).unwrap_or(Bracket::Object), len),
            None => (Bracket::Object, 0),
        };
        if self.open.len() == MAX_DEPTH {
            return Err(Stop::TooLarge(self.at));
        }
        self.bump(len);
        self.open.push(kind);
        let mut entries = Vec::new();
        let closed = self.entries(kind, &mut entries)?;
        self.open.pop();
        Ok((Group { object: kind == Bracket::Object, entries }, closed))
    }

    /// Reads entries up to the end of the innermost structure; returns whether that end was written.
    fn entries(&mut self, kind: Bracket, entries: &mut Vec<Entry<'a>>) -> Result<bool, Stop> {
        // Commas since the last entry; none is expected before the first entry.
        let mut commas = 0;
        let mut first = true;
        loop {
            self.skip_blank()?;
            let Some((c, len)) = self.peek() else {
                self.repairs.push(Repair::Bracket);
                return Ok(false);
            };
            if matches!(c, ',' | ';') {
                commas += 1;
                if commas > 1 || first || c == ';' {
                    self.repairs.push(Repair::ExtraComma);
                }
                self.bump(len);
                continue;
            }
            if let Some(closing) = Bracket::closed_by(c) {
                if commas > 0 {
                    self.repairs.push(Repair::ExtraComma);
                }
                match self.closing(kind, closing, entries) {
                    Closing::Ends => {
                        self.bump(len);
                        if self.open.len() == 1 && self.continues()? {
                            self.repairs.push(Repair::Bracket);
                            (commas, first) = (0, true);
                            continue;
                        }
                        return Ok(true);
                    }
                    Closing::EndsOuter => return Ok(true),
                    Closing::Stray => self.bump(len),
                }
                continue;
            }
            if let Some(dots) = ellipsis_prefix(self.rest()) {
                self.ellipsis = true;
                self.repairs.push(Repair::Ellipsis);
                self.at += dots;
                (commas, first) = (0, true);
                continue;
            }
            if commas == 0 && !first {
                self.repairs.push(Repair::MissingComma);
            }
            self.entries += 1;
            if self.entries > self.work.entries {
                return Err(Stop::TooLarge(self.at));
            }
            entries.extend(self.entry(kind)?);
            (commas, first) = (0, false);
        }
    }

    /// Decides what a closing bracket means if a structure of `kind` with these entries is the innermost one.
    fn closing(&mut self, kind: Bracket, closing: Bracket, entries: &[Entry<'a>]) -> Closing {
        if closing == kind {
            return Closing::Ends;
        }
        self.repairs.push(Repair::Bracket);
        // `"best-to-worst": "a", "b"]`: the opening bracket of the list is missing.
        let list_without_opening =
            kind == Bracket::Object && closing == Bracket::List && entries.last().is_some_and(|e| e.key.is_none());
        let enclosing = &self.open[..self.open.len() - 1];
        if list_without_opening {
            Closing::Stray
        } else if enclosing.contains(&closing) {
            Closing::EndsOuter
        } else if closing == Bracket::Tuple {
            Closing::Stray
        } else {
            Closing::Ends
        }
    }

    /// After the bracket that would end the outermost structure: whether further entries follow, so that the bracket
    /// was one too many. If so, moves to the first of them.
    fn continues(&mut self) -> Result<bool, Stop> {
        let mut at = self.at;
        let mut comma = false;
        loop {
            let blank = chars::blank_prefix(&self.text[at..]);
            self.work.spend(blank + 1)?;
            at += blank;
            match self.text[at..].chars().next().map(|c| (chars::fold(c), c)) {
                Some((',', c)) if !comma => {
                    comma = true;
                    at += c.len_utf8();
                }
                Some(('}' | ']', c)) if !comma => at += c.len_utf8(),
                _ => break,
            }
        }
        let rest = &self.text[at..];
        let window = &rest[..chars::floor_boundary(rest, 64)];
        let Some(first) = window.chars().next() else { return Ok(false) };
        let follows = if let Some(quote) = Quote::of(first) {
            let inner = &window[first.len_utf8()..];
            inner.find(|c| quote.closes(c)).is_some_and(|end| {
                let after = inner[end..].trim_start_matches(|c| quote.closes(c));
                chars::trim_blank_start(after).starts_with([':', '：'])
            })
        } else {
            let end = window.find(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_')).unwrap_or(0);
            let value = chars::trim_blank_start(window[end..].trim_start_matches([':', '：']));
            // Without a comma, `Corrected: {` begins another structure.
            end > 0
                && window[end..].starts_with([':', '：'])
                && (value.starts_with(['[', '［']) || (comma && value.starts_with(['{', '｛'])))
        };
        if follows {
            self.at = at;
        }
        Ok(follows)
    }

    /// Reads one entry of a structure of `kind`; `None` if the text there means nothing.
    fn entry(&mut self, kind: Bracket) -> Result<Option<Entry<'a>>, Stop> {
        let Some((c, len)) = self.peek() else { return Ok(None) };
        if Bracket::opened_by(c).is_some() {
            let (group, _) = self.group()?;
            return Ok(Some(Entry { key: None, value: Node::Group(group) }));
        }
        let start = self.at;
        if let Some(quote) = Quote::of(c) {
            if let Some(node) = self.string(quote, len, kind == Bracket::Object)? {
                let end = self.at;
                match node {
                    Node::Text(text) => {
                        self.skip_blank()?;
                        if self.colon(kind)? {
                            return Ok(Some(Entry { key: Some(text), value: self.value(kind)? }));
                        }
                        // `"model-1: 4, "model-2"`: the quote that should end the key is missing.
                        if !(kind == Bracket::Object && text.contains([':', '：'])) {
                            self.at = end;
                            let value = Node::Text(text);
                            return Ok(Some(Entry { key: None, value }).filter(|entry| !entry.value.is_missing()));
                        }
                    }
                    cut => return Ok(Some(Entry { key: None, value: cut })),
                }
            }
            self.repairs.push(Repair::MissingQuote);
            self.at = start + len;
            self.skip_blank()?;
        }
        let word = self.word(kind, kind == Bracket::Object)?;
        if word.is_empty() {
            return Ok(self.stray());
        }
        let cut = self.at == self.text.len();
        let quoted = self.stray_quote();
        self.skip_blank()?;
        if self.colon(kind)? {
            if !quoted {
                self.repairs.push(Repair::Unquoted);
            }
            return Ok(Some(Entry { key: Some(Cow::Borrowed(word)), value: self.value(kind)? }));
        }
        Ok(Some(Entry { key: None, value: self.word_node(word, cut) }))
    }

    /// Steps over a character that cannot begin an entry. A letter or digit is kept as a word.
    fn stray(&mut self) -> Option<Entry<'a>> {
        let rest = self.rest();
        let c = rest.chars().next()?;
        self.at += c.len_utf8();
        if Quote::of(c).is_some() {
            self.repairs.push(Repair::MissingQuote);
        } else {
            self.repairs.push(Repair::MissingColon);
        }
        c.is_alphanumeric().then(|| Entry { key: None, value: Node::Word { text: &rest[..c.len_utf8()], cut: false } })
    }

    /// After a possible key: steps over its colon, or what was written in its place, and returns whether a value
    /// follows.
    fn colon(&mut self, kind: Bracket) -> Result<bool, Stop> {
        let Some((c, len)) = self.peek() else { return Ok(false) };
        match c {
            ':' => {
                self.bump(len);
                return Ok(true);
            }
            '=' => {
                self.repairs.push(Repair::MissingColon);
                self.bump(len);
                if self.rest().starts_with('>') {
                    self.at += 1;
                }
                return Ok(true);
            }
            _ => {}
        }
        if kind != Bracket::Object {
            return Ok(false);
        }
        // One wrong character between the key and its colon: `"scores"|: {`.
        if !matches!(c, ',' | '{' | '[') && self.rest()[len..].starts_with(':') {
            self.repairs.push(Repair::MissingColon);
            self.at += len + 1;
            return Ok(true);
        }
        let begins_value = |c: char| matches!(c, '{' | '[') || c.is_ascii_digit();
        if begins_value(c) {
            self.repairs.push(Repair::MissingColon);
            return Ok(true);
        }
        // One wrong character in place of the colon, with a blank after it: `"model-1"; 4`. Without the blank, a sign
        // or a point could belong to the number.
        if !c.is_alphanumeric() && Quote::of(c).is_none() && !matches!(c, ',' | '}' | ']' | ')' | '(') {
            let after = &self.rest()[len..];
            let blank = chars::blank_prefix(after);
            let value = after[blank..].chars().next().is_some_and(|c| begins_value(chars::fold(c)));
            if blank > 0 && value && !after[..blank].contains('\n') {
                self.work.spend(blank)?;
                self.repairs.push(Repair::MissingColon);
                self.at += len;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the value of a key.
    fn value(&mut self, kind: Bracket) -> Result<Node<'a>, Stop> {
        self.skip_blank()?;
        while let Some((':' | '=', len)) = self.peek() {
            self.repairs.push(Repair::MissingColon);
            self.bump(len);
            self.skip_blank()?;
        }
        let missing = Node::Word { text: "", cut: false };
        let Some((c, len)) = self.peek() else { return Ok(Node::Word { text: "", cut: true }) };
        if Bracket::opened_by(c).is_some() {
            return Ok(Node::Group(self.group()?.0));
        }
        if matches!(c, ',' | '}' | ']' | ')') {
            return Ok(missing);
        }
        let start = self.at;
        if let Some(quote) = Quote::of(c) {
            if let Some(node) = self.string(quote, len, false)? {
                let end = self.at;
                self.skip_blank()?;
                if matches!(self.peek(), Some((':', _))) {
                    // `"scores": "model-1": 4`: the string is a key, and the bracket before it is missing.
                    self.repairs.push(Repair::Bracket);
                    self.at = start;
                    return Ok(missing);
                }
                self.at = end;
                return Ok(node);
            }
            self.repairs.push(Repair::MissingQuote);
            self.at = start + len;
        }
        let word = self.word(kind, false)?;
        if matches!(self.peek(), Some((':', _))) {
            self.repairs.push(Repair::Bracket);
            self.at = start;
            return Ok(missing);
        }
        let cut = self.at == self.text.len();
        if !word.is_empty() {
            self.stray_quote();
        }
        Ok(self.word_node(word, cut))
    }
}

impl<'a> Node<'a> {
    /// The structure, if it is one.
    pub(super) fn group(&self) -> Option<&Group<'a>> {
        match self {
            Self::Group(group) => Some(group),
            _ => None,
        }
    }

    /// Whether nothing was written where a value belongs.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::Text(text) => text.chars().all(|c| chars::is_blank(c) || matches!(c, ',' | ':' | ';')),
            Self::Word { text, .. } => text.is_empty(),
            Self::Group(_) => false,
        }
    }
}

/// Length of the ellipsis at the start of a text.
fn ellipsis_prefix(text: &str) -> Option<usize> {
    if text.starts_with('…') {
        return Some('…'.len_utf8());
    }
    let dots = text.bytes().take(16).take_while(|&byte| byte == b'.').count();
    (dots >= 2).then_some(dots)
}
