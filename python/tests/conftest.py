"""Shared by the tests: the demonstration judge, requests, and the reference package."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import types
from typing import Any, Dict, Iterator

import pytest

import dicast
from support import MODEL, ROOT


@pytest.fixture(scope="session")
def judge() -> Iterator[dicast.Judge]:
    with dicast.from_pretrained(MODEL) as opened:
        yield opened


@pytest.fixture(scope="session")
def example() -> Dict[str, Any]:
    request: Dict[str, Any] = json.loads((ROOT / "examples/requests/concise.json").read_text(encoding="utf-8"))
    return request


class Anything:
    """Takes the place of modules that the reference imports and the tested functions do not use."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass


@pytest.fixture(scope="session")
def reference() -> Any:
    """Modules of the real reference, without its __init__, which imports torch."""
    stand_ins = {"numpy": (), "scipy": (), "scipy.stats": ("kendalltau", "spearmanr")}
    before = dict(sys.modules)
    for name, attributes in stand_ins.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, Anything)
        sys.modules[name] = module
    package = types.ModuleType("rewardanything")
    place = importlib.metadata.distribution("rewardanything").locate_file("rewardanything")
    package.__path__ = [str(place)]
    sys.modules["rewardanything"] = package
    names = ("processing", "models", "client")
    try:
        modules = {name: importlib.import_module(f"rewardanything.{name}") for name in names}
    finally:
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ("numpy", "scipy", "rewardanything"):
                del sys.modules[name]
    return modules.__getitem__
