//! A load on a server over HTTP: one thread, any number of requests at once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dicast::engine::Stats;
use dicast::prompt::mask::AliasMap;
use dicast::{ErrorKind, JudgeConfig, JudgeRequest, Profile, prompt, verdict};
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::super::super::{Failure, input};
use super::events::{Answer, MAX_ANSWER};
use super::{Api, Cancel, Done, Measured, ServerArgs, Target, Trouble, reply};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for a question about the server.
const FACTS: Duration = Duration::from_secs(30);
/// Judgments in flight by default.
const WANTED: usize = 8;

/// A server and the thread that asks it.
pub(in super::super) struct Server {
    jobs: Option<UnboundedSender<Exchange>>,
    thread: Option<JoinHandle<()>>,
    asked: Arc<Asked>,
}

/// How it is asked.
struct Asked {
    client: reqwest::Client,
    /// Where requests are posted.
    url: String,
    api: Api,
    model: Option<String>,
    schema: bool,
    further: Map<String, Value>,
    profile: Profile,
    config: JudgeConfig,
    key: Option<String>,
}

/// One request on its way.
struct Exchange {
    request: JudgeRequest,
    body: Vec<u8>,
    aliases: Option<AliasMap>,
    timeout: Duration,
    sent: Instant,
    /// Fires when the answer is not wanted any more.
    cancelled: oneshot::Receiver<()>,
    done: Done,
}

impl Server {
    pub(in super::super) fn new(args: &ServerArgs, url: &str, config: &JudgeConfig) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(ErrorKind::InvalidConfig, what);
        let parsed = reqwest::Url::parse(url).map_err(|error| wrong(format!("--url {url}: {error}")))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(format!("--url {url}: write http://HOST:PORT or https://HOST")));
        }
        let profile = match &config.profile {
            Some(path) => Profile::load(path)?,
            None => Profile::builtin(),
        };
        let key = match (config.remote.api_keys.expose().first(), &config.remote.api_keys_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(path)) => {
                let keys = input::read_text(path, input::SMALL_FILE_BYTES)?;
                keys.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
            }
            (None, None) => None,
        };
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .user_agent(concat!("dicast-bench/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(format!("no connection can be set up: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("cannot start the client", &error))?;
        let mut asked = Asked {
            client,
            url: url.trim_end_matches('/').to_owned(),
            api: args.api,
            model: args.served_model.clone(),
            schema: !args.no_schema,
            further: args.body.clone().unwrap_or_default(),
            profile,
            config: config.clone(),
            key,
        };
        runtime.block_on(asked.find())?;
        let asked = Arc::new(asked);
        let (jobs, mut incoming) = unbounded_channel::<Exchange>();
        let shared = asked.clone();
        let work = move || {
            runtime.block_on(async move {
                // Ends when the sender is dropped; running requests are dropped with the runtime.
                while let Some(exchange) = incoming.recv().await {
                    let asked = shared.clone();
                    tokio::spawn(async move {
                        let Exchange { request, body, aliases, timeout, sent, cancelled, done } = exchange;
                        let work = asked.exchange(&request, body, aliases.as_ref(), sent);
                        let late = || Trouble::new("timeout", format!("no answer within {timeout:?} (--timeout-ms)"));
                        let outcome = tokio::select! {
                            outcome = tokio::time::timeout(timeout, work) => outcome.unwrap_or_else(|_| Err(late())),
                            _ = cancelled => Err(Trouble::new("cancelled", "the judgment was cancelled")),
                        };
                        done(outcome);
                    });
                }
            });
        };
        let thread = std::thread::Builder::new().name("dicast-bench-http".into()).spawn(work);
        let thread = thread.map_err(|error| Failure::io("cannot start the client", &error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), asked })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Target for Server {
    fn start(&self, request: JudgeRequest, done: Done) -> Cancel {
        let sent = Instant::now();
        let (cancel, cancelled) = oneshot::channel();
        // Dropping it unused would cancel as well, so the caller keeps it until the judgment has ended.
        let cancel: Cancel = Box::new(move || drop(cancel));
        let exchange = match self.asked.body(&request) {
            Ok((body, aliases, timeout)) => Exchange { request, body, aliases, timeout, sent, cancelled, done },
            Err(error) => {
                done(Err(error.into()));
                return cancel;
            }
        };
        if let Some(jobs) = &self.jobs
            && let Err(lost) = jobs.send(exchange)
        {
            (lost.0.done)(Err(Trouble::new("internal", "the client's thread is gone")));
        }
        cancel
    }

    fn stats(&self) -> Option<Stats> {
        None
    }

    fn describe(&self) -> Value {
        let asked = &self.asked;
        let options = serde_json::to_value(&asked.config.options).unwrap_or_default();
        let api = match asked.api {
            Api::Dicast => "dicast",
            Api::Reference => "reference",
            Api::Openai if asked.schema => "openai, JSON schema",
            _ => "openai",
        };
        json!({ "url": asked.url, "api": api, "model": asked.model, "options": options, "body": asked.further })
    }

    fn wanted(&self) -> usize {
        WANTED
    }
}

