//! The distribution at each score, from the log probabilities that a server or a caller's engine gives.
//!
//! Such lists are short, and some hold the probabilities before the constraint. So the probabilities of the scores in the list
//! are scaled to a sum of 1. Of scores such as 1 and 10, which begin alike, the list at the next token tells them apart, if the
//! judge wrote one of the two. If it did not, and they are likely, somebody must look what would have come, or there is no
//! distribution.

use std::ops::Range;

use crate::decode::grammar::VerdictGrammar;
use crate::decode::score::{ScoreProbe, expected_score};
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::{Profile, VerdictKind};
use crate::prompt::tokenize::Tokenizer;
use crate::verdict::{Mark, Verdict, marks_at_end, of_choice, scores_of_marks};

/// The id of a token that is not known.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// A token as an engine names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    #[cfg(feature = "remote")]
    Id(u32),
    Bytes(Vec<u8>),
    /// By both.
    #[cfg(feature = "remote")]
    Both(u32, Vec<u8>),
}

impl Token {
    /// Its text, if the engine names it by text.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            #[cfg(feature = "remote")]
            Self::Id(_) => &[],
            #[cfg(feature = "remote")]
            Self::Both(_, bytes) => bytes,
            Self::Bytes(bytes) => bytes,
        }
    }

    /// Its id, if the engine names it by that.
    #[cfg(feature = "remote")]
    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Id(id) | Self::Both(id, _) => *id,
            Self::Bytes(_) => UNKNOWN,
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

/// The distributions of a verdict, or of one up to its scores, that follows the grammar exactly. Empty if one of them is missing.
pub(crate) fn by_offset<'a>(
    grammar: &VerdictGrammar,
    text: &str,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    distributions(grammar, &grammar.score_places(text).unwrap_or_default(), positions, tokenizer)
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
fn places(grammar: &VerdictGrammar, text: &str) -> Option<Vec<Range<usize>>> {
    let mut at = 0;
    let mut places = Vec::new();
    for name in grammar.names() {
        let after = at + text[at..].find(name.as_str())? + name.len();
        let rest = text[after..].trim_start().strip_prefix(':')?.trim_start();
        let start = text.len() - rest.len();
        at = start + grammar.marks().run(rest.as_bytes());
        // Also not if it is 4.5.
        if grammar.marks().read(&text.as_bytes()[start..at]).is_none() || text[at..].starts_with('.') {
            return None;
        }
        places.push(start..at);
    }
    Some(places)
}

/// Adds expected scores to a verdict that was read from the text of `positions`. None are added if the scores cannot be
/// found with certainty: the scores at the places found must be those that were read, and whole.
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
    let read: Vec<f64> = (0..aliases.len()).map(|place| verdict.scores[aliases.request_index(place)].score).collect();
    let Some(places) = places_of(&text[begin..], &read, &grammar, aliases, profile) else { return };
    let places: Vec<_> = places.into_iter().map(|at| begin + at.start..begin + at.end).collect();
    let mut found = distributions(&grammar, &places, positions.iter(), None);
    if profile.verdict.kind() == VerdictKind::Choice {
        found = of_choice(profile.scale, &found);
        if aliases.shown().first().is_some_and(|name| name == "B") {
            found.reverse();
        }
    }
    for (place, distribution) in found.into_iter().enumerate() {
        let scored = &mut verdict.scores[aliases.request_index(place)];
        scored.expected = Some(expected_score(profile.scale, &distribution));
        scored.distribution = Some(distribution);
    }
    verdict.refine_derived_ranking();
}

/// The places of the scores in an answer, if they are those that were `read`, in the order shown.
fn places_of(
    answer: &str,
    read: &[f64],
    grammar: &VerdictGrammar,
    aliases: &AliasMap,
    profile: &Profile,
) -> Option<Vec<Range<usize>>> {
    let same = |one: &[f64]| one.len() == read.len() && one.iter().zip(read).all(|(a, b)| (a - b).abs() < f64::EPSILON);
    if profile.verdict.kind() == VerdictKind::Table {
        let places = places(grammar, answer)?;
        let written = places.iter().map(|at| answer[at.clone()].parse().ok()).collect::<Option<Vec<f64>>>()?;
        return same(&written).then_some(places);
    }
    let (values, places): (Vec<f64>, Vec<Range<usize>>) =
        marks_at_end(answer, aliases, profile)?.into_iter().map(|Mark { value, at }| (value, at)).unzip();
    let whole = |at: &Range<usize>| grammar.marks().read(answer[at.clone()].as_bytes()).is_some();
    let scores = scores_of_marks(&values, aliases, profile)?;
    (same(&scores) && places.iter().all(whole)).then_some(places)
}

