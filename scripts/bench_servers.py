"""Measures judgments a second on servers: Dicast's batch, and the reference's server on the same server, in turns.

    bench_servers.py DICAST URL...

Runs in an environment that has `rewardanything`. Each server serves the demonstration judge under the name "demo".
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
AT_ONCE = 8


def items():
    lines = (ROOT / "demo/heldout.jsonl").read_text(encoding="utf-8").splitlines()[:100]
    return [{key: json.loads(line)[key] for key in ("principle", "prompt", "responses")} for line in lines]


def ours(dicast, url, requests, folder, run, settings):
    source, config = folder / "in.jsonl", folder / "dicast.json"
    target = folder / f"out-{run}-{'-'.join(str(value) for value in settings.values())}.jsonl"
    source.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    config.write_text(json.dumps({"model": url, "remote": {"num_workers": AT_ONCE, **settings}}), encoding="utf-8")
    command = [dicast, "batch", source, "-o", target, "--config", config, "--profile", ROOT / "demo/dicast-demo.profile.json"]
    begun = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    results = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    whole = sum("error" not in one and set(one.get("scores", {})) == set(request["responses"]) for one, request in zip(results, requests))
    return seconds, whole, whole


def theirs(url, requests, folder):
    port = free_port()
    config = folder / "reference.json"
    settings = {
        "api_key": "none", "api_model": "demo", "api_base": f"{url}/v1", "api_timeout": 120, "num_workers": AT_ONCE,
        "request_limit": 1_000_000, "request_limit_period": 1, "generation_config": {"temperature": 0, "max_tokens": 400},
        "dump_individual_rsp": False,
    }
    config.write_text(json.dumps(settings), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "rewardanything"), "serve", "-c", str(config), "--port", str(port)]
    with open(folder / "reference.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2).read()
                break
            except OSError:
                time.sleep(0.5)
        best = None
        for _ in range(ROUNDS):
            body = json.dumps(requests).encode()
            call = urllib.request.Request(f"{address}/api/rewardanything_batch", body, {"content-type": "application/json"})
            begun = time.perf_counter()
            with urllib.request.urlopen(call, timeout=600) as answer:
                results = json.load(answer)
            seconds = time.perf_counter() - begun
            scores = [(one.get("results") or {}).get("scores") or {} for one in results]
            whole = sum(len(one) == len(request["responses"]) for one, request in zip(scores, requests))
            placed = sum(set(one) == set(request["responses"]) for one, request in zip(scores, requests))
            if best is None or seconds < best[0]:
                best = (seconds, whole, placed)
        return best
    finally:
        server.terminate()
        server.wait()


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def main():
    dicast, urls = sys.argv[1], sys.argv[2:]
    requests = items()
    for url in urls:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            rows = {"reference server": theirs(url, requests, folder)}
            ways = {
                "dicast batch": {"verdict": "auto"},
                "dicast batch, by a grammar": {"verdict": "grammar"},
                "dicast batch, no distributions": {"top_logprobs": 0},
            }
            for label, settings in ways.items():
                rows[label] = min(ours(dicast, url, requests, folder, run, settings) for run in range(ROUNDS))
            for label, (seconds, whole, placed) in rows.items():
                ratio = rows["reference server"][0] / seconds
                speed = f"{len(requests) / seconds:.1f} judgments/s ({ratio:.2f})"
                print(f"{url} {label}: {speed}, {whole} whole, {placed} at the place of their request", flush=True)


main()
