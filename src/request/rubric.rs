//! Rubrics: several criteria, each with a weight, instead of one principle.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::JudgeRequest;
use super::node::Node;
use crate::config::{RubricMode, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::principles;

/// Most criteria of one rubric.
pub const MAX_CRITERIA: usize = 32;

/// What a criterion asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CriterionKind {
    /// A score on the judge's scale.
    #[default]
    Scale,
    /// Whether it is met: the best score for yes, the worst for no.
    YesNo,
}

/// One criterion of a rubric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// What is judged, in plain language, as a principle.
    pub criterion: String,
    /// How much it counts; 0 or more. 1 if none is given.
    #[serde(default = "one")]
    pub weight: f64,
    /// What it asks for.
    #[serde(default)]
    pub kind: CriterionKind,
    /// Its name in the verdict, unique within the rubric. Empty: its number, from 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

fn one() -> f64 {
    1.0
}

impl Criterion {
    /// A criterion with a name, a weight of 1 and a score on the scale.
    pub fn new(name: impl Into<String>, criterion: impl Into<String>) -> Self {
        Self { criterion: criterion.into(), weight: 1.0, kind: CriterionKind::Scale, name: name.into() }
    }
}

/// The name of criterion `index` in messages and verdicts.
pub(crate) fn name(rubric: &[Criterion], index: usize) -> String {
    match rubric[index].name.as_str() {
        "" => (index + 1).to_string(),
        name => name.to_owned(),
    }
}

/// Checks a rubric.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] naming the criterion and what is wrong with it.
pub(crate) fn check(rubric: &[Criterion]) -> Result<()> {
    let fail = |message: String| Err(Error::new(ErrorKind::InvalidRequest, message));
    if rubric.is_empty() {
        return fail("the rubric has no criteria: give at least one, or a principle instead".into());
    }
    if rubric.len() > MAX_CRITERIA {
        return fail(format!("the rubric has {} criteria: at most {MAX_CRITERIA} are possible", rubric.len()));
    }
    let mut seen = HashSet::new();
    for (index, criterion) in rubric.iter().enumerate() {
        let name = name(rubric, index);
        if criterion.criterion.trim().is_empty() {
            return fail(format!("criterion {name:?} of the rubric has no text"));
        }
        if !criterion.weight.is_finite() || criterion.weight < 0.0 {
            return fail(format!("the weight of criterion {name:?} is {}: it must be 0 or more", criterion.weight));
        }
        if !seen.insert(name.clone()) {
            return fail(format!("the rubric has two criteria named {name:?}"));
        }
    }
    let sum: f64 = rubric.iter().map(|criterion| criterion.weight).sum();
    if sum <= 0.0 || !sum.is_finite() {
        return fail(format!("the weights of the rubric sum to {sum}: at least one must be above 0"));
    }
    Ok(())
}

/// Reads a rubric: a list of criteria, or the name of one in the library.
pub(super) fn read(node: &Node) -> Result<Vec<Criterion>> {
    let fail = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    match node {
        Node::Text(name) => principles::rubric(name),
        Node::List(_) => {
            let json = serde_json::to_vec(node).map_err(|error| fail(format!("rubric: {error}")))?;
            crate::json::read(&json).map_err(|error| {
                let whole = error.to_string();
                let place = format!(" at line {} column {}", error.line(), error.column());
                fail(format!("rubric: {}", whole.strip_suffix(&place).unwrap_or(&whole)))
            })
        }
        other => Err(fail(format!(
            "\"rubric\" is {}: it must be a list of {{\"criterion\", \"weight\", \"kind\", \"name\"}}, or the name of a rubric",
            other.what()
        ))),
    }
}

impl JudgeRequest {
    /// The requests that a judgment of this one consists of: one for each criterion of a rubric that is judged separately,
    /// else one.
    pub(crate) fn parts(&self, settings: &Settings) -> Vec<Cow<'_, Self>> {
        if self.rubric.is_empty() {
            return vec![Cow::Borrowed(self)];
        }
        let with = |principle: String| Cow::Owned(Self { principle, rubric: Vec::new(), ..self.clone() });
        match settings.rubric_mode {
            RubricMode::Joint => vec![with(self.lead(&joint(&self.rubric)))],
            RubricMode::Separate => self.rubric.iter().map(|criterion| with(self.lead(&single(criterion)))).collect(),
        }
    }

    /// A principle after the text that applies to all criteria.
    fn lead(&self, principle: &str) -> String {
        if self.principle.is_empty() { principle.to_owned() } else { format!("{}\n\n{principle}", self.principle) }
    }
}

