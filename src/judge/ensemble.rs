//! An ensemble: runs in several orders, several samples of each, merged into one verdict.

use std::borrow::Cow;

use crate::config::{RankRule, RankingFrom, Reward, Settings, StopEarly};
use crate::error::{Error, ErrorKind, PartialVerdict, Result};
use crate::prompt::profile::{Scale, VerdictKind};
use crate::verdict::{Ensemble, Flag, PlaceEffect, Repair, RunOutcome, Timing, Usage, Verdict, merged_flags};

use super::blocks::{Blocks, rounded, share};
use super::calibrated::Applied;
use super::consensus;
use super::rubric::{Rubric, mean_row};

/// The fewest runs after which an ensemble may end early.
const LEAST_RUNS: usize = 4;
/// The variance that a difference of two scores is taken to have at least: that of rounding both to whole scores.
const LEAST_VARIANCE: f64 = 1.0 / 6.0;

/// The course of the runs of a judgment, numbered in the order in which they were submitted. A run has a part for
/// each criterion of a rubric, and a part has a generation for each block of the responses.
pub(super) struct Course {
    scale: Scale,
    orders: usize,
    samples: usize,
    /// Whether more orders were asked for than there are.
    reduced: bool,
    rank_rule: RankRule,
    stop_early: StopEarly,
    consistent: bool,
    reward: Option<Reward>,
    /// The runs that must give a verdict, for each criterion.
    needed: usize,
    /// Criteria that are judged separately. Each run consists of one part for each of them.
    rubric: Option<Rubric>,
    /// The blocks that each part of a run is judged in.
    blocks: Option<Blocks>,
    /// The tokens and times of an earlier stage.
    before: Option<(Usage, Timing)>,
    /// Whether blocks could be asked for, so that an error of a group that is too long says so.
    may_split: bool,
    calibrated: Option<Applied>,
}

impl Course {
    /// The course of a judgment with these orders.
    pub(super) fn new(
        settings: &Settings,
        scale: Scale,
        orders: usize,
        reduced: bool,
        rubric: Option<Rubric>,
        blocks: Option<Blocks>,
    ) -> Self {
        let samples = settings.samples as usize;
        let runs = orders * samples;
        let needed = if settings.min_runs == 0 { runs } else { runs.min(settings.min_runs as usize) };
        Self {
            scale,
            orders,
            samples,
            reduced,
            rank_rule: settings.rank_rule,
            stop_early: settings.stop_early,
            consistent: is_by_scores(settings),
            reward: settings.reward,
            needed,
            rubric,
            blocks,
            before: None,
            may_split: false,
            calibrated: None,
        }
    }

    /// An earlier stage has taken this.
    pub(super) fn follows(&mut self, usage: Usage, timing: Timing) {
        self.before = Some((usage, timing));
    }

    /// Whether the responses are judged in several prompts.
    pub(super) fn is_split(&self) -> bool {
        self.blocks.is_some()
    }

    /// Whether they are judged in blocks, by a judge that could read them all.
    fn is_in_blocks(&self) -> bool {
        self.blocks.as_ref().is_some_and(|blocks| blocks.kind.responses().is_none())
    }

    /// Returns whether blocks were not asked for, and could be.
    pub(super) fn may_split(self, may_split: bool) -> Self {
        Self { may_split, ..self }
    }

    /// With the calibration of the judge. It is of scores by one principle, not of what a rubric makes of several.
    pub(super) fn calibrated(self, calibrated: Option<Applied>) -> Self {
        let calibrated = calibrated.filter(|_| self.rubric.is_none());
        let calibrated = calibrated.map(|applied| if self.is_in_blocks() { applied.elsewhere() } else { applied });
        Self { calibrated, ..self }
    }

    /// Parts of one run.
    fn parts(&self) -> usize {
        self.rubric.as_ref().map_or(1, |rubric| rubric.criteria.len())
    }

