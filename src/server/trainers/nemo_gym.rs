//! `NeMo` Gym: `/verify` for one rollout, `/compare` for several responses to one conversation.
//!
//! Its agents call `/verify` on a resources server, which has a few more paths: a session that begins and ends with each rollout, and
//! the sums over all rollouts at the end. The judge keeps nothing between calls, so that these have little to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Server};

use super::{Route, Sample, posted, prompt_of};

/// What comes before a path if `NeMo` Gym observes its calls: the number of the rollout.
const OBSERVED: &str = "/ng-rollout/{rollout}";

/// The paths of a resources server beside `verify`.
const BESIDE: [&str; 4] = ["/seed_session", "/close_session", "/reverify_mode", "/aggregate_metrics"];

/// All paths that a route for rollouts takes. `NeMo` Gym knows a resources server by host and port, so the others are beside a path
/// that ends with `/verify`.
pub(super) fn paths(path: &str) -> Vec<String> {
    let Some(base) = path.strip_suffix("/verify") else { return vec![path.to_owned()] };
    [path.to_owned(), format!("{OBSERVED}{path}")]
        .into_iter()
        .chain(BESIDE.map(|beside| format!("{base}{beside}")))
        .collect()
}

pub(super) fn routes(route: &Arc<Route>) -> Router<Server> {
    let path = route.config.path.as_str();
    let router = Router::new().route(path, posted(route.clone(), verify));
    let Some(base) = path.strip_suffix("/verify") else { return router };
    router
        .route(&format!("{OBSERVED}{path}"), posted(route.clone(), verify))
        .route(&format!("{base}/seed_session"), post(session))
        .route(&format!("{base}/close_session"), post(session))
        // A rollout may be judged again at any time.
        .route(&format!("{base}/reverify_mode"), get(async || written(&"stateless")))
        .route(&format!("{base}/aggregate_metrics"), post(aggregate))
}

/// A session begins or ends. Callers that name their session get its name back.
async fn session(input: Input) -> Answer {
    let body: Map<String, Value> = parse(&input)?;
    let named = body.get_key_value("resources_session_id");
    Ok(written(&named.into_iter().collect::<BTreeMap<_, _>>()))
}

#[derive(Deserialize)]
struct Aggregate {
    verify_responses: Vec<Rollout>,
}

#[derive(Deserialize)]
struct Rollout {
    #[serde(default)]
    reward: Option<f64>,
    #[serde(default, rename = "_ng_task_index")]
    task: i64,
    #[serde(default, rename = "_ng_rollout_index")]
    repeat: i64,
    /// The agent says that the reward measures nothing.
    #[serde(default)]
    mask_sample: bool,
}

/// The rewards of a run, for each task and in all.
async fn aggregate(input: Input) -> Answer {
    let Aggregate { verify_responses } = parse(&input)?;
    let (mut all, mut tasks, mut repeats) =
        (Vec::new(), BTreeMap::<i64, Vec<f64>>::new(), std::collections::BTreeSet::new());
    let mut masked = 0;
    for rollout in &verify_responses {
        repeats.insert(rollout.repeat);
        match rollout.reward.filter(|_| !rollout.mask_sample) {
            None => masked += 1,
            Some(reward) => {
                all.push(reward);
                tasks.entry(rollout.task).or_default().push(reward);
            }
        }
    }
    let groups: Vec<_> = tasks
        .into_iter()
        .map(|(task, rewards)| {
            let mut group = sums(rewards);
            group.insert("_ng_task_index".to_owned(), task.into());
            group
        })
        .collect();
    let measured = all.len();
    let mut agent = sums(all);
    let mut key: Map<String, Value> =
        agent.get_key_value("mean/reward").map(|(name, mean)| (name.clone(), mean.clone())).into_iter().collect();
    if masked > 0 {
        for figures in [&mut agent, &mut key] {
            figures.insert("coverage/measured_rollouts".to_owned(), measured.into());
            figures.insert("coverage/masked_rollouts".to_owned(), masked.into());
        }
    }
    agent.insert("num_repeats".to_owned(), repeats.len().into());
    Ok(written(&json!({ "agent_metrics": agent, "key_metrics": key, "group_level_metrics": groups })))
}

/// Mean, extremes, median and deviation, by the names that `NeMo` Gym gives them.
fn sums(mut rewards: Vec<f64>) -> Map<String, Value> {
    rewards.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (rewards.first(), rewards.last()) else { return Map::new() };
    #[expect(clippy::cast_precision_loss, reason = "a call has far fewer rollouts than a float counts")]
    let count = rewards.len() as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    let middle = rewards.len() / 2;
    let median =
        if rewards.len() % 2 == 1 { rewards[middle] } else { f64::midpoint(rewards[middle - 1], rewards[middle]) };
    let mut sums = Map::new();
    for (name, value) in [("mean", mean), ("max", *most), ("min", *least), ("median", median)] {
        sums.insert(format!("{name}/reward"), value.into());
    }
    if rewards.len() > 1 {
        let squares: f64 = rewards.iter().map(|reward| (reward - mean).powi(2)).sum();
        sums.insert("std/reward".to_owned(), (squares / (count - 1.0)).sqrt().into());
    }
    sums
}

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

async fn verify(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
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
/// judgment without them would be about something else. Reasoning of earlier turns is no part of a conversation.
fn plain(messages: &[Value]) -> Result<Vec<Value>> {
    messages
        .iter()
        .filter(|message| message["type"] != "reasoning")
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
