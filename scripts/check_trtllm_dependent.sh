#!/usr/bin/env bash
# Builds a small crate that depends on this one with the feature `trtllm`, and runs it: the linker settings of this crate must
# reach such crates too. DICAST_TRTLLM_ROOT names the library.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "check_trtllm_dependent.sh: $1" >&2
    exit 1
}

target=${CARGO_TARGET_DIR:-$PWD/target}
crate=$target/trtllm-dependent
mkdir -p "$crate/src"
cat >"$crate/Cargo.toml" <<TOML
[package]
name = "trtllm-dependent"
edition = "2024"

[dependencies]
dicast = { path = "$PWD", default-features = false, features = ["trtllm"] }

[workspace]
TOML
cat >"$crate/src/main.rs" <<'RUST'
fn main() {
    let library = dicast::engine::trtllm::library();
    println!("{} built for {}", library.version, library.built_for);
}
RUST
cp Cargo.lock "$crate/Cargo.lock"
# Found by its path.
CARGO_TARGET_DIR=$target DICAST_TRTLLM_RPATH=1 \
    "${CARGO:-cargo}" build --quiet --offline --manifest-path "$crate/Cargo.toml"
said=$("$target/debug/trtllm-dependent")
echo "a crate that depends on this one: $said"
[[ $said == *"built for 1."* ]] || fail "it says: $said"
