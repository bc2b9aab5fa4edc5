"""OpenRLHF: the file form of the remote reward model, which has a function ``reward_func``.

    --reward.remote_url $(python -c "import dicast.trainers.openrlhf as m; print(m.__file__)")

The ``reward_func`` of this file takes its settings from the environment (:class:`dicast.trainers.Settings`); a file of
your own makes one of settings: ``reward_func = make_reward_func(settings)``.

OpenRLHF 0.11 calls it with one sample, in several threads at once: set ``DICAST_GROUP_SIZE`` to the number of samples a
prompt, and a sample waits for the others of its prompt, ``DICAST_GROUP_WINDOW`` seconds at most; else each is judged
alone. Older versions call it with a batch: the samples of one prompt are judged together.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Optional, Sequence

# OpenRLHF loads this file by its path: it has no package around it then.
from dicast.errors import InvalidRequestError
from dicast.trainers._coalesce import ThreadCoalescer
from dicast.trainers._groups import Judged, grouped, principle_of
from dicast.trainers._settings import Default, Settings

__all__ = ["END_TOKENS", "make_reward_func", "reward_func"]

#: Tokens that end a response or fill it up, which OpenRLHF leaves in the text.
END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<end_of_turn>",
    "<eos>",
    "<pad>",
    "</s>",
    "<|end▁of▁sentence|>",
)

_CHATML = re.compile(r"<\|im_start\|>user\n(.*?)<\|im_end\|>", re.DOTALL)


def make_reward_func(
    settings: Settings,
    *,
    prompt_of: Optional[Callable[[str, Any], str]] = None,
    end_tokens: Sequence[str] = END_TOKENS,
) -> Callable[..., Dict[str, Any]]:
    """A ``reward_func``.

    ``prompt_of(prompt, label)`` makes the prompt that the judge reads of OpenRLHF's, which has the chat template in it;
    by default it is the last thing that the user says, where the template is ChatML, else the text as it is.
    ``end_tokens`` are cut off the end of responses. A ``principle`` that is a function gets ``prompt`` and ``label``.
    """
    coalescer = ThreadCoalescer(settings)
    ends = re.compile(rf"(?:(?:{'|'.join(map(re.escape, end_tokens))})\s*)+\Z") if end_tokens else None

    def reward_func(
        queries: Sequence[str], prompts: Sequence[str], labels: Optional[Sequence[Any]] = None, **_: Any
    ) -> Dict[str, Any]:
        labels = [None] * len(queries) if labels is None else labels
        if not len(queries) == len(prompts) == len(labels):
            raise InvalidRequestError("OpenRLHF's lists differ in length")
        samples = []
        for query, prompt, label in zip(queries, prompts, labels):
            text = query[len(prompt) :] if query.startswith(prompt) else query
            text = ends.sub("", text) if ends else text
            shown = (prompt_of or _said)(prompt, label)
            principle = principle_of(settings.principle, {"prompt": prompt, "label": label})
            samples.append((principle, shown, text, None))
        if len(samples) == 1 and settings.group_size > 1:
            return _answer(settings, [coalescer.reward(*samples[0][:3])])
        return _answer(settings, settings.made.of(grouped(samples, consecutive=False)))

    return reward_func


def _said(prompt: str, _label: Any) -> str:
    said = _CHATML.findall(prompt)
    return str(said[-1]) if said else prompt


def _answer(settings: Settings, judged: Sequence[Judged]) -> Dict[str, Any]:
    rewards: List[float] = settings.numbers(judged)
    return {
        "rewards": rewards,
        "scores": list(rewards),
        "extra_logs": {"dicast_judged": [float(one.reward is not None) for one in judged]},
    }


_default = Default(make_reward_func)


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Optional[Sequence[Any]] = None, **kwargs: Any
) -> Dict[str, Any]:
    """The function that OpenRLHF looks for, with settings from the environment."""
    result: Dict[str, Any] = _default()(queries, prompts, labels, **kwargs)
    return result
