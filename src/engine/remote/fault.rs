//! What goes wrong between this process and a server, and what it means for the request.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// Longest part of a server's own words in a message.
const MAX_SAID: usize = 300;
/// Longest `Retry-After` that is followed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// What a request gave, or why it failed.
pub(super) type Tried<T> = Result<T, Fault>;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The server answered with a status of an error.
    Refused {
        status: u16,
        /// The server's words, shortened.
        said: String,
        retry_after: Option<Duration>,
    },
    /// It could not be reached.
    Unreachable(String),
    /// The connection broke before the answer was whole.
    Broken(String),
    /// It sent nothing for this long.
    Silent(Duration),
    /// It sent something that cannot be read.
    Garbage(String),
    /// The answer is too large.
    TooLarge(u64),
    /// It reported within an answer that it failed.
    Failed(String),
    /// The request itself cannot be made.
    Request(Refusal),
}

/// An error on our side that no other server would change.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Fault {
    /// An error that no retry changes.
    pub(super) fn ours(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Request(Refusal { kind, message: message.into() })
    }

    /// A refusal, by the body of the answer.
    pub(super) fn refused(status: u16, body: &[u8], retry_after: Option<&str>) -> Self {
        let retry_after = retry_after
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs)
            .map(|wait| wait.min(MAX_RETRY_AFTER));
        Self::Refused { status, said: said(body), retry_after }
    }

    /// Whether the same request may succeed if it is sent again, here or elsewhere.
    pub(super) fn is_retryable(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..=599) && *status != 501,
            Self::Unreachable(_) | Self::Broken(_) | Self::Silent(_) | Self::Garbage(_) | Self::Failed(_) => true,
            Self::TooLarge(_) | Self::Request(_) => false,
        }
    }

    /// Whether the server is at fault, and not the request.
    pub(super) fn is_the_servers(&self) -> bool {
        self.is_retryable() && !matches!(self, Self::Refused { status: 429, .. })
    }

    /// How long the server asks not to be called.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The kind of error that a caller gets.
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { status: 400 | 413 | 422, said, .. } if speaks_of_context(said) => {
                ErrorKind::ContextOverflow
            }
            Self::Refused { status: 413, .. } => ErrorKind::TooLarge,
            Self::Refused { status: 408 | 429 | 503, .. } => ErrorKind::Overloaded,
            Self::Request(error) => error.kind,
            _ => ErrorKind::Network,
        }
    }

    /// The error that a caller gets: which server, what happened, and what can be done. `tries`: how often the request
    /// was sent.
    pub(super) fn into_error(self, endpoint: &str, tries: u32) -> Error {
        let kind = self.kind();
        let retryable = self.is_retryable();
        let what = match self {
            Self::Refused { status, said, .. } => {
                let advice = match status {
                    401 | 403 => " (see remote.api_keys)",
                    404 => " (is the URL right, and remote.model the name of a model there?)",
                    300..=399 => " (redirects are not followed: name the URL that it leads to)",
                    _ => "",
                };
                let said = if said.is_empty() { said } else { format!(": {said}") };
                format!("status {status}{said}{advice}")
            }
            Self::Unreachable(why) => {
                format!("cannot be reached: {why} (is the server running, and is the URL right?)")
            }
            Self::Broken(why) => format!("the connection broke before the answer was complete: {why}"),
            Self::Silent(time) => {
                format!("sent nothing for {} s (remote.idle_timeout_ms)", time.as_secs_f64())
            }
            Self::Garbage(what) => format!("its answer cannot be read: {what}"),
            Self::TooLarge(limit) => format!("its answer has more than {limit} bytes (remote.max_answer_bytes)"),
            Self::Failed(said) => format!("it failed: {said}"),
            Self::Request(error) => return Error::new(error.kind, error.message).context(endpoint),
        };
        let tries = if tries > 1 { format!(", after {tries} tries") } else { String::new() };
        Error::new(kind, format!("{endpoint}: {what}{tries}")).with_retryable(retryable)
    }
}

/// Whether a refusal is about the length of the prompt.
fn speaks_of_context(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["context length", "context size", "context_length", "maximum model length", "max_model_len", "input_tokens"]
        .iter()
        .any(|word| said.contains(word))
}

/// What a server says about an error, shortened and on one line.
pub(super) fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(value) => words(&value).unwrap_or_else(|| value.to_string()),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    shortened(&text)
}

/// A server's text, shortened and on one line.
pub(super) fn shortened(text: &str) -> String {
    let mut short = String::new();
    for (count, letter) in text.trim().chars().enumerate() {
        if count == MAX_SAID {
            short.push('…');
            break;
        }
        short.push(if letter.is_control() { ' ' } else { letter });
    }
    short
}

/// The message within the many forms of an error.
fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => {
            let inner = ["error", "message", "detail", "msg"].iter().find_map(|key| words(object.get(*key)?));
            let kind = object.get("type").and_then(Value::as_str);
            match (inner, kind) {
                (Some(inner), Some(kind)) if !inner.contains(kind) && object.contains_key("message") => {
                    Some(format!("{inner} ({kind})"))
                }
                (inner, _) => inner,
            }
        }
        Value::Array(list) => list.first().and_then(words),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_servers_are_found_and_shortened() {
        for (body, wanted) in [
            (r#"{"error": "Unauthorized"}"#, "Unauthorized"),
            (
                r#"{"error": {"message": "too long", "type": "BadRequestError", "code": 400}}"#,
                "too long (BadRequestError)",
            ),
            (r#"{"detail": [{"msg": "field required"}]}"#, "field required"),
            ("<html>\nno", "<html> no"),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), wanted);
        }
        assert_eq!(said("é".repeat(1000).as_bytes()).chars().count(), MAX_SAID + 1);
    }

    #[test]
    fn each_status_has_its_kind_and_says_whether_to_try_again() {
        let long = br#"{"error": {"message": "This model's maximum context length is 2048 tokens", "type": "BadRequestError"}}"#;
        for (status, body, kind, again) in [
            (400, &long[..], ErrorKind::ContextOverflow, false),
            (400, b"x", ErrorKind::Network, false),
            (401, b"", ErrorKind::Network, false),
            (404, b"", ErrorKind::Network, false),
            (413, b"", ErrorKind::TooLarge, false),
            (429, b"", ErrorKind::Overloaded, true),
            (500, b"", ErrorKind::Network, true),
            (501, b"", ErrorKind::Network, false),
            (503, b"", ErrorKind::Overloaded, true),
        ] {
            let error = Fault::refused(status, body, None).into_error("http://a", 1);
            assert_eq!((error.kind(), error.is_retryable()), (kind, again), "{status}");
            assert!(error.message().starts_with("http://a: "), "{error}");
        }
        assert_eq!(Fault::refused(429, b"", Some("7")).retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(Fault::refused(429, b"", Some("99999999")).retry_after(), Some(MAX_RETRY_AFTER));
        assert_eq!(Fault::refused(429, b"", Some("Wed, 21 Oct 2026 07:28:00 GMT")).retry_after(), None);
        assert!(Fault::Silent(Duration::from_secs(2)).into_error("http://a", 4).message().ends_with("after 4 tries"));
    }
}
