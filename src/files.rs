//! Opens files that users name, so that none of them can block the process or fill its memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a regular file for reading. A pipe, a device or a folder is refused: opening a pipe would wait for a writer, and
/// some devices never end.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A pipe that takes the file's place between two checks must not block either.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let before = std::fs::metadata(path)?;
    check_regular(&before)?;
    let file = options.open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

fn check_regular(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is a pipe, a socket or a device, not a regular file"));
    }
    Ok(())
}

/// Reads a whole file of at most `limit` bytes. Memory is allocated as bytes are read.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("is larger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let folder = std::env::temp_dir().join(format!("dicast-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let pipe = folder.join("pipe");
        let _ = std::fs::remove_file(&pipe);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        for (path, words) in [(pipe.as_path(), "pipe"), (Path::new("/dev/zero"), "device"), (&folder, "folder")] {
            let error = read_bounded(path, 10).expect_err("it is no regular file");
            assert!(error.to_string().contains(words), "{}: {error}", path.display());
        }
        let file = folder.join("file");
        std::fs::write(&file, "12345").expect("a file");
        assert_eq!(read_bounded(&file, 5).expect("it fits"), b"12345");
        assert_eq!(read_bounded(&file, 4).expect_err("it does not fit").kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(open_regular(&folder.join("none")).expect_err("none").kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
