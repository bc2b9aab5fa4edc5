"""Hooks that can be called as their trainer calls them without its package. The others are under tests/real."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence

import pytest

import dicast
from dicast.trainers import Settings, areal, art, nemo_rl, swift, tunix
from dicast.trainers._conversations import needs, parts_of_group, prompt_and_last, transcript
from support import CONCISE, MODEL

SHORT = "Build small projects."
LONG = "First of all one should consider that learning is a long journey with a great many stages of all kinds. " * 4
ASK = {"role": "user", "content": "How do I learn Python?"}
OTHER = {"role": "user", "content": "How do I learn Rust?"}


class Counted:
    """A real judge, and the requests that it got."""

    def __init__(self, judge: dicast.Judge) -> None:
        self.judge = judge
        self.requests: List[Any] = []
        self.scale, self.max_responses = judge.scale, judge.max_responses

    def judge_batch(self, requests: Any, **options: Any) -> List[Any]:
        self.requests += requests
        return self.judge.judge_batch(requests, **options)

    async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
        self.requests += requests
        return await self.judge.ajudge_batch(requests, **options)

    def sizes(self) -> List[int]:
        return sorted(len(request["responses"]) for request in self.requests)


@pytest.fixture
def counted(judge: dicast.Judge) -> Counted:
    return Counted(judge)


class Broken:
    """A judge that always fails."""

    scale, max_responses = (1, 5), 16

    def judge_batch(self, requests: Sequence[Any], **options: Any) -> List[Any]:
        return [dicast.InvalidVerdictError("no verdict", retryable=False)] * len(requests)

    async def ajudge_batch(self, requests: Sequence[Any], **options: Any) -> List[Any]:
        return self.judge_batch(requests)


def said(text: str) -> Dict[str, str]:
    return {"role": "assistant", "content": text}


def test_conversations() -> None:
    assert prompt_and_last([ASK, said("a")]) == ("How do I learn Python?", "a")
    tools = [said(""), {"role": "tool", "content": "7"}, said("b")]
    tools[0] = {**tools[0], "tool_calls": [{"function": {"name": "add", "arguments": '{"x": 3}'}}]}  # type: ignore
    prompt, texts = parts_of_group([[ASK, said("a")], [ASK, *tools]])
    assert prompt == "How do I learn Python?" and texts[0] == "a"
    assert texts[1] == 'assistant: [calls add({"x": 3})]\n\ntool: 7\n\nassistant: b'
    assert transcript([said("x")]) == "x"
    assert parts_of_group([[ASK, said("a")], [ASK, said("a")]])[1] == ["a", "a"], "what is said alike is no prompt"
    for wrong in ([], [[]], [[ASK], [ASK]], [[ASK, said("a")], [OTHER, said("a")]], [[ASK, said("a")], [ASK]]):
        with pytest.raises(dicast.InvalidRequestError):
            parts_of_group(wrong)
    with pytest.raises(dicast.UnsupportedError, match="pip install nothing-like-this"):
        needs("nothing_like_this", "nothing-like-this", "this test")


def test_swift_groups_by_prompt_wherever_samples_stand(counted: Counted) -> None:
    reward = swift.reward_class(Settings(counted, CONCISE))(args=None)
    texts = [LONG, LONG, SHORT, SHORT]
    asked = [ASK, OTHER, ASK, OTHER]
    columns = {"messages": [[ask, said(text)] for ask, text in zip(asked, texts)], "prompt_id": ["p", "q", "p", "q"]}
    rewards = asyncio.run(reward(texts, **columns, trainer_state=None))
    assert counted.sizes() == [2, 2] and rewards[2] > rewards[0] and rewards[3] > rewards[1]
    assert counted.requests[0]["prompt"] == ASK["content"]
    columns["principle"] = ["Prefer long responses."] * 4
    asyncio.run(reward(texts, **columns))
    assert counted.requests[-1]["principle"] == "Prefer long responses."
    failing = swift.reward_class(Settings(Broken(), CONCISE))()
    assert asyncio.run(failing(texts, **columns)) == [None] * 4, "which swift leaves out"
    with pytest.raises(dicast.InvalidRequestError, match="version 4"):
        asyncio.run(reward(texts))


class Trajectory:
    """Like ART's, with the fields that a rescoring uses."""

    def __init__(self, messages: List[Any], **fields: Any) -> None:
        self._messages = messages
        self.reward, self.metrics, self.logs, self.additional_histories = (
            0.25,
            {"steps": 1},
            ["l"],
            fields.get("more", []),
        )

    def messages(self) -> List[Any]:
        return self._messages

    def model_copy(self, update: Dict[str, Any]) -> Any:
        made = Trajectory(self._messages)
        made.__dict__.update(update)
        return made


class TrajectoryGroup(Trajectory):
    def __init__(self, trajectories: List[Any], metadata: Optional[Dict[str, Any]] = None) -> None:
        self.trajectories, self.metadata = trajectories, metadata or {}

    def model_copy(self, update: Dict[str, Any]) -> Any:
        return TrajectoryGroup(update["trajectories"], self.metadata)


