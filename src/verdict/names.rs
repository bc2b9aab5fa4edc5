//! Which response a written name means: exactly as shown, then by letters and digits alone, then by the caller's
//! name, then by its number. A name that could mean two responses means none.

use std::cell::OnceCell;
use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use super::chars;
use crate::prompt::mask::AliasMap;

/// Words that stand for the prefix of an alias: judges write `Response 1` for `model-1`.
const NOUNS: &[&str] = &[
    "",
    "model",
    "m",
    "response",
    "r",
    "answer",
    "candidate",
    "assistant",
    "output",
    "completion",
    "option",
    "no",
    // German, French, Spanish, Italian, Portuguese, Dutch.
    "modell",
    "antwort",
    "kandidat",
    "modèle",
    "modele",
    "réponse",
    "reponse",
    "candidat",
    "modelo",
    "respuesta",
    "candidato",
    "opción",
    "opcion",
    "modello",
    "risposta",
    "resposta",
    "antwoord",
    // Russian, Arabic, Hindi.
    "модель",
    "ответ",
    "кандидат",
    "нейросеть",
    "نموذج",
    "النموذج",
    "إجابة",
    "الإجابة",
    "الرد",
    "मॉडल",
    "उत्तर",
    // Hebrew, Greek, Turkish, Polish, Swedish, Ukrainian, Persian.
    "מודל",
    "תשובה",
    "μοντέλο",
    "απάντηση",
    "yanıt",
    "cevap",
    "odpowiedź",
    "svar",
    "відповідь",
    "مدل",
    "پاسخ",
    // Thai.
    "โมเดล",
    "คำตอบ",
    // Chinese, Japanese, Korean.
    "模型",
    "回答",
    "回复",
    "回應",
    "回应",
    "答案",
    "候选",
    "響應",
    "响应",
    "模型编号",
    "モデル",
    "応答",
    "返答",
    "解答",
    "候補",
    "모델",
    "응답",
    "답변",
    "후보",
];
/// Longest text in which names are searched, in bytes, and how much more for each name.
const MAX_SEARCHED: usize = 65_536;
const SEARCHED_A_NAME: usize = 512;
/// Most words of a name that is searched for in running text.
const MAX_WORDS: usize = 8;

/// What a written name means. Places count in the order in which the responses were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// The name as it was shown.
    Exact(usize),
    /// A name in another form.
    Mended(usize),
    /// No name, or more than one.
    None,
}

impl Match {
    pub(super) fn place(self) -> Option<usize> {
        match self {
            Self::Exact(place) | Self::Mended(place) => Some(place),
            Self::None => None,
        }
    }
}

/// A name found in running text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mention {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) place: usize,
}

/// The names of one request.
pub(super) struct Names<'a> {
    map: &'a AliasMap,
    /// Places by the names as they were shown.
    exact: HashMap<&'a str, usize>,
    longest: usize,
    loose: OnceCell<Loose>,
}

/// Tables for names in another form, built when the first such name is met.
struct Loose {
    shown: HashMap<String, Option<usize>>,
    real: HashMap<String, Option<usize>>,
    real_exact: HashMap<String, usize>,
    /// Names without their owner: `llama` for `meta/llama`.
    tails: HashMap<String, Option<usize>>,
    /// The common prefix of the shown names and the place of each number, if they are numbered from 1.
    numbered: Option<(String, HashMap<String, usize>)>,
    /// Places of the first few names without a letter or digit.
    symbols: Vec<usize>,
    /// First words of all names, and the most words one has.
    first_words: HashMap<String, usize>,
}

