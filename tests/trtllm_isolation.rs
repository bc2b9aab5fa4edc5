//! The TensorRT-LLM engine in a worker process: faults of the library that end a process only end the worker.
//!
//! This program is its own worker, so it has a `main` of its own.
#![cfg_attr(feature = "trtllm", expect(clippy::print_stdout, reason = "says which tests have passed"))]
#![cfg(feature = "trtllm")]

#[path = "trtllm/support.rs"]
#[allow(dead_code, reason = "shared with the other tests of this engine")]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use dicast::config::Isolation;
use dicast::{ErrorKind, Judge, JudgeConfig};
use support::{Folder, answer, check_distributions, request};

fn isolated(folder: &Folder) -> JudgeConfig {
    let mut config = folder.config();
    config.trtllm.isolation = Isolation::Process;
    config.trtllm.program_path = Some(std::env::current_exe().unwrap());
    config.trtllm.unresponsive_ms = 3000;
    config
}

/// A judge in a worker whose request `faulty` matches a rule with these lines; all other requests match a good one.
fn faulty(lines: &str) -> (Judge, Folder) {
    let folder = Folder::new(&format!("rule contains faulty\n{lines}\nrule\n{}", answer(&[4, 2], &[0, 1])));
    (Judge::open(isolated(&folder)).unwrap(), folder)
}

fn good(judge: &Judge) {
    let asked = request(2, "good");
    check_distributions(&asked, &judge.judge(&asked).unwrap());
}

fn a_worker_judges_as_this_process_does() {
    let folder = Folder::new(&format!("rule\n{}bias 18 2\n", answer(&[4, 2, 3], &[0, 2, 1])));
    let (here, there) = (folder.judge(), Judge::open(isolated(&folder)).unwrap());
    assert_eq!(here.capabilities(), there.capabilities());
    for index in 0..5 {
        let asked = request(3, &index.to_string());
        let [one, other] = [&here, &there].map(|judge| judge.judge(&asked).unwrap());
        check_distributions(&asked, &other);
        assert_eq!((one.raw, one.scores, one.ranking), (other.raw, other.scores, other.ranking));
    }
    let stats = there.stats();
    assert!(stats.steps > 0 && stats.grammars_last_hour > 0, "{stats:?}");
}

fn a_fault_that_ends_the_process_ends_only_the_worker() {
    let (judge, _folder) = faulty("crash_process\ntext Hm\n");
    good(&judge);
    let error = judge.judge(&request(2, "faulty")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Engine);
    assert!(error.message().contains("worker process") && error.is_retryable(), "{error}");
    good(&judge);
    // It is identified: the second crash is its last.
    judge.judge(&request(2, "faulty")).unwrap_err();
    let refused = judge.judge(&request(2, "faulty")).unwrap_err();
    assert!(refused.message().contains("refused") && !refused.is_retryable(), "{refused}");
    good(&judge);
}

fn a_dead_engine_is_started_again() {
    let sticky = "sticky tllm CUDA error: an illegal memory access was encountered\ntext Hm\n";
    // A crash is reported by the judgment's own answer or by the executor, whichever comes first.
    let crash: &[&str] = &["says: the worker died", "the worker of this executor died"];
    for (lines, words) in
        [(sticky, &["illegal memory access"][..]), ("crash\n", crash), ("hang_hard\n", &["computed a step"])]
    {
        let (judge, _folder) = faulty(lines);
        good(&judge);
        let error = judge.judge(&request(2, "faulty")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine, "{error}");
        assert!(words.iter().any(|words| error.message().contains(words)) && error.is_retryable(), "{error}");
        good(&judge);
    }
}

fn closing_waits_for_no_worker() {
    let (judge, _folder) = faulty("hang_hard\n");
    let ticket = judge.submit(&request(2, "faulty"));
    std::thread::sleep(Duration::from_millis(100));
    let start = Instant::now();
    drop(judge);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Closed);
}

fn what_cannot_be_opened_says_why() {
    let refused = |config: JudgeConfig| match Judge::open(config) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    };
    let folder = Folder::new("throw_at_open tllm CUDA runtime error in cudaMalloc: out of memory\n");
    let error = refused(isolated(&folder));
    assert!(error.message().contains("kv_memory_fraction"), "{error}");
    let mut config = isolated(&folder);
    config.trtllm.program_path = Some("/nowhere/dicast".into());
    let error = refused(config);
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("trtllm.program_path is /nowhere/dicast"), "{error}");
}

fn an_orchestrator_can_be_isolated() {
    let folder = Folder::with(&format!("rule\n{}", answer(&[4, 2], &[0, 1])), &["--tp", "2"]);
    let mut config = support::orchestrated(&folder);
    config.trtllm.isolation = Isolation::Process;
    config.trtllm.program_path = Some(std::env::current_exe().unwrap());
    good(&Judge::open(config).unwrap());
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("engine-worker") {
        return dicast::engine::isolated::serve().unwrap_or(ExitCode::FAILURE);
    }
    let tests: [(&str, fn()); 6] = [
        ("a_worker_judges_as_this_process_does", a_worker_judges_as_this_process_does),
        ("a_fault_that_ends_the_process_ends_only_the_worker", a_fault_that_ends_the_process_ends_only_the_worker),
        ("a_dead_engine_is_started_again", a_dead_engine_is_started_again),
        ("closing_waits_for_no_worker", closing_waits_for_no_worker),
        ("what_cannot_be_opened_says_why", what_cannot_be_opened_says_why),
        ("an_orchestrator_can_be_isolated", an_orchestrator_can_be_isolated),
    ];
    for (name, test) in tests {
        let start = Instant::now();
        test();
        println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
    }
    println!("{} tests passed", tests.len());
    ExitCode::SUCCESS
}
