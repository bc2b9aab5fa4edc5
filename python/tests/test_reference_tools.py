"""The reference's command line and its `utils`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import threading
import time
from typing import Any, Dict, List

import pytest

import dicast
from dicast import cli, utils
from server import serving

CHAT = {"choices": [{"message": {"role": "assistant", "content": "said"}}], "usage": {"total_tokens": 3}}


def requests(count: int) -> List[Dict[str, Any]]:
    return [{"uuid": f"r{n}", "messages": [{"role": "user", "content": str(n)}]} for n in range(count)]


def test_the_command_becomes_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    said = tmp_path / "said"
    program = tmp_path / "dicast"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {said}\nexit 7\n')
    program.chmod(0o755)
    begin = [sys.executable, "-c", "import sys, dicast.cli; sys.exit(dicast.cli.main())", "serve"]
    arguments = ["-c", "config.json", "--port", "9", "--base-output-path", str(tmp_path / "out"), "--anonymous"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(pathlib.Path(dicast.__file__).parents[1])}
    done = subprocess.run(begin + arguments, env=environment, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert done.returncode == 7, done.stderr
    expected = ["serve", "--config", "config.json", "--port", "9", "--host", "127.0.0.1"]
    assert said.read_text().splitlines() == [*expected, "--jobs", str(tmp_path / "out" / "jobs.db"), "--anonymous"]
    environment["PATH"] = "/nonexistent"
    done = subprocess.run(begin + arguments, env=environment, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert done.returncode == 2 and "cargo install dicast" in done.stderr


def test_the_command_has_the_arguments_of_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0 and "serve" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["serve"])
    place = importlib.metadata.distribution("rewardanything").locate_file("rewardanything/cli.py")
    source = pathlib.Path(str(place)).read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    shown = capsys.readouterr().out
    for option in ("--config", "--port", "--host", "--base-output-path"):
        assert option in source and option in shown


def test_completions_are_kept_and_not_asked_for_twice(tmp_path: pathlib.Path) -> None:
    def answer(route: str, body: Any) -> Any:
        assert route == "/v1/chat/completions" and body["model"] == "m" and body["max_tokens"] == 5
        return 200, {**CHAT, "echo": body["messages"][0]["content"]}, {}

    settings: Dict[str, Any] = {"api_model": "m", "api_key": ["k", "l"], "generation_config": {"max_tokens": 5}}
    with serving(answer) as served:
        settings["api_base"] = [f"{served.url}/v1"] * 2
        utils.run_api_inference(requests(5), tmp_path, **settings)
        lines = [json.loads(line) for line in (tmp_path / "all_responses.jsonl").read_text().splitlines()]
        assert sorted(line["request"]["uuid"] for line in lines) == [f"r{n}" for n in range(5)]
        assert all(line["response"]["generated_text"] == "said" for line in lines)
        assert all(line["response"]["echo"] == line["request"]["messages"][0]["content"] for line in lines)
        assert len(served.requests) == 5
        assert {headers["Authorization"] for _, _, headers in served.requests} == {"Bearer k", "Bearer l"}
        utils.run_api_inference(requests(7), tmp_path, **settings)
        assert len(served.requests) == 7, "only what is not on disk"
        assert len((tmp_path / "all_responses.jsonl").read_text().splitlines()) == 7
    (tmp_path / "responses" / "r0.json").write_text("{}")
    with pytest.raises(dicast.FileError, match=r"r0\.json"):
        utils.run_api_inference(requests(1), tmp_path, **settings)


def test_completions_that_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    answers = iter([(503, {}, {}), (200, CHAT, {}), (400, {"detail": "bad"}, {}), (200, {"choices": []}, {})])
    with serving(lambda route, body: next(answers)) as served:
        settings: Dict[str, Any] = {"api_model": "m", "api_key": "k", "api_base": served.url}
        utils.run_api_inference(requests(1), tmp_path, **settings)
        with pytest.raises(dicast.InvalidRequestError):
            utils.run_api_inference(requests(2)[1:], tmp_path, **settings)
        with pytest.raises(dicast.InvalidVerdictError):
            utils.run_api_inference(requests(2)[1:], tmp_path, **settings)
        with pytest.raises(dicast.InvalidRequestError, match="uuid"):
            utils.run_api_inference([{**requests(1)[0], "uuid": "../x"}], tmp_path, **settings)
        with pytest.raises(dicast.InvalidRequestError, match="messages"):
            utils.run_api_inference([{"uuid": "x"}], tmp_path, **settings)
    with pytest.raises(dicast.UnsupportedError):
        utils.OpenAIClient(tmp_path, "m", "k", api_proxy="http://proxy")
    with pytest.raises(dicast.InvalidConfigError):
        utils.OpenAIClient(tmp_path, "m", ["k"], api_base=["a", "b"])


def test_the_pool_keeps_to_its_rate_and_order() -> None:
    begun: List[float] = []
    running, most = 0, 0
    lock = threading.Lock()

    async def work(number: int) -> int:
        nonlocal running, most
        begun.append(time.monotonic())
        with lock:
            running += 1
            most = max(most, running)
        await asyncio.sleep(0.01 * (5 - number % 5))
        running -= 1
        return number

    async def run() -> List[int]:
        async with utils.AsyncRateLimitThreadPool(3, 4, 0.3) as pool:
            return await pool.map(work, list(range(10)))

    assert asyncio.run(run()) == list(range(10)) and most <= 3
    assert all(later - earlier >= 0.29 for earlier, later in zip(begun, begun[4:]))
