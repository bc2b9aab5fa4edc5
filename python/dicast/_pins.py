"""Prefixes of prompts that a judge keeps computed."""

from __future__ import annotations

import threading
from typing import Any, List, Mapping, Optional

from . import _library
from ._handle import Handle
from ._library import check, ffi, lib, owned
from ._scope import Scoped

__all__ = ["Pin", "Warming"]

#: How long one wait lasts. Python handles signals, such as Ctrl-C, between two waits.
_SLICE = 0.1


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
        made: List[Any] = []

        def work() -> None:
            out, error = ffi.new("dicast_pin **"), ffi.new("dicast_error **")
            try:
                with self._handle as handle:
                    check(lib.dicast_judge_warm(handle, request, out, error), error)
                made.append(owned("pin", out[0]))
            except BaseException as failure:
                made.append(failure)

        # In a thread, so that Ctrl-C ends the wait; a pin that the thread still makes is freed with its last reference.
        thread = threading.Thread(target=work, name="dicast-warm", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_SLICE)
        if isinstance(made[0], BaseException):
            raise made[0]
        return Pin(made[0])

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError
