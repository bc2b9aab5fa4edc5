//! What a caller asks: a principle, a prompt, the responses, and options for this one request.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::config::{Limits, Options, shown};
use crate::error::{Error, ErrorKind, Result};

/// One response to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The caller's name for it, unique within the request. Any string, also an empty one or one that looks like an alias.
    pub name: String,
    /// Its text. May be empty.
    pub text: String,
}

/// One request: judge `responses` to `prompt` by `principle`.
///
/// As JSON: `{"principle", "prompt", "responses": {name: text}, "mask_responses"?, "options"?}`. The order of the
/// responses is kept; a name given twice is an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgeRequest {
    /// The principle to judge by, in plain language.
    pub principle: String,
    /// What the responses respond to.
    pub prompt: String,
    /// The responses in the caller's order.
    pub responses: Vec<Response>,
    /// `false` shows the real names in the given order, as the reference system's switch does. `None` or `true`: as
    /// [`Options::mask`] says.
    pub mask_responses: Option<bool>,
    /// Settings for this request alone.
    pub options: Options,
}

impl JudgeRequest {
    /// A request with default options.
    pub fn new<N: Into<String>, T: Into<String>>(
        principle: impl Into<String>,
        prompt: impl Into<String>,
        responses: impl IntoIterator<Item = (N, T)>,
    ) -> Self {
        let responses =
            responses.into_iter().map(|(name, text)| Response { name: name.into(), text: text.into() }).collect();
        Self { principle: principle.into(), prompt: prompt.into(), responses, ..Self::default() }
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the line, the column and what is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(json).map_err(|error| {
            Error::new(
                ErrorKind::InvalidRequest,
                format!("the request is not UTF-8: bad byte at offset {}", error.valid_up_to()),
            )
        })?;
        crate::json::read(text.trim_start_matches('\u{feff}').as_bytes())
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, not_valid(&error)))
    }

    /// Bytes of the principle, the prompt and the texts of the responses.
    pub(crate) fn text_bytes(&self) -> usize {
        self.principle.len()
            + self.prompt.len()
            + self.responses.iter().map(|response| response.text.len()).sum::<usize>()
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for no responses or a name given twice, [`ErrorKind::TooLarge`] past a limit.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        if self.responses.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "the request has no responses: give at least one"));
        }
        if self.responses.len() > limits.max_responses {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the request has {} responses, the limit is {} (limits.max_responses)",
                    self.responses.len(),
                    limits.max_responses
                ),
            ));
        }
        let bytes = self.text_bytes() + self.responses.iter().map(|response| response.name.len()).sum::<usize>();
        if bytes > limits.max_request_bytes {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "the request has {bytes} bytes of text, the limit is {} (limits.max_request_bytes)",
                    limits.max_request_bytes
                ),
            ));
        }
        let mut seen = HashSet::with_capacity(self.responses.len());
        if let Some(twice) = self.responses.iter().find(|response| !seen.insert(response.name.as_str())) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("the response name {:?} is given twice", twice.name),
            ));
        }
        Ok(())
    }
}

/// What is wrong with the JSON of a request.
fn not_valid(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let hint =
        if message.starts_with("trailing characters") { "; is this JSON Lines, one request a line?" } else { "" };
    format!("the request is not valid: {message}{hint}")
}

/// The keys of a request in JSON.
const KEYS: &[&str] = &["principle", "prompt", "responses", "mask_responses", "options"];

impl Serialize for JudgeRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("principle", &self.principle)?;
        map.serialize_entry("prompt", &self.prompt)?;
        map.serialize_entry("responses", &ByName(&self.responses))?;
        if let Some(mask) = self.mask_responses {
            map.serialize_entry("mask_responses", &mask)?;
        }
        if self.options != Options::default() {
            map.serialize_entry("options", &self.options)?;
        }
        map.end()
    }
}

/// Responses as an object, in their order.
struct ByName<'a>(&'a [Response]);

impl Serialize for ByName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|response| (&response.name, &response.text)))
    }
}

