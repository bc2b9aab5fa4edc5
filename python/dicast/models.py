"""Requests and results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Type, TypeVar, Union

from ._model import Model, PairsModel, as_bool
from .errors import InvalidRequestError

__all__ = ["JudgeInfo", "JudgeStats", "RewardRequest", "RewardResponse", "RewardResult", "Timing", "Usage", "as_bool"]


class Usage(NamedTuple):
    """Tokens of one judgment."""

    #: Tokens of the prompt.
    prompt_tokens: int = 0
    #: Of these, tokens that were reused from earlier judgments.
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
class RewardResult(Model):
    """A complete verdict: a score and a place in the ranking for every response of the request, by their names.

    Two results are equal if the judge said the same: reasoning, scores, ranking and output. Other facts about a
    judgment (expected scores, aliases, tokens, times) are not compared. It has the methods of pydantic's models that
    :class:`RewardRequest` has.
    """

    #: The judge's reasoning, without its tags; empty if it did not reason.
    reasoning: str
    #: The scores as the judge wrote them, whole numbers as ``int``, in the order of the request.
    scores: Dict[str, float]
    #: The names, best first.
    ranking: List[str]
    #: The judge's whole output as it came.
    raw_output: Optional[str] = None
    #: The mean of each score's distribution, a finer reward than the digit; None if the engine gives none.
    expected_scores: Dict[str, Optional[float]] = field(default_factory=dict, compare=False)
    #: The probability of each score of the scale, the worst first; None if the engine gives none.
    distributions: Dict[str, Optional[List[float]]] = field(default_factory=dict, compare=False)
    #: How likely the judge would have written a score of the scale if no grammar had held it to one; empty or None if
    #: the engine does not see all tokens (the embedded one does).
    scale_mass: Dict[str, Optional[float]] = field(default_factory=dict, compare=False)
    #: What had to be repaired to read the verdict: names of repairs, or ``{name: what it quotes}``.
    repairs: List[Union[str, Dict[str, str]]] = field(default_factory=list, compare=False)
    #: What a reader should know, such as ``inconsistent_ranking``, in the same form.
    flags: List[Union[str, Dict[str, str]]] = field(default_factory=list, compare=False)
    #: The real name of each response by the alias that the judge saw, in the order shown.
    aliases: Dict[str, str] = field(default_factory=dict, compare=False)
    #: Which weights judged: 0 is the set that the judge was opened with, and each reload adds one.
    weights: int = field(default=0, compare=False)
    #: Tokens of the judgment.
    usage: Usage = field(default=Usage(), compare=False)
    #: Times of the judgment.
    timing: Timing = field(default=Timing(), compare=False)
    #: The runs of an ensemble, their standard errors, agreement and the effect of each place; None for a single run.
    ensemble: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: The blocks of the responses: ``anchors``, ``clipped`` and ``blocks``; None if one prompt held all.
    blocks: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: What each criterion of a rubric gave: ``merge`` and ``criteria``; None without a rubric.
    rubric: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: The rewards that the request asked for (``reward``): ``kind``, and by name ``values`` and ``spreads``.
    rewards: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: How sure a calibrated judge is of each pair of responses, and where it abstains: ``error_rate``, ``threshold``,
    #: ``wins`` by name and ``pairs``; None if the profile has no calibration.
    preferences: Optional[Dict[str, Any]] = field(default=None, compare=False)

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
            scale_mass=verdict.get("scale_mass") or {},
            repairs=verdict.get("repairs") or [],
            flags=verdict.get("flags") or [],
            aliases=verdict.get("aliases") or {},
            weights=int(verdict.get("weights") or 0),
            usage=_known(Usage, verdict.get("usage")),
            timing=_known(Timing, verdict.get("timing_ms")),
            ensemble=verdict.get("ensemble"),
            blocks=verdict.get("blocks"),
            rubric=verdict.get("rubric"),
            rewards=verdict.get("rewards"),
            preferences=verdict.get("preferences"),
        )


_Counts = TypeVar("_Counts", Usage, Timing)


def _known(cls: Type[_Counts], values: Optional[Mapping[str, Any]]) -> _Counts:
    """Makes a `cls` from those values that it has: a later library may give more."""
    if not values:
        return cls()
    return cls(**{name: values[name] for name in cls._fields if name in values})


#: What an argument is that the caller did not give.
_NOT_GIVEN: Any = object()


@dataclass(init=False)
class RewardRequest(PairsModel):
    """What to judge. ``judge_batch`` takes these as well as dictionaries.

    It is created like a model of pydantic: unknown fields, such as further columns of a data set, are ignored,
    and ``mask_responses`` may be a word (``"false"``, ``"yes"``) or 0 or 1. It has the usual methods of pydantic's
    models: ``model_dump``, ``model_dump_json``, ``model_validate``, ``model_validate_json``, ``model_copy``, ``copy``,
    ``dict``, ``json`` and ``parse_obj``.
    """

    #: The principle to judge by, in plain language.
    principle: str
    #: The prompt that the responses answer.
    prompt: str
    #: The responses by name, in order.
    responses: Dict[str, str]
    #: Whether the names are hidden from the judge.
    mask_responses: bool = True

    def __init__(
        self, principle: str, prompt: str, responses: Mapping[str, str], mask_responses: Any = _NOT_GIVEN, **_: Any
    ) -> None:
        for name, value in (("principle", principle), ("prompt", prompt)):
            if not isinstance(value, str):
                raise InvalidRequestError(f"{name} is {type(value).__name__}: it must be str")
        if not isinstance(responses, Mapping):
            raise InvalidRequestError(f"responses is {type(responses).__name__}: it must map names to texts")
        for name, text in responses.items():
            if not isinstance(name, str) or not isinstance(text, str):
                kinds = f"{type(name).__name__} to {type(text).__name__}"
                raise InvalidRequestError(f"responses maps {kinds} at {name!r}: names and texts must be str")
        self.principle = principle
        self.prompt = prompt
        self.responses = dict(responses)
        self.mask_responses = True if mask_responses is _NOT_GIVEN else as_bool(mask_responses, "mask_responses")
        if mask_responses is not _NOT_GIVEN:
            self._given = {"mask_responses"}

    def __str__(self) -> str:
        return " ".join(f"{name}={value!r}" for name, value in self)


@dataclass(init=False)
class RewardResponse(PairsModel):
    """What a server answers. It has the methods of pydantic's models that :class:`RewardRequest` has."""

    #: The judge's reasoning.
    thoughts: str
    #: ``{"scores": {name: score}, "best-to-worst": [name]}``.
    results: Dict[str, Any]

    def __init__(self, thoughts: str, results: Mapping[str, Any], **_: Any) -> None:
        if not isinstance(thoughts, str):
            raise InvalidRequestError(f"thoughts is {type(thoughts).__name__}: it must be str")
        if not isinstance(results, Mapping):
            raise InvalidRequestError(f"results is {type(results).__name__}: it must be a mapping")
        self.thoughts = thoughts
        self.results = dict(results)


@dataclass(frozen=True)
class JudgeInfo:
    """Properties of a judge."""

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
    #: Whether the engine can constrain a verdict by a grammar.
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
    #: Prompt tokens reused from earlier judgments.
    reused_tokens: int
    #: Tokens computed, wrong ones of drafts too.
    computed_tokens: int
    #: Batches computed.
    steps: int
    #: Tokens in one block of the KV cache. This and the next three are 0 if the engine has no blocks.
    kv_block_tokens: int
    #: Blocks in the KV cache.
    kv_blocks: int
    #: Of these, blocks in use by running judgments.
    kv_blocks_used: int
    #: Blocks reused from earlier judgments.
    kv_blocks_reused: int
    #: Different grammars that a TensorRT-LLM executor got in the last hour; compiling each one delays a step.
    grammars_last_hour: int
    #: Tokens computed ahead as drafts (``local.draft_tokens``).
    drafted_tokens: int
    #: Of these, tokens that the judge chose, so that they needed no step of their own.
    accepted_tokens: int
