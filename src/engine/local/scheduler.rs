//! An engine thread, or lane: continuous batching over the sequences of one llama.cpp context. A small model has
//! several lanes, which compute judgments side by side.
//!
//! In every step each decoding job feeds its pending tokens (one sampled, or several forced). The rest of the step goes
//! to prompts, by priority, then in order of arrival, and in chunks, so that a long prompt does not delay jobs that
//! decode. Jobs join and leave between steps.
//!
//! Keys and values are in one pool that all sequences share. A new prompt reuses the longest prefix that any sequence
//! holds (in the pool this copies references, not data); a finished job leaves its prompt for later jobs, until the
//! room is needed.

mod drafted;
mod pinned;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::engine::Stats;
use crate::error::{Error, ErrorKind, Result};

use super::draft::Draft;
use super::inbox::{Inbox, Jobs};
use super::job::{Next, Prepared};
use super::pace::{Pace, processor_time};
use super::pins::Pins;
use super::prefixes::Prefixes;
use super::shield::{Batch, Context, Decoded, Fault};
use pinned::Pinned;

/// A prefix shorter than this is not worth waiting a step for, until another job has computed it.
const WORTH_WAITING: usize = 16;

/// Prompts of finished jobs that are kept. One kept prompt holds the shared prefix; keeping more only slows attention,
/// which passes over all keys in every step.
pub(super) const KEPT_PROMPTS: usize = 2;

/// Bounds of a step and of the pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Jobs that decode at once.
    pub(super) max_sequences: usize,
    /// Tokens of one step.
    pub(super) batch_tokens: usize,
    /// Prompt tokens of one step while jobs decode.
    pub(super) chunk_tokens: usize,
    /// Tokens that the pool of keys and values holds.
    pub(super) pool_tokens: usize,
    /// Whether prompts of finished jobs are kept, and a job reuses what it shares with another.
    pub(super) shares_prompts: bool,
    /// Most tokens of a draft.
    pub(super) draft_tokens: usize,
    /// Prefixes that are kept, each in a sequence of its own.
    pub(super) pins: usize,
}

/// A sequence of the context: its tokens, and the job that works on it.
struct Slot {
    /// Tokens of the sequence; the first `computed` of them have keys and values.
    tokens: Vec<u32>,
    computed: usize,
    job: Option<Box<Prepared>>,
    /// Step of its last use, for choosing what to evict.
    used: u64,
    /// Where in the batch of this step the logits of its last token are.
    logits: Option<usize>,
    /// Number of its tokens in the batch of this step.
    in_batch: usize,
    /// What is computed in this step beyond its tokens.
    draft: Draft,
}

impl Slot {
    fn is_free(&self) -> bool {
        self.job.is_none() && self.tokens.is_empty()
    }

    /// A finished job's prompt, kept for later ones.
    fn is_cached(&self) -> bool {
        self.job.is_none() && !self.tokens.is_empty()
    }

    /// Tokens of the pool that are reserved for this slot. A shared prefix is counted for each slot, so the sum is
    /// never less than what is used.
    fn reserved(&self) -> usize {
        self.job.as_ref().map_or(self.tokens.len(), |job| job.need)
    }

    fn is_prefilling(&self) -> bool {
        self.job.as_ref().is_some_and(|job| self.computed < job.feed.len())
    }
}

/// The state of a lane.
pub(super) struct Scheduler<'model> {
    context: Context<'model>,
    batch: Batch,
    pace: Pace,
    bounds: Bounds,
    /// The slots of jobs, then those of pinned prefixes.
    slots: Vec<Slot>,
    /// How many slots are for jobs.
    places: usize,
    pinned: Vec<Pinned>,
    pins: Arc<Pins>,
    /// The version of the pins that this lane has seen.
    pins_seen: u64,
    /// Prefixes on disk.
    prefixes: Option<Arc<Prefixes>>,
    inbox: Arc<Inbox>,
    /// Its number.
    lane: usize,
    stats: Arc<Mutex<Stats>>,
    step: u64,
    /// The last value that the inbox was given for whether this lane computes prefixes to be kept.
    pinning: bool,
}

