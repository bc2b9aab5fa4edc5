//! From a tree to scores and a ranking: which keys mean them, in which forms they are written, and where two readings
//! contradict each other.

use super::keys::{Key, Keys, Order};
use super::loose;
use super::names::{Match, Names};
use super::ranking;
use super::reading::{Reading, Scores, Status};
use super::repair::{Repair, quoted};
use super::score;
use super::tolerant::{self, Entry, Group, Node, Root, Work};
use crate::config::VerdictPolicy;
use crate::prompt::profile::Scale;

/// How deep structures are followed, strings that hold JSON included.
const MAX_DEPTH: usize = 8;

/// What is the same for all readings of one text.
pub(super) struct Context<'a> {
    pub(super) names: &'a Names<'a>,
    pub(super) keys: &'a Keys,
    pub(super) scale: Scale,
    pub(super) policy: &'a VerdictPolicy,
}

/// Reads one structure. `heading` is the text on the line before it, which may be its key.
pub(super) fn read(root: &Root<'_>, heading: &str, context: &Context<'_>) -> Reading {
    let mut reader = Interpreter::new(context);
    reader.reading.repairs = root.repairs.clone();
    let key = match &root.node {
        // A structure with keys of its own needs no heading.
        Node::Group(group) if !heading.is_empty() && !reader.has_own_keys(group) => context.keys.read_heading(heading),
        _ => Key::Other,
    };
    match (key, &root.node) {
        (Key::Score, node) => reader.scores(&[node], 0),
        (Key::Rank(order), node) => reader.ranking(&[node], order),
        (_, Node::Group(group)) => reader.group(group, true, 0),
        _ => {}
    }
    let mut reading = reader.finish();
    reading.template = root.ellipsis;
    reading.closed = root.closed;
    reading.end = root.end;
    reading
}

/// A key with its value and the values without a key that follow it.
struct Field<'n, 'a> {
    key: &'n str,
    nodes: Vec<&'n Node<'a>>,
}

struct Interpreter<'c> {
    context: &'c Context<'c>,
    reading: Reading,
    /// Ranks given beside the scores, by place.
    ranks: Vec<(usize, usize)>,
}

impl<'c> Interpreter<'c> {
    fn new(context: &'c Context<'c>) -> Self {
        let mut reading = Reading::default();
        reading.scores.values = vec![None; context.names.len()];
        Self { context, reading, ranks: Vec::new() }
    }

    fn repair(&mut self, repair: Repair) {
        self.reading.repairs.push(repair);
    }

    fn finish(mut self) -> Reading {
        if !self.ranks.is_empty() {
            let from_ranks = ranking::from_ranks(&self.ranks, self.context);
            // Ranks of some responses say nothing where the whole ranking is written.
            if !self.reading.ranking.seen || from_ranks.status() >= Status::Invalid {
                self.repair(Repair::RankingForm);
                self.reading.ranking.merge(from_ranks);
            }
        }
        self.reading
    }

    fn has_own_keys(&self, group: &Group<'_>) -> bool {
        group.entries.iter().any(|entry| match &entry.key {
            Some(key) => matches!(self.context.keys.read(key).0, Key::Score | Key::Rank(_)),
            None => false,
        })
    }

