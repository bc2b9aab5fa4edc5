//! Verdicts by choices, and what servers do to them.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dicast::config::{Mask, RemoteVerdict};
use dicast::{ErrorKind, Judge, JudgeConfig, JudgeRequest, Verdict};
use serde_json::{Value, json};

use super::server::model::TEMPLATE;
use super::server::{Act, Dialect, Server};
use super::{assert_verdict, config, request};

/// An answer as it is sent: `None` breaks the connection.
type Answer = Option<(u16, String)>;

/// Stands before a server and changes its answers.
struct Proxy {
    url: String,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    /// `change` gets the path, the request and the answer of each request that is not streamed.
    fn before(server: &Server, change: impl Fn(&str, &Value, Value) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, change) = (Arc::new(AtomicBool::new(false)), Arc::new(change));
        let (stopped, behind) = (stop.clone(), server.url.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), change, behind) = (stream, change.clone(), behind.clone()) else { continue };
                std::thread::spawn(move || pass(&stream, &behind, &*change));
            }
        });
        Self { url, stop }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
    }
}

/// Passes one request on, and its answer back.
fn pass(mut client: &TcpStream, behind: &str, change: &dyn Fn(&str, &Value, Value) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut server = TcpStream::connect(behind).ok()?;
    server.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    server.shutdown(Shutdown::Write).ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    let (answer_head, content) = answer.split_once("\r\n\r\n")?;
    let path = head.split_whitespace().nth(1)?;
    if let Ok(json) = serde_json::from_str(content) {
        let request = serde_json::from_slice(&body).unwrap_or_default();
        let (status, content) = change(path, &request, json)?;
        let length = content.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        return client.write_all(format!("{head}{content}").as_bytes()).ok();
    }
    client.write_all(format!("{answer_head}\r\nconnection: close\r\n\r\n{content}").as_bytes()).ok()
}

fn is_choice(request: &Value) -> bool {
    request["max_tokens"] == 1 && request["prompt"].is_array()
}

/// The verdict of a judge behind a proxy that changes the answers to choices, numbered from 0; and how many there were.
fn judged(
    change: impl Fn(usize, Value) -> Answer + Send + Sync + 'static,
    set: impl FnOnce(&mut JudgeConfig),
) -> (dicast::Result<Verdict>, usize) {
    let server = Server::new(Dialect::GatedVllm);
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let proxy = Proxy::before(&server, move |_, request, answer| {
        if is_choice(request) {
            change(counted.fetch_add(1, Ordering::Relaxed), answer)
        } else {
            Some((200, answer.to_string()))
        }
    });
    let mut config = config(&proxy.url);
    config.remote.max_failures = 50;
    set(&mut config);
    let verdict = Judge::open(config).unwrap().judge(&request(3));
    (verdict, count.load(Ordering::Relaxed))
}

#[expect(clippy::unnecessary_wraps, reason = "as it is sent")]
fn plain(answer: &Value) -> Answer {
    Some((200, answer.to_string()))
}

/// A judge in whose vocabulary each byte is a token, as in that of the servers.
fn tokenizer() -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("dicast-bytes-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::create_dir_all(&folder).unwrap();
    // GPT-2's letters for bytes: printable ones stand for themselves, the others for those from 256 on.
    let mut next = 256;
    let vocabulary: HashMap<String, u32> = (0..256_u32)
        .map(|byte| {
            let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            let letter = if printable { byte } else { next };
            next += u32::from(!printable);
            (char::from_u32(letter).unwrap().to_string(), byte)
        })
        .collect();
    let specials = ["<think>", "</think>", "<|im_start|>", "<|im_end|>"];
    let added: Vec<Value> = (256..)
        .zip(specials)
        .map(|(id, content)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true })
        })
        .collect();
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false });
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [] },
    });
    std::fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
    let config = json!({ "chat_template": TEMPLATE, "eos_token": "<|im_end|>" });
    std::fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn a_fault_at_any_choice_changes_nothing() {
    let (clean, choices) = judged(|_, answer| plain(&answer), |_| ());
    let clean = clean.unwrap();
    let faults: [fn(Value) -> Answer; 8] = [
        |_| None,
        |_| Some((500, "{}".into())),
        |_| Some((503, "{\"error\": \"overloaded\"}".into())),
        |_| Some((200, "{\"choices\": [".into())),
        |_| Some((200, "{\"choices\": []}".into())),
        |_| Some((200, "{\"error\": {\"message\": \"out of memory\"}}".into())),
        |mut answer| {
            answer["choices"][0]["finish_reason"] = "abort".into();
            plain(&answer)
        },
        |mut answer| {
            answer["choices"][0]["finish_reason"] = Value::Null;
            plain(&answer)
        },
    ];
    for (fault, at) in faults.into_iter().zip((0..choices).cycle()) {
        let spoil = move |number, answer| if number == at { fault(answer) } else { plain(&answer) };
        let (verdict, asked) = judged(spoil, |_| ());
        let verdict = verdict.unwrap();
        assert_eq!(asked, choices + 1);
        assert_eq!((&verdict.raw, &verdict.scores), (&clean.raw, &clean.scores), "choice {at}");
        assert_eq!(verdict.usage, clean.usage);
    }
}

