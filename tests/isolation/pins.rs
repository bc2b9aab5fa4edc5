//! Prefixes that are kept in the worker.

use std::time::{Duration, Instant};

use dicast::config::Isolation;
use dicast::{ErrorKind, Judge, JudgeRequest, Sleep};

use super::alone;
use super::support::{children, config, kill, open, request, until};

fn prefix(principle: &str) -> JudgeRequest {
    JudgeRequest::new(principle, "", [("", ""); 0])
}

fn reused(judge: &Judge, salt: usize) -> usize {
    judge.judge(&request(salt)).unwrap().usage.reused_tokens
}

/// Kills the worker and waits for the next one.
fn kill_worker(judge: &Judge) {
    let workers = children(std::process::id());
    assert_eq!(workers.len(), 1, "one judge has one worker");
    kill(workers[0], "KILL");
    until("it is started again", || judge.judge(&other()).is_ok());
}

/// A request with another principle.
fn other() -> JudgeRequest {
    let mut other = request(0);
    other.principle = "Prefer answers in verse.".into();
    other
}

#[test]
fn a_prefix_stays_and_the_next_worker_computes_it_again() {
    let _alone = alone();
    let (here, judge) = (open(Isolation::None), open(Isolation::Process));
    let principle = prefix(&request(0).principle);
    let pinned = judge.warm(&principle).unwrap();
    assert_eq!(pinned.tokens(), here.warm(&principle).unwrap().tokens());
    let kept = pinned.tokens() - 1;
    assert!(kept > 5 && reused(&judge, 1) >= kept);
    for round in 0..2 {
        kill_worker(&judge);
        // A judgment may come before the prefix is computed.
        until("it is computed again", || {
            judge.judge(&other()).unwrap();
            reused(&judge, 10 + round) >= kept
        });
    }
    // A freed prefix is not computed again. The request with another principle shares only the part before it.
    let shared = {
        drop(pinned);
        kill_worker(&judge);
        judge.judge(&other()).unwrap();
        reused(&judge, 30)
    };
    assert!(shared < kept, "{shared} of {kept}");
}

#[test]
fn limits_and_errors_are_those_of_an_engine_in_this_process() {
    let _alone = alone();
    let (here, there) = (open(Isolation::None), open(Isolation::Process));
    let [one, other] = [&here, &there].map(|judge| {
        let pins: Vec<_> = (0..8).map(|index| judge.warm(&prefix(&format!("Principle {index}."))).unwrap()).collect();
        let full = judge.warm(&prefix("Another principle.")).unwrap_err();
        drop(pins);
        let long = judge.warm(&prefix(&"word ".repeat(20_000))).unwrap_err();
        let mut late = prefix(&"word ".repeat(400));
        late.options.timeout_ms = Some(1);
        let late = judge.warm(&late).unwrap_err();
        assert!(judge.warm(&prefix("Another principle.")).is_ok(), "there is room again");
        [full, long, late].map(|error| (error.kind(), error.is_retryable(), error.message().to_owned()))
    });
    assert_eq!(one, other);
    assert_eq!(one.map(|(kind, ..)| kind), [ErrorKind::Overloaded, ErrorKind::ContextOverflow, ErrorKind::Timeout]);
    there.sleep(&Sleep::default()).unwrap();
    assert_eq!(there.warm(&prefix("x")).unwrap_err().kind(), ErrorKind::Asleep);
    there.wake().unwrap();
    assert!(there.warm(&prefix("x")).is_ok());
}

#[test]
fn a_deadline_holds_while_the_worker_hangs_and_its_death_is_told() {
    let _alone = alone();
    let mut config = config(Isolation::Process);
    config.local.unresponsive_ms = 1000;
    let judge = Judge::open(config).unwrap();
    kill(children(std::process::id())[0], "STOP");
    let mut late = prefix("Prefer short answers.");
    late.options.timeout_ms = Some(200);
    let start = Instant::now();
    assert_eq!(judge.warm(&late).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_millis(900));
    let error = judge.warm(&prefix("Prefer short answers.")).unwrap_err();
    assert!(error.kind() == ErrorKind::Engine && error.is_retryable(), "{error}");
    assert!(
        error.message().contains("did not answer") && error.message().contains("warm the judge up again"),
        "{error}"
    );
    assert!(judge.warm(&prefix("Prefer short answers.")).is_ok());
}

#[test]
fn closing_ends_the_wait() {
    let _alone = alone();
    let judge = open(Isolation::Process);
    kill(children(std::process::id())[0], "STOP");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| judge.warm(&prefix("Prefer short answers.")));
        std::thread::sleep(Duration::from_millis(50));
        judge.close();
        assert_eq!(waits.join().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    });
}
