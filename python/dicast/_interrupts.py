"""Ctrl-C, whatever the program waits for.

Python handles signals in the main thread, between two of its own steps. So no long call of the library may hold the
main thread, and what is raised in a callback, which the library cannot pass on, must not get lost.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Generic, List, Optional, Tuple, TypeVar

__all__ = ["Begun", "apart", "is_main", "keep", "raise_kept"]

_Result = TypeVar("_Result")

#: What was raised in the main thread within a callback, until the main thread can raise it.
_kept: List[BaseException] = []


def is_main() -> bool:
    """Whether this is the thread in which Python handles signals."""
    return threading.current_thread() is threading.main_thread()


def keep(_kind: Any, error: Optional[BaseException], _traceback: Any) -> None:
    """Takes what a callback of the library raises (`onerror` of cffi). Ordinary exceptions are dropped."""
    if error is not None and not isinstance(error, Exception) and is_main():
        _kept.append(error)


def raise_kept() -> None:
    """Raises what was kept. Called where the caller holds nothing that would get lost."""
    if _kept and is_main():
        error = _kept[0]
        _kept.clear()
        raise error


def apart(call: Callable[[], _Result]) -> _Result:
    """The result of a call that blocks.

    If this is the main thread, another one makes the call, so that Ctrl-C ends the wait. The call then ends on its own,
    and its result is dropped.
    """
    if not is_main():
        return call()
    begun = Begun(call)
    try:
        return begun.result()
    except BaseException:
        begun.drop()
        raise


class Begun(Generic[_Result]):
    """A call in another thread. Its result is asked for, or dropped.

    A result that is dropped is freed in that thread, and only then `over` is called there: the thread is in the library
    no more.
    """

    def __init__(self, call: Callable[[], _Result], over: Callable[[], None] = lambda: None) -> None:
        self._ended: "queue.SimpleQueue[Tuple[List[_Result], Optional[BaseException]]]" = queue.SimpleQueue()
        self._settled = threading.Event()
        # The interpreter does not wait for it when it ends.
        threading.Thread(target=self._work, args=(call, over), name="dicast-call", daemon=True).start()

    def _work(self, call: Callable[[], _Result], over: Callable[[], None]) -> None:
        try:
            self._ended.put(([call()], None))
        except BaseException as error:
            self._ended.put(([], error))
        self._settled.wait()
        try:
            self._ended.get_nowait()
        except queue.Empty:
            pass
        over()

    def result(self) -> _Result:
        """Waits for the result."""
        results, error = self._ended.get()
        self._settled.set()
        if error is not None:
            raise error
        return results[0]

    def drop(self) -> None:
        """Nobody will ask for the result."""
        self._settled.set()
