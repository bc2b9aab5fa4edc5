//! `dicast batch` as people use it: their own fields, forms and formats, failures judged again. Uses the demonstration
//! judge.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Folder, Ran, dicast, run_with_input, text};

const PRINCIPLE: &str = "I prefer short answers.";

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")
}

fn batch(args: &[&str]) -> Ran {
    let model = demo();
    dicast(["batch", "--model", text(&model), "--threads", "1"].iter().chain(args)).output().unwrap().into()
}

fn results(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A request in one line, with further fields.
fn line(fields: &str) -> String {
    format!(
        "{{{fields}\"principle\":\"{PRINCIPLE}\",\"prompt\":\"Hi\",\"responses\":{{\"a\":\"Hello there, dear friend, how are you?\",\"b\":\"Hi!\"}}}}\n"
    )
}

#[test]
fn own_fields_come_back_and_strict_refuses_them() {
    let folder = Folder::new();
    let content = line("\"custom_id\":\"x-17\",")
        + &line("\"id\":18,\"metadata\":{\"source\":\"set-3\"},\"gold\":\"b\",\"raw\":0,");
    let input = folder.file("in.jsonl", content);
    let output = folder.path("out.jsonl");
    let ran = batch(&[text(&input), "-o", text(&output)]).succeeds();
    for word in ["2 results, 0 failed", "judgments/s", "computed/s"] {
        assert!(ran.stderr.contains(word), "{ran:?}");
    }
    let lines = results(&output);
    assert_eq!(lines[0]["custom_id"], "x-17");
    assert_eq!((&lines[1]["id"], &lines[1]["gold"], &lines[1]["input"]["raw"]), (&18.into(), &"b".into(), &0.into()));
    assert_eq!(lines[1]["metadata"]["source"], "set-3");
    assert_eq!(lines[0]["scores"].as_object().unwrap().len(), 2);
    let provenance = &lines[0]["provenance"];
    assert_eq!(provenance["dicast"], env!("CARGO_PKG_VERSION"));
    assert_eq!(provenance["profile"]["name"], "dicast-demo");
    assert!(provenance["model"]["checksum"].is_string() && provenance["options"].is_object(), "{provenance}");

    let strict = folder.path("strict.jsonl");
    batch(&[text(&input), "-o", text(&strict), "--strict", "--compact"])
        .fails(1, &["1 failed", "line 2: ", "\"gold\""]);
    let lines = results(&strict);
    assert!(lines[0]["raw"].is_null() && lines[0]["distributions"].is_null() && lines[0]["scores"].is_object());
    assert_eq!((&lines[1]["id"], &lines[1]["error"]["retryable"]), (&18.into(), &false.into()));
}

#[test]
fn conversations_lists_and_other_keys_are_requests() {
    let folder = Folder::new();
    let input = folder.file(
        "in.jsonl",
        r#"{"question":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello!"},{"role":"user","content":"And now?"}],"answers":["Hello there, dear friend.","Hi!"],"reference":"Hi."}
{"question":"a\ud83db","answers":{"x":[{"role":"assistant","content":"Hello there, dear friend."}],"y":"Hi!"}}
{"question":[{"role":"user","content":[{"type":"image_url"}]}],"answers":["x"]}
"#,
    );
    let output = folder.path("out.jsonl");
    let args = [
        text(&input),
        "-o",
        text(&output),
        "--principle",
        PRINCIPLE,
        "--prompt-key",
        "question",
        "--responses-key",
        "answers",
    ];
    batch(&args).fails(1, &["3 results, 1 failed", "line 3: \"question\" has an image"]);
    let lines = results(&output);
    assert!(lines[0]["scores"]["1"].is_number() && lines[0]["scores"]["2"].is_number());
    assert!(lines[1]["flags"].as_array().unwrap().contains(&"replaced_characters".into()), "{}", lines[1]);
    // The same in `dicast judge`.
    let one = folder
        .file("one.json", r#"{"principle":"p","prompt":[{"role":"user","content":"Hi"}],"responses":["x","y\ud83d"]}"#);
    let model = demo();
    let ran: Ran = dicast(["judge", "--json", "--model", text(&model), text(&one)]).output().unwrap().into();
    assert!(ran.stderr.contains("one.json: 1 halves of surrogate pairs"), "{ran:?}");
    assert!(ran.succeeds().stdout.contains("\"ranking\":["));
}

#[test]
fn an_input_without_requests_ends_before_anything_is_judged() {
    let folder = Folder::new();
    let input = folder.file("in.jsonl", "{\"question\":\"q\",\"answers\":[\"x\"]}\n".repeat(100));
    let output = folder.path("out.jsonl");
    batch(&[text(&input), "-o", text(&output)]).fails(2, &["in.jsonl", "line 1: ", "no \"principle\"", "--prompt-key"]);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "");
    batch(&["none.jsonl", "-o", text(&output)]).fails(2, &["no file none.jsonl"]);
    batch(&[text(&input), "-o", text(&folder.path("no/out.jsonl"))]).fails(2, &["the folder", "does not exist"]);
}

#[test]
fn formats_go_in_and_out() {
    let folder = Folder::new();
    let table = "id,prompt,response_a,response_b\n7,Hi,\"Hello there, dear friend.\",Hi!\n8,\"Hi,\nyou\",Hello there dear friend,Hi!\n";
    let input = folder.file("in.csv", table);
    let output = folder.path("out.csv.gz");
    let args = [text(&input), "-o", text(&output), "--principle", PRINCIPLE];
    batch(&args).succeeds();
    assert_eq!(&std::fs::read(&output).unwrap()[..2], b"\x1f\x8b");
    let collected = results(&folder.path("out.csv.gz.results.jsonl"));
    assert_eq!(collected[1]["id"], "8");
    batch(&args).succeeds();
    std::fs::remove_file(folder.path("out.csv.gz.results.jsonl")).unwrap();
    batch(&args).fails(2, &["out.csv.gz exists", "--overwrite"]);

    let model = demo();
    let command = dicast([
        "batch",
        "-",
        "-o",
        "-",
        "--format",
        "csv",
        "--output-format",
        "json",
        "--principle",
        PRINCIPLE,
        "--model",
        text(&model),
    ]);
    let ran = run_with_input(command, table).succeeds();
    let array: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&array[0]["id"], &array[1]["id"]), (&"7".into(), &"8".into()));
}

