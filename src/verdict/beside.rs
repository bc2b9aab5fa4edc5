//! What is written beside a name in running text: a score, several scores with labels, a mark such as `[RESULT] 4`.

use super::chars::{self, Quote};
use super::interpret::Context;
use super::keys::Key;
use super::ranking;
use super::repair::quoted;
use super::score::{self, Read, Rule, Why};

/// Words that may stand between a name and its score.
const LINKS: &[&str] = &[
    "gets",
    "get",
    "scores",
    "scored",
    "receives",
    "received",
    "earns",
    "earned",
    "is",
    "rated",
    "score",
    "rating",
    "gives",
    "bekommt",
    "erhält",
    "reçoit",
    "obtient",
    "recibe",
    "obtiene",
    "得",
    "得分",
    "得到",
    "为",
    "は",
    "评分",
    "分数",
    "スコア",
];
/// Words that stand before a name and belong to it.
const ARTICLES: &[&str] = &[
    "the", "The", "le", "Le", "la", "La", "el", "El", "il", "Il", "lo", "der", "Der", "die", "Die", "das", "Das", "o",
    "O", "het", "Het", "de", "De",
];
/// Words between the last two names of a list.
const ANDS: &[&str] = &["and", "und", "et", "y", "e", "en", "och", "и"];
/// Longest label of a number, in characters.
const MAX_LABEL: usize = 48;

/// What a number in running text is called.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Label {
    /// Nothing: it stands beside the name alone.
    Bare,
    /// A score.
    Score,
    /// The overall score over several criteria.
    Overall { total: bool },
    /// A rank.
    Rank(usize),
    /// One of several criteria, or anything else.
    Criterion(String),
}

/// A number beside a name.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) place: usize,
    pub(super) label: Label,
    pub(super) value: Read,
}

/// The numbers beside names in one line, or in one text of a tree: `model-1: 4, model-2: 2`. `cut`: the whole text ends
/// with this one, so that digits may be missing.
pub(super) fn numbers(text: &str, cut: bool, rule: Rule, context: &Context<'_>) -> Vec<Number> {
    let mentions = context.names.mentions(text);
    let mut found: Vec<Number> = Vec::new();
    let mut leader: Option<usize> = None;
    for (index, mention) in mentions.iter().enumerate() {
        let next = mentions.get(index + 1).map_or(text.len(), |next| next.start);
        let segment = text[mention.end..next].split('\n').next().unwrap_or_default();
        let segment = if next < text.len() { without_lead(segment) } else { segment };
        let at_end = cut && mention.end + segment.len() == text.len();
        let before = text[..mention.start].trim_end_matches(|c: char| {
            chars::is_blank(c) && c != '\n' || Quote::of(c).is_some() || matches!(c, '*' | '_' | '-' | '•' | '#' | '.')
        });
        // `le modèle 1`: an article belongs to the name.
        let article = before.rsplit(|c: char| !c.is_alphanumeric()).next().filter(|word| ARTICLES.contains(word));
        let before = article.map_or(before, |word| {
            before[..before.len() - word.len()].trim_end_matches(|c: char| chars::is_blank(c) && c != '\n')
        });
        let line_start = before.is_empty()
            || before.ends_with('\n')
            || before.ends_with(|c: char| c.is_ascii_digit()) && !before.contains(char::is_alphabetic);
        let listed = line_start
            || before.ends_with(|c: char| {
                matches!(chars::fold(c), ',' | ';' | '|' | '(' | '{' | '[' | ':' | '。' | '=' | '.' | ')' | '>')
            })
            || ["and", "und", "et", "y", "和", "e"].iter().any(|word| {
                before
                    .strip_suffix(word)
                    .is_some_and(|head| !head.ends_with(char::is_alphanumeric) || word.len() == 3 && !word.is_ascii())
            });
        // `model-1 (beta): 4`: two names for one number.
        if let Some(other) = index.checked_sub(1).map(|before| &mentions[before])
            && other.place != mention.place
            && text[other.end..mention.start].trim().trim_end_matches(['"', '*', '`']) == "("
            && segment.trim_start_matches(['"', '*', '`']).starts_with(')')
        {
            for place in [other.place, mention.place] {
                found.push(Number { place, label: Label::Bare, value: Err(Why::Unclear) });
            }
            continue;
        }
        if line_start {
            leader = Some(mention.place);
        }
        // `model-1: clearer than model-2. Score: 4`: in prose, what comes after a later name belongs to the name that
        // leads the line.
        let parted = segment.trim_start().starts_with([',', '.', ';', '。', '，']);
        let in_prose = !line_start && (parted || !listed);
        for (label, value) in values(segment, at_end, rule, context) {
            let place = match leader {
                _ if !in_prose => mention.place,
                Some(leader) if label != Label::Bare => leader,
                _ if label == Label::Bare && !parted => mention.place,
                _ => {
                    found.push(Number { place: mention.place, label: Label::Bare, value: Err(Why::Unclear) });
                    continue;
                }
            };
            found.push(Number { place, label, value });
        }
    }
    found
}

