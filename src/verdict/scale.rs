//! The scale that a text names next to its scores: `out of 10`, `(0-4)`, `max_score: 10`. Scores on another scale than
//! the profile's are no scores on it.

use super::chars;
use super::keys::{Key, Keys};
use super::lexicon::Lexicon;
use super::tolerant::{Entry, Node};
use crate::prompt::profile::Scale;

/// A scale as a text names it; often only its top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) min: Option<f64>,
    pub(super) max: f64,
}

/// Words before the top of a scale.
const BEFORE_TOP: &[&str] = &[
    "outof", "/", "von", "sur", "sobre", "su", "max", "maximum", "maximal", "满分", "満点", "최대", "из", "upto", "من",
];
/// Words after the top of a scale.
const AFTER_TOP: &[&str] = &["点満点", "点满分", "分制", "分满分", "点制", "점만점", "pointscale", "max", "分満点"];
/// Words between the ends of a scale.
const BETWEEN: &[&str] = &[
    "-", "–", "—", "−", "~", "〜", "～", "to", "bis", "à", "a", "até", "al", "到", "至", "から", "до", "..", "...",
    "through", "إلى",
];
/// Keys next to the scores that hold the top of the scale.
const TOPS: &[&str] = &[
    "maxscore",
    "scoremax",
    "maximumscore",
    "outof",
    "maxrating",
    "maxpoints",
    "maxpossiblescore",
    "maxpossible",
    "scoreoutof",
    "highestpossible",
    "highestpossiblescore",
    "fullmarks",
    "topscore",
    "maxvalue",
    "满分",
];
/// Keys next to the scores that hold the whole scale.
const SCALES: &[&str] = &[
    "scale",
    "scorescale",
    "ratingscale",
    "scorerange",
    "range",
    "scoringscale",
    "gradingscale",
    "skala",
    "échelle",
    "escala",
    "量表",
    "评分范围",
    "分制",
];
/// Keys that hold the bottom of the scale.
const BOTTOMS: &[&str] = &["minscore", "scoremin", "minimumscore", "minrating", "minvalue", "minpoints"];

/// Numbers in words that are the top of a scale.
const NUMBERS: &[(&str, f64)] = &[
    ("five", 5.0),
    ("six", 6.0),
    ("seven", 7.0),
    ("ten", 10.0),
    ("twenty", 20.0),
    ("hundred", 100.0),
    ("zehn", 10.0),
    ("dix", 10.0),
    ("diez", 10.0),
];

impl Named {
    /// Whether it is the profile's scale, as far as it is named.
    pub(super) fn is(self, scale: Scale) -> bool {
        same(self.max, f64::from(scale.max)) && self.min.is_none_or(|min| same(min, f64::from(scale.min)))
    }

    /// Maps a score on this scale to the profile's scale; if the bottom is not named, it is the profile's.
    pub(super) fn map(self, score: f64, scale: Scale) -> f64 {
        let (bottom, top) = (f64::from(scale.min), f64::from(scale.max));
        let min = self.min.unwrap_or(bottom);
        if same(min, self.max) {
            return score;
        }
        let mapped = bottom + (score - min) / (self.max - min) * (top - bottom);
        // Four decimals are kept: the rest comes from the arithmetic, not from the judge.
        (mapped * 1e4).round() / 1e4
    }

    /// Whether a score is on this scale.
    pub(super) fn contains(self, score: f64, scale: Scale) -> bool {
        let min = self.min.unwrap_or(f64::from(scale.min));
        score >= min.min(self.max) && score <= min.max(self.max)
    }

    /// The scale in words.
    pub(super) fn words(self) -> String {
        match self.min {
            Some(min) => format!("{min} to {}", self.max),
            None if self.max <= 1.0 => "lower is better".to_owned(),
            None => format!("a scale up to {}", self.max),
        }
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < f64::EPSILON
}

/// A piece of a text that may name a scale.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Number(f64),
    Word(String),
}

