//! Bodies: read within limits of size, time and memory; answers as JSON.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind};

use super::{Problem, Server};

/// A client gets one more second for each of these many bytes.
const BYTES_PER_SECOND: usize = 32 << 10;

/// How many bytes of bodies are held.
#[derive(Clone)]
pub(super) struct Held(Arc<HeldInner>);

struct HeldInner {
    bytes: AtomicUsize,
    limit: usize,
}

/// Bytes that are held until this is dropped.
struct Share {
    held: Held,
    bytes: usize,
}

impl Held {
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(HeldInner { bytes: AtomicUsize::new(0), limit }))
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes more, if that is within the limit.
    fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let before = self.held.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if before + bytes <= self.held.0.limit {
            return Ok(());
        }
        let message = format!(
            "the server already holds requests with {} bytes (server.max_held_bytes): try again later",
            self.held.0.limit
        );
        Err(Error::new(ErrorKind::Overloaded, message).into())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The body of a request with JSON. Counts against the memory for bodies until it is dropped.
pub(crate) struct Input {
    bytes: Bytes,
    _share: Share,
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromRequest<Server> for Input {
    type Rejection = Problem;

    async fn from_request(request: Request, server: &Server) -> Result<Self, Problem> {
        expect_json(request.headers())?;
        read(request, server, server.config().max_body_bytes, "server.max_body_bytes").await
    }
}

/// Refuses a body with another content type. A web page may send forms and plain text anywhere, but not JSON, so this keeps it
/// from using a server without keys.
fn expect_json(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = matches!(essence.as_str(), "application/json" | "application/x-ndjson" | "application/jsonl")
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if json {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("the body is {essence:?}: send JSON with the header `content-type: application/json`"),
    ))
}

/// Reads a body of at most `limit` bytes; `setting` is what sets the limit.
pub(crate) async fn read(request: Request, server: &Server, limit: usize, setting: &str) -> Result<Input, Problem> {
    let too_large = || {
        let message = format!("the body has more than {limit} bytes ({setting})");
        Problem::from(Error::new(ErrorKind::TooLarge, message))
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let mut share = Share { held: server.0.held.clone(), bytes: 0 };
    let mut whole = BytesMut::new();
    let began = Instant::now();
    let patience = Duration::from_millis(server.config().body_timeout_ms);
    let mut body = request.into_body();
    loop {
        let earned = Duration::from_secs((whole.len() / BYTES_PER_SECOND) as u64);
        let frame = match timeout_at(began + patience + earned, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Problem::invalid(format!("the body cannot be read: {error}"))),
            Err(_) => {
                let message =
                    format!("the body did not come within {} ms (server.body_timeout_ms)", patience.as_millis());
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message));
            }
        };
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            share.grow(data.len())?;
            whole.extend_from_slice(&data);
        }
    }
    Ok(Input { bytes: whole.freeze(), _share: share })
}

/// An answer with JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, format!("an answer cannot be written as JSON: {error}"));
            Problem::from(error).into_response()
        }
    }
}

/// The query of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::try_from_uri(&parts.uri);
        query.map(|Query(params)| Self(params)).map_err(|error| Problem::invalid(error.body_text()))
    }
}

/// Reads a struct of a body, by name only.
pub(crate) fn parse<T: serde::de::DeserializeOwned + Send>(body: &[u8]) -> Result<T, Problem> {
    crate::json::read(body).map_err(|error| Problem::invalid(format!("the body is not valid: {error}")))
}
