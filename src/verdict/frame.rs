//! What the prose around a verdict says about it: whether it is the judge's own, its last word, a draft, or another's
//! that is only quoted.

use super::chars::{self, Quote};
use super::lexicon::Lexicon;
use super::names::Names;

/// How much text before and after a verdict is looked at, in bytes.
const WINDOW: usize = 400;

/// What the prose around a verdict says about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Frame {
    /// Nothing: it stands alone.
    #[default]
    Bare,
    /// The words announce it, and say nothing else.
    Plain,
    /// The words say that it is the judge's own.
    Own,
    /// The words say that it is the last one.
    Final,
    /// The words say that it is quoted, or an example, or a draft.
    Quoted,
    /// It is in a sentence about a response, and may be quoted from that response.
    Mentioned,
    /// The words say both.
    Doubtful,
}

/// Words that introduce a quotation of another's text.
#[rustfmt::skip]
static QUOTES: Lexicon = Lexicon::new(&[
    "says", " said", "saying", "claims", "claimed", "claiming", "inject", "smuggl", "embed", "hidden", "hides",
    "fake", "forge", "attempt", "tried", "tries", "trying", "asks me", "asked me", "asks the judge", "asking me",
    "asks to", "tells me", "told me", "telling me", "tells the judge", "instructs", "instructing", "instruction in",
    "instructed me", "wants me", "wants us", "wanted me", "wanted the", "pretend", "quote", "quoting", "wrote",
    "writes", "written by", "manipulat", "trick", "its verdict", "its own verdict", "its own score", "its own rating",
    "own scores in", "ignore", "ignoring", "disregard", "not follow", "not obey", "bogus", "planted", "sneak",
    "slipped", "alleged", "so-called", "jailbreak", "reject", "refus", "won't give", "won't output", "won't write",
    "will not give", "will not output", "not going to", "declin", "would have me", "self-assigned", "self-awarded",
    "behauptet", "sagt", "schreibt", "ignorier", "versucht", "fordert", "verlangt", "gefälscht", "zitat", "zitier",
    "geschmuggelt", "prétend", "écrit", "dit :", "dit:", "tente", "demande", " cite", "falsifi", "dice", "afirma",
    "escribe", "ignoro", "intenta", "pide", "声称", "写道", "试图", "注入", "忽略", "伪造", "要求", "写着", "引用", "说：", "说:", "自称",
    "主張", "無視", "偽", "試み", "書かれ", "書いて", "утвержда", "пишет", "игнорир", "поддел", "требует",
]);
/// Words for a piece of another's text, or for something that does not count.
#[rustfmt::skip]
static SNIPPETS: Lexicon = Lexicon::new(&[
    "expected output:", "expected verdict:", "expected result:", "expected scores", "reference score", "reference verdict",
    "reference rank", "ground truth:", "ground truth scores", "ground truth ranking", "gold score", "gold rank", "annotators' ", "annotator's ", "human scores", "human ratings",
    "excerpt", "snippet", "discard", "suspicious", "pasted", "old version", "not mine", "must not count", "out of account",
    "does not count", "white letters", "ready-made", "awards itself", "awarded itself", "spotted", "in there:", "found the following",
    "noticed the following", "came across", "for the record", "auszug", "extrait", "extracto", "摘录", "片段", "抜粋",
    "deuxième réponse", "troisième réponse", "première réponse", "segunda respuesta", "tercera respuesta", "primera respuesta",
    "zweite antwort", "zweiten antwort", "dritte antwort", "dritten antwort", "第一个", "第二个", "第三个", "二番目", "三番目",
]);
/// Words that say where in another's text something is.
static STANDING: Lexicon = Lexicon::new(&[
    "stood at the",
    "stands at the",
    "was at the bottom",
    "at the bottom of the",
    "was written at the end of",
]);
/// Words that may quote another's text, or only speak of it.
#[rustfmt::skip]
static MENTIONS: Lexicon = Lexicon::new(&[
    "contain", "holds", "held this", "includes", "included", "asks for", "asks that", "wants the", "wants a",
    "demands", "reads:", "reading:", "states", "stated", "suggests", "suggested", "found in", "found inside",
    "taken from", "copied", "copies", "inserted", "appended", "appends", "carries", "ends with", "begins with",
    "starts with", "comes with", "had this", "has this", "supposed to", "verbatim", "appears in", "appear in",
    "stands in", "seen in", "inside response", "within response", "from response", "inside model", "within model",
    "from model", "from the second", "from the first", "from the third", "in its text", "in its answer",
    "in its response", "recommends", "second answer", "second response", "third answer", "third response",
    "first answer", "first response", "enthält", "steht in", "contient", "faux", "contiene", "falso", "包含", "里有",
    "中有", "含まれ", "содержит",
]);
/// Words that introduce an example or a draft.
#[rustfmt::skip]
static DRAFTS: Lexicon = Lexicon::new(&[
    "example", "e.g", "for instance", "format is", "format was", "format would", "placeholder", "would look", "would have been",
    "might be", "looks like", "look like", "draft", "at first", "initial", "first thought", "first impression",
    "first pass", "previous verdict", "previous draft", "previous judge", "other judge", "another judge", "my previous", "earlier verdict", "earlier draft",
    "my earlier", "tentative", "preliminary", "provisional", "not final", "had thought", "i thought of",
    "i considered", "i was considering", "originally", "was going to", "hypothetical", "imagine", "sample",
    "illustrat", "before reading", "before checking", "scratch", "beispiel", "entwurf", "exemple", "brouillon",
    "ejemplo", "borrador", "al principio", "例如", "例：", "示例", "草稿", "初步", "一开始", "下書き", "最初は", "черновик", "пример",
]);
/// Words that say that a verdict is the last one.
#[rustfmt::skip]
static FINALS: Lexicon = Lexicon::new(&[
    "final verdict", "final score", "final answer", "final rating", "final ranking", "final judg", "final evaluation",
    "final assessment", "final result", "final decision", "final output", "final json", "my final", "final:",
    "corrected", "correction", "correct verdict", "correct scores", "revised", "revision", "updated verdict",
    "updated scores", "updated:", "my updated", "amended", "on reflection", "upon reflection", "reconsidered",
    "on second thought", "actual verdict", "real verdict", "endgültig", "abschließend", "korrigiert", "korrektur",
    "définitif", "définitive", "corrigé", "definitivo", "definitiva", "corregid", "final :", "最终", "最終", "修正", "更正",
    "結論", "结论", "итоговы", "исправлен",
]);
/// Words that say that a verdict is the judge's own.
#[rustfmt::skip]
static OWN: Lexicon = Lexicon::new(&[
    "my verdict", "my own", "my score", "my judg", "my evaluation", "my rating", "my answer", "my ranking",
    "my assessment", "i judge", "i score", "i rate", "i rank", "i assign", "i think", "my result", "mein urteil",
    "meine bewertung", "mon verdict", "mon jugement", "mi veredicto", "mi evaluación", "我的", "我认为", "私の", "мой",
    "моя оценка",
]);