/// Numbers, words and signs of a text, in ASCII digits.
fn parts(text: &str) -> Vec<Part> {
    let folded: Vec<char> = text.chars().take(240).map(chars::fold).flat_map(char::to_lowercase).collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&c) = folded.get(at) {
        let start = at;
        if c.is_ascii_digit() {
            let digit = |at: usize| folded.get(at).is_some_and(char::is_ascii_digit);
            while digit(at) || (folded.get(at) == Some(&'.') && digit(at + 1)) {
                at += 1;
            }
            let number: String = folded[start..at].iter().collect();
            parts.push(number.parse().map_or(Part::Word(number), Part::Number));
        } else if c.is_alphabetic() {
            while folded.get(at).is_some_and(|c| c.is_alphabetic()) {
                at += 1;
            }
            let word: String = folded[start..at].iter().collect();
            // `out of ten`, `a ten-point scale`; but not `ten responses`.
            let ends = !folded[at..].iter().find(|c| **c != ' ').is_some_and(|c| c.is_alphabetic());
            let number = NUMBERS.iter().find(|(known, _)| ends && *known == word).map(|(_, number)| *number);
            parts.push(number.map_or(Part::Word(word), Part::Number));
        } else {
            at += 1;
            if matches!(c, '-' | '–' | '—' | '−' | '~' | '〜' | '/' | '%' | '.' | '=') {
                parts.push(Part::Word(c.to_string()));
            }
        }
    }
    parts
}

/// The scale that a key, a heading or a header names.
pub(super) fn named(text: &str) -> Option<Named> {
    if !text.contains(char::is_numeric)
        && !text.contains(['%', '％'])
        && !text.contains("百分")
        && !text.contains("percent")
        && !NUMBERS.iter().any(|(word, _)| text.contains(word))
    {
        return None;
    }
    let parts = parts(text);
    let word = |at: usize| match parts.get(at) {
        Some(Part::Word(word)) => word.as_str(),
        _ => "",
    };
    let number = |at: usize| match parts.get(at) {
        Some(Part::Number(number)) => Some(*number),
        _ => None,
    };
    // `1 = best, 5 = worst`: the best score is the lowest.
    let meant = |at: usize, words: &[&str]| {
        let skipped = |at: usize| at + usize::from(["=", "is", "being", "means", "the", "a"].contains(&word(at)));
        let at = skipped(skipped(at + 1));
        words.contains(&word(at)) || words.contains(&format!("{} {}", word(at), word(at + 1)).as_str())
    };
    let best = [
        "best",
        "highest",
        "perfect",
        "excellent",
        "outstanding",
        "beste",
        "mejor",
        "meilleur",
        "very good",
        "sehr gut",
        "ausgezeichnet",
        "très bien",
        "très bon",
        "muy bueno",
        "ottimo",
        "最好",
        "最优",
    ];
    let worst = [
        "worst",
        "poor",
        "poorest",
        "terrible",
        "bad",
        "schlechteste",
        "peor",
        "pire",
        "lowest",
        "very bad",
        "very poor",
        "mangelhaft",
        "ungenügend",
        "sehr schlecht",
        "très mauvais",
        "muy malo",
        "最差",
    ];
    let of = |words: &[&str]| (0..parts.len()).find(|&at| number(at).is_some() && meant(at, words)).and_then(number);
    match (of(&best), of(&worst)) {
        (Some(best), Some(worst)) if best < worst => return Some(Named { min: Some(worst), max: best }),
        (Some(best), None) if best <= 1.0 => return Some(Named { min: None, max: best }),
        _ => {}
    }
    for at in 0..parts.len() {
        if let (Some(min), Some(max)) = (number(at), number(at + 2))
            && BETWEEN.contains(&word(at + 1))
            && min < max
        {
            return Some(Named { min: Some(min), max });
        }
        if let Some(max) = number(at).filter(|&max| max > 1.0) {
            let before = at > 0 && BEFORE_TOP.contains(&word(at - 1));
            let out_of = at > 1 && word(at - 1) == "of" && word(at - 2) == "out";
            let after = AFTER_TOP.contains(&word(at + 1))
                || AFTER_TOP.iter().any(|end| end.is_ascii() && format!("{}{}", word(at + 1), word(at + 2)) == *end);
            let dashed = word(at + 1) == "-" && word(at + 2) == "point";
            if before || out_of || after || dashed {
                return Some(Named { min: None, max });
            }
        }
        // `10 = best`, `10 being the best`.
        let after = if word(at + 2) == "the" || word(at + 2) == "a" { at + 3 } else { at + 2 };
        if let Some(max) = number(at).filter(|&max| max > 1.0)
            && ["=", "is", "being", "means"].contains(&word(at + 1))
            && ["best", "highest", "perfect", "excellent", "flawless", "ideal", "top", "outstanding"]
                .contains(&word(after))
        {
            return Some(Named { min: None, max });
        }
        if matches!(
            word(at),
            "%" | "percent" | "percents" | "percentage" | "percentages" | "prozent" | "百分制" | "百分比"
        ) {
            return Some(Named { min: Some(0.0), max: 100.0 });
        }
    }
    None
}

