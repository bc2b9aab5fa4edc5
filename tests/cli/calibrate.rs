//! `dicast calibrate`: learning from results, what cannot be learned from; with the demonstration judge also from items to verdicts.

use serde_json::{Value, json};

use super::support::{Folder, run, text};

/// A result of one pair: the better response has the higher score by `difference`, or the lower one where it is negative.
fn result(number: usize, difference: f64) -> String {
    let by_name = |better: Value, worse: Value| json!({ "chosen-1": better, "rejected-1": worse });
    let scores = by_name((3.0 + difference).round().into(), 3.into());
    json!({
        "id": number.to_string(), "group": "", "benchmark": "preferences", "relevance": by_name(1.into(), 0.into()),
        "principle": "p", "prompt": format!("prompt {number}"), "responses": by_name("x".into(), "y".into()),
        "values": by_name((3.0 + difference).into(), 3.0.into()), "scores": scores,
        "expected_scores": by_name((3.0 + difference).into(), 3.0.into()),
        "distributions": by_name(Value::Null, Value::Null),
        "provenance": {
            "dicast": "0", "model": { "bytes": 1, "checksum": "0" }, "options": { "temperature": 0.0 },
            "profile": { "name": "x", "judging_checksum": "0" },
        },
    })
    .to_string()
}

/// Results in which small differences are often wrong: 400 pairs, of which a sixth is wrong.
fn results() -> Vec<String> {
    let difference = |number: usize| {
        let size = 0.1 + f64::from(u8::try_from(number * 37 % 100).unwrap()) / 50.0;
        if size < 0.8 && number.is_multiple_of(2) { -size } else { size }
    };
    (0..400).map(|number| result(number, difference(number))).collect()
}

