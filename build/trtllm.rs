//! Builds the adapter in `cpp/` with the headers of TensorRT-LLM, and links both.
//!
//! The vendor's libraries themselves are not given to the linker: it would ask for TensorRT, CUDA and MPI behind them, and
//! an option that keeps it from that does not reach the crates that depend on this one. It gets small libraries instead,
//! which export what the adapter uses and carry the names under which the loader finds the vendor's.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::archive::ArchiveFile;
use object::{Object as _, ObjectSymbol as _, ReadCache};

#[path = "trtllm_find.rs"]
mod find;

use find::{CUDA, CUDA_PLACES, HEADER, LIBRARY, PLUGINS, ROOT};

const RPATH: &str = "DICAST_TRTLLM_RPATH";
const BRIDGE: &str = "src/engine/trtllm/bridge.rs";

pub(crate) fn build() -> Result<(), String> {
    for name in [ROOT, RPATH, "VIRTUAL_ENV", "PATH"].iter().chain(&CUDA) {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in ["build/trtllm.rs", "build/trtllm_find.rs", "cpp", BRIDGE] {
        println!("cargo::rerun-if-changed={path}");
    }
    let found = find::library(env::var_os(ROOT))?;
    let release = find::release(&found.include)?;
    let cuda = find::cuda(&found, &CUDA.map(env::var_os), &CUDA_PLACES)?;
    let [library, plugins] = [LIBRARY, PLUGINS].map(|name| found.libraries.join(name));
    for path in [&library, &plugins, &found.include.join(HEADER)] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let exported = [exports(&library)?, exports(&plugins)?];
    let abi = u8::from(has_cxx11_abi(&library, &exported[0])?);

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let mut bridge = cxx_build::bridge(BRIDGE);
    bridge.include("cpp").std("c++17").define("_GLIBCXX_USE_CXX11_ABI", Some(abi.to_string().as_str()));
    bridge.compile("dicast_trtllm_bridge");
    let installed = cmake::Config::new("cpp")
        .define("DICAST_TRTLLM_INCLUDE", &found.include)
        .define("DICAST_CUDA_INCLUDE", &cuda)
        .define("DICAST_BRIDGE_INCLUDE", out.join("cxxbridge/include"))
        .define("DICAST_CXX11_ABI", abi.to_string())
        .build()
        .join("lib");
    println!("cargo::rustc-link-search=native={}", installed.display());
    println!("cargo::rustc-link-lib=static=dicast_trtllm");

    let used = used(&installed.join("libdicast_trtllm.a"))?;
    check_complete(&used, &exported, &library)?;
    let stubs = out.join("link");
    fs::create_dir_all(&stubs).map_err(|error| format!("{}: {error}", stubs.display()))?;
    println!("cargo::rustc-link-search=native={}", stubs.display());
    let compiler = || bridge.get_compiler().to_command();
    let by_path = env::var(RPATH).is_ok_and(|asked| asked == "1");
    for (path, exported) in [(&plugins, &exported[1]), (&library, &exported[0])] {
        let symbols: Vec<_> = used.intersection(exported).map(String::as_str).collect();
        println!("cargo::rustc-link-lib=dylib={}", stub(&compiler, &stubs, path, by_path, &symbols)?);
    }
    println!("cargo::rustc-env=DICAST_TRTLLM_LIBRARY={}", library.display());
    println!("cargo::rustc-env=DICAST_TRTLLM_RELEASE={release}");
    Ok(())
}

fn unreadable(file: &Path, what: &dyn std::fmt::Display) -> String {
    format!("{}: cannot be read as a library: {what}", file.display())
}

/// The symbols that a shared library exports.
fn exports(library: &Path) -> Result<BTreeSet<String>, String> {
    let fail = |what: &dyn std::fmt::Display| unreadable(library, what);
    // The file has gigabytes: only its tables are read.
    let cache = ReadCache::new(fs::File::open(library).map_err(|error| fail(&error))?);
    let file = object::File::parse(&cache).map_err(|error| fail(&error))?;
    let defined = file.dynamic_symbols().filter(|symbol| !symbol.is_undefined());
    Ok(defined.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect())
}

/// Whether the library was built with the C++11 ABI of libstdc++, as its symbols show.
fn has_cxx11_abi(library: &Path, exported: &BTreeSet<String>) -> Result<bool, String> {
    let mut executor = exported.iter().filter(|name| name.contains("12tensorrt_llm8executor")).peekable();
    if executor.peek().is_none() {
        return Err(unreadable(library, &"it exports no symbol of tensorrt_llm::executor"));
    }
    Ok(executor.any(|name| name.contains("cxx11")))
}

/// The symbols that the adapter takes from elsewhere.
fn used(archive: &Path) -> Result<BTreeSet<String>, String> {
    let fail = |what: &dyn std::fmt::Display| unreadable(archive, what);
    let bytes = fs::read(archive).map_err(|error| fail(&error))?;
    let members = ArchiveFile::parse(&*bytes).map_err(|error| fail(&error))?;
    let (mut used, mut own) = (BTreeSet::new(), BTreeSet::new());
    for member in members.members() {
        let data = member.and_then(|member| member.data(&*bytes)).map_err(|error| fail(&error))?;
        let Ok(file) = object::File::parse(data) else { continue };
        for symbol in file.symbols().filter(object::ObjectSymbol::is_global) {
            let Ok(name) = symbol.name() else { continue };
            if symbol.is_undefined() { &mut used } else { &mut own }.insert(name.to_owned());
        }
    }
    Ok(&used - &own)
}

/// Checks here, with a plain message, what the linker would complain about.
fn check_complete(used: &BTreeSet<String>, exported: &[BTreeSet<String>; 2], library: &Path) -> Result<(), String> {
    let is_vendors = |name: &&String| name.contains("12tensorrt_llm") && !name.contains("6dicast");
    match used.iter().filter(is_vendors).find(|name| !exported.iter().any(|exported| exported.contains(*name))) {
        None => Ok(()),
        Some(name) => Err(format!(
            "{}: lacks the symbol {name}, which its headers declare: headers and library are of different releases",
            library.display()
        )),
    }
}

/// Makes a library with these symbols in the place of the vendor's; gives its name. By the name in it the loader finds the
/// vendor's: along its usual ways, or at the very path.
///
/// The file's own name is another one, so that the loader never takes it for the vendor's.
fn stub(
    compiler: &dyn Fn() -> Command,
    folder: &Path,
    library: &Path,
    by_path: bool,
    symbols: &[&str],
) -> Result<String, String> {
    let file = library.file_name().and_then(|name| name.to_str()).expect("one of two names");
    let name = format!("dicast_link_{}", file.trim_start_matches("lib").trim_end_matches(".so"));
    let loaded = if by_path { library.display().to_string() } else { file.to_owned() };
    let mut source = String::from("    .data\n");
    for symbol in symbols {
        let _ = write!(
            source,
            "    .globl {symbol}\n    .type {symbol}, %object\n    .size {symbol}, 8\n{symbol}:\n    .quad 0\n"
        );
    }
    source += "    .section .note.GNU-stack,\"\",%progbits\n";
    let assembly = folder.join(format!("{name}.s"));
    fs::write(&assembly, source).map_err(|error| format!("{}: {error}", assembly.display()))?;
    let made = folder.join(format!("lib{name}.so"));
    let output = compiler()
        .args(["-shared", "-nostdlib", "-o"])
        .arg(&made)
        .arg(format!("-Wl,-soname,{loaded}"))
        .arg(&assembly)
        .output()
        .map_err(|error| format!("the C++ compiler cannot be started: {error}"))?;
    if output.status.success() {
        Ok(name)
    } else {
        Err(format!("{} cannot be made: {}", made.display(), String::from_utf8_lossy(&output.stderr)))
    }
}
