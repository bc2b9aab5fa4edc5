//! What the user sees of a run, on standard error.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::super::{note, table};
use super::formats::Format;
use super::tally::Tally;
use super::{Done, Files, Plan};

/// How often a line of progress is printed if there is no terminal.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// A terminal with fewer columns gets no bar, only numbers.
const BAR_COLUMNS: u16 = 60;
/// Most characters of a failure that the summary quotes.
const QUOTED: usize = 160;

/// Progress while a run goes on, and a summary at its end.
pub(super) struct Report {
    input: String,
    output: String,
    quiet: bool,
    done: Done,
    total: Option<u64>,
    started: Instant,
    bar: ProgressBar,
    logs: bool,
    logged: Instant,
}

impl Report {
    pub(super) fn new(files: &Files<'_>, plan: Plan, done: Done) -> Self {
        let total = if plan.quiet { None } else { count_records(files) };
        let total = match (total, plan.limit) {
            (Some(total), Some(limit)) => Some(total.min(limit.max(done.lines))),
            (total, _) => total,
        };
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if plan.quiet || !is_terminal { ProgressBar::hidden() } else { progress_bar(total) };
        bar.set_position(done.lines);
        bar.reset_eta();
        let now = Instant::now();
        let logs = !plan.quiet && !is_terminal;
        let (input, output) = (files.input_name(), files.output_name());
        Self { input, output, quiet: plan.quiet, done, total, started: now, bar, logs, logged: now }
    }

    pub(super) fn update(&mut self, tally: &Tally) {
        let failed = tally.failed() + tally.kept_failed + self.done.failed;
        self.bar.set_position(self.done.lines + tally.written);
        if failed > 0 {
            self.bar.set_message(format!("{failed} failed"));
        }
        if self.logs && self.logged.elapsed() >= LOG_EVERY {
            self.logged = Instant::now();
            let rate = rate(tally.judged + tally.failed(), self.started.elapsed());
            let written = self.done.lines + tally.written;
            let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
            let left = self.total.filter(|_| rate > 0.0).map(|total| left(total.saturating_sub(written), rate));
            let left = left.map(|left| format!(", {left} left")).unwrap_or_default();
            note(&format!("{}: {written}{of} results, {failed} failed, {rate:.2} judgments/s{left}\n", self.output));
        }
    }

    pub(super) fn finish(&self, tally: &Tally) {
        self.bar.finish_and_clear();
        if !self.quiet {
            note(&self.summary(tally, self.started.elapsed()));
        }
    }

    /// The summary: results and failures of the output, rates of this run alone.
    fn summary(&self, tally: &Tally, elapsed: Duration) -> String {
        let (lines, failed) = (self.done.lines + tally.written, self.done.failed + tally.kept_failed + tally.failed());
        let before = self.done.lines + tally.kept;
        let place = &self.output;
        if tally.judged + tally.failed() == 0 && before > 0 {
            return format!("{place} is complete: {lines} results, {failed} failed\n");
        }
        let of_before = if before > 0 { format!(", {before} of them before") } else { String::new() };
        let seconds = elapsed.as_secs_f64();
        let judgments = rate(tally.judged + tally.failed(), elapsed);
        let mut text = format!(
            "{place}: {lines} results{of_before}, {failed} failed, {seconds:.1} s, {judgments:.2} judgments/s\n"
        );
        for (kind, (count, first)) in &tally.failures {
            let first = table::printable(first, false);
            let quoted: String = first.chars().take(QUOTED).collect();
            let cut = if quoted.len() < first.len() { "…" } else { "" };
            let _ = writeln!(text, "  {count} {kind}, the first: {}, {quoted}{cut}", self.input);
        }
        if tally.judged > 0 {
            let tokens = rate(
                tally.prompt_tokens - tally.reused_tokens.min(tally.prompt_tokens) + tally.written_tokens,
                elapsed,
            );
            let reused = (100 * tally.reused_tokens).checked_div(tally.prompt_tokens).unwrap_or(0);
            let _ = writeln!(
                text,
                "  tokens: {} of prompts ({reused}% reused), {} written, {tokens:.0} computed/s",
                tally.prompt_tokens, tally.written_tokens
            );
            if tally.ties > 0 {
                let _ = writeln!(text, "  with equal scores: {}", tally.ties);
            }
            if tally.truncated > 0 {
                let _ = writeln!(
                    text,
                    "  reasoning ended by its budget: {} (--max-reasoning-tokens raises it)",
                    tally.truncated
                );
            }
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(1e-3)
}

/// The time that is left, in words.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate for people"
)]
fn left(count: u64, rate: f64) -> String {
    let seconds = (count as f64 / rate).min(1e9) as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A bar with rate and time left if the number of records is known, else a counter.
fn progress_bar(total: Option<u64>) -> ProgressBar {
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.1}/s", state.per_sec());
    };
    let template = |text| ProgressStyle::with_template(text).expect("a valid template").with_key("rate", rate);
    let columns = console::Term::stderr().size_checked().map_or(80, |(_, columns)| columns);
    let bar = match total {
        Some(total) if columns < BAR_COLUMNS => {
            ProgressBar::new(total).with_style(template("{pos}/{len} {rate} {eta} {msg}"))
        }
        Some(total) => ProgressBar::new(total).with_style(template("{wide_bar} {pos}/{len} {rate} {eta} left {msg}")),
        None => ProgressBar::no_length().with_style(template("{spinner} {pos} {rate} {msg}")),
    };
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// The number of records of a file.
fn count_records(files: &Files<'_>) -> Option<u64> {
    let format = files.input_format.unwrap_or(Format::of(files.input).0);
    // Counting the rows of a table would read all of it.
    if files.input == Path::new("-") || !files.input.is_file() || format == Format::Parquet {
        return None;
    }
    let mut records = super::formats::open(files.input, files.input_format, files.keys, 1).ok()?;
    let mut count = 0;
    while records.next_record().ok()?.is_some() {
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_each_kind_of_failure_and_counts_this_run_alone() {
        let mut tally =
            Tally { written: 7, judged: 4, kept: 1, prompt_tokens: 1000, reused_tokens: 250, ..Tally::default() };
        tally.written_tokens = 250;
        tally.ties = 2;
        tally.failures.insert("timeout", (2, "line 9: too late".into()));
        let done = Done { lines: 3, failed: 1 };
        let now = Instant::now();
        let bar = ProgressBar::hidden();
        let report = Report {
            input: "i.jsonl".into(),
            output: "o.jsonl".into(),
            quiet: true,
            done,
            total: None,
            started: now,
            bar,
            logs: false,
            logged: now,
        };
        assert_eq!(
            report.summary(&tally, Duration::from_secs(2)),
            "o.jsonl: 10 results, 4 of them before, 3 failed, 2.0 s, 3.00 judgments/s\n  \
             2 timeout, the first: i.jsonl, line 9: too late\n  \
             tokens: 1000 of prompts (25% reused), 250 written, 500 computed/s\n  \
             with equal scores: 2\n"
        );
        assert_eq!(left(3600, 0.5), "2 h 0 min");
    }
}
