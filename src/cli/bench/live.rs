//! What the user sees while a load runs, on standard error: one line that changes on a terminal, lines elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::note;
use super::load::Progress;
use super::point::{Shape, figure, time};

/// How often a line is printed if there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The view.
pub(super) struct Live {
    bar: Option<ProgressBar>,
    logs: bool,
    logged: Instant,
}

impl Live {
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (!quiet && terminal).then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("a valid template"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, logs: !quiet && !terminal, logged: Instant::now() }
    }

    /// Says what comes next.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None if self.logs => note(&format!("{text}\n")),
            None => {}
        }
    }

    pub(super) fn update(&mut self, progress: &Progress<'_>) {
        if let Some(bar) = &self.bar {
            bar.set_message(line(progress));
        } else if self.logs && self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            note(&format!("{}\n", line(progress)));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How far a load is, in one line.
fn line(progress: &Progress<'_>) -> String {
    let Progress { load, extent, gathered, in_flight, elapsed } = progress;
    let shape = Shape::from(**load);
    let Some(elapsed) = elapsed else {
        return format!("{shape}: warming up, {in_flight} running");
    };
    let (done, failed) = (gathered.succeeded(), gathered.failed());
    let of = match (extent.requests, extent.duration) {
        (Some(requests), _) => format!("{} of {requests}", done + failed),
        (None, Some(duration)) => {
            format!("{} s of {} s", elapsed.as_secs().min(duration.as_secs()), duration.as_secs())
        }
        (None, None) => format!("{} s", elapsed.as_secs()),
    };
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-3);
    let mut line = format!("{shape}: {of}, {in_flight} running, {}/s", figure(rate));
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        if let Some(ms) = gathered.latency.quantile(share) {
            let _ = write!(line, ", {name} {}", time(ms));
        }
    }
    if failed > 0 {
        let _ = write!(line, ", {failed} failed");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::gather::{Gathered, Sample};
    use super::super::load::{Extent, Load};
    use super::super::target::{Measured, Trouble};
    use super::*;

    #[test]
    fn a_line_says_how_far_a_load_is() {
        let load = Load::Closed { concurrency: 4 };
        let extent =
            Extent { requests: Some(50), duration: None, warmup: 0, max_in_flight: 1, drain: Duration::ZERO, seed: 0 };
        let mut gathered = Gathered::new(load);
        let second = Duration::from_secs(1);
        let mut add = |outcome| {
            let (due, sent) = (Duration::ZERO, Duration::ZERO);
            gathered.add(&Sample { number: 0, item: None, due, sent, ended: second, outcome });
        };
        add(Ok(Measured::default()));
        add(Ok(Measured::default()));
        add(Err(Trouble::new("timeout", "late")));
        let mut progress = Progress { load: &load, extent: &extent, gathered: &gathered, in_flight: 4, elapsed: None };
        assert_eq!(line(&progress), "4 in flight: warming up, 4 running");
        progress.elapsed = Some(second * 2);
        assert_eq!(line(&progress), "4 in flight: 3 of 50, 4 running, 1.00/s, p50 1000 ms, 1 failed");
    }
}
