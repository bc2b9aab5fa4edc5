//! `dicast batch`: judges a file of requests, writes one result for each in the same order, and continues after any kill.

use std::path::{Path, PathBuf};

use dicast::checksum::Checksum;
use dicast::config::Limits;
use dicast::{Error, ErrorKind, JudgeConfig, JudgeRequest, Keys, Options, Reading, Verdict};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::judge::verdict_value;
use super::options::JudgeArgs;
use super::run::earlier::Retry;
use super::run::formats::{Format, is_of_result};
use super::run::lines::{Line, Numbered, Place};
use super::run::{self, Files, Plan, Work};
use super::{Failure, Outcome, dry_run, input, model, outputs};

/// Judge a file of requests.
#[derive(clap::Args)]
#[command(after_help = "\
Each record of input is a request; each record of output is its result, or {\"error\": {\"kind\", \"message\", \"retryable\"}},
in the same order. Other fields of a record (id, custom_id, metadata, ...) come back with its result. Blank lines at the end
are ignored; other blank lines are errors.

The ending of a file's name gives its format: JSON Lines, a JSON array, CSV or Parquet, and .gz or .zst. See docs/batch.md.

Run the same command again after an interruption: it continues where it stopped. The file OUT.state beside the output records
what the output was made from; delete it when you are done. Model, profile and options must stay the same. The input may
grow at its end, and deadlines, \"limits\" and \"local\" of the configuration may change. A record whose result was an error is
judged again if you change it.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Args {
    /// Requests; - is standard input.
    #[arg(value_name = "IN.jsonl")]
    input: PathBuf,
    /// Results; - is standard output, which cannot be continued.
    #[arg(long, short, value_name = "OUT.jsonl", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Format of the input. Default: by the ending of its name.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Format of the output. Default: by the ending of its name.
    #[arg(long, value_enum)]
    output_format: Option<Format>,
    /// The principle of all records, instead of their own; @FILE reads it from a file.
    #[arg(long, value_name = "TEXT")]
    principle: Option<String>,
    /// The field that holds the prompt.
    #[arg(long, value_name = "KEY", default_value = "prompt")]
    prompt_key: String,
    /// The field that holds all responses, or a list of fields with one response each, named as the field (chosen,rejected).
    #[arg(long, value_name = "KEY[,KEY...]", value_delimiter = ',', default_value = "responses")]
    responses_key: Vec<String>,
    /// Refuse records with fields other than those of a request, `id`, `custom_id` and `metadata`.
    #[arg(long)]
    strict: bool,
    /// Leave the raw output and the distributions out of the results.
    #[arg(long)]
    compact: bool,
    /// Judge only the first N records.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Judge failed records of an earlier run again: those that may succeed, or all.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "retryable", require_equals = true)]
    retry_failed: Option<Retry>,
    /// Replace an existing output instead of continuing it. The old one stays until the new one is complete.
    #[arg(long, conflicts_with = "retry_failed")]
    overwrite: bool,
    /// Check the records and count their tokens; judge nothing.
    #[arg(long)]
    dry_run: bool,
    /// Judgments decoded at once. Default: what the engine decodes at once, `local.max_sequences` of the embedded one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: Option<u32>,
    /// No progress and no summary.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

/// Most sequences that the embedded engine can decode at once.
const MAX_LOCAL_SEQUENCES: u32 = 64;

pub(crate) fn run(args: &Args) -> Outcome {
    let mut config = args.judge.config()?;
    if let Some(concurrency) = args.concurrency {
        config.local.max_sequences = concurrency.min(MAX_LOCAL_SEQUENCES);
    }
    let limits = config.limits.clone();
    let principle =
        args.principle.as_deref().map(|text| input::text_or_file(text, limits.max_request_bytes)).transpose()?;
    let form = Form {
        keys: Keys { prompt: args.prompt_key.clone(), responses: args.responses_key.clone() },
        principle,
        strict: args.strict,
        limits,
    };
    form.check()?;
    let files = Files {
        input: &args.input,
        input_format: args.format,
        output: args.output.as_deref().unwrap_or(Path::new("-")),
        output_format: args.output_format,
        keys: &form.keys,
        record_bytes: input::request_bytes(&config.limits),
        replaced_by: "--overwrite",
    };
    if args.dry_run {
        return dry_run::run(&form, &files, args.limit, config);
    }
    if files.output != Path::new("-") {
        let of_judge = args.judge.files()?;
        let inputs: Vec<_> = of_judge.iter().map(|(option, path)| (*option, path.as_path())).collect();
        outputs::check(&inputs, &[("--output", files.output)])?;
    }
    // Checked before the model is fetched, so that a wrong name costs no download.
    drop(if args.input == Path::new("-") { None } else { Some(files.open()?) });
    config.model = model::locate(&config.model)?;
    let plan = Plan {
        overwrite: args.overwrite,
        retry: args.retry_failed,
        limit: args.limit,
        concurrency: args.concurrency,
        quiet: args.quiet,
    };
    let work = Batch::new(form.clone(), args.compact, &config)?;
    run::run(&work, &files, plan, config)
}

/// How a record is read as a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    pub(crate) keys: Keys,
    /// The principle of all records.
    pub(crate) principle: Option<String>,
    /// Whether unknown fields are refused.
    pub(crate) strict: bool,
    pub(crate) limits: Limits,
}

/// What comes back with the result of a record.
pub(crate) struct Kept {
    place: Place,
    rest: Vec<(String, Box<RawValue>)>,
    replaced: usize,
    options: Options,
}

/// Fields that are never refused.
const OWN_FIELDS: [&str; 3] = ["id", "custom_id", "metadata"];

impl Form {
    fn check(&self) -> Result<(), Failure> {
        let mut seen = std::collections::HashSet::from([self.keys.prompt.as_str()]);
        match self.keys.responses.iter().find(|key| !seen.insert(key.as_str())) {
            None => Ok(()),
            Some(twice) => Err(Failure::new(
                ErrorKind::InvalidConfig,
                format!("--prompt-key and --responses-key name {twice:?} twice"),
            )),
        }
    }

    /// Reads a record.
    pub(crate) fn read(&self, Numbered { place, line, .. }: Numbered) -> (Kept, dicast::Result<JudgeRequest>) {
        let mut kept = Kept { place, rest: Vec::new(), replaced: 0, options: Options::default() };
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
        let request = match line {
            Line::Whole(json) => {
                let reading = Reading::new(&json, &self.keys, self.principle.as_deref());
                (kept.rest, kept.replaced) = (reading.rest, reading.replaced);
                reading.request.and_then(|request| self.checked(request, &kept))
            }
            Line::Blank => wrong("the line is blank".into()),
            Line::Wrong(what) => wrong(what),
            Line::TooLong { bytes } => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the record has {bytes} bytes, the limit is {}", input::request_bytes(&self.limits)),
            )),
        };
        if let Ok(request) = &request {
            kept.options = request.options.clone();
        }
        (kept, request)
    }

    fn checked(&self, request: JudgeRequest, kept: &Kept) -> dicast::Result<JudgeRequest> {
        let unknown = kept.rest.iter().find(|(key, _)| self.strict && !OWN_FIELDS.contains(&key.as_str()));
        if let Some((key, _)) = unknown {
            return Err(Error::new(ErrorKind::InvalidRequest, format!("unknown field {key:?} (--strict refuses it)")));
        }
        request.check(&self.limits)?;
        Ok(request)
    }
}

