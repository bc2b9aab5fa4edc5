#!/usr/bin/env bash
# The test programs of the C interface under sanitizers and valgrind, each with a planted fault that must be found, as proof
# that the checker was there.
#
#   scripts/check_capi_sanitizers.sh address    AddressSanitizer, leaks, UBSan: the programs instrumented, the library's
#                                               memory watched through malloc and free
#   scripts/check_capi_sanitizers.sh valgrind   every access of programs and library, where no model is computed
#   scripts/check_capi_sanitizers.sh thread     ThreadSanitizer: programs, library and Rust's own library instrumented;
#                                               needs a nightly toolchain with rust-src, and builds everything anew
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

# program NAME LIBRARY FLAGS...: compiles tests/capi/NAME.c, or the planted fault, to $place/NAME.
program() {
    local name=$1 library=$2 source=tests/capi/$1.c
    shift 2
    [ -e "$source" ] || source=$place/$name.c
    cc -std=c99 -O1 -g -pthread -Iinclude -Itests/capi "$@" "$source" -o "$place/$name" \
        -L"$library" -Wl,-rpath,"$library" -ldicast -lm
}

# finds WORDS COMMAND...: the checker ends the planted fault and says WORDS.
finds() {
    local words=$1 said
    shift
    if said=$("$@" 2>&1); then
        fail "$1 did not find the planted fault"
    fi
    grep -q "$words" <<<"$said" || fail "$1 says nothing of \"$words\": $said"
    echo "found the planted fault: $words"
}

# A library under the name that programs ask for.
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
cat >"$place/race.c" <<'EOF'
#include "check.h"
/* Two threads build one request, which is for one thread at a time. */
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
    # OpenMP-free llama.cpp and Rust keep a few things for the life of the process, which are reachable: no leaks.
    export ASAN_OPTIONS=abort_on_error=0:detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
    "$cargo" build --release --quiet --lib
    shared_library "$target/release/libdicast.so"
    for name in use_after_free leak; do
        program $name "$place/lib" "${flags[@]}"
    done
    finds heap-use-after-free "$place/use_after_free"
    finds "detected memory leaks" "$place/leak"
    for name in alone judging rewards async threads quiet; do
        program $name "$place/lib" "${flags[@]}"
        "$place/$name" "$model" || fail "$name fails under AddressSanitizer"
        echo "clean under AddressSanitizer and UBSan: $name"
    done
}

valgrind_() {
    local check=(valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect
        --errors-for-leak-kinds=definite,indirect) name
    "$cargo" build --release --quiet --lib
    shared_library "$target/release/libdicast.so"
    for name in use_after_free leak alone; do
        program $name "$place/lib"
    done
    finds "Invalid read" "${check[@]}" "$place/use_after_free"
    finds "definitely lost" "${check[@]}" "$place/leak"
    "${check[@]}" "$place/alone" || fail "alone fails under valgrind"
    echo "clean under valgrind: alone"
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
    # llama.cpp is not instrumented: what its own threads do among themselves is not seen, and not to be reported.
    printf 'called_from_lib:libgomp\n' >"$place/suppressions"
    export TSAN_OPTIONS=suppressions=$place/suppressions:second_deadlock_stack=1
    program race "$place/lib" "${flags[@]}"
    finds "data race" "$place/race"
    for name in threads async; do
        program $name "$place/lib" "${flags[@]}"
        "$place/$name" "$model" || fail "$name fails under ThreadSanitizer"
        echo "clean under ThreadSanitizer: $name"
    done
}

[ $# -gt 0 ] || fail "say what to check with: address, valgrind, thread"
for checker in "$@"; do
    case $checker in
    address) address ;;
    valgrind) valgrind_ ;;
    thread) thread ;;
    *) fail "unknown checker: $checker" ;;
    esac
done
