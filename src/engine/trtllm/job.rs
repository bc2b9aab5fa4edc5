//! One job: which requests it makes, one after the other, and what they wrote.
//!
//! The first request covers the reasoning and the verdict under one guide. If the budget of the reasoning is spent, a
//! second request follows: on the prompt and the reasoning, cut off and closed, under the guide of the verdict alone.
//! Further requests follow if the rest of a verdict depends on what was written; the last ones are sent together, for
//! the score distributions if no probe can run (`contest.rs`). Each finds what came before it in the KV cache.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cxx::UniquePtr;

use crate::decode::grammar::VerdictGrammar;
use crate::decode::plan::{CHARACTER_GRACE, Plan, VerdictPlan, ends_whole};
use crate::decode::reasoning::ReasoningTokens;
use crate::decode::transcript::Transcript;
use crate::engine::{Generation, Input, Listener, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::verdict::Timing;

use super::bridge::ffi::{Metrics, Probe, ProbePlan, Reply, Submission};
use super::contest::Contests;
use super::failure::failed;
use super::vocabulary::{EbnfGuide, GuideVocabulary, ScorePlaces};

/// Tokens that the end of a character may take past the reasoning's budget.
const GRACE: usize = CHARACTER_GRACE as usize;

/// What an executor's requests share.
pub(super) struct Terms {
    pub(super) vocabulary: GuideVocabulary,
    pub(super) max_input_tokens: usize,
    pub(super) max_tokens: usize,
    pub(super) tokens_per_block: usize,
    /// Whether blocks of earlier prompts are kept for later ones.
    pub(super) block_reuse: bool,
    /// Whether requests bring a probe.
    pub(super) probes: bool,
    /// Whether score distributions come from contests of the scores.
    pub(super) contests: bool,
}

/// A request for the executor.
pub(super) struct EngineRequest {
    pub(super) submission: Submission,
    pub(super) probe: Option<ProbePlan>,
}

/// Why the library ended a request, by its `FinishReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    /// The text ended.
    End,
    /// It reached its limit of tokens.
    Length,
}

/// How the verdict is written.
enum VerdictWriter {
    Guided { grammar: VerdictGrammar, consistent: bool, guide: Arc<EbnfGuide> },
    Free { max_tokens: usize },
}

/// Writes the output of one job, request by request.
pub(super) struct JobWriter {
    terms: Arc<Terms>,
    sampling: Sampling,
    /// The prompt, and the part of the output that is fixed so far.
    tokens: Vec<i32>,
    /// Leading tokens that every prompt of this judge has.
    shared_prefix: usize,
    /// Set while the output still begins with reasoning.
    reasoning: Option<ReasoningTokens>,
    verdict: VerdictWriter,
    /// Where the scores will be, until they are written.
    places: Option<ScorePlaces>,
    /// Contests to be made once the verdict is written, and those in progress.
    open: Option<Contests>,
    contests: Option<Contests>,
    transcript: Transcript,
    timing: Timing,
    requested: Instant,
    replies: u32,
}

fn finish(reason: i32) -> Result<Finish> {
    match reason {
        1 | 2 => Ok(Finish::End),
        3 => Ok(Finish::Length),
        4 => Err(Error::new(ErrorKind::Timeout, "the judgment did not end within its time")),
        5 => Err(Error::cancelled()),
        0 => Err(Error::new(ErrorKind::Engine, "TensorRT-LLM ended the request before it was finished")),
        other => Err(Error::new(
            ErrorKind::Engine,
            format!("TensorRT-LLM ended the request for a reason that this release does not know: {other}"),
        )),
    }
}

fn signed(tokens: &[u32]) -> impl Iterator<Item = i32> {
    tokens.iter().map(|token| token.cast_signed())
}

