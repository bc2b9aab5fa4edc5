//! What a verdict of several runs holds besides scores and ranking: the runs, how far they agree, and whether places
//! influence the judge; and the rewards that a request asked for.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::Verdict;
use super::blocks::{self, BlockTable};
use crate::config::{RankRule, Reward};
use crate::error::{Error, ErrorKind, Result};
use crate::number;
use crate::prompt::profile::Scale;

/// The runs of an ensemble. In the verdict that they were merged into, `score`, `expected` and `distribution` are
/// means over the runs.
///
/// As JSON: `orders`, `samples`, `runs`, `failed`, `stopped_early`, `standard_errors` (by name), `rank_rule`, `exact`,
/// `kendall_w`, `top_agreement`, `places`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// The number of different orders that were asked for, or all if there are fewer.
    pub orders: usize,
    /// The number of runs in each order.
    pub samples: usize,
    /// The runs that were merged.
    pub runs: Vec<RunOutcome>,
    /// Why the others failed.
    pub failed: Vec<String>,
    /// Whether the order was settled before all runs were made; runs that were not made are not counted.
    pub stopped_early: bool,
    /// The standard error of each mean (of expected scores if there are any, else of scores), in the order of the request;
    /// `None` for a single run.
    pub standard_errors: Vec<Option<f64>>,
    /// The rule that made the ranking.
    pub rank_rule: RankRule,
    /// Whether no other order disagrees less with the runs.
    pub exact: bool,
    /// Kendall's W: 1 if all runs rank alike, 0 if their rankings have nothing in common.
    pub kendall_w: Option<f64>,
    /// The share of the runs that rank the best response of the merged ranking first.
    pub top_agreement: f64,
    /// The effect of each place in the prompt, the first place first.
    pub places: Vec<PlaceEffect>,
}

/// One run of an ensemble. Lists are in the order of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutcome {
    /// Indices of the responses in the order in which this run showed them.
    pub order: Vec<usize>,
    /// The scores as written.
    pub scores: Vec<f64>,
    /// The means of the scores' distributions.
    pub expected: Vec<Option<f64>>,
    /// Indices, best first.
    pub ranking: Vec<usize>,
    /// The judge's whole output as it came.
    pub raw: String,
    /// The blocks, if this run judged the responses in several. `order` then goes through them, each response at its first
    /// place; `scores`, `expected` and `ranking` are merged, and `raw` is that of the first block.
    pub blocks: Option<Box<BlockTable>>,
}

impl RunOutcome {
    /// The expected score of a response, else the score as written.
    pub fn value(&self, index: usize) -> f64 {
        self.expected[index].unwrap_or(self.scores[index])
    }
}

/// The effect of a place in the prompt in the runs of an ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceEffect {
    /// By how much the (expected) score of a response at this place was above its mean over all runs, on average. Without a
    /// bias this is 0, apart from chance.
    pub score: f64,
    /// The share of the runs in which the response at this place was ranked first. Without a bias, each place has the same
    /// share over whole squares of orders.
    pub first: f64,
}

impl Ensemble {
    /// Writes it with the names of the responses.
    pub(super) fn named<'a>(&'a self, verdict: &'a Verdict) -> impl Serialize + 'a {
        Named { ensemble: self, names: verdict.scores.iter().map(|scored| scored.name.as_str()).collect() }
    }
}

/// An ensemble with the names of the responses.
pub(super) struct Named<'a> {
    pub(super) ensemble: &'a Ensemble,
    pub(super) names: Vec<&'a str>,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Self { ensemble, names } = self;
        let runs: Vec<_> = ensemble.runs.iter().map(|run| NamedRun { run, names }).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("orders", &ensemble.orders)?;
        map.serialize_entry("samples", &ensemble.samples)?;
        map.serialize_entry("stopped_early", &ensemble.stopped_early)?;
        map.serialize_entry("standard_errors", &ByName(names, &ensemble.standard_errors))?;
        map.serialize_entry("rank_rule", &ensemble.rank_rule)?;
        map.serialize_entry("exact", &ensemble.exact)?;
        map.serialize_entry("kendall_w", &ensemble.kendall_w)?;
        map.serialize_entry("top_agreement", &ensemble.top_agreement)?;
        map.serialize_entry("places", &ensemble.places)?;
        map.serialize_entry("runs", &runs)?;
        map.serialize_entry("failed", &ensemble.failed)?;
        map.end()
    }
}

/// Values as an object by name, in the order of the request.
pub(super) struct ByName<'a, T>(pub(super) &'a [&'a str], pub(super) &'a [T]);

impl<T: Serialize> Serialize for ByName<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(self.1))
    }
}

struct NamedRun<'a> {
    run: &'a RunOutcome,
    names: &'a [&'a str],
}

impl Serialize for NamedRun<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Self { run, names } = self;
        let listed = |indices: &[usize]| indices.iter().map(|&index| names[index]).collect::<Vec<_>>();
        let scores: Vec<_> = run.scores.iter().map(|&score| number::score(score)).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("order", &listed(&run.order))?;
        map.serialize_entry("scores", &ByName(names, &scores))?;
        map.serialize_entry("expected_scores", &ByName(names, &run.expected))?;
        map.serialize_entry("ranking", &listed(&run.ranking))?;
        map.serialize_entry("raw", &run.raw)?;
        if let Some(table) = &run.blocks {
            map.serialize_entry("blocks", &blocks::Named { table, names: names.to_vec() })?;
        }
        map.end()
    }
}

/// The rewards that a request asked for ([`Options::reward`](crate::Options::reward)).
#[derive(Clone, Debug, PartialEq)]
pub struct Rewards {
    /// Their kind.
    pub kind: Reward,
    /// One for each response, in the order of the request.
    pub values: Vec<f64>,
    /// The standard deviation of each score's distribution; `None` if the engine gave no distributions.
    pub spreads: Vec<Option<f64>>,
}

impl Rewards {
    /// As JSON: `kind`, `values` and `spreads` by name.
    pub(super) fn named<'a>(&'a self, verdict: &'a Verdict) -> impl Serialize + 'a {
        let names: Vec<&str> = verdict.scores.iter().map(|scored| scored.name.as_str()).collect();
        NamedRewards(self, names)
    }
}

struct NamedRewards<'a>(&'a Rewards, Vec<&'a str>);

impl Serialize for NamedRewards<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("kind", &self.0.kind)?;
        map.serialize_entry("values", &ByName(&self.1, &self.0.values))?;
        map.serialize_entry("spreads", &ByName(&self.1, &self.0.spreads))?;
        map.end()
    }
}

impl Verdict {
    /// The rewards of the responses, in their order: one number each, of this kind.
    ///
    /// Those of a verdict that was asked for with this kind ([`Self::rewards`]) are taken from there.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the kind needs distributions and the engine gave none.
    pub fn rewards_of(&self, kind: Reward) -> Result<Vec<f64>> {
        if let Some(rewards) = self.rewards.as_ref().filter(|rewards| rewards.kind == kind) {
            return Ok(rewards.values.clone());
        }
        let missing = |instead: &str| {
            let why = if self.blocks.is_some() {
                "the responses were judged in blocks, which have no distributions on one scale"
            } else {
                "the engine gave no distribution of the scores"
            };
            let message = format!("{why}, which the reward {:?} needs: {instead}", kind.word());
            Error::new(ErrorKind::Unsupported, message)
        };
        match kind {
            Reward::Score => Ok(self.scores.iter().map(|scored| scored.score).collect()),
            Reward::Expected => {
                let expected = self.scores.iter().map(|scored| scored.expected);
                expected.collect::<Option<_>>().ok_or_else(|| missing("ask for the score"))
            }
            Reward::ExpectedOrScore => Ok(self.values()),
            Reward::Rank => Ok(ranks(&self.ranking)),
            Reward::Group => Ok(group(&self.values())),
            Reward::Win => self.calibrated_wins().or_else(|| wins(self)).ok_or_else(|| missing("ask for the rank")),
        }
    }

    /// The expected score of each response, else the score as written.
    pub(crate) fn values(&self) -> Vec<f64> {
        self.scores.iter().map(|scored| scored.expected.unwrap_or(scored.score)).collect()
    }

    /// Puts the rewards of a kind into the verdict. If `own` gives values, they take the place of the usual ones.
    pub(crate) fn set_rewards(
        &mut self,
        kind: Reward,
        scale: Scale,
        own: impl FnOnce(&Self) -> Option<Result<Vec<f64>>>,
    ) -> Result<()> {
        let values = own(self).unwrap_or_else(|| self.rewards_of(kind))?;
        let spread = |distribution: &Vec<f64>| spread(scale, distribution);
        let spreads = self.scores.iter().map(|scored| scored.distribution.as_ref().map(spread)).collect();
        self.rewards = Some(Box::new(Rewards { kind, values, spreads }));
        Ok(())
    }
}