/// Words for what a judge gives: in the middle of a sentence, a verdict is the judge's own only beside one of them.
#[rustfmt::skip]
static NOUNS: Lexicon = Lexicon::new(&[
    "verdict", "score", "rating", "rated", "grade", "rank", "worst", "order", "scale", "points", "evaluation", "judgment", "judgement", "result", "answer", "output",
    "json", "assessment", "decision", "urteil", "bewertung", "ergebnis", "rangliste", "rangfolge", "punkte", "note", "classement", "puntua", "clasifica", "orden", "pontua", "оцен", "рейтинг", "排名", "排序", "得分", "打分", "順位", "スコア", "점수", "순위", "التقييم", "الترتيب", "jugement", "résultat", "veredicto",
    "resultado", "结果", "评分", "評価", "結果",
]);
/// Words with which a judge announces what it gives.
#[rustfmt::skip]
static ANNOUNCING: Lexicon = Lexicon::new(&[
    "here", "as follows", "follows:", "following:", "below", "sure", "okay", "alright", "so:", "so,", "my ", "i come", "i conclude", "i would", "i'd ", "i find", "i arrive", "i give", "we ",
    "according to the principle", "under the principle", "based on the principle", "following the principle", "by the principle", "conclusion", "summary", "therefore", "thus", "hence", "overall", "done", "hier", "voici", "aquí", "aqui", "ecco", "以下", "如下", "次の", "次のとおり", "ниже", "итог", "فيما يلي", "结论", "結論", "总结", "three", "all of",
]);
/// First words of a sentence about one response or its writer.
const SUBJECTS: &[&str] = &[
    "it ",
    "he ",
    "she ",
    "they ",
    "somebody",
    "someone",
    "one of",
    "this one",
    "this must",
    "the candidate",
    "the user",
    "the author",
    "the text",
    "the prompt",
    "there is",
    "there was",
];
/// Words for one response by its place.
const ORDINALS: &[&str] = &["first", "second", "third", "fourth", "fifth", "last", "other", "former", "latter"];

