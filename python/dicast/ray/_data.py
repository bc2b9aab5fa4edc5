"""A stage of Ray Data that judges, and judging of Parquet files."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Set, Tuple, Union

from ..errors import DicastError, FileError, InvalidConfigError, InvalidRequestError
from ._open import opened, ray_module

__all__ = ["Summary", "judge_dataset", "judge_parquet"]

_LOGGER = logging.getLogger("dicast")

#: The columns that are added to a judged row.
_COLUMNS = ("names", "scores", "expected_scores", "ranking", "reasoning", "error")
_PREFIX = "dicast_"


def _arrow() -> Any:
    return ray_module("pyarrow")


class _Rows:
    """Which columns hold the parts of a request."""

    def __init__(self, principle: Optional[str], columns: Optional[Mapping[str, str]]) -> None:
        names = {"principle": "principle", "prompt": "prompt", "responses": "responses", **(columns or {})}
        if set(names) != {"principle", "prompt", "responses"}:
            raise InvalidConfigError("columns may only name the columns of principle, prompt and responses")
        self.principle = principle
        self.names = names

    def request(self, row: Mapping[str, Any]) -> Dict[str, Any]:
        """The request of a row, or an error that says what is wrong with it."""
        principle = row.get(self.names["principle"]) or self.principle
        if not principle:
            raise InvalidRequestError(f"the row has no {self.names['principle']}, and no principle was given")
        prompt, responses = row.get(self.names["prompt"]), row.get(self.names["responses"])
        if not isinstance(prompt, str):
            raise InvalidRequestError(f"{self.names['prompt']} is {type(prompt).__name__}: it must be a text")
        return {"principle": principle, "prompt": prompt, "responses": _responses(responses, self.names["responses"])}


def _responses(value: Any, name: str) -> Dict[str, str]:
    """Responses in the forms of data sets: by name, in a list, or as JSON of either."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise InvalidRequestError(f"{name} is a text but not JSON: it must hold several responses") from None
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
        value = dict(value)  # A map of Arrow.
    if isinstance(value, Mapping):
        # In a struct of Arrow, which has the fields of all rows, the others are null.
        return {str(key): text for key, text in value.items() if text is not None}
    if isinstance(value, (list, tuple)):
        return {str(number): text for number, text in enumerate(value, 1)}
    raise InvalidRequestError(f"{name} is {type(value).__name__}: it must map names to texts, or list texts")


class _JudgeRows:
    """The stage: opened once in each actor, called with tables."""

    def __init__(
        self, model: str, config: Mapping[str, Any], options: Mapping[str, Any], rows: _Rows, output: Optional[str]
    ) -> None:
        self._judge = opened(model, config)
        self._options = dict(options)
        self._rows = rows
        self._output = None if output is None else Path(output)

    def __call__(self, table: Any) -> Any:
        judged = self._judged(table)
        return judged if self._output is None else self._written(judged)

    def _judged(self, table: Any) -> Any:
        outcomes: List[Any] = []
        requests: List[Dict[str, Any]] = []
        for row in table.to_pylist():
            try:
                requests.append(self._rows.request(row))
                outcomes.append(None)
            except DicastError as error:
                outcomes.append(error)
        results = iter(self._judge.judge_batch(requests, return_exceptions=True, **self._options))
        outcomes = [next(results) if outcome is None else outcome for outcome in outcomes]
        pa = _arrow()
        text, number = pa.string(), pa.float64()
        kinds = (pa.list_(text), pa.list_(number), pa.list_(number), pa.list_(text), text, text)
        cells = [_cells(outcome) for outcome in outcomes]
        for name, kind, values in zip(_COLUMNS, kinds, zip(*cells) if cells else [()] * len(_COLUMNS)):
            column = pa.array(list(values), type=kind)
            place = table.schema.get_field_index(_PREFIX + name)
            if place < 0:
                table = table.append_column(_PREFIX + name, column)
            else:
                table = table.set_column(place, _PREFIX + name, column)
        return table

    def _written(self, table: Any) -> Any:
        """Writes a part, completely or not at all, and returns what it holds."""
        pa, parquet = _arrow(), ray_module("pyarrow.parquet")
        errors = table.column(_PREFIX + "error").null_count
        failed = table.num_rows - errors
        if table.num_rows:
            assert self._output is not None
            # The same rows give the same name: a part that is judged again replaces its old file.
            digest = hashlib.sha256()
            for key in table.column(_PREFIX + "key").to_pylist():
                digest.update(key)
            name = f"part-{digest.hexdigest()[:32]}.parquet"
            beside = self._output / f".{name}.{uuid.uuid4().hex}"
            try:
                parquet.write_table(table, beside)
                os.replace(beside, self._output / name)
            except OSError as error:
                beside.unlink(missing_ok=True)
                raise FileError(f"{self._output}: {error}") from error
        return pa.table({"rows": [table.num_rows], "failed": [failed]})


def _cells(outcome: Any) -> Tuple[Any, ...]:
    """The cells of a row. A judgment that failed has its error, and nothing that could be taken for a score."""
    if isinstance(outcome, DicastError):
        return None, None, None, None, None, f"{outcome.kind}: {outcome}"
    names = list(outcome.scores)
    expected = [outcome.expected_scores.get(name) for name in names]
    return (
        names,
        [float(outcome.scores[name]) for name in names],
        [None if value is None or not math.isfinite(value) else value for value in expected],
        list(outcome.ranking),
        outcome.reasoning,
        None,
    )


def judge_dataset(
    dataset: Any,
    model: Union[str, "os.PathLike[str]"],
    *,
    principle: Optional[str] = None,
    columns: Optional[Mapping[str, str]] = None,
    options: Optional[Mapping[str, Any]] = None,
    actors: Union[int, Tuple[int, int]] = 1,
    batch_size: int = 64,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    **config: Any,
) -> Any:
    """A stage of Ray Data: the dataset with its rows judged.

    A row has ``prompt``, ``responses`` (texts by name or in a list, or JSON of either) and ``principle``, unless the
    argument ``principle`` is given. ``columns`` names other columns for these, as in ``{"prompt": "question"}``. Added
    are ``dicast_names``, ``dicast_scores`` and ``dicast_expected_scores`` (lists, in the order of the responses),
    ``dicast_ranking`` (names, best first), ``dicast_reasoning`` and ``dicast_error``. If a row could not be judged,
    ``dicast_error`` has its error and the others are null.

    ``actors`` is the number of judges, or a pair of the least and the most; ``num_cpus`` and ``num_gpus`` are what Ray
    reserves for each. ``batch_size`` rows are judged together. ``options`` are those of each judgment, ``config`` has
    the arguments of :func:`dicast.from_pretrained`. If an actor dies, Ray judges its rows again.
    """
    rows = _Rows(principle, columns)
    return _mapped(dataset, model, rows, options, actors, batch_size, num_cpus, num_gpus, config, None)


def _mapped(
    dataset: Any,
    model: Union[str, "os.PathLike[str]"],
    rows: _Rows,
    options: Optional[Mapping[str, Any]],
    actors: Union[int, Tuple[int, int]],
    batch_size: int,
    num_cpus: float,
    num_gpus: float,
    config: Mapping[str, Any],
    output: Optional[str],
) -> Any:
    data = ray_module("ray.data")
    least, most = (actors, actors) if isinstance(actors, int) else actors
    if least < 1 or most < least or batch_size < 1:
        raise InvalidConfigError("actors and batch_size must be 1 or more, the least number of actors first")
    return dataset.map_batches(
        _JudgeRows,
        fn_constructor_args=(os.fspath(model), dict(config), dict(options or {}), rows, output),
        batch_size=batch_size,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )


@dataclass(frozen=True)
class Summary:
    """What a run of :func:`judge_parquet` did."""

    #: Rows that this run judged or tried to judge.
    rows: int
    #: Of these, rows that failed: ``dicast_error`` says why. A run that continues tries them again.
    failed: int
    #: Rows that earlier runs have judged.
    kept: int


