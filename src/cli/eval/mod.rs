//! `dicast eval`: judges a benchmark, reports how often the judge is right, and compares judges.

mod compare;
pub(crate) mod items;
pub(crate) mod page;
pub(crate) mod summary;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use dicast::checksum::Checksum;
use dicast::config::{Limits, Reward};
use dicast::eval::{Benchmark, Item, JudgedBy};
use dicast::{Error, ErrorKind, Flag, JudgeConfig, JudgeRequest, Options, Scored, Verdict};
use serde_json::{Map, Value, json};

use self::items::{ItemArgs, Judging, Paths};
use self::summary::Summary;
use super::options::JudgeArgs;
use super::run::lines::{Line, Numbered, Place};
use super::run::{Files, Work};
use super::{Failure, Outcome, batch, input, outputs, print};

/// How much of a text a result keeps, in characters: enough to recognize the item.
const EXCERPT: usize = 600;

/// Evaluate a judge on a benchmark, or compare the results of several judges.
#[derive(clap::Args)]
#[command(after_help = "\
Each line is a JSON object; its fields decide what kind of item it is:
  rm-bench     prompt, chosen: [3], rejected: [3], domain
  judge-bench  question, response_A, response_B, label: A>B or B>A
  preferences  prompt, chosen, rejected (one text or several): RewardBench 1 and 2, and your own preferences
  rankings     prompt, responses: {name: text}, and ranking: [best to worst], scores: {name: number} or best: name
A field principle or rubric overrides --principle and --rubric; id and domain, subset, source or family are kept.

Run the same command again after an interruption: it continues where it stopped.

Examples:
  dicast eval rm-bench.jsonl -o results.jsonl --model judge.gguf --html report.html
  dicast eval rm-bench.jsonl -o orders.jsonl --model judge.gguf --orders 6
  dicast eval --report results.jsonl
  dicast eval --report results.jsonl --report orders.jsonl")]
pub(crate) struct Args {
    /// The items; - is standard input.
    #[arg(value_name = "ITEMS.jsonl", required_unless_present = "report", conflicts_with = "report")]
    items: Option<PathBuf>,
    /// Results, one line for each item. Keep the file to continue after an interruption.
    #[arg(long, short, value_name = "RESULTS.jsonl", required_unless_present = "report")]
    output: Option<PathBuf>,
    /// Report on existing results, without judging. Several results of the same items are compared: paired differences,
    /// their significance, and how far the judges agree.
    #[arg(long, value_name = "RESULTS.jsonl", visible_alias = "compare", value_delimiter = ',')]
    report: Vec<PathBuf>,
    /// The value by which responses are compared.
    #[arg(long, value_parser = PossibleValuesParser::new(Reward::WORDS.iter().copied()), default_value = "expected_or_score")]
    by: String,
    /// Also write the report as one HTML page, with plots and the worst disagreements.
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Also write a plot of the accuracies with their intervals, an SVG picture.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    given: ItemArgs,
    /// Replace existing results instead of continuing them.
    #[arg(long, conflicts_with = "retry_failed")]
    overwrite: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let written = [("--html", &args.html), ("--plot", &args.plot)];
    let paths = Paths {
        items: args.items.as_deref(),
        output: args.output.as_deref().filter(|_| args.items.is_some()),
        results: ("--report", &args.report),
        written: written.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect(),
    };
    paths.check(&args.given, &args.judge)?;
    let (Some(items), Some(output)) = (&args.items, &args.output) else {
        let summaries = args.report.iter().map(|path| Summary::read(path)).collect::<Result<Vec<_>, _>>()?;
        report(args, &summaries)?;
        return Ok(ExitCode::SUCCESS);
    };
    let overwrite = (args.overwrite, "--overwrite");
    let judging = Judging { items, output, args: &args.given, by: word(&args.by)?, overwrite };
    let code = judging.run(args.judge.config()?)?;
    report(args, &[Summary::read(output)?])?;
    Ok(code)
}

/// A setting that clap has checked already.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_value(Value::from(text))
        .map_err(|error| Failure::new(ErrorKind::InvalidConfig, format!("{text}: {error}")))
}

