//! Prefixes that a folder keeps for the next start: on a model with two lanes of one judgment each, on a model with several
//! judgments in a lane, and in a worker process.
#![cfg(all(feature = "local", unix))]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dicast::config::Isolation;
use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Level, Log, Sleep, Verdict};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/dicast-demo.gguf");
const PRINCIPLE: &str = "Prefer short answers. Where two are of one length, prefer the one that names its sources.";

/// The demonstration judge, small enough to run in lanes.
fn small() -> JudgeConfig {
    let mut config = JudgeConfig::new(DEMO);
    config.local.threads = 2;
    config
}

/// A judge with several judgments at once in a lane.
fn large() -> JudgeConfig {
    let mut config = JudgeConfig::new(support::fixture("tiny-qwen3.gguf").to_str().unwrap());
    config.options.max_reasoning_tokens = Some(12);
    config.local.context_tokens = 4096;
    config.local.threads = 1;
    config
}

/// A folder of a test's own, which is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dicast-prefixes-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    /// Its entries, by name.
    fn entries(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    /// The one file in it.
    fn file(&self) -> PathBuf {
        let mut entries = self.entries();
        assert_eq!(entries.len(), 1, "{entries:?}");
        entries.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A judge, and what it has to say.
struct Watched {
    judge: Judge,
    lines: Arc<Mutex<Vec<(Level, String)>>>,
}

impl Watched {
    fn open(config: &JudgeConfig, folder: Option<&Folder>) -> Self {
        let mut config = config.clone();
        config.local.prefix_dir = folder.map(|folder| folder.0.clone());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = lines.clone();
        let log = Log::new(Level::Info, move |level, line| to.lock().unwrap().push((level, line.to_owned())));
        Self { judge: Judge::open_logged(config, log).unwrap(), lines }
    }

    fn judge(&self, principle: &str, salt: &str) -> Verdict {
        self.judge.judge(&request(principle, salt)).unwrap()
    }

    /// What it has said of prefixes, at this level.
    fn said(&self, level: Level) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let of_prefixes = lines.iter().filter(|(at, line)| *at == level && line.contains("local.prefix_dir"));
        of_prefixes.map(|(_, line)| line.clone()).collect()
    }

    /// Closes it: everything is written then.
    fn close(self) -> Self {
        self.judge.close();
        self
    }
}

fn request(principle: &str, salt: &str) -> JudgeRequest {
    let responses = [("a", format!("Text {salt}.")), ("b", format!("A longer text on {salt}, without a source."))];
    JudgeRequest::new(principle, format!("What is {salt}?"), responses)
}

fn prefix(principle: &str) -> JudgeRequest {
    JudgeRequest::new(principle, "", [("", ""); 0])
}

/// What must be equal to the bit.
fn bits(verdict: &Verdict) -> (String, Vec<usize>, Vec<u64>) {
    let scores = verdict.scores.iter().flat_map(|scored| scored.distribution.iter().flatten());
    (verdict.raw.clone(), verdict.ranking.clone(), scores.map(|probability| probability.to_bits()).collect())
}

/// The same verdict up to the last bits, which depend on how a prompt falls into steps, and on where its keys and values lie.
#[track_caller]
fn assert_alike(one: &Verdict, other: &Verdict) {
    assert_eq!((&one.raw, &one.ranking), (&other.raw, &other.ranking));
    for (one, other) in one.scores.iter().zip(&other.scores) {
        let pairs = one.distribution.iter().flatten().zip(other.distribution.iter().flatten());
        assert!(pairs.into_iter().all(|(one, other)| (one - other).abs() < 1e-3), "{one:?} {other:?}");
    }
}

#[test]
fn the_second_start_reads_what_the_first_one_has_computed() {
    for config in [small(), large()] {
        let folder = Folder::new();
        let without = Watched::open(&config, None);
        let (whole, after) = (without.judge("Be brief.", "rain"), without.judge(PRINCIPLE, "snow"));
        assert_eq!(whole.usage.reused_tokens, 0);

        let first = Watched::open(&config, Some(&folder));
        // The first judgment computes what it would compute without a folder, and so does the second one.
        assert_eq!(bits(&first.judge("Be brief.", "rain")), bits(&whole));
        let second = first.judge(PRINCIPLE, "snow");
        assert_eq!(bits(&second), bits(&after));
        let first = first.close();
        assert_eq!(first.said(Level::Info).len(), 1, "{:?}", first.said(Level::Info));
        let file = folder.file();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);

        let third = Watched::open(&config, Some(&folder));
        let verdict = third.judge(PRINCIPLE, "snow");
        let reused = verdict.usage.reused_tokens;
        assert!(reused >= 16, "{reused} tokens");
        assert_eq!(third.judge.stats().reused_tokens, reused as u64);
        // The second judgment of a process reuses a token more.
        assert_alike(&verdict, &second);
        println!("{reused} tokens from the file, {} in the process", second.usage.reused_tokens);
        let again = Watched::open(&config, Some(&folder)).judge(PRINCIPLE, "snow");
        assert_eq!(bits(&again), bits(&verdict), "every start is like the other");
        // In every lane.
        let many: Vec<_> = (0..16).map(|index| request(PRINCIPLE, &format!("wind {index}"))).collect();
        assert!(third.judge.judge_batch(&many).into_iter().all(|each| each.unwrap().usage.reused_tokens >= reused));
        let third = third.close();
        assert!(third.said(Level::Warn).is_empty() && third.said(Level::Info)[0].contains("read"));
        assert_eq!(folder.file(), file, "nothing else was written");
    }
}

