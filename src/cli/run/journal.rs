//! The output of a batch and its journal: what makes the same command go on after any kill, nothing lost or doubled.
//!
//! Beside `out.jsonl` stands `out.jsonl.state`. Its first line says what made the output (model, profile, options); each
//! further line is the checksum of one line of input, written before the result of that line is. So after a kill the
//! journal is as long as the output or longer, and every result there can be held against the line that it belongs to:
//! an output of other input or other settings is refused, not continued. The journal stays when the batch is complete,
//! so that the same command once more finds that nothing is left to do.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use dicast::ErrorKind;
use serde_json::{Value, json};

use super::super::Failure;

/// Version of the journal's format.
const FORMAT: u64 = 1;
/// Bytes of a checksum and its line end.
const ENTRY: usize = 17;
/// How a failed line begins: as this command writes it.
const FAILED_LINE: &[u8] = b"{\"error\":";

/// What is written, in order.
pub(super) trait Sink {
    /// Appends the result of a line of input.
    fn append(&mut self, checksum: u64, result: &str) -> Result<(), Failure>;
}

/// Results into standard output: no journal, no way to go on.
pub(super) struct Stream<W>(pub(super) W);

impl<W: io::Write> Sink for Stream<W> {
    fn append(&mut self, _: u64, result: &str) -> Result<(), Failure> {
        self.0
            .write_all(result.as_bytes())
            .and_then(|()| self.0.flush())
            .map_err(|error| Failure::io("cannot write to standard output", &error))
    }
}

/// Results into a file with a journal beside it.
pub(super) struct Journal {
    path: PathBuf,
    output: File,
    state: File,
    /// Bytes of the output up to the last whole line.
    end: u64,
    /// Checksums of the lines of input that are done already.
    checksums: Vec<u64>,
    /// How many of these failed.
    failed: u64,
}

impl Journal {
    /// Opens the output at `path`, new or to be continued, for results made with `settings`.
    pub(super) fn open(path: &Path, settings: &Value, overwrite: bool) -> Result<Self, Failure> {
        let mut state_path = path.as_os_str().to_owned();
        state_path.push(".state");
        let state_path = PathBuf::from(state_path);
        let cannot_open = |path: &Path| {
            let place = path.display().to_string();
            move |error: io::Error| Failure::io(format_args!("cannot write {place}"), &error)
        };
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);

