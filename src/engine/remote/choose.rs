//! Verdicts choice by choice: the server is asked for one token at each score and each place of the ranking, on a prompt that ends
//! right before it, and this process takes the choice from the probabilities.
//!
//! A verdict on four responses takes seven requests of one token instead of some seventy tokens. Each computes only the tokens since
//! the last choice, if the server keeps what it has computed of a prompt. No grammar is needed, and the probabilities are
//! the judge's own, so that it is known how much of them lies on the scale.
//!
//! A ranking mostly follows the scores. So where a server takes several prompts in one request, it is asked for several places of the
//! ranking at once, each as if the judge had written the likely names before it: five requests instead of seven. From the first place
//! on where the judge chooses another name, the answers are worth nothing, and the places after it are asked again.

use std::sync::Arc;

use crate::decode::grammar::{Choices, Filling, VerdictGrammar};
use crate::decode::logprobs::UNKNOWN;
use crate::decode::marks::Marks;
use crate::decode::score::ScoreProbe;
use crate::engine::Sampling;
use crate::prompt::tokenize::Tokenizer;

use super::pace::{Dice, mixed};
use super::reply::{Position, Token};

/// A verdict that is being written choice by choice.
pub(super) struct Choosing {
    filling: Filling,
    probes: Vec<ScoreProbe>,
    asked: usize,
    /// Whether the next choice was asked for, and the list did not do for it.
    again: bool,
}

/// A verdict that was written choice by choice.
pub(super) struct Chosen {
    pub(super) text: String,
    pub(super) distributions: Vec<Vec<f64>>,
    pub(super) masses: Vec<f64>,
    /// Tokens up to the last choice, and how many of them were choices.
    pub(super) tokens: usize,
    pub(super) asked: usize,
}

/// What a server is asked for: one token after each of some texts.
pub(super) struct Asks {
    /// The tokens of the verdict before each.
    pub(super) befores: Vec<Vec<u32>>,
    /// All tokens that may be chosen.
    pub(super) candidates: Vec<u32>,
    /// Whether the server is to list as many tokens as it can.
    pub(super) wide: bool,
}

impl Choosing {
    pub(super) fn new(choices: Arc<Choices>, consistent: bool) -> Self {
        Self { filling: Filling::new(choices, consistent), probes: Vec::new(), asked: 0, again: false }
    }

    /// What to ask next of a server that takes so many prompts in one request.
    pub(super) fn asks(&self, prompts: usize) -> Asks {
        let ahead = self.filling.ahead(prompts.max(1));
        let mut candidates: Vec<u32> =
            ahead.iter().flat_map(Filling::candidates).map(|(candidate, _)| candidate).collect();
        candidates.sort_unstable();
        candidates.dedup();
        Asks { befores: ahead.iter().map(Filling::before).collect(), candidates, wide: self.again }
    }

    /// Makes the next choices from the probabilities at their places, as many as are known to be those of the verdict. If a list does not do
    /// for one, it is asked for again, with a longer list. False if that does not help.
    /// `text` is that of the token that the server wrote at the first place, if it gives it.
    pub(super) fn take_all(
        &mut self,
        grammar: &VerdictGrammar,
        positions: &[&Position],
        text: &str,
        sampling: Sampling,
        tokenizer: Option<&Tokenizer>,
    ) -> bool {
        if positions.first().is_some_and(|position| !self.is_spelled(grammar.marks(), position, text)) {
            return false;
        }
        for position in positions {
            if self.filling.text().is_some() {
                break;
            }
            if !is_comparable(position, &self.filling.candidates(), tokenizer) {
                return false;
            }
            let likely = self.filling.likely();
            let Some(token) = self.take(grammar, position, sampling, tokenizer) else {
                return !std::mem::replace(&mut self.again, true);
            };
            self.again = false;
            // What comes after another name was asked on a text that the verdict has not.
            if likely != Some(token) {
                break;
            }
        }
        !positions.is_empty()
    }

    /// Whether the texts that a server gives with the candidates of a score are those of scores. If not, it was started again with another
    /// model, and the tokens of the layout mean something else there.
    fn is_spelled(&self, marks: Marks, position: &Position, text: &str) -> bool {
        if self.filling.score().is_none() {
            return true;
        }
        let spelled = |token: u32, text: &[u8]| {
            let candidates = self.filling.candidates();
            let mark =
                candidates.into_iter().find(|(known, _)| *known == token).and_then(|(_, at)| marks.all().nth(at));
            text.is_empty() || mark.is_none_or(|mark| text.ends_with(marks.spelled(mark).as_bytes()))
        };
        let mut listed = position.alternatives.iter().map(|(token, _)| token).chain([&position.token]);
        listed.all(|token| spelled(token.id(), token.bytes())) && spelled(position.token.id(), text.as_bytes())
    }

