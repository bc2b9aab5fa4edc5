//! The score distribution: the probability of each score that the judge could have written, not only of the one it wrote.
//!
//! A token that writes a `4` of the scale 1 to 5 decides for 4. On the scale 1 to 10, a token that writes `1` decides for 1 or
//! for 10, and only the token after it tells which: `P(10) = P("1") P("0" after "1")`, and 1 has the rest of `P("1")`. So a
//! probe is a tree: what one token decides counts at once, and a beginning of several scores waits for a probe of the
//! place after it. If that never comes for a beginning that matters, there is no distribution: without it, the best score
//! of such a scale would be lost, or taken for the worst one.

use crate::decode::marks::Marks;
use crate::prompt::profile::Scale;

/// Most tokens of a [beginning](ScoreProbe::unseen) of several scores.
pub const MOST_UNSEEN: usize = 1;

/// A beginning of several scores with a smaller share of the probability is left out of the distribution.
pub const LEAST_SHARE: f64 = 1e-3;

/// Collects the probability of each score of a scale from the logits of the tokens that may stand at its place.
///
/// Probabilities of tokens that write the same score are added. Apart from that it is a softmax over only the scale, at
/// temperature 1, whatever the sampling temperature was.
#[derive(Clone, Debug)]
pub struct ScoreProbe {
    marks: Marks,
    /// What is written of the score before this place.
    prefix: Vec<u8>,
    /// For each score that a token here decides for, the log of the summed exponentials, not normalized.
    log_sums: Vec<f64>,
    beginnings: Vec<Beginning>,
    /// The log of the summed exponentials of all tokens, if they are known.
    all: Option<f64>,
}

/// What a token may write of several scores.
#[derive(Clone, Debug)]
struct Beginning {
    text: Vec<u8>,
    log_sum: f64,
    /// The likeliest token that writes it.
    token: u32,
    logit: f32,
    /// What comes after it.
    then: Option<ScoreProbe>,
}

/// A beginning of several scores of which nobody has seen what comes after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unseen {
    /// What is written of the score.
    pub text: Vec<u8>,
    /// The tokens that write it, from the place of the score on.
    pub tokens: Vec<u32>,
    /// Its share of the probability.
    pub share: f64,
}

/// The log of the sum of two exponentials.
fn log_add(one: f64, other: f64) -> f64 {
    let (high, low) = if one > other { (one, other) } else { (other, one) };
    if high.is_finite() { high + (low - high).exp().ln_1p() } else { one }
}

/// The log of the summed exponentials of logits; `None` without a number among them.
pub fn log_sum(logits: &[f32]) -> Option<f64> {
    let high = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let of = |&logit: &f32| if logit.is_nan() { 0.0 } else { (f64::from(logit) - high).exp() };
    high.is_finite().then(|| high + logits.iter().map(of).sum::<f64>().ln())
}

impl ScoreProbe {
    /// An empty probe of a place at which a score begins.
    pub fn new(marks: Marks) -> Self {
        Self::after(marks, b"")
    }

    /// An empty probe of a place before which this is written of the score.
    pub fn after(marks: Marks, prefix: &[u8]) -> Self {
        let log_sums = vec![f64::NEG_INFINITY; marks.len()];
        Self { marks, prefix: prefix.to_vec(), log_sums, beginnings: Vec::new(), all: None }
    }

    /// Adds a token with this text from the place on.
    pub fn add(&mut self, text: &[u8], token: u32, logit: f32) {
        if logit.is_nan() || text.is_empty() {
            return;
        }
        let run = self.marks.run(text);
        let written = [&self.prefix, &text[..run]].concat();
        if run == text.len() && self.marks.goes_on(&written) {
            let log = f64::from(logit);
            match self.beginnings.iter_mut().find(|beginning| beginning.text == written) {
                Some(same) => {
                    same.log_sum = log_add(same.log_sum, log);
                    if logit > same.logit {
                        (same.token, same.logit) = (token, logit);
                    }
                }
                None => {
                    self.beginnings.push(Beginning { text: written, log_sum: log, token, logit, then: None });
                }
            }
        } else {
            self.add_complete(&written, f64::from(logit));
        }
    }

