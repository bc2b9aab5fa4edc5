//! Builds `cpp/llama_*.cpp`: what keeps llama.cpp's exceptions and assertions from the rest of the program, and what makes its
//! static objects in good time.

use std::env;
use std::path::PathBuf;

/// Where llama.cpp's own crate installed it, headers and all.
const INSTALLED: &str = "DEP_LLAMA_GGML_CMAKE_DIR";

const SOURCES: [&str; 2] = ["cpp/llama_shield.cpp", "cpp/llama_warm.cpp"];

pub(crate) fn build() -> Result<(), String> {
    for path in ["build/llama.rs", "cpp/llama_shield.h", "cpp/llama_warm.h"].iter().chain(&SOURCES) {
        println!("cargo::rerun-if-changed={path}");
    }
    // <installed>/lib/cmake
    let installed = env::var_os(INSTALLED)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{INSTALLED} is not set: llama-cpp-sys-2 no longer says where its headers are"))?;
    let include = installed.ancestors().nth(2).unwrap_or(&installed).join("include");
    if !include.join("llama.h").is_file() {
        return Err(format!("{}: llama.h is not there, where llama-cpp-sys-2 installs it", include.display()));
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(SOURCES)
        .include("cpp")
        .include(include)
        // llama.cpp's crate links the one that it was built with.
        .cpp_link_stdlib(None)
        .try_compile("dicast_llama_shield")
        .map_err(|error| format!("{} cannot be compiled: {error}", SOURCES.join(" or ")))
}
