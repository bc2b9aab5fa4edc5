#!/usr/bin/env bash
# Runs the tests of an engine under a sanitizer. Rust with its standard library and all C++ are built with it. A planted
# fault proves first that the sanitizer reports.
#
#   scripts/sanitize.sh trtllm address|thread [ARGUMENTS]   the TensorRT-LLM engine against the stand-in
#   scripts/sanitize.sh local address [ARGUMENTS]           damaged models on the embedded engine (DICAST_MUTANTS: how many)
#
# ARGUMENTS are those of the test program. Needs nightly Rust with its sources (rustup toolchain install nightly -c rust-src).
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "sanitize.sh: $1" >&2
    exit 1
}

engine=${1:-} sanitizer=${2:-}
case $sanitizer in
    address) runtime=asan finding='AddressSanitizer: heap-use-after-free' ;;
    thread) runtime=tsan finding='ThreadSanitizer: data race' ;;
    *) fail "name an engine, trtllm or local, and a sanitizer, address or thread" ;;
esac
case $engine-$sanitizer in
    trtllm-*) features=trtllm test=trtllm profile=() ;;
    # llama.cpp without optimisation takes a minute for a model.
    local-address) features=local test=mutants profile=(--release) ;;
    # Its threads wait for each other with OpenMP barriers, which the sanitizer does not see.
    local-thread) fail "the embedded engine can be run under address alone" ;;
    *) fail "there is no engine \"$engine\": name trtllm or local" ;;
esac
shift 2
cargo +nightly --version >/dev/null 2>&1 || fail "nightly Rust is missing: rustup toolchain install nightly -c rust-src"

target=${CARGO_TARGET_DIR:-$PWD/target}/sanitize
standin=$target/$sanitizer
export DICAST_TRTLLM_ROOT=$standin/trtllm-standin/root DICAST_TRTLLM_RPATH=1 DICAST_SANITIZER=$sanitizer
export CFLAGS="-fsanitize=$sanitizer -g1 -O1 -fno-omit-frame-pointer" CXXFLAGS="-fsanitize=$sanitizer -g1 -O1 -fno-omit-frame-pointer"
# One sanitizer runtime for Rust and C++: the one of the C++ compiler.
export RUSTFLAGS="-Zsanitizer=$sanitizer -Zexternal-clangrt -Clink-arg=-fsanitize=$sanitizer -Cforce-frame-pointers=yes"
# An impossible size is an error of the model, as without the sanitizer.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=0:allocator_may_return_null=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
# Older runtimes fail if the kernel randomizes addresses over a wide range.
run=(setarch "$(uname -m)" --addr-no-randomize)

mkdir -p "$standin"
if [ "$engine" = trtllm ]; then
    env -u CFLAGS -u CXXFLAGS CARGO_TARGET_DIR="$standin" make --silent trtllm-standin SANITIZE="$sanitizer"
fi
export CARGO_TARGET_DIR=$target
host=$(rustc -vV | sed -n 's/^host: //p')
# The runtime must be loaded first; cargo leaves the compiler's own libraries out.
build=(cargo +nightly rustc -Zbuild-std --target "$host" "${profile[@]}" --no-default-features --features "$features" --test "$test")
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
    sed -n "s/.*\"executable\":\"\([^\"]*\/$test-[^\"]*\)\".*/\1/p" | tail -1)
[ -x "$program" ] || fail "the test program was not found"

# The proof: the runtime is linked, the code of adapter and stand-in calls it, and a planted fault is found.
files=("$program")
[ "$engine" = local ] || files+=("$DICAST_TRTLLM_ROOT/libs/libtensorrt_llm.so")
for file in "${files[@]}"; do
    grep -q "lib$runtime" <<<"$(ldd "$file")" || fail "$file is not linked with lib$runtime"
done
[ "$(nm "$program" | grep -c "U __${runtime}_")" -gt 0 ] || fail "$program does not call $runtime"
found=$("${run[@]}" env DICAST_TEST_FAULT="$sanitizer" "$program" --exact planted_fault::is_found --nocapture 2>&1 || true)
grep -q "$finding" <<<"$found" || fail "the planted fault was not found: $found"
echo "$finding: the planted fault was found"

"${run[@]}" "$program" --test-threads=2 "$@"
