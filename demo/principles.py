"""Principles in natural wording: whole ones as people write them, and phrases for both ends of each family with the frames
that carry them. The wordings are in `wordings/`, one file for each family.

A phrase is a noun phrase about answers (`np`, "answers that mention {k}"), an adjective (`adj`, "concise"), a quality (`noun`,
"brevity"), or a verb phrase as "base|third person" (`vp`). `whole` principles stand alone. What is named `held` never
occurs in training: the held-out set is made of it.
"""

import json
import re
from pathlib import Path

import attributes
import prose

HIGH, LOW = 1, -1
ENDS = {"low": LOW, "high": HIGH}
WORDINGS = Path(__file__).parent / "wordings"


def _read(name):
    return json.loads((WORDINGS / f"{name}.json").read_text())


def _items(text, separator=";"):
    return [" ".join(p.split()) for p in text.split(separator) if p.strip()]


PHRASES = {(family, ENDS[end]): words for family in attributes.FAMILIES for end, words in _read(family).items()}
OBJECTS = [("answers", "answer"), ("responses", "response"), ("replies", "reply"), ("ones", "one"), ("texts", "text"), ("explanations", "explanation")]

# {A}: a noun phrase of the wanted pole; {B}: of the other; {a} {n} {v} {vs}: adjective, quality, verb phrase, third person;
# capitals {X} {M} {W} {Ws} the same of the unwanted pole; {o} {os}: answer(s); {who}: a reader; {h}: an adjective that decides
# nothing; {S}: a principle that stands alone. In frames of two criteria the number says which of them is meant.
_FRAMES = _read("frames")
FRAMES, HELD, PAIRS, PAIRS_HELD = (_FRAMES[name] for name in ("single", "held_single", "pair", "held_pair"))
# Whole principles of two criteria, by the criteria that they name.
WHOLE_PAIRS, HELD_WHOLE_PAIRS = {}, {}
for _pair in _read("pairs"):
    _criteria = tuple((family, ENDS[end]) for family, end in (_pair["first"], _pair["second"]))
    (HELD_WHOLE_PAIRS if _pair.get("held") else WHOLE_PAIRS).setdefault(_criteria, []).append(_pair["text"])
READERS = _items("""The user; The reader; My boss; The customer; The client; Our team; The teacher; My grandmother; A busy reader; The editor; This user; The audience; Everyone here; A student; The manager; My friend""")
NEUTRAL = _items("helpful; clear; useful; good; accurate; correct; honest; relevant; sensible; easy to follow; understandable; true")
BEFORE = _items("""You are judging customer support.; For this task:; In this chat,; When grading, keep in mind:; Important:; My rule:; Note:; As a judge, remember this.; Guideline:; Here is what I want.; Compare the responses.; For our help desk:; This is for a school project.; Rule:; Criteria:; Please judge fairly.; Principle:; Instruction:; For me,; In general,; The style guide says:; Simple rule:; On this site,; We judge answers to user questions.""")
CONTEXTS = _items("""This is for a school report; The reader sits in a train; This is a help desk; We run a small hotel; The user is new here; This is a cooking blog; We sell bicycles; The answers will be printed; Somebody reads this aloud to a friend; My children will see this; This is a travel app; The text goes on a website; I work in a hospital; She is a lawyer; He is a teacher; They are engineers; We are a start-up; I am in the kitchen; The reader has little time; The reader has all day; This is for a newspaper; The company is old; The bank wants it this way; The chat is public; A game character says this; This is a comedy show; The customers are young; The customers are retired; It is a science forum; The listener is blind; The user writes from a phone; The user prints everything; We train a model for a museum; I am preparing a talk; This is what my manager told me; People complained last week; The old answers were bad; We tested this with readers; That is how our users are; It is late and I am tired; You are a strict judge; You are a fair judge; You compare answers for a magazine; The judge has one rule; There is only one criterion; I read these in the morning; The show is on the radio; The store opens at nine; My doctor told me so; It is the rule of the house; This is a game for families; The ministry asked us; A sailor asks; The caller is waiting; Our editor is picky""")
AFTER = _items("""That is what matters most.; Everything else is secondary.; Nothing else counts.; This is important to me.; Ignore everything else.; Please keep that in mind.; Rank the responses accordingly.; Other aspects do not matter.; This is my only wish.; Thanks.; Content is secondary.; Score accordingly.; That's all.; Be fair.; The topic does not matter.; Otherwise judge the content.; This is the main criterion.""")


class Wording:
    """Draws phrases for one principle; `held` uses only frames, and partly phrases, that training never sees."""

    def __init__(self, rng, keyword, held):
        self.rng, self.keyword, self.held = rng, keyword, held
        self.objects, self.object = rng.choice(OBJECTS[:3] if rng.random() < 0.9 else OBJECTS)
        style = rng.random()
        self.shown = keyword if style < 0.5 else f'"{keyword}"' if style < 0.75 else f"'{keyword}'"

    def _fill(self, phrase, after):
        r = self.rng
        plural = "ones" if after else self.objects
        if "{R}" in phrase and r.random() < 0.12:
            phrase = phrase.replace("{R}", r.choice(NEUTRAL) + r.choice([" {R}", " and {R}"]), 1) if not phrase.startswith("{R}") else r.choice(NEUTRAL) + " " + phrase
        elif phrase.endswith("{R}") and not phrase.startswith("{R}") and r.random() < 0.12:
            phrase = f"{phrase[:-4]} and {r.choice(NEUTRAL)} {{R}}"
        return phrase.replace("{R}", plural).replace("{r}", self.object).replace("{k}", self.shown)

    def np(self, pole, after=False, denied=False):
        words, r = PHRASES[pole], self.rng
        if denied:
            return self._fill(r.choice(_positive(words["np"])), after)
        if self.held:
            return self._fill(r.choice(words["held_np"] if r.random() < 0.5 else words["np"]), after)
        # Two adjectives in one phrase: "clear, concise and helpful responses".
        simple = [p for p in words["np"] if p.endswith(" {R}") and "{R}" not in p[:-4]]
        if simple and r.random() < 0.15:
            first = [p[:-4] for p in simple]
            adjectives = [r.choice(first), r.choice(NEUTRAL)] + ([r.choice(first)] if r.random() < 0.3 else [r.choice(NEUTRAL)] if r.random() < 0.5 else [])
            r.shuffle(adjectives)
            joined = ", ".join(adjectives[:-1]) + " and " + adjectives[-1]
            return self._fill(joined + " {R}", after)
        return self._fill(r.choice(words["np"]), after)

    def adj(self, pole, denied=False):
        adjectives = _positive(PHRASES[pole]["adj"]) if denied else PHRASES[pole]["adj"]
        first = self.rng.choice(adjectives)
        if self.rng.random() < 0.1:
            first = f"{first} and {self.rng.choice(adjectives)}"
        return self._fill(first, False)

    def noun(self, pole, denied=False):
        nouns = PHRASES[pole]["noun"]
        return self._fill(self.rng.choice(_positive(nouns) if denied else nouns), False)

    def verb(self, pole, denied=False):
        words = PHRASES[pole]
        pool = words["held_vp"] if self.held and self.rng.random() < 0.5 else words["vp"]
        if denied:
            pool = _positive(words["vp"])
        return [self._fill(form, False) for form in self.rng.choice(pool).split("|")]

    def fill(self, frame, wanted, unwanted, suffix=""):
        """Puts phrases into a frame; `suffix` 1 or 2 addresses one criterion of a pair."""
        r = self.rng
        denied = suffix in _denied(frame)
        short = "{A" in frame and r.random() < 0.4
        for key, make in (("A", lambda: self.np(wanted)), ("a", lambda: self.adj(wanted)), ("n", lambda: self.noun(wanted)),
                          ("B", lambda: self.np(unwanted, short, denied)), ("X", lambda: self.adj(unwanted, True)),
                          ("M", lambda: self.noun(unwanted, denied))):
            slot = "{" + key + suffix + "}"
            if slot in frame:
                frame = frame.replace(slot, make())
        for base, third, pole in (("v", "vs", wanted), ("W", "Ws", unwanted)):
            for slot, form in (("{" + base + suffix + "}", 0), ("{" + third + suffix + "}", 1)):
                if slot in frame:
                    frame = frame.replace(slot, self.verb(pole, denied and pole == unwanted)[form])
        return frame

    def whole(self, text):
        """Who writes "response" could as well have written "reply"."""
        if self.rng.random() < 0.4:
            text = _PLURAL.sub(self.rng.choice(["answers", "responses", "replies"]), _SINGULAR.sub(rf"\1 {self.rng.choice(['response', 'reply'])}", text))
        return text.replace("{k}", self.shown)

    def finish(self, text):
        r = self.rng
        text = text.replace("{os}", self.objects).replace("{o}", self.object).replace("{who}", r.choice(READERS)).replace("{h}", r.choice(NEUTRAL))
        text = _cap(text).replace("An response", "A response").replace("an response", "a response").replace("An reply", "A reply").replace("an reply", "a reply")
        if not text.endswith((".", "?", "!")) and r.random() < 0.88:
            text += "." if r.random() < 0.97 else "!"
        if r.random() < 0.12:
            text = f"{r.choice(BEFORE)} {text if r.random() < 0.6 else text[0].lower() + text[1:]}"
        if r.random() < 0.12 and text.endswith("."):
            text = f"{text} {r.choice(AFTER)}"
        return text if r.random() < 0.9 else text[0].lower() + text[1:]


