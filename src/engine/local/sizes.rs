//! The sizes of a context: those that the configuration leaves open, within what llama.cpp requires and the memory
//! allows.

use std::path::Path;

use crate::config::LocalConfig;
use crate::error::{Error, ErrorKind, Result};

use super::gguf::{Header, Packed};
use super::operations::{packed, untouched};
use super::scheduler::{Bounds, KEPT_PROMPTS};
use crate::engine::MOST_PINS;

/// Tokens of context that a judgment gets by default, if the model was trained for as many.
const DEFAULT_CONTEXT: u32 = 8192;
/// Contexts that the pool of keys and values holds by default, if there is enough memory.
const DEFAULT_CONTEXTS: u32 = 4;
/// Bytes of weights that justify one more thread: below that, threads wait for each other longer than they compute.
const BYTES_A_THREAD: u64 = 32 << 20;
/// Weights of this size stay in the caches of a core. Then a batch of several judgments saves no reading, and each
/// judgment passes over the keys of all: one at a time takes the least work.
const IN_CACHE: u64 = 16 << 20;
/// Most tokens in one matrix product. llama.cpp reserves memory for as many tokens.
pub(super) const MAX_STEP: usize = 512;
/// About what the vocabulary, the grammars and llama.cpp's own tables take.
const FIXED_BYTES: u64 = 150 << 20;

/// What opening a model takes, in bytes. The figures are estimates: a few percent over what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// The weights. Where they are mapped from the file, the system can take this memory back when it is short; not so
    /// those that `local.repack` arranges for the processor.
    pub weights: u64,
    /// The keys and values of all judgments together. In main memory (Linux) they take it only as judgments use them, up to this.
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

    /// The memory of a model with a pool of `kv_tokens`, computed in steps of `step` tokens.
    pub(super) fn of(header: &Header, kv_tokens: u64, step: u64) -> Self {
        let width = header.size("embedding_length").unwrap_or(0);
        let tokens = header.texts("tokenizer.ggml.tokens").map_or(0, super::gguf::Texts::len) as u64;
        let ffn = header.most("feed_forward_length").unwrap_or(0);
        // The logits of every token of a step, and the widest results between two layers, four bytes a number.
        let step = step.saturating_mul(tokens.saturating_add(3 * ffn).saturating_add(8 * width)).saturating_mul(4);
        Self {
            weights: header.weight_bytes(),
            kv_cache: bytes_of_a_token(header).saturating_mul(kv_tokens),
            compute: step.saturating_add(FIXED_BYTES),
            kv_tokens,
        }
    }
}

/// Bytes of the keys and values of one token, two for each number.
pub(super) fn bytes_of_a_token(header: &Header) -> u64 {
    let size = |name: &str| header.size(name).unwrap_or(0);
    let heads = header.most("attention.head_count").unwrap_or(0).max(1);
    let head = |name: &str| header.size(&format!("attention.{name}")).unwrap_or(size("embedding_length") / heads);
    let shared = header
        .sum_over_layers("attention.head_count_kv")
        .or_else(|| header.sum_over_layers("attention.head_count"))
        .unwrap_or(size("block_count").saturating_mul(heads));
    shared.saturating_mul(head("key_length").saturating_add(head("value_length"))).saturating_mul(2)
}

/// How an engine computes: lanes side by side, each with one or more threads of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes {
    pub(super) count: usize,
    /// Threads of each lane.
    pub(super) threads: u32,
    /// Bounds of each lane.
    pub(super) bounds: Bounds,
    /// Whether weights are arranged for this processor, in memory of their own.
    pub(super) repack: bool,
}

impl Lanes {
    /// The memory that all of it takes.
    pub(super) fn memory(&self, header: &Header) -> MemoryNeed {
        let all = |tokens: usize| (tokens * self.count) as u64;
        MemoryNeed::of(header, all(self.bounds.pool_tokens), all(self.bounds.batch_tokens.min(MAX_STEP)))
    }
}

/// What the number of lanes depends on.
#[derive(Clone, Copy, Debug)]
struct Machine {
    cores: u32,
    /// Bytes of available memory, if known.
    available: Option<u64>,
    gpu: bool,
    /// What arranging the weights for this processor takes.
    packed: Packed,
}

