//! Where TensorRT-LLM and CUDA's headers are, and which release it is. Only the standard library: the tests use this too.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const ROOT: &str = "DICAST_TRTLLM_ROOT";
/// Variables that name a CUDA toolkit.
pub(crate) const CUDA: [&str; 4] = ["CUDA_HOME", "CUDA_PATH", "CUDAToolkit_ROOT", "CONDA_PREFIX"];
pub(crate) const HEADER: &str = "tensorrt_llm/executor/executor.h";
pub(crate) const LIBRARY: &str = "libtensorrt_llm.so";
pub(crate) const PLUGINS: &str = "libnvinfer_plugin_tensorrt_llm.so";
/// The header of CUDA's that the vendor's headers include.
const CUDA_HEADER: &str = "cuda_fp16.h";

/// Where the library and its headers are.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) root: PathBuf,
    pub(crate) include: PathBuf,
    pub(crate) libraries: PathBuf,
}

/// Looks only where the variable says; if it is not set, in known places.
pub(crate) fn library(named: Option<OsString>) -> Result<Found, String> {
    let mut tried = Vec::new();
    let named = named.filter(|root| !root.is_empty());
    let roots = named.as_ref().map_or_else(known_roots, |root| vec![PathBuf::from(root)]);
    for root in roots {
        if let Some(found) = look_into(&root, &mut tried) {
            return Ok(found);
        }
    }
    Err(format!(
        "the feature `trtllm` needs TensorRT-LLM 1.0 to 1.2.1. Set {ROOT} to its folder: the wheel's `tensorrt_llm`, the \
         container's /app/tensorrt_llm, or a prefix, with {HEADER} under include/ and {LIBRARY} and {PLUGINS} in libs/, \
         lib/ or lib64/. {}\nNot found:\n{}",
        if named.is_some() { format!("{ROOT} is set, but files are missing.") } else { format!("{ROOT} is not set.") },
        lines(&tried)
    ))
}

fn lines(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| format!("  {}", path.display())).collect::<Vec<_>>().join("\n")
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
            None => return Some(Found { root: root.to_owned(), include, libraries }),
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

/// The folder with CUDA's headers: of the toolkits named (see [`CUDA`]), of the wheels beside the library, or of an
/// installed one.
pub(crate) fn cuda(library: &Found, named: &[Option<OsString>], installed: &[&str]) -> Result<PathBuf, String> {
    let toolkits = named.iter().flatten().filter(|name| !name.is_empty()).map(PathBuf::from);
    let toolkits = toolkits.chain(installed.iter().map(PathBuf::from));
    let inside = ["include", "targets/x86_64-linux/include", "targets/sbsa-linux/include"];
    let mut tried: Vec<PathBuf> =
        toolkits.flat_map(|toolkit| inside.map(|folder| toolkit.join(folder).join(CUDA_HEADER))).collect();
    // Beside the vendor's wheel lie those of CUDA 12 or 13.
    let packages = std::fs::canonicalize(&library.root).unwrap_or_else(|_| library.root.clone());
    let wheels = ["nvidia/cuda_runtime/include", "nvidia/cu13/include", "nvidia/cu12/include"];
    tried.extend(wheels.map(|wheel| packages.with_file_name("").join(wheel).join(CUDA_HEADER)));
    if let Some(header) = tried.iter().find(|header| header.is_file()) {
        return Ok(header.with_file_name(""));
    }
    Err(format!(
        "the headers of TensorRT-LLM include CUDA's {CUDA_HEADER}, which was not found. Install CUDA's headers (the \
         container nvcr.io/nvidia/tensorrt-llm/devel has them; else the package cuda-cudart-dev, or the wheel \
         nvidia-cuda-runtime), or set CUDA_HOME to the toolkit\nNot found:\n{}",
        lines(&tried)
    ))
}

/// Where CUDA is usually installed.
pub(crate) const CUDA_PLACES: [&str; 3] = ["/usr/local/cuda", "/opt/cuda", "/usr"];

/// The release whose headers these are.
pub(crate) fn release(include: &Path) -> Result<String, String> {
    let file = include.join("tensorrt_llm/executor/version.h");
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))?;
    let version = text.split("kTensorRtLlmVersion").nth(1).and_then(|rest| rest.split('"').nth(1)).unwrap_or_default();
    let mut numbers = version.split('.').map(|part| {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().unwrap_or(0)
    });
    let mut number = || numbers.next().unwrap_or(0);
    let release = (number(), number(), number());
    if ((1, 0, 0)..=(1, 2, 1)).contains(&release) {
        return Ok(version.to_owned());
    }
    Err(format!(
        "{} is TensorRT-LLM {version:?}: the adapter supports 1.0 to 1.2.1. Set {ROOT} to such a release",
        file.display()
    ))
}
