//! Many requests in one: judged side by side, with outcomes in order or as they come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

use super::{Caller, Problem, Server};

/// Requests of one batch that wait or run at once: enough for any engine, and few enough not to fill the queue.
const AT_ONCE: usize = 512;

/// A batch that runs. Dropping it cancels what has not ended.
pub(crate) struct Batch {
    tasks: JoinSet<(usize, Result<Verdict>)>,
    count: usize,
}

impl Batch {
    /// Begins a batch. Requests that cannot be read are failures at their place.
    ///
    /// # Errors
    /// If it is empty, larger than `server.max_batch`, or more than the client's rate allows.
    pub(crate) fn new(
        server: &Server,
        caller: &Caller,
        judge: Option<&str>,
        requests: Vec<Result<JudgeRequest>>,
    ) -> std::result::Result<Self, Problem> {
        let (count, most) = (requests.len(), server.config().max_batch);
        if count == 0 {
            return Err(Problem::invalid("the batch is empty"));
        }
        if count > most {
            let message = format!("the batch has {count} requests, the limit is {most} (server.max_batch)");
            return Err(Error::new(ErrorKind::TooLarge, message).into());
        }
        server.judges().known(judge)?;
        caller.take(count - 1)?;
        let judge: Option<Arc<str>> = judge.map(Into::into);
        let at_once = Arc::new(Semaphore::new(AT_ONCE.min(server.config().max_waiting)));
        let mut tasks = JoinSet::new();
        for (index, request) in requests.into_iter().enumerate() {
            let (server, caller, judge, at_once) = (server.clone(), caller.clone(), judge.clone(), at_once.clone());
            tasks.spawn(async move {
                let outcome = match request {
                    Ok(request) => {
                        // Never closed.
                        let _turn = at_once.acquire_owned().await;
                        server.judge(&caller, judge.as_deref(), request, None).await
                    }
                    Err(error) => Err(error),
                };
                (index, outcome)
            });
        }
        Ok(Self { tasks, count })
    }

    /// The next one that has ended, with its place.
    pub(crate) async fn next(&mut self) -> Option<(usize, Result<Verdict>)> {
        loop {
            match self.tasks.join_next().await? {
                Ok(outcome) => return Some(outcome),
                // Its place is unknown, so that it is found missing at the end.
                Err(error) => tracing::error!("a judgment of a batch was lost: {error}"),
            }
        }
    }

    /// All outcomes, in the order of the requests.
    pub(crate) async fn all(self) -> Vec<Result<Verdict>> {
        self.gather(None).await
    }

    /// As [`Self::all`]; judgments that have not ended within `time` are timeouts.
    pub(crate) async fn all_within(self, time: Duration) -> Vec<Result<Verdict>> {
        self.gather(Some(time)).await
    }

    async fn gather(mut self, time: Option<Duration>) -> Vec<Result<Verdict>> {
        let mut outcomes: Vec<Option<Result<Verdict>>> = (0..self.count).map(|_| None).collect();
        let collect = async {
            while let Some((index, outcome)) = self.next().await {
                outcomes[index] = Some(outcome);
            }
        };
        let late = match time {
            None => {
                collect.await;
                false
            }
            Some(time) => tokio::time::timeout(time, collect).await.is_err(),
        };
        let missing = || match time {
            Some(time) if late => Error::timed_out(time).context("max_timeout"),
            _ => Error::new(ErrorKind::Internal, "the judgment was lost: please report it"),
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(missing()))).collect()
    }
}

/// The problem of a batch in which every judgment failed: the first failure.
pub(crate) fn whole_failed(first: &Error, count: usize) -> Problem {
    let error = Error::new(first.kind(), first.message().to_owned()).with_retryable(first.is_retryable());
    Problem::from(if count == 1 {
        error
    } else {
        error.context(format!("all {count} judgments failed; the first one"))
    })
}
