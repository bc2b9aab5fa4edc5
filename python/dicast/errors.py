"""The exceptions of Dicast.

Every error has a ``kind`` for programs, says whether the same request may succeed when it is sent again
(``retryable``), and keeps what could be read of an incomplete verdict (``partial``). New kinds may appear in any
release: they are plain :class:`DicastError`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

__all__ = [
    "AsleepError",
    "BatchError",
    "ClosedError",
    "ContextOverflowError",
    "DicastError",
    "EngineDeadError",
    "EngineError",
    "FileError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidConfigError",
    "InvalidModelError",
    "InvalidProfileError",
    "InvalidRequestError",
    "InvalidVerdictError",
    "JudgmentCancelledError",
    "JudgmentTimeoutError",
    "ModelNotFoundError",
    "NetworkError",
    "OverloadedError",
    "PartialVerdict",
    "TooLargeError",
    "UnsupportedError",
]


@dataclass(frozen=True)
class PartialVerdict:
    """What could be read of a verdict that is not complete."""

    #: All scores by name, or None if one of them is doubtful.
    scores: Optional[Dict[str, float]]
    #: The whole ranking, best first, if only the ranking could be read.
    ranking: Optional[List[str]]
    #: The judge's reasoning.
    reasoning: str
    #: The judge's whole output as it came.
    raw: str


class DicastError(Exception):
    """The base of all errors of Dicast."""

    #: The name of the class of error, such as ``context_overflow``.
    kind: str = "internal"
    #: Whether the same request may succeed when it is sent again; after an incomplete verdict, with another seed.
    retryable: bool = False
    #: What could be read of an incomplete verdict.
    partial: Optional[PartialVerdict] = None

    def __init__(
        self,
        message: str,
        *,
        kind: Optional[str] = None,
        retryable: Optional[bool] = None,
        partial: Optional[PartialVerdict] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if kind is not None:
            self.kind = kind
        if retryable is not None:
            self.retryable = retryable
        if partial is not None:
            self.partial = partial

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> Tuple[Any, ...]:
        # Errors are sent between the processes of a trainer. The default way would lose the keyword arguments.
        return _restore, (type(self), self.message, self.kind, self.retryable, self.partial)


def _restore(
    cls: Type[DicastError], message: str, kind: str, retryable: bool, partial: Optional[PartialVerdict]
) -> DicastError:
    return cls(message, kind=kind, retryable=retryable, partial=partial)


class InvalidRequestError(DicastError, ValueError):
    """The request is malformed: no responses, something that is not text, an option out of its range."""

    kind = "invalid_request"


class TooLargeError(DicastError, ValueError):
    """The request exceeds a limit of the configuration."""

    kind = "too_large"


class ContextOverflowError(DicastError, ValueError):
    """The request and what may be generated do not fit the model's context. Nothing was generated, nothing cut."""

    kind = "context_overflow"


class InvalidConfigError(DicastError, ValueError):
    """A setting is unknown or out of its range."""

    kind = "invalid_config"


class InvalidProfileError(DicastError, ValueError):
    """A judge profile cannot be read, or is missing where the model needs one."""

    kind = "invalid_profile"


class ModelNotFoundError(DicastError, FileNotFoundError):
    """There is no model at the given place."""

    kind = "model_not_found"


class InvalidModelError(DicastError, ValueError):
    """The model is damaged or lacks something that a judge needs."""

    kind = "invalid_model"


class UnsupportedError(DicastError, NotImplementedError):
    """This build or this engine cannot do what was asked."""

    kind = "unsupported"


class OverloadedError(DicastError):
    """The queue is full. Send the request again when judgments have ended."""

    kind = "overloaded"
    retryable = True


class JudgmentTimeoutError(DicastError, TimeoutError):
    """The deadline of the request passed."""

    kind = "timeout"
    retryable = True


class JudgmentCancelledError(DicastError):
    """The judgment was cancelled."""

    kind = "cancelled"
    retryable = True


class InvalidVerdictError(DicastError):
    """The judge answered, but not with a complete verdict; ``partial`` has what could be read."""

    kind = "invalid_verdict"
    retryable = True


class EngineError(DicastError, RuntimeError):
    """The engine failed while it worked on the request."""

    kind = "engine"
    retryable = True


class EngineDeadError(EngineError):
    """The engine is dead: every request fails. Close the judge and open it again."""

    kind = "engine_dead"
    retryable = False


class AsleepError(DicastError, RuntimeError):
    """The judge sleeps, and requests do not wait for it. Wake it, or send the request again later."""

    kind = "asleep"
    retryable = True


