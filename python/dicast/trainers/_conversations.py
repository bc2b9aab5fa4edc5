"""Conversations as a prompt and a response."""

from __future__ import annotations

import importlib
from typing import Any, List, Mapping, Sequence, Tuple

from ..errors import InvalidRequestError, UnsupportedError
from ._texts import text_of_completion, text_of_prompt

__all__ = ["needs", "parts_of_group", "prompt_and_last", "transcript"]


def needs(module: str, package: str, by: str) -> Any:
    """Imports the package that a hook is for, or says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(f"{by} needs {package}: pip install {package} ({error})") from error


def prompt_and_last(messages: Sequence[Any]) -> Tuple[str, str]:
    """The prompt, which is all but the last message, and that as the response."""
    if len(messages) < 2:
        raise InvalidRequestError("a conversation needs a prompt and a response: it has one message or none")
    return text_of_prompt(messages[:-1]), text_of_completion(messages[-1:])


def parts_of_group(conversations: Sequence[Sequence[Mapping[str, Any]]]) -> Tuple[str, List[str]]:
    """The prompt of a group of conversations, which is their common beginning, and the rest of each as its response."""
    if not conversations or any(not messages for messages in conversations):
        raise InvalidRequestError("a group needs conversations, each with messages")
    first = conversations[0]
    # The model's messages are not part of the prompt, even if they are the same in all samples.
    common = next((place for place, message in enumerate(first) if message.get("role") == "assistant"), len(first) - 1)
    for messages in conversations[1:]:
        same = next((place for place, pair in enumerate(zip(first, messages)) if pair[0] != pair[1]), len(messages))
        common = min(common, same)
    if not common:
        raise InvalidRequestError("the conversations of the group have no common beginning, so there is no prompt")
    if any(len(messages) == common for messages in conversations):
        raise InvalidRequestError("a conversation of the group has no response")
    return text_of_prompt(first[:common]), [transcript(messages[common:]) for messages in conversations]


def transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    """What was said: the text of one message, or several messages each with its role; tool calls are included."""
    if len(messages) == 1 and not messages[0].get("tool_calls"):
        return text_of_completion(messages)
    return "\n\n".join(f"{message.get('role', 'assistant')}: {_whole(message)}".rstrip() for message in messages)


def _whole(message: Mapping[str, Any]) -> str:
    calls = []
    for call in message.get("tool_calls") or ():
        function = call.get("function", call) if isinstance(call, Mapping) else getattr(call, "function", call)
        take = (
            function.get if isinstance(function, Mapping) else lambda name, owner=function: getattr(owner, name, None)
        )
        calls.append(f"[calls {take('name')}({take('arguments')})]")
    return "\n".join(part for part in (text_of_prompt([message]), *calls) if part)
