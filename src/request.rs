//! A request: a principle, a prompt, the responses, and options for this one request.

mod conversation;
mod node;
pub(crate) mod reading;
pub(crate) mod rubric;

use std::collections::HashSet;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::{Limits, Options};
use crate::error::{Error, ErrorKind, Result};
pub use rubric::{Criterion, CriterionKind, MAX_CRITERIA};

/// One response to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The caller's name for it, unique within the request. Any string, also an empty one or one that looks like an alias.
    pub name: String,
    /// Its text. May be empty.
    pub text: String,
}

/// One request: judge `responses` to `prompt` by `principle`.
///
/// As JSON: `{"principle", "prompt", "responses", "rubric"?, "reference"?, "mask_responses"?, "options"?}`. `responses` is an object
/// `{name: text}`, whose order is kept, or a list of texts, which get the names `1`, `2` and so on. The prompt, and each
/// response, may be a conversation, a list of `{"role", "content"}`; it is written as text: one message as its content,
/// several messages of a prompt as `role: content` with a blank line between two, of a response what the assistant says. A
/// reference answer is put behind the prompt. `principle` may be `{"named": name}`, one of the library ([`crate::principles`]).
/// `rubric` is a list of criteria, or the name of a rubric of the library; with it `principle` may be left out. Images, tool calls and other content that is no text are refused.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct JudgeRequest {
    /// The principle to judge by, in plain language. With a rubric: a text that applies to all criteria, or nothing.
    pub principle: String,
    /// Criteria to judge by; none: only by the principle.
    pub rubric: Vec<Criterion>,
    /// The prompt that the responses answer.
    pub prompt: String,
    /// The responses in the caller's order.
    pub responses: Vec<Response>,
    /// `false` shows the real names in the given order, as the reference system's switch does. `None` or `true`: as
    /// [`Options::mask`] says.
    pub mask_responses: Option<bool>,
    /// Settings for only this request.
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

    /// Reads a request from JSON. Half a surrogate pair, which is not a character, is read as U+FFFD; [`Reading`] counts
    /// them, and can read further fields and other keys.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the place and what is wrong.
    ///
    /// [`Reading`]: crate::Reading
    pub fn from_json(json: &[u8]) -> Result<Self> {
        reading::strict(json)
    }

    /// Bytes of the principle, the prompt and the texts of the responses.
    pub(crate) fn text_bytes(&self) -> usize {
        self.principle.len()
            + self.rubric.iter().map(|criterion| criterion.criterion.len()).sum::<usize>()
            + self.prompt.len()
            + self.responses.iter().map(|response| response.text.len()).sum::<usize>()
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for no responses or a name given twice, [`ErrorKind::TooLarge`] above a limit.
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
        if !self.rubric.is_empty() {
            rubric::check(&self.rubric)?;
        }
        match self.twice() {
            Some(name) => {
                Err(Error::new(ErrorKind::InvalidRequest, format!("the response name {name:?} is given twice")))
            }
            None => Ok(()),
        }
    }

    /// A name that two responses have.
    fn twice(&self) -> Option<&str> {
        /// So few names are compared with each other sooner than they are hashed.
        const FEW: usize = 8;
        let names = || self.responses.iter().map(|response| response.name.as_str());
        if self.responses.len() <= FEW {
            return names()
                .enumerate()
                .find(|&(place, name)| names().take(place).any(|other| other == name))
                .map(|(_, name)| name);
        }
        let mut seen = HashSet::with_capacity(self.responses.len());
        names().find(|name| !seen.insert(*name))
    }
}

impl Serialize for JudgeRequest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.rubric.is_empty() || !self.principle.is_empty() {
            map.serialize_entry("principle", &self.principle)?;
        }
        map.serialize_entry("prompt", &self.prompt)?;
        map.serialize_entry("responses", &ByName(&self.responses))?;
        if !self.rubric.is_empty() {
            map.serialize_entry("rubric", &self.rubric)?;
        }
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

/// As [`JudgeRequest::from_json`] reads it.
impl<'de> Deserialize<'de> for JudgeRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = serde_json::to_vec(&node::Node::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Self::from_json(&json).map_err(D::Error::custom)
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
            (r#"{"a": "x"}"#, r#"{"a": null}"#, r#"response "a" is null: it must be text"#),
            (r#"{"a": "x"}"#, r#"{"a": 7}"#, r#"response "a" is 7: it must be text"#),
            (r#"{"a": "x"}"#, r#""x""#, "responses are an object {name: text} or a list of texts"),
            (r#""p""#, "7", "\"principle\" is 7: it must be text"),
            (r#""q""#, "null", "\"prompt\" is null: it must be text"),
            (r#", "prompt": "q""#, "", "no \"prompt\""),
            (r#""prompt""#, r#""principle""#, "the field \"principle\" is given twice"),
            (r#""prompt""#, r#""question""#, "the request has no \"prompt\""),
            (r#""prompt""#, r#""mask_responses": 1, "prompt""#, "\"mask_responses\" is 1: it must be true or false"),
            (r#""prompt""#, r#""options": {"seed": -1}, "prompt""#, "seed is -1: must be a whole number"),
        ] {
            let json = whole.replacen(from, to, 1);
            let error = JudgeRequest::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(wanted), "{error}");
        }
        let lines = format!("{whole}\n{whole}\n");
        let error = JudgeRequest::from_json(lines.as_bytes()).unwrap_err();
        assert!(
            error.message().ends_with("(line 2, column 1); is this JSON Lines, with one request on each line?"),
            "{error}"
        );
        let error = JudgeRequest::from_json(b"[1]").unwrap_err();
        let wanted = r#"expected an object {"principle", "prompt", "responses"}"#;
        assert!(error.message().contains(wanted), "{error}");
    }
}