impl<'a> Names<'a> {
    pub(super) fn new(map: &'a AliasMap) -> Self {
        let exact = map.shown().iter().map(String::as_str).zip(0..).collect();
        let longest = map.pairs().map(|(shown, real)| shown.len().max(real.len())).max().unwrap_or(0);
        Self { map, exact, longest, loose: OnceCell::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn shown(&self, place: usize) -> &str {
        &self.map.shown()[place]
    }

    /// Length in bytes of the longest name, shown or real.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Longest text in which names are searched, in bytes.
    pub(super) fn searched(&self) -> usize {
        MAX_SEARCHED.max(self.len().saturating_mul(SEARCHED_A_NAME))
    }

    /// Whether a name, shown or real, holds a character of the kind.
    pub(super) fn hold(&self, kind: impl Fn(char) -> bool) -> bool {
        self.map.pairs().any(|(shown, real)| shown.contains(&kind) || real.contains(&kind))
    }

    /// What a text that is only a name means. `numbers`: a bare number may be a name.
    pub(super) fn resolve(&self, written: &str, numbers: bool) -> Match {
        if let Some(&place) = self.exact.get(written) {
            return Match::Exact(place);
        }
        if written.len() > 2 * self.longest() + 64 {
            return Match::None;
        }
        let trimmed = trim_decoration(written);
        if let Some(&place) = self.exact.get(trimmed) {
            return Match::Mended(place);
        }
        let normal = normal_form(trimmed);
        let loose = self.loose();
        let place = loose.resolve(trimmed, &normal, numbers).or_else(|| self.with_addition(trimmed, &normal));
        place.map_or(Match::None, Match::Mended)
    }

    /// A name with an addition that says nothing else: `model-1 (alpha)` with the caller's name, `model-1 score`.
    fn with_addition(&self, trimmed: &str, normal: &str) -> Option<usize> {
        let loose = self.loose();
        if let Some((head, inner)) = trimmed.split_once('(') {
            let [head, inner] = [head, inner].map(|part| loose.resolve(part.trim(), &normal_form(part), false));
            return head.filter(|_| inner == head);
        }
        let head = normal.strip_suffix("score").or_else(|| normal.strip_suffix("rating"))?;
        loose.resolve("", head, false)
    }

    /// Whether a number is that of the response at `place`, if the responses are numbered: `2` for `model-2`.
    pub(super) fn is_numbered(&self, place: usize, number: usize) -> bool {
        let numbered = self.loose().numbered.as_ref();
        numbered.is_some_and(|(_, places)| places.get(&number.to_string()) == Some(&place))
    }

    fn loose(&self) -> &Loose {
        self.loose.get_or_init(|| Loose::new(self.map))
    }

    /// The names in running text, in order, without overlap: at each word the longest name that begins there.
    pub(super) fn mentions(&self, text: &str) -> Vec<Mention> {
        let text = &text[..chars::floor_boundary(text, self.searched())];
        let loose = self.loose();
        let words = words(text);
        let mut found = Vec::new();
        let mut next = 0;
        while next < words.len() {
            let (start, end) = words[next];
            let first = normal_form(&text[start..end]);
            let most = match loose.first_words.get(&first) {
                Some(&most) => most.min(MAX_WORDS),
                None => loose.noun_words(&first),
            };
            let mention = (1..=most.min(words.len() - next)).rev().find_map(|count| {
                let end = words[next + count - 1].1;
                // The last word of a name must not continue as a decimal or a longer name.
                if continues_number(text, end) {
                    return None;
                }
                let written = &text[start..end];
                // `claude-3: 5` is no `claude-3.5`: a name and its score.
                if count > 1 && !self.exact.contains_key(written) {
                    let (before, last) = (words[next + count - 2].1, words[next + count - 1].0);
                    let numbers =
                        text[..before].ends_with(char::is_numeric) && text[last..].starts_with(char::is_numeric);
                    let gap = &text[before..last];
                    let shorter = || loose.resolve(&text[start..before], &normal_form(&text[start..before]), false);
                    if numbers && !matches!(gap, "." | "-" | "_") && (gap != " " || shorter().is_some()) {
                        return None;
                    }
                }
                let normal = normal_form(written);
                loose.resolve(written, &normal, false).map(|place| (count, Mention { start, end, place }))
            });
            match mention {
                Some((count, mention)) => {
                    found.push(mention);
                    next += count;
                }
                None => next += 1,
            }
        }
        self.symbol_mentions(text, &mut found);
        found
    }

    /// Adds the names without a letter or digit, such as emoji, which no word matches.
    fn symbol_mentions(&self, text: &str, found: &mut Vec<Mention>) {
        let mut any = false;
        for &place in &self.loose().symbols {
            let shown = self.shown(place);
            for (start, _) in text.match_indices(shown) {
                any = true;
                found.push(Mention { start, end: start + shown.len(), place });
            }
        }
        if any {
            found.sort_by_key(|mention| (mention.start, std::cmp::Reverse(mention.end)));
            let mut end = 0;
            found.retain(|mention| {
                let apart = mention.start >= end;
                if apart {
                    end = mention.end;
                }
                apart
            });
        }
    }
}

impl Loose {
    fn new(map: &AliasMap) -> Self {
        let (mut shown, mut real, mut real_exact) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut tails: HashMap<String, Option<usize>> = HashMap::new();
        let mut first_words: HashMap<String, usize> = HashMap::new();
        for (place, (alias, name)) in map.pairs().enumerate() {
            for (table, text) in [(&mut shown, alias), (&mut real, name)] {
                let normal = normal_form(text);
                if !normal.is_empty() {
                    // Two names with the same normal form can only be told apart as they are written.
                    table.entry(normal).and_modify(|other| *other = None).or_insert(Some(place));
                }
                let tail =
                    text.rsplit_once('/').map(|(_, tail)| tail).filter(|tail| tail.contains(char::is_alphabetic));
                if let Some(tail) = tail {
                    let entry = tails.entry(normal_form(tail)).or_insert(Some(place));
                    // Two owners of one name.
                    *entry = entry.filter(|other| *other == place);
                }
                for text in [Some(text), tail].into_iter().flatten() {
                    let words = words(text);
                    if let Some(&(start, end)) = words.first() {
                        let most = first_words.entry(normal_form(&text[start..end])).or_default();
                        *most = (*most).max(words.len());
                    }
                }
            }
            real_exact.insert(name.to_owned(), place);
        }
        let is_symbol = |shown: &str| !shown.is_empty() && !shown.contains(char::is_alphanumeric);
        let symbols = (0..map.len()).filter(|&place| is_symbol(&map.shown()[place])).take(MAX_WORDS).collect();
        let numbered = numbered(map);
        Self { shown, real, real_exact, tails, numbered, symbols, first_words }
    }

    fn resolve(&self, trimmed: &str, normal: &str, numbers: bool) -> Option<usize> {
        if let Some(place) = self.shown.get(normal) {
            return *place;
        }
        let real = match self.real_exact.get(trimmed) {
            Some(place) => Some(*place),
            None => self.real.get(normal).copied().flatten(),
        };
        match (real, self.by_number(normal, true)) {
            (Some(real), Some(number)) if real != number => None,
            (real, _) => {
                let tail = || self.tails.get(normal).copied().flatten();
                real.or_else(|| self.by_number(normal, numbers)).or_else(tail)
            }
        }
    }

    /// The response whose number is written, alone or after a word for the prefix, or after a word close to one.
    fn by_number(&self, normal: &str, numbers: bool) -> Option<usize> {
        let (prefix, places) = self.numbered.as_ref()?;
        let (noun, digits) = normal.split_at(normal.find(|c: char| c.is_ascii_digit())?);
        if noun.is_empty() && !numbers {
            return None;
        }
        let noun_fits = noun.is_empty()
            || (NOUNS.contains(&noun) && NOUNS.contains(&prefix.as_str()))
            || (prefix.len() >= 4 && super::keys::within_edits(noun, prefix, 1));
        places.get(digits).copied().filter(|_| noun_fits)
    }

    /// How many words a name has if it begins with a word for the prefix, or with a word close to one.
    fn noun_words(&self, first: &str) -> usize {
        let noun = self.numbered.as_ref().is_some_and(|(prefix, _)| {
            (first.len() > 1 && NOUNS.contains(&first) && NOUNS.contains(&prefix.as_str()))
                || (prefix.len() >= 4 && super::keys::within_edits(first, prefix, 1))
        });
        if noun { 2 } else { 0 }
    }
}

/// The common prefix of the shown names and their numbers, if the names are that prefix and the numbers from 1 on.
fn numbered(map: &AliasMap) -> Option<(String, HashMap<String, usize>)> {
    let mut prefix: Option<String> = None;
    let mut places = HashMap::new();
    for (place, shown) in map.shown().iter().enumerate() {
        let normal = normal_form(shown);
        let digits = normal.find(|c: char| c.is_ascii_digit())?;
        let (head, number) = normal.split_at(digits);
        if prefix.get_or_insert_with(|| head.to_owned()) != head {
            return None;
        }
        let value: usize = number.parse().ok().filter(|value| (1..=map.len()).contains(value))?;
        places.insert(value.to_string(), place);
    }
    (places.len() == map.len()).then_some((prefix?, places))
}

/// Letters and digits in lower case and one form; a point between digits that were apart; no leading zeros.
fn normal_form(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    if text.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        normal.push_str(text);
        normal.make_ascii_lowercase();
        return normal;
    }
    if text.is_ascii() {
        put_normal(text.chars().map(|c| c.to_ascii_lowercase()), &mut normal);
        return normal;
    }
    let seen = text.nfkc().flat_map(char::to_lowercase).filter(|&c| !chars::is_invisible(c));
    put_normal(seen.map(chars::fold), &mut normal);
    if normal.is_empty() {
        // A name of symbols, such as an emoji.
        normal.extend(text.chars().filter(|&c| !chars::is_blank(c) && !chars::is_invisible(c)));
    }
    normal
}

/// Appends letters and digits in the normal form.
fn put_normal(characters: impl Iterator<Item = char>, normal: &mut String) {
    let mut apart = false;
    for c in characters {
        if !c.is_alphanumeric() {
            apart = true;
            continue;
        }
        let last = normal.chars().next_back();
        let after_digit = last.is_some_and(char::is_numeric);
        if c.is_numeric() && after_digit {
            if apart {
                normal.push('.');
            } else if last == Some('0') && !normal[..normal.len() - 1].ends_with(|c: char| c.is_numeric() || c == '.') {
                normal.pop();
            }
        }
        normal.push(c);
        apart = false;
    }
}

/// The name within quotes, brackets and marks of emphasis.
fn trim_decoration(text: &str) -> &str {
    let mark =
        |c: char| chars::is_blank(c) || chars::Quote::of(c).is_some() || "*_<>[](){}#:.,;|~".contains(chars::fold(c));
    text.trim_matches(mark)
}

/// A run of characters that is a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Letters,
    /// Letters of a script without blanks between words.
    Unspaced,
    Digits,
}

