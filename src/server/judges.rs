//! The judges of a server by name: loaded when they are needed, unloaded when they are idle or dead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::JudgeConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::Judge;
use crate::log::{Level, Log};

use super::config::ServerConfig;
use super::gate::Gate;

/// After a judge could not be opened, it is not tried again for this long.
const REST: Duration = Duration::from_secs(5);

/// Where a server gets a judge from.
pub enum JudgeSource {
    /// One that is open. It is never unloaded.
    Open(Arc<Judge>),
    /// A configuration, opened when the judge is needed.
    Config(Box<JudgeConfig>),
    /// A function that opens it; may be called again after the judge was unloaded.
    Opener(Box<dyn Fn() -> Result<Judge> + Send + Sync>),
}

/// A judge that is loaded.
pub(crate) struct Loaded {
    pub(crate) judge: Arc<Judge>,
    pub(super) gate: Arc<Gate>,
    /// Milliseconds from the start of the server to the last request.
    used: AtomicU64,
}

struct Entry {
    name: String,
    source: JudgeSource,
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// Held while the judge is opened; when and why that failed the last time.
    opening: tokio::sync::Mutex<Option<(Instant, Error)>>,
}

/// All judges of a server.
pub(crate) struct Judges {
    entries: Vec<Arc<Entry>>,
    default: usize,
    start: Instant,
    max_running: usize,
    max_waiting: usize,
}

impl Judges {
    pub(super) fn new(judges: Vec<(String, JudgeSource)>, config: &ServerConfig) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorKind::InvalidConfig, message);
        let (max_running, max_waiting) = (config.max_running, config.max_waiting);
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(judges.len());
        for (name, source) in judges {
            if entries.iter().any(|entry| entry.name == name) {
                return Err(invalid(format!("two judges have the name {name:?}")));
            }
            let loaded = match &source {
                JudgeSource::Open(judge) => Some(Arc::new(Loaded::new(judge.clone(), max_running, max_waiting))),
                _ => None,
            };
            let loaded = RwLock::new(loaded);
            entries.push(Arc::new(Entry { name, source, loaded, opening: tokio::sync::Mutex::new(None) }));
        }
        if entries.is_empty() {
            return Err(invalid("a server needs a judge".to_owned()));
        }
        let position = |name: &str| entries.iter().position(|entry| entry.name == name);
        let default = match &config.default_judge {
            None => 0,
            Some(name) => position(name)
                .ok_or_else(|| invalid(format!("server.default_judge is {name:?}: there is no judge of that name")))?,
        };
        for route in &config.routes {
            if let Some(name) = &route.judge
                && position(name).is_none()
            {
                return Err(invalid(format!("the route {} names the judge {name:?}: there is none", route.path)));
            }
        }
        Ok(Self { entries, default, start: Instant::now(), max_running, max_waiting })
    }

    /// The names of all judges, that of the default one first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let others = self.entries.iter().enumerate().filter(|(index, _)| *index != self.default);
        let others = others.map(|(_, entry)| entry.name.as_str());
        std::iter::once(self.entries[self.default].name.as_str()).chain(others).collect()
    }

    fn entry(&self, name: Option<&str>) -> Result<&Arc<Entry>> {
        let Some(name) = name else { return Ok(&self.entries[self.default]) };
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            Error::new(
                ErrorKind::ModelNotFound,
                format!("there is no judge {name:?}: this server has {}", self.names().join(", ")),
            )
        })
    }

    /// The name of a judge, if there is one with this name, or of the default one.
    ///
    /// # Errors
    /// [`ErrorKind::ModelNotFound`] with the existing names.
    pub(crate) fn known(&self, name: Option<&str>) -> Result<&str> {
        Ok(&self.entry(name)?.name)
    }

    /// A judge, if it is loaded.
    pub(crate) fn loaded(&self, name: &str) -> Option<Arc<Loaded>> {
        self.entry(Some(name)).ok()?.current()
    }

    /// A judge by its name, or the default one; loads it if needed.
    ///
    /// # Errors
    /// [`ErrorKind::ModelNotFound`] for a name that no judge has; else those of opening it.
    pub(crate) async fn get(&self, name: Option<&str>) -> Result<Arc<Loaded>> {
        let entry = self.entry(name)?;
        let loaded = if let Some(loaded) = entry.current() {
            loaded
        } else {
            let (entry, running, waiting) = (entry.clone(), self.max_running, self.max_waiting);
            // In a separate task: if the caller leaves, the next one finds it loaded.
            let opened = tokio::spawn(async move { entry.open(running, waiting).await }).await;
            opened.map_err(|error| Error::new(ErrorKind::Internal, format!("opening a judge: {error}")))??
        };
        loaded.used.store(self.now(), Ordering::Relaxed);
        Ok(loaded)
    }

    /// Gives up a judge whose engine is dead: the next request opens it again.
    pub(crate) fn retire(&self, dead: &Arc<Loaded>) {
        for entry in &self.entries {
            let mut loaded = entry.loaded.write().unwrap_or_else(PoisonError::into_inner);
            let renewable = !matches!(entry.source, JudgeSource::Open(_));
            if renewable && loaded.as_ref().is_some_and(|loaded| Arc::ptr_eq(loaded, dead)) {
                warn!(judge = entry.name, "the engine is dead; the next request opens the judge again");
                free(loaded.take());
            }
        }
    }

    /// Unloads judges that nobody uses and whose last request is longer ago than this.
    pub(super) fn unload_idle(&self, after: Duration) {
        for entry in self.entries.iter().filter(|entry| !matches!(entry.source, JudgeSource::Open(_))) {
            let mut loaded = entry.loaded.write().unwrap_or_else(PoisonError::into_inner);
            // Users hold a reference to it, which they take under this lock.
            let idle = loaded.as_ref().is_some_and(|loaded| {
                let unused = Duration::from_millis(self.now().saturating_sub(loaded.used.load(Ordering::Relaxed)));
                Arc::strong_count(loaded) == 1 && unused >= after
            });
            if idle {
                info!(judge = entry.name, "unloaded: it was idle");
                free(loaded.take());
            }
        }
    }

    /// Seconds after which every judge may have room again.
    pub(super) fn seconds_until_room(&self) -> u64 {
        let loaded = self.entries.iter().filter_map(|entry| entry.current());
        loaded.map(|loaded| loaded.gate.seconds_until_room()).max().unwrap_or(1)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Ends all judgments, and unloads the judges that the server has opened.
    pub(super) fn close(&self) {
        for entry in &self.entries {
            let loaded = entry.loaded.write().unwrap_or_else(PoisonError::into_inner).take();
            if let (Some(loaded), false) = (loaded, matches!(entry.source, JudgeSource::Open(_))) {
                loaded.judge.close();
            }
        }
    }
}

