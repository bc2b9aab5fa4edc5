//! The HTTP server: a router that a program can mount, and a listener with limits for it. `dicast serve` runs it from the
//! command line.
//!
//! 1. Name the judges (open ones or configurations), and build a [`Server`].
//! 2. Mount [`Server::router`] in your own program, or hand a socket to [`Server::serve`].
//!
//! ```no_run
//! use dicast::JudgeConfig;
//! use dicast::server::{JudgeSource, Server, ServerConfig};
//!
//! # async fn run() -> dicast::Result<()> {
//! let judge = JudgeSource::Config(Box::new(JudgeConfig::new("judge.gguf")));
//! let server = Server::new(ServerConfig::default(), vec![("judge".to_owned(), judge)])?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8001").await.expect("a free port");
//! server.serve(listener, std::future::pending()).await
//! # }
//! ```
//!
//! Every API enters at `Server::judge`: it finds the judge by its name, waits for a turn in the fair queue, judges, and counts.
//! Dropping that future cancels the judgment; this happens when a client disconnects.

mod admit;
mod batch;
mod body;
mod coalesce;
mod config;
mod fair;
mod gate;
mod idempotency;
pub mod jobs;
mod judges;
mod keys;
mod listen;
mod metrics;
mod openai;
mod openapi;
mod page;
mod problem;
mod reference;
mod rerank;
mod stream;
#[cfg(feature = "otel")]
mod telemetry;
#[cfg(not(feature = "otel"))]
#[path = "telemetry/off.rs"]
mod telemetry;
mod trainers;
mod v1;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::sync::watch::{Receiver, Sender, channel};

use crate::config::Options;
use crate::engine::Listener;
use crate::error::{Error, ErrorKind, Result};
use crate::judge::Judge;
use crate::request::JudgeRequest;
use crate::verdict::Verdict;

pub(crate) use admit::Caller;
pub(crate) use body::{Input, Params, json};
pub use config::{KeyConfig, Priority, ServerConfig, ServerFile, TlsConfig};
pub use jobs::JobsConfig;
pub use judges::JudgeSource;
use judges::{Judges, Loaded};
use keys::{Client, Clients};
use metrics::Metrics;
pub use problem::Problem;
pub use telemetry::Telemetry;
use telemetry::{JudgmentSpan, Traces};
pub use trainers::{CoalesceConfig, Marks, Protocol, RouteConfig, Turns};
pub(crate) use watch::{Event, Watcher};

/// A request with more text than this is prepared on a thread that may block.
const LARGE_BYTES: usize = 64 << 10;
/// How long past its deadline a judgment may take to end before the server gives up on it.
const LATE: Duration = Duration::from_secs(2);

/// The shortest time between two trials of the judge by `/ready?deep=true`.
const TRY_EVERY: Duration = Duration::from_secs(10);

/// The result of a handler.
pub(crate) type Answer = std::result::Result<Response, Problem>;

/// A server. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    config: ServerConfig,
    judges: Judges,
    clients: Clients,
    /// The client if there are no keys.
    anybody: Arc<Client>,
    metrics: Metrics,
    traces: Traces,
    held: body::Held,
    jobs: jobs::Jobs,
    /// The task that judges the requests of jobs.
    jobs_task: std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    answered: idempotency::Store,
    /// When the default judge was last tried, and the result.
    tried: tokio::sync::Mutex<Option<(Instant, std::result::Result<(), String>)>>,
    /// Whether the server is shutting down.
    draining: Sender<bool>,
}

impl Server {
    /// Makes a server with judges by name; the first one is the default, unless the configuration names another.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a setting out of its range, a key that cannot be read, or no judge.
    pub fn new(config: ServerConfig, judges: Vec<(String, JudgeSource)>) -> Result<Self> {
        config.check()?;
        let judges = Judges::new(judges, &config)?;
        let clients = Clients::read(&config)?;
        let held = body::Held::new(config.max_held_bytes);
        let jobs = jobs::open(&config.jobs)?;
        let (draining, _) = channel(false);
        let jobs_task = std::sync::Mutex::default();
        let (anybody, metrics) = (Arc::new(Client::anybody()), Metrics::new(&judges.names()));
        let (answered, tried) = (idempotency::Store::default(), tokio::sync::Mutex::new(None));
        Ok(Self(Arc::new(Inner {
            config,
            judges,
            clients,
            anybody,
            metrics,
            traces: Traces::default(),
            held,
            jobs,
            jobs_task,
            answered,
            tried,
            draining,
        })))
    }

