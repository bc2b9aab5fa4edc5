//! Builds `cpp/llama_*.cpp`: what keeps llama.cpp's exceptions and assertions from the rest of the program, what makes its
//! static objects in good time, what maps its large buffers, and what computes some of its operations.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Where llama.cpp's own crate installed it, headers and all.
const INSTALLED: &str = "DEP_LLAMA_GGML_CMAKE_DIR";

const SOURCES: [&str; 13] = [
    "cpp/llama_attention.cpp",
    "cpp/llama_attention_avx2.cpp",
    "cpp/llama_attention_avx512.cpp",
    "cpp/llama_cpu.cpp",
    "cpp/llama_formats.cpp",
    "cpp/llama_halves.cpp",
    "cpp/llama_memory.cpp",
    "cpp/llama_operations.cpp",
    "cpp/llama_products.cpp",
    "cpp/llama_products_avx2.cpp",
    "cpp/llama_products_avx512.cpp",
    "cpp/llama_shield.cpp",
    "cpp/llama_warm.cpp",
];
const HEADERS: [&str; 16] = [
    "cpp/llama_attention.h",
    "cpp/llama_attention_ahead.h",
    "cpp/llama_attention_kernels.h",
    "cpp/llama_attention_parts.h",
    "cpp/llama_avx2.h",
    "cpp/llama_avx512.h",
    "cpp/llama_cpu.h",
    "cpp/llama_formats.h",
    "cpp/llama_halves.h",
    "cpp/llama_memory.h",
    "cpp/llama_operations.h",
    "cpp/llama_products.h",
    "cpp/llama_products_kernels.h",
    "cpp/llama_shield.h",
    "cpp/llama_warm.h",
    "cpp/llama_wide.h",
];

pub(crate) fn build() -> Result<(), String> {
    for path in ["build/llama.rs"].iter().chain(&HEADERS).chain(&SOURCES) {
        println!("cargo::rerun-if-changed={path}");
    }
    // <installed>/lib/cmake
    let installed = env::var_os(INSTALLED)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{INSTALLED} is not set: llama-cpp-sys-2 no longer says where its headers are"))?;
    let root = installed.ancestors().nth(2).unwrap_or(&installed);
    let include = root.join("include");
    if !include.join("llama.h").is_file() {
        return Err(format!("{}: llama.h is not there, where llama-cpp-sys-2 installs it", include.display()));
    }
    let sources = sources(root)?;
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // llama.cpp is optimized in every profile, too.
        .opt_level(3)
        .files(SOURCES)
        .include("cpp")
        .include(include)
        // Not ours: without warnings.
        .flag("-isystem")
        .flag(sources.join("ggml/src"))
        // llama.cpp's crate links the one that it was built with.
        .cpp_link_stdlib(None)
        .try_compile("dicast_llama_shield")
        .map_err(|error| format!("{} cannot be compiled: {error}", SOURCES.join(" or ")))
}

/// The sources that llama.cpp was built from: the type of ggml's buffers is in a header that it does not install.
fn sources(root: &Path) -> Result<PathBuf, String> {
    let cache = root.join("build/CMakeCache.txt");
    let text = fs::read_to_string(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let sources = text
        .lines()
        .find_map(|line| line.strip_prefix("CMAKE_HOME_DIRECTORY:INTERNAL="))
        .map(PathBuf::from)
        .ok_or_else(|| format!("{} does not say where llama.cpp's sources are", cache.display()))?;
    let header = sources.join("ggml/src/ggml-backend-impl.h");
    if header.is_file() { Ok(sources) } else { Err(format!("{} is not there", header.display())) }
}
