//! What a caller asks: a principle, a prompt, the responses, and options for this one request.

use std::collections::HashSet;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::{Limits, Options};
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeRequest {
    /// The principle to judge by, in plain language.
    pub principle: String,
    /// What the responses respond to.
    pub prompt: String,
    /// The responses in the caller's order.
    #[serde(deserialize_with = "ordered_responses")]
    pub responses: Vec<Response>,
    /// `false` shows the real names in the given order, as the reference system's switch does. `None` or `true`: as
    /// [`Options::mask`] says.
    #[serde(default)]
    pub mask_responses: Option<bool>,
    /// Settings for this request alone.
    #[serde(default)]
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
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, format!("the request is not valid: {error}")))
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

/// Reads `{name: text}` in order. A map type would lose the order or let the last of two equal names win.
fn ordered_responses<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<Response>, D::Error> {
    struct Ordered;

    impl<'de> Visitor<'de> for Ordered {
        type Value = Vec<Response>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object of response texts by name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
            let mut responses: Vec<Response> = Vec::new();
            let mut seen = HashSet::new();
            while let Some(name) = map.next_key::<String>()? {
                if !seen.insert(name.clone()) {
                    return Err(de::Error::custom(format_args!("the response name {name:?} is given twice")));
                }
                let text = map.next_value::<String>()?;
                responses.push(Response { name, text });
            }
            Ok(responses)
        }
    }

    deserializer.deserialize_map(Ordered)
}
