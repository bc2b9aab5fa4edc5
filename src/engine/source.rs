//! What a model is: the one place that decides which engine, which profile and which fingerprint go with a name.
//!
//! Nothing is loaded for that: a header, a `config.json` or the name itself is enough.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use crate::checksum::Checksum;
use crate::config::{JudgeConfig, is_url};
#[cfg(any(feature = "local", feature = "trtllm"))]
use crate::engine::isolation::{Model, Table};
use crate::engine::{EngineKind, Opened, Progress, exit};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::{Profile, read_bounded};
use crate::warm;

/// Largest `config.json` of an engine folder.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// A model that was found, but is not opened yet.
pub struct Source {
    name: String,
    place: Place,
}

/// Where a model is.
enum Place {
    /// A model file for the embedded engine.
    File {
        path: PathBuf,
        #[cfg(feature = "local")]
        header: super::local::Header,
    },
    /// A folder with a TensorRT-LLM engine.
    EngineFolder(PathBuf),
    /// A server, by its URL.
    Server,
}

impl Source {
    /// Finds out what `model` is: a `.gguf` file, a folder with a TensorRT-LLM engine, or an http(s) URL. Reads headers
    /// only.
    ///
    /// # Errors
    /// [`ErrorKind::ModelNotFound`] if nothing is there, [`ErrorKind::InvalidModel`] if it is not a model,
    /// [`ErrorKind::Unsupported`] for a name on the model hub, which the command line resolves to a file.
    pub fn find(model: &str) -> Result<Self> {
        let source = |place| Self { name: model.to_owned(), place };
        if is_url(model) {
            return Ok(source(Place::Server));
        }
        if model.starts_with("hf:") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{model}: the library does not download models: `dicast judge --model {model}` fetches it once"
                ),
            ));
        }
        let path = Path::new(model);
        match std::fs::metadata(path) {
            Ok(file) if file.is_dir() => folder(path).map(source),
            Ok(file) if !file.is_file() => Err(Error::new(
                ErrorKind::InvalidModel,
                format!("{model} is no regular file: a model must be a file or a folder on a disk"),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(not_found(model)),
            // Reading its header finds anything else that is wrong.
            _ => file(path).map(source),
        }
    }

    /// Which engine opens it.
    pub fn engine(&self) -> EngineKind {
        match self.place {
            Place::File { .. } => EngineKind::Local,
            Place::EngineFolder(_) => EngineKind::Trtllm,
            Place::Server => EngineKind::Remote,
        }
    }

    /// Its place on this machine; `None` for a server.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File { path, .. } | Place::EngineFolder(path) => Some(path),
            Place::Server => None,
        }
    }

    /// The profile to judge by: the one in the file `chosen`, else the one beside the model, else the built-in one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] if a profile cannot be read, and for a `RewardAnything` model without one, with
    /// the command that makes it.
    pub fn profile(&self, chosen: Option<&Path>) -> Result<Profile> {
        self.profile_by(chosen, None)
    }

    /// The profile to judge by, with the parts that the configuration sets: its chat template and the template's variables.
    ///
    /// # Errors
    /// Those of [`Self::profile`]; [`ErrorKind::InvalidConfig`] if the file of the template cannot be read.
    pub fn profile_for(&self, config: &JudgeConfig) -> Result<Profile> {
        let template = Profile::builtin().overridden(config)?.chat_template;
        self.profile_by(config.profile.as_deref(), template.as_deref())?.overridden(config)
    }

    /// The profile; `template` is used instead of the model's own.
    #[cfg_attr(
        not(feature = "local"),
        expect(unused_variables, reason = "only the header of a model file is looked at")
    )]
    fn profile_by(&self, chosen: Option<&Path>, template: Option<&str>) -> Result<Profile> {
        match (chosen, &self.place) {
            (Some(chosen), _) => Profile::load(chosen),
            #[cfg(feature = "local")]
            (None, Place::File { path, header }) => {
                let names = ["general.name", "general.basename"].map(|key| header.text(key).unwrap_or_default());
                let profile = Profile::for_model(path, &names)?;
                // The built-in profile is for any model: however it marks its reasoning, and even if it does not
                // reason.
                if profile != Profile::builtin() || Profile::lies_beside(path) {
                    return Ok(profile);
                }
                let template = template.or(header.text("tokenizer.chat_template")).unwrap_or_default();
                Ok(Profile::builtin_for(&|token| header.has_special(token), template))
            }
            #[cfg(not(feature = "local"))]
            (None, Place::File { path, .. }) => Profile::for_model(path, &[]),
            (None, Place::EngineFolder(path)) => Profile::for_model(path, &[]),
            (None, Place::Server) => Ok(Profile::builtin()),
        }
    }

    /// What distinguishes this model from others wherever it is: its size, and a checksum of samples from all over it; of a
    /// folder, those of each file in it; of a server, its URL. JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the model cannot be read.
    pub fn fingerprint(&self) -> Result<Value> {
        match &self.place {
            Place::File { path, .. } => fingerprint_of_file(path),
            Place::EngineFolder(path) => fingerprint_of_folder(path),
            Place::Server => Ok(json!({ "url": self.name })),
        }
    }

    /// As [`Self::fingerprint`], for results and profiles: of a folder one checksum for all of its files, of a server one for its
    /// URL.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the model cannot be read.
    pub fn brief_fingerprint(&self) -> Result<Value> {
        let whole = self.fingerprint()?;
        if matches!(self.place, Place::File { .. }) {
            return Ok(whole);
        }
        let mut checksum = Checksum::default();
        checksum.add(whole.to_string().as_bytes());
        Ok(json!({ "checksum": checksum.to_string() }))
    }

    /// Like [`Self::fingerprint`], with the time at which each file was written: the sampled bytes may not include a
    /// change.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the model cannot be read.
    pub(crate) fn stamp(&self) -> Result<Value> {
        let files = match &self.place {
            #[cfg(feature = "local")]
            Place::File { header, .. } => header.files().to_vec(),
            #[cfg(not(feature = "local"))]
            Place::File { path } => vec![path.clone()],
            Place::EngineFolder(path) => files_in(path)?,
            Place::Server => Vec::new(),
        };
        let written = |path: &PathBuf| {
            let time = std::fs::metadata(path).and_then(|file| Ok((file.len(), file.modified()?)));
            let (bytes, time) =
                time.map_err(|error| Error::new(ErrorKind::Io, format!("cannot read {}: {error}", path.display())))?;
            let time = time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
            Ok(json!({ "path": path, "bytes": bytes, "written": time.to_string() }))
        };
        let files = files.iter().map(written).collect::<Result<Vec<_>>>()?;
        Ok(json!({ "model": self.fingerprint()?, "files": files }))
    }

    /// Loads it.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if this build has no engine for it, naming the feature; else the engine's own.
    pub fn open(self, config: &JudgeConfig, profile: &Profile) -> Result<Opened> {
        self.open_watched(config, profile, &Progress::default())
    }

    /// Like [`Self::open`], with progress reports.
    ///
    /// # Errors
    /// Those of [`Self::open`]; [`ErrorKind::Cancelled`] if `progress` ends it.
    pub fn open_watched(self, config: &JudgeConfig, profile: &Profile, progress: &Progress) -> Result<Opened> {
        warm::warm();
        progress.check(0.0)?;
        let _busy = exit::Busy::begin().ok_or_else(Error::closed)?;
        exit::register();
        let opened = self.load(config, profile, progress)?;
        exit::watch(Arc::downgrade(&opened.engine))?;
        progress.check(1.0).inspect_err(|_| opened.engine.close())?;
        Ok(opened)
    }

    #[cfg_attr(
        not(any(feature = "local", feature = "remote")),
        expect(unused_variables, reason = "without an engine nothing is loaded")
    )]
    fn load(self, config: &JudgeConfig, profile: &Profile, progress: &Progress) -> Result<Opened> {
        match self.place {
            #[cfg(feature = "local")]
            Place::File { ref path, ref header } if config.local.is_isolated() => {
                let place = path.display().to_string();
                let text = || super::local::text::parts(header, &place, profile);
                let fingerprint = fingerprint_of_file(path)?;
                let model = Model { table: Table::Local, place: place.clone(), fingerprint, config, profile };
                super::isolated::open(model, text)
            }
            #[cfg(feature = "local")]
            Place::File { path, header } => super::local::open(&path, header, config, profile, progress),
            #[cfg(not(feature = "local"))]
            Place::File { path } => {
                let _ = (config, profile);
                Err(missing(path.display(), "model files need the embedded engine", "local"))
            }
            #[cfg(feature = "trtllm")]
            Place::EngineFolder(ref path) if config.trtllm.is_isolated() => {
                let text = || super::trtllm::text_parts(path, config);
                let (place, fingerprint) = (path.display().to_string(), fingerprint_of_folder(path)?);
                super::isolated::open(Model { table: Table::Trtllm, place, fingerprint, config, profile }, text)
            }
            #[cfg(feature = "trtllm")]
            Place::EngineFolder(path) => super::trtllm::open(&path, config, profile),
            #[cfg(not(feature = "trtllm"))]
            Place::EngineFolder(path) => {
                let what = "a folder with a TensorRT-LLM engine needs the TensorRT-LLM engine";
                Err(missing(path.display(), what, "trtllm"))
            }
            #[cfg(feature = "remote")]
            Place::Server => super::remote::open(&self.name, config, profile, progress),
            #[cfg(not(feature = "remote"))]
            Place::Server => Err(missing(self.name, "judging through a server needs the remote engine", "remote")),
        }
    }
}

