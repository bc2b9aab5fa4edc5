//! The entries of a JSON array, one after the other in bounded memory.

use std::io::{self, BufRead};

use dicast::ErrorKind;
use dicast::checksum::Checksum;

use super::super::super::Failure;
use super::super::lines::{Line, Numbered, Place};
use super::Records;

/// Reads the entries of one array.
pub(super) struct Array<R> {
    from: R,
    limit: usize,
    number: u64,
    /// Line of the file, from 1 up.
    line: u64,
    at: At,
}

/// How far reading is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Start,
    Entry,
    End,
}

impl<R: BufRead> Array<R> {
    pub(super) fn new(from: R, limit: usize) -> Self {
        Self { from, limit, number: 0, line: 1, at: At::Start }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.from.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                buffer => return Ok(buffer?.first().copied()),
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.from.consume(1);
            self.line += u64::from(byte == b'\n');
        }
        Ok(byte)
    }

    /// The next byte that is no white space, not taken yet.
    fn next_mark(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() && !matches!(byte, 0xef | 0xbb | 0xbf) {
                return Ok(Some(byte));
            }
            self.take()?;
        }
        Ok(None)
    }

    /// Takes one entry, up to the comma or bracket after it.
    fn entry(&mut self) -> io::Result<Option<(u64, Line)>> {
        let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
        let (mut kept, mut bytes, mut checksum) = (Vec::new(), 0_u64, Checksum::default());
        while let Some(byte) = self.peek()? {
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'[' | b'{' => depth += 1,
                    b',' | b']' if depth == 0 => {
                        let line = if bytes > self.limit as u64 {
                            Line::TooLong { bytes }
                        } else if kept.trim_ascii().is_empty() {
                            Line::Blank
                        } else {
                            Line::Whole(kept)
                        };
                        return Ok(Some((checksum.value(), line)));
                    }
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            self.take()?;
            bytes += 1;
            checksum.add(&[byte]);
            if bytes <= self.limit as u64 {
                kept.push(byte);
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<Option<Numbered>, Failure> {
        let cannot_read = |error: io::Error| Failure::io("cannot read the input", &error);
        let mark = self.next_mark().map_err(cannot_read)?;
        let wrong = |what: &str, line: u64| {
            Err(Failure::new(ErrorKind::InvalidRequest, format!("the JSON array {what} in line {line}")))
        };
        match (self.at, mark) {
            (At::End, None) => return Ok(None),
            (At::End, Some(_)) => return wrong("has something after its end", self.line),
            (_, None) => return wrong("is not closed at the end of the file,", self.line),
            (At::Start, _) => {
                self.take().map_err(cannot_read)?;
                self.at = At::Entry;
                if self.next_mark().map_err(cannot_read)? == Some(b']') {
                    self.take().map_err(cannot_read)?;
                    self.at = At::End;
                    return self.read();
                }
            }
            (At::Entry, _) => {}
        }
        self.next_mark().map_err(cannot_read)?;
        let place = self.line;
        let Some((checksum, line)) = self.entry().map_err(cannot_read)? else {
            return wrong("is not closed: the last entry begins", place);
        };
        if self.take().map_err(cannot_read)? == Some(b']') {
            self.at = At::End;
        }
        self.number += 1;
        Ok(Some(Numbered { number: self.number, place: Place::Line(place), checksum, line }))
    }
}

impl<R: BufRead + Send> Records for Array<R> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        self.read()
    }
}
