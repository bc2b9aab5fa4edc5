//! Answers of servers, event by event, in the forms of chat completions, completions and llama-server's own.

use serde::Deserialize;
use serde_json::Value;

use super::fault::{Fault, Tried, said};
pub(super) use crate::decode::logprobs::{Position, Token};

/// Most alternatives that are read for one token.
const MAX_ALTERNATIVES: usize = 4096;

/// Why a server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The text ended, or a stop token or text was reached.
    Stop,
    /// The limit of tokens was reached.
    Length,
}

/// What one event adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Piece {
    /// Text of the answer.
    pub(super) text: String,
    /// Text that the server separates from the answer as reasoning.
    pub(super) reasoning: String,
    pub(super) ids: Vec<u32>,
    pub(super) positions: Vec<Position>,
    /// The first position of the answer to each further prompt of the request, in their order.
    pub(super) further: Vec<Position>,
    pub(super) finish: Option<Finish>,
    /// Tokens of the prompt, those of them found in a cache, and those written.
    pub(super) prompt_tokens: Option<usize>,
    pub(super) cached_tokens: Option<usize>,
    pub(super) written_tokens: Option<usize>,
    /// Whether the next piece may be added to it.
    pub(super) mergeable: bool,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<Value>,
    // llama-server's own form.
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    tokens: Option<Vec<u32>>,
    #[serde(default)]
    stop: Option<bool>,
    #[serde(default)]
    stop_type: Option<String>,
    #[serde(default)]
    completion_probabilities: Option<Vec<Listed>>,
    #[serde(default)]
    tokens_evaluated: Option<usize>,
    #[serde(default)]
    tokens_predicted: Option<usize>,
    #[serde(default)]
    timings: Option<Timings>,
    // For an error that is not within "error".
    #[serde(default)]
    object: Option<String>,
    #[serde(default)]
    message: Option<Value>,
}

#[derive(Deserialize)]
struct Timings {
    #[serde(default)]
    cache_n: Option<usize>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<usize>,
    #[serde(default)]
    completion_tokens: Option<usize>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<usize>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<usize>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    message: Option<Delta>,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
    #[serde(default)]
    finish_reason: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    #[serde(default)]
    tokens: Option<Vec<String>>,
    #[serde(default, rename = "token_logprobs")]
    written: Option<Vec<Option<f32>>>,
    #[serde(default, rename = "top_logprobs")]
    tops: Option<Vec<Option<serde_json::Map<String, Value>>>>,
    #[serde(default)]
    content: Option<Vec<Listed>>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    id: Option<u32>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    logprob: Option<f32>,
    #[serde(default)]
    top_logprobs: Option<Vec<Listed>>,
}

impl Listed {
    fn token(&self) -> Token {
        match (&self.bytes, &self.token, self.id) {
            (Some(bytes), _, Some(id)) => Token::Both(id, bytes.clone()),
            (Some(bytes), _, None) => Token::Bytes(bytes.clone()),
            (None, Some(text), Some(id)) => Token::Both(id, text.as_bytes().to_vec()),
            (None, Some(text), None) => named(text),
            (None, None, Some(id)) => Token::Id(id),
            (None, None, None) => Token::Bytes(Vec::new()),
        }
    }

    fn position(&self) -> Position {
        let alternatives = self.top_logprobs.iter().flatten().take(MAX_ALTERNATIVES);
        let alternatives = alternatives.filter_map(|listed| Some((listed.token(), listed.logprob?))).collect();
        Position { token: self.token(), logprob: self.logprob, alternatives }
    }
}

/// A token by its text; vLLM writes `token_id:7` if it is asked for ids.
fn named(text: &str) -> Token {
    match text.strip_prefix("token_id:").and_then(|id| id.parse().ok()) {
        Some(id) => Token::Id(id),
        None => Token::Bytes(text.as_bytes().to_vec()),
    }
}