/// Opens the model of a configuration with the profile that goes with it.
///
/// # Errors
/// Those of [`Source::find`], [`Source::profile_for`] and [`Source::open`].
pub fn open(config: &JudgeConfig) -> Result<(Profile, Opened)> {
    let source = Source::find(&config.model)?;
    let profile = source.profile_for(config)?;
    let opened = source.open(config, &profile)?;
    Ok((profile, opened))
}

/// The error for an engine that this build lacks.
#[cfg(not(all(feature = "local", feature = "trtllm", feature = "remote")))]
fn missing(place: impl std::fmt::Display, what: &str, feature: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{place}: {what}: build with the feature `{feature}`"))
}

/// The error if nothing is there. A name on the model hub looks like a path, so the error gives the name that works.
fn not_found(model: &str) -> Error {
    let is_file = Path::new(model).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    let on_hub = model.split('/').count() == 2 && !model.starts_with(['.', '/', '~']) && !is_file;
    let hint = if on_hub { format!("; did you mean hf:{model}?") } else { String::new() };
    Error::new(ErrorKind::ModelNotFound, format!("{model}: there is no such model file{hint}"))
}

#[cfg(feature = "local")]
fn file(path: &Path) -> Result<Place> {
    Ok(Place::File { path: path.to_owned(), header: super::local::Header::read(path)? })
}

