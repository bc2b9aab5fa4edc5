//! What is observed while a load runs: the engine's counters, and the processes.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dicast::engine::Stats;

use super::point::{Batch, Process};
use super::process::{self, Used};
use super::target::Target;

/// How often the engine is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// The processes are looked at this many times less often, because that takes milliseconds.
const PROCESS_EVERY: u32 = 5;

type Both = (Option<Used>, Option<Used>);

/// What was seen at one moment.
struct Seen {
    at: Instant,
    stats: Option<Stats>,
    /// This process and the server's.
    processes: Option<Both>,
}

/// What was seen during a load.
#[derive(Default)]
pub(super) struct Watched(Mutex<Vec<Seen>>);

/// Does `work` while a thread watches.
pub(super) fn during<T>(target: &dyn Target, server_pid: Option<u32>, work: impl FnOnce(&Watched) -> T) -> T {
    let watched = Watched::default();
    watched.look(target, server_pid);
    let (stop, stopped) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watched = &watched;
        scope.spawn(move || {
            let mut round = 0u32;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                round = round.wrapping_add(1);
                if round.is_multiple_of(PROCESS_EVERY) {
                    watched.look(target, server_pid);
                } else {
                    watched.add(Seen { at: Instant::now(), stats: target.stats(), processes: None });
                }
            }
        });
        let done = work(watched);
        drop(stop);
        done
    })
}

impl Watched {
    /// Looks at everything now.
    pub(super) fn look(&self, target: &dyn Target, server_pid: Option<u32>) {
        let processes = Some((process::used(std::process::id()), server_pid.and_then(process::used)));
        self.add(Seen { at: Instant::now(), stats: target.stats(), processes });
    }

    fn add(&self, seen: Seen) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // At ten a second, a load of a day.
        if all.len() < 1_000_000 {
            all.push(seen);
        }
    }

    /// What was seen from `begin` to `end`, when this many judgments succeeded: the engine's batches, this process, and the
    /// server's process.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub(super) fn between(
        &self,
        begin: Instant,
        end: Instant,
        succeeded: u64,
    ) -> (Option<Batch>, Option<Process>, Option<Process>) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let during: Vec<&Stats> =
            all.iter().filter(|seen| (begin..=end).contains(&seen.at)).filter_map(|seen| seen.stats.as_ref()).collect();
        let mean = |value: fn(&Stats) -> usize| {
            during.iter().map(|stats| value(stats) as f64).sum::<f64>() / during.len().max(1) as f64
        };
        // The counters on both sides of the load.
        let before = all.iter().rev().filter(|seen| seen.at <= begin).find_map(|seen| seen.stats);
        let after = all.iter().find(|seen| seen.at >= end).or(all.last()).and_then(|seen| seen.stats);
        let batch = before.zip(after).filter(|_| !during.is_empty()).map(|(before, after)| {
            let steps = after.steps.saturating_sub(before.steps);
            let computed = after.computed_tokens.saturating_sub(before.computed_tokens);
            Batch {
                running_mean: mean(|stats| stats.running),
                running_max: during.iter().map(|stats| stats.running).max().unwrap_or(0),
                waiting_mean: mean(|stats| stats.waiting),
                tokens_per_step: (steps > 0).then(|| computed as f64 / steps as f64),
            }
        });
        let process = |which: fn(&Both) -> Option<Used>| {
            let series: Vec<(Instant, Used)> =
                all.iter().filter_map(|seen| Some((seen.at, which(seen.processes.as_ref()?)?))).collect();
            let peak = series.iter().map(|(_, used)| used.resident).max()?;
            let cpu = cpu_at(&series, end) - cpu_at(&series, begin);
            let each = (succeeded > 0).then(|| cpu / succeeded as f64);
            Some(Process { cpu_seconds: cpu, cpu_seconds_per_judgment: each, peak_resident_bytes: peak })
        };
        (batch, process(|both| both.0), process(|both| both.1))
    }
}

/// Processor time at a moment, in seconds; between two samples it is assumed to grow evenly.
fn cpu_at(series: &[(Instant, Used)], at: Instant) -> f64 {
    let after = series.partition_point(|(seen, _)| *seen <= at);
    let seconds = |place: usize| series[place].1.cpu.as_secs_f64();
    if after == 0 || after == series.len() {
        return seconds(after.saturating_sub(1).min(series.len() - 1));
    }
    let ((begin, _), (end, _)) = (series[after - 1], series[after]);
    let share = (at - begin).as_secs_f64() / (end - begin).as_secs_f64().max(1e-9);
    seconds(after - 1) + (seconds(after) - seconds(after - 1)) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_two_looks_is_shared_out() {
        let start = Instant::now();
        let watched = Watched::default();
        for (second, cpu, running, resident) in [(0, 1, 0, 50), (10, 6, 4, 90), (20, 11, 8, 70)] {
            let at = start + Duration::from_secs(second);
            let used = Used { cpu: Duration::from_secs(cpu), resident };
            let mut stats = Stats::default();
            (stats.running, stats.steps, stats.computed_tokens) = (running, second * 10, second * 40);
            watched.add(Seen { at, stats: Some(stats), processes: Some((Some(used), None)) });
        }
        let (begin, end) = (start + Duration::from_secs(4), start + Duration::from_secs(14));
        let (batch, own, server) = watched.between(begin, end, 10);
        let (batch, own) = (batch.unwrap(), own.unwrap());
        assert!((own.cpu_seconds - 5.0).abs() < 1e-9 && (own.cpu_seconds_per_judgment.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!((own.peak_resident_bytes, server), (90, None));
        assert!((batch.running_mean - 4.0).abs() < 1e-9 && (batch.tokens_per_step.unwrap() - 4.0).abs() < 1e-9);
    }
}
