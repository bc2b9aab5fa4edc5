//! Bounds on requests.

use serde::{Deserialize, Serialize};

use super::range::in_range;
use crate::error::Result;

/// Bounds on what one judge takes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most responses in one request, 1 to [`MAX_RESPONSES`]. Default 32.
    pub max_responses: usize,
    /// Most bytes of text in one request, 1 to 1 GiB. Default 4 MiB.
    pub max_request_bytes: usize,
    /// Most requests that wait or run at once, 1 to 1000000; the next one is refused as overloaded. Default 1024.
    pub max_queue: usize,
}

/// The most responses that a guided verdict can rank: a 64 bit set tracks those already named.
pub const MAX_RESPONSES: usize = 64;

impl Default for Limits {
    fn default() -> Self {
        Self { max_responses: 32, max_request_bytes: 4 << 20, max_queue: 1024 }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<()> {
        in_range("limits.max_responses", self.max_responses, 1, MAX_RESPONSES)?;
        in_range("limits.max_request_bytes", self.max_request_bytes, 1, 1 << 30)?;
        in_range("limits.max_queue", self.max_queue, 1, 1_000_000)?;
        Ok(())
    }
}
