"""Single samples that wait until their group is there, so that they can be judged together.

A group is judged when it is complete, or when its first sample has waited for the window. Complete and incomplete
groups are counted, and an incomplete one is logged, because its samples are compared with fewer others than the trainer
compares them with.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Coroutine, Dict, Hashable, List, Optional, Sequence, Set, Tuple

from ..errors import DicastError
from ._groups import Judged, Sample, raised
from ._lazy import PerProcess

__all__ = ["Gathering", "GroupCounts", "LoopCoalescer", "ThreadCoalescer"]

_LOGGER = logging.getLogger("dicast")

#: The share of incomplete groups above which there is a warning, and the least number of groups for it.
_SHARE, _ENOUGH = 0.05, 20
#: Seconds between two checks whether waiting still makes sense.
_LOOK = 0.5
#: Most groups that are kept because the trainer stopped before all of their members had come.
_MOST_CUT = 4096

#: Judges samples: one entry for each sample, in their order.
JudgeSamples = Callable[[Sequence[Sample]], Awaitable[List[Judged]]]


@dataclass
class GroupCounts:
    """How many groups were judged whole, and how many with members missing."""

    #: Groups with all their members.
    full: int = 0
    #: Groups whose window ended before all members came.
    incomplete: int = 0
    #: Of these, groups with a single member.
    lone: int = 0
    _warned_at: int = 0

    @property
    def share(self) -> float:
        """The share of incomplete groups."""
        return self.incomplete / max(1, self.full + self.incomplete)

    def count(self, members: int, expected: int, why: str) -> None:
        """Counts a group; logs an incomplete one."""
        if members >= expected:
            self.full += 1
            return
        self.incomplete += 1
        self.lone += members == 1
        _LOGGER.info("a group is judged with %d of %d samples: %s", members, expected, why)
        groups = self.full + self.incomplete
        # Once, and again whenever the number of groups has doubled.
        if self.share > _SHARE and groups >= max(_ENOUGH, 2 * self._warned_at):
            self._warned_at = groups
            _LOGGER.warning(
                "%d of %d groups were judged without all of their samples (%d with only one): their rewards are less "
                "reliable. Is group_size the number of samples per prompt, and the window longer than a roll-out?",
                self.incomplete,
                groups,
                self.lone,
            )


class Gathering:
    """A group that waits for its members, which coroutines of one event loop bring. A member has one sample or more.

    ``earlier`` are members that have their rewards already: those that come now are judged beside them.
    """

    def __init__(self, owner: LoopCoalescer, expected: int, earlier: Sequence[Sequence[Sample]] = ()) -> None:
        self._owner = owner
        self._expected = expected - len(earlier)
        self._earlier = list(earlier)
        self._samples: List[Sample] = []
        self._members: List[Tuple[int, int, "asyncio.Future[List[Judged]]"]] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self._ended = False
        self._done: Callable[[], None] = lambda: None

    def expect(self) -> None:
        """One member more will come."""
        self._expected += 1

    def drop(self) -> None:
        """One member less will come."""
        self._expected -= 1
        self.look()

    def look(self) -> None:
        """Ends the waiting if everybody is there."""
        if self._members and len(self._members) >= self._expected:
            self.end("")

    def add(self, samples: Sequence[Sample]) -> "asyncio.Future[List[Judged]]":
        """Adds a member, and returns the future of its rewards."""
        loop = asyncio.get_running_loop()
        if self._timer is None:
            window = self._owner.window
            self._timer = loop.call_later(window, self.end, f"the window of {window:g} s is over")
        future: "asyncio.Future[List[Judged]]" = loop.create_future()
        start = len(self._samples)
        self._samples.extend(samples)
        self._members.append((start, len(self._samples), future))
        self.look()
        return future

    def members(self) -> List[Sequence[Sample]]:
        """The samples of each member, of the earlier ones too."""
        return [*self._earlier, *(self._samples[start:end] for start, end, _ in self._members)]

    def end(self, why: str) -> None:
        """Ends the waiting of the group, and judges it."""
        if self._ended:
            return
        self._ended = True
        self._done()
        if self._timer is not None:
            self._timer.cancel()
        self._owner.counts.count(len(self._members), self._expected, why)
        # Not in the task of the first member, which may be cancelled while the others still wait.
        self._owner.start(self._run())

    async def _run(self) -> None:
        try:
            earlier = [sample for member in self._earlier for sample in member]
            judged = (await self._owner.judge([*earlier, *self._samples]))[len(earlier) :]
            for start, end, future in self._members:
                if not future.done():
                    future.set_result(judged[start:end])
        except BaseException as error:
            for _, _, future in self._members:
                if not future.done():
                    future.set_exception(raised(error) if isinstance(error, DicastError) else error)
            if not isinstance(error, Exception):
                raise


class LoopCoalescer:
    """Judges the samples of several coroutines together, in their event loop.

    ``hopeless`` says whether waiting makes no sense any more, for example because a trainer has stopped generating: all
    groups are then judged as they are. Members that come later, when the trainer has continued, are judged beside those
    of their group that were judged then; they do not wait for them again.
    """

    def __init__(self, judge: JudgeSamples, window: float, hopeless: Optional[Callable[[], bool]] = None) -> None:
        self.judge = judge
        self.window = window
        self.counts = GroupCounts()
        self._hopeless = hopeless
        self._open: Dict[Hashable, Gathering] = {}
        self._cut: Dict[Hashable, List[Sequence[Sample]]] = {}
        self._tasks: Set["asyncio.Task[None]"] = set()

    def new(self, expected: int = 0) -> Gathering:
        """A group that only those who hold it can join."""
        return Gathering(self, expected)

    async def rewards(self, key: Hashable, samples: Sequence[Sample], size: int) -> List[Judged]:
        """Judges the samples of one member together with those of its group, which has `size` members."""
        where = (asyncio.get_running_loop(), key)
        gathering = self._open.get(where)
        if gathering is None:
            gathering = self._open[where] = Gathering(self, size, self._cut.pop(key, ()))
            gathering._done = lambda: self._forget(where, gathering)
            if self._hopeless is not None and size > 1:
                self._look_later(where)
        return await gathering.add(samples)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs work that belongs to none of the waiting tasks."""
        task: "asyncio.Task[None]" = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, where: Hashable, gathering: Optional[Gathering]) -> None:
        if self._open.get(where) is gathering:
            del self._open[where]

    def _look_later(self, where: Tuple[asyncio.AbstractEventLoop, Hashable]) -> None:
        where[0].call_later(_LOOK, self._look, where)

    def _look(self, where: Tuple[asyncio.AbstractEventLoop, Hashable]) -> None:
        gathering = self._open.get(where)
        if gathering is None:
            return
        if self._hopeless is not None and self._hopeless():
            self._cut[where[1]] = gathering.members()
            while len(self._cut) > _MOST_CUT:
                del self._cut[next(iter(self._cut))]
            gathering.end("the trainer has stopped generating")
        else:
            self._look_later(where)


def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="dicast-groups", daemon=True).start()
    return loop


#: The event loop that waits and judges for threads.
_background: "PerProcess[asyncio.AbstractEventLoop]" = PerProcess(_started)


class ThreadCoalescer:
    """Judges the samples of several threads together. An event loop in its own thread does the waiting and judging."""

    def __init__(self, judge: JudgeSamples, window: float) -> None:
        self._inner = LoopCoalescer(judge, window)

    @property
    def counts(self) -> GroupCounts:
        """The counts of the groups."""
        return self._inner.counts

    def rewards(self, key: Hashable, samples: Sequence[Sample], size: int) -> List[Judged]:
        """As :meth:`LoopCoalescer.rewards`; the calling thread waits."""
        rewards = asyncio.run_coroutine_threadsafe(self._inner.rewards(key, samples, size), _background())
        try:
            return rewards.result()
        except BaseException:
            rewards.cancel()  # After Ctrl-C nobody waits for them.
            raise
