//! Items of benchmarks: a request, and the known order of its responses.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::config::Mask;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{Criterion, JudgeRequest, Response};

/// Where an item comes from, known by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Benchmark {
    /// `prompt`, three `chosen`, three `rejected` from plain to styled, `domain`.
    RmBench,
    /// `question`, `response_A`, `response_B`, `label` (`A>B` or `B>A`).
    JudgeBench,
    /// `prompt`, one or more `chosen`, one or more `rejected`: `RewardBench` 1 and 2, and preferences of your own.
    Preferences,
    /// `prompt`, `responses` by name, and `ranking`, `best-to-worst`, `scores` or `best` alone: rankings as those of `RABench`.
    Rankings,
}

impl Benchmark {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::RmBench => "rm-bench",
            Self::JudgeBench => "judge-bench",
            Self::Preferences => "preferences",
            Self::Rankings => "rankings",
        }
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::RmBench, Self::JudgeBench, Self::Preferences, Self::Rankings];
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What items are judged by that have neither a principle nor a rubric.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct JudgedBy {
    /// The principle; with a rubric the text before each criterion, which may be empty.
    pub principle: String,
    /// The rubric; empty: the principle alone.
    pub rubric: Vec<Criterion>,
}

impl JudgedBy {
    /// A principle, and a rubric or an empty list.
    pub fn new(principle: impl Into<String>, rubric: Vec<Criterion>) -> Self {
        Self { principle: principle.into(), rubric }
    }
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Where it comes from.
    pub benchmark: Benchmark,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Its domain, subset, source or family; empty where it has none.
    pub group: String,
    /// What is judged.
    pub request: JudgeRequest,
    /// How good each response is known to be, in the order of the request: only the order and equality count.
    pub relevance: Vec<f64>,
}

