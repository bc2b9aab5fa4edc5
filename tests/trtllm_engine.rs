//! What must hold for any TensorRT-LLM engine, whatever its weights. Tests the engine folder in `DICAST_TRTLLM_ENGINE`
//! with the library that the adapter is linked with; `scripts/check_real_trtllm.sh` does so on a GPU. Without the
//! variable it tests an engine of the stand-in.
#![cfg(feature = "trtllm")]

#[path = "trtllm/support.rs"]
#[allow(dead_code, reason = "shared with the tests that script what is generated")]
mod support;

use std::sync::OnceLock;
use std::time::Duration;

use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Result, Ticket, Verdict};
use support::{Folder, answer, check, check_distributions, request};

/// Longest wait of any test: far more than the largest engine needs.
const PATIENCE: Duration = Duration::from_secs(600);

/// The engine folder under test.
fn folder() -> JudgeConfig {
    static STANDIN: OnceLock<Folder> = OnceLock::new();
    let mut config = match std::env::var("DICAST_TRTLLM_ENGINE") {
        Ok(engine) => JudgeConfig::new(engine),
        Err(_) => STANDIN
            .get_or_init(|| Folder::new(&format!("step_us 200\nrule\n{}bias 19 3\n", answer(&[4, 2, 3], &[0, 2, 1]))))
            .config(),
    };
    // Greedy, so that the same request has the same verdict.
    config.options.temperature = Some(0.0);
    config
}

fn open() -> Judge {
    Judge::open(folder()).unwrap()
}

/// The outcome of a judgment; waits for it.
fn ended(ticket: Ticket) -> Result<Verdict> {
    ticket.wait_timeout(PATIENCE).unwrap_or_else(|_| panic!("a judgment did not end within {PATIENCE:?}"))
}

fn is_complete(judge: &Judge, request: &JudgeRequest, verdict: &Verdict) {
    if judge.capabilities().distributions {
        check_distributions(request, verdict);
    } else {
        check(request, verdict);
    }
}

#[test]
fn a_verdict_is_complete_and_comes_again() {
    let judge = open();
    let library = dicast::engine::trtllm::library();
    let label = if library.label.is_empty() { "the vendor's" } else { &library.label };
    println!("library: {} ({label}), {:?}", library.version, judge.capabilities());
    for count in [1, 2, 5] {
        let asked = request(count, "the capital of France");
        let first = judge.judge(&asked).unwrap();
        is_complete(&judge, &asked, &first);
        println!("{} prompt tokens, verdict {:?}", first.usage.prompt_tokens, first.scores);
        let again = judge.judge(&asked).unwrap();
        assert_eq!((first.ranking, first.raw), (again.ranking, again.raw));
    }
}

#[test]
fn sampling_keeps_to_its_seed() {
    let judge = open();
    let mut asked = request(2, "a prime number");
    asked.options.temperature = Some(0.7);
    asked.options.seed = Some(11);
    let first = judge.judge(&asked).unwrap();
    check(&asked, &first);
    assert_eq!(judge.judge(&asked).unwrap().raw, first.raw);
}

#[test]
fn many_at_once_are_all_answered_in_order() {
    let judge = open();
    let requests: Vec<_> = (0..64).map(|index| request(1 + index % 4, &format!("number {index}"))).collect();
    let verdicts = judge.judge_batch(&requests);
    assert_eq!(verdicts.len(), requests.len());
    for (asked, verdict) in requests.iter().zip(verdicts) {
        is_complete(&judge, asked, &verdict.unwrap());
    }
    let stats = judge.stats();
    assert_eq!(stats.running + stats.waiting, 0, "{stats:?}");
}

#[test]
fn the_prefix_is_computed_once() {
    let judge = open();
    let asked = request(2, "a river");
    judge.judge(&asked).unwrap();
    let before = judge.stats().kv_blocks_reused;
    judge.judge(&asked).unwrap();
    let stats = judge.stats();
    assert!(stats.kv_blocks > 0 && stats.kv_blocks_reused > before, "{stats:?}");
}

#[test]
fn cancelled_and_late_judgments_leave_room_for_others() {
    let judge = open();
    let tickets: Vec<_> = (0..16).map(|index| judge.submit(&request(2, &format!("cancelled {index}")))).collect();
    for ticket in tickets {
        ticket.cancel();
        if let Err(error) = ended(ticket) {
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        }
    }
    let mut late = request(2, "late");
    late.options.timeout_ms = Some(1);
    match judge.judge(&late) {
        Ok(verdict) => check(&late, &verdict),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Timeout),
    }
    let asked = request(2, "after that");
    is_complete(&judge, &asked, &judge.judge(&asked).unwrap());
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let judge = open();
    let tokens = judge.capabilities().context_tokens.expect("the engine was built for a context");
    let long = request(1, &"one word more, ".repeat(tokens));
    let error = judge.judge(&long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextOverflow);
    assert!(error.message().contains(&tokens.to_string()), "{error}");
}

#[test]
fn closing_with_work_in_flight_and_opening_again() {
    for _ in 0..3 {
        let judge = open();
        let tickets: Vec<_> = (0..8).map(|index| judge.submit(&request(2, &format!("closed {index}")))).collect();
        drop(judge);
        for ticket in tickets {
            if let Err(error) = ended(ticket) {
                assert_eq!(error.kind(), ErrorKind::Closed);
            }
        }
    }
}
