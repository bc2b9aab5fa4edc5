"""The C library: text in and out, errors, and handles that free themselves.

The GIL is released during every call. A handle is freed when the last reference to it goes, so a thread that is using
it keeps it alive.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple

from ._native import ffi, lib
from .errors import DicastError, InvalidRequestError, error_of, partial_of

__all__ = [
    "NULL",
    "aliases_masked",
    "aliases_of",
    "check",
    "config_schema",
    "defaults",
    "error_read",
    "error_taken",
    "ffi",
    "lib",
    "options_json",
    "owned",
    "request_new",
    "text_of",
    "verdict_json",
    "view",
    "views",
]

NULL: Any = ffi.NULL

_free = {
    kind: getattr(lib, f"dicast_{kind}_free")
    for kind in (
        *("aliases", "batch", "error", "judge", "metrics", "pin", "profile", "prompt", "request", "ticket"),
        "verdict",
    )
}


def owned(kind: str, pointer: Any) -> Any:
    """A handle that frees itself."""
    return ffi.gc(pointer, _free[kind])


def view(text: str, what: str) -> Tuple[Any, int]:
    """A text in the form of the C interface. Both members of the result must live during the call."""
    try:
        data = text.encode("utf-8")
    except AttributeError:
        raise InvalidRequestError(f"{what} is {type(text).__name__}: it must be str") from None
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{what} holds a lone surrogate at index {error.start}: it is not text") from None
    return ffi.from_buffer(data), len(data)


def text_of(value: Any) -> str:
    """A text from the library; "" if there is none."""
    return str(ffi.unpack(value.data, value.len), "utf-8") if value.data else ""


def error_taken(pointer: Any) -> DicastError:
    """The exception for an error of the library, which is freed."""
    return error_read(owned("error", pointer))


def error_read(error: Any) -> DicastError:
    """The exception for an error of the library."""
    partial = None
    if lib.dicast_error_has_partial(error):
        partial = partial_of(json.loads(text_of(lib.dicast_error_json(error)))["error"].get("partial"))
    return error_of(
        text_of(lib.dicast_error_name(error)),
        text_of(lib.dicast_error_message(error)),
        retryable=bool(lib.dicast_error_is_retryable(error)),
        partial=partial,
    )


def check(status: int, error: Any) -> None:
    """Raises the error that a call wrote to `error`, if it failed."""
    if status:
        raise error_taken(error[0])


def verdict_json(verdict: Any) -> Any:
    """A verdict, read from its JSON form."""
    return json.loads(text_of(lib.dicast_verdict_json(verdict)))


_SCHEMA: Dict[str, Any] = json.loads(text_of(lib.dicast_config_schema()))


def config_schema() -> Dict[str, Any]:
    """The configuration of a judge as JSON Schema: each setting with its type, range, default and meaning.

    Its ``["properties"]["options"]`` describes the options of a request.
    """
    return copy.deepcopy(_SCHEMA)


def defaults(section: str) -> Dict[str, Any]:
    """The settings of a section of the configuration with their defaults; None if a default depends on other things."""
    rows: Dict[str, Any] = _SCHEMA["properties"][section]["properties"]
    return {name: row.get("default") for name, row in rows.items()}


def options_json(options: Mapping[str, Any], what: str = "options") -> str:
    """Settings as JSON. The library checks that they exist and are in range."""
    try:
        return json.dumps(dict(options), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{what}: {error}") from None


def request_new(principle: str, prompt: str, responses: Mapping[str, str], options: Optional[str]) -> Any:
    """A request. `options` is JSON."""
    if not isinstance(responses, Mapping):
        raise InvalidRequestError(f"responses is {type(responses).__name__}: it must map names to texts")
    out, error = ffi.new("dicast_request **"), ffi.new("dicast_error **")
    check(lib.dicast_request_new(view(principle, "principle"), view(prompt, "prompt"), out, error), error)
    request = owned("request", out[0])
    add = lib.dicast_request_add
    for name, text in responses.items():
        check(add(request, view(name, "the name of a response"), view(text, "a response"), error), error)
    if options:
        check(lib.dicast_request_set_options(request, view(options, "options"), error), error)
    return request


def views(texts: Iterable[str], what: str) -> Tuple[Any, Any]:
    """An array of texts, and what must live as long as it is used."""
    viewed = [view(text, what) for text in texts]
    return ffi.new("dicast_str[]", viewed), viewed


def aliases_of(shown: Sequence[str], names: Sequence[str]) -> Any:
    """The aliases of a judgment made elsewhere."""
    out, error = ffi.new("dicast_aliases **"), ffi.new("dicast_error **")
    (first, keep), (second, keep_too) = views(shown, "an alias"), views(names, "the name of a response")
    check(lib.dicast_aliases_of(first, second, len(keep), out, error), error)
    del keep_too  # The texts live until here.
    return owned("aliases", out[0])


def aliases_masked(names: Sequence[str], prefix: str) -> Any:
    """Aliases in the order of the reference system."""
    out, error = ffi.new("dicast_aliases **"), ffi.new("dicast_error **")
    array, keep = views(names, "the name of a response")
    mode, seed = lib.DICAST_MASK_SHUFFLE, defaults("options")["mask_seed"]
    check(lib.dicast_aliases_mask(array, len(keep), view(prefix, "the prefix"), mode, seed, out, error), error)
    return owned("aliases", out[0])
