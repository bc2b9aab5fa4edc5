#!/usr/bin/env bash
# Judges three answers to one question under a principle and under its opposite, side by side.
# Call it as `make demo`, which builds what it runs.
set -euo pipefail
cd "$(dirname "$0")/.."

model=demo/dicast-demo.gguf
if [ ! -e "$model" ]; then
    echo "The demonstration judge is not here: a tiny model with random weights stands in. Its verdicts mean nothing." >&2
    scripts/install_deps.sh --tests
    scripts/test_fixtures.sh
    model=target/fixtures/tiny-qwen3.gguf
    set -- --max-reasoning-tokens 32 "$@"
fi
exec "${CARGO_TARGET_DIR:-target}/release/dicast" judge --model "$model" "$@" \
    examples/requests/concise.json examples/requests/detailed.json
