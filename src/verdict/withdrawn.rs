//! Sentences with which a judge takes its whole verdict back, or says that it was never meant: `The scores above are
//! placeholders`, `I mixed up model-1 and model-2`, `Please do not use this verdict`. What decides is how a sentence is
//! built, and not a word alone: `The scores show that model-2 is wrong` takes nothing back.

use std::sync::OnceLock;

use aho_corasick::AhoCorasick;

use super::amend::NAME;
use super::lexicon::Lexicon;
use crate::warm::made;

/// Words that may stand before what a sentence says.
#[rustfmt::skip]
const LEADS: &[&str] = &[
    "so", "but", "and", "oh", "ah", "hmm", "hm", "uh", "um", "wait", "oops", "no", "yes", "note", "that", "please",
    "sorry", "apologies", "unfortunately", "actually", "also", "however", "well", "edit", "update", "correction", "ps",
    "warning", "disclaimer", "caution", "important", "attention", "you", "can", "may", "should", "must", "kindly",
    "just", "then", "bitte", "achtung", "hinweis", "leider", "aber", "mais", "veuillez", "désolé", "pero", "por",
    "favor", "nota", "mas", "ma", "(", ",", ":", "-",
];
/// Words that lead to what a verdict is called.
#[rustfmt::skip]
const DETERMINERS: &[&str] = &[
    "the", "these", "those", "this", "that", "my", "l", "all", "both", "your", "of", "any", "die", "der", "das",
    "diese", "dieses", "dieser", "meine", "mein", "les", "le", "la", "ces", "cette", "ce", "mes", "ma", "mon", "los",
    "las", "el", "estos", "estas", "este", "esta", "mis", "mi", "os", "as", "o", "a", "estes", "essas", "minhas", "i",
    "questi", "queste", "questo", "il", "эти", "мои",
];
/// Words beside what a verdict is called.
#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "above", "previous", "earlier", "final", "given", "listed", "two", "three", "four", "five", "json", "obige",
    "obigen", "correct", "right", "real", "actual", "true", "new", "proper", "fair", "numeric", "numerical", "overall",
];
/// What a verdict or a part of it is called.
#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "score", "scores", "rating", "ratings", "ranking", "rankings", "rank", "ranks", "verdict", "grade", "grades",
    "numbers", "values", "json", "output", "judgment", "judgement", "evaluation", "assessment", "bewertung",
    "bewertungen", "punkte", "punktzahlen", "noten", "rangfolge", "reihenfolge", "urteil", "zahlen", "notes",
    "classement", "évaluation", "jugement", "puntajes", "puntuaciones", "puntuación", "clasificación", "veredicto",
    "evaluación", "calificaciones", "notas", "pontuações", "classificação", "avaliação", "punteggi", "classifica",
    "verdetto", "valutazione", "оценки", "оценка", "рейтинг", "order", "result", "results", "list", "labels", "ordre",
    "orden",
];
/// What only a verdict has: a response may have numbers and results of its own.
#[rustfmt::skip]
const OWN: &[&str] = &[
    "score", "scores", "rating", "ratings", "ranking", "rankings", "rank", "ranks", "verdict", "grade", "grades",
    "labels", "punkte", "bewertung",
];
/// Words that point to a verdict.
const PRONOUNS: &[&str] =
    &["this", "that", "these", "those", "it", "them", "everything", "das", "dies", "cela", "esto"];
