"""Places and texts that the tests share."""

from __future__ import annotations

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "demo" / "dicast-demo.gguf"
CONCISE = "I prefer clear, concise and helpful responses over long and detailed ones."
