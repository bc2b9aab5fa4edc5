//! Profiles: where they are found, what they hold, and what is read from the reference's wheel.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use dicast::config::Mask;
use dicast::prompt::import::import;
use dicast::prompt::profile::{Profile, is_reward_anything};
use dicast::{Error, ErrorKind};
use zip::write::SimpleFileOptions;

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn wheel(path: &Path, files: &[(&str, &[u8])]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).expect("a file"));
    for (name, content) in files {
        zip.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        zip.write_all(content).expect("written");
    }
    zip.finish().expect("a wheel");
}

#[track_caller]
fn is_error(result: Result<Profile, Error>, kind: ErrorKind, parts: &[&str]) {
    let error = result.expect_err("an error");
    assert_eq!(error.kind(), kind, "{error}");
    assert!(parts.iter().all(|part| error.message().contains(part)), "{error}");
}

#[test]
fn the_built_in_profile_is_whole_and_survives_json() {
    let profile = Profile::builtin();
    profile.check().expect("valid");
    assert_eq!(Profile::from_json(&profile.to_json()).expect("a profile"), profile);
    // The prompt shows the very layout that a guided verdict follows, without numbers that a weak judge would copy.
    let layout = profile.verdict.layout.replace("%scores%", "NAME: SCORE, ...").replace("%ranking%", "NAME, ...");
    let (_, answer) = profile.system_prompt.split_once("How to answer").expect("the part on the answer");
    assert!(answer.contains(&layout), "{answer}");
    assert!(!answer.contains(|c: char| c.is_ascii_digit()), "{answer}");
}

#[test]
fn a_profile_is_found_beside_its_model() {
    let folder = folder("beside");
    let model = folder.join("judge.Q8_0.gguf");
    assert_eq!(Profile::find(&model).expect("nothing"), None);
    assert_eq!(Profile::for_model(&model, &["Some judge"]).expect("the built-in one"), Profile::builtin());

    let named = |name: &str| {
        let mut profile = Profile::builtin();
        profile.name = name.into();
        profile
    };
    fs::write(folder.join("dicast-profile.json"), named("of the folder").to_json()).expect("written");
    assert_eq!(Profile::find(&model).expect("found").expect("one").name, "of the folder");
    fs::write(folder.join("judge.Q8_0.profile.json"), named("of the model").to_json()).expect("written");
    assert_eq!(Profile::for_model(&model, &["RewardAnything"]).expect("found").name, "of the model");
    assert_eq!(Profile::find(&folder).expect("found").expect("one").name, "of the folder");
}

#[test]
fn a_reward_anything_model_without_a_profile_names_the_command() {
    let folder = folder("missing");
    let command = |stem: &str| {
        format!(
            "dicast profile import rewardanything-1.0.1-py3-none-any.whl -o {}",
            folder.join(format!("{stem}.profile.json")).display()
        )
    };
    let steps = "pip download --no-deps rewardanything==1.0.1";
    let by_file = Profile::for_model(&folder.join("RewardAnything-8B-v1.Q4_K_M.gguf"), &[]);
    is_error(by_file, ErrorKind::InvalidProfile, &[&command("RewardAnything-8B-v1.Q4_K_M"), steps]);
    let by_name = Profile::for_model(&folder.join("model.gguf"), &["Qwen3", "reward-anything 8B"]);
    is_error(by_name, ErrorKind::InvalidProfile, &[&command("model"), steps]);
    for (name, is) in [("REWARDANYTHING", true), ("Reward Anything", true), ("reward-model-for-anything", false)] {
        assert_eq!(is_reward_anything(name), is, "{name}");
    }
}

