#!/usr/bin/env bash
# Builds dicast against the vendor's TensorRT-LLM and runs its engine tests on a GPU with a real engine. `make test` runs
# the same tests against the stand-in.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: DICAST_TRTLLM_ROOT=DIR DICAST_TRTLLM_ENGINE=DIR check_real_trtllm.sh [--help]

  DICAST_TRTLLM_ROOT     TensorRT-LLM 1.0 to 1.2.1: the wheel's folder, /app/tensorrt_llm, or a prefix, with include/ and
                         libs/, lib/ or lib64/
  DICAST_TRTLLM_ENGINE   an engine folder that build_engine.sh made for this machine's GPU

Needs Rust, CMake, a C++ compiler and CUDA's headers, as the container nvcr.io/nvidia/tensorrt-llm/devel:1.2.1 has them.
The stand-in of tests/trtllm_standin is refused: `make test` runs the tests against it.
TEXT
}

fail() {
    echo "check_real_trtllm.sh: $1" >&2
    exit 2
}

case ${1:-} in
    '') ;;
    --help | -h) usage; exit 0 ;;
    *) fail "unknown option $1 (see --help)" ;;
esac
root=${DICAST_TRTLLM_ROOT:-}
engine=${DICAST_TRTLLM_ENGINE:-}
[ -n "$root" ] || fail "DICAST_TRTLLM_ROOT is not set (see --help)"
[ -n "$engine" ] || fail "DICAST_TRTLLM_ENGINE is not set (see --help)"
[ -e "$root/include/tensorrt_llm/executor/executor.h" ] ||
    fail "$root/include/tensorrt_llm/executor/executor.h is missing: is this TensorRT-LLM 1.0 to 1.2.1?"
libraries=''
for folder in libs lib lib64; do
    if [ -e "$root/$folder/libtensorrt_llm.so" ]; then
        libraries=$root/$folder
        break
    fi
done
[ -n "$libraries" ] || fail "libtensorrt_llm.so is in none of $root/libs, $root/lib, $root/lib64"
if grep -q dicast_trtllm_standin "$libraries/libtensorrt_llm.so"; then
    fail "$libraries/libtensorrt_llm.so is dicast's stand-in for tests: name the vendor's library"
fi
release=$(sed -n 's/.*kTensorRtLlmVersion[^"]*"\([^"]*\)".*/\1/p' "$root/include/tensorrt_llm/executor/version.h")
case $release in
    1.0.* | 1.1.* | 1.2.0* | 1.2.1*) ;;
    *) fail "$root is TensorRT-LLM ${release:-(unknown)}; the adapter supports 1.0 to 1.2.1" ;;
esac
[ -e "$engine/config.json" ] || fail "$engine/config.json is missing: build the engine with scripts/build_engine.sh"
nvidia-smi -L >/dev/null 2>&1 || fail "no GPU found: nvidia-smi -L fails"

echo "TensorRT-LLM $release in $libraries"
nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv
export DICAST_TRTLLM_RPATH=1 LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
cargo test --release --no-default-features --features trtllm --test trtllm_engine -- --test-threads=1 --nocapture
