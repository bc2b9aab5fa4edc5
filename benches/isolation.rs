//! The cost of isolation: the same judgments on an engine in this process and in a worker process, in turns.
//!
//! `cargo bench --bench isolation` on the demonstration judge, or on another model: `DICAST_BENCH_MODEL=model.gguf`.
//! `DICAST_BENCH_ROUNDS` (5) sets the rounds.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dicast::config::Isolation;
use dicast::{Judge, JudgeConfig, JudgeRequest};

/// Judgments of one round, one after the other and together.
const JUDGMENTS: usize = 60;

fn main() -> std::io::Result<()> {
    // `cargo test --benches` runs this with `--test`: then it must only compile.
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let demo = || Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    let model = std::env::var_os("DICAST_BENCH_MODEL").map_or_else(demo, PathBuf::from);
    let rounds = std::env::var("DICAST_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let mut opening = Vec::new();
    let judges = [Isolation::None, Isolation::Process].map(|isolation| {
        let mut config = JudgeConfig::new(model.to_str().expect("a path in UTF-8"));
        config.local.isolation = Some(isolation);
        config.local.worker_path = Some(PathBuf::from(env!("CARGO_BIN_EXE_dicast")));
        config.local.threads = 1;
        let start = Instant::now();
        let judge = Judge::open(config).unwrap_or_else(|error| panic!("{error}"));
        opening.push(start.elapsed());
        judge
    });
    writeln!(out, "open                     {:.1?} here, {:.1?} in a worker", opening[0], opening[1])?;
    let alone = |judge: &Judge| {
        for salt in 0..JUDGMENTS {
            judge.judge(&request(salt)).unwrap_or_else(|error| panic!("{error}"));
        }
    };
    let together = |judge: &Judge| {
        let requests: Vec<_> = (0..JUDGMENTS).map(request).collect();
        assert!(judge.judge_batch(&requests).iter().all(Result::is_ok));
    };
    for (name, work) in [("one after the other", &alone as &dyn Fn(&Judge)), ("together", &together)] {
        // The minimum of all rounds: other work on the machine only adds time.
        let mut least = [Duration::MAX; 2];
        for _ in 0..rounds {
            for (judge, least) in judges.iter().zip(&mut least) {
                let start = Instant::now();
                work(judge);
                *least = (*least).min(start.elapsed());
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let each = least.map(|time| time.as_secs_f64() * 1e6 / JUDGMENTS as f64);
        let (more, ratio) = (each[1] - each[0], each[1] / each[0]);
        writeln!(out, "{name:24} {:.0} us here, {:.0} us in a worker: {more:+.0} us, {ratio:.3}", each[0], each[1])?;
    }
    Ok(())
}

/// A request of the usual size: three answers of about fifty words.
fn request(salt: usize) -> JudgeRequest {
    let answer = |style: &str| {
        format!(
            "{style} Start with the official tutorial, read it with an interpreter open, and type every example. Then build \
             something small that you need yourself, break it, and repair it, number {salt}."
        )
    };
    JudgeRequest::new(
        "Prefer short answers.",
        format!("How do I learn Python programming effectively, attempt {salt}?"),
        [("short", answer("In short:")), ("warm", answer("Great question!")), ("plain", answer(""))],
    )
}
