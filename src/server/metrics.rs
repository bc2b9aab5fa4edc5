//! Figures for Prometheus, in its text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::error::{Error, ErrorKind, Result};
use crate::verdict::Verdict;

use super::{Problem, Server};

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Upper bounds of the buckets of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0];

/// A number by the values of its labels, written as `{a="x",b="y"}`.
type Series<T> = BTreeMap<String, T>;

struct Histogram {
    bounds: &'static [f64],
    buckets: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, buckets: vec![0; bounds.len()], sum: 0.0, count: 0 }
    }

    fn add(&mut self, value: f64) {
        if let Some(at) = self.bounds.iter().position(|bound| value <= *bound) {
            self.buckets[at] += 1;
        }
        self.sum += value;
        self.count += 1;
    }
}

/// Kinds of errors that only the server has.
const OWN_KINDS: &[&str] = &[
    "conflict",
    "forbidden",
    "idempotency_key_reused",
    "job_not_found",
    "job_state",
    "method_not_allowed",
    "not_found",
    "not_ready",
    "rate_limited",
    "request_timeout",
    "storage_damaged",
    "storage_full",
    "unauthorized",
    "unsupported_media_type",
];

/// All figures except those that are read on demand.
pub(crate) struct Metrics {
    families: Mutex<Families>,
    in_flight: AtomicI64,
}

#[derive(Default)]
struct Families {
    counters: BTreeMap<&'static str, Series<u64>>,
    histograms: BTreeMap<&'static str, Series<Histogram>>,
}

/// The names of the families and their meanings. Counters end with `_total`.
const HELP: &[(&str, &str)] = &[
    ("dicast_http_requests_total", "Requests answered, by route, method and status."),
    ("dicast_http_request_seconds", "Time from the head of a request to its answer, by route."),
    ("dicast_http_in_flight", "Requests that are being answered."),
    ("dicast_errors_total", "Errors by kind."),
    ("dicast_spans_total", "Spans for OpenTelemetry by outcome: sent, or lost."),
    ("dicast_judgments_total", "Judgments that ended, by judge and outcome (ok, or the kind of the error)."),
    ("dicast_judgment_seconds", "Time of a judgment in the server, waiting included, by judge."),
    ("dicast_phase_seconds", "Time of a judgment by phase: queue, prefill, reasoning, verdict."),
    ("dicast_responses", "Responses in a judgment."),
    ("dicast_tokens_total", "Tokens by kind: prompt, reused, reasoning, verdict, forced."),
    ("dicast_repairs_total", "Repairs of verdicts by kind."),
    ("dicast_flags_total", "Flags of verdicts by kind."),
    ("dicast_coalesced_samples_total", "Samples of trainers by outcome: judged, duplicate, failed."),
    (
        "dicast_coalesced_groups_total",
        "Groups of samples that were judged, by what completed them: full, window, limit, drain.",
    ),
    ("dicast_coalesced_group_size", "Different samples in a group."),
    ("dicast_idempotent_replays_total", "Answers that were given again for an Idempotency-Key."),
    ("dicast_jobs", "Jobs by state: open, running, ended."),
    ("dicast_job_requests_waiting", "Requests of running jobs that have no result yet."),
    ("dicast_waiting", "Judgments that wait in the server, by judge."),
    ("dicast_running", "Judgments that were handed to the engine, by judge."),
    ("dicast_engine_waiting", "Jobs that wait in the engine, by judge."),
    ("dicast_engine_running", "Jobs that the engine computes, by judge: the size of its batch."),
    ("dicast_engine_steps_total", "Batches that the engine has computed, by judge."),
    ("dicast_engine_computed_tokens_total", "Tokens that the engine has computed, by judge."),
    ("dicast_engine_reused_tokens_total", "Prompt tokens taken from a cached prefix, by judge."),
    ("dicast_engine_drafted_tokens_total", "Tokens that the engine has computed ahead as drafts, by judge."),
    ("dicast_engine_accepted_tokens_total", "Tokens of drafts that the judge chose, by judge."),
    ("dicast_held_bytes", "Bytes of requests' bodies that are held."),
    ("dicast_judge_loaded", "1 if the judge is loaded."),
];

