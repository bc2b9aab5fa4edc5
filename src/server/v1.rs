//! The API of this server: single verdicts, batches, events, and rewards.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::config::Reward;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::Judge;
use crate::number;
use crate::request::JudgeRequest;
use crate::request::reading::{Keys, Reading, unknown_field};
use crate::verdict::Verdict;

use super::batch::Batch;
use super::body::{Input, Params, json as answer, parse};
use super::stream::{self, Gone, KEEP_ALIVE, Pieces};
use super::{Answer, Caller, Event, Problem, Server, Watcher};

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/v1/judge", post(judge))
        .route("/v1/judge/batch", post(batch))
        .route("/v1/rewards", post(rewards))
        .route("/v1/models", get(models))
}

/// A request with what this API adds to it.
pub(super) struct Asked {
    pub(super) request: JudgeRequest,
    pub(super) judge: Option<String>,
    stream: bool,
}

impl Asked {
    /// Reads a request with the further fields `judge` (or `model`) and `stream`.
    pub(super) fn read(json: &[u8]) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
        let reading = Reading::new(json, &Keys::default(), None);
        let request = reading.request?;
        let mut asked = Self { request, judge: None, stream: false };
        for (name, value) in &reading.rest {
            let text = value.get();
            match name.as_str() {
                "judge" | "model" if asked.judge.is_none() => {
                    asked.judge = serde_json::from_str(text).map_err(|_| invalid(format!("{name:?} must be text")))?;
                }
                "stream" => {
                    asked.stream = serde_json::from_str(text)
                        .map_err(|_| invalid(format!("\"stream\" is {text}: it must be true or false")))?;
                }
                other => return Err(unknown_field(other)),
            }
        }
        Ok(asked)
    }
}

async fn judge(State(server): State<Server>, caller: Caller, headers: HeaderMap, input: Input) -> Answer {
    let Asked { request, judge, stream } = Asked::read(&input)?;
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if stream || accept.contains("text/event-stream") {
        return watched(server, caller, judge, request).await;
    }
    Ok(answer(&server.judge(&caller, judge.as_deref(), request, None).await?))
}

/// A judgment as events: `queued`, `started`, `reasoning`, then `verdict` or `error`. A failure before it waits or starts is an
/// answer with that status.
async fn watched(server: Server, caller: Caller, judge: Option<String>, request: JudgeRequest) -> Answer {
    let (watcher, mut events) = Watcher::new();
    let mut work = Box::pin(async move { server.judge(&caller, judge.as_deref(), request, Some(watcher)).await });
    let first = tokio::select! {
        biased;
        Some(event) = events.recv() => Ok(event),
        outcome = &mut work => Err(outcome),
    };
    let (first, mut ended) = match first {
        Ok(event) => (Some(event), None),
        Err(Err(error)) if events.is_empty() => return Err(error.into()),
        Err(outcome) => (None, Some(outcome)),
    };
    Ok(stream::answer("text/event-stream", |pieces| async move {
        if let Some(event) = first {
            tell(&pieces, event).await?;
        }
        let outcome = loop {
            if let Some(outcome) = ended.take() {
                break outcome;
            }
            tokio::select! {
                biased;
                Some(event) = events.recv() => tell(&pieces, event).await?,
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(KEEP_ALIVE) => pieces.comment().await?,
            }
        };
        while let Ok(event) = events.try_recv() {
            tell(&pieces, event).await?;
        }
        match outcome {
            Ok(verdict) => pieces.event("verdict", &verdict).await,
            Err(error) => pieces.event("error", &Problem::from(error).to_json()).await,
        }
    }))
}

async fn tell(pieces: &Pieces, event: Event) -> std::result::Result<(), Gone> {
    match event {
        Event::Queued(place) => pieces.event("queued", &json!({ "place": place })).await,
        Event::Started => pieces.event("started", &json!({})).await,
        Event::Reasoning(text) => pieces.event("reasoning", &json!({ "text": text })).await,
    }
}

/// The query of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchQuery {
    #[serde(default)]
    order: Order,
    judge: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Order {
    /// Results in the order of the requests.
    #[default]
    Request,
    /// Results as they finish.
    Finished,
}

