#!/usr/bin/env python3
"""Compares `dicast serve` with the reference's server on the same engine, and prints the ratio.

Both get requests from --input at POST /api/rewardanything, one server after the other, with the same number of clients. The servers take
turns (--rounds), and no request is sent twice, so that no cache answers. Loopback only; a turn ends after --seconds.

    llama-server -m demo/dicast-demo.gguf --port 18510 --alias demo -np 8 -c 16384 --jinja
    dicast serve -c dicast.json --port 18520          # {"model": "http://127.0.0.1:18510", "remote": {"num_workers": 64},
                                                      #  "profile": "demo/dicast-demo.profile.json"}
    rewardanything serve -c reference.json --port 18530   # {"api_base": "http://127.0.0.1:18510/v1", "api_model": "demo", ...}
    scripts/load_server.py --dicast http://127.0.0.1:18520 --reference http://127.0.0.1:18530
"""

import argparse
import http.client
import json
import pathlib
import statistics
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

HELDOUT = pathlib.Path(__file__).parent.parent / "demo" / "heldout.jsonl"


def is_complete(answer: bytes, responses: int) -> bool:
    try:
        results = json.loads(answer)["results"]
        return len(results["scores"]) == responses and len(results["best-to-worst"]) == responses
    except (ValueError, KeyError, TypeError):
        return False


def measure(name: str, url: str, clients: int, seconds: float, requests: Iterator[dict]) -> float:
    """Judgments a second. Ends early if there are no more requests."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SystemExit(f"{url}: this script loads loopback addresses only")
    end = time.monotonic() + seconds
    lock, times, faults = threading.Lock(), [], []

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        while time.monotonic() < end:
            with lock:
                request = next(requests, None)
            if request is None:
                return
            began = time.monotonic()
            try:
                connection.request("POST", "/api/rewardanything", json.dumps(request), {"content-type": "application/json"})
                answer = connection.getresponse()
                good, status = is_complete(answer.read(), len(request["responses"])), answer.status
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                good, status = False, type(error).__name__
            with lock:
                if good and status == 200:
                    times.append(time.monotonic() - began)
                else:
                    faults.append(status)

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    rate = len(times) / took
    times.sort()
    p50 = statistics.median(times) if times else float("nan")
    p99 = times[min(len(times) - 1, round(len(times) * 0.99))] if times else float("nan")
    kinds = {str(kind): faults.count(kind) for kind in set(faults)}
    print(
        f"{name}: {rate:.2f} complete verdicts/s, p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, "
        f"{len(times)} complete, {len(faults)} not {kinds or ''}",
        flush=True,
    )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicast", required=True, metavar="URL")
    parser.add_argument("--reference", metavar="URL")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--input", type=pathlib.Path, default=HELDOUT, help="requests, one a line")
    args = parser.parse_args()
    if not 1 <= args.clients <= 256 or not 1 <= args.seconds <= 120 or not 1 <= args.rounds <= 100:
        raise SystemExit("--clients is from 1 to 256, --seconds from 1 to 120, --rounds from 1 to 100")
    with args.input.open(encoding="utf-8") as lines:
        known = [json.loads(line) for line in lines]
    fields = ("principle", "prompt", "responses")
    requests = iter([{**{field: one[field] for field in fields}, "mask_responses": True} for one in known])
    servers = {name: url for name, url in (("dicast", args.dicast), ("reference", args.reference)) if url}
    for name, url in servers.items():
        measure(f"warm-up, {name}", url, 1, 2, requests)
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(args.rounds):
        for name, url in servers.items():
            rates[name].append(measure(name, url, args.clients, args.seconds, requests))
    if args.reference:
        ratios = sorted(ours / theirs for ours, theirs in zip(*rates.values(), strict=True) if theirs)
        if not ratios:
            raise SystemExit("the reference gave no complete verdict")
        print(f"ratio dicast / reference: median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")
    if next(requests, None) is None:
        print(f"{args.input} had fewer requests than the turns could have used: ask for fewer or shorter ones")


if __name__ == "__main__":
    main()