/// Words that say which scores are meant, between what they are called and what is said of them.
#[rustfmt::skip]
const QUALIFIERS: &[&str] = &[
    "above", "below", "here", "i", "have", "'ve", "gave", "wrote", "assigned", "given", "listed", "for", "of", "and",
    "in", "my", "the", "this", "that", "json", "verdict", "all", "both", "three", "responses", "models", "'s", "oben",
    "von", "für", "und", "ci-dessus", "de", "et", "y", "ne", "n", "acima", "anteriores",
];
#[rustfmt::skip]
const COPULAS: &[&str] = &[
    "is", "are", "was", "were", "'s", "'re", "be", "been", "may", "might", "must", "can", "ca", "look", "looks", "seem",
    "seems", "got", "need", "needs", "to", "ist", "sind", "war", "waren", "est", "sont", "était", "étaient", "es",
    "son", "está", "están", "é", "são", "è", "sono", "should", "will", "came", "come", "comes", "do", "does",
];
/// Words that change little in what is said.
#[rustfmt::skip]
const ADVERBS: &[&str] = &[
    "a", "an", "the", "my", "just", "only", "also", "actually", "really", "in", "fact", "all", "some", "probably",
    "clearly", "likely", "still", "simply", "merely", "purely", "mere", "completely", "totally", "entirely", "partly",
    "now", "to", "meant", "intended", "as", "for", "both", "have", "'ve", "'m", "had", "am", "seem", "think", "realize",
    "realise", "noticed", "see", "that", "i", "must", "may", "might", "even", "quite", "fully", "yet", "nur", "bloß",
    "alle", "ein", "eine", "que", "des", "un", "une", "solo", "sólo", "solamente", "unos", "apenas", "só", "de", "was",
    "been", "perhaps", "maybe", "bit",
];
const NEGATIONS: &[&str] = &["not", "never", "nicht", "pas", "no", "não", "non", "keine", "none", "nothing"];
/// What is said of a verdict that does not hold.
#[rustfmt::skip]
const UNTRUE: &[&str] = &[
    "wrong", "incorrect", "false", "swapped", "switched", "reversed", "inverted", "backwards", "backward", "mixed up",
    "placeholder", "placeholders", "made up", "made-up", "fictional", "hypothetical", "example", "examples", "sample",
    "samples", "illustrative", "illustration", "dummy", "draft", "sketch", "template", "preliminary", "tentative",
    "provisional", "temporary", "random", "arbitrary", "guess", "guesses", "unreliable", "inaccurate", "invalid",
    "void", "outdated", "obsolete", "typo", "mistake", "error", "upside down", "other way", "show the format",
    "show format", "illustrate", "falsch", "vertauscht", "verkehrt", "platzhalter", "willkürlich", "beispiel",
    "beispiele", "beispielwerte", "vorläufig", "faux", "fausses", "inversé", "inversés", "inversées", "exemple",
    "exemples", "provisoire", "provisoires", "ejemplo", "ejemplos", "incorrectos", "invertidos", "invertidas",
    "exemplo", "exemplos", "errados", "esempio", "esempi", "sbagliati", "пример", "неверны", "ignored", "disregarded",
    "discarded", "subject to change", "too hasty", "hasty", "change", "follow", "from ", "entwurf", "brouillon",
    "borrador", "invertido", "too high", "too low", "too generous", "too harsh", "too strict", "too lenient", "off by",
    "dictated", "demonstration", "first thoughts", "invented", "fabricated", "imaginary",
];
/// What is denied of a verdict that does not hold.
#[rustfmt::skip]
const TRUE: &[&str] = &[
    "right", "correct", "real", "final", "mine", "own", "reliable", "accurate", "meant", "valid", "trustworthy",
    "definitive", "true", "richtig", "korrekt", "endgültig", "définitif", "définitives", "correctos", "definitivos",
    "used", "trusted", "reflect my", "represent my",
];
/// What is said of `this` only if a verdict is meant.
#[rustfmt::skip]
const PRETENDED: &[&str] = &[
    "placeholder", "placeholders", "dummy", "sample output", "sample verdict", "example output", "example verdict",
    "example of the format", "preliminary", "draft verdict", "first draft", "demonstration", "first thoughts",
];
/// Words that make an example of what would else be called one in passing.
const ONLY: &[&str] = &["only", "just", "merely", "nur", "que", "solo", "sólo", "apenas", "só"];
/// What a judge says that it did, if its verdict does not hold.
#[rustfmt::skip]
const REGRETS: &[&str] = &[
    "misread", "misjudged", "misunderstood", "mistook", "overlooked", "swapped", "mixed up", "confused", "switched",
    "reversed", "inverted", "retract", "withdraw", "revoke", "take back", "take that back", "take it back",
    "take this back", "made a mistake", "made an error", "made a typo", "was wrong", "was mistaken", "was unfair",
    "changed my mind", "change my mind", "gave \u{1} too", "scored \u{1} too", "rated \u{1} too", "accidentally",
    "mistakenly", "inadvertently", "undecided", "torn between", "can not judge", "cannot judge", "ca not judge",
    "could not read \u{1}", "did not read \u{1}", "not read \u{1}", "could not read the responses",
    "was instructed by \u{1}", "was told by \u{1}", "was asked by \u{1}", "was forced by \u{1}", "copied", "forgot",
    "failed to", "did not notice", "did not see", "should have given", "should have ranked", "should have scored",
    "should have rated", "made up these", "made up the", "made these", "made them", "picked",
    "followed the instruction", "too generous", "too harsh", "too strict", "too lenient", "too kind", "too hasty",
    "correct myself", "stand corrected", "not confident in these", "not confident in my", "can not stand by",
    "ca not stand by", "do not stand by", "typed", "jumped", "not looked at", "unable to see the", "unable to read the",
];
/// What a judge announces that begins again.
#[rustfmt::skip]
const AGAIN: &[&str] = &[
    "redo", "re-do", "reconsider", "re-evaluate", "reevaluate", "rethink", "recompute", "rescore", "re-score", "rerank",
    "re-rank", "reassess", "start over", "start again", "try again", "begin again", "judge again", "recalculate",
    "re-calculate", "try that again", "try this again", "do that again", "do this again", "think again",
    "actually evaluate", "actually judge",
];
/// How a judge announces something.
#[rustfmt::skip]
const WILL: &[&str] = &[
    "let me", "let's", "let us", "i need to", "i have to", "i should", "i must", "i will", "i 'll", "i 'd better",
    "i want to",
];
/// With what a judge asks not to use a verdict.
#[rustfmt::skip]
const DISCARD: &[&str] = &[
    "ignore", "disregard", "discard", "forget", "do not use", "do not trust", "do not rely on", "do not count",
    "replace", "delete", "ignoriere", "ignorieren sie", "ignorez", "ne tenez pas compte de", "ignora", "ignoren",
    "do not take", "cancel", "scratch",
];
/// Words that alone say so.
#[rustfmt::skip]
const LABELS: &[&str] = &[
    "dummy", "placeholder", "placeholders", "example", "sample", "draft", "preliminary", "tentative", "hypothetical",
    "illustrative", "todo",
];
/// Words of other phrases.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "never mind", "nevermind", "todo", "verwechselt", "忽略", "mis", "wrong", "vertan", "geirrt", "point", "overrated",
    "underrated", "valued", "estimated",
];
/// Sentences without a first word that all of them share.
#[rustfmt::skip]
static PHRASES: Lexicon = Lexicon::new(&[
    "i would need to see", "not my verdict", "not my final", "ich habe mich vertan", "ich habe mich geirrt",
    "je me suis trompé", "je me suis trompée", "j'ai inversé", "j'ai confondu", "me he equivocado", "me equivoqué",
    "confundí", "invertí", "me enganei", "mi sono sbagliato", "still thinking", "to be decided", "to be determined",
    "final verdict follows", "lower score means", "lower scores mean", "disregard my", "ignore my",
    "my previous answer", "我写错", "我弄错", "我搞错", "我看错", "我改变主意", "我改主意", "我撤回", "to be continued",
    "to be filled", "insert score", "please re-run", "please rerun", "please wait", "not the real sc",
    "not the actual sc", "not real sc", "not actual sc", "je retire", "retiro est", "retiro mi", "不是最终", "取り消し",
    "mal lu", "leí mal", "it should be higher", "it should be lower", "やり直し", "忽略以上", "忽略上面", "作废",
    "わたしの間違い", "私の間違い", "я ошиб", "would be fairer", "would be more appropriate", "but meant",
    "score by one", "score by a ", "score by 1", "verdict withdrawn", "scores withdrawn", "打高了", "打低了",
]);
/// Words of a language without blanks for a verdict.
#[rustfmt::skip]
static CALLED: Lexicon = Lexicon::new(&[
    "以上", "上面", "上述", "评分", "分数", "打分", "得分", "排名", "排序", "这些", "结果", "スコア", "評価", "順位",
    "ランキング", "点数", "これ", "上記", "上の", "先ほど", "刚才", "json",
]);
/// What is said with these words of a verdict that does not hold.
#[rustfmt::skip]
const SAID: &[&str] = &[
    "有误", "有问题", "写错", "弄错", "搞错", "写反", "弄反", "搞反", "颠倒", "作废", "不算", "示例", "例子", "草稿",
    "随机", "占位", "不正确", "不对", "例です", "例にすぎ", "逆でし", "逆です", "間違", "無視して", "ダミー", "仮です",
    "仮の",
];
/// What is said without blanks of two responses, or of none.
#[rustfmt::skip]
static TURNED: Lexicon = Lexicon::new(&[
    "弄反", "写反", "搞反", "对调", "互换", "弄混", "搞混", "逆にし", "逆でし", "取り違え", "入れ替え", "間違えました",
    "勘違い",
]);

