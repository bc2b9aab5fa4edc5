//! Results in the format that was asked for.

use std::io::{self, Write};
use std::path::Path;

use dicast::{ErrorKind, Verdict};
use serde_json::{Map, Value};

use super::super::super::Failure;
use super::{Compression, Format};

/// The columns of a table of results, and whether each is a number. Columns with several values hold them as JSON.
pub(super) const COLUMNS: [(&str, bool); 20] = [
    ("line", true),
    ("id", false),
    ("custom_id", false),
    ("fields", false),
    ("scores", false),
    ("expected_scores", false),
    ("ranking", false),
    ("reasoning", false),
    ("repairs", false),
    ("flags", false),
    ("prompt_tokens", true),
    ("reasoning_tokens", true),
    ("verdict_tokens", true),
    ("error_kind", false),
    ("error_message", false),
    ("rewards", false),
    ("ensemble", false),
    ("blocks", false),
    ("rubric", false),
    ("preferences", false),
];

/// Whether a key of a result is not one of the caller's fields.
pub(crate) fn is_of_result(key: &str) -> bool {
    Verdict::KEYS.contains(&key) || ["named_reasoning", "error", "provenance", "input"].contains(&key)
}

/// One value of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Nothing,
    Number(i64),
    Text(String),
}

#[cfg(feature = "parquet")]
impl Cell {
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Where encoded bytes go, compressed or not.
enum Out<W: Write> {
    Plain(W),
    Gzip(flate2::write::GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Out<W> {
    fn new(out: W, compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::Plain(out),
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(out, 0)?),
        })
    }

    fn finish(self) -> io::Result<W> {
        let mut out = match self {
            Self::Plain(out) => out,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        out.flush()?;
        Ok(out)
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }
}

/// Writes results, each given as a line of JSON, in a format.
pub(crate) struct Encoder<W: Write + Send> {
    form: Form<W>,
    lines: i64,
}

#[cfg_attr(not(feature = "parquet"), expect(clippy::large_enum_variant, reason = "there is one in a run"))]
enum Form<W: Write + Send> {
    Jsonl(Out<W>),
    Json(Out<W>),
    Csv(csv::Writer<Out<W>>),
    #[cfg(feature = "parquet")]
    Parquet(super::parquet::Writer<Out<W>>),
}

impl<W: Write + Send> Encoder<W> {
    /// Starts a file. The error names `path` if the format is not part of this build.
    pub(crate) fn new(out: W, path: &Path, format: Format, compression: Compression) -> Result<Self, Failure> {
        if format == Format::Parquet && compression != Compression::None {
            return Err(Failure::new(
                ErrorKind::InvalidConfig,
                "a Parquet file is already compressed inside: name it without .gz or .zst",
            ));
        }
        let mut out = Out::new(out, compression).map_err(|error| cannot_write(&error))?;
        let form = match format {
            Format::Jsonl => Form::Jsonl(out),
            Format::Json => {
                out.write_all(b"[").map_err(|error| cannot_write(&error))?;
                Form::Json(out)
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS.map(|(name, _)| name)).map_err(|error| cannot_write(&error.into()))?;
                Form::Csv(writer)
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Form::Parquet(super::parquet::Writer::new(out)?),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(super::no_parquet(path)),
        };
        #[cfg(feature = "parquet")]
        let _ = path;
        Ok(Self { form, lines: 0 })
    }

    /// Writes a result, and makes sure that a reader sees it if the format allows this.
    ///
    /// # Errors
    /// The output cannot be written to; [`io::ErrorKind::BrokenPipe`] if its reader has closed it.
    pub(crate) fn push(&mut self, line: &str) -> io::Result<()> {
        self.lines += 1;
        match &mut self.form {
            Form::Jsonl(out) => out.write_all(line.as_bytes()).and_then(|()| match out {
                Out::Plain(out) => out.flush(),
                // Each flush would make the compression worse.
                Out::Gzip(_) | Out::Zstd(_) => Ok(()),
            }),
            Form::Json(out) => {
                let before: &[u8] = if self.lines == 1 { b"\n" } else { b",\n" };
                out.write_all(before).and_then(|()| out.write_all(line.trim_end().as_bytes()))
            }
            Form::Csv(writer) => {
                let cells = cells(self.lines, line).into_iter().map(|cell| match cell {
                    Cell::Nothing => String::new(),
                    Cell::Number(number) => number.to_string(),
                    Cell::Text(text) => text,
                });
                writer.write_record(cells).map_err(io::Error::from).and_then(|()| writer.flush())
            }
            #[cfg(feature = "parquet")]
            Form::Parquet(writer) => writer
                .push(cells(self.lines, line))
                .map_err(|failure| io::Error::other(failure.error.message().to_owned())),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(crate) fn finish(self) -> io::Result<W> {
        match self.form {
            Form::Jsonl(out) => out.finish(),
            Form::Json(mut out) => out.write_all(b"\n]\n").and_then(|()| out.finish()),
            Form::Csv(writer) => writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?.finish(),
            #[cfg(feature = "parquet")]
            Form::Parquet(writer) => {
                writer.finish().map_err(|failure| io::Error::other(failure.error.message().to_owned()))?.finish()
            }
        }
    }
}

fn cannot_write(error: &io::Error) -> Failure {
    Failure::io("cannot write the output", error)
}

/// A result as a row of the table.
fn cells(number: i64, line: &str) -> Vec<Cell> {
    let result: Value = serde_json::from_str(line).unwrap_or_default();
    let text = |value: &Value| match value {
        Value::Null => Cell::Nothing,
        Value::String(text) => Cell::Text(text.clone()),
        other => Cell::Text(other.to_string()),
    };
    let count = |key: &str| result["usage"][key].as_i64().map_or(Cell::Nothing, Cell::Number);
    let others: Map<String, Value> = result
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| !is_of_result(key) && *key != "id" && *key != "custom_id")
        .chain(result["input"].as_object().into_iter().flatten())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    COLUMNS
        .iter()
        .map(|&(column, _)| match column {
            "line" => Cell::Number(number),
            "fields" if others.is_empty() => Cell::Nothing,
            "fields" => Cell::Text(Value::from(others.clone()).to_string()),
            "prompt_tokens" | "reasoning_tokens" | "verdict_tokens" => count(column),
            "error_kind" => text(&result["error"]["kind"]),
            "error_message" => text(&result["error"]["message"]),
            other => text(&result[other]),
        })
        .collect()
}
