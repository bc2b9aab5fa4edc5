//! The library of judge profiles, usable by name: `profiles/*.json`.
//!
//! They hold the form in which public judges were trained to read and write, in words of this project's own. `dicast profile
//! list` lists them, `dicast profile show NAME` prints one, `--profile NAME` judges with one.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::prompt::profile::Profile;

/// The files.
const FILES: [&str; 9] = [
    include_str!("../profiles/compassjudger-2.json"),
    include_str!("../profiles/deepseek-grm.json"),
    include_str!("../profiles/judgelrm.json"),
    include_str!("../profiles/pairwise.json"),
    include_str!("../profiles/prometheus-2.json"),
    include_str!("../profiles/prometheus-2-pairwise.json"),
    include_str!("../profiles/rm-r1.json"),
    include_str!("../profiles/single.json"),
    include_str!("../profiles/skywork-critic.json"),
];

/// A profile of the library.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Named {
    /// Which judges it is for.
    #[serde(rename = "use")]
    pub usage: String,
    /// The profile. Its own name is the one by which it is found.
    pub profile: Profile,
}

/// All of them, in the order of their names.
pub fn all() -> &'static [Named] {
    static PROFILES: OnceLock<Vec<Named>> = OnceLock::new();
    // A file that cannot be read would be left out, but a test reads each of them.
    PROFILES.get_or_init(|| FILES.iter().filter_map(|file| serde_json::from_str(file).ok()).collect())
}

/// The profile of a name.
pub fn find(name: &str) -> Option<&'static Profile> {
    all().iter().map(|named| &named.profile).find(|profile| profile.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::profile::VerdictKind;

    #[test]
    fn every_file_is_a_profile_that_is_found_by_its_name() {
        assert_eq!(all().len(), FILES.len());
        assert!(all().is_sorted_by(|a, b| a.profile.name < b.profile.name));
        for named in all() {
            named.profile.check().unwrap();
            assert!(named.profile.verdict.kind() != VerdictKind::Table && !named.usage.is_empty());
            assert_eq!(find(&named.profile.name), Some(&named.profile));
        }
        assert_eq!(find("default"), None);
    }
}
