//! A server on a free port with a scripted engine, and a small client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dicast::engine::scripted::{Reply, Scripted};
use dicast::engine::{Input, Job};
use dicast::server::{JudgeSource, Server, ServerConfig, Telemetry};
use dicast::{Judge, JudgeConfig, Log, Profile};
use serde_json::{Value, json};

/// Text within a response that decides what happens to the judgment.
pub(crate) const FAIL: &str = "FAIL";
pub(crate) const SLOW: &str = "SLOW";
pub(crate) const HANG: &str = "HANG";

/// The request that a job holds: the JSON in its last message.
pub(crate) fn asked(job: &Job) -> Value {
    let Input::Messages(messages) = &job.input else { panic!("the scripted engine takes messages") };
    let content = &messages.last().unwrap().content;
    let start = content.find('{').unwrap();
    serde_json::Deserializer::from_str(&content[start..]).into_iter().next().unwrap().unwrap()
}

/// Scores each response by the number in its text, `score=N`, or else by its length.
pub(crate) fn script(job: &Job) -> Reply {
    let asked = asked(job);
    let responses = asked["responses"].as_object().unwrap();
    let score = |text: &str| match text.split_once("score=") {
        Some((_, rest)) => rest.chars().next().and_then(|digit| digit.to_digit(10)).unwrap_or(1),
        None => u32::try_from(text.len() % 5).unwrap() + 1,
    };
    let has = |word: &str| responses.values().any(|text| text.as_str().unwrap().contains(word));
    if has(HANG) {
        return Reply::never();
    }
    if has(FAIL) {
        return Reply::text("I cannot say.");
    }
    let scores: serde_json::Map<_, _> =
        responses.iter().map(|(name, text)| (name.clone(), score(text.as_str().unwrap()).into())).collect();
    let mut ranking: Vec<_> = responses.keys().cloned().collect();
    ranking.sort_by_key(|name| std::cmp::Reverse(scores[name].as_u64()));
    let answer = json!({ "scores": scores, "best-to-worst": ranking });
    let reply = Reply::text(format!(
        "<think>\nI look at {} responses, one after the other, and compare them by the principle.\n</think>\n\n{answer}",
        responses.len()
    ));
    if has(SLOW) { reply.after(Duration::from_millis(300)) } else { reply }
}

pub(crate) fn judge(engine: &Scripted) -> Judge {
    let mut config = JudgeConfig::new("scripted");
    config.options.guided = Some(false);
    Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).unwrap()
}

/// A server that runs until it is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Scripted,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<dicast::Result<()>>>,
}

impl Running {
    /// Starts the shutdown, as SIGTERM does.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) fn join(&mut self) -> dicast::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

pub(crate) fn serve(config: ServerConfig) -> Running {
    serve_with(config, Scripted::new(|job, _| script(job)))
}

/// A configuration, read as if from a file.
pub(crate) fn configured(server: Value) -> ServerConfig {
    let file = json!({ "server": server }).to_string();
    dicast::server::ServerFile::read(file.as_bytes()).unwrap().server
}

pub(crate) fn serve_with(config: ServerConfig, engine: Scripted) -> Running {
    serve_traced(config, engine, None)
}

pub(crate) fn serve_traced(config: ServerConfig, engine: Scripted, telemetry: Option<&Telemetry>) -> Running {
    let source = JudgeSource::Open(Arc::new(judge(&engine)));
    let other = JudgeSource::Open(Arc::new(judge(&engine)));
    let server = Server::new(config, vec![("first".to_owned(), source), ("second".to_owned(), other)]).unwrap();
    if let Some(telemetry) = telemetry {
        server.trace_with(telemetry);
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, bound) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            ready.send(listener.local_addr().unwrap()).unwrap();
            let stop = async { drop(stopped.await) };
            server.serve(listener, stop).await
        })
    });
    let address = bound.recv_timeout(Duration::from_secs(20)).unwrap();
    Running { address, engine, stop: Some(stop), thread: Some(thread) }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Got {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The answer as JSON; it must have succeeded.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }

    /// The kind of the error.
    #[track_caller]
    pub(crate) fn failed(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:dicast:error:{}", problem["kind"].as_str().unwrap()));
        problem["kind"].as_str().unwrap().to_owned()
    }
}

/// Writes the head and the body of a request; the connection closes after its answer.
pub(crate) fn begin(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let own = headers.iter().fold(String::new(), |own, (name, value)| own + name + ": " + value + "\r\n");
    let host = if own.to_ascii_lowercase().contains("host:") { String::new() } else { format!("host: {address}\r\n") };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {length}\r\n{own}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A server that refuses a body early closes the connection, so writing may fail.
    let _ = stream.write_all(body);
    stream
}

/// Reads an answer to its end.
pub(crate) fn finish(mut stream: TcpStream) -> Got {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Got { status, headers, body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&rest[..length]);
        body = rest.get(length + 2..).unwrap_or_default();
    }
    whole
}

pub(crate) fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Got {
    finish(begin(address, method, path, headers, body))
}

impl Running {
    pub(crate) fn get(&self, path: &str) -> Got {
        send(self.address, "GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Got {
        send(self.address, "POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Got {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        send(self.address, "POST", path, &all, body.to_string().as_bytes())
    }

    /// A figure of `/metrics`, by its name and labels; 0 if it is missing.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }
}

/// A request whose responses have these texts.
pub(crate) fn request(texts: &[&str]) -> Value {
    let responses: serde_json::Map<_, _> =
        texts.iter().enumerate().map(|(index, text)| (format!("r{index}"), (*text).into())).collect();
    json!({ "principle": "Be brief.", "prompt": "How do I learn Python?", "responses": responses })
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come about within 10 s");
}