/// A criterion as a separate principle.
fn single(criterion: &Criterion) -> String {
    match criterion.kind {
        CriterionKind::Scale => criterion.criterion.clone(),
        CriterionKind::YesNo => format!(
            "Judge only whether each response meets this criterion. A response that meets it gets the highest score, and one \
             that does not meet it gets the lowest score; responses may have the same score.\n\n{}",
            criterion.criterion
        ),
    }
}

/// All criteria as one principle.
fn joint(rubric: &[Criterion]) -> String {
    let sum: f64 = rubric.iter().map(|criterion| criterion.weight).sum();
    let mut principle = String::from("Judge by these criteria together, each by its weight:");
    for (index, criterion) in rubric.iter().enumerate() {
        let share = criterion.weight / sum * 100.0;
        let _ = write!(principle, "\n{}. ", index + 1);
        if !criterion.name.is_empty() {
            principle.push_str(&criterion.name);
            principle.push(' ');
        }
        let _ = write!(principle, "({share:.0} %");
        if criterion.kind == CriterionKind::YesNo {
            principle.push_str(", met or not");
        }
        principle.push_str("): ");
        principle.push_str(&criterion.criterion);
    }
    principle
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn request(rubric: &str) -> Result<JudgeRequest> {
        let json = format!(r#"{{"prompt":"q","responses":{{"a":"x"}},"rubric":{rubric}}}"#);
        JudgeRequest::from_json(json.as_bytes()).and_then(|request| {
            request.check(&crate::config::Limits::default())?;
            Ok(request)
        })
    }

    fn principles(request: &JudgeRequest, mode: RubricMode) -> Vec<String> {
        let settings = Options { rubric_mode: Some(mode), ..Options::default() }.resolve().unwrap();
        request.parts(&settings).iter().map(|part| part.principle.clone()).collect()
    }

    #[test]
    fn criteria_become_principles() {
        let rubric = r#"[{"criterion":"Is it brief?","weight":3,"name":"brevity"},{"criterion":"It is polite.","kind":"yes_no"}]"#;
        let mut read = request(rubric).unwrap();
        let separate = principles(&read, RubricMode::Separate);
        assert_eq!(separate[0], "Is it brief?");
        assert!(separate[1].ends_with("\n\nIt is polite.") && separate[1].contains("the highest score"));
        let joint = "Judge by these criteria together, each by its weight:\n1. brevity (75 %): Is it brief?\n2. (25 %, met or not): \
                     It is polite.";
        assert_eq!(principles(&read, RubricMode::Joint), [joint]);
        read.principle = "For children.".into();
        assert_eq!(principles(&read, RubricMode::Separate)[0], "For children.\n\nIs it brief?");
        let again = JudgeRequest::from_json(&serde_json::to_vec(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn what_is_wrong_with_a_rubric_is_said() {
        for (rubric, wanted) in [
            ("[]", "the rubric has no criteria"),
            ("7", "\"rubric\" is 7: it must be a list of"),
            (r#"[{"criterion":"x","weight":-1}]"#, "the weight of criterion \"1\" is -1: it must be 0 or more"),
            (
                r#"[{"criterion":"x","weight":0},{"criterion":"y","weight":0}]"#,
                "sum to 0: at least one must be above 0",
            ),
            (r#"[{"criterion":" "}]"#, "criterion \"1\" of the rubric has no text"),
            (r#"[{"criterion":"x","name":"a"},{"criterion":"y","name":"a"}]"#, "two criteria named \"a\""),
            (r#"[{"criterion":"x","wieght":1}]"#, "unknown field `wieght`"),
            (r#"[{"criterion":"x","kind":"maybe"}]"#, "unknown variant `maybe`"),
            (r#"[{"weight":1}]"#, "missing field `criterion`"),
            (r#"[{"criterion":"x","weight":"heavy"}]"#, "rubric: invalid type"),
            ("\"no such rubric\"", "there is no rubric \"no such rubric\""),
        ] {
            let error = request(rubric).expect_err(rubric);
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.message().contains(wanted), "{rubric}: {error}");
        }
        let error = JudgeRequest::from_json(br#"{"prompt":"q","responses":{"a":"x"}}"#).unwrap_err();
        assert!(error.message().contains("no \"principle\""), "{error}");
    }
}
