//! The configuration of the reference system (`rewardanything serve -c config.json`), read as one of ours. Each of its keys
//! takes effect or is refused by name.

use serde_json::{Map, Value, json};

use super::JudgeConfig;
use super::table::shown;
use crate::error::{Error, ErrorKind, Result};

/// The reference's default timeout of a request in seconds, and its other defaults.
const TIMEOUT: f64 = 120.0;

/// Whether a configuration is one of the reference system.
pub(super) fn is_one(config: &Map<String, Value>) -> bool {
    ["api_base", "api_model", "api_key"].iter().any(|key| config.contains_key(*key))
}

/// Reads it.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for a key that is not known, is refused, or has a value of another type.
pub(super) fn read(config: &Map<String, Value>) -> Result<JudgeConfig> {
    let mut ours = json!({ "options": {}, "remote": { "num_workers": 8, "request_limit": 100 } });
    let timeout = config.get("api_timeout").filter(|value| !value.is_null());
    let seconds = timeout
        .map_or(Some(TIMEOUT), Value::as_f64)
        .ok_or_else(|| wrong("api_timeout", timeout, "a number of seconds"))?;
    ours["options"]["timeout_ms"] = milliseconds("api_timeout", seconds)?;
    let texts = |key: &str| -> Result<Vec<String>> {
        let value = config.get(key);
        let list = match value {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::String(text)) => Some(vec![text.clone()]),
            Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        let hidden = if key == "api_key" { None } else { value };
        list.ok_or_else(|| wrong(key, hidden, "a text or a list of texts"))
    };
    let (bases, keys, proxies) = (texts("api_base")?, texts("api_key")?, texts("api_proxy")?);
    let Some((first, others)) = bases.split_first() else {
        return Err(refused("api_base is missing: name the URL of the server"));
    };
    ours["model"] = first.as_str().into();
    if bases.len() > 1 && keys.len() != bases.len() {
        return Err(refused(&format!(
            "api_base has {} URLs, but api_key has {} keys: they go in pairs",
            bases.len(),
            keys.len()
        )));
    }
    ours["remote"]["endpoints"] = others.into();
    ours["remote"]["key_per_endpoint"] = (bases.len() > 1).into();
    ours["remote"]["api_keys"] = keys.into();
    match proxies.as_slice() {
        [] => {}
        [proxy, rest @ ..] if rest.iter().all(|other| other == proxy) => {
            ours["remote"]["proxy"] = proxy.as_str().into();
        }
        _ => return Err(refused("api_proxy names several proxies: only one proxy for all servers is supported")),
    }
    for (key, value) in config {
        if value.is_null() {
            continue;
        }
        let copied =
            |wanted: bool, what: &str| if wanted { Ok(value.clone()) } else { Err(wrong(key, Some(value), what)) };
        match key.as_str() {
            // Read above, or without effect here.
            "api_base" | "api_key" | "api_proxy" | "api_timeout" | "name" => {}
            "api_model" => ours["remote"]["model"] = copied(value.is_string(), "a text")?,
            "api_max_retries" => ours["remote"]["max_retries"] = copied(value.is_u64(), "a whole number")?,
            "num_workers" => ours["remote"]["num_workers"] = copied(value.is_u64(), "a whole number")?,
            "request_limit" => ours["remote"]["request_limit"] = copied(value.is_u64(), "a whole number")?,
            "request_limit_period" => {
                let seconds = value.as_f64().ok_or_else(|| wrong(key, Some(value), "a number of seconds"))?;
                ours["remote"]["request_limit_period_ms"] = milliseconds(key, seconds)?;
            }
            "max_error_count" => ours["remote"]["max_failures"] = copied(value.is_u64(), "a whole number")?,
            "generation_config" => {
                let sampling = value.as_object().ok_or_else(|| wrong(key, Some(value), "an object"))?;
                generation(sampling, &mut ours)?;
            }
            // It says whether each answer is written to a file. Here the verdict holds the raw answer.
            "dump_individual_rsp" if value.is_boolean() => {
                if value == true {
                    return Err(refused(
                        "dump_individual_rsp is true, but no file is written for each answer: set it to false; every verdict \
                         has the raw answer under \"raw\"",
                    ));
                }
            }
            "dump_individual_rsp" => return Err(wrong(key, Some(value), "true or false")),
            other => return Err(refused(&format!("{other}: this key of a reference configuration is not known"))),
        }
    }
    let config: JudgeConfig = serde_json::from_value(ours).map_err(|error| refused(&error.to_string()))?;
    config.check()?;
    Ok(config)
}

