//! The judge on an engine that answers by script: bounds, tickets, cancels, deadlines, order, callbacks, closing.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::config::{JudgeConfig, Options};
use crate::engine::scripted::{Reply, Scripted};
use crate::engine::{Guidance, Input, Job};
use crate::error::{ErrorKind, Result};
use crate::log::Log;
use crate::prompt::profile::Profile;
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

use super::ensemble::Course;
use super::run::Gather;
use super::ticket::Pending;
use super::{Judge, Submission, Ticket};

const PATIENCE: Duration = Duration::from_secs(20);

/// A verdict that gives the response shown first the score `first`, and the other one 1.
fn verdict(first: u32) -> String {
    format!(r#"{{"scores": {{"model-1": {first}, "model-2": 1}}, "best-to-worst": ["model-1", "model-2"]}}"#)
}

fn request(prompt: &str) -> JudgeRequest {
    JudgeRequest::new("Be brief.", prompt, [("a", "yes"), ("b", "well, yes")])
}

fn with_timeout(prompt: &str, timeout_ms: u64) -> JudgeRequest {
    let mut request = request(prompt);
    request.options.timeout_ms = Some(timeout_ms);
    request
}

/// The prompt of a job's request.
fn prompt_of(job: &Job) -> String {
    let Input::Messages(messages) = &job.input else { panic!("it takes messages") };
    let json: serde_json::Value = serde_json::from_str(&messages.last().unwrap().content).unwrap();
    json["prompt"].as_str().unwrap().to_owned()
}

fn open(engine: &Scripted, max_queue: usize) -> Judge {
    let mut config = JudgeConfig::new("scripted");
    config.limits.max_queue = max_queue;
    config.options.mask = Some(crate::config::Mask::Given);
    Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none()).unwrap()
}

/// The first response's score, a whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are 1 to 5")]
fn first_score(verdict: &Verdict) -> usize {
    verdict.scores[0].score as usize
}

#[track_caller]
fn kind(outcome: Result<Verdict>) -> ErrorKind {
    outcome.expect_err("it does not end in a verdict").kind()
}

#[track_caller]
fn within(limit: Duration, work: impl FnOnce()) {
    let started = Instant::now();
    work();
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
}

#[test]
fn a_verdict_goes_back_to_the_names_of_the_request() {
    let engine = Scripted::new(|_, _| Reply::text(format!("<think>\nshort</think>\n\n{}", verdict(5))));
    let verdict = open(&engine, 8).judge(&request("p")).unwrap();
    let scores: Vec<_> = verdict.scores.iter().map(|scored| (scored.name.as_str(), scored.score)).collect();
    assert_eq!(scores, [("a", 5.0), ("b", 1.0)]);
    assert_eq!(verdict.reasoning.trim(), "short");
    assert_eq!(verdict.ranking, [0, 1]);
}

#[test]
fn distributions_become_expected_scores() {
    let half = vec![vec![0.0, 0.0, 0.0, 0.5, 0.5], vec![1.0, 0.0, 0.0, 0.0, 0.0]];
    let engine = Scripted::new(move |_, _| Reply::text(verdict(5)).with_distributions(half.clone()));
    let verdict = open(&engine, 8).judge(&request("p")).unwrap();
    assert_eq!(verdict.scores[0].expected, Some(4.5));
}

#[test]
fn a_batch_keeps_its_order_whatever_ends_first() {
    let engine = Scripted::new(|job, _| {
        let score: u32 = prompt_of(job).parse().unwrap();
        Reply::text(verdict(score)).after(Duration::from_millis(u64::from(6 - score) * 5))
    });
    let judge = open(&engine, 3);
    let requests: Vec<_> = (0..20).map(|index| request(&(index % 5 + 1).to_string())).collect();
    for (index, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
        assert_eq!(first_score(&outcome.unwrap()), index % 5 + 1);
    }
    assert!(engine.most_running() <= 3, "the queue is the bound");
    assert_eq!(judge.pending(), 0);
}

#[test]
fn a_full_queue_refuses_and_blocking_calls_wait() {
    let engine = Scripted::new(|_, _| Reply::text(verdict(3)).after(Duration::from_millis(100)));
    let judge = open(&engine, 2);
    let running = [judge.submit(&request("1")), judge.submit(&request("2"))];
    assert_eq!(kind(judge.submit(&request("3")).wait()), ErrorKind::Overloaded);
    assert!(!judge.wait_for_room(Duration::from_millis(1)).unwrap());
    assert!(judge.judge(&request("4")).is_ok(), "a blocking call waits for room");
    assert!(judge.wait_for_room(PATIENCE).unwrap());
    for ticket in running {
        drop(ticket.wait().unwrap());
    }
}

