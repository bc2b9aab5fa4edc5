//! Settings of the server: who may call it, how often, and which routes for trainers there are.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::config::{JudgeConfig, Secret};
use crate::error::{Error, ErrorKind, Result};

use super::jobs::JobsConfig;
use super::trainers::{RouteConfig, check_all};

/// Settings of the server: the object `"server"` of a configuration file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// The judge of requests that name none. Default: the first one.
    pub default_judge: Option<String>,
    /// Load each judge when its first request arrives. Otherwise all are loaded when the server starts.
    pub load_on_demand: bool,
    /// Unload a judge that has had no request for this many seconds; 0: never.
    pub unload_after_s: u64,
    /// Most judgments that one judge works on at once; more wait in the fair queue. 0: twice what its engine decodes at once.
    pub max_running: usize,
    /// Most judgments of one judge that wait; more are refused as overloaded, with status 429.
    pub max_waiting: usize,
    /// Most requests in one batch.
    pub max_batch: usize,
    /// Most bytes of one request's body.
    pub max_body_bytes: usize,
    /// Most bytes of all bodies that are held at once; more are refused as overloaded.
    pub max_held_bytes: usize,
    /// Most connections at once. Above it, the connection that was idle longest is closed; if none is idle, new ones are
    /// refused with status 503.
    pub max_connections: usize,
    /// How long a connection may take to send the head of a request, including the idle time before it.
    pub header_timeout_ms: u64,
    /// How long a client may take to send a body, plus 1 s for each 32 KiB received.
    pub body_timeout_ms: u64,
    /// A client that reads nothing of its answer for this long is dropped.
    pub write_timeout_ms: u64,
    /// How long requests may go on after SIGTERM.
    pub drain_ms: u64,
    /// Host names by which clients may call this server, besides `localhost`, addresses, and the name it listens on. Only used
    /// without keys: it keeps web pages from reaching the server through a host name of their own.
    pub hosts: Vec<String>,
    /// Origins of web pages that may call the server (CORS), such as `https://app.example`. None by default.
    pub cors: Vec<String>,
    /// Clients that may call the server, each with a key. None: everybody may, and the server listens only on loopback.
    pub keys: Vec<KeyConfig>,
    /// A file with keys, one on each line: `name:key`. Lines that begin with # are comments.
    pub keys_file: Option<PathBuf>,
    /// Serve without keys on an address that is not loopback.
    pub anonymous: bool,
    /// Serve https.
    pub tls: Option<TlsConfig>,
    /// Jobs.
    pub jobs: JobsConfig,
    /// Routes for trainers.
    pub routes: Vec<RouteConfig>,
    /// The principle of `/v1/rerank`, if a request gives none.
    pub rerank_principle: String,
    /// How long the answer to a request with an `Idempotency-Key` is kept, in seconds; 0: not at all.
    pub idempotency_s: u64,
    /// Most bytes of such answers that are kept.
    pub idempotency_bytes: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            default_judge: None,
            load_on_demand: false,
            unload_after_s: 0,
            max_running: 0,
            max_waiting: 4096,
            max_batch: 4096,
            max_body_bytes: 16 << 20,
            max_held_bytes: 512 << 20,
            max_connections: 8192,
            header_timeout_ms: 30_000,
            body_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            drain_ms: 30_000,
            hosts: Vec::new(),
            cors: Vec::new(),
            keys: Vec::new(),
            keys_file: None,
            anonymous: false,
            tls: None,
            jobs: JobsConfig::default(),
            routes: Vec::new(),
            rerank_principle: "Prefer the document that holds what the query asks for, and holds it correctly."
                .to_owned(),
            idempotency_s: 600,
            idempotency_bytes: 64 << 20,
        }
    }
}

/// How soon the judgments of a key start if several keys have waiting judgments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Before the others, for example for people who wait.
    High,
    /// The default.
    #[default]
    Normal,
    /// After the others; but every eighth judgment is one of these if some wait.
    Low,
}

/// One client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// Its name, in logs and metrics.
    pub name: String,
    /// The key itself. It is better not to write it into the file: see the next three settings.
    #[serde(deserialize_with = "secret", skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// The environment variable that holds the key.
    pub env: Option<String>,
    /// The file that holds the key.
    pub file: Option<PathBuf>,
    /// The SHA-256 of the key, in hexadecimal.
    pub sha256: Option<String>,
    /// Most judgments per minute; 0: no limit.
    pub per_minute: u32,
    /// Most judgments at once; 0: as many as in a minute.
    pub burst: u32,
    /// How soon its judgments start.
    pub priority: Priority,
}

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// A file with the certificate and those that lead to a root, in PEM.
    pub certificate: PathBuf,
    /// A file with its private key, in PEM.
    pub key: PathBuf,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

