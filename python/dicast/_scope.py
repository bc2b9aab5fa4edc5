"""What a ``with`` block ends."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, Type, TypeVar

__all__ = ["Scoped"]

_Self = TypeVar("_Self", bound="Scoped")


class Scoped:
    """Can stand in a ``with`` statement."""

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Ends what the ``with`` block was for."""
        raise NotImplementedError
