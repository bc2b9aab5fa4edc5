"""ms-swift 4: a reward function for GRPO, in the registry ``orms``.

    swift rlhf --rlhf_type grpo --reward_funcs dicast \\
        --external_plugins $(python -c "import dicast.trainers.swift as m; print(m.__file__)")

The function takes its settings from the environment (:class:`dicast.trainers.Settings`). A plugin of your own can
register one with settings: ``orms["dicast"] = reward_class(Settings(…))``. The samples of one prompt in one call are
judged together: with several devices, set ``per_device_train_batch_size`` to a multiple of ``num_generations``. A
sample that cannot be judged gives None, which swift leaves out. A column ``principle`` of the data set overrides that
of the settings.
"""

from __future__ import annotations

import logging
from typing import Any, List, Optional, Sequence

# swift loads this file by its path: it has no package around it then.
from dicast.errors import InvalidRequestError
from dicast.trainers._conversations import prompt_and_last
from dicast.trainers._groups import Judged, grouped, principle_of
from dicast.trainers._settings import Default, Settings

__all__ = ["DicastReward", "reward_class"]

_LOGGER = logging.getLogger("dicast")


class DicastReward:
    """The reward function of ``--reward_funcs dicast``, which swift creates with its own arguments."""

    def __init__(self, args: Any = None, **_: Any) -> None:
        self.args = args

    @property
    def settings(self) -> Settings:
        """The settings: those of the environment."""
        settings: Settings = _settings()
        return settings

    async def __call__(self, completions: Sequence[Any], **columns: Any) -> List[Optional[float]]:
        """The rewards of completions, in their order. swift awaits it together with other asynchronous rewards."""
        settings = self.settings
        conversations = columns.get("messages")
        if conversations is None or len(conversations) != len(completions):
            raise InvalidRequestError("swift gave no messages, or not as many as completions: is this version 4?")
        keys = columns.get("prompt_id") or [None] * len(completions)
        samples = []
        for place, messages in enumerate(conversations):
            fields = {name: values[place] for name, values in columns.items() if _is_column(values, len(completions))}
            prompt, text = prompt_and_last(messages)
            samples.append((principle_of(settings.principle, fields), prompt, text, keys[place] or None))
        judged = await settings.made.aof(grouped(samples, consecutive=False))
        return [_reward(settings, one) for one in _logged(judged)]


def reward_class(settings: Settings) -> Any:
    """A class for the registry ``orms`` with settings of your own."""

    class Reward(DicastReward):
        __doc__ = DicastReward.__doc__

        @property
        def settings(self) -> Settings:
            return settings

    Reward.__name__ = Reward.__qualname__ = "DicastReward"
    return Reward


def _is_column(values: Any, count: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == count


def _logged(judged: Sequence[Judged]) -> Sequence[Judged]:
    failures = [one.error for one in judged if one.error is not None]
    if failures:
        _LOGGER.warning("%d of %d completions have no reward: %s", len(failures), len(judged), failures[0])
    return judged


def _reward(settings: Settings, judged: Judged) -> Optional[float]:
    return settings.on_error if judged.reward is None else judged.reward


_settings = Default(lambda settings: settings)


def _register() -> None:
    """Registers the function in swift's registry, if swift imports this file."""
    import sys

    if "swift" in sys.modules:
        from swift.rewards import orms

        orms["dicast"] = DicastReward


_register()