def test_art_rescores_a_group(counted: Counted) -> None:
    group = TrajectoryGroup([Trajectory([ASK, said(LONG)]), Trajectory([ASK, said(SHORT)])])
    scored = asyncio.run(art.group_scorer(Settings(counted, CONCISE))(group))
    first, second = scored.trajectories
    assert second.reward > first.reward and counted.sizes() == [2]
    assert first.metrics == {"steps": 1, "independent_reward": 0.25, "dicast_score": first.reward}
    assert first.logs[0] == "l" and first.logs[1].startswith("dicast: ")
    assert group.trajectories[0].reward == 0.25, "the group that came is as it was"
    group.metadata["principle"] = "Prefer long responses."
    asyncio.run(art.score_group(group, Settings(counted, CONCISE), rubric="Be kind."))
    assert counted.requests[-1]["principle"] == "Prefer long responses."
    assert asyncio.run(art.group_scorer(Settings(Broken(), CONCISE))(group)) is None
    with pytest.raises(dicast.InvalidVerdictError):
        asyncio.run(art.score_group(group, Settings(Broken(), CONCISE)))
    group.trajectories[0].additional_histories = ["h"]
    with pytest.raises(dicast.InvalidRequestError, match="histories"):
        asyncio.run(art.score_group(group, Settings(counted, CONCISE)))


def test_tunix(counted: Counted) -> None:
    reward = tunix.reward_fn(Settings(counted, CONCISE), name="concise")
    prompts = ["<start_of_turn>user\nHow do I learn Python?<end_of_turn>\n<start_of_turn>model\n"] * 2 + ["Hi"]
    rewards = reward(prompts=prompts, completions=[LONG, SHORT + "<end_of_turn>", "Hello"], answer=["x", "y", "z"])
    assert reward.__name__ == "concise" and rewards[1] > rewards[0] and counted.sizes() == [1, 2]
    asked = counted.requests[0]
    assert asked["prompt"] == "How do I learn Python?" and list(asked["responses"].values()) == [LONG, SHORT]
    with pytest.raises(dicast.InvalidVerdictError):
        tunix.reward_fn(Settings(Broken(), CONCISE))(prompts=["p"], completions=["c"])
    assert tunix.reward_fn(Settings(Broken(), CONCISE, on_error=-1.0))(prompts=["p"], completions=["c"]) == [-1.0]


def test_areal_awaits_a_group_in_its_loop(counted: Counted) -> None:
    class Workflow:
        reward_fn = "dicast.trainers.areal.reward_fn"

    workflow = areal.judged(Workflow(), Settings(counted, CONCISE, group_size=2, window=30.0))

    async def episodes() -> Any:
        calls = [(ASK, LONG), (OTHER, SHORT), (ASK, SHORT), (OTHER, LONG)]
        return await asyncio.gather(
            *(workflow.async_reward_fn("rendered", text, [1], [2], messages=[ask], answer="x") for ask, text in calls)
        )

    rewards = asyncio.run(episodes())
    assert counted.sizes() == [2, 2] and rewards[2] > rewards[0] and rewards[1] > rewards[3]
    assert workflow.reward_fn is workflow.async_reward_fn
    pickle.loads(pickle.dumps(areal.make_reward(Settings(str(MODEL), CONCISE))))
    with pytest.raises(TypeError, match="make_reward"):
        areal.judged(object(), Settings(counted, CONCISE))


def test_areal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICAST_MODEL", str(MODEL))
    monkeypatch.setenv("DICAST_PRINCIPLE", CONCISE)
    assert 1 <= areal.reward_fn("How do I learn Python?", SHORT, [1], [2], answer="x") <= 5


_WAITING = """
import asyncio, pickle, sys, threading
before = asyncio.get_event_loop_policy()
handle = pickle.loads(bytes.fromhex(sys.argv[1]))
assert handle.upper() == "ACTOR", "what is asked of the handle is asked of the actor"
barrier = threading.Barrier(100)

async def wait():
    # None goes on before all are there, as the samples of a step.
    await asyncio.gather(*(asyncio.to_thread(barrier.wait, 60) for _ in range(100)))

asyncio.run(wait())
assert isinstance(asyncio.get_event_loop_policy(), type(before))
"""


def test_a_process_that_receives_nemo_rls_environment_has_room_for_its_samples(tmp_path: Any) -> None:
    sent = pickle.dumps(nemo_rl._Handle("actor")).hex()
    subprocess.run([sys.executable, "-c", _WAITING, sent], check=True, timeout=120, cwd=tmp_path)


def test_nemo_rl_settings() -> None:
    config = {"model": str(MODEL), "principle": CONCISE, "group_size": 4, "rewards": {"reward": "rank"}}
    settings = nemo_rl.settings_of(config)
    assert settings.group_size == 4 and settings.principle == CONCISE and settings.made.reward == "rank"
    assert isinstance(nemo_rl.settings_of({"model": "http://h:1"}).judge, dicast.Client)
    with pytest.raises(dicast.InvalidConfigError, match="grup_size"):
        nemo_rl.settings_of({"model": "m.gguf", "grup_size": 4})
    with pytest.raises(AttributeError):
        nemo_rl.Nothing  # noqa: B018
