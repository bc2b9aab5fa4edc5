#!/usr/bin/env python3
"""The cost that Python adds to a judgment: the time of `Judge.judge` outside of the calls that wait for the engine.

    python benchmarks/overhead.py ../demo/dicast-demo.gguf

Four figures of the same work, in CPU time of the calling thread:

no engine   without any judgment: makes a request, turns an existing verdict into a result, frees both
woken       the same, after the thread has slept for 20 ms: the cost of waking up a thread on this machine
batch       `judge_batch` of 64: the time for each judgment outside of the two calls that wait for the engine
one         `judge`, in the same way

Those calls are `dicast_judge_submit`, which prepares and queues the request, and `dicast_ticket_wait`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any, Callable, List, Tuple

import dicast
from dicast import _library, local


class Stopped:
    """The library, with the time spent in those of its functions that wait for the engine."""

    waits = ("dicast_judge_submit", "dicast_ticket_wait")

    def __init__(self, lib: Any) -> None:
        self._lib = lib
        self.spent = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._lib, name)
        if name in self.waits:
            function = self._timed(function)
        self.__dict__[name] = function
        return function

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        clock = time.thread_time_ns

        def timed(*arguments: Any) -> Any:
            start = clock()
            try:
                return function(*arguments)
            finally:
                self.spent += clock() - start

        return timed


def request(responses: int, size: int) -> Tuple[str, str, Any]:
    text = ("word " * size)[:size]
    return "Prefer short responses.", "How do I learn Python?", {f"r{n}": f"{n} {text}" for n in range(responses)}


def overheads(judge: dicast.Judge, count: int, arguments: Tuple[Any, ...]) -> List[float]:
    """Microseconds of each of `count` judgments outside of the engine."""
    stopped = Stopped(_library.lib)
    local.lib = stopped
    try:
        times = []
        for _ in range(count):
            before, start = stopped.spent, time.thread_time_ns()
            judge.judge(*arguments)
            times.append((time.thread_time_ns() - start - (stopped.spent - before)) / 1e3)
        return times
    finally:
        local.lib = _library.lib


def batches(judge: dicast.Judge, count: int, arguments: Tuple[Any, ...]) -> List[float]:
    """The same of batches, a judgment."""
    principle, prompt, responses = arguments
    batch = [{"principle": principle, "prompt": prompt, "responses": responses}] * 64
    stopped = Stopped(_library.lib)
    local.lib = stopped
    try:
        times = []
        for _ in range(max(2, count // len(batch))):
            before, start = stopped.spent, time.thread_time_ns()
            judge.judge_batch(batch)
            times.append((time.thread_time_ns() - start - (stopped.spent - before)) / 1e3 / len(batch))
        return times
    finally:
        local.lib = _library.lib


def floor(count: int, arguments: Tuple[Any, ...], pause: float) -> List[float]:
    """Microseconds of making a request and of reading a verdict, without a judge, each after a pause in seconds."""
    names = list(arguments[2])
    scores = ", ".join(f'"{name}": 3' for name in names)
    text = f'<think>\nthought\n</think>\n{{"scores": {{{scores}}}, "best-to-worst": {names}}}'.replace("'", '"')
    out, error = _library.ffi.new("dicast_verdict **"), _library.ffi.new("dicast_error **")
    aliases, profile = _library.aliases_of(names, names), dicast.Profile.builtin()
    view, empty = _library.view(text, "text"), _library.view("", "policy")
    times = []
    for _ in range(count):
        _library.check(_library.lib.dicast_parse(view, aliases, profile.handle, empty, out, error), error)
        if pause:
            time.sleep(pause)
        start = time.thread_time_ns()
        _library.request_new(*arguments, None)
        dicast.RewardResult.from_verdict(_library.verdict_json(_library.owned("verdict", out[0])))
        times.append((time.thread_time_ns() - start) / 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="What Python adds to a judgment, in microseconds.")
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--judgments", type=int, default=300, help="judgments of each kind")
    args = parser.parse_args()
    print("microseconds a judgment, medians\nresponses  bytes each  no engine  woken  batch    one")
    with dicast.from_pretrained(args.model) as judge:
        for responses, size in ((1, 50), (2, 200), (4, 200), (8, 100)):
            arguments = request(responses, size)
            kinds = (
                floor(args.judgments, arguments, 0.0),
                floor(args.judgments, arguments, 0.02),
                batches(judge, args.judgments, arguments),
                overheads(judge, args.judgments, arguments),
            )
            bare, woken, batch, one = map(statistics.median, kinds)
            print(f"{responses:9}  {size:10}  {bare:9.1f}  {woken:5.1f}  {batch:5.1f}  {one:5.1f}")


if __name__ == "__main__":
    main()
