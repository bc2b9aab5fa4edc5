//! What a judge has done, for a dashboard: how judgments ended, how long they took, how many tokens they had.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
}

impl Metrics {
    /// The times of a phase.
    pub fn time(&self, phase: Phase) -> &Histogram {
        &self.times[phase as usize]
    }

    /// Judgments that failed in a way.
    pub fn failures(&self, kind: ErrorKind) -> u64 {
        self.failed.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count)
    }

    /// In the text format of Prometheus. `labels` is put into every line, such as `judge="a"`; empty for none.
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
        let Stats { waiting, running, reused_tokens, computed_tokens, steps, kv_blocks, kv_blocks_used, .. } =
            self.engine;
        let rows: [(&str, &str, &str, u64); 9] = [
            ("pending_judgments", "gauge", "Judgments that wait or run.", self.pending as u64),
            ("engine_waiting", "gauge", "Judgments that wait for the engine.", waiting as u64),
            ("engine_running", "gauge", "Judgments that the engine computes.", running as u64),
            ("engine_reused_tokens_total", "counter", "Prompt tokens taken from the cache.", reused_tokens),
            ("engine_computed_tokens_total", "counter", "Tokens computed.", computed_tokens),
            ("engine_steps_total", "counter", "Batches computed.", steps),
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
        text
    }
}

/// Counts what ends.
#[derive(Default)]
pub(super) struct Meter {
    judged: AtomicU64,
    /// By the place of the kind in the table of errors.
    failed: [AtomicU64; 32],
    times: [Times; Phase::ALL.len()],
    tokens: [AtomicU64; 4],
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

    /// What was counted so far.
    pub(super) fn read(&self) -> Metrics {
        let failed = ErrorKind::all().zip(self.failed.iter().map(get)).filter(|(_, count)| *count > 0).collect();
        let times = std::array::from_fn(|phase| Histogram {
            counts: std::array::from_fn(|bucket| get(&self.times[phase].counts[bucket])),
            sum_us: get(&self.times[phase].sum_us),
        });
        let tokens = std::array::from_fn(|kind| get(&self.tokens[kind]));
        Metrics { judged: get(&self.judged), failed, times, tokens, ..Metrics::default() }
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
    }
}
