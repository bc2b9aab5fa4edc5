//! `dicast_job`: what the program's own engine must generate.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Instant;

use super::boundary::{given, misuse};
use super::engine::Desk;
use super::error::dicast_error;
use super::layout::{self, Layout};
use super::stats::dicast_usage;
use super::text::{Text, dicast_str};
use super::token::{dicast_token, positions};
use crate::decode::logprobs::{self, Position, Token};
use crate::decode::plan::{Plan, VerdictPlan};
use crate::decode::transcript::{Stopwatch, Transcript};
use crate::engine::{Generation, Input, Job, Listener, Priority, Sampling};
use crate::error::{Error, ErrorKind, Result};

/// A grammar in llama.cpp's GBNF.
pub const DICAST_NOTATION_GBNF: u32 = 0;
/// A grammar in xgrammar's EBNF, which vLLM, SGLang and TensorRT-LLM take.
pub const DICAST_NOTATION_EBNF: u32 = 1;
/// A grammar in llguidance's Lark.
pub const DICAST_NOTATION_LARK: u32 = 2;

/// For dicast_job_finish: the budget ended the reasoning.
pub const DICAST_CUT_REASONING: u32 = 1;
/// For dicast_job_finish: a token limit ended the verdict.
pub const DICAST_CUT_VERDICT: u32 = 2;

/// Jobs and requests that can wait, such as those of a batch.
pub const DICAST_PRIORITY_LOW: i32 = -1;
/// Jobs and requests without another priority.
pub const DICAST_PRIORITY_NORMAL: i32 = 0;
/// Jobs and requests that somebody waits for.
pub const DICAST_PRIORITY_HIGH: i32 = 1;

/// How to generate a job: first the reasoning, if there is one, then the verdict. Set `struct_size` before the call, which
/// writes the other fields. Texts belong to the job.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_plan {
    /// sizeof(dicast_plan).
    pub struct_size: usize,
    /// The number of the job, which the cancel callback names.
    pub id: u64,
    /// 0 is greedy; at most 2.
    pub temperature: f64,
    /// Nucleus sampling, above 0; 1 is off.
    pub top_p: f64,
    /// Seed of the sampling.
    pub seed: u64,
    /// Sample from this many most probable tokens; 0 is off.
    pub top_k: u32,
    /// DICAST_PRIORITY_LOW, _NORMAL or _HIGH.
    pub priority: i32,
    /// Milliseconds until the deadline of the job; it is cancelled then.
    pub time_left_ms: u64,
    /// 1 if the verdict comes after a reasoning, else 0.
    pub reasons: u32,
    /// 1 if the verdict must follow the grammar (dicast_job_grammar) or the schema (dicast_job_schema), 0 if it is free text.
    pub guided: u32,
    /// 1 if the ranking must agree with the scores: dicast_job_grammar then comes in several stages.
    pub consistent: u32,
    /// 1 if the caller wants the reasoning while it is written: hand it over piece by piece.
    pub heard: u32,
    /// Most tokens of the reasoning; 0: close it at once.
    pub reasoning_tokens: u64,
    /// Most tokens of a free verdict; 0 for a guided one, which the grammar ends.
    pub verdict_tokens: u64,
    /// What the engine feeds before the reasoning, such as `<think>` and a line end; empty if the prompt ends with it, or if there is no
    /// reasoning. An engine whose chat template already opens the reasoning leaves it out.
    pub open: dicast_str,
    /// The text that ends the reasoning, such as `</think>`: sampled, or fed once the budget is spent.
    pub close: dicast_str,
}

// SAFETY: `repr(C)`, words, pairs of halves, and texts of two words.
unsafe impl Layout for dicast_plan {
    const FIRST_SIZE: usize = 120;
    const NAME: &'static str = "dicast_plan";
}

/// One generation for the program's own engine.
///
/// The generate callback gets it and owns it, until dicast_job_finish or dicast_job_fail; one of these must be called. Only one
/// thread may use it at a time, not always the same one. It may outlive its judge: what is handed to it then is dropped.
pub struct dicast_job {
    desk: Arc<Desk>,
    id: u64,
    plan: Plan,
    sampling: Sampling,
    priority: Priority,
    listener: Option<Listener>,
    submitted: Instant,
    deadline: Instant,
    messages: Vec<(Text, Text)>,
    tokens: Vec<u32>,
    open: Text,
    close: Text,
    schema: Option<Text>,
    /// Grammars that were asked for.
    grammars: Vec<Text>,
    stopwatch: Stopwatch,
    transcript: Transcript,
    reasoned: bool,
    /// The answer, token by token or piece by piece.
    answer: Vec<Position>,
}

