//! Judge profiles: what one judge model needs to know and to be told.

use serde::{Deserialize, Serialize};

use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};

/// How a judge model is addressed and how it answers. A JSON file; see `docs/profiles.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of this format: 1.
    pub format: u32,
    /// Name of the profile, for people.
    pub name: String,
    /// The system prompt.
    pub system_prompt: String,
    /// How the request is laid out in messages.
    #[serde(default)]
    pub message_layout: MessageLayout,
    /// What stands before the number in an alias.
    #[serde(default = "default_alias_prefix")]
    pub alias_prefix: String,
    /// The scores that the judge may give.
    #[serde(default)]
    pub scale: Scale,
    /// How the judge writes its reasoning; absent for a judge that does not think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningForm>,
    /// How the judge writes its verdict.
    #[serde(default)]
    pub verdict: VerdictForm,
    /// Default options of this judge.
    #[serde(default)]
    pub decoding: Options,
}

/// How the request is laid out in messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MessageLayout {
    /// A system message, then a user message that is the JSON of principle, prompt and responses.
    #[default]
    SystemUserJson,
    /// One user message: the system prompt, an empty line, the JSON. For templates without a system role.
    UserJson,
}

/// The whole numbers from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The worst score.
    pub min: u8,
    /// The best score.
    pub max: u8,
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 1, max: 5 }
    }
}

impl Scale {
    /// Number of scores on the scale.
    pub fn len(self) -> usize {
        usize::from(self.max - self.min) + 1
    }

    /// Whether the scale holds no score; never, once the profile was checked.
    pub fn is_empty(self) -> bool {
        self.max < self.min
    }

    /// Whether a score, whole or not, lies on the scale.
    pub fn contains(self, score: f64) -> bool {
        score >= f64::from(self.min) && score <= f64::from(self.max)
    }
}

/// How reasoning is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasoningForm {
    /// The token that opens it, such as `<think>`.
    pub open: String,
    /// The token that closes it, such as `</think>`.
    pub close: String,
    /// What the judge writes right after the opening token.
    #[serde(default = "newline")]
    pub prefix: String,
}

/// How a verdict is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictForm {
    /// What the judge writes between its reasoning and the verdict.
    #[serde(default = "blank_line")]
    pub separator: String,
    /// The layout that a guided verdict follows: `%scores%` stands for `"model-1": 4, "model-2": 2`, `%ranking%` for
    /// `"model-1", "model-2"`. Each stands once, the scores first.
    pub layout: String,
}

impl Default for VerdictForm {
    fn default() -> Self {
        Self {
            separator: blank_line(),
            layout: "{\n  \"scores\": {%scores%},\n  \"best-to-worst\": [%ranking%]\n}".into(),
        }
    }
}

fn default_alias_prefix() -> String {
    "model-".into()
}

fn newline() -> String {
    "\n".into()
}

fn blank_line() -> String {
    "\n\n".into()
}

impl Profile {
    /// Reads a profile from JSON and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming what is wrong and where.
    pub fn from_json(json: &str) -> Result<Self> {
        let profile: Self = serde_json::from_str(json)
            .map_err(|error| Error::new(ErrorKind::InvalidProfile, format!("the profile is not valid: {error}")))?;
        profile.check()?;
        Ok(profile)
    }
}

impl Profile {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming the field.
    pub fn check(&self) -> Result<()> {
        let fail = |message: String| Err(Error::new(ErrorKind::InvalidProfile, message));
        if self.format != 1 {
            return fail(format!("format is {}: this release reads format 1", self.format));
        }
        if self.scale.max > 9 || self.scale.min >= self.scale.max {
            return fail(format!(
                "scale is {} to {}: it must go from a smaller to a larger digit, 0 to 9",
                self.scale.min, self.scale.max
            ));
        }
        let (scores, ranking) = (self.verdict.layout.find("%scores%"), self.verdict.layout.find("%ranking%"));
        match (scores, ranking) {
            (Some(scores), Some(ranking))
                if scores < ranking
                    && self.verdict.layout.matches("%scores%").count() == 1
                    && self.verdict.layout.matches("%ranking%").count() == 1 => {}
            _ => return fail("verdict.layout must hold %scores% once and %ranking% once after it".into()),
        }
        if let Some(form) = &self.reasoning
            && (form.open.is_empty() || form.close.is_empty())
        {
            return fail("reasoning.open and reasoning.close must name a token each".into());
        }
        self.decoding
            .resolve()
            .map_err(|error| Error::new(ErrorKind::InvalidProfile, error.message().to_owned()).context("decoding"))?;
        Ok(())
    }
}
