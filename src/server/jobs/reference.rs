//! Batches of the reference system whose results are fetched later: `/api/batch_request` and the related routes, on the same
//! store.
//!
//! The reference lets a client say where the model is, which key to use, and where to write. None of that is used here: fields
//! that would choose a server, a credential or a file are refused; other unused fields are ignored with a warning.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::api;
use super::line;
use super::runner::now_ms;
use super::store::{NewJob, State as JobState};
use crate::config::Options;
use crate::date;
use crate::server::{Answer, Caller, Input, Problem, Server, body, json as answer};

/// Jobs made through this interface.
const FORM: &str = "reference";
/// The reference's default wait, in seconds.
const WAIT_S: f64 = 600.0;
/// Bytes of results that are read at a time.
const CHUNK: usize = 4 << 20;

/// Fields that would choose a server, a credential or a file.
const REFUSED: [&str; 4] = ["api_base", "api_key", "api_proxy", "output_path"];
/// Fields about how the reference calls its server; here the server's own settings apply.
const IGNORED: [&str; 9] = [
    "api_model",
    "api_timeout",
    "api_max_retries",
    "num_workers",
    "request_limit",
    "request_limit_period",
    "max_error_count",
    "trial_run",
    "dump_individual_rsp",
];

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/api/batch_request", post(create))
        .route("/api/batch_request/{id}", get(results))
        .route("/api/clear_tasks", post(clear))
        .route("/api/list_tasks", get(list))
}

/// Options that a `generation_config` sets, as far as there are such options; the others are named.
fn options(config: &Map<String, Value>) -> Result<(Options, Vec<String>), Problem> {
    let (mut known, mut unknown) = (Map::new(), Vec::new());
    for (key, value) in config {
        if !["temperature", "top_p", "top_k", "seed"].contains(&key.as_str()) {
            unknown.push(key.clone());
            continue;
        }
        if !value.is_null() {
            known.insert(key.clone(), value.clone());
        }
    }
    let options: Options = serde_json::from_value(known.into())
        .map_err(|error| Problem::invalid(format!("generation_config: {error}")))?;
    Ok((options, unknown))
}

async fn create(State(server): State<Server>, caller: Caller, input: Input) -> Answer {
    let mut fields: Map<String, Value> = Map::new();
    let mut requests: Option<Vec<Box<RawValue>>> = None;
    let raw: std::collections::BTreeMap<String, Box<RawValue>> = body::parse(&input)?;
    for (key, value) in raw {
        if key == "requests" {
            requests = Some(body::parse(value.get().as_bytes())?);
        } else {
            fields.insert(key, serde_json::from_str(value.get()).unwrap_or_default());
        }
    }
    let requests = requests.ok_or_else(|| Problem::invalid("the batch has no \"requests\": a list of requests"))?;
    if requests.is_empty() {
        return Err(Problem::invalid("the batch has no requests: give at least one"));
    }
    fields.retain(|_, value| !value.is_null());
    if let Some(field) = REFUSED.iter().find(|field| fields.contains_key(**field)) {
        return Err(Problem::invalid(format!(
            "{field} is refused: only this server's configuration decides which server, key and file are used"
        )));
    }
    let mut warnings = Vec::new();
    let mut defaults = Options::default();
    for (key, value) in &fields {
        match (key.as_str(), value) {
            ("generation_config", Value::Object(config)) => {
                let (options, unknown) = options(config)?;
                defaults = options;
                warnings.extend(unknown.into_iter().map(|key| format!("generation_config.{key} is not used")));
            }
            (key, _) if IGNORED.contains(&key) => warnings.push(format!("{key} is not used")),
            (key, _) => return Err(Problem::invalid(format!("the batch has the unknown field {key:?}"))),
        }
    }
    caller.take(requests.len() - 1)?;
    let lines: Vec<Vec<u8>> = requests.iter().map(|request| request.get().into()).collect();
    let new = NewJob {
        owner: caller.name().to_owned(),
        form: FORM.to_owned(),
        model: server.judges().known(None)?.to_owned(),
        options: serde_json::to_string(&defaults).unwrap_or_default(),
        keep_ms: server.config().jobs.keep_s.saturating_mul(1000),
        ..NewJob::default()
    };
    drop(input);
    let (job, _) = api::make(&server, new, Some(lines)).await?;
    let mut made = json!({
        "batch_request_id": job.id, "requests": job.total, "start_time": date::iso(job.started_ms.unwrap_or_else(now_ms)),
    });
    if !warnings.is_empty() {
        made["warnings"] = warnings.into();
    }
    Ok(answer(&made))
}

#[derive(Deserialize)]
struct Times {
    max_timeout: Option<f64>,
}

async fn results(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Result<Query<Times>, QueryRejection>,
    caller: Caller,
) -> Answer {
    let Query(Times { max_timeout }) = asked.map_err(|error| Problem::invalid(error.body_text()))?;
    let job = api::wait(&server, &caller, &id, "max_timeout", max_timeout.unwrap_or(WAIT_S)).await?;
    match job.state {
        JobState::Finished => {}
        JobState::Cancelled => {
            return Err(Problem::new(StatusCode::CONFLICT, "cancelled", "the batch was cancelled"));
        }
        _ => {
            let text = format!("{} of {} requests are done: ask again later", job.done, job.total);
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "not_ready", text).retry_after(1));
        }
    }
    let (mut all, mut next) = (Vec::new(), 0);
    loop {
        let (owner, id) = (caller.name().to_owned(), id.clone());
        let chunk = server.jobs().with(move |store| store.results(&owner, &id, next, 10_000, CHUNK)).await?;
        let Some((last, _)) = chunk.last() else { break };
        next = last + 1;
        all.extend(chunk.into_iter().map(|(_, line)| line::reference(&line.unwrap_or_default())));
    }
    Ok(answer(&all))
}

async fn clear(State(server): State<Server>, caller: Caller) -> Answer {
    let owner = caller.name().to_owned();
    let cleared = server.jobs().with(move |store| store.clear(&owner, FORM)).await?;
    server.jobs().changed();
    Ok(answer(&json!({ "message": "All tasks cleared", "tasks": cleared.len() })))
}

async fn list(State(server): State<Server>, caller: Caller) -> Answer {
    let owner = caller.name().to_owned();
    let most = server.config().jobs.max_jobs as usize;
    let jobs = server.jobs().with(move |store| store.list(&owner, Some(FORM), None, most)).await?;
    let tasks: Map<String, Value> = jobs
        .iter()
        .rev()
        .map(|job| {
            let complete = !matches!(job.state, JobState::Open | JobState::Running);
            let task = json!({
                "start_time": date::iso(job.started_ms.unwrap_or(job.created_ms)),
                "complete": complete,
                "has_error": job.state == JobState::Cancelled,
                "num_requests": job.total,
                "done": job.done,
                "failed": job.failed,
                "output_path": Value::Null,
            });
            (job.id.clone(), task)
        })
        .collect();
    Ok(answer(&tasks).into_response())
}
