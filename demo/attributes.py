"""What the judge looks at: for each family an ordered scale of levels, measured in the text by plain rules.

The generator only composes text; the labels always come from here, so that a word like "perhaps" that was already
in a borrowed sentence counts like one that was inserted. `measure` also returns every span that counted, which
training uses as token-level supervision.

Everything works on the JSON-escaped form of an answer, because that is what the model reads; positions in it map
one to one to positions in the prompt.
"""

import json
import re

LEVELS = {
    "length": ["minimal", "tiny", "brief", "short", "medium", "sizable", "long", "lengthy", "huge"],
    "code": ["wordy", "inline", "block"],
    "list": ["prose", "list"],
    "polite": ["rude", "plain", "polite", "gracious"],
    "enthusiasm": ["calm", "lively", "excited", "thrilled"],
    "hedge": ["certain", "direct", "careful", "unsure"],
    "question": ["statement", "question"],
    "formal": ["casual", "neutral", "formal"],
    "keyword": ["absent", "present"],
}
FAMILIES = list(LEVELS)

# An answer is on the first length level below 40 characters, and on the last from 900 characters; each step is about x1.5.
LENGTH_STEPS = [40, 65, 100, 150, 230, 350, 560, 900]

POLITE = """please; thank you; thanks; many thanks; kindly; you're welcome; you are welcome; you're very welcome;
you are very welcome; my pleasure; with pleasure; happy to help; happy to assist; happy to explain; glad to help; glad you asked;
delighted; i appreciate; much appreciated; i hope this helps; i hope that helps; hope this helps; hope that helps; hope it helps; feel free; great question;
good question; wonderful question; lovely question; excellent question; best wishes; kind regards; best regards; warm regards; warmly; all the best;
take care; have a lovely day; have a great day; have a nice day; have a wonderful day; have a good one; good luck; good morning; good afternoon; good evening; hello;
hi there; hi; dear; sorry; apologies; apologize; apologise; excuse me; pardon; if you don't mind; would you mind; if you like; let me know if; i'd be happy to;
i would be happy to; i'd be glad to; i would be glad to; respectfully; grateful; sincerely; welcome; at your convenience; i understand how; don't hesitate; do not hesitate;
wishing you; it is a pleasure; it's a pleasure; i'm here to help; i am here to help; no trouble at all; be so kind; i'd love to help; may i suggest; glad you; congratulations; well done;
thanks so much; so glad; what a great; what a lovely; that's a great; that is a great; glad to; happy to; i hope; hope you; warmest; bless you; let me know; enjoy your day; pleased to help; so kind; very kind; we value your; we understand; my sincere; it would be my pleasure; if i may; you are most welcome; we're here for you; always happy; take your time; lovely to hear; sorry to hear; thoughtful question; kind of you"""
RUDE = """stupid; idiot; idiotic; dumb; moron; figure it out yourself; look it up; google it; lazy; shut up; waste my time; wasting my time; not my problem;
are you serious; are you even; everyone knows; everybody knows; any child knows; pathetic; ridiculous; duh; who cares; don't bother me; stop asking; clueless; ignorant; get lost;
leave me alone; what a silly; obviously you; you clearly don't; use your brain; if you had bothered; can't be bothered; learn to read; read the manual; hopeless; useless; how hard can it be; fool; whatever; nonsense;
dumbest; stupidest; such a dumb; such a stupid; obvious to anyone; anyone with a brain; grow up; get a life; you're wasting; shame on you; not my job; quit whining; stop whining; are you blind; you people; don't be so; deal with it; leave me out; how can you not; you should know; i don't care; nobody cares; be quiet; incompetent; foolish; annoying; sick of"""
LIVELY = """wow; amazing; awesome; fantastic; incredible; thrilled; excited; exciting; yay; woohoo; super fun; love this; so cool; can't wait; brilliant;
epic; hooray; spectacular; unbelievable; mind-blowing; best thing ever; absolutely love; let's go; magical; superb;
love it; so much fun; so exciting; stunning; game changer; game-changer; crush it; you rock; woo; hurray; oh my gosh; fabulous; marvelous; terrific; sensational; a blast; dive in; let's dive; thrilling; super excited; so excited; buckle up; get ready; phenomenal; wonderful adventure; joy; breathtaking; incredibly; you've got this; can't believe"""
HEDGE = """maybe; perhaps; possibly; probably; might; i think; i guess; i believe; i suppose; i suspect; i imagine; it seems; seems; seem; it appears; appears to; not sure; not certain; not entirely sure;
not completely sure; unsure; uncertain; likely; somewhat; as far as i know; as far as i can tell; in my opinion; it depends; roughly; presumably; no expert; arguably; if i remember correctly; don't quote me;
could be; may be; may help; may work; may not; may want; may also; it may; this may; that may; could perhaps; to my knowledge; hard to say; i could be wrong; i may be wrong; i might be wrong; i would guess; i'd guess;
tends to; tend to; suggests; more or less; it is possible; it's possible; conceivably; in some cases; apparently; or so; i can't be sure; i cannot be sure; no guarantee; can't promise;
you may; they may; which may; there may; we may; may vary; might vary; could vary; it could; this could; that could; you could; which could; could also; can vary; it varies; varies; may depend; could depend; i'd say; i would say; i can't say; hard to know; difficult to say; if i had to guess; from what i know; from what i've heard; i've heard; supposedly; potentially; in theory; not 100% sure; debatable; unclear; to some extent; some people say; others disagree; evidence is mixed; open question; may well; i don't know; not an expert; keep in mind; take this with; grain of salt; i believe; my guess; my best guess; best guess; your mileage; might be wrong; opinions differ; historians disagree; experts disagree; can depend; i'm inclined; reasonably; not always; it might; we cannot know"""
CERTAIN = """definitely; certainly; absolutely; without a doubt; without doubt; no doubt; undoubtedly; for sure; surely; guaranteed; always; i am certain; i'm certain; i am sure; i'm sure; i am confident; i'm confident; beyond question; of course;
there is no question; clearly; unquestionably; without fail; never fails; 100%; i guarantee; the fact is; it is a fact; beyond any doubt; make no mistake; you will succeed; every time;
positively; 100 percent; there's no doubt; hands down; period; it is certain; conclusively; proven; without exception; decidedly; unmistakably; the only; simply the best; indisputable; indisputably; for certain; it is clear; you will; the best choice; the answer is clear; undeniably; it will; plain and simple; that is final; the right answer"""
CASUAL = """hey; yeah; yep; yup; nope; nah; gonna; wanna; gotta; kinda; sorta; dunno; lol; lmao; haha; btw; tbh; imo; omg; thx; pls; dude; bro; buddy; pal; mate; folks; guys; stuff; ain't; y'all; cuz; 'cause; 'em; ya; u; no biggie; no worries; no big deal;
piece of cake; easy peasy; cool stuff; chill; a ton of; tons of; a bunch of; super easy; pretty much; you know; totally; just wing it; what's up; sup; okay so; ok so; check it out; hang in there; grab; gonna be; crazy; insane; legit; lemme; gimme; whatcha; thingy; hit me up; dig in; jeez; ugh; oops; meh; heck; darn; fella; cheers;
basically; literally; super; awesome sauce; gotcha; y'know; no prob; no problemo; np; real quick; fam; vibe; vibes; bummer; lil; prolly; dang; freaking; sucks; mess around; messing around; c'mon; whoa; rad; shoot me; kiddo; holy; lowkey; hella; swing by; pop over; fire up; go nuts; you bet; sure thing; totally fine; awesome, right; lots of fun; crash course; bucks; hang out; my man; big time; nailed it; nail it; for real; wicked; goof; pretty easy; pretty cool; pretty good; yo; sweet deal; feel ya; got your back; mess up; throw in; toss in; whatever works"""
FORMAL = """therefore; furthermore; moreover; consequently; hence; thus; accordingly; in accordance with; pursuant to; regarding; concerning; with respect to; with regard to; in regard to; it is recommended; it is advisable; it is advised; it is essential; it is imperative;
it should be noted; it must be noted; one should; one must; one may; individuals; utilize; utilise; utilization; commence; prior to; subsequently; subsequent; nevertheless; nonetheless; notwithstanding; shall; facilitate; obtain; additionally; in order to;
sufficient; insufficient; requires; purchase; assist; demonstrate; ensure; endeavor; endeavour; acquire; terminate; ascertain; in conclusion; to conclude; in summary; as such; hereby; herein; aforementioned; respective; is to be; are to be; are advised; is advised; henceforth; whereas; upon; numerous; optimal; approximately; constitutes; where appropriate; found this approach; with due; to whom it may concern; sir or madam; yours faithfully; yours sincerely; it is necessary; it is important to note; be advised; in light of; adequate; undertake; carefully consider;
proficiency; attain; fundamental principles; essential to; beneficial; methodology; we recommend; is recommended; advisable; systematic; inquiry; regrettably; we regret; pertaining to; whilst; provided that; esteemed;
is permitted; are permitted; be permitted; kindly note; acknowledge receipt; furnish; expedite; remain at your disposal; at your earliest convenience; pleased to inform; thereby; thereof; wherein; in due course; the undersigned; it is crucial; imperative; subject to; for the purpose of; in the event that; engage in; residence; inform you; we wish to; the recipient; be considered; timely; the following; comprises; enable one; remuneration; documentation"""


