"""Judgments under way: tickets and events, with priorities, deadlines, names, and the reasoning while it is written."""

from __future__ import annotations

import itertools
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional, Tuple

from . import _library
from ._handle import Handle
from ._interrupts import keep, raise_kept
from ._library import NULL, check, ffi, lib, owned, text_of
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


class _Listener:
    """A listener to the reasoning of one judgment, as long as its ticket lives."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self.hear = hear
        self.number = next(_numbers)
        _listeners[self.number] = self


#: By the number that the library hands back.
_listeners: "weakref.WeakValueDictionary[int, _Listener]" = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


def _hear(user_data: Any, piece: Any) -> None:
    listener = _listeners.get(int(ffi.cast("uintptr_t", user_data)))
    if listener is not None:
        listener.hear(text_of(piece))


#: An exception of a listener must not reach the library; the judgment goes on.
_on_reasoning = ffi.callback("dicast_reasoning_callback", _hear, onerror=keep)


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
        self._taken = threading.local()

    def fileno(self) -> int:
        """The descriptor. Only poll it: do not read, write or close it."""
        return int(lib.dicast_events_fd(self._pointer))

    def next(self, timeout: Optional[float] = 0.0) -> Optional[Event]:
        """Takes the next outcome; None if there is none. Waits at most ``timeout`` seconds; with None without limit.

        Ctrl-C loses no outcome: one that was not returned is the next one again.
        """
        taken: Optional[_Taken] = getattr(self._taken, "last", None)
        if taken is None:
            taken = self._taken.last = _Taken()
        try:
            taken.free()
            for wait in slices(timeout):
                if taken.take(self._pointer, wait):
                    event = taken.read()
                    # From here on the caller has it. No call may come in between: Ctrl-C could end it.
                    taken.given = True
                    return event
        except BaseException:
            taken.give_back(self._pointer)
            raise
        return None


class _Taken:
    """The outcome that a thread has taken out of events."""

    def __init__(self) -> None:
        self._place = ffi.gc(ffi.new("dicast_event *"), _free_event)
        self._place.struct_size = ffi.sizeof("dicast_event")
        #: Whether the caller has it.
        self.given = False

    @property
    def is_there(self) -> bool:
        return bool(self._place.verdict or self._place.error)

    def take(self, events: Any, wait: int) -> bool:
        """Takes one, unless one is there that the caller has not got."""
        if not self.is_there:
            error = ffi.new("dicast_error **")
            status = lib.dicast_events_next(events, wait, self._place, error)
            if status == lib.DICAST_PENDING:
                return False
            check(status, error)
        return True

    def read(self) -> Event:
        place = self._place
        if place.error:
            return Event(place.tag, None, _library.error_read(place.error))
        return Event(place.tag, RewardResult.from_verdict(_library.verdict_json(place.verdict)), None)

    def give_back(self, events: Any) -> None:
        """Any thread can take it again, and the descriptor is readable."""
        if self.is_there and not self.given:
            lib.dicast_events_return(events, self._place, NULL)

    def free(self) -> None:
        """Frees one that the caller has."""
        if self.given:
            _free_event(self._place)
            self.given = False


def _free_event(place: Any) -> None:
    verdict, place.verdict = place.verdict, NULL
    lib.dicast_verdict_free(verdict)
    error, place.error = place.error, NULL
    lib.dicast_error_free(error)


class Ticket:
    """A judgment that was submitted. Dropping it cancels the judgment. Any number of threads may use one."""

    def __init__(self, pointer: Any, listener: Optional[_Listener]) -> None:
        self._pointer = owned("ticket", pointer)
        self._listener = listener
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
        if not self._turn.acquired(wait / 1000):
            return self._outcome is not None
        try:
            place = self._place
            if self._outcome is None and not place.is_filled:
                lib.dicast_ticket_wait(self._pointer, wait, place.verdict, place.error)
            if place.is_filled:
                self._outcome = self._outcome or place.read()
                place.clear()
            return self._outcome is not None
        finally:
            self._turn.lock.release()


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
        options, texts = _submission(id, priority, deadline)
        listener = None
        if on_reasoning is not None:
            listener = _Listener(on_reasoning)
            options.on_reasoning = _on_reasoning
            options.reasoning_user_data = ffi.cast("void *", listener.number)
        out = ffi.new("dicast_ticket **")
        self._submit_with(request, options, out)
        del texts  # They live until here.
        ticket = Ticket(out[0], listener)
        raise_kept()
        return ticket

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
        options, texts = _submission(id, priority, deadline)
        options.events = events._pointer
        options.tag = tag
        self._submit_with(request, options, NULL)
        raise_kept()
        del texts  # They live until here.

    def _submit_with(self, request: Any, options: Any, ticket: Any) -> None:
        error = ffi.new("dicast_error **")
        check(lib.dicast_judge_submit_with(self._handle.get(), request, options, ticket, error), error)

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError


def _submission(name: str, priority: str, deadline: Optional[float]) -> Tuple[Any, Any]:
    """How a request is submitted, and the objects that must live as long as it is used."""
    options = ffi.new("dicast_submit_options *")
    options.struct_size = ffi.sizeof("dicast_submit_options")
    text = _library.view(name, "id")
    options.id = text
    options.priority = priority_of(priority)
    options.deadline_ms = milliseconds(deadline)
    return options, text


def priority_of(priority: str) -> int:
    """A priority, as the library takes it."""
    if not isinstance(priority, str) or priority not in _PRIORITIES:
        raise InvalidArgumentError(f'priority is {priority!r}: it must be "low", "normal" or "high"')
    return int(_PRIORITIES[priority])
