//! From results to pairs whose order is known, all judged in one way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use dicast::config::RubricMode;
use dicast::eval::calibration::{LabelledPair, raw_probability};
use dicast::prompt::profile::Calibration;
use dicast::{ErrorKind, Options};
use serde_json::Value;

use super::super::eval::summary::{Row, Summary, numbers};
use super::Failure;

/// Pairs whose order is known, and what judged them.
pub(super) struct Labelled {
    pub(super) files: Vec<String>,
    pub(super) pairs: Vec<LabelledPair>,
    pub(super) prompts: usize,
    /// Items that were not judged.
    pub(super) failed: usize,
    pub(super) model: Value,
    /// The checksum of the profile as a calibration knows it.
    pub(super) profile: String,
    /// What of the options changes scores.
    pub(super) options: Options,
    /// Whether differences are those of expected scores, else of written ones.
    pub(super) expected_scores: bool,
}

/// What judged a result, and how.
#[derive(PartialEq)]
struct JudgedBy {
    model: Value,
    profile: String,
    options: Options,
    expected_scores: bool,
}

/// Why a result cannot be learned from, and what helps.
struct Refused {
    what: String,
    hint: &'static str,
}

/// A result that another release wrote, or something else.
const AGAIN: &str = "judge again with `dicast eval` or `dicast calibrate` of this release";
const ONE_JUDGE: &str = "a calibration is of one judge with one set of options: leave the others out";

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self { what, hint: AGAIN }
    }
}

impl Labelled {
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming file and line of a result that is malformed, that was judged in another way than the
    /// first one, or that is there twice.
    pub(super) fn of(summaries: &[Summary]) -> Result<Self, Failure> {
        let mut pairs = Vec::new();
        let mut prompts: HashMap<&str, usize> = HashMap::new();
        let mut items: HashMap<[String; 3], String> = HashMap::new();
        let mut judged: Option<JudgedBy> = None;
        for summary in summaries {
            for (index, row) in summary.rows.iter().enumerate().filter(|(_, row)| row.scores.is_some()) {
                let place = format!("{}: line {}", summary.name, index + 1);
                let refused = |Refused { what, hint }: Refused| {
                    Failure::new(ErrorKind::InvalidConfig, format!("{place}: {what}")).hint(hint)
                };
                let scores = Scores::of(row).map_err(|what| refused(what.into()))?;
                let by = judged_by(row, &scores).map_err(refused)?;
                match &judged {
                    None => judged = Some(by),
                    Some(first) => {
                        first.is_same(&by).map_err(|what| refused(Refused { what: what.into(), hint: ONE_JUDGE }))?;
                    }
                }
                let [prompt, item] = checksums(&row.line).map_err(refused)?;
                // Other items may have the same id, and an item may be labelled twice; then texts or labels differ.
                match items.entry([row.id.clone(), item.to_owned(), row.line["relevance"].to_string()]) {
                    Entry::Occupied(other) => {
                        let what = format!("this is the item of {}, with the same id, texts and labels", other.get());
                        let hint = "each item counts once: leave one of the results out";
                        return Err(refused(Refused { what, hint }));
                    }
                    Entry::Vacant(new) => new.insert(place.clone()),
                };
                let next = prompts.len();
                let prompt = *prompts.entry(prompt).or_insert(next);
                pairs.extend(scores.pairs(&row.relevance, prompt));
            }
        }
        let Some(JudgedBy { model, profile, options, expected_scores }) = judged else {
            return Err(Failure::new(ErrorKind::InvalidConfig, "there is no result to learn from"));
        };
        let mut with_pairs: Vec<usize> = pairs.iter().map(|pair| pair.prompt).collect();
        with_pairs.sort_unstable();
        with_pairs.dedup();
        Ok(Self {
            files: summaries.iter().map(|summary| summary.name.clone()).collect(),
            pairs,
            prompts: with_pairs.len(),
            failed: summaries.iter().map(Summary::failed).sum(),
            model,
            profile,
            options,
            expected_scores,
        })
    }
}

impl JudgedBy {
    fn is_same(&self, other: &Self) -> Result<(), &'static str> {
        if self.model != other.model {
            Err("it was judged by another model than the first result")
        } else if self.profile != other.profile {
            Err("it was judged with another profile than the first result")
        } else if self.options != other.options {
            Err("it was judged with other options than the first result")
        } else if self.expected_scores && !other.expected_scores {
            Err("it has no expected scores, and the first result has")
        } else if self.expected_scores != other.expected_scores {
            Err("it has expected scores, and the first result has none")
        } else {
            Ok(())
        }
    }
}

