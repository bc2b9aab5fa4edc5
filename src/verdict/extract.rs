//! Finds where the reasoning ends and the answer begins.

use std::borrow::Cow;

use super::chars;
use super::repair::{Repair, quoted};
use super::turn;
use crate::prompt::profile::Profile;

/// Names of tags that enclose reasoning, whatever the profile says.
const TAGS: &[&str] = &[
    "think",
    "thinking",
    "thought",
    "thoughts",
    "reasoning",
    "begin_of_thought",
    "end_of_thought",
    "scratchpad",
    "start_thinking",
    "end_thinking",
    "start_of_thought",
    "begin_of_thinking",
    "end_of_thinking",
    "end_think",
    "thinking_process",
    "inner_monologue",
    "internal_monologue",
    "chain_of_thought",
    "reasoning_content",
    "seed:think",
];
/// Marks around reasoning whose form is unlike all others.
const ODD_TAGS: &[(&str, bool)] = &[
    ("<|channel>thought", false),
    ("<channel|>", true),
    ("<unused94>", false),
    ("<unused95>", true),
    ("Here is my thought process:", false),
    ("Here is my response:", true),
    ("Here's my thought process:", false),
    ("Here's my response:", true),
];
/// Longest tag, in bytes.
const MAX_TAG: usize = 40;
/// How many closing tags are tried as the end of the reasoning before the last one is taken.
const MAX_TRIED: usize = 4;
/// The judge's output in its two parts.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) reasoning: Cow<'a, str>,
    pub(super) answer: Cow<'a, str>,
    pub(super) form: Form,
    pub(super) repair: Option<Repair>,
}

/// What is known about where the answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The answer is what follows the reasoning.
    Split,
    /// No tag at all: the answer is the whole text.
    Untagged,
    /// Reasoning was opened and not closed: only a verdict at the very end counts.
    Unclosed,
    /// The turn is in channels, and none of them is the final one.
    NoAnswer,
}

/// A tag that opens or closes reasoning.
struct Tag {
    start: usize,
    end: usize,
    closes: bool,
    own: bool,
}

/// Splits the judge's output after the reasoning: at the last closing tag, except one within a verdict and one that the
/// text only mentions. A section before the answer that is marked as thoughts belongs to the reasoning.
pub(super) fn split<'a>(text: &'a str, profile: &Profile) -> Parts<'a> {
    let mut parts = split_at_tags(text, profile);
    if matches!(parts.form, Form::Split | Form::Untagged)
        && let Cow::Borrowed(answer) = parts.answer
        && let Some((thoughts, mark, rest)) = section(answer)
    {
        let reasoning = if parts.reasoning.is_empty() {
            Cow::Borrowed(thoughts)
        } else {
            Cow::Owned(format!("{}\n{thoughts}", parts.reasoning))
        };
        let repair = parts.repair.or_else(|| Some(Repair::ReasoningTag(quoted(mark))));
        parts = Parts { reasoning, answer: Cow::Borrowed(rest), form: Form::Split, repair };
    }
    parts
}

/// A section of thoughts at the start of an answer: its content, its closing mark, and what follows, which must begin as an
/// answer does.
fn section(answer: &str) -> Option<(&str, &str, &str)> {
    const NAMES: &[&str] =
        &["analysis", "reflection", "explanation", "rationale", "critique", "comparison", "deliberation", "notes"];
    const FENCES: &[&str] = &["```thinking", "```thought", "```thoughts", "```reasoning", "```analysis", "```think"];
    const THOUGHTS: &[&str] = &["think", "thought", "reason", "analysis"];
    let begun = answer.trim_start();
    let cut = |open: usize, close: &str, last: bool| {
        let inner = &begun[open..];
        let at = if last { inner.rfind(close) } else { inner.find(close) }?;
        let mark = &inner[at..at + close.len()];
        Some((inner[..at].trim(), mark.trim(), &inner[at + close.len()..]))
    };
    let found = if let Some(inner) = begun.strip_prefix('<') {
        let name = &inner[..inner.find('>').filter(|&end| end <= MAX_TAG)?];
        if name == "details" {
            let (head, _) = inner.split_once("</summary>")?;
            let head = head.to_lowercase();
            if !head.contains("<summary>") || !THOUGHTS.iter().any(|word| head.contains(word)) {
                return None;
            }
        } else if !NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return None;
        }
        cut(name.len() + 2, &format!("</{name}>"), true)
    } else {
        let line = begun.lines().next()?.trim_end();
        FENCES.contains(&line).then(|| cut(line.len(), "\n```", false)).flatten()
    };
    let (thoughts, mark, rest) = found?;
    rest.trim_start().starts_with(['{', '<', '`', '|', '#', '*']).then_some((thoughts, mark, rest))
}

