"""SkyRL: an environment whose reward comes from the judge.

    import skyrl_gym
    skyrl_gym.register(id="dicast", entry_point="dicast.trainers.skyrl:DicastEnv")

and ``env_class: dicast`` in the data set or in ``environment``. The settings come from the environment's variables
(:class:`dicast.trainers.Settings`); ``settings=`` of :class:`DicastEnv` overrides them. SkyRL steps each sample's
environment in its own thread, ``max_env_workers`` at once. A sample waits there for the others of its prompt,
``DICAST_GROUP_SIZE`` in all, and at most ``DICAST_GROUP_WINDOW`` seconds. ``max_env_workers`` must be at least the
number of samples of a step, otherwise groups starve. A principle in the sample's ``extras`` overrides that of the
settings. A judgment that failed raises.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ._coalesce import ThreadCoalescer
from ._conversations import needs
from ._groups import Judged, Sample, principle_of
from ._lazy import PerProcess
from ._settings import Default, Settings
from ._texts import clean_response, text_of_prompt

if TYPE_CHECKING:
    from skyrl_gym.envs.base_text_env import BaseTextEnv
else:
    BaseTextEnv = needs("skyrl_gym.envs.base_text_env", "skyrl-gym", "dicast.trainers.skyrl").BaseTextEnv

__all__ = ["DicastEnv"]


class _Shared:
    """What the environments of a process share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.coalescer = ThreadCoalescer(settings.asamples, settings.window)


_shared = Default(_Shared)


class DicastEnv(BaseTextEnv):  # type: ignore[misc]
    """A single turn, rewarded by the judge. A subclass for several turns calls :meth:`reward` at its last."""

    def __init__(self, env_config: Any = None, extras: Optional[Dict[str, Any]] = None, **kwargs: Any) -> None:
        super().__init__()
        self.extras = dict(extras or {})
        self._prompt = ""
        shared = kwargs.get("shared")
        self._shared: Any = shared if shared is not None else _shared

    @classmethod
    def made_of(cls, settings: Settings) -> Any:
        """An entry point with settings of your own, for ``skyrl_gym.register``."""
        return functools.partial(cls, shared=PerProcess(functools.partial(_Shared, settings)))

    def init(self, prompt: Any) -> Tuple[Any, Dict[str, Any]]:
        """Keeps the prompt."""
        self._prompt = text_of_prompt(prompt)
        return prompt, {}

    def step(self, action: str) -> Any:
        """Judges what the model said, and ends the episode."""
        self.turns += 1
        judged = self.reward(action)
        metadata = {} if judged.result is None else {"reasoning": judged.result.reasoning, "flags": judged.result.flags}
        reward = self._shared().settings.number(judged)
        return {"observations": [], "reward": reward, "done": True, "metadata": metadata}

    def reward(self, text: str) -> Judged:
        """Judges a response to the prompt, together with those of its prompt that come within the window."""
        shared: _Shared = self._shared()
        settings = shared.settings
        principle = principle_of(settings.principle, {**self.extras, "prompt": self._prompt})
        sample = Sample(principle, self._prompt, clean_response(text))
        if settings.served is not None:
            return settings.served.reward(sample.prompt, sample.text)
        if settings.group_size == 1:
            settings.alone()
        return shared.coalescer.rewards((principle, self._prompt), [sample], settings.group_size)[0]
