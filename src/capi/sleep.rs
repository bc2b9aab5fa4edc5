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

/// Requests that arrive while the judge sleeps wait until it wakes; their deadlines keep running.
pub const DICAST_ARRIVING_WAIT: u32 = 0;
/// Requests that arrive while the judge sleeps fail at once as DICAST_ASLEEP.
pub const DICAST_ARRIVING_FAIL: u32 = 1;

/// How a judge falls asleep. Zero the struct, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_sleep_options {
    /// sizeof(dicast_sleep_options).
    pub struct_size: usize,
    /// DICAST_ARRIVING_WAIT (0) or DICAST_ARRIVING_FAIL: what happens to requests that arrive while the judge sleeps.
    pub arriving: u32,
    /// 0: wait for running judgments, and for dicast_judge_warm. 1: they end as DICAST_CANCELLED.
    pub cancel_running: u32,
    /// How long to wait for running judgments, in milliseconds; 0: as long as their deadlines allow.
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

/// Frees the memory of weights and KV cache until dicast_judge_wake, for example while a trainer on the same GPU needs it.
///
/// Waits for running judgments or cancels them, as `options` says; with NULL it waits. Requests that arrive meanwhile wait or
/// fail. An embedded or TensorRT-LLM engine is closed; an isolated one ends its worker process. If the judge already sleeps,
/// only `arriving` is changed. Any thread, also a callback of the judge.
///
/// DICAST_UNSUPPORTED if the engine cannot do this (the memory of a server is not in this process); DICAST_TIMEOUT if judgments
/// still ran after `patience_ms`; DICAST_CLOSED. After a failure the judge works as before.
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

/// Loads the model again and starts the waiting requests. Does nothing if the judge does not sleep. Takes as long as loading
/// the model.
///
/// DICAST_INVALID_MODEL if the model's file has changed meanwhile (dicast_judge_reload loads it as it is now), any error of
/// dicast_judge_open, DICAST_CLOSED. After a failure the judge still sleeps: it may be woken again.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_wake(
    judge: Option<&dicast_judge>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; { given(judge, "judge")?.get()?.wake() })
}

/// Replaces the weights by those of `model`, a path; with an empty text, by those that are now at the path of the current
/// weights. Only one set of weights is in memory at a time.
///
/// Running judgments end with the old weights or are cancelled; requests that arrive meanwhile wait or fail, as `options` says.
/// A sleeping judge wakes. The new model must have the same engine, context and number of places; the profile stays the same.
/// Each verdict says which weights judged: see dicast_verdict_weights.
///
/// DICAST_MODEL_NOT_FOUND, DICAST_INVALID_MODEL, DICAST_UNSUPPORTED, DICAST_TIMEOUT, DICAST_CLOSED. If `model` is not a model, or
/// not one for this engine, the judge works as before. If loading fails later, the judge sleeps: reload another model, or wake
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

/// Whether the judge sleeps; false for NULL and if it is closed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_is_asleep(judge: Option<&dicast_judge>) -> bool {
    boundary!(else false; { Some(judge?.get().ok()?.is_asleep()) })
}

/// Which weights judge: 0 is the set that the judge was opened with, and each dicast_judge_reload adds one. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_weights(judge: Option<&dicast_judge>) -> u64 {
    boundary!(else 0; { Some(judge?.get().ok()?.weights()) })
}
