//! Shared by the verbs that judge record after record: reading, a bounded number of judgments at once, results in order, and
//! continuing after any kill. A verb defines by [`Work`] what a record means.

pub(crate) mod earlier;
pub(crate) mod formats;
mod journal;
pub(crate) mod lines;
mod pump;
mod report;
mod sink;
mod tally;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use dicast::engine::EngineKind;
use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Keys, Verdict};
use serde_json::Value;

use self::earlier::{Earlier, Retry};
use self::formats::{Compression, Encoder, First, Format, Records};
use self::journal::Journal;
use self::lines::Numbered;
use self::pump::{Ended, Event, Judging, Pump};
use self::report::Report;
use self::sink::{Sink, Stop, Stream};
use self::tally::Tally;
use super::{FAILED, Failure, Outcome, model};

/// What a verb does with the records of its input.
pub(crate) trait Work {
    /// What is kept of a record until its outcome is there.
    type Kept;

    /// Reads a record: what is kept of it, and the request made from it.
    fn request(&self, record: Numbered) -> (Self::Kept, dicast::Result<JudgeRequest>);

    /// The result of a record, as one line of JSON with its line end.
    ///
    /// # Errors
    /// Only an error that ends the whole run; the failure of a judgment is a result.
    fn line(&self, kept: Self::Kept, outcome: dicast::Result<Verdict>) -> Result<String, Failure>;

    /// What the results depend on besides the input. An output that was made with other settings is not continued.
    fn settings(&self) -> Value;
}

/// Where records come from and where results go.
pub(crate) struct Files<'a> {
    /// Input; `-` is standard input.
    pub(crate) input: &'a Path,
    /// Its format, where the name does not say it.
    pub(crate) input_format: Option<Format>,
    /// Output; `-` is standard output.
    pub(crate) output: &'a Path,
    /// Its format, where the name does not say it.
    pub(crate) output_format: Option<Format>,
    /// Which fields of a record hold the parts of a request.
    pub(crate) keys: &'a Keys,
    /// Most bytes of one record.
    pub(crate) record_bytes: usize,
    /// The option by which the user has an existing output replaced, for hints.
    pub(crate) replaced_by: &'static str,
}

/// Which records are judged, and how many at once.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Whether an existing output is replaced.
    pub(crate) overwrite: bool,
    /// Which failed results of an earlier run are made again.
    pub(crate) retry: Option<Retry>,
    /// Only this many records from the start.
    pub(crate) limit: Option<u64>,
    /// Most judgments at once, if fewer are wanted than the engine decodes.
    pub(crate) concurrency: Option<u32>,
    /// Whether nothing is shown.
    pub(crate) quiet: bool,
}

impl Files<'_> {
    /// Opens the input.
    pub(crate) fn open(&self) -> Result<Box<dyn Records>, Failure> {
        formats::open(self.input, self.input_format, self.keys, self.record_bytes)
    }

    /// Whether results cannot be read back: a pipe or a device, or standard output.
    pub(crate) fn is_stream(&self) -> bool {
        self.output == Path::new("-")
            || std::fs::metadata(self.output).is_ok_and(|file| !file.is_file() && !file.is_dir())
    }

    pub(crate) fn input_name(&self) -> String {
        if self.input == Path::new("-") { "standard input".into() } else { self.input.display().to_string() }
    }

    fn output_name(&self) -> String {
        if self.output == Path::new("-") { "standard output".into() } else { self.output.display().to_string() }
    }

    fn encoding(&self) -> (Format, Compression) {
        let (format, compression) = Format::of(self.output);
        (self.output_format.unwrap_or(format), compression)
    }

    /// Where results are collected as JSON Lines: the output itself, or a file beside one of another format.
    fn working(&self) -> PathBuf {
        if self.encoding() == (Format::Jsonl, Compression::None) {
            return self.output.to_owned();
        }
        let mut name = self.output.as_os_str().to_owned();
        name.push(".results.jsonl");
        name.into()
    }

    /// The failure if an output belongs to other input.
    fn other_input(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(ErrorKind::InvalidConfig, format!("{} was made from other input: {what}", self.output.display()))
            .hint(journal::hint(self.replaced_by))
    }

    /// Writes the output in its own format from the collected results.
    fn export(&self, working: &Path) -> Result<(), Failure> {
        let cannot_write =
            |error: std::io::Error| Failure::io(format_args!("cannot write {}", self.output.display()), &error);
        let mut new = self.output.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let (format, compression) = self.encoding();
        let file = File::create(&new).map_err(cannot_write)?;
        let mut encoder = Encoder::new(std::io::BufWriter::new(file), self.output, format, compression)?;
        let results = File::open(working)
            .map_err(|error| Failure::io(format_args!("cannot read {}", working.display()), &error))?;
        let mut results = BufReader::new(results);
        let mut line = String::new();
        while results.read_line(&mut line).map_err(cannot_write)? > 0 {
            encoder.push(&line).map_err(cannot_write)?;
            line.clear();
        }
        encoder.finish().map_err(cannot_write)?;
        std::fs::rename(&new, self.output).map_err(cannot_write)
    }
}

