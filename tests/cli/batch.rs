//! `dicast batch` with a small random model: killed, interrupted, out of space, and on changed input.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::{Folder, Ran, dicast, fixture, run_with_input, text};

/// Requests that the results are compared with: each has its own name. Every tenth is bad.
fn requests(count: usize) -> String {
    let line = |number: usize| match number % 10 {
        7 => "{\"principle\": oops\n".to_owned(),
        _ => format!(
            "{{\"principle\":\"p\",\"prompt\":\"q\",\"responses\":{{\"n{number}\":\"x\",\"other\":\"y{number}\"}}}}\n"
        ),
    };
    (1..=count).map(line).collect()
}

fn batch(input: &Path, output: &Path, args: &[&str]) -> Command {
    let model = fixture("tiny-qwen3.gguf");
    let fixed = [
        "batch",
        text(input),
        "-o",
        text(output),
        "--model",
        text(&model),
        "--max-reasoning-tokens",
        "8",
        "--threads",
        "1",
    ];
    let mut command = dicast(fixed.iter().chain(args));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command) -> Ran {
    command.output().unwrap().into()
}

fn lines(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asserts that every line of the output answers its own line of the input.
#[track_caller]
fn assert_in_order(output: &Path, count: usize) {
    let lines = lines(output);
    assert_eq!(lines.len(), count);
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        if number % 10 == 7 {
            let message = line["error"]["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("line {number}: ")), "{message}");
        } else {
            assert!(line["scores"].get(format!("n{number}")).is_some(), "line {number}: {line}");
            assert_eq!(line["ranking"].as_array().unwrap().len(), 2);
        }
    }
}

/// Waits until the output has at least `wanted` lines, or the command has ended.
fn wait_for(output: &Path, wanted: usize, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let count = || std::fs::read(output).map_or(0, |bytes| bytes.split(|&byte| byte == b'\n').count() - 1);
    while count() < wanted && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "{wanted} lines did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Files {
    folder: Folder,
    input: PathBuf,
    output: PathBuf,
}

fn files(count: usize) -> Files {
    let folder = Folder::new();
    let input = folder.file("in.jsonl", requests(count));
    let output = folder.path("out.jsonl");
    Files { folder, input, output }
}

#[test]
fn killed_again_and_again_a_batch_ends_with_every_line_once() {
    let Files { folder: _folder, input, output } = files(200);
    for wanted in [1, 17, 60, 61, 100, 140] {
        let mut child = batch(&input, &output, &[]).spawn().unwrap();
        wait_for(&output, wanted, &mut child);
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = run(batch(&input, &output, &[])).fails(1, &["200 results", "of them before", "20 failed"]);
    assert_eq!(ran.stdout, "");
    assert_in_order(&output, 200);

    // Run again: nothing is left to do, and the output does not change.
    let before = std::fs::read(&output).unwrap();
    run(batch(&input, &output, &[])).fails(1, &["is complete: 200 results, 20 failed"]);
    assert_eq!(std::fs::read(&output).unwrap(), before);
}

#[test]
fn an_input_that_grew_is_continued_and_another_one_refused() {
    let Files { folder, input, output } = files(5);
    run(batch(&input, &output, &[])).succeeds();
    std::fs::write(&input, requests(9)).unwrap();
    run(batch(&input, &output, &[])).fails(1, &["9 results, 5 of them before"]);
    assert_in_order(&output, 9);

    run(batch(&input, &output, &["--seed", "3"])).fails(2, &["options.seed", "--overwrite"]);
    let profile = folder.file("p.json", r#"{"format": 1, "name": "mine", "system_prompt": "Judge."}"#);
    run(batch(&input, &output, &["--profile", text(&profile)])).fails(2, &["profile."]);
    std::fs::write(&input, requests(9).replacen("\"q\"", "\"Q\"", 1)).unwrap();
    run(batch(&input, &output, &[])).fails(2, &["other input: line 1 has changed"]);
    assert_in_order(&output, 9);
    run(batch(&input, &output, &["--overwrite"])).fails(1, &["9 results, 1 failed"]);
}

#[test]
fn what_the_machine_is_given_may_change_between_runs() {
    let Files { folder: _folder, input, output } = files(6);
    let mut child = batch(&input, &output, &["--concurrency", "1"]).spawn().unwrap();
    wait_for(&output, 1, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    run(batch(&input, &output, &["--concurrency", "4", "--context-tokens", "4096"])).succeeds();
    assert_in_order(&output, 6);
}

#[test]
fn standard_input_and_output_serve_too() {
    let Files { folder: _folder, input, output } = files(9);
    let ran = run_with_input(batch(Path::new("-"), Path::new("-"), &["--quiet"]), requests(9));
    assert_eq!((ran.code, ran.stderr.as_str()), (1, ""));
    std::fs::write(&output, &ran.stdout).unwrap();
    assert_in_order(&output, 9);

    // A batch from standard input is continued too, if the same lines come again.
    std::fs::remove_file(&output).unwrap();
    run_with_input(batch(Path::new("-"), &output, &[]), requests(4));
    run_with_input(batch(Path::new("-"), &output, &[]), requests(9)).fails(1, &["4 of them before"]);
    assert_in_order(&output, 9);
    assert!(input.exists());
}

#[test]
fn bad_bytes_and_long_lines_are_errors_of_their_own() {
    let Files { folder, input, output } = files(1);
    let config = folder.file("c.json", r#"{"limits":{"max_request_bytes":1000}}"#);
    let mut content = requests(1).into_bytes();
    content.extend_from_slice(b"\xff\xfe\n\n");
    content.extend_from_slice(format!("{{\"principle\":\"{}\"}}\n", "x".repeat(100_000)).as_bytes());
    content.extend_from_slice(requests(1).as_bytes());
    std::fs::write(&input, content).unwrap();
    run(batch(&input, &output, &["--config", text(&config)])).fails(1, &["5 results, 3 failed"]);
    let lines = lines(&output);
    let kinds: Vec<_> = lines.iter().map(|line| line["error"]["kind"].as_str().unwrap_or("-")).collect();
    assert_eq!(kinds, ["-", "invalid_request", "invalid_request", "too_large", "-"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_with_1_and_a_closed_pipe_quietly() {
    let Files { folder: _folder, input, .. } = files(9);
    run(batch(&input, Path::new("/dev/full"), &[])).fails(1, &["cannot write", "No space left"]);
    let mut child = batch(&input, Path::new("-"), &[]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap()).succeeds();
    assert_eq!(ran.stderr, "", "whoever read it has seen what it wanted");
}

/// The disk fills up: earlier results are complete, and the same command continues when there is space.
#[cfg(target_os = "linux")]
#[test]
fn what_fits_a_disk_is_kept() {
    let Files { folder, input, output } = files(40);
    // A file size limit acts as the full disk. Its signal is ignored, so that writing fails.
    let limited = folder.file("limited.sh", "trap '' XFSZ\nulimit -f 8\nexec \"$@\"\n");
    let whole = batch(&input, &output, &[]);
    let mut command = Command::new("bash");
    command.arg(&limited).arg(whole.get_program()).args(whole.get_args()).stdin(Stdio::null());
    run(command).fails(1, &["out.jsonl", "run the same command again"]);
    let kept = lines(&output).len();
    assert!(kept > 0 && kept < 40, "{kept} lines");
    run(whole).fails(1, &["40 results"]);
    assert_in_order(&output, 40);
}

#[cfg(unix)]
#[test]
fn an_interruption_keeps_what_is_done() {
    let Files { folder: _folder, input, output } = files(200);
    for signal in ["-INT", "-TERM"] {
        let before = lines(&output).len();
        let mut child = batch(&input, &output, &[]).spawn().unwrap();
        wait_for(&output, before + 5, &mut child);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let ran = Ran::from(child.wait_with_output().unwrap()).fails(1, &["interrupted", "run the same command again"]);
        let kept = lines(&output).len();
        assert!(kept >= before + 5 && kept < 200);
        assert!(ran.stderr.contains(&format!("{kept} results are kept")), "{ran:?}");
    }
    run(batch(&input, &output, &[])).fails(1, &["200 results"]);
    assert_in_order(&output, 200);
}
