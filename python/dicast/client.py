"""Judges behind HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.parse
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ._http import Refused, exchange
from .errors import (
    BatchError,
    DicastError,
    InvalidConfigError,
    InvalidRequestError,
    InvalidVerdictError,
    PartialVerdict,
    error_of,
    partial_of,
    retryable_of,
)
from .models import RewardRequest, RewardResult

__all__ = ["Client"]

_LOGGER = logging.getLogger("dicast")

#: Longest wait before another attempt, in seconds.
_LONGEST_WAIT = 30.0


class Client:
    """A judge behind the HTTP interface of the reference system.

    ``timeout``, in seconds, bounds each attempt as a whole; ``max_retries`` is the number of further attempts where the
    server could not be reached, was overloaded or failed. A request that ran into its timeout is not sent again: the
    server may still be working on it. Proxies are taken from the environment; redirects are not followed. Any number of
    threads may use one client at once.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Optional[str] = None,
        timeout: float = 30.0,
        max_retries: int = 3,
        headers: Optional[Mapping[str, str]] = None,
        **kwargs: Any,
    ) -> None:
        if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
            raise InvalidConfigError(f"the URL of a server begins with http:// or https://, not as {base_url!r}")
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self.max_retries = max_retries
        self.headers: Dict[str, str] = {"Content-Type": "application/json", "User-Agent": "dicast-python"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self.headers.update(headers or {})
        #: Further settings. They are kept, and have no effect.
        self.config: Dict[str, Any] = kwargs

    def judge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> RewardResult:
        """Judges responses to one prompt. ``kwargs`` are added to the request unchanged.

        An answer that is not a complete verdict is an :class:`InvalidVerdictError`, also where the server calls it a
        success.
        """
        body = {**_body(principle, prompt, responses, mask_responses), **kwargs}
        answer = self._post("/api/rewardanything", body, timeout or self.timeout)
        return _result(answer, body["responses"])

    def judge_batch(
        self,
        requests: Sequence[Union[Mapping[str, Any], RewardRequest]],
        timeout: Optional[float] = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> List[RewardResult]:
        """Judges many requests at once, by default with a timeout that grows with their number.

        Where some fail, a :class:`BatchError` has the results of the others, or, with ``return_exceptions``, their
        errors stand in the list. ``kwargs`` are taken for the sake of programs that set them.
        """
        bodies = [_body_of(request) for request in requests]
        if not bodies:
            return []
        answer = self._post("/api/rewardanything_batch", bodies, timeout or self.timeout * len(bodies))
        if not isinstance(answer, list) or len(answer) != len(bodies):
            count = f"{len(answer)} results" if isinstance(answer, list) else "no list"
            raise InvalidVerdictError(f"the server answered {len(bodies)} requests with {count}")
        results: List[Any] = []
        for item, body in zip(answer, bodies):
            try:
                results.append(_result(item, body["responses"]))
            except DicastError as error:
                results.append(error)
        if not return_exceptions and any(isinstance(result, DicastError) for result in results):
            raise BatchError.of(results)
        return results

    async def ajudge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        timeout: Optional[float] = None,
        **kwargs: Any,
    ) -> RewardResult:
        """As :meth:`judge`, in a thread of asyncio's pool."""
        return await asyncio.to_thread(self.judge, principle, prompt, responses, mask_responses, timeout, **kwargs)

    async def ajudge_batch(
        self,
        requests: Sequence[Union[Mapping[str, Any], RewardRequest]],
        timeout: Optional[float] = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> List[RewardResult]:
        """As :meth:`judge_batch`, in a thread of asyncio's pool."""
        return await asyncio.to_thread(
            self.judge_batch, requests, timeout, return_exceptions=return_exceptions, **kwargs
        )

    def health_check(self) -> bool:
        """Whether the server answers and calls itself healthy, within five seconds."""
        try:
            exchange("GET", f"{self.base_url}/health", None, self.headers, min(self.timeout, 5.0))
        except (Refused, DicastError):
            return False
        return True

    def _post(self, route: str, body: Any, timeout: float) -> Any:
        for attempt in range(self.max_retries + 1):
            try:
                return exchange("POST", self.base_url + route, body, self.headers, timeout)
            except Refused as refused:
                if not refused.again or attempt == self.max_retries:
                    raise refused.error from refused.__cause__
                wait = min(2.0**attempt if refused.wait is None else refused.wait, _LONGEST_WAIT)
                _LOGGER.warning("%s; attempt %d follows in %g s", refused.error, attempt + 2, wait)
                time.sleep(wait)
        raise InvalidConfigError(f"max_retries is {self.max_retries}: it must be 0 or more")

    def __repr__(self) -> str:
        return f"<dicast.Client {self.base_url!r}>"


def _body(principle: str, prompt: str, responses: Mapping[str, str], mask_responses: bool) -> Dict[str, Any]:
    if not isinstance(responses, Mapping) or not responses:
        raise InvalidRequestError("responses must map names to texts, one at least")
    return {
        "principle": principle,
        "prompt": prompt,
        "responses": dict(responses),
        "mask_responses": mask_responses,
    }


def _body_of(request: Union[Mapping[str, Any], RewardRequest]) -> Dict[str, Any]:
    if isinstance(request, RewardRequest):
        return _body(request.principle, request.prompt, request.responses, request.mask_responses)
    try:
        parts = request["principle"], request["prompt"], request["responses"]
    except KeyError as error:
        raise InvalidRequestError(f"the request has no {error.args[0]}") from None
    return _body(*parts, request.get("mask_responses", True))


def _result(answer: Any, responses: Mapping[str, str]) -> RewardResult:
    """Reads and checks one answer."""
    raw = json.dumps(answer)
    if not isinstance(answer, dict):
        raise InvalidVerdictError("the answer is no object", partial=PartialVerdict(None, None, "", raw))
    failure = answer.get("error")
    if isinstance(failure, dict):
        kind, message = str(failure.get("kind") or "engine"), str(failure.get("message") or "the judgment failed")
        partial = partial_of(failure.get("partial"))
        raise error_of(kind, message, retryable=retryable_of(failure), partial=partial)
    results = answer.get("results")
    results = results if isinstance(results, dict) else {}
    scores, ranking = results.get("scores"), results.get("best-to-worst")
    reasoning = str(answer.get("thoughts") or "")
    if not isinstance(scores, dict) or scores.keys() != responses.keys() or not all(map(_is_score, scores.values())):
        scores = None
    if not isinstance(ranking, list) or sorted(map(str, ranking)) != sorted(responses):
        ranking = None
    if scores is None or ranking is None:
        partial = PartialVerdict(scores, ranking, reasoning, raw)
        raise InvalidVerdictError("the server answered with no complete verdict", partial=partial)
    verdict = {
        **answer,
        "reasoning": reasoning,
        "scores": {name: scores[name] for name in responses},
        "ranking": ranking,
        "raw": raw,
    }
    return RewardResult.from_verdict(verdict)


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
