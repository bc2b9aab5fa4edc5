//! The bodies of requests to a server, in the fields that it knows.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::decode::grammar::{Grammar, gbnf_reasoning};
use crate::engine::Sampling;
use crate::prompt::messages::Message;

use super::facts::{Facts, Kind, Notation};

/// What constrains a text to a form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Guide<'a> {
    /// A grammar.
    Grammar(&'a Grammar),
    /// A JSON schema.
    Schema(&'a Value),
    /// Any tokens up to the one with this id.
    Reasoning(u32),
    /// Any tokens up to the one with this id, then a grammar.
    Reasoned(u32, &'a Grammar),
}

/// The most tokens by id whose probabilities a request to a vLLM may ask for.
const VLLM_CANDIDATES: usize = 128;

/// A request for a completion.
pub(super) struct Completion<'a> {
    pub(super) ids: &'a [u32],
    /// Ends of prompts that begin with `ids`, for a completion each. If there are none, `ids` is the prompt.
    pub(super) ends: &'a [Vec<u32>],
    pub(super) max_tokens: usize,
    pub(super) sampling: Sampling,
    pub(super) guide: Option<Guide<'a>>,
    /// The token that ends the completion, by id and by text.
    pub(super) stop: Option<(u32, &'a str)>,
    /// Alternatives at each token.
    pub(super) alternatives: u32,
    /// The tokens whose probabilities are needed; none if those of the likeliest are.
    pub(super) candidates: &'a [u32],
    /// Whether tokens are to be named by their ids: this process knows their text, or does not need it.
    pub(super) by_id: bool,
    pub(super) stream: bool,
}

impl Completion<'_> {
    /// The body, in JSON.
    pub(super) fn body(&self, facts: &Facts) -> Vec<u8> {
        let mut fields = Map::new();
        let native = facts.kind == Kind::LlamaServer;
        let stream = self.stream || native;
        fields.insert("stream".into(), stream.into());
        fields.insert(if native { "n_predict" } else { "max_tokens" }.into(), self.max_tokens.into());
        sampling(&mut fields, facts.kind, self.sampling);
        if !native {
            fields.insert("model".into(), facts.model.as_str().into());
            if stream {
                fields.insert("stream_options".into(), json!({ "include_usage": true }));
            }
        }
        if let Some(guide) = &self.guide {
            constrain(&mut fields, facts.notation, guide);
        }
        if self.alternatives > 0 {
            let most = self.alternatives.min(facts.most_alternatives());
            fields.insert(if native { "n_probs" } else { "logprobs" }.into(), most.into());
        }
        match facts.kind {
            Kind::LlamaServer => {
                fields.insert("return_tokens".into(), true.into());
                fields.insert("cache_prompt".into(), true.into());
            }
            Kind::Vllm => {
                fields.insert("return_token_ids".into(), true.into());
                fields.insert("skip_special_tokens".into(), false.into());
                fields.insert("spaces_between_special_tokens".into(), false.into());
                if self.alternatives > 0 && self.by_id {
                    fields.insert("return_tokens_as_token_ids".into(), true.into());
                }
                // Versions before 2026-06 pass over it, and give the likeliest.
                if (1..=VLLM_CANDIDATES).contains(&self.candidates.len()) {
                    fields.insert("logprob_token_ids".into(), self.candidates.into());
                }
            }
            Kind::Sglang | Kind::TrtllmServe => {
                fields.insert("skip_special_tokens".into(), false.into());
            }
            Kind::Other => {}
        }
        if let Some((id, text)) = self.stop {
            match facts.kind {
                // Its guide ends at that token.
                Kind::LlamaServer => {}
                Kind::Vllm | Kind::Sglang | Kind::TrtllmServe => {
                    fields.insert("stop_token_ids".into(), json!([id]));
                }
                Kind::Other => {
                    fields.insert("stop".into(), json!([text]));
                }
            }
        }
        // Written by hand: building a JSON value for each of thousands of ids would take most of the time.
        let prompts = self.ends.len().max(1);
        let mut body = String::with_capacity(prompts * self.ids.len() * 7 + 1024);
        body.push_str("{\"prompt\":");
        body.push_str(if prompts > 1 { "[" } else { "" });
        for prompt in 0..prompts {
            body.push_str(if prompt > 0 { ",[" } else { "[" });
            for (place, id) in self.ids.iter().chain(self.ends.get(prompt).into_iter().flatten()).enumerate() {
                let _ = write!(body, "{}{id}", if place > 0 { "," } else { "" });
            }
            body.push(']');
        }
        body.push_str(if prompts > 1 { "]," } else { "," });
        body.push_str(&Value::Object(fields).to_string()[1..]);
        body.into_bytes()
    }
}

/// A request for the answer in a chat, rendered by the server.
pub(super) struct Chat<'a> {
    pub(super) messages: &'a [Message],
    pub(super) max_tokens: usize,
    pub(super) sampling: Sampling,
    pub(super) guide: Option<Guide<'a>>,
    pub(super) alternatives: u32,
    pub(super) stream: bool,
    /// Variables of the chat template.
    pub(super) variables: Map<String, Value>,
}

