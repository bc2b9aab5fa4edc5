"""Many groups under one handle, prefixes that are kept, and loading that is watched."""

from __future__ import annotations

import functools
import math
import os
import signal
import subprocess
import sys
import threading
from typing import Any, Callable, Dict, List

import pytest

import dicast
from support import MODEL, ROOT

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
        # The library has given out the verdicts.
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
        # When it is dropped, others get its room.
        del batch
        assert judge.submit_groups([group(SHORTER)]).results(BOUND)[0].ranking == ["1", "2"]
        left = judge.submit_groups([group(SHORTER)] * 50)
    outcomes = left.results(BOUND, return_exceptions=True)
    assert any(isinstance(one, dicast.ClosedError) for one in outcomes)


def at_once(*works: Callable[[], Any]) -> List[Any]:
    """The results of functions that are called in threads at the same time; for one that fails, its exception."""
    barrier, given = threading.Barrier(len(works)), [None] * len(works)

    def call(number: int, work: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            given[number] = work()
        except Exception as error:
            given[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=call, args=(number, work)) for number, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    return given


def test_several_threads_take_the_results_of_one_batch(judge: dicast.Judge) -> None:
    groups = [group(f"{number}: {SHORTER}") for number in range(40)]
    for _ in range(5):
        batch = judge.submit_groups(groups, max_reasoning_tokens=4)
        assert batch.wait(BOUND)
        *results, rewards = at_once(*[functools.partial(batch.results, BOUND)] * 3, batch.rewards)
        assert all(isinstance(result, dicast.RewardResult) for result in results[0])
        # All of them got the same verdicts.
        assert all(one is other for some in results[1:] for one, other in zip(results[0], some))
        if isinstance(rewards, Exception):
            assert isinstance(rewards, dicast.InvalidArgumentError), rewards
        else:
            assert not any(math.isnan(reward) for some in rewards for reward in some)


def test_several_threads_wait_for_one_ticket(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    for _ in range(5):
        ticket = judge.submit(**example)
        first, *others = at_once(*[functools.partial(ticket.result, BOUND)] * 4)
        assert isinstance(first, dicast.RewardResult) and all(other is first for other in others)


def test_an_interrupted_result_is_not_lost(
    judge: dicast.Judge, example: Dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, ticket = judge.submit_groups([group(SHORTER)]), judge.submit(**example)
    assert batch.wait(BOUND)
    read = dicast.RewardResult.from_verdict

    def interrupted(_verdict: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(dicast.RewardResult, "from_verdict", interrupted)
    for take in (batch.results, ticket.result):
        with pytest.raises(KeyboardInterrupt):
            take()
    # The library has given out the verdict.
    with pytest.raises(dicast.InvalidArgumentError):
        batch.rewards()
    monkeypatch.setattr(dicast.RewardResult, "from_verdict", read)
    assert batch.results()[0].ranking == ["1", "2"] and ticket.result().scores


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_is_told_and_does_not_hang(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    batch, ticket = judge.submit_groups([group(SHORTER)]), judge.submit(**example)
    # As if another thread were taking outcomes now.
    locks = [batch._turn.lock, ticket._turn.lock]
    for lock in locks:
        assert lock.acquire(timeout=BOUND)
    child = os.fork()
    if child == 0:
        told = 0
        for take in (lambda: batch.result(0), batch.rewards, lambda: ticket.result(BOUND)):
            try:
                take()
            except dicast.ClosedError:
                told += 1
            except BaseException:
                pass
        os._exit(told)
    for lock in locks:
        lock.release()
    assert os.waitpid(child, 0)[1] >> 8 == 3
    assert batch.results(BOUND)[0].ranking == ["1", "2"] and ticket.result(BOUND).scores


def test_groups_that_are_no_groups(judge: dicast.Judge) -> None:
    wrong: List[Any] = [
        {"principle": "p", "prompt": "q"},
        {"principle": "p", "prompt": "q", "responses": ["a"], "resposes": []},
        {"principle": "p", "prompt": "q", "responses": {"a": "text"}},
        {"principle": "p", "prompt": "q", "responses": "text"},
        {"principle": "p", "prompt": "q", "responses": [7]},
        {"principle": "p", "prompt": "q", "responses": None},
        {"principle": None, "prompt": "q", "responses": ["a"]},
        {"principle": "p", "prompt": "q", "responses": ["a"], "options": None},
        {"principle": "p", "prompt": "q", "responses": ["a"], "options": {1: 2}},
        {"principle": "p", "prompt": "q", "responses": ["a"], "id": None},
        {1: 2},
        "text",
        None,
    ]
    for one in wrong:
        with pytest.raises(dicast.InvalidRequestError, match=r"^group 1: "):
            judge.submit_groups([group(SHORTER), one])
    for groups in (None, "text", {"principle": "p"}, 7):
        with pytest.raises(dicast.InvalidRequestError, match="groups is"):
            judge.submit_groups(groups)  # type: ignore[arg-type]
    times: List[Any] = [-1.0, math.nan, math.inf, 1e300, 10**400, "x", [1], True]
    wrong = [{"priority": priority} for priority in ("urgent", ["high"], 3)] + [{"deadline": time} for time in times]
    for terms in wrong:
        field = next(iter(terms))
        with pytest.raises(dicast.InvalidArgumentError, match=rf"^{field} is "):
            judge.submit_groups([group(SHORTER)], **terms)
        with pytest.raises(dicast.InvalidArgumentError, match=rf"^group 0: {field} is "):
            judge.submit_groups([group(SHORTER, **terms)])
    with pytest.raises(dicast.InvalidRequestError, match=r"^there is no generation setting"):
        judge.submit_groups([group(SHORTER)], nonsense=1)
    # A sequence is not needed.
    batch = judge.submit_groups(group(SHORTER) for _ in range(2))
    for reward in ("best", ["rank"]):
        with pytest.raises(dicast.InvalidArgumentError):
            batch.rewards(reward)  # type: ignore[arg-type]
    for time in (math.nan, math.inf, 1e300, "x"):
        for wait in (batch.wait, batch.results):
            with pytest.raises(dicast.InvalidArgumentError, match=r"^timeout is .* None waits without limit"):
                wait(time)  # type: ignore[arg-type]
    assert batch.wait(-1) in (False, True) and len(batch.results(1e9)) == 2


def test_times_of_other_calls_are_checked(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    ticket, events = judge.submit(**example), dicast.Events()
    wrong: List[Any] = [math.nan, math.inf, 1e300, "x"]
    for time in wrong:
        with pytest.raises(dicast.InvalidArgumentError, match=r"^timeout is "):
            ticket.result(time)
        with pytest.raises(dicast.InvalidArgumentError, match=r"^timeout is "):
            events.next(time)
        with pytest.raises(dicast.InvalidArgumentError, match=r"^deadline is "):
            judge.submit(**example, deadline=time)
        with pytest.raises(dicast.InvalidArgumentError, match=r"^patience is "):
            judge.sleep(patience=time)
    with pytest.raises(dicast.InvalidArgumentError, match=r"^priority is "):
        judge.submit(**example, priority=["high"])  # type: ignore[arg-type]
    with pytest.raises(dicast.InvalidArgumentError, match=r"^arriving is "):
        judge.sleep(arriving=["wait"])  # type: ignore[arg-type]
    assert ticket.result(BOUND).scores


def test_a_prefix_is_kept(example: Dict[str, Any]) -> None:
    with dicast.from_pretrained(MODEL) as judge:
        with judge.warm(example["principle"]) as pin:
            assert pin.tokens > 30
            # The last token of the prefix may merge with the beginning of a prompt.
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


def test_the_example_of_a_kept_prefix() -> None:
    program = [sys.executable, str(ROOT / "examples/python/warming.py"), str(MODEL)]
    said = subprocess.run(program, check=True, capture_output=True, text=True, timeout=BOUND).stdout
    kept, *judged = said.splitlines()
    tokens = int(kept.split()[0])
    reused = [int(line.split("; ")[1].split()[0]) for line in judged]
    assert len(reused) == 3 and all(count + 1 >= tokens for count in reused), said


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
        # Python handles a signal between two steps: here, not while something else is freed, which would swallow it.
        for _ in range(1000):
            pass

    with pytest.raises(RuntimeError, match="not today"):
        dicast.Judge(MODEL, progress=fails)
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before_tests = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            dicast.Judge(MODEL, progress=interrupts)
    finally:
        signal.signal(signal.SIGINT, before_tests)
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
