"""Judges in this process."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import logging
import os
import traceback
import weakref
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from . import _library
from ._asking import Asking
from ._calls import (
    AT_ONCE,
    Call,
    Inbox,
    call_when_free,
    calls_open,
    end_all,
    outcome_of,
    submit,
    submit_when_free,
    wait,
)
from ._groups import Grouping
from ._handle import Handle, sleep_options, struct_of
from ._interrupts import apart, keep
from ._library import check, ffi, lib, owned, text_of
from ._loading import Loading
from ._options import generation_config as options_of_config
from ._options import generation_options
from ._pins import Warming
from ._progress import Progress, Watch, stop_loads, wait_for_loads
from ._scope import Scoped
from ._submitting import Submitting
from .errors import (
    BatchError,
    DicastError,
    InvalidRequestError,
)
from .models import JudgeInfo, JudgeStats, RewardRequest, RewardResult, as_bool

__all__ = ["Judge", "RewardModel", "from_pretrained"]

_LOGGER = logging.getLogger("dicast")
# Without it, logging itself would print lines that the program did not ask for.
_LOGGER.addHandler(logging.NullHandler())

#: The forms of a request.
Request = Union[Mapping[str, Any], RewardRequest]


class Judge(Asking, Submitting, Grouping, Warming, Scoped):
    """An opened model. Any number of threads, coroutines and event loops may use one at once.

    ``model`` is the path of a GGUF file, or a name on the Hugging Face hub, ``owner/repo[@revision][:file]``, which
    needs ``pip install dicast[hub]``, or the URL of a server (``http://…``). The other arguments are the sections of a
    configuration file: ``profile`` is a path, ``options`` are those of every request, ``verdict`` says how answers are
    read, ``limits`` are the limits on requests, ``local``, ``trtllm`` and ``remote`` are the settings of the engines.
    :func:`dicast.config_schema` describes them all.

    ``progress`` is a function that gets the part of the model that is loaded, from 0 to 1, in the thread that opens,
    wakes or reloads the judge. If it returns False, loading ends with a :class:`JudgmentCancelledError`; what it raises
    reaches the caller. It must not use this judge. Ctrl-C ends loading with or without it, at once: the memory is given
    back a moment later.

    Closing ends pending judgments with :class:`ClosedError`. A judge belongs to the process that opened it: after fork,
    in the child, every call raises :class:`ClosedError`. The log goes to the logger ``dicast``.
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
        progress: Optional[Progress] = None,
    ) -> None:
        config: Dict[str, Any] = {"model": os.fspath(model)}
        if profile is not None:
            config["profile"] = os.fspath(profile)
        parts = {"options": options, "verdict": verdict, "limits": limits, "local": local, "trtllm": trtllm}
        parts["remote"] = remote
        config.update((name, dict(part)) for name, part in parts.items() if part is not None)
        watch = Watch(progress)
        self._take(_open(_library.options_json(config, "the configuration"), watch), config, watch)

    def _take(self, pointer: Any, config: Mapping[str, Any], watch: Optional[Watch] = None) -> None:
        # Lives as long as the judge, whose loading it watches.
        self._watch = watch or Watch()
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
        ``generate``; ``max_new_tokens`` may lower the reasoning budget, not raise it. Raises a
        :class:`DicastError`: a verdict is complete or it is an error.
        """
        options = self._options(mask_responses, generation)
        ticket = submit(self._handle, _library.request_new(principle, prompt, responses, options))
        try:
            return wait(ticket)
        finally:
            # Cancels the judgment if the wait was interrupted, as by Ctrl-C.
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
        wanted, ``mask_responses``. ``generation`` applies to all. If some fail, a :class:`BatchError` is raised that
        has the results of the others; with ``return_exceptions`` the errors are put into the list instead.
        ``batch_size`` is accepted for compatibility and has no effect: the engine forms its batches itself.
        """
        tickets: List[Any] = []
        try:
            for request in requests:
                try:
                    tickets.append(submit_when_free(self._handle, self._built(request, generation)))
                except DicastError as error:
                    tickets.append(error)
            results = [outcome_of(ticket) for ticket in tickets]
        finally:
            end_all([functools.partial(ffi.release, one) for one in tickets if not isinstance(one, DicastError)])
        return _batch(results, return_exceptions)

    async def ajudge(
        self,
        principle: str,
        prompt: str,
        responses: Mapping[str, str],
        mask_responses: bool = True,
        **generation: Any,
    ) -> RewardResult:
        """As :meth:`judge`, without blocking the event loop or a thread. Cancelling it cancels the judgment."""
        options = self._options(mask_responses, generation)
        call = Call(self._handle, _library.request_new(principle, prompt, responses, options), Inbox())
        try:
            return await call.future
        finally:
            call.ended()()

    async def ajudge_batch(
        self,
        requests: Sequence[Request],
        batch_size: Optional[int] = None,
        *,
        return_exceptions: bool = False,
        **generation: Any,
    ) -> List[RewardResult]:
        """As :meth:`judge_batch`, without blocking the event loop. Cancelling it cancels the judgments."""
        calls: List[Union[Call, DicastError]] = []
        inbox = Inbox()
        try:
            for number, request in enumerate(requests, 1):
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)  # Otherwise nothing else would run, not even a cancellation.
                try:
                    calls.append(await call_when_free(self._handle, self._built(request, generation), inbox))
                except DicastError as error:
                    calls.append(error)
            results: List[Any] = []
            for call in calls:
                try:
                    results.append(await call.future if isinstance(call, Call) else call)
                except DicastError as error:
                    results.append(error)
        finally:
            end_all([call.ended() for call in calls if isinstance(call, Call)])
        return _batch(results, return_exceptions)

    @property
    def info(self) -> JudgeInfo:
        """Properties of the judge."""
        if self._info is None:
            values = struct_of("dicast_info", lib.dicast_judge_info, self._handle)
            engine = self._handle.text(lib.dicast_judge_engine)
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
        """The profile that the judge uses: what its model was trained to read and write."""
        profile: Dict[str, Any] = json.loads(self._handle.text(lib.dicast_judge_profile_json))
        return profile

    def stats(self) -> JudgeStats:
        """Counters of the judge."""
        return JudgeStats(**struct_of("dicast_stats", lib.dicast_judge_stats, self._handle))

    def sleep(self, *, arriving: str = "wait", cancel_running: bool = False, patience: Optional[float] = None) -> None:
        """Frees the memory of weights and KV cache until :meth:`wake`, for example while a trainer needs it.

        Waits for running judgments and for :meth:`warm`, at most ``patience`` seconds, or cancels them. Requests that
        arrive meanwhile wait, or fail with :class:`AsleepError` (``arriving="fail"``). Raises
        :class:`UnsupportedError` if the engine cannot do this, and :class:`JudgmentTimeoutError` if judgments still
        ran; the judge then works as before. Ctrl-C ends the wait; the judge falls asleep all the same, and :meth:`wake`
        wakes it.
        """
        options = sleep_options(arriving, cancel_running, patience)

        def slept() -> None:
            error = ffi.new("dicast_error **")
            check(lib.dicast_judge_sleep(self._handle.get(), options, error), error)

        apart(slept)

    def wake(self) -> None:
        """Loads the model again and starts the waiting requests. After a failure the judge still sleeps."""

        def woken() -> None:
            error = ffi.new("dicast_error **")
            self._watch.check(lib.dicast_judge_wake(self._handle.get(), error), error)

        self._watch.load(woken)

    def reload(
        self,
        model: Union[str, "os.PathLike[str]", None] = None,
        *,
        arriving: str = "wait",
        cancel_running: bool = False,
        patience: Optional[float] = None,
    ) -> None:
        """Replaces the weights by those of ``model``, or by those now at the same path; a sleeping judge wakes.

        The other arguments are those of :meth:`sleep`. ``RewardResult.weights`` says which weights judged. If ``model``
        is not a model for this engine, the judge works as before; if loading fails later, it sleeps.
        """
        options = sleep_options(arriving, cancel_running, patience)
        place = _library.view("" if model is None else os.fspath(model), "model")

        def reloaded() -> None:
            error = ffi.new("dicast_error **")
            self._watch.check(lib.dicast_judge_reload(self._handle.get(), place, options, error), error)

        self._watch.load(reloaded)

    @property
    def asleep(self) -> bool:
        """Whether the judge sleeps."""
        return bool(lib.dicast_judge_is_asleep(self._handle.get()))

    @property
    def weights(self) -> int:
        """Which weights judge: 0 is the set that the judge was opened with, and each :meth:`reload` adds one."""
        return int(lib.dicast_judge_weights(self._handle.get()))

    @property
    def closed(self) -> bool:
        """Whether the judge was closed by :meth:`close`."""
        return self._handle.closed

    def close(self) -> None:
        """Ends pending judgments and unloads the model. Closing twice does no harm."""
        self._handle.close()

    def _leave(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dicast.Judge {self.model!r}{' closed' if self.closed else ''}>"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a judge cannot be pickled: it is a model in this process. Open one where it is needed; the hooks of "
            "dicast.trainers do so if they get the path of the model"
        )

    def _options(self, mask_responses: bool, generation: Mapping[str, Any]) -> Optional[str]:
        """The options of a request as JSON; None if nothing is set."""
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
        """The default reasoning budget of this judge, in tokens."""
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