#[test]
fn a_bad_profile_is_named_with_what_is_wrong() {
    let folder = folder("bad");
    let path = folder.join("p.json");
    is_error(Profile::load(&path), ErrorKind::InvalidProfile, &["p.json"]);
    let good = Profile::builtin().to_json();
    for (from, to, what) in [
        ("\"format\": 1", "\"format\": 2", "format is 2"),
        ("\"name\"", "\"nom\"", "nom"),
        ("\"max\": 5", "\"max\": 101", "scale is 1 to 101"),
        ("\"max\": 5", "\"max\": 1", "scale is 1 to 1"),
        ("%ranking%", "%scores%", "%ranking%"),
        ("\"model-\"", "\"model\\n\"", "alias_prefix"),
        ("\"open\": \"<think>\"", "\"open\": \"\"", "reasoning.open"),
        ("\"decoding\": {}", "\"decoding\": {\"temperature\": 3}", "decoding: temperature is 3"),
        ("system_user_json", "chatml", "chatml"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&path, good.replace(from, to)).expect("written");
        is_error(Profile::load(&path), ErrorKind::InvalidProfile, &["p.json", what]);
    }
    fs::write(&path, b"{\"name\": \"\xff\"}").expect("written");
    is_error(Profile::load(&path), ErrorKind::InvalidProfile, &["p.json", "offset 10"]);
    fs::write(&path, vec![b' '; (4 << 20) + 1]).expect("written");
    is_error(Profile::load(&path), ErrorKind::InvalidProfile, &["p.json", "larger than"]);
    is_error(Profile::load(&folder), ErrorKind::InvalidProfile, &["bad"]);
}

#[test]
fn a_prompt_is_imported_from_python_and_from_a_wheel() {
    let folder = folder("import");
    let source = "import torch\nSYSTEM_PROMPT = '''\n Ünï \\\"x\\\" '''  # trained\nraise SystemExit\n";
    let python = folder.join("processing.py");
    fs::write(&python, source).expect("written");
    let profile = import(&python).expect("a profile");
    assert_eq!(profile.system_prompt, "\n Ünï \"x\" ");
    assert_eq!((profile.decoding.mask, profile.decoding.mask_seed), (Some(Mask::Shuffle), Some(42)));
    assert_eq!(profile.decoding.temperature, None);
    assert_eq!(Profile::from_json(&profile.to_json()).expect("a profile"), profile);

    let path = folder.join("x.whl");
    let other = b"SYSTEM_PROMPT = 'another'";
    wheel(&path, &[("a.py", other), ("rewardanything/processing.py", source.as_bytes()), ("b.txt", b"\xff")]);
    assert_eq!(import(&path).expect("a profile"), profile);
    wheel(&path, &[("x/__init__.py", b""), ("x/prompts.py", other)]);
    assert_eq!(import(&path).expect("a profile").system_prompt, "another");
}

#[test]
fn what_cannot_be_imported_is_an_error_that_says_why() {
    let folder = folder("refused");
    let path = folder.join("x.whl");
    is_error(import(&path), ErrorKind::Io, &["x.whl"]);
    let invalid = |parts: &[&str]| is_error(import(&path), ErrorKind::InvalidProfile, parts);

    wheel(&path, &[("x.py", b"A = 1")]);
    invalid(&["x.whl", "no Python file of the wheel assigns SYSTEM_PROMPT"]);
    wheel(&path, &[("x.py", b"\nSYSTEM_PROMPT = make()")]);
    invalid(&["x.py in the wheel: line 2"]);
    wheel(&path, &[("x.py", &vec![b' '; (4 << 20) + 1])]);
    invalid(&["x.py", "larger than 4194304 bytes"]);
    wheel(&path, &[("x.py", b"SYSTEM_PROMPT = ''")]);
    invalid(&["SYSTEM_PROMPT has 0 bytes"]);

    let mut damaged = fs::read(&path).expect("readable");
    damaged.truncate(damaged.len() / 2);
    fs::write(&path, &damaged).expect("written");
    invalid(&["the wheel is damaged"]);
    fs::write(&path, b"\x7fELF\xff").expect("written");
    invalid(&["neither a wheel nor Python source"]);
    fs::write(&path, "PROMPT = 'x'").expect("written");
    invalid(&["no SYSTEM_PROMPT is assigned at module level"]);
}

