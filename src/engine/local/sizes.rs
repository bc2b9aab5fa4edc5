//! The sizes of a context: what the configuration leaves open, what llama.cpp asks for, what the memory holds.

use std::path::Path;

use crate::config::LocalConfig;
use crate::error::{Error, ErrorKind, Result};

use super::gguf::Header;
use super::scheduler::{Bounds, Scheduler};

/// Tokens of context that a judgment gets by default, where the model was trained for as many.
const DEFAULT_CONTEXT: u32 = 8192;
/// Contexts that the pool of keys and values holds by default, where the memory is there.
const DEFAULT_CONTEXTS: u32 = 4;
/// Largest step of one matrix product. llama.cpp sets memory aside for as many tokens.
pub(super) const MAX_STEP: usize = 512;
/// What the vocabulary, the grammars and llama.cpp's own tables take, about.
const FIXED_BYTES: u64 = 150 << 20;

/// What opening a model takes, in bytes. The figures are estimates: a few percent over what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The weights. Where they are mapped from the file, the system can take this memory back when it is short.
    pub weights: u64,
    /// The keys and values of all judgments together.
    pub kv_cache: u64,
    /// What a step is computed in, and what the rest takes.
    pub compute: u64,
    /// Tokens that the keys and values are for.
    pub kv_tokens: u64,
}

impl MemoryNeed {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv_cache).saturating_add(self.compute)
    }

    /// What a model takes with a pool of `kv_tokens`, computed in steps of `step` tokens.
    pub(super) fn of(header: &Header, kv_tokens: u64, step: u64) -> Self {
        let size = |name: &str| header.size(name).unwrap_or(0);
        let width = size("embedding_length");
        let heads = header.most("attention.head_count").unwrap_or(0).max(1);
        let head = |name: &str| header.size(&format!("attention.{name}")).unwrap_or(width / heads);
        let layers = size("block_count");
        let shared = header
            .sum_over_layers("attention.head_count_kv")
            .or_else(|| header.sum_over_layers("attention.head_count"))
            .unwrap_or(layers.saturating_mul(heads));
        // Two bytes a number.
        let a_token = shared.saturating_mul(head("key_length").saturating_add(head("value_length"))).saturating_mul(2);
        let tokens = header.texts("tokenizer.ggml.tokens").map_or(0, super::gguf::Texts::len) as u64;
        let ffn = header.most("feed_forward_length").unwrap_or(0);
        // The logits of every token of a step, and the widest results between two layers, four bytes a number.
        let step = step.saturating_mul(tokens.saturating_add(3 * ffn).saturating_add(8 * width)).saturating_mul(4);
        Self {
            weights: header.weight_bytes(),
            kv_cache: a_token.saturating_mul(kv_tokens),
            compute: step.saturating_add(FIXED_BYTES),
            kv_tokens,
        }
    }
}

