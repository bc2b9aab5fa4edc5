//! A model's chat template, rendered so that text of the template and text of users stay separate.
//!
//! The template never sees text of users. It renders placeholders, which are then replaced by the contents. So nothing in a
//! content can influence the template. The rendering depends only on the leading and trailing white space of a content (many
//! templates trim), so it can be kept.

mod date;
mod environment;
mod json;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::Value;
use minijinja::{Environment, context};

use super::messages::Message;
use crate::error::{Error, ErrorKind, Result};
use crate::files::read_bounded;
pub(crate) use date::Date;

/// A part of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Written by the template: may hold control tokens.
    Template(String),
    /// Written by users: never contains control tokens, whatever it looks like.
    Text(String),
}

impl Segment {
    /// Its text, whoever wrote it.
    pub fn text(&self) -> &str {
        match self {
            Self::Template(text) | Self::Text(text) => text,
        }
    }
}

/// A rendered prompt in one piece.
pub(super) struct Rendered {
    pub(super) text: String,
    /// What the template wrote of it, in order: before, between and after what users wrote.
    pub(super) template: Vec<Range<usize>>,
}

impl Rendered {
    /// What the template wrote last.
    pub(super) fn tail(&self) -> &str {
        self.template.last().map_or("", |range| &self.text[range.clone()])
    }
}

/// Largest template that is accepted; the longest ones in use have about 20 KiB.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;
/// Stack for compiling and rendering: deep enough for any nesting that fits [`MAX_TEMPLATE_BYTES`] and the fuel.
const STACK_BYTES: usize = 256 << 20;
/// Number of renderings that are kept. A judge has one, or two if requests switch the reasoning.
const MAX_SKELETONS: usize = 32;

/// Reads a chat template from a file: Jinja, or JSON that holds it under `chat_template`, as `tokenizer_config.json` does.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] naming the file and what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<String> {
    const MAX_FILE_BYTES: u64 = 32 << 20;
    let fail = |what: &dyn std::fmt::Display| {
        let message = format!("cannot read the chat template {}: {what}", path.display());
        Error::new(ErrorKind::InvalidConfig, message)
    };
    let bytes = read_bounded(path, MAX_FILE_BYTES).map_err(|error| fail(&error))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| fail(&format_args!("not UTF-8 at offset {}", error.utf8_error().valid_up_to())))?;
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&text) else { return Ok(text) };
    // Several templates are a list of names and templates, of which one is the default.
    let default = |list: &Vec<serde_json::Value>| {
        list.iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str().map(str::to_owned))
    };
    let template = fields.get("chat_template").and_then(|found| match found {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Array(list) => default(list),
        _ => None,
    });
    template.ok_or_else(|| fail(&"it is JSON, but has no text under \"chat_template\""))
}

/// A compiled chat template. Shared by any number of threads.
pub struct ChatTemplate {
    source: String,
    bos: Option<String>,
    eos: Option<String>,
    variables: serde_json::Map<String, serde_json::Value>,
    date: Date,
    /// So few that the one wanted is found sooner by looking at each than by a hash.
    skeletons: Mutex<Vec<(SkeletonKey, Arc<Skeleton>)>>,
}

/// What the template's own text depends on.
struct SkeletonKey {
    /// Role and leading and trailing white space of each message.
    messages: Vec<(&'static str, String, String)>,
    /// Whether the judge reasons.
    reasoning: bool,
}

impl SkeletonKey {
    fn is_of(&self, parts: &[Parts<'_>], reasoning: bool) -> bool {
        let same = |((role, lead, trail), part): (&(&str, String, String), &Parts<'_>)| {
            *role == part.role && lead == part.lead && trail == part.trail
        };
        self.reasoning == reasoning && self.messages.len() == parts.len() && self.messages.iter().zip(parts).all(same)
    }
}

/// The template's own text before, between and after the contents.
type Skeleton = Vec<String>;

impl ChatTemplate {
    /// Compiles a template in Jinja as models have it, with the text of the tokens that it may name as `bos_token` and
    /// `eos_token`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if it is longer than 128 KiB or not valid Jinja; the error gives the line.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(invalid(format!("has {} bytes, the limit is {MAX_TEMPLATE_BYTES}", source.len())));
        }
        let this = Self {
            source: rewrite::rewrite(source).into_owned(),
            bos: bos.map(str::to_owned),
            eos: eos.map(str::to_owned),
            variables: serde_json::Map::new(),
            date: Date::today(),
            skeletons: Mutex::default(),
        };
        on_deep_stack(|| environment(&this.source, this.date).map(drop))?;
        Ok(this)
    }

