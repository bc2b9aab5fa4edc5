//! What a key means: scores, a ranking, a part of a record, or something else.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::order::{rank_order, said_order};
use super::words::{BEST_FIRST, LABELS, MARKS, OVERALL, RANKINGS, SCORES, THOUGHTS, VALUES, WORST_FIRST, WRAPPERS};
use crate::prompt::profile::Profile;
use crate::warm::made;

/// The meaning of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The scores of all responses, or the score of one.
    Score,
    /// An overall score over several criteria; `total`: the sum itself.
    Overall { total: bool },
    /// The ranking of all responses, or the rank of one.
    Rank(Order),
    /// The name of a response in a record.
    Label,
    /// Another name for a score, only within a record.
    Value,
    /// An object or string that contains the verdict.
    Wrapper,
    /// Scores if numbers follow, remarks if text does: `notes`.
    Marks,
    /// Reasoning: it contains no verdict.
    Thought,
    /// Anything else.
    Other,
}

/// In which order a ranking is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The key says that the best comes first.
    BestFirst,
    /// The key says that the worst comes first.
    WorstFirst,
    /// The key says only that it is a ranking: a list of numbers may be names in order or ranks by place.
    Unsaid,
}

/// A key within this many single-letter edits of a main key, such as `best-to-worst`, is still read as that one: these
/// keys are long, and no word with another meaning is near.
const MAX_EDITS: usize = 2;

/// How many keys are remembered.
const MAX_KNOWN: usize = 256;

/// The keys of one profile.
pub(super) struct Keys {
    scores: String,
    ranking: String,
    /// What keys were read as: the same keys come again and again.
    known: RefCell<HashMap<String, (Key, bool)>>,
}

impl Keys {
    /// The keys before the scores and the ranking in the profile's layout.
    pub(super) fn new(profile: &Profile) -> Self {
        let layout = profile.verdict.layout.as_str();
        let before = |mark: &str| layout.split(mark).next().and_then(last_key).unwrap_or_default().to_owned();
        Self { scores: before("%scores%"), ranking: before("%ranking%"), known: RefCell::default() }
    }

    /// What a key means, and whether it is the profile's own.
    pub(super) fn read(&self, written: &str) -> (Key, bool) {
        if written == self.scores {
            return (Key::Score, true);
        }
        if written == self.ranking {
            return (Key::Rank(self.own_order()), true);
        }
        if written.len() > 96 {
            return (Key::Other, false);
        }
        if let Some(known) = self.known.borrow().get(written) {
            return *known;
        }
        let read = (self.read_unknown(written), false);
        let mut known = self.known.borrow_mut();
        if known.len() < MAX_KNOWN {
            known.insert(written.to_owned(), read);
        }
        read
    }

    fn read_unknown(&self, written: &str) -> Key {
        let key = self.read_normal(&normal(written));
        match key {
            Key::Score | Key::Overall { .. } if names_criterion(written) => Key::Other,
            // `ranking (worst to best)`: the text in parentheses gives the order.
            Key::Rank(Order::Unsaid) => Key::Rank(rank_order(written)),
            key => key,
        }
    }

