//! The server's own API, and the reference's.

use dicast::server::ServerConfig;
use serde_json::{Value, json};

use crate::support::{FAIL, HANG, SLOW, begin, configured, finish, request, send, serve, until};

fn events(body: &str) -> Vec<(String, Value)> {
    body.split("\n\n")
        .filter(|event| !event.trim().is_empty() && !event.starts_with(':'))
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let name = name.strip_prefix("event: ").unwrap().to_owned();
            (name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap())
        })
        .collect()
}

#[test]
fn a_verdict_comes_back_whole() {
    let server = serve(ServerConfig::default());
    let verdict = server.post("/v1/judge", &request(&["score=2", "score=5"])).good();
    assert_eq!(verdict["scores"], json!({ "r0": 2, "r1": 5 }));
    assert_eq!(verdict["ranking"], json!(["r1", "r0"]));
    assert!(verdict["reasoning"].as_str().unwrap().contains("2 responses"));
    let mut asked = request(&["score=3"]);
    asked["judge"] = "second".into();
    asked["options"] = json!({ "temperature": 0.5, "seed": 7 });
    assert_eq!(server.post("/v1/judge", &asked).good()["scores"]["r0"], 3);
}

#[test]
fn errors_are_problems_with_their_kind() {
    let server = serve(ServerConfig::default());
    let post = |body: &Value| server.post("/v1/judge", body);
    let with = |key: &str, value: Value| {
        let mut body = request(&["x"]);
        body[key] = value;
        body
    };
    assert_eq!(post(&json!({})).failed(400), "invalid_request");
    assert_eq!(post(&json!([1])).failed(400), "invalid_request");
    assert_eq!(post(&with("judge", "none".into())).failed(404), "model_not_found");
    assert_eq!(post(&with("options", json!({ "temperature": 9 }))).failed(400), "invalid_request");
    assert_eq!(post(&with("surprise", 1.into())).failed(400), "invalid_request");
    let failed = post(&request(&[FAIL]));
    assert_eq!(failed.failed(502), "invalid_verdict");
    assert_eq!(failed.json()["partial"]["raw"], "I cannot say.");
    assert_eq!(post(&request(&vec!["x"; 33])).failed(413), "too_large");
    let short = with("options", json!({ "timeout_ms": 50 }));
    let mut hanging = short.clone();
    hanging["responses"] = json!({ "a": HANG });
    assert_eq!(post(&hanging).failed(504), "timeout");
    assert_eq!(server.get("/v1/nothing").failed(404), "not_found");
    assert_eq!(server.get("/v1/judge").failed(405), "method_not_allowed");
    let broken =
        send(server.address, "POST", "/v1/judge", &[("content-type", "application/json")], b"{\"principle\": ");
    assert_eq!(broken.failed(400), "invalid_request");
    let form = send(server.address, "POST", "/v1/judge", &[("content-type", "text/plain")], b"{}");
    assert_eq!(form.failed(415), "unsupported_media_type");
    assert!(server.figure("dicast_errors_total{kind=\"invalid_verdict\"}") >= 1.0);
}

