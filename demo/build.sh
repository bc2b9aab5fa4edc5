#!/usr/bin/env bash
# From nothing to the shipped judge: environment, tokenizer, training, export, evaluation. Everything that is not the
# result lies in build/, and training goes on from its last checkpoint when it is started again.
set -euo pipefail
cd "$(dirname "$0")"
steps=${STEPS:-2600}
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
run train.py --tokenizer build/tokenizer.json --out build/checkpoint.pkl --steps "$steps" --seed 1 "${resume[@]}" | tee -a build/train.log
run export.py --checkpoint build/checkpoint.pkl --tokenizer build/tokenizer.json
run heldout.py
run evaluate.py | tee build/evaluation.txt