/// The numbers in the text after a name.
fn values(segment: &str, at_end: bool, rule: Rule, context: &Context<'_>) -> Vec<(Label, Read)> {
    let segment = without_note(segment);
    if score::is_revised(segment) {
        return vec![(Label::Bare, Err(Why::Unclear))];
    }
    let labelled = labelled(segment, at_end, rule, context);
    // `4 for clarity, 5 for accuracy`: the first is labelled too.
    let first = segment.trim_start_matches(|c: char| !c.is_alphanumeric());
    let leading = first.starts_with(|c: char| c.is_numeric());
    if leading && !(labelled.len() > 1 && labelled[0].1 == 0) {
        // `4, clarity 3, overall 5`: what is called a score must not differ from the first number.
        let called = labelled.into_iter().filter(|(label, ..)| matches!(label, Label::Score | Label::Overall { .. }));
        let called = called.map(|(label, _, value)| (label, value));
        return match direct(segment, at_end, rule, context) {
            Direct::Number(label, value) if value.is_ok() => [(label, value)].into_iter().chain(called).collect(),
            Direct::Number(label, value) => vec![(label, value)],
            Direct::Prose => Vec::new(),
        };
    }
    if let Some(text) = marker(segment) {
        return vec![(Label::Score, score::read(text, false, rule))];
    }
    // `model-1 gets 4`: the word is no label.
    let linked = match &labelled[..] {
        [(Label::Criterion(words), 0, _)] => {
            let first = words.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
            first == "a" || LINKS.contains(&first.as_str())
        }
        _ => false,
    };
    if !labelled.is_empty() && !linked {
        return labelled.into_iter().map(|(label, _, value)| (label, value)).collect();
    }
    match direct(segment, at_end, rule, context) {
        Direct::Number(label, value) => vec![(label, value)],
        Direct::Prose => Vec::new(),
    }
}

/// The text after a name, without the words that lead to the next name: `4 and the `.
fn without_lead(segment: &str) -> &str {
    let mut rest = segment;
    for words in [ARTICLES, ANDS] {
        let trimmed = rest.trim_end();
        let word = trimmed.rsplit(chars::is_blank).next().unwrap_or_default();
        if words.contains(&word) && word.len() < trimmed.len() {
            rest = &trimmed[..trimmed.len() - word.len()];
        }
    }
    rest
}

/// The text after a name, without a note in parentheses before a colon: `(5 words): 4`. The note is about something
/// else.
fn without_note(segment: &str) -> &str {
    let Some(inner) = segment.trim_start().strip_prefix('(') else { return segment };
    let Some((note, rest)) = inner.split_once(')') else { return segment };
    let counts = note.contains(char::is_alphabetic)
        && note.starts_with(|c: char| c.is_ascii_digit())
        && !note.contains(['/', '(', ',', ':'])
        && score::counts_else(note);
    let valued = rest.trim_start().strip_prefix([':', '：', '=']);
    let valued =
        valued.is_some_and(|value| value.trim_start_matches([' ', '*']).starts_with(|c: char| c.is_ascii_digit()));
    if counts && valued { rest } else { segment }
}

/// What directly follows a name.
enum Direct {
    Number(Label, Read),
    Prose,
}

