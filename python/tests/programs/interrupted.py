"""Waits in the way that its first argument names, with the model that the second one names, until Ctrl-C comes.

Prints `waiting` before, and afterwards the time at which the exception came.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socketserver
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import dicast
import dicast.engine
from dicast.trainers import LazyJudge, Settings, openrlhf, slime, trl, verl

MODEL = sys.argv[2] if len(sys.argv) > 2 else ""
LONG = {"a": "word " * 300, "b": "other " * 300}
REQUEST: Dict[str, Any] = {"principle": "Be kind.", "prompt": "Hi", "responses": LONG}
MANY = [REQUEST] * 10_000
GROUP = dicast.Group("Be kind.", "Hi", list(LONG.values()))
SAMPLE = {"data_source": "s", "solution_str": "x", "ground_truth": "g", "extra_info": {"prompt": "q"}}

#: What waits: a function that prepares it, and returns the call that waits.
FORMS: Dict[str, Callable[[], Callable[[], Any]]] = {}


def form(name: str) -> Callable[[Any], Any]:
    def added(prepare: Any) -> Any:
        FORMS[name] = prepare
        return prepare

    return added


def wide() -> dicast.Judge:
    """A judge whose queue takes all."""
    return dicast.from_pretrained(MODEL, limits={"max_queue": 16384})


def narrow() -> dicast.Judge:
    return dicast.from_pretrained(MODEL)


def all_of(*coroutines: Any) -> None:
    async def run() -> None:
        await asyncio.gather(*coroutines)

    asyncio.run(run())


@form("judge")
def _() -> Any:
    judge = narrow()

    def work() -> None:
        while True:
            judge.judge(**REQUEST)

    return work


def judged(judge: dicast.Judge) -> Any:
    return lambda: judge.judge_batch(MANY)


def awaited(judge: dicast.Judge) -> Any:
    return lambda: asyncio.run(judge.ajudge_batch(MANY))


FORMS["a batch"] = lambda: judged(wide())
FORMS["a batch, coroutine"] = lambda: awaited(wide())
FORMS["a batch beyond the queue"] = lambda: judged(narrow())
FORMS["a batch beyond the queue, coroutine"] = lambda: awaited(narrow())


@form("coroutines")
def _() -> Any:
    judge = wide()
    return lambda: all_of(*(judge.ajudge(**one) for one in MANY[:1000]))


@form("a ticket")
def _() -> Any:
    judge = wide()
    tickets = [judge.submit(**REQUEST) for _ in range(2000)]
    return lambda: (tickets[-1].result(), judge)


@form("results of groups")
def _() -> Any:
    judge = narrow()
    batch = judge.submit_groups([GROUP] * 10_000)
    return lambda: (batch.results(), judge)


@form("an end of groups")
def _() -> Any:
    judge = narrow()
    batch = judge.submit_groups([GROUP] * 10_000)
    return lambda: (batch.wait(600), judge)


@form("events")
def _() -> Any:
    return lambda: dicast.Events().next(None)


@form("loading")
def _() -> Any:
    # Each line of the log is handled in Python, in the middle of loading.
    logging.basicConfig(level=logging.DEBUG, handlers=[logging.NullHandler()])

    def work() -> None:
        while True:
            narrow().close()

    return work


@form("falling asleep")
def _() -> Any:
    judge = narrow()
    judge.kept = busy(judge)
    return judge.sleep


@form("other weights")
def _() -> Any:
    judge = narrow()
    judge.kept = busy(judge)
    return judge.reload


def busy(judge: Any) -> Any:
    """Judgments that run for a while."""
    batch = judge.submit_groups([GROUP] * 3000)
    while not judge.stats().running:
        time.sleep(0.01)
    return batch


class Keeping(dicast.engine.Engine):
    """Never answers."""

    def __init__(self) -> None:
        self.jobs: List[Any] = []

    def generate(self, job: Any) -> None:
        self.jobs.append(job)


class Computing(dicast.engine.Engine):
    """Computes in the thread that submits, for a long time."""

    def generate(self, job: Any) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass


@form("an engine of the program's own")
def _() -> Any:
    judge = dicast.engine.open_judge(Keeping())
    return lambda: judge.judge(**REQUEST)


@form("an engine of the program's own that computes")
def _() -> Any:
    judge = dicast.engine.open_judge(Computing())
    return lambda: judge.judge(**REQUEST)


# Servers that do not answer.


def stalled(answers: Any) -> str:
    """The URL of a server that takes every connection, and answers only on these routes and to what is asked when a
    judge is opened."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in iter(self.rfile.readline, b""):
                length = 0
                for header in iter(self.rfile.readline, b"\r\n"):
                    name, _, value = header.decode().partition(":")
                    length = int(value) if name.lower() == "content-length" else length
                body = self.rfile.read(length)
                said = answers.get(line.decode().split(" ")[1])
                if answers is OPENAI and b"Say a word" in body:
                    content = json.dumps({"word": "quoxal"}) if b"json_schema" in body else "hello"
                    said = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
                if said is not None:
                    text = json.dumps(said).encode()
                    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                    self.wfile.write(head % len(text) + text)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 1024

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


SILENT: Dict[str, Any] = {}
OPENAI = {"/v1/models": {"data": [{"id": "judge", "owned_by": "someone"}]}}
REFERENCE = {"/health": {"status": "healthy", "service": "RewardAnything API"}, "/v1/models": {}}
DICAST = {"/health": {"status": "healthy", "service": "Dicast"}, "/v1/models": {}}


@form("opening a silent server")
def _() -> Any:
    url = stalled(SILENT)
    return lambda: dicast.from_pretrained(url)


@form("opening a silent server, coroutine")
def _() -> Any:
    judge = LazyJudge(stalled(SILENT))
    return lambda: asyncio.run(judge.ajudge_batch([REQUEST]))


def behind(work: Callable[[dicast.Judge], Any]) -> Any:
    judge = dicast.from_pretrained(stalled(OPENAI), remote={"stream": False})
    return lambda: work(judge)


FORMS["a judge behind a server"] = lambda: behind(lambda judge: judge.judge(**REQUEST))
FORMS["a batch behind a server"] = lambda: behind(lambda judge: judge.judge_batch(MANY))
FORMS["a batch behind a server, coroutine"] = lambda: behind(lambda judge: asyncio.run(judge.ajudge_batch(MANY)))


def asked(answers: Any, work: Callable[[dicast.Client], Any]) -> Any:
    client = dicast.Client(stalled(answers))
    return lambda: work(client)


for name, answers in (("silent", SILENT), ("reference", REFERENCE), ("Dicast", DICAST)):
    for call, work in (
        ("judge", lambda client: client.judge(**REQUEST)),
        ("batch", lambda client: client.judge_batch(MANY)),
        ("judge, coroutine", lambda client: asyncio.run(client.ajudge(**REQUEST))),
        ("batch, coroutine", lambda client: asyncio.run(client.ajudge_batch(MANY))),
    ):
        FORMS[f"client of a {name} server: {call}"] = lambda answers=answers, work=work: asked(answers, work)


# Hooks of trainers.


def columns(count: int) -> Any:
    return [f"q{place // 8}" for place in range(count)], ["x " * 200] * count


@form("TRL")
def _() -> Any:
    hook = trl.reward_func(MODEL, "Be kind.")
    return lambda: hook(*columns(8000))


@form("TRL, coroutine")
def _() -> Any:
    hook = trl.async_reward_func(MODEL, "Be kind.")
    return lambda: asyncio.run(hook(*columns(8000)))


@form("TRL over a silent server, coroutine")
def _() -> Any:
    hook = trl.async_reward_func(dicast.Client(stalled(SILENT)), "Be kind.")
    return lambda: asyncio.run(hook(*columns(8)))


@form("a group of veRL")
def _() -> Any:
    hook = verl.single(Settings(MODEL, "Be kind.", group_size=8))
    return lambda: hook(**SAMPLE)


@form("a group of veRL, coroutines")
def _() -> Any:
    hook = verl.asynchronous(Settings(MODEL, "Be kind.", group_size=8))
    return lambda: all_of(*(hook(**SAMPLE) for _ in range(7)))


def routed() -> Settings:
    return Settings(dicast.Client(stalled(DICAST)), "Be kind.", route="/route")


@form("a route of a server")
def _() -> Any:
    hook = verl.single(routed())
    return lambda: hook(**SAMPLE)


@form("a route of a server, coroutine")
def _() -> Any:
    hook = verl.asynchronous(routed())
    return lambda: asyncio.run(hook(**SAMPLE))


@form("a group of slime")
def _() -> Any:
    hook = slime.make_reward(Settings(MODEL, "Be kind."))
    sample = SimpleNamespace(prompt="q", response="r", label=None, group_index=0, metadata={})
    arguments = SimpleNamespace(n_samples_per_prompt=8)
    return lambda: all_of(*(hook(arguments, sample) for _ in range(7)))


@form("a group of OpenRLHF")
def _() -> Any:
    hook = openrlhf.make_reward_func(Settings(MODEL, "Be kind.", group_size=8))
    return lambda: hook(["ab"], ["a"], ["l"])


def main() -> None:
    # A shell that starts the tests in the background has their children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        work = FORMS[sys.argv[1]]()
        print("waiting", flush=True)
        work()
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)


if __name__ == "__main__":
    main() if len(sys.argv) > 2 else print("\n".join(FORMS))
