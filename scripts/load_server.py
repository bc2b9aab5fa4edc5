#!/usr/bin/env python3
"""Compares `dicast serve` with the reference's server on the same engine, and prints the ratio.

Both get the same requests at POST /api/rewardanything, one after the other, with the same number of clients. Loopback only; ends
after --seconds for each.

    llama-server -m demo/dicast-demo.gguf --port 18510 --alias demo -np 8 -c 16384 --jinja
    dicast serve -c config.json --port 18520          # {"api_base": "http://127.0.0.1:18510/v1", "api_model": "demo", ...}
    rewardanything serve -c config.json --port 18530
    scripts/load_server.py --dicast http://127.0.0.1:18520 --reference http://127.0.0.1:18530
"""

import argparse
import http.client
import json
import statistics
import threading
import time
from urllib.parse import urlsplit

TEXTS = [
    "Build small projects.",
    "First of all, one should consider that learning takes time, and that there are many ways to begin.",
    "Read the official tutorial, then write a program that you need.",
    "No.",
]


def body(number: int) -> bytes:
    """A request; no two are the same, so that no cache answers."""
    request = {
        "principle": "I prefer short and concise responses.",
        "prompt": f"How do I learn Python? ({number})",
        "responses": {f"r{index}": text for index, text in enumerate(TEXTS)},
        "mask_responses": True,
    }
    return json.dumps(request).encode()


def is_complete(answer: bytes) -> bool:
    try:
        results = json.loads(answer)["results"]
        return len(results["scores"]) == len(TEXTS) and len(results["best-to-worst"]) == len(TEXTS)
    except (ValueError, KeyError, TypeError):
        return False


def measure(name: str, url: str, clients: int, seconds: float) -> float:
    """Judgments a second."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise SystemExit(f"{url}: this script loads loopback addresses only")
    end = time.monotonic() + seconds
    lock, times, faults, numbers = threading.Lock(), [], [], iter(range(1_000_000))

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        while time.monotonic() < end:
            with lock:
                number = next(numbers)
            began = time.monotonic()
            try:
                connection.request("POST", "/api/rewardanything", body(number), {"content-type": "application/json"})
                answer = connection.getresponse()
                good, status = is_complete(answer.read()), answer.status
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
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    if not 1 <= args.clients <= 256 or not 1 <= args.seconds <= 120:
        raise SystemExit("--clients is from 1 to 256, --seconds from 1 to 120")
    measure("warm-up, dicast", args.dicast, 1, 2)
    ours = measure("dicast", args.dicast, args.clients, args.seconds)
    if args.reference:
        measure("warm-up, reference", args.reference, 1, 2)
        theirs = measure("reference", args.reference, args.clients, args.seconds)
        print(f"ratio dicast / reference: {ours / theirs:.2f}" if theirs else "the reference gave no complete verdict")


if __name__ == "__main__":
    main()
