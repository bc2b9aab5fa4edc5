//! Commands that work on results: `dicast report`, `dicast export` and `dicast parse --jsonl`. No model is needed.

use serde_json::Value;

use super::support::{Folder, dicast, run, run_with_input, text};

const RESULTS: &str = r#"{"id":1,"scores":{"a":5,"<b>":1},"expected_scores":{"a":4.5,"<b>":1.5},"ranking":["a","<b>"],"flags":[],"repairs":[],"usage":{"prompt_tokens":100,"reused_tokens":40,"reasoning_tokens":5,"verdict_tokens":20}}
{"id":2,"scores":{"a":3,"<b>":3},"expected_scores":{"a":3.0,"<b>":3.0},"ranking":["<b>","a"],"flags":["ties"],"repairs":[],"usage":{"prompt_tokens":100,"reused_tokens":0,"reasoning_tokens":5,"verdict_tokens":20}}
{"id":3,"error":{"kind":"timeout","message":"line 3: late","retryable":true}}
"#;

const REQUESTS: &str = r#"{"id":1,"prompt":"Hi","responses":{"a":"Hello!","<b>":"Go."},"reference":"r"}
{"id":2,"prompt":[{"role":"user","content":"Hi"}],"responses":{"a":"x","<b>":"y"}}
{"id":3,"prompt":"q","responses":["x"]}
"#;

#[test]
fn a_report_counts_means_and_wins() {
    let folder = Folder::new();
    let results = folder.file("results.jsonl", RESULTS);
    let report = run(["report", text(&results)]).succeeds().stdout;
    for line in [
        "results                        3",
        "failed: timeout                1",
        "with equal scores              1",
        "prompt tokens                  200 (40 reused)",
        "a                                      2   4.000     3.750     0.750       1",
        "<b>                                    2   2.000     2.250     0.250       1",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let table = run(["report", text(&results), "--format", "csv"]).succeeds().stdout;
    assert_eq!(
        table,
        "name,judged,mean_score,mean_expected_score,win_rate,first\na,2,4,3.75,0.75,1\n<b>,2,2,2.25,0.25,1\n"
    );

    let page = folder.path("report.html");
    run(["report", text(&results), "--format", "html", "-o", text(&page)]).succeeds();
    let page = std::fs::read_to_string(&page).unwrap();
    for word in ["<svg", "Win rate", "&lt;b&gt;"] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains("<b>") && !page.contains("http"), "names stay text, and nothing is loaded");

    let other = folder.file("other.jsonl", "{\"id\":1}\n");
    run(["report", text(&other)]).fails(1, &["other.jsonl, line 1", "neither scores nor an error"]);
    run(["report", "none.jsonl"]).fails(2, &["no file none.jsonl"]);
}