#[test]
fn what_was_pinned_is_read_and_not_computed() {
    let mut alone = small();
    alone.local.threads = 1;
    for (config, has_one_lane) in [(alone, true), (small(), false), (large(), true)] {
        let folder = Folder::new();
        let first = Watched::open(&config, Some(&folder));
        let pinned = first.judge.warm(&prefix(PRINCIPLE)).unwrap();
        let verdict = first.judge(PRINCIPLE, "rain");
        assert!(verdict.usage.reused_tokens + 1 >= pinned.tokens());
        first.close();

        let second = Watched::open(&config, Some(&folder));
        let again = second.judge.warm(&prefix(PRINCIPLE)).unwrap();
        assert_eq!(again.tokens(), pinned.tokens());
        assert_eq!(second.judge.stats().computed_tokens, 0);
        let same = second.judge(PRINCIPLE, "rain");
        assert_eq!(same.usage.reused_tokens, verdict.usage.reused_tokens);
        assert_eq!(bits(&same), bits(&verdict));
        // Asked for again, it is there.
        drop(again);
        let third = second.judge.warm(&prefix(PRINCIPLE)).unwrap();
        let last = second.judge(PRINCIPLE, "rain");
        if has_one_lane {
            assert_eq!(bits(&last), bits(&verdict));
        } else {
            // A lane that has not judged has read the beginning of all prompts too, which then lies before this one.
            assert_alike(&last, &verdict);
        }
        drop(third);
        assert!(second.close().said(Level::Warn).is_empty());
    }
}

