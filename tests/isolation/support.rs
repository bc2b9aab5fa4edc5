//! Judges in worker processes, and helpers to look at processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dicast::config::Isolation;
use dicast::{Judge, JudgeConfig, JudgeRequest, Verdict};

/// The demonstration judge, which writes a verdict in a few milliseconds.
pub(crate) fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/dicast-demo.gguf")
}

pub(crate) fn config(isolation: Isolation) -> JudgeConfig {
    config_of(&model(), isolation)
}

pub(crate) fn config_of(model: &Path, isolation: Isolation) -> JudgeConfig {
    let mut config = JudgeConfig::new(model.to_str().unwrap());
    config.local.isolation = Some(isolation);
    config.local.worker_path = Some(PathBuf::from(env!("CARGO_BIN_EXE_dicast")));
    config.local.threads = 1;
    config
}

pub(crate) fn open(isolation: Isolation) -> Judge {
    Judge::open(config(isolation)).unwrap()
}

pub(crate) fn request(salt: usize) -> JudgeRequest {
    JudgeRequest::new(
        "Prefer short answers.",
        format!("How do I learn Python, attempt {salt}?"),
        [
            ("short", "Build small projects.".to_owned()),
            ("long", format!("First of all, one should consider that there are {salt} ways to do that, each its own.")),
        ],
    )
}

/// What must be equal on both sides: everything except times and reuse.
pub(crate) fn essence(verdict: &Verdict) -> String {
    let bits = |distribution: &Option<Vec<f64>>| {
        distribution.iter().flatten().map(|probability| probability.to_bits()).collect::<Vec<_>>()
    };
    let scores: Vec<_> =
        verdict.scores.iter().map(|scored| (&scored.name, scored.score, bits(&scored.distribution))).collect();
    format!("{scores:?} {:?} {:?} {:?}", verdict.ranking, verdict.raw, verdict.flags)
}

/// The processes that `parent` has started and that have not ended.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|&process| stat(process).is_some_and(|(state, of)| of == parent && state != 'Z'))
        .collect()
}

/// A process's state, and its parent.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_alive(process: u32) -> bool {
    stat(process).is_some_and(|(state, _)| state != 'Z')
}

/// Zombies of this process.
pub(crate) fn zombies() -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|&process| stat(process) == Some(('Z', std::process::id()))).count()
}

pub(crate) fn kill(process: u32, signal: &str) {
    let _ = std::process::Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).output();
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "it never came that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder that is removed when it is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dicast-isolation-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