    /// Gives the template further variables, such as `{"custom_tools": []}`. They override the usual ones, except `messages`,
    /// and except `enable_thinking` and `thinking` if the judge should not reason.
    #[must_use]
    pub fn with_variables(mut self, variables: serde_json::Map<String, serde_json::Value>) -> Self {
        self.variables = variables;
        self.skeletons = Mutex::default();
        self
    }

    /// Sets the day that `strftime_now` writes, as `2026-01-31`; by default it is the day on which this was made.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] if it is not a day.
    pub fn with_date(mut self, date: &str) -> Result<Self> {
        self.date = Date::parse(date).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidProfile,
                format!("template_date is {date:?}: it must be a day, such as 2026-01-31"),
            )
        })?;
        self.skeletons = Mutex::default();
        Ok(self)
    }

    /// Renders messages with a generation prompt. The template gets `enable_thinking` and `thinking`, true if the judge
    /// reasons and false if it does not.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if the template refuses the messages, uses something that does not exist, exceeds its
    /// limits, or does not show each content exactly once and unchanged.
    pub fn render(&self, messages: &[Message], reasoning: bool) -> Result<Vec<Segment>> {
        let Rendered { text, template } = self.prompt(messages, reasoning)?;
        let mut segments = Vec::with_capacity(2 * template.len());
        let mut done = 0;
        for (place, own) in template.into_iter().enumerate() {
            if place > 0 {
                segments.push(Segment::Text(text[done..own.start].to_owned()));
            }
            done = own.end;
            segments.push(Segment::Template(text[own].to_owned()));
        }
        Ok(segments)
    }

    /// As [`Self::render`], in one piece.
    ///
    /// # Errors
    /// Those of [`Self::render`].
    pub(super) fn prompt(&self, messages: &[Message], reasoning: bool) -> Result<Rendered> {
        let parts: Vec<Parts<'_>> = messages.iter().map(Parts::of).collect();
        let skeleton = self.skeleton(&parts, reasoning)?;
        let bytes =
            skeleton.iter().map(String::len).sum::<usize>() + parts.iter().map(|part| part.core.len()).sum::<usize>();
        let (mut text, mut template) = (String::with_capacity(bytes), Vec::with_capacity(skeleton.len()));
        for (place, own) in skeleton.iter().enumerate() {
            let start = text.len();
            text.push_str(own);
            template.push(start..text.len());
            text.push_str(parts.get(place).map_or("", |part| part.core));
        }
        Ok(Rendered { text, template })
    }

    fn skeleton(&self, parts: &[Parts<'_>], reasoning: bool) -> Result<Arc<Skeleton>> {
        let known = |skeletons: &[(SkeletonKey, Arc<Skeleton>)]| {
            let known = skeletons.iter().find(|(key, _)| key.is_of(parts, reasoning));
            known.map(|(_, skeleton)| Arc::clone(skeleton))
        };
        if let Some(skeleton) = known(&self.skeletons.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(skeleton);
        }
        // Rendered outside the lock: two threads may do it twice, but none waits.
        let skeleton = Arc::new(self.render_skeleton(parts, reasoning)?);
        let mut skeletons = self.skeletons.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&skeletons).is_none() {
            if skeletons.len() >= MAX_SKELETONS {
                skeletons.clear();
            }
            let messages = parts.iter().map(|part| (part.role, part.lead.to_owned(), part.trail.to_owned())).collect();
            skeletons.push((SkeletonKey { messages, reasoning }, Arc::clone(&skeleton)));
        }
        Ok(skeleton)
    }

    fn render_skeleton(&self, parts: &[Parts<'_>], reasoning: bool) -> Result<Skeleton> {
        let marks: Vec<String> = (0..parts.len()).map(placeholder).collect();
        let messages: Vec<Value> = parts
            .iter()
            .zip(&marks)
            .map(|(part, mark)| context! { role => part.role, content => format!("{}{mark}{}", part.lead, part.trail) })
            .collect();
        // Transformers always passes `tools` and `documents`, and special tokens if they are set. Some templates treat an
        // undefined `enable_thinking` as "do not think".
        let mut variables: BTreeMap<&str, Value> = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
        ]);
        variables.extend(self.bos.as_deref().map(|bos| ("bos_token", Value::from(bos))));
        variables.extend(self.eos.as_deref().map(|eos| ("eos_token", Value::from(eos))));
        for name in ["enable_thinking", "thinking"] {
            variables.insert(name, Value::from(reasoning));
        }
        for (name, value) in &self.variables {
            if name != "messages" && (reasoning || !["enable_thinking", "thinking"].contains(&name.as_str())) {
                variables.insert(name, value_of(value));
            }
        }
        let variables = Value::from(variables);
        let rendered = on_deep_stack(|| {
            let environment = environment(&self.source, self.date)?;
            let template = environment.get_template(NAME).map_err(|error| failed(&error))?;
            template.render(&variables).map_err(|error| failed(&error))
        })?;
        split(&rendered, parts, &marks)
    }
}

