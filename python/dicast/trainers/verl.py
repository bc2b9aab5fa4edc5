"""veRL: ``custom_reward_function``, which is given a file and the name of a function in it.

    custom_reward_function.path=$(python -c "import dicast.trainers.verl as m; print(m.__file__)")
    custom_reward_function.name=compute_score

The functions of this file take their settings from the environment (:class:`dicast.trainers.Settings`); a file of your
own makes them of settings with :func:`single`, :func:`asynchronous` and :func:`batch`. veRL hands over no prompt: it is
looked for in ``extra_info`` under ``prompt``, ``raw_prompt``, ``question`` or ``problem``, or ``prompt_of`` makes it.
The principle is that of ``extra_info``, where there is one, before that of the settings.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence

# veRL loads this file by its path: it has no package around it then.
from dicast.errors import InvalidRequestError
from dicast.trainers._coalesce import LoopCoalescer, ThreadCoalescer
from dicast.trainers._groups import Judged, grouped, principle_of, text_of_prompt
from dicast.trainers._settings import Default, Settings

__all__ = ["asynchronous", "batch", "compute_score", "compute_score_async", "compute_scores", "single"]

#: Makes the prompt of a sample of its ``extra_info``.
PromptOf = Callable[[Mapping[str, Any]], Any]

_PLACES = ("prompt", "raw_prompt", "question", "problem")


def single(settings: Settings, prompt_of: Optional[PromptOf] = None) -> Callable[..., Dict[str, float]]:
    """``compute_score`` for one sample a call.

    Each is judged alone, unless ``group_size`` is above 1: then it waits for those of its prompt that other threads
    bring, ``window`` at most. veRL calls it in as many threads as there are samples at work.
    """
    coalescer = ThreadCoalescer(settings)

    def compute_score(
        data_source: Any = None, solution_str: str = "", ground_truth: Any = None, extra_info: Any = None, **_: Any
    ) -> Dict[str, float]:
        sample = _sample(data_source, ground_truth, extra_info)
        principle, prompt = principle_of(settings.principle, sample), _prompt(sample, prompt_of)
        return _score(settings, coalescer.reward(principle, prompt, solution_str))

    return compute_score


def asynchronous(
    settings: Settings, prompt_of: Optional[PromptOf] = None
) -> Callable[..., Awaitable[Dict[str, float]]]:
    """As :func:`single`, for veRL to await: no thread is held while a sample waits."""
    coalescer = LoopCoalescer(settings)

    async def compute_score(
        data_source: Any = None, solution_str: str = "", ground_truth: Any = None, extra_info: Any = None, **_: Any
    ) -> Dict[str, float]:
        sample = _sample(data_source, ground_truth, extra_info)
        principle, prompt = principle_of(settings.principle, sample), _prompt(sample, prompt_of)
        return _score(settings, await coalescer.reward(principle, prompt, solution_str))

    return compute_score


def batch(settings: Settings, prompt_of: Optional[PromptOf] = None) -> Callable[..., List[Dict[str, float]]]:
    """``compute_score`` for a batch, as veRL's batch reward manager calls it: the samples of one prompt are judged
    together, wherever they stand in the batch."""

    def compute_score(
        data_sources: Sequence[Any] = (),
        solution_strs: Sequence[str] = (),
        ground_truths: Sequence[Any] = (),
        extra_infos: Sequence[Any] = (),
        **_: Any,
    ) -> List[Dict[str, float]]:
        samples = []
        for text, source, truth, info in zip(solution_strs, data_sources, ground_truths, extra_infos):
            sample = _sample(source, truth, info)
            samples.append((principle_of(settings.principle, sample), _prompt(sample, prompt_of), str(text), None))
        if len(samples) != len(solution_strs):
            raise InvalidRequestError("veRL's lists differ in length")
        return [_score(settings, judged) for judged in settings.made.of(grouped(samples, consecutive=False))]

    return compute_score


def _sample(data_source: Any, ground_truth: Any, extra_info: Any) -> Dict[str, Any]:
    info = dict(extra_info) if isinstance(extra_info, Mapping) else {}
    return {**info, "data_source": data_source, "ground_truth": ground_truth}


def _prompt(sample: Mapping[str, Any], prompt_of: Optional[PromptOf]) -> str:
    if prompt_of is not None:
        return text_of_prompt(prompt_of(sample))
    for place in _PLACES:
        if sample.get(place) is not None:
            return text_of_prompt(sample[place])
    raise InvalidRequestError(f"extra_info has no prompt: put it under {' or '.join(_PLACES)}, or give prompt_of")


def _score(settings: Settings, judged: Judged) -> Dict[str, float]:
    return {"score": settings.number(judged), "judged": float(judged.reward is not None)}


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
