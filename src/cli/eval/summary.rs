//! What a file of results says: metrics with intervals, by group and over all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use dicast::ErrorKind;
use dicast::eval::{ItemScores, item_scores, metrics, resampling};
use serde_json::{Map, Value, json};

use super::super::table;
use super::Failure;

/// One result.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(super) group: String,
    /// `None` if the item was not judged.
    pub(crate) scores: Option<ItemScores>,
    /// Names of the responses in their order, their values, and how good they are known to be.
    pub(crate) names: Vec<String>,
    pub(super) values: Vec<f64>,
    pub(crate) relevance: Vec<f64>,
    /// The whole result.
    pub(crate) line: Value,
    tokens: f64,
    ms: f64,
}

impl Row {
    /// The share of its pairs that are right; 0 if it was not judged.
    pub(super) fn accuracy(&self) -> Option<f64> {
        match &self.scores {
            None => Some(0.0),
            Some(scores) if scores.pairs == 0 => None,
            Some(scores) => Some(share(scores.right, scores.pairs)),
        }
    }
}

fn share(part: usize, whole: usize) -> f64 {
    let exact = |count: usize| u32::try_from(count).map_or(f64::NAN, f64::from);
    exact(part) / exact(whole)
}

/// A metric: its name, its meaning, and its value on one item.
pub(super) struct Metric {
    pub(super) name: &'static str,
    value: fn(&Row) -> Option<f64>,
}

/// The metrics in the order of the report. A metric that no item has is left out.
pub(super) const METRICS: [Metric; 11] = [
    Metric { name: "accuracy (pairs)", value: Row::accuracy },
    Metric {
        name: "best is first",
        value: |row| match &row.scores {
            None => Some(0.0),
            Some(scores) => scores.best.map(|best| f64::from(u8::from(best))),
        },
    },
    Metric { name: "RM-Bench easy", value: |row| row.scores.as_ref()?.by_style.map(|styles| styles[0]) },
    Metric { name: "RM-Bench normal", value: |row| row.scores.as_ref()?.by_style.map(|styles| styles[1]) },
    Metric { name: "RM-Bench hard", value: |row| row.scores.as_ref()?.by_style.map(|styles| styles[2]) },
    Metric { name: "Kendall's tau", value: |row| row.scores.as_ref()?.tau },
    Metric { name: "NDCG", value: |row| row.scores.as_ref()?.ndcg },
    Metric {
        name: "tied pairs",
        value: |row| row.scores.as_ref().filter(|one| one.pairs > 0).map(|one| share(one.tied, one.pairs)),
    },
    Metric { name: "position consistency", value: |row| row.scores.as_ref()?.consistency },
    Metric { name: "variance of values", value: |row| row.scores.as_ref().map(|scores| scores.variance) },
    Metric { name: "tokens a judgment", value: |row| row.scores.as_ref().map(|_| row.tokens) },
];

/// A mean with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) items: usize,
}

impl Estimate {
    fn of(values: &[f64]) -> Option<Self> {
        let mean = metrics::mean(values)?;
        let drawn = |indices: &[usize]| metrics::mean(&indices.iter().map(|&index| values[index]).collect::<Vec<_>>());
        let (low, high) = resampling::interval(values.len(), drawn)?;
        Some(Self { mean, low, high, items: values.len() })
    }

    fn to_json(self) -> Value {
        json!({ "mean": self.mean, "low": self.low, "high": self.high, "items": self.items })
    }
}

/// What a file of results says.
pub(crate) struct Summary {
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
}

