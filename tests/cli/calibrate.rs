//! `dicast calibrate`: learning from results, and results that it cannot learn from; with the demonstration judge, also
//! from items to verdicts.

use serde_json::{Value, json};

use super::support::{Folder, run, text};

/// A result of one pair: the better response has the higher score by `difference`, or the lower one if that is
/// negative.
fn result(number: usize, difference: f64) -> String {
    let by_name = |better: Value, worse: Value| json!({ "chosen-1": better, "rejected-1": worse });
    let scores = by_name((3.0 + difference).round().into(), 3.into());
    json!({
        "id": number.to_string(), "group": "", "benchmark": "preferences", "relevance": by_name(1.into(), 0.into()),
        "principle": "p", "prompt": format!("prompt {number}"), "responses": by_name("x".into(), "y".into()),
        "values": by_name((3.0 + difference).into(), 3.0.into()), "scores": scores,
        "expected_scores": by_name((3.0 + difference).into(), 3.0.into()),
        "distributions": by_name(Value::Null, Value::Null), "judged_in_blocks": false,
        "checksums": { "prompt": format!("p{number}"), "request": format!("r{number}") },
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
    from(&other("\"judged_in_blocks\":false", "\"judged_in_blocks\":true"), &[])
        .fails(2, &["line 8", "judged in blocks", "--blocks never"]);
    from(&other("\"judged_in_blocks\"", "\"x\""), &[]).fails(2, &["line 8", "does not say whether", "judge again"]);
    from(&other("\"checksums\"", "\"x\""), &[]).fails(2, &["line 8", "does not say which prompt", "judge again"]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut lines = whole.clone();
        let mut line: Value = serde_json::from_str(&lines[7]).unwrap();
        change(&mut line);
        lines[7] = line.to_string();
        lines
    };
    let set = |key: &str, value: Value| changed(&|line| line[key] = value.clone());
    let by_name = |better: Value, worse: Value| json!({ "chosen-1": better, "rejected-1": worse });
    let none = by_name(Value::Null, Value::Null);
    from(&set("expected_scores", none.clone()), &[])
        .fails(2, &["line 8", "no expected scores, and the first result has"]);
    from(&set("expected_scores", by_name(4.into(), Value::Null)), &[])
        .fails(2, &["line 8", "for some of the responses"]);
    let written: Vec<_> = whole.iter().map(|line| line.replace("\"expected_scores\"", "\"x\"")).collect();
    let mut mixed = written.clone();
    mixed[7].clone_from(&whole[7]);
    from(&mixed, &[]).fails(2, &["line 8", "has expected scores, and the first result has none"]);
    from(&written, &["--method", "platt", "--no-abstain"]).succeeds();
    from(&set("scores", by_name(4.into(), "3".into())), &[]).fails(2, &["line 8", "\"scores\" has no number for"]);
    from(&set("relevance", json!({ "chosen-1": 1 })), &[]).fails(2, &["line 8", "\"values\" has \"rejected-1\""]);
    from(&set("relevance", json!({ "chosen-1": 1, "rejected-1": "0" })), &[])
        .fails(2, &["line 8", "\"relevance\" has no number for \"rejected-1\""]);
    for relevance in [json!([1, 0]), json!(7), json!({}), Value::Null] {
        from(&set("relevance", relevance), &[]).fails(2, &["line 8", "\"relevance\" must be an object"]);
    }
    let lacking = changed(&|line| drop(line.as_object_mut().unwrap().remove("relevance")));
    from(&lacking, &[]).fails(2, &["results.jsonl: line 8: it has no \"relevance\""]);
    from(&set("distributions", by_name(json!([0.5, 0.5]), json!([0.2, 0.3, 0.5]))), &[])
        .fails(2, &["line 8", "not over as many scores"]);
    from(&set("distributions", by_name(json!([0.5, "x"]), Value::Null)), &[])
        .fails(2, &["line 8", "of \"chosen-1\" must"]);
    for distribution in [json!([]), json!([0.5, 0.4]), json!([1.5, -0.5]), json!({})] {
        from(&set("distributions", by_name(distribution, Value::Null)), &[]).fails(2, &["line 8", "that sum to 1"]);
    }
    let unknown = changed(&|line| line["provenance"]["model"] = Value::Null);
    from(&unknown, &[]).fails(2, &["line 8", "does not say which model"]);
    from(&set("distributions", by_name(7.into(), Value::Null)), &[]).fails(2, &["line 8", "a list of probabilities"]);
    from(&other("\"provenance\"", "\"origin\""), &[]).fails(2, &["line 8", "does not say which model", "judge again"]);
    let one_prompt: Vec<_> =
        (0..60).map(|number| result(number, 1.0).replace(&format!("\"p{number}\""), "\"p\"")).collect();
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

#[test]
fn prompts_are_told_apart_by_all_of_their_text_and_results_count_once() {
    let folder = Folder::new();
    let whole = results();
    let alike: Vec<_> =
        whole.iter().enumerate().map(|(number, line)| line.replace(&format!("prompt {number}\""), "p\"")).collect();
    let one = folder.file("one.jsonl", alike.join("\n"));
    let calibrate = |from: &str, more: &[&str]| run([&["calibrate", "--from", from], more].concat());
    assert!(calibrate(text(&one), &[]).succeeds().stdout.contains("400 pairs on 400 prompts"));
    let both = |other: &std::path::Path| format!("{},{}", text(&one), text(other));
    calibrate(&both(&one), &[]).fails(2, &["--from names", "one.jsonl twice"]);
    let copy = folder.file("copy.jsonl", alike.join("\n"));
    calibrate(&both(&copy), &[]).fails(2, &["copy.jsonl: line 1", "this is the item of", "one.jsonl: line 1"]);
    // The same number in another file is another item, and so is a second label of an item.
    let other: Vec<_> =
        (0..100).map(|number| result(number, 1.0).replace(&format!("\"r{number}\""), "\"other\"")).collect();
    let other = folder.file("other.jsonl", other.join("\n"));
    assert!(calibrate(&both(&other), &[]).succeeds().stdout.contains("500 pairs on 400 prompts"));
    let label = r#""relevance":{"chosen-1":0,"rejected-1":1}"#;
    let other = folder.file("label.jsonl", whole[0].replace(r#""relevance":{"chosen-1":1,"rejected-1":0}"#, label));
    assert!(calibrate(&both(&other), &[]).succeeds().stdout.contains("401 pairs on 400 prompts"));
}

#[test]
fn what_is_read_is_not_replaced() {
    let folder = Folder::new();
    let (items, results) = (folder.file("items.jsonl", "x"), folder.file("r.jsonl", results().join("\n")));
    let (items, results) = (text(&items), text(&results));
    let (fresh, new) = (folder.path("fresh.html"), folder.path("new.jsonl"));
    let (fresh, new) = (text(&fresh), text(&new));
    let profile = folder.file("judge.profile.json", dicast::Profile::builtin().to_json());
    let missing = folder.path("none/x.html");
    let journal = format!("{new}.state");
    let judge = ["-m", "judge.gguf", "--profile", text(&profile)];
    let beside = format!("{}/judge.gguf", folder.path("").display());
    for verb in ["eval", "calibrate"] {
        let results_option = if verb == "eval" { "--report" } else { "--from" };
        for (more, words) in [
            (&[items, "-o", new, "--html", items][..], &["--html", "also the file of the items"][..]),
            (&[items, "-o", items], &["--output", "also the file of the items"]),
            (&[items, "-o", new, "--html", new], &["--html", "also the file of --output"]),
            (&[items, "-o", new, "--plot", &journal], &["--plot", "the journal of --output"]),
            (&[items, "-o", new, "--html", fresh, "--plot", fresh], &["--plot", "also the file of --html"]),
            (&[items, "-o", new, "--html", text(&profile)], &["--html", "also the file of --profile"]),
            (&[items, "-o", new, "--plot", text(&missing)], &["--plot", "none does not exist"]),
            (&[items, "-o", "-"], &["--output -", "must be a file"]),
            (&[items, "-o", "/dev/null"], &["--output /dev/null", "must be a file"]),
            (&[items, "-o", "r.csv"], &["--output r.csv", "JSON Lines"]),
            (&[items, "-o", new, "--html", "-"], &["--html -", "must be a file"]),
            (&[results_option, results, "--html", results], &["--html", "also the file of", results_option]),
        ] {
            run([&[verb], more, &judge[..]].concat()).fails(2, words);
        }
        let principle = format!("@{items}");
        let named = [verb, results_option, results, "--principle", &principle, "--html", items];
        run(named).fails(2, &["also the file of --principle"]);
        let model = [verb, results_option, results, "-m", &beside, "--plot", text(&profile)];
        run(model).fails(2, &["also the file of --profile"]);
        run([verb, results_option, results, "--html", fresh]).succeeds();
    }
    let write = |path: &str, more: &[&str]| {
        run([&["calibrate", "--write-profile", path, "--overwrite"], more, &judge].concat())
    };
    write(items, &[items, "-o", new]).fails(2, &["--write-profile", "also the file of the items"]);
    write(results, &["--from", results]).fails(2, &["--write-profile", "also the file of --from"]);
    // The calibration may be written into the profile that judged.
    let in_place = ["calibrate", "--write-profile", text(&profile), "--overwrite", "--from", results];
    run([&in_place[..], &["--profile", text(&profile)]].concat()).fails(2, &["judged by another profile"]);
    assert_eq!(std::fs::read_to_string(items).unwrap(), "x");
    assert!(!std::path::Path::new(new).exists());
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

    // With its calibration, the same command has nothing left to judge.
    let in_place = |more: &[&str]| {
        let fixed = [text(&items), "-o", text(&results), "--profile", text(&written), "--overwrite"];
        calibrate(&[&fixed, &whole[..], more].concat())
    };
    assert!(in_place(&[]).succeeds().stderr.contains("120"), "nothing is judged again");
    assert_eq!(dicast::Profile::load(&written).unwrap().calibration, profile.calibration);
    in_place(&["--max-reasoning-tokens", "90"])
        .fails(2, &["options.max_reasoning_tokens", "give --rejudge to replace it"]);

    let mut other = profile.clone();
    other.calibration.as_mut().unwrap().model = json!({ "bytes": 1, "checksum": "0" });
    std::fs::write(&written, other.to_json()).unwrap();
    assert!(flags(&judge(&[])).contains("calibration_of_other_model"));
}
