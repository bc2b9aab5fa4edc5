//! The cost on this side of a judgment through a server: processor time and memory, without the server's own work.
//!
//! `cargo bench --bench remote`. The server is another process that gives every request the same verdict, either at
//! once or when all requests have arrived. The judge makes its prompts itself, with the demonstration judge's
//! tokenizer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dicast::{Judge, JudgeConfig, JudgeRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Requests in flight while time is measured, and while memory is.
const IN_FLIGHT: usize = 256;
const HELD: usize = 10_000;
const JUDGMENTS: usize = 8192;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` runs this with `--test`: then it must only compile.
    if arguments.iter().any(|argument| argument == "--test") {
        return Ok(());
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "serve") {
        return serve(arguments[at + 1].parse().expect("a number"));
    }
    let mut out = std::io::stdout().lock();
    let server = Server::start(0)?;
    let judge = open(&server.url, IN_FLIGHT);
    let requests: Vec<_> = (0..JUDGMENTS).map(request).collect();
    run(&judge, &requests[..1024]);
    let (processor, start) = (processor_time(), Instant::now());
    run(&judge, &requests);
    let (processor, wall) = (processor_time().saturating_sub(processor), start.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let each = |time: Duration| time.as_secs_f64() * 1e6 / JUDGMENTS as f64;
    writeln!(
        out,
        "{IN_FLIGHT} in flight: {:.0} us of processor time a judgment, {:.0} us of time",
        each(processor),
        each(wall)
    )?;
    drop((judge, server));

    for at_once in [JudgeConfig::new("").remote.num_workers as usize, HELD] {
        let server = Server::start(at_once)?;
        let judge = open(&server.url, at_once);
        let before = memory();
        let tickets: Vec<_> = (0..HELD).map(|number| judge.submit(&request(number))).collect();
        let mut most = memory();
        let mut count = 0;
        for ticket in tickets {
            count += usize::from(ticket.wait().is_ok());
            most = most.max(memory());
        }
        let (most, before) = (most >> 20, before >> 20);
        writeln!(
            out,
            "{HELD} submitted, {at_once} at the server: {most} MiB, {before} MiB before them; {count} verdicts"
        )?;
    }
    Ok(())
}

fn open(url: &str, at_once: usize) -> Judge {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let mut config = JudgeConfig::new(url);
    config.profile = Some(demo.join("dicast-demo.profile.json"));
    config.remote.tokenizer = Some(demo.join("hf"));
    config.remote.num_workers = u32::try_from(at_once).expect("a small number");
    config.remote.top_logprobs = 0;
    config.limits.max_queue = HELD;
    Judge::open(config).unwrap_or_else(|error| panic!("{error}"))
}

fn request(number: usize) -> JudgeRequest {
    let text = |name: &str| format!("The answer {name} to question {number}. ").repeat(4);
    JudgeRequest::new(
        "Please choose helpful answers which talk me through the matter in great detail",
        format!("How do I learn to play the guitar, in {number} steps?"),
        [("ash", text("ash")), ("birch", text("birch")), ("cedar", text("cedar"))]
            .iter()
            .map(|(name, text)| (*name, text.as_str())),
    )
}

/// Judges requests, this many at once.
fn run(judge: &Judge, requests: &[JudgeRequest]) {
    let mut tickets = std::collections::VecDeque::new();
    for request in requests {
        if tickets.len() == IN_FLIGHT {
            let ticket: dicast::Ticket = tickets.pop_front().expect("it has some");
            ticket.wait().unwrap_or_else(|error| panic!("{error}"));
        }
        tickets.push_back(judge.submit(request));
    }
    for ticket in tickets {
        ticket.wait().unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Processor time of this process.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let read = |place: std::path::PathBuf| std::fs::read_to_string(place).ok();
    let nanoseconds: u64 = threads
        .filter_map(|thread| read(thread.path().join("schedstat"))?.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    let own = text.split_whitespace().next().and_then(|own| own.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanoseconds.max(own))
}

/// Resident memory of this process.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}

struct Server {
    url: String,
    process: std::process::Child,
}

impl Server {
    fn start(hold: usize) -> std::io::Result<Self> {
        let mut process =
            Command::new(std::env::current_exe()?).args(["serve", &hold.to_string()]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("it is piped")).read_line(&mut line)?;
        Ok(Self { url: line.trim().to_owned(), process })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The answer to every generation, in vLLM's form: a short reasoning, and a verdict.
fn answer() -> Vec<u8> {
    let verdict = "{\n  \"scores\": {\"model-1\": 4, \"model-2\": 2, \"model-3\": 3},\n  \"best-to-worst\": [\"model-1\", \"model-3\", \
                   \"model-2\"]\n}";
    let mut body = String::new();
    let mut event = |text: &str, id: u32| {
        let choice = serde_json::json!({ "index": 0, "text": text, "logprobs": null, "finish_reason": null, "stop_reason": null,
            "prompt_token_ids": null, "token_ids": [id] });
        let event = serde_json::json!({ "id": "cmpl-a1ffe18d0d3824c6", "object": "text_completion", "created": 1_795_907_165,
            "model": "demo", "choices": [choice] });
        body.extend(["data: ", &event.to_string(), "\n\n"]);
    };
    // As many tokens as the demonstration judge writes.
    for _ in 0..24 {
        event(" the", 267);
    }
    event("</think>", 4);
    event("\n\n", 203);
    for piece in verdict.as_bytes().chunks(3) {
        event(std::str::from_utf8(piece).expect("ASCII"), 300);
    }
    body += "data: {\"choices\": [{\"index\": 0, \"text\": \"\", \"finish_reason\": \"stop\", \"token_ids\": [2]}]}\n\ndata: [DONE]\n\n";
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// Serves until it is killed. With `hold`, nothing is answered before this many generations have arrived.
fn serve(hold: usize) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
        let shared = Arc::new((answer(), AtomicUsize::new(0), Semaphore::new(0)));
        loop {
            let (stream, _) = listener.accept().await?;
            let shared = shared.clone();
            tokio::spawn(async move {
                let (answer, come, open) = &*shared;
                let _ = connection(stream, answer, come, open, hold).await;
            });
        }
    })
}

async fn connection(
    mut stream: TcpStream,
    answer: &[u8],
    come: &AtomicUsize,
    open: &Semaphore,
    hold: usize,
) -> std::io::Result<()> {
    let (mut buffer, mut bytes) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut bytes).await? {
                0 => return Ok(()),
                count => buffer.extend_from_slice(&bytes[..count]),
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let end = head + length.unwrap_or(0);
        while buffer.len() < end {
            match stream.read(&mut bytes).await? {
                0 => return Ok(()),
                count => buffer.extend_from_slice(&bytes[..count]),
            }
        }
        let body = String::from_utf8_lossy(&buffer[head..end]).into_owned();
        let json = |body: &str| {
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let word = "data: {\"choices\": [{\"text\": \"quoxal\", \"token_ids\": [9], \"finish_reason\": \"stop\"}]}\n\n";
        let odd = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{word}",
            word.len()
        );
        if text.starts_with("get /v1/models") {
            let models = "{\"data\": [{\"id\": \"demo\", \"owned_by\": \"vllm\", \"max_model_len\": 8192}]}";
            stream.write_all(json(models).as_bytes()).await?;
        } else if text.starts_with("get ") {
            stream.write_all(json("{}").as_bytes()).await?;
        } else if body.contains("Say a word.\\n<think>") {
            // Within reasoning the constraint does not apply yet.
            stream.write_all(odd.replace("quoxal", "wwwwww").as_bytes()).await?;
        } else if body.contains("quoxal") || body.contains("\"max_tokens\":1,") {
            stream.write_all(odd.as_bytes()).await?;
        } else {
            if hold > 0 {
                if come.fetch_add(1, Ordering::Relaxed) + 1 == hold {
                    // Time to measure the memory.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    open.close();
                }
                drop(open.acquire().await);
            }
            stream.write_all(answer).await?;
        }
        buffer.drain(..end);
    }
}
