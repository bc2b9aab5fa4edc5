//! Strings and words: where they end, and what their escapes mean.

use std::borrow::Cow;

use super::{Bracket, Node, Reader, Stop};
use crate::verdict::chars::{self, Quote};
use crate::verdict::repair::Repair;

impl<'a> Reader<'a, '_> {
    /// Reads a string from its opening quote, `len` bytes long. `None` if the quote opens no string, because no other
    /// quote ends it.
    ///
    /// A string that is cut by the end of the text is a word. The first closing quote ends a key. In a value, a quote
    /// ends the string only if the text after it can follow a string, so that quotes within prose are kept.
    pub(super) fn string(&mut self, quote: Quote, len: usize, key: bool) -> Result<Option<Node<'a>>, Stop> {
        if self.unclosed[quote as usize] {
            return Ok(None);
        }
        let start = self.at + len;
        let Some((end, next)) = self.string_end(quote, start, key)? else {
            self.unclosed[quote as usize] = true;
            let content = &self.text[start..];
            if content.bytes().any(|byte| matches!(byte, b',' | b']' | b'}' | b'\n')) {
                return Ok(None);
            }
            self.at = self.text.len();
            return Ok(Some(Node::Word { text: content, cut: true }));
        };
        match quote {
            Quote::Double => {}
            Quote::Single | Quote::Backtick => self.repairs.push(Repair::SingleQuotes),
            _ => self.repairs.push(Repair::TypographicQuotes),
        }
        self.at = next;
        let content = self.unescape(&self.text[start..end]);
        Ok(Some(Node::Text(content)))
    }

    /// Where the content of a string ends and where the text goes on after it.
    fn string_end(&mut self, quote: Quote, start: usize, key: bool) -> Result<Option<(usize, usize)>, Stop> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut spent = start;
        while let Some(&byte) = bytes.get(at) {
            if byte == b'\\' {
                at += 1;
                at += self.text[at..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            let (closes, len) = match byte {
                b'"' => (matches!(quote, Quote::Double | Quote::TypographicDouble), 1),
                b'\'' => (matches!(quote, Quote::Single | Quote::TypographicSingle), 1),
                b'`' => (quote == Quote::Backtick, 1),
                // The lead bytes of the quotes that are not ASCII.
                0xC2 | 0xE2 | 0xE3 | 0xEF => {
                    self.text[at..].chars().next().map_or((false, 1), |c| (quote.closes(c), c.len_utf8()))
                }
                _ => (false, 1),
            };
            if !closes || (!key && is_within_word(bytes, at, at + len)) {
                at += len;
                continue;
            }
            self.work.spend(at + len - spent)?;
            spent = at + len;
            let apostrophe = quote == Quote::Single
                && self.text[..at].ends_with(char::is_alphanumeric)
                && self.text[at + len..].starts_with(char::is_alphanumeric);
            if key && !apostrophe {
                return Ok(Some((at, at + len)));
            }
            let after = &self.text[at + len..];
            let blank = chars::blank_prefix(after);
            self.work.spend(blank)?;
            if ends_string(&after[..blank], &after[blank..], quote) {
                return Ok(Some((at, at + len)));
            }
            // `"model-3, "model-1"`: this quote opens the next string, and the quote that should end ours is missing.
            let content = self.text[start..at].trim_end();
            self.work.spend(at - start - content.len())?;
            if content.ends_with([',', '，']) {
                self.repairs.push(Repair::MissingQuote);
                let comma = content.char_indices().next_back().map_or(0, |(index, _)| index);
                return Ok(Some((start + comma, start + comma)));
            }
            at += len;
        }
        self.work.spend(self.text.len() - spent)?;
        Ok(None)
    }

    /// The content of a string with its escapes resolved; borrowed if there are none.
    fn unescape(&mut self, raw: &'a str) -> Cow<'a, str> {
        if raw.bytes().any(|byte| byte < 0x20) {
            self.repairs.push(Repair::RawControl);
        }
        if !raw.contains('\\') {
            return Cow::Borrowed(raw);
        }
        let (text, known) = unescape(raw);
        if !known {
            self.repairs.push(Repair::BadEscape);
        }
        Cow::Owned(text)
    }

    /// Reads a word: everything up to the next structural character, without the blanks at its end.
    pub(super) fn word(&mut self, kind: Bracket, key: bool) -> Result<&'a str, Stop> {
        let start = self.at;
        let numeric = self.rest().starts_with(|c: char| c.is_ascii_digit());
        let mut previous = ' ';
        let mut parens = 0_usize;
        for (offset, c) in self.rest().char_indices() {
            let folded = chars::fold(c);
            let ends = match folded {
                ',' | ';' => parens == 0,
                '{' | '}' | '[' | ']' | '\n' | '\r' | '"' => true,
                ':' => key || !numeric,
                '=' => key,
                '\'' | '`' => !previous.is_alphanumeric(),
                ')' if parens == 0 => kind == Bracket::Tuple,
                // A line break in escaped form: see `skip_blank`.
                '\\' => self.text[start + offset + c.len_utf8()..].starts_with(['n', 't', 'r']),
                '#' => chars::is_blank(previous),
                '/' => {
                    let rest = &self.text[start + offset..];
                    rest.starts_with("/*") || (rest.starts_with("//") && chars::is_blank(previous))
                }
                _ => Quote::of(c).is_some_and(|quote| quote != Quote::TypographicSingle),
            };
            if ends {
                self.at = start + offset;
                self.work.spend(offset + 1)?;
                return Ok(self.text[start..self.at].trim_end_matches(chars::is_blank));
            }
            match folded {
                '(' => parens += 1,
                ')' => parens = parens.saturating_sub(1),
                _ => {}
            }
            previous = c;
        }
        self.work.spend(self.text.len() - start)?;
        self.at = self.text.len();
        Ok(self.text[start..].trim_end_matches(chars::is_blank))
    }

    /// Steps over a quote right after a word whose opening quote is missing; returns whether there was one.
    pub(super) fn stray_quote(&mut self) -> bool {
        let Some((c, len)) = self.peek() else { return false };
        if Quote::of(c).is_none() {
            return false;
        }
        let after = chars::trim_blank_start(&self.rest()[len..]);
        let stray = after.chars().next().is_none_or(|c| matches!(chars::fold(c), ':' | ',' | '}' | ']' | ')' | '='));
        if stray {
            self.repairs.push(Repair::MissingQuote);
            self.at += len;
        }
        stray
    }

    /// A word as a value, with its repairs noted.
    pub(super) fn word_node(&mut self, text: &'a str, cut: bool) -> Node<'a> {
        match text {
            "True" | "False" | "None" => self.repairs.push(Repair::PythonLiteral),
            "" | "true" | "false" | "null" => {}
            _ if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {}
            _ => self.repairs.push(Repair::Unquoted),
        }
        Node::Word { text, cut }
    }
}

/// Whether a quote from `at` to `next` is between two characters that exclude it as the end of a string. Only a quick
/// check, for texts that consist of quotes; if it says no, the question is still open.
fn is_within_word(bytes: &[u8], at: usize, next: usize) -> bool {
    let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'[' | b'{' | b'(');
    at > 0 && bytes[at - 1].is_ascii_graphic() && bytes[at - 1] != b',' && bytes.get(next).is_some_and(goes_on)
}

