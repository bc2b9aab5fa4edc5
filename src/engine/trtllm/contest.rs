//! Score distributions if no function of this process can see the logits: behind an orchestrator's workers, and if the
//! last layers run in another process.
//!
//! The executor returns one number for a sampled token: its log probability among all tokens that the grammar admits.
//! So each written score is compared with each other score of the scale. Each comparison is one more request for one
//! token: its prompt ends right before the score, and its grammar admits only the two scores. The winner and its
//! probability give the difference of their logits; all the differences give the distribution. The prompts are in the
//! KV cache.

use std::f32::consts::LN_2;
use std::time::{Duration, Instant};

use cxx::SharedPtr;

use crate::decode::grammar::VerdictGrammar;
use crate::decode::score::ScoreProbe;
use crate::error::{Error, ErrorKind, Result};

use super::bridge::Receiver;
use super::bridge::ffi::{Reply, Session, Submission};
use super::failure::{failed, told};
use super::vocabulary::{GuideVocabulary, ScorePlaces};

/// Most requests that one judgment makes at once.
const AT_ONCE: usize = 64;
/// How far a log probability may be off: they are computed in single precision, or in half precision if the logits are.
const TOLERANCE: f32 = 0.01;
/// Beyond this difference of logits, the smaller probability counts as zero.
const FAR: f64 = 80.0;

/// One score against another one.
struct Contest {
    /// Which score of the verdict.
    score: usize,
    /// Number of tokens before it.
    prefix: usize,
    /// The token that was written, and its digit.
    written: (u32, u8),
    rival: (u32, u8),
    guide: String,
    /// The rival's logit minus that of the written token.
    margin: Option<f32>,
}

/// The contests of one verdict.
pub(super) struct Contests {
    /// The prompt, and all tokens up to the last score.
    tokens: Vec<i32>,
    all: Vec<Contest>,
    /// How many have been requested.
    asked: usize,
}

/// A request for one token, under a grammar, with its log probability.
fn submission(vocabulary: &GuideVocabulary, tokens: Vec<i32>, guide: String) -> Submission {
    let (end, stops) = vocabulary.ends().split_first().expect("a checked vocabulary has an end");
    Submission {
        tokens,
        max_tokens: 1,
        temperature: 0.0,
        top_p: 1.0,
        top_k: 1,
        seed: 0,
        end: end.cast_signed(),
        stops: stops.iter().map(|stop| stop.cast_signed()).collect(),
        banned: Vec::new(),
        guide,
        // Set when it is sent.
        allotted_ms: 0,
        retained_tokens: 0,
        log_probs: true,
        // The judgment has already waited.
        first: true,
    }
}

/// A grammar that admits only these texts; `None` for a text that would have to be escaped.
fn guide(texts: &[&[u8]]) -> Option<String> {
    let plain = |byte: &u8| (byte.is_ascii_graphic() || *byte == b' ') && !b"\"\\".contains(byte);
    let quoted = texts.iter().map(|text| {
        let plain = !text.is_empty() && text.iter().all(plain);
        plain.then(|| format!("\"{}\"", String::from_utf8_lossy(text)))
    });
    Some(format!("root ::= {}", quoted.collect::<Option<Vec<_>>>()?.join(" | ")))
}

/// The rival's logit minus the other one's, from the log probability of the winner among the two.
///
/// `None` if it cannot be that: the winner of two has at least half.
fn margin(log_prob: f32, rival_won: bool) -> Option<f32> {
    if !(-LN_2 - TOLERANCE..=TOLERANCE).contains(&log_prob) {
        return None;
    }
    // The loser's probability over the winner's.
    let odds = f64::from(-log_prob.min(0.0)).exp_m1();
    #[expect(clippy::cast_possible_truncation, reason = "logits have no more digits")]
    let margin = odds.ln().clamp(-FAR, 0.0) as f32;
    Some(if rival_won { -margin } else { margin })
}

impl Contests {
    /// The contests for an answer whose `output` tokens began at the lengths `starts`; `before` comes before the
    /// answer.
    ///
    /// `None` if a score was not written as one token that has alternatives in its place.
    pub(super) fn new(
        vocabulary: &GuideVocabulary,
        grammar: &VerdictGrammar,
        places: &ScorePlaces,
        before: &[i32],
        output: &[u32],
        starts: &[usize],
    ) -> Option<Self> {
        let mut contests = Vec::new();
        let mut last = 0;
        for score in 0..grammar.len() {
            let offset = grammar.score_offset(score)?;
            let at = starts.iter().rposition(|&start| start <= offset)?;
            let tokens = places.tokens(score, starts[at])?;
            let written = *tokens.iter().find(|(id, _)| *id == output[at])?;
            last = at;
            for rival in tokens.into_iter().filter(|token| *token != written) {
                let guide = guide(&[vocabulary.bytes(written.0), vocabulary.bytes(rival.0)])?;
                contests.push(Contest { score, prefix: before.len() + at, written, rival, guide, margin: None });
            }
        }
        let tokens = before.iter().copied().chain(output[..last].iter().map(|token| token.cast_signed())).collect();
        Some(Self { tokens, all: contests, asked: 0 })
    }

    /// Tokens of the longest prompt.
    pub(super) fn longest(&self) -> usize {
        self.tokens.len()
    }

