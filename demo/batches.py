"""Turns items into arrays: tokens, output targets, and the denser labels that training relies on.

A verdict alone is a thin signal for a network of this size. So every token of an answer is labelled with the marks
that end in it (`tags`) and with the levels of the answer as read so far (`levels`), and every answer's last token
with the levels that the principle asks for (`picked`).
"""

import random

import numpy as np

import attributes
import data
import prose
from attributes import FAMILIES, LEVELS, TAGS
from principles import HIGH, LOW, held_wholes, phrase, principle

LENGTHS = (128, 192, 256, 384, 512, 768, 1024, 1536)
ROWS = 44  # output positions per item that are trained on: all that carry information, and some of the layout
LINE = 10  # level words in a reasoning line
MENTIONS = 12  # places of an item at which the keyword is looked for
ANSWERS = 5
PRINCIPLE_LENGTH = 112
VERDICT_LENGTH = 128
COPY_LENGTH = 144
LEVEL_OFFSET = {f: sum(len(LEVELS[g]) for g in FAMILIES[:i]) for i, f in enumerate(FAMILIES)}
LEVEL_COUNT = sum(len(v) for v in LEVELS.values())
NO_SECOND = 2 * len(FAMILIES)  # class "there is no second criterion"
IGNORE = -1


def criterion_class(family, direction):
    return 2 * FAMILIES.index(family) + (direction == HIGH)


def criteria_classes(criteria):
    classes = [criterion_class(*c) for c in criteria]
    return classes if len(classes) == 2 else [*classes, NO_SECOND]


def _token_of(starts, position):
    return int(np.searchsorted(starts, position, side="right")) - 1


def encode(tokenizer, items):
    """One dict of lists per item; token positions throughout."""
    prompts, outputs = [], []
    for item in items:
        prompts.append(data.render(item["principle"], item["prompt"], item["answers"]))
        outputs.append(data.target(item["criteria"], item["levels"]))
    texts = [p[0] + "".join(part for part, _ in o) for p, o in zip(prompts, outputs)]
    for item, (prompt, (principle_begin, principle_end), places), output, code in zip(items, prompts, outputs, tokenizer.encode_batch(texts)):
        offsets = np.array(code.offsets)
        starts, ends = offsets[:, 0], offsets[:, 1]
        first = int(np.searchsorted(starts, len(prompt)))
        role = np.zeros(len(starts), np.int32)
        at = len(prompt)
        for part, kind in output:
            inside = (ends > at) & (starts < at + len(part))
            role[inside] = np.maximum(role[inside], kind)
            at += len(part)
        known = [f in [c for c, _ in item["criteria"]] or f != "keyword" for f in FAMILIES]
        tokens, tags, levels, owners, lasts = [], [], [], [], []
        for index, (begin, end) in enumerate(places):
            answer = item["answers"][index]
            lo, hi = _token_of(starts, begin), _token_of(starts, end - 1)
            reach = ends[lo: hi + 1] - begin
            found = np.zeros((hi - lo + 1, len(TAGS)), np.int8)
            for _, stop, tag in attributes.spans(answer, item["keyword"]):
                found[min(int(np.searchsorted(reach, stop)), hi - lo), TAGS.index(tag)] = 1
            grid = np.zeros((hi - lo + 1, len(FAMILIES)), np.int8)
            for stop, state in attributes.running(answer, item["keyword"]):
                since = 0 if not stop else min(int(np.searchsorted(reach, stop)), hi - lo)
                grid[since:, 1:] = [state[f] for f in FAMILIES[1:]]
            size = len(attributes.escape(answer))
            grid[:, 0] = [attributes.length_level(min(r, size)) for r in reach]
            grid[:, [i for i, k in enumerate(known) if not k]] = IGNORE
            if not known[-1]:
                found[:, TAGS.index("keyword")] = IGNORE
            tokens += range(lo, hi + 1)
            tags.append(found)
            levels.append(grid)
            owners += [index] * (hi - lo + 1)
            lasts.append(hi)
        line = np.flatnonzero((role == 2) & (np.append(0, role[:-1]) != 2) | (role == 2) & _new_word(code.tokens))
        yield dict(
            ids=code.ids, first=first, role=role, principle_end=_token_of(starts, principle_end - 1), classes=criteria_classes(item["criteria"]),
            tokens=np.array(tokens), tags=np.concatenate(tags), levels=np.concatenate(levels), owners=np.array(owners), lasts=lasts,
            picked=[[LEVEL_OFFSET[f] + one[f] for f, _ in item["criteria"]] for one in item["levels"]],
            named=_named(starts, prompt, principle_begin, principle_end, item["keyword"]) if known[-1] else None,
            line=line, line_answer=np.repeat(np.arange(len(places)), len(item["criteria"])))


