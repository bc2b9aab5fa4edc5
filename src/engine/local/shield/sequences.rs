//! The sequences of a context: what their keys and values are, and how they are dropped, shared, kept and put back.

use super::{
    Context, Fault, dicast_shield_clear, dicast_shield_copy, dicast_shield_remove, dicast_shield_state_get,
    dicast_shield_state_set, dicast_shield_state_size,
};

impl Context<'_> {
    /// Drops what a sequence holds from a position on.
    pub(in crate::engine::local) fn remove(&mut self, sequence: usize, from: usize) -> Result<(), Fault> {
        let (sequence, from) = self.place(sequence, from)?;
        let mut whole = false;
        // SAFETY: the sequence is one that the context was made with.
        self.call(|context, message| unsafe { dicast_shield_remove(context, sequence, from, &raw mut whole, message) })
    }

    /// Whether a sequence still has what a token at position `end` looks back to. Of layers with a window, what lies
    /// before it may have been given up for tokens of any sequence; what is left has no holes.
    pub(in crate::engine::local) fn holds(&self, sequence: usize, end: usize) -> bool {
        if self.window == 0 || end == 0 {
            return true;
        }
        let Ok((sequence, _)) = self.place(sequence, 0) else { return false };
        // SAFETY: the context is alive, and the sequence one that it was made with.
        let first = unsafe {
            let memory = llama_cpp_sys_2::llama_get_memory(self.raw.as_ptr());
            llama_cpp_sys_2::llama_memory_seq_pos_min(memory, sequence)
        };
        usize::try_from(first).is_ok_and(|first| first <= end.saturating_sub(self.window))
    }

    /// Lets `to` share the first `end` positions of `from`.
    pub(in crate::engine::local) fn share(&mut self, from: usize, to: usize, end: usize) -> Result<(), Fault> {
        let (from, end) = self.place(from, end)?;
        let (to, _) = self.place(to, 0)?;
        // SAFETY: both sequences are ones that the context was made with.
        self.call(|context, message| unsafe { dicast_shield_copy(context, from, to, end, message) })
    }

    /// How many bytes [`Self::state`] of a sequence takes.
    pub(in crate::engine::local) fn state_bytes(&mut self, sequence: usize) -> Result<usize, Fault> {
        let (sequence, _) = self.place(sequence, 0)?;
        let mut size = 0;
        // SAFETY: the sequence is one that the context was made with; the call writes `size`.
        self.call(|context, message| unsafe { dicast_shield_state_size(context, sequence, &raw mut size, message) })?;
        Ok(size)
    }

    /// Copies the keys and values of a sequence into `state`, which must have [`Self::state_bytes`]. Returns the bytes
    /// written; 0 if llama.cpp failed.
    pub(in crate::engine::local) fn state(&mut self, sequence: usize, state: &mut [u8]) -> Result<usize, Fault> {
        let (sequence, _) = self.place(sequence, 0)?;
        let mut written = 0;
        // SAFETY: the sequence is one that the context was made with; the call writes at most as many bytes as `state` has,
        // and `written`.
        self.call(|context, message| unsafe {
            dicast_shield_state_get(context, sequence, state.as_mut_ptr(), state.len(), &raw mut written, message)
        })?;
        Ok(written)
    }

    /// Replaces the keys and values of a sequence by those that [`Self::state`] of a like context gave. Returns the bytes
    /// read; 0 if llama.cpp refused them, which leaves the sequence empty.
    pub(in crate::engine::local) fn set_state(&mut self, sequence: usize, state: &[u8]) -> Result<usize, Fault> {
        let (sequence, _) = self.place(sequence, 0)?;
        let mut read = 0;
        // SAFETY: the sequence is one that the context was made with; `state` outlives the call, which writes `read`.
        self.call(|context, message| unsafe {
            dicast_shield_state_set(context, sequence, state.as_ptr(), state.len(), &raw mut read, message)
        })?;
        Ok(read)
    }

    /// Clears every sequence and zeroes their memory: broken numbers must not reach later sequences.
    pub(in crate::engine::local) fn clear(&mut self) -> Result<(), Fault> {
        // SAFETY: the context is alive.
        self.call(|context, message| unsafe { dicast_shield_clear(context, true, message) })
    }

    fn place(&self, sequence: usize, place: usize) -> Result<(i32, i32), Fault> {
        match (i32::try_from(sequence), i32::try_from(place)) {
            (Ok(number), Ok(place)) if sequence < self.sequences => Ok((number, place)),
            _ => Err(Fault { message: format!("sequence {sequence} or place {place} is not there") }),
        }
    }
}
