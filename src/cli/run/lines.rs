//! The lines of a JSON Lines file, with any bytes and of any length, in bounded memory.

use std::fmt;
use std::io::{self, BufRead};

use dicast::checksum::Checksum;

/// One record of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Its bytes, without the line end.
    Whole(Vec<u8>),
    /// Nothing but white space, with further lines after it.
    Blank,
    /// More bytes than the limit; they were skipped.
    TooLong {
        /// How many there were.
        bytes: u64,
    },
    /// A single wrong row of a table, and what is wrong with it.
    Wrong(String),
}

/// Where a record stands in the user's file, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of text, from 1 up.
    Line(u64),
    /// A row of a table without lines, from 1 up.
    #[cfg(feature = "parquet")]
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            #[cfg(feature = "parquet")]
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// One record with what distinguishes it from others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// From 1 up.
    pub(crate) number: u64,
    /// Where it stands in the file.
    pub(crate) place: Place,
    /// Checksum of all its bytes, including skipped ones.
    pub(crate) checksum: u64,
    /// What it holds.
    pub(crate) line: Line,
}

/// Reads lines. Blank lines at the end do not count: an output has one line for each line of input up to the last that is
/// not blank.
pub(crate) struct Lines<R> {
    from: R,
    limit: usize,
    number: u64,
    /// Blank lines that are held back until a line comes that is not blank.
    blanks: u64,
    /// That line.
    next: Option<(u64, Line)>,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R, limit: usize) -> Self {
        Self { from, limit, number: 0, blanks: 0, next: None }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Numbered>> {
        if !self.has_more()? {
            return Ok(None);
        }
        self.number += 1;
        let (checksum, line) = if self.blanks > 0 {
            self.blanks -= 1;
            // All blank lines count as equal: changed white space does not change the meaning.
            (Checksum::default().value(), Line::Blank)
        } else {
            self.next.take().expect("there is more")
        };
        Ok(Some(Numbered { number: self.number, place: Place::Line(self.number), checksum, line }))
    }

    /// Whether there is a further line.
    pub(crate) fn has_more(&mut self) -> io::Result<bool> {
        while self.next.is_none() {
            match self.read()? {
                None => return Ok(false),
                Some((_, Line::Blank)) => self.blanks += 1,
                Some(line) => self.next = Some(line),
            }
        }
        Ok(true)
    }

    /// Reads one line of any kind.
    fn read(&mut self) -> io::Result<Option<(u64, Line)>> {
        let mut kept = Vec::new();
        let mut bytes = 0_u64;
        let mut checksum = Checksum::default();
        loop {
            let buffer = match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            if buffer.is_empty() && bytes == 0 {
                return Ok(None);
            }
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..end.unwrap_or(buffer.len())];
            checksum.add(part);
            let room = self.limit.saturating_sub(kept.len()).min(part.len());
            kept.extend_from_slice(&part[..room]);
            bytes += part.len() as u64;
            let (used, at_end) = (part.len() + usize::from(end.is_some()), end.is_some() || buffer.is_empty());
            self.from.consume(used);
            if at_end {
                break;
            }
        }
        let line = if bytes > self.limit as u64 {
            Line::TooLong { bytes }
        } else if kept.trim_ascii().is_empty() {
            Line::Blank
        } else {
            Line::Whole(kept)
        };
        Ok(Some((checksum.value(), line)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], limit: usize) -> Vec<Line> {
        // A tiny buffer, so that every line spans several.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, text), limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            assert_eq!(line.number, all.len() as u64 + 1);
            all.push(line.line);
        }
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[test]
    fn lines_keep_their_places() {
        assert_eq!(read(b"", 9), []);
        assert_eq!(read(b"one\ntwo", 9), [whole("one"), whole("two")]);
        assert_eq!(
            read(b"\n \none\n\r\n\ntwo\n", 9),
            [Line::Blank, Line::Blank, whole("one"), Line::Blank, Line::Blank, whole("two")]
        );
        assert_eq!(read(b"one\n\n\n  ", 9), [whole("one")]);
        assert_eq!(read(b"\xff\xfe\n", 9), [Line::Whole(b"\xff\xfe".to_vec())]);
    }

    #[test]
    fn a_line_past_the_limit_is_skipped_and_counted() {
        assert_eq!(read(b"0123456789\nnext\n", 9), [Line::TooLong { bytes: 10 }, whole("next")]);
        assert_eq!(read(b"012345678\n", 9), [whole("012345678")]);
        assert_eq!(read(b"0123456789", 9), [Line::TooLong { bytes: 10 }]);
    }

    #[test]
    fn a_checksum_covers_what_was_skipped() {
        let checksum = |text: &str| Lines::new(text.as_bytes(), 3).next_line().unwrap().unwrap().checksum;
        assert_ne!(checksum("0123456789"), checksum("0123456788"));
        assert_eq!(checksum("abc\nx"), checksum("abc"));
    }
}
