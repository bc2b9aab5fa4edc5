//! ROLL's remote reward: a sample is submitted, and its reward is asked for until it is there.
//!
//! ROLL asks every two seconds and gives up on one question after 20 s, so that a question waits for the reward for a while. It takes only
//! `errcode` 0 as an end: after any other answer, an HTTP error included, it asks on until the time of the sample is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch::{Receiver, channel};
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind};
use crate::server::admit::random_hex;
use crate::server::body::{Input, Params, json as written, parse, read};
use crate::server::{Answer, Caller, Problem, Server};

use super::{Route, Sample, prompt_of};

/// Samples that are kept, judged or not.
const MOST: usize = 65_536;
/// How long a reward is kept that nobody asks for.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a reward is kept that was asked for: the answer may be lost on its way.
const KEPT_ONCE_TOLD: Duration = Duration::from_secs(60);
/// How long a question waits for the reward.
const WAIT: Duration = Duration::from_secs(15);
/// Bytes of the body of a question.
const QUESTION_BYTES: usize = 64 << 10;

/// The samples of a route, by number.
#[derive(Default)]
pub(super) struct Store(Mutex<HashMap<String, Entry>>);

struct Entry {
    client: String,
    at: Instant,
    work: AbortHandle,
    /// The reward, once it is known.
    outcome: Receiver<Option<Result<f64, Problem>>>,
    /// When it was told first.
    told: Option<Instant>,
}

impl Entry {
    fn is_kept(&self) -> bool {
        self.at.elapsed() < KEPT && self.told.is_none_or(|told| told.elapsed() < KEPT_ONCE_TOLD)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Store {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
struct Submission {
    prompt: Value,
    response: String,
    #[serde(default)]
    reward_info: Option<Value>,
    /// Seconds that it may take.
    #[serde(default)]
    timeout: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Question {
    #[serde(default)]
    reward_request_id: Option<String>,
}

pub(super) async fn submit(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let call: Submission = parse(&input)?;
    let prompt = match &call.prompt {
        Value::String(text) => route.prompt(text),
        messages => prompt_of(messages)?,
    };
    let label = call.reward_info.as_ref().and_then(|info| {
        let label = info.get("ground_truth").or_else(|| info.get("label")).or_else(|| info.get("reference"));
        label.and_then(Value::as_str).map(str::to_owned)
    });
    let sample = Sample { prompt, response: route.response(&call.response), label, principle: None };
    let time = call.timeout.filter(|seconds| (0.001..=86_400.0).contains(seconds)).map(Duration::from_secs_f64);
    let id = random_hex(16);
    let mut entries = route.roll.entries();
    entries.retain(|_, entry| entry.is_kept());
    if entries.len() >= MOST {
        // Rewards that were told are kept only for answers that were lost.
        entries.retain(|_, entry| entry.told.is_none());
    }
    if entries.len() >= MOST {
        let message = format!("{MOST} samples are already kept: ask for their rewards first");
        return Err(Error::new(ErrorKind::Overloaded, message).into());
    }
    let (work_route, client) = (route.clone(), caller.name().to_owned());
    let (tell, outcome) = channel(None);
    let work = tokio::spawn(async move {
        let judged = work_route.rewards(&server, &caller, vec![sample]);
        let outcome = match time {
            None => judged.await,
            Some(time) => tokio::time::timeout(time, judged)
                .await
                .unwrap_or_else(|_| Err(Error::timed_out(time).context("timeout").into())),
        };
        let outcome = outcome.map(|rewards| rewards.first().map_or(f64::NAN, |rewarded| rewarded.reward));
        tell.send_replace(Some(outcome));
    });
    entries.insert(id.clone(), Entry { client, at: Instant::now(), work: work.abort_handle(), outcome, told: None });
    drop(entries);
    Ok(written(&json!({ "errcode": 0, "reward_request_id": id })))
}

pub(super) fn poll(route: Arc<Route>) -> MethodRouter<Server> {
    get(move |State(server): State<Server>, Params(query): Params<Question>, caller: Caller, request: Request| {
        reward(route, server, query, caller, request)
    })
}

/// The reward of a sample: `errcode` 0 with it, 1 while it is not there. If the judgment failed, the reward is null.
async fn reward(route: Arc<Route>, server: Server, query: Question, caller: Caller, request: Request) -> Answer {
    let id = if let Some(id) = query.reward_request_id {
        id
    } else {
        let body = read(request, &server, QUESTION_BYTES, "a question is shorter").await?;
        let question: Question = parse(&body)?;
        question.reward_request_id.ok_or_else(|| Problem::invalid("there is no reward_request_id"))?
    };
    let unknown = || {
        let message =
            "there is no sample with this reward_request_id, or its reward was fetched more than a minute ago";
        Problem::new(StatusCode::NOT_FOUND, "not_found", message)
    };
    let mut outcome = {
        let entries = route.roll.entries();
        let entry = entries.get(&id).filter(|entry| entry.client == caller.name() && entry.is_kept());
        entry.ok_or_else(unknown)?.outcome.clone()
    };
    let mut draining = server.draining();
    let told = tokio::select! {
        biased;
        told = tokio::time::timeout(WAIT, outcome.wait_for(Option::is_some)) => told,
        // The server cannot end while a question waits.
        _ = draining.wait_for(|draining| *draining) => return Ok(unfinished()),
    };
    let outcome = match told {
        Err(_) => return Ok(unfinished()),
        Ok(told) => told.map_err(|_| unknown())?.clone(),
    };
    if let Some(entry) = route.roll.entries().get_mut(&id) {
        entry.told.get_or_insert_with(Instant::now);
    }
    Ok(match outcome {
        None => unfinished(),
        Some(Ok(reward)) => written(&json!({ "errcode": 0, "reward_score": reward })),
        Some(Err(problem)) => {
            let (message, kind) = (problem.detail(), problem.kind());
            written(&json!({ "errcode": 0, "reward_score": null, "errmsg": message, "kind": kind }))
        }
    })
}

fn unfinished() -> Response {
    written(&json!({ "errcode": 1, "errmsg": "not judged yet" }))
}
