#!/usr/bin/env bash
# Runs the test programs of the C and C++ interface under sanitizers and valgrind. Each checker must first find a planted
# fault, which proves that it works.
#
#   scripts/check_capi_sanitizers.sh address    AddressSanitizer, leaks, UBSan: the programs are instrumented; the library's
#                                               memory is watched through malloc and free
#   scripts/check_capi_sanitizers.sh header     ThreadSanitizer: the C++ programs and dicast.hpp are instrumented, the
#                                               library is not
#   scripts/check_capi_sanitizers.sh valgrind   every memory access of programs and library, without a model
#   scripts/check_capi_sanitizers.sh thread     ThreadSanitizer: programs, library and Rust's own library instrumented;
#                                               needs a nightly toolchain with rust-src, and builds everything again
set -euo pipefail
cd "$(dirname "$0")/.."
place=$(mktemp -d "${TMPDIR:-/tmp}/dicast-sanitize.XXXXXX")
trap 'rm -rf "$place"' EXIT
target=${CARGO_TARGET_DIR:-target}
model=demo/dicast-demo.gguf
cargo=${CARGO:-cargo}

fail() {
    echo "check_capi_sanitizers.sh: $1" >&2
    exit 1
}

# program NAME FLAGS...: compiles tests/capi/NAME.c, or the planted fault, to $place/NAME.
program() {
    local name=$1 source=tests/capi/$1.c
    shift
    [ -e "$source" ] || source=$place/$name.c
    cc -std=c99 -O1 -g -pthread -Iinclude -Itests/capi "$@" "$source" -o "$place/$name" \
        -L"$place/lib" -Wl,-rpath,"$place/lib" -ldicast -lm
}

# cpp_program NAME FLAGS...: the same for tests/cpp/NAME.cpp, to $place/cpp-NAME.
cpp_program() {
    local name=$1 source=tests/cpp/$1.cpp
    shift
    [ -e "$source" ] || source=$place/$name.cpp
    c++ -std=c++17 -O1 -g -pthread -Iinclude -Itests/cpp "$@" "$source" -o "$place/cpp-$name" \
        -L"$place/lib" -Wl,-rpath,"$place/lib" -ldicast
}

# clean CHECKER NAME: runs a program that was built; the checker must report nothing.
clean() {
    "$place/$2" "$model" || fail "$2 fails under $1"
    echo "clean under $1: $2"
}

# finds WORDS COMMAND...: the planted fault must end with a failure and a report with WORDS.
finds() {
    local words=$1 said
    shift
    if said=$("$@" 2>&1); then
        fail "$1 did not find the planted fault"
    fi
    grep -q "$words" <<<"$said" || fail "$1 does not report \"$words\": $said"
    echo "found the planted fault: $words"
}

# Puts a library under the name that programs link with.
shared_library() {
    mkdir -p "$place/lib"
    ln -sf "$(realpath "$1")" "$place/lib/libdicast.so"
    ln -sf libdicast.so "$place/lib/libdicast.so.0"
}

cat >"$place/use_after_free.c" <<'EOF'
#include "check.h"
int main(int argc, char **argv) {
    dicast_profile *profile = NULL;
    dicast_str json;
    begin(argc);
    UNUSED(argv);
    CHECK(dicast_profile_builtin(&profile, NULL) == DICAST_OK);
    json = dicast_profile_json(profile);
    dicast_profile_free(profile);
    return json.data[0] == 'x';
}
EOF
cat >"$place/leak.c" <<'EOF'
#include "check.h"
int main(int argc, char **argv) {
    dicast_profile *profile = NULL;
    begin(argc);
    UNUSED(argv);
    CHECK(dicast_profile_builtin(&profile, NULL) == DICAST_OK);
    profile = NULL;
    return profile != NULL;
}
EOF
cat >"$place/race_in_callback.cpp" <<'EOF'
#include "check.hpp"
// A callback and the thread that submitted write the same variable without waiting.
int main(int, char **argv) {
    begin();
    int shared = 0;
    const auto judge = dicast::Judge::open(config(argv));
    const dicast::Request request(shorter, question, {{"short", short_text}, {"long", long_text}});
    const auto ticket = judge.submit(request, [&](const auto &) { shared = 1; });
    shared = 2;
    return ticket.wait() == dicast::Status::ok ? 0 : 1;
}
EOF
cat >"$place/race.c" <<'EOF'
#include "check.h"
/* Two threads build one request, which only one thread at a time may do. */
static dicast_request *request;
static void *build(void *data) {
    int i;
    UNUSED(data);
    for (i = 0; i < 1000; i++) {
        (void)dicast_request_set_options(request, dicast_str_cstr("{\"seed\": 1}"), NULL);
    }
    return NULL;
}
int main(int argc, char **argv) {
    pthread_t threads[2];
    int i;
    begin(argc);
    UNUSED(argv);
    request = make_request(SHORTER);
    for (i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, build, NULL) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    dicast_request_free(request);
    return 0;
}
EOF

