//! The parent, with workers that are threads with a scripted engine.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use super::process::{Death, Worker};
use super::tests_pins::{Kept, Pinning};
use super::*;
use crate::decode::plan::{Plan, Reasoning, VerdictPlan};
use crate::engine::scripted::{Reply, Scripted};
use crate::engine::{Generation, Input, Listener, Patience, Priority, Sampling};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Condvar;

/// The prompt of a job that crashes its worker; next, of one that never ends, and of one on which the worker hangs.
pub(super) const CRASH: u32 = 666;
pub(super) const NEVER: u32 = 777;
const HANG: u32 = 888;
/// The prompt of a job that reasons.
const THINK: u32 = 999;

/// Starts workers that are threads.
#[derive(Clone, Default)]
pub(super) struct Threads {
    launched: Arc<AtomicU32>,
    /// How many workers, from the first, open the model; the others fail.
    fine: Option<u32>,
    /// Whether the others crash instead of reporting the error.
    crash: bool,
    /// From this worker on, the model is another one.
    changed: Option<u32>,
    stream: Arc<Mutex<Option<UnixStream>>>,
    /// The prefixes that they keep.
    pub(super) kept: Kept,
}

/// A worker, and its end of the stream.
struct Thread(UnixStream);

impl Worker for Thread {
    fn end(self: Box<Self>, _grace: Duration, ours: Option<&str>) -> Death {
        let _ = self.0.shutdown(Shutdown::Both);
        match ours {
            Some(why) => Death { how: format!("was ended because {why}"), crashed: false, words: String::new() },
            None => {
                Death { how: "was ended by signal 6 (SIGABRT)".into(), crashed: true, words: "GGML_ASSERT(x)".into() }
            }
        }
    }
}

impl Launcher for Threads {
    fn launch(&mut self) -> Result<(UnixStream, Box<dyn Worker>)> {
        let number = self.launched.fetch_add(1, Ordering::SeqCst);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let end = theirs.try_clone().unwrap();
        *self.stream.lock().unwrap() = Some(theirs.try_clone().unwrap());
        let (this, stream) = (self.clone(), theirs.try_clone().unwrap());
        let opener = move |_config: JudgeConfig, _profile: &Profile| {
            if this.fine.is_some_and(|fine| number >= fine) {
                if this.crash {
                    let _ = stream.shutdown(Shutdown::Both);
                }
                return Err(Error::new(ErrorKind::ModelNotFound, "the model is gone"));
            }
            let model = if this.changed.is_some_and(|first| number >= first) { 2 } else { 1 };
            Ok((script(stream, number, this.kept.clone()), model.into()))
        };
        std::thread::spawn(move || worker::serve_on(theirs, |_| Ok(()), Box::new(opener)));
        Ok((ours, Box::new(Thread(end))))
    }
}

fn tokens() -> Vec<RawToken> {
    let token = |text: &str, kind| RawToken { bytes: text.as_bytes().to_vec(), kind };
    let mut tokens: Vec<_> =
        (b'a'..=b'z').map(|byte| token(&char::from(byte).to_string(), TokenKind::Normal)).collect();
    tokens.push(token("<|end|>", TokenKind::Control));
    tokens
}

/// The engine of a worker. A crash ends its stream.
fn script(stream: UnixStream, worker: u32, kept: Kept) -> Opened {
    let breaks = stream.try_clone().unwrap();
    let engine = Scripted::new(move |job, _| {
        let Input::Tokens { ids, .. } = &job.input else { panic!("tokens are sent") };
        match ids[0] {
            CRASH => {
                let _ = stream.shutdown(Shutdown::Both);
                Reply::never()
            }
            NEVER => Reply::never(),
            THINK => Reply::text("I compare the responses, one after the other.</think>{}"),
            HANG => {
                std::thread::sleep(Duration::from_secs(3));
                Reply::never()
            }
            _ => Reply::text(format!("{ids:?} seed {}", job.sampling.seed))
                .with_distributions(vec![vec![0.1 + 0.2, 1.0 / 3.0]]),
        }
    });
    let engine = engine.with_capabilities(|capabilities| capabilities.engine = EngineKind::Local);
    let (inner, refused, changed) = (engine.opened().engine, Mutex::new(false), Condvar::new());
    let engine = Arc::new(Pinning { inner, stream: breaks, worker, kept, refused, changed });
    let encode = |text: &str| Ok(text.bytes().map(|byte| u32::from(byte - b'a')).collect());
    let tokenizer = Arc::new(Tokenizer::from_encoder(Box::new(encode), tokens()).unwrap());
    let text = TextModel { chat_template: String::new(), bos: None, eos: None, tokenizer };
    Opened { engine, text: Some(text) }
}

fn parts() -> TextParts {
    let kinds = tokens().into_iter().map(|token| token.kind).collect();
    TextParts { chat_template: "t".into(), bos: None, eos: Some("<|end|>".into()), tokenizer: None, kinds }
}

