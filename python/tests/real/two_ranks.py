"""One of two processes of a training whose groups are split over both; `test_trl.py` starts them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, List

import torch.distributed
from datasets import Dataset
from real import policy
from real.conftest import Watched, prompt_of
from trl import GRPOConfig, GRPOTrainer

import dicast
from dicast.trainers import trl as hooks
from support import CONCISE

OUT = Path(sys.argv[1])


def train(reward: Any) -> None:
    model, tokenizer = policy.tiny()
    GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(OUT / "out"),
            per_device_train_batch_size=2,
            num_generations=4,
            max_completion_length=8,
            max_steps=3,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt_of(number)} for number in range(8)]),
        processing_class=tokenizer,
    ).train()


def main() -> None:
    report: Dict[str, List[Any]] = {}
    for name, kind in (("sync", hooks.reward_func), ("async", hooks.async_reward_func)):
        watched = Watched()
        train([kind(watched, CONCISE), kind(watched, "Prefer long responses.", name="long")])
        report[name] = watched.sizes
    report["failed"] = []
    with dicast.from_pretrained(Watched().judge.model) as closed:
        pass
    first = torch.distributed.get_rank() == 0
    try:
        train(hooks.reward_func(closed if first else Watched(), CONCISE))
    except dicast.DicastError as error:
        report["failed"].append(type(error).__name__)
    (OUT / f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
