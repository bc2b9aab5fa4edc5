//! The verdict grammar: exactly the complete verdicts of one request, in the one layout that the profile shows.
//!
//! There is one layout and no free white space, so nine of ten tokens are forced and need no sampling. A grammar is a row of
//! `Part`s, which each engine gets in the notation of its own guide. In llguidance's Lark dialect, one parametric rule over the
//! set of used names encodes the permutation. xgrammar's EBNF has no parameters, so each set is a separate rule, and long
//! rankings are written in several stages. llama.cpp's GBNF is EBNF with other rule names.

#[cfg(feature = "remote")]
mod choices;
mod notation;

#[cfg(feature = "remote")]
pub use choices::{Choices, Filling};
pub use notation::gbnf_reasoning;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decode::marks::Marks;
use crate::decode::score::MOST_UNSEEN;
use crate::prompt::profile::{Scale, VerdictForm, VerdictKind};

/// Alternatives that the ranking of one stage may have in EBNF: eight names at once, three of sixteen.
const MAX_ALTERNATIVES: u64 = 1024;

/// The verdicts of one request.
///
/// As text: `lead`, the layout up to the scores, `"name": score` for each name in the order shown, the layout up to the
/// ranking, the names in any order, the rest of the layout. A layout of one or two scores or of a list has these alone. A choice is a
/// score too, written as a letter.
///
/// If one score can begin with another one, as 10 does with 1, the last score needs something after it that ends it: without that, a
/// judge that wrote 1 could only stop or go on to 10. So the text up to what would come next belongs to such a verdict.
///
/// Clones share their texts: the engine holds one, and whoever reads the verdict another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VerdictGrammar {
    texts: Arc<Texts>,
    /// Whether the judge writes the ranking; otherwise the verdict ends after the last score.
    ranks: bool,
    marks: Marks,
}

/// The texts of a verdict around its scores.
#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Texts {
    /// `literals[i]` is the text before score `i`.
    literals: Vec<String>,
    /// Between the last score and the first name of the ranking.
    between: String,
    /// The names as they stand in the ranking, quoted.
    names: Vec<String>,
    /// After the ranking.
    end: String,
}

/// A row of parts: the text that a guide admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grammar {
    parts: Vec<Part>,
    marks: Marks,
}

/// A part of a grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This text.
    Literal(String),
    /// A score.
    Score,
    /// `take` of these names, each at most once, separated by commas.
    Names {
        /// The names, quoted.
        names: Vec<String>,
        /// How many are written; all of them make a permutation.
        take: usize,
    },
}

/// What can be written under one EBNF guide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// What is admitted.
    pub grammar: Grammar,
    /// Whether the verdict is complete after it.
    pub last: bool,
    /// An example of it, for measuring: no other is much longer.
    pub example: String,
}

/// What was written of a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The scores, in the order shown; of a choice, 0 for `A` and 1 for `B`.
    pub scores: Vec<u8>,
    /// Places of the names ranked so far.
    pub ranked: Vec<usize>,
}

/// How far the scores of an answer have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Those that are complete, in the order shown.
    pub scores: Vec<u8>,
    /// Where the answer stands.
    pub at: Place,
}

/// A place in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The next score begins in so many bytes.
    Before(usize),
    /// These digits are the beginning of several scores; they may be one themselves.
    Within(Vec<u8>),
    /// All scores are complete.
    Past,
}

impl VerdictGrammar {
    /// The grammar of a verdict on the `shown` names. `lead` is what comes before the layout.
    pub fn new(form: &VerdictForm, scale: Scale, lead: &str, shown: &[String]) -> Self {
        let names: Vec<_> = shown.iter().map(|name| quoted(name)).collect();
        let (pieces, kind) = (form.pieces(), form.kind());
        let numbers = Marks::Numbers(scale);
        let (&[before, between, end], VerdictKind::Table) = (&pieces[..], kind) else {
            let (end, before) = pieces.split_last().expect("there is a text before a mark and one after it");
            let mut literals: Vec<String> = before.iter().map(ToString::to_string).collect();
            if kind == VerdictKind::List {
                literals.resize(names.len(), ", ".into());
            }
            if let Some(first) = literals.first_mut() {
                first.insert_str(0, lead);
            }
            let marks = if kind == VerdictKind::Choice { Marks::Letters } else { numbers };
            let texts = Texts { literals, between: String::new(), names, end: (*end).into() };
            return Self { texts: Arc::new(texts), ranks: false, marks };
        };
        let literal = |(place, name): (usize, &String)| {
            let name = name.as_str();
            if place == 0 { [lead, before, name, ": "].concat() } else { [", ", name, ": "].concat() }
        };
        let literals = names.iter().enumerate().map(literal).collect();
        let texts = Texts { literals, between: between.into(), names, end: end.into() };
        Self { texts: Arc::new(texts), ranks: true, marks: numbers }
    }