/// Records that are requests, results that are verdicts.
pub(crate) struct Batch {
    form: Form,
    compact: bool,
    settings: Value,
    /// What made every result.
    provenance: Map<String, Value>,
    /// Options of records that have none of their own.
    options: Options,
}

impl Batch {
    /// Work with the model and profile that `config` names; the model lies on this machine.
    fn new(form: Form, compact: bool, config: &JudgeConfig) -> Result<Self, Failure> {
        let (mut settings, judged) = judged_by(config)?;
        let mut set =
            |key: &str, value: Value| settings.as_object_mut().map(|settings| settings.insert(key.into(), value));
        if let Some(principle) = &form.principle {
            set("principle", principle.as_str().into());
        }
        if form.keys != Keys::default() {
            set("prompt_key", form.keys.prompt.as_str().into());
            set("responses_key", form.keys.responses.join(",").into());
        }
        for (key, is_set) in [("strict", form.strict), ("compact", compact)] {
            if is_set {
                set(key, true.into());
            }
        }
        let mut provenance = version();
        provenance.insert("model".into(), judged.model);
        provenance.insert("profile".into(), judged.profile);
        Ok(Self { form, compact, settings, provenance, options: judged.options })
    }
}

/// What judges, for the provenance of results.
pub(crate) struct JudgedBy {
    pub(crate) model: Value,
    profile: Value,
    /// The profile as a calibration knows it: its name, and a checksum of what changes scores.
    pub(crate) judging: Value,
    pub(crate) options: Options,
}

