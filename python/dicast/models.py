"""Requests and results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Type, TypeVar, Union

from .errors import InvalidRequestError

__all__ = ["JudgeInfo", "JudgeStats", "RewardRequest", "RewardResponse", "RewardResult", "Timing", "Usage"]


class Usage(NamedTuple):
    """Tokens of one judgment."""

    #: Tokens of the prompt.
    prompt_tokens: int = 0
    #: Of these, tokens that had been computed before.
    reused_tokens: int = 0
    #: Tokens of the reasoning, its opening and closing included.
    reasoning_tokens: int = 0
    #: Tokens of the verdict.
    verdict_tokens: int = 0
    #: Of these, tokens that the grammar forced.
    forced_tokens: int = 0


class Timing(NamedTuple):
    """Where the time of one judgment went, in milliseconds."""

    #: From submission to the first computation.
    queue: float = 0.0
    #: Computing the prompt.
    prefill: float = 0.0
    #: Writing the reasoning.
    reasoning: float = 0.0
    #: Writing the verdict.
    verdict: float = 0.0


@dataclass
class RewardResult:
    """A complete verdict: a score and a place in the ranking for every response of the request, by their names."""

    #: The judge's reasoning, without its tags; empty where it did not think.
    reasoning: str
    #: The scores as the judge wrote them, whole numbers as ``int``, in the order of the request.
    scores: Dict[str, float]
    #: The names, best first.
    ranking: List[str]
    #: The judge's whole output as it came.
    raw_output: Optional[str] = None
    #: The mean of each score's distribution, a finer reward than the digit; None where the engine gives none.
    expected_scores: Dict[str, Optional[float]] = field(default_factory=dict)
    #: The probability of each score of the scale, the worst first; None where the engine gives none.
    distributions: Dict[str, Optional[List[float]]] = field(default_factory=dict)
    #: What had to be repaired to read the verdict: names of repairs, or ``{name: what it quotes}``.
    repairs: List[Union[str, Dict[str, str]]] = field(default_factory=list)
    #: What a reader should know, such as ``inconsistent_ranking``, in the same form.
    flags: List[Union[str, Dict[str, str]]] = field(default_factory=list)
    #: The response's name by the name that the judge saw, in the order it saw them.
    aliases: Dict[str, str] = field(default_factory=dict)
    #: Which weights judged: 0 those that the judge was opened with, then one more with each reload.
    weights: int = field(default=0, compare=False)
    #: Tokens of the judgment.
    usage: Usage = field(default=Usage(), compare=False)
    #: Times of the judgment.
    timing: Timing = field(default=Timing(), compare=False)
    #: The runs of an ensemble, their standard errors, agreement and what each place did; None for a single run.
    ensemble: Optional[Dict[str, Any]] = None
    #: What each criterion of a rubric gave: ``merge`` and ``criteria``; None without a rubric.
    rubric: Optional[Dict[str, Any]] = None
    #: The rewards that the request asked for (``reward``): ``kind``, and by name ``values`` and ``spreads``.
    rewards: Optional[Dict[str, Any]] = None

    def __str__(self) -> str:
        return f"RewardResult(scores={self.scores}, ranking={self.ranking})"

    __repr__ = __str__

    @classmethod
    def from_verdict(cls, verdict: Mapping[str, Any]) -> RewardResult:
        """Reads the JSON form of a verdict, as the library, the command line and the server write it."""
        return cls(
            reasoning=verdict["reasoning"],
            scores=verdict["scores"],
            ranking=verdict["ranking"],
            raw_output=verdict.get("raw"),
            expected_scores=verdict.get("expected_scores") or {},
            distributions=verdict.get("distributions") or {},
            repairs=verdict.get("repairs") or [],
            flags=verdict.get("flags") or [],
            aliases=verdict.get("aliases") or {},
            weights=int(verdict.get("weights") or 0),
            usage=_known(Usage, verdict.get("usage")),
            timing=_known(Timing, verdict.get("timing_ms")),
            ensemble=verdict.get("ensemble"),
            rubric=verdict.get("rubric"),
            rewards=verdict.get("rewards"),
        )


_Counts = TypeVar("_Counts", Usage, Timing)


def _known(cls: Type[_Counts], values: Optional[Mapping[str, Any]]) -> _Counts:
    """Makes a `cls` of those values that it knows: a later library may count more."""
    if not values:
        return cls()
    return cls(**{name: values[name] for name in cls._fields if name in values})


_Model = TypeVar("_Model", bound="_Model_")


class _Model_:
    """The methods of pydantic models that programs call on requests and responses."""

    @classmethod
    def model_validate(cls: Type[_Model], value: Mapping[str, Any]) -> _Model:
        """Makes one of a mapping; what it does not know is ignored."""
        if not isinstance(value, Mapping):
            raise InvalidRequestError(f"a {cls.__name__} is made of a mapping, not of {type(value).__name__}")
        names = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{name: item for name, item in value.items() if name in names})
        except TypeError as error:
            raise InvalidRequestError(str(error)) from None

    def model_dump(self) -> Dict[str, Any]:
        """As a dictionary."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]

    def model_dump_json(self) -> str:
        """As JSON."""
        return json.dumps(self.model_dump(), ensure_ascii=False)

    dict = model_dump
    json = model_dump_json