#[test]
fn a_calibration_survives_json_and_what_is_wrong_with_it_is_named() {
    let whole = serde_json::json!({
        "map": { "isotonic": { "differences": [0.0, 0.5, 2.0], "probabilities": [0.5, 0.7, 0.9] } },
        "threshold": { "difference": 0.5, "probability": 0.7, "error_rate": 0.1, "confidence": 0.9, "answered": 0.8 },
        "pairs": 500, "prompts": 100, "date": "2026-01-31", "model": { "bytes": 5, "checksum": "0f" }, "profile": "0f",
        "options": { "temperature": 0.7, "orders": 2 }, "expected_scores": true,
    });
    let with = |calibration: &serde_json::Value| {
        let mut profile: serde_json::Value = serde_json::from_str(&Profile::builtin().to_json()).expect("JSON");
        profile["calibration"] = calibration.clone();
        Profile::from_json(&profile.to_string())
    };
    let profile = with(&whole).expect("valid");
    assert_eq!(Profile::from_json(&profile.to_json()).expect("a profile"), profile);
    let calibration = profile.calibration.expect("one");
    assert!(
        (calibration.probability(1.25) - 0.8).abs() < 1e-12 && (calibration.probability(-1.25) - 0.2).abs() < 1e-12
    );
    assert!((calibration.probability(99.0) - 0.9).abs() < 1e-12);
    assert!(!calibration.is_answered(-0.5) && calibration.is_answered(-0.6));

    let platt = serde_json::json!({ "platt": { "slope": 0.0 } });
    for (pointer, value, wanted) in [
        ("/map", platt, "calibration.map.platt.slope is 0: it must be a number above 0"),
        ("/map", serde_json::json!({}), "calibration.map must have one of the keys platt and isotonic"),
        ("/map", serde_json::json!({ "cubic": 1 }), "calibration.map.cubic is unknown"),
        (
            "/map/isotonic/differences",
            serde_json::json!([0, 2, 1]),
            "calibration.map.isotonic.differences must begin with 0",
        ),
        (
            "/map/isotonic/differences",
            serde_json::json!([0, 1]),
            "calibration.map.isotonic.probabilities has 3 numbers",
        ),
        ("/map/isotonic/differences", serde_json::json!(["0"]), "calibration.map.isotonic.differences is [\"0\"]"),
        (
            "/map/isotonic/probabilities",
            serde_json::json!([0.5, 0.9, 0.8]),
            "calibration.map.isotonic.probabilities must",
        ),
        (
            "/map/isotonic/probabilities",
            serde_json::json!([0.5, 0.9, 1.1]),
            "calibration.map.isotonic.probabilities must",
        ),
        (
            "/threshold/difference",
            serde_json::json!(-1),
            "calibration.threshold.difference is -1: it must be 0 or more",
        ),
        (
            "/threshold/probability",
            serde_json::json!("x"),
            "calibration.threshold.probability is \"x\": it must be a number",
        ),
        ("/threshold/error_rate", serde_json::json!(0.5), "calibration.threshold.error_rate is 0.5"),
        ("/threshold/confidence", serde_json::json!(1), "calibration.threshold.confidence is 1"),
        ("/threshold/answered", serde_json::json!(2), "calibration.threshold.answered is 2"),
        ("/pairs", serde_json::json!(0), "calibration.pairs is 0: it must be at least 1"),
        ("/prompts", serde_json::json!(-3), "calibration.prompts is -3: it must be a whole number"),
        ("/date", serde_json::json!("2026-02-31"), "calibration.date is \"2026-02-31\""),
        ("/options", serde_json::json!({ "orders": 0 }), "calibration.options: orders is 0"),
        ("/options", serde_json::json!({ "warmth": 0 }), "calibration.options: "),
        ("/profile", serde_json::json!(7), "calibration.profile is 7: it must be text"),
        ("/expected_scores", serde_json::json!(1), "calibration.expected_scores is 1: it must be true or false"),
    ] {
        let mut wrong = whole.clone();
        *wrong.pointer_mut(pointer).expect("a key") = value;
        is_error(with(&wrong), ErrorKind::InvalidProfile, &[wanted]);
    }
    for key in ["map", "pairs", "prompts", "date", "model", "profile", "options", "expected_scores"] {
        let mut wrong = whole.clone();
        wrong.as_object_mut().expect("an object").remove(key);
        is_error(with(&wrong), ErrorKind::InvalidProfile, &[&format!("calibration.{key} is missing")]);
    }
    is_error(with(&serde_json::json!([1])), ErrorKind::InvalidProfile, &["calibration must be an object"]);
}