/// Looks for a score right after a name.
fn direct(after: &str, at_end: bool, rule: Rule, context: &Context<'_>) -> Direct {
    let unreadable = || Direct::Number(Label::Bare, Err(Why::Unclear));
    let mark = |c: char| chars::is_blank(c) || Quote::of(c).is_some() || matches!(c, '*' | '_' | ')' | ']');
    let is_separator = |c: char| matches!(chars::fold(c), ':' | '=' | '-' | '–' | '—' | '|' | '(' | '→' | '[');
    // `model-1 ..... 4`: dots lead to the number.
    let after = match after.trim_start_matches(chars::is_blank) {
        dotted if dotted.starts_with("...") => dotted.trim_start_matches(['.', ' ']),
        _ => after,
    };
    let marked = after.trim_start_matches(mark);
    let mut rest = marked.trim_start_matches(|c| is_separator(c) || mark(c));
    // A line of CSV that is a name and a number.
    let cell = after.strip_prefix([',', ';']).filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
    if let Some(cell) =
        cell.map(str::trim_end).filter(|cell| cell.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '/'))
    {
        return Direct::Number(Label::Bare, score::read(cell, at_end, rule));
    }
    let mut separated = marked.starts_with(is_separator);
    if marked.trim_start_matches(is_separator).starts_with(|c: char| c.is_ascii_digit()) && marked.starts_with('-') {
        // `model-1 -4`: a sign or a dash.
        return unreadable();
    }
    // `model-1: -4`: a sign after the separator.
    let between = &marked[..marked.len() - rest.len()];
    if let Some((at, _)) =
        between.char_indices().next_back().filter(|(_, c)| matches!(chars::fold(*c), '-' | '–' | '—'))
        && between[..at].contains(is_separator)
        && rest.starts_with(|c: char| chars::fold(c).is_ascii_digit())
    {
        return unreadable();
    }
    // `model-1 (3): 4`: two numbers.
    if let Some((inner, outer)) = after_open(between, rest)
        && inner.starts_with(|c: char| chars::fold(c).is_ascii_digit())
        && outer
            .trim_start_matches(|c| is_separator(c) || mark(c))
            .starts_with(|c: char| chars::fold(c).is_ascii_digit())
    {
        return unreadable();
    }
    let mut label = Label::Bare;
    let word_end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    if LINKS.iter().any(|link| rest[..word_end].eq_ignore_ascii_case(link)) {
        separated = true;
        if matches!(context.keys.read_heading(&rest[..word_end]), Key::Score) {
            label = Label::Score;
        }
        rest = rest[word_end..].trim_start_matches(|c| is_separator(c) || mark(c));
        let article = [
            "a score of",
            "a rating of",
            "a ",
            "an ",
            "score of",
            "rating of",
            "un ",
            "una ",
            "une ",
            "uma ",
            "um ",
            "eine ",
            "een ",
        ];
        rest = article.iter().find_map(|words| rest.strip_prefix(words)).unwrap_or(rest).trim_start();
    }
    // `I give model-1 a 4`.
    if let Some(number) = rest.strip_prefix("a ").filter(|number| number.starts_with(|c: char| c.is_ascii_digit())) {
        (rest, separated) = (number, true);
    }
    if !rest.starts_with(|c: char| chars::fold(c).is_ascii_digit()) {
        let word = rest.split(|c: char| !c.is_alphanumeric() && c != '/').next().unwrap_or_default();
        let nothing = ["null", "none", "nan", "n/a", "true", "false"].iter().any(|no| word.eq_ignore_ascii_case(no));
        return if separated && nothing { unreadable() } else { Direct::Prose };
    }
    let (value, ended) = first_part(rest, rule);
    let further = &rest[value.len()..];
    let value = value.trim_end_matches(|c: char| mark(c) && c != ')' || c == '|' || c == '}');
    if let Some(rank) = rank_of(value) {
        return Direct::Number(Label::Rank(rank), Err(Why::Unclear));
    }
    // `model-1 4 points` needs no separator.
    if !separated && value.contains(|c: char| !c.is_ascii_digit() && c != '.' && c != '/') && !score::is_counted(value)
    {
        return Direct::Prose;
    }
    if further.starts_with('|') && further.split('|').any(|cell| cell.trim().starts_with(|c: char| c.is_numeric())) {
        // A row with several numbers of a table without a header.
        return unreadable();
    }
    let is_score = |(label, ..): &(Label, usize, Read)| matches!(label, Label::Score | Label::Overall { .. });
    let bracket = |c: char| chars::is_blank(c) || matches!(c, '(' | ')' | '[' | ']');
    if further.starts_with([')', ']'])
        && labelled(further.trim_matches(bracket), false, rule, context).iter().any(is_score)
    {
        // `model-1 (3) (score 4)`: the first is something else.
        return unreadable();
    }
    if value.contains(char::is_alphabetic) && has_further_score(further) {
        // `3/5 accuracy, 5/5 tone => 4/5`: the first of several.
        return unreadable();
    }
    Direct::Number(label, score::read(value, at_end && !ended, rule))
}

