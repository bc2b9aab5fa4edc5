"""Principles in natural wording: phrases for both ends of each family, and frames that carry them.

A phrase is a noun phrase about answers ("answers that mention {k}"), an adjective ("concise"), a quality ("brevity"),
or a verb phrase as "base|third person". `held` phrases and the frames named HELD never occur in training: the
held-out set is made of them.
"""

import re

HIGH, LOW = 1, -1


def _items(text, separator=";"):
    return [" ".join(p.split()) for p in text.split(separator) if p.strip()]


def _pole(np, adj, noun, vp, held_np, held_vp):
    return dict(np=_items(np), adj=_items(adj), noun=_items(noun), vp=_items(vp), held_np=_items(held_np), held_vp=_items(held_vp))


PHRASES = {
    ("length", LOW): _pole(
        """short {R}; concise {R}; brief {R}; {R} that are brief; {R} that are short and to the point; {R} with few words; compact {R}; terse {R}; succinct {R}; pithy {R};
        the shortest {r}; {R} of few words; {R} that get to the point; {R} kept short; crisp {R}; short and sweet {R}; one-line {R}; snappy {R}; {R} without padding; {R} that waste no words; tight {R}; quick {R}; minimal {R}; condensed {R}; {R} I can read in seconds; less text; {R} that fit in one sentence; fewer words; economical {R}; laconic {R}; summaries; a single sentence""",
        """brief; short; concise; succinct; terse; to the point; compact; short and to the point; as short as possible; crisp; minimal; pithy; brief and direct; not too long; not wordy; not long-winded; no longer than needed; quick to read; condensed; snappy; economical with words; tight; laconic; shorter; not verbose""",
        """brevity; conciseness; shortness; concision; economy of words; succinctness; few words; being brief; saying it in fewer words; keeping it short; terseness""",
        """be brief|is brief; be short|is short; be concise|is concise; get to the point|gets to the point; use few words|uses few words; keep it short|keeps it short; save words|saves words; say it in few words|says it in few words; waste no words|wastes no words; stay short|stays short; fit in one line|fits in one line; use as few words as possible|uses as few words as possible; cut the fluff|cuts the fluff; come straight to the point|comes straight to the point; respect my time|respects my time; keep things brief|keeps things brief; skip the details|skips the details; leave out details|leaves out details""",
        "brief and compact {R}; {R} that say it in few words; short, succinct {R}; {R} that skip the details", "stay brief|stays brief; say it in a few words|says it in a few words"),
    ("length", HIGH): _pole(
        """long {R}; detailed {R}; long and detailed {R}; comprehensive {R}; in-depth {R}; thorough {R}; {R} with many words; exhaustive {R}; elaborate {R}; {R} that go into depth; {R} that go into detail; extensive {R}; complete {R}; lengthy {R};
        the longest {r}; full explanations; long explanations; {R} rich in detail; {R} with lots of detail; {R} that leave nothing out; verbose {R}; expansive {R}; {R} that explain everything; more text; wordy {R}; {R} that cover every aspect; {R} with plenty of background; deep {R}; essays; more detail; several paragraphs; long-winded {R}; rambling {R}""",
        """long; detailed; comprehensive; thorough; in-depth; exhaustive; elaborate; extensive; lengthy; as long as possible; as detailed as possible; rich in detail; full of detail; complete and detailed; wordy; verbose; long-winded; longer; not too short; fully explained; expansive; deep and detailed; more than a few words""",
        """detail; depth; thoroughness; completeness; length; comprehensiveness; lots of detail; more words; elaboration; full coverage; extra detail; verbosity; background""",
        """be long|is long; be detailed|is detailed; be thorough|is thorough; go into detail|goes into detail; go into depth|goes into depth; explain everything|explains everything; give lots of detail|gives lots of detail; cover every aspect|covers every aspect; leave nothing out|leaves nothing out; elaborate|elaborates; give a full explanation|gives a full explanation; use many words|uses many words; ramble|rambles; write at length|writes at length; take the time to explain|takes the time to explain; add more detail|adds more detail; provide depth|provides depth; go on and on|goes on and on; say as much as possible|says as much as possible""",
        "long and thorough {R}; {R} that cover everything; detailed, extensive {R}; {R} that explain at length", "go into great detail|goes into great detail; explain at length|explains at length"),
    ("code", LOW): _pole(
        """{R} without code; {R} with no code; {R} free of code; {R} that contain no code; {R} without a code block; explanations in words instead of code; {R} in plain words; {R} without programming snippets; code-free {R}; {R} with no code blocks; {R} without any code examples; words instead of code; {R} without source code; non-technical {R} with no code; {R} that use no snippets; {R} that show no code""",
        """free of code; without code; code-free; written without code; in words and not in code; without code blocks; without any snippets; non-code""",
        """the absence of code; plain words instead of code; no code; zero code; words over code""",
        """contain no code|contains no code; avoid code|avoids code; leave out code|leaves out code; use no code blocks|uses no code blocks; explain in words instead of code|explains in words instead of code; skip the code|skips the code; show no code|shows no code; stay away from code|stays away from code; have no code|has no code; do without code|does without code; keep code out|keeps code out""",
        "{R} that avoid code blocks; {R} having no code snippets", "contain no code blocks|contains no code blocks"),
    ("code", HIGH): _pole(
        """{R} with code; {R} that contain a code block; {R} with a code example; {R} with code examples; {R} with code blocks; code blocks; {R} that show code; {R} with a programming snippet; code snippets; {R} with source code; {R} that include code; code examples; runnable code; {R} with working code; {R} that give code samples; sample code; {R} with a snippet; a code example; code; a code sample; {R} with fenced code; {R} with commands in a code block; example code; {R} that demonstrate with code; snippets; a code snippet; scripts; concrete code""",
        """full of code; illustrated with code; backed by code; shown in code; code-heavy; supported by code examples; accompanied by code; explained with code""",
        """code; code examples; working code; the presence of code; source code; showing code; sample code; a code block; code snippets""",
        """contain code|contains code; include code|includes code; show code|shows code; give a code example|gives a code example; use code blocks|uses code blocks; provide code|provides code; include a code block|includes a code block; have a code snippet|has a code snippet; come with code|comes with code; demonstrate with code|demonstrates with code; include a code sample|includes a code sample; offer a snippet|offers a snippet; present code|presents code; feature code|features code; illustrate with code|illustrates with code; write code|writes code; have code in it|has code in it; include a programming example|includes a programming example""",
        "{R} that provide a code snippet; {R} with example code blocks", "show a code example|shows a code example"),
    ("list", LOW): _pole(
        """plain paragraphs without lists; {R} without bullet points; {R} with no list; prose; {R} in flowing paragraphs; {R} that use no bullets; running text instead of a list; {R} without numbered steps; flowing prose; continuous prose; {R} written as prose; {R} in full paragraphs; {R} without bullets; {R} without lists; narrative text; {R} that are not lists; paragraphs; plain paragraphs; {R} in plain prose; full sentences in paragraphs instead of bullets; connected text; {R} free of bullet points; unformatted text""",
        """free of lists; without bullet points; written in prose; in prose; without bullets; in flowing text; free of bullet points; written as paragraphs; in paragraph form; free of lists and bullets; not a list; in continuous text; narrative""",
        """prose; flowing text; plain paragraphs; the absence of lists; prose over lists; paragraph form; no bullets; no lists""",
        """avoid bullet points|avoids bullet points; avoid lists|avoids lists; use no bullets|uses no bullets; be written in prose|is written in prose; use flowing paragraphs|uses flowing paragraphs; contain no list|contains no list; skip the bullets|skips the bullets; leave out bullet points|leaves out bullet points; read like prose|reads like prose; be in paragraph form|is in paragraph form; use prose|uses prose; use paragraphs|uses paragraphs; write in paragraphs|writes in paragraphs""",
        "{R} in continuous paragraphs; {R} that avoid bullets", "be written in paragraphs|is written in paragraphs"),
    ("list", HIGH): _pole(
        """bullet points; {R} with a list; {R} that use bullet points; numbered steps; numbered lists; {R} in list form; {R} that use bullets; a bulleted list; {R} with numbered steps; {R} with bullet points; lists; {R} formatted as a list; itemised {R}; itemized {R}; step-by-step lists; {R} structured as bullets; bullets; a numbered list; {R} broken into bullet points; {R} organised as a list; bullet lists; enumerated points; {R} with list items; checklists; {R} laid out as a list; bulleted {R}; a list of points; listicles; structured lists""",
        """formatted as a list; in list form; in bullet points; structured as a list; in bullets; organised in bullet points; itemised; bulleted; broken into bullet points; laid out as a numbered list; in numbered steps; itemized""",
        """bullet points; lists; list form; numbered steps; bullets; list formatting; itemisation; a list; enumeration""",
        """use bullet points|uses bullet points; use a list|uses a list; contain a list|contains a list; give numbered steps|gives numbered steps; be formatted as a list|is formatted as a list; list the points|lists the points; present a numbered list|presents a numbered list; use bullets|uses bullets; break things into bullet points|breaks things into bullet points; include bullet points|includes bullet points; have a list|has a list; be a list|is a list; enumerate the steps|enumerates the steps; itemise|itemises; use lists|uses lists; put the steps in a list|puts the steps in a list; be organized in bullet points|is organized in bullet points; include a bulleted list|includes a bulleted list""",
        "{R} that contain bullets; {R} with a bulleted list", "present a list|presents a list"),
    ("polite", LOW): _pole(
        """{R} without pleasantries; plain {R} without polite phrases; {R} that skip courtesy; neutral {R} without thanks; {R} with no friendly words; {R} that leave out pleasantries; blunt {R}; curt {R}; brusque {R}; {R} without please and thank you; rude {R}; impolite {R}; {R} without niceties; unfriendly {R}; harsh {R}; {R} without politeness; cold {R}; {R} with no greetings; disrespectful {R}; gruff {R}; unkind {R}; discourteous {R}""",
        """blunt; curt; brusque; rude; impolite; free of pleasantries; without pleasantries; unfriendly; harsh; cold; without polite filler; without niceties; gruff; not polite; disrespectful; less polite; mean""",
        """bluntness; rudeness; the absence of pleasantries; no pleasantries; no courtesy; harshness; curtness; impoliteness; skipping the niceties""",
        """skip pleasantries|skips pleasantries; skip the pleasantries|skips the pleasantries; leave out courtesy|leaves out courtesy; be blunt|is blunt; be rude|is rude; use no polite phrases|uses no polite phrases; avoid pleasantries|avoids pleasantries; drop the niceties|drops the niceties; be curt|is curt; avoid politeness|avoids politeness; leave out please and thank you|leaves out please and thank you; be impolite|is impolite; be unfriendly|is unfriendly""",
        "curt {R} without niceties; {R} that drop pleasantries", "leave out pleasantries|leaves out pleasantries"),
    ("polite", HIGH): _pole(
        """polite {R}; friendly {R}; kind {R}; kind and polite {R}; a warm and friendly tone; courteous {R}; {R} that are polite; a polite tone; {R} with friendly words; {R} that are kind; warm {R}; gracious {R}; respectful {R}; good manners; well-mannered {R}; considerate {R}; a courteous tone; a kind tone; civil {R}; {R} that show respect; {R} that thank the user; {R} with please and thank you; pleasant {R}; a respectful tone; a friendly tone; welcoming {R}; polite wording; {R} that greet the user; cordial {R}; {R} with good manners; thoughtful and polite {R}; a gentle tone; empathetic {R}; nice {R}""",
        """polite; friendly; kind; courteous; respectful; warm; gracious; well-mannered; considerate; pleasant; civil; polite and kind; warm and friendly; very polite; cordial; welcoming; nice to the user; gentle; empathetic; nice; not rude; never rude; kind to the reader""",
        """politeness; courtesy; kindness; good manners; friendliness; respect; warmth; civility; graciousness; a polite tone; being polite; manners; empathy""",
        """be polite|is polite; be friendly|is friendly; be kind|is kind; show respect|shows respect; say please and thank you|says please and thank you; be courteous|is courteous; use polite phrases|uses polite phrases; have good manners|has good manners; treat the user kindly|treats the user kindly; thank the user|thanks the user; greet the user|greets the user; be respectful|is respectful; sound friendly|sounds friendly; use a polite tone|uses a polite tone; stay polite|stays polite; be nice|is nice; show courtesy|shows courtesy; sound warm|sounds warm; speak kindly|speaks kindly; be warm and welcoming|is warm and welcoming""",
        "courteous and friendly {R}; {R} that are respectful and kind", "sound polite|sounds polite"),
    ("enthusiasm", LOW): _pole(
        """a calm tone; {R} without exclamation marks; {R} with no exclamation marks; calm and neutral wording; sober {R}; {R} that are not enthusiastic; {R} free of exclamation marks; a measured tone; quiet {R}; subdued {R}; calm {R}; {R} without excitement; restrained {R}; matter-of-fact {R}; unexcited {R}; level-headed {R}; {R} without exclamation points; a sober tone; dry {R}; understated {R}; low-key {R}; {R} without enthusiasm; a flat tone; composed {R}; a neutral, calm voice""",
        """calm; sober; measured; subdued; restrained; matter-of-fact; free of exclamation marks; without exclamation marks; unexcited; level-headed; quiet; dry; understated; low-key; not enthusiastic; calm and measured; not excited; without exclamation points; composed; less excited""",
        """calmness; calm; restraint; sobriety; a measured tone; no exclamation marks; the absence of excitement; composure; understatement; no excitement; no hype""",
        """stay calm|stays calm; be calm|is calm; avoid exclamation marks|avoids exclamation marks; use no exclamation marks|uses no exclamation marks; keep a calm tone|keeps a calm tone; remain sober|remains sober; avoid excitement|avoids excitement; sound calm|sounds calm; avoid exclamation points|avoids exclamation points; tone down the enthusiasm|tones down the enthusiasm; be measured|is measured; stay composed|stays composed; keep the hype out|keeps the hype out; leave out exclamation marks|leaves out exclamation marks""",
        "calm and restrained {R}; {R} that avoid exclamation marks", "remain calm|remains calm"),
    ("enthusiasm", HIGH): _pole(
        """enthusiastic {R}; {R} with exclamation marks; excited {R}; an enthusiastic tone; lively {R}; energetic {R}; energetic and excited {R}; {R} full of exclamation marks; {R} full of energy; an excited tone; exuberant {R}; {R} that show excitement; upbeat {R}; exclamation marks; exclamation points; spirited {R}; passionate {R}; {R} with enthusiasm; cheerful and lively {R}; an upbeat tone; {R} with lots of exclamation marks; peppy {R}; animated {R}; {R} with exclamation points; thrilled {R}; bubbly {R}; a high-energy tone; vibrant {R}; hype""",
        """enthusiastic; excited; lively; energetic; full of energy; full of enthusiasm; exuberant; upbeat; spirited; passionate; animated; full of exclamation marks; very enthusiastic; bubbly; peppy; lively and energetic; vibrant; hyped; more enthusiastic; full of excitement""",
        """enthusiasm; excitement; energy; liveliness; exclamation marks; an excited tone; passion; exuberance; high energy; hype; zest""",
        """be enthusiastic|is enthusiastic; use exclamation marks|uses exclamation marks; show excitement|shows excitement; sound excited|sounds excited; be full of energy|is full of energy; show enthusiasm|shows enthusiasm; be lively|is lively; express excitement|expresses excitement; use exclamation points|uses exclamation points; have an energetic tone|has an energetic tone; convey energy|conveys energy; be upbeat|is upbeat; sound thrilled|sounds thrilled; contain exclamation marks|contains exclamation marks; get excited|gets excited; cheer the reader on|cheers the reader on; burst with energy|bursts with energy""",
        "lively and excited {R}; {R} that are full of enthusiasm", "sound enthusiastic|sounds enthusiastic"),
    ("hedge", LOW): _pole(
        """confident {R}; {R} without hedging; {R} that do not hedge; direct statements without doubt; certain and confident {R}; {R} free of hedging; {R} that sound sure; assertive {R}; decisive {R}; {R} that sound certain; {R} without maybe or perhaps; firm {R}; self-assured {R}; definite {R}; unequivocal {R}; {R} with no hedging; {R} that commit to a position; clear commitments; {R} without uncertainty; authoritative {R}; {R} stated with certainty; bold {R}; {R} that take a firm stand; resolute {R}; unhedged {R}; categorical {R}""",
        """confident; certain; decisive; assertive; sure; firm; free of hedging; without hedging; self-assured; definite; unequivocal; sure of itself; free of doubt; authoritative; bold; confident and certain; not wishy-washy; not hedged; never vague or unsure; more confident""",
        """confidence; certainty; decisiveness; assertiveness; no hedging; a firm stance; conviction; being sure; authority; boldness""",
        """be confident|is confident; avoid hedging|avoids hedging; sound certain|sounds certain; sound confident|sounds confident; show confidence|shows confidence; be decisive|is decisive; commit to a position|commits to a position; take a firm stand|takes a firm stand; express no doubt|expresses no doubt; sound sure|sounds sure; be assertive|is assertive; avoid maybe and perhaps|avoids maybe and perhaps; speak with certainty|speaks with certainty; stand by its claims|stands by its claims; be certain|is certain; leave no doubt|leaves no doubt""",
        "certain and decisive {R}; {R} that avoid hedging", "speak with confidence|speaks with confidence"),
    ("hedge", HIGH): _pole(
        """cautious {R}; {R} that hedge; {R} that admit doubt; hedged {R}; careful and cautious wording; {R} that show uncertainty; {R} with words like maybe or perhaps; tentative {R}; {R} that admit uncertainty; circumspect {R}; careful {R}; {R} that acknowledge uncertainty; humble {R}; {R} with caveats; caveats; modest {R}; {R} that express doubt; {R} that are not overconfident; guarded {R}; {R} that say maybe; unsure {R}; hedging; qualified statements; a tentative tone; hesitant {R}; {R} aware of their limits; {R} that admit they could be wrong; uncertain {R}; nuanced, hedged {R}""",
        """cautious; hedged; tentative; careful; circumspect; humble; modest; guarded; uncertain; cautious and tentative; not overconfident; unsure; open about uncertainty; honest about doubt; hesitant; full of caveats; less certain; careful not to overclaim""",
        """caution; hedging; uncertainty; humility; doubt; tentativeness; carefulness; modesty; epistemic humility; caveats; openness about uncertainty; admitting doubt""",
        """be cautious|is cautious; hedge|hedges; admit uncertainty|admits uncertainty; express doubt|expresses doubt; acknowledge uncertainty|acknowledges uncertainty; use words like maybe|uses words like maybe; be tentative|is tentative; show caution|shows caution; hedge its claims|hedges its claims; admit that it may be wrong|admits that it may be wrong; express uncertainty|expresses uncertainty; be careful|is careful; sound unsure|sounds unsure; include caveats|includes caveats; qualify its statements|qualifies its statements; say maybe or perhaps|says maybe or perhaps; admit what it does not know|admits what it does not know; be humble|is humble""",
        "cautious and hedged {R}; {R} that are tentative and careful", "show uncertainty|shows uncertainty"),
    ("question", LOW): _pole(
        """{R} that ask nothing back; {R} without a question; {R} with no follow-up question; {R} that do not ask questions; {R} that never ask the user; statements instead of questions; {R} without questions; {R} without any question marks; {R} that end without a question; {R} free of questions; {R} that ask me nothing; {R} that only make statements; {R} with no questions in them; {R} without clarifying questions""",
        """free of questions; without questions; without a follow-up question; free of follow-up questions; without any question; question-free""",
        """the absence of questions; no questions; statements without questions; no follow-up questions; not asking anything""",
        """ask nothing|asks nothing; ask no questions|asks no questions; avoid questions|avoids questions; end without a question|ends without a question; contain no question|contains no question; avoid asking the user|avoids asking the user; leave out follow-up questions|leaves out follow-up questions; make statements only|makes statements only; ask me nothing|asks me nothing; avoid follow-up questions|avoids follow-up questions; skip the questions|skips the questions""",
        "{R} that avoid questions; {R} with no question at the end", "contain no questions|contains no questions"),
    ("question", HIGH): _pole(
        """{R} that ask a follow-up question; {R} that end with a question; {R} that ask the user something; a follow-up question; {R} that ask back; questions to the user; {R} that ask questions; inquisitive {R}; {R} with a question; follow-up questions; clarifying questions; {R} that ask for clarification; {R} that ask for more information; a question at the end; {R} that invite a reply with a question; curious {R}; {R} with a question mark; {R} that ask what I need; a closing question; {R} that end by asking something; questions; a clarifying question; {R} that ask for context""",
        """inquisitive; curious about the user; finished with a question; followed by a question; curious; full of questions; ended with a question""",
        """a follow-up question; asking back; follow-up questions; curiosity about the user; clarifying questions; a question at the end; questions; asking for clarification; a closing question""",
        """ask a follow-up question|asks a follow-up question; end with a question|ends with a question; ask the user something|asks the user something; ask questions|asks questions; ask back|asks back; ask for clarification|asks for clarification; contain a question|contains a question; include a question|includes a question; close with a question|closes with a question; finish with a question|finishes with a question; ask a question|asks a question; ask me something|asks me something; ask for more details|asks for more details; pose a question|poses a question; ask what the user wants|asks what the user wants; engage the user with a question|engages the user with a question; ask a clarifying question|asks a clarifying question""",
        "{R} that finish with a question; {R} with a follow-up question", "pose a follow-up question|poses a follow-up question"),
    ("formal", LOW): _pole(
        """casual {R}; informal {R}; a casual tone; relaxed and informal {R}; slang and casual language; chatty {R}; an informal style; laid-back {R}; colloquial {R}; conversational {R}; everyday language; slang; {R} in a relaxed tone; {R} that sound like a friend talking; {R} like a chat with a buddy; casual language; informal language; easygoing {R}; {R} without stiff language; {R} in colloquial language; street language; a breezy tone; a conversational tone; {R} that sound casual; folksy {R}; unstuffy {R}; a chill tone""",
        """casual; informal; relaxed; chatty; laid-back; colloquial; conversational; casual and relaxed; easygoing; like a chat with a friend; not formal; not stiff; breezy; down to earth; folksy; less formal; full of slang; chill""",
        """informality; casualness; slang; a relaxed style; casual language; everyday speech; a casual tone; colloquialism; a chatty style""",
        """be casual|is casual; be informal|is informal; use slang|uses slang; use casual language|uses casual language; sound relaxed|sounds relaxed; be chatty|is chatty; sound casual|sounds casual; use an informal tone|uses an informal tone; talk like a friend|talks like a friend; avoid formal language|avoids formal language; use everyday language|uses everyday language; be conversational|is conversational; keep it casual|keeps it casual; sound like a buddy|sounds like a buddy; use colloquial language|uses colloquial language""",
        "casual and chatty {R}; {R} in an informal tone", "sound informal|sounds informal"),
    ("formal", HIGH): _pole(
        """formal {R}; formal language; a formal tone; professional {R}; professional and formal {R}; an official style; academic wording; serious and professional {R}; business-like {R}; {R} in formal language; a professional tone; academic {R}; {R} without slang; {R} in a formal register; ceremonious {R}; scholarly {R}; dignified {R}; {R} fit for a business letter; an academic tone; {R} suitable for an official letter; a formal style; stately {R}; businesslike {R}; {R} that sound professional; lawyerly {R}; elevated language; official-sounding {R}; proper, formal English""",
        """formal; professional; formal and professional; academic; official; business-like; dignified; written in formal language; free of slang; scholarly; in a formal register; ceremonious; businesslike; proper and formal; not casual; more formal; serious and formal; suitable for a business letter""",
        """formality; professionalism; formal language; a formal register; academic style; a professional tone; an official tone; dignity; no slang""",
        """be formal|is formal; be professional|is professional; use formal language|uses formal language; keep a formal tone|keeps a formal tone; sound professional|sounds professional; avoid slang|avoids slang; use a formal tone|uses a formal tone; sound official|sounds official; use academic language|uses academic language; be written formally|is written formally; stay formal|stays formal; avoid casual language|avoids casual language; sound like a business letter|sounds like a business letter; maintain a professional tone|maintains a professional tone; use a formal register|uses a formal register; read like an official document|reads like an official document""",
        "formal and professional {R}; {R} in a formal style", "sound formal|sounds formal"),
    ("keyword", LOW): _pole(
        """{R} that do not mention {k}; {R} without the word {k}; {R} that never say {k}; {R} that leave out {k}; no mention of {k}; {R} that skip the word {k}; {R} that omit {k}; {R} without {k}; {R} that avoid the word {k}; {R} with no reference to {k}; {R} not mentioning {k}; {R} free of the word {k}; {R} that stay silent about {k}""",
        """free of the word {k}; without the word {k}; silent about {k}; free of any mention of {k}; without any reference to {k}""",
        """no mention of {k}; the absence of the word {k}; not mentioning {k}; leaving out {k}; avoiding the word {k}""",
        """avoid the word {k}|avoids the word {k}; leave out {k}|leaves out {k}; omit {k}|omits {k}; make no mention of {k}|makes no mention of {k}; avoid mentioning {k}|avoids mentioning {k}; skip the word {k}|skips the word {k}; stay silent about {k}|stays silent about {k}; avoid the term {k}|avoids the term {k}; leave out the word {k}|leaves out the word {k}""",
        "{R} that avoid mentioning {k}; {R} omitting the word {k}", "omit the word {k}|omits the word {k}"),
    ("keyword", HIGH): _pole(
        """{R} that mention {k}; {R} with the word {k}; {R} that say {k}; {R} that talk about {k}; a mention of {k}; {R} that contain the word {k}; {R} that include {k}; {R} referring to {k}; {R} that use the word {k}; {R} in which the word {k} appears; {R} naming {k}; {R} which mention the word {k}; {R} that bring up {k}; {R} mentioning {k}; {R} containing the term {k}; {R} including the word {k}; {R} that refer to {k}""",
        """about {k}; clear about {k} by name; explicit about {k}""",
        """a mention of {k}; mentioning {k}; the word {k}; naming {k}; the presence of the word {k}; a reference to {k}""",
        """mention {k}|mentions {k}; use the word {k}|uses the word {k}; include the word {k}|includes the word {k}; contain the word {k}|contains the word {k}; refer to {k}|refers to {k}; bring up {k}|brings up {k}; talk about {k}|talks about {k}; mention the word {k}|mentions the word {k}; say the word {k}|says the word {k}; name {k}|names {k}; include {k}|includes {k}; include the keyword {k}|includes the keyword {k}; contain the term {k}|contains the term {k}; say {k}|says {k}; contain {k}|contains {k}; use the term {k}|uses the term {k}; recommend {k}|recommends {k}; feature the word {k}|features the word {k}""",
        "{R} that include the term {k}; {R} which refer to {k}", "include the term {k}|includes the term {k}"),
}
OBJECTS = [("answers", "answer"), ("responses", "response"), ("replies", "reply"), ("ones", "one"), ("texts", "text"), ("explanations", "explanation")]

