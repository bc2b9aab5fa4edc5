//! What stands between two names of a ranking in one string: the next one, a better one, an equal one.

use super::chars::{self, Quote};
use super::names::Mention;

/// Words that only belong to others, as in `better than`.
const BESIDE: &[&str] = &["by", "than", "ist", "als", "est", "que", "es", "von", "de", "du", "por"];

/// What is between two names of a ranking in one string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// A comma or the like: the next one.
    Next,
    /// A word for the next one, such as `then`.
    Then,
    /// Only `and`: the last one of a list, or an equal one.
    And,
    /// Only `/` or `|`: the next one if all are so, else an equal one.
    Slash,
    /// `>`: a worse one.
    Falling,
    /// `<`: a better one.
    Rising,
    /// `=`: neither.
    Tie,
}

impl Link {
    /// Whether it says which one is better.
    pub(super) fn is_sign(self) -> bool {
        matches!(self, Self::Falling | Self::Rising)
    }

    /// Reads the text between two names, without remarks in parentheses. `None` if it is prose.
    pub(super) fn read(between: &str) -> Option<Self> {
        if between.is_empty() {
            return None;
        }
        let mut signs = String::new();
        let mut parens = 0_usize;
        for c in between.chars().map(chars::fold) {
            match c {
                '(' | '[' => parens += 1,
                ')' | ']' => parens = parens.saturating_sub(1),
                _ if parens > 0 || chars::is_blank(c) || Quote::of(c).is_some() || matches!(c, '*' | '_' | '#') => {
                    if chars::is_blank(c) && !signs.ends_with(' ') {
                        signs.push(' ');
                    }
                }
                _ => signs.extend(c.to_lowercase()),
            }
        }
        let mut link: Option<Self> = None;
        // Commas separate words without a blank too: `，其次`.
        let signs = signs.replace(',', " , ").replace(';', " ; ");
        for word in signs.split(' ').filter(|word| !word.is_empty() && !BESIDE.contains(word)) {
            let next = Self::of_word(word)?;
            link = Some(match link {
                Some(one) if one.is_strong() && next.is_strong() && one != next => Self::Tie,
                Some(one) if one.weight() >= next.weight() => one,
                _ => next,
            });
        }
        Some(link.unwrap_or(Self::Next))
    }

    /// What one word means. `None` for prose.
    fn of_word(word: &str) -> Option<Self> {
        let ordinal = word.trim_end_matches(['.', ')', ':', ',']);
        Some(match word {
            "," | ";" | "-" | "•" => Self::Next,
            "and" | "&" | "und" | "et" | "y" | "和" | "и" => Self::And,
            "/" | "|" => Self::Slash,
            "then" | "followed" | "next" | "finally" | "lastly" | "dann" | "danach" | "gefolgt" | "zuletzt"
            | "puis" | "ensuite" | "suivi" | "suivie" | "enfin" | "luego" | "después" | "seguido" | "seguida"
            | "finalmente" | "poi" | "infine" | "depois" | "其次" | "其次是" | "然后" | "然后是" | "再次" | "最后"
            | "最后是" | "接着是" | "次に" | "その次" | "その次は" | "最後に" | "次は" | "最後は" | "затем"
            | "потом" | "ثم" => Self::Then,
            ">" | ">>" | ">>>" | "->" | "=>" | "→" | "≻" | "»" | "➔" | "⟶" | "–>" | "-->" | "better" | "besser"
            | "meilleur" | "meilleure" | "mejor" | "优于" | "好于" | "胜过" | "强于" | "лучше" => {
                Self::Falling
            }
            "<" | "<<" | "<-" | "←" | "≺" | "worse" | "schlechter" | "pire" | "peor" | "劣于" | "差于" => {
                Self::Rising
            }
            "=" | "==" | "≈" | "~" | ">=" | "≥" | "<=" | "≤" | "tied" | "ties" | "tie" | "equals" => Self::Tie,
            _ if !ordinal.is_empty()
                && ordinal.len() < word.len()
                && ordinal.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Self::Next
            }
            _ if word.chars().all(|c| matches!(c, ',' | ';')) => Self::Next,
            _ => return None,
        })
    }

    fn is_strong(self) -> bool {
        self.is_sign() || self == Self::Tie
    }

    /// Which of several words between two names decides.
    fn weight(self) -> u8 {
        match self {
            Self::And | Self::Slash => 0,
            Self::Next => 1,
            Self::Then => 2,
            Self::Falling | Self::Rising | Self::Tie => 3,
        }
    }
}

/// Whether some of the links put two names on one place: `a > b and c`, `a, b / c`. `whole`: they are between all names.
pub(super) fn ties(links: &[Link], whole: bool) -> bool {
    let any = |link: Link| links.contains(&link);
    let Some((last, others)) = links.split_last() else { return false };
    let all = |link: Link| links.iter().all(|&other| other == link);
    if links.iter().any(|link| link.is_sign()) {
        return any(Link::And) || any(Link::Slash) || any(Link::Next);
    }
    if any(Link::Slash) {
        return !(whole && all(Link::Slash));
    }
    // `a, b and c` is a list; `a, then b and c` may not be.
    any(Link::And)
        && !(whole && (all(Link::And) || (*last == Link::And && others.iter().all(|&link| link == Link::Next))))
}

/// Whether brackets hold some of the names together: `a > (b, c)`.
pub(super) fn groups(text: &str, mentions: &[Mention]) -> bool {
    let mut depth = 0_i32;
    let mut at = 0;
    // The depth of each name, and the least depth since the name before it.
    let mut depths: Vec<(i32, i32)> = Vec::with_capacity(mentions.len());
    for mention in mentions {
        let mut least = depth;
        for c in text[at..mention.start].chars().map(chars::fold) {
            match c {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                _ => {}
            }
            least = least.min(depth);
        }
        depths.push((depth, least));
        at = mention.end;
    }
    let base = depths.iter().map(|(depth, _)| *depth).min().unwrap_or(0);
    depths.windows(2).any(|pair| pair[1].0 > base && pair[1].1 >= pair[1].0)
}

/// Whether a remark in brackets among the names says that some of them are equal: `a, b and c (tie)`.
pub(super) fn says_tie(text: &str) -> bool {
    const TIES: &[&str] =
        &["tie", "equal", "draw", "joint", "gleich", "ex aequo", "ex-aequo", "empat", "并列", "同率", "同順", "동점"];
    if !text.contains(['(', '[', '（', '【']) {
        return false;
    }
    let lower = text.to_lowercase();
    lower.split(['(', '[', '（', '【']).skip(1).any(|inner| TIES.iter().any(|tie| inner.trim_start().starts_with(tie)))
}
