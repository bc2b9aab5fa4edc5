"""Hooks, called by the real code of their trainer. Each test is skipped without the trainer's package."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import pickle
import random
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from dicast.trainers import Settings
from support import CONCISE, MODEL

PROMPTS, SAMPLES = 16, 8
SHORT = "Build small projects."
LONG = "First of all one should consider that learning is a long journey with a great many stages of all kinds. " * 4

pytestmark = pytest.mark.filterwarnings("ignore")


def asked(number: int) -> str:
    return f"How do I learn the language number {number}?"


def answered(place: int) -> str:
    return SHORT if place == 0 else f"{LONG}And {place} more."


class Counted:
    """A real judge, the requests that it got, and the prompts at which it fails."""

    def __init__(self, fails: str = "") -> None:
        self.judge = dicast.from_pretrained(MODEL, options={"max_reasoning_tokens": 16})
        self.sizes: List[int] = []
        #: The rewards by prompt and response.
        self.given: Dict[Any, float] = {}
        self.fails = fails
        self.scale, self.max_responses = self.judge.scale, self.judge.max_responses

    def judge_batch(self, requests: Any, **options: Any) -> List[Any]:
        return self._counted(requests, self.judge.judge_batch(requests, **options))

    async def ajudge_batch(self, requests: Any, **options: Any) -> List[Any]:
        return self._counted(requests, await self.judge.ajudge_batch(requests, **options))

    def _counted(self, requests: Any, results: List[Any]) -> List[Any]:
        self.sizes += [len(request["responses"]) for request in requests]
        for request, result in zip(requests, results):
            for name, text in request["responses"].items():
                self.given[request["prompt"], text] = float(result.expected_scores[name])
        error = dicast.InvalidVerdictError("no verdict", retryable=False)
        return [
            error if self.fails and self.fails in request["prompt"] else result
            for request, result in zip(requests, results)
        ]


@pytest.fixture
def counted() -> Iterator[Counted]:
    made = Counted()
    with made.judge:
        yield made


def package(name: str) -> Any:
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed")
    return importlib.import_module(name)


def test_swift_scores_its_samples(counted: Counted) -> None:
    algorithm, data = package("swift.rl_core.grpo_algorithm"), package("swift.rl_core.data")
    import torch

    from dicast.trainers import swift

    importlib.reload(swift)
    orms = package("swift.rewards").orms
    assert orms["dicast"] is swift.DicastReward
    reward = swift.reward_class(Settings(counted, CONCISE))(args=None)
    samples = [
        data.GRPOSample(
            messages=[{"role": "user", "content": asked(number)}, {"role": "assistant", "content": answered(place)}],
            prompt_id=f"prompt_{number}",
        )
        for place in range(SAMPLES)
        for number in range(PROMPTS)
    ]
    rewards = algorithm.compute_rewards_per_func(samples, [reward], [None], torch.device("cpu"))[:, 0]
    assert counted.sizes == [SAMPLES] * PROMPTS
    given = [counted.given[asked(number), answered(place)] for place in range(SAMPLES) for number in range(PROMPTS)]
    assert rewards.tolist() == pytest.approx(given)
    counted.fails = "number 3?"
    rewards = algorithm.compute_rewards_per_func(samples, [reward], [None], torch.device("cpu"))[:, 0]
    missing = torch.isnan(rewards.reshape(SAMPLES, PROMPTS)).all(0)
    assert missing.nonzero().flatten().tolist() == [3]


class Letters:
    """A tokenizer of characters, for renderers that need one."""

    bos_token = eos_token = eos_token_id = None
    name_or_path = "letters"

    def encode(self, text: str, **_: Any) -> List[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: Any, **_: Any) -> str:
        return "".join(chr(one) for one in ([ids] if isinstance(ids, int) else ids))


def test_tinker_groups_are_judged(counted: Counted) -> None:
    package("tinker_cookbook.rl.types")
    from tinker_cookbook.completers import TokensWithLogprobs
    from tinker_cookbook.renderers.role_colon import RoleColonRenderer
    from tinker_cookbook.rl.problem_env import ProblemEnv, ProblemGroupBuilder
    from tinker_cookbook.rl.rollouts import do_group_rollout

    from dicast.trainers.tinker import JudgedGroupBuilder

    renderer: Any = RoleColonRenderer(Letters())

    class Env(ProblemEnv):
        def __init__(self) -> None:
            super().__init__(renderer)

        def get_question(self) -> str:
            return asked(1)

        def check_answer(self, sample_str: str) -> bool:
            return False

        def check_format(self, sample_str: str) -> bool:
            return True

        def get_reference_answer(self) -> str:
            return ""

    places = iter(range(SAMPLES))

    async def policy(ob: Any, stop: Any, *_: Any, **__: Any) -> Any:
        place = next(places)
        await asyncio.sleep(random.random() / 10)
        ids = Letters().encode(f" {answered(place)}\n\nUser:")
        return TokensWithLogprobs(tokens=ids, maybe_logprobs=[0.0] * len(ids))

    builder = JudgedGroupBuilder(ProblemGroupBuilder(Env, SAMPLES), Settings(counted, CONCISE))
    group = asyncio.run(do_group_rollout(builder, policy))
    assert counted.sizes == [SAMPLES]
    rewards = [metrics["dicast/reward"] for metrics in group.metrics_G]
    said = [Letters().decode(one.transitions[0].ac.tokens)[1:-7] for one in group.trajectories_G]
    assert rewards == [counted.given[asked(1), text.strip()] for text in said]
    again = pickle.loads(pickle.dumps(JudgedGroupBuilder(None, Settings(str(MODEL), CONCISE))))
    assert again.settings.principle == CONCISE
    counted.fails = asked(1)
    places = iter(range(SAMPLES))
    with pytest.raises(dicast.InvalidVerdictError):
        asyncio.run(do_group_rollout(builder, policy))


def test_art_gathers_groups_that_are_judged(counted: Counted) -> None:
    art = package("art")
    from dicast.trainers.art import group_scorer

    async def rollout(number: int, place: int) -> Any:
        await asyncio.sleep(random.random() / 5)
        messages = [{"role": "user", "content": asked(number)}, {"role": "assistant", "content": answered(place)}]
        return art.Trajectory(messages_and_choices=messages, reward=0.0)

    async def gathered() -> Any:
        groups = (art.TrajectoryGroup(rollout(n, place) for place in range(SAMPLES)) for n in range(PROMPTS))
        return await art.gather_trajectory_groups(groups, after_each=group_scorer(Settings(counted, CONCISE)))

    counted.fails = "number 5?"
    groups = asyncio.run(gathered())
    assert counted.sizes == [SAMPLES] * PROMPTS and len(groups) == PROMPTS - 1, "the group that failed is left out"
    for group in groups:
        for trajectory in group.trajectories:
            prompt, response = (message["content"] for message in trajectory.messages())
            assert trajectory.reward == trajectory.metrics["dicast_score"] == counted.given[prompt, response]


def verifiers_trace(vf: Any, number: int, place: int) -> Any:
    from verifiers.v1.configs.agent import WireAgentConfig
    from verifiers.v1.task import TaskData
    from verifiers.v1.trace import AgentInfo, Trace, TraceTask

    data = TaskData(idx=number, prompt=asked(number))
    config = WireAgentConfig.model_construct()
    made = Trace(
        task=TraceTask.model_construct(type="Task", data=data),
        agent=AgentInfo.model_construct(config=config, name="agent", trainable=True),
    )
    made.root_reply = answered(place)
    made.ok = True
    return made


def test_verifiers_plugs_the_judge_in(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    vf = package("verifiers.v1")
    from verifiers.v1.task import Task, TaskConfig
    from verifiers.v1.utils.loaders import judge_config_type, load_judge

    from dicast.trainers import verifiers
    from dicast.trainers._settings import PerProcess

    shared = verifiers._Plugged(Settings(counted, CONCISE, group_size=SAMPLES, window=60.0))
    monkeypatch.setattr(verifiers, "_plugged", PerProcess(lambda: shared))
    name = "dicast-judge"
    config = judge_config_type(name).model_validate({"id": name, "name": "concise", "weight": 2.0})
    assert type(load_judge(config)) is verifiers.DicastJudge
    traces = [[verifiers_trace(vf, number, place) for place in range(SAMPLES)] for number in range(PROMPTS)]

    async def score(trace: Any) -> None:
        await asyncio.sleep(random.random() / 2)
        task = Task(trace.task.data, TaskConfig(judges=[config]))
        await task.score(trace)

    async def everything() -> Any:
        return await asyncio.gather(*(score(trace) for group in traces for trace in group), return_exceptions=True)

    counted.fails = "number 3?"
    outcomes = asyncio.run(everything())
    assert counted.sizes == [SAMPLES] * PROMPTS
    failed = [bool(outcome) for outcome in outcomes]
    assert failed == [number == 3 for number in range(PROMPTS) for _ in range(SAMPLES)]
    for number, group in enumerate(traces):
        if number == 3:
            assert all(trace.rewards.get("concise") is None for trace in group)
            continue
        for place, trace in enumerate(group):
            reward = trace.rewards["concise"]
            assert reward.score == counted.given[asked(number), answered(place)] and reward.weight == 2.0
        assert group[0].info["dicast"][0]["group"] == SAMPLES


def test_prime_rl_judges_a_group_before_it_compares_rewards(counted: Counted) -> None:
    vf = package("verifiers.v1")
    from dicast.trainers.verifiers import judged

    class Algorithm:
        """Like prime-rl's GRPO: advantages from the rewards in the traces."""

        async def score_group(self, episodes: List[Any]) -> None:
            traces = [trace for episode in episodes for trace in episode.traces if not trace.has_error]
            mean = sum(trace.reward for trace in traces) / len(traces)
            for trace in traces:
                trace.info["advantage"] = trace.reward - mean

    episodes = [types.SimpleNamespace(traces=[verifiers_trace(vf, 1, place)]) for place in range(SAMPLES)]
    episodes[-1].traces[0].ok = False
    asyncio.run(judged(Algorithm, Settings(counted, CONCISE))().score_group(episodes))
    assert counted.sizes == [SAMPLES - 1], "a rollout that failed is not judged"
    values = [episode.traces[0].rewards["dicast"].score for episode in episodes[:-1]]
    assert values == [counted.given[asked(1), answered(place)] for place in range(SAMPLES - 1)]
    first = episodes[0].traces[0].info["advantage"]
    assert first == pytest.approx(values[0] - sum(values) / len(values)) and not episodes[-1].traces[0].rewards
    counted.fails = asked(1)
    fresh = [types.SimpleNamespace(traces=[verifiers_trace(vf, 1, place)]) for place in range(SAMPLES)]
    with pytest.raises(dicast.InvalidVerdictError):
        asyncio.run(judged(Algorithm, Settings(counted, CONCISE))().score_group(fresh))
    assert not any("advantage" in episode.traces[0].info for episode in fresh)


