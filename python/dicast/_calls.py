"""Judgments under way: waiting for them, in threads and in event loops, and ending them."""

from __future__ import annotations

import asyncio
import collections
import functools
import itertools
import sys
import threading
from typing import Any, Callable, Deque, Dict, Optional, Sequence, Tuple, Union

from . import _library
from ._handle import Handle
from ._interrupts import raise_kept
from ._library import NULL, check, error_taken, ffi, lib, owned
from ._parallel import waiting
from ._times import SLICE_MS
from .errors import DicastError, OverloadedError
from .models import RewardResult

__all__ = ["AT_ONCE", "Call", "Inbox", "call_when_free", "calls_open", "end_all", "outcome_of", "submit"]
__all__ += ["submit_when_free", "wait"]

#: If more judgments than this must end after an exception (Ctrl-C), a thread ends them: the caller need not wait.
_FEW = 256


def end_all(ends: Sequence[Callable[[], Any]]) -> None:
    """Ends judgments. Cancelling thousands that still wait takes a second; nobody should have to wait for that."""
    if len(ends) > _FEW and sys.exc_info()[0] is not None:
        try:
            threading.Thread(target=_end_each, args=(ends,), name="dicast-end").start()
            return
        except RuntimeError:
            pass  # The interpreter is about to end and starts no more threads.
    _end_each(ends)


def _end_each(ends: Sequence[Callable[[], Any]]) -> None:
    for end in ends:
        end()


# Waiting. Each wait is cut into slices, because the interpreter handles signals only between them.


def submit(judge: Handle, request: Any) -> Any:
    ticket, error = ffi.new("dicast_ticket **"), ffi.new("dicast_error **")
    check(lib.dicast_judge_submit(judge.get(), request, NULL, NULL, ticket, error), error)
    return owned("ticket", ticket[0])


def submit_when_free(judge: Handle, request: Any) -> Any:
    while True:
        try:
            return submit(judge, request)
        except OverloadedError:
            wait_for_room(judge)


def wait_for_room(judge: Handle) -> None:
    """Waits until there may be room in the queue, for one slice at most."""
    error = ffi.new("dicast_error **")
    status = lib.dicast_judge_wait_for_room(judge.get(), SLICE_MS, error)
    if status != lib.DICAST_PENDING:
        check(status, error)


def wait(ticket: Any) -> RewardResult:
    verdict, error = ffi.new("dicast_verdict **"), ffi.new("dicast_error **")
    pending, waited = lib.DICAST_PENDING, lib.dicast_ticket_wait
    while True:
        raise_kept()
        status = waited(ticket, SLICE_MS, verdict, error)
        if status != pending:
            check(status, error)
            return RewardResult.from_verdict(_library.verdict_json(owned("verdict", verdict[0])))


def outcome_of(ticket: Any) -> Union[RewardResult, DicastError]:
    if isinstance(ticket, DicastError):
        return ticket
    try:
        return wait(ticket)
    except DicastError as error:
        return error


# Coroutines. The library calls back on its own thread; the event loop does the rest.


#: Most outcomes that an event loop takes at once, before it does other things.
AT_ONCE = 64


class Inbox:
    """Outcomes of some calls on their way from the library's thread to the event loop that waits for them.

    Waking a loop costs a system call; outcomes that arrive together wake it only once.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        #: Calls without an outcome.
        self.pending = 0
        self._outcomes: Deque[Tuple[Call, Any, Any]] = collections.deque()
        self._woken = False
        self._left = 0
        self._room: Optional["asyncio.Future[None]"] = None

    def put(self, call: Call, verdict: Any, error: Any) -> None:
        """Takes an outcome, in a thread of the library."""
        self._outcomes.append((call, verdict, error))
        # The loop was already woken and has not looked yet; it will find this outcome too.
        if not self._woken:
            self._woken = True
            self.loop.call_soon_threadsafe(self._empty)

    def _empty(self) -> None:
        self._woken = False
        for _ in range(AT_ONCE):
            if not self._outcomes:
                return
            call, verdict, error = self._outcomes.popleft()
            self.pending -= 1
            call.deliver(verdict, error)
            if self._room is not None and self.pending <= self._left and not self._room.done():
                self._room.set_result(None)
        self._woken = True
        self.loop.call_soon(self._empty)

    async def some_ended(self) -> None:
        """Waits until some of the calls have ended, at most an eighth of them."""
        self._left = self.pending - max(1, self.pending // 8)
        self._room = self.loop.create_future()
        await self._room


class Call:
    """A judgment whose outcome an event loop waits for."""

    def __init__(self, judge: Handle, request: Any, inbox: Inbox) -> None:
        self.inbox = inbox
        self.future: "asyncio.Future[RewardResult]" = inbox.loop.create_future()
        self._ended = False
        number = next(_numbers)
        ticket, error = ffi.new("dicast_ticket **"), ffi.new("dicast_error **")
        calls_open[number] = self
        try:
            data = ffi.cast("void *", number)
            check(lib.dicast_judge_submit(judge.get(), request, _on_outcome, data, ticket, error), error)
        except BaseException:
            del calls_open[number]
            raise
        inbox.pending += 1
        # Only `end` frees it: the garbage collector might free it before the coroutine ends.
        self._ticket: Any = ticket[0]

    def deliver(self, verdict: Any, error: Any) -> None:
        """Takes the outcome, in the thread of the event loop."""
        if self._ended or self.future.done():
            return
        if error is None:
            self.future.set_result(RewardResult.from_verdict(_library.verdict_json(verdict)))
        else:
            self.future.set_exception(error)

    def ended(self) -> Callable[[], None]:
        """The outcome is not wanted any more. Returns a function that cancels the judgment and frees the ticket, in any
        thread."""
        self._ended = True
        ticket, self._ticket = self._ticket, NULL
        runs = not self.future.done() or self.future.cancelled()
        if not runs:
            self.future.exception()  # Marks it as seen: otherwise it would be logged as never retrieved.
        return functools.partial(_end_ticket, ticket, runs)


def _end_ticket(ticket: Any, runs: bool) -> None:
    if runs:
        lib.dicast_ticket_cancel(ticket, NULL)
    lib.dicast_ticket_free(ticket)


async def call_when_free(judge: Handle, request: Any, inbox: Inbox) -> Call:
    while True:
        try:
            return Call(judge, request, inbox)
        except OverloadedError:
            pass
        if inbox.pending:
            await inbox.some_ended()
        else:
            # Other callers filled the queue; this loop does not learn when their judgments end.
            await waiting(wait_for_room, judge)


#: The calls without an outcome so far, by the number that the library hands back.
calls_open: Dict[int, Call] = {}
_numbers = itertools.count(1)


def _take_outcome(user_data: Any, _status: int, verdict: Any, error: Any) -> None:
    outcome = owned("verdict", verdict) if verdict else None
    failure = error_taken(error) if error else None
    call = calls_open.pop(int(ffi.cast("uintptr_t", user_data)), None)
    if call is not None:
        try:
            call.inbox.put(call, outcome, failure)
        except RuntimeError:
            pass  # The loop was closed: no caller waits.


#: What the library calls. Never freed: it serves all judges for as long as the program runs.
_on_outcome = ffi.callback("dicast_callback", _take_outcome)
