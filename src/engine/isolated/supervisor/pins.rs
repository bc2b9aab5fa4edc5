//! The prefixes that the worker keeps. They are stored here too, so that the next worker computes them again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::super::protocol::{self, Order};
use super::{Phase, Shared, State};
use crate::engine::{Pin, pin_cancelled, pin_late};
use crate::error::{Error, ErrorKind, Result};

/// How long a new worker may take for a prefix that the previous one has kept. No caller waits for that.
const AGAIN: Duration = Duration::from_secs(3600);

/// What the current worker has of a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing: it is not up yet.
    Parent,
    /// It computes it.
    Sent,
    /// It has answered.
    Answered,
}

/// A prefix to be kept.
struct Wanted {
    /// The tail of its frame.
    tokens: Vec<u8>,
    deadline: Instant,
    /// The caller that waits until it is computed for the first time.
    asker: Option<Sender<Result<()>>>,
    at: At,
}

/// All of them, by their numbers.
#[derive(Default)]
pub(super) struct Pins {
    next: u64,
    wanted: BTreeMap<u64, Wanted>,
    /// No caller waits any more.
    refused: bool,
}

impl Pins {
    /// Whether the worker computes one.
    pub(super) fn is_busy(&self) -> bool {
        self.wanted.values().any(|wanted| wanted.at == At::Sent)
    }

    /// The worker has computed a prefix, or could not compute it.
    pub(super) fn answered(&mut self, number: u64, outcome: Result<()>) {
        if let Some(wanted) = self.wanted.get_mut(&number) {
            wanted.at = At::Answered;
            tell(wanted, outcome);
        }
    }

    /// The worker is dead. Waiting callers get the error. A prefix that it was computing again is given up if it may
    /// have caused the crash; the next worker computes the others again.
    pub(super) fn died(&mut self, crashed: bool, error: impl Fn() -> Error) {
        self.wanted.retain(|_, wanted| {
            let awaited = wanted.asker.is_some();
            if wanted.at == At::Sent && awaited {
                tell(wanted, Err(error()));
                return false;
            }
            let keep = wanted.at != At::Sent || !crashed;
            wanted.at = At::Parent;
            keep
        });
    }

    /// Ends all of them.
    pub(super) fn end(&mut self, error: impl Fn() -> Error) {
        for wanted in std::mem::take(&mut self.wanted).values_mut() {
            tell(wanted, Err(error()));
        }
    }
}

fn tell(wanted: &mut Wanted, outcome: Result<()>) {
    if let Some(asker) = wanted.asker.take() {
        // A caller that has stopped waiting is gone.
        let _ = asker.send(outcome);
    }
}

impl State {
    /// Sends the prefixes that the worker does not have yet.
    pub(super) fn send_pins(&mut self) {
        let Some(super::Link { orders, ended: false, .. }) = &self.link else { return };
        if !matches!(self.phase, Phase::Up) {
            return;
        }
        for (&number, wanted) in self.pins.wanted.iter_mut().filter(|(_, wanted)| wanted.at == At::Parent) {
            let left =
                if wanted.asker.is_some() { wanted.deadline.saturating_duration_since(Instant::now()) } else { AGAIN };
            let left_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
            // Its size was checked when it arrived.
            if let Ok(frame) = protocol::frame(&Order::Pin { number, left_us }, &wanted.tokens) {
                let _ = orders.send(frame);
                wanted.at = At::Sent;
            }
        }
    }
}

impl Shared {
    /// Lets the worker compute and keep a prefix; waits until it is computed. The next worker computes it again.
    ///
    /// # Errors
    /// Those of the worker's engine; [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`], [`ErrorKind::Engine`] if the worker dies
    /// meanwhile, [`ErrorKind::Closed`], [`ErrorKind::EngineDead`].
    pub(in super::super) fn pin(self: &Arc<Self>, prefix: &[u32], deadline: Instant) -> Result<Pin> {
        let mut tokens = Vec::with_capacity(prefix.len() * 4);
        protocol::put_ids(&mut tokens, prefix);
        protocol::frame(&Order::Pin { number: u64::MAX, left_us: u64::MAX }, &tokens)?;
        let (asker, answer) = channel();
        let mut state = self.state();
        match &state.phase {
            Phase::Closed => return Err(Error::closed()),
            Phase::Dead(reason) => return Err(Error::engine_dead(reason)),
            Phase::Starting | Phase::Up => {}
        }
        if state.pins.refused {
            return Err(pin_cancelled());
        }
        let number = state.pins.next;
        state.pins.next += 1;
        state.pins.wanted.insert(number, Wanted { tokens, deadline, asker: Some(asker), at: At::Parent });
        state.send_pins();
        // The supervisor sleeps while the worker has nothing to do.
        self.changed.notify_all();
        drop(state);
        let shared = self.clone();
        // Dropped even if waiting fails.
        let pin = Pin::new(prefix.len(), move || shared.unpin(number));
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(outcome) => outcome.map(|()| pin),
            Err(RecvTimeoutError::Timeout) => Err(pin_late()),
            Err(RecvTimeoutError::Disconnected) => Err(Error::shut_down()),
        }
    }

    fn unpin(&self, number: u64) {
        let mut state = self.state();
        if let Some(Wanted { at: At::Sent | At::Answered, .. }) = state.pins.wanted.remove(&number)
            && let Ok(frame) = protocol::frame(&Order::Unpin(number), &[])
        {
            state.order(frame);
        }
    }

    /// Whether callers that wait for a prefix, now and later, end as cancelled.
    pub(in super::super) fn refuse_pins(&self, refuse: bool) {
        let mut state = self.state();
        state.pins.refused = refuse;
        if refuse {
            for wanted in state.pins.wanted.values_mut() {
                tell(wanted, Err(pin_cancelled()));
            }
        }
        if let Ok(frame) = protocol::frame(&Order::RefusePins(refuse), &[]) {
            state.order(frame);
        }
    }
}

/// The error of callers that wait for a prefix when the worker dies.
pub(super) fn died(how: &str, said: &str) -> Error {
    let message = format!(
        "the engine's worker process {how} while it computed what prompts begin with{said}; it is being started again: warm \
         the judge up again"
    );
    Error::new(ErrorKind::Engine, message)
}
