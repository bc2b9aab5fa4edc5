//! What can go wrong with stored jobs, as classes that the API maps to answers.

use std::fmt;

/// Result of every operation on stored jobs.
pub(super) type Result<T> = std::result::Result<T, Fault>;

/// Why an operation on stored jobs failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The caller has no job of this id. Jobs of other callers count as absent.
    Unknown(String),
    /// The job is not in a state for this, such as an upload to a job that was started.
    State(String),
    /// A limit of the job store would be exceeded: requests in a job, jobs of a caller, bytes of a line.
    TooLarge(String),
    /// What the caller sent is wrong.
    Invalid(String),
    /// No room is left: on the disk, or under the limit of the store. Nothing was written.
    Full(String),
    /// Another process holds the database. The operation may be repeated.
    Busy(String),
    /// The file is not a job database of this program, is of a newer version, or is damaged.
    Damaged(String),
    /// The file could not be read or written.
    Io(String),
}

impl Fault {
    /// Stable name for programs, as in the `kind` of an answer.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "job_not_found",
            Self::State(_) => "job_state",
            Self::TooLarge(_) => "too_large",
            Self::Invalid(_) => "invalid_request",
            Self::Full(_) => "storage_full",
            Self::Busy(_) => "overloaded",
            Self::Damaged(_) => "storage_damaged",
            Self::Io(_) => "io",
        }
    }

    /// Status of the HTTP answer.
    pub fn http_status(&self) -> u16 {
        match self {
            Self::Unknown(_) => 404,
            Self::State(_) => 409,
            Self::TooLarge(_) => 413,
            Self::Invalid(_) => 400,
            Self::Full(_) => 507,
            Self::Busy(_) => 503,
            Self::Damaged(_) | Self::Io(_) => 500,
        }
    }

    /// Whether the same operation may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Full(_))
    }

    /// The message, for people.
    pub fn message(&self) -> &str {
        match self {
            Self::Unknown(message)
            | Self::State(message)
            | Self::TooLarge(message)
            | Self::Invalid(message)
            | Self::Full(message)
            | Self::Busy(message)
            | Self::Damaged(message)
            | Self::Io(message) => message,
        }
    }

    pub(super) fn unknown(id: &str) -> Self {
        // What a caller sends is shown shortened: it may be anything.
        let shown: String = id.chars().take(80).collect();
        Self::Unknown(format!("there is no job {shown:?}: it may have expired or been deleted"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Fault {}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let message = error.to_string();
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full(
                "there is no room left for jobs: delete jobs that are no longer needed, or raise the limit of the store"
                    .into(),
            ),
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
                Self::Busy("the job database is in use by another program: try again later".into())
            }
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
                Self::Damaged(format!("the job database is damaged ({message}): move it away to start a new one"))
            }
            _ => Self::Io(format!("the job database cannot be used: {message}")),
        }
    }
}
