//! The output of a run and its journal. With them the same command continues after any kill, and nothing is lost or doubled.
//!
//! The journal of `out.jsonl` is `out.jsonl.state`. Its first line says what made the output (model, profile, options); each
//! further line is the checksum of one record of input, written before the result of that record. So after a kill the
//! journal is at least as long as the output, and every result can be checked against the record that it belongs to: an output
//! made from other input or other settings is refused, not continued. The journal stays when the run is complete, so that the
//! same command finds that nothing is left to do.
//!
//! If results are to be replaced, the new ones are written to `out.jsonl.new`, with their own journal, and replace the old ones
//! when all are there.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use dicast::ErrorKind;
use serde_json::{Value, json};

use super::super::Failure;
use super::earlier::{Head, Retry};
use super::sink::{Sink, Stop};

/// Version of the journal's format.
const FORMAT: u64 = 2;
/// Bytes of a checksum and its line end.
const ENTRY: usize = 17;

/// Results into a file with a journal beside it.
pub(super) struct Journal {
    path: PathBuf,
    output: File,
    state: File,
    /// Bytes of the output up to the last whole line.
    end: u64,
    /// Checksums of the records that are done already.
    checksums: Vec<u64>,
    /// Which of these failed, by their index from 0.
    failed: HashSet<usize>,
    /// The path that a replacement gets when it is complete.
    replaces: Option<PathBuf>,
    /// The option by which the user has results replaced, for hints.
    option: &'static str,
}

/// A path with a further ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

impl Journal {
    /// Opens the output at `path`, new or to be continued, for results made with `settings`. `option` is the one that replaces
    /// existing results.
    pub(super) fn open(path: &Path, settings: &Value, option: &'static str) -> Result<Self, Failure> {
        finish_replacement(path)?;
        let had_output = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if had_output && !beside(path, ".state").exists() {
            return Err(Failure::new(
                ErrorKind::InvalidConfig,
                format!("{} exists, and nothing says what it was made from", path.display()),
            )
            .hint(hint(option)));
        }
        let mut journal = Self::lock(path, option)?;
        journal.resume(settings).map_err(|error| match error {
            Resume::Io(error) => Failure::io(format_args!("cannot read {}", path.display()), &error),
            Resume::Other(failure) => failure,
        })?;
        Ok(journal)
    }

    /// Opens the replacement of the output at `path`: a new one, or one that an earlier run with the same settings left unfinished.
    pub(super) fn replacing(
        path: &Path,
        settings: &Value,
        option: &'static str,
        is_new: bool,
    ) -> Result<Self, Failure> {
        finish_replacement(path)?;
        let new = beside(path, ".new");
        // Before its journal: if only the journal is left, the results have already replaced the old ones.
        let created = OpenOptions::new().write(true).create(true).truncate(false).open(&new);
        created.map_err(|error| cannot_write(&new, &error))?;
        let mut journal = Self::lock(&new, option)?;
        if is_new || journal.resume(settings).is_err() {
            let restart = |journal: &mut Self| {
                journal.output.set_len(0)?;
                journal.output.seek(SeekFrom::Start(0))?;
                (journal.end, journal.checksums, journal.failed) = (0, Vec::new(), HashSet::new());
                journal.begin(settings)
            };
            restart(&mut journal).map_err(|error| match error {
                Resume::Io(error) => cannot_write(&new, &error),
                Resume::Other(failure) => failure,
            })?;
        }
        journal.replaces = Some(path.to_owned());
        Ok(journal)
    }

