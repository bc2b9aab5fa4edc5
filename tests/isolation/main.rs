//! An engine in a worker process: the same verdicts as in this process, and a program that survives any death of the
//! worker.
//!
//! The tests run one after the other: they count the processes, threads and descriptors of this program.
#![cfg(all(target_os = "linux", feature = "local", feature = "cli"))]

mod batch;
mod chaos;
mod life;
mod pins;
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by each test while it runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
