//! Models from the Hugging Face hub: `hf:OWNER/REPO[@REVISION][:FILE or QUANTIZATION]`, fetched into the hub's own cache.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` mean what they mean to the hub's other clients.
//! An interrupted download continues where it stopped; without a network, files in the cache are used.

mod choose;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use dicast::{Error, ErrorKind};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, note};

/// How many tries of one file in a row may bring no data; after a try that brings some, the count starts again.
const TRIES: u32 = 5;

/// The longest wait for a busy hub, each time and in all.
const MOST_WAIT: Duration = Duration::from_secs(120);
const MOST_WAIT_IN_ALL: Duration = Duration::from_secs(300);

/// A model on the hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `owner/repo`.
    repo: String,
    /// Branch, tag or commit.
    revision: String,
    /// A file name or a quantization, if given.
    selector: Option<String>,
}

impl FromStr for Reference {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let (place, selector) = match text.split_once(':') {
            Some((place, selector)) => (place, Some(selector)),
            None => (text, None),
        };
        let (repo, revision) = place.split_once('@').unwrap_or((place, "main"));
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        let named = repo.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name));
        if !named || revision.is_empty() || revision.contains("..") || selector == Some("") {
            return Err(Failure::new(
                ErrorKind::InvalidConfig,
                format!("hf:{text} does not name a model: write hf:OWNER/REPO[@REVISION][:FILE or QUANTIZATION]"),
            ));
        }
        Ok(Self { repo: repo.into(), revision: revision.into(), selector: selector.map(Into::into) })
    }
}

/// Fetches a model with all its parts, and the profile beside it if there is one. Returns the path of its first part.
pub(crate) fn fetch(reference: &Reference) -> Result<PathBuf, Failure> {
    let hub = Hub::open(reference)?;
    let files = hub.list()?;
    let parts = choose::model(&files, reference.selector.as_deref()).map_err(|message| {
        let failure = Failure::new(ErrorKind::ModelNotFound, format!("hf:{}: {message}", reference.repo));
        let has = |ending: &str| files.iter().any(|file| file.ends_with(ending));
        if has(".safetensors") && !has(".gguf") {
            failure.hint(super::model::how_to_convert("FOLDER"))
        } else {
            failure
        }
    })?;
    let profile = choose::profile(&files, parts[0]);
    let mut paths = Vec::new();
    for file in parts.into_iter().chain(profile) {
        paths.push(hub.file(file)?);
    }
    Ok(paths.swap_remove(0))
}

/// One repository of the hub, and its place in the cache.
struct Hub<'a> {
    reference: &'a Reference,
    api: Api,
    remote: ApiRepo,
    cache: Cache,
    token: Option<String>,
    /// Whether no request may be made.
    offline: bool,
    /// Bytes fetched so far.
    received: Rc<Cell<usize>>,
    /// How long we have waited for a busy hub so far.
    waited: Cell<Duration>,
}

impl<'a> Hub<'a> {
    fn open(reference: &'a Reference) -> Result<Self, Failure> {
        let cache = Cache::new(cache_dir()?);
        // hf-hub itself reads only the token's file.
        let token = variable("HF_TOKEN").map(|token| token.trim().to_owned()).or_else(|| cache.token());
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_token(token.clone());
        if let Some(endpoint) = variable("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
        }
        let api = builder.build().map_err(|error| Failure::new(ErrorKind::Network, error.to_string()))?;
        let remote = api.repo(reference.to_repo());
        let (received, waited) = (Rc::default(), Cell::default());
        Ok(Self { reference, api, remote, cache, token, offline: is_offline(), received, waited })
    }

