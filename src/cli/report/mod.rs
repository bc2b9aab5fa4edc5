//! `dicast report`: a summary of a file of results, as text, CSV or a page with plots.

pub(crate) mod page;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use dicast::{ErrorKind, Keys};
use serde_json::Value;

pub(crate) use self::page::escape;

use super::export::{check, write};
use super::run::formats::{self, Records as _};
use super::run::lines::Line;
use super::{Failure, Outcome, table};

/// Most bytes of a result.
const RECORD_BYTES: usize = 256 << 20;

/// Summarize a file of results.
#[derive(clap::Args)]
#[command(after_help = "\
The report shows for each name: how often it was judged, its mean score and mean expected score, its win rate (the share of the
responses that it was compared with that had a lower score; equal scores count half) and how often it was ranked first.")]
pub(crate) struct Args {
    /// Results of `dicast batch`.
    #[arg(value_name = "RESULTS.jsonl")]
    results: PathBuf,
    /// How to show them.
    #[arg(long, value_enum, default_value = "text")]
    format: View,
    /// Where to write. Default: standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Formats of a report.
#[derive(Clone, Copy, clap::ValueEnum)]
enum View {
    /// A table for people.
    Text,
    /// One row for each name.
    Csv,
    /// One page with plots, which needs no other file.
    Html,
}

pub(crate) fn run(args: &Args) -> Outcome {
    check(&[("the results", &args.results)], args.output.as_deref())?;
    let mut records = formats::open(&args.results, None, &Keys::default(), RECORD_BYTES)?;
    let mut totals = Totals::default();
    while let Some(record) = records.next_record()? {
        let wrong = |what: String| {
            Failure::new(ErrorKind::InvalidRequest, format!("{}, {}: {what}", args.results.display(), record.place))
        };
        let Line::Whole(json) = record.line else { return Err(wrong("it is not a result".into())) };
        let result: Value =
            serde_json::from_slice(&json).map_err(|error| wrong(format!("it is not a result: {error}")))?;
        if !totals.add(&result) {
            return Err(wrong("it is not a result: it has neither scores nor an error".into()));
        }
    }
    let name = args.results.display().to_string();
    let text = match args.format {
        View::Text => text(&totals, &name),
        View::Csv => csv(&totals)?,
        View::Html => page::page(&totals, &name),
    };
    write(args.output.as_deref(), &text)?;
    Ok(ExitCode::SUCCESS)
}

/// The totals of one name.
#[derive(Default)]
struct OfName {
    judged: u64,
    score: f64,
    expected: f64,
    expected_count: u64,
    wins: f64,
    contests: u64,
    first: u64,
}

/// The totals of a file of results.
#[derive(Default)]
struct Totals {
    judged: u64,
    ties: u64,
    inconsistent: u64,
    truncated: u64,
    repaired: u64,
    failures: BTreeMap<String, u64>,
    prompt_tokens: u64,
    reused_tokens: u64,
    written_tokens: u64,
    /// How often each score was given.
    scores: BTreeMap<i64, u64>,
    /// The effects of the places in the ensembles, by the number of responses: number of ensembles, and for each place the sums
    /// of its effect on the score and of the shares of runs ranked first.
    bias: BTreeMap<usize, (u64, Vec<(f64, f64)>)>,
    /// Names in the order in which they were first seen.
    names: Vec<(String, OfName)>,
    places: std::collections::HashMap<String, usize>,
}

#[expect(clippy::cast_precision_loss, reason = "counts of results")]
fn mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

impl OfName {
    fn mean_score(&self) -> Option<f64> {
        mean(self.score, self.judged)
    }

    fn mean_expected(&self) -> Option<f64> {
        mean(self.expected, self.expected_count)
    }