    /// The same verdicts up to their last score.
    #[must_use]
    pub fn without_ranking(self) -> Self {
        Self { ranks: false, ..self }
    }

    /// How its scores are written.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The names as they stand in a verdict, quoted, in the order shown.
    pub fn names(&self) -> &[String] {
        &self.texts.names
    }

    /// Number of scores.
    pub fn len(&self) -> usize {
        self.texts.literals.len()
    }

    /// Whether there is no score; never the case for a checked request.
    pub fn is_empty(&self) -> bool {
        self.texts.literals.is_empty()
    }

    /// Whether the judge writes a ranking.
    pub fn ranks(&self) -> bool {
        self.ranks
    }

    /// Byte offset, from the start of `lead`, of the score at `place` in the order shown; `None` past the last, and if it depends on
    /// what was written, because scores can have one byte or more.
    pub fn score_offset(&self, place: usize) -> Option<usize> {
        let literals = self.texts.literals.get(..=place).filter(|_| self.marks.is_one_byte())?;
        Some(literals.iter().map(String::len).sum::<usize>() + place)
    }

    /// Where the scores of an answer (from the start of `lead`) stand in it, in bytes; `None` unless it has them all.
    pub fn score_places(&self, answer: &str) -> Option<Vec<std::ops::Range<usize>>> {
        let mut end = 0;
        let mut places = Vec::with_capacity(self.texts.literals.len());
        for literal in &self.texts.literals {
            let start = end + answer.get(end..)?.strip_prefix(literal.as_str()).map(|_| literal.len())?;
            let run = self.marks.run(&answer.as_bytes()[start..]);
            end = start + run;
            self.marks.read(&answer.as_bytes()[start..end])?;
            places.push(start..end);
        }
        Some(places)
    }

    /// How far the scores have come in `answer` (from the start of `lead`); `None` if it has left the grammar.
    pub fn progress(&self, answer: &[u8]) -> Option<Progress> {
        let mut scores = Vec::with_capacity(self.texts.literals.len());
        let mut rest = answer;
        for literal in &self.texts.literals {
            let Some(after) = rest.strip_prefix(literal.as_bytes()) else {
                let ahead = literal.as_bytes().strip_prefix(rest)?.len();
                return Some(Progress { scores, at: Place::Before(ahead) });
            };
            let digits = &after[..self.marks.run(after)];
            if digits.is_empty() && after.is_empty() {
                return Some(Progress { scores, at: Place::Before(0) });
            }
            if digits.len() == after.len() && self.marks.goes_on(digits) {
                return Some(Progress { scores, at: Place::Within(digits.to_vec()) });
            }
            scores.push(self.marks.read(digits)?);
            rest = &after[digits.len()..];
        }
        Some(Progress { scores, at: Place::Past })
    }

    /// The text right before the score at `place`, and right after it; none after the last one if nothing is written there.
    pub fn around_score(&self, place: usize) -> Option<(&str, &str)> {
        let before = self.texts.literals.get(place)?;
        let last = if self.ranks { self.texts.between.as_str() } else { self.tail() };
        Some((before, self.texts.literals.get(place + 1).map_or(last, String::as_str)))
    }

    /// One verdict of this grammar, for measuring: no other is longer.
    pub fn example(&self) -> String {
        self.whole().example()
    }

    /// Most tokens that an engine feeds at once only to see what would come after the beginning of a score.
    pub fn looks_ahead(&self) -> usize {
        if self.marks.is_prefix_free() { 0 } else { MOST_UNSEEN }
    }

    /// Every complete verdict.
    pub fn whole(&self) -> Grammar {
        let mut parts = self.scores();
        if !self.ranks {
            parts.extend(literal(self.tail()));
            return self.of(parts);
        }
        parts.push(Part::Literal(self.texts.between.clone()));
        parts.push(self.permutation(&(0..self.texts.names.len()).collect::<Vec<_>>()));
        parts.push(Part::Literal(self.texts.end.clone()));
        self.of(parts)
    }

