"""Many blocking calls at once, in threads that end with the program."""

from __future__ import annotations

import threading
from typing import Any, Callable, List, Optional, Sequence, TypeVar

__all__ = ["Stop", "each"]

_Item = TypeVar("_Item")


class Stop:
    """Tells that no further call may begin, and what replaces the results of calls that did not begin."""

    def __init__(self) -> None:
        self.reason: Optional[BaseException] = None

    def __call__(self, reason: BaseException) -> None:
        self.reason = self.reason or reason


def each(call: Callable[[_Item], Any], items: Sequence[_Item], threads: int, stop: Stop) -> List[Any]:
    """The results of a call for each item, in order; a call that fails gives its exception.

    After `stop` no further call begins. Ctrl-C ends the wait at once; running calls end on their own.
    """
    results: List[Any] = [None] * len(items)
    places = iter(range(len(items)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                place = next(places, None)
            if place is None:
                return
            if stop.reason is not None:
                results[place] = stop.reason
                continue
            try:
                results[place] = call(items[place])
            except BaseException as error:
                results[place] = error

    # Not threads of an executor: the interpreter would wait for those when it ends.
    workers = [
        threading.Thread(target=work, name="dicast-client", daemon=True) for _ in range(min(threads, len(items)))
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    except BaseException as error:
        stop(error)
        raise
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
    return results
