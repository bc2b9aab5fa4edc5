//! The reader of verdicts: no panic, bounded work, and every verdict keeps the promise (all names, scores on the scale, a
//! permutation). The first byte chooses names and policy; the rest is the judge's output.

#![no_main]

use std::collections::BTreeSet;

use dicast::config::{Incomplete, VerdictPolicy};
use dicast::prompt::mask::AliasMap;
use dicast::{Profile, verdict};
use libfuzzer_sys::fuzz_target;

const PROFILE: &str = r#"{"format": 1, "name": "fuzz", "system_prompt": "Judge.", "reasoning": {"open": "<think>", "close": "</think>"}}"#;

fn names(choice: u8) -> AliasMap {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    match choice % 4 {
        0 => AliasMap::new(owned(&["a", "b", "c"]), owned(&["model-1", "model-2", "model-3"]), vec![2, 0, 1]),
        1 => AliasMap::identity(owned(&["O'Brien", "modèle", "😀", "gpt-4", "gpt-4o"])),
        2 => AliasMap::identity(owned(&["x"])),
        _ => {
            let numbered = |prefix: &str| (1..=12).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
            AliasMap::new(numbered("r"), numbered("model-"), (0..12).rev().collect())
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let profile = Profile::from_json(PROFILE).expect("the profile is valid");
    let mut policy = VerdictPolicy::default();
    policy.incomplete = if choice & 4 == 0 { Incomplete::Error } else { Incomplete::DeriveRanking };
    (policy.clamp, policy.rescale) = (choice & 8 != 0, choice & 16 != 0);
    let names = names(choice);
    match verdict::parse(&text, &names, &profile, &policy) {
        Ok(read) => {
            let listed: Vec<_> = read.scores.iter().map(|scored| scored.name.as_str()).collect();
            assert_eq!(listed, names.names());
            assert!(read.scores.iter().all(|scored| profile.scale.contains(scored.score)));
            let ranked: BTreeSet<_> = read.ranking.iter().copied().collect();
            assert_eq!((ranked.len(), read.ranking.len()), (names.len(), names.len()));
            assert!(ranked.iter().all(|&index| index < names.len()));
            assert_eq!(read.raw, text);
        }
        Err(error) => {
            let partial = error.partial().expect("what could be read");
            if let Some(scores) = &partial.scores {
                assert_eq!(scores.len(), names.len());
                assert!(scores.iter().all(|(_, score)| profile.scale.contains(*score)));
            }
            assert!(partial.ranking.as_ref().is_none_or(|ranking| ranking.len() == names.len()));
            assert!(partial.scores.is_none() || partial.ranking.is_none());
        }
    }
});
