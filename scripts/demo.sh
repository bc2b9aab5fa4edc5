#!/usr/bin/env bash
# Judges three responses to one prompt under a principle and under its opposite. Run it with `make demo`, which builds first.
set -euo pipefail
cd "$(dirname "$0")/.."

model=demo/dicast-demo.gguf
if [ ! -e "$model" ]; then
    echo "$model is missing: a tiny model with random weights takes its place. Its verdicts mean nothing." >&2
    scripts/install_deps.sh --tests
    scripts/test_fixtures.sh
    model=target/fixtures/tiny-qwen3.gguf
    set -- --max-reasoning-tokens 32 "$@"
fi
exec "${CARGO_TARGET_DIR:-target}/release/dicast" judge --model "$model" "$@" \
    examples/requests/concise.json examples/requests/detailed.json
