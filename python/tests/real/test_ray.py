"""Judges on a local Ray cluster of several machines, as Ray sees it. Skipped without Ray."""

from __future__ import annotations

import os
import pathlib
import pickle
import signal
import threading
import time
from typing import Any, Iterator, List

import pytest

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster

import dicast
import dicast.ray
from dicast.trainers import Settings
from dicast.trainers._groups import Sample
from support import CONCISE, MODEL

from .conftest import carry, worker_paths

pytestmark = pytest.mark.filterwarnings("ignore")

carry(__name__)

SMALL = {"max_reasoning_tokens": 16}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 4})
    made.add_node(num_cpus=3, resources={"second": 4})
    # On a busy machine Serve's proxies take longer to start than Serve waits by default.
    env = {"PYTHONPATH": worker_paths(), "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60"}
    ray.init(address=made.address, runtime_env={"env_vars": env}, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def request(number: int) -> dict:
    responses = {"short": "Build small projects.", "long": f"First of all, number {number}, one should consider much."}
    return {"principle": CONCISE, "prompt": f"How do I learn language {number}?", "responses": responses}


def pids(pool: Any) -> List[int]:
    return [ray.get(actor.facts.remote())["pid"] for actor in pool._actors]


def test_a_pool_is_one_judge(cluster: Any, judge: dicast.Judge) -> None:
    with dicast.ray.JudgePool(MODEL, actors=3, chunk=4, options=SMALL, num_cpus=0.5) as pool:
        requests = [request(number) for number in range(30)]
        results = pool.judge_batch(requests)
        expected = judge.judge_batch(requests, **SMALL)
        assert [one.scores for one in results] == [one.scores for one in expected]
        assert pool.scale == judge.scale and pool.max_responses == judge.max_responses
        assert pool.judge(**request(1)).ranking == results[1].ranking
        with pytest.raises(dicast.ContextOverflowError):
            pool.judge_batch([request(0), {**request(1), "prompt": "word " * 9000}])
        mixed = pool.judge_batch([request(0), {**request(1), "responses": {}}], return_exceptions=True)
        assert mixed[0].scores and isinstance(mixed[1], dicast.InvalidRequestError)
        rewards = Settings(pool, CONCISE).made.asamples  # Hooks accept a pool in place of a judge.
        import asyncio

        judged = asyncio.run(rewards([Sample(CONCISE, "Hi", "Hello"), Sample(CONCISE, "Hi", "Go away")]))
        assert all(one.reward is not None and one.group == 2 for one in judged)

        @ray.remote
        def elsewhere(kept: Any) -> Any:
            return pickle.loads(pickle.dumps(kept)).judge_batch([request(2)])[0].scores

        assert ray.get(elsewhere.remote(pool)) == results[2].scores
    with pytest.raises(dicast.ClosedError):
        pool.judge_batch([request(0)])


def test_an_actor_that_is_killed_loses_nothing(cluster: Any, judge: dicast.Judge) -> None:
    with dicast.ray.JudgePool(MODEL, actors=3, chunk=2, options=SMALL, num_cpus=0.5, attempts=10) as pool:
        requests = [request(number) for number in range(200)]
        victims = pids(pool)
        killed: List[int] = []
        stop = threading.Event()

        def kill() -> None:
            for victim in victims:
                if stop.wait(0.3):
                    return
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)

        killer = threading.Thread(target=kill)
        killer.start()
        results = pool.judge_batch(requests)
        stop.set()
        killer.join()
        assert killed, "an actor was killed while the batch ran"
        expected = judge.judge_batch(requests, **SMALL)
        assert [one.scores for one in results] == [one.scores for one in expected]
        assert set(pids(pool)) & set(killed) == set(), "those that were killed are new ones"


def test_a_request_that_ends_actors_is_an_error_and_the_others_are_judged(cluster: Any, monkeypatch: Any) -> None:
    with dicast.ray.JudgePool(MODEL, actors=2, chunk=3, options=SMALL, num_cpus=0.5, attempts=2) as pool:
        deadly = {**request(1), "prompt": Deadly()}
        results = pool.judge_batch([request(0), deadly, request(2), request(3)], return_exceptions=True)
        assert isinstance(results[1], dicast.EngineError) and not results[1].retryable
        assert [bool(getattr(one, "scores", None)) for one in results] == [True, False, True, True]


def test_ctrl_c_ends_the_wait_for_a_pool(cluster: Any) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    waits: List[float] = []
    try:
        with dicast.ray.JudgePool(MODEL, actors=1, options=SMALL, num_cpus=0.5) as pool:
            pool.judge_batch([request(0)])
            for after in (0.35, 0.58, 0.81):
                sent: List[float] = []

                def interrupt(after: float = after, sent: List[float] = sent) -> None:
                    time.sleep(after)
                    sent.append(time.monotonic())
                    os.kill(os.getpid(), signal.SIGINT)

                thread = threading.Thread(target=interrupt)
                thread.start()
                with pytest.raises(KeyboardInterrupt):
                    while thread.is_alive():
                        pool.judge_batch([request(number) for number in range(2000)])
                waits.append(time.monotonic() - sent[0])
                thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    # A busy machine may take longer once.
    assert sorted(waits)[1] < 0.25, waits


