//! Evaluation of judges: items with a known order, metrics with intervals, tests of differences; and what a judge's calibration
//! learns from them. `dicast eval` and `dicast calibrate` read and judge the items.

pub mod calibration;
pub mod metrics;
pub mod resampling;

mod item;
mod score;

pub use item::{Benchmark, Item, JudgedBy};
pub use score::{ItemScores, item_scores};