def _lexicon(text):
    entries = {" ".join(e.split()) for e in text.split(";")} - {""}
    # The longest first: a pattern takes the first alternative that fits.
    return sorted(entries, key=lambda e: (-len(e), e))


def _pattern(entries):
    parts = []
    for entry in entries:
        escaped = re.escape(entry).replace("\\ ", r"\s")
        parts.append(escaped if not entry[-1].isalnum() else escaped + r"(?![\w])")
    return re.compile(r"(?<![\w'`])(?:" + "|".join(parts) + ")", re.I)


LEXICONS = {name: _lexicon(text) for name, text in [
    ("polite", POLITE), ("rude", RUDE), ("lively", LIVELY), ("hedge", HEDGE), ("certain", CERTAIN),
    ("casual", CASUAL), ("formal", FORMAL)]}
PATTERNS = {name: _pattern(entries) for name, entries in LEXICONS.items()}
BANG = re.compile("!")
ASK = re.compile(r"\?")
BULLET = re.compile(r"(?:^|\n) *(?:[-*•]|\d{1,2}[.)]) ")
BLOCK = re.compile(r"```.*?(?:```|$)", re.S)
INLINE = re.compile(r"`[^`\n]+`")
# The order of the tags that tokens are labelled with.
TAGS = ["polite", "rude", "lively", "bang", "hedge", "certain", "casual", "formal", "ask", "bullet", "block", "inline", "keyword"]


