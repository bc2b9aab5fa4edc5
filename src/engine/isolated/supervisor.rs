//! The parent's side of a worker: starts it, watches it, ends it, and restarts it when it has died.
//!
//! One thread does all this, since the kernel ends a worker with the *thread* that started it. Two more threads serve
//! each worker: one writes orders, so that a worker that does not read delays no caller; the other reads reports and
//! calls completions.

mod pins;
mod start;

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{Completion, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::log::Log;
use crate::thread::{ThreadId, current};

use pins::Pins;
use start::{Unopened, said, start};

use super::ledger::{Failed, Held, Ledger};
use super::process::{Death, Launcher, Worker};
use super::protocol::{self, Order, Ready};

/// How often a busy worker is asked for a sign of life.
const PULSE: Duration = Duration::from_secs(1);

/// How long a worker may take to end in an orderly way.
const GRACE: Duration = Duration::from_secs(2);

/// Most openings in a row that may fail.
const OPENINGS: u32 = 3;

/// Deaths in a row, without one successful judgment between them, after which the engine is given up.
const FRUITLESS: u32 = 20;

/// A worker that lived this long did not die of the way in which it was started.
const STEADY: Duration = Duration::from_secs(60);

/// The longest pause before a worker is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A worker may work this many times `local.unresponsive_ms` on a job that has ended here: a step on a slow machine is
/// long.
const OVERDUE: u32 = 10;

/// An answer to a question.
pub(super) enum Answer {
    /// The counters were stored: see [`Shared::stats`].
    Stats,
    Tokens(Result<Vec<u32>>),
    Vocabulary(Vec<Vec<u8>>),
}

/// The state of the worker.
enum Phase {
    /// It is being started.
    Starting,
    /// It works.
    Up,
    /// It is given up, for this reason.
    Dead(String),
    /// The engine is closed.
    Closed,
}

/// The connection to the current worker.
struct Link {
    orders: Sender<Vec<u8>>,
    /// Its report on the opening.
    opened: Option<Result<Ready>>,
    /// Whether its stream has ended.
    ended: bool,
    /// Whether anything came from it since the last check.
    heard: bool,
    /// Why its engine is dead although the process lives.
    dead: Option<String>,
}

struct State {
    phase: Phase,
    link: Option<Link>,
    ledger: Ledger,
    pins: Pins,
    /// Where the worker's lines go.
    log: Log,
    window: usize,
    asked: HashMap<u64, Sender<Answer>>,
    next_question: u64,
    /// The counters of the current worker, and those of all workers before it.
    stats: Stats,
    earlier: Stats,
    /// Deaths since the last successful judgment.
    fruitless: u32,
    /// When the supervisor next checks by itself.
    wake: Option<Instant>,
    /// Threads that call completions.
    threads: Vec<ThreadId>,
}

/// What the engine's threads and its callers share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Signalled to all threads when the supervisor, or a thread that waits for the worker, must check again.
    changed: Condvar,
    /// The table of the engine's settings, for messages.
    table: &'static str,
    unresponsive: Duration,
}

/// What a worker is asked to open, and how to check that it is that.
pub(super) struct Opening {
    pub(super) order: Order,
    /// The fingerprint of the model.
    pub(super) model: serde_json::Value,
    /// The name of the model in messages.
    pub(super) place: String,
}

