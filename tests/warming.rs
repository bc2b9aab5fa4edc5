//! Prefixes that are computed before the first judgment and kept: on a model with two lanes of one judgment each, and
//! on a model with several judgments in a lane.
#![cfg(feature = "local")]

mod support;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dicast::{Criterion, ErrorKind, Judge, JudgeConfig, JudgeRequest, Sleep, Verdict};

const PRINCIPLE: &str = "Prefer short answers. Where two are of one length, prefer the one that names its sources.";

/// The demonstration judge, small enough to run in lanes.
fn small() -> JudgeConfig {
    let mut config = JudgeConfig::new(concat!(env!("CARGO_MANIFEST_DIR"), "/demo/dicast-demo.gguf"));
    config.local.threads = 2;
    config.local.kv_cache_tokens = 16384;
    config.options.temperature = Some(0.0);
    config
}

/// A judge with several judgments at once in a lane.
fn large() -> JudgeConfig {
    let mut config = JudgeConfig::new(support::fixture("tiny-qwen3.gguf").to_str().unwrap());
    config.options.max_reasoning_tokens = Some(12);
    config.local.context_tokens = 4096;
    config.local.threads = 1;
    config
}

fn prefix(principle: &str, prompt: &str) -> JudgeRequest {
    JudgeRequest::new(principle, prompt, [("", ""); 0])
}

fn request(principle: &str, salt: &str) -> JudgeRequest {
    let responses = [("a", format!("Text {salt}.")), ("b", format!("A longer text on {salt}, without a source."))];
    JudgeRequest::new(principle, format!("What is {salt}?"), responses)
}

fn reused(judge: &Judge, principle: &str, salt: &str) -> usize {
    judge.judge(&request(principle, salt)).unwrap().usage.reused_tokens
}

/// What must be equal when a judgment is repeated.
fn essence(verdict: &Verdict) -> (String, Vec<usize>) {
    (verdict.raw.clone(), verdict.ranking.clone())
}

/// Judges requests with this many other principles, so that only pinned prompts are still kept.
fn judge_others(judge: &Judge) {
    let others: Vec<_> = (0..12).map(|index| request(&format!("{index} words are best."), "something else")).collect();
    for verdict in judge.judge_batch(&others) {
        verdict.unwrap();
    }
}

static CONFIGS: LazyLock<[JudgeConfig; 2]> = LazyLock::new(|| [small(), large()]);

#[test]
fn the_first_judgment_finds_the_prefix_and_others_do_not_push_it_out() {
    for config in &*CONFIGS {
        let judge = Judge::open(config.clone()).unwrap();
        let cold = Judge::open(config.clone()).unwrap();
        let pinned = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
        // A prompt may merge the last token of the prefix with its own first letters.
        let kept = pinned.tokens() - 1;
        assert!(kept > 30, "{kept} tokens");
        let first = judge.judge(&request(PRINCIPLE, "rain")).unwrap();
        assert!(first.usage.reused_tokens >= kept, "{} of {kept}", first.usage.reused_tokens);
        let unpinned = cold.judge(&request(PRINCIPLE, "rain")).unwrap();
        assert_eq!(unpinned.usage.reused_tokens, 0);
        assert_eq!(essence(&first), essence(&unpinned));
        judge_others(&judge);
        assert!(reused(&judge, PRINCIPLE, "snow") >= kept);
        // In every lane.
        judge_others(&judge);
        let many: Vec<_> = (0..16).map(|index| request(PRINCIPLE, &format!("wind {index}"))).collect();
        for verdict in judge.judge_batch(&many) {
            assert!(verdict.unwrap().usage.reused_tokens >= kept);
        }
    }
}

#[test]
fn with_its_prompt_the_prefix_reaches_to_the_responses() {
    let judge = Judge::open(small()).unwrap();
    let principle = judge.warm(&prefix(PRINCIPLE, "")).unwrap().tokens();
    let asked = request(PRINCIPLE, "a whole prompt");
    // The responses do not matter: there may be none.
    let with_prompt = judge.warm(&prefix(PRINCIPLE, &asked.prompt)).unwrap();
    assert!(with_prompt.tokens() > principle + 3);
    let other = judge.warm(&asked).unwrap();
    assert_eq!(other.tokens(), with_prompt.tokens());
    drop(other);
    let usage = judge.judge(&asked).unwrap().usage;
    assert!(usage.reused_tokens >= with_prompt.tokens() - 1 && usage.reused_tokens < usage.prompt_tokens, "{usage:?}");
}

