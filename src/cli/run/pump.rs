//! Keeps a bounded number of judgments running and writes their results in the order of the input.
//!
//! Three parties and one channel: a reader thread takes lines when it is allowed to, the judge's threads hand over
//! outcomes, and this thread submits and writes. Nothing polls, and nothing grows: what is read but not written yet is at
//! most [`WINDOW`] lines for each running judgment.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::mpsc::{self, Receiver, Sender};

use dicast::{Error, ErrorKind, Judge, JudgeRequest, Verdict};

use super::super::Failure;
use super::Work;
use super::journal::Sink;
use super::lines::{Lines, Numbered};

/// Lines read ahead for each judgment that may run: results wait there for a slow one before them.
const WINDOW: usize = 16;

/// What takes requests; a seam, so that the order of things can be tested without a model.
pub(super) trait Judging {
    /// Starts a judgment; `done` is called once, from any thread.
    fn start(&self, request: JudgeRequest, done: Box<dyn FnOnce(dicast::Result<Verdict>) + Send>);
}

impl Judging for Judge {
    fn start(&self, request: JudgeRequest, done: Box<dyn FnOnce(dicast::Result<Verdict>) + Send>) {
        self.submit(&request).on_completion(done);
    }
}

/// What happens during a run.
pub(super) enum Event {
    /// The next line of input, or its end, or why it cannot be read.
    Line(io::Result<Option<Numbered>>),
    /// The judgment of line `number` is over.
    Done {
        /// Line of the input.
        number: u64,
        /// Its outcome.
        outcome: Box<dicast::Result<Verdict>>,
    },
    /// The user wants to stop.
    Interrupted,
}

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Results written by this run.
    pub(super) written: u64,
    /// How many of these are errors.
    pub(super) failed: u64,
}

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The input is done.
    Complete,
    /// By the user.
    Interrupted,
    /// By an error that is not a line's own.
    Broken(Failure),
}

/// Starts the thread that reads lines: one for each permit, until the permits' sender is dropped.
pub(super) fn read_ahead<R: BufRead + Send + 'static>(mut lines: Lines<R>, events: Sender<Event>) -> Sender<()> {
    let (permits, allowed) = mpsc::channel();
    // Detached: it may sit in a read of standard input that never ends.
    std::thread::spawn(move || {
        while allowed.recv().is_ok() {
            let line = lines.next_line();
            let is_last = !matches!(line, Ok(Some(_)));
            if events.send(Event::Line(line)).is_err() || is_last {
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
    /// Most judgments running at once.
    pub(super) in_flight: usize,
    pub(super) permits: Sender<()>,
    pub(super) events: Sender<Event>,
    pub(super) incoming: Receiver<Event>,
}

/// A line that was read.
struct Slot<K> {
    checksum: u64,
    state: State<K>,
}

/// Where a line stands.
enum State<K> {
    /// Being judged, with what is kept of it.
    Running(K),
    /// Its result waits to be written.
    Ended {
        /// As a line of the output.
        line: String,
        /// Whether it is an error.
        failed: bool,
    },
    /// Its result is being made.
    Taken,
}

impl<W: Work, J: Judging, S: Sink> Pump<'_, W, J, S> {
    /// Works from line `first` on. `progress` sees the counts after each change.
    pub(super) fn run(&mut self, first: u64, mut progress: impl FnMut(Counts)) -> (Counts, Ended) {
        let mut counts = Counts::default();
        let ended = self.work(first, &mut counts, &mut progress).unwrap_or_else(Ended::Broken);
        (counts, ended)
    }

    fn work(&mut self, first: u64, counts: &mut Counts, progress: &mut impl FnMut(Counts)) -> Result<Ended, Failure> {
        let mut slots: VecDeque<Slot<W::Kept>> = VecDeque::new();
        let mut front = first;
        // Lines asked for, and judgments running. Together they stay under `in_flight`.
        let (mut asked, mut running) = (0, 0);
        let mut at_end = false;
        loop {
            while let Some(Slot { checksum, state: State::Ended { line, failed } }) = slots.front() {
                self.sink.append(*checksum, line)?;
                counts.written += 1;
                counts.failed += u64::from(*failed);
                progress(*counts);
                slots.pop_front();
                front += 1;
            }
            if at_end && slots.is_empty() {
                return Ok(Ended::Complete);
            }
            while !at_end && asked + running < self.in_flight && slots.len() + asked < WINDOW * self.in_flight {
                // A reader that is gone has sent its last word already.
                let _ = self.permits.send(());
                asked += 1;
            }
            match self.incoming.recv().expect("this thread holds a sender itself") {
                Event::Interrupted => return Ok(Ended::Interrupted),
                Event::Line(Ok(None)) => at_end = true,
                Event::Line(Err(error)) => return Err(Failure::io("cannot read the input", &error)),
                Event::Line(Ok(Some(line))) => {
                    asked -= 1;
                    let (number, checksum) = (line.number, line.checksum);
                    let state = match self.work.request(line) {
                        (kept, Ok(request)) => {
                            running += 1;
                            let events = self.events.clone();
                            self.judge.start(
                                request,
                                Box::new(move |outcome| {
                                    // Nobody listens any more after an interruption.
                                    let _ = events.send(Event::Done { number, outcome: Box::new(outcome) });
                                }),
                            );
                            State::Running(kept)
                        }
                        (kept, Err(error)) => self.ended(kept, Err(error))?,
                    };
                    slots.push_back(Slot { checksum, state });
                }
                Event::Done { number, outcome } => {
                    running -= 1;
                    if let Err(error) = outcome.as_ref()
                        && error.kind() == ErrorKind::Closed
                    {
                        // Every further line would end the same way: that is no result of theirs.
                        return Err(Failure::from(Error::new(ErrorKind::Closed, error.message()))
                            .hint("what is done is kept: run the same command again to continue"));
                    }
                    let slot = usize::try_from(number - front).ok().and_then(|index| slots.get_mut(index));
                    let slot = slot.expect("a judgment is started for a line that waits here");
                    if let State::Running(kept) = std::mem::replace(&mut slot.state, State::Taken) {
                        slot.state = self.ended(kept, *outcome)?;
                    }
                }
            }
        }
    }

    fn ended(&self, kept: W::Kept, outcome: dicast::Result<Verdict>) -> Result<State<W::Kept>, Failure> {
        let failed = outcome.is_err();
        Ok(State::Ended { line: self.work.line(kept, outcome)?, failed })
    }
}