/// What is within a bracket that opens right before `rest`, and what comes after it.
fn after_open<'t>(between: &str, rest: &'t str) -> Option<(&'t str, &'t str)> {
    let open = between.chars().map(chars::fold).filter(|c| matches!(c, '(' | '[')).count();
    rest.split_once([')', ']', '）', '】']).filter(|_| open > 0)
}

/// Whether a text goes on with a number that is written as a score or a result: `5/5`, `= 4`, `=> 4`.
fn has_further_score(text: &str) -> bool {
    let digit = |text: &str| text.trim_start().starts_with(|c: char| chars::fold(c).is_ascii_digit());
    text.match_indices(['/', '=', '→', '⇒']).any(|(at, sign)| {
        let (before, after) = (&text[..at], &text[at + sign.len()..]);
        let counted = before.trim_end().ends_with(|c: char| chars::fold(c).is_ascii_digit());
        digit(after.trim_start_matches('>')) && (sign != "/" || counted)
    })
}

/// A rank that is written as one: `1st`, `2nd`.
fn rank_of(value: &str) -> Option<usize> {
    let suffixed = value.trim_end_matches(|c: char| !c.is_alphanumeric()).ends_with(|c: char| c.is_alphabetic());
    if suffixed { ranking::rank_number(value) } else { None }
}

