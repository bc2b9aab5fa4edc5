//! A judge that sleeps, wakes and gets other weights, on an engine that answers by script.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Arriving, Judge, Sleep, Submission};
use crate::config::JudgeConfig;
use crate::engine::Priority;
use crate::engine::scripted::{Reply, Scripted};
use crate::error::ErrorKind;
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::request::JudgeRequest;

const VERDICT: &str = r#"{"scores": {"model-1": 4}, "best-to-worst": ["model-1"]}"#;

fn request() -> JudgeRequest {
    JudgeRequest::new("Be brief.", "p", [("a", "yes")])
}

fn open(engine: &Scripted, max_queue: usize) -> Judge {
    let mut config = JudgeConfig::new("scripted");
    config.limits.max_queue = max_queue;
    Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).unwrap()
}

fn fail() -> Sleep {
    Sleep { arriving: Arriving::Fail, ..Sleep::default() }
}

#[test]
fn requests_that_come_meanwhile_wait_or_fail_as_was_said() {
    let engine = Scripted::new(|_, _| Reply::text(VERDICT));
    let judge = open(&engine, 8);
    judge.sleep(&Sleep::default()).unwrap();
    assert!(judge.is_asleep());
    let waiting = judge.submit(&request());
    assert_eq!((engine.submitted(), judge.pending()), (0, 1));
    // What is wrong with a request is found at once.
    let mut wrong = request();
    wrong.options.temperature = Some(9.0);
    assert_eq!(judge.judge(&wrong).unwrap_err().kind(), ErrorKind::InvalidRequest);
    judge.wake().unwrap();
    assert_eq!(waiting.wait().unwrap().weights, 0);
    assert!(!judge.is_asleep());
    judge.wake().unwrap();

    judge.sleep(&fail()).unwrap();
    let error = judge.judge(&request()).unwrap_err();
    assert!(error.kind() == ErrorKind::Asleep && error.is_retryable(), "{error}");
    judge.wake().unwrap();
    judge.judge(&request()).unwrap();
    assert_eq!(engine.asked(), ["sleep", "wake", "sleep", "wake"]);
}

#[test]
fn one_that_waits_ends_by_its_deadline_or_when_it_is_cancelled() {
    let engine = Scripted::new(|_, _| Reply::text(VERDICT));
    let judge = open(&engine, 2);
    judge.sleep(&Sleep::default()).unwrap();
    let (sender, outcome) = channel();
    let mut soon = request();
    soon.options.timeout_ms = Some(20);
    // Nobody waits for it but its callback.
    judge.submit(&soon).on_completion(move |outcome| sender.send(outcome.map(drop)).unwrap());
    let error = outcome.recv_timeout(Duration::from_secs(20)).unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("sleeps"), "{error}");
    // Cancelled ones leave their places, however many come.
    for _ in 0..20 {
        drop(judge.submit(&request()));
    }
    let kept = judge.submit(&request());
    assert_eq!(judge.pending(), 1);
    let late = Submission::default().deadline(Instant::now() + Duration::from_millis(10));
    assert_eq!(judge.submit_with(&request(), late).wait().unwrap_err().kind(), ErrorKind::Timeout);
    judge.wake().unwrap();
    kept.wait().unwrap();
    assert_eq!(engine.submitted(), 1);
}

#[test]
fn what_runs_is_waited_for_or_cancelled() {
    let engine =
        Scripted::new(
            |_, number| {
                if number == 0 { Reply::text(VERDICT).after(Duration::from_millis(60)) } else { Reply::never() }
            },
        );
    let judge = open(&engine, 8);
    let running = judge.submit(&request());
    judge.sleep(&Sleep::default()).unwrap();
    running.try_take().expect("it has ended before the judge sleeps").unwrap();
    judge.wake().unwrap();

    let stuck = judge.submit(&request());
    let hasty = Sleep { patience: Some(Duration::from_millis(20)), ..Sleep::default() };
    let error = judge.sleep(&hasty).unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.message().contains("1 judgments"), "{error}");
    assert!(!judge.is_asleep());
    judge.sleep(&Sleep { cancel_running: true, ..Sleep::default() }).unwrap();
    assert_eq!(stuck.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(engine.cancelled(), 1);
}

#[test]
fn verdicts_say_which_weights_judged_them() {
    let engine = Scripted::new(|_, _| Reply::text(VERDICT));
    let judge = open(&engine, 8);
    judge.reload(Some("second"), &Sleep::default()).unwrap();
    assert_eq!(judge.judge(&request()).unwrap().weights, 1);
    judge.sleep(&Sleep::default()).unwrap();
    let waiting = judge.submit(&request());
    judge.reload(Some("third"), &Sleep::default()).unwrap();
    let verdict = waiting.wait().unwrap();
    assert_eq!((verdict.weights, judge.weights()), (2, 2));
    assert_eq!(serde_json::to_value(&verdict).unwrap()["weights"], 2);
    // A model that cannot be loaded: the judge sleeps on, and takes another one.
    assert_eq!(judge.reload(Some("broken"), &Sleep::default()).unwrap_err().kind(), ErrorKind::InvalidModel);
    assert!(judge.is_asleep());
    judge.reload(Some("fourth"), &Sleep::default()).unwrap();
    assert_eq!(judge.judge(&request()).unwrap().weights, 3);
}

#[test]
fn a_judge_is_closed_while_it_sleeps() {
    let engine = Scripted::new(|_, _| Reply::text(VERDICT));
    let judge = open(&engine, 8);
    judge.sleep(&Sleep::default()).unwrap();
    let waiting = judge.submit(&request());
    judge.close();
    assert_eq!(waiting.wait().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(judge.wake().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(judge.sleep(&Sleep::default()).unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(judge.reload(None, &Sleep::default()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_judge_sleeps_and_wakes_from_its_own_callback_and_under_load() {
    let engine = Scripted::new(|_, _| Reply::text(VERDICT));
    let judge = Arc::new(open(&engine, 64));
    let (sender, slept) = channel();
    let own = judge.clone();
    judge.submit(&request()).on_completion(move |outcome| {
        outcome.unwrap();
        own.sleep(&Sleep::default()).unwrap();
        own.wake().unwrap();
        drop(own);
        sender.send(()).unwrap();
    });
    slept.recv_timeout(Duration::from_secs(20)).unwrap();
    std::thread::scope(|scope| {
        let judging: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..40).for_each(|_| drop(judge.judge(&request()).unwrap())))).collect();
        while judging.iter().any(|thread| !thread.is_finished()) {
            judge.sleep(&Sleep::default()).unwrap();
            judge.wake().unwrap();
        }
    });
    assert_eq!((engine.submitted(), judge.pending()), (161, 0));
}

#[test]
fn the_reasoning_is_heard_and_priorities_reach_the_engine() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let priorities = seen.clone();
    let engine = Scripted::new(move |job, _| {
        priorities.lock().unwrap().push(job.priority);
        Reply::text(format!("<think>\nhm</think>{VERDICT}"))
    });
    let judge = open(&engine, 8);
    let heard = Arc::new(Mutex::new(String::new()));
    let said = heard.clone();
    let submission =
        Submission::default().priority(Priority::High).on_reasoning(move |piece| said.lock().unwrap().push_str(piece));
    let verdict = judge.judge_with(&request(), submission).unwrap();
    assert_eq!(*heard.lock().unwrap(), verdict.reasoning);
    judge.judge(&request()).unwrap();
    assert_eq!(*seen.lock().unwrap(), [Priority::High, Priority::Normal]);
}
