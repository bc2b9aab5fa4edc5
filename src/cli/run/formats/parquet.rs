//! Parquet files: rows in, results out.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use dicast::checksum::Checksum;
use dicast::{ErrorKind, Keys};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::SerializedFileReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::record::reader::RowIter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use super::super::super::Failure;
use super::super::lines::{Line, Numbered, Place};
use super::encode::{COLUMNS, Cell};
use super::{Records, Row};

/// Rows of one row group of the output.
const GROUP: usize = 1024;

/// Reads rows.
pub(super) struct Rows {
    from: RowIter<'static>,
    keys: Keys,
    limit: usize,
    number: u64,
}

impl Rows {
    pub(super) fn new(file: File, path: &Path, keys: &Keys, limit: usize) -> Result<Self, Failure> {
        let reader = SerializedFileReader::new(file).map_err(|error| {
            Failure::new(ErrorKind::InvalidRequest, format!("{} is not a Parquet file: {error}", path.display()))
        })?;
        Ok(Self { from: reader.into_iter(), keys: keys.clone(), limit, number: 0 })
    }

    fn line(&self, row: &Value) -> Line {
        let mut json = Row::new();
        for (column, cell) in row.as_object().into_iter().flatten() {
            match cell {
                Value::String(text) => json.text(column, text, &self.keys),
                // In a table every row has all members of a struct; members that were not written are null.
                Value::Object(members) if self.keys.responses == [column.as_str()] => {
                    let members: serde_json::Map<_, _> = members
                        .iter()
                        .filter(|(_, text)| !text.is_null())
                        .map(|(name, text)| (name.clone(), text.clone()))
                        .collect();
                    json.raw(column, &Value::from(members).to_string());
                }
                other => json.raw(column, &other.to_string()),
            }
        }
        match json.finish() {
            Ok(json) if json.len() > self.limit => Line::TooLong { bytes: json.len() as u64 },
            Ok(json) => Line::Whole(json),
            Err(wrong) => Line::Wrong(wrong),
        }
    }
}

impl Records for Rows {
    fn next_record(&mut self) -> Result<Option<Numbered>, Failure> {
        let Some(row) = self.from.next() else { return Ok(None) };
        let row = row.map_err(|error| cannot("read", &error))?.to_json_value();
        self.number += 1;
        let mut checksum = Checksum::default();
        checksum.add(row.to_string().as_bytes());
        let line = self.line(&row);
        Ok(Some(Numbered { number: self.number, place: Place::Row(self.number), checksum: checksum.value(), line }))
    }
}

fn cannot(verb: &str, error: &ParquetError) -> Failure {
    Failure::new(ErrorKind::Io, format!("cannot {verb} the Parquet file: {error}"))
}

/// Writes rows of cells.
pub(super) struct Writer<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    rows: Vec<Vec<Cell>>,
}

impl<W: Write + Send> Writer<W> {
    pub(super) fn new(out: W) -> Result<Self, Failure> {
        let columns: Vec<String> =
            COLUMNS
                .iter()
                .map(|(name, is_number)| {
                    if *is_number {
                        format!("optional int64 {name};")
                    } else {
                        format!("optional binary {name} (UTF8);")
                    }
                })
                .collect();
        let schema = parse_message_type(&format!("message results {{ {} }}", columns.join(" ")))
            .map_err(|error| cannot("write", &error))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
            .map_err(|error| cannot("write", &error))?;
        Ok(Self { writer, rows: Vec::new() })
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) -> Result<(), Failure> {
        self.rows.push(row);
        if self.rows.len() < GROUP { Ok(()) } else { self.group().map_err(|error| cannot("write", &error)) }
    }

    pub(super) fn finish(mut self) -> Result<W, Failure> {
        if !self.rows.is_empty() {
            self.group().map_err(|error| cannot("write", &error))?;
        }
        self.writer.into_inner().map_err(|error| cannot("write", &error))
    }

    /// Writes the rows that are held, column by column.
    fn group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let mut index = 0;
        while let Some(mut column) = group.next_column()? {
            let cells = self.rows.iter().map(|row| &row[index]);
            let levels: Vec<i16> = cells.clone().map(|cell| i16::from(!matches!(cell, Cell::Nothing))).collect();
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(writer) => {
                    let values: Vec<i64> = cells.filter_map(Cell::number).collect();
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let values: Vec<ByteArray> = cells.filter_map(Cell::text).map(ByteArray::from).collect();
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                _ => return Err(ParquetError::General("a column of another type".into())),
            }
            column.close()?;
            index += 1;
        }
        group.close()?;
        self.rows.clear();
        Ok(())
    }
}
