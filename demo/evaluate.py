"""Prints how often the judge is right: per family, by pairs and best of N, position bias, and flips under the opposite
principle, each with a 95 % interval (bootstrap over items).

Without options it runs the exported Hugging Face form through the training framework, unguided. With --dicast and
--model it runs the same items through the command line of the engine.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import combinations, permutations, product
from pathlib import Path

HERE = Path(__file__).parent
RESAMPLES = 1000
EXAMPLE = dict(
    prompt="How do I learn Python programming effectively?",
    responses={
        "short": "Start with the official tutorial and practice every day.",
        "middle": "Start with Python fundamentals, practice daily with small coding exercises, and build projects that interest you. Read other people's code and ask questions in a community when you are stuck.",
        "long": "Learning Python effectively takes a structured approach. Begin with the basics: variables, data types, loops, conditionals and functions. Once you are comfortable with these, move on to data structures such as lists, dictionaries and sets, and learn how files and modules work. After that, study classes, error handling and testing. Practice each day, even if only for twenty minutes, and write small programs that solve a problem of your own. Read the code of open projects, join a community, and review what you wrote a month ago. Finally, pick an area such as web development, data analysis or automation, and build something larger, because nothing teaches as much as finishing a project.",
    })
EXAMPLE_PRINCIPLES = {
    "short": "I prefer clear, concise and helpful responses over long and detailed ones.",
    "long": "I prefer long and detailed responses over clear, concise and helpful ones.",
}


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def interval(values):
    """Mean and bootstrap interval of (right, total) counts per item."""
    if not values:
        return "      -"
    rng = random.Random(0)
    total = sum(n for _, n in values)
    means = []
    for _ in range(RESAMPLES):
        drawn = rng.choices(values, k=len(values))
        means.append(sum(r for r, _ in drawn) / max(1, sum(n for _, n in drawn)))
    means.sort()
    return f"{sum(r for r, _ in values) / total:.3f} [{means[25]:.3f} {means[-26]:.3f}] n={total}"


class ThroughTraining:
    def __init__(self, folder):
        import infer

        self.infer, self.judge = infer, infer.load(folder)

    def __call__(self, items):
        return self.infer.judge_items(self.judge, items)


class ThroughEngine:
    def __init__(self, program, model, more):
        self.program, self.model, self.more = program, model, more

    def __call__(self, items):
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder, "in.jsonl"), Path(folder, "out.jsonl")
            keys = ("principle", "prompt", "responses")
            source.write_text("".join(json.dumps({k: i[k] for k in keys}, ensure_ascii=False) + "\n" for i in items))
            # Failed lines are part of the measurement, so a non-zero exit status is not an error here.
            subprocess.run([self.program, "batch", source, "-o", result, "--model", self.model, *self.more])
            if not result.exists():
                raise SystemExit(f"{self.program} wrote no result")
            verdicts = read(result)
        if len(verdicts) != len(items):
            raise SystemExit(f"{len(items)} requests, {len(verdicts)} results")
        return [None if "error" in v else v for v in verdicts]


def turned(items, principle="principle", backwards=False):
    """The same items under another principle, or with the answers in reverse order."""
    out = []
    for item in items:
        names = list(item["responses"])
        names = names[::-1] if backwards else names
        out.append(dict(item, principle=item[principle], responses={n: item["responses"][n] for n in names}))
    return out


def rank_of(item):
    """A number per answer, lower is better; equal numbers are ties."""
    if "scores" in item:
        return {n: -s for n, s in item["scores"].items()}
    return {n: i for i, n in enumerate(item["order"])}


def unique_last(item):
    ranks = rank_of(item)
    return list(ranks.values()).count(max(ranks.values())) == 1


def counts(item, verdict):
    """(right, total) of pairs by score, and of best of N."""
    ranks = rank_of(item)
    pairs = [(a, b) if ranks[a] < ranks[b] else (b, a) for a, b in combinations(ranks, 2) if ranks[a] != ranks[b]]
    if not verdict:
        return (0, len(pairs)), (0, 1)
    right = sum(verdict["scores"][a] > verdict["scores"][b] for a, b in pairs)
    return (right, len(pairs)), (int(verdict["ranking"][0] == item["best"]), 1)


def flip(item, verdict, opposite):
    worst = item["order"][-1]
    return int(bool(verdict and opposite) and verdict["ranking"][0] == item["best"] and opposite["ranking"][0] == worst), 1


def table(title, items, verdicts, opposite):
    print(f"\n{title}: {len(items)} items, complete verdicts {sum(v is not None for v in verdicts)}/{len(verdicts)}")
    print(f"  {'family':<16} {'pairs':<30} {'best of N':<30} flip")
    kinds = lambda item: [item["family"], *([f"{item['wording']} wording"] if "wording" in item else [])]
    groups = sorted(dict.fromkeys(kind for i in items for kind in kinds(i)), key=lambda kind: "wording" in kind)
    for family in [*groups, "all"]:
        rows = [k for k, i in enumerate(items) if family in (*kinds(i), "all")]
        both = [counts(items[k], verdicts[k]) for k in rows]
        flips = [flip(items[k], verdicts[k], opposite[k]) for k in rows if unique_last(items[k])]
        print(f"  {family:<16} {interval([p for p, _ in both]):<30} {interval([b for _, b in both]):<30} {interval(flips)}")


def by_count(items, verdicts):
    print("\nBest of N by the number of answers, and the share of each position among the answers ranked first (and that are best)")
    for count in sorted({len(i["responses"]) for i in items}):
        rows = [(i, v) for i, v in zip(items, verdicts) if len(i["responses"]) == count]
        place = lambda i, name: list(i["responses"]).index(name)
        told = Counter(place(i, v["ranking"][0]) for i, v in rows if v)
        true = Counter(place(i, i["best"]) for i, v in rows if v)
        shares = " ".join(f"{told[p] / max(1, sum(told.values())):.2f}({true[p] / max(1, sum(true.values())):.2f})" for p in range(count))
        print(f"  N={count} {interval([counts(i, v)[1] for i, v in rows])}  positions {shares}")


def example(judge):
    """Three answers about learning Python in all six orders, under a principle and its opposite."""
    print("\nThe example of three answers about learning Python")
    for best, principle in EXAMPLE_PRINCIPLES.items():
        items = [dict(EXAMPLE, principle=principle, responses={n: EXAMPLE["responses"][n] for n in names}) for names in permutations(EXAMPLE["responses"])]
        verdicts = judge(items)
        order = ["short", "middle", "long"] if best == "short" else ["long", "middle", "short"]
        first = sum(bool(v) and v["ranking"][0] == best for v in verdicts)
        whole = sum(bool(v) and v["ranking"] == order for v in verdicts)
        print(f"  best right in {first} of 6 orders, whole ranking in {whole}: {principle}")


def main():
    sys.stdout.reconfigure(line_buffering=True)
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--folder", default=HERE / "hf", help="exported judge, Hugging Face form")
    args.add_argument("--dicast", help="the engine's program; needs --model")
    args.add_argument("--model", help="the GGUF file for --dicast")
    args.add_argument("--unguided", action="store_true", help="with --dicast: do not hold verdicts to the grammar")
    args.add_argument("--limit", type=int, help="only so many held-out items")
    args.add_argument("--mistakes", action="store_true", help="list the hand-written and independent items that were judged wrong")
    a = args.parse_args()
    judge = ThroughEngine(a.dicast, a.model, ["--no-guided"] if a.unguided else []) if a.dicast else ThroughTraining(a.folder)
    heldout = read(HERE / "heldout.jsonl")[: a.limit]
    verdicts = judge(heldout)
    table("Held out", heldout, verdicts, judge(turned(heldout, "opposite")))
    by_count(heldout, verdicts)
    for (title, name), backwards in product((("Hand-written", "handwritten"), ("Independent", "independent")), (False, True)):
        written = read(HERE / f"{name}.jsonl")
        items = turned(written, backwards=backwards)
        verdicts = judge(items)
        table(title + ", answers in reverse order" * backwards, items, verdicts, judge(turned(written, "opposite", backwards)))
        for item, verdict in zip(items, verdicts):
            if a.mistakes and not (verdict and verdict["ranking"][0] == item["best"]):
                print("   wrong:", item["family"], item["principle"], "|", item["prompt"], "|", item["order"], verdict)
    example(judge)


if __name__ == "__main__":
    main()
