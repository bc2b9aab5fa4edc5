//! What a verdict promises: it is complete or an error, policies show as repairs or flags, names are in the order of
//! the request.

mod verdict_support;

use dicast::config::{Incomplete, VerdictPolicy};
use dicast::prompt::mask::AliasMap;
use dicast::{ErrorKind, Flag, Profile, Repair, verdict};
use serde_json::json;
use verdict_support::{Damage, Meant, Random, profile};

const CLEAN: &str =
    r#"{"scores": {"model-1": 4, "model-2": 2, "model-3": 5}, "best-to-worst": ["model-3", "model-1", "model-2"]}"#;

/// Shown in another order than requested: `model-1` is `c`, `model-2` is `a`, `model-3` is `b`.
fn names() -> AliasMap {
    let owned = |names: [&str; 3]| names.map(str::to_owned).to_vec();
    AliasMap::new(owned(["a", "b", "c"]), owned(["model-1", "model-2", "model-3"]), vec![2, 0, 1])
}

fn strict() -> VerdictPolicy {
    VerdictPolicy::default()
}

fn scores(verdict: &verdict::Verdict) -> Vec<(&str, f64)> {
    verdict.scores.iter().map(|scored| (scored.name.as_str(), scored.score)).collect()
}

#[test]
fn a_clean_verdict_has_no_repairs_and_the_order_of_the_request() {
    let text = format!("<think>\nI think.\n</think>\n\n{CLEAN}");
    let read = verdict::parse(&text, &names(), &profile(5), &strict()).expect("a verdict");
    assert_eq!(scores(&read), [("a", 2.0), ("b", 5.0), ("c", 4.0)]);
    assert_eq!(read.ranked_names().collect::<Vec<_>>(), ["b", "c", "a"]);
    assert_eq!(read.reasoning, "I think.");
    assert_eq!((read.repairs.len(), read.flags.len()), (0, 0));
    assert_eq!(read.raw, text);
    assert_eq!(read.aliases[0], ("model-1".to_owned(), "c".to_owned()));
}

#[test]
fn known_parts_are_not_split_again() {
    let answer = CLEAN.replace("{\"scores", "{\"note\": \"</think> <think>\", \"scores");
    let read = verdict::parse_parts("raw".into(), "</think> hm", &answer, &names(), &profile(5), &strict());
    let read = read.expect("a verdict");
    assert_eq!((read.reasoning.as_str(), read.raw.as_str()), ("</think> hm", "raw"));
    assert_eq!(read.repairs, []);
}

#[test]
fn the_layout_of_the_profile_is_clean() {
    let layout = r#"{"format": 1, "name": "t", "system_prompt": "J", "scale": {"min": 0, "max": 9},
        "verdict": {"layout": "{\"marks\": {%scores%}, \"podium\": [%ranking%]}"}}"#;
    let profile = Profile::from_json(layout).expect("a profile");
    let text = r#"{"marks": {"a": 0, "b": 9}, "podium": ["b", "a"]}"#;
    let names = AliasMap::identity(vec!["a".into(), "b".into()]);
    let read = verdict::parse(text, &names, &profile, &strict()).expect("a verdict");
    assert_eq!(scores(&read), [("a", 0.0), ("b", 9.0)]);
    assert_eq!(read.repairs, []);
}

