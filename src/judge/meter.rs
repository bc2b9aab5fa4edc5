//! What a judge has done, for a dashboard: how judgments ended, how long they took, how many tokens they had.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::engine::Stats;
use crate::error::{Error, ErrorKind};
use crate::verdict::Verdict;

/// Upper bounds of the buckets of a histogram, in seconds.
pub const BOUNDS: [f64; 18] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// A part of a judgment's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From submission to verdict, of judgments that have one.
    Total,
    /// From submission to the first computation.
    Queue,
    /// Computing the prompt.
    Prefill,
    /// Writing the reasoning.
    Reasoning,
    /// Writing the verdict.
    Verdict,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Total, Self::Queue, Self::Prefill, Self::Reasoning, Self::Verdict];

    /// Its name, such as `prefill`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Queue => "queue",
            Self::Prefill => "prefill",
            Self::Reasoning => "reasoning",
            Self::Verdict => "verdict",
        }
    }
}

/// Times in buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many there were up to each of [`BOUNDS`], and above the one before it; one more for those above all.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Their sum in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time, in seconds, that a share `q` of them took at most, from 0 to 1: an estimate within a bucket, as
    /// Prometheus makes it. `None` if there were none, or if `q` is not a share.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 || !(0.0..=1.0).contains(&q) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let (number, share) = (|count: u64| count as f64, q * count as f64);
        let mut below = 0;
        for (bucket, &there) in self.counts.iter().enumerate() {
            if there > 0 && number(below + there) >= share {
                let lower = if bucket == 0 { 0.0 } else { BOUNDS[bucket - 1] };
                // Above the last bound nothing more is known.
                let upper = BOUNDS.get(bucket).copied().unwrap_or(lower);
                return Some(lower + (upper - lower) * ((share - number(below)) / number(there)).clamp(0.0, 1.0));
            }
            below += there;
        }
        BOUNDS.last().copied()
    }

    fn json(&self) -> Value {
        let counts = BOUNDS.iter().map(|bound| json!(bound)).chain([Value::Null]).zip(&self.counts);
        json!({
            "count": self.count(),
            "sum_seconds": Duration::from_micros(self.sum_us).as_secs_f64(),
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "p99": self.quantile(0.99),
            "buckets": counts.map(|(up_to, count)| json!({ "up_to": up_to, "count": count })).collect::<Vec<_>>(),
        })
    }
}

/// What ended with a verdict lately, for rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recent {
    /// How far back it looks: a minute, less if the judge was opened later.
    pub window: Duration,
    /// Judgments.
    pub judged: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of their reasonings and verdicts.
    pub written_tokens: u64,
}

impl Recent {
    /// So many in the window, as a rate.
    pub fn per_second(&self, count: u64) -> f64 {
        let seconds = self.window.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
    }
}

/// What a judge has done since it was opened, at one moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Judgments with a verdict.
    pub judged: u64,
    /// Judgments that failed, by kind; those that never failed in a way are left out.
    pub failed: Vec<(ErrorKind, u64)>,
    /// Times of the judgments with a verdict, in the order of [`Phase::ALL`].
    pub times: [Histogram; Phase::ALL.len()],
    /// Tokens of prompts, of those the ones reused, of reasonings, and of verdicts.
    pub tokens: [u64; 4],
    /// Judgments that wait or run.
    pub pending: usize,
    /// Counters of the engine.
    pub engine: Stats,
    /// Which weights judge.
    pub weights: u64,
    /// Whether the judge sleeps.
    pub asleep: bool,
    /// Since when it counts: since the judge was opened.
    pub elapsed: Duration,
    /// What ended lately.
    pub recent: Recent,
}

impl Metrics {
    /// The part of the prompts' tokens that was reused; 0 if there were none.
    pub fn reused_share(&self) -> f64 {
        let [prompt, reused, ..] = self.tokens;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        if prompt > 0 { reused as f64 / prompt as f64 } else { 0.0 }
    }

