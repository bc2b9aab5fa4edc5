//! Finds TensorRT-LLM, builds the adapter in `cpp/` with its headers, and links both.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSymbol as _, ReadCache};

const ROOT: &str = "DICAST_TRTLLM_ROOT";
const RPATH: &str = "DICAST_TRTLLM_RPATH";
const BRIDGE: &str = "src/engine/trtllm/bridge.rs";
const HEADER: &str = "tensorrt_llm/executor/executor.h";
const LIBRARY: &str = "libtensorrt_llm.so";
const PLUGINS: &str = "libnvinfer_plugin_tensorrt_llm.so";

/// Where the library and its headers are.
struct Found {
    include: PathBuf,
    libraries: PathBuf,
}

pub(crate) fn build() -> Result<(), String> {
    for name in [ROOT, RPATH, "VIRTUAL_ENV", "PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    for path in ["build/trtllm.rs", "cpp", BRIDGE] {
        println!("cargo::rerun-if-changed={path}");
    }
    let found = find()?;
    check_release(&found.include)?;
    let library = found.libraries.join(LIBRARY);
    for path in [&library, &found.libraries.join(PLUGINS), &found.include.join(HEADER)] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let abi = u8::from(has_cxx11_abi(&library)?);

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    cxx_build::bridge(BRIDGE)
        .include("cpp")
        .std("c++17")
        .define("_GLIBCXX_USE_CXX11_ABI", Some(abi.to_string().as_str()))
        .compile("dicast_trtllm_bridge");
    let installed = cmake::Config::new("cpp")
        .define("DICAST_TRTLLM_INCLUDE", &found.include)
        .define("DICAST_BRIDGE_INCLUDE", out.join("cxxbridge/include"))
        .define("DICAST_CXX11_ABI", abi.to_string())
        .build();
    println!("cargo::rustc-link-search=native={}", installed.join("lib").display());
    println!("cargo::rustc-link-lib=static=dicast_trtllm");
    println!("cargo::rustc-link-search=native={}", found.libraries.display());
    println!("cargo::rustc-link-lib=dylib=nvinfer_plugin_tensorrt_llm");
    println!("cargo::rustc-link-lib=dylib=tensorrt_llm");
    // The libraries that these two need (TensorRT, CUDA, MPI) are found when the program is loaded, not now.
    println!("cargo::rustc-link-arg=-Wl,--allow-shlib-undefined");
    if env::var(RPATH).is_ok_and(|asked| asked == "1") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{}", found.libraries.display());
    }
    println!("cargo::rustc-env=DICAST_TRTLLM_LIBRARY={}", library.display());
    Ok(())
}

/// Looks only where the variable says; if it is not set, in known places.
fn find() -> Result<Found, String> {
    let mut tried = Vec::new();
    let named = env::var_os(ROOT).filter(|root| !root.is_empty());
    let roots = named.as_ref().map_or_else(known_roots, |root| vec![PathBuf::from(root)]);
    for root in roots {
        if let Some(found) = look_into(&root, &mut tried) {
            return Ok(found);
        }
    }
    let tried: Vec<_> = tried.iter().map(|path| format!("  {}", path.display())).collect();
    Err(format!(
        "the feature `trtllm` needs TensorRT-LLM 1.0 to 1.2.1. Set {ROOT} to its folder: the wheel's `tensorrt_llm`, the \
         container's /app/tensorrt_llm, or a prefix, with {HEADER} under include/ and {LIBRARY} and {PLUGINS} in libs/, \
         lib/ or lib64/. {}\nNot found:\n{}",
        if named.is_some() { format!("{ROOT} is set, but files are missing.") } else { format!("{ROOT} is not set.") },
        tried.join("\n")
    ))
}

/// The headers and libraries under one root. Paths that are missing go to `tried`.
fn look_into(root: &Path, tried: &mut Vec<PathBuf>) -> Option<Found> {
    let include = root.join("include");
    let header = include.join(HEADER);
    if !header.is_file() {
        tried.push(header);
        return None;
    }
    for folder in ["libs", "lib", "lib64"] {
        let libraries = root.join(folder);
        let missing = [LIBRARY, PLUGINS].map(|name| libraries.join(name)).into_iter().find(|path| !path.is_file());
        match missing {
            None => return Some(Found { include, libraries }),
            Some(path) => tried.push(path),
        }
    }
    None
}

/// The container's folder, the package of `python3`, and the usual prefixes.
fn known_roots() -> Vec<PathBuf> {
    let mut roots = vec![PathBuf::from("/app/tensorrt_llm")];
    let script = "import sysconfig; print(sysconfig.get_path('platlib')); print(sysconfig.get_path('purelib'))";
    if let Ok(output) = Command::new("python3").args(["-c", script]).output() {
        let folders = String::from_utf8_lossy(&output.stdout).into_owned();
        roots.extend(folders.lines().map(|folder| Path::new(folder.trim()).join("tensorrt_llm")));
    }
    roots.extend(["/usr/local/tensorrt_llm", "/opt/tensorrt_llm", "/usr/local", "/usr"].map(PathBuf::from));
    let mut unique = Vec::new();
    for root in roots {
        if !unique.contains(&root) {
            unique.push(root);
        }
    }
    unique
}

/// Refuses headers of a release that the adapter was not written for.
fn check_release(include: &Path) -> Result<(), String> {
    let file = include.join("tensorrt_llm/executor/version.h");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
    let version = text.split("kTensorRtLlmVersion").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or_default();
    let mut numbers = version.split('.').map(|part| {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().unwrap_or(0)
    });
    let mut number = || numbers.next().unwrap_or(0);
    let release = (number(), number(), number());
    if ((1, 0, 0)..=(1, 2, 1)).contains(&release) {
        return Ok(());
    }
    Err(format!(
        "{} is TensorRT-LLM {version:?}: the adapter supports 1.0 to 1.2.1. Set {ROOT} to such a release",
        file.display()
    ))
}

/// Whether the library was built with the C++11 ABI of libstdc++, as its symbols show.
fn has_cxx11_abi(library: &Path) -> Result<bool, String> {
    let fail = |what: &dyn std::fmt::Display| format!("{}: cannot be read as a library: {what}", library.display());
    // The file has gigabytes: only its tables are read.
    let cache = ReadCache::new(fs::File::open(library).map_err(|error| fail(&error))?);
    let file = object::File::parse(&cache).map_err(|error| fail(&error))?;
    let has = |name: &[u8], part: &[u8]| name.windows(part.len()).any(|window| window == part);
    let names = file.dynamic_symbols().filter_map(|symbol| symbol.name_bytes().ok());
    let executor: Vec<_> = names.filter(|name| has(name, b"12tensorrt_llm8executor")).collect();
    if executor.is_empty() {
        return Err(fail(&"it exports no symbol of tensorrt_llm::executor"));
    }
    Ok(executor.iter().any(|name| has(name, b"cxx11")))
}
