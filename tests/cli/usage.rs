//! Commands that need no model: usage, bad input, profiles, completions, the man page.

use super::support::{Folder, dicast, model_bytes, run, run_with_input, text};

#[test]
fn usage_errors_end_with_2() {
    run(["nonsense"]).fails(2, &["unrecognized subcommand"]);
    run(["judge"]).fails(2, &["give a request file, or --principle, --prompt and --response"]);
    run(["judge", "--principle", "p"]).fails(2, &["--prompt"]);
    run(["batch", "in.jsonl"]).fails(2, &["--output"]);
    run(["batch", "in", "-o", "out", "--concurrency", "0"]).fails(2, &["concurrency"]);
    run(["judge", "--mask", "maybe", "x.json"]).fails(2, &["shuffle"]);
}

#[test]
fn help_and_version_go_to_standard_output() {
    assert!(run(["--help"]).succeeds().stdout.contains("Exit codes: 0 all judged"));
    assert_eq!(run(["--version"]).succeeds().stdout, format!("dicast {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_model_must_be_named_and_the_error_says_how() {
    let judge = ["judge", "--principle", "p", "--prompt", "q", "--response", "a=x"];
    run(judge).fails(2, &["error: no model is named", "hint: ", "--model", "DICAST_MODEL"]);
    let ran = run(judge.iter().copied().chain(["--json"])).fails(2, &["no model is named"]);
    let error: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(error["error"]["kind"], "invalid_config");
    let repository = "nobody/Judge-8B";
    run(judge.iter().copied().chain(["--model", repository]))
        .fails(2, &["no such file", "did you mean hf:nobody/Judge-8B?"]);
    // A server's URL is also a model; here no server answers.
    let url = "http://127.0.0.1:1/v1";
    run(judge.iter().copied().chain(["--model", url])).fails(1, &["http://127.0.0.1:1: cannot be reached"]);
    let ran: super::support::Ran = dicast(judge).env("DICAST_MODEL", url).output().unwrap().into();
    ran.fails(1, &["http://127.0.0.1:1: cannot be reached"]);
}

#[test]
fn bad_settings_are_named() {
    let folder = Folder::new();
    let request = folder.file("r.json", r#"{"principle":"p","prompt":"q","responses":{"a":"x"}}"#);
    let judge = |args: &[&str]| run(["judge", text(&request), "--model", "m.gguf"].iter().chain(args));
    for (option, value, must) in [
        ("--temperature", "9", "from 0 to 2"),
        ("--temperature", "hot", "a number from 0 to 2"),
        ("--temperature", "1e999", "a number from 0 to 2"),
        ("--top-p", "0", "above 0 and at most 1"),
        ("--top-p", "nan", "a number above 0 and at most 1"),
        ("--timeout-ms", "0", "from 1 to 86400000"),
        ("--timeout-ms", "-1000", "a whole number from 1 to 86400000"),
        ("--top-k", "2.5", "a whole number from 0 to 4294967295"),
        ("--seed", "99999999999999999999999", "a whole number 0 or more"),
        ("--threads", "1000", "from 0 to 512"),
        ("--context-tokens", "5", "0, or from 64 to 1048576"),
    ] {
        judge(&[option, value]).fails(2, &[&format!("error: {option} {value}: must be {must}\n")]);
    }
    let config = |json: &str| {
        let config = folder.file("config.json", json);
        judge(&["--config", text(&config)])
    };
    config(r#"{"local":{"threats":3}}"#).fails(2, &["config.json", "unknown field `threats`", "line 1 column"]);
    config(r#"{"local":{"max_sequences":1000}}"#).fails(2, &["local.max_sequences is 1000"]);
    config("{").fails(2, &["config.json", "not valid"]);
    judge(&["--config", text(&folder.path("none.json"))]).fails(1, &["none.json"]);
}

#[test]
fn every_option_of_a_request_is_one_of_the_command_line() {
    let help = run(["judge", "--help"]).succeeds().stdout;
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in dicast::Options::ROWS {
        assert!(words.contains(&format!("--{} ", row.name.replace('_', "-"))), "{}", row.name);
    }
    for shown in ["[from 0 to 2] [default: 0]", "[default: 600000]", "[env: DICAST_MODEL]", "--no-reasoning", "--clamp"]
    {
        assert!(words.contains(shown), "{shown} is missing in {help}");
    }
    let folder = Folder::new();
    let config = folder.file("config.json", r#"{"options": {"temperature": 9, "reasoning": false}}"#);
    let judge = |args: &[&str]| {
        let fixed = ["judge", "--principle", "p", "--prompt", "q", "--response", "a=x", "--model", "missing.gguf"];
        run(fixed.iter().chain(&["--config", text(&config)]).chain(args))
    };
    judge(&[]).fails(2, &["temperature is 9"]);
    // Options of the command line take precedence over the file; of a switch and its opposite, the later one counts.
    judge(&["--temperature", "0.5", "--no-reasoning", "--reasoning", "--no-clamp"]).fails(2, &["missing.gguf"]);
}

#[test]
fn bad_requests_are_told_before_a_model_is_loaded() {
    let folder = Folder::new();
    let judge = |content: &[u8]| {
        let request = folder.file("request.json", content);
        run(["judge", text(&request), "--model", "missing.gguf"])
    };
    judge(b"{\"principle\":").fails(1, &["request.json", "not valid", "column 13"]);
    judge(b"{\n\"principle\" 7}").fails(1, &["request.json", "(line 2, column 13)"]);
    judge(b"\xff").fails(1, &["request.json", "not UTF-8", "offset 0"]);
    judge(br#"{"principle":"p","prompt":"q","responses":{}}"#).fails(1, &["no responses"]);
    judge(br#"{"principle":"p","prompt":"q","responses":{"a":"x","a":"y"}}"#).fails(1, &["\"a\" is given twice"]);
    let many: Vec<String> = (0..33).map(|index| format!("\"r{index}\":\"\"")).collect();
    judge(format!(r#"{{"principle":"p","prompt":"q","responses":{{{}}}}}"#, many.join(",")).as_bytes())
        .fails(1, &["33 responses", "limit is 32"]);
    run(["judge", "none.json", "--model", "m.gguf"]).fails(1, &["cannot read none.json"]);
    let ran = run_with_input(dicast(["judge", "-", "--model", "missing.gguf"]), "nonsense");
    ran.fails(1, &["-: the request is not valid"]);
}

#[test]
fn an_output_that_is_not_ours_is_left_alone() {
    let folder = Folder::new();
    let model = folder.file("m.gguf", model_bytes());
    let input = folder.file("in.jsonl", "{}\n");
    let output = folder.file("out.jsonl", "precious\n");
    let batch = |input: &str, output: &str| run(["batch", input, "-o", output, "--model", text(&model)]);
    batch(text(&input), text(&output)).fails(2, &["out.jsonl exists", "--overwrite"]);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "precious\n");
    batch(text(&input), text(&input)).fails(2, &["same file"]);
    batch(text(&folder.path("none")), text(&output)).fails(2, &["no file", "none"]);
    let over = run(["batch", text(&input), "-o", text(&model), "--overwrite", "--model", text(&model)]);
    over.fails(2, &["--output", "also the file of --model"]);
    assert_eq!(std::fs::read(&model).unwrap(), model_bytes());
    batch(text(&input), text(&folder.path("no/such/out.jsonl"))).fails(2, &["the folder", "does not exist"]);
}

#[test]
fn an_empty_input_is_complete_without_a_model() {
    let folder = Folder::new();
    let model = folder.file("m.gguf", model_bytes());
    let input = folder.file("in.jsonl", " \n\n");
    let output = folder.path("out.jsonl");
    for _ in 0..2 {
        let ran = run(["batch", text(&input), "-o", text(&output), "--model", text(&model)]).succeeds();
        assert!(ran.stderr.contains("0 results"), "{ran:?}");
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "");
    }
}

#[test]
fn the_built_in_profile_passes_its_own_check() {
    let folder = Folder::new();
    let shown = run(["profile", "show"]).succeeds().stdout;
    let file = folder.file("p.json", &shown);
    assert!(run(["profile", "check", text(&file)]).succeeds().stdout.contains("is valid"));
    let broken = folder.file("q.json", shown.replace("\"format\": 1", "\"format\": 9"));
    let ran = run(["profile", "check", text(&file), text(&broken)]).fails(2, &["q.json", "format is 9"]);
    assert!(ran.stdout.contains("p.json"));
    run(["profile", "check", text(&folder.path("none"))]).fails(2, &["none"]);
}

#[test]
fn a_system_prompt_is_imported_without_running_anything() {
    let folder = Folder::new();
    let source = folder.file("processing.py", "SYSTEM_PROMPT = \"\"\"Judge \\u0041ll.\"\"\"\nraise SystemExit(3)\n");
    let profile = folder.path("m.profile.json");
    run(["profile", "import", text(&source), "-o", text(&profile)]).succeeds();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&profile).unwrap()).unwrap();
    assert_eq!(json["system_prompt"], "Judge All.");
    run(["profile", "import", text(&source), "-o", text(&profile)]).fails(2, &["exists", "--overwrite"]);
    run(["profile", "import", text(&source), "-o", text(&profile), "--overwrite"]).succeeds();
    let model = folder.file("m.gguf", model_bytes());
    assert!(run(["profile", "show", "--model", text(&model)]).succeeds().stdout.contains("Judge All."));
    let empty = folder.file("empty.py", "x = 1\n");
    run(["profile", "import", text(&empty)]).fails(2, &["empty.py", "SYSTEM_PROMPT"]);
}

#[test]
fn a_reward_anything_model_without_a_profile_gets_the_command_that_makes_one() {
    let folder = Folder::new();
    let model = folder.file("RewardAnything-8B-v1-Q8_0.gguf", model_bytes());
    run(["profile", "show", "--model", text(&model)]).fails(2, &["dicast profile import", "pip download"]);
}

#[test]
fn doctor_says_what_this_build_can_do() {
    let ran = run(["doctor", "--json"]).succeeds();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["engines"][0]["name"], "local");
    assert_eq!(report["engines"][0]["available"], cfg!(feature = "local"));
    assert!(report["machine"]["threads"].as_u64().unwrap() > 0);
    assert!(report["model"].is_null());
    let ran = run(["doctor"]).succeeds();
    assert!(ran.stdout.contains("Engines") && ran.stdout.contains("none named"), "{ran:?}");
    run(["doctor", "--model", "none.gguf"]).fails(2, &["none.gguf"]);
}

#[test]
fn completions_and_man_page_know_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]).succeeds().stdout;
        assert!(script.contains("overwrite") && script.contains("doctor"), "{shell}");
    }
    let page = run(["man"]).succeeds().stdout;
    for word in [
        ".TH dicast",
        "DICAST JUDGE",
        "DICAST PROFILE IMPORT",
        "DICAST DOCTOR",
        "Exit codes",
        "SH EXAMPLES",
        "HF_HUB_OFFLINE",
        "SH FILES",
    ] {
        assert!(page.contains(word), "{word}");
    }
}

/// Runs if groff is installed, which checks the page as `man` does.
#[test]
fn the_man_page_renders_without_warnings() {
    let page = run(["man"]).succeeds().stdout;
    let version = std::process::Command::new("groff").arg("--version").output();
    if !version.is_ok_and(|version| version.status.success()) {
        return;
    }
    let mut groff = std::process::Command::new("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-z"]);
    assert_eq!(run_with_input(groff, page).succeeds().stderr, "");
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error_for_what_is_only_shown() {
    let mut child = dicast(["man"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_verdict_is_read_out_of_text() {
    let folder = Folder::new();
    let aliases = folder.file("a.json", r#"{"model-1":"z","model-2":"a"}"#);
    let parse = |args: &[&str], text: &str| run_with_input(dicast(["parse"].iter().chain(args)), text);
    let judged = "<think>\nhm\n</think>\n{\"scores\": {\"model-1\": 2, \"model-2\": 4,}, \"best-to-worst\": [\"model-2\", \"model-1\"]}";
    let ran = parse(&["--json", "--aliases", text(&aliases)], judged).succeeds();
    let verdict: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(verdict["scores"], serde_json::json!({ "z": 2, "a": 4 }));
    assert_eq!(verdict["ranking"], serde_json::json!(["a", "z"]));
    assert_eq!(verdict["reasoning"].as_str().unwrap().trim(), "hm");
    assert_eq!(verdict["repairs"].as_array().unwrap().len(), 1);
    let ran = parse(&["--aliases", text(&aliases)], judged).succeeds();
    assert!(ran.stdout.contains("1   a") && ran.stdout.contains("repaired: "), "{ran:?}");

    let ran = parse(&["--json", "--names", r#"["a","b"]"#], r#"{"scores": {"a": 1}}"#).fails(1, &[]);
    let error: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(error["error"]["kind"], "invalid_verdict");
    assert!(error["error"]["partial"].as_object().is_some_and(|partial| partial.len() == 2));
    parse(&["--names", r#"["a"]"#], "nothing").fails(1, &["error: "]);

    parse(&["--names", "a,b"], "").fails(2, &["--names is not a JSON list"]);
    parse(&["--names", "[]"], "").fails(2, &["no names"]);
    parse(&["--names", r#"["a","a"]"#], "").fails(2, &["\"a\" is given twice"]);
    let twice = folder.file("t.json", r#"{"m":"a","m":"b"}"#);
    parse(&["--aliases", text(&twice)], "").fails(2, &["\"m\" is given twice"]);
    parse(&[], "").fails(2, &["--aliases"]);
}

#[test]
fn the_library_of_principles_is_listed_and_named() {
    let listed = run(["principles"]).succeeds().stdout;
    assert!(listed.contains("concise") && listed.contains("code review"), "{listed}");
    let families: serde_json::Value = serde_json::from_str(&run(["principles", "--json"]).succeeds().stdout).unwrap();
    assert!(families.as_array().unwrap().iter().any(|family| family["family"] == "translation"));
    assert!(run(["principles", "concise"]).succeeds().stdout.starts_with("Prefer "));
    let rubric = run(["principles", "--json", "code review"]).succeeds().stdout;
    assert!(serde_json::from_str::<serde_json::Value>(&rubric).unwrap()[0]["criterion"].is_string());
    run(["principles", "conscise"]).fails(2, &["no principle or rubric \"conscise\"", "`dicast principles`"]);
    let ask = ["judge", "--model", "x.gguf", "--prompt", "q", "--response", "a=x"];
    run([&ask[..], &["--named-principle", "conscise"]].concat()).fails(2, &["no principle \"conscise\"", "concise"]);
    run([&ask[..], &["--rubric", "nothing"]].concat()).fails(2, &["--rubric: there is no rubric \"nothing\""]);
    let folder = Folder::new();
    let rubric = folder.file("rubric.json", r#"[{"criterion": "x", "weight": -1}]"#);
    run([&ask[..], &["--rubric", text(&rubric)]].concat()).fails(1, &["the weight of criterion \"1\" is -1"]);
    let rubric = folder.file("broken.json", r#"[{"criterion": 7}]"#);
    run([&ask[..], &["--rubric", text(&rubric)]].concat()).fails(1, &["broken.json", "a rubric is a list"]);
}

#[test]
fn the_library_of_profiles_is_listed_shown_and_named() {
    let listed = run(["profile", "list"]).succeeds().stdout;
    for (name, reads) in
        [("pairwise", "two"), ("prometheus-2", "one"), ("rm-r1", "two"), ("judgelrm", "two"), ("deepseek-grm", "any")]
    {
        let line = listed.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(reads), "{listed}");
        let shown = run(["profile", "show", name]).succeeds().stdout;
        let folder = Folder::new();
        let copy = folder.file("judge.profile.json", shown);
        run(["profile", "check", text(&copy)]).succeeds();
    }
    run(["profile", "show", "pair"]).fails(2, &["no profile \"pair\"", "`dicast profile list`"]);
    let ask = ["parse", "--names", "a,b", "--profile", "pair"];
    run(ask).fails(2, &["neither a file \"pair\" nor a profile", "pairwise"]);
}
