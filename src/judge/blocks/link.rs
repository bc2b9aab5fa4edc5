//! Merges the verdicts of the blocks of one run onto one scale.
//!
//! This is mean linking by common items (Kolen and Brennan, *Test Equating, Scaling, and Linking*): what a response scores in
//! a block is taken to be its own value plus what the block adds to all of its responses. Since every block holds the same
//! anchors, the least squares fit of that has a closed form. A block is shifted so that its anchors have the mean that the
//! anchors have over all blocks; an anchor's value is the mean of its values in all blocks. The scale is not stretched: of
//! few anchors that spread little the slope would be noise.

use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::{Scale, VerdictKind};
use crate::verdict::{BlockOutcome, BlockTable, Flag, Scored, Verdict, merged_flags};

use super::super::consensus;
use super::super::ensemble::{add_cost, by_mean, once};
use super::{Layout, compare};

/// Below this, blocks differ by rounding alone.
const EQUAL: f64 = 1e-9;

/// The blocks of a judgment, and how they are merged.
pub(in crate::judge) struct Blocks {
    pub(in crate::judge) layout: Layout,
    pub(in crate::judge) scale: Scale,
    /// Whether the ranking is held to the scores.
    pub(in crate::judge) consistent: bool,
    /// What the verdict of a block is about.
    pub(in crate::judge) kind: VerdictKind,
}

impl Blocks {
    pub(in crate::judge) fn count(&self) -> usize {
        self.layout.blocks.len()
    }