def _cap(text):
    return re.sub(r"(?:^|(?<=[.?!] ))[a-z]", lambda m: m.group().upper(), text)


_DENIES = re.compile(r"\b(lack\w*|exclud\w*|refrain\w*|abstain\w*|devoid|void|spar(?:e|es|ing)|shun\w*|banish\w*|remov\w*|rather than|steers? clear|resists?|refus\w*|unlike|far from|clean of|clear of|holds? back|only|just|simply|leaves? the|no|not|never|without|free|avoid\w*|less|skip\w*|leaves? out|drops?|absence|stays? away|omit\w*|nothing|silent|zero|instead|tones? down|cuts?|keeps? .* out)\b")
_SINGULAR = re.compile(r"\b(the|each|every) (?:answer|response|reply)\b")
_PLURAL = re.compile(r"\b(?:answers|responses|replies)\b(?! (?:to|with|in)\b)")
_WANTED_SLOT = re.compile(r"\{(?:A|a|n|v|vs|S)([12]?)\}")
_UNWANTED_SLOT = re.compile(r"\{(?:B|X|M|W|Ws)([12]?)\}")
# The low end of these families is the absence of something: no positive word for it could be denied.
_ABSENCE = {"code", "question", "keyword"}


def _positive(phrases):
    return [p for p in phrases if not _DENIES.search(p)] or phrases


def _denied(frame):
    """The criteria of a frame, by the numbers of their slots, that it only asks for by rejecting their opposite."""
    return set(_UNWANTED_SLOT.findall(frame)) - set(_WANTED_SLOT.findall(frame))


def _allowed(frame, criteria):
    """Nobody says "avoid answers without code", so an absence is never denied."""
    places = ("1", "2") if len(criteria) == 2 else ("",)
    return not any(place in _denied(frame) and family in _ABSENCE and direction == HIGH for place, (family, direction) in zip(places, criteria))


_SAID = {word for words in PHRASES.values() for phrases in words.values() for phrase in phrases for word in re.findall(r"[a-z]+", phrase.lower())}
_SAID |= {word for frame in [*FRAMES, *PAIRS] for word in re.findall(r"[a-z]+", re.sub(r"\{.*?\}", "", frame).lower())}
FILLERS = [word for word in [*prose.NOUNS, *prose.VERBS, *prose.ADVERBS] if word not in _SAID]


