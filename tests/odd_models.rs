//! Models and settings that are unusual but valid: each opens and judges, or is refused by name.
#![cfg(feature = "local")]
#![cfg_attr(
    feature = "local",
    expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers without meaning")
)]

#[path = "support/made_model.rs"]
mod made_model;

use std::path::{Path, PathBuf};

use dicast::{Error, ErrorKind, Flag, Judge, JudgeConfig, JudgeRequest, Result, Verdict};
use made_model::{Made, TEMPLATE, sentence_piece};

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")
}

/// A file with these bytes and a name of its own, with the demonstration judge's profile or one without reasoning.
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
fn a_vocabulary_that_cannot_write_a_verdict_is_refused() {
    for (byte, shown) in [(b'{', "{"), (b'4', "4")] {
        let path = made(&format!("lacks-{byte}.gguf"), &sentence_piece(&[byte]));
        refused(&Judge::open(config(&path)).err().unwrap(), ErrorKind::InvalidModel, &["cannot write", shown]);
    }
    // A name needs a character that the layout does not need.
    let mut config = config(&made("lacks-a-tilde.gguf", &sentence_piece(b"~")));
    config.options.mask = Some(dicast::config::Mask::Off);
    let request = JudgeRequest::new("Be short.", "Hi", [("~", "x"), ("b", "Hi!")]);
    refused(&Judge::open(config).unwrap().judge(&request).unwrap_err(), ErrorKind::InvalidRequest, &["cannot write"]);
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

/// Like [`made`], with no profile beside it.
fn made_alone(name: &str, bytes: &[u8]) -> PathBuf {
    let path = made(name, bytes);
    std::fs::remove_file(path.with_extension("profile.json")).unwrap();
    path
}

/// Like [`made`], with a profile that reasons between these tags.
fn made_reasoning(name: &str, bytes: &[u8], open: &str, close: &str) -> PathBuf {
    let path = made(name, bytes);
    let mut profile = dicast::Profile::builtin();
    profile.reasoning = Some(dicast::prompt::profile::ReasoningForm::new(open, close));
    std::fs::write(path.with_extension("profile.json"), profile.to_json()).unwrap();
    path
}

/// What the judge wrote, without the blanks that such a vocabulary puts before words.
fn written(verdict: &Verdict) -> String {
    verdict.raw.replace(' ', "")
}

fn warns(judge: &Judge, words: &str) -> bool {
    judge.warnings().iter().any(|warning| warning.contains(words))
}

#[test]
fn tags_that_are_no_tokens_are_written_as_text() {
    for (number, (open, close)) in
        [("<think>", "</think>"), ("Thoughts:", "That is all I thought.")].into_iter().enumerate()
    {
        let path = made_reasoning(&format!("plain-tags-{number}.gguf"), &sentence_piece(&[]), open, close);
        let opened = Judge::open(config(&path)).unwrap();
        assert!(warns(&opened, "plain text"), "{:?}", opened.warnings());
        let verdict = judge(&opened, "x").unwrap();
        let (raw, open, close) = (written(&verdict), open.replace(' ', ""), close.replace(' ', ""));
        assert!(raw.starts_with(&format!("{open}\n")) && raw.contains(&close), "{raw:?}");
        assert!(!verdict.reasoning.contains(&close) && verdict.usage.reasoning_tokens > 8);
        // A budget of zero closes it at once, in text too.
        let mut request = JudgeRequest::new("Be short.", "Hi", [("a", close.as_str()), ("b", open.as_str())]);
        request.options.max_reasoning_tokens = Some(0);
        let verdict = opened.judge(&request).unwrap();
        assert_eq!((verdict.reasoning.as_str(), verdict.repairs.as_slice()), ("", &[][..]));
        let mut off = config(&path);
        off.options.reasoning = Some(false);
        assert!(!warns(&Judge::open(off).unwrap(), "plain text"));
    }
}

#[test]
fn the_builtin_profile_reasons_as_the_template_says() {
    let template =
        "{{ bos_token }}Think between <think> and </think>.\n{% for m in messages %}{{ m.content }}{% endfor %}";
    let bytes = Made { template: Some(template), ..Made::default() }.bytes();
    let opened = Judge::open(config(&made_alone("speaks-of-tags.gguf", &bytes))).unwrap();
    assert_eq!(opened.profile().reasoning.as_ref().unwrap().open, "<think>");
    assert!(warns(&opened, "plain text"));
    let raw = written(&judge(&opened, "x").unwrap());
    assert!(raw.starts_with("<think>\n"), "{raw:?}");
}

#[test]
fn a_model_with_channels_reasons_in_its_analysis() {
    let specials = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"];
    let template = "{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor \
                    %}<|start|>assistant";
    let bytes = Made { specials: &specials, template: Some(template), ..Made::default() }.bytes();
    let path = made_alone("channels.gguf", &bytes);
    let opened = Judge::open(config(&path)).unwrap();
    assert_eq!(opened.warnings(), [""; 0]);
    let verdict = judge(&opened, "<|end|><|start|>assistant<|channel|>final<|message|>{}").unwrap();
    let raw = written(&verdict);
    let (thoughts, answer) = raw.split_once("<|end|><|start|>assistant<|channel|>final<|message|>").unwrap();
    assert!(thoughts.starts_with("<|channel|>analysis<|message|>"), "{raw:?}");
    assert!(answer.trim_start().starts_with('{') && verdict.repairs.is_empty(), "{raw:?}");
    let mut request = JudgeRequest::new("Be short.", "Hi", [("a", "x"), ("b", "y")]);
    request.options.reasoning = Some(false);
    assert_eq!(opened.judge(&request).unwrap().reasoning, "");
    // What such a model writes freely is read in the same way.
    request.options.guided = Some(false);
    request.options.max_verdict_tokens = Some(16);
    assert_eq!(opened.judge(&request).unwrap_err().kind(), ErrorKind::InvalidVerdict);
}

#[test]
fn a_chat_template_comes_from_a_file() {
    let bytes = Made { template: None, ..Made::default() }.bytes();
    let path = made("no-template.gguf", &bytes);
    let error = Judge::open(config(&path)).err().unwrap();
    refused(&error, ErrorKind::InvalidModel, &["no chat template", "chat_template", "--chat-template"]);
    let folder = path.parent().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        Some(folder.join(name))
    };
    let json =
        |template: serde_json::Value| serde_json::json!({ "bos_token": "<s>", "chat_template": template }).to_string();
    let named = serde_json::json!([{ "name": "tools", "template": "no" }, { "name": "default", "template": TEMPLATE }]);
    let mut prompts = Vec::new();
    for template in [
        file("template.jinja", TEMPLATE),
        file("tokenizer_config.json", &json(TEMPLATE.into())),
        file("several.json", &json(named)),
    ] {
        let mut config = config(&path);
        config.chat_template = template;
        let opened = Judge::open(config).unwrap();
        judge(&opened, "x").unwrap();
        prompts.push(opened.prompt(&JudgeRequest::new("p", "q", [("a", "x")])).unwrap().tokens);
    }
    assert!(prompts.iter().all(|prompt| *prompt == prompts[0]));
    for (template, words) in [
        (Some(folder.join("no-such.jinja")), "no-such.jinja"),
        (file("empty.json", "{}"), "chat_template"),
        (file("broken.jinja", "{% for"), "chat template"),
    ] {
        let mut config = config(&path);
        config.chat_template = template;
        let error = Judge::open(config).err().unwrap();
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn a_template_that_closes_the_reasoning_is_told() {
    let template = format!("{TEMPLATE}{{% if not deep %}}<think>\n\n</think>\n\n{{% endif %}}");
    let bytes = Made { specials: &["<think>", "</think>"], template: Some(&template), ..Made::default() }.bytes();
    let path = made_alone("closes.gguf", &bytes);
    let opened = Judge::open(config(&path)).unwrap();
    assert!(warns(&opened, "closes the reasoning"));
    let verdict = judge(&opened, "x").unwrap();
    assert!(verdict.flags.contains(&Flag::ReasoningClosed) && verdict.reasoning.is_empty());
    // If reasoning is off, there is nothing to warn of.
    let mut off = config(&path);
    off.options.reasoning = Some(false);
    let silent = Judge::open(off).unwrap();
    assert!(!warns(&silent, "closes the reasoning"));
    assert!(!judge(&silent, "x").unwrap().flags.contains(&Flag::ReasoningClosed));
    // The variable that turns its reasoning on.
    let mut deep = config(&path);
    deep.template_variables.insert("deep".into(), true.into());
    let thinking = Judge::open(deep).unwrap();
    assert_eq!(thinking.warnings(), [""; 0]);
    let verdict = judge(&thinking, "x").unwrap();
    assert!(!verdict.flags.contains(&Flag::ReasoningClosed) && verdict.usage.reasoning_tokens > 0);
}

#[test]
fn a_judge_reasons_where_its_template_waits_to_be_asked() {
    let ask = "{% if not (enable_thinking is defined and enable_thinking) %}<think>\n\n</think>\n\n{% endif %}";
    let template = format!("{TEMPLATE}{ask}");
    let bytes = Made { specials: &["<think>", "</think>"], template: Some(&template), ..Made::default() }.bytes();
    let opened = Judge::open(config(&made_alone("waits.gguf", &bytes))).unwrap();
    assert_eq!(opened.warnings(), [""; 0]);
    let raw = written(&judge(&opened, "x").unwrap());
    assert!(raw.starts_with("<think>\n"), "{raw:?}");
}

#[test]
fn a_template_that_asks_for_the_date_gets_one_day() {
    let template = format!("Today is {{{{ strftime_now('%d %B %Y') }}}}.\n{TEMPLATE}");
    let bytes = Made { template: Some(&template), ..Made::default() }.bytes();
    let path = made("dated.gguf", &bytes);
    let request = JudgeRequest::new("p", "q", [("a", "x")]);
    let tokens = |date: Option<&str>| {
        let mut profile = dicast::Profile::builtin();
        profile.reasoning = None;
        profile.template_date = date.map(str::to_owned);
        std::fs::write(path.with_extension("profile.json"), profile.to_json()).unwrap();
        let opened = Judge::open(config(&path)).unwrap();
        judge(&opened, "x").unwrap();
        opened.prompt(&request).unwrap().tokens
    };
    assert_eq!(tokens(Some("2026-01-31")), tokens(Some("2026-01-31")));
    assert_ne!(tokens(Some("2026-01-31")), tokens(Some("2026-02-28")));
    tokens(None);
}

#[test]
fn a_profile_one_folder_up_is_told() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("above");
    std::fs::create_dir_all(folder.join("within")).unwrap();
    let model = folder.join("within/judge.gguf");
    std::fs::write(&model, sentence_piece(&[])).unwrap();
    std::fs::write(folder.join("judge.profile.json"), dicast::Profile::builtin().to_json()).unwrap();
    let opened = Judge::open(config(&model)).unwrap();
    assert!(warns(&opened, "in the parent folder"), "{:?}", opened.warnings());
    let mut named = config(&model);
    named.profile = Some(folder.join("judge.profile.json"));
    assert!(!warns(&Judge::open(named).unwrap(), "in the parent folder"));
}

#[test]
fn a_vocabulary_without_its_way_to_split_is_told() {
    let mut bytes = std::fs::read(demo()).unwrap();
    let key = b"tokenizer.ggml.pre";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    bytes[at + key.len() - 1] = b'x';
    let opened = Judge::open(config(&made("unsplit.gguf", &bytes))).unwrap();
    assert!(warns(&opened, "tokenizer.ggml.pre"), "{:?}", opened.warnings());
    judge(&opened, "x").unwrap();
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
        &["changes.gguf", "overwritten", "local.mmap"],
    );
    // Another file that takes its name is no change, and weights in memory do not depend on the file.
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

#[test]
fn a_beginning_that_windows_have_lost_is_computed_again() {
    let path = made("windows.gguf", &Made { window: Some(16), ..Made::default() }.bytes());
    let open = |deterministic| {
        let mut config = config(&path);
        config.local.kv_cache_tokens = 8192;
        config.local.deterministic = deterministic;
        Judge::open(config).unwrap()
    };
    let (sharing, alone) = (open(false), open(true));
    let check = |principle: &str, text: &str| {
        let request = JudgeRequest::new(principle, "Hi", [("a", text), ("b", "Hi!")]);
        let [shared, whole] = [&sharing, &alone].map(|judge| judge.judge(&request).unwrap());
        for (one, other) in shared.scores.iter().zip(&whole.scores) {
            for (p, q) in one.distribution.iter().flatten().zip(other.distribution.iter().flatten()) {
                assert!((p - q).abs() < 0.01, "{principle} {text}: {p} instead of {q}");
            }
        }
        shared.usage.reused_tokens
    };
    let kind = "Be kind. ".repeat(30);
    let part = format!("{}Or not.", "Be kind. ".repeat(20));
    check("Be short.", "a");
    // Its keys and values lie behind those of the judgment, which leaves little room before them.
    let pin = sharing.warm(&JudgeRequest::new(&*kind, "", [("", ""); 0])).unwrap();
    let held = check(&part, "a");
    // What does not fit there takes the place of what lies before the pinned prefix's last window.
    check("Be short.", &"long ".repeat(40));
    let left = check(&part, "b");
    assert!(left < held, "{left} tokens are still there of {held}");
    assert!(check(&kind, "c") >= pin.tokens());
}
