//! The forms in which a ranking is written: a list of names, of numbers, of records; an object; `a > b > c`.

use std::collections::BTreeMap;

use super::chars::{self, Quote};
use super::interpret::Context;
use super::keys::{Key, Order};
use super::link::{Link, groups, says_tie, ties};
use super::names::{Match, Mention};
use super::ordinal;
use super::reading::Ranking;
use super::repair::{Repair, Repairs, quoted};
use super::tolerant::{Entry, Group, Node};

/// What was read of a ranking.
#[derive(Default)]
pub(super) struct Found {
    pub(super) ranking: Ranking,
    pub(super) dropped: Vec<String>,
    pub(super) repairs: Repairs,
}

/// One item of a ranking.
struct Item {
    place: usize,
    /// Whether the name was written as a bare number.
    bare: bool,
    /// A number beside the name: its rank, or its score.
    number: Option<usize>,
    /// Whether the number was called a rank.
    rank: bool,
}

/// Reads the value of a key that means a ranking, and what follows it without a key.
pub(super) fn read(nodes: &[&Node<'_>], order: Order, context: &Context<'_>) -> Found {
    let mut reader =
        Reader { context, order, found: Found::default(), items: Vec::new(), both_ways: false, object: false };
    reader.found.ranking.seen = true;
    let nodes = match nodes {
        // A stray character before the list: `"best-to-worst": ~["model-3"`.
        [Node::Word { text, .. }, list @ Node::Group(_)] if context.names.mentions(text).is_empty() => &[*list][..],
        nodes => nodes,
    };
    let Some((first, followers)) = nodes.split_first() else { return reader.found };
    match unwrap(first) {
        Node::Group(group) => {
            if group.object {
                reader.object = true;
                reader.repair(Repair::RankingForm);
            }
            for entry in &group.entries {
                reader.entry(entry);
            }
        }
        Node::Text(text) if followers.is_empty() => reader.text(text),
        Node::Word { text: "", .. } => {}
        Node::Word { text: "null" | "None" | "NULL" | "true" | "false" | "True" | "False", .. } => {
            reader.found.ranking.fault("the ranking holds no names".into());
        }
        Node::Word { text, .. } if followers.is_empty() => reader.text(text),
        node => reader.node(node),
    }
    for node in followers {
        reader.node(node);
    }
    reader.finish()
}

/// The structure within doubled brackets.
fn unwrap<'n, 'a>(mut node: &'n Node<'a>) -> &'n Node<'a> {
    while let Node::Group(group) = node
        && let [Entry { key: None, value: inner @ Node::Group(_) }] = &group.entries[..]
    {
        node = inner;
    }
    node
}

/// The ranking of `count` responses that the ranks next to the scores give.
pub(super) fn from_ranks(ranks: &[(usize, usize)], count: usize) -> Ranking {
    let mut ranking = Ranking { seen: true, ..Ranking::default() };
    let mut unique: BTreeMap<usize, usize> = BTreeMap::new();
    for &(place, rank) in ranks {
        if unique.insert(place, rank).is_some_and(|other| other != rank) {
            ranking.fault("a response has two ranks".into());
        }
    }
    let unique: Vec<(usize, usize)> = unique.into_iter().collect();
    match by_rank(&unique, count) {
        Some(order) => ranking.readings.push(order),
        None if unique.len() < count => ranking.listed = unique.iter().map(|(place, _)| *place).collect(),
        None => ranking.fault("the ranks are not 1 to the number of responses, each once".into()),
    }
    ranking
}

/// A rank: `1`, `"1"`, `"1st"`, `"#1"`.
pub(super) fn rank_number(written: &str) -> Option<usize> {
    let text = written.trim_matches(|c: char| chars::is_blank(c) || matches!(c, '#' | '.' | ')' | '*'));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let suffix = &text[digits..];
    let known = suffix.is_empty() || ["st", "nd", "rd", "th"].iter().any(|known| suffix.eq_ignore_ascii_case(known));
    text[..digits].parse::<u16>().ok().filter(|_| known).map(usize::from)
}

/// Whether the text between two names says that the second comes after the first.
pub(super) fn is_then(between: &str) -> bool {
    const THENS: &[&str] =
        &["then", "and then", "followed by", "dann", "puis", "luego", "poi", "depois", "затем", "然后", "其次", "次に"];
    let words =
        between.trim_matches(|c: char| chars::is_blank(c) || matches!(c, ',' | ';' | '*' | '`' | '"' | '，' | '、'));
    THENS.contains(&words.to_lowercase().as_str())
}

/// Whether `>` alone puts the names in order.
pub(super) fn is_falling(text: &str, mentions: &[Mention]) -> bool {
    mentions.windows(2).all(|pair| Link::read(&text[pair[0].end..pair[1].start]) == Some(Link::Falling))
}

/// Whether the names are in one line, each after its number, counted from 1: `#1 model-3, #2 model-1`.
pub(super) fn is_numbered(text: &str, mentions: &[Mention]) -> bool {
    let mark = |c: char| chars::is_blank(c) || matches!(c, '#' | '.' | ')' | '(' | ':' | ',' | ';' | '*' | '`' | '"');
    let mut at = 0;
    let numbered = mentions.iter().zip(1_usize..).all(|(mention, number)| {
        let before = text[at..mention.start].trim_matches(mark);
        // `1位 model-3`, `第一`.
        let before = before.trim_start_matches('第').trim_end_matches(['位', '名', '등', '위']);
        at = mention.end;
        before.parse() == Ok(number)
    });
    numbered && mentions.len() > 1 && text[at..].trim_matches(mark).is_empty()
}

/// A number after the only name of an item, and whether it is called a rank: `model-1 (2nd)`, `model-1 - rank 2`,
/// `model-1: 2`.
fn rank_after(item: &str, mentions: &[Mention]) -> Option<(usize, bool)> {
    let [mention] = mentions else { return None };
    let mark = |c: char| {
        chars::is_blank(c) || matches!(chars::fold(c), '(' | ')' | '[' | ']' | ':' | '-' | '–' | '—' | '=' | ',' | '*')
    };
    let text = item[mention.end..].trim_matches(mark);
    let number = text.trim_start_matches(|c: char| c.is_alphabetic() || matches!(c, ' ' | '#' | ':'));
    let plain = number.len() == text.len() && text.bytes().all(|byte| byte.is_ascii_digit());
    let word = text[..text.len() - number.len()].trim_matches(|c: char| !c.is_alphabetic()).to_lowercase();
    let called = !plain && matches!(word.as_str(), "" | "rank" | "place" | "position" | "ranked");
    (plain || called).then(|| rank_number(number)).flatten().map(|rank| (rank, called))
}

/// The number in brackets after each of the names, and whether it is called a rank; `None` if a name has none.
fn numbers_after(text: &str, mentions: &[Mention]) -> Option<Vec<(usize, bool)>> {
    let ends = mentions.iter().skip(1).map(|next| next.start).chain([text.len()]);
    let numbers = mentions.iter().zip(ends).map(|(mention, end)| {
        let after =
            text[mention.end..end].trim_start_matches(|c: char| chars::is_blank(c) || matches!(c, '*' | '`' | '"'));
        let inner = after.strip_prefix(['(', '[', '（'])?.split([')', ']', '）']).next()?;
        let plain = inner.trim().bytes().all(|byte| byte.is_ascii_digit());
        rank_number(inner).map(|rank| (rank, !plain))
    });
    numbers.collect()
}

/// Places by rank, if the ranks are 1 to `count`, each once.
fn by_rank(ranks: &[(usize, usize)], count: usize) -> Option<Vec<usize>> {
    if ranks.len() != count {
        return None;
    }
    let mut order = vec![None; count];
    for &(place, rank) in ranks {
        if order.get_mut(rank.checked_sub(1)?)?.replace(place).is_some() {
            return None;
        }
    }
    order.into_iter().collect()
}

struct Reader<'c> {
    context: &'c Context<'c>,
    order: Order,
    found: Found,
    items: Vec<Item>,
    /// Whether a sign and the key point in different directions.
    both_ways: bool,
    /// Whether the value is an object: its order means nothing unless the key gives the order.
    object: bool,
}

