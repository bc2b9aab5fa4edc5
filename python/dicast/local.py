"""Judges in this process."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import logging
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, Type, Union

from . import _library
from ._asking import Asking
from ._handle import Handle, sleep_options, struct_of
from ._library import NULL, check, error_taken, ffi, lib, owned, text_of
from ._loading import Loading
from ._options import generation_config as options_of_config
from ._options import generation_options
from ._submitting import Submitting
from .errors import (
    BatchError,
    DicastError,
    InvalidRequestError,
    OverloadedError,
)
from .models import JudgeInfo, JudgeStats, RewardRequest, RewardResult, as_bool

__all__ = ["Judge", "RewardModel", "from_pretrained"]

_LOGGER = logging.getLogger("dicast")
# Without it, logging itself would print what no program asked for.
_LOGGER.addHandler(logging.NullHandler())

#: How long one wait in the library lasts. Python handles signals, such as Ctrl-C, between two waits.
_SLICE_MS = 250

#: The forms of a request.
Request = Union[Mapping[str, Any], RewardRequest]


class Judge(Asking, Submitting):
    """An opened model. Any number of threads, coroutines and event loops may use one at once.

    ``model`` is the path of a GGUF file, or a name on the Hugging Face hub, ``owner/repo[@revision][:file]``, which
    needs ``pip install dicast[hub]``, or the URL of a server (``http://…``). The other arguments are the sections of a
    configuration file: ``profile`` a path, ``options`` those of every request, ``verdict`` how answers are read,
    ``limits`` the bounds on requests, ``local``, ``trtllm`` and ``remote`` the settings of the engines.
    :func:`dicast.config_schema` describes them all.

    Closing ends what is pending with :class:`ClosedError`. A judge belongs to the process that opened it: after fork,
    in the child, every call is a :class:`ClosedError`. The log goes to the logger ``dicast``.
    """

    def __init__(
        self,
        model: Union[str, "os.PathLike[str]"],
        *,
        profile: Union[str, "os.PathLike[str]", None] = None,
        options: Optional[Mapping[str, Any]] = None,
        verdict: Optional[Mapping[str, Any]] = None,
        limits: Optional[Mapping[str, Any]] = None,
        local: Optional[Mapping[str, Any]] = None,
        trtllm: Optional[Mapping[str, Any]] = None,
        remote: Optional[Mapping[str, Any]] = None,
    ) -> None:
        config: Dict[str, Any] = {"model": os.fspath(model)}
        if profile is not None:
            config["profile"] = os.fspath(profile)
        parts = {"options": options, "verdict": verdict, "limits": limits, "local": local, "trtllm": trtllm}
        parts["remote"] = remote
        config.update((name, dict(part)) for name, part in parts.items() if part is not None)
        self._take(_open(_library.options_json(config, "the configuration")), config)

    def _take(self, pointer: Any, config: Mapping[str, Any]) -> None:
        self.model: str = config["model"]
        self._budget: Optional[int] = config.get("options", {}).get("max_reasoning_tokens")
        self._bound: Optional[int] = None
        self._handle = Handle(pointer)
        self._info: Optional[JudgeInfo] = None
        _judges.add(self)

    @classmethod
    def _of(cls, pointer: Any, config: Mapping[str, Any]) -> Judge:
        """A judge that was opened."""
        judge = cls.__new__(cls)
        judge._take(pointer, config)
        return judge

    def judge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        **generation: Any,
    ) -> RewardResult:
        """Judges responses to one prompt by a principle, and waits for the verdict.

        ``mask_responses=False`` shows the judge the real names in the order given. ``generation`` sets options of this
        request: Dicast's own (``temperature``, ``seed``, ``max_reasoning_tokens``, …) or those of Transformers'
        ``generate``, of which ``max_new_tokens`` may lower the budget of the reasoning, not raise it. Raises a
        :class:`DicastError`: a verdict is complete or it is an error.
        """
        options = self._options(mask_responses, generation)
        ticket = _submit(self._handle, _library.request_new(principle, prompt, responses, options))
        try:
            return _wait(ticket)
        finally:
            # Cancels the judgment where the wait was cut short, as by Ctrl-C.
            ffi.release(ticket)

    def judge_batch(
        self,
        requests: Sequence[Request],
        batch_size: Optional[int] = None,
        *,
        return_exceptions: bool = False,
        **generation: Any,
    ) -> List[RewardResult]:
        """Judges many requests at once, and waits for all. The results are in the order of the requests.

        A request is a :class:`RewardRequest`, or a mapping with ``principle``, ``prompt``, ``responses`` and, if
        wanted, ``mask_responses``. ``generation`` counts for all. Where some fail, a :class:`BatchError` has the
        results of the others, or, with ``return_exceptions``, their errors stand in the list. ``batch_size`` is
        accepted for compatibility and has no effect: the engine forms its batches itself.
        """
        tickets: List[Any] = []
        try:
            for request in requests:
                try:
                    tickets.append(_submit_when_free(self._handle, self._built(request, generation)))
                except DicastError as error:
                    tickets.append(error)
            results = [_outcome(ticket) for ticket in tickets]
        finally:
            for ticket in tickets:
                if not isinstance(ticket, DicastError):
                    ffi.release(ticket)
        return _batch(results, return_exceptions)

    async def ajudge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        **generation: Any,
    ) -> RewardResult:
        """As :meth:`judge`, without blocking the event loop or a thread. Cancelled, it cancels the judgment."""
        options = self._options(mask_responses, generation)
        call = _Call(self._handle, _library.request_new(principle, prompt, responses, options))
        try:
            return await call.future
        finally:
            call.end()

    async def ajudge_batch(
        self,
        requests: Sequence[Request],
        batch_size: Optional[int] = None,
        *,
        return_exceptions: bool = False,
        **generation: Any,
    ) -> List[RewardResult]:
        """As :meth:`judge_batch`, without blocking the event loop. Cancelling it cancels the judgments."""
        calls: List[Union[_Call, DicastError]] = []
        try:
            for request in requests:
                try:
                    calls.append(await _call_when_free(self._handle, self._built(request, generation), calls))
                except DicastError as error:
                    calls.append(error)
            results: List[Any] = []
            for call in calls:
                try:
                    results.append(await call.future if isinstance(call, _Call) else call)
                except DicastError as error:
                    results.append(error)
        finally:
            for call in calls:
                if isinstance(call, _Call):
                    call.end()
        return _batch(results, return_exceptions)

    @property
    def info(self) -> JudgeInfo:
        """What the judge is."""
        if self._info is None:
            with self._handle as handle:
                values = struct_of("dicast_info", lib.dicast_judge_info, handle)
                engine = text_of(lib.dicast_judge_engine(handle))
            values.update(guided=bool(values["guided"]), distributions=bool(values["distributions"]))
            self._info = JudgeInfo(engine=engine, **values)
        return self._info

    @property
    def scale(self) -> Tuple[int, int]:
        """The worst and the best score."""
        return self.info.scale_min, self.info.scale_max

    @property
    def max_responses(self) -> int:
        """Most responses in one request."""
        return self.info.max_responses

    @property
    def profile(self) -> Dict[str, Any]:
        """The profile that the judge goes by: what its model was trained to read and write."""
        with self._handle as handle:
            profile: Dict[str, Any] = json.loads(text_of(lib.dicast_judge_profile_json(handle)))
        return profile

    def stats(self) -> JudgeStats:
        """Counters of the judge."""
        with self._handle as handle:
            return JudgeStats(**struct_of("dicast_stats", lib.dicast_judge_stats, handle))

    def sleep(self, *, arriving: str = "wait", cancel_running: bool = False, patience: Optional[float] = None) -> None:
        """Gives the memory of weights and KV cache back until :meth:`wake`, such as while a trainer needs it.

        Waits for the judgments that run, ``patience`` seconds at most, or cancels them. Those that come meanwhile wait,
        or fail with :class:`AsleepError` (``arriving="fail"``). An :class:`UnsupportedError` where the engine cannot, a
        :class:`JudgmentTimeoutError` where judgments still ran: the judge goes on then.
        """
        error, options = ffi.new("dicast_error **"), sleep_options(arriving, cancel_running, patience)
        with self._handle as handle:
            check(lib.dicast_judge_sleep(handle, options, error), error)

    def wake(self) -> None:
        """Takes the memory back and begins what waited. After a failure the judge sleeps on."""
        error = ffi.new("dicast_error **")
        with self._handle as handle:
            check(lib.dicast_judge_wake(handle, error), error)

    def reload(
        self,
        model: Union[str, "os.PathLike[str]", None] = None,
        *,
        arriving: str = "wait",
        cancel_running: bool = False,
        patience: Optional[float] = None,
    ) -> None:
        """Replaces the weights by those of ``model``, or by what is now at the same place; a judge that sleeps wakes.

        The other arguments are those of :meth:`sleep`. ``RewardResult.weights`` says which weights judged. Where
        ``model`` is no model of this engine the judge goes on as before; where loading fails later it sleeps.
        """
        error, options = ffi.new("dicast_error **"), sleep_options(arriving, cancel_running, patience)
        place = _library.view("" if model is None else os.fspath(model), "model")
        with self._handle as handle:
            check(lib.dicast_judge_reload(handle, place, options, error), error)

    @property
    def asleep(self) -> bool:
        """Whether the judge sleeps."""
        with self._handle as handle:
            return bool(lib.dicast_judge_is_asleep(handle))

    @property
    def weights(self) -> int:
        """Which weights judge: 0 those that the judge was opened with, then one more with each :meth:`reload`."""
        with self._handle as handle:
            return int(lib.dicast_judge_weights(handle))

    @property
    def closed(self) -> bool:
        """Whether the judge was closed by :meth:`close`."""
        return self._handle.closed

    def close(self) -> None:
        """Ends what is pending and unloads the model. Closing twice is fine."""
        self._handle.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dicast.Judge {self.model!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a judge cannot be pickled: it is a model in this process. Open one where it is needed; the hooks of "
            "dicast.trainers do so where they are given the path of the model"
        )

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        """The options of a request as JSON; None where nothing is set."""
        if mask_responses and not generation and self._bound is None:
            return None
        options, bound = generation_options(generation)
        if bound is None and "max_reasoning_tokens" not in options:
            bound = self._bound
        if bound is not None and bound < self._own_budget():
            options.setdefault("max_reasoning_tokens", bound)
        if not mask_responses:
            options["mask"] = "off"
        return _library.options_json(options) if options else None

    def _own_budget(self) -> int:
        """Tokens of reasoning that this judge allows where a request says nothing."""
        if self._budget is None:
            default = _library.defaults("options")["max_reasoning_tokens"]
            self._budget = int(self.profile.get("decoding", {}).get("max_reasoning_tokens", default))
        return self._budget

    def _built(self, request: Request, generation: Mapping[str, Any]) -> Any:
        if isinstance(request, RewardRequest):
            parts: Any = request.principle, request.prompt, request.responses, request.mask_responses
        elif isinstance(request, Mapping):
            try:
                parts = request["principle"], request["prompt"], request["responses"]
            except KeyError as error:
                raise InvalidRequestError(f"the request has no {error.args[0]}") from None
            parts += (request.get("mask_responses", True),)
        else:
            raise InvalidRequestError(f"a request is {type(request).__name__}: it must be a mapping or a RewardRequest")
        principle, prompt, responses, mask_responses = parts
        return _library.request_new(
            principle, prompt, responses, self._options(as_bool(mask_responses, "mask_responses"), generation)
        )


#: The name of the class in the reference system.
RewardModel = Judge


def _open(config: str) -> Any:
    out, error = ffi.new("dicast_judge **"), ffi.new("dicast_error **")
    check(lib.dicast_judge_open(_library.view(config, "the configuration"), open_options(), out, error), error)
    return owned("judge", out[0])


def open_options() -> Any:
    """How a judge is opened: its log goes to the logger, at the level that this has now."""
    options = ffi.new("dicast_open_options *")
    options.struct_size = ffi.sizeof("dicast_open_options")
    options.log = _on_log
    wanted = (level for level, number in _LEVELS.items() if _LOGGER.isEnabledFor(number))
    options.log_level = max(wanted, default=lib.DICAST_LOG_ERROR)
    return options


def _batch(results: List[Any], return_exceptions: bool) -> List[Any]:
    if not return_exceptions and any(isinstance(result, DicastError) for result in results):
        raise BatchError.of(results)
    return results


# Waiting. Each wait is cut into slices, because the interpreter handles signals only between them.


def _submit(judge: Handle, request: Any) -> Any:
    ticket, error = ffi.new("dicast_ticket **"), ffi.new("dicast_error **")
    with judge as handle:
        check(lib.dicast_judge_submit(handle, request, NULL, NULL, ticket, error), error)
    return owned("ticket", ticket[0])


def _submit_when_free(judge: Handle, request: Any) -> Any:
    while True:
        try:
            return _submit(judge, request)
        except OverloadedError:
            _wait_for_room(judge)


def _wait_for_room(judge: Handle) -> None:
    """Waits until there may be room in the queue, a slice at most."""
    error = ffi.new("dicast_error **")
    with judge as handle:
        status = lib.dicast_judge_wait_for_room(handle, _SLICE_MS, error)
    if status != lib.DICAST_PENDING:
        check(status, error)


def _wait(ticket: Any) -> RewardResult:
    verdict, error = ffi.new("dicast_verdict **"), ffi.new("dicast_error **")
    pending, wait = lib.DICAST_PENDING, lib.dicast_ticket_wait
    while True:
        status = wait(ticket, _SLICE_MS, verdict, error)
        if status != pending:
            check(status, error)
            return RewardResult.from_verdict(_library.verdict_json(owned("verdict", verdict[0])))


def _outcome(ticket: Any) -> Union[RewardResult, DicastError]:
    if isinstance(ticket, DicastError):
        return ticket
    try:
        return _wait(ticket)
    except DicastError as error:
        return error


# Coroutines. The library calls back from a thread of its own; the event loop does the rest.


class _Call:
    """A judgment whose outcome an event loop waits for."""

    def __init__(self, judge: Handle, request: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: "asyncio.Future[RewardResult]" = self.loop.create_future()
        self._ended = False
        number = next(_numbers)
        ticket, error = ffi.new("dicast_ticket **"), ffi.new("dicast_error **")
        _calls[number] = self
        try:
            with judge as handle:
                data = ffi.cast("void *", number)
                check(lib.dicast_judge_submit(handle, request, _on_outcome, data, ticket, error), error)
        except BaseException:
            del _calls[number]
            raise
        # Freed by `end` alone: the garbage collector might free it before the coroutine ends.
        self._ticket: Any = ticket[0]

    def deliver(self, verdict: Any, error: Any) -> None:
        """Takes the outcome, in the thread of the event loop."""
        if self._ended or self.future.done():
            return
        if error is None:
            self.future.set_result(RewardResult.from_verdict(_library.verdict_json(verdict)))
        else:
            self.future.set_exception(error)

    def end(self) -> None:
        """Cancels the judgment if it has not ended, and frees the ticket."""
        self._ended = True
        ticket, self._ticket = self._ticket, NULL
        if not self.future.done() or self.future.cancelled():
            lib.dicast_ticket_cancel(ticket, NULL)
        else:
            self.future.exception()  # Seen, or it would be logged as never retrieved.
        lib.dicast_ticket_free(ticket)


async def _call_when_free(judge: Handle, request: Any, calls: Iterable[Union[_Call, DicastError]]) -> _Call:
    while True:
        try:
            return _Call(judge, request)
        except OverloadedError:
            pending = [call.future for call in calls if isinstance(call, _Call) and not call.future.done()]
        if pending:
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        else:
            # Others filled the queue; this loop is not told when their judgments end.
            await asyncio.get_running_loop().run_in_executor(None, _wait_for_room, judge)


#: The calls whose outcome has not come, by the number that the library hands back.
_calls: Dict[int, _Call] = {}
_numbers = itertools.count(1)


def _take_outcome(user_data: Any, _status: int, verdict: Any, error: Any) -> None:
    outcome = owned("verdict", verdict) if verdict else None
    failure = error_taken(error) if error else None
    call = _calls.pop(int(ffi.cast("uintptr_t", user_data)), None)
    if call is not None:
        try:
            call.loop.call_soon_threadsafe(call.deliver, outcome, failure)
        except RuntimeError:
            pass  # The loop was closed: nobody waits.


#: What the library calls. Never freed: it serves all judges for as long as the program runs.
_on_outcome = ffi.callback("dicast_callback", _take_outcome)


_LEVELS = {
    lib.DICAST_LOG_ERROR: logging.ERROR,
    lib.DICAST_LOG_WARN: logging.WARNING,
    lib.DICAST_LOG_INFO: logging.INFO,
    lib.DICAST_LOG_DEBUG: logging.DEBUG,
}


def _take_line(_user_data: Any, level: int, line: Any) -> None:
    _LOGGER.log(_LEVELS.get(level, logging.INFO), "%s", text_of(line))


_on_log = ffi.callback("dicast_log_callback", _take_line)


_judges: "weakref.WeakSet[Judge]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Ends all judgments while there is an interpreter to call back to."""
    for judge in list(_judges):
        judge.close()


def _forked() -> None:
    _calls.clear()  # Their outcomes go to the parent.
    for judge in list(_judges):
        judge._handle.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def from_pretrained(
    model_name_or_path: Union[str, "os.PathLike[str]"],
    device: Optional[Any] = None,
    torch_dtype: Optional[Any] = None,
    trust_remote_code: bool = False,
    generation_config: Optional[Any] = None,
    *,
    profile: Union[str, "os.PathLike[str]", None] = None,
    options: Optional[Mapping[str, Any]] = None,
    verdict: Optional[Mapping[str, Any]] = None,
    limits: Optional[Mapping[str, Any]] = None,
    local: Optional[Mapping[str, Any]] = None,
    trtllm: Optional[Mapping[str, Any]] = None,
    remote: Optional[Mapping[str, Any]] = None,
    **kwargs: Any,
) -> Judge:
    """Opens a judge.

    ``model_name_or_path`` is the path of a GGUF file, a name on the Hugging Face hub (``revision``, ``cache_dir`` and
    ``token`` count there), or the URL of a server. With ``device`` (or ``device_map``) "cpu" the model is kept off a
    GPU; "cuda", "mps" and "vulkan" are an :class:`UnsupportedError` where this build of Dicast has no such GPU; without
    it, or with "auto", the GPU that this build has is used, if it has one. ``generation_config``, a mapping or
    Transformers' object, sets options of every request. ``profile``, ``options``, ``verdict``, ``limits``, ``local``,
    ``trtllm`` and ``remote`` are those of :class:`Judge`.

    The types of the weights are those of the GGUF file, and no code of a model is ever run: ``torch_dtype`` and
    ``trust_remote_code`` have no effect. Nor have further arguments for Transformers' loading; a warning names them. An
    argument that Transformers does not know either is a TypeError.
    """
    loading = Loading(device, torch_dtype, kwargs)
    place = _located(model_name_or_path, loading.hub)
    settings = loading.local(place, dict(local or {}))
    defaults, bound = options_of_config(generation_config)
    judge = Judge(
        place,
        profile=profile,
        options={**defaults, **(options or {})},
        verdict=verdict,
        limits=limits,
        local=settings,
        trtllm=trtllm,
        remote=remote,
    )
    judge._bound = bound
    return judge


def _located(model: Union[str, "os.PathLike[str]"], hub: Mapping[str, Any]) -> str:
    """The path of a model that may be on the hub."""
    name = os.fspath(model)
    if isinstance(model, str) and not Path(model).exists() and not name.endswith(".gguf"):
        from ._hub import fetch, is_reference

        if is_reference(name):
            return fetch(name, **hub)
    return name
