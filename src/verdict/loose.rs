//! Verdicts that are not JSON: YAML, Markdown lists and tables, lines of text. The known names are looked for, and what
//! stands beside them; nothing is taken that could be read in two ways.

use std::borrow::Cow;

use super::chars::{self, Quote};
use super::interpret::Context;
use super::keys::{Key, Order};
use super::names::{MAX_SEARCHED, Mention};
use super::ranking::{self, Link};
use super::reading::{Ranking, Reading};
use super::repair::Repair;
use super::score;
use super::tolerant::{Entry, Group, Node};

/// Words that may stand between a name and its score.
const LINKS: &[&str] = &["gets", "scores", "scored", "receives", "earns", "is", "rated", "score", "rating"];

/// Scores beside names in running text: `model-1: 4, model-2: 2`. `None` for a score that cannot be read.
/// `cut` where the whole text ends with this one, so that digits may be missing.
pub(super) fn pairs(text: &str, cut: bool, context: &Context<'_>) -> Vec<(usize, Option<score::Value>)> {
    let mentions = context.names.mentions(text);
    let mut found = Vec::new();
    for (index, mention) in mentions.iter().enumerate() {
        let next = mentions.get(index + 1).map_or(text.len(), |next| next.start);
        let line = text[mention.end..next].split('\n').next().unwrap_or_default();
        let at_end = cut && mention.end + line.len() == text.len();
        match beside(line, at_end, context) {
            Beside::Score(value) => found.push((mention.place, Some(value))),
            Beside::Unreadable => found.push((mention.place, None)),
            Beside::Prose => {}
        }
    }
    found
}

/// What follows a name in running text.
enum Beside {
    Score(score::Value),
    /// Something that stands for a score and is none.
    Unreadable,
    Prose,
}

/// Looks for a score in what follows a name.
fn beside(after: &str, at_end: bool, context: &Context<'_>) -> Beside {
    let mark = |c: char| chars::is_blank(c) || Quote::of(c).is_some() || matches!(c, '*' | '_' | ')' | ']');
    let is_separator = |c: char| matches!(chars::fold(c), ':' | '=' | '-' | '–' | '—' | '|' | '(' | '→');
    let marked = after.trim_start_matches(mark);
    let mut rest = marked.trim_start_matches(|c| is_separator(c) || mark(c));
    let mut separated = marked.starts_with(is_separator);
    if marked.trim_start_matches(is_separator).starts_with(|c: char| c.is_ascii_digit()) && marked.starts_with('-') {
        // `model-1 -4`: a sign or a dash.
        return Beside::Unreadable;
    }
    let word_end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
    if LINKS.iter().any(|link| rest[..word_end].eq_ignore_ascii_case(link)) {
        separated = true;
        rest = rest[word_end..].trim_start_matches(|c| is_separator(c) || mark(c));
    }
    if !rest.starts_with(|c: char| chars::fold(c).is_ascii_digit()) {
        let word = rest.split(|c: char| !c.is_alphanumeric() && c != '/').next().unwrap_or_default();
        let nothing = ["null", "none", "nan", "n/a", "true", "false"].iter().any(|no| word.eq_ignore_ascii_case(no));
        return if separated && nothing { Beside::Unreadable } else { Beside::Prose };
    }
    let (value, ended) = first_part(rest, context);
    let value = value.trim_end_matches(|c: char| mark(c) && c != ')' || c == '|' || c == '}');
    if !separated && value.contains(|c: char| !c.is_ascii_digit() && c != '.' && c != '/') {
        return Beside::Prose;
    }
    let value = score::read(value, at_end && !ended, context.scale, context.policy.clamp);
    value.map_or(Beside::Unreadable, Beside::Score)
}

