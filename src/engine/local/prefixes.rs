//! Prefixes on disk: what was computed of the beginnings of prompts, for the next start.
//!
//! A file holds the keys and values of one prefix, as llama.cpp copies them out of a context. llama.cpp asserts much of
//! what it reads, and what it has read becomes part of verdicts. So it gets bytes only from a file that begins with exactly
//! the head that this engine would write (model, build, settings, tokens), has exactly the length that these tokens take,
//! and ends with its checksum. Whatever else a file is, the prefix is computed as if there were none.

mod folder;

use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use crate::config::LocalConfig;
use crate::engine::source::fingerprint_of_file;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Level, Log};

use super::gguf::Header;
use super::sizes;
use folder::{Folder, checksum_of, make_folder, room_for, wrong};

/// A prefix of fewer tokens is computed in no time.
pub(super) const FEWEST: usize = 16;
/// Prefixes that wait to be written, or are being written. They are in memory meanwhile.
const WAITING: usize = 2;

/// What distinguishes a model's files from all others while they stay where they are: their fingerprints, and what the
/// system notes of each change.
pub(super) fn files(header: &Header) -> Result<Value> {
    let file = |path: &PathBuf| {
        let metadata = std::fs::metadata(path)
            .map_err(|error| Error::new(ErrorKind::Io, format!("{}: {error}", path.display())))?;
        Ok(json!({ "fingerprint": fingerprint_of_file(path)?, "written": changes(&metadata) }))
    };
    header.files().iter().map(file).collect::<Result<Vec<_>>>().map(Value::from)
}

/// The fingerprint takes samples. No program can set back the time of the last change, and no two files have one number.
#[cfg(unix)]
fn changes(metadata: &Metadata) -> Value {
    use std::os::unix::fs::MetadataExt;
    json!([metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()])
}

#[cfg(not(unix))]
fn changes(metadata: &Metadata) -> Value {
    let written = metadata.modified().ok().and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    json!(written.map(|time| time.as_nanos().to_string()))
}

/// The size of a state, as far as it holds nothing but the keys and values of each layer for each token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    layers: u64,
    token_bytes: u64,
}

impl Shape {
    /// Bytes before the cells: a mark, the sequence, the number of streams, the number of cells.
    const HEAD: usize = 16;
    /// Bytes of a cell: its position, the number of its sequences, its sequence.
    const CELL: usize = 12;
    /// Bytes between cells and layers: whether values are transposed, the number of layers, two rotations.
    const MIDDLE: u64 = 16;
    /// Bytes of a layer besides its rows: the type and the length of a row, of keys and of values.
    const LAYER: u64 = 24;

    pub(super) fn of(header: &Header) -> Self {
        Self { layers: header.size("block_count").unwrap_or(0), token_bytes: sizes::bytes_of_a_token(header) }
    }

    /// Bytes of a state of this many tokens.
    pub(super) fn bytes(self, tokens: usize) -> u64 {
        let tokens = tokens as u64;
        let each = self.token_bytes.saturating_add(Self::CELL as u64);
        let layers = self.layers.saturating_mul(Self::LAYER);
        tokens.saturating_mul(each).saturating_add(layers).saturating_add(Self::HEAD as u64 + Self::MIDDLE)
    }

    /// Whether all keys and values are numbers. A judgment that failed for lack of that must not fail after every start.
    fn is_finite(state: &[u8], tokens: usize) -> bool {
        /// Of half precision: infinite, or no number.
        const NONE: u16 = 0x7C00;
        let (halves, _) = state[Self::HEAD + tokens * Self::CELL..].as_chunks::<2>();
        halves.iter().all(|&half| u16::from_ne_bytes(half) & NONE != NONE)
    }

    /// Whether `state` is one sequence of this many tokens at the first positions.
    fn fits(self, state: &[u8], tokens: usize) -> bool {
        let number = |at: usize| Some(u32::from_ne_bytes(state.get(at..at + 4)?.try_into().ok()?));
        let mut seen = vec![false; tokens];
        let mut cell = |index: usize| {
            let at = Self::HEAD + index * Self::CELL;
            let place = number(at).and_then(|place| seen.get_mut(place as usize));
            place.is_some_and(|seen| !std::mem::replace(seen, true)) && number(at + 4) == Some(1)
        };
        let middle = Self::HEAD + tokens * Self::CELL;
        state.len() as u64 == self.bytes(tokens)
            && number(8) == Some(1)
            && number(12).is_some_and(|cells| cells as usize == tokens)
            && (0..tokens).all(&mut cell)
            && number(middle) == Some(0)
            && number(middle + 4).map(u64::from) == Some(self.layers)
    }
}