impl dicast_job {
    pub(super) fn new(desk: Arc<Desk>, id: u64, job: Job) -> Box<Self> {
        let Job { input, plan, sampling, submitted, deadline, priority, listener, .. } = job;
        let (messages, tokens) = match input {
            Input::Messages(messages) => (
                messages.iter().map(|message| (Text::new(message.role), Text::from(&message.content))).collect(),
                vec![],
            ),
            Input::Tokens { ids, .. } => (Vec::new(), ids),
        };
        let form = plan.reasoning.as_ref();
        let open = form.and_then(|form| Some(format!("{}{}", form.open.as_ref()?, form.prefix))).unwrap_or_default();
        let close = Text::new(form.map_or("", |form| &form.close));
        let schema = match &plan.verdict {
            VerdictPlan::Guided { grammar, .. } => {
                grammar.json_schema().map(|(schema, _)| Text::new(&schema.to_string()))
            }
            VerdictPlan::Free { .. } => None,
        };
        let mut stopwatch = Stopwatch::new(submitted);
        stopwatch.start();
        let transcript = Transcript::new(false, tokens.len()).heard_by(listener.clone());
        Box::new(Self {
            desk,
            id,
            sampling,
            priority,
            listener,
            submitted,
            deadline,
            messages,
            tokens,
            open: Text::new(&open),
            close,
            schema,
            grammars: Vec::new(),
            stopwatch,
            transcript,
            reasoned: false,
            answer: Vec::new(),
            plan,
        })
    }

    /// Ends the reasoning, if there was one.
    fn close_reasoning(&mut self) {
        if std::mem::take(&mut self.reasoned) {
            let close = self.plan.reasoning.as_ref().map(|form| form.close.clone()).unwrap_or_default();
            self.transcript.close(close.as_bytes());
        }
        self.stopwatch.prefilled();
        self.stopwatch.reasoned();
    }

    fn write(&mut self, positions: Vec<Position>) {
        self.close_reasoning();
        for position in &positions {
            self.transcript.answer(position.token.bytes());
        }
        self.answer.extend(positions);
    }

    /// What was written.
    fn generation(mut self, cut: u32) -> Generation {
        self.close_reasoning();
        let transcript = &mut self.transcript;
        transcript.reasoning_truncated = cut & DICAST_CUT_REASONING != 0;
        transcript.verdict_truncated = cut & DICAST_CUT_VERDICT != 0;
        let has_choices = self.answer.iter().any(|position| !position.alternatives.is_empty());
        if let (VerdictPlan::Guided { grammar, .. }, true) = (&self.plan.verdict, has_choices) {
            let text = std::str::from_utf8(transcript.answered()).unwrap_or_default();
            transcript.distributions = if grammar.read(text).is_some() {
                logprobs::by_offset(grammar, text, self.answer.iter(), None)
            } else {
                logprobs::by_search(grammar, text, self.answer.iter(), None)
            };
        }
        self.transcript.finish(self.stopwatch.stop())
    }
}

/// How to generate the job. Set `plan->struct_size` before the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_plan(
    job: Option<&dicast_job>,
    plan: *mut dicast_plan,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let job = given(job, "job")?;
        let left = job.deadline.saturating_duration_since(Instant::now());
        let (guided, consistent, verdict_tokens) = match &job.plan.verdict {
            VerdictPlan::Guided { consistent, .. } => (1, u32::from(*consistent), 0),
            VerdictPlan::Free { max_tokens } => (0, 0, u64::from(*max_tokens)),
        };
        let value = dicast_plan {
            struct_size: size_of::<dicast_plan>(),
            id: job.id,
            temperature: job.sampling.temperature.into(),
            top_p: job.sampling.top_p.into(),
            seed: job.sampling.seed,
            top_k: job.sampling.top_k,
            priority: number_of(job.priority),
            time_left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
            reasons: job.plan.reasoning.is_some().into(),
            guided,
            consistent,
            heard: job.listener.is_some().into(),
            reasoning_tokens: job.plan.reasoning.as_ref().map_or(0, |form| form.budget.into()),
            verdict_tokens,
            open: job.open.view(),
            close: job.close.view(),
        };
        // SAFETY: the struct announces its size.
        unsafe { layout::write(plan, &value) }
    })
}