    /// Adds tokens that end the score, whatever they write: `log_sum` is the log of their summed exponentials.
    pub fn add_end(&mut self, log_sum: f64) {
        let written = self.prefix.clone();
        self.add_complete(&written, log_sum);
    }

    fn add_complete(&mut self, written: &[u8], log: f64) {
        if let Some(mark) = self.marks.read(written) {
            let sum = &mut self.log_sums[usize::from(mark - self.marks.least())];
            *sum = log_add(*sum, log);
        }
    }

    /// Says what all tokens at this place weigh together, with or without those of the scale: their [`log_sum`].
    pub fn set_all(&mut self, log_sum: Option<f64>) {
        self.all = log_sum;
    }

    /// Says that what was added are log probabilities, here and in all that was taken in: all tokens together weigh 1. Numbers above 0 are
    /// none, such as the logits that some server can be set to give.
    pub fn set_normalized(&mut self) {
        let are_logs = self.logs().all(|log| log < 0.01);
        self.all = are_logs.then_some(0.0);
        for then in self.beginnings.iter_mut().filter_map(|beginning| beginning.then.as_mut()) {
            then.set_normalized();
        }
    }

    /// Takes in what was seen after a beginning that this probe, or one that it has taken in, knows. Returns whether it does.
    pub fn take(&mut self, then: ScoreProbe) -> bool {
        let known = self.beginnings.iter_mut().find(|beginning| then.prefix.starts_with(&beginning.text));
        match known {
            Some(Beginning { text, then: place, .. }) if *text == then.prefix => {
                *place = Some(then);
                true
            }
            Some(Beginning { then: Some(inner), .. }) => inner.take(then),
            _ => false,
        }
    }

    /// The first digits that hold at least [`LEAST_SHARE`] of the probability and wait for what comes after them, the likeliest first.
    /// A second digit, as of 10 and 100, is not among them: what comes after it depends on the tokens that write the first two.
    pub fn unseen(&self) -> Vec<Unseen> {
        let mut unseen = self.spread().unseen;
        unseen.retain(|unseen| {
            unseen.share >= LEAST_SHARE && unseen.tokens.len() == MOST_UNSEEN && unseen.text.len() == 1
        });
        unseen.sort_by(|one, other| other.share.total_cmp(&one.share));
        unseen
    }

    /// The probability that the judge would have written a score of the scale here by itself, if it was said what all tokens
    /// weigh, no grammar forbids any, and each token of the scale was added once. If some were left out, it is at least so much.
    pub fn mass(&self) -> Option<f64> {
        self.all?;
        let Spread { on_scale, .. } = self.spread();
        Some(on_scale.min(1.0))
    }

    /// The distribution from the lowest score up; `None` if no token of the scale was added, or if it is not known what comes after a
    /// likely beginning.
    pub fn distribution(&self) -> Option<Vec<f64>> {
        let Spread { weights, unseen, .. } = self.spread();
        let total: f64 = weights.iter().sum();
        let is_known = total > 0.0 && unseen.iter().all(|unseen| unseen.share < LEAST_SHARE);
        is_known.then(|| weights.into_iter().map(|weight| weight / total).collect())
    }

    fn spread(&self) -> Spread {
        let mut spread = Spread { weights: vec![0.0; self.marks.len()], unseen: Vec::new(), on_scale: 0.0 };
        self.add_to(&mut spread, 1.0, 1.0, &[]);
        spread
    }

