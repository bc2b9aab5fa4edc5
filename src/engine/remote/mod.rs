//! The remote engine: judges behind servers that speak the `OpenAI` protocol.
//!
//! ```text
//! endpoints.rs  which servers, with which keys         pool.rs   which of them gets the next request
//! probe.rs      what a server is and does (facts.rs)   pace.rs   breaker, rate limit, delays
//! drive.rs      one judgment: its requests, retries    http.rs   bounded requests (events.rs, reply.rs, fault.rs)
//! writer.rs     one judgment over tokens               body.rs   the fields that each server knows
//! ```
//!
//! All of it runs on one thread; a judgment is a task on it. Dropping the task closes its connection, which ends its
//! work at the server: that is how a judgment is cancelled and how it times out.

mod body;
mod choose;
#[cfg(test)]
mod choose_tests;
mod clock;
mod drive;
mod endpoints;
mod events;
mod facts;
mod fault;
mod http;
mod pace;
mod part;
mod pool;
mod prepare;
mod probe;
mod reply;
mod text;
mod thoughts;
mod writer;
#[cfg(test)]
mod writer_tests;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::config::{JudgeConfig, RemoteConfig};
use crate::decode::plan::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::Prompter;
use crate::prompt::profile::{Profile, is_reward_anything};
use crate::prompt::template::ChatTemplate;
use crate::thread::{JoinHandle, current};

use super::{
    Capabilities, Completion, Engine, EngineKind, Guidance, Job, JobId, Opened, Progress, Stats, TextModel, exit,
    text_folder,
};
use clock::Clock;
use drive::Shared;
use facts::{Facts, Kind, Logprobs, Way};
use fault::Tried;
use http::Http;
use pace::Dice;
use pool::{Endpoint, Pool};
use probe::Probe;

/// How often the file of servers is checked.
const WATCH_PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for an answer to a health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is checked whether anybody still wants the servers that are asked what they are.
const LOOK: Duration = Duration::from_millis(100);

/// The engine.
struct Remote {
    capabilities: Capabilities,
    orders: UnboundedSender<Order>,
    shared: Arc<Shared>,
    pending: Arc<AtomicUsize>,
    next_id: AtomicU64,
    warnings: Vec<String>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Order {
    Judge(JobId, Box<Job>, Done),
    Cancel(JobId),
    Close,
}

/// The completion of a judgment, called once whatever happens to its task.
struct Done {
    call: Option<Completion>,
    pending: Arc<AtomicUsize>,
}

impl Done {
    fn call(mut self, outcome: Result<super::Generation>) {
        self.pending.fetch_sub(1, Ordering::Relaxed);
        if let Some(call) = self.call.take() {
            call(outcome);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            call(Err(Error::new(ErrorKind::Internal, "the task of the judgment has ended without an outcome")));
        }
    }
}

/// What was found at opening, before it becomes an engine.
struct Found {
    shared: Shared,
    capabilities: Capabilities,
    warnings: Vec<String>,
    text: Option<TextModel>,
}

/// Opens the servers that `model` and the settings name.
///
/// # Errors
/// Those of the settings; [`ErrorKind::Network`] if no server answers, with what each said.
pub(super) fn open(model: &str, config: &JudgeConfig, profile: &Profile, progress: &Progress) -> Result<Opened> {
    let (model, remote, profile) = (model.to_owned(), config.remote.clone(), profile.clone());
    let (orders, received) = unbounded_channel();
    let (tell, told) = mpsc::channel();
    let work = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let error = Error::new(ErrorKind::Engine, format!("the engine's thread cannot wait: {error}"));
                drop(tell.send(Err(error)));
                return;
            }
        };
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            match find(&model, &remote, &profile).await {
                Ok(Found { shared, capabilities, warnings, text }) => {
                    let shared = Arc::new(shared);
                    if tell.send(Ok((shared.clone(), capabilities, warnings, text))).is_ok() {
                        run(&model, shared, received).await;
                    }
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
    };
    let thread = crate::thread::spawn("dicast-remote", work)
        .map_err(|error| Error::new(ErrorKind::Engine, format!("the engine's thread cannot be started: {error}")))?;
    let found = loop {
        match told.recv_timeout(LOOK) {
            Ok(found) => break found,
            // The thread ends by itself, when the servers have answered or are too late.
            Err(RecvTimeoutError::Timeout) if exit::is_exiting() => return Err(Error::closed()),
            Err(RecvTimeoutError::Timeout) => progress.check(0.0)?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(ErrorKind::Internal, "the engine's thread has ended"));
            }
        }
    };
    let (shared, capabilities, warnings, text) = found?;
    let engine = Remote {
        capabilities,
        orders,
        shared,
        pending: Arc::default(),
        next_id: AtomicU64::new(0),
        warnings,
        thread: Mutex::new(Some(thread)),
    };
    Ok(Opened { engine: Arc::new(engine), text })
}

