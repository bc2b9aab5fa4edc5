"""Samples that are sent one by one to a Dicast server, which puts those of a prompt together itself."""

from __future__ import annotations

import math
import time
from typing import Any

from .._http import Limits, Refused, exchange
from .._parallel import Threads
from ..client import Client
from ..errors import DicastError, InvalidVerdictError
from ._groups import Judged

__all__ = ["Route"]

#: Most samples of one process that wait for a server at once. More would wait here, outside their groups.
_MOST = 2048
_TRIES = 5

# Own threads: a pool with few would have samples of one group wait for each other's end.
_threads = Threads(_MOST, "dicast-route")


class Route:
    """A route of protocol ``slime`` on a Dicast server, whose ``coalesce`` forms the groups.

    The server waits for a group up to its own ``coalesce.window_ms``. The wait for an answer lasts at most the client's
    timeout plus ``window``, in seconds.
    """

    def __init__(self, client: Client, path: str, window: float) -> None:
        self._client = client
        self._url = f"{client.base_url}/{path.lstrip('/')}"
        # The answer comes when the group is judged: the client's limits, and the window on top.
        connect, answer, whole = Limits.of(client.timeout)
        more = [None if one is None else one + window for one in (answer, whole)]
        self._limits = Limits(connect, *more)

    def reward(self, prompt: str, text: str, label: Any = None) -> Judged:
        """The reward of one sample. A failure is the error of that sample."""
        body = {"prompt": prompt, "response": text, "label": None if label is None else str(label)}
        for attempt in range(1, _TRIES + 1):
            try:
                return _judged(exchange("POST", self._url, body, self._client.headers, self._limits))
            except Refused as refused:
                if not refused.again or attempt == _TRIES:
                    return Judged(None, refused.error)
                time.sleep(min(2.0**attempt if refused.wait is None else refused.wait, 30.0))
            except DicastError as error:
                return Judged(None, error)
        raise AssertionError("not reached")

    async def areward(self, prompt: str, text: str, label: Any = None) -> Judged:
        """As :meth:`reward`, without blocking the event loop."""
        return await _threads.run(self.reward, prompt, text, label)


def _judged(answer: Any) -> Judged:
    """Reads an answer: a number, or an object that holds it if the route has a ``reward_key``."""
    group = 0
    value: Any = answer
    if isinstance(answer, dict):
        group = int(answer.get("group") or 0)
        rewards = [item for key, item in answer.items() if key not in ("score", "group")]
        value = rewards[0] if len(rewards) == 1 else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InvalidVerdictError(f"the server answered with {str(answer)[:200]}, which is not a reward")
    return Judged(float(value), None, None, "", group)
