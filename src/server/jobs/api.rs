//! The API of jobs: create, upload, start, watch, results, cancel, list, delete.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::fault::Fault;
use super::line;
use super::runner::now_ms;
use super::store::{JobInfo, NewJob, State as JobState, Store};
use crate::config::Options;
use crate::server::stream::{self, Gone};
use crate::server::{Answer, Caller, Problem, Server, body, json as answer};

/// Jobs made through this interface.
pub(super) const FORM: &str = "jobs";
/// Characters of a name, and of an idempotency key.
const NAME: usize = 200;
/// Jobs on a page of the list.
const PAGE: usize = 100;
/// The longest wait for a job.
const LONGEST_WAIT_S: f64 = 600.0;
/// Bytes of results that are read at a time.
const CHUNK: usize = 1 << 20;

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/v1/jobs", get(list).post(create))
        .route("/v1/jobs/{id}", get(show).delete(delete))
        .route("/v1/jobs/{id}/requests", get(requests).post(upload))
        .route("/v1/jobs/{id}/start", post(start))
        .route("/v1/jobs/{id}/cancel", post(cancel))
        .route("/v1/jobs/{id}/results", get(results))
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let status = StatusCode::from_u16(fault.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Self::new(status, fault.name(), fault.message());
        if fault.is_retryable() { problem.retry_after(5) } else { problem }
    }
}

type Asked<T> = Result<Query<T>, QueryRejection>;

/// The query of a request, or what is wrong with it.
fn query<T>(asked: Asked<T>) -> Result<T, Problem> {
    asked.map(|Query(query)| query).map_err(|error| Problem::invalid(error.body_text()))
}

/// A job as callers see it.
fn shown(server: &Server, job: &JobInfo) -> Value {
    let mut shown = json!({
        "id": job.id, "object": "job", "name": job.name, "judge": job.model, "state": job.state.name(),
        "requests": job.total, "done": job.done, "failed": job.failed,
        "created_ms": job.created_ms, "started_ms": job.started_ms, "ended_ms": job.ended_ms,
        "expires_ms": (job.state != JobState::Running).then_some(job.expires_ms),
    });
    if job.state == JobState::Running
        && let Some(problem) = server.jobs().problem(job.number)
    {
        shown["problem"] = problem.into();
    }
    shown
}

/// How a job is made.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct New {
    name: String,
    judge: Option<String>,
    model: Option<String>,
    keep_s: Option<u64>,
    options: Options,
    /// With requests the job is started at once.
    requests: Option<Vec<Box<RawValue>>>,
}

/// The same in the address, for a body of JSON Lines, which holds the requests.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct NewQuery {
    name: String,
    judge: Option<String>,
    keep_s: Option<u64>,
}

/// The lines of a body of JSON Lines. Blank lines at the end do not count; others keep their places.
pub(super) fn lines(body: &[u8]) -> Vec<Vec<u8>> {
    let body = body.trim_ascii_end();
    if body.is_empty() {
        return Vec::new();
    }
    body.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
}

fn is_lines(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/x-ndjson", "application/jsonl"].iter().any(|lines| kind.eq_ignore_ascii_case(lines))
}

/// Refuses a body that a web page could send anywhere without being asked.
fn expect_data(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if matches!(kind.as_str(), "application/json" | "application/x-ndjson" | "application/jsonl") {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body is {kind:?}: send JSON Lines as application/x-ndjson, or an object as application/json"),
    ))
}

async fn create(
    State(server): State<Server>,
    asked: Asked<NewQuery>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    expect_data(&headers)?;
    let from_query = query(asked)?;
    let input =
        body::read(request, &server, server.config().jobs.max_upload_bytes, "server.jobs.max_upload_bytes").await?;
    let (new, lines) = if is_lines(&headers) {
        let NewQuery { name, judge, keep_s } = from_query;
        (New { name, judge, keep_s, ..New::default() }, Some(lines(&input)))
    } else {
        let mut new: New = if input.is_empty() { New::default() } else { body::parse(&input)? };
        if new.name.is_empty() {
            new.name = from_query.name;
        }
        let judge = new.judge.take().or(new.model.take()).or(from_query.judge);
        let lines = new.requests.take().map(|requests| requests.iter().map(|one| one.get().into()).collect());
        (New { judge, keep_s: new.keep_s.or(from_query.keep_s), ..new }, lines)
    };
    drop(input);
    if new.name.chars().count() > NAME {
        return Err(Problem::invalid(format!("the name of a job has at most {NAME} characters")));
    }
    let idempotency = match headers.get("idempotency-key").map(|key| key.to_str()) {
        None => None,
        Some(Ok(key)) if (1..=NAME).contains(&key.len()) => Some(key.to_owned()),
        Some(_) => return Err(Problem::invalid(format!("an Idempotency-Key has 1 to {NAME} characters of ASCII"))),
    };
    let model = server.judges().known(new.judge.as_deref())?.to_owned();
    new.options.resolve_request()?;
    if lines.as_ref().is_some_and(Vec::is_empty) {
        return Err(Problem::invalid("the job has no requests: send one JSON object on each line"));
    }
    let job = NewJob {
        owner: caller.name().to_owned(),
        form: FORM.to_owned(),
        name: new.name,
        model,
        options: serde_json::to_string(&new.options).unwrap_or_default(),
        idempotency,
        keep_ms: new.keep_s.unwrap_or(server.config().jobs.keep_s).saturating_mul(1000),
    };
    if let Some(lines) = &lines {
        caller.take(lines.len().saturating_sub(1))?;
    }
    let (job, is_new) = make(&server, job, lines).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, format!("/v1/jobs/{}", job.id))], answer(&shown(&server, &job))).into_response())
}

