//! The value of one score: `4`, `"4"`, `4/5`, `4.5`, `"4 - good"`. Text that could mean another number is refused.

use super::amend;
use super::chars;
use super::lexicon::Lexicon;
use super::scale::{self, Named};
use crate::prompt::profile::Scale;

/// A score that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) score: f64,
    /// Whether it was written as a bare number and nothing else.
    pub(super) plain: bool,
    /// Whether it lay off the scale and was moved to its end.
    pub(super) clamped: bool,
    /// The other scale from which it was mapped.
    pub(super) from: Option<Named>,
}

/// Why a score cannot be read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Why {
    /// It is no number, or could be another one.
    Unclear,
    /// It is off the scale.
    Off(f64),
    /// It is on another scale than the profile's.
    OtherScale(Named),
    /// It counts something else: `4 words`.
    Unit,
    /// The reason was already noted.
    Told,
}

/// A score, or why it cannot be read.
pub(super) type Read = Result<Value, Why>;

/// How scores are to be read: the profile's scale, the one that the text names, and what the policy allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) scale: Scale,
    pub(super) named: Option<Named>,
    pub(super) clamp: bool,
    pub(super) rescale: bool,
}

/// Words that may stand before a score.
const BEFORE: &[&str] =
    &["score", "rating", "grade", "points", "note", "punkte", "得分", "评分", "分数", "スコア", "点数"];
/// Words for what scores count.
const UNITS: &[&str] = &[
    "点です",
    "点でした",
    "点とします",
    "점입니다",
    "points",
    "point",
    "pts",
    "pt",
    "stars",
    "star",
    "marks",
    "mark",
    "punkte",
    "punkt",
    "puntos",
    "punto",
    "étoiles",
    "étoile",
    "estrellas",
    "pontos",
    "punti",
    "puan",
    "punkty",
    "punktów",
    "điểm",
    "poäng",
    "poeng",
    "бали",
    "балів",
    "бала",
    "bodů",
    "body",
    "पॉइंट",
    "अंक",
    "امتیاز",
    "คะแนน",
    "נקודות",
    "балла",
    "баллов",
    "балл",
    "نقاط",
    "نقطة",
    "分",
    "点",
    "점",
    "星",
    "つ星",
    "颗星",
    "★",
    "⭐",
    "☆",
    "✩",
    "🌟",
];
/// Words with which a remark on a score may begin.
const REMARKS: &[&str] = &[
    "because",
    "since",
    "as",
    "due",
    "while",
    "but",
    "though",
    "although",
    "given",
    "with",
    "for",
    "it",
    "its",
    "it's",
    "is",
    "this",
    "that",
    "the",
    "very",
    "quite",
    "rather",
    "good",
    "great",
    "excellent",
    "fair",
    "poor",
    "bad",
    "weak",
    "strong",
    "average",
    "ok",
    "okay",
    "solid",
    "clear",
    "perfect",
    "best",
    "worst",
    "mostly",
    "somewhat",
    "overall",
    "weil",
    "da",
    "car",
    "parce",
    "porque",
    "pues",
    "sehr",
    "très",
    "muy",
    "gut",
    "bon",
    "bien",
];

