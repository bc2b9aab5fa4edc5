//! Tokens with their log probabilities, from the program's own engine.

use super::boundary::array;
use super::text::dicast_str;
use crate::decode::logprobs::{Position, Token};
use crate::error::Result;

/// A token that could stand at one place of the output.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_choice {
    /// Its text, which may end inside a character.
    pub text: dicast_str,
    /// The natural logarithm of its probability.
    pub logprob: f64,
}

/// A token of the output, and the other tokens that were possible at its place.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_token {
    /// Its text, which may end inside a character.
    pub text: dicast_str,
    /// The natural logarithm of its probability; NaN if it is not known.
    pub logprob: f64,
    /// The most probable tokens at this place, in any order; NULL if they are not known. They matter only at the scores: the more
    /// values of the scale they include, the finer the expected score.
    pub choices: *const dicast_choice,
    /// Their number.
    pub choice_count: usize,
}

/// Reads tokens.
///
/// # Safety
/// `tokens` has `count` entries, whose choices and texts live during the call.
pub(super) unsafe fn positions(tokens: *const dicast_token, count: usize) -> Result<Vec<Position>> {
    // SAFETY: passed on.
    let tokens = unsafe { array(tokens, count, "tokens")? };
    // SAFETY: passed on.
    let bytes = |text: dicast_str| unsafe { text.bytes("text") }.map(|bytes| Token::Bytes(bytes.to_vec()));
    #[expect(clippy::cast_possible_truncation, reason = "log probabilities need no more digits")]
    let single = |logprob: f64| logprob as f32;
    tokens
        .iter()
        .map(|token| {
            // SAFETY: passed on.
            let choices = unsafe { array(token.choices, token.choice_count, "choices")? };
            let choice = |choice: &dicast_choice| Ok((bytes(choice.text)?, single(choice.logprob)));
            Ok(Position {
                token: bytes(token.text)?,
                logprob: (!token.logprob.is_nan()).then(|| single(token.logprob)),
                alternatives: choices.iter().map(choice).collect::<Result<_>>()?,
            })
        })
        .collect()
}
