//! What a judge has to say to the program that runs it. The library itself prints nothing.

use std::fmt;
use std::sync::Arc;

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
pub struct Log(Option<(Level, Arc<Sink>)>);

impl Log {
    /// A log that keeps nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// A log of lines up to a level. `sink` is called from any thread, also from several at once, and must return
    /// quickly.
    pub fn new(level: Level, sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Self(Some((level, Arc::new(sink))))
    }

    /// Writes a line, which is not even made where nobody wants it.
    pub(crate) fn write(&self, level: Level, line: impl FnOnce() -> String) {
        if let Some((most, sink)) = &self.0
            && level <= *most
        {
            sink(level, &line());
        }
    }

    pub(crate) fn failure(&self, error: &Error) {
        let level = match error.kind() {
            ErrorKind::Internal | ErrorKind::Engine | ErrorKind::EngineDead => Level::Error,
            _ => Level::Warn,
        };
        self.write(level, || format!("a judgment failed: {}: {}", error.kind(), error.message()));
    }

    pub(crate) fn outcome(&self, outcome: &Result<Verdict>) {
        match outcome {
            Ok(verdict) => self.write(Level::Debug, || {
                let (count, usage, timing) = (verdict.scores.len(), &verdict.usage, &verdict.timing);
                let computed = timing.prefill + timing.reasoning + timing.verdict;
                format!(
                    "judged {count} responses: {} prompt tokens ({} reused), {} written, {:.0} ms after {:.0} ms of waiting",
                    usage.prompt_tokens,
                    usage.reused_tokens,
                    usage.reasoning_tokens + usage.verdict_tokens,
                    computed.as_secs_f64() * 1e3,
                    timing.queue.as_secs_f64() * 1e3
                )
            }),
            Err(error) => self.failure(error),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.0.as_ref().map(|(level, _)| level)).finish()
    }
}
