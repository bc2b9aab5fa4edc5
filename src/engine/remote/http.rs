//! Requests to servers: bounded, without redirects, with the endpoint's key.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::config::RemoteConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::files::read_bounded;

use super::events::Events;
use super::fault::{Fault, Tried, shortened};
use super::reply::{self, Piece};

/// Largest answer other than a generation, and largest body of a refusal that is read.
const MAX_FACTS_BYTES: u64 = 16 << 20;
const MAX_REFUSAL_BYTES: u64 = 64 << 10;
/// A connection that was idle for so long is not used again. vLLM, `SGLang` and llama-server close one after five seconds, and a busy
/// machine may learn late that they did.
const KEPT: Duration = Duration::from_secs(2);
/// A server that computes slower than a token in this time is silent.
const SLOW_TOKEN: Duration = Duration::from_secs(1);
/// Time limit for a question about the server.
const FACTS_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for an answer that is not streamed; its deadline comes earlier.
const WHOLE_ANSWER: Duration = Duration::from_secs(86_400);
const MAX_CA_BYTES: u64 = 16 << 20;

/// What all requests share.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    idle: Duration,
    /// Whether answers are streamed. If not, nothing arrives before an answer is complete, and only its deadline limits
    /// the wait.
    stream: bool,
    max_answer: u64,
}

impl Http {
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a proxy, a header or a certificate that cannot be used.
    pub(super) fn new(config: &RemoteConfig) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::InvalidConfig, what);
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .pool_max_idle_per_host(config.num_workers as usize)
            .pool_idle_timeout(KEPT)
            .tcp_nodelay(true)
            .user_agent(concat!("dicast/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(config.headers.expose())?);
        if let Some(proxy) = &config.proxy {
            let proxy = reqwest::Proxy::all(proxy.expose())
                .map_err(|_| wrong("remote.proxy is not the URL of a proxy: write http://host:port".into()))?;
            builder = builder.proxy(proxy);
        }
        if let Some(path) = &config.ca_file {
            for certificate in certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        if config.http2 {
            builder = builder.http2_prior_knowledge();
        }
        let client =
            builder.build().map_err(|error| wrong(format!("no connection can be set up: {}", chain(&error))))?;
        let idle = Duration::from_millis(config.idle_timeout_ms);
        Ok(Self { client, idle, stream: config.stream, max_answer: config.max_answer_bytes })
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        key: Option<&HeaderValue>,
        body: Option<Vec<u8>>,
        patience: Duration,
    ) -> Tried<Response> {
        let mut request = self.client.request(method, url);
        if let Some(key) = key {
            request = request.header(reqwest::header::AUTHORIZATION, key.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let sent = tokio::time::timeout(patience, request.send()).await.map_err(|_| Fault::Silent(patience))?;
        let response = sent.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                Fault::Unreachable(chain(&error))
            } else {
                Fault::Broken(chain(&error))
            }
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // If the rest does not arrive, the status says enough.
        let body = self.body(response, MAX_REFUSAL_BYTES).await.unwrap_or_default();
        Err(Fault::refused(status, &body, after.as_deref()))
    }

    /// The whole body of an answer.
    async fn body(&self, mut response: Response, limit: u64) -> Tried<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk(&mut response).await? {
            body.extend_from_slice(&bytes);
            if body.len() as u64 > limit {
                return Err(Fault::TooLarge(limit));
            }
        }
        Ok(body)
    }

    async fn chunk(
        &self,
        response: &mut Response,
    ) -> Tried<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>> {
        let chunk = tokio::time::timeout(self.idle, response.chunk()).await.map_err(|_| Fault::Silent(self.idle))?;
        chunk.map_err(|error| Fault::Broken(chain(&error)))
    }

    /// Asks for JSON that is not a generation.
    pub(super) async fn ask(&self, url: &str, key: Option<&HeaderValue>, body: Option<&Value>) -> Tried<Value> {
        let answer = self.bytes(url, key, body).await?;
        serde_json::from_slice(&answer).map_err(|error| Fault::Garbage(format!("no JSON: {error}")))
    }

    /// Asks for text that is not a generation.
    pub(super) async fn text(&self, url: &str, key: Option<&HeaderValue>) -> Tried<String> {
        String::from_utf8(self.bytes(url, key, None).await?)
            .map_err(|error| Fault::Garbage(format!("no text: {error}")))
    }

    async fn bytes(&self, url: &str, key: Option<&HeaderValue>, body: Option<&Value>) -> Tried<Vec<u8>> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let body = body.map(|body| body.to_string().into_bytes());
        let once = async || {
            let response = self.send(method.clone(), url, key, body.clone(), self.idle).await?;
            self.body(response, MAX_FACTS_BYTES).await
        };
        let work = async {
            match once().await {
                // A server may close a kept connection just when it is used again.
                Err(Fault::Broken(_)) => once().await,
                outcome => outcome,
            }
        };
        tokio::time::timeout(FACTS_TIMEOUT, work).await.unwrap_or(Err(Fault::Silent(FACTS_TIMEOUT)))
    }

    /// Whether a server answers at all.
    pub(super) async fn answers(&self, url: &str, key: Option<&HeaderValue>, limit: Duration) -> bool {
        let sent = tokio::time::timeout(limit, self.send(Method::GET, url, key, None, limit)).await;
        // A server without this path still answers.
        matches!(sent, Ok(Ok(_) | Err(Fault::Refused { status: 400..=499, .. })))
    }

    /// Begins a generation. `whole`: the answer comes as a whole, with so many tokens at most.
    pub(super) async fn generate(
        &self,
        url: &str,
        key: Option<&HeaderValue>,
        body: Vec<u8>,
        whole: Option<usize>,
    ) -> Tried<Answer<'_>> {
        let patience = match whole {
            _ if !self.stream => WHOLE_ANSWER,
            Some(tokens) => {
                self.idle.saturating_add(SLOW_TOKEN.saturating_mul(u32::try_from(tokens).unwrap_or(u32::MAX)))
            }
            None => self.idle,
        };
        let response = self.send(Method::POST, url, key, Some(body), patience).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let form = match kind.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Form::Events,
            // The server does not stream.
            "application/json" => Form::Whole,
            other => {
                return Err(Fault::Garbage(format!("its type is {:?}, not text/event-stream", shortened(other))));
            }
        };
        Ok(Answer { http: self, response, form, events: Events::default(), received: 0, ended: false, finished: false })
    }
}

