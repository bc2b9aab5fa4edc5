#!/usr/bin/env bash
# Tests the pages of the server in headless Chromium: what users do there, no complaint of axe, no violation of the policy.
# usage: tests/page/run.sh [PROGRAM]   The program is target/release/dicast by default, its judge the demonstration judge.
# DICAST_PAGE_URL names a running server. CHROMIUM names the browser. Screenshots: target/page/shots.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
place=$target/page
for name in ${CHROMIUM:-} chromium chromium-browser google-chrome; do
    browser=$(command -v "$name" 2>/dev/null) && break
done
if [ -z "${browser:-}" ] || ! command -v npm >/dev/null; then
    echo "SKIPPED: the pages are not tested: that needs npm and a browser (Debian: apt-get install npm chromium; or CHROMIUM=/path)" >&2
    exit 0
fi
mkdir -p "$place"
cp tests/page/package.json tests/page/test.mjs "$place"
if ! cmp -s tests/page/package.json "$place/installed.json"; then
    if ! (cd "$place" && npm install --silent --no-audit --no-fund >/dev/null 2>&1); then
        echo "SKIPPED: the pages are not tested: npm cannot install puppeteer-core and axe-core" >&2
        exit 0
    fi
    cp tests/page/package.json "$place/installed.json"
fi
url=${DICAST_PAGE_URL:-}
if [ -z "$url" ]; then
    program=${1:-$target/release/dicast}
    port=$((20000 + RANDOM % 20000))
    "$program" serve --model demo/dicast-demo.gguf --port "$port" --jobs none --log-level warn &
    server=$!
    trap 'kill "$server" 2>/dev/null || true' EXIT
    url=http://127.0.0.1:$port
    for _ in $(seq 200); do
        curl -sf "$url/ready" >/dev/null && break
        kill -0 "$server" 2>/dev/null || { echo "the server ended" >&2; exit 1; }
        sleep 0.3
    done
fi
CHROMIUM=$browser timeout 600 node "$place/test.mjs" "$url" "$place/shots"
