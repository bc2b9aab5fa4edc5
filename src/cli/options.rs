//! The options that several verbs share, and the configuration that they make.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use dicast::config::{Incomplete, Kind, Row};
use dicast::{ErrorKind, JudgeConfig, Profile};
use serde_json::{Map, Value};

use super::outputs::PROFILE;
use super::{Failure, input, worker};

/// Names the model if neither an option nor the configuration does.
const MODEL_VARIABLE: &str = "DICAST_MODEL";

/// The heading of the options that come from the tables of settings.
const HEADING: &str = "Judging (a request's own \"options\" override these; these override the configuration and the \
                       judge's profile)";

/// Which judge, and how it judges.
#[derive(clap::Args)]
pub(crate) struct JudgeArgs {
    // Not through clap, because the configuration has precedence over the environment.
    #[arg(
        long,
        short,
        help = "Model: a .gguf file, a folder with a TensorRT-LLM engine, the URL of a server, or \
                hf:OWNER/REPO[@REVISION][:FILE or QUANTIZATION] to fetch one. Default: that of the configuration [env: DICAST_MODEL]"
    )]
    model: Option<String>,
    /// Judge profile, a JSON file. Default: the one beside the model, else the built-in one.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Chat template in Jinja, or a JSON file that holds one (`tokenizer_config.json`). Default: that of the profile, else the
    /// model's own.
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// Variables for the chat template, as a JSON object: `{"reasoning_effort": "low"}`.
    #[arg(long, value_name = "JSON", value_parser = variables)]
    template_variables: Option<Map<String, Value>>,
    /// Configuration, a JSON file; options given here override it.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
    /// Derive a missing ranking from complete scores.
    #[arg(long)]
    derive_ranking: bool,
}

/// The values of the options that come from the tables: rows, with the text typed for each.
#[derive(Default)]
struct Given(Vec<(&'static str, &'static Row, String)>);

impl JudgeArgs {
    /// Whether a model is named in any of the possible places.
    pub(crate) fn names_model(&self) -> Result<bool, Failure> {
        Ok(self.model.is_some()
            || std::env::var(MODEL_VARIABLE).is_ok_and(|model| !model.is_empty())
            || self.config.as_deref().map(read_config).transpose()?.is_some_and(|config| !config.model.is_empty()))
    }

    /// The whole configuration, checked. Its model is still the name that was given; [`super::model::open`] opens it.
    pub(crate) fn config(&self) -> Result<JudgeConfig, Failure> {
        self.config_for(None)
    }

    /// As [`Self::config`], for a model that was named without an option.
    pub(crate) fn config_for(&self, model: Option<&String>) -> Result<JudgeConfig, Failure> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(JudgeConfig::default()), read_config)?;
        if let Some(model) = model.or(self.model.as_ref()) {
            config.model.clone_from(model);
        } else if config.model.is_empty() {
            config.model = std::env::var(MODEL_VARIABLE).unwrap_or_default();
        }
        if config.model.is_empty() {
            return Err(Failure::new(ErrorKind::InvalidConfig, "no model is named").hint(format!(
                "give --model FILE.gguf or --model hf:OWNER/REPO, or set {MODEL_VARIABLE}; `make demo` shows one at work"
            )));
        }
        if let Some(profile) = &self.profile {
            config.profile = Some(profile.clone());
        }
        if let Some(template) = &self.chat_template {
            config.chat_template = Some(template.clone());
        }
        if let Some(variables) = &self.template_variables {
            config.template_variables.clone_from(variables);
        }
        self.over(config)
    }

    /// A configuration, overridden by the settings that were given as options, and checked.
    pub(crate) fn over(&self, mut config: JudgeConfig) -> Result<JudgeConfig, Failure> {
        self.given.apply(&mut config)?;
        if self.derive_ranking {
            config.verdict.incomplete = Incomplete::DeriveRanking;
        }
        worker::isolate(&mut config)?;
        config.check()?;
        Ok(config)
    }

    /// The files that a judge is made of, each with the option that names it.
    pub(crate) fn files(&self) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
        let config = self.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
        let named = |given: Option<&Path>, other: Option<PathBuf>| given.map(Path::to_owned).or(other);
        let of_config = (!config.model.is_empty()).then(|| config.model.clone());
        let model = self.model.clone().or(of_config).or_else(|| std::env::var(MODEL_VARIABLE).ok()).map(PathBuf::from);
        let beside = model.as_deref().map(Profile::places).into_iter().flatten();
        let (profile, template) = (
            named(self.profile.as_deref(), config.profile),
            named(self.chat_template.as_deref(), config.chat_template),
        );
        let profiles: Vec<PathBuf> = profile.map_or_else(|| beside.collect(), |profile| vec![profile]);
        let mut files: Vec<_> = profiles.into_iter().map(|profile| (PROFILE, profile)).collect();
        files.extend(model.map(|model| ("--model", model)));
        files.extend(template.map(|template| ("--chat-template", template)));
        files.extend(self.config.clone().map(|config| ("--config", config)));
        Ok(files)
    }

    /// The file of the profile, if an option names one.
    pub(crate) fn profile_file(&self) -> Option<&Path> {
        self.profile.as_deref()
    }

    /// The file of the configuration, if one is named.
    #[cfg(feature = "server")]
    pub(crate) fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