/// What a configuration file of the server holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerFile {
    /// Its object `"server"`.
    pub server: ServerConfig,
    /// The judges of its object `"judges"`, by name, in order.
    pub judges: Vec<(String, JudgeConfig)>,
    /// The rest: the configuration of the one judge of a file without `"judges"`. May lack its model.
    pub judge: JudgeConfig,
}

impl ServerFile {
    /// Reads a file: the configuration of a judge, or of the reference system, with the further keys `"server"` and `"judges"`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key.
    pub fn read(json: &[u8]) -> Result<Self> {
        let mut rest: Map<String, Value> =
            crate::json::read(json).map_err(|error| invalid(format!("the configuration is not valid: {error}")))?;
        let server = match rest.shift_remove("server") {
            None => ServerConfig::default(),
            Some(server) => crate::json::read(server.to_string().as_bytes())
                .map_err(|error| invalid(format!("server: {}", without_place(&error))))?,
        };
        let judges = match rest.shift_remove("judges") {
            None => Vec::new(),
            Some(Value::Object(judges)) => judges
                .into_iter()
                .map(|(name, judge)| {
                    let config = JudgeConfig::read(judge.to_string().as_bytes());
                    config.map(|config| (name.clone(), config)).map_err(|error| error.context(format!("judges.{name}")))
                })
                .collect::<Result<_>>()?,
            Some(_) => return Err(invalid("judges is an object {name: configuration of the judge}")),
        };
        if judges.iter().any(|(name, _)| name.is_empty() || name.len() > 128 || name.chars().any(char::is_control)) {
            return Err(invalid("judges: the name of a judge has 1 to 128 characters"));
        }
        let judge = if rest.is_empty() {
            JudgeConfig::default()
        } else {
            JudgeConfig::read(Value::Object(rest).to_string().as_bytes())?
        };
        if !judges.is_empty() && judge != JudgeConfig::default() {
            return Err(invalid(
                "the configuration has \"judges\", and settings of a judge beside it: move these settings into \"judges\"",
            ));
        }
        server.check()?;
        Ok(Self { server, judges, judge })
    }
}

/// The error without line and column, which count within a part of the file.
fn without_place(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let whole = error.to_string();
    whole.strip_suffix(&place).unwrap_or(&whole).to_owned()
}

impl ServerConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] naming the key and the range.
    pub fn check(&self) -> Result<()> {
        let ranges = [
            ("max_waiting", self.max_waiting, 1, 1_000_000),
            ("max_batch", self.max_batch, 1, 1_000_000),
            ("max_body_bytes", self.max_body_bytes, 1024, 1 << 30),
            ("max_held_bytes", self.max_held_bytes, self.max_body_bytes, 1 << 40),
            ("max_connections", self.max_connections, 1, 1_000_000),
            ("max_running", self.max_running, 0, 1_000_000),
        ];
        for (key, value, min, max) in ranges {
            if value < min || value > max {
                return Err(invalid(format!("server.{key} is {value}: must be from {min} to {max}")));
            }
        }
        let times = [
            ("header_timeout_ms", self.header_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
            ("write_timeout_ms", self.write_timeout_ms),
        ];
        for (key, value) in times {
            if !(1..=86_400_000).contains(&value) {
                return Err(invalid(format!("server.{key} is {value}: must be from 1 to 86400000")));
            }
        }
        if self.drain_ms > 86_400_000 || self.idempotency_s > 86_400 || self.unload_after_s > 31_536_000 {
            return Err(invalid(
                "server.drain_ms, idempotency_s and unload_after_s are at most a day, a day and a year",
            ));
        }
        if let Some(origin) = self.cors.iter().find(|origin| !origin.contains("://") || origin.ends_with('/')) {
            return Err(invalid(format!(
                "server.cors names {origin:?}: an origin is written as https://app.example, with nothing after it"
            )));
        }
        for (index, key) in self.keys.iter().enumerate() {
            let sources = [key.key.is_some(), key.env.is_some(), key.file.is_some(), key.sha256.is_some()];
            if sources.into_iter().filter(|there| *there).count() != 1 {
                return Err(invalid(format!(
                    "server.keys: the key {:?} needs one of key, env, file and sha256",
                    if key.name.is_empty() { (index + 1).to_string() } else { key.name.clone() }
                )));
            }
        }
        self.jobs.check()?;
        check_all(&self.routes)
    }
}