/// Asks all servers what they are.
async fn find(model: &str, config: &RemoteConfig, profile: &Profile) -> Result<Found> {
    let endpoints = endpoints::all(model, config, &[])?;
    let http = Http::new(config)?;
    let text = config
        .tokenizer
        .as_deref()
        .map(|folder| text_folder::from_folder(folder, profile.chat_template.as_deref(), "remote.tokenizer"))
        .transpose()?;
    let example = |text: &TextModel| {
        // A template that cannot carry the profile's messages is found before any server is asked.
        Prompter::of(profile.clone(), Some(text))?;
        text.tokenizer.encode_text("a word")
    };
    let example = text.as_ref().map(example).transpose()?;
    let tasks = endpoints.iter().map(|endpoint| ask(endpoint, &http, config, profile, example.as_deref()));
    let asked = join_all(tasks.collect()).await;
    let mut warnings = Vec::new();
    let mut first = None;
    for (endpoint, outcome) in endpoints.iter().zip(asked) {
        match outcome {
            Ok(facts) => endpoint.set_facts(facts),
            Err(fault) => {
                let error = fault.into_error(&endpoint.root, 1);
                warnings.push(format!("{} (it gets no work until it answers)", error.message()));
                first = first.or(Some(error));
            }
        }
    }
    let known: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint.facts()).collect();
    let Some(some) = known.first() else {
        return Err(first.unwrap_or_else(|| Error::new(ErrorKind::InvalidConfig, "no server is named")));
    };
    if let Some(other) = known.iter().find(|other| other.way != some.way) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "the servers cannot be used in the same way: one takes {}, another {}: set remote.input to \
                 messages, or remote.tokenizer to the folder with the model's tokenizer.json",
                some.way.name(),
                other.way.name()
            ),
        ));
    }
    check_profile(profile, some)?;
    let guidance = known.iter().map(|facts| facts.notation.guidance()).min().unwrap_or_default();
    let distributions = config.top_logprobs > 0 && guidance > Guidance::None;
    let capabilities = Capabilities {
        engine: EngineKind::Remote,
        guidance,
        distributions: distributions && known.iter().all(|facts| facts.logprobs != Logprobs::None),
        context_tokens: known.iter().filter_map(|facts| facts.context).min(),
        max_sequences: endpoints.len() * config.num_workers as usize,
    };
    warnings.extend(oddities(profile, &endpoints, config));
    let template = match some.way {
        Way::Pieces => Some(template(&http, &endpoints, profile).await?),
        _ => None,
    };
    let shared = Shared {
        http,
        pool: Pool::new(endpoints, config),
        config: config.clone(),
        profile: profile.clone(),
        tokenizer: text.as_ref().map(|text| text.tokenizer.clone()),
        template,
        way: some.way,
        guidance,
        dice: Mutex::new(Dice::new(u64::from(std::process::id()))),
        reused: AtomicU64::new(0),
        computed: AtomicU64::new(0),
        requests: AtomicU64::new(0),
        lengths: Mutex::new(HashMap::new()),
        spellings: Mutex::new(HashMap::new()),
    };
    Ok(Found { shared, capabilities, warnings, text })
}

/// A judge that was trained with its own system prompt needs its profile.
fn check_profile(profile: &Profile, facts: &Facts) -> Result<()> {
    if is_reward_anything(&facts.model) && *profile == Profile::builtin() {
        return Err(Error::new(
            ErrorKind::InvalidProfile,
            format!(
                "{} is a RewardAnything model: it was trained with a system prompt that its Python package holds. Import it \
                 once, and name the profile (--profile, \"profile\"):\n  pip download --no-deps rewardanything==1.0.1\n  \
                 dicast profile import rewardanything-1.0.1-py3-none-any.whl -o rewardanything.profile.json",
                facts.model
            ),
        ));
    }
    Ok(())
}

