//! Where the reasoning ends and the answer begins.

use super::chars;
use super::repair::{Repair, quoted};
use crate::prompt::profile::Profile;

/// Names of tags that enclose reasoning, whatever the profile says.
const TAGS: &[&str] =
    &["think", "thinking", "thought", "thoughts", "reasoning", "begin_of_thought", "end_of_thought", "scratchpad"];
/// Longest tag, in bytes.
const MAX_TAG: usize = 40;
/// How many closing tags are tried as the end of the reasoning before the last one is taken.
const MAX_TRIED: usize = 4;
/// What chat templates write at the end of a turn.
const END_OF_TURN: &[&str] = &[
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|eom_id|>",
    "<|return|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
];

/// The judge's output in its two parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) reasoning: &'a str,
    pub(super) answer: &'a str,
    pub(super) form: Form,
    pub(super) repair: Option<Repair>,
}

/// What is known of the place where the answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The answer is what follows the reasoning.
    Split,
    /// No tag at all: the answer is the whole text.
    Untagged,
    /// Reasoning was opened and not closed: only a verdict at the very end is one.
    Unclosed,
}

/// A tag that opens or closes reasoning.
struct Tag {
    start: usize,
    end: usize,
    closes: bool,
    own: bool,
}

/// Splits the judge's output after the reasoning: at the last closing tag, but not at one within a verdict.
pub(super) fn split<'a>(text: &'a str, profile: &Profile) -> Parts<'a> {
    let tags = Tags { own: profile.reasoning.as_ref().map(|form| (form.open.as_str(), form.close.as_str())) };
    let (mut first_open, mut last_open, mut last_close) = (None, None, None);
    let mut closings: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(tag) = tags.next(text, at) {
        at = tag.end;
        if tag.closes {
            closings.truncate(MAX_TRIED);
            closings.push(tag.end);
            last_close = Some(tag);
        } else {
            first_open.get_or_insert(tag.end);
            last_open = Some(tag.end);
        }
    }
    let content_start = |end: usize| first_open.filter(|&open| open <= end).unwrap_or(0);
    if last_close.is_none() && last_open.is_none() {
        return Parts { reasoning: "", answer: text, form: Form::Untagged, repair: None };
    }
    // A tag within a string of the verdict, or after it, ends no reasoning.
    if is_json(text) {
        return Parts { reasoning: "", answer: text, form: Form::Split, repair: Some(Repair::StrayReasoningTag) };
    }
    closings.pop();
    for end in closings {
        let answer = &text[end..];
        if is_json(tags.without_closings(answer)) {
            let reasoning = text[content_start(end)..end].trim();
            let reasoning = reasoning.rfind(['<', '[', '◁']).map_or(reasoning, |tag| reasoning[..tag].trim());
            return Parts { reasoning, answer, form: Form::Split, repair: Some(Repair::StrayReasoningTag) };
        }
    }
    match (last_open, last_close) {
        (open, Some(close)) if open.is_none_or(|open| open <= close.start) => Parts {
            reasoning: text[content_start(close.start)..close.start].trim(),
            answer: &text[close.end..],
            form: Form::Split,
            repair: (!close.own).then(|| Repair::ReasoningTag(quoted(&text[close.start..close.end]))),
        },
        (_, close) => Parts {
            reasoning: text[first_open.unwrap_or(0)..].trim(),
            answer: &text[close.map_or(0, |close| close.end)..],
            form: Form::Unclosed,
            repair: Some(Repair::ReasoningUnclosed),
        },
    }
}

/// The tags that enclose reasoning.
struct Tags<'p> {
    own: Option<(&'p str, &'p str)>,
}

impl Tags<'_> {
    /// The first tag at or after a place.
    fn next(&self, text: &str, from: usize) -> Option<Tag> {
        let own_first = self.own.and_then(|(open, close)| Some((open.chars().next()?, close.chars().next()?)));
        let may_begin =
            |c: char| matches!(c, '<' | '[' | '◁') || own_first.is_some_and(|(open, close)| c == open || c == close);
        let mut at = from;
        while let Some(offset) = text[at..].find(may_begin) {
            let start = at + offset;
            if let Some(tag) = self.at(text, start) {
                return Some(tag);
            }
            at = start + text[start..].chars().next().map_or(1, char::len_utf8);
        }
        None
    }

    fn at(&self, text: &str, start: usize) -> Option<Tag> {
        let rest = &text[start..];
        let own = self.own.filter(|(open, close)| {
            let first = rest.as_bytes().first();
            first == open.as_bytes().first() || first == close.as_bytes().first()
        });
        if let Some((open, close)) = own {
            if rest.starts_with(close) {
                return Some(Tag { start, end: start + close.len(), closes: true, own: true });
            }
            if rest.starts_with(open) {
                return Some(Tag { start, end: start + open.len(), closes: false, own: true });
            }
        }
        let bracket = rest.chars().next()?;
        let ending = match bracket {
            '<' => '>',
            '[' => ']',
            '◁' => '▷',
            _ => return None,
        };
        let window = &rest[bracket.len_utf8()..];
        // In square brackets only the form of one family of models is known.
        if bracket == '[' && !window.trim_start_matches('/').starts_with("THINK]") {
            return None;
        }
        let name = window.trim_start_matches(['/', '\\', '|', ' ']);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let window = &window[..chars::floor_boundary(window, MAX_TAG)];
        let end = window.find(ending)?;
        let inner = window[..end].trim_matches(|c: char| c == '|' || c == ' ');
        let name = inner.trim_start_matches(['/', '\\', ' ']);
        let named = TAGS.iter().any(|tag| name.eq_ignore_ascii_case(tag));
        if !named {
            return None;
        }
        let closes = name.len() < inner.len() || name.starts_with("end_");
        let end = start + bracket.len_utf8() + end + ending.len_utf8();
        Some(Tag { start, end, closes, own: false })
    }

    /// The text without closing tags at its end.
    fn without_closings<'t>(&self, text: &'t str) -> &'t str {
        let mut text = text.trim_end();
        for _ in 0..MAX_TRIED {
            let Some(start) = text.rfind(['<', '[', '◁']) else { break };
            match self.at(text, start) {
                Some(tag) if tag.closes && tag.end == text.len() => text = text[..start].trim_end(),
                _ => break,
            }
        }
        text
    }
}

/// Whether a text is one JSON object and nothing else, but for a code fence.
fn is_json(text: &str) -> bool {
    let text = text.trim();
    let text = match text.strip_prefix("```") {
        Some(fenced) => {
            fenced.trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim().trim_end_matches('`').trim_end()
        }
        None => text,
    };
    text.starts_with('{') && text.ends_with('}') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Where the first mark for the end of a turn stands.
pub(super) fn end_of_turn(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(offset) = text[at..].find('<') {
        let start = at + offset;
        if END_OF_TURN.iter().any(|mark| text[start..].starts_with(mark)) {
            return Some(start);
        }
        at = start + 1;
    }
    None
}

/// Whether what follows a verdict ends it: nothing, a fence, closing brackets or tags, marks for the end of a turn.
pub(super) fn is_closing(text: &str) -> bool {
    let text = &text[..end_of_turn(text).unwrap_or(text.len())];
    let mut rest = text.trim_matches(|c| chars::is_blank(c) || matches!(c, '`' | '}' | ']' | '"' | '\''));
    while let Some(tag) = rest.strip_prefix("</") {
        let Some(end) = tag.find('>').filter(|&end| end <= MAX_TAG) else { return false };
        rest = tag[end + 1..].trim_start_matches(|c| chars::is_blank(c) || c == '`');
    }
    rest.is_empty()
}
