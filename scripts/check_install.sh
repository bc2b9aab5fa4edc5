#!/usr/bin/env bash
# Installs the C library into an empty place, moves it, and builds and runs the examples in C, C++ and Go against it as
# others would: by pkg-config, by CMake and by cgo, shared and static.
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
    said=$(LD_LIBRARY_PATH=$2 "$1" "$model" 2>"$place/stderr") || fail "$1 failed: $(<"$place/stderr")"
    case $said in
    *"3. long"* | *" of 16 preferred the short answer"*) ;;
    # The trainer has learned, and the Go program has come to its end.
    *"step 5: "*"chance of the short answer 0."[789]* | *"called back: "*"rewards of the group: ["*) ;;
    *) fail "$1 says: $said" ;;
    esac
    ran=$((ran + 1))
}

# build LANGUAGE PROGRAM...: by both, where the programs lie then; each is there shared and static.
build() {
    local language=$1 program built
    shift
    cp -r "examples/$language" "$place/$language-make"
    make -s -C "$place/$language-make" CFLAGS="-O2 -Wall -Wextra -Werror" CXXFLAGS="-O2 -Wall -Wextra -Werror"
    cmake -S "examples/$language" -B "$place/$language-cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=Release >/dev/null
    cmake --build "$place/$language-cmake" >/dev/null
    for built in "$place/$language-make" "$place/$language-cmake"; do
        for program in "$@"; do
            check "$built/$program" "$prefix/lib"
            ldd "$built/${program}_static" | grep -q libdicast && fail "${program}_static needs the shared library"
            check "$built/${program}_static" ""
        done
    done
}

build c blocking async
build cpp trainer

command -v go >/dev/null || fail "go is missing: scripts/install_deps.sh --tests installs it"
# Nothing is fetched: neither modules nor another Go. Go's own cache would link with the place of an earlier run.
export GOCACHE=$place/go-cache GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod
if ! (cd examples/go && go vet ./... && go build -o "$place/go-judge" . &&
    LD_LIBRARY_PATH=$prefix/lib go test -count=1 ./...) >"$place/go.log" 2>&1; then
    fail "the Go package fails: $(<"$place/go.log")"
fi
check "$place/go-judge" "$prefix/lib"

readelf -d "$place/c-make/blocking" | grep -q 'NEEDED.*\[libdicast.so.0\]' || fail "blocking does not ask for the SONAME"
echo "the installed C library: $ran programs were built by pkg-config, CMake and cgo, shared and static, and judged"
