//! The command line: a batch whose worker is killed, and a command that is killed itself.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::alone;
use super::support::{Folder, children, is_alive, kill, model, until};

fn lines(count: usize) -> String {
    let line = |number| {
        format!(
            "{{\"principle\":\"Prefer short answers.\",\"prompt\":\"Say {number}.\",\"responses\":{{\"a\":\"{number}\",\"b\":\"The \
             number that you ask for is {number}.\"}}}}\n"
        )
    };
    (0..count).map(line).collect()
}

fn dicast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dicast"));
    command.env_remove("DICAST_MODEL").stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_batch_whose_worker_is_killed_again_and_again_ends_complete() {
    let _alone = alone();
    let folder = Folder::new("batch");
    let (input, output) = (folder.0.join("in.jsonl"), folder.0.join("out.jsonl"));
    let plain = folder.0.join("plain.jsonl");
    std::fs::write(&input, lines(150)).unwrap();
    let batch = |output, isolation: &[&str]| {
        let mut command = dicast();
        command.arg("batch").arg(&input).arg("-o").arg(output).arg("--model").arg(model());
        command.args(["--threads", "1", "--quiet"]).args(isolation);
        command
    };
    assert!(batch(&plain, &["--isolation", "none"]).status().unwrap().success());
    // The default is a worker process.
    let mut running = batch(&output, &[]).spawn().unwrap();
    let (mut kills, mut written) = (0, 0);
    while running.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
        let now = std::fs::read_to_string(&output).unwrap_or_default().lines().count();
        if now < written + 8 {
            continue;
        }
        written = now;
        for worker in children(running.id()) {
            kill(worker, "KILL");
            kills += 1;
        }
    }
    let ran = running.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(kills > 3, "it was killed {kills} times");
    let scores = |path| -> Vec<_> {
        let text = std::fs::read_to_string(path).unwrap();
        let value = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(value).map(|line| line["scores"].clone()).collect()
    };
    let (scores, plain) = (scores(&output), scores(&plain));
    assert_eq!((scores.len(), plain.len()), (150, 150));
    assert!(scores.iter().all(|scores| scores["a"].is_number() && scores["b"].is_number()), "{scores:?}");
    // Judgments that run at the same time change a judgment's last bits, and sometimes a word: so a few may differ.
    let same = scores.iter().zip(&plain).filter(|(one, other)| one == other).count();
    assert!(same >= 145, "{same} of 150 are the same");
}

#[test]
fn a_worker_ends_with_its_parent() {
    let _alone = alone();
    for busy in [false, true] {
        let folder = Folder::new("orphan");
        let mut parent = dicast();
        parent.args(["batch", "-", "--quiet", "--threads", "1", "-o"]).arg(folder.0.join("out.jsonl"));
        let mut parent = parent.arg("--model").arg(model()).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = parent.stdin.take().unwrap();
        input.write_all(lines(if busy { 500 } else { 1 }).as_bytes()).unwrap();
        until("the worker has judged", || {
            std::fs::read(folder.0.join("out.jsonl")).is_ok_and(|output| !output.is_empty())
        });
        let workers = children(parent.id());
        assert_eq!(workers.len(), 1);
        // A stopped worker cannot see that its parent is gone: the kernel ends it.
        if busy {
            kill(workers[0], "STOP");
        }
        parent.kill().unwrap();
        parent.wait().unwrap();
        until("the worker is gone", || !is_alive(workers[0]));
    }
}

#[test]
fn a_worker_that_is_started_by_hand_says_that_it_is_none() {
    let output = dicast().arg("engine-worker").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("local.isolation"));
    let help = Command::new(env!("CARGO_BIN_EXE_dicast")).arg("--help").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("engine-worker"), "it is not for people");
}