#[test]
fn a_judgment_can_be_watched() {
    let server = serve(ServerConfig { max_running: 1, ..ServerConfig::default() });
    let mut asked = request(&["score=4"]);
    asked["stream"] = true.into();
    let got = server.post("/v1/judge", &asked);
    assert_eq!(got.header("content-type"), Some("text/event-stream"));
    let events_of = events(&got.body);
    assert_eq!(events_of.first().unwrap().0, "started");
    let pieces: Vec<_> = events_of.iter().filter(|(name, _)| name == "reasoning").collect();
    let reasoning: String = pieces.iter().map(|(_, piece)| piece["text"].as_str().unwrap()).collect();
    assert!(pieces.len() > 1 && reasoning.contains("1 responses"), "{pieces:?}");
    let (name, verdict) = events_of.last().unwrap();
    assert_eq!((name.as_str(), &verdict["scores"]["r0"]), ("verdict", &json!(4)));
    // A request that waits is told its place in the queue.
    let first = begin(server.address, "POST", "/v1/judge", &[], request(&[SLOW]).to_string().as_bytes());
    until(|| server.engine.submitted() >= 2);
    let second = server.post_with("/v1/judge", &[("accept", "text/event-stream")], &request(&["score=1"]));
    let names: Vec<_> = events(&second.body).into_iter().map(|(name, data)| (name, data["place"].clone())).collect();
    assert_eq!(names[0], ("queued".to_owned(), json!(0)), "{names:?}");
    assert!(names.contains(&("started".to_owned(), Value::Null)));
    assert_eq!(finish(first).status, 200);
    // A bad request is refused with its status; a later failure is an event.
    assert_eq!(
        server.post_with("/v1/judge", &[("accept", "text/event-stream")], &request(&[])).failed(400),
        "invalid_request"
    );
    let failed = server.post_with("/v1/judge", &[("accept", "text/event-stream")], &request(&[FAIL]));
    let (name, problem) = events(&failed.body).pop().unwrap();
    assert_eq!((name.as_str(), &problem["kind"]), ("error", &json!("invalid_verdict")));
}