    /// The settings.
    pub fn config(&self) -> &ServerConfig {
        &self.0.config
    }

    /// All routes, with who may use them.
    pub fn router(&self) -> Router {
        // Behind a key, if there are any. A further part of the API merges its routes here.
        let behind_a_key = Router::new()
            .merge(reference::routes())
            .merge(jobs::routes())
            .merge(v1::routes())
            .merge(openai::routes())
            .merge(rerank::routes())
            .merge(trainers::routes(&self.0.config))
            .merge(metrics::routes())
            .layer(middleware::from_fn_with_state(self.clone(), idempotency::once))
            .layer(middleware::from_fn_with_state(self.clone(), admit::by_key));
        // Open to all: routes that reveal nothing secret. Pages merge here.
        let open = Router::new()
            .route("/health", get(health))
            .route("/ready", get(ready))
            .route("/openapi.json", get(openapi::document))
            .merge(page::routes());
        open.merge(behind_a_key)
            .fallback(admit::nothing_here)
            .method_not_allowed_fallback(admit::wrong_method)
            .layer(middleware::from_fn_with_state(self.clone(), admit::guard))
            .layer(middleware::from_fn_with_state(self.clone(), admit::observe))
            .with_state(self.clone())
    }

    /// Loads the judges that are not loaded on demand; returns the first failure.
    ///
    /// # Errors
    /// Those of opening a judge.
    pub async fn load(&self) -> Result<()> {
        for name in self.0.judges.names() {
            self.0.judges.get(Some(name)).await.map_err(|error| error.context(format!("judge {name}")))?;
        }
        Ok(())
    }

    /// Ends all judgments, and closes the judges that the server has opened.
    pub fn close(&self) {
        self.0.judges.close();
    }

