//! Files that a verb writes: checked against what it reads before the work begins, and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use dicast::ErrorKind;

use super::Failure;

/// A file, and what the user calls it: an option or an argument.
pub(crate) type Named<'a> = (&'a str, &'a Path);

/// The option that names a profile to read, and the one that names a profile to write. Only these may be one file: a profile
/// gets its calibration in place.
pub(crate) const PROFILE: &str = "--profile";
pub(crate) const WRITE_PROFILE: &str = "--write-profile";

/// Refuses outputs that cannot be written, and those that would replace an input or another output.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming the option.
pub(crate) fn check(inputs: &[Named<'_>], outputs: &[Named<'_>]) -> Result<(), Failure> {
    for (index, &(option, path)) in outputs.iter().enumerate() {
        let refused = |what: &str| {
            let message = format!("{option} {}: {what}", path.display());
            Err(Failure::new(ErrorKind::InvalidConfig, message).hint("name another file"))
        };
        if path == Path::new("-") {
            return refused("it must be a file: standard output is taken");
        }
        if let Some(folder) = missing_folder(path) {
            return refused(&format!("the folder {} does not exist", folder.display()));
        }
        match fs::metadata(path) {
            Ok(file) if file.is_dir() => return refused("it is a folder"),
            // A device or a pipe keeps nothing that could be lost.
            Ok(file) if !file.is_file() => continue,
            _ => {}
        }
        let read = |(input, _): &&Named<'_>| !(option == WRITE_PROFILE && *input == PROFILE);
        if let Some((input, _)) = inputs.iter().filter(read).find(|(_, input)| is_same(path, input)) {
            return refused(&format!("this is also the file of {input}, which it would replace"));
        }
        if let Some((other, _)) = outputs[..index].iter().find(|(_, other)| is_same(path, other)) {
            return refused(&format!("this is also the file of {other}"));
        }
    }
    Ok(())
}

/// Whether two paths name the same file. Paths of files that do not exist yet are compared as written, from the real folder.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(one), Ok(other)) = (fs::metadata(one), fs::metadata(other)) {
        use std::os::unix::fs::MetadataExt as _;
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    place(one).zip(place(other)).is_some_and(|(one, other)| one == other)
}

/// Where a file lies, or will lie.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?)))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn missing_folder(path: &Path) -> Option<&Path> {
    let folder = folder_of(path);
    (!folder.is_dir()).then_some(folder)
}

/// Writes a file. One that is there is replaced at once by the complete new one, so it stays whole if the disk is full or the
/// process is killed; without `overwrite` it is an error ([`io::ErrorKind::AlreadyExists`]).
pub(crate) fn write(path: &Path, content: &[u8], overwrite: bool) -> io::Result<()> {
    // Through links, which stay.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let replaced = fs::metadata(&target).ok();
    if replaced.is_some() && !overwrite {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    if replaced.is_some() {
        // Renaming would also replace a file that must not be written.
        let mut file = File::options().write(true).open(&target)?;
        if replaced.as_ref().is_some_and(|file| !file.is_file()) {
            return file.write_all(content);
        }
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = target.with_file_name(name);
    // Left by a process that had the same number and was killed.
    let _ = fs::remove_file(&temporary);
    let write = || {
        let mut file = File::create_new(&temporary)?;
        if let Some(replaced) = &replaced {
            file.set_permissions(replaced.permissions())?;
        }
        file.write_all(content)?;
        file.sync_all()?;
        if overwrite {
            return fs::rename(&temporary, &target);
        }
        // Unlike renaming this fails if another process has made the file meanwhile. Not every file system can do it.
        match fs::hard_link(&temporary, &target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&temporary, &target),
            linked => linked,
        }
    };
    let written = write();
    // Nothing is left of it after renaming.
    let _ = fs::remove_file(&temporary);
    written
}

/// Writes a file, replacing one that is there; the error names what is wrong.
pub(crate) fn save(path: &Path, content: &str) -> Result<(), Failure> {
    write(path, content.as_bytes(), true).map_err(|error| cannot_write(path, &error))
}

/// The failure of a file that cannot be written.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    match missing_folder(path) {
        Some(folder) => {
            Failure::new(ErrorKind::InvalidConfig, format!("the folder {} does not exist", folder.display()))
        }
        None => Failure::io(format_args!("cannot write {}", path.display()), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("dicast-outputs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_if_that_is_asked_for() {
        let folder = folder("write");
        let path = folder.join("file");
        write(&path, b"one", false).expect("it is new");
        assert_eq!(write(&path, b"two", false).expect_err("it is there").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("a file"), b"one");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
            let link = folder.join("link");
            std::os::unix::fs::symlink(&path, &link).expect("a link");
            // A reader that has the file open keeps what it had.
            let mut open = File::open(&path).expect("a file");
            write(&link, b"two", true).expect("it is replaced");
            assert_eq!(io::read_to_string(&mut open).expect("text"), "one");
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o640);
            assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
            write(Path::new("/dev/null"), b"x", true).expect("a device takes it");
        }
        write(&path, b"two", true).expect("it is replaced");
        assert_eq!(fs::read(&path).expect("a file"), b"two");
        let left: Vec<_> = fs::read_dir(&folder).expect("a folder").flatten().map(|one| one.file_name()).collect();
        assert!(left.iter().all(|name| name == "file" || name == "link"), "{left:?}");
        let error = save(&folder.join("none/file"), "x").expect_err("no folder");
        assert!(error.error.message().contains("none does not exist"), "{error:?}");
        fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn outputs_replace_neither_inputs_nor_each_other() {
        let folder = folder("check");
        let (input, output) = (folder.join("in"), folder.join("out"));
        fs::write(&input, "x").expect("a file");
        let refusal = |inputs: &[Named<'_>], outputs: &[Named<'_>]| {
            check(inputs, outputs).err().map(|failure| failure.error.message().to_owned()).unwrap_or_default()
        };
        let inputs = [("ITEMS", input.as_path())];
        assert_eq!(refusal(&inputs, &[("--output", &output), ("--html", &folder.join("other"))]), "");
        let roundabout = folder.join("../").join(folder.file_name().expect("a name")).join("in");
        assert!(refusal(&inputs, &[("--html", &roundabout)]).contains("this is also the file of ITEMS"));
        #[cfg(unix)]
        {
            let link = folder.join("link");
            fs::hard_link(&input, &link).expect("a link");
            assert!(refusal(&inputs, &[("--html", &link)]).contains("also the file of ITEMS"));
        }
        // Neither is there yet.
        assert!(refusal(&[], &[("--html", &output), ("--plot", &output)]).contains("also the file of --html"));
        assert!(refusal(&[], &[("--html", &folder.join("no/x"))]).contains("no does not exist"));
        assert!(refusal(&[], &[("--html", &folder)]).contains("it is a folder"));
        assert!(refusal(&[], &[("--html", Path::new("-"))]).contains("must be a file"));
        assert_eq!(refusal(&[(PROFILE, &input)], &[(WRITE_PROFILE, &input)]), "");
        assert_ne!(refusal(&[(PROFILE, &input)], &[("--html", &input)]), "");
        assert_ne!(refusal(&inputs, &[(WRITE_PROFILE, &input)]), "");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
