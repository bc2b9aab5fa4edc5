//! Verdicts that are not JSON: YAML, Markdown lists, sections and tables, CSV, lines of text. Looks for the known names
//! and for what is beside or below them; takes nothing that could be read in two ways.

mod section;

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::amend;
use super::beside::{self, Label, Number};
use super::chars::{self, Quote};
use super::collected::Collected;
use super::frame;
use super::interpret::Context;
use super::keys::{self, Key, Order};
use super::ranking;
use super::reading::{Reading, Scores};
use super::repair::{Repair, quoted};
use super::scale;
use super::score::{self, Read, Rule};
use super::table::{self, Table};
use super::tolerant::{Entry, Group, Node};
use section::{Beside, Section};

/// Marks the place in a text from which a structure was taken out.
pub(super) const STRUCTURE: char = '\u{1f}';

/// How many lines are kept that may change the scores before them.
const MAX_AMENDING: usize = 64;

/// Scores beside names in a string of a tree: `model-1: 4, model-2: 2`.
pub(super) fn pairs(text: &str, cut: bool, rule: Rule, context: &Context<'_>) -> Vec<(usize, Read)> {
    let mut found = Collected::default();
    for Number { place, label, value } in beside::numbers(text, cut, rule, context) {
        found.add(place, label, value);
    }
    found.resolve().0
}

/// Reads a verdict out of text that holds no structure.
pub(super) fn scan(text: &str, context: &Context<'_>) -> Reading {
    let mut reading =
        Reading { closed: true, end: text.len(), scores: Scores::of(context.names.len()), ..Reading::default() };
    if text.len() > context.names.searched() || !text.contains(char::is_alphanumeric) {
        return reading;
    }
    let text = table::untag(text);
    let mut scan = Scan {
        context,
        rule: context.rule,
        reading: std::mem::take(&mut reading),
        found: Collected::default(),
        ranks: Vec::new(),
        listed: Vec::new(),
        section: Section::None,
        criterion: None,
        sums_up: false,
        sums: Vec::new(),
        amending: Vec::new(),
        before: String::new(),
        cut: false,
        last: false,
    };
    for line in text.split_inclusive('\n') {
        scan.line(line);
    }
    scan.finish()
}

struct Scan<'c> {
    context: &'c Context<'c>,
    /// How scores are read, with the scale that a heading named.
    rule: Rule,
    reading: Reading,
    found: Collected,
    ranks: Vec<(usize, usize)>,
    /// Responses that lines with ordinals begin with, in the order of the lines: `1. model-3 (5)`.
    listed: Vec<(usize, usize)>,
    section: Section,
    /// The criterion whose scores the lines give, if a heading names one.
    criterion: Option<String>,
    /// Whether the heading is that of the mean or the sum of all scores.
    sums_up: bool,
    /// Numbers under such headings.
    sums: Vec<f64>,
    /// Lines after scores that may change them.
    amending: Vec<String>,
    /// The line before the current one.
    before: String,
    /// Whether the text ends with the current line.
    cut: bool,
    /// Whether the current piece of text is the last one of its line.
    last: bool,
}