#[cfg(not(feature = "local"))]
#[expect(clippy::unnecessary_wraps, reason = "the signature of the build that reads headers")]
fn file(path: &Path) -> Result<Place> {
    Ok(Place::File { path: path.to_owned() })
}

/// A folder: a TensorRT-LLM engine, complete or not, or something else; then the error says how to get a model from
/// what it holds.
fn folder(path: &Path) -> Result<Place> {
    let place = path.display();
    let entries = std::fs::read_dir(path)
        .map_err(|error| Error::new(ErrorKind::Io, format!("{place}: cannot be read: {error}")))?;
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let with = |ending: &str| names.iter().find(|name| name.ends_with(ending));
    let is_built = || {
        let config = read_bounded(&path.join("config.json"), MAX_CONFIG_BYTES).unwrap_or_default();
        serde_json::from_slice::<Value>(&config).is_ok_and(|config| config.get("build_config").is_some())
    };
    if with(".engine").is_some() || is_built() {
        return Ok(Place::EngineFolder(path.to_owned()));
    }
    let advice = match (with(".gguf"), with(".safetensors")) {
        (Some(file), _) => format!("name the .gguf file in it: {}", path.join(file).display()),
        (None, Some(_)) => format!(
            "it holds a model for training frameworks. Convert it with llama.cpp, and make it smaller:\n  python3 \
             convert_hf_to_gguf.py {place} --outfile model-bf16.gguf\n  llama-quantize model-bf16.gguf model.gguf Q8_0"
        ),
        (None, None) => "the embedded engine takes a .gguf file, the TensorRT-LLM engine a folder that trtllm-build \
                         wrote"
            .into(),
    };
    Err(Error::new(ErrorKind::InvalidModel, format!("{place} is a folder: {advice}")))
}

fn files_in(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path)
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read {}: {error}", path.display())))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    Ok(files)
}

