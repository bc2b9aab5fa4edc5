//! The only error type of the crate, and the table of codes that each error kind has outside the crate.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::number;

/// Result of every fallible operation in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a class that a program can act upon.
///
/// New kinds may be added in any release; a kind never changes its name or its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is malformed: a field is missing, a name is given twice, the text is not UTF-8.
    InvalidRequest,
    /// The request exceeds a configured limit (number of responses, bytes).
    TooLarge,
    /// The prompt and what the plan may generate do not fit the model's context.
    ContextOverflow,
    /// A setting is unknown or out of its range.
    InvalidConfig,
    /// A judge profile cannot be read or is missing where one is needed.
    InvalidProfile,
    /// No model is at the given place.
    ModelNotFound,
    /// The model file or folder is damaged, or lacks something that a judge needs.
    InvalidModel,
    /// This build or this engine cannot do what was asked.
    Unsupported,
    /// The queue is full.
    Overloaded,
    /// The deadline of the request passed.
    Timeout,
    /// The request was cancelled.
    Cancelled,
    /// The judge answered, but not with a complete verdict.
    InvalidVerdict,
    /// The engine failed while it worked on the request.
    Engine,
    /// The engine is dead: every request fails until the judge is opened again.
    EngineDead,
    /// The judge sleeps, and requests do not wait for it.
    Asleep,
    /// The judge has been shut down.
    Closed,
    /// A file could not be read or written.
    Io,
    /// A remote service could not be reached, or refused the request.
    Network,
    /// An argument of a call breaks the rules of the interface: null where that is not allowed, a wrong size.
    InvalidArgument,
    /// A defect of this library.
    Internal,
}

/// One row of the error table.
struct Row {
    kind: ErrorKind,
    name: &'static str,
    c_status: i32,
    http_status: u16,
    exit_code: u8,
    retryable: bool,
}

const fn row(
    kind: ErrorKind,
    name: &'static str,
    c_status: i32,
    http_status: u16,
    exit_code: u8,
    retryable: bool,
) -> Row {
    Row { kind, name, c_status, http_status, exit_code, retryable }
}

/// The table: kind, name, C status, HTTP status, exit code, retryable.
///
/// The C status of a kind is never changed, nor given to another kind. Many HTTP clients retry every status from 500 on, so if
/// the request is at fault and no retry can help, the status is below 500. Exit code 2 means that nothing could be judged as
/// asked (usage, set-up), 1 that a judgment failed.
const TABLE: &[Row] = &[
    row(ErrorKind::InvalidRequest, "invalid_request", 1, 400, 1, false),
    row(ErrorKind::TooLarge, "too_large", 2, 413, 1, false),
    row(ErrorKind::ContextOverflow, "context_overflow", 3, 400, 1, false),
    row(ErrorKind::InvalidConfig, "invalid_config", 4, 500, 2, false),
    row(ErrorKind::InvalidProfile, "invalid_profile", 5, 500, 2, false),
    row(ErrorKind::ModelNotFound, "model_not_found", 6, 404, 2, false),
    row(ErrorKind::InvalidModel, "invalid_model", 7, 500, 2, false),
    row(ErrorKind::Unsupported, "unsupported", 8, 422, 2, false),
    row(ErrorKind::Overloaded, "overloaded", 9, 429, 1, true),
    row(ErrorKind::Timeout, "timeout", 10, 504, 1, true),
    row(ErrorKind::Cancelled, "cancelled", 11, 499, 1, true),
    row(ErrorKind::InvalidVerdict, "invalid_verdict", 12, 502, 1, true),
    row(ErrorKind::Engine, "engine", 13, 500, 1, true),
    row(ErrorKind::EngineDead, "engine_dead", 19, 503, 1, false),
    row(ErrorKind::Asleep, "asleep", 20, 503, 1, true),
    row(ErrorKind::Closed, "closed", 14, 503, 1, false),
    row(ErrorKind::Io, "io", 15, 500, 1, false),
    row(ErrorKind::Network, "network", 16, 502, 1, true),
    row(ErrorKind::InvalidArgument, "invalid_argument", 18, 400, 2, false),
    row(ErrorKind::Internal, "internal", 17, 500, 1, false),
];

