//! A thousand jobs at once, cancelled and timed out at random: each is answered exactly once.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dicast::config::{JudgeConfig, Options};
use dicast::decode::plan::Plan;
use dicast::engine::{Generation, Input, Job, Priority, Sampling, source};
use dicast::prompt::Prompter;
use dicast::{ErrorKind, Result};

use crate::support::{Folder, answer, orchestrated, request};

const JOBS: usize = 1000;

/// Pseudo-random numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn nothing_is_lost_or_answered_twice() {
    storm(Folder::config);
}

/// There, every verdict takes further requests, many at once.
#[test]
fn nothing_is_lost_behind_an_orchestrator() {
    storm(orchestrated);
}

fn storm(config: fn(&Folder) -> JudgeConfig) {
    let script = format!(
        "step_us 200\nrule every 97\nhang\nrule every 41\nerror unlucky\nrule every 7\n{long}delay_us 3000\nrule\n{short}",
        long = answer(&[1, 5, 3], &[1, 2, 0]),
        short = answer(&[4, 2, 2], &[0, 1, 2])
    );
    let folder = Folder::with(&script, &["--max-batch-size", "256"]);
    let (profile, opened) = source::open(&config(&folder)).unwrap();
    let prompter = Prompter::of(profile, opened.text.as_ref()).unwrap();
    let engine = opened.engine;

    let settings = Options::default().resolve().unwrap();
    let answers: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    let (complete, cancelled, late) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new([complete, cancelled, late, AtomicUsize::new(0)]);
    let ids = Mutex::new(Vec::new());
    let (sender, ended) = channel();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, prompter, settings, ids) = (&engine, &prompter, &settings, &ids);
            let (answers, counts, sender) = (answers.clone(), counts.clone(), sender.clone());
            scope.spawn(move || {
                let mut numbers = Numbers(thread);
                for index in (0..JOBS).skip(usize::try_from(thread).unwrap()).step_by(4) {
                    let mut settings = settings.clone();
                    settings.max_reasoning_tokens = [2, 100][index % 2];
                    let prompt = prompter.prompt(&request(3, &index.to_string()), &settings).unwrap();
                    let plan = Plan::new(prompter.profile(), &settings, &prompt.aliases, prompt.reasoning);
                    let now = Instant::now();
                    let patience = if numbers.below(4) == 0 { numbers.below(40) } else { 60_000 };
                    // A hanging request must end by its deadline.
                    let patience = Duration::from_millis(patience.min(15_000));
                    let job = Job {
                        input: Input::Tokens { ids: prompt.tokens, shared_prefix: 0 },
                        plan,
                        sampling: Sampling::GREEDY,
                        submitted: now,
                        deadline: now + patience,
                        patience: None,
                        priority: Priority::default(),
                        listener: None,
                    };
                    let (answers, counts, sender) = (answers.clone(), counts.clone(), sender.clone());
                    let done = move |outcome: Result<Generation>| {
                        answers[index].fetch_add(1, Ordering::SeqCst);
                        let kind = match outcome {
                            Ok(generation) => {
                                assert!(generation.raw.ends_with("]\n}"), "{:?}", generation.raw);
                                0
                            }
                            Err(error) => match error.kind() {
                                ErrorKind::Cancelled => 1,
                                ErrorKind::Timeout => 2,
                                ErrorKind::Engine if error.message().contains("unlucky") => 3,
                                _ => panic!("{error}"),
                            },
                        };
                        counts[kind].fetch_add(1, Ordering::SeqCst);
                        sender.send(()).unwrap();
                    };
                    let id = engine.submit(job, Box::new(done));
                    let mut ids = ids.lock().unwrap();
                    ids.push(id);
                    // Any job that was ever submitted, ended or not; some are cancelled twice.
                    if numbers.below(3) == 0 {
                        let victim = ids[usize::try_from(numbers.below(ids.len() as u64)).unwrap()];
                        drop(ids);
                        engine.cancel(victim);
                    }
                }
            });
        }
    });
    for _ in 0..JOBS {
        ended.recv_timeout(Duration::from_secs(60)).expect("every job ends");
    }
    drop(sender);
    let often: Vec<_> = answers.iter().map(|answer| answer.load(Ordering::SeqCst)).collect();
    assert!(often.iter().all(|&often| often == 1), "{often:?}");
    let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert!(counts.iter().all(|&count| count > 0), "complete, cancelled, late, failed: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), JOBS);
    let stats = engine.stats();
    assert_eq!((stats.waiting, stats.running), (0, 0), "{stats:?}");
    drop(engine);
    assert!(ended.try_recv().is_err(), "nothing is answered after its answer");
}
