//! The messages between parent and worker.
//!
//! A frame is its length, the length of its head, the head as JSON, and a tail of raw bytes for large data: token ids
//! and texts. Numbers are little-endian with 32 bits. Floating-point numbers are sent as their bits, so that a verdict
//! is the same to the last digit on both sides.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::JudgeConfig;
use crate::decode::plan::Plan;
use crate::engine::{Capabilities, EngineKind, Generation, Guidance, Input, Job, Patience, Priority, Sampling, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Profile;
use crate::verdict::{Timing, Usage};

/// Most bytes of a frame.
pub(super) const MAX_FRAME: usize = 64 << 20;

/// Orders of the parent to the worker. `u64`s are numbers of jobs and of questions, given by the parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first order: open this model.
    Open {
        /// The version of the library, which must be the same on both sides. Only this field is read before that is
        /// checked.
        version: String,
        parent: u32,
        config: Value,
        profile: Value,
    },
    /// Work on a job; `told`: report its reasoning while it is written. The tail is its [`encode_job`].
    Submit { id: u64, age_us: u64, left_us: u64, patience_us: Option<u64>, priority: u8, told: bool },
    /// End a job as cancelled.
    Cancel(u64),
    /// Answer with the counters; also used to see whether the worker answers at all.
    Stats(u64),
    /// Answer with the ids of the ordinary text in the tail.
    Tokenize(u64),
    /// Answer with the bytes of every token.
    Vocabulary(u64),
    /// Compute the prefix whose ids are the tail, within the time left, and keep it.
    Pin { number: u64, left_us: u64 },
    /// Keep a prefix no longer, even if it is still being computed.
    Unpin(u64),
    /// Whether current and later computations of prefixes end as cancelled.
    RefusePins(bool),
    /// End all jobs and the process.
    Close,
}

/// What the worker reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The model is open.
    Opened(Ready),
    /// The model cannot be opened.
    Failed(WireError),
    /// The engine begins with a patient job.
    Begun(u64),
    /// A job has ended.
    Ended(u64, std::result::Result<WireGeneration, WireError>),
    /// A piece of the reasoning of a job; the tail is its text.
    Reasoned(u64),
    /// The counters.
    Stats(u64, WireStats),
    /// The ids are the tail.
    Tokens(u64, std::result::Result<(), WireError>),
    /// The tail is [`encode_vocabulary`].
    Vocabulary(u64),
    /// A line of the log; the tail is its text.
    Said(u8),
    /// A prefix is computed, or could not be.
    Pinned(u64, std::result::Result<(), WireError>),
}

/// What the worker has opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    engine: String,
    guidance: u8,
    distributions: bool,
    context_tokens: Option<usize>,
    max_sequences: usize,
    /// Warnings about the model.
    pub(super) warnings: Vec<String>,
    /// The fingerprint of the model: a restarted worker must open the same one.
    pub(super) model: Value,
}

impl Ready {
    pub(super) fn new(capabilities: &Capabilities, warnings: &[String], model: Value) -> Self {
        let Capabilities { engine, guidance, distributions, context_tokens, max_sequences } = *capabilities;
        Self {
            engine: engine.name().to_owned(),
            guidance: guidance as u8,
            distributions,
            context_tokens,
            max_sequences,
            warnings: warnings.to_vec(),
            model,
        }
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let engine = match self.engine.as_str() {
            "local" => EngineKind::Local,
            "trtllm" => EngineKind::Trtllm,
            "remote" => EngineKind::Remote,
            _ => EngineKind::Custom("isolated"),
        };
        let all = [Guidance::None, Guidance::Schema, Guidance::Grammar];
        let guidance = all.into_iter().find(|guidance| *guidance as u8 == self.guidance).unwrap_or_default();
        Capabilities {
            engine,
            guidance,
            distributions: self.distributions,
            context_tokens: self.context_tokens,
            max_sequences: self.max_sequences,
        }
    }
}

/// An [`Error`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireError {
    kind: String,
    message: String,
    retryable: bool,
}

impl WireError {
    /// Whether the worker's engine is dead.
    pub(super) fn is_engine_dead(&self) -> bool {
        self.kind == ErrorKind::EngineDead.name()
    }
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name().to_owned(),
            message: error.message().to_owned(),
            retryable: error.is_retryable(),
        }
    }
}

impl From<WireError> for Error {
    fn from(wire: WireError) -> Self {
        let kind = ErrorKind::all().find(|kind| kind.name() == wire.kind).unwrap_or(ErrorKind::Engine);
        Self::new(kind, wire.message).with_retryable(wire.retryable)
    }
}

