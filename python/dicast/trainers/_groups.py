"""From a trainer's samples to listwise judgments, and from verdicts to rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Hashable, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

from ..errors import DicastError, InvalidRequestError, InvalidVerdictError, UnsupportedError
from ..models import RewardResult

__all__ = ["Group", "Judged", "JudgeLike", "Principle", "Rewards", "grouped", "principle_of", "text_of_completion"]
__all__ += ["text_of_prompt"]

#: A principle, or what makes one of the fields of a sample.
Principle = Union[str, Callable[[Mapping[str, Any]], str]]


#: Rewards that the judge computes of a whole group.
_OF_GROUP = ("group", "win")


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
    """Responses to one prompt that are judged together, and where they stand in the trainer's batch."""

    principle: str
    prompt: str
    texts: List[str] = field(default_factory=list)
    places: List[int] = field(default_factory=list)

    def add(self, text: str, place: int) -> None:
        """Adds a response."""
        self.texts.append(text)
        self.places.append(place)

    def parts(self, most: int) -> List[Group]:
        """The group in parts of nearly one size, none above `most`."""
        count = math.ceil(len(self.texts) / most)
        edges = [len(self.texts) * part // count for part in range(count + 1)]
        return [
            Group(self.principle, self.prompt, self.texts[start:end], self.places[start:end])
            for start, end in zip(edges, edges[1:])
        ]


@dataclass(frozen=True)
class Judged:
    """What became of one sample: a reward, or the error that stands in its place."""

    reward: Optional[float]
    error: Optional[DicastError] = None
    result: Optional[RewardResult] = None
    name: str = ""


def grouped(samples: Sequence[Tuple[str, str, str, Hashable]], consecutive: bool) -> List[Group]:
    """Groups samples, given as principle, prompt, response and a key of the group, None where there is none.

    Samples of one principle, prompt and key are one group; if `consecutive`, only where they follow one another.
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
    """How groups are judged and what of a verdict is the reward.

    ``reward`` is ``expected`` (the mean of the score's distribution), ``score`` (as written), ``rank`` (from 1 for
    the best of the group to 0), ``expected_or_score`` (the first where the engine gives it, else the second),
    ``group`` (how many standard deviations the score lies above the mean of the group) or ``win`` (the probability
    that the score is above that of another response of the group). With ``normalize``, scores are mapped from the
    judge's scale to 0 to 1; the other rewards do not change. A judgment that fails in a way that may pass is made
    ``attempts`` times, each with another seed. Groups of more than ``max_group`` responses, by default what the judge
    takes at once, are judged in parts, but for ``rank``, ``group`` and ``win``. ``options`` are those of each
    judgment.
    """

    def __init__(
        self,
        judge: JudgeLike,
        *,
        reward: str = "expected_or_score",
        normalize: bool = False,
        attempts: int = 2,
        max_group: Optional[int] = None,
        options: Optional[Mapping[str, Any]] = None,
    ) -> None:
        if reward not in ("expected", "score", "rank", "expected_or_score", *_OF_GROUP):
            raise InvalidRequestError(
                f"reward is {reward!r}: it must be expected, score, rank, expected_or_score, group or win"
            )
        if attempts < 1 or (max_group is not None and max_group < 1):
            raise InvalidRequestError("attempts and max_group must be 1 or more")
        self.judge = judge
        self.reward = reward
        self.normalize = normalize
        self.attempts = attempts
        self.max_group = max_group
        self.options = dict(options or {})

    def of(self, groups: Sequence[Group]) -> List[Judged]:
        """Judges groups; one entry a sample, in the order of their places."""
        work = _Work(self, groups)
        while work.open:
            work.take(self.judge.judge_batch(work.requests(), return_exceptions=True, **work.options()))
        return work.judged

    async def aof(self, groups: Sequence[Group]) -> List[Judged]:
        """As :meth:`of`, without blocking the event loop."""
        work = _Work(self, groups)
        while work.open:
            work.take(await self.judge.ajudge_batch(work.requests(), return_exceptions=True, **work.options()))
        return work.judged

    def value(self, result: RewardResult, name: str) -> float:
        """The reward of one response."""
        if self.reward in _OF_GROUP:
            values = (result.rewards or {}).get("values", {})
            if name not in values:
                raise UnsupportedError(f"the judge gave no {self.reward!r} rewards: it needs a later version")
            return float(values[name])
        if self.reward == "rank":
            last = len(result.ranking) - 1
            return 1.0 - result.ranking.index(name) / last if last else 0.5
        expected = None if self.reward == "score" else result.expected_scores.get(name)
        if expected is None and self.reward == "expected":
            raise UnsupportedError("the engine gives no expected scores: take expected_or_score, score or rank")
        value = float(result.scores[name] if expected is None else expected)
        if self.normalize:
            worst, best = getattr(self.judge, "scale", (1, 5))
            value = (value - worst) / (best - worst)
        if not math.isfinite(value):
            raise InvalidVerdictError(f"the score {value} of {name} is no number")
        return value


class _Work:
    """Groups on their way to rewards."""

    def __init__(self, rewards: Rewards, groups: Sequence[Group]) -> None:
        self._rewards = rewards
        self._attempt = 0
        most = rewards.max_group or getattr(rewards.judge, "max_responses", None)
        # Places in the ranking of a part say nothing about the group.
        whole = most is None or rewards.reward == "rank" or rewards.reward in _OF_GROUP
        self.open = [part for group in groups for part in ([group] if whole else group.parts(int(most or 1)))]
        unjudged = Judged(None)
        self.judged = [unjudged] * sum(len(group.texts) for group in groups)

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
        """Takes the results of an attempt; what may work another time stays open."""
        self._attempt += 1
        again = self._attempt < self._rewards.attempts
        still_open = []
        for group, result in zip(self.open, results):
            if isinstance(result, DicastError) and result.retryable and again:
                still_open.append(group)
                continue
            for number, place in enumerate(group.places, 1):
                self.judged[place] = self._judged(result, str(number))
        self.open = still_open

    def _judged(self, result: Any, name: str) -> Judged:
        if isinstance(result, DicastError):
            return Judged(None, result)
        try:
            return Judged(self._rewards.value(result, name), None, result, name)
        except DicastError as error:
            return Judged(None, error, result, name)


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


def _content(message: Any) -> str:
    """The text of a message, whose content may come in parts."""
    content = message.get("content") if isinstance(message, Mapping) else message
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    parts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "".join(part for part in parts if isinstance(part, str))


def text_of_prompt(prompt: Any) -> str:
    """A prompt as one text: of a conversation with one message its content, else every message under its role."""
    if isinstance(prompt, str):
        return prompt
    messages = list(prompt)
    if len(messages) == 1:
        return _content(messages[0])
    return "\n\n".join(f"{message.get('role', 'user')}: {_content(message)}" for message in messages)


def text_of_completion(completion: Any) -> str:
    """A completion as one text: of a conversation what the assistant says."""
    if isinstance(completion, str):
        return completion
    messages = list(completion)
    said = [message for message in messages if not isinstance(message, Mapping) or message.get("role") == "assistant"]
    return "\n\n".join(_content(message) for message in said or messages)
