//! Words that say in which order a ranking is written.

use super::keys::Order;
use super::lexicon::Lexicon;

/// Words for the best and the worst, as they stand in a key or a heading.
#[rustfmt::skip]
static BEST: Lexicon = Lexicon::new(&[
    "best", "highest", "strongest", "meilleur", "mejor", "melhor", "miglior", "最好", "最优", "最良", "лучш", "najleps", "tốt nhất",
    "الأفضل", "en iyi", "bäst",
]);
#[rustfmt::skip]
static WORST: Lexicon = Lexicon::new(&[
    "wors", "lowest", "weakest", "schlecht", "pire", "peor", "pior", "peggior", "最差", "最劣", "最悪", "худш", "najgors", "slechts",
    "tệ nhất", "الأسوأ", "en kötü", "sämst",
]);
/// Phrases that say that the worst comes first, in lower case with one blank between words.
#[rustfmt::skip]
static RISING: Lexicon = Lexicon::new(&[
    "worst to best", "worst first", "worst to the best", "worst one first", "worst best", "starting with the worst",
    "beginning with the worst", "worse to better", "weakest to strongest", "weakest to the strongest", "weakest first",
    "lowest to highest", "lowest first", "lowest to the highest", "low to high", "least to most", "bottom to top", "bottom up",
    "last to first", "bad to good", "ascending", "increasing order", "increasing quality", "reverse order", "reversed order",
    "reverse ranking", "reversed ranking", "ranking reversed", "schlechtesten zum besten", "schlechtester zuerst",
    "schlechteste zuerst", "aufsteigend", "pire au meilleur", "ordre croissant", "peor a mejor", "ascendente", "pior para o melhor",
    "peggiore al migliore", "crescente", "худшего к лучшему", "возрастани", "从差到好", "从最差到最好", "从低到高", "由差到好", "由低到高",
    "升序", "倒序", "从劣到优", "昇順", "悪い順", "低い順", "오름차순", "나쁜 순", "낮은 순", "الأسوأ إلى الأفضل", "تصاعدي",
]);

/// The order that a key or a heading gives.
pub(super) fn said_order(written: &str) -> Order {
    let text = written.to_lowercase();
    match (BEST.find(&text), WORST.find(&text)) {
        (Some(best), Some(worst)) if best < worst => Order::BestFirst,
        (Some(_), Some(_)) => Order::WorstFirst,
        _ if says_worst_first(&text) => Order::WorstFirst,
        _ => Order::Unsaid,
    }
}

/// The order that the key of a ranking gives; `rank (3 is best)` counts from the worst.
pub(super) fn rank_order(written: &str) -> Order {
    let text = written.to_lowercase();
    let best = ["is best", "= best", "is the best", "being best"].iter().find_map(|words| text.find(words));
    let top = best.and_then(|at| text[..at].trim_end().chars().next_back());
    if top.is_some_and(|c| c.is_ascii_digit() && c != '1')
        || text.contains("higher is better")
        || text.contains("highest is best")
    {
        return Order::WorstFirst;
    }
    said_order(written)
}

/// Whether a text says anywhere that something is in an order with the worst first. `best to worst first` is none.
pub(super) fn says_worst_first(text: &str) -> bool {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            plain.extend(c.to_lowercase());
        } else if !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    let mut from = 0;
    while let Some(at) = RISING.find(&plain[from..]).map(|at| from + at) {
        let before = plain[..at].trim_end();
        if !before.ends_with(" to") && !before.ends_with("not") && !before.ends_with("not from") {
            return true;
        }
        from = at + plain[at..].chars().next().map_or(1, char::len_utf8);
    }
    false
}
