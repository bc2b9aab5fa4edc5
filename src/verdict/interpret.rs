//! From a tree to scores and a ranking: which keys mean them, in which forms they are written, and where two readings
//! contradict each other.

use super::amend;
use super::chars;
use super::keys::{Key, Keys, Order};
use super::names::{Match, Names};
use super::ranking;
use super::reading::{Reading, Scores, Status};
use super::repair::{Repair, quoted};
use super::scale;
use super::score::{self, Rule};
use super::tolerant::{self, Group, Node, Root, Work};

/// How deep structures are followed, including strings that hold JSON.
pub(super) const MAX_DEPTH: usize = 8;

/// Shared by all readings of one text.
pub(super) struct Context<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) keys: &'a Keys,
    /// How scores are read if the text names no scale.
    pub(super) rule: Rule,
}

/// Reads one structure. `heading` is the text on the line before it, which may be its key.
pub(super) fn read(root: &Root<'_>, heading: &str, context: &Context<'_>) -> Reading {
    let mut reader = Interpreter::new(context);
    reader.reading.repairs = root.repairs.clone();
    reader.find_scale(&root.node, heading);
    let key = match &root.node {
        // A structure with its own keys needs no heading.
        Node::Group(group) if !heading.is_empty() && !reader.has_own_keys(group) => context.keys.read_heading(heading),
        _ => Key::Other,
    };
    match (key, &root.node) {
        (Key::Score | Key::Overall { .. }, node) => reader.scores(&[node], 0),
        (Key::Rank(order), node) => reader.ranking(&[node], order),
        (_, Node::Group(group)) => reader.group(group, true, 0),
        _ => {}
    }
    let mut reading = reader.finish();
    let chosen = amend::Chosen { scores: &reading.scores.values, ranking: reading.ranking.only() };
    if root.amended || amend::is_in_tree(&root.node, chosen, context) {
        reading.doubt(amend::FAULT);
    }
    reading.template = root.ellipsis;
    reading.closed = root.closed;
    reading.end = root.end;
    reading
}

/// A key with its value and the values without a key that follow it.
pub(super) struct Field<'n, 'a> {
    pub(super) key: &'n str,
    pub(super) nodes: Vec<&'n Node<'a>>,
}

pub(super) struct Interpreter<'c> {
    pub(super) context: &'c Context<'c>,
    /// How scores are read, with the scale that the structure names.
    pub(super) rule: Rule,
    pub(super) reading: Reading,
    /// Ranks given next to the scores, by place.
    pub(super) ranks: Vec<(usize, usize)>,
    /// Whether scores were read from a list without names.
    positional: bool,
    /// The responses in the order of a list beside the scores, if there is one: `"models": [...], "scores": [...]`.
    columns: Option<Vec<usize>>,
}

impl<'c> Interpreter<'c> {
    fn new(context: &'c Context<'c>) -> Self {
        let reading = Reading { scores: Scores::of(context.names.len()), ..Reading::default() };
        Self { context, rule: context.rule, reading, ranks: Vec::new(), positional: false, columns: None }
    }

    /// A reader for something inside; what it finds must agree with the rest.
    fn inner(&self) -> Self {
        Self { rule: self.rule, ..Self::new(self.context) }
    }

    /// Looks for the scale that a structure names in its keys, next to its scores or in the heading before it.
    fn find_scale(&mut self, node: &Node<'_>, heading: &str) {
        let mut seen = scale::Seen::default();
        seen.add(scale::named(heading));
        scale::in_tree(node, self.context.keys, &mut seen);
        if seen.several {
            self.reading.scores.fault("the scores are said to be on two scales".into());
            self.reading.scores.seen = false;
        }
        self.rule.named = seen.named.or(self.rule.named);
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        self.reading.repairs.push(repair);
    }

    fn finish(mut self) -> Reading {
        if !self.ranks.is_empty() {
            let from_ranks = ranking::from_ranks(&self.ranks, self.context.names.len());
            // Ranks of some responses mean nothing if the whole ranking is written.
            if !self.reading.ranking.seen || from_ranks.status() >= Status::Invalid {
                self.repair(Repair::RankingForm);
                self.reading.ranking.merge(from_ranks);
            }
        }
        self.reading.ranks = self.ranks;
        self.reading
    }

    fn has_own_keys(&self, group: &Group<'_>) -> bool {
        group.entries.iter().any(|entry| match &entry.key {
            Some(key) => {
                matches!(self.context.keys.read(key).0, Key::Score | Key::Overall { .. } | Key::Rank(_))
            }
            None => false,
        })
    }

