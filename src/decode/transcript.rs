//! The transcript: what an engine writes of one job, part by part, until it is a [`Generation`].
//!
//! All engines use it. The output has four parts: the opening (the tag that opens the reasoning, which is fed), the reasoning,
//! the closing (the tag that ends it), and the answer. Parts are kept as bytes, because a token may end inside a character.

use std::time::{Duration, Instant};

use crate::decode::plan::{CHARACTER_GRACE, ends_whole};
use crate::engine::{Generation, Listener};
use crate::verdict::{Timing, Usage};

/// Bytes at the end of the reasoning that a listener does not get yet: as many as the longest closing tag has.
const HELD_BACK: usize = 24;

/// Writes down the output of one job.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    reasons: bool,
    opening: Vec<u8>,
    reasoning: Vec<u8>,
    closing: Vec<u8>,
    answer: Vec<u8>,
    listener: Option<Listener>,
    /// Bytes of the reasoning that the listener has got.
    heard: usize,
    /// The distribution at each score so far.
    pub distributions: Vec<Vec<f64>>,
    /// How much of the probability lay on the scale at each score, without a grammar; empty if that is not known.
    pub masses: Vec<f64>,
    /// Whether the budget ended the reasoning.
    pub reasoning_truncated: bool,
    /// Whether the verdict was cut by its limit.
    pub verdict_truncated: bool,
    /// Tokens, counted by the engine.
    pub usage: Usage,
}

impl Transcript {
    /// An empty transcript of a job whose prompt has this many tokens. `reasons`: whether tokens separate the reasoning from
    /// the answer; if not, the whole output is the answer, and the reader of verdicts finds tags in it.
    pub fn new(reasons: bool, prompt_tokens: usize) -> Self {
        Self { reasons, usage: Usage { prompt_tokens, ..Usage::default() }, ..Self::default() }
    }

    /// From now on, sends the reasoning to a listener.
    #[must_use]
    pub fn heard_by(mut self, listener: Option<Listener>) -> Self {
        self.listener = listener;
        self
    }

    /// Sends the listener the new text, except the last bytes, which may belong to the closing tag.
    fn tell(&mut self, but: usize) {
        let Some(listener) = &self.listener else { return };
        let until = self.reasoning.len().saturating_sub(but);
        if until <= self.heard {
            return;
        }
        let fresh = &self.reasoning[self.heard..until];
        let whole = match std::str::from_utf8(fresh) {
            Ok(text) => {
                listener.hear(text);
                fresh.len()
            }
            // An incomplete character is sent with the next piece; bytes that are not UTF-8 are replaced as in the verdict.
            Err(error) if error.error_len().is_none() && but > 0 => {
                listener.hear(&String::from_utf8_lossy(&fresh[..error.valid_up_to()]));
                error.valid_up_to()
            }
            Err(_) => {
                listener.hear(&String::from_utf8_lossy(fresh));
                fresh.len()
            }
        };
        self.heard += whole;
    }

    /// Sets that tokens do separate the reasoning from the answer.
    pub(crate) fn reasons(&mut self) {
        self.reasons = true;
    }

    /// Appends to what opens the reasoning.
    pub fn open(&mut self, bytes: &[u8]) {
        self.opening.extend_from_slice(bytes);
    }

    /// Appends to the reasoning.
    pub fn reason(&mut self, bytes: &[u8]) {
        self.reasoning.extend_from_slice(bytes);
        self.tell(HELD_BACK);
    }

    /// Appends to what closes the reasoning.
    pub fn close(&mut self, bytes: &[u8]) {
        self.tell(0);
        self.closing.extend_from_slice(bytes);
    }

    /// Looks in the reasoning, whose last `fresh` bytes are new, for the text that closes it. If it is found, it becomes the
    /// closing, and the text after it is removed and returned.
    pub fn close_at(&mut self, close: &str, fresh: usize) -> Option<Vec<u8>> {
        let from = self.reasoning.len().saturating_sub(fresh + close.len().saturating_sub(1));
        let at = self.reasoning[from..].windows(close.len().max(1)).position(|part| part == close.as_bytes())?;
        let after = self.reasoning.split_off(from + at + close.len());
        self.closing.extend(self.reasoning.drain(from + at..));
        self.tell(0);
        Some(after)
    }

    /// Appends to the answer.
    pub fn answer(&mut self, bytes: &[u8]) {
        self.tell(0);
        self.answer.extend_from_slice(bytes);
    }

    /// The answer so far.
    pub fn answered(&self) -> &[u8] {
        &self.answer
    }

    /// Whether the reasoning, or its opening, ends with a line end: then none is needed before the closing tag.
    pub fn ends_line(&self) -> bool {
        self.reasoning.last().or(self.opening.last()) == Some(&b'\n')
    }

    /// Whether a reasoning of `tokens` tokens must be ended: its budget is spent, and it does not stop inside a
    /// character, unless waiting for that takes too long.
    pub fn is_spent(&self, tokens: u32, budget: u32) -> bool {
        tokens >= budget && (tokens - budget >= CHARACTER_GRACE || ends_whole(&self.reasoning))
    }

    /// The whole output.
    pub fn finish(self, timing: Timing) -> Generation {
        let parts = [&self.opening, &self.reasoning, &self.closing, &self.answer];
        let mut raw = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        let [start, end, answer, _] = parts.map(|part| {
            match std::str::from_utf8(part) {
                Ok(text) => raw.push_str(text),
                Err(_) => raw.push_str(&String::from_utf8_lossy(part)),
            }
            raw.len()
        });
        Generation {
            raw,
            reasoning: self.reasons.then_some(start..end),
            answer,
            distributions: self.distributions,
            masses: self.masses,
            reasoning_truncated: self.reasoning_truncated,
            verdict_truncated: self.verdict_truncated,
            usage: self.usage,
            timing,
        }
    }
}

