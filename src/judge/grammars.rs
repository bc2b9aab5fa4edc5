//! Grammars of verdicts, which are kept: nearly all judgments of a judge name their responses alike.

use crate::decode::grammar::VerdictGrammar;
use crate::prompt::profile::Profile;
use crate::sync::{Mutex, PoisonError};

/// Sizes of groups, by their remainder, for which a grammar is kept.
const SIZES: usize = 8;

/// The last grammar for groups of each of a few sizes, of one profile.
#[derive(Default)]
pub(super) struct Grammars(Mutex<[Option<Kept>; SIZES]>);

struct Kept {
    lead: String,
    shown: Vec<String>,
    grammar: VerdictGrammar,
}

impl Grammars {
    /// The grammar of a verdict on the `shown` names, with this text before it. See [`VerdictGrammar::new`].
    pub(super) fn of(&self, profile: &Profile, lead: &str, shown: &[String]) -> VerdictGrammar {
        let place = shown.len() % SIZES;
        let is_same = |kept: &&Kept| kept.lead == lead && kept.shown == shown;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner)[place]
            .as_ref()
            .filter(is_same)
            .map(|kept| kept.grammar.clone());
        if let Some(grammar) = kept {
            return grammar;
        }
        let grammar = VerdictGrammar::new(&profile.verdict, profile.scale, lead, shown);
        let kept = Kept { lead: lead.to_owned(), shown: shown.to_vec(), grammar: grammar.clone() };
        // The one before it is freed without the lock.
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner)[place].replace(kept);
        drop(before);
        grammar
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn a_kept_grammar_is_the_one_that_would_be_made() {
        let (profile, kept) = (Profile::builtin(), Grammars::default());
        let names = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>();
        for shown in [names("a", 2), names("b", 2), names("a", 2), names("a", 2 + SIZES), names("a\n\\", 2)] {
            for lead in ["", "\n\n", ""] {
                let made = VerdictGrammar::new(&profile.verdict, profile.scale, lead, &shown);
                for _ in 0..2 {
                    assert_eq!(kept.of(&profile, lead, &shown), made, "{shown:?}");
                }
            }
        }
    }
}
