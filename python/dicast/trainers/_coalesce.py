"""Single samples, held back until those of their prompt are there, so that they can be judged together.

A group is judged when it is complete, or when its first sample has waited for the window.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Dict, Hashable, List, Optional, Set

from ._groups import Group, Judged
from ._settings import Settings

__all__ = ["LoopCoalescer", "ThreadCoalescer"]


class _Waiting:
    """A group that waits for more, of threads."""

    def __init__(self, principle: str, prompt: str) -> None:
        self.group = Group(principle, prompt)
        self.complete = threading.Event()
        self.outcome: "Future[List[Judged]]" = Future()


class ThreadCoalescer:
    """Judges together what threads bring. The thread of the first sample does it; the others wait for that."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._open: Dict[Hashable, _Waiting] = {}

    def reward(self, principle: str, prompt: str, text: str, key: Hashable = None) -> Judged:
        """Judges one sample. `key` parts groups of one prompt."""
        where = (principle, prompt, key)
        with self._lock:
            waiting = self._open.setdefault(where, _Waiting(principle, prompt))
            place = len(waiting.group.texts)
            waiting.group.add(text, place)
            if place + 1 >= self._settings.group_size:
                self._end(where, waiting)
        if place == 0:
            waiting.complete.wait(self._settings.window)
            with self._lock:
                self._end(where, waiting)
            try:
                waiting.outcome.set_result(self._settings.made.of([waiting.group]))
            except BaseException as error:
                waiting.outcome.set_exception(error)
        return waiting.outcome.result()[place]

    def _end(self, where: Hashable, waiting: _Waiting) -> None:
        """Lets a group wait no more."""
        if self._open.get(where) is waiting:
            del self._open[where]
        waiting.complete.set()


class _Gathering:
    """A group that waits for more, of coroutines."""

    def __init__(self, principle: str, prompt: str) -> None:
        self.group = Group(principle, prompt)
        self.futures: List["asyncio.Future[Judged]"] = []
        self.timer: Optional[asyncio.TimerHandle] = None


class LoopCoalescer:
    """Judges together what coroutines bring, in the event loop that they are in."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: Dict[Hashable, _Gathering] = {}
        self._tasks: Set["asyncio.Task[None]"] = set()

    async def reward(
        self, principle: str, prompt: str, text: str, key: Hashable = None, size: Optional[int] = None
    ) -> Judged:
        """Judges one sample. `key` parts groups of one prompt; `size` is that of this group, where it is known."""
        loop = asyncio.get_running_loop()
        where = (loop, principle, prompt, key)
        gathering = self._open.get(where)
        if gathering is None:
            gathering = self._open[where] = _Gathering(principle, prompt)
            gathering.timer = loop.call_later(self._settings.window, self._end, where, gathering)
        place = len(gathering.group.texts)
        gathering.group.add(text, place)
        future: "asyncio.Future[Judged]" = loop.create_future()
        gathering.futures.append(future)
        if place + 1 >= (size or self._settings.group_size):
            self._end(where, gathering)
        return await future

    def _end(self, where: Hashable, gathering: _Gathering) -> None:
        """Lets a group wait no more, and judges it."""
        del self._open[where]
        if gathering.timer is not None:
            gathering.timer.cancel()
        # Not a part of whoever came first: it may be cancelled, and the others still wait.
        task: "asyncio.Task[None]" = asyncio.ensure_future(self._run(gathering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, gathering: _Gathering) -> None:
        try:
            for future, judged in zip(gathering.futures, await self._settings.made.aof([gathering.group])):
                if not future.done():
                    future.set_result(judged)
        except BaseException as error:
            for future in gathering.futures:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
