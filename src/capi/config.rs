//! The settings that a configuration may hold.

use std::sync::LazyLock;

use super::text::{Text, dicast_str};
use crate::config::JudgeConfig;

/// The configuration of dicast_judge_open as JSON Schema: each setting with its type, range, default and meaning. Its
/// `properties.options` describes the options of a request.
///
/// Any thread, at any time. The result is valid until the program ends.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_config_schema() -> dicast_str {
    boundary!(else dicast_str::NONE; {
        static SCHEMA: LazyLock<Text> = LazyLock::new(|| Text::new(&JudgeConfig::schema().to_string()));
        Some(SCHEMA.view())
    })
}
