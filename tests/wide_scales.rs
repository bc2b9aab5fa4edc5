//! Judges with scores above 9 on the embedded engine: with random weights, and with a general model as people use it.
#![cfg(feature = "local")]
#![expect(clippy::float_cmp, reason = "scores are whole numbers")]

mod support;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use dicast::config::RankingFrom;
use dicast::prompt::profile::{Scale, VerdictForm};
use dicast::{Judge, JudgeConfig, JudgeRequest, Profile, Verdict};

/// A profile whose scores go from `min` to `max`; without a layout, the one of general judges.
fn profile(min: u8, max: u8, layout: Option<&str>) -> Profile {
    let mut profile = Profile::builtin();
    profile.scale = Scale { min, max };
    profile.system_prompt = format!(
        "You judge responses by a principle. Give each a whole number from {min} to {max}, where {max} is best, and rank them, as \
         JSON with the keys scores and best-to-worst."
    );
    if let Some(layout) = layout {
        let mut form = VerdictForm::default();
        layout.clone_into(&mut form.layout);
        profile.verdict = form;
    }
    profile.check().unwrap();
    profile
}

fn open(model: &str, profile: &Profile, name: &str) -> Judge {
    let path = std::env::temp_dir().join(format!("dicast-wide-{}-{name}.json", std::process::id()));
    std::fs::write(&path, profile.to_json()).unwrap();
    let mut config = JudgeConfig::new(support::fixture(model).to_str().unwrap());
    config.profile = Some(path.clone());
    config.options.max_reasoning_tokens = Some(8);
    config.local.context_tokens = 4096;
    config.local.threads = 1;
    let judge = Judge::open(config).unwrap();
    std::fs::remove_file(path).unwrap();
    judge
}

static RANDOM: LazyLock<Judge> = LazyLock::new(|| open("tiny-qwen3.gguf", &profile(1, 10, None), "random"));

fn request(count: usize, salt: &str) -> JudgeRequest {
    let responses = (0..count).map(|index| (format!("answer {index}"), format!("Text {index} of {salt}.")));
    JudgeRequest::new("Prefer short answers.", format!("What is {salt}?"), responses)
}

/// What must hold for every verdict, whatever the weights.
fn check(verdict: &Verdict, scale: Scale, greedy: bool) {
    assert_eq!(verdict.repairs, [], "{}", verdict.raw);
    let mut ranked = verdict.ranking.clone();
    ranked.sort_unstable();
    assert!(ranked.into_iter().eq(0..verdict.scores.len()));
    for scored in &verdict.scores {
        assert!(scale.contains(scored.score) && scored.score.fract() == 0.0, "{}", verdict.raw);
        let Some(distribution) = &scored.distribution else {
            assert!(scale.max > 10, "a guided verdict has distributions");
            continue;
        };
        assert_eq!(distribution.len(), scale.len());
        assert!(
            (distribution.iter().sum::<f64>() - 1.0).abs() < 1e-9 && distribution.iter().all(|share| *share >= 0.0)
        );
        assert!(scored.mass.is_some_and(|mass| mass > 0.0 && mass <= 1.0));
        let mean: f64 = distribution.iter().zip(scale.min..).map(|(share, score)| share * f64::from(score)).sum();
        assert!((scored.expected.unwrap() - mean).abs() < 1e-9);
        if greedy {
            // No other first digit was likelier than the one that was written.
            let digit = |score: u8| score.to_string().as_bytes()[0];
            let begun = |first: u8| -> f64 {
                let scores = (scale.min..=scale.max).zip(distribution).filter(|(score, _)| digit(*score) == first);
                scores.map(|(_, share)| share).sum()
            };
            let written = (scale.min..=scale.max).find(|&score| f64::from(score) == scored.score).unwrap();
            let best = (b'0'..=b'9').map(begun).fold(0.0, f64::max);
            assert!(begun(digit(written)) >= best - 2e-3, "{} of {distribution:?}", scored.score);
        }
    }
}

#[test]
fn a_verdict_of_one_to_eight_scores_up_to_ten_is_complete_and_has_distributions() {
    let scale = Scale { min: 1, max: 10 };
    for count in 1..=8 {
        check(&RANDOM.judge(&request(count, "this")).unwrap(), scale, true);
        for (consistent, from) in [(true, RankingFrom::Judge), (false, RankingFrom::Scores)] {
            let mut request = request(count, "that");
            request.options.consistent_ranking = Some(consistent);
            request.options.ranking_from = Some(from);
            let verdict = RANDOM.judge(&request).unwrap();
            check(&verdict, scale, true);
            let scores: Vec<f64> = verdict.ranking.iter().map(|&index| verdict.scores[index].score).collect();
            assert!(scores.is_sorted_by(|one, other| one >= other), "{}", verdict.raw);
        }
    }
}

#[test]
fn scores_up_to_a_hundred_and_lists_without_names_work_as_well() {
    let hundred = Scale { min: 0, max: 100 };
    let judge = open("tiny-qwen3.gguf", &profile(0, 100, None), "hundred");
    for count in [1, 3, 8] {
        check(&judge.judge(&request(count, "hundred")).unwrap(), hundred, true);
    }
    let judge = open("tiny-qwen3.gguf", &profile(1, 10, Some("\\boxed{%list%}")), "list");
    for count in 1..=8 {
        let verdict = judge.judge(&request(count, "list")).unwrap();
        check(&verdict, Scale { min: 1, max: 10 }, true);
        let list = verdict.raw.rsplit_once("\\boxed{").unwrap().1.split('}').next().unwrap();
        assert_eq!(list.split(", ").count(), count, "{}", verdict.raw);
    }
}

/// At temperature 1 scores must be drawn as the distribution says.
#[test]
fn sampled_scores_follow_their_distribution() {
    let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
    let mut wanted = Vec::new();
    let rounds = 300;
    for seed in 0..rounds {
        let mut request = request(1, "sampling");
        request.options.reasoning = Some(false);
        request.options.temperature = Some(1.0);
        request.options.top_p = Some(1.0);
        request.options.seed = Some(seed);
        let verdict = RANDOM.judge(&request).unwrap();
        check(&verdict, Scale { min: 1, max: 10 }, false);
        let scored = &verdict.scores[0];
        let written = (1..=10).find(|score| f64::from(*score) == scored.score).unwrap();
        *counts.entry(written).or_default() += 1;
        wanted.clone_from(scored.distribution.as_ref().unwrap());
    }
    for (score, share) in (1..).zip(&wanted) {
        let found = f64::from(*counts.get(&score).unwrap_or(&0)) / f64::from(u32::try_from(rounds).unwrap());
        assert!((found - share).abs() < 0.12, "{score}: {found} of {share}: {counts:?}");
    }
}

/// A vocabulary in which each digit is a token, and weights that have seen numbers.
#[test]
fn a_general_model_judges_from_one_to_ten_out_of_the_box() {
    let mut profile = profile(1, 10, None);
    profile.reasoning = None;
    let judge = open("smollm2/smollm2.gguf", &profile, "general");
    let (mut tens, mut ones) = (0.0_f64, 0.0_f64);
    for count in 1..=8 {
        let verdict = judge.judge(&request(count, "bread")).unwrap();
        check(&verdict, Scale { min: 1, max: 10 }, true);
        for scored in &verdict.scores {
            let distribution = scored.distribution.as_ref().unwrap();
            (ones, tens) = (ones.max(distribution[0]), tens.max(distribution[9]));
        }
    }
    assert!(ones > 1e-4 && tens > 1e-4, "both are possible: {ones} {tens}");
}
