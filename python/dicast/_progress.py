"""Callbacks that get the progress of loading a model, and may end it."""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any, Callable, List, Optional, Set, TypeVar

from ._interrupts import Begun, is_main, keep
from ._library import error_taken, ffi
from .errors import InvalidArgumentError

__all__ = ["Progress", "Watch"]

#: Gets the part that is loaded, from 0 to 1; False ends the loading.
Progress = Callable[[float], Optional[bool]]

_Loaded = TypeVar("_Loaded")

#: How long the end of the program waits for loadings that were ended, in seconds.
_PATIENCE = 10.0


class Watch:
    """Watches the loading of one judge: when it is opened, wakes, or takes other weights."""

    def __init__(self, hear: Optional[Progress] = None) -> None:
        if hear is not None and not callable(hear):
            raise InvalidArgumentError(f"progress is {type(hear).__name__}: it must be a function of the part loaded")
        self.hear = hear
        #: The exception that it raised.
        self.raised: Optional[BaseException] = None

    def set(self, options: Any) -> None:
        """Has the library tell it."""
        options.progress = _on_progress

    def load(self, call: Callable[[], _Loaded]) -> _Loaded:
        """Makes a call that loads. Ctrl-C ends the wait for it at once, and then the loading."""
        load = _Load()
        if not is_main():
            try:
                return load.work(call, self._heard)
            finally:
                load.ended()
        begun = Begun(lambda: load.work(call, load.asks), load.ended)
        load.begun = begun
        try:
            load.answer(self._heard)
            return begun.result()
        except BaseException:
            load.stop()
            raise

    def _heard(self, part: float) -> bool:
        try:
            return self.hear is None or self.hear(part) is not False
        except Exception as error:
            self.raised = error
            return False

    def check(self, status: int, error: Any) -> None:
        """Raises what was raised meanwhile, or what the call gave through `error`, if it failed."""
        raised, self.raised = self.raised, None
        if status:
            failure = error_taken(error[0])
            raise failure if raised is None else raised


class _Load:
    """A loading that runs."""

    def __init__(self) -> None:
        self._parts: "queue.SimpleQueue[Optional[float]]" = queue.SimpleQueue()
        self._answers: "queue.SimpleQueue[bool]" = queue.SimpleQueue()
        self._stopped = False
        self._hear: Callable[[float], bool] = self.asks
        #: The call, if it is made in a thread of its own.
        self.begun: Optional[Begun[Any]] = None
        #: Whether its call has returned, and what it gave is taken or freed.
        self.over = threading.Event()
        _running.add(self)

    def work(self, call: Callable[[], _Loaded], hear: Callable[[float], bool]) -> _Loaded:
        """Makes the call, in the thread that loads."""
        self._hear = hear
        _this_thread.load = self
        try:
            return call()
        finally:
            _this_thread.load = None
            self._parts.put(None)

    def ended(self) -> None:
        _running.discard(self)
        self.over.set()

    def goes_on(self, part: float) -> bool:
        """Whether to continue, asked in the thread that loads."""
        return not self._stopped and self._hear(part) and not self._stopped

    def asks(self, part: float) -> bool:
        """Asks the main thread whether to continue."""
        self._parts.put(part)
        return self._answers.get()

    def answer(self, hear: Callable[[float], bool]) -> None:
        """Answers in the main thread, until the loading has ended."""
        for part in iter(self._parts.get, None):
            self._answers.put(hear(part))

    def stop(self) -> None:
        """Ends the loading when it asks the next time; if it does not ask any more, what it loads is freed."""
        self._stopped = True
        self._answers.put(False)
        if self.begun is not None:
            self.begun.drop()


#: The loadings of this process.
_running: Set[_Load] = set()
_this_thread = threading.local()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_running.clear)


def stop_loads() -> List[_Load]:
    """Ends what is loading, before the interpreter ends: afterwards a thread that asks would be killed in the middle of
    the library. Returns what may still run."""
    loads = list(_running)
    for load in loads:
        load.stop()
    return loads


def wait_for_loads(loads: List[_Load]) -> None:
    """Waits until loadings that were ended are over."""
    until = time.monotonic() + _PATIENCE
    for load in loads:
        load.over.wait(max(0.0, until - time.monotonic()))


def _tell(_user_data: Any, part: float) -> bool:
    # A call that loads does so in the thread that makes it.
    load: Optional[_Load] = getattr(_this_thread, "load", None)
    return load is None or load.goes_on(part)


#: What the library calls. Never freed: it serves all judges for as long as the program runs.
_on_progress = ffi.callback("dicast_progress_callback", _tell, error=False, onerror=keep)
