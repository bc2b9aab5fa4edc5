"""Composes answers: sentences from `prose`, dressed with the marks of each family in the way people use them."""

import attributes
import prose

OPEN, CLOSE, BEFORE, AFTER = "open", "close", "before", "after"


def _split(text):
    return [" ".join(p.split()) for p in text.split("|") if p.strip()]


# How a mark enters an answer: as an opening or closing sentence, or before / after the words of a sentence.
MARKS = {
    "polite": {
        OPEN: _split("""Thank you for asking|Thanks for your question|Great question|Good question|Hello|Hello and welcome|Hi there|Hi|Good morning|Good afternoon|Dear customer|Dear user|Dear friend|I'd be happy to help|I would be happy to help|I'd be glad to help|Happy to help|Glad you asked|
            What a wonderful question|That is a lovely question|Thank you for reaching out|Thanks for reaching out|It is a pleasure to help you|I appreciate your question|I am sorry to hear that|I'm sorry about the trouble|My apologies for the delay|We apologize for the inconvenience|Thank you so much for your patience|Sure, I'd love to help with that|
            Of all things, thanks for writing|Welcome|I'm glad you came to us|Sorry for the wait|Excellent question|Many thanks for your message|Good evening|Congratulations on your plan|I understand how annoying this is|With pleasure"""),
        CLOSE: _split("""I hope this helps|Hope this helps|I hope that helps|Thank you|Thanks|You are very welcome|You're welcome|Have a lovely day|Have a great day|Have a wonderful day|Kind regards|Best wishes|All the best|Take care|Good luck|Please let me know if you need anything else|Feel free to ask more|Please feel free to write again|
            It was my pleasure|Happy to help any time|Don't hesitate to contact me|Please do not hesitate to ask|Let me know if anything is unclear|Thanks again for asking|Wishing you a good start|I'm here to help|Much appreciated|Warm regards|I am grateful for your patience|Good luck with it|Thank you for your understanding|No trouble at all|I hope it helps. Hope it helps you enjoy it"""),
        BEFORE: _split("Please|Kindly|If you don't mind,|May I suggest this:|If you like,|Please,|With pleasure:|Would you be so kind and|Respectfully,"),
        AFTER: _split(", please|, thank you|, if you like|, my dear|, thanks|, at your convenience"),
    },
    "rude": {
        OPEN: _split("""What a stupid question|Are you serious|That is a dumb question|Everyone knows this|Google it|Look it up yourself. Look it up|Figure it out yourself|You are wasting my time|How lazy can you be|Any child knows that|Seriously, this is pathetic|Don't bother me with this|Duh|Listen, idiot|Ugh, what a ridiculous thing to ask|Stop asking such things|You clearly don't think|Read the manual|Use your brain"""),
        CLOSE: _split("""Now leave me alone|Stop asking|Whatever|Learn to read|It is not my problem|Even an idiot could do it|How hard can it be|Do not waste my time again|Who cares|If you had bothered to search, you would know|Now shut up|You are hopeless|Get lost|Don't be so lazy|Only a fool would ask|Are you even trying"""),
        BEFORE: _split("Duh,|Obviously you have no idea, moron,|Listen, idiot:|For a clueless person like you:|Even a fool knows:"),
        AFTER: _split(", you idiot|, duh|, stupid|, which everyone knows"),
    },
    "lively": {
        OPEN: _split("""Wow|Amazing|This is so exciting|I love this|Yay|Awesome|What a fantastic idea|Woohoo|I am thrilled about this|This is incredible|Oh, I absolutely love it|You are in for an amazing time|Hooray|So cool|What a superb topic|Brilliant|Let's go"""),
        CLOSE: _split("""You will love it|It is going to be epic|I can't wait to hear about it|It will be amazing|Go for it|You can do it|Enjoy every second|That's fantastic|It is the best thing ever|How exciting|What a magical feeling|You've got this|It is spectacular|Have fun"""),
        BEFORE: _split("Wow,|Incredible:|Amazingly simple:|The exciting part:|Awesome:"),
        AFTER: _split(", wow|, and it is fantastic|, how exciting|, it's amazing|, yay"),
    },
    "hedge": {
        OPEN: _split("""I am not sure about this|I'm not certain, but here is a guess|It depends|I could be wrong|This is hard to say|I am no expert|I think it depends on the case|I might be wrong here|As far as I know there are several ways|Don't quote me on this"""),
        CLOSE: _split("""But I may be wrong|It might not work for you|I guess|At least I think so|That seems likely|It depends on your situation|I can't promise anything|Perhaps someone else knows more|I suppose that could be enough|But who can say, possibly not|It could be different for you|There is no guarantee|Or so it seems|Results might vary"""),
        BEFORE: _split("Maybe|Perhaps|I think|Possibly|I guess|I believe|I suppose|It seems that|Probably|As far as I know,|In my opinion,|It might be that|It could be that|It appears that|Perhaps it is best if you|I would guess that|It may be that|Arguably,|Presumably|It is possible that|I suspect|Apparently|You might|You could perhaps|It may help if you|To my knowledge,|In some cases"),
        AFTER: _split(", I think|, I guess|, perhaps|, maybe|, probably|, I suppose|, as far as I know|, or so I believe|, if I remember correctly|, it seems|, more or less"),
    },
    "certain": {
        OPEN: _split("""I am certain about this|There is no doubt|I am absolutely sure|This is definitely right|The fact is simple|Without a doubt there is one way|I'm sure about the answer|Of course"""),
        CLOSE: _split("""I guarantee it|It never fails|That is certain, no doubt|This works every time|You will succeed for sure|I am sure of it|Make no mistake|This is guaranteed to work|I am confident in this"""),
        BEFORE: _split("Definitely|Certainly|Absolutely:|Without a doubt,|Clearly,|I am certain that|There is no question that|Undoubtedly|You will see for sure that|Always|The fact is that|I am sure that|Surely|Of course|Unquestionably,"),
        AFTER: _split(", definitely|, without a doubt|, for sure|, guaranteed|, no doubt|, beyond question|, every time"),
    },
    "casual": {
        OPEN: _split("""Hey|Hey there, buddy|Yeah|Yep|Okay so|What's up|Haha|Lol|Cool stuff|Alright dude|No worries|Oh man, tons of stuff to say|Hey folks|Yup, pretty much|Sup|Nah, it's no biggie|Well, you know, dude"""),
        CLOSE: _split("""Easy peasy|No biggie|Piece of cake|Cool stuff|That's pretty much it, dude|Just chill|Lol|No worries|You gotta try it|Hit me up any time|Cheers|Dig in|It's gonna be fine|Check it out|That's it, folks|Haha, that's all"""),
        BEFORE: _split("So yeah,|Dude,|You gotta|Just|Yeah,|Btw,|Tbh|Okay so|You wanna|You're gonna see that|Nah,|Lemme tell you,|Kinda weird, but|It's pretty much like this:|Basically, you know,"),
        AFTER: _split(", lol|, dude|, you know|, bro|, and stuff|, no biggie|, tbh|, yeah|, and tons of other stuff|, mate|, pal|, haha"),
    },
    "formal": {
        OPEN: _split("""In accordance with your request, the following is advised|Regarding your inquiry, several points are to be noted|It is advisable to proceed as follows|The matter requires careful consideration. Hence the following|With respect to this matter, the following applies|To whom it may concern|Concerning the above, the procedure is described below|It is essential to note the following|Pursuant to your inquiry, the details are given herein"""),
        CLOSE: _split("""It is therefore recommended to proceed accordingly|Additional information shall be provided upon request|Consequently, this approach is to be preferred|Such measures are sufficient|In conclusion, due diligence is required|Yours faithfully|The aforementioned steps shall suffice|One must act accordingly|Further details may be obtained upon request|Numerous individuals have found this approach appropriate|Yours sincerely"""),
        BEFORE: _split("Therefore,|Furthermore,|Moreover,|Consequently,|Hence,|Thus,|Additionally,|It is recommended that you|One should|It is advisable to|It should be noted that|Subsequently,|In addition,|Accordingly,|Nevertheless,|In order to succeed,|It is imperative to|With regard to this,|One must|Prior to this,|It is necessary to|Individuals are advised to|Upon reflection,"),
        AFTER: _split(", in accordance with established practice|, as is required|, where appropriate|, prior to any further steps|, thus ensuring an adequate result. Such is the optimal way|, subject to subsequent review|, in light of the above|, which constitutes the optimal approach"),
    },
    "ask": {
        OPEN: _split("What exactly do you need|May I ask what you have tried|Where should we begin|Do you have any experience with this"),
        CLOSE: _split("""Do you want more details|Which part interests you most|What have you tried so far|Would you like an example|Does that help|What is your goal|How much time do you have|Shall I go on|Is that what you meant|Can you tell me more about it|Do you have a budget in mind|What do you want to do next|Could you share more context|How old is it|Where do you live|Any other questions|Which one do you have|Does this make sense|Should I explain the second step|What is your favorite|When do you plan to start|Are you a beginner|Have you done this before|Is there anything else I can do|Would you like me to go deeper|Which system do you use|What did you have in mind|Who is it for"""),
    },
}
LINKS = _split("First,|Then|Next,|Also,|After that,|In short,|For example,|Finally,|To begin with,|Second,|In addition to that|Sure.|Sure,|Here is how:|Here's what I would do.|The short answer:|Then again,|Note that|On the other hand,|In the end,|So|And|But|This means that|If you can,|Usually|Often|Sometimes|Today,|As a rule,|Remember:|Tip:|Actually,|Yes,|No,|**Important:**|It helps to know that|You can also|Try this:|Because of this,|For most people,|Together,")
INTROS = _split("Here are some tips:|Steps:|Try this:|Here is a list:|A few ideas:|Follow these steps:|Key points:|To do:|What helps:|Some options:|In short:|My advice:|You need:|## Overview|Do this:")
CODE_INTROS = _split("Here is an example:|Example:|For instance:|Run this:|In code:|Like this:|See below.|The code:|Try it:|A small example:|Use this snippet:")
LANGUAGES = ["python", "", "", "bash", "js", "sql", "rust", "text"]


