//! `dicast judge`: one request or several, a table for people or a line of JSON for machines.

use std::path::PathBuf;
use std::process::ExitCode;

use dicast::config::{Blocks, Limits};
use dicast::{ErrorKind, JudgeConfig, JudgeRequest, Keys, Reading, Verdict};
use serde_json::Value;

use super::aliases::named_reasoning;
use super::options::JudgeArgs;
use super::table::{self, Surface};
use super::{Failure, Outcome, input, model, note, print};

/// The narrowest table that is put beside another.
const TABLE_COLUMNS: usize = 56;
/// Exit code if all was judged, but a response scores below `--min-score`.
const BELOW: u8 = 3;

/// Judge the responses of one request, or of several.
#[derive(clap::Args)]
#[command(after_help = "\
A request is {\"principle\", \"prompt\", \"responses\": {name: text}, \"rubric\"?, \"mask_responses\"?, \"options\"?}.
Several requests are judged at once; their tables are shown side by side if they fit.
Values of --principle, --prompt and --response may be @FILE; a leading @@ stands for a plain @.")]
pub(crate) struct Args {
    /// Request files; - is standard input.
    #[arg(value_name = "REQUEST.json", conflicts_with_all = ["principle", "named_principle", "rubric", "prompt", "response"])]
    requests: Vec<PathBuf>,
    /// The principle to judge by.
    #[arg(long, value_name = "TEXT", requires_all = ["prompt", "response"], conflicts_with = "named_principle")]
    principle: Option<String>,
    /// A principle from the library, by its name (`dicast principles` lists the names).
    #[arg(long, value_name = "NAME", requires_all = ["prompt", "response"])]
    named_principle: Option<String>,
    /// Judge by a rubric: a JSON file, a list of `{"criterion", "weight", "kind", "name"}`, or the name of one in the library.
    #[arg(long, value_name = "FILE.json or NAME", requires_all = ["prompt", "response"])]
    rubric: Option<String>,
    /// The prompt that the responses answer.
    #[arg(long, value_name = "TEXT", requires = "response")]
    prompt: Option<String>,
    /// A response; repeat the option for each one.
    #[arg(long, value_name = "NAME=TEXT", requires = "prompt")]
    response: Vec<String>,
    /// Print one line of JSON for each request.
    #[arg(long)]
    json: bool,
    /// Exit with code 3 if a response scores below this, by its expected score, or by its score if there is no expected one.
    #[arg(long, value_name = "NUMBER")]
    min_score: Option<f64>,
    /// Show the whole reasoning.
    #[arg(long, conflicts_with = "json")]
    full: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

/// The most generations that these requests need. Orders, samples and blocks that the profile sets are not counted: those
/// runs wait.
fn runs(config: &JudgeConfig, requests: &[JudgeRequest]) -> u32 {
    let of = |request: &JudgeRequest| {
        let options = request.options.or(&config.options);
        let criteria = u32::try_from(request.rubric.len().max(1)).unwrap_or(u32::MAX);
        let in_blocks = options.blocks == Some(Blocks::WhenNeeded) || options.block_size.is_some();
        let blocks = if in_blocks { u32::try_from(request.responses.len()).unwrap_or(u32::MAX) } else { 1 };
        let runs = options.orders.unwrap_or(1).saturating_mul(options.samples.unwrap_or(1));
        runs.saturating_mul(criteria).saturating_mul(blocks)
    };
    requests.iter().map(of).fold(0, u32::saturating_add).max(1)
}

pub(crate) fn run(args: &Args) -> Outcome {
    let outcome = judge(args);
    if let (true, Err(failure)) = (args.json, &outcome) {
        print(&format!("{}\n", failure.error.to_json()))?;
    }
    outcome
}

fn judge(args: &Args) -> Outcome {
    let by = args.principle.is_some() || args.named_principle.is_some() || args.rubric.is_some();
    if args.requests.is_empty() && !by {
        let message = "there is nothing to judge: give a request file, or --principle, --prompt and --response";
        return Err(Failure::new(ErrorKind::InvalidConfig, message));
    }
    let mut config = args.judge.config()?;
    let requests = args.read(&config.limits)?;
    for request in &requests {
        request.check(&config.limits)?;
    }
    // Do not allocate more keys and values than these requests can use.
    config.local.max_sequences = config.local.max_sequences.min(runs(&config, &requests));
    let judge = model::open(config)?;
    let results = judge.judge_batch(&requests);
    let code = results.iter().filter_map(|result| result.as_ref().err()).map(|error| error.kind().exit_code()).max();
    if args.json {
        let lines = results.iter().map(result_line).collect::<Result<String, _>>()?;
        print(&lines)?;
    } else {
        let surface = Surface::stdout(args.full);
        let (columns, width) = table::columns(results.len(), surface.width, TABLE_COLUMNS);
        let scale = judge.profile().scale;
        let blocks: Vec<Vec<String>> = requests
            .iter()
            .zip(&results)
            .filter_map(|(request, result)| Some((request, result.as_ref().ok()?)))
            .map(|(request, verdict)| table::verdict(request, verdict, scale, Surface { width, ..surface }))
            .collect();
        print(&table::arrange(&blocks, columns, surface.width))?;
    }
    let low = args.min_score.map_or(0, |least| below(least, results.iter().flatten()));
    for error in results.into_iter().filter_map(Result::err) {
        super::complain(&error.into());
    }
    let passed = if low > 0 { ExitCode::from(BELOW) } else { ExitCode::SUCCESS };
    Ok(code.map_or(passed, ExitCode::from))
}

/// Prints a note for each response that scores below a threshold; returns their number.
fn below<'a>(least: f64, verdicts: impl Iterator<Item = &'a Verdict>) -> usize {
    let mut count = 0;
    for scored in verdicts.flat_map(|verdict| &verdict.scores) {
        let value = scored.expected.unwrap_or(scored.score);
        // No score reaches a threshold that is NaN.
        if value.partial_cmp(&least).is_none_or(std::cmp::Ordering::is_lt) {
            let name = table::printable(&scored.name, false);
            note(&format!("note: {name} scores {value:.2}, which is below {least} (--min-score)\n"));
            count += 1;
        }
    }
    count
}

/// A result as one line of JSON.
pub(crate) fn result_line(result: &dicast::Result<Verdict>) -> Result<String, Failure> {
    let mut line = match result {
        Ok(verdict) => verdict_value(verdict)?.to_string(),
        Err(error) => error.to_json().to_string(),
    };
    line.push('\n');
    Ok(line)
}

/// A verdict as JSON, with the reasoning also in a form that has the names instead of the aliases.
pub(crate) fn verdict_value(verdict: &Verdict) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(verdict)
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot write a verdict as JSON: {error}")))?;
    if let (Some(fields), Some(named)) = (value.as_object_mut(), named_reasoning(verdict)) {
        let at = fields.keys().position(|key| key == "reasoning").map_or(fields.len(), |at| at + 1);
        fields.shift_insert(at, "named_reasoning".into(), named.into());
    }
    Ok(value)
}