    /// Responses of the longest block.
    pub(in crate::judge) fn longest(&self) -> usize {
        self.layout.blocks.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The verdict of a run, of the verdicts of its blocks in their order.
    pub(in crate::judge) fn link(&self, verdicts: &[&Verdict]) -> Result<Verdict> {
        if self.kind.responses().is_some() {
            return compare::merged(verdicts, &self.layout, (self.kind, self.scale), self.consistent);
        }
        let members = &self.layout.blocks;
        let fits = |(verdict, block): (&&Verdict, &Vec<usize>)| verdict.scores.len() == block.len();
        let (Some(&first), true) =
            (verdicts.first(), verdicts.len() == members.len() && verdicts.iter().zip(members).all(fits))
        else {
            return Err(Error::new(ErrorKind::Internal, "the verdicts of a run are not those of its blocks"));
        };
        let has_expected = verdicts.iter().all(|verdict| verdict.scores.iter().all(|scored| scored.expected.is_some()));
        let value = |scored: &Scored| scored.expected.filter(|_| has_expected).unwrap_or(scored.score);
        let values: Vec<Vec<f64>> = verdicts.iter().map(|verdict| verdict.scores.iter().map(value).collect()).collect();
        let shifts = self.shifts(&values);
        let spread = |of: &dyn Fn(&Scored) -> f64| {
            let values: Vec<Vec<f64>> =
                verdicts.iter().map(|verdict| verdict.scores.iter().map(of).collect()).collect();
            self.linked(&values, &shifts)
        };
        let (written, finest) = (spread(&|scored| scored.score), spread(&value));
        let (worst, best) = (f64::from(self.scale.min), f64::from(self.scale.max));
        let is_off = |value: f64| value < worst - EQUAL || value > best + EQUAL;
        let scores: Vec<Scored> = (0..self.layout.count)
            .map(|index| Scored {
                name: self.name(verdicts, index),
                score: written[index].clamp(worst, best),
                expected: has_expected.then(|| finest[index].clamp(worst, best)),
                distribution: None,
                mass: mean_mass(verdicts, members, index),
            })
            .collect();
        let outcomes: Vec<BlockOutcome> = verdicts
            .iter()
            .zip(members)
            .zip(&shifts)
            .map(|((verdict, block), &shift)| outcome(verdict, block, shift))
            .collect();
        let of_scale: Vec<f64> = scores.iter().map(|scored| scored.score).collect();
        let ranking = self.ranking(&outcomes, &of_scale, &finest);
        let mut merged = Verdict {
            flags: merged_flags(&of_scale, &ranking),
            scores,
            ranking,
            reasoning: first.reasoning.clone(),
            repairs: Vec::new(),
            aliases: first.aliases.clone(),
            usage: crate::verdict::Usage::default(),
            timing: crate::verdict::Timing::default(),
            weights: 0,
            raw: first.raw.clone(),
            ensemble: None,
            blocks: Some(Box::new(BlockTable {
                anchors: self.layout.anchors.clone(),
                clipped: (0..self.layout.count)
                    .filter(|&index| is_off(written[index]) || is_off(finest[index]))
                    .collect(),
                blocks: outcomes,
            })),
            rubric: None,
            rewards: None,
            preferences: None,
        };
        merged.flags.push(Flag::JudgedInBlocks);
        collect(&mut merged, verdicts);
        Ok(merged)
    }

    /// What is added to the values of each block.
    fn shifts(&self, values: &[Vec<f64>]) -> Vec<f64> {
        let Layout { anchors, blocks, .. } = &self.layout;
        let level = |(values, block): (&Vec<f64>, &Vec<usize>)| {
            mean(values.iter().zip(block).filter(|(_, index)| anchors.contains(index)).map(|(&value, _)| value))
        };
        let levels: Vec<f64> = values.iter().zip(blocks).map(level).collect();
        let whole = mean(levels.iter().copied());
        let shift = |level: f64| if (whole - level).abs() < EQUAL { 0.0 } else { whole - level };
        levels.into_iter().map(shift).collect()
    }

    /// The value of each response: the mean of its shifted values in the blocks that hold it.
    fn linked(&self, values: &[Vec<f64>], shifts: &[f64]) -> Vec<f64> {
        let mut found: Vec<Vec<f64>> = vec![Vec::new(); self.layout.count];
        for ((values, block), shift) in values.iter().zip(&self.layout.blocks).zip(shifts) {
            for (value, &index) in values.iter().zip(block) {
                found[index].push(value + shift);
            }
        }
        found.into_iter().map(|values| mean(values.into_iter())).collect()
    }

    /// The order that contradicts the rankings of the blocks least; what these leave open follows the values, then the order of
    /// the request. If the ranking is held to the scores, it follows these.
    fn ranking(&self, outcomes: &[BlockOutcome], scores: &[f64], finest: &[f64]) -> Vec<usize> {
        let mut preferred = by_mean(finest);
        if self.consistent {
            // A stable sort.
            preferred.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            return preferred;
        }
        let rankings: Vec<&[usize]> = outcomes.iter().map(|block| block.ranking.as_slice()).collect();
        consensus::of_parts(&rankings, &preferred)
    }

    fn name(&self, verdicts: &[&Verdict], index: usize) -> String {
        let place = |block: &Vec<usize>| block.binary_search(&index).ok();
        let found =
            verdicts.iter().zip(&self.layout.blocks).find_map(|(verdict, block)| Some((verdict, place(block)?)));
        found.map(|(verdict, place)| verdict.scores[place].name.clone()).unwrap_or_default()
    }
}

/// Adds the repairs, flags and costs of the verdicts that `merged` was made of. What flags say of scores and ranking holds for
/// those of one verdict.
pub(super) fn collect(merged: &mut Verdict, verdicts: &[&Verdict]) {
    for verdict in verdicts {
        merged.repairs.extend(verdict.repairs.iter().cloned());
        let own = verdict.flags.iter().filter(|flag| !matches!(flag, Flag::Ties | Flag::InconsistentRanking));
        merged.flags.extend(own.cloned());
        add_cost(merged, verdict.usage, verdict.timing);
    }
    once(&mut merged.repairs);
    once(&mut merged.flags);
}

/// How much of the probability lay on the scale for a response, on average over what it was judged in.
pub(super) fn mean_mass(verdicts: &[&Verdict], blocks: &[Vec<usize>], index: usize) -> Option<f64> {
    let of = |(verdict, block): (&&Verdict, &Vec<usize>)| {
        let place = block.binary_search(&index).ok()?;
        Some(verdict.scores[place].mass)
    };
    let masses: Option<Vec<f64>> = verdicts.iter().zip(blocks).filter_map(of).collect();
    masses.filter(|masses| !masses.is_empty()).map(|masses| mean(masses.into_iter()))
}

/// What a block gave; `block` holds the indices of its responses.
pub(super) fn outcome(verdict: &Verdict, block: &[usize], shift: f64) -> BlockOutcome {
    let place = |name: &String| verdict.scores.iter().position(|scored| scored.name == *name);
    let shown: Vec<usize> = verdict.aliases.iter().filter_map(|(_, name)| place(name)).collect();
    BlockOutcome {
        order: shown.iter().map(|&place| block[place]).collect(),
        scores: shown.iter().map(|&place| verdict.scores[place].score).collect(),
        expected: shown.iter().map(|&place| verdict.scores[place].expected).collect(),
        ranking: verdict.ranking.iter().map(|&place| block[place]).collect(),
        shift,
        raw: verdict.raw.clone(),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::mask::shuffled;
    use crate::verdict::Repair;

    fn blocks(count: usize, anchors: &[usize], blocks: &[&[usize]]) -> Blocks {
        let blocks = blocks.iter().map(|block| block.to_vec()).collect();
        let layout = Layout { count, anchors: anchors.to_vec(), blocks };
        Blocks { layout, scale: Scale::default(), consistent: false, kind: VerdictKind::Table }
    }

    /// A response with its score and expected score.
    type Value = (usize, f64, Option<f64>);

    /// The verdict of a block, ranked by the expected scores.
    fn verdict(values: &[Value]) -> Verdict {
        let name = |index: usize| format!("r{index}");
        let mut ranked: Vec<Value> = values.to_vec();
        ranked.sort_by(|a, b| b.2.unwrap_or(b.1).total_cmp(&a.2.unwrap_or(a.1)));
        let by_name = |value: &dyn Fn(&Value) -> serde_json::Value| {
            values.iter().map(|one| (name(one.0), value(one))).collect::<serde_json::Map<_, _>>()
        };
        let aliases: serde_json::Map<_, _> = values
            .iter()
            .rev()
            .enumerate()
            .map(|(place, one)| (format!("model-{}", place + 1), name(one.0).into()))
            .collect();
        serde_json::from_value(serde_json::json!({
            "scores": by_name(&|one| one.1.into()),
            "expected_scores": by_name(&|one| one.2.into()),
            "ranking": ranked.iter().map(|one| name(one.0)).collect::<Vec<_>>(),
            "aliases": aliases,
            "usage": {"prompt_tokens": 10},
            "raw": "raw",
        }))
        .unwrap()
    }

    fn link(blocks: &Blocks, verdicts: &[Verdict]) -> Verdict {
        blocks.link(&verdicts.iter().collect::<Vec<_>>()).unwrap()
    }

    fn expected(verdict: &Verdict) -> Vec<f64> {
        verdict.scores.iter().map(|scored| scored.expected.unwrap()).collect()
    }

    #[test]
    fn true_scores_are_recovered_from_blocks_that_are_lenient_and_strict() {
        for seed in 0..100_u64 {
            let draw = |salt: u64, most: usize| shuffled(most, seed * 31 + salt)[0];
            let (count, parts) = (6 + draw(0, 20), 2 + draw(1, 4));
            let anchors: Vec<usize> = (0..=draw(2, 3)).map(|anchor| anchor * 2).collect();
            let truth: Vec<f64> = (0..count)
                .map(|index| 2.0 + f64::from(u32::try_from(draw(index as u64, 200)).unwrap()) / 100.0)
                .collect();
            let lenience: Vec<f64> = (0..parts)
                .map(|part| f64::from(u32::try_from(draw(part as u64 + 99, 160)).unwrap()) / 100.0 - 0.8)
                .collect();
            let members = |part: usize| -> Vec<usize> {
                (0..count).filter(|index| anchors.contains(index) || index % parts == part).collect()
            };
            let layout = Layout { count, anchors: anchors.clone(), blocks: (0..parts).map(members).collect() };
            let blocks = Blocks { layout, scale: Scale::default(), consistent: false, kind: VerdictKind::Table };
            let verdicts: Vec<Verdict> = (0..parts)
                .map(|part| {
                    let value = |&index: &usize| (index, 3.0, Some(truth[index] + lenience[part]));
                    verdict(&members(part).iter().map(value).collect::<Vec<_>>())
                })
                .collect();
            let linked = link(&blocks, &verdicts);
            let level = mean(lenience.iter().copied());
            for (found, wanted) in expected(&linked).iter().zip(&truth) {
                assert!((found - wanted - level).abs() < 1e-9, "{found} {wanted} {level}");
            }
            let table = linked.blocks.as_ref().unwrap();
            assert!(table.blocks.iter().map(|block| block.shift).sum::<f64>().abs() < 1e-9);
            let mut by_truth = by_mean(&truth);
            by_truth.sort_by(|&a, &b| truth[b].total_cmp(&truth[a]));
            let values = |ranking: &[usize]| ranking.iter().map(|&index| truth[index]).collect::<Vec<_>>();
            assert_eq!(values(&linked.ranking), values(&by_truth));
            assert_eq!(linked.usage.prompt_tokens, 10 * parts);
            assert_eq!(linked.flags.last(), Some(&Flag::JudgedInBlocks));
        }
    }

    #[test]
    fn blocks_that_agree_on_their_anchors_are_left_as_they_are() {
        let blocks = blocks(5, &[1, 2], &[&[0, 1, 2], &[1, 2, 3], &[1, 2, 4]]);
        let block = |index, score| {
            let mut values = vec![(1, 4.0, Some(3.7)), (2, 2.0, Some(2.1))];
            values.push((index, score, Some(score * 0.9 + 0.3)));
            values.sort_by_key(|value| value.0);
            verdict(&values)
        };
        let linked = link(&blocks, &[block(0, 5.0), block(3, 1.0), block(4, 3.0)]);
        let scores: Vec<f64> = linked.scores.iter().map(|scored| scored.score).collect();
        assert_eq!(scores, [5.0, 4.0, 2.0, 1.0, 3.0]);
        assert_eq!(linked.ranking, [0, 1, 4, 2, 3]);
        let table = linked.blocks.unwrap();
        assert!(table.blocks.iter().all(|block| block.shift == 0.0) && table.clipped.is_empty());
        assert_eq!(table.blocks[0].order, [2, 1, 0], "the order shown");
        assert_eq!(table.blocks[0].scores, [2.0, 4.0, 5.0]);
        assert_eq!(table.blocks[0].ranking, [0, 1, 2]);
        assert_eq!(linked.aliases.len(), 3);
    }

    #[test]
    fn what_leaves_the_scale_is_moved_to_its_end_and_named() {
        let blocks = blocks(3, &[1], &[&[0, 1], &[1, 2]]);
        let one = verdict(&[(0, 5.0, None), (1, 2.0, None)]);
        let other = verdict(&[(1, 4.0, None), (2, 5.0, None)]);
        let linked = link(&blocks, &[one, other]);
        let scores: Vec<f64> = linked.scores.iter().map(|scored| scored.score).collect();
        assert_eq!(scores, [5.0, 3.0, 4.0]);
        let table = linked.blocks.unwrap();
        assert_eq!(table.clipped, [0]);
        assert_eq!(table.blocks.iter().map(|block| block.shift).collect::<Vec<_>>(), [1.0, -1.0]);
        assert_eq!(linked.ranking, [0, 2, 1]);
    }

    #[test]
    fn expected_scores_are_there_for_all_or_for_none() {
        let blocks = blocks(3, &[1], &[&[0, 1], &[1, 2]]);
        let one = verdict(&[(0, 4.0, Some(4.2)), (1, 3.0, Some(2.8))]);
        let other = verdict(&[(1, 4.0, Some(3.8)), (2, 2.0, None)]);
        let linked = link(&blocks, &[one, other]);
        assert!(linked.scores.iter().all(|scored| scored.expected.is_none() && scored.distribution.is_none()));
        // By the scores as written.
        assert_eq!(linked.scores.iter().map(|scored| scored.score).collect::<Vec<_>>(), [4.5, 3.5, 1.5]);
    }

    #[test]
    fn the_rankings_of_the_blocks_are_kept_unless_the_ranking_is_held_to_the_scores() {
        let mut blocks = blocks(3, &[1], &[&[0, 1], &[1, 2]]);
        let mut one = verdict(&[(0, 4.0, None), (1, 3.0, None)]);
        one.ranking.reverse();
        one.repairs.push(Repair::RankingDerived);
        let other = verdict(&[(1, 3.0, None), (2, 2.0, None)]);
        let linked = link(&blocks, &[one.clone(), other.clone()]);
        assert_eq!(linked.ranking, [1, 0, 2]);
        assert!(linked.flags.contains(&Flag::InconsistentRanking));
        assert_eq!(linked.repairs, [Repair::RankingDerived]);
        blocks.consistent = true;
        let linked = link(&blocks, &[one, other]);
        assert_eq!(linked.ranking, [0, 1, 2]);
        assert!(!linked.flags.contains(&Flag::InconsistentRanking));
    }
}