/// Reads a score. `cut`: the text ended right after it, so that digits may be missing.
pub(super) fn read(written: &str, cut: bool, rule: Rule) -> Read {
    let folded: String;
    let mut text = written.trim_matches(chars::is_blank);
    if !text.is_ascii() {
        folded = text.chars().filter(|&c| !chars::is_invisible(c)).map(chars::fold).collect();
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
    let (score, after) = number(rest).ok_or(Why::Unclear)?;
    let tail = after.trim_start_matches(['*', '`']);
    let mut named = rule.named;
    if !tail.is_empty() {
        plain = false;
        let named_beside = scale::named(tail);
        let (tail, top) = remark(tail)?;
        // `4 (on a scale of 1 to 10)`.
        if let Some(other) = named_beside.filter(|other| top.is_none() && !other.is(rule.scale)) {
            named = Some(other);
        }
        if let Some(top) = top {
            // A scale beside the number itself takes precedence over one in a heading.
            if !named.is_some_and(|named| (named.max - top).abs() < f64::EPSILON) {
                // Percent begin with 0, unless they are the judge's own scale.
                let is_own = (top - f64::from(rule.scale.max)).abs() < f64::EPSILON;
                let other = Named { min: (top > 99.0 && !is_own).then_some(0.0), max: top };
                if named.is_some_and(|named| !named.is(rule.scale)) && !other.is(rule.scale) {
                    return Err(Why::OtherScale(other));
                }
                named = Some(other);
            }
        }
        debug_assert!(tail.is_empty() || !tail.starts_with(|c: char| c.is_ascii_digit()));
    } else if cut && could_go_on(rest, score, rule.scale) {
        return Err(Why::Unclear);
    }
    let other = named.filter(|named| !named.is(rule.scale));
    let (score, from) = match other {
        None => (score, None),
        Some(named) if !rule.rescale => return Err(Why::OtherScale(named)),
        Some(named) => {
            if !named.contains(score, rule.scale) && !rule.clamp {
                return Err(Why::Off(score));
            }
            (named.map(score, rule.scale), Some(named))
        }
    };
    if rule.scale.contains(score) {
        return Ok(Value { score, plain: plain && from.is_none(), clamped: false, from });
    }
    if !rule.clamp {
        return Err(Why::Off(score));
    }
    let score = score.clamp(f64::from(rule.scale.min), f64::from(rule.scale.max));
    Ok(Value { score, plain, clamped: true, from })
}

/// Whether a text is a number with a word for what scores count, and nothing else: `4 points`.
pub(super) fn is_counted(text: &str) -> bool {
    number(text).and_then(|(_, tail)| after_unit(tail)).is_some_and(|rest| rest.trim().is_empty())
}

/// Whether a number with a word counts something other than a score: `5 words`.
pub(super) fn counts_else(text: &str) -> bool {
    let Some((_, tail)) = number(text) else { return false };
    let word = tail.trim_start();
    let is_word = word.starts_with(char::is_alphabetic) && word.split_whitespace().count() == 1;
    is_word && after_unit(tail).is_none() && denominator(tail).is_none()
}

/// A decimal number at the start: digits, and a point only between digits. No sign except minus, no exponent.
pub(super) fn number(text: &str) -> Option<(f64, &str)> {
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
    if let Some(rest) = trimmed.strip_prefix('%') {
        return Some((100.0, rest));
    }
    let rest = trimmed.strip_prefix('/').or_else(|| {
        [
            "out of a possible",
            "out of possible",
            "out of a maximum of",
            "out of a total of",
            "out of",
            "of ",
            "von ",
            "sur ",
            "sobre ",
            "из ",
        ]
        .iter()
        .find_map(|word| {
            trimmed.get(..word.len()).filter(|head| head.to_lowercase() == *word).map(|_| &trimmed[word.len()..])
        })
    })?;
    number(rest.trim_start())
}

/// Whether a remark replaces the score with another: `4, lowered to 3`, `4.4 (rounded to 4)`.
pub(super) fn is_revised(text: &str) -> bool {
    static REVISIONS: Lexicon = Lexicon::new(&[
        "rounded to",
        "rounded up to",
        "rounded down to",
        "rounding to",
        "adjusted to",
        "lowered to",
        "raised to",
        "reduced to",
        "increased to",
        "changed to",
        "corrected to",
        "revised to",
        "downgraded to",
        "upgraded to",
        "capped at",
        "make that",
        "scratch that",
        "minus ",
        "gerundet auf",
        "korrigiert auf",
        "arrondi à",
        "redondeado a",
    ]);
    let lower = text.to_ascii_lowercase();
    REVISIONS.find(&lower).is_some_and(|at| lower[at..].contains(char::is_numeric)) || amend::is_given(&lower)
}

/// The text after a number, if it is a remark and not more of the number: it is separated from the number and holds no
/// other number. Also gives the top of a scale that it names.
fn remark(tail: &str) -> Result<(&str, Option<f64>), Why> {
    if is_revised(tail) {
        return Err(Why::Unclear);
    }
    if tail.starts_with(chars::is_blank) && tail.trim_start().starts_with('.') {
        // A point separated from its number: digits may be missing.
        return Err(Why::Unclear);
    }
    let mut tail = tail.trim_end_matches(['*', '`', '.', '!', ' ', '。', '！']);
    let mut top = None;
    for _ in 0..3 {
        if top.is_none()
            && let Some((found, rest)) = denominator(tail)
        {
            (top, tail) = (Some(found), rest);
        }
        match after_unit(tail) {
            Some(rest) => tail = rest,
            None => break,
        }
    }
    if top.is_none()
        && let Some((found, rest)) = denominator(tail)
    {
        (top, tail) = (Some(found), rest);
    }
    let rest = tail.trim_start_matches(['*', '`']);
    if rest.is_empty() {
        return Ok(("", top));
    }
    if !rest.starts_with(|c: char| chars::is_blank(c) || matches!(c, '(' | '[' | ':' | '—' | ',' | ';')) {
        return Err(Why::Unclear);
    }
    let dash = |c: char| matches!(c, '-' | '–' | '—' | ':' | ',' | ';');
    let remark = rest.trim_start_matches(|c: char| chars::is_blank(c) || dash(c));
    if let Some(inner) = remark.strip_prefix(['(', '[']) {
        return match denominator(inner).or_else(|| number(inner).and_then(|(_, rest)| denominator(rest))) {
            Some((found, rest)) if top.is_none_or(|top| (top - found).abs() < f64::EPSILON) => Ok((rest, Some(found))),
            None if is_bound(inner) || goes_on(inner) => Err(Why::Unclear),
            None if inner.trim_start().starts_with(char::is_alphabetic) => Ok((inner, top)),
            _ => Err(Why::Unclear),
        };
    }
    if !remark.starts_with(char::is_alphabetic) {
        return Err(Why::Unclear);
    }
    let mut words = remark.split_whitespace();
    let first = words
        .clone()
        .next()
        .unwrap_or_default()
        .trim_matches(|c: char| !c.is_alphanumeric() && c != '\'')
        .to_lowercase();
    if rest.trim_start().starts_with(dash) {
        // After a dash or a colon comes prose, which may hold numbers but not another score.
        return if ["or", "to", "and", "maybe", "oder", "ou", "o", "bis"].contains(&first.as_str()) {
            Err(Why::Unclear)
        } else {
            Ok((remark, top))
        };
    }
    // `4 points out of 10`, `4 or 5`, `4 words`.
    if ["or", "to", "and", "maybe", "oder", "ou", "bis"].contains(&first.as_str())
        || words.any(|word| word.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(Why::Unclear);
    }
    if top.is_some() || REMARKS.contains(&first.as_str()) { Ok((remark, top)) } else { Err(Why::Unit) }
}

/// Whether a remark in brackets says that the number is only a bound: `4 (at most)`.
fn is_bound(inner: &str) -> bool {
    const BOUNDS: &[&str] =
        &["at most", "at least", "or more", "or less", "or higher", "or lower", "or above", "or below", "max"];
    let inner = inner.trim_start().to_ascii_lowercase();
    BOUNDS.iter().any(|bound| inner.starts_with(bound))
}

/// Whether another number follows a remark in brackets: `4 (if lenient), 3 (if strict)`.
fn goes_on(inner: &str) -> bool {
    let after = inner.split_once([')', ']']).map_or("", |(_, after)| after);
    after.trim_start_matches([' ', ',', ';', '/', '|']).starts_with(|c: char| c.is_ascii_digit())
}

/// What follows the word for what scores count, as in `4 points`, `4分`.
fn after_unit(tail: &str) -> Option<&str> {
    let trimmed = tail.trim_start_matches([' ', '-', '\u{a0}']);
    let end = trimmed.find(|c: char| !c.is_alphabetic()).unwrap_or(trimmed.len());
    let word = trimmed[..end].to_lowercase();
    if UNITS.contains(&word.as_str()) {
        return Some(&trimmed[end..]);
    }
    UNITS.iter().filter(|unit| !unit.is_ascii()).find_map(|unit| {
        let rest = trimmed.strip_prefix(unit)?;
        (!rest.starts_with(|c: char| c.is_alphabetic() && !chars::is_unspaced(c))).then_some(rest)
    })
}

/// The text without a word such as `score:` at its start.
fn without_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphabetic()).unwrap_or(text.len());
    let word = &text[..end];
    if BEFORE.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        text[end..].trim_start_matches([' ', ':', '=', '*', '`', '：'])
    } else {
        text
    }
}

/// Whether further digits could have made a number at the end of a cut text into another score of the scale.
fn could_go_on(written: &str, score: f64, scale: Scale) -> bool {
    let fraction = written.contains('.');
    // A tenth more, or any digit after it.
    fraction || score < f64::from(scale.max) || score * 10.0 <= f64::from(scale.max)
}
