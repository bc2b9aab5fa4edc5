//! The outcomes of the judgments of one load: histograms, counts, and the figures made from them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dicast::verdict::Usage;
use hdrhistogram::Histogram;

use super::load::Load;
use super::objective::Objective;
use super::point::{Batch, Failures, Point, Process, Quantiles, Reached, Shape, Tokens};
use super::target::{HOST, Measured, PHASES, Trouble};
use super::watch::Watched;

/// Number of time slices of a load whose judgments are counted separately, to see how the rate varies.
const SLICES: usize = 20;

/// One measured judgment. All times count from the first measured one.
pub(super) struct Sample {
    pub(super) number: u64,
    /// Which request of the file it was.
    pub(super) item: Option<usize>,
    /// When it should have been sent.
    pub(super) due: Duration,
    /// When it was sent.
    pub(super) sent: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Result<Measured, Trouble>,
}

impl Sample {
    /// From when it was due to its end.
    pub(super) fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.due)
    }

    /// The phases of its time, with the host's share if the others are known.
    pub(super) fn phases(&self) -> [Option<Duration>; PHASES.len()] {
        let Ok(measured) = &self.outcome else { return [None; PHASES.len()] };
        let mut phases = measured.phases;
        let known: Duration = phases.iter().flatten().sum();
        if phases.iter().any(Option::is_some) {
            phases[HOST] = Some(self.ended.saturating_sub(self.sent).saturating_sub(known));
        }
        phases
    }
}

