"""Judges that open when they are first used, separately in every process.

Trainers send hooks to other processes: to a spawned worker, to Ray, to a process pool. A model cannot be sent, but the
arguments for opening it can. All hooks of one process that name the same model share one judge.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Sequence, Tuple, TypeVar, Union

from .._parallel import waiting
from ..client import Client
from ..local import Judge, from_pretrained

__all__ = ["LazyJudge", "PerProcess", "named_judge"]

_Made = TypeVar("_Made")


#: Held while an object is made. There is one for all, because an object may need others of this kind.
_lock = threading.RLock()
#: The judges of this process, by what they were opened with.
_opened: Dict[str, Judge] = {}


def _forked() -> None:
    """In a forked child: judges belong to the parent, and a thread that does not exist here may hold the lock."""
    global _lock
    _lock = threading.RLock()
    _opened.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class PerProcess(Generic[_Made]):
    """An object that `make` makes when it is first needed in a process. It can be pickled if `make` can."""

    def __init__(self, make: Callable[[], _Made]) -> None:
        self._make = make
        self._made: Optional[Tuple[int, _Made]] = None

    def __call__(self) -> _Made:
        with _lock:
            if self._made is None or self._made[0] != os.getpid():
                self._made = os.getpid(), self._make()
            return self._made[1]

    def __reduce__(self) -> Any:
        return PerProcess, (self._make,)


class LazyJudge:
    """A judge given by ``model`` and the arguments of :func:`dicast.from_pretrained`.

    It opens when it is first used. It can be pickled, and opens in the other process then. All that name the same model
    with the same arguments share one judge in a process.
    """

    def __init__(self, model: Union[str, "os.PathLike[str]"], **config: Any) -> None:
        self.model = os.fspath(model)
        self.config = config

    @property
    def _key(self) -> str:
        # The same file may be named by its path from here or from the root, an argument be left out or be None.
        place = os.path.abspath(self.model) if os.path.exists(self.model) else self.model
        config = {name: value for name, value in self.config.items() if value is not None}
        return json.dumps([place, config], sort_keys=True, default=_named)

    @property
    def opened(self) -> Judge:
        """The judge of this process, opened if needed. A judge that was closed is opened again."""
        key = self._key
        with _lock:
            judge = _opened.get(key)
            if judge is None or judge.closed:
                judge = _opened[key] = from_pretrained(self.model, **self.config)
            return judge

    @property
    def scale(self) -> Tuple[int, int]:
        """The worst and the best score."""
        return self.opened.scale

    @property
    def max_responses(self) -> int:
        """Most responses in one request."""
        return self.opened.max_responses

    def judge_batch(self, requests: Sequence[Any], *, return_exceptions: bool = False, **options: Any) -> List[Any]:
        """As :meth:`dicast.Judge.judge_batch`."""
        return self.opened.judge_batch(requests, return_exceptions=return_exceptions, **options)

    async def ajudge_batch(
        self, requests: Sequence[Any], *, return_exceptions: bool = False, **options: Any
    ) -> List[Any]:
        """As :meth:`dicast.Judge.ajudge_batch`. The model is opened in a thread."""
        judge = _opened.get(self._key)
        if judge is None or judge.closed:
            judge = await waiting(lambda: self.opened)
        return await judge.ajudge_batch(requests, return_exceptions=return_exceptions, **options)

    def __repr__(self) -> str:
        return f"<dicast.trainers.LazyJudge {self.model!r}>"


def _named(value: Any) -> str:
    return os.fspath(value) if isinstance(value, os.PathLike) else repr(value)


def named_judge(
    model: Union[str, "os.PathLike[str]"],
    config: Optional[Mapping[str, Any]] = None,
    *,
    api_key: Optional[str] = None,
    timeout: float = 600.0,
) -> Union[Client, LazyJudge]:
    """The judge that a name stands for: a client for the URL of a server, else a model that opens when it is used."""
    name = os.fspath(model)
    if name.startswith(("http://", "https://")):
        return Client(name, api_key=api_key, timeout=timeout)
    return LazyJudge(name, **dict(config or {}))
