//! Judges that read one or two responses at once: a group of more is judged one by one or two by two.
//!
//! Two by two, every response meets every other one if the number of runs allows; else each meets as many others, drawn on
//! a circle in a random order, which connects them all. What a response scores is the mean over its comparisons. If these are
//! choices, that is its share of wins on the scale. Pairs that never met count with the probability that a Bradley-Terry
//! model gives them (Bradley and Terry 1952), which is fitted by Hunter's minorization-maximization (2004) with a tenth of a win and
//! of a loss against an average response for each, so that it exists whatever the outcomes.

use crate::config::{Mask, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::mask::shuffled;
use crate::prompt::profile::{Scale, VerdictKind};
use crate::verdict::{BlockTable, Flag, Scored, Usage, Verdict, merged_flags};

use super::super::Judge;
use super::super::ensemble::by_mean;
use super::super::prepare::{Draft, Drawn, MAX_RUNS};
use super::link::{collect, mean_mass, outcome};
use super::{Layout, most_at_once};

/// Most rounds of the fit.
const ROUNDS: usize = 20_000;
/// The fit has settled if no strength changes by a larger part.
const SETTLED: f64 = 1e-13;
/// Wins and losses against an average response that each response has beforehand.
const PRIOR: f64 = 0.1;

impl Judge {
    /// The runs of a judge that reads `at_once` responses: one for each response or pair.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for what such a judge cannot do.
    pub(in crate::judge) fn compared(&self, draft: &Draft<'_>, at_once: usize) -> Result<(Drawn, Option<Layout>)> {
        let Draft { request, settings, .. } = *draft;
        let count = request.responses.len();
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
        if most_at_once(settings)?.is_some() {
            return invalid(
                "options: blocks and block_size are for judges that read any number of responses; by its profile this one reads \
                 one or two"
                    .to_owned(),
            );
        }
        let shows_names = request.mask_responses == Some(false) || settings.mask == Mask::Off;
        if shows_names && self.kind == VerdictKind::Choice {
            return invalid(
                "options: mask is off, but this judge names the better response by its letter, A or B: leave mask out"
                    .to_owned(),
            );
        }
        if count < at_once {
            return invalid(format!("this judge compares {at_once} responses: give as many or more"));
        }
        if count == at_once {
            return Ok((self.drawn(draft, None)?, None));
        }
        let blocks = if at_once == 1 {
            (0..count).map(|index| vec![index]).collect()
        } else {
            pairs(count, runs_for_pairs(draft, count)?, settings)
        };
        let layout = Layout { count, anchors: Vec::new(), blocks };
        Ok((self.drawn(draft, Some(&layout))?, Some(layout)))
    }
}

/// How many pairs can be judged.
fn runs_for_pairs(draft: &Draft<'_>, count: usize) -> Result<usize> {
    let Draft { request, settings, .. } = *draft;
    let times = settings.orders.min(2) as usize * settings.samples as usize * request.parts(settings).len();
    let pairs = MAX_RUNS / times.max(1);
    if pairs < count {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "this judge compares two responses at once: {count} of them take {count} comparisons or more, each in {times} \
                 runs (orders, samples, criteria), and at most {MAX_RUNS} runs are possible"
            ),
        ));
    }
    Ok(pairs)
}

