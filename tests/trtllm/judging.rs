//! The whole judge over the bridge.

use dicast::config::{Mask, RankingFrom};
use dicast::engine::{EngineKind, Guidance};
use dicast::{ErrorKind, Flag, Judge};

use crate::support::{CLOSE, Folder, answer, check, check_distributions, orchestrated, request};

#[test]
fn a_request_goes_from_mask_to_verdict() {
    let folder = Folder::new(&format!("rule\n{}bias 18 2\n", answer(&[4, 2], &[0, 1])));
    let judge = folder.judge();
    let capabilities = judge.capabilities();
    let able = (capabilities.engine, capabilities.guidance, capabilities.distributions);
    assert_eq!(able, (EngineKind::Trtllm, Guidance::Grammar, true));
    assert_eq!((capabilities.context_tokens, capabilities.max_sequences), (Some(6144), 64));

    let mut request = request(2, "this");
    request.options.mask = Some(Mask::Given);
    let verdict = judge.judge(&request).unwrap();
    check_distributions(&request, &verdict);
    assert_eq!(verdict.reasoning.trim(), "The shorter one is better.");
    assert_eq!(verdict.scores.iter().map(|scored| scored.score).collect::<Vec<_>>(), [4.0, 2.0]);
    assert_eq!(verdict.ranking, [0, 1]);
    assert_eq!(verdict.repairs, []);
    assert_eq!(verdict.flags, []);
    assert!(verdict.raw.starts_with("<think>\nThe shorter"), "{:?}", verdict.raw);
    // The script gives the 2 a logit of 18, and what it writes 20: e^-2 against 1.
    let distribution = verdict.scores[0].distribution.as_ref().unwrap();
    assert!((distribution[1] / distribution[3] - (-2.0_f64).exp()).abs() < 1e-6, "{distribution:?}");

    let usage = verdict.usage;
    assert!(usage.prompt_tokens > 20 && usage.reasoning_tokens > 4 && usage.verdict_tokens > 10, "{usage:?}");
    let again = judge.judge(&request).unwrap();
    assert!(again.usage.reused_tokens > 0, "the prompt was there already: {:?}", again.usage);
    assert_eq!((again.raw, again.scores), (verdict.raw, verdict.scores));

    let stats = judge.stats();
    assert_eq!((stats.waiting, stats.running), (0, 0));
    assert!(stats.steps > 0 && stats.computed_tokens > 0 && stats.kv_blocks > 0, "{stats:?}");
    assert!(stats.kv_block_tokens == 32 && stats.kv_blocks_reused > 0, "{stats:?}");
}

#[test]
fn a_verdict_is_complete_for_any_number_of_responses_and_whatever_is_favoured() {
    // The grammar does not admit this text: the output is what the grammar lets through.
    let folder = Folder::new(&format!("rule\ntext Hm.{CLOSE}I will not say.\n"));
    let mut config = folder.config();
    config.limits.max_responses = 64;
    let judge = Judge::open(config).unwrap();
    for count in [1, 2, 3, 8, 9, 20] {
        for consistent in [false, true] {
            let mut request = request(count, "this");
            request.options.consistent_ranking = Some(consistent);
            let verdict = judge.judge(&request).unwrap();
            check_distributions(&request, &verdict);
            assert_eq!(verdict.repairs, []);
            if consistent {
                assert!(verdict.flags.iter().all(|flag| *flag == Flag::Ties), "{:?}", verdict.flags);
                let ranked: Vec<_> = verdict.ranking.iter().map(|&index| verdict.scores[index].score).collect();
                assert!(ranked.is_sorted_by(|a, b| a >= b), "{ranked:?}");
            }
        }
    }
}

#[test]
fn a_ranking_from_the_scores_is_not_asked_for() {
    let folder = Folder::new(&format!("rule\ntext Hm.{CLOSE}\n"));
    let mut config = folder.config();
    config.limits.max_responses = 64;
    let judge = Judge::open(config).unwrap();
    for (count, budget) in [(1, 9), (3, 9), (20, 9), (3, 0)] {
        let mut request = request(count, "this");
        request.options.max_reasoning_tokens = Some(budget);
        let written = judge.judge(&request).unwrap();
        request.options.ranking_from = Some(RankingFrom::Scores);
        let verdict = judge.judge(&request).unwrap();
        check_distributions(&request, &verdict);
        assert!(verdict.raw.ends_with("\"best-to-worst\": []\n}"), "{}", verdict.raw);
        assert!(verdict.usage.verdict_tokens < written.usage.verdict_tokens);
        assert_eq!((verdict.repairs.len(), &verdict.scores), (0, &written.scores));
        let key = |scored: &dicast::Scored| (scored.score, scored.expected);
        let ranked: Vec<_> = verdict.ranking.iter().map(|&index| key(&verdict.scores[index])).collect();
        assert!(ranked.is_sorted_by(|a, b| a >= b), "{ranked:?}");
    }
}