impl Asked {
    fn request(&self, method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Finds out which protocol the server speaks, where posts go, and what its model is called.
    async fn find(&mut self) -> Result<(), Failure> {
        const PATHS: [(Api, &str); 3] = [
            (Api::Dicast, "/v1/judge"),
            (Api::Reference, "/api/rewardanything"),
            (Api::Openai, "/v1/chat/completions"),
        ];
        let base = PATHS.iter().find_map(|(api, path)| Some((*api, self.url.strip_suffix(path)?.to_owned())));
        let base = match base {
            Some((api, base)) => {
                self.api = if self.api == Api::Auto { api } else { self.api };
                base
            }
            None => self.url.strip_suffix("/v1").unwrap_or(&self.url).to_owned(),
        };
        if self.api == Api::Auto {
            self.api = self.detect(&base).await?;
        }
        if self.api == Api::Openai && self.model.is_none() {
            let models = self.ask(&format!("{base}/v1/models")).await?.1;
            let model = models["data"][0]["id"].as_str().ok_or_else(|| {
                Failure::new(ErrorKind::InvalidConfig, format!("{base}/v1/models lists no model"))
                    .hint("name it with --served-model")
            })?;
            self.model = Some(model.to_owned());
        }
        let path = PATHS.iter().find(|(api, _)| *api == self.api).map_or("", |(_, path)| path);
        self.url = format!("{base}{path}");
        Ok(())
    }

    async fn detect(&self, base: &str) -> Result<Api, Failure> {
        // A server that knows the path refuses the method, not the path.
        for (api, path) in [(Api::Dicast, "/v1/judge"), (Api::Reference, "/api/rewardanything")] {
            if self.ask(&format!("{base}{path}")).await?.0 == StatusCode::METHOD_NOT_ALLOWED {
                return Ok(api);
            }
        }
        let (status, models) = self.ask(&format!("{base}/v1/models")).await?;
        if models["data"].is_array() {
            return Ok(Api::Openai);
        }
        let message = format!("{base}: this is not a known kind of judge server (/v1/models gives status {status})");
        Err(Failure::new(ErrorKind::Unsupported, message)
            .hint("name its protocol with --api, and put a key into the configuration if the server needs one"))
    }

    async fn ask(&self, url: &str) -> Result<(StatusCode, Value), Failure> {
        let cannot = |what: String| {
            Failure::new(ErrorKind::Network, format!("{url} cannot be reached: {what}")).hint("is the server running?")
        };
        let work = async {
            let response = self.request(reqwest::Method::GET, url).send().await?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        };
        let asked = tokio::time::timeout(FACTS, work).await.map_err(|_| cannot(format!("no answer in {FACTS:?}")))?;
        let (status, body) = asked.map_err(|error| cannot(cause(&error)))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// The body of a request, how its responses are named in it, and its deadline.
    fn body(&self, request: &JudgeRequest) -> dicast::Result<(Vec<u8>, Option<AliasMap>, Duration)> {
        request.check(&self.config.limits)?;
        let options = request.options.or(&self.config.options);
        let settings = options.or(&self.profile.decoding).resolve_request()?;
        let mut aliases = None;
        let mut body = if self.api == Api::Openai {
            let (messages, map) = prompt::masked_messages(&self.profile, request, &settings);
            let messages: Vec<_> = messages
                .into_iter()
                .map(|message| json!({ "role": message.role, "content": message.content }))
                .collect();
            let mut body = json!({
                "model": self.model, "messages": messages, "temperature": settings.temperature,
                "top_p": settings.top_p, "seed": settings.seed, "stream": true,
                "stream_options": { "include_usage": true },
            });
            // Without a limit, a server generates as much as its context allows.
            if let Some(reasoning) = options.max_reasoning_tokens {
                body["max_tokens"] = (u64::from(reasoning) + u64::from(settings.max_verdict_tokens)).into();
            }
            if self.schema {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": { "name": "verdict", "strict": true, "schema": self.schema_of(&map) },
                });
            }
            aliases = Some(map);
            body
        } else {
            let mut whole = request.clone();
            if self.api == Api::Reference {
                whole.options = dicast::Options::default();
                whole.mask_responses = Some(request.mask_responses.unwrap_or(true));
            } else {
                whole.options = options;
            }
            serde_json::to_value(&whole).map_err(|error| dicast::Error::new(ErrorKind::Internal, error.to_string()))?
        };
        if let Some(fields) = body.as_object_mut() {
            fields.extend(self.further.clone());
        }
        Ok((body.to_string().into_bytes(), aliases, settings.timeout()))
    }