def _open(config: str, watch: Watch) -> Any:
    def opened() -> Any:
        out, error, options = ffi.new("dicast_judge **"), ffi.new("dicast_error **"), open_options()
        watch.set(options)
        watch.check(lib.dicast_judge_open(_library.view(config, "the configuration"), options, out, error), error)
        return owned("judge", out[0])

    return watch.load(opened)


def open_options() -> Any:
    """The options for opening a judge: its log goes to the logger, at the logger's current level."""
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


_LEVELS = {
    lib.DICAST_LOG_ERROR: logging.ERROR,
    lib.DICAST_LOG_WARN: logging.WARNING,
    lib.DICAST_LOG_INFO: logging.INFO,
    lib.DICAST_LOG_DEBUG: logging.DEBUG,
}


def _take_line(_user_data: Any, level: int, line: Any) -> None:
    try:
        _LOGGER.log(_LEVELS.get(level, logging.INFO), "%s", text_of(line))
    except Exception:
        if logging.raiseExceptions:  # As the handlers of logging do.
            traceback.print_exc()


_on_log = ffi.callback("dicast_log_callback", _take_line, onerror=keep)


_judges: "weakref.WeakSet[Judge]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Ends all judgments, and all loading, while there still is an interpreter to call back to."""
    loads = stop_loads()
    for judge in list(_judges):
        judge.close()
    wait_for_loads(loads)


def _forked() -> None:
    calls_open.clear()  # Their outcomes belong to the parent.


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
    progress: Optional[Progress] = None,
    **kwargs: Any,
) -> Judge:
    """Opens a judge.

    ``model_name_or_path`` is the path of a GGUF file, a name on the Hugging Face hub (``revision``, ``cache_dir`` and
    ``token`` apply there), or the URL of a server. With ``device`` (or ``device_map``) "cpu" no GPU is used; "cuda",
    "mps" and "vulkan" raise :class:`UnsupportedError` if this build of Dicast does not support that GPU; without it, or
    with "auto", the GPU that this build supports is used, if there is one. ``generation_config``, a mapping or
    Transformers' object, sets options of every request. ``profile``, ``options``, ``verdict``, ``limits``, ``local``,
    ``trtllm``, ``remote`` and ``progress`` are those of :class:`Judge`.

    The types of the weights are those of the GGUF file, and no code of a model is ever run: ``torch_dtype`` and
    ``trust_remote_code`` have no effect. Other loading arguments of Transformers have no effect either; a warning names
    them. An argument that Transformers does not have is a TypeError.
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
        progress=progress,
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
