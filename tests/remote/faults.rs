//! Servers that fail: every request ends in one verdict or one typed error.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use dicast::{ErrorKind, Judge};

use super::server::{Act, Dialect, Server};
use super::{assert_verdict, config, open, request};

/// The fault of a generation, by its number: one in five.
fn one_in_five(
    fault: impl Fn() -> Act + Send + Sync + 'static,
) -> impl Fn(usize, &serde_json::Value) -> Act + Send + Sync {
    move |number, _| if number % 5 == 2 { fault() } else { Act::Answer }
}

#[test]
fn faults_of_one_request_in_five_are_not_seen() {
    let faults: [fn() -> Act; 9] = [
        || Act::Status(500, "{\"error\": \"broken\"}"),
        || Act::Status(503, "overloaded"),
        || Act::Busy(0),
        || Act::Reset,
        || Act::Truncated,
        || Act::Garbage,
        || Act::WrongType,
        || Act::Failed,
        || Act::Unfinished,
    ];
    for (place, fault) in faults.into_iter().enumerate() {
        let dialect = [Dialect::Vllm, Dialect::Llama, Dialect::Other, Dialect::GatedVllm][place % 4];
        let servers = [Server::scripted(dialect, one_in_five(fault)), Server::scripted(dialect, one_in_five(fault))];
        for streamed in [true, false] {
            let mut config = config(&servers[0].url);
            config.remote.endpoints = vec![servers[1].url.clone()];
            config.remote.max_retries = 8;
            config.remote.max_failures = 50;
            if !streamed {
                config.options.max_reasoning_tokens = Some(64);
            }
            let judge = Judge::open(config).unwrap();
            let requests: Vec<_> = (0..40).map(request).collect();
            for (number, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
                assert_verdict(number, &outcome.unwrap_or_else(|error| panic!("fault {place}, {streamed}: {error}")));
            }
        }
        assert!(servers.iter().all(|server| server.generations() >= 10), "both had work");
    }
}

#[test]
fn every_request_ends_once_whatever_servers_do() {
    let script = |number: usize, _: &serde_json::Value| match (number * 2_654_435_761) % 13 {
        0 => Act::Status(500, "no"),
        1 => Act::Reset,
        2 => Act::Truncated,
        3 => Act::Garbage,
        4 => Act::Busy(0),
        5 => Act::Status(400, "{\"error\": {\"message\": \"bad grammar\"}}"),
        6 => Act::Late(Duration::from_millis(20)),
        7 => Act::Failed,
        _ => Act::Answer,
    };
    let servers: Vec<_> = (0..3).map(|_| Server::scripted(Dialect::Vllm, script)).collect();
    let mut config = config(&servers[0].url);
    config.remote.endpoints = servers[1..].iter().map(|server| server.url.clone()).collect();
    config.remote.max_failures = 8;
    config.limits.max_queue = 1000;
    let judge = Judge::open(config).unwrap();
    let (tell, told) = mpsc::channel();
    for number in 0..200 {
        let tell = tell.clone();
        judge.submit(&request(number)).on_completion(move |outcome| tell.send((number, outcome)).unwrap());
    }
    drop(tell);
    let mut ended = vec![0; 200];
    let mut verdicts = 0;
    for (number, outcome) in told {
        ended[number] += 1;
        match outcome {
            Ok(verdict) => {
                assert_verdict(number, &verdict);
                verdicts += 1;
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Network | ErrorKind::Overloaded), "{error}");
                assert!(error.message().contains("http://127.0.0.1:"), "{error}");
                assert_eq!(error.is_retryable(), !error.message().contains("status 400"), "{error}");
            }
        }
    }
    assert!(ended.iter().all(|&count| count == 1));
    assert!(verdicts > 100, "{verdicts}");
}

#[test]
fn a_storm_of_429_is_waited_out() {
    let server = Server::scripted(Dialect::Llama, |number, _| if number < 40 { Act::Busy(0) } else { Act::Answer });
    let mut config = config(&server.url);
    config.remote.max_retries = 20;
    config.remote.num_workers = 4;
    let judge = Judge::open(config).unwrap();
    let requests: Vec<_> = (0..20).map(request).collect();
    assert!(judge.judge_batch(&requests).iter().all(Result::is_ok));
}

#[test]
fn what_no_retry_changes_is_not_tried_again() {
    for (act, word) in [
        (Act::Status(400, "{\"error\": {\"message\": \"bad grammar\", \"type\": \"BadRequestError\"}}"), "bad grammar"),
        (Act::Status(401, "{\"error\": \"Unauthorized\"}"), "remote.api_keys"),
        (Act::Redirect("http://127.0.0.1:1/".into()), "redirects"),
    ] {
        let server = Server::scripted(Dialect::Vllm, move |_, _| act.clone());
        let error = open(&server.url).judge(&request(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        assert!(!error.is_retryable() && error.message().contains(word), "{error}");
        assert!(error.message().starts_with(&server.url), "{error}");
        assert_eq!(server.generations(), 1);
    }
}

#[test]
fn a_prompt_too_long_for_the_server_is_said_so() {
    let said = "{\"error\": {\"message\": \"maximum context length is 2048 tokens\", \"type\": \"BadRequestError\"}}";
    let server = Server::scripted(Dialect::Vllm, move |_, _| Act::Status(400, said));
    let error = open(&server.url).judge(&request(0)).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ContextOverflow, false));
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let server = Server::scripted(Dialect::Llama, |_, _| Act::Stall);
    let mut config = config(&server.url);
    config.remote.idle_timeout_ms = 200;
    config.remote.max_retries = 1;
    let error = Judge::open(config).unwrap().judge(&request(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.message().contains("idle_timeout_ms") && error.message().contains("2 tries"), "{error}");
}

#[test]
fn an_answer_without_end_is_cut_off() {
    for reasoning in [300, 64] {
        let server = Server::scripted(Dialect::Vllm, |_, _| Act::Endless);
        let mut config = config(&server.url);
        config.remote.max_answer_bytes = 1 << 20;
        config.options.max_reasoning_tokens = Some(reasoning);
        let error = Judge::open(config).unwrap().judge(&request(0)).unwrap_err();
        assert!(error.message().contains("max_answer_bytes") && !error.is_retryable(), "{error}");
    }
}

#[test]
fn a_dead_server_is_a_network_error_and_work_goes_to_the_living() {
    let error = Judge::open(config("http://127.0.0.1:1")).err().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Network, true));
    assert!(error.message().contains("cannot be reached"), "{error}");

    let server = Server::new(Dialect::Vllm);
    let mut config = config(&server.url);
    config.remote.endpoints = vec!["http://127.0.0.1:1".into()];
    let judge = Judge::open(config).unwrap();
    assert!(
        judge.warnings().iter().any(|line| line.contains("127.0.0.1:1: cannot be reached")),
        "{:?}",
        judge.warnings()
    );
    assert_verdict(5, &judge.judge(&request(5)).unwrap());
}

#[test]
fn a_slow_request_is_hedged() {
    let slow = AtomicUsize::new(0);
    let first = Server::scripted(Dialect::Other, move |_, _| {
        slow.fetch_add(1, Ordering::Relaxed);
        Act::Late(Duration::from_secs(5))
    });
    let second = Server::new(Dialect::Other);
    let mut config = config(&first.url);
    config.remote.endpoints = vec![second.url.clone()];
    config.remote.hedge_ms = 100;
    let judge = Judge::open(config).unwrap();
    let begun = Instant::now();
    for number in 0..6 {
        assert_verdict(number, &judge.judge(&request(number)).unwrap());
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
