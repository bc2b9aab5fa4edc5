//! Which servers there are, and which keys they get.

use std::path::Path;
use std::sync::Arc;

use reqwest::header::HeaderValue;

use crate::config::{RemoteConfig, is_url};
use crate::error::{Error, ErrorKind, Result};
use crate::files::read_bounded;

use super::http::bearer;
use super::pool::Endpoint;

const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most servers of one judge.
const MAX_ENDPOINTS: usize = 1024;

/// The URL of a server without `/v1` and without a slash at the end.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] if it is no URL of a server, or if it holds a password.
pub(super) fn root(url: &str) -> Result<String> {
    let wrong = |what: &str| Err(Error::new(ErrorKind::InvalidConfig, format!("{}: {what}", without_user(url))));
    if !is_url(url) {
        return wrong("the URL of a server must begin with http:// or https://");
    }
    let Ok(parsed) = reqwest::Url::parse(url) else { return wrong("this is not a URL") };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return wrong("a URL must not hold a user name or password: use remote.api_keys or remote.headers");
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return wrong("the URL of a server must not have ? or #");
    }
    let path = parsed.path().trim_end_matches('/');
    let path = path.strip_suffix("/chat/completions").or_else(|| path.strip_suffix("/completions")).unwrap_or(path);
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    let origin = parsed.origin().ascii_serialization();
    Ok(format!("{origin}{path}"))
}

/// A URL without the part before its `@`.
fn without_user(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

/// The keys of the configuration and of its file.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for a file that cannot be read or a key that no header can hold. No key is shown.
pub(super) fn keys(config: &RemoteConfig) -> Result<Vec<HeaderValue>> {
    let mut keys = config.api_keys.expose().to_vec();
    if let Some(path) = &config.api_keys_file {
        keys.extend(lines(path, "remote.api_keys_file")?);
    }
    keys.iter().map(|key| bearer(key)).collect()
}

/// The lines of a file that are neither empty nor comments.
fn lines(path: &Path, setting: &str) -> Result<Vec<String>> {
    let fail = |what: String| Error::new(ErrorKind::InvalidConfig, format!("{setting} {}: {what}", path.display()));
    let bytes = read_bounded(path, MAX_FILE_BYTES).map_err(|error| fail(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("is not UTF-8".into()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

/// The URLs of all servers: the model's, those of the configuration, those of its file.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming what is wrong.
pub(super) fn roots(model: &str, config: &RemoteConfig) -> Result<Vec<String>> {
    let mut roots = vec![root(model)?];
    for url in &config.endpoints {
        roots.push(root(url).map_err(|error| error.context("remote.endpoints"))?);
    }
    if let Some(path) = &config.endpoints_file {
        for line in lines(path, "remote.endpoints_file")? {
            roots.push(root(&line).map_err(|error| error.context(path.display()))?);
        }
    }
    let mut seen = std::collections::HashSet::new();
    roots.retain(|root| seen.insert(root.clone()));
    if roots.len() > MAX_ENDPOINTS {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("{} servers are named; at most {MAX_ENDPOINTS} can be", roots.len()),
        ));
    }
    Ok(roots)
}

/// The servers. A server that is already in `known` is kept as it is.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming what is wrong.
pub(super) fn all(model: &str, config: &RemoteConfig, known: &[Arc<Endpoint>]) -> Result<Vec<Arc<Endpoint>>> {
    let keys = keys(config)?;
    let roots = roots(model, config)?;
    if config.key_per_endpoint && keys.len() < roots.len() {
        return Err(Error::new(
            ErrorKind::InvalidConfig,
            format!("remote.key_per_endpoint is set, but there are {} keys for {} servers", keys.len(), roots.len()),
        ));
    }
    let endpoint = |(place, root): (usize, String)| {
        if let Some(endpoint) = known.iter().find(|endpoint| endpoint.root == root) {
            return endpoint.clone();
        }
        let keys = if config.key_per_endpoint { vec![keys[place].clone()] } else { keys.clone() };
        Endpoint::new(root, keys, config)
    };
    Ok(roots.into_iter().enumerate().map(endpoint).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_as_people_write_them() {
        for (url, wanted) in [
            ("http://host:8000", "http://host:8000"),
            ("http://host:8000/", "http://host:8000"),
            ("https://host/v1", "https://host"),
            ("https://host/v1/", "https://host"),
            ("https://host/team/v1/chat/completions", "https://host/team"),
            ("http://[::1]:80/v1", "http://[::1]"),
        ] {
            assert_eq!(root(url).unwrap(), wanted, "{url}");
        }
        for bad in ["host:8000", "http://", "http://u:sesame@host/v1", "http://host/?key=1", "http://host/#x"] {
            let error = root(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{bad}");
            assert!(!error.message().contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_server_that_is_known_is_kept() {
        let mut config =
            RemoteConfig { endpoints: vec!["http://b/v1".into(), "http://a/".into()], ..RemoteConfig::default() };
        let first = all("http://a", &config, &[]).unwrap();
        assert_eq!(first.iter().map(|endpoint| endpoint.root.as_str()).collect::<Vec<_>>(), ["http://a", "http://b"]);
        config.endpoints.push("http://c".into());
        let second = all("http://a", &config, &first).unwrap();
        assert!(Arc::ptr_eq(&first[1], &second[1]) && second.len() == 3);
        config.key_per_endpoint = true;
        assert!(all("http://a", &config, &[]).is_err());
    }
}