    /// Reads an object or list that may hold a verdict. `flat`: names in it may stand for scores.
    fn group(&mut self, group: &Group<'_>, flat: bool, depth: usize) {
        if is_thought(group) {
            self.reading.thought = true;
            return;
        }
        if depth > MAX_DEPTH || self.record(group, depth) {
            return;
        }
        if !group.object {
            for entry in &group.entries {
                match (&entry.key, &entry.value) {
                    (Some(key), node) => self.flat_score(key, node, depth),
                    (None, Node::Group(inner)) => {
                        self.repair(Repair::Nesting);
                        if self.pair(inner, depth) || is_thought(inner) || self.record(inner, depth + 1) {
                            continue;
                        }
                        let mut reader = self.inner();
                        reader.group(inner, flat, depth + 1);
                        self.absorb(reader);
                    }
                    (None, Node::Text(text)) => {
                        let mut reader = self.inner();
                        reader.in_string(text, depth);
                        self.absorb(reader);
                    }
                    (None, Node::Word { .. }) => {}
                }
            }
            return;
        }
        let fields = fields(group);
        self.columns = self.columns(&fields);
        let (mut names, mut others, mut ranked) = (Vec::new(), Vec::new(), Vec::new());
        let (mut sums, mut criteria) = (Vec::new(), Vec::new());
        let mut own_scores = false;
        for field in &fields {
            let (key, own) = self.context.keys.read(field.key);
            let is_name = !own && self.context.names.resolve(field.key, false).place().is_some();
            match key {
                _ if is_name => names.push(field),
                Key::Score if holds_all(field) => {
                    own_scores = true;
                    self.note_key(field.key, own);
                    self.scores(&field.nodes, depth + 1);
                }
                Key::Rank(_) if self.column_of_ranks(&field.nodes) => self.note_key(field.key, own),
                Key::Rank(order) => {
                    self.note_key(field.key, own);
                    self.ranking(&field.nodes, order);
                    ranked.extend(&field.nodes);
                }
                Key::Thought => self.reading.thought = true,
                Key::Other if counts_else(field) => {
                    self.reading.scores.fault("the numbers are said to count something else than scores".into());
                }
                Key::Overall { .. } | Key::Marks if self.is_numeric(field) => sums.push(field),
                Key::Other if self.is_numeric(field) => criteria.push(field),
                _ => others.push((field, key == Key::Wrapper || key == Key::Label || key == Key::Value)),
            }
        }
        // The overall score over several criteria is the score; one criterion alone is not.
        if own_scores {
            for field in sums {
                self.compare_sum(field, depth);
            }
        } else {
            for field in sums {
                own_scores = true;
                self.note_key(field.key, false);
                self.scores(&field.nodes, depth + 1);
            }
        }
        if !self.reading.scores.seen {
            self.ranked_records(&ranked, depth);
        }
        if flat || own_scores || self.reading.ranking.seen {
            self.flat_scores(&names, own_scores, depth);
        }
        if !self.reading.scores.seen || !self.reading.ranking.seen {
            self.nested(&others, depth);
        }
        if !self.reading.scores.seen && !criteria.is_empty() {
            self.only_criteria(criteria.iter().map(|field| field.key));
        }
    }

