//! Hundreds of damaged model files: whatever is wrong with one, opening it and judging with it ends in a verdict or in
//! a typed error, never in the death of the process.
//!
//! The files are opened in a child process, so that a death is counted and named. `DICAST_MUTANTS` sets how many files
//! are made from each model (default 300), `DICAST_MUTANTS_FROM` the seed of the first one. `DICAST_MUTANT_KEEP` says
//! where the file of the last death is kept.
#![cfg_attr(feature = "local", expect(clippy::print_stdout, reason = "says what was tried, and how each ended"))]
#![cfg_attr(
    feature = "local",
    expect(
        clippy::too_many_lines,
        clippy::format_push_string,
        reason = "one list of ways to damage a file, each noted"
    )
)]
#![cfg(all(feature = "local", target_os = "linux"))]
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers without meaning")]

#[path = "support/made_model.rs"]
mod made_model;
#[path = "support/planted_fault.rs"]
mod planted_fault;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dicast::{Judge, JudgeConfig, JudgeRequest};
use made_model::{Random, sentence_piece};

/// Set for the child.
const CHILD: &str = "DICAST_MUTANT_CHILD";
/// Seconds that one file may take.
const PATIENCE: u64 = 120;

fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The positions of things in a file.
#[derive(Default)]
struct Map {
    scalars: Vec<(usize, usize)>,
    strings: Vec<(usize, usize)>,
    /// The position of the count, the item's size (0 for strings), and the end of the array.
    arrays: Vec<(usize, usize, usize)>,
    keys: Vec<(usize, usize)>,
    tensors: Vec<Tensor>,
    header: usize,
}

