//! The model's vocabulary as a judgment's decoding needs it: bytes, end tokens, and which tokens must not be sampled
//! where.

use std::sync::Arc;

use crate::decode::grammar::VerdictGrammar;
use crate::decode::reasoning::marks;
use crate::decode::score::{ScoreProbe, log_sum};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Profile;
use crate::prompt::tokenize::Tokenizer;

use super::guide::Guides;

/// Vocabulary of one model.
pub(super) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    guides: Guides,
    ends_text: Vec<bool>,
    banned_in_reasoning: Vec<bool>,
    banned_in_answer: Vec<bool>,
    /// Marks, by id, the tokens whose text begins with a digit.
    digits: Vec<bool>,
}

impl Vocabulary {
    /// `ends_text` marks, by id, the tokens that end the model's text; it has as many entries as there are logits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if no token ends the text.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, ends_text: Vec<bool>) -> Result<Self> {
        let size = ends_text.len();
        let end = ends_text.iter().position(|&ends| ends).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidModel,
                "the model's vocabulary has no end-of-text token (tokenizer.ggml.eos_token_id)",
            )
        })?;
        let end = u32::try_from(end).expect("vocabularies have fewer than 2^32 tokens");
        let guides = Guides::new(tokenizer.clone(), size, end)?;
        // A control token would not be text; a token without bytes would write nothing and could repeat for ever.
        let unusable = |id: usize| {
            let id = u32::try_from(id).expect("vocabularies have fewer than 2^32 tokens");
            tokenizer.is_control(id) || tokenizer.token_bytes(id).is_none_or(<[u8]>::is_empty)
        };
        let banned_in_reasoning: Vec<_> = (0..size).map(|id| ends_text[id] || unusable(id)).collect();
        let banned_in_answer = (0..size).map(|id| !ends_text[id] && unusable(id)).collect();
        let begins = |id: usize| {
            let id = u32::try_from(id).expect("vocabularies have fewer than 2^32 tokens");
            let first = tokenizer.token_bytes(id).and_then(<[u8]>::first);
            !tokenizer.is_control(id) && first.is_some_and(u8::is_ascii_digit)
        };
        let digits = (0..size).map(begins).collect();
        Ok(Self { tokenizer, guides, ends_text, banned_in_reasoning, banned_in_answer, digits })
    }

    /// Admits, within reasoning, the token that closes it. If the closing is plain text, admits the end-of-text tokens
    /// instead: a model that was not trained for the tags may end its turn without one. Returns whether the closing is
    /// plain text.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if the vocabulary cannot write the tags.
    pub(super) fn set_reasoning_marks(&mut self, open: &str, close: &str) -> Result<bool> {
        marks(&self.tokenizer, open)?;
        let closing = marks(&self.tokenizer, close)?;
        let token = closing.into_iter().find(|&id| self.tokenizer.is_control(id));
        match token {
            Some(id) => {
                if let Some(banned) = self.banned_in_reasoning.get_mut(id as usize) {
                    *banned = false;
                }
            }
            None => self.banned_in_reasoning.clone_from(&self.banned_in_answer),
        }
        Ok(token.is_none())
    }

    /// Refuses a vocabulary that cannot write verdicts, such as one whose byte tokens lost their types.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] with the layout or the score that it cannot write.
    pub(super) fn check_verdicts(&self, profile: &Profile) -> Result<()> {
        let form = &profile.verdict;
        let layout = VerdictGrammar::new(form, profile.scale, &form.separator, &["model-1".into(), "model-2".into()]);
        let scores = layout.marks();
        let spelled = scores.all().map(|score| scores.spelled(score));
        match std::iter::once(layout.example()).chain(spelled).find(|text| !self.guides.writes(text)) {
            Some(text) => Err(Error::new(
                ErrorKind::InvalidModel,
                format!(
                    "the model's vocabulary cannot write {text:?}, so it cannot write a verdict: convert the \
                     model again with its tokenizer, or change the layout or the scale in the profile"
                ),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    pub(super) fn guides(&self) -> &Guides {
        &self.guides
    }

    /// The bytes that a token writes.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.tokenizer.token_bytes(id).unwrap_or_default()
    }

    /// Whether this token ends the text.
    pub(super) fn ends_text(&self, id: u32) -> bool {
        self.ends_text.get(id as usize).copied().unwrap_or(false)
    }

    /// Marks, by id, what is not sampled within reasoning: end-of-text tokens, control tokens, the opening token.
    pub(super) fn banned_in_reasoning(&self) -> &[bool] {
        &self.banned_in_reasoning
    }

    /// Marks, by id, the tokens whose text begins with a digit.
    pub(super) fn digits(&self) -> &[bool] {
        &self.digits
    }

    /// Adds to the probe of a place within a number, or at its end, what all tokens write there: digits, or the end of the number.
    pub(super) fn probe_end(&self, logits: &[f32], probe: &mut ScoreProbe) {
        let mut others = Vec::with_capacity(logits.len());
        for (id, (&logit, &digit)) in (0..).zip(logits.iter().zip(&self.digits)) {
            if digit {
                probe.add(self.bytes(id), id, logit);
            } else {
                others.push(logit);
            }
        }
        if let Some(log) = log_sum(&others) {
            probe.add_end(log);
        }
        probe.set_all(log_sum(logits));
    }

    /// Marks, by id, what is not sampled within a free answer: control tokens, except end-of-text tokens.
    pub(super) fn banned_in_answer(&self) -> &[bool] {
        &self.banned_in_answer
    }
}