#[test]
fn a_batch_keeps_its_order_or_comes_as_it_ends() {
    let server = serve(ServerConfig::default());
    let batch = json!([request(&[SLOW]), request(&["score=2"]), request(&[FAIL]), { "principle": 1 }]);
    let lines = |got: &crate::support::Got| -> Vec<Value> {
        assert_eq!(got.status, 200, "{got:?}");
        got.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let ordered = lines(&server.post("/v1/judge/batch", &batch));
    let indices: Vec<_> = ordered.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(ordered[1]["verdict"]["scores"]["r0"], 2);
    assert_eq!((&ordered[2]["status"], &ordered[2]["error"]["kind"]), (&json!(502), &json!("invalid_verdict")));
    assert_eq!(ordered[3]["error"]["kind"], "invalid_request");
    let finished = lines(&server.post("/v1/judge/batch?order=finished", &batch));
    assert_eq!(finished.last().unwrap()["index"], 0, "the slow one is the last");
    let text = format!("{}\n\n{}\n", request(&["score=1"]), request(&["score=5"]));
    let headers = [("content-type", "application/x-ndjson")];
    let got = lines(&send(server.address, "POST", "/v1/judge/batch?judge=second", &headers, text.as_bytes()));
    assert_eq!(got[1]["verdict"]["scores"]["r0"], 5);
    assert_eq!(server.post("/v1/judge/batch", &json!([])).failed(400), "invalid_request");
    assert_eq!(
        server.post("/v1/judge/batch", &request(&["x"])).failed(400),
        "invalid_request",
        "lines have their own type"
    );
    assert_eq!(server.post("/v1/judge/batch?order=random", &batch).failed(400), "invalid_request");
    assert_eq!(server.post("/v1/judge/batch?judge=none", &batch).failed(404), "model_not_found");
}

#[test]
fn rewards_stand_in_the_order_of_the_texts() {
    let server = serve(ServerConfig::default());
    let asked = json!({ "principle": "p", "prompt": "q", "responses": ["score=3", "score=1", "score=5"] });
    let rewards = server.post("/v1/rewards", &asked).good();
    assert_eq!(rewards["rewards"], json!([3.0, 1.0, 5.0]));
    assert_eq!(rewards["ranking"], json!([2, 0, 1]));
    let mut ranked = asked.clone();
    ranked["options"] = json!({ "reward": "rank" });
    assert_eq!(server.post("/v1/rewards", &ranked).good()["rewards"], json!([0.5, 0.0, 1.0]));
}

#[test]
fn the_reference_interface_keeps_order_and_names_and_hides_no_failure() {
    let server = serve(ServerConfig::default());
    let answer = server.post("/api/rewardanything", &request(&["score=2", "score=5"])).good();
    assert_eq!(answer["results"], json!({ "scores": { "r0": 2, "r1": 5 }, "best-to-worst": ["r1", "r0"] }));
    assert!(answer["thoughts"].as_str().unwrap().contains("2 responses"));
    assert_eq!(server.post("/api/rewardanything", &request(&[FAIL])).failed(502), "invalid_verdict");
    let batch = json!([request(&[SLOW, "score=4"]), request(&["score=2"]), request(&[FAIL])]);
    let answers = server.post("/api/rewardanything_batch?max_timeout=20", &batch).good();
    assert_eq!(answers[0]["results"]["scores"]["r1"], 4);
    assert_eq!(answers[1]["results"]["scores"]["r0"], 2);
    assert_eq!((&answers[2]["error"]["kind"], &answers[2]["results"]), (&json!("invalid_verdict"), &Value::Null));
    let hanging = json!([request(&["score=1"]), request(&[HANG])]);
    let answers = server.post("/api/rewardanything_batch?max_timeout=0.3", &hanging).good();
    assert_eq!(answers[0]["results"]["scores"]["r0"], 1);
    assert_eq!(answers[1]["error"]["kind"], "timeout");
    let late = server.post("/api/rewardanything_batch?max_timeout=0.1", &json!([request(&[HANG])]));
    assert_eq!(late.failed(408), "timeout");
    assert_eq!(server.post("/api/rewardanything_batch?max_timeout=soon", &hanging).failed(400), "invalid_request");
    assert_eq!(server.post("/api/rewardanything_batch", &json!([request(&[FAIL])])).failed(502), "invalid_verdict");
    until(|| server.engine.cancelled() == 2);
}

#[test]
fn a_client_that_goes_away_takes_its_judgment_with_it() {
    let server = serve(ServerConfig::default());
    for path in ["/v1/judge", "/api/rewardanything", "/v1/rewards"] {
        let before = server.engine.cancelled();
        let submitted = server.engine.submitted();
        let stream = begin(server.address, "POST", path, &[], request(&[HANG]).to_string().as_bytes());
        until(|| server.engine.submitted() > submitted);
        drop(stream);
        until(|| server.engine.cancelled() > before);
    }
    let mut streamed = request(&[HANG]);
    streamed["stream"] = true.into();
    let before = server.engine.cancelled();
    let submitted = server.engine.submitted();
    let stream = begin(server.address, "POST", "/v1/judge", &[], streamed.to_string().as_bytes());
    until(|| server.engine.submitted() > submitted);
    drop(stream);
    until(|| server.engine.cancelled() > before);
    until(|| server.figure("dicast_running{judge=\"first\"}") == 0.0);
}

#[test]
fn a_request_with_a_key_of_its_own_is_judged_once() {
    let server = serve(ServerConfig::default());
    let key = [("idempotency-key", "one")];
    let first = server.post_with("/v1/judge", &key, &request(&["score=4"]));
    let again = server.post_with("/v1/judge", &key, &request(&["score=4"]));
    assert_eq!((first.good(), again.header("idempotent-replayed")), (again.good(), Some("true")));
    assert_eq!(server.engine.submitted(), 1);
    assert_eq!(server.post_with("/v1/judge", &key, &request(&["score=5"])).failed(422), "idempotency_key_reused");
    // A failure is not kept.
    let key = [("idempotency-key", "two")];
    assert_eq!(server.post_with("/v1/judge", &key, &request(&[FAIL])).failed(502), "invalid_verdict");
    assert_eq!(server.post_with("/v1/judge", &key, &request(&[FAIL])).failed(502), "invalid_verdict");
    assert_eq!(server.engine.submitted(), 3);
    let key = [("idempotency-key", "three"), ("content-type", "application/json")];
    let hanging = begin(server.address, "POST", "/v1/judge", &key, request(&[HANG]).to_string().as_bytes());
    until(|| server.engine.submitted() == 4);
    let conflict = server.post_with("/v1/judge", &key[..1], &request(&[HANG]));
    assert_eq!((conflict.failed(409).as_str(), conflict.header("retry-after")), ("conflict", Some("1")));
    drop(hanging);
    until(|| server.engine.cancelled() == 1);
}

#[test]
fn what_the_server_is_can_be_asked() {
    let server = serve(ServerConfig::default());
    assert_eq!(server.get("/health").good()["status"], "healthy");
    assert_eq!(server.get("/ready").good()["status"], "ready");
    assert_eq!(server.get("/ready?deep=true").good()["status"], "ready");
    assert_eq!(
        (server.get("/ready?deep=true").status, server.engine.submitted()),
        (200, 1),
        "it is tried once in a while"
    );
    let models = server.get("/v1/models").good();
    assert_eq!((&models["data"][0]["id"], &models["data"][1]["id"]), (&json!("first"), &json!("second")));
    assert_eq!(models["data"][0]["scale"], json!({ "min": 1, "max": 5 }));
    let described = server.get("/openapi.json").good();
    assert_eq!(described["openapi"], "3.1.0");
    // Every path in the description exists.
    for (path, item) in described["paths"].as_object().unwrap() {
        let got = match item.get("post") {
            Some(_) => server.post(path, &json!(7)),
            None => server.get(path),
        };
        // 404 here means that there is no job of this name.
        let no_job = got.body.contains("job_not_found");
        assert!(!matches!(got.status, 404 | 405) || no_job, "{path}: {got:?}");
    }
    server.post("/v1/judge", &request(&["score=4", "score=1"]));
    let text = server.get("/metrics").body;
    for line in [
        "dicast_judgments_total{judge=\"first\",outcome=\"ok\"} 2",
        "dicast_phase_seconds_count{judge=\"first\",phase=\"verdict\"} 2",
        "dicast_responses_bucket{judge=\"first\",le=\"2\"} 2",
        "dicast_judge_loaded{judge=\"second\"} 1",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
    for family in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        assert!(family.split_once(' ').is_some_and(|(_, help)| !help.is_empty()), "{family}");
    }
}

#[test]
fn requests_have_numbers_and_keep_their_trace() {
    let server = serve(ServerConfig::default());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [("x-request-id", "mine-1"), ("traceparent", parent)];
    let got = send(server.address, "GET", "/health", &headers, b"");
    assert_eq!((got.header("x-request-id"), got.header("traceparent")), (Some("mine-1"), Some(parent)));
    let own = send(server.address, "GET", "/health", &[("x-request-id", "has a space")], b"");
    assert_eq!(own.header("x-request-id").map(str::len), Some(32));
}

#[test]
fn judges_are_loaded_on_demand_and_unloaded_when_idle() {
    use dicast::engine::scripted::Scripted;
    use dicast::server::{JudgeSource, Server};
    use std::sync::atomic::{AtomicUsize, Ordering};

    let config = configured(json!({ "load_on_demand": true, "unload_after_s": 1 }));
    let opened = std::sync::Arc::new(AtomicUsize::new(0));
    let count = opened.clone();
    let open = JudgeSource::Opener(Box::new(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 1 {
            return Err(dicast::Error::new(dicast::ErrorKind::Io, "the disk is busy"));
        }
        Ok(crate::support::judge(&Scripted::new(|job, _| crate::support::script(job))))
    }));
    let server = Server::new(config, vec![("only".to_owned(), open)]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (address, stop) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move { server.serve(listener, async { drop(stopped.await) }).await });
        (address, stop)
    });
    let models = || send(address, "GET", "/v1/models", &[], b"").good()["data"][0]["loaded"].clone();
    let judge = || send(address, "POST", "/v1/judge", &[], request(&["score=2"]).to_string().as_bytes());
    assert_eq!((models(), opened.load(Ordering::SeqCst)), (json!(false), 0));
    assert_eq!(judge().good()["scores"]["r0"], 2);
    assert_eq!(models(), json!(true));
    until(|| models() == json!(false));
    // It cannot be opened now, and is not tried again at once.
    assert_eq!(judge().failed(500), "io");
    assert_eq!(judge().failed(500), "io");
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    drop(stop);
}