/// A priority as a C constant.
pub(super) fn number_of(priority: Priority) -> i32 {
    match priority {
        Priority::Low => DICAST_PRIORITY_LOW,
        Priority::Normal => DICAST_PRIORITY_NORMAL,
        Priority::High => DICAST_PRIORITY_HIGH,
    }
}

/// A priority from a C constant.
pub(super) fn priority_of(number: i32) -> Result<Priority> {
    match number {
        DICAST_PRIORITY_LOW => Ok(Priority::Low),
        DICAST_PRIORITY_NORMAL => Ok(Priority::Normal),
        DICAST_PRIORITY_HIGH => Ok(Priority::High),
        other => Err(misuse(format!("priority is {other}: it must be one of DICAST_PRIORITY_…"))),
    }
}

/// Number of messages; 0 for an engine that takes tokens, and for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_message_count(job: Option<&dicast_job>) -> usize {
    boundary!(else 0; { Some(job?.messages.len()) })
}

/// The role of the message at `index`: `system` or `user`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_message_role(job: Option<&dicast_job>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(job?.messages.get(index)?.0.view()) })
}

/// The text of the message at `index`; `data` is NULL out of range. It is text of users: the engine must not read control
/// tokens in it.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_message_content(job: Option<&dicast_job>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(job?.messages.get(index)?.1.view()) })
}

/// The ids of the prompt's tokens, for an engine that takes tokens. If `len` is not NULL, `*len` becomes their number. NULL and
/// 0 for an engine that takes messages.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_tokens(job: Option<&dicast_job>, len: Option<&mut MaybeUninit<usize>>) -> *const u32 {
    boundary!(else std::ptr::null(); {
        let tokens = job.map(|job| &job.tokens[..]).filter(|tokens| !tokens.is_empty());
        if let Some(len) = len {
            len.write(tokens.map_or(0, <[u32]>::len));
        }
        tokens.map(<[u32]>::as_ptr)
    })
}

/// The grammar of the text that may follow `answered`, which is the verdict so far, empty at first. `notation` is one of
/// DICAST_NOTATION_…. `*last` becomes 1 if the verdict is complete after this grammar. Otherwise, as for long or consistent
/// rankings, call it again with the whole verdict written by then. `*grammar` belongs to the job.
///
/// DICAST_UNSUPPORTED for a job that is not guided; DICAST_INVALID_VERDICT if `answered` is not in the grammar.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_grammar(
    job: Option<&mut dicast_job>,
    answered: dicast_str,
    notation: u32,
    grammar: Option<&mut MaybeUninit<dicast_str>>,
    last: Option<&mut MaybeUninit<u32>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (job, out) = (given(job, "job")?, given(grammar, "grammar")?);
        let VerdictPlan::Guided { grammar, consistent } = &job.plan.verdict else {
            return Err(Error::new(ErrorKind::Unsupported, "the verdict of this job is free text"));
        };
        // SAFETY: the text lives during the call.
        let answered = unsafe { answered.text("answered", ErrorKind::InvalidVerdict)? };
        let stage = if answered.is_empty() {
            grammar.stage(&crate::decode::grammar::Written::default(), *consistent)
        } else {
            let written = grammar.read(answered).ok_or_else(|| {
                Error::new(ErrorKind::InvalidVerdict, format!("what was written does not follow the grammar: {answered:?}"))
            })?;
            grammar.stage(&written, *consistent)
        };
        let text = match notation {
            DICAST_NOTATION_GBNF => stage.grammar.gbnf(None),
            DICAST_NOTATION_EBNF => stage.grammar.ebnf(None),
            DICAST_NOTATION_LARK => stage.grammar.lark(),
            other => return Err(misuse(format!("notation is {other}: it must be one of DICAST_NOTATION_…"))),
        };
        job.grammars.push(Text::new(&text));
        if let Some(last) = last {
            last.write(stage.last.into());
        }
        out.write(job.grammars.last().map_or(dicast_str::NONE, Text::view));
        Ok(())
    })
}

/// The verdicts as JSON Schema; `data` is NULL for a job that is not guided, and if the profile's layout is not JSON.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_schema(job: Option<&dicast_job>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(job?.schema.as_ref()?.view()) })
}

/// Whether anybody still waits for the job: false once it is cancelled, its deadline has passed, or the judge is closed. End it then.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_is_wanted(job: Option<&dicast_job>) -> bool {
    boundary!(else false; {
        let job = job?;
        Some(job.desk.is_wanted(job.id))
    })
}

