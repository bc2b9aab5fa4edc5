//! How many tokens a request takes, before it is submitted.

use std::time::Instant;

use super::Judge;
use super::prepare::Prepared;
use super::submission::Submission;
use crate::decode::plan::{CHARACTER_GRACE, Plan, VerdictPlan};
use crate::decode::reasoning::ReasoningTokens;
use crate::engine::{Engine, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::Tokenizer;
use crate::request::JudgeRequest;

/// How many tokens a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCount {
    /// The number of generations: 1, or more for an ensemble, a rubric or blocks.
    pub runs: usize,
    /// Tokens of the longest prompt among its runs.
    pub prompt_tokens: usize,
    /// Tokens of the prompts of all its runs.
    pub all_prompt_tokens: usize,
    /// The tokens at the beginning of each prompt that all prompts of this judge share.
    pub shared_tokens: usize,
    /// The most tokens that a run may write, reasoning and verdict together.
    pub output_tokens: usize,
    /// Whether that number is the engine's own; otherwise it is an estimate.
    pub is_exact: bool,
    /// The tokens of prompt and output together that fit in the context; `None` if the engine does not say.
    pub context_tokens: Option<usize>,
}

impl TokenCount {
    /// Whether prompt and output fit in the context. A request that does not fit is refused.
    pub fn fits(&self) -> bool {
        self.context_tokens.is_none_or(|context| self.prompt_tokens + self.output_tokens <= context)
    }
}

impl Judge {
    /// Counts the tokens of a request without judging it.
    ///
    /// # Errors
    /// Those of the request; [`ErrorKind::ContextOverflow`] if its text cannot fit in the context however it is tokenized;
    /// [`ErrorKind::Unsupported`] if the engine tokenizes the text itself; [`ErrorKind::Asleep`].
    pub fn count(&self, request: &JudgeRequest) -> Result<TokenCount> {
        let loaded = self.power.awake()?;
        let Some(tokenizer) = loaded.prompter.tokenizer() else {
            return Err(Error::new(ErrorKind::Unsupported, "this engine makes the tokens of a prompt itself"));
        };
        let Prepared { first, second, .. } = self.runs(&loaded, request, Submission::default(), Instant::now())?;
        let runs = first.runs.into_iter().chain(second.into_iter().flat_map(|second| second.stage.runs));
        let context_tokens = self.capabilities.context_tokens;
        let mut count = TokenCount {
            runs: 0,
            prompt_tokens: 0,
            all_prompt_tokens: 0,
            shared_tokens: 0,
            output_tokens: 0,
            is_exact: true,
            context_tokens,
        };
        for run in runs {
            count.runs += 1;
            let Input::Tokens { ids, shared_prefix } = run.job.input else { continue };
            count.prompt_tokens = count.prompt_tokens.max(ids.len());
            count.all_prompt_tokens += ids.len();
            count.shared_tokens = shared_prefix;
            let (output, is_exact) = output_tokens(loaded.engine.as_ref(), &run.job.plan, tokenizer)?;
            count.is_exact &= is_exact;
            count.output_tokens = count.output_tokens.max(output);
        }
        Ok(count)
    }
}

/// The most tokens that a plan may take besides its prompt, and whether the number is the engine's own or an estimate.
pub(super) fn output_tokens(engine: &dyn Engine, plan: &Plan, tokenizer: &Tokenizer) -> Result<(usize, bool)> {
    match engine.output_tokens(plan)? {
        Some(tokens) => Ok((tokens, true)),
        None => Ok((estimate(plan, tokenizer)?, false)),
    }
}

/// As many tokens as a plan may take besides its prompt, by the limit that the embedded engine and TensorRT-LLM set for a
/// verdict. An engine in another process does not tell its limit before it gets the job, and refuses what exceeds it.
fn estimate(plan: &Plan, tokenizer: &Tokenizer) -> Result<usize> {
    let reasoning = plan.reasoning.as_ref().map(|plan| ReasoningTokens::new(plan, tokenizer)).transpose()?;
    let reasoning = reasoning.map_or(0, |tokens| {
        tokens.opening.len() + tokens.budget as usize + CHARACTER_GRACE as usize + tokens.forced_most()
    });
    let verdict = match &plan.verdict {
        VerdictPlan::Guided { grammar, .. } => {
            let example = grammar.example();
            let tokens = tokenizer.encode_text(&example)?.len();
            (tokens + tokens / 2 + 16).min(example.len()) + 1 + grammar.looks_ahead()
        }
        VerdictPlan::Free { max_tokens } => *max_tokens as usize,
    };
    Ok(reasoning + verdict)
}
