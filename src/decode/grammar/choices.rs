//! A verdict as a row of choices, for servers: the layout gives the text between them, so a judge that is asked for one token at
//! each score and each place of the ranking writes the whole verdict.
//!
//! What decides a choice are tokens, and where a token ends depends on the text around it. So each candidate is tokenized together
//! with the text before and after it: where the rows of tokens of two candidates part, the judge chooses. The names
//! `model-1` and `model-10` may take two such tokens.

use std::collections::HashMap;
use std::sync::Arc;

use super::{VerdictGrammar, Written};

/// The choices of the verdicts of one grammar, in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    grammar: VerdictGrammar,
    /// Each score; a candidate a mark.
    scores: Vec<Spot>,
    /// The first place of the ranking, and each later one; a candidate a name.
    ranks: Option<[Spot; 2]>,
}

/// The candidates at one place.
type Spot = Vec<Candidate>;

/// What may stand at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// The text before it, itself, and the text after it.
    tokens: Vec<u32>,
    /// How many of these tokens write it and what is before it.
    own: usize,
}

/// The texts of one place.
struct Place {
    before: String,
    candidates: Vec<String>,
    after: String,
}

impl Place {
    fn text(&self, candidate: &str) -> String {
        format!("{}{candidate}{}", self.before, self.after)
    }
}

impl VerdictGrammar {
    /// The texts whose tokens [`Choices::new`] needs. There are none if a score can begin with another one, as 10 does with 1: then one token may
    /// not decide.
    pub fn choice_texts(&self) -> Vec<String> {
        let texts = |place: &Place| -> Vec<String> {
            let whole = place.candidates.iter().map(|candidate| place.text(candidate));
            whole.chain([place.after.clone()]).collect()
        };
        let mut all: Vec<String> = self.places().iter().flat_map(texts).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The scores, then the first and any later place of the ranking.
    fn places(&self) -> Vec<Place> {
        if !self.marks.is_prefix_free() {
            return Vec::new();
        }
        let marks: Vec<String> = self.marks.all().map(|mark| self.marks.spelled(mark)).collect();
        // The quotation mark before a name is always there, and often in one token with the text before it.
        let first = format!("{}\"", self.texts.between);
        let score = |(place, before): (usize, &String)| {
            // Something has to follow, so that it is seen that the score is a token of its own.
            let last = if self.ranks { first.as_str() } else { "\n" };
            let after = self.texts.literals.get(place + 1).map_or(last, String::as_str).to_owned();
            Place { before: before.clone(), candidates: marks.clone(), after }
        };
        let mut places: Vec<Place> = self.texts.literals.iter().enumerate().map(score).collect();
        if self.ranks && self.texts.names.len() > 1 {
            let bare = |name: &String| name[1..name.len() - 1].to_owned();
            for before in [first.as_str(), NEXT_NAME] {
                let candidates = self.texts.names.iter().map(bare).collect();
                places.push(Place { before: before.to_owned(), candidates, after: NEXT_NAME.to_owned() });
            }
        }
        places
    }

    /// The text of a complete verdict.
    fn text_of(&self, written: &Written) -> String {
        let mut text = String::new();
        for (literal, &score) in self.texts.literals.iter().zip(&written.scores) {
            text.push_str(literal);
            text.push_str(&self.marks.spelled(score));
        }
        if !self.ranks {
            return text + self.tail();
        }
        let names: Vec<&str> = written.ranked.iter().map(|&place| self.texts.names[place].as_str()).collect();
        text + &self.texts.between + &names.join(", ") + &self.texts.end
    }
}

/// What stands between two names of a ranking.
const NEXT_NAME: &str = "\", \"";

impl Choices {
    /// The choices of a grammar, from the tokens of its [texts](VerdictGrammar::choice_texts). `None` if these do not let single tokens decide:
    /// a token holds the end of a candidate and the beginning of the text after it, or several tokens are needed for a score.
    pub fn new(grammar: &VerdictGrammar, tokens: &HashMap<String, Vec<u32>>) -> Option<Self> {
        let places = grammar.places();
        let spots = places.iter().map(|place| spot(place, tokens)).collect::<Option<Vec<Spot>>>()?;
        let (scores, ranks) = spots.split_at_checked(grammar.len())?;
        let one_token = |spot: &Spot| {
            let open: Vec<usize> = (0..spot.len()).collect();
            let at = parting(spot, &open);
            // The token that decides writes the score itself, and not the text before it in one way or another.
            let mut deciding: Vec<u32> = spot.iter().filter_map(|candidate| candidate.decided_by(at)).collect();
            deciding.sort_unstable();
            deciding.dedup();
            deciding.len() == spot.len()
        };
        let ranks = match ranks {
            [] => None,
            [first, next] => Some([first.clone(), next.clone()]),
            _ => return None,
        };
        let is_known = !scores.is_empty() && scores.iter().all(one_token) && ranks.iter().flatten().all(are_apart);
        is_known.then(|| Self { grammar: grammar.clone(), scores: scores.to_vec(), ranks })
    }
}

impl Candidate {
    /// The token at a place, if it is the last one of its own.
    fn decided_by(&self, at: usize) -> Option<u32> {
        self.tokens.get(at).filter(|_| at + 1 == self.own).copied()
    }
}

fn spot(place: &Place, tokens: &HashMap<String, Vec<u32>>) -> Option<Spot> {
    // A text without tokens is one whose tokens write another text.
    let after = tokens.get(&place.after).filter(|after| !after.is_empty())?;
    let candidate = |candidate: &String| {
        let tokens = tokens.get(&place.text(candidate))?.clone();
        let own = tokens.strip_suffix(after.as_slice())?.len();
        (own > 0).then_some(Candidate { tokens, own })
    };
    place.candidates.iter().map(candidate).collect()
}

/// Where the tokens of some candidates part.
fn parting(spot: &Spot, open: &[usize]) -> usize {
    let Some((&first, rest)) = open.split_first() else { return 0 };
    let first = &spot[first].tokens;
    let common = |&other: &usize| first.iter().zip(&spot[other].tokens).take_while(|(one, other)| one == other).count();
    rest.iter().map(common).min().unwrap_or(first.len())
}

/// Whether the tokens of no candidate are the beginning of those of another one.
fn are_apart(spot: &Spot) -> bool {
    let begins = |one: usize, other: usize| one != other && spot[other].tokens.starts_with(&spot[one].tokens);
    !(0..spot.len()).any(|one| (0..spot.len()).any(|other| begins(one, other)))
}

/// A verdict that is being written choice by choice.
#[derive(Clone, Debug)]
pub struct Filling {
    choices: Arc<Choices>,
    /// Whether the ranking must agree with the scores.
    consistent: bool,
    /// The tokens up to the last candidate that was chosen.
    ids: Vec<u32>,
    written: Written,
    /// The candidates that the tokens so far leave, at least two; none if the verdict is complete.
    open: Vec<usize>,
    /// Where their tokens part.
    at: usize,
}

impl Filling {
    /// A verdict of which nothing is written.
    pub fn new(choices: Arc<Choices>, consistent: bool) -> Self {
        let mut filling =
            Self { choices, consistent, ids: Vec::new(), written: Written::default(), open: Vec::new(), at: 0 };
        filling.settle();
        filling
    }

