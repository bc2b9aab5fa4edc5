//! Judgments with and without drafts by prompt lookup (`local.draft_tokens`), in turns, with 1, 2 and 8 in flight.
//!
//! `cargo bench --bench drafts` on the demonstration judge, or on another model:
//! `DICAST_BENCH_MODEL=model.gguf cargo bench --bench drafts`. `DICAST_BENCH_PROFILE` names its profile,
//! `DICAST_BENCH_DRAFTS` (1,2,4) the lengths, `DICAST_BENCH_REQUESTS` (24) how many of the held-out requests are judged in
//! each of `DICAST_BENCH_ROUNDS` (5) rounds, `DICAST_BENCH_REASONING` (64) the most tokens of reasoning,
//! `DICAST_BENCH_TEMPERATURE` (0) how they are sampled.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dicast::{Judge, JudgeConfig, JudgeRequest};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    // `cargo test --benches` runs this with `--test`: then it must only compile.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let lengths = std::env::var("DICAST_BENCH_DRAFTS").unwrap_or_else(|_| "1,2,4".to_owned());
    let lengths = lengths.split(',').map(|length| length.parse().expect("DICAST_BENCH_DRAFTS: whole numbers"));
    let lengths: Vec<u32> = std::iter::once(0).chain(lengths).collect();
    let rounds = number("DICAST_BENCH_ROUNDS", 5).max(1);
    let requests = requests(number("DICAST_BENCH_REQUESTS", 24))?;
    let judges: Vec<_> = lengths.iter().map(|&length| judge(length, number("DICAST_BENCH_REASONING", 64))).collect();
    for judge in &judges {
        run(judge, &requests[..1], 1);
    }
    for in_flight in [1, 2, 8] {
        let before: Vec<_> = judges.iter().map(Judge::stats).collect();
        let mut times = vec![Vec::new(); judges.len()];
        for round in 0..rounds {
            for turn in 0..judges.len() {
                let at = (round + turn) % judges.len();
                times[at].push(run(&judges[at], &requests, in_flight).as_secs_f64());
            }
        }
        writeln!(out, "{in_flight} in flight: {:.2} s without drafts", median(&mut times[0].clone()))?;
        for (at, length) in lengths.iter().enumerate().skip(1) {
            let mut ratios: Vec<_> = times[0].iter().zip(&times[at]).map(|(without, with)| without / with).collect();
            let middle = median(&mut ratios);
            let after = judges[at].stats();
            let drafted = after.drafted_tokens - before[at].drafted_tokens;
            let accepted = after.accepted_tokens - before[at].accepted_tokens;
            let steps = [at, 0].map(|judge| judges[judge].stats().steps - before[judge].steps);
            writeln!(
                out,
                "  at most {length:2}: {middle:.3} ({:.3} to {:.3}) times as fast, {accepted} of {drafted} tokens right, {} steps \
                 instead of {}",
                ratios[0],
                ratios[ratios.len() - 1],
                steps[0],
                steps[1]
            )?;
        }
        out.flush()?;
    }
    Ok(())
}

fn judge(draft_tokens: u32, reasoning: usize) -> Judge {
    let model = std::env::var("DICAST_BENCH_MODEL")
        .unwrap_or_else(|_| format!("{}/demo/dicast-demo.gguf", env!("CARGO_MANIFEST_DIR")));
    let mut config = JudgeConfig::new(model);
    config.profile = std::env::var_os("DICAST_BENCH_PROFILE").map(PathBuf::from);
    config.options.max_reasoning_tokens = Some(u32::try_from(reasoning).unwrap_or(64));
    config.options.temperature = std::env::var("DICAST_BENCH_TEMPERATURE").ok().and_then(|value| value.parse().ok());
    config.local.context_tokens = 2048;
    config.local.draft_tokens = draft_tokens;
    Judge::open(config).unwrap_or_else(|error| panic!("{error}"))
}

/// The first held-out requests of the demonstration judge.
fn requests(count: usize) -> std::io::Result<Vec<JudgeRequest>> {
    let lines = std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("demo/heldout.jsonl"))?;
    let read = |line: &str| -> serde_json::Result<JudgeRequest> {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let wanted = ["principle", "prompt", "responses"].map(|key| (key.to_owned(), line[key].clone()));
        serde_json::from_value(serde_json::Value::Object(wanted.into_iter().collect()))
    };
    Ok(lines.lines().take(count).map(read).collect::<serde_json::Result<_>>()?)
}

/// The time that the judge takes for all requests with so many in flight.
fn run(judge: &Judge, requests: &[JudgeRequest], in_flight: usize) -> Duration {
    let (next, began) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..in_flight {
            scope.spawn(|| {
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    judge.judge(request).unwrap_or_else(|error| panic!("{error}"));
                }
            });
        }
    });
    began.elapsed()
}

/// Sorts the numbers.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
