//! What a load is put on: a judge in this process, or a running server.

#[cfg(feature = "remote")]
mod events;
#[cfg(feature = "remote")]
mod reply;
#[cfg(feature = "remote")]
mod server;

use std::time::Duration;

use dicast::engine::Stats;
use dicast::verdict::Usage;
use dicast::{Error, Judge, JudgeConfig, JudgeRequest, Verdict};
use serde_json::{Value, json};

use super::super::Failure;

/// The parts of a judgment's time, in their order.
pub(super) const PHASES: [&str; 6] = ["queue", "prefill", "first_token", "reasoning", "verdict", "host"];
/// The place of the host's share.
pub(super) const HOST: usize = 5;

/// One judgment that succeeded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Measured {
    /// The phases that are known, in the order of [`PHASES`]. `first_token` replaces queue and prefill if a server does not
    /// report these separately; `host` is the rest of the whole.
    pub(super) phases: [Option<Duration>; PHASES.len()],
    /// From the sending to the first token of the answer.
    pub(super) first_token: Option<Duration>,
    /// Tokens; all 0 if they are not reported.
    pub(super) usage: Usage,
    /// The scores by name, in the order of the request.
    pub(super) scores: Vec<(String, f64)>,
    /// The names, best first.
    pub(super) ranking: Vec<String>,
}

/// Why a judgment failed: a kind to count by, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) kind: String,
    pub(super) message: String,
}

impl Trouble {
    pub(super) fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into() }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::new(error.kind().name(), error.message())
    }
}

impl From<&Verdict> for Measured {
    fn from(verdict: &Verdict) -> Self {
        let timing = verdict.timing;
        Self {
            phases: [
                Some(timing.queue),
                Some(timing.prefill),
                None,
                Some(timing.reasoning),
                Some(timing.verdict),
                None,
            ],
            first_token: Some(timing.queue + timing.prefill),
            usage: verdict.usage,
            scores: verdict.scores.iter().map(|scored| (scored.name.clone(), scored.score)).collect(),
            ranking: verdict.ranked_names().map(str::to_owned).collect(),
        }
    }
}

/// Called once with the outcome of a judgment, from any thread.
pub(super) type Done = Box<dyn FnOnce(Result<Measured, Trouble>) + Send>;

/// Ends a judgment that still runs; its [`Done`] is called then.
pub(super) type Cancel = Box<dyn FnOnce() + Send>;

/// What takes requests. Dropping it ends what still runs.
pub(super) trait Target: Send + Sync {
    /// Starts a judgment.
    fn start(&self, request: JudgeRequest, done: Done) -> Cancel;

    /// Counters of the engine, where they can be seen.
    fn stats(&self) -> Option<Stats>;

    /// What it is, for a report.
    fn describe(&self) -> Value;

    /// How many judgments to have in flight by default.
    fn wanted(&self) -> usize;
}

impl Target for Judge {
    fn start(&self, request: JudgeRequest, done: Done) -> Cancel {
        let ticket = self.submit(&request);
        let canceller = ticket.canceller();
        ticket.on_completion(move |outcome| {
            done(
                outcome
                    .as_ref()
                    .map(Measured::from)
                    .map_err(|error| Trouble::new(error.kind().name(), error.message())),
            );
        });
        Box::new(move || canceller.cancel())
    }

    fn stats(&self) -> Option<Stats> {
        Some(Self::stats(self))
    }

    fn describe(&self) -> Value {
        let capabilities = self.capabilities();
        let options = serde_json::to_value(&self.config().options).unwrap_or_default();
        json!({
            "model": self.config().model, "engine": capabilities.engine.name(), "profile": self.profile().name,
            "max_sequences": capabilities.max_sequences, "options": options,
        })
    }

    fn wanted(&self) -> usize {
        self.capabilities().max_sequences
    }
}

/// The protocols of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Api {
    /// Found by asking the server.
    Auto,
    /// `dicast serve`: POST /v1/judge.
    Dicast,
    /// The reference's server: POST /api/rewardanything.
    Reference,
    /// POST /v1/chat/completions: this program makes the prompt and reads the verdict.
    Openai,
}

/// How a server is asked.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "A running server")]
pub(super) struct ServerArgs {
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "model",
        help = "Put the load on this server instead of a model, such as http://127.0.0.1:8000"
    )]
    pub(super) url: Option<String>,
    /// The protocol that the server speaks.
    #[arg(long, value_enum, default_value = "auto", requires = "url")]
    pub(super) api: Api,
    /// The model's name on the server. Default: the first one that it lists.
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(super) served_model: Option<String>,
    /// Chat completions: do not ask for a JSON schema; the answer is free text.
    #[arg(long, requires = "url")]
    pub(super) no_schema: bool,
    #[arg(long, value_name = "JSON", requires = "url", value_parser = super::super::options::variables,
        help = "Further fields of every request, a JSON object: '{\"thinking_token_budget\": 64}'")]
    pub(super) body: Option<serde_json::Map<String, Value>>,
    /// The server's process: its processor time and memory, and those of its children, are measured too.
    #[arg(long, value_name = "PID")]
    pub(super) server_pid: Option<u32>,
}

/// Connects to a server.
#[cfg(feature = "remote")]
pub(super) fn connect(args: &ServerArgs, url: &str, config: &JudgeConfig) -> Result<Box<dyn Target>, Failure> {
    Ok(Box::new(server::Server::new(args, url, config)?))
}

#[cfg(not(feature = "remote"))]
pub(super) fn connect(_: &ServerArgs, _: &str, _: &JudgeConfig) -> Result<Box<dyn Target>, Failure> {
    Err(Failure::new(dicast::ErrorKind::Unsupported, "this build cannot use servers: it needs the feature `remote`"))
}