    /// The requests to make next; none once all are made.
    pub(super) fn next(&mut self, vocabulary: &GuideVocabulary) -> Vec<Submission> {
        let first = self.asked;
        self.asked = self.all.len().min(first + AT_ONCE);
        let ask = |contest: &Contest| {
            vocabulary.note(&contest.guide);
            submission(vocabulary, self.tokens[..contest.prefix].to_vec(), contest.guide.clone())
        };
        self.all[first..self.asked].iter().map(ask).collect()
    }

    /// Takes in the answers to the last requests, in their order; `None` for a request that failed. Returns whether all
    /// of them are usable: if one is not, there is no distribution, and nothing more has to be requested.
    pub(super) fn take<'a>(&mut self, replies: impl ExactSizeIterator<Item = Option<&'a Reply>>) -> bool {
        let first = self.asked - replies.len().min(self.asked);
        for (contest, reply) in self.all[first..].iter_mut().zip(replies) {
            contest.margin = reply.and_then(|reply| {
                let winner = reply.tokens().first()?.cast_unsigned();
                let rival_won = winner == contest.rival.0;
                (rival_won || winner == contest.written.0).then(|| margin(reply.log_prob(), rival_won)).flatten()
            });
            if contest.margin.is_none() {
                return false;
            }
        }
        true
    }

    /// The distribution at each score; empty unless every contest was decided.
    pub(super) fn distributions(&self, grammar: &VerdictGrammar) -> Vec<Vec<f64>> {
        let one = |score: usize| {
            let mut probe = ScoreProbe::new(grammar.marks());
            let mut written = None;
            for contest in self.all.iter().filter(|contest| contest.score == score) {
                written = Some(contest.written);
                probe.add(&[contest.rival.1], contest.rival.0, contest.margin?);
            }
            let (token, digit) = written?;
            probe.add(&[digit], token, 0.0);
            probe.distribution()
        };
        (0..grammar.len()).map(one).collect::<Option<Vec<_>>>().unwrap_or_default()
    }
}

/// Whether the library's log probabilities mean what the contests assume; tried with two requests of one token.
///
/// # Errors
/// If the engine cannot answer even these.
pub(super) fn is_understood(session: &Session, vocabulary: &GuideVocabulary, limit: Duration) -> Result<bool> {
    let Some([one, other]) = vocabulary.two_digits() else { return Ok(false) };
    let (texts, tokens) = ([one, other].map(|id| vocabulary.bytes(id)), vocabulary.tokenizer().encode_text("Score: ")?);
    let prompt: Vec<i32> = tokens.into_iter().map(u32::cast_signed).collect();
    let ask = |texts: &[&[u8]]| -> Result<Option<u64>> {
        let Some(guide) = guide(texts) else { return Ok(None) };
        vocabulary.note(&guide);
        let mut submission = submission(vocabulary, prompt.clone(), guide);
        submission.allotted_ms = i64::try_from(limit.as_millis()).unwrap_or(i64::MAX);
        let mut id = 0;
        let status = session.enqueue(&submission, SharedPtr::null(), &mut id);
        if status.is_ok() { Ok(Some(id)) } else { Err(failed("trying the engine", &status)) }
    };
    let (Some(alone), Some(both)) = (ask(&texts[..1])?, ask(&texts)?) else { return Ok(false) };
    let deadline = Instant::now() + limit;
    let mut found = [None; 2];
    let mut receiver = Receiver::default();
    while found.contains(&None) {
        if Instant::now() >= deadline {
            return Err(Error::new(
                ErrorKind::EngineDead,
                format!("TensorRT-LLM did not answer a first request within {} s", limit.as_secs_f64()),
            ));
        }
        let status = session.await_responses(100, &mut receiver);
        if !status.is_ok() {
            return Err(failed("waiting for a first response", &status));
        }
        for reply in receiver.replies.drain(..).filter(|reply| reply.is_final()) {
            if reply.failed() {
                return Err(told("the engine failed on a first request", &reply.error()));
            }
            let Some(place) = [alone, both].iter().position(|&id| id == reply.request()) else { continue };
            found[place] = Some(reply.log_prob());
        }
    }
    let [alone, both] = found.map(Option::unwrap_or_default);
    // A single candidate is certain. Of two, neither is certain, whatever the model, unless mask or normalization
    // differ.
    Ok(alone.abs() <= TOLERANCE && both < 0.0 && margin(both, false).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_winners_probability_gives_the_difference_of_the_logits() {
        for difference in [0.0_f32, 0.5, 2.0, 9.0] {
            let log_prob = -(-difference).exp().ln_1p();
            let found = margin(log_prob, false).unwrap();
            assert!((found + difference).abs() < 0.01, "{difference}: {found}");
            assert!((margin(log_prob, true).unwrap() - difference).abs() < 0.01);
        }
        assert!(margin(0.0, false).unwrap() <= -79.0, "a certain winner leaves nothing");
        for odd in [-0.8, 0.5, f32::NAN, f32::NEG_INFINITY] {
            assert_eq!(margin(odd, false), None, "{odd}");
        }
    }

    #[test]
    fn only_plain_texts_stand_in_a_grammar() {
        assert_eq!(guide(&[b"4", b" 2"]).as_deref(), Some("root ::= \"4\" | \" 2\""));
        for odd in [&b"\""[..], b"\\", b"\n", b"", b"\xff"] {
            assert_eq!(guide(&[b"4", odd]), None);
        }
    }
}
