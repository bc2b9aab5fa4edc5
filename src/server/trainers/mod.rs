//! The protocols of trainers: routes that a configuration names, each with a principle.

use serde::{Deserialize, Serialize};

use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};

/// How a route speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `OpenRLHF`: `{"query": […], "prompts": […]}` to `{"rewards": […]}`.
    Openrlhf,
    /// slime and miles, `remote_rm`: `{"prompt", "response"}` to a number.
    Slime,
    /// LLaMA-Factory: `{"messages": [text, …]}` to `{"scores": […]}`.
    LlamaFactory,
    /// vLLM's `/classify`, as veRL calls it: `{"input"}` to `data[].probs`.
    Classify,
    /// vLLM's `/score`: `{"text_1", "text_2"}` to `data[].score`.
    Score,
    /// vLLM's `/pooling`: `{"input"}` to `data[].data`.
    Pooling,
    /// ROLL: submit a sample, then ask for its reward.
    Roll,
    /// NeMo Gym's `/verify`: a rollout to `{"reward"}`.
    NemoGymVerify,
    /// NeMo Gym's `/compare`: several responses to their rewards.
    NemoGymCompare,
    /// KServe v2 infer, as NeMo-Aligner calls it: `sentences` to `rewards`.
    Kserve,
}

/// Which number a trainer gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reward {
    /// The mean of the score's distribution where the engine gives one, else the score.
    #[default]
    Expected,
    /// The score as written.
    Score,
}

/// How samples of one prompt are gathered into one judgment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoalesceConfig {
    /// Samples of a prompt that come within this time after the first one are judged together.
    pub window_ms: u64,
    /// Judge as soon as so many have come; 0: the window alone decides.
    #[serde(default)]
    pub group_size: usize,
}

/// One route of a trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Where it is, such as `/get_reward`.
    pub path: String,
    /// How it speaks.
    pub protocol: Protocol,
    /// The principle that its samples are judged by.
    pub principle: String,
    /// The judge, by name. Default: the server's.
    #[serde(default)]
    pub judge: Option<String>,
    /// Which number the trainer gets.
    #[serde(default)]
    pub reward: Reward,
    /// Bring rewards to 0 to 1: the worst score of the scale is 0, the best 1.
    #[serde(default)]
    pub normalize: bool,
    /// Gather samples of one prompt into one judgment. Not set: each sample is judged alone.
    #[serde(default)]
    pub coalesce: Option<CoalesceConfig>,
    /// Settings of its judgments.
    #[serde(default)]
    pub options: Options,
}

impl RouteConfig {
    pub(super) fn check(&self) -> Result<()> {
        let place = &self.path;
        let invalid =
            |message: String| Error::new(ErrorKind::InvalidConfig, format!("server.routes: {place}: {message}"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !self.path.starts_with('/') || self.path.len() < 2 || !self.path.chars().all(plain) {
            return Err(invalid("a path begins with / and has letters, digits and / - _ .".to_owned()));
        }
        if self.principle.trim().is_empty() {
            return Err(invalid("it needs a principle".to_owned()));
        }
        if let Some(coalesce) = &self.coalesce
            && !(1..=3_600_000).contains(&coalesce.window_ms)
        {
            return Err(invalid("coalesce.window_ms is from 1 to 3600000".to_owned()));
        }
        self.options.resolve().map(drop).map_err(|error| invalid(format!("options: {}", error.message())))
    }
}