/// The text up to the comma, bar or bracket that ends a value; says whether there was one. The point that ends a
/// sentence goes too, where it cannot belong to the number.
fn first_part<'t>(text: &'t str, context: &Context<'_>) -> (&'t str, bool) {
    let mut parens = 0_usize;
    let mut end = text.len();
    let mut characters = text.char_indices().peekable();
    while let Some((index, c)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let blank_follows = next.is_none_or(|next| chars::is_blank(next) || Quote::of(next).is_some());
        // What could be digits of the number, parted from it by a wrong character.
        let goes_on = next.is_some_and(|next| next.is_ascii_digit() || next == '.');
        match chars::fold(c) {
            '(' => parens += 1,
            ')' if parens > 0 => parens -= 1,
            ',' | ';' if parens == 0 && blank_follows => end = index,
            ')' | '|' | '}' | '{' if parens == 0 && !goes_on => end = index,
            _ => {}
        }
        if end == index {
            return (&text[..end], true);
        }
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(sentence) = text[digits..].strip_prefix('.') {
        let top = text[..digits].parse::<u8>().is_ok_and(|score| score == context.scale.max);
        let goes_on = sentence.starts_with(chars::is_blank) && sentence.trim_start().starts_with(char::is_alphabetic);
        let ends = sentence.chars().all(|c| chars::is_blank(c) || c == '*');
        if goes_on || (top && ends) {
            return (&text[..digits], true);
        }
    }
    (text, false)
}

/// Reads a verdict out of text that holds no structure.
pub(super) fn scan(text: &str, context: &Context<'_>) -> Reading {
    let mut reading = Reading { closed: true, end: text.len(), ..Reading::default() };
    reading.scores.values = vec![None; context.names.len()];
    if text.len() > MAX_SEARCHED {
        return reading;
    }
    let text = untag(text);
    let mut scan = Scan { context, reading, section: Section::None, cut: false, last: false };
    for line in text.split_inclusive('\n') {
        scan.line(line);
    }
    scan.end_section();
    if !scan.reading.is_empty() {
        scan.reading.repairs.push(Repair::Scanned);
    }
    scan.reading
}

/// Writes `<key>value</key>` as `key: value` on a line of its own.
fn untag(text: &str) -> Cow<'_, str> {
    if !text.contains("</") {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let tag = &rest[open + 1..];
        let Some(end) = tag[..chars::floor_boundary(tag, 96)].find(['>', '<', '\n']) else { break };
        plain.push_str(&rest[..open]);
        if tag[end..].starts_with('>') && tag.starts_with(|c: char| c.is_alphabetic() || c == '/') {
            plain.push('\n');
            if !tag.starts_with('/') {
                plain.push_str(&tag[..end]);
                plain.push_str(": ");
            }
            rest = &tag[end + 1..];
        } else {
            plain.push('<');
            rest = tag;
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Under which heading a line stands.
enum Section {
    None,
    Scores,
    /// The items of a ranking so far.
    Ranking(Order, Vec<String>),
    /// The columns of a table.
    Table(Vec<Key>, Vec<(usize, usize)>),
}

struct Scan<'c> {
    context: &'c Context<'c>,
    reading: Reading,
    section: Section,
    /// Whether the text ends with the present line.
    cut: bool,
    /// Whether the present piece of text is the last one of its line.
    last: bool,
}

impl Scan<'_> {
    fn line(&mut self, line: &str) {
        let whole = line.ends_with('\n');
        // A comment of YAML.
        let comment = line.find(" # ");
        let line = &line[..comment.unwrap_or(line.len())];
        self.cut = !whole && comment.is_none();
        if line.trim().is_empty() {
            return;
        }
        if line.trim_start().starts_with('|') && self.table_row(line) {
            return;
        }
        if let Section::Table(..) = self.section {
            self.end_section();
        }
        let headings = self.headings(line);
        let first = headings.first().map_or(line.len(), |heading| heading.start);
        self.last = headings.is_empty();
        self.body(&line[..first]);
        for (index, heading) in headings.iter().enumerate() {
            self.end_section();
            self.section = match heading.key {
                Key::Rank(order) => Section::Ranking(order, Vec::new()),
                _ => Section::Scores,
            };
            let next = headings.get(index + 1).map_or(line.len(), |next| next.start);
            self.last = next == line.len();
            self.body(&line[heading.end..next]);
        }
    }

    /// Reads text under the present heading.
    fn body(&mut self, text: &str) {
        if !text.contains(char::is_alphanumeric) && self.context.names.mentions(text).is_empty() {
            return;
        }
        let mentions = self.context.names.mentions(text);
        if is_number(text) {
            // What is left of a score that a line break cut in two.
            self.reading.scores.fault("a number stands alone among the scores".into());
        }
        if let Section::Ranking(order, items) = &mut self.section {
            let order = *order;
            let (_, item) = ranking::split_ordinal(text);
            let leads = mentions.first().is_some_and(|first| {
                let offset = text.len() - item.len();
                first.start <= offset || !text[offset..first.start].contains(char::is_alphanumeric)
            });
            let whole = items.is_empty() && mentions.len() > 1 && ranking::is_chain(text, &mentions);
            if whole {
                self.section = Section::None;
                self.ranking(&Node::Text(Cow::Borrowed(text)), order);
            } else if leads {
                items.push(text.trim_matches(|c| chars::is_blank(c) || matches!(c, '-' | '•' | '*' | '+')).to_owned());
            } else {
                self.end_section();
                return self.body(text);
            }
        } else if mentions.len() > 1 && mentions.len() >= self.context.names.len() && is_falling(text, &mentions) {
            self.ranking(&Node::Text(Cow::Borrowed(text)), Order::Unsaid);
        }
        let cut = self.cut && self.last;
        for (place, value) in pairs(text, cut, self.context) {
            self.put(place, value);
        }
    }

    /// Headings of scores and rankings within a line: a key before a colon, or a line that is nothing else.
    fn headings(&self, line: &str) -> Vec<Heading> {
        let decoration = |c: char| chars::is_blank(c) || Quote::of(c).is_some() || "#>*-•+_|".contains(c);
        let mut headings = Vec::new();
        let mut from = 0;
        for (colon, c) in line.char_indices().filter(|(_, c)| matches!(chars::fold(*c), ':' | '=')) {
            let window = &line[from..colon];
            let start = window
                .rfind(['.', ',', ';', '{', '}', '[', ']', '|', '，', '。'])
                .map_or(from, |last| from + last + window[last..].chars().next().map_or(1, char::len_utf8));
            let head = line[start..colon].trim_matches(decoration);
            let key = self.heading(head);
            from = colon + c.len_utf8();
            if let Some(key) = key {
                headings.push(Heading { start, end: from, key });
            }
        }
        let whole = line.trim_matches(decoration);
        if headings.is_empty()
            && whole.len() <= 64
            && let Some(key) = self.heading(whole)
        {
            headings.push(Heading { start: 0, end: line.len(), key });
        }
        headings
    }

    fn heading(&self, head: &str) -> Option<Key> {
        if head.is_empty() || head.len() > 96 || self.context.names.resolve(head, false).place().is_some() {
            return None;
        }
        let key = self.context.keys.read_heading(head);
        (matches!(key, Key::Score | Key::Rank(_)) && self.context.names.mentions(head).is_empty()).then_some(key)
    }

    fn put(&mut self, place: usize, value: Option<score::Value>) {
        self.reading.scores.put(place, self.context.names.shown(place), value);
    }

    fn ranking(&mut self, node: &Node<'_>, order: Order) {
        let found = ranking::read(&[node], order, self.context);
        self.reading.dropped.extend(found.dropped);
        self.reading.repairs.extend(found.repairs);
        self.reading.ranking.merge(found.ranking);
    }

    /// Closes what the lines so far have opened.
    fn end_section(&mut self) {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::Ranking(order, items) if !items.is_empty() => {
                let entries =
                    items.into_iter().map(|item| Entry { key: None, value: Node::Text(Cow::Owned(item)) }).collect();
                self.ranking(&Node::Group(Group { object: false, entries }), order);
            }
            Section::Table(_, ranks) if !ranks.is_empty() => {
                let ranking: Ranking = ranking::from_ranks(&ranks, self.context);
                self.reading.ranking.merge(ranking);
            }
            _ => {}
        }
    }

    /// Reads a row of a Markdown table; says whether the table has a header that names a column of scores or ranks.
    fn table_row(&mut self, line: &str) -> bool {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let Section::Table(columns, _) = &self.section else {
            let columns: Vec<Key> = cells.iter().map(|cell| self.column(cell)).collect();
            let header = columns.iter().any(|key| matches!(key, Key::Score | Key::Rank(_)));
            if header && self.context.names.mentions(line).is_empty() {
                self.end_section();
                self.section = Section::Table(columns, Vec::new());
                return true;
            }
            return false;
        };
        let columns = columns.clone();
        let mut named = cells.iter().filter_map(|cell| {
            let places: Vec<usize> = self.context.names.mentions(cell).iter().map(|mention| mention.place).collect();
            places.first().copied().filter(|_| places.len() == 1)
        });
        let Some(place) = named.next() else { return true };
        if cells.len() != columns.len() {
            self.put(place, None);
            return true;
        }
        for (cell, column) in cells.iter().zip(&columns) {
            match column {
                Key::Score => {
                    let value = score::read(cell, false, self.context.scale, self.context.policy.clamp);
                    self.put(place, value);
                }
                Key::Rank(_) => {
                    if let (Some(rank), Section::Table(_, ranks)) = (ranking::rank_number(cell), &mut self.section) {
                        ranks.push((place, rank));
                    }
                }
                _ => {}
            }
        }
        true
    }

    fn column(&self, cell: &str) -> Key {
        self.context.keys.read_heading(cell.trim_matches(|c: char| chars::is_blank(c) || matches!(c, '*' | '`')))
    }
}

/// A heading within a line.
struct Heading {
    start: usize,
    end: usize,
    key: Key,
}

/// Whether a line holds a number and no word.
fn is_number(text: &str) -> bool {
    text.trim_start().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '/'))
        && !text.contains(char::is_alphabetic)
}

/// Whether the names are put in order by `>` alone.
fn is_falling(text: &str, mentions: &[Mention]) -> bool {
    mentions.windows(2).all(|pair| Link::read(&text[pair[0].end..pair[1].start]) == Some(Link::Falling))
}