#[test]
fn those_who_only_look_for_room_take_nobodys_wake_up() {
    let engine = Scripted::new(|_, _| Reply::text(verdict(3)).after(Duration::from_millis(1)));
    let judge = open(&engine, 1);
    let looking = AtomicBool::new(true);
    within(PATIENCE, || {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while looking.load(Ordering::Relaxed) {
                        let _ = judge.wait_for_room(PATIENCE);
                        std::thread::yield_now();
                    }
                });
            }
            let requests: Vec<_> = (0..100).map(|index| request(&index.to_string())).collect();
            assert!(judge.judge_batch(&requests).iter().all(Result::is_ok));
            looking.store(false, Ordering::Relaxed);
        });
    });
}

#[test]
fn a_deadline_ends_a_judgment_and_frees_its_place() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine, 1);
    within(PATIENCE, || assert_eq!(kind(judge.judge(&with_timeout("p", 20))), ErrorKind::Timeout));
    assert_eq!(judge.pending(), 0);
}

#[test]
fn the_time_of_a_batch_does_not_run_while_a_judgment_waits_for_its_turn() {
    let after = Duration::from_millis(100);
    let script = move |job: &Job, _| {
        if prompt_of(job) == "hangs" { Reply::never() } else { Reply::text(verdict(5)).after(after) }
    };
    let engine = Scripted::new(script).with_capabilities(|able| able.max_sequences = 1);
    let judge = open(&engine, 8);
    within(PATIENCE, || {
        let mut requests = vec![with_timeout("fine", 350); 6];
        requests.insert(3, with_timeout("hangs", 350));
        let kinds: Vec<_> =
            judge.judge_batch(&requests).into_iter().map(|one| one.map_err(|error| error.kind())).collect();
        for (place, outcome) in kinds.into_iter().enumerate() {
            assert_eq!(outcome.err(), (place == 3).then_some(ErrorKind::Timeout), "{place}");
        }
        // Where nobody waits in a batch, waiting counts.
        let tickets: Vec<_> = (0..6).map(|_| judge.submit(&with_timeout("fine", 350))).collect();
        assert_eq!(kind(tickets.into_iter().map(Ticket::wait).last().unwrap()), ErrorKind::Timeout);
    });
}

#[test]
fn cancelling_ends_a_judgment_at_once_and_in_the_engine() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine, 4);
    let ticket = judge.submit(&request("p"));
    let canceller = ticket.canceller();
    canceller.cancel();
    within(PATIENCE, || assert_eq!(kind(ticket.wait()), ErrorKind::Cancelled));
    drop(judge.submit(&request("dropped")));
    assert_eq!((engine.cancelled(), judge.pending()), (2, 0));
    canceller.cancel();
    assert_eq!(engine.cancelled(), 2, "what has ended is not cancelled again");
}

