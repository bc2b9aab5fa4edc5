"""TRL: reward functions of GRPOTrainer and its like, and the judges of TRL up to 1.0.

::

    from dicast.trainers.trl import reward_func

    trainer = GRPOTrainer(reward_funcs=reward_func("judge.gguf", "Prefer short answers that are right."), …)

If a hook gets the path or the name of a model instead of an open judge, it can be pickled and opens the judge when it
is first used. AsyncGRPOTrainer needs this, because it calls the hook in another process.

Conversations are judged by what the user and the assistant say in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from ..errors import DicastError, InvalidRequestError
from ._groups import Group, Judged, JudgeLike, Principle, Rewards, Sample, grouped, principle_of, raised
from ._hook import AsyncHook, Hook
from ._ranks import Ranks, count_of_ranks
from ._texts import text_of_completion, text_of_prompt, without_roles

__all__ = ["PairwiseJudge", "RankJudge", "async_reward_func", "reward_func"]

_LOGGER = logging.getLogger("dicast")

#: A judge, or the path or the name of a model.
AnyJudge = Union[JudgeLike, str, "os.PathLike[str]"]


def reward_func(
    judge: AnyJudge,
    principle: Optional[Principle] = None,
    *,
    num_generations: Optional[int] = None,
    name: str = "dicast",
    on_error: str = "auto",
    gather: Optional[bool] = None,
    **rewards: Any,
) -> Callable[..., List[Optional[float]]]:
    """A reward function for ``reward_funcs``.

    The completions of one prompt, which follow each other, are judged together. If the same prompt may come twice in a
    row in a batch, ``num_generations`` separates its groups. A batch that holds its prompts twice, like that of
    OnlineDPOTrainer, is grouped by prompt over the whole batch. A column ``principle`` of the data set overrides
    ``principle``, which may be a function of the columns of a sample. ``rewards`` are the settings of
    :class:`dicast.trainers.Rewards`. TRL shows the function in its logs as ``name``.

    ``on_error``: what to return for a group that cannot be judged. ``none`` returns None, which GRPOTrainer,
    RLOOTrainer and AsyncGRPOTrainer leave out; the metric ``<name>/failed`` gives their share. ``raise`` raises the
    error. ``auto`` is ``raise`` for a trainer that would learn from None: OnlineDPOTrainer takes it for 0. An error
    that would come again whatever the samples are is raised in any case.

    ``gather``: if the training runs in several processes, put groups together that are spread over several of them. All
    processes must then call the function at the same point. By default this is done for trainers that do so:
    GRPOTrainer and RLOOTrainer. With False, there is a warning if a group looks incomplete.
    """
    return _RewardFunc(_How(judge, principle, num_generations, name, on_error, gather, rewards))


def async_reward_func(
    judge: AnyJudge,
    principle: Optional[Principle] = None,
    *,
    num_generations: Optional[int] = None,
    name: str = "dicast",
    on_error: str = "auto",
    gather: Optional[bool] = None,
    **rewards: Any,
) -> Callable[..., Any]:
    """As :func:`reward_func`, for TRL to await together with other asynchronous reward functions."""
    return _AsyncRewardFunc(_How(judge, principle, num_generations, name, on_error, gather, rewards))


class _How:
    """The common part of both kinds of functions."""

    def __init__(
        self,
        judge: AnyJudge,
        principle: Optional[Principle],
        num_generations: Optional[int],
        name: str,
        on_error: str,
        gather: Optional[bool],
        rewards: Dict[str, Any],
    ) -> None:
        if on_error not in ("auto", "none", "raise"):
            raise InvalidRequestError(f"on_error is {on_error!r}: it must be auto, none or raise")
        if num_generations is not None and num_generations < 1:
            raise InvalidRequestError("num_generations must be 1 or more")
        self.made = Rewards(judge, **rewards)
        self.name = name
        self.ranks = Ranks()
        self._principle = principle
        self._size = num_generations
        self._on_error = on_error
        self._gather = gather
        self._warned = False

    def together(self, columns: Dict[str, Any]) -> bool:
        """Whether the processes of a training put their samples together."""
        # These trainers gather rewards right after the call, so all processes are there.
        lockstep = "log_metric" in columns
        return count_of_ranks() > 1 and (lockstep if self._gather is None else self._gather)

    def mine(
        self, prompts: Sequence[Any], completions: Sequence[Any], columns: Dict[str, Any]
    ) -> Tuple[List[Sample], Optional[DicastError]]:
        """The samples of this process, or why there are none."""
        try:
            return self._samples(prompts, completions, columns), None
        except DicastError as error:
            return [], error

    def _samples(self, prompts: Sequence[Any], completions: Sequence[Any], columns: Dict[str, Any]) -> List[Sample]:
        if len(prompts) != len(completions):
            raise InvalidRequestError(f"{len(prompts)} prompts, but {len(completions)} completions")
        samples = []
        for place, (prompt, completion) in enumerate(zip(prompts, completions)):
            fields = {key: values[place] for key, values in columns.items() if _is_column(values, len(prompts))}
            fields.update(prompt=prompt, completion=completion)
            principle = principle_of(self._principle, fields)
            samples.append(Sample(principle, text_of_prompt(prompt), text_of_completion(completion)))
        return samples

    def groups(self, prompts: Sequence[Any], completions: Sequence[Any], columns: Dict[str, Any]) -> List[Group]:
        """The groups of a process that judges only its own samples."""
        samples = self._samples(prompts, completions, columns)
        size = self._size
        if size is None and _is_twice([sample[:2] for sample in samples]):
            return grouped([(*sample, None) for sample in samples], consecutive=False)
        keyed = [(*sample, None if size is None else place // size) for place, sample in enumerate(samples)]
        groups = grouped(keyed, consecutive=True)
        self._warn_of_cuts(groups, columns)
        return groups

    def _warn_of_cuts(self, groups: Sequence[Group], columns: Dict[str, Any]) -> None:
        """Warns once that groups at the edges of this process's part of the batch are smaller than others."""
        if self._warned or count_of_ranks() == 1 or "log_metric" not in columns or not groups:
            return
        size = self._size or max(len(group.texts) for group in groups)
        if any(len(group.texts) < size for group in (groups[0], groups[-1])):
            self._warned = True
            _LOGGER.warning(
                "%s: the samples of a prompt are in several processes and are judged in parts. Leave gather on, or "
                "make the samples of a process (per_device_train_batch_size) a multiple of num_generations",
                self.name,
            )

    def size(self) -> Optional[int]:
        """Number of samples in a group, if that was given."""
        return self._size

    def finished(self, judged: Sequence[Judged], columns: Dict[str, Any]) -> List[Optional[float]]:
        """The rewards; failures are logged and, for some trainers, raised."""
        failures = [one.error for one in judged if one.error is not None]
        if failures:
            many = f"{len(failures)} of {len(judged)} completions have no reward"
            if self._raises(columns):
                _LOGGER.error("%s: %s: %s", self.name, many, failures[0])
                raise raised(failures[0])
            _LOGGER.warning("%s: %s: %s", self.name, many, failures[0])
        log_metric, log_extra = columns.get("log_metric"), columns.get("log_extra")
        if log_metric is not None and judged:
            log_metric(f"{self.name}/failed", len(failures) / len(judged))
        if log_extra is not None:
            reasonings = [one.result.reasoning if one.result else str(one.error) for one in judged]
            log_extra(f"{self.name}/reasoning", reasonings)
        return [one.reward for one in judged]

    def _raises(self, columns: Dict[str, Any]) -> bool:
        if self._on_error != "auto":
            return self._on_error == "raise"
        # Trainers that leave None out have a place for metrics, or give no state, like AsyncGRPOTrainer's worker.
        return "trainer_state" in columns and "log_metric" not in columns


