//! The cost of a judgment on the embedded engine: throughput alone and together, reuse of prefixes, host time, memory,
//! and what an idle judge uses.
//!
//! `cargo bench --bench judge` on the model that `scripts/test_fixtures.sh --bench` makes, or on another one:
//! `DICAST_BENCH_MODEL=model.gguf cargo bench --bench judge`. `DICAST_BENCH_ROUNDS` (3) sets how often throughput is
//! measured, `DICAST_BENCH_REASONING` (256) the reasoning tokens of each judgment.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dicast::{Judge, JudgeConfig, JudgeRequest, Verdict};

/// Judgments that run together.
const TOGETHER: usize = 8;

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
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let rounds = number("DICAST_BENCH_ROUNDS", 3).max(1);
    let mut config = JudgeConfig::new(model.to_str().expect("a path in UTF-8"));
    config.options.max_reasoning_tokens = Some(u32::try_from(number("DICAST_BENCH_REASONING", 256)).unwrap_or(256));
    config.local.context_tokens = 2048;

    let before = resident();
    let start = Instant::now();
    let judge = Judge::open(config).unwrap_or_else(|error| panic!("{error}"));
    let opened = start.elapsed();
    writeln!(out, "model            {} ({} MB)", model.display(), std::fs::metadata(&model)?.len() >> 20)?;
    writeln!(out, "open             {opened:.2?}")?;

    idle(&judge, &mut out)?;
    reuse(&judge, &mut out)?;
    host(&judge, &mut out)?;
    throughput(&judge, rounds, &mut out)?;
    writeln!(out, "resident memory  {} MB before opening, {} MB at most since", before >> 20, peak_resident() >> 20)?;
    writeln!(out, "engine           {:?}", judge.stats())
}

/// A request of the usual size: three answers of about fifty words.
fn request(salt: usize) -> JudgeRequest {
    let answer = |style: &str| {
        format!(
            "{style} Start with the official tutorial, read it with an interpreter open, and type every example. Then \
             build something small that you need yourself, break it, and repair it; read what others wrote, ask when you \
             are stuck, and come back to it each day, number {salt}."
        )
    };
    JudgeRequest::new(
        format!("Prefer clear, concise and helpful responses, case {salt}."),
        format!("How do I learn Python programming effectively, attempt {salt}?"),
        [("short", answer("In short:")), ("warm", answer("Great question!")), ("plain", answer(""))],
    )
}

fn idle(judge: &Judge, out: &mut impl Write) -> std::io::Result<()> {
    judge.judge(&request(0)).unwrap_or_else(|error| panic!("{error}"));
    let (cpu, wall) = (cpu_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(2));
    writeln!(out, "idle             {:.2?} of CPU in {:.2?}", cpu_time().saturating_sub(cpu), wall.elapsed())
}

fn reuse(judge: &Judge, out: &mut impl Write) -> std::io::Result<()> {
    for (what, salt) in [("another request", 1), ("the same again", 1)] {
        let Verdict { usage, timing, .. } = judge.judge(&request(salt)).unwrap_or_else(|error| panic!("{error}"));
        writeln!(
            out,
            "prefix           {what}: {} of {} prompt tokens reused, prefill {:.2?}",
            usage.reused_tokens, usage.prompt_tokens, timing.prefill
        )?;
    }
    Ok(())
}

/// Time of `submit`: mask, messages, template, tokenization, and the grammar, compiled or from the cache.
fn host(judge: &Judge, out: &mut impl Write) -> std::io::Result<()> {
    for count in [2usize, 4, 8, 16, 32] {
        let request = JudgeRequest::new("Short.", "Why?", (0..count).map(|index| (format!("n{index}"), "Because.")));
        let mut times = Vec::new();
        for _ in 0..12 {
            let start = Instant::now();
            let ticket = judge.submit(&request);
            times.push(start.elapsed());
            ticket.cancel();
        }
        let first = times.remove(0);
        times.sort_unstable();
        let tokens = judge.prompt(&request).map_or(0, |prompt| prompt.tokens.len());
        let start = Instant::now();
        let _ = judge.prompt(&request);
        let prompt = start.elapsed();
        writeln!(
            out,
            "host             {count:2} responses: submit {:.0?} median, {first:.0?} with the grammar's compilation; of it \
             {prompt:.0?} for the prompt of {tokens} tokens",
            times[times.len() / 2]
        )?;
    }
    Ok(())
}

fn throughput(judge: &Judge, rounds: usize, out: &mut impl Write) -> std::io::Result<()> {
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let requests = |base: usize| (0..TOGETHER).map(|index| request(base + index)).collect::<Vec<_>>();
        let start = Instant::now();
        for request in requests(1000 + round * 100) {
            judge.judge(&request).unwrap_or_else(|error| panic!("{error}"));
        }
        let alone = start.elapsed();
        let start = Instant::now();
        for result in judge.judge_batch(&requests(1050 + round * 100)) {
            result.unwrap_or_else(|error| panic!("{error}"));
        }
        let together = start.elapsed();
        let ratio = alone.as_secs_f64() / together.as_secs_f64();
        ratios.push(ratio);
        writeln!(
            out,
            "throughput       {TOGETHER} one by one {alone:.1?}, together {together:.1?}: {ratio:.2} times as many judgments \
             a second"
        )?;
        out.flush()?;
    }
    ratios.sort_unstable_by(f64::total_cmp);
    writeln!(out, "throughput       median ratio {:.2} of {rounds}", ratios[rounds / 2])
}

/// A field of `/proc/self/status`, in bytes; 0 on systems without it.
fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn resident() -> u64 {
    status("VmRSS")
}

fn peak_resident() -> u64 {
    status("VmHWM")
}

/// CPU time of the process so far; zero on systems without `/proc`.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the command name in parentheses: user and system time are fields 14 and 15, in hundredths of a second.
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks: u64 = fields.get(11..13).unwrap_or_default().iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