/// Notes when the phases of a job ended, for engines that see every token.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    submitted: Instant,
    started: Option<Instant>,
    prefilled: Option<Instant>,
    reasoned: Option<Instant>,
}

impl Stopwatch {
    /// A watch for a job that was submitted then.
    pub fn new(submitted: Instant) -> Self {
        Self { submitted, started: None, prefilled: None, reasoned: None }
    }

    /// The job has its place. Later calls of this and of the other marks change nothing.
    pub fn start(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    /// The prompt is computed.
    pub fn prefilled(&mut self) {
        self.prefilled_at(Instant::now());
    }

    /// The reasoning has ended.
    pub fn reasoned(&mut self) {
        self.reasoned_at(Instant::now());
    }

    /// As [`Self::start`], for a moment that has passed.
    pub fn start_at(&mut self, at: Instant) {
        self.started.get_or_insert(at);
    }

    /// As [`Self::prefilled`], for a moment that has passed.
    pub fn prefilled_at(&mut self, at: Instant) {
        self.prefilled.get_or_insert(at);
    }

    /// As [`Self::reasoned`], for a moment that has passed.
    pub fn reasoned_at(&mut self, at: Instant) {
        self.reasoned.get_or_insert(at);
    }

    /// The times of the phases, of a verdict that ends now. A phase without its mark took no time.
    pub fn stop(self) -> Timing {
        let now = Instant::now();
        let started = self.started.unwrap_or(now);
        let prefilled = self.prefilled.unwrap_or(now).max(started);
        let reasoned = self.reasoned.unwrap_or(prefilled).max(prefilled);
        let between = |from: Instant, to: Instant| -> Duration { to.saturating_duration_since(from) };
        Timing {
            queue: between(self.submitted, started),
            prefill: between(started, prefilled),
            reasoning: between(prefilled, reasoned),
            verdict: between(reasoned, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_told_apart() {
        let mut transcript = Transcript::new(true, 7);
        transcript.open(b"<think>\n");
        assert!(transcript.ends_line());
        transcript.reason("é".as_bytes());
        assert!(!transcript.ends_line());
        transcript.close(b"\n</think>");
        transcript.answer(b"{}");
        let written = transcript.finish(Timing::default());
        assert_eq!(written.raw, "<think>\né\n</think>{}");
        assert_eq!(&written.raw[written.reasoning.clone().unwrap()], "é");
        assert_eq!(&written.raw[written.answer..], "{}");
        assert_eq!(written.usage.prompt_tokens, 7);
    }

    #[test]
    fn a_cut_character_is_replaced_and_moves_no_border() {
        let mut transcript = Transcript::new(true, 0);
        transcript.reason(&"€".as_bytes()[..2]);
        transcript.answer(b"x");
        let written = transcript.finish(Timing::default());
        assert_eq!((&written.raw[written.reasoning.unwrap()], &written.raw[written.answer..]), ("\u{fffd}", "x"));
    }

    #[test]
    fn a_closing_text_is_found_however_it_is_divided() {
        for parts in [&["hm", "</think>"][..], &["hm<", "/th", "ink", ">\n\n"], &["hm</thi", "nk>"], &["hm</think>"]] {
            let mut transcript = Transcript::new(true, 0);
            let closed: Vec<bool> = parts
                .iter()
                .map(|part| {
                    transcript.reason(part.as_bytes());
                    transcript.close_at("</think>", part.len()).is_some()
                })
                .collect();
            assert_eq!(closed.iter().position(|&closed| closed), Some(parts.len() - 1), "{parts:?}");
            transcript.answer(b"{}");
            let written = transcript.finish(Timing::default());
            assert_eq!(&written.raw[written.reasoning.unwrap()], "hm");
            assert_eq!(&written.raw[written.answer..], "{}");
        }
    }

    #[test]
    fn a_listener_hears_the_reasoning_in_whole_characters_and_nothing_of_its_closing() {
        use std::sync::{Arc, Mutex};

        let reasoning = "First, the ä and the € of model-1; then what is longer. ".repeat(3);
        for size in [1, 2, 5, 64, 1000] {
            let pieces = Arc::new(Mutex::new(Vec::new()));
            let sink = pieces.clone();
            let listener = Listener::new(move |piece| sink.lock().unwrap().push(piece.to_owned()));
            let mut transcript = Transcript::new(true, 0).heard_by(Some(listener));
            for part in format!("{reasoning}</think>").as_bytes().chunks(size) {
                transcript.reason(part);
                if transcript.close_at("</think>", part.len()).is_some() {
                    break;
                }
            }
            transcript.answer(b"{}");
            let pieces = pieces.lock().unwrap();
            assert_eq!(pieces.concat(), reasoning, "parts of {size} bytes");
            assert!(size > 64 || pieces.len() > 2, "it does not come at once");
        }
    }

    #[test]
    fn a_budget_ends_at_the_end_of_a_character() {
        let mut transcript = Transcript::new(true, 0);
        transcript.reason(&"€".as_bytes()[..1]);
        assert!(!transcript.is_spent(4, 5) && !transcript.is_spent(5, 5));
        assert!(transcript.is_spent(5 + CHARACTER_GRACE, 5));
        transcript.reason(&"€".as_bytes()[1..]);
        assert!(transcript.is_spent(5, 5));
    }

    #[test]
    fn phases_without_a_mark_take_no_time() {
        let timing = Stopwatch::new(Instant::now()).stop();
        assert_eq!((timing.prefill, timing.reasoning, timing.verdict), Default::default());
    }
}
