//! The cost of the HTTP server, and its behaviour under load: on the scripted engine, on loopback, in one process with
//! its clients.
//!
//! ```sh
//! cargo bench --no-default-features --features server,testing --bench server
//! ```
//!
//! Prints the overhead over the engine with 1 and 64 clients, the outcomes of 2,000 clients at once, and the time of a
//! request beside 10,000 idle connections, slow heads and bodies that are too large. Takes about a minute.

#![expect(clippy::print_stdout, reason = "the figures")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dicast::engine::Input;
use dicast::engine::scripted::{Reply, Scripted};
use dicast::server::{JudgeSource, Server, ServerConfig};
use dicast::{Judge, JudgeConfig, JudgeRequest, Log, Profile};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Times = Vec<Duration>;

fn engine(delay: Duration, at_once: usize) -> Scripted {
    let engine = Scripted::new(move |job, _| {
        let Input::Messages(messages) = &job.input else { return Reply::text("") };
        let aliases: Vec<String> = (1..=8)
            .map(|number| format!("model-{number}"))
            .filter(|alias| messages.last().is_some_and(|message| message.content.contains(&format!("{alias}\""))))
            .collect();
        let scores: Vec<_> = aliases.iter().map(|alias| format!("\"{alias}\": 3")).collect();
        let names: Vec<_> = aliases.iter().map(|alias| format!("\"{alias}\"")).collect();
        let verdict = format!("{{\"scores\": {{{}}}, \"best-to-worst\": [{}]}}", scores.join(", "), names.join(", "));
        Reply::text(verdict).after(delay)
    });
    engine.with_capabilities(|capabilities| capabilities.max_sequences = at_once)
}

fn judge(engine: &Scripted) -> Arc<Judge> {
    let mut config = JudgeConfig::new("scripted");
    config.options.reasoning = Some(false);
    config.limits.max_queue = 100_000;
    Arc::new(Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).expect("a judge"))
}

fn request() -> JudgeRequest {
    let text = "A response of some length. ".repeat(20);
    JudgeRequest::new("Be brief.", "How do I learn Python?", (0..4).map(|index| (format!("r{index}"), text.clone())))
}

async fn serve(config: ServerConfig, judge: Arc<Judge>) -> SocketAddr {
    let server = Server::new(config, vec![("judge".to_owned(), JudgeSource::Open(judge))]).expect("a server");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    address
}

/// A kept connection.
struct Client(TcpStream, Vec<u8>);

impl Client {
    async fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream, Vec::new()))
    }

    /// Sends a request and reads the answer; gives its status.
    async fn ask(&mut self, path: &str, body: &[u8]) -> std::io::Result<u16> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.0.write_all(&[head.as_bytes(), body].concat()).await?;
        self.1.clear();
        loop {
            if let Some(end) = self.1.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.1[..end]).to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
                let whole = end + 4 + length.unwrap_or(0usize);
                while self.1.len() < whole {
                    if self.0.read_buf(&mut self.1).await? == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                return Ok(head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0));
            }
            if self.0.read_buf(&mut self.1).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn quantile(times: &mut Times, share: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (last as f64 * share).round() as usize;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Resident memory of this process, in MB.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The engine alone, and the server in front of it, with this many clients.
async fn overhead(clients: usize, each: usize) {
    let engine = engine(Duration::from_millis(20), 64);
    let judge = judge(&engine);
    let body = Arc::new(serde_json::to_vec(&request()).expect("JSON"));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let judge = judge.clone();
        tasks.spawn(async move {
            let (mut times, request) = (Times::new(), request());
            for _ in 0..each {
                let began = Instant::now();
                judge.submit(&request).await.expect("a verdict");
                times.push(began.elapsed());
            }
            times
        });
    }
    let alone: Times = tasks.join_all().await.concat();
    let address = serve(ServerConfig::default(), judge).await;
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let body = body.clone();
        tasks.spawn(async move {
            let (mut times, mut client) = (Times::new(), Client::open(address).await.expect("a connection"));
            for _ in 0..each {
                let began = Instant::now();
                assert_eq!(client.ask("/v1/judge", &body).await.expect("an answer"), 200);
                times.push(began.elapsed());
            }
            times
        });
    }
    let served: Times = tasks.join_all().await.concat();
    let line = |share| (quantile(&mut alone.clone(), share), quantile(&mut served.clone(), share));
    let ((alone50, served50), (alone99, served99)) = (line(0.5), line(0.99));
    println!(
        "{clients:>5} clients, 20 ms engine: engine p50 {alone50:.2} p99 {alone99:.2} ms; server p50 {served50:.2} p99 {served99:.2} ms; \
         overhead p50 {:.2} p99 {:.2} ms",
        served50 - alone50,
        served99 - alone99
    );
}

