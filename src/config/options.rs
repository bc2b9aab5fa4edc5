//! How one judgment is made: decoding, reasoning, masking, deadline.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::range::in_range;
use crate::error::{Error, ErrorKind, Result};

/// How the names of the responses are hidden from the judge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mask {
    /// Aliases in an order shuffled by `mask_seed`, as Python's `random.seed(seed); random.shuffle(...)` does it.
    #[default]
    Shuffle,
    /// Aliases in the order given.
    Given,
    /// The real names in the order given.
    Off,
}

/// What may be set by the profile, then by the configuration, then by the request: the later one wins, key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Softmax temperature, 0 to 2. 0, the default, is greedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Nucleus sampling: the smallest set of tokens whose probability reaches this, over 0 to 1. Default 1 (off).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Only the k most probable tokens; 0, the default, is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Seed of the sampling. Default 0. The same seed, model, request and options give the same verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether the judge thinks before its verdict. Default: true where the profile has a reasoning form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<bool>,
    /// Tokens after which the reasoning is ended for the judge, 0 to 131072. Default 2048.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_reasoning_tokens: Option<u32>,
    /// Tokens for an unguided verdict, 1 to 131072. Default 1024. A guided verdict needs no limit: its form bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_verdict_tokens: Option<u32>,
    /// Whether a grammar admits only complete verdicts. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided: Option<bool>,
    /// Whether a guided ranking must agree with the scores. Default false: what the judge writes is kept, and a
    /// contradiction is flagged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_ranking: Option<bool>,
    /// How names are hidden. Default `shuffle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Mask>,
    /// Seed of the shuffle. Default 42, the reference system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_seed: Option<u64>,
    /// Milliseconds from submission after which the request fails as timed out, 1 to 86400000. Default 600000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// [`Options`] with every value decided and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// See [`Options::temperature`].
    pub temperature: f32,
    /// See [`Options::top_p`].
    pub top_p: f32,
    /// See [`Options::top_k`].
    pub top_k: u32,
    /// See [`Options::seed`].
    pub seed: u64,
    /// See [`Options::reasoning`].
    pub reasoning: bool,
    /// See [`Options::max_reasoning_tokens`].
    pub max_reasoning_tokens: u32,
    /// See [`Options::max_verdict_tokens`].
    pub max_verdict_tokens: u32,
    /// See [`Options::guided`].
    pub guided: bool,
    /// See [`Options::consistent_ranking`].
    pub consistent_ranking: bool,
    /// See [`Options::mask`].
    pub mask: Mask,
    /// See [`Options::mask_seed`].
    pub mask_seed: u64,
    /// See [`Options::timeout_ms`].
    pub timeout: Duration,
}

/// Longest deadline that can be asked for: one day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;
/// Longest reasoning or verdict that can be asked for, in tokens.
const MAX_TOKENS: u32 = 131_072;

impl Options {
    /// These options, with what they leave open taken from `lower`.
    #[must_use]
    pub fn or(&self, lower: &Self) -> Self {
        Self {
            temperature: self.temperature.or(lower.temperature),
            top_p: self.top_p.or(lower.top_p),
            top_k: self.top_k.or(lower.top_k),
            seed: self.seed.or(lower.seed),
            reasoning: self.reasoning.or(lower.reasoning),
            max_reasoning_tokens: self.max_reasoning_tokens.or(lower.max_reasoning_tokens),
            max_verdict_tokens: self.max_verdict_tokens.or(lower.max_verdict_tokens),
            guided: self.guided.or(lower.guided),
            consistent_ranking: self.consistent_ranking.or(lower.consistent_ranking),
            mask: self.mask.or(lower.mask),
            mask_seed: self.mask_seed.or(lower.mask_seed),
            timeout_ms: self.timeout_ms.or(lower.timeout_ms),
        }
    }

    /// Decides what is still open and checks every value.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
    pub fn resolve(&self) -> Result<Settings> {
        Ok(Settings {
            temperature: in_range("temperature", self.temperature.unwrap_or(0.0), 0.0, 2.0)?,
            top_p: in_range("top_p", self.top_p.unwrap_or(1.0), f32::MIN_POSITIVE, 1.0)?,
            top_k: self.top_k.unwrap_or(0),
            seed: self.seed.unwrap_or(0),
            reasoning: self.reasoning.unwrap_or(true),
            max_reasoning_tokens: in_range(
                "max_reasoning_tokens",
                self.max_reasoning_tokens.unwrap_or(2048),
                0,
                MAX_TOKENS,
            )?,
            max_verdict_tokens: in_range("max_verdict_tokens", self.max_verdict_tokens.unwrap_or(1024), 1, MAX_TOKENS)?,
            guided: self.guided.unwrap_or(true),
            consistent_ranking: self.consistent_ranking.unwrap_or(false),
            mask: self.mask.unwrap_or_default(),
            mask_seed: self.mask_seed.unwrap_or(42),
            timeout: Duration::from_millis(in_range(
                "timeout_ms",
                self.timeout_ms.unwrap_or(600_000),
                1,
                MAX_TIMEOUT_MS,
            )?),
        })
    }

    /// As [`Self::resolve`], for options that came with a request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the key, the value and the range.
    pub fn resolve_request(&self) -> Result<Settings> {
        self.resolve()
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, error.message().to_owned()).context("options"))
    }
}
