//! `scripts/build_engine.sh` and the scripts beside it: the commands they would run, and how they refuse.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder that looks like a Hugging Face one, for one test.
fn model(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build_engine").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.json"), r#"{"architectures": ["Qwen3ForCausalLM"]}"#).unwrap();
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::write(folder.join(name), "{}").unwrap();
    }
    folder
}

fn run(script: &str, arguments: &[&str]) -> Output {
    Command::new("bash")
        .arg(Path::new(ROOT).join(script))
        .args(arguments)
        .env_remove("TRTLLM_EXAMPLES")
        .env_remove("DICAST_TRTLLM_ROOT")
        .output()
        .unwrap()
}

/// The commands of a dry run, one a line.
fn commands(model: &Path, options: &[&str]) -> Vec<String> {
    let engine = model.join("engine");
    let mut arguments = vec!["--dry-run"];
    arguments.extend(options);
    arguments.extend([model.to_str().unwrap(), engine.to_str().unwrap()]);
    let output = run("scripts/build_engine.sh", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!engine.exists(), "a dry run makes nothing");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.strip_prefix("+ ").unwrap().to_owned()).collect()
}

/// What the script prints when it refuses.
fn refusal(arguments: &[&str]) -> String {
    let output = run("scripts/build_engine.sh", arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?} ran something");
    String::from_utf8(output.stderr).unwrap()
}

fn has_all(command: &str, parts: &[&str]) {
    for part in parts {
        assert!(format!("{command} ").contains(&format!("{part} ")), "{part} is missing in {command}");
    }
}

#[test]
fn bf16_on_one_gpu() {
    let model = model("bf16");
    let commands = commands(&model, &[]);
    has_all(&commands[0], &["convert_checkpoint.py", "--dtype bfloat16", "--tp_size 1"]);
    has_all(
        &commands[1],
        &[
            "trtllm-build",
            "--max_batch_size 64",
            "--max_input_len 16384",
            "--max_seq_len 20480",
            "--max_num_tokens 8192",
            "--max_beam_width 1",
            "--gpt_attention_plugin auto",
            "--gemm_plugin auto",
            "--kv_cache_type paged",
            "--use_paged_context_fmha enable",
            "--logits_dtype float32",
        ],
    );
    assert!(!commands[1].contains("fp8") && !commands[1].contains("--workers"));
    for (command, file) in commands[2..5].iter().zip(["tokenizer.json", "tokenizer_config.json", "generation_config"]) {
        has_all(command, &["cp"]);
        assert!(command.contains(file));
    }
    assert_eq!(commands.len(), 6);
}

#[test]
fn fp8_on_several_gpus() {
    let model = model("fp8");
    for gpus in ["2", "4"] {
        let options = ["--precision", "fp8", "--tp", gpus, "--calibration", "/data/calibration"];
        let commands = commands(&model, &options);
        let gpus = format!("--tp_size {gpus}");
        has_all(
            &commands[0],
            &["quantize.py", "--qformat fp8", "--kv_cache_dtype fp8", "--calib_dataset /data/calibration", &gpus],
        );
        has_all(&commands[1], &["--use_fp8_context_fmha enable", "--use_paged_context_fmha enable"]);
        assert!(
            !commands[1].contains("gather_generation_logits"),
            "the logits of a judgment take a gigabyte of host memory"
        );
        assert!(commands[1].contains("--workers"));
    }
}

#[test]
fn the_profile_is_laid_beside_the_engine() {
    let model = model("profile");
    let wheel = model.join("rewardanything.whl");
    fs::write(&wheel, "").unwrap();
    let imported = commands(&model, &["--profile", wheel.to_str().unwrap(), "--dicast", "/opt/dicast"]);
    has_all(&imported[5], &["/opt/dicast profile import", "--output", wheel.to_str().unwrap()]);
    assert!(imported[5].contains("engine/dicast-profile.json"));
    fs::write(model.join("dicast-profile.json"), "{}").unwrap();
    let copied = commands(&model, &[]);
    has_all(&copied[5], &["cp"]);
    assert!(copied[5].ends_with("engine/dicast-profile.json"));
}

