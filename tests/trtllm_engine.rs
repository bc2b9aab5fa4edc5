//! What a TensorRT-LLM engine has to do whichever it is: run against the stand-in, or on a GPU against the vendor's
//! library and the engine folder that `DICAST_TRTLLM_ENGINE` names (`scripts/check_real_trtllm.sh`).
#![cfg(feature = "trtllm")]

#[path = "trtllm/support.rs"]
#[expect(dead_code, reason = "made for the tests that script what is generated")]
mod support;

use std::path::PathBuf;
use std::sync::LazyLock;

use dicast::{ErrorKind, Judge, JudgeConfig};
use support::{Folder, check, request};

/// The engine folder, and what keeps it there.
static ENGINE: LazyLock<(PathBuf, Option<Folder>)> = LazyLock::new(|| {
    if let Some(path) = std::env::var_os("DICAST_TRTLLM_ENGINE") {
        return (path.into(), None);
    }
    let standin = !dicast::engine::trtllm::library().label.is_empty();
    assert!(standin, "DICAST_TRTLLM_ENGINE does not name an engine folder for the vendor's library");
    let folder = Folder::new(&format!("rule\n{}", support::answer(&[4, 2], &[0, 1])));
    (folder.0.clone(), Some(folder))
});

/// One judge for all: two would share one GPU's memory.
static JUDGE: LazyLock<Judge> = LazyLock::new(|| {
    let mut config = JudgeConfig::new(ENGINE.0.to_str().unwrap());
    config.options.max_reasoning_tokens = Some(64);
    Judge::open(config).unwrap()
});

#[test]
fn verdicts_are_complete_for_any_number_of_responses() {
    for count in [1, 2, 4, 9] {
        for consistent in [false, true] {
            let mut request = request(count, "this");
            request.options.consistent_ranking = Some(consistent);
            let verdict = JUDGE.judge(&request).unwrap();
            check(&request, &verdict);
            assert_eq!(verdict.repairs, [], "what the grammar wrote needs no repair");
            for scored in &verdict.scores {
                assert_eq!(scored.distribution.is_some(), JUDGE.capabilities().distributions);
                let sum: f64 = scored.distribution.iter().flatten().sum();
                assert!(scored.distribution.is_none() || (sum - 1.0).abs() < 1e-9);
            }
        }
    }
}

#[test]
fn greedy_takes_the_mode_of_each_distribution() {
    let verdict = JUDGE.judge(&request(4, "greedy")).unwrap();
    for scored in verdict.scores {
        if let Some(distribution) = scored.distribution {
            let most = distribution.iter().copied().fold(0.0, f64::max);
            let score = (1_u8..).zip(&distribution).find(|&(score, _)| f64::from(score) >= scored.score).unwrap();
            assert!(most - score.1 < 1e-6, "{} of {distribution:?}", scored.score);
        }
    }
}

#[test]
fn a_budget_of_nothing_goes_straight_to_the_verdict() {
    let mut request = request(2, "budget");
    request.options.max_reasoning_tokens = Some(0);
    let verdict = JUDGE.judge(&request).unwrap();
    check(&request, &verdict);
    assert_eq!(verdict.reasoning, "");
}

#[test]
fn the_same_seeds_give_the_same_verdicts() {
    let mut request = request(3, "seeds");
    (request.options.temperature, request.options.seed) = (Some(1.0), Some(7));
    let judged = || JUDGE.judge(&request).unwrap().scores.iter().map(|scored| scored.score).collect::<Vec<_>>();
    assert_eq!(judged(), judged());
}

#[test]
fn many_at_once_share_the_system_prompt_and_some_are_cancelled() {
    let tickets: Vec<_> = (0..64).map(|index| JUDGE.submit(&request(2, &format!("number {index}")))).collect();
    for ticket in tickets.iter().step_by(5) {
        ticket.cancel();
    }
    for (index, ticket) in tickets.into_iter().enumerate() {
        match ticket.wait() {
            Ok(verdict) => check(&request(2, &format!("number {index}")), &verdict),
            Err(error) => assert!(index % 5 == 0 && error.kind() == ErrorKind::Cancelled, "{index}: {error}"),
        }
    }
    assert!(JUDGE.stats().kv_blocks_reused > 0, "{:?}", JUDGE.stats());
}

#[test]
fn a_deadline_is_kept() {
    let mut request = request(8, "late");
    request.options.timeout_ms = Some(1);
    assert_eq!(JUDGE.judge(&request).unwrap_err().kind(), ErrorKind::Timeout);
}