#[test]
fn callbacks_come_once_each_and_before_the_judge_is_gone() {
    let engine = Scripted::new(|_, number| match number % 3 {
        0 => Reply::text(verdict(4)).after(Duration::from_millis(2)),
        1 => Reply::error(ErrorKind::Engine, "broken"),
        _ => Reply::never(),
    });
    let judge = open(&engine.with_capabilities(|able| able.max_sequences = 64), 64);
    let called = Arc::new(Mutex::new(Vec::new()));
    for index in 0..30 {
        let called = called.clone();
        let ticket = judge.submit(&request(&index.to_string()));
        ticket
            .on_completion(move |outcome| called.lock().unwrap().push((index, outcome.map_err(|error| error.kind()))));
    }
    let until = Instant::now() + PATIENCE;
    while called.lock().unwrap().len() < 20 {
        assert!(Instant::now() < until, "those that end have not been told");
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(judge);
    let mut called = std::mem::take(&mut *called.lock().unwrap());
    called.sort_by_key(|(index, _)| *index);
    assert_eq!(called.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (0..30).collect::<Vec<_>>());
    for (index, outcome) in called {
        match index % 3 {
            0 => assert!(outcome.is_ok(), "{outcome:?}"),
            1 => assert_eq!(outcome.unwrap_err(), ErrorKind::Engine),
            _ => assert_eq!(outcome.unwrap_err(), ErrorKind::Closed),
        }
    }
}

#[test]
fn no_callback_comes_after_the_judge_is_gone_whoever_cancels() {
    for _ in 0..200 {
        let engine = Scripted::new(|_, _| Reply::never());
        let judge = open(&engine, 8);
        let gone = Arc::new(AtomicBool::new(false));
        let late = Arc::new(AtomicBool::new(false));
        let cancellers: Vec<_> = (0..4)
            .map(|index| {
                let ticket = judge.submit(&request(&index.to_string()));
                let (canceller, gone, late) = (ticket.canceller(), gone.clone(), late.clone());
                ticket.on_completion(move |_| late.store(gone.load(Ordering::SeqCst), Ordering::SeqCst));
                canceller
            })
            .collect();
        let foreign = std::thread::spawn(move || cancellers.iter().for_each(super::Canceller::cancel));
        drop(judge);
        gone.store(true, Ordering::SeqCst);
        foreign.join().unwrap();
        assert!(!late.load(Ordering::SeqCst));
    }
}

#[test]
fn a_callback_may_cancel_its_own_ticket_submit_and_drop_the_judge() {
    let engine = Scripted::new(|_, _| Reply::text(verdict(2)).after(Duration::from_millis(1)));
    let judge = Arc::new(Mutex::new(Some(open(&engine, 8))));
    let (sender, ended) = channel();
    let ticket = judge.lock().unwrap().as_ref().unwrap().submit(&request("1"));
    let canceller = ticket.canceller();
    let held = judge.clone();
    ticket.on_completion(move |outcome| {
        canceller.cancel();
        let judge = held.lock().unwrap().take().unwrap();
        let inner = judge.judge(&request("2"));
        drop(judge);
        sender.send((outcome.is_ok(), inner.is_ok())).unwrap();
    });
    assert_eq!(ended.recv_timeout(PATIENCE).unwrap(), (true, true));
}

#[test]
fn closing_ends_what_runs_waits_and_comes_later() {
    let engine = Scripted::new(|_, _| Reply::never()).with_capabilities(|able| able.max_sequences = 1);
    let judge = open(&engine, 2);
    let tickets = [judge.submit(&request("runs")), judge.submit(&request("waits"))];
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| judge.judge(&request("waits for room")));
        std::thread::sleep(Duration::from_millis(20));
        within(PATIENCE, || judge.close());
        assert_eq!(kind(blocked.join().unwrap()), ErrorKind::Closed);
    });
    for ticket in tickets {
        assert_eq!(kind(ticket.wait()), ErrorKind::Closed);
    }
    assert_eq!(kind(judge.judge(&request("later"))), ErrorKind::Closed);
    assert_eq!(kind(judge.submit(&request("later")).wait()), ErrorKind::Closed);
    judge.close();
}

#[test]
fn faults_of_an_engine_are_typed_errors() {
    let engine = Scripted::new(|_, number| match number {
        0 => Reply::lost(),
        1 => Reply::text("no verdict at all"),
        2 => Reply::death("out of memory").after(Duration::from_millis(10)),
        _ => Reply::never(),
    });
    let judge = open(&engine, 8);
    assert_eq!(kind(judge.judge(&request("lost"))), ErrorKind::Closed);
    let error = judge.judge(&request("prose")).unwrap_err();
    assert_eq!((error.kind(), error.partial().unwrap().raw.as_str()), (ErrorKind::InvalidVerdict, "no verdict at all"));
    let tickets = [judge.submit(&request("kills")), judge.submit(&request("beside"))];
    for ticket in tickets {
        assert_eq!(kind(ticket.wait()), ErrorKind::EngineDead);
    }
    assert_eq!(kind(judge.judge(&request("later"))), ErrorKind::EngineDead);
    assert_eq!(judge.pending(), 0);
}

#[test]
fn guidance_is_the_best_there_is_unless_asked_otherwise() {
    let plans = Arc::new(Mutex::new(Vec::new()));
    let judged = |guidance: Guidance, guided: Option<bool>| {
        let seen = plans.clone();
        let engine = Scripted::new(move |job, _| {
            seen.lock().unwrap().push(matches!(job.plan.verdict, crate::decode::plan::VerdictPlan::Guided { .. }));
            Reply::text(verdict(3))
        });
        let engine = engine.with_capabilities(|able| able.guidance = guidance);
        let mut request = request("p");
        request.options = Options { guided, ..Options::default() };
        open(&engine, 8).judge(&request).map(|_| plans.lock().unwrap().pop().unwrap()).map_err(|error| error.kind())
    };
    assert_eq!(judged(Guidance::Grammar, None), Ok(true));
    assert_eq!(judged(Guidance::Grammar, Some(true)), Ok(true));
    assert_eq!(judged(Guidance::Grammar, Some(false)), Ok(false));
    assert_eq!(judged(Guidance::Schema, None), Ok(true));
    assert_eq!(judged(Guidance::Schema, Some(true)), Err(ErrorKind::Unsupported));
    assert_eq!(judged(Guidance::None, None), Ok(false));
    assert_eq!(judged(Guidance::None, Some(true)), Err(ErrorKind::Unsupported));
}

