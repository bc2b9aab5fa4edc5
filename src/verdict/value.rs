//! The score of one response in a tree: a number, text with a number, a record, or an object of several criteria.

use super::interpret::{Field, Interpreter, MAX_DEPTH, fields};
use super::keys::Key;
use super::loose;
use super::names::Match;
use super::ranking;
use super::repair::{Repair, quoted};
use super::score::{self, Read, Why};
use super::tolerant::{Entry, Group, Node};

impl Interpreter<'_> {
    /// Reads `["model-1", 4]`; returns whether it was such a pair.
    pub(super) fn pair(&mut self, group: &Group<'_>, depth: usize) -> bool {
        let [Entry { key: None, value: name }, Entry { key: None, value }, rest @ ..] = group.entries.as_slice() else {
            return false;
        };
        let name = match name {
            Node::Text(text) => text.as_ref(),
            Node::Word { text, .. } => text,
            Node::Group(_) => return false,
        };
        let Some(place) = self.context.names.resolve(name, true).place() else { return false };
        if matches!(value, Node::Group(_)) {
            return false;
        }
        self.repair(Repair::ScoreList);
        self.place_score(place, value, depth);
        self.stray(rest.iter().map(|entry| &entry.value));
        true
    }

    /// Reads `{"model": "model-1", "score": 4, "rank": 2}`; returns whether it was such a record.
    pub(super) fn record(&mut self, group: &Group<'_>, depth: usize) -> bool {
        if !group.object || group.entries.len() < 2 {
            return false;
        }
        let (mut label, mut scored, mut ranked, mut criteria) = (None, false, false, 0);
        for field in fields(group) {
            let [node] = field.nodes[..] else { continue };
            let text = match node {
                Node::Text(text) => Some(text.as_ref()),
                Node::Word { text, .. } => Some(*text),
                Node::Group(_) => None,
            };
            if matches!(self.context.names.resolve(field.key, false), Match::Exact(_)) {
                continue;
            }
            match self.context.keys.read(field.key).0 {
                Key::Label if label.is_none() => label = text,
                Key::Score | Key::Value | Key::Overall { .. } => scored = true,
                Key::Rank(_) => ranked |= text.is_some(),
                Key::Other if is_number(node) => criteria += 1,
                _ => {}
            }
        }
        let Some(label) = label.filter(|_| scored || ranked || criteria > 1) else { return false };
        let Some(place) = self.context.names.resolve(label, true).place() else {
            self.reading.dropped.push(quoted(label));
            return true;
        };
        self.repair(Repair::ScoreList);
        let value = self.object_score(place, group, depth);
        if scored || !ranked {
            self.put(place, value);
        }
        true
    }

    fn rank(&mut self, place: usize, written: &str) {
        if let Some(rank) = ranking::rank_number(written) {
            self.ranks.push((place, rank));
        }
    }

    /// Reads the score of a key that is a name.
    pub(super) fn named_score(&mut self, field: &Field<'_, '_>, depth: usize) {
        let matched = self.context.names.resolve(field.key, true);
        let (Some(place), Some((node, followers))) = (matched.place(), field.nodes.split_first()) else { return };
        if let Match::Mended(_) = matched {
            self.repair(Repair::Name(quoted(field.key)));
        }
        self.place_score(place, node, depth);
        self.stray(followers.iter().copied());
    }

    pub(super) fn place_score(&mut self, place: usize, node: &Node<'_>, depth: usize) {
        self.reading.scores.seen = true;
        if let Node::Word { text: "", .. } = node {
            return;
        }
        let value = self.score(place, node, depth);
        self.put(place, value);
    }

    pub(super) fn put(&mut self, place: usize, value: Read) {
        if self.reading.scores.put(place, self.context.names.shown(place), value) {
            self.repair(Repair::DuplicateScore);
        }
    }

    /// Reads the value of one score: a number, text with a number, or a structure that holds one.
    fn score(&mut self, place: usize, node: &Node<'_>, depth: usize) -> Read {
        let rule = self.rule;
        match node {
            Node::Word { text, cut } => {
                let value = score::read(text, *cut, rule)?;
                if !value.plain {
                    self.repair(Repair::ScoreText(quoted(text)));
                }
                Ok(value)
            }
            Node::Text(text) => {
                let value = score::read(text, false, rule)?;
                self.repair(Repair::ScoreText(quoted(text)));
                Ok(value)
            }
            Node::Group(_) if depth >= MAX_DEPTH => Err(Why::Unclear),
            Node::Group(group) if group.object => {
                self.repair(Repair::Nesting);
                self.object_score(place, group, depth)
            }
            Node::Group(group) => {
                let mut values =
                    group.entries.iter().filter_map(|entry| self.score(place, &entry.value, depth + 1).ok());
                let value = values.next().ok_or(Why::Unclear)?;
                let only = values.next().is_none();
                let others_are_remarks = group.entries.iter().filter(|entry| !is_remark(&entry.value)).count() == 1;
                self.repair(Repair::Nesting);
                if only && others_are_remarks { Ok(value) } else { Err(Why::Unclear) }
            }
        }
    }

    /// Reads the score of a response from an object of its own: the one called a score, else the overall one.
    fn object_score(&mut self, place: usize, group: &Group<'_>, depth: usize) -> Read {
        let (mut scores, mut sums, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let (mut criteria, mut total) = (Vec::new(), false);
        for field in fields(group) {
            let Some(&node) = field.nodes.first() else { continue };
            if field.nodes.len() > 1 && !field.nodes[1..].iter().all(|node| is_remark(node)) {
                return Err(Why::Unclear);
            }
            match self.context.keys.read(field.key).0 {
                Key::Score => scores.push(node),
                Key::Overall { total: sum } => {
                    total |= sum;
                    sums.push(node);
                }
                Key::Value => values.push(node),
                Key::Rank(_) => match node {
                    Node::Text(text) => self.rank(place, text),
                    Node::Word { text, .. } => self.rank(place, text),
                    Node::Group(_) => {}
                },
                Key::Other if is_number(node) => criteria.push((field.key, node)),
                _ => {}
            }
        }
        // A group of criteria under `scores` is no score if another value sums them up.
        if !sums.is_empty() || !values.is_empty() {
            scores.retain(|node| !matches!(node, Node::Group(_)));
        }
        let mut found: Option<score::Value> = None;
        let chosen = if scores.is_empty() && sums.is_empty() { values } else { [scores, sums].concat() };
        for node in chosen {
            let value = self.score(place, node, depth + 1)?;
            #[expect(clippy::float_cmp, reason = "the same digits give the same number")]
            if found.is_some_and(|other| other.score != value.score) {
                return Err(Why::Unclear);
            }
            found = Some(value);
        }
        if let (Some(value), true) = (found, total && criteria.len() > 1) {
            let parts: Vec<f64> = criteria
                .iter()
                .filter_map(|(_, node)| self.score(place, node, depth + 1).ok())
                .map(|v| v.score)
                .collect();
            if parts.len() == criteria.len() && (parts.iter().sum::<f64>() - value.score).abs() < f64::EPSILON {
                self.reading
                    .scores
                    .fault("the total is a sum of criteria that are on the profile's scale themselves".into());
                return Err(Why::Told);
            }
        }
        match found {
            Some(value) => Ok(value),
            None if criteria.is_empty() => Err(Why::Unclear),
            None => {
                self.only_criteria(criteria.iter().map(|(key, _)| *key));
                Err(Why::Told)
            }
        }
    }

    /// Looks at values without a key among the scores: a number there could belong to the score before it.
    pub(super) fn stray<'n>(&mut self, nodes: impl Iterator<Item = &'n Node<'n>>) {
        for node in nodes {
            if !is_remark(node) {
                self.reading.scores.fault("a number among the scores has no name".into());
            }
        }
    }

    /// Reads `model-1: 4, model-2: 2` out of a string.
    pub(super) fn text_pairs(&mut self, text: &str) {
        for (place, value) in loose::pairs(text, false, self.rule, self.context) {
            self.repair(Repair::ScoreList);
            self.put(place, value);
        }
    }
}

/// Whether a value without a key holds no number and no structure.
fn is_remark(node: &Node<'_>) -> bool {
    match node {
        Node::Text(text) => !text.contains(char::is_numeric),
        Node::Word { text, .. } => !text.contains(char::is_numeric),
        Node::Group(_) => false,
    }
}

/// Whether a value is a number, or text that begins with one.
fn is_number(node: &Node<'_>) -> bool {
    match node {
        Node::Text(text) => text.starts_with(|c: char| c.is_numeric()),
        Node::Word { text, .. } => text.starts_with(|c: char| c.is_numeric()),
        Node::Group(_) => false,
    }
}
