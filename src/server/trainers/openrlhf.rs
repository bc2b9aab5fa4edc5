//! `OpenRLHF`, `--reward.remote_url` (`--remote_rm_url` before): whole texts and their prompts, a number for each.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::server::body::{Input, json as written, parse};
use crate::server::{Answer, Caller, Server};

use super::{Route, Sample};

/// What it sends. A rank without samples sends empty lists.
#[derive(Deserialize)]
struct Call {
    query: Vec<String>,
    #[serde(default)]
    prompts: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<Vec<Option<String>>>,
}

pub(super) async fn answer(route: Arc<Route>, server: Server, caller: Caller, input: Input) -> Answer {
    let call: Call = parse(&input)?;
    let samples = samples(&route, call)?;
    let rewards = route.rewards(&server, &caller, samples).await?;
    let column = |pick: fn(&super::Rewarded) -> f64| rewards.iter().map(pick).collect::<Vec<_>>();
    Ok(written(&json!({
        "rewards": column(|reward| reward.reward),
        "scores": column(|reward| reward.unit),
        "extra_logs": { "judge_score": column(|reward| reward.score), "judge_reward": column(|reward| reward.reward) },
    })))
}

fn samples(route: &Route, Call { query, prompts, labels }: Call) -> Result<Vec<Sample>> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, message);
    let count = query.len();
    for (name, length) in [("prompts", prompts.as_ref().map(Vec::len)), ("labels", labels.as_ref().map(Vec::len))] {
        if let Some(length) = length
            && length != count
            && length != 0
        {
            return Err(invalid(format!("query has {count} texts, but {name} has {length}")));
        }
    }
    let at = |list: &Option<Vec<String>>, index: usize| list.as_ref().and_then(|list| list.get(index).cloned());
    let mut samples = Vec::with_capacity(count);
    for (index, text) in query.iter().enumerate() {
        let mut sample = match at(&prompts, index) {
            Some(prompt) if !prompt.is_empty() && text.starts_with(&prompt) => {
                let (prompt, response) = (route.prompt(&prompt), route.response(&text[prompt.len()..]));
                Sample { prompt, response, label: None, principle: None }
            }
            _ => route.sample_of(text).map_err(|error| error.context(format!("query {index}")))?,
        };
        sample.label = labels.as_ref().and_then(|labels| labels.get(index).cloned().flatten());
        samples.push(sample);
    }
    Ok(samples)
}