    /// The grammar after all `scores` (in the order shown) are written: only rankings that put no lower score before a
    /// higher one. `written` is the length of the verdict so far, in bytes from the start of `lead`.
    pub fn consistent_tail(&self, scores: &[u8], written: usize) -> Grammar {
        // The token of the last score may include bytes of the literal that follows it, but never more than that.
        let between = self.texts.between.get(written.saturating_sub(self.scores_end(scores))..).unwrap_or_default();
        let mut parts: Vec<_> = literal(between).into_iter().collect();
        for (index, group) in Self::groups(scores).into_iter().enumerate() {
            if index > 0 {
                parts.push(Part::Literal(", ".into()));
            }
            parts.push(self.permutation(&group));
        }
        parts.push(Part::Literal(self.texts.end.clone()));
        self.of(parts)
    }

    /// What can be written next under one EBNF guide. A stage ends where the next one depends on what was written: after
    /// the scores if the ranking must agree with them (`consistent`), and within a ranking too long for one guide.
    pub fn stage(&self, written: &Written, consistent: bool) -> Stage {
        let mut parts = Vec::new();
        if written.scores.is_empty() {
            parts = self.scores();
            if !self.ranks {
                parts.extend(literal(self.tail()));
                return self.staged(parts, true);
            }
            if consistent {
                // What ends the last score, if its own last digit does not.
                let between = if self.marks.is_prefix_free() { "" } else { self.texts.between.as_str() };
                parts.extend(literal(between));
                return self.staged(parts, false);
            }
        }
        let has_between = !written.scores.is_empty() && !self.marks.is_prefix_free();
        if written.ranked.is_empty() && !has_between {
            parts.push(Part::Literal(self.texts.between.clone()));
        }
        let groups =
            if consistent { Self::groups(&written.scores) } else { vec![(0..self.texts.names.len()).collect()] };
        let mut first = written.ranked.is_empty();
        let mut room = MAX_ALTERNATIVES;
        for group in groups {
            let left: Vec<_> = group.into_iter().filter(|place| !written.ranked.contains(place)).collect();
            if left.is_empty() {
                continue;
            }
            let (take, alternatives) = fitting(left.len(), room);
            if take == 0 {
                return self.staged(parts, false);
            }
            room = room.saturating_sub(alternatives);
            if !std::mem::take(&mut first) {
                parts.push(Part::Literal(", ".into()));
            }
            let names = left.iter().map(|&place| self.texts.names[place].clone()).collect();
            parts.push(Part::Names { names, take });
            if take < left.len() {
                return self.staged(parts, false);
            }
        }
        parts.push(Part::Literal(self.texts.end.clone()));
        self.staged(parts, true)
    }

    /// Reads a complete verdict. White space around it does not matter.
    pub fn read_complete(&self, answer: &str) -> Option<Written> {
        let first = self.texts.literals.first()?;
        let blank = first.len() - first.trim_start().len();
        let (scores, rest) = self.read_scores(answer.trim(), blank)?;
        if !self.ranks {
            return (rest == self.tail()).then(|| Written { scores, ranked: Vec::new() });
        }
        let end = self.texts.end.trim_end();
        let (ranked, rest) = self.read_ranking(rest.strip_prefix(self.texts.between.as_str())?, end)?;
        (ranked.len() == self.texts.names.len() && rest == end).then_some(Written { scores, ranked })
    }

    /// What the layout has after a verdict without a ranking: with an empty list of names.
    pub fn left_out(&self) -> Option<String> {
        (!self.ranks).then(|| format!("{}{}", self.texts.between, self.texts.end).split_off(self.tail().len()))
    }

    /// What a verdict without a ranking has after its last score: nothing, unless the score needs something that ends it. Of a
    /// layout that ends with the score, it is the end of the text.
    fn tail(&self) -> &str {
        if self.ranks || self.marks.is_prefix_free() {
            return "";
        }
        let after = if self.texts.between.is_empty() { &self.texts.end } else { &self.texts.between };
        after.trim_end()
    }

    /// Reads how far `answer` (from the start of `lead`) has come; `None` if it has left the grammar.
    pub fn read(&self, answer: &str) -> Option<Written> {
        let (scores, rest) = self.read_scores(answer, 0)?;
        let written = Written { scores, ranked: Vec::new() };
        if !self.ranks {
            return (rest == self.tail()).then_some(written);
        }
        if rest.is_empty() {
            return self.marks.is_prefix_free().then_some(written);
        }
        let rest = rest.strip_prefix(self.texts.between.as_str())?;
        if rest.is_empty() && !self.marks.is_prefix_free() {
            return Some(written);
        }
        let (ranked, _) = self.read_ranking(rest, &self.texts.end)?;
        Some(Written { ranked, ..written })
    }

