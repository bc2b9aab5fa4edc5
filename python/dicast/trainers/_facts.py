"""Facts that a judge gives about itself: its scale and how many responses it takes."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from .._http import Limits, Refused, exchange
from ..client import Client
from ..errors import UnsupportedError

__all__ = ["Facts"]

#: The scale of the reference system, whose server gives no information about itself.
_REFERENCE = (1, 5)


class Facts:
    """The scale and the response limit of a judge, asked for once. For a server they come from its ``/v1/models``."""

    def __init__(self, judge: Any, scale: Optional[Tuple[float, float]]) -> None:
        self._judge = judge
        self._scale = scale
        self._served: Optional[Dict[str, Any]] = None

    @property
    def blocking(self) -> bool:
        """Whether asking may take a while, as opening a model or calling a server does."""
        return self._served is None

    def ask(self) -> None:
        """Asks now for what is not known yet."""
        if self._served is None:
            self._served = _served(self._judge) if isinstance(self._judge, Client) else {}
            # Opens a judge that is opened at first use.
            getattr(self._judge, "max_responses", None)

    @property
    def scale(self) -> Tuple[float, float]:
        """The worst and the best score."""
        if self._scale is not None:
            return self._scale
        own = getattr(self._judge, "scale", None)
        if own is not None:
            return float(own[0]), float(own[1])
        self.ask()
        assert self._served is not None
        said = self._served.get("scale")
        if isinstance(said, dict):
            return float(said["min"]), float(said["max"])
        if self._served:
            raise UnsupportedError("the server does not say the scale of its judge yet: give the setting `scale`")
        return _REFERENCE

    @property
    def max_responses(self) -> Optional[int]:
        """Most responses in one request; None if it is not known."""
        own = getattr(self._judge, "max_responses", None)
        if own is None:
            self.ask()
            own = (self._served or {}).get("max_responses")
        return None if own is None else int(own)

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_served": None}


def _served(client: Client) -> Dict[str, Any]:
    """The server's description of its default judge; nothing if it is not a Dicast server."""
    try:
        said = exchange("GET", f"{client.base_url}/v1/models", None, client.headers, Limits.of(30.0))
    except Refused as refused:
        if "status 404" in str(refused.error):
            return {}
        raise refused.error from refused.__cause__
    models = said.get("data") if isinstance(said, dict) else None
    for model in models if isinstance(models, list) else []:
        if isinstance(model, dict) and model.get("owned_by") == "dicast" and model.get("default"):
            return model
    return {}
