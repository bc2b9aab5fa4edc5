//! `dicast engine-worker`: the process that an isolated engine runs in. Started by judges, not by people.

use std::path::PathBuf;

#[cfg(not(any(feature = "local", feature = "trtllm")))]
use dicast::ErrorKind;
use dicast::JudgeConfig;
use dicast::config::Isolation;

use super::{Failure, Outcome};

/// Runs an engine for the process that has started this one.
#[cfg(any(feature = "local", feature = "trtllm"))]
pub(crate) fn run() -> Outcome {
    Ok(dicast::engine::isolated::serve()?)
}

#[cfg(not(any(feature = "local", feature = "trtllm")))]
pub(crate) fn run() -> Outcome {
    Err(Failure::new(ErrorKind::Unsupported, "this build has no engine that runs in a worker process"))
}

/// Isolates the engine by default if the platform has worker processes, with this program as the worker.
pub(crate) fn isolate(config: &mut JudgeConfig) -> Result<(), Failure> {
    let usual = if cfg!(unix) { Isolation::Process } else { Isolation::None };
    let isolation = config.local.isolation.get_or_insert(usual);
    if *isolation == Isolation::Process && config.local.worker_path.is_none() {
        config.local.worker_path = Some(this_program()?);
    }
    if config.trtllm.is_isolated() && config.trtllm.program_path.is_none() {
        config.trtllm.program_path = Some(this_program()?);
    }
    Ok(())
}

/// This program, even if its file was replaced while it runs.
fn this_program() -> Result<PathBuf, Failure> {
    let running = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && running.exists() {
        return Ok(running);
    }
    std::env::current_exe().map_err(|error| Failure::io("cannot find the program dicast itself", &error))
}
