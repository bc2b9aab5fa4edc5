//! The memory of a judge on the embedded engine, in a process of its own: other judges would count too.

#![cfg(all(feature = "local", target_os = "linux"))]

use std::path::Path;

use dicast::engine::local::{available_memory, memory_need};
use dicast::{Judge, JudgeConfig, JudgeRequest};

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    row.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn keys_and_values_take_memory_only_as_they_are_used_and_are_not_promised_twice() {
    let mut config =
        JudgeConfig::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf").display().to_string());
    config.local.kv_cache_tokens = 1 << 20;
    let pool = memory_need(&config).unwrap().kv_cache;
    assert!(pool > 1 << 30, "{pool}");

    let (before, free) = (resident(), available_memory().unwrap());
    let judge = Judge::open(config).unwrap();
    let request = JudgeRequest::new("Be brief.", "Hello", [("a", "Hi."), ("b", "A long greeting, at length.")]);
    judge.judge(&request).unwrap();
    let taken = resident().saturating_sub(before);
    assert!(taken < pool / 2, "a judgment takes {taken} bytes of a pool of {pool}");

    let left = available_memory().unwrap();
    assert!(free.saturating_sub(left) > pool / 2, "{free} bytes were free, and {left} are with a pool of {pool}");
    drop(judge);
    let left = available_memory().unwrap();
    assert!(free.saturating_sub(left) < pool / 2, "{free} bytes were free, and {left} are after the judge was closed");
}