@dataclass
class RewardRequest(_Model_):
    """What is to be judged. ``judge_batch`` takes these as well as dictionaries."""

    #: The principle to judge by, in plain language.
    principle: str
    #: What the responses respond to.
    prompt: str
    #: The responses by name, in order.
    responses: Dict[str, str]
    #: Whether the names are hidden from the judge.
    mask_responses: bool = True

    def __post_init__(self) -> None:
        for name in ("principle", "prompt"):
            if not isinstance(getattr(self, name), str):
                raise InvalidRequestError(f"{name} is {type(getattr(self, name)).__name__}: it must be str")
        if not isinstance(self.responses, Mapping):
            raise InvalidRequestError(f"responses is {type(self.responses).__name__}: it must map names to texts")


@dataclass
class RewardResponse(_Model_):
    """What a server answers."""

    #: The judge's reasoning.
    thoughts: str
    #: ``{"scores": {name: score}, "best-to-worst": [name]}``.
    results: Dict[str, Any]


@dataclass(frozen=True)
class JudgeInfo:
    """What a judge is."""

    #: The engine: ``local``, ``trtllm`` or ``remote``.
    engine: str
    #: Most tokens of one judgment, prompt and output together.
    context_tokens: int
    #: Judgments that are computed at once.
    max_sequences: int
    #: Most judgments that wait or run at once.
    max_queue: int
    #: Most responses in one request.
    max_responses: int
    #: The worst score.
    scale_min: int
    #: The best score.
    scale_max: int
    #: Whether the engine can hold a verdict to a grammar.
    guided: bool
    #: Whether the engine gives distributions, and so expected scores.
    distributions: bool


@dataclass(frozen=True)
class JudgeStats:
    """Counters of a judge. All but ``pending`` are 0 once it is closed."""

    #: Judgments that were submitted and have not ended.
    pending: int
    #: Judgments that wait for a place in the engine.
    waiting: int
    #: Judgments that are being computed.
    running: int
    #: Prompt tokens taken over from what was computed before.
    reused_tokens: int
    #: Tokens computed.
    computed_tokens: int
    #: Batches computed.
    steps: int
    #: Tokens of one block of keys and values; 0 where the engine does not count in blocks, as are the three after it.
    kv_block_tokens: int
    #: Blocks of keys and values that there are.
    kv_blocks: int
    #: Of these, blocks that running judgments hold.
    kv_blocks_used: int
    #: Blocks taken over from earlier judgments instead of being computed.
    kv_blocks_reused: int
    #: Different grammars that a TensorRT-LLM executor was given in the last hour; compiling each holds up its step.
    grammars_last_hour: int
