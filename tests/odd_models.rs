//! Models and settings that are odd, but whole: each opens and judges, or is refused by name.
#![cfg(feature = "local")]
#![cfg_attr(
    feature = "local",
    expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers without meaning")
)]

#[path = "support/made_model.rs"]
mod made_model;

use std::path::{Path, PathBuf};

use dicast::{Error, ErrorKind, Judge, JudgeConfig, JudgeRequest, Result, Verdict};
use made_model::sentence_piece;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")
}

/// A file of these bytes under a name of its own, with the demonstration judge's profile or one without reasoning.
fn made(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    let mut profile = dicast::Profile::builtin();
    profile.reasoning = None;
    std::fs::write(path.with_extension("profile.json"), profile.to_json()).unwrap();
    path
}

fn config(path: &Path) -> JudgeConfig {
    let mut config = JudgeConfig::new(path.to_str().unwrap());
    config.local.threads = 1;
    config.options.max_reasoning_tokens = Some(8);
    config
}

fn judge(judge: &Judge, text: &str) -> Result<Verdict> {
    judge.judge(&JudgeRequest::new("Be short.", "Hi", [("a", text), ("b", "Hi!")]))
}

#[track_caller]
fn refused(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn a_byte_that_a_vocabulary_lacks_fails_the_text_that_needs_it() {
    let path = made("lacks-a-byte.gguf", &sentence_piece(&[0xf0]));
    let opened = Judge::open(config(&path)).unwrap();
    refused(&judge(&opened, "a rare sign: \u{13080}").unwrap_err(), ErrorKind::InvalidRequest, &["U+13080"]);
    judge(&opened, "plain, \u{e9} and \u{0}").unwrap();
}

#[test]
fn two_tokens_with_one_text_are_named() {
    let mut bytes = sentence_piece(&[]);
    // The token `he` becomes a second `th`.
    let at = bytes.windows(10).position(|window| window == b"\x02\0\0\0\0\0\0\0he").unwrap();
    bytes[at + 8..at + 10].copy_from_slice(b"th");
    let error = Judge::open(config(&made("twice.gguf", &bytes))).err().unwrap();
    refused(&error, ErrorKind::InvalidModel, &["\"th\"", "tell them apart"]);
}

#[test]
fn a_model_without_reasoning_tokens_judges_without_reasoning() {
    let path = made("silent.gguf", &sentence_piece(&[]));
    std::fs::remove_file(path.with_extension("profile.json")).unwrap();
    let opened = Judge::open(config(&path)).unwrap();
    assert_eq!(opened.profile().reasoning, None);
    judge(&opened, "plain").unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_open_is_noticed() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("changes.gguf");
    let bytes = sentence_piece(&[]);
    made("changes.gguf", &bytes);
    let opened = Judge::open(config(&path)).unwrap();
    judge(&opened, "before").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
    refused(
        &judge(&opened, "after").unwrap_err(),
        ErrorKind::InvalidModel,
        &["changes.gguf", "written over", "local.mmap"],
    );
    // Another file under its name is no change, and weights in memory are none of the file's business.
    let other = made("other.gguf", &bytes);
    let mut unmapped = config(&other);
    unmapped.local.mmap = false;
    let opened = Judge::open(unmapped).unwrap();
    std::fs::rename(&path, &other).unwrap();
    judge(&opened, "after").unwrap();
}

#[test]
fn settings_in_range_open_whatever_they_are_together() {
    let mut count = 0;
    for context_tokens in [64, 256, 2048] {
        for max_sequences in [1, 33, 64] {
            for batch_tokens in [32, 64, 512] {
                for prefill_chunk_tokens in [16, 8192] {
                    for contexts in [0, 1] {
                        let mut config = config(&demo());
                        config.local.context_tokens = context_tokens;
                        config.local.max_sequences = max_sequences;
                        config.local.batch_tokens = batch_tokens;
                        config.local.prefill_chunk_tokens = prefill_chunk_tokens;
                        config.local.kv_cache_tokens = contexts * context_tokens;
                        config.options.reasoning = Some(false);
                        let local = config.local.clone();
                        let opened = Judge::open(config).unwrap_or_else(|error| panic!("{local:?}: {error}"));
                        match judge(&opened, "b") {
                            Ok(_) => {}
                            Err(error) => refused(&error, ErrorKind::ContextOverflow, &["context"]),
                        }
                        count += 1;
                    }
                }
            }
        }
    }
    assert_eq!(count, 108);
}
