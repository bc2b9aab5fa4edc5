#!/usr/bin/env bash
# Prints the options of `cargo test` for all programs of tests/ but those that are named, each of which must exist.
#
#   scripts/tests_but.sh local cli
set -euo pipefail
cd "$(dirname "$0")/.."

"${CARGO:-cargo}" metadata --no-deps --offline --format-version 1 | python3 -c '
import json, sys

targets = json.load(sys.stdin)["packages"][0]["targets"]
tests = {target["name"] for target in targets if "test" in target["kind"]}
named = set(sys.argv[1:])
if unknown := named - tests:
    sys.exit("tests_but.sh: not in tests/: " + ", ".join(sorted(unknown)))
print(*(f"--test {name}" for name in sorted(tests - named)))
' "$@"
