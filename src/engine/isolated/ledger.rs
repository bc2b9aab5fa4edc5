//! The jobs of an engine in a worker process: which wait here, which are in the worker, and which may have crashed it.
//!
//! The worker holds only the jobs that it decodes and a few that are ready to start, so that its death ends few
//! judgments. A job that was in a worker when it crashed is suspect. When it comes again, it runs alone. If the worker
//! crashes again, the job is refused from then on, and other jobs are not affected; if not, it is no longer suspect.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::checksum::Checksum;
use crate::engine::lines::Lines;
use crate::engine::{Completion, Listener, Patience, Priority};
use crate::error::{Error, ErrorKind};

/// Most suspect jobs, and most refused ones, that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// A job that has not ended.
pub(super) struct Held {
    pub(super) times: Times,
    pub(super) priority: Priority,
    pub(super) done: Completion,
}

/// The times of a job, as in [`Job`](crate::engine::Job).
pub(super) struct Times {
    /// When the job was submitted; for a patient job that has begun, when it began.
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    /// For a patient job that has not begun.
    pub(super) patience: Option<Patience>,
    pub(super) listener: Option<Listener>,
}

/// A job that has ended here while the worker still works on it.
struct GivenUp {
    body: Vec<u8>,
    since: Duration,
}

/// A job for the worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing<'a> {
    pub(super) id: u64,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    /// How long a patient job may take once it has begun.
    pub(super) patience: Option<Duration>,
    pub(super) priority: Priority,
    /// Whether a listener gets its reasoning.
    pub(super) told: bool,
    pub(super) body: &'a [u8],
}

/// A completion and the error for it; it is called once no lock is held.
pub(super) type Failed = (Completion, Error);

/// All jobs.
#[derive(Default)]
pub(super) struct Ledger {
    next: u64,
    waiting: Lines<u64>,
    /// With the bytes that the worker gets; see [`super::protocol::encode_job`].
    held: HashMap<u64, (Held, Vec<u8>)>,
    /// Jobs that the worker has, including those that have ended here.
    in_worker: HashSet<u64>,
    given_up: HashMap<u64, GivenUp>,
    /// The suspect job that runs alone in the worker.
    alone: Option<u64>,
    suspects: HashSet<u64>,
    refused: HashSet<u64>,
}

fn content(body: &[u8]) -> u64 {
    let mut checksum = Checksum::default();
    checksum.add(body);
    checksum.value()
}

/// The error of a job that has crashed the worker twice, the second time alone.
fn refusal() -> Error {
    let message = "this judgment crashed the engine's worker process twice, the second time while it ran alone, \
    so it is refused. The model file may be damaged, or the request triggers a defect of the engine";
    Error::new(ErrorKind::Engine, message).with_retryable(false)
}

fn remember(set: &mut HashSet<u64>, content: u64) {
    if set.len() >= MAX_REMEMBERED {
        set.clear();
    }
    set.insert(content);
}

impl Ledger {
    /// Accepts a job. It waits until [`Self::send`].
    pub(super) fn add(&mut self, body: Vec<u8>, job: Held) -> u64 {
        let id = self.next;
        self.next += 1;
        self.waiting.push(job.priority, id);
        self.held.insert(id, (job, body));
        id
    }