/// Many clients at once: every one gets an answer or a 429.
async fn crowd(clients: usize) {
    let engine = engine(Duration::from_millis(5), 8);
    let config = ServerConfig { max_waiting: 1000, ..ServerConfig::default() };
    let address = serve(config, judge(&engine)).await;
    let body = Arc::new(serde_json::to_vec(&request()).expect("JSON"));
    let (before, began) = (memory(), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let body = body.clone();
        tasks.spawn(async move {
            let Ok(mut client) = Client::open(address).await else {
                return (0u16, Duration::ZERO);
            };
            let began = Instant::now();
            (client.ask("/v1/judge", &body).await.unwrap_or(0), began.elapsed())
        });
    }
    let mut most = before;
    let mut outcomes = Vec::new();
    while let Some(outcome) = tasks.join_next().await {
        outcomes.push(outcome.expect("a client"));
        if outcomes.len() % 100 == 0 {
            most = most.max(memory());
        }
    }
    let took = began.elapsed();
    let count = |wanted: u16| outcomes.iter().filter(|(status, _)| *status == wanted).count();
    let (good, refused) = (count(200), count(429));
    let mut times: Times = outcomes.iter().filter(|(status, _)| *status == 200).map(|(_, time)| *time).collect();
    println!(
        "{clients:>5} clients at once: {good} answered, {refused} refused with 429, {} lost, in {:.2} s (p99 {:.0} ms); engine saw {}; memory {before:.0} to {most:.0} MB",
        clients - good - refused,
        took.as_secs_f64(),
        quantile(&mut times, 0.99),
        engine.submitted(),
    );
    assert_eq!(good + refused, clients, "every client gets an answer or a 429");
    assert_eq!(engine.submitted(), good as u64, "nothing is judged twice or for nobody");
}

async fn one(address: SocketAddr) -> f64 {
    let body = serde_json::to_vec(&request()).expect("JSON");
    let began = Instant::now();
    let mut client = Client::open(address).await.expect("a connection");
    assert_eq!(client.ask("/v1/judge", &body).await.expect("an answer"), 200);
    began.elapsed().as_secs_f64() * 1e3
}

/// Connections that keep a server busy without asking for anything.
async fn nuisance(idle: usize) {
    let engine = engine(Duration::ZERO, 8);
    let config = ServerConfig { header_timeout_ms: 3000, max_connections: 20_000, ..ServerConfig::default() };
    let address = serve(config, judge(&engine)).await;
    println!("      a request on a quiet server: {:.1} ms", one(address).await);
    let before = memory();
    let mut open = Vec::new();
    while open.len() < idle {
        match TcpStream::connect(address).await {
            Ok(stream) => open.push(stream),
            Err(error) => {
                println!("      no more than {} connections here: {error}", open.len());
                // Both ends of each connection are in this process, and the request beside them needs some files too.
                open.truncate(open.len().saturating_sub(100));
                tokio::time::sleep(Duration::from_millis(500)).await;
                break;
            }
        }
    }
    println!(
        "{:>5} idle connections: a request takes {:.1} ms, {:.0} MB more",
        open.len(),
        one(address).await,
        memory() - before
    );
    drop(open);
    let mut slow = Vec::new();
    for _ in 0..1000 {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(b"POST /v1/judge HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await;
            slow.push(stream);
        }
    }
    let took = one(address).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut ended = 0;
    for stream in &mut slow {
        let mut rest = Vec::new();
        ended += usize::from(tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut rest)).await.is_ok());
    }
    println!("{:>5} heads that never end: a request takes {took:.1} ms; {ended} connections were ended", slow.len());
    let large = vec![b'x'; 100 << 20];
    let began = Instant::now();
    let mut stream = Client::open(address).await.expect("a connection");
    // The answer comes before the body is read; writing it may fail then.
    let status = stream.ask("/v1/judge", &large).await.unwrap_or(0);
    println!(
        "      a body of 100 MB: status {status} (0: the connection was closed) after {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    for (what, body, wanted) in
        [("bad JSON", &b"{\"principle\": "[..], 400), ("nothing", b"", 400), ("an array", b"[]", 400)]
    {
        let status = Client::open(address).await.expect("a connection").ask("/v1/judge", body).await.unwrap_or(0);
        println!("      {what}: status {status}");
        assert_eq!(status, wanted);
    }
    let status = Client::open(address).await.expect("a connection").ask("/health", b"{}").await.unwrap_or(0);
    assert_eq!(status, 405);
    println!("      a wrong method: status {status}; afterwards a request takes {:.1} ms", one(address).await);
}

/// A thousand connections need as many files.
fn raise_file_limit() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

fn main() {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        overhead(1, 100).await;
        overhead(64, 50).await;
        crowd(2000).await;
        nuisance(10_000).await;
    });
    // The servers end with the process.
    runtime.shutdown_background();
    println!("done");
}
