//! The files: how one is read, checked, written and removed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::super::sizes;
use crate::checksum::Checksum;

/// The first bytes of a file. The last one is the version of the layout.
const MAGIC: [u8; 8] = *b"dicastP\x01";
const ENDING: &str = "prefix";
/// What the name of an unfinished file ends in.
const PART: &str = "part";
/// Unfinished files that are older are left over from a process that was killed. Where files can be locked, those that no
/// process has locked are too; not at once, since one is made before it is locked.
const LEFT_OVER: Duration = Duration::from_secs(3600);
const LOCKED_BY_NOW: Duration = Duration::from_secs(10);
/// Memory that reading or writing a prefix leaves free.
const SPARE: u64 = 64 << 20;
const CHUNK: usize = 1 << 20;

pub(super) fn checksum_of(tokens: &[u32]) -> u64 {
    let mut checksum = Checksum::default();
    for token in tokens {
        checksum.add(&token.to_le_bytes());
    }
    checksum.value()
}

/// Memory for a state, if there is enough.
pub(super) fn room_for(bytes: usize) -> io::Result<Vec<u8>> {
    let short =
        || io::Error::new(io::ErrorKind::OutOfMemory, format!("takes {bytes} bytes of memory, which are not free"));
    if sizes::available().is_some_and(|free| free < (bytes as u64).saturating_add(SPARE)) {
        return Err(short());
    }
    let mut state = Vec::new();
    state.try_reserve_exact(bytes).map_err(|_| short())?;
    state.resize(bytes, 0);
    Ok(state)
}

#[cfg(unix)]
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // The files tell what was asked: only the user may look.
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

/// A folder of prefixes, and what those of this engine have in common.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Most bytes of all files.
    pub(super) limit: u64,
    pub(super) identity: String,
}

impl Folder {
    /// The name of the file of a prefix.
    pub(super) fn name(&self, tokens: &[u32]) -> String {
        let mut engine = Checksum::default();
        engine.add(self.identity.as_bytes());
        format!("{engine}-{:016x}.{ENDING}", checksum_of(tokens))
    }

    /// What the file of a prefix begins with.
    fn head(&self, tokens: &[u32]) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend((self.identity.len() as u64).to_le_bytes());
        head.extend(self.identity.as_bytes());
        head.extend((tokens.len() as u64).to_le_bytes());
        for token in tokens {
            head.extend(token.to_le_bytes());
        }
        head
    }

    /// The file of a prefix whose state has this many bytes, after its head, and the checksum of that.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is no file; else what is wrong with it, to be said after its name.
    pub(super) fn open(&self, tokens: &[u32], bytes: u64) -> io::Result<(File, Checksum)> {
        let head = self.head(tokens);
        let mut file = open_own(&self.path.join(self.name(tokens)))?;
        let whole = head.len() as u64 + bytes + size_of::<u64>() as u64;
        let length = file.metadata()?.len();
        if length != whole {
            return Err(wrong(format!("has {length} bytes instead of {whole}")));
        }
        let mut begins = vec![0; head.len()];
        file.read_exact(&mut begins)?;
        if begins != head {
            return Err(wrong("is of another model, build or prefix".into()));
        }
        // The time of its last use; a folder that cannot be written to has no need of it.
        let _ = file.set_modified(SystemTime::now());
        let mut checksum = Checksum::default();
        checksum.add(&head);
        Ok((file, checksum))
    }

    /// The state in the file of a prefix, which must have this many bytes.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub(super) fn read(&self, tokens: &[u32], bytes: u64) -> io::Result<Vec<u8>> {
        let (mut file, mut checksum) = self.open(tokens, bytes)?;
        let mut state = room_for(usize::try_from(bytes).map_err(|_| wrong("is too large".into()))?)?;
        file.read_exact(&mut state)?;
        checksum.add(&state);
        let mut written = [0; size_of::<u64>()];
        file.read_exact(&mut written)?;
        if checksum.value() != u64::from_le_bytes(written) {
            let _ = std::fs::remove_file(self.path.join(self.name(tokens)));
            return Err(wrong("is damaged: its checksum does not hold".into()));
        }
        Ok(state)
    }

    /// Writes the file of a prefix: whole, or not at all.
    pub(super) fn write(&self, tokens: &[u32], state: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (head, name) = (self.head(tokens), self.name(tokens));
        let bytes = (head.len() + state.len() + size_of::<u64>()) as u64;
        if bytes > self.limit {
            let message = format!("they take {bytes} bytes, more than local.prefix_dir_bytes allows, {}", self.limit);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.make_room(bytes, Some(&name));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = self.path.join(format!("{name}.{}-{number}.{PART}", std::process::id()));
        // Locked until it has its name.
        let outcome = write_new(&part, &head, state)
            .and_then(|file| std::fs::rename(&part, self.path.join(&name)).map(|()| drop(file)));
        if let Err(error) = outcome {
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
        // So that the name stays too; where a folder cannot be synchronized, the next start may miss the file.
        let _ = File::open(&self.path).and_then(|folder| folder.sync_all());
        // Another process may have written meanwhile.
        self.make_room(0, None);
        Ok(())
    }

    /// Removes the files used longest ago until there is room for `bytes` more. `replaced`: a file that makes its own room.
    /// Files that are not of this kind are left alone.
    fn make_room(&self, bytes: u64, replaced: Option<&str>) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        let mut files = Vec::new();
        let mut taken = bytes;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let (Some(kind), Ok(metadata)) = (name.to_str().and_then(Kept::of), entry.metadata()) else { continue };
            if !metadata.is_file() || name.to_str() == replaced {
                continue;
            }
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let is_left = || {
                let age = used.elapsed().unwrap_or_default();
                age > LEFT_OVER
                    || (age > LOCKED_BY_NOW && open_own(&entry.path()).is_ok_and(|part| part.try_lock().is_ok()))
            };
            if kind == Kept::Part && is_left() && std::fs::remove_file(entry.path()).is_ok() {
                continue;
            }
            taken = taken.saturating_add(metadata.len());
            if kind == Kept::Whole {
                files.push((used, metadata.len(), entry.path()));
            }
        }
        files.sort_unstable_by_key(|(used, ..)| *used);
        for (_, length, path) in files {
            if taken <= self.limit {
                break;
            }
            if std::fs::remove_file(path).is_ok() {
                taken = taken.saturating_sub(length);
            }
        }
    }
}

