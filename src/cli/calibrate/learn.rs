//! What pairs teach: a map, how good it is, and a threshold.

use std::fmt::Write as _;

use dicast::ErrorKind;
use dicast::eval::calibration::{
    self, Abstention, Bin, Estimate, Measured, Method, Quality, measure, one_of_each_prompt,
};
use dicast::prompt::profile::CalibrationMap;
use serde_json::{Value, json};

use super::super::table;
use super::Failure;
use super::labelled::Labelled;

/// Which map is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Choice {
    /// The better one.
    Auto,
    /// A logistic curve: for few pairs.
    Platt,
    /// Any curve that does not fall: for a thousand pairs and more.
    Isotonic,
}

/// What the pairs taught.
pub(super) struct Learned {
    pub(super) files: Vec<String>,
    pub(super) pairs: usize,
    pub(super) prompts: usize,
    pub(super) failed: usize,
    pub(super) folds: usize,
    pub(super) map: CalibrationMap,
    pub(super) measured: Measured,
    pub(super) abstaining: Option<Abstaining>,
}

/// Where the judge abstains.
pub(super) struct Abstaining {
    pub(super) error_rate: f64,
    pub(super) confidence: f64,
    /// The threshold, on one pair of each prompt; else the lowest error rate that these pairs allow.
    pub(super) found: Result<Abstention, f64>,
    /// Of all pairs those that are answered at it, and of these those that are wrong.
    pub(super) all: (usize, usize),
}

impl Learned {
    pub(super) fn from(
        labelled: &Labelled,
        choice: Choice,
        folds: usize,
        seed: u64,
        asked: Option<(f64, f64)>,
    ) -> Result<Self, Failure> {
        let methods: &[Method] = match choice {
            Choice::Auto => &[Method::Platt, Method::Isotonic],
            Choice::Platt => &[Method::Platt],
            Choice::Isotonic => &[Method::Isotonic],
        };
        if labelled.prompts < folds {
            let message = format!("{} prompts cannot be split into {folds} parts (--folds)", labelled.prompts);
            return Err(Failure::new(ErrorKind::InvalidConfig, message)
                .hint("the pairs of one prompt stay together: pairs on more prompts are needed"));
        }
        let useless = |error: dicast::Error| Failure::new(ErrorKind::InvalidConfig, error.message().to_owned());
        let mut best: Option<(Method, Measured)> = None;
        for &method in methods {
            let measured = measure(&labelled.pairs, method, folds, seed).map_err(useless)?;
            // Of equal ones the first: it is the simpler map.
            let is_better = best.as_ref().is_none_or(|(_, best)| measured.after.brier.value < best.after.brier.value);
            if is_better {
                best = Some((method, measured));
            }
        }
        let (method, measured) = best.ok_or_else(|| Failure::new(ErrorKind::Internal, "no method was tried"))?;
        let differences: Vec<f64> = labelled.pairs.iter().map(|pair| pair.difference).collect();
        let abstaining = asked.map(|(error_rate, confidence)| {
            let independent = one_of_each_prompt(&labelled.pairs, seed);
            let independent: Vec<f64> = independent.iter().map(|pair| pair.difference).collect();
            let found = calibration::threshold(&independent, error_rate, confidence);
            let least = found.as_ref().map_or(f64::INFINITY, |found| found.difference);
            let answered: Vec<f64> = differences.iter().copied().filter(|one| one.abs() > least).collect();
            let wrong = answered.iter().filter(|one| **one < 0.0).count();
            Abstaining { error_rate, confidence, found, all: (answered.len(), wrong) }
        });
        Ok(Self {
            files: labelled.files.clone(),
            pairs: labelled.pairs.len(),
            prompts: labelled.prompts,
            failed: labelled.failed,
            folds,
            map: method.fit(&differences).map_err(useless)?,
            measured,
            abstaining,
        })
    }

