//! Reading a request from JSON: in the forms that data sets and clients write, with errors that name what is wrong.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::node::Node;
use super::{JudgeRequest, Response, conversation, rubric};
use crate::error::{Error, ErrorKind, Result};
use crate::principles;

/// The keys under which a line holds the parts of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Of the prompt.
    pub prompt: String,
    /// Of the responses: one key for all, or one for each response, which is then its name.
    pub responses: Vec<String>,
}

impl Default for Keys {
    fn default() -> Self {
        Self { prompt: "prompt".into(), responses: vec!["responses".into()] }
    }
}

/// One line as it was read.
#[derive(Debug)]
pub struct Reading {
    /// The request, or what is wrong with it.
    pub request: Result<JudgeRequest>,
    /// Fields that are not part of a request, as they were written, in their order. None if the line is not a JSON object.
    pub rest: Vec<(String, Box<RawValue>)>,
    /// Number of halves of surrogate pairs, which are not characters, that were replaced by U+FFFD.
    pub replaced: usize,
}

impl Reading {
    /// Reads a line. `principle`, if given, replaces the principle of every line.
    pub fn new(json: &[u8], keys: &Keys, principle: Option<&str>) -> Self {
        let mut parts = Parts::default();
        let mut replaced = 0;
        let parsed = parse(json, keys, &mut parts, &mut replaced);
        let rest = std::mem::take(&mut parts.rest);
        Self { request: parsed.and_then(|()| parts.request(keys, principle)), rest, replaced }
    }
}

/// Reads a request that must have no other fields.
pub(super) fn strict(json: &[u8]) -> Result<JudgeRequest> {
    let reading = Reading::new(json, &Keys::default(), None);
    let request = reading.request?;
    match reading.rest.first() {
        None => Ok(request),
        Some((unknown, _)) => Err(unknown_field(unknown)),
    }
}

/// The error of a field that is not part of a request.
pub(crate) fn unknown_field(name: &str) -> Error {
    invalid(format!(
        "the request has the unknown field {name:?}; it may have principle, rubric, prompt, responses, reference, \
         mask_responses and options"
    ))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

/// The fields of a line.
#[derive(Default)]
struct Parts {
    principle: Option<Node>,
    prompt: Option<Node>,
    responses: Vec<(String, Node)>,
    rubric: Option<Node>,
    reference: Option<Node>,
    mask_responses: Option<Node>,
    options: Option<Node>,
    rest: Vec<(String, Box<RawValue>)>,
}

fn parse(json: &[u8], keys: &Keys, parts: &mut Parts, replaced: &mut usize) -> Result<()> {
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let text = std::str::from_utf8(json)
        .map_err(|error| invalid(format!("the request is not UTF-8: bad byte at offset {}", error.valid_up_to())))?;
    let text = whole_characters(text, replaced);
    let outcome = crate::json::with_room(text.as_bytes(), || {
        let mut reader = serde_json::Deserializer::from_str(&text);
        Object { keys, parts }.deserialize(&mut reader).and_then(|()| reader.end())
    });
    outcome.map_err(|error| invalid(format!("the request is not valid: {}", positioned(&error, &text))))
}

/// An error of `serde_json` with its place: line and column, or only the column in a text of one line.
fn positioned(error: &serde_json::Error, text: &str) -> String {
    let (whole, line, column) = (error.to_string(), error.line(), error.column());
    let suffix = format!(" at line {line} column {column}");
    let what = whole.strip_suffix(&suffix).unwrap_or(&whole);
    let hint = if what.starts_with("trailing characters") {
        "; is this JSON Lines, with one request on each line?"
    } else {
        ""
    };
    if what.len() == whole.len() {
        format!("{whole}{hint}")
    } else if text.trim_end().contains('\n') {
        format!("{what} (line {line}, column {column}){hint}")
    } else {
        format!("{what} (column {column}){hint}")
    }
}

/// Reads the object of a request into its parts.
struct Object<'a> {
    keys: &'a Keys,
    parts: &'a mut Parts,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object {\"principle\", \"prompt\", \"responses\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { keys, parts } = self;
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(de::Error::custom(format_args!("the field {key:?} is given twice")));
            }
            if keys.responses.contains(&key) {
                let value = map.next_value()?;
                parts.responses.push((key, value));
                continue;
            }
            let place = match key.as_str() {
                _ if key == keys.prompt => &mut parts.prompt,
                "principle" => &mut parts.principle,
                "rubric" => &mut parts.rubric,
                "reference" => &mut parts.reference,
                "mask_responses" => &mut parts.mask_responses,
                "options" => &mut parts.options,
                _ => {
                    let value = map.next_value()?;
                    parts.rest.push((key, value));
                    continue;
                }
            };
            *place = Some(map.next_value()?);
        }
        Ok(())
    }
}

