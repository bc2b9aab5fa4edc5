//! The distribution at each score, out of the log probabilities that a server gives.
//!
//! A server's list is short, and some give the probabilities before the constraint: what it holds of the scale is brought to
//! a sum of 1.

use crate::decode::grammar::VerdictGrammar;
use crate::decode::score::ScoreProbe;
use crate::prompt::tokenize::Tokenizer;

use super::reply::{Position, Token};

/// The distributions of a verdict that keeps to the grammar to the letter. Empty where one of them was not given.
pub(super) fn by_offset<'a>(
    grammar: &VerdictGrammar,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let places: Option<Vec<_>> = (0..grammar.len()).map(|place| grammar.score_offset(place)).collect();
    distributions(grammar, &places.unwrap_or_default(), positions, tokenizer)
}

/// The distributions of a verdict that is JSON with any white space.
pub(super) fn by_search<'a>(
    grammar: &VerdictGrammar,
    text: &str,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let mut at = 0;
    let mut places = Vec::new();
    for name in grammar.names() {
        let found = text[at..].find(name.as_str()).and_then(|found| {
            let after = at + found + name.len();
            let rest = text[after..].trim_start().strip_prefix(':')?.trim_start();
            rest.starts_with(|letter: char| letter.is_ascii_digit()).then(|| text.len() - rest.len())
        });
        let Some(place) = found else { return Vec::new() };
        places.push(place);
        at = place;
    }
    distributions(grammar, &places, positions, tokenizer)
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
                // It says the same up to the score.
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

fn bytes<'a>(token: &'a Token, tokenizer: Option<&'a Tokenizer>) -> &'a [u8] {
    match token {
        Token::Bytes(bytes) => bytes,
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