impl ErrorKind {
    /// Every kind, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.kind == self).expect("every kind has a row: a unit test counts them")
    }

    /// The stable name used in JSON, such as `context_overflow`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The status that C programs get, as in `dicast.h`. Never changes; no kind has 0, which is success.
    pub fn c_status(self) -> i32 {
        self.row().c_status
    }

    /// The status of an HTTP answer that carries this error.
    pub fn http_status(self) -> u16 {
        self.row().http_status
    }

    /// Exit code of a command that ends with this error: 1 a judgment failed, 2 usage or set-up.
    pub fn exit_code(self) -> u8 {
        self.row().exit_code
    }

    /// Whether the same request may succeed when it is sent again after an error of this kind, unless the error itself says
    /// otherwise: see [`Error::is_retryable`].
    pub fn is_retryable(self) -> bool {
        self.row().retryable
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What could be read of a verdict that is not complete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialVerdict {
    /// All scores, by the names of the request and in its order; `None` if one of them is doubtful.
    pub scores: Option<Vec<(String, f64)>>,
    /// The whole ranking, best first, if only the ranking could be read.
    pub ranking: Option<Vec<String>>,
    /// The judge's reasoning; empty if there was none.
    pub reasoning: String,
    /// The judge's whole output as it came.
    pub raw: String,
}

/// The error of every operation: a kind, a message that says what went wrong, where, and what to do, and the readable parts of
/// an incomplete verdict.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    partial: Option<PartialVerdict>,
    retryable: bool,
}

impl Error {
    /// Makes an error of a kind with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = kind.is_retryable();
        Self(Box::new(Inner { kind, message: message.into(), partial: None, retryable }))
    }

    /// The judge was closed before the request came.
    pub fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the judge was closed")
    }

    /// The judge was closed while the request was pending.
    pub fn shut_down() -> Self {
        Self::new(ErrorKind::Closed, "the judge was shut down before the judgment ended")
    }

    /// The request was cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the judgment was cancelled")
    }

    /// The deadline of the request passed, `after` its submission.
    pub fn timed_out(after: Duration) -> Self {
        let message = format!("the judgment did not end within {} s (timeout_ms)", after.as_secs_f64());
        Self::new(ErrorKind::Timeout, message)
    }

    /// The engine died because of `reason`, and can no longer work on any request.
    pub fn engine_dead(reason: impl std::fmt::Display) -> Self {
        Self::new(ErrorKind::EngineDead, format!("the engine is dead: {reason}; open the judge again"))
    }

    /// Attaches what could be read of an incomplete verdict.
    #[must_use]
    pub fn with_partial(mut self, partial: PartialVerdict) -> Self {
        self.0.partial = Some(partial);
        self
    }

    /// Sets whether the same request may succeed when it is sent again, if this error differs from its kind.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Puts a place in front of the message: `context: message`.
    #[must_use]
    pub fn context(mut self, place: impl std::fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message, without the kind.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What could be read of an incomplete verdict, for [`ErrorKind::InvalidVerdict`].
    pub fn partial(&self) -> Option<&PartialVerdict> {
        self.0.partial.as_ref()
    }

    /// Whether the same request may succeed when it is sent again. An incomplete verdict may become a complete one with
    /// another seed; without sampling, an engine writes the same verdict each time.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The error as `{"error": {"kind", "message", "retryable", "partial"?}}`.
    pub fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("kind".into(), self.kind().name().into());
        error.insert("message".into(), self.message().into());
        error.insert("retryable".into(), self.is_retryable().into());
        if let Some(partial) = self.partial() {
            let scores = partial.scores.as_ref().map(|scores| {
                scores.iter().map(|(name, score)| (name.clone(), number::score(*score))).collect::<Map<_, _>>()
            });
            error.insert(
                "partial".into(),
                json!({
                    "scores": scores,
                    "ranking": partial.ranking,
                    "reasoning": partial.reasoning,
                    "raw": partial.raw,
                }),
            );
        }
        json!({ "error": error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_row_and_one_name() {
        let mut names: Vec<_> = ErrorKind::all().map(ErrorKind::name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let codes: std::collections::HashSet<_> = ErrorKind::all().map(ErrorKind::c_status).collect();
        assert_eq!(codes.len(), count, "a status stands for one kind");
        // `Internal` is the last variant: the table holds as many rows as there are variants.
        assert_eq!(count, ErrorKind::Internal as usize + 1);
    }

    #[test]
    fn every_kind_has_an_http_status_of_a_failure() {
        for kind in ErrorKind::all() {
            assert!((400..600).contains(&kind.http_status()), "{kind}");
        }
        assert_eq!(ErrorKind::Overloaded.http_status(), 429);
    }

    #[test]
    fn an_error_may_differ_from_its_kind_in_being_retryable() {
        let error = Error::new(ErrorKind::InvalidVerdict, "no ranking");
        assert!(error.is_retryable());
        let error = error.with_retryable(false).context("line 1");
        assert!(!error.is_retryable());
        assert_eq!(error.to_json()["error"]["retryable"], false);
        assert!(!Error::engine_dead("out of memory").is_retryable());
        assert_eq!(Error::engine_dead("out of memory").kind().name(), "engine_dead");
    }
}