def _distract(rng, text, named):
    """People say things that mean nothing to the judge; unknown words must not look like a wish."""
    if rng.random() < 0.4:
        aside = rng.choice(prose.EXAMPLES).capitalize().rstrip(".!?") + "."
        return f"{aside} {text}" if rng.random() < 0.5 else f"{text} {aside}"
    words = text.split(" ")
    for _ in range(rng.choice([1, 1, 2])):
        # Beside a keyword, any other word could be mistaken for it.
        words.insert(0 if named else rng.randrange(len(words)), rng.choice(FILLERS))
    return " ".join(words)


def principle(rng, criteria, keyword="", held=False):
    """A principle that asks for `criteria`, [(family, direction)] or two of them by priority."""
    text = _plain(rng, criteria, keyword, held)
    if not held and rng.random() < 0.1:
        # The same wish, said twice in different words.
        text = f"{text if text.endswith(('.', '!', '?')) else text + '.'} {_plain(rng, criteria, keyword, held)}"
    if not held and rng.random() < 0.12:
        context = rng.choice(CONTEXTS)
        text = rng.choice([f"{context}. {text}", f"{context}, so {text[0].lower() + text[1:]}", f"{text.rstrip('.!')}, because {context[0].lower() + context[1:]}.", f"{text} {context}."])
    return text if held or rng.random() > 0.1 else _distract(rng, text, any(family == "keyword" for family, _ in criteria))


def phrase(rng, criterion, keyword):
    """A bare phrase: from these the judge learns which words mean which end, before sentences that reverse the meaning."""
    return Wording(rng, keyword, held=False).fill(rng.choice(["{A}", "{a}", "{n}", "{v}", "{vs}"]), criterion, criterion)


def _sentence(rng, criterion, wording):
    """A principle of one criterion, whole or put together."""
    if not wording.held and rng.random() < 0.55:
        return wording.whole(rng.choice(PHRASES[criterion]["whole"]))
    family, direction = criterion
    frame = _frame(rng, HELD if wording.held else FRAMES, [criterion])
    return wording.fill(frame, criterion, (family, -direction))


def _frame(rng, pool, criteria):
    while True:
        frame = rng.choice(pool)
        if _allowed(frame, criteria):
            return frame


def _plain(rng, criteria, keyword, held):
    wording = Wording(rng, keyword, held)
    if len(criteria) == 1:
        return wording.finish(_sentence(rng, criteria[0], wording))
    whole = WHOLE_PAIRS.get(tuple(criteria))
    if whole and not held and rng.random() < 0.2:
        return wording.finish(wording.whole(rng.choice(whole)))
    frame = _frame(rng, PAIRS_HELD if held else PAIRS, criteria)
    for i, (family, direction) in enumerate(criteria, 1):
        frame = wording.fill(frame, (family, direction), (family, -direction), str(i))
        if f"{{S{i}}}" in frame:
            sentence = _cap(_sentence(rng, (family, direction), wording))
            frame = frame.replace(f"{{S{i}}}", sentence if sentence.endswith((".", "?", "!")) else sentence + ".")
    return wording.finish(frame)


def held_whole(rng, criteria, keyword):
    """A whole principle that is held out of training; None if none of them asks for these criteria."""
    kept = PHRASES[criteria[0]]["held_whole"] if len(criteria) == 1 else HELD_WHOLE_PAIRS.get(tuple(criteria))
    return rng.choice(kept).replace("{k}", Wording(rng, keyword, True).shown) if kept else None


def held_wholes(rng, keyword):
    """Every whole principle that is held out of training, with its criteria: [(text, criteria)]."""
    singles = [(text, [criterion]) for criterion, words in PHRASES.items() for text in words["held_whole"]]
    pairs = [(text, list(criteria)) for criteria, texts in HELD_WHOLE_PAIRS.items() for text in texts]
    return [(text.replace("{k}", Wording(rng, keyword(), True).shown), criteria) for text, criteria in singles + pairs]
