#!/usr/bin/env bash
# Checks that the C and C++ code is formatted as .clang-format says. Installs the pinned clang-format in target/, because
# other versions format some lines differently.
#
#   scripts/clang_format.sh          names the files that differ
#   scripts/clang_format.sh --fix    rewrites them
set -euo pipefail
cd "$(dirname "$0")/.."
version=20.1.8
venv=${CARGO_TARGET_DIR:-target}/clang-format-$version

fail() {
    echo "clang_format.sh: $1" >&2
    exit 1
}

case ${1:-} in
'') mode=(--dry-run --Werror) ;;
--fix) mode=(-i) ;;
*) fail "usage: scripts/clang_format.sh [--fix]" ;;
esac

if [ ! -e "$venv/done" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv" || fail "python3 cannot make a venv (Debian: apt-get install python3-venv)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "clang-format==$version" ||
        fail "clang-format $version cannot be installed from the package index of pip"
    touch "$venv/done"
fi

# include/dicast.h is generated, and compared with the generator's output.
"$venv/bin/clang-format" "${mode[@]}" include/dicast.hpp include/dicast/*.hpp cpp/*.h cpp/*.cpp tests/capi/*.h \
    tests/capi/*.c tests/cpp/*.hpp tests/cpp/*.cpp examples/c/*.c examples/cpp/*.cpp ||
    fail "some files differ: scripts/clang_format.sh --fix rewrites them"
