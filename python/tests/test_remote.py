"""A judge behind a scripted server that speaks the OpenAI protocol, named by its URL."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Tuple

import pytest

import dicast
from server import Answer, serving

WORD = "quoxal"


def scored(text: str) -> int:
    """A response that holds "score=4" gets 4."""
    return int(text.split("score=")[1][0])


def openai(body: Any) -> str:
    """The answer of the judge behind the server."""
    asked = body["messages"][-1]["content"]
    if "Say a word" in asked:
        return json.dumps({"word": WORD}) if "json_schema" in json.dumps(body.get("response_format")) else "hello"
    lines = (line for line in asked.splitlines() if line.startswith('{"principle"'))
    scores = {name: scored(text) for name, text in json.loads(next(lines))["responses"].items()}
    ranking = sorted(scores, key=lambda name: -scores[name])
    return "<think>\nhm\n</think>\n\n" + json.dumps({"scores": scores, "best-to-worst": ranking})


def answers() -> Answer:
    def answer(route: str, body: Any) -> Optional[Tuple[int, Any, Dict[str, str]]]:
        if route == "/v1/models":
            return 200, {"data": [{"id": "judge", "owned_by": "someone"}]}, {}
        if route != "/v1/chat/completions":
            return 404, {}, {}
        choice = {"message": {"content": openai(body)}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 9}
        return 200, {"choices": [choice], "usage": usage}, {"Content-Type": "application/json"}

    return answer


def test_a_url_is_a_model() -> None:
    responses = {"poor": "score=2", "good": "score=4", "fair": "score=3"}
    with serving(answers()) as server, dicast.from_pretrained(server.url, remote={"stream": False}) as judge:
        result = judge.judge(principle="Be brief.", prompt="A prompt", responses=responses)
        assert result.scores == {"poor": 2, "good": 4, "fair": 3}
        assert result.ranking == ["good", "fair", "poor"]
        batch = judge.judge_batch(
            [{"principle": "Be brief.", "prompt": str(number), "responses": responses} for number in range(8)]
        )
        assert all(result.scores == {"poor": 2, "good": 4, "fair": 3} for result in batch)


def test_nobody_there() -> None:
    with pytest.raises(dicast.NetworkError, match="cannot be reached"):
        dicast.from_pretrained("http://127.0.0.1:1")