/// A [`Generation`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireGeneration {
    raw: String,
    reasoning: Option<std::ops::Range<usize>>,
    answer: usize,
    distributions: Vec<Vec<u64>>,
    masses: Vec<u64>,
    reasoning_truncated: bool,
    verdict_truncated: bool,
    usage: Usage,
    timing: [Duration; 4],
}

impl From<Generation> for WireGeneration {
    fn from(generation: Generation) -> Self {
        let Generation {
            raw,
            reasoning,
            answer,
            distributions,
            masses,
            reasoning_truncated,
            verdict_truncated,
            usage,
            timing,
        } = generation;
        let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect();
        let (distributions, masses) = (distributions.into_iter().map(bits).collect(), bits(masses));
        let Timing { queue, prefill, reasoning: thought, verdict } = timing;
        let timing = [queue, prefill, thought, verdict];
        Self { raw, reasoning, answer, distributions, masses, reasoning_truncated, verdict_truncated, usage, timing }
    }
}

impl WireGeneration {
    /// # Errors
    /// [`ErrorKind::Internal`] if ranges do not fit the text, which would cause a panic later.
    pub(super) fn generation(self) -> Result<Generation> {
        let Self {
            raw,
            reasoning,
            answer,
            distributions,
            masses,
            reasoning_truncated,
            verdict_truncated,
            usage,
            timing,
        } = self;
        let fits =
            raw.is_char_boundary(answer) && reasoning.as_ref().is_none_or(|range| raw.get(range.clone()).is_some());
        if !fits {
            return Err(Error::new(ErrorKind::Internal, "the worker process reported ranges outside of its text"));
        }
        let numbers = |bits: Vec<u64>| bits.into_iter().map(f64::from_bits).collect();
        let (distributions, masses) = (distributions.into_iter().map(numbers).collect(), numbers(masses));
        let [queue, prefill, thought, verdict] = timing;
        let timing = Timing { queue, prefill, reasoning: thought, verdict };
        Ok(Generation {
            raw,
            reasoning,
            answer,
            distributions,
            masses,
            reasoning_truncated,
            verdict_truncated,
            usage,
            timing,
        })
    }
}

/// [`Stats`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct WireStats {
    waiting: usize,
    running: usize,
    reused_tokens: u64,
    computed_tokens: u64,
    steps: u64,
    kv_block_tokens: usize,
    kv_blocks: usize,
    kv_blocks_used: usize,
    kv_blocks_reused: u64,
    grammars_last_hour: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
}

/// The fields that have the same names in two structs.
macro_rules! same_fields {
    ($from:ident => $to:ident { $($field:ident),+ $(,)? }) => {
        impl From<$from> for $to {
            fn from($from { $($field),+ }: $from) -> Self {
                Self { $($field),+ }
            }
        }

        impl From<$to> for $from {
            fn from($to { $($field),+ }: $to) -> Self {
                Self { $($field),+ }
            }
        }
    };
}

same_fields!(Stats => WireStats {
    waiting, running, reused_tokens, computed_tokens, steps, kv_block_tokens, kv_blocks, kv_blocks_used, kv_blocks_reused,
    grammars_last_hour, drafted_tokens, accepted_tokens,
});

/// The head of a job; its token ids are the tail.
#[derive(Serialize, Deserialize)]
struct WireJob {
    shared_prefix: usize,
    plan: Plan,
    /// Temperature and nucleus, as bits.
    sampling: (u32, u32, u32, u64),
}