    /// Opens both files as they are, for this process alone.
    pub(super) fn lock(path: &Path, option: &'static str) -> Result<Self, Failure> {
        let state_path = beside(path, ".state");
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let state = open(&state_path).map_err(|error| cannot_write(path, &error))?;
        match state.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    ErrorKind::InvalidConfig,
                    format!("{} is being written by another process", path.display()),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(cannot_write(&state_path, &error)),
        }
        let output = open(path).map_err(|error| cannot_write(path, &error))?;
        let (checksums, failed) = (Vec::new(), HashSet::new());
        Ok(Self { path: path.into(), output, state, end: 0, checksums, failed, replaces: None, option })
    }

    /// Checksums of the records that have results.
    pub(super) fn done(&self) -> &[u64] {
        &self.checksums
    }

    /// How many of the existing results are errors.
    pub(super) fn failed(&self) -> u64 {
        self.failed.len() as u64
    }

    /// Whether the result of record `index`, counted from 0, is an error.
    pub(super) fn has_failed(&self, index: usize) -> bool {
        self.failed.contains(&index)
    }

    /// Whether any of the existing results is to be made again.
    pub(super) fn has_retried(&self, retry: Retry) -> Result<bool, Failure> {
        if self.failed.is_empty() || retry == Retry::All {
            return Ok(!self.failed.is_empty());
        }
        let cannot_read = |error: io::Error| Failure::io(format_args!("cannot read {}", self.path.display()), &error);
        let mut reader = BufReader::new(File::open(&self.path).map_err(cannot_read)?);
        let mut line = Vec::new();
        for _ in 0..self.checksums.len() {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(cannot_read)?;
            if serde_json::from_slice::<Head>(&line).is_ok_and(|head| head.is_retried(Some(retry))) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether its results are to replace others.
    pub(super) fn replaces(&self) -> bool {
        self.replaces.is_some()
    }

    /// Replaces the old results by the complete new ones.
    pub(super) fn commit(self) -> Result<(), Failure> {
        let Some(target) = &self.replaces else { return Ok(()) };
        let cannot_replace = |error: io::Error| cannot_write(target, &error);
        self.output.sync_all().map_err(cannot_replace)?;
        std::fs::rename(&self.path, target).map_err(cannot_replace)?;
        std::fs::rename(beside(&self.path, ".state"), beside(target, ".state")).map_err(cannot_replace)
    }

    /// Reads both files, cuts them to the last line that is whole in both, and seeks to their ends.
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
                    .hint(hint(self.option)),
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
                .hint(hint(self.option)),
            ));
        }
        self.state.set_len(0)?;
        self.state.seek(SeekFrom::Start(0))?;
        let header = json!({ "format": FORMAT, "settings": settings });
        self.state.write_all(format!("{header}\n").as_bytes())?;
        Ok(())
    }

    /// Counts the whole results, at most as many as the journal has.
    fn count_output(&mut self) -> Result<(), Resume> {
        self.output.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::new(&self.output);
        let mut line = Vec::new();
        let mut lines = 0;
        while lines < self.checksums.len() {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            // Only the last line can be torn. A machine that lost power may leave a line that is not JSON.
            let head = serde_json::from_slice::<Head>(&line).ok().filter(|_| line.last() == Some(&b'\n'));
            let Some(head) = head else { break };
            if head.error.is_some() {
                self.failed.insert(lines);
            }
            lines += 1;
            self.end += line.len() as u64;
        }
        self.checksums.truncate(lines);
        Ok(())
    }
}

impl Sink for Journal {
    fn append(&mut self, checksum: u64, result: &str) -> Result<(), Stop> {
        let entry = format!("{checksum:016x}\n");
        let written = self.state.write_all(entry.as_bytes()).and_then(|()| self.output.write_all(result.as_bytes()));
        if let Err(error) = written {
            // Remove the torn line, so that the file holds only whole results; a later run would cut it too.
            let _ = self.output.set_len(self.end);
            return Err(Failure::io(format_args!("cannot write {}", self.path.display()), &error)
                .hint("what is done is kept: run the same command again to continue")
                .into());
        }
        self.end += result.len() as u64;
        Ok(())
    }
}

/// What helps where results cannot be continued.
pub(super) fn hint(option: &str) -> String {
    format!("name another output, or give {option} to replace it")
}

/// Completes a replacement that was killed between its last two steps.
fn finish_replacement(path: &Path) -> Result<(), Failure> {
    let (new, new_state) = (beside(path, ".new"), beside(path, ".new.state"));
    if new_state.exists() && !new.exists() {
        std::fs::rename(&new_state, beside(path, ".state")).map_err(|error| cannot_write(path, &error))?;
    }
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let (io::ErrorKind::NotFound, Some(folder)) = (error.kind(), folder) {
        return Failure::new(ErrorKind::InvalidConfig, format!("the folder {} does not exist", folder.display()));
    }
    Failure::io(format_args!("cannot write {}", path.display()), error)
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

/// Says what differs between the settings in a journal's header and the current ones.
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
