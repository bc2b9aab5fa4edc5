//! `dicast batch`: requests from a JSON Lines file, one result a line, in order, continued after any kill.

mod journal;
mod lines;
mod pump;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dicast::config::Limits;
use dicast::{ErrorKind, JudgeConfig, Profile};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use self::journal::{Journal, Sink, Stream};
use self::lines::Lines;
use self::pump::{Counts, Ended, Event, Judging, Pump};
use super::checksum::Checksum;
use super::options::JudgeArgs;
use super::{FAILED, Failure, Outcome, input, model, note};

/// Judge a file of requests, one a line.
#[derive(clap::Args)]
#[command(after_help = "\
Each line of input is a request; each line of output is its result, or {\"error\": {\"kind\", \"message\"}}, in the same
order. Blank lines at the end are not lines; others are errors.

Run the same command again after an interruption: it goes on where it stopped. OUT.jsonl.state beside the output says what
the output was made from; delete it when you are done. What judges (model, profile, options) must stay the same, the input
may grow at its end, and \"limits\" and \"local\" of the configuration may change.")]
pub(crate) struct Args {
    /// Requests as JSON Lines; - is standard input.
    #[arg(value_name = "IN.jsonl")]
    input: PathBuf,
    /// Results as JSON Lines; - is standard output, which cannot be continued.
    #[arg(long, short, value_name = "OUT.jsonl")]
    output: PathBuf,
    /// Replace an output that is there, instead of continuing it.
    #[arg(long)]
    overwrite: bool,
    /// Judgments decoded at once, 1 to 64. Default: the configuration's `local.max_sequences`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: Option<u32>,
    /// No progress bar and no summary.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    judge: JudgeArgs,
}

/// Where the requests come from.
type Input = Box<dyn BufRead + Send>;

pub(crate) fn run(args: &Args) -> Outcome {
    let mut config = args.judge.config()?;
    if let Some(concurrency) = args.concurrency {
        config.local.max_sequences = concurrency;
    }
    let input = open_input(&args.input)?;
    let lines = Lines::new(input, input::request_bytes(&config.limits));
    if args.output == Path::new("-") {
        return drive(args, config, lines, Done::default(), &mut Stream(std::io::stdout()));
    }
    if std::fs::metadata(&args.output).is_ok_and(|file| !file.is_file()) {
        let device = File::options().write(true).open(&args.output);
        let device =
            device.map_err(|error| Failure::io(format_args!("cannot write {}", args.output.display()), &error))?;
        return drive(args, config, lines, Done::default(), &mut Stream(device));
    }
    if same_file(&args.input, &args.output) {
        return Err(Failure::new(ErrorKind::InvalidConfig, "input and output are the same file"));
    }
    // Found before it is opened: the output is held against it.
    config.model = model::locate(&config.model)?;
    let mut journal = Journal::open(&args.output, &fingerprint(&config)?, args.overwrite)?;
    let mut lines = lines;
    let done = Done { lines: skip(&mut lines, journal.done(), &args.output)?, failed: journal.failed() };
    drive(args, config, lines, done, &mut journal)
}

/// What an earlier run left.
#[derive(Clone, Copy, Default)]
struct Done {
    lines: u64,
    failed: u64,
}

/// Judges what is left of `lines`.
fn drive(args: &Args, config: JudgeConfig, mut lines: Lines<Input>, done: Done, sink: &mut impl Sink) -> Outcome {
    let has_more = lines.has_more().map_err(|error| Failure::io("cannot read the input", &error))?;
    if !has_more {
        Report::new(args, done).finish(Counts::default());
        return Ok(exit_code(done.failed));
    }
    let limits = config.limits.clone();
    // Twice what is decoded at once: the next prompt waits ready when a sequence becomes free.
    let in_flight = (config.local.max_sequences as usize * 2).min(limits.max_queue);
    let judge = model::open(config)?;
    let (events, incoming) = mpsc::channel();
    on_interrupt(&events)?;
    let report = Report::new(args, done);
    let (counts, ended) = pump(&judge, sink, &limits, in_flight, lines, (events, incoming), done.lines + 1, |counts| {
        report.update(counts);
    });
    // Cancels what still runs and waits for the engine's thread: a process that exits under it may crash.
    drop(judge);
    report.finish(counts);
    match ended {
        Ended::Complete => Ok(exit_code(done.failed + counts.failed)),
        Ended::Interrupted => Err(Failure::new(ErrorKind::Cancelled, "interrupted")
            .hint(format!("{} results are kept: run the same command again to continue", done.lines + counts.written))),
        Ended::Broken(failure) => Err(failure),
    }
}