/// A job without its times. Equal jobs have equal bytes.
///
/// # Errors
/// [`ErrorKind::Internal`] for messages, [`ErrorKind::TooLarge`] for a job that fits no frame.
pub(super) fn encode_job(input: &Input, plan: Plan, sampling: Sampling) -> Result<Vec<u8>> {
    let Input::Tokens { ids, shared_prefix } = input else {
        return Err(Error::new(ErrorKind::Internal, "an engine in a worker process takes tokens, not messages"));
    };
    let Sampling { temperature, top_p, top_k, seed } = sampling;
    let sampling = (temperature.to_bits(), top_p.to_bits(), top_k, seed);
    let head = WireJob { shared_prefix: *shared_prefix, plan, sampling };
    let mut body = Vec::with_capacity(ids.len() * 4 + 1024);
    put_head(&mut body, &head)?;
    put_ids(&mut body, ids);
    if body.len() > MAX_FRAME / 2 {
        let message = format!("the judgment has {} bytes, which is too much for the worker process", body.len());
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(body)
}

/// Reads the output of [`encode_job`], `age` after its submission and `left` before its deadline.
pub(super) fn decode_job(body: &[u8], age: Duration, left: Duration, patience: Option<Patience>) -> io::Result<Job> {
    let (head, tail) = take_head::<WireJob>(body)?;
    let (temperature, top_p, top_k, seed) = head.sampling;
    let now = Instant::now();
    Ok(Job {
        input: Input::Tokens { ids: take_ids(tail)?, shared_prefix: head.shared_prefix },
        plan: head.plan,
        sampling: Sampling { temperature: f32::from_bits(temperature), top_p: f32::from_bits(top_p), top_k, seed },
        submitted: now.checked_sub(age).unwrap_or(now),
        deadline: now + left,
        patience,
        priority: Priority::default(),
        listener: None,
    })
}

/// The priority with this number.
pub(super) fn priority(number: u8) -> Priority {
    let all = [Priority::Low, Priority::Normal, Priority::High];
    all.into_iter().find(|priority| *priority as u8 == number).unwrap_or_default()
}

/// The configuration that a worker opens, from the first order.
pub(super) fn decode_config(config: Value, profile: &Value) -> Result<(JudgeConfig, Profile)> {
    let config: JudgeConfig = serde_json::from_value(config).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("the worker process got no configuration: {error}"))
    })?;
    Ok((config, Profile::from_json(&profile.to_string())?))
}

/// The bytes of all tokens by their ids; empty for an id without a token.
pub(super) fn encode_vocabulary<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut all = Vec::new();
    for token in tokens {
        all.extend(length(token.len()).to_le_bytes());
        all.extend_from_slice(token);
    }
    all
}

/// Reads the output of [`encode_vocabulary`].
pub(super) fn decode_vocabulary(mut bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    while !bytes.is_empty() {
        let (token, rest) = take_part(bytes)?;
        tokens.push(token.to_vec());
        bytes = rest;
    }
    Ok(tokens)
}

/// Token ids as a tail.
pub(super) fn put_ids(bytes: &mut Vec<u8>, ids: &[u32]) {
    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
}

/// Token ids from a tail.
pub(super) fn take_ids(bytes: &[u8]) -> io::Result<Vec<u32>> {
    let (ids, rest) = bytes.as_chunks::<4>();
    if rest.is_empty() { Ok(ids.iter().copied().map(u32::from_le_bytes).collect()) } else { Err(broken("token ids")) }
}

/// A whole frame.
///
/// # Errors
/// [`ErrorKind::TooLarge`] past [`MAX_FRAME`].
pub(super) fn frame(head: &impl Serialize, tail: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(tail.len() + 256);
    bytes.extend([0; 4]);
    put_head(&mut bytes, head)?;
    bytes.extend_from_slice(tail);
    let size = bytes.len() - 4;
    if size > MAX_FRAME {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("{size} bytes are too many for one frame to the worker process"),
        ));
    }
    bytes[..4].copy_from_slice(&length(size).to_le_bytes());
    Ok(bytes)
}

/// Reads a frame; `None` if the other side is gone and no frame has begun.
pub(super) fn read<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<(T, Vec<u8>)>> {
    let mut size = [0; 4];
    match input.read(&mut size[..1]) {
        Ok(0) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => input.read_exact(&mut size[..1])?,
        outcome => _ = outcome?,
    }
    input.read_exact(&mut size[1..])?;
    let size = u32::from_le_bytes(size) as usize;
    if size > MAX_FRAME {
        return Err(broken("length"));
    }
    // Grows with the bytes that arrive, so that a false length takes no memory.
    let mut bytes = Vec::with_capacity(size.min(1 << 16));
    if input.take(size as u64).read_to_end(&mut bytes)? < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (head, tail) = take_head(&bytes)?;
    let tail_start = bytes.len() - tail.len();
    bytes.drain(..tail_start);
    Ok(Some((head, bytes)))
}

fn put_head(bytes: &mut Vec<u8>, head: &impl Serialize) -> Result<()> {
    let start = bytes.len();
    bytes.extend([0; 4]);
    serde_json::to_writer(&mut *bytes, head)
        .map_err(|error| Error::new(ErrorKind::Internal, format!("a frame cannot be written: {error}")))?;
    let size = length(bytes.len() - start - 4);
    bytes[start..start + 4].copy_from_slice(&size.to_le_bytes());
    Ok(())
}

fn take_head<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<(T, &[u8])> {
    let (head, tail) = take_part(bytes)?;
    Ok((serde_json::from_slice(head)?, tail))
}

/// A length and that many bytes; and the rest.
fn take_part(bytes: &[u8]) -> io::Result<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| broken("part"))?;
    rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(|| broken("part"))
}

