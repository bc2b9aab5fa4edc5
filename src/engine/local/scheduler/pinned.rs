//! Pinned prefixes: each has a sequence of its own, after those of the jobs, with tokens but without a job.
//!
//! A prefix is computed when it is asked for; while it waits for room, no job takes that room. It is evicted last, if a
//! job fits in no other way, and costs nothing to restore once a job has computed it again. With a folder for prefixes
//! (`local.prefix_dir`), it is read from there instead, else written to it once it is computed.

use std::sync::Arc;

use super::super::pins::Wanted;
use super::{Scheduler, Slot, WORTH_WAITING};
use crate::error::Error;

/// A prefix that this lane keeps.
pub(super) struct Pinned {
    id: u64,
    tokens: Arc<[u32]>,
    /// Its sequence. Empty before the prefix is computed and after it was evicted.
    slot: usize,
    /// How often it was asked for.
    asked: u64,
    /// A caller waits until it is computed.
    awaited: bool,
    stored: Stored,
    /// It need not be written to disk.
    written: bool,
}

/// What a file holds of a prefix.
enum Stored {
    /// Nothing, or it was used.
    No,
    /// This lane has still to look for the file: once, since the prefix may be evicted again and again.
    Unknown,
    State(Arc<Vec<u8>>),
}

impl Stored {
    fn of(state: Option<Arc<Vec<u8>>>) -> Self {
        state.map_or(Self::No, Self::State)
    }
}

