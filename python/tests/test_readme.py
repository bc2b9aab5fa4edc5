"""The examples of the README work."""

from __future__ import annotations

import re
from typing import Any, Dict

import pytest

from support import MODEL, ROOT


def test_the_examples_run_one_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "python/README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 6
    names: Dict[str, Any] = {}
    for block in blocks:
        exec(block.replace('"judge.gguf"', repr(str(MODEL))), names)
    assert "timeout True None" in capsys.readouterr().out
    assert names["result"].scores == {names["masked2real"]["model-1"]: 2, names["masked2real"]["model-2"]: 5}
    names["judge"].close()
