//! Opening, verdicts, deaths, closing.

use std::time::{Duration, Instant};

use dicast::config::{Blocks, Isolation};
use dicast::engine::EngineKind;
use dicast::{ErrorKind, Flag, Judge, JudgeRequest};

use super::alone;
use super::support::{
    Folder, children, config, config_of, essence, is_alive, kill, model, open, request, until, zombies,
};

fn worker() -> u32 {
    let workers = children(std::process::id());
    assert_eq!(workers.len(), 1, "one judge has one worker");
    workers[0]
}

#[test]
fn verdicts_are_those_of_an_engine_in_this_process() {
    let _alone = alone();
    let (here, there) = (open(Isolation::None), open(Isolation::Process));
    assert_eq!(here.capabilities(), there.capabilities());
    assert_eq!(there.capabilities().engine, EngineKind::Local);
    let mut requests: Vec<_> = (0..8).map(request).collect();
    requests[1].options.temperature = Some(0.7);
    requests[1].options.seed = Some(11);
    requests[2].options.guided = Some(false);
    requests[3].options.reasoning = Some(false);
    requests[4].options.consistent_ranking = Some(true);
    for (number, request) in requests.iter().enumerate() {
        // One at a time: other judgments at the same time would change the order of additions.
        let verdicts = [&here, &there].map(|judge| judge.judge(request).map_err(|error| error.to_string()));
        let [one, other] = verdicts.map(|verdict| verdict.map(|verdict| essence(&verdict)));
        assert_eq!(one, other, "request {number}");
        assert_eq!(here.prompt(request).unwrap(), there.prompt(request).unwrap());
    }
    let (one, other) = (here.stats(), there.stats());
    assert!(other.steps > 0 && other.running == 0 && other.waiting == 0, "{other:?}");
    assert!(one.computed_tokens.abs_diff(other.computed_tokens) <= one.computed_tokens / 2, "{one:?} {other:?}");
}

#[test]
fn blocks_of_a_group_that_does_not_fit_are_such_that_the_worker_takes_them() {
    let _alone = alone();
    let responses = (0..5).map(|index| (format!("r{index}"), "word ".repeat(20 + index)));
    let mut wanted = JudgeRequest::new("Prefer short answers.", "How do I learn Python?", responses);
    wanted.options.max_reasoning_tokens = Some(32);
    let count = open(Isolation::None).count(&wanted).unwrap();
    wanted.options.blocks = Some(Blocks::WhenNeeded);
    for less in [1, 25, 50] {
        let mut config = config(Isolation::Process);
        config.local.context_tokens = u32::try_from(count.prompt_tokens + count.output_tokens - less).unwrap();
        let verdict = Judge::open(config).unwrap().judge(&wanted).unwrap();
        assert!(verdict.flags.contains(&Flag::JudgedInBlocks), "{less} tokens too few");
    }
}

#[test]
fn a_vocabulary_that_only_llama_cpp_can_tokenize_is_tokenized_in_the_worker() {
    let _alone = alone();
    // A pre-tokenizer that only llama.cpp has.
    let mut bytes = std::fs::read(model()).unwrap();
    let key = b"tokenizer.ggml.pre";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let size = usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap();
    let pre = std::str::from_utf8(&bytes[at + 8..at + 8 + size]).unwrap().to_owned();
    let other = [
        "bloom",
        "viking",
        "poro-chat",
        "chameleon",
        "gpt3-finnish",
        "exaone",
        "tekken",
        "falcon",
        "jais",
        "smaug-bpe",
    ];
    let Some(other) = other.into_iter().find(|other| other.len() == size) else {
        panic!("no recipe has as many letters as {pre:?}");
    };
    bytes[at + 8..at + 8 + size].copy_from_slice(other.as_bytes());
    let folder = Folder::new("vocabulary");
    let path = folder.0.join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let judges =
        [Isolation::None, Isolation::Process].map(|isolation| Judge::open(config_of(&path, isolation)).unwrap());
    for salt in 0..3 {
        let mut request = request(salt);
        request.prompt.push_str("<|im_end|> é 日本 <think>");
        request.options.max_reasoning_tokens = Some(500);
        let [one, other] = judges.each_ref().map(|judge| judge.prompt(&request).unwrap());
        assert_eq!(one, other);
        let [one, other] = judges.each_ref().map(|judge| essence(&judge.judge(&request).unwrap()));
        assert_eq!(one, other);
    }
}

