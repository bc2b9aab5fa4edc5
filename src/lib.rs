//! Dicast judges responses by a principle in plain language, with a judge model. The result is a complete, checked
//! [`Verdict`], a score for every response and a ranking, or a typed [`Error`].
//!
//! ```no_run
//! use dicast::{Judge, JudgeConfig, JudgeRequest};
//!
//! # fn main() -> dicast::Result<()> {
//! let judge = Judge::open(JudgeConfig::new("judge.gguf"))?;
//! let verdict = judge.judge(&JudgeRequest::new(
//!     "I prefer concise responses.",
//!     "How do I learn Python?",
//!     [("short", "Build small projects."), ("long", "First of all, one should consider that …")],
//! ))?;
//! for scored in &verdict.scores {
//!     // The score as the judge wrote it, and the mean of its distribution: a finer reward.
//!     println!("{} {} {:?}", scored.name, scored.score, scored.expected);
//! }
//! println!("best: {:?}", verdict.ranked_names().next());
//! # Ok(())
//! # }
//! ```
//!
//! A [`Judge`] is shared by any number of threads. [`Judge::judge`] waits for one verdict, [`Judge::judge_batch`] for many,
//! [`Judge::submit`] gives a [`Ticket`]: wait for it, cancel it, or take the outcome in a callback.
//!
//! # Features
//!
//! | feature | default | what it adds | what it needs |
//! | --- | --- | --- | --- |
//! | `local` | yes | `.gguf` models on llama.cpp, which is built from source | `CMake`, a C++ compiler, libclang |
//! | `cuda`, `metal`, `vulkan` | no | GPU backends of `local` | the SDK of the backend |
//! | `remote` | yes | judges behind servers that speak the `OpenAI` protocol, by URL | |
//! | `server` | yes | judges over HTTP: a router that a program can mount, and `dicast serve` | |
//! | `otel` | no | traces of the server's requests and judgments for `OpenTelemetry` | |
//! | `trtllm` | no | folders with an engine of TensorRT-LLM 1.0 to 1.2.1 | that library, `CMake`, a C++17 compiler |
//! | `cli` | yes | the program `dicast` | |
//! | `parquet` | no | Parquet files in `dicast batch` | |
//! | `testing` | no | an engine that answers by script, for tests of programs that embed a judge | |
//!
//! A program that only embeds the judge turns the command line off: `default-features = false, features = ["local"]`. With
//! no feature at all there are still requests, prompts, the reader of verdicts ([`verdict::parse`]), the C interface, and
//! judges on an engine of your own ([`Judge::with_engine`]).
//!
//! # How a judgment flows
//!
//! ```text
//! JudgeRequest -> prompt/   validate, mask, messages, chat template, tokens
//!              -> decode/   plan: reasoning under a budget, verdict under a grammar, score probes
//!              -> engine/   generate: local (llama.cpp), trtllm (TensorRT-LLM), both with a C++ half in cpp/; remote (servers)
//!              -> verdict/  read, check, unmask
//!              -> judge/    hand the Verdict to the caller
//! ```
//!
//! Data flows one way. Every interface enters at [`Judge`]. [`capi`] is the interface for C programs, `include/dicast.h`;
//! `include/dicast.hpp` and the Python package in `python/` are built on it. `server/` is the HTTP server, `cli/` the program
//! `dicast`. Further modules: [`config`] has every setting, [`principles`] the library of principles and rubrics, [`profiles`]
//! that of judge profiles, [`eval`] benchmarks and their metrics. A judgment of several runs (an ensemble, a rubric, blocks,
//! comparisons in pairs) is planned and merged in `judge/`.

#[expect(unsafe_code, reason = "the C interface: pointers come in and go out")]
pub mod capi;
pub mod checksum;
pub mod config;
pub mod date;
pub mod decode;
pub mod engine;
mod error;
pub mod eval;
mod files;
pub mod json;
mod judge;
mod log;
mod number;
pub mod principles;
pub mod profiles;
pub mod prompt;
mod request;
#[cfg(feature = "server")]
pub mod server;
mod sync;
mod thread;
pub mod verdict;
mod warm;

pub use config::{JudgeConfig, Options};
pub use error::{Error, ErrorKind, PartialVerdict, Result};
pub use judge::{Arriving, Canceller, Judge, Pinned, Sleep, Submission, Ticket, TokenCount};
pub use judge::{BOUNDS as TIME_BOUNDS, Histogram, Metrics, Phase, Recent};
pub use log::{Level, Log};
pub use prompt::profile::Profile;
pub use request::reading::{Keys, Reading};
pub use request::{Criterion, CriterionKind, JudgeRequest, MAX_CRITERIA, Response};
pub use verdict::{Flag, Repair, Scored, Verdict};

/// The examples of README.md, compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