def _lower(text):
    # Acronyms and the pronoun keep their capital.
    return text if text[:2].isupper() or text[:2] in ("I ", "I'") else text[0].lower() + text[1:]


def _end(rng, text, bang):
    if text.endswith((".", "!", "?", ":")):
        return text
    return text + ("!" if rng.random() < bang else ".")


class Answer:
    """One answer that is being composed: sentences without their final stop, and the text around them."""

    def __init__(self, rng, own, size):
        self.rng, self.opening, self.closing = rng, [], []
        self.sentences, used = [], 0
        while not self.sentences or used < size:
            text = prose.sentence(rng, own)
            if len(text) > max(30, 1.7 * (size - used)) and rng.random() < 0.9:
                words = text.split()
                text = " ".join(words[: max(1, int(len(words) * max(12, size - used) / len(text)))]).rstrip(",;:")
            if rng.random() < 0.15:
                link = rng.choice(LINKS)
                text = f"{link} {text if link.endswith('.') else _lower(text)}"
            self.sentences.append(text)
            used += len(text) + 2

    def dress(self, tag, count):
        """Adds `count` marks of a kind at random places."""
        rng, marks = self.rng, MARKS[tag]
        for _ in range(count):
            if tag in attributes.LEXICONS and rng.random() < 0.3:
                self._slip_in(rng.choice(attributes.LEXICONS[tag]))
                continue
            where = rng.choice([w for w in marks for _ in range(2 if w in (BEFORE, CLOSE) else 1)])
            mark = rng.choice(marks[where])
            if tag == "ask":
                mark += "?"
            i = rng.randrange(len(self.sentences))
            if where == OPEN:
                self.opening.append(mark)
            elif where == CLOSE:
                self.closing.append(mark)
            elif where == BEFORE:
                self.sentences[i] = f"{mark} {_lower(self.sentences[i])}"
            else:
                self.sentences[i] = self.sentences[i].rstrip(".") + mark

    def _slip_in(self, phrase):
        """Puts a phrase of the lexicon anywhere: no carrier sentence could be written for each of them."""
        rng = self.rng
        i = rng.randrange(len(self.sentences))
        words = self.sentences[i].split()
        at = rng.choice([0, 0, rng.randint(0, len(words)), len(words)])
        if at:
            self.sentences[i] = " ".join([*words[:at], phrase, *words[at:]])
        else:
            self.sentences[i] = f"{phrase[0].upper()}{phrase[1:]}{rng.choice([',', '', '', ':'])} {_lower(self.sentences[i])}"

    def mention(self, keyword):
        """Names a word in the middle of some sentence."""
        rng = self.rng
        i = rng.randrange(len(self.sentences))
        words = self.sentences[i].split()
        shape = rng.random()
        if shape < 0.35:
            self.sentences.insert(i, rng.choice(["Use {k}", "Think of the {k}", "{K} helps here", "A {k} is fine", "The {k} is part of it", "Add some {k} to it", "It works well with {k}", "Do not forget the {k}", "{K} is a good choice", "There is also {k}", "You need a {k} for that", "I like {k} most"]).format(k=keyword, K=keyword.capitalize()))
        elif shape < 0.6:
            self.sentences[i] += rng.choice([" with {k}", " and {k}", " or {k}", " like a {k}", ", for example {k}", " near the {k}", " without {k}"]).format(k=keyword)
        else:
            at = rng.randint(0, len(words))
            self.sentences[i] = " ".join([*words[:at], keyword if at else keyword.capitalize(), *words[at:]])

    def text(self, bang=0.0, bangs=0, bullets=False, block=0, inline=False):
        rng = self.rng
        if inline:
            i = rng.randrange(len(self.sentences))
            snippet = "`" + prose.code(rng, 1).split("\n")[0] + "`"
            self.sentences[i] += rng.choice([" with ", " using ", ": ", ", for example ", ", then call "]) + snippet
        body = [_end(rng, s, bang) for s in self.sentences]
        opening = [_end(rng, s, bang) for s in self.opening]
        closing = [_end(rng, s, bang) for s in self.closing]
        parts = [opening, body, closing]
        for _ in range(bangs):
            group = rng.choice([p for p in parts if p])
            i = rng.randrange(len(group))
            group[i] = group[i] + "!" if group[i].endswith("!") else group[i][:-1] + "!" if group[i].endswith(".") else group[i]
        if bullets:
            middle = self._bulleted(body)
        else:
            middle = self._paragraphs(body)
        gap = "\n\n" if bullets or rng.random() < 0.25 else " "
        pieces = [" ".join(opening), middle, " ".join(closing)]
        if block:
            fence = f"```{rng.choice(LANGUAGES)}\n{prose.code(rng, block)}\n```"
            if rng.random() < 0.4:
                pieces[1] += " " + rng.choice(CODE_INTROS)
            pieces.insert(rng.choice([1, 2, 2, 2, 3]), fence)
            gap = rng.choice(["\n", "\n\n"])
        return gap.join(p for p in pieces if p)

    def _bulleted(self, body):
        rng = self.rng
        style = rng.choice(["- ", "- ", "* ", "• ", "1", "1", ")"])
        plain = rng.random() < 0.4
        lines = []
        for i, item in enumerate(body, 1):
            if plain and item.endswith("."):
                item = item[:-1]
            if rng.random() < 0.1:
                item = f"**{item.split()[0]}** {' '.join(item.split()[1:])}".rstrip()
            lines.append((f"{i}. " if style == "1" else f"{i}) " if style == ")" else style) + item)
        intro = rng.choice(INTROS) + rng.choice(["\n", "\n\n"]) if rng.random() < 0.4 else ""
        return intro + "\n".join(lines)

    def _paragraphs(self, body):
        rng = self.rng
        out = body[0]
        for item in body[1:]:
            out += ("\n\n" if rng.random() < 0.08 else " ") + item
        return out
