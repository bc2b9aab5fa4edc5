//! What the bridge to TensorRT-LLM costs on the host, at 256 requests in flight: with the stand-in, which computes
//! nothing, in place of a GPU.
//!
//! Times are of processors, by thread, and not of a clock: the submitting thread's and the waiting thread's together for
//! `request` (a guided verdict on two responses) and `token` (what each further token adds to that); the executor's own
//! thread's for `probed_token`, with score probes less without, which counts what the stand-in does for a probe too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dicast::config::{JudgeConfig, Options, TrtllmMode};
use dicast::decode::plan::{Plan, VerdictPlan};
use dicast::engine::{self, Engine, Job, Sampling};
use dicast::prompt::template::ChatTemplate;
use dicast::prompt::{Prompt, Prompter};
use dicast::{JudgeRequest, Result};

const IN_FLIGHT: u32 = 256;

struct Folder(PathBuf);

impl Folder {
    /// An engine that reasons for some 60 tokens, ends it, and leaves the verdict to the grammar.
    fn new(name: &str) -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = std::env::temp_dir().join(format!("dicast-trtllm-bench-{}-{name}", std::process::id()));
        let options = ["--vocab-size", "4096", "--max-batch-size", "256", "--tokenizer"];
        let made = Command::new("bash")
            .arg(repository.join("tests/trtllm_standin/make_engine.sh"))
            .args(options)
            .arg(repository.join("demo/hf"))
            .arg(&folder)
            .status()
            .expect("bash is there");
        assert!(made.success());
        let script = format!(
            "kv_blocks 60000\nrule\ntext {}\\xF4\\x8F\\xBF\\xBD\nno_end\n",
            "The shorter one is better. ".repeat(10)
        );
        std::fs::write(folder.join("standin.script"), script).expect("the folder was just made");
        std::fs::copy(repository.join("demo/dicast-demo.profile.json"), folder.join("dicast-profile.json"))
            .expect("the folder was just made");
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Processor time of a thread.
fn time_of(thread: &str) -> Duration {
    // Nanoseconds on a processor come first.
    let times =
        std::fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("Linux with statistics of its scheduler");
    Duration::from_nanos(times.split_whitespace().next().and_then(|time| time.parse().ok()).expect("a number"))
}

/// The threads of this process, by id.
fn threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    tasks.filter_map(|task| task.file_name().into_string().ok()).collect()
}

struct Bench {
    engine: Arc<dyn Engine>,
    prompter: Prompter,
    prompt: Prompt,
    /// The thread that waits for responses, and the stand-in's.
    waiting: String,
    executor: String,
    _folder: Folder,
}

/// What a round took.
struct Cost {
    bridge: Duration,
    executor: Duration,
    /// Tokens that were generated.
    tokens: u32,
}

impl Bench {
    /// An engine whose requests bring probes, or one of a mode that has none.
    fn new(probes: bool) -> Self {
        let folder = Folder::new(if probes { "probes" } else { "bare" });
        let mut config = JudgeConfig::new(folder.0.to_str().expect("a temporary folder's name is UTF-8"));
        if !probes {
            config.trtllm.mode = TrtllmMode::Orchestrator;
            let worker = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trtllm_standin/executorWorker");
            config.trtllm.worker_path = Some(worker);
        }
        let before = threads();
        let opened = engine::open(&config).expect("the stand-in opens it");
        let started: Vec<_> = threads().difference(&before).map(|id| format!("self/task/{id}")).collect();
        let name = |thread: &str| std::fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        let (waiting, executor): (Vec<_>, Vec<_>) =
            started.into_iter().partition(|thread| name(thread).starts_with("dicast-trtllm"));
        let template = ChatTemplate::new(&opened.chat_template, opened.bos.as_deref(), opened.eos.as_deref())
            .expect("a template that is in use");
        let prompter = Prompter::new(opened.profile, template, opened.tokenizer).expect("a profile that is in use");
        let settings = Options::default().resolve().expect("the defaults hold");
        let request = JudgeRequest::new("Prefer short answers.", "What is this?", [("a", "Text."), ("b", "Text")]);
        let prompt = prompter.prompt(&request, &settings).expect("it fits");
        let [waiting, executor] =
            [waiting, executor].map(|threads| threads.into_iter().next().expect("it was started"));
        Self { engine: opened.engine, prompter, prompt, waiting, executor, _folder: folder }
    }

