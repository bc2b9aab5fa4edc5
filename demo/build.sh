#!/usr/bin/env bash
# From scratch to the shipped judge: environment, tokenizer, training, export, evaluation. Everything except the
# result goes to build/. If it is started again, training continues from its last checkpoint.
set -euo pipefail
cd "$(dirname "$0")"
steps=${STEPS:-3850}
minutes=${MINUTES:-120}
python=${PYTHON:-python3}

[ -e /usr/share/wordnet/data.noun ] || { echo "install WordNet first: apt-get install wordnet-base" >&2; exit 1; }
mkdir -p build
[ -x build/venv/bin/python ] || "$python" -m venv build/venv
build/venv/bin/pip install --quiet -r requirements.txt
run() { build/venv/bin/python -u "$@"; }

export JAX_COMPILATION_CACHE_DIR="$PWD/build/compiled"
[ -e build/tokenizer.json ] || run tokenizer.py --out build/tokenizer.json
resume=()
[ ! -e build/checkpoint.pkl ] || resume=(--resume build/checkpoint.pkl)
# Every step allocates and frees megabytes: huge pages and an allocator that keeps them more than halve its time.
allocator=(GLIBC_TUNABLES=glibc.malloc.hugetlb=1)
jemalloc=$({ PATH=$PATH:/sbin ldconfig -p 2>/dev/null || true; } | awk '/libjemalloc.so.2/ { print $NF; exit }')
[ -z "$jemalloc" ] || allocator=(LD_PRELOAD="$jemalloc" MALLOC_CONF=thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1,narenas:4)
(
    export "${allocator[@]}"
    run train.py --tokenizer build/tokenizer.json --out build/checkpoint.pkl --steps "$steps" --minutes "$minutes" --seed 1 "${resume[@]}"
) | tee -a build/train.log
run export.py --checkpoint build/checkpoint.pkl --tokenizer build/tokenizer.json
run heldout.py
run evaluate.py | tee build/evaluation.txt
