//! Where results are written, in order.

use std::io::{self, Write};

use super::super::Failure;
use super::formats::Encoder;

/// Why writing stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The reader of the output has closed it.
    ReaderGone,
    /// Something failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What results are written to.
pub(crate) trait Sink {
    /// Appends the result of a record.
    ///
    /// # Errors
    /// The output cannot be written to.
    fn append(&mut self, checksum: u64, result: &str) -> Result<(), Stop>;
}

/// Results into standard output or a device: there is no journal, and the output cannot be continued.
pub(crate) struct Stream<W: Write + Send> {
    encoder: Encoder<W>,
    name: String,
}

impl<W: Write + Send> Stream<W> {
    pub(crate) fn new(encoder: Encoder<W>, name: impl Into<String>) -> Self {
        Self { encoder, name: name.into() }
    }

    /// Ends the output.
    ///
    /// # Errors
    /// As [`Sink::append`].
    pub(crate) fn finish(self) -> Result<W, Stop> {
        let name = self.name;
        self.encoder.finish().map_err(|error| stop(&name, &error))
    }
}

impl<W: Write + Send> Sink for Stream<W> {
    fn append(&mut self, _: u64, result: &str) -> Result<(), Stop> {
        self.encoder.push(result).map_err(|error| stop(&self.name, &error))
    }
}

fn stop(name: &str, error: &io::Error) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Stop::ReaderGone
    } else {
        Failure::io(format_args!("cannot write to {name}"), error).into()
    }
}
