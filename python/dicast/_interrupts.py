"""Ctrl-C, whatever the program waits for.

Python handles signals in the main thread, between two of its own steps. So no long call of the library may hold the
main thread, and what is raised in a callback, which the library cannot pass on, must not get lost.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, List, Optional, Tuple, TypeVar

__all__ = ["apart", "begun", "is_main", "keep", "raise_kept"]

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
    return begun(call)() if is_main() else call()


def begun(call: Callable[[], _Result]) -> Callable[[], _Result]:
    """Makes a call in another thread; returns a function that waits for its result."""
    ended: "queue.SimpleQueue[Tuple[List[_Result], Optional[BaseException]]]" = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put(([call()], None))
        except BaseException as error:
            ended.put(([], error))

    def result() -> _Result:
        results, error = ended.get()
        if error is not None:
            raise error
        return results[0]

    # The interpreter does not wait for it when it ends.
    threading.Thread(target=work, name="dicast-call", daemon=True).start()
    return result