/// A score of which lists of alternatives are known.
pub(crate) struct Seen {
    pub(crate) probe: ScoreProbe,
    /// The position at which the token that begins the score stands.
    #[cfg_attr(not(feature = "remote"), expect(dead_code, reason = "only the remote engine looks there again"))]
    pub(crate) at: usize,
    /// Whether the number went on, as 1 to 10, although something else was likelier that ends it: a constraint may have forbidden that.
    pub(crate) stretched: bool,
}

/// What the lists of `positions` say of the scores of a verdict that follows the grammar exactly. Empty if one of them is missing.
#[cfg(feature = "remote")]
pub(crate) fn seen<'a>(
    grammar: &VerdictGrammar,
    text: &str,
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Seen> {
    probes(grammar, &grammar.score_places(text).unwrap_or_default(), positions, tokenizer)
}

/// Adds what comes at a position within a score, or right after it.
pub(crate) fn add_after(probe: &mut ScoreProbe, position: &Position, tokenizer: Option<&Tokenizer>) {
    position.each(tokenizer, |text, token, logprob| match text {
        // The end of the text.
        [] => probe.add_end(f64::from(logprob)),
        text => probe.add(text, id(token, text, tokenizer), logprob),
    });
}

fn distributions<'a>(
    grammar: &VerdictGrammar,
    places: &[Range<usize>],
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Vec<f64>> {
    let probes = probes(grammar, places, positions, tokenizer);
    probes.iter().map(|seen| seen.probe.distribution()).collect::<Option<_>>().unwrap_or_default()
}

/// What the lists of `positions` say of the scores at `places`, which are those of the text that the positions write. Empty if
/// they do not reach all of them.
fn probes<'a>(
    grammar: &VerdictGrammar,
    places: &[Range<usize>],
    positions: impl Iterator<Item = &'a Position>,
    tokenizer: Option<&Tokenizer>,
) -> Vec<Seen> {
    let mut probes: Vec<Seen> = Vec::with_capacity(places.len());
    // What is written of the last score that was begun.
    let mut begun: Vec<u8> = Vec::new();
    let mut start = 0;
    for (at, position) in positions.enumerate() {
        let written = bytes(&position.token, tokenizer);
        let end = start + written.len();
        let last = places.get(probes.len().wrapping_sub(1));
        if let (Some(Seen { probe, stretched, .. }), Some(place)) = (probes.last_mut(), last)
            && start > place.start
            && start <= place.end
        {
            let mut then = ScoreProbe::after(grammar.marks(), &begun);
            add_after(&mut then, position, tokenizer);
            probe.take(then);
            *stretched |=
                start < place.end && grammar.marks().read(&begun).is_some() && position.ends_number(tokenizer);
            begun.extend(written.iter().take(place.end - start));
        }
        while let Some(place) = places.get(probes.len()).filter(|place| place.start < end) {
            let Some(within) = place.start.checked_sub(start) else { return Vec::new() };
            let mut probe = ScoreProbe::new(grammar.marks());
            position.each(tokenizer, |text, token, logprob| {
                // It has the same text up to the score.
                if text.len() > within && text[..within] == written[..within] {
                    probe.add(&text[within..], id(token, text, tokenizer), logprob);
                }
            });
            begun = written[within..].iter().copied().take(place.len()).collect();
            probes.push(Seen { probe, at, stretched: false });
        }
        start = end;
    }
    if probes.len() == places.len() { probes } else { Vec::new() }
}