    /// What a heading in running text means: a key among other words, such as `Final ranking (best to worst)`.
    pub(super) fn read_heading(&self, written: &str) -> Key {
        let (key, _) = self.read(written);
        if !matches!(key, Key::Other | Key::Wrapper | Key::Marks) || written.len() > 160 {
            return key;
        }
        let text = normal(written);
        let text =
            ["如下", "asfollows", "は以下の通りです"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(&text);
        if said_order(written) == Order::Unsaid && names_criterion(written) {
            return Key::Other;
        }
        let plural = |ends: &[&str]| ends.iter().find_map(|end| text.strip_suffix(end));
        if key == Key::Marks || text == "scoresandranking" || text == "scoresandrankings" {
            Key::Score
        } else if said_order(written) != Order::Unsaid && !text.contains(char::is_numeric) {
            Key::Rank(said_order(written))
        } else if ["ranking", "rankings", "rangfolge", "排名", "排序", "順位", "classement"]
            .iter()
            .any(|end| text.ends_with(end))
        {
            Key::Rank(Order::Unsaid)
        } else if let Some(head) =
            plural(&["scores", "ratings", "score", "rating", "grades", "bewertung", "评分", "得分"])
        {
            // `Accuracy scores` are the scores of one criterion.
            if OVERALL.contains(&head) {
                Key::Overall { total: head == "total" }
            } else if is_owner(head) {
                Key::Score
            } else {
                Key::Other
            }
        } else {
            key
        }
    }

    /// What a table column means, by its header.
    pub(super) fn read_column(&self, written: &str) -> Key {
        let text = normal(written);
        if matches!(text.as_str(), "final" | "result" | "results") {
            return Key::Overall { total: false };
        }
        match self.read(written).0 {
            Key::Marks => Key::Marks,
            _ => self.read_heading(written),
        }
    }

    /// The order of the profile's own ranking key: best first unless the key says otherwise.
    fn own_order(&self) -> Order {
        match self.read_normal(&normal(&self.ranking)) {
            Key::Rank(Order::WorstFirst) => Order::WorstFirst,
            _ => Order::BestFirst,
        }
    }

    fn read_normal(&self, text: &str) -> Key {
        if text.is_empty() {
            return Key::Other;
        }
        if text == normal(&self.scores) {
            return Key::Score;
        }
        if text == normal(&self.ranking) && !self.ranking.is_empty() && !WORST_FIRST.contains(&text) {
            return Key::Rank(Order::BestFirst);
        }
        let shorter = ["final", "the", "my"].iter().find_map(|word| text.strip_prefix(word));
        let core = shorter.filter(|core| !core.is_empty()).unwrap_or(text);
        let longer = ["final", "finale", "endgültige", "definitiva", "définitif"];
        let core = longer
            .iter()
            .find_map(|word| core.strip_suffix(word).or_else(|| core.strip_prefix(word)))
            .filter(|core| !core.is_empty())
            .unwrap_or(core);
        let (whole, inner) = (Lists::of(text), Lists::of(core));
        let any = |list: u16| whole.0 & list != 0 || inner.0 & list != 0;
        if any(Lists::SCORES) || Lists::of(without_scale(core)).0 & Lists::SCORES != 0 {
            Key::Score
        } else if any(Lists::BEST_FIRST) {
            Key::Rank(Order::BestFirst)
        } else if any(Lists::WORST_FIRST) {
            Key::Rank(Order::WorstFirst)
        } else if any(Lists::RANKINGS) {
            Key::Rank(Order::Unsaid)
        } else if any(Lists::OVERALL) || Lists::of(without_scale(core)).0 & Lists::OVERALL != 0 {
            let total = ["total", "sum", "gesamt", "合計", "总分", "總分", "合计", "итого", "합계", "총점"];
            Key::Overall { total: total.iter().any(|word| core.contains(word)) }
        } else if whole.0 & Lists::MARKS != 0 && whole.0 & Lists::WRAPPERS == 0 {
            Key::Marks
        } else if any(Lists::THOUGHTS) {
            Key::Thought
        } else if any(Lists::LABELS) {
            Key::Label
        } else if any(Lists::VALUES) {
            Key::Value
        } else if whole.0 & Lists::WRAPPERS != 0 {
            Key::Wrapper
        } else if within_edits(text, "besttoworst", MAX_EDITS) {
            Key::Rank(Order::BestFirst)
        } else if within_edits(text, "worsttobest", MAX_EDITS) {
            Key::Rank(Order::WorstFirst)
        } else if within_edits(text, "scores", MAX_EDITS) && text.len() >= 4 && !text.ends_with("scores") {
            // `z-scores` are other scores, and no misspelling.
            Key::Score
        } else if within_edits(text, "ranking", 1) {
            Key::Rank(Order::Unsaid)
        } else {
            Key::Other
        }
    }
}

/// The lists of words that hold a word, one bit each.
#[derive(Clone, Copy, Default)]
struct Lists(u16);

impl Lists {
    const SCORES: u16 = 1;
    const BEST_FIRST: u16 = 1 << 1;
    const WORST_FIRST: u16 = 1 << 2;
    const RANKINGS: u16 = 1 << 3;
    const OVERALL: u16 = 1 << 4;
    const MARKS: u16 = 1 << 5;
    const THOUGHTS: u16 = 1 << 6;
    const LABELS: u16 = 1 << 7;
    const VALUES: u16 = 1 << 8;
    const WRAPPERS: u16 = 1 << 9;

