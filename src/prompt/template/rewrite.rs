//! Changes a template's source where it uses Jinja features that the renderer lacks.
//!
//! - `{% generation %}` blocks mark text for training; an `if` that always holds keeps their white space control.
//! - `'%s' % x`: the renderer's `%` divides only. After a string it becomes the filter `format`.
//! - `a ~ b`: the renderer writes a list into a string before anything can refuse it as too long. Each operand gets a
//!   filter that writes lists with limits, and does not change other values.
//! - `[a, a]`: a list that holds another one twice, and so on, has few parts, but code that walks through it finds endlessly
//!   many items. Each such literal gets a filter that counts them.

use std::borrow::Cow;
use std::ops::Range;

/// The filter that an operand of `~` gets.
pub(super) const BOUNDED: &str = "dicast_bounded";

/// The filter that a list, a tuple or a map gets.
pub(super) const SIZED: &str = "dicast_sized";

/// The source in a form that the renderer supports. Anything that is not understood is not changed.
pub(super) fn rewrite(source: &str) -> Cow<'_, str> {
    let mut edits: Vec<(Range<usize>, Cow<'static, str>)> = Vec::new();
    let mut at = 0;
    let mut raw = false;
    while let Some(start) = find_from(source, at, "{") {
        let kind = source.as_bytes().get(start + 1).copied();
        let close = match kind {
            Some(b'%') => "%}",
            Some(b'{') if !raw => "}}",
            Some(b'#') if !raw => {
                let Some(end) = find_from(source, start + 2, "#}") else { break };
                at = end + 2;
                continue;
            }
            _ => {
                at = start + 1;
                continue;
            }
        };
        let (tokens, end) = tokens(source, start + 2, close);
        let Some(end) = end else { break };
        let word = tokens.first().map_or("", |token| &source[token.range.clone()]);
        if kind == Some(b'%') {
            match word {
                "raw" => raw = true,
                "endraw" => raw = false,
                "generation" if !raw && tokens.len() == 1 => edits.push((tokens[0].range.clone(), "if true".into())),
                "endgeneration" if !raw && tokens.len() == 1 => edits.push((tokens[0].range.clone(), "endif".into())),
                _ => {}
            }
        }
        if !raw {
            operators(source, &tokens, &mut edits);
        }
        at = end;
    }
    if edits.is_empty() {
        return Cow::Borrowed(source);
    }
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    edits.dedup();
    let mut out = String::with_capacity(source.len() + 64 * edits.len());
    let mut done = 0;
    for (range, text) in edits {
        if range.start < done {
            continue;
        }
        out.push_str(&source[done..range.start]);
        out.push_str(&text);
        done = range.end;
    }
    out.push_str(&source[done..]);
    Cow::Owned(out)
}

