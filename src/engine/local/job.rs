//! One job of the embedded engine: what was prepared for it, what it has written, and what comes next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::decode::grammar::VerdictGrammar;
use crate::decode::plan::{CHARACTER_GRACE, ends_whole};
use crate::decode::score::ScoreProbe;
use crate::engine::{Completion, Generation, JobId};
use crate::error::{Error, Result};
use crate::verdict::{Timing, Usage};

use super::guide::Guide;
use super::sample::{Allowed, Sampler};
use super::vocabulary::Vocabulary;

/// A job as the calling thread prepared it.
pub(super) struct Prepared {
    pub(super) id: JobId,
    /// Prompt, then what is fed before the first token is sampled.
    pub(super) feed: Vec<u32>,
    pub(super) prompt_tokens: usize,
    /// Tokens of context that the job may take at most.
    pub(super) need: usize,
    pub(super) writer: Writer,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) done: Completion,
}

/// How reasoning ends.
pub(super) struct ReasoningEnd {
    pub(super) close: u32,
    /// Fed where the budget is spent: a line's end and the closing token.
    pub(super) forced: Vec<u32>,
    pub(super) budget: u32,
}

/// A guided verdict in the making.
pub(super) struct Guided {
    pub(super) guide: Guide,
    pub(super) grammar: VerdictGrammar,
    pub(super) consistent: bool,
}

/// How the verdict is written.
pub(super) enum VerdictWriter {
    Guided(Box<Guided>),
    Free { max_tokens: u32 },
}

/// Which phase a job is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reasoning,
    Verdict,
    Done,
}

/// Writes the output of one job, token by token.
pub(super) struct Writer {
    vocabulary: Arc<Vocabulary>,
    sampler: Sampler,
    phase: Phase,
    reasoning: Option<ReasoningEnd>,
    verdict: VerdictWriter,
    /// Text of the output by part: opening tag, reasoning, closing tag, answer.
    opening: Vec<u8>,
    thoughts: Vec<u8>,
    closing: Vec<u8>,
    answer: Vec<u8>,
    scores: Vec<u8>,
    distributions: Vec<Vec<f64>>,
    reasoning_truncated: bool,
    verdict_truncated: bool,
    sampled_reasoning: u32,
    usage: Usage,
    started: Option<Instant>,
    prefilled: Option<Instant>,
    reasoned: Option<Instant>,
}

impl Writer {
    /// A writer that starts with its reasoning, or with its verdict where there is none. `opening` are the tokens fed
    /// after the prompt, which the output begins with.
    pub(super) fn new(
        vocabulary: Arc<Vocabulary>,
        sampler: Sampler,
        reasoning: Option<ReasoningEnd>,
        verdict: VerdictWriter,
        prompt_tokens: usize,
    ) -> Self {
        Self {
            vocabulary,
            sampler,
            phase: if reasoning.is_some() { Phase::Reasoning } else { Phase::Verdict },
            reasoning,
            verdict,
            opening: Vec::new(),
            thoughts: Vec::new(),
            closing: Vec::new(),
            answer: Vec::new(),
            scores: Vec::new(),
            distributions: Vec::new(),
            reasoning_truncated: false,
            verdict_truncated: false,
            sampled_reasoning: 0,
            usage: Usage { prompt_tokens, ..Usage::default() },
            started: None,
            prefilled: None,
            reasoned: None,
        }
    }

    /// The tokens to feed between the prompt and the first sampled token. Called once.
    pub(super) fn open(&mut self, opening: &[u32]) -> Vec<u32> {
        let mut fed = opening.to_vec();
        for &token in opening {
            self.opening.extend_from_slice(self.vocabulary.bytes(token));
        }
        self.usage.reasoning_tokens += opening.len();
        if self.reasoning.as_ref().is_some_and(|reasoning| reasoning.budget == 0) {
            self.end_reasoning_by_force(&mut fed);
        } else if self.phase == Phase::Verdict {
            self.feed_forced(&mut fed);
        }
        fed
    }

