//! Order, bounds and resumption, with the work of a batch and a judge that is a closure.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dicast::{Error, JudgeRequest, Verdict};
use serde_json::json;

use super::super::batch::Batch;
use super::lines::Lines;
use super::*;

/// Answers each request on its own thread, some later than others, and counts how many run at once.
#[derive(Default)]
struct Fake {
    running: std::sync::Arc<AtomicUsize>,
    most: std::sync::Arc<AtomicUsize>,
    closes_at: Option<usize>,
    /// How often the engine fails during each judgment, and whether for good.
    engine_fails: Option<(u32, bool)>,
    failed: Mutex<std::collections::HashMap<String, u32>>,
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
        let engine = self.engine_fails.and_then(|(times, lasting)| {
            let mut failed = self.failed.lock().unwrap();
            let count = failed.entry(request.prompt.clone()).or_default();
            *count += 1;
            (*count <= times).then_some(!lasting)
        });
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis((index as u64 * 7) % 5));
            running.fetch_sub(1, Ordering::SeqCst);
            if let Some(retryable) = engine {
                done(Err(Error::new(ErrorKind::Engine, "the engine failed").with_retryable(retryable)));
                return;
            }
            let kind = if closes { ErrorKind::Closed } else { ErrorKind::InvalidVerdict };
            done(Err(Error::new(kind, format!("answer to {}", request.prompt))));
        });
    }
}

fn request(prompt: &str) -> String {
    format!("{{\"principle\":\"p\",\"prompt\":{prompt:?},\"responses\":{{\"a\":\"x\"}}}}\n")
}

fn files(keys: &Keys) -> Files<'_> {
    let (input, output) = (Path::new("in.jsonl"), Path::new("out.jsonl"));
    Files {
        input,
        input_format: None,
        output,
        output_format: None,
        keys,
        record_bytes: 10_000,
        replaced_by: "--overwrite",
    }
}

fn records(text: &str) -> Lines<Cursor<Vec<u8>>> {
    Lines::new(Cursor::new(text.as_bytes().to_vec()), 10_000)
}

/// Judges `input` from record `first` on.
fn judge_all(fake: &Fake, input: &str, sink: &mut impl Sink, first: u64) -> (Tally, Ended) {
    judge_again(fake, input, sink, first, &mut Earlier::default())
}

fn judge_again(fake: &Fake, input: &str, sink: &mut impl Sink, first: u64, earlier: &mut Earlier) -> (Tally, Ended) {
    let mut left = records(input);
    for _ in 1..first {
        left.next_line().unwrap();
    }
    let keys = Keys::default();
    pump(&Batch::default(), fake, sink, &files(&keys), earlier, 3, left, mpsc::channel(), first, |_| {})
}

/// Results in memory.
#[derive(Default)]
struct Lot(String);

impl Sink for Lot {
    fn append(&mut self, _: u64, result: &str) -> Result<(), Stop> {
        self.0.push_str(result);
        Ok(())
    }
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
    let mut sink = Lot::default();
    let (tally, ended) = judge_all(&fake, &input, &mut sink, 1);
    assert!(matches!(ended, Ended::Complete));
    assert_eq!((tally.written, tally.failed()), (104, 104));
    let lines: Vec<_> = sink.0.lines().collect();
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
    let mut sink = Lot::default();
    let (tally, ended) = judge_all(&fake, &input, &mut sink, 1);
    assert!(matches!(ended, Ended::Broken(failure) if failure.error.kind() == ErrorKind::Closed));
    assert!(tally.written < 10);
    assert_eq!(sink.0.lines().count() as u64, tally.written);
}

#[test]
fn a_judgment_under_which_the_engine_fails_is_sent_again_within_a_bound() {
    let input: String = (1..=20).map(|number| request(&number.to_string())).collect();
    for (engine_fails, starts, words) in
        [((3, false), 80, "answer to 9"), ((3, true), 20, "the engine failed"), ((99, false), 220, "the engine failed")]
    {
        let fake = Fake { engine_fails: Some(engine_fails), ..Fake::default() };
        let mut sink = Lot::default();
        let (tally, ended) = judge_all(&fake, &input, &mut sink, 1);
        assert!(matches!(ended, Ended::Complete));
        assert_eq!((tally.written, *fake.started.lock().unwrap()), (20, starts));
        assert_eq!(message(sink.0.lines().nth(8).unwrap()), format!("line 9: {words}"));
        assert!(fake.most.load(Ordering::SeqCst) <= 3, "more ran at once than may");
    }
}

