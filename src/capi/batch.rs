//! `dicast_batch`: many groups under one handle.

use std::future::Future as _;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::boundary::{Status, given, misuse};
use super::error::dicast_error;
use super::judge::{Process, dicast_judge};
use super::layout::{self, Layout};
use super::request::options;
use super::rewards::{Results, Terms, Wanted, dicast_group, dicast_reward_options, group_request, read_groups};
use super::status::{DICAST_CLOSED, DICAST_INVALID_ARGUMENT, DICAST_OK, DICAST_PENDING};
use super::text::dicast_str;
use super::verdict::dicast_verdict;
use crate::config::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::{Canceller, Judge, Submission, Ticket, Waiter};
use crate::prompt::profile::Scale;
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

/// Many groups that are judged under one handle.
///
/// Any number of threads may use one at once. You own it, until dicast_batch_free. It may outlive its judge.
pub struct dicast_batch {
    batch: Arc<Batch>,
    process: Process,
}

impl dicast_batch {
    fn get(&self) -> Result<&Arc<Batch>> {
        self.process.check()?;
        Ok(&self.batch)
    }
}

/// How groups are judged. Zero the struct, then set `struct_size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dicast_batch_options {
    /// sizeof(dicast_batch_options).
    pub struct_size: usize,
    /// Options of the judgments as JSON, as for dicast_request_set_options; empty for none. A group's own options override them.
    pub options_json: dicast_str,
    /// DICAST_PRIORITY_NORMAL (0), _LOW or _HIGH, for groups that do not set their own.
    pub priority: i32,
    /// Must be 0.
    pub reserved: u32,
    /// The batch ends after this many milliseconds at the latest: groups not judged by then are DICAST_TIMEOUT. 0: only the
    /// `timeout_ms` of each judgment applies.
    pub deadline_ms: u64,
}

// SAFETY: `repr(C)`, words, a text of two words, and a pair of halves.
unsafe impl Layout for dicast_batch_options {
    const FIRST_SIZE: usize = 40;
    const NAME: &'static str = "dicast_batch_options";
}

/// The state of a group.
enum Slot {
    Pending,
    Ended(Box<Result<Verdict>>),
    Taken(i32),
}

impl Slot {
    fn status(&self) -> i32 {
        match self {
            Self::Pending => DICAST_PENDING,
            Self::Ended(outcome) => {
                outcome.as_ref().as_ref().map_or_else(|error| error.kind().c_status(), |_| DICAST_OK)
            }
            Self::Taken(status) => *status,
        }
    }
}

struct Batch {
    state: Mutex<State>,
    /// Those that are pending. Apart from the state, because polling one locks its judgment.
    tickets: Vec<Mutex<Option<Ticket>>>,
    /// The last one has ended.
    done: Condvar,
    /// The thread that waits for room in the queue. It is stopped when the batch is cancelled.
    waiter: Arc<Waiter>,
    /// Responses of each group.
    counts: Vec<usize>,
    scale: Scale,
}

struct State {
    slots: Vec<Slot>,
    cancellers: Vec<Option<Canceller>>,
    ended: usize,
}

impl Batch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self) {
        self.waiter.stop();
        // Those that come later see that it is stopped.
        let cancellers: Vec<_> = self.state().cancellers.iter().flatten().cloned().collect();
        for canceller in cancellers {
            canceller.cancel();
        }
    }

    fn end(&self, index: usize, outcome: Result<Verdict>) {
        let mut state = self.state();
        state.cancellers[index] = None;
        if matches!(state.slots[index], Slot::Pending) {
            state.slots[index] = Slot::Ended(Box::new(outcome));
            state.ended += 1;
        }
        if state.ended == state.slots.len() {
            drop(state);
            self.done.notify_all();
        }
    }

    /// Submits the groups. It runs on its own thread, because groups wait for room in the queue.
    fn run(self: &Arc<Self>, judge: Arc<Judge>, work: Vec<Result<(JudgeRequest, Submission)>>) {
        let (mut places, mut requests) = (Vec::new(), Vec::new());
        for (index, work) in work.into_iter().enumerate() {
            match work {
                Ok(request) => {
                    places.push(index);
                    requests.push(request);
                }
                Err(error) => self.end(index, Err(error)),
            }
        }
        judge.submit_in_line(&self.waiter, requests, |at, ticket| self.take_in(places[at], ticket));
        drop(judge);
        let unfinished = |state: &mut State| state.ended < state.slots.len();
        drop(self.done.wait_while(self.state(), unfinished));
    }

    fn take_in(self: &Arc<Self>, index: usize, ticket: Ticket) {
        let canceller = ticket.canceller();
        self.state().cancellers[index] = Some(canceller.clone());
        if self.waiter.is_stopped() {
            canceller.cancel();
        }
        *self.ticket(index) = Some(ticket);
        self.look(index);
    }

    fn ticket(&self, index: usize) -> MutexGuard<'_, Option<Ticket>> {
        self.tickets[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the outcome of a group if it is there; otherwise the group is looked at again when it has ended.
    fn look(self: &Arc<Self>, index: usize) {
        let mut ticket = self.ticket(index);
        let Some(pending) = &mut *ticket else { return };
        let waker = Waker::from(Arc::new(Ready { batch: self.clone(), index }));
        if let Poll::Ready(outcome) = Pin::new(pending).poll(&mut Context::from_waker(&waker)) {
            *ticket = None;
            drop(ticket);
            self.end(index, outcome);
        }
    }
}

