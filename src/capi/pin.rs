//! `dicast_pin`: the beginning of prompts, kept computed.

use std::mem::{ManuallyDrop, MaybeUninit};

use super::boundary::given;
use super::error::dicast_error;
use super::judge::{Process, dicast_judge};
use super::request::dicast_request;
use crate::judge::Pinned;

/// The beginning of prompts, which a judge keeps computed until dicast_pin_free.
///
/// You own it. It may outlive its judge. Nothing is kept any more once the judge sleeps, takes other weights or is closed: call
/// dicast_judge_warm again when it is awake. Any number of threads may read one pin at once.
pub struct dicast_pin {
    pinned: ManuallyDrop<Pinned>,
    process: Process,
}

impl Drop for dicast_pin {
    fn drop(&mut self) {
        if self.process.is_current() {
            // SAFETY: it is dropped here alone, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.pinned) };
        }
    }
}

/// Computes the shared beginning of the prompts of many judgments before the first of them, and keeps it, whatever else is
/// judged meanwhile, until dicast_pin_free. Waits until that is done, at most for the `timeout_ms` of the request's options.
/// Any thread.
///
/// It keeps the beginning of all prompts with the principle of `request`, or, if its prompt is not empty, of all prompts with
/// this principle and this prompt; for a rubric, that of each criterion. The responses do not matter; there may be none. Only
/// the embedded engine can do this, also in a worker process (`local.isolation`); if that dies, the next one computes the
/// prefixes again. It keeps up to 8 prefixes in up to half of its keys and values. If a
/// judgment needs the room of a prefix, it gets it; the prefix is kept again once a judgment has computed it, or after another
/// call of this function. While it waits for room, no judgment begins that would take it. dicast_judge_sleep and
/// dicast_judge_reload wait for it as for a judgment; with `cancel_running` they end it.
///
/// On success you own `*pin`. DICAST_UNSUPPORTED on other engines and with
/// `local.deterministic`: judge one request instead. DICAST_OVERLOADED if too much is kept already: free a pin; also for a
/// rubric of more than 8 criteria. DICAST_INVALID_REQUEST, DICAST_TOO_LARGE, DICAST_CONTEXT_OVERFLOW, DICAST_TIMEOUT,
/// DICAST_CANCELLED, DICAST_ASLEEP, DICAST_CLOSED, DICAST_ENGINE. Nothing is kept then.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_judge_warm(
    judge: Option<&dicast_judge>,
    request: Option<&dicast_request>,
    pin: Option<&mut MaybeUninit<*mut dicast_pin>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (judge, request) = (given(judge, "judge")?, given(request, "request")?);
        let out = given(pin, "pin")?;
        let pinned = ManuallyDrop::new(judge.get()?.warm(request.get())?);
        out.write(Box::into_raw(Box::new(dicast_pin { pinned, process: judge.process() })));
        Ok(())
    })
}

/// How many tokens are kept, of all criteria of a rubric together; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_pin_tokens(pin: Option<&dicast_pin>) -> usize {
    boundary!(else 0; { Some(pin?.pinned.tokens()) })
}

/// Frees a pin: what it kept makes room. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_pin_free(pin: Option<Box<dicast_pin>>) {
    boundary!(else (); {
        drop(pin);
        Some(())
    });
}
