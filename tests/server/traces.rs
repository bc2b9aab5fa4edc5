//! Traces of requests and judgments, as a collector of OpenTelemetry gets them.

use std::time::{Duration, Instant};

use dicast::engine::scripted::Scripted;
use dicast::server::{ServerConfig, Telemetry};
use serde_json::json;

use crate::collector::{Collector, Manner};
use crate::support::{
    FAIL, HANG, Running, SLOW, begin, configured, finish, request, script, send, serve_traced, until,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traced(config: ServerConfig, telemetry: &Telemetry) -> Running {
    serve_traced(config, Scripted::new(|job, _| script(job)), Some(telemetry))
}

fn started(config: ServerConfig) -> (Collector, Running) {
    let collector = Collector::new(Manner::Takes);
    let server = traced(config, &Telemetry::to(&collector.url()).unwrap());
    (collector, server)
}

/// Ends a server, which sends all spans.
fn end(mut server: Running) {
    server.stop();
    server.join().unwrap();
}

#[test]
fn a_request_and_its_judgment_are_in_the_trace_of_the_caller() {
    let keys = json!([{ "name": "team", "key": "sesame-open" }]);
    let (collector, server) = started(configured(json!({ "keys": keys })));
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers = [
        ("authorization", "Bearer sesame-open"),
        ("traceparent", parent.as_str()),
        ("x-request-id", "number-7"),
        ("user-agent", "secret-agent"),
    ];
    let got = server.post_with("/v1/judge?note=whisper", &headers, &request(&["score=2 garnet", "score=5 topaz"]));
    got.good();
    let port = server.address.port();
    end(server);

    let asked = collector.span("POST /v1/judge");
    assert_eq!((asked.trace.as_str(), asked.parent.as_str(), asked.kind), (TRACE, PARENT, 2));
    assert_eq!(asked.status, 0);
    let expected = json!({
        "http.request.method": "POST", "http.route": "/v1/judge", "http.response.status_code": 200, "url.path": "/v1/judge",
        "url.scheme": "http", "server.address": "127.0.0.1", "server.port": port, "network.protocol.version": "1.1",
        "dicast.request_id": "number-7",
    });
    assert_eq!(json!(asked.attributes), expected);
    assert_eq!(asked.resource["service.name"], "dicast");
    assert_eq!(asked.resource["service.version"], env!("CARGO_PKG_VERSION"));

    let judged = collector.span("judge first");
    assert_eq!((judged.trace.as_str(), judged.parent.as_str(), judged.kind), (TRACE, asked.id.as_str(), 1));
    assert!(asked.start <= judged.start && judged.start <= judged.end && judged.end <= asked.end);
    let attributes = &judged.attributes;
    assert_eq!(attributes["gen_ai.request.model"], "first");
    assert_eq!((&attributes["dicast.client"], &attributes["dicast.request_id"]), (&json!("team"), &json!("number-7")));
    assert_eq!((&attributes["dicast.responses"], &attributes["dicast.repairs"]), (&json!(2), &json!(0)));
    assert!(attributes["gen_ai.usage.output_tokens"].as_i64().unwrap() >= 0, "{attributes:?}");
    for time in ["wait", "queue", "prefill", "reasoning", "verdict"] {
        assert!(attributes[&format!("dicast.{time}_seconds")].as_f64().unwrap() >= 0.0, "{attributes:?}");
    }

    // The phases follow each other within the judgment.
    let spans = collector.spans();
    let mut at = judged.start;
    for name in ["queue", "prefill", "reasoning", "verdict"] {
        let Some(phase) = spans.iter().find(|span| span.name == name) else { continue };
        assert_eq!((phase.trace.as_str(), phase.parent.as_str(), phase.kind), (TRACE, judged.id.as_str(), 1));
        assert!(at <= phase.start && phase.start <= phase.end && phase.end <= judged.end, "{name}: {spans:#?}");
        at = phase.end;
        let told = judged.attributes[&format!("dicast.{name}_seconds")].as_f64().unwrap();
        assert!((told - (phase.end - phase.start) as f64 / 1e9).abs() < 1e-6, "{name}: {spans:#?}");
    }
    assert!(at > judged.start, "there is a phase");

    let (head, body) = &collector.requests()[0];
    assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let bytes = String::from_utf8_lossy(body);
    for text in ["Be brief", "Python", "garnet", "topaz", "compare them", "sesame", "whisper", "secret-agent"] {
        assert!(!bytes.contains(text), "{text} was sent");
    }
}

#[test]
fn errors_are_kinds_and_their_messages_are_not_sent() {
    let (collector, server) = started(ServerConfig::default());
    assert_eq!(server.post("/v1/judge", &request(&[FAIL, "garnet"])).failed(502), "invalid_verdict");
    let mut unknown = request(&["garnet"]);
    unknown["judge"] = "garnet".into();
    assert_eq!(server.post("/v1/rewards", &unknown).failed(404), "model_not_found");
    assert_eq!(server.get("/garnet").status, 404);
    end(server);
    let (asked, judged) = (collector.span("POST /v1/judge"), collector.span("judge first"));
    assert_eq!((asked.status, judged.status), (2, 2));
    assert_eq!(asked.attributes["http.response.status_code"], 502);
    assert_eq!(asked.attributes["error.type"], "invalid_verdict");
    assert_eq!(judged.attributes["error.type"], "invalid_verdict");
    // The client's mistakes are no failures of the server.
    let asked = collector.span("POST /v1/rewards");
    assert_eq!((asked.status, &asked.attributes["error.type"]), (0, &json!("model_not_found")));
    assert_eq!(collector.span("judge").attributes["error.type"], "model_not_found");
    let nothing = collector.span("GET");
    assert!(!nothing.attributes.contains_key("http.route") && !nothing.attributes.contains_key("url.path"));
    // Without a parent, each request begins a trace.
    assert!(asked.parent.is_empty() && nothing.parent.is_empty() && asked.trace != nothing.trace);
    for (_, body) in collector.requests() {
        assert!(!String::from_utf8_lossy(&body).contains("garnet"));
    }
}

#[test]
fn a_wait_in_the_queue_is_a_span_and_a_client_that_leaves_is_told_apart() {
    let (collector, server) = started(configured(json!({ "max_running": 1 })));
    let hanging = begin(server.address, "POST", "/v1/judge", &[], request(&[HANG]).to_string().as_bytes());
    until(|| server.engine.submitted() == 1);
    let waiting = begin(server.address, "POST", "/v1/rewards", &[], request(&["score=3"]).to_string().as_bytes());
    until(|| server.figure("dicast_waiting{judge=\"first\"}") == 1.0);
    std::thread::sleep(Duration::from_millis(50));
    drop(hanging);
    assert_eq!(finish(waiting).status, 200);
    end(server);
    let spans = collector.spans();
    let within = |name: &str| {
        let parent = collector.span(name);
        spans.iter().find(|span| span.parent == parent.id && span.name == "judge first").unwrap().clone()
    };
    assert_eq!(collector.span("POST /v1/judge").attributes["error.type"], "cancelled");
    assert_eq!(within("POST /v1/judge").attributes["error.type"], "cancelled");
    let (judged, wait) = (within("POST /v1/rewards"), collector.span("wait"));
    assert_eq!((wait.parent.as_str(), wait.trace.as_str()), (judged.id.as_str(), judged.trace.as_str()));
    assert!(wait.end - wait.start >= 50_000_000 && judged.start <= wait.start && wait.end <= judged.end);
    assert!(judged.attributes["dicast.wait_seconds"].as_f64().unwrap() >= 0.05);
}

#[test]
fn a_streamed_answer_is_followed_to_its_end() {
    let (collector, server) = started(ServerConfig::default());
    let mut asked = request(&[SLOW]);
    asked["stream"] = true.into();
    let got = server.post("/v1/judge", &asked);
    assert!(got.body.contains("event: verdict"), "{got:?}");
    end(server);
    let (asked, judged) = (collector.span("POST /v1/judge"), collector.span("judge first"));
    assert!(judged.end - judged.start >= 300_000_000 && asked.end >= judged.end, "{asked:#?} {judged:#?}");
    assert!(!asked.attributes.contains_key("error.type"), "{asked:?}");
}

#[test]
fn probes_and_what_the_caller_does_not_sample_are_not_traced() {
    let (collector, server) = started(ServerConfig::default());
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(server.get(path).status, 200);
    }
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    server.post_with("/v1/judge", &[("traceparent", &unsampled)], &request(&["score=3"])).good();
    // One that is no traceparent begins a trace of its own.
    let broken = format!("00-{TRACE}-0000000000000000-01");
    server.post_with("/v1/rewards", &[("traceparent", &broken)], &request(&["score=3"])).good();
    end(server);
    // There is one judgment, and one request.
    let (asked, judged) = (collector.span("POST /v1/rewards"), collector.span("judge first"));
    assert!(asked.parent.is_empty() && judged.parent == asked.id);
    for span in collector.spans() {
        assert_ne!(span.trace, TRACE, "{span:?}");
        assert!(span.trace == asked.trace, "{span:?}");
    }
}