impl Item {
    /// Reads an item from a line of JSON. An item with a `principle` or a `rubric` is judged by these alone, others by
    /// `otherwise`. `benchmark` says what the item is, instead of its fields.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the field and what is wrong with it.
    pub fn from_json(json: &[u8], benchmark: Option<Benchmark>, otherwise: &JudgedBy) -> Result<Self> {
        let value: Value =
            crate::json::read(json).map_err(|error| invalid(format!("the item is not valid JSON: {error}")))?;
        let Value::Object(fields) = value else { return Err(invalid("the item is not a JSON object")) };
        let fields = Fields(fields);
        let benchmark = benchmark.map_or_else(|| fields.benchmark(), Ok)?;
        let (responses, relevance) = match benchmark {
            Benchmark::JudgeBench => fields.judge_bench()?,
            Benchmark::Rankings => fields.ranking()?,
            Benchmark::RmBench | Benchmark::Preferences => fields.preferences(benchmark)?,
        };
        let prompt =
            if benchmark == Benchmark::JudgeBench { fields.prompt("question")? } else { fields.prompt("prompt")? };
        let JudgedBy { principle, rubric } = fields.judged_by()?.unwrap_or_else(|| otherwise.clone());
        let mut request = JudgeRequest { principle, rubric, prompt, responses, ..JudgeRequest::default() };
        if benchmark == Benchmark::JudgeBench {
            // As the benchmark asks for: in both orders.
            (request.options.orders, request.options.mask) = (Some(2), Some(Mask::Given));
        }
        let group = ["domain", "subset", "source", "family", "group"].into_iter().find_map(|key| fields.0.get(key));
        let id = ["id", "pair_id"].into_iter().find_map(|key| fields.0.get(key)).map(plain);
        Ok(Self { benchmark, id, group: group.map(plain).unwrap_or_default(), request, relevance })
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

/// A value as text without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Reads fields as a request has them.
fn as_request(fields: &Value) -> Result<JudgeRequest> {
    JudgeRequest::from_json(fields.to_string().as_bytes())
}

struct Fields(Map<String, Value>);

type Known = (Vec<Response>, Vec<f64>);

impl Fields {
    fn benchmark(&self) -> Result<Benchmark> {
        let has = |key: &str| self.0.contains_key(key);
        let three = |key: &str| self.0.get(key).and_then(Value::as_array).is_some_and(|list| list.len() == 3);
        if has("response_A") || has("response_B") {
            Ok(Benchmark::JudgeBench)
        } else if has("chosen") || has("rejected") {
            let rm = has("domain") && three("chosen") && three("rejected");
            Ok(if rm { Benchmark::RmBench } else { Benchmark::Preferences })
        } else if has("responses") {
            Ok(Benchmark::Rankings)
        } else {
            Err(invalid(
                "the item has none of the fields \"chosen\", \"response_A\" and \"responses\": it belongs to no known benchmark \
                 (rm-bench, judge-bench, preferences, rankings)",
            ))
        }
    }

    fn get(&self, key: &str) -> Result<&Value> {
        self.0.get(key).ok_or_else(|| invalid(format!("the item has no {key:?}")))
    }

    fn text(&self, key: &str) -> Result<String> {
        match self.get(key)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(invalid(format!("{key:?} is {}: it must be text", crate::config::shown(other)))),
        }
    }

    /// A text or a conversation.
    fn prompt(&self, key: &str) -> Result<String> {
        let request = as_request(&json!({ "principle": "", "prompt": self.get(key)?, "responses": [""] }));
        request
            .map(|request| request.prompt)
            .map_err(|error| invalid(error.message().replace("\"prompt\"", &format!("{key:?}"))))
    }

    /// The principle and the rubric of the item, if it has one of them.
    fn judged_by(&self) -> Result<Option<JudgedBy>> {
        let given = |key: &str| self.0.get(key).filter(|value| !value.is_null());
        let (principle, rubric) = (given("principle"), given("rubric"));
        if principle.is_none() && rubric.is_none() {
            return Ok(None);
        }
        let principle = principle.cloned().unwrap_or_else(|| "".into());
        let JudgeRequest { principle, rubric, .. } =
            as_request(&json!({ "principle": principle, "rubric": rubric, "prompt": "", "responses": [""] }))?;
        Ok(Some(JudgedBy { principle, rubric }))
    }

    /// One text, or a list of them.
    fn texts(&self, key: &str) -> Result<Vec<String>> {
        let wrong = |value: &Value| {
            invalid(format!("{key:?} is {}: it must be text, or a list of texts", crate::config::shown(value)))
        };
        match self.get(key)? {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(list) if !list.is_empty() => {
                list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(|| wrong(one))).collect()
            }
            other => Err(wrong(other)),
        }
    }

