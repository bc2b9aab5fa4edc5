//! What a verdict says about the blocks in which its responses were judged.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Verdict;
use super::merged::ByName;
use crate::number;

/// The blocks in which the responses were judged, and what links them. In the verdict that they were merged to, a score is
/// that of its block plus the block's shift; of an anchor, the mean over all blocks.
///
/// As JSON: `anchors`, `clipped` (lists of names) and `blocks`, a list of `order`, `scores`, `expected_scores` (by name),
/// `ranking`, `shift`, `raw`.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockTable {
    /// Indices of the responses that every block holds, in the order of the request.
    pub anchors: Vec<usize>,
    /// Indices of the responses whose score or expected score lay off the scale after the shift, and was moved to its nearest
    /// end.
    pub clipped: Vec<usize>,
    /// The blocks.
    pub blocks: Vec<BlockOutcome>,
}

/// One block. `scores` and `expected` count in the order shown.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockOutcome {
    /// Indices of its responses in the order in which the judge saw them.
    pub order: Vec<usize>,
    /// The scores as written.
    pub scores: Vec<f64>,
    /// The means of their distributions.
    pub expected: Vec<Option<f64>>,
    /// Indices, best first.
    pub ranking: Vec<usize>,
    /// What is added to its scores, so that its anchors have the same mean as in the other blocks.
    pub shift: f64,
    /// The judge's whole output as it came.
    pub raw: String,
}

impl BlockOutcome {
    /// The expected score of the response shown at a place, else the score as written, after the shift.
    pub fn value(&self, place: usize) -> f64 {
        self.expected[place].unwrap_or(self.scores[place]) + self.shift
    }
}

impl BlockTable {
    /// Writes it with the names of the responses.
    pub(super) fn named<'a>(&'a self, verdict: &'a Verdict) -> impl Serialize + 'a {
        Named { table: self, names: verdict.scores.iter().map(|scored| scored.name.as_str()).collect() }
    }
}

/// A table with the names of the responses.
pub(super) struct Named<'a> {
    pub(super) table: &'a BlockTable,
    pub(super) names: Vec<&'a str>,
}

fn listed<'a>(names: &[&'a str], indices: &[usize]) -> Vec<&'a str> {
    indices.iter().map(|&index| names[index]).collect()
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { table, names } = self;
        let blocks: Vec<_> = table.blocks.iter().map(|block| NamedBlock { block, names }).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("anchors", &listed(names, &table.anchors))?;
        map.serialize_entry("clipped", &listed(names, &table.clipped))?;
        map.serialize_entry("blocks", &blocks)?;
        map.end()
    }
}

struct NamedBlock<'a> {
    block: &'a BlockOutcome,
    names: &'a [&'a str],
}

impl Serialize for NamedBlock<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { block, names } = self;
        let order = listed(names, &block.order);
        let scores: Vec<_> = block.scores.iter().map(|&score| number::score(score)).collect();
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("order", &order)?;
        map.serialize_entry("scores", &ByName(&order, &scores))?;
        map.serialize_entry("expected_scores", &ByName(&order, &block.expected))?;
        map.serialize_entry("ranking", &listed(names, &block.ranking))?;
        map.serialize_entry("shift", &block.shift)?;
        map.serialize_entry("raw", &block.raw)?;
        map.end()
    }
}
