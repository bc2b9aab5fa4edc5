"""Settings of the hooks that a trainer loads by their path, without arguments."""

from __future__ import annotations

import functools
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from ..client import Client
from ..errors import FileError, InvalidConfigError
from ._groups import Judged, JudgeLike, Principle, Rewards, Sample, raised
from ._lazy import PerProcess, named_judge
from ._route import Route

__all__ = ["Default", "Settings"]

_LOGGER = logging.getLogger("dicast")


@dataclass
class Settings:
    """How a hook judges.

    The hooks that trainers find by a path read them once from the environment: :meth:`from_env`. Settings can be
    pickled unless ``judge`` is an open judge.
    """

    #: What judges: a judge, a client, the path or name of a model, which is opened when it is first used, or the URL of
    #: a server.
    judge: Union[JudgeLike, str, "os.PathLike[str]"]
    #: The principle, or a function that makes one from a sample; a sample's own ``principle`` overrides it.
    principle: Optional[Principle] = None
    #: Number of samples of one prompt that a single-sample hook waits for. 1: each is judged alone.
    group_size: int = 1
    #: How long it waits for them after the first has come, in seconds, from 0 to 86400. It should be longer than the
    #: time between the first and the last sample of a prompt.
    window: float = 600.0
    #: The reward of a judgment that failed; None raises its error.
    on_error: Optional[float] = None
    #: Settings of :class:`dicast.trainers.Rewards`.
    rewards: Mapping[str, Any] = field(default_factory=dict)
    #: The path of a route of protocol ``slime`` with ``coalesce`` on a Dicast server. Single-sample hooks send each
    #: sample there, and the server forms the groups; its principle and reward apply. ``judge`` is a client.
    route: Optional[str] = None

    def __post_init__(self) -> None:
        if self.group_size < 1 or not 0 <= self.window <= 86400:
            raise InvalidConfigError("group_size must be 1 or more, window from 0 to 86400 seconds")
        self.made = Rewards(self.judge, **self.rewards)
        self.served: Optional[Route] = None
        if self.route is not None:
            if not isinstance(self.made.judge, Client):
                raise InvalidConfigError("route is set: judge must be a client of the server that has it")
            self.served = Route(self.made.judge, self.route, self.window)

    @property
    def asamples(self) -> Callable[[Sequence[Sample]], Any]:
        """Judges samples, those of one principle and prompt together."""
        return self.made.asamples

    def number(self, judged: Judged) -> float:
        """The reward of a sample for a trainer that accepts only numbers."""
        if judged.reward is not None:
            return judged.reward
        if self.on_error is None:
            assert judged.error is not None
            raise raised(judged.error)
        return self.on_error

    def numbers(self, judged: Sequence[Judged]) -> List[float]:
        """The rewards of many samples."""
        return [self.number(one) for one in judged]

    def unit(self, judged: Judged) -> float:
        """The score of a sample from 0 to 1; if it has none, the number for failures, limited to that range."""
        if judged.reward is None or judged.result is None:
            return min(1.0, max(0.0, self.number(judged)))
        return self.made.unit(judged.result, judged.name)

    def alone(self) -> None:
        """Says, once in a process, that samples are judged alone."""
        if not _alone_said():
            _alone_said().append(True)
            _LOGGER.warning(
                "samples are judged one by one: a listwise judge gives single samples almost the same score. Set "
                "group_size (DICAST_GROUP_SIZE) to the number of samples that the trainer makes of a prompt"
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Reads the environment:

        ``DICAST_MODEL``
            a GGUF file, a name on the Hugging Face hub, or the URL of a server (with ``DICAST_API_KEY`` and
            ``DICAST_TIMEOUT``, seconds)
        ``DICAST_PRINCIPLE`` or ``DICAST_PRINCIPLE_FILE``
            the principle, for samples that do not have their own
        ``DICAST_CONFIG``
            JSON of further arguments of :func:`dicast.from_pretrained`, such as ``{"profile": "judge.profile.json"}``
        ``DICAST_REWARD``
            JSON of settings of :class:`dicast.trainers.Rewards`, such as ``{"reward": "rank"}``
        ``DICAST_GROUP_SIZE``, ``DICAST_GROUP_WINDOW``
            for hooks that get single samples: how many to wait for, and how many seconds (600)
        ``DICAST_ROUTE``
            also for these hooks: the path of a route of protocol ``slime`` on the server, which then forms the groups
        ``DICAST_ON_ERROR``
            a number to use instead of rewards that failed; without it, their errors are raised
        """
        model = env.get("DICAST_MODEL")
        if not model:
            raise InvalidConfigError("DICAST_MODEL is not set: it names a model file, or the URL of a server")
        timeout = _number(env, "DICAST_TIMEOUT", 600.0)
        judge = named_judge(model, _json(env, "DICAST_CONFIG"), api_key=env.get("DICAST_API_KEY"), timeout=timeout)
        on_error = env.get("DICAST_ON_ERROR")
        size = _number(env, "DICAST_GROUP_SIZE", 1)
        if size != int(size):
            raise InvalidConfigError(f"DICAST_GROUP_SIZE is {size}: it must be a whole number")
        return cls(
            judge=judge,
            principle=_principle(env),
            group_size=int(size),
            window=_number(env, "DICAST_GROUP_WINDOW", 600.0),
            on_error=None if on_error is None else _number(env, "DICAST_ON_ERROR", 0.0),
            rewards=_json(env, "DICAST_REWARD"),
            route=env.get("DICAST_ROUTE") or None,
        )


#: Warnings that this process has already given.
_alone_said: "PerProcess[List[bool]]" = PerProcess(list)


def _principle(env: Mapping[str, str]) -> Optional[str]:
    path = env.get("DICAST_PRINCIPLE_FILE")
    if not path:
        return env.get("DICAST_PRINCIPLE")
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FileError(f"DICAST_PRINCIPLE_FILE: {error}") from error


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(env.get(name) or default)
    except ValueError:
        raise InvalidConfigError(f"{name} is {env[name]!r}: it must be a number") from None


def _json(env: Mapping[str, str], name: str) -> Dict[str, Any]:
    try:
        value = json.loads(env.get(name) or "{}")
    except ValueError as error:
        raise InvalidConfigError(f"{name} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidConfigError(f"{name} must be a JSON object")
    return value


class Default(PerProcess[Any]):
    """The hook made from the environment when it is first called in a process."""

    def __init__(self, make: Callable[[Settings], Any]) -> None:
        super().__init__(functools.partial(_made, make))


def _made(make: Callable[[Settings], Any]) -> Any:
    return make(Settings.from_env())
