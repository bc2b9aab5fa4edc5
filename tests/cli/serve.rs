//! `dicast serve`: with the demonstration judge in a worker process, from its start to SIGTERM.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Folder, dicast, run, text};

/// A server that is killed when a test fails.
struct Serving {
    child: Child,
    address: String,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Serving {
    fn start(args: &[&str]) -> Self {
        let mut command = dicast(["serve", "--port", "0"]);
        let mut child = command.args(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        let address = loop {
            let before = log.len();
            assert!(stderr.read_line(&mut log).unwrap() > 0, "it ended: {log}");
            if let Some((_, rest)) = log[before..].split_once("listening on http://") {
                let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ':'))).unwrap_or(rest.len());
                break rest[..end].to_owned();
            }
        };
        let log = std::thread::spawn(move || {
            let _ = stderr.read_to_string(&mut log);
            log
        });
        Self { child, address, log: Some(log) }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
             authorization: Bearer sesame-open\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Ends it as a service manager does; gives the exit code and the log.
    fn end(mut self) -> (Option<i32>, String) {
        let killed = std::process::Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        let code = self.child.wait().unwrap().code();
        (code, self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REQUEST: &str = r#"{"principle": "I prefer short and concise responses.", "prompt": "How do I learn Python?",
    "responses": {"short": "Build small projects.", "long": "First of all, one should consider that learning takes time."}"#;

#[test]
fn it_serves_the_demonstration_judge_until_it_is_asked_to_end() {
    let folder = Folder::new();
    let keys = folder.file("keys", "# clients\nteam:sesame-open\n");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    let serving = Serving::start(&["--model", text(&model), "--keys", text(&keys), "--log-format", "json"]);
    let verdict = serving.ask("POST", "/v1/judge", &format!("{REQUEST}}}"));
    assert!(verdict.starts_with("HTTP/1.1 200"), "{verdict}");
    assert!(verdict.contains(r#""ranking":["short","long"]"#), "{verdict}");
    assert!(serving.ask("GET", "/v1/models", "").contains(r#""id":"dicast-demo""#));
    // The reasoning comes piece by piece, out of the worker process.
    let events = serving.ask("POST", "/v1/judge", &format!("{REQUEST}, \"stream\": true}}"));
    assert!(events.matches("event: reasoning").count() > 1 && events.contains("event: verdict"), "{events}");
    let (code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("sesame-open") && !log.contains("Python"), "{log}");
    let lines: Vec<serde_json::Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["path"] == "/v1/judge" && line["status"] == 200), "{log}");
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let folder = Folder::new();
    let broken = folder.file("c.json", r#"{"model": "demo/dicast-demo.gguf", "server": {"max_waiting": 0}}"#);
    run(["serve", "-c", text(&broken)]).fails(2, &["server.max_waiting is 0", "c.json"]);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    run(["serve", "--port", "0", "--host", "0.0.0.0", "--model", text(&model)]).fails(2, &["server.keys"]);
    run(["serve", "--port", "0", "--model", "/nonexistent.gguf"]).fails(2, &["there is no such model file"]);
}
