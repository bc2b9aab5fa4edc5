//! Versions.

use std::ffi::CStr;

use super::text::dicast_str;

/// The version of the interface in this header. Every release that adds to the interface increases it by one.
pub const DICAST_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version holds no zero byte"),
};

/// The version of the interface of the loaded library. A program needs a library whose version is at least the
/// DICAST_ABI_VERSION that the program was compiled with.
///
/// Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_abi_version() -> u32 {
    DICAST_ABI_VERSION
}

/// The release of the loaded library, such as `0.1.0`.
///
/// Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_version() -> dicast_str {
    dicast_str::of(VERSION)
}