/// Decides the sizes that the configuration leaves open, and refuses those that the model or the memory cannot have.
/// `available` are the bytes of memory that there are, where that is known.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming the keys, with the numbers.
pub(super) fn bounds(config: &LocalConfig, header: &Header, available: Option<u64>) -> Result<(usize, Bounds)> {
    let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
    let trained = header.size("context_length").and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(0);
    let context = if config.context_tokens == 0 { DEFAULT_CONTEXT.min(trained) } else { config.context_tokens };
    if context > trained {
        return invalid(format!("local.context_tokens is {context}, but the model was trained for {trained}"));
    }
    let step = u64::from(config.batch_tokens).min(MAX_STEP as u64);
    let need = |pool: u32| MemoryNeed::of(header, pool.into(), step);
    // Mapped weights can leave the memory again.
    let fits = |pool: u32| {
        let need = need(pool);
        let weights = if config.mmap { 0 } else { need.weights };
        available
            .is_none_or(|available| need.kv_cache.saturating_add(need.compute).saturating_add(weights) <= available)
    };
    let pool = if config.kv_cache_tokens == 0 {
        // A judge of few judgments at once needs no more than they do, and one for the prompts that are kept.
        let most = DEFAULT_CONTEXTS.min(config.max_sequences.saturating_add(1));
        let wanted = (1..=most).rev().map(|contexts| context.saturating_mul(contexts));
        wanted.into_iter().find(|&pool| fits(pool)).unwrap_or(context)
    } else {
        config.kv_cache_tokens
    };
    if pool < context {
        return invalid(format!(
            "local.kv_cache_tokens is {pool}, less than one context of {context}: raise it, or lower local.context_tokens"
        ));
    }
    if !fits(pool) {
        let need = need(pool);
        let key = if config.kv_cache_tokens == 0 { "local.context_tokens" } else { "local.kv_cache_tokens" };
        return invalid(format!(
            "{key}: {pool} tokens of keys and values take {}, and computing takes {}{}, but only {} of memory are free: lower \
             local.kv_cache_tokens or local.context_tokens, or free memory",
            mebibytes(need.kv_cache),
            mebibytes(need.compute),
            if config.mmap { String::new() } else { format!(" and the weights {}", mebibytes(need.weights)) },
            mebibytes(available.unwrap_or(0))
        ));
    }
    let pool = pool as usize;
    // Every sequence of the context needs a token in the pool and one in a step: llama.cpp asserts both.
    let max_sequences = (config.max_sequences as usize).min(pool - Scheduler::sequences(0)).max(1);
    let bounds = Bounds {
        max_sequences,
        batch_tokens: (config.batch_tokens as usize).min(pool),
        chunk_tokens: config.prefill_chunk_tokens as usize,
        pool_tokens: pool,
    };
    Ok((context as usize, bounds))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The bytes of memory that this process can still take: what the machine has, and what its control groups allow. `None`
/// where the system does not say.
pub(super) fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|table| row(&table, "MemAvailable:"));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    [machine, in_groups(Path::new("/sys/fs/cgroup"), &groups)].into_iter().flatten().min()
}

