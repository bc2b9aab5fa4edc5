"""Actors with one judge each, used as one judge."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import time
from collections import deque
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from .. import errors
from .._interrupts import apart
from .._parallel import Stop, waiting
from ..errors import (
    BatchError,
    ClosedError,
    DicastError,
    EngineError,
    InvalidConfigError,
    JudgmentCancelledError,
    JudgmentTimeoutError,
)
from ..models import RewardResult
from ._open import opened, ray_module

__all__ = ["JudgePool"]

_LOGGER = logging.getLogger("dicast")

#: An error of Dicast in a traceback.
_OURS = re.compile(r"dicast\.errors\.(?P<name>\w+): (?P<text>.*)")

#: Longest time between two checks of the patience, in seconds. Ray does not look for Ctrl-C while it waits.
_LOOK = 0.1


class _Worker:
    """The class of the actors."""

    def __init__(self, model: str, config: Mapping[str, Any]) -> None:
        self._judge = opened(model, config)

    def judge_batch(self, requests: Sequence[Any], options: Mapping[str, Any]) -> List[Any]:
        """The results of requests, or the errors in their places."""
        return list(self._judge.judge_batch(requests, return_exceptions=True, **options))

    def facts(self) -> Dict[str, Any]:
        """The facts about the judge that users of the pool may ask for."""
        scale, most = getattr(self._judge, "scale", None), getattr(self._judge, "max_responses", None)
        return {"scale": scale, "max_responses": most, "pid": os.getpid()}


class _Chunk:
    """Requests that are sent together."""

    def __init__(self, places: List[int], died: int = 0, alone: bool = False) -> None:
        self.places = places
        #: How often an actor died while it had these requests.
        self.died = died
        #: Whether it gets an actor for itself: if that dies, it is to blame.
        self.alone = alone


class JudgePool:
    """``actors`` Ray actors with a judge each, used as one judge.

    ``model`` and ``config`` are the arguments of :func:`dicast.from_pretrained`, or of :class:`dicast.Client` if
    ``model`` is a URL. ``num_cpus``, ``num_gpus`` and ``resources`` are what Ray reserves for each actor. Requests are
    sent ``chunk`` at a time, and each actor has ``in_flight`` chunks, so that it never waits for work.

    An actor that dies is started again, and its requests are judged again by any free actor. If ``attempts`` actors
    died with the same requests, each of these is judged once more by an actor that has nothing else; if that actor
    dies too, the request gets an :class:`EngineError`. If no judgment ends for ``patience`` seconds, the remaining
    requests get a :class:`JudgmentTimeoutError`.

    The pool can be pickled, to be used by other actors and tasks of the same cluster. Its actors end with
    :meth:`close`, or with the program that made it.
    """

    def __init__(
        self,
        model: Union[str, "os.PathLike[str]"],
        *,
        actors: int = 1,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        resources: Optional[Mapping[str, float]] = None,
        chunk: int = 32,
        in_flight: int = 2,
        attempts: int = 3,
        patience: float = 3600.0,
        **config: Any,
    ) -> None:
        counts = {"actors": actors, "chunk": chunk, "in_flight": in_flight, "attempts": attempts}
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidConfigError(f"{name} is {value!r}: it must be a whole number, 1 or more")
        if not 0 < patience <= 604800:
            raise InvalidConfigError(f"patience is {patience!r}: it must be seconds above 0, a week at most")
        ray = ray_module()
        # Ray starts dead actors again; their requests are sent again from here, where the results are expected.
        remote = ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            resources=dict(resources or {}),
            max_restarts=-1,
            max_task_retries=0,
            # The engine forms its batches from several calls.
            max_concurrency=in_flight + 1,
        )(_Worker)
        self.model = os.fspath(model)
        self._actors = [remote.remote(self.model, config) for _ in range(actors)]
        self._chunk, self._in_flight, self._attempts, self._patience = chunk, in_flight, attempts, patience
        self._facts: Optional[Dict[str, Any]] = None
        self._closed = False

    @property
    def scale(self) -> Tuple[int, int]:
        """The worst and the best score; 1 and 5 if the judge is a server, which does not say."""
        low, high = self._asked()["scale"] or (1, 5)
        return int(low), int(high)

    @property
    def max_responses(self) -> Optional[int]:
        """Most responses in one request; None if the judge is a server, which does not say."""
        most: Optional[int] = self._asked()["max_responses"]
        return most

    def judge(
        self, principle: str, prompt: str, responses: Mapping[str, str], mask_responses: bool = True, **options: Any
    ) -> RewardResult:
        """Judges responses to one prompt, by the first actor that is free."""
        request = {"principle": principle, "prompt": prompt, "responses": dict(responses)}
        (result,) = self.judge_batch([{**request, "mask_responses": mask_responses}], return_exceptions=True, **options)
        if isinstance(result, DicastError):
            raise result
        judged: RewardResult = result
        return judged

    def judge_batch(
        self,
        requests: Sequence[Any],
        batch_size: Optional[int] = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> List[Any]:
        """As :meth:`dicast.Judge.judge_batch`, by all actors. ``batch_size`` has no effect."""
        return self._judged(requests, return_exceptions, options, Stop())

    def _judged(
        self, requests: Sequence[Any], return_exceptions: bool, options: Mapping[str, Any], stop: Stop
    ) -> List[Any]:
        results = _Batch(self, list(requests), options, stop).run()
        if not return_exceptions and any(isinstance(result, DicastError) for result in results):
            raise BatchError.of(results)
        return results

    async def ajudge_batch(
        self,
        requests: Sequence[Any],
        batch_size: Optional[int] = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> List[Any]:
        """As :meth:`judge_batch`, in a thread. Cancelling it cancels the judgments."""
        stop = Stop()
        try:
            return await waiting(self._judged, requests, return_exceptions, options, stop)
        except asyncio.CancelledError:
            stop(JudgmentCancelledError("the batch was cancelled"))
            raise

    def close(self) -> None:
        """Ends the actors and their judgments."""
        ray = ray_module()
        self._closed = True
        for actor in self._actors:
            ray.kill(actor)

    def __enter__(self) -> JudgePool:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dicast.ray.JudgePool {self.model!r} of {len(self._actors)}{' closed' if self._closed else ''}>"

    def _asked(self) -> Dict[str, Any]:
        if self._facts is None:
            ray = ray_module()
            facts: Dict[str, Any] = self._of_one(ray)
            self._facts = facts
        return self._facts

    def _of_one(self, ray: Any) -> Any:
        for attempt in range(self._attempts):
            actor = self._actors[attempt % len(self._actors)]
            try:
                return apart(functools.partial(ray.get, actor.facts.remote(), timeout=self._patience))
            except ray.exceptions.GetTimeoutError:
                raise JudgmentTimeoutError(f"no actor opened its judge within {self._patience:g} s") from None
            except ray.exceptions.RayTaskError as error:
                raise _said(error) from error
            except ray.exceptions.RayError as error:
                failure = error
        raise _said(failure)


class _Batch:
    """Requests on their way through the actors of a pool."""

    def __init__(self, pool: JudgePool, requests: List[Any], options: Mapping[str, Any], stop: Stop) -> None:
        self._ray = ray_module()
        self._pool = pool
        self._stop = stop
        self._requests = requests
        self._options = dict(options)
        self._results: List[Any] = [None] * len(requests)
        size = pool._chunk
        # Few requests are spread over the actors.
        size = max(1, min(size, -(-len(requests) // len(pool._actors))))
        starts = range(0, len(requests), size)
        self._waiting: Deque[_Chunk] = deque(
            _Chunk(list(range(start, min(start + size, len(requests))))) for start in starts
        )
        self._running: Dict[Any, Tuple[_Chunk, int]] = {}
        self._load = [0] * len(pool._actors)
        #: Actors that have one request for themselves.
        self._taken: Set[int] = set()
        #: Actors that died and have not answered since, by what they were asked.
        self._asked: Dict[Any, int] = {}
        #: Actors that Ray does not start again, for example because the model is missing, with their errors.
        self._gone: Dict[int, DicastError] = {}

    def run(self) -> List[Any]:
        latest = time.monotonic()
        try:
            while self._waiting or self._running:
                if self._pool._closed:
                    raise ClosedError("the pool was closed")
                if self._stop.reason is not None:
                    raise self._stop.reason
                self._send()
                pending = [*self._running, *self._asked]
                done, _ = self._ray.wait(pending, num_returns=1, timeout=_LOOK) if pending else ([], [])
                for reference in done:
                    if reference in self._asked:
                        self._back(reference)
                    else:
                        latest = time.monotonic()
                        self._take(reference)
                if len(self._gone) == len(self._load):
                    for chunk in self._waiting:
                        self._fail(chunk, next(iter(self._gone.values())))
                    self._waiting.clear()
                if time.monotonic() - latest > self._pool._patience:
                    late = JudgmentTimeoutError(f"no judgment of the pool ended within {self._pool._patience:g} s")
                    for chunk in [*self._waiting, *(chunk for chunk, _ in self._running.values())]:
                        self._fail(chunk, late)
                    break
        finally:
            for reference in self._running:
                self._ray.cancel(reference)
        return self._results

    def _send(self) -> None:
        for _ in range(len(self._waiting)):
            chunk = self._waiting.popleft()
            place = self._place(chunk)
            if place is None:
                self._waiting.append(chunk)
                continue
            requests = [self._requests[index] for index in chunk.places]
            reference = self._pool._actors[place].judge_batch.remote(requests, self._options)
            self._running[reference] = chunk, place
            self._load[place] += 1
            if chunk.alone:
                self._taken.add(place)

    def _place(self, chunk: _Chunk) -> Optional[int]:
        """An actor that can take these requests now."""
        most = 1 if chunk.alone else self._pool._in_flight
        absent = self._taken.union(self._asked.values(), self._gone)
        free = [place for place, load in enumerate(self._load) if load < most and place not in absent]
        return min(free, key=lambda place: self._load[place]) if free else None

    def _back(self, reference: Any) -> None:
        """An actor that had died answered, or died again."""
        place = self._asked.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            self._gone[place] = _said(error)
        except self._ray.exceptions.ActorDiedError as error:
            self._gone[place] = _said(error)
        except self._ray.exceptions.RayError:
            time.sleep(0.1)  # It is starting, or its machine is gone and Ray looks for another.
            self._ask(place)

    def _ask(self, place: int) -> None:
        self._asked[self._pool._actors[place].facts.remote()] = place

    def _take(self, reference: Any) -> None:
        chunk, place = self._running.pop(reference)
        self._load[place] -= 1
        self._taken.discard(place)
        exceptions = self._ray.exceptions
        try:
            for index, result in zip(chunk.places, self._ray.get(reference)):
                self._results[index] = result
        except exceptions.RayTaskError as error:
            self._fail(chunk, _said(error))
        except exceptions.TaskCancelledError as error:
            self._fail(chunk, ClosedError(f"the judgment was cancelled: {error}"))
        except exceptions.RayError as error:
            self._died(chunk, place, error)

    def _died(self, chunk: _Chunk, place: int, error: Exception) -> None:
        """An actor ended, or its machine, while it had these requests."""
        _LOGGER.warning("an actor of the pool died with %d requests: %s", len(chunk.places), str(error).split("\n")[0])
        if place not in self._asked.values():
            self._ask(place)
        died = chunk.died + 1
        if chunk.alone:
            self._fail(chunk, EngineError("an actor died while it judged this request alone", retryable=False))
        elif died < self._pool._attempts:
            self._waiting.append(_Chunk(chunk.places, died))
        else:
            # One of these requests may be the cause.
            self._waiting.extend(_Chunk([index], died, alone=True) for index in chunk.places)

    def _fail(self, chunk: _Chunk, error: DicastError) -> None:
        for place in chunk.places:
            self._results[place] = error


def _said(error: Any) -> DicastError:
    """The error of an actor as an error of Dicast: Ray wraps the exception, or gives only its text."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, DicastError):
        return cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in reversed(lines):
        found = _OURS.match(line)
        cls = getattr(errors, found["name"], None) if found else None
        if found and isinstance(cls, type) and issubclass(cls, DicastError):
            made: DicastError = cls(found["text"])
            return made
    return EngineError(f"an actor failed: {lines[-1] if lines else error!r}")