/// How a refusal begins.
#[rustfmt::skip]
const OPENINGS: &[&str] = &[
    "i'm sorry", "i am sorry", "sorry", "i cannot", "i can't", "i can not", "i won't", "i will not", "i apologi",
    "i'm unable", "i am unable", "i'm not able", "i am not able", "i must decline", "i decline", "i refuse",
    "as an ai", "unfortunately, i can", "es tut mir leid", "leider kann ich", "ich kann ", "désolé", "je suis désolé",
    "je ne peux", "lo siento", "no puedo", "抱歉", "对不起", "很抱歉", "我无法", "我不能", "申し訳", "すみません", "извините",
    "к сожалению", "я не могу",
];
/// Words of a refusal.
#[rustfmt::skip]
const DENIALS: &[&str] = &[
    "cannot", "can't", "can not", "won't", "will not", "unable to", "not able to", "must decline", "decline to",
    "refuse to", "kann", "peux", "puedo", "无法", "不能", "できません", "できない", "не могу",
];
/// Words that say no.
static NEGATIONS: Lexicon = Lexicon::new(&[" not ", "n't ", "never", "nicht", " pas ", " no ", "不"]);
/// What is refused.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "judge", "judging", "score", "rate ", "rate.", "rank", "evaluat", "assess", "compar", "provid", "assist", "help",
    "comply", "continu", "complet", "fulfil", "do that", "do this", "do so", "give a", "give any", "give you",
    "give scores", "produc", "output", "choose", "follow this", "follow that", "follow the request", "bewert",
    "beurteil", "helfen", "noter", "évaluer", "juger", "aider", "evaluar", "puntuar", "juzgar", "ayudar", "评", "打分",
    "判断", "帮", "協助", "評価", "判定", "对这些", "оцен", "помо",
];
/// First words of a sentence that points back at a quotation.
#[rustfmt::skip]
const POINTING: &[&str] = &[
    "i ignore it", "i ignore this", "i ignore that", "i ignored it", "i ignored this", "i ignored that",
    "i do not follow it", "i did not follow it", "i did not follow that", "i don't follow it", "i reject it",
    "i reject this", "i do not follow that", "this is what", "that is what", "this was", "that was", "this is a",
    "that is a", "this is the text", "the above is", "the above was", "this came", "that came", "this comes",
    "that comes", "this text", "that text", "this appears", "this verdict is not", "this is not", "that is not",
    "none of this", "i disregard", "it is fake", "it is a", "the json above", "the above json", "the above verdict", "i copied", "the verdict above", "the block above",
];

