//! How sure a calibrated judge is about each pair of responses, and when it abstains.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Verdict;
use super::merged::ByName;
use crate::prompt::profile::Calibration;

/// Pairs are listed for at most this many responses; there are 496 of them then.
pub const MAX_LISTED: usize = 32;

/// What a calibrated judge says of each two responses.
///
/// As JSON: `error_rate`, `threshold`, `wins` (by name), `pairs`, a list of `first`, `second`, `probability`, `better`, `abstain`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Preferences {
    /// At most this share of the pairs that are answered is wrong, over data as that which the judge was calibrated on. `None`
    /// where it was calibrated without a threshold.
    pub error_rate: Option<f64>,
    /// The judge abstains on two responses unless their values (expected scores, else scores) differ by more than this. 0 where it
    /// was calibrated without a threshold: it abstains only where they are equal.
    pub threshold: f64,
    /// Of each response, in the order of the request, the mean probability that it is better than another one; 0.5 for a single
    /// response. This is the reward `win` of a calibrated judge.
    pub wins: Vec<f64>,
    /// Each two responses in the order of the request; empty for more than [`MAX_LISTED`] responses.
    pub pairs: Vec<Preference>,
}

/// Which of two responses is better.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Preference {
    /// Index of one response, in the order of the request.
    pub first: usize,
    /// Index of the other one.
    pub second: usize,
    /// The probability that the first one is better.
    pub probability: f64,
    /// Index of the better one; `None` where the judge abstains.
    pub better: Option<usize>,
}

impl Preferences {
    /// By the values of the responses, in the order of the request.
    pub(crate) fn new(calibration: &Calibration, values: &[f64]) -> Self {
        let count = values.len();
        let others = u32::try_from(count.saturating_sub(1)).map_or(f64::NAN, f64::from);
        let win = |index: usize| -> f64 {
            let rest = (0..count).filter(|other| *other != index);
            rest.map(|other| calibration.probability(values[index] - values[other])).sum::<f64>() / others
        };
        let listed = if count > MAX_LISTED { 0 } else { count };
        let pair = |first: usize, second: usize| {
            let difference = values[first] - values[second];
            let better = if difference > 0.0 { first } else { second };
            Preference {
                first,
                second,
                probability: calibration.probability(difference),
                better: calibration.is_answered(difference).then_some(better),
            }
        };
        Self {
            error_rate: calibration.threshold.map(|threshold| threshold.error_rate),
            threshold: calibration.least_difference(),
            wins: if count < 2 { vec![0.5; count] } else { (0..count).map(win).collect() },
            pairs: (0..listed).flat_map(|first| (first + 1..count).map(move |second| pair(first, second))).collect(),
        }
    }

    pub(super) fn named<'a>(&'a self, verdict: &'a Verdict) -> impl Serialize + 'a {
        Named(self, verdict.scores.iter().map(|scored| scored.name.as_str()).collect())
    }
}

struct Named<'a>(&'a Preferences, Vec<&'a str>);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<_> = self.0.pairs.iter().map(|pair| Pair(pair, &self.1)).collect();
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("error_rate", &self.0.error_rate)?;
        map.serialize_entry("threshold", &self.0.threshold)?;
        map.serialize_entry("wins", &ByName(&self.1, &self.0.wins))?;
        map.serialize_entry("pairs", &pairs)?;
        map.end()
    }
}

struct Pair<'a>(&'a Preference, &'a [&'a str]);

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Preference { first, second, probability, better } = *self.0;
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("first", self.1[first])?;
        map.serialize_entry("second", self.1[second])?;
        map.serialize_entry("probability", &probability)?;
        map.serialize_entry("better", &better.map(|better| self.1[better]))?;
        map.serialize_entry("abstain", &better.is_none())?;
        map.end()
    }
}

impl Verdict {
    /// Puts what a calibration says about the responses into the verdict.
    pub(crate) fn set_preferences(&mut self, calibration: &Calibration) {
        self.preferences = Some(Box::new(Preferences::new(calibration, &self.values())));
    }

    /// The rewards `win` of a calibrated judge.
    pub(super) fn calibrated_wins(&self) -> Option<Vec<f64>> {
        self.preferences.as_ref().map(|preferences| preferences.wins.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use crate::prompt::profile::{CalibrationMap, Profile};

    fn calibration(difference: f64) -> Calibration {
        let map = CalibrationMap::Platt { slope: 1.0 };
        let mut made = Calibration::new(map, 100, 50, 1.into(), &Profile::builtin(), Options::default(), false);
        let json = serde_json::json!({
            "difference": difference, "probability": 0.75, "error_rate": 0.1, "confidence": 0.9, "answered": 0.5,
        });
        let mut whole = serde_json::to_value(&made).unwrap();
        whole["threshold"] = json;
        made = serde_json::from_value(whole).unwrap();
        made
    }

    #[test]
    fn close_values_are_abstained_from_and_equal_ones_always() {
        let said = Preferences::new(&calibration(1.0), &[4.0, 3.0, 1.0]);
        let better: Vec<_> = said.pairs.iter().map(|pair| (pair.first, pair.second, pair.better)).collect();
        assert_eq!(better, [(0, 1, None), (0, 2, Some(0)), (1, 2, Some(1))]);
        assert!((said.threshold - 1.0).abs() < 1e-12);
        let again = Preferences::new(&calibration(1.0), &[1.0, 3.0, 4.0]);
        assert_eq!(again.pairs[1].better, Some(2));
        for (one, other) in said.pairs.iter().zip(again.pairs.iter().rev()) {
            assert!((one.probability + other.probability - 1.0).abs() < 1e-12);
        }
        assert!((said.wins.iter().sum::<f64>() - 1.5).abs() < 1e-12);
        let mut free = calibration(0.0);
        free.threshold = None;
        let said = Preferences::new(&free, &[2.0, 2.0, 2.1]);
        assert_eq!((said.error_rate, said.pairs[0].better, said.pairs[1].better), (None, None, Some(2)));
        assert!(said.threshold.abs() < 1e-12);
        assert_eq!(Preferences::new(&free, &[2.0]).wins, [0.5]);
        let many = Preferences::new(&free, &vec![1.0; MAX_LISTED + 1]);
        assert!(many.pairs.is_empty() && many.wins.len() == MAX_LISTED + 1);
    }
}