/// Prints what the results say, and writes the page.
fn report(args: &Args, summaries: &[Summary]) -> Result<(), Failure> {
    let comparison = (summaries.len() > 1).then(|| compare::Comparison::new(summaries)).transpose()?;
    if let Some(path) = &args.html {
        outputs::save(path, &page::page(summaries, comparison.as_ref()))?;
    }
    if let Some(path) = &args.plot {
        outputs::save(path, &page::figure(summaries))?;
    }
    if args.given.json {
        let reports: Vec<Value> = summaries.iter().map(Summary::to_json).collect();
        let comparison = comparison.as_ref().map(compare::Comparison::to_json);
        return print(&format!("{}\n", json!({ "reports": reports, "comparison": comparison })));
    }
    let mut text = String::new();
    for summary in summaries {
        text.push_str(&summary.to_text());
        text.push('\n');
    }
    if let Some(comparison) = &comparison {
        text.push_str(&comparison.to_text());
    }
    print(&text)
}

/// Records are items; results hold the judge's values and the known order.
struct Evaluation {
    input: String,
    benchmark: Option<Benchmark>,
    otherwise: JudgedBy,
    by: Reward,
    limits: Limits,
    settings: Value,
    /// What judges.
    provenance: Map<String, Value>,
    /// Options of items that have none of their own.
    options: Options,
}

impl Evaluation {
    fn new(
        files: &Files<'_>,
        benchmark: Option<Benchmark>,
        otherwise: JudgedBy,
        by: Reward,
        limits: Limits,
        config: &JudgeConfig,
    ) -> Result<Self, Failure> {
        let (mut settings, judged) = batch::judged_by(config)?;
        if let Some(settings) = settings.as_object_mut() {
            // The calibration changes no score, so a run goes on where its profile has got one; but it makes the reward "win".
            if by != Reward::Win {
                settings.insert("profile".into(), judged.judging["judging_checksum"].clone());
                settings.insert("options".into(), batch::timeless(&judged.options));
            }
            settings.insert("principle".into(), otherwise.principle.as_str().into());
            if !otherwise.rubric.is_empty() {
                settings.insert("rubric".into(), json!(otherwise.rubric));
            }
            settings.insert("by".into(), by.word().into());
            settings.insert("benchmark".into(), benchmark.map(Benchmark::name).into());
        }
        let mut provenance = batch::version();
        provenance.insert("model".into(), judged.model);
        provenance.insert("profile".into(), judged.judging);
        let (input, options) = (files.input_name(), judged.options);
        Ok(Self { input, benchmark, otherwise, by, limits, settings, provenance, options })
    }

    fn read(&self, line: Line) -> dicast::Result<Item> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
        let json = match line {
            Line::Whole(json) => json,
            Line::Blank => return wrong("the line is blank".into()),
            Line::Wrong(what) => return wrong(what),
            Line::TooLong { bytes } => {
                let limit = input::request_bytes(&self.limits);
                return wrong(format!("the item has {bytes} bytes, the limit is {limit}"));
            }
        };
        let item = Item::from_json(&json, self.benchmark, &self.otherwise)?;
        item.request.check(&self.limits)?;
        Ok(item)
    }
}

/// What is kept of an item.
struct Kept {
    number: u64,
    place: Place,
    item: Option<Item>,
}

impl Work for Evaluation {
    type Kept = Kept;

    fn request(&self, record: Numbered) -> (Kept, dicast::Result<JudgeRequest>) {
        let Numbered { number, place, line, .. } = record;
        match self.read(line) {
            Ok(item) => {
                let request = item.request.clone();
                (Kept { number, place, item: Some(item) }, Ok(request))
            }
            Err(error) => (Kept { number, place, item: None }, Err(error)),
        }
    }

