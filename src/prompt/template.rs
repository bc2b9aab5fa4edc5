//! A model's chat template, rendered so that it stays known which text the template wrote and which people wrote.
//!
//! The template never sees what people wrote. It renders placeholders; where they come out is where the contents go. So
//! nothing in a content can steer the template, and what it renders depends on a content's outer white space alone
//! (many templates trim) and can be kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, State, context};

use super::messages::Message;
use crate::error::{Error, ErrorKind, Result};

/// A part of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Written by the template: may hold control tokens.
    Template(String),
    /// Written by people: holds none, whatever it looks like.
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

/// Largest template that is taken: the longest ones in use have some 20 KiB.
const MAX_TEMPLATE_BYTES: usize = 128 << 10;
/// What one rendering may use: about one unit an instruction and one for 64 bytes made. Ten to a hundred times what the
/// longest templates in use need for two messages.
const FUEL: u64 = 200_000;
/// Stack for compiling and rendering: deep enough for any nesting that fits [`MAX_TEMPLATE_BYTES`] and [`FUEL`].
const STACK_BYTES: usize = 256 << 20;
/// Renderings that are kept. A judge has one, or two where requests switch the reasoning.
const MAX_SKELETONS: usize = 32;

/// A compiled chat template. Shared by any number of threads.
pub struct ChatTemplate {
    source: String,
    bos: Option<String>,
    eos: Option<String>,
    skeletons: Mutex<HashMap<SkeletonKey, Arc<Skeleton>>>,
}

