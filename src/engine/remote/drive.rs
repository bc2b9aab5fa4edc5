//! Carries out one judgment: its requests, where each goes, and what is done when one fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::RemoteConfig;
use crate::decode::grammar::VerdictGrammar;
use crate::decode::plan::{Plan, VerdictPlan};
use crate::decode::transcript::{Stopwatch, Transcript};
use crate::engine::{Generation, Guidance, Input, Job, Listener, Sampling};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::messages::Message;
use crate::prompt::profile::Profile;
use crate::prompt::template::ChatTemplate;
use crate::prompt::tokenize::Tokenizer;

use super::body::{Chat, Guide};
use super::clock::Clock;
use super::facts::{Facts, Kind, Logprobs, Way};
use super::fault::{Fault, Tried};
use super::http::Http;
use super::pace::{Dice, delay};
use super::part::{Request, Written};
use super::pool::{Endpoint, Lease, Pool, hash};
use super::prepare::{Prepared, Spelling};
use super::probe;
use super::reply::{Finish, Piece};
use super::writer::{Start, Writer};
use crate::decode::logprobs;

/// Prompts are distinguished by this many tokens from their beginning.
const AFFINITY_TOKENS: usize = 256;
const AFFINITY_BYTES: usize = 1024;
/// So long before the deadline of a judgment, looks for its distributions end.
const LOOKS_END: Duration = Duration::from_millis(100);

/// What all judgments share.
pub(super) struct Shared {
    pub(super) http: Http,
    pub(super) pool: Pool,
    pub(super) config: RemoteConfig,
    pub(super) profile: Profile,
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
    /// The template, if the server tokenizes pieces of it.
    pub(super) template: Option<ChatTemplate>,
    pub(super) way: Way,
    pub(super) guidance: Guidance,
    pub(super) dice: Mutex<Dice>,
    pub(super) reused: AtomicU64,
    pub(super) computed: AtomicU64,
    pub(super) requests: AtomicU64,
    /// Lengths of verdicts in tokens, by the hashes of their texts, if the server tokenizes.
    pub(super) lengths: Mutex<HashMap<u64, usize>>,
    /// How verdicts are written choice by choice.
    pub(super) spellings: Mutex<HashMap<VerdictGrammar, Arc<Spelling>>>,
}

/// The server of a lease, as its requests see it.
pub(super) struct Server<'a> {
    shared: &'a Shared,
    endpoint: Arc<Endpoint>,
    pub(super) facts: Arc<Facts>,
}

impl Server<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.endpoint.root)
    }

    pub(super) async fn tokenize(&self, body: &Value) -> Tried<Vec<u32>> {
        probe::ids(&self.shared.http.ask(&self.url("/tokenize"), self.endpoint.key(), Some(body)).await?)
    }

    /// The tokens of a text in which nothing is a control token.
    pub(super) async fn text_tokens(&self, text: &str) -> Tried<Vec<u32>> {
        let body = match self.facts.kind {
            Kind::LlamaServer => json!({ "content": text, "add_special": false, "parse_special": false }),
            _ => json!({ "model": self.facts.model, "prompt": text, "add_special_tokens": false }),
        };
        self.tokenize(&body).await
    }

    /// The text of some tokens.
    async fn text(&self, ids: &[u32]) -> Tried<String> {
        probe::detokenize(&self.shared.http, &self.endpoint.root, self.endpoint.key(), &self.facts.model, ids).await
    }
}