    fn of(word: &str) -> Self {
        static LISTS: OnceLock<HashMap<&'static str, u16>> = OnceLock::new();
        let make = || {
            let lists = [
                (Lists::SCORES, SCORES),
                (Lists::BEST_FIRST, BEST_FIRST),
                (Lists::WORST_FIRST, WORST_FIRST),
                (Lists::RANKINGS, RANKINGS),
                (Lists::OVERALL, OVERALL),
                (Lists::MARKS, MARKS),
                (Lists::THOUGHTS, THOUGHTS),
                (Lists::LABELS, LABELS),
                (Lists::VALUES, VALUES),
                (Lists::WRAPPERS, WRAPPERS),
            ];
            let mut all = HashMap::new();
            for (list, words) in lists {
                for word in words {
                    *all.entry(*word).or_default() |= list;
                }
            }
            all
        };
        Self(made(&LISTS, make).get(word).copied().unwrap_or_default())
    }
}

/// Whether the text in parentheses after a key names one criterion: `score (clarity)`.
fn names_criterion(written: &str) -> bool {
    const OTHERS: &[&str] = &[
        "overall",
        "final",
        "total",
        "out",
        "of",
        "max",
        "maximum",
        "scale",
        "to",
        "from",
        "higher",
        "better",
        "best",
        "worst",
        "is",
        "points",
        "point",
        "stars",
        "integer",
        "number",
        "numeric",
        "score",
        "scores",
        "percent",
        "each",
        "per",
        "response",
        "model",
        "judge",
        "von",
        "bis",
        "sur",
        "sobre",
        "de",
        "a",
        "à",
        "higher is better",
        "the",
        "highest",
        "lowest",
        "low",
        "high",
        "满分",
        "分",
        "点満点",
        "点",
        "total",
        "average",
        "mean",
        "json",
        "optional",
    ];
    let Some((_, inner)) = written.split_once(['(', '（']) else { return false };
    let inner = inner.split([')', '）']).next().unwrap_or_default().to_lowercase();
    let mut words = inner.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.any(|word| {
        word.chars().count() > 1
            && !OTHERS.contains(&word)
            && !OTHERS.iter().any(|other| !other.is_ascii() && word.contains(other))
    })
}

/// Whether a heading is that of the mean or the sum of several scores.
pub(super) fn sums_up(head: &str) -> bool {
    const WORDS: &[&str] = &[
        "average",
        "mean",
        "sum",
        "total",
        "durchschnitt",
        "summe",
        "moyenne",
        "promedio",
        "media",
        "平均",
        "平均分",
        "总分",
        "合計",
    ];
    head.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|word| WORDS.contains(&word))
}

/// Whether a heading says that it is about one criterion: `Criterion 1 - helpfulness`, `Scores by the first criterion`.
pub(super) fn is_criterion(head: &str) -> bool {
    const WORDS: &[&str] = &["criterion", "kriterium", "critère", "criterio", "критерий", "критерию"];
    head.to_lowercase().split(|c: char| !c.is_alphabetic()).any(|word| WORDS.contains(&word))
}

