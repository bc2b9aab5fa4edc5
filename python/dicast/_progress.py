"""Callbacks that get the progress of loading a model, and may end it."""

from __future__ import annotations

import itertools
import weakref
from types import TracebackType
from typing import Any, Callable, Optional

from ._library import error_taken, ffi
from .errors import InvalidArgumentError

__all__ = ["Progress", "Watch"]

#: Gets the part that is loaded, from 0 to 1; False ends the loading.
Progress = Callable[[float], Optional[bool]]


class Watch:
    """Watches the loading of one judge: when it is opened, wakes, or takes other weights."""

    def __init__(self, hear: Optional[Progress] = None) -> None:
        if hear is not None and not callable(hear):
            raise InvalidArgumentError(f"progress is {type(hear).__name__}: it must be a function of the part loaded")
        self.hear = hear
        #: The exception that it raised.
        self.raised: Optional[BaseException] = None
        self.number = next(_numbers)
        _watches[self.number] = self

    def set(self, options: Any) -> None:
        """Has the library tell it. Needed also where nobody hears: it is then that Python handles Ctrl-C."""
        options.progress = _on_progress
        options.progress_user_data = ffi.cast("void *", self.number)

    def check(self, status: int, error: Any) -> None:
        """Raises what was raised meanwhile, or what the call gave through `error`, if it failed."""
        raised, self.raised = self.raised, None
        if status:
            failure = error_taken(error[0])
            raise failure if raised is None else raised


#: By the number that the library hands back. A judge holds its own.
_watches: "weakref.WeakValueDictionary[int, Watch]" = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


def _tell(user_data: Any, part: float) -> bool:
    watch = _watches.get(int(ffi.cast("uintptr_t", user_data)))
    return watch is None or watch.hear is None or watch.hear(part) is not False


def _failed(_kind: Any, error: BaseException, traceback: Optional[TracebackType]) -> bool:
    """Ends the loading; the call that loads raises the error."""
    if traceback is not None:
        user_data = traceback.tb_frame.f_locals.get("user_data")
        if user_data is not None:
            watch = _watches.get(int(ffi.cast("uintptr_t", user_data)))
            if watch is not None:
                watch.raised = error
    return False


#: What the library calls. Never freed: it serves all judges for as long as the program runs.
_on_progress = ffi.callback("dicast_progress_callback", _tell, error=False, onerror=_failed)
