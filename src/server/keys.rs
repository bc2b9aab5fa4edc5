//! Clients: API keys, kept as hashes, and the rate of each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};

use super::config::{KeyConfig, Priority, ServerConfig};

/// Bytes of the shortest key that is accepted: shorter ones can be guessed.
const SHORTEST: usize = 8;

/// How clients write name and password; some leave the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A client.
pub(crate) struct Client {
    /// Its place in the list, which the fair queue goes by.
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) priority: Priority,
    /// Whether this stands for its jobs, which wait as long as it takes.
    pub(super) is_job: bool,
    hash: [u8; 32],
    bucket: Option<Mutex<Bucket>>,
}

/// The clients of a server.
pub(crate) struct Clients {
    clients: Vec<std::sync::Arc<Client>>,
}

impl Clients {
    /// Reads all keys: those of the configuration, and those of the file that it names.
    pub(super) fn read(config: &ServerConfig) -> Result<Self> {
        let mut clients = Vec::new();
        for key in &config.keys {
            let hash = hash_of(key)?;
            clients.push((key.clone(), hash));
        }
        if let Some(path) = &config.keys_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| invalid(format!("server.keys_file {}: {error}", path.display())))?;
            let lines = text.lines().map(str::trim).enumerate();
            for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
                let (name, key) = line.split_once(':').unwrap_or(("", line));
                let place = format!("server.keys_file {}: line {}", path.display(), index + 1);
                let hash = hash(key.trim()).map_err(|error| error.context(place))?;
                clients.push((KeyConfig { name: name.trim().to_owned(), ..KeyConfig::default() }, hash));
            }
            if clients.is_empty() {
                return Err(invalid(format!("server.keys_file {}: it holds no key", path.display())));
            }
        }
        let clients: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(index, (key, hash))| {
                let number = index + 1;
                let name = if key.name.is_empty() { format!("key-{number}") } else { key.name.clone() };
                let burst = if key.burst == 0 { key.per_minute } else { key.burst };
                let bucket =
                    (key.per_minute > 0).then(|| Mutex::new(Bucket::new(key.per_minute, burst, Instant::now())));
                std::sync::Arc::new(Client { number, name, priority: key.priority, is_job: false, hash, bucket })
            })
            .collect();
        for (index, client) in clients.iter().enumerate() {
            if clients[..index].iter().any(|other| other.hash == client.hash) {
                return Err(invalid(format!("server.keys: {} has the same key as another client", client.name)));
            }
            if clients[..index].iter().any(|other| other.name == client.name) {
                return Err(invalid(format!("server.keys: two keys have the name {}", client.name)));
            }
        }
        Ok(Self { clients })
    }

    /// Whether anybody may call.
    pub(crate) fn is_open(&self) -> bool {
        self.clients.is_empty()
    }

    /// The client whose key this is. All keys are compared, each in constant time.
    pub(super) fn find(&self, key: &str) -> Option<&std::sync::Arc<Client>> {
        let asked = digest(&SHA256, key.as_bytes());
        let mut found = None;
        for client in &self.clients {
            if bool::from(client.hash.ct_eq(asked.as_ref())) {
                found = Some(client);
            }
        }
        found
    }

    pub(super) fn named(&self, name: &str) -> Option<&std::sync::Arc<Client>> {
        self.clients.iter().find(|client| client.name == name)
    }
}

impl Client {
    /// The client of a server without keys.
    pub(super) fn anybody() -> Self {
        Self { number: 0, name: "-".to_owned(), priority: Priority::Normal, is_job: false, hash: [0; 32], bucket: None }
    }

    /// The client's jobs: they start after everything that somebody waits for, and were counted when they were uploaded.
    pub(super) fn jobs(&self) -> Self {
        let (number, name) = (self.number, self.name.clone());
        Self { number, name, priority: Priority::Low, is_job: true, hash: self.hash, bucket: None }
    }

    /// Takes this many judgments from the client's allowance.
    ///
    /// # Errors
    /// The seconds until the allowance is large enough.
    pub(super) fn take(&self, judgments: usize) -> std::result::Result<(), u64> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(judgments, Instant::now())
    }
}

/// A bucket of judgments that fills by the minute.
struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(per_minute: u32, burst: u32, now: Instant) -> Self {
        Self { per_second: f64::from(per_minute) / 60.0, burst: f64::from(burst), left: f64::from(burst), at: now }
    }

    fn take(&mut self, count: usize, now: Instant) -> std::result::Result<(), u64> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.at = now;
        let wanted = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        // More than fits the bucket is let through when the bucket is full, and leaves a debt; otherwise it would never fit.
        if self.left >= wanted.min(self.burst) {
            self.left -= wanted;
            return Ok(());
        }
        let missing = (wanted.min(self.burst) - self.left) / self.per_second;
        Err(Duration::from_secs_f64(missing.clamp(0.0, 86_400.0)).as_secs() + 1)
    }
}

