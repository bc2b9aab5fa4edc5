"""JSON over HTTP, with a deadline for each whole attempt, whatever the server sends or does not send."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple, Union

from ._requests import Answer
from .errors import (
    DicastError,
    InvalidConfigError,
    InvalidVerdictError,
    JudgmentTimeoutError,
    NetworkError,
    error_of,
    partial_of,
    retryable_of,
)

__all__ = ["Limits", "Refused", "Timeout", "exchange"]

#: The limit of one attempt, in seconds: for the whole, or a pair for connecting and for the answer. None is no limit.
Timeout = Union[None, float, Tuple[Optional[float], Optional[float]]]

#: Longest limit that is passed on, three years: beyond it the system's clocks overflow.
_LONGEST = 1e8

#: Most bytes of an answer.
_MAX_BYTES = 256 << 20

#: The meaning of a status if the body does not say more: kind of error, and whether trying again may help.
_STATUSES: Dict[int, Tuple[str, bool]] = {
    400: ("invalid_request", False),
    408: ("timeout", True),
    413: ("too_large", False),
    422: ("invalid_request", False),
    429: ("overloaded", True),
    503: ("overloaded", True),
    504: ("timeout", True),
}


class Refused(Exception):
    """An attempt that failed, and how long the server asks to wait before another, in seconds."""

    def __init__(
        self,
        error: DicastError,
        again: bool,
        wait: Optional[float] = None,
        *,
        form: str = "",
        answer: Optional[Answer] = None,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        #: Whether another attempt makes sense: the server did not accept the request, or failed.
        self.again = again
        self.wait = wait
        #: What `requests` calls it: see :mod:`dicast._requests`.
        self.form = form
        self.answer = answer

    @property
    def hopeless(self) -> bool:
        """Whether other requests to this server would fail in the same way."""
        if self.answer is not None:
            return self.answer.status in (401, 403, 404, 405)
        return self.form in ("connection", "connect_timeout")


class Limits(NamedTuple):
    """Limits of one attempt, in seconds; None is no limit."""

    #: For connecting.
    connect: Optional[float]
    #: For the answer, from the moment when the connection is there.
    answer: Optional[float]
    #: For the whole attempt.
    whole: Optional[float]

    @classmethod
    def of(cls, timeout: Timeout) -> Limits:
        """Reads a timeout in the forms that `requests` takes."""
        if isinstance(timeout, (tuple, list)):
            if len(timeout) != 2:
                raise InvalidConfigError(f"timeout is {timeout!r}: a pair is (connect, read), both in seconds")
            return cls(_seconds(timeout[0]), _seconds(timeout[1]), None)
        seconds = _seconds(timeout)
        return cls(seconds, seconds, seconds)

    def times(self, count: int) -> Limits:
        """The limits of an attempt with `count` requests; the time to connect stays the same."""
        connect, answer, whole = self
        grown = None if whole is None else whole * count
        return Limits(connect, None if answer is None else answer * count, grown)

    def until(self, deadline: Optional[float]) -> Limits:
        """The limits of an attempt that must end before a time of the monotonic clock."""
        if deadline is None:
            return self
        left = max(deadline - time.monotonic(), 0.001)
        connect, answer = (left if limit is None else min(limit, left) for limit in self[:2])
        return Limits(connect, answer, left if self.whole is None else min(self.whole, left))

    @property
    def longest(self) -> Optional[float]:
        """The most that an attempt takes."""
        if self.whole is not None:
            return self.whole
        return None if self.connect is None or self.answer is None else self.connect + self.answer


def _seconds(value: Any) -> Optional[float]:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise InvalidConfigError(
            f"timeout is {value!r}: it must be seconds above 0, a pair (connect, read), or None for no limit"
        )
    return min(float(value), _LONGEST)


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, raw: socket.SocketIO, sock: socket.socket, deadline: Optional[float]) -> None:
        super().__init__()
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline passed")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        left = sock.gettimeout()
        deadline = None if left is None else time.monotonic() + left
        stream: Any = self.fp
        self.fp = io.BufferedReader(_Reader(stream.detach(), sock, deadline))


class _NotConnected(Exception):
    """Connecting took too long: the server has not seen the request."""


class _Deadline(http.client.HTTPConnection):
    """A connection with limits for connecting and for the answer, sending included."""

    response_class = _Response

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "timeout": limits.connect})
        self._limits = limits
        self._deadline = None if limits.whole is None else time.monotonic() + limits.whole

    def connect(self) -> None:
        try:
            super().connect()
        except (TimeoutError, socket.timeout) as error:
            raise _NotConnected from error
        if self._deadline is None:
            if self._limits.answer is None:
                # The system notices a server that has disappeared silently.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            else:
                self._deadline = time.monotonic() + self._limits.answer
        self._limit()

    def getresponse(self) -> http.client.HTTPResponse:
        self._limit()
        return super().getresponse()

    def _limit(self) -> None:
        # Zero would mean not to wait at all, which gives a different error.
        left = None if self._deadline is None else max(self._deadline - time.monotonic(), 0.001)
        self.sock.settimeout(left)


class _SecureConnection(_Deadline, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Deadline, req, limits=self._limits)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        context = ssl.create_default_context()
        return self.do_open(_SecureConnection, req, context=context, limits=self._limits)  # type: ignore[arg-type]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the API key to another place, and turn a POST into a GET."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def exchange(
    method: str, url: str, body: Optional[Any], headers: Mapping[str, str], timeout: Union[Limits, Timeout]
) -> Any:
    """Sends one request and reads the answer as JSON. Raises :class:`Refused`."""
    limits = timeout if isinstance(timeout, Limits) else Limits.of(timeout)
    if not url.startswith(("http://", "https://")):
        raise InvalidConfigError(f"the URL of a server must begin with http:// or https://: {url!r}")
    data = None if body is None else json.dumps(body).encode("utf-8")
    request = urllib.request.Request(url, data=data, headers=dict(headers), method=method)  # noqa: S310
    opener = urllib.request.build_opener(_Http(limits), _Https(limits), _NoRedirect)
    try:
        with opener.open(request) as response:
            text = _read(response, url)
            answer = Answer(response.status, response.reason or "", url, dict(response.headers), text)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error, url) from None
    except _NotConnected as error:
        late = JudgmentTimeoutError(f"{url}: could not connect within {limits.connect:g} s")
        raise Refused(late, again=True, form="connect_timeout") from error.__cause__
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error, url, limits) from error
    try:
        return json.loads(text)
    except ValueError as error:
        wrong = InvalidVerdictError(f"{url}: the answer is not JSON: {error}")
        raise Refused(wrong, again=False, form="json", answer=answer) from None


def _read(response: Any, url: str) -> bytes:
    text: bytes = response.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        large = NetworkError(f"{url}: the answer has more than {_MAX_BYTES} bytes", retryable=False)
        raise Refused(large, again=False, form="content")
    return text


def _unreachable(error: Exception, url: str, limits: Limits) -> Refused:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError) or isinstance(cause, socket.timeout):
        # The server may be working on it: another attempt would only add work.
        limit = limits.answer if limits.whole is None else limits.whole
        late = JudgmentTimeoutError(f"{url}: no answer within {limit or 0.0:g} s")
        return Refused(late, again=False, form="read_timeout")
    return Refused(NetworkError(f"{url}: {cause or type(cause).__name__}"), again=True, form="connection")


def _refused(error: urllib.error.HTTPError, url: str) -> Refused:
    kind, again = _STATUSES.get(error.code, ("engine" if error.code >= 500 else "network", error.code >= 500))
    message, partial, text = "", None, b""
    try:
        text = _read(error, url)
        said = json.loads(text)
        fault = said.get("error", said) if isinstance(said, dict) else {}
        if isinstance(fault, dict):
            kind = str(fault.get("kind") or kind)
            message = str(fault.get("message") or fault.get("detail") or "")
            partial = partial_of(fault.get("partial"))
            # If the server describes its error, that is better than the status alone.
            said_retryable = retryable_of(fault)
            again = again if said_retryable is None else said_retryable
    except (OSError, ValueError, http.client.HTTPException):
        pass  # Only the status is known.
    what = f"{url}: status {error.code} {error.reason}" + (f": {message}" if message else "")
    fields = dict(error.headers or {})
    wait = next((value for name, value in fields.items() if name.lower() == "retry-after"), "")
    seconds = float(wait) if wait.isdigit() else None
    answer = Answer(error.code, str(error.reason or ""), url, fields, text)
    failure = error_of(kind, what, retryable=again, partial=partial)
    return Refused(failure, again, seconds, form="status", answer=answer)
