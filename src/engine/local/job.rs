//! One job of the embedded engine: what was prepared for it, what it has written, and what comes next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::decode::grammar::{Place, Progress, VerdictGrammar};
use crate::decode::reasoning::{End, ReasoningTokens};
use crate::decode::score::{ScoreProbe, log_sum};
use crate::decode::transcript::{Stopwatch, Transcript};
use crate::engine::{Completion, Generation, JobId, Patience, Priority};
use crate::error::{Error, Result};

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
    pub(super) writer: TokenWriter,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) patience: Option<Patience>,
    pub(super) priority: Priority,
    pub(super) done: Done,
}

/// Who is told the end of a job: once, by its lane, or at its deadline while the lane computes.
#[derive(Clone)]
pub(super) struct Done(Arc<Mutex<Option<Completion>>>);

impl Done {
    pub(super) fn new(completion: Completion) -> Self {
        Self(Arc::new(Mutex::new(Some(completion))))
    }

    /// Gives the outcome, unless one was given before.
    pub(super) fn tell(&self, outcome: Result<Generation>) {
        let completion = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(completion) = completion {
            // One that panics must not end the thread, which has other judgments too.
            let _ = catch_unwind(AssertUnwindSafe(|| completion(outcome)));
        }
    }
}

/// A guided verdict that is being written.
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

/// What the scheduler does with a sequence next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// So many of its last tokens are dropped first: they were fed only to see what comes after them.
    pub(super) dropped: usize,
    /// The tokens to feed then; none if the output is complete.
    pub(super) feed: Vec<u32>,
}

/// A look at what comes after a token that was not written.
struct Look {
    /// What the token writes of the score.
    text: Vec<u8>,
    /// How many tokens were fed for it.
    fed: usize,
    /// What is fed after all looks.
    next: Vec<u32>,
}

/// The scores of a verdict, as they are written.
#[derive(Default)]
struct Scores {
    /// Those that are complete.
    written: Vec<u8>,
    /// What is written of the next one, if it may go on.
    begun: Option<Vec<u8>>,
    /// The probe of the score that is being written, or of the last one.
    probe: Option<ScoreProbe>,
    look: Option<Look>,
    /// How many have their distribution.
    recorded: usize,
    /// Whether a score passed without a probe.
    missed: bool,
}

/// Which phase a job is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reasoning,
    Verdict,
    Done,
}

/// Writes the output of one job, token by token.
pub(super) struct TokenWriter {
    vocabulary: Arc<Vocabulary>,
    sampler: Sampler,
    phase: Phase,
    reasoning: Option<ReasoningTokens>,
    verdict: VerdictWriter,
    transcript: Transcript,
    stopwatch: Stopwatch,
    scores: Scores,
    sampled_reasoning: u32,
}

impl TokenWriter {
    /// A writer that starts with its reasoning, or with its verdict if there is no reasoning. `transcript` is empty.
    pub(super) fn new(
        vocabulary: Arc<Vocabulary>,
        sampler: Sampler,
        reasoning: Option<ReasoningTokens>,
        verdict: VerdictWriter,
        transcript: Transcript,
        submitted: Instant,
    ) -> Self {
        Self {
            vocabulary,
            sampler,
            phase: if reasoning.is_some() { Phase::Reasoning } else { Phase::Verdict },
            verdict,
            transcript,
            reasoning,
            stopwatch: Stopwatch::new(submitted),
            scores: Scores::default(),
            sampled_reasoning: 0,
        }
    }

    /// Tokens of the prompt.
    pub(super) fn prompt_tokens(&self) -> usize {
        self.transcript.usage.prompt_tokens
    }

    /// Whether the next token is chosen among all, and may be drafted.
    pub(super) fn writes_freely(&self) -> bool {
        match self.phase {
            Phase::Reasoning => true,
            Phase::Verdict => matches!(self.verdict, VerdictWriter::Free { .. }),
            Phase::Done => false,
        }
    }