class _RewardFunc(Hook):
    def __init__(self, how: _How) -> None:
        super().__init__(how.name)
        self._how = how

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> List[Optional[float]]:
        how = self._how
        if not how.together(columns):
            return how.finished(how.made.of(how.groups(prompts, completions, columns)), columns)
        groups, places, span = how.ranks.shared(how.mine(prompts, completions, columns), how.size())
        return how.finished(how.ranks.exchanged(lambda: how.made.of(groups), places, span), columns)


class _AsyncRewardFunc(AsyncHook):
    def __init__(self, how: _How) -> None:
        super().__init__(how.name)
        self._how = how

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> List[Optional[float]]:
        how = self._how
        if not how.together(columns):
            return how.finished(await how.made.aof(how.groups(prompts, completions, columns)), columns)
        # Before anything is awaited, so that all hooks of this kind meet the other processes in the same order.
        how.ranks.join()
        mine = how.mine(prompts, completions, columns)
        groups, places, span = await asyncio.to_thread(how.ranks.shared, mine, how.size())
        outcome: Callable[[], Sequence[Judged]]
        try:
            judged = await how.made.aof(groups)
            outcome = _giving(judged)
        except DicastError as error:
            outcome = _raising(error)
        return how.finished(await asyncio.to_thread(how.ranks.exchanged, outcome, places, span), columns)

    __code__ = __call__.__code__


def _giving(judged: Sequence[Judged]) -> Callable[[], Sequence[Judged]]:
    return lambda: judged


