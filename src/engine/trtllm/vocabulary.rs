//! The model's vocabulary as the executor's guide and the score probes need it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::decode::grammar::{VerdictGrammar, Written};
use crate::decode::reasoning::special;
use crate::decode::score::ScoreProbe;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::Tokenizer;

use super::bridge::ffi::ProbePlan;

/// Represents the token that closes the reasoning in the guide's vocabulary, so that no other token is confused with
/// it: a private-use character, the last one that exists.
const CLOSE: char = '\u{10FFFD}';
/// Bytes of grammars that are kept. With masked names a grammar depends only on the number of responses, and for later
/// stages on what was written.
const CACHE: usize = 32 << 20;

/// Vocabulary of one model.
pub(super) struct GuideVocabulary {
    tokenizer: Arc<Tokenizer>,
    /// Tokens that end a text; the first one is the model's own.
    ends: Vec<u32>,
    close: Option<u32>,
    /// Control tokens that are never sampled in free text.
    banned: Vec<i32>,
    /// Tokens that contain a digit, by the bytes before it.
    digits: HashMap<Vec<u8>, Vec<DigitToken>>,
    longest_lead: usize,
    stages: Mutex<Stages>,
    counted: Mutex<Grammars>,
}

/// A grammar, whether its ranking must agree with the scores, whether reasoning comes before it, and what was written.
type StageKey = (VerdictGrammar, bool, bool, State);

/// The stages that are kept.
#[derive(Default)]
struct Stages {
    guides: HashMap<StageKey, Arc<EbnfGuide>>,
    bytes: usize,
}

/// The part of the written text that the rest of the verdict depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// The order of the scores, the worst being 0.
    scores: Vec<u8>,
    /// Whether there are scores at all.
    scored: bool,
    /// The names that are already ranked, in their own order.
    ranked: Vec<usize>,
}

impl State {
    fn of(written: &Written, consistent: bool) -> Self {
        let mut levels = written.scores.clone();
        levels.sort_unstable();
        levels.dedup();
        let level = |score: &u8| levels.iter().position(|level| level == score).unwrap_or_default();
        let scores = if consistent { &written.scores[..] } else { &[] };
        let mut ranked = written.ranked.clone();
        ranked.sort_unstable();
        let scores = scores.iter().map(|score| u8::try_from(level(score)).unwrap_or(u8::MAX)).collect();
        Self { scores, scored: !written.scores.is_empty(), ranked }
    }
}

/// A token that contains a digit.
struct DigitToken {
    id: u32,
    digit: u8,
    /// The bytes after the digit.
    tail: Vec<u8>,
}

/// A stage as the executor gets it.
pub(super) struct EbnfGuide {
    pub(super) ebnf: String,
    pub(super) last: bool,
    /// Most tokens of its text, including its end.
    pub(super) most_tokens: usize,
}

/// Where the probe of a request looks, and what it finds.
pub(super) struct ScorePlaces {
    pub(super) plan: ProbePlan,
    places: Vec<Place>,
}

/// A length of the answer at which a token that holds a score may begin.
struct Place {
    /// Which score.
    score: usize,
    /// The digit of each token.
    digits: Vec<u8>,
}