#[test]
fn what_is_freed_makes_room() {
    for config in &*CONFIGS {
        let judge = Judge::open(config.clone()).unwrap();
        let pins: Vec<_> = (0..8).map(|index| judge.warm(&prefix(&format!("Principle {index}."), ""))).collect();
        let mut pins: Vec<_> = pins.into_iter().map(Result::unwrap).collect();
        let error = judge.warm(&prefix(PRINCIPLE, "")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert!(!error.is_retryable() && error.message().contains("free one first"), "{error}");
        let freed = pins.remove(0).tokens();
        let pinned = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
        judge_others(&judge);
        // The part that both share is kept, but not the principle that was freed.
        assert!(reused(&judge, "Principle 0.", "x") < freed);
        assert!(reused(&judge, PRINCIPLE, "x") + 1 >= pinned.tokens());
    }
}

#[test]
fn a_judgment_that_needs_all_the_room_gets_it_and_the_prefix_comes_back() {
    let mut config = small();
    // One lane whose pool holds one context.
    (config.local.threads, config.local.kv_cache_tokens) = (1, 0);
    let judge = Judge::open(config).unwrap();
    let pinned = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
    fill(&judge);
    assert!(reused(&judge, PRINCIPLE, "before") < pinned.tokens() - 1, "it had to go");
    judge_others(&judge);
    assert!(reused(&judge, PRINCIPLE, "after") + 1 >= pinned.tokens());
}

/// Judges a request that needs the whole context.
fn fill(judge: &Judge) {
    let context = judge.capabilities().context_tokens.unwrap();
    let long = |words: usize| {
        let mut long = request("The longest answer wins.", "length");
        long.prompt = "one more word and ".repeat(words);
        long
    };
    let (mut fits, mut too_long) = (1, context);
    while fits + 1 < too_long {
        let middle = usize::midpoint(fits, too_long);
        if judge.count(&long(middle)).is_ok_and(|count| count.fits()) { fits = middle } else { too_long = middle }
    }
    judge.judge(&long(fits)).unwrap();
}

#[test]
fn a_prefix_that_had_to_go_is_computed_again_when_it_is_warmed_up_again() {
    let mut config = small();
    (config.local.threads, config.local.kv_cache_tokens) = (1, 0);
    let judge = Judge::open(config).unwrap();
    let first = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
    fill(&judge);
    let before = judge.stats().computed_tokens;
    let second = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
    assert_eq!(second.tokens(), first.tokens());
    assert!(judge.stats().computed_tokens > before, "it had to go");
    assert!(reused(&judge, PRINCIPLE, "again") + 1 >= second.tokens());
    // A prefix that is there is not computed twice.
    let before = judge.stats().computed_tokens;
    drop(judge.warm(&prefix(PRINCIPLE, "")).unwrap());
    assert_eq!(judge.stats().computed_tokens, before);
}

/// Ends the load of a test, even if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_long_prefix_is_computed_however_much_is_judged_meanwhile() {
    let mut config = large();
    (config.local.context_tokens, config.local.kv_cache_tokens, config.local.max_sequences) = (2048, 4096, 16);
    let judge = Judge::open(config).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&over);
        // Their lengths differ, so that they do not end together.
        scope.spawn(|| {
            let mut pending = std::collections::VecDeque::new();
            for number in 0_usize.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let mut request = request(&format!("Principle {} is best.", number % 7), &"bb ".repeat(number % 37));
                request.options.max_reasoning_tokens = Some(8 + u32::try_from(number * 7 % 60).unwrap());
                pending.push_back(judge.submit_when_free(&request));
                if pending.len() > 64 {
                    pending.pop_front().unwrap().wait().unwrap();
                }
            }
        });
        let busy = Instant::now();
        while judge.stats().running < 3 {
            assert!(busy.elapsed() < Duration::from_secs(60), "{:?}", judge.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut long = prefix(PRINCIPLE, &"word ".repeat(1500));
        long.options.timeout_ms = Some(60_000);
        assert!(judge.warm(&long).unwrap().tokens() > 1500);
    });
}

#[test]
fn a_rubric_of_too_many_criteria_is_refused_with_what_to_do() {
    let judge = Judge::open(small()).unwrap();
    let rubric = |what: &str, count: usize| {
        let mut request = prefix("", "");
        request.rubric = (0..count)
            .map(|number| Criterion::new(format!("c{number}"), format!("{what} {number} is there.")))
            .collect();
        request
    };
    let error = judge.warm(&rubric("Fact", 9)).unwrap_err();
    assert!(error.kind() == ErrorKind::Overloaded && !error.is_retryable());
    assert!(error.message().contains("9 criteria") && error.message().contains("with 8 of the criteria"), "{error}");
    let kept = judge.warm(&rubric("Source", 2)).unwrap();
    let error = judge.warm(&rubric("Fact", 8)).unwrap_err();
    assert!(error.message().contains("criterion 7 of 8") && error.message().contains("free one first"), "{error}");
    drop(kept);
    assert!(judge.warm(&rubric("Fact", 8)).is_ok());
}

