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
/// The most tokens that a verdict can have: for each response, and for the rest.
const VERDICT_TOKENS: (usize, usize) = (64, 64);

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
            Ok(prompt) => {
                tokens += prompt;
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

/// The tokens of a prompt that fits with the longest answer.
fn fits(judge: &Judge, request: &JudgeRequest) -> dicast::Result<usize> {
    let prompt = judge.prompt(request)?.tokens.len();
    let settings = request.options.or(&judge.config().options).or(&judge.profile().decoding).resolve_request()?;
    let reasoning = if settings.reasoning { settings.max_reasoning_tokens as usize } else { 0 };
    let verdict = if settings.guided.unwrap_or(true) {
        let names: usize = request.responses.iter().map(|response| response.name.len()).sum();
        2 * names + request.responses.len() * VERDICT_TOKENS.0 + VERDICT_TOKENS.1
    } else {
        settings.max_verdict_tokens as usize
    };
    let Some(context) = judge.capabilities().context_tokens else { return Ok(prompt) };
    if prompt >= context {
        let message = format!("the prompt has {prompt} tokens, but the context holds {context}: shorten the request");
        return Err(Error::new(ErrorKind::ContextOverflow, message));
    }
    if prompt + reasoning + verdict > context {
        // Near the limit only the engine knows: it refuses what does not fit before it computes anything. If it begins to
        // compute, the request fits; it is cancelled then.
        if let Ok(Err(error)) = judge.submit_when_free(request).wait_timeout(REFUSAL)
            && error.kind() == ErrorKind::ContextOverflow
        {
            return Err(error);
        }
    }
    Ok(prompt)
}
