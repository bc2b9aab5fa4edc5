//! Python's `json.dumps` as the filter `tojson`, with the options that Transformers gives it.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::environment::Bounded;

/// Deepest nesting that is written, and the widest indent: limits of memory, far above what templates use.
const MAX_DEPTH: usize = 64;
const MAX_INDENT: usize = 64;

/// How the JSON is laid out.
struct Layout {
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
    sorted: bool,
}

/// `json.dumps(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`: other spacing than the built-in
/// filter, no HTML escapes.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
pub(super) fn filter(state: &State, value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        Some(indent) => Some(usize::try_from(indent).ok().filter(|&indent| indent <= MAX_INDENT).ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("tojson: indent must be from 0 to {MAX_INDENT}"))
        })?),
        None => None,
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let (item, key) = match separators.as_deref() {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two strings")),
    };
    let ascii = options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    let sorted = options.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    options.assert_all_used()?;
    let mut json = Bounded::default();
    write(state, &mut json, value, &Layout { indent, item, key, ascii, sorted }, 0)?;
    Ok(json.0)
}

fn write(state: &State, json: &mut Bounded, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    let start = json.0.len();
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("tojson: deeper than {MAX_DEPTH} levels")));
    }
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let mut empty = true;
            push(json, "[")?;
            for item in value.try_iter()? {
                push(json, if empty { "" } else { &layout.item })?;
                empty = false;
                new_line(json, layout, depth + 1)?;
                write(state, json, &item, layout, depth + 1)?;
            }
            if !empty {
                new_line(json, layout, depth)?;
            }
            push(json, "]")?;
        }
        ValueKind::Map => {
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if layout.sorted {
                keys.sort();
            }
            push(json, "{")?;
            for (place, key) in keys.iter().enumerate() {
                push(json, if place > 0 { &layout.item } else { "" })?;
                new_line(json, layout, depth + 1)?;
                string(json, &key.to_string(), layout.ascii)?;
                push(json, &layout.key)?;
                write(state, json, &value.get_item(key)?, layout, depth + 1)?;
            }
            if !keys.is_empty() {
                new_line(json, layout, depth)?;
            }
            push(json, "}")?;
        }
        ValueKind::String => string(json, value.as_str().unwrap_or_default(), layout.ascii)?,
        ValueKind::None => push(json, "null")?,
        ValueKind::Bool => push(json, if value.is_true() { "true" } else { "false" })?,
        ValueKind::Number => push(json, &value.to_string())?,
        kind => {
            return Err(Error::new(ErrorKind::BadSerialization, format!("tojson: {kind} is not JSON")));
        }
    }
    state.consume_fuel((json.0.len() - start) as u64 / 64)
}

fn push(json: &mut Bounded, text: &str) -> Result<(), Error> {
    json.write_str(text).map_err(|_| Error::new(ErrorKind::InvalidOperation, "tojson: the JSON gets too long"))
}

fn new_line(json: &mut Bounded, layout: &Layout, depth: usize) -> Result<(), Error> {
    match layout.indent {
        Some(indent) => push(json, &format!("\n{:1$}", "", indent * depth)),
        None => Ok(()),
    }
}

fn string(json: &mut Bounded, text: &str, ascii: bool) -> Result<(), Error> {
    let quoted = serde_json::Value::from(text).to_string();
    if !ascii || quoted.is_ascii() {
        return push(json, &quoted);
    }
    for letter in quoted.chars() {
        if letter.is_ascii() {
            push(json, letter.encode_utf8(&mut [0; 4]))?;
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                push(json, &format!("\\u{unit:04x}"))?;
            }
        }
    }
    Ok(())
}
