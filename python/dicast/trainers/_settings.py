"""Settings of the hooks that a trainer loads by their path, without arguments."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

from ..client import Client
from ..errors import FileError, InvalidConfigError
from ..local import Judge, from_pretrained
from ._groups import Judged, JudgeLike, Principle, Rewards

__all__ = ["Settings"]


@dataclass
class Settings:
    """How a hook judges.

    The hooks that trainers find by a path read them from the environment, once: :meth:`from_env`.
    """

    #: What judges.
    judge: JudgeLike
    #: The principle, or what makes one of a sample; a sample's own ``principle`` goes before it.
    principle: Optional[Principle] = None
    #: Number of samples of one prompt that a single-sample hook waits for. 1: each is judged alone.
    group_size: int = 1
    #: How long it waits for them, in seconds.
    window: float = 1.0
    #: The reward of a judgment that failed; None raises its error.
    on_error: Optional[float] = None
    #: Settings of :class:`dicast.trainers.Rewards`.
    rewards: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.group_size < 1 or not 0 <= self.window <= 3600:
            raise InvalidConfigError("group_size must be 1 or more, window from 0 to 3600 seconds")
        self.made = Rewards(self.judge, **self.rewards)

    def number(self, judged: Judged) -> float:
        """The reward of a sample for a trainer that takes nothing but numbers."""
        if judged.reward is not None:
            return judged.reward
        if self.on_error is None:
            assert judged.error is not None
            raise judged.error
        return self.on_error

    def numbers(self, judged: Sequence[Judged]) -> list[float]:
        """The rewards of many samples."""
        return [self.number(one) for one in judged]

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Reads the environment:

        ``DICAST_MODEL``
            a GGUF file, a name on the Hugging Face hub, or the URL of a server (with ``DICAST_API_KEY`` and
            ``DICAST_TIMEOUT``, seconds)
        ``DICAST_PRINCIPLE`` or ``DICAST_PRINCIPLE_FILE``
            the principle, where samples do not bring their own
        ``DICAST_CONFIG``
            JSON of further arguments of :func:`dicast.from_pretrained`, such as ``{"profile": "judge.profile.json"}``
        ``DICAST_REWARD``
            JSON of settings of :class:`dicast.trainers.Rewards`, such as ``{"reward": "rank"}``
        ``DICAST_GROUP_SIZE``, ``DICAST_GROUP_WINDOW``
            of hooks that get single samples: how many to wait for, and how many seconds
        ``DICAST_ON_ERROR``
            a number that takes the place of rewards that failed; without it, their errors are raised
        """
        model = env.get("DICAST_MODEL")
        if not model:
            raise InvalidConfigError("DICAST_MODEL is not set: it names a model file, or the URL of a server")
        judge: JudgeLike
        if model.startswith(("http://", "https://")):
            timeout = _number(env, "DICAST_TIMEOUT", 600.0)
            judge = Client(model, api_key=env.get("DICAST_API_KEY"), timeout=timeout)
        else:
            judge = _local(model, env)
        on_error = env.get("DICAST_ON_ERROR")
        return cls(
            judge=judge,
            principle=_principle(env),
            group_size=int(_number(env, "DICAST_GROUP_SIZE", 1)),
            window=_number(env, "DICAST_GROUP_WINDOW", 1.0),
            on_error=None if on_error is None else _number(env, "DICAST_ON_ERROR", 0.0),
            rewards=_json(env, "DICAST_REWARD"),
        )


def _local(model: str, env: Mapping[str, str]) -> Judge:
    return from_pretrained(model, **_json(env, "DICAST_CONFIG"))


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
        raise InvalidConfigError(f"{name} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidConfigError(f"{name} must be a JSON object")
    return value


class Default:
    """The hook made of the environment, when it is first called in a process."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Any = None
        self._process: Optional[int] = None

    def __call__(self) -> Any:
        # A judge is of no use in a process that was forked from the one that opened it.
        with self._lock:
            if self._process != os.getpid():
                self._made = self._make(Settings.from_env())
                self._process = os.getpid()
            return self._made
