//! What `--model` names, and opening it.

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use dicast::engine::source::Source;
use dicast::{ErrorKind, Judge, JudgeConfig};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, hub};

/// Loading is mentioned only if it takes longer than this.
const QUIET: Duration = Duration::from_secs(1);

/// What kind of model it is, found before it is opened; a model on the hub is fetched.
pub(crate) fn find(model: &str) -> Result<Source, Failure> {
    Ok(Source::find(&locate(model)?)?)
}

/// The model as the library names it; a model on the hub is fetched.
pub(crate) fn locate(model: &str) -> Result<String, Failure> {
    if let Some(reference) = model.strip_prefix("hf:") {
        let path = hub::fetch(&reference.parse()?)?;
        return path.into_os_string().into_string().map_err(|path| {
            Failure::new(ErrorKind::ModelNotFound, format!("the cache path {} is not UTF-8", path.display()))
        });
    }
    if is_repository(model) && !Path::new(model).exists() {
        let message = format!("{model}: there is no such file or folder");
        return Err(Failure::new(ErrorKind::ModelNotFound, message).hint(format!("did you mean hf:{model}?")));
    }
    Ok(model.to_owned())
}

/// Whether a name may be one of a repository on the hub: `owner/repo`.
fn is_repository(name: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('.')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let gguf = Path::new(name).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    !gguf && name.split_once('/').is_some_and(|(owner, repository)| word(owner) && word(repository))
}

/// Opens a judge and fetches its model if needed; on a terminal it says so if loading takes a while.
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

/// The commands that make a GGUF file from a folder of weights.
pub(super) fn how_to_convert(folder: &str) -> String {
    format!(
        "llama.cpp converts it and makes it smaller:\n  python3 convert_hf_to_gguf.py {folder} --outfile model-bf16.gguf\n  \
         llama-quantize model-bf16.gguf model.gguf Q8_0"
    )
}