    /// The files of the repository: as the hub lists them, or, without a network, those in the cache.
    fn list(&self) -> Result<Vec<String>, Failure> {
        if self.offline {
            let cached = self.cached();
            return if cached.is_empty() { Err(self.not_cached(None)) } else { Ok(cached) };
        }
        let mut tries = 0;
        let error = loop {
            tries += 1;
            match self.remote.info() {
                Ok(info) => {
                    let names = info.siblings.into_iter().map(|file| file.rfilename);
                    return Ok(names.filter(|name| is_inside(name)).collect());
                }
                Err(error) if tries < TRIES && is_busy(&error) => self.wait(&error, tries, &self.list_url())?,
                Err(error) => break error,
            }
        };
        let cached = if is_unreachable(&error) { self.cached() } else { Vec::new() };
        if cached.is_empty() {
            return Err(self.explain(&error, None));
        }
        note("note: the hub cannot be reached; files in the cache are used\n");
        Ok(cached)
    }

    fn list_url(&self) -> String {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        format!("{}/api/{}", endpoint.trim_end_matches('/'), self.reference.to_repo().api_url())
    }

    /// Waits as long as a busy hub asks, or, if it does not say, a little longer each time; the total wait is bounded.
    fn wait(&self, error: &ApiError, tries: u32, url: &str) -> Result<(), Failure> {
        let wait = self.retry_after(url).unwrap_or(Duration::from_millis(250 << tries));
        let waited = self.waited.get() + wait;
        if wait > MOST_WAIT || waited > MOST_WAIT_IN_ALL {
            return Err(Failure::new(
                ErrorKind::Network,
                format!("hf:{}: the hub is busy and asks to wait for {} s", self.reference.repo, wait.as_secs()),
            )
            .hint("run the same command again later; with an HF_TOKEN the hub allows more requests"));
        }
        self.waited.set(waited);
        note(&format!("note: the hub is busy ({error}); waiting for {:.1} s\n", wait.as_secs_f64()));
        std::thread::sleep(wait);
        Ok(())
    }

    /// How long the hub asks to wait. The error of a request does not hold this, so another request is made to learn it.
    fn retry_after(&self, url: &str) -> Option<Duration> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        let mut request = ureq::Agent::new_with_config(config).get(url).header("Range", "bytes=0-0");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = request.call().ok()?;
        if !matches!(response.status().as_u16(), 429 | 503) {
            // It has recovered.
            return Some(Duration::ZERO);
        }
        let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// The failure if something is not in the cache while no request may be made.
    fn not_cached(&self, file: Option<&str>) -> Failure {
        let Reference { repo, revision, .. } = self.reference;
        let what = file.map_or_else(|| format!("hf:{repo}@{revision}"), |file| format!("hf:{repo}@{revision}:{file}"));
        Failure::new(ErrorKind::ModelNotFound, format!("{what} is not in the cache, and HF_HUB_OFFLINE is set"))
            .hint("unset HF_HUB_OFFLINE to fetch it")
    }

    /// The files of this revision that are in the cache.
    fn cached(&self) -> Vec<String> {
        let folder = self.cache.path().join(self.reference.to_repo().folder_name());
        let mut files = Vec::new();
        walk(&folder.join("snapshots").join(self.commit()), "", &mut files);
        files
    }

    /// The commit of the revision, by the cache; a revision may be a commit itself.
    fn commit(&self) -> String {
        let folder = self.cache.path().join(self.reference.to_repo().folder_name());
        let commit = std::fs::read_to_string(folder.join("refs").join(&self.reference.revision));
        commit.map_or_else(|_| self.reference.revision.clone(), |commit| commit.trim().to_owned())
    }

    /// One file, from the cache or the hub.
    fn file(&self, name: &str) -> Result<PathBuf, Failure> {
        if self.offline {
            let repo = self.cache.repo(self.reference.to_repo());
            let path = repo.pointer_path(&self.commit()).join(name);
            return if path.is_file() { Ok(path) } else { Err(self.not_cached(Some(name))) };
        }
        let mut tries = 0;
        loop {
            let before = self.received.get();
            let outcome = self.try_file(name);
            tries = if self.received.get() > before { 1 } else { tries + 1 };
            match outcome {
                Ok(path) => return Ok(path),
                Err(error) if tries < TRIES && is_busy(&error) => self.wait(&error, tries, &self.remote.url(name))?,
                Err(error) if tries < TRIES && is_passing(&error) => {
                    note(&format!("note: the download of {name} was interrupted ({error}); continuing\n"));
                    std::thread::sleep(Duration::from_millis(250 << tries));
                }
                Err(error) => {
                    let cached = self.cache.repo(self.reference.to_repo()).get(name);
                    return cached.filter(|_| is_unreachable(&error)).ok_or_else(|| self.explain(&error, Some(name)));
                }
            }
        }
    }