    /// The verdict, if it is complete.
    pub fn text(&self) -> Option<String> {
        self.open.is_empty().then(|| self.choices.grammar.text_of(&self.written))
    }

    /// The score that is chosen next, by its place; `None` if it is a name.
    pub fn score(&self) -> Option<usize> {
        (self.written.scores.len() < self.choices.scores.len()).then_some(self.written.scores.len())
    }

    /// The tokens of the verdict before the next choice.
    pub fn before(&self) -> Vec<u32> {
        let open = self.open.first().map(|&one| &self.spot()[one].tokens[..self.at]);
        [self.ids.as_slice(), open.unwrap_or_default()].concat()
    }

    /// The tokens that the judge may choose from, each with its candidate: the mark of a score, or the place of a name.
    pub fn candidates(&self) -> Vec<(u32, usize)> {
        let spot = self.spot();
        let mut candidates = Vec::with_capacity(self.open.len());
        for &one in &self.open {
            let token = spot[one].tokens[self.at];
            if !candidates.iter().any(|&(known, _)| known == token) {
                candidates.push((token, one));
            }
        }
        candidates
    }

    /// The candidate at the next choice that a judge takes whose ranking follows its scores; `None` while a score is missing.
    pub fn likely(&self) -> Option<u32> {
        if self.score().is_some() {
            return None;
        }
        let best =
            self.open.iter().copied().max_by_key(|&name| (self.written.scores[name], std::cmp::Reverse(name)))?;
        Some(self.spot()[best].tokens[self.at])
    }

    /// The same verdict at this choice and at those that follow it, at most `most` of them, if each is [likely](Self::likely).
    pub fn ahead(&self, most: usize) -> Vec<Self> {
        let after = |filling: &Self| {
            let mut next = filling.clone();
            next.take(filling.likely()?);
            (!next.open.is_empty()).then_some(next)
        };
        std::iter::successors(Some(self.clone()), after).take(most).collect()
    }