/// What judged a result.
fn judged_by(Row { line, .. }: &Row, scores: &Scores) -> Result<JudgedBy, Refused> {
    let provenance = &line["provenance"];
    let profile = provenance["profile"]["judging_checksum"].as_str();
    let model = provenance.get("model").filter(|model| !model.is_null());
    let (Some(profile), Some(model)) = (profile, model) else {
        return Err("it does not say which model and profile judged it (\"provenance\")".to_owned().into());
    };
    match line["judged_in_blocks"].as_bool() {
        Some(false) => {}
        Some(true) => {
            return Err(Refused {
                what: "its responses were judged in blocks, whose scores a calibration is not for".into(),
                hint: "leave it out, or judge all groups whole: --blocks never",
            });
        }
        None => return Err("it does not say whether it was judged in blocks (\"judged_in_blocks\")".to_owned().into()),
    }
    let options: Options = serde_json::from_value(provenance["options"].clone()).map_err(|error| error.to_string())?;
    let settings = options.resolve().map_err(|error| error.message().to_owned())?;
    if line.get("rubric").is_some() && settings.rubric_mode == RubricMode::Separate {
        return Err(Refused {
            what: "it was judged by the criteria of a rubric, whose merged scores a calibration is not for".into(),
            hint: "leave it out, or judge all criteria together: --rubric-mode joint",
        });
    }
    let options = Calibration::relevant(&settings);
    let (model, profile, expected_scores) = (model.clone(), profile.to_owned(), scores.expected.is_some());
    Ok(JudgedBy { model, profile, options, expected_scores })
}

/// The checksums of the prompt and of the whole request.
fn checksums(line: &Value) -> Result<[&str; 2], Refused> {
    let checksum = |key: &str| line["checksums"][key].as_str();
    checksum("prompt")
        .zip(checksum("request"))
        .map(|(prompt, request)| [prompt, request])
        .ok_or_else(|| "it does not say which prompt was judged (\"checksums\")".to_owned().into())
}

/// The scores of a result, in the order of its labels.
struct Scores {
    written: Vec<f64>,
    /// Of all responses, or of none.
    expected: Option<Vec<f64>>,
    distributions: Vec<Option<Vec<f64>>>,
}

impl Scores {
    fn of(Row { names, line, .. }: &Row) -> Result<Self, String> {
        let written = numbers(&line["scores"], "scores", names)?;
        let listed = &line["expected_scores"];
        let expected = match names.iter().filter(|name| listed[name.as_str()].is_null()).count() {
            0 => Some(numbers(listed, "expected_scores", names)?),
            none if none == names.len() => None,
            _ => return Err("\"expected_scores\" has numbers for some of the responses only".into()),
        };
        let distribution = |name: &String| -> Result<Option<Vec<f64>>, String> {
            let shares: Option<Vec<f64>> = match &line["distributions"][name] {
                Value::Null => return Ok(None),
                Value::Array(list) => list.iter().map(Value::as_f64).collect(),
                _ => None,
            };
            let is_one = |shares: &Vec<f64>| {
                shares.iter().all(|share| *share >= 0.0) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-3
            };
            let wrong =
                || format!("the distribution of {name:?} must be a list of probabilities that sum to 1, or null");
            shares.filter(is_one).map(Some).ok_or_else(wrong)
        };
        let distributions = names.iter().map(distribution).collect::<Result<Vec<_>, String>>()?;
        let mut lengths = distributions.iter().flatten().map(Vec::len);
        if lengths.next().is_some_and(|first| lengths.any(|length| length != first)) {
            return Err("its distributions are not over as many scores each".into());
        }
        Ok(Self { written, expected, distributions })
    }

    /// The pairs whose order is known.
    fn pairs<'a>(&'a self, relevance: &'a [f64], prompt: usize) -> impl Iterator<Item = LabelledPair> + 'a {
        let Self { written, expected, distributions } = self;
        let values = expected.as_ref().unwrap_or(written);
        let all = (0..relevance.len()).flat_map(|a| (0..relevance.len()).map(move |b| (a, b)));
        all.filter(|&(better, worse)| relevance[better] > relevance[worse]).map(move |(better, worse)| LabelledPair {
            prompt,
            difference: values[better] - values[worse],
            raw: raw_probability(
                [written[better], written[worse]],
                [distributions[better].as_deref(), distributions[worse].as_deref()],
            ),
        })
    }
}
