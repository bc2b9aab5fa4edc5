#!/usr/bin/env bash
# The acceptance run on a GPU, in the vendor's container: builds dicast against TensorRT-LLM, makes engines, runs the engine
# tests, compares verdicts with trtllm-serve on the same weights, measures, and writes a report to send back.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
Usage: check_real_trtllm.sh [options] [MODEL_DIR]

In the container nvcr.io/nvidia/tensorrt-llm/devel:1.2.1 (or release:1.2.1 with CUDA's headers), with one GPU:

  docker run --rm --gpus all --ipc host -v "$PWD":/dicast -v /models:/models \
      nvcr.io/nvidia/tensorrt-llm/devel:1.2.1 /dicast/scripts/check_real_trtllm.sh /models/RewardAnything-8B-v1

Two small models are always tried: one with random weights, which the run makes, and the demonstration judge in demo/hf.

  MODEL_DIR         a Hugging Face folder of a Qwen3 judge to try too
  --engine DIR      an engine folder that exists already, to try too; `trtllm` settings can lie in DIR/check.json
  --report FILE     where the report goes, default trtllm-report.txt
  --work DIR        where models, engines and results go, default target/trtllm-check
  --port N          the port for trtllm-serve, default 8355
  --no-serve        compare with no server
  --dry-run         print the steps and run none
  --help            this text

DICAST_TRTLLM_ROOT names TensorRT-LLM; without it the container's and python3's are looked for. Rust is needed
(https://rustup.rs). Every step is tried, also after one that failed. Exit status: 0 all passed, 1 a step failed, 2 nothing could
be tried. The stand-in of tests/trtllm_standin is refused: `make test` runs the engine tests against it.
TEXT
}

fail() {
    echo "check_real_trtllm.sh: $1" >&2
    exit 2
}

report=trtllm-report.txt work=target/trtllm-check port=8355 serve=true dry_run=false model='' engine=''
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --dry-run) dry_run=true; shift; continue ;;
        --no-serve) serve=false; shift; continue ;;
        --engine | --report | --work | --port) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        -*) fail "unknown option $1 (see --help)" ;;
        *) [ -z "$model" ] || fail "one MODEL_DIR is expected (see --help)"; model=$1; shift; continue ;;
    esac
    case $1 in
        --engine) engine=$2 ;;
        --report) report=$2 ;;
        --work) work=$2 ;;
        --port) port=$2 ;;
    esac
    shift 2
done
[[ $port =~ ^[1-9][0-9]{0,4}$ ]] || fail "--port must be a number, not $port"
[ -z "$model" ] || [ -e "$model/config.json" ] || fail "$model/config.json is missing: give a Hugging Face folder"
[ -z "$engine" ] || [ -e "$engine/config.json" ] || fail "$engine/config.json is missing: build the engine with scripts/build_engine.sh"

root=${DICAST_TRTLLM_ROOT:-} libraries='' release=''
if ! $dry_run; then
    if [ -z "$root" ]; then
        for root in /app/tensorrt_llm "$(python3 -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/tensorrt_llm"; do
            [ ! -e "$root/include/tensorrt_llm/executor/executor.h" ] || break
        done
    fi
    [ -e "$root/include/tensorrt_llm/executor/executor.h" ] ||
        fail "$root/include/tensorrt_llm/executor/executor.h is missing: is this TensorRT-LLM 1.0 to 1.2.1? Set DICAST_TRTLLM_ROOT"
    for folder in libs lib lib64; do
        if [ -e "$root/$folder/libtensorrt_llm.so" ]; then
            libraries=$root/$folder
            break
        fi
    done
    [ -n "$libraries" ] || fail "libtensorrt_llm.so is in none of $root/libs, $root/lib, $root/lib64"
    if grep -q dicast_trtllm_standin "$libraries/libtensorrt_llm.so"; then
        fail "$libraries/libtensorrt_llm.so is dicast's stand-in for tests: name the vendor's library"
    fi
    release=$(sed -n 's/.*kTensorRtLlmVersion[^"]*"\([^"]*\)".*/\1/p' "$root/include/tensorrt_llm/executor/version.h")
    case $release in
        1.0.* | 1.1.* | 1.2.0* | 1.2.1*) ;;
        *) fail "$root is TensorRT-LLM ${release:-(unknown)}; the adapter supports 1.0 to 1.2.1" ;;
    esac
    nvidia-smi -L >/dev/null 2>&1 || fail "no GPU found: nvidia-smi -L fails"
    command -v cargo >/dev/null || fail "cargo is missing: install Rust (https://rustup.rs)"
    mkdir -p "$work"
    : >"$report" || fail "$report cannot be written"
