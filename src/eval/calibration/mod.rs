//! Calibration of a judge from pairs of responses of which it is known which one is better: a map from the difference of two
//! values to a probability, how good it is on pairs that it was not learned from, and where the judge abstains.
//!
//! ```
//! use dicast::eval::calibration::{LabelledPair, Method, measure, threshold};
//!
//! let pairs: Vec<_> = (0..200)
//!     .map(|prompt| {
//!         let (difference, raw) = if prompt % 5 == 0 { (-0.5, 0.0) } else { (1.5, 1.0) };
//!         LabelledPair { prompt, difference, raw }
//!     })
//!     .collect();
//! let differences: Vec<f64> = pairs.iter().map(|pair| pair.difference).collect();
//! let map = Method::Platt.fit(&differences)?;
//! assert!(map.probability(1.5) > 0.7 && map.probability(-1.5) < 0.3);
//! let measured = measure(&pairs, Method::Platt, 5, 42)?;
//! assert!(measured.after.brier.value < measured.before.brier.value);
//! assert!(threshold(&differences, 0.1, 0.9).is_ok());
//! # Ok::<(), dicast::Error>(())
//! ```

mod fit;
mod threshold;

use super::metrics::number;
use super::resampling::{self, Random};
use crate::error::{Error, ErrorKind, Result};
use crate::verdict::wins_over;

pub use fit::Method;
pub use threshold::{Abstention, binomial_cdf, threshold, upper_bound};

/// Bins of the calibration error and of the reliability plot.
pub const BINS: usize = 10;

/// A pair of responses of which it is known which one is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelledPair {
    /// A number of its prompt: pairs of one prompt are kept together in folds and draws.
    pub prompt: usize,
    /// The value of the better response less that of the worse one.
    pub difference: f64,
    /// The probability that the better response is better, as the judge says it without calibration: see
    /// [`raw_probability`].
    pub raw: f64,
}

/// The probability that one response is better than another, without calibration: that its score is above the other's, by
/// their distributions, a tie counting half; without distributions 1, 0.5 or 0 by the scores as written.
pub fn raw_probability(scores: [f64; 2], distributions: [Option<&[f64]>; 2]) -> f64 {
    match distributions {
        [Some(one), Some(other)] => wins_over(one, other).clamp(0.0, 1.0),
        _ => match scores[0].total_cmp(&scores[1]) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        },
    }
}

/// A value with its 95 % bootstrap interval over prompts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// On all pairs.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One bin of a reliability plot: pairs of similar confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Pairs in it.
    pub pairs: usize,
    /// The mean of the probabilities of the responses that were said to be better, from 0.5 to 1.
    pub confidence: f64,
    /// The share of the pairs in which these are better; where neither was said to be, half.
    pub accuracy: f64,
}

/// How good probabilities are.
#[derive(Clone, Debug, PartialEq)]
pub struct Quality {
    /// Brier's score: the mean squared distance of probability and outcome. 0 is best, 0.25 that of always saying 0.5.
    pub brier: Estimate,
    /// The expected calibration error over [`BINS`] bins of equally many pairs, by confidence; fewer where
    /// confidences are equal, which are in one bin.
    pub error: Estimate,
    /// The bins.
    pub bins: Vec<Bin>,
}

/// How good probabilities are with and without a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// As the judge says them.
    pub before: Quality,
    /// By maps that were learned from other prompts.
    pub after: Quality,
    /// After less before, of [`Quality::brier`] and [`Quality::error`], on the same draws.
    pub change: [Estimate; 2],
}

/// Measures a method by cross-validation: prompts are dealt to `folds` parts at random by `seed`, and the pairs of each part get
/// the probabilities of a map that was learned from the other parts. Intervals are bootstraps over prompts.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] for fewer than two folds, fewer prompts than folds, and where [`Method::fit`] fails on a part.
pub fn measure(pairs: &[LabelledPair], method: Method, folds: usize, seed: u64) -> Result<Measured> {
    let prompts = Prompts::of(pairs);
    if folds < 2 || prompts.0.len() < folds {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "{folds} folds of {} prompts: there must be at least 2 folds and a prompt in each",
                prompts.0.len()
            ),
        ));
    }
    let after = predicted(pairs, &prompts, method, folds, seed)?;
    let before: Vec<f64> = pairs.iter().map(|pair| pair.raw).collect();
    let (before, after) = (Said::of(&before), Said::of(&after));
    let change = |value: fn(&Said, &[f64]) -> f64| {
        prompts.estimate(pairs.len(), |weights| value(&after, weights) - value(&before, weights))
    };
    Ok(Measured {
        before: before.quality(&prompts),
        after: after.quality(&prompts),
        change: [change(Said::brier), change(Said::error)],
    })
}

/// Of each prompt one pair, drawn at random by `seed`: independent pairs, as [`threshold`] needs them.
pub fn one_of_each_prompt(pairs: &[LabelledPair], seed: u64) -> Vec<LabelledPair> {
    let mut random = Random::new(seed);
    Prompts::of(pairs).0.iter().map(|places| pairs[places[random.below(places.len())]]).collect()
}

