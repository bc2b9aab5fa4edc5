//! A job: its parts and its state.

/// Bounds of a job store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// Most bytes of the database file.
    pub max_bytes: u64,
    /// Most jobs of one caller.
    pub max_jobs: u32,
    /// Most requests of one job.
    pub max_requests: u32,
    /// How long an open job is kept after its last upload, in milliseconds.
    pub open_ms: u64,
    /// The longest that a job may ask to be kept after its end, in milliseconds.
    pub max_keep_ms: u64,
}

impl Default for StoreLimits {
    /// 16 GiB, 1000 jobs a caller, a million requests a job, open jobs for a day, ended ones for 30 days at most.
    fn default() -> Self {
        let day = 24 * 60 * 60 * 1000;
        Self { max_bytes: 16 << 30, max_jobs: 1000, max_requests: 1_000_000, open_ms: day, max_keep_ms: 30 * day }
    }
}

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes uploads.
    Open,
    /// Is judged.
    Running,
    /// Every request has its result.
    Finished,
    /// Was cancelled; the results until then are kept.
    Cancelled,
    /// Is being deleted; no caller sees it.
    Deleted,
}

impl State {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
        }
    }

    pub(super) fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Running => 1,
            Self::Finished => 2,
            Self::Cancelled => 3,
            Self::Deleted => 4,
        }
    }

    pub(super) fn of(code: i64) -> Self {
        [Self::Open, Self::Running, Self::Finished, Self::Cancelled]
            .into_iter()
            .find(|state| state.code() == code)
            .unwrap_or(Self::Deleted)
    }
}

/// The facts that a new job is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewJob {
    /// The owner; nobody else sees the job. Empty on a server without keys.
    pub owner: String,
    /// Which interface made it, such as `jobs`; it is listed and cleared there.
    pub form: String,
    /// The caller's name for it.
    pub name: String,
    /// The judge that judges it; empty for the server's default.
    pub model: String,
    /// Options of requests that have none of their own, as JSON.
    pub options: String,
    /// The same key of the same owner makes the same job, not a second one.
    pub idempotency: Option<String>,
    /// How long it is kept after its end, in milliseconds; cut to the limit of the store.
    pub keep_ms: u64,
}

/// A job with its current state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// Number within the store, in the order of creation.
    pub number: i64,
    /// Its id.
    pub id: String,
    /// See [`NewJob::owner`].
    pub owner: String,
    /// See [`NewJob::form`].
    pub form: String,
    /// See [`NewJob::name`].
    pub name: String,
    /// See [`NewJob::model`].
    pub model: String,
    /// See [`NewJob::options`].
    pub options: String,
    /// Its state.
    pub state: State,
    /// When it was made.
    pub created_ms: u64,
    /// When it was started.
    pub started_ms: Option<u64>,
    /// When it finished or was cancelled.
    pub ended_ms: Option<u64>,
    /// When it is deleted if nothing happens; a running job is not deleted.
    pub expires_ms: u64,
    /// Its requests.
    pub total: u64,
    /// Of these, those that have a result, errors included.
    pub done: u64,
    /// Of these, errors.
    pub failed: u64,
}

/// A request to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Number of its job.
    pub job: i64,
    /// Its place in the job, from 0.
    pub place: i64,
    /// The line as it was uploaded.
    pub line: Vec<u8>,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of its job.
    pub job: i64,
    /// Its place in the job.
    pub place: i64,
    /// Whether it is an error.
    pub failed: bool,
    /// One line of JSON, without a line end.
    pub line: String,
}

/// The result of storing outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many were stored. The others belong to jobs that are over, or were stored before.
    pub stored: usize,
    /// Jobs that finished by this.
    pub finished: Vec<i64>,
}

/// Counts of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs that take uploads.
    pub open: u64,
    /// Jobs that are judged.
    pub running: u64,
    /// Jobs that are finished or cancelled.
    pub ended: u64,
    /// Requests of running jobs that have no result yet.
    pub waiting: u64,
}
