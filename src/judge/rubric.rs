//! Merges the verdicts of a rubric's criteria into one.

use std::fmt::Write as _;

use crate::config::RubricMerge;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Scale;
use crate::request::{Criterion, CriterionKind};
use crate::verdict::{CriterionVerdict, Flag, RubricTable, Scored, Verdict, merged_flags};

use super::ensemble::{add_cost, by_mean, once};

/// The criteria of a judgment, and how they are merged.
pub(super) struct Rubric {
    pub(super) criteria: Vec<Criterion>,
    pub(super) merge: RubricMerge,
    /// What a value must reach to pass.
    pub(super) pass: f64,
    pub(super) scale: Scale,
}

impl Rubric {
    /// The merged (expected) scores of one run, of its verdicts by each criterion.
    pub(super) fn values(&self, verdicts: &[&Verdict]) -> Vec<f64> {
        let rows: Vec<_> =
            verdicts.iter().zip(&self.criteria).map(|(verdict, criterion)| self.row(criterion, verdict)).collect();
        let responses = rows.first().map_or(0, Vec::len);
        (0..responses).map(|index| self.merged(rows.iter().map(|row| row[index].finest()))).collect()
    }

    /// The verdict of the rubric. `verdicts` are those by each criterion; `runs` are the verdicts of the runs that each was
    /// merged of.
    pub(super) fn merge(&self, verdicts: Vec<Verdict>, rows: &[Vec<Value>]) -> Result<Verdict> {
        let first = verdicts.first().ok_or_else(|| Error::new(ErrorKind::Internal, "a rubric without a criterion"))?;
        let scores: Vec<Scored> = first
            .scores
            .iter()
            .enumerate()
            .map(|(index, scored)| {
                let column = || rows.iter().map(move |row| row[index]);
                let expected: Option<Vec<f64>> = column().map(|value| value.expected).collect();
                Scored {
                    name: scored.name.clone(),
                    score: self.on_scale(self.merged(column().map(|value| value.written))),
                    expected: expected.map(|values| self.on_scale(self.merged(values.into_iter()))),
                    distribution: None,
                    mass: None,
                }
            })
            .collect();
        let finest: Vec<f64> = scores.iter().map(|scored| scored.expected.unwrap_or(scored.score)).collect();
        let ranking = by_mean(&finest);
        let written: Vec<f64> = scores.iter().map(|scored| scored.score).collect();
        let mut merged = Verdict {
            ranking,
            reasoning: String::new(),
            repairs: Vec::new(),
            flags: Vec::new(),
            usage: crate::verdict::Usage::default(),
            timing: crate::verdict::Timing::default(),
            aliases: first.aliases.clone(),
            weights: 0,
            raw: first.raw.clone(),
            scores,
            ensemble: None,
            blocks: None,
            rubric: None,
            rewards: None,
            preferences: None,
        };
        merged.flags = merged_flags(&written, &merged.ranking);
        let mut criteria = Vec::with_capacity(verdicts.len());
        for (index, (verdict, row)) in verdicts.into_iter().zip(rows).enumerate() {
            let name = crate::request::rubric::name(&self.criteria, index);
            if !verdict.reasoning.trim().is_empty() {
                let gap = if merged.reasoning.is_empty() { "" } else { "\n\n" };
                let _ = write!(merged.reasoning, "{gap}[{name}]\n{}", verdict.reasoning.trim());
            }
            merged.repairs.extend(verdict.repairs.iter().cloned());
            let own = verdict.flags.iter().filter(|flag| !matches!(flag, Flag::Ties | Flag::InconsistentRanking));
            merged.flags.extend(own.cloned());
            add_cost(&mut merged, verdict.usage, verdict.timing);
            let criterion = Criterion { name, ..self.criteria[index].clone() };
            criteria.push(CriterionVerdict { criterion, values: row.iter().map(Value::finest).collect(), verdict });
        }
        once(&mut merged.repairs);
        once(&mut merged.flags);
        merged.rubric = Some(Box::new(RubricTable { merge: self.merge, criteria }));
        Ok(merged)
    }

    /// The win probabilities of the responses: the weighted mean of those by each criterion.
    pub(super) fn wins(&self, table: &RubricTable) -> Result<Vec<f64>> {
        let sum: f64 = self.criteria.iter().map(|criterion| criterion.weight).sum();
        let mut wins = Vec::new();
        for row in &table.criteria {
            let own = row.verdict.rewards_of(crate::config::Reward::Win)?;
            wins.resize(own.len(), 0.0);
            for (win, own) in wins.iter_mut().zip(own) {
                *win += own * row.criterion.weight / sum;
            }
        }
        Ok(wins)
    }

    /// The values of the responses by one criterion.
    pub(super) fn row(&self, criterion: &Criterion, verdict: &Verdict) -> Vec<Value> {
        let (worst, best) = (f64::from(self.scale.min), f64::from(self.scale.max));
        let middle = f64::midpoint(worst, best);
        let share = |score: f64| (score - worst) / (best - worst);
        let is_met = |score: f64| match score.total_cmp(&middle) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        let met = |distribution: &Vec<f64>| -> f64 {
            distribution.iter().zip(self.scale.min..).map(|(share, score)| share * is_met(f64::from(score))).sum()
        };
        let value = |scored: &Scored| match criterion.kind {
            CriterionKind::Scale => Value { written: share(scored.score), expected: scored.expected.map(share) },
            CriterionKind::YesNo => {
                Value { written: is_met(scored.score), expected: scored.distribution.as_ref().map(met) }
            }
        };
        verdict.scores.iter().map(value).collect()
    }

    /// The value of a response, of its values by each criterion.
    fn merged(&self, values: impl Iterator<Item = f64>) -> f64 {
        let sum: f64 = self.criteria.iter().map(|criterion| criterion.weight).sum();
        let weighted = values.zip(&self.criteria).filter(|(_, criterion)| criterion.weight > 0.0);
        let merged: f64 = match self.merge {
            RubricMerge::Mean => weighted.map(|(value, criterion)| value * criterion.weight / sum).sum(),
            RubricMerge::Min => weighted.map(|(value, _)| value).fold(1.0, f64::min),
            RubricMerge::Product => weighted.map(|(value, criterion)| value.powf(criterion.weight / sum)).product(),
            RubricMerge::AllPass => {
                // A value that reaches the threshold but for rounding passes.
                let all = weighted.into_iter().all(|(value, _)| value + 1e-9 >= self.pass);
                f64::from(u8::from(all))
            }
        };
        merged.clamp(0.0, 1.0)
    }

    fn on_scale(&self, value: f64) -> f64 {
        let (worst, best) = (f64::from(self.scale.min), f64::from(self.scale.max));
        worst + value * (best - worst)
    }
}

/// What a response reached by a criterion, from 0 to 1: by the score as written, and by its distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) written: f64,
    pub(super) expected: Option<f64>,
}

impl Value {
    fn finest(&self) -> f64 {
        self.expected.unwrap_or(self.written)
    }
}

/// The means of the values of several runs.
pub(super) fn mean_row(rows: &[Vec<Value>]) -> Vec<Value> {
    let count = u32::try_from(rows.len()).map_or(f64::NAN, f64::from);
    let responses = rows.first().map_or(0, Vec::len);
    (0..responses)
        .map(|index| Value {
            written: rows.iter().map(|row| row[index].written).sum::<f64>() / count,
            expected: rows.iter().map(|row| row[index].expected).sum::<Option<f64>>().map(|sum| sum / count),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rubric(merge: RubricMerge) -> Rubric {
        let weighted = |weight| Criterion { weight, ..Criterion::new("", "x") };
        let criteria = vec![weighted(3.0), weighted(1.0), weighted(0.0)];
        Rubric { criteria, merge, pass: 0.5, scale: Scale::default() }
    }

    #[test]
    fn values_are_merged_by_weight() {
        let merged = |merge, values: [f64; 3], wanted: f64| {
            let value = rubric(merge).merged(values.into_iter());
            assert!((value - wanted).abs() < 1e-12, "{merge:?}: {value}");
        };
        merged(RubricMerge::Mean, [1.0, 0.5, 0.0], 0.875);
        merged(RubricMerge::Min, [1.0, 0.5, 0.0], 0.5);
        merged(RubricMerge::Product, [0.5, 0.25, 0.0], 0.5_f64.powf(0.75) * 0.25_f64.powf(0.25));
        merged(RubricMerge::AllPass, [0.5, 0.5, 0.0], 1.0);
        merged(RubricMerge::AllPass, [0.5, 0.25, 1.0], 0.0);
    }
}
