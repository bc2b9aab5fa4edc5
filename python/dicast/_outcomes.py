"""Outcomes that the library gives only once: none is lost, whichever thread asks and whenever Ctrl-C comes."""

from __future__ import annotations

import os
import threading
from typing import Any, Union

from . import _library
from ._library import NULL, ffi, lib
from .errors import DicastError
from .models import RewardResult

__all__ = ["Outcome", "Place", "Turn"]

#: How a judgment ended.
Outcome = Union[RewardResult, DicastError]


class Place:
    """Where the library writes an outcome. What was written there stays until :meth:`clear`."""

    def __init__(self) -> None:
        # They are not freed by the garbage collector: a function of Python that it calls would swallow Ctrl-C.
        self.verdict = ffi.new("dicast_verdict **")
        self.error = ffi.new("dicast_error **")

    @property
    def is_filled(self) -> bool:
        """Whether the library has written an outcome."""
        return bool(self.verdict[0] or self.error[0])

    def read(self) -> Outcome:
        """The outcome that was written."""
        if self.verdict[0]:
            return RewardResult.from_verdict(_library.verdict_json(self.verdict[0]))
        return _library.error_read(self.error[0])

    def clear(self) -> None:
        """Frees what was written."""
        verdict, self.verdict[0] = self.verdict[0], NULL
        lib.dicast_verdict_free(verdict)
        error, self.error[0] = self.error[0], NULL
        lib.dicast_error_free(error)


class Turn:
    """Lets one thread at a time take outcomes."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()

    @property
    def lock(self) -> Any:
        """The lock, for a ``with`` block."""
        # In a forked child, a thread that does not exist there may hold the lock of the parent.
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.RLock()
        return self._lock

    def acquired(self, seconds: float) -> bool:
        """Waits for the lock. Whoever gets it releases it."""
        lock = self.lock
        if lock._is_owned():
            lock.release()  # Ctrl-C came after it was acquired, and before anything could release it.
        return bool(lock.acquire(timeout=seconds))