# {A}: a noun phrase of the wanted pole; {B}: of the other; {a} {n} {v} {vs}: adjective, quality, verb phrase, third person;
# capitals {X} {M} {W} {Ws} the same of the unwanted pole; {o} {os}: answer(s); {who}: a reader; {h}: an adjective that decides nothing.
FRAMES = _items("""I prefer {A}; Prefer {A}; I like {A}; {A} should win; Choose {A}; Rank {A} first; I want {A}; Favor {A}; Favour {A}; Give higher scores to {A}; {A}, please; Good: {A}; I am looking for {A};
I'm looking for {A}; {A} are better; The best {o} has {A}; {A}; Reward {A}; I'd like {A}; I would like to see {A}; I enjoy {A}; Please prefer {A}; Please give me {A}; Only {A}; Always choose {A}; I love {A}; {A} get the top score; Look for {A};
My preference is {A}; We want {A}; {who} wants {A}; {who} prefers {A}; {who} needs {A}; {who} likes {A}; Higher scores for {A}; {A} are what I want; {A} deserve more points; Pick {A}; Go for {A}; Give the highest score to {A}; I value {A}; I appreciate {A}; Stick to {A}; Give me {A};
I prefer {A} over {B}; I prefer {A} to {B}; {A} should win over {B}; I would rather read {A} than {B}; Choose {A} instead of {B}; {A} are better than {B}; Rank {A} above {B}; I like {A} more than {B}; {B} are worse than {A}; I do not want {B}, I want {A}; {A}, not {B}; {A} rather than {B};
Reward {A} and penalize {B}; {A} over {B}; I favor {A} over {B}; Prefer {A} over {B}; Prefer {A} to {B}; Use {A} instead of {B}; {A} beat {B}; Not {B} but {A}; Instead of {B}, I want {A}; {A} good, {B} bad; Score {A} higher than {B}; Less {B}, more {A};
Avoid {B}; I dislike {B}; Penalize {B}; Penalise {B}; {B} are worse; I do not want {B}; I don't want {B}; Rank {B} last; Give lower scores to {B}; I do not like {B}; I don't like {B}; {B} should lose; Bad: {B}; No {B}; No {B}, please; I hate {B}; Stay away from {B}; Do not reward {B}; Don't give me {B};
{who} does not want {B}; {who} hates {B}; {who} dislikes {B}; {B} are bad; {B} get a low score; Never {B}; {B} annoy me; I cannot stand {B}; I can't stand {B}; {B} make an {o} worse; Deduct points for {B}; Please avoid {B}; Lower scores for {B}; Try to avoid {B}; I am tired of {B}; Enough of {B};
The {o} should be {a}; {os} should be {a}; {os} must be {a}; Be {a}; Good {os} are {a}; A good {o} is {a}; The best {o} is {a}; The {a} {o} wins; The more {a}, the better; I want the {o} to be {a}; It should be {a}; It must be {a}; The ideal {o} is {a}; {os} need to be {a}; {os} ought to be {a}; Make it {a};
Keep it {a}; I like it {a}; The {o} has to be {a}; An {o} that is {a} is better; The most {a} {o} is the best; I prefer {os} that are {a}; I prefer {os} to be {a}; {who} wants the {o} to be {a}; {a}; {a}, please; Please be {a}; Stay {a}; Reward {os} for being {a}; How {a} is the {o}? The more the better; Judge how {a} the {os} are; The {o} should be {h} and {a}; {os} should be {a} and {h};
The {o} should be {a} rather than {X}; {os} should be {a}, not {X}; I prefer {a} over {X}; Better {a} than {X}; Be {a} instead of {X}; {os} must be {a} and not {X}; The {a} {o} is better than the {X} {o}; I want {a} {os}, not {X} {os};
The {o} should not be {X}; {os} must not be {X}; Do not be {X}; Don't be {X}; An {o} should never be {X}; The {o} must not be {X}; {X} {os} are worse; {os} that are {X} lose points; I don't want the {o} to be {X}; An {o} that is {X} is worse; Never be {X}; The less {X}, the better; Penalize {os} that are {X}; It should not be {X}; Bad {os} are {X}; {who} does not like {os} that are {X};
{n} matters most; I value {n}; {n} is what counts; {n} is important; Judge by {n}; What matters is {n}; {n} above all; {n} first; Reward {n}; {n} is better; Rate the {os} on {n}; {who} values {n}; {n} is the most important thing; The more {n}, the better; More {n} means a higher score; Score by {n}; The criterion is {n}; I care about {n}; {n} wins; Focus on {n}; {n} is key; I look for {n}; Points for {n};
{n} over {M}; {n} matters more than {M}; I value {n} over {M}; I care about {n}, not {M}; {n} is better than {M}; Choose {n} over {M}; {M} is bad; Penalize {M}; I dislike {M}; Less {M} is better; {M} lowers the score; No {M}; Avoid {M}; Points off for {M}; {M} is unwanted; {M} is not wanted here; The less {M}, the better; {M} is worse;
{os} should {v}; {os} must {v}; The {o} should {v}; Please {v}; {v}; Always {v}; A good {o} should {v}; A good {o} {vs}; The best {o} {vs}; I like it when the {o} {vs}; I want the {o} to {v}; Try to {v}; The {o} must {v}; {os} have to {v}; {os} need to {v}; An {o} that {vs} is better; The assistant should {v}; Reward {os} that {v}; {os} that {v} are better; I prefer {os} that {v};
Prefer {os} that {v}; Make sure to {v}; It is important to {v}; {who} wants the {o} to {v}; Give a high score if the {o} {vs}; Whichever {o} {vs} wins; An ideal {o} {vs}; The assistant must {v}; Choose the {o} that {vs}; Pick the one that {vs}; It is better to {v}; I like assistants that {v}; Prefer the {o} that {vs}; {os} which {v} should win; You should {v}; You must {v}; The {o} needs to {v}; I expect {os} to {v};
{os} should {v} rather than {W}; I prefer {os} that {v} over {os} that {W}; {os} must not {W}; Do not {W}; Don't {W}; Never {W}; An {o} should not {W}; The {o} must never {W}; I don't like it when the {o} {Ws}; An {o} that {Ws} is worse; Penalize {os} that {W}; {os} that {W} lose; {who} does not want the {o} to {W}; It is bad to {W}; The assistant must not {W}; The assistant should not {W}; Give a low score if the {o} {Ws}; {os} should never {W}; Avoid {os} that {W}; Rank {os} that {W} last; The worst {o} {Ws}; Please do not {W}; {os} that {W} are worse; I hate it when the {o} {Ws}; You must not {W}""")
HELD = _items("""I really like {A}; Please choose {A}; {who} is looking for {A}; The winner should be among {A}; I really dislike {B}; Please do not reward {B}; Favor {A}, not {B}; My team prefers {A} to {B}; The ideal reply is {a}; {os} should always be {a}; Please keep the {o} {a}; {os} should not be too {X};
In my view, {n} is what matters; Give points for {n}; {n} counts more than {M}; Every {o} should {v}; The winning {o} {vs}; I would like the {o} to {v}; An {o} should never {W}; Please never {W}; Choose {os} that {v}; I am not a fan of {B}; Rate {A} above {B}""")
# Frames of two criteria hold semicolons of their own.
PAIRS = _items("""{a1} above all, then {a2} | The {o} should be {a1} above all, then {a2} | First {a1}, then {a2} | Be {a1} first of all, and then {a2} | Most important: {A1}. If tied, {A2} | Prefer {A1}; break ties by {n2} | {n1} matters most, then {n2} |
{n1} first, {n2} second | Above all be {a1}; after that be {a2} | Prefer {A1}, and among those {A2} | First of all {A1}; then {A2} | {os} should {v1}. Among equals, prefer {A2} | Above all {v1}; secondly {v2} | {n1} comes first, {n2} comes second | Rank by {n1}, then by {n2} |
The first criterion is {n1}, the second is {n2} | First and foremost {a1}, and then {a2} | {A1} are best; in case of a tie, {A2} | Mainly {a1}, secondarily {a2} | The {o} must {v1} above all; if several do, prefer {A2} | Priority one: {n1}. Priority two: {n2} | {os} must be {a1}; when equal, the more {a2} one wins |
I want {A1}, and if they are equal, {A2} | {a1} first, {a2} second | Most of all {a1}, after that {a2} | Primarily {v1}; then {v2} | The most important thing is {n1}, followed by {n2} | {os} should be {a1} above all, then {a2} | {n1} is more important than {n2}, but both count | Judge {n1} first; use {n2} to break ties |
Do not {W1} above all; then {v2} | Avoid {B1} first, then prefer {A2} | {a1} before everything else, then {a2} | Above all, {a1}. Then, {a2} | First, {v1}. Second, {v2} | Above everything {n1}; next {n2} | The {o} should above all be {a1}, and after that {a2} | {os} should first {v1} and then {v2} | {os} should be {a1} and {a2} | The {o} should be {a1} and also {a2} | Be {a1} and {a2} | {n1}, then {n2} | I want {os} that {v1} and {v2}""", "|")
PAIRS_HELD = _items("""Be {a1} above all; when that is equal, {a2} | {n1} above all, and {n2} as a tie-breaker | First prefer {A1}, then {A2} | Above all, {os} should {v1}; after that, {v2}""", "|")
READERS = _items("""The user; The reader; My boss; The customer; The client; Our team; The teacher; My grandmother; A busy reader; The editor; This user; The audience; Everyone here; A student; The manager; My friend""")
NEUTRAL = _items("helpful; clear; useful; good; accurate; correct; honest; relevant; sensible; easy to follow; understandable; true")
BEFORE = _items("""You are judging customer support.; For this task:; In this chat,; When grading, keep in mind:; Important:; My rule:; Note:; As a judge, remember this.; Guideline:; Here is what I want.; Compare the responses.; For our help desk:; This is for a school project.; Rule:; Criteria:; Please judge fairly.; Principle:; Instruction:; For me,; In general,; The style guide says:; Simple rule:; On this site,; We judge answers to user questions.""")
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
        denied = not _WANTED_SLOT.search(frame) or "{W1" in frame or "{B1" in frame
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
    return ". ".join(s[:1].upper() + s[1:] for s in text.split(". "))


