"""OpenRLHF's own executor machinery with a stand-in for vLLM: its classes generate, wait and reward as in a run."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import random
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

import dicast
from support import CONCISE

from .conftest import PROMPTS, SAMPLES, Watched, prompt_of, response_of

pytest.importorskip("openrlhf.utils.agent", reason="needs the package openrlhf")

from openrlhf.utils import agent

from dicast.trainers import Settings, openrlhf, openrlhf_executor

CHAT = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


class Letters:
    """A tokenizer: one token for each character."""

    def __call__(self, text: str, **_: Any) -> Dict[str, Any]:
        import torch

        return {"input_ids": torch.tensor([[ord(letter) for letter in text]])}

    def decode(self, tokens: Any, **_: Any) -> str:
        return "".join(chr(token) for token in tokens)


class Engine:
    """Ends samples at random times. Some generations fail, if a test asks for that."""

    def __init__(self, failing: int = 0) -> None:
        self.made = 0
        self.failing = failing
        self.random = random.Random(7)

    async def generate(self, prompt_token_ids: Any, sampling_params: Any, multi_modal_data: Any = None) -> Any:
        self.made += 1
        number = self.made
        await asyncio.sleep(self.random.uniform(0, 0.8))
        if number <= self.failing:
            raise RuntimeError("generation failed")
        text = response_of(number, number % SAMPLES) + "<|im_end|>"
        output = SimpleNamespace(token_ids=[ord(letter) for letter in text], finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


PARAMS = SimpleNamespace(max_tokens=1000, logprobs=None)


async def group(executor: Any, engine: Engine, prompt: str, count: int = SAMPLES) -> List[Any]:
    """Does the same as RolloutRayActor.generate_responses."""
    calls = [
        executor.execute(
            prompt=CHAT.format(prompt),
            label="label",
            sampling_params=PARAMS,
            max_length=100_000,
            hf_tokenizer=Letters(),
            llm_engine=engine,
            images=None,
        )
        for _ in range(count)
    ]
    return list(await asyncio.gather(*calls, return_exceptions=True))


def executor_of(judge: Any, **settings: Any) -> Any:
    kind = type("AgentExecutor", (openrlhf_executor.Executor,), {"settings": Settings(judge, CONCISE, **settings)})
    made = kind()
    assert isinstance(made, agent.AgentExecutorBase)
    return made


def test_groups_are_full_at_random_ends(watched: Watched) -> None:
    executor, engine = executor_of(watched), Engine()

    async def rollouts() -> List[Any]:
        return list(await asyncio.gather(*(group(executor, engine, prompt_of(n)) for n in range(PROMPTS))))

    outputs = [one for outputs in asyncio.run(rollouts()) for one in outputs]
    assert watched.full() >= 0.99 and executor.coalescer.counts.incomplete == 0
    assert len(outputs) == PROMPTS * SAMPLES
    assert all(1 <= one["reward"] <= 5 and 0 <= one["scores"] <= 1 for one in outputs)
    assert all(one["extra_logs"] == {"dicast_judged": 1.0, "dicast_group": 8.0} for one in outputs)
    assert len({one["reward"] for one in outputs}) > PROMPTS, "rewards within a group differ"
    print(f"OpenRLHF executor: {watched.full():.1%} of {len(outputs)} samples in full groups")


def test_evaluation_and_failed_generations_need_no_settings(watched: Watched) -> None:
    executor, engine = executor_of(watched, window=30.0), Engine(failing=3)

    async def rollouts() -> List[Any]:
        broken = await group(executor, engine, prompt_of(1))
        return [broken, await group(executor, engine, prompt_of(2), 1), await group(executor, engine, prompt_of(3), 2)]

    broken, alone, pair = asyncio.run(rollouts())
    assert [isinstance(one, RuntimeError) for one in broken].count(True) == 3
    assert watched.sizes == [5, 1, 2], "what failed is not waited for, and an evaluation has groups of its own size"
    assert all(isinstance(one["reward"], float) for one in (*alone, *pair))


def test_a_failed_judgment_is_never_a_number(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    executor, engine = executor_of(watched), Engine()

    async def rollouts() -> List[Any]:
        return list(await asyncio.gather(*(group(executor, engine, prompt_of(n, n % 10 == 3)) for n in range(PROMPTS))))

    for number, outputs in enumerate(asyncio.run(rollouts())):
        for one in outputs:
            assert isinstance(one, dicast.ContextOverflowError) == (number % 10 == 3)
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_the_file_form_through_its_executor(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    executor = agent.SingleTurnAgentExecutor()
    executor.reward_endpoints = ["reward.py"]
    executor.reward_func = openrlhf.make_reward_func(Settings(watched, CONCISE, group_size=2, window=30.0))
    outputs = asyncio.run(group(executor, Engine(), prompt_of(1), 2))
    assert watched.sizes == [2] and all(1 <= one["reward"][0] <= 5 for one in outputs)
    assert all(0 <= one["scores"][0] <= 1 for one in outputs)
    caplog.clear()
    outputs = asyncio.run(group(executor, Engine(), prompt_of(1, True), 2))
    assert all(one["reward"] is None for one in outputs), "OpenRLHF swallows the error"
    assert any(record.name == "dicast" and record.levelno == logging.ERROR for record in caplog.records)


def test_openrlhf_loads_the_file_of_the_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    from support import MODEL

    monkeypatch.setenv("DICAST_MODEL", str(MODEL))
    monkeypatch.setenv("DICAST_PRINCIPLE", CONCISE)
    spec = importlib.util.spec_from_file_location("agent_module", openrlhf_executor.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    executor = module.AgentExecutor()
    assert isinstance(executor, agent.AgentExecutorBase)
    (output,) = asyncio.run(group(executor, Engine(), prompt_of(1), 1))
    assert 1 <= output["reward"] <= 5
