//! The API of `OpenAI`, for clients that support nothing else: a judge request as the last message, the verdict as the answer.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::number;
use crate::request::JudgeRequest;
use crate::request::reading::{Keys, Reading, unknown_field};
use crate::verdict::Verdict;

use super::admit::random_hex;
use super::body::{Input, json as written, parse};
use super::stream::{self, KEEP_ALIVE, Pieces};
use super::{Caller, Event, Problem, Server, Watcher};

pub(super) fn routes() -> Router<Server> {
    Router::new().route("/v1/chat/completions", post(completions))
}

/// A chat. Fields of the API that have no meaning for a judge, such as `stop`, are not read.
#[derive(Deserialize)]
struct Chat {
    #[serde(default)]
    model: Option<String>,
    messages: Vec<Message>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    top_k: Option<u32>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(flatten)]
    _rest: HashMap<String, Value>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Value>,
}

/// The text of a message.
fn text_of(message: &Message) -> Result<String> {
    let invalid = |what: &str| Error::new(ErrorKind::InvalidRequest, format!("the {} message {what}", message.role));
    match &message.content {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| part["text"].as_str().ok_or_else(|| invalid("has a part that is not text")))
            .collect(),
        _ => Err(invalid("has no text")),
    }
}

/// The judge request in a chat: the last message of the user, as JSON. Its principle may be the system message instead.
fn request_of(chat: &Chat) -> Result<JudgeRequest> {
    let invalid = |message: &str| Error::new(ErrorKind::InvalidRequest, message);
    if chat.n.is_some_and(|n| n != 1) {
        return Err(invalid("n must be 1: a judgment has one answer"));
    }
    let user = chat.messages.iter().rfind(|message| message.role == "user");
    let text = text_of(user.ok_or_else(|| {
        invalid("the last message of the user must be a judge request: {\"principle\", \"prompt\", \"responses\"}")
    })?)?;
    let system = chat.messages.iter().find(|message| matches!(message.role.as_str(), "system" | "developer"));
    let has_principle =
        serde_json::from_str::<Map<String, Value>>(&text).is_ok_and(|map| map.contains_key("principle"));
    let principle = match system {
        Some(system) if !has_principle => Some(text_of(system)?),
        _ => None,
    };
    let reading = Reading::new(text.as_bytes(), &Keys::default(), principle.as_deref());
    let mut request = reading.request.map_err(|error| {
        error
            .context("the last message of the user must be a judge request, {\"principle\", \"prompt\", \"responses\"}")
    })?;
    if let Some((name, _)) = reading.rest.first() {
        return Err(unknown_field(name));
    }
    let Chat { temperature, top_p, top_k, seed, .. } = *chat;
    let outer = Options { temperature, top_p, top_k, seed, ..Options::default() };
    request.options = request.options.or(&outer);
    Ok(request)
}

/// The verdict as the content of an answer.
fn content_of(verdict: &Verdict) -> String {
    let by_name = |pick: &dyn Fn(&crate::Scored) -> Value| -> Map<String, Value> {
        verdict.scores.iter().map(|scored| (scored.name.clone(), pick(scored))).collect()
    };
    let ranking: Vec<_> = verdict.ranked_names().collect();
    json!({
        "scores": by_name(&|scored| number::score(scored.score)),
        "best-to-worst": ranking,
        "expected_scores": by_name(&|scored| scored.expected.into()),
        "repairs": verdict.repairs,
        "flags": verdict.flags,
    })
    .to_string()
}

fn usage_of(verdict: &Verdict) -> Value {
    let usage = verdict.usage;
    let completion = usage.reasoning_tokens + usage.verdict_tokens;
    json!({
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": usage.prompt_tokens + completion,
        "prompt_tokens_details": { "cached_tokens": usage.reused_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

async fn completions(State(server): State<Server>, caller: Caller, input: Input) -> Response {
    answer(server, caller, input).await.unwrap_or_else(|problem| problem.openai())
}

async fn answer(server: Server, caller: Caller, input: Input) -> std::result::Result<Response, Problem> {
    let chat: Chat = parse(&input)?;
    drop(input);
    let request = request_of(&chat)?;
    let model = server.judges().known(chat.model.as_deref())?.to_owned();
    let id = format!("chatcmpl-{}", random_hex(12));
    let created = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    if chat.stream {
        return streamed(server, caller, request, model, id, created).await;
    }
    let verdict = server.judge(&caller, Some(&model), request, None).await?;
    Ok(written(&json!({
        "id": id, "object": "chat.completion", "created": created, "model": model,
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {
                "role": "assistant", "content": content_of(&verdict), "refusal": null,
                "reasoning": verdict.reasoning, "reasoning_content": verdict.reasoning,
            },
        }],
        "usage": usage_of(&verdict),
    })))
}

async fn streamed(
    server: Server,
    caller: Caller,
    request: JudgeRequest,
    model: String,
    id: String,
    created: u64,
) -> std::result::Result<Response, Problem> {
    let (watcher, mut events) = Watcher::new();
    let judge = model.clone();
    let mut work = Box::pin(async move { server.judge(&caller, Some(&judge), request, Some(watcher)).await });
    // A failure before it waits or starts is an answer with that status.
    let ended = tokio::select! {
        biased;
        Some(_) = events.recv() => None,
        outcome = &mut work => Some(outcome),
    };
    let mut ended = match ended {
        Some(Err(error)) if events.is_empty() => return Err(error.into()),
        ended => ended,
    };
    let chunk = move |delta: Value, finish: Option<&str>| {
        json!({
            "id": id, "object": "chat.completion.chunk", "created": created, "model": model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish, "logprobs": null }],
        })
    };
    Ok(stream::answer("text/event-stream", move |pieces: Pieces| async move {
        pieces.event("", &chunk(json!({ "role": "assistant", "content": "" }), None)).await?;
        let mut told = false;
        let outcome = loop {
            if let Some(outcome) = ended.take() {
                break outcome;
            }
            tokio::select! {
                biased;
                Some(event) = events.recv() => if let Event::Reasoning(text) = event {
                    told = true;
                    pieces.event("", &chunk(json!({ "reasoning": text, "reasoning_content": text }), None)).await?;
                },
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(KEEP_ALIVE) => pieces.comment().await?,
            }
        };
        match outcome {
            Ok(verdict) => {
                if !told && !verdict.reasoning.is_empty() {
                    let text = &verdict.reasoning;
                    pieces.event("", &chunk(json!({ "reasoning": text, "reasoning_content": text }), None)).await?;
                }
                pieces.event("", &chunk(json!({ "content": content_of(&verdict) }), None)).await?;
                let mut last = chunk(json!({}), Some("stop"));
                last["usage"] = usage_of(&verdict);
                pieces.event("", &last).await?;
            }
            Err(error) => {
                let problem = Problem::from(error);
                let body =
                    json!({ "error": { "message": problem.detail(), "type": problem.kind(), "code": problem.kind() } });
                pieces.event("", &body).await?;
            }
        }
        pieces.send("data: [DONE]\n\n").await
    })
    .into_response())
}
