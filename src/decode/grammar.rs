//! The verdict grammar: exactly the complete verdicts of one request, in the one layout that the profile shows.
//!
//! One layout, not free white space: nine in ten tokens are then forced and need no sampling. A permutation of the names
//! is said with a parametric rule of llguidance's Lark dialect, whose parameter is the set of names already used.

use std::fmt::Write as _;

use crate::prompt::profile::{Scale, VerdictForm};

/// The verdicts of one request.
///
/// As text: `lead`, the layout up to the scores, `"name": score` for each name in the order shown, the layout up to the
/// ranking, the names in any order, the rest of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictGrammar {
    /// `literals[i]` stands before score `i`.
    literals: Vec<String>,
    /// Between the last score and the first name of the ranking.
    between: String,
    /// The names as they stand in the ranking, quoted.
    names: Vec<String>,
    /// After the ranking.
    end: String,
    scale: Scale,
}

impl VerdictGrammar {
    /// The grammar of a verdict on the `shown` names. `lead` is what comes before the layout.
    pub fn new(form: &VerdictForm, scale: Scale, lead: &str, shown: &[String]) -> Self {
        let (before, rest) = form.layout.split_once("%scores%").expect("a checked profile names both places");
        let (between, end) = rest.split_once("%ranking%").expect("a checked profile names both places");
        let names: Vec<_> = shown.iter().map(|name| quoted(name)).collect();
        let literals = names
            .iter()
            .enumerate()
            .map(|(place, name)| if place == 0 { format!("{lead}{before}{name}: ") } else { format!(", {name}: ") })
            .collect();
        Self { literals, between: between.into(), names, end: end.into(), scale }
    }

    /// The scale of the scores.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Byte offset, from the start of `lead`, of the score at `place` in the order shown; `None` past the last.
    pub fn score_offset(&self, place: usize) -> Option<usize> {
        let literals = self.literals.get(..=place)?;
        Some(literals.iter().map(String::len).sum::<usize>() + place)
    }

    /// One verdict of this grammar, for measuring: all others are as long.
    pub fn example(&self) -> String {
        let mut text = String::new();
        for literal in &self.literals {
            let _ = write!(text, "{literal}{}", self.scale.min);
        }
        let _ = write!(text, "{}{}{}", self.between, self.names.join(", "), self.end);
        text
    }

    /// The grammar in llguidance's Lark dialect.
    pub fn lark(&self) -> String {
        let mut start = String::from("start:");
        for literal in &self.literals {
            let _ = write!(start, " {} score", terminal(literal));
        }
        let _ = writeln!(start, " {} perm::0x0 {}", terminal(&self.between), terminal(&self.end));
        let _ = writeln!(start, "score: /[{}-{}]/", self.scale.min, self.scale.max);
        start + &permutation("perm", &self.names, &(0..self.names.len()).collect::<Vec<_>>(), "")
    }

    /// The grammar of what follows once all `scores` (in the order shown) are written: only rankings that put no lower
    /// score before a higher one. `written` is how much of the verdict, in bytes from the start of `lead`, is there
    /// already.
    pub fn consistent_tail(&self, scores: &[u8], written: usize) -> String {
        let scores_end = self.score_offset(self.names.len() - 1).expect("there is a last score") + 1;
        // The token of the last score may hold bytes of what follows it; never more than that literal.
        let between = self.between.get(written.saturating_sub(scores_end)..).unwrap_or_default();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for score in (self.scale.min..=self.scale.max).rev() {
            let group: Vec<_> = (0..scores.len()).filter(|&place| scores[place] == score).collect();
            if !group.is_empty() {
                groups.push(group);
            }
        }
        let mut start = format!("start: {}", terminal(between));
        let mut rules = String::new();
        for (index, group) in groups.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            if let [only] = group[..] {
                let _ = write!(start, " {}", terminal(&format!("{separator}{}", self.names[only])));
            } else {
                let _ = write!(start, " {} group{index}::0x0", terminal(separator));
                rules += &permutation(&format!("group{index}"), &self.names, group, "");
            }
        }
        format!("{start} {}\n{rules}", terminal(&self.end))
    }
}

/// Rules for a permutation of `names[members]`, separated by commas. The parameter is the set of the members used.
fn permutation(rule: &str, names: &[String], members: &[usize], lead: &str) -> String {
    let count = members.len();
    let mut text = format!("{rule}::_ :");
    for (bit, &member) in members.iter().enumerate() {
        let or = if bit == 0 { "" } else { "\n  |" };
        let literal = terminal(&format!("{lead}{}", names[member]));
        let _ = write!(text, "{or} {literal} {rule}_rest::set_bit({bit}) %if bit_clear({bit})");
    }
    let _ = write!(
        text,
        "\n{rule}_rest::_ : \"\" %if is_ones([0:{count}])\n  | \", \" {rule}::_ %if not(is_ones([0:{count}]))\n"
    );
    text
}

/// A name as JSON.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// A literal in Lark, whose strings are written as in JSON.
fn terminal(literal: &str) -> String {
    quoted(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grammar(names: &[&str]) -> VerdictGrammar {
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "\n\n", &shown)
    }

    #[test]
    fn offsets_point_at_the_scores() {
        let grammar = grammar(&["model-1", "O\"Brien\n", "😀"]);
        let text = grammar.example();
        for place in 0..3 {
            assert_eq!(&text[grammar.score_offset(place).unwrap()..][..1], "1");
        }
        assert_eq!(grammar.score_offset(3), None);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["best-to-worst"], serde_json::json!(["model-1", "O\"Brien\n", "😀"]));
    }
}
