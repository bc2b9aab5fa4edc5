"""Paths and texts that the tests share."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Callable, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "demo" / "dicast-demo.gguf"
CONCISE = "I prefer clear, concise and helpful responses over long and detailed ones."


def called_here(function: Callable[..., Any], *arguments: Any) -> Tuple[int, Any]:
    """The number of this process, and the result of a function in it. Another process can import this."""
    return os.getpid(), function(*arguments)