/// At most `most` pairs: all, or for each response as many.
fn pairs(count: usize, most: usize, settings: &Settings) -> Vec<Vec<usize>> {
    if count * (count - 1) / 2 <= most {
        return (0..count).flat_map(|one| (one + 1..count).map(move |other| vec![one, other])).collect();
    }
    let circle = shuffled(count, settings.mask_seed);
    // Neighbours first, which connects all; then far ones, which shortens the ways between them.
    let mut steps: Vec<usize> = (2..count.div_ceil(2)).collect();
    let drawn = shuffled(steps.len(), settings.mask_seed.wrapping_add(1));
    steps = std::iter::once(1).chain(drawn.into_iter().map(|place| steps[place])).take((most / count).max(1)).collect();
    let mut pairs: Vec<Vec<usize>> = Vec::with_capacity(count * steps.len());
    for step in steps {
        for at in 0..count {
            let mut pair = vec![circle[at], circle[(at + step) % count]];
            pair.sort_unstable();
            pairs.push(pair);
        }
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// The verdict of a run, of the verdicts of its responses or pairs. `consistent`: whether the ranking is held to the scores as
/// written.
pub(super) fn merged(
    verdicts: &[&Verdict],
    layout: &Layout,
    (kind, scale): (VerdictKind, Scale),
    consistent: bool,
) -> Result<Verdict> {
    let fits = |(verdict, block): (&&Verdict, &Vec<usize>)| verdict.scores.len() == block.len();
    let (Some(&first), true) =
        (verdicts.first(), verdicts.len() == layout.blocks.len() && verdicts.iter().zip(&layout.blocks).all(fits))
    else {
        return Err(Error::new(ErrorKind::Internal, "the verdicts of a run are not those of its comparisons"));
    };
    let value = |of: &dyn Fn(&Scored) -> f64| -> Vec<f64> {
        let table: Vec<Vec<f64>> = verdicts.iter().map(|verdict| verdict.scores.iter().map(of).collect()).collect();
        match kind {
            VerdictKind::Choice => wins(layout, &table, scale).into_iter().map(|share| at(scale, share)).collect(),
            _ => means(layout, &table),
        }
    };
    let has_expected = verdicts.iter().all(|verdict| verdict.scores.iter().all(|scored| scored.expected.is_some()));
    let written = value(&|scored| scored.score);
    let finest = value(&|scored| scored.expected.filter(|_| has_expected).unwrap_or(scored.score));
    let mut names = vec![String::new(); layout.count];
    for (verdict, block) in verdicts.iter().zip(&layout.blocks) {
        for (scored, &index) in verdict.scores.iter().zip(block) {
            names[index].clone_from(&scored.name);
        }
    }
    let distribution = |index: usize| match kind {
        VerdictKind::Choice => has_expected.then(|| two_ends(scale, share(scale, finest[index]))),
        _ => mean_distribution(verdicts, layout, index),
    };
    let mut ranking = by_mean(&finest);
    if consistent || kind == VerdictKind::Score {
        // A stable sort.
        ranking.sort_by(|&a, &b| written[b].total_cmp(&written[a]));
    }
    let outcomes = verdicts.iter().zip(&layout.blocks).map(|(verdict, block)| outcome(verdict, block, 0.0)).collect();
    let mut merged = Verdict {
        flags: merged_flags(&written, &ranking),
        scores: names
            .into_iter()
            .enumerate()
            .map(|(index, name)| Scored {
                name,
                score: written[index],
                expected: has_expected.then(|| finest[index]),
                distribution: distribution(index),
                mass: mean_mass(verdicts, &layout.blocks, index),
            })
            .collect(),
        ranking,
        blocks: Some(Box::new(BlockTable { anchors: Vec::new(), clipped: Vec::new(), blocks: outcomes })),
        repairs: Vec::new(),
        usage: Usage::default(),
        timing: crate::verdict::Timing::default(),
        ..first.clone()
    };
    merged.flags.push(if kind == VerdictKind::Score { Flag::JudgedOneByOne } else { Flag::ComparedInPairs });
    collect(&mut merged, verdicts);
    Ok(merged)
}

/// The value of a share of wins on a scale.
fn at(scale: Scale, share: f64) -> f64 {
    // Equal shares that were summed in another order differ in their last bits.
    rounded(f64::from(scale.min) + share * f64::from(scale.max - scale.min))
}

/// A number without what summing in one order or another makes of it.
pub(in crate::judge) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// The distribution of a response that is the best one with this probability, and else the worst one.
fn two_ends(scale: Scale, best: f64) -> Vec<f64> {
    let mut distribution = vec![0.0; scale.len()];
    (distribution[0], distribution[scale.len() - 1]) = (1.0 - best, best);
    distribution
}

/// The mean of the distributions of a response over what it was judged in.
fn mean_distribution(verdicts: &[&Verdict], layout: &Layout, index: usize) -> Option<Vec<f64>> {
    let of = |(verdict, block): (&&Verdict, &Vec<usize>)| {
        let place = block.binary_search(&index).ok()?;
        Some(verdict.scores[place].distribution.clone())
    };
    let all: Vec<Vec<f64>> = verdicts.iter().zip(&layout.blocks).filter_map(of).collect::<Option<_>>()?;
    let count = u32::try_from(all.len()).map_or(f64::NAN, f64::from);
    let mut sum = vec![0.0; all.first()?.len()];
    for distribution in all {
        for (sum, share) in sum.iter_mut().zip(distribution) {
            *sum += share / count;
        }
    }
    Some(sum)
}

/// The share of wins that a value on the scale stands for.
pub(in crate::judge) fn share(scale: Scale, value: f64) -> f64 {
    (value - f64::from(scale.min)) / f64::from(scale.max - scale.min)
}

/// The mean of each response over what it was judged in.
fn means(layout: &Layout, values: &[Vec<f64>]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); layout.count];
    for (values, block) in values.iter().zip(&layout.blocks) {
        for (value, &index) in values.iter().zip(block) {
            sums[index].0 += value;
            sums[index].1 += 1.0;
        }
    }
    sums.into_iter().map(|(sum, count)| rounded(sum / count)).collect()
}