    /// Generations of one part.
    fn blocks(&self) -> usize {
        self.blocks.as_ref().map_or(1, Blocks::count)
    }

    fn runs(&self) -> usize {
        self.orders * self.samples
    }

    /// Whether a failed run ends the judgment: unless `min_runs` allows for it, and it is the run's own failure and not one
    /// that all runs share. `failed` are the generations that have failed, this one among them.
    pub(super) fn is_fatal(&self, error: &Error, index: usize, failed: &[usize]) -> bool {
        let own = matches!(error.kind(), ErrorKind::InvalidVerdict | ErrorKind::Engine);
        let part = |index: usize| index / self.blocks();
        // Several blocks of one part that fail are one failure.
        let mut alike: Vec<usize> = failed
            .iter()
            .map(|&other| part(other))
            .filter(|other| other % self.parts() == part(index) % self.parts())
            .collect();
        alike.sort_unstable();
        alike.dedup();
        !own || alike.len() > self.runs() - self.needed
    }

    /// The error that the judgment ends with, if generation `index` failed.
    pub(super) fn failure(&self, index: usize, error: Error) -> Error {
        let (error, part) = (self.of_block(index % self.blocks(), error), index / self.blocks());
        let error = if self.may_split && error.kind() == ErrorKind::ContextOverflow {
            let advice = "or judge the responses in blocks (\"blocks\": \"when_needed\")";
            Error::new(error.kind(), format!("{}; {advice}", error.message()))
        } else {
            error
        };
        let error = match self.runs() {
            1 => error,
            runs => error.context(format_args!("run {} of {runs}", part / self.parts() + 1)),
        };
        match &self.rubric {
            Some(rubric) => {
                let name = crate::request::rubric::name(&rubric.criteria, part % self.parts());
                error.context(format_args!("criterion {name:?}"))
            }
            None => error,
        }
    }

    /// The error of a block. Its scores are not those of all responses.
    fn of_block(&self, block: usize, error: Error) -> Error {
        let Some(blocks) = &self.blocks else { return error };
        let partial = error.partial().map(|partial| PartialVerdict { scores: None, ranking: None, ..partial.clone() });
        let what = match blocks.kind {
            VerdictKind::Table | VerdictKind::List => "block",
            VerdictKind::Score => "response",
            _ => "comparison",
        };
        let error = error.context(format_args!("{what} {} of {}", block + 1, blocks.count()));
        partial.into_iter().fold(error, Error::with_partial)
    }