/// The places of the pairs of each prompt, in the order of the numbers of the prompts.
struct Prompts(Vec<Vec<usize>>);

impl Prompts {
    fn of(pairs: &[LabelledPair]) -> Self {
        let mut places = std::collections::BTreeMap::<usize, Vec<usize>>::new();
        for (place, pair) in pairs.iter().enumerate() {
            places.entry(pair.prompt).or_default().push(place);
        }
        Self(places.into_values().collect())
    }

    /// A statistic of weighted pairs, with an interval over draws of prompts.
    fn estimate(&self, pairs: usize, statistic: impl Fn(&[f64]) -> f64) -> Estimate {
        let value = statistic(&vec![1.0; pairs]);
        let interval = resampling::interval(self.0.len(), |drawn| {
            let mut weights = vec![0.0; pairs];
            for &place in drawn.iter().flat_map(|&prompt| &self.0[prompt]) {
                weights[place] += 1.0;
            }
            Some(statistic(&weights))
        });
        let (low, high) = interval.unwrap_or((value, value));
        Estimate { value, low, high }
    }
}

/// The probability that the better response is better of each pair, by a map that has not seen its prompt.
fn predicted(pairs: &[LabelledPair], prompts: &Prompts, method: Method, folds: usize, seed: u64) -> Result<Vec<f64>> {
    let mut random = Random::new(seed);
    let mut order: Vec<usize> = (0..prompts.0.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    let mut fold_of = vec![0; pairs.len()];
    for (turn, &prompt) in order.iter().enumerate() {
        prompts.0[prompt].iter().for_each(|&place| fold_of[place] = turn % folds);
    }
    let mut probabilities = vec![0.5; pairs.len()];
    for fold in 0..folds {
        let others = pairs.iter().zip(&fold_of).filter(|(_, of)| **of != fold);
        let map = method.fit(&others.map(|(pair, _)| pair.difference).collect::<Vec<_>>())?;
        for (place, pair) in pairs.iter().enumerate().filter(|(place, _)| fold_of[*place] == fold) {
            probabilities[place] = map.probability(pair.difference);
        }
    }
    Ok(probabilities)
}

/// Probabilities that the better response of each pair is better, ordered by confidence.
struct Said {
    probabilities: Vec<f64>,
    /// Places by rising confidence.
    order: Vec<usize>,
}

impl Said {
    fn of(probabilities: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| confidence(probabilities[a]).total_cmp(&confidence(probabilities[b])));
        Self { probabilities: probabilities.to_vec(), order }
    }

    fn quality(&self, prompts: &Prompts) -> Quality {
        let pairs = self.probabilities.len();
        Quality {
            brier: prompts.estimate(pairs, |weights| self.brier(weights)),
            error: prompts.estimate(pairs, |weights| self.error(weights)),
            bins: self
                .bins(&vec![1.0; pairs])
                .iter()
                .map(|sums| Bin {
                    pairs: sums.pairs,
                    confidence: sums.confidence / sums.weight,
                    accuracy: sums.hits / sums.weight,
                })
                .collect(),
        }
    }

    fn brier(&self, weights: &[f64]) -> f64 {
        let sum: f64 = self.probabilities.iter().zip(weights).map(|(p, weight)| weight * (1.0 - p).powi(2)).sum();
        sum / weights.iter().sum::<f64>()
    }

    fn error(&self, weights: &[f64]) -> f64 {
        let apart: f64 = self.bins(weights).iter().map(|sums| (sums.confidence - sums.hits).abs()).sum();
        apart / weights.iter().sum::<f64>()
    }

    /// Bins of a tenth of the weight or more, since equal confidences are in one. What is left in the end is a bin of its own if it
    /// is half as much.
    fn bins(&self, weights: &[f64]) -> Vec<Sums> {
        let tenth = weights.iter().sum::<f64>() / number(BINS);
        let (mut bins, mut sums) = (Vec::<Sums>::with_capacity(BINS), Sums::default());
        let mut before = f64::NAN;
        for &place in self.order.iter().filter(|place| weights[**place] > 0.0) {
            let (p, weight) = (self.probabilities[place], weights[place]);
            let sure = confidence(p);
            if sums.weight >= tenth - 1e-9 && sure > before {
                bins.push(std::mem::take(&mut sums));
            }
            sums.add(sure, hit(p), weight);
            before = sure;
        }
        match bins.last_mut() {
            Some(last) if sums.weight < tenth / 2.0 => last.join(&sums),
            _ if sums.pairs > 0 => bins.push(sums),
            _ => {}
        }
        bins
    }
}

/// Weighted sums over the pairs of a bin.
#[derive(Default)]
struct Sums {
    pairs: usize,
    weight: f64,
    confidence: f64,
    hits: f64,
}

impl Sums {
    fn add(&mut self, confidence: f64, hit: f64, weight: f64) {
        self.pairs += 1;
        self.weight += weight;
        self.confidence += weight * confidence;
        self.hits += weight * hit;
    }

