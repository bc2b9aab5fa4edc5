"""Ctrl-C comes when a judge is loaded but for handing it over. The program ends at once, while the judge is freed."""

from __future__ import annotations

import logging
import sys

import dicast
from dicast import _progress

# What ends a judge is logged too, in its own threads.
logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])


def goes_on(self: _progress._Load, part: float) -> bool:
    self._hear(part)
    return True  # The library does not learn that loading was ended, as after it has asked for the last time.


def interrupted(part: float) -> None:
    if part == 1:
        raise KeyboardInterrupt


_progress._Load.goes_on = goes_on  # type: ignore[method-assign]
try:
    dicast.Judge(sys.argv[1], progress=interrupted)
except KeyboardInterrupt:
    print("caught")
