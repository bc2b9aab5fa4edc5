//! Requests that wait for room in the queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::queue::{Entered, Waiter};
use super::{Judge, Submission, Ticket};
use crate::error::{Error, ErrorKind};
use crate::request::JudgeRequest;
use crate::sync::Arc;

impl Judge {
    /// Like [`Judge::submit_when_free_with`], but waits for room at most until the deadline of the submission.
    pub(crate) fn submit_by_deadline(&self, request: &JudgeRequest, submission: Submission) -> Ticket {
        match self.queue.enter_in_line(&self.queue.waiter(), submission.deadline) {
            Entered::In(permit) => self.enter(request, submission.patient(), Instant::now(), permit),
            Entered::Closed => self.failed(Error::closed()),
            Entered::Full => self.failed(late()),
        }
    }

    /// One thread that submits many requests: see [`Judge::submit_in_line`].
    pub(crate) fn waiter(&self) -> Arc<Waiter> {
        self.queue.waiter()
    }

    /// Submits requests in their order, as [`Judge::submit_when_free_with`]. `submitted` gets the ticket of each, by its place
    /// in `requests`. A request that still waits for room at its deadline ends then, also if others are before it. If
    /// `waiter` is stopped, those that wait for room end as cancelled.
    pub(crate) fn submit_in_line(
        &self,
        waiter: &Arc<Waiter>,
        requests: Vec<(JudgeRequest, Submission)>,
        mut submitted: impl FnMut(usize, Ticket),
    ) {
        let deadline = |(at, (_, submission)): (usize, &(_, Submission))| Some(Reverse((submission.deadline?, at)));
        let mut deadlines: BinaryHeap<_> = requests.iter().enumerate().filter_map(deadline).collect();
        let mut requests: Vec<_> = requests.into_iter().map(Some).collect();
        let mut front = 0;
        loop {
            let now = Instant::now();
            while let Some(&Reverse((deadline, at))) = deadlines.peek()
                && (deadline <= now || requests[at].is_none())
            {
                deadlines.pop();
                if requests[at].take().is_some() {
                    submitted(at, self.failed(late()));
                }
            }
            while requests.get(front).is_some_and(Option::is_none) {
                front += 1;
            }
            if front == requests.len() {
                return;
            }
            let until = deadlines.peek().map(|&Reverse((deadline, _))| deadline);
            let refusal: fn() -> Error = match self.queue.enter_in_line(waiter, until) {
                Entered::In(permit) => {
                    if let Some((request, submission)) = requests[front].take() {
                        submitted(front, self.enter(&request, submission.patient(), Instant::now(), permit));
                    }
                    continue;
                }
                Entered::Closed => Error::closed,
                Entered::Full if waiter.is_stopped() => Error::cancelled,
                // A deadline has passed.
                Entered::Full => continue,
            };
            for (at, request) in requests.iter_mut().enumerate().skip(front) {
                if request.take().is_some() {
                    submitted(at, self.failed(refusal()));
                }
            }
            return;
        }
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "the deadline passed before there was room in the queue")
}
