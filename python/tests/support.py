"""Places and texts that the tests share."""

from __future__ import annotations

import os
import pathlib
from typing import Any, Callable, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "demo" / "dicast-demo.gguf"
CONCISE = "I prefer clear, concise and helpful responses over long and detailed ones."


def called_here(function: Callable[..., Any], *arguments: Any) -> Tuple[int, Any]:
    """What a function gives in this process, whose number comes first. Another process can import it."""
    return os.getpid(), function(*arguments)