#[test]
fn odd_lists_lead_to_the_same_verdict() {
    let (clean, _) = judged(|_, answer| plain(&answer), |_| ());
    let clean = clean.unwrap();
    let tops = |answer: &Value| answer["choices"][0]["logprobs"]["top_logprobs"][0].as_object().unwrap().clone();
    let with = |mut answer: Value, list: Value| {
        answer["choices"][0]["logprobs"]["top_logprobs"][0] = list;
        plain(&answer)
    };
    let odd: Vec<Box<dyn Fn(Value) -> Answer + Send + Sync>> = vec![
        Box::new(move |answer| with(answer, Value::Null)),
        Box::new(move |answer| with(answer, json!({}))),
        Box::new(move |answer| with(answer, json!({ "token_id:120": -0.1, "token_id:121": -3.0 }))),
        // Named by text, which this process does not know.
        Box::new(move |answer| with(answer, json!({ "1": -0.1, "2": -3.0 }))),
        Box::new(move |answer| {
            let likelier =
                tops(&answer).into_iter().map(|(token, value)| (token, json!(value.as_f64().unwrap() + 30.0)));
            with(answer, Value::Object(likelier.collect()))
        }),
        Box::new(|mut answer| {
            answer["choices"][0]["logprobs"] = Value::Null;
            plain(&answer)
        }),
        Box::new(|mut answer| {
            answer["choices"][0]["finish_reason"] = "stop".into();
            plain(&answer)
        }),
        Box::new(|mut answer| {
            // More than was asked for.
            for list in ["tokens", "token_logprobs", "top_logprobs"] {
                let tokens = answer["choices"][0]["logprobs"][list].as_array_mut().unwrap();
                let more = tokens[0].clone();
                tokens.push(more);
            }
            plain(&answer)
        }),
    ];
    for (case, odd) in odd.into_iter().enumerate() {
        let odd = Arc::new(odd);
        for at in [0, 2, 3] {
            let odd = odd.clone();
            let (verdict, _) =
                judged(move |number, answer| if number == at { odd(answer) } else { plain(&answer) }, |_| ());
            let verdict = verdict.unwrap_or_else(|error| panic!("case {case}: {error}"));
            assert_eq!((verdict.raw, verdict.ranking), (clean.raw.clone(), clean.ranking.clone()), "case {case}");
        }
    }
}

#[test]
fn judgments_that_begin_at_once_ask_once_for_the_tokens_of_a_layout() {
    let server = Server::new(Dialect::GatedVllm);
    let judge = Judge::open(config(&server.url)).unwrap();
    server.seen();
    let requests: Vec<_> = (0..32).map(request).collect();
    for (number, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
        assert_verdict(number, &outcome.unwrap());
    }
    let asked = server.seen().iter().filter(|seen| seen.path == "/tokenize").count();
    // Each judgment asks for the tokens of its prompt and, at first, for the length of its verdict.
    assert!(asked < 32 * 2 + 40, "{asked}");
}

#[test]
fn a_tokenizer_that_fails_now_and_then_is_asked_only_for_what_is_missing() {
    let server = Server::new(Dialect::GatedVllm);
    let asked = AtomicUsize::new(0);
    let open = Arc::new(AtomicBool::new(false));
    let opened = open.clone();
    let proxy = Proxy::before(&server, move |path, _, answer| {
        let is_bad =
            path == "/tokenize" && opened.load(Ordering::Relaxed) && asked.fetch_add(1, Ordering::Relaxed) % 6 == 5;
        if is_bad { Some((503, "{}".into())) } else { plain(&answer) }
    });
    let mut config = config(&proxy.url);
    config.remote.max_retries = 8;
    config.remote.max_failures = 50;
    let judge = Judge::open(config).unwrap();
    open.store(true, Ordering::Relaxed);
    assert_verdict(3, &judge.judge(&request(3)).unwrap());
}

#[test]
fn names_as_long_as_others_may_take_more_tokens() {
    let most = Arc::new(Mutex::new(Vec::new()));
    let seen = most.clone();
    let server = Server::scripted(Dialect::Vllm, move |_, body| {
        if body["structured_outputs"].is_object() {
            seen.lock().unwrap().push(body["max_tokens"].as_u64().unwrap());
        }
        Act::Answer
    });
    // Here a text with digits takes three times as many tokens as another one.
    let proxy = Proxy::before(&server, |path, request, mut answer| {
        let digits = |text: &str| text.contains("q7");
        if path == "/tokenize" && request["prompt"].as_str().is_some_and(digits) {
            let tokens = answer["tokens"].take();
            answer["tokens"] = [0; 3].iter().flat_map(|_| tokens.as_array().unwrap().clone()).collect();
        }
        plain(&answer)
    });
    let mut config = config(&proxy.url);
    config.options.mask = Some(Mask::Off);
    let judge = Judge::open(config).unwrap();
    for names in [["qa", "qb"], ["q7", "q8"]] {
        let responses = names.map(|name| (name, "score=2"));
        judge.judge(&JudgeRequest::new("Be brief.", "p", responses)).unwrap();
    }
    let most = most.lock().unwrap();
    assert!(most.len() == 2 && most[1] > 2 * most[0], "{most:?}");
}