/// Whether a quote followed by these blanks and this text ends a string.
fn ends_string(blank: &str, after: &str, quote: Quote) -> bool {
    let mut characters = after.chars();
    let Some(next) = characters.next() else { return true };
    match chars::fold(next) {
        ',' | '}' | ']' | ')' | ':' | ';' | '#' => true,
        // After an apostrophe, a slash or a letter continues the word.
        '/' => quote != Quote::Single,
        _ if blank.contains('\n') || Quote::of(next).is_some() => true,
        // One wrong character in place of the comma, at the end of a line or before the next string.
        _ if next.is_alphanumeric() => false,
        _ => match characters.next() {
            Some('\n') => true,
            Some(' ') => characters.next().is_some_and(|c| Quote::of(c) == Some(quote)),
            _ => false,
        },
    }
}

/// Resolves escapes; returns whether JSON knows all of them.
pub(in crate::verdict) fn unescape(raw: &str) -> (String, bool) {
    let mut text = String::with_capacity(raw.len());
    let mut known = true;
    let mut rest = raw;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let Some(c) = rest.chars().next() else {
            known = false;
            break;
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\\' | '/' => text.push(c),
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{C}'),
            'u' => {
                if let Some((c, len)) = unicode_escape(rest) {
                    text.push(c);
                    rest = &rest[len..];
                } else {
                    known = false;
                    text.push(char::REPLACEMENT_CHARACTER);
                    // A lone surrogate is dropped with its digits; `\u` without digits leaves what follows.
                    rest = if hex4(rest).is_some() { &rest[4..] } else { rest };
                }
            }
            _ => {
                known = false;
                text.push(c);
            }
        }
    }
    text.push_str(rest);
    (text, known)
}

/// The character of the four hex digits at the start, or of the surrogate pair, and the bytes read.
fn unicode_escape(rest: &str) -> Option<(char, usize)> {
    let unit = hex4(rest)?;
    if let Some(c) = char::from_u32(unit) {
        return Some((c, 4));
    }
    let low = rest[4..].strip_prefix("\\u").and_then(hex4)?;
    if !(0xD800..0xDC00).contains(&unit) || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)).map(|c| (c, 10))
}

fn hex4(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}