impl Shared {
    pub(super) fn new(table: &'static str, unresponsive: Duration) -> Arc<Self> {
        let state = State {
            phase: Phase::Starting,
            link: None,
            ledger: Ledger::default(),
            pins: Pins::default(),
            log: Log::none(),
            window: 1,
            asked: HashMap::new(),
            next_question: 0,
            stats: Stats::default(),
            earlier: Stats::default(),
            fruitless: 0,
            wake: None,
            threads: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), table, unresponsive })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Option<Duration>) -> MutexGuard<'a, State> {
        match most {
            Some(most) => self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Accepts a job, or ends it at once.
    pub(super) fn submit(&self, body: Result<Vec<u8>>, job: Held) -> u64 {
        let deadline = job.times.deadline;
        let mut state = self.state();
        let refusal = match (&state.phase, body) {
            (Phase::Closed, _) => Error::closed(),
            (Phase::Dead(reason), _) => Error::engine_dead(reason),
            (_, Err(error)) => error,
            (_, Ok(body)) => {
                let was_busy = state.ledger.is_busy();
                let id = state.ledger.add(body, job);
                let failed = state.send();
                // The supervisor sleeps if nothing runs, or until a later deadline.
                if !was_busy || state.wake.is_none_or(|wake| deadline < wake) {
                    self.changed.notify_all();
                }
                drop(state);
                fail(failed);
                return id;
            }
        };
        let id = state.ledger.number();
        drop(state);
        (job.done)(Err(refusal));
        id
    }

    /// Ends a job as cancelled, unless it has ended.
    pub(super) fn cancel(&self, id: u64) {
        let mut state = self.state();
        let completion = state.give_up(id);
        let failed = state.send();
        drop(state);
        if let Some(done) = completion {
            done(Err(Error::cancelled()));
        }
        fail(failed);
    }

    /// Asks the worker, once it is up, and waits for the answer.
    ///
    /// # Errors
    /// [`ErrorKind::Engine`] if there is no answer in time or the worker dies, [`ErrorKind::Closed`], and
    /// [`ErrorKind::EngineDead`].
    pub(super) fn ask(&self, order: impl FnOnce(u64) -> Order, tail: &[u8], most: Duration) -> Result<Answer> {
        let deadline = Instant::now() + most;
        let mut state = self.state();
        loop {
            match &state.phase {
                Phase::Closed => return Err(Error::closed()),
                Phase::Dead(reason) => return Err(Error::engine_dead(reason)),
                Phase::Up if state.link.as_ref().is_some_and(|link| !link.ended) => break,
                Phase::Up | Phase::Starting => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Engine, "the engine's worker process is still being started"));
            }
            state = self.wait(state, Some(left));
        }
        let number = state.next_question;
        state.next_question += 1;
        let frame = protocol::frame(&order(number), tail)?;
        let (asker, answer) = channel();
        state.asked.insert(number, asker);
        state.order(frame);
        self.changed.notify_all();
        drop(state);
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = answer.recv_timeout(left).map_err(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => "did not answer in time",
                RecvTimeoutError::Disconnected => "died before it answered: it is being started again",
            };
            Error::new(ErrorKind::Engine, format!("the engine's worker process {what}"))
        });
        if answer.is_err() {
            self.state().asked.remove(&number);
        }
        answer
    }

    /// The counters of all workers so far, as of the last answer.
    pub(super) fn stats(&self) -> Stats {
        let state = self.state();
        let (now, earlier) = (&state.stats, &state.earlier);
        let running = now.running.min(state.ledger.len());
        Stats { running, waiting: state.ledger.len() - running, ..now.after(earlier) }
    }

    pub(super) fn log_to(&self, log: &Log) {
        self.state().log = log.clone();
    }

    /// Whether the calling thread is one that calls completions.
    pub(super) fn is_own_thread(&self) -> bool {
        self.state().threads.contains(&current().id())
    }

    /// Ends all jobs as closed. The supervisor then ends the worker and itself.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.phase = Phase::Closed;
        let completions = state.ledger.clear();
        state.asked.clear();
        state.pins.end(Error::shut_down);
        self.changed.notify_all();
        drop(state);
        for done in completions {
            done(Err(Error::shut_down()));
        }
    }
}

impl State {
    fn order(&self, frame: Vec<u8>) {
        if let Some(link) = &self.link {
            // If the writer is gone, its stream has ended, and the reader reports that.
            let _ = link.orders.send(frame);
        }
    }

    /// Sends the jobs that the worker has room for. Gives those that are refused.
    fn send(&mut self) -> Vec<Failed> {
        let Some(Link { orders, ended: false, .. }) = &self.link else { return Vec::new() };
        if !matches!(self.phase, Phase::Up) {
            return Vec::new();
        }
        let now = Instant::now();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.ledger.send(self.window, |job| {
            let age_us = micros(now.saturating_duration_since(job.submitted));
            let left_us = micros(job.deadline.saturating_duration_since(now));
            // Its size was checked when it was encoded.
            let (patience_us, priority, told) = (job.patience.map(micros), job.priority as u8, job.told);
            let order = Order::Submit { id: job.id, age_us, left_us, patience_us, priority, told };
            if let Ok(frame) = protocol::frame(&order, job.body) {
                let _ = orders.send(frame);
            }
        })
    }

    /// Ends a job here; the worker is also asked to end it.
    fn give_up(&mut self, id: u64) -> Option<Completion> {
        let (done, in_worker) = self.ledger.give_up(id)?;
        if in_worker && let Ok(frame) = protocol::frame(&Order::Cancel(id), &[]) {
            self.order(frame);
        }
        Some(done)
    }
}

fn fail(failed: Vec<Failed>) {
    for (done, error) in failed {
        done(Err(error));
    }
}

/// A worker with the threads that serve it.
struct Served {
    worker: Box<dyn Worker>,
    stream: UnixStream,
    threads: Vec<crate::thread::JoinHandle<()>>,
}

