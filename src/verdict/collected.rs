//! Which of the numbers found for a response is its score.

use std::collections::BTreeMap;

use super::beside::Label;
use super::score::{Read, Why};

/// Numbers by place, each with what it is called.
#[derive(Default)]
pub(super) struct Collected(BTreeMap<usize, Vec<(Label, Read)>>);

impl Collected {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a response has a number.
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.contains_key(&place)
    }

    pub(super) fn add(&mut self, place: usize, label: Label, value: Read) {
        let numbers = self.0.entry(place).or_default();
        // A name with so many numbers beside it has no score.
        if numbers.len() < 64 {
            numbers.push((label, value));
        }
    }

    /// The score of each place. An overall score takes precedence over what is called a score, and that over a number
    /// without a label. Also gives the criteria of places that have nothing else, and why a sum is not a score.
    pub(super) fn resolve(self) -> (Vec<(usize, Read)>, Vec<String>) {
        let mut scores = Vec::new();
        let mut criteria: Vec<String> = Vec::new();
        for (place, numbers) in self.0 {
            let of = |wanted: &dyn Fn(&Label) -> bool| -> Vec<Read> {
                numbers.iter().filter(|(label, _)| wanted(label)).map(|(_, value)| *value).collect()
            };
            let sums = of(&|label| matches!(label, Label::Overall { .. }));
            let called = of(&|label| *label == Label::Score);
            let bare = of(&|label| *label == Label::Bare);
            let parts = of(&|label| matches!(label, Label::Criterion(_)));
            if sums.is_empty() && called.is_empty() && bare.is_empty() {
                for (label, _) in &numbers {
                    if let Label::Criterion(name) = label
                        && criteria.len() < 8
                        && !criteria.contains(name)
                    {
                        criteria.push(name.clone());
                    }
                }
                continue;
            }
            let best = if !sums.is_empty() {
                &sums
            } else if !called.is_empty() {
                &called
            } else {
                &bare
            };
            scores.extend(best.iter().map(|&value| (place, value)));
            // A weaker number must not give another score; if it is no score, it is a remark.
            for weaker in [&called, &bare] {
                if !std::ptr::eq(weaker, best) {
                    scores.extend(weaker.iter().filter(|value| value.is_ok()).map(|&value| (place, value)));
                }
            }
            if numbers.iter().any(|(label, _)| *label == Label::Overall { total: true }) && is_sum(&sums, &parts) {
                scores.push((place, Err(Why::Unclear)));
            }
        }
        (scores, criteria)
    }
}

/// Whether a total is the sum of several criteria that are each on the profile's scale.
fn is_sum(sums: &[Read], parts: &[Read]) -> bool {
    let values: Vec<f64> = parts.iter().filter_map(|part| part.ok()).map(|value| value.score).collect();
    let total = sums.iter().filter_map(|sum| sum.ok()).map(|value| value.score).next();
    values.len() > 1
        && values.len() == parts.len()
        && total.is_some_and(|total| (values.iter().sum::<f64>() - total).abs() < f64::EPSILON)
}
