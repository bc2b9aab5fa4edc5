//! What a judge has to say to the program that runs it. The library itself prints nothing.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::verdict::Verdict;

/// How much a line of the log matters; the lower, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A defect of the library or of the engine.
    Error = 1,
    /// A judgment that failed.
    Warn = 2,
    /// Opening and closing.
    Info = 3,
    /// Every judgment.
    Debug = 4,
}

type Sink = dyn Fn(Level, &str) + Send + Sync;

/// Where the lines of one judge go. Cheap to clone.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Kept>>);

struct Kept {
    /// The least important level that is written, as a number.
    level: AtomicU8,
    sink: Box<Sink>,
}

impl Log {
    /// A log that keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// A log of lines up to a level. `sink` is called from any thread, also from several at once, and must return
    /// quickly.
    pub fn new(level: Level, sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Kept { level: AtomicU8::new(level as u8), sink: Box::new(sink) })))
    }

    /// Writes a line, which is not even made where nobody wants it.
    pub(crate) fn write(&self, level: Level, line: impl FnOnce() -> String) {
        if let Some(kept) = &self.0
            && level as u8 <= kept.level.load(Ordering::Relaxed)
        {
            (kept.sink)(level, &line());
        }
    }

    /// Writes lines up to this level from now on. Clones are the same log.
    pub fn set_level(&self, level: Level) {
        if let Some(kept) = &self.0 {
            kept.level.store(level as u8, Ordering::Relaxed);
        }
    }

    pub(crate) fn failure(&self, id: Option<&str>, error: &Error) {
        let level = match error.kind() {
            ErrorKind::Internal | ErrorKind::Engine | ErrorKind::EngineDead => Level::Error,
            _ => Level::Warn,
        };
        self.write(level, || {
            let judgment = id.map_or_else(|| "a judgment".to_owned(), |id| format!("judgment {id}"));
            format!("{judgment} failed: {}: {}", error.kind(), error.message())
        });
    }

    pub(crate) fn outcome(&self, id: Option<&str>, outcome: &Result<Verdict>) {
        match outcome {
            Ok(verdict) => self.write(Level::Debug, || {
                let (count, usage, timing) = (verdict.scores.len(), &verdict.usage, &verdict.timing);
                let computed = timing.prefill + timing.reasoning + timing.verdict;
                let judgment = id.map(|id| format!("judgment {id}: ")).unwrap_or_default();
                format!(
                    "{judgment}judged {count} responses: {} prompt tokens ({} reused), {} written, {:.0} ms after {:.0} ms of waiting",
                    usage.prompt_tokens,
                    usage.reused_tokens,
                    usage.reasoning_tokens + usage.verdict_tokens,
                    computed.as_secs_f64() * 1e3,
                    timing.queue.as_secs_f64() * 1e3
                )
            }),
            Err(error) => self.failure(id, error),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.0.as_ref().map(|kept| kept.level.load(Ordering::Relaxed))).finish()
    }
}