pub(super) fn open_threads(threads: &Threads, unresponsive_ms: u64) -> Result<Opened> {
    let mut config = JudgeConfig::new("model.gguf");
    config.local.unresponsive_ms = unresponsive_ms;
    open_with(Box::new(threads.clone()), model(&config, &Profile::builtin()), || Ok(parts()))
}

fn model<'a>(config: &'a JudgeConfig, profile: &'a Profile) -> Model<'a> {
    Model { table: Table::Local, place: "model.gguf".into(), fingerprint: 1.into(), config, profile }
}

type Outcome = Receiver<Result<Generation>>;

fn job(ids: &[u32], timeout: Duration) -> Job {
    Job {
        input: Input::Tokens { ids: ids.to_vec(), shared_prefix: 0 },
        plan: Plan { reasoning: None, verdict: VerdictPlan::Free { max_tokens: 9 } },
        sampling: Sampling { seed: 5, ..Sampling::GREEDY },
        submitted: Instant::now(),
        deadline: Instant::now() + timeout,
        patience: None,
        priority: Priority::default(),
        listener: None,
    }
}

fn submit(engine: &dyn Engine, ids: &[u32], timeout: Duration) -> (JobId, Outcome) {
    let (done, outcome) = channel();
    let id = engine.submit(job(ids, timeout), Box::new(move |result| drop(done.send(result))));
    (id, outcome)
}

pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) fn run(engine: &dyn Engine, ids: &[u32]) -> Result<Generation> {
    submit(engine, ids, LONG).1.recv_timeout(LONG).expect("every job ends once")
}

#[track_caller]
fn fails(outcome: Result<Generation>, kind: ErrorKind, retryable: bool, words: &[&str]) {
    let error = outcome.expect_err("the job must fail");
    assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error}");
    assert!(words.iter().all(|word| error.message().contains(word)), "{error}");
}

#[test]
fn a_job_goes_to_the_worker_and_its_generation_comes_back() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let generation = run(opened.engine.as_ref(), &[1, 2]).unwrap();
    assert_eq!(generation.raw, "[1, 2] seed 5");
    assert_eq!(generation.distributions, [[0.1 + 0.2, 1.0 / 3.0]]);
    assert_eq!(generation.usage.prompt_tokens, 2);
    let capabilities = opened.engine.capabilities();
    assert_eq!((capabilities.max_sequences, capabilities.distributions), (8, true));
    assert_eq!(opened.engine.stats(), Stats::default(), "nothing runs");
}

#[test]
fn the_reasoning_of_a_job_is_heard_out_of_the_worker() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let (heard, pieces) = channel();
    let (done, outcome) = channel();
    let reasoning = Reasoning { open: None, prefix: String::new(), close: "</think>".into(), budget: 1000 };
    let plan = Plan { reasoning: Some(reasoning), verdict: VerdictPlan::Free { max_tokens: 9 } };
    let listener = Some(Listener::new(move |piece| drop(heard.send(piece.to_owned()))));
    let job = Job { plan, listener, ..job(&[THINK], LONG) };
    opened.engine.submit(job, Box::new(move |result| drop(done.send(result))));
    let generation = outcome.recv_timeout(LONG).unwrap().unwrap();
    let pieces: Vec<String> = pieces.try_iter().collect();
    assert_eq!(pieces.concat(), generation.raw[generation.reasoning.unwrap()], "every piece came before the end");
    assert!(pieces.len() > 1, "{pieces:?}");
}

#[test]
fn a_vocabulary_that_only_the_engine_can_tokenize_is_the_workers() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let text = opened.text.unwrap();
    assert_eq!(text.tokenizer.encode_text("abc").unwrap(), [0, 1, 2]);
    assert_eq!((text.tokenizer.special("<|end|>"), text.tokenizer.is_control(26)), (Some(26), true));
    opened.engine.close();
    assert_eq!(text.tokenizer.encode_text("abc").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_crash_ends_what_was_in_the_worker_and_the_next_worker_goes_on() {
    let threads = Threads::default();
    let opened = open_threads(&threads, 30_000).unwrap();
    let engine = opened.engine.as_ref();
    let (_, beside) = submit(engine, &[NEVER], LONG);
    let words = ["signal 6 (SIGABRT)", "GGML_ASSERT(x)", "started again", "send the request again"];
    fails(run(engine, &[CRASH]), ErrorKind::Engine, true, &words);
    fails(beside.recv().unwrap(), ErrorKind::Engine, true, &words);
    assert_eq!(run(engine, &[3]).unwrap().raw, "[3] seed 5");
    assert_eq!(threads.launched.load(Ordering::SeqCst), 2);
}

#[test]
fn a_judgment_that_crashes_the_worker_again_when_it_is_alone_is_refused() {
    let threads = Threads::default();
    let opened = open_threads(&threads, 30_000).unwrap();
    let engine = opened.engine.as_ref();
    for _ in 0..2 {
        fails(run(engine, &[CRASH]), ErrorKind::Engine, true, &["SIGABRT"]);
    }
    for _ in 0..2 {
        fails(run(engine, &[CRASH]), ErrorKind::Engine, false, &["crashed", "twice", "refused"]);
    }
    assert_eq!(run(engine, &[3]).unwrap().raw, "[3] seed 5");
    assert_eq!(threads.launched.load(Ordering::SeqCst), 3);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let threads = Threads { fine: Some(0), ..Threads::default() };
    let error = open_threads(&threads, 30_000).err().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::ModelNotFound, "the model is gone"));
    let error = open_threads(&Threads { crash: true, ..threads.clone() }, 30_000).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
    let wanted =
        "model.gguf: the worker process was ended by signal 6 (SIGABRT) while it opened the model: GGML_ASSERT(x)";
    assert_eq!(error.message(), wanted);
    assert_eq!(threads.launched.load(Ordering::SeqCst), 2, "a first opening is not repeated");
}