    /// Takes in the choice of one of the [candidates](Self::candidates).
    pub fn take(&mut self, token: u32) {
        let at = self.at;
        let kept: Vec<usize> = self.open.iter().copied().filter(|&one| self.spot()[one].tokens[at] == token).collect();
        self.open = kept;
        self.settle();
    }

    /// Tokens that are written, up to the last choice.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    fn spot(&self) -> &Spot {
        let choices = &self.choices;
        match (self.score(), &choices.ranks) {
            (Some(place), _) => &choices.scores[place],
            (None, Some(ranks)) => &ranks[usize::from(!self.written.ranked.is_empty())],
            (None, None) => unreachable!("there is a choice only where a score or a name is missing"),
        }
    }

    /// Goes on to the next place with more than one candidate.
    fn settle(&mut self) {
        loop {
            match self.open[..] {
                [] => self.open = self.next(),
                [chosen] => self.keep(chosen),
                _ => {
                    self.at = parting(self.spot(), &self.open);
                    return;
                }
            }
            if self.open.is_empty() && self.is_complete() {
                return;
            }
        }
    }

    fn is_complete(&self) -> bool {
        let Self { written, choices, .. } = self;
        written.scores.len() == choices.scores.len()
            && (!choices.grammar.ranks || written.ranked.len() == choices.grammar.texts.names.len())
    }

    /// The candidates at the next place. The last name of a ranking is no choice, and nobody has to read its tokens.
    fn next(&mut self) -> Vec<usize> {
        if self.score().is_some() {
            return (0..self.spot().len()).collect();
        }
        let ranked = &self.written.ranked;
        let grammar = &self.choices.grammar;
        let groups = if self.consistent {
            VerdictGrammar::groups(&self.written.scores)
        } else {
            vec![(0..grammar.texts.names.len()).collect()]
        };
        let left =
            |group: Vec<usize>| -> Vec<usize> { group.into_iter().filter(|name| !ranked.contains(name)).collect() };
        let mut left: Vec<Vec<usize>> = groups.into_iter().map(left).filter(|group| !group.is_empty()).collect();
        // Only single names: the rest is known.
        if left.iter().all(|group| group.len() == 1) {
            self.written.ranked.extend(left.concat());
            return Vec::new();
        }
        left.swap_remove(0)
    }

    fn keep(&mut self, chosen: usize) {
        let Candidate { tokens, own } = &self.spot()[chosen];
        let own = tokens[..*own].to_vec();
        self.ids.extend(own);
        match self.score() {
            Some(_) => {
                let mark = self.choices.grammar.marks.least() + u8::try_from(chosen).unwrap_or_default();
                self.written.scores.push(mark);
            }
            None => self.written.ranked.push(chosen),
        }
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::profile::{Scale, VerdictForm};

    /// Tokens: each of the digits and quotation marks is one, and so is any run of other letters.
    fn split(text: &str) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let alone = |letter: char| letter.is_ascii_digit() || letter == '"';
        for letter in text.chars() {
            match words.last_mut() {
                Some(word) if !alone(letter) && !word.ends_with(alone) => word.push(letter),
                _ => words.push(letter.into()),
            }
        }
        words
    }

    struct Words(Vec<String>);

    impl Words {
        fn ids(&mut self, words: Vec<String>) -> Vec<u32> {
            let mut id = |word: String| {
                let at = self.0.iter().position(|known| *known == word).unwrap_or_else(|| {
                    self.0.push(word);
                    self.0.len() - 1
                });
                u32::try_from(at).unwrap()
            };
            words.into_iter().map(&mut id).collect()
        }

        fn text(&self, ids: &[u32]) -> String {
            ids.iter().map(|&id| self.0[id as usize].as_str()).collect()
        }
    }