def _raising(error: DicastError) -> Callable[[], Sequence[Judged]]:
    def outcome() -> Sequence[Judged]:
        raise raised(error)

    return outcome


def _is_column(values: Any, count: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == count


def _is_twice(prompts: Sequence[Any]) -> bool:
    """Whether a batch holds the same prompts twice in sequence: a completion of each, then another one of each."""
    half = len(prompts) // 2
    return len(prompts) % 2 == 0 and prompts[:half] == prompts[half:] and len(set(prompts[:half])) > 1


class RankJudge:
    """TRL's ``BaseRankJudge``: the completions of each prompt, judged together, from the best to the worst.

    ``on_error``: ``raise`` raises the error of a judgment that failed; ``minus_one`` gives -1 for each completion,
    which TRL's trainers read as an order.
    """

    def __init__(self, judge: AnyJudge, principle: Principle, *, on_error: str = "raise", **rewards: Any) -> None:
        self._principle = principle
        self._on_error = _known(on_error)
        self._rewards = Rewards(judge, reward="rank", **rewards)

    def judge(
        self, prompts: Sequence[Any], completions: Sequence[Sequence[Any]], shuffle_order: bool = True
    ) -> List[List[int]]:
        """For each prompt the indices of its completions, best first.

        With ``shuffle_order`` the judge sees the completions in an order shuffled as in the reference system, else in
        the order given. If prompts and completions are conversations, or texts that TRL has made from conversations
        (``User: …``, ``Assistant: …``), their content is judged.
        """
        order = self._rewards if shuffle_order else self._rewards.in_order()
        lists = _judged_lists(order, self._principle, prompts, completions)
        return [_ranking(judged, self._on_error) for judged in lists]


class PairwiseJudge:
    """TRL's ``BasePairwiseJudge``: which of two completions is the better one.

    ``on_error``: ``raise`` raises the error of a judgment that failed. ``minus_one`` gives -1, or NaN as a probability:
    XPO and OnlineDPO read -1 as "the second is better", and NashMD fails at NaN.
    """

    def __init__(self, judge: AnyJudge, principle: Principle, *, on_error: str = "raise", **rewards: Any) -> None:
        self._on_error = _known(on_error)
        self._ranks = RankJudge(judge, principle, on_error=on_error, **rewards)
        self._scores = Rewards(judge, **{"normalize": True, **rewards})
        self._principle = principle

    def judge(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Sequence[Any]],
        shuffle_order: bool = True,
        return_scores: bool = False,
    ) -> List[Any]:
        """For each prompt the index of the better completion.

        With ``return_scores`` the probability that the first is the better one, computed from the difference of their
        scores on a scale of 0 to 1.
        """
        if not return_scores:
            return [ranking[0] for ranking in self._ranks.judge(prompts, completions, shuffle_order)]
        order = self._scores if shuffle_order else self._scores.in_order()
        lists = _judged_lists(order, self._principle, prompts, completions)
        return [_preference(judged, self._on_error) for judged in lists]


def _known(on_error: str) -> str:
    if on_error not in ("raise", "minus_one"):
        raise InvalidRequestError(f"on_error is {on_error!r}: it must be raise or minus_one")
    return on_error


def _judged_lists(
    rewards: Rewards, principle: Principle, prompts: Sequence[Any], completions: Sequence[Sequence[Any]]
) -> List[List[Judged]]:
    if len(prompts) != len(completions):
        raise InvalidRequestError(f"{len(prompts)} prompts, but {len(completions)} lists of completions")
    groups: List[Group] = []
    place = 0
    for prompt, texts in zip(prompts, completions):
        group = Group(principle_of(principle, {"prompt": prompt}), without_roles(text_of_prompt(prompt)))
        for text in texts:
            group.add(without_roles(text_of_completion(text)), place)
            place += 1
        groups.append(group)
    judged = rewards.of(groups)
    return [[judged[place] for place in group.places] for group in groups]


def _failed(judged: Sequence[Judged], on_error: str) -> bool:
    """Whether a judgment failed; raises its error if that is wanted."""
    error = next((one.error for one in judged if one.error is not None), None)
    if error is not None and on_error == "raise":
        raise raised(error)
    return error is not None


def _ranking(judged: Sequence[Judged], on_error: str) -> List[int]:
    if _failed(judged, on_error):
        return [-1] * len(judged)
    return sorted(range(len(judged)), key=lambda index: -(judged[index].reward or 0.0))


def _preference(judged: Sequence[Judged], on_error: str) -> float:
    if _failed(judged, on_error):
        return float("nan")
    first, second = (one.reward or 0.0 for one in judged)
    return 0.5 + (first - second) / 2