/// What a file of the folder is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Whole,
    /// It is being written, or was when its process ended.
    Part,
}

impl Kept {
    fn of(name: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (stem, ending, number, part) = (parts.next()?, parts.next()?, parts.next(), parts.next());
        let is_number = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (engine, tokens) = stem.split_once('-')?;
        if !is_number(engine) || !is_number(tokens) || ending != ENDING || parts.next().is_some() {
            return None;
        }
        match (number, part) {
            (None, None) => Some(Self::Whole),
            (Some(_), Some(PART)) => Some(Self::Part),
            _ => None,
        }
    }
}

pub(super) fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Opens a regular file of this user's own that no other may write.
fn open_own(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Neither a link to another place, nor a pipe that would wait for a writer.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    let refused = |what: &str| io::Error::new(io::ErrorKind::PermissionDenied, what);
    let file = options.open(path).map_err(|error| {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        if is_link { refused("is a link, which is not followed") } else { error }
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("is no regular file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        if metadata.uid() != own_user() {
            return Err(refused("belongs to another user"));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(refused("can be written by others"));
        }
    }
    Ok(file)
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "a function of the C library")]
fn own_user() -> u32 {
    // SAFETY: cannot fail, and changes nothing.
    unsafe { libc::geteuid() }
}

/// Writes a new file to the disk, which only this user may read. It is locked as long as it is open.
fn write_new(path: &Path, head: &[u8], state: &[u8]) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    // Not every file system can lock. Without a lock, the file counts as left over after an hour.
    let _ = file.try_lock();
    let mut checksum = Checksum::default();
    for chunk in [head].into_iter().chain(state.chunks(CHUNK)) {
        checksum.add(chunk);
        file.write_all(chunk)?;
    }
    file.write_all(&checksum.value().to_le_bytes())?;
    file.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1000;

    fn folder(name: &str, limit: u64) -> Folder {
        let path = std::env::temp_dir().join(format!("dicast-prefix-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        make_folder(&path).unwrap();
        Folder { path, limit, identity: "\"one\"".to_owned() }
    }

    fn state(seed: u8) -> Vec<u8> {
        (0..BYTES).map(|at| seed.wrapping_mul(31).wrapping_add(u8::try_from(at % 251).unwrap())).collect()
    }

    #[test]
    fn an_unfinished_file_goes_unless_somebody_writes_it() {
        let folder = folder("parts", 1 << 20);
        let tokens: Vec<u32> = (0..20).collect();
        let part = |number: usize| folder.path.join(format!("{}.1-{number}.{PART}", folder.name(&tokens)));
        let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
        let files = [(0, 30), (1, 30), (2, 1), (3, 7200)].map(|(number, seconds)| {
            let file = write_new(&part(number), b"head", &state(1)).unwrap();
            file.set_modified(ago(seconds)).unwrap();
            // Another process, which was killed, has written all but the first.
            (number == 0).then_some(file)
        });
        folder.make_room(0, None);
        assert_eq!([0, 1, 2, 3].map(|number| part(number).exists()), [true, false, true, false]);
        drop(files);
        folder.make_room(0, None);
        assert!(!part(0).exists());
        std::fs::remove_dir_all(&folder.path).unwrap();
    }

    #[test]
    fn every_changed_byte_and_every_length_is_found() {
        let folder = folder("bytes", 1 << 20);
        let tokens: Vec<u32> = (0..20).collect();
        folder.write(&tokens, &state(1)).unwrap();
        let path = folder.path.join(folder.name(&tokens));
        let good = std::fs::read(&path).unwrap();
        assert_eq!(folder.read(&tokens, BYTES).unwrap(), state(1));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(folder.read(&tokens, BYTES).unwrap_err().kind(), io::ErrorKind::InvalidData, "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert_eq!(folder.read(&tokens, BYTES).unwrap_err().kind(), io::ErrorKind::InvalidData, "length {at}");
        }
        std::fs::write(&path, &good).unwrap();
        assert_eq!(folder.read(&tokens, BYTES).unwrap(), state(1));
        assert!(folder.read(&tokens, BYTES - 1).is_err() && folder.read(&tokens[1..], BYTES).is_err());
        // Another engine, and a file of its under this one's name.
        let other = Folder { path: folder.path.clone(), limit: folder.limit, identity: "\"two\"".to_owned() };
        assert_eq!(other.read(&tokens, BYTES).unwrap_err().kind(), io::ErrorKind::NotFound);
        other.write(&tokens, &state(2)).unwrap();
        std::fs::rename(folder.path.join(other.name(&tokens)), &path).unwrap();
        assert!(folder.read(&tokens, BYTES).unwrap_err().to_string().contains("another model"));
        std::fs::remove_dir_all(&folder.path).unwrap();
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let folder = folder("room", 4 * (BYTES + 200));
        let prefix = |number: u32| (number..number + 20).collect::<Vec<u32>>();
        let path = |number| folder.path.join(folder.name(&prefix(number)));
        let used = |number, seconds| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().write(true).open(path(number)).unwrap().set_modified(time).unwrap();
        };
        for number in 0..4 {
            folder.write(&prefix(number), &state(3)).unwrap();
            used(number, 1000 + u64::from(number));
        }
        folder.read(&prefix(0), BYTES).unwrap();
        folder.write(&prefix(4), &state(3)).unwrap();
        let kept: Vec<u32> = (0..5).filter(|&number| path(number).exists()).collect();
        assert_eq!(kept, [0, 2, 3, 4]);
        // A file that is replaced needs no other's room.
        folder.write(&prefix(4), &state(4)).unwrap();
        assert!([0, 2, 3, 4].into_iter().all(|number| path(number).exists()));
        let small = Folder { path: folder.path.clone(), limit: BYTES, identity: folder.identity.clone() };
        assert_eq!(small.write(&prefix(9), &state(5)).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(path(2).exists());
        std::fs::remove_dir_all(&folder.path).unwrap();
    }

    #[test]
    fn only_own_files_are_removed() {
        let own = "0123456789abcdef-fedcba9876543210";
        assert_eq!(Kept::of(&format!("{own}.prefix")), Some(Kept::Whole));
        assert_eq!(Kept::of(&format!("{own}.prefix.12-3.part")), Some(Kept::Part));
        for other in ["notes.txt", "a-b.prefix", &format!("{own}.txt"), &format!("{own}.prefix.part"), own] {
            assert_eq!(Kept::of(other), None, "{other}");
        }
    }
}
