"""Trains a tiny random policy with TRL's GRPO and the demonstration judge, and draws how its reward changes.

    PYTHONPATH=tests python tests/real/grpo_curve.py ../docs/grpo.svg [RUNS]

The policy is a Llama of two layers over about 40 words, with random weights: at first it writes random words until it
happens to end. The judge judges by "I prefer clear, concise and helpful responses over long and detailed ones."
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, List, Sequence

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from dicast.trainers import LazyJudge
from dicast.trainers.trl import reward_func

if __package__:
    from . import policy
else:
    import policy  # Run as a program, from its folder.
from support import CONCISE, MODEL

STEPS = 30
WORDS = (
    "build small projects read the tutorial first then ask when you are stuck one should consider that it is a long "
    "journey with many stages of all kinds practice every day and write tests . , "
    "How do I learn Python Rust Go cooking ?"
)
PROMPTS = [f"How do I learn {thing} ?" for thing in ("Python", "Rust", "Go", "cooking")]


def rewards_of_run(seed: int, steps: int = STEPS) -> List[float]:
    """The mean reward of each step, from 0 to 1."""
    tokenizer = policy.tokenizer_of(list(dict.fromkeys(WORDS.split())), split=False)
    judge = LazyJudge(MODEL, options={"max_reasoning_tokens": 32}, local={"threads": 1})
    with tempfile.TemporaryDirectory() as out:
        trainer: Any = GRPOTrainer(
            model=policy.model_of(tokenizer, width=64),
            reward_funcs=reward_func(judge, CONCISE, normalize=True),
            args=GRPOConfig(
                output_dir=out,
                per_device_train_batch_size=32,
                num_generations=8,
                max_completion_length=32,
                max_steps=steps,
                learning_rate=1e-3,
                lr_scheduler_type="constant",
                logging_steps=1,
                save_strategy="no",
                use_cpu=True,
                report_to=[],
                seed=seed,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS * 8]),
            processing_class=tokenizer,
        )
        trainer.train()
    return [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]


def svg(runs: Sequence[Sequence[float]]) -> str:
    """The runs as thin lines, their mean as a thick one."""
    width, height, left, bottom = 640, 300, 52, 40
    steps = len(runs[0])

    def x(step: int) -> float:
        return left + (width - left - 16) * step / (steps - 1)

    def y(reward: float) -> float:
        return 16 + (height - bottom - 16) * (1 - reward)

    def line(values: Sequence[float], style: str) -> str:
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in enumerate(values))
        return f'<polyline fill="none" {style} points="{points}"/>'

    mean = [statistics.fmean(run[step] for run in runs) for step in range(steps)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for tick in range(6):
        value = tick / 5
        parts.append(
            f'<line x1="{left}" x2="{width - 16}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
            f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.1f}</text>'
        )
    for step in range(0, steps, 5):
        parts.append(f'<text x="{x(step):.1f}" y="{height - bottom + 18}" text-anchor="middle">{step + 1}</text>')
    parts.append(f'<text x="{(width + left) / 2}" y="{height - 6}" text-anchor="middle">GRPO step</text>')
    middle = (height - bottom) / 2
    parts.append(
        f'<text x="14" y="{middle}" transform="rotate(-90 14 {middle})" text-anchor="middle">mean reward</text>'
    )
    parts += [line(run, 'stroke="#9bb8d3" stroke-width="1"') for run in runs]
    parts += [line(mean, 'stroke="#1f5a8a" stroke-width="2.5"'), "</svg>", ""]
    return "\n".join(parts)


def main() -> None:
    runs = [rewards_of_run(seed) for seed in range(int(sys.argv[2]) if len(sys.argv) > 2 else 2)]
    for seed, run in enumerate(runs):
        first, last = statistics.fmean(run[:5]), statistics.fmean(run[-5:])
        print(f"seed {seed}: mean reward of the first five steps {first:.3f}, of the last five {last:.3f}")
    Path(sys.argv[1]).write_text(svg(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
