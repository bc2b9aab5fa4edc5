//! Judge profiles: how one judge model must be prompted and read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{JudgeConfig, Options};
use crate::error::{Error, ErrorKind, Result};
pub(crate) use crate::files::read_bounded;
use crate::profiles;

use super::reasoning;
use super::template::{self, ChatTemplate, Date};

mod calibration;
mod form;
mod scale;

pub use calibration::{Calibration, CalibrationMap, MAX_POINTS, Threshold};
pub use form::{UserMessage, VerdictForm, VerdictKind};
pub use scale::Scale;

/// The built-in system prompt, for judges that were not trained with their own.
const DEFAULT_SYSTEM_PROMPT: &str = include_str!("default_system_prompt.txt");
/// The version of the format that this release reads and writes.
const FORMAT: u32 = 1;
/// Largest profile that is read: a system prompt is some kilobytes.
const MAX_PROFILE_BYTES: u64 = 4 << 20;

/// Longest part of an alias before its number.
const MAX_PREFIX_BYTES: usize = 64;

/// How a judge model is addressed and how it answers. A JSON file; see `docs/profiles.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
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
    /// The user's message in words instead of JSON, for judges that were trained to read it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_message: Option<UserMessage>,
    /// The text before the number in an alias. A judge that chooses one of two responses sees them as `A` and `B` instead.
    #[serde(default = "default_alias_prefix")]
    pub alias_prefix: String,
    /// The scores that the judge may give.
    #[serde(default)]
    pub scale: Scale,
    /// How the judge writes its reasoning; absent for a judge that does not reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningForm>,
    /// How the judge writes its verdict.
    #[serde(default)]
    pub verdict: VerdictForm,
    /// The chat template, as Jinja, instead of the model's own; for models that have none, or a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// Variables that the chat template gets in addition to the usual ones, such as `{"reasoning_effort": "low"}`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub template_variables: serde_json::Map<String, serde_json::Value>,
    /// The day that the chat template's `strftime_now` writes, such as `2026-01-31`. Absent: the day on which the judge is
    /// opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_date: Option<String>,
    /// Default options of this judge.
    #[serde(default)]
    pub decoding: Options,
    /// What `dicast calibrate` has learned of this judge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Box<Calibration>>,
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

/// How reasoning is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReasoningForm {
    /// The token that opens it, such as `<think>`.
    pub open: String,
    /// The token that closes it, such as `</think>`.
    pub close: String,
    /// What the judge writes right after the opening token.
    #[serde(default = "newline")]
    pub prefix: String,
}

impl ReasoningForm {
    /// Between these tokens, a line break after the first.
    pub fn new(open: impl Into<String>, close: impl Into<String>) -> Self {
        Self { open: open.into(), close: close.into(), prefix: newline() }
    }

    /// `<think>` and `</think>`, as Qwen3 and its finetunes write it.
    pub fn think() -> Self {
        Self::new("<think>", "</think>")
    }
}

fn default_alias_prefix() -> String {
    "model-".into()
}

fn newline() -> String {
    "\n".into()
}

/// Whether a model of this name (of its file, or in its metadata) is one of the `RewardAnything` family.
pub fn is_reward_anything(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    letters.to_ascii_lowercase().contains("rewardanything")
}

impl Profile {
    /// Reads a profile from JSON and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming what is wrong and where.
    pub fn from_json(json: &str) -> Result<Self> {
        let profile: Self = crate::json::read(json.as_bytes())
            .map_err(|error| Error::new(ErrorKind::InvalidProfile, format!("the profile is not valid: {error}")))?;
        profile.check()?;
        Ok(profile)
    }

    /// The profile of a general instruction-following model: a system prompt of Dicast's own, `<think>` for reasoning.
    pub fn builtin() -> Self {
        Self {
            format: FORMAT,
            name: "default".into(),
            system_prompt: DEFAULT_SYSTEM_PROMPT.into(),
            message_layout: MessageLayout::default(),
            user_message: None,
            alias_prefix: default_alias_prefix(),
            scale: Scale::default(),
            reasoning: Some(ReasoningForm::think()),
            verdict: VerdictForm::default(),
            chat_template: None,
            template_variables: serde_json::Map::new(),
            template_date: None,
            decoding: Options::default(),
            calibration: None,
        }
    }