    /// The verdict of a part of a run, of the verdicts of its blocks.
    fn linked<'a>(&self, verdicts: &[&'a Verdict]) -> Result<Cow<'a, Verdict>> {
        match (&self.blocks, verdicts) {
            (Some(blocks), _) => blocks.link(verdicts).map(Cow::Owned),
            (None, &[verdict]) => Ok(Cow::Borrowed(verdict)),
            (None, _) => Err(Error::new(ErrorKind::Internal, "a part of a run without a verdict")),
        }
    }

    /// Whether the first runs, whose results these are, settle what `stop_early` asks for.
    ///
    /// After whole squares of orders, four runs at least: a paired t-test of the difference in (expected) score, at 99 %
    /// on two sides, for the best response against each other one, or for all neighbours in the order of the means.
    pub(super) fn is_settled(&self, results: &[&Result<Verdict>]) -> bool {
        let generations = self.parts() * self.blocks();
        let runs = results.len() / generations;
        if self.stop_early == StopEarly::Never || runs < LEAST_RUNS || !results.len().is_multiple_of(generations) {
            return false;
        }
        let values: Vec<Vec<f64>> = results.chunks(generations).filter_map(|run| self.values(run)).collect();
        let Some(first) = values.first() else { return false };
        let square = self.square(first.len());
        if !runs.is_multiple_of(square) || values.len() < LEAST_RUNS {
            return false;
        }
        let order = by_mean(&means(&values));
        match self.stop_early {
            StopEarly::Order => order.windows(2).all(|pair| differs(&values, pair[0], pair[1])),
            _ => order[1..].iter().all(|&other| differs(&values, order[0], other)),
        }
    }

    /// Runs after which each response has stood at each place equally often; `responses` are those of the group.
    fn square(&self, responses: usize) -> usize {
        let longest = self.blocks.as_ref().map_or(responses, Blocks::longest);
        self.orders.min(longest).max(1)
    }

    /// The (expected) scores of a run; none if a generation of it has failed.
    fn values(&self, run: &[&Result<Verdict>]) -> Option<Vec<f64>> {
        let verdicts: Vec<&Verdict> = run.iter().map(|result| result.as_ref().ok()).collect::<Option<_>>()?;
        let parts: Vec<Cow<'_, Verdict>> =
            verdicts.chunks(self.blocks()).map(|blocks| self.linked(blocks).ok()).collect::<Option<_>>()?;
        match &self.rubric {
            Some(rubric) => Some(rubric.values(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())),
            None => parts.first().map(|verdict| verdict.values()),
        }
    }

    /// The verdict of the judgment, of the results of its first runs: of all, or of those that settled it.
    pub(super) fn finish(self, results: Vec<Result<Verdict>>) -> Result<Verdict> {
        let merged = self.merged(results)?;
        self.completed(merged)
    }

    /// As [`Self::finish`], of a judgment of one generation, as nearly every one is.
    pub(super) fn finish_one(self, result: Result<Verdict>) -> Result<Verdict> {
        if self.rubric.is_some() || self.blocks.is_some() {
            return self.finish(vec![result]);
        }
        self.completed(result?)
    }

    /// What belongs to the verdict of all runs.
    fn completed(self, mut merged: Verdict) -> Result<Verdict> {
        if self.reduced {
            merged.flags.push(Flag::OrdersReduced);
        }
        if let Some((usage, timing)) = self.before {
            add_cost(&mut merged, usage, timing);
        }
        if let Some(calibrated) = &self.calibrated {
            calibrated.apply(&mut merged);
        }
        if let Some(reward) = self.reward {
            merged.set_rewards(reward, self.scale, |verdict| {
                let table = verdict.rubric.as_ref().filter(|_| reward == Reward::Win);
                let of_rubric = table.zip(self.rubric.as_ref()).map(|(table, rubric)| rubric.wins(table));
                of_rubric.or_else(|| self.shares(reward, verdict).map(Ok))
            })?;
        }
        Ok(merged)
    }

    /// What all runs say together.
    fn merged(&self, results: Vec<Result<Verdict>>) -> Result<Verdict> {
        let parts = self.parts();
        let results = self.parts_of(results);
        let stopped_early = results.len() < self.runs() * parts;
        let mut by_part: Vec<Vec<Result<Verdict>>> = (0..parts).map(|_| Vec::new()).collect();
        for (index, result) in results.into_iter().enumerate() {
            by_part[index % parts].push(result);
        }
        let Some(rubric) = &self.rubric else { return self.part(by_part.remove(0), stopped_early) };
        let (mut verdicts, mut rows) = (Vec::with_capacity(parts), Vec::with_capacity(parts));
        for (criterion, results) in rubric.criteria.iter().zip(by_part) {
            let of_runs: Vec<_> = results.iter().flatten().map(|run| rubric.row(criterion, run)).collect();
            rows.push(mean_row(&of_runs));
            verdicts.push(self.part(results, stopped_early)?);
        }
        rubric.merge(verdicts, &rows)
    }

    /// The reward "win" of responses that were compared in pairs: the share of wins that their scores stand for. A calibration
    /// knows better.
    fn shares(&self, reward: Reward, verdict: &Verdict) -> Option<Vec<f64>> {
        let chosen = self.blocks.as_ref().is_some_and(|blocks| blocks.kind == VerdictKind::Choice);
        let own = chosen && reward == Reward::Win && verdict.rubric.is_none() && verdict.preferences.is_none();
        own.then(|| verdict.values().into_iter().map(|value| share(self.scale, value)).collect())
    }

    /// The results of the parts of runs, of those of their blocks.
    fn parts_of(&self, results: Vec<Result<Verdict>>) -> Vec<Result<Verdict>> {
        if self.blocks.is_none() {
            return results;
        }
        let mut left = results.into_iter().enumerate().peekable();
        let mut parts = Vec::new();
        while left.peek().is_some() {
            let blocks: Result<Vec<Verdict>> = {
                let part: Vec<_> = left.by_ref().take(self.blocks()).collect();
                part.into_iter()
                    .map(|(index, result)| result.map_err(|error| self.of_block(index % self.blocks(), error)))
                    .collect()
            };
            parts.push(blocks.and_then(|blocks| self.linked(&blocks.iter().collect::<Vec<_>>()).map(Cow::into_owned)));
        }
        parts
    }

    /// The verdict of all runs by one criterion, or without a rubric.
    fn part(&self, results: Vec<Result<Verdict>>, stopped_early: bool) -> Result<Verdict> {
        let single = self.runs() == 1;
        let (mut verdicts, mut failed) = (Vec::with_capacity(results.len()), Vec::new());
        for (index, result) in results.into_iter().enumerate() {
            match result {
                Ok(verdict) => verdicts.push(verdict),
                Err(error) if single => return Err(error),
                Err(error) => failed.push(format!("run {}: {}: {}", index + 1, error.kind(), error.message())),
            }
        }
        if single {
            verdicts.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a judgment without a run"))
        } else {
            self.merge(verdicts, failed, stopped_early)
        }
    }

    fn merge(&self, verdicts: Vec<Verdict>, failed: Vec<String>, stopped_early: bool) -> Result<Verdict> {
        let runs: Vec<RunOutcome> = verdicts.iter().map(outcome).collect();
        let rankings: Vec<&[usize]> = runs.iter().map(|run| run.ranking.as_slice()).collect();
        let values: Vec<Vec<f64>> = verdicts.iter().map(Verdict::values).collect();
        let mut means = means(&values);
        // Orders that mirror each other cancel out, but for the last bits.
        let is_compared = self.is_split() && !self.is_in_blocks();
        if is_compared {
            means = means.into_iter().map(rounded).collect();
        }
        let preferred = by_mean(&means);
        let (mut ranking, mut exact) = consensus::ranking(self.rank_rule, &rankings, &preferred);
        let mut merged = blend(verdicts)?;
        if is_compared {
            for scored in &mut merged.scores {
                scored.score = rounded(scored.score);
                scored.expected = scored.expected.map(rounded);
            }
        }
        let scores: Vec<f64> = merged.scores.iter().map(|scored| scored.score).collect();
        if self.consistent {
            let before = ranking.clone();
            ranking.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(means[b].total_cmp(&means[a])));
            exact &= ranking == before;
        }
        let top = rankings.iter().filter(|one| one.first() == ranking.first()).count();
        let report = Ensemble {
            orders: self.orders,
            samples: self.samples,
            failed,
            stopped_early,
            standard_errors: (0..means.len()).map(|index| standard_error(&values, index)).collect(),
            rank_rule: self.rank_rule,
            exact,
            kendall_w: consensus::concordance(&rankings),
            top_agreement: ratio(top, rankings.len()),
            places: places(&runs, &means),
            runs: Vec::new(),
        };
        merged.flags.retain(|flag| !matches!(flag, Flag::Ties | Flag::InconsistentRanking));
        merged.flags.splice(0..0, merged_flags(&scores, &ranking));
        merged.ranking = ranking;
        merged.ensemble = Some(Box::new(Ensemble { runs, ..report }));
        Ok(merged)
    }
}

