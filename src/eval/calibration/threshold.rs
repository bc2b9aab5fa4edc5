//! Where a judge abstains: the lowest difference above which a bounded share of the answers is wrong, with a given confidence.
//!
//! The threshold is one of twenty, at which a 20th, two 20ths and so on of the calibration pairs are answered. At each the number
//! of wrong answers among `n` is binomial, so that the answers above it are wrong more often than `error_rate` only with
//! probability `P(Binomial(n, error_rate) <= wrong)`. Of the thresholds where this is at most `(1 - confidence) / 20` (Bonferroni,
//! since all are looked at), the one that answers most is taken. This is "Learn then test" (Angelopoulos, Bates, Candès, Jordan
//! and Lei, 2021) for selective classification (Geifman and El-Yaniv, 2017).

use super::super::metrics::number;

/// Thresholds that are tried.
const TRIED: usize = 20;

/// A threshold, and how the calibration pairs fare at it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Abstention {
    /// A pair is answered where its values differ by more than this.
    pub difference: f64,
    /// Calibration pairs: independent ones, one of each prompt.
    pub pairs: usize,
    /// Of these, pairs that are answered.
    pub answered: usize,
    /// Of these, pairs that are answered wrongly.
    pub wrong: usize,
    /// The share of wrong answers that is not exceeded, with the confidence asked for.
    pub bound: f64,
}

/// Finds the threshold for independent pairs, each given by the value of the better response less that of the worse one.
/// `error_rate` and `confidence` are above 0 and below 1.
///
/// # Errors
/// Where there is none, the lowest error rate that has one; 1 without pairs.
pub fn threshold(differences: &[f64], error_rate: f64, confidence: f64) -> Result<Abstention, f64> {
    let pairs = differences.len();
    let mut sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
    sizes.sort_by(|a, b| b.total_cmp(a));
    let allowed = (1.0 - confidence) / number(TRIED);
    let (mut best, mut lowest): (Option<Abstention>, f64) = (None, 1.0);
    for step in 1..=TRIED {
        // Where equal values begin nothing can be answered.
        let difference = sizes.get((pairs * step).div_ceil(TRIED)).copied().unwrap_or(0.0);
        let above = differences.iter().filter(|one| one.abs() > difference);
        let (answered, wrong) =
            above.fold((0, 0), |(answered, wrong), one| (answered + 1, wrong + usize::from(*one < 0.0)));
        if answered == 0 {
            continue;
        }
        let bound = upper_bound(wrong, answered, allowed);
        lowest = lowest.min(bound);
        let passes = binomial_cdf(wrong, answered, error_rate) <= allowed;
        if passes && best.is_none_or(|best| answered > best.answered) {
            best = Some(Abstention { difference, pairs, answered, wrong, bound });
        }
    }
    best.ok_or(lowest)
}

/// The probability of at most `hits` of `count` that each happen with probability `share`.
pub fn binomial_cdf(hits: usize, count: usize, share: f64) -> f64 {
    if hits >= count || share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return 0.0;
    }
    // In logarithms, since the first terms may be too small for a number.
    let odds = share.ln() - (-share).ln_1p();
    let mut term = number(count) * (-share).ln_1p();
    let mut terms = Vec::with_capacity(hits + 1);
    terms.push(term);
    for hit in 0..hits {
        term += (number(count - hit) / number(hit + 1)).ln() + odds;
        terms.push(term);
    }
    let greatest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - greatest).exp()).sum();
    (greatest + sum.ln()).exp().min(1.0)
}

/// The share with which at most `hits` of `count` have probability `tail`: the upper bound of Clopper and Pearson.
pub fn upper_bound(hits: usize, count: usize, tail: f64) -> f64 {
    if hits >= count {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if binomial_cdf(hits, count, middle) > tail { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::super::super::resampling::Random;
    use super::*;

    /// A judge whose answers are wrong with a probability that falls with the difference: 0.5 at none, 0 at 4.
    fn pairs(random: &mut Random, count: usize) -> Vec<f64> {
        let mut uniform = || number(random.below(1 << 30)) / number(1 << 30);
        (0..count)
            .map(|_| {
                let size = 4.0 * uniform();
                if uniform() < 0.5 - size / 8.0 { -size } else { size }
            })
            .collect()
    }

    /// The share of wrong answers above a difference, exactly.
    fn wrong_above(difference: f64) -> f64 {
        (0.5 - difference / 8.0) / 2.0
    }

    #[test]
    fn more_answers_are_wrong_than_asked_for_only_as_seldom_as_asked_for() {
        let mut random = Random::new(3);
        let (mut broken, mut found, mut answered) = (0, 0, 0.0);
        for _ in 0..200 {
            if let Ok(one) = threshold(&pairs(&mut random, 2000), 0.1, 0.9) {
                found += 1;
                broken += usize::from(wrong_above(one.difference) > 0.1);
                answered += number(one.answered) / number(one.pairs);
                assert!(one.bound <= 0.1 && one.wrong <= one.answered && one.answered <= one.pairs);
            }
        }
        assert!(found > 190, "{found}");
        assert!(broken <= 20, "{broken} of 200 thresholds let more errors through");
        // Of all pairs 0.4 could be answered.
        let answered = answered / number(found);
        assert!(answered > 0.2 && answered < 0.4, "{answered}");
    }

    #[test]
    fn where_nothing_holds_the_lowest_rate_that_would_is_known() {
        let mut random = Random::new(4);
        let few = pairs(&mut random, 300);
        let lowest = threshold(&few, 0.01, 0.9).unwrap_err();
        assert!(lowest > 0.01 && lowest < 0.4, "{lowest}");
        assert!(threshold(&few, lowest + 1e-9, 0.9).is_ok());
        assert!((threshold(&[], 0.1, 0.9).unwrap_err() - 1.0).abs() < 1e-12);
        assert!((threshold(&[0.0; 50], 0.1, 0.9).unwrap_err() - 1.0).abs() < 1e-12, "equal values answer nothing");
    }

    #[test]
    fn a_judge_that_is_always_right_answers_all_that_it_tells_apart() {
        let one = threshold(&[[2.0; 60], [0.0; 60]].concat(), 0.1, 0.9).unwrap();
        assert_eq!((one.pairs, one.answered, one.wrong), (120, 60, 0));
        assert!(one.difference.abs() < 1e-12);
    }
}