#[test]
fn an_interruption_keeps_what_is_done() {
    let (events, incoming) = mpsc::channel();
    events.send(Event::Interrupted).unwrap();
    let mut sink = Lot::default();
    let (keys, mut earlier) = (Keys::default(), Earlier::default());
    let (tally, ended) = pump(
        &Batch::default(),
        &Fake::default(),
        &mut sink,
        &files(&keys),
        &mut earlier,
        3,
        records(&request("1")),
        (events, incoming),
        1,
        |_| {},
    );
    assert!(matches!(ended, Ended::Interrupted));
    assert_eq!(tally.written, 0);
}

/// A folder that is deleted when it is dropped.
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
        let mut journal = Journal::open(&output, &settings, "--overwrite").unwrap();
        let keys = Keys::default();
        assert!(matches!(skip(&mut records(&input), &journal, &files(&keys)).unwrap(), Skipped::All));
        let done = journal.done().len() as u64;
        judge_all(&Fake::default(), &input, &mut journal, done + 1)
    };
    let count_lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count() - 1;
    run();
    let (whole, whole_state) = (std::fs::read(&output).unwrap(), std::fs::read(&state).unwrap());
    assert_eq!(count_lines(&whole), 12);
    // A kill leaves any prefix of the output, and a journal of that many lines or one more, whole or torn.
    for cut in (0..whole.len()).step_by(7) {
        let lines = count_lines(&whole[..cut]);
        let header = whole_state.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for known in [17 * lines, 17 * lines + 5, 17 * (lines + 1)] {
            std::fs::write(&output, &whole[..cut]).unwrap();
            std::fs::write(&state, &whole_state[..header + known]).unwrap();
            let (tally, _) = run();
            assert_eq!(tally.written, 12 - lines as u64);
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
    let refusal = |settings: &Value| match Journal::open(&output, settings, "--rejudge") {
        Ok(_) => panic!("the output was taken"),
        Err(failure) => {
            let hint = failure.hint.unwrap_or_default();
            format!("{}; {hint}", failure.error.message())
        }
    };
    judge_all(&Fake::default(), &request("1"), &mut Journal::open(&output, &settings, "--overwrite").unwrap(), 1);
    let before = std::fs::read(&output).unwrap();

    assert!(
        refusal(&json!({ "options": { "seed": 2 }, "model": "m" })).contains("with options.seed 1, which is now 2")
    );
    let unset = refusal(&json!({ "options": {}, "model": "m" }));
    assert!(unset.contains("which is now not set") && unset.contains("give --rejudge to replace it"), "{unset}");

    let journal = Journal::open(&output, &settings, "--overwrite").unwrap();
    assert!(refusal(&settings).contains("another process"));
    let keys = Keys::default();
    let skip = |text: String| skip(&mut records(&text), &journal, &files(&keys));
    assert!(matches!(skip(request("1") + &request("2")), Ok(Skipped::All)));
    // Its result is an error: it is judged again.
    assert!(matches!(skip(request("2")), Ok(Skipped::UpToChanged)));
    let Err(failure) = skip(String::new()) else { panic!("it was taken") };
    assert!(failure.error.message().contains("record 1 is not there"));
    drop(journal);

    std::fs::remove_file(folder.0.join("out.jsonl.state")).unwrap();
    assert!(refusal(&settings).contains("nothing says what it was made from"));
    assert_eq!(std::fs::read(&output).unwrap(), before);

    // A replacement leaves it alone as well, until it is complete.
    let mut new = Journal::replacing(&output, &settings, "--overwrite", false).unwrap();
    assert!(matches!(judge_all(&Fake::default(), &request("2"), &mut new, 1).1, Ended::Complete));
    assert_eq!(std::fs::read(&output).unwrap(), before);
    new.commit().unwrap();
    assert!(message(&std::fs::read_to_string(&output).unwrap()).contains("answer to 2"));
    assert!(!folder.0.join("out.jsonl.new").exists() && !folder.0.join("out.jsonl.new.state").exists());
    assert_eq!(Journal::open(&output, &settings, "--overwrite").unwrap().done().len(), 1);
}

#[test]
fn results_are_taken_over_unless_they_failed_or_their_record_changed() {
    let folder = Folder::new("retry");
    let output = folder.0.join("out.jsonl");
    let settings = json!({});
    let old = [
        r#"{"scores":{"a":1}}"#,
        r#"{"error":{"kind":"timeout","message":"late"}}"#,
        r#"{"id":4,"error":{"kind":"too_large","message":"big"}}"#,
        r#"{"error":{"kind":"too_large","message":"big"}}"#,
    ];
    let input: Vec<String> = (1..=5).map(|number| request(&number.to_string())).collect();
    let mut journal = Journal::open(&output, &settings, "--overwrite").unwrap();
    let mut all = records(&input.concat());
    for line in old {
        journal.append(all.next_line().unwrap().unwrap().checksum, &format!("{line}\n")).unwrap();
    }
    drop(journal);
    let checksums = || Journal::open(&output, &settings, "--overwrite").unwrap().done().to_vec();
    let again = |input: &str, retry: Option<Retry>| {
        let mut sink = Lot::default();
        let mut earlier = Earlier::open(&output, checksums(), retry).unwrap();
        let (tally, ended) = judge_again(&Fake::default(), input, &mut sink, 1, &mut earlier);
        (tally, ended, sink.0)
    };
    let answered = |text: &str| {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains("answer to"));
        lines.map(|(index, _)| index + 1).collect::<Vec<_>>()
    };
    assert!(Journal::open(&output, &settings, "--overwrite").unwrap().has_retried(Retry::Retryable).unwrap());
    let (tally, _, text) = again(&input.concat(), Some(Retry::Retryable));
    assert_eq!((tally.kept, tally.kept_failed, tally.failed()), (3, 2, 2));
    assert_eq!(answered(&text), [2, 5]);
    assert_eq!(text.lines().next().unwrap(), old[0]);
    assert_eq!(answered(&again(&input.concat(), Some(Retry::All)).2), [2, 3, 4, 5]);

    // A changed record is judged again if its result is an error, and refused if it is a verdict.
    let mut changed = input.clone();
    changed[3] = request("new");
    assert_eq!(answered(&again(&changed.concat(), None).2), [4, 5]);
    changed[0] = request("new");
    let (_, ended, _) = again(&changed.concat(), None);
    assert!(matches!(ended, Ended::Broken(failure) if failure.error.message().contains("line 1 has changed")));
    let (_, ended, _) = again(&input[..3].concat(), None);
    assert!(matches!(ended, Ended::Broken(failure) if failure.error.message().contains("not there any more")));
}