impl Position {
    /// The log probability of a token here, if the list has it.
    #[cfg(feature = "remote")]
    pub(crate) fn logprob_of(&self, id: u32, tokenizer: Option<&Tokenizer>) -> Option<f32> {
        let text = tokenizer.and_then(|tokenizer| tokenizer.token_bytes(id));
        let is = |token: &Token| match token {
            Token::Id(known) | Token::Both(known, _) => *known == id,
            Token::Bytes(bytes) => text == Some(bytes.as_slice()),
        };
        let listed = self.alternatives.iter().find(|(token, _)| is(token)).map(|(_, logprob)| *logprob);
        listed.or(self.logprob.filter(|_| is(&self.token))).filter(|logprob| !logprob.is_nan())
    }

    /// Whether the likeliest token here begins with no digit, or ends the text.
    fn ends_number(&self, tokenizer: Option<&Tokenizer>) -> bool {
        let (mut best, mut ends) = (f32::NEG_INFINITY, false);
        self.each(tokenizer, |text, _, logprob| {
            if logprob > best {
                (best, ends) = (logprob, !text.first().is_some_and(u8::is_ascii_digit));
            }
        });
        ends
    }

    /// Calls `f` with the text, the token and the log probability of each alternative, and of what was written if it is not among
    /// them.
    fn each(&self, tokenizer: Option<&Tokenizer>, mut f: impl FnMut(&[u8], &Token, f32)) {
        let written = bytes(&self.token, tokenizer);
        let mut seen_written = false;
        for (token, logprob) in &self.alternatives {
            let text = bytes(token, tokenizer);
            seen_written |= text == written;
            f(text, token, *logprob);
        }
        if let (false, Some(logprob)) = (seen_written, self.logprob) {
            f(written, &self.token, logprob);
        }
    }
}

/// The id of a token that can begin several scores, if it can be known: only for those it is used.
fn id(token: &Token, text: &[u8], tokenizer: Option<&Tokenizer>) -> u32 {
    #[cfg(feature = "remote")]
    if let Token::Id(id) | Token::Both(id, _) = token {
        return *id;
    }
    let _ = token;
    let ids = tokenizer
        .filter(|_| text.last().is_some_and(u8::is_ascii_digit))
        .and_then(|tokenizer| tokenizer.encode_text(std::str::from_utf8(text).ok()?).ok());
    match ids.as_deref() {
        Some(&[id]) => id,
        _ => UNKNOWN,
    }
}

