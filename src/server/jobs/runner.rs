//! Judges the requests of running jobs: a bounded number at once, fair between callers, each stored when it is done.
//!
//! Only this module knows which requests are being judged. However the server ends, the next one judges the requests without
//! a result.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::fault::{Fault, Result};
use super::item::{self, End};
use super::store::{Claim, JobInfo, Outcome, State, Store, Stored};
use crate::config::Options;
use crate::error::{Error, ErrorKind};
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

/// A judgment under way. Dropping it cancels it.
pub(crate) type Judgment = Pin<Box<dyn Future<Output = crate::Result<Verdict>> + Send>>;

/// Judges the requests of jobs.
pub(crate) trait Judging: Send + Sync + 'static {
    /// Starts a judgment for `job`, after those that somebody waits for.
    fn judge(&self, job: &JobInfo, request: JudgeRequest) -> Judgment;

    /// How many judgments of a model jobs may run at once.
    fn at_once(&self, model: &str) -> usize;
}

/// Requests read ahead for one job: most in number, and about how many bytes.
const AHEAD: (usize, usize) = (32, 1 << 20);
/// How often expired jobs are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Rows deleted at a time; callers get their turn in between.
const SWEEP_ROWS: usize = 2000;
/// Pause after results could not be stored.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Pause of a job whose judge is not there.
const JUDGE_PAUSE: Duration = Duration::from_secs(5);
/// How long a job waits for its judge before its requests fail.
const JUDGE_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// The jobs of a server: the store, and its notifications. Clones share the same state.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Shared>);

struct Shared {
    store: Arc<Mutex<Store>>,
    wake: Notify,
    /// Counts up when a job ends.
    ended: watch::Sender<u64>,
    /// Why jobs do not continue, by number.
    problems: SyncMutex<HashMap<i64, String>>,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

impl Jobs {
    /// The jobs of a store.
    pub(crate) fn new(store: Store) -> Self {
        Self(Arc::new(Shared {
            store: Arc::new(Mutex::new(store)),
            wake: Notify::new(),
            ended: watch::Sender::new(0),
            problems: SyncMutex::default(),
        }))
    }

    /// Runs an operation on the store, on a thread that may block. One at a time; the others wait without a thread.
    ///
    /// # Errors
    /// Those of the operation.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut store = self.0.store.clone().lock_owned().await;
        let done = tokio::task::spawn_blocking(move || act(&mut store)).await;
        done.map_err(|error| Fault::Io(format!("a call of the job store broke off: {error}")))?
    }