impl Reader<'_> {
    fn repair(&mut self, repair: Repair) {
        self.found.repairs.push(repair);
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let Some(key) = &entry.key else { return self.node(&entry.value) };
        self.repair(Repair::RankingForm);
        let text = match &entry.value {
            Node::Text(text) => text.as_ref(),
            Node::Word { text, .. } => text,
            Node::Group(group) => {
                let number = group.entries.iter().find_map(|entry| self.rank_entry(entry));
                match self.context.names.resolve(key, false).place() {
                    Some(place) => self.push(place, false, number, number.is_some()),
                    None => self.unknown(key),
                }
                return;
            }
        };
        let names = self.context.names;
        // `"1": "model-3"` gives a rank its name, `"model-3": 1` a name its rank or its score.
        if let (Some(rank), Some(place)) = (rank_number(key), self.name(text)) {
            self.push(place, false, Some(rank), true);
        } else if let Some(place) = names.resolve(key, true).place() {
            let rank = rank_number(text);
            if let Some(rank) = ordinal::read(text, names.len()).filter(|_| rank.is_none()) {
                // `"model-3": "first"`.
                return self.push(place, false, Some(rank), true);
            }
            if rank.is_none() && text.contains(|c: char| c.is_ascii_digit()) && self.order == Order::Unsaid {
                // `"model-3": 1.5`: the order of an object is none.
                self.found.ranking.fault(format!("{} has no rank that can be read", names.shown(place)));
            }
            self.push(place, false, rank, false);
        } else if let Some(place) = self.name(text) {
            // `"best": "model-3"`.
            let rank = ordinal::read(key, names.len());
            self.push(place, false, rank, rank.is_some());
        } else {
            self.unknown(key);
        }
    }

    fn rank_entry(&self, entry: &Entry<'_>) -> Option<usize> {
        let key = entry.key.as_deref()?;
        let text = match &entry.value {
            Node::Text(text) => text.as_ref(),
            Node::Word { text, .. } => text,
            Node::Group(_) => return None,
        };
        matches!(self.context.keys.read(key).0, Key::Rank(_)).then(|| rank_number(text)).flatten()
    }

    fn name(&self, text: &str) -> Option<usize> {
        self.context.names.resolve(text, false).place()
    }

    fn node(&mut self, node: &Node<'_>) {
        match node {
            Node::Text(text) => self.item(text),
            Node::Word { text, .. } => self.item(text),
            Node::Group(group) => self.group(group),
        }
    }

    /// Reads a structure as an item: a record, a single entry, a name in brackets, a name and a number.
    fn group(&mut self, group: &Group<'_>) {
        self.repair(Repair::RankingForm);
        if group.object {
            let rank = group.entries.iter().find_map(|entry| self.rank_entry(entry));
            let labels = group.entries.iter().filter_map(|entry| {
                let key = entry.key.as_deref()?;
                match &entry.value {
                    Node::Text(text) if self.context.keys.read(key).0 == Key::Label => Some(text.clone().into_owned()),
                    Node::Word { text, .. } if self.context.keys.read(key).0 == Key::Label => Some((*text).to_owned()),
                    _ => None,
                }
            });
            let label = labels.into_iter().next();
            match (label, &group.entries[..]) {
                (Some(label), _) => match self.context.names.resolve(&label, true).place() {
                    Some(place) => self.push(place, false, rank, rank.is_some()),
                    None => self.unknown(&label),
                },
                (None, [entry]) => self.entry(entry),
                _ => self.found.ranking.fault("an entry of the ranking has no name".into()),
            }
            return;
        }
        match &group.entries[..] {
            [Entry { key: None, value: Node::Text(text) }] => self.item(text),
            [Entry { key: None, value: Node::Word { text, .. } }] => self.item(text),
            [Entry { key: None, value: Node::Text(name) }, Entry { key: None, value: Node::Word { text, .. } }]
                if rank_number(text).is_some() =>
            {
                match self.context.names.resolve(name, true).place() {
                    Some(place) => self.push(place, false, rank_number(text), false),
                    None => self.unknown(name),
                }
            }
            _ => self.found.ranking.fault("an entry of the ranking holds more than one name".into()),
        }
    }

    /// Reads one item of a list.
    fn item(&mut self, text: &str) {
        if !text.contains(|c: char| !chars::is_blank(c) && Quote::of(c).is_none()) {
            return;
        }
        let matched = self.context.names.resolve(text, true);
        if let Some(place) = matched.place() {
            let bare = !text.contains(char::is_alphabetic) && matches!(matched, Match::Mended(_));
            if matches!(matched, Match::Mended(_)) {
                self.repair(Repair::Name(quoted(text)));
            }
            return self.push(place, bare, None, false);
        }
        let (ordinal, rest) = split_ordinal(text);
        // `model-3 (better than model-1)` is model-3; `model-3, model-1` is two items in one.
        let plain = without_parentheses(rest);
        let mentions = self.context.names.mentions(&plain);
        match &mentions[..] {
            [] => self.unknown(text),
            [first, others @ ..] => {
                let leads = !plain[..first.start].contains(char::is_alphanumeric);
                let same = others.iter().all(|other| other.place == first.place);
                let remark = plain[first.end..].trim_start().starts_with([':', '-', '–', '—']);
                if leads && (same || (remark && !is_chain(&plain, &mentions))) {
                    self.repair(Repair::Name(quoted(text)));
                    // `2: model-2` repeats the number of the response, and is no rank.
                    let ordinal = ordinal.filter(|&number| !self.context.names.is_numbered(first.place, number));
                    match (ordinal, rank_after(rest, &self.context.names.mentions(rest))) {
                        (None, Some((rank, called))) => self.push(first.place, false, Some(rank), called),
                        _ => self.push(first.place, false, ordinal, ordinal.is_some()),
                    }
                } else {
                    self.text(text);
                }
            }
        }
    }

    /// Reads a ranking, or a part of one, that is written in one string.
    fn text(&mut self, text: &str) {
        self.repair(Repair::RankingForm);
        let mentions = self.context.names.mentions(text);
        if mentions.is_empty() {
            // `"3 > 1 > 2"`: numbers for names.
            return self.bare_numbers(text);
        }
        let between = mentions.windows(2).map(|pair| Link::read(&text[pair[0].end..pair[1].start]));
        let Some(links) = between.collect::<Option<Vec<Link>>>() else {
            return self.found.ranking.fault(format!("the ranking cannot be read: {}", quoted(text)));
        };
        let whole = mentions.len() == self.context.names.len();
        if links.contains(&Link::Tie) || ties(&links, whole) || groups(text, &mentions) || says_tie(text) {
            return self.found.ranking.fault("the ranking holds a tie".into());
        }
        let direction = links.iter().copied().find(|link| link.is_sign()).unwrap_or(Link::Next);
        if links.iter().any(|&link| link.is_sign() && link != direction) {
            return self.found.ranking.fault("the ranking goes both ways".into());
        }
        let mut places: Vec<usize> = mentions.iter().map(|mention| mention.place).collect();
        match (direction, self.order) {
            (Link::Rising, Order::Unsaid) => places.reverse(),
            (Link::Rising, Order::BestFirst) | (Link::Falling, Order::WorstFirst) => self.both_ways = true,
            _ => {}
        }
        // `model-1 (2), model-2 (3), model-3 (1)`: the numbers may be ranks.
        let numbers = if direction == Link::Next { numbers_after(text, &mentions) } else { None };
        for (index, place) in places.into_iter().enumerate() {
            let number = numbers.as_ref().map(|numbers| numbers[index]);
            self.push(place, false, number.map(|(rank, _)| rank), number.is_some_and(|(_, called)| called));
        }
    }

    fn bare_numbers(&mut self, text: &str) {
        let parts: Vec<&str> = text
            .split(['>', ',', ';'])
            .map(|part| part.trim_matches(|c| chars::is_blank(c) || Quote::of(c).is_some()))
            .collect();
        let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if numbers && parts.len() > 1 {
            for part in parts {
                self.item(part);
            }
        } else {
            self.unknown(text);
        }
    }

    fn push(&mut self, place: usize, bare: bool, number: Option<usize>, rank: bool) {
        self.items.push(Item { place, bare, number, rank });
    }

    fn unknown(&mut self, text: &str) {
        self.found.dropped.push(quoted(text));
    }

    /// Puts the items together: the complete ranking, or what is missing or wrong.
    fn finish(mut self) -> Found {
        let count = self.context.names.len();
        let listed: Vec<usize> = self.items.iter().map(|item| item.place).collect();
        let mut seen = vec![false; count];
        for &place in &listed {
            if std::mem::replace(&mut seen[place], true) {
                let fault = format!("the ranking names {} twice", self.context.names.shown(place));
                self.found.ranking.fault(fault);
                return self.found;
            }
        }
        if listed.len() != count {
            self.found.ranking.listed = listed;
            return self.found;
        }
        let ranks: Vec<(usize, usize)> =
            self.items.iter().filter_map(|item| item.number.map(|number| (item.place, number))).collect();
        let by_rank = by_rank(&ranks, count);
        let by_rank_failed = by_rank.is_none();
        let called_ranks = self.object || self.items.iter().any(|item| item.rank);
        let mut readings = Vec::new();
        // Numbers that are called ranks decide, unless the key gives the order.
        if !(called_ranks && self.order == Order::Unsaid && by_rank.is_some()) {
            readings.push(listed.clone());
        }
        readings.extend(by_rank);
        if self.items.iter().all(|item| item.bare) && self.order == Order::Unsaid {
            // `"ranking": [2, 3, 1]`: the names in order, or the rank of each response in turn.
            let numbers: Vec<(usize, usize)> =
                listed.iter().enumerate().map(|(place, &number)| (place, number + 1)).collect();
            readings.extend(self::by_rank(&numbers, count));
        }
        let some = self.object && self.items.iter().any(|item| item.rank);
        if called_ranks && by_rank_failed && (some || ranks.len() == count) && self.order == Order::Unsaid {
            self.found.ranking.fault("the ranks are not 1 to the number of responses, each once".into());
            return self.found;
        }
        if self.order == Order::WorstFirst {
            self.found.repairs.push(Repair::RankingReversed);
            for reading in &mut readings {
                reading.reverse();
            }
        }
        if self.both_ways || (called_ranks && self.order == Order::WorstFirst) {
            let turned: Vec<Vec<usize>> =
                readings.iter().map(|reading| reading.iter().rev().copied().collect()).collect();
            readings.extend(turned);
        }
        let mut unique: Vec<Vec<usize>> = Vec::new();
        for reading in readings {
            if !unique.contains(&reading) {
                unique.push(reading);
            }
        }
        self.found.ranking.readings = unique;
        self.found
    }
}

