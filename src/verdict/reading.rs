//! What a piece of text says about scores and ranking, complete or not.

use std::collections::BTreeMap;

use super::frame::Frame;
use super::ranking;
use super::repair::Repairs;
use super::scale::Named;
use super::score::{Read, Why};

/// Most reasons that are kept for not trusting a field.
const MAX_FAULTS: usize = 8;

/// What one piece of text says about the scores.
#[derive(Clone, Debug, Default)]
pub(super) struct Scores {
    /// Whether the piece mentions them.
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

/// What one piece of text says about the ranking.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranking {
    /// Whether the piece mentions it.
    pub(super) seen: bool,
    /// Each way to read it: places, best first. More than one if the text alone does not decide.
    pub(super) readings: Vec<Vec<usize>>,
    /// The names listed, if the list is not complete.
    pub(super) listed: Vec<usize>,
    /// Why it cannot be trusted.
    pub(super) faults: Vec<String>,
}

/// How much of a field was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    /// It is not mentioned.
    Absent,
    /// Names are missing.
    Partial,
    /// It is mentioned, but cannot be accepted.
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

    /// Notes the score that is written for the response at `place`, named `shown`. Returns whether the same score was
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

/// Why the score of a response cannot be read, in words; `None` if that was already reported.
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
    /// The ranking, if it can be read in one way.
    pub(super) fn only(&self) -> Option<&[usize]> {
        match &self.readings[..] {
            [only] => Some(only),
            _ => None,
        }
    }

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

    /// Adds what another place in the same piece says; both must agree.
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

/// Why records whose scores differ are not trusted.
const TWO_SCORES: &str = "consecutive records give one response two scores";

/// What one piece of text says.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of the piece")]
pub(super) struct Reading {
    pub(super) scores: Scores,
    pub(super) ranking: Ranking,
    /// Names that are not part of the request.
    pub(super) dropped: Vec<String>,
    pub(super) repairs: Repairs,
    /// Ranks beside names, by place: the source of the ranking.
    pub(super) ranks: Vec<(usize, usize)>,
    /// Whether something in it is marked as reasoning or as an example, and was skipped.
    pub(super) thought: bool,
    /// Whether it was joined from several pieces.
    pub(super) joined: bool,
    /// Whether the piece holds an ellipsis, as a template does.
    pub(super) template: bool,
    /// Whether the end of the piece was written.
    pub(super) closed: bool,
    /// What the prose around it says about it.
    pub(super) frame: Frame,
    /// For text without structure: the line before the first number.
    pub(super) lead: Option<String>,
    /// Whether these words are on the line of that number.
    pub(super) inline: bool,
    /// Where it begins in the text.
    pub(super) start: usize,
    /// Byte after its end.
    pub(super) end: usize,
}

impl Reading {
    pub(super) fn is_empty(&self) -> bool {
        !self.scores.seen && !self.ranking.seen
    }

    /// Whether it gives both fields, or all scores.
    pub(super) fn says_all(&self) -> bool {
        let (scores, ranking) = (self.scores.status(), self.ranking.status());
        scores >= Status::Invalid && ranking >= Status::Invalid
            || scores == Status::Complete
            || ranking == Status::Complete
    }

    /// Notes why neither field can be trusted, as far as it is there.
    pub(super) fn doubt(&mut self, fault: &str) {
        if self.scores.seen {
            self.scores.fault(fault.to_owned());
        }
        if self.ranking.seen {
            self.ranking.fault(fault.to_owned());
        }
    }

    /// Whether two pieces are parts of one: no name gets the same thing from both.
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

    /// Makes the ranking from the ranks of all parts.
    pub(super) fn settle_joined(&mut self) {
        if self.joined && !self.ranks.is_empty() {
            self.ranking = ranking::from_ranks(&self.ranks, self.scores.count);
            if self.scores.faults.iter().any(|fault| fault == TWO_SCORES) {
                self.ranking.fault(TWO_SCORES.into());
            }
        }
    }
}