def escape(text):
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def spans(text, keyword):
    """All (start, end, tag) that count in `text`, positions in its escaped form, ordered by end."""
    # Same length as the escaped form, but words and line starts are visible to the patterns.
    flat = escape(text).replace("\\n", "\x00\n").replace("\\t", "  ").replace('\\"', ' "')
    found = [(m.start(), m.end(), "block") for m in BLOCK.finditer(flat)]
    prose = BLOCK.sub(_blank, flat)
    found += [(m.start(), m.end(), "inline") for m in INLINE.finditer(prose)]
    if keyword:
        word = re.compile(r"(?<![\w])" + re.escape(keyword) + r"(?![\w])", re.I)
        found += [(m.start(), m.end(), "keyword") for m in word.finditer(flat)]
    prose = INLINE.sub(_blank, prose)
    for tag, pattern in [*PATTERNS.items(), ("bang", BANG), ("ask", ASK), ("bullet", BULLET)]:
        found += [(m.start(), m.end(), tag) for m in pattern.finditer(prose)]
    return sorted(found, key=lambda s: s[1])


def _level_from(count):
    formal = count["formal"] - count["casual"]
    return {
        "code": 2 if count["block"] else 1 if count["inline"] else 0,
        "list": int(count["bullet"] > 0),
        "polite": 0 if count["rude"] else 1 + min(2, count["polite"]),
        "enthusiasm": sum(count["bang"] + count["lively"] > x for x in (0, 1, 3)),
        "hedge": 1 + min(2, count["hedge"]) if count["hedge"] else 0 if count["certain"] else 1,
        "question": int(count["ask"] > 0),
        "formal": 1 + (formal > 0) - (formal < 0),
        "keyword": int(count["keyword"] > 0),
    }


def length_level(characters):
    return sum(characters >= step for step in LENGTH_STEPS)


def running(text, keyword):
    """The levels after each span: [(position, {family: level})], without length."""
    count = dict.fromkeys(TAGS, 0)
    steps = [(0, _level_from(count))]
    for _, end, tag in spans(text, keyword):
        count[tag] += 1
        steps.append((end, _level_from(count)))
    return steps


def measure(text, keyword=""):
    """{family: level} of a whole answer."""
    levels = running(text, keyword)[-1][1]
    levels["length"] = length_level(len(escape(text)))
    return levels


# +1 prefers the high end of a scale, -1 the low end.
def adherence(criteria, levels):
    """A sortable key per answer: bigger follows the principle better. `criteria` is [(family, direction), ...] by priority."""
    return [tuple(direction * one[family] for family, direction in criteria) for one in levels]


def verdict(criteria, levels):
    """Scores and best-to-worst order. The best level that is present scores 5, the worst 1, those between are spread
    evenly; if all are equal, all score 3. Equal answers keep the order in which they were given."""
    keys = adherence(criteria, levels)
    distinct = sorted(set(keys), reverse=True)
    last = len(distinct) - 1
    scores = [3 if not last else 5 - (8 * distinct.index(k) + last) // (2 * last) for k in keys]
    return scores, sorted(range(len(keys)), key=lambda i: -scores[i])