#[test]
fn a_collector_that_is_gone_or_silent_or_refuses_holds_nothing_up() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (silent, refusing) = (Collector::new(Manner::IsSilent), Collector::new(Manner::Answers(404)));
    for url in [format!("http://{gone}"), silent.url(), refusing.url()] {
        let telemetry = Telemetry::to(&url).unwrap();
        let server = traced(configured(json!({ "drain_ms": 200 })), &telemetry);
        let began = Instant::now();
        for _ in 0..20 {
            server.post("/v1/judge", &request(&["score=3"])).good();
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{url}");
        let began = Instant::now();
        end(server);
        assert!(began.elapsed() < Duration::from_secs(4), "{url}: {:?}", began.elapsed());
        // Each has a request and a judgment.
        let lost = telemetry.lost();
        assert!(telemetry.sent() == 0 && lost >= 40, "{url}: {lost}");
        telemetry.end(Duration::from_secs(1));
        assert_eq!(telemetry.lost(), lost, "a second end is harmless");
    }
}

#[test]
fn spans_that_find_no_room_are_dropped_and_counted() {
    let silent = Collector::new(Manner::IsSilent);
    let telemetry = Telemetry::to(&silent.url()).unwrap();
    let server = traced(configured(json!({ "drain_ms": 200 })), &telemetry);
    let requests = json!(vec![request(&["score=3"]); 3000]);
    let got = send(
        server.address,
        "POST",
        "/v1/judge/batch",
        &[("content-type", "application/json")],
        requests.to_string().as_bytes(),
    );
    assert_eq!(got.body.matches("\"status\":200").count(), 3000);
    // 2048 wait, and at most one batch of 512 is being sent.
    let lost = server.figure("dicast_spans_total{outcome=\"lost\"}");
    assert!(lost >= 3000.0 - 2048.0 - 512.0, "{lost}");
    assert_eq!(server.figure("dicast_spans_total{outcome=\"sent\"}"), 0.0);
    end(server);
    let kept = telemetry.lost() as f64 - lost;
    assert!((2048.0..=2048.0 + 512.0).contains(&kept), "{kept}");
}
