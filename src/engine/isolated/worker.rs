//! The worker's side: opens what [`Source`] finds, and works on the parent's orders until the parent closes it or is
//! gone.

use std::collections::HashMap;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::config::{Isolation, JudgeConfig};
use crate::engine::source::Source;
use crate::engine::{Generation, Job, JobId, Listener, Opened, Patience, Pin};
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, Log};
use crate::prompt::profile::Profile;

use super::process;
use super::protocol::{self, Order, Ready, Report, WireGeneration};

/// Opens a model; gives its fingerprint too.
pub(super) type Opener = Box<dyn FnOnce(JudgeConfig, &Profile) -> Result<(Opened, Value)> + Send>;

/// Why a worker ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The parent has closed it, and the engine is closed.
    Closed,
    /// The parent is gone; the engine may still be working.
    Orphaned,
}

/// Runs this process as the worker of another one, which has its end of the socket that is standard input here. For the
/// program that `local.worker_path` or `trtllm.program_path` names; it is started with [`super::VERB`] as its only argument.
///
/// A program of your own that embeds the judge can be its own worker: it calls this first thing in `main` when that is
/// its argument, and sets `local.worker_path` or `trtllm.program_path` to its own path.
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] if no judge has started this process.
pub fn serve() -> Result<ExitCode> {
    let stream = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(stream) = stream.and_then(|stream| stream.peer_addr().map(|_| stream)) else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{} is what a judge starts by itself (local.isolation): there is none here", super::VERB),
        ));
    };
    match serve_on(stream, process::die_with, Box::new(open)) {
        Ok(End::Closed) => Ok(ExitCode::SUCCESS),
        Ok(End::Orphaned) | Err(_) => process::leave(),
    }
}

fn open(mut config: JudgeConfig, profile: &Profile) -> Result<(Opened, Value)> {
    config.local.isolation = Some(Isolation::None);
    config.trtllm.isolation = Isolation::None;
    let source = Source::find(&config.model)?;
    let fingerprint = source.fingerprint()?;
    Ok((source.open(&config, profile)?, fingerprint))
}

/// What the threads of a worker share.
struct Shared {
    opened: OnceLock<Opened>,
    /// The jobs that have not ended, by the parent's number; `None` while one is being submitted.
    jobs: Mutex<HashMap<u64, Option<JobId>>>,
    /// The prefixes that are kept, by the parent's number; `None` while one is being computed.
    pins: Mutex<HashMap<u64, Option<Pin>>>,
    out: Mutex<UnixStream>,
}

