#!/usr/bin/env python3
"""Keeps criterion's measurements as a record, and compares two records.

    cargo bench --bench host                                  # measures
    scripts/bench_record.py write FILE.json [--only host]     # writes down the last measurement
    scripts/bench_record.py show FILE.json                    # as a table in Markdown, for benches/record/
    scripts/bench_record.py compare OLD.json NEW.json [--fail-above 10%]

A record holds the machine, the commit and the date, and for each benchmark the typical time in nanoseconds with its 95 %
interval. A comparison prints the ratio of the times; it calls one slower or faster only if the two intervals do not overlap.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def output(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def measured(only):
    """Criterion's results, by the name of the benchmark."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "criterion"
    found = {}
    for path in sorted(target.glob("**/new/estimates.json")):
        name = json.loads((path.parent / "benchmark.json").read_text(encoding="utf-8"))["full_id"]
        if only and not any(name.startswith(prefix) for prefix in only):
            continue
        estimates = json.loads(path.read_text(encoding="utf-8"))
        # The slope over the numbers of iterations is more precise, if criterion could fit it.
        typical = estimates.get("slope") or estimates["mean"]
        interval = typical["confidence_interval"]
        found[name] = [typical["point_estimate"], interval["lower_bound"], interval["upper_bound"]]
    return found


def write(args):
    found = measured(args.only)
    if not found:
        sys.exit("nothing was measured yet: run `cargo bench --bench host` first")
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    record = {
        "criterion_record": 1,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": output("git", "rev-parse", "--short", "HEAD"),
        "changed_since": bool(changed),
        "compiler": output("rustc", "--version"),
        "processor": processor(),
        "threads": os.cpu_count(),
        "load": list(os.getloadavg()),
        "note": args.note,
        "nanoseconds": found,
    }
    Path(args.file).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{args.file}: {len(found)} benchmarks")


def read(path):
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{path}: {error}")
    if not isinstance(record, dict) or record.get("criterion_record") != 1:
        sys.exit(f"{path}: this is no record of bench_record.py (dicast bench --compare reads those of dicast bench)")
    return record


def time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def show(args):
    record = read(args.file)
    changed = ", with changes" if record["changed_since"] else ""
    print(f"## {record['date'][:10]}, commit {record['commit']}{changed}\n")
    print(f"- Machine: {record['processor']}, {record['threads']} threads, load {record['load'][0]:.1f}; {record['compiler']}")
    if record["note"]:
        print(f"- {record['note']}")
    print("\n| benchmark | time | 95 % interval |\n| --- | --- | --- |")
    for name, (typical, low, high) in record["nanoseconds"].items():
        print(f"| `{name}` | {time(typical)} | {time(low)} to {time(high)} |")


def compare(args):
    old, new = read(args.old), read(args.new)
    for key in ("processor", "threads", "compiler"):
        if old[key] != new[key]:
            print(f"note: the two differ in their {key}: {old[key]} and {new[key]}")
    both = [name for name in old["nanoseconds"] if name in new["nanoseconds"]]
    if not both:
        sys.exit("the two records have no benchmark in common")
    width = max(map(len, both))
    past = []
    print(f"{'benchmark':<{width}}  {'before':>9}  {'now':>9}  ratio")
    for name in both:
        (before, low_before, high_before), (now, low_now, high_now) = old["nanoseconds"][name], new["nanoseconds"][name]
        word = "slower" if low_now > high_before else "faster" if high_now < low_before else ""
        print(f"{name:<{width}}  {time(before):>9}  {time(now):>9}  {now / before:5.2f}  {word}".rstrip())
        if word == "slower" and args.fail_above is not None and now / before - 1 > args.fail_above:
            past.append(f"{name} is {100 * (now / before - 1):.0f} % slower")
    for what, one, other in (("only before", old, new), ("only now", new, old)):
        alone = [name for name in one["nanoseconds"] if name not in other["nanoseconds"]]
        if alone:
            print(f"{what}: {', '.join(alone)}")
    if past:
        sys.exit("\n".join(past))


def percent(text):
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        value = -1
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError("must be a percentage from 0 to 1000, such as 10%")
    return value / 100


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("write", help="write down what criterion measured last")
    verb.add_argument("file")
    verb.add_argument("--only", action="append", metavar="PREFIX", help="only benchmarks whose names begin so; may be repeated")
    verb.add_argument("--note", help="what else is worth knowing, such as what else ran")
    verb.set_defaults(run=write)
    verb = verbs.add_parser("show", help="print a record as Markdown")
    verb.add_argument("file")
    verb.set_defaults(run=show)
    verb = verbs.add_parser("compare", help="compare two records")
    verb.add_argument("old")
    verb.add_argument("new")
    verb.add_argument("--fail-above", type=percent, metavar="PERCENT", help="end with 1 where one is slower by more")
    verb.set_defaults(run=compare)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
