//! Keeps a bounded number of judgments running and writes their results in the order of the input.
//!
//! Three parties and one channel: a reader thread takes lines when it is allowed to, the judge's threads hand over
//! outcomes, and this thread submits and writes. Nothing polls, and nothing grows: what is read but not written yet is at
//! most [`WINDOW`] lines for each running judgment.

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::sync::mpsc::{self, Receiver, Sender};

use dicast::config::Limits;
use dicast::{Error, ErrorKind, Judge, JudgeRequest, Verdict};

use super::super::Failure;
use super::super::judge::result_line;
use super::journal::Sink;
use super::lines::{Line, Lines, Numbered};

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

/// What happens while a batch runs.
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

/// Counts of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Results written by this run.
    pub(super) written: u64,
    /// How many of these are errors.
    pub(super) failed: u64,
}

/// Why a batch ended.
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

/// A batch at work.
pub(super) struct Pump<'a, J, S> {
    pub(super) judge: &'a J,
    pub(super) sink: &'a mut S,
    pub(super) limits: &'a Limits,
    /// Most judgments running at once.
    pub(super) in_flight: usize,
    pub(super) permits: Sender<()>,
    pub(super) events: Sender<Event>,
    pub(super) incoming: Receiver<Event>,
}

/// A line that was read: its checksum, and its result as soon as that is there.
struct Slot {
    checksum: u64,
    result: Option<(String, bool)>,
}

impl<J: Judging, S: Sink> Pump<'_, J, S> {
    /// Runs the batch from line `first` on. `progress` sees the counts after each change.
    pub(super) fn run(&mut self, first: u64, mut progress: impl FnMut(Counts)) -> (Counts, Ended) {
        let mut counts = Counts::default();
        let ended = self.work(first, &mut counts, &mut progress).unwrap_or_else(Ended::Broken);
        (counts, ended)
    }

    fn work(&mut self, first: u64, counts: &mut Counts, progress: &mut impl FnMut(Counts)) -> Result<Ended, Failure> {
        let mut slots: VecDeque<Slot> = VecDeque::new();
        let mut front = first;
        // Lines asked for, and judgments running. Together they stay under `in_flight`.
        let (mut asked, mut running) = (0, 0);
        let mut at_end = false;
        loop {
            while let Some(Slot { checksum, result: Some((line, failed)) }) = slots.front() {
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
                Event::Line(Ok(Some(Numbered { number, checksum, line }))) => {
                    asked -= 1;
                    let result = match self.request(number, line) {
                        Ok(request) => {
                            running += 1;
                            let events = self.events.clone();
                            self.judge.start(
                                request,
                                Box::new(move |outcome| {
                                    // Nobody listens any more after an interruption.
                                    let _ = events.send(Event::Done { number, outcome: Box::new(outcome) });
                                }),
                            );
                            None
                        }
                        Err(error) => Some((result_line(&Err(error))?, true)),
                    };
                    slots.push_back(Slot { checksum, result });
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
                    let outcome = outcome.map_err(|error| at_line(error, number));
                    let slot = usize::try_from(number - front).ok().and_then(|index| slots.get_mut(index));
                    let slot = slot.expect("a judgment is started for a line that waits here");
                    slot.result = Some((result_line(&outcome)?, outcome.is_err()));
                }
            }
        }
    }

    /// The request on a line.
    fn request(&self, number: u64, line: Line) -> Result<JudgeRequest, Error> {
        let request = match line {
            Line::Whole(json) => JudgeRequest::from_json(&json).and_then(|request| {
                request.check(self.limits)?;
                Ok(request)
            }),
            Line::Blank => Err(Error::new(ErrorKind::InvalidRequest, "the line is blank")),
            Line::TooLong { bytes } => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the line has {bytes} bytes, the limit is {}", super::super::input::request_bytes(self.limits)),
            )),
        };
        request.map_err(|error| at_line(error, number))
    }
}

fn at_line(error: Error, number: u64) -> Error {
    error.context(format_args!("line {number}"))
}
