//! Every setting of a judge, read from one JSON form and checked once.
//!
//! Each part of the configuration has its own file with one table. A row has a setting's name, type, default, range
//! and documentation. To add a setting, add its row and its line in `docs/settings.md`; a test compares the two. The
//! command line, the C and Python interfaces and the JSON schema are made from the tables.

mod limits;
mod local;
mod options;
mod reference;
mod remote;
mod table;
mod trtllm;
mod verdict;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use limits::{Limits, MAX_RESPONSES};
pub use local::{Isolation, LocalConfig};
pub use options::{Blocks, Mask, Options, RankRule, RankingFrom, Reward, RubricMerge, RubricMode, Settings, StopEarly};
pub(crate) use remote::is_url;
pub use remote::{ControlTokens, RemoteConfig, RemoteInput, RemoteVerdict, Secret, Secrets};
pub(crate) use table::shown;
pub use table::{Kind, Row};
pub use trtllm::{TrtllmConfig, TrtllmMode, TrtllmScheduler};
pub use verdict::{Incomplete, VerdictPolicy};

use crate::error::{Error, ErrorKind, Result};

/// The settings that belong to no table: what is opened.
const PLACES: [(&str, &str, &str); 4] = [
    (
        "model",
        "text",
        "The model: a path to a .gguf file or to a folder with a TensorRT-LLM engine, or the URL of a server that speaks the \
         OpenAI protocol.",
    ),
    ("profile", "text", "The judge profile, a JSON file. Not set: the one beside the model, else the built-in one."),
    (
        "chat_template",
        "text",
        "A file with the chat template to use, in Jinja, or a JSON file that holds one under \"chat_template\", such as \
         tokenizer_config.json. Not set: that of the profile, else the model's own.",
    ),
    (
        "template_variables",
        "object",
        "Variables for the chat template, such as {\"reasoning_effort\": \"low\"}; they override those of the profile.",
    ),
];

/// Everything that is needed to open a judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct JudgeConfig {
    /// The model: a path to a `.gguf` file, or to a folder with a TensorRT-LLM engine, or the URL of a server. (The command line also takes `hf:owner/repo` and fetches it first.)
    pub model: String,
    /// The judge profile; by default the one beside the model, else the built-in one.
    pub profile: Option<PathBuf>,
    /// A file with the chat template to use; by default the profile's, else the model's own. In Jinja, or a JSON file that
    /// holds one under `chat_template`, such as `tokenizer_config.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// Variables for the chat template, such as `{"reasoning_effort": "low"}`. They override those of the profile.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub template_variables: Map<String, Value>,
    /// Options for every request of this judge.
    pub options: Options,
    /// How answers are read.
    pub verdict: VerdictPolicy,
    /// Limits on requests.
    pub limits: Limits,
    /// Settings of the embedded engine.
    pub local: LocalConfig,
    /// Settings of the TensorRT-LLM engine.
    pub trtllm: TrtllmConfig,
    /// Settings of the remote engine.
    pub remote: RemoteConfig,
}

impl JudgeConfig {
    /// The tables of settings, by the key of each part.
    pub const TABLES: [(&'static str, &'static [Row]); 6] = [
        ("options", Options::ROWS),
        ("verdict", VerdictPolicy::ROWS),
        ("limits", Limits::ROWS),
        ("local", LocalConfig::ROWS),
        ("trtllm", TrtllmConfig::ROWS),
        ("remote", RemoteConfig::ROWS),
    ];

    /// The configuration as JSON Schema: every setting with its type, range, default and meaning.
    pub fn schema() -> Value {
        let mut properties = Map::new();
        for (key, kind, doc) in PLACES {
            let kind = if kind == "text" { "string" } else { kind };
            properties.insert(key.into(), json!({ "type": kind, "description": doc }));
        }
        properties.extend(Self::TABLES.map(|(key, rows)| (key.to_owned(), table::schema(rows))));
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "The configuration of a Dicast judge",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }

    /// Checks one setting, named as in `options.temperature` or `profile`: that the setting exists, and that it can have this
    /// value. Returns its section, if it has one, and its key.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the setting and what it must be.
    pub(crate) fn check_setting(name: &str, value: &Value) -> Result<(Option<&'static str>, &'static str)> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidConfig, message);
        let unknown = || invalid(format!("there is no setting {name:?}: names look like local.threads or profile"));
        let Some((section, key)) = name.split_once('.') else {
            let (key, kind, _) = PLACES.iter().find(|(key, ..)| *key == name).ok_or_else(unknown)?;
            let fits = if *kind == "text" { value.is_string() } else { value.is_object() };
            if !fits && !value.is_null() {
                return Err(invalid(format!("{name} is {}: must be {kind}", shown(value))));
            }
            return Ok((None, key));
        };
        let (section, rows) = Self::TABLES.into_iter().find(|(known, _)| *known == section).ok_or_else(unknown)?;
        let row = rows.iter().find(|row| row.name == key).ok_or_else(unknown)?;
        row.check_json(value).map_err(|wrong| invalid(format!("{name} {wrong}")))?;
        Ok((Some(section), row.name))
    }

    /// The default configuration for a model.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Reads a configuration from JSON and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, or the line and column.
    pub fn from_json(json: &str) -> Result<Self> {
        let config = Self::read(json.as_bytes())?;
        config.check()?;
        Ok(config)
    }

    /// Reads a configuration that may still lack its model, and does not check it as a whole. A configuration of the reference
    /// system (`{"api_base", "api_model", …}`) is read too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, or the line and column.
    pub fn read(json: &[u8]) -> Result<Self> {
        if let Ok(Value::Object(object)) = crate::json::with_room(json, || serde_json::from_slice(json))
            && reference::is_one(&object)
        {
            return reference::read(&object);
        }
        crate::json::read(json)
            .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("the configuration is not valid: {error}")))
    }

    /// Checks every setting. [`crate::Judge::open`] does this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
    pub fn check(&self) -> Result<()> {
        if self.model.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "model is empty: name a model file"));
        }
        self.options.resolve().map_err(|error| error.context("options"))?;
        self.verdict.check()?;
        self.limits.check()?;
        self.local.check()?;
        self.trtllm.check()?;
        self.remote.check(&self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a value of JSON stands in the documentation.
    fn shown(value: Option<Value>) -> String {
        match value {
            None => "not set".to_owned(),
            Some(Value::String(word)) => word,
            Some(Value::Number(number)) => number.as_f64().map_or_else(String::new, |number| number.to_string()),
            Some(value) => value.to_string(),
        }
    }

    #[test]
    fn every_setting_is_documented_with_its_values_and_its_default() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
        let text = std::fs::read_to_string(path).unwrap();
        let documented: Vec<_> = text.lines().filter(|line| line.starts_with("| `")).collect();
        let mut wanted: Vec<_> = PLACES.iter().map(|(key, kind, _)| format!("| `{key}` | {kind} | ")).collect();
        for (section, rows) in JudgeConfig::TABLES {
            let line = |row: &Row| format!("| `{section}.{}` | {} | {} | ", row.name, row.kind, shown(row.default()));
            wanted.extend(rows.iter().map(line));
        }
        for (line, wanted) in documented.iter().zip(&wanted) {
            assert!(line.starts_with(wanted), "docs/settings.md must say: {wanted}\nbut says: {line}");
        }
        assert_eq!(documented.len(), wanted.len(), "docs/settings.md has a line for each setting");
    }

    #[test]
    fn the_tables_are_the_whole_configuration() {
        let mut config = JudgeConfig { chat_template: Some("template.jinja".into()), ..JudgeConfig::default() };
        config.template_variables.insert("thinking_budget".into(), 100.into());
        let config = serde_json::to_value(config).unwrap();
        let mut keys: Vec<_> = config.as_object().unwrap().keys().map(String::as_str).collect();
        let mut wanted: Vec<_> = PLACES.iter().map(|(key, ..)| *key).collect();
        wanted.extend(JudgeConfig::TABLES.map(|(key, _)| key));
        keys.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
    }

    #[test]
    fn every_default_is_a_value_that_its_row_takes() {
        for (section, rows) in JudgeConfig::TABLES {
            for row in rows {
                let Some(default) = row.default() else { continue };
                let text = match &default {
                    Value::String(word) => word.clone(),
                    Value::Array(items) if items.is_empty() => continue,
                    value => value.to_string(),
                };
                assert_eq!(row.kind.parse(&text), Ok(default), "{section}.{}", row.name);
            }
        }
        assert!(JudgeConfig::new("m.gguf").check().is_ok());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_what_is_taken() {
        for (json, wanted) in [
            (r#"{"options": {"timeout_ms": -1000}}"#, "timeout_ms is -1000: must be a whole number from 1 to 86400000"),
            (r#"{"options": {"top_k": 2.5}}"#, "top_k is 2.5: must be a whole number from 0 to 4294967295"),
            (r#"{"options": {"seed": 99999999999999999999999}}"#, "seed is 1e+23: must be a whole number 0 or more"),
            (r#"{"options": {"temperature": "hot"}}"#, "temperature is \"hot\": must be a number from 0 to 2"),
            (r#"{"options": {"mask": "maybe"}}"#, "mask is \"maybe\": must be shuffle, given or off"),
            (r#"{"options": {"reasoning": 1}}"#, "reasoning is 1: must be true or false"),
            (
                r#"{"limits": {"max_queue": null}}"#,
                "limits.max_queue is null: must be a whole number from 1 to 1000000",
            ),
            (r#"{"local": {"threads": [1]}}"#, "local.threads is [1]: must be a whole number from 0 to 512"),
            (r#"{"trtllm": {"device_ids": [0, -1]}}"#, "trtllm.device_ids is [0,-1]: must be a list of whole numbers"),
            (r#"{"verdict": {"clamp": 1}}"#, "verdict.clamp is 1: must be true or false"),
            (r#"{"options": 3}"#, "expected an object of settings such as temperature, top_p, top_k"),
            (r#"{"options": {"seed": 1, "seed": 2}}"#, "duplicate field `seed`"),
            (r#"{"local": {"threats": 3}}"#, "unknown field `threats`"),
        ] {
            let error = JudgeConfig::from_json(json).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{json}");
            assert!(error.message().contains(wanted), "{error}");
            assert!(error.message().contains("line 1 column"), "{error}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_range() {
        for (json, wanted) in [
            (r#"{"options": {"temperature": 3}}"#, "options: temperature is 3: must be from 0 to 2"),
            (r#"{"options": {"top_p": 0}}"#, "options: top_p is 0: must be above 0 and at most 1"),
            (r#"{"options": {"top_p": 1e-60}}"#, "options: top_p is 0: must be above 0 and at most 1"),
            (r#"{"options": {"temperature": 1e300}}"#, "options: temperature is inf: must be from 0 to 2"),
            (r#"{"options": {"timeout_ms": 0}}"#, "options: timeout_ms is 0: must be from 1 to 86400000"),
            (r#"{"local": {"context_tokens": 63}}"#, "local.context_tokens is 63: must be 0, or from 64 to 1048576"),
            (r#"{"trtllm": {"device_ids": [0, 5000]}}"#, "trtllm.device_ids is 5000: must be from 0 to 1023"),
        ] {
            let json = json.replacen('{', r#"{"model": "m.gguf", "#, 1);
            let error = JudgeConfig::from_json(&json).unwrap_err();
            assert!(error.message().starts_with(wanted), "{error}");
        }
        let top = r#"{"model": "m.gguf", "trtllm": {"kv_memory_fraction": 0.99}}"#;
        assert!(JudgeConfig::from_json(top).is_ok(), "the greatest value is one too");
        let unset = r#"{"model": "m.gguf", "options": {"temperature": null}}"#;
        assert_eq!(JudgeConfig::from_json(unset).unwrap().options, Options::default());
    }

    #[test]
    fn options_are_taken_key_by_key_from_the_lower_where_open() {
        let upper = Options { temperature: Some(0.5), guided: Some(false), ..Options::default() };
        let lower = Options { temperature: Some(1.0), seed: Some(7), mask: Some(Mask::Off), ..Options::default() };
        let both = upper.or(&lower);
        assert_eq!((both.temperature, both.seed, both.mask), (Some(0.5), Some(7), Some(Mask::Off)));
        let settings = both.resolve().unwrap();
        assert_eq!((settings.guided, settings.top_k, settings.mask_seed), (Some(false), 0, 42));
        assert_eq!(Options::default().resolve().unwrap().guided, None);
        let json = serde_json::to_string(&upper).unwrap();
        assert_eq!(json, r#"{"temperature":0.5,"guided":false}"#);
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), upper);
    }

    #[test]
    fn the_schema_names_types_ranges_and_defaults() {
        let schema = JudgeConfig::schema();
        let row = |key: &str| schema.pointer(&format!("/properties/{key}")).unwrap().clone();
        let top_p = row("options/properties/top_p");
        assert_eq!(
            (&top_p["type"], &top_p["exclusiveMinimum"], &top_p["default"]),
            (&json!("number"), &json!(0.0), &json!(1.0))
        );
        assert_eq!(row("options/properties/guided").get("default"), None);
        assert_eq!(row("trtllm/properties/mode")["enum"], json!(["leader", "orchestrator"]));
        assert_eq!(row("trtllm/properties/kv_memory_fraction")["default"], json!(0.9));
        assert_eq!(
            row("local/properties/context_tokens")["anyOf"],
            json!([{ "const": 0 }, { "minimum": 64, "maximum": 1 << 20 }])
        );
    }
}
