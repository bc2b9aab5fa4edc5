//! Sentences that change a verdict after it was written: `Wait, model-2 should get 3.` A judge that changes one score has
//! no verdict any more that could be read without guessing.

use std::collections::BTreeMap;

use super::chars;
use super::interpret::Context;
use super::keys::Key;
use super::lexicon::Lexicon;
use super::names::Names;
use super::tolerant::{Group, Node};

/// Why a verdict is not trusted that a later sentence changes.
pub(super) const FAULT: &str = "a later remark changes the verdict";

/// With what a sentence begins that takes something back.
#[rustfmt::skip]
const OPENINGS: &[&str] = &[
    "wait", "but wait", "oh wait", "hold on", "actually", "hmm", "correction", "correcting", "on reflection",
    "upon reflection", "on second thought", "thinking again", "thinking about it", "after reconsider", "reconsidering",
    "scratch that", "oops", "sorry", "i change", "i'd change", "i'll change", "i will change", "i would change",
    "i'm changing", "i am changing", "i have to change", "let me change", "let me correct", "let me revise",
    "let me adjust", "i revise", "i correct", "i raise", "i lower", "i meant", "no wait", "no, wait", "p.s.", "ps:", "changed", "revised", "revision",
    "amended", "update:", "edit:", "erratum", "moment", "warte", "halt", "eigentlich", "korrektur", "doch ", "besser gesagt",
    "en fait", "attends", "attendez", "correctif", "à la réflexion", "finalement", "espera", "pensándolo", "en realidad",
    "corrección", "correção", "espere", "na verdade", "pensando melhor", "aspetta", "in realtà", "correzione", "ripensandoci",
    "подожди", "поправка", "исправление", "на самом деле", "хотя нет", "等等", "等一下", "不对", "更正", "修正", "其实", "实际上", "再想",
    "訂正", "待って", "やはり", "実は", "いや", "잠깐", "정정", "사실", "다시 생각", "تصحيح", "انتظر", "في الواقع",
];
/// Words after which a sentence says what a score ought to be.
#[rustfmt::skip]
const CHANGES: &[&str] = &[
    "should be", "should get", "should really be", "should really get", "should have", "should receive", "should rather",
    "should actually", "should instead", "deserves", "ought to", "must be", "change", "changed", "changing", "actually", "raise",
    "raised", "lower", "lowered", "reduce", "reduced", "increase", "increased", "revise", "revised", "corrected", "sollte",
    "verdient", "devrait", "mérite", "debería", "merece", "deveria", "dovrebbe", "merita", "должен", "заслуживает", "应该", "应为",
    "应得", "应给", "改为", "改成", "すべき", "べき", "ではなく",
];
static CHANGED: Lexicon = Lexicon::new(CHANGES);
/// Words that put one response above or below another.
#[rustfmt::skip]
static COMPARED: Lexicon = Lexicon::new(&[
    "higher", "lower", "above", "below", "ahead of", "swap", "switch", "better than", "worse than", "should", "deserve",
    "change", "instead", "tie", "equal", "höher", "niedriger", "besser", "schlechter", "meilleur", "moins bon", "mejor que",
    "peor que", "выше", "ниже", "лучше", "хуже", "更好", "更高", "更差", "更低", "高于", "低于", "应", "より",
]);
/// Words with which a judge takes its whole verdict back.
#[rustfmt::skip]
static WITHDRAWN: Lexicon = Lexicon::new(&[
    "ignore the above", "ignore that verdict", "ignore this verdict", "ignore my", "disregard that", "disregard the above",
    "disregard this", "disregard my", "i made an error", "i made a mistake", "my mistake", "let me redo", "let me start over",
    "let me try again", "let me reconsider", "need to reconsider", "have to reconsider", "i confused", "i mixed up", "i swapped",
    "not my verdict", "not my final", "i would need to see", "i copied", "ignoriere das", "ich habe mich vertan", "ignorez ce qui",
    "作废", "忽略以上", "我写错", "我弄错", "我搞错", "間違えました", "я ошиб",
]);
/// How a sentence about the verdict itself begins.
#[rustfmt::skip]
const VERDICTS: &[&str] = &[
    "the scores", "the score", "the ranking", "the verdict", "the numbers", "the values", "the above", "the json", "these scores",
    "these numbers", "these values", "those scores", "this verdict", "this ranking", "this json", "my scores", "my ranking",
    "my verdict", "my score", "all scores", "note that the scores", "note: the scores", "die bewertung", "die punkte", "les notes",
    "los puntajes", "以上", "这些分数", "这个结果",
];
/// What such a sentence says if the verdict does not hold.
#[rustfmt::skip]
static UNTRUE: Lexicon = Lexicon::new(&[
    "wrong", "incorrect", "not right", "swapped", "reversed", "mixed up", "placeholder", "made up", "made-up", "fictional",
    "hypothetical", "an example", "examples", "a draft", "preliminary", "tentative", "not real", "not final", "falsch", "vertauscht",
    "nur ein beispiel", "faux", "inversé", "示例", "例子", "草稿", "错",
]);
/// Sentences that say so of the text before them.
#[rustfmt::skip]
static UNMEANT: Lexicon = Lexicon::new(&[
    "this is only an example", "this is just an example", "this is an example of the format", "this was only an example",
    "that was only an example", "that was just an example", "this is only a draft", "this is just a draft", "that was only a draft",
    "that was just a draft", "this is a preliminary", "this is a placeholder", "these are placeholders", "these are only placeholders",
    "these are just placeholders", "this is not final", "das ist nur ein beispiel", "ceci n'est qu'un exemple", "esto es solo un ejemplo",
    "这只是示例", "这只是例子", "これはただの例", "это только пример",
]);
/// Where a sentence goes on with a reason.
const REASONS: &[&str] = &[" because", " since", " as ", ",", " reflect", " which", " given", " due", " if "];
/// Words between the name of a response and what its score ought to be.
#[rustfmt::skip]
const ADVERBS: &[&str] = &[
    "s", "score", "rating", "really", "actually", "probably", "clearly", "now", "then", "also", "rather", "in", "fact", "doch",
    "the", "of", "for", "to",
];
/// Stands for a name in a sentence.
const NAME: char = '\u{1}';
/// Words that may stand between what a sentence changes and the number that it gives.
#[rustfmt::skip]
const FILLERS: &[&str] = &[
    "a", "an", "the", "score", "rating", "rated", "scored", "given", "got", "gotten", "of", "really", "only", "just", "at",
    "least", "most", "about", "around", "closer", "to", "from", "lowered", "raised", "reduced", "increased", "changed", "more",
    "like", "maybe", "rather", "even", "been", "be", "get", "instead", "its", "it", "actually", "eher", "ein", "eine", "einen",
    "doch", "nur", "auf", "un", "une", "una", "um", "uma", "plutôt", "à", "en", "it's", "und", "s", "was", "not",
    "punkte", "noch", "note", "nota", "sein", "haben", "bekommen", "avoir", "être", "ser", "tener", "оценку", "балл", "быть",
];
/// Numbers in words.
const WORDS: &[&str] = &["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
/// Words that may follow the number of a score.
#[rustfmt::skip]
const AFTER: &[&str] = &[
    "because", "since", "as", "instead", "not", "for", "rather", "due", "given", "and", "but", "out", "of", "point", "points",
    "star", "stars", "though", "although", "considering", "in", "on", "after", "now", "too", "then", "actually", "really", "weil",
    "statt", "punkte", "punkt", "car", "porque", "puntos", "punti", "pontos", "so", "the", "it", "at",
];
/// How the key of a corrected score begins or ends, as letters in lower case.
#[rustfmt::skip]
const CORRECTED: &[&str] = &[
    "correct", "revis", "adjust", "amend", "updated", "changed", "korrigiert", "corrig", "corregid", "更正", "修正", "訂正", "修改",
];
/// Longest sentence that is read, in bytes.
const MAX_SENTENCE: usize = 600;

/// Whether a line may change a verdict.
pub(super) fn is_possible(line: &str) -> bool {
    let lower = line.to_lowercase();
    CHANGED.is_in(&lower) || sentences(&lower).any(|sentence| opens(sentence) || is_withdrawn(sentence))
}

/// Whether a sentence in lower case takes the whole verdict back, or says that it was never meant.
fn is_withdrawn(lower: &str) -> bool {
    let lower = lower.trim_start_matches(|c: char| !c.is_alphanumeric());
    let reason = REASONS.iter().filter_map(|word| lower.find(word)).min().unwrap_or(lower.len());
    WITHDRAWN.is_in(lower)
        || UNMEANT.is_in(lower)
        || (VERDICTS.iter().any(|subject| lower.starts_with(subject)) && UNTRUE.is_in(&lower[..reason]))
}

/// Whether the words before or after a word for a change name the response that it is about.
fn is_about_name(before: &str, after: &str) -> bool {
    let mut words = before.trim_end();
    loop {
        if words.ends_with(NAME) || words.ends_with('\'') && words.trim_end_matches('\'').ends_with(NAME) {
            return true;
        }
        let word = words.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if word.is_empty() || !ADVERBS.contains(&word) {
            break;
        }
        words = words[..words.len() - word.len()].trim_end();
    }
    after.trim_start().starts_with(NAME)
}

/// Whether a sentence in lower case begins as one that takes something back.
fn opens(lower: &str) -> bool {
    let lower = lower.trim_start_matches(|c: char| !c.is_alphanumeric());
    OPENINGS.iter().any(|opening| lower.starts_with(opening))
}

/// Whether a sentence of the text gives a response another score than `scores`, or another place. `plain`: the text
/// comes after the verdict; otherwise it is a remark within it, where only words for what a score ought to be count.
pub(super) fn contradicts(text: &str, scores: &BTreeMap<usize, f64>, plain: bool, names: &Names<'_>) -> bool {
    let text = &text[..chars::floor_boundary(text, names.searched())];
    sentences(text).any(|sentence| changes(sentence, scores, plain, names))
}

/// Whether an entry of a structure gives a response another score than `scores`: `"correction": "model-1 should be 3"`,
/// `"adjusted": {"model-1": 3}`. Reasoning may hold drafts, and does not count.
pub(super) fn is_in_tree(node: &Node<'_>, scores: &BTreeMap<usize, f64>, context: &Context<'_>) -> bool {
    is_in(node, None, scores, context)
}

/// `about`: the response that the structure is about.
fn is_in(node: &Node<'_>, about: Option<usize>, scores: &BTreeMap<usize, f64>, context: &Context<'_>) -> bool {
    let Node::Group(group) = node else { return false };
    let label = group.entries.iter().find_map(|entry| match (entry.key.as_deref(), &entry.value) {
        (Some(key), Node::Text(text)) if context.keys.read(key).0 == Key::Label => {
            context.names.resolve(text, true).place()
        }
        _ => None,
    });
    let about = label.or(about);
    #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
    let other = |number: f64| about.and_then(|place| scores.get(&place)).is_some_and(|&score| score != number);
    group.entries.iter().any(|entry| {
        let Some(key) = entry.key.as_deref() else { return is_in(&entry.value, about, scores, context) };
        let kind = context.keys.read(key).0;
        if kind == Key::Thought {
            return false;
        }
        let corrected = is_corrected(key);
        match &entry.value {
            Node::Group(inner) if corrected => differs(inner, scores, context),
            Node::Group(_) => {
                let named = context.names.resolve(key, false).place();
                is_in(&entry.value, named.or(about), scores, context)
            }
            Node::Text(text) if matches!(kind, Key::Other | Key::Marks) => {
                contradicts(text, scores, corrected, context.names)
                    || (text.len() <= MAX_SENTENCE
                        && context.names.mentions(text).is_empty()
                        && given(&text.to_lowercase()).is_some_and(other))
            }
            Node::Word { text, .. } if corrected => {
                text.parse().is_ok_and(other)
                    || contradicts(&format!("correction: {key} {text}"), scores, true, context.names)
            }
            _ => false,
        }
    })
}

/// Whether a key says that what it holds was corrected.
fn is_corrected(key: &str) -> bool {
    let key = key.to_lowercase();
    key.len() <= 64
        && key.split(|c: char| !c.is_alphanumeric()).any(|word| CORRECTED.iter().any(|known| word.starts_with(known)))
}

/// Whether a structure gives a response another score.
fn differs(group: &Group<'_>, scores: &BTreeMap<usize, f64>, context: &Context<'_>) -> bool {
    group.entries.iter().any(|entry| {
        let Some(key) = entry.key.as_deref() else { return false };
        match &entry.value {
            Node::Group(inner) => differs(inner, scores, context),
            Node::Text(_) => false,
            Node::Word { text, .. } => {
                let place = context.names.resolve(key, true).place();
                let number: Option<f64> = text.parse().ok();
                #[expect(clippy::float_cmp, reason = "the same digits written twice give the same number")]
                place
                    .zip(number)
                    .is_some_and(|(place, number)| scores.get(&place).is_some_and(|&score| score != number))
            }
        }
    })
}

/// Whether a comment beside a score gives another one: `// actually 3`.
pub(super) fn is_in_comment(comment: &str) -> bool {
    let comment = &comment[..chars::floor_boundary(comment, MAX_SENTENCE)];
    let lower = comment.to_lowercase();
    lower.contains(char::is_numeric) && (opens(&lower) || is_given(&lower))
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| matches!(c, '\n' | '。' | '！' | '？' | ';' | '；');
    text.split(ends).flat_map(|line| line.split_inclusive(". ")).flat_map(|part| part.split(['!', '?']))
}

fn changes(sentence: &str, scores: &BTreeMap<usize, f64>, plain: bool, names: &Names<'_>) -> bool {
    let sentence = &sentence[..chars::floor_boundary(sentence, MAX_SENTENCE)];
    let lower = sentence.to_lowercase().replace('’', "'");
    if plain && is_withdrawn(&lower) {
        return true;
    }
    let opened = plain && opens(&lower);
    if !opened && !CHANGED.is_in(&lower) {
        return false;
    }
    let mentions = names.mentions(sentence);
    let mut rest = String::with_capacity(sentence.len());
    let mut at = 0;
    for mention in &mentions {
        rest.push_str(&sentence[at..mention.start]);
        rest.push(NAME);
        at = mention.end;
    }
    rest.push_str(&sentence[at..]);
    let rest = rest.to_lowercase();
    let given = number_after_change(&rest, |before, after| opened || is_about_name(before, after));
    if mentions.is_empty() {
        return opened && given.is_some();
    }
    let agrees = |number: f64| mentions.iter().any(|mention| scores.get(&mention.place) == Some(&number));
    if let Some(number) = given {
        return !agrees(number);
    }
    if !opened {
        return false;
    }
    // `from 5 to 4`: the last number counts.
    match numbers(&rest).last() {
        Some((_, number)) => !agrees(number),
        None => COMPARED.is_in(&rest),
    }
}

/// Whether a remark on a score, in lower case, gives another one: `should be 3`.
pub(super) fn is_given(lower: &str) -> bool {
    given(lower).is_some()
}

/// The score that a remark gives, if it begins with it.
fn given(lower: &str) -> Option<f64> {
    let lower = &lower[..chars::floor_boundary(lower, MAX_SENTENCE)];
    if !CHANGED.is_in(lower) {
        return None;
    }
    // `2 - the answer should be 4` is about something else.
    number_after_change(lower, |before, _| !before.contains(char::is_alphabetic))
}

/// The number that follows a word for a change, with nothing but fillers between them and no other word for what it
/// counts. `about`: whether the text before and after the word shows that it is about a score.
fn number_after_change(lower: &str, about: impl Fn(&str, &str) -> bool) -> Option<f64> {
    CHANGES.iter().find_map(|change| {
        lower.match_indices(change).find_map(|(at, _)| {
            let rest = &lower[at + change.len()..];
            if !about(&lower[..at], rest) {
                return None;
            }
            let mut words = rest.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
            let named = words.find(|word| !FILLERS.contains(word));
            if let Some(number) = named.and_then(|word| WORDS.iter().position(|number| *number == word)) {
                return u32::try_from(number).ok().map(f64::from);
            }
            let digit = rest.find(|c: char| c.is_ascii_digit())?;
            let between = &rest[..digit];
            let filled = if between.is_ascii() || between.contains(' ') {
                between
                    .split(|c: char| !c.is_alphanumeric() && c != '\'')
                    .all(|word| word.is_empty() || FILLERS.contains(&word))
            } else {
                between.chars().count() <= 4
            };
            let (end, number) = numbers(&rest[digit..]).next()?;
            let next = rest[digit + end..].trim_start_matches([' ', ',', '*', '"']);
            let word = &next[..next.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(next.len())];
            (filled && (word.is_empty() || AFTER.contains(&word))).then_some(number)
        })
    })
}

/// The numbers of a text that stand apart, with the ends of their digits.
fn numbers(text: &str) -> impl Iterator<Item = (usize, f64)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(offset) = text[at..].find(|c: char| c.is_ascii_digit()) {
            let start = at + offset;
            let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
            let fraction = text[start + digits..].strip_prefix('.').map_or(0, |rest| {
                let count = rest.bytes().take_while(u8::is_ascii_digit).count();
                if count > 0 { count + 1 } else { 0 }
            });
            at = start + digits + fraction;
            let apart = !text[..start].ends_with(|c: char| c.is_ascii_alphabetic() || c == '-');
            if let Some(number) = text[start..at].parse().ok().filter(|_| apart) {
                return Some((at, number));
            }
        }
        None
    })
}
