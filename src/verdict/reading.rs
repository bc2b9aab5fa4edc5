//! What a piece of text says of scores and ranking, complete or not.

use super::repair::Repairs;
use super::score::Value;

/// How many reasons are kept for not trusting a field.
const MAX_FAULTS: usize = 8;

/// What one piece of text says of the scores.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    /// Whether the piece says anything of them.
    pub(super) seen: bool,
    /// By place, as far as they could be read.
    pub(super) values: Vec<Option<f64>>,
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
    pub(super) fn status(&self) -> Status {
        match (self.seen, self.faults.is_empty()) {
            (false, _) => Status::Absent,
            (true, false) => Status::Invalid,
            (true, true) if self.values.iter().all(Option::is_some) => Status::Complete,
            (true, true) => Status::Partial,
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.seen = true;
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// Notes the score that is written for the response at `place`, named `shown`; `None` where it cannot be read.
    /// Says whether the same score was there already.
    pub(super) fn put(&mut self, place: usize, shown: &str, value: Option<Value>) -> bool {
        self.seen = true;
        let Some(value) = value else {
            self.fault(format!("{shown} has no score that can be read"));
            return false;
        };
        if value.clamped && !self.clamped.contains(&place) {
            self.clamped.push(place);
        }
        match self.values[place] {
            None => {
                self.values[place] = Some(value.score);
                false
            }
            #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
            Some(other) if other == value.score => true,
            Some(other) => {
                self.fault(format!("{shown} has two scores, {other} and {}", value.score));
                false
            }
        }
    }
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
        if self.faults.len() < MAX_FAULTS {
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

/// What one piece of text says.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) scores: Scores,
    pub(super) ranking: Ranking,
    /// Names that were not asked for.
    pub(super) dropped: Vec<String>,
    pub(super) repairs: Repairs,
    /// Whether the piece holds an ellipsis, as a template does.
    pub(super) template: bool,
    /// Whether the end of the piece was written.
    pub(super) closed: bool,
    /// Where it stands in the text.
    pub(super) start: usize,
    /// Byte after its end.
    pub(super) end: usize,
}

impl Reading {
    pub(super) fn is_empty(&self) -> bool {
        !self.scores.seen && !self.ranking.seen
    }
}