    /// Tells the runner that jobs were started, cancelled or deleted.
    pub(crate) fn changed(&self) {
        self.0.wake.notify_one();
        self.0.ended.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Why a job does not continue at the moment.
    pub(crate) fn problem(&self, job: i64) -> Option<String> {
        self.0.problems.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned()
    }

    /// Waits until a job is over, at most `timeout`, and returns its state then.
    ///
    /// # Errors
    /// [`Fault::Unknown`], also if it is deleted meanwhile.
    pub(crate) async fn wait(&self, owner: &str, id: &str, timeout: Duration) -> Result<JobInfo> {
        let deadline = Instant::now() + timeout;
        let mut ended = self.0.ended.subscribe();
        loop {
            ended.mark_unchanged();
            let (owner, id) = (owner.to_owned(), id.to_owned());
            let job = self.with(move |store| store.get(&owner, &id)).await?;
            if !matches!(job.state, State::Open | State::Running) {
                return Ok(job);
            }
            match tokio::time::timeout_at(deadline, ended.changed()).await {
                Ok(Ok(())) => {}
                _ => return Ok(job),
            }
        }
    }

    /// Judges until `stop` is done. Running judgments are then cancelled, and finished ones are stored.
    pub(crate) async fn run(self, judging: Arc<dyn Judging>, stop: impl Future<Output = ()>) {
        let mut runner = Runner {
            jobs: self,
            judging,
            active: HashMap::new(),
            owners: VecDeque::new(),
            tasks: JoinSet::new(),
            under_way: HashMap::new(),
            unsaved: Vec::new(),
            paused: None,
            stale: false,
        };
        runner.work(stop).await;
    }
}

/// A running job.
struct Active {
    info: Arc<JobInfo>,
    options: Arc<Options>,
    /// The first place that was not claimed yet.
    cursor: i64,
    exhausted: bool,
    ahead: VecDeque<Claim>,
    /// No request starts before then, because its judge is not available.
    paused: Option<Instant>,
    /// Since when its judge is not available.
    failing: Option<Instant>,
}

struct Runner {
    jobs: Jobs,
    judging: Arc<dyn Judging>,
    active: HashMap<i64, Active>,
    /// Whose turn it is, next first.
    owners: VecDeque<String>,
    tasks: JoinSet<(Claim, End)>,
    under_way: HashMap<tokio::task::Id, (i64, i64, String, AbortHandle)>,
    /// Results that could not be stored yet.
    unsaved: Vec<Outcome>,
    /// Nothing is started or stored before then.
    paused: Option<Instant>,
    /// The list of running jobs could not be read: it is read again after the pause.
    stale: bool,
}

impl Runner {
    async fn work(&mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let jobs = self.jobs.clone();
        let mut sweep = Instant::now();
        self.refresh().await;
        loop {
            self.fill().await;
            let alarm = self.alarm(sweep);
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    self.take(done);
                    while let Some(done) = self.tasks.try_join_next_with_id() {
                        self.take(done);
                    }
                    self.save().await;
                }
                () = jobs.0.wake.notified() => self.refresh().await,
                () = tokio::time::sleep_until(alarm) => {
                    self.save().await;
                    if self.stale {
                        self.refresh().await;
                    }
                    if sweep <= Instant::now() {
                        sweep = Instant::now() + self.sweep().await;
                    }
                }
            }
        }
        while let Some(done) = self.tasks.try_join_next_with_id() {
            self.take(done);
        }
        self.tasks.shutdown().await;
        self.paused = None;
        self.save().await;
    }

    /// When there is something to do again, even if nothing happens before.
    fn alarm(&self, sweep: Instant) -> Instant {
        let pauses = self.active.values().filter_map(|active| active.paused).filter(|paused| *paused > Instant::now());
        pauses.chain(self.paused).fold(sweep, Instant::min)
    }

    /// Looks which jobs are running.
    async fn refresh(&mut self) {
        let running = match self.jobs.with(|store| store.running()).await {
            Ok(running) => running,
            Err(fault) => {
                self.stale = true;
                return self.pause(&fault);
            }
        };
        self.stale = false;
        let numbers: Vec<i64> = running.iter().map(|job| job.number).collect();
        self.active.retain(|number, _| numbers.contains(number));
        for (job, _, _, task) in self.under_way.values() {
            if !numbers.contains(job) {
                task.abort();
            }
        }
        self.problems(|problems| problems.retain(|number, _| numbers.contains(number)));
        for job in running {
            if !self.owners.contains(&job.owner) {
                self.owners.push_back(job.owner.clone());
            }
            self.active.entry(job.number).or_insert_with(|| Active {
                options: Arc::new(serde_json::from_str(&job.options).unwrap_or_default()),
                info: Arc::new(job),
                cursor: 0,
                exhausted: false,
                ahead: VecDeque::new(),
                paused: None,
                failing: None,
            });
        }
        self.owners.retain(|owner| self.active.values().any(|active| &active.info.owner == owner));
    }

    fn problems(&self, act: impl FnOnce(&mut HashMap<i64, String>)) {
        act(&mut self.jobs.0.problems.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Starts judgments while there is room. Callers take turns; the oldest job of a caller goes first.
    async fn fill(&mut self) {
        let now = Instant::now();
        if !self.unsaved.is_empty() || self.paused.is_some_and(|paused| paused > now) {
            return;
        }
        let mut running: HashMap<String, usize> = HashMap::new();
        for (_, _, model, _) in self.under_way.values() {
            *running.entry(model.clone()).or_default() += 1;
        }
        let mut idle = 0;
        while idle < self.owners.len() {
            let Some(owner) = self.owners.pop_front() else { break };
            let mut candidates: Vec<i64> = self
                .active
                .values()
                .filter(|active| active.info.owner == owner)
                .filter(|active| !active.exhausted || !active.ahead.is_empty())
                .filter(|active| active.paused.is_none_or(|paused| paused <= now))
                .filter(|active| {
                    let model = &active.info.model;
                    running.get(model).copied().unwrap_or(0) < self.judging.at_once(model).max(1)
                })
                .map(|active| active.info.number)
                .collect();
            candidates.sort_unstable();
            self.owners.push_back(owner);
            let mut begun = false;
            for job in candidates {
                if let Some(model) = self.begin(job).await {
                    *running.entry(model).or_default() += 1;
                    begun = true;
                    break;
                }
            }
            idle = if begun { 0 } else { idle + 1 };
            if self.paused.is_some_and(|paused| paused > now) {
                return;
            }
        }
    }

    /// Starts the next judgment of a job; returns its model.
    async fn begin(&mut self, job: i64) -> Option<String> {
        let active = self.active.get_mut(&job)?;
        if active.ahead.is_empty() && !active.exhausted {
            let cursor = active.cursor;
            match self.jobs.with(move |store| store.claim(job, cursor, AHEAD.0, AHEAD.1)).await {
                Ok(claims) => {
                    active.exhausted = claims.is_empty();
                    active.cursor = claims.last().map_or(cursor, |claim| claim.place + 1);
                    active.ahead.extend(claims);
                }
                Err(fault) => {
                    self.pause(&fault);
                    return None;
                }
            }
        }
        let claim = active.ahead.pop_front()?;
        let (info, options, judging) = (active.info.clone(), active.options.clone(), self.judging.clone());
        let model = info.model.clone();
        let place = claim.place;
        let task = self.tasks.spawn(async move {
            let end = item::judge(judging.as_ref(), &info, &options, &claim).await;
            (claim, end)
        });
        self.under_way.insert(task.id(), (job, place, model.clone(), task));
        Some(model)
    }

    /// Takes the outcome of one judgment.
    fn take(&mut self, done: std::result::Result<(tokio::task::Id, (Claim, End)), tokio::task::JoinError>) {
        match done {
            Ok((id, (claim, end))) => {
                self.under_way.remove(&id);
                let Some(active) = self.active.get_mut(&claim.job) else { return };
                match end {
                    End::Outcome(outcome) => {
                        if active.failing.take().is_some() {
                            active.paused = None;
                            self.problems(|problems| {
                                problems.remove(&claim.job);
                            });
                        }
                        self.unsaved.push(outcome);
                    }
                    End::NoJudge(error) => {
                        let since = *active.failing.get_or_insert_with(Instant::now);
                        if since.elapsed() > JUDGE_PATIENCE {
                            self.unsaved.push(item::failed(&claim, error));
                            return;
                        }
                        active.paused = Some(Instant::now() + JUDGE_PAUSE);
                        active.ahead.push_front(claim);
                        let job = active.info.number;
                        let text = format!("{}: {}", error.kind(), error.message());
                        self.problems(|problems| {
                            problems.insert(job, text);
                        });
                    }
                }
            }
            Err(error) => {
                let Some((job, place, ..)) = self.under_way.remove(&error.id()) else { return };
                if error.is_panic() {
                    let claim = Claim { job, place, line: Vec::new() };
                    let error = Error::new(ErrorKind::Internal, "the judgment broke off: a defect of the server");
                    self.unsaved.push(item::failed(&claim, error));
                }
            }
        }
    }

    /// Stores finished results.
    async fn save(&mut self) {
        if self.paused.is_some_and(|paused| paused > Instant::now()) {
            return;
        }
        if self.paused.take().is_some() {
            // Whatever is still wrong is found again.
            self.problems(HashMap::clear);
        }
        if self.unsaved.is_empty() {
            return;
        }
        let outcomes = std::mem::take(&mut self.unsaved);
        let now = now_ms();
        let stored =
            self.jobs.with(move |store| Ok(store.finish(&outcomes, now).map_err(|fault| (fault, outcomes)))).await;
        match stored {
            Ok(Ok(Stored { finished, .. })) => {
                for job in &finished {
                    self.active.remove(job);
                }
                if !finished.is_empty() {
                    self.jobs.0.ended.send_modify(|count| *count = count.wrapping_add(1));
                }
            }
            // They are kept and stored when there is room again; nothing else starts until then.
            Ok(Err((fault, outcomes))) => {
                self.unsaved = outcomes;
                self.pause(&fault);
            }
            Err(fault) => self.pause(&fault),
        }
    }

    fn pause(&mut self, fault: &Fault) {
        self.paused = Some(Instant::now() + STORE_PAUSE);
        let text = format!("{}: {fault}", fault.name());
        let numbers: Vec<i64> = self.active.keys().copied().collect();
        self.problems(|problems| problems.extend(numbers.into_iter().map(|number| (number, text.clone()))));
    }

    /// Deletes a part of the expired jobs; returns the time until the next part.
    async fn sweep(&mut self) -> Duration {
        let now = now_ms();
        match self.jobs.with(move |store| store.sweep(now, SWEEP_ROWS)).await {
            Ok(true) => Duration::from_millis(20),
            Ok(false) | Err(_) => SWEEP,
        }
    }
}

// Time that moves by itself when all wait: tokio has it with `testing` alone.
#[cfg(all(test, feature = "testing"))]
mod tests;
