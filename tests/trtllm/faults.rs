//! Each fault gives its typed error, every job is answered once, and the engine continues or reports that it is dead.

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use dicast::{Error, ErrorKind, Judge, JudgeRequest, Result, Verdict};

use crate::support::{Folder, answer, check_distributions, request};

/// A judge whose request `faulty` matches a rule with these lines; all other requests match a good one.
struct Case {
    judge: Judge,
    _folder: Folder,
}

impl Case {
    fn new(lines: &str) -> Self {
        let good = answer(&[4, 2], &[0, 1]);
        let folder = Folder::new(&format!("rule contains faulty\n{lines}\nrule\n{good}"));
        let mut config = folder.config();
        config.trtllm.unresponsive_ms = 1000;
        Self { judge: Judge::open(config).unwrap(), _folder: folder }
    }

    fn faulty(&self) -> Error {
        let mut request = request(2, "faulty");
        request.options.timeout_ms = Some(6000);
        self.judge.judge(&request).unwrap_err()
    }

    fn good(&self) -> Result<Verdict> {
        self.judge.judge(&request(2, "good"))
    }

    /// The fault's error; good requests before and after it are judged.
    fn passing(lines: &str) -> Error {
        let case = Self::new(lines);
        check_distributions(&request(2, "good"), &case.good().unwrap());
        let error = case.faulty();
        check_distributions(&request(2, "good"), &case.good().unwrap());
        error
    }

    /// The fault's error, after which every request is refused.
    fn deadly(lines: &str) -> Error {
        let case = Self::new(lines);
        check_distributions(&request(2, "good"), &case.good().unwrap());
        let error = case.faulty();
        let after = case.good().unwrap_err();
        assert_eq!(after.kind(), ErrorKind::EngineDead);
        assert!(!after.is_retryable() && !error.is_retryable());
        assert!(after.message().contains("dead") && after.message().contains("open the judge again"), "{after}");
        error
    }
}

#[test]
fn what_is_thrown_at_submission_fails_that_request_alone() {
    for (kind, words) in
        [("tllm", "no room today"), ("request", "no room today"), ("std", "no room today"), ("int", "exception")]
    {
        let error = Case::passing(&format!("throw_at_enqueue {kind} no room today\n"));
        assert_eq!(error.kind(), ErrorKind::Engine, "{kind}: {error}");
        assert!(error.message().contains(words), "{kind}: {error}");
    }
}

#[test]
fn an_error_response_fails_that_request_alone() {
    for lines in ["error The GPU is on fire.\n", "error_after 3 The GPU is on fire.\ntext Hm, let me see\n"] {
        let error = Case::passing(lines);
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.message().contains("The GPU is on fire."), "{error}");
    }
}

#[test]
fn what_is_thrown_in_a_step_fails_what_was_in_it() {
    for kind in ["tllm", "std"] {
        let error = Case::passing(&format!("throw_in_step {kind} the step failed\ntext Hm\n"));
        assert_eq!(error.kind(), ErrorKind::Engine);
        assert!(error.message().contains("the step failed"), "{error}");
    }
}

#[test]
fn every_reason_to_finish_is_known_or_an_error() {
    for (reason, kind) in
        [(0, ErrorKind::Engine), (4, ErrorKind::Timeout), (5, ErrorKind::Cancelled), (77, ErrorKind::Engine)]
    {
        let error = Case::passing(&format!("text Hm\nfinish_reason {reason}\n"));
        assert_eq!(error.kind(), kind, "{reason}: {error}");
        if reason == 77 {
            assert!(error.message().contains("77"), "{error}");
        }
    }
}

#[test]
fn a_final_response_given_twice_answers_once() {
    let folder = Folder::new(&format!("rule\n{}twice\n", answer(&[4, 2], &[0, 1])));
    let judge = folder.judge();
    for _ in 0..3 {
        check_distributions(&request(2, "this"), &judge.judge(&request(2, "this")).unwrap());
    }
}