    /// The verdict as JSON schema. No schema that all servers support can say that a ranking names nobody twice.
    fn schema_of(&self, aliases: &AliasMap) -> Value {
        let scale = self.profile.scale;
        let scores: Vec<u8> = (scale.min..=scale.max).collect();
        let score = json!({ "type": "integer", "enum": scores });
        let properties: Map<String, Value> = aliases.shown().iter().map(|name| (name.clone(), score.clone())).collect();
        json!({
            "type": "object",
            "properties": {
                "scores": {
                    "type": "object", "properties": properties, "required": aliases.shown(), "additionalProperties": false,
                },
                "best-to-worst": {
                    "type": "array", "items": { "type": "string", "enum": aliases.shown() },
                    "minItems": aliases.len(), "maxItems": aliases.len(),
                },
            },
            "required": ["scores", "best-to-worst"],
            "additionalProperties": false,
        })
    }

    async fn exchange(
        &self,
        request: &JudgeRequest,
        body: Vec<u8>,
        aliases: Option<&AliasMap>,
        sent: Instant,
    ) -> Result<Measured, Trouble> {
        let network = |error: reqwest::Error| Trouble::new("network", cause(&error));
        let post = || {
            let post = self.request(reqwest::Method::POST, &self.url);
            post.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone()).send()
        };
        let response = match post().await {
            // A server may close a kept connection at the moment at which it is used again: that is no failure of its own.
            Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => post().await,
            outcome => outcome,
        }
        .map_err(network)?;
        let status = response.status();
        if !status.is_success() {
            let body = whole(response).await.unwrap_or_default();
            return Err(reply::refused(status.as_u16(), &body));
        }
        match (self.api, aliases) {
            (Api::Openai, Some(aliases)) => self.completion(response, aliases, sent).await,
            (Api::Reference, _) => reply::of_reference(&whole(response).await?, request),
            _ => reply::of_dicast(&whole(response).await?, request),
        }
    }

    /// Reads a chat completion, streamed or not.
    async fn completion(&self, mut response: Response, aliases: &AliasMap, sent: Instant) -> Result<Measured, Trouble> {
        let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let mut answer = Answer::default();
        if kind.is_some_and(|kind| kind.starts_with("application/json")) {
            let body: Value = serde_json::from_slice(&whole(response).await?)
                .map_err(|error| Trouble::new("network", format!("the answer is not JSON: {error}")))?;
            answer.piece(&body, "message", Instant::now())?;
            // It came as a whole, so it is not known when its parts began.
            (answer.first, answer.first_of_content) = (None, None);
        } else {
            while let Some(bytes) = response.chunk().await.map_err(|error| Trouble::new("network", cause(&error)))? {
                answer.push(&bytes, Instant::now())?;
            }
        }
        let ended = Instant::now();
        if !answer.finished {
            return Err(Trouble::new("network", "the answer ended without a finish_reason"));
        }
        let Answer { reasoning, content, usage, first, first_of_content, .. } = answer;
        let policy = &self.config.verdict;
        let verdict = if reasoning.is_empty() {
            verdict::parse(&content, aliases, &self.profile, policy)
        } else {
            verdict::parse_parts(content.clone(), &reasoning, &content, aliases, &self.profile, policy)
        }?;
        let mut measured = Measured { usage, ..Measured::from(&verdict) };
        let wrote = first_of_content.map(|began| ended - began);
        measured.first_token = first.map(|first| first - sent);
        measured.phases = [None; super::PHASES.len()];
        // first_token, reasoning, verdict
        measured.phases[2] = measured.first_token;
        if let (Some(first), Some(content)) = (first, first_of_content) {
            measured.phases[3] = Some(content - first);
            measured.phases[4] = wrote;
        }
        Ok(measured)
    }
}

/// The whole body of an answer.
async fn whole(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| Trouble::new("network", cause(&error)))? {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ANSWER {
            return Err(Trouble::new("too_large", format!("the answer has more than {MAX_ANSWER} bytes")));
        }
    }
    Ok(body)
}

/// The root cause of an error: reqwest's own message only names the URL.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
