"""AReaL: rewards of ``RLVRWorkflow`` and its like.

AReaL calls a reward function for each sample, in a pool of processes and with a limit of 15 seconds, so no process sees
a whole group. :func:`judged` gives a workflow a reward that it awaits in its own event loop instead, where the samples
of a prompt wait for each other and are judged together::

    workflow = RLVRWorkflow(reward_fn="dicast.trainers.areal.reward_fn", …)
    workflow = judged(workflow, Settings("judge.gguf", "Prefer short answers that are right.", group_size=8))

``reward_fn`` alone judges each sample by itself. It takes its settings from the environment
(:class:`dicast.trainers.Settings`); with ``DICAST_ROUTE`` a Dicast server forms the groups. AReaL turns an error of
that function into the reward 0, and the policy learns from it. Use :func:`judged`, whose errors end the episode.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Optional

from ._coalesce import LoopCoalescer
from ._groups import Judged, Sample, grouped, principle_of
from ._hook import AsyncHook
from ._lazy import PerProcess
from ._settings import Default, Settings
from ._texts import clean_response, said_in, text_of_prompt

__all__ = ["judged", "make_reward", "reward_fn"]

_LOGGER = logging.getLogger("dicast")


def _sample(settings: Settings, prompt: Any, completion: str, data: Any) -> Sample:
    messages = data.get("messages")
    shown = text_of_prompt(messages) if messages else said_in(str(prompt))
    principle = principle_of(settings.principle, {**data, "prompt": shown})
    return Sample(principle, shown, clean_response(str(completion)))


class _Reward(AsyncHook):
    def __init__(self, settings: Settings) -> None:
        super().__init__("reward")
        self._settings = settings
        self._coalescer: "PerProcess[LoopCoalescer]" = PerProcess(
            functools.partial(LoopCoalescer, settings.asamples, settings.window)
        )

    async def __call__(
        self, prompt: Any, completions: str, prompt_ids: Any = None, completion_ids: Any = None, **data: Any
    ) -> float:
        settings = self._settings
        sample = _sample(settings, prompt, completions, data)
        if settings.served is not None:
            return settings.number(await settings.served.areward(sample.prompt, sample.text))
        if settings.group_size == 1:
            settings.alone()
        key = (sample.principle, sample.prompt, data.get("query_id"))
        return settings.number((await self._coalescer().rewards(key, [sample], settings.group_size))[0])


def make_reward(settings: Settings) -> Any:
    """A coroutine function with AReaL's arguments, for your own workflows to await."""
    return _Reward(settings)


def judged(workflow: Any, settings: Optional[Settings] = None) -> Any:
    """The same workflow, which awaits the judge; without ``settings``, they are read from the environment.

    A judgment that failed is an error of the episode, which AReaL leaves out of training.
    """
    if not hasattr(workflow, "reward_fn") and not hasattr(workflow, "async_reward_fn"):
        raise TypeError(f"{type(workflow).__name__} has no reward_fn: await make_reward(settings) in it instead")
    # A workflow with the path of a function would make another wrapper for it at its first episode.
    workflow.reward_fn = workflow.async_reward_fn = make_reward(
        settings if settings is not None else Settings.from_env()
    )
    return workflow


def reward_fn(prompt: Any, completions: str, prompt_ids: Any = None, completion_ids: Any = None, **data: Any) -> float:
    """A sample by itself, with settings from the environment."""
    settings: Settings = _settings()
    sample = _sample(settings, prompt, completions, data)
    if settings.served is not None:
        judged: Judged = settings.served.reward(sample.prompt, sample.text)
    else:
        settings.alone()
        judged = settings.made.of(grouped([(*sample, None)], consecutive=False))[0]
    if judged.error is not None and settings.on_error is None:
        # AReaL uses 0 instead, and logs its own warning about it.
        _LOGGER.error("a sample has no reward: %s", judged.error)
    return settings.number(judged)


_settings = Default(lambda settings: settings)