impl Run {
    fn of(c: char) -> Option<Self> {
        match c {
            _ if !c.is_alphanumeric() => None,
            _ if c.is_numeric() => Some(Self::Digits),
            _ if chars::is_unspaced(c) => Some(Self::Unspaced),
            _ => Some(Self::Letters),
        }
    }
}

/// Words as names are compared: runs of letters, and runs of digits.
fn words(text: &str) -> Vec<(usize, usize)> {
    let mut words: Vec<(usize, usize)> = Vec::new();
    let mut previous: Option<Run> = None;
    for (index, c) in text.char_indices() {
        if chars::is_invisible(c) {
            continue;
        }
        let kind = Run::of(c);
        let end = index + c.len_utf8();
        match kind {
            Some(_) if kind == previous => {
                if let Some(last) = words.last_mut() {
                    last.1 = end;
                }
            }
            Some(kind) => {
                if kind == Run::Digits && previous == Some(Run::Unspaced) {
                    part_noun(text, &mut words);
                }
                words.push((index, end));
            }
            None => {}
        }
        // A combining mark belongs to the letter before it.
        if kind.is_some() || !unicode_normalization::char::is_combining_mark(c) {
            previous = kind;
        } else if let Some(last) = words.last_mut() {
            last.1 = end;
        }
    }
    words
}

/// Separates a word for the prefix of an alias from the sentence before it if no blank does.
fn part_noun(text: &str, words: &mut Vec<(usize, usize)>) {
    let Some(&(start, end)) = words.last() else { return };
    let window = &text[start.max(chars::floor_boundary(text, end.saturating_sub(24)))..end];
    let noun = NOUNS.iter().filter(|noun| noun.starts_with(chars::is_unspaced) && window.ends_with(*noun));
    if let Some(at) = noun.map(|noun| end - noun.len()).min().filter(|&at| at > start) {
        words.pop();
        words.extend([(start, at), (at, end)]);
    }
}

/// Whether the text after a word continues it, so that the word is not whole: `model-1.5`, `model1b`.
fn continues_number(text: &str, end: usize) -> bool {
    let mut after = text[end..].chars();
    match after.next() {
        Some('.') => after.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) => c.is_alphanumeric() && !chars::is_unspaced(c),
        None => false,
    }
}
