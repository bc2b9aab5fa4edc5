//! Answers of servers, read and checked: a verdict that is not complete is a failure, whatever the status says.

use std::time::Duration;

use dicast::JudgeRequest;
use dicast::verdict::Usage;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Measured, Trouble};

/// The failure of an answer with an error status.
pub(super) fn refused(status: u16, body: &[u8]) -> Trouble {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &json["error"];
    let kind = error["kind"].as_str().map_or_else(|| format!("http_{status}"), str::to_owned);
    let said = [&error["message"], error, &json["detail"], &json["message"]].into_iter().find_map(|text| text.as_str());
    let message = said.map_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect(), str::to_owned);
    Trouble::new(kind, format!("status {status}: {message}"))
}

fn incomplete(what: impl std::fmt::Display) -> Trouble {
    Trouble::new("invalid_verdict", format!("the answer is not a complete verdict: {what}"))
}

/// A verdict as `dicast serve` and `dicast judge` write it.
pub(super) fn of_dicast(body: &[u8], request: &JudgeRequest) -> Result<Measured, Trouble> {
    let json = parse(body)?;
    let (scores, ranking) = complete(&json["scores"], &json["ranking"], request)?;
    let timing = &json["timing_ms"];
    let phase = |key: &str| timing[key].as_f64().and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok());
    let (queue, prefill) = (phase("queue"), phase("prefill"));
    Ok(Measured {
        phases: [queue, prefill, None, phase("reasoning"), phase("verdict"), None],
        first_token: queue.zip(prefill).map(|(queue, prefill)| queue + prefill),
        usage: Usage::deserialize(&json["usage"]).unwrap_or_default(),
        scores,
        ranking,
    })
}

/// A result of the reference's server.
pub(super) fn of_reference(body: &[u8], request: &JudgeRequest) -> Result<Measured, Trouble> {
    let json = parse(body)?;
    let results = &json["results"];
    let (scores, ranking) = complete(&results["scores"], &results["best-to-worst"], request)?;
    Ok(Measured { scores, ranking, ..Measured::default() })
}

fn parse(body: &[u8]) -> Result<Value, Trouble> {
    let json: Value = serde_json::from_slice(body)
        .map_err(|error| Trouble::new("network", format!("the answer is not JSON: {error}")))?;
    match json["error"]["kind"].as_str() {
        Some(kind) => Err(Trouble::new(kind, json["error"]["message"].as_str().unwrap_or_default())),
        None => Ok(json),
    }
}

type Complete = (Vec<(String, f64)>, Vec<String>);

/// Scores and ranking, if every response of the request has one score and one place, and nothing else has any.
fn complete(scores: &Value, ranking: &Value, request: &JudgeRequest) -> Result<Complete, Trouble> {
    let found = scores.as_object().ok_or_else(|| incomplete("it has no scores"))?;
    let mut read = Vec::with_capacity(request.responses.len());
    for response in &request.responses {
        let name = &response.name;
        let score = found.get(name).and_then(Value::as_f64);
        read.push((name.clone(), score.ok_or_else(|| incomplete(format_args!("no score for {name:?}")))?));
    }
    if found.len() != read.len() {
        return Err(incomplete("it has scores for other names"));
    }
    let ranking: Vec<String> =
        ranking.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let mut sorted: Vec<&str> = ranking.iter().map(String::as_str).collect();
    let mut wanted: Vec<&str> = request.responses.iter().map(|response| response.name.as_str()).collect();
    sorted.sort_unstable();
    wanted.sort_unstable();
    if sorted == wanted { Ok((read, ranking)) } else { Err(incomplete("the ranking does not name each response once")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> JudgeRequest {
        JudgeRequest::new("p", "q", [("a", "x"), ("b", "y")])
    }

    #[test]
    fn a_verdict_of_dicast_brings_its_times_and_tokens() {
        let body = br#"{"scores":{"a":2,"b":5},"ranking":["b","a"],"usage":{"prompt_tokens":7,"reused_tokens":3},
            "timing_ms":{"queue":1.5,"prefill":2,"reasoning":10,"verdict":4}}"#;
        let measured = of_dicast(body, &request()).unwrap();
        assert_eq!(measured.ranking, ["b", "a"]);
        assert_eq!(measured.first_token, Some(Duration::from_micros(3500)));
        assert_eq!((measured.usage.prompt_tokens, measured.usage.reused_tokens), (7, 3));
        let plain = of_dicast(br#"{"scores":{"a":2,"b":5},"ranking":["b","a"]}"#, &request()).unwrap();
        assert_eq!((plain.first_token, plain.usage), (None, Usage::default()));
    }

    #[test]
    fn a_verdict_that_is_not_complete_is_a_failure() {
        let whole = r#"{"thoughts":"","results":{"scores":{"a":2,"b":5},"best-to-worst":["b","a"]}}"#;
        assert_eq!(of_reference(whole.as_bytes(), &request()).unwrap().scores[1], ("b".into(), 5.0));
        for (from, to) in [
            (r#"{"a":2,"b":5}"#, "{}"),
            (r#""b":5"#, r#""c":5"#),
            (r#"{"a":2,"#, r#"{"a":2,"c":1,"#),
            (r#"["b","a"]"#, r#"["b","b"]"#),
            (r#"["b","a"]"#, r#"["b"]"#),
        ] {
            let body = whole.replacen(from, to, 1);
            assert_eq!(of_reference(body.as_bytes(), &request()).unwrap_err().kind, "invalid_verdict", "{body}");
        }
        assert_eq!(of_reference(b"oops", &request()).unwrap_err().kind, "network");
    }

    #[test]
    fn failures_have_the_kind_that_the_server_names() {
        let ours = refused(429, br#"{"error":{"kind":"overloaded","message":"full"}}"#);
        assert_eq!((ours.kind.as_str(), ours.message.as_str()), ("overloaded", "status 429: full"));
        let other = refused(400, br#"{"error":{"message":"too long","type":"x"}}"#);
        assert_eq!((other.kind.as_str(), other.message.as_str()), ("http_400", "status 400: too long"));
        assert_eq!(refused(500, b"<html>").message, "status 500: <html>");
        assert_eq!(refused(401, br#"{"error":"Unauthorized"}"#).message, "status 401: Unauthorized");
    }
}
