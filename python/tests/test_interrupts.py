"""Ctrl-C: it ends every wait within a quarter of a second, and nothing is lost by it."""

from __future__ import annotations

import gc
import itertools
import logging
import pathlib
import random
import selectors
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Iterator, List

import pytest

import dicast
import dicast.engine
from support import MODEL

#: More than any wait here takes, in seconds.
BOUND = 120.0
PROGRAM = pathlib.Path(__file__).parent / "programs" / "interrupted.py"
FORMS = subprocess.run([sys.executable, str(PROGRAM)], check=True, capture_output=True, text=True).stdout.splitlines()


def interrupted(name: str) -> List[float]:
    """How long it took until the exception came, and until the program had ended, in seconds."""
    command = [sys.executable, "-W", "error", str(PROGRAM), name, str(MODEL)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "waiting\n", program.communicate()
        time.sleep(random.uniform(0.3, 0.6))  # At any moment of its waits.
        sent = time.monotonic()
        program.send_signal(signal.SIGINT)
        try:
            out, err = program.communicate(timeout=BOUND)
        finally:
            program.kill()
        assert (program.returncode, err) == (0, "") and out, (name, program.returncode, err, out)
        return [float(out) - sent, time.monotonic() - sent]


@pytest.mark.parametrize("name", FORMS)
def test_ctrl_c_ends_the_wait(name: str) -> None:
    # On a busy machine it may take longer once.
    for _attempt in range(3):
        caught, ended = interrupted(name)
        print(f"{name}: {caught * 1000:.0f} ms, the program ended after {ended * 1000:.0f} ms")
        if caught < 0.25 and ended < 5:
            return
    raise AssertionError((name, caught, ended))


def test_a_judge_that_nobody_takes_is_freed_before_the_program_ends() -> None:
    program = PROGRAM.with_name("loaded_too_late.py")
    command = [sys.executable, "-W", "error", str(program), str(MODEL)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=BOUND, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "caught\n", "")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, also where a shell that starts the tests in the background ignores it. And no garbage of other
    tests is collected: Python drops what is raised in the functions that it then calls."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    signal.signal(signal.SIGINT, before)


class Instant(dicast.engine.Engine):
    """Answers at once, from a thread of its own."""

    def __init__(self) -> None:
        self.jobs: List[Any] = []
        self.came = threading.Condition()
        threading.Thread(target=self.work, daemon=True).start()

    def generate(self, job: Any) -> None:
        with self.came:
            self.jobs.append(job)
            self.came.notify()

    def work(self) -> None:
        while True:
            with self.came:
                self.came.wait_for(lambda: self.jobs)
                job = self.jobs.pop()
            job.answer('{"scores": {"model-1": 4}, "best-to-worst": ["model-1"]}')
            job.finish()


REQUEST: Any = {"principle": "p", "prompt": "q", "responses": {"a": "x"}}


def storm(work: Callable[[], Any], times: int) -> int:
    """Interrupts a function that is called again and again, at random moments; returns how often the exception came."""
    main = threading.main_thread().ident
    assert main is not None
    at_random, seen, over = random.Random(7), threading.Semaphore(0), threading.Event()

    def interrupt() -> None:
        for _ in range(times):
            if not seen.acquire(timeout=10):
                break  # The last one got lost.
            time.sleep(at_random.uniform(0, 0.004))
            signal.pthread_kill(main, signal.SIGINT)
        seen.acquire(timeout=10)
        over.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    caught, told = 0, -1
    while True:
        try:
            # All of it is within this block: the next signal must find it.
            while not over.is_set():
                while told < caught:
                    told += 1
                    seen.release()
                work()
            break
        except KeyboardInterrupt:
            caught += 1
    thread.join()
    return caught


CALLS = {
    "judge": lambda judge: judge.judge(**REQUEST),
    "judge_batch": lambda judge: judge.judge_batch([REQUEST] * 8),
    "submit": lambda judge: judge.submit(**REQUEST).result(),
    "submit_groups": lambda judge: judge.submit_groups([dicast.Group("p", "q", ["x"])] * 8).results(),
}


@pytest.mark.parametrize("call", list(CALLS))
def test_no_ctrl_c_is_lost(call: str, ctrl_c: None, caplog: pytest.LogCaptureFixture) -> None:
    # Each line of the log is written by a callback, often in the thread that Ctrl-C interrupts.
    with caplog.at_level(logging.DEBUG, "dicast"), dicast.engine.open_judge(Instant()) as judge:
        assert storm(lambda: CALLS[call](judge), 300) == 300


def test_no_outcome_is_lost(ctrl_c: None) -> None:
    with dicast.engine.open_judge(Instant()) as judge:
        events, tags = dicast.Events(), itertools.count()
        submitted: List[int] = []
        taken: List[Any] = []

        def work() -> None:
            for _ in range(4):
                tag = next(tags)
                judge.submit_event(events, tag, **REQUEST)
                submitted.append(tag)
            for _ in range(4):
                taken.append(events.next(0.01))

        assert storm(work, 500) == 500
        selector = selectors.DefaultSelector()
        selector.register(events, selectors.EVENT_READ)
        # An event loop gets what is left.
        while not set(submitted) <= {event.tag for event in taken if event is not None}:
            assert selector.select(10), "the descriptor tells of every outcome"
            taken.append(events.next())
        assert all(event.result for event in taken if event is not None)
        got = [event.tag for event in taken if event is not None]
        assert len(got) == len(set(got)), "none comes twice"
