//! One request of a job, from its line to its result. It is sent again, a limited number of times, if that may help.

use std::time::Duration;

use super::line::{self, Own};
use super::runner::Judging;
use super::store::{Claim, JobInfo, Outcome};
use crate::config::Options;
use crate::error::{Error, ErrorKind};

/// The outcome of a request.
pub(super) enum End {
    /// Its result.
    Outcome(Outcome),
    /// Its judge is not available. That is not a result of the request.
    NoJudge(Error),
}

/// How often a request is sent, at most, and the first pause before it is sent again, for an error of its kind. Each pause is
/// twice the one before, up to [`LONGEST`].
fn patience(error: &Error) -> (u32, Duration) {
    if !error.is_retryable() {
        return (1, Duration::ZERO);
    }
    match error.kind() {
        // Other requests fill the queue; there will be room later.
        ErrorKind::Overloaded => (60, Duration::from_millis(250)),
        // The engine or its server failed during the request. If the request itself is the cause, the engine refuses it.
        ErrorKind::Engine | ErrorKind::Network => (10, Duration::from_millis(100)),
        ErrorKind::Timeout => (3, Duration::from_millis(100)),
        // The same request with the same seed would be read as badly again.
        _ => (1, Duration::ZERO),
    }
}

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Judges a request of a job.
pub(super) async fn judge(judging: &dyn Judging, job: &JobInfo, options: &Options, claim: &Claim) -> End {
    let (own, request) = line::read(&claim.line, options);
    let request = match request {
        Ok(request) => request,
        Err(error) => return End::Outcome(outcome(claim, &own, &Err(error), 1)),
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let result = judging.judge(job, request.clone()).await;
        if let Err(error) = &result {
            let no_judge = matches!(
                error.kind(),
                ErrorKind::EngineDead
                    | ErrorKind::Closed
                    | ErrorKind::ModelNotFound
                    | ErrorKind::InvalidModel
                    | ErrorKind::InvalidProfile
            );
            let (most, first) = patience(error);
            if no_judge {
                return End::NoJudge(Error::new(error.kind(), error.message()));
            }
            if attempts < most {
                let pause = first.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST);
                tokio::time::sleep(pause).await;
                continue;
            }
        }
        return End::Outcome(outcome(claim, &own, &result, attempts));
    }
}

fn outcome(claim: &Claim, own: &Own, result: &crate::Result<crate::Verdict>, attempts: u32) -> Outcome {
    let line = line::write(claim.place, own, result, attempts);
    Outcome { job: claim.job, place: claim.place, failed: result.is_err(), line }
}

/// The result of a request that failed for an external reason.
pub(super) fn failed(claim: &Claim, error: Error) -> Outcome {
    let (own, _) = line::read(&claim.line, &Options::default());
    outcome(claim, &own, &Err(error), 1)
}