struct Tensor {
    name: (usize, usize),
    dimensions: usize,
    count: usize,
    kind: usize,
    offset: usize,
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

const SIZES: [usize; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

impl Map {
    fn of(bytes: &[u8]) -> Self {
        let mut map = Self::default();
        let (tensors, pairs) = (u64_at(bytes, 8), u64_at(bytes, 16));
        let mut at = 24;
        for _ in 0..pairs {
            let length = u64_at(bytes, at);
            map.keys.push((at + 8, length));
            at += 8 + length;
            let kind = u32_at(bytes, at);
            at += 4;
            match kind {
                8 => {
                    map.strings.push((at + 8, u64_at(bytes, at)));
                    at += 8 + u64_at(bytes, at);
                }
                9 => {
                    let (item, count, start) = (u32_at(bytes, at), u64_at(bytes, at + 4), at + 4);
                    at += 12;
                    for _ in 0..count {
                        at += if item == 8 { 8 + u64_at(bytes, at) } else { SIZES[item] };
                    }
                    map.arrays.push((start, SIZES[item], at));
                }
                kind => {
                    map.scalars.push((at, SIZES[kind]));
                    at += SIZES[kind];
                }
            }
        }
        for _ in 0..tensors {
            let length = u64_at(bytes, at);
            let name = (at + 8, length);
            at += 8 + length;
            let count = u32_at(bytes, at);
            let dimensions = at + 4;
            at = dimensions + 8 * count;
            map.tensors.push(Tensor { name, dimensions, count, kind: at, offset: at + 4 });
            at += 12;
        }
        map.header = at;
        map
    }
}

/// Numbers at the limits of types and of the format.
const EDGES: [u64; 40] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    511,
    512,
    513,
    1000,
    1023,
    1024,
    2047,
    2048,
    4096,
    65535,
    65536,
    1 << 20,
    1 << 24,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    u64::MAX,
];
const FLOATS: [f32; 10] =
    [0.0, -1.0, 1e30, 1e-30, -1e30, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE];

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Makes a damaged file, and says how.
fn mutate(whole: &[u8], map: &Map, seed: u64) -> (Vec<u8>, String) {
    let mut bytes = whole.to_vec();
    let mut random = Random::new(seed);
    for _ in 0..5 {
        random.next();
    }
    let mut said = String::new();
    for _ in 0..=random.below(2) {
        said += &damage(&mut bytes, map, &mut random);
        if bytes.len() < whole.len() {
            break;
        }
    }
    (bytes, said)
}

fn damage(bytes: &mut Vec<u8>, map: &Map, random: &mut Random) -> String {
    match random.below(14) {
        0 => {
            let count = 1 + random.below(8);
            for _ in 0..count {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            format!("{count} bits; ")
        }
        1 | 2 => {
            let mut said = String::new();
            for _ in 0..=random.below(4) {
                let at = random.below(map.header);
                bytes[at] =
                    if random.below(2) == 0 { random.next() as u8 } else { [0, 255, 1, 128, 127, 64][random.below(6)] };
                said += &format!("header byte {at}={}; ", bytes[at]);
            }
            said
        }
        3 => {
            let length = if random.below(2) == 0 { random.below(bytes.len()) } else { random.below(map.header) };
            bytes.truncate(length);
            format!("cut at {length}; ")
        }
        4..=6 => {
            let (at, size) = map.scalars[random.below(map.scalars.len())];
            let value = match random.below(4) {
                0 => random.next(),
                1 if size == 4 => u64::from(FLOATS[random.below(FLOATS.len())].to_bits()),
                _ => EDGES[random.below(EDGES.len())],
            };
            put(bytes, at, &value.to_le_bytes()[..size]);
            format!("scalar at {at}={value:#x}; ")
        }
        7 | 8 => {
            let tensor = &map.tensors[random.below(map.tensors.len())];
            let name = String::from_utf8_lossy(&bytes[tensor.name.0..tensor.name.0 + tensor.name.1]).into_owned();
            let what = match random.below(6) {
                0 => {
                    let at = tensor.dimensions + 8 * random.below(tensor.count);
                    let value = EDGES[random.below(EDGES.len())];
                    put(bytes, at, &value.to_le_bytes());
                    format!("dimension {value}")
                }
                1 => {
                    let kind = random.below(45) as u32;
                    put(bytes, tensor.kind, &kind.to_le_bytes());
                    format!("type {kind}")
                }
                2 => {
                    let offset = (random.below(bytes.len()) & !31) as u64;
                    put(bytes, tensor.offset, &offset.to_le_bytes());
                    format!("offset {offset}")
                }
                3 => {
                    let at = tensor.name.0 + random.below(tensor.name.1);
                    bytes[at] = b'a' + random.below(26) as u8;
                    "name".to_owned()
                }
                4 => {
                    // The same number of dimensions, declared as more or fewer.
                    let count = random.below(6) as u32;
                    put(bytes, tensor.dimensions - 4, &count.to_le_bytes());
                    format!("{count} dimensions")
                }
                _ => {
                    let first = bytes[tensor.dimensions..tensor.dimensions + 8].to_vec();
                    if tensor.count > 1 {
                        let second = bytes[tensor.dimensions + 8..tensor.dimensions + 16].to_vec();
                        put(bytes, tensor.dimensions, &second);
                        put(bytes, tensor.dimensions + 8, &first);
                    } else {
                        let half = u64::from_le_bytes(first.try_into().unwrap()) / 2;
                        put(bytes, tensor.dimensions, &half.to_le_bytes());
                    }
                    "turned".to_owned()
                }
            };
            format!("tensor {name}: {what}; ")
        }
        9 => {
            let (at, length) = map.strings[random.below(map.strings.len())];
            for _ in 0..=random.below(4) {
                let byte = if random.below(3) > 0 { 32 + random.below(95) as u8 } else { random.next() as u8 };
                put(bytes, at + random.below(length), &[byte]);
            }
            format!("string at {at}; ")
        }
        10 | 11 => {
            let (at, item, end) = map.arrays[random.below(map.arrays.len())];
            let count = u64_at(bytes, at) as u64;
            match random.below(4) {
                0 => {
                    let value = if random.below(2) == 0 {
                        count.wrapping_add(random.next() % 5).wrapping_sub(2)
                    } else {
                        EDGES[random.below(40)]
                    };
                    put(bytes, at, &value.to_le_bytes());
                    format!("array at {at} of {value}; ")
                }
                1 if item > 0 => {
                    // One item is overwritten by another one, or by an edge value.
                    let to = at + 8 + item * random.below(count as usize);
                    let value = EDGES[random.below(EDGES.len())].to_le_bytes();
                    put(bytes, to, &value[..item]);
                    format!("array item at {to}; ")
                }
                _ => {
                    for _ in 0..=random.below(6) {
                        let to = at + 8 + random.below(end - at - 8);
                        bytes[to] = random.next() as u8;
                    }
                    format!("array at {at}: bytes; ")
                }
            }
        }
        12 => {
            let at = map.header + random.below(bytes.len().saturating_sub(map.header));
            let length = (1 + random.below(4096)).min(bytes.len().saturating_sub(at));
            let byte = if random.below(2) == 0 { 255 } else { random.next() as u8 };
            bytes[at..at + length].fill(byte);
            format!("data at {at}, {length} bytes of {byte}; ")
        }
        _ => {
            let (at, length) = map.keys[random.below(map.keys.len())];
            put(bytes, at + random.below(length), &[b'a' + random.below(26) as u8]);
            format!("key at {at}; ")
        }
    }
}

/// Opens a file and judges with it; gives the name of the error and its text.
fn try_out(path: &Path, profile: Option<&Path>) -> String {
    let ended = |error: &dicast::Error| format!("{} {}", error.kind().name(), error.to_string().replace('\n', " "));
    let mut config = JudgeConfig::new(path.to_str().unwrap());
    config.profile = profile.map(Path::to_owned);
    config.local.threads = 1;
    config.local.context_tokens = 0;
    config.local.kv_cache_tokens = 0;
    config.options.max_reasoning_tokens = Some(40);
    config.options.timeout_ms = Some(20_000);
    let request = |short: &str| {
        let responses = [("short", short), ("long", "First of all, read a long book.")];
        JudgeRequest::new("I prefer short answers.", "How do I learn?", responses)
    };
    let judge = match Judge::open(config) {
        Ok(judge) => judge,
        Err(error) => return ended(&error),
    };
    // A character that the SentencePiece vocabulary cannot write.
    let _ = judge.judge(&request("\u{13080} and \u{0}."));
    match judge.judge(&request("Build small projects.")) {
        Ok(verdict) => {
            assert!(verdict.scores.iter().all(|scored| (1.0..=5.0).contains(&scored.score)), "a verdict off its scale");
            "judged".to_owned()
        }
        Err(error) => ended(&error),
    }
}

/// The intact file and its profile's path.
fn model(which: &str) -> (Vec<u8>, PathBuf) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    if which == "demo" {
        return (std::fs::read(demo()).unwrap(), demo().with_extension("profile.json"));
    }
    let profile = folder.join("made.profile.json");
    let mut plain = dicast::Profile::builtin();
    plain.reasoning = None;
    std::fs::write(&profile, plain.to_json()).unwrap();
    (sentence_piece(&[0xf0]), profile)
}

/// The child: opens one file after another and prints the result of each.
#[test]
fn child() {
    let Ok(job) = std::env::var(CHILD) else { return };
    let mut job = job.split(' ');
    let (which, from, to) = (job.next().unwrap(), job.next().unwrap(), job.next().unwrap());
    let (whole, profile) = model(which);
    let map = Map::of(&whole);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("mutant-{which}-{}.gguf", std::process::id()));
    for seed in from.parse::<u64>().unwrap()..to.parse().unwrap() {
        let (bytes, said) = mutate(&whole, &map, seed);
        std::fs::write(&path, &bytes).unwrap();
        // Printed before the file is tried: a death leaves this line without its end.
        println!("\nTRY {seed} {said}");
        println!("\nEND {seed} {}", try_out(&path, Some(&profile)));
    }
    let _ = std::fs::remove_file(&path);
}