impl<'model> Scheduler<'model> {
    /// Sequences for jobs and the prompts that they leave. With one job at a time, the next job continues in the
    /// sequence of the last one, and every step passes only over its own keys.
    fn places(max_sequences: usize) -> usize {
        if max_sequences == 1 { 1 } else { max_sequences + KEPT_PROMPTS }
    }

    /// Sequences that a context needs within these bounds.
    pub(super) fn sequences(bounds: Bounds) -> usize {
        Self::places(bounds.max_sequences) + bounds.pins
    }

    pub(super) fn new(
        context: Context<'model>,
        bounds: Bounds,
        inbox: Arc<Inbox>,
        pins: Arc<Pins>,
        prefixes: Option<Arc<Prefixes>>,
        lane: usize,
        stats: Arc<Mutex<Stats>>,
    ) -> Self {
        let slots = (0..Self::sequences(bounds))
            .map(|_| Slot {
                tokens: Vec::new(),
                computed: 0,
                job: None,
                used: 0,
                logits: None,
                in_batch: 0,
                draft: Draft::default(),
            })
            .collect();
        let batch = Batch::new(bounds.batch_tokens);
        let pace = Pace::new(context.threads());
        let places = Self::places(bounds.max_sequences);
        let (pinned, pinning) = (Vec::new(), false);
        Self {
            context,
            batch,
            pace,
            bounds,
            slots,
            places,
            pinned,
            pins,
            pins_seen: 0,
            prefixes,
            inbox,
            lane,
            stats,
            step: 0,
            pinning,
        }
    }

    /// Works until the inbox is shut.
    pub(super) fn run(&mut self) {
        while self.look() {
            self.look_at_pins();
            self.drop_expired();
            self.step();
            self.report_pins();
            self.write_pins();
            self.publish_load();
        }
        let inbox = self.inbox.clone();
        self.fail_all(inbox.shut(), &|| inbox.error());
    }

    /// Ends the jobs of this lane, and those that wait.
    fn fail_all(&mut self, waiting: Jobs, error: &dyn Fn() -> Error) {
        let running = self.slots.iter_mut().filter_map(|slot| slot.job.take());
        for job in running.chain(waiting) {
            job.fail(error());
        }
    }

