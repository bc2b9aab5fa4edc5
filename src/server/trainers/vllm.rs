//! The interfaces by which vLLM and `SGLang` serve reward models, as veRL and others call them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::server::admit::random_hex;
use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Problem, Server};

use super::{Rewarded, Route, Sample, Texts};

/// `/classify` and `/pooling`: whole texts, or the messages of one.
#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    input: Option<Texts>,
    #[serde(default)]
    messages: Option<Vec<Value>>,
}

/// `/score`: a prompt and responses, or as many prompts as responses. The names changed from release to release.
#[derive(Deserialize)]
struct ScoreCall {
    #[serde(default)]
    model: Option<String>,
    #[serde(alias = "queries", alias = "query", alias = "data_1")]
    text_1: Texts,
    #[serde(alias = "documents", alias = "items", alias = "data_2")]
    text_2: Texts,
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|time| time.as_secs()).unwrap_or_default()
}

async fn rewards(route: &Route, server: &Server, caller: &Caller, call: Call) -> Result<Vec<Rewarded>, Problem> {
    let samples = match (call.input, call.messages) {
        (Some(input), None) => route.samples_of(input.list().iter().map(String::as_str))?,
        (None, Some(messages)) => vec![sample_of(&messages)?],
        _ => {
            return Err(Problem::invalid(
                "a call must have either \"input\" (a text or a list of texts) or \"messages\"",
            ));
        }
    };
    route.rewards(server, caller, samples).await
}

/// A conversation whose last turn is the response.
fn sample_of(messages: &[Value]) -> Result<Sample, Problem> {
    let invalid = || {
        let message = "the last message is the response: it must be the assistant's, with messages before it";
        Error::new(ErrorKind::InvalidRequest, message)
    };
    let (last, before) = messages.split_last().ok_or_else(invalid)?;
    if before.is_empty() || last["role"] != "assistant" {
        return Err(invalid().into());
    }
    let request = json!({ "principle": "", "prompt": before, "responses": { "": [last] } });
    let mut request = crate::JudgeRequest::from_json(request.to_string().as_bytes())?;
    let response = request.responses.pop().map(|response| response.text).unwrap_or_default();
    Ok(Sample { prompt: request.prompt, response, label: None, principle: None })
}

fn list(kind: &str, model: Option<String>, data: &[Value]) -> Value {
    json!({
        "id": format!("{kind}-{}", random_hex(16)),
        "object": "list",
        "created": now(),
        "model": model.unwrap_or_default(),
        "data": data,
        "usage": { "prompt_tokens": 0, "total_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": null },
    })
}

pub(super) async fn classify(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let mut call: Call = parse(&input)?;
    let model = call.model.take();
    let rewards = rewards(&route, &server, &caller, call).await?;
    let data = rewards.iter().enumerate().map(
        |(index, rewarded)| json!({ "index": index, "label": "reward", "probs": [rewarded.reward], "num_classes": 1 }),
    );
    Ok(written(&list("classify", model, &data.collect::<Vec<_>>())))
}

pub(super) async fn pooling(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let mut call: Call = parse(&input)?;
    let model = call.model.take();
    let rewards = rewards(&route, &server, &caller, call).await?;
    let data = rewards.iter().enumerate().map(|(index, rewarded)| {
        json!({ "index": index, "object": "pooling", "data": [rewarded.reward], "embedding": [rewarded.reward] })
    });
    Ok(written(&list("pool", model, &data.collect::<Vec<_>>())))
}

pub(super) async fn score(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let ScoreCall { model, text_1, text_2 } = parse(&input)?;
    let (prompts, responses) = (text_1.list(), text_2.list());
    if prompts.len() != 1 && prompts.len() != responses.len() {
        let message = format!(
            "text_1 has {} texts, but text_2 has {}: give one prompt for all, or one for each",
            prompts.len(),
            responses.len()
        );
        return Err(Problem::invalid(message));
    }
    let prompts = prompts.iter().map(|prompt| route.prompt(prompt)).cycle();
    let samples = prompts.zip(&responses).map(|(prompt, response)| Sample {
        prompt,
        response: route.response(response),
        label: None,
        principle: None,
    });
    let rewards = route.rewards(&server, &caller, samples.collect()).await?;
    let data = rewards
        .iter()
        .enumerate()
        .map(|(index, rewarded)| json!({ "index": index, "object": "score", "score": rewarded.reward }));
    Ok(written(&list("score", model, &data.collect::<Vec<_>>())))
}