impl Args {
    fn read(&self, limits: &Limits) -> Result<Vec<JudgeRequest>, Failure> {
        if let (true, Some(prompt)) = (self.requests.is_empty(), &self.prompt) {
            let limit = limits.max_request_bytes;
            let mut responses = Vec::new();
            for response in &self.response {
                let (name, text) = response.split_once('=').ok_or_else(|| {
                    Failure::new(
                        ErrorKind::InvalidConfig,
                        format!("--response {response}: write NAME=TEXT or NAME=@FILE"),
                    )
                })?;
                responses.push((name.to_owned(), input::text_or_file(text, limit)?));
            }
            let principle = match (&self.principle, &self.named_principle) {
                (Some(text), _) => input::text_or_file(text, limit)?,
                (None, Some(name)) => super::principles::principle(name)?.to_owned(),
                (None, None) => String::new(),
            };
            let mut request = JudgeRequest::new(principle, input::text_or_file(prompt, limit)?, responses);
            request.rubric = self.rubric.as_deref().map_or(Ok(Vec::new()), super::principles::rubric)?;
            return Ok(vec![request]);
        }
        let limit = input::request_bytes(limits);
        self.requests
            .iter()
            .map(|path| {
                let json = input::read_file_or_stdin(path, limit)?;
                let request = JudgeRequest::from_json(&json).map_err(|error| error.context(path.display()))?;
                let replaced = Reading::new(&json, &Keys::default(), None).replaced;
                if replaced > 0 {
                    let place = path.display();
                    note(&format!("note: {place}: {replaced} halves of surrogate pairs were read as U+FFFD\n"));
                }
                Ok(request)
            })
            .collect()
    }
}
