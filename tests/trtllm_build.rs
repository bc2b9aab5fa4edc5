//! How the build finds TensorRT-LLM and CUDA's headers, and its message if it does not.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../build/trtllm_find.rs"]
#[expect(dead_code, reason = "the build uses all of it")]
mod find;

/// A folder for one test, with these files.
fn root(test: &str, files: &[&str]) -> PathBuf {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trtllm_build").join(test);
    let _ = fs::remove_dir_all(&packages);
    let folder = packages.join("tensorrt_llm");
    for file in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    folder
}

const WHOLE: [&str; 3] =
    ["include/tensorrt_llm/executor/executor.h", "libs/libtensorrt_llm.so", "libs/libnvinfer_plugin_tensorrt_llm.so"];

fn version(root: &Path, version: &str) {
    let line = format!("static auto constexpr kTensorRtLlmVersion = \"{version}\";");
    fs::write(root.join("include/tensorrt_llm/executor/version.h"), line).unwrap();
}

#[test]
fn every_path_tried_is_named() {
    let root = root("missing", &WHOLE[..2]);
    let error = find::library(Some(root.clone().into())).unwrap_err();
    for word in ["DICAST_TRTLLM_ROOT is set", "libnvinfer_plugin_tensorrt_llm.so", "lib64"] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
    let error = find::library(Some(root.join("elsewhere").into())).unwrap_err();
    assert!(error.contains("elsewhere/include/tensorrt_llm/executor/executor.h"), "{error}");
}

#[test]
fn the_release_is_read_from_the_headers() {
    let root = root("release", &WHOLE);
    let found = find::library(Some(root.clone().into())).unwrap();
    assert_eq!(found.libraries, root.join("libs"));
    for good in ["1.0.0", "1.1.0", "1.2.0rc2", "1.2.1"] {
        version(&root, good);
        assert_eq!(find::release(&found.include).unwrap(), good);
    }
    for other in ["0.21.0", "1.3.0rc20", ""] {
        version(&root, other);
        let error = find::release(&found.include).unwrap_err();
        assert!(error.contains("1.0 to 1.2.1") && error.contains(&format!("{other:?}")), "{error}");
    }
}

#[test]
fn missing_cuda_headers_are_one_clear_message() {
    let root = root("cuda", &WHOLE);
    let found = find::library(Some(root.clone().into())).unwrap();
    let named = Some(root.join("toolkit").into_os_string());
    let error = find::cuda(&found, &[None, named.clone()], &["/nowhere/cuda"]).unwrap_err();
    for word in ["cuda_fp16.h", "CUDA_HOME", "toolkit/include", "/nowhere/cuda/include", "nvidia/cu13/include"] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
    // Beside the vendor's wheel; then where a variable says, which takes precedence.
    let wheel = root.with_file_name("nvidia/cuda_runtime/include");
    fs::create_dir_all(&wheel).unwrap();
    fs::write(wheel.join("cuda_fp16.h"), "").unwrap();
    let folder = find::cuda(&found, &[None], &[]).unwrap();
    assert_eq!(fs::canonicalize(folder).unwrap(), fs::canonicalize(&wheel).unwrap());
    let toolkit = root.join("toolkit/targets/x86_64-linux/include");
    fs::create_dir_all(&toolkit).unwrap();
    fs::write(toolkit.join("cuda_fp16.h"), "").unwrap();
    let folder = find::cuda(&found, &[named], &[]).unwrap();
    assert_eq!(fs::canonicalize(folder).unwrap(), fs::canonicalize(&toolkit).unwrap());
}
