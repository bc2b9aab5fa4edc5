//! Structs that begin with their size, so that programs and libraries of different releases understand each other.

use super::boundary::misuse;
use crate::error::Result;

/// More than any struct of this interface will ever have.
const ABSURD: usize = 4096;

/// A struct whose first field is its size in bytes.
///
/// # Safety
/// `repr(C)`, a `usize` first, no padding, and every pattern of bits is a value.
pub(super) unsafe trait Layout: Copy {
    /// Its size in the first release that had it.
    const FIRST_SIZE: usize;
    /// Its name in C.
    const NAME: &'static str;
}

fn check_size<T: Layout>(size: usize) -> Result<()> {
    const { assert!(T::FIRST_SIZE <= size_of::<T>(), "a struct only grows") };
    // In no release does a size end within a field: half a pointer would be read.
    if (T::FIRST_SIZE..=ABSURD).contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(());
    }
    Err(misuse(format!("struct_size of {} is {size}: set it to sizeof({})", T::NAME, T::NAME)))
}

/// The size that a struct announces.
///
/// # Safety
/// `data` is null or points to a struct that begins with its size.
unsafe fn announced<T: Layout>(data: *const T) -> Result<usize> {
    if data.is_null() {
        return Err(misuse(format!("{} is null", T::NAME)));
    }
    // SAFETY: it is not null; the size is the first field.
    let size = unsafe { data.cast::<usize>().read_unaligned() };
    check_size::<T>(size)?;
    Ok(size)
}

/// Checks the size that a struct announces, before anything is done that cannot be undone.
///
/// # Safety
/// `data` is null or points to a struct that begins with its size.
pub(super) unsafe fn check<T: Layout>(data: *const T) -> Result<()> {
    // SAFETY: passed on.
    unsafe { announced(data) }.map(drop)
}

/// Reads a struct of any release. Fields that an older program does not have are zero; a field that a newer program sets and
/// this library does not have is an error.
///
/// # Safety
/// `data` is null or points to as many bytes as the struct announces.
pub(super) unsafe fn read<T: Layout>(data: *const T) -> Result<T> {
    // SAFETY: passed on.
    let size = unsafe { announced(data)? };
    let known = size.min(size_of::<T>());
    // SAFETY: every pattern of bits is a `T`, zero too; `size` bytes can be read.
    let (value, rest) = unsafe {
        let mut value: T = std::mem::zeroed();
        std::ptr::copy_nonoverlapping(data.cast::<u8>(), (&raw mut value).cast::<u8>(), known);
        (value, std::slice::from_raw_parts(data.cast::<u8>().add(known), size - known))
    };
    if rest.iter().any(|&byte| byte != 0) {
        return Err(misuse(format!("{} sets a field that this release of Dicast does not have", T::NAME)));
    }
    Ok(value)
}

/// Writes a struct of any release: the fields that the program has. Fields that only the program has become zero.
///
/// # Safety
/// `data` is null or points to as many bytes as the struct announces, which nobody else uses.
pub(super) unsafe fn write<T: Layout>(data: *mut T, value: &T) -> Result<()> {
    // SAFETY: passed on.
    let size = unsafe { announced(data)? };
    let (known, head) = (size.min(size_of::<T>()), size_of::<usize>());
    // SAFETY: `size` bytes can be written; the size itself, in front, is left as it is.
    unsafe {
        let (from, to) = (std::ptr::from_ref(value).cast::<u8>(), data.cast::<u8>());
        std::ptr::copy_nonoverlapping(from.add(head), to.add(head), known - head);
        to.add(known).write_bytes(0, size - known);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Now {
        struct_size: usize,
        old: u64,
        new: u64,
    }

    // SAFETY: `repr(C)`, three words, of which the first is the size.
    unsafe impl Layout for Now {
        const FIRST_SIZE: usize = 16;
        const NAME: &'static str = "now";
    }

    fn read_words(words: &[usize]) -> Result<Now> {
        // SAFETY: no test announces more than it has.
        unsafe { read(words.as_ptr().cast()) }
    }

    #[test]
    fn structs_of_other_releases_are_read_field_by_field() {
        let now = |struct_size, old, new| Now { struct_size, old, new };
        assert_eq!(read_words(&[16, 5, 77]).unwrap(), now(16, 5, 0), "what lies behind an older struct is not read");
        assert_eq!(read_words(&[24, 5, 7]).unwrap(), now(24, 5, 7));
        assert_eq!(read_words(&[32, 5, 7, 0]).unwrap(), now(32, 5, 7));
        assert!(read_words(&[32, 5, 7, 1]).unwrap_err().message().contains("does not have"));
        for wrong in [0, 8, 15, 17, 23, 25, 4097, usize::MAX] {
            assert!(read_words(&[wrong, 5, 7]).unwrap_err().message().contains("sizeof(now)"), "{wrong}");
        }
    }

    #[test]
    fn structs_of_other_releases_are_written_within_their_size() {
        let mut words = [16_usize, 9, 9, 9, 9];
        let value = Now { struct_size: 24, old: 5, new: 7 };
        // SAFETY: no test announces more than it has.
        let mut write_to = |size: usize| unsafe {
            words = [size, 9, 9, 9, 9];
            write(words.as_mut_ptr().cast(), &value).map(|()| words)
        };
        assert_eq!(write_to(16).unwrap(), [16, 5, 9, 9, 9]);
        assert_eq!(write_to(24).unwrap(), [24, 5, 7, 9, 9]);
        assert_eq!(write_to(32).unwrap(), [32, 5, 7, 0, 9]);
        assert!(write_to(8).is_err());
    }
}
