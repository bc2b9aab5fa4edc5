//! `dicast batch`: requests from a JSON Lines file, one result a line, in order, continued after any kill.

use std::path::PathBuf;

use dicast::checksum::Checksum;
use dicast::config::Limits;
use dicast::{Error, ErrorKind, JudgeConfig, JudgeRequest, Verdict};
use serde_json::{Value, json};

use super::judge::result_line;
use super::options::JudgeArgs;
use super::run::lines::{Line, Numbered};
use super::run::{self, Plan, Work};
use super::{Failure, Outcome, input, model};

/// Judge a file of requests, one a line.
#[derive(clap::Args)]
#[command(after_help = "\
Each line of input is a request; each line of output is its result, or {\"error\": {\"kind\", \"message\"}}, in the same
order. Blank lines at the end are not lines; others are errors.

Run the same command again after an interruption: it goes on where it stopped. OUT.jsonl.state beside the output says what
the output was made from; delete it when you are done. What judges (model, profile, options) must stay the same, the input
may grow at its end, and \"limits\" and \"local\" of the configuration may change.")]
pub(crate) struct Args {
    /// Requests as JSON Lines; - is standard input.
    #[arg(value_name = "IN.jsonl")]
    input: PathBuf,
    /// Results as JSON Lines; - is standard output, which cannot be continued.
    #[arg(long, short, value_name = "OUT.jsonl")]
    output: PathBuf,
    /// Replace an output that is there, instead of continuing it.
    #[arg(long)]
    overwrite: bool,
    /// Judgments decoded at once. Default: what the engine decodes at once, `local.max_sequences` of the embedded one.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    concurrency: Option<u32>,
    /// No progress bar and no summary.
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
    let plan = Plan {
        input: &args.input,
        output: &args.output,
        overwrite: args.overwrite,
        concurrency: args.concurrency,
        quiet: args.quiet,
        line_bytes: input::request_bytes(&config.limits),
    };
    let input = run::open_input(&args.input)?;
    // Found before it is opened: the output is held against it.
    config.model = model::locate(&config.model)?;
    let settings = if run::is_device(&args.output) { Value::Null } else { fingerprint(&config)? };
    let work = Batch { limits: config.limits.clone(), settings };
    run::run(&work, &plan, input, config)
}

/// Lines that are requests, results that are verdicts.
pub(super) struct Batch {
    pub(super) limits: Limits,
    pub(super) settings: Value,
}

impl Work for Batch {
    /// The number of the line.
    type Kept = u64;

    fn request(&self, Numbered { number, line, .. }: Numbered) -> (u64, dicast::Result<JudgeRequest>) {
        let request = match line {
            Line::Whole(json) => JudgeRequest::from_json(&json).and_then(|request| {
                request.check(&self.limits)?;
                Ok(request)
            }),
            Line::Blank => Err(Error::new(ErrorKind::InvalidRequest, "the line is blank")),
            Line::TooLong { bytes } => Err(Error::new(
                ErrorKind::TooLarge,
                format!("the line has {bytes} bytes, the limit is {}", input::request_bytes(&self.limits)),
            )),
        };
        (number, request)
    }

    fn line(&self, number: u64, outcome: dicast::Result<Verdict>) -> Result<String, Failure> {
        result_line(&outcome.map_err(|error| error.context(format_args!("line {number}"))))
    }

    fn settings(&self) -> Value {
        self.settings.clone()
    }
}

/// What the results depend on, beside the input. The model goes in by its content, so that it may be moved.
fn fingerprint(config: &JudgeConfig) -> Result<Value, Failure> {
    let source = model::find(&config.model)?;
    let profile = source.profile(config.profile.as_deref())?;
    let mut checksum = Checksum::default();
    checksum.add(profile.to_json().as_bytes());
    Ok(json!({
        "model": source.fingerprint()?,
        "profile": { "name": profile.name, "checksum": checksum.to_string() },
        "options": config.options,
        "verdict": config.verdict,
    }))
}
