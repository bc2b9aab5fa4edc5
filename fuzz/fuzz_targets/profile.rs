//! The reader of judge profiles: an accepted profile can be written, read again and used.

#![no_main]

use dicast::config::VerdictPolicy;
use dicast::prompt::mask::AliasMap;
use dicast::{Profile, verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &str| {
    let Ok(profile) = Profile::from_json(json) else { return };
    let written = serde_json::to_string(&profile).expect("a profile can be written");
    assert_eq!(Profile::from_json(&written).expect("a written profile can be read"), profile);
    let names = AliasMap::identity(vec!["a".into(), "b".into()]);
    let text = r#"<think>x</think>{"scores": {"a": 1, "b": 2}, "best-to-worst": ["b", "a"]}"#;
    let _ = verdict::parse(text, &names, &profile, &VerdictPolicy::default());
});
