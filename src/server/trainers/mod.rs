//! The protocols of trainers: routes that a configuration names, each with a principle. One file for each protocol.
//!
//! Most trainers send one sample per call. A route that coalesces gathers those of one prompt into one judgment.

mod kserve;
mod llama_factory;
mod nemo_gym;
mod openrlhf;
mod roll;
mod slime;
mod split;
mod vllm;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, post};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Options, Reward};
use crate::error::{Error, ErrorKind, Result};

use super::body::Input;
use super::coalesce::{Coalescer, Key, Scored, Terms, score_all};
use super::{Answer, Caller, Problem, Server, ServerConfig};
pub use split::{Marks, Turns};

/// The protocol of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// `OpenRLHF`: `{"query": […], "prompts": […]}` to `{"rewards": […]}`.
    Openrlhf,
    /// slime and miles, `remote_rm`: `{"prompt", "response"}` to a number.
    Slime,
    /// LLaMA-Factory: `{"messages": [text, …]}` to `{"scores": […]}`.
    LlamaFactory,
    /// vLLM's `/classify`, as veRL calls it: `{"input"}` to `data[].probs`.
    Classify,
    /// vLLM's `/score`: `{"text_1", "text_2"}` to `data[].score`.
    Score,
    /// vLLM's `/pooling` and `SGLang`'s `/v1/embeddings`: `{"input"}` to `data[].data` and `data[].embedding`.
    Pooling,
    /// ROLL: submit a sample by POST, ask for its reward by GET.
    Roll,
    /// `NeMo` Gym's `/verify`: a rollout to the rollout with its `reward`. At a path that ends with `/verify` it also answers what agents
    /// ask of a resources server beside it.
    NemoGymVerify,
    /// `NeMo` Gym's `/compare`: several responses to `{"rewards": […]}`.
    NemoGymCompare,
    /// `KServe` v2 infer, as `NeMo`-Aligner calls it: `sentences` to `rewards`. The path is `/v2/models/NAME/infer`.
    Kserve,
}

/// How samples of one prompt are gathered into one judgment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoalesceConfig {
    /// Samples of a prompt that come within this time after the first one are judged together.
    pub window_ms: u64,
    /// Judge as soon as this many have come; 0: only the window decides.
    #[serde(default)]
    pub group_size: usize,
}

/// One route of a trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// Its path, such as `/get_reward`.
    pub path: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// The principle for its samples.
    pub principle: String,
    /// The judge, by name. Default: the server's.
    #[serde(default)]
    pub judge: Option<String>,
    /// Which value of the verdict is the reward; by default the expected score, or the score if the engine gives no distributions.
    #[serde(default = "expected_or_score")]
    pub reward: Reward,
    /// Scale rewards that are scores to 0 to 1: the worst score of the scale becomes 0, the best 1.
    #[serde(default)]
    pub normalize: bool,
    /// Gather samples of one prompt from several calls into one judgment. Not set: only those of one call are judged together.
    #[serde(default)]
    pub coalesce: Option<CoalesceConfig>,
    /// Show the label of a sample to the judge as a reference answer.
    #[serde(default)]
    pub label_as_reference: bool,
    /// Which assistant turn is the response, in texts that hold prompt and response and have several assistant turns.
    #[serde(default)]
    pub turns: Option<Turns>,
    /// The marks of the policy's chat template, for models of unknown families.
    #[serde(default)]
    pub marks: Option<Marks>,
    /// The key of the reward in the answer; without it the answer is a bare number (slime's `--reward-key`).
    #[serde(default)]
    pub reward_key: Option<String>,
    /// Settings of its judgments.
    #[serde(default)]
    pub options: Options,
}

fn expected_or_score() -> Reward {
    Reward::ExpectedOrScore
}

/// Paths, and beginnings of paths, that the server uses itself.
const TAKEN: &[&str] = &[
    "/api",
    "/assets",
    "/health",
    "/jobs",
    "/metrics",
    "/openapi.json",
    "/page",
    "/ready",
    "/v1/chat",
    "/v1/jobs",
    "/v1/judge",
    "/v1/models",
    "/v1/rerank",
    "/v1/rewards",
    "/v2/health",
    "/v2/rerank",
];

