//! Sentences that change a verdict after it was written: `Wait, model-2 should get 3.` A judge that changes one score has
//! no verdict any more that could be read without guessing.

mod numbers;
mod tree;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::chars;
use super::interpret::Context;
use super::names::{Mention, Names};
use super::withdrawn;
use numbers::{number, number_after, numbers, stated_numbers};
pub(super) use tree::is_in_tree;
use words::{
    ADVERBS, AFTER, BEST, BETTER, CHANGED, CHANGES, COMPARED, ELSE, FILLERS, IMAGINED, JUDGING, LEADS, MADE, OPENINGS,
    SCORES, STATED, STATES, SWAPPED, TELLS, TURNS, WORSE, WORST,
};

/// Why a verdict is not trusted that a later sentence changes.
pub(super) const FAULT: &str = "a later remark changes the verdict";

/// Stands for a name in a sentence.
pub(super) const NAME: char = '\u{1}';
/// Longest sentence that is read, in bytes.
const MAX_SENTENCE: usize = 600;

/// The verdict that a remark may change.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'c> {
    pub(super) scores: &'c BTreeMap<usize, f64>,
    /// The ranking, if it can be read in one way.
    pub(super) ranking: Option<&'c [usize]>,
}

impl Chosen<'_> {
    /// Whether the response at `place` has the score.
    fn gives(&self, place: usize, number: f64) -> bool {
        self.scores.get(&place) == Some(&number)
    }

    /// The rank of a response, from 0.
    fn rank(&self, place: usize) -> Option<usize> {
        self.ranking?.iter().position(|&other| other == place)
    }
}

/// Where a remark stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// Within a verdict: only words for what a score ought to be count.
    Within,
    /// In a line of a verdict in lines.
    Beside,
    /// After the verdict.
    After,
}

/// A sentence in lower case, with [`NAME`] for each name.
struct Sentence {
    text: String,
    mentions: Vec<Mention>,
}

impl Sentence {
    fn of(sentence: &str, names: &Names<'_>) -> Self {
        let sentence = &sentence[..chars::floor_boundary(sentence, MAX_SENTENCE)];
        let mentions = names.mentions(sentence);
        let put = |part: &str, text: &mut String| text.extend(part.chars().filter(|&c| c != NAME));
        let mut text = String::with_capacity(sentence.len());
        let mut at = 0;
        for mention in &mentions {
            put(&sentence[at..mention.start], &mut text);
            text.push(NAME);
            at = mention.end;
        }
        put(&sentence[at..], &mut text);
        let text = text.to_lowercase().replace('’', "'");
        let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != NAME).to_owned();
        Self { text, mentions }
    }

    /// The response whose name is the last one before a place in the text, or the next one.
    fn named(&self, at: usize, before: bool) -> Option<usize> {
        let count = self.text[..at].matches(NAME).count();
        self.mentions.get(if before { count.checked_sub(1)? } else { count }).map(|mention| mention.place)
    }
}

/// Whether a line may change a verdict.
pub(super) fn is_possible(line: &str, names: &Names<'_>) -> bool {
    let lower = line.to_lowercase();
    CHANGED.is_in(&lower)
        || STATED.is_in(&lower) && lower.contains(|c: char| c.is_ascii_digit())
        || SWAPPED.is_in(&lower)
        || MADE.is_in(&lower)
        || sentences(&lower).any(opens)
        || withdrawn::is_possible(&lower)
            && sentences(&unquoted(line, names))
                .any(|sentence| withdrawn::is_withdrawn(&Sentence::of(sentence, names).text, false, true))
}

/// Whether a sentence in lower case begins as one that takes something back.
fn opens(lower: &str) -> bool {
    let mark = |c: char| !c.is_alphanumeric() && c != NAME;
    let mut rest = lower.trim_start_matches(mark);
    loop {
        let opened = OPENINGS.iter().filter_map(|opening| rest.strip_prefix(opening)).any(|after| {
            let ended = !after.starts_with(|c: char| c.is_alphabetic() && !chars::is_unspaced(c))
                || rest.starts_with(|c: char| !c.is_ascii())
                || rest.starts_with("desculp");
            ended && !ELSE.iter().any(|word| after.trim_start().starts_with(word))
        });
        if opened {
            return true;
        }
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        if !LEADS.contains(&&rest[..end]) {
            return false;
        }
        rest = rest[end..].trim_start_matches(mark);
    }
}