/// The text without the parts in parentheses.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|&c| match chars::fold(c) {
            '(' => {
                depth += 1;
                false
            }
            ')' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect()
}

/// Whether only ranking signs are between the names.
pub(super) fn is_chain(text: &str, mentions: &[Mention]) -> bool {
    mentions.windows(2).all(|pair| Link::read(&text[pair[0].end..pair[1].start]).is_some())
}

/// Splits `1. model-3`, `#1: model-3` or `1st model-3` into the ordinal and the rest.
pub(super) fn split_ordinal(text: &str) -> (Option<usize>, &str) {
    let trimmed = text.trim_start_matches(|c: char| chars::is_blank(c) || matches!(c, '#' | '*' | '-' | '(' | '['));
    let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
    let after = &trimmed[digits..];
    let marked = after.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = &after[..after.len() - marked.len()];
    let ordinal_suffix = matches!(suffix, "" | "st" | "nd" | "rd" | "th");
    let separated = marked.starts_with(['.', ')', ':', ']', '-', '–', ' ', '\t']);
    match trimmed[..digits].parse::<u16>() {
        Ok(number) if ordinal_suffix && separated => {
            let rest = marked.trim_start_matches(|c: char| {
                chars::is_blank(c) || matches!(c, '.' | ')' | ':' | ']' | '-' | '–' | '*')
            });
            (Some(usize::from(number)), rest)
        }
        _ => (None, trimmed),
    }
}
