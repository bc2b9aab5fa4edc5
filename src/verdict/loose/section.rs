//! What a heading opens: the section of one response, a ranking, a table; and what ends it.

use std::borrow::Cow;

use super::Scan;
use crate::verdict::beside::{self, Label};
use crate::verdict::chars::{self, Quote};
use crate::verdict::keys::{Key, Order};
use crate::verdict::ordinal;
use crate::verdict::ranking;
use crate::verdict::score::{self, Read};
use crate::verdict::table::Table;
use crate::verdict::tolerant::{Entry, Group, Node};

/// A number beside an item of a ranking.
pub(super) struct Beside {
    pub(super) place: usize,
    pub(super) value: Read,
    /// How it reads if no digit is missing.
    pub(super) whole: Read,
}

/// The heading that a line is under.
pub(super) enum Section {
    None,
    Scores,
    /// Text about one response, under its name.
    Response(usize),
    /// The items of a ranking so far, and the numbers beside them.
    Ranking(Order, Vec<String>, Vec<Beside>),
    Table(Box<Table>),
}

impl Scan<'_> {
    /// The response whose section a line opens: a heading, a bold line or a line before a colon that is its name alone.
    pub(super) fn opens_response(&self, line: &str) -> Option<usize> {
        const WORDS: &[&str] = &[
            "id",
            "name",
            "analysis",
            "evaluation",
            "assessment",
            "review",
            "feedback",
            "of",
            "for",
            "on",
            "the",
            "score",
            "scoring",
            "judgment",
            "verdict",
            "response",
            "answer",
            "model",
            "candidate",
            "analyse",
            "bewertung",
            "évaluation",
            "evaluación",
            "分析",
            "评价",
            "的",
            "について",
        ];
        let line = line.trim();
        let heading = line.starts_with('#');
        let bold = line
            .trim_start_matches(|c: char| matches!(c, '-' | ' ') || c.is_ascii_digit() || c == '.')
            .starts_with("**")
            && line.trim_end_matches([':', '：']).ends_with("**");
        let framed = (line.starts_with('[') && line.trim_end_matches(':').ends_with(']'))
            || (line.starts_with("==") && line.ends_with("=="))
            || (line.starts_with("--") && line.ends_with("--"))
            || (line.starts_with('【') && line.contains('】'));
        let colon = line.ends_with([':', '：']);
        if matches!(self.section, Section::Ranking(..)) && !heading && !(bold && colon) {
            return None;
        }
        let mentions = self.context.names.mentions(line);
        let first = mentions.first()?;
        if mentions.iter().any(|mention| mention.place != first.place) {
            return None;
        }
        let mut outside = String::new();
        let mut at = 0;
        for mention in &mentions {
            outside.push_str(&line[at..mention.start]);
            outside.push(' ');
            at = mention.end;
        }
        outside.push_str(&line[at..]);
        let (ordinal, _) = ranking::split_ordinal(&outside);
        let mut words = outside
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .skip(usize::from(ordinal.is_some()));
        let alone = words.all(|word| WORDS.contains(&word.to_lowercase().as_str()));
        let (_, item) = ranking::split_ordinal(line);
        let item = item.trim_matches(|c: char| !c.is_alphanumeric());
        // `- name: model-1` of a record in YAML.
        let record = line[..first.start]
            .trim_end_matches(|c: char| chars::is_blank(c) || Quote::of(c).is_some() || matches!(c, '*'))
            .strip_suffix([':', '：', '=']);
        let key = record.map(|head| head.trim_matches(|c: char| !c.is_alphanumeric()));
        let ends = !line[first.end..].contains(char::is_alphanumeric);
        if key.is_some_and(|key| ends && self.context.keys.read(key).0 == Key::Label) {
            return Some(first.place);
        }
        let named_alone = mentions.len() == 1 && item.len() == first.end - first.start;
        (alone && (heading || bold || framed || colon || named_alone)).then_some(first.place)
    }

    /// Reads a line in the section of one response; returns whether nothing else in the line is to be read.
    pub(super) fn in_response(&mut self, line: &str) -> bool {
        let Section::Response(place) = self.section else { return false };
        let mentions = self.context.names.mentions(line);
        if mentions.iter().any(|mention| mention.place != place) && beside::count_marks(line) == 0 {
            // A line about another response, or a ranking.
            let leads = mentions.first().is_some_and(|first| !line[..first.start].contains(char::is_alphanumeric));
            let chain = mentions.len() > 1 && ranking::is_chain(line, &mentions);
            if leads || chain || !self.headings(line).is_empty() {
                self.section = Section::None;
                return false;
            }
            return true;
        }
        if line.trim_start().starts_with('#')
            && self.headings(line).iter().any(|heading| matches!(heading.key, Key::Rank(_)))
        {
            self.section = Section::None;
            return false;
        }
        if let Some(value) = beside::marker(line) {
            self.found.add(place, Label::Score, score::read(value, false, self.rule));
            return true;
        }
        let cut = self.cut;
        let text = line.trim().trim_matches(|c: char| matches!(c, '*' | '-' | '•' | '>' | ' ' | '_' | '`'));
        if text.starts_with(|c: char| chars::fold(c).is_ascii_digit()) && !text.contains(char::is_alphabetic) {
            self.found.add(place, Label::Bare, score::read(text, cut, self.rule));
            return true;
        }
        let labelled = beside::labelled(line, cut, self.rule, self.context);
        for (label, _, value) in labelled {
            match label {
                Label::Rank(rank) => self.ranks.push((place, rank)),
                label => self.found.add(place, label, value),
            }
        }
        // A heading without a number, such as `Scores:` before the criteria, changes nothing; one of a ranking does.
        let ranks = self.headings(line).iter().any(|heading| matches!(heading.key, Key::Rank(_)));
        if ranks && !line.contains(char::is_numeric) {
            self.section = Section::None;
            return false;
        }
        true
    }

    /// Reads a line that gives one response its rank in words: `Best: model-3`, `2nd place: model-1`, `第一名：模型3`.
    pub(super) fn ranked(&mut self, line: &str) -> bool {
        let mentions = self.context.names.mentions(line);
        // `Best: model-3, then model-1, then model-2`.
        if mentions.len() > 1
            && mentions.len() == self.context.names.len()
            && ordinal::read(&line[..mentions[0].start], mentions.len()) == Some(1)
            && mentions.windows(2).all(|pair| ranking::is_then(&line[pair[0].end..pair[1].start]))
        {
            self.ranks.extend(mentions.iter().zip(1..).map(|(mention, rank)| (mention.place, rank)));
            return true;
        }
        let [mention] = &mentions[..] else { return false };
        let Some(rank) = ordinal::read(&line[..mention.start], self.context.names.len()) else { return false };
        if line[mention.end..].contains(char::is_alphabetic) && !line[mention.end..].contains(char::is_numeric) {
            return false;
        }
        if matches!(self.section, Section::Ranking(..)) && !line[..mention.start].contains(char::is_alphabetic) {
            return false;
        }
        self.ranks.push((mention.place, rank));
        self.numbers(&line[mention.start..], self.cut);
        true
    }

    /// Closes what the lines so far have opened.
    pub(super) fn end_section(&mut self) {
        match std::mem::replace(&mut self.section, Section::None) {
            Section::Ranking(order, items, numbers) if !items.is_empty() => self.end_ranking(order, items, numbers),
            Section::Table(table) => {
                if let Some(ranking) = table.ranking(self.context) {
                    self.reading.ranking.merge(ranking);
                }
                for (place, label, value) in table.cells {
                    self.found.add(place, label, value);
                }
            }
            _ => {}
        }
    }

    /// Whether the numbers beside all names are 1 to the number of responses.
    pub(super) fn are_ranks(&self, numbers: &[Beside]) -> bool {
        let count = self.context.names.len();
        let values = values(numbers);
        #[expect(clippy::cast_precision_loss, reason = "a number of responses")]
        let is_rank = |rank: usize| values.iter().any(|&value| (value - rank as f64).abs() < f64::EPSILON);
        let all = numbers.len() == count && values.len() == count;
        all && count > 1 && (1..=count.min(64)).all(is_rank)
    }

    /// Reads the items of a ranking. Numbers beside them are ranks if they are 1 to the number of responses, and scores
    /// if they fall.
    pub(super) fn end_ranking(&mut self, order: Order, items: Vec<String>, numbers: Vec<Beside>) {
        let values = values(&numbers);
        let ranks = self.are_ranks(&numbers);
        let falls = values.windows(2).all(|pair| pair[0] >= pair[1]);
        if ranks && order == Order::Unsaid {
            if falls {
                self.reading.ranking.fault("the numbers of the ranking may be ranks or scores".into());
                return;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank on a scale of digits")]
            self.ranks
                .extend(numbers.iter().filter_map(|number| Some((number.place, number.whole.ok()?.score as usize))));
            return;
        }
        let entries = items.into_iter().map(|item| Entry { key: None, value: Node::Text(Cow::Owned(item)) }).collect();
        self.ranking(&Node::Group(Group { object: false, entries }), order);
        let rises = values.windows(2).all(|pair| pair[0] < pair[1]);
        if ranks && rises && !falls {
            // The ordinals again.
            return;
        }
        for Beside { place, value, .. } in numbers {
            self.found.add(place, Label::Bare, value);
        }
    }
}

/// The numbers that can be read.
fn values(numbers: &[Beside]) -> Vec<f64> {
    numbers.iter().filter_map(|number| number.whole.ok()).map(|value| value.score).collect()
}
