"""Making the messages of a judgment and reading a judge's text, for programs with their own engine."""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from . import _library
from ._library import check, ffi, lib, owned, text_of
from ._quality import (
    analyze_prediction_quality,
    calculate_weighted_pair_penalty,
    check_ranking_consistency,
    extract_json_by_brackets,
    extract_json_content,
    fix_json_format,
    format_reward,
    safe_parse_json,
)
from .errors import InvalidVerdictError, PartialVerdict
from .models import RewardRequest, RewardResult
from .profiles import Profile

__all__ = [
    "SYSTEM_PROMPT",
    "RewardRequest",
    "RewardResult",
    "analyze_prediction_quality",
    "calculate_weighted_pair_penalty",
    "check_ranking_consistency",
    "extract_json_by_brackets",
    "extract_json_content",
    "fix_json_format",
    "format_reward",
    "make_masked_responses",
    "parse_rewardanything_output",
    "prepare_chat_messages",
    "safe_parse_json",
]

#: A profile, or the path of one; None is the built-in one.
ProfileLike = Union[Profile, str, "os.PathLike[str]", None]

#: The system prompt of the built-in profile.
SYSTEM_PROMPT: str = Profile.builtin().system_prompt


def make_masked_responses(responses: Mapping[str, str]) -> Tuple[Dict[str, str], Dict[str, str]]:
    """The responses by alias, in the order in which a judge sees them, and the names by alias."""
    names = list(responses)
    if not names:
        return {}, {}
    aliases = _library.aliases_masked(names, Profile.builtin().to_dict()["alias_prefix"])
    masked2real = _masked2real(aliases)
    return {alias: responses[name] for alias, name in masked2real.items()}, masked2real


def prepare_chat_messages(
    principle: str,
    prompt: str,
    responses: Mapping[str, str],
    mask_responses: bool = True,
    *,
    profile: ProfileLike = None,
) -> Tuple[List[Dict[str, str]], Optional[Dict[str, str]]]:
    """The messages that a judge reads, before a chat template, and the names by alias (None if none were hidden).

    The system prompt is that of ``profile``. For the weights of RewardAnything, make the profile once with
    :meth:`dicast.Profile.from_package`.
    """
    options = None if mask_responses else '{"mask": "off"}'
    request = _library.request_new(principle, prompt, responses, options)
    out, error = ffi.new("dicast_prompt **"), ffi.new("dicast_error **")
    check(lib.dicast_prompt_new(Profile.of(profile).handle, request, out, error), error)
    made = owned("prompt", out[0])
    messages = [
        {
            "role": text_of(lib.dicast_prompt_role(made, index)),
            "content": text_of(lib.dicast_prompt_content(made, index)),
        }
        for index in range(lib.dicast_prompt_count(made))
    ]
    # The aliases belong to the prompt, which lives until they are read.
    return messages, _masked2real(lib.dicast_prompt_aliases(made)) if mask_responses else None


def parse_rewardanything_output(
    output_text: str,
    masked2real: Optional[Mapping[str, str]] = None,
    *,
    profile: ProfileLike = None,
    policy: Optional[Mapping[str, Any]] = None,
) -> RewardResult:
    """Reads the verdict from a judge's whole output.

    ``masked2real`` says which names must be scored and ranked. Without it, they are the names that the text scores.
    ``policy`` says what to do with an incomplete verdict: ``{"incomplete": "derive_ranking", "clamp": True,
    "rescale": True}``; by default it raises :class:`InvalidVerdictError`, whose ``partial`` has what could be read.
    """
    if masked2real is None:
        masked2real = {name: name for name in _scored_names(output_text)}
        if not masked2real:
            partial = PartialVerdict(scores=None, ranking=None, reasoning="", raw=output_text)
            raise InvalidVerdictError("the text scores no names", partial=partial)
    aliases = _library.aliases_of(list(masked2real), list(masked2real.values()))
    out, error = ffi.new("dicast_verdict **"), ffi.new("dicast_error **")
    text = _library.view(output_text.encode("utf-8", "replace").decode("utf-8"), "the text")
    rules = _library.view(_library.options_json(policy, "policy") if policy else "", "policy")
    check(lib.dicast_parse(text, aliases, Profile.of(profile).handle, rules, out, error), error)
    return RewardResult.from_verdict(_library.verdict_json(owned("verdict", out[0])))


def _masked2real(aliases: Any) -> Dict[str, str]:
    places = range(lib.dicast_aliases_count(aliases))
    return {
        text_of(lib.dicast_aliases_shown(aliases, place)): text_of(lib.dicast_aliases_name(aliases, place))
        for place in places
    }


_SCORES = re.compile(r"""["']?\bscores["']?\s*:\s*\{(?P<body>[^{}]*)\}""", re.IGNORECASE)
_NAME = re.compile(
    r"""(?:^|,)\s*(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s"',:]+))\s*:"""
)


def _scored_names(text: str) -> List[str]:
    """The names in the last scores of a text: they must be complete if the caller gives no names."""
    answer = text.rpartition("</think>")[2]
    found = list(_SCORES.finditer(answer))
    names: List[str] = []
    for match in _NAME.finditer(found[-1]["body"]) if found else ():
        name = match["single"] or match["bare"] or ""
        if match["double"] is not None:
            try:
                name = json.loads(f'"{match["double"]}"')
            except ValueError:
                name = match["double"]
        if name not in names:
            names.append(name)
    return names
