//! The first judgment after a start of the embedded engine, without a folder for prefixes (`local.prefix_dir`), with an empty
//! one, and with one that an earlier start has filled.
//!
//! `cargo bench --bench starts` on the model that `scripts/test_fixtures.sh --bench` makes, or on another one:
//! `DICAST_BENCH_MODEL=model.gguf cargo bench --bench starts`. `DICAST_BENCH_ROUNDS` (3) sets how often.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dicast::{Judge, JudgeConfig, JudgeRequest, Level, Log};

/// What a start took.
struct Start {
    open: Duration,
    warm: Duration,
    first: Duration,
    reused: usize,
    prompt: usize,
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    // `cargo test --benches` runs this with `--test`: then it must only compile.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let model = std::env::var_os("DICAST_BENCH_MODEL").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/fixtures/bench-qwen3-0.6b-q8_0.gguf"),
        PathBuf::from,
    );
    if !model.exists() {
        writeln!(out, "{} is missing: run scripts/test_fixtures.sh --bench first", model.display())?;
        std::process::exit(2);
    }
    let rounds: usize =
        std::env::var("DICAST_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3).max(1);
    let folder = std::env::temp_dir().join(format!("dicast-starts-{}", std::process::id()));
    for pinned in [false, true] {
        writeln!(
            out,
            "{}",
            if pinned { "with a pinned principle of about 1,500 tokens" } else { "the first judgment" }
        )?;
        for _ in 0..rounds {
            let _ = std::fs::remove_dir_all(&folder);
            for (what, folder) in
                [("no folder", None), ("empty folder", Some(&*folder)), ("full folder", Some(&*folder))]
            {
                let Start { open, warm, first, reused, prompt } = start(&model, folder, pinned);
                writeln!(
                    out,
                    "  {what:12}  open {open:.2?}, pin {warm:.2?}, judgment {first:.2?}, {reused} of {prompt} prompt tokens reused"
                )?;
                out.flush()?;
            }
        }
        for entry in std::fs::read_dir(&folder)? {
            writeln!(out, "  file of {} bytes", entry?.metadata()?.len())?;
        }
    }
    std::fs::remove_dir_all(&folder)
}

fn start(model: &Path, folder: Option<&Path>, pinned: bool) -> Start {
    let mut config = JudgeConfig::new(model.to_str().expect("a path in UTF-8"));
    config.options.max_reasoning_tokens = Some(1);
    config.local.context_tokens = 4096;
    config.local.prefix_dir = folder.map(Path::to_owned);
    let principle = "Prefer the answer that is correct, short and clear, and that names what it rests on. ";
    let principle = principle.repeat(if pinned { 80 } else { 1 });
    let log = Log::new(Level::Info, |_, line| {
        if line.starts_with("local.prefix_dir") {
            let _ = writeln!(std::io::stderr(), "  {line}");
        }
    });
    let began = Instant::now();
    let judge = Judge::open_logged(config, log).unwrap_or_else(|error| panic!("{error}"));
    let open = began.elapsed();
    let began = Instant::now();
    let pin = pinned.then(|| judge.warm(&JudgeRequest::new(&principle, "", [("", ""); 0])));
    let pin = pin.transpose().unwrap_or_else(|error| panic!("{error}"));
    let warm = began.elapsed();
    let began = Instant::now();
    let request =
        JudgeRequest::new(&principle, "Why is the sky blue?", [("a", "Light scatters."), ("b", "It just is.")]);
    let usage = judge.judge(&request).unwrap_or_else(|error| panic!("{error}")).usage;
    let first = began.elapsed();
    drop(pin);
    Start { open, warm, first, reused: usage.reused_tokens, prompt: usage.prompt_tokens }
}
