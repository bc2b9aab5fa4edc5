"""Many groups under one handle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

from . import _library
from ._handle import Handle
from ._library import NULL, check, ffi, lib, owned
from ._outcomes import Outcome, Place, Turn
from ._scope import Scoped
from ._submitting import priority_of
from ._times import milliseconds, slices
from .errors import BatchError, DicastError, InvalidArgumentError, InvalidRequestError
from .models import RewardResult

__all__ = ["Batch", "Group", "Grouping"]

_REWARDS = {
    "expected": lib.DICAST_REWARD_EXPECTED,
    "expected_or_score": lib.DICAST_REWARD_EXPECTED_OR_SCORE,
    "score": lib.DICAST_REWARD_SCORE,
    "rank": lib.DICAST_REWARD_RANK,
    "group": lib.DICAST_REWARD_GROUP,
    "win": lib.DICAST_REWARD_WIN,
}


@dataclass(frozen=True)
class Group:
    """Responses to one prompt, judged together under one principle. In the result they have the names "1", "2", …"""

    #: The principle to judge by.
    principle: str
    #: The text that the responses answer.
    prompt: str
    #: The texts of the responses.
    responses: Sequence[str]
    #: Options of this group, which override those of the whole batch.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: A name for the log.
    id: str = ""
    #: "low" or "high"; None and "normal": that of the batch.
    priority: Optional[str] = None
    #: The judgment ends at the latest this many seconds after its submission; None: as for the batch.
    deadline: Optional[float] = None


class Batch(Scoped):
    """Groups that are judged: see :meth:`dicast.Judge.submit_groups`.

    Dropping it, or leaving its ``with`` block, cancels what has not ended. Any number of threads may use one: all get
    the same results.
    """

    def __init__(self, pointer: Any, counts: List[int]) -> None:
        self._pointer = owned("batch", pointer)
        self._counts = counts
        self._turn = Turn()
        #: Where the library writes the outcome of the group with this number.
        self._place, self._at = Place(), 0
        self._outcomes: Dict[int, Outcome] = {}

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def ended(self) -> int:
        """How many groups have ended."""
        return int(lib.dicast_batch_ended(self._pointer))

    def done(self) -> bool:
        """Whether all groups have ended."""
        return self.wait(0)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until all groups have ended, at most ``timeout`` seconds; False if some have not ended by then."""
        error = ffi.new("dicast_error **")
        for wait in slices(timeout):
            status = lib.dicast_batch_wait(self._pointer, wait, error)
            if status == lib.DICAST_OK:
                return True
            if status != lib.DICAST_PENDING:
                check(status, error)
        return False

    def result(self, index: int) -> RewardResult:
        """The result of one group; raises its error if it failed, a :class:`TimeoutError` if it has not ended."""
        outcome = self._outcome(range(len(self))[index])
        if outcome is None:
            raise TimeoutError(f"group {index} has not ended yet")
        if isinstance(outcome, DicastError):
            raise outcome
        return outcome

    def results(self, timeout: Optional[float] = None, *, return_exceptions: bool = False) -> List[Any]:
        """Waits for all groups, and returns their results in order.

        If some failed, raises a :class:`BatchError` with the results of the others, or, with ``return_exceptions``,
        puts their errors in the list. Raises a :class:`TimeoutError` if some have not ended after ``timeout`` seconds.
        """
        if not self.wait(timeout):
            raise TimeoutError(f"{len(self) - self.ended} of {len(self)} groups have not ended yet")
        results = [self._outcome(index) for index in range(len(self))]
        if not return_exceptions and any(isinstance(result, DicastError) for result in results):
            raise BatchError.of(results)
        return results

    def rewards(self, reward: str = "expected", *, normalize: bool = False) -> List[List[float]]:
        """One list of rewards for each group, in the order of its responses; NaN if a group failed or has not ended.

        ``reward`` is "expected", "expected_or_score" (the score if the engine gives no distributions), "score",
        "rank", "group" or "win"; ``normalize`` maps scores to 0 to 1. Call it before you take results, because
        that moves the verdicts out of the library: afterwards it raises an :class:`InvalidArgumentError`.
        """
        if not isinstance(reward, str) or reward not in _REWARDS:
            raise InvalidArgumentError(f"reward is {reward!r}: it must be one of {', '.join(map(repr, _REWARDS))}")
        options, error = ffi.new("dicast_reward_options *"), ffi.new("dicast_error **")
        options.struct_size = ffi.sizeof("dicast_reward_options")
        options.reward, options.normalize = _REWARDS[reward], bool(normalize)
        total = sum(self._counts)
        rewards, statuses = ffi.new("double[]", total), ffi.new("int32_t[]", total)
        with self._turn.lock:
            results = (isinstance(outcome, RewardResult) for outcome in self._outcomes.values())
            if any(results) or self._place.is_filled:
                raise InvalidArgumentError(
                    "results were taken out of this batch already: ask for the rewards before that"
                )
            check(lib.dicast_batch_rewards(self._pointer, options, rewards, statuses, total, error), error)
        values = iter(rewards)
        return [[next(values) for _ in range(count)] for count in self._counts]

    def cancel(self) -> None:
        """Cancels all groups that have not ended; their outcomes are then a :class:`JudgmentCancelledError`."""
        lib.dicast_batch_cancel(self._pointer, NULL)

    def _leave(self) -> None:
        self.cancel()

    def _outcome(self, index: int) -> Optional[Outcome]:
        with self._turn.lock:
            self._read()  # What Ctrl-C has left there.
            if index not in self._outcomes:
                self._at = index
                lib.dicast_batch_take(self._pointer, index, self._place.verdict, self._place.error)
                self._read()
            return self._outcomes.get(index)

    def _read(self) -> None:
        if self._place.is_filled:
            self._outcomes[self._at] = self._place.read()
            self._place.clear()


