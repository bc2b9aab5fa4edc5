//! The decoding plan of one judgment: what is generated freely, what under a grammar, and where scores are probed. For
//! engine authors, as [`engine`](crate::engine) is.

pub mod grammar;
pub(crate) mod logprobs;
pub mod marks;
pub mod plan;
pub mod reasoning;
pub mod score;
pub mod transcript;
