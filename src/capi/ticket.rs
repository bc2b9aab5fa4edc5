//! `dicast_ticket`: a judgment that was submitted.

use std::cell::Cell;
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::boundary::{Status, catch, given, misuse};
use super::error::dicast_error;
use super::events::Awaited;
use super::judge::{Process, dicast_judge};
use super::log::UserData;
use super::request::dicast_request;
use super::status::{DICAST_OK, DICAST_PENDING};
use super::verdict::dicast_verdict;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::{Canceller, Ticket, Waited};
use crate::prompt::profile::Scale;
use crate::verdict::Verdict;

/// Takes the outcome of a judgment. It is called exactly once. On DICAST_OK the callback owns `verdict`, and `error` is
/// NULL. Otherwise it owns `error`, and `verdict` is NULL.
///
/// Each judge has one thread that only calls callbacks, one at a time. A callback may call any function: submit, cancel,
/// wait for other judgments, free its own ticket, free the judge. While it runs, later callbacks wait, but computations go on.
/// It must not throw or longjmp.
pub type dicast_callback = Option<
    unsafe extern "C" fn(user_data: *mut c_void, status: i32, verdict: *mut dicast_verdict, error: *mut dicast_error),
>;

/// A judgment that was submitted.
///
/// Any number of threads may use one at once. You own it, until dicast_ticket_free. It may outlive its judge.
pub struct dicast_ticket {
    inner: ManuallyDrop<Inner>,
    process: Process,
    judge: u64,
    scale: Scale,
}

enum Inner {
    /// The outcome is for whoever waits.
    Waited(Ticket),
    /// The outcome is for a callback.
    Called { canceller: Canceller, end: Arc<End> },
}

impl dicast_ticket {
    fn get(&self) -> Result<&Inner> {
        self.process.check()?;
        Ok(&self.inner)
    }
}

impl Drop for dicast_ticket {
    fn drop(&mut self) {
        if self.process.is_current() {
            // SAFETY: it is dropped here alone, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.inner) };
        }
    }
}

/// How a judgment with a callback ended. Threads wait on it until the callback has returned.
#[derive(Default)]
struct End {
    state: Mutex<EndState>,
    ended: Condvar,
}

#[derive(Default)]
struct EndState {
    outcome: Option<std::result::Result<(), (ErrorKind, String)>>,
    /// Threads that wait: without any, no signal is sent, which would be a system call.
    waiters: usize,
}

impl End {
    fn set(&self, failure: Option<(ErrorKind, String)>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outcome = Some(failure.map_or(Ok(()), Err));
        let has_waiters = state.waiters > 0;
        drop(state);
        if has_waiters {
            self.ended.notify_all();
        }
    }

    fn wait(&self, timeout: Duration) -> Result<i32> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiters += 1;
        let waited = self.ended.wait_timeout_while(state, timeout, |state| state.outcome.is_none());
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        match &state.outcome {
            None => Ok(DICAST_PENDING),
            Some(Ok(())) => Ok(DICAST_OK),
            Some(Err((kind, message))) => Err(Error::new(*kind, message.clone())),
        }
    }
}

thread_local! {
    /// The judge whose callback this thread is in; 0 for none.
    static CALLING: Cell<u64> = const { Cell::new(0) };
}

/// A callback that must be called exactly once, even if it is dropped unused.
struct Call {
    callback: unsafe extern "C" fn(*mut c_void, i32, *mut dicast_verdict, *mut dicast_error),
    user_data: UserData,
    judge: u64,
    scale: Scale,
    /// For a ticket, if the program took one.
    end: Option<Arc<End>>,
    called: bool,
}

impl Call {
    fn deliver(mut self, outcome: Result<Verdict>) {
        self.call(outcome);
    }

    fn call(&mut self, outcome: Result<Verdict>) {
        self.called = true;
        let end = self.end.take().map(|end| (end, failure(&outcome)));
        let (status, verdict, error) = match outcome {
            Ok(verdict) => (DICAST_OK, dicast_verdict::give(verdict, self.scale), std::ptr::null_mut()),
            Err(error) => (error.kind().c_status(), std::ptr::null_mut(), dicast_error::give(error)),
        };
        let outer = CALLING.replace(self.judge);
        // SAFETY: the program has promised that it can be called with its data, once, from a thread of the judge's.
        unsafe { (self.callback)(self.user_data.get(), status, verdict, error) };
        CALLING.set(outer);
        if let Some((end, failure)) = end {
            end.set(failure);
        }
    }
}

/// How a judgment failed, for those who wait for its end.
fn failure(outcome: &Result<Verdict>) -> Option<(ErrorKind, String)> {
    outcome.as_ref().err().map(|error| (error.kind(), error.message().to_owned()))
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.called {
            return;
        }
        // The program waits for its callback, so it gets an error even if a defect lost the outcome.
        let _ = catch(|| {
            self.call(Err(Error::shut_down()));
            Ok(())
        });
    }
}