impl RouteConfig {
    pub(super) fn check(&self) -> Result<()> {
        let place = &self.path;
        let invalid =
            |message: String| Error::new(ErrorKind::InvalidConfig, format!("server.routes: {place}: {message}"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
        if !self.path.starts_with('/') || self.path.len() < 2 || !self.path.chars().all(plain) {
            return Err(invalid("a path begins with / and has letters, digits and / - _ .".to_owned()));
        }
        let under =
            |taken: &&str| self.path.strip_prefix(*taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(taken) = TAKEN.iter().find(|taken| under(taken)) {
            return Err(invalid(format!("the server itself uses {taken}: choose another path")));
        }
        if self.protocol == Protocol::Kserve && kserve::model_of(&self.path).is_none() {
            return Err(invalid("the path of a KServe route is /v2/models/NAME/infer".to_owned()));
        }
        if self.principle.trim().is_empty() {
            return Err(invalid("it needs a principle".to_owned()));
        }
        if let Some(coalesce) = &self.coalesce
            && !(1..=3_600_000).contains(&coalesce.window_ms)
        {
            return Err(invalid("coalesce.window_ms is from 1 to 3600000".to_owned()));
        }
        if self.marks.as_ref().is_some_and(|marks| marks.user.is_empty() || marks.assistant.is_empty()) {
            return Err(invalid("marks.user and marks.assistant must not be empty".to_owned()));
        }
        if self.normalize && self.reward == Reward::Group {
            return Err(invalid("the reward `group` has no range: leave normalize out".to_owned()));
        }
        self.options.resolve().map(drop).map_err(|error| invalid(format!("options: {}", error.message())))
    }

    /// All paths that it answers at.
    fn paths(&self) -> Vec<String> {
        match self.protocol {
            Protocol::NemoGymVerify => nemo_gym::paths(&self.path),
            Protocol::Kserve => kserve::paths(&self.path),
            _ => vec![self.path.clone()],
        }
    }
}

/// Checks that no two routes have the same path.
pub(super) fn check_all(routes: &[RouteConfig]) -> Result<()> {
    let mut taken = std::collections::HashSet::new();
    for route in routes {
        route.check()?;
        for path in route.paths() {
            if !taken.insert(path.clone()) {
                let message = format!("server.routes: two routes have the path {path}");
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
        }
    }
    Ok(())
}

/// A route at work.
struct Route {
    config: RouteConfig,
    terms: Terms,
    coalescer: Option<Coalescer>,
    roll: roll::Store,
}

/// One sample of a trainer.
struct Sample {
    prompt: String,
    response: String,
    label: Option<String>,
    /// Its own principle, if the protocol has a field for one.
    principle: Option<String>,
}

/// The rewards of a sample.
#[derive(Clone, Copy)]
struct Rewarded {
    /// The reward that the route is set to.
    reward: f64,
    /// The (expected) score, from 0 to 1.
    unit: f64,
    /// The score as written.
    score: f64,
    /// How many different samples were judged together.
    group: usize,
}

impl Route {
    fn new(config: &RouteConfig, server: &ServerConfig) -> Arc<Self> {
        let terms = Terms { judge: config.judge.clone(), options: config.options.clone(), reward: config.reward };
        let coalescer = config.coalesce.as_ref().map(|coalesce| {
            let window = Duration::from_millis(coalesce.window_ms);
            Coalescer::new(&config.path, terms.clone(), window, coalesce.group_size, server.max_waiting)
        });
        Arc::new(Self { config: config.clone(), terms, coalescer, roll: roll::Store::default() })
    }

    /// The rewards of samples, in their order.
    async fn outcomes(&self, server: &Server, caller: &Caller, samples: Vec<Sample>) -> Vec<Result<Rewarded>> {
        let items: Vec<_> = samples.into_iter().map(|sample| self.item(caller, sample)).collect();
        let scores = match &self.coalescer {
            None => score_all(server, caller, &self.config.path, &self.terms, items).await,
            Some(coalescer) => {
                let mut tasks = tokio::task::JoinSet::new();
                let count = items.len();
                for (index, (key, text)) in items.into_iter().enumerate() {
                    let (coalescer, server, caller) = (coalescer.clone(), server.clone(), caller.clone());
                    tasks.spawn(async move { (index, coalescer.score(&server, &caller, key, text).await) });
                }
                let lost = || Err(Error::new(ErrorKind::Internal, "the sample was lost: please report it"));
                let mut scores: Vec<_> = (0..count).map(|_| lost()).collect();
                while let Some(done) = tasks.join_next().await {
                    if let Ok((index, score)) = done {
                        scores[index] = score;
                    }
                }
                scores
            }
        };
        let scale = match server.judges().get(self.config.judge.as_deref()).await {
            Ok(loaded) => loaded.judge.profile().scale,
            Err(_) => return scores.into_iter().map(|score| score.and_then(|_| Err(Error::closed()))).collect(),
        };
        let (min, max) = (f64::from(scale.min), f64::from(scale.max));
        scores.into_iter().map(|scored| scored.map(|scored| self.rewarded(scored, min, max))).collect()
    }

    fn rewarded(&self, Scored { score, expected, reward, group }: Scored, min: f64, max: f64) -> Rewarded {
        let to_unit = |value: f64| ((value - min) / (max - min)).clamp(0.0, 1.0);
        let is_score = !matches!(self.config.reward, Reward::Rank | Reward::Group | Reward::Win);
        let reward = if self.config.normalize && is_score { to_unit(reward) } else { reward };
        Rewarded { reward, unit: to_unit(expected.unwrap_or(score)), score, group }
    }

    fn item(&self, caller: &Caller, sample: Sample) -> (Key, String) {
        let mut prompt = sample.prompt;
        if let (true, Some(label)) = (self.config.label_as_reference, sample.label.filter(|label| !label.is_empty())) {
            prompt.push_str("\n\nReference answer: ");
            prompt.push_str(&label);
        }
        let principle = sample.principle.unwrap_or_else(|| self.config.principle.clone());
        (Key { client: caller.name().to_owned(), principle, prompt }, sample.response)
    }

    /// The rewards of samples, in their order. If one of them fails, all fail: these protocols cannot express a sample without
    /// a reward, and 0 would be a reward.
    async fn rewards(
        &self,
        server: &Server,
        caller: &Caller,
        samples: Vec<Sample>,
    ) -> std::result::Result<Vec<Rewarded>, Problem> {
        let (count, most) = (samples.len(), server.config().max_batch);
        if count > most {
            let message = format!("the call has {count} samples, the limit is {most} (server.max_batch)");
            return Err(Error::new(ErrorKind::TooLarge, message).into());
        }
        caller.take(count.saturating_sub(1))?;
        let outcomes = self.outcomes(server, caller, samples).await.into_iter().enumerate();
        let placed =
            |index: usize, error: Error| if count > 1 { error.context(format!("sample {index}")) } else { error };
        Ok(outcomes.map(|(index, outcome)| outcome.map_err(|error| placed(index, error))).collect::<Result<_>>()?)
    }

    /// A sample from the whole text that a trainer sends.
    fn sample_of(&self, text: &str) -> Result<Sample> {
        let (prompt, response) = split::split(text, self.config.marks.as_ref(), self.config.turns)?;
        Ok(Sample { prompt, response, label: None, principle: None })
    }

    fn samples_of<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Sample>> {
        let placed = |index: usize, error: Error| error.context(format!("text {index}"));
        let texts = texts.into_iter().enumerate();
        texts.map(|(index, text)| self.sample_of(text).map_err(|error| placed(index, error))).collect()
    }

    fn prompt(&self, text: &str) -> String {
        split::prompt(text, self.config.marks.as_ref())
    }

    fn response(&self, text: &str) -> String {
        split::response(text, self.config.marks.as_ref())
    }
}

/// The routes that the configuration names.
pub(super) fn routes(config: &ServerConfig) -> Router<Server> {
    let mut router = Router::new();
    let mut kserve = false;
    for route in &config.routes {
        let (path, protocol, route) = (route.path.as_str(), route.protocol, Route::new(route, config));
        router = match protocol {
            Protocol::Openrlhf => router.route(path, posted(route, openrlhf::answer)),
            Protocol::Slime => router.route(path, posted(route, slime::answer)),
            Protocol::LlamaFactory => router.route(path, posted(route, llama_factory::answer)),
            Protocol::Classify => router.route(path, posted(route, vllm::classify)),
            Protocol::Score => router.route(path, posted(route, vllm::score)),
            Protocol::Pooling => router.route(path, posted(route, vllm::pooling)),
            Protocol::Roll => router.route(path, posted(route.clone(), roll::submit).merge(roll::poll(route))),
            Protocol::NemoGymVerify => router.merge(nemo_gym::routes(&route)),
            Protocol::NemoGymCompare => router.route(path, posted(route, nemo_gym::compare)),
            Protocol::Kserve => {
                let router = if std::mem::replace(&mut kserve, true) { router } else { router.merge(kserve::health()) };
                router.merge(kserve::routes(&route))
            }
        };
    }
    router
}

/// A route that answers to POST.
fn posted<F, A>(route: Arc<Route>, answer: F) -> MethodRouter<Server>
where
    F: Fn(Arc<Route>, Server, Caller, Input) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    post(move |State(server): State<Server>, caller: Caller, input: Input| answer(route, server, caller, input))
}

/// A text, or the text of a conversation: a list of `{"role", "content"}`.
fn prompt_of(value: &Value) -> Result<String> {
    let request = serde_json::json!({ "principle": "", "prompt": value, "responses": [""] });
    Ok(crate::JudgeRequest::from_json(request.to_string().as_bytes())?.prompt)
}

/// Texts that are one or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}