    fn win_rate(&self) -> Option<f64> {
        mean(self.wins, self.contests)
    }
}

impl Totals {
    /// Adds a result; false if the value is not a result.
    fn add(&mut self, result: &Value) -> bool {
        if let Some(error) = result.get("error") {
            *self.failures.entry(error["kind"].as_str().unwrap_or("unknown").to_owned()).or_default() += 1;
            return true;
        }
        let Some(scores) = result["scores"].as_object() else { return false };
        self.judged += 1;
        let has = |flag: &str| {
            u64::from(result["flags"].as_array().is_some_and(|flags| flags.iter().any(|found| found == flag)))
        };
        self.ties += has("ties");
        self.inconsistent += has("inconsistent_ranking");
        self.truncated += has("reasoning_truncated");
        self.repaired += u64::from(result["repairs"].as_array().is_some_and(|repairs| !repairs.is_empty()));
        let tokens = |key: &str| result["usage"][key].as_u64().unwrap_or(0);
        self.prompt_tokens += tokens("prompt_tokens");
        self.reused_tokens += tokens("reused_tokens");
        self.written_tokens += tokens("reasoning_tokens") + tokens("verdict_tokens");
        self.add_places(&result["ensemble"]);
        for criterion in result["rubric"]["criteria"].as_array().into_iter().flatten() {
            self.add_places(&criterion["verdict"]["ensemble"]);
        }
        let values: Vec<(&String, f64)> =
            scores.iter().filter_map(|(name, score)| Some((name, score.as_f64()?))).collect();
        let first = result["ranking"][0].as_str();
        for &(name, score) in &values {
            #[expect(clippy::cast_possible_truncation, reason = "scores lie on a scale of digits")]
            let bucket = score.round() as i64;
            *self.scores.entry(bucket).or_default() += 1;
            let place = *self.places.entry(name.clone()).or_insert_with(|| {
                self.names.push((name.clone(), OfName::default()));
                self.names.len() - 1
            });
            let of = &mut self.names[place].1;
            of.judged += 1;
            of.score += score;
            of.first += u64::from(first == Some(name.as_str()));
            if let Some(expected) = result["expected_scores"][name.as_str()].as_f64() {
                of.expected += expected;
                of.expected_count += 1;
            }
            for &(other, other_score) in &values {
                if other != name {
                    of.contests += 1;
                    of.wins += match score.total_cmp(&other_score) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
        }
        true
    }

    /// Adds the effects of the places in an ensemble.
    fn add_places(&mut self, ensemble: &Value) {
        let Some(places) = ensemble["places"].as_array().filter(|places| places.len() > 1) else { return };
        let (count, sums) = self.bias.entry(places.len()).or_default();
        *count += 1;
        sums.resize(places.len(), (0.0, 0.0));
        for ((score, first), place) in sums.iter_mut().zip(places) {
            *score += place["score"].as_f64().unwrap_or(0.0);
            *first += place["first"].as_f64().unwrap_or(0.0);
        }
    }

    /// The position bias over all ensembles, a line for each number of responses.
    fn biases(&self) -> impl Iterator<Item = (String, String)> {
        self.bias.iter().map(|(responses, (count, sums))| {
            let each: Vec<_> = sums
                .iter()
                .map(|(score, first)| {
                    let (score, first) = (mean(*score, *count).unwrap_or(0.0), mean(*first, *count).unwrap_or(0.0));
                    format!("{score:+.2} ({:.0} %)", first * 100.0)
                })
                .collect();
            (format!("places of {responses} responses"), format!("{} in {count} ensembles", each.join(", ")))
        })
    }

    fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The facts that do not belong to a name, each with a label and a value.
    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = vec![
            ("results".to_owned(), (self.judged + self.failed()).to_string()),
            ("judged".into(), self.judged.to_string()),
            ("failed".into(), self.failed().to_string()),
        ];
        facts.extend(self.failures.iter().map(|(kind, count)| (format!("failed: {kind}"), count.to_string())));
        facts.extend([
            ("with equal scores".to_owned(), self.ties.to_string()),
            ("ranking against the scores".into(), self.inconsistent.to_string()),
            ("reasoning ended by its budget".into(), self.truncated.to_string()),
            ("repaired".into(), self.repaired.to_string()),
            ("prompt tokens".into(), format!("{} ({} reused)", self.prompt_tokens, self.reused_tokens)),
            ("written tokens".into(), self.written_tokens.to_string()),
        ]);
        facts.extend(self.biases());
        facts
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.3}"))
}

fn text(totals: &Totals, file: &str) -> String {
    let mut text = format!("{}\n\n", table::printable(file, false));
    for (label, value) in totals.facts() {
        let _ = writeln!(text, "{:<31}{}", table::printable(&label, false), value);
    }
    if !totals.names.is_empty() {
        let _ = writeln!(
            text,
            "\n{:<32}{:>8}{:>8}{:>10}{:>10}{:>8}",
            "name", "judged", "score", "expected", "win rate", "first"
        );
    }
    for (name, of) in &totals.names {
        let (score, expected, wins) = (number(of.mean_score()), number(of.mean_expected()), number(of.win_rate()));
        let name = table::fitted(&table::printable(name, false), 31);
        let _ = writeln!(text, "{name} {:>8}{score:>8}{expected:>10}{wins:>10}{:>8}", of.judged, of.first);
    }
    text
}

fn csv(totals: &Totals) -> Result<String, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["name", "judged", "mean_score", "mean_expected_score", "win_rate", "first"];
    let cell = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut written = writer.write_record(header);
    for (name, of) in &totals.names {
        let row = [
            name.clone(),
            of.judged.to_string(),
            cell(of.mean_score()),
            cell(of.mean_expected()),
            cell(of.win_rate()),
            of.first.to_string(),
        ];
        written = written.and_then(|()| writer.write_record(row));
    }
    written.map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot write CSV: {error}")))?;
    let bytes =
        writer.into_inner().map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot write CSV: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