    /// Reads an object or list that may hold a verdict. `flat` where names in it may stand for scores.
    fn group(&mut self, group: &Group<'_>, flat: bool, depth: usize) {
        if depth > MAX_DEPTH || self.record(group, depth) {
            return;
        }
        if !group.object {
            for entry in &group.entries {
                match (&entry.key, &entry.value) {
                    (Some(key), node) => self.flat_score(key, node, depth),
                    (None, Node::Group(inner)) => {
                        self.repair(Repair::Nesting);
                        if !self.pair(inner, depth) {
                            self.group(inner, flat, depth + 1);
                        }
                    }
                    (None, Node::Text(text)) => self.in_string(text, depth),
                    (None, Node::Word { .. }) => {}
                }
            }
            return;
        }
        let fields = fields(group);
        let (mut names, mut others, mut ranked) = (Vec::new(), Vec::new(), Vec::new());
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
                Key::Rank(order) => {
                    self.note_key(field.key, own);
                    self.ranking(&field.nodes, order);
                    ranked.extend(&field.nodes);
                }
                _ => others.push((field, key == Key::Wrapper || key == Key::Label || key == Key::Value)),
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

    /// Reads names that stand beside other keys as scores. With scores under their own key, only bare numbers count:
    /// the rest are remarks.
    fn flat_scores(&mut self, names: &[&Field<'_, '_>], own_scores: bool, depth: usize) {
        for field in names {
            let Some(node) = field.nodes.first() else { continue };
            if own_scores && !matches!(node, Node::Word { text, .. } if text.starts_with(|c: char| c.is_ascii_digit()))
            {
                continue;
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

    /// Follows what stands under other keys for the fields that are still missing. What is found must agree.
    fn nested(&mut self, others: &[(&Field<'_, '_>, bool)], depth: usize) {
        let (scores_seen, ranking_seen) = (self.reading.scores.seen, self.reading.ranking.seen);
        for (field, flat) in others {
            for node in &field.nodes {
                let mut inner = Interpreter::new(self.context);
                match node {
                    Node::Group(group) => inner.group(group, *flat, depth + 1),
                    Node::Text(text) => inner.in_string(text, depth),
                    Node::Word { .. } => continue,
                }
                let inner = inner.finish();
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
        for (place, score) in other.values.into_iter().enumerate() {
            if let Some(score) = score {
                let clamped = other.clamped.contains(&place);
                self.put(place, Some(score::Value { score, plain: true, clamped }));
            }
        }
    }

    /// Reads a verdict that is written as a string.
    fn in_string(&mut self, text: &str, depth: usize) {
        let Some(start) = text.find(['{', '[']) else { return };
        let mut work = Work::for_len(text.len());
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
    fn scores(&mut self, nodes: &[&Node<'_>], depth: usize) {
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
                    let mut work = Work::for_len(text.len());
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
                Key::Score if holds_all(&field) => {
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
            for (place, (_, node)) in items.iter().enumerate() {
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

    /// Reads `["model-1", 4]`; says whether it was such a pair.
    fn pair(&mut self, group: &Group<'_>, depth: usize) -> bool {
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

    /// Reads `{"model": "model-1", "score": 4, "rank": 2}`; says whether it was such a record.
    fn record(&mut self, group: &Group<'_>, depth: usize) -> bool {
        if !group.object || group.entries.len() < 2 {
            return false;
        }
        let (mut label, mut score, mut rank) = (None, None, None);
        for field in fields(group) {
            let [node] = field.nodes[..] else { continue };
            let text = match node {
                Node::Text(text) => text.as_ref(),
                Node::Word { text, .. } => *text,
                Node::Group(_) => continue,
            };
            if matches!(self.context.names.resolve(field.key, false), Match::Exact(_)) {
                continue;
            }
            match self.context.keys.read(field.key).0 {
                Key::Label if label.is_none() => label = Some(text),
                Key::Score if score.is_some() => score = Some(None),
                Key::Score => score = Some(Some(node)),
                Key::Value if score.is_none() => score = Some(Some(node)),
                Key::Rank(_) => rank = Some(text),
                _ => {}
            }
        }
        let Some(label) = label.filter(|_| score.is_some() || rank.is_some()) else { return false };
        let Some(place) = self.context.names.resolve(label, true).place() else {
            self.reading.dropped.push(quoted(label));
            return true;
        };
        self.repair(Repair::ScoreList);
        match score {
            Some(Some(node)) => self.place_score(place, node, depth),
            Some(None) => self.reading.scores.fault(format!("{} has two scores", self.context.names.shown(place))),
            None => {}
        }
        if let Some(rank) = rank {
            self.rank(place, rank);
        }
        true
    }

    fn rank(&mut self, place: usize, written: &str) {
        if let Some(rank) = ranking::rank_number(written) {
            self.ranks.push((place, rank));
        }
    }

    /// Reads the score of a key that is a name.
    fn named_score(&mut self, field: &Field<'_, '_>, depth: usize) {
        let matched = self.context.names.resolve(field.key, true);
        let (Some(place), Some((node, followers))) = (matched.place(), field.nodes.split_first()) else { return };
        if let Match::Mended(_) = matched {
            self.repair(Repair::Name(quoted(field.key)));
        }
        self.place_score(place, node, depth);
        self.stray(followers.iter().copied());
    }

    fn place_score(&mut self, place: usize, node: &Node<'_>, depth: usize) {
        self.reading.scores.seen = true;
        if let Node::Word { text: "", .. } = node {
            return;
        }
        let value = self.score(place, node, depth);
        self.put(place, value);
    }

    fn put(&mut self, place: usize, value: Option<score::Value>) {
        if self.reading.scores.put(place, self.context.names.shown(place), value) {
            self.repair(Repair::DuplicateScore);
        }
    }

    /// Reads the value of one score: a number, text with a number, or a structure that holds one.
    fn score(&mut self, place: usize, node: &Node<'_>, depth: usize) -> Option<score::Value> {
        let (scale, clamp) = (self.context.scale, self.context.policy.clamp);
        match node {
            Node::Word { text, cut } => {
                let value = score::read(text, *cut, scale, clamp)?;
                if !value.plain {
                    self.repair(Repair::ScoreText(quoted(text)));
                }
                Some(value)
            }
            Node::Text(text) => {
                let value = score::read(text, false, scale, clamp)?;
                self.repair(Repair::ScoreText(quoted(text)));
                Some(value)
            }
            Node::Group(_) if depth >= MAX_DEPTH => None,
            Node::Group(group) if group.object => {
                let mut found: Option<score::Value> = None;
                for field in fields(group) {
                    let Some(node) = field.nodes.first() else { continue };
                    match self.context.keys.read(field.key).0 {
                        Key::Score | Key::Value => {
                            let value = self.score(place, node, depth + 1)?;
                            #[expect(clippy::float_cmp, reason = "the same digits give the same number")]
                            if found.is_some_and(|other| other.score != value.score) || field.nodes.len() > 1 {
                                return None;
                            }
                            found = Some(value);
                        }
                        Key::Rank(_) => match node {
                            Node::Text(text) => self.rank(place, text),
                            Node::Word { text, .. } => self.rank(place, text),
                            Node::Group(_) => {}
                        },
                        _ => {}
                    }
                }
                self.repair(Repair::Nesting);
                found
            }
            Node::Group(group) => {
                let mut values = group.entries.iter().filter_map(|entry| self.score(place, &entry.value, depth + 1));
                let value = values.next()?;
                let only = values.next().is_none();
                let others_are_remarks = group.entries.iter().filter(|entry| !is_remark(&entry.value)).count() == 1;
                self.repair(Repair::Nesting);
                (only && others_are_remarks).then_some(value)
            }
        }
    }

    /// Looks at what stands among scores without a key: a number there could belong to the score before it.
    fn stray<'n>(&mut self, nodes: impl Iterator<Item = &'n Node<'n>>) {
        for node in nodes {
            if !is_remark(node) {
                self.reading.scores.fault("a number stands among the scores without a name".into());
            }
        }
    }

    /// Reads `model-1: 4, model-2: 2` out of a string.
    fn text_pairs(&mut self, text: &str) {
        for (place, value) in loose::pairs(text, false, self.context) {
            self.repair(Repair::ScoreList);
            self.put(place, value);
        }
    }

    fn ranking(&mut self, nodes: &[&Node<'_>], order: Order) {
        let found = ranking::read(nodes, order, self.context);
        self.reading.dropped.extend(found.dropped);
        self.reading.repairs.extend(found.repairs);
        self.reading.ranking.merge(found.ranking);
    }
}

/// The keys of an object, each with its value and the values without a key that follow it.
fn fields<'n, 'a>(group: &'n Group<'a>) -> Vec<Field<'n, 'a>> {
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

/// Whether a key that means a score holds those of all responses and not one number.
fn holds_all(field: &Field<'_, '_>) -> bool {
    field.nodes.len() > 1
        || match field.nodes.first() {
            Some(Node::Word { text, .. }) => !text.starts_with(|c: char| c.is_ascii_digit()),
            Some(_) => true,
            None => false,
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