    /// Adds its scores, of which all together have `share` of the probability among scores, and `mass` of that among all texts.
    fn add_to(&self, spread: &mut Spread, share: f64, mass: f64, tokens: &[u32]) {
        let logs = self.logs();
        let high = logs.clone().fold(f64::NEG_INFINITY, f64::max);
        if !high.is_finite() {
            return;
        }
        let total: f64 = logs.map(|log| (log - high).exp()).sum();
        let mass = mass * self.all.map_or(1.0, |all| (high - all).exp() * total).min(1.0);
        for (weight, log) in spread.weights.iter_mut().zip(&self.log_sums) {
            let part = (log - high).exp() / total;
            *weight += share * part;
            spread.on_scale += mass * part;
        }
        for Beginning { text, log_sum, token, then, .. } in &self.beginnings {
            let part = (log_sum - high).exp() / total;
            let tokens: Vec<u32> = tokens.iter().copied().chain([*token]).collect();
            if let Some(then) = then.as_ref().filter(|then| then.has_any()) {
                then.add_to(spread, share * part, mass * part, &tokens);
            } else {
                spread.on_scale += mass * part;
                spread.unseen.push(Unseen { text: text.clone(), tokens, share: share * part });
            }
        }
    }

    /// Whether a token of the scale was added.
    pub fn has_any(&self) -> bool {
        self.logs().any(f64::is_finite)
    }

    fn logs(&self) -> impl Iterator<Item = f64> + Clone {
        self.log_sums.iter().copied().chain(self.beginnings.iter().map(|beginning| beginning.log_sum))
    }
}

/// The probabilities that a probe has collected.
struct Spread {
    /// Of each score.
    weights: Vec<f64>,
    unseen: Vec<Unseen>,
    /// Of all scores, among all texts.
    on_scale: f64,
}