    fn grammar(names: usize) -> VerdictGrammar {
        let names: Vec<String> = (1..=names).map(|name| format!("model-{name}")).collect();
        VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "\n\n", &names)
    }

    fn choices(grammar: &VerdictGrammar, split: fn(&str) -> Vec<String>) -> (Words, Option<Choices>) {
        let mut words = Words(Vec::new());
        let tokens = grammar.choice_texts().into_iter().map(|text| (text.clone(), words.ids(split(&text)))).collect();
        let choices = Choices::new(grammar, &tokens);
        (words, choices)
    }

    /// Chooses what `wanted` writes next; returns the verdict and the number of choices.
    fn write(wanted: &str, grammar: &VerdictGrammar, consistent: bool) -> (String, usize) {
        let (words, choices) = choices(grammar, split);
        let mut filling = Filling::new(Arc::new(choices.unwrap()), consistent);
        let mut asked = 0;
        while filling.text().is_none() {
            let before = words.text(&filling.before());
            let rest = wanted.strip_prefix(&before).unwrap_or_else(|| panic!("{before:?} does not begin {wanted:?}"));
            let candidates = filling.candidates();
            let chosen = candidates.iter().find(|(token, _)| rest.starts_with(words.text(&[*token]).as_str()));
            filling.take(chosen.unwrap().0);
            asked += 1;
        }
        (filling.text().unwrap(), asked)
    }

    #[test]
    fn a_ranking_is_likely_to_follow_the_scores() {
        let four = grammar(4);
        let (words, choices) = choices(&four, split);
        let mut filling = Filling::new(Arc::new(choices.unwrap()), false);
        assert_eq!((filling.likely(), filling.ahead(9).len()), (None, 1));
        for score in ["2", "5", "2", "3"] {
            let token = filling.candidates().into_iter().find(|(token, _)| words.text(&[*token]) == score).unwrap().0;
            filling.take(token);
        }
        let ahead = filling.ahead(9);
        let texts: Vec<String> = ahead.iter().map(|filling| words.text(&filling.before())).collect();
        assert_eq!(texts.len(), 3, "the last name is no choice: {texts:?}");
        assert!(texts[0].ends_with("[\"model-"), "{texts:?}");
        assert!(
            texts[1].ends_with("[\"model-2\", \"model-") && texts[2].ends_with("\"model-2\", \"model-4\", \"model-")
        );
        assert_eq!(filling.ahead(2).len(), 2);
        let mut last = ahead[2].clone();
        last.take(last.likely().unwrap());
        assert!(
            last.text().unwrap().ends_with("[\"model-2\", \"model-4\", \"model-1\", \"model-3\"]\n}"),
            "{:?}",
            last.text()
        );
    }

    #[test]
    fn choices_write_any_verdict_of_the_grammar() {
        let three = grammar(3);
        let wanted = three.text_of(&Written { scores: vec![4, 1, 4], ranked: vec![2, 0, 1] });
        assert_eq!(write(&wanted, &three, false), (wanted.clone(), 5));
        assert!(three.read_complete(&wanted).is_some());
        // The lowest name is not chosen if the scores decide.
        assert_eq!(write(&wanted, &three, true), (wanted.clone(), 4));
        let fixed = three.text_of(&Written { scores: vec![3, 1, 5], ranked: vec![2, 0, 1] });
        assert_eq!(write(&fixed, &three, true), (fixed.clone(), 3));
        let one = grammar(1);
        let wanted = one.text_of(&Written { scores: vec![2], ranked: vec![0] });
        assert_eq!(write(&wanted, &one, false), (wanted.clone(), 1));
    }

    #[test]
    fn names_that_begin_alike_take_further_tokens() {
        let twelve = grammar(12);
        let ranked = vec![9, 0, 11, 1, 10, 2, 3, 4, 5, 6, 7, 8];
        let wanted = twelve.text_of(&Written { scores: vec![3; 12], ranked });
        let (written, asked) = write(&wanted, &twelve, false);
        assert_eq!(written, wanted);
        assert!((23..30).contains(&asked), "{asked}");
    }

    #[test]
    fn scores_without_a_ranking_are_choices_too() {
        let scores = grammar(2).without_ranking();
        let wanted = scores.text_of(&Written { scores: vec![5, 2], ranked: vec![] });
        assert_eq!(write(&wanted, &scores, false), (wanted.clone(), 2));
        let form = VerdictForm { layout: "Better: [[%choice%]]".into(), ..VerdictForm::default() };
        let choice = VerdictGrammar::new(&form, Scale::default(), "", &["A".into(), "B".into()]);
        assert_eq!(choice.text_of(&Written { scores: vec![1], ranked: vec![] }), "Better: [[B");
    }

    #[test]
    fn tokens_across_the_end_of_a_candidate_are_no_choices() {
        let across =
            |text: &str| text.chars().collect::<Vec<_>>().chunks(3).map(|part| part.iter().collect()).collect();
        assert_eq!(choices(&grammar(2), across).1, None);
        let wide =
            VerdictGrammar::new(&VerdictForm::default(), Scale { min: 1, max: 10 }, "", &["a".into(), "b".into()]);
        assert!(wide.choice_texts().is_empty() && choices(&wide, split).1.is_none());
    }
}
