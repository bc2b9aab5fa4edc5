#!/usr/bin/env bash
# Builds or tests the Python package.
#
#   scripts/python.sh wheel      builds a wheel in target/python/dist
#   scripts/python.sh sdist      builds a source distribution there
#   scripts/python.sh manylinux  builds a wheel there for any Linux with glibc 2.28 or newer: zig links it against that version of
#                                glibc, auditwheel checks the result. It compiles everything again, including llama.cpp
#   scripts/python.sh test       builds a wheel, installs it into its own environment, and runs tests, lints and type checks
#
# PYTHON names the interpreter, 3.9 or newer; the wheel works with every CPython from 3.9.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/python"
target=$(cd "$target" && pwd)
export CARGO_TARGET_DIR=$target PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
venv=$target/python/venv dist=$target/python/dist

if [ ! "$venv/done" -nt python/requirements-test.txt ]; then
    rm -rf "$venv"
    "${PYTHON:-python3}" -m venv "$venv" || {
        echo "python.sh: ${PYTHON:-python3} cannot make a venv (Debian: apt-get install python3-venv)" >&2
        exit 1
    }
    "$venv/bin/pip" install --quiet -r python/requirements-test.txt
    # The tests compare with the reference. Its dependencies, such as torch, are not needed.
    "$venv/bin/pip" install --quiet --no-deps rewardanything==1.0.1
    touch "$venv/done"
fi

rm -rf "$dist"
case ${1:-} in
sdist)
    mkdir -p "$dist"
    PYTHONPATH=python/build_backend "$venv/bin/python" -c 'import dicast_build, sys; dicast_build.build_sdist(sys.argv[1])' "$dist"
    ls "$dist"/*.tar.gz
    exit
    ;;
manylinux)
    "$venv/bin/pip" install --quiet ziglang==0.17.1 auditwheel==6.8.2
    PYTHONPATH=python/build_backend "$venv/bin/python" -c 'import dicast_build; dicast_build.write_header()'
    (cd python && PATH=$venv/bin:$PATH maturin build --release --locked --zig --compatibility manylinux_2_28 \
        --features local,remote,server,cli --out "$dist")
    # It prints which glibc the wheel really needs, and fails if that is newer than its name says.
    for wheel in "$dist"/*.whl; do
        "$venv/bin/auditwheel" show "$wheel" | tee "$target/python/auditwheel.txt"
        grep -q 'manylinux_2_28_\|manylinux_2_2[0-7]_\|manylinux_2_1[0-9]_' "$target/python/auditwheel.txt"
    done
    exit
    ;;
esac
# With the default features (`server` and `cli` add nothing to the library) cargo shares the build of llama.cpp and of all other
# dependencies with `cargo build --release`: without `cli` the features of proc macros differ.
export MATURIN_PEP517_ARGS=${MATURIN_PEP517_ARGS:---features local,remote,server,cli}
PATH=$venv/bin:$PATH "$venv/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$dist" ./python
case ${1:-} in
wheel)
    ls "$dist"/*.whl
    ;;
test)
    "$venv/bin/pip" install --quiet --no-deps --force-reinstall "$dist"/*.whl
    cd python
    "$venv/bin/ruff" check --quiet --no-cache . ../examples/python
    "$venv/bin/ruff" format --quiet --no-cache --check . ../examples/python
    "$venv/bin/pytest" --quiet -p no:cacheprovider
    # Type checks of the package, and of programs that use it.
    for checked in dicast ../examples/python/grpo_reward.py ../examples/python/warming.py; do
        "$venv/bin/mypy" --no-error-summary --cache-dir "$target/python/mypy" "$checked"
    done
    ;;
*)
    echo "usage: scripts/python.sh wheel|sdist|manylinux|test" >&2
    exit 2
    ;;
esac
