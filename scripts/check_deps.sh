#!/usr/bin/env bash
# Licences, sources and doubled versions of the dependencies, by cargo-deny and deny.toml. Known vulnerabilities are
# looked up as well where their database can be reached.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing cargo-deny (once for all projects of this user; takes some minutes)"
    if ! cargo install cargo-deny --locked --quiet; then
        echo "cargo-deny cannot be installed: the dependencies are not checked" >&2
        exit 0
    fi
fi
cargo deny --all-features check --hide-inclusion-graph bans licenses sources
if ! cargo deny --all-features fetch db >/dev/null 2>&1; then
    echo "the database of vulnerabilities cannot be reached: they are not checked" >&2
    exit 0
fi
cargo deny --all-features check --hide-inclusion-graph advisories
