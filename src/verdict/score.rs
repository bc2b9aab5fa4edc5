//! The value of one score: `4`, `"4"`, `4/5`, `4.5`, `"4 - good"`. What could be another number is refused.

use super::chars;
use crate::prompt::profile::Scale;

/// A score that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) score: f64,
    /// Whether it was written as a bare number and nothing else.
    pub(super) plain: bool,
    /// Whether it lay off the scale and was moved to its end.
    pub(super) clamped: bool,
}

/// Words that may stand before a score.
const BEFORE: &[&str] = &["score", "rating", "grade", "points"];

/// Reads a score. `cut` where the text ended right after it, so that digits may be missing.
pub(super) fn read(written: &str, cut: bool, scale: Scale, clamp: bool) -> Option<Value> {
    let folded: String;
    let mut text = written.trim_matches(chars::is_blank);
    if !text.is_ascii() {
        folded = text.chars().map(chars::fold).collect();
        text = folded.trim_matches(chars::is_blank);
    }
    let mut plain = text == written;
    let stripped = text.trim_matches(|c: char| matches!(c, '*' | '`' | '"' | '\'' | '_'));
    let mut rest = without_word(stripped);
    if rest.len() != text.len() {
        plain = false;
    }
    if let Some(positive) = rest.strip_prefix('+') {
        (rest, plain) = (positive, false);
    }
    let (score, after) = number(rest)?;
    let tail = after.trim_start_matches(['*', '`']);
    if !tail.is_empty() {
        plain = false;
        let tail = match denominator(tail) {
            Some((top, tail)) => {
                if !is_top(top, scale) {
                    return None;
                }
                tail
            }
            None => tail,
        };
        if !is_remark(tail, scale) {
            return None;
        }
    } else if cut && could_go_on(rest, score, scale) {
        return None;
    }
    if scale.contains(score) {
        return Some(Value { score, plain, clamped: false });
    }
    clamp.then(|| Value { score: score.clamp(f64::from(scale.min), f64::from(scale.max)), plain, clamped: true })
}

/// A decimal number at the start: digits, and a point only between digits. No sign but minus, no exponent.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let sign = text.len() - unsigned.len();
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    if whole == 0 {
        return None;
    }
    let mut len = sign + whole;
    if let Some(fraction) = text[len..].strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return None;
        }
        len += 1 + count;
    }
    let value: f64 = text[..len].parse().ok()?;
    value.is_finite().then_some((value, &text[len..]))
}

/// `/5` or `out of 5` after a score: the top of its scale and what follows.
fn denominator(tail: &str) -> Option<(f64, &str)> {
    let trimmed = tail.trim_start();
    let rest = trimmed.strip_prefix('/').or_else(|| {
        let lower = trimmed.get(..6).filter(|head| head.eq_ignore_ascii_case("out of"));
        lower
            .map(|_| &trimmed[6..])
            .or_else(|| trimmed.get(..3).filter(|head| head.eq_ignore_ascii_case("of ")).map(|_| &trimmed[3..]))
    })?;
    number(rest.trim_start())
}

/// Whether what follows a number is a remark and not more of the number: it begins apart from it, names no other scale
/// and begins with no other number.
fn is_remark(tail: &str, scale: Scale) -> bool {
    let tail = tail.trim_end_matches(['*', '`', '.', '!', ' ']);
    if tail.is_empty() {
        return true;
    }
    if !tail.starts_with(|c: char| chars::is_blank(c) || matches!(c, '(' | '[' | ':' | '—' | ',' | ';')) {
        return false;
    }
    let dash = |c: char| matches!(c, '-' | '–' | '—' | ':' | ',' | ';');
    let remark = tail.trim_start_matches(|c: char| chars::is_blank(c) || dash(c));
    if let Some(inner) = remark.strip_prefix(['(', '[']) {
        return match denominator(inner) {
            Some((top, _)) => is_top(top, scale),
            None => inner.trim_start().starts_with(char::is_alphabetic),
        };
    }
    let mut words = remark.split_whitespace();
    if tail.trim_start().starts_with(dash) {
        // After a dash or a colon stands prose, which may hold numbers, though not another score.
        return remark.starts_with(char::is_alphabetic)
            && !words.next().is_some_and(|word| ["or", "to", "and", "maybe"].contains(&word));
    }
    // `4 points out of 10`, `4 or 5`.
    remark.starts_with(char::is_alphabetic) && words.take(6).all(|word| !word.starts_with(|c: char| c.is_ascii_digit()))
}

fn is_top(top: f64, scale: Scale) -> bool {
    (top - f64::from(scale.max)).abs() < f64::EPSILON
}

/// The text without a word such as `score:` at its start.
fn without_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let word = &text[..end];
    if BEFORE.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        text[end..].trim_start_matches([' ', ':', '=', '*', '`'])
    } else {
        text
    }
}

/// Whether more digits could have made another score of the scale out of a number at the end of a cut text.
fn could_go_on(written: &str, score: f64, scale: Scale) -> bool {
    let fraction = written.contains('.');
    // A tenth more, or any digit after it.
    fraction || score < f64::from(scale.max) || score * 10.0 <= f64::from(scale.max)
}
