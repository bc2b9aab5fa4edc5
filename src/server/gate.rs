//! The gate before a judge: it lets a limited number of judgments in; the others wait in the fair queue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

use super::config::Priority;
use super::fair::{Fair, Pushed};

/// Lets judgments in.
pub(super) struct Gate {
    state: Mutex<State>,
    places: usize,
    limit: usize,
    /// Mean time that a judgment holds its place, in microseconds.
    mean_us: AtomicU64,
}

struct State {
    free: usize,
    queue: Fair<oneshot::Sender<Turn>>,
}

/// What a waiting judgment gets.
enum Turn {
    Go,
    /// Another key needs the room.
    Refused,
}

/// A place among the running judgments; dropping it lets the next one in.
pub(super) struct Slot {
    gate: Arc<Gate>,
    since: Instant,
}

impl Gate {
    pub(super) fn new(places: usize, limit: usize) -> Arc<Self> {
        let state = Mutex::new(State { free: places, queue: Fair::new(limit) });
        Arc::new(Self { state, places, limit, mean_us: AtomicU64::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judgments that wait here.
    pub(super) fn waiting(&self) -> usize {
        self.state().queue.len()
    }

    /// Judgments that were let in and have not ended.
    pub(super) fn running(&self) -> usize {
        self.places - self.state().free
    }

    /// Seconds after which there may be room again.
    pub(super) fn seconds_until_room(&self) -> u64 {
        let mean = Duration::from_micros(self.mean_us.load(Ordering::Relaxed));
        let rounds = self.waiting() / self.places.max(1) + 1;
        (mean * u32::try_from(rounds).unwrap_or(u32::MAX)).as_secs().clamp(1, 60)
    }

    /// Waits for a place; dropping the future ends the wait. `moved` is called with the place in the queue.
    pub(super) async fn enter(
        self: &Arc<Self>,
        priority: Priority,
        key: usize,
        timeout: Duration,
        mut moved: Option<impl FnMut(usize)>,
    ) -> Result<Slot> {
        let (number, turn) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(self.slot());
            }
            let (sender, turn) = oneshot::channel();
            let number = match state.queue.push(priority, key, sender) {
                Pushed::Waits(number) => number,
                Pushed::Instead(number, other) => {
                    let _ = other.send(Turn::Refused);
                    number
                }
                Pushed::Full(_) => return Err(self.overloaded()),
            };
            (number, turn)
        };
        let mut waiter = Waiter { gate: self, priority, key, number, turn, ended: false };
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            if let Some(moved) = &mut moved
                && let Some(place) = self.state().queue.place(priority, key, number)
            {
                moved(place);
            }
            let wake = if moved.is_some() { deadline.min(tokio::time::Instant::now() + TELL_EVERY) } else { deadline };
            match tokio::time::timeout_at(wake, &mut waiter.turn).await {
                Ok(Ok(Turn::Go)) => {
                    waiter.ended = true;
                    return Ok(self.slot());
                }
                Ok(_) => {
                    waiter.ended = true;
                    return Err(self.overloaded());
                }
                Err(_) if tokio::time::Instant::now() >= deadline => {
                    return Err(Error::timed_out(timeout).context("still waiting for its turn"));
                }
                Err(_) => {}
            }
        }
    }

    fn slot(self: &Arc<Self>) -> Slot {
        Slot { gate: self.clone(), since: Instant::now() }
    }

    fn overloaded(&self) -> Error {
        Error::new(
            ErrorKind::Overloaded,
            format!("{} judgments are already waiting (server.max_waiting): try again later", self.limit),
        )
    }

    /// Gives a place to the next one that still wants it.
    fn release(&self) {
        let mut state = self.state();
        while let Some(next) = state.queue.pop() {
            if next.send(Turn::Go).is_ok() {
                return;
            }
        }
        state.free += 1;
    }
}

/// How often a watching client gets its place.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl Drop for Slot {
    fn drop(&mut self) {
        let took = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mean = self.gate.mean_us.load(Ordering::Relaxed);
        let next = if mean == 0 { took } else { mean - mean / 8 + took / 8 };
        self.gate.mean_us.store(next, Ordering::Relaxed);
        self.gate.release();
    }
}

/// A waiting judgment. When it is dropped, it gives up its place in the queue, or the turn that it was just given.
struct Waiter<'a> {
    gate: &'a Gate,
    priority: Priority,
    key: usize,
    number: u64,
    turn: oneshot::Receiver<Turn>,
    ended: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let removed = self.gate.state().queue.remove(self.priority, self.key, self.number);
        // Turns are given under the lock: if it was not in the queue, its turn is in the channel.
        if removed.is_none() && matches!(self.turn.try_recv(), Ok(Turn::Go)) {
            self.gate.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Option<fn(usize)> = None;

    async fn enter(gate: &Arc<Gate>, key: usize) -> Result<Slot> {
        gate.enter(Priority::Normal, key, Duration::from_secs(5), NOBODY).await
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    #[test]
    fn one_that_gives_up_its_wait_or_its_turn_takes_no_place_with_it() {
        runtime().block_on(async {
            let gate = Gate::new(1, 10);
            let first = enter(&gate, 1).await.unwrap();
            let mut second = Box::pin(enter(&gate, 2));
            let mut third = Box::pin(enter(&gate, 3));
            for waiting in [&mut second, &mut third] {
                assert!(tokio::time::timeout(Duration::from_millis(1), waiting).await.is_err());
            }
            assert_eq!((gate.running(), gate.waiting()), (1, 2));
            // The second one gets its turn, but is gone before it has seen it.
            drop(first);
            drop(second);
            drop(third.await.unwrap());
            assert_eq!((gate.running(), gate.waiting()), (0, 0));
        });
    }

    #[test]
    fn waits_are_bounded_in_number_and_time() {
        runtime().block_on(async {
            let gate = Gate::new(1, 1);
            let _first = enter(&gate, 1).await.unwrap();
            let waiting = gate.enter(Priority::Normal, 1, Duration::from_millis(20), NOBODY);
            tokio::pin!(waiting);
            assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err());
            assert_eq!(enter(&gate, 1).await.err().unwrap().kind(), ErrorKind::Overloaded);
            assert_eq!(waiting.await.err().unwrap().kind(), ErrorKind::Timeout);
            assert_eq!(gate.waiting(), 0);
        });
    }
}