fn find_from(source: &str, at: usize, what: &str) -> Option<usize> {
    source.get(at..)?.find(what).map(|found| at + found)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Word,
    Number,
    Open,
    Close,
    Other,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// The tokens of an expression or a statement, and where it ends; no end if it is cut.
fn tokens(source: &str, start: usize, close: &str) -> (Vec<Token>, Option<usize>) {
    let bytes = source.as_bytes();
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    let mut at = start;
    // The signs of white space control belong to the brackets.
    if matches!(bytes.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    while let Some(&byte) = bytes.get(at) {
        if depth == 0 {
            let trimmed = matches!(byte, b'-' | b'+') && source[at + 1..].starts_with(close);
            if trimmed || source[at..].starts_with(close) {
                return (tokens, Some(at + close.len() + usize::from(trimmed)));
            }
        }
        let begin = at;
        let kind = match byte {
            b'\'' | b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|&next| next != byte) {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if at >= bytes.len() {
                    return (tokens, None);
                }
                at += 1;
                Kind::Text
            }
            b'(' | b'[' | b'{' => {
                depth += 1;
                at += 1;
                Kind::Open
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
                Kind::Close
            }
            b'0'..=b'9' => {
                at += source[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(source.len() - at);
                Kind::Number
            }
            _ if byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                at += source[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(source.len() - at).max(1);
                while !source.is_char_boundary(at) {
                    at += 1;
                }
                Kind::Word
            }
            _ if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            _ => {
                at += 1;
                Kind::Other
            }
        };
        tokens.push(Token { kind, range: begin..at });
    }
    (tokens, None)
}

/// Words that end an operand instead of being one.
const KEYWORDS: &[&str] = &["if", "else", "in", "is", "not", "and", "or", "set", "elif", "for", "recursive"];

/// Finds the operators to change in one expression.
fn operators(source: &str, tokens: &[Token], edits: &mut Vec<(Range<usize>, Cow<'static, str>)>) {
    let text = |place: usize| tokens.get(place).map_or("", |token: &Token| &source[token.range.clone()]);
    for (place, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Open && is_literal(source, tokens, place) {
            if let Some(end) = closing(tokens, place) {
                let after = tokens[end].range.end;
                edits.push((after..after, Cow::Owned(format!("|{SIZED}"))));
            }
            continue;
        }
        if token.kind != Kind::Other || place == 0 {
            continue;
        }
        match text(place) {
            "%" if tokens[place - 1].kind == Kind::Text => {
                // The formatted values: a tuple's items, or one operand.
                let Some(end) = operand(source, tokens, place + 1) else { continue };
                let first = &tokens[place + 1];
                if text(place + 1) == "(" && closing(tokens, place + 1) == Some(end) {
                    edits.push((token.range.start..first.range.start, "|format".into()));
                } else {
                    edits.push((token.range.start..first.range.start, "|format(".into()));
                    let stop = tokens[end].range.end;
                    edits.push((stop..stop, ")".into()));
                }
            }
            // Lists can be added too.
            sign @ ("~" | "+") => {
                let name = if sign == "~" { BOUNDED } else { SIZED };
                let mut filter = |place: usize| {
                    let named =
                        matches!(tokens[place].kind, Kind::Word | Kind::Close) && !KEYWORDS.contains(&text(place));
                    if named || sign == "~" {
                        let after = tokens[place].range.end;
                        edits.push((after..after, Cow::Owned(format!("|{name}"))));
                    }
                };
                filter(place - 1);
                if let Some(end) = operand(source, tokens, place + 1) {
                    filter(end);
                }
            }
            _ => {}
        }
    }
}

/// Whether a bracket opens a list, a map or a tuple that holds more than constants, and is no call and no subscript.
fn is_literal(source: &str, tokens: &[Token], open: usize) -> bool {
    let text = |place: usize| &source[tokens[place].range.clone()];
    let after_value = open.checked_sub(1).is_some_and(|before| match tokens[before].kind {
        Kind::Word => !KEYWORDS.contains(&text(before)),
        Kind::Close | Kind::Text => true,
        // What is formatted becomes the arguments of a filter.
        _ => text(before) == "%",
    });
    let Some(close) = closing(tokens, open).filter(|_| !after_value) else { return false };
    let mut depth = 0_usize;
    let mut comma = false;
    let mut names = false;
    for (place, token) in tokens.iter().enumerate().take(close).skip(open + 1) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Word => names = true,
            Kind::Other => comma |= depth == 0 && text(place) == ",",
            Kind::Text | Kind::Number => {}
        }
    }
    names && (text(open) != "(" || comma)
}

/// The bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

/// The last token of the operand that begins at `start`: a value with its attributes, items, calls and filters.
fn operand(source: &str, tokens: &[Token], start: usize) -> Option<usize> {
    let text = |place: usize| tokens.get(place).map_or("", |token: &Token| &source[token.range.clone()]);
    let mut at = start;
    while matches!(text(at), "-" | "+") {
        at += 1;
    }
    let first = tokens.get(at)?;
    let mut end = match first.kind {
        Kind::Open => closing(tokens, at)?,
        Kind::Text | Kind::Number => at,
        Kind::Word if !KEYWORDS.contains(&text(at)) => at,
        _ => return None,
    };
    loop {
        let next = end + 1;
        end = match text(next) {
            "." if matches!(tokens.get(next + 1)?.kind, Kind::Word | Kind::Number) => next + 1,
            "|" if tokens.get(next + 1)?.kind == Kind::Word => next + 1,
            "(" | "[" => closing(tokens, next)?,
            // Two strings side by side are one.
            _ if tokens.get(next).is_some_and(|token| token.kind == Kind::Text) && tokens[end].kind == Kind::Text => {
                next
            }
            _ => return Some(end),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(source: &str, wanted: &str) {
        assert_eq!(rewrite(source), wanted.replace("|B", &format!("|{BOUNDED}")));
    }

    #[test]
    fn generation_blocks_become_conditions() {
        becomes("{%- generation -%}x{% endgeneration %}", "{%- if true -%}x{% endif %}");
        becomes("{{ generation }}generation", "{{ generation }}generation");
        becomes(
            "{% raw %}{% generation %}{% endraw %}{% generation %}",
            "{% raw %}{% generation %}{% endraw %}{% if true %}",
        );
    }

    #[test]
    fn strings_are_formatted() {
        becomes("{{ '%s' % x }}", "{{ '%s' |format(x) }}");
        becomes("{{ '%s:%d' % (a, b.c[1]) }}{{ 5 % 2 }}", "{{ '%s:%d' |format(a, b.c[1]) }}{{ 5 % 2 }}");
        becomes("{{ \"%02d\" % loop.index0|int }}", "{{ \"%02d\" |format(loop.index0|int) }}");
        becomes("{%- set a = '%s' % f(x).y -%}", "{%- set a = '%s' |format(f(x).y) -%}");
        becomes("{{ '%}' % x }}{# '%s' % x #}'%s' % x", "{{ '%}' |format(x) }}{# '%s' % x #}'%s' % x");
    }

    #[test]
    fn operands_of_a_chain_are_bounded() {
        becomes("{{ a ~ b }}", "{{ a|B ~ b|B }}");
        becomes("{{ a.b ~ '~' ~ c[d] if e else f }}", "{{ a.b|B ~ '~'|B ~ c[d]|B if e else f }}");
        becomes("{{ g(a ~ -b, c) }}", "{{ g(a|B ~ -b|B, c) }}");
        becomes("{% set x = [1] ~ {'a': 2} %}", "{% set x = [1]|B ~ {'a': 2}|B %}");
    }

    #[test]
    fn literals_that_hold_values_are_counted() {
        let becomes = |source: &str, wanted: &str| {
            assert_eq!(rewrite(source), wanted.replace("|S", &format!("|{SIZED}")));
        };
        becomes("{{ [a, b[0], f(c)] }}", "{{ [a, b[0], f(c)]|S }}");
        becomes("{% set x = {'a': b} %}{{ [1, 'a'] }}{{ (a) }}", "{% set x = {'a': b}|S %}{{ [1, 'a'] }}{{ (a) }}");
        becomes("{% for x in [[a], (a, b)] %}", "{% for x in [[a]|S, (a, b)|S]|S %}");
        becomes("{{ 'a' + b.c + (d)|e + 1 }}", "{{ 'a' + b.c|S + (d)|e|S + 1 }}");
        becomes("{% macro m(a, b=[c]) %}{{ m(a, b) }}", "{% macro m(a, b=[c]|S) %}{{ m(a, b) }}");
    }

    #[test]
    fn broken_sources_stay_as_they_are() {
        for source in ["{{ 'a ~ b }}", "{{ a ~", "{% x", "{# a ~ b", "{", "{{ ( ~ ] }}x", "ä{{", "{{ 'ä\\", "{%}{{}}"]
        {
            let _ = rewrite(source);
        }
        becomes("{{ a", "{{ a");
    }
}
