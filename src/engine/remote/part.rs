//! The requests of a judgment: what each is for, and what it wrote.

use std::time::Instant;

use super::reply::{Finish, Piece};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Reasoning,
    Both,
    Choice,
    Verdict,
    Look,
}

impl Part {
    /// Whether it writes the verdict alone.
    pub(super) fn answers(self) -> bool {
        matches!(self, Self::Choice | Self::Verdict | Self::Look)
    }
}

/// A request to a server.
pub(super) struct Request {
    pub(super) part: Part,
    pub(super) body: Vec<u8>,
    /// The most tokens of an answer that is to come as a whole.
    pub(super) whole: Option<usize>,
}

/// What a request wrote.
pub(super) struct Written {
    pub(super) part: Part,
    pub(super) pieces: Vec<Piece>,
    pub(super) finish: Finish,
    /// Whether it was cut off here because the budget was spent.
    pub(super) cut: bool,
    /// Whether its probabilities are those of the judge, before any constraint.
    pub(super) unmasked: bool,
    /// When it was sent, and when the first and the last token of its reasoning came.
    pub(super) begun: Instant,
    pub(super) first: Option<Instant>,
    pub(super) last: Instant,
}