impl Chat<'_> {
    /// The body, in JSON.
    pub(super) fn body(&self, facts: &Facts) -> Vec<u8> {
        let mut fields = Map::new();
        fields.insert("model".into(), facts.model.as_str().into());
        fields.insert("messages".into(), messages(self.messages));
        let stream = self.stream || facts.kind == Kind::LlamaServer;
        fields.insert("stream".into(), stream.into());
        if stream {
            fields.insert("stream_options".into(), json!({ "include_usage": true }));
        }
        fields.insert("max_tokens".into(), self.max_tokens.into());
        sampling(&mut fields, facts.kind, self.sampling);
        if let Some(guide) = &self.guide {
            constrain(&mut fields, facts.notation, guide);
        }
        if self.alternatives > 0 {
            fields.insert("logprobs".into(), true.into());
            fields.insert("top_logprobs".into(), self.alternatives.min(facts.most_alternatives()).into());
        }
        if facts.kind != Kind::Other && !self.variables.is_empty() {
            fields.insert("chat_template_kwargs".into(), Value::Object(self.variables.clone()));
        }
        Value::Object(fields).to_string().into_bytes()
    }
}

/// Messages in the form that all servers accept.
pub(super) fn messages(messages: &[Message]) -> Value {
    messages.iter().map(|message| json!({ "role": message.role, "content": message.content })).collect()
}

/// Sets how tokens are chosen. Every setting is sent, since servers have defaults of their own.
fn sampling(fields: &mut Map<String, Value>, kind: Kind, sampling: Sampling) {
    let Sampling { temperature, top_p, top_k, seed } = sampling;
    let number = |value: f32| value.to_string().parse::<f64>().map_or(Value::Null, Value::from);
    fields.insert("temperature".into(), number(temperature));
    fields.insert("top_p".into(), number(top_p));
    match kind {
        Kind::LlamaServer => {
            fields.insert("top_k".into(), top_k.into());
            fields.insert("min_p".into(), 0.into());
            fields.insert("typical_p".into(), 1.into());
            fields.insert("repeat_penalty".into(), 1.into());
            // 32 bits; all ones would mean a random seed.
            let folded = u32::try_from((seed ^ (seed >> 32)) & 0x7FFF_FFFF).unwrap_or_default();
            fields.insert("seed".into(), folded.into());
        }
        Kind::Vllm | Kind::Sglang => {
            let top_k = i32::try_from(top_k).ok().filter(|&top_k| top_k > 0).unwrap_or(-1);
            fields.insert("top_k".into(), top_k.into());
            fields.insert("min_p".into(), 0.into());
            fields.insert("repetition_penalty".into(), 1.into());
            fields.insert("seed".into(), (seed & 0x7FFF_FFFF_FFFF_FFFF).into());
        }
        Kind::TrtllmServe => {
            fields.insert("top_k".into(), top_k.min(i32::MAX.unsigned_abs()).into());
            fields.insert("seed".into(), (seed & 0x7FFF_FFFF_FFFF_FFFF).into());
        }
        Kind::Other => {
            if top_k > 0 {
                fields.insert("top_k".into(), top_k.into());
            }
            fields.insert("seed".into(), (seed & 0x7FFF_FFFF_FFFF_FFFF).into());
        }
    }
}

