//! A collector of OpenTelemetry that keeps what it gets: OTLP over HTTP, with protobuf read by hand.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What a collector does with a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Takes,
    Answers(u16),
    /// It never answers.
    IsSilent,
}

/// A span as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty if it has none.
    pub(crate) parent: String,
    pub(crate) name: String,
    /// 1: internal, 2: server.
    pub(crate) kind: u64,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: BTreeMap<String, Value>,
    /// 0: not set, 2: error.
    pub(crate) status: u64,
    /// Attributes of what sent it.
    pub(crate) resource: BTreeMap<String, Value>,
}

/// A request to the collector: its head, in lower case, and its body.
type Sent = (String, Vec<u8>);

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    sent: Arc<Mutex<Vec<Sent>>>,
    ended: Arc<AtomicBool>,
}

impl Collector {
    pub(crate) fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, sent, ended) =
            (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Sent>>>::default(), Arc::<AtomicBool>::default());
        let (kept, over) = (sent.clone(), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (kept, over) = (kept.clone(), over.clone());
                std::thread::spawn(move || take(&stream.unwrap(), manner, &kept, &over));
            }
        });
        Self { address, sent, ended }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Sent> {
        self.sent.lock().unwrap().clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(|(_, body)| spans(body)).collect()
    }

    /// The only span with this name.
    #[track_caller]
    pub(crate) fn span(&self, name: &str) -> Span {
        let mut found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name}: {:#?}", self.spans());
        found.remove(0)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

/// Takes the requests of one connection.
fn take(stream: &TcpStream, manner: Manner, kept: &Mutex<Vec<Sent>>, over: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        while manner == Manner::IsSilent && !over.load(Ordering::Relaxed) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        kept.lock().unwrap().push((head, body));
        let status = if let Manner::Answers(status) = manner { status } else { 200 };
        let mut writer = stream;
        if write!(writer, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// A field of a message of protobuf.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn number(&self) -> u64 {
        if let Self::Number(number) = self { *number } else { panic!("a number was expected") }
    }

    fn bytes(&self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("bytes were expected") }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return number;
        }
    }
    panic!("a number has too many bytes")
}

fn split<'a>(bytes: &mut &'a [u8], at: usize) -> &'a [u8] {
    let (first, rest) = bytes.split_at(at);
    *bytes = rest;
    first
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(split(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                Field::Bytes(split(&mut bytes, length))
            }
            5 => Field::Number(u32::from_le_bytes(split(&mut bytes, 4).try_into().unwrap()).into()),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

/// The messages in one field.
fn within(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    fields(bytes).iter().filter(|(other, _)| *other == number).map(|(_, field)| field.bytes()).collect()
}

/// Attributes, which are in this field of a message.
fn attributes(message: &[u8], number: u64) -> BTreeMap<String, Value> {
    let pairs = within(message, number).into_iter().map(|pair| {
        let (mut key, mut value) = (String::new(), Value::Null);
        for (number, field) in fields(pair) {
            match number {
                1 => key = field.text(),
                2 => {
                    let (kind, field) = fields(field.bytes()).into_iter().next().unwrap();
                    value = match kind {
                        1 => field.text().into(),
                        2 => (field.number() != 0).into(),
                        3 => field.number().cast_signed().into(),
                        4 => json!(f64::from_bits(field.number())),
                        other => panic!("a value of kind {other}"),
                    };
                }
                _ => {}
            }
        }
        (key, value)
    });
    pairs.collect()
}

/// The spans of a request to export.
fn spans(body: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for group in within(body, 1) {
        let resource = within(group, 1).first().map(|resource| attributes(resource, 1)).unwrap_or_default();
        for span in within(group, 2).into_iter().flat_map(|scope| within(scope, 2)) {
            spans.push(one(span, &resource));
        }
    }
    spans
}

fn one(bytes: &[u8], resource: &BTreeMap<String, Value>) -> Span {
    let mut span = Span {
        trace: String::new(),
        id: String::new(),
        parent: String::new(),
        name: String::new(),
        kind: 0,
        start: 0,
        end: 0,
        attributes: attributes(bytes, 9),
        status: 0,
        resource: resource.clone(),
    };
    for (number, field) in fields(bytes) {
        match number {
            1 => span.trace = field.hex(),
            2 => span.id = field.hex(),
            4 => span.parent = field.hex(),
            5 => span.name = field.text(),
            6 => span.kind = field.number(),
            7 => span.start = field.number(),
            8 => span.end = field.number(),
            15 => {
                for (number, field) in fields(field.bytes()) {
                    match number {
                        2 => assert_eq!(field.text(), "", "a message may quote the request"),
                        3 => span.status = field.number(),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    span
}
