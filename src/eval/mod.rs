//! Evaluation of judges: items with a known order, metrics with intervals, tests of differences. What reads the items and
//! judges them is `dicast eval`.

pub mod metrics;
pub mod resampling;

mod item;
mod score;

pub use item::{Benchmark, Item};
pub use score::{ItemScores, item_scores};