/// The fields of `OpenAI`'s API.
fn generation(sampling: &Map<String, Value>, ours: &mut Value) -> Result<()> {
    for (key, value) in sampling {
        match key.as_str() {
            "temperature" | "top_p" | "top_k" | "seed" => ours["options"][key.as_str()] = value.clone(),
            // The verdict has its own budget.
            "max_tokens" | "max_completion_tokens" | "max_new_tokens" => {
                ours["options"]["max_reasoning_tokens"] = value.clone();
            }
            "n" if *value == 1 => {}
            "stream" => {}
            other => {
                return Err(refused(&format!(
                    "generation_config.{other} is not supported: only temperature, top_p, top_k, seed, max_tokens and n = 1 are"
                )));
            }
        }
    }
    Ok(())
}

fn milliseconds(key: &str, seconds: f64) -> Result<Value> {
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err(refused(&format!("{key} is {seconds}: must be from 0.001 to 86400 seconds")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within a day")]
    let whole = (seconds * 1000.0).round() as u64;
    Ok(whole.into())
}

fn wrong(key: &str, value: Option<&Value>, must: &str) -> Error {
    let value = value.map(|value| format!(" is {}", shown(value))).unwrap_or_default();
    refused(&format!("{key}{value}: must be {must}"))
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("the configuration of the reference system is not valid: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_configuration_is_read_as_it_is() {
        let json = r#"{"api_key": ["k1", "k2"], "api_model": "judge", "api_base": ["http://a/v1", "http://b/v1"], "api_proxy": null,
            "api_timeout": 30, "api_max_retries": 5, "generation_config": {"temperature": 0.1, "top_p": 0.9, "max_tokens": 4096},
            "num_workers": 16, "request_limit": 500, "request_limit_period": 60, "max_error_count": 50,
            "dump_individual_rsp": false}"#;
        let config = JudgeConfig::from_json(json).unwrap();
        assert_eq!(
            (config.model.as_str(), config.remote.endpoints.as_slice()),
            ("http://a/v1", &["http://b/v1".to_owned()][..])
        );
        assert_eq!(config.options.timeout_ms, Some(30_000));
        assert_eq!(config.options.max_reasoning_tokens, Some(4096));
        let remote = &config.remote;
        assert!(remote.key_per_endpoint && remote.api_keys.expose() == ["k1", "k2"]);
        assert_eq!((remote.num_workers, remote.request_limit, remote.request_limit_period_ms), (16, 500, 60_000));
        assert_eq!((remote.max_retries, remote.max_failures, remote.model.as_deref()), (5, 50, Some("judge")));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_name() {
        for (more, word) in [
            (r#""dump_individual_rsp": true"#, "dump_individual_rsp"),
            (r#""generation_config": {"stop": ["x"]}"#, "generation_config.stop"),
            (r#""generation_config": {"n": 2}"#, "generation_config.n"),
            (r#""api_proxy": ["http://p", "http://q"]"#, "api_proxy"),
            (r#""api_timeout": "long""#, "api_timeout"),
            (r#""output_path": "/tmp""#, "output_path"),
            (r#""num_workers": 0"#, "num_workers"),
        ] {
            let error =
                JudgeConfig::from_json(&format!("{{\"api_base\": \"http://a\", \"api_key\": \"sesame\", {more}}}"))
                    .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.message().contains(word) && !error.message().contains("sesame"), "{error}");
        }
        let error = JudgeConfig::from_json(r#"{"api_base": ["http://a", "http://b"], "api_key": "k"}"#).unwrap_err();
        assert!(error.message().contains("pairs"), "{error}");
        assert!(JudgeConfig::from_json(r#"{"api_model": "m"}"#).unwrap_err().message().contains("api_base"));
    }
}