        let had_output = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let had_state = state_path.exists();
        if had_output && !had_state && !overwrite {
            return Err(Failure::new(
                ErrorKind::InvalidConfig,
                format!("{} exists, and nothing says what it was made from", path.display()),
            )
            .hint("name another output, or give --overwrite to replace it"));
        }
        let state = open(&state_path).map_err(cannot_open(&state_path))?;
        match state.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    ErrorKind::InvalidConfig,
                    format!("{} is being written by another process", path.display()),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(cannot_open(&state_path)(error)),
        }
        let output = open(path).map_err(cannot_open(path))?;
        let cannot_read = |error: io::Error| Failure::io(format_args!("cannot read {}", path.display()), &error);
        if overwrite {
            output.set_len(0).map_err(cannot_read)?;
            state.set_len(0).map_err(cannot_read)?;
        }
        let mut journal = Self { path: path.into(), output, state, end: 0, checksums: Vec::new(), failed: 0 };
        journal.resume(settings).map_err(|error| match error {
            Resume::Io(error) => cannot_read(error),
            Resume::Other(failure) => failure,
        })?;
        Ok(journal)
    }

    /// Checksums of the lines of input whose results are there.
    pub(super) fn done(&self) -> &[u64] {
        &self.checksums
    }

    /// How many of the results that are there are errors.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Reads what is there, cuts both files to the last line that is whole in both, and stands at their ends.
    fn resume(&mut self, settings: &Value) -> Result<(), Resume> {
        self.state.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.state);
        let mut header = Vec::new();
        reader.read_until(b'\n', &mut header)?;
        let header_bytes = header.len() as u64;
        if header.pop() != Some(b'\n') {
            // New, or killed while the very first line was written: there is no result yet.
            return self.begin(settings);
        }
        compare(&header, settings).map_err(|what| {
            Resume::Other(
                Failure::new(ErrorKind::InvalidConfig, format!("{} was made {what}", self.path.display()))
                    .hint("name another output, or give --overwrite to replace it"),
            )
        })?;
        let mut entry = [0; ENTRY];
        loop {
            match reader.read_exact(&mut entry) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                other => other?,
            }
            let digits = std::str::from_utf8(&entry[..16]).ok();
            let Some(checksum) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { break };
            self.checksums.push(checksum);
        }
        self.count_output()?;
        self.output.set_len(self.end)?;
        self.output.seek(SeekFrom::Start(self.end))?;
        let state_end = header_bytes + (ENTRY * self.checksums.len()) as u64;
        self.state.set_len(state_end)?;
        self.state.seek(SeekFrom::Start(state_end))?;
        Ok(())
    }

    /// Starts an empty journal.
    fn begin(&mut self, settings: &Value) -> Result<(), Resume> {
        if self.output.metadata()?.len() > 0 {
            return Err(Resume::Other(
                Failure::new(
                    ErrorKind::InvalidConfig,
                    format!("{} holds results, but its journal is empty", self.path.display()),
                )
                .hint("name another output, or give --overwrite to replace it"),
            ));
        }
        self.state.set_len(0)?;
        self.state.seek(SeekFrom::Start(0))?;
        let header = json!({ "format": FORMAT, "settings": settings });
        self.state.write_all(format!("{header}\n").as_bytes())?;
        Ok(())
    }

    /// Counts the results that are whole, as many as the journal knows of.
    fn count_output(&mut self) -> Result<(), Resume> {
        self.output.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.output);
        let mut line = Vec::new();
        let mut lines = 0;
        while lines < self.checksums.len() {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            // A torn line is the last one. A machine that lost power may leave one that is no JSON.
            if line.last() != Some(&b'\n') || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_err() {
                break;
            }
            lines += 1;
            self.end += line.len() as u64;
            self.failed += u64::from(line.starts_with(FAILED_LINE));
        }
        self.checksums.truncate(lines);
        Ok(())
    }
}

impl Sink for Journal {
    fn append(&mut self, checksum: u64, result: &str) -> Result<(), Failure> {
        let entry = format!("{checksum:016x}\n");
        let written = self.state.write_all(entry.as_bytes()).and_then(|()| self.output.write_all(result.as_bytes()));
        if let Err(error) = written {
            // The torn line goes, so that the file holds whole results only; a later run would cut it too.
            let _ = self.output.set_len(self.end);
            return Err(Failure::io(format_args!("cannot write {}", self.path.display()), &error)
                .hint("what is done is kept: run the same command again to continue"));
        }
        self.end += result.len() as u64;
        Ok(())
    }
}

/// Why an output cannot be continued.
enum Resume {
    Io(io::Error),
    Other(Failure),
}

impl From<io::Error> for Resume {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Says what differs between the settings in a journal's header and those of now.
fn compare(header: &[u8], settings: &Value) -> Result<(), String> {
    let header: Value =
        serde_json::from_slice(header).map_err(|_| "by something else: its journal is damaged".to_owned())?;
    if header["format"] != FORMAT {
        return Err("by another release of dicast".into());
    }
    match difference("", &header["settings"], settings) {
        None => Ok(()),
        Some((key, was, is)) => Err(format!("with {key} {was}, which is now {is}")),
    }
}

/// The first key at which two JSON values differ.
fn difference(key: &str, was: &Value, is: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(was), Value::Object(is)) = (was, is) {
        return was.keys().chain(is.keys()).find_map(|name| {
            let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            difference(&inner, was.get(name).unwrap_or(&Value::Null), is.get(name).unwrap_or(&Value::Null))
        });
    }
    let show = |value: &Value| if value.is_null() { "not set".into() } else { value.to_string() };
    (was != is).then(|| (key.to_owned(), show(was), show(is)))
}