/// Drops a judge on a thread where waiting for its threads delays nobody.
fn free(loaded: Option<Arc<Loaded>>) {
    let dropped = crate::thread::spawn("dicast-unload", move || drop(loaded));
    if let Err(error) = dropped {
        warn!("no thread to unload a judge in: {error}");
    }
}

impl Loaded {
    fn new(judge: Arc<Judge>, max_running: usize, max_waiting: usize) -> Self {
        let places = match max_running {
            0 => (judge.capabilities().max_sequences * 2).max(4),
            chosen => chosen,
        };
        // What is let in always finds room in the judge's own queue.
        let gate = Gate::new(places.min(judge.config().limits.max_queue), max_waiting);
        Self { judge, gate, used: AtomicU64::new(0) }
    }

    /// Judgments that wait, and judgments that run.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.gate.waiting(), self.gate.running())
    }
}

impl Entry {
    fn current(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn open(self: Arc<Self>, max_running: usize, max_waiting: usize) -> Result<Arc<Loaded>> {
        let mut failed = self.opening.lock().await;
        if let Some(loaded) = self.current() {
            return Ok(loaded);
        }
        if let Some((when, error)) = failed.as_ref()
            && when.elapsed() < REST
        {
            return Err(Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable()));
        }
        let entry = self.clone();
        let started = Instant::now();
        info!(judge = self.name, "opening");
        let opened = tokio::task::spawn_blocking(move || entry.source.open(&entry.name)).await;
        let opened = opened.map_err(|error| Error::new(ErrorKind::Internal, format!("opening a judge: {error}")));
        match opened.and_then(|opened| opened) {
            Ok(judge) => {
                info!(judge = self.name, seconds = started.elapsed().as_secs_f64(), "ready");
                let loaded = Arc::new(Loaded::new(judge, max_running, max_waiting));
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded.clone());
                *failed = None;
                Ok(loaded)
            }
            Err(error) => {
                warn!(judge = self.name, "cannot be opened: {error}");
                let kept = Error::new(error.kind(), error.message().to_owned()).with_retryable(error.is_retryable());
                *failed = Some((Instant::now(), kept));
                Err(error)
            }
        }
    }
}

impl JudgeSource {
    fn open(&self, name: &str) -> Result<Arc<Judge>> {
        match self {
            Self::Open(judge) => Ok(judge.clone()),
            Self::Config(config) => Judge::open_logged((**config).clone(), log(name.to_owned())).map(Arc::new),
            Self::Opener(open) => open().map(Arc::new),
        }
    }
}

/// Sends a judge's log to the server's log. No line contains requests.
fn log(judge: String) -> Log {
    Log::new(Level::Debug, move |level, line| match level {
        Level::Error => tracing::error!(judge, "{line}"),
        Level::Warn => tracing::warn!(judge, "{line}"),
        Level::Info => tracing::info!(judge, "{line}"),
        Level::Debug => tracing::debug!(judge, "{line}"),
    })
}