/// The key that a request carries: `Authorization: Bearer`, the password of `Basic` (a URL `http://any:KEY@host/` makes it), or
/// `x-api-key`. ROLL has a header of its own, with a value even if nobody has set it: it counts if there is no other.
pub(super) fn carried(headers: &HeaderMap) -> Option<String> {
    if let Some(key) = headers.get("x-api-key") {
        return key.to_str().ok().map(str::to_owned);
    }
    let text = headers.get(header::AUTHORIZATION).or_else(|| headers.get("xrl-authorization"))?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASIC.decode(rest.trim()).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    None
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

fn hash(key: &str) -> Result<[u8; 32]> {
    if key.len() < SHORTEST {
        return Err(invalid(format!("a key has {SHORTEST} characters or more")));
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    Ok(hash)
}

fn hash_of(key: &KeyConfig) -> Result<[u8; 32]> {
    let name = &key.name;
    let place = |error: Error| error.context(format!("server.keys: {name}"));
    if let Some(hex) = &key.sha256 {
        let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
        let bytes = digits.filter(|digits| digits.len() == 64);
        let bytes = bytes.ok_or_else(|| place(invalid("sha256 has 64 hexadecimal digits".to_owned())))?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(bytes.chunks(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        return Ok(hash);
    }
    let text = if let Some(variable) = &key.env {
        std::env::var(variable).map_err(|_| place(invalid(format!("the environment has no {variable}"))))?
    } else if let Some(path) = &key.file {
        std::fs::read_to_string(path).map_err(|error| place(invalid(format!("{}: {error}", path.display()))))?
    } else {
        key.key.as_ref().map(Secret::expose).unwrap_or_default().to_owned()
    };
    hash(text.trim()).map_err(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_through_what_fits_and_says_how_long_the_rest_takes() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut bucket = Bucket::new(60, 10, start);
        assert_eq!(bucket.take(10, start), Ok(()));
        assert_eq!(bucket.take(1, start), Err(2));
        assert_eq!(bucket.take(3, after(3)), Ok(()));
        assert_eq!(bucket.take(1, after(3)), Err(2));
        // A request that never fits waits for a full bucket, and is paid for afterwards.
        assert_eq!(bucket.take(20, after(13)), Ok(()));
        assert_eq!(bucket.take(1, after(14)), Err(11));
    }

    #[test]
    fn a_key_is_found_in_any_of_its_headers() {
        let header = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            carried(&headers)
        };
        assert_eq!(header("authorization", "Bearer sesame-open").as_deref(), Some("sesame-open"));
        assert_eq!(header("authorization", "bearer  sesame-open").as_deref(), Some("sesame-open"));
        assert_eq!(header("authorization", "Basic dXNlcjpzZXNhbWUtb3Blbg==").as_deref(), Some("sesame-open"));
        assert_eq!(header("x-api-key", "sesame-open").as_deref(), Some("sesame-open"));
        assert_eq!(header("xrl-authorization", "Bearer sesame-open").as_deref(), Some("sesame-open"));
        for wrong in ["Basic ?", "Basic YQ", "Digest x", "Bearer"] {
            assert_eq!(header("authorization", wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_text_or_its_hash_and_short_or_double_ones_are_refused() {
        let key = |name: &str, key: &str| KeyConfig {
            name: name.to_owned(),
            key: Some(Secret::new(key)),
            ..KeyConfig::default()
        };
        let hex = "41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";
        let hashed = KeyConfig { name: "hashed".into(), sha256: Some(hex.into()), ..KeyConfig::default() };
        let config = |keys| ServerConfig { keys, ..ServerConfig::default() };
        let clients = Clients::read(&config(vec![key("a", "password"), hashed])).unwrap();
        assert_eq!(clients.find("password").unwrap().name, "a");
        assert!(clients.find("passwords").is_none() && clients.find("").is_none());
        // The SHA-256 of "open sesame".
        assert_eq!(clients.find("open sesame").map(|client| client.number), Some(2));
        assert!(Clients::read(&config(vec![key("a", "short")])).is_err());
        let double = Clients::read(&config(vec![key("a", "password"), key("b", "password")]));
        assert!(double.err().unwrap().message().contains('b'));
    }
}
