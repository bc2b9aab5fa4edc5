//! Every case of `tests/data/verdicts.jsonl`: imperfect outputs of models, and how they must be read.

use dicast::config::VerdictPolicy;
use dicast::prompt::mask::AliasMap;
use dicast::{ErrorKind, Profile, verdict};
use serde_json::{Map, Value, json};

/// The profile of a case: scores from 1 to 5 as JSON, unless it has a scale or a layout of its own.
fn profile(case: &Value) -> Profile {
    let mut profile = Profile::from_json(
        r#"{"format": 1, "name": "test", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )
    .expect("the profile is valid");
    if let Some(scale) = case.get("scale") {
        profile.scale = serde_json::from_value(scale.clone()).expect("a scale has two ends");
    }
    if let Some(layout) = case["layout"].as_str() {
        layout.clone_into(&mut profile.verdict.layout);
    }
    profile.check().expect("the profile of the case is valid");
    profile
}

/// The names of a case: the aliases if it has them, else the names of the fields that can be read.
fn names(case: &Value) -> AliasMap {
    let strings = |values: Vec<&str>| values.into_iter().map(str::to_owned).collect::<Vec<_>>();
    if let Some(map) = case["masked2real"].as_object() {
        let real = strings(map.values().filter_map(Value::as_str).collect());
        return AliasMap::new(real, map.keys().cloned().collect(), (0..map.len()).collect());
    }
    let listed = case["names"].as_array().or(case["desired_ranking"].as_array());
    let names = match (listed, case["desired_scores"].as_object()) {
        (Some(names), _) => strings(names.iter().filter_map(Value::as_str).collect()),
        (None, Some(scores)) => scores.keys().cloned().collect(),
        (None, None) => panic!("the case says no names"),
    };
    AliasMap::identity(names)
}

/// The scores and the ranking that are read from a text; null if it is an error.
fn read(case: &Value) -> (Value, Value, Value) {
    let text = case["text"].as_str().expect("a case has a text");
    let policy = case.get("policy").map_or_else(VerdictPolicy::default, |policy| {
        serde_json::from_value(policy.clone()).expect("a case has a policy that is valid")
    });
    let (json, ok) = verdict::parse_to_json(text, &names(case), &profile(case), &policy);
    let fields = if ok { &json } else { &json["error"]["partial"] };
    (fields["scores"].clone(), fields["ranking"].clone(), json)
}

/// Compares objects by content: the keys are in the order of the request.
fn same_scores(read: &Value, desired: &Value) -> bool {
    let numbers = |value: &Value| {
        value.as_object().map(|object: &Map<String, Value>| {
            let mut pairs: Vec<_> = object.iter().map(|(name, score)| (name.clone(), score.as_f64())).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            pairs
        })
    };
    numbers(read) == numbers(desired)
}

#[test]
fn every_case_is_read_as_a_sensible_reader_reads_it() {
    let cases = include_str!("data/verdicts.jsonl");
    let mut failed = Vec::new();
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.trim().is_empty()) {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        count += 1;
        let (scores, ranking, whole) = read(&case);
        if !same_scores(&scores, &case["desired_scores"]) || ranking != case["desired_ranking"] {
            failed.push(format!("{}: {whole}", case["name"]));
        }
        let complete = !case["desired_scores"].is_null() && !case["desired_ranking"].is_null();
        if complete == whole.get("error").is_some() {
            failed.push(format!("{}: complete is {complete}, but {whole}", case["name"]));
        }
        if !complete && whole["error"]["kind"] != json!(ErrorKind::InvalidVerdict.name()) {
            failed.push(format!("{}: the error is not typed", case["name"]));
        }
    }
    assert!(failed.is_empty(), "{} of {count} cases:\n{}", failed.len(), failed.join("\n"));
    assert!(count >= 2115, "{count} cases");
}
