//! Finds out what a server is and what it can do, by asking and by trying. A server that silently ignores a constraint
//! is found by a constraint that admits only one odd word: a server that writes anything else has ignored it.

use reqwest::header::HeaderValue;
use serde_json::{Map, Value, json};

use crate::config::{RemoteConfig, RemoteInput, RemoteVerdict};
use crate::prompt::profile::{Profile, ReasoningForm};

use super::facts::{Facts, Kind, Logprobs, Notation, Tags, Way};
use super::fault::{Fault, Tried};
use super::http::Http;
use super::join_all;
use super::reply::{Finish, Token};

/// No model says this by itself.
const WORD: &str = "quoxal";

/// Alternatives for a token that a server may be set to give when it gives few: the default of older ones.
const FEW: u32 = 5;

/// A server that is being probed.
pub(super) struct Probe<'a> {
    pub(super) http: &'a Http,
    /// The URL without `/v1`.
    pub(super) root: &'a str,
    pub(super) key: Option<&'a HeaderValue>,
    pub(super) config: &'a RemoteConfig,
    pub(super) profile: &'a Profile,
    /// Ids of an ordinary prompt, if this process tokenizes.
    pub(super) example: Option<&'a [u32]>,
}

impl Probe<'_> {
    async fn get(&self, path: &str) -> Tried<Value> {
        self.http.ask(&format!("{}{path}", self.root), self.key, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Tried<Value> {
        self.http.ask(&format!("{}{path}", self.root), self.key, Some(body)).await
    }

    /// Runs the whole probe.
    pub(super) async fn run(&self) -> Tried<Facts> {
        let mut facts = self.identify().await?;
        facts.way = self.way(&mut facts).await?;
        if facts.way == Way::Chat {
            self.try_chat(&mut facts).await?;
        } else {
            self.try_completions(&mut facts).await?;
            facts.by_choice = self.config.top_logprobs > 0
                && facts.logprobs != Logprobs::None
                && match self.config.verdict {
                    // Where requests are counted, there are to be few.
                    RemoteVerdict::Auto => self.config.request_limit == 0 && self.keeps_prompts(facts.kind).await,
                    RemoteVerdict::Grammar => false,
                    RemoteVerdict::Choices => true,
                };
        }
        Ok(facts)
    }

    /// Whether it says that it keeps what it has computed of a prompt for the next one that begins alike.
    async fn keeps_prompts(&self, kind: Kind) -> bool {
        match kind {
            Kind::LlamaServer => true,
            Kind::Vllm => {
                // Servers behind one URL do not share what they keep. Requests at once take connections of their own, and so are seen by several of
                // them.
                const TRIES: usize = 4;
                let url = format!("{}/metrics", self.root);
                let pages = join_all((0..TRIES).map(|_| self.http.text(&url, self.key)).collect()).await;
                let keepers: Option<Vec<String>> = pages.into_iter().map(|page| keeper(&page.ok()?)).collect();
                keepers.is_some_and(|keepers| keepers.windows(2).all(|pair| pair[0] == pair[1]))
            }
            Kind::Sglang => {
                let info = self.get("/get_server_info").await.unwrap_or_default();
                info["disable_radix_cache"] == Value::Bool(false) && info["dp_size"].as_u64().unwrap_or(1) == 1
            }
            Kind::TrtllmServe | Kind::Other => false,
        }
    }

    /// Which server it is, and which model it serves.
    async fn identify(&self) -> Tried<Facts> {
        let models = self.get("/v1/models").await?;
        let listed: Vec<&Value> = models["data"].as_array().into_iter().flatten().collect();
        let named = |wanted: &str| listed.iter().find(|model| model["id"] == wanted);
        let model = match &self.config.model {
            Some(wanted) => named(wanted).copied().unwrap_or(&Value::Null),
            None => listed.first().copied().unwrap_or(&Value::Null),
        };
        let owner = model["owned_by"].as_str().or_else(|| listed.first().and_then(|model| model["owned_by"].as_str()));
        let kind = match owner.unwrap_or_default() {
            "vllm" => Kind::Vllm,
            "sglang" => Kind::Sglang,
            "tensorrt_llm" => Kind::TrtllmServe,
            "llamacpp" => Kind::LlamaServer,
            _ => Kind::Other,
        };
        let name = match (&self.config.model, model["id"].as_str()) {
            (Some(wanted), None) if !listed.is_empty() && kind != Kind::Other => {
                let there: Vec<&str> = listed.iter().take(8).filter_map(|model| model["id"].as_str()).collect();
                return Err(Fault::ours(
                    crate::error::ErrorKind::ModelNotFound,
                    format!("the server has no model {wanted:?} (remote.model); it has: {}", there.join(", ")),
                ));
            }
            (Some(wanted), _) => wanted.clone(),
            (None, Some(id)) => id.to_owned(),
            (None, None) => {
                return Err(Fault::ours(
                    crate::error::ErrorKind::ModelNotFound,
                    "the server lists no model: set remote.model to its name there",
                ));
            }
        };
        let size = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        let mut facts = Facts { kind, model: name, context: size(&model["max_model_len"]), ..Facts::default() };
        match kind {
            Kind::LlamaServer => {
                let props = self.get("/props").await?;
                facts.version = props["build_info"].as_str().map(str::to_owned);
                facts.context = size(&props["default_generation_settings"]["n_ctx"]);
                facts.slots = size(&props["total_slots"]);
            }
            Kind::Other => {}
            _ => {
                let version = self.get("/version").await.unwrap_or_default();
                facts.version = version["version"].as_str().map(str::to_owned);
            }
        }
        Ok(facts)
    }

    /// How requests are sent to it.
    async fn way(&self, facts: &mut Facts) -> Tried<Way> {
        if self.example.is_some() {
            return Ok(Way::Tokens);
        }
        let way = match (self.config.input, facts.kind) {
            (RemoteInput::Messages, _) => return Ok(Way::Chat),
            (_, Kind::LlamaServer) => Way::Pieces,
            (_, Kind::Vllm) if self.profile.chat_template.is_none() => Way::Rendered,
            (RemoteInput::Auto, _) => return Ok(Way::Chat),
            (RemoteInput::Tokens, _) => {
                return Err(Fault::ours(
                    crate::error::ErrorKind::InvalidConfig,
                    "remote.input is tokens, but this server's tokenizer cannot be used: set remote.tokenizer to the folder \
                     with the model's tokenizer.json",
                ));
            }
        };
        match self.tags(facts).await {
            Ok(tags) => {
                facts.tags = tags;
                Ok(way)
            }
            // A tag is not one token, and the reader of verdicts finds it in the text; or the server does not tokenize.
            Err(Fault::Request(_) | Fault::Refused { status: 400..=499, .. })
                if self.config.input == RemoteInput::Auto =>
            {
                Ok(Way::Chat)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The tokens of the tags around reasoning; none if a tag is not one token.
    async fn tags(&self, facts: &Facts) -> Tried<Option<Tags>> {
        let line = tokenize(self, facts, "\n", false).await?;
        let Some(form) = &self.profile.reasoning else { return Ok(None) };
        let open = tokenize(self, facts, &form.open, true).await?;
        let close = tokenize(self, facts, &form.close, true).await?;
        let prefix =
            if form.prefix.is_empty() { Vec::new() } else { tokenize(self, facts, &form.prefix, false).await? };
        match (open.as_slice(), close.as_slice()) {
            (&[open], &[close]) => {
                let detokenized = facts.kind == Kind::Vllm
                    && detokenize(self.http, self.root, self.key, &facts.model, &line)
                        .await
                        .is_ok_and(|text| text == "\n");
                Ok(Some(Tags { open, prefix, close, line, detokenized }))
            }
            // The built-in profile is for any model, including one that does not reason.
            _ if *form == ReasoningForm::think() && self.profile.system_prompt == Profile::builtin().system_prompt => {
                Ok(None)
            }
            _ => Err(Fault::ours(
                crate::error::ErrorKind::InvalidProfile,
                format!(
                    "the model's vocabulary has no tokens {:?} and {:?}, which the profile's \"reasoning\" names: remove \
                     \"reasoning\" from the profile, or name the model's own tokens",
                    form.open, form.close
                ),
            )),
        }
    }

    /// Tries the completions endpoint.
    async fn try_completions(&self, facts: &mut Facts) -> Tried<()> {
        let notations: &[Notation] = match facts.kind {
            Kind::LlamaServer => &[Notation::Gbnf],
            Kind::Vllm => &[Notation::Structured, Notation::JsonSchema],
            Kind::Sglang => &[Notation::Ebnf, Notation::JsonSchema],
            Kind::TrtllmServe => &[Notation::EbnfFormat, Notation::JsonSchema],
            Kind::Other => {
                &[Notation::Structured, Notation::Gbnf, Notation::Ebnf, Notation::EbnfFormat, Notation::JsonSchema]
            }
        };
        let (open, close) = match &self.profile.reasoning {
            Some(form) => (format!("Say a word.\n{}\n", form.open), format!("Say a word.\n{}\n\n", form.close)),
            None => (String::new(), "Say a word.\n".to_owned()),
        };
        for &notation in notations {
            match self.complete(facts, &close, notation).await {
                Ok(tried) if tried.obeys => {
                    facts.notation = notation;
                    facts.ids = tried.ids;
                    facts.logprobs = tried.logprobs;
                    break;
                }
                Ok(tried) => {
                    facts.ids = tried.ids;
                }
                Err(Fault::Refused { status: 400..=499, .. }) => {}
                Err(fault) => return Err(fault),
            }
        }
        if facts.kind == Kind::LlamaServer {
            // Its guide names the token that ends the reasoning.
            facts.gated = facts.notation == Notation::Gbnf && facts.ids;
        } else if facts.notation != Notation::None && !open.is_empty() && facts.ids {
            facts.gated = !self.complete(facts, &open, facts.notation).await?.obeys;
        }
        if let Some(ids) = self.example {
            self.try_ids(facts, ids).await?;
        }
        Ok(())
    }

    /// Sends a prompt as token ids.
    async fn try_ids(&self, facts: &Facts, ids: &[u32]) -> Tried<()> {
        let body = json!({ "model": facts.model, "prompt": ids, "max_tokens": 1, "n_predict": 1, "stream": true });
        match self.generate(facts.completions(), &body).await {
            Ok(_) => Ok(()),
            Err(Fault::Refused { status: status @ (400..=499 | 501), said, .. }) => Err(Fault::ours(
                crate::error::ErrorKind::Unsupported,
                format!(
                    "the server takes no token ids (status {status}: {said}): remove remote.tokenizer, or set \
                     remote.input to messages"
                ),
            )),
            Err(fault) => Err(fault),
        }
    }

    /// Tries something with fewer and fewer alternatives for each token: servers can be set to give only a few, or none. The outcome is
    /// that of the first try that is not refused.
    async fn with_alternatives(
        &self,
        facts: &mut Facts,
        wanted: u32,
        once: impl AsyncFn(&Facts, u32) -> Tried<Trial>,
    ) -> Tried<Trial> {
        let wanted = wanted.min(facts.most_alternatives());
        let first = once(facts, wanted).await;
        // vLLM refuses them in the first event of a stream.
        let Err(Fault::Refused { status: 400 | 422, .. } | Fault::Failed(_)) = first else { return first };
        for alternatives in [FEW, 0].into_iter().filter(|&alternatives| alternatives < wanted) {
            if let Ok(tried) = once(facts, alternatives).await {
                // What failed by chance, or where the number is not used, was no refusal.
                let again = once(facts, wanted).await;
                if again.is_err() {
                    facts.fewer = Some(alternatives);
                }
                return again.or(Ok(tried));
            }
        }
        first
    }

    /// Tries one notation.
    async fn complete(&self, facts: &mut Facts, prompt: &str, notation: Notation) -> Tried<Trial> {
        let once = async |facts: &Facts, alternatives| self.complete_with(facts, prompt, notation, alternatives).await;
        self.with_alternatives(facts, self.config.top_logprobs, once).await
    }

    async fn complete_with(&self, facts: &Facts, prompt: &str, notation: Notation, alternatives: u32) -> Tried<Trial> {
        let mut body = Map::new();
        body.insert("model".into(), facts.model.as_str().into());
        body.insert("prompt".into(), prompt.into());
        odd_word(&mut body, notation);
        body.insert("temperature".into(), 0.into());
        body.insert("stream".into(), true.into());
        if facts.kind == Kind::LlamaServer {
            body.insert("n_predict".into(), 48.into());
            body.insert("n_probs".into(), FEW.into());
            body.insert("return_tokens".into(), true.into());
        } else {
            body.insert("max_tokens".into(), 48.into());
            if alternatives > 0 {
                body.insert("logprobs".into(), alternatives.into());
            }
            if facts.kind == Kind::Vllm {
                body.insert("return_token_ids".into(), true.into());
            }
        }
        self.generate(facts.completions(), &Value::Object(body)).await
    }

    /// Tries chat completions.
    async fn try_chat(&self, facts: &mut Facts) -> Tried<()> {
        for notation in [Notation::JsonSchema, Notation::None] {
            let wanted = if notation == Notation::None { 0 } else { self.config.top_logprobs };
            let once = async |facts: &Facts, alternatives| self.chat_with(facts, notation, alternatives).await;
            match self.with_alternatives(facts, wanted, once).await {
                Ok(tried) => {
                    if tried.obeys {
                        facts.notation = notation;
                        facts.logprobs = tried.logprobs;
                    }
                    return Ok(());
                }
                Err(Fault::Refused { status: 400 | 422 | 501, .. }) if notation != Notation::None => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn chat_with(&self, facts: &Facts, notation: Notation, alternatives: u32) -> Tried<Trial> {
        let mut body = Map::new();
        body.insert("model".into(), facts.model.as_str().into());
        body.insert("messages".into(), json!([{ "role": "user", "content": "Say a word." }]));
        odd_word(&mut body, notation);
        body.insert("temperature".into(), 0.into());
        body.insert("stream".into(), true.into());
        // The judge may think first.
        body.insert("max_tokens".into(), if notation == Notation::None { 8 } else { 512 }.into());
        if alternatives > 0 {
            body.insert("logprobs".into(), true.into());
            body.insert("top_logprobs".into(), alternatives.into());
        }
        self.generate("/v1/chat/completions", &Value::Object(body)).await
    }

    async fn generate(&self, path: &str, body: &Value) -> Tried<Trial> {
        match self.generate_once(path, body).await {
            // As for other requests: a kept connection may be closed just when it is used again.
            Err(Fault::Broken(_)) => self.generate_once(path, body).await,
            outcome => outcome,
        }
    }

    async fn generate_once(&self, path: &str, body: &Value) -> Tried<Trial> {
        let url = format!("{}{path}", self.root);
        let mut answer = self.http.generate(&url, self.key, body.to_string().into_bytes(), None).await?;
        let (mut text, mut ids, mut finish, mut positions) = (String::new(), false, None, Vec::new());
        while let Some(piece) = answer.next().await? {
            text.push_str(&piece.text);
            ids |= !piece.ids.is_empty();
            finish = piece.finish.or(finish);
            positions.extend(piece.positions);
        }
        let text = text.trim();
        let obeys = text == WORD
            || (finish == Some(Finish::Stop)
                && serde_json::from_str::<Value>(text).is_ok_and(|value| value == json!({ "word": WORD })));
        let alternatives = positions.first().map(|position| position.alternatives.as_slice()).unwrap_or_default();
        // Under a mask, everything but the beginnings of the odd word is forbidden.
        let mut possible = alternatives.iter().filter(|(_, logprob)| *logprob > -100.0).map(|(token, _)| token);
        let masked = possible.all(
            |token| matches!(token, Token::Bytes(bytes) | Token::Both(_, bytes) if text.as_bytes().starts_with(bytes)),
        );
        let logprobs = match alternatives {
            [] => Logprobs::None,
            _ if masked => Logprobs::AfterMask,
            _ => Logprobs::BeforeMask,
        };
        Ok(Trial { obeys, ids, logprobs })
    }
}

/// Which engine keeps prompts, told by when it was made, from the metrics of a vLLM. `None` if it keeps none, or if there are several
/// engines: each request may go to another one.
fn keeper(metrics: &str) -> Option<String> {
    let mut configs = metrics.lines().filter(|line| line.starts_with("vllm:cache_config_info{"));
    let keeps = configs.next()?.contains("enable_prefix_caching=\"True\"");
    if !keeps || configs.next().is_some() {
        return None;
    }
    let made = metrics.lines().find(|line| line.starts_with("vllm:prefix_cache_queries_created{"));
    Some(made.unwrap_or_default().to_owned())
}

struct Trial {
    /// Whether the constraint held.
    obeys: bool,
    ids: bool,
    logprobs: Logprobs,
}

/// Admits only the odd word.
fn odd_word(body: &mut Map<String, Value>, notation: Notation) {
    let grammar = format!("root ::= \"{WORD}\"\n");
    match notation {
        Notation::None => {}
        Notation::Gbnf => {
            body.insert("grammar".into(), grammar.into());
        }
        Notation::Structured => {
            body.insert("structured_outputs".into(), json!({ "grammar": grammar }));
        }
        Notation::Ebnf => {
            body.insert("ebnf".into(), grammar.into());
        }
        Notation::EbnfFormat => {
            body.insert("response_format".into(), json!({ "type": "ebnf", "ebnf": grammar }));
        }
        Notation::JsonSchema => {
            let schema = json!({
                "type": "object", "properties": { "word": { "enum": [WORD] } }, "required": ["word"],
                "additionalProperties": false,
            });
            let format = json!({
                "type": "json_schema", "json_schema": { "name": "word", "strict": true, "schema": schema },
            });
            body.insert("response_format".into(), format);
        }
    }
}

/// The tokens of a text by the server's tokenizer. `special`: the text may be a control token.
pub(super) async fn tokenize(probe: &Probe<'_>, facts: &Facts, text: &str, special: bool) -> Tried<Vec<u32>> {
    let body = if facts.kind == Kind::LlamaServer {
        json!({ "content": text, "add_special": false, "parse_special": special })
    } else {
        json!({ "model": facts.model, "prompt": text, "add_special_tokens": false })
    };
    ids(&probe.post("/tokenize", &body).await?)
}

/// The text of tokens by vLLM's tokenizer.
pub(super) async fn detokenize(
    http: &Http,
    root: &str,
    key: Option<&HeaderValue>,
    model: &str,
    ids: &[u32],
) -> Tried<String> {
    let body = json!({ "model": model, "tokens": ids });
    let answer = http.ask(&format!("{root}/detokenize"), key, Some(&body)).await?;
    let text = answer["prompt"].as_str().map(str::to_owned);
    text.ok_or_else(|| Fault::Garbage("the answer to /detokenize has no text".into()))
}

/// The ids in an answer of a tokenizer.
pub(super) fn ids(answer: &Value) -> Tried<Vec<u32>> {
    let list =
        answer["tokens"].as_array().ok_or_else(|| Fault::Garbage("the tokenizer's answer has no tokens".into()))?;
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    list.iter()
        .map(id)
        .collect::<Option<_>>()
        .ok_or_else(|| Fault::Garbage("the tokenizer's answer has invalid tokens".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_engine_that_keeps_prompts_is_known_by_when_it_was_made() {
        let info = |engine: u32, keeps: &str| {
            format!(
                "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{block_size=\"16\",enable_prefix_caching=\"{keeps}\",engine=\"{engine}\"}} 1.0\n\
                 vllm:prefix_cache_queries_created{{engine=\"{engine}\",model_name=\"m\"}} 1.5e+09\n"
            )
        };
        assert!(keeper(&info(0, "True")).is_some_and(|made| made.ends_with(" 1.5e+09")));
        assert_eq!(keeper(&info(0, "False")), None);
        assert_eq!(keeper(&(info(0, "True") + &info(1, "True"))), None);
        assert_eq!(keeper("vllm:num_requests_running 0\n"), None);
    }
}
