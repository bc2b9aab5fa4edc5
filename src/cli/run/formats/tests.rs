//! Every input format, every output format.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use serde_json::json;

use super::*;

/// A file that goes when it is dropped.
struct Named(PathBuf);

impl Named {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("dicast-formats-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Place and content of each record.
fn read(file: &Named, keys: &Keys, limit: usize) -> Vec<(String, Line)> {
    let mut records = open(&file.0, None, keys, limit).unwrap_or_else(|failure| panic!("{}", failure.error));
    let mut all = Vec::new();
    while let Some(record) = records.next_record().unwrap_or_else(|failure| panic!("{}", failure.error)) {
        assert_eq!(record.number, all.len() as u64 + 1);
        all.push((record.place.to_string(), record.line));
    }
    all
}

fn whole(place: &str, json: &str) -> (String, Line) {
    (place.to_owned(), Line::Whole(json.into()))
}

#[test]
fn an_array_is_read_entry_by_entry() {
    let keys = Keys::default();
    let array = "[\n {\"a\":\"],}\\\"\"},\n\n  {\"b\":[1,{}]} , 7\n]\n";
    let expected = [whole("line 2", r#"{"a":"],}\""}"#), whole("line 4", "{\"b\":[1,{}]} "), whole("line 4", "7\n")];
    assert_eq!(read(&Named::new("a.json", array.as_bytes()), &keys, 100), expected);
    // Whatever the name says: no line of JSON Lines begins with a bracket.
    assert_eq!(read(&Named::new("a.jsonl", array.as_bytes()), &keys, 100), expected);
    assert_eq!(read(&Named::new("b.json", b" [ ] "), &keys, 100), []);
    assert_eq!(
        read(&Named::new("lines.json", b"{}\n{}\n"), &keys, 100),
        [whole("line 1", "{}"), whole("line 2", "{}")]
    );
    let long = read(&Named::new("c.json", b"[\"0123456789\",1]"), &keys, 9);
    assert_eq!(long, [("line 1".to_owned(), Line::TooLong { bytes: 12 }), whole("line 1", "1")]);
    for (bad, word) in [("[{}", "not closed"), ("[{},", "not closed"), ("[{}] x", "after its end"), ("[", "not closed")]
    {
        let file = Named::new("d.json", bad.as_bytes());
        let mut records = open(&file.0, None, &keys, 100).unwrap_or_else(|failure| panic!("{}", failure.error));
        let failure = loop {
            match records.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{bad} was read to its end"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.error.message().contains(word), "{bad}: {}", failure.error);
    }
}

#[test]
fn rows_of_csv_are_requests() {
    let table = "\u{feff}id,principle,prompt,response_A,response_B,options\n1,p,\"q\n\"\"x\"\"\",one,,\n2,p,q,a\n3,p,q,a,b,{\"seed\":1}\n4,p,q,a,b,{\n";
    let rows = read(&Named::new("a.csv", table.as_bytes()), &Keys::default(), 1000);
    assert_eq!(
        rows[0],
        whole("line 2", r#"{"id":"1","principle":"p","prompt":"q\n\"x\"","responses":{"A":"one","B":""}}"#)
    );
    assert_eq!(rows[1], ("line 4".into(), Line::Wrong("the row has 4 cells, but the header has 6".into())));
    assert!(
        matches!(&rows[2].1, Line::Whole(json) if std::str::from_utf8(json).unwrap().contains(r#""options":{"seed":1}"#))
    );
    assert!(matches!(&rows[3].1, Line::Wrong(what) if what.contains("\"options\" is not JSON")));

    let keys = Keys { prompt: "q".into(), responses: vec!["all".into()] };
    let rows = read(&Named::new("b.csv", b"q,all\nwhy,\"[\"\"x\"\"]\"\n"), &keys, 1000);
    assert_eq!(rows, [whole("line 2", r#"{"q":"why","all":["x"]}"#)]);

    // A quote that is never closed does not take in the whole file.
    let endless = format!("q,all\n\"{}", "x\n".repeat(200_000));
    let file = Named::new("c.csv", endless.as_bytes());
    let mut records = open(&file.0, None, &keys, 1000).unwrap_or_else(|failure| panic!("{}", failure.error));
    let Err(failure) = records.next_record() else { panic!("it was read") };
    assert!(failure.error.message().contains("quote not closed"), "{}", failure.error);
    let twice = Named::new("d.csv", b"a,a\n");
    assert!(open(&twice.0, None, &keys, 9).is_err_and(|failure| failure.error.message().contains("\"a\" twice")));
}

#[test]
fn compressed_files_are_known_by_their_bytes() {
    let lines = "{\"a\":1}\n{\"b\":2}\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(lines.as_bytes()).unwrap();
    let zstd = zstd::encode_all(lines.as_bytes(), 0).unwrap();
    for (name, bytes) in [("a.jsonl.gz", gzip.finish().unwrap()), ("a.jsonl.zst", zstd.clone()), ("misnamed", zstd)] {
        let records = read(&Named::new(name, &bytes), &Keys::default(), 100);
        assert_eq!(records, [whole("line 1", "{\"a\":1}"), whole("line 2", "{\"b\":2}")], "{name}");
    }
}

#[test]
fn a_deadline_is_no_part_of_what_is_judged() {
    let checksum = |line: &str| {
        let file = Named::new("deadline.jsonl", line.as_bytes());
        let mut records =
            open(&file.0, None, &Keys::default(), 1000).unwrap_or_else(|failure| panic!("{}", failure.error));
        records.next_record().ok().flatten().unwrap().checksum
    };
    let line = |options: &str| format!("{{\"prompt\":\"q\"{options}}}");
    assert_eq!(checksum(&line(r#","options":{"timeout_ms":1}"#)), checksum(&line(r#","options":{"timeout_ms":2}"#)));
    assert_eq!(checksum(&line(r#","options":{"timeout_ms":1}"#)), checksum(&line("")));
    assert_ne!(checksum(&line(r#","options":{"seed":1,"timeout_ms":1}"#)), checksum(&line("")));
}

const RESULTS: [&str; 2] = [
    "{\"id\":7,\"tag\":[1],\"scores\":{\"a\":5},\"ranking\":[\"a\"],\"reasoning\":\"x, \\\"y\\\"\\nz\",\"usage\":{\"prompt_tokens\":9}}\n",
    "{\"custom_id\":\"c\",\"error\":{\"kind\":\"timeout\",\"message\":\"late\"}}\n",
];

fn encoded(format: Format, compression: Compression) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), Path::new("out"), format, compression)
        .unwrap_or_else(|failure| panic!("{}", failure.error));
    for line in RESULTS {
        encoder.push(line).unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn results_are_written_in_every_format() {
    assert_eq!(encoded(Format::Jsonl, Compression::None), RESULTS.concat().into_bytes());
    let array: serde_json::Value = serde_json::from_slice(&encoded(Format::Json, Compression::None)).unwrap();
    assert_eq!(array[0]["scores"], json!({ "a": 5 }));
    assert_eq!(array.as_array().unwrap().len(), 2);

    let mut text = String::new();
    let gzip = encoded(Format::Jsonl, Compression::Gzip);
    flate2::read::GzDecoder::new(gzip.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, RESULTS.concat());
    let zstd = zstd::decode_all(encoded(Format::Jsonl, Compression::Zstd).as_slice()).unwrap();
    assert_eq!(zstd, RESULTS.concat().into_bytes());

    let table = encoded(Format::Csv, Compression::None);
    let mut reader = ::csv::Reader::from_reader(table.as_slice());
    let rows: Vec<std::collections::HashMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    assert_eq!((rows[0]["id"].as_str(), rows[0]["fields"].as_str()), ("7", "{\"tag\":[1]}"));
    assert_eq!((rows[0]["scores"].as_str(), rows[0]["reasoning"].as_str()), ("{\"a\":5}", "x, \"y\"\nz"));
    assert_eq!(
        (rows[1]["line"].as_str(), rows[1]["error_kind"].as_str(), rows[1]["scores"].as_str()),
        ("2", "timeout", "")
    );
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read_and_written() {
    let bytes = encoded(Format::Parquet, Compression::None);
    let file = Named::new("out.parquet", &bytes);
    let rows = read(&file, &Keys { prompt: "id".into(), responses: vec!["scores".into()] }, 10_000);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].0, "row 1");
    let Line::Whole(json) = &rows[0].1 else { panic!("{rows:?}") };
    let row: serde_json::Value = serde_json::from_slice(json).unwrap();
    assert_eq!(row["id"], "7");
    assert_eq!(row["scores"], json!({ "a": 5 }));
    assert_eq!(row["prompt_tokens"], 9);
    assert!(row["custom_id"].is_null());
    let error = open(&Named::new("no.parquet", b"text").0, None, &Keys::default(), 9).err().unwrap();
    assert!(error.error.message().contains("no.parquet is not a Parquet file"), "{}", error.error);
    assert!(Encoder::new(Vec::new(), Path::new("x"), Format::Parquet, Compression::Gzip).is_err());
}

#[test]
fn what_cannot_be_opened_is_named() {
    let refusal = |path: &str| open(Path::new(path), None, &Keys::default(), 9).err().unwrap().error;
    assert!(refusal("/nonexistent/in.jsonl").message().contains("no file /nonexistent/in.jsonl"));
    assert_eq!(refusal("/nonexistent/in.jsonl").kind(), ErrorKind::InvalidConfig);
    assert!(refusal("/").message().contains("is a folder"));
}
