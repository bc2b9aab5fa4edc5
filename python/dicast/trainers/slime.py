"""slime: ``--custom-rm-path``.

    --custom-rm-path dicast.trainers.slime.group_rewards --group-rm
    --custom-rm-path dicast.trainers.slime.reward

These take their settings from the environment (:class:`dicast.trainers.Settings`); a module of your own makes them of
settings with :func:`make_group_rewards` and :func:`make_reward`. With ``--group-rm``, the natural form for a listwise
judge, the samples of one prompt are judged together. Without it slime asks for one sample at a time: it waits for the
others of its group (``group_size`` of the settings, or if that is 1 ``args.n_samples_per_prompt``), ``window`` at most.
The principle is that of the sample's ``metadata``, where there is one, before that of the settings.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, Hashable, List, Sequence, Tuple

from ._coalesce import LoopCoalescer
from ._groups import grouped, principle_of, text_of_prompt
from ._settings import Default, Settings

__all__ = ["group_rewards", "make_group_rewards", "make_reward", "reward"]


def make_group_rewards(settings: Settings) -> Callable[..., Awaitable[List[float]]]:
    """The function for ``--group-rm``: samples in, rewards out, in their order."""

    async def group_rewards(args: Any, samples: Sequence[Any], **_: Any) -> List[float]:
        described = [_described(settings, sample) for sample in samples]
        return settings.numbers(await settings.made.aof(grouped(described, consecutive=False)))

    return group_rewards


def make_reward(settings: Settings) -> Callable[..., Awaitable[float]]:
    """The function for single samples, which are judged with those of their group that come within the window."""
    coalescer = LoopCoalescer(settings)

    async def reward(args: Any, sample: Any, **_: Any) -> float:
        principle, prompt, text, key = _described(settings, sample)
        # A sample of no group, as in an evaluation, has nobody to wait for.
        size = 1 if key is None else settings.group_size
        if key is not None and size == 1:
            size = int(getattr(args, "n_samples_per_prompt", None) or 1)
        return settings.number(await coalescer.reward(principle, prompt, text, key, size))

    return reward


def _described(settings: Settings, sample: Any) -> Tuple[str, str, str, Hashable]:
    metadata = getattr(sample, "metadata", None)
    fields: Dict[str, Any] = dict(metadata) if isinstance(metadata, dict) else {}
    fields.update(prompt=sample.prompt, label=getattr(sample, "label", None))
    key: Hashable = getattr(sample, "group_index", None)
    return principle_of(settings.principle, fields), text_of_prompt(sample.prompt), sample.response, key


_group = Default(make_group_rewards)
_single = Default(make_reward)


async def group_rewards(args: Any, samples: Sequence[Any], **kwargs: Any) -> List[float]:
    """:func:`make_group_rewards`, with settings from the environment."""
    result: List[float] = await _group()(args, samples, **kwargs)
    return result


async def reward(args: Any, sample: Any, **kwargs: Any) -> float:
    """:func:`make_reward`, with settings from the environment."""
    result: float = await _single()(args, sample, **kwargs)
    return result