/// Whether a sentence of the text gives a response another score than the verdict, or another place.
pub(super) fn contradicts(text: &str, chosen: Chosen<'_>, stand: Stand, context: &Context<'_>) -> bool {
    let names = context.names;
    let text = &text[..chars::floor_boundary(text, names.searched())];
    let (mut near, mut opened) = (stand == Stand::After, false);
    text.split('\n').any(|line| {
        let line = unquoted(line, names);
        sentences(&line).any(|sentence| {
            if !sentence.contains(char::is_alphanumeric) || !(opened || near || may_change(sentence)) {
                opened = false;
                return false;
            }
            let sentence = Sentence::of(sentence, names);
            let opens = stand != Stand::Within && opens(&sentence.text);
            let changed = stand != Stand::Within
                && withdrawn::is_withdrawn(
                    &sentence.text,
                    stand == Stand::After && (near || opened || opens),
                    stand != Stand::After,
                )
                || changes(&sentence, opens || opened, chosen, context)
                || stand == Stand::After
                    && (is_scored_otherwise(&sentence, chosen, context) || is_compared_otherwise(&sentence, chosen));
            // `Wait. Model-2 …`: what takes something back leads to the next sentence.
            opened = opens && sentence.mentions.is_empty() && sentence.text.split_whitespace().count() < 5;
            near = false;
            changed
        })
    })
}

/// Whether a sentence holds anything that may change a verdict, before its names are looked for.
fn may_change(sentence: &str) -> bool {
    let lower = sentence[..chars::floor_boundary(sentence, MAX_SENTENCE)].to_lowercase();
    lower.contains(|c: char| c.is_ascii_digit())
        || CHANGED.is_in(&lower)
        || COMPARED.is_in(&lower)
        || SWAPPED.is_in(&lower)
        || opens(&lower)
        || withdrawn::is_possible(&lower)
}

/// A line without what it quotes: `Model-2 says "Wait, it should be 3"`. What names a response may be the judge's.
fn unquoted<'t>(line: &'t str, names: &Names<'_>) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(line);
    for (open, close) in [('"', '"'), ('“', '”'), ('「', '」'), ('『', '』'), ('«', '»'), ('\'', '\'')] {
        if !text.contains(open) {
            continue;
        }
        let mut kept = String::with_capacity(text.len());
        let mut rest = &*text;
        while let Some(at) = rest.find(open) {
            let start = at + open.len_utf8();
            let inner = &rest[start..];
            let starts = open != '\''
                || !rest[..at].ends_with(char::is_alphanumeric) && inner.starts_with(char::is_alphanumeric);
            let ends = |end: &usize| close != '\'' || !inner[end + 1..].starts_with(char::is_alphanumeric);
            let end = inner.match_indices(close).map(|(end, _)| end).find(ends);
            if end.is_none() {
                // Nothing further is closed either.
                break;
            }
            let end = end.filter(|_| starts);
            let quoted = &inner[..end.unwrap_or(0)];
            let long = quoted.split_whitespace().count() > 2
                || quoted.contains(chars::is_unspaced) && quoted.chars().count() > 6;
            let next = start + end.map_or(0, |end| end + close.len_utf8());
            kept.push_str(&rest[..if long && names.mentions(quoted).is_empty() { at } else { next }]);
            rest = &rest[next..];
        }
        kept.push_str(rest);
        text = Cow::Owned(kept);
    }
    text
}

