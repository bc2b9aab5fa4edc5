//! Submitting with further settings: priority, deadline, name, reasoning while it is written, events.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::boundary::{given, misuse};
use super::error::dicast_error;
use super::events::dicast_events;
use super::job::priority_of;
use super::judge::dicast_judge;
use super::layout::{self, Layout};
use super::log::UserData;
use super::request::dicast_request;
use super::text::{Text, dicast_str};
use super::ticket::{dicast_callback, dicast_ticket, submitted};
use crate::error::{ErrorKind, Result};
use crate::judge::{Judge, Submission};

/// Takes a piece of the reasoning while it is written: whole characters, in order. `piece` is valid only during the call.
///
/// It is called on the thread that calls the other callbacks of the judge, one at a time. If it is slow, it gets several pieces
/// as one. All pieces come before the callback or the event of the judgment; dicast_ticket_wait may return before the last
/// one. It must not throw or longjmp.
pub type dicast_reasoning_callback = Option<unsafe extern "C" fn(user_data: *mut c_void, piece: dicast_str)>;

/// How a request is submitted. Zero the struct, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_submit_options {
    /// sizeof(dicast_submit_options).
    pub struct_size: usize,
    /// Your name for the judgment, which appears in log lines; empty for none. Copied.
    pub id: dicast_str,
    /// DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH: which judgment goes first if several wait for the engine. The highest goes first,
    /// but every fourth place goes to the one that has waited longest, so that nothing starves. The embedded engine does this.
    pub priority: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The judgment ends at most this many milliseconds after its submission; 0: only the `timeout_ms` of its options applies.
    pub deadline_ms: u64,
    /// Gets the reasoning while it is written; may be NULL. From an engine that gives the reasoning only at its end, it gets one piece.
    pub on_reasoning: dicast_reasoning_callback,
    /// Passed to `on_reasoning` unchanged.
    pub reasoning_user_data: *mut c_void,
    /// Gets the outcome; NULL: `events` or dicast_ticket_wait gets it.
    pub callback: dicast_callback,
    /// Passed to `callback` unchanged.
    pub user_data: *mut c_void,
    /// Gets the outcome as an event, instead of a callback; NULL for none. It may be freed before the judgment ends.
    pub events: *const dicast_events,
    /// Returned in the event.
    pub tag: u64,
}

// SAFETY: `repr(C)`, words, pairs of halves and a text of two words; zero is no callback, and any other pattern is the program's
// word for one.
unsafe impl Layout for dicast_submit_options {
    const FIRST_SIZE: usize = 88;
    const NAME: &'static str = "dicast_submit_options";
}

/// As dicast_judge_submit, with `options`, which may be NULL.
///
/// On success you own `*ticket`. With a callback or events `ticket` may be NULL; the outcome is delivered anyway.
///
/// On failure nothing was submitted, no ticket was made, and there will be no callback and no event. Either the request itself
/// is wrong, or the status is DICAST_OVERLOADED (the queue or `events` is full), DICAST_CLOSED or DICAST_ASLEEP.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_submit_with(
    judge: Option<&dicast_judge>,
    request: Option<&dicast_request>,
    options: *const dicast_submit_options,
    ticket: *mut *mut dicast_ticket,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (handle, request) = (given(judge, "judge")?, given(request, "request")?);
        let opened = handle.get()?;
        let mut callback = None;
        let mut user_data = std::ptr::null_mut();
        let (mut submission, mut awaited) = (Submission::default(), None);
        if !options.is_null() {
            // SAFETY: the options announce their size, and their text lives during the call.
            let options = unsafe { layout::read(options)? };
            if options.reserved != 0 {
                return Err(misuse("reserved of dicast_submit_options is not 0"));
            }
            // SAFETY: as above; the events, where they are given, are alive during the call.
            let (id, events) = unsafe { (options.id.text("id", ErrorKind::InvalidArgument)?, options.events.as_ref()) };
            if events.is_some() && options.callback.is_some() {
                return Err(misuse("callback and events are both given: the outcome can go to one of them"));
            }
            submission = submission_of(id, options.priority, options.deadline_ms)?;
            if let Some(hear) = options.on_reasoning {
                submission = listening(opened, submission, hear, UserData(options.reasoning_user_data));
            }
            awaited = events.map(|events| events.expect(options.tag)).transpose()?;
            (callback, user_data) = (options.callback, options.user_data);
        }
        if callback.is_none() && awaited.is_none() && ticket.is_null() {
            return Err(misuse("there is no callback, no events and no ticket: the outcome could go nowhere"));
        }
        let pending = opened.submit_with(request.get(), submission);
        // SAFETY: that a pointer can be written to `ticket` is the caller's promise.
        unsafe { submitted(handle, pending, callback, UserData(user_data), awaited, ticket) }
    })
}

/// A submission with a name, a priority and a deadline, which is 0 for none.
pub(super) fn submission_of(id: &str, priority: i32, deadline_ms: u64) -> Result<Submission> {
    let mut submission = Submission::default().priority(priority_of(priority)?);
    if !id.is_empty() {
        submission = submission.id(id);
    }
    if deadline_ms > 0 {
        submission.deadline = Instant::now().checked_add(Duration::from_millis(deadline_ms));
    }
    Ok(submission)
}

/// With a callback that gets the reasoning on the judge's thread for callbacks. Pieces that come while it runs are joined, so
/// that at most the reasoning itself is held.
fn listening(
    judge: &Judge,
    submission: Submission,
    hear: unsafe extern "C" fn(*mut c_void, dicast_str),
    user_data: UserData,
) -> Submission {
    let unsaid = Arc::new(Mutex::new(String::new()));
    let call_later = judge.caller();
    submission.on_reasoning(move |piece| {
        let mut text = unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = text.is_empty();
        text.push_str(piece);
        if !was_empty {
            return;
        }
        let unsaid = unsaid.clone();
        call_later(Box::new(move || {
            let piece = Text::new(&std::mem::take(&mut *unsaid.lock().unwrap_or_else(PoisonError::into_inner)));
            // SAFETY: the program has promised that it can be called with its data from a thread of the judge's.
            unsafe { hear(user_data.get(), piece.view()) };
        }));
    })
}
