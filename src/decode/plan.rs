//! The plan that an engine carries out: the phases of one generation.

use serde::{Deserialize, Serialize};

use crate::config::{RankingFrom, Settings};
use crate::decode::grammar::VerdictGrammar;
use crate::prompt::ReasoningState;
use crate::prompt::mask::AliasMap;
use crate::prompt::profile::Profile;

/// How many tokens above the reasoning budget the end of a character may take.
pub const CHARACTER_GRACE: u32 = 3;

/// What is generated, phase by phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Free text up to a closing token; `None` goes straight to the verdict.
    pub reasoning: Option<Reasoning>,
    /// The verdict.
    pub verdict: VerdictPlan,
}

/// The reasoning phase: free text under a budget. End-of-text and other control tokens are not admitted in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoning {
    /// Token that opens it, which is fed, not sampled; `None` if the chat template has already opened it.
    pub open: Option<String>,
    /// Text right after the opening token, which is fed, not sampled, and only together with the token.
    pub prefix: String,
    /// Token that closes it: sampled, or fed once the budget is spent.
    pub close: String,
    /// Most tokens between the two; 0 closes it at once.
    pub budget: u32,
}

/// The verdict phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VerdictPlan {
    /// Under a grammar, with the distribution taken at every score.
    Guided {
        /// The verdicts admitted.
        grammar: VerdictGrammar,
        /// Whether the ranking must agree with the scores.
        consistent: bool,
    },
    /// Free text, up to the end of the text or this many tokens.
    Free {
        /// Most tokens.
        max_tokens: u32,
    },
}

impl Plan {
    /// The plan for one request; `state` says how its prompt leaves the reasoning.
    pub fn new(profile: &Profile, settings: &Settings, aliases: &AliasMap, state: ReasoningState) -> Self {
        Self::with(profile, settings, aliases, state, |lead, shown| {
            VerdictGrammar::new(&profile.verdict, profile.scale, lead, shown)
        })
    }

    /// As [`Self::new`], with a grammar that may be kept: `grammar` gets the text before the layout and the names as shown.
    pub(crate) fn with(
        profile: &Profile,
        settings: &Settings,
        aliases: &AliasMap,
        state: ReasoningState,
        grammar: impl FnOnce(&str, &[String]) -> VerdictGrammar,
    ) -> Self {
        let reasoning = profile.reasoning.as_ref().filter(|_| state != ReasoningState::Closed).map(|form| Reasoning {
            open: (state == ReasoningState::Unopened).then(|| form.open.clone()),
            prefix: form.prefix.clone(),
            close: form.close.clone(),
            // The template always opens the reasoning, so it is closed for the judge.
            budget: if settings.reasoning { settings.max_reasoning_tokens } else { 0 },
        });
        let verdict = if settings.guided.unwrap_or(true) {
            // If the template has closed the reasoning, it has also written the text before the verdict.
            let lead = if reasoning.is_some() { profile.verdict.separator.as_str() } else { "" };
            let grammar = grammar(lead, aliases.shown());
            match settings.ranking_from {
                RankingFrom::Judge => {
                    let consistent = settings.consistent_ranking && grammar.ranks();
                    VerdictPlan::Guided { grammar, consistent }
                }
                RankingFrom::Scores => VerdictPlan::Guided { grammar: grammar.without_ranking(), consistent: false },
            }
        } else {
            VerdictPlan::Free { max_tokens: settings.max_verdict_tokens }
        };
        Self { reasoning, verdict }
    }
}

impl VerdictPlan {
    /// The constraint of the verdict.
    pub fn grammar(&self) -> Option<&VerdictGrammar> {
        match self {
            Self::Guided { grammar, .. } => Some(grammar),
            Self::Free { .. } => None,
        }
    }
}

/// Whether bytes end at the end of a UTF-8 character (or are not UTF-8 anyway).
pub fn ends_whole(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(4)..];
    let Some(lead) = tail.iter().rposition(|byte| byte & 0xC0 != 0x80) else { return true };
    let length = match tail[lead] {
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        _ => 1,
    };
    tail.len() - lead >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_character_is_seen() {
        let text = "aé€😀";
        for end in 0..=text.len() {
            assert_eq!(ends_whole(&text.as_bytes()[..end]), text.is_char_boundary(end), "{end}");
        }
    }
}
