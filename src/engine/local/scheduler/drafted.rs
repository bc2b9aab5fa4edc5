//! Drafts in the steps of a lane: what a job may write next is computed in the step of its last token, and kept as far as
//! the job writes it.

use super::{Scheduler, Slot};

/// Most tokens of a step with drafts. In a larger one, a token costs so much that the wrong ones cost more than the right
/// ones save.
const DRAFTED_STEP: usize = 8;

impl Scheduler<'_> {
    /// Adds drafts to a small step.
    pub(super) fn add_drafts(&mut self) {
        let mut room = DRAFTED_STEP.min(self.bounds.batch_tokens).saturating_sub(self.batch.len());
        for index in 0..self.places {
            let Slot { tokens, job: Some(job), logits: Some(_), draft, .. } = &mut self.slots[index] else { continue };
            if !job.writer.writes_freely() {
                continue;
            }
            // Within what is reserved for the job.
            let drafted = draft.look_up(tokens, room.min(job.need.saturating_sub(tokens.len())), self.batch.len());
            for (&token, place) in drafted.iter().zip(tokens.len()..) {
                self.batch.add(token, place, index, true);
            }
            room -= drafted.len();
        }
    }

    /// Lets a job choose its next tokens after the token at this place of the batch, and after each token of its draft
    /// that it chooses.
    pub(super) fn advance(&mut self, index: usize, mut at: usize) {
        let mut draft = std::mem::take(&mut self.slots[index].draft);
        loop {
            self.choose(index, at);
            let slot = &mut self.slots[index];
            if !slot.job.as_ref().is_some_and(|job| job.writer.writes_freely()) {
                break;
            }
            let right = draft.matches(&slot.tokens[slot.computed..]);
            slot.computed += right;
            let goes_on = right > 0 && slot.computed == slot.tokens.len();
            if right > 0 {
                self.with_stats(|stats| stats.accepted_tokens += right as u64);
            }
            if !goes_on {
                break;
            }
            at = draft.place();
        }
        let slot = &mut self.slots[index];
        if draft.end() {
            let _ = self.context.remove(index, slot.computed);
        }
        slot.draft = draft;
    }
}