impl Shared {
    /// Sends a report. If the parent is gone, reading its orders shows that.
    fn report(&self, report: &Report, tail: &[u8]) {
        let frame = protocol::frame(report, tail);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A frame that is too large is a defect; the job must not end silently without a result.
        let sent = frame.map_err(io::Error::other).and_then(|frame| io::Write::write_all(&mut *out, &frame));
        if sent.is_err() {
            let _ = out.shutdown(Shutdown::Both);
        }
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Option<JobId>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pins(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Option<Pin>>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes a prefix on a separate thread, since that waits.
    fn pin(self: &Arc<Self>, number: u64, prefix: Vec<u32>, deadline: Instant) -> io::Result<()> {
        let (engine, shared) = (self.opened()?.engine.clone(), self.clone());
        self.pins().insert(number, None);
        let work = move || {
            let outcome = engine.pin(prefix, deadline);
            let (pin, outcome) = match outcome {
                Ok(pin) => (Some(pin), Ok(())),
                Err(error) => (None, Err((&error).into())),
            };
            let mut pins = shared.pins();
            // If the number is missing, the prefix is no longer wanted.
            let unwanted = match (pins.contains_key(&number), pin) {
                (true, Some(pin)) => pins.insert(number, Some(pin)).flatten(),
                (_, pin) => {
                    pins.remove(&number);
                    pin
                }
            };
            drop(pins);
            drop(unwanted);
            shared.report(&Report::Pinned(number, outcome), &[]);
        };
        if let Err(error) = std::thread::Builder::new().name("dicast-pin".into()).spawn(work) {
            self.pins().remove(&number);
            let error = Error::new(ErrorKind::Engine, format!("the thread of a prefix cannot be started: {error}"));
            self.report(&Report::Pinned(number, Err((&error).into())), &[]);
        }
        Ok(())
    }

    fn opened(&self) -> io::Result<&Opened> {
        self.opened.get().ok_or_else(|| io::Error::other("an order before the model is open"))
    }

    /// Tells the parent when the engine begins with a patient job.
    fn patience(self: &Arc<Self>, id: u64, timeout: Duration) -> Patience {
        let shared = self.clone();
        Patience::new(timeout, move |_| shared.report(&Report::Begun(id), &[]))
    }

    fn submit(self: &Arc<Self>, id: u64, mut job: Job, told: bool) -> io::Result<()> {
        let engine = &self.opened()?.engine;
        if told {
            // Weak: a job that waits in the engine must not keep it alive.
            let shared = Arc::downgrade(self);
            job.listener = Some(Listener::new(move |piece| {
                if let Some(shared) = shared.upgrade() {
                    shared.report(&Report::Reasoned(id), piece.as_bytes());
                }
            }));
        }
        self.jobs().insert(id, None);
        let shared = self.clone();
        let done = move |outcome: Result<Generation>| {
            shared.jobs().remove(&id);
            let outcome = outcome.map(WireGeneration::from).map_err(|error| (&error).into());
            shared.report(&Report::Ended(id, outcome), &[]);
        };
        let job = engine.submit(job, Box::new(done));
        if let Some(place) = self.jobs().get_mut(&id) {
            *place = Some(job);
        }
        Ok(())
    }
}

/// Works on the orders from `stream`. `parent` is called with the number of the parent's process.
pub(super) fn serve_on(
    stream: UnixStream,
    parent: impl FnOnce(u32) -> io::Result<()>,
    opener: Opener,
) -> io::Result<End> {
    let mut input = io::BufReader::new(stream.try_clone()?);
    let (jobs, pins) = (Mutex::default(), Mutex::default());
    let shared = Arc::new(Shared { opened: OnceLock::new(), jobs, pins, out: Mutex::new(stream) });
    let (mut opener, mut parent) = (Some(opener), Some(parent));
    let texts = tokenizing(&shared)?;
    loop {
        let Some((order, tail)) = protocol::read::<Order>(&mut input)? else { return Ok(End::Orphaned) };
        match order {
            Order::Open { version, parent: number, config, profile } => {
                if let Some(parent) = parent.take() {
                    parent(number)?;
                }
                let Some(opener) = opener.take() else { return Err(io::Error::other("a second model")) };
                let shared = shared.clone();
                // On a thread, so that questions are answered meanwhile.
                std::thread::Builder::new()
                    .name("dicast-open".into())
                    .spawn(move || open_for(&shared, &version, config, &profile, opener))?;
            }
            Order::Submit { id, age_us, left_us, patience_us, priority, told } => {
                let [age, left] = [age_us, left_us].map(Duration::from_micros);
                let patience = patience_us.map(|timeout| shared.patience(id, Duration::from_micros(timeout)));
                let mut job = protocol::decode_job(&tail, age, left, patience)?;
                job.priority = protocol::priority(priority);
                shared.submit(id, job, told)?;
            }
            Order::Cancel(id) => {
                let job = shared.jobs().get(&id).copied().flatten();
                if let Some(job) = job {
                    shared.opened()?.engine.cancel(job);
                }
            }
            Order::Stats(number) => {
                let stats = shared.opened.get().map(|opened| opened.engine.stats()).unwrap_or_default();
                shared.report(&Report::Stats(number, stats.into()), &[]);
            }
            Order::Tokenize(number) => drop(texts.send((number, tail))),
            Order::Vocabulary(number) => {
                let tokenizer = shared.opened()?.text.as_ref().map(|text| &text.tokenizer);
                let tokens = tokenizer.map(|tokenizer| {
                    let ids = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
                    protocol::encode_vocabulary(ids.map(|id| tokenizer.token_bytes(id).unwrap_or_default()))
                });
                shared.report(&Report::Vocabulary(number), &tokens.unwrap_or_default());
            }
            Order::Pin { number, left_us } => {
                let deadline = Instant::now() + Duration::from_micros(left_us);
                shared.pin(number, protocol::take_ids(&tail)?, deadline)?;
            }
            Order::Unpin(number) => {
                let pin = shared.pins().remove(&number);
                drop(pin);
            }
            Order::RefusePins(refuse) => {
                if let Some(opened) = shared.opened.get() {
                    opened.engine.refuse_pins(refuse);
                }
            }
            Order::Close => {
                if let Some(opened) = shared.opened.get() {
                    opened.engine.close();
                }
                return Ok(if shared.opened.get().is_some() { End::Closed } else { End::Orphaned });
            }
        }
    }
}

/// Opens the model and reports the outcome.
fn open_for(shared: &Arc<Shared>, version: &str, config: Value, profile: &Value, open: Opener) {
    let opening = || {
        if version != super::VERSION {
            return Err(Error::new(
                ErrorKind::InvalidConfig,
                format!(
                    "the worker process is version {} of dicast, the library {version}: set local.worker_path (for \
                     TensorRT-LLM trtllm.program_path) to a dicast of the same version",
                    super::VERSION
                ),
            ));
        }
        let (config, profile) = protocol::decode_config(config, profile)?;
        let (made, model) = open(config, &profile)?;
        let ready = Ready::new(made.engine.capabilities(), made.engine.warnings(), model);
        // Weak: the engine must not keep what holds it.
        let parent = Arc::downgrade(shared);
        made.engine.log_to(&Log::new(Level::Info, move |level, line| {
            if let Some(shared) = parent.upgrade() {
                shared.report(&Report::Said(level as u8), line.as_bytes());
            }
        }));
        if shared.opened.set(made).is_err() {
            return Err(Error::new(ErrorKind::Internal, "the worker process opened two models"));
        }
        Ok(ready)
    };
    let outcome = catch_unwind(AssertUnwindSafe(opening))
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "opening the model panicked")));
    match outcome {
        Ok(ready) => shared.report(&Report::Opened(ready), &[]),
        Err(error) => shared.report(&Report::Failed((&error).into()), &[]),
    }
}

/// Starts the thread that tokenizes, so that a long text delays no other order.
fn tokenizing(shared: &Arc<Shared>) -> io::Result<Sender<(u64, Vec<u8>)>> {
    let (texts, inbox) = channel::<(u64, Vec<u8>)>();
    // Weak: this thread must not keep the engine or its end of the stream once the others are gone.
    let shared = Arc::downgrade(shared);
    let work = move || {
        while let Ok((number, text)) = inbox.recv() {
            let Some(shared) = shared.upgrade() else { break };
            let tokenizer = shared.opened.get().and_then(|opened| opened.text.as_ref()).map(|text| &text.tokenizer);
            let ids = match tokenizer {
                Some(tokenizer) => tokenizer.encode_text(&String::from_utf8_lossy(&text)),
                None => Err(Error::new(ErrorKind::Internal, "this engine has no tokenizer")),
            };
            let mut tail = Vec::new();
            let outcome = ids.map(|ids| protocol::put_ids(&mut tail, &ids)).map_err(|error| (&error).into());
            shared.report(&Report::Tokens(number, outcome), &tail);
        }
    };
    std::thread::Builder::new().name("dicast-tokenize".into()).spawn(work)?;
    Ok(texts)
}