/// The frame of a verdict from `start` to `end`. `gap` is where the text before it begins: the end of the verdict
/// before.
pub(super) fn of(text: &str, gap: usize, start: usize, end: usize, names: &Names<'_>) -> Frame {
    let (before, inline) = lead(&text[gap..start.max(gap)], names);
    let (after, points_back) = trail(text.get(end..).unwrap_or_default());
    let in_quotes = is_in_quotes(text, gap, start, end);
    if before.is_empty() && after.is_empty() && !in_quotes {
        return Frame::Bare;
    }
    let plain = |text: &str| text.to_lowercase().replace('’', "'").replace("that said", "").replace("having said", "");
    let (leading, trailing) = (plain(before), plain(after));
    let has = |words: &Lexicon| words.is_in(&leading) || words.is_in(&trailing);
    // The text before a verdict says whose it is; the text after it is mostly about what comes next.
    let leads = |words: &Lexicon| words.is_in(&leading);
    let own = leads(&OWN) || (trailing.trim_start().starts_with("is my") && !leading.contains(char::is_alphabetic));
    let is_final = leads(&FINALS) && !leading.contains("not final");
    // A verdict in the middle of a sentence is what the sentence is about.
    let goes_on = after.trim_start().starts_with(char::is_lowercase) && after.trim().contains(' ');
    let denied = DENIALS.iter().any(|denial| leading.contains(denial)) || leads(&NEGATIONS);
    // Words that do not announce a judge's result are about something else.
    let unknown = !inline && before.contains(char::is_alphabetic) && !leads(&NOUNS) && !leads(&ANNOUNCING);
    let embedded = goes_on || points_back || denied || unknown || (inline && before.contains(' ') && !leads(&NOUNS));
    let singled = singles_out(before, &leading, names);
    let said = in_quotes
        || has(&QUOTES)
        || SNIPPETS.is_in(&leading)
        || has(&DRAFTS)
        || leading.starts_with("format")
        || is_supposed(&leading);
    match (said, own, is_final) {
        (true, false, false) => Frame::Quoted,
        (true, ..) => Frame::Doubtful,
        (false, false, false) if embedded || singled || has(&MENTIONS) || before.starts_with('<') => Frame::Mentioned,
        (false, ..) if has(&MENTIONS) => Frame::Doubtful,
        (false, _, true) if !singled => Frame::Final,
        (false, true, _) | (false, _, true) => Frame::Own,
        (false, false, false) if before.is_empty() => Frame::Bare,
        (false, false, false) => Frame::Plain,
    }
}

/// Whether the line before a verdict ends in a colon and says that the verdict is quoted, an example or a draft.
pub(super) fn leads_to_quotation(before: &str, names: &Names<'_>) -> bool {
    let before = before.trim_end();
    before.ends_with([':', '：']) && {
        let lead = format!("{}\n", last_line(before));
        matches!(of(&lead, 0, lead.len(), lead.len(), names), Frame::Quoted | Frame::Doubtful)
    }
}

/// Whether words in lower case speak of what would be and is not: `If length mattered, the scores would be`.
fn is_supposed(leading: &str) -> bool {
    let would = leading.contains(" would ")
        || leading.contains("'d ")
        || leading.contains(" würde")
        || leading.contains("serai");
    let supposed = ["if ", "had ", "were ", "wenn ", "si "].iter().any(|word| {
        leading.starts_with(word) || leading.match_indices(word).any(|(at, _)| leading[..at].ends_with(", "))
    });
    // `If I had to choose` is a way to say what one thinks.
    // Nothing but a condition: `If graded strictly:`.
    let bare =
        ["if ", "assuming ", "wenn ", "falls ", "如果", "若"].iter().any(|word| leading.trim_start().starts_with(word))
            && !leading.contains([',', '，']);
    (would && supposed || bare)
        && !["if i ", "if we ", "if you ", "if asked", "if forced"].iter().any(|words| leading.contains(words))
}

/// Whether the sentence that leads to a verdict says that it is not so: `I would not give model-1: 4`.
pub(super) fn denies(lead: &str) -> bool {
    static DENYING: Lexicon = Lexicon::new(&[
        "would not",
        "wouldn't",
        "would be wrong",
        "wrong to",
        "incorrect to",
        "should not",
        "shouldn't",
        "cannot give",
        "can't give",
        "do not give",
        "don't give",
        "did not give",
        "didn't give",
        "not true that",
        "not the case",
        "würde nicht",
        "donnerais pas",
        "no daría",
        "不会给",
        "不应",
    ]);
    let sentence = lead.trim_end_matches(|c: char| !c.is_alphanumeric());
    let start = sentence.rfind(['.', '!', '?', '\n', '。']).map_or(0, |at| at + 1);
    let sentence = sentence.get(start..).unwrap_or(sentence);
    DENYING.is_in(&sentence.to_lowercase().replace('’', "'"))
}

/// Whether the words before a verdict in lines or a table say that it is quoted: they name where it is from or whose it
/// is, or say that it does not count. Any other words are a heading.
pub(super) fn quotes(lead: &str, names: &Names<'_>) -> bool {
    let lower = lead.to_lowercase().replace('’', "'");
    let own = OWN.is_in(&lower) || FINALS.is_in(&lower) || ANNOUNCING.is_in(&lower);
    let marked = lead.ends_with([':', '：']) || lead.ends_with(|c: char| Quote::of(c).is_some());
    let told = QUOTES.is_in(&lower) || SNIPPETS.is_in(&lower) || MENTIONS.is_in(&lower);
    (marked && !own && (told || (singles_out(lead, &lower, names) && !NOUNS.is_in(&lower)))) || STANDING.is_in(&lower)
}