    /// A number for a job that is not accepted.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Sends the jobs for which the worker has room; it accepts `window` jobs at once. Gives the jobs that are refused.
    pub(super) fn send(&mut self, window: usize, mut to: impl FnMut(Outgoing<'_>)) -> Vec<Failed> {
        let mut failed = Vec::new();
        while self.alone.is_none()
            && self.in_worker.len() < window
            && let Some(&id) = self.waiting.first()
        {
            let Some((job, body)) = self.held.get(&id) else {
                self.waiting.pop();
                continue;
            };
            if !self.suspects.is_empty() || !self.refused.is_empty() {
                let content = content(body);
                if self.refused.contains(&content) {
                    self.waiting.pop();
                    failed.extend(self.held.remove(&id).map(|(job, _)| (job.done, refusal())));
                    continue;
                }
                if self.suspects.contains(&content) {
                    if !self.in_worker.is_empty() {
                        break;
                    }
                    self.alone = Some(id);
                }
            }
            self.waiting.pop();
            self.in_worker.insert(id);
            let Held { times: Times { submitted, deadline, ref patience, ref listener }, priority, .. } = *job;
            let patience = patience.as_ref().map(Patience::timeout);
            to(Outgoing { id, submitted, deadline, patience, priority, told: listener.is_some(), body });
        }
        failed
    }

    /// The listener to the reasoning of a job, unless the job has ended here.
    pub(super) fn listener(&self, id: u64) -> Option<Listener> {
        self.held.get(&id)?.0.times.listener.clone()
    }

    /// The worker begins with a patient job. Gives its patience; call it once no lock is held.
    pub(super) fn begun(&mut self, id: u64) -> Option<Patience> {
        let times = &mut self.held.get_mut(&id)?.0.times;
        let patience = times.patience.take()?;
        times.deadline = patience.deadline();
        times.submitted = times.deadline.checked_sub(patience.timeout()).unwrap_or(times.submitted);
        Some(patience)
    }

    /// The worker has ended a job, with any outcome. Gives its completion, unless it has already ended here.
    pub(super) fn ended(&mut self, id: u64) -> Option<Completion> {
        self.in_worker.remove(&id);
        let given_up = self.given_up.remove(&id);
        let held = self.held.remove(&id);
        if self.alone == Some(id) {
            self.alone = None;
            let body = held.as_ref().map(|(_, body)| body).or(given_up.as_ref().map(|job| &job.body));
            self.suspects.remove(&body.map_or(0, |body| content(body)));
        }
        held.map(|(job, _)| job.done)
    }

    /// Ends a job here. Gives its completion, and whether the worker has the job.
    pub(super) fn give_up(&mut self, id: u64) -> Option<(Completion, bool)> {
        let (job, body) = self.held.remove(&id)?;
        let in_worker = self.in_worker.contains(&id);
        if in_worker {
            self.given_up.insert(id, GivenUp { body, since: Duration::ZERO });
        } else {
            self.waiting.remove(|waiting| *waiting == id);
        }
        Some((job.done, in_worker))
    }

    /// The jobs whose deadline has passed, with how long they had.
    pub(super) fn expired(&self, now: Instant) -> Vec<(u64, Duration)> {
        let expired = self.held.iter().filter(|(_, (job, _))| job.times.deadline <= now);
        let had = |times: &Times| times.deadline.saturating_duration_since(times.submitted);
        expired.map(|(id, (job, _))| (*id, had(&job.times))).collect()
    }

    /// When the next deadline passes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.held.values().map(|(job, _)| job.times.deadline).min()
    }

    /// `passed` more time has gone by. Gives the longest time that the worker has worked on a job that has ended here.
    pub(super) fn overdue(&mut self, passed: Duration) -> Duration {
        for job in self.given_up.values_mut() {
            job.since += passed;
        }
        self.given_up.values().map(|job| job.since).max().unwrap_or_default()
    }

    /// The worker is dead. Gives the completions of its jobs; `crashed`: a job may be at fault.
    pub(super) fn died(&mut self, crashed: bool) -> Vec<Completion> {
        let alone = self.alone.take();
        let mut completions = Vec::new();
        for id in std::mem::take(&mut self.in_worker) {
            let held = self.held.remove(&id);
            let body = held.as_ref().map(|(_, body)| body).or(self.given_up.get(&id).map(|job| &job.body));
            if let Some(body) = body
                && crashed
            {
                let content = content(body);
                if alone == Some(id) {
                    self.suspects.remove(&content);
                    remember(&mut self.refused, content);
                } else {
                    remember(&mut self.suspects, content);
                }
            }
            completions.extend(held.map(|(job, _)| job.done));
        }
        self.given_up.clear();
        completions
    }

    /// Ends all jobs here.
    pub(super) fn clear(&mut self) -> Vec<Completion> {
        self.waiting = Lines::default();
        self.held.drain().map(|(_, (job, _))| job.done).collect()
    }