/// What a user should know about the servers.
fn oddities(profile: &Profile, endpoints: &[Arc<Endpoint>], config: &RemoteConfig) -> Vec<String> {
    let mut list = Vec::new();
    for endpoint in endpoints {
        let Some(facts) = endpoint.facts() else { continue };
        let mut odd = |what: &str| list.push(format!("{}: {what}", endpoint.root));
        match facts.notation.guidance() {
            Guidance::None => {
                odd("it supports neither a grammar nor a schema: a verdict may be incomplete, which is an error");
            }
            Guidance::Schema => {
                odd("it supports only JSON schemas: with more than five responses it may rank one twice; the ranking \
                 is then derived from the scores, and listed as repaired");
            }
            Guidance::Grammar => {}
        }
        if config.top_logprobs > 0 && facts.logprobs == Logprobs::None {
            odd("it gives no probabilities: there are no score distributions");
        }
        if !facts.way.keeps_text() {
            let request = if facts.way == Way::Rendered { ", and a request for each judgment" } else { "" };
            odd(&format!(
                "it tokenizes messages itself: requests with text that looks like a control token are refused \
                 (remote.control_tokens); remote.tokenizer avoids that{request}"
            ));
        }
        if facts.way == Way::Chat && profile.chat_template.is_some() {
            odd("it renders messages itself: the profile's chat_template is not used");
        }
        if matches!(facts.way, Way::Pieces | Way::Rendered) && profile.reasoning.is_some() && facts.tags.is_none() {
            odd("its model has no tokens for reasoning: the judge does not reason");
        }
    }
    list
}

/// The chat template of a llama-server.
async fn template(http: &Http, endpoints: &[Arc<Endpoint>], profile: &Profile) -> Result<ChatTemplate> {
    let endpoint = endpoints.iter().find(|endpoint| endpoint.facts().is_some());
    let endpoint = endpoint.ok_or_else(|| Error::new(ErrorKind::Internal, "no server is known"))?;
    let asked = http.ask(&format!("{}/props", endpoint.root), endpoint.key(), None).await;
    let props = asked.map_err(|fault| fault.into_error(&endpoint.root, 1))?;
    let text = |key: &str| props[key].as_str().filter(|text| !text.is_empty());
    let source = text("chat_template").or(profile.chat_template.as_deref()).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidModel,
            format!("{}: its model has no chat template: set \"chat_template\" in the profile", endpoint.root),
        )
    })?;
    profile.template(source, text("bos_token"), text("eos_token"))
}

async fn ask(
    endpoint: &Endpoint,
    http: &Http,
    config: &RemoteConfig,
    profile: &Profile,
    example: Option<&[u32]>,
) -> Tried<Facts> {
    Probe { http, root: &endpoint.root, key: endpoint.key(), config, profile, example }.run().await
}

