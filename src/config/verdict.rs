//! How strictly an answer is read.

use serde::{Deserialize, Serialize};

/// What is done with an answer that is not a complete verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Incomplete {
    /// It is an error that carries what could be read.
    #[default]
    Error,
    /// A missing ranking is derived from complete scores (ties by expected score, then by given order) and listed among
    /// the repairs. Missing scores stay an error.
    DeriveRanking,
}

/// How strictly an answer is read. Whatever these allow is listed among the repairs of the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerdictPolicy {
    /// What an incomplete verdict is.
    pub incomplete: Incomplete,
    /// Whether a score off the scale is moved to the nearest end of it. Default false: it is an error.
    pub clamp: bool,
}
