//! What a run measured, as it is written as JSON and read again for a comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::load::Load;
use super::target::PHASES;

/// The version of this format. Reports with another version are refused.
pub(super) const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) dicast_bench: u32,
    pub(super) version: String,
    /// When it began, in UTC: `2026-11-29T01:46:50Z`.
    pub(super) date: String,
    #[serde(default)]
    pub(super) note: Option<String>,
    pub(super) machine: Value,
    pub(super) target: Value,
    pub(super) requests: Value,
    /// Seconds that opening the model took.
    #[serde(default)]
    pub(super) open_seconds: Option<f64>,
    pub(super) points: Vec<Point>,
    #[serde(default)]
    pub(super) sweep: Option<Swept>,
}

/// How judgments were sent: either `concurrency` or `rate` is present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Shape {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) concurrency: Option<usize>,
    /// Judgments per second.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) arrivals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) burst: Option<u32>,
}

impl From<Load> for Shape {
    fn from(load: Load) -> Self {
        match load {
            Load::Closed { concurrency } => {
                Self { concurrency: Some(concurrency), rate: None, arrivals: None, burst: None }
            }
            Load::Open { rate, arrivals, burst } => Self {
                concurrency: None,
                rate: Some(rate),
                arrivals: Some(arrivals.name().to_owned()),
                burst: (burst > 1 && arrivals == super::schedule::Arrivals::Bursty).then_some(burst),
            },
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.concurrency, self.rate) {
            (Some(concurrency), _) => write!(f, "{concurrency} in flight"),
            (None, Some(rate)) => {
                write!(f, "{}/s {}", figure(rate), self.arrivals.as_deref().unwrap_or_default())?;
                self.burst.map_or(Ok(()), |burst| write!(f, " of {burst}"))
            }
            (None, None) => f.write_str("unknown load"),
        }
    }
}

/// Quantiles in milliseconds; one that the count does not tell from the maximum is absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Quantiles {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: Option<f64>,
    pub(super) p90: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    #[serde(rename = "p99.9")]
    pub(super) p999: Option<f64>,
    pub(super) max: f64,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failures {
    pub(super) count: u64,
    /// The message of the first one.
    pub(super) first: String,
}

/// Whether an objective was held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) objective: String,
    pub(super) held: bool,
    /// Whether the 95 % interval lies on one side of the objective.
    pub(super) sure: bool,
    /// Share of all judgments within the limit, and its 95 % interval.
    pub(super) within: f64,
    pub(super) within_low: f64,
    pub(super) within_high: f64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) prompt: u64,
    pub(super) reused: u64,
    pub(super) reasoning: u64,
    pub(super) verdict: u64,
    pub(super) forced: u64,
    pub(super) written_per_s: f64,
    pub(super) computed_per_s: f64,
}

/// What the engine was working on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) running_mean: f64,
    pub(super) running_max: usize,
    pub(super) waiting_mean: f64,
    pub(super) tokens_per_step: Option<f64>,
}

/// What a process with its children used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_per_judgment: Option<f64>,
    pub(super) peak_resident_bytes: u64,
}

/// One load, measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) load: Shape,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) failures: BTreeMap<String, Failures>,
    #[serde(default)]
    pub(super) warmup_failures: BTreeMap<String, Failures>,
    #[serde(default)]
    pub(super) interrupted: bool,
    #[serde(default)]
    pub(super) in_flight_at_end: u64,
    /// The time over which the rate is taken.
    pub(super) seconds: f64,
    pub(super) judgments_per_s: f64,
    pub(super) offered_per_s: Option<f64>,
    pub(super) goodput_per_s: Option<f64>,
    pub(super) objectives: Vec<Reached>,
    pub(super) latency_ms: Quantiles,
    pub(super) first_token_ms: Option<Quantiles>,
    pub(super) send_delay_ms: Option<Quantiles>,
    pub(super) phases_ms: BTreeMap<String, Quantiles>,
    pub(super) tokens: Option<Tokens>,
    pub(super) batch: Option<Batch>,
    /// This process, with the engine's worker process.
    pub(super) process: Option<Process>,
    pub(super) server: Option<Process>,
    /// Latencies in microseconds, each with its count.
    pub(super) latency_histogram_us: Vec<(u64, u64)>,
    /// Judgments that ended in each of equal slices of the time.
    pub(super) ended_in_slices: Vec<u64>,
}

impl Point {
    /// The phases in their order.
    pub(super) fn phases(&self) -> impl Iterator<Item = (&'static str, &Quantiles)> {
        PHASES.iter().filter_map(|&name| Some((name, self.phases_ms.get(name)?)))
    }

    /// Whether every objective was held, and whether that is certain.
    pub(super) fn held(&self) -> (bool, bool) {
        let held = self.objectives.iter().all(|reached| reached.held);
        let sure = if held {
            self.objectives.iter().all(|reached| reached.sure)
        } else {
            self.objectives.iter().any(|reached| !reached.held && reached.sure)
        };
        (held, sure)
    }
}

/// What a sweep found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Swept {
    pub(super) objectives: Vec<String>,
    /// The highest rate that was held, and whether that is certain.
    pub(super) held: Option<(f64, bool)>,
    /// The lowest rate that was not held, and whether that is certain.
    pub(super) missed: Option<(f64, bool)>,
    /// Rates that were tried.
    pub(super) trials: usize,
    /// Whether it was interrupted before it was done.
    pub(super) interrupted: bool,
}

/// A number with three digits or so, for people.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".into()
    } else if size >= 99.95 {
        format!("{value:.0}")
    } else if size >= 9.995 {
        format!("{value:.1}")
    } else if size >= 0.01 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

/// Milliseconds for people, with their unit.
pub(super) fn time(ms: f64) -> String {
    if ms >= 9999.5 {
        format!("{} s", figure(ms / 1e3))
    } else if ms >= 1.0 || ms == 0.0 {
        format!("{} ms", figure(ms))
    } else {
        format!("{} µs", figure(ms * 1e3))
    }
}

/// A moment in UTC, by its seconds since 1970.
pub(super) fn date(seconds: u64) -> String {
    format!("{}Z", &dicast::date::iso(seconds * 1000)[..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0"), (0.0012, "0.0012"), (1.0, "1.00"), (12.345, "12.3"), (1234.5, "1234")] {
            assert_eq!(figure(value), text);
        }
        for (ms, text) in [(0.25, "250 µs"), (12.0, "12.0 ms"), (1500.0, "1500 ms"), (12_500.0, "12.5 s")] {
            assert_eq!(time(ms), text);
        }
    }

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(date(1_795_916_810), "2026-11-29T01:46:50Z");
    }
}