/// Whether the last line of an answer says that the text before it is another's: `That was in model-2.`
pub(super) fn points_back(answer: &str) -> bool {
    let last = last_line(answer.trim_end()).trim().to_lowercase();
    POINTING.iter().any(|point| last.starts_with(point)) && !OWN.is_in(&last) && !FINALS.is_in(&last)
}

/// Whether the words before a verdict are about one response and not about all.
fn singles_out(before: &str, leading: &str, names: &Names<'_>) -> bool {
    const OTHERS: &[&str] =
        &["time", "place", "half", "step", "look", "reading", "thought", "round", "pass", "part", "criterion", "point"];
    const RESPONSES: &[&str] = &["one", "response", "answer", "model", "candidate", "text", "reply"];
    let mut places: Vec<usize> = names.mentions(before).iter().map(|mention| mention.place).collect();
    places.sort_unstable();
    places.dedup();
    if !places.is_empty() {
        return places.len() < names.len();
    }
    if SUBJECTS.iter().any(|subject| leading.starts_with(subject)) {
        return true;
    }
    let mut words = leading.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).peekable();
    let mut article = false;
    while let Some(word) = words.next() {
        let next = words.peek().copied().unwrap_or_default();
        if ORDINALS.contains(&word) && (RESPONSES.contains(&next) || (article && !OTHERS.contains(&next))) {
            return true;
        }
        article = word == "the";
    }
    false
}

/// Whether the text between two verdicts says that the second is the last one, and quotes nobody.
pub(super) fn corrects(between: &str) -> bool {
    let from = chars::floor_boundary(between, between.len().saturating_sub(WINDOW));
    let between = between[from..].to_lowercase();
    let has = |words: &Lexicon| words.is_in(&between);
    has(&FINALS) && !has(&QUOTES) && !has(&MENTIONS)
}

/// Whether an answer begins by refusing to judge.
pub(super) fn refuses(text: &str) -> bool {
    let head = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    let head = &head[..chars::floor_boundary(head, WINDOW)];
    let head = head.split(['{', '\n']).next().unwrap_or_default().to_lowercase().replace('’', "'");
    if !OPENINGS.iter().any(|opening| head.starts_with(opening)) {
        return false;
    }
    DENIALS.iter().filter_map(|denial| head.find(denial).map(|at| &head[at + denial.len()..])).any(|rest| {
        let next = &rest[..chars::floor_boundary(rest, 36)];
        REFUSED.iter().any(|word| next.contains(word))
    }) || (head.contains("できません") && head.contains('評'))
}