/// Waits for all of some futures at once.
async fn join_all<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    std::future::poll_fn(move |context| {
        let mut ready = true;
        for (future, outcome) in &mut waiting {
            if let Some(work) = future {
                match work.as_mut().poll(context) {
                    std::task::Poll::Ready(done) => (*future, *outcome) = (None, Some(done)),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready {
            std::task::Poll::Ready(waiting.iter_mut().filter_map(|(_, outcome)| outcome.take()).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

/// Works until it is told to stop.
async fn run(model: &str, shared: Arc<Shared>, mut orders: UnboundedReceiver<Order>) {
    let cancels: Rc<Mutex<HashMap<JobId, oneshot::Sender<()>>>> = Rc::default();
    let (stop, _) = tokio::sync::watch::channel(false);
    let mut tasks = tokio::task::JoinSet::new();
    let serving = shared.clone();
    let serve = tokio::task::spawn_local(async move { serving.pool.serve().await });
    let watched = shared.clone();
    let name = model.to_owned();
    let watch = tokio::task::spawn_local(async move { watch_servers(&name, &watched).await });
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            Some(_) = tasks.join_next() => continue,
        };
        match order {
            Some(Order::Judge(id, job, done)) => {
                let (cancel, cancelled) = oneshot::channel();
                let list = cancels.clone();
                list.lock().unwrap_or_else(PoisonError::into_inner).insert(id, cancel);
                let (shared, mut stopped) = (shared.clone(), stop.subscribe());
                tasks.spawn_local(async move {
                    let mut job = *job;
                    let clock = Clock::of(&mut job);
                    let outcome = tokio::select! {
                        outcome = shared.judge(job, &clock) => outcome,
                        Ok(()) = cancelled => Err(Error::cancelled()),
                        late = clock.over() => Err(late),
                        _ = stopped.wait_for(|stopped| *stopped) => Err(Error::shut_down()),
                    };
                    list.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    done.call(outcome);
                });
            }
            Some(Order::Cancel(id)) => {
                if let Some(cancel) = cancels.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
                    let _ = cancel.send(());
                }
            }
            Some(Order::Close) | None => break,
        }
    }
    orders.close();
    while let Ok(order) = orders.try_recv() {
        if let Order::Judge(_, _, done) = order {
            done.call(Err(Error::shut_down()));
        }
    }
    let _ = stop.send(true);
    while tasks.join_next().await.is_some() {}
    serve.abort();
    watch.abort();
}

/// Checks the health of servers, probes those that were away, and reads their file again when it changes.
async fn watch_servers(model: &str, shared: &Shared) {
    let config = &shared.config;
    let health = (config.health_period_ms > 0).then(|| Duration::from_millis(config.health_period_ms));
    let mut last = Instant::now();
    let mut stamp = stamp_of(config);
    loop {
        let period = health.map_or(WATCH_PERIOD, |health| health.min(WATCH_PERIOD));
        tokio::time::sleep(period).await;
        let now = stamp_of(config);
        if now != stamp {
            stamp = now;
            // A file that is incomplete or wrong leaves the servers as they are.
            if let Ok(endpoints) = endpoints::all(model, config, &shared.pool.endpoints()) {
                for endpoint in &endpoints {
                    meet(endpoint, shared).await;
                }
                shared.pool.replace(endpoints);
            }
        }
        if health.is_none_or(|health| last.elapsed() < health) {
            continue;
        }
        last = Instant::now();
        for endpoint in shared.pool.endpoints() {
            let path = match endpoint.facts().map(|facts| facts.kind) {
                Some(Kind::Other) | None => "/v1/models",
                Some(_) => "/health",
            };
            let url = format!("{}{path}", endpoint.root);
            let healthy = shared.http.answers(&url, endpoint.key(), HEALTH_TIMEOUT).await;
            endpoint.checked(healthy);
            if healthy {
                meet(&endpoint, shared).await;
            }
        }
        shared.pool.wake();
    }
}

/// Probes a server that is not known yet.
async fn meet(endpoint: &Endpoint, shared: &Shared) {
    if endpoint.facts().is_some() {
        return;
    }
    let example = shared.tokenizer.as_ref().and_then(|tokenizer| tokenizer.encode_text("a word").ok());
    let asked = ask(endpoint, &shared.http, &shared.config, &shared.profile, example.as_deref()).await;
    // A server that cannot do what the others do gets no work.
    if let Ok(facts) = asked
        && facts.way == shared.way
        && facts.notation.guidance() >= shared.guidance
    {
        endpoint.set_facts(facts);
    }
}

/// What changes when the file of servers does.
fn stamp_of(config: &RemoteConfig) -> Option<(std::time::SystemTime, u64)> {
    let file = std::fs::metadata(config.endpoints_file.as_deref()?).ok()?;
    Some((file.modified().ok()?, file.len()))
}

impl Engine for Remote {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn submit(&self, job: Job, done: Completion) -> JobId {
        let id = JobId(self.next_id.fetch_add(1, Ordering::Relaxed));
        self.pending.fetch_add(1, Ordering::Relaxed);
        let done = Done { call: Some(done), pending: self.pending.clone() };
        if let Err(refused) = self.orders.send(Order::Judge(id, Box::new(job), done))
            && let Order::Judge(_, _, done) = refused.0
        {
            done.call(Err(Error::closed()));
        }
        id
    }

    fn output_tokens(&self, plan: &Plan) -> Result<Option<usize>> {
        self.shared.output_tokens(plan)
    }

    fn cancel(&self, id: JobId) {
        let _ = self.orders.send(Order::Cancel(id));
    }

    fn stats(&self) -> Stats {
        let running = self.shared.pool.in_flight();
        Stats {
            waiting: self.pending.load(Ordering::Relaxed).saturating_sub(running),
            running,
            reused_tokens: self.shared.reused.load(Ordering::Relaxed),
            computed_tokens: self.shared.computed.load(Ordering::Relaxed),
            steps: self.shared.requests.load(Ordering::Relaxed),
            ..Stats::default()
        }
    }

    fn close(&self) {
        let _ = self.orders.send(Order::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A callback may close the judge: the thread cannot wait for itself.
        if let Some(thread) = thread
            && thread.thread().id() != current().id()
        {
            let _ = thread.join();
        }
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn about(&self) -> Vec<String> {
        let endpoints = self.shared.pool.endpoints();
        let line = |endpoint: &Arc<Endpoint>| {
            let facts = endpoint.facts().map_or_else(|| "not reached".to_owned(), |facts| facts.in_words());
            format!("{}: {facts}", endpoint.root)
        };
        endpoints.iter().map(line).collect()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
    }
}
