//! Inputs on which a fuzz target once failed, one folder a target: each must end in a verdict or a typed error.

use std::fs;
use std::path::PathBuf;

use dicast::config::{Incomplete, VerdictPolicy};
use dicast::prompt::mask::AliasMap;
use dicast::prompt::messages::Message;
use dicast::prompt::template::{ChatTemplate, Segment};
use dicast::{JudgeRequest, Profile, verdict};

/// The inputs of one target, with their names.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/fuzz-regressions").join(target);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths.map(|path| (path.display().to_string(), fs::read(&path).expect("a readable file"))).collect()
}

#[test]
fn texts_that_broke_the_parser_are_read() {
    let profile = Profile::from_json(
        r#"{"format": 1, "name": "test", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#,
    )
    .expect("the profile is valid");
    let numbered = |prefix: &str| (1..=12).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
    let maps = [
        AliasMap::new(numbered("r"), numbered("model-"), (0..12).rev().collect()),
        AliasMap::identity(["O'Brien", "modèle", "😀", "gpt-4", "gpt-4o"].map(str::to_owned).to_vec()),
        AliasMap::identity(vec!["x".to_owned()]),
    ];
    let inputs = inputs("parser");
    assert!(!inputs.is_empty());
    for (name, bytes) in inputs {
        // In the fuzz target, the first byte chooses names and policy: here all are tried.
        let text = String::from_utf8_lossy(&bytes[1..]).into_owned();
        for names in &maps {
            for (incomplete, clamp) in [(Incomplete::Error, false), (Incomplete::DeriveRanking, true)] {
                let mut policy = VerdictPolicy::default();
                (policy.incomplete, policy.clamp, policy.rescale) = (incomplete, clamp, clamp);
                match verdict::parse(&text, names, &profile, &policy) {
                    Ok(read) => assert_eq!(read.scores.len(), names.len(), "{name}"),
                    Err(error) => assert!(error.partial().is_some(), "{name}"),
                }
            }
        }
    }
}

#[test]
fn chat_templates_that_broke_the_renderer_are_taken_or_refused() {
    let inputs = inputs("template");
    assert!(!inputs.is_empty());
    for (name, bytes) in inputs {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (source, written) = text.split_once('\u{1F}').unwrap_or((&text, "Hello"));
        let Ok(template) = ChatTemplate::new(source, Some("<s>"), Some("</s>")) else { continue };
        let messages = [Message { role: "user", content: written.to_owned() }];
        if let Ok(segments) = template.render(&messages, true) {
            let texts = segments.iter().filter(|part| matches!(part, Segment::Text(_))).count();
            assert_eq!(texts, messages.len(), "{name}");
        }
    }
}

#[test]
fn documents_that_broke_the_other_readers_are_read() {
    for (_, bytes) in inputs("profile") {
        let _ = Profile::from_json(&String::from_utf8_lossy(&bytes));
    }
    for (_, bytes) in inputs("request") {
        let _ = JudgeRequest::from_json(&bytes);
    }
}
