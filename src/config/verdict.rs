//! How strictly an answer is read.

use super::Kind;
use super::table::{settings, words};
use crate::error::Result;

words! {
    /// What is done with an answer that is not a complete verdict.
    pub enum Incomplete {
        /// It is an error that carries what could be read.
        #[default]
        Error = "error",
        /// A missing ranking is derived from complete scores (ties by expected score, then by given order) and listed
        /// among the repairs. Missing scores stay an error.
        DeriveRanking = "derive_ranking",
    }
}

settings! {
    /// How strictly an answer is read. Whatever these allow is listed among the repairs of the verdict.
    #[derive(Eq)]
    pub struct VerdictPolicy in "verdict" {
        /// What an incomplete verdict is: an error, or, where only the ranking is missing, one whose ranking is derived from
        /// the scores.
        incomplete: Incomplete = Incomplete::Error, Kind::Choice(Incomplete::WORDS);
        /// Move a score off the scale to the nearest end of it. Otherwise it is an error.
        clamp: bool = false, Kind::Switch;
        /// Map scores on another scale that the text names (`8/10`, `"scores (0-10)"`) to the profile's. Otherwise they are an
        /// error.
        rescale: bool = false, Kind::Switch;
    }
}

impl VerdictPolicy {
    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()
    }
}
