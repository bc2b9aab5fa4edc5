//! The distribution at each score, from the log probabilities that a server or a caller's engine gives.
//!
//! Such lists are short, and some hold the probabilities before the constraint. So the probabilities of the scores in the list
//! are scaled to a sum of 1.

use crate::decode::grammar::VerdictGrammar;
use crate::decode::score::{ScoreProbe, expected_score};
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::Tokenizer;
use crate::verdict::Verdict;

/// A token as an engine names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    #[cfg(feature = "remote")]
    Id(u32),
    Bytes(Vec<u8>),
}

impl Token {
    /// Its text, if the engine names it by text.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            #[cfg(feature = "remote")]
            Self::Id(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Its length in bytes, if the engine names it by text.
    #[cfg(feature = "remote")]
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }
}

/// A token that was written, and the alternatives at its place, with log probabilities.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    pub(crate) token: Token,
    pub(crate) logprob: Option<f32>,
    pub(crate) alternatives: Vec<(Token, f32)>,
}

/// The distributions of a verdict that follows the grammar exactly. Empty if one of them is missing.
pub(crate) fn by_offset<'a>(
    grammar: &VerdictGrammar,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let places: Option<Vec<_>> = (0..grammar.len()).map(|place| grammar.score_offset(place)).collect();
    distributions(grammar, &places.unwrap_or_default(), positions, tokenizer)
}

/// The distributions of a verdict that is JSON with any white space.
pub(crate) fn by_search<'a>(
    grammar: &VerdictGrammar,
    text: &str,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let places = places(grammar, text).unwrap_or_default();
    distributions(grammar, &places, positions, tokenizer)
}

/// The places of the scores in a verdict that is JSON with any white space.
fn places(grammar: &VerdictGrammar, text: &str) -> Option<Vec<usize>> {
    let mut at = 0;
    let mut places = Vec::new();
    for name in grammar.names() {
        let after = at + text[at..].find(name.as_str())? + name.len();
        let rest = text[after..].trim_start().strip_prefix(':')?.trim_start();
        if !rest.starts_with(|letter: char| letter.is_ascii_digit()) {
            return None;
        }
        at = text.len() - rest.len();
        places.push(at);
    }
    Some(places)
}

/// Adds expected scores to a verdict that was read from the text of `positions`. None are added if the scores cannot be
/// found with certainty: the scores at the places found must be those that were read.
pub(crate) fn add_expected(verdict: &mut Verdict, positions: &[Position], aliases: &AliasMap, profile: &Profile) {
    let bytes: Vec<u8> = positions.iter().flat_map(|position| bytes(&position.token, None)).copied().collect();
    // One byte for each byte, so that offsets are valid in both.
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    let close = profile.reasoning.as_ref().map(|form| form.close.as_str());
    let begin = close.and_then(|close| text.rfind(close).map(|at| at + close.len())).unwrap_or(0);
    let grammar = VerdictGrammar::new(&profile.verdict, profile.scale, "", aliases.shown());
    let found: Option<Vec<usize>> =
        places(&grammar, &text[begin..]).map(|places| places.into_iter().map(|place| begin + place).collect());
    let Some(places) = found.filter(|places| places.len() == aliases.len()) else { return };
    let as_read = |(place, at): (usize, &usize)| {
        let digits = text[*at..].split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        let after = text[at + digits.len()..].starts_with('.');
        let read = verdict.scores[aliases.request_index(place)].score;
        !after && digits.parse::<f64>().is_ok_and(|written| (written - read).abs() < f64::EPSILON)
    };
    if !places.iter().enumerate().all(as_read) {
        return;
    }
    for (place, distribution) in distributions(&grammar, &places, positions.iter(), None).into_iter().enumerate() {
        let scored = &mut verdict.scores[aliases.request_index(place)];
        scored.expected = Some(expected_score(profile.scale, &distribution));
        scored.distribution = Some(distribution);
    }
    verdict.refine_derived_ranking();
}