#[test]
fn names_may_be_anything() {
    let folder = Folder::new(&format!("rule\ntext Hm.{CLOSE}\n"));
    let judge = folder.judge();
    let hostile = ["", "model-2", "\"quoted\"", "new\nline", "</think>", "日本語", "\u{0}", "a\\b", "e\u{301}"];
    for mask in [true, false] {
        let mut request = request(0, "");
        request.responses = dicast::JudgeRequest::new("", "", hostile.map(|name| (name, name))).responses;
        request.mask_responses = Some(mask);
        check(&request, &judge.judge(&request).unwrap());
    }
}

#[test]
fn a_spent_budget_ends_the_reasoning_and_the_verdict_follows() {
    let folder = Folder::new(&format!("rule\n{}", answer(&[3, 5], &[1, 0])));
    let judge = folder.judge();
    for budget in [0, 1, 3] {
        let mut request = request(2, "this");
        request.options.max_reasoning_tokens = Some(budget);
        let verdict = judge.judge(&request).unwrap();
        check_distributions(&request, &verdict);
        assert_eq!(verdict.flags.contains(&Flag::ReasoningTruncated), budget > 0, "{budget}");
        assert!(verdict.raw.contains("</think>"), "{:?}", verdict.raw);
        assert!(verdict.usage.reasoning_tokens <= budget as usize + 6);
    }
    // A text that ends before its reasoning is closed.
    let folder = Folder::new("rule\ntokens 40 41\n");
    let verdict = folder.judge().judge(&request(2, "this")).unwrap();
    check_distributions(&request(2, "this"), &verdict);
}

#[test]
fn without_reasoning_the_verdict_comes_at_once() {
    let folder = Folder::new("rule\n");
    let mut request = request(3, "this");
    request.options.reasoning = Some(false);
    let verdict = folder.judge().judge(&request).unwrap();
    check_distributions(&request, &verdict);
    assert_eq!(verdict.reasoning, "");
}

#[test]
fn an_unguided_verdict_is_read_as_it_comes() {
    let folder = Folder::new(&format!(
        "rule contains cut short\ntext Hm.{CLOSE}\\n\\n{{\"scores\":\n\nrule\n{}",
        answer(&[4, 2], &[0, 1])
    ));
    let judge = folder.judge();
    let mut complete = request(2, "this");
    complete.options.guided = Some(false);
    let verdict = judge.judge(&complete).unwrap();
    check(&complete, &verdict);
    assert!(verdict.scores.iter().all(|scored| scored.distribution.is_none()));
    let mut cut = request(2, "cut short");
    cut.options.guided = Some(false);
    let error = judge.judge(&cut).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    assert!(error.partial().is_some());
    complete.options.max_verdict_tokens = Some(5);
    let error = judge.judge(&complete).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    assert!(error.message().contains("max_verdict_tokens"), "{error}");
}

#[test]
fn workers_give_the_distributions_that_a_probe_gives() {
    let biases = "bias 18 2\nbias 19.5 3\nbias 17 5\n";
    for count in [1, 2, 3] {
        for budget in [0, 3, 100] {
            let (scores, ranking) = (&[4, 2, 3][..count], &[0, 1, 2][..count]);
            let folder = Folder::new(&format!("rule\n{}{biases}", answer(scores, ranking)));
            let mut request = request(count, "this");
            request.options.mask = Some(Mask::Given);
            request.options.max_reasoning_tokens = Some(budget);
            let probed = folder.judge().judge(&request).unwrap();
            let judge = Judge::open(orchestrated(&folder)).unwrap();
            assert!(judge.capabilities().distributions);
            let verdict = judge.judge(&request).unwrap();
            check_distributions(&request, &verdict);
            assert_eq!(verdict.raw, probed.raw);
            for (one, other) in verdict.scores.iter().zip(&probed.scores) {
                let pairs = one.distribution.as_ref().unwrap().iter().zip(other.distribution.as_ref().unwrap());
                for (got, wanted) in pairs {
                    assert!((got - wanted).abs() < 1e-4, "{one:?} {other:?}");
                }
            }
            assert_eq!((judge.stats().running, judge.stats().waiting), (0, 0));
        }
    }
}

