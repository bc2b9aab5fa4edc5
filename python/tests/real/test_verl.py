"""veRL's reward loop on a local Ray cluster: its manager and its worker processes, with samples sent at random."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from support import CONCISE, MODEL

from .conftest import PROMPTS, SAMPLES, prompt_of, response_of, worker_paths

pytest.importorskip("ray", reason="needs the package ray")
pytest.importorskip("verl.experimental.reward_loop", reason="needs the package verl")

import numpy
import ray
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop.reward_loop import RewardLoopManager
from verl.trainer.ppo.reward import resolve_reward_manager_cls

#: veRL starts 8 by default; each takes a while to start.
WORKERS = 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer of words, saved as veRL's workers load it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {chr(code): code - 30 for code in range(32, 127)}
    inner = Tokenizer(models.WordLevel({"[PAD]": 0, "[EOS]": 1, **letters}, unk_token="[PAD]"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    inner.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", eos_token="[EOS]")
    path = tmp_path_factory.mktemp("policy")
    made.save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 128}))
    return str(path), made


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    env = {"PYTHONPATH": worker_paths(), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    # A separate cluster, whatever else runs on this machine.
    settings = {"include_dashboard": False, "log_to_driver": False, "runtime_env": {"env_vars": env}}
    ray.init(address="local", num_cpus=16, **settings)
    yield
    ray.shutdown()


def config_of(path: str, **dicast_settings: Any) -> Any:
    own = {"model": str(MODEL), "principle": CONCISE, **dicast_settings}
    own.setdefault("config", {"options": {"max_reasoning_tokens": 16}})
    return OmegaConf.create(
        {
            "actor_rollout_ref": {
                "model": {"path": path, "tokenizer_path": None},
                "rollout": {"n": SAMPLES, "val_kwargs": {"n": 1}},
            },
            "reward": {
                "num_workers": WORKERS,
                "custom_reward_function": {"path": None, "name": "compute_score"},
                "reward_manager": {
                    "source": "importlib",
                    "name": "RewardManager",
                    "module": {"path": "pkg://dicast.trainers.verl_manager", "name": "custom_reward_manager"},
                },
                "reward_model": {"enable": False, "enable_resource_pool": False},
                "reward_kwargs": {"dicast": own},
            },
        }
    )


def sample_of(tokenizer: Any, prompt: str, text: str, uid: str, **info: Any) -> DataProto:
    """One sample, as veRL's agent loop sends it."""
    prompts = torch.tensor([[5, 6, 7]])
    responses = torch.tensor([tokenizer(text)["input_ids"]])
    ids = torch.cat([prompts, responses], dim=1)
    fields: Dict[str, Any] = {
        "data_source": "made/up",
        "reward_model": {"style": "model", "ground_truth": ""},
        "extra_info": {"index": 1, **info},
        "uid": uid,
        "raw_prompt": [{"role": "user", "content": prompt}],
        "tool_extra_fields": {"raw_prompt": [{"role": "user", "content": prompt}]},
        "__num_turns__": 2,
    }
    columns = {}
    for name, value in fields.items():
        columns[name] = numpy.empty(1, dtype=object)
        columns[name][0] = value
    batch = {"prompts": prompts, "responses": responses, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return DataProto(batch=TensorDict(batch, batch_size=1), non_tensor_batch=columns)


async def rollout(workers: List[Any], data: Any, seed: int) -> Any:
    """A sample that ends at a random time and goes to a random worker."""
    at_random = random.Random(seed)
    await asyncio.sleep(at_random.uniform(0, 3))
    try:
        return await at_random.choice(workers).compute_score.remote(data)
    except Exception as error:
        return error


def step(manager: Any, samples: List[Any]) -> List[Any]:
    async def all_of_them() -> List[Any]:
        calls = (rollout(manager.reward_loop_workers, one, seed) for seed, one in enumerate(samples))
        return list(await asyncio.gather(*calls))

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def manager(cluster: None, tokenizer: Any) -> Any:
    """veRL's manager with its worker processes, which take a while to start."""
    return RewardLoopManager(config_of(tokenizer[0]))


def test_groups_are_full_over_several_workers(manager: Any, tokenizer: Any) -> None:
    letters = tokenizer[1]
    assert len(manager.reward_loop_workers) == WORKERS
    samples = [
        sample_of(letters, prompt_of(number), response_of(number, place), f"uid-{number}")
        for number in range(PROMPTS)
        for place in range(SAMPLES)
    ]
    results = step(manager, samples)
    assert not [one for one in results if isinstance(one, Exception)], results[:1]
    groups = [one["reward_extra_info"]["dicast_group"] for one in results]
    full = groups.count(SAMPLES) / len(groups)
    assert full >= 0.99
    assert all(1 <= one["reward_score"] <= 5 for one in results)
    assert len({one["reward_score"] for one in results}) > PROMPTS, "rewards within a group differ"
    # Validation has another group size, and is recognized by the split of its data.
    lone = step(manager, [sample_of(letters, prompt_of(1), response_of(1, 1), "val-1", split="test")])
    assert lone[0]["reward_extra_info"] == {"dicast_judged": 1.0, "dicast_group": 1.0}
    print(f"veRL, {WORKERS} workers: {full:.1%} of {len(samples)} samples in full groups")


def test_a_failed_judgment_is_never_a_number(manager: Any, tokenizer: Any) -> None:
    letters = tokenizer[1]
    numbers = [number for number in range(PROMPTS) for _ in range(SAMPLES)]
    samples = [
        sample_of(
            letters, prompt_of(number, number % 10 == 3), response_of(number, place % SAMPLES), f"failing-{number}"
        )
        for place, number in enumerate(numbers)
    ]
    for number, result in zip(numbers, step(manager, samples)):
        if number % 10 == 3:
            assert isinstance(result, dicast.ContextOverflowError), result
        else:
            assert 1 <= result["reward_score"] <= 5


def test_another_actor_takes_over_from_one_that_dies(manager: Any, tokenizer: Any) -> None:
    letters = tokenizer[1]
    samples = [sample_of(letters, prompt_of(1), response_of(1, place), "killed") for place in range(SAMPLES)]

    async def killed() -> List[Any]:
        calls = [
            asyncio.ensure_future(rollout(manager.reward_loop_workers, one, seed)) for seed, one in enumerate(samples)
        ]
        await asyncio.sleep(1.5)
        (name,) = [one for one in ray.util.list_named_actors() if one.startswith("dicast-judge-")]
        ray.kill(ray.get_actor(name), no_restart=True)
        return list(await asyncio.gather(*calls))

    results = asyncio.run(killed())
    assert [one["reward_extra_info"]["dicast_group"] for one in results] == [SAMPLES] * SAMPLES, results


def test_the_manager_is_what_veRL_resolves(tokenizer: Any) -> None:
    kind = resolve_reward_manager_cls(config_of(tokenizer[0]))
    assert kind.__name__ == "RewardManager" and kind.__module__ == "dicast.trainers.verl_manager"
