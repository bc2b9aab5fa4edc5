//! Settings of the remote engine.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Kind;
use super::table::{Setting, settings, whole, words, zero_or};
use crate::error::{Error, ErrorKind, Result};

words! {
    /// What is sent to a server of the remote engine.
    pub enum RemoteInput {
        /// Tokens if `remote.tokenizer` is set or the server is a llama-server; else messages.
        #[default]
        Auto = "auto",
        /// Token ids: the judge's own template and tokenizer.
        Tokens = "tokens",
        /// The messages of a chat: the server renders them.
        Messages = "messages",
    }
}

words! {
    /// How a server is asked for a verdict whose layout is known.
    pub enum RemoteVerdict {
        /// By choices where the server gives probabilities and is known to keep what it has computed of a prompt; else by a grammar.
        #[default]
        Auto = "auto",
        /// In one request, under a grammar or a schema.
        Grammar = "grammar",
        /// In a request of one token for each score and each place of the ranking, wherever the server gives probabilities.
        Choices = "choices",
    }
}

words! {
    /// What to do with text that looks like a control token if a server tokenizes messages itself.
    pub enum ControlTokens {
        /// The request is refused.
        #[default]
        Refuse = "refuse",
        /// It is sent, although the server may take it for a control token.
        Pass = "pass",
    }
}

/// Texts that are never shown: keys, and headers that may hold some.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Makes a list of secrets.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// The texts. Not to be logged.
    pub fn expose(&self) -> &[String] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} hidden]", self.0.len())
    }
}

