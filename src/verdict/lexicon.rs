//! Lists of words to look for in running text. Each list is one automaton, built at first use: looking for each word
//! separately would take most of the time that a damaged verdict needs.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::warm::made;

/// A list of words, in lower case.
pub(super) struct Lexicon {
    words: &'static [&'static str],
    automaton: OnceLock<Option<AhoCorasick>>,
}

impl Lexicon {
    pub(super) const fn new(words: &'static [&'static str]) -> Self {
        Self { words, automaton: OnceLock::new() }
    }

    /// Where the first of the words begins in a text.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        let make = || AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(self.words).ok();
        match made(&self.automaton, make) {
            Some(automaton) => automaton.find(text).map(|found| found.start()),
            // Lists this short always fit; looking for each word finds the same.
            None => self.words.iter().filter_map(|word| text.find(word)).min(),
        }
    }

    /// Whether a text holds one of the words.
    pub(super) fn is_in(&self, text: &str) -> bool {
        !text.is_empty() && self.find(text).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_found_wherever_it_stands() {
        static WORDS: Lexicon = Lexicon::new(&["score", "core", "最终", " no "]);
        for text in ["", "a score", "encore", "说最终", "x no y", "nothing", "scor", "core score"] {
            let wanted = WORDS.words.iter().filter_map(|word| text.find(word)).min();
            assert_eq!((WORDS.find(text), WORDS.is_in(text)), (wanted, wanted.is_some()), "{text}");
        }
    }
}