fn distributions<'a>(
    grammar: &VerdictGrammar,
    places: &[usize],
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let mut places = places.iter().copied().peekable();
    let (mut start, mut found) = (0, Vec::new());
    for position in positions {
        let written = bytes(&position.token, tokenizer);
        let end = start + written.len();
        while let Some(place) = places.next_if(|&place| place < end) {
            let Some(within) = place.checked_sub(start) else { return Vec::new() };
            let mut probe = ScoreProbe::new(grammar.scale());
            let mut seen_written = false;
            for (token, logprob) in &position.alternatives {
                let other = bytes(token, tokenizer);
                seen_written |= other == written;
                // It has the same text up to the score.
                if other.len() > within && other[..within] == written[..within] {
                    probe.add(other[within], *logprob);
                }
            }
            if let (false, Some(logprob)) = (seen_written, position.logprob) {
                probe.add(written[within], logprob);
            }
            let Some(distribution) = probe.distribution() else { return Vec::new() };
            found.push(distribution);
        }
        start = end;
    }
    if places.next().is_none() { found } else { Vec::new() }
}

#[cfg_attr(not(feature = "remote"), expect(unused_variables, reason = "only servers name tokens by ids"))]
fn bytes<'a>(token: &'a Token, tokenizer: Option<&'a Tokenizer>) -> &'a [u8] {
    match token {
        Token::Bytes(bytes) => bytes,
        #[cfg(feature = "remote")]
        Token::Id(id) => tokenizer.and_then(|tokenizer| tokenizer.token_bytes(*id)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::profile::{Scale, VerdictForm};

    fn grammar() -> VerdictGrammar {
        VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "\n\n", &["a".into(), "b".into()])
    }

    /// A text as tokens: each digit with the alternatives, all else by `size` letters.
    fn positions(text: &str, size: usize, alternatives: &[(&str, f32)]) -> Vec<Position> {
        let token = |text: &str| Token::Bytes(text.as_bytes().to_vec());
        let mut list = Vec::new();
        for piece in text.split_inclusive(|letter: char| letter.is_ascii_digit()) {
            let words = piece.trim_end_matches(|letter: char| letter.is_ascii_digit());
            let letters: Vec<char> = words.chars().collect();
            for chunk in letters.chunks(size) {
                let text: String = chunk.iter().collect();
                list.push(Position { token: token(&text), logprob: Some(0.0), alternatives: Vec::new() });
            }
            if let Some(digit) = piece.strip_prefix(words).filter(|digit| !digit.is_empty()) {
                let alternatives = alternatives.iter().map(|(text, logprob)| (token(text), *logprob)).collect();
                list.push(Position { token: token(digit), logprob: Some(-0.5), alternatives });
            }
        }
        list
    }

    #[test]
    fn distributions_are_found_wherever_tokens_begin() {
        let grammar = grammar();
        let text = grammar.example();
        for size in 1..9 {
            let list = positions(&text, size, &[("1", -0.1), ("5", -2.4), ("\n", -0.2), ("50", -9.0)]);
            let found = by_offset(&grammar, list.iter(), None);
            assert_eq!(found.len(), 2, "{size}");
            let sum: f64 = found[1].iter().sum();
            assert!(
                (sum - 1.0).abs() < 1e-9 && found[1][0] > 0.85 && found[1][4] > 0.08 && found[1][2] == 0.0,
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_score_that_is_not_among_the_alternatives_counts_as_written() {
        let grammar = grammar();
        let list = positions(&grammar.example(), 3, &[("\n", -0.2)]);
        assert_eq!(by_offset(&grammar, list.iter(), None)[0], [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(by_offset(&grammar, list[..4].iter(), None), Vec::<Vec<f64>>::new());
    }

    #[test]
    fn white_space_of_the_servers_own_does_not_hide_a_score() {
        let text = "{\"scores\" :\n {\"a\" :  3,\"b\":5}, \"best-to-worst\": [\"b\", \"a\"]}";
        let list = positions(text, 4, &[("3", -0.7), ("5", -0.7)]);
        let found = by_search(&grammar(), text, list.iter(), None);
        assert_eq!(found.len(), 2);
        assert!((found[0][2] - 0.5).abs() < 1e-6);
        assert!(by_search(&grammar(), "{\"scores\": {\"a\": true}}", list.iter(), None).is_empty());
    }
}
