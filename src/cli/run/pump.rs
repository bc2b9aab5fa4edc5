//! Keeps a bounded number of judgments running and writes their results in the order of the input.
//!
//! Three parties share one channel: a reader thread reads records when it is allowed to, the judge's threads hand over
//! outcomes, and this thread submits and writes. Nothing polls, and nothing grows without bound: at most [`WINDOW`] records for
//! each running judgment are read but not written yet.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver, Sender};

use dicast::{Error, ErrorKind, Judge, JudgeRequest, Verdict};

use super::super::Failure;
use super::earlier::{Earlier, Kept};
use super::formats::Records;
use super::lines::{Numbered, Place};
use super::sink::{Sink, Stop};
use super::tally::Tally;
use super::{Files, Work};

/// Records read ahead for each judgment that may run, so that results can wait for a slow one before them.
const WINDOW: usize = 16;
/// If this many records at the start are all not requests, the input is not the right file.
const MALFORMED: usize = 20;

/// How often a judgment is sent again after the engine failed during it, for example because its worker process died. If the
/// judgment itself is the cause, the engine refuses it before that.
const RETRIES: u32 = 10;

/// What takes requests. A trait, so that the order of events can be tested without a model.
pub(super) trait Judging {
    /// Starts a judgment; `done` is called once, from any thread.
    fn start(&self, request: JudgeRequest, done: Box<dyn FnOnce(dicast::Result<Verdict>) + Send>);
}

impl Judging for Judge {
    fn start(&self, request: JudgeRequest, done: Box<dyn FnOnce(dicast::Result<Verdict>) + Send>) {
        // There is room: no more run at once than the queue takes. The deadline starts when the engine begins.
        self.submit_when_free(&request).on_completion(done);
    }
}

/// What happens during a run.
pub(super) enum Event {
    /// The next record, or the end, or why the input cannot be read.
    Record(Result<Option<Numbered>, Failure>),
    /// The judgment of record `number` is over.
    Done {
        /// Number of the record.
        number: u64,
        /// Its outcome.
        outcome: Box<dicast::Result<Verdict>>,
    },
    /// The user wants to stop.
    Interrupted,
}

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The input is done.
    Complete,
    /// By the user.
    Interrupted,
    /// The reader of the output has closed it: it has seen what it wanted.
    ReaderGone,
    /// By an error that is not the fault of a record.
    Broken(Failure),
}

/// Starts the thread that reads records: one for each permit, until the permits' sender is dropped.
pub(super) fn read_ahead(mut records: impl Records + 'static, events: Sender<Event>) -> Sender<()> {
    let (permits, allowed) = mpsc::channel();
    // Detached, because it may hang in a read of standard input that never ends.
    std::thread::spawn(move || {
        while allowed.recv().is_ok() {
            let record = records.next_record();
            let is_last = !matches!(record, Ok(Some(_)));
            if events.send(Event::Record(record)).is_err() || is_last {
                break;
            }
        }
    });
    permits
}

/// Work under way.
pub(super) struct Pump<'a, W, J, S> {
    pub(super) work: &'a W,
    pub(super) judge: &'a J,
    pub(super) sink: &'a mut S,
    pub(super) files: &'a Files<'a>,
    /// Results of an earlier run that are kept if their record is still the same.
    pub(super) earlier: &'a mut Earlier,
    /// Most judgments running at once.
    pub(super) in_flight: usize,
    pub(super) permits: Sender<()>,
    pub(super) events: Sender<Event>,
    pub(super) incoming: Receiver<Event>,
}

/// A record that was read.
struct Slot<K> {
    place: Place,
    checksum: u64,
    state: State<K>,
}

/// The state of a record.
enum State<K> {
    /// Being judged; with what is kept of it, and the request, in case it must be sent again.
    Running { kept: K, request: Box<JudgeRequest>, tries: u32 },
    /// Its result waits to be written, as a line of the output.
    Ended(String),
    /// Its result is being made.
    Taken,
}

/// Whether the engine failed during a judgment, through no fault of the judgment.
fn failed_under_it(error: &Error) -> bool {
    error.kind() == ErrorKind::Engine && error.is_retryable()
}