    /// Takes what has arrived; sleeps if there is nothing else to do. False if the thread must end.
    fn look(&mut self) -> bool {
        let Some(over) = self.inbox.look(self.lane, self.is_idle()) else { return false };
        if !over.is_empty() {
            // Jobs past their deadline have already been told so.
            self.end_where(|job| over.contains(&job.id), |_| Error::cancelled());
        }
        true
    }

    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.job.is_none()) && !self.has_pins_to_compute()
    }

    fn drop_expired(&mut self) {
        let now = Instant::now();
        self.end_where(|job| job.deadline <= now, Prepared::timed_out);
    }

    /// Ends the running jobs that match, and frees their places.
    fn end_where(&mut self, matches: impl Fn(&Prepared) -> bool, error: impl Fn(&Prepared) -> Error) {
        for index in 0..self.slots.len() {
            if self.slots[index].job.as_deref().is_some_and(&matches)
                && let Some(job) = self.vacate(index)
            {
                let error = error(&job);
                job.fail(error);
            }
        }
    }

    /// Takes the job out of a slot and leaves the computed part of its prompt for later jobs.
    fn vacate(&mut self, index: usize) -> Option<Box<Prepared>> {
        let slot = &mut self.slots[index];
        let job = slot.job.take()?;
        let kept = if self.bounds.shares_prompts { job.prompt_tokens.min(slot.computed) } else { 0 };
        self.truncate(index, kept);
        // A prompt that another sequence also holds is not kept twice.
        let tokens = &self.slots[index].tokens;
        let held_elsewhere =
            self.slots.iter().enumerate().any(|(other, slot)| other != index && slot.tokens.starts_with(tokens));
        if held_elsewhere {
            self.truncate(index, 0);
        }
        if self.slots[..self.places].iter().filter(|slot| slot.is_cached()).count() > KEPT_PROMPTS
            && let Some(oldest) = self.oldest_cached(None)
        {
            self.truncate(oldest, 0);
        }
        // Before the caller is told of the end, so that neither the counters nor the lane's state lags behind.
        self.publish_load();
        self.inbox.left(self.lane, job.id, self.is_idle());
        Some(job)
    }

    /// Drops what a sequence holds beyond `length`.
    fn truncate(&mut self, index: usize, length: usize) {
        let slot = &mut self.slots[index];
        // Whole sequences and tails can always be removed: models that keep a running state were refused at opening.
        let _ = self.context.remove(index, length);
        slot.tokens.truncate(length);
        slot.computed = slot.computed.min(length);
        slot.used = self.step;
    }

    /// Computes one batch, then lets every job whose tokens are all computed choose its next ones.
    fn step(&mut self) {
        self.step += 1;
        self.fill_batch();
        if self.batch.len() == 0 {
            return;
        }
        let (started, processor) = (Instant::now(), processor_time());
        self.context.set_threads(self.pace.threads(started));
        let deadline = self.last_deadline();
        let pinning = self.has_pins_to_compute();
        if pinning != self.pinning {
            self.pinning = pinning;
            self.inbox.set_pinning(self.lane, pinning);
        }
        let outcome = self.context.decode(&mut self.batch, deadline);
        if let (Some(before), Some(after)) = (processor, processor_time()) {
            self.pace.took(Instant::now(), started.elapsed(), after.saturating_sub(before));
        }
        match outcome {
            Ok(Decoded::Whole) => {}
            Ok(Decoded::Stopped) => return self.take_back(),
            Err(fault) => return self.recover(&fault),
        }
        self.count_step();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.computed += std::mem::take(&mut slot.in_batch);
            if let Some(at) = slot.logits.take() {
                self.advance(index, at);
            }
        }
    }

    /// When no job needs a step any more: when its last job is past its deadline. Each job is told at its own deadline
    /// meanwhile.
    fn last_deadline(&self) -> Option<Instant> {
        if self.has_pins_to_compute() {
            return None;
        }
        self.slots.iter().filter_map(|slot| slot.job.as_ref().map(|job| job.deadline)).max()
    }

    /// After a step that was stopped: discards what the step has computed. Every job continues from where it was.
    fn take_back(&mut self) {
        self.batch.clear();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            slot.logits = None;
            slot.draft.clear();
            if std::mem::take(&mut slot.in_batch) > 0 {
                let computed = slot.computed;
                let _ = self.context.remove(index, computed);
            }
        }
    }

    /// Lets a job choose its next tokens after the token at this place of the batch.
    fn choose(&mut self, index: usize, at: usize) {
        let slot = &mut self.slots[index];
        let Some(job) = &mut slot.job else { return };
        // Sampled and forced tokens differ in where they come from, not in how they are computed.
        let (length, need) = (slot.tokens.len(), job.need);
        let logits = self.context.logits(at).map_err(|fault| failed(&fault));
        match logits.and_then(|logits| job.writer.advance(logits)) {
            Ok(Next { feed, .. }) if feed.is_empty() => {
                if let Some(job) = self.vacate(index) {
                    job.complete();
                }
            }
            Ok(Next { dropped, feed }) if length - dropped + feed.len() <= need => {
                if dropped > 0 {
                    self.truncate(index, length - dropped);
                }
                self.slots[index].tokens.extend(feed);
            }
            outcome => {
                let error = outcome.err().unwrap_or_else(|| {
                    Error::new(ErrorKind::Internal, "the verdict takes more tokens than were set aside for it")
                });
                if let Some(job) = self.vacate(index) {
                    job.fail(error);
                }
            }
        }
    }

    fn fill_batch(&mut self) {
        self.batch.clear();
        let mut room = self.bounds.batch_tokens;
        let decoding: Vec<_> = (0..self.slots.len())
            .filter(|&index| self.slots[index].job.is_some() && !self.slots[index].is_prefilling())
            .collect();
        for &index in &decoding {
            room -= self.add_pending(index, room);
        }
        if !decoding.is_empty() {
            room = room.min(self.bounds.chunk_tokens);
        }
        let mut prefilling: Vec<_> = (0..self.slots.len()).filter(|&index| self.slots[index].is_prefilling()).collect();
        prefilling
            .sort_unstable_by_key(|&index| self.slots[index].job.as_ref().map(|job| (Reverse(job.priority), job.id)));
        for index in prefilling {
            room -= self.add_pending(index, room);
        }
        room -= self.add_pins(room);
        while room > 0
            && let Some(index) = self.admit()
        {
            room -= self.add_pending(index, room);
        }
        self.add_drafts();
    }

    /// Puts as many pending tokens of a slot into the batch as fit; gives their number.
    fn add_pending(&mut self, index: usize, room: usize) -> usize {
        let slot = &mut self.slots[index];
        let from = slot.computed;
        let to = slot.tokens.len().min(from + room);
        for place in from..to {
            let last = place + 1 == slot.tokens.len() && slot.job.is_some();
            if last {
                slot.logits = Some(self.batch.len());
            }
            self.batch.add(slot.tokens[place], place, index, last);
        }
        slot.in_batch = to - from;
        slot.used = self.step;
        to - from
    }

    /// Gives the first waiting job a place, if there is one.
    fn admit(&mut self) -> Option<usize> {
        let running = self.slots.iter().filter(|slot| slot.job.is_some());
        if running.count() >= self.bounds.max_sequences {
            return None;
        }
        let reserved = self.held_by_jobs() + self.kept_for_pins();
        let (mut donor, mut computed) = (0, 0);
        let job = self.inbox.pop(self.lane, |job| {
            if reserved + job.need > self.bounds.pool_tokens {
                return false;
            }
            if !self.bounds.shares_prompts {
                return true;
            }
            // The last token is always computed again: its logits are needed.
            let coming;
            (donor, computed, coming) = self.longest_prefix(&job.feed[..job.feed.len() - 1]);
            coming <= computed + WORTH_WAITING
        })?;
        let Some(index) = self.place(donor) else {
            self.inbox.left(self.lane, job.id, self.is_idle());
            job.fail(Error::new(ErrorKind::Internal, "the engine has no place for a judgment that fits"));
            return None;
        };
        if index != donor && computed > 0 {
            let shared = self.context.share(donor, index, computed);
            debug_assert!(shared.is_ok(), "both sequences exist");
        } else {
            self.truncate(index, computed);
        }
        let slot = &mut self.slots[index];
        slot.tokens.clone_from(&job.feed);
        slot.computed = computed;
        slot.used = self.step;
        slot.draft = Draft::new(self.bounds.draft_tokens);
        let mut job = job;
        if job.start(computed) {
            self.inbox.begun(&job);
        }
        self.with_stats(|stats| stats.reused_tokens += computed as u64);
        self.slots[index].job = Some(job);
        self.make_room();
        Some(index)
    }

    /// The slot that shares the longest computed prefix with `tokens`, its length, and the longest prefix that any slot
    /// will have computed after this step.
    fn longest_prefix(&self, tokens: &[u32]) -> (usize, usize, usize) {
        let mut best = (0, 0, 0);
        for (index, slot) in self.slots.iter().enumerate() {
            let shared = slot.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
            let computed = shared.min(slot.computed);
            if !self.context.holds(index, computed) {
                continue;
            }
            if computed > best.1 {
                best = (index, computed, best.2);
            }
            best.2 = best.2.max(shared);
        }
        best
    }

    /// A slot for a new job: a free one, else the cached one used longest ago, the donor last.
    fn place(&mut self, donor: usize) -> Option<usize> {
        if let Some(free) = self.slots[..self.places].iter().position(Slot::is_free) {
            return Some(free);
        }
        let oldest = self.oldest_cached(Some(donor))?;
        if oldest != donor {
            self.truncate(oldest, 0);
        }
        Some(oldest)
    }

    fn oldest_cached(&self, spared: Option<usize>) -> Option<usize> {
        (0..self.places)
            .filter(|&index| self.slots[index].is_cached())
            .min_by_key(|&index| (Some(index) == spared, self.slots[index].used))
    }

    /// Evicts cached prompts, then pinned ones, until all reservations fit the pool.
    fn make_room(&mut self) {
        while self.taken() > self.bounds.pool_tokens {
            let Some(oldest) = self.oldest_cached(None).or_else(|| self.oldest_pin()) else { return };
            self.truncate(oldest, 0);
        }
    }

    /// Tokens of the pool that are reserved for running jobs.
    fn held_by_jobs(&self) -> usize {
        self.slots.iter().filter(|slot| slot.job.is_some()).map(Slot::reserved).sum()
    }

    /// Tokens of the pool that are reserved, for jobs and for what is kept.
    fn taken(&self) -> usize {
        self.slots[..self.places].iter().map(Slot::reserved).sum::<usize>() + self.held_by_pins()
    }

    /// After a failed computation: the jobs in the batch fail, the content of the context is dropped, and work goes on.
    fn recover(&mut self, fault: &Fault) {
        let _ = self.context.clear();
        for slot in &mut self.slots {
            slot.tokens.clear();
            slot.computed = 0;
            slot.logits = None;
            slot.in_batch = 0;
            slot.draft.clear();
        }
        let jobs: Vec<_> = self.slots.iter_mut().filter_map(|slot| slot.job.take()).collect();
        self.fail_pins(&|| failed(fault));
        for job in jobs {
            self.inbox.left(self.lane, job.id, true);
            job.fail(failed(fault));
        }
    }

    fn publish_load(&self) {
        let running = self.slots.iter().filter(|slot| slot.job.is_some());
        // llama.cpp's pool hands out single tokens, so a block is one token.
        let (running, used) = running.fold((0, 0), |(count, sum), slot| (count + 1, sum + slot.computed));
        self.with_stats(|stats| {
            stats.running = running;
            stats.kv_block_tokens = 1;
            stats.kv_blocks = self.bounds.pool_tokens;
            stats.kv_blocks_used = used.min(self.bounds.pool_tokens);
            stats.kv_blocks_reused = stats.reused_tokens;
        });
    }

    /// Counts a step that was computed, before anybody hears of what it ended.
    fn count_step(&self) {
        let drafted: usize = self.slots.iter().map(|slot| slot.draft.len()).sum();
        self.with_stats(|stats| {
            stats.computed_tokens += self.batch.len() as u64;
            stats.drafted_tokens += drafted as u64;
            stats.steps += 1;
        });
    }

    fn with_stats(&self, change: impl FnOnce(&mut Stats)) {
        if let Ok(mut stats) = self.stats.lock() {
            change(&mut stats);
        }
    }
}

fn failed(fault: &Fault) -> Error {
    Error::new(ErrorKind::Engine, format!("llama.cpp could not compute a batch: {fault}"))
}

/// Runs `scheduler` to its end; a panic inside fails every job instead of leaving it waiting.
pub(super) fn run(scheduler: &mut Scheduler<'_>) -> Result<()> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scheduler.run()));
    outcome.map_err(|panic| {
        let text =
            panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let text = text.unwrap_or_else(|| "no message".into());
        let error = || Error::new(ErrorKind::Internal, format!("the engine thread panicked: {text}"));
        let waiting = scheduler.inbox.give_up();
        scheduler.fail_all(waiting, &error);
        scheduler.pins.end();
        error()
    })
}