impl Scheduler<'_> {
    /// Takes over the list of prefixes to keep, and frees all others.
    pub(super) fn look_at_pins(&mut self) {
        let Some(wanted) = self.pins.news(&mut self.pins_seen) else { return };
        let (kept, freed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pinned).into_iter().partition(|pin| wanted.iter().any(|other| other.id == pin.id));
        self.pinned = kept;
        for pin in freed {
            self.truncate(pin.slot, 0);
        }
        for wanted in wanted {
            if let Some(pin) = self.pinned.iter_mut().find(|pin| pin.id == wanted.id) {
                if pin.asked != wanted.asked {
                    pin.awaited = true;
                    pin.stored = Stored::of(wanted.state);
                }
                pin.asked = wanted.asked;
                continue;
            }
            let mut slots = self.places..self.places + self.bounds.pins;
            let Some(slot) = slots.find(|slot| self.pinned.iter().all(|pin| pin.slot != *slot)) else { return };
            let Wanted { id, tokens, asked, is_base, state } = wanted;
            let stored = if is_base { Stored::Unknown } else { Stored::of(state) };
            self.pinned.push(Pinned { id, tokens, slot, asked, awaited: !is_base, stored, written: false });
        }
    }

    /// Whether a prefix is still to be computed.
    pub(super) fn has_pins_to_compute(&self) -> bool {
        self.pinned.iter().any(|pin| pin.awaited)
    }

    /// Fills the sequences of prefixes that are not computed yet, and puts their pending tokens into the batch. Gives
    /// the number of these tokens.
    pub(super) fn add_pins(&mut self, room: usize) -> usize {
        let mut added = 0;
        for at in 0..self.pinned.len() {
            let Pinned { slot, awaited, .. } = self.pinned[at];
            if (!self.slots[slot].tokens.is_empty() || self.begin_pin(at)) && awaited {
                added += self.add_pending(slot, room - added);
            }
        }
        added
    }

    /// Starts a prefix with what is already computed of it. False if it has to wait.
    fn begin_pin(&mut self, at: usize) -> bool {
        let Pinned { slot, awaited, ref tokens, .. } = self.pinned[at];
        let tokens = tokens.clone();
        let (donor, computed, coming) = self.longest_prefix(&tokens);
        // Not beside a job that is computing it: its cells would be counted once, as shared, and be there twice.
        if coming < tokens.len() && self.restore(at) {
            return true;
        }
        // The job that computes it in this step, or that holds the room it needs, will end.
        let ready = computed == tokens.len()
            || (awaited && coming <= computed + WORTH_WAITING && self.make_room_for_pin(tokens.len()));
        if !ready {
            return false;
        }
        // Making room may have dropped the donor.
        let computed = computed.min(self.slots[donor].computed);
        if computed > 0 {
            let shared = self.context.share(donor, slot, computed);
            debug_assert!(shared.is_ok(), "both sequences exist");
        }
        let step = self.step;
        let filled = &mut self.slots[slot];
        (filled.tokens, filled.computed, filled.used) = (tokens.to_vec(), computed, step);
        true
    }

    /// Fills the sequence of a prefix with what a file holds of it. False if there is none, or no room yet.
    fn restore(&mut self, at: usize) -> bool {
        let Some(prefixes) = self.prefixes.clone() else { return false };
        let Pinned { slot, ref tokens, ref mut stored, .. } = self.pinned[at];
        let tokens = tokens.clone();
        if let Stored::Unknown = stored {
            *stored = Stored::of(prefixes.read(&tokens).map(Arc::new));
        }
        if matches!(stored, Stored::No) || !self.make_room_for_pin(tokens.len()) {
            return false;
        }
        let Stored::State(state) = std::mem::replace(&mut self.pinned[at].stored, Stored::No) else { return false };
        match self.context.set_state(slot, &state) {
            Ok(read) if read == state.len() => {}
            outcome => {
                let why =
                    outcome.map_or_else(|fault| fault.message, |read| format!("read {read} bytes of {}", state.len()));
                self.truncate(slot, 0);
                prefixes.reject(&tokens, &why);
                return false;
            }
        }
        let step = self.step;
        let filled = &mut self.slots[slot];
        (filled.tokens, filled.computed, filled.used) = (tokens.to_vec(), tokens.len(), step);
        true
    }

    /// Hands prefixes that are computed to the thread that writes them to disk.
    pub(super) fn write_pins(&mut self) {
        let Some(prefixes) = self.prefixes.clone() else { return };
        for at in 0..self.pinned.len() {
            let Pinned { slot, ref tokens, written, .. } = self.pinned[at];
            let tokens = tokens.clone();
            if written || self.slots[slot].computed != tokens.len() || !prefixes.is_free() {
                continue;
            }
            self.pinned[at].written = true;
            if !prefixes.lacks(&tokens) {
                continue;
            }
            // If llama.cpp fails here, the next step says so.
            let Ok(size) = self.context.state_bytes(slot) else { return };
            let context = &mut self.context;
            prefixes.write(&tokens, size, |state| context.state(slot, state).map_err(|fault| fault.message));
        }
    }

    /// Evicts cached prompts until a prefix of `length` tokens fits. False if jobs hold too much.
    fn make_room_for_pin(&mut self, length: usize) -> bool {
        let busy = self.held_by_jobs() + self.held_by_pins();
        if busy + length > self.bounds.pool_tokens {
            return false;
        }
        while self.taken() + length > self.bounds.pool_tokens {
            let Some(oldest) = self.oldest_cached(None) else { return false };
            self.truncate(oldest, 0);
        }
        true
    }

    /// Tokens of the pool that a new job must leave free: for prefixes that are being computed, which nothing evicts,
    /// and for those that wait for room. Otherwise a stream of jobs would never leave enough room at once.
    pub(super) fn kept_for_pins(&self) -> usize {
        let waiting: usize = self.pinned.iter().filter(|pin| self.waits(pin)).map(|pin| pin.tokens.len()).sum();
        if waiting > 0 {
            // In addition to all other prefixes: one does not evict another.
            return waiting + self.held_by_pins();
        }
        let unfinished = self.pin_slots().iter().filter(|slot| slot.computed < slot.tokens.len());
        unfinished.map(|slot| slot.tokens.len()).sum()
    }

    /// Whether a prefix that a caller waits for has not been started.
    fn waits(&self, pin: &Pinned) -> bool {
        pin.awaited && self.slots[pin.slot].tokens.is_empty()
    }

    /// Tokens of the pool that prefixes take. A prefix that a running job shares is counted for the job.
    pub(super) fn held_by_pins(&self) -> usize {
        let running = || self.slots[..self.places].iter().filter(|slot| slot.job.is_some());
        let shared = |pin: &Slot| {
            running().any(|slot| {
                pin.computed >= pin.tokens.len()
                    && slot.computed >= pin.tokens.len()
                    && slot.tokens.starts_with(&pin.tokens)
            })
        };
        self.pin_slots().iter().filter(|pin| !shared(pin)).map(|pin| pin.tokens.len()).sum()
    }

    fn pin_slots(&self) -> &[Slot] {
        &self.slots[self.places..]
    }

    /// The prefix used longest ago among those that are computed.
    pub(super) fn oldest_pin(&self) -> Option<usize> {
        (self.places..self.slots.len())
            .filter(|&index| {
                let slot = &self.slots[index];
                !slot.tokens.is_empty() && slot.computed == slot.tokens.len()
            })
            .min_by_key(|&index| self.slots[index].used)
    }

    /// Reports which prefixes are computed now.
    pub(super) fn report_pins(&mut self) {
        for pin in &mut self.pinned {
            if pin.awaited && self.slots[pin.slot].computed == pin.tokens.len() {
                pin.awaited = false;
                // What a file held is not needed any more.
                pin.stored = Stored::No;
                self.pins.report(pin.id, self.lane, Ok(()));
            }
        }
    }

    /// After a failed computation, which has dropped all prefixes.
    pub(super) fn fail_pins(&mut self, error: &dyn Fn() -> Error) {
        for pin in &mut self.pinned {
            if std::mem::take(&mut pin.awaited) {
                self.pins.report(pin.id, self.lane, Err(error()));
            }
        }
    }
}