/// Runs the children; gives how often each result came, and the deaths.
fn run(which: &str) -> (BTreeMap<String, u64>, Vec<String>) {
    let (first, count) = (number("DICAST_MUTANTS_FROM", 1), number("DICAST_MUTANTS", 300));
    let (mut ends, mut deaths) = (BTreeMap::new(), Vec::new());
    let mut seed = first;
    while seed < first + count {
        let to = (seed + 500).min(first + count);
        // A file that needs more memory than a machine has counts as a death too. A sanitizer reserves far more for
        // itself, and its reports must be kept. `timeout` ends a child that hangs.
        let sanitized = std::env::var_os("DICAST_SANITIZER").is_some();
        let memory = if sanitized { "" } else { "ulimit -v 6000000;" };
        let limit = format!("{memory} exec timeout {} \"$0\" --exact child --nocapture", PATIENCE * 20);
        let mut child = Command::new("bash")
            .args(["-c", &limit])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, format!("{which} {seed} {to}"))
            .stdout(Stdio::piped())
            .stderr(if sanitized { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .unwrap();
        let mut trying = None;
        let mut started = std::time::Instant::now();
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n').map(Result::unwrap) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if let Some(rest) = line.strip_prefix("TRY ") {
                started = std::time::Instant::now();
                trying = Some(rest.to_owned());
            } else if let Some(rest) = line.strip_prefix("END ") {
                let kind = rest.split(' ').nth(1).unwrap_or_default();
                if kind == "internal" || kind == "engine_dead" {
                    println!("{which}: {rest}");
                }
                *ends.entry(kind.to_owned()).or_insert(0) += 1;
                let what = trying.take().unwrap_or_default();
                assert!(started.elapsed().as_secs() < PATIENCE, "{which} {what} took {:?}", started.elapsed());
                seed += 1;
            }
        }
        let status = child.wait().unwrap();
        if let Some(what) = trying {
            println!("{which}: {status}: {what}");
            deaths.push(format!("{status}: {what}"));
            seed += 1;
        } else {
            assert!(seed == to && status.success(), "the child ended at {seed} of {to}: {status}");
        }
    }
    (ends, deaths)
}

fn none_dies(which: &str) {
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    if let Some(place) = std::env::var_os("DICAST_MUTANT_KEEP") {
        let (whole, _) = model(which);
        let (bytes, said) = mutate(&whole, &Map::of(&whole), number("DICAST_MUTANTS_FROM", 1));
        println!("{said}");
        std::fs::write(place, bytes).unwrap();
        return;
    }
    let (ends, deaths) = run(which);
    println!("{which}: {ends:?}, {} deaths", deaths.len());
    assert!(deaths.is_empty(), "{which}: {} deaths:\n{}", deaths.len(), deaths.join("\n"));
    assert_eq!(ends.get("internal"), None, "a damaged model is no fault of the engine");
    assert!(ends.get("invalid_model").is_some_and(|&count| count > 0), "{ends:?}");
}

#[test]
fn no_damaged_byte_pair_model_ends_the_process() {
    none_dies("demo");
}

#[test]
fn no_damaged_sentence_piece_model_ends_the_process() {
    none_dies("made");
}
