#!/usr/bin/env bash
# Installs what is missing of the programs that building Dicast takes, on Debian and Ubuntu by apt; elsewhere it names
# them. Says nothing and changes nothing where all is there.
#
#   scripts/install_deps.sh             for building: a C++ compiler, CMake, libclang
#   scripts/install_deps.sh --tests     also for the tests: python3 with venv, npm, pkg-config, valgrind
set -euo pipefail

fail() {
    echo "install_deps.sh: $1" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

any_exists() {
    local path
    for path in "$@"; do
        [ -e "$path" ] && return 0
    done
    return 1
}

# bindgen needs the library, and the compiler's own headers beside it.
has_libclang() {
    { [ -n "${LIBCLANG_PATH:-}" ] || any_exists /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* \
        /usr/lib64/libclang*.so* /usr/local/lib/libclang*.so* /Library/Developer/CommandLineTools/usr/lib/libclang.dylib; } &&
        any_exists /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h \
            /usr/lib64/clang/*/include/stddef.h /Library/Developer/CommandLineTools/usr/lib/clang/*/include/stddef.h
}

has cargo || fail "Rust is missing: install it as https://rustup.rs says (1.89 or newer), then run this again"

packages=()
has c++ || packages+=(g++)
has cmake || packages+=(cmake)
has_libclang || packages+=(libclang-dev)
if [ "${1:-}" = --tests ]; then
    has python3 || packages+=(python3)
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    has npm || packages+=(npm)
    has pkg-config || packages+=(pkg-config)
    has valgrind || packages+=(valgrind)
fi
[ ${#packages[@]} -gt 0 ] || exit 0

has apt-get || fail "missing: ${packages[*]} (by their Debian names); install them, then run this again"
as_root=()
if [ "$(id -u)" != 0 ]; then
    has sudo || fail "missing: ${packages[*]}; as root: apt-get install ${packages[*]}"
    as_root=(sudo)
fi
echo "installing ${packages[*]}"
"${as_root[@]}" apt-get update -qq
# Builds after the first take a fraction of the time with ccache: worth it where packages are installed anyway.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" ccache
