#!/usr/bin/env bash
# Compares the crate's public Rust items with tests/data/public-api.txt, one line an item.
#
#   scripts/public_api.sh           compares
#   scripts/public_api.sh --bless   writes the list again, after an intended change
#
# The list comes from rustdoc's JSON, which stable compilers write with RUSTC_BOOTSTRAP. Features off, so that it is the same
# on every machine; of the engines and the command line, programs only build on `engine::local` and `engine::trtllm`.
set -euo pipefail
cd "$(dirname "$0")/.."
golden=tests/data/public-api.txt
target=${CARGO_TARGET_DIR:-target}
RUSTC_BOOTSTRAP=1 cargo rustdoc --quiet --no-default-features --features testing --lib -- \
    --cap-lints allow -Z unstable-options --output-format json
list=$(mktemp)
trap 'rm -f "$list"' EXIT
python3 scripts/public_api.py "$target/doc/dicast.json" >"$list"
if [ "${1:-}" = --bless ]; then
    cp "$list" "$golden"
elif ! diff -u "$golden" "$list"; then
    echo "public_api.sh: the public interface has changed (above); if that is meant: scripts/public_api.sh --bless" >&2
    exit 1
fi
