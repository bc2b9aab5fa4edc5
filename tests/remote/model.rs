//! The judge that the servers for tests serve: its vocabulary of bytes, its template, its verdicts.

use std::fmt::Write as _;

use serde_json::Value;

/// Bytes are tokens; these come after them.
pub(crate) const OPEN: u32 = 256;
pub(crate) const CLOSE: u32 = 257;
const SPECIALS: [(&str, u32); 4] = [("<think>", OPEN), ("</think>", CLOSE), ("<|im_start|>", 258), ("<|im_end|>", 259)];
pub(crate) const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}\
                                   <|im_start|>assistant\n{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}";

pub(crate) fn tokens(text: &str, special: bool) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut rest = text;
    'text: while let Some(letter) = rest.chars().next() {
        if special {
            for (name, id) in SPECIALS {
                if let Some(after) = rest.strip_prefix(name) {
                    ids.push(id);
                    rest = after;
                    continue 'text;
                }
            }
        }
        ids.extend(rest.as_bytes()[..letter.len_utf8()].iter().map(|&byte| u32::from(byte)));
        rest = &rest[letter.len_utf8()..];
    }
    ids
}

/// The text of ids; control tokens by their names.
pub(crate) fn text(ids: &[u32]) -> String {
    let mut bytes = Vec::new();
    for &id in ids {
        match SPECIALS.iter().find(|(_, special)| *special == id) {
            Some((name, _)) => bytes.extend(name.as_bytes()),
            None => bytes.push(u8::try_from(id).unwrap()),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The verdict that the server's judge gives: a response that holds `score=4` has 4.
pub(crate) fn verdict(prompt: &str) -> String {
    let json =
        prompt.lines().find(|line| line.starts_with("{\"principle\"")).expect("a request").replace("<|im_end|>", "");
    let request: Value = serde_json::from_str(&json).unwrap();
    let scored: Vec<(String, u64)> = request["responses"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, text)| {
            let score = text.as_str().unwrap().split_once("score=").map_or("3", |(_, rest)| &rest[..1]);
            (name.clone(), score.parse().unwrap())
        })
        .collect();
    let mut ranked = scored.clone();
    ranked.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
    let quote = |text: &String| Value::from(text.as_str()).to_string();
    let pairs: Vec<_> = scored.iter().map(|(name, score)| format!("{}: {score}", quote(name))).collect();
    let ranking: Vec<_> = ranked.iter().map(|(name, _)| quote(name)).collect();
    format!("{{\n  \"scores\": {{{}}},\n  \"best-to-worst\": [{}]\n}}", pairs.join(", "), ranking.join(", "))
}

/// The likeliest tokens where this one is written, with their log probabilities.
pub(crate) fn top(shown: &str) -> Vec<(String, f64)> {
    if shown.len() == 1 && shown.as_bytes()[0].is_ascii_digit() {
        vec![(shown.to_owned(), -0.25), ("9".into(), -1.5), ("1".into(), -3.0)]
    } else {
        vec![(shown.to_owned(), 0.0)]
    }
}

pub(crate) fn rendered(body: &Value) -> String {
    let mut text = String::new();
    for message in body["messages"].as_array().unwrap() {
        let [role, content] = ["role", "content"].map(|key| message[key].as_str().unwrap());
        let _ = writeln!(
            text,
            "<|im_start|>{role}
{content}<|im_end|>"
        );
    }
    text + "<|im_start|>assistant\n"
}