impl Shared {
    /// Carries out a whole judgment.
    pub(super) async fn judge(&self, job: Job, clock: &Clock) -> Result<Generation> {
        let Job { input, plan, sampling, submitted, listener, .. } = job;
        // If two servers write the same answer, a listener could not tell their pieces apart.
        let listener = listener.filter(|_| self.config.hedge_ms == 0);
        let generation = match (input, self.way) {
            (Input::Tokens { ids, shared_prefix }, _) => {
                let affinity = affinity_of(&ids, shared_prefix);
                let (most, reasoning) = self.measured(&plan)?;
                let choices = self.choices(&plan).await?;
                let start = self.start(Prepared { ids, plan, reasoning, most, choices }, sampling, submitted);
                self.write(start, affinity, clock, listener.as_ref()).await?
            }
            (Input::Messages(messages), Way::Chat) => {
                self.check_text(&messages)?;
                self.chat(&messages, &plan, sampling, (submitted, clock), listener.as_ref()).await?
            }
            (Input::Messages(messages), way) => {
                if !way.keeps_text() {
                    self.check_text(&messages)?;
                }
                let affinity = affinity_of_text(&messages);
                let prepared = self.prepare(&messages, plan, affinity, clock).await?;
                let start = self.start(prepared, sampling, submitted);
                self.write(start, affinity, clock, listener.as_ref()).await?
            }
        };
        let usage = &generation.usage;
        self.reused.fetch_add(usage.reused_tokens as u64, Ordering::Relaxed);
        let computed = usage.prompt_tokens - usage.reused_tokens.min(usage.prompt_tokens);
        let computed = computed + usage.reasoning_tokens + usage.verdict_tokens;
        self.computed.fetch_add(computed as u64, Ordering::Relaxed);
        Ok(generation)
    }