/// Whether a sentence says that 1 is the best score, and not that response 1 is the best: `(1 is best)`, `where 1 is the best`.
fn lowest_is_best(sentence: &str) -> bool {
    let starts = |at: usize| {
        let before = sentence[..at].trim_end_matches(' ');
        let near = &before[chars::floor_boundary(before, before.len().saturating_sub(40))..];
        let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        let opens = before.is_empty() || before.ends_with(['"', '\'', '(', '[', ':', ',', '“']);
        let ranks = ["rank", "place", "position", "order"].iter().any(|word| near.contains(word));
        (opens || ["where", "with", "that", "note", "meaning", "means"].contains(&word)) && !ranks
    };
    let ends = |rest: &str| {
        let next = rest.trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        ["", "score", "rating", "grade", "possible", "and"].contains(&next)
    };
    ["1 is best", "1 is the best", "1 is highest", "1 is the highest"]
        .iter()
        .any(|words| sentence.match_indices(words).any(|(at, _)| starts(at) && ends(&sentence[at + words.len()..])))
}

/// The scale that prose names: `on a scale of 1 to 10`, `scores are out of 10`.
pub(super) fn in_prose(text: &str) -> Option<Named> {
    static LOWER: Lexicon =
        Lexicon::new(&["lower is better", "lower scores are better", "lower score is better", "lower = better"]);
    static MARKS: Lexicon = Lexicon::new(&[
        "scale",
        "skala",
        "échelle",
        "escala",
        "分制",
        "满分",
        "満点",
        "out of",
        "scores from",
        "scores range",
        "best",
        "highest",
        "perfect",
        "excellent",
        "sehr gut",
        "très bien",
        "muy bueno",
        "percentages",
        "point scale",
    ]);
    let lower = text.to_lowercase();
    for sentence in lower.split(['.', '\n', '。', '!', '?', ';']).take(4096) {
        if LOWER.is_in(sentence) && (sentence.contains("score") || sentence.contains("rating")) {
            return Some(Named { min: None, max: 1.0 });
        }
        if lowest_is_best(sentence) {
            return Some(Named { min: None, max: 1.0 });
        }
        let Some(mark) = MARKS.find(sentence) else { continue };
        let at = mark;
        let scaled =
            ["scale", "skala", "échelle", "escala", "point scale"].iter().any(|mark| sentence[at..].starts_with(mark));
        // `a 10-point scale`, `1 = worst, 10 = best`.
        let valued = ["best", "highest", "perfect", "excellent", "sehr gut", "très bien", "muy bueno"]
            .iter()
            .any(|mark| sentence[at..].starts_with(mark));
        let from = if scaled || valued { chars::floor_boundary(sentence, at.saturating_sub(24)) } else { at };
        let window = &sentence[from..chars::floor_boundary(sentence, at + 80)];
        if valued {
            if (window.contains('=') || window.contains("being") || window.contains("means"))
                && let Some(named) = named(window)
            {
                return Some(named);
            }
            continue;
        }
        let scored =
            ["score", "rating", "rated", "grade", "分", "点"].iter().any(|word| sentence[..mark].contains(word));
        // `3 out of 10 facts`: a number right before it is a count.
        let counted = sentence[..mark].trim_end().ends_with(|c: char| c.is_numeric());
        // `Out of 10: model-1 4, model-2 2`.
        let scored = scored || sentence[..mark].trim_matches(|c: char| !c.is_alphanumeric()).is_empty();
        if (scaled || (scored && !counted) || window.starts_with(['分', '满', '満']))
            && let Some(named) =
                named(if scaled || !window.starts_with(['分', '满', '満']) { window } else { sentence })
        {
            return Some(named);
        }
    }
    None
}

