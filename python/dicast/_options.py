"""Generation settings of other libraries, translated to Dicast's options."""

from __future__ import annotations

import math
from typing import Any, Dict, FrozenSet, Mapping, Optional, Tuple

from ._library import defaults
from .errors import InvalidRequestError, UnsupportedError

__all__ = ["generation_config", "generation_options"]

#: The options of a request: settings with the same meaning here.
_OWN: FrozenSet[str] = frozenset(defaults("options"))

#: Settings that change nothing here, whatever their value: caching, what generate() returns, token ids.
_WITHOUT_EFFECT: FrozenSet[str] = frozenset(
    (
        "bos_token_id",
        "cache_implementation",
        "early_stopping",
        "eos_token_id",
        "output_attentions",
        "output_hidden_states",
        "output_logits",
        "output_scores",
        "pad_token_id",
        "return_dict_in_generate",
        "transformers_version",
        "use_cache",
    )
)

#: Settings that Dicast does not have, with the value that turns each off.
_NEUTRAL: Dict[str, Any] = {
    "diversity_penalty": 0.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "frequency_penalty": 0.0,
    "length_penalty": 1.0,
    "min_length": 0,
    "min_p": 0.0,
    "n": 1,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "num_return_sequences": 1,
    "presence_penalty": 0.0,
    "repetition_penalty": 1.0,
    "stream": False,
    "typical_p": 1.0,
}


def generation_options(settings: Mapping[str, Any]) -> Tuple[Dict[str, Any], Optional[int]]:
    """Returns the options of a request for settings of ``generate`` or of an OpenAI-compatible server, and the limit of
    written tokens: ``max_new_tokens`` or ``max_tokens``, which may lower the judge's own reasoning budget but never
    raise it (the verdict is limited by its form).

    ``do_sample=False`` is temperature 0. ``timeout`` is in seconds. A setting that is not supported is an error; None
    sets nothing.
    """
    options: Dict[str, Any] = {}
    bound: Optional[int] = None
    for name, value in settings.items():
        if value is None or name in _WITHOUT_EFFECT or name.startswith("_"):
            continue
        if name in _OWN:
            options[name] = value
        elif name in ("max_new_tokens", "max_tokens"):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidRequestError(f"{name} is {value!r}: it must be a whole number, 1 or more")
            bound = value if bound is None else min(value, bound)
        elif name == "timeout":
            options["timeout_ms"] = _milliseconds(value)
        elif name in _NEUTRAL:
            if value != _NEUTRAL[name]:
                raise UnsupportedError(f"{name}={value!r} is not supported: leave it out or set {_NEUTRAL[name]!r}")
        elif name != "do_sample":
            raise InvalidRequestError(
                f"there is no generation setting {name}; the options are {', '.join(sorted(_OWN))}"
            )
    if settings.get("do_sample") is False:
        options["temperature"] = 0.0
    return options, bound


def _milliseconds(seconds: Any) -> int:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not math.isfinite(seconds):
        raise InvalidRequestError(f"timeout is {seconds!r}: it must be a number of seconds")
    if seconds < 0:
        raise InvalidRequestError(f"timeout is {seconds!r}: it must not be negative")
    return math.ceil(seconds * 1000)


def generation_config(config: Optional[Any]) -> Tuple[Dict[str, Any], Optional[int]]:
    """As :func:`generation_options`, for a generation config: a mapping, or an object of Transformers."""
    if config is None:
        return {}, None
    if not isinstance(config, Mapping):
        # Only what differs from the defaults, if the object can tell.
        to_dict = getattr(config, "to_diff_dict", None) or getattr(config, "to_dict", None)
        if to_dict is None:
            raise InvalidRequestError(f"generation_config is {type(config).__name__}: it must be a mapping")
        config = to_dict()
    return generation_options(config)
