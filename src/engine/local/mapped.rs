//! Files that are mapped into memory.

use std::fs::File;

/// Takes the pages of a file out of this process's memory, where it is mapped for reading. They are read again, from the
/// system's cache if it still has them, when something needs them.
#[cfg(target_os = "linux")]
pub(super) fn unload(file: &File) {
    use std::os::unix::fs::MetadataExt;

    let Ok(metadata) = file.metadata() else { return };
    let device = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
    let table = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, end) in table.lines().filter_map(|line| mapping(line, device, metadata.ino())) {
        // SAFETY: the pages of a shared mapping that cannot be written hold what the file holds, and come back when they are
        // touched. If the mapping is gone, the call fails; if another is at its place, which is private and written, it could
        // lose data: but only the loader of this thread maps and unmaps this file.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn unload(_: &File) {}

/// The addresses of a mapping, by its line in `/proc/self/maps`, if it is a shared one of this file for reading.
#[cfg(target_os = "linux")]
fn mapping(line: &str, device: (u32, u32), inode: u64) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (addresses, rights, _offset, on, number) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let (major, minor) = on.split_once(':')?;
    if rights != "r--s" || (hex(major)?, hex(minor)?) != device || number.parse() != Ok(inode) {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mappings_of_a_file_that_are_only_read() {
        let line = "7f3c00000000-7f3c26100000 r--s 00001000 fe:10 123456                     /models/judge 1.gguf";
        let found = Some((0x7f3c_0000_0000, 0x7f3c_2610_0000));
        assert_eq!(mapping(line, (0xfe, 0x10), 123_456), found);
        assert_eq!(mapping(line, (0xfe, 0x11), 123_456), None);
        assert_eq!(mapping(line, (0xfe, 0x10), 123_457), None);
        for rights in ["r--p", "rw-s", "rw-p", "r-xs"] {
            assert_eq!(mapping(&line.replace("r--s", rights), (0xfe, 0x10), 123_456), None);
        }
        assert_eq!(mapping("7f3c00000000-7f3c26100000 rw-p 00000000 00:00 0", (0, 0), 0), None);
        assert_eq!(mapping("", (0, 0), 0), None);
    }
}
