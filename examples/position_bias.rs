//! What an ensemble does for a judge with a known position bias: accuracy and cost by the number of orders.
//!
//! The judge is scripted. It knows how good each response is, adds a bias for the place in the prompt and noise of its own for
//! each prompt, and rounds to whole scores. Prints the table of `docs/judgments.md`:
//!
//! ```sh
//! cargo run --example position_bias --no-default-features --features testing
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use dicast::config::StopEarly;
use dicast::engine::scripted::{Reply, Scripted};
use dicast::engine::{Input, Job};
use dicast::eval::{item_scores, metrics, resampling};
use dicast::{Judge, JudgeConfig, JudgeRequest, Log, Profile, Result};

/// What the judge adds to the response at each place.
const BIAS: [f64; 4] = [1.2, 0.3, 0.0, -0.3];
/// The standard deviation of its noise.
const NOISE: f64 = 0.7;
const ITEMS: u64 = 400;

/// A number of a normal distribution that depends on a text alone.
fn noise(text: &str) -> f64 {
    let uniform = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    };
    (0..12).map(uniform).sum::<f64>() - 6.0
}

/// The judge: responses are texts such as `3.25 of item 7`.
fn answer(job: &Job) -> Reply {
    let Input::Messages(messages) = &job.input else { return Reply::text("") };
    let prompt = messages.last().map_or("", |message| message.content.as_str());
    let request: serde_json::Value = serde_json::from_str(prompt).unwrap_or_default();
    let (mut scores, mut ranked) = (Vec::new(), Vec::new());
    for (place, (alias, text)) in request["responses"].as_object().into_iter().flatten().enumerate() {
        let text = text.as_str().unwrap_or_default();
        let quality: f64 = text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(3.0);
        let felt = quality + BIAS[place] + NOISE * noise(&format!("{prompt}{alias}"));
        scores.push(format!("\"{alias}\": {}", felt.round().clamp(1.0, 5.0)));
        ranked.push((felt, format!("\"{alias}\"")));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let ranked: Vec<String> = ranked.into_iter().map(|(_, alias)| alias).collect();
    Reply::text(format!("{{\"scores\": {{{}}}, \"best-to-worst\": [{}]}}", scores.join(", "), ranked.join(", ")))
}

fn main() -> Result<()> {
    let engine = Scripted::new(|job, _| answer(job));
    let mut config = JudgeConfig::new("scripted");
    config.options.reasoning = Some(false);
    let judge = Judge::with_engine(config, Profile::builtin(), engine.opened(), Log::none())?;
    let qualities = |item: u64| -> Vec<f64> {
        (0..4).map(|index| 3.0 + noise(&format!("{item} {index}")).clamp(-2.0, 2.0)).collect()
    };
    println!("| orders | ends early | best by mean score | first in the ranking | runs a judgment |");
    println!("| --- | --- | --- | --- | --- |");
    for (orders, stop) in [
        (1, StopEarly::Never),
        (2, StopEarly::Never),
        (4, StopEarly::Never),
        (8, StopEarly::Never),
        (16, StopEarly::Never),
        (16, StopEarly::Top),
    ] {
        let requests: Vec<JudgeRequest> = (0..ITEMS)
            .map(|item| {
                let texts = qualities(item).into_iter().map(|quality| format!("{quality} of item {item}"));
                let named = texts.enumerate().map(|(index, text)| (index.to_string(), text));
                let mut request = JudgeRequest::new("Be right.", format!("item {item}"), named);
                (request.options.orders, request.options.stop_early) = (Some(orders), Some(stop));
                request
            })
            .collect();
        let (mut best, mut first, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for (item, verdict) in (0..ITEMS).zip(judge.judge_batch(&requests)) {
            let (verdict, relevance) = (verdict?, qualities(item));
            let values: Vec<f64> = verdict.scores.iter().map(|scored| scored.score).collect();
            let share = |is_right: bool| f64::from(u8::from(is_right));
            best.push(share(item_scores(&values, &relevance, &[], false).best == Some(true)));
            first.push(share(relevance.iter().all(|one| *one <= relevance[verdict.ranking[0]])));
            let count = verdict.ensemble.as_ref().map_or(1, |ensemble| ensemble.runs.len());
            runs.push(f64::from(u32::try_from(count).unwrap_or(0)));
        }
        let shown = |values: &[f64]| {
            let drawn = |drawn: &[usize]| metrics::mean(&drawn.iter().map(|&index| values[index]).collect::<Vec<_>>());
            let (low, high) = resampling::interval(values.len(), drawn).unwrap_or((0.0, 0.0));
            format!("{:.2} [{low:.2}, {high:.2}]", metrics::mean(values).unwrap_or(0.0))
        };
        let runs = metrics::mean(&runs).unwrap_or(0.0);
        println!("| {orders} | {} | {} | {} | {runs:.1} |", stop.word(), shown(&best), shown(&first));
    }
    Ok(())
}