#[test]
fn where_requests_are_counted_a_verdict_is_one() {
    for (limit, requests) in [(0, 6), (1000, 2)] {
        let server = Server::new(Dialect::GatedVllm);
        let mut config = config(&server.url);
        config.remote.request_limit = limit;
        assert_verdict(3, &Judge::open(config).unwrap().judge(&request(3)).unwrap());
        assert!(
            server.generations() <= requests && server.generations() >= requests.min(3),
            "{}",
            server.generations()
        );
    }
}

#[test]
fn servers_that_are_asked_in_different_ways_share_judgments() {
    for consistent in [false, true] {
        let script = |number: usize, _: &Value| if number % 3 == 2 { Act::Status(500, "no") } else { Act::Answer };
        let chosen = Server::scripted(Dialect::GatedVllm, script);
        let guided = Server::scripted(Dialect::Vllm, script);
        let mut config = config(&chosen.url);
        config.remote.endpoints = vec![guided.url.clone()];
        config.remote.max_retries = 20;
        config.remote.max_failures = 1000;
        config.options.consistent_ranking = Some(consistent);
        let judge = Judge::open(config).unwrap();
        let requests: Vec<_> = (0..60).map(request).collect();
        for (number, outcome) in judge.judge_batch(&requests).into_iter().enumerate() {
            let verdict = outcome.unwrap();
            assert_verdict(number, &verdict);
            assert_eq!(verdict.raw.matches("\"scores\"").count(), 1, "{}", verdict.raw);
            assert!(verdict.repairs.is_empty(), "{:?}", verdict.repairs);
        }
        assert!(chosen.generations() > 20 && guided.generations() > 20);
    }
}

#[test]
fn a_judgment_ends_within_its_choices_when_it_is_told_to() {
    let stalled = || {
        let choice = AtomicUsize::new(0);
        Server::scripted(Dialect::GatedVllm, move |_, body| {
            let third = is_choice(body) && choice.fetch_add(1, Ordering::Relaxed) == 2;
            if third { Act::Stall } else { Act::Answer }
        })
    };
    let until = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(10);
        while !what() {
            assert!(Instant::now() < end, "it does not come to hold");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let server = stalled();
    let judge = Judge::open(config(&server.url)).unwrap();
    let ticket = judge.submit(&request(0));
    until(&|| server.generations() == 4);
    ticket.cancel();
    assert_eq!(ticket.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    until(&|| server.abandoned() == 1);
    assert_eq!(judge.stats().running, 0);
    let late = stalled();
    let mut config = config(&late.url);
    config.options.timeout_ms = Some(500);
    let error = Judge::open(config).unwrap().judge(&request(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    until(&|| late.abandoned() == 1);
}

#[test]
fn any_number_of_responses_and_any_names() {
    let folder = tokenizer();
    let names = |count: usize| -> Vec<String> { (1..=count).map(|name| format!("model-{name}")).collect() };
    let odd = ["\"a\", \"b\"", "back\\slash", "1", "10", "a", "ab", " a", "a, b", "]", "</think"].map(String::from);
    for names in [names(1), names(2), names(11), names(33), names(64), odd.to_vec()] {
        let server = Server::new(Dialect::GatedVllm);
        let mut config = config(&server.url);
        config.remote.tokenizer = Some(folder.clone());
        config.remote.verdict = RemoteVerdict::Choices;
        config.options.mask = Some(Mask::Off);
        config.limits.max_responses = 64;
        let judge = Judge::open(config).unwrap();
        let text = |place: usize| format!("score={}", place * 7 % 5 + 1);
        let responses: Vec<(&str, String)> =
            names.iter().enumerate().map(|(place, name)| (name.as_str(), text(place))).collect();
        let responses = responses.iter().map(|(name, text)| (*name, text.as_str()));
        let verdict = judge.judge(&JudgeRequest::new("Be brief.", "p", responses)).unwrap();
        for (place, scored) in verdict.scores.iter().enumerate() {
            assert_eq!((scored.name.as_str(), text(place)), (names[place].as_str(), format!("score={}", scored.score)));
            assert!(scored.distribution.is_some());
        }
        let ranked: Vec<f64> = verdict.ranking.iter().map(|&index| verdict.scores[index].score).collect();
        assert!(ranked.len() == names.len() && ranked.is_sorted_by(|a, b| a >= b), "{ranked:?}");
        assert!(verdict.repairs.is_empty() && server.generations() > names.len(), "{}", server.generations());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
