"""Measures judgments a second on servers: Dicast's batch, and the reference's server on the same server, in turns.

    bench_servers.py DICAST URL...

Runs in an environment that has `rewardanything`. Each server serves the demonstration judge under the name "demo". A round
takes requests that no round before it had; all ways take the same, each round beginning with another way. Dicast's time includes its start and its probe of the server;
the reference's server has started before.
"""

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
REQUESTS = 300
AT_ONCE = 8
WAYS = {
    "dicast batch": {"verdict": "auto"},
    "dicast batch, with the tokenizer": {"tokenizer": str(ROOT / "demo/hf")},
    "dicast batch, by a grammar": {"verdict": "grammar"},
    "dicast batch, no distributions": {"top_logprobs": 0},
}


def rounds():
    lines = (ROOT / "demo/heldout.jsonl").read_text(encoding="utf-8").splitlines()
    items = [{key: json.loads(line)[key] for key in ("principle", "prompt", "responses")} for line in lines]
    return [items[at * REQUESTS : (at + 1) * REQUESTS] for at in range(ROUNDS)]


def ours(dicast, url, requests, folder, settings):
    source, config, target = folder / "in.jsonl", folder / "dicast.json", folder / "out.jsonl"
    for old in folder.glob("out.jsonl*"):
        old.unlink()
    source.write_text("".join(json.dumps(request) + "\n" for request in requests), encoding="utf-8")
    config.write_text(json.dumps({"model": url, "remote": {"num_workers": AT_ONCE, **settings}}), encoding="utf-8")
    command = [dicast, "batch", source, "-o", target, "--config", config, "--profile", ROOT / "demo/dicast-demo.profile.json"]
    begun = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    results = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    whole = sum("error" not in one and set(one.get("scores", {})) == set(request["responses"]) for one, request in zip(results, requests))
    return seconds, whole, whole


@contextlib.contextmanager
def reference_server(url, folder):
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
        yield address
    finally:
        server.terminate()
        server.wait()


def theirs(address, requests):
    body = json.dumps(requests).encode()
    call = urllib.request.Request(f"{address}/api/rewardanything_batch", body, {"content-type": "application/json"})
    begun = time.perf_counter()
    with urllib.request.urlopen(call, timeout=600) as answer:
        results = json.load(answer)
    seconds = time.perf_counter() - begun
    scores = [(one.get("results") or {}).get("scores") or {} for one in results]
    whole = sum(len(one) == len(request["responses"]) for one, request in zip(scores, requests))
    placed = sum(set(one) == set(request["responses"]) for one, request in zip(scores, requests))
    return seconds, whole, placed


def free_port():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def main():
    dicast, urls = sys.argv[1], sys.argv[2:]
    for url in urls:
        rows = {label: [] for label in ["reference server", *WAYS]}
        with tempfile.TemporaryDirectory() as name, reference_server(url, Path(name)) as address:
            labels = list(rows)
            for place, requests in enumerate(rounds()):
                for label in labels[place:] + labels[:place]:
                    ran = ours(dicast, url, requests, Path(name), WAYS[label]) if label in WAYS else theirs(address, requests)
                    rows[label].append(ran)
        for label, runs in rows.items():
            ratios = sorted(theirs[0] / ours[0] for theirs, ours in zip(rows["reference server"], runs))
            seconds, whole, placed = (sum(column) for column in zip(*runs))
            speed = f"{ROUNDS * REQUESTS / seconds:.1f} judgments/s, {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{url} {label}: {speed}, {whole} whole, {placed} at the place of their request", flush=True)


main()
