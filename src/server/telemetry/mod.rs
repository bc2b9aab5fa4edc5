//! Traces for OpenTelemetry: a span for each request and each judgment, sent to a collector by OTLP over HTTP.
//!
//! Spans hold names, times, counts and kinds of errors; never a principle, a prompt, a response, the text of an error, or a key.
//! `off.rs` has the same interface for builds without the feature `otel`.

mod export;
mod spans;
mod variables;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::Request;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};

use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;

use super::admit::random_hex;
use super::{Caller, Server};
use export::{Bounded, Client, Counted, Health};
use spans::Source;
pub(crate) use spans::TraceContext;
pub(super) use spans::{JudgmentSpan, RequestSpan};
use variables::variable;

/// How long sending a batch may take, with what is tried again.
const TIMEOUT_MS: u64 = 10_000;
/// Most spans that wait to be sent.
const QUEUE: usize = 2048;
/// The largest such queue that may be set: its memory is taken at once.
const MAX_QUEUE: usize = 65_536;
/// Most spans of one batch.
const BATCH: usize = 512;
/// How long spans wait for others to be sent with.
const DELAY_MS: u64 = 5000;
/// How long a [`Telemetry`] that is dropped without [`Telemetry::end`] tries to send what it holds.
const FAREWELL: Duration = Duration::from_secs(1);
/// The samplers that there are.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Sends traces to a collector of OpenTelemetry; [`Server::trace_with`] makes a server use it. Needs the feature `otel`.
///
/// A thread of its own sends the spans. A collector that is slow or gone delays no request: at most
/// 2048 spans wait (`OTEL_BSP_MAX_QUEUE_SIZE`), further ones are dropped and counted. Clones are the same sender, and any thread may
/// use them.
///
/// ```no_run
/// # async fn run(server: dicast::server::Server) -> dicast::Result<()> {
/// use dicast::server::Telemetry;
///
/// // Asked for by OTEL_EXPORTER_OTLP_ENDPOINT.
/// if let Some(telemetry) = Telemetry::from_env()? {
///     server.trace_with(&telemetry);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    health: Arc<Health>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.health.ends();
        let _ = self.provider.shutdown_with_timeout(FAREWELL);
    }
}

impl Telemetry {
    /// What the environment asks for: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) names the collector.
    /// `None` if neither is set, `OTEL_SDK_DISABLED` is `true`, or `OTEL_TRACES_EXPORTER` is `none`.
    ///
    /// # Errors
    /// As [`Self::to`].
    pub fn from_env() -> Result<Option<Self>> {
        variables::endpoint(variable).map(|url| Self::open(&url)).transpose()
    }

    /// Sends to the collector at this URL, such as `http://localhost:4318`, to which `/v1/traces` is added. All other settings come from
    /// the environment: headers, timeout and compression (`OTEL_EXPORTER_OTLP_…`), the name and attributes of the service
    /// (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), the sampler (`OTEL_TRACES_SAMPLER`), the queue (`OTEL_BSP_…`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the URL is not one of http or https, or a setting cannot be used; [`ErrorKind::Io`] if the
    /// thread cannot be started. That the collector cannot be reached is no error: it is logged when spans are sent.
    pub fn to(collector: &str) -> Result<Self> {
        Self::open(&variables::traces_of(collector))
    }