fn split_at_tags<'a>(text: &'a str, profile: &Profile) -> Parts<'a> {
    if let Some(channels) = turn::channels(text) {
        let (answer, form) = match channels.answer {
            Some(answer) => (answer, Form::Split),
            None => (Cow::Borrowed(""), Form::NoAnswer),
        };
        return Parts { reasoning: Cow::Owned(channels.reasoning), answer, form, repair: None };
    }
    let parts = |reasoning: &'a str, answer: &'a str, form, repair| Parts {
        reasoning: Cow::Borrowed(reasoning),
        answer: Cow::Borrowed(answer),
        form,
        repair,
    };
    let tags = Tags { own: profile.reasoning.as_ref().map(|form| (form.open.as_str(), form.close.as_str())) };
    let (mut first_open, mut last_open, mut last_close) = (None, None, None);
    let (mut depth, mut spoken_of) = (0_usize, None);
    let mut closings: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(tag) = tags.next(text, at) {
        at = tag.end;
        if is_spoken_of(text, &tag) {
            if tag.closes {
                spoken_of = Some(tag.end);
            }
        } else if tag.closes {
            closings.truncate(MAX_TRIED);
            closings.push(tag.end);
            depth = depth.saturating_sub(1);
            last_close = Some(tag);
        } else {
            // A tag that is written twice in a row opens only one reasoning.
            if last_open.is_none_or(|last: usize| !text[last..tag.start].trim().is_empty()) {
                depth += 1;
            }
            first_open.get_or_insert(tag.end);
            last_open = Some(tag.end);
        }
    }
    let content_start = |end: usize| first_open.filter(|&open| open <= end).unwrap_or(0);
    if last_close.is_none() && last_open.is_none() && spoken_of.is_none() {
        return parts("", text, Form::Untagged, None);
    }
    // A tag within a string of the verdict, or after the verdict, does not end reasoning.
    if is_json(text) {
        return parts("", text, Form::Split, Some(Repair::StrayReasoningTag));
    }
    closings.pop();
    for end in closings {
        let answer = &text[end..];
        if is_json(tags.without_closings(answer)) {
            let reasoning = text[content_start(end)..end].trim();
            let reasoning = reasoning.rfind(['<', '[', '◁']).map_or(reasoning, |tag| reasoning[..tag].trim());
            return parts(reasoning, answer, Form::Split, Some(Repair::StrayReasoningTag));
        }
    }
    match (last_open, last_close) {
        (open, Some(close)) if open.is_none_or(|open| open <= close.start) && depth == 0 => parts(
            text[content_start(close.start)..close.start].trim(),
            &text[close.end..],
            Form::Split,
            (!close.own).then(|| Repair::ReasoningTag(quoted(&text[close.start..close.end]))),
        ),
        (open, close) => {
            let end = close.map(|close| close.end).max(spoken_of).unwrap_or(0);
            let reasoning = text[first_open.or(open).unwrap_or(0)..].trim();
            parts(reasoning, &text[end..], Form::Unclosed, Some(Repair::ReasoningUnclosed))
        }
    }
}

/// Whether the text only mentions a tag: the tag is in quotes, or in the middle of a sentence.
fn is_spoken_of(text: &str, tag: &Tag) -> bool {
    let (before, after) = (&text[..tag.start], &text[tag.end..]);
    let opening = before.chars().next_back().is_some_and(|c| chars::Quote::of(c).is_some());
    if opening {
        let outer = before.trim_end_matches(|c| chars::Quote::of(c).is_some());
        let apart = outer.is_empty() || outer.ends_with(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | ':'));
        if apart && (!outer.ends_with('\n') || after.starts_with(|c| chars::Quote::of(c).is_some())) {
            return true;
        }
    }
    if !tag.closes {
        return false;
    }
    let middle =
        before.ends_with(' ') && before.trim_end_matches(' ').ends_with(|c: char| c.is_lowercase() || c == ',');
    let goes_on = after.strip_prefix(' ').is_some_and(|after| after.starts_with(char::is_lowercase));
    middle && goes_on
}

/// The tags that enclose reasoning.
struct Tags<'p> {
    own: Option<(&'p str, &'p str)>,
}

impl Tags<'_> {
    /// The first tag at or after a place.
    fn next(&self, text: &str, from: usize) -> Option<Tag> {
        let own_first = self.own.and_then(|(open, close)| Some((open.chars().next()?, close.chars().next()?)));
        let may_begin = |c: char| {
            matches!(c, '<' | '[' | '◁' | 'H') || own_first.is_some_and(|(open, close)| c == open || c == close)
        };
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
        if let Some((mark, closes)) = ODD_TAGS.iter().find(|(mark, _)| rest.starts_with(mark)) {
            return Some(Tag { start, end: start + mark.len(), closes: *closes, own: false });
        }
        let bracket = rest.chars().next()?;
        let ending = match bracket {
            '<' => '>',
            '[' => ']',
            '◁' => '▷',
            _ => return None,
        };
        let window = &rest[bracket.len_utf8()..];
        // In square brackets, only the form of one model family is known.
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
        let closes = name.len() < inner.len() || name.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("end_"));
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

/// Whether a text is one JSON object and nothing else, apart from a code fence.
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

/// Whether the text after a verdict ends it: nothing, a fence, closing brackets or tags, marks for the end of a turn.
pub(super) fn is_closing(text: &str) -> bool {
    let text = &text[..turn::end(text).unwrap_or(text.len())];
    let mut rest = text.trim_matches(|c| chars::is_blank(c) || matches!(c, '`' | '}' | ']' | '"' | '\''));
    while let Some(tag) = rest.strip_prefix("</") {
        let Some(end) = tag.find('>').filter(|&end| end <= MAX_TAG) else { return false };
        rest = tag[end + 1..].trim_start_matches(|c| chars::is_blank(c) || c == '`');
    }
    rest.is_empty()
}
