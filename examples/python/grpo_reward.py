#!/usr/bin/env python3
"""A reward function for GRPO: the completions of one prompt are judged together, by a principle in plain language.

With TRL:

    from trl import GRPOConfig, GRPOTrainer
    trainer = GRPOTrainer(reward_funcs=make_reward(judge), args=GRPOConfig(num_generations=4, …), …)

Run alone, it shows the rewards of one group, and the advantages that GRPO makes of them:

    python examples/python/grpo_reward.py demo/dicast-demo.gguf
"""

import statistics
import sys
from typing import Callable, List, Optional

import dicast
from dicast.trainers.trl import reward_func

PRINCIPLE = "I prefer clear, concise and helpful responses over long and detailed ones."


def make_reward(judge: dicast.Judge) -> Callable[..., List[Optional[float]]]:
    """The reward: the expected score, from 0 to 1. None, never a number, where a group cannot be judged."""
    return reward_func(judge, PRINCIPLE, normalize=True, name="conciseness")


def advantages(rewards: List[Optional[float]]) -> List[float]:
    """What GRPO makes of the rewards of one group: how far each is from their mean, by their spread."""
    known = [reward for reward in rewards if reward is not None]
    mean, spread = statistics.fmean(known), statistics.pstdev(known)
    return [0.0 if reward is None else (reward - mean) / (spread + 1e-4) for reward in rewards]


def main() -> None:
    """Shows one group."""
    prompt = "How do I cook pasta?"
    completions = [
        "Boil salted water, cook the pasta for nine minutes, drain it.",
        "It depends.",
        "First of all, one should consider what pasta is. " + "It is a food with a long and eventful history. " * 6,
        "Water, salt, pasta, nine minutes. Keep some of the water for the sauce.",
    ]
    with dicast.from_pretrained(sys.argv[1]) as judge:
        reward = make_reward(judge)
        rewards = reward(prompts=[prompt] * 4, completions=completions, completion_ids=[[0]] * 4)
    for text, value, advantage in zip(completions, rewards, advantages(rewards)):
        shown = "none" if value is None else f"{value:.3f}"
        print(f"reward {shown}  advantage {advantage:+.2f}  {text[:60]}")


if __name__ == "__main__":
    main()
