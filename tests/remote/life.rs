//! Cancelling, deadlines, closing, and servers that come and go.

use std::time::{Duration, Instant};

use dicast::{ErrorKind, Judge};

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
    // A file that is wrong changes nothing.
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
    // Nothing listens there yet: the address is taken later.
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