def test_skyrl_steps_environments_in_threads(counted: Counted) -> None:
    gym = package("skyrl_gym")
    from dicast.trainers.skyrl import DicastEnv

    settings = Settings(counted, CONCISE, group_size=SAMPLES, window=60.0)
    gym.register(id="dicast-test", entry_point=DicastEnv.made_of(settings))
    counted.fails = "number 3?"

    def run(number: int, place: int) -> Any:
        env = gym.make("dicast-test", env_config=None, extras={"data_source": "test"})
        env.init([{"role": "user", "content": asked(number)}])
        try:
            return env.step(answered(place))
        except dicast.DicastError as error:
            return error

    calls = [(number, place) for number in range(PROMPTS) for place in range(SAMPLES)]
    random.shuffle(calls)
    with ThreadPoolExecutor(len(calls)) as pool:
        steps = dict(zip(calls, pool.map(lambda call: run(*call), calls)))
    assert counted.sizes == [SAMPLES] * PROMPTS
    for (number, place), step in steps.items():
        if number == 3:
            assert isinstance(step, dicast.InvalidVerdictError)
        else:
            assert step["done"] and step["reward"] == counted.given[asked(number), answered(place)]


def test_tunix_computes_rewards(counted: Counted) -> None:
    found = importlib.util.find_spec("tunix")
    if found is None or not found.submodule_search_locations:
        pytest.skip("tunix is not installed")
    # Without the package's __init__, which imports JAX and all its packages.
    for name in ("tunix", "tunix.rl"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(found.submodule_search_locations[0], *name.split(".")[1:]))]
        sys.modules[name] = module
    try:
        manager = importlib.import_module("tunix.rl.reward_manager")
    except ImportError as error:
        pytest.skip(str(error))
    from dataclasses import dataclass

    from dicast.trainers.tunix import reward_fn

    @dataclass
    class Config:
        num_generations: int = SAMPLES
        reward_manager: str = "sequence-level"

    made = manager.SequenceRewardManager([reward_fn(Settings(counted, CONCISE))], Config())
    prompts = [asked(number) for number in range(PROMPTS) for _ in range(SAMPLES)]
    completions = [answered(place) for _ in range(PROMPTS) for place in range(SAMPLES)]
    got: Dict[str, Any] = made(prompts=prompts, completions=completions, mode="train")
    given = [counted.given[one] for one in zip(prompts, completions)]
    assert counted.sizes == [SAMPLES] * PROMPTS and got["rewards"].tolist() == pytest.approx(given)
    counted.fails = "number 3?"
    with pytest.raises(dicast.InvalidVerdictError):
        made(prompts=prompts, completions=completions, mode="train")


