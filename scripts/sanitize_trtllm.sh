#!/usr/bin/env bash
# Runs the tests of the TensorRT-LLM engine against the stand-in under a sanitizer. Rust with its standard library, the
# adapter and the stand-in are all built with it. A planted fault proves first that the sanitizer reports.
#
#   scripts/sanitize_trtllm.sh address|thread [ARGUMENTS OF THE TEST PROGRAM]
#
# Needs nightly Rust with its sources (rustup component add rust-src --toolchain nightly).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "sanitize_trtllm.sh: $1" >&2
    exit 1
}

sanitizer=${1:-}
case $sanitizer in
    address) runtime=asan finding='AddressSanitizer: heap-use-after-free' ;;
    thread) runtime=tsan finding='ThreadSanitizer: data race' ;;
    *) fail "name a sanitizer: address or thread" ;;
esac
shift
cargo +nightly --version >/dev/null 2>&1 || fail "nightly Rust is missing: rustup toolchain install nightly -c rust-src"

target=${CARGO_TARGET_DIR:-$PWD/target}/sanitize
standin=$target/$sanitizer
export DICAST_TRTLLM_ROOT=$standin/trtllm-standin/root DICAST_TRTLLM_RPATH=1 DICAST_SANITIZER=$sanitizer
export CXXFLAGS="-fsanitize=$sanitizer -g -O1 -fno-omit-frame-pointer"
# One sanitizer runtime for Rust and C++: that of the C++ compiler.
export RUSTFLAGS="-Zsanitizer=$sanitizer -Zexternal-clangrt -Clink-arg=-fsanitize=$sanitizer -Cforce-frame-pointers=yes"
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
# Older runtimes fail if the kernel randomizes addresses over a wide range.
run=(setarch "$(uname -m)" --addr-no-randomize)

env -u CXXFLAGS CARGO_TARGET_DIR="$standin" make --silent trtllm-standin SANITIZE="$sanitizer"
export CARGO_TARGET_DIR=$target
host=$(rustc -vV | sed -n 's/^host: //p')
# The runtime must be loaded first; cargo leaves the compiler's own libraries out.
build=(cargo +nightly rustc -Zbuild-std --target "$host" --no-default-features --features trtllm --test trtllm)
link=(-- "-Zpre-link-args=-Wl,--no-as-needed -l$runtime")
if [ "$sanitizer" = thread ]; then
    # LLVM calls these three functions; gcc's runtime has only the plain names, which it checks too.
    cc -x c -O1 -fno-builtin -c -o "$standin/memory.o" - <<'C'
#include <string.h>
void *__tsan_memcpy(void *to, const void *from, size_t size) { return memcpy(to, from, size); }
void *__tsan_memmove(void *to, const void *from, size_t size) { return memmove(to, from, size); }
void *__tsan_memset(void *to, int byte, size_t size) { return memset(to, byte, size); }
C
    link+=("-Clink-arg=$standin/memory.o")
fi
"${build[@]}" "${link[@]}"
program=$("${build[@]}" --message-format=json "${link[@]}" 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/trtllm-[^"]*\)".*/\1/p' | tail -1)
[ -x "$program" ] || fail "the test program was not found"

# The proof: the runtime is linked, the code of adapter and stand-in calls it, and a planted fault is found.
for file in "$program" "$DICAST_TRTLLM_ROOT/libs/libtensorrt_llm.so"; do
    grep -q "lib$runtime" <<<"$(ldd "$file")" || fail "$file is not linked with lib$runtime"
done
[ "$(nm "$program" | grep -c "U __${runtime}_")" -gt 0 ] || fail "$program does not call $runtime"
found=$("${run[@]}" env DICAST_TEST_FAULT="$sanitizer" "$program" --exact a_planted_fault_is_found --nocapture 2>&1 || true)
grep -q "$finding" <<<"$found" || fail "the planted fault was not found: $found"
echo "$finding: the planted fault was found"

"${run[@]}" "$program" --test-threads=2 "$@"