impl Parts {
    fn request(self, keys: &Keys, principle: Option<&str>) -> Result<JudgeRequest> {
        let missing = |key: &str| {
            invalid(format!("the request has no {key:?}: a request is {{\"principle\", \"prompt\", \"responses\"}}"))
        };
        let rubric = match self.rubric {
            None | Some(Node::Null) => Vec::new(),
            Some(node) => {
                let rubric = rubric::read(&node)?;
                rubric::check(&rubric)?;
                rubric
            }
        };
        let principle = match (principle, self.principle) {
            (Some(principle), _) => principle.to_owned(),
            (None, Some(Node::Text(principle))) => principle,
            (None, Some(Node::Object(fields))) => match fields.as_slice() {
                [(key, Node::Text(name))] if key == "named" => principles::principle(name)?.to_owned(),
                _ => return Err(invalid("\"principle\" is an object: it must be text, or {\"named\": name}")),
            },
            (None, Some(other)) => return Err(invalid(format!("\"principle\" is {}: it must be text", other.what()))),
            (None, None) if !rubric.is_empty() => String::new(),
            (None, None) => return Err(missing("principle")),
        };
        let prompt = self.prompt.ok_or_else(|| missing(&keys.prompt))?;
        let mut prompt = conversation::prompt(prompt).map_err(|what| invalid(format!("{:?} {what}", keys.prompt)))?;
        if let Some(reference) = self.reference.filter(|reference| *reference != Node::Null) {
            prompt.push_str("\n\nReference answer: ");
            prompt
                .push_str(&conversation::response(reference).map_err(|what| invalid(format!("\"reference\" {what}")))?);
        }
        let mask_responses = match self.mask_responses {
            None | Some(Node::Null) => None,
            Some(Node::Bool(mask)) => Some(mask),
            Some(other) => {
                return Err(invalid(format!("\"mask_responses\" is {}: it must be true or false", other.what())));
            }
        };
        let options = match self.options {
            None | Some(Node::Null) => crate::Options::default(),
            Some(options) => {
                let json = serde_json::to_vec(&options).map_err(|error| invalid(format!("options: {error}")))?;
                crate::json::read(&json).map_err(|error| {
                    let place = format!(" at line {} column {}", error.line(), error.column());
                    let whole = error.to_string();
                    invalid(format!("options: {}", whole.strip_suffix(&place).unwrap_or(&whole)))
                })?
            }
        };
        let responses = responses(keys, self.responses)?;
        Ok(JudgeRequest { principle, rubric, prompt, responses, mask_responses, options })
    }
}

/// The responses in their order, in whatever form they were given.
fn responses(keys: &Keys, mut given: Vec<(String, Node)>) -> Result<Vec<Response>> {
    let text = |name: String, node: Node| match conversation::response(node) {
        Ok(text) => Ok(Response { name, text }),
        Err(what) => Err(invalid(format!("response {name:?} {what}"))),
    };
    if let [key] = keys.responses.as_slice() {
        let (_, node) = given.pop().ok_or_else(|| {
            invalid(format!("the request has no {key:?}: a request is {{\"principle\", \"prompt\", \"responses\"}}"))
        })?;
        return match node {
            Node::Object(entries) => {
                let mut seen = HashSet::new();
                if let Some((twice, _)) = entries.iter().find(|(name, _)| !seen.insert(name.as_str())) {
                    return Err(invalid(format!("the response name {twice:?} is given twice")));
                }
                entries.into_iter().map(|(name, node)| text(name, node)).collect()
            }
            Node::List(entries) => {
                entries.into_iter().enumerate().map(|(index, node)| text((index + 1).to_string(), node)).collect()
            }
            other => Err(invalid(format!(
                "{key:?} is {}: responses are an object {{name: text}} or a list of texts",
                other.what()
            ))),
        };
    }
    // In the order of the keys, so that all lines agree.
    keys.responses
        .iter()
        .map(|key| {
            let at = given.iter().position(|(name, _)| name == key);
            let (name, node) = at.map(|at| given.swap_remove(at)).ok_or_else(|| {
                invalid(format!("the request has no {key:?}, which was named as the key of a response"))
            })?;
            text(name, node)
        })
        .collect()
}

