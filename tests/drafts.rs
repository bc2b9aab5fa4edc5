//! Drafts by prompt lookup in the embedded engine (`local.draft_tokens`): they change how many steps a judgment takes, not
//! what it says.
#![cfg(feature = "local")]

mod support;

use std::time::Duration;

use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Profile, Result, Verdict};

fn demo() -> JudgeConfig {
    let mut config = JudgeConfig::new(format!("{}/demo/dicast-demo.gguf", env!("CARGO_MANIFEST_DIR")));
    config.local.threads = 1;
    config
}

/// Random weights, which repeat themselves for as long as they may.
fn tiny() -> JudgeConfig {
    let mut config = JudgeConfig::new(support::fixture("tiny-qwen3.gguf").to_str().unwrap());
    config.options.max_reasoning_tokens = Some(160);
    config.local.context_tokens = 2048;
    config.local.threads = 1;
    config
}

fn open(mut config: JudgeConfig, draft_tokens: u32) -> Judge {
    config.local.draft_tokens = draft_tokens;
    Judge::open(config).unwrap()
}

/// Requests whose reasoning names the responses in turn.
fn requests() -> Vec<JudgeRequest> {
    let texts =
        ["In a paper bag.", "In the fridge, my dear friend, where else would you keep it?", "No idea.", "Eat it."];
    let principles = ["Prefer short answers.", "I prefer long, detailed answers. The longer the better.", "Be polite."];
    let responses =
        |count: usize| (0..count).map(|index| (format!("answer {index}"), texts[index % 4].repeat(1 + index / 4)));
    let request = |(index, principle): (usize, &str)| {
        JudgeRequest::new(principle, format!("How do I keep bread fresh, attempt {index}?"), responses(2 + 3 * index))
    };
    principles.into_iter().cycle().take(4).enumerate().map(request).collect()
}

/// What drafts must not change.
fn essence(verdict: &Verdict) -> (String, Vec<f64>, [usize; 3]) {
    let scores = verdict.scores.iter().map(|scored| scored.score).collect();
    let usage = &verdict.usage;
    (verdict.raw.clone(), scores, [usage.reasoning_tokens, usage.verdict_tokens, usage.forced_tokens])
}

fn essences(judge: &Judge, requests: &[JudgeRequest]) -> Vec<(String, Vec<f64>, [usize; 3])> {
    requests.iter().map(|request| essence(&judge.judge(request).unwrap())).collect()
}

#[test]
fn a_judge_writes_the_same_with_drafts_and_takes_fewer_steps() {
    let mut requests = requests();
    let sampled = requests.clone().into_iter().zip(1..).map(|(mut request, seed)| {
        request.options.temperature = Some(0.9);
        request.options.top_p = Some(0.95);
        request.options.seed = Some(seed);
        request
    });
    requests.extend(sampled.collect::<Vec<_>>());
    let without = open(demo(), 0);
    let wanted = essences(&without, &requests);
    assert_eq!((without.stats().drafted_tokens, without.stats().accepted_tokens), (0, 0));
    for length in [1, 3, 7] {
        let judge = open(demo(), length);
        assert!(essences(&judge, &requests) == wanted, "at most {length}");
        let (stats, before) = (judge.stats(), without.stats());
        assert!(stats.accepted_tokens > 0 && stats.accepted_tokens < stats.drafted_tokens, "{stats:?}");
        assert_eq!(stats.steps + stats.accepted_tokens, before.steps, "{stats:?}");
    }
}

