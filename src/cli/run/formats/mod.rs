//! The formats of input and output: JSON Lines, a JSON array, CSV and Parquet, each plain or compressed.

mod array;
mod csv;
mod encode;
#[cfg(feature = "parquet")]
mod parquet;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use dicast::checksum::Checksum;
use dicast::{ErrorKind, Keys};

use super::super::Failure;
use super::lines::{Line, Lines, Numbered};

pub(crate) use self::encode::{Encoder, is_of_result};

/// How records lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// A JSON array of objects.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Apache Parquet (needs the feature `parquet`).
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Format {
    /// Format and compression by the ending of a name; JSON Lines if the ending is unknown.
    pub(crate) fn of(path: &Path) -> (Self, Compression) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let (stem, compression) = match name.rsplit_once('.') {
            Some((stem, "gz" | "gzip")) => (stem, Compression::Gzip),
            Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
            _ => (name.as_str(), Compression::None),
        };
        let format = match stem.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            Some("parquet") => Self::Parquet,
            _ => Self::Jsonl,
        };
        (format, compression)
    }
}

/// Reads records in order.
pub(crate) trait Records: Send {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Only what makes the rest unreadable; a single wrong record is returned as a record.
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure>;
}

impl<T: Records + ?Sized> Records for Box<T> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        (**self).next_record()
    }
}

impl<R: BufRead + Send> Records for Lines<R> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        self.next_line().map_err(|error| Failure::io("cannot read the input", &error))
    }
}

/// The first `left` records.
pub(crate) struct First<R> {
    pub(crate) records: R,
    pub(crate) left: u64,
}

impl<R: Records> Records for First<R> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.records.next_record()
    }
}

/// Records whose checksum leaves out their deadline, which says how long to wait, not what to judge.
struct Undated<R>(R);

impl<R: Records> Records for Undated<R> {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        let mut record = self.0.next_record()?;
        if let Some(Numbered { line: Line::Whole(json), checksum, .. }) = &mut record
            && json.windows(DEADLINE.len()).any(|part| part == DEADLINE.as_bytes())
            && let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(json)
            && let Some(options) = value.get_mut("options").and_then(serde_json::Value::as_object_mut)
            && options.shift_remove(DEADLINE).is_some()
        {
            if options.is_empty() {
                value.as_object_mut().map(|object| object.shift_remove("options"));
            }
            let mut undated = Checksum::default();
            undated.add(value.to_string().as_bytes());
            *checksum = undated.value();
        }
        Ok(record)
    }
}

/// The option that is a deadline.
const DEADLINE: &str = "timeout_ms";

/// Opens a file, or standard input if the name is `-`. A record may have `limit` bytes.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if there is no such file or its format is not one of these, else [`ErrorKind::Io`].
pub(crate) fn open(
    path: &Path,
    format: Option<Format>,
    keys: &Keys,
    limit: usize,
) -> Result<Box<dyn Records>, Failure> {
    Ok(Box::new(Undated(open_dated(path, format, keys, limit)?)))
}