    /// The built-in profile, with the reasoning form of the model's family; none if the family is unknown. `is_special` tells
    /// whether a text is a special token of the model.
    pub fn builtin_for(is_special: &dyn Fn(&str) -> bool, template: &str) -> Self {
        Self { reasoning: reasoning::form(is_special, template), ..Self::builtin() }
    }

    /// Warnings about how this profile was found for the model of a configuration, as sentences.
    pub(crate) fn notes(&self, config: &JudgeConfig) -> Vec<String> {
        let mut notes = Vec::new();
        let model = Path::new(&config.model);
        if config.profile.is_some() || self.system_prompt != DEFAULT_SYSTEM_PROMPT || Self::lies_beside(model) {
            return notes;
        }
        if let Some(place) = Self::overlooked(model) {
            let [beside, _] = Self::places(model);
            notes.push(format!(
                "there is a profile in the parent folder, {}, which is not used: copy it to {}, or name it with --profile \
                 (\"profile\" in the configuration)",
                place.display(),
                beside.display()
            ));
        }
        if self.reasoning.is_none() && config.options.reasoning != Some(false) {
            notes.push(
                "the judge does not reason: the built-in profile knows no reasoning tags of its vocabulary or its chat \
                 template; a profile can name them (\"reasoning\")"
                    .to_owned(),
            );
        }
        notes
    }

    /// Whether there is a profile beside a model.
    pub(crate) fn lies_beside(model: &Path) -> bool {
        Self::places(model).iter().any(|place| place.try_exists().unwrap_or(true))
    }

    /// A profile that would be the model's if it were not in the parent folder.
    fn overlooked(model: &Path) -> Option<PathBuf> {
        let folder = model.parent()?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let above = folder.canonicalize().ok()?.parent()?.to_owned();
        Self::places(model)
            .iter()
            .filter_map(|place| place.file_name())
            .map(|name| above.join(name))
            .find(|place| place.is_file())
    }