    /// What was learned of abstaining, in lines.
    pub(super) fn abstaining_lines(&self) -> Vec<String> {
        let Some(Abstaining { error_rate, confidence, found, all: (answered, wrong) }) = &self.abstaining else {
            return vec!["no threshold was asked for: the judge abstains only where two scores are equal".into()];
        };
        let found = match found {
            Ok(found) => found,
            Err(lowest) => {
                let line = format!("no threshold holds wrong answers at {error_rate} with confidence {confidence}");
                return vec![line, remedy(*lowest)];
            }
        };
        let percent = |part: usize, whole: usize| 100.0 * share(part, whole);
        vec![
            format!(
                "answered: {:.1} % of the pairs, those whose scores differ by more than {:.3} (probability {:.3})",
                percent(*answered, self.pairs),
                found.difference,
                self.map.probability(found.difference)
            ),
            format!("wrong: {:.1} % of these ({wrong} of {answered})", percent(*wrong, *answered)),
            format!(
                "with confidence {confidence} at most {:.1} % of the answers are wrong (asked: {:.1} %), by {} of {} independent \
                 pairs, one of each prompt",
                100.0 * found.bound,
                100.0 * error_rate,
                found.answered,
                found.pairs
            ),
        ]
    }

    pub(super) fn to_text(&self) -> String {
        let names: Vec<_> = self.files.iter().map(|name| table::printable(name, false)).collect();
        let mut text = format!("{}\n", names.join(", "));
        let Self { pairs, prompts, failed, folds, .. } = self;
        let _ = writeln!(text, "{pairs} pairs on {prompts} prompts; {failed} items failed and are left out\n");
        let method = format!("{}, {folds} folds", self.map.name());
        let _ = writeln!(text, "{:<20}{:<26}{:<26}change", "", "before", format!("after ({method})"));
        for (name, before, after, change) in self.figures() {
            let shown = |one: &Estimate| format!("{:.3} [{:.3}, {:.3}]", one.value, one.low, one.high);
            let signed = format!("{:+.3} [{:+.3}, {:+.3}]", change.value, change.low, change.high);
            let _ = writeln!(text, "{name:<20}{:<26}{:<26}{signed}", shown(before), shown(after));
        }
        text.push('\n');
        for line in self.abstaining_lines() {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// Name, before, after and change of each figure.
    pub(super) fn figures(&self) -> [(&'static str, &Estimate, &Estimate, &Estimate); 2] {
        let Measured { before, after, change: [brier, error] } = &self.measured;
        [("Brier score", &before.brier, &after.brier, brier), ("calibration error", &before.error, &after.error, error)]
    }

    pub(super) fn to_json(&self) -> Value {
        let estimate = |one: &Estimate| json!({ "value": one.value, "low": one.low, "high": one.high });
        let bin = |bin: &Bin| json!({ "pairs": bin.pairs, "confidence": bin.confidence, "accuracy": bin.accuracy });
        let quality = |one: &Quality| {
            json!({
                "brier": estimate(&one.brier),
                "calibration_error": estimate(&one.error),
                "bins": one.bins.iter().map(bin).collect::<Vec<_>>(),
            })
        };
        let Measured { before, after, change: [brier, error] } = &self.measured;
        let threshold = self.abstaining.as_ref().map(|abstaining| match &abstaining.found {
            Ok(found) => json!({
                "error_rate": abstaining.error_rate, "confidence": abstaining.confidence, "difference": found.difference,
                "probability": self.map.probability(found.difference), "bound": found.bound,
                "independent": { "pairs": found.pairs, "answered": found.answered, "wrong": found.wrong },
                "all": { "pairs": self.pairs, "answered": abstaining.all.0, "wrong": abstaining.all.1 },
            }),
            Err(lowest) => json!({
                "error_rate": abstaining.error_rate, "confidence": abstaining.confidence, "difference": null,
                "lowest_error_rate": lowest,
            }),
        });
        json!({
            "results": self.files, "pairs": self.pairs, "prompts": self.prompts, "failed": self.failed,
            "method": self.map.name(), "folds": self.folds, "map": self.map,
            "before": quality(before), "after": quality(after),
            "change": { "brier": estimate(brier), "calibration_error": estimate(error) },
            "threshold": threshold,
        })
    }
}

/// What helps where no threshold was found.
pub(super) fn remedy(lowest: f64) -> String {
    let others = "give pairs on more prompts, or --no-abstain to learn the probabilities alone";
    // Rounded up, so that it works as it is written.
    let rounded = (lowest * 1000.0).ceil() / 1000.0;
    if rounded < 0.5 {
        format!("--error-rate {rounded} is the lowest that these pairs allow; or {others}")
    } else {
        others.into()
    }
}

pub(super) fn share(part: usize, whole: usize) -> f64 {
    let exact = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    if whole == 0 { 0.0 } else { exact(part) / exact(whole) }
}
