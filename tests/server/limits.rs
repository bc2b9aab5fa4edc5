//! Access, limits and rates; and how the server ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use dicast::server::{JudgeSource, Server, ServerConfig};
use serde_json::json;

use crate::support::{HANG, Running, SLOW, begin, configured, finish, judge, request, script, send, serve, until};

fn ask(server: &Running, headers: &[(&str, &str)]) -> crate::support::Got {
    server.post_with("/v1/judge", headers, &request(&["score=3"]))
}

#[test]
fn a_server_with_keys_answers_to_keys() {
    let server = serve(configured(json!({ "keys": [{ "name": "team", "key": "sesame-open" }] })));
    let refused = ask(&server, &[]);
    assert_eq!((refused.failed(401).as_str(), refused.header("www-authenticate")), ("unauthorized", Some("Bearer")));
    assert_eq!(ask(&server, &[("authorization", "Bearer wrong-key")]).failed(401), "unauthorized");
    for headers in [("authorization", "Bearer sesame-open"), ("x-api-key", "sesame-open")] {
        ask(&server, &[headers]).good();
    }
    // Paths that reveal nothing are open; the others need a key.
    assert_eq!((server.get("/health").status, server.get("/ready").status), (200, 200));
    assert_eq!((server.get("/metrics").status, server.get("/v1/models").status), (401, 401));
}

#[test]
fn a_key_may_ask_for_so_much_in_a_minute() {
    let server = serve(configured(json!({ "keys": [{ "name": "a", "key": "sesame-open", "per_minute": 2 }] })));
    let key = ("authorization", "Bearer sesame-open");
    ask(&server, &[key]).good();
    ask(&server, &[key]).good();
    let limited = ask(&server, &[key]);
    assert_eq!(limited.failed(429), "rate_limited");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Reading is free, and a batch counts all its requests.
    assert_eq!(send(server.address, "GET", "/v1/models", &[key], b"").status, 200);
    let batch = serve(configured(json!({ "keys": [{ "name": "a", "key": "sesame-open", "per_minute": 3 }] })));
    let requests = json!([request(&["score=1"]), request(&["score=1"]), request(&["score=1"])]);
    assert_eq!(batch.post_with("/v1/judge/batch", &[key], &requests).status, 200);
    assert_eq!(ask(&batch, &[key]).failed(429), "rate_limited");
}

#[test]
fn pages_of_others_and_other_names_are_kept_out() {
    let server = serve(configured(json!({ "cors": ["https://app.example"], "hosts": ["judge.lan"] })));
    let get = |headers: &[(&str, &str)]| send(server.address, "GET", "/v1/models", headers, b"");
    assert_eq!(get(&[("host", "evil.example:8001")]).failed(403), "forbidden");
    assert_eq!(get(&[("host", "judge.lan")]).status, 200);
    assert_eq!(get(&[("origin", "https://evil.example")]).failed(403), "forbidden");
    let own = format!("http://{}", server.address);
    assert_eq!(get(&[("origin", &own)]).status, 200);
    let allowed = get(&[("origin", "https://app.example")]);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let got = send(server.address, "OPTIONS", "/v1/judge", &preflight, b"");
    assert_eq!((got.status, got.header("access-control-allow-methods")), (204, Some("GET, POST, DELETE")));
    let plain = serve(ServerConfig::default());
    assert!(
        send(plain.address, "OPTIONS", "/v1/judge", &preflight, b"").header("access-control-allow-origin").is_none()
    );
}

#[test]
fn bodies_are_bounded_in_size_and_time() {
    let server = serve(configured(json!({ "max_body_bytes": 4096, "body_timeout_ms": 300 })));
    assert_eq!(server.post("/v1/judge", &request(&[&"x".repeat(5000)])).failed(413), "too_large");
    // A request that does not give its length.
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /v1/judge HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..100 {
        if stream.write_all(format!("400\r\n{}\r\n", "x".repeat(1024)).as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(finish(stream).status, 413);
    // A request that arrives slowly.
    let mut stream = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "POST /v1/judge HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: 100\r\n\r\n{{",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(finish(stream).status, 408);
    assert_eq!(server.figure("dicast_held_bytes"), 0.0);
    server.post("/v1/judge", &request(&["score=3"])).good();
}

#[test]
fn heads_are_bounded_in_size_and_time_and_idle_connections_make_room() {
    let server = serve(configured(json!({ "header_timeout_ms": 400, "max_connections": 4 })));
    let long = "x".repeat(200_000);
    let got = send(server.address, "GET", "/health", &[("x-long", &long)], b"");
    assert!(got.status == 431 || got.status == 0, "{got:?}");
    // Idle connections, which would take all places.
    let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.post("/v1/judge", &request(&["score=3"])).good();
    drop(idle);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nhost: ").unwrap();
    let began = Instant::now();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(5), "a head that does not come ends the connection");
    // A connection that sends nothing is closed too.
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let began = Instant::now();
    let _ = silent.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(5));
    // If all places are busy, one more request is refused.
    let busy: Vec<_> = (0..4)
        .map(|_| begin(server.address, "POST", "/v1/judge", &[], request(&[HANG]).to_string().as_bytes()))
        .collect();
    until(|| server.engine.submitted() >= 5);
    assert_eq!(send(server.address, "GET", "/health", &[], b"").status, 503);
    drop(busy);
    until(|| send(server.address, "GET", "/health", &[], b"").status == 200);
}