    /// All of it as JSON, for programs.
    pub fn to_json(&self) -> Value {
        let failed: serde_json::Map<_, _> =
            self.failed.iter().map(|(kind, count)| (kind.name().to_owned(), (*count).into())).collect();
        let times: serde_json::Map<_, _> =
            Phase::ALL.iter().map(|phase| (phase.name().to_owned(), self.time(*phase).json())).collect();
        let [prompt, reused, reasoning, verdict] = self.tokens;
        let (recent, engine) = (&self.recent, &self.engine);
        json!({
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "judged": self.judged,
            "failed": failed,
            "pending": self.pending,
            "times": times,
            "tokens": { "prompt": prompt, "reused": reused, "reasoning": reasoning, "verdict": verdict },
            "reused_share": self.reused_share(),
            "recent": {
                "seconds": recent.window.as_secs_f64(),
                "judgments_per_second": recent.per_second(recent.judged),
                "prompt_tokens_per_second": recent.per_second(recent.prompt_tokens),
                "written_tokens_per_second": recent.per_second(recent.written_tokens),
            },
            "engine": {
                "waiting": engine.waiting,
                "running": engine.running,
                "reused_tokens": engine.reused_tokens,
                "computed_tokens": engine.computed_tokens,
                "steps": engine.steps,
                "kv_block_tokens": engine.kv_block_tokens,
                "kv_blocks": engine.kv_blocks,
                "kv_blocks_used": engine.kv_blocks_used,
                "kv_blocks_reused": engine.kv_blocks_reused,
                "grammars_last_hour": engine.grammars_last_hour,
                "drafted_tokens": engine.drafted_tokens,
                "accepted_tokens": engine.accepted_tokens,
            },
            "weights": self.weights,
            "asleep": self.asleep,
        })
    }

    /// The times of a phase.
    pub fn time(&self, phase: Phase) -> &Histogram {
        &self.times[phase as usize]
    }

    /// Judgments that failed in a way.
    pub fn failures(&self, kind: ErrorKind) -> u64 {
        self.failed.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count)
    }

    /// In the text format of Prometheus. `labels` is put into every line, such as `judge="a"`; empty for none. It must be what
    /// that format takes.
    pub fn prometheus(&self, labels: &str) -> String {
        let mut text = String::new();
        let join = |own: &str| [labels, own].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
        let braced = |own: &str| Some(join(own)).filter(|all| !all.is_empty()).map(|all| format!("{{{all}}}"));
        let line = |text: &mut String, name: &str, own: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "dicast_{name}{} {value}", braced(own).unwrap_or_default());
        };
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(text, "# HELP dicast_{name} {help}\n# TYPE dicast_{name} {kind}");
        };
        head(&mut text, "judgments_total", "counter", "Judgments that ended, by outcome.");
        line(&mut text, "judgments_total", "outcome=\"ok\"", &self.judged);
        for (kind, count) in &self.failed {
            line(&mut text, "judgments_total", &format!("outcome=\"{kind}\""), count);
        }
        head(&mut text, "judgment_seconds", "histogram", "Times of judgments with a verdict, by phase.");
        for phase in Phase::ALL {
            let (histogram, name) = (self.time(phase), phase.name());
            let mut below = 0;
            for (bound, count) in BOUNDS.iter().zip(&histogram.counts) {
                below += count;
                line(&mut text, "judgment_seconds_bucket", &format!("phase=\"{name}\",le=\"{bound}\""), &below);
            }
            let count = histogram.count();
            line(&mut text, "judgment_seconds_bucket", &format!("phase=\"{name}\",le=\"+Inf\""), &count);
            let sum = Duration::from_micros(histogram.sum_us).as_secs_f64();
            line(&mut text, "judgment_seconds_sum", &format!("phase=\"{name}\""), &sum);
            line(&mut text, "judgment_seconds_count", &format!("phase=\"{name}\""), &count);
        }
        head(
            &mut text,
            "judgment_tokens_total",
            "counter",
            "Tokens of judgments with a verdict; reused ones are prompt ones too.",
        );
        for (kind, count) in ["prompt", "reused", "reasoning", "verdict"].into_iter().zip(&self.tokens) {
            line(&mut text, "judgment_tokens_total", &format!("kind=\"{kind}\""), count);
        }
        let Stats { waiting, running, reused_tokens, computed_tokens, steps, .. } = self.engine;
        let Stats { kv_blocks, kv_blocks_used, drafted_tokens, accepted_tokens, .. } = self.engine;
        let rows: [(&str, &str, &str, u64); 11] = [
            ("pending_judgments", "gauge", "Judgments that wait or run.", self.pending as u64),
            ("engine_waiting", "gauge", "Judgments that wait for the engine.", waiting as u64),
            ("engine_running", "gauge", "Judgments that the engine computes.", running as u64),
            ("engine_reused_tokens_total", "counter", "Prompt tokens taken from the cache.", reused_tokens),
            ("engine_computed_tokens_total", "counter", "Tokens computed.", computed_tokens),
            ("engine_steps_total", "counter", "Batches computed.", steps),
            ("engine_drafted_tokens_total", "counter", "Tokens computed ahead as drafts.", drafted_tokens),
            ("engine_accepted_tokens_total", "counter", "Tokens of drafts that the judge chose.", accepted_tokens),
            ("engine_kv_blocks", "gauge", "Blocks of the KV cache.", kv_blocks as u64),
            ("engine_kv_blocks_used", "gauge", "Blocks that running judgments hold.", kv_blocks_used as u64),
            ("weights", "gauge", "How often the weights were replaced.", self.weights),
        ];
        for (name, kind, help, value) in rows {
            head(&mut text, name, kind, help);
            line(&mut text, name, "", &value);
        }
        head(&mut text, "asleep", "gauge", "1 while the judge sleeps.");
        line(&mut text, "asleep", "", &u64::from(self.asleep));
        let recent = &self.recent;
        head(&mut text, "recent_judgments_per_second", "gauge", "Judgments with a verdict, over the last minute.");
        line(&mut text, "recent_judgments_per_second", "", &recent.per_second(recent.judged));
        head(
            &mut text,
            "recent_tokens_per_second",
            "gauge",
            "Tokens of judgments with a verdict, over the last minute.",
        );
        for (kind, count) in [("prompt", recent.prompt_tokens), ("written", recent.written_tokens)] {
            line(&mut text, "recent_tokens_per_second", &format!("kind=\"{kind}\""), &recent.per_second(count));
        }
        text
    }
}