/// Why the supervisor stops watching a worker.
enum Verdict {
    /// Its stream has ended.
    Ended,
    /// It must be killed, for this reason.
    Stuck(String),
    /// Its engine is dead, for this reason: it must be killed, and a judgment may be at fault.
    Broken(String),
    /// The engine was closed.
    Closed,
}

/// Runs the supervisor, until the engine is closed or given up. `first` gets the outcome of the first opening.
pub(super) fn run(
    shared: &Arc<Shared>,
    mut launcher: Box<dyn Launcher>,
    opening: &Opening,
    first: &Sender<Result<Ready>>,
) {
    shared.state().threads.push(current().id());
    let mut opened_once = false;
    let mut failures = 0;
    loop {
        let outcome = start(shared, launcher.as_mut(), opening);
        let (served, ready) = match outcome {
            Ok(started) => started,
            Err(Unopened { error, outside }) => {
                failures += 1;
                let closed = matches!(shared.state().phase, Phase::Closed);
                // A kill from outside while a worker opens the model says nothing about the model.
                let most = if outside { FRUITLESS } else { OPENINGS };
                if closed || !opened_once || failures >= most {
                    give_up(shared, &format!("it could not be opened again: {error}"));
                    let _ = first.send(Err(error));
                    return;
                }
                pause(shared, failures);
                continue;
            }
        };
        failures = 0;
        opened_once = true;
        let failed = {
            let mut state = shared.state();
            if matches!(state.phase, Phase::Starting) {
                state.phase = Phase::Up;
            }
            let decoded = ready.capabilities().max_sequences;
            // A few jobs are ready in the worker, so that no place there stays empty.
            state.window = decoded + (decoded / 4).max(1);
            shared.changed.notify_all();
            state.send_pins();
            state.send()
        };
        fail(failed);
        let _ = first.send(Ok(ready));
        let up = Instant::now();
        let (stuck, broken) = match watch(shared) {
            Verdict::Closed => {
                close(shared, served);
                return;
            }
            Verdict::Ended => (None, false),
            Verdict::Stuck(why) => (Some(why), false),
            Verdict::Broken(why) => (Some(why), true),
        };
        if up.elapsed() > STEADY {
            shared.state().fruitless = 0;
        }
        bury(shared, served, stuck.as_deref(), broken);
        let fruitless = shared.state().fruitless;
        if fruitless >= FRUITLESS {
            give_up(shared, &format!("its worker process died {fruitless} times, and no judgment ended in between"));
            return;
        }
        if fruitless > 1 {
            pause(shared, fruitless - 1);
        }
    }
}

/// Gives up the engine for good.
fn give_up(shared: &Shared, reason: &str) {
    let mut state = shared.state();
    if !matches!(state.phase, Phase::Closed) {
        state.phase = Phase::Dead(reason.to_owned());
    }
    let completions = state.ledger.clear();
    state.asked.clear();
    state.pins.end(|| Error::engine_dead(reason));
    shared.changed.notify_all();
    drop(state);
    for done in completions {
        done(Err(Error::engine_dead(reason)));
    }
}

/// Waits before a worker is started again: the more deaths, the longer. Deadlines are kept meanwhile.
fn pause(shared: &Shared, deaths: u32) {
    let pause = (Duration::from_millis(50) * 2_u32.saturating_pow(deaths.min(10))).min(LONGEST_PAUSE);
    let until = Instant::now() + pause;
    let mut state = shared.state();
    while !matches!(state.phase, Phase::Closed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let failed = expire(&mut state);
        if failed.is_empty() {
            let next = next_look(&mut state, Some(until));
            state = shared.wait(state, next);
        } else {
            drop(state);
            fail(failed);
            state = shared.state();
        }
    }
}

/// How long until the next deadline or `at`.
fn next_look(state: &mut State, at: Option<Instant>) -> Option<Duration> {
    state.wake = state.ledger.next_deadline().into_iter().chain(at).min();
    state.wake.map(|wake| wake.saturating_duration_since(Instant::now()))
}

/// Takes out the jobs whose deadline has passed.
fn expire(state: &mut State) -> Vec<Failed> {
    let expired = state.ledger.expired(Instant::now());
    if expired.is_empty() {
        return Vec::new();
    }
    let timed_out = |(id, had)| state.give_up(id).map(|done| (done, Error::timed_out(had)));
    let mut failed: Vec<Failed> = expired.into_iter().filter_map(timed_out).collect();
    failed.extend(state.send());
    failed
}

