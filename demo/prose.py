"""The sources of sentences: a bank of everyday questions with answers written for this project, slot templates with
WordNet's vocabulary, WordNet's example sentences, and the reference texts in Python's own standard library."""

import re
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")

TOPICS = {
    "How do I learn to play the guitar?": "Start with three simple chords|Practice for fifteen minutes every day|Use a metronome from the first week|Learn songs you already love|Watch your hand position in a mirror|Change chords slowly before you speed up|Record yourself once a week and compare|Find a teacher for the first month",
    "What is the best way to cook rice?": "Rinse the rice until the water runs clear|Use two cups of water for one cup of rice|Let it simmer on low heat with the lid on|Rest the pot for ten minutes before you open it|Fluff it with a fork|A pinch of salt and a little butter add flavor|Basmati needs less water than short grain rice",
    "How can I sleep better at night?": "Keep the bedroom dark and cool|Go to bed at the same hour every day|Turn off the screens an hour before bed|Drink no coffee after lunch|A short walk in the evening relaxes the body|Read a calm book instead of scrolling|Write down your worries before you lie down",
    "How do I save money each month?": "Write down every expense for thirty days|Move a fixed sum to a savings account on payday|Cook at home more often|Cancel subscriptions you do not use|Compare prices before a big purchase|Set one clear goal for the money|Pay off expensive debt first",
    "What should I see in Rome in two days?": "Visit the Forum early in the morning|Walk across the river at sunset|Book the museum ticket online|Eat near the market, away from the big squares|Throw a coin into the fountain|Climb the hill for a view of the whole city|Wear comfortable shoes, the streets are rough",
    "How do I grow tomatoes on a balcony?": "Plant the seeds in warm, loose soil|Give the plants six hours of sun|Water the roots in the morning, never the leaves|Tie the stems to a stick|Feed the soil every two weeks|Pick the fruit when it is fully red|Cherry tomatoes are the easiest kind for pots",
    "Why is my computer so slow?": "Close the programs you do not use|Restart the machine once a week|Check the disk for free space|Too many browser tabs eat memory|Remove old files and programs|An SSD makes an old laptop feel new|Install the latest updates|Dust in the fan makes the processor throttle",
    "How should I prepare for an exam?": "Make a plan for each week|Review your notes on the same evening|Solve old exam papers under time pressure|Explain the idea to a friend|Sleep well the night before|Take a break every forty minutes|Start with the topics you find hardest",
    "Which exercise is good for back pain?": "Stretch the hip muscles every morning|Swimming is gentle on the spine|Walk for half an hour instead of sitting|Strengthen the core with a plank|Lift with your legs, not with your back|See a doctor if the pain lasts for weeks|A firm mattress supports the lower back",
    "Can you explain how rain forms?": "The sun heats the sea and water rises as vapor|The air cools as it climbs and clouds appear|Tiny drops collide and grow|When the drops are too heavy they fall|Mountains force the air upward and make rain|Warm air holds more moisture than cold air",
    "What makes a good short story?": "One character wants something badly|Every scene should change the situation|Cut the first paragraph, the story often starts in the second|Use concrete details instead of general statements|The ending answers the question of the beginning|Read the dialogue aloud|Leave room for the reader",
    "How do I remove a red wine stain?": "Blot the stain with a clean cloth, do not rub|Cover it with salt at once|Cold water and a drop of dish soap lift most of it|Rinse and wash the fabric as usual|White vinegar works on cotton|Test the cleaner on a hidden spot first",
    "How do I train my puppy?": "Reward the dog within two seconds|Keep each session under five minutes|Use the same word for the same action|Take it outside right after meals|Ignore the barking and praise the silence|Meet other dogs early|Never punish after the fact",
    "How do I write a cover letter?": "Name the job in the first line|Show one result that matches the advert|Keep it to a single page|Mention why this company interests you|Use the name of the recruiter if you know it|Proofread it twice|End with a clear next step",
    "How does a bicycle stay upright?": "The rider steers into the fall without noticing|The front wheel trails behind the steering axis|Speed makes the balance easier|Gyroscopic forces help only a little|Small corrections happen all the time|A locked handlebar makes any bike fall",
    "What is inflation?": "Prices rise across the whole economy|Each coin buys a little less than before|Central banks raise interest rates to slow it down|Wages often follow with a delay|A basket of goods is used to measure it|Too much money chasing too few goods is one cause",
    "How do I bake bread at home?": "Mix flour, water, yeast and salt|Knead the dough until it feels smooth|Let it rise in a warm place for an hour|Shape the loaf and let it rest again|Bake it in a very hot oven|A pan of water in the oven gives a crisp crust|The loaf sounds hollow when it is done",
    "How can I stop procrastinating?": "Break the task into tiny steps|Work for ten minutes and then decide again|Put the phone in another room|Start before you feel ready|Tell a friend about your deadline|Do the unpleasant part first|Reward yourself after each step",
    "How do I change a flat tire?": "Stop on firm and level ground|Loosen the nuts before you lift the car|Place the jack under the frame|Swap the wheel and tighten the nuts crosswise|Lower the car and tighten them once more|Check the pressure at the next station",
    "What is photosynthesis?": "Plants turn light into sugar|The green pigment captures the energy of the sun|Water comes from the roots and carbon dioxide from the air|Oxygen leaves through the pores of the leaf|The sugar feeds the whole plant|It takes place in the chloroplasts",
    "How do I plan a wedding on a budget?": "Set the total before you look at venues|Invite fewer guests|Choose a weekday or the low season|Ask a talented friend to take the photos|Borrow the decoration|A buffet costs less than a served dinner|Send the invitations by email",
    "How do I back up my photos?": "Keep three copies in two places|An external drive is cheap and quick|Cloud storage protects against fire and theft|Set up an automatic upload on your phone|Check once a year that the files open|Sort the pictures into folders by year",
    "Should I buy or rent a house?": "Compare the monthly cost over ten years|Buying ties up your savings|Renting keeps you flexible|Repairs are on you when you own|Interest rates change the answer|Stay at least five years to cover the fees of a purchase",
    "How do I make good coffee?": "Grind the beans right before brewing|Use water just below boiling|Weigh the coffee, sixty grams for a liter|Clean the machine every week|Fresh beans taste better than dark ones|Pour slowly and in circles|Warm the cup first",
    "How do I speak in front of a crowd?": "Practice the opening until it feels natural|Look at one friendly face at a time|Speak slower than you think you need to|Breathe out before the first word|Tell a story instead of reading slides|Arrive early and test the microphone|Nobody notices small mistakes",
    "How do vaccines work?": "They show the immune system a harmless piece of the germ|The body builds antibodies and memory cells|A later infection is stopped early|Some vaccines need a booster|Side effects are mild for most people|They protect others as well",
    "How do I fix a dripping faucet?": "Turn off the water under the sink|Take off the handle and unscrew the stem|Replace the worn washer|Clean the seat with vinegar|Put the parts back in the same order|Open the water slowly and look for leaks",
    "What are good gifts for a teenager?": "A voucher lets them choose|Concert tickets make a memory|Good headphones are always in use|Ask their friends for ideas|A board game works for the whole family|Books about their hobby show that you listen",
    "How do I get better at chess?": "Solve ten puzzles a day|Play slow games and review them|Learn the basic endgames first|Control the center with your pawns|Bring out the pieces before you attack|Look for checks and captures on every move",
    "How do I move to another country?": "Check the visa rules a year ahead|Learn the language before you go|Open a bank account early|Sell what you will not need|Rent for a short time first|Make copies of all the papers|Join a local club to meet people",
    "How do I sort numbers in a script?": "The sort function orders a list in place|Pass a key to choose the field|Use reverse order for the largest first|Sorting is stable, equal items keep their order|Make a copy if you need the original|A heap is faster when you only need the top ten",
    "How do I read a file line by line?": "Open the file and loop over it|Use a with statement so that it closes by itself|Strip the newline at the end of each line|Set the encoding to utf-8|Large files never have to fit in memory|Handle the error when the file is missing",
    "What does this error message mean?": "The variable was used before it had a value|Look at the last line of the traceback first|The index is larger than the list|Two types do not fit together|Print the value right before the failing line|The module is missing, install it with the package manager",
    "How do I undo the last commit?": "A soft reset keeps your changes|A revert makes a new commit that undoes the old one|Never rewrite history that others have pulled|The reflog still knows the old state|Check the status before you go on|Make a branch as a safety net",
    "How do I stay healthy at a desk job?": "Stand up every half hour|Place the screen at eye level|Drink a glass of water each hour|Eat lunch away from the keyboard|Stretch the neck and the wrists|Walk during phone calls|Look out of the window to rest your eyes",
    "Why do cats purr?": "They purr when they are content|A sick cat purrs to calm itself|Kittens purr so that the mother finds them|The sound comes from the muscles of the voice box|The vibration helps bones to heal|Some cats purr to ask for food",
    "How do I negotiate a higher salary?": "Know the market rate for your role|List what you achieved this year|Name a number first|Stay silent after you have asked|Talk about value, not about needs|Have a second option ready|Ask for a review in six months if the answer is no",
    "How do I choose a camera?": "The lens matters more than the body|Small cameras get used more often|Rent one for a weekend|Good light beats expensive gear|A used model saves half the price|Check how it feels in your hand|Video needs good stabilization",
    "What is a healthy breakfast?": "Oats with fruit keep you full for hours|Eggs bring a lot of protein|Skip the sugary cereal|Yogurt with nuts takes two minutes|A banana is better than nothing|Drink water before the coffee|Leftover vegetables fit into an omelet",
    "How do I deal with a noisy neighbor?": "Talk to them in a quiet moment|Choose a calm tone and name one concrete problem|Keep a log of the times|Ask the landlord to step in|Earplugs help for the worst nights|Agree on quiet hours together",
    "How do I return an item?": "Keep the receipt and the original box|Fill in the form on our website|Print the label and attach it to the parcel|The refund arrives within five days|Items on sale cannot be sent back|Drop the parcel at any post office",
    "My order has not arrived. What now?": "The parcel left our warehouse on Monday|Check the tracking number in your email|Deliveries take up to seven days|A neighbor has taken the parcel in|We will send a new one if it is lost|The address was missing a house number",
    "How do I reset my password?": "Click the link below the login form|Enter the email address of the account|Open the message and follow the link|Choose a long phrase instead of a short word|The link is valid for one hour|Look into the spam folder",
    "What is the capital of Australia?": "The capital is Canberra|It lies between Sydney and Melbourne|The city was planned from scratch|Parliament moved there in 1927|Many people name Sydney by mistake",
    "How far away is the moon?": "It is about 384,000 kilometers away|The distance changes over the month|Light takes a little more than a second|A car would need half a year|It moves away by four centimeters a year",
    "Is it safe to swim after eating?": "A light meal is no problem|The old rule of one hour is a myth|Heavy food makes you slow|Alcohol is the real danger|Listen to your body and rest when you feel full",
    "How do I keep my houseplants alive?": "Water them only when the soil is dry|Most plants die from too much water|Put them near a bright window|Turn the pot every week|Wipe the dust from the leaves|Repot them in spring|Snake plants forgive almost anything",
    "Which language should I study first?": "Choose the one you will use|Spanish is quick for English speakers|Twenty minutes each day beat a long weekend session|Listen to music and radio in that language|Learn the thousand most frequent words|Find someone to talk to|Motivation matters more than grammar",
    "How do I tie a tie?": "Cross the wide end over the narrow end|Bring it up through the loop|Pass it down through the front knot|Tighten it slowly toward the collar|The tip should touch the belt|Stand in front of a mirror",
    "Can you recommend a movie for tonight?": "A heist comedy works for every mood|Old thrillers have aged well|The animated ones are not only for children|Pick something under two hours|A documentary about the sea calms you down|Watch the trailer first",
    "How do I start running?": "Run slowly enough to talk|Mix one minute of running with two of walking|Three days a week are enough|Buy proper shoes in a specialist store|Increase the distance by a tenth each week|Rest when your knee hurts|Sign up for a short race",
    "What is a database index?": "It is a sorted copy of a column|Lookups become fast because the table is not scanned|Writes get slower since the index has to be updated|Put one on columns you filter by|A compound index covers several columns|Measure before and after",
}
PROMPTS = """How do I {v} a {n}?|What is a good {n} for my {n2}?|Tell me about the {n}.|Why does the {n} matter?|Can you help me {v} a {n}?|Explain the {n} to a child.|Should I {v} my {n} today?|Write something about a {n}.|What is a {n}?|Give me tips for a {n} and a {n2}.|I have a {n}. What should I do with it?|Please describe a {n}.|Is a {n} better than a {n2}?|Where can I find a {n}?|Hi! I need a {n} quickly, any ideas?|How long does it take to {v} a {n}?|Describe your {n}|summarize the {n} for me|Translate the word {n}.|What's the difference between a {n} and a {n2}?""".split("|")
TEMPLATES = """{V} the {n} before you {v2} the {n2}|The {n} and the {n2} are good for this|You can {v} a {n} with the {n2}|Many people {v} the {n} every day|First {v} the {n}, then {v2} it|It helps to {v} the {n} more often|A {n} is a kind of {n2}|Take a {n} and {v} it|Do not {v} the {n} without a {n2}|The {n} depends on the {n2}|{V} your {n} at least once a week|When the {n} is ready, {v} the {n2}|Keep the {n} away from the {n2}|If you have a {n}, {v} it first|Every {n} needs a good {n2}|Look at the {n} closely and {v} what you see|The best {n} is the one you already have|There are three kinds of {n}|My {n} was cheaper than the {n2}|Buy a {n}, it pays off within a year|The {n} changed when the {n2} came|Without a {n} you cannot {v} the {n2}|Ask an expert to {v} the {n}|The old {n} still works|Put the {n} next to the {n2}|{V} it again until the {n} fits|A small {n} is enough to {v} a {n2}|It is a {n}|In 19{d}{d2} the {n} was new|The price of a {n} is {d}{d2} dollars|{V} {d} of them and one {n2}|This is how you {v} a {n}|Nothing beats a {n} with {n2}|The answer is {n}|It takes {d} minutes to {v} the {n}""".split("|")
CODE = """x = {d} + {d2}|print({w})|for i in range({d}):\n    {w}(i)|{w} = [{d}, {d2}]|def {w}(x):\n    return x * {d}|{w}.sort()|import {w}|ls -l {w}|if {w} > {d}:\n    {w2}()|with open("{w}.txt") as f:\n    for line in f:\n        print(line)|git {w} --{w2}|pip install {w}|SELECT {w} FROM {w2} WHERE id = {d};|const {w} = {w2}.map(x => x + {d});|let mut {w} = Vec::new();|console.log("{w}");|{w} = {w2}.get("{w}", {d})|cd {w} && make|return {w} + {w2}|class {w}:\n    pass|<div class="{w}">{w2}</div>|while True:\n    {w}()|echo "{w}" > {w2}.txt|sudo apt install {w}|{w} = sorted({w2}, key=len)|try:\n    {w}()\nexcept ValueError:\n    {w2}()|def {w}(a, b):\n    {w2} = a + b\n    return {w2}|fn {w}() -> i32 {{ {d} }}|int {w} = {d};|assert {w} == {d}""".split("|")