/// Does the work: judges each record that has no result yet.
pub(crate) fn run(work: &impl Work, files: &Files<'_>, plan: Plan, config: JudgeConfig) -> Outcome {
    let records = Peeked::new(files.open()?);
    if files.is_stream() {
        if files.output == Path::new("-") {
            return run_stream(work, files, plan, config, records, std::io::stdout());
        }
        let device = File::options().write(true).open(files.output);
        let device =
            device.map_err(|error| Failure::io(format_args!("cannot write {}", files.output.display()), &error))?;
        return run_stream(work, files, plan, config, records, device);
    }
    if same_file(files.input, files.output) {
        return Err(Failure::new(ErrorKind::InvalidConfig, "input and output are the same file"));
    }
    if let (Format::Parquet, compression) = files.encoding() {
        // Checked before anything is judged, not at the end.
        Encoder::new(std::io::sink(), files.output, Format::Parquet, compression)?;
    }
    let working = files.working();
    if working != files.output && files.output.exists() && !plan.overwrite && !working.exists() {
        return Err(Failure::new(
            ErrorKind::InvalidConfig,
            format!("{} exists, and nothing says what it was made from", files.output.display()),
        )
        .hint(journal::hint(files.replaced_by)));
    }
    let mut session = Session::open(work, files, plan, records, &working)?;
    let ended = session.judge(work, files, plan, config)?;
    let is_complete = matches!(ended.1, Ended::Complete);
    let changed = session.journal.replaces() || ended.0.written > 0;
    if is_complete {
        session.journal.commit()?;
        if working != files.output && (changed || !files.output.exists()) {
            files.export(&working)?;
        }
    }
    let (tally, ended) = ended;
    conclude(ended, session.done, &tally)
}

/// Judges into a stream, which cannot be continued.
fn run_stream(
    work: &impl Work,
    files: &Files<'_>,
    plan: Plan,
    config: JudgeConfig,
    mut records: Peeked,
    out: impl Write + Send,
) -> Outcome {
    let (format, compression) = files.encoding();
    let mut stream = Stream::new(Encoder::new(out, files.output, format, compression)?, files.output_name());
    records.limit(plan.limit);
    let (tally, ended) =
        judge(work, files, plan, config, records, Done::default(), &mut Earlier::default(), &mut stream)?;
    if !matches!(ended, Ended::ReaderGone) {
        match stream.finish() {
            Err(Stop::Failed(failure)) if !matches!(ended, Ended::Broken(_)) => return Err(failure),
            _ => {}
        }
    }
    conclude(ended, Done::default(), &tally)
}