/// The text up to the comma, bar or bracket that ends a value; returns whether there was one. A full stop at the end of
/// the sentence is dropped too, unless it could belong to the number.
fn first_part(text: &str, rule: Rule) -> (&str, bool) {
    let mut parens = 0_usize;
    let mut end = text.len();
    let mut characters = text.char_indices().peekable();
    while let Some((index, c)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let blank_follows = next.is_none_or(|next| chars::is_blank(next) || Quote::of(next).is_some());
        // Possible digits of the number, separated from it by a wrong character.
        let goes_on = next.is_some_and(|next| next.is_ascii_digit() || next == '.');
        match chars::fold(c) {
            '(' => parens += 1,
            ')' if parens > 0 => parens -= 1,
            ',' | ';' if parens == 0 && (blank_follows || c != chars::fold(c)) && !goes_on => end = index,
            ',' | ';' if parens == 0 && blank_follows => end = index,
            '。' if parens == 0 => end = index,
            ')' | '|' | '}' | '{' | ']' if parens == 0 && !goes_on => end = index,
            _ => {}
        }
        if end == index {
            return (&text[..end], true);
        }
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(sentence) = text[digits..].strip_prefix('.') {
        let top = text[..digits].parse::<u8>().is_ok_and(|score| score == rule.scale.max);
        let goes_on = sentence.starts_with(chars::is_blank) && sentence.trim_start().starts_with(char::is_alphabetic);
        let ends = sentence.chars().all(|c| chars::is_blank(c) || c == '*');
        if goes_on || (top && ends) {
            return (&text[..digits], true);
        }
    }
    (text, false)
}

/// The numbers of a text that have labels, each with the place of its part: `Clarity: 3, Accuracy 5, overall = 4`.
pub(super) fn labelled(text: &str, at_end: bool, rule: Rule, context: &Context<'_>) -> Vec<(Label, usize, Read)> {
    let mut found = Vec::new();
    if !text.contains(char::is_numeric) {
        return found;
    }
    let parts = split_parts(text);
    let last = parts.len() - 1;
    for (index, part) in parts.into_iter().enumerate() {
        if let Some((label, value)) = label_of(part) {
            let key = context.keys.read_column(label);
            let value = score::read(value, at_end && index == last, rule_of(label, rule));
            let rank = || ranking::rank_number(value_text(part));
            let label = match key {
                Key::Score | Key::Value => Label::Score,
                Key::Overall { total } => Label::Overall { total },
                Key::Marks => Label::Bare,
                Key::Rank(_) => match rank() {
                    Some(rank) => Label::Rank(rank),
                    None => continue,
                },
                _ => Label::Criterion(quoted(label)),
            };
            found.push((label, index, value));
        }
    }
    found
}

/// The rule for a number under a label that may name a scale: `Score (1-10): 8`.
fn rule_of(label: &str, rule: Rule) -> Rule {
    Rule { named: super::scale::named(label).or(rule.named), ..rule }
}

fn value_text(part: &str) -> &str {
    let at = part.rfind([':', '：', '=', ' ']).map_or(0, |at| at + 1);
    part.get(at..).unwrap_or_default()
}

/// The parts of a line between commas and the like. Text in parentheses stays whole.
fn split_parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    let mut characters = text.char_indices().peekable();
    while let Some((index, c)) = characters.next() {
        let blank = characters.peek().is_none_or(|(_, next)| chars::is_blank(*next));
        let apart = blank || characters.peek().is_some_and(|(_, next)| chars::is_unspaced(*next));
        match chars::fold(c) {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' | ';' if apart || c != chars::fold(c) => {}
            '|' | '·' | '•' | '。' => {}
            '.' if blank && !text[..index].ends_with(|c: char| c.is_numeric()) => {}
            '.' if blank && text[index + 1..].trim_start().starts_with(char::is_alphabetic) => {}
            _ => continue,
        }
        if depth == 0 && !matches!(chars::fold(c), ')' | ']') {
            parts.push(&text[start..index]);
            start = index + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The label and the number of one part: `Clarity: 3`, `Clarity 3`, `3 for clarity`.
fn label_of(part: &str) -> Option<(&str, &str)> {
    let mark = |c: char| {
        chars::is_blank(c)
            || Quote::of(c).is_some()
            || matches!(c, '*' | '_' | '#' | '>' | '+' | '-' | '•' | '–' | '—' | ':' | '(' | '：' | '{' | '}')
    };
    let part = part.trim_matches(mark);
    let word = |text: &str| {
        let words = text.chars().filter(|c| chars::is_blank(*c)).count();
        text.contains(char::is_alphabetic) && words < 5 && text.chars().count() <= MAX_LABEL
    };
    let digit = |text: &str| text.starts_with(|c: char| chars::fold(c).is_ascii_digit());
    let is_sign = |c: char| matches!(chars::fold(c), ':' | '=' | '–' | '—' | '→');
    // `Score: 5 Score: 3`: the first number belongs to the first label.
    let first = part.match_indices(is_sign).find(|(at, sign)| {
        let value = part[at + sign.len()..].trim_start_matches(mark);
        digit(value) && part[..*at].contains(char::is_alphabetic) && !part[..*at].contains(['(', '（'])
    });
    let separated = first.or_else(|| part.rmatch_indices(is_sign).next());
    if let Some((at, sign)) = separated {
        let signed = part[at + sign.len()..].trim_start_matches([' ', '*', '_', '`']);
        let negative = signed.strip_prefix(['-', '−']).is_some_and(digit);
        let value = part[at + sign.len()..].trim_start_matches(mark);
        // A sign is part of the number, which is then off every scale.
        let value = if negative { signed } else { value };
        let label = part[..at].trim_matches(mark);
        // `model-1: good. Clarity: 3`: the label begins after what stands before it.
        let label = label.rsplit([':', '：']).next().unwrap_or(label).trim_matches(mark);
        if (digit(value) || negative) && word(label) {
            return Some((label, value));
        }
    }
    if digit(part) {
        let number = part.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '/')).unwrap_or(part.len());
        let after = part[number..].trim_start();
        let label =
            ["for ", "in ", "on ", "für ", "pour ", "en ", "por "].iter().find_map(|word| after.strip_prefix(word))?;
        return word(label).then_some((label, &part[..number]));
    }
    let at = part.rfind(char::is_whitespace)?;
    let (label, value) = (part[..at].trim_matches(mark), part[at..].trim_matches(mark));
    let label = label.strip_suffix(" is").or_else(|| label.strip_suffix(" of")).unwrap_or(label);
    let number = value.trim_end_matches('.').chars().all(|c| chars::fold(c).is_ascii_digit() || matches!(c, '.' | '/'));
    // `overall 5 3`: two numbers.
    let numbered = label
        .rsplit(char::is_whitespace)
        .next()
        .is_some_and(|last| last.trim_end_matches([')', ']']).parse::<f64>().is_ok());
    (digit(value) && number && word(label) && !numbered).then_some((label, value))
}

/// The text of the number after the last score mark: `[RESULT] 4`, `[[4]]`, `\boxed{4}`. `None` if there is no such
/// mark, or if two differ.
pub(super) fn marker(text: &str) -> Option<&str> {
    let mut found: Option<&str> = None;
    for value in marks(text) {
        if found.is_some_and(|other| other != value) {
            return None;
        }
        found = Some(value);
    }
    found.filter(|value| value.starts_with(|c: char| chars::fold(c).is_ascii_digit()))
}

/// How many score marks a text holds.
pub(super) fn count_marks(text: &str) -> usize {
    marks(text).count()
}

/// The content of each score mark in a text.
pub(super) fn marks(text: &str) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(offset) = text[at..].find(['[', '\\']) {
            let start = at + offset;
            let rest = &text[start..];
            at = start + 1;
            if let Some(inner) = rest.strip_prefix("[[") {
                let window = &inner[..chars::floor_boundary(inner, 256)];
                if let Some(end) = window.find("]]").filter(|&end| !window[..end].contains(['[', '\n'])) {
                    at = start + end + 4;
                    return Some(window[..end].trim());
                }
            }
            let boxed = ["\\boxed{", "\\boxed {", "\\fbox{"].iter().find_map(|mark| rest.strip_prefix(mark));
            if let Some(inner) = boxed {
                let window = &inner[..chars::floor_boundary(inner, 4096)];
                let inner = ["\\text{", "\\mathrm{", "\\mathbf{", "\\textbf{"]
                    .iter()
                    .find_map(|mark| window.strip_prefix(mark))
                    .unwrap_or(window);
                if let Some(end) = inner.find('}') {
                    at = start + 1;
                    return Some(inner[..end].trim());
                }
            }
            let result = ["[result]", "[score]", "[rating]", "[final score]", "[overall]", "[verdict]"];
            let head =
                rest.get(..14.min(rest.len())).or_else(|| rest.get(..8)).unwrap_or_default().to_ascii_lowercase();
            if let Some(mark) = result.iter().find(|mark| head.starts_with(**mark)) {
                let value = rest[mark.len()..].trim_start_matches(|c: char| {
                    chars::is_blank(c) && c != '\n' || matches!(c, ':' | '*' | '(' | '=')
                });
                let value = value.split('\n').next().unwrap_or_default();
                return Some(value.trim_end_matches(|c: char| chars::is_blank(c) || matches!(c, '*' | ')')));
            }
        }
        None
    })
}

