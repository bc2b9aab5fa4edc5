//! A server for tests: it speaks like vLLM, llama-server or any other, over a vocabulary of bytes, and fails on demand.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use model::{CLOSE, OPEN, TEMPLATE, rendered, text, tokens, top, verdict};

#[path = "model.rs"]
pub(crate) mod model;

/// Which server it plays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Vllm,
    /// vLLM with a reasoning parser: the guide begins after the reasoning.
    GatedVllm,
    Llama,
    /// Chat completions with JSON schemas.
    Other,
    /// Chat completions that ignore every constraint.
    Deaf,
}

/// What happens to a generation.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer,
    /// It waits this long before its first byte.
    Late(Duration),
    Status(u16, &'static str),
    /// 429 with `Retry-After`.
    Busy(u64),
    /// The connection is closed at once.
    Reset,
    /// It is closed in the middle of the answer.
    Truncated,
    /// An event is not JSON.
    Garbage,
    WrongType,
    /// An event reports a failure.
    Failed,
    /// It begins to answer, and then sends nothing.
    Stall,
    /// A line of data without an end.
    Endless,
    Redirect(String),
    /// There is no finish reason at the end.
    Unfinished,
    /// The ranking names the best response twice, and the worst not at all.
    RankTwice,
    /// The ranking begins with the response of the lowest score.
    RankBackwards,
}

type Script = Box<dyn Fn(usize, &Value) -> Act + Send + Sync>;

pub(crate) struct Seen {
    /// As the client wrote it: a whole URL if the client uses this server as a proxy.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

struct State {
    dialect: Dialect,
    script: Script,
    generations: AtomicUsize,
    /// Generations whose connection the client closed.
    abandoned: AtomicUsize,
    stop: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    keep: AtomicBool,
    /// Paths whose first request breaks the connection; a path is removed when it was requested.
    breaks: Mutex<Vec<&'static str>>,
    /// The most alternatives for a token that it gives; more are refused.
    most_alternatives: AtomicUsize,
    /// How many times it still refuses them.
    refusals: AtomicUsize,
}

pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
}

impl Server {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self::scripted(dialect, |_, _| Act::Answer)
    }

    /// `script` says what happens to each generation, numbered from 0; those of the probe are always answered.
    pub(crate) fn scripted(dialect: Dialect, script: impl Fn(usize, &Value) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            dialect,
            script: Box::new(script),
            generations: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
            keep: AtomicBool::new(true),
            breaks: Mutex::default(),
            most_alternatives: AtomicUsize::new(usize::MAX),
            refusals: AtomicUsize::new(0),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), state) = (stream, shared.clone()) else { continue };
                std::thread::spawn(move || drop(state.connection(&stream)));
            }
        });
        Self { url, state }
    }

    /// Refuses more alternatives for a token than these, so many times.
    pub(crate) fn give_at_most(&self, alternatives: usize, times: usize) {
        self.state.refusals.store(times, Ordering::Relaxed);
        self.state.most_alternatives.store(alternatives, Ordering::Relaxed);
    }

    /// Breaks the connection when one of these paths is requested for the first time.
    pub(crate) fn break_first(&self, paths: &[&'static str]) {
        *self.state.breaks.lock().unwrap() = paths.to_vec();
    }

    /// The paths of [`Self::break_first`] that were not requested.
    pub(crate) fn unbroken(&self) -> Vec<&'static str> {
        self.state.breaks.lock().unwrap().clone()
    }

    pub(crate) fn generations(&self) -> usize {
        self.state.generations.load(Ordering::Relaxed)
    }

    pub(crate) fn abandoned(&self) -> usize {
        self.state.abandoned.load(Ordering::Relaxed)
    }

    /// Requests so far; this also clears the list.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.seen.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