#[test]
fn distributions_that_cannot_be_had_are_absent() {
    let script = format!("rule\n{}", answer(&[4, 2], &[0, 1]));
    let asked = request(2, "this");
    let absent = |verdict: &dicast::Verdict| {
        check(&asked, verdict);
        assert!(verdict.scores.iter().all(|scored| scored.distribution.is_none() && scored.expected.is_none()));
    };
    // A library whose log probabilities have another meaning.
    let judge = Judge::open(orchestrated(&Folder::new(&format!("log_probs_unmasked\n{script}")))).unwrap();
    assert!(!judge.capabilities().distributions);
    assert!(
        judge.warnings().iter().any(|warning| warning.contains("no score distributions")),
        "{:?}",
        judge.warnings()
    );
    absent(&judge.judge(&asked).unwrap());
    // One of many requests fails: the verdict stays. The first two requests are those that test the engine.
    for fault in ["error lost", "throw_at_enqueue std lost"] {
        let judge = Judge::open(orchestrated(&Folder::new(&format!("rule order 6\n{fault}\n{script}")))).unwrap();
        assert!(judge.capabilities().distributions);
        absent(&judge.judge(&asked).unwrap());
        check_distributions(&asked, &judge.judge(&asked).unwrap());
    }
    // Prompts that include a verdict are longer than the engine can read.
    let mut short = asked.clone();
    short.options.reasoning = Some(false);
    let tokens = Folder::new(&script).judge().judge(&short).unwrap().usage;
    // Room for the closed reasoning, but not for the text before a score.
    let reads = (tokens.prompt_tokens + 8).to_string();
    let judge = Judge::open(orchestrated(&Folder::with(&script, &["--max-input-len", &reads]))).unwrap();
    assert!(judge.capabilities().distributions);
    absent(&judge.judge(&short).unwrap());
}

#[test]
fn the_queue_time_counts_from_the_submission() {
    // One is computed at a time, and the first one not before the file is removed.
    let folder = Folder::with(
        &format!("step_us 3000\nrule\nhold held\n{}", answer(&[4, 2], &[0, 1])),
        &["--max-batch-size", "1"],
    );
    folder.write("held", "");
    let judge = folder.judge();
    let start = std::time::Instant::now();
    let tickets: Vec<_> = (0..4).map(|index| judge.submit(&request(2, &index.to_string()))).collect();
    let submitted = std::time::Instant::now();
    std::thread::sleep(std::time::Duration::from_millis(100));
    let held = submitted.elapsed();
    folder.remove("held");
    let verdicts: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait().unwrap()).collect();
    let all = start.elapsed();
    let queues: Vec<_> = verdicts.iter().map(|verdict| verdict.timing.queue).collect();
    // The others waited in the executor's own queue.
    assert!(queues[1..].iter().all(|&queue| queue >= held && queue < all), "{queues:?} of {held:?} and {all:?}");
    for verdict in verdicts {
        let timing = verdict.timing;
        let sum = timing.queue + timing.prefill + timing.reasoning + timing.verdict;
        assert!(sum <= all, "{timing:?} of {all:?}");
    }
}

#[test]
fn few_grammars_are_made() {
    let judge = Folder::new(&format!("rule\n{}", answer(&[4, 2, 2], &[0, 1, 2]))).judge();
    assert_eq!(judge.stats().grammars_last_hour, 0);
    let ask = |count, consistent, index: usize| {
        let mut request = request(count, &index.to_string());
        request.options.consistent_ranking = Some(consistent);
        judge.judge(&request).unwrap();
    };
    (0..20).for_each(|index| ask(3, false, index));
    assert_eq!(judge.stats().grammars_last_hour, 1, "one for a number of responses");
    // A first stage, and one for each order of the scores; this script writes one of them.
    (0..20).for_each(|index| ask(3, true, index));
    assert_eq!(judge.stats().grammars_last_hour, 3);
    // A long ranking has further stages, which depend on the names that are left.
    (0..5).for_each(|index| ask(9, false, index));
    let before = judge.stats().grammars_last_hour;
    (0..5).for_each(|index| ask(9, false, index));
    assert_eq!(judge.stats().grammars_last_hour, before, "the same states need no further grammars");
    assert!(before <= 5, "{before}");
}

#[test]
fn sampling_and_seeds_reach_the_executor() {
    // Five digits of equal weight.
    let biases = [1, 2, 3, 4, 5].map(|digit| format!("bias 20 {digit}\n")).concat();
    let folder = Folder::new(&format!("rule\ntext Hm.{CLOSE}\n{biases}"));
    let judge = folder.judge();
    let scores = |seed: u64| {
        let mut request = request(8, "this");
        (request.options.temperature, request.options.seed) = (Some(1.0), Some(seed));
        let verdict = judge.judge(&request).unwrap();
        verdict.scores.iter().map(|scored| scored.score.to_string()).collect::<String>()
    };
    let first = scores(1);
    assert_eq!(first, scores(1));
    assert!((2..6).any(|seed| scores(seed) != first));
}

#[test]
fn what_does_not_fit_the_engine_fails_before_any_generation() {
    let folder = Folder::with(&format!("rule\n{}", answer(&[4, 2], &[0, 1])), &["--max-input-len", "400"]);
    let judge = folder.judge();
    let mut long = request(2, "this");
    long.prompt = "long ".repeat(500);
    let error = judge.judge(&long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextOverflow);
    assert!(error.message().contains("max_input_len") && error.message().contains("400"), "{error}");
    assert_eq!(judge.stats().steps, 0);
}