#[test]
fn a_model_with_near_ties_judges_with_drafts() {
    let mut profile = Profile::builtin();
    let tags = profile.reasoning.as_mut().unwrap();
    (tags.open, tags.close) = ("[reasons]".into(), "[/reasons]".into());
    let file = std::env::temp_dir().join(format!("dicast-drafts-{}.json", std::process::id()));
    std::fs::write(&file, profile.to_json()).unwrap();
    let mut config = JudgeConfig::new(support::fixture("smollm2/smollm2.gguf").to_str().unwrap());
    config.local.threads = 1;
    config.profile = Some(file.clone());
    config.options.max_reasoning_tokens = Some(96);
    config.local.context_tokens = 2048;
    let requests = &requests()[..2];
    let judge = open(config, 4);
    std::fs::remove_file(file).unwrap();
    // Here the text may differ in the end: ggml's products of one column and of several differ in the last bits, and this
    // model has near ties. Another `local.batch_tokens` makes it differ at the same words.
    for request in requests {
        let verdict = judge.judge(request).unwrap();
        assert_eq!(verdict.scores.len(), request.responses.len());
    }
    let stats = judge.stats();
    assert!(stats.accepted_tokens > 0 && stats.accepted_tokens <= stats.drafted_tokens, "{stats:?}");
}

#[test]
fn an_answer_without_a_grammar_is_drafted_too() {
    let mut request = requests().remove(1);
    request.options.guided = Some(false);
    request.options.reasoning = Some(false);
    let [without, with] = [0, 4].map(|length| {
        let judge = open(demo(), length);
        let verdict = judge.judge(&request).map_err(|error| error.to_string());
        (verdict.as_ref().map(essence).map_err(Clone::clone), judge.stats())
    });
    assert_eq!(with.0, without.0);
    assert!(with.1.accepted_tokens > 0 && with.1.steps < without.1.steps, "{:?}", with.1);
}

#[test]
fn judgments_side_by_side_share_a_step_and_a_full_pool() {
    // Room for the longest of these judgments, so that each waits for those before it, or for two and a half.
    for pool in [2048, 5120] {
        let mut config = tiny();
        config.local.kv_cache_tokens = pool;
        config.local.batch_tokens = 32;
        let judge = open(config, 7);
        let requests: Vec<_> = requests().into_iter().cycle().take(12).collect();
        for (request, verdict) in requests.iter().zip(judge.judge_batch(&requests)) {
            let verdict = verdict.unwrap();
            assert_eq!(verdict.scores.len(), request.responses.len());
            // Opening, line end, the rest of a character, line end, closing.
            assert!((160..=167).contains(&verdict.usage.reasoning_tokens), "{:?}", verdict.usage);
        }
        let stats = judge.stats();
        assert!(stats.accepted_tokens > 0 && stats.running == 0, "{stats:?}");
    }
}

#[test]
fn a_judgment_may_end_in_the_middle_of_a_draft() {
    let wanted = essences(&open(demo(), 0), &requests());
    for mut config in [demo(), tiny()] {
        let is_demo = config.model == demo().model;
        config.options.max_reasoning_tokens = (!is_demo).then_some(900);
        let judge = open(config, 7);
        for round in 0..24 {
            let mut request = requests().remove(round % 4);
            request.options.timeout_ms = (round % 3 == 0).then_some(1 + round as u64);
            let ticket = judge.submit(&request);
            std::thread::sleep(Duration::from_micros(700 * (round as u64 % 7)));
            if round % 3 == 1 {
                ticket.cancel();
            }
            if is_demo || round % 3 < 2 {
                let outcome: Result<Verdict> = ticket.wait();
                let kind = outcome.err().map(|error| error.kind());
                assert!(matches!(kind, None | Some(ErrorKind::Timeout | ErrorKind::Cancelled)), "{kind:?}");
            }
        }
        if is_demo {
            assert!(essences(&judge, &requests()) == wanted, "what was left of them is in nobody's way");
        }
    }
}

#[test]
fn drafts_and_the_same_bits_are_not_to_be_had_together() {
    let mut config = demo();
    (config.local.draft_tokens, config.local.deterministic) = (1, true);
    let error = Judge::open(config.clone()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(
        error.message().contains("local.deterministic") && error.message().contains("local.draft_tokens"),
        "{error}"
    );
    (config.local.draft_tokens, config.local.deterministic) = (8, false);
    assert!(Judge::open(config).err().unwrap().message().contains("local.draft_tokens"));
}
