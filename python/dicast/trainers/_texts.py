"""Prompts and responses for the judge: without the markup of a trainer or a chat template."""

from __future__ import annotations

import re
from typing import Any, List, Mapping, Sequence, Tuple

from ..errors import InvalidRequestError

__all__ = ["END_TOKENS", "clean_response", "said_in", "text_of_completion", "text_of_prompt", "without_roles"]

#: Tokens that end a response or pad it, which trainers leave in the text.
END_TOKENS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<eos>",
    "<pad>",
    "</s>",
    "<|end▁of▁sentence|>",
    "<｜end▁of▁sentence｜>",
)

_ROLES = "system|developer|user|assistant|model|tool|ipython"

#: How the families of chat templates begin a text, and how they write one message: role and content.
_FAMILIES: Tuple[Tuple[str, "re.Pattern[str]"], ...] = (
    # ChatML: Qwen and many others.
    ("<|im_start|>", re.compile(rf"<\|im_start\|>({_ROLES})\n(.*?)<\|im_end\|>", re.DOTALL)),
    # Llama 3.
    (
        "<|start_header_id|>",
        re.compile(rf"<\|start_header_id\|>({_ROLES})<\|end_header_id\|>\s*(.*?)\s*<\|eot_id\|>", re.DOTALL),
    ),
    # Gemma.
    ("<start_of_turn>", re.compile(rf"<start_of_turn>({_ROLES})\n(.*?)\s*<end_of_turn>", re.DOTALL)),
    # gpt-oss.
    ("<|start|>", re.compile(rf"<\|start\|>({_ROLES})[^<]*<\|message\|>(.*?)(?:<\|end\|>|<\|return\|>)", re.DOTALL)),
    # Phi and Zephyr.
    ("<|user|>", re.compile(rf"<\|({_ROLES})\|>\s*(.*?)\s*(?:<\|end\|>|</s>)", re.DOTALL)),
    ("<|system|>", re.compile(rf"<\|({_ROLES})\|>\s*(.*?)\s*(?:<\|end\|>|</s>)", re.DOTALL)),
    # DeepSeek.
    ("<｜User｜>", re.compile(r"<｜(User|Assistant)｜>(.*?)(?=<｜|\Z)", re.DOTALL)),
    # Mistral and Llama 2. What the assistant said is between the instructions.
    ("[INST]", re.compile(r"\[(INST)\]\s*(.*?)\s*\[/INST\]", re.DOTALL)),
)

#: Tokens that a tokenizer puts before a text.
_BEGINNINGS = re.compile(r"\A(?:\s|<s>|<bos>|<\|begin_of_text\|>|<｜begin▁of▁sentence｜>)*")

_ENDS = re.compile(rf"(?:(?:{'|'.join(map(re.escape, END_TOKENS))})\s*)+\Z")


def said_in(prompt: str) -> str:
    """The content of a prompt that a chat template has rendered; a text without such markup is not changed.

    If the conversation has one user message, this is that message; else it is all messages except the system's, each
    with its role.
    """
    text = prompt[_BEGINNINGS.match(prompt).end() :]  # type: ignore[union-attr]
    for beginning, message in _FAMILIES:
        if text.startswith(beginning):
            return _joined([(_role(role), content) for role, content in message.findall(text)]) or prompt
    return prompt


def _role(name: str) -> str:
    return {"INST": "user", "User": "user", "Assistant": "assistant", "model": "assistant"}.get(name, name)


def _joined(messages: Sequence[Tuple[str, str]]) -> str:
    said = [(role, text) for role, text in messages if role not in ("system", "developer")]
    while said and said[-1] == ("assistant", ""):
        said.pop()
    if not any(role == "user" for role, _ in said):
        return ""
    if len(said) == 1:
        return said[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in said)


def clean_response(text: str, ends: "re.Pattern[str]" = _ENDS) -> str:
    """A response without the tokens that end a sequence or fill it up."""
    return ends.sub("", text)


def ends_of(tokens: Sequence[str]) -> "re.Pattern[str]":
    """Finds these tokens at the end of a text."""
    return re.compile(rf"(?:(?:{'|'.join(map(re.escape, tokens))})\s*)+\Z" if tokens else r"(?!)")


#: The form of conversations for TRL's judges: each message as ``Role: content`` and an empty line.
_SAID = re.compile(r"\A(?:User|Assistant): ")
_MORE = re.compile(r"\n\n(?:System|User|Assistant|Tool): ")


def without_roles(text: str) -> str:
    """A text of TRL's judges; if it is a single message, without the ``User:`` or ``Assistant:`` before it."""
    if not _SAID.match(text) or _MORE.search(text):
        return text
    return _SAID.sub("", text).rstrip("\n")


def _content(message: Any) -> str:
    """The text of a message, whose content may come in parts."""
    content = message.get("content") if isinstance(message, Mapping) else message
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    parts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    return "".join(part for part in parts if isinstance(part, str))


def _messages(value: Any, what: str) -> List[Any]:
    """The messages of a conversation, which may come as a list, a tuple or an array."""
    try:
        return list(value)
    except TypeError:
        kind = type(value).__name__
        raise InvalidRequestError(f"the {what} is {kind}: it must be a text or a list of messages") from None


def text_of_prompt(prompt: Any) -> str:
    """A prompt as one text: the content of a single message, or all messages of a conversation with their roles."""
    if isinstance(prompt, str):
        return prompt
    messages = _messages(prompt, "prompt")
    if len(messages) == 1:
        return _content(messages[0])
    return "\n\n".join(f"{_role_of(message)}: {_content(message)}" for message in messages)


def _role_of(message: Any) -> str:
    return str(message.get("role", "user")) if isinstance(message, Mapping) else "user"


def text_of_completion(completion: Any) -> str:
    """A completion as one text; for a conversation, what the assistant says."""
    if isinstance(completion, str):
        return completion
    messages = _messages(completion, "completion")
    said = [message for message in messages if not isinstance(message, Mapping) or message.get("role") == "assistant"]
    return "\n\n".join(_content(message) for message in said or messages)
