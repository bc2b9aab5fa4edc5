//! Bounds on requests.

use super::table::{settings, whole};
use crate::error::Result;

/// The most responses that a guided verdict can rank: a 64 bit set tracks those already named.
pub const MAX_RESPONSES: usize = 64;

settings! {
    /// Limits on the requests of one judge.
    #[derive(Eq)]
    pub struct Limits in "limits" {
        /// Most responses in one request.
        max_responses: usize = 32, whole(1, MAX_RESPONSES as u64);
        /// Most bytes of text in one request.
        max_request_bytes: usize = 4 << 20, whole(1, 1 << 30);
        /// Most requests that wait or run at once; the next one is refused as overloaded.
        max_queue: usize = 1024, whole(1, 1_000_000);
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<()> {
        self.check_ranges()
    }
}
