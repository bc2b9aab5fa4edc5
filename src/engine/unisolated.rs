//! Takes the place of `isolated` on systems other than Unix, which have no worker processes.

use std::process::ExitCode;

use crate::engine::Opened;
use crate::engine::isolation::{Model, TextParts};
use crate::error::{Error, ErrorKind, Result};

/// The verb of the program `dicast` that makes it a worker, on Unix.
pub const VERB: &str = "engine-worker";

/// Runs no engine.
///
/// # Errors
/// [`ErrorKind::Unsupported`].
pub fn serve() -> Result<ExitCode> {
    Err(Error::new(ErrorKind::Unsupported, "engines can run in worker processes only on Unix systems"))
}

/// Opens nothing: always an error.
///
/// # Errors
/// [`ErrorKind::Unsupported`], with the setting that asks for it.
pub(super) fn open(model: Model<'_>, _: impl FnOnce() -> Result<TextParts>) -> Result<Opened> {
    let Model { table, place, .. } = model;
    let message = format!(
        "{place}: {0}.isolation is process, but engines can run in worker processes only on Unix systems: set \
         {0}.isolation to none",
        table.name()
    );
    Err(Error::new(ErrorKind::Unsupported, message))
}