/// A prefix to be written.
struct Written {
    tokens: Arc<[u32]>,
    state: Vec<u8>,
}

/// What takes the lines of the log.
#[derive(Default)]
struct Notes(OnceLock<Log>);

impl Notes {
    fn say(&self, level: Level, line: impl FnOnce() -> String) {
        if let Some(log) = self.0.get() {
            log.write(level, || format!("local.prefix_dir: {}", line()));
        }
    }
}

/// The folder, as one engine uses it.
pub(super) struct Prefixes {
    folder: Arc<Folder>,
    shape: Shape,
    notes: Arc<Notes>,
    /// Which prefixes need not be written: they were read, or written, or that was tried.
    done: Mutex<HashSet<u64>>,
    /// How many wait to be written.
    waiting: Arc<AtomicUsize>,
    /// `None` once the engine is closed.
    writer: Mutex<Option<(Sender<Written>, JoinHandle<()>)>>,
}

impl Prefixes {
    /// Makes the folder if it is missing. `identity`: what the keys and values of a token depend on besides the tokens.
    ///
    /// # Errors
    /// A sentence on why nothing is read from it or written to it.
    pub(super) fn open(
        config: &LocalConfig,
        identity: &Value,
        shape: Shape,
    ) -> std::result::Result<Option<Self>, String> {
        let Some(path) = &config.prefix_dir else { return Ok(None) };
        let unusable = |error: &dyn std::fmt::Display| {
            format!(
                "local.prefix_dir: {}: {error}: the beginnings of prompts are computed after every start",
                path.display()
            )
        };
        make_folder(path).map_err(|error| unusable(&error))?;
        let path = std::path::absolute(path).map_err(|error| unusable(&error))?;
        let folder = Arc::new(Folder { path, limit: config.prefix_dir_bytes, identity: identity.to_string() });
        let notes = Arc::new(Notes::default());
        let waiting = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel();
        let (to, said, left) = (folder.clone(), notes.clone(), waiting.clone());
        let thread = crate::thread::spawn("dicast-prefixes", move || write_all(&to, &said, &receiver, &left))
            .map_err(|error| unusable(&error))?;
        let writer = Mutex::new(Some((sender, thread)));
        Ok(Some(Self { folder, shape, notes, done: Mutex::default(), waiting, writer }))
    }

    /// Where problems are told from now on.
    pub(super) fn log_to(&self, log: &Log) {
        let _ = self.notes.0.set(log.clone());
    }

