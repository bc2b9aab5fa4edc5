//! What every request goes through: it gets a number and a log line; host name, origin and key are checked.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::keys::{self, Client};
use super::problem::Failed;
use super::telemetry::{About, TraceContext};
use super::{Answer, Problem, Server};
use crate::error::{Error, ErrorKind};

/// The header with the number of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The client, in the extensions of a request behind a key.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(super) client: Arc<Client>,
    /// The number of the request, for logs.
    pub(crate) request_id: Arc<str>,
    /// The span of the request.
    pub(super) trace: TraceContext,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::new(ErrorKind::Internal, "a route is not behind the check of keys").into())
    }
}

impl Caller {
    /// Takes further judgments from the client's allowance: the request itself has taken one.
    ///
    /// # Errors
    /// A problem of status 429 with the time to wait.
    pub(crate) fn take(&self, judgments: usize) -> Result<(), Problem> {
        self.client.take(judgments).map_err(|seconds| {
            let message = format!("the key {} has used all its judgments of this minute", self.client.name);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(seconds)
        })
    }

    /// The name of the client, which separates its data from that of others.
    pub(crate) fn name(&self) -> &str {
        &self.client.name
    }

    /// A caller on behalf of a client, such as a job that was started earlier.
    pub(crate) fn anybody(request_id: &str) -> Self {
        Self { client: Arc::new(Client::anybody()), request_id: request_id.into(), trace: TraceContext::default() }
    }
}

impl Server {
    /// The caller with this name, for work that goes on without its request; the anonymous one if the key is gone.
    pub(crate) fn caller(&self, name: &str, request_id: &str) -> Caller {
        let anybody = Caller::anybody(request_id);
        match self.0.clients.named(name) {
            Some(client) => Caller { client: client.clone(), ..anybody },
            None => anybody,
        }
    }
}

/// The number of a request: its own if that can be logged safely, or a new one.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let own = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let fit = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match own.filter(fit) {
        Some(own) => own.into(),
        None => random_hex(16).into(),
    }
}

/// This many random bytes, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    use ring::rand::SecureRandom as _;
    use std::fmt::Write as _;

    let mut random = vec![0; bytes];
    // The system's generator fails on no system that this runs on; the numbers only tell requests apart.
    let _ = ring::rand::SystemRandom::new().fill(&mut random);
    random.iter().fold(String::with_capacity(bytes * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The trace of a request, from its `traceparent`: 32 hexadecimal digits.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let good = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    (good && trace.bytes().any(|byte| byte != b'0') && span.bytes().any(|byte| byte != b'0')).then_some(trace)
}

/// Numbers a request, logs it, counts it, and turns a panic of a handler into an answer.
pub(super) async fn observe(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let trace = trace_id(request.headers()).map(str::to_owned);
    let parent = request.headers().get("traceparent").cloned().filter(|_| trace.is_some());
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let about = About { request_id: &id, https: server.config().tls.is_some(), has_parent: parent.is_some() };
    let span = server.0.traces.request(&request, path.as_deref(), about);
    request.extensions_mut().insert(Numbered(id.clone(), span.context()));
    let path = path.unwrap_or_else(|| "unknown".to_owned());
    let _busy = server.metrics().busy();
    let mut handled = pin!(next.run(request));
    let handled = std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| handled.as_mut().poll(context)));
        polled.map_or_else(|_| std::task::Poll::Ready(None), |polled| polled.map(Some))
    });
    let mut response = handled.await.unwrap_or_else(|| {
        tracing::error!(request_id = &*id, "a handler panicked");
        Problem::from(Error::new(ErrorKind::Internal, "the server made a mistake: please report it")).into_response()
    });
    let failed = response.extensions().get::<Failed>().map(|failed| failed.0);
    let status = response.status();
    let took = began.elapsed();
    server.metrics().answered(&path, &method, status, failed, took);
    let milliseconds = took.as_secs_f64() * 1e3;
    let trace = trace.or_else(|| span.trace_id());
    let (trace, kind) = (trace.as_deref().unwrap_or("-"), failed.unwrap_or("-"));
    if status.is_server_error() {
        tracing::warn!(request_id = &*id, trace_id = trace, %method, path, status = status.as_u16(), kind, milliseconds, "answered");
    } else {
        tracing::info!(request_id = &*id, trace_id = trace, %method, path, status = status.as_u16(), kind, milliseconds, "answered");
    }
    let headers = response.headers_mut();
    if failed == Some(ErrorKind::Overloaded.name()) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(server.judges().seconds_until_room()));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(parent) = parent {
        headers.insert("traceparent", parent);
    }
    headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    span.end(response, failed)
}