#[test]
fn a_missing_ranking_is_an_error_or_derived() {
    let text = r#"{"scores": {"model-1": 4, "model-2": 4, "model-3": 5}}"#;
    let error = verdict::parse(text, &names(), &profile(5), &strict()).expect_err("no ranking");
    assert_eq!(error.kind(), ErrorKind::InvalidVerdict);
    let partial = error.partial().expect("what could be read");
    assert_eq!(partial.ranking, None);
    assert_eq!(partial.scores.as_ref().expect("scores")[0], ("a".to_owned(), 4.0));

    let mut policy = strict();
    policy.incomplete = Incomplete::DeriveRanking;
    let read = verdict::parse(text, &names(), &profile(5), &policy).expect("a verdict");
    // a and c have 4 each: a comes first in the request, though c was shown first.
    assert_eq!(read.ranked_names().collect::<Vec<_>>(), ["b", "a", "c"]);
    assert_eq!(read.repairs, [Repair::RankingDerived]);
    assert_eq!(read.flags, [Flag::Ties]);
    // Expected scores, once known, separate two responses with the same score.
    let mut refined = read.clone();
    refined.scores[0].expected = Some(3.9);
    refined.scores[2].expected = Some(4.2);
    refined.refine_derived_ranking();
    assert_eq!(refined.ranked_names().collect::<Vec<_>>(), ["b", "c", "a"]);
    assert!(verdict::parse(r#"{"best-to-worst": ["model-1"]}"#, &names(), &profile(5), &policy).is_err());
}

#[test]
fn a_score_off_the_scale_is_an_error_or_clamped() {
    let text = CLEAN.replace(": 4", ": 40").replace(": 2", ": -3");
    let error = verdict::parse(&text, &names(), &profile(5), &strict()).expect_err("off the scale");
    assert!(error.message().contains("model-1"), "{error}");
    assert!(error.partial().expect("partial").ranking.is_some());

    let mut policy = strict();
    policy.clamp = true;
    let read = verdict::parse(&text, &names(), &profile(5), &policy).expect("a verdict");
    assert_eq!(scores(&read), [("a", 1.0), ("b", 5.0), ("c", 5.0)]);
    assert_eq!(read.repairs, [Repair::Clamped("model-1".into()), Repair::Clamped("model-2".into())]);
    let other_scale = CLEAN.replace(": 4", ": \"8/10\"");
    assert!(verdict::parse(&other_scale, &names(), &profile(5), &policy).is_err());
}

#[test]
fn contradictions_and_unknown_names_are_flagged() {
    let text = CLEAN.replace("[\"model-3\", ", "[").replace("2\"]", "2\", \"model-3\", \"model-9\"]");
    let read = verdict::parse(&text, &names(), &profile(5), &strict()).expect("a verdict");
    assert_eq!(read.flags, [Flag::InconsistentRanking, Flag::DroppedName("model-9".into())]);
}

#[test]
fn repairs_say_what_was_mended() {
    let repaired = |text: &str| verdict::parse(text, &names(), &profile(5), &strict()).expect("a verdict").repairs;
    assert_eq!(repaired(&format!("```json\n{CLEAN}\n```")), [Repair::TextAround]);
    assert_eq!(repaired(&CLEAN.replace('"', "'")), [Repair::SingleQuotes]);
    assert_eq!(repaired(&CLEAN.replace("]}", "]")), [Repair::Bracket]);
    assert_eq!(repaired(&CLEAN.replace("]}", ",]}")), [Repair::ExtraComma]);
    assert_eq!(repaired(&CLEAN.replace("t-to-w", "t_to_w")), [Repair::Key("best_to_worst".into())]);
    assert_eq!(repaired(&CLEAN.replace(": 4", ": \"4/5\"")), [Repair::ScoreText("4/5".into())]);
    assert_eq!(repaired(&format!("<think>a</thinking>{CLEAN}")), [Repair::ReasoningTag("</thinking>".into())]);
    assert_eq!(repaired(&format!("<think>a\n{CLEAN}")), [Repair::ReasoningUnclosed, Repair::TextAround]);
}

#[test]
fn the_json_form_has_the_documented_fields() {
    let (json, ok) = verdict::parse_to_json(CLEAN, &names(), &profile(5), &strict());
    let expected = json!({
        "scores": {"a": 2, "b": 5, "c": 4}, "ranking": ["b", "c", "a"], "reasoning": "", "repairs": [], "flags": []
    });
    assert_eq!((json, ok), (expected, true));
    let (json, ok) = verdict::parse_to_json(&CLEAN.replace(": 4", ": null"), &names(), &profile(5), &strict());
    assert!(!ok);
    assert_eq!(json["error"]["kind"], "invalid_verdict");
    assert!(json["error"]["message"].as_str().is_some_and(|message| message.contains("model-1")));
    assert_eq!(json["error"]["partial"], json!({"scores": null, "ranking": ["b", "c", "a"]}));
}

#[test]
fn a_verdict_with_a_name_missing_is_never_complete() {
    let (profile, policy) = (profile(5), strict());
    for case in 0..400 {
        let mut random = Random::new(case);
        let mut meant = Meant::random(&mut random, 3 + random_count(case), 5);
        // The judge was shown one response more than it names in its scores, or in its ranking, or in both.
        let full = meant.aliases();
        let last = meant.scores.len() - 1;
        meant.ranking.retain(|&place| place != last);
        meant.scores.pop();
        let text = meant.print(random.below(Meant::STYLES));
        let damaged = random.pick(&[Damage::CHARACTER, Damage::ALL].concat()).apply(&text, &mut random);
        for text in [text, damaged] {
            assert!(verdict::parse(&text, &full, &profile, &policy).is_err(), "{text}");
        }
    }
}

/// Up to eight more responses.
fn random_count(case: u64) -> usize {
    usize::try_from(case % 9).expect("a small number")
}