enum Form {
    Events,
    Whole,
}

/// A generation in progress. Dropping it closes the connection, so that the server stops.
pub(super) struct Answer<'a> {
    http: &'a Http,
    response: Response,
    form: Form,
    events: Events,
    received: u64,
    ended: bool,
    /// Whether the server said why it stopped.
    finished: bool,
}

impl Answer<'_> {
    /// Whether it came at once and not token by token.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.form, Form::Whole)
    }

    /// The next piece; `None` at the end of a complete answer.
    pub(super) async fn next(&mut self) -> Tried<Option<Piece>> {
        loop {
            let data = match self.form {
                Form::Events if self.ended => self.events.last(),
                Form::Events => self.events.next(),
                Form::Whole if self.ended => None,
                Form::Whole => Some(self.whole().await?),
            };
            if let Some(data) = data {
                let Some(piece) = reply::read(&data)? else { return self.end() };
                self.finished |= piece.finish.is_some();
                return Ok(Some(piece));
            }
            if self.ended {
                return self.end();
            }
            match self.http.chunk(&mut self.response).await? {
                Some(bytes) => {
                    self.received += bytes.len() as u64;
                    if self.received > self.http.max_answer {
                        return Err(Fault::TooLarge(self.http.max_answer));
                    }
                    self.events.push(&bytes);
                }
                None => self.ended = true,
            }
        }
    }

    async fn whole(&mut self) -> Tried<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(bytes) = self.http.chunk(&mut self.response).await? {
            body.extend_from_slice(&bytes);
            if body.len() as u64 > self.http.max_answer {
                return Err(Fault::TooLarge(self.http.max_answer));
            }
        }
        self.ended = true;
        Ok(body)
    }

    fn end(&self) -> Tried<Option<Piece>> {
        if self.finished { Ok(None) } else { Err(Fault::Broken("it ended without a finish_reason".into())) }
    }
}

/// An error with its causes. reqwest's own message names the URL, which the caller already does.
fn chain(error: &reqwest::Error) -> String {
    let text = causes(error);
    // The usual self-signed certificate: `openssl req -x509` marks it as one of an authority.
    if text.contains("CaUsedAsEndEntity") {
        return format!(
            "the server presents the certificate of an authority as its own: make a certificate for it with \
             openssl's -addext basicConstraints=critical,CA:FALSE, and name that in remote.ca_file; {}",
            shortened(&text)
        );
    }
    shortened(&text)
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let this = error.to_string();
        if !text.ends_with(&this) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&this);
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

fn headers(lines: &[String]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (place, line) in lines.iter().enumerate() {
        let read = || {
            let (name, value) = line.split_once(':')?;
            let mut value: HeaderValue = value.trim().parse().ok()?;
            value.set_sensitive(true);
            Some((name.trim().parse::<HeaderName>().ok()?, value))
        };
        let (name, value) = read().ok_or_else(|| {
            Error::new(ErrorKind::InvalidConfig, format!("remote.headers: entry {} is not a header", place + 1))
        })?;
        map.append(name, value);
    }
    Ok(map)
}

/// The header that a key goes in.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for a key with characters that no header may have; the message does not show the key.
pub(super) fn bearer(key: &str) -> Result<HeaderValue> {
    let mut value: HeaderValue = format!("Bearer {key}").parse().map_err(|_| {
        Error::new(ErrorKind::InvalidConfig, "a key for a server holds characters that a header cannot have")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>> {
    let fail =
        |what: String| Error::new(ErrorKind::InvalidConfig, format!("remote.ca_file {}: {what}", path.display()));
    let pem = read_bounded(path, MAX_CA_BYTES).map_err(|error| fail(error.to_string()))?;
    let list = reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| fail("holds no certificates in PEM".into()))?;
    if list.is_empty() { Err(fail("holds no certificates in PEM".into())) } else { Ok(list) }
}
