"""Tunix: a reward function of ``GRPOLearner`` and its like.

    reward = reward_fn(Settings("judge.gguf", "Prefer short answers that are right."))
    learner = GRPOLearner(rl_cluster, reward_fns=reward, …)

The completions of one prompt are judged together, wherever they are in the batch. Tunix accepts only numbers: a
judgment that failed raises, unless the settings have ``on_error``.
"""

from __future__ import annotations

from typing import Any, List, Sequence

from ..errors import InvalidRequestError
from ._groups import grouped, principle_of
from ._hook import Hook
from ._settings import Settings
from ._texts import clean_response, said_in, text_of_completion, text_of_prompt

__all__ = ["reward_fn"]


def reward_fn(settings: Settings, *, name: str = "dicast") -> RewardFn:
    """A function for ``reward_fns``. Tunix shows its metrics under ``rewards/<name>``."""
    return RewardFn(settings, name)


class RewardFn(Hook):
    """The function that :func:`reward_fn` returns."""

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__(name)
        self._settings = settings

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> List[float]:
        """The rewards of completions, in their order. Columns of the data set are passed by name."""
        if len(prompts) != len(completions):
            raise InvalidRequestError("Tunix's lists differ in length")
        samples = []
        for place, (prompt, completion) in enumerate(zip(prompts, completions)):
            fields = {name: values[place] for name, values in columns.items() if _is_column(values, len(prompts))}
            shown = said_in(str(prompt)) if isinstance(prompt, (str, bytes)) else text_of_prompt(prompt)
            text = clean_response(text_of_completion(completion))
            principle = principle_of(self._settings.principle, {**_plain(fields), "prompt": shown})
            samples.append((principle, shown, text, None))
        return self._settings.numbers(self._settings.made.of(grouped(samples, consecutive=False)))


def _is_column(values: Any, count: int) -> bool:
    return (
        hasattr(values, "__len__")
        and hasattr(values, "__getitem__")
        and not isinstance(values, (str, bytes))
        and (not hasattr(values, "keys") and len(values) == count)
    )


def _plain(fields: Any) -> Any:
    """Texts of NumPy arrays as texts."""
    return {name: str(value) if type(value).__name__ in ("str_", "bytes_") else value for name, value in fields.items()}
