//! slime and miles, `--rm-type remote_rm`: one sample, one number.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Problem, Server};

use super::{Route, Sample, prompt_of};

#[derive(Deserialize)]
struct Call {
    prompt: Value,
    response: String,
    #[serde(default)]
    label: Option<Value>,
}

pub(super) async fn answer(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let call: Call = parse(&input)?;
    let prompt = match &call.prompt {
        // With `--apply-chat-template` it has marks.
        Value::String(text) => route.prompt(text),
        messages => prompt_of(messages)?,
    };
    let label = call.label.map(|label| match label {
        Value::String(text) => text,
        Value::Null => String::new(),
        other => other.to_string(),
    });
    let sample = Sample { prompt, response: route.response(&call.response), label, principle: None };
    let rewards = route.rewards(&server, &caller, vec![sample]).await?;
    let Some(rewarded) = rewards.first() else { return Err(Problem::invalid("there is no sample")) };
    Ok(match &route.config.reward_key {
        None => written(&rewarded.reward),
        Some(key) => {
            let mut object = Map::new();
            object.insert("score".into(), rewarded.score.into());
            object.insert("group".into(), rewarded.group.into());
            object.insert(key.clone(), rewarded.reward.into());
            written(&object)
        }
    })
}