#[test]
fn an_input_of_something_else_ends_the_run_before_anything_is_written() {
    let mut sink = Lot::default();
    let input = "{\"question\":\"q\"}\n".repeat(1000);
    let (tally, ended) = judge_all(&Fake::default(), &input, &mut sink, 1);
    let Ended::Broken(failure) = ended else { panic!("{ended:?}") };
    for word in ["first 20 records of in.jsonl", "line 1: ", "no \"principle\""] {
        assert!(failure.error.message().contains(word), "{}", failure.error.message());
    }
    assert_eq!((tally.written, sink.0.as_str()), (0, ""));
    // Also if there is room for only one judgment at a time.
    let keys = Keys::default();
    let (batch, fake, mut earlier) = (Batch::default(), Fake::default(), Earlier::default());
    let left = records(&input);
    let (_, ended) = pump(&batch, &fake, &mut sink, &files(&keys), &mut earlier, 1, left, mpsc::channel(), 1, |_| {});
    assert!(matches!(ended, Ended::Broken(_)));
    // One request among them shows that the file is what was meant.
    let input = "{}\n".repeat(19) + &request("1") + &"{}\n".repeat(30);
    let (tally, ended) = judge_all(&Fake::default(), &input, &mut sink, 1);
    assert!(matches!(ended, Ended::Complete));
    assert_eq!(tally.written, 50);
}

#[test]
fn own_fields_come_back_as_they_were_written() {
    let mut sink = Lot::default();
    let fields = r#""id": 12345678901234567890123, "metadata": {"b": 1.0, "a": []}, "reasoning": "gold", "#;
    let input = request("1").replacen('{', &format!("{{{fields}"), 1);
    judge_all(&Fake::default(), &input, &mut sink, 1);
    let start =
        r#"{"id":12345678901234567890123,"metadata":{"b": 1.0, "a": []},"input":{"reasoning":"gold"},"error":{"#;
    assert!(sink.0.starts_with(start), "{}", sink.0);
    let result: Value = serde_json::from_str(&sink.0).unwrap();
    assert_eq!(result["error"]["retryable"], true);
    assert_eq!(result["provenance"]["dicast"], env!("CARGO_PKG_VERSION"));
}