fn open_dated(path: &Path, format: Option<Format>, keys: &Keys, limit: usize) -> Result<Box<dyn Records>, Failure> {
    let cannot_read = |error: io::Error| {
        let place = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        match error.kind() {
            io::ErrorKind::NotFound => Failure::new(ErrorKind::InvalidConfig, format!("there is no file {place}")),
            io::ErrorKind::IsADirectory => Failure::new(ErrorKind::InvalidConfig, format!("{place} is a folder")),
            _ => Failure::io(format_args!("cannot read {place}"), &error),
        }
    };
    let by_name = Format::of(path).0;
    let mut reader: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::with_capacity(1 << 16, io::stdin()))
    } else {
        let file = File::open(path).map_err(cannot_read)?;
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(cannot_read(io::ErrorKind::IsADirectory.into()));
        }
        if format.unwrap_or(by_name) == Format::Parquet {
            return parquet(file, path, keys, limit);
        }
        Box::new(BufReader::with_capacity(1 << 16, file))
    };
    // Decided by the bytes: standard input has no name, and names may be wrong.
    reader = match reader.fill_buf().map_err(cannot_read)? {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::Decoder::with_buffer(reader).map_err(cannot_read)?;
            Box::new(BufReader::with_capacity(1 << 16, decoder))
        }
        _ => reader,
    };
    let start = reader.fill_buf().map_err(cannot_read)?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let is_list = start.starts_with(b"[");
    match format.unwrap_or(by_name) {
        Format::Csv => Ok(Box::new(csv::Rows::new(reader, keys, limit)?)),
        Format::Parquet => Err(Failure::new(
            ErrorKind::Unsupported,
            "a Parquet file cannot be read from standard input or compressed as a whole: its table of contents is at its end",
        )
        .hint("name the plain file")),
        // Each line of JSON Lines is an object, so a file that begins with a bracket is a list, whatever its name is.
        _ if is_list => Ok(Box::new(array::Array::new(reader, limit))),
        _ => Ok(Box::new(Lines::new(reader, limit))),
    }
}

#[cfg(feature = "parquet")]
fn parquet(file: File, path: &Path, keys: &Keys, limit: usize) -> Result<Box<dyn Records>, Failure> {
    Ok(Box::new(parquet::Rows::new(file, path, keys, limit)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: File, path: &Path, _: &Keys, _: usize) -> Result<Box<dyn Records>, Failure> {
    Err(no_parquet(path))
}

#[cfg(not(feature = "parquet"))]
fn no_parquet(path: &Path) -> Failure {
    Failure::new(ErrorKind::Unsupported, format!("{}: Parquet files need the feature `parquet`", path.display()))
        .hint("build with `--features parquet`, or convert the file to JSON Lines or CSV")
}

/// A row of a table as the JSON of a request. Cells of columns that hold JSON are copied unchanged.
struct Row {
    json: Vec<u8>,
    /// Responses that have their own columns.
    responses: Vec<(String, String)>,
    wrong: Option<String>,
}

impl Row {
    fn new() -> Self {
        Self { json: vec![b'{'], responses: Vec::new(), wrong: None }
    }

    fn raw(&mut self, key: &str, json: &str) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(serde_json::Value::from(key).to_string().as_bytes());
        self.json.push(b':');
        self.json.extend_from_slice(json.as_bytes());
    }

    /// A cell of text under its column.
    fn text(&mut self, column: &str, cell: &str, keys: &Keys) {
        let is_responses = matches!(keys.responses.as_slice(), [only] if only == column);
        let is_json = is_responses || matches!(column, "options" | "mask_responses");
        if matches!(column, "options" | "mask_responses" | "reference") && cell.trim().is_empty() {
            return;
        }
        if is_json {
            match serde_json::from_str::<serde::de::IgnoredAny>(cell) {
                Ok(_) => self.raw(column, cell),
                Err(error) => {
                    self.wrong.get_or_insert(format!("the column {column:?} is not JSON: {error}"));
                }
            }
        } else if let Some(name) = column.strip_prefix("response_").filter(|_| keys.responses == ["responses"]) {
            self.responses.push((name.to_owned(), serde_json::Value::from(cell).to_string()));
        } else {
            self.raw(column, &serde_json::Value::from(cell).to_string());
        }
    }

    /// The JSON of the whole row, or what is wrong with it.
    fn finish(mut self) -> Result<Vec<u8>, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        if !self.responses.is_empty() {
            let entries: Vec<String> = std::mem::take(&mut self.responses)
                .into_iter()
                .map(|(name, text)| format!("{}:{text}", serde_json::Value::from(name)))
                .collect();
            self.raw("responses", &format!("{{{}}}", entries.join(",")));
        }
        self.json.push(b'}');
        Ok(self.json)
    }
}

#[cfg(test)]
mod tests;