/// The probability of each response to be chosen before another one, on average over all others.
fn wins(layout: &Layout, values: &[Vec<f64>], scale: Scale) -> Vec<f64> {
    let count = layout.count;
    let mut won: Vec<Vec<Option<f64>>> = vec![vec![None; count]; count];
    for (values, block) in values.iter().zip(&layout.blocks) {
        if let (&[one, _], &[first, second]) = (&values[..], &block[..]) {
            let chosen = share(scale, one);
            (won[first][second], won[second][first]) = (Some(chosen), Some(1.0 - chosen));
        }
    }
    let is_complete = won
        .iter()
        .enumerate()
        .all(|(one, row)| row.iter().enumerate().all(|(other, won)| one == other || won.is_some()));
    let strengths = if is_complete { vec![1.0; count] } else { strengths(&won) };
    let of = |one: usize, other: usize| {
        won[one][other].unwrap_or_else(|| strengths[one] / (strengths[one] + strengths[other]))
    };
    (0..count)
        .map(|one| {
            let (sum, others) = (0..count)
                .filter(|&other| other != one)
                .fold((0.0, 0.0), |(sum, others), other| (sum + of(one, other), others + 1.0));
            sum / others
        })
        .collect()
}

/// The strengths of a Bradley-Terry model of the pairs that met; an average response has strength 1.
fn strengths(won: &[Vec<Option<f64>>]) -> Vec<f64> {
    let met: Vec<Vec<usize>> =
        won.iter().map(|row| (0..row.len()).filter(|&other| row[other].is_some()).collect()).collect();
    let wins: Vec<f64> = won.iter().map(|row| PRIOR + row.iter().flatten().sum::<f64>()).collect();
    let mut strengths = vec![1.0; won.len()];
    for _ in 0..ROUNDS {
        let better = |one: usize| {
            let prior = 2.0 * PRIOR / (strengths[one] + 1.0);
            let weights: f64 = met[one].iter().map(|&other| 1.0 / (strengths[one] + strengths[other])).sum();
            wins[one] / (prior + weights)
        };
        let fitted: Vec<f64> = (0..won.len()).map(better).collect();
        let is_settled = fitted.iter().zip(&strengths).all(|(new, old)| (new - old).abs() <= SETTLED * old);
        strengths = fitted;
        if is_settled {
            break;
        }
    }
    strengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    fn settings() -> Settings {
        Options::default().resolve_request().unwrap()
    }

    #[test]
    fn every_response_meets_as_many_others_and_all_are_connected() {
        for (count, most) in [(3, 256), (16, 128), (17, 128), (40, 128), (64, 64), (64, 256), (5, 9)] {
            let pairs = pairs(count, most, &settings());
            assert!(
                pairs.len() <= most && pairs.iter().all(|pair| pair[0] < pair[1] && pair[1] < count),
                "{count} {most}"
            );
            let mut met = vec![0; count];
            let mut group: Vec<usize> = (0..count).collect();
            for pair in &pairs {
                met[pair[0]] += 1;
                met[pair[1]] += 1;
                let (one, other) = (group[pair[0]], group[pair[1]]);
                group.iter_mut().filter(|number| **number == one).for_each(|number| *number = other);
            }
            assert!(
                met.iter().all(|times| *times == met[0]) && group.iter().all(|number| *number == group[0]),
                "{met:?}"
            );
            let all = count * (count - 1) / 2;
            assert_eq!(pairs.len() == all, all <= most);
        }
    }

    #[test]
    fn shares_of_wins_follow_the_strengths_also_of_pairs_that_never_met() {
        let scale = Scale::default();
        // Response i beats j with the odds 2^(j - i).
        let chance = |one: usize, other: usize| {
            1.0 / (1.0 + 2f64.powi(i32::try_from(one).unwrap() - i32::try_from(other).unwrap()))
        };
        for most in [28, 16, 8] {
            let blocks = pairs(8, most, &settings());
            let values: Vec<Vec<f64>> = blocks
                .iter()
                .map(|pair| [chance(pair[0], pair[1]), chance(pair[1], pair[0])].map(|share| at(scale, share)).to_vec())
                .collect();
            let layout = Layout { count: 8, anchors: Vec::new(), blocks };
            let shares = wins(&layout, &values, scale);
            assert!(shares.is_sorted_by(|a, b| a > b), "{most}: {shares:?}");
            assert!((shares.iter().sum::<f64>() - 4.0).abs() < 1e-9, "all wins are somebody's losses");
            if most == 28 {
                let exact = (1..8).map(|other| chance(0, other)).sum::<f64>() / 7.0;
                assert!((shares[0] - exact).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_response_that_wins_all_and_one_that_loses_all_have_finite_strengths() {
        let won =
            vec![vec![None, Some(1.0), Some(1.0)], vec![Some(0.0), None, Some(1.0)], vec![Some(0.0), Some(0.0), None]];
        let strengths = strengths(&won);
        assert!(strengths.iter().all(|strength| strength.is_finite() && *strength > 0.0));
        assert!(strengths[0] > strengths[1] && strengths[1] > strengths[2]);
    }
}
