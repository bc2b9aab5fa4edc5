"""Many groups under one handle, prefixes that are kept, and loading that is watched."""

from __future__ import annotations

import math
import signal
from typing import Any, Dict, List

import pytest

import dicast
from support import MODEL

#: More than any wait here takes, in seconds.
BOUND = 120.0

SHORTER = "I prefer short and concise responses over long and detailed ones."
LONGER = "I prefer long and detailed responses over short and concise ones."
TEXTS = [
    "Build small projects.",
    "First of all, one should consider what is to be learned. Then there are courses and books, of which some are "
    "good, and after that come projects, in which all of this is put to use.",
]


def group(principle: str, **more: Any) -> dicast.Group:
    return dicast.Group(principle, "How do I learn Python?", TEXTS, **more)


def test_groups_under_one_handle(judge: dicast.Judge) -> None:
    groups: List[Any] = [
        group(SHORTER, id="one", priority="high"),
        group(LONGER, deadline=BOUND),
        {"principle": SHORTER, "prompt": "Hi", "responses": []},
        group(SHORTER, options={"temperature": -1.0}),
        group(SHORTER, options={"max_reasoning_tokens": 8}),
    ]
    with judge.submit_groups(groups, priority="low", deadline=BOUND, seed=3) as batch:
        assert len(batch) == 5 and batch.wait(BOUND) and batch.done() and batch.ended == 5
        rewards = batch.rewards(normalize=True)
        assert [len(one) for one in rewards] == [2, 2, 0, 2, 2]
        assert rewards[0][0] > rewards[0][1] and rewards[1][0] < rewards[1][1]
        assert all(math.isnan(reward) for reward in rewards[3])
        assert batch.rewards("rank") != rewards and batch.rewards("win")
        first = batch.result(0)
        assert first.ranking == ["1", "2"] and batch.result(0) is first and batch.result(-5) is first
        assert batch.result(4).usage.reasoning_tokens <= 16 < first.usage.reasoning_tokens
        results = batch.results(return_exceptions=True)
        assert results[0] is first and isinstance(results[2], dicast.InvalidRequestError)
        assert isinstance(results[3], dicast.InvalidRequestError)
        with pytest.raises(dicast.BatchError):
            batch.results()
        with pytest.raises(dicast.InvalidRequestError):
            batch.result(2)
        with pytest.raises(IndexError):
            batch.result(5)
        # The verdicts are out of the library now.
        with pytest.raises(dicast.InvalidArgumentError):
            batch.rewards()
    assert judge.submit_groups([]).results(BOUND) == []
    alone = judge.submit_groups([group(SHORTER)], seed=3).results(BOUND)[0]
    assert alone.scores == first.scores


def test_a_batch_is_cancelled_as_a_whole() -> None:
    with dicast.from_pretrained(MODEL, limits={"max_queue": 4}) as judge:
        batch = judge.submit_groups([group(f"{number}: {LONGER}") for number in range(200)])
        with pytest.raises(TimeoutError):
            batch.results(0)
        batch.cancel()
        outcomes = batch.results(BOUND, return_exceptions=True)
        cancelled = [one for one in outcomes if isinstance(one, dicast.JudgmentCancelledError)]
        assert len(outcomes) == 200 and len(cancelled) > 100
        late = judge.submit_groups([group(SHORTER)] * 3, deadline=0).results(BOUND, return_exceptions=True)
        assert all(isinstance(one, dicast.JudgmentTimeoutError) for one in late)
        # Dropped, it leaves the room to others.
        del batch
        assert judge.submit_groups([group(SHORTER)]).results(BOUND)[0].ranking == ["1", "2"]
        left = judge.submit_groups([group(SHORTER)] * 50)
    outcomes = left.results(BOUND, return_exceptions=True)
    assert any(isinstance(one, dicast.ClosedError) for one in outcomes)


def test_groups_that_are_no_groups(judge: dicast.Judge) -> None:
    wrong: List[Any] = [
        {"principle": "p", "prompt": "q"},
        {"principle": "p", "prompt": "q", "responses": ["a"], "resposes": []},
        {"principle": "p", "prompt": "q", "responses": {"a": "text"}},
        {"principle": "p", "prompt": "q", "responses": "text"},
        {"principle": "p", "prompt": "q", "responses": [7]},
        {"principle": "p", "prompt": "q", "responses": None},
        "text",
    ]
    for one in wrong:
        with pytest.raises(dicast.InvalidRequestError):
            judge.submit_groups([one])
    for terms in ({"priority": "urgent"}, {"deadline": -1.0}, {"deadline": math.nan}):
        with pytest.raises(dicast.InvalidArgumentError):
            judge.submit_groups([group(SHORTER)], **terms)
        with pytest.raises(dicast.InvalidArgumentError):
            judge.submit_groups([group(SHORTER, **terms)])
    with pytest.raises(dicast.InvalidArgumentError):
        judge.submit_groups([group(SHORTER)]).rewards("best")


def test_a_prefix_is_kept(example: Dict[str, Any]) -> None:
    with dicast.from_pretrained(MODEL) as judge:
        with judge.warm(example["principle"]) as pin:
            assert pin.tokens > 30
            # In its last token the prefix may hold the beginning of another prompt.
            assert judge.judge(**example).usage.reused_tokens + 1 >= pin.tokens
            for number in range(6):
                judge.judge(f"{number} words are best.", "Hi", {"a": "one two"})
            assert judge.judge(**example).usage.reused_tokens + 1 >= pin.tokens
            with judge.warm(example["principle"], example["prompt"]) as more:
                assert more.tokens > pin.tokens
        pin.free()
        judge.sleep()
        with pytest.raises(dicast.AsleepError):
            judge.warm(example["principle"])
        judge.wake()
        kept = judge.warm(example["principle"])
    assert kept.tokens == pin.tokens
    with pytest.raises(dicast.ClosedError):
        judge.warm(example["principle"])
    with dicast.from_pretrained(MODEL, local={"deterministic": True}) as exact:
        with pytest.raises(dicast.UnsupportedError):
            exact.warm(example["principle"])


def test_loading_is_watched_and_ended(example: Dict[str, Any]) -> None:
    parts: List[float] = []
    with dicast.from_pretrained(MODEL, progress=parts.append) as judge:
        assert parts == sorted(parts) and 0 <= parts[0] and parts[-1] == 1
        judge.sleep()
        before = len(parts)
        judge.wake()
        assert len(parts) > before
    with pytest.raises(dicast.JudgmentCancelledError):
        dicast.Judge(MODEL, progress=lambda _part: False)

    def fails(_part: float) -> None:
        raise RuntimeError("not today")

    def interrupts(_part: float) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(RuntimeError, match="not today"):
        dicast.Judge(MODEL, progress=fails)
    with pytest.raises(KeyboardInterrupt):
        dicast.Judge(MODEL, progress=interrupts)
    with pytest.raises(dicast.InvalidArgumentError):
        dicast.Judge(MODEL, progress=7)  # type: ignore[arg-type]

    def hears(_part: float) -> None:
        if failing:
            raise RuntimeError("not today")

    failing: List[int] = []
    with dicast.Judge(MODEL, progress=hears) as judge:
        failing.append(1)
        judge.sleep()
        with pytest.raises(RuntimeError, match="not today"):
            judge.wake()
        assert judge.asleep
        failing.clear()
        judge.wake()
        assert judge.judge(**example).scores