/// Options as what results depend on: how long to wait is no part of what is judged.
pub(crate) fn timeless(options: &Options) -> Value {
    let mut options = serde_json::to_value(options).unwrap_or_default();
    options.as_object_mut().map(|options| options.shift_remove("timeout_ms"));
    options
}

/// What results depend on of a configuration: model, profile, options, reading. The model lies on this machine.
pub(crate) fn judged_by(config: &JudgeConfig) -> Result<(Value, JudgedBy), Failure> {
    let source = model::find(&config.model)?;
    let profile = source.profile_for(config)?;
    let profile_value = json!({ "name": profile.name, "checksum": checksum(&profile.to_json()) });
    let model = source.fingerprint()?;
    let short = source.brief_fingerprint()?;
    let judging = json!({ "name": profile.name, "judging_checksum": profile.judging_checksum() });
    let options = timeless(&config.options);
    let settings = json!({ "model": model, "profile": profile_value, "options": options, "verdict": config.verdict });
    let options = config.options.or(&profile.decoding);
    Ok((settings, JudgedBy { model: short, profile: profile_value, judging, options }))
}

#[cfg(test)]
impl Default for Batch {
    fn default() -> Self {
        let (settings, provenance) = (Value::Null, version());
        Self { form: Form::default(), compact: false, settings, provenance, options: Options::default() }
    }
}

/// Removes the raw outputs and the distributions of merged verdicts.
fn shorten(merged: &mut Value) {
    match merged {
        Value::Object(fields) => {
            fields.shift_remove("raw");
            fields.shift_remove("distributions");
            for field in fields.values_mut() {
                shorten(field);
            }
        }
        Value::Array(items) => {
            for item in items {
                shorten(item);
            }
        }
        _ => {}
    }
}

/// The part of the provenance that needs no model.
pub(crate) fn version() -> Map<String, Value> {
    let mut provenance = Map::new();
    provenance.insert("dicast".into(), env!("CARGO_PKG_VERSION").into());
    provenance
}

fn checksum(text: &str) -> String {
    let mut checksum = Checksum::default();
    checksum.add(text.as_bytes());
    checksum.to_string()
}

impl Work for Batch {
    type Kept = Kept;

    fn request(&self, record: Numbered) -> (Kept, dicast::Result<JudgeRequest>) {
        self.form.read(record)
    }

    fn line(&self, kept: Kept, outcome: dicast::Result<Verdict>) -> Result<String, Failure> {
        let cannot = |error: serde_json::Error| {
            Failure::new(ErrorKind::Internal, format!("cannot write a result as JSON: {error}"))
        };
        let mut result = match outcome {
            Ok(verdict) => verdict_value(&verdict)?,
            Err(error) => error.context(kept.place).to_json(),
        };
        if let Some(flags) = result.get_mut("flags").and_then(Value::as_array_mut)
            && kept.replaced > 0
        {
            flags.push("replaced_characters".into());
        }
        let mut provenance = self.provenance.clone();
        provenance.insert("options".into(), serde_json::to_value(kept.options.or(&self.options)).map_err(cannot)?);
        let Some(fields) = result.as_object_mut() else {
            return Err(Failure::new(ErrorKind::Internal, "a result is not a JSON object"));
        };
        if self.compact {
            fields.shift_remove("raw");
            fields.shift_remove("distributions");
            for part in ["ensemble", "blocks", "rubric"] {
                if let Some(merged) = fields.get_mut(part) {
                    shorten(merged);
                }
            }
            if let Some(partial) = fields.get_mut("error").and_then(|error| error["partial"].as_object_mut()) {
                partial.shift_remove("raw");
            }
        }
        fields.insert("provenance".into(), provenance.into());

        // The caller's fields come first, as they were written; those named like a part of the result under "input".
        let (taken, own): (Vec<_>, Vec<_>) = kept.rest.iter().partition(|(key, _)| is_of_result(key));
        let written = |fields: &[&(String, Box<RawValue>)]| -> String {
            let fields: Vec<_> =
                fields.iter().map(|(key, value)| format!("{}:{value}", Value::from(key.as_str()))).collect();
            fields.join(",")
        };
        let mut line = String::from("{");
        for part in
            [written(&own), if taken.is_empty() { String::new() } else { format!("\"input\":{{{}}}", written(&taken)) }]
        {
            if !part.is_empty() {
                line.push_str(&part);
                line.push(',');
            }
        }
        // A field that is written over several lines would break the line of its result.
        let mut line = line.replace(['\n', '\r'], " ");
        line.push_str(&result.to_string()[1..]);
        line.push('\n');
        Ok(line)
    }

    fn settings(&self) -> Value {
        self.settings.clone()
    }
}