/// The number of a request and its span, in its extensions.
#[derive(Clone)]
struct Numbered(Arc<str>, TraceContext);

/// Refuses web pages of other origins, except those that `server.cors` names.
pub(super) async fn guard(State(server): State<Server>, request: Request, next: Next) -> Answer {
    let allowed = origin_of(&server, &request)?;
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && allowed.is_some();
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    if let Some(origin) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("x-request-id, retry-after"));
        if preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static(
                    "authorization, content-type, idempotency-key, x-api-key, x-request-id, traceparent",
                ),
            );
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    Ok(response)
}

/// The origin of a request if it comes from a page that `server.cors` names. A page may call only if its origin is this server or
/// one of these. Without keys, the server must also be called by one of its own names: a page could give it another one through
/// the DNS.
fn origin_of(server: &Server, request: &Request) -> Result<Option<HeaderValue>, Problem> {
    let config = server.config();
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
    let forbidden = |message: String| Problem::new(StatusCode::FORBIDDEN, "forbidden", message);
    if server.0.clients.is_open()
        && let Some(host) = host
        && !is_own(name_of(host), &config.hosts)
    {
        return Err(forbidden(format!(
            "this server has no host name {host}: add it to server.hosts, or give the server keys (server.keys)"
        )));
    }
    let Some(origin) = request.headers().get(header::ORIGIN) else { return Ok(None) };
    let named = origin.to_str().unwrap_or_default();
    if config.cors.iter().any(|allowed| allowed == named) {
        return Ok(Some(origin.clone()));
    }
    let own = named.split_once("://").is_some_and(|(_, rest)| host.is_some_and(|host| rest.eq_ignore_ascii_case(host)));
    if own {
        Ok(None)
    } else {
        Err(forbidden(format!("web pages of {named} may not use this server: add this origin to server.cors")))
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(address) => address.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// Whether a name is safe from being made up by a web page: an address, localhost, or a name in the configuration.
fn is_own(name: &str, hosts: &[String]) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// Lets a request through if it has a key (where the server has keys) and is within the client's rate.
pub(super) async fn by_key(State(server): State<Server>, mut request: Request, next: Next) -> Answer {
    let clients = &server.0.clients;
    let Numbered(request_id, trace) = request
        .extensions()
        .get::<Numbered>()
        .cloned()
        .unwrap_or_else(|| Numbered(random_hex(16).into(), TraceContext::default()));
    let client = if clients.is_open() {
        server.0.anybody.clone()
    } else {
        let refused = |message: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
        let key = keys::carried(request.headers())
            .ok_or_else(|| refused("this server needs a key: send the header `authorization: Bearer KEY`"))?;
        clients.find(&key).cloned().ok_or_else(|| refused("the key is not known"))?
    };
    let caller = Caller { client, request_id, trace };
    // Requests that only read are not counted.
    if request.method() == Method::POST {
        caller.take(1)?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

pub(super) async fn nothing_here(request: Request) -> Problem {
    let message = format!("there is nothing at {}; /openapi.json lists all routes", request.uri().path());
    Problem::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(super) async fn wrong_method(request: Request) -> Problem {
    let message = format!("{} cannot be used at {}", request.method(), request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_own_where_no_page_could_have_made_it_up() {
        let own = |host: &str| is_own(name_of(host), &["judge.lan".to_owned()]);
        for host in ["127.0.0.1:8001", "10.1.2.3", "[::1]:8001", "localhost:8001", "LocalHost", "judge.lan:80"] {
            assert!(own(host), "{host}");
        }
        for host in ["evil.example:8001", "localhost.evil.example", "127.0.0.1.evil.example", "", "[evil]"] {
            assert!(!own(host), "{host}");
        }
    }

    #[test]
    fn a_traceparent_gives_its_trace_where_it_is_one() {
        let trace = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", text.parse().unwrap());
            trace_id(&headers).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in ["", "00-0-0-0", &good.replace("4bf9", "zzzz"), &good.replacen("00", "ff", 1), &good[..50]] {
            assert_eq!(trace(bad), None, "{bad}");
        }
        assert_eq!(trace("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    }
}
