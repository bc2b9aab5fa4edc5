//! Reading a verdict back from its JSON form.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{
    BlockOutcome, BlockTable, CriterionVerdict, Ensemble, Flag, PlaceEffect, Preference, Preferences, Repair, Rewards,
    RubricTable, RunOutcome, Scored, Timing, Usage, Verdict,
};
use crate::config::{RankRule, Reward, RubricMerge};
use crate::request::{Criterion, CriterionKind};

/// The JSON form. Keys of later releases are ignored.
#[derive(serde::Deserialize)]
struct Form {
    scores: Pairs<f64>,
    #[serde(default)]
    expected_scores: Pairs<Option<f64>>,
    #[serde(default)]
    distributions: Pairs<Option<Vec<f64>>>,
    #[serde(default)]
    scale_mass: Pairs<Option<f64>>,
    ranking: Vec<String>,
    #[serde(default)]
    reasoning: String,
    #[serde(default)]
    repairs: Vec<Repair>,
    #[serde(default)]
    flags: Vec<Flag>,
    #[serde(default)]
    aliases: Pairs<String>,
    #[serde(default)]
    usage: Usage,
    #[serde(default)]
    timing_ms: Timing,
    #[serde(default)]
    weights: u64,
    #[serde(default)]
    raw: String,
    ensemble: Option<EnsembleForm>,
    blocks: Option<BlocksForm>,
    rubric: Option<RubricForm>,
    rewards: Option<RewardsForm>,
    preferences: Option<PreferencesForm>,
}

#[derive(serde::Deserialize)]
struct RubricForm {
    merge: RubricMerge,
    criteria: Vec<CriterionForm>,
}

#[derive(serde::Deserialize)]
struct CriterionForm {
    name: String,
    criterion: String,
    weight: f64,
    kind: CriterionKind,
    values: Pairs<f64>,
    verdict: Verdict,
}

impl RubricForm {
    fn read(self, scores: &[Scored]) -> Result<RubricTable, String> {
        let row = |form: CriterionForm| {
            let CriterionForm { name, criterion, weight, kind, values, verdict } = form;
            let values = values.in_order(scores)?;
            Ok(CriterionVerdict { criterion: Criterion { criterion, weight, kind, name }, values, verdict })
        };
        let criteria = self.criteria.into_iter().map(row).collect::<Result<_, String>>()?;
        Ok(RubricTable { merge: self.merge, criteria })
    }
}

#[derive(serde::Deserialize)]
struct EnsembleForm {
    orders: usize,
    samples: usize,
    stopped_early: bool,
    standard_errors: Pairs<Option<f64>>,
    rank_rule: RankRule,
    exact: bool,
    kendall_w: Option<f64>,
    top_agreement: f64,
    places: Vec<PlaceEffect>,
    runs: Vec<RunForm>,
    failed: Vec<String>,
}

#[derive(serde::Deserialize)]
struct RunForm {
    order: Vec<String>,
    scores: Pairs<f64>,
    expected_scores: Pairs<Option<f64>>,
    ranking: Vec<String>,
    #[serde(default)]
    raw: String,
    blocks: Option<BlocksForm>,
}

#[derive(serde::Deserialize)]
struct BlocksForm {
    anchors: Vec<String>,
    clipped: Vec<String>,
    blocks: Vec<BlockForm>,
}

#[derive(serde::Deserialize)]
struct BlockForm {
    order: Vec<String>,
    scores: Pairs<f64>,
    expected_scores: Pairs<Option<f64>>,
    ranking: Vec<String>,
    shift: f64,
    #[serde(default)]
    raw: String,
}

impl BlocksForm {
    fn read(self, scores: &[Scored]) -> Result<Box<BlockTable>, String> {
        let block = |form: BlockForm| {
            let (order, ranking) = (indices(scores, &form.order)?, indices(scores, &form.ranking)?);
            if ranking.len() != order.len() || !ranking.iter().all(|index| order.contains(index)) {
                return Err("the ranking of a block does not hold the responses that it showed".to_owned());
            }
            let (scores, expected) = (form.scores.by_names(&form.order)?, form.expected_scores.by_names(&form.order)?);
            Ok(BlockOutcome { order, scores, expected, ranking, shift: form.shift, raw: form.raw })
        };
        Ok(Box::new(BlockTable {
            anchors: indices(scores, &self.anchors)?,
            clipped: indices(scores, &self.clipped)?,
            blocks: self.blocks.into_iter().map(block).collect::<Result<_, String>>()?,
        }))
    }
}

#[derive(serde::Deserialize)]
struct RewardsForm {
    kind: Reward,
    values: Pairs<f64>,
    spreads: Pairs<Option<f64>>,
}

#[derive(serde::Deserialize)]
struct PreferencesForm {
    error_rate: Option<f64>,
    threshold: f64,
    wins: Pairs<f64>,
    #[serde(default)]
    pairs: Vec<PreferenceForm>,
}

#[derive(serde::Deserialize)]
struct PreferenceForm {
    first: String,
    second: String,
    probability: f64,
    better: Option<String>,
}

impl PreferencesForm {
    fn read(self, scores: &[Scored]) -> Result<Preferences, String> {
        let index = |name: &str| {
            let index = scores.iter().position(|scored| scored.name == name);
            index.ok_or_else(|| format!("a preference has {name:?}, which has no score"))
        };
        let pair = |form: PreferenceForm| {
            let (first, second) = (index(&form.first)?, index(&form.second)?);
            let better = form.better.as_deref().map(index).transpose()?;
            if first == second || better.is_some_and(|better| better != first && better != second) {
                let PreferenceForm { first, second, .. } = form;
                return Err(format!("the preference of {first:?} and {second:?} is not one of these two"));
            }
            Ok(Preference { first, second, probability: form.probability, better })
        };
        Ok(Preferences {
            error_rate: self.error_rate,
            threshold: self.threshold,
            wins: self.wins.in_order(scores)?,
            pairs: self.pairs.into_iter().map(pair).collect::<Result<_, String>>()?,
        })
    }
}

impl EnsembleForm {
    fn read(self, scores: &[Scored]) -> Result<Ensemble, String> {
        let run = |run: RunForm| {
            Ok(RunOutcome {
                order: places(scores, &run.order)?,
                scores: run.scores.in_order(scores)?,
                expected: run.expected_scores.in_order(scores)?,
                ranking: places(scores, &run.ranking)?,
                raw: run.raw,
                blocks: run.blocks.map(|blocks| blocks.read(scores)).transpose()?,
            })
        };
        Ok(Ensemble {
            orders: self.orders,
            samples: self.samples,
            runs: self.runs.into_iter().map(run).collect::<Result<_, String>>()?,
            failed: self.failed,
            stopped_early: self.stopped_early,
            standard_errors: self.standard_errors.in_order(scores)?,
            rank_rule: self.rank_rule,
            exact: self.exact,
            kendall_w: self.kendall_w,
            top_agreement: self.top_agreement,
            places: self.places,
        })
    }
}

/// Reads what [`Serialize`](serde::Serialize) writes. A verdict that is not complete is an error: each name has a score and
/// one place in the ranking. The scale is not part of the JSON, so scores are only checked to be numbers.
impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let (mut expected, mut distributions, mut masses) = (form.expected_scores, form.distributions, form.scale_mass);
        let scores: Vec<_> = form
            .scores
            .0
            .into_iter()
            .map(|(name, score)| {
                let expected = expected.take(&name).flatten();
                let distribution = distributions.take(&name).flatten();
                let mass = masses.take(&name).flatten();
                Scored { name, score, expected, distribution, mass }
            })
            .collect();
        if let Some(name) = expected.names().chain(distributions.names()).chain(masses.names()).next() {
            return Err(de::Error::custom(format_args!(
                "{name:?} has an expected score, a distribution or a mass, but no score"
            )));
        }
        let ranking = places(&scores, &form.ranking).map_err(de::Error::custom)?;
        let ensemble = form.ensemble.map(|ensemble| ensemble.read(&scores).map(Box::new));
        let blocks = form.blocks.map(|blocks| blocks.read(&scores));
        let rubric = form.rubric.map(|rubric| rubric.read(&scores).map(Box::new));
        let rewards = form.rewards.map(|RewardsForm { kind, values, spreads }| {
            let (values, spreads) = (values.in_order(&scores)?, spreads.in_order(&scores)?);
            Ok(Box::new(Rewards { kind, values, spreads }))
        });
        let preferences = form.preferences.map(|preferences| preferences.read(&scores).map(Box::new));
        Ok(Self {
            ensemble: ensemble.transpose().map_err(de::Error::custom)?,
            blocks: blocks.transpose().map_err(de::Error::custom)?,
            rubric: rubric.transpose().map_err(de::Error::custom)?,
            rewards: rewards.transpose().map_err(de::Error::custom::<String>)?,
            preferences: preferences.transpose().map_err(de::Error::custom)?,
            scores,
            ranking,
            reasoning: form.reasoning,
            repairs: form.repairs,
            flags: form.flags,
            aliases: form.aliases.0,
            usage: form.usage,
            timing: form.timing_ms,
            weights: form.weights,
            raw: form.raw,
        })
    }
}

