#!/usr/bin/env bash
# Installs the C library into an empty place, moves it, and builds and runs the C examples against it as others would: by
# pkg-config and by CMake, shared and static.
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d "${TMPDIR:-/tmp}/dicast-install.XXXXXX")
trap 'rm -rf "$place"' EXIT
model=demo/dicast-demo.gguf

fail() {
    echo "check_install.sh: $1" >&2
    exit 1
}

DESTDIR=$place/stage PREFIX=/opt/dicast scripts/install_capi.sh >/dev/null
prefix=$place/moved
mv "$place/stage/opt/dicast" "$prefix"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
ran=0

# check PROGRAM: it runs, and judges as it should.
check() {
    local said
    said=$(LD_LIBRARY_PATH=$2 "$1" "$model") || fail "$1 failed"
    case $said in *"3. long"* | *" of 16 preferred the short answer"*) ran=$((ran + 1)) ;; *) fail "$1 says: $said" ;; esac
}

cp -r examples/c "$place/pkg-config"
make -s -C "$place/pkg-config" CFLAGS="-O2 -Wall -Wextra -Werror"
cmake -S examples/c -B "$place/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
cmake --build "$place/cmake" >/dev/null
for built in pkg-config cmake; do
    for example in blocking async; do
        check "$place/$built/$example" "$prefix/lib"
        ldd "$place/$built/${example}_static" | grep -q libdicast && fail "${example}_static needs the shared library"
        check "$place/$built/${example}_static" ""
    done
done
readelf -d "$place/pkg-config/blocking" | grep -q 'NEEDED.*\[libdicast.so.0\]' || fail "blocking does not ask for the SONAME"
echo "the installed C library: $ran programs were built by pkg-config and CMake, shared and static, and judged"
