#!/usr/bin/env bash
# Tests the TensorRT-LLM engine with the stand-in of other releases than the one of `make trtllm-standin`: the adapter
# is compiled with the headers of each release, and the test program linked with it is run, except for the tests that do not
# depend on the release: threads, and opening and closing.
#
#   scripts/trtllm_releases.sh FOLDER FEATURES RELEASE...
#
# FOLDER gets a stand-in for each release. FEATURES are those of the crate to test with, `trtllm` among them.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:?the folder for the stand-ins}
features=${2:?the features}
shift 2
for release in "$@"; do
    start=$SECONDS
    cmake -S tests/trtllm_standin -B "$folder/$release/build" -DSTANDIN_VERSION="$release" >/dev/null
    cmake --build "$folder/$release/build" >/dev/null
    "$folder/$release/build/standin_selftest"
    cmake --install "$folder/$release/build" --prefix "$folder/$release/root" >/dev/null
    DICAST_TRTLLM_ROOT=$folder/$release/root DICAST_TRTLLM_RPATH=1 \
        "${CARGO:-cargo}" test --quiet --no-default-features --features "$features" --test trtllm -- \
        --skip lifecycle --skip concurrency
    echo "TensorRT-LLM $release: the adapter and its tests pass ($((SECONDS - start)) s)"
done
