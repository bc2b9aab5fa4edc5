//! The remote engine with scripted servers: its requests, and how it handles their faults.

mod choosing;
mod faults;
mod judging;
mod life;
mod server;
#[cfg(feature = "server")]
mod transport;

use dicast::{Judge, JudgeConfig, JudgeRequest, Verdict};

/// A judge over a server.
fn config(url: &str) -> JudgeConfig {
    let mut config = JudgeConfig::new(url);
    // So much is streamed, and the verdict comes as a whole.
    config.options.max_reasoning_tokens = Some(300);
    config.options.timeout_ms = Some(60_000);
    config.remote.retry_delay_ms = 5;
    config
}

fn open(url: &str) -> Judge {
    Judge::open(config(url)).unwrap()
}

/// A request whose verdict depends on its number.
fn request(number: usize) -> JudgeRequest {
    let text = |place: usize| format!("score={} of {number}", score(number, place));
    let responses: Vec<_> = (0..3).map(|place| (format!("r{place}"), text(place))).collect();
    JudgeRequest::new("Be brief.", "A prompt", responses.iter().map(|(name, text)| (name.as_str(), text.as_str())))
}

fn score(number: usize, place: usize) -> usize {
    (number * 7 + place * 2) % 5 + 1
}

#[track_caller]
fn assert_verdict(number: usize, verdict: &Verdict) {
    for (place, scored) in verdict.scores.iter().enumerate() {
        assert_eq!(scored.name, format!("r{place}"));
        assert_eq!(scored.score.to_string(), score(number, place).to_string(), "request {number}");
    }
    let ranked: Vec<f64> = verdict.ranking.iter().map(|&index| verdict.scores[index].score).collect();
    assert!(ranked.is_sorted_by(|a, b| a >= b), "{ranked:?}");
}
