//! Fetching models, from a local server with the hub's paths.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use super::support::{Folder, Ran, dicast, model_bytes};

/// What the server holds, and how it behaves.
#[derive(Default)]
struct Repository {
    files: BTreeMap<String, Vec<u8>>,
    commit: String,
    /// The token that requests must have.
    token: Option<String>,
    /// For each coming download, after how many bytes the connection is cut.
    cuts: Vec<usize>,
    /// Answers a request for a range with the whole file, as some proxies do.
    ignores_ranges: bool,
    /// For each coming request, the status and `Retry-After` with which it is refused.
    busy: Vec<(u16, &'static str)>,
    /// Requests of any kind.
    requests: usize,
    /// Every download: file and first byte.
    downloads: Vec<(String, usize)>,
}

struct Hub {
    address: String,
    repository: Arc<Mutex<Repository>>,
    home: Folder,
}

impl Hub {
    fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let repository = Arc::new(Mutex::new(Repository {
            files: files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect(),
            commit: "c0ffee".into(),
            ..Repository::default()
        }));
        let (served, place) = (repository.clone(), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, place) = (served.clone(), place.clone());
                std::thread::spawn(move || answer(stream, &served, &place));
            }
        });
        Self { address, repository, home: Folder::new() }
    }

    fn repository(&self) -> MutexGuard<'_, Repository> {
        self.repository.lock().unwrap()
    }

    /// `dicast profile show`: it fetches a model and reads the profile beside it, and needs no engine.
    fn command(&self, model: &str) -> Command {
        let mut command = dicast(["profile", "show", "--model", model]);
        command.env("HF_ENDPOINT", &self.address).env("HF_HOME", self.home.path("home"));
        command
    }

    fn fetch(&self, model: &str) -> Ran {
        self.command(model).output().unwrap().into()
    }

    /// A file in the cache.
    fn cached(&self, name: &str) -> Vec<u8> {
        let commit = self.repository().commit.clone();
        let path = self.home.path("home/hub/models--owner--judge/snapshots").join(commit).join(name);
        std::fs::read(path).unwrap()
    }

    fn downloads(&self) -> Vec<(String, usize)> {
        std::mem::take(&mut self.repository().downloads)
    }
}

/// Answers one request as the hub does: files are redirected to the place of their bytes.
fn answer(mut stream: TcpStream, repository: &Mutex<Repository>, place: &str) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut held = repository.lock().unwrap();
    let mut respond = |status: &str, headers: &str, body: &[u8], length: usize| {
        let start = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(start.as_bytes()).and_then(|()| stream.write_all(body)).ok()
    };
    held.requests += 1;
    if !held.busy.is_empty() {
        let (status, after) = held.busy.remove(0);
        let after = if after.is_empty() { String::new() } else { format!("Retry-After: {after}\r\n") };
        return respond(&format!("{status} Busy"), &after, b"", 0);
    }
    let asked = held.token.as_ref().map(|token| format!("Bearer {token}"));
    if asked.is_some() && !path.starts_with("/bytes/") && headers.get("authorization") != asked.as_ref() {
        return respond("401 Unauthorized", "", b"", 0);
    }
    if path == "/api/models/owner/judge/revision/main" {
        let files: Vec<_> = held.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let body = serde_json::json!({ "sha": held.commit, "siblings": files }).to_string();
        return respond("200 OK", "Content-Type: application/json\r\n", body.as_bytes(), body.len());
    }
    if let Some(name) = path.strip_prefix("/owner/judge/resolve/main/") {
        let Some(content) = held.files.get(name) else { return respond("404 Not Found", "", b"", 0) };
        let headers = format!(
            "Location: {place}/bytes/{name}\r\nX-Repo-Commit: {}\r\nX-Linked-Etag: \"{}\"\r\n",
            held.commit,
            tag(content)
        );
        return respond("302 Found", &headers, b"", 0);
    }
    if let Some(name) = path.strip_prefix("/bytes/") {
        let content = held.files.get(name)?.clone();
        let range = headers.get("range")?.strip_prefix("bytes=")?.to_owned();
        let (first, last) = range.split_once('-')?;
        let is_probe = last == "0";
        let mut first: usize = first.parse().ok()?;
        if first >= content.len() {
            return respond("416 Range Not Satisfiable", "", b"", 0);
        }
        if !is_probe {
            held.downloads.push((name.to_owned(), first));
            if held.ignores_ranges {
                first = 0;
            }
        }
        let body = if is_probe { &content[..1] } else { &content[first..] };
        let sent = if is_probe || held.cuts.is_empty() { body.len() } else { held.cuts.remove(0).min(body.len()) };
        let headers = format!("Content-Range: bytes {first}-{}/{}\r\n", first + body.len() - 1, content.len());
        return respond("206 Partial Content", &headers, &body[..sent], body.len());
    }
    respond("404 Not Found", "", b"", 0)
}

