//! The spans: what is traced of a request and of a judgment.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Version, header, uri::Authority};
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::error::{Error, ErrorKind, Result};
use crate::verdict::{Timing, Usage, Verdict};

use super::super::Caller;
use super::About;

/// A wait shorter than this is no span of its own.
const SHORT: Duration = Duration::from_millis(1);
/// Most bytes of a host name.
const MAX_HOST: usize = 255;

/// Makes spans. Its clock does not jump while a span is open.
pub(super) struct Source {
    tracer: SdkTracer,
    began: Instant,
    began_at: SystemTime,
}

impl Source {
    pub(super) fn new(tracer: SdkTracer) -> Self {
        Self { tracer, began: Instant::now(), began_at: SystemTime::now() }
    }

    fn at(&self, instant: Instant) -> SystemTime {
        self.began_at + instant.saturating_duration_since(self.began)
    }

    fn now(&self) -> SystemTime {
        self.at(Instant::now())
    }

    fn start(&self, name: String, kind: SpanKind, attributes: Vec<KeyValue>, parent: &Context) -> Span {
        let builder = self.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        self.tracer.build_with_context(builder.with_start_time(self.began_at), parent)
    }

    /// A span of a part that has ended.
    fn part(&self, name: &'static str, parent: &Context, from: SystemTime, to: SystemTime) {
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal).with_start_time(from);
        self.tracer.build_with_context(builder, parent).end_with_timestamp(to);
    }
}

/// Where further spans of a request belong; empty if it is not traced.
#[derive(Clone, Default)]
pub(crate) struct TraceContext(Option<SpanContext>);

impl TraceContext {
    fn of(span: &Span) -> Self {
        Self(Some(span.span_context().clone()))
    }

    fn context(&self) -> Context {
        self.0.as_ref().map_or_else(Context::new, |span| Context::new().with_remote_span_context(span.clone()))
    }
}

/// A span that is open. Dropping it means that nobody waits for the rest.
struct Open {
    source: Source,
    span: Span,
    ended: bool,
}

impl Open {
    fn set(&mut self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.span.end_with_timestamp(self.source.now());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.set("error.type", ErrorKind::Cancelled.name());
            self.end();
        }
    }
}

fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The span of a request, from its head to the end of its answer.
pub(in super::super) struct RequestSpan(Option<Open>);

impl RequestSpan {
    pub(super) fn new(source: Option<Source>, request: &Request, route: Option<&str>, about: About<'_>) -> Self {
        let Some(source) = source else { return Self(None) };
        let parent = if about.has_parent {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
        } else {
            Context::new()
        };
        let method = match request.method().as_str() {
            known @ ("GET" | "POST" | "DELETE" | "HEAD" | "OPTIONS" | "PUT" | "PATCH") => known,
            _ => "_OTHER",
        };
        let scheme = if about.https { "https" } else { "http" };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.scheme", scheme),
            KeyValue::new("dicast.request_id", about.request_id.to_owned()),
        ];
        // A path that no route has may be anything.
        if let Some(route) = route {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
            attributes.push(KeyValue::new("url.path", request.uri().path().to_owned()));
        }
        let version = match request.version() {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        attributes.push(KeyValue::new("network.protocol.version", version));
        if let Some((host, port)) = host_of(request) {
            attributes.push(KeyValue::new("server.address", host));
            attributes
                .push(KeyValue::new("server.port", i64::from(port.unwrap_or(if about.https { 443 } else { 80 }))));
        }
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let span = source.start(name, SpanKind::Server, attributes, &parent);
        Self(Some(Open { source, span, ended: false }))
    }

    pub(in super::super) fn context(&self) -> TraceContext {
        self.0.as_ref().map_or_else(TraceContext::default, |open| TraceContext::of(&open.span))
    }

    /// The trace, for the log.
    pub(in super::super) fn trace_id(&self) -> Option<String> {
        self.0.as_ref().map(|open| open.span.span_context().trace_id().to_string())
    }

    /// Ends with the answer; `kind` is that of an error. An answer that is written piece by piece is followed to its end.
    pub(in super::super) fn end(self, response: Response, kind: Option<&'static str>) -> Response {
        let Some(mut open) = self.0 else { return response };
        let status = response.status();
        open.set("http.response.status_code", i64::from(status.as_u16()));
        if let Some(kind) = kind {
            open.set("error.type", kind);
        } else if status.is_server_error() {
            open.set("error.type", status.as_str().to_owned());
        }
        if status.is_server_error() {
            open.span.set_status(Status::error(""));
        }
        if response.body().size_hint().exact().is_some() {
            open.end();
            return response;
        }
        response.map(|body| Body::new(Followed { body, open }))
    }
}

/// The host that a request names.
fn host_of(request: &Request) -> Option<(String, Option<u16>)> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority = named.or_else(|| request.uri().authority().cloned())?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty() && host.len() <= MAX_HOST).then(|| (host.to_owned(), authority.port_u16()))
}

