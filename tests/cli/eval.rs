//! `dicast eval`: reports and comparisons of results, bad items; with the demonstration judge also a whole evaluation.

use serde_json::Value;

use super::support::{Folder, run, text};

/// A result in which the better response has the value `better` and the worse one `worse`.
fn result(id: &str, group: &str, better: f64, worse: f64) -> String {
    format!(
        r#"{{"id":"{id}","group":"{group}","benchmark":"preferences","relevance":{{"chosen-1":1,"rejected-1":0}},"principle":"p","prompt":"<q>","responses":{{"chosen-1":"x","rejected-1":"<script>"}},"values":{{"chosen-1":{better},"rejected-1":{worse}}},"scores":{{"chosen-1":{better},"rejected-1":{worse}}},"reasoning":"r","usage":{{"prompt_tokens":10}},"ms":2.5}}"#
    )
}

fn report(args: &[&str]) -> Value {
    let ran = run([&["eval", "--json"], args].concat()).succeeds();
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn results_are_reported_by_group_and_compared() {
    let folder = Folder::new();
    let mut one: Vec<_> = (0..8).map(|index| result(&index.to_string(), "a", 4.0, 2.0)).collect();
    one.push(result("tie", "b", 3.0, 3.0));
    one.push(r#"{"id":"bad","group":"b","relevance":{"chosen-1":1,"rejected-1":0},"error":{"kind":"timeout"}}"#.into());
    let other: Vec<_> = (0..8).map(|index| result(&index.to_string(), "a", 2.0, 4.0)).collect();
    let (one, other) = (folder.file("one.jsonl", one.join("\n")), folder.file("other.jsonl", other.join("\n")));
    let page = folder.path("report.html");
    let whole = report(&["--report", text(&one), "--report", text(&other), "--html", text(&page)]);
    let first = &whole["reports"][0];
    assert_eq!((&first["items"], &first["failed"]), (&10.into(), &1.into()));
    assert_eq!(first["metrics"]["accuracy (pairs)"]["mean"], 0.8);
    assert_eq!(first["groups"]["b"]["accuracy (pairs)"]["mean"], 0.0);
    let pair = &whole["comparison"]["pairs"][0];
    assert_eq!((&pair["items"], &pair["difference"]), (&8.into(), &Value::from(-1.0)));
    // All eight have the opposite sign: 2 of 256 sign patterns.
    assert_eq!(pair["p"], 2.0 / 256.0);
    assert!(pair["cohen_kappa"].as_f64().unwrap() <= 0.0);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
    assert!(!html.contains("http://") && !html.contains("https://"), "it loads nothing");
    let shown = run(["eval", "--report", text(&one)]).succeeds().stdout;
    assert!(shown.contains("10 items, 1 failed") && shown.contains("accuracy (pairs)"), "{shown}");
}

#[test]
fn what_cannot_be_reported_is_named() {
    let folder = Folder::new();
    let broken = folder.file("broken.jsonl", format!("{}\n{{\"id\":7}}\n", result("1", "a", 4.0, 2.0)));
    run(["eval", "--report", text(&broken)]).fails(2, &["broken.jsonl: line 2: it has no \"id\""]);
    let lacking = folder.file("lacking.jsonl", r#"{"id":"1","relevance":{"a":1},"values":{"b":1}}"#);
    run(["eval", "--report", text(&lacking)]).fails(2, &["line 1: \"values\" has no number for \"a\""]);
    let (one, other) =
        (folder.file("1.jsonl", result("1", "", 4.0, 2.0)), folder.file("2.jsonl", result("2", "", 4.0, 2.0)));
    run(["eval", "--report", text(&one), "--report", text(&other)]).fails(2, &["have no item in common"]);
    run(["eval", "--report", "/nonexistent.jsonl"]).fails(1, &["cannot read /nonexistent.jsonl"]);
    run(["eval"]).fails(2, &["ITEMS.jsonl"]);
    run(["eval", "x.jsonl", "-o", "r.jsonl", "--benchmark", "mt-bench"]).fails(2, &["rm-bench, judge-bench"]);
    run(["eval", "x.jsonl", "-o", "r.jsonl", "-m", "m.gguf", "--named-principle", "x"])
        .fails(2, &["it has", "concise"]);
}

#[cfg(feature = "local")]
#[test]
fn the_demonstration_judge_is_evaluated_and_goes_on_where_it_stopped() {
    let folder = Folder::new();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let items = std::fs::read_to_string(demo.join("handwritten.jsonl")).unwrap();
    let mut lines: Vec<&str> = items.lines().take(12).collect();
    lines.push(r#"{"prompt":"q","chosen":"a"}"#);
    lines.push(
        r#"{"pair_id":"p","source":"s","principle":"Be brief.","question":"Why?","response_A":"Because.","response_B":"There are many reasons for this, and I am going to tell you all of them in turn, one after the other, at length and without leaving any out.","label":"A>B"}"#,
    );
    let items = folder.file("items.jsonl", lines.join("\n"));
    let (results, model) = (folder.path("results.jsonl"), demo.join("dicast-demo.gguf"));
    let evaluate = |more: &[&str]| {
        let fixed = ["eval", text(&items), "-o", text(&results), "-m", text(&model), "--json"];
        run([&fixed[..], more].concat())
    };
    evaluate(&["--limit", "5"]).succeeds();
    let ran = evaluate(&[]);
    assert_eq!(ran.code, 1, "one item is no item: {ran:?}");
    let whole: Value = serde_json::from_str(&ran.stdout).unwrap();
    let metrics = &whole["reports"][0]["metrics"];
    assert_eq!(whole["reports"][0]["items"], 14);
    assert_eq!(whole["reports"][0]["failed"], 1);
    assert!(metrics["accuracy (pairs)"]["mean"].as_f64().unwrap() > 0.7, "{metrics}");
    assert_eq!(metrics["position consistency"]["items"], 1);
    let written = std::fs::read_to_string(&results).unwrap();
    let wrong: Value = serde_json::from_str(written.lines().nth(12).unwrap()).unwrap();
    let message = wrong["error"]["message"].as_str().unwrap();
    assert!(message.contains("items.jsonl: line 13") && message.contains("no \"rejected\""), "{message}");
    evaluate(&["--by", "score"]).fails(2, &["was made with by \"expected_or_score\", which is now \"score\""]);
}

#[cfg(feature = "local")]
#[test]
fn results_tell_prompts_apart_whose_beginning_is_the_same_or_that_are_empty() {
    let folder = Folder::new();
    let long = "Please say how. ".repeat(40);
    let item = |id: &str, prompt: &str| {
        serde_json::json!({ "id": id, "prompt": prompt, "chosen": "Mix it.", "rejected": "Mix it, and then mix it again." })
            .to_string()
    };
    let lines = [
        item("1", &format!("{long}1")),
        item("2", &format!("{long}2")),
        item("3", &format!("{long}2")),
        item("4", ""),
        item("5", ""),
    ];
    let (items, results) = (folder.file("items.jsonl", lines.join("\n")), folder.path("results.jsonl"));
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    run(["eval", text(&items), "-o", text(&results), "-m", text(&model), "--no-reasoning"]).succeeds();
    let written: Vec<Value> =
        std::fs::read_to_string(&results).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prompt = |index: usize| &written[index]["checksums"]["prompt"];
    assert_eq!(written[0]["prompt"], written[1]["prompt"], "the texts are cut");
    assert_ne!(prompt(0), prompt(1));
    assert_eq!(prompt(1), prompt(2));
    assert_ne!(prompt(3), prompt(4));
    assert_eq!(written[3]["checksums"]["request"], written[4]["checksums"]["request"]);
    assert!(written.iter().all(|line| line["judged_in_blocks"] == false), "{written:?}");
}

#[cfg(feature = "local")]
#[test]
fn items_are_judged_by_their_rubric_or_by_that_of_the_option() {
    let folder = Folder::new();
    let item = |more: &str| {
        format!(
            r#"{{"prompt":"How do I bake bread?","responses":{{"long":"Mix flour, water, yeast and salt. Then knead it for ten minutes, and let it rise for an hour.","short":"Mix and bake."}},"best":"short"{more}}}"#
        )
    };
    let own = r#","rubric":[{"name":"brief","criterion":"Prefer the shorter answer.","weight":5},{"criterion":"Be polite."}]"#;
    let lines = [item(own), item(""), item(r#","principle":"Prefer the shorter answer.""#)];
    let items = folder.file("items.jsonl", lines.join("\n"));
    let rubric = folder.file("rubric.json", r#"[{"criterion":"Prefer the longer answer."}]"#);
    let (results, page) = (folder.path("results.jsonl"), folder.path("page.html"));
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf");
    let fixed = ["eval", text(&items), "-o", text(&results), "-m", text(&model), "--html", text(&page)];
    run([&fixed[..], &["--rubric", text(&rubric)]].concat()).succeeds();
    let written: Vec<Value> =
        std::fs::read_to_string(&results).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let prefers_short = |line: &Value| line["values"]["short"].as_f64() > line["values"]["long"].as_f64();
    assert_eq!(written.iter().map(prefers_short).collect::<Vec<_>>(), [true, false, true], "{written:?}");
    assert_eq!(written[0]["rubric"][0]["name"], "brief");
    assert_eq!((&written[1]["principle"], &written[1]["rubric"][0]["weight"]), (&"".into(), &1.0.into()));
    assert_eq!(written[2].get("rubric"), None);
    let checksums: std::collections::BTreeSet<String> =
        written.iter().map(|line| line["checksums"]["request"].to_string()).collect();
    assert_eq!(checksums.len(), 3);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("(weight 1) Prefer the longer answer."),
        "the worst disagreement shows what it was judged by"
    );
    run(fixed).fails(2, &["was made with principle"]);
    run([&fixed[..], &["--rubric", "code review"]].concat()).fails(2, &["was made with rubric", "edge cases"]);
    run([&fixed[..], &["--rubric", "no such", "--overwrite"]].concat())
        .fails(2, &["--rubric", "no such", "code review"]);
    let calibrate = ["calibrate", "--from", text(&results), "--model", text(&model)];
    run(calibrate).fails(2, &["results.jsonl: line 1", "the criteria of a rubric", "--rubric-mode joint"]);
}