#[test]
fn an_engine_that_cannot_be_opened_again_is_dead() {
    for changed in [false, true] {
        let threads = Threads { fine: (!changed).then_some(1), changed: changed.then_some(1), ..Threads::default() };
        let opened = open_threads(&threads, 30_000).unwrap();
        let engine = opened.engine.as_ref();
        fails(run(engine, &[CRASH]), ErrorKind::Engine, true, &["SIGABRT"]);
        let reason = if changed { "the model was changed" } else { "the model is gone" };
        let words = ["could not be opened again", reason, "open the judge again"];
        for _ in 0..2 {
            fails(run(engine, &[3]), ErrorKind::EngineDead, false, &words);
        }
        assert_eq!(threads.launched.load(Ordering::SeqCst), 4);
    }
}

#[test]
fn deadlines_and_cancellation_do_not_wait_for_the_worker() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let engine = opened.engine.as_ref();
    // Blocks the worker's reader of orders.
    let (_, hanging) = submit(engine, &[HANG], Duration::from_millis(300));
    let start = Instant::now();
    let (id, cancelled) = submit(engine, &[NEVER], LONG);
    engine.cancel(id);
    fails(cancelled.recv().unwrap(), ErrorKind::Cancelled, true, &[]);
    let (_, late) = submit(engine, &[1], Duration::from_millis(200));
    fails(late.recv().unwrap(), ErrorKind::Timeout, true, &["within 0.2"]);
    fails(hanging.recv().unwrap(), ErrorKind::Timeout, true, &["within 0.3"]);
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(run(engine, &[1]).unwrap().raw, "[1] seed 5", "the worker goes on");
}

#[test]
fn a_patient_job_has_its_time_from_when_the_worker_begins() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let engine = opened.engine.as_ref();
    let (begun, deadlines) = channel();
    let start = Instant::now();
    // Eight are decoded at once.
    let outcomes: Vec<_> = (0..20)
        .map(|_| {
            let (done, outcome) = channel();
            let (mut job, begun) = (job(&[NEVER], LONG), begun.clone());
            job.patience = Some(Patience::new(Duration::from_millis(300), move |at| begun.send(at).unwrap()));
            engine.submit(job, Box::new(move |result| drop(done.send(result))));
            outcome
        })
        .collect();
    for outcome in outcomes {
        fails(outcome.recv_timeout(LONG).unwrap(), ErrorKind::Timeout, true, &["within 0.3"]);
    }
    assert!(start.elapsed() >= Duration::from_millis(900), "three rounds, each with all of its time");
    assert_eq!(deadlines.try_iter().count(), 20);
}

#[test]
fn a_worker_that_does_not_answer_is_ended_and_started_again() {
    let threads = Threads::default();
    let opened = open_threads(&threads, 400).unwrap();
    let engine = opened.engine.as_ref();
    fails(run(engine, &[HANG]), ErrorKind::Engine, true, &["did not answer", "started again"]);
    assert_eq!(run(engine, &[1]).unwrap().raw, "[1] seed 5");
    assert_eq!(threads.launched.load(Ordering::SeqCst), 2);
}

#[test]
fn closing_ends_all_that_runs_and_waits() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let engine = opened.engine.as_ref();
    let outcomes: Vec<_> = (0..40).map(|_| submit(engine, &[NEVER], LONG).1).collect();
    engine.close();
    for outcome in outcomes {
        fails(outcome.try_recv().expect("no completion comes after the close"), ErrorKind::Closed, false, &[]);
    }
    fails(run(engine, &[1]), ErrorKind::Closed, false, &[]);
    engine.close();
}

#[test]
fn a_completion_may_close_the_engine() {
    let opened = open_threads(&Threads::default(), 30_000).unwrap();
    let (closed, end) = channel();
    let engine = opened.engine.clone();
    let done = move |_| {
        engine.close();
        closed.send(()).unwrap();
    };
    opened.engine.submit(job(&[1], LONG), Box::new(done));
    end.recv_timeout(LONG).expect("closing does not wait for itself");
}

#[test]
fn without_a_worker_program_the_error_names_the_setting() {
    let mut config = JudgeConfig::new("model.gguf");
    config.local.worker_path = Some("/no/such/dicast".into());
    let opened = open(model(&config, &Profile::builtin()), || Ok(parts()));
    let error = opened.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("local.worker_path is /no/such/dicast"), "{error}");
}