    /// A guided verdict, without reasoning.
    fn guided(&self) -> Plan {
        let settings = Options::default().resolve().expect("the defaults hold");
        let mut plan = Plan::new(self.prompter.profile(), &settings, &self.prompt.aliases, self.prompt.reasoning);
        plan.reasoning = None;
        plan
    }

    /// Free text of exactly so many tokens.
    fn free(&self, max_tokens: u32) -> Plan {
        Plan { reasoning: None, verdict: VerdictPlan::Free { max_tokens }, ..self.guided() }
    }

    /// Runs requests in flight all at once.
    fn round(&self, plan: &Plan) -> Cost {
        let (sender, ended) = channel();
        let jobs: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let now = Instant::now();
                let job = Job {
                    prompt: self.prompt.tokens.clone(),
                    plan: plan.clone(),
                    sampling: Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 },
                    submitted: now,
                    deadline: now + Duration::from_secs(60),
                };
                let sender = sender.clone();
                let done = move |outcome: Result<engine::Generation>| {
                    sender.send(outcome.map(|written| written.usage.verdict_tokens)).expect("it is awaited");
                };
                (job, Box::new(done))
            })
            .collect();
        let [waiting, executor, ours] = [&self.waiting, &self.executor, "thread-self"].map(time_of);
        for (job, done) in jobs {
            self.engine.submit(job, done);
        }
        let submitting = time_of("thread-self") - ours;
        let mut tokens = 0;
        for _ in 0..IN_FLIGHT {
            tokens += ended.recv_timeout(Duration::from_secs(60)).expect("it ends").expect("nothing fails");
        }
        Cost { bridge: submitting + (time_of(&self.waiting) - waiting), executor: time_of(&self.executor) - executor }
    }
}

fn bridge(criterion: &mut Criterion) {
    let bench = Bench::new(true);
    let bare = Bench::new(false);
    assert!(bench.engine.capabilities().distributions && !bare.engine.capabilities().distributions);
    let mut group = criterion.benchmark_group("trtllm");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(3));
    // Criterion asks for the time of so many; what is measured is a mean over whole rounds.
    let rounds = |iterations: u64| iterations.div_ceil(u64::from(IN_FLIGHT)).min(8);
    let scaled = |sum: Duration, parts: u32, iterations: u64| {
        Duration::from_secs_f64(sum.as_secs_f64() / f64::from(parts) * iterations as f64)
    };
    group.bench_function("request", |bencher| {
        bencher.iter_custom(|iterations| {
            let rounds = rounds(iterations);
            let sum = (0..rounds).map(|_| bench.round(&bench.guided()).bridge).sum();
            scaled(sum, IN_FLIGHT * u32::try_from(rounds).unwrap_or(1), iterations)
        });
    });
    group.bench_function("token", |bencher| {
        bencher.iter_custom(|iterations| {
            let (short, long) = (bench.round(&bench.free(16)).bridge, bench.round(&bench.free(16 + 256)).bridge);
            scaled(long.saturating_sub(short).max(Duration::from_nanos(1)), IN_FLIGHT * 256, iterations)
        });
    });
    group.bench_function("probed_token", |bencher| {
        bencher.iter_custom(|iterations| {
            let (with, without) = (bench.round(&bench.guided()), bare.round(&bare.guided()));
            let more = with.executor.saturating_sub(without.executor).max(Duration::from_nanos(1));
            scaled(more, with.tokens.max(1), iterations)
        });
    });
    group.finish();

    // With nothing in flight the waiting thread sleeps: not a nanosecond on a processor.
    let before = time_of(&bench.waiting);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(time_of(&bench.waiting) - before, Duration::ZERO, "an idle engine takes no processor time");
}

criterion_group!(benches, bridge);
criterion_main!(benches);
