//! `dicast export`: results as data to train with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dicast::{ErrorKind, Keys, Reading, Response};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::outputs::{self, Named};
use super::run::formats::{self, Format, Records as _};
use super::run::lines::Line;
use super::{Failure, Outcome, note, print};

/// Most bytes of a result or request.
const RECORD_BYTES: usize = 256 << 20;

/// Write preference pairs of judged requests, for DPO trainers.
#[derive(clap::Args)]
#[command(after_help = "\
Each line is {\"prompt\", \"chosen\", \"rejected\", \"margin\", \"chosen_name\", \"rejected_name\"}: TRL's standard preference format, with
the difference of the rewards. The reward is the expected score if there is one, else the score. If the prompt of a request
is a conversation, all three are conversations. Equal rewards make no pair; failed records are skipped.

If a calibrated judge (dicast calibrate) gave the results, \"probability\" is the probability that the chosen response is better;
results of more than 32 responses hold none. Pairs on which the judge abstains are left out.")]
pub(crate) struct Args {
    /// Results of `dicast batch`.
    #[arg(value_name = "RESULTS.jsonl")]
    results: PathBuf,
    /// The requests of these results, in the same order.
    #[arg(long, value_name = "IN.jsonl")]
    requests: PathBuf,
    /// Which pairs of each request to write.
    #[arg(long, value_enum, value_name = "WHICH", required = true, num_args = 0..=1, default_missing_value = "best-worst", require_equals = true)]
    pairs: Pairs,
    /// Write only pairs whose rewards differ by at least this.
    #[arg(long, value_name = "M", default_value_t = 0.0)]
    min_margin: f64,
    /// Also write pairs on which a calibrated judge abstains, with "abstain": true.
    #[arg(long)]
    keep_abstained: bool,
    /// Where to write. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Format of the requests. Default: by the ending of the name.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The field of a request that holds the prompt.
    #[arg(long, value_name = "KEY", default_value = "prompt")]
    prompt_key: String,
    /// The field that holds all responses, or one field for each.
    #[arg(long, value_name = "KEY[,KEY...]", value_delimiter = ',', default_value = "responses")]
    responses_key: Vec<String>,
}

/// Which pairs of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pairs {
    /// The best response and the worst one.
    BestWorst,
    /// Every two responses.
    All,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let keys = Keys { prompt: args.prompt_key.clone(), responses: args.responses_key.clone() };
    check(&[("the results", &args.results), ("--requests", &args.requests)], args.output.as_deref())?;
    let mut results = formats::open(&args.results, None, &Keys::default(), RECORD_BYTES)?;
    let mut requests = formats::open(&args.requests, args.format, &keys, RECORD_BYTES)?;
    let (mut text, mut pairs, mut equal, mut abstained, mut failed) = (String::new(), 0_u64, 0_u64, 0_u64, 0_u64);
    while let Some(result) = results.next_record()? {
        let place = format!("{}, {}", args.results.display(), result.place);
        let wrong = |what: String| Failure::new(ErrorKind::InvalidRequest, format!("{place}: {what}"));
        let Line::Whole(json) = result.line else { return Err(wrong("it is not a result".into())) };
        let result: Value =
            serde_json::from_slice(&json).map_err(|error| wrong(format!("it is not a result: {error}")))?;
        let request = requests
            .next_record()?
            .ok_or_else(|| wrong(format!("{} has no request for it", args.requests.display())))?;
        if result.get("error").is_some() {
            failed += 1;
            continue;
        }
        let Line::Whole(json) = request.line else { return Err(wrong("its request cannot be read".into())) };
        // The principle does not matter here, and may have come from an option.
        let reading = Reading::new(&json, &keys, Some(""));
        let request = reading.request.map_err(|error| wrong(format!("its request: {}", error.message())))?;
        let prompt = prompt_of(&json, &keys.prompt, &request.prompt);
        let mut made = of_request(&result, &prompt, &request.responses, args).map_err(wrong)?;
        equal += u64::from(made.is_empty());
        if !args.keep_abstained {
            let all = made.len();
            made.retain(|pair| pair["abstain"] != true);
            abstained += (all - made.len()) as u64;
        }
        pairs += made.len() as u64;
        for pair in made {
            text.push_str(&pair.to_string());
            text.push('\n');
        }
    }
    write(args.output.as_deref(), &text)?;
    let abstained = match abstained {
        0 => String::new(),
        1 => "1 pair left out on which the judge abstains, ".to_owned(),
        count => format!("{count} pairs left out on which the judge abstains, "),
    };
    note(&format!(
        "{pairs} pairs; {abstained}{equal} requests without a pair (equal rewards or a small margin), {failed} failed\n"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Writes a text to a file, or to standard output.
pub(crate) fn write(output: Option<&Path>, text: &str) -> Result<(), Failure> {
    match output.filter(|path| *path != Path::new("-")) {
        Some(path) => outputs::save(path, text),
        None => print(text),
    }
}

/// Refuses an output that would replace a file that is read.
pub(crate) fn check(inputs: &[Named<'_>], output: Option<&Path>) -> Result<(), Failure> {
    let output = output.filter(|path| *path != Path::new("-"));
    outputs::check(inputs, &output.map(|path| ("--output", path)).into_iter().collect::<Vec<_>>())
}

/// The prompt of a request as it was written; `read` if JSON cannot hold it, as with half a surrogate pair.
fn prompt_of(json: &[u8], key: &str, read: &str) -> Value {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json).unwrap_or_default();
    let written = fields.get(key).and_then(|prompt| serde_json::from_str(prompt.get()).ok());
    written.unwrap_or_else(|| Value::from(read))
}

/// The pairs of one request, best margin first.
fn of_request(result: &Value, prompt: &Value, responses: &[Response], args: &Args) -> Result<Vec<Value>, String> {
    let reward = |name: &str| {
        result["expected_scores"][name]
            .as_f64()
            .or_else(|| result["scores"][name].as_f64())
            .ok_or_else(|| format!("it has no score for {name:?}: is it the result of this request?"))
    };
    let scores = result["scores"].as_object().map_or(0, serde_json::Map::len);
    if scores != responses.len() {
        return Err(format!("it has {scores} scores, but its request has {} responses", responses.len()));
    }
    let mut rewards =
        responses.iter().map(|response| Ok((reward(&response.name)?, response))).collect::<Result<Vec<_>, String>>()?;
    rewards.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all: Vec<(usize, usize)> = match (args.pairs, rewards.len()) {
        (_, 0 | 1) => Vec::new(),
        (Pairs::BestWorst, count) => vec![(0, count - 1)],
        (Pairs::All, count) => (0..count).flat_map(|best| (best + 1..count).map(move |worst| (best, worst))).collect(),
    };
    let said = |text: &str| {
        if prompt.is_array() { json!([{ "role": "assistant", "content": text }]) } else { Value::from(text) }
    };
    all.into_iter()
        .map(|(best, worst)| (&rewards[best], &rewards[worst]))
        .filter(|(best, worst)| best.0 > worst.0 && best.0 - worst.0 >= args.min_margin)
        .map(|(best, worst)| {
            let mut pair = json!({
                "prompt": prompt,
                "chosen": said(&best.1.text),
                "rejected": said(&worst.1.text),
                "margin": best.0 - worst.0,
                "chosen_name": best.1.name,
                "rejected_name": worst.1.name,
            });
            if let Some(said) = Said::of(result, [&best.1.name, &worst.1.name], best.0 - worst.0)? {
                if let Some(probability) = said.probability {
                    pair["probability"] = probability.into();
                }
                if said.abstains {
                    pair["abstain"] = true.into();
                }
            }
            Ok(pair)
        })
        .collect()
}

/// What a calibrated judge says of two responses.
struct Said {
    /// The probability that the first one is better; `None` for a group whose pairs are not listed.
    probability: Option<f64>,
    abstains: bool,
}

impl Said {
    /// `None` where the judge has no calibration.
    ///
    /// # Errors
    /// Where it has one, but the result does not say whether it abstains on these two.
    fn of(result: &Value, [one, other]: [&str; 2], difference: f64) -> Result<Option<Self>, String> {
        let preferences = match result.get("preferences") {
            None | Some(Value::Null) => return Ok(None),
            Some(preferences) => preferences,
        };
        let listed = preferences["pairs"].as_array().into_iter().flatten().find_map(|pair| {
            let probability = pair["probability"].as_f64()?;
            let abstains = pair["abstain"].as_bool()?;
            let probability = match (pair["first"].as_str()?, pair["second"].as_str()?) {
                names if names == (one, other) => probability,
                names if names == (other, one) => 1.0 - probability,
                _ => return None,
            };
            Some(Self { probability: Some(probability), abstains })
        });
        let by_threshold = || {
            let threshold = preferences["threshold"].as_f64()?;
            // Reading numbers from JSON may change their last digit: a difference at the threshold counts as one that is not
            // above it.
            let abstains = difference <= threshold + 1e-9 * threshold.max(1.0);
            Some(Self { probability: None, abstains })
        };
        listed.or_else(by_threshold).map(Some).ok_or_else(|| {
            format!("its \"preferences\" do not say whether the judge abstains on {one:?} and {other:?}: judge again")
        })
    }
}