/// Whether a text in lower case holds a word without which nothing is taken back: the longest one of each phrase.
pub(super) fn is_possible(lower: &str) -> bool {
    static WORDS: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    let phrases = [UNTRUE, TRUE, REGRETS, AGAIN, DISCARD, SAID, LABELS, OTHERS].into_iter().flatten();
    let longest = |phrase: &&str| phrase.split(' ').max_by_key(|word| word.len()).unwrap_or_default().to_owned();
    let make = || AhoCorasick::new(phrases.map(longest)).ok();
    let hinted = made(&WORDS, make).as_ref().is_none_or(|words| words.is_match(lower));
    hinted || PHRASES.is_in(&lower.replace("n't", " not")) || TURNED.is_in(lower)
}

/// Whether a sentence in lower case, in which names are replaced by [`NAME`], takes a whole verdict back. `near`: it comes
/// right after the verdict, or takes something back by its first words. `beside`: it may be about a response.
pub(super) fn is_withdrawn(sentence: &str, near: bool, beside: bool) -> bool {
    if !sentence.is_ascii() && is_unspaced_withdrawn(sentence) {
        return true;
    }
    if PHRASES.is_in(&sentence.replace("n't", " not")) {
        return true;
    }
    let words = words(sentence);
    let mut start = 0;
    while words.get(start).is_some_and(|word| LEADS.contains(word)) {
        // `That is wrong`, `That verdict`.
        if words[start] == "that"
            && words.get(start + 1).is_some_and(|next| COPULAS.contains(next) || NOUNS.contains(next))
        {
            break;
        }
        start += 1;
    }
    let main = &words[start..];
    // A later part of a sentence about a response is about that response too.
    let named = main.iter().position(|word| word.starts_with(NAME)).unwrap_or(main.len());
    let parts = (1..named).filter(|&at| matches!(main[at - 1], "," | ":" | "so" | "because" | "but" | "and" | "("));
    regrets(&words)
        || begins_again(&words)
        || moves_points(main)
        || is_label(main)
        || near && main.is_empty() && words.len() > 1 && words.contains(&"no")
        || [0]
            .into_iter()
            .chain(parts)
            .map(|at| &main[at..])
            .any(|part| is_discarded(part) || is_untrue(part, near, beside) || is_flawed(part))
}

