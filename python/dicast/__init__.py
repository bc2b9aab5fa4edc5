"""Judges responses by a principle in plain language.

    import dicast

    judge = dicast.from_pretrained("judge.gguf")
    result = judge.judge(
        principle="I prefer clear, concise and helpful responses.",
        prompt="How do I learn Python?",
        responses={"short": "Build small projects.", "long": "First of all, one should consider …"},
    )
    print(result.scores, result.expected_scores, result.ranking)

A verdict is complete, with a score and a place for every response, or it is a :class:`DicastError`. All names of the
``rewardanything`` package are here: a program written for it only changes its import. :mod:`dicast.trainers` has the
hooks that trainers call.
"""

from . import engine
from ._asking import MemoryNeed, TokenCount, memory_need
from ._groups import Batch, Group
from ._library import config_schema
from ._library import lib as _lib
from ._library import text_of as _text_of
from ._pins import Pin
from ._submitting import Event, Events, Ticket
from .client import Client
from .errors import (
    AsleepError,
    BatchError,
    ClosedError,
    ContextOverflowError,
    DicastError,
    EngineDeadError,
    EngineError,
    FileError,
    InternalError,
    InvalidArgumentError,
    InvalidConfigError,
    InvalidModelError,
    InvalidProfileError,
    InvalidRequestError,
    InvalidVerdictError,
    JudgmentCancelledError,
    JudgmentTimeoutError,
    ModelNotFoundError,
    NetworkError,
    OverloadedError,
    PartialVerdict,
    TooLargeError,
    UnsupportedError,
)
from .local import Judge, from_pretrained
from .models import JudgeInfo, JudgeStats, RewardRequest, RewardResponse, RewardResult, Timing, Usage
from .processing import parse_rewardanything_output, prepare_chat_messages
from .profiles import Profile

__version__: str = _text_of(_lib.dicast_version())

__all__ = [
    "AsleepError",
    "Batch",
    "BatchError",
    "Client",
    "ClosedError",
    "ContextOverflowError",
    "DicastError",
    "EngineDeadError",
    "EngineError",
    "Event",
    "Events",
    "FileError",
    "Group",
    "InternalError",
    "InvalidArgumentError",
    "InvalidConfigError",
    "InvalidModelError",
    "InvalidProfileError",
    "InvalidRequestError",
    "InvalidVerdictError",
    "Judge",
    "JudgeInfo",
    "JudgeStats",
    "JudgmentCancelledError",
    "JudgmentTimeoutError",
    "MemoryNeed",
    "ModelNotFoundError",
    "NetworkError",
    "OverloadedError",
    "PartialVerdict",
    "Pin",
    "Profile",
    "RewardRequest",
    "RewardResponse",
    "RewardResult",
    "Ticket",
    "Timing",
    "TokenCount",
    "TooLargeError",
    "UnsupportedError",
    "Usage",
    "config_schema",
    "engine",
    "from_pretrained",
    "memory_need",
    "parse_rewardanything_output",
    "prepare_chat_messages",
]