/// From 1 for the best to 0 for the worst, in equal steps.
#[expect(clippy::cast_precision_loss, reason = "a few dozen responses")]
fn ranks(ranking: &[usize]) -> Vec<f64> {
    let last = ranking.len().saturating_sub(1);
    let mut rewards = vec![0.5; ranking.len()];
    for (place, &index) in ranking.iter().enumerate().filter(|_| last > 0) {
        rewards[index] = (last - place) as f64 / last as f64;
    }
    rewards
}

/// Standard deviations above the mean of the group.
#[expect(clippy::cast_precision_loss, reason = "a few dozen responses")]
fn group(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    // Below this, the values differ only by rounding.
    values.iter().map(|value| if deviation > 1e-9 { (value - mean) / deviation } else { 0.0 }).collect()
}

/// The standard deviation of a score's distribution.
fn spread(scale: Scale, distribution: &[f64]) -> f64 {
    let scores = || distribution.iter().zip(scale.min..).map(|(&share, score)| (share, f64::from(score)));
    let mean: f64 = scores().map(|(share, score)| share * score).sum();
    scores().map(|(share, score)| share * (score - mean).powi(2)).sum::<f64>().sqrt()
}

/// For each response, the mean probability that its score is above that of another one; a tie counts half.
#[expect(clippy::cast_precision_loss, reason = "a few dozen responses")]
fn wins(verdict: &Verdict) -> Option<Vec<f64>> {
    let distributions: Vec<&Vec<f64>> =
        verdict.scores.iter().map(|scored| scored.distribution.as_ref()).collect::<Option<_>>()?;
    if distributions.len() < 2 {
        return Some(vec![0.5; distributions.len()]);
    }
    let against = |index: usize| -> f64 {
        let others = distributions.iter().enumerate().filter(|(other, _)| *other != index);
        others.map(|(_, other)| wins_over(distributions[index], other)).sum::<f64>() / (distributions.len() - 1) as f64
    };
    Some((0..distributions.len()).map(against).collect())
}

impl Verdict {
    /// The probability that the best response is better than its closest rival, a tie counting half; for a single
    /// response, that its score is the most probable one. `None` without distributions.
    pub(crate) fn certainty(&self) -> Option<f64> {
        let of = |&index: &usize| self.scores[index].distribution.as_deref();
        let (best, others) = self.ranking.split_first()?;
        let best = of(best)?;
        if others.is_empty() {
            return best.iter().copied().max_by(f64::total_cmp);
        }
        let wins: Option<Vec<f64>> = others.iter().map(|other| Some(wins_over(best, of(other)?))).collect();
        wins?.into_iter().min_by(f64::total_cmp)
    }
}

/// The probability that a score of the first distribution is above one of the second, a tie counting half.
pub(crate) fn wins_over(one: &[f64], other: &[f64]) -> f64 {
    let mut below = 0.0;
    let mut won = 0.0;
    for (&mine, &theirs) in one.iter().zip(other) {
        won += mine * (below + theirs / 2.0);
        below += theirs;
    }
    won
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-12
    }

    #[test]
    fn a_win_is_a_higher_score_and_half_a_tie() {
        let (low, high, even) = ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25]);
        assert!(near(wins_over(&high, &low), 1.0) && near(wins_over(&low, &high), 0.0));
        assert!(near(wins_over(&even, &even), 0.5));
        assert!(near(wins_over(&even, &low), 0.25 / 2.0 + 0.75));
    }

    #[test]
    fn groups_are_normalised_and_ranks_are_equal_steps() {
        assert_eq!(ranks(&[2, 0, 1]), [0.5, 0.0, 1.0]);
        assert_eq!(ranks(&[0]), [0.5]);
        assert_eq!(group(&[3.0, 3.0]), [0.0, 0.0]);
        let values = group(&[1.0, 3.0]);
        assert!(near(values[0], -1.0) && near(values[1], 1.0));
        assert!(near(spread(Scale::default(), &[0.5, 0.0, 0.0, 0.0, 0.5]), 2.0));
    }
}
