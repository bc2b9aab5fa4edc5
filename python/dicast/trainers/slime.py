"""slime, and miles, which calls the same: ``--custom-rm-path``.

    --custom-rm-path dicast.trainers.slime.group_rewards --group-rm
    --custom-rm-path dicast.trainers.slime.reward

These take their settings from the environment (:class:`dicast.trainers.Settings`). In a module of your own, create them
with settings, by :func:`make_group_rewards` and :func:`make_reward`.

With ``--group-rm``, the natural form for a listwise judge, the samples of one prompt are judged together. Without it
slime asks for one sample at a time. The sample waits for the others of its group (``group_size`` of the settings, or if
that is 1, ``args.n_samples_per_prompt``), at most ``window`` seconds, and not after slime has stopped generating. If a
generate function makes several samples from one, it hands them over as a list: they are one member of their group, and
each gets a reward. (With ``--group-rm`` slime cannot give rewards to such lists: the hook refuses them.)

With ``--partial-rollout``, samples that slime cut off continue in the next roll-out. With ``--group-rm`` their whole
group is judged then. Without it, the samples that were complete keep their rewards, and the others are judged beside
them.

If ``--reward-key`` (in evaluations ``--eval-reward-key``) is set, rewards are objects with that key.

A principle in the sample's ``metadata`` overrides that of the settings. The markup of a chat template in prompts, and
the tokens that end a response, are not shown to the judge.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from typing import Any, Callable, Dict, Hashable, List, Sequence, Tuple

from ..errors import InvalidRequestError
from ._coalesce import LoopCoalescer
from ._groups import Judged, Sample, grouped, principle_of
from ._hook import AsyncHook
from ._lazy import PerProcess
from ._settings import Default, Settings
from ._texts import clean_response, said_in, text_of_prompt

__all__ = ["group_rewards", "make_group_rewards", "make_reward", "reward"]


def make_group_rewards(settings: Settings) -> Callable[..., Any]:
    """The function for ``--group-rm``: samples in, rewards out, in their order."""
    return _GroupRewards(settings)


def make_reward(settings: Settings) -> Callable[..., Any]:
    """The function for single samples, or lists of them; they are judged with those of their group that arrive in
    the window."""
    return _Reward(settings)


class _GroupRewards(AsyncHook):
    def __init__(self, settings: Settings) -> None:
        super().__init__("group_rewards")
        self._settings = settings

    async def __call__(self, args: Any, samples: Sequence[Any], **_: Any) -> List[Any]:
        if any(isinstance(sample, (list, tuple)) for sample in samples):
            raise InvalidRequestError(
                "the generate function makes several samples from one, to which slime cannot give rewards with "
                "--group-rm: leave that out, and use dicast.trainers.slime.reward"
            )
        described = [_described(self._settings, sample) for sample in samples]
        groups = grouped([(*sample, key) for sample, key in described], consecutive=False)
        return _answers(args, samples, self._settings.numbers(await self._settings.made.aof(groups)))


class _Reward(AsyncHook):
    def __init__(self, settings: Settings) -> None:
        super().__init__("reward")
        self._settings = settings
        make = functools.partial(LoopCoalescer, settings.asamples, settings.window, _has_stopped)
        self.coalescer: "PerProcess[LoopCoalescer]" = PerProcess(make)

    async def __call__(self, args: Any, sample: Any, **_: Any) -> Any:
        several = isinstance(sample, (list, tuple))
        samples = list(sample) if several else [sample]
        if not samples:
            return []
        rewards = _answers(args, samples, self._settings.numbers(await self._judged(args, samples)))
        return rewards if several else rewards[0]

    async def _judged(self, args: Any, samples: Sequence[Any]) -> List[Judged]:
        settings = self._settings
        if settings.served is not None:
            asked = [
                settings.served.areward(
                    said_in(text_of_prompt(sample.prompt)), clean_response(sample.response), sample.label
                )
                for sample in samples
            ]
            return list(await asyncio.gather(*asked))
        described = [_described(settings, sample) for sample in samples]
        key = described[0][1]
        # A sample without a group, as in an evaluation, does not wait.
        size = 1 if key is None else settings.group_size
        if key is not None and size == 1:
            size = int(getattr(args, "n_samples_per_prompt", None) or 1)
            if size == 1:
                settings.alone()
        # Members of one group may have different prompts if a conversation was cut into samples.
        where = (key, None) if key is not None else (None, described[0][0])
        return await self.coalescer().rewards(where, [one for one, _ in described], size)


def _answers(args: Any, samples: Sequence[Any], rewards: Sequence[float]) -> List[Any]:
    """Rewards in the form that slime reads: numbers, or objects if a key is set."""
    key = getattr(args, "reward_key", None)
    evaluated = getattr(args, "eval_reward_key", None) or key
    keys = [evaluated if getattr(sample, "group_index", None) is None else key for sample in samples]
    return [reward if key is None else {key: reward} for key, reward in zip(keys, rewards)]


def _has_stopped() -> bool:
    """Whether slime has stopped generating: samples that it cut off ask for no reward, so their groups would wait for
    them in vain."""
    rollout = sys.modules.get("slime.rollout.sglang_rollout")
    state = getattr(rollout, "GenerateState", None)
    made = getattr(state, "_instances", {}).get(state)
    return bool(getattr(made, "aborted", False))


def _described(settings: Settings, sample: Any) -> Tuple[Sample, Hashable]:
    metadata = getattr(sample, "metadata", None)
    fields: Dict[str, Any] = dict(metadata) if isinstance(metadata, dict) else {}
    fields.update(prompt=sample.prompt, label=getattr(sample, "label", None))
    prompt = sample.prompt if isinstance(sample.prompt, str) else text_of_prompt(sample.prompt)
    principle = principle_of(settings.principle, fields)
    return Sample(principle, said_in(prompt), clean_response(sample.response)), getattr(sample, "group_index", None)


_group = Default(make_group_rewards)
_single = Default(make_reward)


async def group_rewards(args: Any, samples: Sequence[Any], **kwargs: Any) -> List[Any]:
    """:func:`make_group_rewards`, with settings from the environment."""
    result: List[Any] = await _group()(args, samples, **kwargs)
    return result


async def reward(args: Any, sample: Any, **kwargs: Any) -> Any:
    """:func:`make_reward`, with settings from the environment."""
    return await _single()(args, sample, **kwargs)