/// Whether the ranking must agree with the scores.
pub(super) fn is_by_scores(settings: &Settings) -> bool {
    settings.consistent_ranking || settings.ranking_from == RankingFrom::Scores
}

/// A verdict with the means of the scores and everything that is summed or listed; its ranking is that of the first run.
fn blend(verdicts: Vec<Verdict>) -> Result<Verdict> {
    let runs = verdicts.len();
    let count = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    let mut verdicts = verdicts.into_iter();
    let Some(mut merged) = verdicts.next() else {
        return Err(Error::new(ErrorKind::Internal, "an ensemble without a run"));
    };
    for verdict in verdicts {
        for (mean, scored) in merged.scores.iter_mut().zip(verdict.scores) {
            mean.score += scored.score;
            mean.expected = mean.expected.zip(scored.expected).map(|(sum, expected)| sum + expected);
            mean.mass = mean.mass.zip(scored.mass).map(|(sum, mass)| sum + mass);
            mean.distribution = mean.distribution.take().zip(scored.distribution).map(|(mut sum, distribution)| {
                for (sum, share) in sum.iter_mut().zip(distribution) {
                    *sum += share;
                }
                sum
            });
        }
        merged.repairs.extend(verdict.repairs.into_iter().filter(|repair| *repair != Repair::RankingDerived));
        merged.flags.extend(verdict.flags);
        add_cost(&mut merged, verdict.usage, verdict.timing);
    }
    for mean in &mut merged.scores {
        mean.score /= count(runs);
        mean.expected = mean.expected.map(|sum| sum / count(runs));
        mean.mass = mean.mass.map(|sum| sum / count(runs));
        if let Some(distribution) = &mut mean.distribution {
            for share in distribution {
                *share /= count(runs);
            }
        }
    }
    once(&mut merged.repairs);
    once(&mut merged.flags);
    Ok(merged)
}