/// A line without the sentences that tell what a judge only thought of: `I considered giving model-1 a 5.`
pub(super) fn without_imagined<'t>(line: &'t str, names: &Names<'_>) -> Cow<'t, str> {
    if !line.contains(' ') || !IMAGINED.is_in(&line.to_lowercase()) {
        return Cow::Borrowed(line);
    }
    let pieces = line.split_inclusive(". ");
    Cow::Owned(
        pieces
            .map(|piece| after_imagined(piece, names.mentions(piece).first().map_or(0, |first| first.start)))
            .collect(),
    )
}

/// What holds of a sentence whose first name is at `first`: all of it, or what comes after what is only imagined.
fn after_imagined(sentence: &str, first: usize) -> &str {
    if first == 0 || !IMAGINED.is_in(&sentence[..first].to_lowercase()) {
        return sentence;
    }
    let turn = TURNS.iter().filter_map(|turn| sentence.find(turn)).min();
    turn.map_or(if sentence.ends_with('\n') { "\n" } else { "" }, |at| &sentence[at..])
}

/// Whether a comment beside a score gives another one: `// actually 3`.
pub(super) fn is_in_comment(comment: &str) -> bool {
    let comment = &comment[..chars::floor_boundary(comment, MAX_SENTENCE)];
    let lower = comment.to_lowercase();
    let named = |before: &str, _: &str| before.trim_end().ends_with(|c: char| c.is_ascii_digit());
    lower.contains(char::is_numeric)
        && (opens(&lower) || is_given(&lower) || number_after(CHANGES, &lower, named).is_some())
        || withdrawn::is_withdrawn(lower.trim_start_matches(|c: char| !c.is_alphanumeric()), false, true)
}

/// The sentences of a line.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let ends = |c: char| matches!(c, '\n' | '。' | '！' | '？' | ';' | '；');
    line.split(ends).flat_map(|part| part.split_inclusive(". ")).flat_map(|part| part.split(['!', '?']))
}

/// `opened`: the sentence takes something back by its first words.
fn changes(sentence: &Sentence, opened: bool, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    let Sentence { text, mentions } = sentence;
    let stated = !mentions.is_empty() && STATED.is_in(text);
    if mentions.is_empty() && lists_other(text, chosen) {
        return true;
    }
    if is_valued_otherwise(sentence, chosen) {
        return true;
    }
    if !opened && !stated && !CHANGED.is_in(text) && !SWAPPED.is_in(text) && !MADE.is_in(text) {
        return false;
    }
    let held = if opened { &text[..] } else { after_imagined(text, text.find(NAME).unwrap_or(0)) };
    if held.len() < text.len() {
        return changes(&Sentence::of(held, context.names), true, chosen, context);
    }
    let about = |before: &str, after: &str| opened || is_about_name(before, after);
    let given = number_after(CHANGES, text, about)
        .or_else(|| number_after(STATES, text, |before, _| is_about_name(before, "")))
        .or_else(|| MADE.find(text).and_then(|at| numbers(&text[..at]).last()));
    if mentions.is_empty() {
        return opened && given.is_some_and(|number| context.rule.scale.contains(number));
    }
    let agrees = |number: f64| mentions.iter().any(|mention| chosen.gives(mention.place, number));
    if let Some(number) = given {
        return !agrees(number);
    }
    if mentions.len() > 1 && SWAPPED.find(text).is_some_and(|at| !text[..at].contains("not")) {
        return true;
    }
    if is_placed_elsewhere(sentence, opened, chosen) || opened && is_listed_otherwise(sentence, chosen) {
        return true;
    }
    if !opened {
        return false;
    }
    // `from 5 to 4`: the last number counts; `3 instead of 4`: the first.
    let all: Vec<f64> = numbers(text).collect();
    let replaced = ["instead of", "rather than", ", not"].iter().any(|word| text.contains(word));
    match if replaced { all.first() } else { all.last() } {
        Some(&number) => !agrees(number),
        None => COMPARED.is_in(text) && !is_as_ranked(sentence, chosen),
    }
}

