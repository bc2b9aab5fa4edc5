//! The cost of the library without a model: a real judge on an engine that answers at once, called through the C
//! interface.
//!
//! `submit_to_callback` measures the whole path of a request through the library, 64 at a time: checks, prompt, queue,
//! verdict, callback; once with almost no text, once with some. `prompt` and `parse` are the parts that work on text;
//! Rust callers pay for them too.
#![expect(unsafe_code, reason = "calls the C interface")]

use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dicast::capi::{
    DICAST_OK, dicast_error, dicast_judge, dicast_judge_free, dicast_judge_judge, dicast_judge_submit, dicast_request,
    dicast_request_from_json, dicast_verdict, dicast_verdict_distribution, dicast_verdict_expected,
    dicast_verdict_free, dicast_verdict_json, dicast_verdict_name, dicast_verdict_rank, dicast_verdict_reasoning,
    dicast_verdict_score, dicast_verdict_score_of,
};
use dicast::config::VerdictPolicy;
use dicast::decode::transcript::Transcript;
use dicast::engine::{Capabilities, Completion, Engine, EngineKind, Guidance, Job, JobId, Opened, Stats, TextModel};
use dicast::prompt::tokenize::{RawToken, TokenKind, Tokenizer};
use dicast::verdict::Timing;
use dicast::{Judge, JudgeConfig, JudgeRequest, Log, Profile, verdict};

/// Requests in flight.
const TOGETHER: usize = 64;

const ANSWER: &str =
    "{\n  \"scores\": {\"model-1\": 5, \"model-2\": 2},\n  \"best-to-worst\": [\"model-1\", \"model-2\"]\n}";

/// An engine that answers at once.
struct Instant(Capabilities);

impl Engine for Instant {
    fn capabilities(&self) -> &Capabilities {
        &self.0
    }

    fn submit(&self, _: Job, done: Completion) -> JobId {
        let distributions = vec![vec![0.0, 0.0, 0.1, 0.2, 0.7], vec![0.2, 0.6, 0.2, 0.0, 0.0]];
        let mut transcript = Transcript::new(true, 0);
        transcript.answer(ANSWER.as_bytes());
        transcript.distributions = distributions;
        done(Ok(transcript.finish(Timing::default())));
        JobId(0)
    }

    fn cancel(&self, _: JobId) {}

    fn stats(&self) -> Stats {
        Stats::default()
    }

    fn close(&self) {}
}

fn judge() -> Judge {
    let mut capabilities = Capabilities::new(EngineKind::Custom("instant"));
    capabilities.guidance = Guidance::Grammar;
    capabilities.distributions = true;
    capabilities.max_sequences = 64;
    let tokens = (0..=255).map(|byte| RawToken { bytes: vec![byte], kind: TokenKind::Normal }).collect();
    let encode = |text: &str| Ok(text.bytes().map(u32::from).collect());
    let opened = Opened {
        engine: Arc::new(Instant(capabilities)),
        text: Some(TextModel {
            chat_template: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}".into(),
            bos: None,
            eos: None,
            tokenizer: Arc::new(Tokenizer::from_encoder(Box::new(encode), tokens).unwrap()),
        }),
    };
    let profile = Profile::from_json(r#"{"format": 1, "name": "bench", "system_prompt": "Judge."}"#).unwrap();
    Judge::with_engine(JudgeConfig::new("none"), profile, opened, Log::none()).unwrap()
}

fn json() -> String {
    let text = "Build small projects, read other people's code, and ask for reviews of your own. ".repeat(4);
    serde_json::json!({
        "principle": "Prefer short answers.", "prompt": "How do I learn Python?", "responses": {"a": text, "b": text},
    })
    .to_string()
}

/// A request with almost no text; its names need no shuffling.
const LEAST: &str = r#"{"principle": "", "prompt": "", "responses": {"a": "", "b": ""}, "options": {"mask": "given"}}"#;

fn request(json: &str) -> Box<dicast_request> {
    let mut request = MaybeUninit::uninit();
    // SAFETY: the text lives during the call; if the call returns 0, the caller owns the request.
    unsafe {
        assert_eq!(dicast_request_from_json(json.into(), Some(&mut request), None), DICAST_OK);
        Box::from_raw(request.assume_init())
    }
}

struct Waiting {
    left: AtomicUsize,
    thread: Thread,
}

