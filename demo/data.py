"""Items: a principle, a prompt, answers, and the verdict that follows from the measured levels."""

import json
import random

import attributes
import prose
from attributes import FAMILIES, LEVELS
from compose import Answer
from principles import HIGH, LOW, principle

SYSTEM = "Rank the responses by the principle."
# The words of the reasoning line for each end of a family.
SAYS = {
    "length": {HIGH: "longer", LOW: "shorter"}, "code": {HIGH: "code", LOW: "no code"}, "list": {HIGH: "a list", LOW: "prose"},
    "polite": {HIGH: "polite", LOW: "blunt"}, "enthusiasm": {HIGH: "lively", LOW: "calm"}, "hedge": {HIGH: "careful", LOW: "certain"},
    "question": {HIGH: "asking", LOW: "not asking"}, "formal": {HIGH: "formal", LOW: "casual"}, "keyword": {HIGH: "naming it", LOW: "leaving it out"},
}
WEIGHTS = {"length": 2.2, "code": 1.0, "list": 1.0, "polite": 1.5, "enthusiasm": 1.1, "hedge": 1.4, "question": 0.9, "formal": 1.5, "keyword": 2.4}
# How often an answer carries a mark that the principle does not ask about.
NOISE = {"polite": 0.22, "rude": 0.03, "lively": 0.08, "hedge": 0.15, "certain": 0.08, "casual": 0.1, "formal": 0.12, "ask": 0.15}


def dumps(value):
    return json.dumps(value, ensure_ascii=False)


def render(principle_text, prompt, answers):
    """The whole prompt, and the character positions where the principle and each answer begin and end."""
    text = f'<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{{"principle": '
    start = len(text) + 1
    text += dumps(principle_text)
    principle_span = (start, len(text))
    text += f', "prompt": {dumps(prompt)}, "responses": {{'
    places = []
    for i, answer in enumerate(answers, 1):
        text += (", " if i > 1 else "") + f'"model-{i}": '
        begin = len(text) + 1
        text += dumps(answer)
        places.append((begin, len(text)))
    return text + "}}<|im_end|>\n<|im_start|>assistant\n", principle_span, places


def target(criteria, levels):
    """The whole output as [(text, role)]: role 0 follows from the layout, the others carry information."""
    says = " is better, then ".join(SAYS[f][d] for f, d in criteria) + " is better:"
    parts = [("<think>\n", 0), (says[0].upper() + says[1:], 1)]
    for i, one in enumerate(levels, 1):
        # Whether the line goes on shows how many answers there are.
        parts += [(",", 1)] * (i > 1) + [(f" model-{i}", 0)]
        parts += [(" " + LEVELS[f][one[f]], 2) for f, _ in criteria]
    scores, order = attributes.verdict(criteria, levels)
    parts += [(".", 1), ("\n</think>\n\n{\n  \"scores\": {", 0)]
    for i, score in enumerate(scores, 1):
        parts += [((", " if i > 1 else "") + f'"model-{i}": ', 0), (str(score), 3)]
    parts.append(('},\n  "best-to-worst": [', 0))
    for place, i in enumerate(order):
        parts += [((", " if place else "") + '"model-', 0), (str(i + 1), 4), ('"', 0)]
    return parts + [("]\n}", 0), ("<|im_end|>", 0)]


def _marks(rng, family, noise):
    """What to put into one answer: marks for the family in question at a random level, and some of the others."""
    marks = {tag: rng.choice([1, 1, 2]) for tag, p in NOISE.items() if rng.random() < p * noise}
    style = dict(bang=0.0, bangs=0, bullets=rng.random() < 0.18 * noise, block=int(rng.random() < 0.08 * noise), inline=rng.random() < 0.06 * noise)
    if rng.random() < 0.18 * noise:
        style["bangs"] = rng.choice([1, 1, 2])
    clear = {"polite": ("polite", "rude"), "enthusiasm": ("lively",), "hedge": ("hedge", "certain"), "formal": ("casual", "formal"), "question": ("ask",)}
    for tag in clear.get(family, ()):
        marks.pop(tag, None)
    if family == "polite":
        marks.update([{}, {}, {"polite": 1}, {"polite": 1}, {"polite": 2}, {"polite": 3}, {"rude": rng.randint(1, 2)}][rng.randrange(7)])
    elif family == "enthusiasm":
        style["bangs"] = 0
        kind = rng.randrange(6)
        if kind in (1, 2):
            style["bangs"] = kind
        elif kind >= 3:
            marks["lively"], style["bang"] = rng.randint(0, kind - 2), rng.choice([0.3, 0.6, 1.0])
    elif family == "hedge":
        marks.update([{}, {}, {"hedge": 1}, {"hedge": 2}, {"hedge": 3}, {"certain": rng.randint(1, 2)}][rng.randrange(6)])
    elif family == "formal":
        marks.update([{}, {}, {"casual": 1}, {"casual": 3}, {"casual": 2}, {"formal": 1}, {"formal": 2}, {"formal": 3}][rng.randrange(8)])
    elif family == "question" and rng.random() < 0.5:
        marks["ask"] = rng.choice([1, 1, 2])
    elif family == "code":
        kind = rng.randrange(7)
        style.update(block=rng.randint(1, 4) if kind > 3 else 0, inline=kind == 3 or rng.random() < 0.05)
    elif family == "list":
        style["bullets"] = rng.random() < 0.5
    return marks, style