/// Whether a sentence about one response gives it another number that may be a score, or calls it the best or the
/// worst, and tells nothing of what the response says: `Having read model-1 again, I give it 3.`
fn is_scored_otherwise(sentence: &Sentence, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    let [mention] = &sentence.mentions[..] else { return false };
    let text = &sentence.text;
    // A row of a table is read as one.
    if text.contains('|') || TELLS.is_in(text) || IMAGINED.is_in(text) || !chosen.scores.contains_key(&mention.place) {
        return false;
    }
    // `2) model-1 …`
    let ordinal = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = ordinal.strip_prefix([')', '.', ':']).unwrap_or(text);
    let judging = text.split(|c: char| !c.is_alphanumeric()).any(|word| JUDGING.contains(&word))
        || text.contains(['分', '点', '改', '给']);
    let is_other = |&(start, number): &(usize, f64)| {
        context.rule.scale.contains(number) && (judging || is_given_beside(text, start))
    };
    let other = stated_numbers(text).find(is_other).is_some();
    let agrees = stated_numbers(text).any(|(_, number)| chosen.gives(mention.place, number));
    other && !agrees || is_called_otherwise(text, mention.place, chosen)
}

/// Whether a number is written as a score is: `a 3`, `3 for model-1`, `model-1 = 3`.
fn is_given_beside(text: &str, start: usize) -> bool {
    let before = text[..start].trim_end_matches([' ', '*', '"', ':', '=', '>', '-', '→', '(']);
    let after = text[start..].trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '*' | '"'));
    let article = ["a", "an", "ein", "eine", "un", "une", "uma"];
    let last = before.rsplit([' ', '(']).next().unwrap_or_default();
    // `model-1 gets 3`
    let linked = ["is", "gets", "receives", "ist", "est", "es", "é"].contains(&last)
        && before[..before.len() - last.len()].trim_end().ends_with(NAME);
    before.ends_with(NAME)
        || linked
        || article.contains(&last)
        || ["for ", "für ", "pour ", "para "]
            .iter()
            .any(|word| after.trim_start().strip_prefix(word).is_some_and(|rest| rest.starts_with(NAME)))
}

/// Whether a sentence does nothing but put two responses in another order: `Model-1 is in fact better than model-3.`
fn is_compared_otherwise(sentence: &Sentence, chosen: Chosen<'_>) -> bool {
    let [first, second] = &sentence.mentions[..] else { return false };
    let parts: Vec<&str> = sentence.text.split(NAME).map(str::trim).collect();
    let [before, between, after] = &parts[..] else { return false };
    let words = |text: &str, known: &[&str]| {
        text.split(|c: char| !c.is_alphanumeric()).all(|word| word.is_empty() || known.contains(&word))
    };
    let ended = words(after, &["after", "all", "now", "overall", "here", "though"]);
    let adverbs = [
        "is", "was", "in", "fact", "actually", "really", "clearly", "simply", "overall", "now", "so", "but", "and",
        "than", "better",
    ];
    let beats = matches!(*between, "beats" | "outperforms" | "surpasses");
    let above = beats || between.ends_with("better than") && words(between, &adverbs);
    let preferred =
        matches!(*before, "i prefer" | "i now prefer" | "on balance, i prefer") && matches!(*between, "to" | "over");
    let compared = above && words(before, &adverbs);
    ended && (compared || preferred) && is_otherwise(Some((first.place, second.place)), chosen)
}

/// `model-1 is actually the best`, `model-2 is not the worst one`.
fn is_called_otherwise(text: &str, place: usize, chosen: Chosen<'_>) -> bool {
    let Some(rest) = text.find(NAME).map(|at| text[at + NAME.len_utf8()..].replace("n't", " not")) else {
        return false;
    };
    let mut words = rest.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    if !words.next().is_some_and(|word| matches!(word, "is" | "was" | "remains" | "ist" | "est" | "es")) {
        return false;
    }
    let mut negated = false;
    let Some(word) = words.find(|word| {
        negated |= *word == "not";
        !matches!(
            *word,
            "not"
                | "the"
                | "actually"
                | "really"
                | "clearly"
                | "in"
                | "fact"
                | "now"
                | "am"
                | "die"
                | "la"
                | "le"
                | "el"
        )
    }) else {
        return false;
    };
    let next = words.next().unwrap_or("");
    let highest = BEST.contains(&word);
    (highest || WORST.contains(&word))
        && matches!(next, "" | "one" | "response" | "answer" | "overall" | "candidate" | "model" | "of")
        && is_extreme(place, highest, chosen) == negated
}

