//! The judge's queue, tickets and threads under a model checker: every test runs in many orders of its threads, and fails
//! if one of them hangs, or breaks what is promised.
//!
//! `make model-check`; `DICAST_MODEL_RUNS` says how many orders, twice 2,000 for each test by default.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::thread;

use crate::engine::{Capabilities, Completion, Engine, Job, JobId, Stats};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Arc, Mutex};
use crate::verdict::Verdict;

use super::Ticket;
use super::queue::{Entered, Queue};
use super::ticket::{Completer, Pending};
use super::worker::Worker;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

/// Runs a test in many orders: at random, and so that faults are found which need few, but certain changes of threads.
fn check(test: impl Fn() + Send + Sync + 'static) {
    let runs = std::env::var("DICAST_MODEL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2000);
    let ran = Arc::new(AtomicUsize::new(0));
    let counted = ran.clone();
    let test = Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        test();
    });
    let again = test.clone();
    shuttle::check_random(move || test(), runs);
    shuttle::check_pct(move || again(), runs, 3);
    assert_eq!(ran.load(Ordering::Relaxed), 2 * runs, "all orders ran");
}

/// An engine that holds one job until it is cancelled or closed; who does that also completes it.
#[derive(Default)]
struct Holds(Mutex<Option<Completer>>);

impl Holds {
    fn end(&self, error: Error) {
        let held = self.0.lock().unwrap().take();
        if let Some(held) = held {
            held.complete(Err(error));
        }
    }
}

impl Engine for Holds {
    fn capabilities(&self) -> &Capabilities {
        unreachable!("nobody asks")
    }

    fn submit(&self, _: Job, _: Completion) -> JobId {
        unreachable!("the test puts the job in")
    }

    fn cancel(&self, _: JobId) {
        self.end(Error::cancelled());
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn close(&self) {
        self.end(Error::shut_down());
    }
}

/// A judgment in the engine, as the judge puts it there.
fn submitted(queue: &Arc<Queue>, engine: &Arc<Holds>, callbacks: &Worker) -> Ticket {
    let permit = queue.try_enter().expect("there is room");
    let holder: Arc<dyn Engine> = engine.clone();
    let pending = Pending::new(queue, permit, callbacks.handle());
    *engine.0.lock().unwrap() = Some(pending.completer());
    pending.started(&holder, JobId(0));
    Ticket::of(&pending)
}

/// What the judge does when it is dropped.
fn close(queue: &Arc<Queue>, engine: &Holds, callbacks: Worker) {
    queue.close();
    engine.close();
    for pending in queue.pending() {
        pending.complete(Err(Error::closed()));
    }
    drop(callbacks);
}

fn is_ended(outcome: &Result<Verdict>) -> bool {
    matches!(outcome.as_ref().map_err(Error::kind), Err(ErrorKind::Cancelled | ErrorKind::Closed))
}

#[test]
fn nobody_sleeps_while_there_is_room() {
    check(|| {
        let queue = Queue::new(1);
        let enters: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || drop(queue.enter().expect("nobody closes it")))
            })
            .collect();
        let looks = queue.clone();
        let looks = thread::spawn(move || looks.wait(LONG));
        for enter in enters {
            enter.join().unwrap();
        }
        assert!(looks.join().unwrap());
        assert_eq!(queue.free(), 1);
    });
}

#[test]
fn a_place_goes_down_the_line() {
    check(|| {
        let queue = Queue::new(1);
        let held = queue.try_enter();
        let waits: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let waiter = queue.waiter();
                    for _ in 0..2 {
                        assert!(matches!(queue.enter_in_line(&waiter, None), Entered::In(_)));
                    }
                })
            })
            .collect();
        // One that is stopped may have got the signal for a place.
        let stopped = queue.waiter();
        let (stopping, stops) = (queue.clone(), stopped.clone());
        let stops = thread::spawn(move || drop(stopping.enter_in_line(&stops, None)));
        let beside = queue.clone();
        let beside = thread::spawn(move || drop(beside.enter()));
        drop(held);
        stopped.stop();
        for wait in waits.into_iter().chain([stops, beside]) {
            wait.join().unwrap();
        }
        assert_eq!(queue.free(), 1);
    });
}

#[test]
fn closing_sends_everybody_away() {
    check(|| {
        let queue = Queue::new(1);
        let held = queue.try_enter();
        let waits: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.enter().is_none())
            })
            .collect();
        let within = queue.clone();
        let within = thread::spawn(move || matches!(within.enter_within(LONG), Entered::Closed));
        let line = queue.clone();
        let line = thread::spawn(move || matches!(line.enter_in_line(&line.waiter(), None), Entered::Closed));
        queue.close();
        for wait in waits {
            assert!(wait.join().unwrap());
        }
        assert!(within.join().unwrap() && line.join().unwrap());
        drop(held);
        assert!(queue.try_enter().is_none(), "a closed queue lets nobody in");
    });
}

#[test]
fn a_waiter_hears_of_the_end_whoever_brings_it() {
    check(|| {
        let (queue, engine) = (Queue::new(1), Arc::new(Holds::default()));
        let callbacks = Worker::start("calls").unwrap();
        let ticket = submitted(&queue, &engine, &callbacks);
        let canceller = ticket.canceller();
        let cancels = thread::spawn(move || canceller.cancel());
        let ends = engine.clone();
        let ends = thread::spawn(move || ends.end(Error::shut_down()));
        assert!(is_ended(&ticket.wait()));
        cancels.join().unwrap();
        ends.join().unwrap();
        assert_eq!(queue.free(), 1);
        close(&queue, &engine, callbacks);
    });
}

#[test]
fn a_callback_comes_once_and_never_after_the_judge_is_gone() {
    check(|| {
        let (queue, engine) = (Queue::new(1), Arc::new(Holds::default()));
        let callbacks = Worker::start("calls").unwrap();
        let ticket = submitted(&queue, &engine, &callbacks);
        let canceller = ticket.canceller();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        ticket.on_completion(move |outcome| {
            assert!(is_ended(&outcome));
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let cancels = thread::spawn(move || canceller.cancel());
        close(&queue, &engine, callbacks);
        assert_eq!(calls.load(Ordering::SeqCst), 1, "all callbacks have come when the judge is gone");
        cancels.join().unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1, "and none comes later");
    });
}

#[test]
fn a_callback_that_is_set_while_the_judgment_ends_still_comes() {
    check(|| {
        let (queue, engine) = (Queue::new(1), Arc::new(Holds::default()));
        let callbacks = Worker::start("calls").unwrap();
        let ticket = submitted(&queue, &engine, &callbacks);
        let ends = engine.clone();
        let ends = thread::spawn(move || ends.end(Error::shut_down()));
        let calls = Arc::new(AtomicUsize::new(0));
        let (counted, again) = (calls.clone(), ticket.canceller());
        ticket.on_completion(move |_| {
            // A callback may cancel its own judgment: it has ended.
            again.cancel();
            counted.fetch_add(1, Ordering::SeqCst);
        });
        ends.join().unwrap();
        close(&queue, &engine, callbacks);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_task_runs_or_comes_back() {
    check(|| {
        let worker = Worker::start("works").unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let (handle, counted) = (worker.handle(), ran.clone());
        let gives = thread::spawn(move || {
            for _ in 0..2 {
                let counted = counted.clone();
                let task = Box::new(move || {
                    counted.fetch_add(1, Ordering::SeqCst);
                });
                if let Some(task) = handle.run(task) {
                    task();
                }
            }
        });
        drop(worker);
        gives.join().unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 2);
    });
}
