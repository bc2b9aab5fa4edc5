#!/usr/bin/env bash
# Installs the C library into an empty folder, moves it, then builds and runs the examples in C, C++ and Go against it as a
# user would: with pkg-config, CMake and cgo, shared and static.
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
grep -q '^\.TH dicast 1' "$prefix/share/man/man1/dicast.1" || fail "the man page is not installed"
ran=0

# check PROGRAM LIBRARY_PATH: runs it; its output must be right.
check() {
    local said
    said=$(LD_LIBRARY_PATH=$2 "$1" "$model" 2>"$place/stderr") || fail "$1 failed: $(<"$place/stderr")"
    case $said in
    *"3. long"* | *" of 16 preferred the short answer"* | *"4 of 4 preferred the short answer"*) ;;
    # After warming up, each prompt begins with what was kept.
    *"tokens are kept"*"prompt tokens were there already"*) ;;
    # The trainer has learned; the Go program has reached its end.
    *"step 5: "*"chance of the short answer 0."[789]* | *"called back: "*"rewards of the group: ["*) ;;
    *) fail "unexpected output of $1: $said" ;;
    esac
    ran=$((ran + 1))
}

# build LANGUAGE PROGRAM...: builds with make and with CMake, shared and static, and checks each program.
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

build c blocking async events engine dashboard groups warming
build cpp trainer sleeping

# With llama.cpp itself: the one that the library was built with, linked a second time beside it.
llama=$(find "$(realpath "${CARGO_TARGET_DIR:-target}")"/release/build/llama-cpp-sys-2-*/out -maxdepth 1 -name include -printf '%T@ %h\n' | sort -n | tail -1 | cut -d' ' -f2)
make -s -C "$place/cpp-make" CXXFLAGS="-O2 -Wall -Wextra -Werror" LLAMA="$llama" llama
check "$place/cpp-make/llama" "$prefix/lib"

# The installed library finds the installed program, its worker process.
cat >"$place/isolated.c" <<'EOF'
#include <dicast.h>
#include <stdio.h>
int main(int argc, char **argv) {
    char config[1000];
    dicast_judge *judge = NULL;
    dicast_error *error = NULL;
    if (argc != 2) return 2;
    snprintf(config, sizeof config, "{\"model\": \"%s\", \"local\": {\"isolation\": \"process\"}}", argv[1]);
    if (dicast_judge_open(dicast_str_cstr(config), NULL, &judge, &error) != DICAST_OK) {
        puts(dicast_error_message(error).data);
        return 1;
    }
    dicast_judge_free(judge);
    return 0;
}
EOF
# shellcheck disable=SC2046 # several flags
cc "$place/isolated.c" -o "$place/isolated" $(pkg-config --cflags --libs dicast)
said=$(LD_LIBRARY_PATH=$prefix/lib PATH=/usr/bin:/bin "$place/isolated" "$model") || fail "isolation from an installed library: $said"

command -v go >/dev/null || fail "go is missing: run scripts/install_deps.sh --tests"
# Nothing may be downloaded, neither modules nor another Go. The cache is fresh: the usual one would link with the folder of
# an earlier run.
export GOCACHE=$place/go-cache GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod
if ! (cd examples/go && go vet ./... && go build -o "$place/go-judge" . &&
    LD_LIBRARY_PATH=$prefix/lib go test -count=1 ./...) >"$place/go.log" 2>&1; then
    fail "the Go package fails: $(<"$place/go.log")"
fi
check "$place/go-judge" "$prefix/lib"

readelf -d "$place/c-make/blocking" | grep -q 'NEEDED.*\[libdicast.so.0\]' || fail "blocking is not linked with the SONAME libdicast.so.0"
echo "installed C library: $ran programs built with pkg-config, CMake and cgo, shared and static; all judged"