/// Whether a sentence begins with a name and its score, and the score is a range or two numbers: `model-1: 3-4`,
/// `model-3: 5 -> 4`.
fn is_valued_otherwise(sentence: &Sentence, chosen: Chosen<'_>) -> bool {
    let value = sentence.text.strip_prefix(NAME).map(|rest| rest.trim_start_matches([' ', '*', '"']));
    let Some(value) = value.and_then(|rest| rest.strip_prefix([':', '=', '：'])) else { return false };
    let value = value.trim_start_matches([' ', '*']);
    let end = value.find(|c: char| c.is_alphabetic() || matches!(c, '(' | ',' | '/' | '，')).unwrap_or(value.len());
    let head = &value[..end];
    let place = sentence.mentions[0].place;
    let range = number(head).is_some_and(|(_, rest)| {
        rest.trim_start().strip_prefix(['-', '–']).is_some_and(|top| top.starts_with(|c: char| c.is_ascii_digit()))
    });
    // `2 - 3 errors`
    let counted = value[end..].starts_with(char::is_alphabetic);
    let all: Vec<f64> = numbers(head).collect();
    let all = &all[..all.len() - usize::from(counted && !all.is_empty())];
    chosen.scores.contains_key(&place)
        && (range || all.len() > 1 && all.iter().any(|&number| !chosen.gives(place, number)))
}

/// Whether a sentence without names lists other scores: `The correct scores are 3, 2 and 5.`
fn lists_other(text: &str, chosen: Chosen<'_>) -> bool {
    let Some(digit) = text.find(|c: char| c.is_ascii_digit()) else { return false };
    SCORES.is_in(&text[..digit])
        && chosen.scores.len() > 1
        && numbers(text).count() == chosen.scores.len()
        && !numbers(text).eq(chosen.scores.values().copied())
}

/// Whether a sentence says that a response ought to have another place: `model-1 should come first`.
fn is_placed_elsewhere(sentence: &Sentence, opened: bool, chosen: Chosen<'_>) -> bool {
    let text = &sentence.text;
    let count = chosen.ranking.map_or(0, <[usize]>::len);
    CHANGES.iter().any(|change| {
        text.match_indices(change).any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + change.len()..]);
            let leads = after.trim_start().starts_with(NAME);
            if !opened && !is_about_name(before, after) {
                return false;
            }
            let Some(place) = sentence.named(at, !leads) else { return false };
            let mut words = after.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty());
            let Some(word) = words.find(|word| !FILLERS.contains(word)) else { return false };
            let next = words.next().unwrap_or("");
            if !(next.is_empty() || AFTER.contains(&next)) {
                // `should be ranked above model-2`
                return is_beside_change(sentence, at, chosen);
            }
            let wanted = if BEST.contains(&word) {
                0
            } else if WORST.contains(&word) {
                count.saturating_sub(1)
            } else {
                return is_beside_change(sentence, at, chosen);
            };
            chosen.rank(place).is_some_and(|rank| rank != wanted) && !is_extreme(place, wanted == 0, chosen)
        })
    })
}

/// Whether a sentence lists all names in another order than the ranking: `It should be model-1, model-3, model-2`.
fn is_listed_otherwise(sentence: &Sentence, chosen: Chosen<'_>) -> bool {
    let parts: Vec<&str> = sentence.text.split(NAME).collect();
    let between = parts.get(1..parts.len().saturating_sub(1)).unwrap_or_default();
    let listed = sentence.mentions.iter().map(|mention| mention.place);
    let only = between.iter().all(|part| matches!(part.trim(), "," | ">" | ", and" | "and" | "、" | "，"));
    only && chosen.ranking.is_some_and(|ranking| listed.len() == ranking.len() && !listed.eq(ranking.iter().copied()))
}

