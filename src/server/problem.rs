//! Errors as answers: problem details (RFC 9457) with the kind of the error.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind};

/// An answer that says what went wrong: `{"type", "title", "status", "detail", "kind", "retryable", "partial"?}`.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    retryable: bool,
    partial: Option<Value>,
    retry_after: Option<u64>,
}

impl Problem {
    /// A problem of HTTP itself, for which the library has no error kind.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Inner { status, kind, detail, retryable: false, partial: None, retry_after: None }))
    }

    /// The same request may succeed after this many seconds.
    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(seconds);
        self
    }

    /// The request is invalid.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidRequest, detail).into()
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.0.kind
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), format!("urn:dicast:error:{}", self.0.kind).into());
        body.insert("title".into(), self.0.kind.replace('_', " ").into());
        body.insert("status".into(), self.0.status.as_u16().into());
        body.insert("detail".into(), self.0.detail.as_str().into());
        body.insert("kind".into(), self.0.kind.into());
        body.insert("retryable".into(), self.0.retryable.into());
        if let Some(partial) = &self.0.partial {
            body.insert("partial".into(), partial.clone());
        }
        Value::Object(body)
    }

    /// The answer in the shape for clients of `OpenAI`'s API.
    pub(crate) fn openai(&self) -> Response {
        let body = json!({ "error": {
            "message": self.0.detail, "type": self.0.kind, "param": null, "code": self.0.kind, "retryable": self.0.retryable,
        } });
        self.answer("application/json", &body)
    }

    fn answer(&self, kind: &'static str, body: &Value) -> Response {
        let mut response = (self.0.status, [(header::CONTENT_TYPE, kind)], body.to_string()).into_response();
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(Failed(self.0.kind));
        response
    }
}

/// The kind of the error that a response carries, for logs and metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed(pub(crate) &'static str);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let kind = error.kind();
        Self(Box::new(Inner {
            status: StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind: kind.name(),
            detail: error.message().to_owned(),
            retryable: error.is_retryable(),
            partial: error.to_json()["error"].get("partial").cloned(),
            retry_after: matches!(kind, ErrorKind::Overloaded | ErrorKind::EngineDead | ErrorKind::Closed).then_some(1),
        }))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.answer("application/problem+json", &self.to_json())
    }
}