    /// The tokens to feed between the prompt and the first sampled token. Called once.
    pub(super) fn open(&mut self) -> Vec<u32> {
        let mut fed = self.reasoning.as_ref().map(|tokens| tokens.opening.clone()).unwrap_or_default();
        for &token in &fed {
            self.transcript.open(self.vocabulary.bytes(token));
        }
        self.transcript.usage.reasoning_tokens += fed.len();
        if self.reasoning.as_ref().is_some_and(|tokens| tokens.budget == 0) {
            self.end_reasoning_by_force(&mut fed);
        } else if self.phase == Phase::Verdict {
            self.feed_forced(&mut fed);
        }
        fed
    }

    /// The job got its place; `reused` tokens of its prompt were already computed.
    pub(super) fn start(&mut self, reused: usize) {
        self.stopwatch.start();
        let usage = &mut self.transcript.usage;
        // What is fed after the prompt may have been computed as well.
        usage.reused_tokens = reused.min(usage.prompt_tokens);
    }

    /// Takes the logits after the last token fed; gives what to feed next.
    ///
    /// # Errors
    /// Broken logits, or a defect in the grammar.
    pub(super) fn advance(&mut self, logits: &[f32]) -> Result<Next> {
        self.stopwatch.prefilled();
        let mut next = Next { dropped: 0, feed: Vec::with_capacity(1) };
        if let Some(Look { text, fed, next: after }) = self.scores.look.take() {
            self.see(&text, logits);
            if self.scores.probe.as_ref().is_some_and(|probe| probe.unseen().iter().any(|unseen| unseen.text == text)) {
                // Broken logits: nothing is known of it, and nothing would be after another look.
                self.scores.probe = None;
            }
            next = Next { dropped: fed, feed: after };
        } else {
            match self.phase {
                Phase::Reasoning => self.reason(logits, &mut next.feed)?,
                Phase::Verdict => match self.verdict {
                    VerdictWriter::Guided(_) => self.write_guided(logits, &mut next.feed)?,
                    VerdictWriter::Free { max_tokens } => self.write_free(logits, max_tokens, &mut next.feed)?,
                },
                Phase::Done => {}
            }
            if self.phase == Phase::Done {
                next.feed.clear();
            }
        }
        if let Some((text, tokens)) = self.to_see() {
            let after = std::mem::replace(&mut next.feed, tokens);
            self.scores.look = Some(Look { text, fed: next.feed.len(), next: after });
        } else {
            self.record();
        }
        Ok(next)
    }

    /// What could have been written and must be seen for the distribution of the score: its text, and its tokens.
    fn to_see(&self) -> Option<(Vec<u8>, Vec<u32>)> {
        let Scores { probe, begun, .. } = &self.scores;
        // What was written is seen when the next token is chosen.
        let is_coming = |text: &[u8]| begun.as_ref().is_some_and(|begun| begun.starts_with(text));
        let unseen = probe.as_ref()?.unseen().into_iter().find(|unseen| !is_coming(&unseen.text))?;
        Some((unseen.text, unseen.tokens))
    }

    /// Takes the logits after what could have been written of a score.
    fn see(&mut self, text: &[u8], logits: &[f32]) {
        let VerdictWriter::Guided(guided) = &self.verdict else { return };
        let mut then = ScoreProbe::after(guided.grammar.marks(), text);
        self.vocabulary.probe_end(logits, &mut then);
        if let Some(probe) = &mut self.scores.probe {
            probe.take(then);
        }
    }

    /// Keeps the distribution of a score that is complete.
    fn record(&mut self) {
        let scores = &mut self.scores;
        if scores.written.len() == scores.recorded {
            return;
        }
        let distribution = scores.probe.as_ref().and_then(ScoreProbe::distribution);
        match (distribution, scores.written.len() - scores.recorded) {
            (Some(distribution), 1) => {
                let mass = scores.probe.as_ref().and_then(ScoreProbe::mass);
                self.transcript.distributions.push(distribution);
                self.transcript.masses.push(mass.unwrap_or(f64::NAN));
            }
            _ => scores.missed = true,
        }
        scores.recorded = scores.written.len();
        scores.probe = None;
        if scores.missed {
            // One of them would be taken for another one's.
            self.transcript.distributions.clear();
            self.transcript.masses.clear();
        }
    }