async fn batch(
    State(server): State<Server>,
    Params(BatchQuery { order, judge }): Params<BatchQuery>,
    caller: Caller,
    headers: HeaderMap,
    input: Input,
) -> Answer {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let requests = read_batch(&input, kind.to_ascii_lowercase().starts_with("application/json"))?;
    let mut batch = Batch::new(&server, &caller, judge.as_deref(), requests)?;
    drop(input);
    Ok(stream::answer("application/x-ndjson", |pieces| async move {
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        while let Some((index, outcome)) = batch.next().await {
            if order == Order::Finished {
                pieces.line(&item(index, &outcome)).await?;
                continue;
            }
            waiting.insert(index, item(index, &outcome));
            while let Some(item) = waiting.remove(&next) {
                pieces.line(&item).await?;
                next += 1;
            }
        }
        // After one that was lost.
        for item in waiting.into_values() {
            pieces.line(&item).await?;
        }
        Ok(())
    }))
}

/// Requests of a batch: a JSON array, or one on each line. One that cannot be read is a failure at its place.
fn read_batch(body: &[u8], is_json: bool) -> std::result::Result<Vec<Result<JudgeRequest>>, Problem> {
    let one = |json: &[u8]| JudgeRequest::from_json(json);
    if body.trim_ascii_start().starts_with(b"[") {
        let items: Vec<Box<RawValue>> = parse(body)?;
        return Ok(items.iter().map(|item| one(item.get().as_bytes())).collect());
    }
    if is_json {
        let message =
            "a batch is an array of requests; for a request on each line send content-type: application/x-ndjson";
        return Err(Problem::invalid(message));
    }
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    Ok(lines.filter(|line| !line.is_empty()).map(one).collect())
}

/// A line of a batch's answer.
fn item(index: usize, outcome: &Result<Verdict>) -> Value {
    match outcome {
        Ok(verdict) => json!({ "index": index, "status": 200, "verdict": verdict }),
        Err(error) => {
            let mut item = json!({ "index": index, "status": error.kind().http_status() });
            item["error"] = error.to_json()["error"].take();
            item
        }
    }
}

/// The reward of each response, in their order: the one that was asked for (`reward`), else the expected score, or the score
/// if the engine gives no distributions.
fn rewards_of(verdict: &Verdict) -> Result<Vec<f64>> {
    match &verdict.rewards {
        Some(rewards) => Ok(rewards.values.clone()),
        None => verdict.rewards_of(Reward::ExpectedOrScore),
    }
}

async fn rewards(State(server): State<Server>, caller: Caller, input: Input) -> Answer {
    let Asked { request, judge, stream } = Asked::read(&input)?;
    if stream {
        return Err(Problem::invalid("rewards are not streamed: use /v1/judge"));
    }
    let verdict = server.judge(&caller, judge.as_deref(), request, None).await?;
    let scores: Vec<_> = verdict.scores.iter().map(|scored| number::score(scored.score)).collect();
    let names: Vec<_> = verdict.scores.iter().map(|scored| scored.name.as_str()).collect();
    Ok(answer(&json!({
        "rewards": rewards_of(&verdict)?,
        "scores": scores,
        "names": names,
        "ranking": verdict.ranking,
        "repairs": verdict.repairs,
        "flags": verdict.flags,
    })))
}

async fn models(State(server): State<Server>) -> Answer {
    let judges = server.judges();
    let models: Vec<_> = judges
        .names()
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let mut model = json!({
                "id": name, "object": "model", "created": 0, "owned_by": "dicast",
                "default": index == 0, "loaded": false,
            });
            if let Some(loaded) = judges.loaded(name) {
                model["loaded"] = true.into();
                about(&loaded.judge, &mut model);
            }
            model
        })
        .collect();
    Ok(answer(&json!({ "object": "list", "data": models })))
}

/// What a client may know about a judge. The path of its model is not included.
fn about(judge: &Judge, model: &mut Value) {
    let (capabilities, scale, limits) = (judge.capabilities(), judge.profile().scale, &judge.config().limits);
    model["engine"] = capabilities.engine.name().into();
    model["max_model_len"] = capabilities.context_tokens.into();
    model["max_responses"] = limits.max_responses.into();
    model["scale"] = json!({ "min": scale.min, "max": scale.max });
    model["distributions"] = capabilities.distributions.into();
}
