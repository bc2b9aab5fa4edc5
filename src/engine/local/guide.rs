//! Holds a verdict to its grammar, through llguidance: which tokens are forced, which are allowed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::Tokenizer;

/// Most compiled grammars that are kept. With masked names a grammar depends only on the number of responses, so a few
/// serve all requests.
const CACHE: usize = 64;

/// Compiles grammars for one vocabulary.
pub(super) struct Guides {
    factory: ParserFactory,
    tokenizer: Arc<Tokenizer>,
    compiled: Mutex<HashMap<String, Compiled>>,
}

#[derive(Clone)]
struct Compiled {
    matcher: Matcher,
    most_tokens: usize,
}

/// One verdict that is being written.
pub(super) struct Guide {
    matcher: Matcher,
}

/// The vocabulary as llguidance sees it.
struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        // Forced bytes may end inside a character; the trie's greedy walk covers those.
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            // A tokenizer that normalizes writes other bytes than these (é for e and an accent), and the grammar would
            // refuse them.
            let ids = self.tokenizer.encode_text(text).unwrap_or_default();
            if self.tokenizer.decode(&ids) == text.as_bytes() {
                ids
            } else {
                self.trie.greedy_tokenize(text.as_bytes())
            }
        })
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("the verdict grammar failed: {error}"))
}

impl Guides {
    /// Prepares a vocabulary of `size` tokens, of which `end` ends the text.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, size: usize, end: u32) -> Result<Self> {
        let words: Vec<Vec<u8>> = (0..size)
            .map(|id| {
                let id = u32::try_from(id).expect("vocabularies have fewer than 2^32 tokens");
                let bytes = tokenizer.token_bytes(id).unwrap_or_default();
                if tokenizer.is_control(id) {
                    // The marker of llguidance: such a token matches no text.
                    [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
                } else {
                    bytes.to_vec()
                }
            })
            .collect();
        let info = TokRxInfo::new(u32::try_from(size).map_err(failed)?, end);
        let trie = TokTrie::from(&info, &words);
        let environment: TokEnv = Arc::new(Vocabulary { trie, tokenizer: tokenizer.clone() });
        // Forced tokens are requested explicitly; slices speed up free strings, and a verdict has none.
        let capabilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let mut factory = ParserFactory::new(&environment, capabilities, &[]).map_err(failed)?;
        factory.quiet();
        Ok(Self { factory, tokenizer, compiled: Mutex::default() })
    }

    /// The guide of a Lark grammar, compiled or from the cache. `example` is a verdict that the grammar admits.
    ///
    /// Also gives the most tokens that a verdict may take: forced parts are tokenized as `example` is, and sampled
    /// parts may be split more finely. Half as many tokens again have been ample for that.
    pub(super) fn guide(&self, lark: &str, example: &str) -> Result<(Guide, usize)> {
        let cached = self.compiled.lock().map_err(failed)?.get(lark).cloned();
        let compiled = if let Some(compiled) = cached {
            compiled
        } else {
            if !self.writes(example) {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    "the model's vocabulary cannot write the names of the responses: remove their rare \
                     characters, or hide the names (mask)",
                ));
            }
            let matcher = self.compile(lark)?;
            let tokens = self.tokenizer.encode_text(example)?.len();
            let compiled = Compiled { matcher, most_tokens: (tokens + tokens / 2 + 16).min(example.len() + 1) };
            let mut cache = self.compiled.lock().map_err(failed)?;
            if cache.len() >= CACHE {
                cache.clear();
            }
            cache.insert(lark.to_owned(), compiled.clone());
            compiled
        };
        Ok((Guide { matcher: compiled.matcher.deep_clone() }, compiled.most_tokens))
    }

    /// Whether the vocabulary has tokens for each byte of a text. If one is missing, a grammar that forces it fails,
    /// and a grammar that admits it among others never gets it.
    pub(super) fn writes(&self, text: &str) -> bool {
        let ids = self.factory.tok_env().tokenize_bytes(text.as_bytes());
        self.tokenizer.decode(&ids) == text.as_bytes()
    }

    /// A guide that is not kept: for grammars that no second request will use.
    pub(super) fn one_off(&self, lark: &str) -> Result<Guide> {
        Ok(Guide { matcher: self.compile(lark)? })
    }

    fn compile(&self, lark: &str) -> Result<Matcher> {
        // The caller's stack may be small.
        let compile = || Matcher::new(self.factory.create_parser(TopLevelGrammar::from_lark(lark.to_owned())));
        let matcher = crate::thread::on_stack(crate::thread::ROOMY, compile).map_err(|error| {
            Error::new(ErrorKind::Engine, format!("there is no thread to compile the verdict grammar: {error}"))
        })?;
        match matcher.get_error() {
            Some(error) => Err(failed(error)),
            None => Ok(matcher),
        }
    }
}

impl Guide {
    /// Tokens that must come next. They are already counted as written.
    pub(super) fn forced(&mut self) -> Vec<u32> {
        self.matcher.consume_ff_tokens()
    }

    /// The tokens that may come next.
    pub(super) fn allowed(&mut self) -> Result<SimpleVob> {
        self.matcher.compute_mask().map_err(failed)
    }

    /// Counts a token as written.
    pub(super) fn take(&mut self, token: u32) -> Result<()> {
        self.matcher.consume_token(token).map_err(failed)
    }

    /// Whether the verdict is complete.
    pub(super) fn is_complete(&mut self) -> Result<bool> {
        if let Some(error) = self.matcher.get_error() {
            return Err(failed(error));
        }
        Ok(self.matcher.is_stopped() || self.matcher.is_accepting().map_err(failed)?)
    }
}