    fn line(&self, kept: Kept, outcome: dicast::Result<Verdict>) -> Result<String, Failure> {
        let mut line = Map::new();
        let Kept { number, place, item } = kept;
        let id = item.as_ref().and_then(|item| item.id.clone()).unwrap_or_else(|| number.to_string());
        line.insert("id".into(), id.as_str().into());
        if let Some(item) = &item {
            let by_name = |values: &[f64]| named(item, values);
            line.insert("group".into(), item.group.as_str().into());
            line.insert("benchmark".into(), item.benchmark.name().into());
            line.insert("relevance".into(), by_name(&item.relevance));
            line.insert("principle".into(), excerpt(&item.request.principle).into());
            if !item.request.rubric.is_empty() {
                line.insert("rubric".into(), json!(item.request.rubric));
            }
            line.insert("prompt".into(), excerpt(&item.request.prompt).into());
            let texts = item.request.responses.iter();
            let texts: Map<_, _> =
                texts.map(|response| (response.name.clone(), Value::from(excerpt(&response.text)))).collect();
            line.insert("responses".into(), texts.into());
            // Texts are cut; these tell prompts and requests apart.
            let checksums =
                json!({ "prompt": prompt_checksum(&item.request, &id), "request": checksum(&item.request) });
            line.insert("checksums".into(), checksums);
        }
        match outcome.and_then(|verdict| Ok((verdict.rewards_of(self.by)?, verdict))) {
            Ok((values, verdict)) => {
                let item = item.ok_or_else(|| Failure::new(ErrorKind::Internal, "a verdict without an item"))?;
                let scores: Vec<f64> = verdict.scores.iter().map(|scored| scored.score).collect();
                line.insert("values".into(), named(&item, &values));
                line.insert("scores".into(), named(&item, &scores));
                let by_name = |value: fn(&Scored) -> Value| -> Value {
                    verdict.scores.iter().map(|one| (one.name.clone(), value(one))).collect::<Map<_, _>>().into()
                };
                line.insert("expected_scores".into(), by_name(|one| one.expected.into()));
                line.insert("distributions".into(), by_name(|one| one.distribution.clone().into()));
                if let Some(ensemble) = &verdict.ensemble {
                    let runs = ensemble.runs.iter().map(|run| {
                        let values: Vec<f64> = (0..scores.len()).map(|index| run.value(index)).collect();
                        named(&item, &values)
                    });
                    line.insert("runs".into(), runs.collect::<Vec<_>>().into());
                }
                line.insert("judged_in_blocks".into(), verdict.flags.contains(&Flag::JudgedInBlocks).into());
                line.insert("reasoning".into(), excerpt(&verdict.reasoning).into());
                let usage = serde_json::to_value(verdict.usage).unwrap_or_default();
                line.insert("usage".into(), usage);
                let timing = verdict.timing;
                let spent = timing.prefill + timing.reasoning + timing.verdict;
                let mut provenance = self.provenance.clone();
                let options = serde_json::to_value(item.request.options.or(&self.options)).unwrap_or_default();
                provenance.insert("options".into(), options);
                line.insert("provenance".into(), provenance.into());
                line.insert("ms".into(), ((spent.as_secs_f64() * 1e6).round() / 1e3).into());
            }
            Err(error) => line.extend(
                error
                    .context(format_args!("{}: {place}", self.input))
                    .to_json()
                    .as_object()
                    .cloned()
                    .unwrap_or_default(),
            ),
        }
        Ok(format!("{}\n", Value::from(line)))
    }

    fn settings(&self) -> Value {
        self.settings.clone()
    }
}

/// Values by the names of an item's responses.
fn named(item: &Item, values: &[f64]) -> Value {
    let names = item.request.responses.iter().map(|response| response.name.clone());
    names.zip(values.iter().map(|&value| Value::from(value))).collect::<Map<_, _>>().into()
}

/// A checksum of the prompt. Items with an empty prompt have none in common, so theirs is one of the item's id.
fn prompt_checksum(request: &JudgeRequest, id: &str) -> String {
    let mut checksum = Checksum::default();
    if request.prompt.trim().is_empty() {
        checksum.add(format!("\0{id}").as_bytes());
    } else {
        checksum.add(request.prompt.as_bytes());
    }
    checksum.to_string()
}

/// A checksum of all texts and names that are judged.
fn checksum(request: &JudgeRequest) -> String {
    let responses: Vec<_> = request.responses.iter().map(|response| [&response.name, &response.text]).collect();
    let mut checksum = Checksum::default();
    let mut parts = vec![json!(request.principle), json!(request.prompt), json!(responses)];
    if !request.rubric.is_empty() {
        parts.push(json!(request.rubric));
    }
    checksum.add(Value::from(parts).to_string().as_bytes());
    checksum.to_string()
}

fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
