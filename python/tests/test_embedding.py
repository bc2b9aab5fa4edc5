"""Functions for programs that embed a judge, besides judgments: figures, counts, tickets, events, sleep, engines."""

from __future__ import annotations

import math
import selectors
import threading
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from dicast import engine
from support import MODEL

#: More than any wait here takes, in seconds.
BOUND = 60.0


def test_figures(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    before = judge.metrics()
    judge.judge(**example)
    with pytest.raises(dicast.InvalidRequestError):
        judge.judge("p", "q", {})
    after = judge.metrics()
    assert after["judged"] == before["judged"] + 1
    assert after["failed"]["invalid_request"] == before["failed"].get("invalid_request", 0) + 1
    assert after["times"]["total"]["count"] == after["judged"] and after["times"]["total"]["p95"] > 0
    assert sum(bucket["count"] for bucket in after["times"]["verdict"]["buckets"]) == after["judged"]
    assert after["tokens"]["prompt"] > before["tokens"]["prompt"] and 0 <= after["reused_share"] <= 1
    assert after["recent"]["written_tokens_per_second"] > 0
    text = judge.prometheus({"judge": 'a"b\\c'})
    assert f'\ndicast_judgments_total{{judge="a\\"b\\\\c",outcome="ok"}} {after["judged"]}\n' in text
    assert "\ndicast_asleep 0\n" in judge.prometheus()
    with pytest.raises(dicast.InvalidArgumentError):
        judge.prometheus({"no label": "x"})


def test_tokens_and_memory_are_known_before(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    count = judge.count(**example)
    usage = judge.judge(**example).usage
    assert count.fits and count.exact and count.runs == 1 and count.context_tokens == judge.info.context_tokens
    assert usage.prompt_tokens == count.prompt_tokens > count.shared_tokens
    assert usage.reasoning_tokens + usage.verdict_tokens <= count.output_tokens
    assert not judge.count(**example, max_reasoning_tokens=100_000).fits
    need = dicast.memory_need(MODEL, local={"kv_cache_tokens": 4096})
    assert need.kv_tokens >= 4096 and need.weights > 0 and need.kv_cache > 0
    with pytest.raises(dicast.ModelNotFoundError):
        dicast.memory_need("/nowhere/judge.gguf")


def test_a_judge_sleeps_and_wakes(example: Dict[str, Any]) -> None:
    with dicast.from_pretrained(MODEL) as judge:
        awake = judge.judge(**example)
        judge.sleep(arriving="fail")
        assert judge.asleep
        with pytest.raises(dicast.AsleepError):
            judge.judge(**example)
        judge.sleep(arriving="wait")
        waiting = judge.submit(**example)
        assert not waiting.done()
        judge.wake()
        assert not judge.asleep and waiting.result(BOUND).scores == awake.scores
        judge.reload()
        assert judge.weights == 1 and judge.judge(**example).weights == 1
        with pytest.raises(dicast.ModelNotFoundError):
            judge.reload("/nowhere/judge.gguf")
        assert judge.judge(**example).scores == awake.scores
        with pytest.raises(dicast.InvalidArgumentError):
            judge.sleep(arriving="never")


def test_tickets(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    pieces: List[str] = []
    ticket = judge.submit(**example, id="seven", priority="high", deadline=BOUND, on_reasoning=pieces.append)
    result = ticket.result(BOUND)
    assert ticket.done() and ticket.result() is result
    # Its last piece may come after the verdict.
    assert result.reasoning.startswith("".join(pieces))
    with pytest.raises(dicast.JudgmentTimeoutError):
        judge.submit(**example, deadline=0).result(BOUND)
    with pytest.raises(dicast.InvalidArgumentError):
        judge.submit(**example, priority="urgent")
    with pytest.raises(dicast.InvalidArgumentError):
        judge.submit(**example, deadline=math.nan)
    with pytest.raises(dicast.InvalidRequestError):
        judge.submit("p", "q", {})

    def fails(_piece: str) -> None:
        raise RuntimeError("a listener must not fail a judgment")

    assert judge.submit(**example, on_reasoning=fails).result(BOUND).scores == result.scores


def test_events(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    events = dicast.Events(limit=4)
    assert events.next() is None
    for tag in range(4):
        judge.submit_event(events, tag, **example, priority="low")
    with pytest.raises(dicast.OverloadedError):
        judge.submit_event(events, 4, **example)
    seen = set()
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        while len(seen) < 4:
            assert selector.select(BOUND)
            while (event := events.next()) is not None:
                assert event.error is None and event.result is not None and event.result.scores
                seen.add(event.tag)
    assert seen == {0, 1, 2, 3}
    judge.submit_event(events, 9, **example, deadline=0)
    event = events.next(BOUND)
    assert event is not None and event.result is None and isinstance(event.error, dicast.JudgmentTimeoutError)


class Toy(engine.Engine):
    guidance = "grammar"
    distributions = True

    def __init__(self) -> None:
        self.held: List[engine.Job] = []
        self.cancelled: List[int] = []
        self.ended = threading.Event()
        self.mode = "answer"

    def generate(self, job: engine.Job) -> None:
        if self.mode == "raise":
            raise RuntimeError("no")
        if self.mode == "drop":
            return
        if self.mode == "hold":
            self.held.append(job)
            return
        threading.Thread(target=self.work, args=(job,)).start()

    def work(self, job: engine.Job) -> None:
        plan = job.plan
        assert plan.guided and plan.reasons and plan.close and job.wanted and not job.tokens
        assert [message["role"] for message in job.messages] == ["system", "user"]
        text, last = job.grammar()
        assert last and text.startswith("root ::=") and "model-1" in job.schema
        job.reason("Short ")
        job.reason(b"wins.")
        job.answer('\n\n{\n  "scores": {"model-1": ')
        half = math.log(0.5)
        job.answer([engine.Token("4", half, [engine.Choice("4", half), engine.Choice(b"5", half)])])
        job.answer('},\n  "best-to-worst": ["model-1"]\n}')
        job.usage(verdict_tokens=9)
        job.finish()

    def cancel(self, job: int) -> None:
        self.cancelled.append(job)

    def closed(self) -> None:
        self.ended.set()


@pytest.fixture
def toy() -> Iterator[Toy]:
    yield Toy()


def test_an_engine_of_the_programs_own(toy: Toy) -> None:
    with engine.open_judge(toy, options={"seed": 7}, limits={"max_queue": 8}) as judge:
        assert judge.info.engine == "custom" and judge.info.guided
        result = judge.judge("Be short.", "How?", {"a": "So."})
        assert result.scores == {"a": 4} and result.expected_scores["a"] == pytest.approx(4.5)
        assert result.reasoning == "Short wins." and result.usage.verdict_tokens == 9
        toy.mode = "raise"
        with pytest.raises(dicast.EngineError, match="RuntimeError: no"):
            judge.judge("Be short.", "How?", {"a": "So."})
        toy.mode = "drop"
        with pytest.raises(dicast.EngineError, match="dropped the job"):
            judge.judge("Be short.", "How?", {"a": "So."})
        toy.mode = "hold"
        ticket = judge.submit("Be short.", "How?", {"a": "So."})
        number = toy.held[0].plan.id
        assert not ticket.done()
        ticket.cancel()
        with pytest.raises(dicast.JudgmentCancelledError):
            ticket.result(BOUND)
        assert toy.cancelled == [number] and not toy.held[0].wanted
        toy.held.pop().fail("too late", "overloaded")
        ticket = judge.submit("Be short.", "How?", {"a": "So."})
        toy.held.pop().fail("too many", "overloaded")
        with pytest.raises(dicast.OverloadedError, match="too many"):
            ticket.result(BOUND)
    assert toy.ended.wait(BOUND)
    toy.guidance = "much"
    with pytest.raises(dicast.InvalidArgumentError):
        engine.open_judge(toy)
