"""Opening the judge of an actor."""

from __future__ import annotations

import os
from typing import Any, Mapping, Union

from ..client import Client
from ..errors import UnsupportedError
from ..local import from_pretrained

__all__ = ["opened", "ray_module"]


def opened(model: Union[str, "os.PathLike[str]"], config: Mapping[str, Any]) -> Any:
    """A judge for a model, or a client for a server; ``config`` has the arguments."""
    name = os.fspath(model)
    if name.startswith(("http://", "https://")):
        return Client(name, **{"timeout": 600.0, **config})
    return from_pretrained(name, **config)


def ray_module(name: str = "ray") -> Any:
    """Ray, or an error that says how to install it."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnsupportedError(f"dicast.ray needs Ray: pip install 'dicast[ray]' ({error})") from error
