"""Judge profiles: how one judge model must be prompted and read."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Dict, Union

from . import _library
from ._library import check, ffi, lib, owned, text_of

__all__ = ["Profile"]


class Profile:
    """System prompt, message layout, score scale and form of the verdict of one judge model. Never changes."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    @classmethod
    def builtin(cls) -> Profile:
        """The profile of a general instruction-following model."""
        return cls._made(lib.dicast_profile_builtin)

    @classmethod
    def load(cls, path: Union[str, "os.PathLike[str]"]) -> Profile:
        """Reads a profile from a file, such as one that ``dicast profile import`` wrote."""
        return cls._made(lib.dicast_profile_load, _library.view(os.fspath(path), "the path"))

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Reads a profile from JSON."""
        return cls._made(lib.dicast_profile_from_json, _library.view(text, "the profile"))

    @classmethod
    def from_package(cls, path: Union[str, "os.PathLike[str]"]) -> Profile:
        """The profile of RewardAnything. Reads the system prompt that its weights were trained with from the package
        ``rewardanything``: its wheel or its ``processing.py`` at ``path``. No code of it is run.

        Save it beside the model as ``<model without .gguf>.profile.json``; it is then found when the model is opened.
        """
        return cls._made(lib.dicast_profile_import, _library.view(os.fspath(path), "the path"))

    @classmethod
    def of(cls, value: Union["Profile", str, "os.PathLike[str]", None]) -> Profile:
        """A profile, or the one at a path; None is the built-in one."""
        if value is None:
            return cls.builtin()
        return value if isinstance(value, Profile) else cls.load(value)

    @classmethod
    def _made(cls, function: Any, *arguments: Any) -> Profile:
        out, error = ffi.new("dicast_profile **"), ffi.new("dicast_error **")
        check(function(*arguments, out, error), error)
        return cls(owned("profile", out[0]))

    def to_dict(self) -> Dict[str, Any]:
        """The profile as a dictionary, as in its file."""
        value: Dict[str, Any] = json.loads(text_of(lib.dicast_profile_json(self.handle)))
        return value

    def save(self, path: Union[str, "os.PathLike[str]"]) -> None:
        """Writes the profile to a file."""
        pathlib.Path(path).write_text(text_of(lib.dicast_profile_json(self.handle)), encoding="utf-8")

    @property
    def system_prompt(self) -> str:
        """The system prompt."""
        return str(self.to_dict()["system_prompt"])

    def __repr__(self) -> str:
        return f"<dicast.Profile {self.to_dict()['name']!r}>"