/// The indices of names that a list has, each once.
fn indices(scores: &[Scored], names: &[String]) -> Result<Vec<usize>, String> {
    let mut indices = Vec::with_capacity(names.len());
    for name in names {
        let index = scores.iter().position(|scored| scored.name == *name);
        let index = index.ok_or_else(|| format!("the ranking has {name:?}, which has no score"))?;
        if indices.contains(&index) {
            return Err(format!("the ranking has {name:?} twice"));
        }
        indices.push(index);
    }
    Ok(indices)
}

/// The indices of the ranked names.
fn places(scores: &[Scored], ranking: &[String]) -> Result<Vec<usize>, String> {
    let places = indices(scores, ranking)?;
    let missing = (0..scores.len()).find(|index| !places.contains(index));
    missing.map_or(Ok(places), |index| Err(format!("the ranking lacks {:?}", scores[index].name)))
}

impl<'de> Deserialize<'de> for Timing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Milliseconds {
            queue: f64,
            prefill: f64,
            reasoning: f64,
            verdict: f64,
        }

        let ms = Milliseconds::deserialize(deserializer)?;
        let time = |ms: f64| {
            Duration::try_from_secs_f64(ms / 1e3)
                .map_err(|_| de::Error::custom(format_args!("timing_ms has {ms}: it must be a number, 0 or more")))
        };
        Ok(Self {
            queue: time(ms.queue)?,
            prefill: time(ms.prefill)?,
            reasoning: time(ms.reasoning)?,
            verdict: time(ms.verdict)?,
        })
    }
}

