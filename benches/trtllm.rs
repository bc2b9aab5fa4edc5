//! The cost of the TensorRT-LLM bridge on the host, with 256 requests in flight. The stand-in, which computes nothing,
//! takes the place of the GPU.
//!
//! Times are CPU times of the submitting and the waiting thread together: `request` is a guided verdict on two
//! responses, `token` is the cost of each further token. The stand-in's work on these threads is included.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use dicast::config::{JudgeConfig, Options};
use dicast::decode::plan::{Plan, VerdictPlan};
use dicast::engine::{Engine, Generation, Input, Job, Priority, Sampling, source};
use dicast::prompt::{Prompt, Prompter};
use dicast::{JudgeRequest, Result};

const IN_FLIGHT: u32 = 256;

struct Folder(PathBuf);

impl Folder {
    /// An engine that writes a text, then letters until it is stopped; the grammar turns them into a verdict.
    fn new() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = std::env::temp_dir().join(format!("dicast-trtllm-bench-{}", std::process::id()));
        let options = ["--max-batch-size", "256", "--tokenizer"];
        let made = Command::new("bash")
            .arg(repository.join("tests/trtllm_standin/make_engine.sh"))
            .args(options)
            .arg(repository.join("demo/hf"))
            .arg(&folder)
            .status()
            .expect("bash is there");
        assert!(made.success());
        let script = format!("kv_blocks 60000\nrule\ntext {}\nno_end\n", "The shorter one is better. ".repeat(10));
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
    // The first field is the nanoseconds on a processor.
    let times =
        std::fs::read_to_string(format!("/proc/{thread}/schedstat")).expect("Linux with statistics of its scheduler");
    Duration::from_nanos(times.split_whitespace().next().and_then(|time| time.parse().ok()).expect("a number"))
}

/// The threads of this process, by id.
fn threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    tasks.filter_map(|task| task.file_name().into_string().ok()).collect()
}

/// The thread that waits for responses, among those that are new. It gets its name shortly after its start.
fn waiting_thread(before: &BTreeSet<String>) -> String {
    let limit = Instant::now() + Duration::from_secs(10);
    while Instant::now() < limit {
        let started = threads();
        let name = |id: &&String| std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).unwrap_or_default();
        if let Some(id) = started.difference(before).find(|id| name(id).starts_with("dicast-trtllm")) {
            return format!("self/task/{id}");
        }
        std::thread::yield_now();
    }
    panic!("the waiting thread was not found");
}

struct Bench {
    engine: Arc<dyn Engine>,
    prompter: Prompter,
    prompt: Prompt,
    /// The thread that waits for responses.
    waiting: String,
    _folder: Folder,
}

impl Bench {
    fn new() -> Self {
        let folder = Folder::new();
        let config = JudgeConfig::new(folder.0.to_str().expect("a temporary folder's name is UTF-8"));
        let before = threads();
        let (profile, opened) = source::open(&config).expect("the stand-in opens it");
        let waiting = waiting_thread(&before);
        let prompter = Prompter::of(profile, opened.text.as_ref()).expect("a profile that is in use");
        let settings = Options::default().resolve().expect("the defaults hold");
        let request = JudgeRequest::new("Prefer short answers.", "What is this?", [("a", "Text."), ("b", "Text")]);
        let prompt = prompter.prompt(&request, &settings).expect("it fits");
        Self { engine: opened.engine, prompter, prompt, waiting, _folder: folder }
    }

    /// A guided verdict, without reasoning.
    fn guided(&self) -> Plan {
        let settings = Options::default().resolve().expect("the defaults hold");
        let mut plan = Plan::new(self.prompter.profile(), &settings, &self.prompt.aliases, self.prompt.reasoning);
        plan.reasoning = None;
        plan
    }

    /// Free text of exactly this many tokens.
    fn free(max_tokens: u32) -> Plan {
        Plan { reasoning: None, verdict: VerdictPlan::Free { max_tokens } }
    }

    /// Runs all requests in flight at once; gives the bridge's processor time.
    fn round(&self, plan: &Plan) -> Duration {
        let (sender, ended) = channel();
        let jobs: Vec<_> = (0..IN_FLIGHT)
            .map(|_| {
                let now = Instant::now();
                let job = Job {
                    input: Input::Tokens { ids: self.prompt.tokens.clone(), shared_prefix: 0 },
                    plan: plan.clone(),
                    sampling: Sampling::GREEDY,
                    submitted: now,
                    deadline: now + Duration::from_secs(60),
                    patience: None,
                    priority: Priority::default(),
                    listener: None,
                };
                let sender = sender.clone();
                let done = move |outcome: Result<Generation>| {
                    sender.send(outcome.map(drop)).expect("it is awaited");
                };
                (job, Box::new(done))
            })
            .collect();
        let [waiting, ours] = [&self.waiting, "thread-self"].map(time_of);
        for (job, done) in jobs {
            self.engine.submit(job, done);
        }
        let submitting = time_of("thread-self").saturating_sub(ours);
        for _ in 0..IN_FLIGHT {
            ended.recv_timeout(Duration::from_secs(60)).expect("it ends").expect("nothing fails");
        }
        submitting + time_of(&self.waiting).saturating_sub(waiting)
    }
}

fn bridge(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("trtllm");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(3));
    // Criterion asks for the time of a number of requests; the measured time is a mean over whole rounds.
    let rounds = |iterations: u64| iterations.div_ceil(u64::from(IN_FLIGHT)).min(8);
    let scaled = |sum: Duration, parts: u32, iterations: u64| {
        // At least a nanosecond: a time below the noise must not read as zero.
        let nanoseconds = sum.as_nanos() * u128::from(iterations) / u128::from(parts);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX).max(1))
    };
    group.bench_function("request", |bencher| {
        bencher.iter_custom(|iterations| {
            let rounds = rounds(iterations);
            let sum = (0..rounds).map(|_| bench.round(&bench.guided())).sum();
            scaled(sum, IN_FLIGHT * u32::try_from(rounds).unwrap_or(1), iterations)
        });
    });
    group.bench_function("token", |bencher| {
        bencher.iter_custom(|iterations| {
            let (short, long) = (bench.round(&Bench::free(16)), bench.round(&Bench::free(16 + 256)));
            scaled(long.saturating_sub(short), IN_FLIGHT * 256, iterations)
        });
    });
    group.finish();

    // With nothing in flight the waiting thread sleeps, except for cleaning up.
    let before = time_of(&bench.waiting);
    std::thread::sleep(Duration::from_secs(2));
    let idle = time_of(&bench.waiting).saturating_sub(before);
    assert!(idle < Duration::from_micros(200), "an idle engine took {idle:?} of two seconds");
}

criterion_group!(benches, bridge);
criterion_main!(benches);
