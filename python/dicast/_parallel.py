"""Many blocking calls at once, in threads that end with the program.

Not threads of an executor: the interpreter waits for those when it ends, and `asyncio.run` for those of its loop. After
Ctrl-C a program would hang for as long as a server does not answer.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import functools
import os
import threading
import weakref
from typing import Any, Callable, Deque, List, Optional, Sequence, TypeVar

__all__ = ["Stop", "Threads", "each", "waiting"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

#: Most blocking calls of coroutines at once. More wait for their turn.
_MOST = 256
#: How long a thread without work stays, in seconds.
_IDLE = 10.0


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


class Threads:
    """At most `limit` threads that make blocking calls for coroutines."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._forked()
        _all.add(self)

    def _forked(self) -> None:
        # In a forked child no thread exists but the one that forked.
        # A plain lock: it is released whenever Ctrl-C comes, that of a condition is not.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._work: Deque[Callable[[], None]] = collections.deque()
        self._threads = self._idle = 0

    async def run(self, call: Callable[..., _Result], *arguments: Any, **named: Any) -> _Result:
        """The result of a call. If the caller is cancelled, a call that has not begun does not begin."""
        loop = asyncio.get_running_loop()
        future: "asyncio.Future[_Result]" = loop.create_future()
        bound = functools.partial(contextvars.copy_context().run, functools.partial(call, *arguments, **named))

        def work() -> None:
            if future.cancelled():
                return
            try:
                end = functools.partial(_end, future, bound(), None)
            except BaseException as error:
                end = functools.partial(_end, future, None, error)
            try:
                loop.call_soon_threadsafe(end)
            except RuntimeError:
                pass  # The loop was closed: no caller waits.

        self._put(work)
        return await future

    def _put(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._work.append(work)
            if len(self._work) <= self._idle:
                self._changed.notify()
            elif self._threads < self._limit:
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
                self._threads += 1

    def _serve(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                there = self._changed.wait_for(lambda: self._work, _IDLE)
                self._idle -= 1
                if not there:
                    self._threads -= 1
                    return
                work = self._work.popleft()
            work()
            del work  # It may hold large texts.


def _end(future: "asyncio.Future[Any]", result: Any, error: Optional[BaseException]) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError(f"a call raised {error!r}"))
    else:
        future.set_exception(error)


_all: "weakref.WeakSet[Threads]" = weakref.WeakSet()


def _forked() -> None:
    for threads in list(_all):
        threads._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

_threads = Threads(_MOST, "dicast-wait")


async def waiting(call: Callable[..., _Result], *arguments: Any, **named: Any) -> _Result:
    """The result of a blocking call, for which the event loop does not wait when it ends."""
    return await _threads.run(call, *arguments, **named)
