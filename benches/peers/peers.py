"""Compares Dicast with its peers: the same requests through each stack in turns, ratios with their spread. See README.md.

Started by run.sh, which installs what is missing.
"""

import argparse
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import stacks  # noqa: E402


class Settings:
    def __init__(self, args, folder):
        self.folder = folder
        self.dicast = Path(os.environ["DICAST"]).resolve()
        self.llama_server, self.vllm_python = os.environ["LLAMA_SERVER"], os.environ["VLLM_PYTHON"]
        self.gguf, self.hf, self.profile = (Path(path).resolve() for path in (args.gguf, args.hf, args.profile))
        self.callers, self.reasoning = args.callers, args.reasoning
        # On a tiny model two threads of llama-server wait for each other longer than they compute.
        small = self.gguf.stat().st_size < 64 * 2**20
        self.llama_threads = args.llama_threads or (1 if small else os.cpu_count())
        # The reference has one limit for reasoning and verdict together.
        self.tokens = args.reasoning + 50 if args.reasoning else 400
        self.running = {}

    def shared(self, kind):
        """The one server of a kind that several stacks share."""
        if kind not in self.running:
            stack = kind(self)
            stack.start()
            stack.pause(True)
            self.running[kind] = stack
        self.running[kind].pause(False)
        return self.running[kind]


def items(path, count, skip):
    """Requests with unique names, so that an answer shows which request it belongs to; and the names of the best responses."""
    requests, best = [], []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not skip <= number < skip + count:
                continue
            item = json.loads(line)
            own = {name: f"{number}-{name}" for name in item["responses"]}
            responses = {own[name]: text for name, text in item["responses"].items()}
            requests.append({"principle": item["principle"], "prompt": item["prompt"], "responses": responses})
            best.append(own.get(item.get("best")))
    if len(requests) < count:
        sys.exit(f"{path} has too few requests for {skip + count}")
    return requests, best


def judged(requests, best, done):
    """Figures of a round."""
    names = [set(request["responses"]) for request in requests]
    whole = [
        set(one.get("scores") or {}) == set(one.get("ranking") or []) and len(one["scores"]) == len(one["ranking"]) > 0
        for one in (result if "error" not in result else {"scores": {}, "ranking": []} for result in done.results)
    ]
    # A complete verdict for any request, and for the request in whose place it came.
    valid = sum(full and set(one["scores"]) in names for full, one in zip(whole, done.results))
    placed = [full and set(one["scores"]) == own for full, one, own in zip(whole, done.results, names)]
    right = sum(put and one["ranking"][0] == top for put, one, top in zip(placed, done.results, best) if top)
    labelled = sum(top is not None for top in best)
    times = sorted(result["seconds"] for result in done.results if "seconds" in result)
    quantile = lambda share: times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] if times else None
    count = len(requests)
    return {
        "judgments_per_s": count / done.seconds, "verdicts_per_s": sum(placed) / done.seconds, "seconds": done.seconds,
        "p50": quantile(0.5), "p99": quantile(0.99), "cpu_s": done.cpu / count, "peak_bytes": done.peak, "valid": valid / count,
        "placed": sum(placed) / count, "agree": right / labelled if labelled else None,
    }


def measure(args, folder):
    wanted = [kind for kind in stacks.ALL if not args.only or kind.name in args.only]
    settings = Settings(args, folder)
    running, rounds = [], {kind.name: [] for kind in wanted}
    try:
        for kind in wanted:
            print(f"starting {kind.what}", file=sys.stderr, flush=True)
            stack = settings.shared(kind) if kind in (stacks.Llama, stacks.Vllm) else kind(settings)
            if stack not in settings.running.values():
                # Registered before it starts: whatever it has started is ended in any case.
                running.append(stack)
                stack.start()
            stack.pause(True)
            if stack not in running:
                running.append(stack)
        # One warm-up round each: caches fill, grammars compile.
        skip = 0
        for number in range(args.rounds + 1):
            count = args.requests if number else min(args.requests, 2 * args.callers)
            requests, best = items(args.input, count, skip)
            skip += count
            order = running[:]
            random.Random(number).shuffle(order)
            for stack in order:
                stack.pause(False)
                figures = judged(requests, best, stack.round(requests, number))
                stack.pause(True)
                if number:
                    rounds[stack.name].append(figures)
                    rate, placed = figures["judgments_per_s"], figures["placed"]
                    print(f"round {number}: {stack.what}: {rate:.2f} judgments/s, {placed:.0%} at their place", file=sys.stderr, flush=True)
    finally:
        for stack in [*running, *settings.running.values()]:
            stack.end()
    return [(stack, rounds[stack.name]) for stack in running]


def median(rows, key):
    values = [row[key] for row in rows if row[key] is not None]
    return statistics.median(values) if values else None