fi
export DICAST_TRTLLM_ROOT=$root DICAST_TRTLLM_RPATH=1
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} TLLM_LOG_LEVEL=${TLLM_LOG_LEVEL:-ERROR}

note() {
    if $dry_run; then
        printf '%s\n' "$*"
    else
        printf '%s\n' "$*" | tee -a "$report"
    fi
}

# run COMMAND...: runs a command of a step, or prints it.
run() {
    if $dry_run; then
        printf '+'
        printf ' %q' "$@"
        printf '\n'
    else
        "$@"
    fi
}

passed=0 failures=()

# step NAME COMMAND...: runs a step; its last lines go into the report. Its status says whether it passed.
step() {
    local name=$1 start=$SECONDS log status=0
    shift
    if $dry_run; then
        echo "$name:"
        "$@"
        return 0
    fi
    log=$work/$(tr -c 'a-z0-9\n' '-' <<<"${name,,}").log
    echo "... $name"
    # In the background `set -e` applies: the first command that fails ends the step.
    "$@" >"$log" 2>&1 &
    wait $! || status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        note "passed ($((SECONDS - start)) s): $name"
        tail -n "${lines:-3}" "$log" | sed 's/^/    /' | tee -a "$report"
    else
        failures+=("$name")
        note "FAILED (status $status, $((SECONDS - start)) s): $name"
        tail -n 40 "$log" | sed 's/^/    /' | tee -a "$report"
    fi
    return $status
}

environment() {
    note "dicast acceptance run on TensorRT-LLM, $(date -u '+%Y-%m-%d %H:%M UTC')"
    note "dicast: $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1), revision $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    note "TensorRT-LLM: $release in $libraries"
    note "needs: $(readelf -d "$libraries/libtensorrt_llm.so" 2>/dev/null | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | tr '\n' ' ')"
    note "GPUs:"
    nvidia-smi --query-gpu=index,name,memory.total,driver_version --format=csv,noheader | sed 's/^/    /' | tee -a "$report"
    note "rustc: $(rustc --version 2>/dev/null || echo unknown); $(c++ --version 2>/dev/null | head -1 || true)"
    note "host memory: $(sed -n 's/MemTotal: *//p' /proc/meminfo), processors: $(nproc)"
    note ""
}

features=trtllm,cli
! grep -q '^remote = ' Cargo.toml || features+=,remote
dicast=${CARGO_TARGET_DIR:-target}/release/dicast

build() {
    run cargo build --release --no-default-features --features "$features"
    run cargo test --release --no-default-features --features trtllm --no-run --test trtllm_engine
    run "$dicast" doctor || true
}

# requests FILE COUNT: different requests, each with three responses.
requests() {
    local index
    for ((index = 0; index < $2; index++)); do
        printf '{"principle": "Prefer short answers that are right.", "prompt": "What is %d plus %d?", "responses": {"a": "%d", "b": "The sum of these two numbers is %d, as everybody knows.", "c": "I do not know."}}\n' \
            "$index" $((index + 2)) $((2 * index + 2)) $((2 * index + 2))
    done >"$1"
}

# judge MODEL OUTPUT [OPTION...]: sends the same requests to an engine, with greedy sampling.
judge() {
    local from=$1 to=$2
    shift 2
    run "$dicast" batch "$work/requests.jsonl" -o "$to" --overwrite --quiet -m "$from" --temperature 0 --mask given "$@"
}

engine_tests() {
    run env DICAST_TRTLLM_ENGINE="$1" cargo test --release --no-default-features --features trtllm --test trtllm_engine -- \
        --test-threads=1 --nocapture
}