    /// Makes the next choice from the probabilities at its place. `None` if none of the candidates is in the list, or if the list leaves
    /// out too much to draw from.
    fn take(
        &mut self,
        grammar: &VerdictGrammar,
        position: &Position,
        sampling: Sampling,
        tokenizer: Option<&Tokenizer>,
    ) -> Option<u32> {
        let candidates = self.filling.candidates();
        let all = candidates.len();
        let listed: Vec<(u32, usize, f32)> = candidates
            .into_iter()
            .filter_map(|(token, candidate)| Some((token, candidate, position.logprob_of(token, tokenizer)?)))
            .collect();
        let weighed = listed.iter().map(|&(token, _, logprob)| (token, logprob)).collect();
        // None of those that are left out is likelier than the last one of the list.
        let least = position.alternatives.iter().map(|(_, logprob)| *logprob).fold(f32::INFINITY, f32::min);
        // To begin the verdict again under a grammar because of what was drawn would make that rarer than it is. So once something was
        // drawn, what no list shows is left out.
        let left_out = if self.again && self.asked > 0 { 0 } else { all - listed.len() };
        let left_out = (left_out, least);
        let token = choose(weighed, left_out, sampling, self.asked as u64)?;
        if self.filling.score().is_some() {
            let marks = grammar.marks();
            let mut probe = ScoreProbe::new(marks);
            for (token, candidate, logprob) in listed {
                if let Some(mark) = marks.all().nth(candidate) {
                    probe.add(marks.spelled(mark).as_bytes(), token, logprob);
                }
            }
            probe.set_normalized();
            self.probes.push(probe);
        }
        self.filling.take(token);
        self.asked += 1;
        Some(token)
    }

    /// The verdict, if it is complete.
    pub(super) fn chosen(&self) -> Option<Chosen> {
        Some(Chosen {
            text: self.filling.text()?,
            distributions: self.probes.iter().map(ScoreProbe::distribution).collect::<Option<_>>().unwrap_or_default(),
            masses: self.probes.iter().map(|probe| probe.mass().unwrap_or(f64::NAN)).collect(),
            tokens: self.filling.tokens(),
            asked: self.asked,
        })
    }
}

/// Whether the tokens of a list can be told to be candidates or not. If it names them by their text, this process must know the text of
/// tokens. Even then some server writes a token as it never stands in a text (without the blank before it, or with signs in the place of a
/// part of a character), so it must be seen that the likeliest one is a candidate.
fn is_comparable(position: &Position, candidates: &[(u32, usize)], tokenizer: Option<&Tokenizer>) -> bool {
    let is_unknown = |(token, _): &(Token, f32)| token.id() == UNKNOWN;
    if !position.alternatives.iter().any(is_unknown) {
        return true;
    }
    let best = position.alternatives.iter().max_by(|(_, one), (_, other)| one.total_cmp(other));
    let (Some(tokenizer), Some((best, _))) = (tokenizer, best) else { return false };
    candidates
        .iter()
        .any(|&(token, _)| best.id() == token || tokenizer.token_bytes(token).is_some_and(|text| text == best.bytes()))
}

/// What may be left out of a list to draw from, as a part of what is in it.
const MOST_LEFT_OUT: f64 = 0.01;