/// Puts something else in the place of the one file of a folder.
type Harm = fn(&Path);

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_that_is_not_exactly_what_was_written_is_not_used() {
    let harms: &[(&str, Harm, &str)] = &[
        ("mark", |path| change(path, |bytes| bytes[0] ^= 1), "another model, build or prefix"),
        ("layout", |path| change(path, |bytes| bytes[7] += 1), "another model, build or prefix"),
        ("model", |path| change(path, |bytes| bytes[40] ^= 1), "another model, build or prefix"),
        ("first byte of the keys", |path| change(path, |bytes| flip_state(bytes)), "checksum"),
        ("last byte of the values", |path| change(path, |bytes| flip(bytes, 9)), "checksum"),
        ("checksum", |path| change(path, |bytes| flip(bytes, 1)), "checksum"),
        ("cut", |path| change(path, |bytes| bytes.truncate(bytes.len() / 2)), "bytes instead of"),
        ("cut by one", |path| change(path, |bytes| bytes.truncate(bytes.len() - 1)), "bytes instead of"),
        ("longer", |path| change(path, |bytes| bytes.push(0)), "bytes instead of"),
        ("empty", |path| change(path, Vec::clear), "0 bytes instead of"),
        ("sparse and huge", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap(), "bytes instead of"),
        ("zeroes", |path| change(path, |bytes| bytes.fill(0)), "another model, build or prefix"),
        ("link", link, "is a link"),
        ("pipe", pipe, "no regular file"),
        ("unlocked", |path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o666)).unwrap(), "by others"),
    ];
    let config = small();
    let folder = Folder::new();
    let expected = bits(&Watched::open(&config, None).judge(PRINCIPLE, "rain"));
    Watched::open(&config, Some(&folder)).judge(PRINCIPLE, "rain");
    let (file, good) = (folder.file(), std::fs::read(folder.file()).unwrap());
    for (name, harm, words) in harms {
        harm(&file);
        let watched = Watched::open(&config, Some(&folder));
        let verdict = watched.judge(PRINCIPLE, "rain");
        assert_eq!((verdict.usage.reused_tokens, bits(&verdict)), (0, expected.clone()), "{name}");
        let said = watched.close().said(Level::Warn);
        assert!(said.len() == 1 && said[0].contains(words), "{name}: {said:?}");
        // It was replaced.
        assert!(std::fs::symlink_metadata(&file).unwrap().is_file(), "{name}");
        assert_eq!(std::fs::read(&file).unwrap(), good, "{name}");
        for other in folder.entries().iter().filter(|entry| **entry != file) {
            std::fs::remove_file(other).unwrap();
        }
    }
    let watched = Watched::open(&config, Some(&folder));
    assert!(watched.judge(PRINCIPLE, "rain").usage.reused_tokens > 0);
    assert!(watched.close().said(Level::Warn).is_empty());
}

/// Changes the byte so far from the end.
fn flip(bytes: &mut [u8], from_end: usize) {
    let at = bytes.len() - from_end;
    bytes[at] ^= 0x10;
}

/// Changes a byte in the middle, which is one of a key or a value.
fn flip_state(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x80;
}

/// A link to a valid file.
fn link(path: &Path) {
    let other = path.with_extension("elsewhere");
    std::fs::rename(path, &other).unwrap();
    symlink(&other, path).unwrap();
}