/// Adds the tokens and times of a run.
pub(super) fn add_cost(verdict: &mut Verdict, usage: Usage, timing: Timing) {
    let sum = &mut verdict.usage;
    sum.prompt_tokens += usage.prompt_tokens;
    sum.reused_tokens += usage.reused_tokens;
    sum.reasoning_tokens += usage.reasoning_tokens;
    sum.verdict_tokens += usage.verdict_tokens;
    sum.forced_tokens += usage.forced_tokens;
    let sum = &mut verdict.timing;
    sum.queue = sum.queue.max(timing.queue);
    sum.prefill += timing.prefill;
    sum.reasoning += timing.reasoning;
    sum.verdict += timing.verdict;
}

/// Keeps the first of equal entries.
pub(super) fn once<T: PartialEq>(list: &mut Vec<T>) {
    let mut kept: Vec<T> = Vec::with_capacity(list.len());
    for item in list.drain(..) {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    *list = kept;
}

fn outcome(verdict: &Verdict) -> RunOutcome {
    let place = |name: &String| verdict.scores.iter().position(|scored| scored.name == *name);
    let order = match &verdict.blocks {
        Some(table) => {
            let mut order: Vec<usize> = table.blocks.iter().flat_map(|block| block.order.iter().copied()).collect();
            once(&mut order);
            order
        }
        None => verdict.aliases.iter().filter_map(|(_, name)| place(name)).collect(),
    };
    RunOutcome {
        order,
        scores: verdict.scores.iter().map(|scored| scored.score).collect(),
        expected: verdict.scores.iter().map(|scored| scored.expected).collect(),
        ranking: verdict.ranking.clone(),
        raw: verdict.raw.clone(),
        blocks: verdict.blocks.clone(),
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let exact = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    exact(part) / exact(whole)
}

/// The mean of each response over the runs.
fn means(values: &[Vec<f64>]) -> Vec<f64> {
    let count = values.first().map_or(0, Vec::len);
    (0..count).map(|index| mean(values.iter().map(|run| run[index]))).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

/// Indices by falling mean; of equal ones the first first.
pub(super) fn by_mean(means: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|&a, &b| means[b].total_cmp(&means[a]));
    order
}

/// The variance of a sample, and its size; `None` for fewer than two values.
fn variance(values: &[f64]) -> Option<(f64, f64)> {
    let mean = mean(values.iter().copied());
    let count = f64::from(u32::try_from(values.len()).ok()?);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0), count))
}

