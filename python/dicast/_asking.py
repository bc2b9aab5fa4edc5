"""Further information from a judge: figures for a dashboard, the tokens of a request before it is submitted, memory."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Union

from . import _library
from ._handle import Handle, struct_of
from ._library import check, ffi, lib, owned, text_of
from .errors import InvalidArgumentError

__all__ = ["Asking", "MemoryNeed", "TokenCount", "memory_need"]


@dataclass(frozen=True)
class TokenCount:
    """How many tokens a request takes."""

    #: Tokens of the prompt; of the longest one, if the judgment has several runs.
    prompt_tokens: int
    #: Tokens of the prompts of all runs.
    all_prompt_tokens: int
    #: Tokens at the start of each prompt that all prompts of this judge have in common.
    shared_tokens: int
    #: Most tokens that a run may write, reasoning and verdict together.
    output_tokens: int
    #: Tokens of prompt and output together that the context holds; 0 if the engine does not say.
    context_tokens: int
    #: Number of generations for the judgment: 1, or more for an ensemble, a rubric or blocks.
    runs: int
    #: Whether prompt and output fit the context; also true if that is not known.
    fits: bool
    #: Whether the engine itself says how much may be written; otherwise it is an estimate.
    exact: bool


@dataclass(frozen=True)
class MemoryNeed:
    """How much memory opening a model in the embedded engine takes, in bytes: a few percent above measured values."""

    #: The weights. With ``local.mmap``, the default, the system can take this memory back, except for those that
    #: ``local.repack`` arranges for the processor.
    weights: int
    #: Keys and values of all judgments together.
    kv_cache: int
    #: Buffers for computing a step, and all the rest.
    compute: int
    #: Number of tokens that the keys and values are for.
    kv_tokens: int
    #: Memory that this process can still take; 0 if the system does not say.
    available: int


def memory_need(model: Union[str, "os.PathLike[str]"], **sections: Optional[Mapping[str, Any]]) -> MemoryNeed:
    """How much memory opening a judge takes. Only the header of its model file is read; nothing is loaded.

    ``sections`` are those of :class:`Judge`, such as ``local={"context_tokens": 4096}``. For the embedded engine only;
    with other models it raises :class:`UnsupportedError`.
    """
    config: Dict[str, Any] = {"model": os.fspath(model)}
    config.update((name, dict(part)) for name, part in sections.items() if part is not None)
    view = _library.view(_library.options_json(config, "the configuration"), "the configuration")
    need = struct_of("dicast_memory", lambda need, error: lib.dicast_memory_need(view, need, error))
    return MemoryNeed(**need)


class Asking:
    """The part of a judge that answers questions."""

    _handle: Handle

    def metrics(self) -> Dict[str, Any]:
        """What the judge has done since it was opened: outcomes, times by phase in histograms, tokens, rates, reuse."""
        # The text lives as long as the snapshot, which is kept until the text is read.
        snapshot = self._metrics("")
        metrics: Dict[str, Any] = json.loads(text_of(lib.dicast_metrics_json(snapshot)))
        return metrics

    def prometheus(self, labels: Optional[Mapping[str, str]] = None) -> str:
        """The same in the text format of Prometheus, for a /metrics page. Every line has the labels."""
        snapshot = self._metrics(_labels(labels or {}))
        return text_of(lib.dicast_metrics_prometheus(snapshot))

    def count(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        **generation: Any,
    ) -> TokenCount:
        """Counts the tokens of a request and says whether it fits, without judging it.

        Raises :class:`UnsupportedError` if the engine makes the tokens itself, as most servers do.
        """
        options = self._options(mask_responses, generation)
        request = _library.request_new(principle, prompt, responses, options)
        found = struct_of(
            "dicast_count",
            lambda judge, count, error: lib.dicast_judge_count(judge, request, count, error),
            self._handle,
        )
        found.update(fits=bool(found["fits"]), exact=bool(found["exact"]))
        return TokenCount(**found)

    def set_log_level(self, level: Union[int, str]) -> None:
        """From now on, logs lines up to this level: one of :mod:`logging`, such as ``logging.DEBUG`` or "debug".

        When a judge is opened, it takes the current level of the logger ``dicast``.
        """
        if isinstance(level, str):
            number = getattr(logging, level.upper(), None)
        else:
            number = level
        if not isinstance(number, int):
            raise InvalidArgumentError(f"level is {level!r}: it must be one of logging, such as logging.DEBUG")
        wanted = lib.DICAST_LOG_ERROR
        for least, kind in (
            (logging.WARNING, lib.DICAST_LOG_WARN),
            (logging.INFO, lib.DICAST_LOG_INFO),
            (logging.DEBUG, lib.DICAST_LOG_DEBUG),
        ):
            if number <= least:
                wanted = kind
        error = ffi.new("dicast_error **")
        check(lib.dicast_judge_set_log_level(self._handle.get(), wanted, error), error)

    def _metrics(self, labels: str) -> Any:
        out, error = ffi.new("dicast_metrics **"), ffi.new("dicast_error **")
        check(lib.dicast_judge_metrics(self._handle.get(), _library.view(labels, "labels"), out, error), error)
        return owned("metrics", out[0])

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError


def _labels(labels: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items())
