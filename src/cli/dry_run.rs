//! `dicast batch --dry-run`: are the records requests, and do they fit?

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use dicast::{Error, ErrorKind, Judge, JudgeConfig, JudgeRequest};

use super::batch::Form;
use super::run::Files;
use super::run::formats::Records as _;
use super::{FAILED, Outcome, model, print, table};

/// Most wrong records that are named.
const NAMED: usize = 20;
/// Checks the records and counts their tokens.
pub(crate) fn run(form: &Form, files: &Files<'_>, limit: Option<u64>, config: JudgeConfig) -> Outcome {
    let mut records = files.open()?;
    let judge = model::open(config)?;
    let (mut count, mut wrong) = (0_u64, Vec::new());
    let (mut tokens, mut least, mut most) = (0_usize, usize::MAX, 0_usize);
    while limit.is_none_or(|limit| count < limit) {
        let Some(record) = records.next_record()? else { break };
        let place = record.place;
        count += 1;
        let (_, request) = form.read(record);
        match request.and_then(|request| fits(&judge, &request)) {
            Ok((prompt, all)) => {
                tokens += all;
                (least, most) = (least.min(prompt), most.max(prompt));
            }
            Err(error) => wrong.push(format!("  {place}: {}: {}", error.kind(), error.message())),
        }
    }
    let right = count - wrong.len() as u64;
    let mut text = format!("{}: {count} records, {right} can be judged\n", files.input_name());
    for line in wrong.iter().take(NAMED) {
        text.push_str(&table::printable(line, false));
        text.push('\n');
    }
    if wrong.len() > NAMED {
        let _ = writeln!(text, "  and {} more", wrong.len() - NAMED);
    }
    if right > 0 {
        let _ = write!(text, "prompt tokens: {tokens} in all, {least} to {most} each");
        if let Some(context) = judge.capabilities().context_tokens {
            let _ = write!(text, "; the context holds {context}");
        }
        text.push('\n');
    }
    print(&text)?;
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Within this time an engine refuses what does not fit, even on a busy machine.
const REFUSAL: Duration = Duration::from_secs(2);

/// The tokens of the longest prompt of a request that fits with the longest answer, and of all its prompts.
fn fits(judge: &Judge, request: &JudgeRequest) -> dicast::Result<(usize, usize)> {
    let count = judge.count(request)?;
    let tokens = (count.prompt_tokens, count.all_prompt_tokens);
    let Some(context) = count.context_tokens.filter(|_| !count.fits()) else { return Ok(tokens) };
    let (prompt, output) = (count.prompt_tokens, count.output_tokens);
    if count.is_exact || prompt >= context {
        let message = format!(
            "the prompt has {prompt} tokens and may be answered with {output}, but the context holds {context}: shorten the \
             request, or lower max_reasoning_tokens"
        );
        return Err(Error::new(ErrorKind::ContextOverflow, message));
    }
    // The answer's length is an estimate: only the engine knows. It refuses what does not fit before it computes anything. If
    // it begins to compute, the request fits; it is cancelled then.
    if let Ok(Err(error)) = judge.submit_when_free(request).wait_timeout(REFUSAL)
        && error.kind() == ErrorKind::ContextOverflow
    {
        return Err(error);
    }
    Ok(tokens)
}
