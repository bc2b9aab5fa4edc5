//! Tables in running text: Markdown, HTML (rewritten before) and CSV, with a column or a row for each response.

use super::beside::Label;
use super::chars;
use super::interpret::Context;
use super::keys::Key;
use super::ranking;
use super::reading::Ranking;
use super::repair::quoted;
use super::scale;
use super::score::{self, Read, Rule};

/// A table whose header was read.
pub(super) struct Table {
    columns: Vec<Column>,
    /// The separator between two cells.
    between: char,
    /// Places by column, if each response has a column and not a row.
    across: Option<Vec<Option<usize>>>,
    /// The value of each response in each column, or under each label.
    pub(super) cells: Vec<(usize, Label, Read)>,
    pub(super) ranks: Vec<(usize, usize)>,
}

struct Column {
    key: Key,
    text: String,
    rule: Rule,
}

/// The cells of a line.
fn cells(line: &str, between: char) -> Vec<&str> {
    let line = line.trim();
    let line = if between == '|' { line.strip_prefix('|').unwrap_or(line) } else { line };
    let line = if between == '|' { line.strip_suffix('|').unwrap_or(line) } else { line };
    let quote = |c: char| chars::is_blank(c) || matches!(c, '"' | '*' | '`' | '_');
    // In CSV, a quoted cell may hold the separator.
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"' && between != '|';
        c == between && !quoted
    })
    .map(|cell| cell.trim_matches(quote))
    .collect()
}

impl Table {
    /// Reads a header; `None` if the line is none.
    pub(super) fn open(line: &str, rule: Rule, context: &Context<'_>) -> Option<Self> {
        let between =
            if line.contains('|') { '|' } else { [',', ';', '\t'].into_iter().find(|&c| line.contains(c))? };
        let texts = cells(line, between);
        if texts.len() < 2 {
            return None;
        }
        let places: Vec<Option<usize>> = texts.iter().map(|text| one_name(text, context)).collect();
        let named = places.iter().flatten().count();
        let columns: Vec<Column> = texts
            .iter()
            .map(|text| Column { key: context.keys.read_column(text), text: quoted(text), rule: rule_of(text, rule) })
            .collect();
        // A column for each response, under its name.
        let across = between == '|'
            && named > 1
            && named + 1 >= texts.len()
            && named >= context.names.len()
            && places[1..].iter().all(Option::is_some)
            && !texts[1..].iter().any(|text| has_value(text, context));
        let telling =
            |column: &Column| matches!(column.key, Key::Score | Key::Overall { .. } | Key::Rank(_) | Key::Marks);
        let down = named == 0
            && columns.iter().any(telling)
            && (between == '|'
                || matches!(columns[0].key, Key::Label | Key::Rank(_))
                || columns.iter().all(|column| column.key != Key::Other));
        let unknown = between == '|' && named == 0 && columns.len() > 1 && matches!(columns[0].key, Key::Label);
        let header = across || down || unknown;
        header.then(|| Self {
            columns,
            between,
            across: across.then_some(places),
            cells: Vec::new(),
            ranks: Vec::new(),
        })
    }

    /// Reads a row; returns whether the line is one.
    pub(super) fn row(&mut self, line: &str, context: &Context<'_>) -> bool {
        if !line.contains(self.between) {
            return false;
        }
        let texts = cells(line, self.between);
        if texts.iter().all(|text| text.chars().all(|c| matches!(c, '-' | ':' | '=' | '+' | ' '))) {
            return true;
        }
        if self.between != '|' && texts.len() != self.columns.len() {
            return false;
        }
        if let Some(places) = self.across.clone() {
            self.row_across(&texts, &places, context);
            return true;
        }
        let mut named = texts.iter().filter_map(|text| one_name(text, context));
        let label = self.columns.iter().position(|column| column.key == Key::Label);
        let numbered = label.and_then(|label| context.names.resolve(texts.get(label)?, true).place());
        let Some(place) = named.next().or(numbered) else { return self.between == '|' };
        if texts.len() != self.columns.len() {
            self.cells.push((place, Label::Bare, Err(score::Why::Unclear)));
            return true;
        }
        // A column with the top of the scale: `| score | max |`.
        let tops = texts.iter().zip(&self.columns).filter(|(_, column)| scale::is_top(&column.text));
        let top = tops.filter_map(|(text, _)| text.parse().ok()).find(|top: &f64| *top > 1.0);
        for (index, (text, column)) in texts.iter().zip(&self.columns).enumerate() {
            if Some(index) == label || scale::is_top(&column.text) {
                continue;
            }
            let named = top.map(|max| scale::Named { min: None, max }).or(column.rule.named);
            let value = || score::read(text, false, Rule { named, ..column.rule });
            let number = text.starts_with(|c: char| chars::fold(c).is_ascii_digit());
            match &column.key {
                Key::Score => self.cells.push((place, Label::Score, value())),
                Key::Overall { total } => self.cells.push((place, Label::Overall { total: *total }, value())),
                Key::Rank(_) => self.ranks.extend(ranking::rank_number(text).map(|rank| (place, rank))),
                Key::Value if number => self.cells.push((place, Label::Score, value())),
                Key::Marks if number => self.cells.push((place, Label::Bare, value())),
                _ if number => self.cells.push((place, Label::Criterion(column.text.clone()), value())),
                _ => {}
            }
        }
        true
    }