fn fingerprint_of_folder(path: &Path) -> Result<Value> {
    let files = files_in(path)?;
    let named = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, fingerprint_of_file(file)?))
    };
    files.iter().map(named).collect::<Result<Map<_, _>>>().map(Value::Object)
}

/// As [`Source::fingerprint`], of one file.
pub(super) fn fingerprint_of_file(path: &Path) -> Result<Value> {
    const SAMPLES: u64 = 64;
    const SAMPLE_BYTES: u64 = 16 << 10;
    let read = || -> io::Result<Value> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut checksum = Checksum::default();
        let mut sample = Vec::new();
        for index in 0..SAMPLES {
            file.seek(SeekFrom::Start(size / SAMPLES * index))?;
            sample.clear();
            (&file).take(SAMPLE_BYTES).read_to_end(&mut sample)?;
            checksum.add(&sample);
        }
        Ok(json!({ "bytes": size, "checksum": checksum.to_string() }))
    };
    read().map_err(|error| Error::new(ErrorKind::Io, format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty folder that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("dicast-source-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn find(&self, files: &[(&str, &str)]) -> Result<Source> {
            for entry in std::fs::read_dir(&self.0).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
            for (name, text) in files {
                std::fs::write(self.0.join(name), text).unwrap();
            }
            Source::find(self.0.to_str().unwrap())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[track_caller]
    fn says(source: Result<Source>, kind: ErrorKind, words: &[&str]) {
        let Err(error) = source else { panic!("it was found") };
        assert_eq!(error.kind(), kind, "{error}");
        assert!(words.iter().all(|word| error.message().contains(word)), "{error}");
    }

    #[test]
    fn engine_folders_are_known_whole_or_not() {
        let folder = Folder::new("engine");
        for files in [
            &[("config.json", "{}"), ("rank0.engine", "x")][..],
            &[("rank1.engine", "")],
            &[("config.json", "{\"build_config\": {}}")],
        ] {
            let source = folder.find(files).unwrap();
            assert_eq!(source.engine(), EngineKind::Trtllm);
            assert_eq!(source.profile(None).unwrap(), Profile::builtin());
            assert!(source.fingerprint().unwrap().get(files[0].0).is_some());
        }
    }

    #[test]
    fn other_folders_say_what_to_do() {
        let folder = Folder::new("other");
        says(folder.find(&[]), ErrorKind::InvalidModel, &["folder", ".gguf", "trtllm-build"]);
        says(folder.find(&[("m.gguf", "")]), ErrorKind::InvalidModel, &["name the .gguf file in it", "m.gguf"]);
        let weights = [("config.json", "{\"model_type\": \"qwen3\"}"), ("model.safetensors", "x")];
        says(folder.find(&weights), ErrorKind::InvalidModel, &["convert_hf_to_gguf.py", "llama-quantize"]);
    }

    #[test]
    fn what_is_not_there_is_said_so() {
        says(Source::find("no/such/model.gguf"), ErrorKind::ModelNotFound, &["no/such/model.gguf"]);
        says(Source::find("owner/repo"), ErrorKind::ModelNotFound, &["did you mean hf:owner/repo?"]);
        says(Source::find("hf:owner/repo"), ErrorKind::Unsupported, &["dicast judge --model hf:owner/repo"]);
        says(Source::find("/dev/null"), ErrorKind::InvalidModel, &["no regular file"]);
    }

    #[test]
    fn a_url_is_a_server() {
        let source = Source::find("https://judge.example/v1").unwrap();
        assert_eq!((source.engine(), source.path()), (EngineKind::Remote, None));
        #[cfg(not(feature = "remote"))]
        {
            let Err(error) = source.open(&JudgeConfig::new("x"), &Profile::builtin()) else { panic!("it was opened") };
            assert!(error.message().contains("feature `remote`"), "{error}");
        }
    }

    #[cfg(not(feature = "trtllm"))]
    #[test]
    fn an_engine_that_is_not_built_in_is_named() {
        let source = Folder::new("unbuilt").find(&[("rank1.engine", "")]).unwrap();
        let Err(error) = source.open(&JudgeConfig::new("x"), &Profile::builtin()) else { panic!("it was opened") };
        assert!(error.message().contains("feature `trtllm`"), "{error}");
    }
}
