//! Which beginnings of prompts are kept: callers ask for them, every lane computes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::{MOST_PINS, pin_cancelled, pin_late};
use crate::error::{Error, ErrorKind, Result};

/// A prefix to be kept.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) id: u64,
    pub(super) tokens: Arc<[u32]>,
    /// How often it was asked for. Each time the lanes make sure that it is computed: it may have been evicted.
    pub(super) asked: u64,
    /// The beginning of all prompts. Nobody waits for it: it is kept once a judgment has computed it.
    pub(super) is_base: bool,
    /// Its state, as a file held it.
    pub(super) state: Option<Arc<Vec<u8>>>,
}

struct Entry {
    wanted: Wanted,
    /// How many callers want it.
    count: usize,
    /// For each lane, whether the prefix was computed since it was last asked for.
    computed: Vec<bool>,
    /// Why a lane could not compute it.
    failure: Option<(ErrorKind, String)>,
}

struct State {
    entries: Vec<Entry>,
    next: u64,
    /// The engine has ended.
    over: bool,
    /// The engine is about to end or to sleep: no caller waits any more.
    refused: bool,
}

/// Shared by the lanes and the callers.
pub(super) struct Pins {
    state: Mutex<State>,
    /// A lane has computed a prefix, or the engine has ended.
    changed: Condvar,
    /// Rises with every change of the prefixes to be kept.
    version: AtomicU64,
    lanes: usize,
    /// Tokens of all prefixes together, at most.
    most_tokens: usize,
}

