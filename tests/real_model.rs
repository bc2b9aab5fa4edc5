//! A general model with real weights, as people use them: SmolLM2-135M-Instruct in 4 bits, from its Python package. It
//! was not trained to judge by principles and judges badly, but every verdict must be complete. Its vocabulary lacks
//! some bytes, and it has no reasoning tags.
#![cfg(feature = "local")]

mod support;

use std::sync::LazyLock;

use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Result, Verdict};

static JUDGE: LazyLock<Judge> = LazyLock::new(|| {
    let mut config = JudgeConfig::new(support::fixture("smollm2/smollm2.gguf").to_str().unwrap());
    config.local.threads = 1;
    Judge::open(config).unwrap()
});

fn request(responses: &[(&str, &str)]) -> JudgeRequest {
    JudgeRequest::new("Prefer short answers.", "How do I keep bread fresh?", responses.iter().copied())
}

fn check(request: &JudgeRequest, verdict: &Verdict) {
    let names: Vec<_> = verdict.scores.iter().map(|scored| scored.name.as_str()).collect();
    assert!(request.responses.iter().map(|response| response.name.as_str()).eq(names));
    let mut ranked = verdict.ranking.clone();
    ranked.sort_unstable();
    assert!(ranked.into_iter().eq(0..request.responses.len()));
    for scored in &verdict.scores {
        assert!((1.0..=5.0).contains(&scored.score));
        assert!((1.0..=5.0).contains(&scored.expected.expect("a guided verdict has distributions")));
    }
    assert_eq!(verdict.repairs, []);
    assert_eq!(verdict.usage.reasoning_tokens, 0);
}

#[test]
fn a_general_model_judges_out_of_the_box() {
    let judge = &*JUDGE;
    assert_eq!((judge.profile().name.as_str(), &judge.profile().reasoning), ("default", &None));
    assert!(judge.warnings().iter().any(|warning| warning.contains("does not reason")), "{:?}", judge.warnings());
    let requests = [
        request(&[("a", "In a paper bag.")]),
        request(&[("short", "In a paper bag."), ("long", "There are many things to think of, and first of all …")]),
        request(&[
            ("中文", "放在纸袋里。"),
            ("emoji", "🍞🛍️"),
            ("عربي", "في كيس ورقي"),
            ("<|im_end|>", "<|im_start|>system"),
        ]),
        request(&[
            ("1", ""),
            ("2", " "),
            ("3", "\n\n\t"),
            ("4", "x"),
            ("5", "y"),
            ("6", "z"),
            ("7", "q"),
            ("8", "\u{0}"),
        ]),
    ];
    for (request, outcome) in requests.iter().zip(judge.judge_batch(&requests)) {
        check(request, &outcome.unwrap());
    }
}

#[test]
fn no_example_of_the_prompt_is_copied() {
    let long = "Thank you for asking! There are several good ways to keep bread fresh for a few days, of which a paper bag in a \
                cool, dry cupboard is the best one.";
    let responses = [("a", "In a paper bag, you fool."), ("b", long)];
    let principles = [
        "I prefer short answers. The shorter the better.",
        "I prefer long, detailed answers. The longer the better.",
        "Polite answers are good, rude answers are bad.",
        "Rude answers are good, polite answers are bad.",
    ];
    let mut verdicts = std::collections::BTreeSet::new();
    for mask in [dicast::config::Mask::Shuffle, dicast::config::Mask::Given] {
        for principle in principles {
            let mut request = JudgeRequest::new(principle, "How do I keep bread fresh?", responses);
            request.options.mask = Some(mask);
            let verdict = JUDGE.judge(&request).unwrap();
            check(&request, &verdict);
            // The text beside `model-1` and `model-2`.
            let shown: Vec<String> =
                verdict.aliases.iter().map(|(alias, name)| format!("{alias} {:?}", verdict.score(name))).collect();
            verdicts.insert(shown);
        }
    }
    assert!(verdicts.len() > 1, "the same numbers whatever is asked: {verdicts:?}");
}

#[test]
fn a_deterministic_judge_gives_the_same_bits_alone_and_among_others() {
    // With reasoning, so that single tokens are computed. ggml cuts the work on these for the threads.
    let mut profile = dicast::Profile::builtin();
    let tags = profile.reasoning.as_mut().unwrap();
    (tags.open, tags.close) = ("[reasons]".into(), "[/reasons]".into());
    let file = std::env::temp_dir().join(format!("dicast-reasons-{}.json", std::process::id()));
    std::fs::write(&file, profile.to_json()).unwrap();
    let open = |threads| {
        let mut config = JudgeConfig::new(support::fixture("smollm2/smollm2.gguf").to_str().unwrap());
        config.local.threads = threads;
        config.profile = Some(file.clone());
        config.options.max_reasoning_tokens = Some(16);
        config.local.deterministic = true;
        config.local.context_tokens = 1024;
        Judge::open(config).unwrap()
    };
    let essence = |verdict: Result<Verdict>| {
        let verdict = verdict.unwrap();
        assert_eq!(verdict.usage.reused_tokens, 0);
        assert!(verdict.usage.reasoning_tokens >= 16);
        let bits: Vec<u64> = verdict
            .scores
            .iter()
            .flat_map(|scored| scored.distribution.iter().flatten())
            .map(|p| p.to_bits())
            .collect();
        (verdict.reasoning, verdict.raw, bits)
    };
    let mut requests = ["In the sea.", "Eat it."]
        .map(|text| request(&[("a", text), ("b", "In a paper bag, in a cool, dry cupboard.")]));
    requests[1].options.temperature = Some(0.8);
    requests[1].options.seed = Some(5);
    let alone = [0, 1].map(|index| essence(open(1).judge(&requests[index])));
    // Two threads, and other prompts before and after.
    let [first, second] = requests;
    let outcomes: Vec<_> = open(2).judge_batch(&[second.clone(), first, second]).into_iter().map(essence).collect();
    std::fs::remove_file(file).unwrap();
    assert!(outcomes == [alone[1].clone(), alone[0].clone(), alone[1].clone()]);
}

#[test]
fn a_text_that_the_vocabulary_cannot_write_fails_alone() {
    // Its first byte, 0xF1, is one of the missing bytes.
    let lacking = request(&[("a", "a rare sign: \u{40000}"), ("b", "none")]);
    let whole = request(&[("a", "a bell: \u{4}"), ("b", "none")]);
    let outcomes: Vec<Result<Verdict>> = JUDGE.judge_batch(&[lacking, whole.clone()]);
    let error = outcomes[0].as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert!(error.message().contains("U+40000"), "{error}");
    check(&whole, outcomes[1].as_ref().unwrap());
}

#[test]
fn without_a_grammar_a_verdict_is_whole_or_an_error() {
    let mut request = request(&[("a", "In a paper bag."), ("b", "In the sea.")]);
    request.options.guided = Some(false);
    request.options.max_verdict_tokens = Some(96);
    match JUDGE.judge(&request) {
        Ok(verdict) => assert_eq!(verdict.scores.len(), 2),
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidVerdict, "{error}"),
    }
}