/// Takes the outcome of a group as soon as it has ended, on the thread that ends it: the one that submits may be waiting for room.
struct Ready {
    batch: Arc<Batch>,
    index: usize,
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.batch.look(self.index);
    }
}

/// Ends all pending groups when the thread that submits ends, even through a defect.
struct Finish(Arc<Batch>, Arc<AtomicBool>);

impl Drop for Finish {
    fn drop(&mut self) {
        for index in 0..self.0.counts.len() {
            self.0.end(index, Err(Error::shut_down()));
        }
        self.1.store(true, Ordering::Relaxed);
    }
}

/// Judges many groups, each as one listwise judgment, and returns at once; a thread submits them as the queue has room. `groups`
/// has `group_count` entries, which are copied, with their texts. `options` may be NULL.
///
/// On success you own `*batch`. What is wrong with one group ends that group alone, with its own status: its texts, its
/// `options_json`, `priority`, `reserved`, or its number of responses. What concerns all groups fails the call, and nothing is
/// judged: DICAST_INVALID_ARGUMENT for NULL, sizes that differ, and `options` out of range; DICAST_INVALID_REQUEST for
/// `options->options_json`; DICAST_CLOSED if the judge is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_judge_submit_groups(
    judge: Option<&dicast_judge>,
    groups: *const dicast_group,
    group_count: usize,
    options: *const dicast_batch_options,
    batch: Option<&mut MaybeUninit<*mut dicast_batch>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let handle = given(judge, "judge")?;
        let (judge, out) = (handle.shared()?, given(batch, "batch")?);
        if judge.is_closed() {
            return Err(Error::closed());
        }
        // SAFETY: the array has as many entries as is said, whose texts live during the call; the options announce their size.
        let (groups, (shared, terms)) = unsafe { (read_groups(groups, group_count)?, read(options)?) };
        // SAFETY: as above.
        let work = groups.iter().map(|group| unsafe { group_request(group, &shared, &terms) }).collect();
        let state = State {
            slots: groups.iter().map(|_| Slot::Pending).collect(),
            cancellers: groups.iter().map(|_| None).collect(),
            ended: 0,
        };
        let made = Arc::new(Batch {
            state: Mutex::new(state),
            tickets: groups.iter().map(|_| Mutex::default()).collect(),
            done: Condvar::new(),
            waiter: judge.waiter(),
            counts: groups.iter().map(|group| group.response_count).collect(),
            scale: handle.scale(),
        });
        let over = Arc::new(AtomicBool::new(false));
        let (running, finish) = (made.clone(), Finish(made.clone(), over.clone()));
        let thread = crate::thread::spawn("dicast-batch", move || {
            let _finish = finish;
            running.run(judge, work);
        })
        .map_err(|error| Error::new(ErrorKind::Internal, format!("the thread of a batch cannot be started: {error}")))?;
        handle.keep(over, thread);
        let made = dicast_batch { batch: made, process: handle.process() };
        out.write(Box::into_raw(Box::new(made)));
        Ok(())
    })
}

/// # Safety
/// `wanted` is null or points to a struct of the size that it announces, whose text lives during the call.
unsafe fn read(wanted: *const dicast_batch_options) -> Result<(Options, Terms)> {
    if wanted.is_null() {
        return Ok((Options::default(), Terms::new(0, 0)?));
    }
    // SAFETY: passed on.
    let (wanted, options) = unsafe {
        let wanted = layout::read(wanted)?;
        (wanted, options(wanted.options_json)?)
    };
    if wanted.reserved != 0 {
        return Err(misuse("reserved of dicast_batch_options is not 0"));
    }
    Ok((options, Terms::new(wanted.priority, wanted.deadline_ms)?))
}

/// Waits until all groups have ended, at most `timeout_ms` milliseconds: DICAST_OK, or DICAST_PENDING if some have not ended by then.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_wait(
    batch: Option<&dicast_batch>,
    timeout_ms: u64,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let batch = given(batch, "batch")?.get()?;
        let until = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        let mut state = batch.state();
        while state.ended < state.slots.len() {
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(Status(DICAST_PENDING));
            }
            state = batch.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Status(DICAST_OK))
    })
}