def table(results):
    ours = next((rows for stack, rows in results if stack.name == "dicast"), None)
    lines = [
        "| stack | judgments/s | Dicast is faster by | p50 | p99 | CPU each | memory | valid | at its place | agree with the label |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    show = lambda value, text: "-" if value is None else text.format(value)
    for stack, rows in results:
        ratio = "-"
        if ours and rows is not ours:
            # Within the same round: other work of the machine affects both.
            ratios = sorted(own["judgments_per_s"] / row["judgments_per_s"] for own, row in zip(ours, rows))
            ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        lines.append("| " + " | ".join([
            stack.what, show(median(rows, "judgments_per_s"), "{:.2f}"), ratio, show(median(rows, "p50"), "{:.3f} s"),
            show(median(rows, "p99"), "{:.3f} s"), show(median(rows, "cpu_s"), "{:.3f} s"),
            show(median(rows, "peak_bytes") / 2**20, "{:.0f} MiB"), show(median(rows, "valid"), "{:.0%}"),
            show(median(rows, "placed"), "{:.0%}"), show(median(rows, "agree"), "{:.0%}"),
        ]) + " |")
    return "\n".join(lines)


def chart(results):
    """Bars of the judgments a second that came in their place, as SVG."""
    bars = [(stack.what, median(rows, "judgments_per_s"), median(rows, "verdicts_per_s")) for stack, rows in results]
    most = max(rate for _, rate, _ in bars)
    height = 34 * len(bars) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" role="img" aria-label="Judgments a second">',
        "<style>text{font:13px system-ui,sans-serif;fill:#52514e}.v{fill:#0b0b0b}.r{fill:#2a78d6}.a{fill:#cde2fb}"
        "@media(prefers-color-scheme:dark){text{fill:#c3c2b7}.v{fill:#fff}.r{fill:#3987e5}.a{fill:#104281}}</style>",
        '<rect class="r" x="230" y="8" width="12" height="12" rx="2"/><text x="248" y="19">verdicts a second at their place</text>',
        '<rect class="a" x="480" y="8" width="12" height="12" rx="2"/><text x="498" y="19">all answers</text>',
    ]
    for row, (what, rate, good) in enumerate(bars):
        top, wide = 34 + 34 * row, 500 / most
        out += [
            f'<text x="220" y="{top + 16}" text-anchor="end">{what}</text>',
            f'<rect class="a" x="230" y="{top}" width="{rate * wide:.1f}" height="22" rx="3"/>',
            f'<rect class="r" x="230" y="{top}" width="{good * wide:.1f}" height="22" rx="3"/>',
            f'<text class="v" x="{238 + rate * wide:.1f}" y="{top + 16}">{good:.1f}</text>',
        ]
    return "\n".join([*out, "</svg>\n"])


def machine():
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=stacks.ROOT, capture_output=True, text=True).stdout.strip()
    load = os.getloadavg()[0]
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    return {"date": date, "commit": commit, "processor": names[0] if names else platform.processor(), "threads": os.cpu_count(), "load_before": load}


def main():
    demo = stacks.ROOT / "demo"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that are measured [3]")
    parser.add_argument("--requests", type=int, default=100, help="requests of a round; each round has new ones [100]")
    parser.add_argument("--callers", type=int, default=8, help="judgments in flight [8]")
    parser.add_argument("--only", type=lambda text: text.split(","), help="stacks: " + ", ".join(kind.name for kind in stacks.ALL))
    parser.add_argument("--input", default=demo / "heldout.jsonl", help="requests, with the name of the best under \"best\"")
    parser.add_argument("--gguf", default=demo / "dicast-demo.gguf", help="the weights for Dicast and llama-server")
    parser.add_argument("--hf", default=demo / "hf", help="the same weights for vLLM and transformers")
    parser.add_argument("--profile", default=demo / "dicast-demo.profile.json", help="the judge profile")
    parser.add_argument("--reasoning", type=int, default=0, help="budget of the reasoning, in tokens; 0 leaves it open")
    parser.add_argument("--llama-threads", type=int, help="threads of llama-server [1 for less than 64 MiB of weights, else all]")
    parser.add_argument("--json", help="where to write all figures")
    parser.add_argument("--svg", help="where to write a chart")
    args = parser.parse_args()
    unknown = set(args.only or []) - {kind.name for kind in stacks.ALL}
    if unknown or args.rounds < 1 or args.requests < 1 or args.callers < 1:
        parser.error(f"unknown stacks: {', '.join(sorted(unknown))}" if unknown else "counts must be 1 or more")
    # If it is ended from outside, it also ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    before = machine()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(args, Path(folder))
    print(f"{before['date']}, commit {before['commit']}, {before['processor']}, {before['threads']} threads, load before "
          f"{before['load_before']:.1f}; {args.rounds} rounds of {args.requests} requests, {args.callers} in flight; medians\n")
    print(table(results))
    if args.json:
        figures = {"machine": before, "rounds": {stack.name: rows for stack, rows in results}}
        Path(args.json).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if args.svg:
        Path(args.svg).write_text(chart(results), encoding="utf-8")


main()
