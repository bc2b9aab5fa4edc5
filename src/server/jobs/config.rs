//! Settings of jobs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::store::StoreLimits;
use crate::error::{Error, ErrorKind, Result};

/// Settings of jobs: the object `"jobs"` of the server's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// The database file. `None`: jobs are kept in memory and end with the server, but `dicast serve` then uses its default file.
    pub file: Option<PathBuf>,
    /// Most bytes of that file; above it uploads are refused with status 507, and results wait until there is room.
    pub max_bytes: u64,
    /// Most jobs of one client.
    pub max_jobs: u32,
    /// Most requests of one job.
    pub max_requests: u32,
    /// Most bytes of one upload.
    pub max_upload_bytes: usize,
    /// How long a job is kept after its end, in seconds, unless the job sets its own time.
    pub keep_s: u64,
    /// The longest that a job may ask to be kept after its end, in seconds.
    pub max_keep_s: u64,
    /// How long a job that was not started is kept after its last upload, in seconds.
    pub open_s: u64,
    /// Judgments of jobs that one judge works on at once; 0: as many as its engine decodes at once.
    pub max_running: usize,
}

impl Default for JobsConfig {
    fn default() -> Self {
        let day = 24 * 60 * 60;
        Self {
            file: None,
            max_bytes: 16 << 30,
            max_jobs: 1000,
            max_requests: 1_000_000,
            max_upload_bytes: 64 << 20,
            keep_s: 7 * day,
            max_keep_s: 30 * day,
            open_s: day,
            max_running: 0,
        }
    }
}

impl JobsConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key and the range.
    pub fn check(&self) -> Result<()> {
        let year = 366 * 24 * 60 * 60;
        let ranges = [
            ("max_bytes", self.max_bytes, 1 << 20, 1 << 45),
            ("max_jobs", self.max_jobs.into(), 1, 1_000_000),
            ("max_requests", self.max_requests.into(), 1, 100_000_000),
            ("max_upload_bytes", self.max_upload_bytes as u64, 1024, 1 << 30),
            ("keep_s", self.keep_s, 0, year),
            ("max_keep_s", self.max_keep_s, 0, year),
            ("open_s", self.open_s, 60, year),
            ("max_running", self.max_running as u64, 0, 1_000_000),
        ];
        for (key, value, min, max) in ranges {
            if value < min || value > max {
                return Err(Error::new(
                    ErrorKind::InvalidConfig,
                    format!("server.jobs.{key} is {value}: must be from {min} to {max}"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> StoreLimits {
        StoreLimits {
            max_bytes: self.max_bytes,
            max_jobs: self.max_jobs,
            max_requests: self.max_requests,
            open_ms: self.open_s * 1000,
            max_keep_ms: self.max_keep_s * 1000,
        }
    }
}
