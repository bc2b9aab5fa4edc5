//! Order, bounds and resumption, with the work of a batch and a judge that is a closure.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dicast::config::Limits;
use dicast::{Error, JudgeRequest, Verdict};
use serde_json::json;

use super::super::batch::Batch;
use super::*;

/// Answers each request on a thread of its own, later for some than for others, and counts what runs at once.
#[derive(Default)]
struct Fake {
    running: std::sync::Arc<AtomicUsize>,
    most: std::sync::Arc<AtomicUsize>,
    closes_at: Option<usize>,
    started: Mutex<usize>,
}

impl Judging for Fake {
    fn start(&self, request: JudgeRequest, done: Box<dyn FnOnce(dicast::Result<Verdict>) + Send>) {
        let index = {
            let mut started = self.started.lock().unwrap();
            *started += 1;
            *started
        };
        let (running, most) = (self.running.clone(), self.most.clone());
        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let closes = self.closes_at == Some(index);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis((index as u64 * 7) % 5));
            running.fetch_sub(1, Ordering::SeqCst);
            let kind = if closes { ErrorKind::Closed } else { ErrorKind::InvalidVerdict };
            done(Err(Error::new(kind, format!("answer to {}", request.prompt))));
        });
    }
}

fn request(prompt: &str) -> String {
    format!("{{\"principle\":\"p\",\"prompt\":{prompt:?},\"responses\":{{\"a\":\"x\"}}}}\n")
}

fn batch() -> Batch {
    Batch { limits: Limits::default(), settings: Value::Null }
}

fn judge_all(fake: &Fake, input: &str, sink: &mut impl Sink, first: u64) -> (Counts, Ended) {
    let mut lines = Lines::new(Cursor::new(input.as_bytes().to_vec()), 10_000);
    for _ in 1..first {
        lines.next_line().unwrap();
    }
    pump(&batch(), fake, sink, 3, lines, mpsc::channel(), first, |_| {})
}

