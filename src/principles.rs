//! The library of principles and rubrics, usable by name: `principles/*.json`, one file for each family.
//!
//! A request names them as `"principle": {"named": "concise"}` and `"rubric": "code review"`; the command line as
//! `--named-principle` and `--rubric`. `dicast principles` lists them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::request::Criterion;

/// The files.
const FILES: [&str; 10] = [
    include_str!("../principles/brevity.json"),
    include_str!("../principles/code.json"),
    include_str!("../principles/creative.json"),
    include_str!("../principles/format.json"),
    include_str!("../principles/helpfulness.json"),
    include_str!("../principles/honesty.json"),
    include_str!("../principles/reasoning.json"),
    include_str!("../principles/safety.json"),
    include_str!("../principles/teaching.json"),
    include_str!("../principles/translation.json"),
];

/// The principles and rubrics of one family.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Its name.
    pub family: String,
    /// Principles by name.
    #[serde(default)]
    pub principles: BTreeMap<String, String>,
    /// Rubrics by name.
    #[serde(default)]
    pub rubrics: BTreeMap<String, Vec<Criterion>>,
}

/// All families, in the order of their names.
pub fn families() -> &'static [Family] {
    static FAMILIES: OnceLock<Vec<Family>> = OnceLock::new();
    // A file that cannot be read would be left out, but a test reads each of them.
    FAMILIES.get_or_init(|| FILES.iter().filter_map(|file| serde_json::from_str(file).ok()).collect())
}

/// The principle of a name.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] with the existing names.
pub fn principle(name: &str) -> Result<&'static str> {
    let found = families().iter().find_map(|family| family.principles.get(name));
    found.map(String::as_str).ok_or_else(|| unknown("principle", name, |family| family.principles.keys()))
}

/// The rubric of a name.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] with the existing names.
pub fn rubric(name: &str) -> Result<Vec<Criterion>> {
    let found = families().iter().find_map(|family| family.rubrics.get(name));
    found.cloned().ok_or_else(|| unknown("rubric", name, |family| family.rubrics.keys()))
}

fn unknown<I: Iterator<Item = &'static String>>(what: &str, name: &str, names: impl Fn(&'static Family) -> I) -> Error {
    let known: Vec<&str> = families().iter().flat_map(names).map(String::as_str).collect();
    let known = known.join(", ");
    Error::new(ErrorKind::InvalidRequest, format!("there is no {what} {name:?} in the library; it has {known}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_file_is_whole_and_every_name_unique() {
        let (mut principles, mut rubrics) = (HashSet::new(), HashSet::new());
        for file in FILES {
            let family: Family = serde_json::from_str(file).unwrap();
            assert!(!family.principles.is_empty() && !family.rubrics.is_empty(), "{}", family.family);
            for (name, text) in family.principles {
                assert!(text.ends_with('.') && text.len() > 40, "{name}");
                assert!(principles.insert(name));
            }
            for (name, rubric) in family.rubrics {
                crate::request::rubric::check(&rubric).unwrap();
                assert!(rubric.iter().all(|criterion| !criterion.name.is_empty()), "{name}");
                assert!(rubrics.insert(name));
            }
        }
        assert_eq!(families().len(), FILES.len());
        let listed = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/principles")).unwrap();
        let files = listed.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "json"));
        assert_eq!(files.count(), FILES.len(), "every file is part of the library");
    }

    #[test]
    fn unknown_names_list_the_known_ones() {
        let error = principle("conscise").unwrap_err();
        assert!(error.message().contains("concise") && error.message().contains("\"conscise\""), "{error}");
        assert!(rubric("concise").unwrap_err().message().contains("code review"));
    }
}
