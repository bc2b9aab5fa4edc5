//! The whole judge over the bridge.

use dicast::config::Mask;
use dicast::engine::{EngineKind, Guidance};
use dicast::{ErrorKind, Flag, Judge};

use crate::support::{CLOSE, Folder, answer, check, check_distributions, request};

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
    // The script puts 18 on the 2 and 20 on what it writes: e^-2 against 1.
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
    // The grammar does not admit this text: the output is what the grammar leaves.
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
    // A text that ends before its reasoning was closed.
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
fn distributions_come_from_gathered_logits_or_are_absent() {
    let script = format!("rule\n{}bias 18 2\n", answer(&[4, 2], &[0, 1]));
    let mut request = request(2, "this");
    request.options.mask = Some(Mask::Given);
    let expected = |options: &[&str]| {
        let folder = Folder::with(&script, options);
        let mut config = folder.config();
        config.trtllm.mode = dicast::config::TrtllmMode::Orchestrator;
        config.trtllm.worker_path =
            Some(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trtllm_standin/executorWorker"));
        let judge = Judge::open(config).unwrap();
        let verdict = judge.judge(&request).unwrap();
        check(&request, &verdict);
        (judge.capabilities().distributions, verdict.scores[0].expected)
    };
    let probed = Folder::new(&script).judge().judge(&request).unwrap().scores[0].expected.unwrap();
    let (capable, gathered) = expected(&["--gather-logits"]);
    assert!(capable && (gathered.unwrap() - probed).abs() < 1e-9);
    assert_eq!(expected(&[]), (false, None));
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
