//! A calibrated judge on an engine that answers by script.

use serde_json::json;

use crate::config::{JudgeConfig, Mask, Options, Reward};
use crate::engine::scripted::{Reply, Scripted};
use crate::log::Log;
use crate::prompt::profile::{Calibration, CalibrationMap, Profile, Threshold};
use crate::request::{Criterion, JudgeRequest};
use crate::verdict::{Flag, Verdict};

use super::Judge;

/// Answers that differ by more than 1.5 are sure enough.
pub(super) fn calibrated(options: &Options) -> Profile {
    let mut profile = Profile::builtin();
    let map = CalibrationMap::Isotonic { differences: vec![0.0, 2.0, 4.0], probabilities: vec![0.5, 0.75, 1.0] };
    let relevant = Calibration::relevant(&options.resolve().unwrap());
    let mut made = Calibration::new(map, 500, 100, json!({ "checksum": "0" }), &profile, relevant, false);
    let (error_rate, confidence) = (0.1, 0.9);
    made.threshold = Some(Threshold { difference: 1.5, probability: 0.6875, error_rate, confidence, answered: 0.5 });
    profile.calibration = Some(Box::new(made));
    profile
}

fn options() -> Options {
    Options { mask: Some(Mask::Given), reasoning: Some(false), ..Options::default() }
}

/// A judge that always gives 5, 4 and 1.
fn open(profile: Profile) -> Judge {
    let verdict =
        r#"{"scores": {"model-1": 5, "model-2": 4, "model-3": 1}, "best-to-worst": ["model-1", "model-2", "model-3"]}"#;
    let engine = Scripted::new(move |_, _| Reply::text(verdict));
    let mut config = JudgeConfig::new("scripted");
    config.options = options();
    Judge::with_engine(config, profile, engine.opened(), Log::none()).unwrap()
}

fn judge(judge: &Judge, change: impl FnOnce(&mut JudgeRequest)) -> Verdict {
    let mut request = JudgeRequest::new("Be brief.", "p", [("a", "x"), ("b", "y"), ("c", "z")]);
    change(&mut request);
    judge.judge(&request).unwrap()
}

#[test]
fn a_calibrated_judge_says_how_sure_it_is_and_where_it_abstains() {
    let judged = open(calibrated(&options()));
    assert!(judged.warnings().is_empty(), "{:?}", judged.warnings());
    let verdict = judge(&judged, |request| request.options.reward = Some(Reward::Win));
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(
        json["preferences"]["pairs"],
        json!([
            { "first": "a", "second": "b", "probability": 0.625, "better": null, "abstain": true },
            { "first": "a", "second": "c", "probability": 1.0, "better": "a", "abstain": false },
            { "first": "b", "second": "c", "probability": 0.875, "better": "b", "abstain": false },
        ])
    );
    assert_eq!(json["preferences"]["error_rate"], 0.1);
    // The mean over the others; no distributions are needed.
    assert_eq!(json["rewards"]["values"], json!({ "a": 0.8125, "b": 0.625, "c": 0.0625 }));
    assert!(verdict.flags.is_empty(), "{:?}", verdict.flags);
    assert_eq!(serde_json::from_value::<Verdict>(json).unwrap().preferences, verdict.preferences);
}

#[test]
fn a_calibration_of_other_options_or_another_profile_is_flagged() {
    let other = Options { max_reasoning_tokens: Some(7), reasoning: Some(true), ..options() };
    let judged = open(calibrated(&other));
    let [warning] = judged.warnings() else { panic!("{:?}", judged.warnings()) };
    assert!(warning.contains("reasoning was true, it is false") && warning.contains("dicast calibrate"), "{warning}");
    assert_eq!(judge(&judged, |_| {}).flags, [Flag::CalibrationOfOtherOptions]);

    let judged = open(calibrated(&options()));
    let ensemble = judge(&judged, |request| request.options.orders = Some(2));
    assert_eq!(ensemble.flags.last(), Some(&Flag::CalibrationOfOtherOptions));

    let mut changed = calibrated(&options());
    changed.system_prompt.push('!');
    let judged = open(changed);
    assert!(judged.warnings()[0].contains("the profile has changed"), "{:?}", judged.warnings());
    assert_eq!(judge(&judged, |_| {}).flags, [Flag::CalibrationOfOtherOptions]);

    let mut renamed = calibrated(&options());
    renamed.name = "another name".into();
    assert!(open(renamed).warnings().is_empty(), "a name changes no score");
}

#[test]
fn a_calibration_of_the_other_kind_of_scores_is_flagged() {
    let answer = r#"{"scores": {"model-1": 5, "model-2": 1}, "best-to-worst": ["model-1", "model-2"]}"#;
    let shares = |score: usize| (1..=5).map(|one| f64::from(u8::from(one == score))).collect::<Vec<f64>>();
    // Of three judges, the last one gives an expected score for one response of two.
    let flags = |expected_scores: bool, distributions: &[usize]| {
        let said: Vec<Vec<f64>> = distributions.iter().map(|&score| shares(score)).collect();
        let mut profile = calibrated(&options());
        profile.calibration.as_mut().unwrap().expected_scores = expected_scores;
        let mut config = JudgeConfig::new("scripted");
        config.options = options();
        let engine = Scripted::new(move |_, _| Reply::text(answer).with_distributions(said.clone()));
        let judged = Judge::with_engine(config, profile, engine.opened(), Log::none()).unwrap();
        judged.judge(&JudgeRequest::new("Be brief.", "p", [("a", "x"), ("b", "y")])).unwrap().flags
    };
    for (expected_scores, distributions, fits) in [
        (false, &[][..], true),
        (false, &[5, 1], false),
        (false, &[5], false),
        (true, &[], false),
        (true, &[5, 1], true),
        (true, &[5], false),
    ] {
        let wanted = if fits { vec![] } else { vec![Flag::CalibrationOfOtherOptions] };
        assert_eq!(flags(expected_scores, distributions), wanted, "{expected_scores} {distributions:?}");
    }

    let mut profile = calibrated(&options());
    profile.calibration.as_mut().unwrap().expected_scores = true;
    let mut config = JudgeConfig::new("scripted");
    config.options = Options { guided: Some(false), ..options() };
    let engine = Scripted::new(|_, _| Reply::text("?"));
    let judged = Judge::with_engine(config, profile, engine.opened(), Log::none()).unwrap();
    let [warning] = judged.warnings() else { panic!("{:?}", judged.warnings()) };
    assert!(warning.contains("learned on expected scores, and this judge gives only written ones"), "{warning}");
}

#[test]
fn the_table_of_a_rubric_has_no_calibration() {
    let judged = open(calibrated(&options()));
    let rubric = judge(&judged, |request| {
        request.principle.clear();
        request.rubric = vec![Criterion::new("brief", "Be brief."), Criterion::new("kind", "Be kind.")];
    });
    assert_eq!(rubric.preferences, None);
    assert!(rubric.flags.is_empty(), "{:?}", rubric.flags);
}

#[test]
fn without_a_calibration_nothing_changes() {
    let verdict = judge(&open(Profile::builtin()), |_| {});
    assert_eq!(verdict.preferences, None);
    assert!(serde_json::to_value(&verdict).unwrap().get("preferences").is_none());
}
