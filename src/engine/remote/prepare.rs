//! What a judgment needs before its first request: the tokens of its prompt, and those that its verdict may take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use crate::config::ControlTokens;
use crate::decode::grammar::{Choices, VerdictGrammar};
use crate::decode::plan::{Plan, VerdictPlan};
use crate::decode::reasoning::ReasoningTokens;
use crate::engine::{Guidance, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::messages::Message;
use crate::prompt::template::Segment;

use super::body::messages;
use super::clock::Clock;
use super::drive::{Server, Shared};
use super::facts::Way;
use super::fault::{Fault, Tried};
use super::pool::{Endpoint, hash};
use super::text;
use super::writer::{Start, room};

/// Tokens at the end of a prompt that the template writes.
const TAIL: usize = 8;

/// A judgment over tokens, before its first request.
pub(super) struct Prepared {
    pub(super) ids: Vec<u32>,
    pub(super) plan: Plan,
    pub(super) reasoning: Option<ReasoningTokens>,
    /// Tokens that the longest verdict of the grammar takes.
    pub(super) most: usize,
    pub(super) choices: Option<Arc<Choices>>,
}

/// The tokens of the texts of a grammar.
#[derive(Default)]
pub(super) struct Spelling {
    /// Those that are known so far. If a server fails at one of them, only that one is asked for again.
    texts: Mutex<HashMap<String, Vec<u32>>>,
    /// `None` if the grammar needs more than single tokens.
    choices: OnceCell<Option<Arc<Choices>>>,
}

impl Spelling {
    fn texts(&self) -> MutexGuard<'_, HashMap<String, Vec<u32>>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub(super) fn start(&self, prepared: Prepared, sampling: Sampling, submitted: Instant) -> Start {
        let Prepared { ids, plan, reasoning, most, choices } = prepared;
        let context = self.pool.endpoints().iter().filter_map(|endpoint| endpoint.facts()?.context).min();
        Start {
            tokenizer: self.tokenizer.clone(),
            ids,
            plan,
            reasoning,
            sampling,
            submitted,
            alternatives: self.config.top_logprobs,
            stream: self.config.stream,
            guidance: self.guidance,
            most,
            choices,
            context,
        }
    }

    /// Tokens of the longest verdict, and of the reasoning's tags, by the tokenizer of this process.
    pub(super) fn measured(&self, plan: &Plan) -> Result<(usize, Option<ReasoningTokens>)> {
        let tokenizer = self
            .tokenizer
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "tokens came to an engine that takes messages"))?;
        let most = match &plan.verdict {
            VerdictPlan::Guided { grammar, .. } => roomy(tokenizer.encode_text(&grammar.example())?.len()),
            VerdictPlan::Free { .. } => 0,
        };
        let reasoning = plan.reasoning.as_ref().map(|plan| ReasoningTokens::new(plan, tokenizer)).transpose()?;
        Ok((most, reasoning))
    }

    /// Most tokens that a plan may take besides its prompt; `None` if the servers make the tokens.
    pub(super) fn output_tokens(&self, plan: &Plan) -> Result<Option<usize>> {
        if self.tokenizer.is_none() {
            return Ok(None);
        }
        let (most, reasoning) = self.measured(plan)?;
        Ok(Some(room(plan, reasoning.as_ref(), self.guidance, most)))
    }

    /// Refuses text that a server may take for its control tokens.
    pub(super) fn check_text(&self, messages: &[Message]) -> Result<()> {
        if self.config.control_tokens == ControlTokens::Pass {
            return Ok(());
        }
        let form = self.profile.reasoning.as_ref();
        let tags: Vec<&str> = form.map(|form| vec![form.open.as_str(), form.close.as_str()]).unwrap_or_default();
        // The profile's own words are trusted.
        let own = self.profile.system_prompt.as_str();
        let texts = messages.iter().map(|message| {
            let text = message.content.as_str();
            if message.role == "system" { "" } else { text.strip_prefix(own).unwrap_or(text) }
        });
        let Some(token) = text::control_token(texts, &tags) else { return Ok(()) };
        Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "the request holds {token:?}, which the server may take for a control token, because it \
                 tokenizes messages itself: set remote.tokenizer to the folder with the model's tokenizer.json, \
                so that text stays text, or set remote.control_tokens to pass"
            ),
        ))
    }

    /// Tokenizes messages with a server's tokenizer.
    pub(super) async fn prepare(
        &self,
        messages: &[Message],
        mut plan: Plan,
        affinity: u64,
        clock: &Clock,
    ) -> Result<Prepared> {
        let example = match &plan.verdict {
            VerdictPlan::Guided { grammar, .. } => Some(grammar.example()),
            VerdictPlan::Free { .. } => None,
        };
        let reasons = plan.reasoning.is_some();
        let grammar = self.choosable(&plan).filter(|grammar| self.is_repeated(grammar)).cloned();
        let (ids, most, choices, tags) = self
            .try_servers(affinity, clock, async |server: &Server<'_>| {
                let ids = self.tokens(server, messages, reasons).await?;
                let most = match &example {
                    Some(example) => self.length(server, example).await?,
                    None => 0,
                };
                let choices = match &grammar {
                    Some(grammar) => {
                        self.choices_of(grammar, async |text: &str| server.text_tokens(text).await).await?
                    }
                    None => None,
                };
                Ok((ids, most, choices, server.facts.tags.clone()))
            })
            .await?;
        // The template may have opened the reasoning, or closed it. The end of the prompt comes from the template.
        let tail = &ids[ids.len().saturating_sub(TAIL)..];
        let mut reasoning = None;
        match (&mut plan.reasoning, &tags) {
            (Some(form), Some(tags)) => {
                let (open, close) =
                    (tail.iter().rposition(|&id| id == tags.open), tail.iter().rposition(|&id| id == tags.close));
                if close.is_some() && close > open {
                    plan.reasoning = None;
                } else {
                    if open.is_some() {
                        form.open = None;
                    }
                    reasoning = Some(ReasoningTokens::of_ids(form, tags.open, &tags.prefix, tags.close, &tags.line));
                }
            }
            _ => plan.reasoning = None,
        }
        Ok(Prepared { ids, plan, reasoning, most, choices })
    }

    /// The grammar of a verdict that a server may be asked for choice by choice.
    fn choosable<'a>(&self, plan: &'a Plan) -> Option<&'a VerdictGrammar> {
        let grammar = plan.verdict.grammar()?;
        let by_choice = |endpoint: &Arc<Endpoint>| endpoint.facts().is_some_and(|facts| facts.by_choice);
        let is_asked = self.config.top_logprobs > 0 && self.guidance == Guidance::Grammar;
        (is_asked && self.pool.endpoints().iter().any(by_choice)).then_some(grammar)
    }

    /// Whether many verdicts have this grammar, because its names are masked: only then it pays to ask a server for the tokens of its texts.
    fn is_repeated(&self, grammar: &VerdictGrammar) -> bool {
        const MOST_NAMES: usize = 16;
        let is_masked = |(place, name): (usize, &String)| {
            let letter = name.len() == 3 && name.as_bytes()[1].is_ascii_uppercase();
            letter || *name == format!("\"{}{}\"", self.profile.alias_prefix, place + 1)
        };
        grammar.names().len() <= MOST_NAMES && grammar.names().iter().enumerate().all(is_masked)
    }

    /// How a verdict is written choice by choice, by the tokenizer of this process.
    pub(super) async fn choices(&self, plan: &Plan) -> Result<Option<Arc<Choices>>> {
        let (Some(grammar), Some(tokenizer)) = (self.choosable(plan), &self.tokenizer) else { return Ok(None) };
        let tokens = async |text: &str| {
            let ids = tokenizer.encode_text(text)?;
            // A tokenizer may write another text, such as one with other characters for the same letters.
            Ok(if tokenizer.decode(&ids) == text.as_bytes() { ids } else { Vec::new() })
        };
        self.choices_of(grammar, tokens).await
    }

    /// The same, with the tokens of each text.
    async fn choices_of<E>(
        &self,
        grammar: &VerdictGrammar,
        tokens: impl AsyncFn(&str) -> std::result::Result<Vec<u32>, E>,
    ) -> std::result::Result<Option<Arc<Choices>>, E> {
        const MOST: usize = 256;
        let spelling = {
            let mut known = self.spellings.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST && !known.contains_key(grammar) {
                known.clear();
            }
            known.entry(grammar.clone()).or_default().clone()
        };
        let find = async || {
            for text in grammar.choice_texts() {
                if !spelling.texts().contains_key(&text) {
                    let ids = tokens(&text).await?;
                    spelling.texts().insert(text, ids);
                }
            }
            let texts = std::mem::take(&mut *spelling.texts());
            Ok(Choices::new(grammar, &texts).map(Arc::new))
        };
        // Of many judgments that begin at once, one asks.
        spelling.choices.get_or_try_init(find).await.cloned()
    }

    async fn tokens(&self, server: &Server<'_>, list: &[Message], reasons: bool) -> Tried<Vec<u32>> {
        if server.facts.way == Way::Rendered {
            let body = json!({
                "model": server.facts.model,
                "messages": messages(list),
                "add_generation_prompt": true,
                "chat_template_kwargs": self.variables(reasons),
            });
            return server.tokenize(&body).await;
        }
        let ours = |error: Error| Fault::ours(error.kind(), error.message());
        let template =
            self.template.as_ref().ok_or_else(|| Fault::ours(ErrorKind::Internal, "there is no template"))?;
        let mut ids = Vec::new();
        for segment in template.render(list, reasons).map_err(ours)? {
            let special = matches!(segment, Segment::Template(_));
            if !segment.text().is_empty() {
                let body = json!({ "content": segment.text(), "add_special": false, "parse_special": special });
                ids.extend(server.tokenize(&body).await?);
            }
        }
        Ok(ids)
    }

    /// The number of tokens of a verdict like `example`.
    async fn length(&self, server: &Server<'_>, example: &str) -> Tried<usize> {
        const MOST: usize = 4096;
        let text = hash(example.as_bytes());
        if let Some(&length) = self.lengths.lock().unwrap_or_else(PoisonError::into_inner).get(&text) {
            return Ok(length);
        }
        let length = roomy(server.text_tokens(example).await?.len());
        let mut lengths = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        if lengths.len() >= MOST {
            lengths.clear();
        }
        lengths.insert(text, length);
        Ok(length)
    }

    pub(super) fn variables(&self, reasons: bool) -> Map<String, Value> {
        let mut variables = self.profile.template_variables.clone();
        variables.insert("enable_thinking".into(), reasons.into());
        variables
    }
}

/// Extra room, because text may be tokenized differently within a grammar than as a whole, and for the end of the text.
fn roomy(tokens: usize) -> usize {
    tokens + tokens / 4 + 16
}