/// By hand, so that an error names what is wrong in words of the request, not of Rust.
impl<'de> Deserialize<'de> for JudgeRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Whole;

        impl<'de> Visitor<'de> for Whole {
            type Value = JudgeRequest;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object {\"principle\", \"prompt\", \"responses\"}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let (mut principle, mut prompt, mut responses, mut mask, mut options) = (None, None, None, None, None);
                while let Some(key) = map.next_key::<String>()? {
                    let again = match key.as_str() {
                        "principle" => principle.replace(text("principle", map.next_value()?)?).is_some(),
                        "prompt" => prompt.replace(text("prompt", map.next_value()?)?).is_some(),
                        "responses" => responses.replace(map.next_value::<Responses>()?.0).is_some(),
                        "mask_responses" => mask.replace(switch("mask_responses", &map.next_value()?)?).is_some(),
                        "options" => options.replace(map.next_value()?).is_some(),
                        _ => return Err(de::Error::unknown_field(&key, KEYS)),
                    };
                    if again {
                        return Err(de::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                }
                let missing = de::Error::missing_field;
                Ok(JudgeRequest {
                    principle: principle.ok_or_else(|| missing("principle"))?,
                    prompt: prompt.ok_or_else(|| missing("prompt"))?,
                    responses: responses.ok_or_else(|| missing("responses"))?,
                    mask_responses: mask.flatten(),
                    options: options.unwrap_or_default(),
                })
            }
        }

        deserializer.deserialize_map(Whole)
    }
}

fn text<E: de::Error>(what: impl fmt::Display, value: Value) -> std::result::Result<String, E> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(E::custom(format_args!("{what} is {}: it must be text", shown(&other)))),
    }
}

fn switch<E: de::Error>(what: &str, value: &Value) -> std::result::Result<Option<bool>, E> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
        other => Err(E::custom(format_args!("{what} is {}: it must be true or false", shown(other)))),
    }
}

/// Responses read from `{name: text}` in order. A map type would lose the order, or let the last of two equal names win.
struct Responses(Vec<Response>);

impl<'de> Deserialize<'de> for Responses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Ordered;

        impl<'de> Visitor<'de> for Ordered {
            type Value = Responses;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of response texts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut responses: Vec<Response> = Vec::new();
                let mut seen = HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(de::Error::custom(format_args!("the response name {name:?} is given twice")));
                    }
                    let text = text(format_args!("response {name:?}"), map.next_value()?)?;
                    responses.push(Response { name, text });
                }
                Ok(Responses(responses))
            }
        }

        deserializer.deserialize_map(Ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_it_was_after_json() {
        let mut request = JudgeRequest::new("Be short.", "Hi\n", [("z", "one"), ("", ""), ("a", "ü")]);
        let json = serde_json::to_string(&request).unwrap();
        assert!(json.ends_with(r#""responses":{"z":"one","":"","a":"ü"}}"#), "{json}");
        assert_eq!(JudgeRequest::from_json(json.as_bytes()).unwrap(), request);
        request.mask_responses = Some(false);
        request.options = Options { temperature: Some(0.7), seed: Some(u64::MAX), ..Options::default() };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(JudgeRequest::from_json(json.as_bytes()).unwrap(), request);
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_in_its_own_words() {
        let whole = r#"{"principle": "p", "prompt": "q", "responses": {"a": "x"}}"#;
        assert!(JudgeRequest::from_json(whole.as_bytes()).is_ok());
        for (from, to, wanted) in [
            (r#"{"a": "x"}"#, r#"{"a": null}"#, r#"response "a" is null: it must be text at line 1 column 58"#),
            (r#"{"a": "x"}"#, r#"{"a": ["x"]}"#, r#"response "a" is ["x"]: it must be text"#),
            (r#"{"a": "x"}"#, r#"["x"]"#, "expected an object of response texts by name"),
            (r#""p""#, "7", "principle is 7: it must be text"),
            (r#""q""#, "null", "prompt is null: it must be text"),
            (r#", "prompt": "q""#, "", "missing field `prompt`"),
            (r#""prompt""#, r#""principle""#, "duplicate field `principle`"),
            (r#""prompt""#, r#""question""#, "unknown field `question`, expected one of `principle`, `prompt`"),
            (r#""prompt""#, r#""mask_responses": 1, "prompt""#, "mask_responses is 1: it must be true or false"),
            (r#""prompt""#, r#""options": {"seed": -1}, "prompt""#, "seed is -1: must be a whole number"),
        ] {
            let json = whole.replacen(from, to, 1);
            let error = JudgeRequest::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(wanted), "{error}");
        }
        let lines = format!("{whole}\n{whole}\n");
        let error = JudgeRequest::from_json(lines.as_bytes()).unwrap_err();
        assert!(error.message().ends_with("line 2 column 1; is this JSON Lines, one request a line?"), "{error}");
        let error = JudgeRequest::from_json(b"[1]").unwrap_err();
        let wanted = r#"expected an object {"principle", "prompt", "responses"}"#;
        assert!(error.message().contains(wanted), "{error}");
    }
}
