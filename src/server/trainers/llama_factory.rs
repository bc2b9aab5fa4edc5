//! LLaMA-Factory, `reward_model_type: api`: whole decoded texts, a number for each.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::server::admit::random_hex;
use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Server};

use super::Route;

#[derive(Deserialize)]
struct Call {
    #[serde(default)]
    model: Option<String>,
    messages: Vec<String>,
}

pub(super) async fn answer(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let call: Call = parse(&input)?;
    let samples = route.samples_of(call.messages.iter().map(String::as_str))?;
    let rewards = route.rewards(&server, &caller, samples).await?;
    let scores: Vec<_> = rewards.iter().map(|rewarded| rewarded.reward).collect();
    Ok(written(&json!({
        "id": format!("scoreval-{}", random_hex(12)),
        "object": "score.evaluation",
        "model": call.model.unwrap_or_default(),
        "scores": scores,
    })))
}