def test_areal_workflows_await_the_judge(counted: Counted) -> None:
    try:
        rlvr = package("areal.workflow.rlvr")
    except ImportError as error:
        pytest.skip(str(error))
    from dicast.trainers.areal import judged

    workflow = rlvr.RLVRWorkflow.__new__(rlvr.RLVRWorkflow)
    workflow.reward_fn, workflow.tokenizer = "dicast.trainers.areal.reward_fn", Letters()
    judged(workflow, Settings(counted, CONCISE, group_size=SAMPLES, window=60.0))

    async def sample(number: int, place: int) -> Any:
        await asyncio.sleep(random.random() / 2)
        ids = Letters().encode(answered(place))
        answer = types.SimpleNamespace(input_tokens=[1], output_tokens=ids)
        data = {"messages": [{"role": "user", "content": asked(number)}], "answer": ""}
        return await workflow._compute_rewards(answer, asked(number), data)

    async def everything() -> Any:
        return await asyncio.gather(*(sample(n, place) for n in range(PROMPTS) for place in range(SAMPLES)))

    rewards = asyncio.run(everything())
    given = [counted.given[asked(number), answered(place)] for number in range(PROMPTS) for place in range(SAMPLES)]
    assert counted.sizes == [SAMPLES] * PROMPTS and rewards == given
