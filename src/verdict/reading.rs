//! What a piece of text says of scores and ranking, complete or not.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::ranking;
use super::repair::Repairs;
use super::scale::Named;
use super::score::{Read, Why};

/// How many reasons are kept for not trusting a field.
const MAX_FAULTS: usize = 8;

/// What one piece of text says of the scores.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    /// Whether the piece says anything of them.
    pub(super) seen: bool,
    /// By place, as far as they could be read.
    pub(super) values: BTreeMap<usize, f64>,
    /// How many responses there are.
    pub(super) count: usize,
    /// The other scale from which scores were mapped.
    pub(super) rescaled: Option<Named>,
    /// Places whose score lay off the scale and was moved to its end.
    pub(super) clamped: Vec<usize>,
    /// Why they cannot be trusted.
    pub(super) faults: Vec<String>,
}

/// What one piece of text says of the ranking.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    /// Whether the piece says anything of it.
    pub(super) seen: bool,
    /// Each way in which it can be read: places, best first. More than one where the text alone does not decide.
    pub(super) readings: Vec<Vec<usize>>,
    /// Names listed where the list is not complete.
    pub(super) listed: Vec<usize>,
    /// Why it cannot be trusted.
    pub(super) faults: Vec<String>,
}

/// How much of a field was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// Nothing is said of it.
    Absent,
    /// Names are missing.
    Partial,
    /// Something is said of it that cannot stand.
    Invalid,
    /// Complete.
    Complete,
}

impl Scores {
    pub(super) fn of(count: usize) -> Self {
        Self { count, ..Self::default() }
    }

    pub(super) fn status(&self) -> Status {
        match (self.seen, self.faults.is_empty()) {
            (false, _) => Status::Absent,
            (true, false) => Status::Invalid,
            (true, true) if self.values.len() == self.count => Status::Complete,
            (true, true) => Status::Partial,
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.seen = true;
        if self.faults.len() < MAX_FAULTS && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Notes the score that is written for the response at `place`, named `shown`. Says whether the same score was
    /// there already.
    pub(super) fn put(&mut self, place: usize, shown: &str, read: Read) -> bool {
        self.seen = true;
        let value = match read {
            Ok(value) => value,
            Err(why) => {
                if let Some(fault) = words(why, shown) {
                    self.fault(fault);
                }
                return false;
            }
        };
        if value.clamped {
            self.clamped.push(place);
        }
        self.rescaled = value.from.or(self.rescaled);
        match self.values.insert(place, value.score) {
            None => false,
            #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
            Some(other) if other == value.score => true,
            Some(other) => {
                self.fault(format!("{shown} has two scores, {other} and {}", value.score));
                false
            }
        }
    }
}

/// Why the score of a response cannot be read, in words; `None` if that was said already.
fn words(why: Why, shown: &str) -> Option<String> {
    Some(match why {
        Why::Unclear => format!("{shown} has no score that can be read"),
        Why::Off(score) => format!("{shown} has the score {score}, which is off the scale"),
        Why::Unit => format!("the number beside {shown} counts something else than a score"),
        Why::OtherScale(named) => format!(
            "the scores are on another scale ({}) than the profile's: the option verdict.rescale maps them",
            named.words()
        ),
        Why::Told => return None,
    })
}

impl Ranking {
    pub(super) fn status(&self) -> Status {
        match (self.seen, self.faults.is_empty()) {
            (false, _) => Status::Absent,
            (true, false) => Status::Invalid,
            (true, true) if !self.readings.is_empty() => Status::Complete,
            (true, true) => Status::Partial,
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.seen = true;
        if self.faults.len() < MAX_FAULTS && !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Adds what another place in the same piece says: it must agree.
    pub(super) fn merge(&mut self, other: Self) {
        if !other.seen {
            return;
        }
        if !self.seen {
            *self = other;
            return;
        }
        self.faults.extend(other.faults);
        if other.readings.is_empty() || self.readings.is_empty() {
            if self.listed != other.listed || self.readings.is_empty() != other.readings.is_empty() {
                self.fault("the ranking is written twice and differs".into());
            }
            return;
        }
        self.readings.retain(|reading| other.readings.contains(reading));
        if self.readings.is_empty() {
            self.fault("the ranking is written twice and differs".into());
        }
    }
}

/// Why records are doubted whose scores differ.
const TWO_SCORES: &str = "consecutive records give one response two scores";

/// What one piece of text says.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of the piece")]
pub(super) struct Reading {
    pub(super) scores: Scores,
    pub(super) ranking: Ranking,
    /// Names that were not asked for.
    pub(super) dropped: Vec<String>,
    pub(super) repairs: Repairs,
    /// Ranks beside names, by place: what the ranking was made of.
    pub(super) ranks: Vec<(usize, usize)>,
    /// Whether something in it is marked as reasoning or as an example, and was passed over.
    pub(super) thought: bool,
    /// Whether it was put together from several pieces.
    pub(super) joined: bool,
    /// Whether the piece holds an ellipsis, as a template does.
    pub(super) template: bool,
    /// Whether the end of the piece was written.
    pub(super) closed: bool,
    /// What the prose round it says of it.
    pub(super) frame: Frame,
    /// The line before the first number, of text without structure.
    pub(super) lead: Option<String>,
    /// Whether these words stand on the line of that number.
    pub(super) inline: bool,
    /// Where it stands in the text.
    pub(super) start: usize,
    /// Byte after its end.
    pub(super) end: usize,
}

impl Reading {
    pub(super) fn is_empty(&self) -> bool {
        !self.scores.seen && !self.ranking.seen
    }

    /// Whether it says both, or all scores.
    pub(super) fn says_all(&self) -> bool {
        let (scores, ranking) = (self.scores.status(), self.ranking.status());
        scores >= Status::Invalid && ranking >= Status::Invalid
            || scores == Status::Complete
            || ranking == Status::Complete
    }

    /// Whether two pieces are parts of one: neither gives a name what the other gives it.
    pub(super) fn joins(&self, next: &Self) -> bool {
        next.scores.values.keys().all(|place| !self.scores.values.contains_key(place))
            && next.ranks.iter().all(|(place, _)| !self.ranks.iter().rev().take(64).any(|(other, _)| other == place))
            && (self.scores.seen == next.scores.seen && self.ranks.is_empty() == next.ranks.is_empty())
    }

    /// Whether two pieces of one form give a name different scores.
    pub(super) fn disputes(&self, next: &Self) -> bool {
        #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
        next.scores
            .values
            .iter()
            .any(|(place, score)| self.scores.values.get(place).is_some_and(|other| other != score))
    }

    /// Takes over the next part.
    pub(super) fn join(&mut self, next: Self) {
        if self.disputes(&next) {
            self.scores.fault(TWO_SCORES.into());
        }
        self.end = next.end;
        self.closed &= next.closed;
        self.template |= next.template;
        self.scores.faults.extend(next.scores.faults);
        self.scores.values.extend(next.scores.values);
        self.scores.clamped.extend(next.scores.clamped);
        self.scores.rescaled = next.scores.rescaled.or(self.scores.rescaled);
        self.ranks.extend(next.ranks);
        self.dropped.extend(next.dropped);
        self.repairs.extend(next.repairs);
        self.joined = true;
    }

    /// Makes the ranking of the ranks of all parts.
    pub(super) fn settle_joined(&mut self) {
        if self.joined && !self.ranks.is_empty() {
            self.ranking = ranking::from_ranks(&self.ranks, self.scores.count);
            if self.scores.faults.iter().any(|fault| fault == TWO_SCORES) {
                self.ranking.fault(TWO_SCORES.into());
            }
        }
    }
}
