//! `dicast_str`: text in and out.

use std::ffi::{CStr, c_char};

use super::boundary;
use crate::error::{Error, ErrorKind, Result};

/// A piece of text: `len` bytes at `data`, in UTF-8. Zero bytes within it are part of the text.
///
/// As an argument it is read only during the call. `{NULL, 0}` is the empty text. Bytes that are not UTF-8 are an error,
/// unless the function says otherwise.
///
/// As a result it belongs to the object that the function was called with, and lives as long as that object. Without such
/// an object it lives until the program ends. `data[len]` is a zero byte, so `data` is also a C string. `data` is NULL only
/// if there is no such text, such as for an index out of range.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_str {
    /// The first byte.
    pub data: *const c_char,
    /// Number of bytes, without any zero byte at the end.
    pub len: usize,
}

impl dicast_str {
    pub(super) const NONE: Self = Self { data: std::ptr::null(), len: 0 };

    /// A text that ends in a zero byte, without it.
    pub(super) fn of(ended: &'static CStr) -> Self {
        Self { data: ended.as_ptr(), len: ended.count_bytes() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// They live, and are not written to, as long as the result is used.
    pub(super) unsafe fn bytes<'a>(self, name: &str) -> Result<&'a [u8]> {
        // SAFETY: passed on.
        unsafe { boundary::bytes(self.data.cast(), self.len, name) }
    }

    /// The text; `kind` is the error if it is not UTF-8.
    ///
    /// # Safety
    /// As [`Self::bytes`].
    pub(super) unsafe fn text<'a>(self, name: &str, kind: ErrorKind) -> Result<&'a str> {
        // SAFETY: passed on.
        let bytes = unsafe { self.bytes(name)? };
        std::str::from_utf8(bytes).map_err(|error| {
            Error::new(kind, format!("{name} is not UTF-8: bad byte at offset {}", error.valid_up_to()))
        })
    }
}

impl From<&str> for dicast_str {
    /// As an argument: the text is lent, and need not end in a zero byte.
    fn from(text: &str) -> Self {
        Self { data: text.as_ptr().cast(), len: text.len() }
    }
}

/// Text that is kept for C programs. It ends in a zero byte.
pub(super) struct Text(Box<str>);

impl Text {
    pub(super) fn new(text: &str) -> Self {
        let mut ended = String::with_capacity(text.len() + 1);
        ended.push_str(text);
        ended.push('\0');
        Self(ended.into_boxed_str())
    }

    pub(super) fn view(&self) -> dicast_str {
        dicast_str { data: self.0.as_ptr().cast(), len: self.0.len() - 1 }
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self::new(text)
    }
}

/// Several texts that are kept for C programs, in one piece of memory. Each ends in a zero byte.
pub(super) struct Texts {
    all: Box<str>,
    /// Where each ends, its zero byte left out.
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Self {
        let (count, bytes) = texts.clone().fold((0, 0), |(count, bytes), text| (count + 1, bytes + text.len() + 1));
        let (mut all, mut ends) = (String::with_capacity(bytes), Vec::with_capacity(count));
        for text in texts {
            all.push_str(text);
            ends.push(all.len());
            all.push('\0');
        }
        Self { all: all.into_boxed_str(), ends }
    }

    pub(super) fn view(&self, index: usize) -> Option<dicast_str> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] + 1 };
        Some(dicast_str { data: self.all[start..].as_ptr().cast(), len: end - start })
    }
}

/// The text of a C string, without its zero byte; `{NULL, 0}` for NULL. It lives as long as the C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_str_cstr(text: *const c_char) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        if text.is_null() {
            return None;
        }
        // SAFETY: it is not null, and a C string.
        let len = unsafe { CStr::from_ptr(text) }.count_bytes();
        Some(dicast_str { data: text, len })
    })
}
