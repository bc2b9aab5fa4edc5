//! Dicast judges responses by a principle in plain language, with a judge model, and gives a complete verdict or a typed
//! error.
//!
//! ```text
//! JudgeRequest -> prompt/   validate, mask, messages, chat template, tokens
//!              -> decode/   plan: reasoning under a budget, verdict under a grammar, score probes
//!              -> engine/   generate: local (llama.cpp) or trtllm (TensorRT-LLM; its C++ half is in cpp/)
//!              -> verdict/  read, check, unmask
//!              -> judge/    hand the Verdict to the caller
//! ```
//!
//! One direction, no way back; every front enters at [`Judge`]. `capi/` is the front of C programs, `include/dicast.h`;
//! `include/dicast.hpp` and the Python package in `python/` stand on it.

#[expect(unsafe_code, reason = "the C interface: pointers come in and go out")]
pub mod capi;
pub mod config;
pub mod decode;
pub mod engine;
mod error;
pub mod judge;
pub mod log;
pub mod prompt;
mod request;
pub mod verdict;

pub use config::{JudgeConfig, Options};
pub use error::{Error, ErrorKind, PartialVerdict, Result};
pub use judge::{Canceller, Judge, Ticket};
pub use log::{Level, Log};
pub use prompt::profile::Profile;
pub use request::{JudgeRequest, Response};
pub use verdict::{Flag, Repair, Scored, Verdict};

/// The examples of README.md, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