    /// Writes a judgment, request by request.
    async fn write(
        &self,
        start: Start,
        affinity: u64,
        clock: &Clock,
        listener: Option<&Listener>,
    ) -> Result<Generation> {
        let mut writer = Writer::new(start)?;
        loop {
            let this = &writer;
            let tried = self
                .try_servers(affinity, clock, async |server: &Server<'_>| self.generate(server, this, listener).await);
            let written = if writer.is_looking() {
                // The verdict is complete. If a look fails, or would take the rest of the time, it has no distributions.
                let Ok(Ok(written)) = tokio::time::timeout(clock.left().saturating_sub(LOOKS_END), tried).await else {
                    return Ok(writer.finish());
                };
                written
            } else {
                tried.await?
            };
            writer.start(written.begun);
            if !writer.advance(&written)? {
                return Ok(writer.finish());
            }
        }
    }

    /// One request of a judgment.
    async fn generate(&self, server: &Server<'_>, writer: &Writer, listener: Option<&Listener>) -> Tried<Written> {
        let Request { part, body, whole } = writer.request(&server.facts, listener.is_some());
        let begun = Instant::now();
        let mut answer =
            self.http.generate(&server.url(server.facts.completions()), server.endpoint.key(), body, whole).await?;
        let close = writer.close();
        let unmasked = server.facts.logprobs == Logprobs::BeforeMask;
        let (pieces, finish) = (Vec::new(), Finish::Stop);
        let mut written = Written { part, pieces, finish, cut: false, unmasked, begun, first: None, last: begun };
        let (mut ids, mut closed) = (0, false);
        while let Some(mut piece) = answer.next().await? {
            // Of an answer that comes as a whole, the time for the prompt counts with that for what was written.
            written.first.get_or_insert_with(|| if answer.is_whole() { begun } else { Instant::now() });
            ids += piece.ids.len();
            let answers = part.answers();
            if answer.is_whole()
                && !answers
                && let Some(kept) = writer.cuts(&piece.ids)
            {
                let rest = piece.ids.split_off(kept);
                let text = server.text(&piece.ids).await?;
                let rest = Piece {
                    ids: rest,
                    text: piece.text.split_off(text.len().min(piece.text.len())),
                    finish: piece.finish,
                    ..Piece::default()
                };
                keep(&mut written.pieces, Piece { text, ..piece }, true);
                piece = rest;
            }
            let closing = !closed && !answers && close.is_some_and(|close| piece.ids.contains(&close));
            if closing {
                closed = true;
                written.last = Instant::now();
            }
            if let (Some(listener), false) = (listener, closed || answers || piece.text.is_empty()) {
                listener.hear(&piece.text);
            }
            written.finish = piece.finish.unwrap_or(written.finish);
            // Events are kept apart only if the text of single tokens is needed.
            let apart = closing || !(writer.knows_ids() || closed || answers);
            keep(&mut written.pieces, piece, apart);
            if writer.is_spent(part, ids, closed) {
                // The connection is closed: the server stops.
                written.cut = true;
                break;
            }
        }
        Ok(written)
    }

    /// A judgment whose messages a server renders.
    async fn chat(
        &self,
        list: &[Message],
        plan: &Plan,
        sampling: Sampling,
        (submitted, clock): (Instant, &Clock),
        listener: Option<&Listener>,
    ) -> Result<Generation> {
        let budget = plan.reasoning.as_ref().map_or(0, |plan| plan.budget as usize);
        let (schema, most) = match &plan.verdict {
            VerdictPlan::Guided { grammar, .. } => {
                let (schema, _) = grammar.json_schema().ok_or_else(|| {
                    Error::new(
                        ErrorKind::Unsupported,
                        "this server supports only JSON schemas, and the verdict layout of the profile is not JSON with the \
                         names of the responses: set guided to false",
                    )
                })?;
                // Its tokens are not known here: each has at least two bytes, and the server chooses the white space.
                (Some((grammar, schema)), grammar.example().len() + 64)
            }
            VerdictPlan::Free { max_tokens } => (None, *max_tokens as usize),
        };
        let affinity = affinity_of_text(list);
        let work = async |server: &Server<'_>| {
            let alternatives = match server.facts.logprobs {
                Logprobs::None => 0,
                _ if schema.is_none() => 0,
                _ => self.config.top_logprobs,
            };
            let chat = Chat {
                messages: list,
                max_tokens: budget + most,
                sampling,
                guide: schema.as_ref().map(|(_, schema)| Guide::Schema(schema)),
                alternatives,
                stream: self.config.stream,
                variables: self.variables(plan.reasoning.is_some()),
            };
            let begun = Instant::now();
            let url = server.url("/v1/chat/completions");
            let mut answer = self.http.generate(&url, server.endpoint.key(), chat.body(&server.facts), None).await?;
            let (mut pieces, mut finish, mut first) = (Vec::new(), Finish::Stop, None);
            while let Some(piece) = answer.next().await? {
                first.get_or_insert_with(Instant::now);
                if let (Some(listener), false) = (listener, piece.reasoning.is_empty()) {
                    listener.hear(&piece.reasoning);
                }
                finish = piece.finish.unwrap_or(finish);
                pieces.push(piece);
            }
            Ok((begun, first, pieces, finish))
        };
        let (begun, first, pieces, finish) = self.try_servers(affinity, clock, work).await?;
        let mut watch = Stopwatch::new(submitted);
        watch.start_at(begun);
        if let Some(first) = first {
            watch.prefilled_at(first);
        }
        let thoughts: String = pieces.iter().map(|piece| piece.reasoning.as_str()).collect();
        let answer: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        let told = pieces.iter().rev().find_map(|piece| piece.prompt_tokens).unwrap_or(0);
        let mut transcript = Transcript::new(!thoughts.is_empty(), told);
        if !thoughts.is_empty() {
            let form = self.profile.reasoning.as_ref();
            transcript.open(form.map_or("", |form| form.open.as_str()).as_bytes());
            transcript.reason(thoughts.as_bytes());
            transcript.close(form.map_or("", |form| form.close.as_str()).as_bytes());
        }
        transcript.answer(answer.as_bytes());
        transcript.verdict_truncated = finish == Finish::Length;
        transcript.usage.reused_tokens = pieces.iter().find_map(|piece| piece.cached_tokens).unwrap_or(0).min(told);
        // The server does not say which of its tokens were reasoning.
        transcript.usage.verdict_tokens = pieces.iter().rev().find_map(|piece| piece.written_tokens).unwrap_or(0);
        if let Some((grammar, _)) = &schema {
            let positions: Vec<_> = pieces.iter().flat_map(|piece| &piece.positions).collect();
            // Some servers list the tokens of the reasoning too.
            let lengths = positions.iter().map(|position| position.token.len());
            if lengths.sum::<usize>() == answer.len() {
                transcript.distributions = logprobs::by_search(grammar, &answer, positions.into_iter(), None);
            }
        }
        Ok(transcript.finish(watch.stop()))
    }

