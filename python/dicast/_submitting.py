"""Judgments under way: tickets and events, with priorities, deadlines, names, and the reasoning while it is written."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

from . import _library
from ._handle import Handle
from ._library import NULL, check, error_taken, ffi, lib, owned, text_of
from ._outcomes import Outcome, Place, Turn
from ._times import milliseconds, slices
from .errors import DicastError, InvalidArgumentError
from .models import RewardResult

__all__ = ["Event", "Events", "Submitting", "Ticket"]

_PRIORITIES = {
    "low": lib.DICAST_PRIORITY_LOW,
    "normal": lib.DICAST_PRIORITY_NORMAL,
    "high": lib.DICAST_PRIORITY_HIGH,
}

#: The listeners to the reasoning, by the number that the library hands back, each with whether it has failed.
_hearing: Dict[int, Callable[[str], None]] = {}
_numbers = itertools.count(1)


def _hear(user_data: Any, piece: Any) -> None:
    hear = _hearing.get(int(ffi.cast("uintptr_t", user_data)))
    if hear is not None:
        hear(text_of(piece))


def _hear_failed(_kind: Any, _error: Any, _traceback: Any) -> None:
    """An exception of a listener must not reach the library; the judgment goes on."""


_on_reasoning = ffi.callback("dicast_reasoning_callback", _hear, onerror=_hear_failed)


@dataclass(frozen=True)
class Event:
    """The outcome of one judgment."""

    #: The tag that it was submitted with.
    tag: int
    #: The verdict, or None.
    result: Optional[RewardResult]
    #: Why there is no verdict, or None.
    error: Optional[DicastError]


class Events:
    """Outcomes for an event loop: :meth:`fileno` is readable while there are any, for :mod:`selectors` and the like.

    ``limit`` counts pending judgments and outcomes that were not taken yet; above it, a submission raises
    :class:`OverloadedError`. Any number of threads and judges may use one at once.
    """

    def __init__(self, limit: int = 0) -> None:
        out, error = ffi.new("dicast_events **"), ffi.new("dicast_error **")
        check(lib.dicast_events_new(limit, out, error), error)
        self._pointer = ffi.gc(out[0], lib.dicast_events_free)

    def fileno(self) -> int:
        """The descriptor. Only poll it: do not read, write or close it."""
        return int(lib.dicast_events_fd(self._pointer))

    def next(self, timeout: Optional[float] = 0.0) -> Optional[Event]:
        """Takes the next outcome; None if there is none. Waits at most ``timeout`` seconds; with None without limit."""
        event, error = ffi.new("dicast_event *"), ffi.new("dicast_error **")
        event.struct_size = ffi.sizeof("dicast_event")
        for wait in slices(timeout):
            status = lib.dicast_events_next(self._pointer, wait, event, error)
            if status == lib.DICAST_PENDING:
                continue
            check(status, error)
            if event.error:
                return Event(event.tag, None, error_taken(event.error))
            verdict = _library.verdict_json(owned("verdict", event.verdict))
            return Event(event.tag, RewardResult.from_verdict(verdict), None)
        return None


class Ticket:
    """A judgment that was submitted. Dropping it cancels the judgment. Any number of threads may use one."""

    def __init__(self, pointer: Any, heard: Optional[int]) -> None:
        self._pointer = owned("ticket", pointer)
        self._heard = heard
        self._turn, self._place = Turn(), Place()
        self._outcome: Optional[Outcome] = None

    def result(self, timeout: Optional[float] = None) -> RewardResult:
        """Waits for the verdict, at most ``timeout`` seconds; raises the error of a failed judgment.

        Raises :class:`TimeoutError` if it has not ended by then: wait again, or cancel. The outcome can be asked for
        again.
        """
        for wait in slices(timeout):
            if self._take(wait):
                outcome = self._outcome
                if isinstance(outcome, DicastError):
                    raise outcome
                if outcome is not None:
                    return outcome
        raise TimeoutError("the judgment has not ended yet")

    def done(self) -> bool:
        """Whether the judgment has ended."""
        return self._take(0)

    def cancel(self) -> None:
        """Cancels the judgment at any stage; its outcome is then a :class:`JudgmentCancelledError`."""
        lib.dicast_ticket_cancel(self._pointer, NULL)

    def _take(self, wait: int) -> bool:
        if self._outcome is not None:
            return True
        # One thread waits in the library, the others for that one.
        lock = self._turn.lock
        if not lock.acquire(timeout=wait / 1000):
            return self._outcome is not None
        try:
            place = self._place
            if self._outcome is None and not place.is_filled:
                lib.dicast_ticket_wait(self._pointer, wait, place.verdict, place.error)
            if self._outcome is None and place.is_filled:
                self._outcome = place.read()
                self._place = Place()
            return self._outcome is not None
        finally:
            lock.release()

    def __del__(self) -> None:
        if self._heard is not None:
            _hearing.pop(self._heard, None)


class Submitting:
    """The part of a judge that submits and does not wait."""

    _handle: Handle

    def submit(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        *,
        id: str = "",
        priority: str = "normal",
        deadline: Optional[float] = None,
        on_reasoning: Optional[Callable[[str], None]] = None,
        **generation: Any,
    ) -> Ticket:
        """Submits a request and returns at once; :meth:`Ticket.result` waits for the verdict.

        ``id`` is a name that appears in log lines. ``priority`` is "low", "normal" or "high": which judgment goes first
        if several wait for the embedded engine or for a place at a server. The judgment ends at most ``deadline``
        seconds after its submission.
        ``on_reasoning`` gets the reasoning piece by piece while it is written, on a thread of the library; exceptions
        are dropped. Raises :class:`OverloadedError` if the queue is full.
        """
        request = _library.request_new(principle, prompt, responses, self._options(mask_responses, generation))
        options, keep = _submission(id, priority, deadline)
        heard = None
        if on_reasoning is not None:
            heard = next(_numbers)
            _hearing[heard] = on_reasoning
            options.on_reasoning = _on_reasoning
            options.reasoning_user_data = ffi.cast("void *", heard)
        ticket = ffi.new("dicast_ticket **")
        try:
            self._submit_with(request, options, ticket)
        except BaseException:
            _hearing.pop(heard or 0, None)
            raise
        del keep  # The texts live until here.
        return Ticket(ticket[0], heard)

    def submit_event(
        self,
        events: Events,
        tag: int,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        *,
        id: str = "",
        priority: str = "normal",
        deadline: Optional[float] = None,
        **generation: Any,
    ) -> None:
        """As :meth:`submit`; the outcome becomes an event of ``events``, which has the ``tag``."""
        request = _library.request_new(principle, prompt, responses, self._options(mask_responses, generation))
        options, keep = _submission(id, priority, deadline)
        options.events = events._pointer
        options.tag = tag
        self._submit_with(request, options, NULL)
        del keep  # The texts live until here.

    def _submit_with(self, request: Any, options: Any, ticket: Any) -> None:
        error = ffi.new("dicast_error **")
        with self._handle as handle:
            check(lib.dicast_judge_submit_with(handle, request, options, ticket, error), error)

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError


def _submission(name: str, priority: str, deadline: Optional[float]) -> Tuple[Any, Any]:
    """How a request is submitted, and the objects that must live as long as it is used."""
    options = ffi.new("dicast_submit_options *")
    options.struct_size = ffi.sizeof("dicast_submit_options")
    keep = _library.view(name, "id")
    options.id = keep
    options.priority = priority_of(priority)
    options.deadline_ms = milliseconds(deadline)
    return options, keep


def priority_of(priority: str) -> int:
    """A priority, as the library takes it."""
    if not isinstance(priority, str) or priority not in _PRIORITIES:
        raise InvalidArgumentError(f'priority is {priority!r}: it must be "low", "normal" or "high"')
    return int(_PRIORITIES[priority])
