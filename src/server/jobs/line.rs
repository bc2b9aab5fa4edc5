//! From an uploaded line to its request, and from an outcome to its line of results.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;
use crate::request::reading::{Keys, Reading};
use crate::verdict::Verdict;

/// Whether a key belongs to a result; the caller's fields with such names come back under `input`.
fn is_of_result(key: &str) -> bool {
    Verdict::KEYS.contains(&key) || ["index", "error", "input", "attempts"].contains(&key)
}

/// The caller's fields in one line, which come back with its result.
pub(super) struct Own {
    fields: Vec<(String, Box<RawValue>)>,
    replaced: usize,
}

/// Reads a line. `options` apply if the request has none of its own.
pub(super) fn read(line: &[u8], options: &Options) -> (Own, Result<JudgeRequest>) {
    if line.trim_ascii().is_empty() {
        let own = Own { fields: Vec::new(), replaced: 0 };
        return (own, Err(Error::new(ErrorKind::InvalidRequest, "the line is blank")));
    }
    let reading = Reading::new(line, &Keys::default(), None);
    let request = reading.request.map(|mut request| {
        request.options = request.options.or(options);
        request
    });
    (Own { fields: reading.rest, replaced: reading.replaced }, request)
}

/// The result of the request at `place`, from 0, as one line of JSON without a line end.
pub(super) fn write(place: i64, own: &Own, outcome: &Result<Verdict>, attempts: u32) -> String {
    let mut result = match outcome {
        Ok(verdict) => serde_json::to_value(verdict).unwrap_or_else(|error| {
            let message = format!("cannot write a verdict as JSON: {error}");
            Error::new(ErrorKind::Internal, message).to_json()
        }),
        Err(error) => error.to_json(),
    };
    if let Some(flags) = result.get_mut("flags").and_then(Value::as_array_mut)
        && own.replaced > 0
    {
        flags.push("replaced_characters".into());
    }
    if let (Some(fields), true) = (result.as_object_mut(), attempts > 1) {
        fields.insert("attempts".into(), attempts.into());
    }
    let (taken, free): (Vec<_>, Vec<_>) = own.fields.iter().partition(|(key, _)| is_of_result(key));
    let written = |fields: &[&(String, Box<RawValue>)]| {
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
        fields.join(",")
    };
    let mut parts = vec![format!("\"index\":{place}")];
    if !free.is_empty() {
        parts.push(written(&free));
    }
    if !taken.is_empty() {
        parts.push(format!("\"input\":{{{}}}", written(&taken)));
    }
    // A field that was written over several lines would break the line of its result.
    let head = parts.join(",").replace(['\n', '\r'], " ");
    let body = result.to_string();
    let body = body.strip_prefix('{').unwrap_or("}");
    format!("{{{head},{body}")
}

/// The line of a request that has no result, for callers that want one for each.
pub(super) fn absent(place: u64, cancelled: bool) -> String {
    let mut fields = Map::new();
    fields.insert("index".into(), place.into());
    if cancelled {
        let error = Error::new(ErrorKind::Cancelled, "the job was cancelled before this request was judged");
        fields.insert("error".into(), error.to_json()["error"].take());
    } else {
        fields.insert("pending".into(), true.into());
    }
    Value::from(fields).to_string()
}

/// A line of results in the reference's form: `{"thoughts", "results": {"scores", "best-to-worst"}}`, or a failed request
/// with its error and no results.
pub(super) fn reference(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap_or_default();
    if line.get("error").is_some() {
        return json!({ "error": line["error"].take(), "thoughts": "", "results": null });
    }
    json!({
        "thoughts": line["reasoning"].take(),
        "results": { "scores": line["scores"].take(), "best-to-worst": line["ranking"].take() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_fields_come_back_and_a_failure_is_an_error_of_its_line() {
        let line =
            br#"{"id": 12345678901234567890123, "raw": 1, "rewards": [2], "principle": "p", "prompt": "q", "responses": {"a": "x"}}"#;
        let (own, request) = read(line, &Options { seed: Some(7), ..Options::default() });
        assert_eq!(request.unwrap().options.seed, Some(7));
        let failed = write(3, &own, &Err(Error::new(ErrorKind::Timeout, "late")), 2);
        assert!(
            failed.starts_with(r#"{"index":3,"id":12345678901234567890123,"input":{"raw":1,"rewards":[2]},"error":{"#),
            "{failed}"
        );
        let value: Value = serde_json::from_str(&failed).unwrap();
        assert_eq!((value["error"]["kind"].as_str(), value["attempts"].as_u64()), (Some("timeout"), Some(2)));
        for wrong in [&b"  "[..], b"{", b"[1]", b"\xff", b"{\"principle\":1}"] {
            let (own, request) = read(wrong, &Options::default());
            let line = write(0, &own, &Err(request.unwrap_err()), 1);
            let value: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["error"]["kind"], "invalid_request", "{line}");
        }
    }

    #[test]
    fn the_form_of_the_reference_never_hides_a_failure() {
        let verdict = r#"{"index":0,"scores":{"b":4,"a":2},"ranking":["b","a"],"reasoning":"r","raw":"x"}"#;
        let wanted = json!({"thoughts": "r", "results": {"scores": {"b": 4, "a": 2}, "best-to-worst": ["b", "a"]}});
        assert_eq!(reference(verdict), wanted);
        let failed = reference(r#"{"index":0,"error":{"kind":"timeout","message":"late"}}"#);
        assert_eq!(failed["error"]["kind"], "timeout");
        assert!(failed["results"].is_null() && failed["thoughts"] == "");
    }
}
