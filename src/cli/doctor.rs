//! `dicast doctor`: what this build and this machine can run, and why the rest cannot.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use dicast::engine::Guidance;
use dicast::{Judge, JudgeConfig};
use serde_json::{Value, json};

use super::options::JudgeArgs;
use super::{Failure, Outcome, model, print, probe, table};

/// Show what this build and this machine can run, and why the rest cannot.
#[derive(clap::Args)]
#[command(
    after_help = "With a model (an argument, --model, --config or $DICAST_MODEL) that model is opened too, and judges a few pairs whose \
                  better response is known: under a principle and its opposite, in both orders. Exit code 2 where it \
                  cannot be opened."
)]
pub(crate) struct Args {
    /// The model to check: as --model.
    #[arg(value_name = "MODEL", conflicts_with = "model")]
    place: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Seconds that the probe of the model may take; 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 120)]
    probe_seconds: u32,
    #[command(flatten)]
    judge: JudgeArgs,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let named = args.place.is_some() || args.judge.names_model()?;
    let checked = named
        .then(|| args.judge.config_for(args.place.as_ref()).and_then(|config| check_model(config, args.probe_seconds)));
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "engines": engines(),
        "machine": machine(),
        "devices": devices(),
        "hints": hints(),
        "model": checked.as_ref().map(|checked| match checked {
            Ok(model) => model.clone(),
            Err(failure) => json!({ "ok": false, "error": failure.error.to_json()["error"], "hint": failure.hint }),
        }),
    });
    if args.json {
        print(&format!("{report}\n"))?;
    } else {
        print(&in_words(&report))?;
    }
    match checked {
        Some(Err(failure)) if !args.json => Err(failure),
        Some(Err(failure)) => Ok(ExitCode::from(failure.error.kind().exit_code())),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The engines, each with its purpose and whether it is available.
fn engines() -> Value {
    let local = cfg!(feature = "local");
    let backend = |built: bool, feature: &str| json!({ "name": feature, "built": built });
    json!([
        {
            "name": "local",
            "what": "llama.cpp in this process, for .gguf files",
            "available": local,
            "reason": (!local).then_some("not part of this build: build with the feature `local`"),
            "backends": [
                backend(local, "cpu"),
                backend(cfg!(feature = "cuda"), "cuda"),
                backend(cfg!(feature = "metal"), "metal"),
                backend(cfg!(feature = "vulkan"), "vulkan"),
            ],
        },
        trtllm(),
        {
            "name": "remote",
            "what": "any server that speaks the OpenAI protocol",
            "available": cfg!(feature = "remote"),
            "reason": (!cfg!(feature = "remote")).then_some("not part of this build: build with the feature `remote`"),
            "backends": [backend(cfg!(feature = "remote"), "http"), backend(cfg!(feature = "remote"), "https")],
        },
    ])
}

/// The TensorRT-LLM engine: which library it was linked with, and whether that is the vendor's.
#[cfg(feature = "trtllm")]
fn trtllm() -> Value {
    let library = dicast::engine::trtllm::library();
    let kind = if library.label.is_empty() { "TensorRT-LLM" } else { "a stand-in for tests, not TensorRT-LLM:" };
    json!({
        "name": "trtllm",
        "what": "TensorRT-LLM engines in this process",
        "available": library.label.is_empty(),
        "reason": (!library.label.is_empty()).then(|| format!("linked with {kind} {} at {}", library.label, library.path)),
        "backends": [{ "name": format!("{kind} {} from {}, built for {}", library.version, library.path, library.built_for), "built": true }],
        "library": { "path": library.path, "built_for": library.built_for, "version": library.version, "stand_in": library.label },
    })
}

#[cfg(not(feature = "trtllm"))]
fn trtllm() -> Value {
    json!({
        "name": "trtllm",
        "what": "TensorRT-LLM engines in this process",
        "available": false,
        "reason": "not part of this build: build with the feature `trtllm`",
        "backends": [],
    })
}

/// Processor and memory.
fn machine() -> Value {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "threads": threads,
        "instructions": instructions(),
        "memory_bytes": memory("MemTotal:"),
        "available_bytes": memory("MemAvailable:"),
    })
}

