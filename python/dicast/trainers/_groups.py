"""From a trainer's samples to listwise judgments, and from verdicts to rewards."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Hashable, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple, Union

from .._parallel import waiting
from ..errors import DicastError, InvalidRequestError, InvalidVerdictError, TooLargeError, UnsupportedError
from ..models import RewardResult
from ._facts import Facts
from ._lazy import named_judge

__all__ = ["Group", "Judged", "JudgeLike", "Principle", "Rewards", "Sample", "grouped", "principle_of", "raised"]

#: A principle, or a function that makes one from the fields of a sample.
Principle = Union[str, Callable[[Mapping[str, Any]], str]]


#: Rewards that the judge computes for a whole group.
_OF_GROUP = ("group", "win")

#: Kinds of errors that no sample causes, and that would come again with every try, sample and step.
_LASTING = (
    "closed",
    "engine_dead",
    "invalid_argument",
    "invalid_config",
    "invalid_model",
    "invalid_profile",
    "invalid_request",
    "io",
    "model_not_found",
    "unsupported",
)


class Sample(NamedTuple):
    """A sample that a trainer wants a reward for."""

    principle: str
    prompt: str
    text: str


class JudgeLike(Protocol):
    """What judges: a :class:`dicast.Judge` or a :class:`dicast.Client`."""

    def judge_batch(self, requests: Sequence[Any], *, return_exceptions: bool = ..., **options: Any) -> List[Any]:
        """Judges many requests."""

    async def ajudge_batch(
        self, requests: Sequence[Any], *, return_exceptions: bool = ..., **options: Any
    ) -> List[Any]:
        """Judges many requests without blocking."""


@dataclass
class Group:
    """Responses to one prompt that are judged together, and their places in the trainer's batch."""

    principle: str
    prompt: str
    texts: List[str] = field(default_factory=list)
    places: List[int] = field(default_factory=list)

    def add(self, text: str, place: int) -> None:
        """Adds a response."""
        self.texts.append(text)
        self.places.append(place)

    def parts(self, most: int) -> List[Group]:
        """The group in parts of nearly equal size, at most `most`."""
        count = math.ceil(len(self.texts) / most)
        edges = [len(self.texts) * part // count for part in range(count + 1)]
        return [
            Group(self.principle, self.prompt, self.texts[start:end], self.places[start:end])
            for start, end in zip(edges, edges[1:])
        ]


@dataclass(frozen=True)
class Judged:
    """The result of one sample: a reward, or the error instead of it."""

    reward: Optional[float]
    error: Optional[DicastError] = None
    result: Optional[RewardResult] = None
    name: str = ""
    #: How many samples were judged together.
    group: int = 0

    def light(self) -> Judged:
        """Without the verdict, to be sent to another process."""
        return replace(self, result=None)


def raised(error: DicastError) -> DicastError:
    """An error to be raised: its own copy, since the same one may be raised in many places at once."""
    restore, arguments = error.__reduce__()[:2]
    again: DicastError = restore(*arguments)
    again.__cause__ = error.__cause__
    return again


def grouped(samples: Sequence[Tuple[str, str, str, Hashable]], consecutive: bool) -> List[Group]:
    """Groups samples, given as principle, prompt, response and a key of the group (None if there is none).

    Samples with the same principle, prompt and key are one group; if `consecutive`, only if they follow one another.
    """
    groups: List[Group] = []
    latest: Dict[Hashable, Group] = {}
    for place, (principle, prompt, text, key) in enumerate(samples):
        identity = (principle, prompt, key)
        group = latest.get(identity)
        if group is None:
            if consecutive:
                latest.clear()
            group = latest[identity] = Group(principle, prompt)
            groups.append(group)
        group.add(text, place)
    return groups


class Rewards:
    """How groups are judged and which value of a verdict is the reward.

    ``reward`` is ``expected`` (the mean of the score's distribution), ``score`` (as written), ``rank`` (from 1 for
    the best of the group to 0), ``expected_or_score`` (the first if the engine gives it, else the second),
    ``group`` (how many standard deviations the score lies above the mean of the group) or ``win`` (the probability
    that the score is above that of another response of the group). With ``normalize``, scores are mapped from the
    judge's scale to 0 to 1; the other rewards do not change. A judgment whose failure may be temporary is tried up to
    ``attempts`` times, each with another seed. Groups of more than ``max_group`` responses, by default what the judge
    takes at once, are judged in parts; with ``rank``, ``group`` and ``win`` too large a group is an error instead.
    A group is rewarded whole or not at all. ``scale`` is that of the judge, the worst and the best score, if the judge
    does not report it. ``options`` are those of each judgment.

    ``judge`` may be the path or the name of a model: then the hook can be pickled, and opens the judge when it is first
    used (:class:`dicast.trainers.LazyJudge`). If it is a URL, a :class:`dicast.Client` asks the server there.

    An error that has nothing to do with the samples and that would come again is raised: a closed judge, an option out
    of its range, expected scores from an engine that gives none. An error of a single group affects only that group.
    """

    def __init__(
        self,
        judge: Union[JudgeLike, str, "os.PathLike[str]"],
        *,
        reward: str = "expected_or_score",
        normalize: bool = False,
        attempts: int = 2,
        max_group: Optional[int] = None,
        scale: Optional[Tuple[float, float]] = None,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        if reward not in ("expected", "score", "rank", "expected_or_score", *_OF_GROUP):
            raise InvalidRequestError(
                f"reward is {reward!r}: it must be expected, score, rank, expected_or_score, group or win"
            )
        if attempts < 1 or (max_group is not None and max_group < 1):
            raise InvalidRequestError("attempts and max_group must be 1 or more")
        if scale is not None and not scale[0] < scale[1]:
            raise InvalidRequestError("scale is the worst and the best score, the worst first")
        self.judge: JudgeLike = named_judge(judge) if isinstance(judge, (str, os.PathLike)) else judge
        self._facts = Facts(self.judge, scale)
        self.reward = reward
        self.normalize = normalize
        self.attempts = attempts
        self.max_group = max_group
        self.options = dict(options or {})

    def of(self, groups: Sequence[Group]) -> List[Judged]:
        """Judges groups; returns one entry for each sample, in the order of their places."""
        work = _Work(self, groups)
        while work.open:
            work.take(self.judge.judge_batch(work.requests(), return_exceptions=True, **work.options()))
        return work.finished()

    async def aof(self, groups: Sequence[Group]) -> List[Judged]:
        """As :meth:`of`, without blocking the event loop."""
        if self._facts.blocking:
            await waiting(self._facts.ask)
        work = _Work(self, groups)
        while work.open:
            work.take(await self.judge.ajudge_batch(work.requests(), return_exceptions=True, **work.options()))
        return work.finished()

    async def asamples(self, samples: Sequence[Sample]) -> List[Judged]:
        """Judges samples; those with the same principle and prompt together."""
        return await self.aof(grouped([(*sample, None) for sample in samples], consecutive=False))

    def in_order(self) -> Rewards:
        """The same, with the responses shown to the judge in the order given."""
        made = Rewards.__new__(Rewards)
        made.__dict__.update(self.__dict__, options={**self.options, "mask": "given"})
        return made

    def value(self, result: RewardResult, name: str) -> float:
        """The reward of one response."""
        if self.reward in _OF_GROUP:
            values = (result.rewards or {}).get("values", {})
            if name not in values:
                raise UnsupportedError(f"the judge gave no {self.reward!r} rewards: it needs a later version")
            return _finite(float(values[name]), name)
        if self.reward == "rank":
            last = len(result.ranking) - 1
            return 1.0 - result.ranking.index(name) / last if last else 0.5
        expected = None if self.reward == "score" else result.expected_scores.get(name)
        if expected is None and self.reward == "expected":
            raise UnsupportedError("the engine gives no expected scores: use expected_or_score, score or rank")
        value = float(result.scores[name] if expected is None else expected)
        return _finite(self._unit(value) if self.normalize else value, name)

    def unit(self, result: RewardResult, name: str) -> float:
        """The score of one response from 0 to 1, whatever the reward is."""
        expected = result.expected_scores.get(name)
        return _finite(self._unit(float(result.scores[name] if expected is None else expected)), name)

    def _unit(self, value: float) -> float:
        worst, best = self._facts.scale
        return (value - worst) / (best - worst)

    def most(self) -> Optional[int]:
        """Most responses of one judgment; None if that is not known."""
        return self.max_group or self._facts.max_responses


def _finite(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise InvalidVerdictError(f"the score {value} of {name} is not a number")
    return value


class _Work:
    """Groups on their way to rewards."""

    def __init__(self, rewards: Rewards, groups: Sequence[Group]) -> None:
        self._rewards = rewards
        self._attempt = 0
        self._groups = groups
        self._judged = [Judged(None)] * sum(len(group.texts) for group in groups)
        whole = rewards.reward == "rank" or rewards.reward in _OF_GROUP
        most = rewards.most() if groups else None
        for group in groups:
            # Places in the ranking of a part say nothing about the group.
            if whole and most is not None and len(group.texts) > most:
                many = f"{len(group.texts)} responses in one group, but at most {most} are judged together"
                raise TooLargeError(f"{many}: the reward {rewards.reward!r} needs the whole group")
        parts = [part for group in groups for part in ([group] if whole or most is None else group.parts(most))]
        self.open = []
        for part in parts:
            error = _not_text(part)
            if error is None:
                self.open.append(part)
            else:
                self._put(part, error)

    def requests(self) -> List[Dict[str, Any]]:
        """The requests of the groups that are open."""
        return [
            {
                "principle": group.principle,
                "prompt": group.prompt,
                "responses": {str(number): text for number, text in enumerate(group.texts, 1)},
            }
            for group in self.open
        ]

    def options(self) -> Dict[str, Any]:
        """The options of this attempt."""
        options = dict(self._rewards.options)
        if self._rewards.reward in _OF_GROUP:
            options["reward"] = self._rewards.reward
        if self._attempt:
            options["seed"] = int(options.get("seed", 0)) + self._attempt
        return options

    def take(self, results: Sequence[Any]) -> None:
        """Takes the results of an attempt; groups that may succeed in another attempt stay open."""
        self._attempt += 1
        again = self._attempt < self._rewards.attempts
        still_open = []
        for group, result in zip(self.open, results):
            if isinstance(result, DicastError) and _lasts(result):
                raise raised(result)
            if isinstance(result, DicastError) and result.retryable and again:
                still_open.append(group)
            else:
                self._put(group, result)
        self.open = still_open

    def _put(self, group: Group, result: Any) -> None:
        for number, place in enumerate(group.places, 1):
            self._judged[place] = self._one(result, str(number), len(group.texts))

    def _one(self, result: Any, name: str, size: int) -> Judged:
        if isinstance(result, DicastError):
            return Judged(None, result)
        try:
            reward = self._rewards.value(result, name)
        except UnsupportedError:
            raise
        except DicastError as error:
            return Judged(None, error, result, name)
        return Judged(reward, None, result, name, size)

    def finished(self) -> List[Judged]:
        """One entry for each sample. If a part of a group failed, the whole group has failed."""
        for group in self._groups:
            errors = [self._judged[place].error for place in group.places]
            failure = next((error for error in errors if error is not None), None)
            for place in group.places if failure is not None else ():
                if self._judged[place].error is None:
                    self._judged[place] = replace(self._judged[place], reward=None, error=failure)
        return self._judged


def _lasts(error: DicastError) -> bool:
    return not error.retryable and (error.kind in _LASTING or error.kind == "network")


def _not_text(group: Group) -> Optional[DicastError]:
    """The error of a group with a text that cannot be judged."""
    for text in (group.principle, group.prompt, *group.texts):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return InvalidRequestError(f"a text holds a lone surrogate at index {error.start}: it cannot be judged")
    return None


def principle_of(principle: Optional[Principle], sample: Mapping[str, Any]) -> str:
    """The principle of a sample: its own field ``principle``, else the one that was given."""
    own = sample.get("principle")
    if isinstance(own, str) and own:
        return own
    if callable(principle):
        return principle(sample)
    if principle:
        return principle
    raise InvalidRequestError("no principle: give one, or a column `principle` in the data set")
