//! Sending spans: the client, the bound of what waits, and the counts of what was lost.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Runtime;
use tracing::{info, warn};

use crate::error::{Error, ErrorKind, Result};

use super::variables::variable;

/// Most bytes of a collector's answer that are read.
const MAX_ANSWER: usize = 1 << 20;
/// How long a connection to a collector may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What becomes of the spans.
#[derive(Debug)]
pub(super) struct Health {
    endpoint: String,
    state: Mutex<State>,
    /// What waits is sent for the last time: nothing is tried again.
    ending: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    waiting: usize,
    /// Spans of the batch that is being sent.
    flying: usize,
    sent: u64,
    lost: u64,
    /// The last batch was not taken.
    failing: bool,
    /// Some span found no room.
    full: bool,
    /// Everything is counted: what happens later does not matter.
    closed: bool,
    /// Why the last batch was not taken.
    why: String,
}

impl Health {
    pub(super) fn new(endpoint: String) -> Self {
        Self { endpoint, state: Mutex::default(), ending: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Spans that were sent, and spans that were lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.sent, state.lost)
    }

    pub(super) fn ends(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Counts what was not sent by now as lost, and logs how many were lost in all.
    pub(super) fn close(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.lost += (state.waiting + state.flying) as u64;
        let (sent, lost) = (state.sent, state.lost);
        drop(state);
        if lost > 0 {
            warn!(lost, sent, "some spans did not reach {}", self.endpoint);
        }
    }

    fn because(&self, why: String) {
        self.state().why = why;
    }

    /// Takes a place for a span, if there is one.
    fn enter(&self, most: usize) -> bool {
        let mut state = self.state();
        if state.waiting < most && !state.closed {
            state.waiting += 1;
            return true;
        }
        state.lost += 1;
        let first = !state.closed && !std::mem::replace(&mut state.full, true);
        drop(state);
        if first {
            warn!(
                "{most} spans wait for {}: further ones are dropped and counted in dicast_spans_total \
                 (OTEL_BSP_MAX_QUEUE_SIZE sets how many may wait)",
                self.endpoint
            );
        }
        false
    }

    /// A batch has left the queue.
    fn leave(&self, count: usize) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(count);
        state.flying = count;
    }

    /// A batch was taken, or not.
    fn arrive(&self, count: usize, taken: bool) {
        let mut state = self.state();
        if state.closed {
            return;
        }
        state.flying = 0;
        *(if taken { &mut state.sent } else { &mut state.lost }) += count as u64;
        if std::mem::replace(&mut state.failing, !taken) != taken {
            return;
        }
        let (lost, why) = (state.lost, state.why.clone());
        drop(state);
        if taken {
            info!(lost, "traces reach {} again", self.endpoint);
        } else {
            warn!(
                "traces cannot be sent to {}: {why}. Requests are served as before; spans that are lost are counted in \
                 dicast_spans_total",
                self.endpoint
            );
        }
    }
}

/// Sends batches over HTTP, on a thread of its own.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Option<Runtime>,
    timeout: Duration,
    health: Arc<Health>,
}

impl Client {
    pub(super) fn new(url: &reqwest::Url, timeout: Duration, health: &Arc<Health>) -> Result<Self> {
        let failed = |what: &dyn std::fmt::Display| Error::new(ErrorKind::Io, format!("traces cannot be sent: {what}"));
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(timeout))
            .user_agent(concat!("dicast/", env!("CARGO_PKG_VERSION")));
        http = with_certificates(http)?;
        // A proxy cannot reach this machine by its own name for itself.
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| failed(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dicast-otel")
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self { http, runtime: Some(runtime), timeout, health: health.clone() })
    }
}

/// The certificates that the environment names: those that the collector's must come from, and the one to show to it.
fn with_certificates(mut http: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidConfig, what);
    if let Some((name, pem)) = file("CERTIFICATE")? {
        let trusted = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if trusted.is_empty() {
            return Err(invalid(format!("{name}: the file holds no certificate in PEM")));
        }
        http = http.tls_built_in_root_certs(false);
        http = trusted.into_iter().fold(http, reqwest::ClientBuilder::add_root_certificate);
    }
    match (file("CLIENT_CERTIFICATE")?, file("CLIENT_KEY")?) {
        (None, None) => Ok(http),
        (Some((name, mut pem)), Some((_, key))) => {
            pem.extend_from_slice(b"\n");
            pem.extend_from_slice(&key);
            let identity =
                reqwest::Identity::from_pem(&pem).map_err(|error| invalid(format!("{name} and its key: {error}")))?;
            Ok(http.identity(identity))
        }
        _ => Err(invalid(
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY need each other".into(),
        )),
    }
}

/// The file that a variable names, and the variable: that for traces, or that for all.
fn file(kind: &str) -> Result<Option<(String, Vec<u8>)>> {
    let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{kind}"), format!("OTEL_EXPORTER_OTLP_{kind}")];
    let found = names.into_iter().find_map(|name| variable(&name).map(|path| (name, path)));
    let Some((name, path)) = found else { return Ok(None) };
    let pem = std::fs::read(&path)
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("{name} is {path}: {error}")))?;
    Ok(Some((name, pem)))
}

impl Drop for Client {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which async code may not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Answer = std::result::Result<Response<Bytes>, HttpError>;

impl HttpClient for Client {
    fn send_bytes<'a, 'b>(&'a self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let Some(runtime) = self.runtime.as_ref().filter(|_| !self.health.is_closed()) else { return given_up() };
            let (http, timeout) = (self.http.clone(), self.timeout);
            // The timer belongs to that runtime.
            let sent = runtime.spawn(async move { tokio::time::timeout(timeout, send(http, request)).await });
            let answer = match sent.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(format!("no answer within {} ms", self.timeout.as_millis())),
                Err(error) => Err(error.to_string()),
            };
            match answer {
                Ok(answer) => {
                    let status = answer.status();
                    if !status.is_success() {
                        let hint = if status == axum::http::StatusCode::NOT_FOUND {
                            " (is this a collector's port for OTLP over HTTP, usually 4318?)"
                        } else {
                            ""
                        };
                        self.health.because(format!("it answers with status {}{hint}", status.as_u16()));
                    }
                    Ok(answer)
                }
                Err(why) => {
                    self.health.because(why.clone());
                    if self.health.is_ending() { given_up() } else { Err(why.into()) }
                }
            }
        })
    }
}

/// The exporter tries again after an error, but not after this status.
fn given_up() -> Answer {
    Ok(Response::builder().status(500).body(Bytes::new())?)
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, String> {
    let (parts, body) = request.into_parts();
    let request = http.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
    let mut answer = request.send().await.map_err(|error| root(&error.without_url()))?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| root(&error.without_url()))? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("its answer has more than {MAX_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    *response.body_mut() = body.into();
    Ok(response)
}

/// What an error comes from: reqwest itself says little.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Counts what an exporter sends.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    health: Arc<Health>,
}

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, health: &Arc<Health>) -> Self {
        Self { exporter, health: health.clone() }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.health.leave(count);
        let outcome = self.exporter.export(batch).await;
        self.health.arrive(count, outcome.is_ok());
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Lets no more spans wait than fit, and counts those that do not.
#[derive(Debug)]
pub(super) struct Bounded {
    batches: BatchSpanProcessor,
    most: usize,
    health: Arc<Health>,
}

impl Bounded {
    pub(super) fn new(batches: BatchSpanProcessor, most: usize, health: &Arc<Health>) -> Self {
        Self { batches, most, health: health.clone() }
    }
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.health.enter(self.most) {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}