/// Watches a worker: until it has opened the model, then until it dies or the engine is closed. Keeps deadlines, and
/// checks whether the worker still answers. Sleeps while there is nothing to do.
fn watch(shared: &Shared) -> Verdict {
    let pulse = PULSE.min(shared.unresponsive / 4);
    let mut state = shared.state();
    // Counted in checks, not by the clock: if the whole program was stopped, the worker is not to blame.
    let mut silent = Duration::ZERO;
    let mut was_busy = false;
    let mut last = Instant::now();
    let mut asked: Option<Instant> = None;
    loop {
        if matches!(state.phase, Phase::Closed) {
            return Verdict::Closed;
        }
        let starting = matches!(state.phase, Phase::Starting);
        let Some(link) = &mut state.link else { return Verdict::Ended };
        let heard = std::mem::take(&mut link.heard);
        if link.ended || (starting && link.opened.is_some()) {
            return Verdict::Ended;
        }
        if let Some(why) = link.dead.take() {
            return Verdict::Broken(format!("its engine died ({why})"));
        }
        let failed = expire(&mut state);
        if !failed.is_empty() {
            drop(state);
            fail(failed);
            // The lock was released meanwhile: check everything again.
            state = shared.state();
            continue;
        }
        let passed = if was_busy { last.elapsed().min(pulse * 2) } else { Duration::ZERO };
        last = Instant::now();
        was_busy = starting || state.ledger.is_busy() || state.pins.is_busy() || !state.asked.is_empty();
        silent = if heard || !was_busy { Duration::ZERO } else { silent + passed };
        if silent > shared.unresponsive {
            return Verdict::Stuck(format!("it did not answer for {}.unresponsive_ms", shared.table));
        }
        if state.ledger.overdue(passed) > shared.unresponsive * OVERDUE {
            return Verdict::Stuck("it did not end a judgment that was cancelled or past its deadline".into());
        }
        if was_busy && asked.is_none_or(|asked| asked.elapsed() >= pulse) {
            asked = Some(last);
            // No caller waits for this answer: it is a sign of life.
            if let Ok(frame) = protocol::frame(&Order::Stats(u64::MAX), &[]) {
                state.order(frame);
            }
        }
        let next = next_look(&mut state, was_busy.then(|| last + pulse));
        state = shared.wait(state, next);
    }
}

/// Ends a worker and the threads that serve it.
fn end(shared: &Shared, served: Served, grace: Duration, ours: Option<&str>) -> Death {
    let Served { worker, stream, threads } = served;
    // Releases a writer whose worker does not read, and tells a living worker to end.
    let _ = stream.shutdown(Shutdown::Both);
    let death = worker.end(grace, ours);
    // The writer ends with its sender.
    shared.state().link = None;
    for thread in threads {
        let id = thread.thread().id();
        let _ = thread.join();
        shared.state().threads.retain(|own| *own != id);
    }
    death
}

/// A worker has died, or must die because of `stuck`: fails its jobs with an error that allows a retry. `broken`: a job
/// may be at fault, though the process did not crash.
fn bury(shared: &Shared, served: Served, stuck: Option<&str>, broken: bool) {
    {
        let mut state = shared.state();
        if !matches!(state.phase, Phase::Closed) {
            state.phase = Phase::Starting;
        }
    }
    // A worker that has closed its stream is ending; a stuck one is not.
    let death = end(shared, served, if stuck.is_some() { Duration::ZERO } else { GRACE }, stuck);
    let mut state = shared.state();
    let completions = state.ledger.died(death.crashed || broken);
    state.pins.died(death.crashed || broken, || pins::died(&death.how, &said(&death)));
    state.asked.clear();
    state.fruitless += 1;
    state.earlier = std::mem::take(&mut state.stats).after(&state.earlier);
    drop(state);
    for done in completions {
        let message = format!(
            "the engine's worker process {} while it worked on this judgment{}; it is being started again: send the request \
             again",
            death.how,
            said(&death)
        );
        done(Err(Error::new(ErrorKind::Engine, message)));
    }
}

/// The engine was closed: lets the worker end in an orderly way.
fn close(shared: &Shared, served: Served) {
    if let Ok(frame) = protocol::frame(&Order::Close, &[]) {
        shared.state().order(frame);
    }
    let until = Instant::now() + GRACE;
    let mut state = shared.state();
    while state.link.as_ref().is_some_and(|link| !link.ended) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        state = shared.wait(state, Some(left));
    }
    let ended = state.link.as_ref().is_some_and(|link| link.ended);
    drop(state);
    end(shared, served, if ended { GRACE } else { Duration::ZERO }, Some("the engine was closed"));
}