    pub(crate) fn judges(&self) -> &Judges {
        &self.0.judges
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Becomes true when the server begins to shut down: background work must end soon.
    pub(crate) fn draining(&self) -> Receiver<bool> {
        self.0.draining.subscribe()
    }

    fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Judges one request with a judge by its name, or with the default one. The deadline of the request covers its wait in the
    /// queue. Dropping the future cancels the judgment.
    pub(crate) async fn judge(
        &self,
        caller: &Caller,
        judge: Option<&str>,
        mut request: JudgeRequest,
        watcher: Option<Watcher>,
    ) -> Result<Verdict> {
        let began = Instant::now();
        let mut span = self.0.traces.judgment(caller, self.0.judges.known(judge).ok(), &request);
        let loaded = self.0.judges.get(judge).await.inspect_err(|error| span.fails(error))?;
        let outcome = self.judge_with(&loaded, caller, &mut request, watcher, began, &mut span).await;
        span.end(&outcome);
        let name = self.0.judges.known(judge).unwrap_or_default();
        self.0.metrics.judged(name, request.responses.len(), began.elapsed(), &outcome);
        if let Err(error) = &outcome {
            let (request_id, kind) = (&*caller.request_id, error.kind().name());
            tracing::info!(request_id, client = caller.name(), judge = name, kind, "a judgment failed");
            if error.kind() == ErrorKind::EngineDead {
                self.0.judges.retire(&loaded);
            }
        }
        outcome
    }

    async fn judge_with(
        &self,
        loaded: &Arc<Loaded>,
        caller: &Caller,
        request: &mut JudgeRequest,
        watcher: Option<Watcher>,
        began: Instant,
        span: &mut JudgmentSpan,
    ) -> Result<Verdict> {
        let judge = &loaded.judge;
        // Errors in the request are found before it waits.
        request.check(&judge.config().limits)?;
        let timeout =
            request.options.or(&judge.config().options).or(&judge.profile().decoding).resolve_request()?.timeout();
        // Nobody waits for a job: the time of its requests counts from their start.
        let left = if caller.client.is_job { jobs::TURN } else { timeout.saturating_sub(began.elapsed()) };
        let told = watcher.as_ref().map(|watcher| |place| watcher.tell(Event::Queued(place)));
        span.waits();
        let slot = loaded.gate.enter(caller.client.priority, caller.client.number, left, told).await?;
        if let Some(watcher) = &watcher {
            watcher.tell(Event::Started);
        }
        let began = if caller.client.is_job { Instant::now() } else { began };
        span.starts(judge.capabilities().engine.name());
        let left = timeout.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        request.options = Options { timeout_ms: Some(left_ms), ..std::mem::take(&mut request.options) };
        let listener =
            watcher.map(|watcher| Listener::new(move |piece| watcher.tell(Event::Reasoning(piece.to_owned()))));
        let submit = |judge: &Judge, request: &JudgeRequest| match listener {
            Some(listener) => judge.submit_heard(request, listener),
            None => judge.submit(request),
        };
        let ticket = if request.text_bytes() > LARGE_BYTES {
            let (judge, request) = (judge.clone(), request.clone());
            let submitted = tokio::task::spawn_blocking(move || submit(&judge, &request)).await;
            submitted.map_err(|error| Error::new(ErrorKind::Internal, format!("submitting a request: {error}")))?
        } else {
            submit(judge, request)
        };
        let outcome =
            tokio::time::timeout(left + LATE, ticket).await.unwrap_or_else(|_| Err(Error::timed_out(timeout)));
        drop(slot);
        outcome
    }
}

/// Answers while the server is running. Also the reference's health check.
async fn health() -> Response {
    json(&json!({ "status": "healthy", "service": "Dicast", "version": env!("CARGO_PKG_VERSION") }))
}

/// The query of `/ready`.
#[derive(serde::Deserialize)]
struct ReadyQuery {
    /// Also let the default judge judge something small.
    #[serde(default)]
    deep: bool,
}

impl Server {
    /// Whether the default judge judges, tried at most every [`TRY_EVERY`].
    async fn tried(&self) -> std::result::Result<(), String> {
        let mut last = self.0.tried.lock().await;
        if let Some((when, outcome)) = last.as_ref()
            && when.elapsed() < TRY_EVERY
        {
            return outcome.clone();
        }
        let mut request = JudgeRequest::new("Prefer yes.", "Yes or no?", [("a", "Yes."), ("b", "No.")]);
        request.options.timeout_ms = Some(10_000);
        request.options.max_reasoning_tokens = Some(64);
        let outcome = match self.judge(&Caller::anybody("ready"), None, request, None).await {
            // The engine has answered, even if the answer makes little sense.
            Err(error) if error.kind() != ErrorKind::InvalidVerdict => Err(error.kind().name().to_owned()),
            _ => Ok(()),
        };
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// Whether the server can judge: the default judge is loaded, or will be loaded on demand, and the server is not shutting down.
async fn ready(State(server): State<Server>, Params(query): Params<ReadyQuery>) -> Response {
    let judges = server.judges();
    let state: serde_json::Map<_, _> = judges
        .names()
        .into_iter()
        .map(|name| (name.to_owned(), if judges.loaded(name).is_some() { "ready" } else { "not loaded" }.into()))
        .collect();
    let default = judges.names().first().is_some_and(|name| judges.loaded(name).is_some());
    let mut ready = !server.is_draining() && (default || server.config().load_on_demand);
    let mut failure = None;
    if ready && query.deep {
        failure = server.tried().await.err();
        ready = failure.is_none();
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = if server.is_draining() {
        "shutting down"
    } else if ready {
        "ready"
    } else if failure.is_some() {
        "the engine does not answer"
    } else {
        "loading"
    };
    (status, json(&json!({ "status": word, "judges": state, "error": failure }))).into_response()
}
