//! The tokens round a reasoning: what is fed to open it, and what ends it.

use crate::decode::plan::Reasoning;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::Tokenizer;

/// A reasoning phase in the tokens of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasoningTokens {
    /// Fed before the first token is sampled; empty where the chat template has opened the reasoning.
    pub opening: Vec<u32>,
    /// Ends the reasoning, sampled or fed.
    pub close: u32,
    /// Most tokens between the two.
    pub budget: u32,
    /// Fed where the budget is spent: a line's end, and the closing token.
    forced: Vec<u32>,
}

impl ReasoningTokens {
    /// The tokens of a planned reasoning.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] where the vocabulary does not hold a tag as one token.
    pub fn new(plan: &Reasoning, tokenizer: &Tokenizer) -> Result<Self> {
        let mut opening = Vec::new();
        if let Some(open) = &plan.open {
            opening.push(special(tokenizer, open)?);
            opening.extend(tokenizer.encode_text(&plan.prefix)?);
        }
        let close = special(tokenizer, &plan.close)?;
        let mut forced = tokenizer.encode_text("\n")?;
        forced.push(close);
        Ok(Self { opening, close, budget: plan.budget, forced })
    }

    /// What is fed to end the reasoning, where its text ends a line or not.
    pub fn forced(&self, ends_line: bool) -> &[u32] {
        if ends_line { &self.forced[self.forced.len() - 1..] } else { &self.forced }
    }

    /// Most tokens that are fed to end the reasoning.
    pub fn forced_most(&self) -> usize {
        self.forced.len()
    }
}

/// The id of a special token.
///
/// # Errors
/// [`ErrorKind::InvalidProfile`] where the vocabulary does not hold it as one token.
pub fn special(tokenizer: &Tokenizer, text: &str) -> Result<u32> {
    tokenizer.special(text).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidProfile,
            format!(
                "the model's vocabulary has no special token {text:?}, which the profile's reasoning names: take \
                 \"reasoning\" out of the profile, or name the model's own tokens"
            ),
        )
    })
}