    fn try_file(&self, name: &str) -> Result<PathBuf, ApiError> {
        let metadata = self.api.metadata(&self.remote.url(name))?;
        let (etag, commit, size) = (metadata.etag(), metadata.commit_hash(), metadata.size() as u64);
        if !is_inside(etag) || !is_inside(commit) {
            return Err(ApiError::InvalidHeader("etag"));
        }
        let repo = self.cache.repo(self.reference.to_repo());
        let (blob, pointer) = (repo.blob_path(etag), repo.pointer_path(commit).join(name));
        let is_whole = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() == size);
        if is_whole(&pointer) {
            return Ok(pointer);
        }
        // The file of that name in the cache is cut or was replaced, but hf-hub would use it as it is.
        if pointer.symlink_metadata().is_ok() {
            std::fs::remove_file(&pointer)?;
        }
        if is_whole(&blob) {
            // The same content under an older commit: no need to fetch it again, as hf-hub would.
            pointer.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::hard_link(&blob, &pointer)?;
            repo.create_ref(commit)?;
            return Ok(pointer);
        }
        trim_part(&blob, size)?;
        let path = self.remote.download_with_progress(name, Bar::new(self.received.clone()))?;
        if !is_whole(&path) {
            // A server that ignores ranges answers with the whole file, which is then appended to the part.
            std::fs::remove_file(&path)?;
            std::fs::remove_file(&blob)?;
            return Err(ApiError::InvalidResume);
        }
        Ok(path)
    }

    /// The hub's answer as an error for the user.
    fn explain(&self, error: &ApiError, file: Option<&str>) -> Failure {
        let Reference { repo, revision, .. } = self.reference;
        let what = file.map_or_else(|| format!("hf:{repo}@{revision}"), |file| format!("hf:{repo}@{revision}:{file}"));
        match (status(error), error) {
            (Some(code @ (401 | 403)), _) => {
                let failure = Failure::new(
                    ErrorKind::ModelNotFound,
                    format!("{what}: the hub refuses access (status {code}), or there is no such repository"),
                );
                failure.hint(if self.token.is_some() {
                    "the token in use may lack access: ask for it on the model's page, or set another HF_TOKEN"
                } else {
                    "check the name; for a private or gated model set HF_TOKEN"
                })
            }
            (Some(404), _) => Failure::new(ErrorKind::ModelNotFound, format!("{what}: not found on the hub"))
                .hint("check owner, repository, revision and file"),
            (_, ApiError::LockAcquisition(path)) => Failure::new(
                ErrorKind::Io,
                format!("{what}: another process is fetching it (it holds {})", path.display()),
            )
            .hint("wait until it is done, then run the same command again"),
            (_, ApiError::IoError(io)) if !is_passing(error) => {
                Failure::io(format_args!("{what}: cannot fetch it"), io)
            }
            _ => Failure::new(ErrorKind::Network, format!("{what}: cannot fetch it: {error}"))
                .hint("run the same command again: an interrupted download continues where it stopped"),
        }
    }
}

impl Reference {
    fn to_repo(&self) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, self.revision.clone())
    }
}

/// Prepares the part of an interrupted download: hf-hub asks for the bytes after it, and a server fails if there are none.
fn trim_part(blob: &Path, size: u64) -> std::io::Result<()> {
    let part = blob.with_extension("part");
    match std::fs::metadata(&part) {
        Ok(file) if file.len() >= size && size > 0 => {
            std::fs::OpenOptions::new().write(true).open(&part)?.set_len(size - 1)
        }
        _ => Ok(()),
    }
}

