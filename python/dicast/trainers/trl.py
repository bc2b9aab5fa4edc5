"""TRL: reward functions of GRPOTrainer and its like, and the judges of TRL up to 1.0.

::

    from dicast.trainers.trl import reward_func

    trainer = GRPOTrainer(reward_funcs=reward_func(judge, "Prefer short answers that are right."), …)

Conversations are judged by what the user and the assistant say in them.
"""

from __future__ import annotations

import logging
from typing import Any, Awaitable, Callable, Dict, List, Optional, Sequence

from ._groups import (
    Group,
    Judged,
    JudgeLike,
    Principle,
    Rewards,
    grouped,
    principle_of,
    text_of_completion,
    text_of_prompt,
)

__all__ = ["PairwiseJudge", "RankJudge", "async_reward_func", "reward_func"]

_LOGGER = logging.getLogger("dicast")


def reward_func(
    judge: JudgeLike,
    principle: Optional[Principle] = None,
    *,
    num_generations: Optional[int] = None,
    name: str = "dicast",
    **rewards: Any,
) -> Callable[..., List[Optional[float]]]:
    """A reward function for ``reward_funcs``.

    The completions of one prompt, which come one after another, are judged together. Where the same prompt may follow
    itself in a batch, ``num_generations`` keeps its groups apart. A column ``principle`` of the data set goes before
    ``principle``, which may be a function of the columns of a sample. What cannot be judged is None, which TRL leaves
    out of the mean; the metric ``<name>/failed`` says how much that is. ``rewards`` are the settings of
    :class:`dicast.trainers.Rewards`. TRL shows the function in its logs as ``name``.
    """
    made = Rewards(judge, **rewards)

    def function(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> List[Optional[float]]:
        groups = _groups(prompts, completions, principle, num_generations, columns)
        return _finished(made.of(groups), name, columns)

    function.__name__ = name
    return function


def async_reward_func(
    judge: JudgeLike,
    principle: Optional[Principle] = None,
    *,
    num_generations: Optional[int] = None,
    name: str = "dicast",
    **rewards: Any,
) -> Callable[..., Awaitable[List[Optional[float]]]]:
    """As :func:`reward_func`, for TRL to await beside other asynchronous reward functions."""
    made = Rewards(judge, **rewards)

    async def function(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> List[Optional[float]]:
        groups = _groups(prompts, completions, principle, num_generations, columns)
        return _finished(await made.aof(groups), name, columns)

    function.__name__ = name
    return function


def _groups(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    principle: Optional[Principle],
    num_generations: Optional[int],
    columns: Dict[str, Any],
) -> List[Group]:
    samples = []
    for place, (prompt, completion) in enumerate(zip(prompts, completions)):
        sample = {key: values[place] for key, values in columns.items() if _is_column(values, len(prompts))}
        sample.update(prompt=prompt, completion=completion)
        key = None if num_generations is None else place // num_generations
        samples.append((principle_of(principle, sample), text_of_prompt(prompt), text_of_completion(completion), key))
    return grouped(samples, consecutive=True)


def _is_column(values: Any, count: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == count


def _finished(judged: Sequence[Judged], name: str, columns: Dict[str, Any]) -> List[Optional[float]]:
    failures = [one.error for one in judged if one.error is not None]
    if failures:
        _LOGGER.warning("%s: %d of %d completions have no reward: %s", name, len(failures), len(judged), failures[0])
    log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
    if log_metric is not None and judged:
        log_metric(f"{name}/failed", len(failures) / len(judged))
    if log_extra is not None:
        log_extra(f"{name}/reasoning", [one.result.reasoning if one.result else str(one.error) for one in judged])
    return [one.reward for one in judged]


class RankJudge:
    """TRL's ``BaseRankJudge``: the completions of each prompt, judged together, from the best to the worst."""

    def __init__(self, judge: JudgeLike, principle: Principle, **rewards: Any) -> None:
        self._principle = principle
        self._rewards = Rewards(judge, reward="rank", **rewards)

    def judge(
        self, prompts: Sequence[Any], completions: Sequence[Sequence[Any]], shuffle_order: bool = True
    ) -> List[List[int]]:
        """For each prompt the indices of its completions, best first; all -1 where the judgment failed.

        With ``shuffle_order`` the judge sees the completions in an order shuffled as in the reference system, else in
        the order given.
        """
        order = self._rewards if shuffle_order else _in_order(self._rewards)
        return [_ranking(judged) for judged in _judged_lists(order, self._principle, prompts, completions)]


class PairwiseJudge:
    """TRL's ``BasePairwiseJudge``: which of two completions is the better one."""

    def __init__(self, judge: JudgeLike, principle: Principle, **rewards: Any) -> None:
        self._ranks = RankJudge(judge, principle, **rewards)
        self._scores = Rewards(judge, **{"normalize": True, **rewards})
        self._principle = principle

    def judge(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Sequence[Any]],
        shuffle_order: bool = True,
        return_scores: bool = False,
    ) -> List[Any]:
        """For each prompt the index of the better completion, or -1 where the judgment failed.

        With ``return_scores`` the probability that the first is the better one, of the difference of their scores on a
        scale of 0 to 1; NaN where the judgment failed.
        """
        if not return_scores:
            return [ranking[0] for ranking in self._ranks.judge(prompts, completions, shuffle_order)]
        order = self._scores if shuffle_order else _in_order(self._scores)
        return [_preference(judged) for judged in _judged_lists(order, self._principle, prompts, completions)]


def _in_order(rewards: Rewards) -> Rewards:
    return Rewards(
        rewards.judge,
        reward=rewards.reward,
        normalize=rewards.normalize,
        attempts=rewards.attempts,
        max_group=rewards.max_group,
        options={**rewards.options, "mask": "given"},
    )


def _judged_lists(
    rewards: Rewards, principle: Principle, prompts: Sequence[Any], completions: Sequence[Sequence[Any]]
) -> List[List[Judged]]:
    groups: List[Group] = []
    place = 0
    for prompt, texts in zip(prompts, completions):
        group = Group(principle_of(principle, {"prompt": prompt}), text_of_prompt(prompt))
        for text in texts:
            group.add(text_of_completion(text), place)
            place += 1
        groups.append(group)
    judged = rewards.of(groups)
    return [[judged[place] for place in group.places] for group in groups]


def _ranking(judged: Sequence[Judged]) -> List[int]:
    if any(one.reward is None for one in judged):
        return [-1] * len(judged)
    return sorted(range(len(judged)), key=lambda index: -(judged[index].reward or 0.0))


def _preference(judged: Sequence[Judged]) -> float:
    first, second = (one.reward for one in judged)
    if first is None or second is None:
        return float("nan")
    return 0.5 + (first - second) / 2
