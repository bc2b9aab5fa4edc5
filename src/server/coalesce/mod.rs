//! Samples of one prompt become one listwise judgment: trainers send them one by one, but a judge compares them better together.
//!
//! `groups.rs` decides which samples go together, and when. Here they are judged, and each caller gets the score of its sample.

mod groups;

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{Options, Reward};
use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;

use super::{Caller, Server};
use groups::{Added, Closed, Groups, Sample};

/// What is the same for all samples of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Whose samples they are.
    pub(super) client: String,
    pub(super) principle: String,
    pub(super) prompt: String,
}

/// The score of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scored {
    /// As written.
    pub(super) score: f64,
    /// The mean of its distribution, if the engine gives one.
    pub(super) expected: Option<f64>,
    /// The reward that the route is set to.
    pub(super) reward: f64,
    /// How many different samples it was judged with, itself included.
    pub(super) group: usize,
}

type Waiter = oneshot::Sender<Result<Scored>>;

/// How samples are judged.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) judge: Option<String>,
    pub(super) options: Options,
    pub(super) reward: Reward,
}

/// Gathers the samples of one route. Clones share the same state.
#[derive(Clone)]
pub(super) struct Coalescer(Arc<Inner>);

struct Inner {
    route: String,
    terms: Terms,
    window: Duration,
    groups: Mutex<Groups<Key, (Waiter, Caller)>>,
}

impl Coalescer {
    /// Samples of a prompt that come within `window` are judged together, at the latest when there are `size` of them (0: any
    /// number) or as many different ones as the judge takes. At most `waiting` wait in all groups.
    pub(super) fn new(route: &str, terms: Terms, window: Duration, size: usize, waiting: usize) -> Self {
        let groups = Mutex::new(Groups::new(size, waiting));
        Self(Arc::new(Inner { route: route.to_owned(), terms, window, groups }))
    }

    fn groups(&self) -> MutexGuard<'_, Groups<Key, (Waiter, Caller)>> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The score of a sample, once its group was judged. Dropping the future removes the sample.
    pub(super) async fn score(&self, server: &Server, caller: &Caller, key: Key, text: String) -> Result<Scored> {
        let loaded = server.judges().get(self.0.terms.judge.as_deref()).await?;
        let most = loaded.judge.config().limits.max_responses;
        drop(loaded);
        let (waiter, outcome) = oneshot::channel();
        let added = self.groups().add(&key, text, (waiter, caller.clone()), most);
        match added {
            Added::Opened(number) => {
                let (this, server) = (self.clone(), server.clone());
                tokio::spawn(async move {
                    let mut draining = server.draining();
                    let by = tokio::select! {
                        () = tokio::time::sleep(this.0.window) => "window",
                        // Nobody else comes.
                        _ = draining.wait_for(|draining| *draining) => "drain",
                    };
                    let closed = this.groups().close(&key, number);
                    if let Some(closed) = closed {
                        this.judge(server, closed, by).await;
                    }
                });
            }
            Added::Waits => {}
            Added::Closed(closed, by) => {
                let (this, server) = (self.clone(), server.clone());
                tokio::spawn(async move { this.judge(server, closed, by).await });
            }
            Added::Full => {
                return Err(Error::new(
                    ErrorKind::Overloaded,
                    "too many samples already wait for their groups (server.max_waiting): try again later",
                ));
            }
        }
        outcome.await.unwrap_or_else(|_| Err(lost()))
    }

    /// Judges a group and sends each caller its score.
    async fn judge(&self, server: Server, closed: Closed<Key, (Waiter, Caller)>, by: &'static str) {
        let Closed { key, mut samples } = closed;
        // Callers that have disconnected meanwhile need no score.
        for sample in &mut samples {
            sample.waiters.retain(|(waiter, _)| !waiter.is_closed());
        }
        samples.retain(|sample| !sample.waiters.is_empty());
        if samples.is_empty() {
            return;
        }
        let route = ("route", self.0.route.as_str());
        let metrics = server.metrics();
        metrics.add("dicast_coalesced_groups_total", &[route, ("by", by)], 1);
        metrics.observe_count("dicast_coalesced_group_size", &[route], samples.len());
        let waiters: usize = samples.iter().map(|sample| sample.waiters.len()).sum();
        metrics.add("dicast_coalesced_samples_total", &[route, ("what", "judged")], samples.len() as u64);
        metrics.add(
            "dicast_coalesced_samples_total",
            &[route, ("what", "duplicate")],
            (waiters - samples.len()) as u64,
        );
        judge_samples(server, Arc::new((key, self.0.terms.clone(), self.0.route.clone())), samples).await;
    }
}

