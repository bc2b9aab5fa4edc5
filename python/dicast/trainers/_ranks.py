"""Groups of a trainer that runs in several processes, each with a part of the batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, Callable, Dict, Hashable, List, Optional, Sequence, Tuple

from ..errors import DicastError
from ._groups import Group, Judged, Sample, grouped, raised
from ._lazy import PerProcess

__all__ = ["Ranks", "count_of_ranks"]

#: The data of a rank: samples, each with the key of its group, or the error because of which it has none.
_Mine = Tuple[List[Sample], Optional[DicastError]]


def count_of_ranks() -> int:
    """How many processes train together, as far as torch knows in this process."""
    torch = sys.modules.get("torch")
    distributed: Any = getattr(torch, "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return 1
    return int(distributed.get_world_size())


def _new_group() -> Any:
    import torch.distributed as distributed

    # Our own process group, so that our messages cannot mix with the trainer's. Texts need no GPU.
    return distributed.new_group(backend="gloo")


class Ranks:
    """The processes of a trainer, which all call the same hook at the same point.

    Every process gives its samples. A group that is spread over several processes is judged as one, by the process that
    has its first sample. An error in one process is an error in all, because the others would wait for it.
    """

    def __init__(self) -> None:
        self._group: "PerProcess[Any]" = PerProcess(_new_group)

    def join(self) -> None:
        """Meets the others for the first time. All have to do it in the same order among their hooks."""
        self._group()

    def _gathered(self, value: Any) -> List[Any]:
        import torch.distributed as distributed

        gathered: List[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, value, group=self._group())
        return gathered

    def shared(self, mine: _Mine, size: Optional[int]) -> Tuple[List[Group], List[List[int]], Tuple[int, int]]:
        """The groups that this process judges, where their samples stand in the whole batch, and where its own do."""
        import torch.distributed as distributed

        parts: List[_Mine] = self._gathered(mine)
        for _, error in parts:
            if error is not None:
                raise raised(error)
        counts = [len(samples) for samples, _ in parts]
        every: List[Tuple[str, str, str, Hashable]] = [
            (*sample, None if size is None else place // size)
            for place, sample in enumerate(one for samples, _ in parts for one in samples)
        ]
        rank = distributed.get_rank()
        start = sum(counts[:rank])
        end = start + counts[rank]
        own = [group for group in grouped(every, consecutive=True) if start <= group.places[0] < end]
        places = [list(group.places) for group in own]
        next_place = 0
        for group in own:
            group.places = list(range(next_place, next_place + len(group.texts)))
            next_place += len(group.texts)
        return own, places, (start, end)

    def exchanged(
        self, outcome: Callable[[], Sequence[Judged]], places: Sequence[Sequence[int]], span: Tuple[int, int]
    ) -> List[Judged]:
        """Sends the results of this process to the others, and gets the results of its own samples."""
        told: Dict[int, Judged] = {}
        failure: Optional[DicastError] = None
        try:
            told = dict(zip((place for group in places for place in group), outcome()))
        except DicastError as error:
            failure = error
        known: Dict[int, Judged] = {}
        for part, other in self._gathered((told, failure)):
            if other is not None:
                raise raised(other)
            known.update(part)
        return [replace(known[place]) for place in range(*span)]