def _answer(rng, families, own, size, keyword, shared):
    answer = Answer(rng, own, size)
    if shared:
        answer.sentences = list(shared)
    noise = 0.4 if size < 60 else 1.0
    marks, style = _marks(rng, families[0], noise)
    if len(families) > 1:
        more, other = _marks(rng, families[1], noise)
        marks.update(more)
        style.update({k: v for k, v in other.items() if v})
    for tag, count in marks.items():
        answer.dress(tag, count)
    if keyword and rng.random() < (0.5 if "keyword" in families else 0.2):
        answer.mention(keyword)
    # People and programs leave blanks at the end, which changes the last token of an answer.
    blanks = rng.choice([" ", " ", "\n", "  ", " \n"]) if rng.random() < 0.12 else ""
    return answer.text(**style) + blanks


def _size(rng, families, cap):
    if "length" in families:
        return min(cap, int(12 * (110 ** rng.random())))
    return min(cap, int(20 * (14 ** rng.random())) if rng.random() < 0.9 else int(150 * (8 ** rng.random())))


def criteria_for(rng, family=None, pair=None):
    draw = lambda: rng.choices(FAMILIES, [WEIGHTS[f] for f in FAMILIES])[0]
    first = family or draw()
    criteria = [(first, rng.choice([HIGH, LOW]))]
    if pair if pair is not None else rng.random() < 0.22:
        second = first
        while second == first:
            second = draw() if rng.random() < 0.6 else "length"
        criteria.append((second, rng.choice([HIGH, LOW])))
    return criteria


def any_keyword(rng, own=None):
    if own and rng.random() < 0.4:
        words = [w.strip(",.") for s in own for w in s.split() if len(w) > 3 and w.isalpha() and w.islower()]
        return rng.choice(words)
    return rng.choice(prose.NOUNS)


def make(rng, criteria=None, held=False, count=None, budget=900, distinct=0.9):
    """One item. `budget` bounds the characters of all answers together; `distinct` is the share of items in which the
    answers must differ in what the principle asks for."""
    criteria = criteria or criteria_for(rng)
    families = [f for f, _ in criteria]
    count = count or rng.choices([1, 2, 3, 4, 5], [2, 42, 27, 16, 13])[0]
    prompt, own = prose.question(rng)
    keyword = any_keyword(rng, own)
    text = principle(rng, criteria, keyword, held)
    must_differ = count > 1 and rng.random() < distinct
    while True:
        same = rng.random() < 0.3 and "length" not in families
        base = Answer(rng, own, _size(rng, families, budget // count)).sentences if same else None
        left, answers = budget, []
        for i in range(count):
            size = _size(rng, families, max(20, left - 30 * (count - i - 1)))
            answers.append(_answer(rng, families, own, size, keyword, base))
            left -= len(answers[-1])
        levels = [attributes.measure(a, keyword) for a in answers]
        keys = attributes.adherence(criteria, levels)
        if not must_differ or (len({k[0] for k in keys}) > 1 if rng.random() < 0.8 else len(set(keys)) > 1):
            return dict(criteria=criteria, principle=text, prompt=prompt, answers=answers, levels=levels, keyword=keyword)


if __name__ == "__main__":
    generator = random.Random(0)
    for _ in range(6):
        item = make(generator)
        print(render(item["principle"], item["prompt"], item["answers"])[0] + "".join(p for p, _ in target(item["criteria"], item["levels"])), "\n")