impl Summary {
    /// Reads results.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let place = path.display().to_string();
        let cannot = |error: std::io::Error| Failure::io(format_args!("cannot read {place}"), &error);
        let file = std::fs::File::open(path).map_err(cannot)?;
        let mut rows = Vec::new();
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(cannot)?;
            let row = row(&line).map_err(|what| {
                let message = format!("{place}: line {}: {what}", index + 1);
                Failure::new(ErrorKind::InvalidConfig, message).hint("give results that `dicast eval` wrote")
            })?;
            rows.push(row);
        }
        Ok(Self { name: place, rows })
    }

    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|row| row.scores.is_none()).count()
    }

    /// The metric over the items of a group, or over all.
    pub(super) fn estimate(&self, metric: &Metric, group: Option<&str>) -> Option<Estimate> {
        let rows = self.rows.iter().filter(|row| group.is_none_or(|group| row.group == group));
        Estimate::of(&rows.filter_map(metric.value).collect::<Vec<_>>())
    }

    /// The groups, if there are several.
    pub(super) fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self.rows.iter().map(|row| row.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > 1 { groups } else { Vec::new() }
    }

    /// RM-Bench over domains: easy, normal, hard and their mean, each as the mean over the domains; `safety-refuse` and
    /// `safety-response` count as one domain.
    pub(super) fn by_domain(&self) -> Option<[f64; 4]> {
        let mut domains: BTreeMap<&str, BTreeMap<&str, Vec<[f64; 3]>>> = BTreeMap::new();
        for row in &self.rows {
            if let Some(styles) = row.scores.as_ref().and_then(|scores| scores.by_style) {
                let domain = row.group.split('-').next().unwrap_or_default();
                domains.entry(domain).or_default().entry(&row.group).or_default().push(styles);
            }
        }
        if domains.len() < 2 {
            return None;
        }
        let column = |style: usize| {
            let of_domain = |parts: &BTreeMap<&str, Vec<[f64; 3]>>| {
                let part =
                    |items: &Vec<[f64; 3]>| metrics::mean(&items.iter().map(|item| item[style]).collect::<Vec<_>>());
                metrics::mean(&parts.values().filter_map(part).collect::<Vec<_>>())
            };
            metrics::mean(&domains.values().filter_map(of_domain).collect::<Vec<_>>())
        };
        let styles = [column(0)?, column(1)?, column(2)?];
        Some([styles[0], styles[1], styles[2], metrics::mean(&styles)?])
    }

    fn ms(&self) -> Option<f64> {
        metrics::mean(&self.rows.iter().filter(|row| row.scores.is_some()).map(|row| row.ms).collect::<Vec<_>>())
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("{}\n", table::printable(&self.name, false));
        let _ = writeln!(text, "{} items, {} failed (they count as wrong)", self.rows.len(), self.failed());
        if let Some(ms) = self.ms() {
            let _ = writeln!(text, "{ms:.0} ms of computing for each judgment");
        }
        text.push('\n');
        for metric in &METRICS {
            if let Some(Estimate { mean, low, high, items }) = self.estimate(metric, None) {
                let _ = writeln!(text, "{:<24}{mean:>9.3}   [{low:.3}, {high:.3}]   {items} items", metric.name);
            }
        }
        if let Some([easy, normal, hard, all]) = self.by_domain() {
            let _ = writeln!(
                text,
                "{:<24}{all:>9.3}   easy {easy:.3}, normal {normal:.3}, hard {hard:.3}",
                "RM-Bench, domains"
            );
        }
        let groups = self.groups();
        if !groups.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<32}{:>8}{:>10}   95 % interval{:>16}",
                "group", "items", "accuracy", "best is first"
            );
            for group in groups {
                let Some(one) = self.estimate(&METRICS[0], Some(group)) else { continue };
                let best =
                    self.estimate(&METRICS[1], Some(group)).map_or("-".into(), |best| format!("{:.3}", best.mean));
                let name = table::fitted(&table::printable(group, false), 31);
                let interval = format!("[{:.3}, {:.3}]", one.low, one.high);
                let _ = writeln!(text, "{name} {:>8}{:>10.3}   {interval}{best:>15}", one.items, one.mean);
            }
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let of = |group: Option<&str>| -> Value {
            let each = METRICS
                .iter()
                .filter_map(|metric| Some((metric.name.to_owned(), self.estimate(metric, group)?.to_json())));
            each.collect::<Map<_, _>>().into()
        };
        let groups: Map<_, _> = self.groups().into_iter().map(|group| (group.to_owned(), of(Some(group)))).collect();
        json!({
            "results": self.name, "items": self.rows.len(), "failed": self.failed(), "ms": self.ms(), "metrics": of(None),
            "rm_bench_domains": self.by_domain(), "groups": groups,
        })
    }
}

/// Reads one result.
fn row(line: &str) -> Result<Row, String> {
    let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let id = line["id"].as_str().ok_or("it has no \"id\": it is not a result of an evaluation")?.to_owned();
    let group = line["group"].as_str().unwrap_or_default().to_owned();
    let has_failed = line.get("error").is_some();
    let relevance = match line.get("relevance") {
        // What could not be read as an item has none.
        None if has_failed => Map::new(),
        Some(Value::Object(relevance)) if has_failed || !relevance.is_empty() => relevance.clone(),
        None => return Err("it has no \"relevance\"".into()),
        Some(_) => return Err("\"relevance\" must be an object with a number for each response".into()),
    };
    let names: Vec<String> = relevance.keys().cloned().collect();
    let values_of = |values: &Value, what: &str| numbers(values, what, &names);
    let known = values_of(&line["relevance"], "relevance")?;
    let (scores, values) = if has_failed {
        (None, Vec::new())
    } else {
        let values = values_of(&line["values"], "values")?;
        let runs = line["runs"].as_array().into_iter().flatten().map(|run| values_of(run, "runs"));
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let by_style = line["benchmark"] == "rm-bench" && names.len() == 6;
        (Some(item_scores(&values, &known, &runs, by_style)), values)
    };
    let tokens = |key: &str| line["usage"][key].as_f64().unwrap_or(0.0);
    let tokens = tokens("prompt_tokens") + tokens("reasoning_tokens") + tokens("verdict_tokens");
    let ms = line["ms"].as_f64().unwrap_or(0.0);
    Ok(Row { id, group, scores, names, values, relevance: known, tokens, ms, line })
}

/// One number for each of these names and for no other one; `what` is the key that holds them.
pub(crate) fn numbers(values: &Value, what: &str, names: &[String]) -> Result<Vec<f64>, String> {
    let number = |name: &String| values[name].as_f64().ok_or_else(|| format!("{what:?} has no number for {name:?}"));
    let numbers = names.iter().map(number).collect::<Result<_, _>>()?;
    match values.as_object().and_then(|fields| fields.keys().find(|name| !names.contains(name))) {
        Some(name) => Err(format!("{what:?} has {name:?}, which \"relevance\" has not")),
        None => Ok(numbers),
    }
}
