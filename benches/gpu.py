"""Measures judgments of random models of Qwen3-8B's shape on a GPU, and the share of the memory's bandwidth that they reach.
Called by gpu.sh."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import roofline

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "target/fixtures"
KINDS = {"bf16": "BF16", "q8_0": "Q8_0"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dicast", type=Path, required=True, help="the program to measure")
    parser.add_argument("--cpu", action="store_true", help="a proof on the processor, with a tiny model")
    parser.add_argument("--quant", default="bf16,q8_0", help="how the weights are stored")
    parser.add_argument("--concurrency", default="1,8,32,128", help="judgments in flight")
    parser.add_argument("--reasoning", type=int, default=512, help="tokens of reasoning")
    parser.add_argument("--prompt-words", default="300", help="words of a prompt")
    parser.add_argument("--rounds", type=int, default=3, help="judgments measured for each one in flight")
    parser.add_argument("--bandwidth", type=float, help="of the GPU's memory in GB/s, if the table does not know it")
    parser.add_argument("--output", type=Path, default=ROOT / "target/gpu-report", help="the report, without its ending")
    args = parser.parse_args()
    args.quant = args.quant.split(",")
    unknown = [kind for kind in args.quant if kind not in KINDS]
    if unknown:
        parser.error(f"--quant {','.join(unknown)}: choose from {', '.join(KINDS)}")
    args.concurrency = [int(number) for number in args.concurrency.split(",")]
    if args.cpu:
        args.concurrency, args.reasoning, args.prompt_words = [1, 4], 16, "20"
    return args


def gpu():
    """The name of the first GPU, its memory in GB, and its driver."""
    told = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits", "--id=0"],
        capture_output=True, text=True, check=True,
    )
    name, memory, driver = (part.strip() for part in told.stdout.splitlines()[0].split(","))
    return name, float(memory) * 2**20 / 1e9, driver


def bandwidth(name):
    """The memory's bandwidth from the data sheet, in GB/s."""
    known = {key: sheet[1] for key, sheet in roofline.GPUS.items() if all(word in name for word in key.split()[:1])}
    known = {key: value for key, value in known.items() if "A100" not in key or "80GB" in name.replace(" ", "")}
    return max(known.items(), key=lambda entry: len(entry[0]))[1] if known else None


def model(kind, cpu):
    shape = "tiny" if cpu else "8b"
    path = FIXTURES / f"random-qwen3-{shape}-{kind}.gguf"
    if not path.exists():
        print(f"making {path.name}", file=sys.stderr)
        subprocess.run(
            [sys.executable, ROOT / "scripts/make_gguf.py", path, "--tokenizer", FIXTURES / "qwen3", "--shape", shape,
             "--quant", kind], check=True,
        )
    return path


def measure(args, path, count, folder):
    config, report = folder / "config.json", folder / "report.json"
    most = max(args.concurrency)
    # A generated request has about 900 tokens with these words.
    need = int(args.prompt_words) * 2 + args.reasoning + 1200
    config.write_text(json.dumps({
        "local": {
            "max_sequences": most, "context_tokens": need, "kv_cache_tokens": need * most,
            "gpu_layers": 0 if args.cpu else 999,
        },
        "limits": {"max_queue": 4 * most},
    }), encoding="utf-8")
    done = subprocess.run(
        [args.dicast, "bench", "--config", config, "--model", path, "--concurrency", str(count), "--requests",
         str(max(args.rounds * count, 4)), "--prompt-words", args.prompt_words, "--max-reasoning-tokens",
         str(args.reasoning), "--timeout-ms", "3600000", "--json", report, "--quiet"],
        capture_output=True, text=True,
    )
    if done.returncode != 0:
        return {"failed": done.stderr.strip()[-600:] or f"it ended with {done.returncode}"}
    return json.loads(report.read_text(encoding="utf-8"))


def least(point, count, weight_bytes, speed):
    """The least time in seconds of a judgment among `count`, given the written tokens and the memory's bandwidth in bytes/s."""
    tokens, judged = point["tokens"], max(point["succeeded"], 1)
    steps = (tokens["reasoning"] + tokens["verdict"] - tokens["forced"]) / judged
    held = (tokens["prompt"] + (tokens["reasoning"] + tokens["verdict"]) / 2) / judged
    # Prompts are bound by arithmetic, not by bandwidth: they need at least one pass over the weights.
    passes = steps + 1
    return passes * (roofline.READ * weight_bytes + count * held * roofline.KV_BYTES) / speed


def rows(kind, reports, speed):
    for count, report in reports.items():
        if "failed" in report:
            yield [KINDS[kind], count, "failed: " + report["failed"].splitlines()[-1], "", "", "", "", ""]
            continue
        point = report["points"][0]
        wait, rate = point["latency_ms"]["mean"] / 1e3, point["judgments_per_s"]
        share = f"{least(point, count, roofline.WEIGHTS[KINDS[kind]], speed) / (count / rate):.0%}" if speed else ""
        per_step = point["batch"]["tokens_per_step"] if point["batch"] else None
        yield [
            KINDS[kind], count, f"{rate:.2f}", f"{wait:.2f} s", f"{point['tokens']['written_per_s']:.0f}",
            f"{point['tokens']['computed_per_s']:.0f}", f"{per_step:.1f}" if per_step else "", share,
        ]


def main():
    args = arguments()
    if args.cpu:
        name, memory, driver, speed = "no GPU: a proof on the processor, its figures mean nothing", None, None, None
    else:
        name, memory, driver = gpu()
        speed = args.bandwidth or bandwidth(name)
        if speed is None:
            sys.exit(f"gpu.py: the bandwidth of {name} is not known: give it with --bandwidth GB/s, from its data sheet")
    measured, table = {}, []
    for kind in args.quant:
        path = model(kind, args.cpu)
        measured[kind] = {}
        for count in args.concurrency:
            print(f"{KINDS[kind]}, {count} in flight", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                measured[kind][count] = measure(args, path, count, Path(folder))
        table += rows(kind, measured[kind], speed and speed * 1e9)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    facts = {
        "gpu": name, "memory_gb": memory, "driver": driver, "bandwidth_gb_s": speed, "commit": commit,
        "system": platform.platform(), "processors": os.cpu_count(), "reasoning_tokens": args.reasoning,
    }
    head = ["weights", "in flight", "judgments/s", "mean wait", "written/s", "computed/s", "tokens/step", "of the bandwidth"]
    lines = ["# Dicast on a GPU", ""] + [f"- {key}: {value}" for key, value in facts.items() if value is not None]
    lines += ["", "| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table]
    lines += ["", "Of the bandwidth: the time that reading weights, keys and values takes at the data sheet's rate, as a share of the "
              "time that was measured. Decoding is meant to reach 80 % at one in flight."]
    args.output.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    args.output.with_suffix(".json").write_text(json.dumps({**facts, "reports": measured}, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))
    if any("failed" in report for reports in measured.values() for report in reports.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
