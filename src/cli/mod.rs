//! The command line: one file per verb, over the library.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 all judged, 1 a judgment failed or
//! was interrupted, 2 usage or set-up (see `ErrorKind::exit_code`).

mod aliases;
mod batch;
mod bench;
mod calibrate;
mod doctor;
mod dry_run;
mod eval;
mod export;
mod hub;
mod input;
mod judge;
mod merged;
mod model;
mod options;
mod outputs;
mod parse;
mod principles;
mod probe;
mod profile;
mod report;
mod run;
#[cfg(feature = "server")]
mod serve;
mod shell;
mod table;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use dicast::{Error, ErrorKind};

/// Judge responses by a principle in plain language.
#[derive(Parser)]
#[command(
    name = "dicast",
    version,
    after_help = "Exit codes: 0 all judged; 1 a judgment failed or was interrupted; 2 usage or set-up; 3 a score below \
                  --min-score."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(clap::Subcommand)]
enum Verb {
    Judge(judge::Args),
    Batch(batch::Args),
    Eval(eval::Args),
    Calibrate(Box<calibrate::Args>),
    #[cfg(feature = "server")]
    Serve(Box<serve::Args>),
    Bench(Box<bench::Args>),
    Report(report::Args),
    Export(export::Args),
    Parse(parse::Args),
    Principles(principles::Args),
    Profile(profile::Args),
    Doctor(doctor::Args),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
    /// Run an engine for the process that has started this one.
    #[command(hide = true)]
    EngineWorker,
}

/// An error on its way to the user: the library's, with a hint what to do next if that helps.
#[derive(Debug)]
pub(crate) struct Failure {
    error: Error,
    hint: Option<String>,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error::new(kind, message).into()
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file or stream that could not be read or written.
    fn io(doing: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("{doing}: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, hint: None }
    }
}

/// How a verb ends: with an exit code, or with a failure that determines the exit code.
type Outcome = Result<ExitCode, Failure>;

/// Exit code of a verb that ran but some of whose judgments failed.
const FAILED: u8 = 1;

/// Parses the arguments, runs the verb, and reports what went wrong.
pub(crate) fn main() -> ExitCode {
    // Usage errors end here with code 2, `--help` and `--version` with 0.
    let cli = Cli::parse();
    let outcome = match cli.verb {
        Verb::Judge(args) => judge::run(&args),
        Verb::Batch(args) => batch::run(&args),
        #[cfg(feature = "server")]
        Verb::Serve(args) => serve::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Calibrate(args) => calibrate::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Parse(args) => parse::run(&args),
        Verb::Principles(args) => principles::run(&args),
        Verb::Profile(args) => profile::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Completions(args) => shell::completions(&args),
        Verb::Man(args) => shell::man(&args),
        Verb::EngineWorker => worker::run(),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.error.kind().exit_code())
        }
    }
}

/// Writes a failure to standard error.
fn complain(failure: &Failure) {
    let mut message = format!("error: {}\n", table::printable(failure.error.message(), true));
    if let Some(hint) = &failure.hint {
        message.push_str("hint: ");
        message.push_str(hint);
        message.push('\n');
    }
    note(&message);
}

/// Writes text for people to standard error; does nothing if that is closed.
fn note(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes a result to standard output. If the reader has closed it, that is not an error: it has seen what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}
