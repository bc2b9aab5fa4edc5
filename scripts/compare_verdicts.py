#!/usr/bin/env python3
"""Compares results of `dicast batch`, and sums up their times.

    compare_verdicts.py agree ONE.jsonl OTHER.jsonl     how often two engines give the same verdict
    compare_verdicts.py times RESULTS.jsonl             where the time of a judgment went

Fails if a result is an error, or if the two do not have the same number of results. Only the standard library.
"""

import json
import pathlib
import sys


def results(path):
    lines = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]
    if not lines:
        sys.exit(f"{path}: no results")
    failed = [line["error"] for line in lines if "error" in line]
    if failed:
        sys.exit(f"{path}: {len(failed)} of {len(lines)} judgments failed, first: {json.dumps(failed[0])}")
    return lines


def agree(one, other):
    ones, others = results(one), results(other)
    if len(ones) != len(others):
        sys.exit(f"{len(ones)} results against {len(others)}")
    scores = sum(a["scores"] == b["scores"] for a, b in zip(ones, others))
    rankings = sum(a["ranking"] == b["ranking"] for a, b in zip(ones, others))
    print(f"verdicts: {len(ones)}; same scores: {scores}; same ranking: {rankings}")
    pairs = [(a["scores"][name], b["scores"][name]) for a, b in zip(ones, others) for name in a["scores"]]
    print(f"scores: {len(pairs)}; mean difference: {sum(abs(a - b) for a, b in pairs) / len(pairs):.3f}")
    expected = [
        abs(a["expected_scores"][name] - b["expected_scores"][name])
        for a, b in zip(ones, others)
        if a.get("expected_scores") and b.get("expected_scores")
        for name in a["scores"]
    ]
    if expected:
        print(f"expected scores: {len(expected)}; mean difference: {sum(expected) / len(expected):.4f}; "
              f"largest: {max(expected):.4f}")
    else:
        print("expected scores: one of the two engines gives none")


def times(path):
    lines = results(path)
    kinds = ["queue", "prefill", "reasoning", "verdict"]
    whole = []
    for line in lines:
        whole.append(sum(line["timing_ms"][kind] for kind in kinds))
    whole.sort()
    at = lambda share: whole[min(len(whole) - 1, int(share * len(whole)))]
    print(f"judgments: {len(lines)}; milliseconds: median {at(0.5):.1f}, 90% {at(0.9):.1f}, most {whole[-1]:.1f}")
    for kind in kinds:
        print(f"  {kind}: mean {sum(line['timing_ms'][kind] for line in lines) / len(lines):.1f} ms")
    usage = [line["usage"] for line in lines]
    for kind in ["prompt_tokens", "reused_tokens", "reasoning_tokens", "verdict_tokens"]:
        print(f"  {kind}: mean {sum(each[kind] for each in usage) / len(usage):.0f}")


def main():
    match sys.argv[1:]:
        case ["agree", one, other]:
            agree(one, other)
        case ["times", path]:
            times(path)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