/// What the template's own text depends on: role and outer white space of each message, and whether the judge reasons.
type SkeletonKey = (Vec<(&'static str, String, String)>, bool);
/// The template's own text before, between and after the contents.
type Skeleton = Vec<String>;

impl ChatTemplate {
    /// Takes a template in Jinja as models carry it, with the text of the tokens that it may name as `bos_token` and
    /// `eos_token`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] with the line where it is not valid Jinja, or where it is longer than 128 KiB.
    pub fn new(source: &str, bos: Option<&str>, eos: Option<&str>) -> Result<Self> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(invalid(format!("has {} bytes, the limit is {MAX_TEMPLATE_BYTES}", source.len())));
        }
        let this = Self {
            source: without_generation_blocks(source).into_owned(),
            bos: bos.map(str::to_owned),
            eos: eos.map(str::to_owned),
            skeletons: Mutex::default(),
        };
        on_deep_stack(|| environment(&this.source).map(drop))?;
        Ok(this)
    }

    /// Renders messages with a generation prompt. Where the judge does not reason, the template is told
    /// `enable_thinking = false`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] where the template refuses the messages, uses something that is not there, runs out
    /// of its bounds, or does not show each content exactly once and unchanged.
    pub fn render(&self, messages: &[Message], reasoning: bool) -> Result<Vec<Segment>> {
        let parts: Vec<Parts<'_>> = messages.iter().map(Parts::of).collect();
        let skeleton = self.skeleton(&parts, reasoning)?;
        let mut segments = Vec::with_capacity(2 * parts.len() + 1);
        for (before, part) in skeleton.iter().zip(&parts) {
            segments.push(Segment::Template(before.clone()));
            segments.push(Segment::Text(part.core.to_owned()));
        }
        segments.extend(skeleton.last().cloned().map(Segment::Template));
        Ok(segments)
    }

    fn skeleton(&self, parts: &[Parts<'_>], reasoning: bool) -> Result<Arc<Skeleton>> {
        let key = (parts.iter().map(Parts::key).collect(), reasoning);
        let known = self.skeletons.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(skeleton) = known {
            return Ok(skeleton);
        }
        // Rendered outside of the lock: two threads may do it twice, none waits.
        let skeleton = Arc::new(self.render_skeleton(parts, reasoning)?);
        let mut skeletons = self.skeletons.lock().unwrap_or_else(PoisonError::into_inner);
        if skeletons.len() >= MAX_SKELETONS {
            skeletons.clear();
        }
        skeletons.insert(key, Arc::clone(&skeleton));
        Ok(skeleton)
    }

    fn render_skeleton(&self, parts: &[Parts<'_>], reasoning: bool) -> Result<Skeleton> {
        let marks: Vec<String> = (0..parts.len()).map(placeholder).collect();
        let messages: Vec<Value> = parts
            .iter()
            .zip(&marks)
            .map(|(part, mark)| context! { role => part.role, content => format!("{}{mark}{}", part.lead, part.trail) })
            .collect();
        // Transformers passes `tools` and `documents` always, special tokens and `enable_thinking` where they are set.
        let mut variables = BTreeMap::from([
            ("messages", Value::from(messages)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(true)),
        ]);
        variables.extend(self.bos.as_deref().map(|bos| ("bos_token", Value::from(bos))));
        variables.extend(self.eos.as_deref().map(|eos| ("eos_token", Value::from(eos))));
        if !reasoning {
            variables.insert("enable_thinking", Value::from(false));
        }
        let variables = Value::from(variables);
        let rendered = on_deep_stack(|| {
            let environment = environment(&self.source)?;
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

    fn key(&self) -> (&'static str, String, String) {
        (self.role, self.lead.to_owned(), self.trail.to_owned())
    }
}

/// What stands for content number `index`. A template that escapes, changes case, wraps or cuts contents changes it, and
/// so is found out: quotes, markup, both cases, two blanks, a line end.
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

/// Name of the template within its environment, as it stands in messages.
const NAME: &str = "chat_template";

/// The environment that templates of models are written for: that of Transformers.
fn environment(source: &str) -> Result<Environment<'_>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| failed(&error))?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message))
    });
    environment.add_filter("tojson", to_json);
    environment.add_template(NAME, source).map_err(|error| failed(&error))?;
    Ok(environment)
}

/// Python's `json.dumps(value, ensure_ascii=False, indent=indent)`: other spacing than the built-in filter, no HTML
/// escapes.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
fn to_json(state: &State, value: &Value, options: Kwargs) -> std::result::Result<String, minijinja::Error> {
    use minijinja::{Error, ErrorKind};
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let value =
        serde_json::to_value(value).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    let mut json = String::new();
    python_json(&mut json, &value, indent, 0);
    state.consume_fuel(json.len() as u64 / 64)?;
    Ok(json)
}

/// Appends a value in the layout of Python's `json.dumps`.
fn python_json(json: &mut String, value: &serde_json::Value, indent: Option<usize>, depth: usize) {
    use serde_json::Value;
    let new_line = |json: &mut String, depth: usize| {
        if let Some(indent) = indent {
            json.push('\n');
            json.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    let comma = if indent.is_some() { "," } else { ", " };
    match value {
        Value::Array(items) if !items.is_empty() => {
            json.push('[');
            for (place, item) in items.iter().enumerate() {
                json.push_str(if place > 0 { comma } else { "" });
                new_line(json, depth + 1);
                python_json(json, item, indent, depth + 1);
            }
            new_line(json, depth);
            json.push(']');
        }
        Value::Object(fields) if !fields.is_empty() => {
            json.push('{');
            for (place, (key, field)) in fields.iter().enumerate() {
                json.push_str(if place > 0 { comma } else { "" });
                new_line(json, depth + 1);
                json.push_str(&Value::from(key.as_str()).to_string());
                json.push_str(": ");
                python_json(json, field, indent, depth + 1);
            }
            new_line(json, depth);
            json.push('}');
        }
        other => json.push_str(&other.to_string()),
    }
}

/// Takes `{% generation %}` blocks out, which mark text for training and mean nothing here. An `if` that always holds
/// keeps their white space control.
fn without_generation_blocks(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        // From behind the opening: in `{%}` no tag ends.
        let Some(length) = rest[start + 2..].find("%}") else { break };
        let tag = &rest[start + 2..start + 2 + length];
        let word = tag.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        out.push_str(&rest[..start + 2]);
        match word {
            "generation" => out.push_str(&tag.replace(word, "if true")),
            "endgeneration" => out.push_str(&tag.replace(word, "endif")),
            _ => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[start + length + 4..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Runs `work` where deep recursion cannot overflow the stack: compiling and dropping go as deep as a template nests, and
/// a template comes from a file.
fn on_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("dicast-template".into()).stack_size(STACK_BYTES);
        let handle = thread.spawn_scoped(scope, work).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("cannot start a thread to render the chat template: {error}"))
        })?;
        handle.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "rendering the chat template panicked")))
    })
}

fn invalid(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidModel, format!("the model's chat template {what}"))
}