/// The length of a part. A length above 4 GiB is also above [`MAX_FRAME`], where it is refused.
fn length(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a frame with a broken {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::grammar::VerdictGrammar;
    use crate::decode::plan::{Reasoning, VerdictPlan};

    fn plan() -> Plan {
        let profile = Profile::builtin();
        let grammar = VerdictGrammar::new(&profile.verdict, profile.scale, "\n", &["a\"\u{0}é".into(), "b".into()]);
        let reasoning = Reasoning { open: None, prefix: "\n".into(), close: "</think>".into(), budget: 7 };
        Plan { reasoning: Some(reasoning), verdict: VerdictPlan::Guided { grammar, consistent: true } }
    }

    #[test]
    fn a_job_comes_back_as_it_was() {
        let input = Input::Tokens { ids: vec![0, 1, u32::MAX], shared_prefix: 2 };
        let sampling = Sampling { temperature: 0.1, top_p: 0.95, top_k: 3, seed: u64::MAX };
        let body = encode_job(&input, plan(), sampling).unwrap();
        assert_eq!(body, encode_job(&input, plan(), sampling).unwrap(), "equal jobs have equal bytes");
        let job = decode_job(&body, Duration::from_secs(2), Duration::from_secs(3), None).unwrap();
        assert_eq!((job.input, job.plan, job.sampling), (input, plan(), sampling));
        assert_eq!(job.deadline - job.submitted, Duration::from_secs(5));
    }

    #[test]
    fn a_generation_comes_back_to_the_last_bit() {
        let numbers = vec![0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 0.0, -0.0];
        let made = || Generation {
            raw: "<think>\u{fffd}é</think>{}".into(),
            reasoning: Some(7..12),
            answer: 20,
            distributions: vec![numbers.clone(), vec![]],
            masses: numbers.clone(),
            reasoning_truncated: true,
            verdict_truncated: false,
            usage: Usage { prompt_tokens: 5, ..Usage::default() },
            timing: Timing { prefill: Duration::from_nanos(1), ..Timing::default() },
        };
        let json = serde_json::to_vec(&WireGeneration::from(made())).unwrap();
        let back = serde_json::from_slice::<WireGeneration>(&json).unwrap().generation().unwrap();
        let (wanted, bits) = (made(), |all: &[Vec<f64>]| format!("{all:?}"));
        assert_eq!(bits(&back.distributions), bits(&wanted.distributions));
        assert_eq!(bits(&[back.masses]), bits(&[wanted.masses]));
        assert_eq!((back.raw, back.reasoning, back.answer), (wanted.raw, wanted.reasoning, wanted.answer));
        assert_eq!((back.usage, back.timing), (wanted.usage, wanted.timing));
        let outside = WireGeneration { answer: 9, ..WireGeneration::from(made()) };
        assert_eq!(outside.generation().unwrap_err().kind(), ErrorKind::Internal);
    }

    #[test]
    fn frames_are_read_one_by_one_and_broken_ones_are_errors() {
        let mut bytes = frame(&Order::Tokenize(3), b"text").unwrap();
        bytes.extend(frame(&Order::Cancel(4), b"").unwrap());
        let mut input = bytes.as_slice();
        assert!(matches!(read::<Order>(&mut input), Ok(Some((Order::Tokenize(3), tail))) if tail == b"text"));
        assert!(matches!(read::<Order>(&mut input), Ok(Some((Order::Cancel(4), tail))) if tail.is_empty()));
        assert!(matches!(read::<Order>(&mut input), Ok(None)));
        let whole = frame(&Order::Tokenize(3), b"text").unwrap();
        for end in 1..whole.len() {
            assert!(read::<Order>(&mut &whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 127, 255] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = read::<Order>(&mut damaged.as_slice());
            }
        }
        assert!(read::<Order>(&mut [255_u8; 64].as_slice()).is_err(), "no frame is that long");
    }

    #[test]
    fn a_vocabulary_and_errors_come_back() {
        let tokens: [&[u8]; 3] = [b"a", b"", b"\xff\x00"];
        assert_eq!(decode_vocabulary(&encode_vocabulary(tokens.into_iter())).unwrap(), tokens);
        assert!(decode_vocabulary(&[9, 0, 0, 0, 1]).is_err());
        let error = Error::new(ErrorKind::InvalidVerdict, "x").with_retryable(false);
        let back = Error::from(WireError::from(&error));
        assert_eq!((back.kind(), back.message(), back.is_retryable()), (ErrorKind::InvalidVerdict, "x", false));
    }
}
