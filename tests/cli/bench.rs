//! `dicast bench`, with scripted servers. Nothing here asserts how long anything takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::remote::server::{Act, Dialect, Server};
use super::support::{Folder, Ran, dicast, run, text};

/// Runs a bench on a server; gives its report.
fn report(url: &str, options: &[&str]) -> (Ran, Value) {
    let ran = run(["bench", "--url", url, "--json", "-"].iter().chain(options));
    let report = serde_json::from_str(&ran.stdout).unwrap_or(Value::Null);
    (ran, report)
}

#[test]
fn chat_completions_are_measured_phase_by_phase() {
    let server = Server::new(Dialect::Other);
    let (ran, report) =
        report(&server.url, &["--requests", "6", "--concurrency", "1,3", "--warmup", "2", "--responses", "2"]);
    let ran = ran.succeeds();
    assert!(ran.stderr.is_empty(), "a short run says nothing: {}", ran.stderr);
    assert_eq!(server.generations(), 16, "two loads of six, and two before each");
    assert_eq!(report["target"]["api"], "openai, JSON schema");
    assert_eq!(report["target"]["model"], "judge", "the first that the server lists");
    let points = report["points"].as_array().unwrap();
    for (point, concurrency) in points.iter().zip([1, 3]) {
        assert_eq!(point["load"], json!({ "concurrency": concurrency }));
        assert_eq!((&point["succeeded"], &point["failed"]), (&json!(6), &json!(0)));
        for phase in ["first_token", "verdict", "host"] {
            assert_eq!(point["phases_ms"][phase]["count"], 6, "{phase}");
        }
        assert_eq!(point["phases_ms"]["queue"], Value::Null, "the server does not tell it");
        assert_eq!(point["tokens"]["prompt"], 42);
        let counted = |key: &str| -> u64 {
            let pairs = point[key].as_array().unwrap().iter();
            pairs.map(|pair| pair.as_u64().unwrap_or_else(|| pair[1].as_u64().unwrap())).sum()
        };
        assert_eq!(counted("latency_histogram_us"), 6);
        let (median, tail) = (&point["latency_ms"]["p50"], &point["latency_ms"]["p99"]);
        assert!(median.is_number() && tail.is_null(), "six judgments have no p99: {tail}");
    }
}