/// Cancels all groups that have not ended; they end as DICAST_CANCELLED. Cancelling again, or too late, does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_cancel(
    batch: Option<&dicast_batch>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given(batch, "batch")?.get()?.cancel();
        Ok(())
    })
}

/// Number of groups. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_count(batch: Option<&dicast_batch>) -> usize {
    boundary!(else 0; { Some(batch?.batch.counts.len()) })
}

/// Number of groups that have ended. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_ended(batch: Option<&dicast_batch>) -> usize {
    boundary!(else 0; { Some(batch?.get().ok()?.state().ended) })
}

/// How the group at `index` ended: DICAST_OK with a verdict, DICAST_PENDING if it has not ended, else why it failed.
/// DICAST_INVALID_ARGUMENT out of range and for NULL; DICAST_CLOSED in a forked child.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_status(batch: Option<&dicast_batch>, index: usize) -> i32 {
    boundary!(else DICAST_INVALID_ARGUMENT; {
        let Ok(batch) = batch?.get() else { return Some(DICAST_CLOSED) };
        batch.state().slots.get(index).map(Slot::status)
    })
}

/// Takes the outcome of the group at `index`: the whole verdict, with flags, usage and reasoning. On DICAST_OK you own `*verdict`.
/// DICAST_PENDING if it has not ended; any other status is its failure. An outcome can be taken once: later calls return
/// DICAST_INVALID_ARGUMENT. dicast_batch_status does not change.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_take(
    batch: Option<&dicast_batch>,
    index: usize,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (batch, out) = (given(batch, "batch")?.get()?, given(verdict, "verdict")?);
        let mut state = batch.state();
        let slot = state.slots.get_mut(index).ok_or_else(|| misuse(format!("there is no group {index}")))?;
        if matches!(slot, Slot::Pending) {
            return Ok(Status(DICAST_PENDING));
        }
        let taken = Slot::Taken(slot.status());
        let Slot::Ended(outcome) = std::mem::replace(slot, taken) else {
            return Err(misuse(format!("the outcome of group {index} was taken already")));
        };
        drop(state);
        out.write(dicast_verdict::give((*outcome)?, batch.scale));
        Ok(Status(DICAST_OK))
    })
}

/// The rewards of all groups, as dicast_judge_rewards_groups gives them: `rewards` and `statuses` have `total` entries, group after
/// group. The statuses of a group are DICAST_PENDING if it has not ended, and DICAST_INVALID_ARGUMENT if its verdict was taken.
/// `options` may be NULL; only its `reward` and `normalize` are used, and its options of the judgments must be empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_batch_rewards(
    batch: Option<&dicast_batch>,
    options: *const dicast_reward_options,
    rewards: *mut f64,
    statuses: *mut i32,
    total: usize,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the arrays have `total` entries, which are the caller's.
        let mut results = unsafe { Results::new(rewards, statuses, total)? };
        let outcome = (|| {
            let batch = given(batch, "batch")?.get()?;
            // SAFETY: the options announce their size, and their text lives during the call.
            let wanted = unsafe { Wanted::read(options)? };
            if !wanted.is_of_verdicts_alone() {
                return Err(misuse("options_json, priority and deadline_ms come too late: the batch was already submitted"));
            }
            let announced = batch.counts.iter().try_fold(0_usize, |sum, count| sum.checked_add(*count));
            if announced != Some(total) {
                return Err(misuse(format!("total is {total}, but the groups do not have as many responses")));
            }
            let state = batch.state();
            for (slot, count) in state.slots.iter().zip(&batch.counts) {
                let mut group = results.take(*count);
                match slot {
                    Slot::Ended(outcome) if outcome.is_ok() => {
                        let written = outcome.as_ref().as_ref().map_or(Ok(()), |verdict| {
                            wanted.write(verdict, batch.scale, &mut group)
                        });
                        group.fail_where_missing(&written);
                    }
                    // The verdict was taken, and its numbers with it.
                    Slot::Taken(DICAST_OK) => group.fail(DICAST_INVALID_ARGUMENT),
                    other => group.fail(other.status()),
                }
            }
            Ok(())
        })();
        results.fail_where_missing(&outcome);
        outcome
    })
}

/// Cancels all groups that have not ended and frees the batch. NULL does nothing. Requires that no other thread is using it.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_batch_free(batch: Option<Box<dicast_batch>>) {
    boundary!(else (); {
        if let Some(batch) = batch
            && let Ok(pending) = batch.get()
        {
            pending.cancel();
        }
        Some(())
    });
}