/// The scores of samples that are all here, in their order: those of one key are judged together.
pub(super) async fn score_all(
    server: &Server,
    caller: &Caller,
    route: &str,
    terms: &Terms,
    items: Vec<(Key, String)>,
) -> Vec<Result<Scored>> {
    let loaded = match server.judges().get(terms.judge.as_deref()).await {
        Ok(loaded) => loaded,
        Err(error) => return items.iter().map(|_| Err(copy(&error))).collect(),
    };
    let most = loaded.judge.config().limits.max_responses;
    drop(loaded);
    let mut groups = Groups::new(0, usize::MAX);
    let (mut closed, mut opened, mut outcomes) = (Vec::new(), Vec::new(), Vec::with_capacity(items.len()));
    for (key, text) in items {
        let (waiter, outcome) = oneshot::channel();
        outcomes.push(outcome);
        match groups.add(&key, text, (waiter, caller.clone()), most) {
            Added::Opened(number) => opened.push((key, number)),
            Added::Closed(group, _) => closed.push(group),
            Added::Waits | Added::Full => {}
        }
    }
    closed.extend(opened.into_iter().filter_map(|(key, number)| groups.close(&key, number)));
    for Closed { key, samples } in closed {
        let shared = Arc::new((key, terms.clone(), route.to_owned()));
        // If this future is dropped, nobody waits for the samples any more, and the judgments end too.
        tokio::spawn(judge_samples(server.clone(), shared, samples));
    }
    let mut scores = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        scores.push(outcome.await.unwrap_or_else(|_| Err(lost())));
    }
    scores
}

/// The same error for another caller.
fn copy(error: &Error) -> Error {
    Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable())
}

fn lost() -> Error {
    Error::new(ErrorKind::Internal, "the group was lost: please report it")
}

type Shared = Arc<(Key, Terms, String)>;
type Samples = Vec<Sample<(Waiter, Caller)>>;

/// Judges samples together. If that fails because of their content, they are judged in two halves, so that a sample at fault
/// does not fail the others too.
fn judge_samples(
    server: Server,
    shared: Shared,
    mut samples: Samples,
) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let (key, terms, route) = &*shared;
        let caller = samples[0].waiters[0].1.clone();
        let names = (1..=samples.len()).map(|number| number.to_string());
        let texts = samples.iter().map(|sample| sample.text.clone());
        let mut request = JudgeRequest::new(key.principle.clone(), key.prompt.clone(), names.zip(texts));
        request.options = terms.options.clone();
        let outcome = tokio::select! {
            outcome = server.judge(&caller, terms.judge.as_deref(), request, None) => outcome,
            // All have gone: the judgment is cancelled.
            () = gone(&mut samples) => return,
        };
        match outcome.and_then(|verdict| Ok((verdict.rewards_of(terms.reward)?, verdict))) {
            Ok((rewards, verdict)) => {
                let group = samples.len();
                for (sample, (scored, reward)) in samples.into_iter().zip(verdict.scores.iter().zip(rewards)) {
                    let scored = Scored { score: scored.score, expected: scored.expected, reward, group };
                    for (waiter, _) in sample.waiters {
                        let _ = waiter.send(Ok(scored));
                    }
                }
            }
            Err(error) if samples.len() > 1 && splits(error.kind()) => {
                tracing::warn!(
                    route,
                    samples = samples.len(),
                    kind = error.kind().name(),
                    "a group failed; it is judged again in halves"
                );
                let second = samples.split_off(samples.len() / 2);
                let other = judge_samples(server.clone(), shared.clone(), second);
                let one = judge_samples(server.clone(), shared.clone(), samples);
                tokio::join!(one, other);
            }
            Err(error) => {
                let count: usize = samples.iter().map(|sample| sample.waiters.len()).sum();
                let labels = [("route", route.as_str()), ("what", "failed")];
                server.metrics().add("dicast_coalesced_samples_total", &labels, count as u64);
                for (waiter, _) in samples.into_iter().flat_map(|sample| sample.waiters) {
                    let _ = waiter.send(Err(copy(&error)));
                }
            }
        }
    })
}

/// Ends when nobody waits for any of the samples.
async fn gone(samples: &mut Samples) {
    for (waiter, _) in samples.iter_mut().flat_map(|sample| &mut sample.waiters) {
        waiter.closed().await;
    }
}

/// Whether a failure may be the fault of one sample, or of too many samples.
fn splits(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::InvalidRequest | ErrorKind::TooLarge | ErrorKind::ContextOverflow | ErrorKind::InvalidVerdict
    )
}