/// An entity tag: equal for equal content.
fn tag(content: &[u8]) -> String {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn profile() -> Vec<u8> {
    br#"{"format": 1, "name": "fetched", "system_prompt": "Judge."}"#.to_vec()
}

#[test]
fn a_model_comes_with_its_profile() {
    let model = model_bytes();
    let hub = Hub::start(&[
        ("README.md", b"#"),
        ("judge-Q8_0.gguf", &model),
        ("judge-F16.gguf", b"other"),
        ("judge-Q8_0.profile.json", &profile()),
    ]);
    let ran = hub.fetch("hf:owner/judge").succeeds();
    assert!(ran.stdout.contains("\"name\": \"fetched\""), "{ran:?}");
    assert_eq!(hub.cached("judge-Q8_0.gguf"), model);
    assert_eq!(hub.downloads().len(), 2);

    // A file in the cache is not fetched again.
    hub.fetch("hf:owner/judge:Q8_0").succeeds();
    assert_eq!(hub.downloads(), []);

    // Nor is it if only other files changed in the repository.
    hub.repository().commit = "decaf".into();
    hub.fetch("hf:owner/judge").succeeds();
    assert_eq!(hub.downloads(), []);
    assert_eq!(hub.cached("judge-Q8_0.gguf"), model);
}

#[test]
fn a_cut_download_goes_on_where_it_stopped() {
    let model = model_bytes();
    let hub = Hub::start(&[("judge.gguf", &model)]);
    hub.repository().cuts = vec![100_000, 0, 150_000];
    let ran = hub.fetch("hf:owner/judge:judge.gguf").succeeds();
    assert!(ran.stderr.contains("was interrupted"), "{ran:?}");
    assert_eq!(hub.cached("judge.gguf"), model);
    let starts: Vec<usize> = hub.downloads().into_iter().map(|(_, first)| first).collect();
    assert_eq!(starts, [0, 100_000, 100_000, 250_000]);
}

#[test]
fn a_download_that_was_killed_goes_on_with_the_same_command() {
    let model = model_bytes();
    let hub = Hub::start(&[("judge.gguf", &model)]);
    let blobs = hub.home.path("home/hub/models--owner--judge/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.part", tag(&model)));
    for (there, start) in [(&model[..120_000], 120_000), (&model[..], model.len() - 1)] {
        std::fs::write(&part, there).unwrap();
        hub.fetch("hf:owner/judge").succeeds();
        assert_eq!(hub.cached("judge.gguf"), model);
        assert_eq!(hub.downloads(), [("judge.gguf".to_owned(), start)]);
        std::fs::remove_dir_all(hub.home.path("home/hub/models--owner--judge/snapshots")).unwrap();
        std::fs::remove_file(blobs.join(tag(&model))).unwrap();
    }
}

#[test]
fn a_server_that_ignores_ranges_does_no_harm() {
    let model = model_bytes();
    let hub = Hub::start(&[("judge.gguf", &model)]);
    hub.repository().ignores_ranges = true;
    hub.repository().cuts = vec![100_000];
    hub.fetch("hf:owner/judge").succeeds();
    assert_eq!(hub.cached("judge.gguf"), model);
}

#[test]
fn a_download_that_brings_nothing_fails_and_says_what_to_do() {
    let hub = Hub::start(&[("judge.gguf", &model_bytes())]);
    hub.repository().cuts = vec![0; 9];
    hub.fetch("hf:owner/judge")
        .fails(1, &["owner/judge@main:judge.gguf", "cannot fetch", "run the same command again"]);
    assert_eq!(hub.downloads().len(), 5);
}

#[test]
fn access_is_asked_for_with_a_token() {
    let hub = Hub::start(&[("judge.gguf", &model_bytes()), ("dicast-profile.json", &profile())]);
    hub.repository().token = Some("secret".into());
    hub.fetch("hf:owner/judge").fails(2, &["refuses access (status 401)", "HF_TOKEN"]);
    let with_token =
        |token: &str| -> Ran { hub.command("hf:owner/judge").env("HF_TOKEN", token).output().unwrap().into() };
    with_token("wrong").fails(2, &["401", "another HF_TOKEN"]);
    assert!(with_token("secret").succeeds().stdout.contains("fetched"));

    // The token that the hub's own clients have stored.
    std::fs::remove_dir_all(hub.home.path("home/hub")).unwrap();
    std::fs::write(hub.home.path("home/token"), "secret\n").unwrap();
    hub.fetch("hf:owner/judge").succeeds();
}

