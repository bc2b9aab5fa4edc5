"""The handle of a judge of the library."""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, Optional

from ._interrupts import raise_kept
from ._library import NULL, check, ffi, lib, text_of
from ._times import milliseconds
from .errors import ClosedError, InvalidArgumentError


class Handle:
    """A judge of the library.

    Calls get it from :meth:`get` and hold it only as their argument. So its references say which calls are running,
    whatever Ctrl-C interrupts: a count that a thread has to lower again, or a lock, could stay behind.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def get(self) -> Any:
        """The handle, as the argument of one call."""
        raise_kept()
        pointer = self._pointer
        if pointer is None:
            raise ClosedError("the judge was closed")
        return pointer

    def text(self, function: Any) -> str:
        """A text that a function of the library gives; it lies in the judge."""
        pointer = self.get()
        return text_of(function(pointer))

    def close(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        # Ends the pending judgments, so that the threads that wait for them return soon.
        lib.dicast_judge_close(pointer, NULL)
        while sys.getrefcount(pointer) > _OWN:
            time.sleep(0.001)
        # Returns when the last callback has returned: after that, this judge calls no Python code.
        ffi.release(pointer)


def _own() -> int:
    """The references to an object that nobody has but one variable."""
    pointer = object()
    return sys.getrefcount(pointer)


_OWN = _own()


def sleep_options(arriving: str, cancel_running: bool, patience: Optional[float]) -> Any:
    """How to fall asleep, in the form of the C interface."""
    kinds = {"wait": lib.DICAST_ARRIVING_WAIT, "fail": lib.DICAST_ARRIVING_FAIL}
    if not isinstance(arriving, str) or arriving not in kinds:
        raise InvalidArgumentError(f'arriving is {arriving!r}: it must be "wait" or "fail"')
    options = ffi.new("dicast_sleep_options *")
    options.struct_size = ffi.sizeof("dicast_sleep_options")
    options.arriving = kinds[arriving]
    options.cancel_running = bool(cancel_running)
    options.patience_ms = milliseconds(patience, "patience")
    return options


def struct_of(name: str, function: Any, *arguments: Any) -> Dict[str, Any]:
    """The fields of a struct that the library fills in. A :class:`Handle` among the arguments stands for its judge."""
    value, error = ffi.new(f"{name} *"), ffi.new("dicast_error **")
    value.struct_size = ffi.sizeof(name)
    called = (one.get() if isinstance(one, Handle) else one for one in arguments)
    check(function(*called, value, error), error)
    return {field: getattr(value, field) for field, _ in ffi.typeof(name).fields if field != "struct_size"}
