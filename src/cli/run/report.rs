//! What the user sees of a run, on standard error.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::super::note;
use super::lines::Lines;
use super::pump::Counts;
use super::{Done, Plan};

/// Progress while a run goes on, and a summary at its end.
pub(super) struct Report<'a> {
    output: &'a Path,
    quiet: bool,
    done: Done,
    started: Instant,
    bar: ProgressBar,
}

impl<'a> Report<'a> {
    pub(super) fn new(plan: &Plan<'a>, done: Done) -> Self {
        let bar = if plan.quiet { ProgressBar::hidden() } else { progress_bar(plan.input) };
        bar.set_position(done.lines);
        bar.reset_eta();
        Self { output: plan.output, quiet: plan.quiet, done, started: Instant::now(), bar }
    }

    pub(super) fn update(&self, counts: Counts) {
        self.bar.set_position(self.done.lines + counts.written);
        if counts.failed + self.done.failed > 0 {
            self.bar.set_message(format!("{} failed", counts.failed + self.done.failed));
        }
    }

    pub(super) fn finish(&self, counts: Counts) {
        self.bar.finish_and_clear();
        if self.quiet {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = counts.written as f64 / seconds.max(1e-3);
        let (lines, failed) = (self.done.lines + counts.written, self.done.failed + counts.failed);
        let before = if self.done.lines > 0 { format!(", {} of them before", self.done.lines) } else { String::new() };
        let place =
            if self.output == Path::new("-") { "standard output".into() } else { self.output.display().to_string() };
        note(&if counts.written == 0 && self.done.lines > 0 {
            format!("{place} is complete: {lines} results, {failed} failed\n")
        } else {
            format!("{place}: {lines} results{before}, {failed} failed, {seconds:.1} s, {rate:.2} a second\n")
        });
    }
}

/// A bar with rate and time left where the number of lines can be known, else a counter. Shown on a terminal only.
fn progress_bar(input: &Path) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1}/s", state.per_sec());
    };
    let template = |text| ProgressStyle::with_template(text).expect("a valid template").with_key("rate", rate);
    let bar = match count_lines(input) {
        Some(lines) => ProgressBar::new(lines).with_style(template("{bar:30} {pos}/{len} {rate} {eta} left {msg}")),
        None => ProgressBar::no_length().with_style(template("{spinner} {pos} {rate} {msg}")),
    };
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// The number of lines of a file, for the bar alone.
fn count_lines(input: &Path) -> Option<u64> {
    let file = File::open(input).ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))?;
    let mut lines = Lines::new(BufReader::with_capacity(1 << 16, file), 1);
    let mut count = 0;
    while lines.next_line().ok()?.is_some() {
        count += 1;
    }
    Some(count)
}
