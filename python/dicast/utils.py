"""Chat completions of many requests, with the names of ``rewardanything.utils``.

For programs that call a model behind an OpenAI-compatible server themselves. To judge, use :class:`dicast.Judge`
with the URL of such a server: verdicts are then constrained by a grammar and checked; plain completions are not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Union

from ._http import Limits, Refused, exchange
from ._parallel import Threads
from ._requests import dressed
from .errors import FileError, InvalidConfigError, InvalidRequestError, InvalidVerdictError, UnsupportedError

__all__ = ["AsyncRateLimitThreadPool", "OpenAIClient", "run_api_inference", "run_pool"]

_LOGGER = logging.getLogger("dicast")

_OPENAI = "https://api.openai.com/v1"

#: Longest wait before another attempt, in seconds.
_LONGEST_WAIT = 30.0


class OpenAIClient:
    """Sends chat completions to one or several OpenAI-compatible servers in turn, and keeps the answers as files.

    With ``dump_individual_rsp`` each answer is written to ``<output_path>/responses/<uuid>.json``, and a request whose
    file exists is not sent again unless ``trial_run`` is set. ``api_timeout``, in seconds, limits each attempt.
    ``max_error_count`` failed attempts, over all requests, are tolerated; the next one is raised.
    """

    def __init__(
        self,
        output_path: Union[str, "os.PathLike[str]"],
        api_model: str,
        api_key: Union[str, Sequence[str]],
        api_base: Union[str, Sequence[str], None] = None,
        api_proxy: Union[str, Sequence[str], None] = None,
        api_timeout: Optional[float] = 60.0,
        api_max_retries: Optional[int] = 5,
        generation_config: Optional[Mapping[str, Any]] = None,
        max_error_count: Optional[int] = 100,
        trial_run: bool = False,
        dump_individual_rsp: bool = True,
    ) -> None:
        if api_proxy is not None:
            raise UnsupportedError("api_proxy: set the environment's http_proxy and https_proxy instead")
        keys = [api_key] if isinstance(api_key, str) else list(api_key)
        bases = [api_base or _OPENAI] * len(keys) if api_base is None or isinstance(api_base, str) else list(api_base)
        if not keys or len(keys) != len(bases):
            raise InvalidConfigError("api_key and api_base must have the same length, 1 or more")
        self.output_path = os.fspath(output_path)
        self.model = api_model
        self.generation_config = dict(generation_config or {"temperature": 0.0, "max_tokens": 100})
        self.trial_run = trial_run
        self.dump_individual_rsp = dump_individual_rsp
        self.max_error_count = 100 if max_error_count is None else max_error_count
        self.total_errors = 0
        self._limits = Limits.of(api_timeout)
        self._retries = 5 if api_max_retries is None else api_max_retries
        self._servers = [(str(base).rstrip("/"), key) for base, key in zip(bases, keys)]
        self._next = 0
        self._lock = threading.Lock()
        # Its own threads: other code should not wait for its servers.
        self._threads = Threads(256, "dicast-openai")
        #: What was answered, in the order in which it came: ``{"request", "response"}``.
        self.answers: List[Dict[str, Any]] = []

    async def query(self, request: Any, num_retries: int = 3) -> str:
        """The text that the model writes for a request: a mapping, or an object, with ``messages`` and ``uuid``.

        The request's own ``generation_config`` overrides that of the client. After a failure that may be temporary the
        request is sent again, ``api_max_retries`` or ``num_retries`` times, whichever is more.
        """
        fields = dict(request) if isinstance(request, Mapping) else dict(vars(request))
        for name in ("messages", "uuid"):
            if name not in fields:
                raise InvalidRequestError(f"the request has no {name}")
        path = self._path(str(fields["uuid"])) if self.dump_individual_rsp else None
        if path is not None and not self.trial_run and path.exists():
            kept = _read(path)
        else:
            response = await self._threads.run(self._answer, fields, num_retries)
            kept = {"request": fields, "response": response}
            if path is not None:
                _write(path, json.dumps(kept, ensure_ascii=False, indent=2))
        self.answers.append(kept)
        text: str = kept["response"]["generated_text"]
        return text

    def _path(self, uuid: str) -> Path:
        if uuid in ("", ".", "..") or any(mark in uuid for mark in "/\\\0"):
            raise InvalidRequestError(f"uuid is {uuid!r}: it must be usable as a file name")
        return Path(self.output_path) / "responses" / f"{uuid}.json"

    def _answer(self, fields: Mapping[str, Any], num_retries: int) -> Dict[str, Any]:
        own = fields.get("generation_config")
        settings = {**self.generation_config, **(own if isinstance(own, Mapping) else {})}
        body = {**settings, "messages": fields["messages"], "model": self.model}
        attempt = 0
        while True:
            with self._lock:
                base, key = self._servers[self._next % len(self._servers)]
                self._next += 1
            headers = {"Content-Type": "application/json", "User-Agent": "dicast-python"}
            if key:
                headers["Authorization"] = f"Bearer {key}"
            try:
                answer = exchange("POST", f"{base}/chat/completions", body, headers, self._limits)
                break
            except Refused as refused:
                with self._lock:
                    self.total_errors += 1
                    over = self.total_errors > self.max_error_count
                if over or not refused.again or attempt >= max(self._retries, num_retries):
                    raise dressed(refused.error, refused.form, refused.answer) from refused.__cause__
                wait = min(2.0**attempt if refused.wait is None else refused.wait, _LONGEST_WAIT)
                _LOGGER.warning("%s; attempt %d follows in %g s", refused.error, attempt + 2, wait)
            attempt += 1
            time.sleep(wait)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, IndexError, TypeError):
            text = None
        if not isinstance(text, str):
            raise InvalidVerdictError(f"{base}: the completion has no text")
        return {**answer, "generated_text": text}


class AsyncRateLimitThreadPool:
    """Runs coroutine functions: ``num_workers`` at once, and at most ``num_requests`` started in any ``period`` (s)."""

    def __init__(self, num_workers: int, num_requests: int, period: float) -> None:
        if num_workers < 1 or num_requests < 1 or period < 0:
            raise InvalidConfigError("num_workers and num_requests must be 1 or more, period 0 or more")
        self.num_workers = num_workers
        self.num_requests = num_requests
        self.period = period
        self._begun: List[float] = []

    async def __aenter__(self) -> AsyncRateLimitThreadPool:
        return self

    async def __aexit__(self, *_: Any) -> None:
        pass

    async def map(self, func: Callable[..., Awaitable[Any]], *args_list: Sequence[Any]) -> List[Any]:
        """Awaits the function for each tuple of arguments. Results are in their order; the first error is raised."""
        free, gate = asyncio.Semaphore(self.num_workers), asyncio.Lock()

        async def one(*args: Any) -> Any:
            async with free:
                async with gate:
                    await self._turn()
                return await func(*args)

        tasks = [asyncio.ensure_future(one(*args)) for args in zip(*args_list)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _turn(self) -> None:
        """Waits until another call may begin."""
        if len(self._begun) >= self.num_requests:
            await asyncio.sleep(max(self._begun[0] + self.period - time.monotonic(), 0.0))
            del self._begun[0]
        self._begun.append(time.monotonic())


async def run_pool(
    api: OpenAIClient, requests: Sequence[Any], num_workers: int, num_requests: int, period: float
) -> List[str]:
    """The texts of all requests, in their order; the answers are also written to ``all_responses.jsonl``."""
    folder = Path(api.output_path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if api.dump_individual_rsp:
            (folder / "responses").mkdir(exist_ok=True)
    except OSError as error:
        raise FileError(str(error)) from error
    pool = AsyncRateLimitThreadPool(num_workers, num_requests, period)
    try:
        return await pool.map(api.query, requests)
    finally:
        lines = [json.dumps(answer, ensure_ascii=False) + "\n" for answer in api.answers]
        _write(folder / "all_responses.jsonl", "".join(lines))


def run_api_inference(
    requests: Sequence[Any],
    output_path: Union[str, "os.PathLike[str]"],
    api_model: str,
    api_key: Union[str, Sequence[str]],
    api_base: Union[str, Sequence[str], None] = None,
    api_proxy: Union[str, Sequence[str], None] = None,
    api_timeout: Optional[float] = 30.0,
    api_max_retries: Optional[int] = 5,
    generation_config: Optional[Mapping[str, Any]] = None,
    num_workers: Optional[int] = 8,
    request_limit: Optional[int] = 100,
    request_limit_period: Optional[int] = 60,
    max_error_count: Optional[int] = 100,
    trial_run: bool = False,
    dump_individual_rsp: bool = True,
) -> None:
    """Sends requests, mappings with ``uuid`` and ``messages``, and writes the answers below ``output_path``.

    ``all_responses.jsonl`` has a line ``{"request", "response"}`` for each request, with the text of the model under
    ``response.generated_text``. The arguments are those of :class:`OpenAIClient`; ``num_workers`` requests run at once,
    and at most ``request_limit`` are started in ``request_limit_period`` seconds. A request that fails for good raises
    its error; the answers so far are on disk.
    """
    client = OpenAIClient(
        output_path=output_path,
        api_model=api_model,
        api_key=api_key,
        api_base=api_base,
        api_proxy=api_proxy,
        api_timeout=api_timeout,
        api_max_retries=api_max_retries,
        generation_config=generation_config,
        max_error_count=max_error_count,
        trial_run=trial_run,
        dump_individual_rsp=dump_individual_rsp,
    )
    period = 60 if request_limit_period is None else request_limit_period
    asyncio.run(run_pool(client, requests, num_workers or 8, request_limit or 100, period))


def _read(path: Path) -> Dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept["response"]["generated_text"], str):
            return dict(kept)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(f"{path}: it holds no answer ({error}): remove it, or set trial_run") from None
    raise FileError(f"{path}: it holds no answer: remove it, or set trial_run")


def _write(path: Path, text: str) -> None:
    """Writes a file completely or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise FileError(str(error)) from error
