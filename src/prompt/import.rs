//! Reading a trained system prompt out of the reference system's package.

use std::io::{Cursor, Read};
use std::path::Path;

use zip::ZipArchive;

use super::profile::{Profile, read_bounded};
use super::python;
use crate::config::{Mask, Options};
use crate::error::{Error, ErrorKind, Result};

/// Largest file that is read: the wheel has some 30 KB.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Largest Python file within a wheel, unpacked.
const MAX_SOURCE_BYTES: u64 = 4 << 20;
/// Most Python files of a wheel that are looked into.
const MAX_SOURCES: usize = 256;
/// Longest system prompt: a profile that holds it, escaped, can still be read.
const MAX_PROMPT_BYTES: usize = 512 << 10;
/// The constant that holds the prompt, and the file of the wheel where it is looked for first.
const CONSTANT: &str = "SYSTEM_PROMPT";
const MODULE: &str = "rewardanything/processing.py";
/// What a zip archive begins with.
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Reads the system prompt from the `rewardanything` wheel or from a Python file, without running any of its code, and
/// makes the profile of that judge: its messages, its masking (shuffled by seed 42), `<think>` before the verdict.
/// Decoding is greedy, so that a verdict can be repeated; the reference samples at temperature 0.1 and `top_p` 0.9.
///
/// # Errors
/// [`ErrorKind::Io`] if the file cannot be read or is larger than 64 MiB, [`ErrorKind::InvalidProfile`] if no
/// system prompt can be read from it.
pub fn import(path: &Path) -> Result<Profile> {
    let bytes = read_bounded(path, MAX_FILE_BYTES)
        .map_err(|error| Error::new(ErrorKind::Io, format!("cannot read {}: {error}", path.display())))?;
    let prompt = if bytes.starts_with(ZIP_MAGIC) { from_wheel(&bytes) } else { from_python(&bytes) };
    let prompt = prompt.map_err(|what| Error::new(ErrorKind::InvalidProfile, what).context(path.display()))?;
    if prompt.is_empty() || prompt.len() > MAX_PROMPT_BYTES {
        let what = format!("{CONSTANT} has {} bytes: it must have 1 to {MAX_PROMPT_BYTES}", prompt.len());
        return Err(Error::new(ErrorKind::InvalidProfile, what).context(path.display()));
    }
    let profile = Profile {
        name: "rewardanything".into(),
        system_prompt: prompt,
        decoding: Options { mask: Some(Mask::Shuffle), mask_seed: Some(42), ..Options::default() },
        ..Profile::builtin()
    };
    profile.check()?;
    Ok(profile)
}

fn from_python(bytes: &[u8]) -> std::result::Result<String, String> {
    let source = std::str::from_utf8(bytes).map_err(|error| {
        format!("neither a wheel nor Python source in UTF-8: bad byte at offset {}", error.valid_up_to())
    })?;
    python::assigned_string(source, CONSTANT)?.ok_or_else(|| format!("no {CONSTANT} is assigned at module level"))
}

/// The prompt of the first module of a wheel that assigns one.
fn from_wheel(bytes: &[u8]) -> std::result::Result<String, String> {
    let damaged = |error: zip::result::ZipError| format!("the wheel is damaged: {error}");
    let mut wheel = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    let mut modules = Vec::new();
    for name in wheel.file_names() {
        let name = name.map_err(damaged)?;
        if Path::new(name.as_ref()).extension().is_some_and(|extension| extension == "py") {
            modules.push(name.into_owned());
        }
    }
    modules.sort_by_key(|name| name != MODULE);
    for name in modules.iter().take(MAX_SOURCES) {
        let file = wheel.by_name(name).map_err(damaged)?;
        let mut source = Vec::new();
        file.take(MAX_SOURCE_BYTES + 1)
            .read_to_end(&mut source)
            .map_err(|error| format!("{name} in the wheel is damaged: {error}"))?;
        if source.len() as u64 > MAX_SOURCE_BYTES {
            return Err(format!("{name} in the wheel is larger than {MAX_SOURCE_BYTES} bytes"));
        }
        let source = std::str::from_utf8(&source).map_err(|_| format!("{name} in the wheel is not UTF-8"))?;
        let prompt =
            python::assigned_string(source, CONSTANT).map_err(|what| format!("{name} in the wheel: {what}"))?;
        if let Some(prompt) = prompt {
            return Ok(prompt);
        }
    }
    Err(format!("no Python file of the wheel assigns {CONSTANT}: is it the wheel of rewardanything?"))
}