    /// The job got its place; `reused` tokens of its prompt were there already.
    pub(super) fn start(&mut self, reused: usize) {
        self.started = Some(Instant::now());
        // What is fed after the prompt may have been there as well.
        self.usage.reused_tokens = reused.min(self.usage.prompt_tokens);
    }

    /// Takes the logits after the last token fed; gives the tokens to feed next, none where the output is complete.
    ///
    /// # Errors
    /// Broken logits, or a defect in the grammar.
    pub(super) fn advance(&mut self, logits: &[f32]) -> Result<Vec<u32>> {
        self.prefilled.get_or_insert_with(Instant::now);
        let mut next = Vec::with_capacity(1);
        match self.phase {
            Phase::Reasoning => self.reason(logits, &mut next)?,
            Phase::Verdict => match self.verdict {
                VerdictWriter::Guided(_) => self.write_guided(logits, &mut next)?,
                VerdictWriter::Free { max_tokens } => self.write_free(logits, max_tokens, &mut next)?,
            },
            Phase::Done => {}
        }
        if self.phase == Phase::Done {
            next.clear();
        }
        Ok(next)
    }

    fn reason(&mut self, logits: &[f32], next: &mut Vec<u32>) -> Result<()> {
        let token = self.sampler.choose(logits, &Allowed::AllBut(self.vocabulary.banned_in_reasoning()))?;
        let end = self.reasoning.as_ref().expect("the reasoning phase has an end");
        next.push(token);
        self.usage.reasoning_tokens += 1;
        if token == end.close {
            self.closing.extend_from_slice(self.vocabulary.bytes(token));
            return self.begin_verdict(next);
        }
        self.thoughts.extend_from_slice(self.vocabulary.bytes(token));
        self.sampled_reasoning += 1;
        let over = self.sampled_reasoning.saturating_sub(end.budget);
        if self.sampled_reasoning >= end.budget && (over >= CHARACTER_GRACE || ends_whole(&self.thoughts)) {
            self.end_reasoning_by_force(next);
            self.complete_if_written()?;
        }
        Ok(())
    }

    fn end_reasoning_by_force(&mut self, next: &mut Vec<u32>) {
        let end = self.reasoning.as_ref().expect("the reasoning phase has an end");
        let forced = if self.thoughts.last().or(self.opening.last()) == Some(&b'\n') {
            &end.forced[end.forced.len() - 1..]
        } else {
            &end.forced[..]
        };
        self.usage.reasoning_tokens += forced.len();
        next.extend_from_slice(forced);
        for &token in forced {
            self.closing.extend_from_slice(self.vocabulary.bytes(token));
        }
        // A budget of nothing is the caller's wish, not a cut.
        self.reasoning_truncated = end.budget > 0;
        self.reasoned = Some(Instant::now());
        self.phase = Phase::Verdict;
        self.feed_forced(next);
    }

    fn begin_verdict(&mut self, next: &mut Vec<u32>) -> Result<()> {
        self.reasoned = Some(Instant::now());
        self.phase = Phase::Verdict;
        self.feed_forced(next);
        self.complete_if_written()
    }

    /// Feeds what the grammar forces from here on.
    fn feed_forced(&mut self, next: &mut Vec<u32>) {
        if let VerdictWriter::Guided(guided) = &mut self.verdict {
            let forced = guided.guide.forced();
            for &token in &forced {
                self.answer.extend_from_slice(self.vocabulary.bytes(token));
            }
            self.usage.verdict_tokens += forced.len();
            self.usage.forced_tokens += forced.len();
            next.extend(forced);
        }
    }

    fn complete_if_written(&mut self) -> Result<()> {
        if let VerdictWriter::Guided(guided) = &mut self.verdict
            && guided.guide.is_complete()?
        {
            self.phase = Phase::Done;
        }
        Ok(())
    }

