"""NeMo RL's own code creates the environment, a Ray actor, and steps it. Skipped without NeMo RL."""

from __future__ import annotations

import os
import pathlib
import random
from typing import Any, Iterator, List

import pytest

pytest.importorskip("ray")
pytest.importorskip("nemo_rl")

import ray

import dicast
from support import CONCISE, MODEL

pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS, SAMPLES = 8, 8


@pytest.fixture(scope="module")
def environment() -> Iterator[Any]:
    from nemo_rl.environments.utils import create_env

    from dicast.trainers import nemo_rl

    paths = [str(pathlib.Path(dicast.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    ray.init(address="local", num_cpus=2, log_to_driver=False)
    nemo_rl.register()
    nemo_rl.register()
    config = {"options": {"max_reasoning_tokens": 16}}
    settings = {"model": str(MODEL), "principle": CONCISE, "group_size": SAMPLES, "window": 60.0, "config": config}
    yield create_env("dicast", settings)
    ray.shutdown()


def conversation(number: int, place: int) -> List[Any]:
    asked = {"role": "user", "content": f"How do I learn the language number {number}?"}
    return [asked, {"role": "assistant", "content": f"Build something small. Step {place}."}]


def expected(judge: dicast.Judge, number: int) -> List[Any]:
    prompt = conversation(number, 0)[0]["content"]
    texts = {str(place + 1): conversation(number, place)[1]["content"] for place in range(SAMPLES)}
    result = judge.judge(CONCISE, prompt, texts, max_reasoning_tokens=16)
    return [result.expected_scores[name] for name in texts]


def test_a_batch_is_judged_in_groups(environment: Any, judge: dicast.Judge) -> None:
    import torch

    logs = [conversation(number, place) for place in range(SAMPLES) for number in range(PROMPTS)]
    returned = ray.get(environment.step.remote(logs, [{}] * len(logs)))
    assert returned.terminateds.all() and len(returned.observations) == len(logs)
    table = returned.rewards.reshape(SAMPLES, PROMPTS)
    for number in range(PROMPTS):
        assert torch.allclose(table[:, number], torch.tensor(expected(judge, number)), atol=1e-5)
    batch, metrics = ray.get(environment.global_post_process_and_metrics.remote({"total_reward": returned.rewards}))
    assert metrics["dicast/mean_reward"] == pytest.approx(float(returned.rewards.mean())) and batch


def test_samples_that_come_one_by_one_form_groups(environment: Any, judge: dicast.Judge) -> None:
    calls = [(number, place) for number in range(PROMPTS) for place in range(SAMPLES)]
    random.shuffle(calls)
    steps = [environment.step.remote([conversation(*call)], [None]) for call in calls]
    rewards = {call: float(step.rewards[0]) for call, step in zip(calls, ray.get(steps))}
    _, metrics = ray.get(environment.global_post_process_and_metrics.remote({}))
    assert metrics["dicast/groups_full"] == PROMPTS and metrics["dicast/groups_incomplete"] == 0
    assert all(1 <= reward <= 5 for reward in rewards.values())


def test_a_failed_judgment_raises(environment: Any) -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match="context"):
        ray.get(
            environment.step.remote(
                [[{"role": "user", "content": "word " * 9000}, conversation(1, 1)[1]]] * 2, [{}] * 2
            )
        )
