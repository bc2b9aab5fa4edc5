//! What verbs share that judge line after line: reading, a bounded number of judgments at once, results in order, and
//! going on after any kill. A verb says what a line means by [`Work`].

pub(crate) mod journal;
pub(crate) mod lines;
mod pump;
mod report;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;

use dicast::engine::EngineKind;
use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Verdict};
use serde_json::Value;

use self::journal::{Journal, Sink, Stream};
use self::lines::{Lines, Numbered};
use self::pump::{Counts, Ended, Event, Judging, Pump};
use self::report::Report;
use super::{FAILED, Failure, Outcome, model};

/// What a verb makes of the lines of its input.
pub(crate) trait Work {
    /// What is kept of a line until its outcome is there.
    type Kept;

    /// Reads a line: what is kept of it, and the request that it makes.
    fn request(&self, line: Numbered) -> (Self::Kept, dicast::Result<JudgeRequest>);

    /// The result of a line, as one line of the output with its line end.
    ///
    /// # Errors
    /// Only what ends the whole run; the failure of a judgment is a result.
    fn line(&self, kept: Self::Kept, outcome: dicast::Result<Verdict>) -> Result<String, Failure>;

    /// What the results depend on beside the input. An output that was made with other settings is not continued.
    fn settings(&self) -> Value;
}

/// Where lines come from, where results go, and what the user sees meanwhile.
pub(crate) struct Plan<'a> {
    /// Input; `-` is standard input.
    pub(crate) input: &'a Path,
    /// Output; `-` is standard output.
    pub(crate) output: &'a Path,
    /// Whether an output that is there is replaced.
    pub(crate) overwrite: bool,
    /// Most judgments at once, where fewer are wanted than the engine decodes.
    pub(crate) concurrency: Option<u32>,
    /// Whether nothing is shown.
    pub(crate) quiet: bool,
    /// Most bytes of one line.
    pub(crate) line_bytes: usize,
}

/// Where the lines come from.
type Input = Box<dyn BufRead + Send>;

/// Opens the input, which is found wrong before anything is loaded.
pub(crate) fn open_input(path: &Path) -> Result<Input, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(path).map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// Does the work: judges each line of `input` that has no result yet.
pub(crate) fn run(work: &impl Work, plan: &Plan<'_>, input: Input, config: JudgeConfig) -> Outcome {
    let mut lines = Lines::new(input, plan.line_bytes);
    if plan.output == Path::new("-") {
        return drive(work, plan, config, lines, Done::default(), &mut Stream(std::io::stdout()));
    }
    if is_device(plan.output) {
        let device = File::options().write(true).open(plan.output);
        let device =
            device.map_err(|error| Failure::io(format_args!("cannot write {}", plan.output.display()), &error))?;
        return drive(work, plan, config, lines, Done::default(), &mut Stream(device));
    }
    if same_file(plan.input, plan.output) {
        return Err(Failure::new(ErrorKind::InvalidConfig, "input and output are the same file"));
    }
    let mut journal = Journal::open(plan.output, &work.settings(), plan.overwrite)?;
    let done = Done { lines: skip(&mut lines, journal.done(), plan.output)?, failed: journal.failed() };
    drive(work, plan, config, lines, done, &mut journal)
}

/// Whether results cannot be read back from there: a pipe or a device, or standard output.
pub(crate) fn is_device(output: &Path) -> bool {
    output == Path::new("-") || std::fs::metadata(output).is_ok_and(|file| !file.is_file())
}

/// What an earlier run left.
#[derive(Clone, Copy, Default)]
struct Done {
    lines: u64,
    failed: u64,
}

/// Judges what is left of `lines`.
fn drive(
    work: &impl Work,
    plan: &Plan<'_>,
    config: JudgeConfig,
    mut lines: Lines<Input>,
    done: Done,
    sink: &mut impl Sink,
) -> Outcome {
    let has_more = lines.has_more().map_err(|error| Failure::io("cannot read the input", &error))?;
    if !has_more {
        Report::new(plan, done).finish(Counts::default());
        return Ok(exit_code(done.failed));
    }
    let judge = model::open(config)?;
    let in_flight = in_flight(&judge, plan.concurrency)?;
    let (events, incoming) = mpsc::channel();
    on_interrupt(&events)?;
    let report = Report::new(plan, done);
    let (counts, ended) = pump(work, &judge, sink, in_flight, lines, (events, incoming), done.lines + 1, |counts| {
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

/// How many judgments are submitted at once: what the engine decodes at once, and a few whose prompts wait ready for
/// the next free place. No more than that, since the deadline of a judgment runs from its submission.
fn in_flight(judge: &Judge, wanted: Option<u32>) -> Result<usize, Failure> {
    let capabilities = judge.capabilities();
    let wanted = wanted.map_or(usize::MAX, |wanted| wanted as usize);
    if capabilities.engine == EngineKind::Local && wanted != usize::MAX && wanted > capabilities.max_sequences {
        return Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!(
                "--concurrency {wanted}: the embedded engine decodes at most {} at once",
                capabilities.max_sequences
            ),
        ));
    }
    let decoded = capabilities.max_sequences.min(wanted).max(1);
    Ok((decoded + (decoded / 4).max(1)).min(judge.config().limits.max_queue))
}

/// Wires reader, judge and sink together, and runs them.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, put together in this one place")]
fn pump<R: BufRead + Send + 'static>(
    work: &impl Work,
    judge: &impl Judging,
    sink: &mut impl Sink,
    in_flight: usize,
    lines: Lines<R>,
    (events, incoming): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    first: u64,
    progress: impl FnMut(Counts),
) -> (Counts, Ended) {
    let permits = pump::read_ahead(lines, events.clone());
    Pump { work, judge, sink, in_flight, permits, events, incoming }.run(first, progress)
}

fn exit_code(failed: u64) -> ExitCode {
    if failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// The first interruption ends the run in good order, a second one the process.
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

#[cfg(test)]
mod tests;
