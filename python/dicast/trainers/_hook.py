"""Hooks that can be sent to another process: callable objects that look like functions to trainers."""

from __future__ import annotations

from typing import Any, Dict

__all__ = ["AsyncHook", "Hook"]


class Hook:
    """A callable that can be pickled if its settings can. Its ``__name__`` is what trainers show."""

    def __init__(self, name: str) -> None:
        self.__name__ = self.__qualname__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


class AsyncHook(Hook):
    """A hook that is awaited.

    Trainers ask ``inspect.iscoroutinefunction``. From Python 3.10 on it knows an object by what a function has.
    """

    __defaults__ = None
    __kwdefaults__ = None
    __annotations__: Dict[str, Any] = {}

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    __code__ = __call__.__code__
