//! Reading a verdict back from its JSON form.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::{Flag, Repair, Scored, Timing, Usage, Verdict};

/// The JSON form. Keys of later releases are ignored.
#[derive(serde::Deserialize)]
struct Form {
    scores: Pairs<f64>,
    #[serde(default)]
    expected_scores: Pairs<Option<f64>>,
    #[serde(default)]
    distributions: Pairs<Option<Vec<f64>>>,
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
    raw: String,
}

/// Reads what [`Serialize`](serde::Serialize) writes. A verdict that is not complete is an error: each name has a score and
/// one place in the ranking. The scale is not part of the JSON, so scores are only checked to be numbers.
impl<'de> Deserialize<'de> for Verdict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = Form::deserialize(deserializer)?;
        let (mut expected, mut distributions) = (form.expected_scores, form.distributions);
        let scores: Vec<_> = form
            .scores
            .0
            .into_iter()
            .map(|(name, score)| {
                let expected = expected.take(&name).flatten();
                let distribution = distributions.take(&name).flatten();
                Scored { name, score, expected, distribution }
            })
            .collect();
        if let Some(name) = expected.names().chain(distributions.names()).next() {
            return Err(de::Error::custom(format_args!(
                "{name:?} has an expected score or a distribution, but no score"
            )));
        }
        let ranking = places(&scores, &form.ranking).map_err(de::Error::custom)?;
        Ok(Self {
            scores,
            ranking,
            reasoning: form.reasoning,
            repairs: form.repairs,
            flags: form.flags,
            aliases: form.aliases.0,
            usage: form.usage,
            timing: form.timing_ms,
            raw: form.raw,
        })
    }
}

/// The indices of the ranked names.
fn places(scores: &[Scored], ranking: &[String]) -> Result<Vec<usize>, String> {
    let mut places = Vec::with_capacity(ranking.len());
    for name in ranking {
        let index = scores.iter().position(|scored| scored.name == *name);
        let index = index.ok_or_else(|| format!("the ranking has {name:?}, which has no score"))?;
        if places.contains(&index) {
            return Err(format!("the ranking has {name:?} twice"));
        }
        places.push(index);
    }
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
            raw: "hm\n{}".into(),
        }
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