/// Whether a heading of unknown words may name one criterion: a few words, none of which says whose scores they are.
pub(super) fn may_name_criterion(head: &str) -> bool {
    const OTHERS: &[&str] = &[
        "my",
        "i",
        "here",
        "this",
        "these",
        "following",
        "follows",
        "verdict",
        "evaluation",
        "judgment",
        "judgement",
        "result",
        "results",
        "assessment",
        "final",
        "summary",
        "response",
        "responses",
        "model",
        "models",
        "answer",
        "answers",
        "candidates",
        "all",
        "three",
        "is",
        "are",
        "mein",
        "meine",
        "mon",
        "mi",
        "hier",
        "voici",
        "analysis",
        "conclusion",
        "output",
        "note",
        "notes",
        "decision",
        "details",
        "individual",
    ];
    let words: Vec<String> =
        head.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    words.len() <= 3 && !words.iter().any(|word| OTHERS.contains(&word.as_str()))
}

/// Whether a word before `scores` says whose or which scores they are, and names no criterion.
fn is_owner(word: &str) -> bool {
    const OWNERS: &[&str] = &[
        "",
        "final",
        "my",
        "the",
        "model",
        "models",
        "response",
        "responses",
        "individual",
        "evaluation",
        "judge",
        "judges",
        "given",
        "resulting",
        "all",
        "your",
        "answer",
        "answers",
        "quality",
        "assigned",
        "numeric",
        "numerical",
        "weighted",
        "combined",
        "aggregate",
        "aggregated",
        "here",
        "result",
        "thefinal",
        "myfinal",
        "herearethe",
        "herearemy",
        "hereare",
        "these",
        "thesearethe",
        "thesearemy",
        "adjusted",
        "revised",
        "corrected",
        "updated",
        "new",
        "各模型",
        "各回答",
        "最终",
        "模型",
        "回答",
    ];
    OWNERS.contains(&word)
}

/// The last word with letters, digits, `-` or `_` in a text: the key before a place in the layout.
fn last_key(text: &str) -> Option<&str> {
    let in_key = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let text = text.trim_end_matches(|c| !in_key(c));
    let start = text.rfind(|c| !in_key(c)).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    Some(&text[start..]).filter(|key| !key.is_empty())
}

/// Letters and digits in lower case, without any text in parentheses.
fn normal(text: &str) -> String {
    let head = text.split(['(', '（', '[']).next().filter(|head| head.contains(char::is_alphanumeric));
    let head = head.unwrap_or(text);
    if head.is_ascii() {
        return head.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    }
    head.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A key for scores without the scale it names: `scores_1_to_5`, `score_out_of_5`.
fn without_scale(text: &str) -> &str {
    let mut rest = text;
    loop {
        let shorter = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let shorter = ["outof", "to", "of", "on"].iter().find_map(|word| shorter.strip_suffix(word)).unwrap_or(shorter);
        if shorter.len() == rest.len() || !rest.ends_with(|c: char| c.is_ascii_digit()) {
            return rest;
        }
        rest = shorter;
    }
}

/// Whether one word becomes the other by at most `edits` letters added, left out, changed or swapped with the next.
pub(super) fn within_edits(a: &str, b: &str, edits: usize) -> bool {
    if a == b {
        return true;
    }
    // A quick check of most words, in which each character is one byte: all letters except the edited ones are at one
    // of the two ends. One edit changes at most two letters, by swapping them.
    let shortest = a.len().min(b.len());
    if a.is_ascii() && b.is_ascii() && shortest < 64 {
        let start = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let end = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
        if a.len().abs_diff(b.len()) > edits || (edits == 1 && start + end + 2 < shortest) {
            return false;
        }
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    if a.len().abs_diff(b.len()) > edits {
        return false;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = usize::from(a[i - 1] != b[j - 1]);
            next[j] = (row[j] + 1).min(next[j - 1] + 1).min(row[j - 1] + changed);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()] <= edits
}
