"""Generates the held-out items: phrasings of principles that training never drew. Half of them are whole principles,
half are composed of held-out frames and phrases, as is the opposite of two criteria that no whole principle asks for."""

import argparse
import json
import random
from pathlib import Path

import attributes
import data
from attributes import FAMILIES
from principles import HELD_WHOLE_PAIRS, HIGH, held_whole, principle

NAMES = ("ash", "birch", "cedar", "elm", "fir")


def one(rng, family):
    """An item with a single best answer and, if the scale allows it, a single worst one."""
    whole = rng.random() < 0.5
    while True:
        if whole and family == "pair":
            criteria = list(rng.choice(list(HELD_WHOLE_PAIRS)))
        else:
            criteria = data.criteria_for(rng, None if family == "pair" else family, pair=family == "pair")
        item = data.make(rng, criteria, held=True, count=rng.choice([2, 2, 3, 4, 5]), budget=rng.choice([300, 600, 900, 1500]))
        keys = attributes.adherence(criteria, item["levels"])
        if keys.count(max(keys)) == 1:
            break
    scores, order = attributes.verdict(criteria, item["levels"])
    against = [(f, -d) for f, d in criteria]
    asks = lambda wanted: whole and held_whole(rng, wanted, item["keyword"]) or principle(rng, wanted, item["keyword"], held=True)
    names = NAMES[: len(scores)]
    return dict(
        family=family, wording="whole" if whole else "composed", direction="prefer" if criteria[0][1] == HIGH else "avoid",
        principle=asks(criteria), opposite=asks(against), prompt=item["prompt"],
        responses=dict(zip(names, item["answers"])), best=names[order[0]], order=[names[i] for i in order], scores=dict(zip(names, scores)))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", type=Path, default=Path(__file__).parent / "heldout.jsonl")
    a = args.parse_args()
    rng = random.Random("held out")
    families = [*FAMILIES, "pair"]
    items = [one(rng, families[i % len(families)]) for i in range(1000)]
    a.out.write_text("".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items))


if __name__ == "__main__":
    main()