impl GuideVocabulary {
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if no token ends a text, or if the vocabulary is not the engine's.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, ends: Vec<u32>, engine_size: usize) -> Result<Self> {
        let size = tokenizer.vocab_size();
        if size > engine_size {
            return Err(Error::new(
                ErrorKind::InvalidModel,
                format!("tokenizer.json has {size} tokens, but the engine has {engine_size}: it is another model's"),
            ));
        }
        if ends.is_empty() || ends.iter().any(|&end| end as usize >= size) {
            return Err(Error::new(
                ErrorKind::InvalidModel,
                "no token is known to end the model's text: copy its generation_config.json into the engine folder",
            ));
        }
        let mut digits: HashMap<Vec<u8>, Vec<DigitToken>> = HashMap::new();
        for id in ids(size).filter(|&id| !tokenizer.is_control(id)) {
            let bytes = tokenizer.token_bytes(id).unwrap_or_default();
            for (at, &digit) in bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
                let token = DigitToken { id, digit, tail: bytes[at + 1..].to_vec() };
                digits.entry(bytes[..at].to_vec()).or_default().push(token);
            }
        }
        let longest_lead = digits.keys().map(Vec::len).max().unwrap_or(0);
        let banned = ids(size)
            .filter(|id| tokenizer.is_control(*id) && !ends.contains(id))
            .map(|id| i32::try_from(id).expect("ids are below the tokenizer's limit"))
            .collect();
        Ok(Self {
            tokenizer,
            ends,
            close: None,
            banned,
            digits,
            longest_lead,
            stages: Mutex::default(),
            counted: Mutex::default(),
        })
    }

    /// Admits the token that closes the reasoning.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] if the vocabulary lacks one of the two.
    pub(super) fn set_reasoning_tokens(&mut self, open: &str, close: &str) -> Result<()> {
        special(&self.tokenizer, open)?;
        let close = special(&self.tokenizer, close)?;
        self.close = Some(close);
        self.banned.retain(|&banned| i64::from(banned) != i64::from(close));
        Ok(())
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The bytes that a token writes.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.tokenizer.token_bytes(id).unwrap_or_default()
    }

    /// Tokens that end a text, the model's own first.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Control tokens that are never sampled in free text.
    pub(super) fn banned(&self) -> &[i32] {
        &self.banned
    }

    /// The vocabulary of the guide: the bytes of all tokens, and where each ends. Control tokens have no bytes, which
    /// keeps them out of every grammar.
    pub(super) fn for_guide(&self) -> (Vec<u8>, Vec<u32>) {
        let size = self.tokenizer.vocab_size();
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(size));
        for id in ids(size) {
            if Some(id) == self.close {
                bytes.extend_from_slice(CLOSE.encode_utf8(&mut [0; 4]).as_bytes());
            } else if !self.tokenizer.is_control(id) {
                bytes.extend_from_slice(self.bytes(id));
            }
            ends.push(u32::try_from(bytes.len()).expect("a tokenizer's file is smaller than 2^32 bytes"));
        }
        (bytes, ends)
    }

    /// The first stage of a verdict, with or without the reasoning before it.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(super) fn first_stage(
        &self,
        grammar: &VerdictGrammar,
        consistent: bool,
        reasoning: bool,
    ) -> Result<Arc<EbnfGuide>> {
        self.stage(grammar, consistent, reasoning, &Written::default())
    }

    /// The stage of a verdict that follows what was written.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(super) fn next_stage(
        &self,
        grammar: &VerdictGrammar,
        consistent: bool,
        written: &Written,
    ) -> Result<Arc<EbnfGuide>> {
        self.stage(grammar, consistent, false, written)
    }

    fn stage(
        &self,
        grammar: &VerdictGrammar,
        consistent: bool,
        reasoning: bool,
        written: &Written,
    ) -> Result<Arc<EbnfGuide>> {
        let key = (grammar.clone(), consistent, reasoning, State::of(written, consistent));
        let known = self.stages.lock().unwrap_or_else(PoisonError::into_inner).guides.get(&key).cloned();
        if let Some(guide) = known {
            return Ok(guide);
        }
        let stage = grammar.stage(written, consistent);
        let guide = Arc::new(EbnfGuide {
            ebnf: stage.grammar.ebnf(reasoning.then_some(CLOSE)),
            last: stage.last,
            most_tokens: self.most_tokens(&stage.example)? + 1,
        });
        self.note(&guide.ebnf);
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        if stages.bytes + guide.ebnf.len() > CACHE {
            *stages = Stages::default();
        }
        stages.bytes += guide.ebnf.len();
        stages.guides.insert(key, guide.clone());
        Ok(guide)
    }

    /// Counts a grammar if the library has not been given it yet.
    pub(super) fn note(&self, ebnf: &str) {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).note(ebnf, Instant::now());
    }

    /// How many different grammars the library was given in the last hour.
    pub(super) fn grammars_last_hour(&self) -> u64 {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).last_hour(Instant::now())
    }

    /// Two tokens that are each one digit.
    pub(super) fn two_digits(&self) -> Option<[u32; 2]> {
        let mut alone: Vec<_> = self.digits.get(&Vec::new())?.iter().filter(|token| token.tail.is_empty()).collect();
        alone.sort_by_key(|token| token.id);
        let first = alone.first()?;
        let other = alone.iter().find(|token| token.digit != first.digit)?;
        Some([first.id, other.id])
    }

    /// Most tokens for a text like this one. Sampled text may be split more finely than by the tokenizer; half as many
    /// tokens again have been ample for that.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub(super) fn most_tokens(&self, text: &str) -> Result<usize> {
        let tokens = self.tokenizer.encode_text(text)?.len();
        Ok((tokens + tokens / 2 + 16).min(text.len()))
    }

    /// Where the scores of a verdict will be: nowhere if they have one digit or more, since then each place depends on the scores
    /// before it. `prompt_tokens` come before the output, which begins with reasoning or with the answer.
    pub(super) fn score_places(&self, grammar: &VerdictGrammar, prompt_tokens: usize, reasoning: bool) -> ScorePlaces {
        let close = if reasoning { self.close } else { None };
        let mut plan = ProbePlan {
            prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
            after: close.and_then(|close| i32::try_from(close).ok()).unwrap_or(-1),
            ..ProbePlan::default()
        };
        let mut places = Vec::new();
        for score in 0..grammar.len() {
            let (Some(offset), Some((before, after))) = (grammar.score_offset(score), grammar.around_score(score))
            else {
                break;
            };
            for lead in (0..=self.longest_lead.min(before.len())).rev() {
                let Some(tokens) = self.digits.get(&before.as_bytes()[before.len() - lead..]) else { continue };
                let fits = |token: &&DigitToken| {
                    grammar.marks().read(&[token.digit]).is_some() && after.as_bytes().starts_with(&token.tail)
                };
                let tokens: Vec<_> = tokens.iter().filter(fits).collect();
                if tokens.is_empty() {
                    continue;
                }
                plan.at.push(u32::try_from(offset - lead).unwrap_or(u32::MAX));
                plan.tokens.extend(tokens.iter().map(|token| token.id.cast_signed()));
                plan.ends.push(u32::try_from(plan.tokens.len()).unwrap_or(u32::MAX));
                places.push(Place { score, digits: tokens.iter().map(|token| token.digit).collect() });
            }
        }
        ScorePlaces { plan, places }
    }
}

