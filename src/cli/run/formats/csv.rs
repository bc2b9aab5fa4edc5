//! The rows of a CSV file with a header.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::{ByteRecord, Reader, ReaderBuilder};
use dicast::checksum::Checksum;
use dicast::{ErrorKind, Keys};

use super::super::super::Failure;
use super::super::lines::{Line, Numbered, Place};
use super::{Records, Row};

/// Bytes that the parser may have read ahead of a row.
const READ_AHEAD: u64 = 64 << 10;

/// Reads rows.
pub(super) struct Rows<R> {
    reader: Reader<Bounded<R>>,
    left: Arc<AtomicU64>,
    header: Vec<String>,
    keys: Keys,
    limit: u64,
    number: u64,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    pub(super) fn new(from: R, keys: &Keys, limit: usize) -> Result<Self, Failure> {
        let limit = limit as u64;
        let left = Arc::new(AtomicU64::new(limit + READ_AHEAD));
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(Bounded { from, left: left.clone() });
        let header = reader.headers().map_err(|error| cannot_read(&error))?;
        let header: Vec<String> = header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        let mut seen = std::collections::HashSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Failure::new(ErrorKind::InvalidRequest, format!("the CSV header names {twice:?} twice")));
        }
        Ok(Self { reader, left, header, keys: keys.clone(), limit, number: 0 })
    }

    fn line(&self, record: &ByteRecord) -> Line {
        let bytes = record.as_slice().len() as u64;
        if bytes > self.limit {
            return Line::TooLong { bytes };
        }
        if record.len() != self.header.len() {
            return Line::Wrong(format!(
                "the row has {} cells, but the header has {}",
                record.len(),
                self.header.len()
            ));
        }
        let mut row = Row::new();
        for (column, cell) in self.header.iter().zip(record) {
            match std::str::from_utf8(cell) {
                Ok(cell) => row.text(column, cell, &self.keys),
                Err(_) => return Line::Wrong(format!("the column {column:?} is not UTF-8")),
            }
        }
        row.finish().map_or_else(Line::Wrong, Line::Whole)
    }
}

impl<R: BufRead + Send> Records for Rows<R> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        self.left.store(self.limit + READ_AHEAD, Ordering::Relaxed);
        let mut record = ByteRecord::new();
        if !self.reader.read_byte_record(&mut record).map_err(|error| cannot_read(&error))? {
            return Ok(None);
        }
        self.number += 1;
        let mut checksum = Checksum::default();
        for cell in &record {
            checksum.add(&(cell.len() as u64).to_le_bytes());
            checksum.add(cell);
        }
        let place = Place::Line(record.position().map_or(self.number + 1, csv::Position::line));
        let line = self.line(&record);
        Ok(Some(Numbered { number: self.number, place, checksum: checksum.value(), line }))
    }
}

fn cannot_read(error: &csv::Error) -> Failure {
    Failure::new(ErrorKind::Io, format!("cannot read the CSV file: {error}"))
}

/// Limits the length of a row: a quote that is never closed would otherwise swallow the whole file.
struct Bounded<R> {
    from: R,
    left: Arc<AtomicU64>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other("a row is longer than the limit of a request: is a quote not closed?"));
        }
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.from.read(&mut buffer[..room])?;
        self.left.fetch_sub(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
