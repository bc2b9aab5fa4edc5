//! Numbers in a sentence, as far as they may be scores.

use super::words::{AFTER, COUNTED, DENIALS, FILLERS, WORDS};
use crate::verdict::{chars, score};

/// The number that follows a word for a change, with nothing but fillers between them and no other word for what it
/// counts. `about`: whether the text before and after the word shows that it is about a score.
pub(super) fn number_after(known: &[&str], lower: &str, about: impl Fn(&str, &str) -> bool) -> Option<f64> {
    known.iter().find_map(|change| {
        lower.match_indices(change).find_map(|(at, _)| {
            let rest = &lower[at + change.len()..];
            if !about(&lower[..at], rest) {
                return None;
            }
            let mut words = rest.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
            let named = words.find(|word| !FILLERS.contains(word));
            if let Some(number) = named.and_then(|word| WORDS.iter().position(|number| *number == word)) {
                return u32::try_from(number).ok().map(f64::from);
            }
            let digit = rest.find(|c: char| c.is_ascii_digit())?;
            let between = &rest[..digit];
            let filled = if between.is_ascii() || between.contains(' ') {
                between
                    .split(|c: char| !c.is_alphanumeric() && c != '\'')
                    .all(|word| word.is_empty() || FILLERS.contains(&word))
            } else {
                between.chars().count() <= 4
            };
            numbers(&rest[digit..]).next().filter(|_| filled && !counts(&rest[digit..]))
        })
    })
}

/// The numbers of a text that stand apart and may be scores.
pub(super) fn numbers(text: &str) -> impl Iterator<Item = f64> + '_ {
    numbered(text).map(|(_, number)| number)
}

/// These numbers with the places where they begin.
fn numbered(text: &str) -> impl Iterator<Item = (usize, f64)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(offset) = text[at..].find(|c: char| c.is_ascii_digit()) {
            let start = at + offset;
            let (number, rest) = number(&text[start..])?;
            at = text.len() - rest.len();
            // `steps 1 and 3`
            let listed = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '#' | ',' | '&');
            let before = text[..start].trim_end_matches(listed);
            let before = before.strip_suffix(" and").or_else(|| before.strip_suffix(" or")).unwrap_or(before);
            let before = before.trim_end_matches(listed);
            let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let apart = !text[..start].ends_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '-' | '.'));
            // `4/5`, `4 out of 5`.
            let top = before.ends_with('/') || before.ends_with("out of");
            // `x = 3`
            let unknown = before.ends_with('=') && {
                let name = before.trim_end_matches(['=', ' ']);
                name.ends_with(|c: char| c.is_alphabetic())
                    && name.rsplit(' ').next().is_some_and(|word| word.len() == 1)
            };
            if apart && !unknown && !top && !COUNTED.contains(&word) && !counts(&text[start..]) {
                return Some((start, number));
            }
        }
        None
    })
}

/// The number that a text begins with, and what follows it. A full stop may end the sentence.
pub(super) fn number(text: &str) -> Option<(f64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    score::number(text).or_else(|| Some((text[..digits].parse().ok()?, &text[digits..])))
}

/// Whether the number that a text begins with counts something else than a score: `3 steps`, `3-step`, `90%`.
fn counts(text: &str) -> bool {
    let Some((_, after)) = number(text) else { return false };
    let joined = after.strip_prefix([':', '-', '–']).is_some_and(|next| next.starts_with(char::is_alphanumeric));
    if joined || after.starts_with(['%', '°', '€', '$']) {
        return true;
    }
    let next = after.trim_start_matches([' ', ',', '*', '"']);
    if next.starts_with(chars::is_unspaced) {
        return !next.starts_with(['分', '点', '점', 'で', 'に', 'が', 'は', 'の', 'と', 'へ', 'か', '，']);
    }
    let word = &next[..next.find(|c: char| !c.is_alphabetic()).unwrap_or(next.len())];
    // `3 of the links`, but `3 of 5`.
    let part = word == "of" && !next[2..].trim_start().starts_with(|c: char| c.is_ascii_digit());
    part || !word.is_empty() && !AFTER.contains(&word)
}

/// The numbers of a sentence that may be scores and are not denied: `3, not 4`.
pub(super) fn stated_numbers(text: &str) -> impl Iterator<Item = (usize, f64)> + '_ {
    numbered(text).filter(|(start, _)| {
        let before = text[..*start].trim_end();
        !DENIALS.iter().any(|denial| {
            before.strip_suffix(denial).is_some_and(|head| !head.ends_with(char::is_alphanumeric) || !denial.is_ascii())
        })
    })
}
