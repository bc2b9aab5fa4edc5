"""veRL: ``custom_reward_function``, and the reward manager that judges whole groups.

The reward manager (:mod:`dicast.trainers.verl_manager`) is the better form for a listwise judge. veRL sends each sample
to a random one of several worker processes; the manager puts the groups together in one Ray actor, which holds the
judge. ::

    reward.reward_manager.source=importlib
    reward.reward_manager.name=RewardManager
    reward.reward_manager.module.path=pkg://dicast.trainers.verl_manager

A custom reward function is called for each sample by itself, in any of these processes::

    reward.custom_reward_function.path=pkg://dicast.trainers.verl
    reward.custom_reward_function.name=compute_score_async

Its groups form only with ``reward.num_workers=1``, or with a route of a Dicast server (``DICAST_ROUTE``). Use
``compute_score_async``: ``compute_score`` holds a thread of a small pool while it waits. ``compute_scores`` is for the
batch manager of older versions.

The functions of this file take their settings from the environment (:class:`dicast.trainers.Settings`). In a file of
your own, create them with settings, by :func:`single`, :func:`asynchronous` and :func:`batch`. The prompt is
``prompt``, ``raw_prompt``, ``question`` or ``problem`` of ``extra_info``, or a keyword ``raw_prompt``, or ``prompt_of``
makes it. A principle in ``extra_info`` overrides that of the settings.
"""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

# veRL loads this file by its path: it has no package around it then.
from dicast.errors import InvalidRequestError
from dicast.trainers._coalesce import LoopCoalescer, ThreadCoalescer
from dicast.trainers._groups import Judged, Sample, grouped, principle_of
from dicast.trainers._hook import AsyncHook, Hook
from dicast.trainers._lazy import PerProcess
from dicast.trainers._settings import Default, Settings
from dicast.trainers._texts import text_of_prompt

__all__ = ["asynchronous", "batch", "compute_score", "compute_score_async", "compute_scores", "single"]

#: Makes the prompt of a sample from its ``extra_info``.
PromptOf = Callable[[Mapping[str, Any]], Any]

_PLACES = ("prompt", "raw_prompt", "question", "problem")


def single(settings: Settings, prompt_of: Optional[PromptOf] = None) -> Callable[..., Dict[str, float]]:
    """``compute_score`` for one sample per call.

    Each is judged alone, unless ``group_size`` is above 1: then it waits for samples of its prompt from other threads,
    at most ``window`` seconds.
    """
    return _Single(settings, prompt_of)


def asynchronous(settings: Settings, prompt_of: Optional[PromptOf] = None) -> Callable[..., Any]:
    """As :func:`single`, for veRL to await: no thread is held while a sample waits."""
    return _Asynchronous(settings, prompt_of)


def batch(settings: Settings, prompt_of: Optional[PromptOf] = None) -> Callable[..., List[Dict[str, float]]]:
    """``compute_score`` for a batch, as veRL's batch reward manager calls it: the samples of one prompt are judged
    together, wherever they are in the batch."""
    return _Batch(settings, prompt_of)


def _one(settings: Settings, fields: Mapping[str, Any], solution: Any, prompt_of: Optional[PromptOf]) -> Sample:
    """A sample that waits for its group; warns if it has none."""
    sample = sample_of(settings, fields, solution, prompt_of)
    if settings.group_size == 1:
        settings.alone()
    return sample


class _Single(Hook):
    def __init__(self, settings: Settings, prompt_of: Optional[PromptOf]) -> None:
        super().__init__("compute_score")
        self._settings = settings
        self._prompt_of = prompt_of
        make = functools.partial(ThreadCoalescer, settings.asamples, settings.window)
        self.coalescer: "PerProcess[ThreadCoalescer]" = PerProcess(make)

    def __call__(
        self,
        data_source: Any = None,
        solution_str: Any = None,
        ground_truth: Any = None,
        extra_info: Any = None,
        **more: Any,
    ) -> Dict[str, float]:
        settings = self._settings
        fields = fields_of(data_source, solution_str, ground_truth, extra_info, more)
        if settings.served is not None:
            prompt = _prompt(fields, self._prompt_of)
            return score(settings, settings.served.reward(prompt, solution_str, fields["ground_truth"]))
        sample = _one(settings, fields, solution_str, self._prompt_of)
        return score(settings, self.coalescer().rewards(sample[:2], [sample], settings.group_size)[0])