/// Whether the last line of a text announces a verdict that does not follow: `Final verdict:`.
pub(super) fn is_pending(text: &str) -> bool {
    // `Explanation of the scores:` leads to reasons.
    const REASONS: &[&str] =
        &["expla", "justif", "reason", "rationale", "why", "comment", "begründ", "理由", "説明", "解释"];
    let last = text.trim_end().rsplit('\n').next().unwrap_or_default().trim_end_matches(['*', '_', ' ']);
    last.ends_with([':', '：']) && {
        let lower = last.to_lowercase();
        let called = words(&lower).iter().any(|word| NOUNS.contains(word) || *word == "version");
        (called || CALLED.is_in(&lower)) && !REASONS.iter().any(|reason| lower.contains(reason))
    }
}

/// The words of a sentence and the marks between its parts. `n't` is `not`.
fn words(sentence: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = sentence;
    while let Some(c) = rest.chars().next() {
        let letters = |c: char| c.is_alphanumeric() || matches!(c, '-' | '\'');
        if c.is_alphanumeric() {
            let end = rest.find(|c| !letters(c)).unwrap_or(rest.len());
            let word = rest[..end].trim_end_matches(['-', '\'']);
            rest = &rest[end..];
            if let Some(verb) = word.strip_suffix("n't") {
                words.extend([verb, "not"]);
            } else if let Some(at) = word.rfind('\'') {
                let tail = &word[at..];
                let known = ["'s", "'re", "'ve", "'m", "'d", "'ll"].contains(&tail);
                words.extend([&word[..at], if known { tail } else { &tail[1..] }]);
            } else {
                words.push(word);
            }
        } else {
            let next = rest.len().min(c.len_utf8());
            if c == '\'' && rest.starts_with("'s") {
                words.push("'s");
                rest = &rest[2..];
                continue;
            }
            if c == NAME || matches!(c, ',' | ':' | '(' | ')' | '–' | '—' | '-') {
                words.push(&rest[..next]);
            }
            rest = &rest[next..];
        }
    }
    words
}