/// Adds a guide in the notation of a server; none if the server has no notation for it.
fn constrain(fields: &mut Map<String, Value>, notation: Notation, guide: &Guide<'_>) {
    let schema = |fields: &mut Map<String, Value>, schema: &Value| {
        let format = json!({
            "type": "json_schema", "json_schema": { "name": "verdict", "strict": true, "schema": schema },
        });
        fields.insert("response_format".into(), format);
    };
    match (notation, guide) {
        (Notation::Gbnf, Guide::Grammar(grammar)) => {
            fields.insert("grammar".into(), grammar.gbnf(None).into());
        }
        (Notation::Gbnf, Guide::Reasoning(close)) => {
            fields.insert("grammar".into(), gbnf_reasoning(*close).into());
        }
        (Notation::Gbnf, Guide::Reasoned(close, grammar)) => {
            fields.insert("grammar".into(), grammar.gbnf(Some(*close)).into());
        }
        (Notation::Structured, Guide::Grammar(grammar) | Guide::Reasoned(_, grammar)) => {
            fields.insert("structured_outputs".into(), json!({ "grammar": grammar.ebnf(None) }));
        }
        (Notation::Ebnf, Guide::Grammar(grammar) | Guide::Reasoned(_, grammar)) => {
            fields.insert("ebnf".into(), grammar.ebnf(None).into());
        }
        (Notation::EbnfFormat, Guide::Grammar(grammar) | Guide::Reasoned(_, grammar)) => {
            fields.insert("response_format".into(), json!({ "type": "ebnf", "ebnf": grammar.ebnf(None) }));
        }
        (Notation::Gbnf, Guide::Schema(value)) => {
            fields.insert("json_schema".into(), (*value).clone());
        }
        (Notation::JsonSchema | Notation::Structured | Notation::Ebnf | Notation::EbnfFormat, Guide::Schema(value)) => {
            schema(fields, value);
        }
        (_, Guide::Reasoning(_)) | (Notation::JsonSchema | Notation::None, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::grammar::VerdictGrammar;
    use crate::prompt::profile::{Scale, VerdictForm};

    fn facts(kind: Kind, notation: Notation) -> Facts {
        Facts { kind, notation, model: "judge".into(), ..Facts::default() }
    }

    fn body(facts: &Facts, change: impl Fn(&mut Completion<'_>)) -> Value {
        let grammar = VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "", &["a".into()]).whole();
        let mut completion = Completion {
            ids: &[1, 22, 333],
            ends: &[],
            max_tokens: 9,
            sampling: Sampling { seed: u64::MAX, top_k: 5, ..Sampling::GREEDY },
            guide: Some(Guide::Grammar(&grammar)),
            stop: Some((7, "</think>")),
            alternatives: 50,
            candidates: &[],
            by_id: true,
            stream: true,
        };
        change(&mut completion);
        serde_json::from_slice(&completion.body(facts)).unwrap()
    }

    #[test]
    fn several_prompts_share_their_beginning_and_name_the_tokens_that_matter() {
        let vllm = facts(Kind::Vllm, Notation::Structured);
        let one =
            body(&vllm, |completion| (completion.ends, completion.candidates) = (const { &[Vec::new()] }, &[5, 6]));
        assert_eq!((&one["prompt"], &one["logprob_token_ids"]), (&json!([1, 22, 333]), &json!([5, 6])));
        let ends = [vec![4], vec![4, 55]];
        let many = [7; VLLM_CANDIDATES + 1];
        let grammar = VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "", &["a".into()]).whole();
        let completion = Completion {
            ids: &[1, 22],
            ends: &ends,
            max_tokens: 1,
            sampling: Sampling::GREEDY,
            guide: Some(Guide::Grammar(&grammar)),
            stop: None,
            alternatives: 20,
            candidates: &many,
            by_id: true,
            stream: false,
        };
        let both: Value = serde_json::from_slice(&completion.body(&vllm)).unwrap();
        assert_eq!((&both["prompt"], both.get("logprob_token_ids")), (&json!([[1, 22, 4], [1, 22, 4, 55]]), None));
    }

    #[test]
    fn each_server_gets_its_own_fields() {
        let vllm = body(&facts(Kind::Vllm, Notation::Structured), |_| {});
        assert_eq!(vllm["prompt"], json!([1, 22, 333]));
        assert!(vllm["structured_outputs"]["grammar"].as_str().unwrap().starts_with("root ::="));
        assert_eq!((&vllm["logprobs"], &vllm["stop_token_ids"]), (&json!(20), &json!([7])));
        assert_eq!((&vllm["seed"], &vllm["top_k"]), (&json!(i64::MAX), &json!(5)));
        let llama = body(&facts(Kind::LlamaServer, Notation::Gbnf), |_| {});
        assert_eq!((&llama["n_predict"], &llama["n_probs"], llama.get("stop")), (&json!(9), &json!(50), None));
        assert!(llama["seed"].as_u64().unwrap() < u64::from(u32::MAX));
        let sglang = body(&facts(Kind::Sglang, Notation::Ebnf), |completion| completion.sampling = Sampling::GREEDY);
        assert_eq!((&sglang["top_k"], sglang["ebnf"].is_string()), (&json!(-1), true));
        let trtllm = body(&facts(Kind::TrtllmServe, Notation::EbnfFormat), |_| {});
        assert_eq!(trtllm["response_format"]["type"], "ebnf");
        let other = body(&facts(Kind::Other, Notation::None), |_| {});
        assert_eq!((&other["stop"], other.get("response_format")), (&json!(["</think>"]), None));
    }

    #[test]
    fn a_chat_holds_text_as_it_is() {
        let facts = facts(Kind::Other, Notation::JsonSchema);
        let chat = Chat {
            messages: &[Message { role: "user", content: "\"\\\n\u{1f600}".into() }],
            max_tokens: 5,
            sampling: Sampling::GREEDY,
            guide: Some(Guide::Schema(&json!({ "type": "object" }))),
            alternatives: 3,
            stream: true,
            variables: Map::new(),
        };
        let body: Value = serde_json::from_slice(&chat.body(&facts)).unwrap();
        assert_eq!(body["messages"][0]["content"], "\"\\\n\u{1f600}");
        assert_eq!(body["response_format"]["json_schema"]["schema"], json!({ "type": "object" }));
        assert_eq!((&body["top_logprobs"], body.get("chat_template_kwargs")), (&json!(3), None));
    }
}