/// The vector instructions that matter to the speed of a model.
#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<&'static str> {
    let all = [
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> Vec<&'static str> {
    Vec::new()
}

/// A row of the kernel's memory table, in bytes; none on systems without that table.
fn memory(row: &str) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 = table.lines().find_map(|line| line.strip_prefix(row))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What the embedded engine could compute on.
#[cfg(feature = "local")]
fn devices() -> Value {
    let devices = dicast::engine::local::devices().into_iter();
    let devices = devices.map(|device| {
        json!({
            "backend": device.backend,
            "description": device.description,
            "memory_bytes": device.memory_total,
            "available_bytes": device.memory_free,
        })
    });
    devices.collect()
}

#[cfg(not(feature = "local"))]
fn devices() -> Value {
    json!([])
}

/// What this machine has that this build does not use.
fn hints() -> Vec<&'static str> {
    let hint = |present: bool, built: bool, hint| (present && !built).then_some(hint);
    [
        hint(
            Path::new("/dev/nvidia0").exists(),
            cfg!(any(feature = "cuda", feature = "vulkan")),
            "an NVIDIA GPU is here: build with `--features cuda` to use it (needs the CUDA toolkit)",
        ),
        hint(
            cfg!(all(target_os = "macos", target_arch = "aarch64")),
            cfg!(feature = "metal"),
            "an Apple GPU is here: build with `--features metal` to use it",
        ),
        hint(
            Path::new("/dev/kfd").exists(),
            cfg!(feature = "vulkan"),
            "an AMD GPU is here: build with `--features vulkan` to use it (needs the Vulkan SDK)",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Opens the model and says what it is.
fn check_model(config: JudgeConfig, probe_seconds: u32) -> Result<Value, Failure> {
    let path = config.model.clone();
    let bytes = std::fs::metadata(Path::new(&path)).map(|file| file.len()).ok();
    if let (Some(bytes), Some(available)) = (bytes, memory("MemAvailable:"))
        && bytes > available
        && cfg!(not(any(feature = "cuda", feature = "metal", feature = "vulkan")))
    {
        super::note(&format!(
            "note: the model has {}, but only {} of memory are free: it will be slow, or not run at all\n",
            size(bytes),
            size(available)
        ));
    }
    let need = memory_need(&config);
    let judge: Judge = model::open(config)?;
    let capabilities = judge.capabilities();
    let probe = (probe_seconds > 0).then(|| probe::run(&judge, Duration::from_secs(probe_seconds.into())));
    Ok(json!({
        "ok": true,
        "path": path,
        "bytes": bytes,
        "engine": capabilities.engine.name(),
        "profile": judge.profile().name,
        "context_tokens": capabilities.context_tokens,
        "max_sequences": capabilities.max_sequences,
        "guided": capabilities.guidance == Guidance::Grammar,
        "about": judge.about(),
        "distributions": capabilities.distributions,
        "memory": need,
        "resident_bytes": resident(),
        "warnings": judge.warnings(),
        "probe": probe,
    }))
}

/// The peak memory of this process and of those that it has started; none on systems that do not report it.
fn resident() -> Option<u64> {
    let most = |process: &str| -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?;
        Some(kib.parse::<u64>().ok()? * 1024)
    };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children: u64 = children.flat_map(|list| list.split_whitespace().filter_map(most).collect::<Vec<_>>()).sum();
    Some(most("self")? + children)
}

/// How much memory opening the model takes, by its header; `null` if the header does not show it.
#[cfg(feature = "local")]
fn memory_need(config: &JudgeConfig) -> Value {
    let located = model::locate(&config.model).map(|model| {
        let mut config = config.clone();
        config.model = model;
        config
    });
    let Ok(need) = located.and_then(|config| Ok(dicast::engine::local::memory_need(&config)?)) else {
        return Value::Null;
    };
    let available = dicast::engine::local::available_memory();
    json!({
        "total_bytes": need.total(),
        "weight_bytes": need.weights,
        "kv_cache_bytes": need.kv_cache,
        "compute_bytes": need.compute,
        "kv_cache_tokens": need.kv_tokens,
        "available_bytes": available,
        "fits": available.is_none_or(|available| need.total() <= available),
    })
}

#[cfg(not(feature = "local"))]
fn memory_need(_: &JudgeConfig) -> Value {
    Value::Null
}

/// The report for people.
fn in_words(report: &Value) -> String {
    let mut lines = vec![format!("dicast {}", plain(&report["version"])), String::new(), "Engines".into()];
    for engine in each(&report["engines"]) {
        let built = each(&engine["backends"]).filter(|backend| backend["built"] == true);
        let backends: Vec<String> = built.map(|backend| plain(&backend["name"])).collect();
        let (sign, state) =
            if engine["available"] == true { ("yes", backends.join(", ")) } else { ("no", plain(&engine["reason"])) };
        lines.push(format!("  {:<7} {sign:<4} {}: {state}", plain(&engine["name"]), plain(&engine["what"])));
    }

    let machine = &report["machine"];
    let instructions: Vec<String> = each(&machine["instructions"]).map(plain).collect();
    lines.extend([String::new(), "Machine".into()]);
    lines.push(
        format!(
            "  {} {}, {} threads {}",
            plain(&machine["os"]),
            plain(&machine["arch"]),
            machine["threads"],
            instructions.join(" ")
        )
        .trim_end()
        .to_owned(),
    );
    if let (Some(total), Some(available)) = (machine["memory_bytes"].as_u64(), machine["available_bytes"].as_u64()) {
        lines.push(format!("  memory {}, {} available", size(total), size(available)));
    }
    for device in each(&report["devices"]) {
        let memory = device["memory_bytes"].as_u64().filter(|&bytes| bytes > 0).map(size);
        let memory = memory.map(|memory| format!(", {memory}")).unwrap_or_default();
        lines.push(format!("  {}: {}{memory}", plain(&device["backend"]), plain(&device["description"])));
    }

    let model = &report["model"];
    if model["ok"] == true {
        lines.extend([String::new(), "Model".into()]);
        lines.push(format!("  {} opens with the {} engine", plain(&model["path"]), plain(&model["engine"])));
        let context =
            model["context_tokens"].as_u64().map(|tokens| format!(", {tokens} tokens of context")).unwrap_or_default();
        lines.push(format!(
            "  profile {}{context}, {} judgments at once",
            plain(&model["profile"]),
            model["max_sequences"]
        ));
        lines.extend(each(&model["about"]).map(|line| format!("  {}", plain(line))));
        let memory = &model["memory"];
        if let (Some(total), Some(weights), Some(cache)) =
            (memory["total_bytes"].as_u64(), memory["weight_bytes"].as_u64(), memory["kv_cache_bytes"].as_u64())
        {
            let fits = if memory["fits"] == true { "it fits" } else { "it does not fit" };
            let available = memory["available_bytes"].as_u64();
            let available = available.map(|bytes| format!("; {} are available: {fits}", size(bytes)));
            lines.push(format!(
                "  needs about {} of memory: weights {}, {} tokens of keys and values {}{}",
                size(total),
                size(weights),
                memory["kv_cache_tokens"],
                size(cache),
                available.unwrap_or_default()
            ));
        }
        if let Some(bytes) = model["resident_bytes"].as_u64() {
            lines.push(format!("  peak memory {}", size(bytes)));
        }
        if !model["probe"].is_null() {
            lines.extend(probe::in_words(&model["probe"]));
        }
        lines.extend(each(&model["warnings"]).map(|warning| format!("  warning: {}", plain(warning))));
    } else if model.is_null() {
        lines.extend([String::new(), "Model".into(), "  none named: give --model to check one".into()]);
    }
    for (index, hint) in each(&report["hints"]).enumerate() {
        lines.extend((index == 0).then(String::new));
        lines.push(format!("hint: {}", plain(hint)));
    }
    lines.join("\n") + "\n"
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn plain(text: &Value) -> String {
    table::printable(text.as_str().unwrap_or_default(), false)
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