/// Whether words begin with a phrase.
fn begins(words: &[&str], phrase: &str) -> bool {
    let mut at = words.iter();
    phrase.split(' ').all(|word| at.next() == Some(&word))
}

fn begins_any(words: &[&str], phrases: &[&str]) -> bool {
    phrases.iter().any(|phrase| begins(words, phrase))
}

/// `I mixed up model-1 and model-2`, `I was too generous with model-1`.
fn regrets(words: &[&str]) -> bool {
    let opens = |at: usize| {
        at == 0 || matches!(words[at - 1], "because" | "since" | "where" | "as") || LEADS.contains(&words[at - 1])
    };
    let subject = |at: usize| matches!(words[at], "i" | "we") && opens(at);
    let german = |word: &&str| matches!(*word, "verwechselt" | "vertauscht" | "vertan" | "geirrt");
    (0..words.len()).filter(|&at| subject(at)).any(|at| {
        let mut rest = &words[at + 1..];
        while rest.first().is_some_and(|word| ADVERBS.contains(word)) && !begins_any(rest, REGRETS) {
            rest = &rest[1..];
        }
        errs(rest)
    }) || begins(words, "ich habe") && words.iter().any(german)
        || begins_any(words, &["never mind", "nevermind", "todo"])
}

/// Whether what a judge says that it did is an error.
fn errs(words: &[&str]) -> bool {
    const WRONG: &[&str] = &[
        "order",
        "way",
        "scale",
        "principle",
        "names",
        "labels",
        "response",
        "criteria",
        "criterion",
        "prompt",
        "question",
        "responses",
    ];
    let Some((first, rest)) = words.split_first() else { return false };
    // `misread`, `mislabelled`; `overrated`, `undervalued`.
    let failed = first.starts_with("mis") && !first.starts_with("miss") && first.ends_with(['d', 't'])
        || (first.starts_with("over") || first.starts_with("under"))
            && ["rated", "valued", "estimated", "scored"].iter().any(|end| first.ends_with(end));
    let gave = matches!(
        *first,
        "wrote"
            | "listed"
            | "gave"
            | "put"
            | "set"
            | "ranked"
            | "scored"
            | "rated"
            | "used"
            | "applied"
            | "got"
            | "read"
            | "judged"
            | "evaluated"
            | "compared"
    );
    // What comes after a reason is about a response.
    let reason = rest.iter().position(|word| matches!(*word, "because" | "since" | "as")).unwrap_or(rest.len());
    let wrongly = |pair: &[&str]| {
        pair == ["by", "mistake"] || pair == ["by", "accident"] || pair[0] == "wrong" && WRONG.contains(&pair[1])
    };
    failed
        || gave && rest[..reason].windows(2).any(wrongly)
        || gave && rest[..reason].iter().any(|word| matches!(*word, "backwards" | "swapped" | "reversed"))
        || begins_any(words, REGRETS) && !begins(words, "forgot to mention")
}

