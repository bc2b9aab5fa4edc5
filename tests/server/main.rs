//! The HTTP server over the scripted engine, through real sockets.

mod chat;
mod client;
mod coalesce;
mod judging;
mod limits;
mod schema;
mod support;
mod trainers;