#[test]
fn what_is_not_there_is_named() {
    let hub = Hub::start(&[("a-F16.gguf", b"a"), ("b-F16.gguf", b"b")]);
    hub.fetch("hf:owner/other").fails(2, &["hf:owner/other@main", "not found on the hub"]);
    hub.fetch("hf:owner/judge@v2").fails(2, &["owner/judge@v2"]);
    hub.fetch("hf:owner/judge").fails(2, &["several models", "a-F16.gguf, b-F16.gguf"]);
    hub.fetch("hf:owner/judge:Q4_0").fails(2, &["no model is named Q4_0", "a-F16.gguf"]);
    hub.fetch("hf:judge").fails(2, &["hf:OWNER/REPO"]);
}

#[test]
fn all_parts_of_a_split_model_come() {
    let hub = Hub::start(&[
        ("judge-00001-of-00002.gguf", &model_bytes()),
        ("judge-00002-of-00002.gguf", b"two"),
        ("dicast-profile.json", &profile()),
    ]);
    assert!(hub.fetch("hf:owner/judge").succeeds().stdout.contains("fetched"));
    assert_eq!(hub.cached("judge-00002-of-00002.gguf"), b"two");
}

#[test]
fn without_a_network_the_cache_serves() {
    let hub = Hub::start(&[("judge.gguf", &model_bytes()), ("judge.profile.json", &profile())]);
    hub.fetch("hf:owner/judge").succeeds();
    // A port that nothing listens on.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let offline = |model: &str| -> Ran {
        hub.command(model).env("HF_ENDPOINT", format!("http://{closed}")).output().unwrap().into()
    };
    let ran = offline("hf:owner/judge").succeeds();
    assert!(ran.stdout.contains("fetched") && ran.stderr.contains("cannot be reached"), "{ran:?}");
    offline("hf:owner/unknown").fails(1, &["owner/unknown", "cannot fetch"]);
}

#[test]
fn offline_means_no_request_at_all() {
    let hub = Hub::start(&[("judge.gguf", &model_bytes()), ("judge.profile.json", &profile())]);
    let offline = |model: &str| -> Ran { hub.command(model).env("HF_HUB_OFFLINE", "1").output().unwrap().into() };
    offline("hf:owner/judge").fails(2, &["owner/judge@main is not in the cache", "HF_HUB_OFFLINE"]);
    assert_eq!(hub.repository().requests, 0);
    hub.fetch("hf:owner/judge").succeeds();
    let before = hub.repository().requests;
    let ran = offline("hf:owner/judge").succeeds();
    assert!(ran.stdout.contains("fetched") && ran.stderr.is_empty(), "{ran:?}");
    offline("hf:owner/judge@c0ffee").succeeds();
    offline("hf:owner/judge:Q4_0").fails(2, &["no model is named Q4_0"]);
    assert_eq!(hub.repository().requests, before);
}

#[test]
fn a_busy_hub_is_waited_for_as_long_as_it_asks() {
    let hub = Hub::start(&[("judge.gguf", &model_bytes()), ("judge.profile.json", &profile())]);
    // The list: refused twice; the second answer says how long to wait.
    hub.repository().busy = vec![(429, "1"), (429, "1")];
    let started = std::time::Instant::now();
    let ran = hub.fetch("hf:owner/judge").succeeds();
    assert!(ran.stderr.contains("the hub is busy"), "{ran:?}");
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));

    hub.repository().busy = vec![(503, ""), (503, "100000")];
    hub.fetch("hf:owner/judge").fails(1, &["asks to wait for 100000 s", "HF_TOKEN"]);
}

#[test]
fn models_of_other_kinds_are_named_with_what_to_do() {
    let hub = Hub::start(&[("model.safetensors", b"x"), ("config.json", b"{}")]);
    hub.fetch("hf:owner/judge").fails(2, &["no .gguf model", "convert_hf_to_gguf.py", "llama-quantize"]);
    hub.fetch("owner/judge").fails(2, &["no such file", "did you mean hf:owner/judge?"]);
    let folder = Folder::new();
    folder.file("model.safetensors", b"x");
    let folder = folder.path("");
    hub.fetch(folder.to_str().unwrap()).fails(2, &["is a folder", "convert_hf_to_gguf.py", "llama-quantize"]);
}
