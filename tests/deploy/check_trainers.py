"""Trainers' own clients, in their own packages, against a real server: NeMo Gym and ROLL.

DICAST_NEMO_GYM names a Python that has nemo-gym (it needs Python 3.13.14 or newer), DICAST_ROLL a checkout of ROLL,
which is not on the package index.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any, Dict, List

from common import CONCISE, Missing, Server, folder, python_with, run

NEMO_GYM = "nemo-gym==0.7.0"
SAMPLES = 8
KEY = "sesame-open"


def asked(python: str, script: str, *arguments: object) -> Any:
    command = [python, str(pathlib.Path(__file__).with_name(script)), *map(str, arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}
    done = run(*command, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def check() -> str:
    parts: List[str] = []
    missing: List[str] = []
    for part in (nemo_gym, roll):
        try:
            parts.append(part())
        except Missing as why:
            missing.append(str(why))
    if not parts:
        raise Missing("; ".join(missing))
    return "; ".join([*parts, *(f"without: {why}" for why in missing)])


def route(path: str, protocol: str) -> Dict[str, Any]:
    return {"path": path, "protocol": protocol, "principle": CONCISE, "options": {"max_reasoning_tokens": 16}}


def nemo_gym() -> str:
    python = os.environ.get("DICAST_NEMO_GYM") or python_with("nemo-gym", NEMO_GYM)
    coalesce = {"window_ms": 3000, "group_size": SAMPLES}
    verify, compare = (route(f"/{name}", f"nemo_gym_{name}") for name in ("verify", "compare"))
    routes = [{**verify, "coalesce": coalesce}, compare]
    keys = [{"name": "gym", "key": KEY}]
    with folder() as place, Server(place, server={"routes": routes, "keys": keys}) as server:
        # The client knows a server by host and port alone; a key fits in the host.
        found = asked(python, "client_nemo_gym.py", f"any:{KEY}@127.0.0.1", server.port, SAMPLES)
        headers = {"authorization": f"Bearer {KEY}"}
        full = server.figure('dicast_coalesced_groups_total{route="/verify",by="full"}', headers)
    rewards = dict(found["verify"])
    assert len(rewards) == SAMPLES and all(1 <= reward <= 5 for reward in rewards.values()), found["verify"]
    assert full >= 1, "the rollouts of a prompt are one judgment"
    mean = sum(rewards.values()) / SAMPLES
    assert abs(found["sums"]["key_metrics"]["mean/reward"] - mean) < 1e-9, found["sums"]
    assert found["unsafe_to_verify_again"] == []
    assert len(found["compare"]) == SAMPLES and len(set(found["compare"])) > 1, found["compare"]
    assert all(status in (400, 413, 500) for status in found["failed"].values()), found["failed"]
    path, status = found["observed"]
    assert path.startswith("/ng-rollout/") and status == 200, found["observed"]
    compared = [round(reward, 2) for reward in found["compare"]]
    return f"NeMo Gym: {SAMPLES} rollouts of its agent in one judgment, /compare {compared}"


def roll() -> str:
    source = os.environ.get("DICAST_ROLL")
    if not source:
        raise Missing("DICAST_ROLL names no checkout of ROLL")
    python = python_with("requests")
    coalesce = {"window_ms": 3000, "group_size": SAMPLES}
    routes = [{**route("/reward", "roll"), "coalesce": coalesce}]
    keys = [{"name": "roll", "key": KEY}]
    with folder() as place, Server(place, server={"routes": routes, "keys": keys}) as server:
        found = asked(python, "client_roll.py", source, server.url, KEY)
    assert len(found["scores"]) == 4 * SAMPLES and all(1 <= score <= 5 for score in found["scores"]), found
    assert found["warnings"] == 0, found
    assert found["failed"] is None and found["failed_seconds"] < 20, found
    return (
        f"ROLL: {len(found['scores'])} samples in {found['seconds']:.1f} s, one in {found['alone_seconds']:.1f} s, "
        f"a failed one is None after {found['failed_seconds']:.1f} s"
    )
