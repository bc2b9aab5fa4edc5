"""One judge a process, whatever hooks are used and however they name it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import pickle
import threading
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List

import pytest

import dicast
from dicast.trainers import LazyJudge, Settings, _lazy, areal, openrlhf, slime, trl, tunix, verl
from support import CONCISE, MODEL

SMALL = {"max_reasoning_tokens": 16}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[List[Any]]:
    """The models that were opened for hooks."""
    models: List[Any] = []

    def counted(model: Any, **config: Any) -> dicast.Judge:
        models.append(model)
        return dicast.from_pretrained(model, **config)

    mine: Any = {}
    monkeypatch.setattr(_lazy, "from_pretrained", counted)
    monkeypatch.setattr(_lazy, "_opened", mine)
    yield models
    for judge in mine.values():
        judge.close()


def sample() -> Any:
    return SimpleNamespace(prompt="q", response="r", label=None, group_index=None, metadata={})


def calls(model: Any) -> List[Callable[[], Any]]:
    """Calls of different hooks, each made with settings of its own."""

    def settings() -> Settings:
        return Settings(model, CONCISE)

    one = {"data_source": "s", "solution_str": "x", "ground_truth": "g", "extra_info": {"prompt": "q"}}
    env = {"DICAST_MODEL": os.fspath(model), "DICAST_PRINCIPLE": CONCISE}
    kept = pickle.dumps(trl.reward_func(model, CONCISE))
    return [
        lambda: trl.reward_func(model, CONCISE)(["q"] * 2, ["a", "b"]),
        lambda: asyncio.run(trl.async_reward_func(model, CONCISE)(["q"] * 2, ["a", "b"])),
        lambda: trl.RankJudge(model, CONCISE).judge(["q"], [["a", "b"]]),
        lambda: trl.PairwiseJudge(model, CONCISE).judge(["q"], [["a", "b"]], return_scores=True),
        lambda: verl.single(settings())(**one),
        lambda: asyncio.run(verl.asynchronous(settings())(**one)),
        lambda: openrlhf.make_reward_func(settings())(["ab"], ["a"], ["l"]),
        lambda: asyncio.run(slime.make_reward(settings())(SimpleNamespace(n_samples_per_prompt=1), sample())),
        lambda: asyncio.run(slime.make_group_rewards(settings())(SimpleNamespace(), [sample(), sample()])),
        lambda: tunix.reward_fn(Settings.from_env(env))(prompts=["q"], completions=["a"]),
        lambda: asyncio.run(areal.make_reward(Settings.from_env(env))("q", "a")),
        lambda: pickle.loads(kept)(["q"] * 2, ["a", "b"]),
    ]


def test_all_hooks_share_one_judge(opened: List[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(MODEL.parent)
    names = [str(MODEL), MODEL, MODEL.name, pathlib.Path(MODEL.name), f"./{MODEL.name}"]
    works = [call for name in names for call in calls(name)]
    barrier = threading.Barrier(len(works))
    failed: List[BaseException] = []

    def work(call: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            assert call() is not None
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(call,)) for call in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failed and len(opened) == 1, (failed[:1], opened)


def test_judges_of_different_settings_are_different(opened: List[Any]) -> None:
    profile = MODEL.with_name("dicast-demo.profile.json")
    same = [
        LazyJudge(MODEL, options=SMALL, profile=profile),
        LazyJudge(str(MODEL), profile=str(profile), options=dict(SMALL), device=None),
    ]
    others = [LazyJudge(MODEL, options=SMALL, profile=profile, local={"threads": 1}), LazyJudge(MODEL)]
    for judge in [*same, *others, *pickle.loads(pickle.dumps([*same, *others]))]:
        assert judge.judge_batch([{"principle": "p", "prompt": "q", "responses": {"a": "x"}}])
    assert len(opened) == 3
    same[0].opened.close()
    assert same[1].scale == (1, 5) and len(opened) == 4, "one that was closed is opened again"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_opens_its_own(opened: List[Any]) -> None:
    hooks = calls(MODEL)
    hooks[0]()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for hook in hooks:
                hook()
            code = 0 if len(opened) == 2 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    hooks[1]()
    assert len(opened) == 1


def test_a_url_is_a_server_for_every_hook() -> None:
    url = "http://localhost:1"
    for judge in (
        Settings(url).made.judge,
        Settings.from_env({"DICAST_MODEL": url}).made.judge,
        Settings(url, route="/route").made.judge,
        trl.reward_func(url, CONCISE)._how.made.judge,  # type: ignore[attr-defined]
    ):
        assert isinstance(judge, dicast.Client) and judge.base_url == url