#[test]
fn pairs_are_written_for_dpo() {
    let folder = Folder::new();
    let (results, requests) = (folder.file("results.jsonl", RESULTS), folder.file("requests.jsonl", REQUESTS));
    let ran = run(["export", "--pairs", text(&results), "--requests", text(&requests)]).succeeds();
    let pairs: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = serde_json::json!({
        "prompt": "Hi", "chosen": "Hello!", "rejected": "Go.", "margin": 3.0, "chosen_name": "a", "rejected_name": "<b>",
    });
    assert_eq!(pairs, [expected]);
    assert!(ran.stderr.contains("1 pairs; 1 requests without a pair") && ran.stderr.contains("1 failed"), "{ran:?}");

    let uneven = folder.file("uneven.jsonl", RESULTS.replace("\"a\":3.0", "\"a\":3.25"));
    let args = ["export", "--pairs=all", text(&uneven), "--requests", text(&requests)];
    let ran = run(args).succeeds();
    let pair: Value = serde_json::from_str(ran.stdout.lines().nth(1).unwrap()).unwrap();
    assert_eq!(pair["prompt"][0]["content"], "Hi");
    assert_eq!(pair["chosen"], serde_json::json!([{ "role": "assistant", "content": "x" }]));
    assert_eq!(run(args.iter().copied().chain(["--min-margin", "1"])).succeeds().stdout.lines().count(), 1);

    let said = |abstain: bool| {
        let pair = format!(
            r#""preferences":{{"wins":{{"a":0.8,"<b>":0.2}},"pairs":[{{"first":"<b>","second":"a","probability":0.25,"better":null,"abstain":{abstain}}}]}}"#
        );
        folder.file("calibrated.jsonl", RESULTS.replacen("\"repairs\":[]", &format!("\"repairs\":[],{pair}"), 1))
    };
    let export = |results: &std::path::Path, more: &[&str]| {
        run([&["export", "--pairs", text(results), "--requests", text(&requests)], more].concat()).succeeds()
    };
    let pair: Value = serde_json::from_str(export(&said(false), &[]).stdout.trim()).unwrap();
    assert_eq!((&pair["probability"], pair.get("abstain")), (&0.75.into(), None));
    let left_out = export(&said(true), &[]);
    assert!(left_out.stdout.is_empty() && left_out.stderr.contains("1 pair left out on which the judge abstains"));
    let pair: Value = serde_json::from_str(export(&said(true), &["--keep-abstained"]).stdout.trim()).unwrap();
    assert_eq!((&pair["probability"], &pair["abstain"]), (&0.75.into(), &true.into()));

    for path in [&results, &requests] {
        let before = std::fs::read(path).unwrap();
        let refused = run(["export", "--pairs", text(&results), "--requests", text(&requests), "-o", text(path)]);
        refused.fails(2, &["--output", "which it would replace"]);
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
    run(["report", text(&results), "-o", text(&results)]).fails(2, &["also the file of the results"]);

    let swapped = folder.file("swapped.jsonl", REQUESTS.replace("\"<b>\"", "\"c\""));
    run(["export", "--pairs", text(&results), "--requests", text(&swapped)])
        .fails(1, &["results.jsonl, line 1", "no score for \"c\""]);
    let short = folder.file("short.jsonl", REQUESTS.lines().next().unwrap());
    run(["export", "--pairs", text(&results), "--requests", text(&short)]).fails(1, &["line 2", "no request for it"]);
}

#[test]
fn pairs_of_a_group_that_is_too_large_to_be_listed_are_judged_by_the_threshold() {
    let folder = Folder::new();
    let names: Vec<_> = (0..40).map(|index| format!("r{index:02}")).collect();
    let values: serde_json::Map<_, _> =
        names.iter().zip(0..).map(|(name, index)| (name.clone(), (1.0 + f64::from(index) * 0.1).into())).collect();
    let scores: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), 3.into())).collect();
    let texts: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), name.as_str().into())).collect();
    let requests = folder.file("in.jsonl", serde_json::json!({ "prompt": "q", "responses": texts }).to_string());
    let export = |preferences: Value, pairs: &str, more: &[&str]| {
        let result = serde_json::json!({ "scores": scores, "expected_scores": values, "preferences": preferences });
        let results = folder.file("out.jsonl", result.to_string());
        run([&["export", pairs, text(&results), "--requests", text(&requests)], more].concat())
    };
    let said = |threshold: f64| serde_json::json!({ "wins": {}, "pairs": [], "threshold": threshold });
    // The differences 3.6 to 3.9 are above it: those of 4, 3, 2 and 1 pairs. 3.5 is not, however it is rounded.
    let few = export(said(3.5), "--pairs=all", &[]).succeeds();
    assert_eq!(few.stdout.lines().count(), 4 + 3 + 2 + 1, "{}", few.stdout);
    for line in few.stdout.lines() {
        let pair: Value = serde_json::from_str(line).unwrap();
        assert!(pair["margin"].as_f64().unwrap() > 3.55, "{pair}");
        assert!(pair.get("probability").is_none() && pair.get("abstain").is_none(), "{pair}");
    }
    assert!(few.stderr.contains("770 pairs left out on which the judge abstains"), "{}", few.stderr);
    assert!(export(said(3.95), "--pairs", &[]).succeeds().stdout.is_empty());
    let kept = export(said(3.95), "--pairs", &["--keep-abstained"]).succeeds().stdout;
    assert!(kept.contains("\"abstain\":true"), "{kept}");
    let unsaid = serde_json::json!({ "wins": {}, "pairs": [] });
    export(unsaid, "--pairs", &["--keep-abstained"])
        .fails(1, &["line 1", "do not say whether the judge abstains on \"r39\" and \"r00\""]);
}

#[test]
fn a_prompt_comes_back_where_half_a_surrogate_pair_stands_beside_it() {
    let folder = Folder::new();
    let results = folder.file("results.jsonl", "{\"scores\":{\"a\":5,\"b\":1}}\n{\"scores\":{\"a\":5,\"b\":1}}\n");
    let requests = folder.file(
        "requests.jsonl",
        r#"{"prompt":"Hi","responses":{"a":"x","b":"cut \ud83d"}}
{"prompt":"cut \ud83d","responses":{"a":"x","b":"y"}}
"#,
    );
    let ran = run(["export", "--pairs", text(&results), "--requests", text(&requests)]).succeeds();
    let pairs: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&pairs[0]["prompt"], &pairs[0]["rejected"]), (&"Hi".into(), &"cut \u{fffd}".into()));
    assert_eq!(pairs[1]["prompt"], "cut \u{fffd}");
}

#[test]
fn many_texts_are_parsed_at_once() {
    let lines = r#"{"id":7,"raw":"{\"scores\": {\"model-1\": 2, \"model-2\": 4}, \"best-to-worst\": [\"model-2\", \"model-1\"]}","aliases":{"model-1":"z","model-2":"a"}}
{"id":8,"raw":"{\"scores\": {\"x\": 1}, \"best-to-worst\": [\"x\"]}","names":["x"]}
{"raw":"nothing"}
{"text":"?"}
"#;
    let ran = run_with_input(dicast(["parse", "--jsonl", "--names", r#"["n"]"#]), lines);
    assert_eq!(ran.code, 1);
    let results: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&results[0]["id"], &results[0]["scores"]), (&7.into(), &serde_json::json!({ "z": 2, "a": 4 })));
    assert_eq!(results[1]["ranking"], serde_json::json!(["x"]));
    assert_eq!(results[2]["error"]["kind"], "invalid_verdict");
    let message = results[3]["error"]["message"].as_str().unwrap();
    assert!(message.contains("line 4") && message.contains("no \"raw\""), "{message}");
    assert_eq!(results[3]["text"], "?");
}