/// Submits a request and returns at once. `callback` gets the outcome. If it is NULL, dicast_ticket_wait gets it.
///
/// On success you own `*ticket`. With a callback `ticket` may be NULL; the callback is called anyway. The callback
/// may be called before this call has returned; `*ticket` is written before that.
///
/// On failure nothing was submitted, no ticket was made and the callback will not be called. Either the request itself is
/// wrong, or the status is DICAST_OVERLOADED or DICAST_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_submit(
    judge: Option<&dicast_judge>,
    request: Option<&dicast_request>,
    callback: dicast_callback,
    user_data: *mut c_void,
    // A pointer and no reference: a callback on another thread may read it while this call is still under way.
    ticket: *mut *mut dicast_ticket,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (handle, request) = (given(judge, "judge")?, given(request, "request")?);
        if callback.is_none() && ticket.is_null() {
            return Err(misuse("callback and ticket are both null: the outcome could go nowhere"));
        }
        let pending = handle.get()?.submit(request.get());
        // SAFETY: that a pointer can be written to `ticket` is the caller's promise.
        unsafe { submitted(handle, pending, callback, UserData(user_data), None, ticket) }
    })
}

/// Connects a submitted judgment with its receiver: a callback, events, or whoever waits for the ticket.
///
/// # Safety
/// `ticket` is null, or a pointer can be written to it; `callback` keeps its contract.
pub(super) unsafe fn submitted(
    handle: &dicast_judge,
    pending: Ticket,
    callback: dicast_callback,
    user_data: UserData,
    awaited: Option<Awaited>,
    ticket: *mut *mut dicast_ticket,
) -> Result<()> {
    let (judge, scale, process) = (handle.id(), handle.scale(), handle.process());
    if let Some(refused) = pending.take_failure() {
        return Err(refused);
    }
    let give = |inner| {
        let inner = ManuallyDrop::new(inner);
        // SAFETY: it is not null; that a pointer can be written to it is the caller's promise.
        unsafe { ticket.write(Box::into_raw(Box::new(dicast_ticket { inner, process, judge, scale }))) };
    };
    // A ticket waits for the end of its callback or event.
    let end = || {
        let end = (!ticket.is_null()).then(Arc::<End>::default);
        if let Some(end) = &end {
            give(Inner::Called { canceller: pending.canceller(), end: end.clone() });
        }
        end
    };
    // As soon as the outcome can arrive, the callback may use and free the ticket, and free the judge: neither is touched after
    // this point.
    match (callback, awaited) {
        (None, None) => give(Inner::Waited(pending)),
        (Some(callback), _) => {
            let call = Call { callback, user_data, judge, scale, end: end(), called: false };
            pending.on_completion(move |outcome| call.deliver(outcome));
        }
        (None, Some(awaited)) => {
            let end = end();
            pending.on_completion(move |outcome| {
                let end = end.map(|end| (end, failure(&outcome)));
                awaited.deliver(outcome, scale);
                if let Some((end, failure)) = end {
                    end.set(failure);
                }
            });
        }
    }
    Ok(())
}

/// Waits for the outcome and takes it. Waits at most `timeout_ms` milliseconds; with DICAST_FOREVER as long as the deadline
/// of the judgment allows. On DICAST_OK you own `*verdict`. DICAST_PENDING if the judgment has not ended by then. Any other
/// status is the failure of the judgment. An outcome can be taken once: later calls, and other threads that wait, get
/// DICAST_INVALID_ARGUMENT.
///
/// For a ticket with a callback or events `verdict` must be NULL. The call then waits until the callback has returned or the
/// event is there, and returns the status of the judgment, any number of times. Within a callback of the same judge it does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_ticket_wait(
    ticket: Option<&dicast_ticket>,
    timeout_ms: u64,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let handle = given(ticket, "ticket")?;
        let timeout = Duration::from_millis(timeout_ms);
        match (handle.get()?, verdict) {
            (Inner::Waited(ticket), Some(out)) => match ticket.take_within(timeout) {
                Waited::Outcome(outcome) => {
                    out.write(dicast_verdict::give((*outcome)?, handle.scale));
                    Ok(Status(DICAST_OK))
                }
                Waited::Pending => Ok(Status(DICAST_PENDING)),
                Waited::Taken => Err(misuse("the outcome of this ticket was taken already")),
            },
            (Inner::Waited(_), None) => Err(misuse("verdict is null, but the ticket has no callback")),
            (Inner::Called { .. }, Some(_)) => {
                Err(misuse("verdict is not null, but the verdict of this ticket goes to its callback"))
            }
            (Inner::Called { end, .. }, None) => {
                let timeout = if CALLING.get() == handle.judge { Duration::ZERO } else { timeout };
                end.wait(timeout).map(Status)
            }
        }
    })
}

/// Takes the outcome if the judgment has ended: dicast_ticket_wait with a timeout of 0.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_ticket_try(
    ticket: Option<&dicast_ticket>,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    dicast_ticket_wait(ticket, 0, verdict, error)
}

/// Cancels the judgment at any stage and frees its place in the queue. Its outcome is then DICAST_CANCELLED, unless it had
/// already ended; callback or waiter still get the outcome. Cancelling again, or too late, does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_ticket_cancel(
    ticket: Option<&dicast_ticket>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        match given(ticket, "ticket")?.get()? {
            Inner::Waited(ticket) => ticket.cancel(),
            Inner::Called { canceller, .. } => canceller.cancel(),
        }
        Ok(())
    })
}

/// Frees a ticket. NULL does nothing. Requires that no other thread is using the ticket.
///
/// With a callback the judgment goes on, and the callback is called. Without one nobody can get the outcome any more: a pending
/// judgment is cancelled, and an outcome that was not taken is freed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_ticket_free(ticket: Option<Box<dicast_ticket>>) {
    boundary!(else (); {
        drop(ticket);
        Some(())
    });
}