    fn preferences(&self, benchmark: Benchmark) -> Result<Known> {
        let (chosen, rejected) = (self.texts("chosen")?, self.texts("rejected")?);
        if benchmark == Benchmark::RmBench && (chosen.len() != 3 || rejected.len() != 3) {
            return Err(invalid(format!(
                "an item of rm-bench must have 3 chosen and 3 rejected responses, but this one has {} and {}",
                chosen.len(),
                rejected.len()
            )));
        }
        let relevance = [vec![1.0; chosen.len()], vec![0.0; rejected.len()]].concat();
        let named = |name: &'static str, texts: Vec<String>| {
            let texts = texts.into_iter().enumerate();
            texts.map(move |(index, text)| Response { name: format!("{name}-{}", index + 1), text })
        };
        Ok((named("chosen", chosen).chain(named("rejected", rejected)).collect(), relevance))
    }

    fn judge_bench(&self) -> Result<Known> {
        let response = |name: &str, key: &str| Ok::<_, Error>(Response { name: name.into(), text: self.text(key)? });
        let responses = vec![response("A", "response_A")?, response("B", "response_B")?];
        let relevance = match self.text("label")?.as_str() {
            "A>B" => vec![1.0, 0.0],
            "B>A" => vec![0.0, 1.0],
            other => return Err(invalid(format!("\"label\" is {other:?}: it must be A>B or B>A"))),
        };
        Ok((responses, relevance))
    }

    fn ranking(&self) -> Result<Known> {
        let Value::Object(texts) = self.get("responses")? else {
            return Err(invalid("\"responses\" must be an object {name: text}"));
        };
        let mut responses = Vec::with_capacity(texts.len());
        for (name, text) in texts {
            let text = text.as_str().ok_or_else(|| {
                invalid(format!("response {name:?} is {}: it must be text", crate::config::shown(text)))
            })?;
            responses.push(Response { name: name.clone(), text: text.into() });
        }
        let has = |key: &str| self.0.contains_key(key);
        let relevance = if !has("scores") && !has("ranking") && !has("best-to-worst") && has("best") {
            let best = self.text("best")?;
            if !responses.iter().any(|response| response.name == best) {
                return Err(invalid(format!("\"best\" is {best:?}, which is not one of the responses")));
            }
            responses.iter().map(|response| f64::from(u8::from(response.name == best))).collect()
        } else if let Some(scores) = self.0.get("scores") {
            let score = |name: &str| {
                scores[name].as_f64().ok_or_else(|| invalid(format!("\"scores\" has no number for response {name:?}")))
            };
            responses.iter().map(|response| score(&response.name)).collect::<Result<Vec<_>>>()?
        } else {
            let key = if self.0.contains_key("best-to-worst") { "best-to-worst" } else { "ranking" };
            let ranked = self.texts(key).map_err(|error| {
                if self.0.contains_key(key) {
                    error
                } else {
                    invalid("the item has no \"ranking\", \"best-to-worst\", \"scores\" or \"best\": the order of its responses is not known")
                }
            })?;
            let count = u32::try_from(ranked.len()).map_or(f64::INFINITY, f64::from);
            if ranked.len() != responses.len() {
                return Err(invalid(format!("{key:?} has {count} names, but there are {} responses", responses.len())));
            }
            let place = |name: &str| {
                let place = ranked.iter().position(|ranked| ranked == name);
                let place = place.ok_or_else(|| invalid(format!("{key:?} lacks response {name:?}")))?;
                Ok(count - u32::try_from(place).map_or(f64::NAN, f64::from))
            };
            responses.iter().map(|response| place(&response.name)).collect::<Result<Vec<_>>>()?
        };
        Ok((responses, relevance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Item> {
        Item::from_json(json.as_bytes(), None, &JudgedBy::new("Be right.", Vec::new()))
    }

    #[test]
    fn items_are_known_by_their_fields() {
        let rm =
            read(r#"{"id":7,"prompt":"q","chosen":["a","b","c"],"rejected":["d","e","f"],"domain":"chat"}"#).unwrap();
        assert_eq!((rm.benchmark, rm.id.as_deref(), rm.group.as_str()), (Benchmark::RmBench, Some("7"), "chat"));
        assert_eq!(rm.relevance, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(rm.request.responses[3].name, "rejected-1");
        assert_eq!(rm.request.principle, "Be right.");
        let reward =
            read(r#"{"prompt":"q","chosen":"a","rejected":["d","e","f"],"subset":"x","principle":"p"}"#).unwrap();
        assert_eq!((reward.benchmark, reward.request.principle.as_str()), (Benchmark::Preferences, "p"));
        let judge = r#"{"pair_id":"p1","source":"s","question":"q","response_A":"a","response_B":"b","label":"B>A"}"#;
        let judge = read(judge).unwrap();
        assert_eq!((judge.relevance, judge.request.options.orders), (vec![0.0, 1.0], Some(2)));
        let ranking =
            read(r#"{"prompt":[{"role":"user","content":"q"}],"responses":{"x":"1","y":"2"},"ranking":["y","x"]}"#);
        let ranking = ranking.unwrap();
        assert_eq!((ranking.request.prompt.as_str(), ranking.relevance), ("q", vec![1.0, 2.0]));
        let scored = read(r#"{"prompt":"q","responses":{"x":"1","y":"2"},"scores":{"x":3,"y":3}}"#).unwrap();
        assert_eq!(scored.relevance, [3.0, 3.0]);
        let best = read(r#"{"prompt":"q","responses":{"x":"1","y":"2"},"best":"y"}"#).unwrap();
        assert_eq!(best.relevance, [0.0, 1.0]);
    }

    #[test]
    fn a_rubric_of_an_item_takes_the_place_of_the_principle() {
        let item = |by: &str| format!(r#"{{"prompt":"q","chosen":"a","rejected":"b"{by}}}"#);
        let by_default = JudgedBy::new("For children.", vec![Criterion::new("kind", "It is kind.")]);
        let read = |by: &str| {
            let request = Item::from_json(item(by).as_bytes(), None, &by_default).unwrap().request;
            let criteria: Vec<String> = request.rubric.iter().map(|one| one.criterion.clone()).collect();
            (request.principle, criteria)
        };
        let none = Vec::<String>::new();
        assert_eq!(read(""), ("For children.".into(), vec!["It is kind.".into()]));
        assert_eq!(read(r#","principle":null,"rubric":null"#), read(""));
        assert_eq!(read(r#","principle":"Be brief.""#), ("Be brief.".into(), none));
        let brief = vec!["It is brief.".to_owned()];
        assert_eq!(read(r#","rubric":[{"criterion":"It is brief."}]"#), (String::new(), brief.clone()));
        assert_eq!(read(r#","principle":"Here:","rubric":[{"criterion":"It is brief."}]"#), ("Here:".into(), brief));
        assert!(!read(r#","rubric":"code review""#).1.is_empty(), "one of the library");
        assert!(!read(r#","principle":{"named":"concise"}"#).0.is_empty(), "one of the library");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (json, wanted) in [
            ("[1]", "not a JSON object"),
            ("{", "not valid JSON"),
            (r#"{"prompt":"q"}"#, "none of the fields \"chosen\""),
            (r#"{"chosen":"a","rejected":"b"}"#, "no \"prompt\""),
            (r#"{"prompt":7,"chosen":"a","rejected":"b"}"#, "\"prompt\" is 7"),
            (r#"{"prompt":"q","chosen":"a"}"#, "no \"rejected\""),
            (r#"{"prompt":"q","chosen":[],"rejected":"b"}"#, "\"chosen\" is []: it must be text"),
            (r#"{"prompt":"q","chosen":["a",2],"rejected":"b"}"#, "\"chosen\" is 2"),
            (r#"{"question":"q","response_A":"a","response_B":"b","label":"A"}"#, "\"label\" is \"A\""),
            (r#"{"question":"q","response_A":"a","label":"A>B"}"#, "no \"response_B\""),
            (r#"{"prompt":"q","responses":{"x":"1"}}"#, "the order of its responses is not known"),
            (r#"{"prompt":"q","responses":{"x":"1","y":"2"},"ranking":["x"]}"#, "\"ranking\" has 1 names"),
            (r#"{"prompt":"q","responses":{"x":"1","y":"2"},"ranking":["x","z"]}"#, "\"ranking\" lacks response \"y\""),
            (r#"{"prompt":"q","responses":{"x":"1"},"scores":{"y":1}}"#, "no number for response \"x\""),
            (
                r#"{"prompt":"q","responses":{"x":"1"},"best":"y"}"#,
                "\"best\" is \"y\", which is not one of the responses",
            ),
            (r#"{"prompt":"q","responses":{"x":null},"scores":{"x":1}}"#, "response \"x\" is null"),
            (r#"{"prompt":"q","chosen":"a","rejected":"b","principle":7}"#, "\"principle\" is 7"),
            (r#"{"prompt":"q","chosen":"a","rejected":"b","rubric":7}"#, "\"rubric\" is 7"),
            (r#"{"prompt":"q","chosen":"a","rejected":"b","rubric":[]}"#, "has no criteria"),
            (r#"{"prompt":"q","chosen":"a","rejected":"b","rubric":"no such"}"#, "no such"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.message().contains(wanted), "{json}: {error}");
        }
        let three = Item::from_json(
            br#"{"prompt":"q","chosen":["a"],"rejected":["b"]}"#,
            Some(Benchmark::RmBench),
            &JudgedBy::default(),
        );
        assert!(three.unwrap_err().message().contains("this one has 1 and 1"));
    }
}