/// A message taken apart: what a trimming template would remove, and what it would keep.
struct Parts<'a> {
    role: &'static str,
    lead: &'a str,
    core: &'a str,
    trail: &'a str,
}

impl<'a> Parts<'a> {
    fn of(message: &'a Message) -> Self {
        let content = message.content.as_str();
        let rest = content.trim_start();
        let core = rest.trim_end();
        Self { role: message.role, lead: &content[..content.len() - rest.len()], core, trail: &rest[core.len()..] }
    }
}

/// The placeholder of content number `index`. It has quotes, markup, both cases, two blanks and a line end, so that a template
/// which escapes, changes case, wraps or cuts contents changes it and is detected.
fn placeholder(index: usize) -> String {
    format!("\u{e000}Content  <{index}>\n\"&'\\\u{e001}")
}

/// Cuts a rendering at the placeholders.
fn split(rendered: &str, parts: &[Parts<'_>], marks: &[String]) -> Result<Skeleton> {
    let mut skeleton = Vec::with_capacity(marks.len() + 1);
    let mut rest = rendered;
    for (part, mark) in parts.iter().zip(marks) {
        let role = part.role;
        match rendered.matches(mark.as_str()).count() {
            1 => {}
            0 => return Err(invalid(format!("drops or rewrites the {role} message"))),
            times => return Err(invalid(format!("writes the {role} message {times} times"))),
        }
        let Some((before, after)) = rest.split_once(mark.as_str()) else {
            return Err(invalid(format!("writes the {role} message before one that comes earlier")));
        };
        skeleton.push(before.to_owned());
        rest = after;
    }
    skeleton.push(rest.to_owned());
    Ok(skeleton)
}

/// Name of the template within its environment, as shown in messages.
const NAME: &str = "chat_template";

/// The compiled template in its environment.
fn environment(source: &str, date: Date) -> Result<Environment<'_>> {
    let mut environment = environment::environment(date).map_err(|error| failed(&error))?;
    environment.add_template(NAME, source).map_err(|error| failed(&error))?;
    Ok(environment)
}

/// A variable as the renderer holds it.
fn value_of(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::from(number),
            (None, Some(number)) => Value::from(number),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value_of).collect(),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(key, field)| (key.as_str(), value_of(field)))),
    }
}

/// Runs `work` on a stack that deep recursion cannot overflow: compiling and dropping recurse as deep as a template nests, and
/// a template comes from a file.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let caught = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let outcome = crate::thread::on_stack(STACK_BYTES, caught).map_err(|error| {
        Error::new(ErrorKind::Internal, format!("cannot start a thread to render the chat template: {error}"))
    })?;
    outcome.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "rendering the chat template panicked")))
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("the model's chat template {what}"))
}

fn failed(error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let what = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    invalid(format!("fails{line}: {what}"))
}