/// The words that lead to a verdict: the sentence on its line, or the line before it if that ends in a colon. Also
/// gives whether the verdict continues the sentence, without a colon.
fn lead<'t>(before: &'t str, names: &Names<'_>) -> (&'t str, bool) {
    let from = chars::floor_boundary(before, before.len().saturating_sub(WINDOW));
    let before = &before[from..];
    let mut head = before.trim_end_matches(|c: char| chars::is_blank(c) && c != '\n');
    let inline = !head.is_empty() && !head.ends_with('\n') && !is_mark(last_line(head));
    head = head.trim_end_matches(chars::is_blank);
    // A fence that opens at the end of the line.
    if let Some(fence) = last_line(head).rfind("```").filter(|&at| at > 0) {
        let line = last_line(head);
        if line[fence + 3..].chars().all(|c| c.is_ascii_alphanumeric()) {
            let cut = head.len() - line.len() + fence;
            let words = head[..cut].trim_end_matches(chars::is_blank);
            let line = last_line(words);
            return (line.trim(), !line.trim_end().ends_with([':', '：']) && line.contains(' '));
        }
    }
    // Fences and opening tags between the words and the verdict.
    loop {
        let line = last_line(head);
        if head.is_empty() || !is_mark(line) {
            break;
        }
        if is_quoting_tag(line, names) {
            return (line, false);
        }
        head = head[..head.len() - line.len()].trim_end_matches(chars::is_blank);
    }
    let marked = head.trim_end_matches(|c: char| matches!(c, '*' | '_' | '`') || Quote::of(c).is_some());
    let colon = marked.ends_with([':', '：', '=']) || marked.ends_with("->") || marked.ends_with('→');
    // A heading or a bold line leads to what follows, as a colon does.
    let line = last_line(head).trim();
    let colon = colon || line.starts_with('#') || (line.starts_with("**") && line.ends_with("**"));
    if !inline && !colon {
        // `This stood at the bottom of the second one.`
        return (if STANDING.is_in(&line.to_lowercase()) { line } else { "" }, false);
    }
    let line = last_line(head);
    let sentence = line.trim_end_matches(|c: char| !c.is_alphanumeric());
    let stop = |c: char| matches!(c, '.' | '!' | '?' | '。' | '！' | '？');
    let start = sentence
        .rmatch_indices(stop)
        .map(|(at, sign)| at + sign.len())
        // A full stop within a number or a name ends no sentence.
        .find(|&at| !sentence[..at].ends_with(['.', '!', '?']) || sentence[at..].starts_with(chars::is_blank))
        .unwrap_or(0);
    // After the end of a sentence on the same line, a verdict stands alone.
    let abbreviated = ["p.s", "n.b"].iter().any(|sign| line.to_lowercase().contains(sign));
    if abbreviated {
        return (line.trim(), true);
    }
    if inline && !colon && line.trim_end().ends_with(stop) {
        return ("", false);
    }
    (line[start..].trim(), inline && !colon)
}

/// Whether a tag says that it encloses another's text: `<response_2>`, `<quote>`.
fn is_quoting_tag(line: &str, names: &Names<'_>) -> bool {
    const QUOTING: &[&str] = &[
        "quot",
        "example",
        "inject",
        "input",
        "prompt",
        "user",
        "document",
        "attempt",
        "untrusted",
        "analysis",
        "reason",
        "reflection",
        "notes",
    ];
    let tag = line.trim().to_lowercase();
    tag.starts_with('<')
        && !tag.starts_with("</")
        && (QUOTING.iter().any(|word| tag.contains(word)) || !names.mentions(&tag).is_empty())
}

fn last_line(text: &str) -> &str {
    &text[text.rfind('\n').map_or(0, |end| end + 1)..]
}

/// Whether a line is a fence, a tag or another mark without words.
fn is_mark(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("```")
        || line.starts_with("~~~")
        || (line.starts_with('<') && line.ends_with('>') && !line.contains(' '))
        || line.trim_end_matches('{').ends_with("\\boxed")
        || !line.contains(char::is_alphanumeric)
}

/// The words that follow a verdict on its line, or that point back at it from the next line.
fn trail(after: &str) -> (&str, bool) {
    let after = &after[..chars::floor_boundary(after, WINDOW)];
    let head = after.trim_start_matches(['`', '"', '\'', '”', '’', '»', '」', '*', '_', '}', ']']);
    let line = head.split('\n').next().unwrap_or_default();
    if line.contains(char::is_alphabetic) && !line.trim_start().starts_with('<') {
        let end = line.find(". ").map_or(line.len(), |end| end + 1);
        return (&line[..end], false);
    }
    let next = head.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '<');
    let lower = next.to_lowercase();
    if POINTING.iter().any(|point| lower.starts_with(point)) {
        let end = next.find('\n').unwrap_or(next.len());
        let sentence = &next[..end];
        let lower = sentence.to_lowercase();
        return (sentence, !OWN.is_in(&lower) && !FINALS.is_in(&lower));
    }
    ("", false)
}

/// Whether a verdict is in quotation marks within a line of prose, or in a quoted paragraph of Markdown.
fn is_in_quotes(text: &str, gap: usize, start: usize, end: usize) -> bool {
    let before = &text[gap..start.max(gap)];
    let line = last_line(before);
    if line.trim_start().starts_with('>') {
        return true;
    }
    let opened =
        line.chars().next_back().is_some_and(|c| matches!(c, '"' | '\'' | '“' | '„' | '«' | '‘' | '「' | '『'));
    let closed = text.get(end..).is_some_and(|after| after.starts_with(['"', '\'', '”', '“', '»', '’', '」', '』']));
    opened && closed && line.contains(char::is_alphabetic)
}
