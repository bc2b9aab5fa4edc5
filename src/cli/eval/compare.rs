//! Several judges on the same items: paired differences, their significance, agreement.

use std::collections::HashMap;
use std::fmt::Write as _;

use dicast::ErrorKind;
use dicast::eval::metrics::{self, Difference};
use dicast::eval::resampling;
use serde_json::{Value, json};

use super::super::table;
use super::Failure;
use super::summary::{Row, Summary};

/// Two results side by side.
pub(super) struct Pair {
    pub(super) names: [String; 2],
    /// Items that both judged.
    pub(super) items: usize,
    /// The mean difference in accuracy (second minus first), and its interval.
    pub(super) difference: f64,
    pub(super) interval: (f64, f64),
    /// The p-value of a permutation test, as it is and adjusted by Holm's method for the number of pairs.
    pub(super) p: f64,
    pub(super) adjusted: f64,
    /// Cohen's kappa over which response of each pair is better.
    pub(super) kappa: Option<f64>,
}

/// All pairs of results.
pub(super) struct Comparison {
    pub(super) pairs: Vec<Pair>,
    /// Krippendorff's alpha over all judges: of which response is better (nominal), and of the values (interval).
    pub(super) alpha: [Option<f64>; 2],
}

impl Comparison {
    pub(super) fn new(summaries: &[Summary]) -> Result<Self, Failure> {
        let by_id: Vec<HashMap<&str, &Row>> =
            summaries.iter().map(|one| one.rows.iter().map(|row| (row.id.as_str(), row)).collect()).collect();
        let mut pairs = Vec::new();
        for (first, one) in summaries.iter().enumerate() {
            for second in first + 1..summaries.len() {
                let both: Vec<(&Row, &Row)> = one
                    .rows
                    .iter()
                    .filter_map(|row| Some((row, *by_id[second].get(row.id.as_str())?)))
                    .filter(|(a, b)| a.names == b.names)
                    .collect();
                if both.is_empty() {
                    let message = format!("{} and {} have no item in common", one.name, summaries[second].name);
                    return Err(Failure::new(ErrorKind::InvalidConfig, message)
                        .hint("results are compared by the ids of their items, and by the names of the responses"));
                }
                pairs.push(Pair::new([one, &summaries[second]], &both));
            }
        }
        let adjusted = resampling::holm(&pairs.iter().map(|pair| pair.p).collect::<Vec<_>>());
        for (pair, adjusted) in pairs.iter_mut().zip(adjusted) {
            pair.adjusted = adjusted;
        }
        Ok(Self { pairs, alpha: alpha(summaries, &by_id) })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = String::from("Accuracy of the second minus that of the first, on the items of both:\n");
        for pair in &self.pairs {
            let name = |name: &String| table::printable(name, false);
            let _ = writeln!(text, "\n{} -> {}", name(&pair.names[0]), name(&pair.names[1]));
            let (low, high) = pair.interval;
            let _ = writeln!(
                text,
                "  {:+.3} [{low:+.3}, {high:+.3}] on {} items; p {:.4} (permutation test), {:.4} (Holm)",
                pair.difference, pair.items, pair.p, pair.adjusted
            );
            let _ = writeln!(text, "  agreement on pairs (Cohen's kappa): {}", number(pair.kappa));
        }
        let _ = writeln!(
            text,
            "\nagreement of all (Krippendorff's alpha): on pairs {}, on values {}",
            number(self.alpha[0]),
            number(self.alpha[1])
        );
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let pair = |pair: &Pair| {
            json!({
                "first": pair.names[0], "second": pair.names[1], "items": pair.items, "difference": pair.difference,
                "low": pair.interval.0, "high": pair.interval.1, "p": pair.p, "p_holm": pair.adjusted,
                "cohen_kappa": pair.kappa,
            })
        };
        json!({
            "pairs": self.pairs.iter().map(pair).collect::<Vec<_>>(),
            "krippendorff_alpha": { "pairs": self.alpha[0], "values": self.alpha[1] },
        })
    }
}

pub(super) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

impl Pair {
    fn new(summaries: [&Summary; 2], both: &[(&Row, &Row)]) -> Self {
        let differences: Vec<f64> = both.iter().filter_map(|(a, b)| Some(b.accuracy()? - a.accuracy()?)).collect();
        let drawn = |drawn: &[usize]| metrics::mean(&drawn.iter().map(|&index| differences[index]).collect::<Vec<_>>());
        let (one, other): (Vec<_>, Vec<_>) = both
            .iter()
            .filter(|(a, b)| a.scores.is_some() && b.scores.is_some())
            .flat_map(|(a, b)| choices(a).into_iter().zip(choices(b)))
            .unzip();
        Self {
            names: summaries.map(|summary| summary.name.clone()),
            items: both.len(),
            difference: metrics::mean(&differences).unwrap_or(0.0),
            interval: resampling::interval(differences.len(), drawn).unwrap_or((0.0, 0.0)),
            p: resampling::sign_test(&differences),
            adjusted: 1.0,
            kappa: metrics::cohen_kappa(&one, &other),
        }
    }
}

/// For each pair of responses, which one has the higher value, or that they are equal.
fn choices(row: &Row) -> Vec<i8> {
    let count = row.values.len();
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    pairs.map(|(a, b)| row.values[a].total_cmp(&row.values[b]) as i8).collect()
}

fn alpha(summaries: &[Summary], by_id: &[HashMap<&str, &Row>]) -> [Option<f64>; 2] {
    let (mut pairs, mut values) = (Vec::new(), Vec::new());
    for row in &summaries[0].rows {
        let rows: Vec<Option<&Row>> = by_id
            .iter()
            .map(|ids| {
                ids.get(row.id.as_str()).copied().filter(|other| other.names == row.names && other.scores.is_some())
            })
            .collect();
        let count = row.names.len();
        let chosen: Vec<Option<Vec<i8>>> = rows.iter().map(|row| row.map(choices)).collect();
        for pair in 0..count * count.saturating_sub(1) / 2 {
            pairs.push(chosen.iter().map(|one| one.as_ref().map(|one| f64::from(one[pair]))).collect());
        }
        for index in 0..count {
            values.push(rows.iter().map(|row| row.map(|row| row.values[index])).collect());
        }
    }
    [
        metrics::krippendorff_alpha(&pairs, Difference::Nominal),
        metrics::krippendorff_alpha(&values, Difference::Interval),
    ]
}
