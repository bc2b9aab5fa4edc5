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
class RewardResult(Model):
    """A complete verdict: a score and a place in the ranking for every response of the request, by their names.

    Results are equal where the judge said the same: reasoning, scores, ranking and output. What else is known of a
    judgment (expected scores, aliases, tokens, times) does not count. It has the methods of pydantic's models that
    :class:`RewardRequest` has.
    """

    #: The judge's reasoning, without its tags; empty where it did not think.
    reasoning: str
    #: The scores as the judge wrote them, whole numbers as ``int``, in the order of the request.
    scores: Dict[str, float]
    #: The names, best first.
    ranking: List[str]
    #: The judge's whole output as it came.
    raw_output: Optional[str] = None
    #: The mean of each score's distribution, a finer reward than the digit; None where the engine gives none.
    expected_scores: Dict[str, Optional[float]] = field(default_factory=dict, compare=False)
    #: The probability of each score of the scale, the worst first; None where the engine gives none.
    distributions: Dict[str, Optional[List[float]]] = field(default_factory=dict, compare=False)
    #: What had to be repaired to read the verdict: names of repairs, or ``{name: what it quotes}``.
    repairs: List[Union[str, Dict[str, str]]] = field(default_factory=list, compare=False)
    #: What a reader should know, such as ``inconsistent_ranking``, in the same form.
    flags: List[Union[str, Dict[str, str]]] = field(default_factory=list, compare=False)
    #: The response's name by the name that the judge saw, in the order it saw them.
    aliases: Dict[str, str] = field(default_factory=dict, compare=False)
    #: Which weights judged: 0 those that the judge was opened with, then one more with each reload.
    weights: int = field(default=0, compare=False)
    #: Tokens of the judgment.
    usage: Usage = field(default=Usage(), compare=False)
    #: Times of the judgment.
    timing: Timing = field(default=Timing(), compare=False)
    #: The runs of an ensemble, their standard errors, agreement and what each place did; None for a single run.
    ensemble: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: What each criterion of a rubric gave: ``merge`` and ``criteria``; None without a rubric.
    rubric: Optional[Dict[str, Any]] = field(default=None, compare=False)
    #: The rewards that the request asked for (``reward``): ``kind``, and by name ``values`` and ``spreads``.
    rewards: Optional[Dict[str, Any]] = field(default=None, compare=False)

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


@dataclass(init=False)
class RewardRequest(PairsModel):
    """What is to be judged. ``judge_batch`` takes these as well as dictionaries.

    Made as a model of pydantic is: fields that it does not know, such as further columns of a data set, are ignored,
    and ``mask_responses`` may be a word (``"false"``, ``"yes"``) or 0 or 1. The methods are those of pydantic's models
    that programs call: ``model_dump``, ``model_dump_json``, ``model_validate``, ``model_validate_json``,
    ``model_copy``, ``copy``, ``dict``, ``json`` and ``parse_obj``.
    """

    #: The principle to judge by, in plain language.
    principle: str
    #: What the responses respond to.
    prompt: str
    #: The responses by name, in order.
    responses: Dict[str, str]
    #: Whether the names are hidden from the judge.
    mask_responses: bool = True

    def __init__(
        self, principle: str, prompt: str, responses: Mapping[str, str], mask_responses: Any = True, **_: Any
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
        self.mask_responses = as_bool(mask_responses, "mask_responses")


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