/// The body of an answer whose span ends with it.
struct Followed {
    body: Body,
    open: Open,
}

impl hyper::body::Body for Followed {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.open.end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The span of a judgment, with one for each of its phases.
pub(in super::super) struct JudgmentSpan(Option<Judgment>);

struct Judgment {
    open: Open,
    waits: Option<Instant>,
    submitted: Option<Instant>,
}

impl JudgmentSpan {
    pub(super) fn new(source: Option<Source>, caller: &Caller, judge: Option<&str>, responses: usize) -> Self {
        let Some(source) = source else { return Self(None) };
        let mut attributes = vec![
            KeyValue::new("dicast.request_id", caller.request_id.to_string()),
            KeyValue::new("dicast.responses", count(responses)),
        ];
        if caller.name() != "-" {
            attributes.push(KeyValue::new("dicast.client", caller.name().to_owned()));
        }
        if let Some(judge) = judge {
            attributes.push(KeyValue::new("gen_ai.request.model", judge.to_owned()));
        }
        let name = judge.map_or_else(|| "judge".to_owned(), |judge| format!("judge {judge}"));
        let span = source.start(name, SpanKind::Internal, attributes, &caller.trace.context());
        Self(Some(Judgment { open: Open { source, span, ended: false }, waits: None, submitted: None }))
    }

    /// It waits for its turn.
    pub(in super::super) fn waits(&mut self) {
        if let Some(judgment) = &mut self.0 {
            judgment.waits = Some(Instant::now());
        }
    }

    /// It has its turn, on this engine.
    pub(in super::super) fn starts(&mut self, engine: &'static str) {
        let Some(judgment) = &mut self.0 else { return };
        let now = Instant::now();
        judgment.submitted = Some(now);
        judgment.open.set("dicast.engine", engine);
        judgment.end_wait(now);
    }

    pub(in super::super) fn end(&mut self, outcome: &Result<Verdict>) {
        match outcome {
            Err(error) => self.fails(error),
            Ok(verdict) => {
                let Some(mut judgment) = self.0.take() else { return };
                judgment.counts(verdict);
                judgment.phases(verdict);
                judgment.open.end();
            }
        }
    }

    /// Ends with an error. Its message may quote the request, so that only its kind is kept.
    pub(in super::super) fn fails(&mut self, error: &Error) {
        let Some(mut judgment) = self.0.take() else { return };
        if judgment.submitted.is_none() {
            judgment.end_wait(Instant::now());
        }
        judgment.open.set("error.type", error.kind().name());
        judgment.open.span.set_status(Status::error(""));
        judgment.open.end();
    }
}

impl Judgment {
    fn end_wait(&mut self, now: Instant) {
        let Some(since) = self.waits.take() else { return };
        let waited = now.saturating_duration_since(since);
        self.open.set("dicast.wait_seconds", waited.as_secs_f64());
        if waited >= SHORT && self.open.span.is_recording() {
            let source = &self.open.source;
            source.part("wait", &TraceContext::of(&self.open.span).context(), source.at(since), source.at(now));
        }
    }

    fn counts(&mut self, verdict: &Verdict) {
        let Usage { prompt_tokens, reused_tokens, reasoning_tokens, verdict_tokens, .. } = verdict.usage;
        for (key, value) in [
            ("gen_ai.usage.input_tokens", prompt_tokens),
            ("gen_ai.usage.output_tokens", reasoning_tokens + verdict_tokens),
            ("dicast.reused_tokens", reused_tokens),
            ("dicast.reasoning_tokens", reasoning_tokens),
            ("dicast.verdict_tokens", verdict_tokens),
            ("dicast.repairs", verdict.repairs.len()),
            ("dicast.flags", verdict.flags.len()),
        ] {
            self.open.set(key, count(value));
        }
        let Timing { queue, prefill, reasoning, verdict } = verdict.timing;
        for (key, time) in [
            ("dicast.queue_seconds", queue),
            ("dicast.prefill_seconds", prefill),
            ("dicast.reasoning_seconds", reasoning),
            ("dicast.verdict_seconds", verdict),
        ] {
            self.open.set(key, time.as_secs_f64());
        }
    }

    /// A span for each phase of the engine, one after the other. The times of several runs are sums, which have no place in time.
    fn phases(&self, verdict: &Verdict) {
        let several = verdict.ensemble.is_some() || verdict.blocks.is_some() || verdict.rubric.is_some();
        let Some(submitted) = self.submitted.filter(|_| !several && self.open.span.is_recording()) else { return };
        let Timing { queue, prefill, reasoning, verdict } = verdict.timing;
        if queue + prefill + reasoning + verdict > submitted.elapsed() {
            return;
        }
        let parent = TraceContext::of(&self.open.span).context();
        let mut from = self.open.source.at(submitted);
        for (name, time) in [("queue", queue), ("prefill", prefill), ("reasoning", reasoning), ("verdict", verdict)] {
            let to = from + time;
            if !time.is_zero() {
                self.open.source.part(name, &parent, from, to);
            }
            from = to;
        }
    }
}