/// The different grammars that the library was given.
struct Grammars {
    /// Checksums of those that were seen.
    seen: HashSet<u64>,
    /// For each minute of the last hour, which minute it was and how many grammars were new in it.
    minutes: [(u64, u64); 60],
    start: Option<Instant>,
}

impl Default for Grammars {
    fn default() -> Self {
        Self { seen: HashSet::new(), minutes: [(0, 0); 60], start: None }
    }
}

impl Grammars {
    /// Most checksums that are kept; the library's own cache has a bound too.
    const MOST: usize = 1 << 16;

    fn minute(&mut self, now: Instant) -> u64 {
        now.saturating_duration_since(*self.start.get_or_insert(now)).as_secs() / 60
    }

    fn note(&mut self, ebnf: &str, now: Instant) {
        let mut hasher = DefaultHasher::new();
        ebnf.hash(&mut hasher);
        if self.seen.len() >= Self::MOST {
            self.seen.clear();
        }
        if !self.seen.insert(hasher.finish()) {
            return;
        }
        let minute = self.minute(now);
        let slot = &mut self.minutes[usize::try_from(minute % 60).unwrap_or_default()];
        if slot.0 != minute {
            *slot = (minute, 0);
        }
        slot.1 += 1;
    }

    fn last_hour(&mut self, now: Instant) -> u64 {
        let minute = self.minute(now);
        self.minutes.iter().filter(|(of, _)| of + 60 > minute).map(|(_, count)| count).sum()
    }
}

