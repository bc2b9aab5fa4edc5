//! Two runs side by side: ratios with 95 % intervals, and which of them are worse than allowed.
//!
//! The interval of a ratio comes from drawing both runs again, many times. A quantile is drawn from the distribution of its
//! order statistic (as if all latencies were resampled, but at a fraction of the cost), a mean from the normal
//! distribution of means, a rate by resampling the time slices. All this treats judgments, or slices, as independent:
//! differences from one start of a server to the next are not covered.

use std::fmt::Write as _;
use std::path::Path;

use dicast::ErrorKind;

use super::super::{Failure, input, table};
use super::point::{FORMAT, Point, Report, figure, time};
use super::schedule::Random;

/// Draws of each ratio.
const DRAWS: usize = 2000;
/// Most bytes of a report.
const MAX_REPORT_BYTES: usize = 256 << 20;

/// One measure of both runs.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    pub(super) load: String,
    pub(super) measure: &'static str,
    pub(super) old: String,
    pub(super) new: String,
    /// New to old.
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether a larger value is better.
    more_is_better: bool,
}

/// What a comparison says.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) ratios: Vec<Ratio>,
    /// What makes the two runs hard to compare, and new failures.
    pub(super) notes: Vec<String>,
    /// Loads at which judgments fail that did not before.
    failing: Vec<String>,
}

/// Reads a report that `--json` wrote.
pub(super) fn read(path: &Path) -> Result<Report, Failure> {
    let json = input::read_file(path, MAX_REPORT_BYTES)?;
    let wrong = |what: String| Failure::new(ErrorKind::InvalidConfig, format!("{}: {what}", path.display()));
    let value: serde_json::Value = serde_json::from_slice(&json).map_err(|error| wrong(format!("no JSON: {error}")))?;
    match value["dicast_bench"].as_u64() {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(wrong(format!("a report of form {format}, which this program does not know"))),
        None => return Err(wrong("this is not a report of `dicast bench --json`".into())),
    }
    serde_json::from_value(value).map_err(|error| wrong(format!("a damaged report: {error}")))
}

impl Ratio {
    /// By how much the new run is worse: 0.1 is a tenth; below 0 if it is better.
    fn worse(&self) -> f64 {
        if self.more_is_better { 1.0 / self.value - 1.0 } else { self.value - 1.0 }
    }

    /// Whether the interval lies on the worse side.
    fn surely_worse(&self) -> bool {
        if self.more_is_better { self.high < 1.0 } else { self.low > 1.0 }
    }

    fn surely_better(&self) -> bool {
        if self.more_is_better { self.low > 1.0 } else { self.high < 1.0 }
    }

    fn word(&self) -> &'static str {
        if self.surely_worse() {
            "worse"
        } else if self.surely_better() {
            "better"
        } else {
            "no difference seen"
        }
    }
}

/// Compares the loads that both runs have.
///
/// # Errors
/// If they have none in common.
pub(super) fn compare(old: &Report, new: &Report) -> Result<Comparison, Failure> {
    let mut comparison = Comparison::default();
    for (what, before, after) in [
        ("requests", &old.requests, &new.requests),
        ("target", &old.target, &new.target),
        ("machine", &old.machine, &new.machine),
    ] {
        if before != after {
            comparison.notes.push(format!("the two differ in their {what}: {before} and {after}"));
        }
    }
    let mut random = Random::new(1, 7);
    let mut met = false;
    for point in &new.points {
        let Some(before) = old.points.iter().find(|before| before.load == point.load) else { continue };
        met = true;
        comparison.add(before, point, &mut random);
    }
    if met {
        return Ok(comparison);
    }
    let loads = |report: &Report| {
        let loads: Vec<String> = report.points.iter().map(|point| point.load.to_string()).collect();
        if loads.is_empty() { "none".to_owned() } else { loads.join(", ") }
    };
    Err(Failure::new(
        ErrorKind::InvalidConfig,
        format!("the two runs have no load in common: {} before, {} now", loads(old), loads(new)),
    )
    .hint("give the same --concurrency or --rate"))
}