    /// Reads a profile from a file and checks it. A name without an ending, of which there is no file, is that of a profile of
    /// the [library](crate::profiles).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming the file and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self> {
        if let (Some(name), None) = (path.to_str(), path.extension())
            && path.components().count() == 1
            && !path.is_file()
        {
            return profiles::find(name).cloned().ok_or_else(|| {
                let known: Vec<&str> = profiles::all().iter().map(|named| named.profile.name.as_str()).collect();
                let message = format!(
                    "there is neither a file {name:?} nor a profile of this name in the library, which has {}",
                    known.join(", ")
                );
                Error::new(ErrorKind::InvalidProfile, message)
            });
        }
        let place = path.display();
        let fail =
            |what: String| Error::new(ErrorKind::InvalidProfile, format!("cannot read the profile {place}: {what}"));
        let bytes = read_bounded(path, MAX_PROFILE_BYTES).map_err(|error| fail(error.to_string()))?;
        let json = String::from_utf8(bytes)
            .map_err(|error| fail(format!("not UTF-8 at offset {}", error.utf8_error().valid_up_to())))?;
        Self::from_json(&json).map_err(|error| error.context(place))
    }

    /// The profile beside a model, if there is one: `<stem>.profile.json`, else `dicast-profile.json` in the same
    /// folder. For a model that is a folder, `<folder>.profile.json`, else `dicast-profile.json` in it.
    ///
    /// # Errors
    /// As [`Profile::load`].
    pub fn find(model: &Path) -> Result<Option<Self>> {
        Self::places(model)
            .into_iter()
            .find(|place| place.try_exists().unwrap_or(true))
            .map(|place| Self::load(&place))
            .transpose()
    }

    /// The profile for a model: the one beside it, else the built-in one. `names` are what the model calls itself (a
    /// GGUF's `general.name` and `general.basename`).
    ///
    /// # Errors
    /// As [`Profile::load`]; [`ErrorKind::InvalidProfile`] for a `RewardAnything` model without a profile, with the
    /// command that makes one: its weights were trained with a system prompt that is not part of this crate.
    pub fn for_model(model: &Path, names: &[&str]) -> Result<Self> {
        if let Some(profile) = Self::find(model)? {
            return Ok(profile);
        }
        let file = model.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if is_reward_anything(&file) || names.iter().any(|name| is_reward_anything(name)) {
            let [place, _] = Self::places(model);
            return Err(Error::new(
                ErrorKind::InvalidProfile,
                format!(
                    "{} is a RewardAnything model and has no profile: it was trained with a system prompt that is in its \
                     Python package. Import it once:\n  pip download --no-deps rewardanything==1.0.1\n  dicast \
                     profile import rewardanything-1.0.1-py3-none-any.whl -o {}",
                    model.display(),
                    place.display()
                ),
            ));
        }
        Ok(Self::builtin())
    }

    /// Overrides the chat template and the variables of this profile by those of a configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the file of the template cannot be read.
    pub(crate) fn overridden(mut self, config: &JudgeConfig) -> Result<Self> {
        if let Some(path) = &config.chat_template {
            self.chat_template = Some(template::read(path)?);
        }
        self.template_variables.extend(config.template_variables.clone());
        Ok(self)
    }

    /// Where the profile of a model is looked for, the first place first; see [`Self::find`].
    pub fn places(model: &Path) -> [PathBuf; 2] {
        if model.is_dir() {
            let mut beside = model.as_os_str().to_owned();
            beside.push(".profile.json");
            [beside.into(), model.join("dicast-profile.json")]
        } else {
            [model.with_extension("profile.json"), model.with_file_name("dicast-profile.json")]
        }
    }

    /// The profile that a configuration names, else the one that goes with the model; see [`Self::for_model`].
    ///
    /// # Errors
    /// Those of [`Self::load`] and [`Self::for_model`].
    pub fn choose(chosen: Option<&Path>, model: &Path, names: &[&str]) -> Result<Self> {
        chosen.map_or_else(|| Self::for_model(model, names), Self::load)
    }

    /// The profile as JSON, indented, with a line end.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a profile is plain data") + "\n"
    }

    /// The chat template with the settings of this profile: its own source instead of `source`, its variables, its day.
    ///
    /// # Errors
    /// Those of [`ChatTemplate::new`] and [`ChatTemplate::with_date`].
    pub fn template(&self, source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<ChatTemplate> {
        let template = ChatTemplate::new(self.chat_template.as_deref().unwrap_or(source), bos, eos)?;
        let template = template.with_variables(self.template_variables.clone());
        match &self.template_date {
            Some(date) => template.with_date(date),
            None => Ok(template),
        }
    }

    /// Checks what the types cannot express.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming the field.
    pub fn check(&self) -> Result<()> {
        let fail = |message: String| Err(Error::new(ErrorKind::InvalidProfile, message));
        if self.format != FORMAT {
            return fail(format!("format is {}: this release reads format {FORMAT}", self.format));
        }
        self.scale.check().or_else(fail)?;
        let prefix = &self.alias_prefix;
        if prefix.len() > MAX_PREFIX_BYTES || prefix.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
            return fail(format!(
                "alias_prefix is {prefix:?}: at most {MAX_PREFIX_BYTES} bytes, no quotes, backslashes or control characters"
            ));
        }
        let form = &self.verdict;
        form.check(self.scale).or_else(fail)?;
        if let Some(message) = &self.user_message {
            // One response needs no name.
            message.check(form.kind() != VerdictKind::Score).or_else(fail)?;
        }
        if let Some(form) = &self.reasoning
            && (form.open.is_empty() || form.close.is_empty())
        {
            return fail("reasoning.open and reasoning.close must name a token each".into());
        }
        if let Some(date) = &self.template_date
            && Date::parse(date).is_none()
        {
            return fail(format!("template_date is {date:?}: it must be a day, such as 2026-01-31"));
        }
        self.decoding
            .resolve()
            .map_err(|error| Error::new(ErrorKind::InvalidProfile, error.message().to_owned()).context("decoding"))?;
        self.calibration.as_ref().map_or(Ok(()), |calibration| calibration.check())
    }
}