latency() {
    local start
    judge "$1" "$2-alone.jsonl" --concurrency 1
    start=$(date +%s%N)
    judge "$1" "$2.jsonl"
    $dry_run || echo "all at once: $(wc -l <"$2.jsonl") judgments in $((($(date +%s%N) - start) / 1000000)) ms, opening included"
    run python3 scripts/compare_verdicts.py times "$2.jsonl"
    $dry_run || echo "one at a time:"
    run python3 scripts/compare_verdicts.py times "$2-alone.jsonl"
}

isolated() {
    $dry_run || printf '{"trtllm": {"isolation": "process"}}' >"$work/isolated.json"
    judge "$1" "$2-isolated.jsonl" --config "$work/isolated.json"
    run python3 scripts/compare_verdicts.py agree "$2.jsonl" "$2-isolated.jsonl"
}

# Serves the weights of a Hugging Face folder and compares its verdicts with those of the engine.
against_server() {
    local folder=$1 results=$2 profile=$3/dicast-profile.json server='' status=0 waited=0
    local judging=()
    if $dry_run || [ -e "$profile" ]; then
        judging=(--profile "$profile")
    fi
    local serving=(trtllm-serve "$folder" --backend pytorch --host 127.0.0.1 --port "$port"
        --extra_llm_api_options "$work/serve.yaml")
    if $dry_run; then
        run "${serving[@]}"
    else
        printf 'guided_decoding_backend: xgrammar\n' >"$work/serve.yaml"
        "${serving[@]}" >"$results-server.log" 2>&1 &
        server=$!
        until python3 -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/health', timeout=2)" 2>/dev/null; do
            if ! kill -0 "$server" 2>/dev/null || [ $waited -ge 1800 ]; then
                kill "$server" 2>/dev/null || true
                echo "trtllm-serve did not start:"
                tail -n 30 "$results-server.log"
                return 1
            fi
            sleep 0.5
            waited=$((waited + 1))
        done
    fi
    judge "http://127.0.0.1:$port" "$results-served.jsonl" "${judging[@]}" || status=$?
    [ $status -ne 0 ] ||
        run python3 scripts/compare_verdicts.py agree "$results.jsonl" "$results-served.jsonl" || status=$?
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    return $status
}

# try NAME ENGINE [HF_FOLDER]: runs all steps with one engine.
try() {
    local name=$1 folder=$2 weights=${3:-} results=$work/$1
    step "engine tests on $name" engine_tests "$folder" || true
    lines=20 step "latency of $name" latency "$folder" "$results" || return 0
    step "worker process with $name" isolated "$folder" "$results" || true
    if $serve && [ -n "$weights" ]; then
        lines=5 step "agreement of $name with trtllm-serve" against_server "$weights" "$results" "$folder" || true
    fi
}

# make_and_try NAME HF_FOLDER [OPTION...]: first makes an engine from a folder.
make_and_try() {
    local name=$1 folder=$2
    shift 2
    $dry_run || rm -rf "${work:?}/$name-engine"
    step "engine of $name" run scripts/build_engine.sh "$@" "$folder" "$work/$name-engine" || return 0
    try "$name" "$work/$name-engine" "$folder"
}

small=(--max-input-len 1024 --max-seq-len 2048 --max-batch-size 16 --max-num-tokens 2048 --dicast "$dicast"
    --profile demo/dicast-demo.profile.json)
$dry_run || environment
if step "build" build; then
    $dry_run || requests "$work/requests.jsonl" 32
    if step "random model" run python3 scripts/tiny_qwen3.py demo/hf "$work/random-hf"; then
        make_and_try random "$work/random-hf" "${small[@]}"
    fi
    make_and_try demonstration demo/hf "${small[@]}"
    if [ -n "$model" ]; then
        make_and_try given "$model" --dicast "$dicast"
    fi
    if [ -n "$engine" ]; then
        try existing "$engine"
    fi
fi
if $dry_run; then
    exit 0
fi
note ""
if [ ${#failures[@]} -eq 0 ]; then
    note "result: passed, $passed steps"
else
    note "result: FAILED: ${#failures[@]} of $((passed + ${#failures[@]})) steps"
    for name in "${failures[@]}"; do
        note "    $name"
    done
fi
echo "The report is $report; the logs of the steps are in $work. Please send the report back."
[ ${#failures[@]} -eq 0 ]
