//! A model's files as they were when it was opened.
//!
//! llama.cpp computes on the file itself, mapped into memory. Overwriting an open file changes the weights silently,
//! and truncating it ends the process. So each file is checked again before every judgment. Replacing a file, as `mv`
//! does, is no change: the old file stays as long as it is open.

use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};
use crate::files::open_regular;

/// The files of one model.
pub(super) struct Files(Vec<Stamp>);

struct Stamp {
    path: PathBuf,
    file: File,
    size: u64,
    written: Option<SystemTime>,
}

impl Files {
    /// Keeps the files open and remembers their sizes and times.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if one can no longer be opened.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self> {
        let stamp = |path: &PathBuf| {
            let file = open_regular(path).map_err(|error| lost(path, &error))?;
            let metadata = file.metadata().map_err(|error| lost(path, &error))?;
            Ok(Stamp { path: path.clone(), size: metadata.len(), written: time(&metadata), file })
        };
        paths.iter().map(stamp).collect::<Result<_>>().map(Self)
    }

    /// Checks that no file has changed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] naming the file and what changed.
    pub(super) fn check(&self) -> Result<()> {
        for stamp in &self.0 {
            let now = stamp.file.metadata().map_err(|error| lost(&stamp.path, &error))?;
            let change = if now.len() != stamp.size {
                format!("had {} bytes when it was opened, but has {} now", stamp.size, now.len())
            } else if time(&now) != stamp.written {
                "was overwritten after it was opened".to_owned()
            } else {
                continue;
            };
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!(
                    "{} {change}: open the judge again; to replace a model in use, write a new file and rename it, or set \
                     local.mmap to false",
                    stamp.path.display()
                ),
            ));
        }
        Ok(())
    }
}

fn time(metadata: &Metadata) -> Option<SystemTime> {
    metadata.modified().ok()
}

fn lost(path: &Path, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_in_place_are_found_and_replaced_files_are_not() {
        let folder = std::env::temp_dir().join(format!("dicast-stamp-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("a"), folder.join("b"));
        std::fs::write(&path, "12345").unwrap();
        std::fs::write(&other, "abcdef").unwrap();
        let files = Files::of(std::slice::from_ref(&path)).unwrap();
        assert!(files.check().is_ok());
        std::fs::rename(&other, &path).unwrap();
        assert!(files.check().is_ok(), "another file took its name");
        let files = Files::of(std::slice::from_ref(&path)).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        let error = files.check().unwrap_err();
        assert!(error.message().contains("had 6 bytes") && error.message().contains("has 3"), "{error}");
        let files = Files::of(std::slice::from_ref(&path)).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert!(files.check().unwrap_err().message().contains("overwritten"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