/// `Add one point to model-2`, `I would take a point off model-1`: what was done already is a reason, and no change.
fn moves_points(words: &[&str]) -> bool {
    const WOULD: &[&str] =
        &["i would", "i 'd", "i 'll", "i will", "i should", "let me", "i need to", "i have to", "we should"];
    let would = WOULD.iter().find(|would| begins(words, would)).map_or(0, |would| would.split(' ').count());
    matches!(
        words[would..],
        [
            "add" | "subtract" | "deduct" | "remove" | "take",
            "a" | "one" | "two" | "half" | "1" | "2",
            "a" | "point" | "points",
            ..
        ]
    ) && words.iter().any(|word| word.starts_with(NAME))
}

/// `Let me start over.`
fn begins_again(words: &[&str]) -> bool {
    let offered = words.windows(2).any(|pair| pair == ["if", "you"] || pair == ["me", "know"]);
    !offered
        && (0..words.len()).any(|at| {
            WILL.iter()
                .any(|will| begins(&words[at..], will) && begins_any(&words[at + will.split(' ').count()..], AGAIN))
        })
}

/// `Disregard these scores.`
fn is_discarded(words: &[&str]) -> bool {
    DISCARD.iter().filter(|verb| begins(words, verb)).any(|verb| {
        let object = &words[verb.split(' ').count()..];
        subject(object).is_some_and(|(rest, _)| !rest.first().is_some_and(|word| *word == "in" || *word == "that"))
    })
}

/// What a sentence is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Verdict,
    /// `this`, `that`: the verdict, or what was said of a response.
    Pronoun,
}

/// The verdict that words begin with, and the words after it.
fn subject<'w, 's>(words: &'w [&'s str]) -> Option<(&'w [&'s str], Subject)> {
    let skip = |words: &'w [&'s str], known: &[&str]| {
        let count = words.iter().take_while(|word| known.contains(word)).count();
        (&words[count..], count)
    };
    let is_noun = |words: &[&str]| words.first().is_some_and(|word| NOUNS.contains(word));
    // `model-1's score`.
    if let [first, rest @ ..] = words
        && first.starts_with(NAME)
    {
        let rest = rest.strip_prefix(&["'s"]).unwrap_or(rest);
        let (rest, _) = skip(rest, ADJECTIVES);
        return is_noun(rest).then(|| (&rest[1..], Subject::Verdict));
    }
    let (rest, determined) = skip(words, DETERMINERS);
    let (rest, described) = skip(rest, ADJECTIVES);
    if is_noun(rest) {
        return Some((&rest[1..], Subject::Verdict));
    }
    // `The 4 for model-1 is …`.
    if let [number, rest @ ..] = rest
        && number.starts_with(|c: char| c.is_ascii_digit())
        && words.windows(2).any(|pair| matches!(pair[0], "for" | "to") && pair[1].starts_with(NAME))
    {
        return Some((rest, Subject::Verdict));
    }
    // `The above is …`, `The JSON is …`.
    if determined > 0 && described > 0 && matches!(words[determined + described - 1], "above" | "json") {
        return Some((rest, Subject::Verdict));
    }
    let is_pronoun = words.first().is_some_and(|word| PRONOUNS.contains(word));
    is_pronoun.then(|| (&words[1..], Subject::Pronoun))
}

