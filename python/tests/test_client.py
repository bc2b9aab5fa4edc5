"""The HTTP client, against a server with the reference's routes and a real judge, and against worse ones."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import Any, Dict, Iterator, List

import pytest

import dicast
from server import judged, serving

GOOD = {"thoughts": "t", "results": {"scores": {"a": 5, "b": 2.5}, "best-to-worst": ["a", "b"]}}
REQUEST = {"principle": "p", "prompt": "q", "responses": {"a": "x", "b": "y"}}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> List[float]:
    """Waits between attempts are noted, not waited."""
    waits: List[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_it_judges(judge: dicast.Judge, example: Dict[str, Any]) -> None:
    with serving(judged(judge)) as served:
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
    assert body == {**example, "mask_responses": True, "temperature": 0.0}


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
    with serving(lambda route, body: (200, [GOOD, failed, {"results": {}}], {})) as served:
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


@contextlib.contextmanager
def raw_server(said: List[bytes]) -> Iterator[str]:
    """Takes a connection, says all this, and then nothing."""
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
