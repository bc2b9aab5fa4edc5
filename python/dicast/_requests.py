"""Errors of a server as exceptions of the package ``requests``.

The reference's client raises the exceptions of ``requests``. If a program has imported that package, the errors of
:class:`dicast.Client` have its exceptions as further bases, so that ``except requests.exceptions.Timeout`` still works.
The package is never imported here: a program that did not import it cannot name its exceptions.
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Dict, NamedTuple, Optional, Tuple, Type, TypeVar

from .errors import DicastError

__all__ = ["Answer", "dressed"]

#: The exceptions of `requests` by the forms of a failure.
_NAMES = {
    "connection": "ConnectionError",
    "connect_timeout": "ConnectTimeout",
    "read_timeout": "ReadTimeout",
    "status": "HTTPError",
    "json": "InvalidJSONError",
    "content": "ContentDecodingError",
}


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    reason: str
    url: str
    headers: Dict[str, str]
    body: bytes


_Error = TypeVar("_Error", bound=DicastError)


def dressed(error: _Error, form: str, answer: Optional[Answer]) -> _Error:
    """The error with an exception of `requests` as a further base if the program uses that package; else itself."""
    exceptions = sys.modules.get("requests.exceptions")
    base = getattr(exceptions, _NAMES.get(form, ""), None)
    if base is None:
        return error
    cls: Any = _class(type(error), base)  # type: ignore[arg-type]
    made: Any = cls(error.message, kind=error.kind, retryable=error.retryable, partial=error.partial)
    made.request = None
    made.response = _response(answer)
    made.__cause__ = error.__cause__
    made._dress = (type(error), form, answer)
    made_as: _Error = made
    return made_as


@functools.lru_cache(maxsize=None)
def _class(cls: Type[DicastError], base: Type[BaseException]) -> Type[DicastError]:
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls, base), {**names, "__reduce__": _reduce})


def _reduce(self: Any) -> Tuple[Any, ...]:
    cls, form, answer = self._dress
    return _restore, (cls, self.message, self.kind, self.retryable, self.partial, form, answer)


def _restore(
    cls: Type[DicastError], message: str, kind: str, retryable: bool, partial: Any, form: str, answer: Any
) -> DicastError:
    return dressed(cls(message, kind=kind, retryable=retryable, partial=partial), form, answer)


def _response(answer: Optional[Answer]) -> Any:
    """The answer as an object like that of `requests`."""
    models: Any = sys.modules.get("requests.models")
    if answer is None or models is None:
        return None
    response = models.Response()
    response.status_code = answer.status
    response.reason = answer.reason
    response.url = answer.url
    response.headers.update(answer.headers)
    response._content = answer.body
    response.encoding = "utf-8"
    return response