def _wordnet_words(name, count):
    """The most used single words of a part of speech, by the sense tags of the index."""
    ranked = []
    for line in (WORDNET / name).read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        word, pointers = fields[0], int(fields[3])
        if re.fullmatch(r"[a-z]{3,11}", word):
            ranked.append((-int(fields[5 + pointers]), word))
    return [w for _, w in sorted(ranked)[:count]]


def _wordnet_examples():
    found = []
    for name in ("data.noun", "data.verb", "data.adj", "data.adv"):
        for line in (WORDNET / name).read_text(encoding="latin-1").splitlines():
            gloss = line.partition(" | ")[2]
            found += [e for e in re.findall(r'"([^"]{12,140})"', gloss) if len(e.split()) > 2 and "`" not in e]
    return found


def _library_sentences():
    """Sentences of the language reference that comes with Python; reST marks removed."""
    import pydoc_data.topics as topics

    found = []
    for text in topics.topics.values():
        for paragraph in re.split(r"\n\s*\n", text):
            if re.search(r"^\s*(>>>|\.\.|[*|+=-]{2,})|::=|^\s{6,}", paragraph, re.M):
                continue
            flat = re.sub(r'"([^" ]{1,30})"', r"\1", " ".join(paragraph.split())).replace("*", "")
            for sentence in re.findall(r"[A-Z][^.!?\"\\|\[\]{}_=<>]{20,160}[.](?= |$)", flat):
                found.append(sentence[:-1])
    return found