impl Scan<'_> {
    fn line(&mut self, line: &str) {
        if line.contains(STRUCTURE) {
            self.line(&line.replace(STRUCTURE, ""));
            // The words before a structure lead to the structure, not to anything after it.
            self.before.clear();
            return;
        }
        let whole = line.ends_with('\n');
        // A comment of YAML.
        let comment = line.find(" # ");
        let whole_line = line;
        let line = &line[..comment.unwrap_or(line.len())];
        self.cut = !whole && comment.is_none();
        if line.trim().is_empty() {
            return;
        }
        self.read_line(&amend::without_imagined(line, self.context.names));
        if comment.is_some_and(|at| amend::is_in_comment(&whole_line[at..])) {
            self.reading.scores.fault(amend::FAULT.into());
        }
        if self.amending.len() < MAX_AMENDING && !self.found.is_empty() && amend::is_possible(line, self.context.names)
        {
            let mentions = self.context.names.mentions(line);
            if mentions.is_empty() || mentions.iter().any(|mention| self.found.has(mention.place)) {
                self.amending.push(line.to_owned());
            }
        }
        // The words before the first number or table lead to what follows.
        if self.reading.lead.is_none() {
            if !self.found.is_empty() || matches!(self.section, Section::Table(_) | Section::Response(_)) {
                let inline = self.inline_lead(line).map(str::to_owned);
                self.reading.inline = inline.is_some();
                self.reading.lead = Some(inline.unwrap_or_else(|| std::mem::take(&mut self.before)));
            } else if self.before.is_empty() || !self.is_bare_heading(line) {
                line.trim().clone_into(&mut self.before);
            }
        }
    }

    /// Whether a line is one word above scores or a ranking, such as `scores:`. The line before then says who speaks.
    fn is_bare_heading(&self, line: &str) -> bool {
        let word = line.trim().trim_matches(|c: char| !c.is_alphanumeric());
        !word.contains(char::is_whitespace)
            && matches!(self.context.keys.read(word).0, Key::Score | Key::Overall { .. } | Key::Rank(_))
    }

    /// The words that lead to the first name with a number, on its own line: `model-2 ends with: model-1: 1`.
    fn inline_lead<'l>(&self, line: &'l str) -> Option<&'l str> {
        let mentions = self.context.names.mentions(line);
        let named = mentions.iter().find(|mention| {
            let next = line[mention.end..].trim_start_matches(|c: char| !c.is_alphanumeric());
            next.starts_with(|c: char| chars::fold(c).is_ascii_digit()) || next.starts_with(char::is_uppercase)
        })?;
        let lead =
            line[..named.start].trim_end_matches(|c: char| chars::is_blank(c) || matches!(c, '|' | '*' | '-' | '#'));
        let words = lead.contains(char::is_alphabetic) && lead.len() > 3;
        let marked = lead.ends_with(|c: char| matches!(c, ':' | '：') || Quote::of(c).is_some());
        (words && (marked || frame::denies(lead))).then_some(lead)
    }

    fn read_line(&mut self, line: &str) {
        if self.table(line) {
            return;
        }
        if let Some(place) = self.opens_response(line) {
            self.end_section();
            self.section = Section::Response(place);
            self.criterion = None;
            return;
        }
        if self.in_response(line) || self.ranked(line) {
            return;
        }
        if let (Some(ordinal), item) = ranking::split_ordinal(line)
            && let Some(first) = self.context.names.mentions(item).first()
            && !item[..first.start].contains(char::is_alphanumeric)
        {
            self.listed.push((first.place, ordinal));
        }
        let headings = self.headings(line);
        if headings.is_empty() && self.context.names.mentions(line).is_empty() {
            self.criterion = None;
        }
        let first = headings.first().map_or(line.len(), |heading| heading.start);
        self.last = headings.is_empty();
        self.body(&line[..first]);
        // `<rank>model-3</rank>` within a ranking is an item of it.
        if let ([heading], Section::Ranking(..)) = (&headings[..], &self.section)
            && heading.key == Key::Rank(Order::Unsaid)
            && self.context.names.mentions(&line[heading.end..]).len() == 1
        {
            return self.body(&line[heading.end..]);
        }
        for (index, heading) in headings.iter().enumerate() {
            self.end_section();
            let text = &line[heading.start..heading.end];
            self.sums_up = keys::sums_up(text);
            self.criterion = None;
            self.section = match heading.key {
                Key::Rank(order) => Section::Ranking(order, Vec::new(), Vec::new()),
                Key::Other => {
                    self.criterion = Some(quoted(text.trim_matches(|c: char| !c.is_alphanumeric())));
                    Section::Scores
                }
                _ => {
                    self.rule.named = scale::named(text).or(self.context.rule.named);
                    Section::Scores
                }
            };
            let next = headings.get(index + 1).map_or(line.len(), |next| next.start);
            self.last = next == line.len();
            self.body(&line[heading.end..next]);
        }
    }

    /// Reads a line of a table; returns whether it was one.
    fn table(&mut self, line: &str) -> bool {
        if let Section::Table(table) = &mut self.section {
            // The header of another table.
            if table.is_down()
                && line.contains('|')
                && !line.contains(char::is_numeric)
                && self.context.names.mentions(line).is_empty()
                && let Some(next) = Table::open(line, self.rule, self.context)
            {
                self.end_section();
                self.section = Section::Table(Box::new(next));
                return true;
            }
            if table.row(line, self.context) {
                return true;
            }
            self.end_section();
        }
        if !line.contains(['|', ',', ';', '\t']) {
            return false;
        }
        match Table::open(line, self.rule, self.context) {
            Some(table) => {
                self.end_section();
                self.section = Section::Table(Box::new(table));
                true
            }
            None => false,
        }
    }

    /// Reads text under the current heading.
    fn body(&mut self, text: &str) {
        let mentions = self.context.names.mentions(text);
        if !text.contains(char::is_alphanumeric) && mentions.is_empty() {
            return;
        }
        if mentions.is_empty() && self.positional(text) {
            return;
        }
        // `Ranking: 1) model-3 2) model-1 3) model-2`.
        if let Section::Ranking(_, items, _) = &self.section
            && items.is_empty()
            && ranking::is_numbered(text, &mentions)
        {
            let places: Vec<String> =
                mentions.iter().map(|mention| self.context.names.shown(mention.place).to_owned()).collect();
            let entries =
                places.into_iter().map(|name| Entry { key: None, value: Node::Text(Cow::Owned(name)) }).collect();
            let Section::Ranking(order, ..) = std::mem::replace(&mut self.section, Section::None) else { return };
            return self.ranking(&Node::Group(Group { object: false, entries }), order);
        }
        // `Ranking: 3 > 1 > 2`.
        if let Section::Ranking(order, items, _) = &self.section
            && items.is_empty()
            && chars::is_number(text)
            && text.contains('>')
        {
            let order = *order;
            self.section = Section::None;
            return self.ranking(&Node::Text(Cow::Borrowed(text.trim())), order);
        }
        if let Some((sum, _)) = score::number(text.trim()).filter(|_| self.sums_up && chars::is_number(text)) {
            return self.sums.push(sum);
        }
        if chars::is_number(text) {
            // The rest of a score that a line break cut in two.
            self.reading.scores.fault("a number among the scores has no name".into());
        }
        let cut = self.cut && self.last;
        if let Section::Ranking(order, items, numbers) = &mut self.section {
            let order = *order;
            let (_, item) = ranking::split_ordinal(text);
            let leads = mentions.first().is_some_and(|first| {
                let offset = text.len() - item.len();
                first.start <= offset || !text[offset..first.start].contains(char::is_alphanumeric)
            });
            let whole = items.is_empty() && mentions.len() > 1 && ranking::is_chain(text, &mentions);
            if whole {
                self.section = Section::None;
                if order == Order::Unsaid && self.inline_ranks(text) {
                    return;
                }
                self.ranking(&Node::Text(Cow::Borrowed(text)), order);
            } else if leads {
                items.push(text.trim_matches(|c| chars::is_blank(c) || matches!(c, '-' | '•' | '*' | '+')).to_owned());
                let whole = beside::numbers(text, false, self.rule, self.context);
                for (Number { place, label, value }, whole) in
                    beside::numbers(text, cut, self.rule, self.context).into_iter().zip(whole)
                {
                    match label {
                        Label::Bare => numbers.push(Beside { place, value, whole: whole.value }),
                        Label::Rank(rank) => self.ranks.push((place, rank)),
                        label => self.found.add(place, label, value),
                    }
                }
                return;
            } else {
                self.end_section();
                return self.body(text);
            }
        } else if mentions.len() > 1
            && mentions.len() >= self.context.names.len()
            && ranking::is_falling(text, &mentions)
            && !frame::denies(&text[..mentions[0].start])
        {
            self.ranking(&Node::Text(Cow::Borrowed(text)), Order::Unsaid);
        }
        self.numbers(text, cut);
    }

    /// Reads a ranking in one line whose numbers may be ranks, such as `model-1 (2), model-2 (3), model-3 (1)`; returns
    /// whether it is one.
    fn inline_ranks(&mut self, text: &str) -> bool {
        if text.contains(['>', '<', '→', '≻']) {
            return false;
        }
        let numbers: Vec<Beside> = beside::numbers(text, false, self.rule, self.context)
            .into_iter()
            .filter(|number| number.label == Label::Bare)
            .map(|Number { place, value, .. }| Beside { place, value, whole: value })
            .collect();
        let ranks = self.are_ranks(&numbers);
        if ranks {
            self.end_ranking(Order::Unsaid, Vec::new(), numbers);
        }
        ranks
    }

    /// Notes the numbers beside the names of a text.
    fn numbers(&mut self, text: &str, cut: bool) {
        for Number { place, label, value } in beside::numbers(text, cut, self.rule, self.context) {
            let label = match (&self.criterion, label) {
                (_, Label::Rank(rank)) => {
                    self.ranks.push((place, rank));
                    continue;
                }
                // Under the heading of a criterion.
                (Some(criterion), Label::Bare) => Label::Criterion(criterion.clone()),
                (_, label) => label,
            };
            self.found.add(place, label, value);
        }
    }

    /// Reads scores without names in the order shown: `Scores: 4, 2, 5`, `\boxed{4, 2, 5}`. Returns whether there were
    /// any.
    fn positional(&mut self, text: &str) -> bool {
        let count = self.context.names.len();
        let mut marked = beside::marks(text);
        let (value, strong) = match (marked.next(), marked.next()) {
            (Some(value), None) => (value, true),
            (None, _) => (text, false),
            _ => return false,
        };
        let under_scores = matches!(self.section, Section::Scores) && self.criterion.is_none();
        if !strong && !under_scores {
            return false;
        }
        let Some(values) = beside::list(value).filter(|values| values.len() > 1 || (strong && count == 1)) else {
            return false;
        };
        if values.len() != count {
            self.reading.scores.fault(format!("{} scores without names for {count} responses", values.len()));
            return true;
        }
        self.reading.repairs.push(Repair::PositionalScores);
        let cut = !strong && self.cut && self.last && !text.trim_end().ends_with([']', ')', '}', '$']);
        for (place, value) in values.into_iter().enumerate() {
            self.found.add(place, Label::Score, score::read(value, cut && place + 1 == count, self.rule));
        }
        true
    }

    /// Headings of scores and rankings within a line: a key before a colon, or a whole line.
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
            // A heading is that of a criterion only if the line ends with the colon, or goes on with numbers for all
            // names.
            let after = &line[colon + c.len_utf8()..];
            let alone = after.trim_matches(decoration).is_empty() && from == 0;
            let key = self.heading(head, alone || from == 0 && self.names_all(head, after));
            from = colon + c.len_utf8();
            // `model-1: clarity: 3, overall: 4`: a label beside a name is no heading.
            let valued = line[from..]
                .trim_start_matches(decoration)
                .starts_with(|c: char| chars::fold(c).is_ascii_digit() || matches!(c, '[' | '\\' | '$'));
            let label = matches!(key, Some(Key::Score | Key::Overall { .. }))
                && valued
                && !self.context.names.mentions(&line[..start]).is_empty();
            if let Some(key) = key.filter(|_| !label) {
                headings.push(Heading { start, end: from, key });
            }
        }
        // `Word counts - model-1: 4, model-2: 2`.
        if headings.is_empty()
            && let Some(first) = self.context.names.mentions(line).first()
            && let Some(head) = line[..first.start].trim_end().strip_suffix(['-', '–', '—'])
            && self.names_all(head, &line[first.start..])
            && let Some(key) = self.heading(head.trim_matches(decoration), true)
        {
            headings.push(Heading { start: 0, end: first.start, key });
        }
        let whole = line.trim_matches(decoration);
        let marked = line.trim_start().starts_with('#') || line.trim().ends_with("**");
        let sentence = whole.ends_with('.') && whole.split_whitespace().count() > 4;
        if headings.is_empty()
            && !sentence
            && whole.len() <= 64
            && let Some(key) = self.heading(whole, marked)
        {
            headings.push(Heading { start: 0, end: line.len(), key });
        }
        headings
    }

    /// Whether one or two words lead to numbers beside all names: `Weights: model-1: 4, model-2: 2`.
    fn names_all(&self, head: &str, after: &str) -> bool {
        if head.split_whitespace().count() > 2 || !after.contains(char::is_numeric) {
            return false;
        }
        let mentions = self.context.names.mentions(after);
        let numbered = |at: usize| {
            after[at..]
                .trim_start_matches(|c: char| !c.is_alphanumeric())
                .starts_with(|c: char| chars::fold(c).is_ascii_digit())
        };
        mentions.len() > 1
            && mentions.len() == self.context.names.len()
            && mentions.iter().all(|mention| numbered(mention.end))
    }

    /// What a heading means. `any`: a heading of unknown words may name a criterion.
    fn heading(&self, head: &str, any: bool) -> Option<Key> {
        if head.is_empty() || head.len() > 160 {
            return None;
        }
        let key = self.context.keys.read_heading(head);
        if keys::is_criterion(head) && self.context.names.mentions(head).is_empty() {
            return Some(Key::Other);
        }
        let known = matches!(key, Key::Score | Key::Rank(_) | Key::Overall { .. });
        let criterion = any && key == Key::Other && keys::may_name_criterion(head);
        let names = self.context.names;
        let is_heading =
            (known || criterion) && names.resolve(head, false).place().is_none() && names.mentions(head).is_empty();
        is_heading.then_some(if criterion { Key::Other } else { key })
    }

    fn ranking(&mut self, node: &Node<'_>, order: Order) {
        let found = ranking::read(&[node], order, self.context);
        self.reading.dropped.extend(found.dropped);
        self.reading.repairs.extend(found.repairs);
        self.reading.ranking.merge(found.ranking);
    }

    /// Whether a numbered list of all responses is a ranking: the scores beside them fall from line to line. If they do
    /// not, the numbers may only count the lines.
    fn list_is_ranking(&self) -> bool {
        let values = &self.reading.scores.values;
        let scores: Option<Vec<f64>> = self.listed.iter().map(|(place, _)| values.get(place).copied()).collect();
        self.listed.len() == self.context.names.len()
            && self.listed.iter().zip(1..).all(|(&(_, ordinal), wanted)| ordinal == wanted)
            && scores.is_some_and(|scores| scores.len() > 1 && scores.windows(2).all(|pair| pair[0] > pair[1]))
    }

    fn finish(mut self) -> Reading {
        self.end_section();
        let (scores, criteria) = std::mem::take(&mut self.found).resolve();
        for (place, value) in scores {
            self.reading.scores.put(place, self.context.names.shown(place), value);
        }
        if !self.sums.iter().all(|&sum| is_sum(sum, &self.reading.scores.values)) {
            self.reading.scores.fault("a number among the scores has no name".into());
        }
        let scores = &self.reading.scores.values;
        let chosen = amend::Chosen { scores, ranking: self.reading.ranking.only() };
        let changed = |line: &String| amend::contradicts(line, chosen, amend::Stand::Beside, self.context);
        let changed = self.amending.iter().any(changed);
        if self.reading.scores.values.is_empty() && !criteria.is_empty() {
            let fault = format!("scores are written for {}, but none sums them up", criteria.join(", "));
            self.reading.scores.fault(fault);
        }
        if self.ranks.is_empty() && !self.reading.ranking.seen && self.list_is_ranking() {
            self.ranks = std::mem::take(&mut self.listed);
        }
        if !self.ranks.is_empty() {
            let ranking = ranking::from_ranks(&self.ranks, self.context.names.len());
            if !self.reading.ranking.seen || !ranking.readings.is_empty() {
                self.reading.repairs.push(Repair::RankingForm);
                self.reading.ranking.merge(ranking);
            }
        }
        if changed {
            self.reading.doubt(amend::FAULT);
        }
        if !self.reading.is_empty() {
            self.reading.repairs.push(Repair::Scanned);
        }
        self.reading
    }
}

/// Whether a number is the mean or the sum of the scores.
fn is_sum(number: f64, scores: &BTreeMap<usize, f64>) -> bool {
    let sum: f64 = scores.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a number of responses")]
    let mean = sum / scores.len() as f64;
    (number - sum).abs() < 0.01 || (number - mean).abs() < 0.06
}

/// A heading within a line.
struct Heading {
    start: usize,
    end: usize,
    key: Key,
}