#[test]
fn what_is_too_much_is_refused_with_a_time_to_wait() {
    let server = serve(configured(json!({ "max_running": 1, "max_waiting": 2 })));
    let slow = request(&[SLOW]).to_string();
    let answers: Vec<_> = thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| finish(begin(server.address, "POST", "/v1/judge", &[], slow.as_bytes()))))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|got| got.status == 429).collect();
    assert_eq!(answers.iter().filter(|got| got.status == 200).count() + refused.len(), 20, "{answers:?}");
    assert!(refused.len() >= 10, "{}", refused.len());
    assert!(refused.iter().all(|got| got.header("retry-after").is_some_and(|wait| wait.parse::<u64>().unwrap() >= 1)));
}

#[test]
fn a_server_that_ends_lets_requests_end() {
    let mut server = serve(ServerConfig::default());
    let slow = begin(server.address, "POST", "/v1/judge", &[], request(&[SLOW]).to_string().as_bytes());
    let _idle = TcpStream::connect(server.address).unwrap();
    until(|| server.engine.submitted() == 1);
    server.stop();
    assert_eq!(finish(slow).status, 200);
    server.join().unwrap();
    assert!(TcpStream::connect(server.address).is_err());
    // Work that does not end in time is cut off.
    let mut server = serve(configured(json!({ "drain_ms": 200 })));
    let hanging = begin(server.address, "POST", "/v1/judge", &[], request(&[HANG]).to_string().as_bytes());
    until(|| server.engine.submitted() == 1);
    let began = Instant::now();
    server.stop();
    server.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(finish(hanging).status, 0);
    assert_eq!(server.engine.cancelled(), 1);
}

#[test]
fn a_server_without_keys_is_not_for_other_machines() {
    let engine = dicast::engine::scripted::Scripted::new(|job, _| script(job));
    let server = |config| {
        let judge = JudgeSource::Open(std::sync::Arc::new(judge(&engine)));
        Server::new(config, vec![("a".to_owned(), judge)]).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = |config| {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
            server(config).serve(listener, async {}).await
        })
    };
    let error = outcome(ServerConfig::default()).unwrap_err();
    assert!(error.message().contains("server.keys"), "{error}");
    outcome(configured(json!({ "anonymous": true }))).unwrap();
    outcome(configured(json!({ "keys": [{ "name": "a", "key": "sesame-open" }] }))).unwrap();
}

#[test]
fn https_is_spoken_where_there_is_a_certificate() {
    let folder = std::env::temp_dir().join(format!("dicast-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("c.pem"), folder.join("k.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let server = serve(configured(json!({ "tls": { "certificate": certificate, "key": key } })));
    let url = format!("https://localhost:{}/health", server.address.port());
    let got = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--cacert"])
        .arg(&certificate)
        .arg(&url)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&got.stdout).contains("healthy"), "{got:?}");
    // Plain http gets no answer at that port.
    assert_eq!(send(server.address, "GET", "/health", &[], b"").status, 0);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn settings_out_of_range_are_named() {
    for (server, word) in [
        (json!({ "max_waiting": 0 }), "server.max_waiting is 0"),
        (json!({ "surprise": 1 }), "surprise"),
        (json!({ "keys": [{ "name": "a" }] }), "needs one of key, env, file and sha256"),
        (json!({ "cors": ["app.example"] }), "server.cors"),
        (json!({ "routes": [{ "path": "x", "protocol": "slime", "principle": "p" }] }), "a path begins with /"),
        (
            json!({ "routes": [{ "path": "/v1/judge", "protocol": "slime", "principle": "p" }] }),
            "itself uses /v1/judge",
        ),
        (json!({ "routes": [{ "path": "/x", "protocol": "kserve", "principle": "p" }] }), "/v2/models/NAME/infer"),
        (json!({ "routes": [{ "path": "/x", "protocol": "slime", "principle": " " }] }), "principle"),
        (json!({ "routes": [{ "path": "/x", "protocol": "other", "principle": "p" }] }), "other"),
    ] {
        let file = json!({ "server": server }).to_string();
        let error = dicast::server::ServerFile::read(file.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), dicast::ErrorKind::InvalidConfig);
        assert!(error.message().contains(word), "{error}");
    }
    let secret = json!({ "server": { "keys": [{ "name": "a", "key": "sesame-open", "env": "X" }] } }).to_string();
    let error = dicast::server::ServerFile::read(secret.as_bytes()).unwrap_err();
    assert!(!error.message().contains("sesame"), "{error}");
}
