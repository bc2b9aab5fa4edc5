//! The stream of a chat completion: its pieces put together, with the times at which parts of it began.

use std::time::Instant;

use dicast::verdict::Usage;
use serde_json::Value;

use super::Trouble;

/// Most bytes of an answer.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// An answer that is being written.
#[derive(Debug, Default)]
pub(super) struct Answer {
    line: Vec<u8>,
    /// Reasoning that was sent separately from the answer.
    pub(super) reasoning: String,
    pub(super) content: String,
    pub(super) usage: Usage,
    /// Whether the server said why it stopped.
    pub(super) finished: bool,
    /// When the first text came, and the first of the answer itself.
    pub(super) first: Option<Instant>,
    pub(super) first_of_content: Option<Instant>,
}

impl Answer {
    /// Takes bytes of the stream, cut anywhere.
    pub(super) fn push(&mut self, bytes: &[u8], now: Instant) -> Result<(), Trouble> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.reasoning.len() + self.content.len() > MAX_ANSWER {
                return Err(Trouble::new("too_large", format!("the answer has more than {MAX_ANSWER} bytes")));
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(line.trim_ascii(), now)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], now: Instant) -> Result<(), Trouble> {
        // vLLM and llama-server write one data line for each event; other fields and comments are ignored.
        let data = match line.strip_prefix(b"data:").or_else(|| line.strip_prefix(b"error:")) {
            Some(data) => data.trim_ascii(),
            None => return Ok(()),
        };
        if data == b"[DONE]" {
            return Ok(());
        }
        let piece: Value = serde_json::from_slice(data)
            .map_err(|error| Trouble::new("network", format!("an event of the answer is not JSON: {error}")))?;
        self.piece(&piece, "delta", now)
    }

    /// Takes a piece: an event of a stream, or a whole answer whose text is in `message`.
    pub(super) fn piece(&mut self, piece: &Value, part: &str, now: Instant) -> Result<(), Trouble> {
        if let Some(error) = piece.get("error").filter(|error| !error.is_null()) {
            let message = error["message"].as_str().or(error.as_str()).unwrap_or("no reason given");
            return Err(Trouble::new("engine", message));
        }
        let choice = &piece["choices"][0];
        let text = |keys: &[&str]| keys.iter().find_map(|key| choice[part][*key].as_str()).unwrap_or_default();
        let (reasoning, content) = (text(&["reasoning_content", "reasoning"]), text(&["content"]));
        if !reasoning.is_empty() || !content.is_empty() {
            self.first.get_or_insert(now);
        }
        // Blank lines between reasoning and answer may come as content.
        if !content.trim().is_empty() {
            self.first_of_content.get_or_insert(now);
        }
        self.reasoning.push_str(reasoning);
        self.content.push_str(content);
        self.finished |= choice["finish_reason"].is_string();
        let usage = &piece["usage"];
        if usage.is_object() {
            let count = |value: &Value| value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
            let written = count(&usage["completion_tokens"]);
            let reasoning = count(&usage["completion_tokens_details"]["reasoning_tokens"]).min(written);
            self.usage = Usage::default();
            self.usage.prompt_tokens = count(&usage["prompt_tokens"]);
            self.usage.reused_tokens = count(&usage["prompt_tokens_details"]["cached_tokens"]);
            self.usage.reasoning_tokens = reasoning;
            self.usage.verdict_tokens = written - reasoning;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\ndata: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\r\n\r\n\
        data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm, \u{e9}\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"\\n\\n\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{\"content\":\"{}\"},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5,\
        \"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n\
        data: [DONE]\n\n";

    #[test]
    fn an_answer_is_the_same_wherever_its_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut answer = Answer::default();
            for part in STREAM.as_bytes().chunks(size) {
                answer.push(part, Instant::now()).unwrap();
            }
            assert_eq!((answer.reasoning.as_str(), answer.content.as_str()), ("hm, é", "\n\n{}"), "{size}");
            assert!(answer.finished && answer.first <= answer.first_of_content);
            assert_eq!((answer.usage.prompt_tokens, answer.usage.reused_tokens), (9, 4));
            assert_eq!((answer.usage.reasoning_tokens, answer.usage.verdict_tokens), (3, 2));
        }
    }

    #[test]
    fn an_error_within_a_stream_is_one() {
        let mut answer = Answer::default();
        let error = answer.push(b"data: {\"error\":{\"message\":\"out of memory\"}}\n", Instant::now()).unwrap_err();
        assert_eq!((error.kind.as_str(), error.message.as_str()), ("engine", "out of memory"));
        let garbage = Answer::default().push(b"data: {\"choices\": [{\n", Instant::now()).unwrap_err();
        assert_eq!(garbage.kind, "network");
    }
}
