//! Puts a load on a target and gathers the outcomes.
//!
//! One thread sends and gathers. In a closed loop the next judgment is sent when one has ended. In an open loop judgments are
//! sent when they are due, whatever happened to earlier ones. If a judgment is sent late, because the sender was busy or too
//! many were in flight, its latency still counts from when it was due. Otherwise the figures would hide the waits that a stall
//! of the server causes (coordinated omission).

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::gather::{Gathered, Sample};
use super::mix::Mix;
use super::schedule::{Arrivals, Schedule};
use super::target::{Cancel, Measured, Target, Trouble};
use super::watch::{self, Watched};

/// How often the live view is brought up to date.
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// This many failures without one success end a load: it would never succeed.
const HOPELESS: u64 = 20;
/// Time in which cancelled judgments must end.
const CANCELLED: Duration = Duration::from_secs(10);
/// Most judgments of one load.
pub(super) const MAX_REQUESTS: u64 = 10_000_000;

/// How judgments are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    /// This many in flight all the time.
    Closed { concurrency: usize },
    /// This many per second.
    Open { rate: f64, arrivals: Arrivals, burst: u32 },
}

/// How long a load lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Judgments measured at most.
    pub(super) requests: Option<u64>,
    /// Time in which they are sent.
    pub(super) duration: Option<Duration>,
    /// Judgments before them that are not measured.
    pub(super) warmup: u64,
    /// Most in flight of an open loop; what is due beyond that waits, and its latency counts the wait.
    pub(super) max_in_flight: usize,
    /// How long to wait for answers after the last request was sent.
    pub(super) drain: Duration,
    /// Seed of the arrivals.
    pub(super) seed: u64,
}

/// What happens during a load.
pub(super) enum Event {
    /// A judgment has ended.
    Done { load: u64, number: u64, at: Instant, outcome: Box<Result<Measured, Trouble>> },
    /// The user wants to stop.
    Interrupted,
}

/// What a load is put on, and who observes it.
pub(super) struct Bench<'a> {
    pub(super) target: &'a dyn Target,
    pub(super) mix: &'a Mix,
    pub(super) events: (&'a Sender<Event>, &'a Receiver<Event>),
    /// The process of a server.
    pub(super) server_pid: Option<u32>,
    /// Sees every judgment that is measured.
    pub(super) each: &'a mut dyn FnMut(&Load, &Sample),
    /// Sees how far the load is.
    pub(super) live: &'a mut dyn FnMut(&Progress<'_>),
}

/// How far a load is.
pub(super) struct Progress<'a> {
    pub(super) load: &'a Load,
    pub(super) extent: &'a Extent,
    pub(super) gathered: &'a Gathered,
    pub(super) in_flight: usize,
    /// Since the first measured judgment; `None` before.
    pub(super) elapsed: Option<Duration>,
}

/// When the next judgment to send was due.
#[derive(Clone, Copy)]
enum Due {
    /// Of a closed loop.
    Now,
    /// Of an open loop, maybe a while ago.
    At(Instant),
}

/// A judgment in flight.
struct Flight {
    due: Instant,
    sent: Instant,
    item: Option<usize>,
    cancel: Cancel,
}

impl Bench<'_> {
    /// Puts the load number `index` on the target.
    pub(super) fn measure(&mut self, load: Load, extent: &Extent, index: u64) -> Gathered {
        let (target, server_pid) = (self.target, self.server_pid);
        watch::during(target, server_pid, |watched| self.drive(load, extent, index, watched))
    }

    fn drive(&mut self, load: Load, extent: &Extent, index: u64, watched: &Watched) -> Gathered {
        let mut run = Run::new(load, *extent, index);
        let mut shown = Instant::now();
        loop {
            let now = Instant::now();
            while let Some(due) = run.next_due(now) {
                self.send(&mut run, due);
            }
            if shown.elapsed() >= LIVE_EVERY {
                shown = Instant::now();
                self.show(&run);
            }
            if run.is_over() {
                break;
            }
            let wake = run.wake(shown + LIVE_EVERY);
            match self.events.1.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Event::Done { load, number, at, outcome }) if load == index => {
                    self.end(&mut run, number, at, *outcome);
                }
                // It belongs to an earlier load, which no longer waited for it.
                Ok(Event::Done { .. }) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Event::Interrupted) => {
                    run.gathered.interrupted = true;
                    break;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender"),
            }
        }
        self.cancel(&mut run);
        watched.look(self.target, self.server_pid);
        let timed = run.extent.duration.filter(|_| !run.is_hopeless() && run.measured() < run.most());
        run.gathered.finish(run.begin, Instant::now(), timed, watched);
        self.show(&run);
        run.gathered
    }

    fn send(&mut self, run: &mut Run, due: Due) {
        let number = run.sent;
        let (request, item) = self.mix.request(run.index, number);
        let events = self.events.0.clone();
        let index = run.index;
        let sent = Instant::now();
        let due = match due {
            Due::Now => sent,
            Due::At(due) => due,
        };
        if number == run.extent.warmup {
            run.begin = Some(due);
        }
        let done = move |outcome| {
            // Nobody listens any more after an interruption.
            let _ = events.send(Event::Done { load: index, number, at: Instant::now(), outcome: Box::new(outcome) });
        };
        let cancel = self.target.start(request, Box::new(done));
        run.sent += 1;
        run.flights.insert(number, Flight { due, sent, item, cancel });
        run.last_sent = sent;
    }

    fn end(&mut self, run: &mut Run, number: u64, at: Instant, outcome: Result<Measured, Trouble>) {
        let Some(flight) = run.flights.remove(&number) else { return };
        match &outcome {
            Ok(_) => run.succeeded += 1,
            Err(_) => run.failed += 1,
        }
        let Some(begin) = run.begin.filter(|_| number >= run.extent.warmup) else {
            return run.gathered.warm(&outcome, run.begin, at);
        };
        let since = |at: Instant| at.saturating_duration_since(begin);
        let sample = Sample {
            number: number - run.extent.warmup,
            item: flight.item,
            due: since(flight.due),
            sent: since(flight.sent),
            ended: since(at),
            outcome,
        };
        run.gathered.add(&sample);
        (self.each)(&run.load, &sample);
    }

    /// Ends what is still in flight. It counts as failed, unless the load was interrupted.
    fn cancel(&mut self, run: &mut Run) {
        let unfinished: Vec<u64> = run.flights.keys().copied().collect();
        run.gathered.in_flight_at_end = unfinished.len() as u64;
        if unfinished.is_empty() {
            return;
        }
        let mut waiting = unfinished.len();
        let now = Instant::now();
        for number in unfinished {
            let Some(flight) = run.flights.remove(&number) else { continue };
            (flight.cancel)();
            if let Some(begin) = run.begin.filter(|_| number >= run.extent.warmup && !run.gathered.interrupted) {
                let since = |at: Instant| at.saturating_duration_since(begin);
                let message =
                    format!("no answer within {:?} after the last request was sent (--drain)", run.extent.drain);
                let sample = Sample {
                    number: number - run.extent.warmup,
                    item: flight.item,
                    due: since(flight.due),
                    sent: since(flight.sent),
                    ended: since(now),
                    outcome: Err(Trouble::new("unfinished", message)),
                };
                run.gathered.add(&sample);
                (self.each)(&run.load, &sample);
            }
        }
        // The next load begins when these are gone.
        let limit = now + CANCELLED;
        while waiting > 0 {
            match self.events.1.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(Event::Done { load, .. }) if load == run.index => waiting -= 1,
                Ok(Event::Done { .. }) => {}
                Ok(Event::Interrupted) => {
                    run.gathered.interrupted = true;
                    break;
                }
                Err(_) => break,
            }
        }
    }

    fn show(&mut self, run: &Run) {
        let elapsed = run.begin.map(|begin| begin.elapsed());
        let Run { load, extent, gathered, flights, .. } = run;
        (self.live)(&Progress { load, extent, gathered, in_flight: flights.len(), elapsed });
    }
}

