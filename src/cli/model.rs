//! What `--model` names, and opening it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use dicast::{ErrorKind, Judge, JudgeConfig};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::checksum::Checksum;
use super::{Failure, hub};

/// Loading is not worth a word before this.
const QUIET: Duration = Duration::from_secs(1);

/// The model as a path on this machine, fetched where it lies on the hub.
pub(crate) fn locate(model: &str) -> Result<String, Failure> {
    if let Some(reference) = model.strip_prefix("hf:") {
        let path = hub::fetch(&reference.parse()?)?;
        return path.into_os_string().into_string().map_err(|path| {
            Failure::new(ErrorKind::ModelNotFound, format!("the cache path {} is not UTF-8", path.display()))
        });
    }
    if model.starts_with("http://") || model.starts_with("https://") {
        return Err(Failure::new(
            ErrorKind::Unsupported,
            format!("{model}: judging through a server needs the remote engine, which is not part of this release"),
        )
        .hint("give a .gguf file, or hf:OWNER/REPO to fetch one"));
    }
    Ok(model.to_owned())
}

/// Opens a judge, its model fetched where need be; says so on a terminal where loading takes a while.
pub(crate) fn open(mut config: JudgeConfig) -> Result<Judge, Failure> {
    config.model = locate(&config.model)?;
    if !io::stderr().is_terminal() {
        return Ok(Judge::open(config)?);
    }
    let message = format!("loading {}", config.model);
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(QUIET) == Err(mpsc::RecvTimeoutError::Timeout) {
                let spinner = ProgressBar::new_spinner().with_message(message);
                spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"));
                spinner.enable_steady_tick(Duration::from_millis(100));
                let _ = waiting.recv();
                spinner.finish_and_clear();
            }
        });
        let judge = Judge::open(config);
        drop(done);
        Ok(judge?)
    })
}

/// What tells a model from another whatever its path is: its size, and a checksum of samples from all over it; of a
/// folder, those of each file in it.
pub(crate) fn fingerprint(path: &Path) -> Result<Value, Failure> {
    if !path.is_dir() {
        return fingerprint_of_file(path);
    }
    let entries =
        std::fs::read_dir(path).map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    let named = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, fingerprint_of_file(file)?))
    };
    files.iter().map(|file| named(file)).collect::<Result<serde_json::Map<_, _>, _>>().map(Value::Object)
}

fn fingerprint_of_file(path: &Path) -> Result<Value, Failure> {
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
    read().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(ErrorKind::ModelNotFound, format!("{}: there is no such model file", path.display()))
        }
        _ => Failure::io(format_args!("cannot read {}", path.display()), &error),
    })
}
