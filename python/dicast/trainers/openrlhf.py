"""OpenRLHF: an executor that judges whole groups, and the file form of the remote reward model.

The executor is the better form for a listwise judge (OpenRLHF 0.11)::

    --train.agent_func_path $(python -c "import dicast.trainers.openrlhf_executor as m; print(m.__file__)")

It generates as OpenRLHF's own single-turn executor does. The samples of one prompt start together, so it knows how many
there are, in training and in evaluation, and judges them when the last one has ended. See
:mod:`dicast.trainers.openrlhf_executor`.

The file form has a function ``reward_func``::

    --reward.remote_url $(python -c "import dicast.trainers.openrlhf as m; print(m.__file__)")

OpenRLHF 0.11 calls it with one sample, in threads of a small pool: with ``DICAST_GROUP_SIZE`` a sample waits for the
others of its prompt, but these may get no thread meanwhile. Use the executor, or the route ``openrlhf`` of a Dicast
server. Older versions call it with a batch: the samples of one prompt are judged together.

Both take their settings from the environment (:class:`dicast.trainers.Settings`). In a file of your own, create the
function with settings: ``reward_func = make_reward_func(settings)``.

``rewards`` are as the settings say; ``scores``, by which OpenRLHF filters groups, are always from 0 to 1. OpenRLHF
logs errors of a file's function only at INFO and continues without the reward; the logger ``dicast`` logs them at
ERROR.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Callable, Dict, List, Optional, Sequence

# OpenRLHF loads this file by its path: it has no package around it then.
from dicast.errors import DicastError, InvalidConfigError, InvalidRequestError
from dicast.trainers._coalesce import ThreadCoalescer
from dicast.trainers._groups import Judged, Sample, grouped, principle_of
from dicast.trainers._hook import Hook
from dicast.trainers._lazy import PerProcess
from dicast.trainers._settings import Default, Settings
from dicast.trainers._texts import END_TOKENS, clean_response, ends_of, said_in

__all__ = ["END_TOKENS", "Reading", "make_reward_func", "reward_func"]

_LOGGER = logging.getLogger("dicast")


class Reading:
    """How OpenRLHF's texts are read: the settings of :func:`make_reward_func`."""

    def __init__(
        self,
        settings: Settings,
        prompt_of: Optional[Callable[[str, Any], str]] = None,
        end_tokens: Sequence[str] = END_TOKENS,
    ) -> None:
        if settings.route is not None:
            raise InvalidConfigError("OpenRLHF calls a route of the server itself: set --reward.remote_url to its URL")
        self.settings = settings
        self._prompt_of = prompt_of
        self._end_tokens = tuple(end_tokens)

    def sample(self, query: str, prompt: str, label: Any) -> Sample:
        """The prompt and the response of a sample: `query` is the prompt followed by the response."""
        text = query[len(prompt) :] if query.startswith(prompt) else query
        shown = said_in(prompt) if self._prompt_of is None else self._prompt_of(prompt, label)
        principle = principle_of(self.settings.principle, {"prompt": prompt, "label": label})
        return Sample(principle, shown, clean_response(text, ends_of(self._end_tokens)))


def make_reward_func(
    settings: Settings,
    *,
    prompt_of: Optional[Callable[[str, Any], str]] = None,
    end_tokens: Sequence[str] = END_TOKENS,
) -> Callable[..., Dict[str, Any]]:
    """A ``reward_func``.

    ``prompt_of(prompt, label)`` makes the judge's prompt from OpenRLHF's prompt, which contains the chat template. By
    default it is the content, if the template is of a known family, else the unchanged text. ``end_tokens`` are removed
    from the end of responses. A ``principle`` that is a function gets ``prompt`` and ``label``.
    """
    return _RewardFunc(Reading(settings, prompt_of, end_tokens))


class _RewardFunc(Hook):
    def __init__(self, reading: Reading) -> None:
        super().__init__("reward_func")
        self._reading = reading
        settings = reading.settings
        make = functools.partial(ThreadCoalescer, settings.asamples, settings.window)
        self.coalescer: "PerProcess[ThreadCoalescer]" = PerProcess(make)

    def __call__(
        self, queries: Sequence[str], prompts: Sequence[str], labels: Optional[Sequence[Any]] = None, **_: Any
    ) -> Dict[str, Any]:
        try:
            return self._answer(queries, prompts, [None] * len(queries) if labels is None else labels)
        except Exception as error:
            # OpenRLHF continues without the reward.
            _LOGGER.error("no reward for %d samples: %s", len(queries), error)
            raise

    def _answer(self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> Dict[str, Any]:
        settings = self._reading.settings
        if not len(queries) == len(prompts) == len(labels):
            raise InvalidRequestError("OpenRLHF's lists differ in length")
        samples = [self._reading.sample(*parts) for parts in zip(queries, prompts, labels)]
        if len(samples) != 1:
            judged = settings.made.of(grouped([(*sample, None) for sample in samples], consecutive=False))
        else:
            if settings.group_size == 1:
                settings.alone()
            judged = self.coalescer().rewards(samples[0][:2], samples, settings.group_size)
        return answer_of(settings, judged)


def answer_of(settings: Settings, judged: Sequence[Judged]) -> Dict[str, Any]:
    """Rewards as OpenRLHF reads them."""
    rewards: List[float] = settings.numbers(judged)
    return {
        "rewards": rewards,
        "scores": [settings.unit(one) for one in judged],
        "extra_logs": {
            "dicast_judged": [float(one.reward is not None) for one in judged],
            "dicast_group": [float(one.group) for one in judged],
        },
    }


_default = Default(make_reward_func)


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Optional[Sequence[Any]] = None, **kwargs: Any
) -> Dict[str, Any]:
    """The function that OpenRLHF looks for, with settings from the environment."""
    try:
        hook = _default()
    except DicastError as error:
        _LOGGER.error("no reward: %s", error)
        raise
    result: Dict[str, Any] = hook(queries, prompts, labels, **kwargs)
    return result