    /// Jobs that have not ended.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether the worker has something to do.
    pub(super) fn is_busy(&self) -> bool {
        !self.in_worker.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(ledger: &mut Ledger, body: &str) -> u64 {
        let now = Instant::now();
        let times = Times { submitted: now, deadline: now + Duration::from_secs(1), patience: None, listener: None };
        let job = Held { times, priority: Priority::Normal, done: Box::new(|_| ()) };
        ledger.add(body.into(), job)
    }

    fn send(ledger: &mut Ledger, window: usize) -> (Vec<u64>, usize) {
        let mut sent = Vec::new();
        let failed = ledger.send(window, |job| sent.push(job.id)).len();
        (sent, failed)
    }

    #[test]
    fn the_worker_has_no_more_than_its_window() {
        let mut ledger = Ledger::default();
        let ids: Vec<_> = ["a", "b", "c"].map(|body| add(&mut ledger, body)).into();
        assert_eq!(send(&mut ledger, 2), (ids[..2].to_vec(), 0));
        assert_eq!(send(&mut ledger, 2), (vec![], 0));
        assert!(ledger.ended(ids[0]).is_some());
        assert!(ledger.ended(ids[0]).is_none(), "a job ends once");
        assert_eq!(send(&mut ledger, 2), (vec![ids[2]], 0));
        assert_eq!(ledger.len(), 2);
    }

    #[test]
    fn a_job_given_up_holds_its_place_until_the_worker_has_ended_it() {
        let mut ledger = Ledger::default();
        let (first, second) = (add(&mut ledger, "a"), add(&mut ledger, "b"));
        send(&mut ledger, 1);
        assert!(matches!(ledger.give_up(first), Some((_, true))));
        assert!(ledger.give_up(first).is_none());
        assert_eq!(send(&mut ledger, 1), (vec![], 0));
        ledger.overdue(Duration::from_secs(2));
        assert_eq!(ledger.overdue(Duration::from_secs(3)), Duration::from_secs(5));
        assert!(ledger.ended(first).is_none());
        assert_eq!(ledger.overdue(Duration::from_secs(3)), Duration::ZERO);
        assert_eq!(send(&mut ledger, 1), (vec![second], 0));
        assert!(matches!(ledger.give_up(second), Some((_, true))));
    }

    #[test]
    fn a_job_that_waits_outlives_the_worker() {
        let mut ledger = Ledger::default();
        add(&mut ledger, "a");
        let second = add(&mut ledger, "b");
        send(&mut ledger, 1);
        assert_eq!(ledger.died(true).len(), 1);
        assert_eq!(send(&mut ledger, 1), (vec![second], 0));
    }

    #[test]
    fn a_job_that_crashes_the_worker_is_found_and_refused_and_no_other_is() {
        let mut ledger = Ledger::default();
        for body in ["good", "bad"] {
            add(&mut ledger, body);
        }
        send(&mut ledger, 8);
        assert_eq!(ledger.died(true).len(), 2);
        // Both are sent again, each alone.
        let (good, bad) = (add(&mut ledger, "good"), add(&mut ledger, "bad"));
        let other = add(&mut ledger, "other");
        assert_eq!(send(&mut ledger, 8), (vec![good], 0));
        ledger.ended(good);
        assert_eq!(send(&mut ledger, 8), (vec![bad], 0));
        assert_eq!(ledger.died(true).len(), 1);
        let (good, _) = (add(&mut ledger, "good"), add(&mut ledger, "bad"));
        assert_eq!(send(&mut ledger, 8), (vec![other, good], 1));
    }

    #[test]
    fn a_worker_that_was_killed_from_outside_blames_no_job() {
        let mut ledger = Ledger::default();
        for _ in 0..5 {
            add(&mut ledger, "a");
            assert_eq!(send(&mut ledger, 8).1, 0);
            assert_eq!(ledger.died(false).len(), 1);
        }
    }

    #[test]
    fn deadlines_are_kept_here() {
        let mut ledger = Ledger::default();
        let id = add(&mut ledger, "a");
        assert_eq!(ledger.expired(Instant::now()), []);
        let at = ledger.next_deadline().unwrap();
        assert_eq!(ledger.expired(at), [(id, Duration::from_secs(1))]);
        assert_eq!(ledger.clear().len(), 1);
        assert_eq!((ledger.len(), ledger.next_deadline()), (0, None));
    }
}
