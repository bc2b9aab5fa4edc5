//! The judge: opens a model, takes requests, hands out verdicts.

mod ticket;

use crate::config::JudgeConfig;
use crate::engine::Stats;
use crate::error::Result;
use crate::prompt::profile::Profile;
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

pub use ticket::Ticket;

/// An opened model with its profile. Shared by any number of threads.
pub struct Judge {}

impl Judge {
    /// Opens a judge: checks the configuration, finds the profile, loads the model.
    ///
    /// # Errors
    /// Of the configuration, the profile or the model; nothing is left open.
    pub fn open(config: JudgeConfig) -> Result<Self> {
        let _ = config;
        unimplemented!()
    }

    /// The profile that this judge goes by.
    pub fn profile(&self) -> &Profile {
        unimplemented!()
    }

    /// Counters of the engine.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Judges one request and waits for the verdict.
    ///
    /// # Errors
    /// See [`crate::ErrorKind`]; an incomplete verdict carries what could be read.
    pub fn judge(&self, request: JudgeRequest) -> Result<Verdict> {
        self.submit(request).wait()
    }

    /// Queues a request. Whatever is wrong with it is found in the ticket.
    pub fn submit(&self, request: JudgeRequest) -> Ticket {
        let _ = request;
        unimplemented!()
    }

    /// Judges many requests at once; results come in the order of the requests. Waits for room in the queue where there
    /// are more than fit.
    pub fn judge_batch(&self, requests: Vec<JudgeRequest>) -> Vec<Result<Verdict>> {
        let _ = requests;
        unimplemented!()
    }
}
