//! ROLL's remote reward: a sample is submitted, and its reward is asked for until it is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::routing::{MethodRouter, get};
use serde::Deserialize;
use serde_json::{Value, json};
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
/// Bytes of the body of a question.
const QUESTION_BYTES: usize = 64 << 10;

/// The samples of a route, by number.
#[derive(Default)]
pub(super) struct Store(Mutex<HashMap<String, Entry>>);

struct Entry {
    client: String,
    at: Instant,
    work: AbortHandle,
    outcome: Option<Result<f64, Problem>>,
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
    entries.retain(|_, entry| entry.at.elapsed() < KEPT);
    if entries.len() >= MOST {
        let message = format!("{MOST} samples are already kept: ask for their rewards first");
        return Err(Error::new(ErrorKind::Overloaded, message).into());
    }
    let (work_route, work_id, client) = (route.clone(), id.clone(), caller.name().to_owned());
    // The task stores its outcome under the lock that is held here, so its entry exists before that.
    let work = tokio::spawn(async move {
        let judged = work_route.rewards(&server, &caller, vec![sample]);
        let outcome = match time {
            None => judged.await,
            Some(time) => tokio::time::timeout(time, judged)
                .await
                .unwrap_or_else(|_| Err(Error::timed_out(time).context("timeout").into())),
        };
        let outcome = outcome.map(|rewards| rewards.first().map_or(f64::NAN, |rewarded| rewarded.reward));
        if let Some(entry) = work_route.roll.entries().get_mut(&work_id) {
            entry.outcome = Some(outcome);
            entry.at = Instant::now();
        }
    });
    let entry = Entry { client, at: Instant::now(), work: work.abort_handle(), outcome: None };
    entries.insert(id.clone(), entry);
    drop(entries);
    Ok(written(&json!({ "errcode": 0, "reward_request_id": id })))
}

/// The reward of a sample: `errcode` 0 with it, 1 while it is not there. A judgment that failed is an answer with that status.
pub(super) fn poll(route: Arc<Route>) -> MethodRouter<Server> {
    get(
        move |State(server): State<Server>, Params(query): Params<Question>, caller: Caller, request: Request| async move {
            let id = if let Some(id) = query.reward_request_id {
                id
            } else {
                let body = read(request, &server, QUESTION_BYTES).await?;
                let question: Question = parse(&body)?;
                question.reward_request_id.ok_or_else(|| Problem::invalid("there is no reward_request_id"))?
            };
            let mut entries = route.roll.entries();
            let outcome =
                entries.get(&id).filter(|entry| entry.client == caller.name()).map(|entry| entry.outcome.clone());
            match outcome {
                None => Err(Problem::new(
                    axum::http::StatusCode::NOT_FOUND,
                    "not_found",
                    "there is no sample with this reward_request_id, or its reward was already fetched",
                )),
                Some(None) => Ok(written(&json!({ "errcode": 1, "message": "not judged yet" }))),
                Some(Some(outcome)) => {
                    entries.remove(&id);
                    drop(entries);
                    let reward = outcome?;
                    Ok(written(&json!({ "errcode": 0, "reward_score": reward })))
                }
            }
        },
    )
}
