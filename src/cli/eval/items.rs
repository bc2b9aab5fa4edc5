//! Options of the verbs that judge labelled items: `dicast eval` and `dicast calibrate`.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use dicast::config::Reward;
use dicast::eval::{Benchmark, JudgedBy};
use dicast::{ErrorKind, JudgeConfig, Keys};

use super::super::options::JudgeArgs;
use super::super::outputs::{self, Named};
use super::super::run::earlier::Retry;
use super::super::run::formats::{Compression, Format};
use super::super::run::{self, Files, Plan};
use super::super::{Failure, Outcome, input, principles};
use super::Evaluation;

/// Which items are judged, and what is shown.
#[derive(clap::Args)]
pub(crate) struct ItemArgs {
    /// What the items are. Default: by their fields.
    #[arg(long, value_parser = PossibleValuesParser::new(Benchmark::ALL.map(Benchmark::name)))]
    benchmark: Option<String>,
    /// The principle of items that have none; @FILE reads it from a file. Default: "helpful" from the library.
    #[arg(long, value_name = "TEXT", conflicts_with = "named_principle")]
    principle: Option<String>,
    /// The principle of items that have none, by its name in the library.
    #[arg(long, value_name = "NAME")]
    named_principle: Option<String>,
    /// The rubric of items that have neither a principle nor a rubric: a JSON file, or the name of one in the library. A principle
    /// is put before each criterion.
    #[arg(long, value_name = "FILE|NAME")]
    rubric: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Judge only the first N items.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Judge failed items of an earlier run again: those that may succeed, or all.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, default_missing_value = "retryable", require_equals = true)]
    retry_failed: Option<Retry>,
    /// No progress.
    #[arg(long, short)]
    quiet: bool,
}

/// Items to judge, and where their results go.
pub(crate) struct Judging<'a> {
    pub(crate) items: &'a Path,
    /// Where results go, as [`Summary`](super::summary::Summary) reads them.
    pub(crate) output: &'a Path,
    pub(crate) args: &'a ItemArgs,
    /// What `values` of a result are.
    pub(crate) by: Reward,
    /// Whether existing results are replaced, and the option that says so.
    pub(crate) overwrite: (bool, &'static str),
}

impl Judging<'_> {
    /// Judges the items that have no result yet.
    pub(crate) fn run(&self, config: JudgeConfig) -> Outcome {
        let Self { items, output, args, by, overwrite: (overwrite, replaced_by) } = *self;
        let limits = config.limits.clone();
        let principle = match (&args.principle, &args.named_principle) {
            (Some(text), _) => input::text_or_file(text, limits.max_request_bytes)?,
            (None, Some(name)) => principles::principle(name)?.to_owned(),
            (None, None) if args.rubric.is_some() => String::new(),
            (None, None) => principles::principle("helpful")?.to_owned(),
        };
        let rubric = args.rubric.as_deref().map_or(Ok(Vec::new()), principles::rubric)?;
        let benchmark = Benchmark::ALL.into_iter().find(|known| Some(known.name()) == args.benchmark.as_deref());
        let keys = Keys::default();
        let files = Files {
            input: items,
            input_format: None,
            output,
            output_format: None,
            keys: &keys,
            record_bytes: input::request_bytes(&limits),
            replaced_by,
        };
        let plan =
            Plan { overwrite, retry: args.retry_failed, limit: args.limit, concurrency: None, quiet: args.quiet };
        let work = Evaluation::new(&files, benchmark, JudgedBy::new(principle, rubric), by, limits, &config)?;
        run::run(&work, &files, plan, config)
    }
}

/// What a verb over results reads and writes.
pub(crate) struct Paths<'a> {
    pub(crate) items: Option<&'a Path>,
    /// Where results go.
    pub(crate) output: Option<&'a Path>,
    /// Results that are there, and the option that names them.
    pub(crate) results: (&'static str, &'a [std::path::PathBuf]),
    /// What else is written, by option.
    pub(crate) written: Vec<Named<'a>>,
}

impl Paths<'_> {
    /// Refuses what could not be written after judging, and what would replace a file that is read.
    ///
    /// # Errors
    /// Those of [`outputs::check`]; results that are not JSON Lines in a file.
    pub(crate) fn check(&self, args: &ItemArgs, judge: &JudgeArgs) -> Result<(), Failure> {
        let principle = args.principle.as_deref().and_then(|text| text.strip_prefix('@'));
        let principle = principle.filter(|file| !file.starts_with('@')).map(Path::new);
        let read_by_judge = judge.files()?;
        let mut inputs: Vec<Named<'_>> = read_by_judge.iter().map(|(option, path)| (*option, path.as_path())).collect();
        inputs.extend(self.items.filter(|items| *items != Path::new("-")).map(|items| ("the items", items)));
        inputs.extend(self.results.1.iter().map(|path| (self.results.0, path.as_path())));
        inputs.extend(principle.map(|file| ("--principle", file)));
        inputs.extend(args.rubric.as_deref().and_then(principles::rubric_file).map(|file| ("--rubric", file)));
        let mut written: Vec<Named<'_>> = Vec::new();
        // What a run keeps beside its results.
        let beside = self.output.map(|output| {
            [".state", ".new", ".new.state"].map(|ending| {
                let mut name = output.as_os_str().to_owned();
                name.push(ending);
                std::path::PathBuf::from(name)
            })
        });
        if let Some(output) = self.output {
            let wrong = |what: &str| {
                Err(Failure::new(ErrorKind::InvalidConfig, format!("--output {}: {what}", output.display())))
            };
            let is_file = std::fs::metadata(output).map_or(true, |file| file.is_file() || file.is_dir());
            if output == Path::new("-") || !is_file {
                return wrong("the results must be a file, which the report reads");
            }
            if Format::of(output) != (Format::Jsonl, Compression::None) {
                return wrong("the results are JSON Lines: name the file .jsonl");
            }
            written.push(("--output", output));
            written.extend(beside.iter().flatten().map(|path| ("the journal of --output", path.as_path())));
        }
        written.extend(&self.written);
        outputs::check(&inputs, &written)
    }
}
