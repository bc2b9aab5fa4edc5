"""Judges behind HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.parse
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ._http import Limits, Refused, Timeout, exchange
from ._options import generation_options
from ._parallel import Stop, each, waiting
from ._requests import dressed
from .errors import (
    BatchError,
    DicastError,
    InvalidConfigError,
    InvalidRequestError,
    InvalidVerdictError,
    JudgmentCancelledError,
    JudgmentTimeoutError,
    PartialVerdict,
    error_of,
    partial_of,
    retryable_of,
)
from .models import RewardRequest, RewardResult, as_bool

__all__ = ["Client"]

_LOGGER = logging.getLogger("dicast")

#: Longest wait before another attempt, in seconds.
_LONGEST_WAIT = 30.0

#: Arguments of the reference's `judge_batch` in a process, which say nothing about a judgment.
_WITHOUT_EFFECT = ("batch_size",)


class Client:
    """A judge behind the HTTP interface of the reference system.

    ``timeout``, in seconds, limits each attempt as a whole. A pair ``(connect, read)`` limits connecting and the answer
    separately; None waits as long as the connection lives. ``max_retries`` is the number of further attempts if the
    server cannot be reached, is overloaded or fails. A request that ran into its timeout is not sent again, because the
    server may still be working on it. ``parallel`` is the number of requests of a batch that run at once if each is
    sent by itself. Proxies are taken from the environment; redirects are not followed. Any number of threads may use
    one client at once.

    In a program that uses the package ``requests``, errors are also exceptions of ``requests``: a timeout is a
    ``requests.exceptions.Timeout``, a status a ``requests.exceptions.HTTPError`` with its ``response``.
    """

    def __init__(
        self,
        base_url: str,
        api_key: Optional[str] = None,
        timeout: Timeout = 30.0,
        max_retries: int = 3,
        headers: Optional[Mapping[str, str]] = None,
        *,
        parallel: int = 16,
        **kwargs: Any,
    ) -> None:
        if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
            raise InvalidConfigError(f"the URL of a server must begin with http:// or https://: {base_url!r}")
        if isinstance(parallel, bool) or not isinstance(parallel, int) or not 1 <= parallel <= 1024:
            raise InvalidConfigError(f"parallel is {parallel!r}: it must be from 1 to 1024")
        Limits.of(timeout)
        self.base_url = base_url.rstrip("/")
        self.api_key = api_key
        self.timeout = timeout
        self.max_retries = max_retries
        self.parallel = parallel
        self.headers: Dict[str, str] = {"Content-Type": "application/json", "User-Agent": "dicast-python"}
        if api_key:
            self.headers["Authorization"] = f"Bearer {api_key}"
        self.headers.update(headers or {})
        #: Further settings. They are kept, and have no effect.
        self.config: Dict[str, Any] = kwargs
        self._is_dicast: Optional[bool] = None

    def judge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        timeout: Timeout = None,
        **kwargs: Any,
    ) -> RewardResult:
        """Judges responses to one prompt. ``timeout`` overrides that of the client.

        A Dicast server gets ``kwargs`` as the options of the request (``temperature``, ``seed``, …); any other server
        gets them as further fields of the request, unchanged. An answer that is not a complete verdict raises
        :class:`InvalidVerdictError`, even if the server calls it a success.
        """
        body = _body(principle, prompt, responses, mask_responses)
        if kwargs:
            body = _with(body, kwargs, self._asks_dicast())
        answer = self._post("/api/rewardanything", body, Limits.of(timeout or self.timeout))
        return _result(answer, body["responses"])

    def judge_batch(
        self,
        requests: Sequence[Union[Mapping[str, Any], RewardRequest]],
        timeout: Timeout = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> List[RewardResult]:
        """Judges many requests at once. The results are in the order of the requests.

        ``timeout`` limits the batch as a whole; by default it grows with the number of requests. A Dicast server gets
        the batch in one request. Any other server gets each request by itself, ``parallel`` at once, because the batch
        route of the reference's server answers in the order in which judgments end. If some fail, a
        :class:`BatchError` is raised that has the results of the others; with ``return_exceptions`` the errors are put
        into the list instead. ``kwargs`` apply to each request, as in :meth:`judge`; ``batch_size`` has no effect.
        """
        return self._batch(requests, timeout, return_exceptions, kwargs, Stop())

    def _batch(
        self, requests: Sequence[Any], timeout: Timeout, return_exceptions: bool, kwargs: Mapping[str, Any], stop: Stop
    ) -> List[RewardResult]:
        extra = {name: value for name, value in kwargs.items() if name not in _WITHOUT_EFFECT}
        bodies = [_body_of(request) for request in requests]
        if not bodies:
            return []
        limits = Limits.of(timeout) if timeout else Limits.of(self.timeout).times(len(bodies))
        dicast = self._asks_dicast()
        if extra:
            bodies = [_with(body, extra, dicast) for body in bodies]
        if dicast:
            results = self._together(bodies, limits)
        else:
            results = self._singly(bodies, limits, stop)
        if not return_exceptions and any(isinstance(result, DicastError) for result in results):
            raise BatchError.of(results)
        return results

    async def ajudge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        timeout: Timeout = None,
        **kwargs: Any,
    ) -> RewardResult:
        """As :meth:`judge`, in a thread, which is dropped if the coroutine is cancelled."""
        return await waiting(self.judge, principle, prompt, responses, mask_responses, timeout, **kwargs)

    async def ajudge_batch(
        self,
        requests: Sequence[Union[Mapping[str, Any], RewardRequest]],
        timeout: Timeout = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> List[RewardResult]:
        """As :meth:`judge_batch`, in a thread. Cancelled, it sends no further requests."""
        stop = Stop()
        try:
            return await waiting(self._batch, requests, timeout, return_exceptions, kwargs, stop)
        except asyncio.CancelledError:
            stop(JudgmentCancelledError("the batch was cancelled"))
            raise

    def health_check(self) -> bool:
        """Whether the server answers within five seconds that it is healthy."""
        limits = Limits.of(self.timeout).until(time.monotonic() + 5.0)
        try:
            said = exchange("GET", f"{self.base_url}/health", None, self.headers, limits)
        except (Refused, DicastError):
            return False
        self._is_dicast = isinstance(said, dict) and said.get("service") == "Dicast"
        return True

    def _asks_dicast(self) -> bool:
        """Whether this is a Dicast server, which keeps batches in order and refuses unknown fields."""
        if self._is_dicast is None:
            self.health_check()
        # A server that does not answer may still be starting: it is asked again the next time.
        return bool(self._is_dicast)

    def _together(self, bodies: Sequence[Mapping[str, Any]], limits: Limits) -> List[Any]:
        """A batch in one request."""
        answer = self._post("/api/rewardanything_batch", bodies, limits)
        if not isinstance(answer, list) or len(answer) != len(bodies):
            count = f"{len(answer)} results" if isinstance(answer, list) else "no list"
            raise InvalidVerdictError(f"the server answered {len(bodies)} requests with {count}")
        results: List[Any] = []
        for item, body in zip(answer, bodies):
            try:
                results.append(_result(item, body["responses"]))
            except DicastError as error:
                results.append(error)
        return results

    def _singly(self, bodies: Sequence[Mapping[str, Any]], limits: Limits, stop: Stop) -> List[Any]:
        """A batch as separate requests."""
        deadline = None if limits.longest is None else time.monotonic() + limits.longest

        def one(body: Mapping[str, Any]) -> RewardResult:
            try:
                answer = self._attempts("/api/rewardanything", body, limits, deadline)
            except Refused as refused:
                error = _error(refused)
                if refused.hopeless:
                    stop(error)  # The others would fail in the same way, after as many attempts each.
                raise error from refused.__cause__
            return _result(answer, body["responses"])

        results = each(one, bodies, self.parallel, stop)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, DicastError):
                raise result
        return results

    def _post(self, route: str, body: Any, limits: Limits) -> Any:
        try:
            return self._attempts(route, body, limits, None)
        except Refused as refused:
            raise _error(refused) from refused.__cause__

    def _attempts(self, route: str, body: Any, limits: Limits, deadline: Optional[float]) -> Any:
        """Sends a request as often as it makes sense, before `deadline`. Raises :class:`Refused`."""
        if self.max_retries < 0:
            raise InvalidConfigError(f"max_retries is {self.max_retries}: it must be 0 or more")
        if deadline is not None and time.monotonic() >= deadline:
            late = JudgmentTimeoutError(f"{self.base_url}: the time for the batch ended before this request was sent")
            raise Refused(late, again=False, form="read_timeout")
        attempt = 0
        while True:
            try:
                return exchange("POST", self.base_url + route, body, self.headers, limits.until(deadline))
            except Refused as refused:
                wait = min(2.0**attempt if refused.wait is None else refused.wait, _LONGEST_WAIT)
                over = deadline is not None and time.monotonic() + wait >= deadline
                if not refused.again or attempt >= self.max_retries or over:
                    raise
                _LOGGER.warning("%s; attempt %d follows in %g s", refused.error, attempt + 2, wait)
            attempt += 1
            time.sleep(wait)

    def __repr__(self) -> str:
        return f"<dicast.Client {self.base_url!r}>"


def _error(refused: Refused) -> DicastError:
    return dressed(refused.error, refused.form, refused.answer)


def _with(body: Dict[str, Any], kwargs: Mapping[str, Any], dicast: bool) -> Dict[str, Any]:
    """A request with further fields, or options."""
    if not dicast:
        return {**body, **kwargs}
    given = dict(kwargs)
    own = given.pop("options", None) or {}
    options, bound = generation_options(given)
    if bound is not None:
        options.setdefault("max_reasoning_tokens", bound)
    return {**body, "options": {**own, **options}}


def _body(principle: str, prompt: str, responses: Mapping[str, str], mask_responses: bool) -> Dict[str, Any]:
    if not isinstance(responses, Mapping) or not responses:
        raise InvalidRequestError("responses must map names to texts, one at least")
    return {
        "principle": principle,
        "prompt": prompt,
        "responses": dict(responses),
        "mask_responses": as_bool(mask_responses, "mask_responses"),
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
        raise InvalidVerdictError("the answer is not an object", partial=PartialVerdict(None, None, "", raw))
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
