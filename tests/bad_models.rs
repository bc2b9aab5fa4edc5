//! Model files and settings that cannot work: each gets its own message, and none ends the process.
#![cfg(feature = "local")]

mod support;

use std::path::PathBuf;

use dicast::{Error, ErrorKind, Judge, JudgeConfig};

fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &std::path::Path) -> Error {
    match Judge::open(JudgeConfig::new(path.to_str().unwrap())) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn tiny() -> Vec<u8> {
    std::fs::read(support::fixture("tiny-qwen3.gguf")).unwrap()
}

/// The file with the first `from` replaced by `to`, which has the same length.
fn patched(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = tiny();
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[track_caller]
fn expect(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn no_such_file() {
    expect(&open("no/such/model.gguf".as_ref()), ErrorKind::ModelNotFound, &["no/such/model.gguf"]);
}

#[test]
fn a_folder() {
    expect(&open(env!("CARGO_TARGET_TMPDIR").as_ref()), ErrorKind::InvalidModel, &["folder", ".gguf"]);
}

#[test]
fn an_empty_file_and_junk() {
    expect(&open(&scratch("empty.gguf", b"")), ErrorKind::InvalidModel, &["0 bytes"]);
    expect(&open(&scratch("junk.gguf", &[7; 4096])), ErrorKind::InvalidModel, &["not a GGUF"]);
}

#[test]
fn truncated_files() {
    let whole = tiny();
    for part in [30, 5000, whole.len() / 2, whole.len() - 1] {
        let path = scratch("truncated.gguf", &whole[..part]);
        expect(&open(&path), ErrorKind::InvalidModel, &["truncated"]);
    }
}

#[test]
fn an_unknown_architecture() {
    let path = scratch("architecture.gguf", &patched("qwen3", "qwonk"));
    expect(&open(&path), ErrorKind::InvalidModel, &["qwonk", "unknown model architecture"]);
}

#[test]
fn a_missing_tensor() {
    let path = scratch("tensor.gguf", &patched("blk.1.attn_q.weight", "blk.1.attn_X.weight"));
    expect(&open(&path), ErrorKind::InvalidModel, &["blk.1.attn_q.weight"]);
}

#[test]
fn no_chat_template() {
    let path = scratch("template.gguf", &patched("tokenizer.chat_template", "tokenizer.chat_templatX"));
    expect(&open(&path), ErrorKind::InvalidModel, &["no chat template"]);
}

#[test]
fn a_broken_chat_template() {
    let path = scratch("broken.gguf", &patched("{%- if tools %}", "{%- if toolz }}"));
    expect(&open(&path), ErrorKind::InvalidModel, &["template"]);
}

#[test]
fn a_reward_anything_model_without_its_profile() {
    let path = scratch("RewardAnything-8B-v1-Q4_K_M.gguf", &tiny());
    expect(&open(&path), ErrorKind::InvalidProfile, &["dicast profile import", "pip download"]);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_profile_whose_reasoning_tags_are_no_tokens_of_the_model_opens() {
    let mut profile = dicast::Profile::builtin();
    profile.reasoning.as_mut().unwrap().close = "</ponder>".into();
    let mut config = JudgeConfig::new(support::fixture("tiny-qwen3.gguf").to_str().unwrap());
    config.profile = Some(scratch("ponder.profile.json", profile.to_json().as_bytes()));
    // The tag is written as several tokens.
    assert!(Judge::open(config).is_ok());
}

#[test]
fn settings_that_cannot_work() {
    let model = support::fixture("tiny-qwen3.gguf").to_str().unwrap().to_owned();
    let with = |change: &dyn Fn(&mut JudgeConfig)| {
        let mut config = JudgeConfig::new(model.clone());
        change(&mut config);
        Judge::open(config).expect_err("such settings must not open")
    };
    expect(&with(&|c| c.local.context_tokens = 900_000), ErrorKind::InvalidConfig, &["context_tokens", "8192"]);
    expect(&with(&|c| c.local.kv_cache_tokens = 100), ErrorKind::InvalidConfig, &["kv_cache_tokens"]);
    expect(&with(&|c| c.local.max_sequences = 0), ErrorKind::InvalidConfig, &["max_sequences"]);
    expect(&with(&|c| c.options.temperature = Some(f32::NAN)), ErrorKind::InvalidConfig, &["temperature"]);
    expect(&with(&|c| c.limits.max_responses = 65), ErrorKind::InvalidConfig, &["max_responses", "64"]);
    expect(&with(&|c| c.model = "http://127.0.0.1:1".into()), ErrorKind::Network, &["127.0.0.1:1"]);
    let error = JudgeConfig::from_json(r#"{"model": "m", "lokal": {}}"#).unwrap_err();
    expect(&error, ErrorKind::InvalidConfig, &["lokal"]);
}