    /// Notes that there are scores for these criteria and no overall score.
    pub(super) fn only_criteria<'k>(&mut self, criteria: impl Iterator<Item = &'k str>) {
        let names: Vec<String> = criteria.take(8).map(quoted).collect();
        let fault = format!("scores are written for {}, but none sums them up", names.join(", "));
        self.reading.scores.fault(fault);
    }

    /// Compares an overall score beside the scores with them: two that differ are two verdicts.
    fn compare_sum(&mut self, field: &Field<'_, '_>, depth: usize) {
        let mut sum = self.inner();
        sum.scores(&field.nodes, depth + 1);
        if sum.reading.scores.status() == Status::Complete && self.reading.disputes(&sum.reading) {
            self.reading.scores.fault(format!("{} gives other scores than the scores", quoted(field.key)));
        }
    }

    /// The order of the responses in a list of all names that is no ranking, beside lists without names.
    fn columns(&self, fields: &[Field<'_, '_>]) -> Option<Vec<usize>> {
        let count = self.context.names.len();
        fields.iter().find_map(|field| {
            let [Node::Group(list)] = field.nodes[..] else { return None };
            let key = self.context.keys.read(field.key).0;
            if list.object
                || list.entries.len() != count
                || matches!(key, Key::Rank(_) | Key::Score | Key::Overall { .. })
            {
                return None;
            }
            let place = |entry: &tolerant::Entry<'_>| match &entry.value {
                Node::Text(text) if entry.key.is_none() => self.context.names.resolve(text, false).place(),
                _ => None,
            };
            let places: Vec<usize> = list.entries.iter().map(place).collect::<Option<_>>()?;
            let mut seen = vec![false; count];
            places.iter().all(|&place| !std::mem::replace(&mut seen[place], true)).then_some(places)
        })
    }

    /// Reads a list of ranks in the order of a list of names beside it; returns whether it is one.
    fn column_of_ranks(&mut self, nodes: &[&Node<'_>]) -> bool {
        let (Some(places), [Node::Group(list)]) = (&self.columns, nodes) else { return false };
        let rank = |entry: &tolerant::Entry<'_>| match &entry.value {
            Node::Word { text, .. } if entry.key.is_none() => ranking::rank_number(text),
            _ => None,
        };
        let Some(ranks) = list.entries.iter().map(rank).collect::<Option<Vec<usize>>>() else { return false };
        if list.object || ranks.len() != places.len() {
            return false;
        }
        self.ranks.extend(places.iter().copied().zip(ranks));
        true
    }

    /// Whether a field gives every name in it a number.
    fn is_numeric(&self, field: &Field<'_, '_>) -> bool {
        let [Node::Group(group)] = field.nodes[..] else { return false };
        let number = |node: &Node<'_>| match node {
            Node::Text(text) => text.starts_with(|c: char| chars::fold(c).is_ascii_digit()),
            Node::Word { text, .. } => text.starts_with(|c: char| chars::fold(c).is_ascii_digit()),
            Node::Group(_) => false,
        };
        group.object
            && !group.entries.is_empty()
            && group.entries.iter().all(|entry| {
                let name = entry.key.as_deref().is_some_and(|key| self.context.names.resolve(key, true) != Match::None);
                name && number(&entry.value)
            })
    }

    /// Takes over what an inner reader found.
    fn absorb(&mut self, inner: Self) {
        let Self { reading, ranks, .. } = inner;
        self.ranks.extend(ranks);
        self.reading.thought |= reading.thought;
        if reading.is_empty() {
            return;
        }
        self.reading.repairs.extend(reading.repairs);
        self.reading.dropped.extend(reading.dropped);
        self.merge_scores(reading.scores);
        self.reading.ranking.merge(reading.ranking);
    }

    /// Reads the scores of a ranking that is a list of records: `{"rank": 1, "model": "model-3", "score": 5}`.
    fn ranked_records(&mut self, lists: &[&Node<'_>], depth: usize) {
        for list in lists {
            let Node::Group(list) = list else { continue };
            for entry in &list.entries {
                if let (None, Node::Group(record)) = (&entry.key, &entry.value) {
                    self.record(record, depth);
                }
            }
        }
    }

    /// Reads names beside other keys as scores. If the scores have a key of their own, only bare numbers count: the
    /// rest are remarks.
    fn flat_scores(&mut self, names: &[&Field<'_, '_>], own_scores: bool, depth: usize) {
        for field in names {
            let Some(node) = field.nodes.first() else { continue };
            if own_scores && !matches!(node, Node::Word { text, .. } if text.starts_with(|c: char| c.is_ascii_digit()))
            {
                continue;
            }
            if self.positional {
                self.reading.scores.fault("some scores have names and some do not".into());
            }
            self.repair(Repair::Nesting);
            self.named_score(field, depth);
        }
    }

    fn flat_score(&mut self, key: &str, node: &Node<'_>, depth: usize) {
        if self.context.names.resolve(key, false).place().is_some() {
            self.repair(Repair::Nesting);
            self.named_score(&Field { key, nodes: vec![node] }, depth);
        }
    }

    /// Looks under other keys for the fields that are still missing. Everything found must agree.
    fn nested(&mut self, others: &[(&Field<'_, '_>, bool)], depth: usize) {
        let (scores_seen, ranking_seen) = (self.reading.scores.seen, self.reading.ranking.seen);
        for (field, flat) in others {
            for node in &field.nodes {
                let mut inner = self.inner();
                match node {
                    Node::Group(group) => inner.group(group, *flat, depth + 1),
                    Node::Text(text) => inner.in_string(text, depth),
                    Node::Word { .. } => continue,
                }
                let inner = inner.finish();
                self.reading.thought |= inner.thought;
                if inner.is_empty() {
                    continue;
                }
                self.repair(Repair::Nesting);
                self.reading.repairs.extend(inner.repairs);
                self.reading.dropped.extend(inner.dropped);
                if !scores_seen {
                    self.merge_scores(inner.scores);
                }
                if !ranking_seen {
                    self.reading.ranking.merge(inner.ranking);
                }
            }
        }
    }

    fn merge_scores(&mut self, other: Scores) {
        self.reading.scores.seen |= other.seen;
        self.reading.scores.faults.extend(other.faults);
        self.reading.scores.clamped.extend(other.clamped);
        for (place, score) in other.values {
            self.put(place, Ok(score::Value { score, plain: true, clamped: false, from: other.rescaled }));
        }
    }

    /// Reads a verdict that is written as a string.
    fn in_string(&mut self, text: &str, depth: usize) {
        let Some(start) = text.find(['{', '[']) else { return };
        let mut work = Work::for_len(text.len(), self.context.names.len());
        if depth >= MAX_DEPTH || !tolerant::opens_structure(text, start, self.context.names.longest()) {
            return;
        }
        if let Ok(root) = tolerant::read(text, start, &mut work)
            && let Node::Group(group) = &root.node
        {
            self.repair(Repair::Unescaped);
            self.reading.repairs.extend(root.repairs);
            self.group(group, true, depth + 1);
        }
    }

    fn note_key(&mut self, key: &str, own: bool) {
        if !own {
            self.repair(Repair::Key(quoted(key)));
        }
    }

    /// Reads the value of a key that means scores, with what follows it without a key.
    pub(super) fn scores(&mut self, nodes: &[&Node<'_>], depth: usize) {
        let Some((first, followers)) = nodes.split_first() else { return };
        if depth > MAX_DEPTH {
            return;
        }
        match first {
            // `"scores": "model-1": 4`: the entries follow flat.
            Node::Word { text: "", cut: false } if followers.is_empty() => {}
            Node::Group(group) if group.object => {
                self.reading.scores.seen = true;
                self.score_object(group, depth);
                self.stray(followers.iter().copied());
            }
            Node::Group(group) => {
                self.reading.scores.seen = true;
                let entries = group.entries.iter().map(|entry| (entry.key.as_deref(), &entry.value));
                self.score_list(&entries.chain(followers.iter().map(|node| (None, *node))).collect::<Vec<_>>(), depth);
            }
            Node::Text(text) if followers.is_empty() => {
                self.reading.scores.seen = true;
                if text.contains(['{', '[']) {
                    self.repair(Repair::Unescaped);
                    let mut work = Work::for_len(text.len(), self.context.names.len());
                    let start = text.find(['{', '[']).unwrap_or(0);
                    if let Ok(root) = tolerant::read(text, start, &mut work) {
                        self.reading.repairs.extend(root.repairs.clone());
                        self.scores(&[&root.node], depth + 1);
                    }
                } else {
                    self.text_pairs(text);
                }
            }
            Node::Word { text: "", .. } => self.reading.scores.seen = true,
            _ => {
                let items: Vec<_> = nodes.iter().map(|node| (None, *node)).collect();
                self.score_list(&items, depth);
            }
        }
    }

    fn score_object(&mut self, group: &Group<'_>, depth: usize) {
        if self.record(group, depth) {
            return;
        }
        self.stray(group.entries.iter().take_while(|entry| entry.key.is_none()).map(|entry| &entry.value));
        for field in fields(group) {
            if self.context.names.resolve(field.key, true) != Match::None {
                self.named_score(&field, depth);
                continue;
            }
            match self.context.keys.read(field.key).0 {
                Key::Rank(order) if !matches!(field.nodes.first(), Some(Node::Word { .. })) => {
                    self.repair(Repair::Bracket);
                    self.ranking(&field.nodes, order);
                }
                Key::Score | Key::Overall { .. } if holds_all(&field) => {
                    self.repair(Repair::Nesting);
                    self.scores(&field.nodes, depth + 1);
                }
                _ => {
                    self.reading.dropped.push(quoted(field.key));
                    self.stray(field.nodes.iter().skip(1).copied());
                }
            }
        }
    }

    /// Reads scores written as a list: pairs, records, single-entry objects, or numbers in the order shown.
    fn score_list(&mut self, items: &[(Option<&str>, &Node<'_>)], depth: usize) {
        self.reading.scores.seen = true;
        let scalar = |node: &Node<'_>| !matches!(node, Node::Group(_));
        let number = |node: &Node<'_>| {
            let text = match node {
                Node::Text(text) => text.as_ref(),
                Node::Word { text, .. } => text,
                Node::Group(_) => return false,
            };
            text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        };
        if items.iter().all(|(key, node)| key.is_none() && scalar(node)) && items.iter().any(|(_, node)| number(node)) {
            if items.len() != self.context.names.len() {
                let count = items.len();
                self.reading
                    .scores
                    .fault(format!("{count} scores without names for {} responses", self.context.names.len()));
                return;
            }
            self.repair(Repair::PositionalScores);
            self.positional = true;
            for (place, (_, node)) in items.iter().enumerate() {
                let place = self.columns.as_ref().map_or(place, |places| places[place]);
                self.place_score(place, node, depth);
            }
            return;
        }
        self.repair(Repair::ScoreList);
        for (key, node) in items {
            match (key, node) {
                (Some(key), node) => {
                    if self.context.names.resolve(key, true) == Match::None {
                        self.reading.dropped.push(quoted(key));
                    } else {
                        self.named_score(&Field { key, nodes: vec![node] }, depth);
                    }
                }
                (None, Node::Group(group)) if group.object => self.score_object(group, depth + 1),
                (None, Node::Group(group)) => {
                    if !self.pair(group, depth) {
                        self.reading.scores.fault("a list among the scores is not a name and a score".into());
                    }
                }
                (None, Node::Text(text)) => self.text_pairs(text),
                (None, Node::Word { text, .. }) => self.text_pairs(text),
            }
        }
    }

    pub(super) fn ranking(&mut self, nodes: &[&Node<'_>], order: Order) {
        let found = ranking::read(nodes, order, self.context);
        self.reading.dropped.extend(found.dropped);
        self.reading.repairs.extend(found.repairs);
        self.reading.ranking.merge(found.ranking);
    }
}

/// The keys of an object, each with its value and the values without a key that follow it.
pub(super) fn fields<'n, 'a>(group: &'n Group<'a>) -> Vec<Field<'n, 'a>> {
    let mut fields: Vec<Field<'n, 'a>> = Vec::with_capacity(group.entries.len());
    for entry in &group.entries {
        match (&entry.key, fields.last_mut()) {
            (Some(key), _) => fields.push(Field { key, nodes: vec![&entry.value] }),
            (None, Some(last)) => last.nodes.push(&entry.value),
            // A structure without a key at the start of an object: doubled brackets.
            (None, None) if matches!(entry.value, Node::Group(_)) => {
                fields.push(Field { key: "", nodes: vec![&entry.value] });
            }
            (None, None) => {}
        }
    }
    fields
}

/// Whether a key that means a score holds the scores of all responses, not one number.
fn holds_all(field: &Field<'_, '_>) -> bool {
    field.nodes.len() > 1
        || match field.nodes.first() {
            Some(Node::Word { text, .. }) => !text.starts_with(|c: char| c.is_ascii_digit()),
            Some(_) => true,
            None => false,
        }
}

/// Whether a field says that the numbers beside it are no scores: `"unit": "errors"`.
fn counts_else(field: &Field<'_, '_>) -> bool {
    const KEYS: &[&str] = &["unit", "units", "metric", "measure", "counting"];
    const COUNTED: &[&str] =
        &["error", "mistake", "word", "token", "character", "count", "number of", "second", "loss", "distance"];
    let [Node::Text(text)] = field.nodes[..] else { return false };
    let text = text.to_lowercase();
    KEYS.iter().any(|key| field.key.eq_ignore_ascii_case(key)) && COUNTED.iter().any(|counted| text.contains(counted))
}

/// Whether an object is a block of reasoning, as some servers write it, `{"type": "thinking", …}`, or says that it is a draft:
/// `{"status": "draft", …}`.
fn is_thought(group: &Group<'_>) -> bool {
    group.object
        && group.entries.iter().any(|entry| {
            let Some(key) = entry.key.as_deref() else { return false };
            match &entry.value {
                Node::Text(text) => key == "type" && is_thought_type(text) || key == "status" && is_draft(text),
                Node::Word { text, .. } => {
                    key == "thought" && text.eq_ignore_ascii_case("true")
                        || matches!(key, "is_final" | "isFinal" | "final") && text.eq_ignore_ascii_case("false")
                }
                Node::Group(_) => false,
            }
        })
}

fn is_draft(status: &str) -> bool {
    ["draft", "preliminary", "tentative", "provisional", "example", "template"]
        .iter()
        .any(|word| status.eq_ignore_ascii_case(word))
}

/// Whether the type of a block of content says that it is reasoning.
pub(super) fn is_thought_type(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    ["think", "reasoning", "thought", "summary_text", "analysis"].iter().any(|word| kind.contains(word))
}
