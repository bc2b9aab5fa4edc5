"""Generates items of two criteria, worded in two ways: as one principle, and as a rubric with a principle for each criterion. All
wordings are held out. Each item is written twice, to two files, so that both ways are judged on the same responses."""

import argparse
import json
import random
from pathlib import Path

import attributes
import data
from heldout import NAMES
from principles import principle

# The second criterion orders what is equal in the first: five scores lie a quarter of the scale apart or more.
WEIGHTS = (5, 1)


def one(rng):
    """An item by its principle and by its rubric, with a single best answer."""
    while True:
        criteria = data.criteria_for(rng, pair=True)
        item = data.make(rng, criteria, held=True, count=rng.choice([2, 2, 3, 4, 5]), budget=rng.choice([300, 600, 900, 1500]))
        keys = attributes.adherence(criteria, item["levels"])
        if keys.count(max(keys)) == 1:
            break
    scores, _ = attributes.verdict(criteria, item["levels"])
    names = NAMES[: len(scores)]
    common = dict(prompt=item["prompt"], responses=dict(zip(names, item["answers"])), scores=dict(zip(names, scores)))
    single = [principle(rng, [criterion], item["keyword"], held=True) for criterion in criteria]
    rubric = [dict(criterion=text, weight=weight) for text, weight in zip(single, WEIGHTS)]
    return dict(principle=principle(rng, criteria, item["keyword"], held=True), **common), dict(rubric=rubric, **common)


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--count", type=int, default=400)
    args.add_argument("--by-principle", type=Path, required=True, metavar="FILE.jsonl")
    args.add_argument("--by-rubric", type=Path, required=True, metavar="FILE.jsonl")
    a = args.parse_args()
    rng = random.Random("rubrics")
    pairs = [one(rng) for _ in range(a.count)]
    for path, items in zip((a.by_principle, a.by_rubric), zip(*pairs)):
        path.write_text("".join(json.dumps({"id": str(i), **item}, ensure_ascii=False) + "\n" for i, item in enumerate(items, 1)))


if __name__ == "__main__":
    main()
