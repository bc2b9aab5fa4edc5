//! The tokens around a reasoning: those fed to open it, and those that end it.

use crate::decode::plan::Reasoning;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::template::Segment;
use crate::prompt::tokenize::Tokenizer;

/// How to recognize that a model itself ends its reasoning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By this token; `rest` is fed after it if the closing has more tokens.
    Token {
        /// The token that the model writes.
        id: u32,
        /// The rest of the closing after it.
        rest: Vec<u32>,
    },
    /// By this text, which may be split into tokens in any way.
    Text(String),
}

/// A reasoning phase in the tokens of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasoningTokens {
    /// Fed before the first token is sampled; empty if the chat template has opened the reasoning.
    pub opening: Vec<u32>,
    /// How the model ends it.
    pub end: End,
    /// Most tokens between the two.
    pub budget: u32,
    /// Fed when the budget is spent: a line end, and the closing.
    forced: Vec<u32>,
    /// How many of these belong to the line end.
    line: usize,
}

impl ReasoningTokens {
    /// The tokens of a planned reasoning.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if the vocabulary cannot write a tag.
    pub fn new(plan: &Reasoning, tokenizer: &Tokenizer) -> Result<Self> {
        let mut opening = Vec::new();
        if let Some(open) = &plan.open {
            opening = marks(tokenizer, open)?;
            opening.extend(tokenizer.encode_text(&plan.prefix)?);
        }
        let closing = marks(tokenizer, &plan.close)?;
        let mut forced = tokenizer.encode_text("\n")?;
        let line = forced.len();
        forced.extend(&closing);
        let end = match closing.iter().position(|&id| tokenizer.is_control(id)) {
            Some(at) => End::Token { id: closing[at], rest: closing[at + 1..].to_vec() },
            None => End::Text(plan.close.clone()),
        };
        Ok(Self { opening, end, budget: plan.budget, forced, line })
    }

    /// The one token that ends it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] if it takes several tokens; for an engine that supports only one.
    pub fn close(&self) -> Result<u32> {
        match &self.end {
            End::Token { id, rest } if rest.is_empty() => Ok(*id),
            _ => Err(Error::new(
                ErrorKind::InvalidProfile,
                "this engine needs one token that ends the reasoning: remove \"reasoning\" from the profile, or name the \
                 model's own tokens",
            )),
        }
    }

    /// The tokens of a planned reasoning if a server tokenizes: `open` and `close` are its tags, `prefix` is the text after the
    /// opening one, `line` is a line end.
    pub fn of_ids(plan: &Reasoning, open: u32, prefix: &[u32], close: u32, line: &[u32]) -> Self {
        let opening = if plan.open.is_some() { [&[open], prefix].concat() } else { Vec::new() };
        let end = End::Token { id: close, rest: Vec::new() };
        Self { opening, end, budget: plan.budget, forced: [line, &[close]].concat(), line: line.len() }
    }

    /// What is fed to end the reasoning, depending on whether its text ends with a line end.
    pub fn forced(&self, ends_line: bool) -> &[u32] {
        if ends_line { &self.forced[self.line..] } else { &self.forced }
    }

    /// Most tokens that are fed to end the reasoning.
    pub fn forced_most(&self) -> usize {
        self.forced.len()
    }
}

/// The tokens of an opening or a closing, with special tokens if it holds them.
///
/// # Errors
/// [`ErrorKind::InvalidModel`] if the vocabulary cannot write it.
pub fn marks(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
    tokenizer.encode(&[Segment::Template(text.to_owned())])
}

/// The id of a special token.
///
/// # Errors
/// [`ErrorKind::InvalidProfile`] if the vocabulary does not hold it as one token.
pub fn special(tokenizer: &Tokenizer, text: &str) -> Result<u32> {
    tokenizer.special(text).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidProfile,
            format!(
                "the model's vocabulary has no special token {text:?}, which the profile's \"reasoning\" names: remove \
                 \"reasoning\" from the profile, or name the model's own tokens"
            ),
        )
    })
}