    fn open(url: &str) -> Result<Self> {
        let invalid = |what: String| Error::new(ErrorKind::InvalidConfig, what);
        let parsed = reqwest::Url::parse(url)
            .ok()
            .filter(|parsed| matches!(parsed.scheme(), "http" | "https") && is_uri(url))
            .ok_or_else(|| {
                // It may hold a password, so that it is not repeated.
                invalid(
                    "the endpoint for traces is not a URL: write OTEL_EXPORTER_OTLP_ENDPOINT=http://HOST:4318".into(),
                )
            })?;
        check_protocol();
        check_sampler();
        let health = Arc::new(Health::new(shown(&parsed)));
        let timeout = number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")
            .or_else(|| number("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .unwrap_or(TIMEOUT_MS);
        let timeout = Duration::from_millis(timeout.clamp(1, 600_000));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(&parsed, timeout, &health)?)
            .with_endpoint(url)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(timeout)
            .build()
            .map_err(|error| invalid(format!("traces cannot be sent: {error}")))?;
        let size =
            |name: &str, default| number(name).map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let queue = size("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE).clamp(1, MAX_QUEUE);
        let batch = size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH).clamp(1, queue);
        // With no delay, the thread would never rest.
        let delay = number("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DELAY_MS).clamp(10, 3_600_000);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(queue)
            .with_max_export_batch_size(batch)
            .with_scheduled_delay(Duration::from_millis(delay))
            .build();
        let batches = BatchSpanProcessor::new(Counted::new(exporter, &health), config);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(Bounded::new(batches, queue, &health))
            .with_resource(resource())
            .build();
        let scope = InstrumentationScope::builder("dicast").with_version(env!("CARGO_PKG_VERSION")).build();
        let tracer = provider.tracer_with_scope(scope);
        Ok(Self(Arc::new(Inner { provider, tracer, health })))
    }

    /// Where traces go, without user name and password.
    pub fn endpoint(&self) -> &str {
        self.0.health.endpoint()
    }

    /// Spans that a collector has taken.
    pub fn sent(&self) -> u64 {
        self.0.health.counts().0
    }

    /// Spans that were lost: the collector did not take them, or too many waited.
    pub fn lost(&self) -> u64 {
        self.0.health.counts().1
    }

    /// Sends what waits, for at most this long, and ends. Blocks its thread. Returns whether all was sent in time. Later spans are
    /// dropped. [`Server::serve`] does this at its end; a program that mounts the router does it itself.
    pub fn end(&self, within: Duration) -> bool {
        self.0.health.ends();
        let (_, lost) = self.0.health.counts();
        let ended = self.0.provider.shutdown_with_timeout(within).is_ok();
        self.0.health.close();
        ended && self.lost() == lost
    }
}

impl Server {
    /// Traces requests and judgments from now on. Only the first call has an effect. [`Self::serve`] ends the sender when it ends.
    pub fn trace_with(&self, telemetry: &Telemetry) {
        let _ = self.0.traces.0.set(telemetry.clone());
    }
}

/// What a server traces with, if anything.
#[derive(Default)]
pub(super) struct Traces(OnceLock<Telemetry>);

/// What is known of a request before it is handled.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) request_id: &'a str,
    pub(super) https: bool,
    /// Whether the request has a valid `traceparent`.
    pub(super) has_parent: bool,
}

impl Traces {
    fn source(&self) -> Option<Source> {
        self.0.get().map(|telemetry| Source::new(telemetry.0.tracer.clone()))
    }

    /// The span of a request; `route` is `None` if there is none with its path.
    pub(super) fn request(&self, request: &Request, route: Option<&str>, about: About<'_>) -> RequestSpan {
        // Probes would be most of all traces.
        let source = self.source().filter(|_| !matches!(route, Some("/health" | "/ready" | "/metrics")));
        RequestSpan::new(source, request, route, about)
    }

    /// The span of a judgment within the request of its caller; `judge` is `None` if it is not known.
    pub(super) fn judgment(&self, caller: &Caller, judge: Option<&str>, request: &JudgeRequest) -> JudgmentSpan {
        JudgmentSpan::new(self.source(), caller, judge, request.responses.len())
    }

    /// Sends what waits. Blocks its thread.
    pub(super) fn end(&self, within: Duration) {
        if let Some(telemetry) = self.0.get() {
            telemetry.end(within);
        }
    }

    /// Spans that were sent, and spans that were lost; `None` if nothing is traced.
    pub(super) fn counts(&self) -> Option<(u64, u64)> {
        self.0.get().map(|telemetry| telemetry.0.health.counts())
    }
}

/// Whether the exporter can read this too: reqwest repairs `http:/path`, and the exporter's error would show a password.
fn is_uri(url: &str) -> bool {
    url.parse::<axum::http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()))
}

/// A number in the environment.
fn number(name: &str) -> Option<u64> {
    variable(name)?.parse().ok()
}

/// A URL that can be logged.
fn shown(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    // These fail only for URLs without a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

/// What the spans are from. The service is `dicast` unless the environment names it.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let unnamed = named
        .get(&Key::from_static_str("service.name"))
        .is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if named.get(&Key::from_static_str("service.instance.id")).is_none() {
        builder = builder.with_attribute(KeyValue::new("service.instance.id", random_hex(16)));
    }
    if unnamed {
        builder = builder.with_service_name("dicast");
    }
    builder.build()
}

/// Warns about a protocol that is not spoken.
fn check_protocol() {
    let set = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if let Some(protocol) = set.filter(|protocol| protocol != "http/protobuf") {
        tracing::warn!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}: traces are sent by http/protobuf, the only one there is; the collector's \
             port for it is usually 4318"
        );
    }
}

/// Warns about a sampler that does not exist: all traces are taken then.
fn check_sampler() {
    if let Some(sampler) = variable("OTEL_TRACES_SAMPLER").filter(|sampler| !SAMPLERS.contains(&sampler.as_str())) {
        tracing::warn!(
            "OTEL_TRACES_SAMPLER is {sampler:?}: parentbased_always_on is used; there are {}",
            SAMPLERS.join(", ")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_http_are_endpoints_and_passwords_are_not_shown() {
        for bad in ["", "collector:4318", "grpc://collector:4317", "http://"] {
            let error = Telemetry::to(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
            assert!(error.message().contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{error}");
        }
        let telemetry = Telemetry::to("https://user:sesame@collector:4318").unwrap();
        assert_eq!(telemetry.endpoint(), "https://collector:4318/v1/traces");
        assert!(telemetry.end(Duration::from_secs(5)), "nothing waits");
    }
}
