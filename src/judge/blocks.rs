//! A group that is too long for one prompt: blocks of responses that share some of them, the anchors.
//!
//! ```text
//! fit.rs      does the group fit? if not, the least number of blocks that do
//! here        which responses are anchors, and which block the others are in
//! link.rs     the verdicts of the blocks of one run, merged onto one scale
//! compare.rs  judges that read one or two responses: blocks of as many, without anchors
//! ```

mod compare;
mod fit;
mod link;

pub(super) use compare::{rounded, share};

pub(super) use fit::most_at_once;
pub(super) use link::Blocks;

use std::collections::HashSet;

use crate::prompt::mask::shuffled;

/// Which responses are in which block. Indices count in the order of the request, and rise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The responses of the group.
    pub(super) count: usize,
    /// Responses that every block holds.
    pub(super) anchors: Vec<usize>,
    /// The responses of each block, the anchors among them.
    pub(super) blocks: Vec<Vec<usize>>,
}

/// What is to be put into blocks.
struct Group<'a> {
    /// What each response takes of the room of a block.
    weights: &'a [usize],
    /// The text of each response.
    texts: &'a [&'a str],
    /// What the responses of one block may weigh.
    room: usize,
    /// Most responses of one block.
    most: usize,
    /// Anchors that are wanted.
    anchors: usize,
    seed: u64,
}