#[test]
fn an_open_loop_has_a_rate_and_objectives() {
    let server = Server::new(Dialect::Other);
    let options = ["--rate", "200", "--arrivals", "bursty", "--burst", "4", "--requests", "12", "--warmup", "0"];
    let objectives = ["--objective", "p50=10m", "--objective", "max=1us"];
    let (ran, report) = report(&server.url, &[&options[..], &objectives].concat());
    ran.succeeds();
    let point = &report["points"][0];
    assert_eq!(point["load"], json!({ "rate": 200.0, "arrivals": "bursty", "burst": 4 }));
    assert_eq!(point["send_delay_ms"]["count"], 12);
    let held: Vec<_> = point["objectives"].as_array().unwrap().iter().map(|reached| &reached["held"]).collect();
    assert_eq!(held, [true, false]);
    assert!(point["goodput_per_s"].as_f64().unwrap() > 0.0 && point["offered_per_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn failures_are_counted_by_kind() {
    let server = Server::scripted(Dialect::Other, |number, _| match number % 4 {
        1 => Act::Status(503, r#"{"error": {"message": "full", "type": "busy"}}"#),
        2 => Act::Truncated,
        3 => Act::RankTwice,
        _ => Act::Answer,
    });
    let options = ["--requests", "8", "--concurrency", "1", "--warmup", "0", "--responses", "3"];
    let (ran, report) = report(&server.url, &options);
    assert_eq!(ran.code, 1, "{ran:?}");
    let point = &report["points"][0];
    assert_eq!((&point["succeeded"], &point["failed"]), (&json!(2), &json!(6)));
    for (kind, said) in [("http_503", "full"), ("network", ""), ("invalid_verdict", "ranking")] {
        assert_eq!(point["failures"][kind]["count"], 2, "{kind}: {}", point["failures"]);
        assert!(point["failures"][kind]["first"].as_str().unwrap().contains(said), "{}", point["failures"]);
    }
    let shown = run(["bench", "--url", &server.url].iter().chain(&options));
    assert!(shown.stdout.contains("2 http_503, the first: status 503: full"), "{}", shown.stdout);
}

#[test]
fn a_server_that_only_fails_ends_the_run() {
    let server = Server::scripted(Dialect::Other, |_, _| Act::Status(401, r#"{"error": "wrong key"}"#));
    let ran = run(["bench", "--url", &server.url, "--duration", "1h", "--concurrency", "2,4"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("wrong key") && !ran.stdout.contains("4 in flight"), "{}", ran.stdout);
    run(["bench", "--url", "http://127.0.0.1:1"]).fails(1, &["cannot be reached", "is the server running?"]);
    run(["bench", "--url", "ftp://x"]).fails(2, &["--url ftp://x"]);
}

#[test]
fn every_form_of_a_report_is_written() {
    let server = Server::new(Dialect::Other);
    let folder = Folder::new();
    let (json, csv, html) = (folder.path("r.json"), folder.path("r.csv"), folder.path("r.html"));
    let samples = folder.path("s.jsonl");
    let requests =
        "{\"principle\":\"p\",\"prompt\":\"q\",\"responses\":{\"good\":\"score=5\",\"bad\":\"score=1\"}}\n".repeat(3);
    let input = folder.file("in.jsonl", requests);
    let ran = run([
        "bench",
        "--url",
        &server.url,
        "--input",
        text(&input),
        "--fresh",
        "--requests",
        "5",
        "--concurrency",
        "2",
        "--warmup",
        "0",
        "--json",
        text(&json),
        "--csv",
        text(&csv),
        "--html",
        text(&html),
        "--trace",
        text(&samples),
        "--note",
        "commit <1>",
        "--objective",
        "p99=2s",
    ])
    .succeeds();
    for words in ["judgments/s", "p99.9", "phases, p50 / p99", "objective", "2 in flight", "requests  file in.jsonl"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    let csv = std::fs::read_to_string(csv).unwrap();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!((columns.len(), columns[0]), (2, columns[1]), "{csv}");
    let html = std::fs::read_to_string(html).unwrap();
    assert!(html.contains("<svg") && html.contains("commit &lt;1&gt;") && !html.contains("http://www"), "{html}");
    let lines = std::fs::read_to_string(samples).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5);
    for line in &lines {
        assert_eq!((&line["scores"], &line["ranking"]), (&json!({ "good": 5.0, "bad": 1.0 }), &json!(["good", "bad"])));
        assert_eq!(line["item"].as_u64().unwrap(), line["number"].as_u64().unwrap() % 3);
    }

    // The same again, compared with an earlier report that was ten times faster.
    let again =
        ["bench", "--url", &server.url, "--input", text(&input), "--fresh", "--requests", "5", "--concurrency", "2"];
    let mut old: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let same = run(["bench", "--compare", text(&json), text(&json), "--fail-above", "0%"]).succeeds();
    assert!(same.stdout.contains("1.000"), "{}", same.stdout);
    for pair in old["points"][0]["latency_histogram_us"].as_array_mut().unwrap() {
        pair[0] = json!(pair[0].as_u64().unwrap() / 1000);
    }
    for part in ["mean", "p50", "max"] {
        let value = old["points"][0]["latency_ms"][part].as_f64().unwrap();
        old["points"][0]["latency_ms"][part] = json!(value / 1000.0);
    }
    let past = folder.file("past.json", old.to_string());
    let ran = run(again.iter().chain(&["--baseline", text(&past), "--fail-above", "10%", "--warmup", "0"]));
    ran.fails(1, &["worse than --fail-above allows: 2 in flight: ", " worse ("]);
    let other =
        run(["bench", "--url", &server.url, "--requests", "2", "--concurrency", "7", "--baseline", text(&past)]);
    other.fails(2, &["no load in common", "2 in flight before, 7 in flight now"]);
    run(["bench", "--compare", text(&input), text(&json)]).fails(2, &["in.jsonl"]);
}

/// A server with one path that answers each POST with `answer`.
fn plain_server(path: &'static str, answer: fn(&Value) -> Value) -> String {
    closing_server(path, usize::MAX, answer)
}

/// The same; after `most` answers a connection is closed when its next request comes.
fn closing_server(path: &'static str, most: usize, answer: fn(&Value) -> Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = move |stream: TcpStream| -> std::io::Result<()> {
        let mut reader = BufReader::new(&stream);
        for answered in 0.. {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || answered == most {
                return Ok(());
            }
            let known = line.split_whitespace().nth(1) == Some(path);
            let post = line.starts_with("POST");
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim().split_once(':') else { break };
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let (status, body) = match (known, post) {
                (true, true) => ("200 OK", answer(&serde_json::from_slice(&body).unwrap()).to_string()),
                (true, false) => ("405 Method Not Allowed", "{}".into()),
                _ => ("404 Not Found", "{}".into()),
            };
            write!(
                &stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )?;
        }
        Ok(())
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    url
}

/// The names of the responses of a request, best first.
fn names(request: &Value) -> Vec<String> {
    request["responses"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_server_of_verdicts_tells_its_phases() {
    let url = plain_server("/v1/judge", |request| {
        assert_eq!(request["options"]["max_reasoning_tokens"], 5);
        let names = names(request);
        let scores: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(3))).collect();
        json!({ "scores": scores, "ranking": names, "usage": { "prompt_tokens": 10, "reused_tokens": 5, "verdict_tokens": 2 },
            "timing_ms": { "queue": 0.001, "prefill": 0.002, "reasoning": 0.003, "verdict": 0.004 } })
    });
    let (ran, report) = report(&url, &["--requests", "4", "--concurrency", "1", "--max-reasoning-tokens", "5"]);
    ran.succeeds();
    assert_eq!(report["target"]["api"], "dicast");
    let point = &report["points"][0];
    for phase in ["queue", "prefill", "reasoning", "verdict", "host"] {
        assert_eq!(point["phases_ms"][phase]["count"], 4, "{phase}");
    }
    assert_eq!((&point["tokens"]["prompt"], &point["tokens"]["reused"]), (&json!(40), &json!(20)));
}

#[test]
fn a_kept_connection_that_is_closed_when_it_is_used_again_is_no_failure() {
    let url = closing_server("/v1/judge", 2, |request| {
        let names = names(request);
        let scores: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(3))).collect();
        json!({ "scores": scores, "ranking": names })
    });
    let (ran, report) = report(&url, &["--requests", "12", "--concurrency", "1", "--warmup", "0"]);
    ran.succeeds();
    assert_eq!((&report["points"][0]["succeeded"], &report["points"][0]["failed"]), (&json!(12), &json!(0)));
}

#[test]
fn an_empty_result_of_the_reference_is_a_failure() {
    let url = plain_server("/api/rewardanything", |request| {
        assert_eq!(request["mask_responses"], true);
        let names = names(request);
        let scores: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(4))).collect();
        if names.len() == 2 {
            json!({ "thoughts": "", "results": { "scores": {}, "best-to-worst": [] } })
        } else {
            json!({ "thoughts": "", "results": { "scores": scores, "best-to-worst": names } })
        }
    });
    let (ran, whole) = report(&url, &["--requests", "3", "--concurrency", "1", "--responses", "3"]);
    ran.succeeds();
    assert_eq!((&whole["target"]["api"], &whole["points"][0]["succeeded"]), (&json!("reference"), &json!(3)));
    let (ran, empty) = report(&url, &["--requests", "3", "--concurrency", "1", "--responses", "2"]);
    assert_eq!((ran.code, &empty["points"][0]["failures"]["invalid_verdict"]["count"]), (1, &json!(3)));
}

#[test]
fn a_sweep_brackets_the_highest_rate() {
    let server = Server::new(Dialect::Other);
    let options = ["--sweep", "--objective", "p50=1us", "--requests", "2", "--warmup", "0", "--quiet"];
    let ran = run(["bench", "--url", &server.url].iter().chain(&options)).succeeds();
    assert!(ran.stdout.contains("No rate was held under p50=1µs. Missed at"), "{}", ran.stdout);
}

#[test]
fn an_interruption_prints_what_was_measured() {
    let server =
        Server::scripted(
            Dialect::Other,
            |number, _| {
                if number < 3 { Act::Answer } else { Act::Late(Duration::from_secs(60)) }
            },
        );
    let mut command =
        dicast(["bench", "--url", &server.url, "--requests", "100", "--concurrency", "1", "--warmup", "0"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while server.generations() < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).fails(1, &["interrupted"]);
    assert!(ran.stdout.contains("1 in flight (interrupted)       3 "), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_measured_is_refused_with_the_reason() {
    run(["bench"]).fails(2, &["no model is named"]);
    let folder = Folder::new();
    let input = folder.file("in.jsonl", "kept");
    let missing = folder.path("none/x.json");
    let input = text(&input);
    for (more, words) in [
        (&["--input", input, "--trace", input][..], &["--trace", "also the file of --input"][..]),
        (&["--baseline", input, "--json", input], &["--json", "also the file of --baseline"]),
        (&["--csv", text(&missing)], &["--csv", "none does not exist"]),
        (&["--compare", input, input, "--html", input], &["--html", "also the file of --compare"]),
    ] {
        run([&["bench"], more].concat()).fails(2, words);
    }
    assert_eq!(std::fs::read_to_string(input).unwrap(), "kept");
    run(["bench", "--url", "http://x", "--sweep"]).fails(2, &["--objective"]);
    run(["bench", "--url", "http://x", "--objective", "p99"]).fails(2, &["p99=2s"]);
    run(["bench", "--url", "http://x", "--rate", "0"]).fails(2, &["0.0001"]);
    run(["bench", "--url", "http://x", "--rate", "1", "--concurrency", "1"]).fails(2, &["cannot be used with"]);
    run(["bench", "--url", "http://x", "--fail-above", "10%"]).fails(2, &["--baseline"]);
    run(["bench", "--url", "http://x", "--duration", "1fortnight"]).fails(2, &["30s"]);
    run(["bench", "--url", "http://x", "--input", "/nonexistent.jsonl"]).fails(2, &["there is no file"]);
    let help = run(["bench", "--help"]).succeeds().stdout;
    assert!(help.contains("Examples:") && help.contains("--objective p99=2s"), "{help}");
}

#[cfg(feature = "local")]
#[test]
fn a_model_in_this_process_is_measured_with_all_its_phases() {
    let model = format!("{}/demo/dicast-demo.gguf", env!("CARGO_MANIFEST_DIR"));
    let ran = run([
        "bench",
        "--model",
        &model,
        "--requests",
        "4",
        "--concurrency",
        "2",
        "--group",
        "2",
        "--warmup",
        "1",
        "--json",
        "-",
    ])
    .succeeds();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["target"]["engine"], &report["points"][0]["succeeded"]), (&json!("local"), &json!(4)));
    let point = &report["points"][0];
    for phase in ["queue", "prefill", "reasoning", "verdict", "host"] {
        assert_eq!(point["phases_ms"][phase]["count"], 4, "{phase}");
    }
    assert!(point["tokens"]["reused"].as_u64().unwrap() > 0, "the system prompt is shared");
    if cfg!(target_os = "linux") {
        assert!(point["process"]["peak_resident_bytes"].as_u64().unwrap() > 10 << 20, "the worker process counts");
    }
}