fn message(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    line["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn results_keep_the_order_of_the_input_and_bad_lines_their_places() {
    let mut input: String = (1..=100).map(|number| request(&number.to_string())).collect();
    input.push_str("\nnot json\n{\"principle\":1}\n");
    input.push_str(&request("last"));
    input.push_str(" \n\n");
    let fake = Fake::default();
    let mut sink = Stream(Vec::new());
    let (counts, ended) = judge_all(&fake, &input, &mut sink, 1);
    assert!(matches!(ended, Ended::Complete));
    assert_eq!(counts, Counts { written: 104, failed: 104 });
    let text = String::from_utf8(sink.0).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for (index, line) in lines[..100].iter().enumerate() {
        assert_eq!(message(line), format!("line {0}: answer to {0}", index + 1));
    }
    assert_eq!(message(lines[100]), "line 101: the line is blank");
    assert!(message(lines[101]).starts_with("line 102: the request is not valid"));
    assert_eq!(message(lines[103]), "line 104: answer to last");
    assert!(fake.most.load(Ordering::SeqCst) <= 3, "more ran at once than may");
}

#[test]
fn a_judge_that_closes_ends_the_batch_without_blaming_the_lines() {
    let input: String = (1..=20).map(|number| request(&number.to_string())).collect();
    let fake = Fake { closes_at: Some(10), ..Fake::default() };
    let mut sink = Stream(Vec::new());
    let (counts, ended) = judge_all(&fake, &input, &mut sink, 1);
    assert!(matches!(ended, Ended::Broken(failure) if failure.error.kind() == ErrorKind::Closed));
    assert!(counts.written < 10);
    assert_eq!(String::from_utf8(sink.0).unwrap().lines().count() as u64, counts.written);
}

#[test]
fn an_interruption_keeps_what_is_done() {
    let (events, incoming) = mpsc::channel();
    events.send(Event::Interrupted).unwrap();
    let mut sink = Stream(Vec::new());
    let lines = Lines::new(Cursor::new(request("1").into_bytes()), 10_000);
    let (counts, ended) = pump(&batch(), &Fake::default(), &mut sink, 3, lines, (events, incoming), 1, |_| {});
    assert!(matches!(ended, Ended::Interrupted));
    assert_eq!(counts, Counts::default());
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dicast-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_batch_cut_anywhere_goes_on_to_the_same_output() {
    let folder = Folder::new("cut");
    let (output, state) = (folder.0.join("out.jsonl"), folder.0.join("out.jsonl.state"));
    let input: String = (1..=12).map(|number| request(&number.to_string())).collect();
    let settings = json!({ "options": { "seed": 1 } });
    let run = || {
        let mut journal = Journal::open(&output, &settings, false).unwrap();
        let mut lines: Lines<Input> = Lines::new(Box::new(Cursor::new(input.clone().into_bytes())), 10_000);
        let done = skip(&mut lines, journal.done(), &output).unwrap();
        judge_all(&Fake::default(), &input, &mut journal, done + 1)
    };
    let count_lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count() - 1;
    run();
    let (whole, whole_state) = (std::fs::read(&output).unwrap(), std::fs::read(&state).unwrap());
    assert_eq!(count_lines(&whole), 12);
    // A kill leaves any prefix of the output, and a journal that knows of that many lines or one more, whole or torn.
    for cut in (0..whole.len()).step_by(7) {
        let lines = count_lines(&whole[..cut]);
        let header = whole_state.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for known in [17 * lines, 17 * lines + 5, 17 * (lines + 1)] {
            std::fs::write(&output, &whole[..cut]).unwrap();
            std::fs::write(&state, &whole_state[..header + known]).unwrap();
            let (counts, _) = run();
            assert_eq!(counts.written, 12 - lines as u64);
            assert_eq!(std::fs::read(&output).unwrap(), whole, "cut at {cut}");
            assert_eq!(std::fs::read(&state).unwrap(), whole_state);
        }
    }
    // The very first line of the journal may be torn too.
    std::fs::write(&output, "").unwrap();
    std::fs::write(&state, &whole_state[..5]).unwrap();
    assert_eq!(run().0.written, 12);
}

#[test]
fn an_output_of_something_else_is_left_alone() {
    let folder = Folder::new("other");
    let output = folder.0.join("out.jsonl");
    let settings = json!({ "options": { "seed": 1 }, "model": "m" });
    let refusal = |settings: &Value| match Journal::open(&output, settings, false) {
        Ok(_) => panic!("the output was taken"),
        Err(failure) => failure.error.message().to_owned(),
    };
    judge_all(&Fake::default(), &request("1"), &mut Journal::open(&output, &settings, false).unwrap(), 1);
    let before = std::fs::read(&output).unwrap();

    assert!(
        refusal(&json!({ "options": { "seed": 2 }, "model": "m" })).contains("with options.seed 1, which is now 2")
    );
    assert!(refusal(&json!({ "options": {}, "model": "m" })).contains("which is now not set"));

    let journal = Journal::open(&output, &settings, false).unwrap();
    assert!(refusal(&settings).contains("another process"));
    let skip = |text: String| {
        skip(&mut Lines::new(Box::new(Cursor::new(text.into_bytes())) as Input, 10_000), journal.done(), &output)
    };
    assert_eq!(skip(request("1") + &request("2")).unwrap(), 1);
    assert!(skip(request("2")).unwrap_err().error.message().contains("line 1 has changed"));
    assert!(skip(String::new()).unwrap_err().error.message().contains("line 1 is not there"));
    drop(journal);

    std::fs::remove_file(folder.0.join("out.jsonl.state")).unwrap();
    assert!(refusal(&settings).contains("nothing says what it was made from"));
    assert_eq!(std::fs::read(&output).unwrap(), before);

    drop(Journal::open(&output, &settings, true).unwrap());
    assert_eq!(std::fs::read(&output).unwrap(), b"");
}
