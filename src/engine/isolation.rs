//! What an engine in a worker process is opened from; also compiled on systems without worker processes.
#![cfg_attr(not(unix), expect(dead_code, reason = "only a worker reads it"))]

use serde_json::Value;

use crate::config::JudgeConfig;
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::{TokenKind, Tokenizer};

/// The model that a worker process opens.
pub(super) struct Model<'a> {
    pub(super) table: Table,
    /// Its name in messages.
    pub(super) place: String,
    /// Distinguishes it from other models.
    pub(super) fingerprint: Value,
    pub(super) config: &'a JudgeConfig,
    pub(super) profile: &'a Profile,
}

/// Which engine is isolated, and therefore whose settings apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    #[cfg_attr(not(any(feature = "local", test)), expect(dead_code, reason = "not in this build"))]
    Local,
    #[cfg_attr(not(any(feature = "trtllm", test)), expect(dead_code, reason = "not in this build"))]
    Trtllm,
}

impl Table {
    /// Its key in the configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Trtllm => "trtllm",
        }
    }
}

/// The parts that make the prompts of a model, as far as its files give them without its engine.
pub(super) struct TextParts {
    pub(super) chat_template: String,
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
    /// `None` for a vocabulary that only the engine can tokenize.
    pub(super) tokenizer: Option<Tokenizer>,
    /// What each token is for, by its id.
    pub(super) kinds: Vec<TokenKind>,
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::engine::unisolated;
    use crate::error::ErrorKind;

    #[test]
    fn where_there_are_no_worker_processes_the_error_names_the_setting() {
        let (config, profile) = (JudgeConfig::new("model.gguf"), Profile::builtin());
        for (table, setting) in [(Table::Local, "local.isolation"), (Table::Trtllm, "trtllm.isolation")] {
            let model = Model { table, place: "m".into(), fingerprint: 1.into(), config: &config, profile: &profile };
            let error = unisolated::open(model, || unreachable!("nothing is read")).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(&format!("set {setting} to none")), "{error}");
        }
        assert_eq!(unisolated::serve().unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
