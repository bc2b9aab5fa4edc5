//! Reading what the user names: files and standard input, never more than a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use dicast::config::Limits;
use dicast::{Error, ErrorKind};

use super::Failure;

/// Most bytes of a configuration, a profile or a file of names.
pub(crate) const SMALL_FILE_BYTES: usize = 16 << 20;

/// Most bytes of a request as JSON. A byte of text takes up to six there (`\u001f`).
pub(crate) fn request_bytes(limits: &Limits) -> usize {
    limits.max_request_bytes.saturating_mul(6).saturating_add(64 << 10)
}

/// Reads a whole file.
pub(crate) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    read_all(file, limit, &path.display().to_string())
}

/// Reads a file, or standard input if the name is `-`.
pub(crate) fn read_file_or_stdin(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") { read_stdin(limit) } else { read_file(path, limit) }
}

/// Reads standard input to its end.
pub(crate) fn read_stdin(limit: usize) -> Result<Vec<u8>, Failure> {
    read_all(std::io::stdin().lock(), limit, "standard input")
}

/// Reads a text file that is given in place of a value.
pub(crate) fn read_text(path: &Path, limit: usize) -> Result<String, Failure> {
    String::from_utf8(read_file(path, limit)?).map_err(|error| {
        Failure::new(
            ErrorKind::InvalidRequest,
            format!("{} is not UTF-8: bad byte at offset {}", path.display(), error.utf8_error().valid_up_to()),
        )
    })
}

/// The value of an option: the text itself, or that of a file where it is `@FILE`. A leading `@@` stands for a plain `@`.
pub(crate) fn text_or_file(text: &str, limit: usize) -> Result<String, Failure> {
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(file) => read_text(Path::new(file), limit),
        None => Ok(text.to_owned()),
    }
}

fn read_all(from: impl Read, limit: usize, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One byte more than the limit shows whether the file is longer.
    from.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io(format_args!("cannot read {name}"), &error))?;
    if bytes.len() > limit {
        return Err(Error::new(ErrorKind::TooLarge, format!("{name} has more than {limit} bytes")).into());
    }
    Ok(bytes)
}
