//! The same interface as that of `mod.rs`, for a build without the feature `otel`: nothing is traced.

mod variables;

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;

use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

use super::{Caller, Server};

/// Sends traces to a collector of OpenTelemetry. This build cannot: it needs the feature `otel`.
#[derive(Clone, Debug)]
pub struct Telemetry(std::convert::Infallible);

impl Telemetry {
    /// `None` if the environment asks for no traces.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if it does: this build cannot send any.
    pub fn from_env() -> Result<Option<Self>> {
        match variables::endpoint(variables::variable) {
            None => Ok(None),
            Some(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "OTEL_EXPORTER_OTLP_ENDPOINT is set, but this program was built without OpenTelemetry and sends no traces: \
                 build it with --features otel, or unset the variable",
            )),
        }
    }

    /// Cannot be called: there is no value of this type.
    pub fn endpoint(&self) -> &str {
        match self.0 {}
    }
}

impl Server {
    /// Cannot be called: there is no [`Telemetry`].
    pub fn trace_with(&self, telemetry: &Telemetry) {
        match telemetry.0 {}
    }
}

#[derive(Default)]
pub(super) struct Traces(());

impl Traces {
    #[expect(clippy::unused_self, reason = "the interface of the other half")]
    pub(super) fn request(&self, _: &Request, _: Option<&str>, _: About<'_>) -> RequestSpan {
        RequestSpan
    }

    #[expect(clippy::unused_self, reason = "the interface of the other half")]
    pub(super) fn judgment(&self, caller: &Caller, _: Option<&str>, _: &JudgeRequest) -> JudgmentSpan {
        let TraceContext(()) = caller.trace;
        JudgmentSpan
    }

    #[expect(clippy::unused_self, reason = "the interface of the other half")]
    pub(super) fn end(&self, _: Duration) {}

    #[expect(clippy::unused_self, reason = "the interface of the other half")]
    pub(super) fn counts(&self) -> Option<(u64, u64)> {
        None
    }
}

/// What is known of a request before it is handled.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "the interface of the other half")]
pub(super) struct About<'a> {
    pub(super) request_id: &'a str,
    pub(super) https: bool,
    pub(super) has_parent: bool,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct TraceContext(());

pub(super) struct RequestSpan;

#[expect(clippy::unused_self, reason = "the interface of the other half")]
impl RequestSpan {
    pub(super) fn context(&self) -> TraceContext {
        TraceContext(())
    }

    pub(super) fn trace_id(&self) -> Option<String> {
        None
    }

    pub(super) fn end(self, response: Response, _: Option<&'static str>) -> Response {
        response
    }
}

pub(super) struct JudgmentSpan;

#[expect(clippy::unused_self, reason = "the interface of the other half")]
impl JudgmentSpan {
    pub(super) fn waits(&mut self) {}

    pub(super) fn starts(&mut self, _: &'static str) {}

    pub(super) fn end(&mut self, _: &Result<Verdict>) {}

    pub(super) fn fails(&mut self, _: &Error) {}
}
