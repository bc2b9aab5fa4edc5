//! The HTTP interface of the reference system, `rewardanything serve`: its clients work unchanged. Batches keep their order,
//! names come back as they were sent, and a judgment that failed is an error, never an empty result.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::number;
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

use super::batch::{Batch, whole_failed};
use super::body::{Input, Params, json as answer};
use super::{Answer, Caller, Problem, Server};

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/api/rewardanything", post(one)).route("/api/rewardanything_batch", post(many))
}

/// The query of a batch.
#[derive(Deserialize)]
struct Times {
    /// Seconds for the whole batch.
    max_timeout: Option<f64>,
}

/// Reads a request. An unknown field is an error, because it would be ignored.
pub(crate) fn read(json: &[u8]) -> Result<JudgeRequest> {
    JudgeRequest::from_json(json)
}

/// A verdict as the reference writes it, with additions: finer scores, repairs and flags.
pub(crate) fn written(verdict: &Verdict) -> Value {
    let scores: Map<_, _> =
        verdict.scores.iter().map(|scored| (scored.name.clone(), number::score(scored.score))).collect();
    let ranking: Vec<_> = verdict.ranked_names().collect();
    let expected: Map<_, _> =
        verdict.scores.iter().map(|scored| (scored.name.clone(), scored.expected.into())).collect();
    json!({
        "thoughts": verdict.reasoning,
        "results": { "scores": scores, "best-to-worst": ranking },
        "expected_scores": expected, "repairs": verdict.repairs, "flags": verdict.flags,
    })
}

/// A judgment of a batch that failed. The reference's client reads an item without `results` as an empty verdict, and one whose
/// `results` is null as an error.
pub(crate) fn failed_item(error: &Error) -> Value {
    let mut item = error.to_json();
    item["thoughts"] = "".into();
    item["results"] = Value::Null;
    item
}

async fn one(State(server): State<Server>, caller: Caller, input: Input) -> Answer {
    let request = read(&input)?;
    let verdict = server.judge(&caller, None, request, None).await?;
    Ok(answer(&written(&verdict)))
}

async fn many(State(server): State<Server>, Params(times): Params<Times>, caller: Caller, input: Input) -> Answer {
    let items: Vec<Box<serde_json::value::RawValue>> = super::body::parse(&input)
        .map_err(|problem| Problem::invalid(format!("a batch is a list of requests: {}", problem.detail())))?;
    let requests = items.iter().map(|item| read(item.get().as_bytes())).collect();
    let batch = Batch::new(&server, &caller, None, requests)?;
    let outcomes = match times.max_timeout {
        None => batch.all().await,
        Some(seconds) => {
            if !(0.001..=86_400.0).contains(&seconds) {
                return Err(Problem::invalid(format!(
                    "max_timeout is {seconds}: it must be from 0.001 to 86400 seconds"
                )));
            }
            batch.all_within(Duration::from_secs_f64(seconds)).await
        }
    };
    let failed: Vec<(usize, &Error)> =
        outcomes.iter().enumerate().filter_map(|(index, outcome)| Some((index, outcome.as_ref().err()?))).collect();
    if failed.len() == outcomes.len()
        && let Some((_, error)) = failed.first()
    {
        // The time that the client has set is over; this is not the server's fault.
        if times.max_timeout.is_some() && error.kind() == ErrorKind::Timeout {
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", error.message()));
        }
        return Err(whole_failed(error, failed.len()));
    }
    let list: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(verdict) => written(verdict),
            Err(error) => failed_item(error),
        })
        .collect();
    Ok(answer(&list))
}