class Grouping:
    """The part of a judge that judges many groups under one handle."""

    _handle: Handle

    def submit_groups(
        self,
        groups: Sequence[Union[Group, Mapping[str, Any]]],
        *,
        priority: str = "normal",
        deadline: Optional[float] = None,
        **generation: Any,
    ) -> Batch:
        """Submits many groups under one handle and returns at once; a thread of the library submits them as the queue
        has room.

        A group is a :class:`Group` or a mapping with its fields. ``generation`` sets options of all groups. The whole
        batch ends after ``deadline`` seconds at the latest.

        Fields of the wrong type, unknown options and times that are no numbers raise at once, with the number of the
        group, and nothing is judged. A group whose values the judge refuses, such as one without responses, ends with
        its own error, and the others are judged.
        """
        if isinstance(groups, (str, bytes, Mapping)) or not isinstance(groups, Iterable):
            raise InvalidRequestError(f"groups is {type(groups).__name__}: it must be a list of groups")
        # An error in the options for all groups must not be reported for the first group.
        self._options(True, generation)
        entries = list(groups)
        array = ffi.new("dicast_group[]", len(entries))
        keep: List[Any] = []
        counts: List[int] = []
        for number, (filled, group) in enumerate(zip(array, entries)):
            try:
                count, texts = self._fill(filled, _group(group), generation)
            except DicastError as wrong:
                raise type(wrong)(f"group {number}: {wrong}", kind=wrong.kind, retryable=wrong.retryable) from None
            counts.append(count)
            keep.append(texts)
        terms = ffi.new("dicast_batch_options *")
        terms.struct_size = ffi.sizeof("dicast_batch_options")
        terms.priority, terms.deadline_ms = priority_of(priority), milliseconds(deadline)
        out, error = ffi.new("dicast_batch **"), ffi.new("dicast_error **")
        check(lib.dicast_judge_submit_groups(self._handle.get(), array, len(entries), terms, out, error), error)
        del keep  # The texts live until here.
        return Batch(out[0], counts)

    def _fill(self, filled: Any, group: Group, generation: Mapping[str, Any]) -> Tuple[int, Any]:
        """Writes a group in the form of the C interface. Gives its number of responses, and what must live as long."""
        texts, views = _library.views(_texts(group.responses), "a response")
        options = self._options(True, {**generation, **group.options}) or ""
        filled.struct_size = ffi.sizeof("dicast_group")
        keep: List[Any] = [texts, views]
        fields = (("principle", group.principle), ("prompt", group.prompt), ("id", group.id), ("options_json", options))
        for name, text in fields:
            view = _library.view(text, name)
            setattr(filled, name, view)
            keep.append(view)
        filled.responses, filled.response_count = texts, len(views)
        # To the library 0 is "normal", and the priority of the batch.
        filled.priority = 0 if group.priority is None else priority_of(group.priority)
        filled.deadline_ms = milliseconds(group.deadline)
        return len(views), keep

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        raise NotImplementedError


def _group(group: Union[Group, Mapping[str, Any]]) -> Group:
    if isinstance(group, Mapping):
        try:
            group = Group(**group)
        except TypeError as error:
            raise InvalidRequestError(str(error).replace("Group.__init__() ", "").replace("__init__() ", "")) from None
    if not isinstance(group, Group):
        raise InvalidRequestError(f"it is {type(group).__name__}: it must be a Group or a mapping")
    if not isinstance(group.options, Mapping) or not all(isinstance(name, str) for name in group.options):
        raise InvalidRequestError(f"options is {group.options!r}: it must map names of options to values")
    return group


def _texts(responses: Any) -> List[str]:
    if isinstance(responses, (str, bytes, Mapping)) or not isinstance(responses, Iterable):
        raise InvalidRequestError(f"responses is {type(responses).__name__}: it must be a list of texts")
    return list(responses)