/// A histogram of times in microseconds, three digits exact.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        let mut times = Histogram::new(3).expect("three digits are a valid precision");
        times.auto(true);
        Self(times)
    }

    pub(super) fn add(&mut self, time: Duration) {
        // It grows as needed; no judgment takes more than a day.
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(1 << 40);
        self.0.record(micros).expect("it grows to any value of 40 bits");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile in milliseconds, if there are enough times to tell it from the maximum.
    #[expect(clippy::cast_precision_loss, reason = "counts and microseconds")]
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let beyond = self.0.len() as f64 * (1.0 - share);
        (!self.0.is_empty() && beyond >= 0.999).then(|| self.0.value_at_quantile(share) as f64 / 1e3)
    }

    /// In milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds")]
    pub(super) fn figures(&self) -> Quantiles {
        Quantiles {
            count: self.0.len(),
            mean: self.0.mean() / 1e3,
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.0.max() as f64 / 1e3,
        }
    }

    /// Values in microseconds and their counts.
    fn buckets(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

/// What was measured during a load.
pub(super) struct Gathered {
    pub(super) load: Load,
    pub(super) latency: Times,
    delay: Times,
    first_token: Times,
    phases: [Times; PHASES.len()],
    usage: Usage,
    /// End and latency of each success.
    ended: Vec<(Duration, Duration)>,
    /// Ends of judgments of the warm-up that came after the first measured one was sent.
    warm_ended: Vec<Duration>,
    last_due: Duration,
    last_ended: Duration,
    pub(super) failures: BTreeMap<String, Failures>,
    pub(super) warm_failures: BTreeMap<String, Failures>,
    pub(super) interrupted: bool,
    pub(super) in_flight_at_end: u64,
    /// Time in which the judgments of the rate ended.
    window: Duration,
    watched: (Option<Batch>, Option<Process>, Option<Process>),
}

fn count(failures: &mut BTreeMap<String, Failures>, trouble: &Trouble) {
    let of_kind = failures.entry(trouble.kind.clone());
    of_kind.or_insert_with(|| Failures { count: 0, first: trouble.message.clone() }).count += 1;
}

impl Gathered {
    pub(super) fn new(load: Load) -> Self {
        Self {
            load,
            latency: Times::new(),
            delay: Times::new(),
            first_token: Times::new(),
            phases: std::array::from_fn(|_| Times::new()),
            usage: Usage::default(),
            ended: Vec::new(),
            warm_ended: Vec::new(),
            last_due: Duration::ZERO,
            last_ended: Duration::ZERO,
            failures: BTreeMap::new(),
            warm_failures: BTreeMap::new(),
            interrupted: false,
            in_flight_at_end: 0,
            window: Duration::ZERO,
            watched: (None, None, None),
        }
    }

    /// Takes a judgment of the warm-up. One that ends among the measured ones counts for the rate.
    pub(super) fn warm(&mut self, outcome: &Result<Measured, Trouble>, begin: Option<Instant>, at: Instant) {
        match (outcome, begin) {
            (Ok(_), Some(begin)) => self.warm_ended.push(at.saturating_duration_since(begin)),
            (Ok(_), None) => {}
            (Err(trouble), _) => count(&mut self.warm_failures, trouble),
        }
    }

    /// Takes a measured judgment.
    pub(super) fn add(&mut self, sample: &Sample) {
        self.last_due = self.last_due.max(sample.due);
        self.last_ended = self.last_ended.max(sample.ended);
        self.delay.add(sample.sent.saturating_sub(sample.due));
        match &sample.outcome {
            Ok(measured) => {
                self.latency.add(sample.latency());
                self.ended.push((sample.ended, sample.latency()));
                if let Some(first) = measured.first_token {
                    self.first_token.add(first + sample.sent.saturating_sub(sample.due));
                }
                for (times, phase) in self.phases.iter_mut().zip(sample.phases()) {
                    if let Some(phase) = phase {
                        times.add(phase);
                    }
                }
                let (all, one) = (&mut self.usage, measured.usage);
                all.prompt_tokens += one.prompt_tokens;
                all.reused_tokens += one.reused_tokens;
                all.reasoning_tokens += one.reasoning_tokens;
                all.verdict_tokens += one.verdict_tokens;
                all.forced_tokens += one.forced_tokens;
            }
            Err(trouble) => count(&mut self.failures, trouble),
        }
    }

    pub(super) fn succeeded(&self) -> u64 {
        self.ended.len() as u64
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().map(|failures| failures.count).sum()
    }

    /// Latencies of what succeeded.
    pub(super) fn latencies(&self) -> impl Iterator<Item = Duration> + Clone {
        self.ended.iter().map(|&(_, latency)| latency)
    }

    /// Adds the judgments of another load of the same kind.
    pub(super) fn pool(&mut self, other: &Self) {
        let shift = self.window;
        self.ended.extend(other.ended.iter().map(|&(ended, latency)| (ended + shift, latency)));
        for (kind, failures) in &other.failures {
            let of_kind = self.failures.entry(kind.clone());
            of_kind.or_insert_with(|| Failures { count: 0, first: failures.first.clone() }).count += failures.count;
        }
        let add = |times: &mut Times, other: &Times| {
            // Both grow as needed.
            let _ = times.0.add(&other.0);
        };
        add(&mut self.latency, &other.latency);
        add(&mut self.delay, &other.delay);
        add(&mut self.first_token, &other.first_token);
        self.phases.iter_mut().zip(&other.phases).for_each(|(times, other)| add(times, other));
        let (all, one) = (&mut self.usage, other.usage);
        all.prompt_tokens += one.prompt_tokens;
        all.reused_tokens += one.reused_tokens;
        all.reasoning_tokens += one.reasoning_tokens;
        all.verdict_tokens += one.verdict_tokens;
        all.forced_tokens += one.forced_tokens;
        self.interrupted |= other.interrupted;
        self.in_flight_at_end += other.in_flight_at_end;
        self.window += other.window;
        self.last_due += other.last_due;
    }

    /// The load is over; adds what was measured of the processes and the engine meanwhile. `timed` is the time in which
    /// judgments were sent, if a time limit ended the sending: judgments that end later do not count for the rate.
    pub(super) fn finish(&mut self, begin: Option<Instant>, end: Instant, timed: Option<Duration>, watched: &Watched) {
        let Some(begin) = begin else { return };
        self.window = match timed {
            _ if self.interrupted => end.saturating_duration_since(begin),
            Some(time) => time,
            None => self.last_ended,
        };
        self.watched = watched.between(begin, begin + self.last_ended, self.succeeded());
    }

    /// The figures of the load under these objectives.
    #[expect(clippy::cast_precision_loss, reason = "counts of judgments and tokens")]
    pub(super) fn point(&self, objectives: &[Objective]) -> Point {
        let seconds = self.window.as_secs_f64();
        let rate = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        let mut slices = vec![0u64; SLICES];
        let ends = self.ended.iter().map(|&(ended, _)| ended).chain(self.warm_ended.iter().copied());
        for ended in ends.filter(|&ended| ended <= self.window) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the slices")]
            let slice = (ended.as_secs_f64() / seconds.max(1e-9) * SLICES as f64) as usize;
            slices[slice.min(SLICES - 1)] += 1;
        }
        let within: u64 = slices.iter().sum();
        let failed = self.failed();
        let reached = objectives
            .iter()
            .map(|objective| {
                let held = objective.held(self.latencies(), failed);
                Reached {
                    objective: objective.to_string(),
                    held: held.held,
                    sure: held.sure,
                    within: held.within.0,
                    within_low: held.within.1,
                    within_high: held.within.2,
                }
            })
            .collect();
        let loosest = objectives.iter().map(|objective| objective.limit).max();
        let good = loosest.filter(|_| !self.ended.is_empty()).map(|limit| {
            let good = self.latencies().filter(|latency| *latency <= limit).count();
            good as f64 / self.ended.len() as f64
        });
        let Usage { prompt_tokens, reused_tokens, reasoning_tokens, verdict_tokens, forced_tokens, .. } = self.usage;
        let told = prompt_tokens + verdict_tokens > 0;
        let written = (reasoning_tokens + verdict_tokens) as f64;
        let shape = Shape::from(self.load);
        let is_open = shape.rate.is_some();
        let offered = (is_open && !self.last_due.is_zero())
            .then(|| (self.succeeded() + failed) as f64 / self.last_due.as_secs_f64());
        let all = self.last_ended.as_secs_f64().max(1e-9);
        Point {
            load: shape,
            succeeded: self.succeeded(),
            failed,
            failures: self.failures.clone(),
            warmup_failures: self.warm_failures.clone(),
            interrupted: self.interrupted,
            in_flight_at_end: self.in_flight_at_end,
            seconds,
            judgments_per_s: rate(within as f64),
            offered_per_s: offered,
            goodput_per_s: loosest.map(|_| rate(within as f64) * good.unwrap_or(0.0)),
            objectives: reached,
            latency_ms: self.latency.figures(),
            first_token_ms: (self.first_token.count() > 0).then(|| self.first_token.figures()),
            send_delay_ms: is_open.then(|| self.delay.figures()),
            phases_ms: PHASES
                .iter()
                .zip(&self.phases)
                .filter(|(_, times)| times.count() > 0)
                .map(|(name, times)| ((*name).to_owned(), times.figures()))
                .collect(),
            tokens: told.then(|| Tokens {
                prompt: prompt_tokens as u64,
                reused: reused_tokens as u64,
                reasoning: reasoning_tokens as u64,
                verdict: verdict_tokens as u64,
                forced: forced_tokens as u64,
                written_per_s: written / all,
                computed_per_s: (prompt_tokens.saturating_sub(reused_tokens) as f64 + written) / all,
            }),
            batch: self.watched.0,
            process: self.watched.1,
            server: self.watched.2,
            latency_histogram_us: self.latency.buckets(),
            ended_in_slices: slices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sample(number: u64, due: u32, sent: u32, ended: u32) -> Sample {
        let outcome = Ok(Measured::default());
        Sample { number, item: None, due: MS * due, sent: MS * sent, ended: MS * ended, outcome }
    }

    fn finished(mut gathered: Gathered) -> Gathered {
        let begin = Instant::now();
        gathered.finish(Some(begin), begin + Duration::from_secs(60), None, &Watched::default());
        gathered
    }

    #[test]
    fn latency_counts_from_when_a_judgment_was_due() {
        let load = Load::Open { rate: 10.0, arrivals: super::super::schedule::Arrivals::Even, burst: 1 };
        let mut gathered = Gathered::new(load);
        for number in 0..1000 {
            // A stall of the sender: all are sent at its end, and answered at once.
            let due = u32::try_from(number).unwrap();
            gathered.add(&sample(number, due, 1000, 1001));
        }
        let point = finished(gathered).point(&[]);
        assert!((point.latency_ms.p50.unwrap() - 501.0).abs() < 2.0, "{:?}", point.latency_ms);
        assert!((point.send_delay_ms.unwrap().max - 1000.0).abs() < 2.0);
    }

    #[test]
    fn a_quantile_is_given_only_where_it_is_not_the_maximum() {
        let mut times = Times::new();
        (1..=99u32).for_each(|ms| times.add(MS * ms));
        let figures = times.figures();
        assert!((figures.p90.unwrap() - 90.0).abs() < 0.2 && (figures.max - 99.0).abs() < 0.2);
        assert_eq!((figures.p99, figures.p999), (None, None));
        times.add(MS * 100);
        assert!((times.figures().p99.unwrap() - 99.0).abs() < 0.2);
        assert_eq!(Times::new().figures().p50, None);
    }

    #[test]
    fn failures_are_counted_by_kind_and_take_no_part_in_latencies() {
        let mut gathered = Gathered::new(Load::Closed { concurrency: 1 });
        gathered.add(&sample(0, 0, 0, 10));
        for (number, kind) in [(1, "timeout"), (2, "network"), (3, "timeout")] {
            let outcome = Err(Trouble::new(kind, format!("number {number}")));
            gathered.add(&Sample { outcome, ..sample(number, 0, 0, 5000) });
        }
        let objective: Objective = "p99=2s".parse().unwrap();
        let point = finished(gathered).point(&[objective]);
        assert_eq!((point.succeeded, point.failed, point.failures["timeout"].count), (1, 3, 2));
        assert_eq!(point.failures["timeout"].first, "number 1");
        assert!(point.latency_ms.max < 11.0);
        assert!(!point.objectives[0].held && (point.objectives[0].within - 0.25).abs() < 1e-9);
    }

    #[test]
    fn rate_and_goodput_are_over_the_whole_time() {
        let mut gathered = Gathered::new(Load::Closed { concurrency: 2 });
        for number in 0..100u32 {
            gathered.add(&sample(
                number.into(),
                number * 20,
                number * 20,
                number * 20 + if number < 50 { 20 } else { 200 },
            ));
        }
        let point = finished(gathered).point(&["p50=100ms".parse().unwrap()]);
        assert!((point.seconds - 2.18).abs() < 1e-6);
        assert!((point.judgments_per_s - 100.0 / 2.18).abs() < 1e-6, "{}", point.judgments_per_s);
        assert!((point.goodput_per_s.unwrap() - 50.0 / 2.18).abs() < 1e-6);
        assert_eq!(point.ended_in_slices.iter().sum::<u64>(), 100);
    }

    #[test]
    fn what_the_phases_leave_is_the_hosts() {
        let mut one = sample(0, 0, 5, 105);
        let mut measured = Measured::default();
        measured.phases[2] = Some(MS * 30);
        measured.phases[4] = Some(MS * 60);
        one.outcome = Ok(measured);
        assert_eq!(one.phases()[HOST], Some(MS * 10));
        assert_eq!(sample(0, 0, 5, 105).phases(), [None; 6], "nothing is known");
    }
}