    /// Reads all scores of an answer, in which the first `missing` bytes of the first literal are left out, and gives the
    /// text behind them.
    fn read_scores<'a>(&self, answer: &'a str, missing: usize) -> Option<(Vec<u8>, &'a str)> {
        let mut scores = Vec::with_capacity(self.texts.literals.len());
        let mut rest = answer;
        for literal in &self.texts.literals {
            let missing = if scores.is_empty() { missing } else { 0 };
            rest = rest.strip_prefix(&literal[missing..])?;
            let (digits, after) = rest.split_at(self.marks.run(rest.as_bytes()));
            scores.push(self.marks.read(digits.as_bytes())?);
            rest = after;
        }
        Some((scores, rest))
    }

    /// Reads a ranking up to its last name, or, if it has all of them, up to the end of the verdict. Gives the text behind it.
    fn read_ranking<'a>(&self, ranking: &'a str, end: &str) -> Option<(Vec<usize>, &'a str)> {
        let names = &self.texts.names;
        let mut ranked = Vec::with_capacity(names.len());
        let mut rest = ranking;
        loop {
            let place = (0..names.len()).find(|&place| rest.starts_with(names[place].as_str()))?;
            if ranked.contains(&place) {
                return None;
            }
            ranked.push(place);
            rest = &rest[names[place].len()..];
            if rest.is_empty() || (ranked.len() == names.len() && rest == end) {
                return Some((ranked, rest));
            }
            rest = rest.strip_prefix(", ")?;
        }
    }

    fn staged(&self, parts: Vec<Part>, last: bool) -> Stage {
        let grammar = self.of(parts);
        let example = grammar.example();
        Stage { grammar, last, example }
    }

    fn scores(&self) -> Vec<Part> {
        self.texts.literals.iter().flat_map(|literal| [Part::Literal(literal.clone()), Part::Score]).collect()
    }

    /// Where the last of these scores ends.
    fn scores_end(&self, scores: &[u8]) -> usize {
        let digits: usize = scores.iter().map(|&score| self.marks.spelled(score).len()).sum();
        self.texts.literals.iter().map(String::len).sum::<usize>() + digits
    }

    /// The places of the names by score, the best first.
    fn groups(scores: &[u8]) -> Vec<Vec<usize>> {
        let of = |score: u8| -> Vec<usize> { (0..scores.len()).filter(|&place| scores[place] == score).collect() };
        let mut levels = scores.to_vec();
        levels.sort_unstable_by(|one, other| other.cmp(one));
        levels.dedup();
        levels.into_iter().map(of).collect()
    }

    fn permutation(&self, places: &[usize]) -> Part {
        Part::Names { names: places.iter().map(|&place| self.texts.names[place].clone()).collect(), take: places.len() }
    }

    fn of(&self, parts: Vec<Part>) -> Grammar {
        Grammar { parts, marks: self.marks }
    }
}

/// How many of `count` names can be ranked with at most `room` alternatives, and how many alternatives that takes. At least
/// two if possible, so that the longest rankings do not need a stage for each name.
fn fitting(count: usize, room: u64) -> (usize, u64) {
    let (mut take, mut total) = (0, 0_u64);
    // Sets of `take` names.
    let mut sets = 1_u64;
    while take < count {
        let next = sets.saturating_mul((count - take) as u64);
        let sum = total.saturating_add(next);
        if sum > room && !(take < 2 && room == MAX_ALTERNATIVES) {
            break;
        }
        total = sum;
        take += 1;
        sets = next / take as u64;
    }
    (take, total)
}

impl Grammar {
    /// One text of this grammar, for measuring; for a partial permutation, the one with the longest names.
    pub fn example(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Score => text.push_str(&self.marks.longest()),
                Part::Names { names, take } => {
                    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
                    if *take < names.len() {
                        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
                    }
                    text.push_str(&names[..*take].join(", "));
                }
            }
        }
        text
    }
}

/// A part for a text that is not empty.
fn literal(text: &str) -> Option<Part> {
    (!text.is_empty()).then(|| Part::Literal(text.to_owned()))
}