#[test]
fn falling_asleep_waits_for_what_is_warmed_up_or_ends_it() {
    for cancel in [false, true] {
        let judge = Judge::open(large()).unwrap();
        let long = prefix(PRINCIPLE, &"word ".repeat(3000));
        std::thread::scope(|scope| {
            let warming = scope.spawn(|| judge.warm(&long));
            let began = Instant::now();
            while judge.stats().computed_tokens == 0 {
                assert!(began.elapsed() < Duration::from_secs(60));
                std::thread::yield_now();
            }
            let mut how = Sleep::default();
            how.cancel_running = cancel;
            judge.sleep(&how).unwrap();
            let outcome = warming.join().unwrap();
            match outcome {
                Ok(pinned) => assert!(pinned.tokens() > 3000),
                Err(error) => {
                    assert!(cancel && error.kind() == ErrorKind::Cancelled, "{error}");
                    assert!(error.message().contains("warming up was cancelled"), "{error}");
                }
            }
        });
        judge.wake().unwrap();
        assert!(judge.warm(&prefix(PRINCIPLE, "")).is_ok(), "it may be warmed up again");
    }
}

#[test]
fn a_prefix_that_takes_too_much_is_refused_with_the_numbers() {
    let judge = Judge::open(large()).unwrap();
    let error = judge.warm(&prefix(PRINCIPLE, &"word ".repeat(20_000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextOverflow);
    let mut small = large();
    small.local.kv_cache_tokens = 4096;
    let judge = Judge::open(small).unwrap();
    let error = judge.warm(&prefix(PRINCIPLE, &"word ".repeat(2500))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.message().contains("2048") && error.message().contains("local.kv_cache_tokens"), "{error}");
}

#[test]
fn sleep_ends_it_and_a_pin_may_outlive_its_judge() {
    let judge = Judge::open(small()).unwrap();
    let before = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
    judge.sleep(&Sleep::default()).unwrap();
    assert_eq!(judge.warm(&prefix(PRINCIPLE, "")).unwrap_err().kind(), ErrorKind::Asleep);
    judge.wake().unwrap();
    assert_eq!(reused(&judge, PRINCIPLE, "cold"), 0);
    let after = judge.warm(&prefix(PRINCIPLE, "")).unwrap();
    drop(before);
    judge_others(&judge);
    assert!(reused(&judge, PRINCIPLE, "warm") + 1 >= after.tokens());
    drop(judge);
    assert!(after.tokens() > 0);
}

#[test]
fn closing_ends_the_wait_and_a_deadline_too() {
    let judge = Judge::open(large()).unwrap();
    let mut late = prefix(PRINCIPLE, &"word ".repeat(1500));
    late.options.timeout_ms = Some(1);
    let error = judge.warm(&late).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.message(), "the prefix was not computed within 0.001 s (timeout_ms)");
    // Nothing of it is kept: the next one has all the room.
    let long = prefix(PRINCIPLE, &"word ".repeat(3000));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| judge.warm(&long));
        std::thread::sleep(Duration::from_millis(20));
        judge.close();
        // Closed, or computed before that.
        if let Err(error) = waits.join().unwrap() {
            assert_eq!(error.kind(), ErrorKind::Closed);
        }
    });
}

#[test]
fn many_threads_may_warm_free_and_judge_at_once() {
    for config in &*CONFIGS {
        let judge = Judge::open(config.clone()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let judge = &judge;
                scope.spawn(move || {
                    for round in 0..6 {
                        let principle = format!("Principle {} is best.", (thread + round) % 3);
                        let pinned = judge.warm(&prefix(&principle, "")).unwrap();
                        assert!(reused(judge, &principle, &format!("{thread} {round}")) + 1 >= pinned.tokens());
                    }
                });
            }
        });
    }
}

#[test]
fn where_every_prompt_is_computed_whole_there_is_nothing_to_pin() {
    let mut config = small();
    config.local.deterministic = true;
    let judge = Judge::open(config).unwrap();
    let before = judge.judge(&request(PRINCIPLE, "bits")).unwrap();
    let error = judge.warm(&prefix(PRINCIPLE, "")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("local.deterministic"), "{error}");
    let after = judge.judge(&request(PRINCIPLE, "bits")).unwrap();
    let bits = |verdict: &Verdict| -> Vec<u64> {
        verdict.scores.iter().flat_map(|scored| scored.distribution.iter().flatten()).map(|p| p.to_bits()).collect()
    };
    assert_eq!((essence(&after), bits(&after)), (essence(&before), bits(&before)));
}
