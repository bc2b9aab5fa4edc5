#!/usr/bin/env bash
# Runs the Python package in real trainers: TRL, veRL with Ray, OpenRLHF, slime, NeMo RL.
#
#   scripts/test_trainers.sh [PYTEST ARGUMENTS]
#
# Installs them into target/python/trainers, once: about 3 GB to download, 7 GB on disk, about five minutes. The wheel is
# built by scripts/python.sh. DICAST_TRAINERS names an environment that has everything instead. DICAST_SLIME names a checkout
# of slime, DICAST_NEMO_RL one of NeMo RL, which are not on the package index; without them, their tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/python"
target=$(cd "$target" && pwd)
export CARGO_TARGET_DIR=$target PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
venv=${DICAST_TRAINERS:-$target/python/trainers}
if [ -n "${DICAST_SLIME:-}" ]; then
    DICAST_SLIME=$(cd "$DICAST_SLIME" && pwd)
    export DICAST_SLIME
fi

if [ -z "${DICAST_TRAINERS:-}" ] && [ ! "$venv/done" -nt python/requirements-trainers.txt ]; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/pip" install --quiet -r python/requirements-trainers.txt
    # Without their dependencies: vLLM, flash-attn and DeepSpeed need a GPU, and none of them is used here.
    "$venv/bin/pip" install --quiet --no-deps trl==1.16.0 verl==0.9.1 openrlhf==0.11.2
    touch "$venv/done"
fi

nemo_rl=${DICAST_NEMO_RL:-} older=$target/python/nemo-rl
unset DICAST_NEMO_RL
if [ -n "$nemo_rl" ]; then
    nemo_rl=$(cd "$nemo_rl" && pwd)
    if [ ! "$older/done" -nt python/requirements-nemo-rl.txt ]; then
        rm -rf "$older"
        "$venv/bin/pip" install --quiet -r python/requirements-nemo-rl.txt
        # It refuses the transformers that the other trainers run with. This one comes before that on the path, for its tests alone.
        "$venv/bin/pip" install --quiet --no-deps --target "$older" transformers==5.8.1 tokenizers==0.22.2 huggingface-hub==1.33.0
        touch "$older/done"
    fi
fi

scripts/python.sh wheel >/dev/null
"$venv/bin/pip" install --quiet --no-deps --force-reinstall "$target"/python/dist/*.whl
cd python
# On few cores, many threads of torch and of the judge only slow each other down.
# Not `python -m pytest`: that would import the sources here as the package, and they have no library.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
"$venv/bin/pytest" -p no:cacheprovider -W default -r s --durations=10 "${@:-tests/real}"
if [ -n "$nemo_rl" ]; then
    DICAST_NEMO_RL=$nemo_rl PYTHONPATH=$older "$venv/bin/pytest" -p no:cacheprovider -W default tests/real/test_nemo_rl.py
fi