fn pipe(path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_valid_file_of_another_model_or_prefix_is_not_used() {
    let folder = Folder::new();
    let elsewhere = Folder::new();
    std::fs::create_dir_all(&elsewhere.0).unwrap();
    let copied = elsewhere.0.join("copy.gguf");
    std::fs::copy(DEMO, &copied).unwrap();
    let mut other = small();
    other.model = copied.display().to_string();
    other.profile = Some(Path::new(DEMO).with_extension("profile.json"));

    // Files of both models, of the same tokens.
    Watched::open(&small(), Some(&folder)).judge(PRINCIPLE, "rain");
    let file = folder.file();
    let watched = Watched::open(&other, Some(&folder));
    assert_eq!(watched.judge(PRINCIPLE, "rain").usage.reused_tokens, 0, "each model has its own");
    watched.close();
    let of_other = folder.entries().into_iter().find(|path| *path != file).unwrap();
    std::fs::copy(&of_other, &file).unwrap();
    let watched = Watched::open(&small(), Some(&folder));
    assert_eq!(watched.judge(PRINCIPLE, "rain").usage.reused_tokens, 0);
    let said = watched.close().said(Level::Warn);
    assert!(said.len() == 1 && said[0].contains(" instead of ") || said[0].contains("another model"), "{said:?}");

    // The same file with other weights, and the same size.
    let before = Watched::open(&other, Some(&folder)).judge(PRINCIPLE, "rain").usage.reused_tokens;
    change(&copied, |bytes| flip(bytes, 1000));
    let after = Watched::open(&other, Some(&folder)).judge(PRINCIPLE, "rain").usage.reused_tokens;
    assert!(before > 0 && after == 0, "{before} tokens, then {after}");

    // Another prefix of the same length under this name.
    let (one, two) = (Folder::new(), Folder::new());
    for (folder, principle) in [(&one, "Prefer red."), (&two, "Prefer tan.")] {
        let watched = Watched::open(&small(), Some(folder));
        drop(watched.judge.warm(&prefix(principle)).unwrap());
    }
    std::fs::copy(two.file(), one.file()).unwrap();
    let watched = Watched::open(&small(), Some(&one));
    let computed = watched.judge.warm(&prefix("Prefer red.")).unwrap().tokens();
    assert!(watched.judge.stats().computed_tokens >= computed as u64);
    assert_eq!(watched.said(Level::Warn).len(), 1, "{:?}", watched.said(Level::Warn));
}

#[test]
fn where_nothing_can_be_read_or_written_judging_goes_on() {
    let expected = bits(&Watched::open(&small(), None).judge(PRINCIPLE, "rain"));
    let folder = Folder::new();
    std::fs::write(&folder.0, "a file").unwrap();
    for path in [&folder.0, &PathBuf::from("/proc/no/such")] {
        let mut config = small();
        config.local.prefix_dir = Some(path.clone());
        let watched = Watched::open(&config, Some(&Folder(path.clone())));
        assert_eq!(bits(&watched.judge(PRINCIPLE, "rain")), expected);
        assert_eq!(watched.said(Level::Warn).len(), 1, "{}", path.display());
        let path = path.display().to_string();
        assert!(watched.judge.warnings().iter().any(|warning| warning.contains(&path)));
        std::fs::write(&folder.0, "a file").unwrap();
    }
    std::fs::remove_file(&folder.0).unwrap();

    // A folder is where the file would be.
    Watched::open(&small(), Some(&folder)).judge(PRINCIPLE, "rain");
    let file = folder.file();
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in it")).unwrap();
    let watched = Watched::open(&small(), Some(&folder));
    assert_eq!(bits(&watched.judge(PRINCIPLE, "rain")), expected);
    let said = watched.close().said(Level::Warn);
    assert!(
        said.len() == 2 && said[0].contains("no regular file") && said[1].contains("cannot be written"),
        "{said:?}"
    );
    assert_eq!(folder.file(), file, "no unfinished file is left");

    // The folder is gone.
    let watched = Watched::open(&small(), Some(&folder));
    std::fs::remove_dir_all(&folder.0).unwrap();
    assert_eq!(bits(&watched.judge(PRINCIPLE, "rain")), expected);
    assert!(watched.close().said(Level::Warn)[0].contains("cannot be written"));
}

#[test]
fn the_folder_is_bounded_and_the_oldest_go_first() {
    let folder = Folder::new();
    Watched::open(&small(), Some(&folder)).judge(PRINCIPLE, "rain");
    let base = folder.file();
    let size = base.metadata().unwrap().len();
    let mut config = small();
    config.local.prefix_dir_bytes = 1 << 20;
    let most = config.local.prefix_dir_bytes;
    let foreign = folder.0.join("notes.txt");
    std::fs::write(&foreign, vec![0; 2 << 20]).unwrap();
    // Left over from a process that was killed.
    let part = base.with_extension("prefix.1-0.part");
    std::fs::write(&part, "x").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    std::fs::File::options().write(true).open(&part).unwrap().set_modified(long_ago).unwrap();

    let prefixes: Vec<String> = (0..4 + 2 * most / size).map(|number| format!("Principle {number}.")).collect();
    for principle in &prefixes {
        let watched = Watched::open(&config, Some(&folder));
        drop(watched.judge.warm(&prefix(principle)).unwrap());
        // It is used each time, so that it stays.
        watched.judge("Be brief.", "rain");
        let said = watched.close().said(Level::Warn);
        assert!(said.is_empty(), "{said:?}");
        let files = folder.entries().into_iter().filter(|path| *path != foreign);
        let taken: u64 = files.map(|path| path.metadata().unwrap().len()).sum();
        assert!(taken <= most, "{taken} of {most} bytes");
    }
    assert!(base.exists() && foreign.exists() && !part.exists());
    let read = |principle: &String| {
        let watched = Watched::open(&config, Some(&folder));
        drop(watched.judge.warm(&prefix(principle)).unwrap());
        watched.judge.stats().computed_tokens == 0
    };
    assert!(read(prefixes.last().unwrap()) && !read(&prefixes[0]));

    // One that is larger than all may be.
    let mut config = large();
    config.local.prefix_dir_bytes = 1 << 20;
    let watched = Watched::open(&config, Some(&folder));
    drop(watched.judge.warm(&prefix(&PRINCIPLE.repeat(150))).unwrap());
    let said = watched.close().said(Level::Warn);
    assert!(said.len() == 1 && said[0].contains("local.prefix_dir_bytes"), "{said:?}");
}

#[test]
fn a_judge_that_sleeps_wakes_with_it_and_other_weights_have_their_own() {
    let folder = Folder::new();
    let elsewhere = Folder::new();
    std::fs::create_dir_all(&elsewhere.0).unwrap();
    let copied = elsewhere.0.join("copy.gguf");
    std::fs::copy(DEMO, &copied).unwrap();
    let watched = Watched::open(&small(), Some(&folder));
    let expected = bits(&watched.judge(PRINCIPLE, "rain"));
    let judge = &watched.judge;
    judge.sleep(&Sleep::default()).unwrap();
    judge.wake().unwrap();
    let awake = watched.judge(PRINCIPLE, "rain");
    assert!(awake.usage.reused_tokens > 0);
    assert_eq!((&awake.raw, &awake.ranking), (&expected.0, &expected.1));
    judge.reload(copied.to_str(), &Sleep::default()).unwrap();
    let reloaded = watched.judge(PRINCIPLE, "rain");
    assert_eq!((reloaded.usage.reused_tokens, bits(&reloaded)), (0, expected));
    watched.close();
    assert_eq!(folder.entries().len(), 2);
}

#[test]
fn a_worker_process_uses_it_and_its_lines_reach_the_log() {
    let folder = Folder::new();
    let mut config = small();
    config.local.isolation = Some(Isolation::Process);
    config.local.worker_path = Some(PathBuf::from(env!("CARGO_BIN_EXE_dicast")));
    let expected = bits(&Watched::open(&config, Some(&folder)).judge(PRINCIPLE, "rain"));
    let watched = Watched::open(&config, Some(&folder));
    let verdict = watched.judge(PRINCIPLE, "rain");
    assert!(verdict.usage.reused_tokens > 0);
    assert_eq!((&verdict.raw, &verdict.ranking), (&expected.0, &expected.1));
    assert!(watched.close().said(Level::Info)[0].contains("read"));
    // The other side reads it too.
    let here = Watched::open(&small(), Some(&folder));
    assert_eq!(here.judge(PRINCIPLE, "rain").usage.reused_tokens, verdict.usage.reused_tokens);
    here.close();
    change(&folder.file(), |bytes| flip(bytes, 1));
    let watched = Watched::open(&config, Some(&folder));
    assert_eq!(bits(&watched.judge(PRINCIPLE, "rain")), expected);
    let said = watched.said(Level::Warn);
    assert!(said.len() == 1 && said[0].contains("checksum"), "{said:?}");
}

#[test]
fn processes_that_write_at_the_same_time_do_not_disturb_each_other() {
    let folder = Folder::new();
    let settings = Folder::new();
    std::fs::create_dir_all(&settings.0).unwrap();
    let place = |name: &str| settings.0.join(name);
    let config = serde_json::json!({
        "model": DEMO, "local": { "prefix_dir": &folder.0, "threads": 1, "isolation": "none" }
    });
    std::fs::write(place("config.json"), config.to_string()).unwrap();
    std::fs::write(place("request.json"), serde_json::to_string(&request(PRINCIPLE, "rain")).unwrap()).unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dicast"));
        command.arg("judge").arg(place("request.json")).arg("--config").arg(place("config.json")).arg("--json");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let expected = Watched::open(&small(), None).judge(PRINCIPLE, "rain").raw;
    let mut all: Vec<_> = (0..6).map(|_| start()).collect();
    // One is killed in the middle.
    std::thread::sleep(Duration::from_millis(60));
    all.remove(0).kill().unwrap();
    for process in all {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["raw"], expected);
    }
    let whole =
        folder.entries().iter().filter(|path| path.extension().is_some_and(|ending| ending == "prefix")).count();
    assert_eq!(whole, 1, "{:?}", folder.entries());
    let watched = Watched::open(&small(), Some(&folder));
    watched.judge(PRINCIPLE, "rain");
    assert!(watched.close().said(Level::Warn).is_empty());
}