address() {
    local flags=(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) name
    # llama.cpp and Rust keep a few things for the life of the process. They stay reachable, so they are no leaks.
    export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    "$cargo" build --release --quiet --lib
    shared_library "$target/release/libdicast.so"
    for name in use_after_free leak; do
        program $name "${flags[@]}"
    done
    finds heap-use-after-free "$place/use_after_free"
    finds "detected memory leaks" "$place/leak"
    for name in alone judging rewards async threads quiet metrics groups settings asking events own_engine sleeping; do
        program $name "${flags[@]}"
        clean "AddressSanitizer and UBSan" $name
    done
    for name in alone judging rewards asynchronous threads own_engine; do
        cpp_program $name "${flags[@]}"
        clean "AddressSanitizer and UBSan" cpp-$name
    done
}

header() {
    local name
    "$cargo" build --release --quiet --lib
    shared_library "$target/release/libdicast.so"
    # The library is not instrumented: its locks are not seen, so its own accesses must be ignored.
    export TSAN_OPTIONS=ignore_noninstrumented_modules=1
    cpp_program race_in_callback -fsanitize=thread
    finds "data race" "$place/cpp-race_in_callback" "$model"
    for name in threads asynchronous; do
        cpp_program $name -fsanitize=thread
        clean "ThreadSanitizer, the library not instrumented" cpp-$name
    done
}

valgrind_() {
    local check=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect
        --errors-for-leak-kinds=definite,indirect) name
    "$cargo" build --release --quiet --lib
    shared_library "$target/release/libdicast.so"
    for name in use_after_free leak alone metrics groups settings events own_engine; do
        program $name
    done
    finds "Invalid read" "${check[@]}" "$place/use_after_free"
    finds "definitely lost" "${check[@]}" "$place/leak"
    for name in alone metrics groups settings events own_engine; do
        "${check[@]}" "$place/$name" || fail "$name fails under valgrind"
        echo "clean under valgrind: $name"
    done
}

thread() {
    local triple built name flags=(-fsanitize=thread)
    triple=$(rustc -vV | sed -n 's/^host: //p')
    built=$target/sanitize
    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" CARGO_TARGET_DIR=$built \
        rustup run nightly cargo build --quiet --release --lib --no-default-features --features local \
        -Zbuild-std --target "$triple" ||
        fail "the library cannot be built with ThreadSanitizer: rustup toolchain install nightly -c rust-src"
    shared_library "$built/$triple/release/libdicast.so"
    nm -D "$place/lib/libdicast.so" | grep -q ' U __tsan_' || fail "the library is not instrumented"
    # llama.cpp is not instrumented: its own threads are not seen, so they must not be reported.
    printf 'called_from_lib:libgomp\n' >"$place/suppressions"
    export TSAN_OPTIONS=suppressions=$place/suppressions:second_deadlock_stack=1
    program race "${flags[@]}"
    finds "data race" "$place/race"
    for name in threads async; do
        program $name "${flags[@]}"
        clean ThreadSanitizer $name
    done
    for name in threads asynchronous; do
        cpp_program $name "${flags[@]}"
        clean ThreadSanitizer cpp-$name
    done
}

[ $# -gt 0 ] || fail "name one or more checkers: address, header, valgrind, thread"
for checker in "$@"; do
    case $checker in
    address) address ;;
    header) header ;;
    valgrind) valgrind_ ;;
    thread) thread ;;
    *) fail "unknown checker: $checker" ;;
    esac
done