/// Whether labels are as the text format of Prometheus has them between its braces: names with quoted values, such as
/// `judge="a",node="7"`; nothing is fine too.
pub(crate) fn are_labels(labels: &str) -> bool {
    let mut rest = labels;
    while !rest.is_empty() {
        let Some((name, value)) = rest.split_once("=\"") else { return false };
        let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        if !begins || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return false;
        }
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next() {
                Some((_, '\\')) => {
                    if !matches!(letters.next(), Some((_, '\\' | '"' | 'n'))) {
                        return false;
                    }
                }
                Some((end, '"')) => break end,
                Some((_, '\n')) | None => return false,
                Some(_) => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some("") => return false,
            Some(next) => rest = next,
            None if rest.is_empty() => {}
            None => return false,
        }
    }
    true
}

/// Seconds that are looked back on.
const WINDOW: u32 = 60;

/// What ended in each of the last seconds, each at the place of its second.
#[derive(Clone, Copy, Default)]
struct Second {
    number: u64,
    counts: [u64; 3],
}

/// Counts what ends.
pub(super) struct Meter {
    begun: Instant,
    judged: AtomicU64,
    /// By the place of the kind in the table of errors.
    failed: [AtomicU64; 32],
    times: [Times; Phase::ALL.len()],
    tokens: [AtomicU64; 4],
    recent: Mutex<[Second; WINDOW as usize]>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            judged: AtomicU64::default(),
            failed: Default::default(),
            times: Default::default(),
            tokens: Default::default(),
            recent: Mutex::new([Second::default(); WINDOW as usize]),
        }
    }
}