/// The settings that have an option, and the section of each: all options of a request, and the most useful ones of the rest.
fn rows() -> impl Iterator<Item = (&'static str, &'static Row)> {
    const OTHERS: [(&str, &[&str]); 2] =
        [("verdict", &["clamp", "rescale"]), ("local", &["threads", "context_tokens", "isolation"])];
    JudgeConfig::TABLES.into_iter().flat_map(|(section, rows)| {
        let named = OTHERS.into_iter().find(|(other, _)| *other == section).map_or(&[][..], |(_, names)| names);
        let chosen = move |row: &&Row| section == "options" || named.contains(&row.name);
        rows.iter().filter(chosen).map(move |row| (section, row))
    })
}

/// The option of a setting, without its dashes.
fn long(row: &Row) -> String {
    row.name.replace('_', "-")
}

/// The id and the name of the option that turns a setting off.
fn off(row: &Row) -> (String, String) {
    (format!("no_{}", row.name), format!("no-{}", long(row)))
}

/// The options of one row: two for a switch.
fn arguments(row: &'static Row) -> Vec<Arg> {
    let arg = Arg::new(row.name).long(long(row)).value_name(row.name.to_ascii_uppercase());
    let default = row.default();
    let range = match row.kind {
        Kind::Number { .. } => format!(" [{}]", row.kind.range()),
        // A range such as "up to 4294967295" does not help.
        Kind::Whole { max, .. } if max < u32::MAX.into() => format!(" [{}]", row.kind.range()),
        _ => String::new(),
    };
    let shown = default.as_ref().map(|default| format!(" [default: {}]", plain(default))).unwrap_or_default();
    let help = format!("{}{range}{shown}", row.doc.trim().trim_end_matches('.').replace('`', ""));
    match row.kind {
        Kind::Switch => {
            let (id, name) = off(row);
            let opposite = Arg::new(id.clone())
                .long(name)
                .action(ArgAction::SetTrue)
                .help(format!("Switch --{} off", long(row)))
                // It would restate the default.
                .hide(default == Some(Value::Bool(false)));
            vec![arg.action(ArgAction::SetTrue).overrides_with(id).help(help), opposite.overrides_with(row.name)]
        }
        Kind::Choice(words) => vec![arg.value_parser(PossibleValuesParser::new(words.iter().copied())).help(help)],
        Kind::Number { .. } => vec![arg.value_name("NUMBER").allow_negative_numbers(true).help(help)],
        _ => {
            let unit = if row.name.ends_with("_ms") { "MS" } else { "N" };
            vec![arg.value_name(unit).allow_negative_numbers(true).help(help)]
        }
    }
}

/// A default as people write it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        value => value.to_string(),
    }
}

impl clap::Args for Given {
    fn augment_args(command: Command) -> Command {
        rows().fold(command.next_help_heading(HEADING), |command, (_, row)| command.args(arguments(row)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (section, row) in rows() {
            let text = if row.kind == Kind::Switch {
                let (on, off) = (matches.get_flag(row.name), matches.get_flag(&off(row).0));
                (on || off).then(|| on.to_string())
            } else {
                matches.get_one::<String>(row.name).cloned()
            };
            self.0.extend(text.map(|text| (section, row, text)));
        }
        Ok(())
    }
}

impl Given {
    /// Overrides a configuration with the given options.
    fn apply(&self, config: &mut JudgeConfig) -> Result<(), Failure> {
        let broken = |error: serde_json::Error| Failure::new(ErrorKind::Internal, error.to_string());
        let mut whole = serde_json::to_value(&*config).map_err(broken)?;
        for (section, row, text) in &self.0 {
            let value = row.kind.parse(text).map_err(|must| {
                Failure::new(ErrorKind::InvalidConfig, format!("--{} {text}: must be {must}", long(row)))
            })?;
            whole[section][row.name] = value;
        }
        *config = serde_json::from_value(whole).map_err(broken)?;
        Ok(())
    }
}

/// Reads the variables of a chat template.
pub(crate) fn variables(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("must be a JSON object, such as '{{\"name\": true}}': {error}"))
}

/// Reads a configuration that may leave the model to an option. Its settings of a server are for `dicast serve`.
fn read_config(path: &Path) -> Result<JudgeConfig, Failure> {
    let mut json = input::read_file(path, input::SMALL_FILE_BYTES)?;
    if let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&json)
        && object.shift_remove("server").is_some()
    {
        json = Value::Object(object).to_string().into_bytes();
    }
    JudgeConfig::read(&json).map_err(|error| error.context(path.display()).into())
}