/// One of some tokens with their log probabilities, as a server would sample it if only these were admitted. `left_out`: how many more are
/// admitted, and the log probability that each of them may have. `place` tells the choices of one judgment apart.
fn choose(mut tokens: Vec<(u32, f32)>, left_out: (usize, f32), sampling: Sampling, place: u64) -> Option<u32> {
    tokens.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    let &(best, high) = tokens.first()?;
    let Sampling { temperature, top_p, top_k, seed } = sampling;
    if temperature <= 0.0 {
        return Some(best);
    }
    let (mut missing, least) = left_out;
    if top_k > 0 {
        tokens.truncate(top_k as usize);
        missing = missing.min(top_k as usize - tokens.len());
    }
    let missing = f64::from(u32::try_from(missing).unwrap_or(u32::MAX));
    // A server that says that all are impossible has still sent their order.
    let weight = |logprob: f32| {
        let below = f64::from(high) - f64::from(logprob);
        if below > 0.0 { (-below / f64::from(temperature)).exp() } else { 1.0 }
    };
    let total: f64 = tokens.iter().map(|&(_, logprob)| weight(logprob)).sum();
    if missing * weight(least) > MOST_LEFT_OUT * total {
        return None;
    }
    let mut kept = 0.0;
    let mut left = tokens.len();
    for (place, &(_, logprob)) in tokens.iter().enumerate() {
        kept += weight(logprob);
        if kept >= total * f64::from(top_p) {
            left = place + 1;
            break;
        }
    }
    tokens.truncate(left);
    let mut rest = Dice::new(mixed(seed ^ mixed(place))).roll() * kept;
    for &(token, logprob) in &tokens {
        rest -= weight(logprob);
        if rest < 0.0 {
            return Some(token);
        }
    }
    tokens.last().map(|&(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::profile::{Scale, VerdictForm};

    fn shares(sampling: Sampling) -> [f64; 3] {
        let tokens: Vec<(u32, f32)> =
            [(0, 0.5_f32), (1, 0.3), (2, 0.1)].map(|(token, share)| (token, share.ln())).into();
        let mut counts = [0.0; 3];
        for seed in 0..4000 {
            counts[choose(tokens.clone(), (0, 0.0), Sampling { seed, ..sampling }, 0).unwrap() as usize] +=
                1.0 / 4000.0;
        }
        counts
    }

    #[test]
    fn a_list_that_cannot_be_compared_with_the_candidates_makes_no_choice() {
        let form = VerdictForm { layout: "<a>%score%, %score%</a>".into(), ..VerdictForm::default() };
        let grammar = VerdictGrammar::new(&form, Scale::default(), "", &["a".into(), "b".into()]);
        let tokens = |text: String| (text.clone(), text.bytes().map(u32::from).collect());
        let choices = Choices::new(&grammar, &grammar.choice_texts().into_iter().map(tokens).collect()).unwrap();
        let mut choosing = Choosing::new(Arc::new(choices), false);
        let four = u32::from(b'4');
        let named = |token: fn(u8) -> Token| {
            let alternatives = [(b'4', 0.7_f32), (b'2', 0.2)].map(|(byte, share)| (token(byte), share.ln())).into();
            Position { token: Token::Id(four), logprob: Some(0.0), alternatives }
        };
        // Only the written token could be told, so that its score would seem certain.
        let by_text = named(|byte| Token::Bytes(vec![byte]));
        assert!(!choosing.take_all(&grammar, &[&by_text], "", Sampling::GREEDY, None));
        let by_id = named(|byte| Token::Id(byte.into()));
        assert_eq!(choosing.take(&grammar, &by_id, Sampling::GREEDY, None), Some(four));
        // A later score was not asked for.
        assert!(choosing.take_all(&grammar, &[&by_id, &by_id], "4", Sampling::GREEDY, None));
        let chosen = choosing.chosen().unwrap();
        assert!((chosen.distributions[0][3] - 7.0 / 9.0).abs() < 1e-6 && (chosen.masses[0] - 0.9).abs() < 1e-6);
        assert!(chosen.text.starts_with("<a>4, 4"), "{}", chosen.text);
    }

    #[test]
    fn what_a_list_leaves_out_is_drawn_elsewhere() {
        let plain = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, seed: 0 };
        let one = || vec![(4, 0.6_f32.ln())];
        // Of five scores one is listed: the others may be as likely as it is.
        assert_eq!(choose(one(), (4, 0.6_f32.ln()), plain, 0), None);
        assert_eq!(choose(one(), (4, 1e-3_f32.ln()), plain, 0), Some(4));
        assert_eq!(choose(one(), (4, 1e-3_f32.ln()), Sampling { temperature: 2.0, ..plain }, 0), None);
        // The likeliest one is in the list.
        assert_eq!(choose(one(), (4, 0.6_f32.ln()), Sampling::GREEDY, 0), Some(4));
        assert_eq!(choose(one(), (4, 0.6_f32.ln()), Sampling { top_k: 1, ..plain }, 0), Some(4));
        // There is no list.
        assert_eq!(choose(one(), (4, f32::INFINITY), plain, 0), None);
    }

    #[test]
    fn choices_are_sampled_among_the_candidates_alone() {
        let near = |found: [f64; 3], wanted: [f64; 3]| {
            assert!(found.iter().zip(wanted).all(|(one, other)| (one - other).abs() < 0.03), "{found:?}");
        };
        let plain = Sampling { temperature: 1.0, top_p: 1.0, top_k: 0, seed: 0 };
        near(shares(Sampling::GREEDY), [1.0, 0.0, 0.0]);
        near(shares(plain), [5.0 / 9.0, 3.0 / 9.0, 1.0 / 9.0]);
        near(shares(Sampling { temperature: 0.5, ..plain }), [25.0 / 35.0, 9.0 / 35.0, 1.0 / 35.0]);
        near(shares(Sampling { top_k: 2, ..plain }), [5.0 / 8.0, 3.0 / 8.0, 0.0]);
        near(shares(Sampling { top_p: 0.85, ..plain }), [5.0 / 8.0, 3.0 / 8.0, 0.0]);
        near(shares(Sampling { top_p: 0.5, ..plain }), [1.0, 0.0, 0.0]);
        let impossible = vec![(4, f32::NEG_INFINITY), (3, f32::NEG_INFINITY)];
        assert!(choose(impossible, (0, 0.0), plain, 0).is_some() && choose(Vec::new(), (0, 0.0), plain, 0).is_none());
        let same = |place| choose(vec![(0, -1.0), (1, -1.0)], (0, 0.0), Sampling { seed: 7, ..plain }, place);
        assert!(
            (0..64).any(|place| same(place) != same(0)),
            "two choices of a judgment with one seed are drawn independently"
        );
    }
}