    /// Does some work at a server, and repeats it while it fails through no fault of its own, at another server if
    /// possible.
    pub(super) async fn try_servers<T>(
        &self,
        affinity: u64,
        clock: &Clock,
        work: impl AsyncFn(&Server<'_>) -> Tried<T>,
    ) -> Result<T> {
        let mut failed: Vec<String> = Vec::new();
        let mut tries = 0;
        loop {
            let lease = self.pool.lease(clock.turn(), affinity, &failed).await?;
            clock.begin();
            let root = lease.endpoint.root.clone();
            tries += 1;
            let fault = match self.race(lease, affinity, &work).await {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            let again = fault.is_retryable() && tries <= self.config.max_retries;
            if !again {
                return Err(fault.into_error(&root, tries));
            }
            let roll = self.dice.lock().unwrap_or_else(PoisonError::into_inner).roll();
            let mut wait = delay(tries, Duration::from_millis(self.config.retry_delay_ms), roll);
            let elsewhere = self.pool.endpoints().len() > 1;
            if let Some(asked) = fault.retry_after().filter(|_| !elsewhere) {
                wait = wait.max(asked);
            }
            if !clock.has(wait) {
                return Err(fault.into_error(&root, tries));
            }
            if !failed.contains(&root) {
                failed.push(root);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Does the work at the server of a lease; also at a second server if the first takes long and hedging is on.
    async fn race<T>(&self, lease: Lease, affinity: u64, work: &impl AsyncFn(&Server<'_>) -> Tried<T>) -> Tried<T> {
        let root = lease.endpoint.root.clone();
        let first = self.attempt(lease, work);
        if self.config.hedge_ms == 0 {
            return first.await;
        }
        tokio::pin!(first);
        tokio::select! {
            done = &mut first => return done,
            () = tokio::time::sleep(Duration::from_millis(self.config.hedge_ms)) => {}
        }
        let Some(lease) = self.pool.lease_now(affinity, &[root]) else { return first.await };
        let second = self.attempt(lease, work);
        tokio::pin!(second);
        // The slower one is dropped, which ends it at its server.
        tokio::select! {
            done = &mut first => match done {
                Err(fault) if fault.is_retryable() => second.await,
                done => done,
            },
            done = &mut second => match done {
                Err(_) => first.await,
                done => done,
            },
        }
    }

    async fn attempt<T>(&self, lease: Lease, work: &impl AsyncFn(&Server<'_>) -> Tried<T>) -> Tried<T> {
        let endpoint = lease.endpoint.clone();
        let facts = endpoint.facts().ok_or_else(|| Fault::Unreachable("nothing is known of it".into()))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let done = work(&Server { shared: self, endpoint, facts }).await;
        match &done {
            Ok(_) => lease.succeed(),
            Err(fault) => lease.fail(fault),
        }
        done
    }
}

/// Adds the content of an event to what came before it, in one piece if that loses nothing: thousands of answers may be
/// in progress.
fn keep(pieces: &mut Vec<Piece>, mut piece: Piece, apart: bool) {
    let plain = |piece: &Piece| !piece.text.is_empty() && piece.positions.is_empty() && piece.reasoning.is_empty();
    match pieces.last_mut() {
        Some(last) if !apart && plain(last) && plain(&piece) && last.mergeable => {
            last.text.push_str(&piece.text);
            last.ids.extend(&piece.ids);
            last.finish = piece.finish.or(last.finish);
            last.prompt_tokens = last.prompt_tokens.or(piece.prompt_tokens);
            last.cached_tokens = last.cached_tokens.or(piece.cached_tokens);
            last.written_tokens = piece.written_tokens.or(last.written_tokens);
        }
        _ => {
            piece.mergeable = !apart;
            pieces.push(piece);
        }
    }
}

/// The same for prompts that begin alike beyond what all prompts of a judge share.
fn affinity_of(ids: &[u32], shared_prefix: usize) -> u64 {
    let end = (shared_prefix + AFFINITY_TOKENS).min(ids.len());
    let bytes: Vec<u8> = ids[shared_prefix.min(end)..end].iter().flat_map(|id| id.to_le_bytes()).collect();
    hash(&bytes)
}

fn affinity_of_text(messages: &[Message]) -> u64 {
    let text = messages.last().map(|message| message.content.as_bytes()).unwrap_or_default();
    hash(&text[..text.len().min(AFFINITY_BYTES)])
}
