"""Prefixes of prompts that a judge keeps computed."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from . import _library
from ._handle import Handle
from ._interrupts import apart
from ._library import check, ffi, lib, owned
from ._scope import Scoped

__all__ = ["Pin", "Warming"]


class Pin(Scoped):
    """The beginning of prompts, which a judge keeps computed until :meth:`free`, or until the ``with`` block ends.

    Nothing is kept any more once the judge sleeps, takes other weights or is closed.
    """

    def __init__(self, pointer: Any) -> None:
        self._pointer = pointer
        #: How many tokens are kept, of all criteria of a rubric together.
        self.tokens: int = int(lib.dicast_pin_tokens(pointer))

    def free(self) -> None:
        """Frees the prefix. Freeing it twice is fine."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)

    def _leave(self) -> None:
        self.free()


class Warming:
    """The part of a judge that is warmed up."""

    _handle: Handle

    def warm(self, principle: str, prompt: str = "", **generation: Any) -> Pin:
        """Computes the shared beginning of the prompts of many judgments, and keeps it until the result is freed.

        With a principle alone that is the beginning of every prompt with this principle; with a prompt it reaches up to
        the responses. The first judgment need not compute it, and other judgments do not displace it:

            with judge.warm("Prefer short answers."):
                results = judge.judge_batch(requests)

        It waits until all is computed, at most for ``timeout_ms`` (one of ``generation``). Raises an
        :class:`UnsupportedError` on engines other than the embedded one, and with ``local.deterministic``; an
        :class:`OverloadedError` if the judge keeps too much already: free one; a :class:`JudgmentCancelledError` if the
        judge falls asleep with ``cancel_running``.
        """
        request = _library.request_new(principle, prompt, {}, self._options(True, generation))

        def made() -> Any:
            out, error = ffi.new("dicast_pin **"), ffi.new("dicast_error **")
            check(lib.dicast_judge_warm(self._handle.get(), request, out, error), error)
            return owned("pin", out[0])

        # After Ctrl-C, a pin that is still made is freed with its last reference.
        return Pin(apart(made))

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError
