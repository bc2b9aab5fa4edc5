"""The HTTP client, with a server that has the reference's routes and a real judge, and with faulty servers."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import sys
import threading
import time
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from server import judged, of_dicast, serving

GOOD = {"thoughts": "t", "results": {"scores": {"a": 5, "b": 2.5}, "best-to-worst": ["a", "b"]}}
REQUEST = {"principle": "p", "prompt": "q", "responses": {"a": "x", "b": "y"}}
BODY = {**REQUEST, "mask_responses": True}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Waits between attempts are recorded, but take no time."""
    waits: List[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_it_judges(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    with serving(of_dicast(judged(judge))) as served:
        client = dicast.Client(served.url + "/", api_key="secret", headers={"X-Run": "7"})
        assert client.health_check()
        result = client.judge(**example, temperature=0.0)
        assert result.scores == {"short and useful": 5, "long and detailed": 1, "vague": 3}
        assert list(result.scores) == list(example["responses"])
        batch = client.judge_batch([example, dicast.RewardRequest(**example)])
        assert [one.scores for one in batch] == [result.scores] * 2
        assert client.judge_batch([]) == []
        assert asyncio.run(client.ajudge(**example)).scores == result.scores
        assert asyncio.run(client.ajudge_batch([example]))[0].scores == result.scores
    route, body, headers = served.requests[1]
    assert route == "/api/rewardanything" and headers["Authorization"] == "Bearer secret" and headers["X-Run"] == "7"
    assert body == {**example, "mask_responses": True, "options": {"temperature": 0.0}}
    assert served.requests[2][0] == "/api/rewardanything_batch"


def test_settings_reach_the_server_as_it_reads_them() -> None:
    settings = {"temperature": 0.0, "max_new_tokens": 64, "batch_size": 8}
    for server, fields in ((of_dicast, "options"), (lambda answer: answer, "top")):
        with serving(server(lambda route, body: (200, [GOOD] if isinstance(body, list) else GOOD, {}))) as served:
            dicast.Client(served.url).judge_batch([REQUEST], **settings)
        sent = served.requests[-1][1]
        if fields == "options":
            assert sent == [{**BODY, "options": {"temperature": 0.0, "max_reasoning_tokens": 64}}]
        else:
            assert sent == {**BODY, "temperature": 0.0, "max_new_tokens": 64}


def test_what_the_server_says_beyond_the_reference_is_kept() -> None:
    said = {**GOOD, "expected_scores": {"a": 4.5, "b": 2.0}, "repairs": ["extra_comma"], "usage": {"prompt_tokens": 9}}
    with serving(lambda route, body: (200, said, {})) as served:
        result = dicast.Client(served.url).judge(**REQUEST)
    assert result.expected_scores == {"a": 4.5, "b": 2.0} and result.repairs == ["extra_comma"]
    assert result.usage.prompt_tokens == 9 and result.scores == {"a": 5, "b": 2.5}


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"scores": {}, "best-to-worst": []},
        {"scores": {"a": 5}, "best-to-worst": ["a", "b"]},
        {"scores": {"a": 5, "b": "2"}, "best-to-worst": ["a", "b"]},
        {"scores": {"a": 5, "b": True}, "best-to-worst": ["a", "b"]},
        {"scores": {"a": 5, "b": 2}, "best-to-worst": ["a", "a"]},
        {"scores": [5, 2], "best-to-worst": "ab"},
        None,
    ],
)
def test_an_incomplete_answer_is_an_error_whatever_its_status(results: Any) -> None:
    with serving(lambda route, body: (200, {"thoughts": "t", "results": results}, {})) as served:
        with pytest.raises(dicast.InvalidVerdictError) as caught:
            dicast.Client(served.url).judge(**REQUEST)
    assert caught.value.partial is not None and caught.value.partial.reasoning == "t"


def test_a_batch_keeps_what_was_judged() -> None:
    failed = {"error": {"kind": "context_overflow", "message": "too long"}}
    with serving(of_dicast(lambda route, body: (200, [GOOD, failed, {"results": {}}], {}))) as served:
        client = dicast.Client(served.url)
        with pytest.raises(dicast.BatchError) as caught:
            client.judge_batch([REQUEST] * 3)
        kinds = [getattr(result, "kind", "judged") for result in caught.value.results]
        assert kinds == ["judged", "context_overflow", "invalid_verdict"]
        assert isinstance(caught.value.results[1], dicast.ContextOverflowError)
        mixed = client.judge_batch([REQUEST] * 3, return_exceptions=True)
        assert [getattr(result, "kind", "judged") for result in mixed] == kinds
        with pytest.raises(dicast.InvalidVerdictError):
            client.judge_batch([REQUEST] * 2)


@pytest.mark.parametrize(
    "status, body, error, tries",
    [
        (400, {"detail": "bad"}, dicast.InvalidRequestError, 1),
        (401, {}, dicast.NetworkError, 1),
        (404, b"<html>", dicast.NetworkError, 1),
        (413, {}, dicast.TooLargeError, 1),
        (429, {}, dicast.OverloadedError, 3),
        (500, {"detail": "broken"}, dicast.EngineError, 3),
        (503, {}, dicast.OverloadedError, 3),
        (422, {"error": {"kind": "context_overflow", "message": "9000 tokens"}}, dicast.ContextOverflowError, 1),
        (
            502,
            {"error": {"kind": "invalid_verdict", "message": "m", "partial": {"raw": "r"}}},
            dicast.InvalidVerdictError,
            3,
        ),
        (
            502,
            {"error": {"kind": "invalid_verdict", "message": "m", "retryable": False}},
            dicast.InvalidVerdictError,
            1,
        ),
        (503, {"error": {"kind": "engine_dead", "message": "m", "retryable": False}}, dicast.EngineDeadError, 1),
        (409, {"error": {"kind": "engine", "message": "m", "retryable": True}}, dicast.EngineError, 3),
        (500, {"error": {"kind": "of a later release", "message": "m"}}, dicast.DicastError, 3),
    ],
)
def test_a_refusal_has_its_kind(status: int, body: Any, error: Any, tries: int, no_waiting: List[float]) -> None:
    with serving(lambda route, _: (status, body, {})) as served:
        with pytest.raises(error) as caught:
            dicast.Client(served.url, max_retries=2).judge(**REQUEST)
    assert len(served.requests) == tries and caught.value.retryable == (tries > 1)
    assert no_waiting == [1.0, 2.0][: tries - 1]
    assert str(status) in str(caught.value)


def test_a_server_that_recovers_is_asked_again(no_waiting: List[float]) -> None:
    answers = iter([(503, {}, {"Retry-After": "7"}), None, (500, {}, {"Retry-After": "86400"}), (200, GOOD, {})])
    with serving(lambda route, body: next(answers)) as served:
        assert dicast.Client(served.url).judge(**REQUEST).scores == {"a": 5, "b": 2.5}
    assert no_waiting == [7.0, 2.0, 30.0], "what the server asks for, the doubled wait, and never more than the bound"


def test_nobody_there(no_waiting: List[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = dicast.Client(f"http://127.0.0.1:{taken.getsockname()[1]}", max_retries=1)
        with pytest.raises(ConnectionError) as caught:
            client.judge(**REQUEST)
        assert isinstance(caught.value, dicast.NetworkError) and caught.value.retryable
        assert client.health_check() is False
    assert no_waiting == [1.0]


def test_a_batch_for_another_server_is_sent_one_by_one_and_keeps_its_order() -> None:
    arrived: List[str] = []
    lock = threading.Lock()
    together = threading.Barrier(4)

    def answer(route: str, body: Any) -> Any:
        if route == "/health":
            return 200, {"status": "healthy", "service": "RewardAnything API"}, {}
        assert route == "/api/rewardanything"
        number = int(body["prompt"])
        if number < 4:
            together.wait(10)
        with lock:
            arrived.append(body["prompt"])
        if number == 5:
            return 422, {"error": {"kind": "context_overflow", "message": "too long"}}, {}
        return 200, {"thoughts": str(number), "results": GOOD["results"]}, {}

    with serving(answer) as served:
        client = dicast.Client(served.url, parallel=4)
        requests = [{**REQUEST, "prompt": str(number)} for number in range(9)]
        results = client.judge_batch(requests, return_exceptions=True)
        assert [getattr(one, "reasoning", None) for one in results] == ["0", "1", "2", "3", "4", None, "6", "7", "8"]
        assert isinstance(results[5], dicast.ContextOverflowError) and sorted(arrived) == [str(n) for n in range(9)]
        assert len(served.requests) == 10, "what the server is, is asked once"


def test_a_batch_for_a_server_that_is_gone_ends_soon(no_waiting: List[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = dicast.Client(f"http://127.0.0.1:{taken.getsockname()[1]}", max_retries=1, parallel=2)
        with pytest.raises(dicast.BatchError) as caught:
            client.judge_batch([REQUEST] * 1000)
    assert isinstance(caught.value, ConnectionError) and len(caught.value.results) == 1000
    assert 1 <= len(no_waiting) <= 4


def test_the_time_of_a_batch_is_that_of_the_whole() -> None:
    def answer(route: str, body: Any) -> Any:
        if route != "/health":
            threading.Event().wait(0.25)
        return 200, GOOD, {}

    with serving(answer) as served:
        client = dicast.Client(served.url, parallel=1)
        begin = time.monotonic()
        results = client.judge_batch([REQUEST] * 50, timeout=0.9, return_exceptions=True)
        assert time.monotonic() - begin < 3
    assert results[0].ranking and isinstance(results[-1], dicast.JudgmentTimeoutError)


def test_an_error_of_a_batch_is_caught_as_its_first() -> None:
    failed = {"error": {"kind": "overloaded", "message": "full"}}
    with serving(of_dicast(lambda route, body: (200, [GOOD, failed], {}))) as served:
        with pytest.raises(dicast.OverloadedError) as caught:
            dicast.Client(served.url).judge_batch([REQUEST] * 2)
    error = caught.value
    assert isinstance(error, dicast.BatchError) and not isinstance(error, dicast.ContextOverflowError)
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, dicast.BatchError) and isinstance(again, dicast.OverloadedError)
    assert again.results[0] == error.results[0] and str(again) == str(error)


def test_errors_are_those_of_requests_too(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def errors(url: str, timeout: Any = 5.0) -> Any:
        found = []
        for client in (reference("client").Client, dicast.Client):
            with pytest.raises(requests.exceptions.RequestException) as caught:
                client(url, timeout=timeout, max_retries=0).judge(**REQUEST)
            found.append(caught.value)
        return found

    with serving(lambda route, body: (503, {"detail": "full"}, {"X-Id": "7"})) as served:
        theirs, ours = errors(served.url)
    for error in (theirs, ours):
        assert isinstance(error, requests.exceptions.HTTPError) and error.response.status_code == 503
        assert error.response.json() == {"detail": "full"} and error.response.headers["x-id"] == "7"
    assert isinstance(ours, dicast.OverloadedError)
    again = pickle.loads(pickle.dumps(ours))
    assert isinstance(again, requests.exceptions.HTTPError) and isinstance(again, dicast.OverloadedError)
    assert again.response.status_code == 503 and str(again) == str(ours)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        theirs, ours = errors(f"http://127.0.0.1:{taken.getsockname()[1]}")
    for error in (theirs, ours):
        assert isinstance(error, requests.exceptions.ConnectionError)
    assert isinstance(ours, ConnectionError) and isinstance(ours, dicast.NetworkError)

    for timeout in (0.3, (5.0, 0.3)):
        with raw_server([]) as url:
            with pytest.raises(requests.exceptions.ReadTimeout):
                reference("client").Client(url, timeout=timeout, max_retries=0).judge(**REQUEST)
        with raw_server([]) as url:
            with pytest.raises(requests.exceptions.ReadTimeout) as late:
                dicast.Client(url, timeout=timeout).judge(**REQUEST)
        assert isinstance(late.value, dicast.JudgmentTimeoutError)
    with serving(lambda route, body: (200, b"{", {})) as served:
        _, ours = errors(served.url)
    assert isinstance(ours, requests.exceptions.InvalidJSONError) and isinstance(ours, dicast.InvalidVerdictError)

    with serving(lambda route, body: (503, {}, {})) as served:
        with pytest.raises(requests.exceptions.HTTPError) as batch:
            dicast.Client(served.url, max_retries=0).judge_batch([REQUEST])
    assert batch.value.response.status_code == 503
    monkeypatch.delitem(sys.modules, "requests.exceptions")
    with serving(lambda route, body: (503, {}, {})) as served:
        with pytest.raises(dicast.OverloadedError) as plain:
            dicast.Client(served.url, max_retries=0).judge(**REQUEST)
    assert type(plain.value) is dicast.OverloadedError, "a program without requests gets none of it"


def test_timeouts_in_all_forms() -> None:
    def slow(route: str, body: Any) -> Any:
        threading.Event().wait(0.2)
        return 200, GOOD, {}

    with serving(slow) as served:
        for timeout in (None, 5, 5.0, (1.0, 5.0), (None, 5.0), (1.0, None), float("inf")):
            client = dicast.Client(served.url, timeout=timeout, max_retries=0)
            assert client.judge(**REQUEST).ranking == ["a", "b"]
            assert client.judge_batch([REQUEST] * 2)[1].ranking == ["a", "b"] and client.health_check()
        with pytest.raises(dicast.JudgmentTimeoutError, match=r"within 0\.05 s"):
            dicast.Client(served.url, timeout=(5.0, 0.05)).judge(**REQUEST)
        with pytest.raises(dicast.JudgmentTimeoutError):
            dicast.Client(served.url).judge(**REQUEST, timeout=(5.0, 0.05))
    for wrong in (0, -1, "5", True, (1.0,), (1.0, 2.0, 3.0), (1.0, -2.0), float("nan")):
        with pytest.raises(dicast.InvalidConfigError):
            dicast.Client("http://localhost", timeout=wrong)


def test_connecting_has_a_limit_of_its_own(no_waiting: List[float]) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # The queue of a socket fills up if no connection is accepted; then the system no longer answers.
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.setblocking(False)
            with contextlib.suppress(OSError):
                one.connect(address)
        begin = time.monotonic()
        with pytest.raises(dicast.JudgmentTimeoutError, match="could not connect within"):
            dicast.Client(f"http://127.0.0.1:{address[1]}", timeout=(0.2, None), max_retries=1).judge(**REQUEST)
        assert time.monotonic() - begin < 5 and no_waiting == [1.0], "what the server has not seen is sent again"
        for one in held:
            one.close()


@contextlib.contextmanager
def raw_server(said: List[bytes]) -> Iterator[str]:
    """Accepts a connection, sends all of this, and then nothing."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(65536)
                for part in said:
                    with contextlib.suppress(OSError):
                        connection.sendall(part)
                    if stop.wait(0.05):
                        return
                stop.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            stop.set()
            thread.join()


@pytest.mark.parametrize(
    "said",
    [
        [],
        [b"HTTP/1.1 200 OK\r\n"] + [b"X-Slow: 1\r\n"] * 1000,
        [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"] + [b" "] * 1000,
    ],
    ids=["silence", "endless headers", "a slow body"],
)
def test_the_timeout_is_that_of_the_whole_exchange(said: List[bytes], no_waiting: List[float]) -> None:
    with raw_server(said) as url:
        with pytest.raises(dicast.JudgmentTimeoutError) as caught:
            dicast.Client(url, timeout=0.3).judge(**REQUEST)
    assert isinstance(caught.value, TimeoutError)
    assert no_waiting == [], "the server may be at work on it: it is not sent again"


def test_what_is_no_answer() -> None:
    with raw_server([b"SSH-2.0-OpenSSH\r\n"]) as url:
        with pytest.raises(dicast.NetworkError):
            dicast.Client(url, max_retries=0, timeout=5.0).judge(**REQUEST)
    with serving(lambda route, body: (200, b"{", {})) as served:
        with pytest.raises(dicast.InvalidVerdictError, match="not JSON"):
            dicast.Client(served.url).judge(**REQUEST)


def test_redirects_are_not_followed() -> None:
    with serving(lambda route, body: (302, {}, {"Location": "http://elsewhere.invalid/"})) as served:
        with pytest.raises(dicast.NetworkError, match="302") as caught:
            dicast.Client(served.url, api_key="secret").judge(**REQUEST)
    assert not caught.value.retryable and len(served.requests) == 1


def test_what_is_wrong_with_a_request_is_found_before_it_is_sent() -> None:
    for url in ("localhost:8001", "file:///etc/passwd"):
        with pytest.raises(dicast.InvalidConfigError):
            dicast.Client(url)
    with serving(lambda route, body: (200, GOOD, {})) as served:
        client = dicast.Client(served.url)
        with pytest.raises(dicast.InvalidRequestError):
            client.judge("p", "q", {})
        with pytest.raises(dicast.InvalidRequestError):
            client.judge_batch([{"principle": "p"}])
    assert not served.requests