fn standard_error(values: &[Vec<f64>], index: usize) -> Option<f64> {
    let values: Vec<f64> = values.iter().map(|run| run[index]).collect();
    variance(&values).map(|(variance, count)| (variance / count).sqrt())
}

/// Whether the mean of one response is above that of another by more than chance.
fn differs(values: &[Vec<f64>], one: usize, other: usize) -> bool {
    let differences: Vec<f64> = values.iter().map(|run| run[one] - run[other]).collect();
    let Some((variance, count)) = variance(&differences) else { return false };
    let error = (variance.max(LEAST_VARIANCE) / count).sqrt();
    mean(differences.iter().copied()) > t_99(differences.len() - 1) * error
}

/// Student's t: 99 % of its distribution with that many degrees of freedom lie between this and its negative.
fn t_99(degrees: usize) -> f64 {
    const TABLE: [f64; 30] = [
        63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
        2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
    ];
    // Beyond the table its last entry, which is the stricter one.
    TABLE[degrees.clamp(1, TABLE.len()) - 1]
}

/// A list of responses as one prompt showed it.
struct Shown<'a> {
    order: &'a [usize],
    /// The value of the response at each place.
    values: Vec<f64>,
    /// The response ranked first.
    first: Option<usize>,
}

impl<'a> Shown<'a> {
    /// The lists that a run showed: one, or one for each block.
    fn of(run: &'a RunOutcome) -> Vec<Self> {
        match &run.blocks {
            Some(table) => table
                .blocks
                .iter()
                .map(|block| Self {
                    order: &block.order,
                    values: (0..block.order.len()).map(|place| block.value(place)).collect(),
                    first: block.ranking.first().copied(),
                })
                .collect(),
            None => vec![Self {
                order: &run.order,
                values: run.order.iter().map(|&index| run.value(index)).collect(),
                first: run.ranking.first().copied(),
            }],
        }
    }
}

/// What each place did.
fn places(runs: &[RunOutcome], means: &[f64]) -> Vec<PlaceEffect> {
    let lists: Vec<Shown<'_>> = runs.iter().flat_map(Shown::of).collect();
    let longest = lists.iter().map(|list| list.order.len()).max().unwrap_or(0);
    (0..longest)
        .map(|place| {
            let shown = || lists.iter().filter(move |list| place < list.order.len());
            let first = shown().filter(|list| list.first == Some(list.order[place])).count();
            PlaceEffect {
                score: mean(shown().map(|list| list.values[place] - means[list.order[place]])),
                first: ratio(first, shown().count()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_settled_by_its_size_and_its_spread() {
        let runs = |differences: &[f64]| differences.iter().map(|&one| vec![one + 1.0, 1.0]).collect::<Vec<_>>();
        assert!(differs(&runs(&[2.0, 2.0, 2.0, 2.0]), 0, 1));
        assert!(!differs(&runs(&[2.0, 2.0, 2.0, 2.0]), 1, 0));
        assert!(!differs(&runs(&[1.0, 1.0, 1.0, 1.0]), 0, 1), "whole scores that differ by one may differ by rounding");
        assert!(!differs(&runs(&[4.0, -1.0, 4.0, 0.0]), 0, 1));
        assert!(!differs(&runs(&[4.0]), 0, 1));
    }

    #[test]
    fn standard_errors_are_those_of_a_mean() {
        let values = vec![vec![1.0], vec![2.0], vec![4.0], vec![5.0]];
        // The sample variance is 10 / 3.
        assert!((standard_error(&values, 0).unwrap() - (10.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(standard_error(&values[..1], 0), None);
    }
}