/// An object in its order, each name once.
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pairs<T> {
    fn take(&mut self, name: &str) -> Option<T> {
        let place = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(place).1)
    }

    /// The values in the order of the scores, one for each.
    fn in_order(self, scores: &[Scored]) -> Result<Vec<T>, String> {
        self.of(scores.iter().map(|scored| scored.name.as_str()))
    }

    /// The values in the order of these names, one for each.
    fn by_names(self, names: &[String]) -> Result<Vec<T>, String> {
        self.of(names.iter().map(String::as_str))
    }

    fn of<'a>(mut self, names: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<T>, String> {
        if self.0.len() != names.len() {
            return Err(format!("a list has {} names, but there are {} scores", self.0.len(), names.len()));
        }
        names.map(|name| self.take(name).ok_or_else(|| format!("a list lacks {name:?}"))).collect()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Ordered<T> {
            type Value = Pairs<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if pairs.iter().any(|(other, _)| *other == name) {
                        return Err(de::Error::custom(format_args!("the name {name:?} is given twice")));
                    }
                    pairs.push((name, value));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Ordered(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        let scored = |name: &str, score, expected, distribution: Option<&[f64]>| Scored {
            name: name.into(),
            score,
            expected,
            distribution: distribution.map(<[f64]>::to_vec),
            mass: expected.map(|expected: f64| expected / 8.0),
        };
        Verdict {
            scores: vec![scored("z", 4.0, Some(3.75), Some(&[0.25, 0.75])), scored("", 2.5, None, None)],
            ranking: vec![1, 0],
            reasoning: "hm\n".into(),
            repairs: vec![Repair::TextAround, Repair::Key("Scores".into())],
            flags: vec![Flag::InconsistentRanking, Flag::DroppedName("x".into())],
            aliases: vec![("model-1".into(), String::new()), ("model-2".into(), "z".into())],
            usage: Usage { prompt_tokens: 10, verdict_tokens: 7, ..Usage::default() },
            timing: Timing { queue: Duration::from_micros(1500), ..Timing::default() },
            weights: 3,
            raw: "hm\n{}".into(),
            ensemble: None,
            blocks: None,
            rubric: None,
            rewards: None,
            preferences: None,
        }
    }

    #[test]
    fn a_verdict_of_several_runs_is_what_it_was_after_json() {
        let block = |order: &[usize], shift| BlockOutcome {
            order: order.to_vec(),
            scores: order.iter().map(|&index| if index == 0 { 4.0 } else { 2.5 }).collect(),
            expected: vec![Some(3.5); order.len()],
            ranking: order.iter().rev().copied().collect(),
            shift,
            raw: "{}".into(),
        };
        let table =
            BlockTable { anchors: vec![0], clipped: vec![1], blocks: vec![block(&[1, 0], 0.25), block(&[0], -0.25)] };
        let run = RunOutcome {
            order: vec![1, 0],
            scores: vec![4.0, 3.0],
            expected: vec![Some(3.5), None],
            ranking: vec![0, 1],
            raw: "{}".into(),
            blocks: Some(Box::new(table.clone())),
        };
        let ensemble = Ensemble {
            orders: 2,
            samples: 1,
            runs: vec![run],
            failed: vec!["run 2: engine: broken".into()],
            stopped_early: true,
            standard_errors: vec![Some(0.5), None],
            rank_rule: RankRule::Borda,
            exact: false,
            kendall_w: Some(0.25),
            top_agreement: 1.0,
            places: vec![PlaceEffect { score: 0.5, first: 1.0 }, PlaceEffect { score: -0.5, first: 0.0 }],
        };
        let rewards = Rewards { kind: Reward::Win, values: vec![0.75, 0.25], spreads: vec![Some(0.5), None] };
        let pair = Preference { first: 0, second: 1, probability: 0.75, better: None };
        let preferences =
            Preferences { error_rate: Some(0.1), threshold: 0.5, wins: vec![0.75, 0.25], pairs: vec![pair] };
        let row = CriterionVerdict {
            criterion: Criterion { kind: CriterionKind::YesNo, ..Criterion::new("n", "x") },
            values: vec![0.5, 1.0],
            verdict: verdict(),
        };
        let merged = Verdict {
            ensemble: Some(Box::new(ensemble)),
            blocks: Some(Box::new(table)),
            rubric: Some(Box::new(RubricTable { merge: RubricMerge::Min, criteria: vec![row] })),
            rewards: Some(Box::new(rewards)),
            preferences: Some(Box::new(preferences)),
            ..verdict()
        };
        let json = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), merged);
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert!(keys.keys().eq(Verdict::KEYS));
        let other = json.replacen(r#""order":["z"]"#, r#""order":[""]"#, 1);
        let error = serde_json::from_str::<Verdict>(&other).unwrap_err().to_string();
        assert!(error.contains("the ranking of a block does not hold the responses that it showed"), "{error}");
        let short = json.replacen(r#""standard_errors":{"z":0.5,"":null}"#, r#""standard_errors":{"z":0.5}"#, 1);
        assert!(serde_json::from_str::<Verdict>(&short).unwrap_err().to_string().contains("a list has 1 name"));
    }

    #[test]
    fn a_verdict_is_what_it_was_after_json() {
        let json = serde_json::to_string(&verdict()).unwrap();
        let again: Verdict = serde_json::from_str(&json).unwrap();
        assert_eq!(again, verdict());
        assert_eq!(serde_json::to_string(&again).unwrap(), json);
    }

    #[test]
    fn a_verdict_in_json_that_is_not_complete_is_an_error() {
        let whole = serde_json::to_string(&verdict()).unwrap();
        for (from, to, wanted) in [
            (r#""ranking":["","z"]"#, r#""ranking":["z"]"#, r#"the ranking lacks """#),
            (r#""ranking":["","z"]"#, r#""ranking":["z","z"]"#, r#"the ranking has "z" twice"#),
            (r#""ranking":["","z"]"#, r#""ranking":["z","y"]"#, r#"the ranking has "y", which has no score"#),
            (r#""scores":{"z":4,"":2.5}"#, r#""scores":{"z":4,"z":4}"#, r#"the name "z" is given twice"#),
            (r#""scores":{"z":4,"":2.5}"#, r#""scores":{"z":4}"#, r#""" has an expected score"#),
            (r#""scores":{"z":4,"":2.5}"#, r#""scores":{"z":4,"":null}"#, "expected f64"),
            (r#""queue":1.5"#, r#""queue":-1.5"#, "timing_ms has -1.5"),
            (r#""text_around""#, r#""of a later release""#, "unknown variant"),
        ] {
            let json = whole.replacen(from, to, 1);
            assert_ne!(json, whole, "{from}");
            let error = serde_json::from_str::<Verdict>(&json).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let short = r#"{"scores": {"a": 3}, "ranking": ["a"], "of_a_later_release": 1}"#;
        assert_eq!(serde_json::from_str::<Verdict>(short).unwrap().score("a"), Some(3.0));
    }
}