/// How a run ends for the caller.
fn conclude(ended: Ended, done: Done, tally: &Tally) -> Outcome {
    match ended {
        Ended::ReaderGone => Ok(ExitCode::SUCCESS),
        Ended::Complete => {
            let failed = done.failed + tally.kept_failed + tally.failed();
            Ok(if failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
        }
        Ended::Interrupted => Err(Failure::new(ErrorKind::Cancelled, "interrupted")
            .hint(format!("{} results are kept: run the same command again to continue", done.lines + tally.written))),
        Ended::Broken(failure) => Err(failure),
    }
}

/// What an earlier run left.
#[derive(Clone, Copy, Default)]
struct Done {
    lines: u64,
    failed: u64,
}

/// A run into a file.
struct Session {
    journal: Journal,
    records: Option<Peeked>,
    earlier: Earlier,
    done: Done,
    /// Keeps other processes off the results that are being replaced.
    _replaced: Option<Journal>,
}

impl Session {
    /// Finds out what is done already, and what must be done again.
    fn open(
        work: &impl Work,
        files: &Files<'_>,
        plan: Plan,
        mut records: Peeked,
        working: &Path,
    ) -> Result<Self, Failure> {
        let settings = work.settings();
        if plan.overwrite {
            let replaced = Journal::lock(working, files.replaced_by)?;
            return Self::replace(files, plan, records, working, &settings, replaced, Earlier::default());
        }
        let journal = Journal::open(working, &settings, files.replaced_by)?;
        let mut redo = match plan.retry {
            Some(retry) => journal.has_retried(retry)?,
            None => false,
        };
        if !redo {
            match skip(&mut records, &journal, files)? {
                Skipped::All => {
                    let done = Done { lines: journal.done().len() as u64, failed: journal.failed() };
                    records.limit(plan.limit.map(|limit| limit.saturating_sub(done.lines)));
                    return Ok(Self {
                        journal,
                        records: Some(records),
                        earlier: Earlier::default(),
                        done,
                        _replaced: None,
                    });
                }
                Skipped::UpToChanged => {
                    if files.input == Path::new("-") {
                        return Err(Failure::new(
                            ErrorKind::InvalidConfig,
                            format!("a record has changed, and its result in {} is an error", files.output.display()),
                        )
                        .hint("give --retry-failed to judge it again"));
                    }
                    records = Peeked::new(files.open()?);
                    redo = true;
                }
            }
        }
        debug_assert!(redo, "results are replaced only where some are made again");
        let earlier = Earlier::open(working, journal.done().to_vec(), plan.retry)?;
        Self::replace(files, plan, records, working, &settings, journal, earlier)
    }

    /// A run whose results replace the existing ones.
    fn replace(
        files: &Files<'_>,
        plan: Plan,
        mut records: Peeked,
        working: &Path,
        settings: &Value,
        replaced: Journal,
        mut earlier: Earlier,
    ) -> Result<Self, Failure> {
        let mut journal = Journal::replacing(working, settings, files.replaced_by, false)?;
        if !matches!(skip(&mut records, &journal, files), Ok(Skipped::All)) {
            // Left by a run with other input.
            if files.input == Path::new("-") {
                return Err(files.other_input("standard input has changed since the run that was interrupted"));
            }
            records = Peeked::new(files.open()?);
            drop(journal);
            journal = Journal::replacing(working, settings, files.replaced_by, true)?;
        }
        let done = Done { lines: journal.done().len() as u64, failed: journal.failed() };
        earlier.skip(journal.done().len())?;
        let least = earlier.left();
        records.limit(plan.limit.map(|limit| limit.saturating_sub(done.lines).max(least)));
        Ok(Self { journal, records: Some(records), earlier, done, _replaced: Some(replaced) })
    }

    fn judge(
        &mut self,
        work: &impl Work,
        files: &Files<'_>,
        plan: Plan,
        config: JudgeConfig,
    ) -> Result<(Tally, Ended), Failure> {
        let records = self.records.take().expect("a session judges once");
        judge(work, files, plan, config, records, self.done, &mut self.earlier, &mut self.journal)
    }
}

/// Judges what is left of `records`.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, put together in this one place")]
fn judge(
    work: &impl Work,
    files: &Files<'_>,
    plan: Plan,
    config: JudgeConfig,
    mut records: Peeked,
    done: Done,
    earlier: &mut Earlier,
    sink: &mut impl Sink,
) -> Result<(Tally, Ended), Failure> {
    if !records.has_more()? && earlier.left() == 0 {
        Report::new(files, plan, done).finish(&Tally::default());
        return Ok((Tally::default(), Ended::Complete));
    }
    let judge = model::open(config)?;
    let in_flight = in_flight(&judge, plan.concurrency)?;
    let (events, incoming) = mpsc::channel();
    interruption(&events, || Event::Interrupted)?;
    let mut report = Report::new(files, plan, done);
    let (tally, ended) =
        pump(work, &judge, sink, files, earlier, in_flight, records, (events, incoming), done.lines + 1, |tally| {
            report.update(tally);
        });
    // Cancels what still runs and waits for the engine's thread: if the process exits while it runs, it may crash.
    drop(judge);
    if !matches!(ended, Ended::ReaderGone) {
        report.finish(&tally);
    }
    Ok((tally, ended))
}

/// How many judgments are submitted at once: as many as the engine decodes at once, and a few more whose prompts are ready
/// for the next free place.
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
fn pump(
    work: &impl Work,
    judge: &impl Judging,
    sink: &mut impl Sink,
    files: &Files<'_>,
    earlier: &mut Earlier,
    in_flight: usize,
    records: impl Records + 'static,
    (events, incoming): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    first: u64,
    progress: impl FnMut(&Tally),
) -> (Tally, Ended) {
    let permits = pump::read_ahead(records, events.clone());
    Pump { work, judge, sink, files, earlier, in_flight, permits, events, incoming }.run(first, progress)
}

/// The first interruption ends the run cleanly, through the event that `interrupted` makes; a second one ends the process.
pub(crate) fn interruption<E: Send + 'static>(
    events: &mpsc::Sender<E>,
    interrupted: impl Fn() -> E + Send + 'static,
) -> Result<(), Failure> {
    let events = events.clone();
    let mut asked = false;
    ctrlc::set_handler(move || {
        if asked || events.send(interrupted()).is_err() {
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

/// Records whose next one can be looked at without taking it.
struct Peeked {
    records: Box<dyn Records>,
    next: Option<Numbered>,
}

impl Peeked {
    fn new(records: Box<dyn Records>) -> Self {
        Self { records, next: None }
    }

    fn has_more(&mut self) -> Result<bool, Failure> {
        if self.next.is_none() {
            self.next = self.records.next_record()?;
        }
        Ok(self.next.is_some())
    }

    /// Ends after `limit` further records.
    fn limit(&mut self, limit: Option<u64>) {
        if let Some(left) = limit {
            let rest = std::mem::replace(self, Self::new(Box::new(NoRecords)));
            *self = Self::new(Box::new(First { records: rest, left }));
        }
    }
}

impl Records for Peeked {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        match self.next.take() {
            Some(record) => Ok(Some(record)),
            None => self.records.next_record(),
        }
    }
}

struct NoRecords;

impl Records for NoRecords {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        Ok(None)
    }
}

/// Whether the records that are done are still the same.
enum Skipped {
    All,
    /// A record has changed whose result is an error.
    UpToChanged,
}

/// Skips the records that are done, and makes sure that they have not changed.
fn skip(records: &mut impl Records, journal: &Journal, files: &Files<'_>) -> Result<Skipped, Failure> {
    for (index, &checksum) in journal.done().iter().enumerate() {
        let Some(record) = records.next_record()? else {
            return Err(files.other_input(format_args!("record {} is not there any more", index + 1)));
        };
        if record.checksum != checksum {
            if journal.has_failed(index) {
                return Ok(Skipped::UpToChanged);
            }
            return Err(files.other_input(format_args!("{} has changed since", record.place)));
        }
    }
    Ok(Skipped::All)
}

#[cfg(test)]
mod tests;
