"""The handle of a judge of the library."""

from __future__ import annotations

import threading
from typing import Any, Dict, Optional

from ._library import NULL, check, ffi, lib
from ._times import milliseconds
from .errors import ClosedError, InvalidArgumentError


class Handle:
    """A judge of the library, and how many threads are using it."""

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        self._users = 0
        self._unused = threading.Condition()

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def __enter__(self) -> Any:
        with self._unused:
            if self._pointer is None:
                raise ClosedError("the judge was closed")
            self._users += 1
            return self._pointer

    def __exit__(self, *_: Any) -> None:
        with self._unused:
            self._users -= 1
            if not self._users:
                self._unused.notify_all()

    def close(self) -> None:
        with self._unused:
            pointer, self._pointer = self._pointer, None
        if pointer is None:
            return
        # Ends the pending judgments, so that the threads that wait for them return soon.
        lib.dicast_judge_close(pointer, NULL)
        with self._unused:
            self._unused.wait_for(lambda: not self._users)
        # Returns when the last callback has returned: after that, this judge calls no Python code.
        ffi.release(pointer)

    def forked(self) -> None:
        """In a forked child: the threads that held the lock or used the judge do not exist here."""
        self._users = 0
        self._unused = threading.Condition()


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


def struct_of(name: str, function: Any, handle: Any) -> Dict[str, Any]:
    """The fields of a struct that the library fills in."""
    value, error = ffi.new(f"{name} *"), ffi.new("dicast_error **")
    value.struct_size = ffi.sizeof(name)
    check(function(handle, value, error), error)
    return {field: getattr(value, field) for field, _ in ffi.typeof(name).fields if field != "struct_size"}