/// Appends to the reasoning, without the texts that open and close it. Call it before the answer. An engine with
/// DICAST_GUIDANCE_NONE that cannot separate the two hands over its whole output as the answer: the tags are found in it.
///
/// DICAST_INVALID_ARGUMENT after the answer has begun, and for a job without a reasoning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_reason(
    job: Option<&mut dicast_job>,
    text: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let job = given(job, "job")?;
        // SAFETY: the text lives during the call.
        let text = unsafe { text.bytes("text")? };
        let Some(form) = &job.plan.reasoning else { return Err(misuse("this job has no reasoning: see dicast_plan.reasons")) };
        if !job.answer.is_empty() {
            return Err(misuse("the answer has begun: the reasoning comes before it"));
        }
        if !job.reasoned {
            job.reasoned = true;
            job.stopwatch.prefilled();
            let open = form.open.as_ref().map(|open| format!("{open}{}", form.prefix)).unwrap_or_default();
            job.transcript.reasons();
            job.transcript.open(open.as_bytes());
        }
        job.transcript.reason(text);
        Ok(())
    })
}

/// Appends text to the answer. Its scores then have no distribution.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_answer(
    job: Option<&mut dicast_job>,
    text: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let job = given(job, "job")?;
        // SAFETY: the text lives during the call.
        let token = Token::Bytes(unsafe { text.bytes("text")? }.to_vec());
        job.write(vec![Position { token, logprob: None, alternatives: Vec::new() }]);
        Ok(())
    })
}

/// Appends tokens to the answer. The tokens at the scores should have `choices`, from which expected scores are computed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_answer_tokens(
    job: Option<&mut dicast_job>,
    tokens: *const dicast_token,
    count: usize,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let job = given(job, "job")?;
        // SAFETY: the array has `count` entries, and everything in it lives during the call.
        let positions = unsafe { positions(tokens, count)? };
        job.write(positions);
        Ok(())
    })
}

/// Sets the token counts of the job, for dicast_verdict_usage. Unknown counts are 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_usage(
    job: Option<&mut dicast_job>,
    usage: *const dicast_usage,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let job = given(job, "job")?;
        // SAFETY: the struct announces its size.
        let usage = unsafe { layout::read(usage)? };
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        job.transcript.usage = crate::verdict::Usage {
            prompt_tokens: number(usage.prompt_tokens),
            reused_tokens: number(usage.reused_tokens),
            reasoning_tokens: number(usage.reasoning_tokens),
            verdict_tokens: number(usage.verdict_tokens),
            forced_tokens: number(usage.forced_tokens),
        };
        Ok(())
    })
}

/// Ends a job with what was written, and frees it. `cut` is 0, DICAST_CUT_REASONING, DICAST_CUT_VERDICT or both. Any thread,
/// also within the generate callback. A judgment that has already ended does not change. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_job_finish(job: Option<Box<dicast_job>>, cut: u32) {
    boundary!(else (); {
        let job = job?;
        let (desk, id) = (job.desk.clone(), job.id);
        // Reading what was written may be expensive, so only if somebody waits for it.
        if let Some(done) = desk.take(id) {
            done(Ok(job.generation(cut)));
        }
        Some(())
    });
}

/// Ends a job with a failure, and frees it. `status` is a status of this header, such as DICAST_ENGINE, DICAST_OVERLOADED or
/// DICAST_CONTEXT_OVERFLOW; any other number is DICAST_ENGINE. `message` is for people. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_job_fail(job: Option<Box<dicast_job>>, status: i32, message: dicast_str) {
    boundary!(else (); {
        let job = job?;
        // SAFETY: the text lives during the call.
        let said = unsafe { message.bytes("message") }.unwrap_or_default();
        if let Some(done) = job.desk.take(job.id) {
            let late = status == ErrorKind::Timeout.c_status();
            done(Err(if late {
                Error::timed_out(job.deadline.saturating_duration_since(job.submitted))
            } else {
                Error::new(kind_of(status), String::from_utf8_lossy(said))
            }));
        }
        Some(())
    });
}

/// The error kind of a status that an engine reports.
pub(super) fn kind_of(status: i32) -> ErrorKind {
    ErrorKind::all().find(|kind| kind.c_status() == status).unwrap_or(ErrorKind::Engine)
}