/// `The scores for model-1 and model-3 are swapped.` `near`: `That is wrong` is about the verdict.
fn is_untrue(words: &[&str], near: bool, beside: bool) -> bool {
    if let ["consider" | "treat" | "regard", object @ ..] = words {
        return subject(object).is_some_and(|(mut rest, _)| {
            while rest.first().is_some_and(|word| ADVERBS.contains(word) && !begins_any(rest, UNTRUE)) {
                rest = &rest[1..];
            }
            begins_any(rest, UNTRUE)
        });
    }
    let Some((mut rest, subject)) = subject(words) else { return false };
    let called = words[..words.len() - rest.len()].last();
    while let [first, next @ ..] = rest {
        let after = next.first().copied().unwrap_or_default();
        let qualified = match *first {
            "in" => !after.starts_with(NAME),
            "that" => after == "i",
            "to" => after.starts_with(NAME),
            // `model-1's score's`: what is said begins.
            "'s" => false,
            word if word.starts_with(NAME) => {
                called.is_some_and(|noun| OWN.contains(noun) || noun.starts_with(|c: char| c.is_ascii_digit()))
            }
            word => QUALIFIERS.contains(&word),
        };
        if !qualified || subject == Subject::Pronoun && *first != "here" {
            break;
        }
        rest = next;
    }
    let copulas = rest.iter().take_while(|word| COPULAS.contains(word)).count();
    if copulas == 0 {
        // `The real scores follow below.`
        let real = words.iter().any(|word| matches!(*word, "real" | "actual" | "correct" | "final"));
        return real && begins_any(rest, &["follow", "follows", "below"]);
    }
    let (mut negated, mut only) = (false, false);
    rest = &rest[copulas..];
    while let [first, next @ ..] = rest {
        let said = begins_any(rest, UNTRUE) || negated && begins_any(rest, TRUE);
        if said || !(NEGATIONS.contains(first) || ADVERBS.contains(first) || COPULAS.contains(first)) {
            break;
        }
        negated |= NEGATIONS.contains(first);
        only |= ONLY.contains(first);
        rest = next;
    }
    let known = if negated { begins_any(rest, TRUE) } else { begins_any(rest, UNTRUE) && !begins(rest, "made up of") };
    let said = UNTRUE.iter().chain(TRUE).filter(|said| begins(rest, said)).map(|said| said.split(' ').count()).max();
    let after = &rest[said.unwrap_or(0)..];
    let ended = after.is_empty();
    // `This is only an example of how …`
    let goes_on = begins(after, "of") && !begins(after, "of the");
    known
        && match subject {
            Subject::Verdict => {
                let shown = matches!(words[0], "these" | "this" | "my") || words.contains(&"above");
                !beside || shown || called.is_some_and(|noun| OWN.contains(noun))
            }
            Subject::Pronoun => {
                near && ended
                    || only && !negated && !beside && !goes_on
                    || begins_any(rest, PRETENDED)
                    || !negated && rest.get(1).is_some_and(|word| NOUNS.contains(word))
                    || negated && begins_any(rest, &["final", "real", "mine", "my"])
            }
        }
}

/// `There is an error in the scores above.`
fn is_flawed(words: &[&str]) -> bool {
    let [first, second, rest @ ..] = words else { return false };
    if *first != "there" || !COPULAS.contains(second) {
        return false;
    }
    let skipped = rest.iter().take_while(|word| ADVERBS.contains(word)).count();
    let [flaw, rest @ ..] = &rest[skipped..] else { return false };
    let flawed = matches!(*flaw, "typo" | "typos" | "mistake" | "mistakes" | "error" | "errors");
    let place = match rest {
        ["in" | "with", object @ ..] => subject(object).is_some_and(|(rest, subject)| {
            subject == Subject::Verdict && !rest.first().is_some_and(|word| matches!(*word, "of" | "in" | "that"))
        }),
        ["above", ..] => true,
        _ => false,
    };
    flawed && place
}

/// `(draft)`, `Dummy scores for illustration.`
fn is_label(words: &[&str]) -> bool {
    let [first, rest @ ..] = words else { return false };
    let rest = rest.first().copied().unwrap_or(")");
    LABELS.contains(first) && (rest == ")" || rest == "only" || NOUNS.contains(&rest))
}

/// A sentence in a script without blanks: `以上评分有误`.
fn is_unspaced_withdrawn(sentence: &str) -> bool {
    let names = sentence.matches(NAME).count();
    if names != 1 && TURNED.is_in(sentence) {
        return true;
    }
    let Some(called) = CALLED.find(sentence) else { return false };
    let short = |text: &str| !text.contains(NAME) && text.chars().count() <= 10;
    let shows = ["反映", "说明", "表明", "显示", "体现", "示し", "不是", "并非", "ない"];
    let said = SAID.iter().filter_map(|said| sentence[called..].find(said)).min();
    let said = said.is_some_and(|at| {
        let between = &sentence[called..called + at];
        short(between) && !shows.iter().any(|word| between.contains(word))
    });
    let ignored = sentence.find("忽略").is_some_and(|at| at < called && short(&sentence[at..called]));
    said || ignored
}
