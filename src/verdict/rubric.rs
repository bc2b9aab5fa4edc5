//! The verdict of a rubric: a table of criteria and responses.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::Verdict;
use super::merged::ByName;
use crate::config::RubricMerge;
use crate::request::Criterion;

/// The result of each criterion of a rubric. In the verdict that they were merged into, scores are on the judge's scale.
///
/// As JSON: `merge` and `criteria`, a list of `name`, `criterion`, `weight`, `kind`, `values` (by name), `verdict`.
#[derive(Clone, Debug, PartialEq)]
pub struct RubricTable {
    /// How the values were merged.
    pub merge: RubricMerge,
    /// In the order of the rubric.
    pub criteria: Vec<CriterionVerdict>,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct CriterionVerdict {
    /// The criterion; its name is never empty.
    pub criterion: Criterion,
    /// For each response, in the order of the request: 0 for the worst score, 1 for the best one; for a criterion that is met
    /// or not, the probability that it is met.
    pub values: Vec<f64>,
    /// The verdict by this criterion alone.
    pub verdict: Verdict,
}

impl RubricTable {
    pub(super) fn named<'a>(&'a self, verdict: &'a Verdict) -> impl Serialize + 'a {
        Named(self, verdict.scores.iter().map(|scored| scored.name.as_str()).collect())
    }
}

struct Named<'a>(&'a RubricTable, Vec<&'a str>);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<_> = self.0.criteria.iter().map(|row| Row(row, &self.1)).collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("merge", &self.0.merge)?;
        map.serialize_entry("criteria", &rows)?;
        map.end()
    }
}

struct Row<'a>(&'a CriterionVerdict, &'a [&'a str]);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let CriterionVerdict { criterion, values, verdict } = self.0;
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("name", &criterion.name)?;
        map.serialize_entry("criterion", &criterion.criterion)?;
        map.serialize_entry("weight", &criterion.weight)?;
        map.serialize_entry("kind", &criterion.kind)?;
        map.serialize_entry("values", &ByName(self.1, values))?;
        map.serialize_entry("verdict", verdict)?;
        map.end()
    }
}