#[derive(Default)]
struct Times {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

impl Times {
    fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        add(&self.counts[bucket], 1);
        add(&self.sum_us, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Meter {
    /// A judgment has ended, `total` after its submission.
    pub(super) fn ended(&self, outcome: &Result<Verdict, Error>, total: Duration) {
        match outcome {
            Ok(Verdict { timing, usage, .. }) => {
                add(&self.judged, 1);
                let times = [total, timing.queue, timing.prefill, timing.reasoning, timing.verdict];
                for (kept, time) in self.times.iter().zip(times) {
                    kept.add(time);
                }
                let tokens = [usage.prompt_tokens, usage.reused_tokens, usage.reasoning_tokens, usage.verdict_tokens];
                for (kept, count) in self.tokens.iter().zip(tokens) {
                    add(kept, count as u64);
                }
                let written = (usage.reasoning_tokens + usage.verdict_tokens) as u64;
                self.lately(self.begun.elapsed().as_secs(), [1, usage.prompt_tokens as u64, written]);
            }
            Err(error) => self.failed(error),
        }
    }

    /// A judgment has failed, or was refused.
    pub(super) fn failed(&self, error: &Error) {
        let place = ErrorKind::all().position(|kind| kind == error.kind());
        if let Some(counter) = place.and_then(|place| self.failed.get(place)) {
            add(counter, 1);
        }
    }

    /// Adds to what ended in a second, counted from the beginning.
    fn lately(&self, number: u64, counts: [u64; 3]) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut recent[usize::try_from(number % u64::from(WINDOW)).unwrap_or(0)];
        if place.number != number {
            *place = Second { number, ..Second::default() };
        }
        for (kept, count) in place.counts.iter_mut().zip(counts) {
            *kept += count;
        }
    }

    /// What ended in the last seconds of `elapsed`.
    fn recent(&self, elapsed: Duration) -> Recent {
        let now = elapsed.as_secs();
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = [0; 3];
        for second in recent.iter().filter(|second| second.number + u64::from(WINDOW) > now) {
            for (sum, count) in sum.iter_mut().zip(second.counts) {
                *sum += count;
            }
        }
        // The oldest second that still counts began so long ago.
        let whole = Duration::from_secs((now + 1).saturating_sub(WINDOW.into()));
        let [judged, prompt_tokens, written_tokens] = sum;
        Recent { window: elapsed.saturating_sub(whole), judged, prompt_tokens, written_tokens }
    }

    /// What was counted so far.
    pub(super) fn read(&self) -> Metrics {
        let elapsed = self.begun.elapsed();
        let failed = ErrorKind::all().zip(self.failed.iter().map(get)).filter(|(_, count)| *count > 0).collect();
        let times = std::array::from_fn(|phase| Histogram {
            counts: std::array::from_fn(|bucket| get(&self.times[phase].counts[bucket])),
            sum_us: get(&self.times[phase].sum_us),
        });
        let tokens = std::array::from_fn(|kind| get(&self.tokens[kind]));
        let recent = self.recent(elapsed);
        Metrics { judged: get(&self.judged), failed, times, tokens, elapsed, recent, ..Metrics::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_counter_and_the_text_is_that_of_prometheus() {
        let meter = Meter::default();
        assert!(ErrorKind::all().count() <= meter.failed.len());
        meter.failed(&Error::cancelled());
        meter.failed(&Error::cancelled());
        meter.times[0].add(Duration::from_millis(3));
        meter.times[0].add(Duration::from_secs(1000));
        let metrics = meter.read();
        assert_eq!((metrics.failures(ErrorKind::Cancelled), metrics.failures(ErrorKind::Timeout)), (2, 0));
        let text = metrics.prometheus("judge=\"a\"");
        for line in [
            "dicast_judgments_total{judge=\"a\",outcome=\"cancelled\"} 2",
            "dicast_judgment_seconds_bucket{judge=\"a\",phase=\"total\",le=\"0.0025\"} 0",
            "dicast_judgment_seconds_bucket{judge=\"a\",phase=\"total\",le=\"0.005\"} 1",
            "dicast_judgment_seconds_bucket{judge=\"a\",phase=\"total\",le=\"600\"} 1",
            "dicast_judgment_seconds_bucket{judge=\"a\",phase=\"total\",le=\"+Inf\"} 2",
            "dicast_judgment_seconds_sum{judge=\"a\",phase=\"total\"} 1000.003",
            "# TYPE dicast_judgment_seconds histogram",
            "dicast_asleep{judge=\"a\"} 0",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(metrics.prometheus("").contains("\ndicast_weights 0\n"));
        let json = metrics.to_json();
        assert_eq!(json["failed"], json!({ "cancelled": 2 }));
        assert_eq!(json["times"]["total"]["count"], 2);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.counts[1] = 8;
        histogram.counts[9] = 1;
        histogram.counts[BOUNDS.len()] = 1;
        assert_eq!(histogram.quantile(0.0), Some(0.001));
        assert!((histogram.quantile(0.4).unwrap() - 0.00175).abs() < 1e-9);
        assert_eq!((histogram.quantile(0.9), histogram.quantile(1.0)), (Some(1.0), Some(600.0)));
        assert_eq!((histogram.quantile(1.5), histogram.quantile(f64::NAN)), (None, None));
    }

    #[test]
    fn rates_look_back_a_minute() {
        let meter = Meter::default();
        for second in 0..100 {
            meter.lately(second, [1, 10, 3]);
        }
        let recent = meter.recent(Duration::from_millis(99_500));
        assert_eq!((recent.judged, recent.prompt_tokens, recent.written_tokens), (60, 600, 180));
        assert_eq!(recent.window, Duration::from_millis(59_500));
        assert_eq!(meter.recent(Duration::from_secs(300)).judged, 0);
        let young = Meter::default();
        young.lately(0, [1, 10, 3]);
        let recent = young.recent(Duration::from_millis(500));
        assert!((recent.per_second(recent.prompt_tokens) - 20.0).abs() < 1e-9);
    }

    #[test]
    fn labels_are_those_of_prometheus() {
        for good in ["", r#"a="b""#, r#"a="",_b1="x\"y\\ \n,=""#] {
            assert!(are_labels(good), "{good}");
        }
        for bad in [
            "a",
            "a=b",
            r#"a="b"#,
            r#"a="b","#,
            r#"a="b"c="d""#,
            r#"1a="b""#,
            r#"a b="c""#,
            "a=\"\n\"",
            r#"a="\x""#,
            r#"="b""#,
        ] {
            assert!(!are_labels(bad), "{bad}");
        }
    }
}
