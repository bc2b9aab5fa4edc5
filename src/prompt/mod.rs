//! From a request to what the engine reads: mask the names, build the messages, render the chat template, tokenize.

pub mod mask;
pub mod profile;
pub mod tokenize;