    fn reason(&mut self, logits: &[f32], next: &mut Vec<u32>) -> Result<()> {
        let token = self.sampler.choose(logits, &Allowed::AllBut(self.vocabulary.banned_in_reasoning()))?;
        let tokens = self.reasoning.as_ref().expect("the reasoning phase has an end");
        let closes = matches!(&tokens.end, End::Token { id, .. } if *id == token);
        if !closes && self.vocabulary.ends_text(token) {
            // The turn is over without a closing tag; the token that ends it is not fed.
            self.end_reasoning_by_force(next);
            self.transcript.reasoning_truncated = false;
            return self.complete_if_written();
        }
        next.push(token);
        let bytes = self.vocabulary.bytes(token);
        self.transcript.usage.reasoning_tokens += 1;
        match &tokens.end {
            End::Token { rest, .. } if closes => {
                next.extend(rest);
                self.transcript.usage.reasoning_tokens += rest.len();
                self.transcript.close(bytes);
                for &token in rest {
                    self.transcript.close(self.vocabulary.bytes(token));
                }
            }
            End::Token { .. } => {
                self.transcript.reason(bytes);
                return self.reason_on(next);
            }
            End::Text(close) => {
                self.transcript.reason(bytes);
                match self.transcript.close_at(close, bytes.len()) {
                    // A grammar writes the whole verdict; a free one has begun within this token.
                    Some(after) if matches!(self.verdict, VerdictWriter::Guided(_)) => self.transcript.close(&after),
                    Some(after) => self.transcript.answer(&after),
                    None => return self.reason_on(next),
                }
            }
        }
        self.begin_verdict(next);
        self.complete_if_written()
    }

    /// Counts a token of the reasoning; the last one of the budget ends it.
    fn reason_on(&mut self, next: &mut Vec<u32>) -> Result<()> {
        let tokens = self.reasoning.as_ref().expect("the reasoning phase has an end");
        self.sampled_reasoning += 1;
        if self.transcript.is_spent(self.sampled_reasoning, tokens.budget) {
            self.end_reasoning_by_force(next);
            self.complete_if_written()?;
        }
        Ok(())
    }

    fn end_reasoning_by_force(&mut self, next: &mut Vec<u32>) {
        let tokens = self.reasoning.as_ref().expect("the reasoning phase has an end");
        let forced = tokens.forced(self.transcript.ends_line());
        self.transcript.usage.reasoning_tokens += forced.len();
        next.extend_from_slice(forced);
        for &token in forced {
            self.transcript.close(self.vocabulary.bytes(token));
        }
        // If the caller set a budget of 0, nothing was cut.
        self.transcript.reasoning_truncated = tokens.budget > 0;
        self.begin_verdict(next);
    }

    fn begin_verdict(&mut self, next: &mut Vec<u32>) {
        self.stopwatch.reasoned();
        self.phase = Phase::Verdict;
        self.feed_forced(next);
    }

    /// Feeds what the grammar forces from here on.
    fn feed_forced(&mut self, next: &mut Vec<u32>) {
        if let VerdictWriter::Guided(guided) = &mut self.verdict {
            let forced = guided.guide.forced();
            for &token in &forced {
                self.transcript.answer(self.vocabulary.bytes(token));
            }
            let usage = &mut self.transcript.usage;
            usage.verdict_tokens += forced.len();
            usage.forced_tokens += forced.len();
            next.extend(forced);
        }
    }

    fn complete_if_written(&mut self) -> Result<()> {
        if let VerdictWriter::Guided(guided) = &mut self.verdict
            && guided.guide.is_complete()?
            && self.scores.begun.is_none()
        {
            self.phase = Phase::Done;
        }
        Ok(())
    }

