//! The C interface, `include/dicast.h`: one file per C type. The conventions are those of `docs/embedding.md`.
//!
//! Every export is one `boundary!`, which turns a panic into an error. Handles are boxes, so Rust's types say who owns
//! them: `Option<&T>` is a borrowed handle that may be null, `Option<Box<T>>` one that is handed over. The caller must pass
//! valid pointers, as in every C interface.
//!
//! Rust programs have [`Judge`](crate::Judge); only [`dicast_judge::new`] is for them: it hands a judge to C code.

#![expect(non_camel_case_types, reason = "the names of the C interface")]
#![expect(clippy::doc_markdown, reason = "the comments are those of the C header")]
#![expect(clippy::missing_safety_doc, reason = "what a caller owes is said once, in the header's first comment")]

#[macro_use]
mod boundary;
mod layout;
mod text;

mod aliases;
mod ask;
mod batch;
mod config;
mod engine;
mod error;
mod events;
mod job;
mod judge;
mod log;
mod metrics;
mod parse;
mod pin;
mod profile;
mod prompt;
mod request;
mod rewards;
mod settings;
mod sleep;
mod stats;
mod status;
mod submit;
mod ticket;
mod token;
mod verdict;
mod version;

pub(crate) use boundary::silence_own_panics;

/// Creates values that are made only once, before they are used.
pub(crate) fn warm() {
    dicast_config_schema();
    dicast_status_name(DICAST_INVALID_REQUEST);
}

pub use aliases::*;
pub use ask::*;
pub use batch::*;
pub use config::*;
pub use engine::*;
pub use error::*;
pub use events::*;
pub use job::*;
pub use judge::*;
pub use log::*;
pub use metrics::*;
pub use parse::*;
pub use pin::*;
pub use profile::*;
pub use prompt::*;
pub use request::*;
pub use rewards::*;
pub use settings::*;
pub use sleep::*;
pub use stats::*;
pub use status::*;
pub use submit::*;
pub use text::*;
pub use ticket::*;
pub use token::*;
pub use verdict::*;
pub use version::*;
