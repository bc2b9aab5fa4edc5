//! `Idempotency-Key`: a request that is sent again gets the answer of the first time, and is not judged again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use ring::digest::{Context, SHA256};

use super::body::read;
use super::{Answer, Caller, Problem, Server};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Most requests that are remembered, whatever their size.
const MOST: usize = 65_536;

/// The client of the request, and its key.
type Name = (String, String);
type Hash = [u8; 32];

struct Entry {
    /// The hash of route and body.
    hash: Hash,
    at: Instant,
    /// `None` while it is being answered.
    answer: Option<Kept>,
}

#[derive(Clone)]
struct Kept {
    kind: HeaderValue,
    body: Bytes,
}

/// Answers that were given.
#[derive(Default)]
pub(super) struct Store(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    entries: HashMap<Name, Entry>,
    /// The order in which they came.
    order: VecDeque<Name>,
    bytes: usize,
}

/// What is known of a request.
enum Known {
    New,
    Under,
    Other,
    Answered(Kept),
}

impl Store {
    fn state(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, unless it is known.
    fn begin(&self, name: &Name, hash: Hash, kept_for: Duration) -> Known {
        let mut state = self.state();
        state.forget(kept_for, usize::MAX);
        if let Some(entry) = state.entries.get(name) {
            return match &entry.answer {
                _ if entry.hash != hash => Known::Other,
                None => Known::Under,
                Some(kept) => Known::Answered(kept.clone()),
            };
        }
        state.entries.insert(name.clone(), Entry { hash, at: Instant::now(), answer: None });
        state.order.push_back(name.clone());
        Known::New
    }

    /// Keeps an answer.
    fn keep(&self, name: &Name, kept: Kept, most: usize) {
        let mut state = self.state();
        let bytes = kept.body.len();
        if let Some(entry) = state.entries.get_mut(name) {
            entry.answer = Some(kept);
            state.bytes += bytes;
        }
        state.forget(Duration::MAX, most);
    }

    /// Forgets a request that was not answered, or whose answer may differ next time.
    fn drop(&self, name: &Name) {
        let mut state = self.state();
        state.remove(name);
        state.order.retain(|other| other != name);
    }
}

impl Answers {
    fn remove(&mut self, name: &Name) {
        if let Some(Entry { answer: Some(kept), .. }) = self.entries.remove(name) {
            self.bytes -= kept.body.len();
        }
    }

    /// Forgets answers older than this, and the oldest ones above this many bytes. Requests being answered stay.
    fn forget(&mut self, kept_for: Duration, most: usize) {
        let mut seen = 0;
        while seen < self.order.len() {
            let old = self.order.get(seen).and_then(|name| self.entries.get(name));
            let too_many = self.bytes > most || self.entries.len() > MOST;
            match old {
                Some(entry) if entry.answer.is_none() => seen += 1,
                Some(entry) if entry.at.elapsed() < kept_for && !too_many => return,
                _ => {
                    if let Some(name) = self.order.remove(seen) {
                        self.remove(&name);
                    }
                }
            }
        }
    }
}

/// Forgets a request that ends without an answer, for example because the client disconnects.
struct Under<'a> {
    store: &'a Store,
    name: Option<Name>,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.store.drop(&name);
        }
    }
}

/// Answers a request with an `Idempotency-Key` once. Only answers of status 200 are kept, and no streams.
pub(super) async fn once(State(server): State<Server>, request: Request, next: Next) -> Answer {
    let config = server.config();
    let Some(key) =
        request.headers().get(&KEY).filter(|_| request.method() == Method::POST && config.idempotency_s > 0)
    else {
        return Ok(next.run(request).await);
    };
    let key = key.to_str().ok().filter(|key| (1..=256).contains(&key.len()));
    let key = key.ok_or_else(|| Problem::invalid("an Idempotency-Key has 1 to 256 characters of ASCII"))?.to_owned();
    let client = request.extensions().get::<Caller>().map(|caller| caller.name().to_owned()).unwrap_or_default();
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map(|target| target.as_str().to_owned()).unwrap_or_default();
    let mut whole = Request::new(body);
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH) {
        whole.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    let (limit, setting) = if parts.uri.path().starts_with("/v1/jobs") {
        (config.jobs.max_upload_bytes, "server.jobs.max_upload_bytes")
    } else {
        (config.max_body_bytes, "server.max_body_bytes")
    };
    let input = read(whole, &server, limit, setting).await?;
    let mut context = Context::new(&SHA256);
    context.update(target.as_bytes());
    context.update(&[0]);
    context.update(&input);
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    let (store, name) = (&server.0.answered, (client, key));
    match store.begin(&name, hash, Duration::from_secs(config.idempotency_s)) {
        Known::New => {}
        Known::Under => {
            let message =
                "a request with this Idempotency-Key is still being answered: send it again later to get the answer";
            return Err(Problem::new(StatusCode::CONFLICT, "conflict", message).retry_after(1));
        }
        Known::Other => {
            let message = "this Idempotency-Key was used for another request: use a new key";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", message));
        }
        Known::Answered(kept) => {
            server.metrics().add("dicast_idempotent_replays_total", &[], 1);
            let mut response = ([(header::CONTENT_TYPE, kept.kind)], kept.body).into_response();
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
    }
    let mut under = Under { store, name: Some(name) };
    let response = next.run(Request::from_parts(parts, Body::from(Bytes::copy_from_slice(&input)))).await;
    drop(input);
    let kind = response.headers().get(header::CONTENT_TYPE).cloned();
    let keeps = response.status() == StatusCode::OK && kind.as_ref().is_some_and(|kind| kind == "application/json");
    let (Some(kind), true) = (kind, keeps) else { return Ok(response) };
    let (parts, body) = response.into_parts();
    let Ok(collected) = body.collect().await else {
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the answer was lost: please report it",
        ));
    };
    let body = collected.to_bytes();
    if let Some(name) = under.name.take() {
        store.keep(&name, Kept { kind, body: body.clone() }, config.idempotency_bytes);
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str) -> Name {
        ("a".to_owned(), key.to_owned())
    }

    fn kept(bytes: usize) -> Kept {
        Kept { kind: HeaderValue::from_static("application/json"), body: vec![0; bytes].into() }
    }

    #[test]
    fn answers_are_kept_for_a_time_and_within_bytes() {
        let store = Store::default();
        let long = Duration::from_secs(60);
        for key in ["1", "2", "3"] {
            assert!(matches!(store.begin(&name(key), [0; 32], long), Known::New));
        }
        assert!(matches!(store.begin(&name("1"), [0; 32], long), Known::Under));
        assert!(matches!(store.begin(&name("1"), [1; 32], long), Known::Other));
        store.keep(&name("2"), kept(60), 100);
        store.keep(&name("3"), kept(60), 100);
        assert_eq!(store.state().bytes, 60, "the older answer made room; what is being answered stays");
        assert!(matches!(store.begin(&name("1"), [0; 32], long), Known::Under));
        assert!(matches!(store.begin(&name("3"), [0; 32], long), Known::Answered(_)));
        assert!(matches!(store.begin(&name("2"), [0; 32], long), Known::New));
        store.drop(&name("2"));
        assert!(matches!(store.begin(&name("3"), [0; 32], Duration::ZERO), Known::New), "it is too old");
        let state = store.state();
        assert_eq!((state.bytes, state.order.len(), state.entries.len()), (0, 2, 2));
    }
}
