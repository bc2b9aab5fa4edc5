//! `NeMo` Gym: `/verify` for one rollout, `/compare` for several responses to one conversation.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Server};

use super::{Route, Sample, prompt_of};

#[derive(Deserialize)]
struct Compare {
    conversation_history: Vec<Value>,
    response_objs: Vec<Value>,
    #[serde(default)]
    principle: Option<String>,
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

pub(super) async fn verify(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let mut body: Map<String, Value> = parse(&input)?;
    let params = body.get("responses_create_params").and_then(|params| params.get("input"));
    let prompt = match params {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(messages)) => prompt_of(&Value::Array(plain(messages)?))?,
        _ => return Err(invalid("the rollout has no responses_create_params.input").into()),
    };
    let response = text_of(body.get("response").unwrap_or(&Value::Null))?;
    let principle = body.get("principle").and_then(Value::as_str).map(str::to_owned);
    let label = ["expected_answer", "label"].iter().find_map(|key| body.get(*key)?.as_str()).map(str::to_owned);
    let rewards = route.rewards(&server, &caller, vec![Sample { prompt, response, label, principle }]).await?;
    // The answer is the rollout with its reward.
    body.insert("reward".into(), rewards.first().map(|rewarded| rewarded.reward).into());
    Ok(written(&body))
}

pub(super) async fn compare(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let Compare { conversation_history, response_objs, principle } = parse(&input)?;
    let prompt = prompt_of(&Value::Array(plain(&conversation_history)?))?;
    let samples = response_objs.iter().map(|response| {
        let (prompt, principle) = (prompt.clone(), principle.clone());
        Ok(Sample { prompt, response: text_of(response)?, label: None, principle })
    });
    let rewards = route.rewards(&server, &caller, samples.collect::<Result<_>>()?).await?;
    let list: Vec<_> = rewards.iter().map(|rewarded| rewarded.reward).collect();
    let scores: Vec<_> = rewards.iter().map(|rewarded| json!({ "score": rewarded.score })).collect();
    Ok(written(&json!({ "rewards": list, "comparison_results": scores, "metrics": { "responses": list.len() } })))
}

/// Messages of the Responses API with their text as content. Other items, such as tool calls, are refused, because a
/// judgment without them would be about something else.
fn plain(messages: &[Value]) -> Result<Vec<Value>> {
    messages
        .iter()
        .map(|message| {
            let role =
                message["role"].as_str().ok_or_else(|| invalid("the input holds an item that is not a message"))?;
            // The judge reads only roles that it knows, so the role `developer` becomes `system`.
            let role = if role == "developer" { "system" } else { role };
            Ok(json!({ "role": role, "content": content_of(&message["content"])? }))
        })
        .collect()
}

/// The text of a response of the Responses API: that of its last message.
fn text_of(response: &Value) -> Result<String> {
    let output = response["output"].as_array().ok_or_else(|| invalid("the response has no \"output\""))?;
    let message = output.iter().rev().find(|item| item["type"] == "message" || item["role"] == "assistant");
    content_of(&message.ok_or_else(|| invalid("the response has no message in its output"))?["content"])
}

/// A text, or the texts of its parts.
fn content_of(content: &Value) -> Result<String> {
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => parts
            .iter()
            .map(|part| {
                part["text"]
                    .as_str()
                    .or(part["refusal"].as_str())
                    .ok_or_else(|| invalid("a part of a message is not text"))
            })
            .collect(),
        _ => Err(invalid("a message has no content")),
    }
}
