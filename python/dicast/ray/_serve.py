"""A Ray Serve deployment of judges."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from ..errors import DicastError, InvalidRequestError, TooLargeError
from ..models import as_bool
from ._open import opened, ray_module

__all__ = ["application"]

#: Most bytes of a request's body.
_MAX_BYTES = 64 << 20

#: The status of each kind of error.
_STATUSES = {
    "invalid_request": 400,
    "context_overflow": 422,
    "too_large": 413,
    "unsupported": 422,
    "overloaded": 429,
    "timeout": 504,
    "invalid_verdict": 502,
    "asleep": 503,
    "engine_dead": 503,
    "closed": 503,
}


class _Service:
    """A replica: a judge, and the routes that :class:`dicast.Client` uses."""

    def __init__(self, model: str, config: Mapping[str, Any]) -> None:
        self._judge = opened(model, config)

    async def judge(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        """Judges a request: ``principle``, ``prompt``, ``responses`` and, if wanted, ``mask_responses`` and
        ``options``."""
        (result,) = await self.judge_batch([request])
        return result

    async def judge_batch(self, requests: List[Any]) -> List[Dict[str, Any]]:
        """Judges many requests. A judgment that failed is ``{"error": …}`` in its place."""
        import asyncio

        return list(await asyncio.gather(*(self._one(request) for request in requests)))

    async def _one(self, request: Any) -> Dict[str, Any]:
        try:
            if not isinstance(request, Mapping):
                raise InvalidRequestError("a request is an object with principle, prompt and responses")
            known = ("principle", "prompt", "responses", "mask_responses", "options")
            unknown = [name for name in request if name not in known]
            missing = [name for name in known[:3] if name not in request]
            if unknown or missing:
                what = f"unknown fields: {unknown}" if unknown else f"missing fields: {missing}"
                raise InvalidRequestError(f"{what}; a request has {', '.join(known)}")
            options = dict(request.get("options") or {})
            mask = as_bool(request.get("mask_responses", True), "mask_responses")
            parts = request["principle"], request["prompt"], request["responses"]
            result = await self._judge.ajudge(*parts, mask, **options)
        except DicastError as error:
            fault: Dict[str, Any] = {"kind": error.kind, "message": str(error), "retryable": error.retryable}
            if error.partial is not None:
                fault["partial"] = dict(vars(error.partial))
            return {"error": fault, "thoughts": "", "results": None}
        return {
            "thoughts": result.reasoning,
            "results": {"scores": result.scores, "best-to-worst": result.ranking},
            "expected_scores": result.expected_scores,
            "distributions": result.distributions,
            "repairs": result.repairs,
            "flags": result.flags,
            "rewards": result.rewards,
        }

    async def __call__(self, http: Any) -> Any:
        responses = ray_module("starlette.responses")
        status, value = await self._answered(http)
        return responses.JSONResponse(value, status_code=status)

    async def _answered(self, http: Any) -> Tuple[int, Any]:
        path = http.url.path.rstrip("/")
        if http.method == "GET" and path.endswith("/health"):
            return 200, {"status": "healthy", "service": "Dicast", "ray": True}
        single, batch = path.endswith("/api/rewardanything"), path.endswith("/api/rewardanything_batch")
        if not (single or batch):
            return 404, {"error": {"kind": "not_found", "message": f"there is no {http.method} {path}"}}
        if http.method != "POST":
            return 405, {"error": {"kind": "method_not_allowed", "message": "judging takes a POST"}}
        try:
            value = await _body(http)
            if batch and not isinstance(value, list):
                raise InvalidRequestError("a batch is a list of requests")
        except DicastError as error:
            return _STATUSES[error.kind], {"error": {"kind": error.kind, "message": str(error), "retryable": False}}
        if batch:
            return 200, await self.judge_batch(value)
        result = await self.judge(value)
        fault: Optional[Dict[str, Any]] = result.get("error")
        return (200 if fault is None else _STATUSES.get(fault["kind"], 500)), result

    async def check_health(self) -> None:
        """Checks that the replica can judge; Ray replaces it if this raises."""
        if getattr(self._judge, "closed", False):
            raise RuntimeError("the judge was closed")


async def _body(http: Any) -> Any:
    data = bytearray()
    async for piece in http.stream():
        data += piece
        if len(data) > _MAX_BYTES:
            raise TooLargeError(f"the request has more than {_MAX_BYTES} bytes")
    try:
        return json.loads(bytes(data))
    except ValueError as error:
        raise InvalidRequestError(f"the request is not JSON: {error}") from None


def application(
    model: Union[str, "os.PathLike[str]"],
    *,
    name: str = "dicast",
    replicas: int = 1,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    max_ongoing_requests: int = 64,
    deployment: Optional[Mapping[str, Any]] = None,
    **config: Any,
) -> Any:
    """An application for ``ray.serve.run``: ``replicas`` judges behind one address.

    It has the routes that :class:`dicast.Client` uses, ``/health``, ``/api/rewardanything`` and
    ``/api/rewardanything_batch``, and needs no key: put it behind a proxy that checks keys. In Python,
    ``handle.judge.remote(request)`` gives the answer of the single route. A replica works on ``max_ongoing_requests``
    calls at once. ``deployment`` has further settings of ``serve.deployment``, such as ``autoscaling_config`` instead
    of ``replicas``; ``config`` has the arguments of :func:`dicast.from_pretrained`.
    """
    serve = ray_module("ray.serve")
    settings: Dict[str, Any] = {
        "name": name,
        "ray_actor_options": {"num_cpus": num_cpus, "num_gpus": num_gpus},
        "max_ongoing_requests": max_ongoing_requests,
        **dict(deployment or {}),
    }
    if "autoscaling_config" not in settings:
        settings["num_replicas"] = replicas
    return serve.deployment(**settings)(_Service).bind(os.fspath(model), dict(config))