/// Whether no response has a higher score, or a lower one.
fn is_extreme(place: usize, highest: bool, chosen: Chosen<'_>) -> bool {
    let Some(own) = chosen.scores.get(&place) else { return false };
    chosen.scores.values().all(|other| if highest { other <= own } else { other >= own })
}

/// Whether the two names around words for a change are compared otherwise than in the ranking.
fn is_beside_change(sentence: &Sentence, at: usize, chosen: Chosen<'_>) -> bool {
    let count = sentence.text[..at].matches(NAME).count();
    count > 0 && pairs(sentence).get(count - 1).is_some_and(|pair| is_otherwise(*pair, chosen))
}

/// For each two neighbouring names of a sentence, the better and the worse response, if the words between them say so.
fn pairs(sentence: &Sentence) -> Vec<Option<(usize, usize)>> {
    let parts: Vec<&str> = sentence.text.split(NAME).collect();
    let pair = |(at, pair): (usize, &[Mention])| {
        let (first, second) = (pair[0].place, pair[1].place);
        let (between, after) = (parts[at + 1], parts.get(at + 2).copied().unwrap_or_default());
        if BETTER.is_in(between) {
            return Some((first, second));
        }
        if WORSE.is_in(between) {
            return Some((second, first));
        }
        let said = after.trim_start_matches(['更', '要', '还', '稍']);
        match between {
            "比" if said.starts_with(['好', '高', '优', '强']) => Some((first, second)),
            "比" if said.starts_with(['差', '低', '弱']) => Some((second, first)),
            _ => None,
        }
    };
    sentence.mentions.windows(2).enumerate().map(pair).collect()
}

/// Whether a pair is in another order than in the ranking.
fn is_otherwise(pair: Option<(usize, usize)>, chosen: Chosen<'_>) -> bool {
    let ranks = pair.and_then(|(better, worse)| chosen.rank(better).zip(chosen.rank(worse)));
    ranks.is_some_and(|(better, worse)| better > worse)
}

/// Whether all that a sentence compares is as in the ranking.
fn is_as_ranked(sentence: &Sentence, chosen: Chosen<'_>) -> bool {
    if let [only] = &sentence.mentions[..] {
        let is_in =
            |known: &[&str]| sentence.text.split(|c: char| !c.is_alphanumeric()).any(|word| known.contains(&word));
        let rank = chosen.rank(only.place);
        return is_in(BEST) && rank == Some(0)
            || is_in(WORST) && rank == chosen.ranking.map(|ranking| ranking.len() - 1);
    }
    let pairs = pairs(sentence);
    chosen.ranking.is_some()
        && pairs.iter().any(Option::is_some)
        && !pairs.into_iter().any(|pair| is_otherwise(pair, chosen))
}

/// Whether the words before or after a word for a change name the response that it is about.
fn is_about_name(before: &str, after: &str) -> bool {
    let mut words = before;
    loop {
        words = words.trim_end_matches([' ', '\'', ':', '(', '—', '-', '*', '：', '（']);
        if words.ends_with(NAME) {
            return true;
        }
        let word = words.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if word.is_empty() || !ADVERBS.contains(&word) {
            break;
        }
        words = &words[..words.len() - word.len()];
    }
    after.trim_start().starts_with(NAME)
}

/// Whether a remark on a score, in lower case, gives another one: `should be 3`.
pub(super) fn is_given(lower: &str) -> bool {
    given(lower).is_some()
}

/// The score that a remark gives, if it begins with it, or takes something back by its first words.
fn given(lower: &str) -> Option<f64> {
    let lower = &lower[..chars::floor_boundary(lower, MAX_SENTENCE)];
    // `2 - the answer should be 4` is about something else.
    let number = || number_after(CHANGES, lower, |before, _| !before.contains(char::is_alphabetic));
    let remark = lower.trim_start_matches(|c: char| !c.is_alphabetic());
    let number = if CHANGED.is_in(lower) { number() } else { None };
    number.or_else(|| if opens(remark) { numbers(remark).last() } else { None })
}