#[test]
fn errors_of_opening_and_of_requests_are_those_of_an_engine_in_this_process() {
    let _alone = alone();
    let folder = Folder::new("errors");
    let broken = folder.0.join("broken.gguf");
    let mut bytes = std::fs::read(model()).unwrap();
    let at = bytes.windows(11).position(|window| window == b"blk.0.attn_").unwrap();
    bytes[at] = b'X';
    std::fs::write(&broken, bytes).unwrap();
    let open = |isolation| Judge::open(config_of(&broken, isolation)).err().unwrap();
    let (here, there) = (open(Isolation::None), open(Isolation::Process));
    assert_eq!((here.kind(), here.message()), (there.kind(), there.message()));
    let open = |isolation| {
        let mut config = config(isolation);
        config.local.context_tokens = 900_000;
        Judge::open(config).err().unwrap()
    };
    assert_eq!(open(Isolation::None).message(), open(Isolation::Process).message());
    let long = |isolation| {
        let mut request = request(1);
        request.options.max_reasoning_tokens = Some(100_000);
        super::support::open(isolation).judge(&request).unwrap_err()
    };
    let (here, there) = (long(Isolation::None), long(Isolation::Process));
    assert_eq!((here.kind(), here.message()), (there.kind(), there.message()));
    assert_eq!(here.kind(), ErrorKind::ContextOverflow);
}

#[test]
fn a_death_is_an_error_that_says_how_and_the_next_judgment_has_a_new_worker() {
    let _alone = alone();
    let judge = open(Isolation::Process);
    let wanted = essence(&judge.judge(&request(1)).unwrap());
    // Not SIGSEGV: the first one from outside only removes Rust's own handler for it.
    for (signal, words) in [("ABRT", "signal 6 (SIGABRT)"), ("FPE", "signal 8 (SIGFPE)"), ("KILL", "signal 9 (SIGKILL")]
    {
        let first = worker();
        let mut endless = request(2);
        endless.options.max_reasoning_tokens = Some(1000);
        // A stopped worker cannot finish the judgment before it is killed.
        kill(first, "STOP");
        let ticket = judge.submit(&endless);
        std::thread::sleep(Duration::from_millis(50));
        kill(first, signal);
        kill(first, "CONT");
        let error = ticket.wait().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Engine, true), "{error}");
        assert!(error.message().contains(words) && error.message().contains("started again"), "{error}");
        assert_eq!(essence(&judge.judge(&request(1)).unwrap()), wanted);
        assert!(!is_alive(first) && worker() != first);
        // Suspect jobs run alone; this one is fine.
        judge.judge(&endless).unwrap();
    }
}

#[test]
fn a_worker_that_hangs_is_ended_and_started_again_and_deadlines_are_kept() {
    let _alone = alone();
    let mut config = config(Isolation::Process);
    config.local.unresponsive_ms = 1000;
    let judge = Judge::open(config).unwrap();
    let first = worker();
    kill(first, "STOP");
    let start = Instant::now();
    let mut quick = request(1);
    quick.options.timeout_ms = Some(200);
    let (quick, slow) = (judge.submit(&quick), judge.submit(&request(2)));
    assert_eq!(quick.wait().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_millis(900));
    let error = slow.wait().unwrap_err();
    assert!(error.is_retryable() && error.message().contains("did not answer"), "{error}");
    judge.judge(&request(2)).unwrap();
    assert!(!is_alive(first));
}

#[test]
fn closing_while_busy_is_quick_and_leaves_no_process() {
    let _alone = alone();
    for stopped in [false, true] {
        let judge = open(Isolation::Process);
        let tickets: Vec<_> = (0..40).map(|salt| judge.submit(&request(salt))).collect();
        let process = worker();
        if stopped {
            kill(process, "STOP");
        }
        let start = Instant::now();
        judge.close();
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert!(!is_alive(process));
        for ticket in tickets {
            if let Err(error) = ticket.wait() {
                assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            }
        }
        assert_eq!(judge.judge(&request(1)).unwrap_err().kind(), ErrorKind::Closed);
    }
}

fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count()
}

#[test]
fn opening_and_closing_leaves_no_process_no_thread_and_no_descriptor() {
    let _alone = alone();
    drop(open(Isolation::Process));
    let before = ["task", "fd"].map(count);
    for round in 0..50 {
        let judge = open(Isolation::Process);
        if round % 10 == 0 {
            judge.judge(&request(round)).unwrap();
            kill(worker(), "KILL");
            until("it is started again", || judge.judge(&request(round)).is_ok());
        }
    }
    until("all is gone", || children(std::process::id()).is_empty());
    until("threads and descriptors are gone", || {
        let now = ["task", "fd"].map(count);
        now.iter().zip(&before).all(|(now, before)| now <= before)
    });
    assert_eq!(zombies(), 0);
}
