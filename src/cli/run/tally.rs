//! What a run did, counted.

use std::collections::BTreeMap;

use dicast::{Flag, Verdict};

use super::lines::Place;

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Results written.
    pub(crate) written: u64,
    /// Judgments that gave a verdict.
    pub(crate) judged: u64,
    /// Results kept from an earlier run.
    pub(crate) kept: u64,
    /// How many of these are errors.
    pub(crate) kept_failed: u64,
    /// Failures by kind: how many, and the first.
    pub(crate) failures: BTreeMap<&'static str, (u64, String)>,
    /// The kind of the very first failure.
    pub(super) first_kind: Option<&'static str>,
    /// Tokens of prompts, how many of these were reused, and tokens written.
    pub(crate) prompt_tokens: u64,
    pub(crate) reused_tokens: u64,
    pub(crate) written_tokens: u64,
    /// Verdicts with equal scores.
    pub(crate) ties: u64,
    /// Verdicts whose reasoning was ended by its budget.
    pub(crate) truncated: u64,
}

impl Tally {
    /// Counts an outcome.
    pub(super) fn add(&mut self, outcome: &dicast::Result<Verdict>, place: Place) {
        match outcome {
            Ok(verdict) => {
                let usage = verdict.usage;
                self.judged += 1;
                self.prompt_tokens += usage.prompt_tokens as u64;
                self.reused_tokens += usage.reused_tokens as u64;
                self.written_tokens += (usage.reasoning_tokens + usage.verdict_tokens) as u64;
                self.ties += u64::from(verdict.flags.contains(&Flag::Ties));
                self.truncated += u64::from(verdict.flags.contains(&Flag::ReasoningTruncated));
            }
            Err(error) => {
                let kind = error.kind().name();
                self.first_kind.get_or_insert(kind);
                let (count, _) =
                    self.failures.entry(kind).or_insert_with(|| (0, format!("{place}: {}", error.message())));
                *count += 1;
            }
        }
    }

    /// Counts a result that was kept.
    pub(super) fn keep(&mut self, failed: bool) {
        self.kept += 1;
        self.kept_failed += u64::from(failed);
    }

    /// Judgments of this run that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().map(|(count, _)| count).sum()
    }

    /// The first failure, with its place.
    pub(super) fn first_failure(&self) -> Option<&str> {
        self.first_kind.and_then(|kind| self.failures.get(kind)).map(|(_, message)| message.as_str())
    }
}
