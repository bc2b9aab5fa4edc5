//! Every setting of a judge, read from one JSON form and checked once.
//!
//! One file for each part of the configuration; each part has its own check.

mod limits;
mod local;
mod options;
mod range;
mod trtllm;
mod verdict;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use limits::{Limits, MAX_RESPONSES};
pub use local::LocalConfig;
pub use options::{Mask, Options, Settings};
pub use trtllm::{TrtllmConfig, TrtllmMode, TrtllmScheduler};
pub use verdict::{Incomplete, VerdictPolicy};

use crate::error::{Error, ErrorKind, Result};

/// Everything that opens a judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeConfig {
    /// The model: a path to a `.gguf` file, or to a folder with a TensorRT-LLM engine. (The command line also takes `hf:owner/repo` and fetches it first.)
    pub model: String,
    /// The judge profile; by default the one beside the model, else the built-in one.
    pub profile: Option<PathBuf>,
    /// Options for every request of this judge.
    pub options: Options,
    /// How answers are read.
    pub verdict: VerdictPolicy,
    /// Bounds on requests.
    pub limits: Limits,
    /// Settings of the embedded engine.
    pub local: LocalConfig,
    /// Settings of the TensorRT-LLM engine.
    pub trtllm: TrtllmConfig,
}

impl JudgeConfig {
    /// The default configuration for a model.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Reads a configuration from JSON and checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, or the line and column.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = crate::json::read(json.as_bytes()).map_err(|error| {
            Error::new(ErrorKind::InvalidConfig, format!("the configuration is not valid: {error}"))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks every setting. [`crate::Judge::open`] does this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
    pub fn check(&self) -> Result<()> {
        if self.model.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "model is empty: name a model file"));
        }
        self.options.resolve().map_err(|error| error.context("options"))?;
        self.limits.check()?;
        self.local.check()?;
        self.trtllm.check()
    }
}
