//! Versions.

use std::ffi::{CStr, CString};
use std::sync::OnceLock;

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

/// What the loaded library was built with, names separated by commas: the engines `local`, `remote`, `trtllm`, and the GPUs of the
/// embedded engine, `cuda`, `metal`, `vulkan`. Empty if it has no engine. New names may appear.
///
/// Any thread, at any time. The text lives as long as the library is loaded.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_features() -> dicast_str {
    dicast_str::of(features())
}

/// The features of this build, written once.
fn features() -> &'static CStr {
    static FEATURES: OnceLock<CString> = OnceLock::new();
    FEATURES.get_or_init(|| {
        let built = [
            ("local", cfg!(feature = "local")),
            ("remote", cfg!(feature = "remote")),
            ("trtllm", cfg!(feature = "trtllm")),
            ("cuda", cfg!(feature = "cuda")),
            ("metal", cfg!(feature = "metal")),
            ("vulkan", cfg!(feature = "vulkan")),
        ];
        let names: Vec<_> = built.iter().filter(|(_, here)| *here).map(|(name, _)| *name).collect();
        CString::new(names.join(",")).unwrap_or_default()
    })
}