impl State {
    fn connection(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let mut parts = line.split_whitespace();
            let (method, path) =
                (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned());
            let mut headers = HashMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if self.keep.load(Ordering::Relaxed) {
                let mut seen = self.seen.lock().unwrap();
                if seen.len() < 10_000 {
                    seen.push(Seen { path: path.clone(), headers });
                }
            }
            if !self.respond(stream, &method, &path, &body)? {
                return stream.shutdown(Shutdown::Both);
            }
        }
    }

    /// False if the connection ends.
    fn respond(&self, mut stream: &TcpStream, method: &str, path: &str, body: &Value) -> io::Result<bool> {
        let is_vllm = matches!(self.dialect, Dialect::Vllm | Dialect::GatedVllm);
        let is_llama = self.dialect == Dialect::Llama;
        let path = match path.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => path,
        };
        let mut breaks = self.breaks.lock().unwrap();
        if let Some(at) = breaks.iter().position(|broken| *broken == path) {
            breaks.remove(at);
            return Ok(false);
        }
        drop(breaks);
        let json = match (method, path) {
            ("GET", "/v1/models") => {
                let owner = if is_vllm {
                    "vllm"
                } else if is_llama {
                    "llamacpp"
                } else {
                    "someone"
                };
                json!({ "data": [{ "id": "judge", "owned_by": owner, "max_model_len": is_vllm.then_some(100_000) }] })
            }
            ("GET", "/health") => json!({}),
            ("GET", "/metrics") if self.dialect == Dialect::GatedVllm => {
                let metrics =
                    "# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{enable_prefix_caching=\"True\"} 1.0\n";
                whole(stream, 200, "", metrics)?;
                return Ok(true);
            }
            ("GET", "/version") if is_vllm => json!({ "version": "0.0-test" }),
            ("GET", "/props") if is_llama => json!({
                "build_info": "test", "total_slots": 4, "default_generation_settings": { "n_ctx": 100_000 },
                "chat_template": TEMPLATE, "bos_token": "", "eos_token": "<|im_end|>",
            }),
            ("POST", "/tokenize") if is_llama => {
                let special = body["parse_special"].as_bool().unwrap_or(true);
                json!({ "tokens": tokens(body["content"].as_str().unwrap(), special) })
            }
            ("POST", "/tokenize") if is_vllm => match body["prompt"].as_str() {
                Some(prompt) => json!({ "tokens": tokens(prompt, true) }),
                None => json!({ "tokens": tokens(&rendered(body), true) }),
            },
            ("POST", "/detokenize") if is_vllm => {
                let ids: Vec<u32> = serde_json::from_value(body["tokens"].clone()).unwrap();
                json!({ "prompt": text(&ids) })
            }
            ("POST", "/v1/completions") if is_vllm => return self.generate(stream, body),
            ("POST", "/completion") if is_llama => return self.generate(stream, body),
            ("POST", "/v1/chat/completions") => return self.generate(stream, body),
            _ => {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}")?;
                return Ok(true);
            }
        };
        whole(stream, 200, "", &json.to_string())?;
        Ok(true)
    }

    fn generate(&self, mut stream: &TcpStream, body: &Value) -> io::Result<bool> {
        let grammar =
            [&body["grammar"], &body["structured_outputs"]["grammar"]].into_iter().find_map(|grammar| grammar.as_str());
        let schema = &body["response_format"]["json_schema"]["schema"];
        let ids_of = |list: &[Value]| -> Vec<u32> {
            list.iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
        };
        let prompts: Vec<Vec<u32>> = match &body["prompt"] {
            Value::String(text) => vec![tokens(text, true)],
            Value::Array(list) if list.iter().all(Value::is_array) => {
                list.iter().map(|ids| ids_of(ids.as_array().unwrap())).collect()
            }
            Value::Array(list) => vec![ids_of(list)],
            _ => vec![Vec::new()],
        };
        let ids = &prompts[0];
        let alternatives = [&body["top_logprobs"], &body["logprobs"]].into_iter().find_map(Value::as_u64);
        let left =
            || self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if alternatives > u64::try_from(self.most_alternatives.load(Ordering::Relaxed)).ok() && left() {
            let said = "{\"error\": {\"message\": \"too many logprobs\"}}";
            if self.dialect == Dialect::GatedVllm && body["stream"] == true {
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                )?;
                chunk(stream, &format!("data: {said}\n\n"))?;
                stream.write_all(b"0\r\n\r\n")?;
            } else {
                whole(stream, 400, "", said)?;
            }
            return Ok(true);
        }
        let prompt = if body["messages"].is_array() { rendered(body) } else { text(ids) };
        if prompt.contains("a word") {
            let word = if self.dialect == Dialect::Deaf { "no" } else { "quoxal" };
            let gated = self.dialect == Dialect::GatedVllm && !ids.contains(&CLOSE);
            let word = match (gated, grammar) {
                (true, _) => "hm, a word".to_owned(),
                (false, Some(_)) => word.to_owned(),
                (false, None) if schema.is_object() => format!("{{\"word\": \"{word}\"}}"),
                (false, None) => "hello".to_owned(),
            };
            self.stream(stream, body, &[word], &Act::Answer)?;
            return Ok(true);
        }
        let number = self.generations.fetch_add(1, Ordering::Relaxed);
        let act = (self.script)(number, body);
        match act {
            Act::Status(status, said) => {
                whole(stream, status, "", said)?;
                return Ok(true);
            }
            Act::Busy(seconds) => {
                whole(stream, 429, &format!("retry-after: {seconds}\r\n"), "{\"error\": {\"message\": \"busy\"}}")?;
                return Ok(true);
            }
            Act::Redirect(to) => {
                whole(stream, 307, &format!("location: {to}\r\n"), "")?;
                return Ok(true);
            }
            Act::Reset => return Ok(false),
            Act::WrongType => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<a/>")?;
                return Ok(true);
            }
            Act::Late(time) => std::thread::sleep(time),
            _ => {}
        }
        let answers: Vec<String> = if body["messages"].is_array() {
            vec![self.answer_to(&prompt, body, &act)]
        } else {
            prompts.iter().map(|ids| self.answer_to(&text(ids), body, &act)).collect()
        };
        let ended = !matches!(act, Act::Stall | Act::Truncated);
        self.stream(stream, body, &answers, &act)?;
        Ok(ended)
    }

    /// What the judge writes after a prompt.
    fn answer_to(&self, prompt: &str, body: &Value, act: &Act) -> String {
        let grammar =
            [&body["grammar"], &body["structured_outputs"]["grammar"]].into_iter().find_map(|grammar| grammar.as_str());
        let schema = &body["response_format"]["json_schema"]["schema"];
        let (after, reasoned) = match prompt.rsplit_once("</think>") {
            Some((_, after)) => (after.to_owned(), true),
            None => (String::new(), false),
        };
        // The judge's reasoning: bytes that are tokens, and one character of two bytes.
        let thoughts = "\nhm, é\n";
        let mut whole_verdict = format!("\n\n{}", verdict(prompt));
        if matches!(act, Act::RankTwice | Act::RankBackwards) {
            let (scores, ranking) = whole_verdict.split_once('[').unwrap();
            let mut names: Vec<&str> = ranking.split(']').next().unwrap().split(", ").collect();
            if matches!(act, Act::RankTwice) {
                *names.last_mut().unwrap() = names[0];
            } else {
                names.reverse();
            }
            whole_verdict = format!("{scores}[{}]\n}}", names.join(", "));
        }
        if schema["properties"]["best-to-worst"]["const"] == json!([]) {
            whole_verdict = format!("{}[]\n}}", whole_verdict.split_once('[').unwrap().0);
        }
        let left = whole_verdict.strip_prefix(after.as_str()).unwrap_or(&whole_verdict);
        let root = grammar.and_then(|grammar| grammar.lines().next()).unwrap_or_default();
        let left = if root.ends_with("score") { &left[..left.rfind("},").unwrap()] } else { left };
        let parts: &[&str] = if body["messages"].is_array() {
            &["<think>", thoughts, "</think>", left]
        } else if (root.contains("!<[") && !root.contains("score")) || body["stop_token_ids"].is_array() {
            &[thoughts, "</think>"]
        } else if reasoned {
            &[left]
        } else if grammar.is_some() && !root.contains("thought") && self.dialect != Dialect::GatedVllm {
            &[left.trim_start()]
        } else {
            &[thoughts, "</think>", left]
        };
        parts.concat()
    }

    /// Writes the answer token by token, in the form of the dialect, or the answers to several prompts.
    fn stream(&self, mut stream: &TcpStream, body: &Value, answers: &[String], act: &Act) -> io::Result<()> {
        if body["stream"] == false {
            return self.answer(stream, body, answers, act);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
        let ids = tokens(&answers.concat(), true);
        let limit = [&body["max_tokens"], &body["n_predict"]].into_iter().find_map(Value::as_u64).unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut held = Vec::new();
        for (place, &id) in ids.iter().take(limit).enumerate() {
            match (act, place) {
                (Act::Garbage, 3) => chunk(stream, "data: {\"choices\": [{\n\n")?,
                (Act::Failed, 3) => chunk(stream, "data: {\"error\": {\"message\": \"out of memory\"}}\n\n")?,
                (Act::Truncated, 3) => return stream.shutdown(Shutdown::Both),
                (Act::Endless, 3) => {
                    while chunk(stream, &"x".repeat(1 << 16)).is_ok() {}
                    return Ok(());
                }
                (Act::Stall, 3) => {
                    // Until the client goes away.
                    let mut byte = [0];
                    let _ = stream.read(&mut byte);
                    self.abandoned.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                _ => {}
            }
            // An incomplete character is held back, and a control token has no text.
            let mut shown = String::new();
            if id < 256 {
                held.push(u8::try_from(id).unwrap());
                if let Ok(text) = std::str::from_utf8(&held) {
                    text.clone_into(&mut shown);
                    held.clear();
                }
            }
            let event = self.event(body, id, &shown);
            if chunk(stream, &format!("data: {event}\n\n")).is_err() {
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
        let reason = if ids.len() > limit { "length" } else { "stop" };
        let last = match self.dialect {
            Dialect::Llama => json!({ "content": "", "tokens": [], "stop": true, "tokens_evaluated": 1,
                "stop_type": if reason == "length" { "limit" } else { "eos" } }),
            Dialect::Vllm | Dialect::GatedVllm => json!({ "choices": [{ "text": "", "finish_reason": reason }] }),
            _ => json!({ "choices": [{ "delta": { "content": "" }, "finish_reason": reason }],
                "usage": { "prompt_tokens": 7, "completion_tokens": ids.len() } }),
        };
        if !matches!(act, Act::Unfinished) {
            chunk(stream, &format!("data: {last}\n\ndata: [DONE]\n\n"))?;
        }
        stream.write_all(b"0\r\n\r\n")
    }

    /// Writes the answers at once, not streamed.
    fn answer(&self, mut stream: &TcpStream, body: &Value, answers: &[String], act: &Act) -> io::Result<()> {
        match act {
            Act::Stall => {
                // Until the client goes away.
                let _ = stream.read(&mut [0]);
                self.abandoned.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Act::Garbage => return whole(stream, 200, "", "{\"choices\": [{"),
            Act::Failed => return whole(stream, 200, "", "{\"error\": {\"message\": \"out of memory\"}}"),
            Act::Truncated => {
                let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
                stream.write_all(format!("{head}{{\"choices\":").as_bytes())?;
                return stream.shutdown(Shutdown::Both);
            }
            Act::Endless => {
                let head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
                stream.write_all(head.as_bytes())?;
                while chunk(stream, &" ".repeat(1 << 16)).is_ok() {}
                return Ok(());
            }
            _ => {}
        }
        let choices: Vec<Value> =
            answers.iter().enumerate().map(|(place, answer)| whole_choice(body, answer, place, act)).collect();
        let usage = json!({ "prompt_tokens": 7, "completion_tokens": choices.len() });
        whole(stream, 200, "", &json!({ "choices": choices, "usage": usage }).to_string())
    }

    fn event(&self, body: &Value, id: u32, shown: &str) -> Value {
        let top = top(shown);
        let asked = |key: &str| body.get(key).is_some_and(|asked| *asked != json!(0) && *asked != json!(false));
        match self.dialect {
            Dialect::Llama => {
                let mut event = json!({ "content": shown, "tokens": [id], "stop": false });
                if asked("n_probs") {
                    let top: Vec<_> = top
                        .iter()
                        .map(|(text, logprob)| json!({ "id": tokens(text, true).first(), "token": text, "bytes": text.as_bytes(), "logprob": logprob }))
                        .collect();
                    event["completion_probabilities"] = json!([{ "id": id, "token": shown, "bytes": u8::try_from(id).map(|byte| vec![byte]).unwrap_or_default(), "logprob": 0.0, "top_logprobs": top }]);
                }
                event
            }
            Dialect::Vllm | Dialect::GatedVllm => {
                let mut choice = json!({ "text": shown, "token_ids": [id], "finish_reason": null });
                if asked("logprobs") {
                    let top: serde_json::Map<_, _> =
                        top.into_iter().map(|(text, logprob)| (text, logprob.into())).collect();
                    choice["logprobs"] = json!({ "tokens": [shown], "token_logprobs": [0.0], "top_logprobs": [top] });
                }
                json!({ "choices": [choice] })
            }
            Dialect::Other | Dialect::Deaf => {
                let shown = match id {
                    OPEN => "<think>",
                    CLOSE => "</think>",
                    _ => shown,
                };
                json!({ "choices": [{ "delta": { "content": shown }, "finish_reason": null }] })
            }
        }
    }
}

/// One choice of an answer that is not streamed.
fn whole_choice(body: &Value, answer: &str, place: usize, act: &Act) -> Value {
    let mut ids = tokens(answer, true);
    let limit = body["max_tokens"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let reason = if ids.len() > limit { "length" } else { "stop" };
    ids.truncate(limit);
    let mut choice = if body["messages"].is_array() {
        json!({ "message": { "content": text(&ids) } })
    } else {
        json!({ "text": text(&ids), "token_ids": ids })
    };
    if !matches!(act, Act::Unfinished) {
        choice["finish_reason"] = reason.into();
    }
    if body["logprobs"].is_u64() {
        let (mut shown, mut tops) = (Vec::new(), Vec::new());
        for &id in &ids {
            let by_id = body["return_tokens_as_token_ids"] == true;
            let name = |text: &str| if by_id { format!("token_id:{}", tokens(text, true)[0]) } else { text.to_owned() };
            let written = text(&[id]);
            let mut listed = top(&written);
            // The tokens that were asked for, in place of the likeliest.
            if let Some(asked) = body["logprob_token_ids"].as_array() {
                let asked = asked.iter().map(|id| text(&[u32::try_from(id.as_u64().unwrap()).unwrap()]));
                let logprob =
                    |text: &String| listed.iter().find(|(known, _)| known == text).map_or(-12.0, |known| known.1);
                listed = asked.chain([written.clone()]).map(|text| (text.clone(), logprob(&text))).collect();
            }
            let listed: serde_json::Map<_, _> =
                listed.into_iter().map(|(text, logprob)| (name(&text), logprob.into())).collect();
            tops.push(listed);
            shown.push(name(&written));
        }
        choice["logprobs"] = json!({ "tokens": shown, "token_logprobs": vec![0.0; ids.len()], "top_logprobs": tops });
    }
    choice["index"] = place.into();
    choice
}

fn whole(mut stream: &TcpStream, status: u16, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn chunk(mut stream: &TcpStream, data: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes())
}
