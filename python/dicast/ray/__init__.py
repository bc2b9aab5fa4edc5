"""Judges on many machines, with Ray.

:class:`JudgePool`
    actors with one judge each, used as one judge by programs and by the hooks of :mod:`dicast.trainers`
:func:`judge_dataset`, :func:`judge_parquet`
    a stage of Ray Data, and judging of millions of Parquet rows, which continues where a run ended
:func:`application`
    a Ray Serve deployment for :class:`dicast.Client`

An actor that dies is started again, and what it was judging is judged again: nothing is lost, and here too a verdict is
complete or an error. Needs ``pip install 'dicast[ray]'``. The model must be at the same path on every machine, or be a
name on the Hugging Face hub, or the URL of a server.
"""

from ._data import Summary, judge_dataset, judge_parquet
from ._pool import JudgePool
from ._serve import application

__all__ = ["JudgePool", "Summary", "application", "judge_dataset", "judge_parquet"]
