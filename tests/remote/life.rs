//! Cancelling, deadlines, closing, and servers that come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dicast::engine::Priority;
use dicast::{ErrorKind, Judge, Submission};

use super::server::{Act, Dialect, Server};
use super::{assert_verdict, config, open, request};

/// Waits until something holds.
#[track_caller]
fn eventually(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !what() {
        assert!(Instant::now() < until, "it does not come to hold");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_cancelled_judgment_ends_at_once_and_its_server_stops() {
    for dialect in [Dialect::Vllm, Dialect::Llama, Dialect::Other] {
        let server = Server::scripted(dialect, |_, _| Act::Stall);
        let judge = open(&server.url);
        let ticket = judge.submit(&request(0));
        eventually(|| server.generations() == 1);
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        ticket.cancel();
        assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(begun.elapsed() < Duration::from_secs(1));
        eventually(|| server.abandoned() == 1);
        assert_eq!(judge.stats().running, 0);
    }
}

#[test]
fn a_connection_that_breaks_while_a_judge_is_opened_is_made_anew() {
    for (dialect, paths) in [
        (Dialect::Vllm, &["/v1/models", "/version", "/tokenize", "/v1/completions"][..]),
        (Dialect::Llama, &["/v1/models", "/props", "/tokenize", "/completion"]),
    ] {
        let server = Server::new(dialect);
        server.break_first(paths);
        let judge = open(&server.url);
        assert_eq!(server.unbroken(), [""; 0]);
        assert_verdict(1, &judge.judge(&request(1)).unwrap());
    }
}

#[test]
fn in_a_batch_the_time_of_a_judgment_begins_with_its_place_at_a_server() {
    for dialect in [Dialect::Vllm, Dialect::Llama, Dialect::Other] {
        let server = Server::scripted(dialect, |_, _| Act::Late(Duration::from_millis(160)));
        let mut config = config(&server.url);
        config.remote.num_workers = 1;
        config.options.timeout_ms = Some(1500);
        let judge = Judge::open(config).unwrap();
        let begun = Instant::now();
        let requests: Vec<_> = (0..10).map(request).collect();
        for (number, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
            assert_verdict(number, &outcome.unwrap());
        }
        assert!(begun.elapsed() > Duration::from_millis(1500), "the last one waited longer than one may take");
    }
    // A request that a server does not answer ends in time all the same.
    let server = Server::scripted(Dialect::Vllm, |_, _| Act::Stall);
    let mut config = config(&server.url);
    config.options.timeout_ms = Some(300);
    let judge = Judge::open(config).unwrap();
    for outcome in judge.judge_batch(&[request(0), request(1)]) {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.message().contains("0.3 s"), "{error}");
    }
}

#[test]
fn urgent_judgments_go_first_and_what_has_begun_before_them() {
    // Every judgment takes two requests, for reasoning and verdict; the server takes one at a time.
    let order = Arc::new(Mutex::new(Vec::new()));
    let (noted, held) = (order.clone(), Arc::new(AtomicBool::new(false)));
    let open = held.clone();
    let server = Server::scripted(Dialect::Vllm, move |_, body| {
        let ids = body["prompt"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
        let text: String = ids.filter_map(|id| u8::try_from(id).ok()).map(char::from).collect();
        let number = text.split("score=").nth(1).unwrap()[5..].split('"').next().unwrap().to_owned();
        noted.lock().unwrap().push(number);
        // The first one is held until all others wait.
        while !open.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Act::Answer
    });
    let mut config = config(&server.url);
    config.remote.num_workers = 1;
    let judge = Judge::open(config).unwrap();
    let submit = |number, priority| {
        let mut submission = Submission::default();
        submission.priority = priority;
        judge.submit_with(&request(number), submission)
    };
    let first = submit(0, Priority::Low);
    eventually(|| server.generations() == 1);
    let tickets = [first, submit(1, Priority::Low), submit(2, Priority::Normal), submit(3, Priority::High)];
    std::thread::sleep(Duration::from_millis(300));
    held.store(true, Ordering::Relaxed);
    for (number, ticket) in tickets.into_iter().enumerate() {
        assert_verdict(number, &ticket.wait().unwrap());
    }
    assert_eq!(*order.lock().unwrap(), ["0", "0", "3", "3", "2", "2", "1", "1"]);
}

#[test]
fn a_deadline_ends_a_judgment_at_its_server() {
    let server = Server::scripted(Dialect::Vllm, |_, _| Act::Stall);
    let mut config = config(&server.url);
    config.options.timeout_ms = Some(300);
    let judge = Judge::open(config).unwrap();
    let error = judge.judge(&request(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    eventually(|| server.abandoned() == 1);
}

#[test]
fn closing_ends_what_is_pending() {
    let server = Server::scripted(Dialect::Llama, |_, _| Act::Stall);
    let judge = open(&server.url);
    let tickets: Vec<_> = (0..100).map(|number| judge.submit(&request(number))).collect();
    eventually(|| server.generations() > 0);
    judge.close();
    for ticket in tickets {
        assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(judge.judge(&request(0)).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_server_has_at_most_its_requests() {
    let server = Server::scripted(Dialect::Other, |_, _| Act::Late(Duration::from_millis(30)));
    let mut config = config(&server.url);
    config.remote.num_workers = 3;
    let judge = Judge::open(config).unwrap();
    let tickets: Vec<_> = (0..30).map(|number| judge.submit(&request(number))).collect();
    let mut most = 0;
    while server.generations() < 30 {
        most = most.max(judge.stats().running);
        std::thread::sleep(Duration::from_millis(1));
    }
    for (number, ticket) in tickets.into_iter().enumerate() {
        assert_verdict(number, &ticket.wait().unwrap());
    }
    assert_eq!(most, 3);
}

#[test]
fn a_limit_of_requests_a_period_is_kept() {
    let server = Server::new(Dialect::Other);
    let mut config = config(&server.url);
    config.remote.request_limit = 5;
    config.remote.request_limit_period_ms = 300;
    let judge = Judge::open(config).unwrap();
    let begun = Instant::now();
    let requests: Vec<_> = (0..16).map(request).collect();
    assert!(judge.judge_batch(&requests).iter().all(Result::is_ok));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn servers_are_added_and_drained_while_running() {
    let (first, second) = (Server::new(Dialect::Vllm), Server::new(Dialect::Vllm));
    let file = std::env::temp_dir().join(format!("dicast-servers-{}", std::process::id()));
    std::fs::write(&file, "# none yet\n").unwrap();
    let mut config = config(&first.url);
    config.remote.endpoints_file = Some(file.clone());
    let judge = Judge::open(config).unwrap();
    assert_eq!(judge.about().len(), 1);
    let judge_some = || (0..20).for_each(|number| assert_verdict(number, &judge.judge(&request(number)).unwrap()));
    judge_some();
    std::fs::write(&file, format!("{}/v1\n", second.url)).unwrap();
    eventually(|| judge.about().len() == 2);
    judge_some();
    eventually(|| second.generations() > 0);
    // An invalid file changes nothing.
    std::fs::write(&file, "nonsense and more of it\n").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(judge.about().len(), 2);
    std::fs::write(&file, "\n").unwrap();
    eventually(|| judge.about().len() == 1);
    let before = second.generations();
    judge_some();
    assert_eq!(second.generations(), before);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_server_that_comes_later_gets_work() {
    let (first, second) = (Server::new(Dialect::Other), Server::new(Dialect::Other));
    // Nothing listens there yet; the server takes the address later.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    drop(listener);
    let mut config = config(&first.url);
    config.remote.endpoints = vec![second.url.clone()];
    config.remote.health_period_ms = 100;
    let judge = Judge::open(config).unwrap();
    let requests: Vec<_> = (0..20).map(request).collect();
    assert!(judge.judge_batch(&requests).iter().all(Result::is_ok));
    assert!(first.generations() > 0 && second.generations() > 0);
}
