//! Counting the tokens of a request before it is submitted.

use std::mem::MaybeUninit;

use super::boundary::given;
use super::error::dicast_error;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::request::dicast_request;
use super::stats::count;

/// How many tokens a request takes. Set `struct_size` before the call, which writes the other fields.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct dicast_count {
    /// sizeof(dicast_count).
    pub struct_size: usize,
    /// Tokens of the prompt; of the longest one, if the judgment has several runs.
    pub prompt_tokens: u64,
    /// Tokens of the prompts of all runs.
    pub all_prompt_tokens: u64,
    /// Tokens at the start of each prompt that all prompts of this judge have in common.
    pub shared_tokens: u64,
    /// Most tokens that a run may write, reasoning and verdict together.
    pub output_tokens: u64,
    /// Tokens of prompt and output together that the context holds; 0 if the engine does not say.
    pub context_tokens: u64,
    /// Number of generations for the judgment: 1, or more for an ensemble, a rubric or blocks.
    pub runs: u64,
    /// 1 if prompt and output fit the context, or if that is not known. 0: judging the request gives DICAST_CONTEXT_OVERFLOW.
    pub fits: u32,
    /// 1 if the engine itself says how much may be written; 0 if that is an estimate.
    pub exact: u32,
}

// SAFETY: `repr(C)`, words and a pair of halves.
unsafe impl Layout for dicast_count {
    const FIRST_SIZE: usize = 64;
    const NAME: &'static str = "dicast_count";
}

/// Counts the tokens of a request and says whether it fits, without judging it. Set `tokens->struct_size` before the call. Takes as
/// long as making the prompt: some tens of microseconds for a kilobyte of text.
///
/// DICAST_UNSUPPORTED if the engine makes the tokens itself, as most servers do. The errors of the request;
/// DICAST_CONTEXT_OVERFLOW if its text is too long to fit, however it is tokenized. DICAST_ASLEEP, DICAST_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_count(
    judge: Option<&dicast_judge>,
    request: Option<&dicast_request>,
    tokens: *mut dicast_count,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (judge, request) = (given(judge, "judge")?.get()?, given(request, "request")?);
        // SAFETY: the struct announces its size.
        unsafe { layout::check(tokens)? };
        let found = judge.count(request.get())?;
        let value = dicast_count {
            struct_size: size_of::<dicast_count>(),
            prompt_tokens: count(found.prompt_tokens),
            all_prompt_tokens: count(found.all_prompt_tokens),
            shared_tokens: count(found.shared_tokens),
            output_tokens: count(found.output_tokens),
            context_tokens: count(found.context_tokens.unwrap_or(0)),
            runs: count(found.runs),
            fits: found.fits().into(),
            exact: found.is_exact.into(),
        };
        // SAFETY: the struct announces its size, which was checked.
        unsafe { layout::write(tokens, &value) }
    })
}
