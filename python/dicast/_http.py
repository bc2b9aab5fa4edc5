"""JSON over HTTP with a deadline for the whole of each attempt, whatever the server sends, or does not send."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, Optional, Tuple

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

__all__ = ["Refused", "exchange"]

#: Most bytes of an answer.
_MAX_BYTES = 256 << 20

#: What a status says where the body does not say it better: kind of error, whether trying again may help.
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

    def __init__(self, error: DicastError, again: bool, wait: Optional[float] = None) -> None:
        super().__init__(str(error))
        self.error = error
        #: Whether another attempt makes sense: the server did not take the request, or failed at it.
        self.again = again
        self.wait = wait


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, raw: socket.SocketIO, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
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
        deadline = time.monotonic() + (sock.gettimeout() or 0.0)
        stream: Any = self.fp
        self.fp = io.BufferedReader(_Reader(stream.detach(), sock, deadline))


class _Deadline(http.client.HTTPConnection):
    """A connection whose timeout is that of the whole exchange, connecting and sending included."""

    response_class = _Response

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline = time.monotonic() + float(self.timeout or 0.0)

    def connect(self) -> None:
        super().connect()
        self._limit()

    def getresponse(self) -> http.client.HTTPResponse:
        self._limit()
        return super().getresponse()

    def _limit(self) -> None:
        # Zero would mean not to wait at all, which reads as another error.
        self.sock.settimeout(max(self._deadline - time.monotonic(), 0.001))


class _SecureConnection(_Deadline, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Deadline, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req, context=ssl.create_default_context())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the API key to another place, and turn a POST into a GET."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def exchange(method: str, url: str, body: Optional[Any], headers: Mapping[str, str], timeout: float) -> Any:
    """Sends one request and reads the answer as JSON. Raises :class:`Refused`."""
    if not url.startswith(("http://", "https://")):
        raise InvalidConfigError(f"the URL of a server begins with http:// or https://, not as {url!r}")
    data = None if body is None else json.dumps(body).encode("utf-8")
    request = urllib.request.Request(url, data=data, headers=dict(headers), method=method)  # noqa: S310
    opener = urllib.request.build_opener(_Http, _Https, _NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as response:
            text = _read(response, url)
    except urllib.error.HTTPError as error:
        with error:
            raise _refused(error, url) from None
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(error, url, timeout) from error
    try:
        return json.loads(text)
    except ValueError as error:
        wrong = InvalidVerdictError(f"{url}: the answer is not JSON: {error}")
        raise Refused(wrong, again=False) from None


def _read(response: Any, url: str) -> bytes:
    text: bytes = response.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise Refused(NetworkError(f"{url}: the answer has more than {_MAX_BYTES} bytes", retryable=False), again=False)
    return text


def _unreachable(error: Exception, url: str, timeout: float) -> Refused:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError) or isinstance(cause, socket.timeout):
        # The server may be at work on it: another attempt would only add to that.
        return Refused(JudgmentTimeoutError(f"{url}: no answer within {timeout:g} s"), again=False)
    return Refused(NetworkError(f"{url}: {cause or type(cause).__name__}"), again=True)


def _refused(error: urllib.error.HTTPError, url: str) -> Refused:
    kind, again = _STATUSES.get(error.code, ("engine" if error.code >= 500 else "network", error.code >= 500))
    message, partial = "", None
    try:
        said = json.loads(_read(error, url))
        fault = said.get("error", said) if isinstance(said, dict) else {}
        if isinstance(fault, dict):
            kind = str(fault.get("kind") or kind)
            message = str(fault.get("message") or fault.get("detail") or "")
            partial = partial_of(fault.get("partial"))
            # A server that knows its errors knows better than their status.
            said_retryable = retryable_of(fault)
            again = again if said_retryable is None else said_retryable
    except (OSError, ValueError, http.client.HTTPException):
        pass  # The status has to do.
    text = f"{url}: status {error.code} {error.reason}" + (f": {message}" if message else "")
    wait = error.headers.get("Retry-After", "") if error.headers else ""
    seconds = float(wait) if wait.isdigit() else None
    return Refused(error_of(kind, text, retryable=again, partial=partial), again, seconds)