impl Group<'_> {
    /// Blocks, `least` of them or more, and no more than are needed.
    ///
    /// # Errors
    /// The responses of the smallest block that would have to fit and does not.
    fn form(&self, least: usize) -> Result<Layout, Vec<usize>> {
        let count = self.weights.len();
        // The lightest first; equal ones in an order that the seed draws.
        let mut by_weight = shuffled(count, self.seed);
        by_weight.sort_by_key(|&index| self.weights[index]);
        let lightest = &by_weight[..self.anchors.min(count.saturating_sub(1))];
        let mut wrong = Vec::new();
        for anchors in [self.draw(&by_weight), lightest.to_vec()] {
            let rest: Vec<usize> = by_weight.iter().rev().copied().filter(|index| !anchors.contains(index)).collect();
            match self.split(&anchors, &rest, least) {
                Some(blocks) => return Ok(self.layout(anchors, blocks)),
                None => wrong = anchors.into_iter().chain(rest.first().copied()).collect(),
            }
        }
        wrong.sort_unstable();
        Err(wrong)
    }

    /// The anchors: drawn among the middle half of the responses by weight, so that neither the shortest ones, which are often
    /// empty or broken off, nor the longest ones stand for the group; different texts first.
    fn draw(&self, by_weight: &[usize]) -> Vec<usize> {
        let count = by_weight.len();
        let wanted = self.anchors.min(count.saturating_sub(1));
        let middle = count.div_ceil(2).max(wanted);
        let from = (count - middle) / 2;
        let middle = &by_weight[from..from + middle];
        let drawn: Vec<usize> =
            shuffled(middle.len(), self.seed.wrapping_add(1)).into_iter().map(|place| middle[place]).collect();
        let mut seen = HashSet::new();
        let (first, again): (Vec<usize>, Vec<usize>) =
            drawn.into_iter().partition(|&index| seen.insert(self.texts[index]));
        first.into_iter().chain(again).take(wanted).collect()
    }

    /// Puts `rest`, the heaviest first, into as few blocks as possible beside the anchors.
    fn split(&self, anchors: &[usize], rest: &[usize], least: usize) -> Option<Vec<Vec<usize>>> {
        let taken = anchors.iter().map(|&index| self.weights[index]).sum();
        let room = self.room.checked_sub(taken)?;
        let places = self.most.saturating_sub(anchors.len());
        let sum: usize = rest.iter().map(|&index| self.weights[index]).sum();
        if places == 0 || rest.iter().any(|&index| self.weights[index] > room) {
            return None;
        }
        let fewest = rest.len().div_ceil(places).max(sum.div_ceil(room.max(1))).max(least);
        // With one response in each, what was checked above fits.
        (fewest..=rest.len()).find_map(|blocks| {
            self.deal(rest, blocks, rest.len().div_ceil(blocks), room).or_else(|| self.deal(rest, blocks, places, room))
        })
    }

    /// Deals `rest` into blocks, each to the one that has the fewest responses (the least weight, if all need not have the
    /// same number) so far.
    fn deal(&self, rest: &[usize], blocks: usize, places: usize, room: usize) -> Option<Vec<Vec<usize>>> {
        let even = places == rest.len().div_ceil(blocks);
        let mut dealt: Vec<(usize, Vec<usize>)> = vec![(0, Vec::new()); blocks];
        for &index in rest {
            let weight = self.weights[index];
            let (load, block) = dealt
                .iter_mut()
                .filter(|(load, block)| block.len() < places && load + weight <= room)
                .min_by_key(|(load, block)| (if even { block.len() } else { 0 }, *load))?;
            *load += weight;
            block.push(index);
        }
        // A block of anchors alone would say nothing.
        dealt.iter().all(|(_, block)| !block.is_empty()).then(|| dealt.into_iter().map(|(_, block)| block).collect())
    }

    fn layout(&self, mut anchors: Vec<usize>, mut blocks: Vec<Vec<usize>>) -> Layout {
        anchors.sort_unstable();
        for block in &mut blocks {
            block.extend(&anchors);
            block.sort_unstable();
        }
        Layout { count: self.weights.len(), anchors, blocks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group<'a>(weights: &'a [usize], texts: &'a [&'a str], room: usize, most: usize, anchors: usize) -> Group<'a> {
        Group { weights, texts, room, most, anchors, seed: 42 }
    }

    const TEXTS: [&str; 64] = {
        let mut texts = [""; 64];
        let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
        let mut index = 0;
        while index < 64 {
            texts[index] = all.split_at(index).1.split_at(1).0;
            index += 1;
        }
        texts
    };

    /// What holds of all layouts.
    fn check(group: &Group<'_>, layout: &Layout) {
        let mut seen = vec![0; layout.count];
        for block in &layout.blocks {
            assert!(block.is_sorted() && block.len() <= group.most && block.len() > layout.anchors.len());
            assert!(block.iter().map(|&index| group.weights[index]).sum::<usize>() <= group.room);
            for &index in block {
                seen[index] += 1;
            }
        }
        for (index, &times) in seen.iter().enumerate() {
            let wanted = if layout.anchors.contains(&index) { layout.blocks.len() } else { 1 };
            assert_eq!(times, wanted, "response {index}: {layout:?}");
        }
        assert_eq!(layout.anchors.len(), group.anchors);
    }

    #[test]
    fn each_response_is_in_one_block_and_the_anchors_in_all() {
        for seed in 0..200 {
            let count = 4 + usize::try_from(seed % 61).unwrap();
            let weights: Vec<usize> =
                shuffled(count, seed).into_iter().map(|weight| 10 + weight * weight % 97).collect();
            for (anchors, most) in [(1, 64), (2, 64), (2, 5), (1, 2), (3, 8)] {
                let texts = &TEXTS[..count];
                let heaviest = weights.iter().max().unwrap();
                let group = Group { seed, ..group(&weights, texts, (anchors + 2) * heaviest, most, anchors) };
                if count <= anchors + 1 {
                    continue;
                }
                let layout = group.form(1).unwrap();
                check(&group, &layout);
                assert_eq!(layout, group.form(1).unwrap(), "the same seed gives the same blocks");
                let more = group.form(layout.blocks.len() + 1);
                assert!(more.is_err() || more.is_ok_and(|more| more.blocks.len() > layout.blocks.len()));
            }
        }
    }

    #[test]
    fn equal_responses_are_dealt_evenly_into_the_fewest_blocks() {
        for (count, most, sizes) in
            [(10, 6, vec![6, 6]), (11, 6, vec![5, 5, 5]), (12, 6, vec![6, 5, 5]), (9, 6, vec![6, 5])]
        {
            let weights = vec![10; count];
            let layout = group(&weights, &TEXTS[..count], 1000, most, 2).form(1).unwrap();
            assert_eq!(layout.blocks.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        }
    }

    #[test]
    fn one_long_response_has_fewer_beside_it() {
        let weights = [10, 10, 10, 10, 10, 10, 10, 70];
        let group = group(&weights, &TEXTS[..8], 90, 64, 1);
        let layout = group.form(1).unwrap();
        check(&group, &layout);
        assert_eq!(layout.blocks.len(), 2);
        assert!(layout.blocks[0].len() < layout.blocks[1].len(), "{layout:?}");
    }

    #[test]
    fn anchors_are_neither_the_shortest_nor_the_longest_and_have_different_texts() {
        let weights: Vec<usize> = (1..=16).collect();
        let mut all = HashSet::new();
        for seed in 0..200 {
            let group = Group { seed, ..group(&weights, &TEXTS[..16], 60, 64, 2) };
            let layout = group.form(2).unwrap();
            all.extend(layout.anchors);
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable();
        assert_eq!(all, (4..12).collect::<Vec<_>>());
        let texts = ["a", "b", "same", "same", "same", "other", "c", "d"];
        for seed in 0..50 {
            let group = Group { seed, ..group(&weights[..8], &texts, 30, 64, 2) };
            assert!(group.form(1).unwrap().anchors.contains(&5));
        }
    }

    #[test]
    fn what_cannot_fit_is_named() {
        let weights = [10, 10, 10, 10, 80];
        // With the anchors 100.
        assert_eq!(group(&weights, &TEXTS[..5], 99, 64, 2).form(1).unwrap_err().len(), 3);
        assert!(group(&weights, &TEXTS[..5], 99, 64, 2).form(1).unwrap_err().contains(&4));
        assert!(group(&weights, &TEXTS[..5], 100, 64, 2).form(1).is_ok());
        // The lightest ones are anchors if the drawn ones leave no room.
        let weights = [1, 1, 20, 20, 80];
        let layout = group(&weights, &TEXTS[..5], 90, 64, 2).form(1).unwrap();
        assert_eq!(layout.anchors, [0, 1]);
        assert_eq!(group(&[10; 3], &TEXTS[..3], 25, 64, 2).form(1).unwrap_err(), [0, 1, 2]);
        assert_eq!(group(&[10], &TEXTS[..1], 5, 64, 2).form(1).unwrap_err(), [0]);
    }
}
