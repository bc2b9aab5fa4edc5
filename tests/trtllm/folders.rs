//! Engine folders that cannot be opened: each has its own message, before the library is touched.

use dicast::config::TrtllmMode;
use dicast::{Error, ErrorKind, Judge, JudgeConfig};

use crate::support::Folder;

fn refusal(config: JudgeConfig) -> Error {
    match Judge::open(config) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// The error for a damaged folder, found before the library's constructor runs.
fn damaged(options: &[&str], damage: impl FnOnce(&Folder)) -> Error {
    let folder = Folder::with("throw_at_open std the library was touched\n", options);
    damage(&folder);
    let error = refusal(folder.config());
    assert!(!error.message().contains("was touched"), "{error}");
    error
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn another_release_is_named() {
    for version in ["0.21.0", "1.3.0rc20"] {
        let error = damaged(&["--version", version], |_| {});
        says(&error, ErrorKind::Unsupported, &[version, "1.0 to 1.2.1", "build the engine"]);
    }
    // A supported release, but another one than the loaded library.
    let loaded = dicast::engine::trtllm::library().built_for;
    let other = if loaded.starts_with("1.1") { "1.0.0" } else { "1.1.0" };
    let error = damaged(&["--version", other], |_| {});
    says(&error, ErrorKind::Unsupported, &[other, loaded, "build the engine"]);
    let error = damaged(&[], |folder| folder.edit(&format!("\"version\": \"{loaded}\","), ""));
    says(&error, ErrorKind::InvalidModel, &["config.json", "version"]);
}

#[test]
fn another_architecture_is_named() {
    let error = damaged(&["--architecture", "LlamaForCausalLM"], |_| {});
    says(&error, ErrorKind::Unsupported, &["LlamaForCausalLM", "Qwen3ForCausalLM"]);
}

#[test]
fn missing_and_empty_files_are_named() {
    let error = damaged(&[], |folder| folder.remove("rank0.engine"));
    says(&error, ErrorKind::InvalidModel, &["rank0.engine", "missing"]);
    let error = damaged(&["--tp", "2"], |folder| folder.remove("rank1.engine"));
    says(&error, ErrorKind::InvalidModel, &["rank1.engine", "2 GPUs"]);
    let error = damaged(&[], |folder| folder.write("rank0.engine", ""));
    says(&error, ErrorKind::InvalidModel, &["rank0.engine", "empty"]);
    let error = damaged(&[], |folder| folder.remove("config.json"));
    says(&error, ErrorKind::InvalidModel, &["config.json", "missing"]);
    let error = damaged(&[], |folder| folder.write("config.json", "{"));
    says(&error, ErrorKind::InvalidModel, &["config.json"]);
    let error = damaged(&[], |folder| folder.remove("tokenizer.json"));
    says(&error, ErrorKind::InvalidModel, &["tokenizer.json", "missing"]);
    let error = damaged(&[], |folder| folder.remove("tokenizer_config.json"));
    says(&error, ErrorKind::InvalidModel, &["chat template"]);
    let error = damaged(&[], |folder| folder.write("generation_config.json", "{\"eos_token_id\": 99999}"));
    says(&error, ErrorKind::InvalidModel, &["generation_config.json"]);
}

#[test]
fn an_engine_too_small_for_the_profile_is_refused() {
    let error = damaged(&["--max-input-len", "20"], |_| {});
    says(&error, ErrorKind::InvalidModel, &["max_input_len", "20", "dicast-demo"]);
    let error = damaged(&["--vocab-size", "100"], |_| {});
    says(&error, ErrorKind::InvalidModel, &["tokenizer.json", "100"]);
}

#[test]
fn settings_that_the_engine_was_not_built_for_are_refused() {
    let error = damaged(&["--no-paged-context"], |_| {});
    says(&error, ErrorKind::Unsupported, &["use_paged_context_fmha", "block_reuse"]);
    let folder = Folder::with("", &["--max-batch-size", "8"]);
    let mut config = folder.config();
    config.trtllm.max_batch_size = 9;
    says(&refusal(config), ErrorKind::InvalidConfig, &["trtllm.max_batch_size", "9", "8"]);
    let mut config = folder.config();
    config.trtllm.max_batch_tokens = 100_000;
    says(&refusal(config), ErrorKind::InvalidConfig, &["trtllm.max_batch_tokens", "8192"]);
    let mut config = folder.config();
    config.trtllm.device_ids = vec![0, 1];
    says(&refusal(config), ErrorKind::InvalidConfig, &["trtllm.device_ids", "2", "1"]);
    let mut config = folder.config();
    config.trtllm.mode = TrtllmMode::Orchestrator;
    config.trtllm.worker_path = Some("/nowhere/executorWorker".into());
    says(&refusal(config), ErrorKind::InvalidConfig, &["trtllm.worker_path", "/nowhere/executorWorker"]);
}

#[test]
fn logits_that_no_grammar_can_mask_are_refused() {
    let error = damaged(&["--logits-dtype", "bfloat16"], |_| {});
    says(&error, ErrorKind::Unsupported, &["config.json", "bfloat16", "--logits_dtype float32"]);
    let folder = Folder::with("rule\n", &["--logits-dtype", "float16"]);
    Judge::open(folder.config()).unwrap();
}

#[test]
fn pausing_judgments_goes_only_without_grammars() {
    let folder = Folder::new(&format!("rule\n{}", crate::support::answer(&[4, 2], &[0, 1])));
    let mut config = folder.config();
    config.trtllm.scheduler = dicast::config::TrtllmScheduler::MaxUtilization;
    for guided in [None, Some(true)] {
        config.options.guided = guided;
        says(&refusal(config.clone()), ErrorKind::InvalidConfig, &["max_utilization", "18891", "guaranteed_no_evict"]);
    }
    config.options.guided = Some(false);
    let judge = Judge::open(config).unwrap();
    let mut asked = crate::support::request(2, "this");
    crate::support::check(&asked, &judge.judge(&asked).unwrap());
    asked.options.guided = Some(true);
    assert_eq!(judge.judge(&asked).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn a_cache_too_small_for_the_longest_judgment_is_refused_where_the_release_can() {
    let folder = Folder::new("kv_blocks 10\nrule\n");
    let opened = Judge::open(folder.config());
    if dicast::engine::trtllm::library().built_for.starts_with("1.0") {
        // The library silently reduces the limits.
        opened.unwrap();
    } else {
        let Err(error) = opened else { panic!("it was opened") };
        says(&error, ErrorKind::InvalidConfig, &["KV cache is too small", "trtllm.kv_memory_fraction"]);
    }
}

#[test]
fn several_gpus_need_a_launcher_or_workers() {
    let error = damaged(&["--tp", "2"], |_| {});
    says(&error, ErrorKind::InvalidConfig, &["mpirun -n 2", "orchestrator"]);
}

#[test]
fn an_engine_of_the_vendors_is_no_engine_of_the_stand_ins() {
    let folder = Folder::new("");
    folder.write("rank0.engine", "something else");
    says(&refusal(folder.config()), ErrorKind::Engine, &["TensorRT-LLM says"]);
}
