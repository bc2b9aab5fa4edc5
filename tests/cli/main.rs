//! The `dicast` command as a user meets it: the real binary, its exit codes, what it prints and where.
#![cfg(feature = "cli")]

mod after;
mod calibrate;
mod eval;
mod hub;
mod support;
mod usage;

#[cfg(feature = "remote")]
mod bench;
#[cfg(feature = "remote")]
mod remote;

#[cfg(all(feature = "remote", feature = "server"))]
mod serve_jobs;

#[cfg(feature = "server")]
#[expect(dead_code, reason = "the tests of the server use the rest")]
#[path = "../support/collector.rs"]
mod collector;
#[cfg(feature = "server")]
mod serve_traces;

#[cfg(feature = "local")]
mod batch;
#[cfg(feature = "local")]
mod batch_forms;
#[cfg(feature = "local")]
mod judging;
#[cfg(all(feature = "local", feature = "server"))]
mod serve;