/// A row of `/proc/meminfo`, in bytes.
fn row(table: &str, name: &str) -> Option<u64> {
    let kib: u64 = table.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// What is left in the tightest of the control groups of a process, whose table `/proc/self/cgroup` is. `root` is where
/// they are mounted; version 1 has a folder for memory there.
fn in_groups(root: &Path, table: &str) -> Option<u64> {
    let mut least = None;
    for line in table.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (base, limit, usage, cached) = if controllers.is_empty() {
            (root.to_owned(), "memory.max", "memory.current", "inactive_file ")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        } else {
            continue;
        };
        let mut folder = base.join(path.trim_start_matches('/'));
        // Inside a container the path may be that of the host, and only the root is there.
        loop {
            let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            if let (Some(limit), Some(usage)) = (number(limit), number(usage)) {
                let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
                // Cached files leave when memory is short.
                let cache = stat.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse::<u64>().ok());
                let left = limit.saturating_sub(usage.saturating_sub(cache.unwrap_or(0)));
                least = Some(least.map_or(left, |least: u64| least.min(left)));
            }
            if folder == base || !folder.pop() {
                break;
            }
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demo() -> Header {
        Header::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")).unwrap()
    }

    #[test]
    fn every_configuration_in_range_opens_or_names_its_keys() {
        let header = demo();
        let trained = u32::try_from(header.size("context_length").unwrap()).unwrap();
        let mut counts = (0, 0);
        for context_tokens in [0, 64, 65, 100, 256, 1000, 2048, 8192, 1 << 20] {
            for max_sequences in [1, 2, 3, 8, 33, 62, 63, 64] {
                for batch_tokens in [32, 33, 64, 66, 512, 513, 8192] {
                    for prefill_chunk_tokens in [16, 128, 8192] {
                        for kv_cache_tokens in [0, 64, 65, 66, 256, 1000, 8192, 1 << 24] {
                            let config = LocalConfig {
                                context_tokens,
                                max_sequences,
                                kv_cache_tokens,
                                batch_tokens,
                                prefill_chunk_tokens,
                                ..LocalConfig::default()
                            };
                            match bounds(&config, &header, Some(8 << 30)) {
                                Ok((context, bounds)) => {
                                    let sequences = Scheduler::sequences(bounds.max_sequences);
                                    assert!((64..=trained as usize).contains(&context), "{config:?}");
                                    assert!(bounds.pool_tokens >= context, "{config:?}");
                                    assert!(bounds.max_sequences >= 1 && sequences <= bounds.pool_tokens, "{config:?}");
                                    assert!(bounds.batch_tokens <= bounds.pool_tokens, "{config:?}");
                                    counts.0 += 1;
                                }
                                Err(error) => {
                                    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                                    assert!(error.message().contains("local."), "{error}");
                                    counts.1 += 1;
                                }
                            }
                        }
                    }
                }
            }
        }
        println!("{} configurations open, {} are refused", counts.0, counts.1);
        assert!(counts.0 > 3000 && counts.1 > 1000);
    }

    #[test]
    fn the_pool_fits_the_memory() {
        let header = demo();
        let config = LocalConfig::default();
        let pool =
            |config: &LocalConfig, available| bounds(config, &header, available).map(|(_, bounds)| bounds.pool_tokens);
        let (context, most) = bounds(&config, &header, None).unwrap();
        assert_eq!(most.pool_tokens, 4 * context);
        assert_eq!(pool(&LocalConfig { max_sequences: 1, ..config.clone() }, None).unwrap(), 2 * context);
        let need = |pool: usize| MemoryNeed::of(&header, pool as u64, 512);
        let two = need(2 * context);
        assert_eq!(pool(&config, Some(two.kv_cache + two.compute)).unwrap(), 2 * context);
        let error = pool(&config, Some(1 << 20)).unwrap_err();
        assert!(error.message().contains("local.context_tokens") && error.message().contains("1 MiB"), "{error}");
        let asked = LocalConfig { kv_cache_tokens: 1 << 24, ..config.clone() };
        let error = pool(&asked, Some(1 << 30)).unwrap_err();
        assert!(error.message().contains("local.kv_cache_tokens: 16777216 tokens"), "{error}");
        let one = need(context);
        let unmapped = LocalConfig { mmap: false, ..config };
        assert!(pool(&unmapped, Some(one.kv_cache + one.compute + one.weights - 1)).is_err());
        assert!(pool(&unmapped, Some(one.kv_cache + one.compute + one.weights)).is_ok());
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("dicast-groups-{}", std::process::id()));
        let write = |file: &str, text: &str| {
            let place = root.join(file);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, text).unwrap();
        };
        write("a/memory.max", "1000\n");
        write("a/memory.current", "400\n");
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "300\n");
        write("a/b/c/memory.max", "900\n");
        write("a/b/c/memory.current", "500\n");
        write("a/b/c/memory.stat", "anon 1\ninactive_file 100\n");
        assert_eq!(in_groups(&root, "0::/a/b/c\n"), Some(500));
        assert_eq!(in_groups(&root, "0::/a/b\n"), Some(600));
        assert_eq!(in_groups(&root, "0::/elsewhere\n"), None);
        write("memory/x/memory.limit_in_bytes", "9223372036854771712\n");
        write("memory/x/memory.usage_in_bytes", "5\n");
        write("memory/memory.limit_in_bytes", "70\n");
        write("memory/memory.usage_in_bytes", "30\n");
        assert_eq!(in_groups(&root, "4:cpu,cpuacct:/x\n3:memory:/x\n"), Some(40));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(row("MemTotal: 5 kB\nMemAvailable:   7 kB\n", "MemAvailable:"), Some(7168));
    }
}