def _named(starts, prompt, begin, end, keyword):
    """The token at which the keyword ends in the principle."""
    at = prompt.lower().find(keyword.lower(), begin, end)
    return None if at < 0 else _token_of(starts, at + len(keyword) - 1)


def _new_word(tokens):
    return np.array([t.startswith("Ġ") for t in tokens])


def pack(rng, encoded, length):
    """Pads a list of encoded items to one batch."""
    count, rows = len(encoded), ROWS * len(encoded)
    full = lambda *shape: np.full(shape, IGNORE, np.int32)
    batch = dict(
        ids=np.zeros((count, length), np.int32), row=np.zeros(rows, np.int32), column=np.zeros(rows, np.int32), goal=full(rows), role=np.zeros(rows, np.int32),
        principle_end=np.zeros(count, np.int32), classes=np.zeros((count, 2), np.int32), owner=full(count, length),
        tags=np.full((count, length, len(TAGS)), IGNORE, np.int8), levels=np.full((count, length, len(FAMILIES)), IGNORE, np.int8),
        mention=full(count, MENTIONS), named=np.zeros((count, MENTIONS), np.int32), last=full(count, ANSWERS), picked=full(count, ANSWERS, 2), line=full(count, LINE), line_last=np.zeros((count, LINE), np.int32))
    filled = 0
    for i, e in enumerate(encoded):
        ids = np.array(e["ids"])
        batch["ids"][i, : len(ids)] = ids
        output = np.arange(e["first"], len(ids))
        telling, layout = output[e["role"][output] > 0], output[e["role"][output] == 0]
        spare = max(0, ROWS - len(telling))
        chosen = np.concatenate([telling, rng.permutation(layout)[:spare]])[:ROWS]
        part = slice(filled, filled + len(chosen))
        batch["row"][part], batch["column"][part], batch["goal"][part] = i, chosen - 1, ids[chosen]
        batch["role"][part] = e["role"][chosen]
        filled += len(chosen)
        batch["principle_end"][i], batch["classes"][i] = e["principle_end"], e["classes"]
        batch["owner"][i, e["tokens"]] = e["owners"]
        batch["tags"][i, e["tokens"]], batch["levels"][i, e["tokens"]] = e["tags"], e["levels"]
        batch["last"][i, : len(e["lasts"])] = e["lasts"]
        for j, picked in enumerate(e["picked"]):
            batch["picked"][i, j, : len(picked)] = picked
        if e["named"] is not None:
            found = e["tags"][:, TAGS.index("keyword")] > 0
            there, elsewhere = e["tokens"][found][: MENTIONS // 2], rng.permutation(e["tokens"][~found])
            places = np.concatenate([there, elsewhere])[:MENTIONS]
            # If nothing matches, attend to the first token.
            batch["mention"][i, : len(places)], batch["named"][i, : len(there)] = places, e["named"]
        # The word at position t is predicted from position t - 1.
        batch["line"][i, : len(e["line"])] = e["line"] - 1
        batch["line_last"][i, : len(e["line"])] = np.array(e["lasts"])[e["line_answer"]]
    return batch


def _budget(rng, progress):
    """Characters of all answers of an item together: few at first, so that many items fit in a minute of training."""
    if progress > 0.2 and rng.random() < 0.05:
        return rng.randint(1500, 4200)
    return rng.choice([160, 300, 500, 800, 1300] if progress > 0.3 else [120, 200, 300, 500] if progress > 0.1 else [120, 160, 240])


def stream(tokenizer, seed, tokens, total, done, parts):
    """Batches of items, about `tokens` tokens each in `parts` equal parts, growing longer from batch `done` to `total`."""
    rng, shuffle = random.Random(seed), np.random.default_rng(seed)
    waiting = {length: [] for length in LENGTHS}
    while True:
        made = [data.make(rng, budget=_budget(rng, done / total)) for _ in range(64)]
        for one in encode(tokenizer, made):
            fitting = [length for length in LENGTHS if len(one["ids"]) <= length]
            if fitting and len(one["line"]) == len(one["line_answer"]):
                waiting[fitting[0]].append(one)
        for length, queue in waiting.items():
            size = max(4, tokens // length)
            if len(queue) >= size:
                share = size // parts
                halves = [pack(shuffle, queue[i * share: (i + 1) * share], length) for i in range(parts)]
                yield {key: np.stack([half[key] for half in halves]) for key in halves[0]}
                waiting[length] = queue[size:]
                done += 1


def verdict_batch(rng, tokenizer, size):
    """Reasoning lines over random levels, with their verdicts and no prompt: comparing is learned at a fraction of the
    cost of reading. `at` is where a score is due, `own` the level words of that answer, `ends` those of the best and
    the worst answer."""
    full = lambda *shape: np.full((size, *shape), IGNORE, np.int32)
    ids, due, goal = np.zeros((size, VERDICT_LENGTH), np.int32), full(2 * ANSWERS), full(2 * ANSWERS)
    at, own, ends_of = full(ANSWERS), full(ANSWERS, 2), full(ANSWERS, 2)
    row = 0
    while row < size:
        criteria = data.criteria_for(rng)
        count = rng.randint(2, ANSWERS)
        levels = [{f: rng.randrange(len(LEVELS[f])) for f, _ in criteria} for _ in range(count)]
        parts = data.target(criteria, levels)
        code = tokenizer.encode("".join(part for part, _ in parts))
        if len(code.ids) > VERDICT_LENGTH:
            continue
        ids[row, : len(code.ids)] = code.ids
        ends, reached, words, places, told = np.array(code.offsets)[:, 1], 0, [], [], []
        for part, kind in parts:
            reached += len(part)
            token = int(np.searchsorted(ends, reached))
            if kind == 2:
                words.append(token)
            # The word at position t is predicted from position t - 1.
            if kind >= 3:
                told.append(token)
            if kind == 3:
                places.append(token - 1)
        due[row, : len(told)], goal[row, : len(told)] = np.array(told) - 1, np.array(code.ids)[told]
        words = np.array(words).reshape(count, -1)[:, [0, -1]]
        best, worst = attributes.verdict(criteria, levels)[1][0], attributes.verdict(criteria, levels)[1][-1]
        at[row, :count], own[row, :count], ends_of[row, :count] = places, words, (words[best, 1], words[worst, 1])
        row += 1
    return dict(ids=ids, due=due, goal=goal, at=at, own=own, ends=ends_of)


def _named_text(rng, keyword, room):
    """Sentences of about `room` characters that sometimes name the keyword, in several forms, beside similar words."""
    words, often = [], rng.choice([0.2, 0.6, 0.9])
    while sum(map(len, words)) < room:
        part = rng.choice(prose.EXAMPLES).split()[:6] if rng.random() < 0.6 else rng.choices(prose.WORDS, k=4)
        if rng.random() < often:
            # Sometimes a word that only begins like it.
            shown = keyword if rng.random() < 0.8 else keyword + rng.choice(["s", "y", "ing", "ed", "er", "ful"])
            shown = shown.capitalize() if rng.random() < 0.25 else shown
            part.insert(rng.randrange(len(part) + 1), rng.choice(["{}", "{}", "{}", "{}", "{},", "{}.", "({})", '"{}"']).format(shown))
        words += part
    return " ".join(words)


def copy_batch(rng, tokenizer, size):
    """Texts under a principle that names a keyword. For each token of a text: `same`, whether it ends the keyword, `named`,
    where to look it up (the first token if it is another word), and `level`, whether the text has named it yet."""
    full = lambda: np.full((size, COPY_LENGTH), IGNORE, np.int32)
    ids, same, named, level = np.zeros((size, COPY_LENGTH), np.int32), full(), full(), full()
    row = 0
    while row < size:
        keyword = rng.choice(prose.WORDS if rng.random() < 0.6 else prose.NOUNS)
        text = principle(rng, [("keyword", rng.choice([HIGH, LOW]))], keyword)
        answers = [_named_text(rng, keyword, rng.choice([40, 80, 160])) for _ in range(rng.randint(2, 3))]
        prompt, span, places = data.render(text, rng.choice(list(prose.TOPIC_SENTENCES)) if rng.random() < 0.3 else "", answers)
        code = tokenizer.encode(prompt[: places[-1][1]])
        starts, ends = np.array(code.offsets).T
        target = _named(starts, prompt, *span, keyword)
        if len(code.ids) > COPY_LENGTH or target is None:
            continue
        for answer, (begin, end) in zip(answers, places):
            lo, hi = _token_of(starts, begin), _token_of(starts, end - 1)
            same[row, lo: hi + 1] = named[row, lo: hi + 1] = level[row, lo: hi + 1] = 0
            for _, stop, tag in attributes.spans(answer, keyword):
                if tag == "keyword":
                    token = int(np.searchsorted(ends, begin + stop))
                    same[row, token], named[row, token], level[row, token: hi + 1] = 1, target, 1
        ids[row, : len(code.ids)] = code.ids
        row += 1
    return dict(ids=ids, same=same, named=named, level=level)


def word_forms(tokenizer):
    """[[token, ...], ...]: for each word the tokens that it ends in, for different case and preceding text."""
    forms = []
    for word in sorted({*prose.WORDS, *prose.VERBS}):
        shown = [word, f" {word}", word.capitalize(), f" {word.capitalize()}"]
        forms.append([tokenizer.encode(text).ids[-1] for text in shown])
    return forms


def form_batch(rng, forms, size):
    """[word, word in another form, distance] of tokens, each word in one pair only."""
    pairs, used = [], set()
    while len(pairs) < size:
        pair = rng.choices(rng.choice(forms), k=2)
        if used.isdisjoint(pair):
            used.update(pair)
            pairs.append([*pair, rng.randint(20, 900)])
    return np.array(pairs, np.int32)


def principle_batch(rng, tokenizer, size, held=False, pairs=0.2, phrases=0.0):
    """Principles alone, with what they ask for: short, so that wording is learned fast. A share of them are bare phrases."""
    def drawn():
        while True:
            if rng.random() < phrases:
                criterion = (rng.choice(FAMILIES), rng.choice([HIGH, LOW]))
                yield phrase(rng, criterion, data.any_keyword(rng)), [criterion]
                continue
            criteria = data.criteria_for(rng, rng.choice(FAMILIES), pair=rng.random() < pairs)
            yield principle(rng, criteria, data.any_keyword(rng), held), criteria
    return _principles(tokenizer, drawn(), size)


def held_wholes_batch(rng, tokenizer):
    """All whole principles that training never draws."""
    kept = held_wholes(rng, lambda: data.any_keyword(rng))
    return _principles(tokenizer, kept, len(kept))


def _principles(tokenizer, drawn, size):
    ids, last, classes = np.zeros((size, PRINCIPLE_LENGTH), np.int32), np.zeros(size, np.int32), np.zeros((size, 2), np.int32)
    row = 0
    for text, criteria in drawn:
        prompt, (_, end), _ = data.render(text, "", [])
        code = tokenizer.encode(prompt[: end + 1])
        if len(code.ids) > PRINCIPLE_LENGTH:
            continue
        ids[row, : len(code.ids)], classes[row] = code.ids, criteria_classes(criteria)
        last[row] = _token_of(np.array(code.offsets)[:, 0], end - 1)
        row += 1
        if row == size:
            break
    return dict(ids=ids[:row], principle_end=last[:row], classes=classes[:row])