impl Logprobs {
    fn positions(self) -> Vec<Position> {
        if let Some(content) = self.content {
            return content.iter().map(Listed::position).collect();
        }
        let (tokens, tops) = (self.tokens.unwrap_or_default(), self.tops.unwrap_or_default());
        let (mut tops, mut values) = (tops.into_iter(), self.written.unwrap_or_default().into_iter());
        let position = |token: String| {
            let alternatives = tops.next().flatten().into_iter().flatten().take(MAX_ALTERNATIVES);
            #[expect(clippy::cast_possible_truncation, reason = "the nearest one is meant")]
            let alternatives =
                alternatives.filter_map(|(text, value)| Some((named(&text), value.as_f64()? as f32))).collect();
            Position { token: named(&token), logprob: values.next().flatten(), alternatives }
        };
        tokens.into_iter().map(position).collect()
    }
}

/// Reads the data of an event; `None` for the mark of the end.
///
/// # Errors
/// [`Fault::Garbage`] if it has no known form, [`Fault::Failed`] if it says that the request has failed.
pub(super) fn read(data: &[u8]) -> Tried<Option<Piece>> {
    if data.trim_ascii() == b"[DONE]" {
        return Ok(None);
    }
    let event: Event = serde_json::from_slice(data)
        .map_err(|error| Fault::Garbage(format!("an event is not JSON of a known form: {error}")))?;
    if event.error.is_some() || (event.object.as_deref() == Some("error") && event.message.is_some()) {
        return Err(Fault::Failed(said(data)));
    }
    let mut piece = Piece::default();
    if let Some(usage) = event.usage {
        piece.prompt_tokens = usage.prompt_tokens;
        piece.written_tokens = usage.completion_tokens;
        piece.cached_tokens = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
    }
    if let Some(mut choices) = event.choices {
        choices.sort_by_key(|choice| choice.index.unwrap_or_default());
        let mut choices = choices.into_iter();
        // The answer to another prompt does not stand for that to the first one.
        let first = choices.next().filter(|choice| choice.index.unwrap_or_default() == 0);
        let Some(choice) = first else { return Ok(Some(piece)) };
        let delta = choice.delta.or(choice.message).unwrap_or_default();
        piece.text = choice.text.or(delta.content).unwrap_or_default();
        piece.reasoning = delta.reasoning_content.or(delta.reasoning).unwrap_or_default();
        piece.ids = choice.token_ids.unwrap_or_default();
        piece.positions = choice.logprobs.map(Logprobs::positions).unwrap_or_default();
        piece.finish = choice.finish_reason.as_deref().map(finish).transpose()?;
        for (place, choice) in (1..).zip(choices) {
            choice.finish_reason.as_deref().map(finish).transpose()?;
            let first = choice.logprobs.and_then(|logprobs| logprobs.positions().into_iter().next());
            if let Some(position) = first
                && choice.index == Some(place)
                && piece.further.len() + 1 == place
            {
                piece.further.push(position);
            }
        }
        return Ok(Some(piece));
    }
    if event.content.is_none() && event.stop.is_none() && event.tokens.is_none() {
        // Progress, usage and the like.
        return Ok(Some(piece));
    }
    piece.text = event.content.unwrap_or_default();
    piece.ids = event.tokens.unwrap_or_default();
    piece.positions = event.completion_probabilities.iter().flatten().map(Listed::position).collect();
    if event.stop == Some(true) {
        piece.finish = Some(match event.stop_type.as_deref() {
            Some("limit") => Finish::Length,
            _ => Finish::Stop,
        });
        piece.prompt_tokens = event.tokens_evaluated;
        piece.written_tokens = event.tokens_predicted;
        piece.cached_tokens = event.timings.and_then(|timings| timings.cache_n);
    }
    Ok(Some(piece))
}