    fn join(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.weight += other.weight;
        self.confidence += other.confidence;
        self.hits += other.hits;
    }
}

/// Of a probability that one response is better, the probability of the one that it says is better.
fn confidence(probability: f64) -> f64 {
    probability.max(1.0 - probability)
}

/// Whether a probability that the better response is better says so; half where it says nothing.
fn hit(probability: f64) -> f64 {
    raw_probability([probability, 0.5], [None, None])
}

/// The expected calibration error as [`measure`] computes it, of probabilities that the better response of each pair is better:
/// over bins of about equally many pairs by confidence, the distance of mean confidence and share of right answers. `None`
/// without pairs.
pub fn calibration_error(probabilities: &[f64]) -> Option<f64> {
    (!probabilities.is_empty()).then(|| Said::of(probabilities).error(&vec![1.0; probabilities.len()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(prompt: usize, difference: f64) -> LabelledPair {
        LabelledPair { prompt, difference, raw: if difference > 0.0 { 1.0 } else { 0.0 } }
    }

    #[test]
    fn a_prompt_is_on_one_side_only() {
        // Each prompt has a difference of its own, right in half of the prompts. A map that had seen the prompt would know it.
        let pairs: Vec<LabelledPair> = (0..120)
            .map(|index| {
                let prompt = index / 3;
                let size = 1.0 + number(prompt) / 10.0;
                pair(prompt, if prompt % 4 == 0 { -size } else { size })
            })
            .collect();
        let measured = measure(&pairs, Method::Isotonic, 5, 42).unwrap();
        assert!(measured.after.brier.value > 0.15, "{measured:?}");
        assert!((measured.before.brier.value - 0.25).abs() < 1e-12);
        assert_eq!(measured, measure(&pairs, Method::Isotonic, 5, 42).unwrap(), "the same seed, the same numbers");
        assert!(measure(&pairs, Method::Platt, 41, 42).is_err());
        assert!(measure(&pairs, Method::Platt, 1, 42).is_err());
        let drawn = one_of_each_prompt(&pairs, 1);
        assert_eq!(drawn.iter().map(|pair| pair.prompt).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_map_lowers_the_error_of_a_judge_that_is_too_sure() {
        // Right in three of four, always as sure as can be.
        let pairs: Vec<_> = (0..400).map(|index| pair(index, if index % 4 == 0 { -1.0 } else { 1.0 })).collect();
        let measured = measure(&pairs, Method::Platt, 10, 42).unwrap();
        assert!((measured.before.error.value - 0.25).abs() < 1e-9);
        assert!(measured.after.error.value < 0.12 && measured.after.brier.value < 0.19, "{measured:?}");
        let [brier, error] = measured.change;
        assert!(brier.high < 0.0 && error.high < 0.0 && brier.low <= brier.value && brier.value <= brier.high);
        assert_eq!(measured.before.bins.len(), 1, "equal confidences are in one bin");
        assert_eq!(measured.before.bins[0], Bin { pairs: 400, confidence: 1.0, accuracy: 0.75 });
    }

    #[test]
    fn raw_probabilities_are_of_distributions_where_there_are_any() {
        assert!((raw_probability([4.0, 2.0], [None, None]) - 1.0).abs() < 1e-12);
        assert!((raw_probability([2.0, 2.0], [Some(&[1.0]), None]) - 0.5).abs() < 1e-12);
        assert!(raw_probability([1.0, 2.0], [None, None]).abs() < 1e-12);
        let (even, low) = ([0.5, 0.5], [1.0, 0.0]);
        assert!((raw_probability([1.0, 1.0], [Some(&even), Some(&low)]) - 0.75).abs() < 1e-12);
    }

    #[test]
    fn bins_hold_equally_many_pairs() {
        let probabilities: Vec<f64> = (0..100).map(|index| 0.5 + number(index) / 250.0).collect();
        let bins = Said::of(&probabilities).bins(&[1.0; 100]);
        assert!(bins.len() == BINS && bins.iter().all(|bin| bin.pairs == 10));
        // Equal confidences are in one bin, and few that are left over join the last one.
        let sizes = |counts: &[(usize, f64)]| -> Vec<usize> {
            let probabilities: Vec<f64> = counts.iter().flat_map(|&(count, p)| vec![p; count]).collect();
            Said::of(&probabilities).bins(&vec![1.0; probabilities.len()]).iter().map(|bin| bin.pairs).collect()
        };
        assert_eq!(sizes(&[(35, 0.6), (4, 0.7), (60, 0.8), (1, 0.9)]), [35, 65]);
        assert_eq!(sizes(&[(35, 0.6), (58, 0.2), (7, 0.9)]), [35, 58, 7]);
        assert_eq!(calibration_error(&[]), None);
        assert!((calibration_error(&[0.5; 4]).unwrap()).abs() < 1e-12, "half of what nothing is said of is right");
    }
}
