//! One judgment over tokens: which requests it takes, one after the other, and what they wrote.
//!
//! ```text
//! reasoning   free text up to the token that closes it, under the budget
//! choices     one token each, for a score or for places of the ranking, on the prompt with the reasoning and the verdict so far
//! verdict     or in one request, under the grammar
//! ...         the rest of a verdict that depends on what was written
//! looks       one token each, for the distribution: what would have come after the 1 of a score that may also be a 10
//! ```
//! If a server can, reasoning and verdict are one request.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::decode::grammar::{Choices, Stage, VerdictGrammar};
use crate::decode::logprobs::{self, Seen};
use crate::decode::plan::{CHARACTER_GRACE, Plan, VerdictPlan, ends_whole};
use crate::decode::reasoning::ReasoningTokens;
use crate::decode::score::{ScoreProbe, Unseen};
use crate::decode::transcript::{Stopwatch, Transcript};
use crate::engine::{Generation, Guidance, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::tokenize::Tokenizer;

use super::body::{Completion, Guide};
use super::choose::{Asks, Choosing, Chosen};
use super::facts::{Facts, Kind, Logprobs};
use super::part::{Part, Request, Written};
use super::reply::{Finish, Piece, Position};
use super::thoughts::Thoughts;

/// An answer of so many tokens is short: if nobody listens to it, it is not streamed, since a server spends more time on an event
/// than on most tokens.
const SHORT: usize = 256;

/// Tokens that the end of a character may take past the reasoning's budget.
const GRACE: usize = CHARACTER_GRACE as usize;

/// How the verdict is constrained.
enum Held {
    Grammar { grammar: VerdictGrammar, consistent: bool, stage: Box<Stage> },
    Schema { grammar: VerdictGrammar, schema: Value },
    Free,
}

/// A complete verdict whose distributions need looks at what was not written.
struct Looking {
    /// The prompt and the reasoning.
    before: Vec<u32>,
    /// The tokens of the verdict.
    written: Vec<u32>,
    scores: Vec<Seen>,
    /// The score that is looked at, and what of it.
    now: Option<(usize, Unseen)>,
}

/// Writes the output of one judgment.
pub(super) struct Writer {
    /// `None` if the server tokenizes.
    tokenizer: Option<Arc<Tokenizer>>,
    sampling: Sampling,
    ids: Vec<u32>,
    prompt: usize,
    reasoning: Option<ReasoningTokens>,
    /// The token and the text that close the reasoning.
    close_id: u32,
    close: String,
    held: Held,
    /// Tokens that the verdict, or the rest of it, takes at most.
    most: usize,
    alternatives: u32,
    stream: bool,
    /// Whether the probabilities of the verdict are those before the constraint.
    unmasked: bool,
    /// The verdict, as far as it was chosen; `None` if it is not written choice by choice.
    choosing: Option<Choosing>,
    looking: Option<Looking>,
    /// Whether a request was answered.
    is_begun: bool,
    transcript: Transcript,
    watch: Stopwatch,
}

/// What a writer starts from.
pub(super) struct Start {
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
    pub(super) ids: Vec<u32>,
    pub(super) plan: Plan,
    pub(super) reasoning: Option<ReasoningTokens>,
    pub(super) sampling: Sampling,
    pub(super) submitted: Instant,
    pub(super) alternatives: u32,
    pub(super) stream: bool,
    pub(super) guidance: Guidance,
    /// Tokens that the longest verdict of the grammar takes.
    pub(super) most: usize,
    /// How the verdict is written choice by choice.
    pub(super) choices: Option<Arc<Choices>>,
    pub(super) context: Option<usize>,
}

/// Most tokens of a verdict; the longest one of the grammar has `most`.
fn verdict_room(verdict: &VerdictPlan, guidance: Guidance, most: usize) -> usize {
    match verdict {
        VerdictPlan::Guided { .. } if guidance == Guidance::Grammar => most,
        // The server chooses the white space.
        VerdictPlan::Guided { .. } => most * 2 + 32,
        VerdictPlan::Free { max_tokens } => *max_tokens as usize,
    }
}

/// Most tokens that a plan may take besides its prompt.
pub(super) fn room(plan: &Plan, reasoning: Option<&ReasoningTokens>, guidance: Guidance, most: usize) -> usize {
    let is_opened = plan.reasoning.as_ref().is_some_and(|plan| plan.open.is_some());
    let reasoning = reasoning.map_or(0, |tokens| {
        let opening = if is_opened { tokens.opening.len() } else { 0 };
        opening + tokens.budget as usize + GRACE + tokens.forced_most()
    });
    reasoning + verdict_room(&plan.verdict, guidance, most)
}

impl Writer {
    /// # Errors
    /// [`ErrorKind::ContextOverflow`] if it does not fit the context.
    pub(super) fn new(start: Start) -> Result<Self> {
        let Start {
            tokenizer,
            ids,
            plan,
            reasoning,
            sampling,
            submitted,
            alternatives,
            stream,
            guidance,
            most,
            choices,
            context,
        } = start;
        let prompt = ids.len();
        let close_id = reasoning.as_ref().map_or(Ok(0), ReasoningTokens::close)?;
        let close = plan.reasoning.as_ref().map(|plan| plan.close.clone()).unwrap_or_default();
        let opening =
            plan.reasoning.as_ref().and_then(|plan| Some(format!("{}{}", plan.open.as_deref()?, plan.prefix)));
        let most = verdict_room(&plan.verdict, guidance, most);
        let mut choosing = None;
        let held = match plan.verdict {
            VerdictPlan::Guided { grammar, consistent } if guidance == Guidance::Grammar => {
                let stage = Box::new(grammar.stage(&crate::decode::grammar::Written::default(), consistent));
                choosing = choices.map(|choices| Choosing::new(choices, consistent));
                Held::Grammar { grammar, consistent, stage }
            }
            VerdictPlan::Guided { grammar, .. } => {
                let (schema, _) = grammar.json_schema().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        "the server supports only JSON schemas, and the verdict layout of the profile is not \
                         JSON: set guided to false, or change the layout",
                    )
                })?;
                Held::Schema { grammar, schema }
            }
            VerdictPlan::Free { .. } => Held::Free,
        };
        let mut writer = Self {
            tokenizer,
            sampling,
            ids,
            prompt,
            close_id,
            close,
            held,
            most,
            alternatives,
            stream,
            unmasked: false,
            choosing,
            looking: None,
            is_begun: false,
            transcript: Transcript::new(reasoning.is_some(), prompt),
            reasoning,
            watch: Stopwatch::new(submitted),
        };
        if let (Some(tokens), Some(opening)) = (&writer.reasoning, opening)
            && !tokens.opening.is_empty()
        {
            writer.ids.extend(&tokens.opening);
            writer.transcript.open(opening.as_bytes());
            writer.transcript.usage.reasoning_tokens += tokens.opening.len();
        }
        writer.check_room(context)?;
        if writer.reasoning.as_ref().is_some_and(|tokens| tokens.budget == 0) {
            writer.close_reasoning();
        }
        Ok(writer)
    }

    fn check_room(&self, context: Option<usize>) -> Result<()> {
        let Some(context) = context else { return Ok(()) };
        let reasoning = self.ids.len() - self.prompt
            + self.reasoning.as_ref().map_or(0, |tokens| tokens.budget as usize + GRACE + tokens.forced_most());
        let (prompt, verdict) = (self.prompt, self.most);
        let need = prompt + reasoning + verdict;
        if need <= context {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ContextOverflow,
            format!(
                "the prompt has {prompt} tokens and may be answered with {} ({reasoning} for the reasoning, {verdict} for the \
                 verdict), {need} in all, but the server's context holds {context}: shorten the request, lower \
                 max_reasoning_tokens, or start the server with a longer context",
                reasoning + verdict
            ),
        ))
    }

    /// What the next request to a server is for.
    fn part(&self, facts: &Facts) -> Part {
        if self.is_looking() {
            return Part::Look;
        }
        let probed = self.alternatives > 0 && facts.logprobs != Logprobs::None;
        if self.reasoning.is_none() {
            return if self.choosing.is_some() && facts.by_choice && probed { Part::Choice } else { Part::Verdict };
        }
        let joint = match &self.held {
            // Probabilities are requested for the verdict only: with each token of the reasoning they would cost more
            // than a request.
            Held::Grammar { .. } => facts.gated && !probed,
            Held::Schema { .. } => facts.gated && !probed && facts.kind != Kind::LlamaServer,
            Held::Free => true,
        };
        if joint && facts.ids { Part::Both } else { Part::Reasoning }
    }

    /// The next request, in the form that a server understands. `heard`: somebody listens to the reasoning.
    pub(super) fn request(&self, facts: &Facts, heard: bool) -> Request {
        let part = self.part(facts);
        let ask = |ids: &[u32], asks: &Asks, by_id: bool| {
            let completion = Completion {
                ids,
                ends: &asks.befores,
                max_tokens: 1,
                sampling: Sampling::GREEDY,
                stop: None,
                // Others may be started with a limit of their own, to which `remote.top_logprobs` was set.
                alternatives: if asks.wide && facts.kind == Kind::LlamaServer {
                    facts.most_alternatives()
                } else {
                    self.alternatives
                },
                candidates: &asks.candidates,
                by_id,
                stream: false,
                guide: None,
            };
            Request { part, whole: Some(1), body: completion.body(facts) }
        };
        match (&self.looking, &self.choosing) {
            (Some(Looking { before, written, scores, now: Some((score, unseen)) }), _) => {
                let end = [&written[..scores[*score].at], &unseen.tokens].concat();
                let asks = Asks { befores: vec![end], candidates: Vec::new(), wide: false };
                return ask(before, &asks, self.tokenizer.is_some());
            }
            (_, Some(choosing)) if part == Part::Choice => {
                return ask(&self.ids, &choosing.asks(facts.prompts(self.ids.len())), true);
            }
            _ => {}
        }
        let close = self.close();
        let budget = self.reasoning.as_ref().map_or(0, |tokens| tokens.budget as usize + GRACE + 1);
        let guide = match (part, &self.held, close) {
            (Part::Reasoning, _, Some(close)) => (facts.kind == Kind::LlamaServer).then_some(Guide::Reasoning(close)),
            (Part::Both, Held::Grammar { stage, .. }, Some(close)) => Some(Guide::Reasoned(close, &stage.grammar)),
            (_, Held::Grammar { stage, .. }, _) => Some(Guide::Grammar(&stage.grammar)),
            (_, Held::Schema { schema, .. }, _) => Some(Guide::Schema(schema)),
            (_, Held::Free, _) => None,
        };
        let guided = part != Part::Reasoning && !matches!(self.held, Held::Free);
        let first = self.transcript.answered().is_empty();
        let max_tokens = match part {
            Part::Reasoning => budget,
            Part::Both => budget + self.most,
            Part::Choice | Part::Verdict | Part::Look => self.most,
        };
        // The text of single tokens may be needed too.
        let apart = !part.answers()
            && (heard || !(self.knows_ids() || facts.tags.as_ref().is_some_and(|tags| tags.detokenized)));
        let stream = self.stream && (apart || max_tokens > SHORT);
        let completion = Completion {
            ids: &self.ids,
            ends: &[],
            max_tokens,
            sampling: self.sampling,
            stop: close.filter(|_| part == Part::Reasoning).map(|close| (close, self.close.as_str())),
            alternatives: if guided && first && facts.logprobs != Logprobs::None { self.alternatives } else { 0 },
            candidates: &[],
            by_id: self.tokenizer.is_some(),
            stream,
            guide,
        };
        Request { part, whole: (!stream).then_some(max_tokens), body: completion.body(facts) }
    }

    /// Whether the output of a request so far spends the budget of the reasoning; then it is cut off.
    pub(super) fn is_spent(&self, part: Part, ids: usize, closed: bool) -> bool {
        let Some(tokens) = &self.reasoning else { return false };
        !part.answers() && !closed && ids > tokens.budget as usize + GRACE
    }

    /// How many tokens of an answer that came as a whole are kept, if that is less than all of them and their text is not known here.
    pub(super) fn cuts(&self, ids: &[u32]) -> Option<usize> {
        let tokens = self.reasoning.as_ref().filter(|_| !self.knows_ids())?;
        let budget = tokens.budget as usize;
        let closed = ids.iter().position(|&id| id == self.close_id);
        (closed.unwrap_or(ids.len()) > budget).then_some(budget)
    }

    /// Whether this process knows the text of a token id.
    pub(super) fn knows_ids(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// The token that closes the reasoning.
    pub(super) fn close(&self) -> Option<u32> {
        self.reasoning.as_ref().map(|_| self.close_id)
    }

    /// When the judgment got its place at a server.
    pub(super) fn start(&mut self, begun: Instant) {
        self.watch.start_at(begun);
    }

    /// Takes in the output of a request. True if another request follows.
    ///
    /// # Errors
    /// If a server wrote something that it cannot have written.
    pub(super) fn advance(&mut self, written: &Written) -> Result<bool> {
        if let Some(first) = written.first {
            self.watch.prefilled_at(first);
        }
        let cached = written.pieces.iter().find_map(|piece| piece.cached_tokens);
        // Later requests find in the cache what the first one put there.
        if !std::mem::replace(&mut self.is_begun, true) {
            let usage = &mut self.transcript.usage;
            usage.reused_tokens = cached.unwrap_or(0).min(usage.prompt_tokens);
        }
        if written.part != Part::Look {
            self.unmasked = written.unmasked;
        }
        match written.part {
            Part::Choice => Ok(self.choose(&written.pieces)),
            Part::Verdict => self.write(&written.pieces, written.finish),
            Part::Look => Ok(self.look(&written.pieces)),
            Part::Reasoning | Part::Both => self.reason(written),
        }
    }

    /// Takes in reasoning, and a verdict that follows it.
    fn reason(&mut self, written: &Written) -> Result<bool> {
        let Some(tokens) = self.reasoning.clone() else { return self.write(&written.pieces, written.finish) };
        let budget = tokens.budget as usize;
        let mut thoughts = Thoughts::of(&written.pieces, self.close_id, &self.close);
        if thoughts.ids.is_empty() && !thoughts.text.is_empty() {
            // The server gives no ids, so its text is tokenized here. It stops at the closing tag, which it does not
            // show.
            let Some(tokenizer) = &self.tokenizer else {
                return Err(Error::new(ErrorKind::Network, "the server gave no token ids"));
            };
            thoughts.ids = tokenizer.encode_text(&thoughts.text)?;
            thoughts.closed = written.finish == Finish::Stop && !written.cut;
        } else if !thoughts.closed && written.finish == Finish::Stop && !written.cut {
            // The judge has ended its text instead. A prompt that goes on must not hold the token that does that.
            thoughts.ids.pop();
        }
        if thoughts.closed && thoughts.ids.len() <= budget {
            self.keep(&thoughts.ids, &thoughts.text);
            self.transcript.close(self.close.as_bytes());
            self.transcript.usage.reasoning_tokens += 1;
            self.ids.push(self.close_id);
            self.reasoning = None;
            self.watch.reasoned_at(written.last);
            if written.part == Part::Both {
                let rest = thoughts.rest;
                return self.write(&rest, written.finish);
            }
            return Ok(true);
        }
        let kept = self.cut(&thoughts.ids, budget);
        self.transcript.reasoning_truncated =
            kept < thoughts.ids.len() || written.cut || written.finish == Finish::Length || thoughts.closed;
        let text =
            if kept < thoughts.ids.len() { thoughts.text_of(kept, &written.pieces) } else { thoughts.text.clone() };
        let ids = thoughts.ids[..kept].to_vec();
        self.keep(&ids, &text);
        self.close_reasoning();
        Ok(true)
    }

    fn keep(&mut self, ids: &[u32], text: &str) {
        match &self.tokenizer {
            Some(tokenizer) => self.transcript.reason(&tokenizer.decode(ids)),
            None => self.transcript.reason(text.as_bytes()),
        }
        self.transcript.usage.reasoning_tokens += ids.len();
        self.ids.extend(ids);
    }

    /// How much of a reasoning is kept: its budget, up to the end of a character.
    fn cut(&self, ids: &[u32], budget: usize) -> usize {
        let most = ids.len().min(budget + GRACE);
        let Some(tokenizer) = &self.tokenizer else { return budget.min(ids.len()) };
        (budget.min(ids.len())..most).find(|&kept| ends_whole(&tokenizer.decode(&ids[..kept]))).unwrap_or(most)
    }

    /// Closes the reasoning for the judge.
    fn close_reasoning(&mut self) {
        let Some(tokens) = self.reasoning.take() else { return };
        let ends_line = self.transcript.ends_line();
        let forced = tokens.forced(ends_line);
        self.transcript.close(format!("{}{}", if ends_line { "" } else { "\n" }, self.close).as_bytes());
        self.transcript.usage.reasoning_tokens += forced.len();
        self.ids.extend(forced);
        self.watch.reasoned();
    }

    /// Makes the choices that were asked for. True if there are more, or if a request under the grammar has to write the verdict,
    /// because no candidate is among the likeliest tokens.
    fn choose(&mut self, pieces: &[Piece]) -> bool {
        let first = pieces.iter().flat_map(|piece| &piece.positions).next();
        let positions: Vec<&Position> =
            first.into_iter().chain(pieces.iter().flat_map(|piece| &piece.further)).collect();
        let tokenizer = self.tokenizer.as_deref();
        let (Held::Grammar { grammar, .. }, Some(choosing), Some(_)) = (&self.held, &mut self.choosing, first) else {
            self.choosing = None;
            return true;
        };
        let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        if !choosing.take_all(grammar, &positions, &text, self.sampling, tokenizer) {
            self.choosing = None;
            return true;
        }
        let Some(Chosen { text, distributions, masses, tokens, asked }) = choosing.chosen() else { return true };
        self.transcript.answer(text.as_bytes());
        self.transcript.usage.verdict_tokens += tokens;
        self.transcript.usage.forced_tokens += tokens.saturating_sub(asked);
        (self.transcript.distributions, self.transcript.masses) = (distributions, masses);
        false
    }

    /// Whether the verdict is complete, and only distributions are missing.
    pub(super) fn is_looking(&self) -> bool {
        self.looking.as_ref().is_some_and(|looking| looking.now.is_some())
    }

    /// Takes in what would have come after the beginning of a score. True if there is more to look at.
    fn look(&mut self, pieces: &[Piece]) -> bool {
        let Held::Grammar { grammar, .. } = &self.held else { return false };
        let Some(Looking { scores, now, .. }) = &mut self.looking else { return false };
        let mut then = now.as_ref().map(|(_, unseen)| ScoreProbe::after(grammar.marks(), &unseen.text));
        let position = pieces.iter().flat_map(|piece| &piece.positions).next();
        if let (Some(then), Some(position)) = (&mut then, position) {
            logprobs::add_after(then, position, self.tokenizer.as_deref());
        }
        let is_known = match (now.take(), then) {
            (Some((score, _)), Some(then)) if then.has_any() => scores[score].probe.take(then),
            _ => false,
        };
        if !is_known {
            self.looking = None;
        }
        self.looks_on()
    }

    /// Chooses what to look at next; if that is nothing, the distributions are known.
    fn looks_on(&mut self) -> bool {
        let Some(looking) = &mut self.looking else { return false };
        let unseen = |(score, seen): (usize, &Seen)| Some((score, seen.probe.unseen().into_iter().next()?));
        looking.now = looking.scores.iter().enumerate().find_map(unseen);
        let is_writable = |(score, unseen): &(usize, Unseen)| {
            let written = &looking.written[..looking.scores[*score].at];
            !written.contains(&logprobs::UNKNOWN) && !unseen.tokens.contains(&logprobs::UNKNOWN)
        };
        if looking.now.as_ref().is_some_and(is_writable) && !self.transcript.verdict_truncated {
            return true;
        }
        let distributions = looking.scores.iter().map(|seen| seen.probe.distribution()).collect::<Option<_>>();
        if let (Some(distributions), transcript) = (distributions, &mut self.transcript) {
            transcript.distributions = distributions;
            if self.unmasked {
                let mass = |seen: &mut Seen| {
                    seen.probe.set_normalized();
                    seen.probe.mass().unwrap_or(f64::NAN)
                };
                transcript.masses = looking.scores.iter_mut().map(mass).collect();
            }
        }
        self.looking = None;
        false
    }

    /// Takes in a part of the answer.
    fn write(&mut self, pieces: &[Piece], finish: Finish) -> Result<bool> {
        // What a server that is not asked for choices has begun is completed under the grammar, wherever the next request goes.
        self.choosing = None;
        Ok(self.write_part(pieces, finish)? || self.looks_on())
    }

    fn write_part(&mut self, pieces: &[Piece], finish: Finish) -> Result<bool> {
        let first = self.transcript.answered().is_empty();
        let text: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let ids: usize = pieces.iter().map(|piece| piece.ids.len()).sum();
        let told = pieces.iter().find_map(|piece| piece.written_tokens);
        self.transcript.usage.verdict_tokens += if ids > 0 { ids } else { told.unwrap_or(0) };
        self.transcript.answer(text.as_bytes());
        let length = finish == Finish::Length;
        match &mut self.held {
            Held::Free => {
                self.transcript.verdict_truncated = length;
                Ok(false)
            }
            Held::Schema { grammar, .. } => {
                self.transcript.verdict_truncated = length;
                let positions = pieces.iter().flat_map(|piece| &piece.positions);
                self.transcript.distributions =
                    logprobs::by_search(grammar, &text, positions, self.tokenizer.as_deref());
                Ok(false)
            }
            Held::Grammar { grammar, consistent, stage } => {
                if first {
                    let positions = || pieces.iter().flat_map(|piece| &piece.positions);
                    let scores = logprobs::seen(grammar, &text, positions(), self.tokenizer.as_deref());
                    let mut written: Vec<u32> = pieces.iter().flat_map(|piece| piece.ids.iter().copied()).collect();
                    if written.len() != positions().count() {
                        written = positions().map(|position| position.token.id()).collect();
                    }
                    // With sampling the other token may have been drawn by chance.
                    if self.sampling.temperature <= 0.0 && scores.iter().any(|seen| seen.stretched) {
                        return Err(Error::new(
                            ErrorKind::InvalidVerdict,
                            "the judge ended a score after its first digits, and the server's grammar made it a longer number, such as \
                             10 of a 1: tell the judge to write whole numbers only, or set options.guided to false",
                        )
                        .with_retryable(false));
                    }
                    if !scores.is_empty() {
                        let before = self.ids.clone();
                        self.looking = Some(Looking { before, written, scores, now: None });
                    }
                }
                let answer = std::str::from_utf8(self.transcript.answered()).ok();
                let (Some(read), false, false) = (answer.and_then(|answer| grammar.read(answer)), stage.last, length)
                else {
                    // The reader of verdicts refuses an incomplete one.
                    self.transcript.verdict_truncated = length;
                    return Ok(false);
                };
                **stage = grammar.stage(&read, *consistent);
                let mut written: Vec<u32> = pieces.iter().flat_map(|piece| piece.ids.iter().copied()).collect();
                // The token that ends the text has no letters.
                if let Some(last) = pieces.iter().rposition(|piece| !piece.text.is_empty()) {
                    written.truncate(pieces[..=last].iter().map(|piece| piece.ids.len()).sum());
                }
                match &self.tokenizer {
                    Some(tokenizer) if written.is_empty() => self.ids.extend(tokenizer.encode_text(&text)?),
                    _ => self.ids.extend(written),
                }
                Ok(true)
            }
        }
    }

    /// The output.
    pub(super) fn finish(self) -> Generation {
        self.transcript.finish(self.watch.stop())
    }
}