fn finish(reason: &str) -> Tried<Finish> {
    match reason {
        "length" | "max_tokens" => Ok(Finish::Length),
        // The server gave up the request.
        "abort" | "cancelled" | "error" | "timeout" | "timed_out" => {
            Err(Fault::Failed(format!("it ended the answer: {reason}")))
        }
        "content_filter" => Err(Fault::ours(
            crate::error::ErrorKind::Network,
            "the server withheld the answer (finish_reason content_filter)",
        )),
        _ => Ok(Finish::Stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(json: &str) -> Piece {
        read(json.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn the_forms_of_servers_are_read() {
        let chat = piece(r#"{"choices": [{"delta": {"reasoning": "hm", "content": null}, "finish_reason": null}]}"#);
        assert_eq!((chat.reasoning.as_str(), chat.text.as_str(), chat.finish), ("hm", "", None));
        let whole = piece(
            r#"{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}}"#,
        );
        assert_eq!((whole.text.as_str(), whole.finish, whole.cached_tokens), ("x", Some(Finish::Stop), Some(4)));
        let completion = piece(
            r#"{"choices": [{"text": " 4", "token_ids": [17], "finish_reason": "length", "logprobs": {"tokens": ["token_id:17"],
                "token_logprobs": [-0.1], "top_logprobs": [{"token_id:17": -0.1, "token_id:18": -9999.0}]}}]}"#,
        );
        assert_eq!((completion.ids, completion.finish), (vec![17], Some(Finish::Length)));
        assert_eq!(completion.positions[0].alternatives, [(Token::Id(17), -0.1), (Token::Id(18), -9999.0)]);
        let native = piece(
            r#"{"content": "4", "tokens": [19], "stop": false, "completion_probabilities": [{"id": 19, "token": "4",
                "bytes": [52], "logprob": -0.2, "top_logprobs": [{"id": 20, "token": "5", "bytes": [53], "logprob": -1.5}]}]}"#,
        );
        assert_eq!(native.positions[0].token, Token::Both(19, b"4".to_vec()));
        assert_eq!(native.positions[0].alternatives, [(Token::Both(20, b"5".to_vec()), -1.5)]);
        let end = piece(r#"{"content": "", "tokens": [], "stop": true, "stop_type": "limit", "tokens_evaluated": 7}"#);
        assert_eq!((end.finish, end.prompt_tokens), (Some(Finish::Length), Some(7)));
        assert_eq!(read(b"[DONE]").unwrap(), None);
    }

    #[test]
    fn answers_to_several_prompts_are_taken_in_their_order_up_to_the_first_that_is_missing() {
        let choice = |index: usize, logprob: &str| {
            format!(
                r#"{{"index": {index}, "text": "x", "finish_reason": "length", "logprobs": {{"tokens": ["token_id:{index}"],
                    "token_logprobs": [{logprob}], "top_logprobs": [{{}}]}}}}"#
            )
        };
        let ids = |choices: &[String]| -> (Token, Vec<Token>) {
            let all = piece(&format!(r#"{{"choices": [{}]}}"#, choices.join(",")));
            (all.positions[0].token.clone(), all.further.iter().map(|position| position.token.clone()).collect())
        };
        let three = [choice(2, "-1"), choice(0, "-1"), choice(1, "-1")];
        assert_eq!(ids(&three), (Token::Id(0), vec![Token::Id(1), Token::Id(2)]));
        let gap = [choice(0, "-1"), choice(2, "-1")];
        assert_eq!(ids(&gap), (Token::Id(0), Vec::new()));
        let later = piece(&format!(r#"{{"choices": [{}, {}]}}"#, choice(2, "-1"), choice(1, "-1")));
        assert_eq!(later, Piece::default());
        let failed = r#"{"choices": [{"index": 0, "text": "", "finish_reason": "length"}, {"index": 1, "finish_reason": "abort"}]}"#;
        assert!(matches!(read(failed.as_bytes()), Err(Fault::Failed(_))));
    }

    #[test]
    fn failures_within_an_answer_are_faults() {
        for (json, word) in [
            (r#"{"error": {"message": "out of memory"}}"#, "out of memory"),
            (r#"{"object": "error", "message": "engine died", "code": 500}"#, "engine died"),
            (r#"{"choices": [{"text": "", "finish_reason": "abort"}]}"#, "abort"),
        ] {
            let Err(Fault::Failed(said)) = read(json.as_bytes()) else { panic!("{json}") };
            assert!(said.contains(word), "{said}");
        }
        for garbage in ["", "{", "[1]", "\"x\"", r#"{"choices": 3}"#] {
            assert!(matches!(read(garbage.as_bytes()), Err(Fault::Garbage(_))), "{garbage}");
        }
    }
}