impl Comparison {
    fn add(&mut self, old: &Point, new: &Point, random: &mut Random) {
        let load = new.load.to_string();
        if new.failed > 0 && old.failed == 0 {
            let kinds: Vec<String> =
                new.failures.iter().map(|(kind, failures)| format!("{} {kind}", failures.count)).collect();
            self.notes.push(format!("{load}: judgments fail that did not before: {}", kinds.join(", ")));
            self.failing.push(load.clone());
        }
        if old.succeeded == 0 || new.succeeded == 0 {
            return;
        }
        let mut add =
            |measure, values: (f64, f64), show: fn(f64) -> String, more_is_better, draw: &mut dyn FnMut() -> f64| {
                let (before, after) = values;
                if !(before > 0.0 && after > 0.0) {
                    return;
                }
                let mut draws: Vec<f64> = (0..DRAWS).map(|_| draw()).filter(|ratio| ratio.is_finite()).collect();
                draws.sort_unstable_by(f64::total_cmp);
                let at = |part: usize| draws.get(draws.len() * part / 1000).copied().unwrap_or(f64::NAN);
                self.ratios.push(Ratio {
                    load: load.clone(),
                    measure,
                    old: show(before),
                    new: show(after),
                    value: after / before,
                    low: at(25),
                    high: at(975),
                    more_is_better,
                });
            };
        // Under an open loop the rate is that of the schedule.
        if new.load.concurrency.is_some() {
            let rates = (old.judgments_per_s, new.judgments_per_s);
            let mut draw = || {
                rates.1 * resampled(&new.ended_in_slices, random) / (rates.0 * resampled(&old.ended_in_slices, random))
            };
            add("judgments/s", rates, figure, true, &mut draw);
        }
        let (before, after) = (Spread::of(old), Spread::of(new));
        let mut draw = || after.mean(random) / before.mean(random);
        add("mean", (old.latency_ms.mean, new.latency_ms.mean), time, false, &mut draw);
        let quantiles = |point: &Point| [point.latency_ms.p50, point.latency_ms.p90, point.latency_ms.p99];
        for (((measure, share), old), new) in
            [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)].into_iter().zip(quantiles(old)).zip(quantiles(new))
        {
            if let Some(values) = old.zip(new) {
                let mut draw = || after.quantile(share, random) / before.quantile(share, random);
                add(measure, values, time, false, &mut draw);
            }
        }
        let cpu = |point: &Point| {
            let process = point.server.or(point.process);
            process.and_then(|process| process.cpu_seconds_per_judgment).map(|seconds| seconds * 1e3)
        };
        if let Some(values) = cpu(old).zip(cpu(new)) {
            // A single figure for a whole run does not show its spread.
            add("CPU a judgment", values, time, false, &mut || f64::NAN);
        }
    }

    /// The measures that are worse than allowed, each as a sentence.
    pub(super) fn past(&self, allowed: f64) -> Vec<String> {
        let mut past: Vec<String> =
            self.failing.iter().map(|load| format!("{load}: judgments fail that did not before")).collect();
        past.extend(self.ratios.iter().filter(|ratio| ratio.worse() > allowed && ratio.surely_worse()).map(|ratio| {
            format!(
                "{}: {} is {} % worse ({} against {})",
                ratio.load,
                ratio.measure,
                figure(ratio.worse() * 100.0),
                ratio.new,
                ratio.old
            )
        }));
        past
    }

    /// A table for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for note in &self.notes {
            let _ = writeln!(text, "note: {}", table::printable(note, false));
        }
        let _ = writeln!(
            text,
            "{:<24} {:<14} {:>10} {:>10} {:>7}  {:<14}",
            "load", "measure", "before", "now", "ratio", "95 % interval"
        );
        let mut last = "";
        for ratio in &self.ratios {
            let load = if ratio.load == last { "" } else { &ratio.load };
            last = &ratio.load;
            let interval = if ratio.low.is_nan() {
                String::new()
            } else {
                format!("{:.3} to {:.3}  {}", ratio.low, ratio.high, ratio.word())
            };
            let _ = writeln!(
                text,
                "{load:<24} {:<14} {:>10} {:>10} {:>7.3}  {}",
                ratio.measure,
                ratio.old,
                ratio.new,
                ratio.value,
                interval.trim_end()
            );
        }
        text
    }
}

/// The latencies of a run, to be drawn again.
struct Spread {
    /// Values, and for each how many are at most as large.
    steps: Vec<(f64, u64)>,
    count: u64,
    mean: f64,
    deviation: f64,
}

impl Spread {
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds")]
    fn of(point: &Point) -> Self {
        let mut count = 0;
        let steps: Vec<(f64, u64)> = point
            .latency_histogram_us
            .iter()
            .map(|&(value, of)| {
                count += of;
                (value as f64, count)
            })
            .collect();
        let of = |value: fn(f64, f64) -> f64, mean: f64| {
            let sum: f64 = point.latency_histogram_us.iter().map(|&(at, of)| value(at as f64, mean) * of as f64).sum();
            sum / (count.max(1)) as f64
        };
        let mean = of(|at, _| at, 0.0);
        let deviation = of(|at, mean| (at - mean).powi(2), mean).sqrt();
        Self { steps, count, mean, deviation }
    }

    #[expect(clippy::cast_precision_loss, reason = "a count")]
    fn mean(&self, random: &mut Random) -> f64 {
        self.mean + self.deviation / (self.count.max(1) as f64).sqrt() * random.normal()
    }

    /// A quantile of as many latencies, drawn from these: the order statistic of that rank lies at a share of the
    /// distribution that follows a beta distribution.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among counts"
    )]
    fn quantile(&self, share: f64, random: &mut Random) -> f64 {
        let count = self.count.max(1) as f64;
        let rank = (share * count).ceil().clamp(1.0, count);
        let (below, above) = (random.gamma(rank), random.gamma(count - rank + 1.0));
        let place = ((below / (below + above) * count).ceil() as u64).clamp(1, self.count.max(1));
        let step = self.steps.partition_point(|&(_, until)| until < place);
        self.steps.get(step).or(self.steps.last()).map_or(f64::NAN, |&(value, _)| value)
    }
}

