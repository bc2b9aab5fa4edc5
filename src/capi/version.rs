//! Versions.

use std::ffi::CStr;

use super::text::dicast_str;

/// The interface that this header describes. It is counted up with every release that adds to the interface.
pub const DICAST_ABI_VERSION: u32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version holds no zero byte"),
};

/// The interface of the library that runs. A program runs with every library whose number is not lower than the
/// DICAST_ABI_VERSION that the program was compiled with; the SONAME sees to the rest.
///
/// Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_abi_version() -> u32 {
    DICAST_ABI_VERSION
}

/// The release of the library that runs, such as `0.1.0`.
///
/// Any thread, at any time.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_version() -> dicast_str {
    dicast_str::of(VERSION)
}