#[test]
fn a_request_that_hangs_times_out_and_the_engine_goes_on() {
    let case = Case::new("hang\n");
    let mut hanging = request(2, "faulty");
    hanging.options.timeout_ms = Some(200);
    let start = Instant::now();
    let error = case.judge.judge(&hanging).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(20), "the deadline was kept");
    check_distributions(&request(2, "good"), &case.good().unwrap());
    // A request whose caller does not wait.
    let (sender, outcome) = channel();
    let ticket = case.judge.submit(&request(2, "faulty"));
    ticket.cancel();
    ticket.on_completion(move |verdict| sender.send(verdict.map_err(|error| error.kind())).unwrap());
    assert_eq!(outcome.recv_timeout(Duration::from_secs(20)).unwrap().unwrap_err(), ErrorKind::Cancelled);
    check_distributions(&request(2, "good"), &case.good().unwrap());
}

#[test]
fn an_executor_that_answers_nothing_is_given_up() {
    let case = Case::new("hang_hard\n");
    let mut hanging = request(2, "faulty");
    hanging.options.timeout_ms = Some(50);
    assert_eq!(case.judge.judge(&hanging).unwrap_err().kind(), ErrorKind::Timeout);
    // It counts as dead a second after its last step.
    let limit = Instant::now() + Duration::from_secs(30);
    let (sender, outcome) = channel();
    // In progress until then, and hanging too.
    let ticket = case.judge.submit(&request(2, "faulty"));
    ticket.on_completion(move |verdict| sender.send(verdict).unwrap());
    let error = outcome.recv_timeout(limit.saturating_duration_since(Instant::now())).unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EngineDead);
    assert!(error.message().contains("not computed a step"), "{error}");
    assert_eq!(case.good().unwrap_err().kind(), ErrorKind::EngineDead);
}

#[test]
fn a_storm_of_cancels_kills_nothing() {
    // Four long judgments fill the batch until the file is removed; 500 wait behind them, in the queue and for blocks,
    // and answer no cancel before their turn.
    for engine in ["", "kv_blocks 200\n"] {
        let good = answer(&[4, 2], &[0, 1]);
        let folder = Folder::with(
            &format!(
                "{engine}step_us 20000\nrule contains long\nhold held\n{}text more\nno_end\nrule\n{good}",
                "text Hm. \n".repeat(20)
            ),
            &["--max-batch-size", "4", "--max-seq-len", "6000"],
        );
        folder.write("held", "");
        let mut config = folder.config();
        config.trtllm.unresponsive_ms = 1000;
        config.options.max_reasoning_tokens = Some(100);
        let judge = Judge::open(config).unwrap();
        let running: Vec<_> = (0..4).map(|index| judge.submit(&request(2, &format!("long {index}")))).collect();
        let storm: Vec<_> = (0..500).map(|index| judge.submit(&request(2, &index.to_string()))).collect();
        storm.iter().for_each(dicast::Ticket::cancel);
        for ticket in storm {
            assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Cancelled);
        }
        // Longer than the time after which a silent executor used to be given up.
        std::thread::sleep(Duration::from_millis(1500));
        folder.remove("held");
        for (index, ticket) in running.into_iter().enumerate() {
            check_distributions(&request(2, &format!("long {index}")), &ticket.wait().unwrap());
        }
        check_distributions(&request(2, "good"), &judge.judge(&request(2, "good")).unwrap());
    }
}

#[test]
fn work_that_waits_for_its_turn_is_no_death() {
    // Nothing can be scheduled for longer than an executor may stand still.
    let folder = Folder::new(&format!("rule order 1000\nrule\n{}delay_us 2500000\n", answer(&[4, 2], &[0, 1])));
    for mut config in [folder.config(), crate::support::orchestrated(&folder)] {
        config.trtllm.unresponsive_ms = 1000;
        let judge = Judge::open(config).unwrap();
        check_distributions(&request(2, "this"), &judge.judge(&request(2, "this")).unwrap());
    }
}