/// The cache of the hub's clients.
fn cache_dir() -> Result<PathBuf, Failure> {
    if let Some(cache) = variable("HF_HUB_CACHE") {
        return absolute(Path::new(&cache));
    }
    if let Some(home) = variable("HF_HOME") {
        return absolute(&Path::new(&home).join("hub"));
    }
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or_else(|| {
        Error::new(ErrorKind::InvalidConfig, "there is no home folder to keep models in: set HF_HOME to a folder")
    })?;
    Ok(home.join(".cache/huggingface/hub"))
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::io(format_args!("cannot use {}", path.display()), &error))
}

/// An environment variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Whether a name from the hub stays inside the folder it is put in.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && !name.contains('\\') && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// The status that the hub answered with, if that is what went wrong.
fn status(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::RequestError(request) => match request.as_ref() {
            ureq::Error::StatusCode(code) => Some(*code),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the hub gave no answer at all.
fn is_unreachable(error: &ApiError) -> bool {
    matches!(error, ApiError::RequestError(_)) && status(error).is_none()
}

/// Whether no request may be made; the variable is read as by the hub's own clients.
fn is_offline() -> bool {
    variable("HF_HUB_OFFLINE")
        .is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str()))
}

/// Whether the hub asks to come back later.
fn is_busy(error: &ApiError) -> bool {
    matches!(status(error), Some(429 | 503))
}

/// Whether trying again may help.
fn is_passing(error: &ApiError) -> bool {
    use std::io::ErrorKind as Io;
    match error {
        ApiError::RequestError(_) => status(error).is_some_and(|code| code == 429 || code >= 500),
        // Errors of the response body are reported as I/O errors, like those of the file that it is written to.
        ApiError::IoError(io) => {
            matches!(
                io.kind(),
                Io::UnexpectedEof | Io::ConnectionReset | Io::ConnectionAborted | Io::TimedOut | Io::Other
            )
        }
        ApiError::InvalidResume => true,
        _ => false,
    }
}

/// Collects the files under a folder by their path inside it.
fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}

/// The progress of one download: a bar on a terminal, nothing elsewhere (as indicatif has it).
struct Bar {
    shown: Option<ProgressBar>,
    received: Rc<Cell<usize>>,
    /// Whether the next count is that of bytes from an earlier try.
    resuming: bool,
}

impl Bar {
    fn new(received: Rc<Cell<usize>>) -> Self {
        Self { shown: None, received, resuming: false }
    }
}

impl hf_hub::api::Progress for Bar {
    /// Called again on each connection, before the bytes that are there already are counted.
    fn init(&mut self, size: usize, filename: &str) {
        self.resuming = true;
        let bar = self.shown.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left");
            ProgressBar::new(size as u64)
                .with_style(style.expect("a valid template"))
                .with_message(format!("fetching {filename}"))
        });
        bar.reset();
    }

    fn update(&mut self, size: usize) {
        if !std::mem::take(&mut self.resuming) {
            self.received.set(self.received.get().wrapping_add(size));
        }
        if let Some(bar) = &self.shown {
            bar.inc(size as u64);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_or_refused() {
        let read = |text: &str| text.parse::<Reference>().ok();
        let reference = |repo: &str, revision: &str, selector: Option<&str>| {
            Some(Reference { repo: repo.into(), revision: revision.into(), selector: selector.map(Into::into) })
        };
        assert_eq!(read("a/b"), reference("a/b", "main", None));
        assert_eq!(read("a/b.c:Q8_0"), reference("a/b.c", "main", Some("Q8_0")));
        assert_eq!(read("a/b@v1:sub/x.gguf"), reference("a/b", "v1", Some("sub/x.gguf")));
        for bad in ["", "a", "a/", "/b", "a/b/c", "a/b:", "a/b@", "../b", "a/..", "a b/c", "a/b@../../x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_stay_inside() {
        assert!(is_inside("a/b.gguf"));
        for bad in ["", "/a", "../a", "a/../b", "a//b", "./a", "a\\b"] {
            assert!(!is_inside(bad), "{bad}");
        }
    }
}