#[test]
fn failed_lines_are_judged_again_when_asked_or_changed() {
    let folder = Folder::new();
    let late = line("\"options\":{\"timeout_ms\":1},");
    let bad = "{\"principle\":7}\n";
    let input = folder.file("in.jsonl", late.clone() + &line("") + bad);
    let output = folder.path("out.jsonl");
    let args = [text(&input), "-o", text(&output)];
    batch(&args).fails(1, &["3 results, 2 failed", "1 timeout, the first: ", "in.jsonl, line 1: "]);
    let before = results(&output);
    assert_eq!(before[0]["error"]["retryable"], true);
    batch(&args).fails(1, &["is complete: 3 results, 2 failed"]);
    // A longer deadline does not count as a change of the line.
    std::fs::write(&input, late.replace("\":1}", "\":600000}") + &line("") + bad).unwrap();
    batch(&[&args[..], &["--retry-failed"]].concat()).fails(1, &["3 results, 2 of them before, 1 failed"]);
    let after = results(&output);
    assert!(after[0]["scores"].is_object());
    assert_eq!((&after[1], &after[2]), (&before[1], &before[2]), "the others are as they were");
    batch(&[&args[..], &["--retry-failed"]].concat()).fails(1, &["is complete"]);

    // A corrected line is judged without --retry-failed.
    std::fs::write(&input, late + &line("") + &line("")).unwrap();
    batch(&args).succeeds();
    assert!(results(&output)[2]["scores"].is_object());
    assert!(!folder.path("out.jsonl.new").exists());
}

#[test]
fn overwriting_keeps_the_old_results_until_the_new_ones_are_there() {
    let folder = Folder::new();
    let input = folder.file("in.jsonl", line("\"id\":1,"));
    let output = folder.file("out.jsonl", "precious\n");
    let missing = folder.path("none.gguf");
    let args = [text(&input), "-o", text(&output), "--overwrite"];
    batch(&[&args[..], &["--model", text(&missing)]].concat()).fails(2, &["cannot be used multiple times"]);
    let ran: Ran = dicast(["batch", "--model", text(&missing)].iter().chain(&args)).output().unwrap().into();
    ran.fails(2, &["none.gguf"]);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "precious\n");
    batch(&args).succeeds();
    assert_eq!(results(&output)[0]["id"], 1);
}

#[test]
fn a_part_first_and_a_check_before() {
    let folder = Folder::new();
    let long = line("").replace("\"Hi\"", &format!("\"{}\"", "word ".repeat(6000)));
    let input = folder.file("in.jsonl", line("").repeat(3) + "{}\n" + &long);
    let output = folder.path("out.jsonl");
    let ran = batch(&[text(&input), "--dry-run"]);
    assert_eq!(ran.code, 1);
    for word in ["5 records, 3 can be judged", "line 4: invalid_request", "line 5: context_overflow", "prompt tokens: "]
    {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    batch(&[text(&input), "-o", text(&output), "--limit", "2"]).succeeds();
    assert_eq!(results(&output).len(), 2);
    batch(&[text(&input), "-o", text(&output), "--limit", "3"]).succeeds();
    batch(&[text(&input), "-o", text(&output), "--limit", "1"]).succeeds();
    assert_eq!(results(&output).len(), 3);
}