impl JobWriter {
    /// Prepares a job, on the thread that submits it.
    ///
    /// # Errors
    /// [`ErrorKind::ContextOverflow`] if it does not fit the engine.
    pub(super) fn new(terms: Arc<Terms>, input: Input, plan: Plan, sampling: Sampling, now: Instant) -> Result<Self> {
        let vocabulary = &terms.vocabulary;
        let Input::Tokens { ids: prompt, shared_prefix } = input else {
            return Err(Error::new(ErrorKind::Internal, "TensorRT-LLM takes tokens, not messages"));
        };
        if let Some(token) = prompt.iter().find(|&&token| token as usize >= vocabulary.tokenizer().vocab_size()) {
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!("the prompt has token {token}, which the model's vocabulary lacks"),
            ));
        }
        let mut tokens: Vec<i32> = signed(&prompt).collect();
        let reasoning = plan.reasoning.map(|plan| ReasoningTokens::new(&plan, vocabulary.tokenizer())).transpose()?;
        let mut transcript = Transcript::new(reasoning.is_some(), prompt.len());
        if let Some(ReasoningTokens { opening, .. }) = &reasoning {
            tokens.extend(signed(opening));
            transcript.open(&vocabulary.tokenizer().decode(opening));
            transcript.usage.reasoning_tokens += opening.len();
        }
        let has_reasoning = reasoning.is_some();
        let reasons = reasoning.as_ref().is_some_and(|tokens| tokens.budget > 0);
        let (verdict, verdict_tokens) = match plan.verdict {
            VerdictPlan::Guided { grammar, consistent } => {
                let guide = vocabulary.first_stage(&grammar, consistent, reasons)?;
                let whole =
                    if guide.last { guide.most_tokens } else { vocabulary.most_tokens(&grammar.example())? + 1 };
                (VerdictWriter::Guided { grammar, consistent, guide }, whole)
            }
            VerdictPlan::Free { max_tokens } => {
                (VerdictWriter::Free { max_tokens: max_tokens as usize }, max_tokens as usize)
            }
        };
        let mut writer = Self {
            sampling,
            tokens,
            shared_prefix: if terms.block_reuse { shared_prefix } else { 0 },
            reasoning,
            verdict,
            places: None,
            open: None,
            contests: None,
            transcript,
            timing: Timing::default(),
            requested: now,
            replies: 0,
            terms,
        };
        writer.check_room(prompt.len(), verdict_tokens)?;
        if has_reasoning && !reasons {
            writer.close_reasoning();
        }
        Ok(writer)
    }

    /// Gives the reasoning to `listener` once it is written.
    pub(super) fn listen(&mut self, listener: Option<Listener>) {
        self.transcript = std::mem::take(&mut self.transcript).heard_by(listener);
    }

    /// Checks that the job fits the engine, whatever is generated.
    fn check_room(&self, prompt: usize, verdict: usize) -> Result<()> {
        let reasoning = self.reasoning.as_ref().map_or(0, |end| end.budget as usize + GRACE + end.forced_most())
            + self.tokens.len()
            - prompt;
        let several = match &self.verdict {
            VerdictWriter::Guided { guide, .. } => !guide.last,
            VerdictWriter::Free { .. } => false,
        };
        // The input of the last request.
        let input = prompt + reasoning + if several { verdict } else { 0 };
        let need = prompt + reasoning + verdict;
        let Terms { max_input_tokens, max_tokens, .. } = *self.terms;
        if input <= max_input_tokens && need <= max_tokens {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ContextOverflow,
            format!(
                "the prompt has {prompt} tokens and may be answered with {} ({reasoning} for the reasoning, {verdict} for \
                 the verdict), {need} in all, of which {input} may have to be read; but the engine was built for \
                 {max_tokens} in all (max_seq_len) and {max_input_tokens} to read (max_input_len): shorten the request, \
                 lower max_reasoning_tokens, or build the engine for more",
                reasoning + verdict
            ),
        ))
    }

    /// The request to make now.
    pub(super) fn request(&mut self) -> EngineRequest {
        let terms = self.terms.clone();
        let vocabulary = &terms.vocabulary;
        let budget = self.reasoning.as_ref().map(|end| end.budget as usize + GRACE + 1);
        let mut probe = None;
        let (guide, room) = match &self.verdict {
            VerdictWriter::Guided { grammar, guide, .. } => {
                if self.transcript.answered().is_empty() && (terms.probes || terms.contests) {
                    let places = vocabulary.score_places(grammar, self.tokens.len(), budget.is_some());
                    probe = terms.probes.then(|| places.plan.clone());
                    self.places = Some(places);
                }
                (guide.ebnf.clone(), guide.most_tokens)
            }
            VerdictWriter::Free { max_tokens } => (String::new(), *max_tokens),
        };
        let (end, stops) = vocabulary.ends().split_first().expect("a checked vocabulary has an end");
        let submission = Submission {
            tokens: self.tokens.clone(),
            max_tokens: i32::try_from(budget.unwrap_or(0) + room).unwrap_or(i32::MAX),
            temperature: self.sampling.temperature,
            top_p: self.sampling.top_p,
            top_k: i32::try_from(self.sampling.top_k).unwrap_or(i32::MAX),
            seed: self.sampling.seed,
            end: end.cast_signed(),
            stops: signed(stops).collect(),
            banned: if guide.is_empty() { vocabulary.banned().to_vec() } else { Vec::new() },
            guide,
            // Set when it is sent.
            allotted_ms: 0,
            retained_tokens: i32::try_from(self.shared_prefix).unwrap_or(0),
            log_probs: false,
            first: false,
        };
        self.requested = Instant::now();
        EngineRequest { submission, probe }
    }

    /// Takes in the output of a request; gives the next ones, none if the output is complete.
    ///
    /// # Errors
    /// If the executor ended the request for another reason than the end of its text.
    pub(super) fn advance(
        &mut self,
        reply: &Reply,
        probe: Option<&Probe>,
        submitted: Instant,
    ) -> Result<Vec<EngineRequest>> {
        let finish = finish(reply.finish_reason())?;
        let terms = self.terms.clone();
        let vocabulary = &terms.vocabulary;
        let mut output: Vec<u32> = reply.tokens().iter().map(|token| token.cast_unsigned()).collect();
        while output.last().is_some_and(|last| vocabulary.ends().contains(last)) {
            output.pop();
        }
        if let Some(token) = output.iter().find(|&&token| token as usize >= vocabulary.tokenizer().vocab_size()) {
            return Err(Error::new(
                ErrorKind::Engine,
                format!("the engine wrote token {token}, which the tokenizer does not have: it is another model's"),
            ));
        }
        let Some(end) = &self.reasoning else {
            self.count(&reply.metrics(), 0, output.len(), submitted);
            return self.write(&output, finish, probe);
        };
        let closing = end.close()?;
        match output.iter().position(|&token| token == closing) {
            Some(at) if at <= end.budget as usize => {
                self.count(&reply.metrics(), at + 1, output.len(), submitted);
                let (thoughts, rest) = output.split_at(at);
                self.transcript.reason(&vocabulary.tokenizer().decode(thoughts));
                self.transcript.close(vocabulary.bytes(rest[0]));
                self.transcript.usage.reasoning_tokens += at + 1;
                self.tokens.extend(signed(&output[..=at]));
                self.reasoning = None;
                let rest = rest[1..].to_vec();
                self.write(&rest, finish, probe)
            }
            close => {
                self.count(&reply.metrics(), output.len(), output.len(), submitted);
                let written = close.unwrap_or(output.len());
                let kept = self.cut(&output[..written]);
                self.transcript.reasoning_truncated = kept < written || finish == Finish::Length;
                self.transcript.reason(&vocabulary.tokenizer().decode(&output[..kept]));
                self.transcript.usage.reasoning_tokens += kept;
                self.tokens.extend(signed(&output[..kept]));
                self.close_reasoning();
                self.unreasoned_guide()?;
                Ok(vec![self.request()])
            }
        }
    }

    /// Whether the verdict is written, and only its distributions are missing.
    pub(super) fn is_contesting(&self) -> bool {
        self.contests.is_some()
    }

    /// Takes in the answers to the contests of the scores, in the order of their requests; `None` for a request that
    /// failed. Gives the next ones, none if all are decided. Without an answer there is no distribution; the verdict
    /// stays.
    pub(super) fn contested(&mut self, replies: &[Option<UniquePtr<Reply>>]) -> Vec<EngineRequest> {
        let Some(mut contests) = self.contests.take() else { return Vec::new() };
        self.timing.verdict += self.requested.elapsed();
        if !contests.take(replies.iter().map(|reply| reply.as_ref().and_then(UniquePtr::as_ref))) {
            return Vec::new();
        }
        self.contest(contests)
    }

    /// The next contests, or their result.
    fn contest(&mut self, mut contests: Contests) -> Vec<EngineRequest> {
        let next = contests.next(&self.terms.vocabulary);
        if next.is_empty() {
            if let VerdictWriter::Guided { grammar, .. } = &self.verdict {
                self.transcript.distributions = contests.distributions(grammar);
            }
            return Vec::new();
        }
        self.contests = Some(contests);
        self.requested = Instant::now();
        next.into_iter().map(|submission| EngineRequest { submission, probe: None }).collect()
    }

    /// How much of a reasoning is kept: its budget, up to the end of a character.
    fn cut(&self, output: &[u32]) -> usize {
        let budget = self.reasoning.as_ref().map_or(0, |end| end.budget as usize);
        let most = output.len().min(budget + GRACE);
        let tokenizer = self.terms.vocabulary.tokenizer();
        (budget.min(output.len())..most).find(|&kept| ends_whole(&tokenizer.decode(&output[..kept]))).unwrap_or(most)
    }

    /// Closes the reasoning for the judge.
    fn close_reasoning(&mut self) {
        let Some(end) = self.reasoning.take() else { return };
        let forced = end.forced(self.transcript.ends_line());
        self.transcript.close(&self.terms.vocabulary.tokenizer().decode(forced));
        self.transcript.usage.reasoning_tokens += forced.len();
        self.tokens.extend(signed(forced));
    }

    /// From here on, the guide covers only the verdict.
    fn unreasoned_guide(&mut self) -> Result<()> {
        if let VerdictWriter::Guided { grammar, consistent, guide } = &mut self.verdict {
            *guide = self.terms.vocabulary.first_stage(grammar, *consistent, false)?;
        }
        Ok(())
    }

    /// Takes in a part of the answer.
    fn write(&mut self, output: &[u32], finish: Finish, probe: Option<&Probe>) -> Result<Vec<EngineRequest>> {
        let terms = self.terms.clone();
        let vocabulary = &terms.vocabulary;
        let mut output = output;
        if let VerdictWriter::Free { max_tokens } = self.verdict {
            self.transcript.verdict_truncated = finish == Finish::Length || output.len() > max_tokens;
            output = &output[..output.len().min(max_tokens)];
        }
        let starts: Vec<usize> = output
            .iter()
            .scan(self.transcript.answered().len(), |length, &token| {
                let start = *length;
                *length += vocabulary.bytes(token).len();
                Some(start)
            })
            .collect();
        self.transcript.usage.verdict_tokens += output.len();
        self.transcript.answer(&vocabulary.tokenizer().decode(output));
        if let (Some(places), VerdictWriter::Guided { grammar, .. }) = (self.places.take(), &self.verdict) {
            if let Some(probe) = probe {
                let (mut at, mut logits) = (Vec::new(), Vec::new());
                let status = probe.read(&mut at, &mut logits);
                if !status.is_ok() {
                    return Err(failed("reading the logits of the scores", &status));
                }
                self.transcript.distributions = places.distributions(grammar, &at, &logits, &starts);
            } else if terms.contests && !starts.is_empty() {
                let contests = Contests::new(vocabulary, grammar, &places, &self.tokens, output, &starts);
                // A prompt is too long for the engine: the verdict gets no distributions.
                let fits = |contests: &Contests| contests.longest() <= terms.max_input_tokens.min(terms.max_tokens - 1);
                self.open = contests.filter(fits);
            }
        }
        if let Some(next) = self.next_stage(output, finish)? {
            return Ok(vec![next]);
        }
        match self.open.take() {
            Some(contests) if !self.transcript.verdict_truncated => Ok(self.contest(contests)),
            _ => Ok(Vec::new()),
        }
    }

    /// The request for the rest of a guided verdict, if there is a rest.
    fn next_stage(&mut self, output: &[u32], finish: Finish) -> Result<Option<EngineRequest>> {
        let VerdictWriter::Guided { grammar, consistent, guide } = &mut self.verdict else { return Ok(None) };
        let written = std::str::from_utf8(self.transcript.answered()).ok().and_then(|answer| grammar.read(answer));
        let (Some(written), false, false) = (written, guide.last, output.is_empty() || finish == Finish::Length) else {
            // What the guide admitted is complete; the reader of verdicts refuses anything else.
            self.transcript.verdict_truncated = finish == Finish::Length;
            return Ok(None);
        };
        *guide = self.terms.vocabulary.next_stage(grammar, *consistent, &written)?;
        self.tokens.extend(signed(output));
        Ok(Some(self.request()))
    }

    /// Adds up the usage of a request. `reasoning` of its `output` tokens were reasoning.
    fn count(&mut self, metrics: &Metrics, reasoning: usize, output: usize, submitted: Instant) {
        let [ago, prefill, mut decode] =
            [metrics.scheduled_ago_us, metrics.prefill_us, metrics.decode_us].map(Duration::from_micros);
        let now = Instant::now();
        // The library's own times begin when a request leaves its queue.
        let scheduled = now.checked_sub(ago).unwrap_or(self.requested).max(self.requested);
        let mut queue = scheduled.saturating_duration_since(self.requested);
        if !metrics.known {
            (queue, decode) = (Duration::ZERO, now.saturating_duration_since(self.requested));
        }
        self.replies += 1;
        if self.replies == 1 {
            self.timing.queue = self.requested.saturating_duration_since(submitted) + queue;
            self.timing.prefill = prefill;
            let reused = metrics.reused_blocks as usize * self.terms.tokens_per_block;
            let usage = &mut self.transcript.usage;
            usage.reused_tokens = reused.min(usage.prompt_tokens);
        } else {
            decode += queue + prefill;
        }
        // The library gives the times of the first and the last token; the tokens between are assumed to be evenly
        // spaced.
        let [reasoning, output] = [reasoning, output].map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX));
        let thinking = decode.checked_div(output).unwrap_or_default() * reasoning;
        self.timing.reasoning += thinking;
        self.timing.verdict += decode.saturating_sub(thinking);
    }

    /// The output.
    pub(super) fn finish(self) -> Generation {
        self.transcript.finish(self.timing)
    }
}
