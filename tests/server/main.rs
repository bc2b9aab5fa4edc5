//! The HTTP server over the scripted engine, through real sockets.

#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    clippy::needless_pass_by_value,
    reason = "figures are small whole numbers; configurations are written where they are used"
)]

mod chat;
mod client;
mod coalesce;
mod jobs;
mod judging;
mod limits;
mod schema;
mod support;
#[cfg(feature = "otel")]
mod traces;
mod trainers;

#[cfg(feature = "otel")]
#[path = "../support/collector.rs"]
mod collector;