impl<W: Work, J: Judging, S: Sink> Pump<'_, W, J, S> {
    /// Works from record `first` on. `progress` sees the tally after each change.
    pub(super) fn run(&mut self, first: u64, mut progress: impl FnMut(&Tally)) -> (Tally, Ended) {
        let mut tally = Tally::default();
        let ended = match self.work(first, &mut tally, &mut progress) {
            Ok(ended) => ended,
            Err(Stop::ReaderGone) => Ended::ReaderGone,
            Err(Stop::Failed(failure)) => Ended::Broken(failure),
        };
        (tally, ended)
    }

    fn work(&mut self, first: u64, tally: &mut Tally, progress: &mut impl FnMut(&Tally)) -> Result<Ended, Stop> {
        let mut slots: VecDeque<Slot<W::Kept>> = VecDeque::new();
        let mut front = first;
        // Records asked for, and running judgments. Together they stay below `in_flight`.
        let (mut asked, mut running) = (0, 0);
        let mut at_end = false;
        // Room for as many records as must be seen before the first is written.
        let window = (WINDOW * self.in_flight).max(MALFORMED);
        // Nothing is written until one record is a request, or the input ends.
        let mut trusted = first > 1;
        loop {
            trusted |= at_end || running > 0 || tally.judged > 0 || tally.kept > 0;
            while trusted && let Some(Slot { checksum, state: State::Ended(line), .. }) = slots.front() {
                self.sink.append(*checksum, line)?;
                tally.written += 1;
                progress(tally);
                slots.pop_front();
                front += 1;
            }
            if at_end && slots.is_empty() {
                self.earlier.must_be_over(self.files)?;
                return Ok(Ended::Complete);
            }
            if !trusted && slots.len() >= MALFORMED {
                return Err(self.malformed(tally).into());
            }
            while !at_end && asked + running < self.in_flight && slots.len() + asked < window {
                // A reader that has ended has already sent its last event.
                let _ = self.permits.send(());
                asked += 1;
            }
            match self.incoming.recv().expect("this thread holds a sender itself") {
                Event::Interrupted => return Ok(Ended::Interrupted),
                Event::Record(Ok(None)) => at_end = true,
                Event::Record(Err(failure)) => return Err(failure.into()),
                Event::Record(Ok(Some(record))) => {
                    asked -= 1;
                    let (place, checksum) = (record.place, record.checksum);
                    let state = match self.earlier.take(&record, self.files)? {
                        Some(Kept { line, failed }) => {
                            tally.keep(failed);
                            State::Ended(line)
                        }
                        None => self.start(record, &mut running, tally)?,
                    };
                    slots.push_back(Slot { place, checksum, state });
                }
                Event::Done { number, outcome } => {
                    if let Err(error) = outcome.as_ref()
                        && matches!(error.kind(), ErrorKind::Closed | ErrorKind::EngineDead)
                    {
                        // Every further record would fail in the same way, which is not a result of these records.
                        return Err(Failure::from(Error::new(error.kind(), error.message()))
                            .hint("what is done is kept: run the same command again to continue")
                            .into());
                    }
                    let slot = usize::try_from(number - front).ok().and_then(|index| slots.get_mut(index));
                    let slot = slot.expect("a judgment is started for a record that waits here");
                    if let State::Running { kept, request, tries } = std::mem::replace(&mut slot.state, State::Taken) {
                        if tries < RETRIES && (*outcome).as_ref().is_err_and(failed_under_it) {
                            self.submit(number, (*request).clone());
                            slot.state = State::Running { kept, request, tries: tries + 1 };
                            continue;
                        }
                        running -= 1;
                        tally.add(&outcome, slot.place);
                        slot.state = State::Ended(self.work.line(kept, *outcome)?);
                    }
                }
            }
        }
    }

    /// Starts the judgment of a record.
    fn start(&self, record: Numbered, running: &mut usize, tally: &mut Tally) -> Result<State<W::Kept>, Failure> {
        let (number, place) = (record.number, record.place);
        match self.work.request(record) {
            (kept, Ok(request)) => {
                *running += 1;
                self.submit(number, request.clone());
                Ok(State::Running { kept, request: Box::new(request), tries: 0 })
            }
            (kept, Err(error)) => {
                let outcome = Err(error);
                tally.add(&outcome, place);
                Ok(State::Ended(self.work.line(kept, outcome)?))
            }
        }
    }

    /// Hands a request to the judge.
    fn submit(&self, number: u64, request: JudgeRequest) {
        let events = self.events.clone();
        let done = move |outcome| {
            // Nobody listens any more after an interruption.
            let _ = events.send(Event::Done { number, outcome: Box::new(outcome) });
        };
        self.judge.start(request, Box::new(done));
    }

    /// The failure if the input is not a file of requests.
    fn malformed(&self, tally: &Tally) -> Failure {
        let first = tally.first_failure().unwrap_or_default();
        Failure::new(
            ErrorKind::InvalidConfig,
            format!("none of the first {MALFORMED} records of {} is a request: {first}", self.files.input_name()),
        )
        .hint("nothing was judged; --prompt-key, --responses-key and --principle say where the parts of a request are")
    }
}