/// Makes a job; with `lines` it is started with these. A repeated idempotency key returns the existing job, and continues where
/// a killed server left it.
pub(super) async fn make(
    server: &Server,
    new: NewJob,
    lines: Option<Vec<Vec<u8>>>,
) -> Result<(JobInfo, bool), Problem> {
    let made = server
        .jobs()
        .with(move |store: &mut Store| {
            let now = now_ms();
            let (job, is_new) = store.create(&new, now)?;
            let Some(lines) = lines else { return Ok((job, is_new)) };
            if job.state != JobState::Open {
                return Ok((job, is_new));
            }
            let rest = lines.get(usize::try_from(job.total).unwrap_or(usize::MAX)..).unwrap_or_default();
            if !rest.is_empty()
                && let Err(fault) = store.upload(&new.owner, &job.id, Some(job.total), rest, now)
            {
                if is_new {
                    // A job whose id nobody knows is useless.
                    store.delete(&new.owner, &job.id)?;
                }
                return Err(fault);
            }
            store.start(&new.owner, &job.id, now).map(|job| (job, is_new))
        })
        .await?;
    server.jobs().changed();
    Ok(made)
}

/// Where an upload continues.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadQuery {
    from: Option<u64>,
}

async fn upload(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked<UploadQuery>,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Answer {
    expect_data(&headers)?;
    let UploadQuery { from } = query(asked)?;
    let input =
        body::read(request, &server, server.config().jobs.max_upload_bytes, "server.jobs.max_upload_bytes").await?;
    let lines = if input.trim_ascii_start().starts_with(b"[") {
        let items: Vec<Box<RawValue>> = body::parse(&input)?;
        items.iter().map(|item| item.get().as_bytes().to_vec()).collect()
    } else {
        lines(&input)
    };
    drop(input);
    if lines.is_empty() {
        return Err(Problem::invalid("the body has no requests: send one JSON object on each line"));
    }
    caller.take(lines.len() - 1)?;
    let owner = caller.name().to_owned();
    let job = server
        .jobs()
        .with(move |store| {
            store.upload(&owner, &id, from, &lines, now_ms())?;
            store.get(&owner, &id)
        })
        .await?;
    Ok(answer(&shown(&server, &job)))
}

/// Does something to one job of the caller.
async fn act(
    server: &Server,
    caller: &Caller,
    id: String,
    act: impl FnOnce(&mut Store, &str, &str) -> Result<JobInfo, Fault> + Send + 'static,
) -> Result<JobInfo, Problem> {
    let owner = caller.name().to_owned();
    let job = server.jobs().with(move |store| act(store, &owner, &id)).await?;
    server.jobs().changed();
    Ok(job)
}

async fn start(State(server): State<Server>, Path(id): Path<String>, caller: Caller) -> Answer {
    let job = act(&server, &caller, id, |store, owner, id| store.start(owner, id, now_ms())).await?;
    Ok(answer(&shown(&server, &job)))
}

async fn cancel(State(server): State<Server>, Path(id): Path<String>, caller: Caller) -> Answer {
    let job = act(&server, &caller, id, |store, owner, id| store.cancel(owner, id, now_ms())).await?;
    Ok(answer(&shown(&server, &job)))
}

async fn delete(State(server): State<Server>, Path(id): Path<String>, caller: Caller) -> Answer {
    let job = act(&server, &caller, id, Store::delete).await?;
    Ok(answer(&json!({ "id": job.id, "object": "job", "deleted": true })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    #[serde(default)]
    wait_s: f64,
}

async fn show(State(server): State<Server>, Path(id): Path<String>, asked: Asked<ShowQuery>, caller: Caller) -> Answer {
    let ShowQuery { wait_s } = query(asked)?;
    let job = wait(&server, &caller, &id, "wait_s", wait_s).await?;
    Ok(answer(&shown(&server, &job)))
}

/// Waits until a job is over, as long as the caller wants, but not longer than the server runs.
pub(super) async fn wait(
    server: &Server,
    caller: &Caller,
    id: &str,
    name: &str,
    seconds: f64,
) -> Result<JobInfo, Problem> {
    if !(0.0..=LONGEST_WAIT_S).contains(&seconds) {
        return Err(Problem::invalid(format!("{name} is {seconds}: it must be from 0 to {LONGEST_WAIT_S} seconds")));
    }
    let mut draining = server.draining();
    let ending = async move {
        let _ = draining.wait_for(|draining| *draining).await;
    };
    let waited = tokio::select! {
        job = server.jobs().wait(caller.name(), id, Duration::from_secs_f64(seconds)) => Some(job?),
        () = ending => None,
    };
    match waited {
        Some(job) => Ok(job),
        None => Ok(server.jobs().wait(caller.name(), id, Duration::ZERO).await?),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
    before: Option<String>,
}

async fn list(State(server): State<Server>, asked: Asked<ListQuery>, caller: Caller) -> Answer {
    let ListQuery { limit, before } = query(asked)?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::invalid(format!("limit is {limit}: it must be from 1 to {PAGE}")));
    }
    let owner = caller.name().to_owned();
    let mut jobs = server.jobs().with(move |store| store.list(&owner, None, before.as_deref(), limit + 1)).await?;
    let has_more = jobs.len() > limit;
    jobs.truncate(limit);
    let data: Vec<_> = jobs.iter().map(|job| shown(&server, job)).collect();
    Ok(answer(&json!({ "object": "list", "data": data, "has_more": has_more })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResultsQuery {
    #[serde(default)]
    from: u64,
    limit: Option<u64>,
    #[serde(default)]
    partial: bool,
}

/// Results as JSON Lines, one for each request, in order. For a running job only with `?partial=true`.
async fn results(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked<ResultsQuery>,
    caller: Caller,
) -> Answer {
    let ResultsQuery { from, limit, partial } = query(asked)?;
    let owner = caller.name().to_owned();
    let job = {
        let (owner, id) = (owner.clone(), id.clone());
        server.jobs().with(move |store| store.get(&owner, &id)).await?
    };
    if matches!(job.state, JobState::Open | JobState::Running) && !partial {
        let text = format!(
            "the job is {}; {} of {} requests are done: ask again later, or with ?partial=true",
            job.state.name(),
            job.done,
            job.total
        );
        return Err(Fault::State(text).into());
    }
    let cancelled = job.state == JobState::Cancelled;
    Ok(stream::answer("application/x-ndjson", |pieces| async move {
        let (mut next, mut left) = (from, limit.unwrap_or(u64::MAX));
        while left > 0 {
            let (owner, id) = (owner.clone(), id.clone());
            let most = usize::try_from(left.min(1000)).unwrap_or(1000);
            let chunk = server.jobs().with(move |store| store.results(&owner, &id, next, most, CHUNK)).await;
            // Deleted meanwhile: the answer breaks off, which the client sees.
            let chunk = chunk.map_err(|_| Gone)?;
            if chunk.is_empty() {
                break;
            }
            let mut text = String::new();
            for (place, line) in chunk {
                match line {
                    Some(line) => text.push_str(&line),
                    None => text.push_str(&line::absent(place, cancelled)),
                }
                text.push('\n');
                (next, left) = (place + 1, left - 1);
            }
            pieces.send(Bytes::from(text)).await?;
        }
        Ok(())
    }))
}

/// The requests as they were uploaded, as JSON Lines.
async fn requests(
    State(server): State<Server>,
    Path(id): Path<String>,
    asked: Asked<ResultsQuery>,
    caller: Caller,
) -> Answer {
    let ResultsQuery { from, limit, .. } = query(asked)?;
    let owner = caller.name().to_owned();
    {
        let (owner, id) = (owner.clone(), id.clone());
        server.jobs().with(move |store| store.get(&owner, &id)).await?;
    }
    Ok(stream::answer("application/x-ndjson", |pieces| async move {
        let (mut next, mut left) = (from, limit.unwrap_or(u64::MAX));
        while left > 0 {
            let (owner, id) = (owner.clone(), id.clone());
            let most = usize::try_from(left.min(1000)).unwrap_or(1000);
            let chunk = server.jobs().with(move |store| store.requests(&owner, &id, next, most, CHUNK)).await;
            let chunk = chunk.map_err(|_| Gone)?;
            if chunk.is_empty() {
                break;
            }
            let mut text = Vec::new();
            for (place, line) in chunk {
                text.extend_from_slice(&line);
                text.push(b'\n');
                (next, left) = (place + 1, left - 1);
            }
            pieces.send(Bytes::from(text)).await?;
        }
        Ok(())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_places_and_blank_ones_at_the_end_are_none() {
        let texts = |body: &str| -> Vec<String> {
            lines(body.as_bytes()).into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
        };
        assert_eq!(texts("a\nb"), ["a", "b"]);
        assert_eq!(texts("\na\r\n\nb\n\n \n"), ["", "a", "", "b"]);
        assert!(texts(" \n\n").is_empty());
    }
}
