#!/usr/bin/env bash
# Measures an 8B judge on a GPU against the bandwidth of its memory: builds with CUDA, makes random models of Qwen3-8B's shape
# (BF16 16 GB, Q8_0 9 GB), and puts 1, 8, 32 and 128 judgments in flight on each. Writes target/gpu-report.md and .json.
#
#   benches/gpu.sh                         needs an NVIDIA GPU with 40 GB, CUDA's toolkit, 30 GB of disk; about 40 minutes
#   benches/gpu.sh --quant q8_0 --concurrency 1,8     part of it: 20 GB are enough
#   benches/gpu.sh --cpu                   a proof on the processor with a tiny model: its figures mean nothing
set -euo pipefail
cd "$(dirname "$0")/.."
features=(--features cuda)
target=target/gpu
for argument in "$@"; do
    [ "$argument" = --cpu ] && features=() target=${CARGO_TARGET_DIR:-target}
done
if [ ${#features[@]} -gt 0 ]; then
    command -v nvidia-smi >/dev/null || { echo "gpu.sh: no nvidia-smi: is this a machine with an NVIDIA GPU? (--cpu: a proof without one)" >&2; exit 1; }
    command -v nvcc >/dev/null || { echo "gpu.sh: no nvcc: install CUDA's toolkit and put its bin folder on PATH" >&2; exit 1; }
fi
scripts/test_fixtures.sh >&2
CARGO_TARGET_DIR=$target cargo build --release --quiet --bin dicast "${features[@]}"
exec target/fixtures/venv/bin/python benches/gpu.py --dicast "$target/release/dicast" "$@"
