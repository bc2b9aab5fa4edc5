//! The queue's bound, how many judgments may be pending at once, and which ones are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::meter::Meter;
use super::ticket::Pending;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// Counts the places of the queue, and hands out permits for them.
pub(super) struct Queue {
    state: Mutex<State>,
    /// Signalled to all waiters whenever a place becomes free or the queue closes. Never to one: some wait to take a
    /// place and some only to see one, and the second kind would swallow the signal of the first. Those in line have signals
    /// of their own.
    changed: Condvar,
    /// Counts the judgments that end.
    pub(super) meter: Meter,
}

struct State {
    free: usize,
    /// Those that wait for a place, or only look for one, out of line.
    looking: usize,
    closed: bool,
    /// How many have waited in line.
    next: u64,
    pending: Listed,
    /// Those that wait for many places, in the order in which they began to wait. Only the first is told of a free place.
    line: BTreeMap<u64, Arc<Waiter>>,
}

/// Judgments by numbers, which are used again: no hash, and no allocation for each.
#[derive(Default)]
struct Listed {
    entries: Vec<Option<Weak<Pending>>>,
    /// Numbers that nobody has.
    unused: Vec<usize>,
}

impl Listed {
    fn insert(&mut self, pending: Weak<Pending>) -> usize {
        if let Some(number) = self.unused.pop() {
            self.entries[number] = Some(pending);
            return number;
        }
        self.entries.push(Some(pending));
        self.entries.len() - 1
    }

    fn remove(&mut self, number: usize) -> Option<Weak<Pending>> {
        let removed = self.entries[number].take();
        self.unused.extend(removed.as_ref().map(|_| number));
        removed
    }
}

/// One thread that waits for many places, one after the other, and that can be stopped.
pub(crate) struct Waiter {
    queue: Arc<Queue>,
    stopped: AtomicBool,
    /// It may be its turn, the queue has closed, or it is stopped.
    changed: Condvar,
}

impl Waiter {
    /// It waits no longer.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        // It is looked at under the lock: the waiter has either seen it, or sleeps by now.
        drop(self.queue.state());
        self.changed.notify_all();
    }

    /// Whether [`Self::stop`] was called.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// What somebody who asks for a place gets.
pub(super) enum Entered {
    /// A place.
    In(Permit),
    /// No place within the time given.
    Full,
    /// The queue is closed.
    Closed,
}

/// A place in the queue, given back when it is dropped.
pub(super) struct Permit(Arc<Queue>);

/// An entry in the list of what is pending, removed when it is dropped. Apart from the permit: the place is free before a
/// callback runs, and the entry stays until the callback is queued, so that closing waits for it.
pub(super) struct Entry {
    queue: Arc<Queue>,
    number: usize,
}

impl Queue {
    pub(super) fn new(places: usize) -> Arc<Self> {
        let (pending, line) = (Listed::default(), BTreeMap::new());
        let state = State { free: places, looking: 0, closed: false, next: 0, pending, line };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), meter: Meter::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if there is one.
    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state();
        if state.free == 0 || state.closed {
            return None;
        }
        state.free -= 1;
        Some(Permit(self.clone()))
    }

    /// Waits until there is a place or the queue is closed, at most `timeout`.
    fn look(&self, timeout: Option<Duration>) -> MutexGuard<'_, State> {
        let full = |state: &mut State| state.free == 0 && !state.closed;
        let mut state = self.state();
        state.looking += 1;
        state = match timeout {
            Some(timeout) => {
                self.changed.wait_timeout_while(state, timeout, full).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.changed.wait_while(state, full).unwrap_or_else(PoisonError::into_inner),
        };
        state.looking -= 1;
        state
    }

    /// Takes a place; waits for one at most `timeout`.
    pub(super) fn enter_within(self: &Arc<Self>, timeout: Duration) -> Entered {
        let mut state = self.look(Some(timeout));
        if state.closed {
            return Entered::Closed;
        }
        if state.free == 0 {
            return Entered::Full;
        }
        state.free -= 1;
        Entered::In(Permit(self.clone()))
    }

    /// Takes a place; waits until there is one, which is bounded, since every pending judgment has a deadline. `None`
    /// if the queue is closed.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.look(None);
        if state.closed {
            return None;
        }
        state.free -= 1;
        Some(Permit(self.clone()))
    }

    /// One that waits for places of this queue.
    pub(super) fn waiter(self: &Arc<Self>) -> Arc<Waiter> {
        Arc::new(Waiter { queue: self.clone(), stopped: AtomicBool::new(false), changed: Condvar::new() })
    }

    /// Like [`Self::enter`], until a moment, and as long as the waiter is not stopped. Waiters get places in the order in which
    /// they came.
    pub(super) fn enter_in_line(self: &Arc<Self>, waiter: &Arc<Waiter>, until: Option<Instant>) -> Entered {
        let mut state = self.state();
        let mut number = None;
        let entered = loop {
            if state.closed {
                break Entered::Closed;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if waiter.is_stopped() || left.is_some_and(|left| left.is_zero()) {
                break Entered::Full;
            }
            if state.free > 0 {
                state.free -= 1;
                break Entered::In(Permit(self.clone()));
            }
            if number.is_none() {
                number = Some(state.next);
                state.next += 1;
                state.line.extend(number.map(|number| (number, waiter.clone())));
            }
            state = match left {
                Some(left) => waiter.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => waiter.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        };
        if let Some(number) = number {
            state.line.remove(&number);
        }
        // The signal for a place may have come to this one, which does not take it, or takes only one of several.
        let next = if state.free > 0 { state.line.values().next().cloned() } else { None };
        drop(state);
        if let Some(next) = next {
            next.changed.notify_all();
        }
        entered
    }

    /// Waits for a place without taking it. True also if the queue is closed: nothing is left to wait for.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let state = self.look(Some(timeout));
        state.free > 0 || state.closed
    }

    /// Lets nobody in any more, and sends away those who wait.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let line: Vec<_> = state.line.values().cloned().collect();
        drop(state);
        self.changed.notify_all();
        for waiter in line {
            waiter.changed.notify_all();
        }
    }

    /// Lists a judgment as pending.
    pub(super) fn list(self: &Arc<Self>, pending: &Arc<Pending>) -> Entry {
        let number = self.state().pending.insert(Arc::downgrade(pending));
        Entry { queue: self.clone(), number }
    }

    /// The judgments that are pending.
    pub(super) fn pending(&self) -> Vec<Arc<Pending>> {
        self.state().pending.entries.iter().flatten().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Places that are free.
    pub(super) fn free(&self) -> usize {
        self.state().free
    }
}

impl Permit {
    /// Counts the judgments that end.
    pub(super) fn meter(&self) -> &Meter {
        &self.0.meter
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.free += 1;
        let (first, looking) = (state.line.values().next().cloned(), state.looking > 0);
        drop(state);
        // A signal is a system call, also if nobody waits.
        if looking {
            self.0.changed.notify_all();
        }
        if let Some(first) = first {
            first.changed.notify_all();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // What it was is freed without the lock.
        let removed = self.queue.state().pending.remove(self.number);
        drop(removed);
    }
}