NOUNS = _wordnet_words("index.noun", 2600)
VERBS = [w for w in _wordnet_words("index.verb", 700) if w not in {"are", "was", "has", "been"}]
ADVERBS = _wordnet_words("index.adv", 500)
WORDS = _wordnet_words("index.noun", 12000)  # for keywords
EXAMPLES = _wordnet_examples()
LIBRARY = _library_sentences()
TOPIC_SENTENCES = {question: text.split("|") for question, text in TOPICS.items()}


def slots(rng, template):
    verb = rng.choice(VERBS)
    return template.format(
        n=rng.choice(NOUNS), n2=rng.choice(NOUNS), v=verb, v2=rng.choice(VERBS), V=verb.capitalize(),
        d=rng.randint(1, 9), d2=rng.randint(0, 9))


def question(rng):
    """A user's question and, if it is from the bank, its own sentences."""
    u = rng.random()
    if u < 0.55:
        text = rng.choice(list(TOPIC_SENTENCES))
        return text, TOPIC_SENTENCES[text]
    if u < 0.9:
        return slots(rng, rng.choice(PROMPTS)), None
    return rng.choice(EXAMPLES).capitalize() + rng.choice([".", "?", ""]), None


def sentence(rng, own):
    u = rng.random()
    if own and u < 0.45:
        return rng.choice(own)
    if u < 0.6:
        return slots(rng, rng.choice(TEMPLATES))
    if u < 0.72:
        return rng.choice(rng.choice(list(TOPIC_SENTENCES.values())))
    text = rng.choice(EXAMPLES if u < 0.92 else LIBRARY)
    return text[0].upper() + text[1:].rstrip(".!?;, ")


def code(rng, lines):
    def one():
        return rng.choice(CODE).format(w=rng.choice(NOUNS), w2=rng.choice(VERBS), d=rng.randint(0, 9), d2=rng.randint(0, 99))

    return "\n".join(one() for _ in range(lines))
