"""Outcomes that the library gives only once: none is lost, whichever thread asks and whenever Ctrl-C comes."""

from __future__ import annotations

import os
import threading
from typing import Union

from . import _library
from ._library import handle_place
from .errors import DicastError
from .models import RewardResult

__all__ = ["Outcome", "Place", "Turn"]

#: How a judgment ended.
Outcome = Union[RewardResult, DicastError]


class Place:
    """Where the library writes an outcome. What was written there stays until it was read."""

    def __init__(self) -> None:
        self.verdict = handle_place("verdict")
        self.error = handle_place("error")

    @property
    def is_filled(self) -> bool:
        """Whether the library has written an outcome."""
        return bool(self.verdict[0] or self.error[0])

    def read(self) -> Outcome:
        """The outcome that was written."""
        if self.verdict[0]:
            return RewardResult.from_verdict(_library.verdict_json(self.verdict[0]))
        return _library.error_read(self.error[0])


class Turn:
    """Lets one thread at a time take outcomes."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()

    @property
    def lock(self) -> threading.Lock:
        # In a forked child, a thread that does not exist there may hold the lock of the parent.
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
        return self._lock
