//! `dicast judge` and `dicast doctor` with a small random model: its verdicts mean nothing, but are complete.

use serde_json::Value;

use super::support::{Folder, Ran, dicast, fixture, run, run_with_input, text};

const REQUEST: &str = r#"{"principle":"Be brief.","prompt":"Why?","responses":{"long":"Because of many things.","kurz \u001b[2J 短":"So.","c":""}}"#;

fn judge(args: &[&str]) -> Ran {
    let model = fixture("tiny-qwen3.gguf");
    let fixed = ["judge", "--model", text(&model), "--max-reasoning-tokens", "8", "--threads", "1"];
    run(fixed.iter().chain(args))
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn json_holds_a_complete_verdict_in_the_order_given() {
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    let ran = judge(&["--json", text(&request)]).succeeds();
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.stdout.lines().count(), 1);
    let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
    let names = ["long", "kurz \u{1b}[2J 短", "c"];
    assert_eq!(keys(&verdict["scores"]), names);
    assert_eq!(keys(&verdict["expected_scores"]), names);
    let mut ranking: Vec<&str> =
        verdict["ranking"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    ranking.sort_unstable();
    let mut sorted = names;
    sorted.sort_unstable();
    assert_eq!(ranking, sorted);
    for score in verdict["scores"].as_object().unwrap().values() {
        assert!((1..=5).contains(&score.as_i64().unwrap()));
    }
}

#[test]
fn standard_input_files_and_options_ask_the_same() {
    let folder = Folder::new();
    let model = fixture("tiny-qwen3.gguf");
    let verdict = |ran: Ran| {
        let mut verdict: Value = serde_json::from_str(&ran.succeeds().stdout).unwrap();
        // Differs from run to run.
        verdict.as_object_mut().unwrap().remove("timing_ms");
        verdict
    };
    let request = folder.file("r.json", r#"{"principle":"@p","prompt":"q","responses":{"a":"x=y","b":"z"}}"#);
    let answer = folder.file("b.txt", "z");
    let from_file = verdict(judge(&["--json", text(&request)]));
    let from_stdin = verdict(run_with_input(
        dicast(["judge", "--json", "-m", text(&model), "--max-reasoning-tokens", "8", "--threads", "1", "-"]),
        std::fs::read(&request).unwrap(),
    ));
    let response = format!("b=@{}", text(&answer));
    let options = ["--json", "--principle", "@@p", "--prompt", "q", "--response", "a=x=y", "--response", &response];
    assert_eq!(from_stdin, from_file);
    assert_eq!(verdict(judge(&options)), from_file);
}

#[test]
fn options_of_the_request_go_before_those_of_the_command_and_these_before_the_configuration() {
    let folder = Folder::new();
    let aliases = |options: &str, args: &[&str]| {
        let request = format!(r#"{{"principle":"p","prompt":"q","responses":{{"b":"x","a":"y"}}{options}}}"#);
        let request = folder.file("r.json", request);
        let ran = judge(&[&["--json", "--no-reasoning", text(&request)], args].concat()).succeeds();
        let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
        keys(&verdict["aliases"]).join(" ")
    };
    let config = folder.file("c.json", r#"{"options":{"mask":"off"}}"#);
    let config = ["--config", text(&config)];
    assert_eq!(aliases("", &[]), "model-1 model-2");
    assert_eq!(aliases("", &config), "b a");
    assert_eq!(aliases("", &[config[0], config[1], "--mask", "given"]), "model-1 model-2");
    assert_eq!(aliases(r#","options":{"mask":"off"}"#, &["--mask", "given"]), "b a");
}

#[test]
fn people_get_a_table_without_escapes_of_others() {
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    let ran = judge(&[text(&request)]).succeeds();
    assert!(ran.stdout.starts_with("Be brief.\n"), "{}", ran.stdout);
    for word in ["response", "score", "expected", "█", "\n1   ", "\n3   ", "tokens: prompt", r"kurz \u{1b}[2J 短"] {
        assert!(ran.stdout.contains(word), "{word:?} is missing in {}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no colours outside of a terminal");
    let two = judge(&[text(&request), text(&request)]).succeeds();
    assert_eq!(two.stdout.matches("Be brief.").count(), 2);
}

#[test]
fn a_failed_judgment_ends_with_1_and_the_others_are_shown() {
    let folder = Folder::new();
    let good = folder.file("good.json", REQUEST);
    let long = format!(r#"{{"principle":"p","prompt":"{}","responses":{{"a":"x"}}}}"#, "word ".repeat(9000));
    let long = folder.file("long.json", long);
    let ran = judge(&["--json", text(&good), text(&long)]).fails(1, &["error: ", "8192"]);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(keys(&lines[0]["scores"]).len(), 3);
    assert_eq!(lines[1]["error"]["kind"], "context_overflow");
}

#[test]
fn a_model_that_cannot_be_opened_is_told_apart() {
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    let with = |model: &str| run(["judge", "--model", model, text(&request)]);
    with(text(&folder.path("none.gguf"))).fails(2, &["none.gguf", "no such model file"]);
    with(text(&folder.file("text.gguf", "hello"))).fails(2, &["text.gguf"]);
    with(text(&fixture("tiny-qwen3-no-template.gguf"))).fails(2, &["no chat template"]);
}

#[test]
fn doctor_opens_the_model() {
    let model = fixture("tiny-qwen3.gguf");
    let ran = run(["doctor", "--json", "--model", text(&model), "--probe-seconds", "0"]).succeeds();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["model"]["ok"], true);
    assert_eq!(report["model"]["engine"], "local");
    assert_eq!(report["devices"][0]["backend"], "CPU");
    let ran = run(["doctor", "--json", "--model", "none.gguf"]);
    assert_eq!(ran.code, 2);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["model"]["error"]["kind"], "model_not_found");
    assert!(
        run(["doctor", "--model", text(&model), "--probe-seconds", "0"])
            .succeeds()
            .stdout
            .contains("opens with the local engine")
    );
}

#[test]
fn doctor_probes_what_a_judge_reads() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/dicast-demo.gguf");
    let ran = run(["doctor", "--json", "--model", demo]).succeeds();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let probe = &report["model"]["probe"];
    assert_eq!((&probe["judgments"], &probe["failed"]), (&16.into(), &0.into()), "{probe}");
    assert_eq!((&probe["by_content"], &probe["orders"]["same"]), (&"yes".into(), &8.into()), "{probe}");
    assert_eq!(report["model"]["memory"]["fits"], true);
    assert!(run(["doctor", "--model", demo]).succeeds().stdout.contains("it judges by content"));
    let unprobed = run(["doctor", "--json", "--model", demo, "--probe-seconds", "0"]).succeeds();
    let report: Value = serde_json::from_str(&unprobed.stdout).unwrap();
    assert!(report["model"]["probe"].is_null());
}

#[test]
fn a_chat_template_is_an_option() {
    let folder = Folder::new();
    let template = folder.file("plain.jinja", "{% for m in messages %}{{ m.content }}{{ tail }}{% endfor %}");
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/dicast-demo.gguf");
    let judge = ["judge", "--model", demo, "--json", "--principle", "Be short.", "--prompt", "?", "--response", "a=x"];
    let tokens = |more: &[&str]| {
        let ran = run(judge.iter().chain(more).copied()).succeeds();
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let plain = tokens(&["--chat-template", text(&template)]);
    assert!(plain < tokens(&[]));
    let more = tokens(&["--chat-template", text(&template), "--template-variables", r#"{"tail": " and so on"}"#]);
    assert!(more > plain);
    run(judge.iter().chain(&["--chat-template", "none.jinja"]).copied()).fails(2, &["none.jinja"]);
    run(judge.iter().chain(&["--template-variables", "[1]"]).copied()).fails(2, &["JSON object"]);
}

#[test]
fn a_score_below_the_threshold_is_an_exit_code_and_orders_are_reported() {
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    judge(&["--min-score", "1", text(&request)]).succeeds();
    judge(&["--min-score", "5.5", text(&request)]).fails(3, &["which is below 5.5 (--min-score)"]);
    let ran = judge(&["--orders", "3", "--reward", "group", "--no-reasoning", text(&request)]).succeeds();
    assert!(ran.stdout.contains("3 runs: 3 orders") && ran.stdout.contains("reward (group): "), "{}", ran.stdout);
    let rubric = folder
        .file("b.json", r#"[{"criterion":"It is brief.","name":"brief","weight":2},{"criterion":"It is kind."}]"#);
    let asked = ["--prompt", "Why?", "--response", "a=So.", "--response", "b=Because."];
    let ran = judge(&[&["--rubric", text(&rubric), "--no-reasoning"][..], &asked].concat()).succeeds();
    assert!(
        ran.stdout.contains("a rubric of 2 criteria") && ran.stdout.contains("criterion  weight"),
        "{}",
        ran.stdout
    );
}

/// The words of a table: without numbers that a processor may round otherwise, their bars, and times.
fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().filter(|word| !word.contains('.') && !word.starts_with('█')).collect()
}

#[test]
fn the_readme_shows_what_the_demonstration_prints() {
    let readme = include_str!("../../README.md");
    let block = |after: &str| {
        let (_, rest) = readme.split_once(after).unwrap();
        let (_, rest) = rest.split_once("```text\n").unwrap();
        rest.split_once("```").unwrap().0
    };
    let model = ["judge", "--model", "demo/dicast-demo.gguf"];
    let judge = |arguments: &[&str]| {
        let mut command = dicast(model.iter().chain(arguments));
        let ran: Ran = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap().into();
        ran.succeeds().stdout
    };
    let demonstrated = judge(&["examples/requests/concise.json", "examples/requests/detailed.json"]);
    assert_eq!(words(&demonstrated), words(block("<!-- demo -->")));
    let polite = "Please turn left at the bridge; you are welcome to ask again.";
    assert!(readme.contains(polite));
    let station = ["--principle", "Be polite.", "--prompt", "Where is the station?"];
    let responses = [format!("a={polite}"), "b=Can't you read a map?".to_owned()];
    let by_hand = judge(&[&station[..], &["--response", &responses[0], "--response", &responses[1]]].concat());
    assert_eq!(words(&by_hand), words(block("target/release/dicast judge --model demo/dicast-demo.gguf")));
}

#[test]
fn judges_of_one_or_two_responses_give_the_same_complete_verdict() {
    let folder = Folder::new();
    let request = folder.file("r.json", REQUEST);
    for (profile, flag, runs) in [
        ("pairwise", "compared_in_pairs", 3),
        ("prometheus-2", "judged_one_by_one", 3),
        ("skywork-critic", "compared_in_pairs", 3),
    ] {
        let ran = judge(&["--json", text(&request), "--profile", profile, "--reward", "win"]).succeeds();
        let verdict: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(keys(&verdict["scores"]).len(), 3);
        assert_eq!(verdict["ranking"].as_array().unwrap().len(), 3);
        assert!(verdict["flags"].as_array().unwrap().contains(&flag.into()), "{profile}: {}", verdict["flags"]);
        let blocks = match verdict["ensemble"]["runs"].as_array() {
            Some(orders) => &orders[1]["blocks"],
            None => &verdict["blocks"],
        };
        assert_eq!(blocks["blocks"].as_array().unwrap().len(), runs);
        for expected in verdict["expected_scores"].as_object().unwrap().values() {
            assert!((1.0..=5.0).contains(&expected.as_f64().unwrap()));
        }
        let wins: Vec<f64> =
            verdict["rewards"]["values"].as_object().unwrap().values().map(|win| win.as_f64().unwrap()).collect();
        assert!((wins.iter().sum::<f64>() - 1.5).abs() < 1e-3, "{profile}: all wins are somebody's losses: {wins:?}");
    }
}