/// The mean of resampled slices, as a share of the mean.
#[expect(clippy::cast_precision_loss, reason = "counts of judgments")]
fn resampled(slices: &[u64], random: &mut Random) -> f64 {
    let sum: u64 = slices.iter().sum();
    if sum == 0 {
        return f64::NAN;
    }
    let drawn: u64 = (0..slices.len()).map(|_| slices[random.below(slices.len())]).sum();
    drawn as f64 / sum as f64
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::gather::{Gathered, Sample};
    use super::super::load::Load;
    use super::super::target::{Measured, Trouble};
    use super::super::watch::Watched;
    use super::*;

    /// A run of judgments one after the other, whose latencies vary around `ms`.
    fn report(ms: f64, count: u32, seed: u64, fails: bool) -> Report {
        let mut random = Random::new(seed, 0);
        let mut gathered = Gathered::new(Load::Closed { concurrency: 1 });
        let mut now = Duration::ZERO;
        for number in 0..count {
            let ended = now + Duration::from_secs_f64(ms / 1e3 * (1.0 + 0.2 * random.normal()).max(0.1));
            let outcome =
                if fails && number == 5 { Err(Trouble::new("timeout", "late")) } else { Ok(Measured::default()) };
            gathered.add(&Sample { number: number.into(), item: None, due: now, sent: now, ended, outcome });
            now = ended;
        }
        let begin = Instant::now();
        gathered.finish(Some(begin), begin + now, None, &Watched::default());
        Report {
            dicast_bench: FORMAT,
            version: "0".into(),
            date: String::new(),
            note: None,
            machine: serde_json::Value::Null,
            target: serde_json::Value::Null,
            requests: serde_json::Value::Null,
            open_seconds: None,
            points: vec![gathered.point(&[])],
            sweep: None,
        }
    }

    #[test]
    fn a_slower_run_is_seen_and_an_equal_one_is_not() {
        let old = report(100.0, 1000, 1, false);
        let same = compare(&old, &report(100.0, 1000, 2, false)).unwrap();
        assert!(same.past(0.05).is_empty(), "{}", same.text());
        let slower = compare(&old, &report(115.0, 1000, 3, false)).unwrap();
        let past = slower.past(0.1);
        assert!(past.iter().any(|line| line.contains("p50 is 1")), "{past:?}");
        assert!(past.iter().any(|line| line.contains("judgments/s is 1")), "{past:?}");
        for ratio in &slower.ratios {
            assert!(ratio.low <= ratio.value && ratio.value <= ratio.high, "{ratio:?}");
            assert!((ratio.high - ratio.low) / ratio.value < 0.25, "{ratio:?}");
        }
        assert!(slower.past(0.3).is_empty());
        let faster = compare(&old, &report(80.0, 1000, 4, false)).unwrap();
        assert!(faster.past(0.0).is_empty() && faster.text().contains("better"));
    }

    #[test]
    fn what_few_judgments_cannot_show_fails_nothing() {
        let compared = compare(&report(100.0, 4, 1, false), &report(112.0, 4, 2, false)).unwrap();
        assert!(compared.past(0.05).is_empty(), "{}", compared.text());
    }

    #[test]
    fn new_failures_are_past_every_limit() {
        let compared = compare(&report(100.0, 100, 1, false), &report(100.0, 100, 1, true)).unwrap();
        assert!(compared.past(9.0)[0].contains("fail"), "{:?}", compared.past(9.0));
    }

    #[test]
    fn runs_without_a_common_load_are_not_compared() {
        let old = report(100.0, 10, 1, false);
        let mut new = old.clone();
        new.points[0].load.concurrency = Some(8);
        let failure = compare(&old, &new).unwrap_err();
        assert!(failure.error.message().contains("1 in flight before, 8 in flight now"), "{failure:?}");
        new = old.clone();
        new.requests = serde_json::json!({ "seed": 2 });
        assert!(compare(&old, &new).unwrap().text().contains("note: the two differ in their requests"));
    }

    #[test]
    fn a_report_is_what_it_was_after_json() {
        let path = std::env::temp_dir().join(format!("dicast-compare-{}.json", std::process::id()));
        let old = report(100.0, 200, 1, true);
        std::fs::write(&path, serde_json::to_string(&old).unwrap()).unwrap();
        let again = read(&path).unwrap();
        assert_eq!(again.points[0].latency_histogram_us, old.points[0].latency_histogram_us);
        assert_eq!((&again.points[0].load, &again.points[0].failures), (&old.points[0].load, &old.points[0].failures));
        std::fs::write(&path, "{\"scores\": {}}").unwrap();
        let failure = read(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(failure.error.message().contains("not a report"), "{failure:?}");
    }
}
