#!/usr/bin/env python3
"""Compares Dicast's verdict parser with the reference system's on random outputs.

    cargo build --release --no-default-features --example parse_lines
    python3 scripts/differential/compare.py --parser target/release/examples/parse_lines

The reference is PyPI `rewardanything` 1.0.1, fetched without its dependencies into a temporary folder (or given with
--wheel). Only its parsing function runs; its other imports are replaced by empty modules. Exit code 1 if the
reference gives a complete, valid verdict and Dicast gives another one, or if Dicast gives a verdict that was not
meant.
"""

import argparse
import collections
import importlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import types
import zipfile

PACKAGE = "rewardanything==1.0.1"
SYMBOLS = list("\"'`:,{}[]()<>\\.-_=+*#&;!?@|~% \n\t\r") + ["é", "“", "”", "’", "：", "，", "a", "m", "X"]


def reference(wheel: str | None):
    """The reference's parsing function."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="reference-"))
    if wheel is None:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(download, check=True)
        wheel = str(next(folder.glob("*.whl")))
    zipfile.ZipFile(wheel).extractall(folder)

    def module(name: str, **attributes):
        stub = types.ModuleType(name)
        stub.__dict__.update(attributes)
        sys.modules[name] = stub
        return stub

    class Record:
        def __init__(self, **fields):
            self.__dict__.update(fields)

    module("numpy")
    module("scipy")
    module("scipy.stats", kendalltau=None, spearmanr=None)
    package = module("rewardanything")
    package.__path__ = [str(folder / "rewardanything")]
    module("rewardanything.models", RewardRequest=Record, RewardResult=Record, RewardResponse=Record)
    return importlib.import_module("rewardanything.processing").parse_rewardanything_output


def verdict(rng: random.Random) -> dict:
    """A verdict as a judge means it, with its names."""
    count = rng.randint(2, 8)
    if rng.random() < 0.2:
        names = rng.sample(["gpt-4o", "llama", "O'Brien", "modèle", "模型一", "a b", "x_1", "qwen", "😀", "claude 3"], count)
        shown, masked = names, None
    else:
        shown = [f"model-{number}" for number in range(1, count + 1)]
        masked = {alias: f"response {chr(65 + index)}" for index, alias in enumerate(shown)}
        names = list(masked.values())
    scores = [rng.choice([1, 2, 3, 4, 5, 5, 4, 3, 2.5, 4.5]) for _ in names]
    ranking = rng.sample(range(count), count)
    return {"shown": shown, "names": names, "masked": masked, "scores": scores, "ranking": ranking}


def body(rng: random.Random, meant: dict) -> str:
    """The verdict as JSON, in one of the layouts that judges write."""
    scores = dict(zip(meant["shown"], meant["scores"]))
    ranking = [meant["shown"][place] for place in meant["ranking"]]
    fields = [("scores", scores), (rng.choice(["best-to-worst"] * 5 + ["best-to-worse"]), ranking)]
    if rng.random() < 0.2:
        fields.reverse()
    if rng.random() < 0.1:
        fields.append(("note", "it's close"))
    text = json.dumps(dict(fields), ensure_ascii=rng.random() < 0.3, indent=rng.choice([None, None, 2, 4]))
    style = rng.random()
    if style < 0.05:
        text = text.replace('"', "'")
    elif style < 0.1:
        text = text.replace("}", ",}").replace("]", ",]")
    elif style < 0.13:
        text = text.replace("\n", "\r\n")
    return text


def output(rng: random.Random, meant: dict) -> str:
    """A whole output: reasoning, the frame, the verdict, sometimes a draft."""
    text = body(rng, meant)
    frame = rng.random()
    if frame < 0.15:
        text = f"```json\n{text}\n```"
    elif frame < 0.25:
        text = f"Here is my evaluation:\n{text}"
    elif frame < 0.3:
        text = f"{text}\n\nThat's my verdict."
    elif frame < 0.33:
        text = f"{text}<|im_end|>"
    thought = rng.choice(["Fine.", "Model-1's good {but} short.", 'It says "4".', "", "I'd say\n\nthree."])
    if rng.random() < 0.15:
        draft = dict(meant, scores=[rng.randint(1, 5) for _ in meant["scores"]], ranking=meant["ranking"][::-1])
        thought += f" Draft: {body(rng, draft)} hmm."
    reasoning = rng.random()
    if reasoning < 0.8:
        return f"<think>\n{thought}\n</think>\n\n{text}"
    return text if reasoning < 0.9 else f"{thought}</think>\n{text}"


def damage(rng: random.Random, text: str) -> str:
    """One edit of one character, or a cut. No digit is written: that would make another verdict."""
    start = text.rfind("</think>")
    at = rng.randrange(start + 8 if start >= 0 else 0, len(text))
    kind = rng.randrange(5)
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[:at] + rng.choice(SYMBOLS) + text[at:]
    if kind == 2:
        return text[:at] + rng.choice(SYMBOLS) + text[at + 1 :]
    if kind == 3:
        return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]
    return text[: at + 1]


def valid(names: list, scores, ranking) -> bool:
    """Whether the reference's result is a complete, valid verdict."""
    number = lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 5
    return (
        isinstance(scores, dict)
        and isinstance(ranking, list)
        and set(scores) == set(names)
        and all(number(value) for value in scores.values())
        and all(isinstance(name, str) for name in ranking)
        and sorted(ranking) == sorted(names)
    )


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--parser", required=True, help="the built example `parse_lines`")
    arguments.add_argument("--wheel", help="the reference's wheel; fetched where it is not given")
    arguments.add_argument("--count", type=int, default=24_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--show", type=int, default=3, help="examples shown of each class that differs")
    options = arguments.parse_args()

    parse = reference(options.wheel)
    rng = random.Random(options.seed)
    cases = []
    for number in range(options.count):
        meant = verdict(rng)
        text = output(rng, meant)
        damaged = number % 2 == 1
        cases.append((meant, damage(rng, text) if damaged else text, damaged))
    lines = "".join(
        json.dumps({"text": text, "masked2real": meant["masked"], "names": meant["names"]}) + "\n"
        for meant, text, _ in cases
    )
    ours = subprocess.run([options.parser], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()

    counts = collections.Counter()
    shown = collections.Counter()
    failed = 0
    for (meant, text, damaged), line in zip(cases, ours, strict=True):
        read = json.loads(line)
        want_scores = dict(zip(meant["names"], meant["scores"]))
        want_ranking = [meant["names"][place] for place in meant["ranking"]]
        try:
            result = parse(text, meant["masked"])
            their_scores, their_ranking = result.scores, result.ranking
            theirs = "valid" if valid(meant["names"], their_scores, their_ranking) else "incomplete"
        except Exception:  # noqa: BLE001: any exception is one of its outcomes
            their_scores = their_ranking = None
            theirs = "exception"
        if theirs == "valid":
            right = their_scores == want_scores and their_ranking == want_ranking
            theirs = "valid, as meant" if right else "valid, not as meant"
        mine = "error"
        if "error" not in read:
            right = read["scores"] == want_scores and read["ranking"] == want_ranking
            mine = "as meant" if right else "not as meant"
        group = ("damaged" if damaged else "clean", f"reference {theirs}", f"ours {mine}")
        counts[group] += 1
        same = read.get("scores") == their_scores and read.get("ranking") == their_ranking
        differs = theirs.startswith("valid") and not same
        if differs or mine == "not as meant" or (mine == "error" and not damaged):
            failed += mine == "not as meant" or theirs == "valid, as meant"
            if shown[group] < options.show:
                shown[group] += 1
                print(group, repr(text[-300:]), their_scores, their_ranking, line[:300], sep="\n  ")
    for group, count in sorted(counts.items()):
        print(f"{count:6}  " + " | ".join(group))
    print(f"{len(cases)} outputs, {failed} to look at")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