    fn done(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        // Every change is a single one, whole also after a panic.
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of a prefix, if there is a file that holds it.
    pub(super) fn read(&self, tokens: &[u32]) -> Option<Vec<u8>> {
        if tokens.len() < FEWEST {
            return None;
        }
        let began = Instant::now();
        let bytes = self.shape.bytes(tokens.len());
        let state = self.folder.read(tokens, bytes).and_then(|state| {
            let fits = self.shape.fits(&state, tokens.len());
            if fits { Ok(state) } else { Err(wrong("holds something else than this prefix".into())) }
        });
        match state {
            Ok(state) => {
                self.done().insert(checksum_of(tokens));
                self.notes.say(Level::Info, || {
                    format!("read {} tokens ({bytes} bytes) in {} ms", tokens.len(), began.elapsed().as_millis())
                });
                Some(state)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.done().remove(&checksum_of(tokens));
                None
            }
            Err(error) => {
                // A good file takes its place once the prefix is computed.
                self.done().remove(&checksum_of(tokens));
                let name = self.folder.name(tokens);
                self.notes.say(Level::Warn, || format!("{name} {error}: {} tokens are computed", tokens.len()));
                None
            }
        }
    }

    /// llama.cpp did not take a state. It is not offered again.
    pub(super) fn reject(&self, tokens: &[u32], why: &str) {
        let name = self.folder.name(tokens);
        self.done().insert(checksum_of(tokens));
        let _ = std::fs::remove_file(self.folder.path.join(&name));
        self.notes
            .say(Level::Warn, || format!("llama.cpp refused {name} ({why}): {} tokens are computed", tokens.len()));
    }

    /// Whether a prefix is still to be written.
    pub(super) fn lacks(&self, tokens: &[u32]) -> bool {
        tokens.len() >= FEWEST && !self.done().contains(&checksum_of(tokens))
    }

    /// Whether another prefix can be taken: what is to be written is in memory meanwhile.
    pub(super) fn is_free(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < WAITING
    }

    /// Writes a prefix, on another thread. `size`: the bytes of its state, which `copy` fills.
    pub(super) fn write(
        &self,
        tokens: &Arc<[u32]>,
        size: usize,
        copy: impl FnOnce(&mut [u8]) -> std::result::Result<usize, String>,
    ) {
        if !self.done().insert(checksum_of(tokens)) {
            // Another lane was faster.
            return;
        }
        let tell = |why: &str| {
            self.notes.say(Level::Warn, || format!("{} tokens cannot be kept: {why}", tokens.len()));
        };
        if size as u64 != self.shape.bytes(tokens.len()) {
            return tell("a model of this kind keeps more than keys and values");
        }
        // It was computed before anybody looked for the file, as a part of a longer prefix.
        if self.folder.open(tokens, size as u64).is_ok() {
            return;
        }
        let state = match room_for(size) {
            Ok(mut state) => match copy(&mut state) {
                Ok(written) if written == size && self.shape.fits(&state, tokens.len()) => state,
                Ok(_) => return tell("llama.cpp gave something else than its keys and values"),
                Err(fault) => return tell(&fault),
            },
            Err(error) => return tell(&error.to_string()),
        };
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((sender, _)) = &*writer else { return };
        self.waiting.fetch_add(1, Ordering::Release);
        // The thread ends only after the sender.
        let _ = sender.send(Written { tokens: tokens.clone(), state });
    }

    /// Waits until everything is written. Nothing is written afterwards.
    pub(super) fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = writer {
            drop(sender);
            // A log that drops the last judge may run on this very thread.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn write_all(folder: &Folder, notes: &Notes, prefixes: &Receiver<Written>, waiting: &AtomicUsize) {
    while let Ok(Written { tokens, state }) = prefixes.recv() {
        let began = Instant::now();
        let outcome = if Shape::is_finite(&state, tokens.len()) {
            folder.write(&tokens, &state)
        } else {
            Err(wrong("their keys and values are not all numbers".into()))
        };
        match outcome {
            Ok(()) => notes.say(Level::Info, || {
                let (count, bytes, took) = (tokens.len(), state.len(), began.elapsed().as_millis());
                format!("wrote {count} tokens ({bytes} bytes) in {took} ms")
            }),
            Err(error) => notes.say(Level::Warn, || format!("{} tokens cannot be written: {error}", tokens.len())),
        }
        waiting.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_whole_or_refused() {
        let shape = Shape { layers: 2, token_bytes: 8 };
        let state = |positions: &[u32], sequences: u32, layers: u32| {
            let count = u32::try_from(positions.len()).unwrap();
            let mut numbers = vec![7, 0, 1, count];
            for &position in positions {
                numbers.extend([position, sequences, 0]);
            }
            numbers.extend([0, layers, 0, 0]);
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|number: &u32| number.to_ne_bytes()).collect();
            bytes.resize(bytes.len() + 2 * 24 + positions.len() * 8, 1);
            bytes
        };
        // The order of the cells does not matter.
        assert!(shape.fits(&state(&[0, 1, 2], 1, 2), 3) && shape.fits(&state(&[2, 0, 1], 1, 2), 3));
        for (what, bad) in [
            ("twice", state(&[0, 1, 1], 1, 2)),
            ("beyond", state(&[0, 1, 3], 1, 2)),
            ("fewer", state(&[0, 1], 1, 2)),
            ("sequences", state(&[0, 1, 2], 2, 2)),
            ("layers", state(&[0, 1, 2], 1, 3)),
            ("nothing", Vec::new()),
        ] {
            assert!(!shape.fits(&bad, 3), "{what}");
        }
    }

    #[test]
    fn the_version_of_llama_cpp_is_the_one_that_is_built_in() {
        let manifest = include_str!("../../../Cargo.toml");
        let (name, version) = super::super::native::LLAMA.split_once(' ').unwrap();
        assert!(manifest.contains(&format!("{name} = {{ version = \"={version}\"")), "{name} {version}");
    }
}
