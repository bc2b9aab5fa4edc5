//! Jobs: many requests that are uploaded at once and judged in the background. They survive the death of the server.
//!
//! - `job.rs`: what a job is; `store.rs`: jobs, requests and results in one `SQLite` file; `schema.rs` opens it; `fault.rs`: what can go wrong with it.
//! - `runner.rs`: which request is judged next, and when results are stored; `item.rs`: one request, with its retries;
//!   `line.rs`: the lines of requests and results.
//! - `api.rs`: `/v1/jobs`; `reference.rs`: `/api/batch_request` and the related routes.
//! - This file connects them with a server.

mod api;
mod config;
mod fault;
mod item;
mod job;
mod line;
pub(super) mod openapi;
mod reference;
mod runner;
mod schema;
mod store;

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use axum::Router;

use crate::error::{Error, ErrorKind, Result};
use crate::request::JudgeRequest;

use super::{Caller, Inner, Server};
pub use config::JobsConfig;
pub use fault::Fault;
pub(crate) use runner::Jobs;
use runner::{Judging, Judgment};
pub use store::{Claim, Counts, JobInfo, NewJob, Outcome, State, Store, StoreLimits, Stored};

/// How long a request of a job waits for its turn before it is sent again.
pub(super) const TURN: Duration = Duration::from_secs(60 * 60);
/// How long storing finished results may take when the server ends.
const FAREWELL: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<Server> {
    api::routes().merge(reference::routes())
}

/// Opens the store that the settings name.
pub(super) fn open(config: &JobsConfig) -> Result<Jobs> {
    let store = match &config.file {
        Some(file) => Store::open(file, config.limits()),
        None => Store::in_memory(config.limits()),
    };
    let store = store.map_err(|fault| {
        let kind = match fault {
            Fault::Io(_) | Fault::Full(_) => ErrorKind::Io,
            _ => ErrorKind::InvalidConfig,
        };
        Error::new(kind, format!("server.jobs: {fault}"))
    })?;
    Ok(Jobs::new(store))
}

impl Server {
    /// The jobs. Whoever asks for them may add work, so the first call starts the runner, unless the program has handed a
    /// socket to [`Server::serve`].
    pub(crate) fn jobs(&self) -> &Jobs {
        self.start_jobs();
        &self.0.jobs
    }

    /// Starts to judge the requests of jobs, including those left by an earlier server.
    pub(super) fn start_jobs(&self) {
        let mut task = self.0.jobs_task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.is_some() {
            return;
        }
        let mut draining = self.draining();
        let stop = async move {
            // Also where the server is gone.
            let _ = draining.wait_for(|draining| *draining).await;
        };
        let judging = Arc::new(ByServer(Arc::downgrade(&self.0)));
        *task = Some(tokio::spawn(self.0.jobs.clone().run(judging, stop)));
    }

    /// Waits until all finished results are stored.
    pub(super) async fn end_jobs(&self) {
        let task = self.0.jobs_task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && tokio::time::timeout(FAREWELL, task).await.is_err()
        {
            tracing::warn!("results of jobs could not be stored: their requests will be judged again");
        }
    }
}

/// Judges requests of jobs with the judges of a server, for as long as that is there.
struct ByServer(Weak<Inner>);

impl Judging for ByServer {
    fn judge(&self, job: &JobInfo, request: JudgeRequest) -> Judgment {
        let Some(server) = self.0.upgrade().map(Server) else {
            return Box::pin(async { Err(Error::closed()) });
        };
        let caller = server.caller(&job.owner, &job.id);
        let caller = Caller { client: Arc::new(caller.client.jobs()), ..caller };
        let model = job.model.clone();
        Box::pin(async move { server.judge(&caller, Some(&model), request, None).await })
    }

    fn at_once(&self, model: &str) -> usize {
        let Some(server) = self.0.upgrade().map(Server) else { return 1 };
        let wanted = server.config().jobs.max_running;
        if wanted > 0 {
            return wanted;
        }
        // One until the judge is loaded: that is what loads it.
        server.judges().loaded(model).map_or(1, |loaded| loaded.judge.capabilities().max_sequences.max(1))
    }
}