class Deadly:
    """Ends the process that reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def test_a_model_that_is_not_there_is_said(cluster: Any) -> None:
    with dicast.ray.JudgePool("/nonexistent/judge.gguf", actors=1, num_cpus=0.1, attempts=2, patience=60.0) as pool:
        results = pool.judge_batch([request(0), request(1)], return_exceptions=True)
        assert all(isinstance(result, dicast.ModelNotFoundError) for result in results)
        with pytest.raises(dicast.ModelNotFoundError):
            pool.scale  # noqa: B018


def table(path: pathlib.Path, count: int) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{**request(number), "id": number} for number in range(count)]
    rows[1]["responses"] = {"short": "a", "long": None}
    rows[3]["prompt"] = "word " * 9000
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=20)


def test_a_dataset_is_judged(cluster: Any, tmp_path: pathlib.Path) -> None:
    table(tmp_path / "in.parquet", 12)
    dataset = dicast.ray.judge_dataset(
        ray.data.read_parquet(str(tmp_path / "in.parquet")), MODEL, options=SMALL, batch_size=4, num_cpus=0.5, actors=2
    )
    rows = sorted(dataset.take_all(), key=lambda row: row["id"])
    assert [row["id"] for row in rows] == list(range(12))
    assert list(rows[0]["dicast_names"]) == ["short", "long"] and len(rows[0]["dicast_scores"]) == 2
    assert list(rows[1]["dicast_names"]) == ["short"], "what a struct does not have is no response"
    assert rows[3]["dicast_error"].startswith("context_overflow") and rows[3]["dicast_scores"] is None
    assert sorted(rows[0]["dicast_ranking"]) == ["long", "short"] and rows[0]["dicast_error"] is None


def judged(folder: pathlib.Path) -> List[Any]:
    import pyarrow.parquet

    rows: List[Any] = []
    for path in folder.glob("part-*.parquet"):
        rows += pyarrow.parquet.read_table(path).to_pylist()
    return rows


def test_parquet_is_continued_where_a_run_was_killed(cluster: Any, tmp_path: pathlib.Path) -> None:
    table(tmp_path / "in.parquet", 60)
    out = tmp_path / "out"
    settings: Any = {"options": SMALL, "batch_size": 6, "num_cpus": 0.5, "actors": 2}
    stop = threading.Event()
    killed: List[int] = []

    def kill() -> None:
        # An actor of the stage, as soon as the first parts are written.
        while not stop.wait(0.05):
            if len(list(out.glob("part-*"))) >= 3 and not killed:
                for one in actors_of_the_stage():
                    os.kill(one, signal.SIGKILL)
                    killed.append(one)
                    break

    killer = threading.Thread(target=kill)
    killer.start()
    summary = dicast.ray.judge_parquet(str(tmp_path / "in.parquet"), out, MODEL, **settings)
    stop.set()
    killer.join()
    assert killed, "an actor was killed while the data was judged"
    assert summary.failed == 1 and summary.kept == 0
    rows = judged(out)
    assert sorted(row["id"] for row in rows) == list(range(60)), "each row once, whatever died"
    parts = sorted(out.glob("part-*"))
    for part in parts[::2]:
        part.unlink()
    left = len(judged(out))
    summary = dicast.ray.judge_parquet(str(tmp_path / "in.parquet"), out, MODEL, **settings)
    assert summary.rows + summary.kept == 60 and summary.kept in (left, left - 1)
    rows = judged(out)
    assert sorted(row["id"] for row in rows) == list(range(60))
    assert [row["id"] for row in rows if row["dicast_error"]] == [3]
    again = dicast.ray.judge_parquet(str(tmp_path / "in.parquet"), out, MODEL, **settings)
    assert (again.rows, again.failed, again.kept) == (1, 1, 59), "only what failed is tried again"
    (out / "part-x.parquet").write_text("torn")
    with pytest.raises(dicast.FileError, match="part-x"):
        dicast.ray.judge_parquet(str(tmp_path / "in.parquet"), out, MODEL, **settings)


def actors_of_the_stage() -> List[int]:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            name = path.read_text(errors="replace")
        except OSError:
            continue  # It has ended.
        if name.startswith("ray::") and "_JudgeRows" in name:
            found.append(int(path.parent.name))
    return found


def test_a_deployment_answers_the_client(cluster: Any, judge: dicast.Judge) -> None:
    serve = pytest.importorskip("ray.serve")

    app = dicast.ray.application(MODEL, replicas=2, num_cpus=0.2, options=SMALL)
    serve.start(http_options={"port": 18231, "host": "127.0.0.1"})
    handle = serve.run(app, name="dicast", route_prefix="/")
    try:
        client = dicast.Client("http://127.0.0.1:18231", timeout=60.0)
        assert client.health_check()
        requests = [request(number) for number in range(8)]
        expected = judge.judge_batch(requests, **SMALL)
        assert [one.scores for one in client.judge_batch(requests)] == [one.scores for one in expected]
        # Equal except for the last digits, which depend on the engine's batches.
        assert client.judge(**requests[0]).expected_scores == pytest.approx(expected[0].expected_scores, abs=1e-4)
        assert client.judge(**requests[0], temperature=0.5, seed=3).scores
        with pytest.raises(dicast.ContextOverflowError):
            client.judge(**{**requests[0], "prompt": "word " * 9000})
        with pytest.raises(dicast.InvalidRequestError):
            client.judge(**requests[0], options={"temprature": 1})
        said = handle.judge.remote(requests[1]).result(timeout_s=60)
        assert said["results"]["scores"] == expected[1].scores
    finally:
        serve.shutdown()
    time.sleep(0.1)
