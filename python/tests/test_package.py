"""The package itself: its contents, and that it agrees with the C header."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import cffi
import pytest

import dicast
from dicast import _hub, errors
from dicast._library import ffi, lib, text_of
from support import MODEL, ROOT

HEADER = (ROOT / "include" / "dicast.h").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def declarations() -> str:
    spec = importlib.util.spec_from_file_location("dicast_build", ROOT / "python/build_backend/dicast_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.declarations(HEADER)
    return text


def test_the_package_calls_by_the_header_as_it_is_now(declarations: str) -> None:
    wanted = cffi.FFI()
    wanted.cdef(declarations)
    header = wanted.dlopen(library())
    functions = set(re.findall(r"^[\w ]+?\**(dicast_\w+)\(", HEADER, re.MULTILINE))
    assert len(functions) > 80
    for name in functions:
        ours, theirs = (
            kind.cname.replace("struct ", "") for kind in (types(lib, ffi, name), types(header, wanted, name))
        )
        assert ours == theirs
    structs = set(re.findall(r"^typedef struct (dicast_\w+) \{", HEADER, re.MULTILINE))
    assert len(structs) > 5
    for name in structs:
        assert ffi.sizeof(name) == wanted.sizeof(name)
        assert places(ffi, name) == places(wanted, name)
    assert lib.dicast_abi_version() == lib.DICAST_ABI_VERSION


def types(library: Any, declared: Any, name: str) -> Any:
    return declared.typeof(getattr(library, name))


def places(declared: Any, name: str) -> Any:
    return [(field, value.offset) for field, value in declared.typeof(name).fields]


def library() -> str:
    folder = pathlib.Path(str(importlib.util.find_spec("dicast._native").origin)).parent
    (found,) = [path for path in folder.iterdir() if path.suffix in (".so", ".dylib", ".dll", ".pyd")]
    return str(found)


def test_every_status_has_its_exception() -> None:
    codes = [int(code) for code in re.findall(r"^#define DICAST_[A-Z_]+ (\d+)$", HEADER, re.MULTILINE)]
    names = {text_of(lib.dicast_status_name(code)): code for code in codes if code}
    names.pop("", None)
    assert names.keys() == errors._CLASSES.keys()
    for name, code in names.items():
        cls = errors._CLASSES[name]
        assert cls.kind == name and cls.retryable == bool(lib.dicast_status_is_retryable(code)), name
        assert getattr(dicast, cls.__name__) is cls
        assert str(cls("message")) == "message" and cls("message").partial is None


def test_an_unknown_error_is_still_an_error() -> None:
    error = errors.error_of("of a later release", "m", retryable=True)
    assert type(error) is dicast.DicastError and error.kind == "of a later release" and error.retryable


def test_the_version_is_that_of_the_library() -> None:
    assert dicast.__version__ == text_of(lib.dicast_version())
    assert f'version = "{dicast.__version__}"' in (ROOT / "Cargo.toml").read_text(encoding="utf-8")


def test_all_that_is_announced_is_there() -> None:
    import dicast.trainers

    for module in (dicast, dicast.trainers, errors):
        assert sorted(module.__all__) == sorted(set(module.__all__))
        for name in module.__all__:
            assert getattr(module, name).__doc__, name
    assert (pathlib.Path(dicast.__file__).parent / "py.typed").exists()


def test_nothing_is_printed_and_little_is_imported() -> None:
    program = """
import sys
import dicast
with dicast.from_pretrained(sys.argv[1]) as judge:
    judge.judge("Prefer short responses.", "Hi", {"a": "b"})
    try:
        judge.judge("p", "q", {})
    except dicast.DicastError:
        pass
heavy = {"torch", "transformers", "numpy", "requests", "trl", "verl", "pydantic", "pycparser"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    command = [sys.executable, "-W", "error", "-c", program, str(MODEL)]
    done = subprocess.run(command, capture_output=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_profiles(tmp_path: pathlib.Path) -> None:
    builtin = dicast.Profile.builtin()
    assert "scores" in builtin.system_prompt and builtin.to_dict()["alias_prefix"] == "model-"
    loaded = dicast.Profile.load(MODEL.with_suffix(".profile.json"))
    assert loaded.to_dict()["name"] == "dicast-demo" and "dicast-demo" in repr(loaded)
    with pytest.raises(dicast.InvalidProfileError):
        dicast.Profile.from_json("{}")
    with pytest.raises(dicast.InvalidProfileError):
        dicast.Profile.load(tmp_path / "nowhere.json")


SPLIT = ["q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf"]


@pytest.mark.parametrize(
    "files, selector, chosen",
    [
        (["README.md", "judge.gguf", "mmproj-judge.gguf"], None, ["judge.gguf"]),
        (["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"], None, ["m-Q8_0.gguf"]),
        (["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"], "q4_k_m", ["m-Q4_K_M.gguf"]),
        (["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"], "m-F16.gguf", ["m-F16.gguf"]),
        ([SPLIT[1], "q/m-F16.gguf", SPLIT[0]], "Q8_0", SPLIT),
        (["m-F16.gguf", "n-F16.gguf"], None, None),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", None),
        (["m-Q8_0.gguf"], "Q4_K", None),
        (["model.safetensors"], None, None),
        (["m-00001-of-00002.gguf"], None, None),
    ],
)
def test_the_model_of_a_repository(files: Any, selector: Any, chosen: Any) -> None:
    if chosen is None:
        with pytest.raises(dicast.ModelNotFoundError):
            _hub.choose(files, selector, "o/r")
    else:
        assert _hub.choose(files, selector, "o/r") == chosen


def test_names_on_the_hub() -> None:
    for name in ("o/r", "hf:o/r", "o/r@main", "o/r:Q8_0", "hf:Qwen/Qwen3-8B-GGUF@v1:a/b.gguf"):
        assert _hub.is_reference(name), name
    for name in ("o", "o/r/s", "./o/r", "../r", "o/r:", "/o/r"):
        assert not _hub.is_reference(name), name


def test_a_model_of_the_hub_comes_from_the_cache_without_a_network(tmp_path: pathlib.Path) -> None:
    repository, commit = tmp_path / "hub" / "models--o--demo", "a" * 40
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for file in (MODEL, MODEL.with_suffix(".profile.json")):
        (snapshot / file.name).symlink_to(file)
    program = """
import dicast
with dicast.from_pretrained("o/demo") as judge:
    print(judge.profile["name"], judge.judge("Prefer short responses.", "Hi", {"a": "b"}).ranking)
for name in ("o/demo:Q4_K_M", "o/none"):
    try:
        dicast.from_pretrained(name)
    except dicast.DicastError as error:
        print(error.kind)
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment)
    assert (done.stdout.splitlines(), done.stderr) == (["dicast-demo ['a']", "model_not_found", "network"], "")