fn failed(error: &minijinja::Error) -> Error {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let what = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    invalid(format!("fails{line}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Vec<Message> {
        vec![
            Message { role: "system", content: "\n S </think> \n".into() },
            Message { role: "user", content: "{{ U }}<|im_end|>".into() },
        ]
    }

    fn render(source: &str) -> Result<Vec<Segment>> {
        ChatTemplate::new(source, None, None)?.render(&pair(), true)
    }

    #[track_caller]
    fn fails(source: &str, what: &str) {
        let error = render(source).expect_err("an error");
        assert_eq!(error.kind(), ErrorKind::InvalidModel);
        assert!(error.message().contains(what), "{error}");
    }

    #[test]
    fn texts_stand_apart_from_the_template() {
        let segments = render("A{% for m in messages %}{{ m.content|trim }}B{% endfor %}").expect("segments");
        let template = |text: &str| Segment::Template(text.into());
        let text = |text: &str| Segment::Text(text.into());
        assert_eq!(
            segments,
            [template("A"), text("S </think>"), template("B"), text("{{ U }}<|im_end|>"), template("B")]
        );
        // White space that the template keeps stands in its segments.
        let segments = render("{% for m in messages %}{{ m.content }}{% endfor %}").expect("segments");
        assert_eq!(segments[..3], [template("\n "), text("S </think>"), template(" \n")]);
    }

    #[test]
    fn a_content_that_does_not_come_out_whole_is_an_error() {
        fails("{{ messages[1].content }}", "drops or rewrites the system message");
        for filter in ["upper", "lower", "e", "replace('<', '')", "tojson", "indent", "last"] {
            fails(&format!("{{{{ messages[0].content }}}}{{{{ messages[1].content|{filter} }}}}"), "rewrites the user");
        }
        fails("{{ messages[0].content }}{{ messages[1].content.split()|join(' ') }}", "rewrites the user message");
        fails("{{ messages[0].content }}{{ messages[1].content * 2 }}", "writes the user message 2 times");
        fails("{{ messages[1].content }}{{ messages[0].content }}", "before one that comes earlier");
    }

    #[test]
    fn what_fails_is_named_with_its_line() {
        fails("\n{% if %}", "fails in line 2");
        fails("{{ raise_exception('No system role') }}", "No system role");
        fails("{{ strftime_now('%Y') }}", "strftime_now");
        fails(&"x".repeat(MAX_TEMPLATE_BYTES + 1), "the limit is 131072");
    }

    #[test]
    fn a_hostile_template_neither_hangs_nor_crashes() {
        let deep = MAX_TEMPLATE_BYTES / 2 - 64;
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
            "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}".to_owned(),
            "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}".to_owned(),
            "{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}".to_owned(),
            "{% set n = namespace(s={}) %}{% for i in range(30000) %}{% set n.s = {'a': n.s} %}{% endfor %}{{ n.s|tojson }}"
                .to_owned(),
            "{{ 'x' * 99999999 * 99999999 }}".to_owned(),
            "{{ 'x'.replace('', 'y' * 9999999) }}".to_owned(),
            "{{ '%999999999d' | format(1) }}{{ 'x' | indent(999999999) }}{{ 'x' | center(999999999) }}".to_owned(),
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
            format!("{{{{ 1{} }}}}", "+1".repeat(deep)),
            format!("{{{{ {}1 }}}}", "-".repeat(deep)),
            format!("{{{{ {} }}}}", "[".repeat(deep)),
            format!("{{{{ x{} }}}}", "|e".repeat(deep)),
            format!("{{{{ x{} }}}}", ".a".repeat(deep)),
            format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(deep / 8)),
            "{% if 1 %}".repeat(MAX_TEMPLATE_BYTES / 10),
            format!("{}{}", "{% if 1 %}".repeat(4000), "{% endif %}".repeat(4000)),
            "{% include 'chat_template' %}".to_owned(),
        ] {
            let error = render(&source).expect_err("an error");
            assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
        }
    }

    #[test]
    fn renderings_are_kept_within_bounds() {
        let template =
            ChatTemplate::new("{% for m in messages %}{{ m.content }}{% endfor %}", None, None).expect("valid");
        for pad in 0..3 * MAX_SKELETONS {
            let messages = [Message { role: "user", content: " ".repeat(pad) + "x" }];
            let segments = template.render(&messages, true).expect("segments");
            assert_eq!(segments[0].text().len(), pad);
        }
        assert!(template.skeletons.lock().expect("not poisoned").len() <= MAX_SKELETONS);
    }

    #[test]
    fn generation_blocks_mean_nothing() {
        let source = "{% for m in messages %}{{ m.content }}{%- generation %} {{ 'generation' }} {%- endgeneration -%} \
                      {% endfor %}";
        let segments = render(source).expect("segments");
        assert_eq!(segments[4], Segment::Template(" generation".into()));
    }
}