/// JSON in which every `\ud800` to `\udfff` that is not part of a pair is replaced by `\ufffd`. Programs that cut text in
/// the middle of a character write such halves, and UTF-8 cannot hold them.
fn whole_characters<'a>(json: &'a str, replaced: &mut usize) -> Cow<'a, str> {
    let unit = |at: usize| {
        let escape = json.get(at..at + 6)?.strip_prefix("\\u")?;
        escape.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u16::from_str_radix(escape, 16).ok()).flatten()
    };
    let mut text = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(offset) = json[at..].find('\\') {
        at += offset;
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                text.to_mut().replace_range(at..at + 6, "\\ufffd");
                *replaced += 1;
                at += 6;
            }
            // An escape is followed by a character, which may be a backslash itself.
            _ => at += 1 + json[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<JudgeRequest> {
        JudgeRequest::from_json(json.as_bytes())
    }

    fn message(json: &str) -> String {
        read(json).unwrap_err().message().to_owned()
    }

    /// A request with a prompt and responses as JSON.
    fn with(prompt: &str, responses: &str) -> String {
        format!(r#"{{"principle":"p","prompt":{prompt},"responses":{responses}}}"#)
    }

    #[test]
    fn a_conversation_is_written_as_text() {
        let prompt = |json: &str| read(&with(json, r#"["x"]"#)).map(|request| request.prompt);
        assert_eq!(prompt(r#"[{"role":"user","content":"Hi"}]"#).unwrap(), "Hi");
        let several = r#"[{"role":"system","content":"Be kind."},{"role":"user","content":[{"type":"text","text":"Hi"}," there"]},
            {"role":"assistant","content":"Hello!","tool_calls":[],"refusal":null}]"#;
        assert_eq!(prompt(several).unwrap(), "system: Be kind.\n\nuser: Hi there\n\nassistant: Hello!");
        for (bad, words) in [
            ("null", vec!["\"prompt\" is null"]),
            ("[]", vec!["empty list"]),
            ("[\"Hi\"]", vec!["entry 1 is \"Hi\"", "\"role\""]),
            (r#"[{"content":"Hi"}]"#, vec!["no \"role\" in message 1"]),
            (r#"[{"role":"user"}]"#, vec!["no \"content\" in message 1"]),
            (r#"[{"role":"user","content":null}]"#, vec!["null as the content of message 1"]),
            (r#"[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]"#, vec!["image_url", "message 1"]),
            (r#"[{"role":"user","content":[{"type":"input_audio"}]}]"#, vec!["input_audio", "cannot read"]),
            (r#"[{"role":"user","content":"Hi","images":["x"]}]"#, vec!["images in message 1"]),
            (r#"[{"role":"assistant","content":null,"tool_calls":[{}]}]"#, vec!["tool calls in message 1"]),
            (r#"[{"role":"user","content":"Hi"},{"role":"tool","content":"7"}]"#, vec!["tool call in message 2"]),
        ] {
            let message = message(&with(bad, r#"["x"]"#));
            assert!(words.iter().all(|word| message.contains(word)), "{bad}: {message}");
        }
    }

    #[test]
    fn responses_come_as_object_list_or_conversations() {
        let texts = |json: &str| {
            let request = read(&with("\"q\"", json)).unwrap();
            request.responses.into_iter().map(|response| (response.name, response.text)).collect::<Vec<_>>()
        };
        let pair = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(texts(r#"["x",""]"#), [pair("1", "x"), pair("2", "")]);
        let said = r#"{"a":[{"role":"assistant","content":"x"},{"role":"user","content":"?"},{"role":"assistant","content":"y"}]}"#;
        assert_eq!(texts(said), [pair("a", "x\n\ny")]);
        assert_eq!(texts(r#"[{"role":"assistant","content":"x"}]"#), [pair("1", "x")]);
        assert!(message(&with("\"q\"", r#"{"a":null}"#)).contains("response \"a\" is null: it must be text"));
        assert!(message(&with("\"q\"", r#"["x",7]"#)).contains("response \"2\" is 7: it must be text"));
        assert!(message(&with("\"q\"", r#"{"a":"x","a":"y"}"#)).contains("\"a\" is given twice"));
        assert!(message(&with("\"q\"", "\"x\"")).contains("\"responses\" is \"x\""));
    }

    #[test]
    fn a_reference_answer_stands_behind_the_prompt() {
        let request = read(r#"{"principle":"p","prompt":"q","responses":["x"],"reference":"r"}"#).unwrap();
        assert_eq!(request.prompt, "q\n\nReference answer: r");
        let request = read(r#"{"principle":"p","prompt":"q","responses":["x"],"reference":null}"#).unwrap();
        assert_eq!(request.prompt, "q");
    }

    #[test]
    fn errors_say_what_a_request_is() {
        assert!(message("[]").contains("an object {\"principle\", \"prompt\", \"responses\"}"));
        assert!(message("{}").contains("no \"principle\""));
        assert!(message(r#"{"principle":"p","responses":["x"]}"#).contains("no \"prompt\""));
        assert!(message(&with("\"q\"", "[\"x\"]").replacen('{', "{\"id\":1,", 1)).contains("unknown field \"id\""));
        assert!(message("{\"principle\":1e}").ends_with("(column 16)"), "{}", message("{\"principle\":1e}"));
        assert!(message("{\n\"principle\" 1}").ends_with("(line 2, column 13)"), "{}", message("{\n\"principle\" 1}"));
        assert!(message(r#"{"principle":"p","principle":"p"}"#).contains("\"principle\" is given twice"));
        let options = r#"{"principle":"p","prompt":"q","responses":["x"],"options":{"temprature":1}}"#;
        assert!(message(options).starts_with("options: unknown field `temprature`"), "{}", message(options));
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced_and_counted() {
        let json = with(r#""a\ud83d\ude00b\ud83dc\\ud83d\udc00\ud83d""#, r#"["\ud800\ud83d\ude00"]"#);
        let reading = Reading::new(json.as_bytes(), &Keys::default(), None);
        let request = reading.request.unwrap();
        assert_eq!(request.prompt, "a😀b\u{fffd}c\\ud83d\u{fffd}\u{fffd}");
        assert_eq!(request.responses[0].text, "\u{fffd}😀");
        assert_eq!(reading.replaced, 4);
        assert!(message("{\"principle\":\"\\u12").contains("not valid"));
    }

    #[test]
    fn other_fields_and_keys_are_kept_as_written() {
        let keys = Keys { prompt: "question".into(), responses: vec!["chosen".into(), "rejected".into()] };
        let line = r#"{"rejected":"n","id":12345678901234567890123,"question":"q","chosen":"y","metadata":{"b": 1.0, "a":[]}}"#;
        let reading = Reading::new(line.as_bytes(), &keys, Some("the same"));
        let rest: Vec<_> = reading.rest.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
        assert_eq!(rest, [("id", "12345678901234567890123"), ("metadata", r#"{"b": 1.0, "a":[]}"#)]);
        let request = reading.request.unwrap();
        assert_eq!((request.principle.as_str(), request.prompt.as_str()), ("the same", "q"));
        assert_eq!(request.responses[0], Response { name: "chosen".into(), text: "y".into() });
        let reading = Reading::new(br#"{"id":7,"question":"q","chosen":"y"}"#, &keys, Some("p"));
        assert!(reading.request.unwrap_err().message().contains("no \"rejected\""));
        assert_eq!(reading.rest.len(), 1, "the fields come back with an error too");
    }
}
