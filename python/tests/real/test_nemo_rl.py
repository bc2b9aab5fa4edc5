"""NeMo RL's own code creates the environment, a Ray actor, and steps it in its roll-outs.

DICAST_NEMO_RL names a checkout of NeMo RL, which is not on the package index. Skipped without it.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from support import CONCISE, MODEL

from .conftest import TOO_LONG, carry, worker_paths

pytest.importorskip("ray")
if os.environ.get("DICAST_NEMO_RL"):
    sys.path.append(os.environ["DICAST_NEMO_RL"])
pytest.importorskip("nemo_rl.experience.rollouts", reason="needs DICAST_NEMO_RL, a checkout of NeMo RL")

import ray
import torch
from nemo_rl.distributed.batched_data_dict import BatchedDataDict
from nemo_rl.environments.utils import create_env
from nemo_rl.experience import rollouts

from dicast.trainers import nemo_rl

from .policy import tokenizer_of

pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS, SAMPLES = 8, 8

carry(__name__, tokenizer_of.__module__)


def settings(**changes: Any) -> Dict[str, Any]:
    config = {"options": {"max_reasoning_tokens": 16}}
    return {
        "model": str(MODEL),
        "principle": CONCISE,
        "group_size": SAMPLES,
        "window": 60.0,
        "config": config,
        **changes,
    }


@pytest.fixture(scope="module")
def environment() -> Iterator[Any]:
    # NeMo RL gives its actors the environment of this process.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = worker_paths()
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    nemo_rl.register()
    nemo_rl.register()
    yield create_env("dicast", settings())
    ray.shutdown()
    del os.environ["PYTHONPATH"]
    if before is not None:
        os.environ["PYTHONPATH"] = before


def counts(environment: Any) -> List[float]:
    _, metrics = ray.get(environment.global_post_process_and_metrics.remote({}))
    return [metrics["dicast/groups_full"], metrics["dicast/groups_incomplete"]]


def conversation(number: int, place: int) -> List[Any]:
    asked = {"role": "user", "content": f"How do I learn the language number {number}?"}
    return [asked, {"role": "assistant", "content": f"Build something small. Step {place}."}]


def expected(judge: dicast.Judge, number: int) -> List[Any]:
    prompt = conversation(number, 0)[0]["content"]
    texts = {str(place + 1): conversation(number, place)[1]["content"] for place in range(SAMPLES)}
    result = judge.judge(CONCISE, prompt, texts, max_reasoning_tokens=16)
    return [result.expected_scores[name] for name in texts]


def test_a_batch_is_judged_in_groups(environment: Any, judge: dicast.Judge) -> None:
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
    assert counts(environment) == [PROMPTS, 0]
    assert all(1 <= reward <= 5 for reward in rewards.values())


class Policy:
    """A policy that answers at once, or, sample by sample, at random times."""

    cfg = {"backend": "vllm", "vllm_cfg": {"async_engine": True}}  # noqa: RUF012

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.made = 0

    def generate(self, data: Any, greedy: bool = False) -> Any:
        rows, ends = [], []
        for ids, length in zip(data["input_ids"], data["input_lengths"]):
            self.made += 1
            said = self.tokenizer(f"Build something small. Step {self.made}.").input_ids
            rows.append(torch.tensor([*ids[:length].tolist(), *said]))
            ends.append(len(rows[-1]))
        lengths = torch.tensor(ends)
        return BatchedDataDict(
            {
                "output_ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
                "generation_lengths": lengths - data["input_lengths"],
                "unpadded_sequence_lengths": lengths,
                "logprobs": torch.zeros(len(rows), max(ends)),
            }
        )

    async def generate_async(self, data: Any, greedy: bool = False) -> Any:
        await asyncio.sleep(random.random())
        yield 0, self.generate(data)


def batch_of(tokenizer: Any, fails: int = -1) -> Any:
    """A step: the samples of a prompt follow one another."""
    logs = []
    for number in (number for number in range(PROMPTS) for _ in range(SAMPLES)):
        asked = f"{TOO_LONG if number == fails else ''}How do I learn the language number {number}?"
        ids = torch.tensor(tokenizer(asked).input_ids)
        logs.append([{"role": "user", "content": asked, "token_ids": ids}])
    return BatchedDataDict(
        {
            "message_log": logs,
            "extra_env_info": [{} for _ in logs],
            "task_name": ["judged"] * len(logs),
            "idx": list(range(len(logs))),
        }
    )


def rolled_out(run: Any, environment: Any, fails: int = -1) -> Any:
    tokenizer = tokenizer_of()
    batch, _ = run(Policy(tokenizer), batch_of(tokenizer, fails), tokenizer, {"judged": environment}, 100_000)
    return batch


def checked(batch: Any, judge: dicast.Judge) -> None:
    """The rewards are those that the judge gives when it is asked directly."""
    rewards = batch["total_reward"].reshape(PROMPTS, SAMPLES)
    assert ((rewards >= 1) & (rewards <= 5)).all()
    for number in range(PROMPTS):
        logs = batch["message_log"][number * SAMPLES : (number + 1) * SAMPLES]
        texts = {str(place): log[1]["content"] for place, log in enumerate(logs)}
        result = judge.judge(CONCISE, logs[0][0]["content"], texts, max_reasoning_tokens=16)
        assert rewards[number].tolist() == pytest.approx([result.expected_scores[name] for name in texts], abs=1e-4)


def test_a_roll_out_in_batches(environment: Any, judge: dicast.Judge) -> None:
    checked(rolled_out(rollouts.run_multi_turn_rollout, environment), judge)


def test_a_roll_out_sample_by_sample(environment: Any) -> None:
    before = counts(environment)
    start = time.monotonic()
    batch = rolled_out(rollouts.run_async_multi_turn_rollout, environment)
    assert ((batch["total_reward"] >= 1) & (batch["total_reward"] <= 5)).all()
    assert [one - other for one, other in zip(counts(environment), before)] == [PROMPTS, 0]
    assert time.monotonic() - start < 60


def test_a_step_of_an_evaluation(environment: Any) -> None:
    """NeMo RL's evaluations ask for the answers, by a third argument."""
    logs = [conversation(1, place) for place in range(SAMPLES)]
    returned = ray.get(environment.step.remote(logs, [{}] * SAMPLES, True))
    assert returned.answers == [log[1]["content"] for log in logs] and len(returned.rewards) == SAMPLES


@pytest.mark.parametrize("run", [rollouts.run_multi_turn_rollout, rollouts.run_async_multi_turn_rollout])
def test_a_failed_judgment_ends_the_roll_out(environment: Any, run: Any) -> None:
    with pytest.raises(Exception, match="context"):
        rolled_out(run, environment, fails=3)
