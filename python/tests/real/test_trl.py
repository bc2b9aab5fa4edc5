"""TRL's real trainers on a tiny random policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

import dicast
from support import CONCISE, MODEL

from .conftest import PROMPTS, SAMPLES, TOO_LONG, Watched, prompt_of

pytest.importorskip("trl", reason="needs the package trl")
pytest.importorskip("datasets", reason="needs the package datasets")

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from dicast.trainers import trl as hooks

from . import policy


def config(tmp_path: Any, **more: Any) -> Any:
    settings: Dict[str, Any] = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": PROMPTS * SAMPLES,
        "num_generations": SAMPLES,
        "max_completion_length": 12,
        "max_steps": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "report_to": [],
        "seed": 3,
        **more,
    }
    return GRPOConfig(**settings)


def trainer_of(reward: Any, tmp_path: Any, prompts: List[str], **more: Any) -> Any:
    model, tokenizer = policy.tiny()
    return GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=config(tmp_path, **more),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=tokenizer,
    )


def rewards_of(trainer: Any) -> Any:
    """The rewards of the last step, in the order of the batch."""
    return list(trainer._logs["rewards"]["dicast"])


@pytest.mark.parametrize("kind", ["reward_func", "async_reward_func"])
def test_groups_are_full(watched: Watched, tmp_path: Path, kind: str) -> None:
    reward = getattr(hooks, kind)(watched, CONCISE)
    trainer = trainer_of(reward, tmp_path, [prompt_of(number) for number in range(PROMPTS)])
    trainer.train()
    assert watched.full() >= 0.99 and sum(watched.sizes) == PROMPTS * SAMPLES
    print(f"TRL GRPO, {kind}: {watched.full():.1%} of {sum(watched.sizes)} samples in full groups")


def test_a_failed_judgment_is_never_a_number(watched: Watched, tmp_path: Path) -> None:
    seen: Dict[str, Any] = {}

    class Trainer(GRPOTrainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: Any) -> Any:
            output = super()._generate_and_score_completions(inputs)
            seen.update(advantages=output["advantages"].clone(), principles=[one["principle"] for one in inputs])
            return output

    # The principle is too long for the judge, not the prompt: the policy would have to read a long prompt too.
    rows = [
        {"prompt": prompt_of(number), "principle": TOO_LONG if number % 10 == 3 else CONCISE}
        for number in range(PROMPTS)
    ]
    model, tokenizer = policy.tiny()
    trainer = Trainer(
        model=model,
        reward_funcs=hooks.reward_func(watched),
        args=config(tmp_path),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    failing = torch.tensor([principle == TOO_LONG for principle in seen["principles"]])
    rewards = torch.tensor(rewards_of(trainer))
    assert failing.sum() == 2 * SAMPLES
    assert torch.isnan(rewards[failing]).all() and not torch.isnan(rewards[~failing]).any()
    assert (seen["advantages"][failing] == 0).all(), "nothing is learned from a failure"
    assert (seen["advantages"][~failing] != 0).any()
    logged = [entry for entry in trainer.state.log_history if "dicast/failed" in entry]
    assert logged[0]["dicast/failed"] == pytest.approx(2 / PROMPTS)


def test_groups_that_lie_in_two_processes(tmp_path: Path) -> None:
    """2 processes with 2 samples each, and 4 samples for each prompt: each process has half of every group."""
    script = Path(__file__).with_name("two_ranks.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29653", str(script)]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    for name in ("sync", "async"):
        sizes = [size for rank in ranks for size in rank[name]]
        assert sizes and set(sizes) == {4}, (name, ranks)
    assert all(rank["failed"] == ["ClosedError"] for rank in ranks), "an error of one process is one of all: none waits"


def test_online_dpo_groups_over_the_batch_and_raises(watched: Watched, tmp_path: Path) -> None:
    online = pytest.importorskip("trl.experimental.online_dpo")
    model, tokenizer = policy.tiny()
    reference, _ = policy.tiny()

    def trainer(principles: List[str]) -> Any:
        return online.OnlineDPOTrainer(
            model=model,
            ref_model=reference,
            reward_funcs=hooks.reward_func(watched),
            args=online.OnlineDPOConfig(
                output_dir=str(tmp_path),
                per_device_train_batch_size=4,
                max_new_tokens=8,
                max_steps=1,
                use_cpu=True,
                bf16=False,
                report_to=[],
                save_strategy="no",
            ),
            train_dataset=Dataset.from_list(
                [{"prompt": prompt_of(number), "principle": one} for number, one in enumerate(principles)]
            ),
            processing_class=tokenizer,
        )

    trainer([CONCISE] * 4).train()
    assert watched.sizes == [2, 2, 2, 2], "the trainer hands over p1 to p4, then p1 to p4 again"
    # The trainer treats None as 0.
    with pytest.raises(dicast.DicastError):
        trainer([CONCISE] * 3 + [TOO_LONG]).train()


def test_a_hook_goes_to_a_spawned_process(tmp_path: Path) -> None:
    """In the way in which AsyncGRPOTrainer's worker gets it."""
    import multiprocessing

    reward = hooks.reward_func(str(MODEL), CONCISE, name="concise")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        rewards = pool.apply(reward, (["q"] * 2, ["Short.", "Long and longer. " * 20]))
    assert len(rewards) == 2 and all(1 <= one <= 5 for one in rewards)


def test_grpo_raises_the_reward_of_a_tiny_policy() -> None:
    from statistics import fmean

    from . import grpo_curve

    rewards = grpo_curve.rewards_of_run(0)
    first, last = fmean(rewards[:5]), fmean(rewards[-5:])
    print(f"TRL GRPO: mean reward of the first five steps {first:.3f}, of the last five {last:.3f}")
    assert len(rewards) == grpo_curve.STEPS and last > first + 0.05


def test_trl_takes_the_hooks_for_what_they_are() -> None:
    from trl.trainer import utils

    names = [hooks.reward_func("x.gguf", CONCISE, name="a"), hooks.async_reward_func("x.gguf", CONCISE, name="b")]
    assert [utils.get_callable_name(one) for one in names] == ["a", "b"]
    assert [utils.is_async_callable(one) for one in names] == [False, True]