/// Letters and digits in lower case.
fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What the keys and entries of a structure name: none, one, or two that differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) named: Option<Named>,
    pub(super) several: bool,
}

impl Seen {
    pub(super) fn add(&mut self, named: Option<Named>) {
        let Some(named) = named else { return };
        match self.named {
            None => self.named = Some(named),
            Some(other) if other == named => {}
            // One names the top, the other both ends.
            Some(other) if same(other.max, named.max) && (other.min.is_none() || named.min.is_none()) => {
                self.named = Some(Named { min: other.min.or(named.min), max: named.max });
            }
            Some(_) => self.several = true,
        }
    }
}

/// Looks for a scale in the keys of a structure and next to its scores.
pub(super) fn in_tree(node: &Node<'_>, keys: &Keys, seen: &mut Seen) {
    let Node::Group(group) = node else { return };
    let mut bottom = None;
    let mut top = None;
    let scored = group.entries.iter().any(|entry| {
        let key = entry.key.as_deref().map(|key| keys.read(key).0);
        matches!(key, Some(Key::Score | Key::Value | Key::Overall { .. }))
    });
    for entry in &group.entries {
        if let Some(key) = &entry.key {
            let name = plain(key);
            if TOPS.contains(&name.as_str()) || (matches!(name.as_str(), "max" | "maximum" | "of") && scored) {
                top = number(&entry.value);
            } else if BOTTOMS.contains(&name.as_str()) {
                bottom = number(&entry.value);
            } else if SCALES.contains(&name.as_str()) {
                seen.add(of_value(&entry.value));
            } else if matches!(keys.read(key).0, Key::Score | Key::Overall { .. }) {
                seen.add(named(key));
                // `"scoring": "0-100"`.
                if let Node::Text(text) = &entry.value {
                    seen.add(range(text));
                }
            }
        }
        in_tree(&entry.value, keys, seen);
    }
    seen.add(top.map(|max| Named { min: bottom, max }));
}

/// A scale that is all of a text, from 0 or 1 on.
fn range(text: &str) -> Option<Named> {
    let whole = !text.contains(|c: char| c.is_alphabetic())
        || text.to_lowercase().replace("to", "").chars().all(|c| !c.is_alphabetic());
    named(text).filter(|named| whole && named.min.is_some_and(|min| min <= 1.0))
}

/// Whether the header of a column says that it holds the top of the scale.
pub(super) fn is_top(header: &str) -> bool {
    let header = plain(header);
    TOPS.contains(&header.as_str()) || matches!(header.as_str(), "max" | "maximum")
}

fn number(node: &Node<'_>) -> Option<f64> {
    let text = match node {
        Node::Text(text) => text.as_ref(),
        Node::Word { text, .. } => text,
        Node::Group(_) => return None,
    };
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// The scale that the value of a key such as `scale` gives: `"1-10"`, `10`, `[1, 10]`, `{"min": 1, "max": 10}`.
fn of_value(node: &Node<'_>) -> Option<Named> {
    match node {
        Node::Group(group) => {
            let numbers: Vec<(Option<String>, f64)> = group
                .entries
                .iter()
                .filter_map(|Entry { key, value }| Some((key.as_deref().map(plain), number(value)?)))
                .collect();
            match &numbers[..] {
                [(_, one), (_, other)] => Some(Named { min: Some(one.min(*other)), max: one.max(*other) }),
                [(Some(key), max)] if key.contains("max") => Some(Named { min: None, max: *max }),
                _ => None,
            }
        }
        Node::Text(text) => named(text).or_else(|| number(node).map(|max| Named { min: None, max })),
        Node::Word { text, .. } => named(text).or_else(|| number(node).map(|max| Named { min: None, max })),
    }
}