    fn write_guided(&mut self, logits: &[f32], next: &mut Vec<u32>) -> Result<()> {
        let VerdictWriter::Guided(guided) = &mut self.verdict else { return Ok(()) };
        let allowed = guided.guide.allowed()?;
        let token = self.sampler.choose(logits, &Allowed::Only(&allowed))?;
        // How many bytes from here the next score stands, where there is one left.
        let ahead =
            guided.grammar.score_offset(self.scores.len()).and_then(|offset| offset.checked_sub(self.answer.len()));
        if let Some(ahead) = ahead
            && let Some(&digit) = self.vocabulary.bytes(token).get(ahead)
        {
            let mut probe = ScoreProbe::new(guided.grammar.scale());
            for id in allowed.iter() {
                if let (Some(&digit), Some(&logit)) = (self.vocabulary.bytes(id).get(ahead), logits.get(id as usize)) {
                    probe.add(digit, logit);
                }
            }
            self.distributions.extend(probe.distribution());
            self.scores.push(digit - b'0');
        }
        next.push(token);
        self.answer.extend_from_slice(self.vocabulary.bytes(token));
        self.usage.verdict_tokens += 1;
        guided.guide.take(token)?;
        if guided.consistent && guided.grammar.score_offset(self.scores.len()).is_none() {
            guided.consistent = false;
            let tail = guided.grammar.consistent_tail(&self.scores, self.answer.len()).lark();
            guided.guide = self.vocabulary.guides().one_off(&tail)?;
        }
        self.feed_forced(next);
        self.complete_if_written()
    }

    fn write_free(&mut self, logits: &[f32], max_tokens: u32, next: &mut Vec<u32>) -> Result<()> {
        let token = self.sampler.choose(logits, &Allowed::AllBut(self.vocabulary.banned_in_answer()))?;
        if self.vocabulary.ends_text(token) {
            self.phase = Phase::Done;
            return Ok(());
        }
        next.push(token);
        self.answer.extend_from_slice(self.vocabulary.bytes(token));
        self.usage.verdict_tokens += 1;
        if self.usage.verdict_tokens >= max_tokens as usize {
            self.verdict_truncated = true;
            self.phase = Phase::Done;
        }
        Ok(())
    }

    /// What was written, with its times.
    pub(super) fn finish(self, submitted: Instant) -> Generation {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let prefilled = self.prefilled.unwrap_or(now);
        let reasoned = self.reasoned.unwrap_or(prefilled);
        let mut raw = String::from_utf8_lossy(&self.opening).into_owned();
        let thoughts_start = raw.len();
        raw.push_str(&String::from_utf8_lossy(&self.thoughts));
        let thoughts_end = raw.len();
        raw.push_str(&String::from_utf8_lossy(&self.closing));
        let answer = raw.len();
        raw.push_str(&String::from_utf8_lossy(&self.answer));
        Generation {
            raw,
            reasoning: self.reasoning.map(|_| thoughts_start..thoughts_end),
            answer,
            distributions: self.distributions,
            reasoning_truncated: self.reasoning_truncated,
            verdict_truncated: self.verdict_truncated,
            usage: self.usage,
            timing: Timing {
                queue: started.duration_since(submitted),
                prefill: prefilled.duration_since(started),
                reasoning: reasoned.duration_since(prefilled),
                verdict: now.saturating_duration_since(reasoned),
            },
        }
    }
}

impl Prepared {
    /// Ends the job with an error.
    pub(super) fn fail(self, error: Error) {
        (self.done)(Err(error));
    }

    /// Ends the job with what was written.
    pub(super) fn complete(self) {
        (self.done)(Ok(self.writer.finish(self.submitted)));
    }

    /// The error of a passed deadline.
    pub(super) fn timed_out(&self) -> Error {
        Error::timed_out(self.deadline.duration_since(self.submitted))
    }
}