/// The mean of a distribution over a scale: the expected score.
pub fn expected_score(scale: Scale, distribution: &[f64]) -> f64 {
    distribution.iter().zip(scale.min..).map(|(probability, score)| probability * f64::from(score)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Marks = Marks::Numbers(Scale { min: 1, max: 5 });
    const TEN: Marks = Marks::Numbers(Scale { min: 1, max: 10 });
    const HUNDRED: Marks = Marks::Numbers(Scale { min: 0, max: 100 });

    /// A probe with the tokens that have these texts and probabilities, numbered from 0.
    fn probe(marks: Marks, prefix: &str, tokens: &[(&str, f32)]) -> ScoreProbe {
        let mut probe = ScoreProbe::after(marks, prefix.as_bytes());
        for (token, (text, probability)) in (0..).zip(tokens) {
            probe.add(text.as_bytes(), token, probability.ln());
        }
        probe
    }

    fn assert_near(found: &[f64], wanted: &[f64]) {
        let near =
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(one, other)| (one - other).abs() < 1e-6);
        assert!(near, "{found:?} and not {wanted:?}");
    }

    #[test]
    fn a_distribution_is_a_softmax_over_the_scale() {
        let probe = probe(FIVE, "", &[("4", 2.0), ("4", 1.0), ("2", 1.0), ("9", 50.0), ("x", 5.0)]);
        let distribution = probe.distribution().unwrap();
        assert_near(&distribution, &[0.0, 0.25, 0.0, 0.75, 0.0]);
        assert!((expected_score(Scale::default(), &distribution) - 3.5).abs() < 1e-6);
    }

    #[test]
    fn the_mass_is_the_share_of_the_scale_among_all_tokens() {
        let logits = [3.0f32, 1.0, 0.5, 0.5].map(f32::ln);
        let mut known = probe(FIVE, "", &[("4", 3.0), ("1", 1.0)]);
        assert_eq!(known.mass(), None);
        known.set_all(log_sum(&logits));
        assert!((known.mass().unwrap() - 0.8).abs() < 1e-6);
        assert_eq!(log_sum(&[f32::NAN, f32::NEG_INFINITY]), None);
        let mut none = ScoreProbe::new(FIVE);
        none.set_all(log_sum(&logits));
        assert_eq!(none.mass(), Some(0.0));
    }

    #[test]
    fn nothing_added_is_no_distribution() {
        assert_eq!(ScoreProbe::new(FIVE).distribution(), None);
        let mut probe = ScoreProbe::new(FIVE);
        probe.add(b"3", 0, f32::NAN);
        assert_eq!(probe.distribution(), None);
    }

    #[test]
    fn a_letter_is_a_choice() {
        let probe = probe(Marks::Letters, "", &[("A", 0.3), ("B]", 0.1), ("1", 0.6)]);
        assert_near(&probe.distribution().unwrap(), &[0.75, 0.25]);
    }

    #[test]
    fn one_and_ten_share_a_token_and_are_told_apart_by_the_next_one() {
        let mut first = probe(TEN, "", &[("9", 0.5), ("1", 0.4), ("2", 0.1), ("0", 0.9)]);
        assert_eq!(first.distribution(), None, "nobody knows whether the 1 is a 10");
        let unseen = first.unseen();
        assert_eq!((unseen.len(), &unseen[0].text[..], &unseen[0].tokens[..]), (1, &b"1"[..], &[1][..]));
        assert!((unseen[0].share - 0.4).abs() < 1e-6);
        // Digits that leave the scale count for neither.
        let mut then = probe(TEN, "1", &[("0", 0.6), ("5", 0.2)]);
        then.add_end(0.2f64.ln());
        assert!(first.take(then));
        assert_eq!(first.unseen(), []);
        let mut wanted = [0.0; 10];
        (wanted[0], wanted[1], wanted[8], wanted[9]) = (0.1, 0.1, 0.5, 0.3);
        assert_near(&first.distribution().unwrap(), &wanted);
    }

    #[test]
    fn a_token_may_write_both_digits_and_what_follows() {
        let mut first = probe(TEN, "", &[("10", 0.2), ("10,", 0.1), ("1", 0.1), ("1,", 0.2), ("100", 0.3), ("3", 0.4)]);
        let mut then = probe(TEN, "1", &[("0", 0.5)]);
        then.add_end(0.5f64.ln());
        assert!(first.take(then));
        let mut wanted = [0.0; 10];
        (wanted[0], wanted[2], wanted[9]) = (0.25, 0.4, 0.35);
        assert_near(&first.distribution().unwrap(), &wanted);
    }

    #[test]
    fn a_beginning_that_hardly_matters_is_left_out() {
        let first = probe(TEN, "", &[("9", 0.7), ("8", 0.2995), ("1", 0.0005)]);
        assert_eq!(first.unseen(), []);
        let distribution = first.distribution().unwrap();
        assert!((distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9 && distribution[0] == 0.0);
    }

    #[test]
    fn three_digits_are_two_steps() {
        let mut first = probe(HUNDRED, "", &[("1", 0.5), ("8", 0.5)]);
        let mut eighty = probe(HUNDRED, "8", &[("0", 0.5)]);
        eighty.add_end(0.5f64.ln());
        let mut tens = probe(HUNDRED, "1", &[("0", 0.8), ("2", 0.2)]);
        tens.add_end(f64::NEG_INFINITY);
        assert!(first.take(eighty) && first.take(tens));
        assert_eq!((first.unseen(), first.distribution()), (vec![], None), "known only where the 10 was written");
        let mut hundred = probe(HUNDRED, "10", &[("0", 0.25)]);
        hundred.add_end(0.75f64.ln());
        assert!(first.take(hundred));
        let found = first.distribution().unwrap();
        assert_near(&[found[8], found[10], found[12], found[80], found[100]], &[0.25, 0.3, 0.1, 0.25, 0.1]);
        assert!(!first.take(ScoreProbe::after(HUNDRED, b"7")), "no token begins so");
    }

    #[test]
    fn the_mass_counts_what_leaves_the_scale_in_its_second_digit() {
        let mut first = probe(TEN, "", &[("1", 0.5), ("7", 0.3)]);
        first.set_all(Some(0.0));
        let mut then = probe(TEN, "1", &[("0", 0.2)]);
        then.add_end(0.4f64.ln());
        // The rest are digits that make a 15 of it.
        then.set_all(Some(0.0));
        assert!(first.take(then));
        assert!((first.mass().unwrap() - (0.3 + 0.5 * 0.6)).abs() < 1e-6);
    }
}
