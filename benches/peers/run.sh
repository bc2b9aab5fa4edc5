#!/usr/bin/env bash
# Compares Dicast with its peers, in turns, on the same weights and requests. Missing programs are installed in target/servers
# (4 GB for vLLM, ten minutes of compiling for llama-server); LLAMA_SERVER and VLLM_PYTHON name programs that already exist.
#
#   benches/peers/run.sh                                  all of them, three rounds of 100 requests
#   benches/peers/run.sh --rounds 1 --requests 3          a quick check that everything works
#   benches/peers/run.sh --only dicast,llama --rounds 5   some of them
set -euo pipefail
cd "$(dirname "$0")/../.."
paths=$(scripts/test_servers.sh --install)
LLAMA_SERVER=$(sed -n 1p <<<"$paths") VLLM_PYTHON=$(sed -n 2p <<<"$paths")
# The reference's local mode needs this package to place its model.
"$VLLM_PYTHON" -c 'import accelerate' 2>/dev/null || "$VLLM_PYTHON" -m pip install --quiet --no-deps accelerate
cargo build --release --quiet
export LLAMA_SERVER VLLM_PYTHON DICAST=${DICAST:-${CARGO_TARGET_DIR:-target}/release/dicast}
exec "$VLLM_PYTHON" benches/peers/peers.py "$@"