#[cfg_attr(not(feature = "remote"), expect(unused_variables, reason = "only servers name tokens by ids"))]
fn bytes<'a>(token: &'a Token, tokenizer: Option<&'a Tokenizer>) -> &'a [u8] {
    match token {
        Token::Bytes(bytes) => bytes,
        #[cfg(feature = "remote")]
        Token::Both(_, bytes) => bytes,
        #[cfg(feature = "remote")]
        Token::Id(id) => tokenizer.and_then(|tokenizer| tokenizer.token_bytes(*id)).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VerdictPolicy;
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
            let found = by_offset(&grammar, &text, list.iter(), None);
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
        let text = grammar.example();
        let list = positions(&text, 3, &[("\n", -0.2)]);
        assert_eq!(by_offset(&grammar, &text, list.iter(), None)[0], [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(by_offset(&grammar, &text, list[..4].iter(), None), Vec::<Vec<f64>>::new());
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

    /// The distributions of the scores 1 to 10 that these tokens write, each with its alternatives.
    fn of_ten(tokens: &[(&str, &[(&str, f32)])]) -> Vec<Vec<f64>> {
        let token = |text: &str| Token::Bytes(text.as_bytes().to_vec());
        let list: Vec<Position> = tokens
            .iter()
            .map(|(text, alternatives)| Position {
                token: token(text),
                logprob: None,
                alternatives: alternatives.iter().map(|(text, share)| (token(text), share.ln())).collect(),
            })
            .collect();
        let text: String = tokens.iter().map(|(text, _)| *text).collect();
        let form = VerdictForm { layout: "<a>%score%, %score%</a>".into(), ..VerdictForm::default() };
        let grammar = VerdictGrammar::new(&form, Scale { min: 1, max: 10 }, "", &["a".into(), "b".into()]);
        by_offset(&grammar, &text, list.iter(), None)
    }

    /// The verdict of an answer in this layout, whose digits and letters have the alternatives.
    fn parsed(layout: &str, names: &[&str], answer: &str, alternatives: &[(&str, f32)]) -> Verdict {
        let mut profile = Profile::builtin();
        profile.verdict.layout = layout.into();
        let names = AliasMap::identity(names.iter().map(ToString::to_string).collect());
        let mut verdict = crate::verdict::parse(answer, &names, &profile, &VerdictPolicy::default()).unwrap();
        let token = |text: &str| Token::Bytes(text.as_bytes().to_vec());
        let list: Vec<Position> = answer
            .chars()
            .map(|c| Position {
                token: token(&c.to_string()),
                logprob: None,
                alternatives: if c.is_ascii_digit() || matches!(c, 'A' | 'B') {
                    alternatives.iter().map(|(text, share)| (token(text), share.ln())).collect()
                } else {
                    Vec::new()
                },
            })
            .collect();
        add_expected(&mut verdict, &list, &names, &profile);
        verdict
    }

    fn expected(verdict: &Verdict) -> Vec<Option<f64>> {
        verdict.scores.iter().map(|one| one.expected.map(|value| (value * 1e4).round() / 1e4)).collect()
    }

    #[test]
    fn layouts_without_names_have_distributions_too() {
        let four = [("4", 0.6), ("2", 0.2), (",", 0.2)];
        let of = |layout: &str, names: &[&str], answer: &str| expected(&parsed(layout, names, answer, &four));
        assert_eq!(of("Score: %score%", &["a"], "It has 4 faults.\n\nScore: 4"), [Some(3.5)]);
        assert_eq!(of("Score: %score%", &["a"], "<think>\nScore: 1</think>\n\n**Score:** 4/5."), [Some(3.5)]);
        assert_eq!(of("%score%", &["a"], " 4\n"), [Some(3.5)]);
        let two = "<answer>%score%</answer><answer>%score%</answer>";
        assert_eq!(of(two, &["a", "b"], "<answer> 4</answer> <answer>2</answer>"), [Some(3.5), Some(3.5)]);
        assert_eq!(of("Scores: %list%.", &["a", "b", "c"], "Scores: 4, 2, 4."), [Some(3.5); 3]);
        // A score that is not whole has no place in a distribution.
        assert_eq!(of("Score: %score%", &["a"], "Score: 3.5"), [None]);
        let a = [("A", 0.75), ("B", 0.25)];
        let choice = |names: &[&str], answer: &str| expected(&parsed("[[%choice%]]", names, answer, &a));
        assert_eq!(choice(&["A", "B"], "B is long: [[A]]"), [Some(4.0), Some(2.0)]);
        assert_eq!(choice(&["B", "A"], "[[ **A** ]]"), [Some(2.0), Some(4.0)]);
        assert_eq!(choice(&["first", "second"], "[[A]]"), [Some(4.0), Some(2.0)]);
    }

    #[test]
    fn digits_that_are_tokens_of_their_own_are_told_apart_by_the_token_after_them() {
        let found = of_ten(&[
            ("<a>", &[]),
            ("1", &[("1", 0.6), ("9", 0.4)]),
            ("0", &[("0", 0.5), (",", 0.25), ("5", 0.25)]),
            (", ", &[]),
            ("1", &[("1", 0.5), ("2", 0.5)]),
            ("</a>", &[("</a>", 0.75), ("0", 0.25)]),
        ]);
        let near = |one: f64, other: f64| (one - other).abs() < 1e-6;
        assert!(near(found[0][0], 0.2) && near(found[0][8], 0.4) && near(found[0][9], 0.4), "{found:?}");
        assert!(near(found[1][0], 0.375) && near(found[1][1], 0.5) && near(found[1][9], 0.125), "{found:?}");
    }

    #[test]
    fn a_likely_one_that_was_not_written_leaves_no_distribution() {
        let first = |one: f32| {
            of_ten(&[
                ("<a>", &[]),
                ("8", &[("8", 0.5), ("1", one)]),
                (", ", &[("0", 1.0)]),
                ("10", &[("10", 0.5), ("9", 0.5)]),
                ("</a>", &[]),
            ])
        };
        assert_eq!(first(0.1), Vec::<Vec<f64>>::new());
        let found = first(1e-5);
        assert!(found[0][7] > 0.999 && (found[1][8] - 0.5).abs() < 1e-6, "{found:?}");
    }
}
