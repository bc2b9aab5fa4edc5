//! Text to token ids, such that text of users can never become a control token.

/// A model's tokenizer.
pub struct Tokenizer {}