#[test]
fn a_map_and_a_threshold_are_learned_from_results() {
    let folder = Folder::new();
    let file = folder.file("results.jsonl", results().join("\n"));
    let (page, plot) = (folder.path("page.html"), folder.path("plot.svg"));
    let learned = |more: &[&str]| -> Value {
        let ran = run([&["calibrate", "--from", text(&file), "--json"], more].concat()).succeeds();
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let report = learned(&["--html", text(&page), "--plot", text(&plot)]);
    assert_eq!((&report["pairs"], &report["prompts"], &report["failed"]), (&400.into(), &400.into(), &0.into()));
    let value = |when: &str, what: &str| report[when][what]["value"].as_f64().unwrap();
    assert!(value("after", "brier") < value("before", "brier"), "{report}");
    assert!(value("after", "calibration_error") < value("before", "calibration_error"), "{report}");
    let threshold = &report["threshold"];
    assert!(threshold["bound"].as_f64().unwrap() <= 0.1, "{threshold}");
    let (pairs, wrong) = (threshold["all"]["answered"].as_u64().unwrap(), threshold["all"]["wrong"].as_u64().unwrap());
    assert!(pairs > 200 && wrong * 10 <= pairs, "{threshold}");
    assert_eq!(report, learned(&[]), "the same results teach the same");
    assert_eq!(learned(&["--method", "platt"])["method"], "platt");
    assert_eq!(learned(&["--method", "isotonic"])["method"], "isotonic");
    assert_eq!(learned(&["--no-abstain"])["threshold"], Value::Null);
    let stricter = learned(&["--error-rate", "0.03"]);
    assert!(stricter["threshold"]["difference"].as_f64() > threshold["difference"].as_f64(), "{stricter}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("Brier score") && !html.contains("<script"), "{html}");
    assert!(!html.contains("http://") && !html.contains("https://"), "it loads nothing");
    let picture = std::fs::read_to_string(&plot).unwrap();
    assert!(
        picture.starts_with("<svg") && picture.contains("cross-validation") && !picture.contains("NaN"),
        "{picture}"
    );
    let shown = run(["calibrate", "--from", text(&file)]).succeeds().stdout;
    for words in ["400 pairs on 400 prompts", "Brier score", "calibration error", "answered: ", "with confidence 0.9"] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
}

#[test]
fn what_cannot_be_learned_from_is_named() {
    let folder = Folder::new();
    let from = |lines: &[String], more: &[&str]| {
        let file = folder.file("results.jsonl", lines.join("\n"));
        run([&["calibrate", "--from", text(&file)], more].concat())
    };
    let whole = results();
    from(&whole[..49], &[]).fails(2, &["49 pairs whose order is known", "at least 50 are needed"]);
    let few = from(&whole[..200], &["--no-abstain"]).succeeds();
    assert!(few.stderr.contains("200 pairs are few"), "{few:?}");
    let random: Vec<_> = (0..100).map(|number| result(number, if number % 2 == 0 { 1.0 } else { -1.0 })).collect();
    from(&random, &[]).fails(2, &["no better than chance"]);
    let other = |from: &str, to: &str| {
        let mut lines = whole.clone();
        lines[7] = lines[7].replace(from, to);
        lines
    };
    from(&other("\"bytes\":1", "\"bytes\":2"), &[]).fails(2, &["line 8", "another model"]);
    from(&other("\"temperature\":0.0", "\"temperature\":0.5"), &[]).fails(2, &["line 8", "other options"]);
    from(&other("\"judging_checksum\":\"0\"", "\"judging_checksum\":\"1\""), &[])
        .fails(2, &["line 8", "another profile"]);
    from(&other("\"provenance\"", "\"origin\""), &[]).fails(2, &["line 8", "does not say which model", "judge again"]);
    let one_prompt: Vec<_> =
        (0..60).map(|number| result(number, 1.0).replace(&format!("prompt {number}"), "p")).collect();
    from(&one_prompt, &[]).fails(2, &["1 prompts cannot be split into 5 parts"]);
    from(&whole, &["--error-rate", "0.7"]).fails(2, &["--error-rate 0.7: must be above 0 and below 0.5"]);
    from(&whole, &["--confidence", "1"]).fails(2, &["--confidence 1: must be from 0.5 to below 1"]);
    from(&whole, &["--folds", "1"]).fails(2, &["--folds"]);
    from(&whole, &["--write-profile", text(&folder.path("p.json"))]).fails(2, &["which profile judged the results"]);
    let model = folder.file("profile.json", dicast::Profile::builtin().to_json());
    let written = folder.path("p.json");
    let named = ["--profile", text(&model), "--write-profile", text(&written)];
    from(&whole, &named).fails(2, &["judged by another profile"]);
    let there = folder.file("there.json", "kept");
    from(&whole, &["--write-profile", text(&there)]).fails(2, &["there.json exists", "--overwrite"]);
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "kept");
    let strict = from(&whole, &["--error-rate", "0.001"]).succeeds().stdout;
    assert!(
        strict.contains("no threshold holds") && strict.contains("is the lowest that these pairs allow"),
        "{strict}"
    );
    run(["calibrate"]).fails(2, &["ITEMS.jsonl"]);
    run(["calibrate", "items.jsonl"]).fails(2, &["--output"]);
}

#[cfg(feature = "local")]
#[test]
fn the_demonstration_judge_is_calibrated_and_abstains() {
    let folder = Folder::new();
    let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
    let items = std::fs::read_to_string(demo.join("heldout.jsonl")).unwrap();
    let items = folder.file("items.jsonl", items.lines().take(120).collect::<Vec<_>>().join("\n"));
    let (results, written) = (folder.path("results.jsonl"), folder.path("calibrated.json"));
    let model = demo.join("dicast-demo.gguf");
    let calibrate = |more: &[&str]| run([&["calibrate"], more, &["-m", text(&model), "--json"]].concat());
    let whole = ["--error-rate", "0.3", "--write-profile", text(&written)];
    calibrate(&[&[text(&items), "-o", text(&results)], &whole[..]].concat()).succeeds();
    let profile = dicast::Profile::load(&written).unwrap();
    let calibration = profile.calibration.as_ref().unwrap();
    assert!(calibration.pairs > 200 && calibration.threshold.is_some(), "{calibration:?}");
    // The same results, without judging.
    let again = [&["--from", text(&results), "--overwrite"], &whole[..]].concat();
    calibrate(&again).succeeds();
    assert_eq!(dicast::Profile::load(&written).unwrap().calibration, profile.calibration);

    let judge = |more: &[&str]| {
        let asked = [
            "judge",
            "-m",
            text(&model),
            "--profile",
            text(&written),
            "--json",
            "--principle",
            "Prefer short answers.",
        ];
        let long = "There are many ways to do it, and I am going to tell you about each of them in turn. ".repeat(9);
        let (long, near) = (format!("long={long}"), "near=Mix it well.");
        let told = ["--prompt", "How?", "--response", "short=Mix it.", "--response", &long, "--response", near];
        let ran = run([&asked[..], &told, more].concat()).succeeds();
        serde_json::from_str::<Value>(&ran.stdout).unwrap()
    };
    let verdict = judge(&["--reward", "win"]);
    let pairs = verdict["preferences"]["pairs"].as_array().unwrap();
    assert_eq!((pairs.len(), &pairs[0]["better"]), (3, &"short".into()), "{verdict}");
    assert!(pairs[0]["probability"].as_f64().unwrap() > 0.7, "{verdict}");
    assert_eq!(verdict["rewards"]["values"], verdict["preferences"]["wins"]);
    assert_eq!(verdict["preferences"]["error_rate"], 0.3);
    let flags = |verdict: &Value| verdict["flags"].to_string();
    assert!(!flags(&verdict).contains("calibration"), "{verdict}");
    assert!(flags(&judge(&["--max-reasoning-tokens", "90"])).contains("calibration_of_other_options"));

    let mut other = profile.clone();
    other.calibration.as_mut().unwrap().model = json!({ "bytes": 1, "checksum": "0" });
    std::fs::write(&written, other.to_json()).unwrap();
    assert!(flags(&judge(&[])).contains("calibration_of_other_model"));
}
