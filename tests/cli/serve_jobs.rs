//! Jobs of a server that is killed repeatedly: none is lost, and no request has two results.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::remote::server::{Act, Dialect, Server};
use super::support::{Folder, dicast, text};

/// How often the server is killed.
const KILLS: u32 = 20;
/// The number of jobs, and of requests in each.
const JOBS: usize = 12;
const REQUESTS: usize = 150;

/// A server in its own process, killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(port: u16, model: &str, jobs: &Path) -> Self {
        let port = port.to_string();
        let args = ["serve", "--port", &port, "--name", "judge", "--model", model, "--jobs", text(jobs)];
        let child = dicast(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self(child)
    }

    /// SIGKILL: the process cannot clean up.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a request; `None` if the server is not up, or dies meanwhile.
fn ask(port: u16, head: &str, kind: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let length = body.len();
    // HTTP/1.0: the body is sent as it is, without chunks.
    write!(
        stream,
        "{head} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Like [`ask`], repeated until it is answered.
#[track_caller]
fn insist(port: u16, head: &str, body: &str) -> (u16, String) {
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        match ask(port, head, "application/x-ndjson", body) {
            Some((503, _)) | None => assert!(Instant::now() < until, "no answer to {head}"),
            Some(answer) => return answer,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Requests of a job: the scores say which job and which request it is.
fn lines(job: usize) -> String {
    let line = |request: usize| {
        let (a, b) = (request % 5 + 1, (request / 5 + job) % 5 + 1);
        let responses = json!({ "a": format!("score={a}"), "b": format!("score={b}") });
        let request =
            json!({ "id": format!("{job}/{request}"), "principle": "p", "prompt": "q", "responses": responses });
        format!("{request}\n")
    };
    (0..REQUESTS).map(line).collect()
}

#[test]
fn a_server_killed_twenty_times_under_load_loses_and_doubles_nothing() {
    let model = Server::scripted(Dialect::Vllm, |_, _| Act::Late(Duration::from_millis(15)));
    let folder = Folder::new();
    let file = folder.path("jobs.db");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (model, file) = (&model, &file);
    let over = AtomicBool::new(false);
    let over = &over;

    std::thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let mut random = 12_345_u64;
            for _ in 0..KILLS {
                let running = Running::start(port, &model.url, file);
                // Some die before they listen, most die under load.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                std::thread::sleep(Duration::from_millis(60 + (random >> 33) % 400));
                running.kill();
            }
            Running::start(port, &model.url, file)
        });
        // A client that waits for verdicts meanwhile.
        let load = scope.spawn(move || {
            let request = json!({ "principle": "p", "prompt": "q", "responses": { "a": "score=3" } }).to_string();
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                match ask(port, "POST /api/rewardanything", "application/json", &request) {
                    Some((200, body)) if body.ends_with('}') => {
                        let verdict: Value = serde_json::from_str(&body).unwrap();
                        assert_eq!(verdict["results"]["scores"]["a"], 3);
                        answered += 1;
                    }
                    _ => std::thread::sleep(Duration::from_millis(5)),
                }
            }
            answered
        });
        // A client that does not know whether its job was made sends it again with the same key.
        let ids: Vec<String> = (0..JOBS)
            .map(|job| {
                let head = format!("POST /v1/jobs?name=job-{job}");
                let (status, body) = insist_keyed(port, &head, &format!("key-{job}"), &lines(job));
                assert!(status == 200 || status == 201, "{status} {body}");
                let made: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(made["requests"], REQUESTS);
                made["id"].as_str().unwrap().to_owned()
            })
            .collect();
        let _running = killer.join().unwrap();

        for (job, id) in ids.iter().enumerate() {
            let until = Instant::now() + Duration::from_secs(120);
            loop {
                let (status, body) = insist(port, &format!("GET /v1/jobs/{id}?wait_s=5"), "");
                let shown: Value = serde_json::from_str(&body).unwrap();
                assert_eq!(status, 200, "{body}");
                if shown["state"] == "finished" {
                    assert_eq!((&shown["done"], &shown["failed"]), (&json!(REQUESTS), &json!(0)), "{body}");
                    break;
                }
                assert!(Instant::now() < until, "{body}");
            }
            let (status, body) = insist(port, &format!("GET /v1/jobs/{id}/results"), "");
            assert_eq!(status, 200);
            assert_eq!(body.lines().count(), REQUESTS);
            for (request, line) in body.lines().enumerate() {
                let line: Value = serde_json::from_str(line).unwrap();
                let scores = json!({ "a": request % 5 + 1, "b": (request / 5 + job) % 5 + 1 });
                assert_eq!((&line["index"], &line["scores"]), (&json!(request), &scores), "{line}");
                assert_eq!(line["id"], format!("{job}/{request}"));
            }
        }
        let (_, listed) = insist(port, "GET /v1/jobs", "");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed["data"].as_array().unwrap().len(), JOBS, "no job was made twice");
        over.store(true, Ordering::Relaxed);
        let beside = load.join().unwrap();
        assert!(beside > 0, "jobs leave room for who waits");
        println!("{KILLS} kills, {} requests of jobs, {beside} judgments beside them", JOBS * REQUESTS);
    });
}

/// Like [`insist`], with an idempotency key.
#[track_caller]
fn insist_keyed(port: u16, head: &str, key: &str, body: &str) -> (u16, String) {
    // The key comes before the other headers.
    let until = Instant::now() + Duration::from_secs(120);
    loop {
        let kind = format!("application/x-ndjson\r\nidempotency-key: {key}");
        match ask(port, head, &kind, body) {
            Some((503, _)) | None => assert!(Instant::now() < until, "no answer to {head}"),
            Some(answer) => return answer,
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