/// Text as a JSON string, which is also a string in Lark.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    crate::json::push_string(&mut quoted, text);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar(names: &[&str]) -> VerdictGrammar {
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "\n\n", &shown)
    }

    fn numbered(count: usize) -> VerdictGrammar {
        let names: Vec<_> = (1..=count).map(|number| format!("model-{number}")).collect();
        grammar(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn offsets_point_at_the_scores() {
        let grammar = grammar(&["model-1", "O\"Brien\n", "😀"]);
        let text = grammar.example();
        for place in 0..3 {
            let offset = grammar.score_offset(place).unwrap();
            assert_eq!(&text[offset..][..1], "1");
            let (before, after) = grammar.around_score(place).unwrap();
            assert!(text[..offset].ends_with(before) && text[offset + 1..].starts_with(after));
        }
        assert_eq!(grammar.score_offset(3), None);
        assert_eq!(grammar.around_score(3), None);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["best-to-worst"], serde_json::json!(["model-1", "O\"Brien\n", "😀"]));
    }

    #[test]
    fn ebnf_says_the_same_as_lark() {
        let grammar = grammar(&["a\"", "b"]);
        let wanted = [
            "root ::= thought \"\u{10FFFD}\" \"\\n\\n{\\n  \\\"scores\\\": {\\\"a\\\\\\\"\\\": \" score \", \\\"b\\\": \" \
             score \"},\\n  \\\"best-to-worst\\\": [\" p5_0 \"]\\n}\"",
            "score ::= [1-5]",
            "thought ::= [^\u{10FFFD}]*",
            "n5_0 ::= \"\\\"a\\\\\\\"\\\"\"",
            "n5_1 ::= \"\\\"b\\\"\"",
            "p5_0 ::= n5_0 \", \" p5_1 | n5_1 \", \" p5_2",
            "p5_1 ::= n5_1",
            "p5_2 ::= n5_0",
            "",
        ];
        assert_eq!(grammar.whole().ebnf(Some('\u{10FFFD}')), wanted.join("\n"));
        assert!(grammar.whole().lark().contains("names5_rest::_ : \"\" %if is_ones([0:2])"));
    }

    #[test]
    fn stages_end_where_the_next_depends_on_them_and_make_up_a_verdict() {
        for (count, consistent, stages) in
            [(1, false, 1), (8, false, 1), (9, false, 2), (16, false, 5), (64, false, 29), (4, true, 2), (16, true, 6)]
        {
            let grammar = numbered(count);
            let (mut text, mut written, mut steps) = (String::new(), Written::default(), 0);
            loop {
                let stage = grammar.stage(&written, consistent);
                assert!(stage.grammar.ebnf(None).matches(" | ").count() < 4096, "{count}");
                text += &stage.example;
                written = grammar.read(&text).expect("a stage's text is part of a verdict");
                steps += 1;
                if stage.last {
                    break;
                }
            }
            assert_eq!(steps, stages, "{count} {consistent}");
            assert_eq!(text.len(), grammar.example().len());
            assert_eq!(written.ranked.len(), count);
        }
    }

    #[test]
    fn a_consistent_stage_ranks_by_score() {
        let grammar = numbered(3);
        let written = Written { scores: vec![2, 5, 2], ranked: Vec::new() };
        let stage = grammar.stage(&written, true);
        assert!(stage.last);
        assert_eq!(stage.example, "},\n  \"best-to-worst\": [\"model-2\", \"model-1\", \"model-3\"]\n}");
        assert_eq!(stage.grammar, grammar.consistent_tail(&written.scores, grammar.scores_end(&written.scores)));
    }

    #[test]
    fn what_leaves_the_grammar_is_not_read() {
        let grammar = numbered(2);
        let good = grammar.example();
        for bad in [good.replacen('1', "7", 3), good.replace(", \"model-2\"]", ", \"model-1\"]"), format!("{good} ")] {
            assert_eq!(grammar.read(&bad), None, "{bad}");
        }
    }
    #[test]
    fn a_complete_verdict_is_read_whatever_its_layout() {
        let layouts = [VerdictForm::default().layout, "SCORES %scores% RANK %ranking% END\n".into()];
        for layout in layouts {
            let form = VerdictForm { layout, ..VerdictForm::default() };
            let names = ["a (0-10)", "a", "\n"].map(String::from);
            let grammar = VerdictGrammar::new(&form, Scale::default(), "\n\n", &names);
            let whole = grammar.example();
            let read = Written { scores: vec![1; 3], ranked: vec![0, 1, 2] };
            for same in [whole.as_str(), whole.trim(), &format!("{whole}\n")] {
                assert_eq!(grammar.read_complete(same).as_ref(), Some(&read), "{same}");
            }
            let shorter = grammar.clone().without_ranking();
            let scored = shorter.example();
            assert_eq!(shorter.read_complete(&scored), Some(Written { scores: vec![1; 3], ranked: Vec::new() }));
            assert!(whole.starts_with(&scored) && shorter.left_out().is_some() && grammar.left_out().is_none());
            for end in 0..scored.len() {
                assert_eq!(shorter.read_complete(&scored[..end]), None, "{}", &scored[..end]);
            }
            for end in 0..whole.trim_end().len() {
                assert_eq!(grammar.read_complete(&whole[..end]), None, "{}", &whole[..end]);
            }
            assert_eq!(shorter.read_complete(&whole), None);
        }
    }
}
