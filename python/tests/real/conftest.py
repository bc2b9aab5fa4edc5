"""Shared by the runs in real trainers. Each needs its trainer's package, and is skipped without it.

`make test-trainers` installs the packages and runs these.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Iterator, List

import pytest

from support import MODEL

# Before torch and Ray are imported: nothing here needs a GPU, a hub or a metrics service.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DISABLE_IMPORT_WARNING", "1")
os.environ.setdefault("WANDB_MODE", "disabled")

#: Prompts and samples of each, as many as a small step has.
PROMPTS, SAMPLES = 16, 8
#: No judge of these tests can judge this: it does not fit the context of the demonstration judge.
TOO_LONG = "word " * 3000


def worker_paths() -> str:
    """The PYTHONPATH of Ray's workers: the paths of this process."""
    return os.pathsep.join(path for path in sys.path if path)


def carry(*modules: str) -> None:
    """Sends what these modules define to Ray's workers, which cannot import the modules of tests."""
    import ray

    for module in modules:
        ray.cloudpickle.register_pickle_by_value(sys.modules[module])


class Watched:
    """A real judge that counts the responses of each judgment. It can be sent to another process."""

    def __init__(self, model: str = str(MODEL)) -> None:
        from dicast.trainers import LazyJudge

        self.judge = LazyJudge(model, options={"max_reasoning_tokens": 16})
        self.sizes: List[int] = []

    @property
    def scale(self) -> Any:
        return self.judge.scale

    @property
    def max_responses(self) -> int:
        return self.judge.max_responses

    def judge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        self.sizes += [len(request["responses"]) for request in requests]
        return self.judge.judge_batch(requests, return_exceptions=return_exceptions, **options)

    async def ajudge_batch(self, requests: Any, *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        self.sizes += [len(request["responses"]) for request in requests]
        return await self.judge.ajudge_batch(requests, return_exceptions=return_exceptions, **options)

    def full(self, size: int = SAMPLES) -> float:
        """The share of samples that were judged in a full group."""
        return sum(one for one in self.sizes if one == size) / max(1, sum(self.sizes))


def prompt_of(number: int, fails: bool = False) -> str:
    """One of the prompts; one that fails is too long for the judge."""
    return f"{TOO_LONG if fails else ''}How do I learn the language number {number}?"


def response_of(number: int, place: int) -> str:
    """A response with a unique length."""
    return f"Step {place}: build something small with language {number}. " * (1 + place)


@pytest.fixture(scope="session", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder without the sources of the package: the workers of Ray import from where it was started first."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture
def watched() -> Watched:
    return Watched()