#[test]
fn a_judgment_that_needs_all_the_room_gets_it() {
    let folder = Folder::new();
    let mut config = small();
    // One lane whose pool holds one context.
    (config.local.threads, config.options.max_reasoning_tokens) = (1, Some(1600));
    let expected = bits(&Watched::open(&config, None).judge(PRINCIPLE, "rain"));
    Watched::open(&config, Some(&folder)).judge(PRINCIPLE, "rain");
    let watched = Watched::open(&config, Some(&folder));
    let reused = watched.judge(PRINCIPLE, "rain").usage.reused_tokens;
    let mut long = request("The longest answer wins.", "length");
    while watched.judge.count(&long).is_ok_and(|count| count.fits()) {
        long.prompt += " word";
    }
    long.prompt.truncate(long.prompt.len() - " word".len());
    watched.judge.judge(&long).unwrap();
    // It shares the beginning of all prompts, which so stays.
    let after = watched.judge(PRINCIPLE, "rain");
    assert!(after.usage.reused_tokens >= reused);
    assert_eq!((&after.raw, &after.ranking), (&expected.0, &expected.1));
    assert!(watched.close().said(Level::Warn).is_empty());
}

#[test]
fn a_prefix_is_not_read_beside_a_judgment_that_computes_it() {
    let folder = Folder::new();
    let [principle, other] =
        [PRINCIPLE, "Prefer long answers, and of two that are long the one that is better written."]
            .map(|principle| format!("{principle} ").repeat(40));
    let mut config = large();
    // Steps so small that a prompt takes many of them.
    (config.local.batch_tokens, config.options.max_reasoning_tokens) = (32, Some(300));
    let tokens = Watched::open(&config, None).judge.warm(&prefix(&principle)).unwrap().tokens();
    // The pool holds two judgments, and not a prefix besides.
    config.local.context_tokens = u32::try_from(tokens).unwrap() + 600;
    config.local.kv_cache_tokens = 2 * config.local.context_tokens;
    let first = Watched::open(&config, Some(&folder));
    first.judge.warm(&prefix(&principle)).unwrap();
    first.close();

    let watched = Watched::open(&config, Some(&folder));
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| watched.judge.judge(&request(&principle, "rain")));
        while watched.judge.stats().computed_tokens == 0 && !computing.is_finished() {
            std::thread::yield_now();
        }
        let pinned = watched.judge.warm(&prefix(&principle)).unwrap();
        let beside = watched.judge.judge(&request(&other, "snow"));
        computing.join().unwrap().unwrap();
        beside.unwrap();
        drop(pinned);
    });
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let mut config = small();
    config.local.prefix_dir = Some(PathBuf::from("x"));
    config.local.deterministic = true;
    let error = Judge::open(config.clone()).err().unwrap();
    assert!(error.kind() == ErrorKind::InvalidConfig && error.message().contains("local.deterministic"), "{error}");
    config.local.deterministic = false;
    config.local.prefix_dir = Some(PathBuf::new());
    assert!(Judge::open(config).err().unwrap().message().contains("local.prefix_dir is empty"));
}