#[test]
fn a_cuda_error_that_stays_ends_the_engine() {
    for text in [
        "CUDA runtime error in cudaStreamSynchronize(get()): an illegal memory access was encountered",
        "CUDA runtime error: unspecified launch failure",
        "CUDA error: device-side assert triggered",
        "CUDA error: uncorrectable ECC error encountered",
    ] {
        let error = Case::deadly(&format!("sticky tllm {text}\ntext Hm\n"));
        assert_eq!(error.kind(), ErrorKind::EngineDead, "{error}");
        assert!(error.message().contains(text.split(": ").last().unwrap()), "{error}");
    }
}

#[test]
fn a_crash_of_a_worker_ends_the_engine_with_typed_errors() {
    for lines in ["crash\n", "crash_silent\n"] {
        assert_eq!(Case::deadly(lines).kind(), ErrorKind::EngineDead, "{lines}");
    }
}

#[test]
fn what_is_thrown_while_waiting_ends_the_engine() {
    for (kind, words) in [("tllm", "lost the worker"), ("std", "lost the worker"), ("int", "exception")] {
        let error = Case::deadly(&format!("text Hm\nthrow_at_await {kind} lost the worker\n"));
        assert_eq!(error.kind(), ErrorKind::EngineDead);
        assert!(error.message().contains(words), "{kind}: {error}");
    }
}

#[test]
fn a_crash_fails_all_that_is_in_flight_once_each() {
    let case = Case::new("crash_silent\ndelay_us 50000\n");
    let slow: Vec<JudgeRequest> = (0..50).map(|index| request(2, &format!("faulty {index}"))).collect();
    let outcomes = case.judge.judge_batch(&slow);
    assert_eq!(outcomes.len(), 50);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::EngineDead);
    }
}

#[test]
fn what_the_constructor_throws_says_what_to_do() {
    let cases = [
        ("tllm CUDA error: no CUDA-capable device is detected", ErrorKind::Unsupported, "no NVIDIA GPU"),
        ("tllm CUDA runtime error in cudaMalloc: out of memory", ErrorKind::Engine, "kv_memory_fraction"),
        (
            "std Error Code 1: Serialization: Failed to deserialize the engine",
            ErrorKind::InvalidModel,
            "build it again",
        ),
        ("int 42", ErrorKind::Engine, "no C++ exception type"),
    ];
    for (line, kind, words) in cases {
        let folder = Folder::new(&format!("throw_at_open {line}\n"));
        let Err(error) = Judge::open(folder.config()) else { panic!("{line} was not thrown") };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn in_a_batch_the_time_of_a_judgment_begins_with_its_turn() {
    let folder = Folder::new(&format!("step_us 20000\nrule\n{}", answer(&[4, 2], &[0, 1])));
    let mut config = folder.config();
    config.trtllm.max_batch_size = 1;
    config.options.timeout_ms = Some(4000);
    let judge = Judge::open(config).unwrap();
    let begun = Instant::now();
    judge.judge(&request(2, "alone")).unwrap();
    let one = begun.elapsed();
    let count = 4000 / u32::try_from(one.as_millis()).unwrap() + 4;
    let requests: Vec<JudgeRequest> = (0..count).map(|index| request(2, &format!("in turn {index}"))).collect();
    for outcome in judge.judge_batch(&requests) {
        outcome.unwrap();
    }
    assert!(begun.elapsed() > Duration::from_secs(4), "the last one waited longer than one may take");
}

#[test]
fn a_full_queue_is_overload() {
    let folder = Folder::new("step_us 1000\nrule\ntext Hm\nno_end\n");
    let mut config = folder.config();
    (config.trtllm.max_queue, config.trtllm.max_batch_size) = (1, 1);
    config.options.max_reasoning_tokens = Some(200);
    let judge = Judge::open(config).unwrap();
    let tickets: Vec<_> = (0..12).map(|index| judge.submit(&request(2, &index.to_string()))).collect();
    let kinds: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().err().map(|error| error.kind())).collect();
    assert!(kinds.contains(&Some(ErrorKind::Overloaded)), "{kinds:?}");
}