class _Asynchronous(AsyncHook):
    def __init__(self, settings: Settings, prompt_of: Optional[PromptOf]) -> None:
        super().__init__("compute_score")
        self._settings = settings
        self._prompt_of = prompt_of
        make = functools.partial(LoopCoalescer, settings.asamples, settings.window)
        self.coalescer: "PerProcess[LoopCoalescer]" = PerProcess(make)

    async def __call__(
        self,
        data_source: Any = None,
        solution_str: Any = None,
        ground_truth: Any = None,
        extra_info: Any = None,
        **more: Any,
    ) -> Dict[str, float]:
        settings = self._settings
        fields = fields_of(data_source, solution_str, ground_truth, extra_info, more)
        if settings.served is not None:
            prompt = _prompt(fields, self._prompt_of)
            judged = await settings.served.areward(prompt, solution_str, fields["ground_truth"])
            return score(settings, judged)
        sample = _one(settings, fields, solution_str, self._prompt_of)
        return score(settings, (await self.coalescer().rewards(sample[:2], [sample], settings.group_size))[0])


class _Batch(Hook):
    def __init__(self, settings: Settings, prompt_of: Optional[PromptOf]) -> None:
        super().__init__("compute_scores")
        self._settings = settings
        self._prompt_of = prompt_of

    def __call__(
        self,
        data_sources: Optional[Sequence[Any]] = None,
        solution_strs: Optional[Sequence[str]] = None,
        ground_truths: Optional[Sequence[Any]] = None,
        extra_infos: Optional[Sequence[Any]] = None,
        **more: Any,
    ) -> List[Dict[str, float]]:
        lists = (data_sources, solution_strs, ground_truths, extra_infos)
        if any(one is None for one in lists):
            raise _wrong_call("compute_scores", "data_sources, solution_strs, ground_truths, extra_infos", more)
        sources, texts, truths, infos = (list(one or []) for one in lists)
        if not len(sources) == len(texts) == len(truths) == len(infos):
            raise InvalidRequestError("veRL's lists differ in length")
        samples = []
        for text, source, truth, info in zip(texts, sources, truths, infos):
            fields = fields_of(source, text, truth, info, {})
            samples.append(sample_of(self._settings, fields, text, self._prompt_of))
        groups = grouped([(*sample, None) for sample in samples], consecutive=False)
        return [score(self._settings, judged) for judged in self._settings.made.of(groups)]


def _wrong_call(name: str, wanted: str, given: Mapping[str, Any]) -> InvalidRequestError:
    got = f" It got {', '.join(sorted(given))}." if given else ""
    return InvalidRequestError(
        f"{name} is called with {wanted}, by keyword.{got} For one sample per call use compute_score or "
        "compute_score_async, for a batch compute_scores"
    )


def fields_of(source: Any, text: Any, truth: Any, info: Any, more: Mapping[str, Any]) -> Dict[str, Any]:
    """The fields that veRL gives with a sample, for a principle or a ``prompt_of`` that is a function."""
    if not isinstance(text, str):
        raise _wrong_call("compute_score", "data_source, solution_str, ground_truth, extra_info", more)
    fields = dict(info) if isinstance(info, Mapping) else {}
    if fields.get("raw_prompt") is None and more.get("raw_prompt") is not None:
        fields["raw_prompt"] = more["raw_prompt"]
    return {**fields, "data_source": source, "ground_truth": truth}


def sample_of(settings: Settings, fields: Mapping[str, Any], text: str, prompt_of: Optional[PromptOf]) -> Sample:
    """What is judged of a sample."""
    return Sample(principle_of(settings.principle, fields), _prompt(fields, prompt_of), text)


def _prompt(fields: Mapping[str, Any], prompt_of: Optional[PromptOf]) -> str:
    if prompt_of is not None:
        return text_of_prompt(prompt_of(fields))
    for place in _PLACES:
        if fields.get(place) is not None:
            return text_of_prompt(fields[place])
    raise InvalidRequestError(
        f"extra_info has no prompt: put it under {' or '.join(_PLACES)}, give prompt_of, or use a reward manager that "
        "passes raw_prompt on (RewardManager of dicast.trainers.verl_manager, or veRL's naive)"
    )


def score(settings: Settings, judged: Judged) -> Dict[str, float]:
    """A reward in the form of veRL, with further values that it logs."""
    # The same keys for all samples, because veRL makes columns from them.
    judged_one = float(judged.reward is not None)
    return {"score": settings.number(judged), "judged": judged_one, "group": float(judged.group)}


_single = Default(single)
_asynchronous = Default(asynchronous)
_batch = Default(batch)


def compute_score(**kwargs: Any) -> Dict[str, float]:
    """:func:`single`, with settings from the environment."""
    result: Dict[str, float] = _single()(**kwargs)
    return result


async def compute_score_async(**kwargs: Any) -> Dict[str, float]:
    """:func:`asynchronous`, with settings from the environment."""
    result: Dict[str, float] = await _asynchronous()(**kwargs)
    return result


def compute_scores(**kwargs: Any) -> List[Dict[str, float]]:
    """:func:`batch`, with settings from the environment."""
    result: List[Dict[str, float]] = _batch()(**kwargs)
    return result