/// Counts its wake-ups.
#[derive(Default)]
struct Alarm {
    rung: AtomicUsize,
    thread: Mutex<Option<std::thread::Thread>>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        if let Some(thread) = &*self.thread.lock().unwrap() {
            thread.unpark();
        }
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let alarm = Arc::new(Alarm::default());
    *alarm.thread.lock().unwrap() = Some(std::thread::current());
    let waker = Waker::from(alarm);
    let mut future = pin!(future);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(Instant::now() < until, "it is never woken");
        std::thread::park_timeout(PATIENCE);
    }
}

#[test]
fn a_ticket_can_be_awaited() {
    let engine = Scripted::new(|_, number| {
        if number == 0 { Reply::text(verdict(4)).after(Duration::from_millis(10)) } else { Reply::never() }
    });
    let judge = open(&engine, 8);
    let verdict = block_on(async { judge.submit(&request("p")).await }).unwrap();
    assert_eq!(first_score(&verdict), 4);
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    let mut context = Context::from_waker(&waker);
    let mut ticket = judge.submit(&request("dropped"));
    assert!(std::pin::Pin::new(&mut ticket).poll(&mut context).is_pending());
    assert_eq!(alarm.rung.load(Ordering::SeqCst), 0);
    drop(ticket);
    assert_eq!((engine.cancelled(), judge.pending()), (1, 0), "dropping a ticket cancels");
    assert_eq!(kind(block_on(judge.submit(&with_timeout("late", 10)))), ErrorKind::Timeout);
}

/// A judgment of several runs, without an engine behind it.
fn several(judge: &Judge, runs: usize) -> (Arc<Pending>, Ticket, Arc<Gather>) {
    let permit = judge.queue.try_enter().unwrap();
    let pending = Pending::new(&judge.queue, permit, judge.callbacks.handle());
    let mut wanted = request("p");
    wanted.options.orders = Some(u32::try_from(runs).unwrap());
    let settings = judge.prepare(&wanted).unwrap();
    let course = Course::new(&settings, judge.profile().scale, runs, false, None, None);
    let gather = Gather::new(runs, course, None, pending.completer());
    (pending.clone(), Ticket::of(&pending), gather)
}

/// Gives the engine a run of a judgment.
fn start_one(judge: &Judge, pending: &Pending) {
    let loaded = judge.power.awake().unwrap();
    let run = judge.runs(&loaded, &request("p"), Submission::default(), Instant::now()).unwrap().first.runs.remove(0);
    pending.started(&loaded.engine, loaded.engine.submit(run.job, Box::new(drop)));
}

#[test]
fn several_runs_are_merged_in_their_order_when_all_are_there() {
    let engine = Scripted::new(|_, number| Reply::text(verdict([5, 2, 2][usize::try_from(number).unwrap()])));
    let judge = open(&engine, 8);
    let verdicts: Vec<_> = (0..3).map(|_| judge.judge(&request("p"))).collect();
    let (_pending, ticket, gather) = several(&judge, 3);
    let mut outcomes = Vec::new();
    for (index, verdict) in verdicts.into_iter().enumerate().rev() {
        outcomes.extend(gather.take(index, verdict));
    }
    assert_eq!(outcomes.len(), 1);
    for outcome in outcomes {
        gather.complete(outcome);
    }
    assert_eq!(first_score(&ticket.wait().unwrap()), 3);
}

#[test]
fn the_first_failure_of_a_run_ends_the_judgment_and_cancels_the_others() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine, 8);
    let (pending, ticket, gather) = several(&judge, 2);
    start_one(&judge, &pending);
    let failed = gather.take(0, Err(crate::Error::closed())).unwrap();
    gather.complete(failed);
    assert_eq!(kind(ticket.wait()), ErrorKind::Closed);
    assert_eq!(engine.cancelled(), 1);
    assert!(gather.take(1, Err(crate::Error::closed())).is_none(), "a judgment ends once");
}

#[test]
fn a_judgment_whose_runs_are_forgotten_ends_as_closed() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine, 8);
    let (pending, ticket, gather) = several(&judge, 2);
    drop((pending, gather));
    assert_eq!(kind(ticket.wait()), ErrorKind::Closed);
}

#[test]
fn a_job_that_starts_after_its_judgment_has_ended_is_cancelled() {
    let engine = Scripted::new(|_, _| Reply::never());
    let judge = open(&engine, 8);
    let (pending, ticket, _gather) = several(&judge, 1);
    ticket.cancel();
    start_one(&judge, &pending);
    assert_eq!(engine.cancelled(), 1);
}