    fn write_guided(&mut self, logits: &[f32], next: &mut Vec<u32>) -> Result<()> {
        let VerdictWriter::Guided(guided) = &mut self.verdict else { return Ok(()) };
        let allowed = guided.guide.allowed()?;
        let marks = guided.grammar.marks();
        let answered = self.transcript.answered();
        // The answer follows the grammar, so there is always progress.
        let place = guided.grammar.progress(answered).map_or(Place::Past, |progress| progress.at);
        let chosen = match &place {
            Place::Within(digits) if marks.read(digits).is_some() => {
                let ends = guided.guide.is_complete()?;
                self.sampler.go_on_or_end(logits, &allowed, self.vocabulary.digits(), ends)?
            }
            _ => Some(self.sampler.choose(logits, &Allowed::Only(&allowed))?),
        };
        match place {
            Place::Before(ahead) if chosen.is_some_and(|token| self.vocabulary.bytes(token).len() > ahead) => {
                let mut probe = ScoreProbe::new(marks);
                for id in allowed.iter() {
                    if let (Some(text), Some(&logit)) =
                        (self.vocabulary.bytes(id).get(ahead..), logits.get(id as usize))
                    {
                        probe.add(text, id, logit);
                    }
                }
                probe.set_all(log_sum(logits));
                self.scores.probe = Some(probe);
            }
            Place::Within(digits) => self.see(&digits, logits),
            _ => {}
        }
        let Some(token) = chosen else {
            // The text ends, and so does the last score.
            self.scores.written.extend(self.scores.begun.take().and_then(|digits| marks.read(&digits)));
            self.phase = Phase::Done;
            return Ok(());
        };
        next.push(token);
        self.transcript.answer(self.vocabulary.bytes(token));
        self.transcript.usage.verdict_tokens += 1;
        let VerdictWriter::Guided(guided) = &mut self.verdict else { return Ok(()) };
        guided.guide.take(token)?;
        if guided.consistent
            && let Some(Progress { scores, at: Place::Past }) = guided.grammar.progress(self.transcript.answered())
        {
            guided.consistent = false;
            let tail = guided.grammar.consistent_tail(&scores, self.transcript.answered().len()).lark();
            guided.guide = self.vocabulary.guides().one_off(&tail)?;
        }
        self.feed_forced(next);
        self.look_at_scores();
        self.complete_if_written()
    }

    /// Notes how far the scores have come.
    fn look_at_scores(&mut self) {
        let VerdictWriter::Guided(guided) = &self.verdict else { return };
        if let Some(Progress { scores, at }) = guided.grammar.progress(self.transcript.answered()) {
            self.scores.written = scores;
            self.scores.begun = if let Place::Within(digits) = at { Some(digits) } else { None };
        }
    }

    fn write_free(&mut self, logits: &[f32], max_tokens: u32, next: &mut Vec<u32>) -> Result<()> {
        let token = self.sampler.choose(logits, &Allowed::AllBut(self.vocabulary.banned_in_answer()))?;
        if self.vocabulary.ends_text(token) {
            self.phase = Phase::Done;
            return Ok(());
        }
        next.push(token);
        self.transcript.answer(self.vocabulary.bytes(token));
        self.transcript.usage.verdict_tokens += 1;
        if self.transcript.usage.verdict_tokens >= max_tokens as usize {
            self.transcript.verdict_truncated = true;
            self.phase = Phase::Done;
        }
        Ok(())
    }

    /// The output, with its times.
    pub(super) fn finish(self) -> Generation {
        self.transcript.finish(self.stopwatch.stop())
    }
}

impl Prepared {
    /// A lane starts the job, and has reused `reused` tokens of its prompt. Returns whether the job's time begins now.
    pub(super) fn start(&mut self, reused: usize) -> bool {
        self.writer.start(reused);
        let Some(patience) = self.patience.take() else { return false };
        let timeout = patience.timeout();
        self.deadline = patience.begin();
        self.submitted = self.deadline.checked_sub(timeout).unwrap_or(self.submitted);
        true
    }

    /// Ends the job with an error.
    pub(super) fn fail(self, error: Error) {
        self.done.tell(Err(error));
    }

    /// Ends the job with its output.
    pub(super) fn complete(self) {
        self.done.tell(Ok(self.writer.finish()));
    }

    /// When it is out of time. A patient job that waits has the deadline of its judgment, if another job of that has begun.
    pub(super) fn due(&self) -> Instant {
        self.patience.as_ref().and_then(Patience::begun).map_or(self.deadline, |begun| begun.min(self.deadline))
    }

    /// The error of a passed deadline.
    pub(super) fn timed_out(&self) -> Error {
        Error::timed_out(match &self.patience {
            Some(patience) if patience.begun().is_some() => patience.timeout(),
            _ => self.deadline.duration_since(self.submitted),
        })
    }
}
