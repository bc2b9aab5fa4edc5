//! Evaluation of judges: items with a known order, metrics with intervals, tests of differences. `dicast eval` reads and
//! judges the items.

pub mod metrics;
pub mod resampling;

mod item;
mod score;

pub use item::{Benchmark, Item};
pub use score::{ItemScores, item_scores};