/// The scores in a list without names, `4, 2, 5`, however it is wrapped; `None` if the text is no such list.
pub(super) fn list(text: &str) -> Option<Vec<&str>> {
    let wrapped = |c: char| {
        chars::is_blank(c)
            || matches!(c, '[' | ']' | '(' | ')' | '$' | '*' | '`' | '{' | '}' | '.' | ':' | '（' | '）' | '【' | '】')
    };
    let text = text.trim_matches(wrapped);
    if !text.starts_with(|c: char| chars::fold(c).is_ascii_digit()) || text.len() > 65_536 {
        return None;
    }
    let separator = |c: char| matches!(chars::fold(c), ',' | ';' | '|');
    let parts: Vec<&str> =
        if text.contains(separator) { text.split(separator).collect() } else { text.split_whitespace().collect() };
    let parts: Vec<&str> = parts.into_iter().map(str::trim).collect();
    let number = |part: &&str| {
        let plain = part.trim_matches(|c: char| matches!(c, '*' | '`' | '"'));
        plain.starts_with(|c: char| chars::fold(c).is_ascii_digit())
            && plain.chars().all(|c| chars::fold(c).is_ascii_digit() || matches!(c, '.' | '/' | ' '))
    };
    parts.iter().all(number).then_some(parts)
}