unsafe extern "C" fn done(data: *mut c_void, status: i32, verdict: *mut dicast_verdict, _: *mut dicast_error) {
    assert_eq!(status, DICAST_OK);
    // SAFETY: the data is the waiter, which outlives all callbacks; the callee owns the verdict.
    let (waiting, verdict) = unsafe { (&*data.cast::<Waiting>(), Box::from_raw(verdict)) };
    dicast_verdict_free(Some(verdict));
    if waiting.left.fetch_sub(1, Ordering::AcqRel) == 1 {
        waiting.thread.unpark();
    }
}

fn submit_to_callback(criterion: &mut Criterion) {
    let judge = dicast_judge::new(judge());
    let waiting = Waiting { left: AtomicUsize::new(0), thread: std::thread::current() };
    let data = std::ptr::from_ref(&waiting).cast_mut().cast::<c_void>();
    let mut group = criterion.benchmark_group("submit_to_callback");
    group.throughput(Throughput::Elements(TOGETHER as u64)).measurement_time(Duration::from_secs(3));
    for (name, json) in [("least", LEAST), ("text", &json())] {
        let request = request(json);
        group.bench_function(name, |bench| {
            bench.iter(|| {
                waiting.left.store(TOGETHER, Ordering::Release);
                for _ in 0..TOGETHER {
                    // SAFETY: the callback obeys its contract, and its data outlives it.
                    let status = unsafe {
                        dicast_judge_submit(Some(&judge), Some(&request), Some(done), data, std::ptr::null_mut(), None)
                    };
                    assert_eq!(status, DICAST_OK);
                }
                while waiting.left.load(Ordering::Acquire) > 0 {
                    std::thread::park();
                }
            });
        });
    }
    group.finish();
    dicast_judge_free(Some(judge));
}

/// The parts of a request's path that work on its text.
fn text(criterion: &mut Criterion) {
    let (judge, request) = (judge(), JudgeRequest::from_json(json().as_bytes()).unwrap());
    let names = judge.prompt(&request).unwrap().aliases;
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(TOGETHER as u64)).measurement_time(Duration::from_secs(2));
    group.bench_function("prompt", |bench| {
        bench.iter(|| (0..TOGETHER).for_each(|_| drop(black_box(judge.prompt(black_box(&request))))));
    });
    let (profile, policy) = (judge.profile(), VerdictPolicy::default());
    group.bench_function("parse", |bench| {
        bench.iter(|| {
            for _ in 0..TOGETHER {
                drop(black_box(verdict::parse_parts(ANSWER.into(), "", ANSWER, &names, profile, &policy)));
            }
        });
    });
    group.finish();
}

fn getters(criterion: &mut Criterion) {
    let (judge, request, mut verdict) = (dicast_judge::new(judge()), request(LEAST), MaybeUninit::uninit());
    assert_eq!(dicast_judge_judge(Some(&judge), Some(&request), Some(&mut verdict), None), DICAST_OK);
    // SAFETY: the call has passed its ownership to the caller.
    let verdict = unsafe { Box::from_raw(verdict.assume_init()) };
    let mut group = criterion.benchmark_group("getters");
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
    let verdict = Some(&*verdict);
    group.bench_function("score", |bench| bench.iter(|| dicast_verdict_score(black_box(verdict), black_box(1))));
    group.bench_function("expected", |bench| bench.iter(|| dicast_verdict_expected(black_box(verdict), black_box(1))));
    group.bench_function("name", |bench| bench.iter(|| dicast_verdict_name(black_box(verdict), black_box(1))));
    group.bench_function("rank", |bench| bench.iter(|| dicast_verdict_rank(black_box(verdict), black_box(1))));
    group.bench_function("reasoning", |bench| bench.iter(|| dicast_verdict_reasoning(black_box(verdict))));
    group.bench_function("distribution", |bench| {
        bench.iter(|| dicast_verdict_distribution(black_box(verdict), black_box(1), None));
    });
    group.bench_function("score_of", |bench| {
        // SAFETY: the text is static.
        bench.iter(|| unsafe { dicast_verdict_score_of(black_box(verdict), black_box("b".into())) });
    });
    group.bench_function("json", |bench| bench.iter(|| dicast_verdict_json(black_box(verdict))));
    group.finish();
    dicast_judge_free(Some(judge));
}

criterion_group!(benches, submit_to_callback, text, getters);
criterion_main!(benches);
