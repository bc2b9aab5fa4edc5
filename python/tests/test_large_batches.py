"""Batches of thousands: they end at once, and coroutines cost no more than threads."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Callable, List

import pytest

import dicast
from support import MODEL

#: More than any wait here takes, in seconds.
BOUND = 120.0


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition that another thread brings about."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.005)


@pytest.mark.parametrize("form", ["blocking", "coroutine"])
def test_ctrl_c_is_quick_whatever_the_batch(form: str) -> None:
    requests = [{"principle": "p", "prompt": "q", "responses": {"a": "x"}}] * 10_000
    main = threading.main_thread().ident
    assert main is not None
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waits: List[float] = []
    try:
        with dicast.from_pretrained(MODEL, limits={"max_queue": 16384}) as judge:
            # While requests are handed over, and while nearly all of them wait.
            for submitted in (100, 8000):
                sent: List[float] = []

                def interrupt(submitted: int = submitted, sent: List[float] = sent) -> None:
                    until(lambda: judge.stats().pending > submitted)
                    sent.append(time.monotonic())
                    signal.pthread_kill(main, signal.SIGINT)

                thread = threading.Thread(target=interrupt)
                thread.start()
                with pytest.raises(KeyboardInterrupt):
                    if form == "blocking":
                        judge.judge_batch(requests)
                    else:
                        asyncio.run(judge.ajudge_batch(requests))
                waits.append(time.monotonic() - sent[0])
                thread.join(BOUND)
                until(lambda: judge.stats().pending == 0)
    finally:
        signal.signal(signal.SIGINT, before)
    # A quarter of a second; a busy machine may take longer once.
    assert min(waits) < 0.25 and max(waits) < 1.0, waits


def test_coroutines_cost_no_more_than_threads() -> None:
    requests = [{"principle": "p", "prompt": "q", "responses": {"a": "x"}}] * 1500
    with dicast.from_pretrained(MODEL, limits={"max_queue": 256}) as judge:
        costs = []
        for _ in range(2):
            start = time.thread_time()
            judge.judge_batch(requests, max_reasoning_tokens=0)
            middle = time.thread_time()
            asyncio.run(judge.ajudge_batch(requests, max_reasoning_tokens=0))
            costs.append((time.thread_time() - middle) / (middle - start))
    # It was 2.7 when each request looked at all pending ones.
    assert min(costs) < 1.6, costs
