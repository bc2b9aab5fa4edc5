#!/usr/bin/env bash
# Installs the programs that a build needs and that are missing: with apt on Debian and Ubuntu; on other systems it lists
# them. If nothing is missing, it prints nothing and changes nothing.
#
#   scripts/install_deps.sh             for a build: a C++ compiler, CMake, libclang
#   scripts/install_deps.sh --python    also for the Python package: python3 with venv
#   scripts/install_deps.sh --tests     also for the tests: python3 with venv, npm, pkg-config, valgrind, Go
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

# bindgen needs libclang and the compiler's own headers.
has_libclang() {
    { [ -n "${LIBCLANG_PATH:-}" ] || any_exists /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* \
        /usr/lib64/libclang*.so* /usr/local/lib/libclang*.so* /Library/Developer/CommandLineTools/usr/lib/libclang.dylib; } &&
        any_exists /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h \
            /usr/lib64/clang/*/include/stddef.h /Library/Developer/CommandLineTools/usr/lib/clang/*/include/stddef.h
}

has cargo || fail "Rust is missing: install 1.89 or newer from https://rustup.rs, then run this again"

packages=()
has c++ || packages+=(g++)
has cmake || packages+=(cmake)
has_libclang || packages+=(libclang-dev)
case ${1:-} in --python | --tests)
    has python3 || packages+=(python3)
    python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
    ;;
esac
if [ "${1:-}" = --tests ]; then
    has npm || packages+=(npm)
    has pkg-config || packages+=(pkg-config)
    has valgrind || packages+=(valgrind)
    has go || packages+=(golang-go)
fi
[ ${#packages[@]} -gt 0 ] || exit 0

has apt-get || fail "missing: ${packages[*]} (Debian names of the packages); install them, then run this again"
as_root=()
if [ "$(id -u)" != 0 ]; then
    has sudo || fail "missing: ${packages[*]}; run as root: apt-get install ${packages[*]}"
    as_root=(sudo)
fi
echo "installing ${packages[*]}"
"${as_root[@]}" apt-get update -qq
# With ccache later builds take a fraction of the time.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" ccache