/// Counts a request as being answered until it is dropped.
pub(super) struct Busy<'a>(&'a AtomicI64);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Errors that have not happened are counted as 0: a series that begins with 1 has no increase that an alarm could see.
    pub(super) fn new(judges: &[&str]) -> Self {
        let mut families = Families::default();
        for kind in ErrorKind::all().map(ErrorKind::name).chain(OWN_KINDS.iter().copied()) {
            families.add("dicast_errors_total", &[("kind", kind)], 0);
        }
        for &judge in judges {
            for outcome in std::iter::once("ok").chain(ErrorKind::all().map(ErrorKind::name)) {
                families.add("dicast_judgments_total", &[("judge", judge), ("outcome", outcome)], 0);
            }
        }
        Self { families: Mutex::new(families), in_flight: AtomicI64::new(0) }
    }

    fn families(&self) -> MutexGuard<'_, Families> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn busy(&self) -> Busy<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(&self.in_flight)
    }

    /// Adds to a counter. `labels` are pairs of a name and a value.
    pub(crate) fn add(&self, family: &'static str, labels: &[(&str, &str)], count: u64) {
        self.families().add(family, labels, count);
    }

    /// Adds a value to a histogram of counts.
    pub(crate) fn observe_count(&self, family: &'static str, labels: &[(&str, &str)], value: usize) {
        self.families().observe(family, labels, COUNTS, f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    }

    pub(super) fn answered(
        &self,
        path: &str,
        method: &Method,
        status: StatusCode,
        failed: Option<&'static str>,
        took: Duration,
    ) {
        let mut families = self.families();
        // Unknown methods are counted as one.
        let method = match method.as_str() {
            known @ ("GET" | "POST" | "DELETE" | "HEAD" | "OPTIONS" | "PUT" | "PATCH") => known,
            _ => "other",
        };
        let labels = [("route", path), ("method", method), ("status", status.as_str())];
        families.add("dicast_http_requests_total", &labels, 1);
        families.observe("dicast_http_request_seconds", &labels[..1], SECONDS, took.as_secs_f64());
        if let Some(kind) = failed {
            families.add("dicast_errors_total", &[("kind", kind)], 1);
        }
    }

    pub(super) fn judged(&self, judge: &str, responses: usize, took: Duration, outcome: &Result<Verdict>) {
        let mut families = self.families();
        let label = ("judge", judge);
        families.observe("dicast_judgment_seconds", &[label], SECONDS, took.as_secs_f64());
        let word = outcome.as_ref().map_or_else(|error| error.kind().name(), |_| "ok");
        families.add("dicast_judgments_total", &[label, ("outcome", word)], 1);
        let count = f64::from(u32::try_from(responses).unwrap_or(u32::MAX));
        families.observe("dicast_responses", &[label], COUNTS, count);
        let Ok(verdict) = outcome else { return };
        let (timing, usage) = (verdict.timing, verdict.usage);
        for (phase, time) in [
            ("queue", timing.queue),
            ("prefill", timing.prefill),
            ("reasoning", timing.reasoning),
            ("verdict", timing.verdict),
        ] {
            families.observe("dicast_phase_seconds", &[label, ("phase", phase)], SECONDS, time.as_secs_f64());
        }
        for (what, tokens) in [
            ("prompt", usage.prompt_tokens),
            ("reused", usage.reused_tokens),
            ("reasoning", usage.reasoning_tokens),
            ("verdict", usage.verdict_tokens),
            ("forced", usage.forced_tokens),
        ] {
            families.add("dicast_tokens_total", &[label, ("what", what)], tokens as u64);
        }
        let word = |value: serde_json::Result<serde_json::Value>| match value {
            Ok(serde_json::Value::String(word)) => word,
            Ok(serde_json::Value::Object(object)) => object.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        for repair in &verdict.repairs {
            families.add("dicast_repairs_total", &[("kind", &word(serde_json::to_value(repair)))], 1);
        }
        for flag in &verdict.flags {
            families.add("dicast_flags_total", &[("kind", &word(serde_json::to_value(flag)))], 1);
        }
    }
}

impl Families {
    fn add(&mut self, family: &'static str, labels: &[(&str, &str)], count: u64) {
        *self.counters.entry(family).or_default().entry(written(labels)).or_insert(0) += count;
    }

    fn observe(&mut self, family: &'static str, labels: &[(&str, &str)], bounds: &'static [f64], value: f64) {
        let series = self.histograms.entry(family).or_default();
        series.entry(written(labels)).or_insert_with(|| Histogram::new(bounds)).add(value);
    }
}

/// Labels as they are written, without braces.
fn written(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in labels.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

fn head(text: &mut String, family: &str, kind: &str) {
    let help = HELP.iter().find(|(name, _)| *name == family).map_or("", |(_, help)| help);
    let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

fn line(text: &mut String, family: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = if labels.is_empty() {
        writeln!(text, "{family} {value}")
    } else {
        writeln!(text, "{family}{{{labels}}} {value}")
    };
}

impl Server {
    /// All figures, in the text format of Prometheus.
    fn exposition(&self) -> String {
        let mut text = String::new();
        let metrics = self.metrics();
        {
            let families = metrics.families();
            for (family, series) in &families.counters {
                head(&mut text, family, "counter");
                for (labels, value) in series {
                    line(&mut text, family, labels, value);
                }
            }
            for (family, series) in &families.histograms {
                head(&mut text, family, "histogram");
                for (labels, histogram) in series {
                    let comma = if labels.is_empty() { "" } else { "," };
                    let mut below = 0;
                    for (bound, count) in histogram.bounds.iter().zip(&histogram.buckets) {
                        below += count;
                        let _ = writeln!(text, "{family}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
                    }
                    let _ = writeln!(text, "{family}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", histogram.count);
                    line(&mut text, &format!("{family}_sum"), labels, histogram.sum);
                    line(&mut text, &format!("{family}_count"), labels, histogram.count);
                }
            }
        }
        head(&mut text, "dicast_http_in_flight", "gauge");
        line(&mut text, "dicast_http_in_flight", "", metrics.in_flight.load(Ordering::Relaxed));
        head(&mut text, "dicast_held_bytes", "gauge");
        line(&mut text, "dicast_held_bytes", "", self.0.held.bytes());
        if let Some((sent, lost)) = self.0.traces.counts() {
            head(&mut text, "dicast_spans_total", "counter");
            line(&mut text, "dicast_spans_total", &written(&[("outcome", "sent")]), sent);
            line(&mut text, "dicast_spans_total", &written(&[("outcome", "lost")]), lost);
        }
        self.write_judges(&mut text);
        text
    }

    /// The figures of the judges and their engines.
    fn write_judges(&self, text: &mut String) {
        let judges = self.judges();
        let states: Vec<_> =
            judges.names().into_iter().map(|name| (written(&[("judge", name)]), judges.loaded(name))).collect();
        head(text, "dicast_judge_loaded", "gauge");
        for (labels, loaded) in &states {
            line(text, "dicast_judge_loaded", labels, u8::from(loaded.is_some()));
        }
        let loaded: Vec<_> = states
            .iter()
            .filter_map(|(labels, loaded)| loaded.as_ref().map(|loaded| (labels, loaded.load(), loaded.judge.stats())))
            .collect();
        let mut family = |name: &str, kind: &str, value: &dyn Fn((usize, usize), &crate::engine::Stats) -> u64| {
            head(text, name, kind);
            for (labels, load, stats) in &loaded {
                line(text, name, labels, value(*load, stats));
            }
        };
        family("dicast_waiting", "gauge", &|(waiting, _), _| waiting as u64);
        family("dicast_running", "gauge", &|(_, running), _| running as u64);
        family("dicast_engine_waiting", "gauge", &|_, stats| stats.waiting as u64);
        family("dicast_engine_running", "gauge", &|_, stats| stats.running as u64);
        family("dicast_engine_steps_total", "counter", &|_, stats| stats.steps);
        family("dicast_engine_computed_tokens_total", "counter", &|_, stats| stats.computed_tokens);
        family("dicast_engine_reused_tokens_total", "counter", &|_, stats| stats.reused_tokens);
        family("dicast_engine_drafted_tokens_total", "counter", &|_, stats| stats.drafted_tokens);
        family("dicast_engine_accepted_tokens_total", "counter", &|_, stats| stats.accepted_tokens);
    }
}

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(server): State<Server>) -> Response {
    // A worker process is asked for its counters, which may take a while.
    let asked = server.clone();
    let mut text = match tokio::task::spawn_blocking(move || asked.exposition()).await {
        Ok(text) => text,
        Err(error) => {
            let error = Error::new(ErrorKind::Internal, format!("the figures cannot be read: {error}"));
            return Problem::from(error).into_response();
        }
    };
    // A store that cannot be read has no figures; its jobs say what is wrong.
    if let Ok(counts) = server.jobs().with(|store| store.counts()).await {
        head(&mut text, "dicast_jobs", "gauge");
        for (state, count) in [("open", counts.open), ("running", counts.running), ("ended", counts.ended)] {
            line(&mut text, "dicast_jobs", &written(&[("state", state)]), count);
        }
        head(&mut text, "dicast_job_requests_waiting", "gauge");
        line(&mut text, "dicast_job_requests_waiting", "", counts.waiting);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_value_once() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.add(value);
        }
        assert_eq!((histogram.buckets.as_slice(), histogram.count, histogram.sum), (&[2, 1][..], 4, 12.0));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(written(&[("a", "x\"y\\z\n"), ("b", "1")]), r#"a="x\"y\\z\n",b="1""#);
    }
}