impl ScorePlaces {
    /// The tokens that can hold a score if a token begins at that length of the answer, with their digits.
    pub(super) fn tokens(&self, score: usize, start: usize) -> Option<Vec<(u32, u8)>> {
        let here = |(place, at): &(&Place, &u32)| place.score == score && **at as usize == start;
        let index = self.places.iter().zip(&self.plan.at).position(|pair| here(&pair))?;
        let first = if index == 0 { 0 } else { self.plan.ends[index - 1] as usize };
        let ids = self.plan.tokens[first..self.plan.ends[index] as usize].iter().map(|id| id.cast_unsigned());
        Some(ids.zip(self.places[index].digits.iter().copied()).collect())
    }

    /// The distribution at each score, in order, from what a probe copied: places by number, and the logits of their
    /// tokens one after the other. `starts` are the lengths of the answer at which its tokens began.
    ///
    /// Empty unless there is one for every score.
    pub(super) fn distributions(
        &self,
        grammar: &VerdictGrammar,
        places: &[u32],
        logits: &[f32],
        starts: &[usize],
    ) -> Vec<Vec<f64>> {
        let mut found: Vec<Option<Vec<f64>>> = vec![None; grammar.len()];
        let mut logits = logits;
        for &place in places {
            let Some(Place { score, digits }) = self.places.get(place as usize) else { break };
            let Some((these, rest)) = logits.split_at_checked(digits.len()) else { break };
            logits = rest;
            let Some(offset) = grammar.score_offset(*score) else { break };
            // The token that holds the score began here, and not at an earlier place.
            if starts.iter().rfind(|&&start| start <= offset) == Some(&(self.plan.at[place as usize] as usize)) {
                let mut probe = ScoreProbe::new(grammar.marks());
                for (&digit, &logit) in digits.iter().zip(these) {
                    probe.add(&[digit], 0, logit);
                }
                found[*score] = probe.distribution();
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
    }
}

fn ids(size: usize) -> std::ops::Range<u32> {
    0..u32::try_from(size).expect("vocabularies have fewer than 2^32 tokens")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_state_is_what_the_rest_depends_on() {
        let of = |scores: &[u8], ranked: &[usize], consistent| {
            State::of(&Written { scores: scores.to_vec(), ranked: ranked.to_vec() }, consistent)
        };
        assert_eq!(of(&[5, 1, 5], &[], true), of(&[4, 2, 4], &[], true), "the order of the scores counts");
        assert_ne!(of(&[5, 1, 5], &[], true), of(&[5, 1, 1], &[], true));
        assert_ne!(of(&[], &[], true), of(&[3, 3], &[], true));
        assert_eq!(of(&[5, 1], &[1, 0], false), of(&[2, 3], &[0, 1], false), "which names are left counts");
        assert_ne!(of(&[5, 1], &[1], false), of(&[5, 1], &[0], false));
    }

    #[test]
    fn new_grammars_are_counted_for_an_hour() {
        let mut grammars = Grammars::default();
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_secs(minutes * 60);
        for (text, minute) in [("a", 0), ("b", 0), ("a", 1), ("c", 30), ("a", 59)] {
            grammars.note(text, after(minute));
        }
        assert_eq!(grammars.last_hour(after(59)), 3);
        assert_eq!(grammars.last_hour(after(61)), 1);
        grammars.note("d", after(90));
        assert_eq!((grammars.last_hour(after(90)), grammars.last_hour(after(300))), (1, 0));
    }
}
