"""The methods of pydantic's models that programs call on requests and results, over plain dataclasses."""

from __future__ import annotations

import copy
import json
from dataclasses import MISSING, fields
from typing import Any, Dict, Iterator, Mapping, Optional, Set, Tuple, Type, TypeVar, Union

from .errors import InvalidRequestError

__all__ = ["Model", "PairsModel", "as_bool"]

_TRUE = frozenset(("1", "on", "t", "true", "y", "yes"))
_FALSE = frozenset(("0", "off", "f", "false", "n", "no"))

_Model = TypeVar("_Model", bound="Model")

#: Which fields: a collection of names, or a mapping from each name to True or to a choice of the field's own fields.
Selection = Any


def as_bool(value: Any, name: str) -> bool:
    """A truth value, which may also be a word or a number from a file."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if type(value).__name__ == "bool_":  # NumPy's, as a row of a data frame has it.
        return bool(value)
    word = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if isinstance(word, str) and word.lower() in _TRUE:
        return True
    if isinstance(word, str) and word.lower() in _FALSE:
        return False
    raise InvalidRequestError(f"{name} is {value!r}: it must be true or false")


class Model:
    """What a dataclass needs to be used like a model of pydantic."""

    @classmethod
    def model_validate(cls: Type[_Model], value: Any, **_: Any) -> _Model:
        """Makes an object from a mapping, or returns an existing one; unknown fields are ignored."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise InvalidRequestError(f"a {cls.__name__} is made from a mapping, not from {type(value).__name__}")
        names = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        try:
            return cls(**{name: item for name, item in value.items() if name in names})
        except TypeError as error:
            missing = [item.name for item in fields(cls) if _required(item) and item.name not in value]  # type: ignore[arg-type]
            text = f"a {cls.__name__} needs {', '.join(missing)}" if missing else str(error)
            raise InvalidRequestError(text) from None

    @classmethod
    def model_validate_json(cls: Type[_Model], text: Union[str, bytes, bytearray], **_: Any) -> _Model:
        """Makes an object from a JSON object."""
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidRequestError(f"a {cls.__name__} is made from JSON: {error}") from None
        return cls.model_validate(value)

    parse_obj = validate = model_validate
    parse_raw = model_validate_json

    @property
    def model_fields_set(self) -> Set[str]:
        """The fields that were given, or that differ from their defaults."""
        given: Set[str] = self.__dict__.get("_given", set())
        return given | {
            item.name
            for item in fields(self)  # type: ignore[arg-type]
            if hasattr(self, item.name) and not _is_default(item, getattr(self, item.name))
        }

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: Selection = None,
        exclude: Selection = None,
        exclude_none: bool = False,
        exclude_defaults: bool = False,
        exclude_unset: bool = False,
        **_: Any,
    ) -> Dict[str, Any]:
        """As a dictionary: all fields, or those that are included, except for those that are excluded.

        ``include`` and ``exclude`` are sets of names, or mappings whose values say the same of what is inside. Further
        arguments of pydantic's method (``by_alias``, ``round_trip``, …) have no effect.
        """
        plain: Dict[str, Any] = {}
        for item in fields(self):  # type: ignore[arg-type]
            if not hasattr(self, item.name) or (exclude_unset and item.name not in self.model_fields_set):
                continue
            value = getattr(self, item.name)
            if (exclude_none and value is None) or (exclude_defaults and _is_default(item, value)):
                continue
            plain[item.name] = _plain(value, mode)
        return _selected(plain, include, exclude, exclude_none)  # type: ignore[no-any-return]

    def model_dump_json(self, *, indent: Optional[int] = None, **selection: Any) -> str:
        """As JSON, on one line or indented. The other arguments are those of :meth:`model_dump`."""
        value = self.model_dump(**{**selection, "mode": "json"})
        separators = (",", ":") if indent is None else (",", ": ")
        return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)

    def dict(self, **selection: Any) -> Dict[str, Any]:
        """The older name of :meth:`model_dump`."""
        return self.model_dump(**selection)

    def json(self, **selection: Any) -> str:
        """The older name of :meth:`model_dump_json`."""
        return self.model_dump_json(**selection)

    def model_copy(self: _Model, *, update: Optional[Mapping[str, Any]] = None, deep: bool = False) -> _Model:
        """A copy, with the fields of ``update`` replaced unchecked; ``deep`` copies what the fields hold, too."""
        made = copy.deepcopy(self) if deep else copy.copy(self)
        known = {item.name for item in fields(self)}  # type: ignore[arg-type]
        for name, value in (update or {}).items():
            if name not in known:
                raise InvalidRequestError(f"a {type(self).__name__} has no {name}: it has {', '.join(sorted(known))}")
            setattr(made, name, value)
        return made

    def copy(
        self: _Model,
        *,
        include: Selection = None,
        exclude: Selection = None,
        update: Optional[Mapping[str, Any]] = None,
        deep: bool = False,
    ) -> _Model:
        """The older form of :meth:`model_copy`. A copy without some of its fields is an error: a request has all."""
        if include is not None or exclude is not None:
            raise InvalidRequestError("copy(include=, exclude=) would leave fields out: use model_dump for that")
        return self.model_copy(update=update, deep=deep)

    @classmethod
    def model_construct(cls: Type[_Model], _fields_set: Any = None, **values: Any) -> _Model:
        """Makes an object without checks. Fields that are not given have their defaults, or are missing."""
        made = cls.__new__(cls)
        for item in fields(cls):  # type: ignore[arg-type]
            if item.name in values:
                setattr(made, item.name, values[item.name])
            elif not _required(item):
                setattr(made, item.name, _default(item))
        return made

    construct = model_construct


class PairsModel(Model):
    """A model that can be passed to ``dict(…)``."""

    def __iter__(self) -> Iterator[Tuple[str, Any]]:
        for item in fields(self):  # type: ignore[arg-type]
            yield item.name, getattr(self, item.name)


def _required(item: Any) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _default(item: Any) -> Any:
    return item.default_factory() if item.default is MISSING else item.default


def _is_default(item: Any, value: Any) -> bool:
    return not _required(item) and bool(value == _default(item))


def _plain(value: Any, mode: str) -> Any:
    """The value in new containers."""
    if isinstance(value, Mapping):
        return {name: _plain(inner, mode) for name, inner in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(inner, mode) for name, inner in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, mode) for inner in value]
    return value


def _selected(value: Any, include: Selection, exclude: Selection, without_none: bool) -> Any:
    if not isinstance(value, dict):
        return value
    kept: Dict[str, Any] = {}
    for name, inner in value.items():
        wanted, unwanted = _inside(include, name), _inside(exclude, name)
        if unwanted is True or (include is not None and wanted is None):
            continue
        kept[name] = _selected(inner, None if wanted is True else wanted, unwanted, without_none)
    return kept


def _inside(selection: Selection, name: str) -> Any:
    """What a selection takes of a field: True for all of it, None for nothing, else a selection within it."""
    if selection is None:
        return None
    if isinstance(selection, Mapping):
        inner = selection.get(name, selection.get("__all__"))
        return True if inner in (True, Ellipsis) else inner or None
    return True if name in selection else None