/// Wires reader, judge and sink together, and runs them.
#[expect(clippy::too_many_arguments, reason = "the parts of a batch, put together in this one place")]
fn pump<R: BufRead + Send + 'static>(
    judge: &impl Judging,
    sink: &mut impl Sink,
    limits: &Limits,
    in_flight: usize,
    lines: Lines<R>,
    (events, incoming): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    first: u64,
    progress: impl FnMut(Counts),
) -> (Counts, Ended) {
    let permits = pump::read_ahead(lines, events.clone());
    Pump { judge, sink, limits, in_flight, permits, events, incoming }.run(first, progress)
}

fn exit_code(failed: u64) -> ExitCode {
    if failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// The first interruption ends the batch in good order, a second one the process.
fn on_interrupt(events: &mpsc::Sender<Event>) -> Result<(), Failure> {
    let events = events.clone();
    let mut asked = false;
    ctrlc::set_handler(move || {
        if asked || events.send(Event::Interrupted).is_err() {
            std::process::exit(i32::from(FAILED));
        }
        asked = true;
    })
    .map_err(|error| Failure::new(ErrorKind::Internal, format!("cannot catch interruptions: {error}")))
}

fn open_input(path: &Path) -> Result<Input, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

fn same_file(input: &Path, output: &Path) -> bool {
    match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    }
}

/// Passes over the lines that are done, and makes sure that they are the lines that were done.
fn skip(lines: &mut Lines<Input>, done: &[u64], output: &Path) -> Result<u64, Failure> {
    for (index, &checksum) in done.iter().enumerate() {
        let line = lines.next_line().map_err(|error| Failure::io("cannot read the input", &error))?;
        if line.as_ref().map(|line| line.checksum) != Some(checksum) {
            let what = if line.is_some() { "has changed since" } else { "is not there any more" };
            return Err(Failure::new(
                ErrorKind::InvalidConfig,
                format!("{} was made from other input: line {} {what}", output.display(), index + 1),
            )
            .hint("name another output, or give --overwrite to replace it"));
        }
    }
    Ok(done.len() as u64)
}

/// What the results depend on, beside the input. The model goes in by its content, so that it may be moved.
fn fingerprint(config: &JudgeConfig) -> Result<Value, Failure> {
    let model = Path::new(&config.model);
    let profile = match &config.profile {
        Some(named) => Profile::load(named)?,
        None => Profile::find(model)?.unwrap_or_else(Profile::builtin),
    };
    let mut checksum = Checksum::default();
    checksum.add(profile.to_json().as_bytes());
    Ok(json!({
        "model": model::fingerprint(model)?,
        "profile": { "name": profile.name, "checksum": checksum.to_string() },
        "options": config.options,
        "verdict": config.verdict,
    }))
}

/// What the user sees of a running batch, on standard error.
struct Report<'a> {
    output: &'a Path,
    quiet: bool,
    done: Done,
    started: Instant,
    bar: ProgressBar,
}

impl<'a> Report<'a> {
    fn new(args: &'a Args, done: Done) -> Self {
        let bar = if args.quiet { ProgressBar::hidden() } else { progress_bar(&args.input) };
        bar.set_position(done.lines);
        bar.reset_eta();
        Self { output: &args.output, quiet: args.quiet, done, started: Instant::now(), bar }
    }

    fn update(&self, counts: Counts) {
        self.bar.set_position(self.done.lines + counts.written);
        if counts.failed + self.done.failed > 0 {
            self.bar.set_message(format!("{} failed", counts.failed + self.done.failed));
        }
    }

    fn finish(&self, counts: Counts) {
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

#[cfg(test)]
mod tests;