#[test]
fn odd_names_stay_one_argument() {
    let model = model("odd name; touch $(nothing)");
    let commands = commands(&model, &["--checkpoint-dir", "a b"]);
    assert!(commands[0].contains(r"a\ b"), "{}", commands[0]);
    assert!(commands[0].contains(r"odd\ name\;\ touch\ \$\(nothing\)"), "{}", commands[0]);
}

#[test]
fn what_is_wrong_is_said_before_anything_runs() {
    let model = model("refusals");
    let path = model.to_str().unwrap();
    let engine = model.join("engine");
    let engine = engine.to_str().unwrap();
    let refused = |options: &[&str]| {
        let mut arguments = vec!["--dry-run"];
        arguments.extend(options);
        arguments.extend([path, engine]);
        refusal(&arguments)
    };
    assert!(refusal(&[]).contains("MODEL_DIR and ENGINE_DIR"));
    assert!(refusal(&["--dry-run", path]).contains("MODEL_DIR and ENGINE_DIR"));
    assert!(refused(&["--precision", "int4"]).contains("bf16 or fp8"));
    assert!(refused(&["--tp", "3"]).contains("1, 2 or 4"));
    assert!(refused(&["--max-batch-size", "0"]).contains("above 0"));
    assert!(refused(&["--max-batch-size", "many"]).contains("above 0"));
    assert!(refused(&["--max-input-len", "20480"]).contains("the answer needs room"));
    assert!(refused(&["--unknown"]).contains("unknown option"));
    assert!(refused(&["--score-logits"]).contains("unknown option"));
    assert!(refused(&["--profile", "/nonexistent.json"]).contains("no profile"));
    assert!(refusal(&["--tp"]).contains("needs a value"));
    assert!(refusal(&["--dry-run", "/nonexistent", engine]).contains("no folder"));

    fs::create_dir_all(engine).unwrap();
    fs::write(Path::new(engine).join("config.json"), "{}").unwrap();
    assert!(refused(&[]).contains("already contains an engine"));
    fs::remove_dir_all(engine).unwrap();
    fs::write(model.join("config.json"), r#"{"architectures": ["LlamaForCausalLM"]}"#).unwrap();
    assert!(refused(&[]).contains("Qwen3ForCausalLM"));
    fs::remove_file(model.join("tokenizer.json")).unwrap();
    assert!(refused(&[]).contains("tokenizer.json"));
}

#[test]
fn without_the_container_it_says_which() {
    let model = model("container");
    let arguments = [model.to_str().unwrap(), "/nonexistent/engine"];
    let output = Command::new("bash")
        .arg(Path::new(ROOT).join("scripts/build_engine.sh"))
        .args(arguments)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nvcr.io/nvidia/tensorrt-llm/release:1.2.1"), "{said}");
}

#[test]
fn scripts_can_be_read_and_help() {
    for script in ["scripts/build_engine.sh", "scripts/check_real_trtllm.sh", "tests/trtllm_standin/make_engine.sh"] {
        let read = Command::new("bash").arg("-n").arg(Path::new(ROOT).join(script)).output().unwrap();
        assert!(read.status.success(), "{script}: {}", String::from_utf8_lossy(&read.stderr));
        let help = run(script, &["--help"]);
        assert!(help.status.success(), "{script} --help");
        assert!(String::from_utf8(help.stdout).unwrap().starts_with("Usage: "), "{script} --help");
    }
}

#[test]
fn the_check_against_the_real_library_refuses_the_stand_in() {
    let root = model("standin_root");
    fs::create_dir_all(root.join("libs")).unwrap();
    fs::create_dir_all(root.join("include/tensorrt_llm/executor")).unwrap();
    fs::write(root.join("include/tensorrt_llm/executor/executor.h"), "").unwrap();
    let refuse = |needle: &str| {
        let output = Command::new("bash")
            .arg(Path::new(ROOT).join("scripts/check_real_trtllm.sh"))
            .env("DICAST_TRTLLM_ROOT", &root)
            .env("DICAST_TRTLLM_ENGINE", "/nonexistent")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(needle), "{said}");
    };
    refuse("libtensorrt_llm.so");
    for library in ["libtensorrt_llm.so", "libnvinfer_plugin_tensorrt_llm.so"] {
        fs::write(root.join("libs").join(library), "… dicast_trtllm_standin …").unwrap();
    }
    refuse("stand-in");
}
