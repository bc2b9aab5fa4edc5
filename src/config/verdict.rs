//! How strictly an answer is read.

use super::Kind;
use super::table::{settings, words};
use crate::error::Result;

words! {
    /// What to do with an answer that is not a complete verdict.
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
        /// What to do with an incomplete verdict: return an error, or, if only the ranking is missing, derive it from the
        /// scores.
        incomplete: Incomplete = Incomplete::Error, Kind::Choice(Incomplete::WORDS);
        /// Move a score that is off the scale to the nearest end of the scale. Otherwise it is an error.
        clamp: bool = false, Kind::Switch;
        /// If the text names another scale (`8/10`, `"scores (0-10)"`), map its scores to the profile's scale. Otherwise they
        /// are an error.
        rescale: bool = false, Kind::Switch;
    }
}

impl VerdictPolicy {
    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()
    }
}
