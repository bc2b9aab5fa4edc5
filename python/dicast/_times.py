"""Times from Python: checked, and in the units of the library."""

from __future__ import annotations

import itertools
import math
import numbers
import time
from typing import Any, Iterator, Optional

from ._interrupts import raise_kept
from .errors import InvalidArgumentError

__all__ = ["SLICE_MS", "milliseconds", "slices"]

#: How long one wait in the library lasts. Python handles signals, such as Ctrl-C, between two waits; what is left of a
#: quarter of a second is for cancelling a large batch.
SLICE_MS = 100

#: The longest time in seconds. In milliseconds it fits 64 bits.
_MOST = 1e12


def milliseconds(seconds: Optional[float], what: str = "deadline") -> int:
    """A time in seconds, as the library takes it: 0 is none."""
    if seconds is None:
        return 0
    return max(1, math.ceil(_checked(seconds, what, "") * 1000))


def slices(timeout: Optional[float]) -> Iterator[int]:
    """Waits in milliseconds that add up to `timeout` seconds; endless for None."""
    if timeout is None:
        for wait in itertools.repeat(SLICE_MS):
            raise_kept()
            yield wait
    else:
        if _is_number(timeout) and timeout < 0:
            timeout = 0.0
        end = time.monotonic() + _checked(timeout, "timeout", "; None waits without limit")
        while True:
            raise_kept()
            left = end - time.monotonic()
            yield max(0, min(SLICE_MS, math.ceil(left * 1000)))
            if left <= 0:
                return


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _checked(value: Any, what: str, hint: str) -> float:
    if not _is_number(value) or not 0 <= value <= _MOST:
        raise InvalidArgumentError(f"{what} is {value!r}: it must be a number of seconds from 0 to 1e12{hint}")
    return float(value)