impl Pins {
    /// For this many lanes. Half of a lane's pool of keys and values stays free for judgments.
    pub(super) fn new(lanes: usize, pool_tokens: usize) -> Self {
        let state = State { entries: Vec::new(), next: 0, over: false, refused: false };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            version: AtomicU64::new(0),
            lanes,
            most_tokens: pool_tokens / 2,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single one, whole also after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a prefix to be kept; gives its number. A prefix that is already kept takes no second place, and is
    /// computed again if it was evicted. `state`: what a file holds of it.
    ///
    /// # Errors
    /// [`ErrorKind::Overloaded`] where too many are kept already, or they take too many tokens.
    pub(super) fn add(&self, tokens: Vec<u32>, stored: Option<Vec<u8>>) -> Result<u64> {
        let stored = stored.map(Arc::new);
        let mut state = self.state();
        let same = state.entries.iter_mut().find(|entry| *entry.wanted.tokens == *tokens && entry.failure.is_none());
        if let Some(entry) = same {
            entry.count += 1;
            entry.wanted.asked += 1;
            entry.wanted.state = stored;
            entry.computed.fill(false);
            self.version.fetch_add(1, Ordering::Release);
            return Ok(entry.wanted.id);
        }
        let full = |message: String| Err(Error::new(ErrorKind::Overloaded, message).with_retryable(false));
        if state.entries.iter().filter(|entry| !entry.wanted.is_base).count() >= MOST_PINS {
            return full(format!("{MOST_PINS} prefixes are pinned already, the most of one judge: free one first"));
        }
        let held: usize = state.entries.iter().map(|entry| entry.wanted.tokens.len()).sum();
        if held + tokens.len() > self.most_tokens {
            return full(format!(
                "this prefix has {} tokens and those pinned already have {held}, but all together may have {}, half of the \
                 keys and values: free one first, shorten the prompt, or raise local.kv_cache_tokens",
                tokens.len(),
                self.most_tokens
            ));
        }
        Ok(self.push(&mut state, tokens.into(), false, stored))
    }

    /// Keeps the beginning of all prompts, for as long as the engine lives, unless it would take more than its share.
    pub(super) fn add_base(&self, tokens: &[u32]) {
        let mut state = self.state();
        let is_kept = state.entries.iter().any(|entry| entry.wanted.is_base || *entry.wanted.tokens == *tokens);
        if !is_kept && tokens.len() <= self.most_tokens / 2 {
            self.push(&mut state, tokens.into(), true, None);
        }
    }

    fn push(&self, state: &mut State, tokens: Arc<[u32]>, is_base: bool, stored: Option<Arc<Vec<u8>>>) -> u64 {
        let id = state.next;
        state.next += 1;
        let wanted = Wanted { id, tokens, asked: 1, is_base, state: stored };
        state.entries.push(Entry { wanted, count: 1, computed: vec![false; self.lanes], failure: None });
        self.version.fetch_add(1, Ordering::Release);
        id
    }

    /// A caller no longer needs a prefix.
    pub(super) fn remove(&self, id: u64) {
        let mut state = self.state();
        let Some(at) = state.entries.iter().position(|entry| entry.wanted.id == id) else { return };
        state.entries[at].count -= 1;
        if state.entries[at].count == 0 {
            state.entries.remove(at);
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// The prefixes to be kept, if they have changed since `version`, which is updated.
    pub(super) fn news(&self, version: &mut u64) -> Option<Vec<Wanted>> {
        // Read before the list: a change after this counts as news again.
        let now = self.version.load(Ordering::Acquire);
        if std::mem::replace(version, now) == now {
            return None;
        }
        Some(self.state().entries.iter().map(|entry| entry.wanted.clone()).collect())
    }

    /// A lane has computed a prefix, or could not compute it.
    pub(super) fn report(&self, id: u64, lane: usize, outcome: Result<()>) {
        let mut state = self.state();
        let Some(entry) = state.entries.iter_mut().find(|entry| entry.wanted.id == id) else { return };
        match outcome {
            Ok(()) => {
                entry.computed[lane] = true;
                if entry.computed.iter().all(|&computed| computed) {
                    entry.wanted.state = None;
                }
            }
            Err(error) => {
                entry.failure = Some((error.kind(), error.message().to_owned()));
                entry.wanted.state = None;
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until every lane has computed a prefix.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`], [`ErrorKind::Cancelled`] after [`Self::refuse`], a failure of the engine, or the error
    /// that `ended` gives if the engine has ended.
    pub(super) fn wait(&self, id: u64, deadline: Instant, ended: impl Fn() -> Error) -> Result<()> {
        let mut state = self.state();
        loop {
            if state.over {
                drop(state);
                return Err(ended());
            }
            if state.refused {
                return Err(pin_cancelled());
            }
            let entry = state.entries.iter().find(|entry| entry.wanted.id == id);
            let entry = entry.ok_or_else(|| Error::new(ErrorKind::Internal, "a pin was freed while it was made"))?;
            if let Some((kind, message)) = &entry.failure {
                return Err(Error::new(*kind, message.clone()));
            }
            if entry.computed.iter().all(|&computed| computed) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(pin_late());
            }
            let left = left.min(Duration::from_secs(60));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether callers that wait, now and later, end as cancelled.
    pub(super) fn refuse(&self, refuse: bool) {
        self.state().refused = refuse;
        self.changed.notify_all();
    }

    /// The engine has ended: every caller that waits is told.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Error {
        Error::shut_down()
    }

    #[test]
    fn prefixes_are_bounded_in_number_and_in_tokens() {
        let pins = Pins::new(1, 100);
        let full = pins.add(vec![1; 51], None).unwrap_err();
        assert!(full.kind() == ErrorKind::Overloaded && !full.is_retryable());
        assert!(full.message().contains("51 tokens") && full.message().contains("local.kv_cache_tokens"), "{full}");
        let ids: Vec<u64> = (1..=MOST_PINS).map(|length| pins.add(vec![1; length], None).unwrap()).collect();
        let full = pins.add(vec![2], None).unwrap_err();
        assert!(full.message().contains("free one"), "{full}");
        // The same prefix twice is one, kept until both are gone.
        assert_eq!(pins.add(vec![1; 3], None).unwrap(), ids[2]);
        pins.remove(ids[2]);
        assert!(pins.add(vec![2], None).is_err());
        pins.remove(ids[2]);
        assert!(pins.add(vec![2], None).is_ok());
    }

    #[test]
    fn the_beginning_of_all_prompts_is_kept_once_and_takes_no_place_of_others() {
        let pins = Pins::new(1, 100);
        pins.add_base(&[1; 26]);
        let mut version = 0;
        assert!(pins.news(&mut version).is_none(), "it would take too much");
        pins.add_base(&[1; 20]);
        pins.add_base(&[2; 20]);
        let wanted = pins.news(&mut version).unwrap();
        assert!(wanted.len() == 1 && wanted[0].is_base && wanted[0].tokens[..] == [1; 20]);
        // Pinned too, it stays when that ends.
        let id = pins.add(vec![1; 20], None).unwrap();
        assert_eq!(id, wanted[0].id);
        pins.remove(id);
        assert_eq!(pins.news(&mut version).unwrap().len(), 1);
        for length in 1..=MOST_PINS {
            pins.add(vec![u32::try_from(length).unwrap(); 2], None).unwrap();
        }
    }

    #[test]
    fn every_lane_is_waited_for() {
        let pins = Pins::new(2, 100);
        let id = pins.add(vec![1, 2], None).unwrap();
        let mut version = 0;
        assert_eq!(pins.news(&mut version).unwrap()[0].tokens[..], [1, 2]);
        assert!(pins.news(&mut version).is_none());
        pins.report(id, 1, Ok(()));
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(pins.wait(id, soon, ended).unwrap_err().kind(), ErrorKind::Timeout);
        pins.report(id, 0, Ok(()));
        pins.wait(id, soon, ended).unwrap();
        let other = pins.add(vec![3], None).unwrap();
        pins.report(other, 0, Err(Error::new(ErrorKind::Engine, "no")));
        assert_eq!(pins.wait(other, soon, ended).unwrap_err().kind(), ErrorKind::Engine);
        pins.refuse(true);
        assert_eq!(pins.wait(id, soon, ended).unwrap_err().kind(), ErrorKind::Cancelled);
        pins.refuse(false);
        pins.wait(id, soon, ended).unwrap();
        pins.end();
        assert_eq!(pins.wait(id, soon, ended).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn what_is_asked_for_again_is_looked_at_again() {
        let pins = Pins::new(1, 100);
        let mut version = 0;
        let id = pins.add(vec![1, 2], None).unwrap();
        assert_eq!(pins.news(&mut version).unwrap()[0].asked, 1);
        pins.report(id, 0, Ok(()));
        let soon = Instant::now() + Duration::from_millis(5);
        pins.wait(id, soon, ended).unwrap();
        // It may have been evicted meanwhile.
        assert_eq!(pins.add(vec![1, 2], None).unwrap(), id);
        assert_eq!(pins.wait(id, soon, ended).unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(pins.news(&mut version).unwrap()[0].asked, 2);
        pins.report(id, 0, Ok(()));
        pins.wait(id, soon, ended).unwrap();
    }
}
