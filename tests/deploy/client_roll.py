"""ROLL's own client of remote rewards against a server of Dicast.

usage: client_roll.py SOURCE URL KEY     SOURCE is a checkout of ROLL; prints what came back, as JSON

Its worker needs torch and a GPU. The class that talks to servers needs neither, so what the file imports for the worker
is replaced.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
import time
import types
from pathlib import Path
from typing import Any, Dict


class Anything:
    """Takes the place of what only the worker uses."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __getattr__(self, _name: str) -> Any:
        return Anything()

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return lambda function: function


def handler_of(source: Path) -> Any:
    replaced = {
        "torch": (), "codetiming": ("Timer",), "roll": (), "roll.configs": (),
        "roll.configs.worker_config": ("WorkerConfig",),
        "roll.distributed": (), "roll.distributed.executor": (), "roll.distributed.executor.worker": ("Worker",),
        "roll.distributed.scheduler": (), "roll.distributed.scheduler.decorator": ("Dispatch", "register"),
        "roll.distributed.scheduler.protocol": ("DataProto",), "roll.models": (),
        "roll.models.model_providers": ("default_tokenizer_provider",), "roll.utils": (), "roll.utils.logging": (),
    }  # fmt: skip
    for name, attributes in replaced.items():
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, type(attribute, (), {}) if attribute == "Worker" else Anything())
        sys.modules[name] = module
    sys.modules["roll.utils.logging"].get_logger = lambda: logging.getLogger("roll")  # type: ignore[attr-defined]
    path = source / "roll/pipeline/rlvr/rewards/remote_reward_system_worker.py"
    spec = importlib.util.spec_from_file_location("remote_reward_system_worker", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.RewardSystemHandler


def main(source: str, url: str, key: str) -> Dict[str, Any]:
    warnings = []
    handler = logging.Handler()
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("roll").addHandler(handler)
    config = {"submit_url": f"{url}/reward", "get_result_url": f"{url}/reward", "xrl_authorization": key}
    client = handler_of(Path(source))(config, {}, reward_server_task_timeout=60)

    def item(number: int, place: int, prompt: str = "") -> Any:
        prompt = prompt or f"user\nHow do I learn language {number}?\nassistant\n"
        text = "Build small projects. " * (1 + place)
        return ("project", "experiment", 0, f"{number}", f"{number}-{place}", {"ground_truth": "x"}, prompt, text)

    items = [item(number, place) for number in range(4) for place in range(8)]
    began = time.monotonic()
    scores = client.multi_thread_request_reward_system(items)
    took = time.monotonic() - began
    logged = len(warnings)
    began = time.monotonic()
    alone = client.get_reward("Hi", "Hello.", {}, "d", "r")
    one = time.monotonic() - began
    began = time.monotonic()
    failed = client.get_reward("word " * 3000, "Hello.", {}, "d", "r")
    return {
        "scores": scores,
        "seconds": took,
        "warnings": logged,
        "alone": alone[0],
        "alone_seconds": one,
        "failed": failed[0],
        "failed_seconds": time.monotonic() - began,
        "logged": warnings[-2:],
    }


if __name__ == "__main__":
    print("\n" + json.dumps(main(*sys.argv[1:4])))