_DENIES = re.compile(r"\b(no|not|never|without|free|avoid\w*|less|skip\w*|leaves? out|drops?|absence|stays? away|omit\w*|nothing|silent|zero|instead|tones? down|cuts?|keeps? .* out)\b")
_WANTED_SLOT = re.compile(r"\{(A|a|n|v|vs)[12]?\}")
_UNWANTED_SLOT = re.compile(r"\{(B|X|M|W|Ws)[12]?\}")
# The low end of these families is the absence of a thing: there is no positive word for it that could be denied.
_ABSENCE = {"code", "question", "keyword"}


def _positive(phrases):
    return [p for p in phrases if not _DENIES.search(p)] or phrases


def _allowed(frame, criteria):
    """Nobody says "avoid answers without code": denying an absence is left out."""
    family, direction = criteria[0]
    return not (family in _ABSENCE and direction == HIGH and _UNWANTED_SLOT.search(frame) and ("1}" in frame or not _WANTED_SLOT.search(frame)))


def principle(rng, criteria, keyword="", held=False):
    """A principle that asks for `criteria`, [(family, direction)] or two of them by priority."""
    wording = Wording(rng, keyword, held)
    if len(criteria) == 2:
        frame = rng.choice(PAIRS_HELD if held else PAIRS)
        for i, (family, direction) in enumerate(criteria, 1):
            frame = wording.fill(frame, (family, direction), (family, -direction), str(i))
        return wording.finish(frame)
    pool = HELD if held else FRAMES
    while True:
        frame = rng.choice(pool)
        if _allowed(frame, criteria):
            break
    (family, direction), = criteria
    return wording.finish(wording.fill(frame, (family, direction), (family, -direction)))