/// A load under way.
struct Run {
    load: Load,
    extent: Extent,
    index: u64,
    /// Of an open loop: when its times count from, and the times.
    arrivals: Option<(Instant, std::iter::Peekable<Schedule>)>,
    flights: HashMap<u64, Flight>,
    sent: u64,
    last_sent: Instant,
    succeeded: u64,
    failed: u64,
    /// When the first measured judgment was due.
    begin: Option<Instant>,
    gathered: Gathered,
}

impl Run {
    fn new(load: Load, extent: Extent, index: u64) -> Self {
        let now = Instant::now();
        let arrivals = match load {
            Load::Closed { .. } => None,
            Load::Open { rate, arrivals, burst } => {
                Some((now, Schedule::new(arrivals, rate, burst, extent.seed).peekable()))
            }
        };
        Self {
            load,
            extent,
            index,
            arrivals,
            flights: HashMap::new(),
            sent: 0,
            last_sent: now,
            succeeded: 0,
            failed: 0,
            begin: None,
            gathered: Gathered::new(load),
        }
    }

    /// Whether a judgment that is due at `due` is still sent.
    fn has_more(&self, due: Instant) -> bool {
        let in_time = match (self.begin, self.extent.duration) {
            (Some(begin), Some(duration)) => due < begin + duration,
            _ => true,
        };
        in_time && !self.is_hopeless() && self.measured() < self.most()
    }

    /// Measured judgments sent so far.
    fn measured(&self) -> u64 {
        self.sent.saturating_sub(self.extent.warmup)
    }

    fn most(&self) -> u64 {
        self.extent.requests.unwrap_or(MAX_REQUESTS)
    }

    fn is_hopeless(&self) -> bool {
        self.succeeded == 0 && self.failed >= HOPELESS
    }

    /// When the next judgment of an open loop is due.
    fn planned(&mut self) -> Option<Instant> {
        let (start, times) = self.arrivals.as_mut()?;
        times.peek().map(|&at| *start + at)
    }

    /// Whether a judgment is to be sent now.
    fn next_due(&mut self, now: Instant) -> Option<Due> {
        match self.load {
            Load::Closed { concurrency } => {
                (self.flights.len() < concurrency && self.has_more(now)).then_some(Due::Now)
            }
            Load::Open { .. } => {
                let due = self.planned()?;
                if due > now || self.flights.len() >= self.extent.max_in_flight || !self.has_more(due) {
                    return None;
                }
                if let Some((_, times)) = &mut self.arrivals {
                    times.next();
                }
                Some(Due::At(due))
            }
        }
    }

    /// Whether nothing more is to be sent or waited for.
    fn is_over(&mut self) -> bool {
        let now = Instant::now();
        let due = self.planned().unwrap_or(now);
        if self.has_more(due) {
            return false;
        }
        self.flights.is_empty() || now >= self.last_sent + self.extent.drain
    }

    /// When to look again if nothing happens before.
    fn wake(&mut self, show: Instant) -> Instant {
        let room = self.flights.len() < self.extent.max_in_flight;
        match self.planned().filter(|&due| room && self.has_more(due)) {
            Some(due) => due.min(show),
            None => show,
        }
    }
}

#[cfg(test)]
mod tests;