def judge_parquet(
    source: Any,
    output: Union[str, "os.PathLike[str]"],
    model: Union[str, "os.PathLike[str]"],
    *,
    principle: Optional[str] = None,
    columns: Optional[Mapping[str, str]] = None,
    options: Optional[Mapping[str, Any]] = None,
    actors: Union[int, Tuple[int, int]] = 1,
    batch_size: int = 256,
    num_cpus: float = 1.0,
    num_gpus: float = 0.0,
    **config: Any,
) -> Summary:
    """Judges the rows of Parquet files (``source``, as for ``ray.data.read_parquet``) into the folder ``output``.

    Every ``batch_size`` rows become one file in ``output``, which is written completely or not at all. However a run
    ended, the same call continues with the rows that are in no file there. Rows that failed are tried again, and their
    earlier files are removed when the run ends. A row is identified by its content, ``principle`` and ``options``
    (``dicast_key``). ``output`` must be reachable from every machine. The other arguments are those of
    :func:`judge_dataset`.
    """
    data = ray_module("ray.data")
    ray = ray_module()
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(str(error)) from error
    rows = _Rows(principle, columns)
    done, stale = _done(folder)
    keyed = data.read_parquet(source).map_batches(
        _Keyed, fn_constructor_args=(rows, dict(options or {}), ray.put(done)), batch_format="pyarrow",
        compute=data.ActorPoolStrategy(min_size=1, max_size=1), num_cpus=0.25, zero_copy_batch=True,
    )  # fmt: skip
    written = _mapped(
        keyed, model, rows, options, actors, batch_size, num_cpus, num_gpus, config, str(folder.absolute())
    )
    total = failed = 0
    for part in written.iter_rows():
        total += part["rows"]
        failed += part["failed"]
    # Their rows are now in the files of this run.
    for path in stale:
        _without_failures(path)
    return Summary(rows=total, failed=failed, kept=len(done))


class _Keyed:
    """Gives each row the key of its request, and leaves out those that are judged."""

    def __init__(self, rows: _Rows, options: Mapping[str, Any], done: Any) -> None:
        self._rows = rows
        self._options = json.dumps(options, sort_keys=True)
        self._done: Set[bytes] = ray_module().get(done)

    def __call__(self, table: Any) -> Any:
        pa = _arrow()
        keys = [self._key(row) for row in table.to_pylist()]
        name = _PREFIX + "key"
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, pa.array(keys, type=pa.binary()))
        return table.filter(pa.array([key not in self._done for key in keys], type=pa.bool_()))

    def _key(self, row: Mapping[str, Any]) -> bytes:
        # The whole row: two rows with the same request may differ in their other columns.
        text = json.dumps([row, self._rows.principle, self._rows.names, self._options], sort_keys=True, default=repr)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _done(folder: Path) -> Tuple[Set[bytes], List[Path]]:
    """The keys of the judged rows, and the files with failed rows."""
    parquet, compute = ray_module("pyarrow.parquet"), ray_module("pyarrow.compute")
    done: Set[bytes] = set()
    stale: List[Path] = []
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            table = parquet.read_table(path, columns=[_PREFIX + "key", _PREFIX + "error"])
        except Exception as error:
            raise FileError(f"{path}: it is not a part of an earlier run ({error}): move it away") from error
        fine = table.filter(compute.is_null(table.column(_PREFIX + "error")))
        done.update(fine.column(_PREFIX + "key").to_pylist())
        if fine.num_rows < table.num_rows:
            stale.append(path)
    return done, stale


def _without_failures(path: Path) -> None:
    """Removes the failed rows from a file of an earlier run."""
    parquet, compute = ray_module("pyarrow.parquet"), ray_module("pyarrow.compute")
    table = parquet.read_table(path)
    fine = table.filter(compute.is_null(table.column(_PREFIX + "error")))
    if not fine.num_rows:
        path.unlink()
        return
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    parquet.write_table(fine, beside)
    os.replace(beside, path)
