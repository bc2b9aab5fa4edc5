//! Sleeping, waking, and other weights.

use std::mem::MaybeUninit;
use std::time::Duration;

use super::boundary::{given, misuse};
use super::error::dicast_error;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::text::dicast_str;
use crate::error::{ErrorKind, Result};
use crate::judge::{Arriving, Sleep};

/// Requests that come while the judge sleeps wait until it wakes; their deadlines count on.
pub const DICAST_ARRIVING_WAIT: u32 = 0;
/// Requests that come while the judge sleeps fail at once as DICAST_ASLEEP.
pub const DICAST_ARRIVING_FAIL: u32 = 1;

/// How a judge falls asleep. Zero the struct, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_sleep_options {
    /// sizeof(dicast_sleep_options).
    pub struct_size: usize,
    /// DICAST_ARRIVING_WAIT (0) or DICAST_ARRIVING_FAIL: what becomes of requests that come while the judge sleeps.
    pub arriving: u32,
    /// 0: the judgments that run are waited for. 1: they end as DICAST_CANCELLED.
    pub cancel_running: u32,
    /// How long to wait for the judgments that run, in milliseconds; 0: as long as their deadlines allow.
    pub patience_ms: u64,
}

// SAFETY: `repr(C)`, words and a pair of halves.
unsafe impl Layout for dicast_sleep_options {
    const FIRST_SIZE: usize = 24;
    const NAME: &'static str = "dicast_sleep_options";
}

/// # Safety
/// `options` is null or points to a struct of the size that it announces.
unsafe fn read(options: *const dicast_sleep_options) -> Result<Sleep> {
    let mut sleep = Sleep::default();
    if options.is_null() {
        return Ok(sleep);
    }
    // SAFETY: passed on.
    let options = unsafe { layout::read(options)? };
    sleep.arriving = match options.arriving {
        DICAST_ARRIVING_WAIT => Arriving::Wait,
        DICAST_ARRIVING_FAIL => Arriving::Fail,
        other => return Err(misuse(format!("arriving is {other}: it must be one of DICAST_ARRIVING_…"))),
    };
    sleep.cancel_running = match options.cancel_running {
        0 => false,
        1 => true,
        other => return Err(misuse(format!("cancel_running is {other}: it must be 0 or 1"))),
    };
    sleep.patience = (options.patience_ms > 0).then(|| Duration::from_millis(options.patience_ms));
    Ok(sleep)
}

/// Gives the memory of weights and KV cache back until dicast_judge_wake, such as while a trainer on the same GPU needs it.
///
/// Waits for the judgments that run, or cancels them, as `options` say; NULL: waits. Requests that come meanwhile wait or
/// fail. An embedded or TensorRT-LLM engine is closed; an isolated one ends its worker process. A judge that sleeps already
/// only takes over `arriving`. Any thread, also a callback of the judge.
///
/// DICAST_UNSUPPORTED where the engine cannot (a server: its memory is not this process's); DICAST_TIMEOUT where judgments
/// still ran after `patience_ms`; DICAST_CLOSED. After a failure the judge goes on as before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_sleep(
    judge: Option<&dicast_judge>,
    options: *const dicast_sleep_options,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let judge = given(judge, "judge")?.get()?;
        // SAFETY: the options announce their size.
        judge.sleep(&unsafe { read(options)? })
    })
}

/// Takes the memory back and begins what waited. A judge that does not sleep stays as it is. Takes as long as loading the model.
///
/// DICAST_INVALID_MODEL where the model's file has changed meanwhile (dicast_judge_reload takes it as it is now), any error of
/// dicast_judge_open, DICAST_CLOSED. After a failure the judge sleeps on: it may be woken again.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_wake(
    judge: Option<&dicast_judge>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; { given(judge, "judge")?.get()?.wake() })
}

/// Replaces the weights by those of `model`, a path; empty text: by what is now at the place of the weights before. One set
/// of weights is in memory at a time.
///
/// The judgments that run end with the old weights or are cancelled, those that come meanwhile wait or fail, as `options` say.
/// A judge that sleeps wakes. The new model must have the same engine, context and places; the profile stays. Each verdict says
/// which weights judged: see dicast_verdict_weights.
///
/// DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_TIMEOUT, DICAST_CLOSED. Where `model` is no model at
/// all, or not of this engine, the judge goes on as before. Where loading fails later it sleeps: reload another model, or wake
/// it with the old one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_reload(
    judge: Option<&dicast_judge>,
    model: dicast_str,
    options: *const dicast_sleep_options,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let judge = given(judge, "judge")?.get()?;
        // SAFETY: the text lives during the call, and the options announce their size.
        let (model, how) = unsafe { (model.text("model", ErrorKind::InvalidArgument)?, read(options)?) };
        judge.reload(Some(model).filter(|model| !model.is_empty()), &how)
    })
}

/// Whether the judge sleeps; false for NULL and where it is closed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_is_asleep(judge: Option<&dicast_judge>) -> bool {
    boundary!(else false; { Some(judge?.get().ok()?.is_asleep()) })
}

/// Which weights judge: 0 those that the judge was opened with, then one more with each dicast_judge_reload; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_weights(judge: Option<&dicast_judge>) -> u64 {
    boundary!(else 0; { Some(judge?.get().ok()?.weights()) })
}