class ClosedError(DicastError, RuntimeError):
    """The judge was closed, or belongs to the process that this one was forked from."""

    kind = "closed"


class FileError(DicastError, OSError):
    """A file could not be read or written."""

    kind = "io"


class NetworkError(DicastError, ConnectionError):
    """A remote service could not be reached or refused."""

    kind = "network"
    retryable = True


class InternalError(DicastError, RuntimeError):
    """A defect of the library. Please report it."""

    kind = "internal"


class InvalidArgumentError(DicastError, ValueError):
    """A call breaks the rules of the C interface: a defect of this package."""

    kind = "invalid_argument"


class BatchError(DicastError):
    """Some judgments of a batch failed. None of the others is lost: they are in ``results``.

    ``kind``, ``retryable`` and ``partial`` are those of the first failed judgment, and so is the class: a batch whose
    first error is an :class:`OverloadedError` is caught as one.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Optional[str] = None,
        retryable: Optional[bool] = None,
        partial: Optional[PartialVerdict] = None,
        results: Sequence[Any] = (),
    ) -> None:
        super().__init__(message, kind=kind, retryable=retryable, partial=partial)
        #: One entry for each request, in their order: a RewardResult, or the DicastError of that judgment.
        self.results: List[Any] = list(results)

    @classmethod
    def of(cls, results: Sequence[Any]) -> BatchError:
        """The error of a batch, made from its results; at least one of them is an error."""
        failed = [(index, result) for index, result in enumerate(results) if isinstance(result, DicastError)]
        index, first = failed[0]
        message = f"{len(failed)} of {len(results)} judgments failed; the first, at index {index}: {first}"
        made = _batch_class(cls, type(first))  # type: ignore[arg-type]
        error = made(message, kind=first.kind, retryable=first.retryable, partial=first.partial, results=results)
        # Attributes that programs read from exceptions of `requests`.
        for name in ("request", "response"):
            if hasattr(first, name):
                setattr(error, name, getattr(first, name))
        error.__cause__ = first
        return error

    def __reduce__(self) -> Tuple[Any, ...]:
        return _restore_batch, (self.message, self.kind, self.retryable, self.partial, self.results)


def _restore_batch(
    message: str, kind: str, retryable: bool, partial: Optional[PartialVerdict], results: List[Any]
) -> BatchError:
    if any(isinstance(result, DicastError) for result in results):
        return BatchError.of(results)
    return BatchError(message, kind=kind, retryable=retryable, partial=partial, results=results)


@functools.lru_cache(maxsize=None)
def _batch_class(batch: Type[BatchError], first: Type[DicastError]) -> Type[BatchError]:
    """A class of batch errors that is also caught as `first`."""
    if issubclass(batch, first) or issubclass(first, batch):
        return batch
    names = {"__module__": batch.__module__, "__qualname__": batch.__qualname__, "__doc__": batch.__doc__}
    return type(batch.__name__, (batch, first), {**names, "__reduce__": batch.__reduce__})


_CLASSES: Dict[str, Type[DicastError]] = {
    cls.kind: cls
    for cls in (
        InvalidRequestError,
        TooLargeError,
        ContextOverflowError,
        InvalidConfigError,
        InvalidProfileError,
        ModelNotFoundError,
        InvalidModelError,
        UnsupportedError,
        OverloadedError,
        JudgmentTimeoutError,
        JudgmentCancelledError,
        InvalidVerdictError,
        EngineError,
        EngineDeadError,
        AsleepError,
        ClosedError,
        FileError,
        NetworkError,
        InternalError,
        InvalidArgumentError,
    )
}


def error_of(
    kind: str, message: str, *, retryable: Optional[bool] = None, partial: Optional[PartialVerdict] = None
) -> DicastError:
    """The exception for a kind of error."""
    return _CLASSES.get(kind, DicastError)(message, kind=kind, retryable=retryable, partial=partial)


def retryable_of(value: Dict[str, Any]) -> Optional[bool]:
    """Reads the ``retryable`` of an error's JSON; None if it has none."""
    retryable = value.get("retryable")
    return retryable if isinstance(retryable, bool) else None


def partial_of(value: Union[Dict[str, Any], None]) -> Optional[PartialVerdict]:
    """Reads the ``partial`` of an error's JSON."""
    if not isinstance(value, dict):
        return None
    return PartialVerdict(
        scores=value.get("scores"),
        ranking=value.get("ranking"),
        reasoning=value.get("reasoning") or "",
        raw=value.get("raw") or "",
    )