/// Decides the sizes that the configuration leaves open, and refuses sizes that the model or the memory cannot support.
/// `available`: the bytes of available memory, if known. Also gives the tokens of context that a judgment may have.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming the keys, with the numbers.
pub(super) fn lanes(config: &LocalConfig, header: &Header, available: Option<u64>) -> Result<(usize, Lanes)> {
    let gpu = cfg!(any(feature = "cuda", feature = "metal", feature = "vulkan")) && config.gpu_layers > 0;
    let machine = Machine { cores: physical_cores(), available, gpu, packed: header.packed(packed) };
    lanes_on(machine, config, header, header.weight_bytes())
}

fn lanes_on(machine: Machine, config: &LocalConfig, header: &Header, weights: u64) -> Result<(usize, Lanes)> {
    let invalid = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
    let trained = header.size("context_length").and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(0);
    let context = if config.context_tokens == 0 { DEFAULT_CONTEXT.min(trained) } else { config.context_tokens };
    if context > trained {
        return invalid(format!("local.context_tokens is {context}, but the model was trained for {trained}"));
    }
    let pool = config.kv_cache_tokens;
    if pool != 0 && pool < context {
        return invalid(format!(
            "local.kv_cache_tokens is {pool}, less than one context of {context}: raise it, or lower local.context_tokens"
        ));
    }
    // A GPU computes one batch at a time, and its cores are not counted here.
    let threads = if config.threads == 0 { machine.cores.min(512) } else { config.threads };
    let useful = u32::try_from(weights / BYTES_A_THREAD + 1).unwrap_or(u32::MAX);
    let each = if machine.gpu && config.threads != 0 { threads } else { threads.min(useful) };
    let most_lanes = if machine.gpu { 1 } else { (threads / each).min(config.max_sequences) };
    let most_lanes = if pool == 0 { most_lanes } else { most_lanes.min(pool / context) };

    // Weights in this process's memory: packed ones, and all that are not mapped. Mapped ones can be dropped again.
    let Packed { bytes, twice, largest } = machine.packed;
    let taken = |repack: bool, weights: u64| match (config.mmap, repack) {
        // Packed from what was read of the file, one tensor after the other.
        (false, true) => weights.saturating_add(twice).saturating_add(largest),
        (false, false) => weights,
        (true, true) => bytes,
        (true, false) => 0,
    };
    // Packed weights if they fit, then as many lanes, then as large a pool.
    let ways = [true, false].into_iter().filter(|repack| !repack || config.repack);
    let mut smallest = None;
    for (repack, count) in ways.flat_map(|repack| (1..=most_lanes).rev().map(move |count| (repack, count))) {
        // A batch of several judgments would be summed in another order than a judgment alone.
        let alone = config.deterministic || (weights <= IN_CACHE && !machine.gpu);
        let together = if alone { 1 } else { config.max_sequences.div_ceil(count) };
        // A lane that runs few judgments at once needs no more contexts than that, and one for the prompts that are
        // kept.
        let contexts = if together == 1 { 1 } else { DEFAULT_CONTEXTS.min(together.saturating_add(1)) };
        let most = if pool == 0 { contexts } else { 1 };
        for contexts in (1..=most).rev() {
            let tokens = if pool == 0 { context.saturating_mul(contexts) } else { pool / count } as usize;
            // Every sequence of the context needs a token in the pool and one in a step: llama.cpp asserts both.
            let pins = if config.deterministic { 0 } else { MOST_PINS + usize::from(config.prefix_dir.is_some()) };
            let max_sequences = (together as usize).min(tokens - KEPT_PROMPTS - pins.max(MOST_PINS)).max(1);
            let bounds = Bounds {
                max_sequences,
                batch_tokens: (config.batch_tokens as usize).min(tokens),
                chunk_tokens: config.prefill_chunk_tokens as usize,
                pool_tokens: tokens,
                shares_prompts: !config.deterministic,
                draft_tokens: config.draft_tokens as usize,
                pins,
            };
            let lanes = Lanes { count: count as usize, threads: each, bounds, repack };
            let need = lanes.memory(header);
            let weights = taken(repack, need.weights);
            let total = need.kv_cache.saturating_add(need.compute).saturating_add(weights);
            if machine.available.is_none_or(|available| total <= available) {
                return Ok((context as usize, lanes));
            }
            smallest = Some(need);
        }
    }
    let need = smallest.expect("there is at least one lane of one context");
    let key = if pool == 0 { "local.context_tokens" } else { "local.kv_cache_tokens" };
    invalid(format!(
        "{key}: {} tokens of keys and values take {}, and computing takes {}{}, but only {} of memory are free: lower \
         local.kv_cache_tokens or local.context_tokens, or free memory",
        need.kv_tokens,
        mebibytes(need.kv_cache),
        mebibytes(need.compute),
        if config.mmap { String::new() } else { format!(" and the weights {}", mebibytes(need.weights)) },
        mebibytes(machine.available.unwrap_or(0))
    ))
}

/// Cores to compute on: hyper-threads of one core share its arithmetic units, and threads beyond the number of cores
/// only wait.
fn physical_cores() -> u32 {
    let logical = std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
    let siblings = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
        .map_or(1, |list| u32::try_from(list.trim().split([',', '-']).count()).unwrap_or(1));
    (logical / siblings).max(1)
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// The bytes of memory that this process can still use: what the machine has, and what its control groups allow, without what
/// the judges that are open may still take. `None` if the system does not say.
pub(super) fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|table| row(&table, "MemAvailable:"));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let free = [machine, in_groups(Path::new("/sys/fs/cgroup"), &groups)].into_iter().flatten().min();
    free.map(|free| free.saturating_sub(untouched()))
}

/// A row of `/proc/meminfo`, in bytes.
fn row(table: &str, name: &str) -> Option<u64> {
    let kib: u64 = table.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// What is left in the tightest control group of a process; `table` is its `/proc/self/cgroup`. `root` is where the
/// groups are mounted; version 1 has a folder for memory there.
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
        // Inside a container the path may be that of the host; then only the root exists.
        loop {
            let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
            if let (Some(limit), Some(usage)) = (number(limit), number(usage)) {
                let stat = std::fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
                // Cached files are dropped when memory is short.
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
    use super::super::scheduler::Scheduler;
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
                            let machine =
                                Machine { cores: 3, available: Some(8 << 30), gpu: false, packed: Packed::default() };
                            let weights =
                                if max_sequences % 2 == 0 { header.weight_bytes() } else { 2 * BYTES_A_THREAD };
                            match lanes_on(machine, &config, &header, weights) {
                                Ok((context, lanes)) => {
                                    let bounds = lanes.bounds;
                                    let sequences = Scheduler::sequences(bounds);
                                    assert!((64..=trained as usize).contains(&context), "{config:?}");
                                    assert!(bounds.pool_tokens >= context, "{config:?}");
                                    assert!(bounds.max_sequences >= 1 && sequences <= bounds.pool_tokens, "{config:?}");
                                    assert!(bounds.batch_tokens <= bounds.pool_tokens, "{config:?}");
                                    let all = lanes.count * bounds.pool_tokens;
                                    assert!(kv_cache_tokens == 0 || all <= kv_cache_tokens as usize, "{config:?}");
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
        let config = LocalConfig { threads: 1, ..LocalConfig::default() };
        // A model that is too large for the caches.
        let lanes = |config: &LocalConfig, available| {
            lanes_on(
                Machine { cores: 1, available, gpu: false, packed: Packed::default() },
                config,
                &header,
                IN_CACHE + 1,
            )
        };
        let pool =
            |config: &LocalConfig, available| lanes(config, available).map(|(_, lanes)| lanes.bounds.pool_tokens);
        let (context, most) = lanes(&config, None).unwrap();
        assert_eq!(most.bounds.pool_tokens, 4 * context);
        assert_eq!(pool(&LocalConfig { max_sequences: 2, ..config.clone() }, None).unwrap(), 3 * context);
        assert_eq!(pool(&LocalConfig { max_sequences: 1, ..config.clone() }, None).unwrap(), context);
        let need = |pool: usize| MemoryNeed::of(&header, pool as u64, 512);
        let two = need(2 * context);
        assert_eq!(pool(&config, Some(two.kv_cache + two.compute)).unwrap(), 2 * context);
        let error = pool(&config, Some(1 << 20)).unwrap_err();
        assert!(error.message().contains("local.context_tokens") && error.message().contains("1 MiB"), "{error}");
        let asked = LocalConfig { kv_cache_tokens: 1 << 24, ..config.clone() };
        let error = pool(&asked, Some(1 << 30)).unwrap_err();
        assert!(error.message().contains("local.kv_cache_tokens: 16777216 tokens"), "{error}");
        let one = need(context);
        // Weights that are arranged are copied if they fit, and stay mapped if they do not.
        let packed = |config: &LocalConfig, available| {
            let machine = Machine {
                cores: 1,
                available: Some(available),
                gpu: false,
                packed: Packed { bytes: one.weights, twice: 10, largest: 20 },
            };
            lanes_on(machine, config, &header, IN_CACHE + 1).map(|(_, lanes)| (lanes.repack, lanes.bounds.pool_tokens))
        };
        let all = one.kv_cache + one.compute + one.weights;
        assert_eq!(packed(&config, all).unwrap(), (true, context));
        assert!(!packed(&config, all - 1).unwrap().0);
        assert!(!packed(&LocalConfig { repack: false, ..config.clone() }, u64::MAX).unwrap().0);

        let unmapped = LocalConfig { mmap: false, ..config };
        assert!(pool(&unmapped, Some(one.kv_cache + one.compute + one.weights - 1)).is_err());
        assert!(pool(&unmapped, Some(one.kv_cache + one.compute + one.weights)).is_ok());
        assert!(!packed(&unmapped, all + 29).unwrap().0);
        assert!(packed(&unmapped, all + 30).unwrap().0);
    }

    #[test]
    fn a_small_model_gets_a_lane_for_each_core_and_a_large_one_all_cores() {
        let header = demo();
        let shape = |cores, weights, config: &LocalConfig| {
            let (_, lanes) = lanes_on(
                Machine { cores, available: None, gpu: false, packed: Packed::default() },
                config,
                &header,
                weights,
            )
            .unwrap();
            (lanes.count, lanes.threads, lanes.bounds.max_sequences)
        };
        let config = LocalConfig::default();
        assert_eq!(shape(2, IN_CACHE, &config), (2, 1, 1));
        assert_eq!(shape(2, IN_CACHE + 1, &config), (2, 1, 4));
        assert_eq!(shape(2, BYTES_A_THREAD, &config), (1, 2, 8));
        assert_eq!(shape(16, 3 * BYTES_A_THREAD, &config), (4, 4, 2));
        assert_eq!(shape(16, 8 << 30, &config), (1, 16, 8));
        // No more lanes than judgments at once, and no more than contexts that the pool holds.
        assert_eq!(shape(64, IN_CACHE, &config), (8, 1, 1));
        assert_eq!(shape(2, IN_CACHE, &LocalConfig { max_sequences: 1, ..config.clone() }), (1, 1, 1));
        let small = LocalConfig { kv_cache_tokens: 1000, context_tokens: 600, ..config.clone() };
        assert_eq!(shape(2, IN_CACHE, &small), (1, 1, 1));
        assert_eq!(shape(8, IN_CACHE, &LocalConfig { threads: 3, ..config }), (3, 1, 1));
    }

    #[test]
    fn lanes_are_given_up_where_the_memory_is_short() {
        let header = demo();
        let config = LocalConfig::default();
        let lanes = |available| {
            lanes_on(Machine { cores: 4, available, gpu: false, packed: Packed::default() }, &config, &header, IN_CACHE)
                .unwrap()
                .1
        };
        let four = lanes(None);
        assert_eq!(four.count, 4);
        let all = four.memory(&header);
        let short = lanes(Some(all.kv_cache + all.compute - 1));
        assert_eq!((short.count, short.bounds.pool_tokens), (3, four.bounds.pool_tokens));
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
