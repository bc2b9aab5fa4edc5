//! The score distribution: the probability of each score that the judge could have written, not only of the one it wrote.

use crate::prompt::profile::Scale;

/// Collects the probability of each score of a scale from the logits of the tokens that may stand at its place.
///
/// Probabilities of tokens that write the same score are added. Apart from that it is a softmax over only the scale, at
/// temperature 1, whatever the sampling temperature was.
#[derive(Clone, Debug)]
pub struct ScoreProbe {
    scale: Scale,
    /// For each score, the log of the summed exponentials, not normalized.
    log_sums: Vec<f64>,
}

impl ScoreProbe {
    /// An empty probe.
    pub fn new(scale: Scale) -> Self {
        Self { scale, log_sums: vec![f64::NEG_INFINITY; scale.len()] }
    }

    /// Adds a token whose text at the place of the score begins with the byte `digit`, or the letter of a choice.
    pub fn add(&mut self, digit: u8, logit: f32) {
        let Some(sum) =
            digit.checked_sub(b'0' + self.scale.min).and_then(|index| self.log_sums.get_mut(usize::from(index)))
        else {
            return;
        };
        let logit = f64::from(logit);
        let (high, low) = if *sum > logit { (*sum, logit) } else { (logit, *sum) };
        if high.is_finite() {
            *sum = high + (low - high).exp().ln_1p();
        }
    }

    /// The probability that the judge would have written a score of the scale here by itself, if `logits` are those of all
    /// tokens, no grammar forbids any, and each token of the scale was added once.
    pub fn mass(&self, logits: &[f32]) -> Option<f64> {
        let high = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        if !high.is_finite() {
            return None;
        }
        let all: f64 = logits.iter().map(|&logit| (f64::from(logit) - high).exp()).sum();
        let scale: f64 = self.log_sums.iter().map(|sum| (sum - high).exp()).sum();
        Some((scale / all).min(1.0))
    }

    /// The distribution from the lowest score up; `None` if no token of the scale was added.
    pub fn distribution(&self) -> Option<Vec<f64>> {
        let high = self.log_sums.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !high.is_finite() {
            return None;
        }
        let weights: Vec<f64> = self.log_sums.iter().map(|sum| (sum - high).exp()).collect();
        let total: f64 = weights.iter().sum();
        Some(weights.into_iter().map(|weight| weight / total).collect())
    }
}

/// The mean of a distribution over a scale: the expected score.
pub fn expected_score(scale: Scale, distribution: &[f64]) -> f64 {
    distribution.iter().zip(scale.min..).map(|(probability, score)| probability * f64::from(score)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_a_softmax_over_the_scale() {
        let mut probe = ScoreProbe::new(Scale::default());
        probe.add(b'4', 2.0f32.ln());
        probe.add(b'4', 1.0f32.ln());
        probe.add(b'2', 1.0f32.ln());
        probe.add(b'9', 50.0);
        let distribution = probe.distribution().unwrap();
        let wanted = [0.0, 0.25, 0.0, 0.75, 0.0];
        assert!(distribution.iter().zip(wanted).all(|(got, want)| (got - want).abs() < 1e-6), "{distribution:?}");
        assert!((expected_score(Scale::default(), &distribution) - 3.5).abs() < 1e-6);
    }

    #[test]
    fn the_mass_is_the_share_of_the_scale_among_all_tokens() {
        let logits = [3.0f32, 1.0, 0.5, 0.5].map(f32::ln);
        let mut probe = ScoreProbe::new(Scale::default());
        probe.add(b'4', logits[0]);
        probe.add(b'1', logits[1]);
        assert!((probe.mass(&logits).unwrap() - 0.8).abs() < 1e-6);
        assert_eq!(probe.mass(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(ScoreProbe::new(Scale::default()).mass(&logits), Some(0.0));
    }

    #[test]
    fn nothing_added_is_no_distribution() {
        assert_eq!(ScoreProbe::new(Scale::default()).distribution(), None);
        let mut probe = ScoreProbe::new(Scale::default());
        probe.add(b'3', f32::NAN);
        assert_eq!(probe.distribution(), None);
    }
}