    fn row_across(&mut self, texts: &[&str], places: &[Option<usize>], context: &Context<'_>) {
        let Some(head) = texts.first() else { return };
        let key = context.keys.read_column(head);
        let rule = rule_of(head, self.columns[0].rule);
        for (text, place) in texts.iter().zip(places) {
            let Some(place) = *place else { continue };
            let number = text.starts_with(|c: char| chars::fold(c).is_ascii_digit());
            let value = || score::read(text, false, rule);
            match key {
                Key::Score | Key::Value => self.cells.push((place, Label::Score, value())),
                Key::Overall { total } => self.cells.push((place, Label::Overall { total }, value())),
                Key::Rank(_) => self.ranks.extend(ranking::rank_number(text).map(|rank| (place, rank))),
                _ if number => self.cells.push((place, Label::Criterion(quoted(head)), value())),
                _ => {}
            }
        }
        if texts.len() != places.len() {
            self.cells.extend(places.iter().flatten().map(|&place| (place, Label::Score, Err(score::Why::Unclear))));
        }
    }

    /// Whether each response has a row.
    pub(super) fn is_down(&self) -> bool {
        self.across.is_none()
    }

    /// The ranking that a column of ranks gives.
    pub(super) fn ranking(&self, context: &Context<'_>) -> Option<Ranking> {
        (!self.ranks.is_empty()).then(|| ranking::from_ranks(&self.ranks, context.names.len()))
    }
}

fn rule_of(header: &str, rule: Rule) -> Rule {
    Rule { named: scale::named(header).or(rule.named), ..rule }
}

/// The one response that a cell names.
fn one_name(text: &str, context: &Context<'_>) -> Option<usize> {
    let mentions = context.names.mentions(text);
    let first = mentions.first()?.place;
    mentions.iter().all(|mention| mention.place == first).then_some(first)
}

/// Whether a cell holds more than a name, such as a score beside it.
fn has_value(text: &str, context: &Context<'_>) -> bool {
    context.names.mentions(text).first().is_some_and(|mention| text[mention.end..].contains(char::is_numeric))
}

/// Writes the tags of HTML as lines: rows and cells of tables as Markdown, `<key>value</key>` as `key: value`.
pub(super) fn untag(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains("</") && !text.contains("<br") && !text.contains("<td") && !text.contains("/>") {
        return std::borrow::Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // Whether a row is open, and a cell in it: their end tags may be left out.
    let (mut row, mut cell) = (false, false);
    while let Some(open) = rest.find('<') {
        let tag = &rest[open + 1..];
        let Some(end) = tag[..chars::floor_boundary(tag, 160)].find(['>', '<']) else {
            plain.push_str(&rest[..=open]);
            rest = tag;
            continue;
        };
        if !tag[end..].starts_with('>') || !tag.starts_with(|c: char| c.is_alphabetic() || c == '/') {
            plain.push_str(&rest[..=open]);
            rest = tag;
            continue;
        }
        let before = &rest[..open];
        // Within a row, line breaks of the source mean nothing.
        if row {
            plain.extend(before.chars().map(|c| if c == '\n' { ' ' } else { c }));
        } else {
            plain.push_str(before);
        }
        let name =
            tag[..end].split([' ', '\n', '/']).find(|part| !part.is_empty()).unwrap_or_default().to_ascii_lowercase();
        let closes = tag.starts_with('/');
        match name.as_str() {
            "tr" => {
                plain.push_str(if closes { "\n" } else { "\n| " });
                (row, cell) = (!closes, false);
            }
            "td" | "th" => {
                plain.push_str(if closes || cell { " | " } else { "" });
                cell = !closes;
            }
            "b" | "strong" | "i" | "em" | "u" | "span" | "code" | "mark" | "sub" | "sup" | "font" | "a" | "small" => {}
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => plain.push_str(if closes { "\n" } else { "\n### " }),
            "li" => plain.push_str(if closes { "\n" } else { "\n- " }),
            "p" | "div" | "br" | "hr" | "table" | "thead" | "tbody" | "tfoot" | "ul" | "ol" | "section" | "html"
            | "body" | "article" | "pre" | "dl" | "dt" | "dd" => {
                if name == "table" {
                    row = false;
                }
                plain.push('\n');
            }
            _ => {
                plain.push('\n');
                if let Some(record) = record(&tag[..end]).filter(|_| !closes) {
                    plain.push_str(&record);
                } else if !closes {
                    plain.push_str(&tag[..end]);
                    plain.push_str(": ");
                }
            }
        }
        rest = &tag[end + 1..];
    }
    plain.push_str(rest);
    std::borrow::Cow::Owned(plain)
}

/// What the attributes of a tag say: `name="model-1" score="4"` as `model-1, score: 4`, a single one as `model-1: `.
fn record(tag: &str) -> Option<String> {
    const ORNAMENTS: &[&str] = &["class", "style", "href", "lang", "type", "xmlns", "version", "encoding", "id"];
    let whole = tag.trim_end().ends_with('/');
    let mut rest = tag.split_once(' ')?.1;
    let mut said = Vec::new();
    while let Some((key, value)) = rest.split_once('=') {
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = value[1..].split_once(quote)?;
        let key = key.trim();
        if !ORNAMENTS.contains(&key) || (key == "id" && whole) {
            said.push((key, value));
        }
        rest = after;
    }
    // `<response id="1">`
    if said.is_empty() && !whole {
        let word = tag.split(' ').next()?;
        let number = tag.split_once("id=")?.1.trim_matches(['"', '\'', ' ']);
        return number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{word} {number}: "));
    }
    let (&(_, name), others) = said.split_first()?;
    if others.is_empty() {
        return (!whole).then(|| format!("{name}: "));
    }
    let others: Vec<String> = others.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    Some(format!("{name}, {}\n", others.join(", ")))
}