/// Serialized with the secrets, so that a configuration that was written can be read again.
impl Serialize for Secrets {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Setting for Secrets {
    fn from_json(value: &Value) -> Option<Self> {
        Setting::from_json(value).map(Self)
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The text. Not to be logged.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Setting for Secret {
    fn from_json(value: &Value) -> Option<Self> {
        Setting::from_json(value).map(Self)
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

settings! {
    /// Settings of the remote engine.
    pub struct RemoteConfig in "remote" {
        /// URLs of further servers of the same model, besides the one that `model` names.
        endpoints: Vec<String> = Vec::new(), Kind::Texts;
        /// A file with the URLs of servers, one on a line. It is read again when it changes: new servers get work, and removed
        /// ones finish the work that they have.
        endpoints_file: Option<PathBuf> = None, Kind::Path;
        /// The name of the model on the servers. Not set: the first one that a server lists.
        model: Option<String> = None, Kind::Text;
        /// Keys for the servers, used in turn.
        api_keys: Secrets = Secrets::default(), Kind::Secrets;
        /// Each server has its own key: the first one is for `model`, the next ones for `remote.endpoints`. Otherwise every
        /// server sees every key.
        key_per_endpoint: bool = false, Kind::Switch;
        /// A file with keys, one on a line, so that the configuration holds none.
        api_keys_file: Option<PathBuf> = None, Kind::Path;
        /// Further headers of every request, each as `Name: value`.
        headers: Secrets = Secrets::default(), Kind::Secrets;
        /// A proxy for all requests: the URL of an HTTP or HTTPS proxy. Not set: as `HTTPS_PROXY` and similar variables say.
        proxy: Option<Secret> = None, Kind::Text;
        /// A file with certificates (PEM) that are trusted besides the usual ones.
        ca_file: Option<PathBuf> = None, Kind::Path;
        /// Use HTTP/2 over plain http too, without negotiation.
        http2: bool = false, Kind::Switch;
        /// What is sent to a server: token ids or messages.
        input: RemoteInput = RemoteInput::Auto, Kind::Choice(RemoteInput::WORDS);
        /// The folder with the model's `tokenizer.json` and `tokenizer_config.json`. Prompts are then made by Dicast.
        tokenizer: Option<PathBuf> = None, Kind::Path;
        /// How a server is asked for the verdict: in one request, or token by token for the choices in it.
        verdict: RemoteVerdict = RemoteVerdict::Auto, Kind::Choice(RemoteVerdict::WORDS);
        /// Ask for streamed answers, so that `remote.idle_timeout_ms` notices a server that falls silent. Answers of at most 256
        /// tokens that nobody listens to are not streamed anyway. llama-server always streams.
        stream: bool = true, Kind::Switch;
        /// What to do with text that looks like a control token if the server tokenizes messages itself.
        control_tokens: ControlTokens = ControlTokens::Refuse, Kind::Choice(ControlTokens::WORDS);
        /// How many alternatives with their probabilities to ask a server for at each token of a verdict. 0: no distributions.
        top_logprobs: u32 = 20, whole(0, 1000);
        /// Most requests that one server has at once.
        num_workers: u32 = 64, whole(1, 16384);
        /// Most requests that are started at one server within `remote.request_limit_period_ms`. 0: no limit.
        request_limit: u32 = 0, whole(0, 1_000_000);
        /// The period of `remote.request_limit`, in milliseconds.
        request_limit_period_ms: u64 = 60_000, whole(1, 86_400_000);
        /// How often a failed request is sent again, within its deadline.
        max_retries: u32 = 3, whole(0, 100);
        /// Milliseconds before the first retry; each further retry waits twice as long, up to a minute, less a random part.
        retry_delay_ms: u64 = 250, whole(1, 60_000);
        /// Failures in a row after which a server gets no work for a while.
        max_failures: u32 = 5, whole(1, 1000);
        /// Milliseconds between two checks of a server's health. 0: none.
        health_period_ms: u64 = 10_000, zero_or(100, 3_600_000);
        /// Milliseconds after which a request without an answer is also sent to a second server. 0: never.
        hedge_ms: u64 = 0, zero_or(1, 3_600_000);
        /// Milliseconds within which a connection must be made.
        connect_timeout_ms: u64 = 10_000, whole(1, 600_000);
        /// Milliseconds after which a server that has sent nothing is given up. The wait for the first token counts too.
        idle_timeout_ms: u64 = 120_000, whole(1, 86_400_000);
        /// Most bytes of one answer.
        max_answer_bytes: u64 = 64 << 20, whole(1 << 16, 1 << 32);
    }
}

impl RemoteConfig {
    pub(super) fn check(&self, model: &str) -> Result<()> {
        self.check_ranges()?;
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        for endpoint in self.endpoints.iter().map(String::as_str).chain(is_url(model).then_some(model)) {
            if names_user(endpoint) {
                return wrong(
                    "the URL of a server may hold no name or password: use remote.api_keys or remote.headers".into(),
                );
            }
            if !is_url(endpoint) {
                return wrong(format!(
                    "remote.endpoints holds {endpoint:?}: a URL must begin with http:// or https://"
                ));
            }
        }
        for (place, header) in self.headers.expose().iter().enumerate() {
            let name = header.split_once(':').map(|(name, _)| name.trim());
            if name.is_none_or(|name| name.is_empty() || !name.is_ascii() || name.contains(char::is_whitespace)) {
                return wrong(format!("remote.headers: entry {} is not a header: write \"Name: value\"", place + 1));
            }
        }
        for (place, key) in self.api_keys.expose().iter().enumerate() {
            if key.is_empty() || key.chars().any(|letter| !letter.is_ascii_graphic()) {
                return wrong(format!(
                    "remote.api_keys: key {} is empty or holds blanks or other invalid characters",
                    place + 1
                ));
            }
        }
        if self.input == RemoteInput::Messages && self.tokenizer.is_some() {
            return wrong("remote.input is messages, but remote.tokenizer is set: take one of them out".into());
        }
        Ok(())
    }
}

/// Whether a name is the URL of a server.
pub(crate) fn is_url(name: &str) -> bool {
    name.starts_with("http://") || name.starts_with("https://")
}

/// Whether a URL holds a user name or password, before an `@`.
fn names_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@')
}

#[cfg(test)]
mod tests {
    use crate::config::JudgeConfig;
    use crate::error::ErrorKind;

    #[test]
    fn settings_of_servers_are_checked() {
        let read = |remote: &str| JudgeConfig::from_json(&format!("{{\"model\": \"http://x\", \"remote\": {remote}}}"));
        let full = r#"{"endpoints": ["http://a:1", "https://b/v1"], "api_keys": ["k1", "k2"], "headers": ["X-Team: judges"],
            "input": "messages", "num_workers": 256, "request_limit": 100, "hedge_ms": 500, "top_logprobs": 0}"#;
        assert_eq!(read(full).unwrap().remote.endpoints.len(), 2);
        for (bad, word) in [
            (r#"{"endpoints": ["ftp://a"]}"#, "ftp://a"),
            (r#"{"endpoints": "http://a"}"#, "must be a list of texts"),
            (r#"{"endpoints": ["http://u:p@a/v1"]}"#, "no name or password"),
            (r#"{"headers": ["X-Team"]}"#, "entry 1 is not a header"),
            (r#"{"api_keys": ["a b"]}"#, "key 1"),
            (r#"{"num_workers": 0}"#, "num_workers"),
            (r#"{"input": "text"}"#, "auto, tokens or messages"),
            (r#"{"input": "messages", "tokenizer": "folder"}"#, "remote.tokenizer"),
        ] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
            assert!(error.message().contains(word), "{error}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let json = r#"{"model": "http://x", "remote": {"api_keys": ["sesame"], "headers": ["Authorization: sesame"],
            "proxy": "http://me:sesame@proxy"}}"#;
        let config = JudgeConfig::from_json(json).unwrap();
        assert!(!format!("{config:?}").contains("sesame"), "{config:?}");
        for bad in [r#"{"api_keys": ["ses ame"]}"#, r#"{"headers": ["ses ame"]}"#, r#"{"api_keys": "ses ame"}"#] {
            let error = JudgeConfig::from_json(&format!("{{\"model\": \"http://x\", \"remote\": {bad}}}")).unwrap_err();
            assert!(!error.message().contains("ses ame"), "{error}");
        }
    }
}
