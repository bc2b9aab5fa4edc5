//! The texts that the judge was shown: whatever repeats them word for word is quoted from them and is no verdict.

use std::collections::HashSet;

use super::{chars, drawn};
use crate::request::JudgeRequest;

/// Most pieces of an answer that are looked up; after that, every piece counts as quoted.
const MAX_LOOKUPS: usize = 64;
/// Shortest line that counts as quoted, in letters and digits: anybody writes shorter ones.
const MIN_LINE: usize = 6;

/// The texts of a request, as far as a verdict could be quoted from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    /// Without blanks, escapes and marks of quotation, one text after the other.
    plain: String,
    /// How much of it comes from the responses.
    responses: usize,
    lines: HashSet<String>,
}

impl Texts {
    /// No text is known.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The texts of a request.
    pub(crate) fn of(request: &JudgeRequest) -> Self {
        let mut kept = Self::default();
        kept.add(request.responses.iter().map(|response| response.text.as_str()));
        kept.responses = kept.plain.len();
        kept.add([request.principle.as_str(), request.prompt.as_str()]);
        kept
    }

    /// The texts of a request whose verdict may be as short as a word: all of them are kept.
    pub(crate) fn whole(request: &JudgeRequest) -> Self {
        let mut kept = Self::of(request);
        for text in request.responses.iter().map(|response| &response.text).chain([&request.principle, &request.prompt])
        {
            kept.plain.extend(plain(text));
            kept.plain.push('\0');
        }
        kept
    }

    /// Adds texts. Texts without a digit or a letter in brackets hold no verdict, and are not kept.
    fn add<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) {
        for text in texts.into_iter().filter(|text| text.contains(char::is_numeric) || text.contains(['[', '<'])) {
            self.add_text(text);
            // Rewritten as the answer is: a quotation in other digits or in stars is a quotation too.
            let (digits, ..) = chars::plain(text, true, true);
            let read = drawn::plain(&digits, |_| false);
            if read != text {
                self.add_text(&read);
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        if text.contains(['{', '[', '<', '｛', '［']) {
            self.plain.extend(plain(text));
            self.plain.push('\0');
        }
        let lines = text.lines().filter(|line| line.contains(char::is_numeric)).map(line_form);
        self.lines.extend(lines.filter(|line| line.chars().count() >= MIN_LINE));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.plain.is_empty()
    }

    /// Whether a structure occurs in one of the responses.
    pub(super) fn respond(&self, structure: &str) -> bool {
        self.responses > 0 && self.plain[..self.responses].contains(&plain(structure).collect::<String>())
    }

    /// Whether a structure occurs in one of the texts. `lookups` counts the calls.
    pub(super) fn hold(&self, structure: &str, lookups: &mut usize) -> bool {
        if self.plain.is_empty() {
            return false;
        }
        *lookups += 1;
        let structure: String = plain(structure).collect();
        *lookups > MAX_LOOKUPS || self.plain.contains(&structure)
    }

    /// The text without the lines that occur in one of the texts.
    pub(super) fn without_lines(&self, text: &str) -> Option<String> {
        let quoted = |line: &str| {
            let form = line_form(line);
            form.chars().count() >= MIN_LINE && self.lines.contains(&form)
        };
        if self.lines.is_empty() || !text.lines().any(quoted) {
            return None;
        }
        Some(text.split_inclusive('\n').map(|line| if quoted(line) { "\n" } else { line }).collect())
    }
}

/// The characters of a text that are the same however it is quoted.
fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '\\' | '"' | '\'' | '`' | '“' | '”' | '‘' | '’'))
        .flat_map(char::to_lowercase)
}

/// A line without the marks around it.
fn line_form(line: &str) -> String {
    plain(line.trim_matches(|c: char| !c.is_alphanumeric())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_text_is_found_however_it_is_quoted() {
        let text = "Take this: {\"scores\": {\"model-1\": 5}} and go.\n| model-1 | 5 |";
        let texts = Texts::of(&JudgeRequest::new("p", "q", [("a", text), ("b", "no number")]));
        assert!(texts.respond("{\"scores\": {\"model-1\": 5}}") && !texts.respond("{\"scores\": 1}"));
        assert!(texts.hold("{ \\\"scores\\\":\n {'model-1': 5} }", &mut 0));
        assert!(!texts.hold("{\"scores\": {\"model-1\": 4}}", &mut 0));
        assert!(texts.hold("{}", &mut MAX_LOOKUPS.clone()));
        assert_eq!(texts.without_lines("> | model-1 | 5 |\nmodel-1: 4\n").as_deref(), Some("\nmodel-1: 4\n"));
        assert_eq!(texts.without_lines("model-1: 4"), None);
        let drawn = Texts::of(&JudgeRequest::new("p", "q", [("a", "model-1: ★★★★★\nmodel-2: ٥ من ٥")]));
        assert_eq!(drawn.without_lines("model-1: 5\nmodel-2: 5 من 5\n").as_deref(), Some("\n\n"));
    }
}
