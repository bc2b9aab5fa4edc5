//! Results of an earlier run that a new run keeps, record by record, so that only the others are judged again.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use dicast::ErrorKind;
use serde::Deserialize;

use super::super::Failure;
use super::Files;
use super::lines::Numbered;

/// Which failed results are judged again. Results whose record has changed always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Retry {
    /// Those that may succeed the next time: timeouts, overload, a verdict that could not be read, the engine or network.
    Retryable,
    /// All.
    All,
}

/// Whether a result is an error, and of which kind.
#[derive(Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) error: Option<HeadError>,
}

/// The kind of an error.
#[derive(Deserialize)]
pub(super) struct HeadError {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    retryable: Option<bool>,
}

impl Head {
    /// Whether it is to be judged again.
    pub(super) fn is_retried(&self, retry: Option<Retry>) -> bool {
        let Some(error) = &self.error else { return false };
        match retry {
            None => false,
            Some(Retry::All) => true,
            Some(Retry::Retryable) => error
                .retryable
                .unwrap_or_else(|| ErrorKind::all().any(|kind| kind.name() == error.kind && kind.is_retryable())),
        }
    }
}

/// A result that is kept.
pub(super) struct Kept {
    pub(super) line: String,
    pub(super) failed: bool,
}

/// The results of an earlier run, in order; none if there was no such run.
#[derive(Default)]
pub(crate) struct Earlier {
    results: Option<BufReader<File>>,
    /// Checksums of the records of the results that are left.
    checksums: std::vec::IntoIter<u64>,
    retry: Option<Retry>,
}

impl Earlier {
    /// The results in a file, whose records had these checksums.
    pub(super) fn open(path: &Path, checksums: Vec<u64>, retry: Option<Retry>) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
        Ok(Self { results: Some(BufReader::new(file)), checksums: checksums.into_iter(), retry })
    }

    /// Skips the results of records that are done already.
    pub(super) fn skip(&mut self, count: usize) -> Result<(), Failure> {
        let mut line = Vec::new();
        for _ in 0..count.min(self.checksums.len()) {
            self.next_line(&mut line)?;
            self.checksums.next();
        }
        Ok(())
    }

    /// How many results are left.
    pub(super) fn left(&self) -> u64 {
        self.checksums.len() as u64
    }

    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<(), Failure> {
        line.clear();
        if let Some(results) = &mut self.results {
            results.read_until(b'\n', line).map_err(|error| Failure::io("cannot read the earlier results", &error))?;
        }
        Ok(())
    }

    /// The earlier result of the next record, if it is kept.
    pub(super) fn take(&mut self, record: &Numbered, files: &Files<'_>) -> Result<Option<Kept>, Failure> {
        let Some(checksum) = self.checksums.next() else { return Ok(None) };
        let mut bytes = Vec::new();
        self.next_line(&mut bytes)?;
        let damaged =
            || Failure::new(ErrorKind::Io, format!("{} was changed while it was read", files.output.display()));
        let line = String::from_utf8(bytes).map_err(|_| damaged())?;
        let head: Head = serde_json::from_str(&line).map_err(|_| damaged())?;
        let failed = head.error.is_some();
        if checksum != record.checksum {
            return if failed {
                Ok(None)
            } else {
                Err(files.other_input(format_args!("{} has changed since", record.place)))
            };
        }
        Ok((!head.is_retried(self.retry)).then_some(Kept { line, failed }))
    }

    /// Makes sure that every earlier result has found its record.
    pub(super) fn must_be_over(&self, files: &Files<'_>) -> Result<(), Failure> {
        match self.checksums.len() {
            0 => Ok(()),
            1 => Err(files.other_input("its last record is not there any more")),
            left => Err(files.other_input(format_args!("its last {left} records are not there any more"))),
        }
    }
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(format_args!("cannot read {}", path.display()), error)
}
