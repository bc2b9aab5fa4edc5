//! The environment that templates of models are written for, that of Transformers: Jinja2 in its sandbox.
//!
//! The renderer charges fuel for what it makes. Operations that it does not charge in advance have a limit here: a template
//! comes from a file, and must not use up the memory of the process.

use std::fmt::{self, Write as _};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::date::Date;
use super::json;
use super::rewrite::{BOUNDED, SIZED};

/// Fuel of one rendering: about one unit for each instruction and one for 64 bytes made. This is ten to a hundred times what
/// the longest templates in use need for two messages.
const FUEL: u64 = 200_000;
/// Longest string that a filter or a method may make.
pub(super) const MAX_STRING: usize = 4 << 20;
/// Most items of a list, nested items included. Templates have some hundred.
const MAX_ITEMS: u64 = 20_000;
/// Most digits of a width or a precision, such as that of `%5d`.
const MAX_WIDTH_DIGITS: usize = 4;

/// Makes the environment. `date` is what `strftime_now` writes.
pub(super) fn environment<'a>(date: Date) -> Result<Environment<'a>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(|out, state, value| minijinja::escape_formatter(out, state, &bounded(value)?));
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| {
        date.format(&format).map_err(|what| Error::new(ErrorKind::InvalidOperation, what))
    });
    environment.add_filter("tojson", json::filter);
    environment.add_filter("join", join);
    environment.add_filter("string", |value: &Value| bounded_text(value));
    environment.add_filter("format", format);
    environment.add_filter(BOUNDED, bounded);
    environment.add_filter(SIZED, sized);
    environment.add_function("dict", |state: &State, value: Option<Value>, fields: Kwargs| {
        let pairs = value.iter().map(|value| -> Result<_, Error> {
            value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?))).collect::<Result<Vec<_>, Error>>()
        });
        let mut map = pairs.collect::<Result<Vec<_>, Error>>()?.concat();
        for name in fields.args() {
            map.push((Value::from(name), fields.get(name)?));
        }
        sized(state, Value::from_pairs(map))
    });
    // Not part of Jinja, and able to hold a list twice.
    environment.remove_filter("zip");
    environment.remove_filter("chain");
    // It writes all variables.
    environment.remove_global("debug");
    text_filters(&mut environment);
    environment.add_test("iterable", |value: &Value| value.kind() != ValueKind::None && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
    });
    environment.add_test("number", |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool));
    Ok(environment)
}

/// Filters that turn their input into text: their input is bounded.
fn text_filters(environment: &mut Environment<'_>) {
    use minijinja::filters;
    macro_rules! bounded_filters {
        ($($name:literal => $filter:expr),+ $(,)?) => {$(
            let inner = concat!("dicast_", $name);
            environment.add_filter(inner, $filter);
            environment.add_filter($name, move |state: &mut State, value: &Value, rest: Rest<Value>| {
                let mut arguments = vec![bounded(value)?];
                for argument in rest.0 {
                    // Options by name come as one map, which stays what it is.
                    arguments.push(if argument.is_kwargs() { argument } else { bounded(&argument)? });
                }
                state.apply_filter(inner, &arguments)
            });
        )+};
    }
    bounded_filters! {
        "upper" => filters::upper,
        "lower" => filters::lower,
        "title" => filters::title,
        "capitalize" => filters::capitalize,
        "trim" => filters::trim,
        "replace" => replace,
        "indent" => indent,
        "escape" => filters::escape,
        "e" => filters::escape,
        "split" => filters::split,
        "lines" => filters::lines,
        "pprint" => |value: &Value| bounded_text(value),
    }
}

/// Jinja's `replace`, with limits.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
fn replace(state: &State, text: &str, old: &str, new: &str, more: Rest<Value>) -> Result<String, Error> {
    let (count, options): (Option<i64>, Kwargs) = from_args(&more)?;
    let count = count.or(options.get("count")?).and_then(|count| usize::try_from(count).ok());
    options.assert_all_used()?;
    charge_replace(state, text, old, new)?;
    Ok(match count {
        Some(count) => text.replacen(old, new, count),
        None => text.replace(old, new),
    })
}

/// Charges what a replacement makes before it is made.
fn charge_replace(state: &State, text: &str, old: &str, new: &str) -> Result<(), Error> {
    let times = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    let size = times.saturating_mul(new.len()).saturating_add(text.len());
    if size > MAX_STRING {
        return Err(too_long());
    }
    state.consume_fuel(size as u64 / 64)
}

/// Jinja's `indent`: a width, or the text itself, before every line but the first and the empty ones.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
fn indent(
    text: &str,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = width.or(options.get("width")?);
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = blank.or(options.get("blank")?).unwrap_or(false);
    options.assert_all_used()?;
    let margin = match &width {
        None => "    ".to_owned(),
        Some(width) => {
            if let Some(margin) = width.as_str() {
                margin.to_owned()
            } else {
                let width = usize::try_from(width.clone())?;
                " ".repeat(if width <= MAX_STRING { width } else { return Err(too_long()) })
            }
        }
    };
    let mut out = Bounded::default();
    for (place, line) in text.split('\n').enumerate() {
        if place > 0 {
            out.write_char('\n').map_err(|_| too_long())?;
        }
        if (place > 0 && (blank || !line.is_empty())) || (place == 0 && first) {
            out.write_str(&margin).map_err(|_| too_long())?;
        }
        out.write_str(line).map_err(|_| too_long())?;
    }
    Ok(out.0)
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a string gets longer than {MAX_STRING} bytes"))
}

/// Takes text up to [`MAX_STRING`] and then fails, so that the writer stops.
#[derive(Default)]
pub(super) struct Bounded(pub(super) String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_STRING {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The text of any value, with limits: a small list may contain its parts so often that its text is endless.
fn bounded_text(value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let mut text = Bounded::default();
    write!(text, "{value}").map_err(|_| too_long())?;
    Ok(Value::from(text.0))
}

/// Turns lists and the like into text; other values are not changed.
fn bounded(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable | ValueKind::Plain => bounded_text(value),
        _ => Ok(value.clone()),
    }
}

/// Returns a value, or an error if walking through it would exceed [`MAX_ITEMS`].
fn sized(state: &State, value: Value) -> Result<Value, Error> {
    let mut left = vec![value.clone()];
    let mut count = 0_u64;
    while let Some(value) = left.pop() {
        let walks = matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable);
        if !walks {
            continue;
        }
        let is_map = value.kind() == ValueKind::Map;
        for item in value.try_iter()? {
            count += 1;
            if count > MAX_ITEMS {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("a list holds more than {MAX_ITEMS} items, nested items included"),
                ));
            }
            if is_map {
                left.push(value.get_item(&item)?);
            }
            left.push(item);
        }
    }
    state.consume_fuel(count / 16)?;
    Ok(value)
}

/// Jinja's `join`, within bounds.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
fn join(
    state: &State,
    value: &Value,
    joiner: Option<String>,
    attribute: Option<String>,
    options: Kwargs,
) -> Result<String, Error> {
    let joiner = joiner.or(options.get("d")?).unwrap_or_default();
    let attribute = attribute.or(options.get("attribute")?);
    options.assert_all_used()?;
    let mut text = Bounded::default();
    for (place, item) in value.try_iter()?.enumerate() {
        state.consume_fuel(1)?;
        let item = match &attribute {
            Some(path) => path.split('.').try_fold(item, |item, name| match name.parse::<usize>() {
                Ok(index) => item.get_item_by_index(index),
                Err(_) => item.get_attr(name),
            })?,
            None => item,
        };
        let start = text.0.len();
        if place > 0 {
            text.write_str(&joiner).map_err(|_| too_long())?;
        }
        write!(text, "{item}").map_err(|_| too_long())?;
        state.consume_fuel((text.0.len() - start) as u64 / 64)?;
    }
    Ok(text.0)
}

/// Python's `%`, as a filter.
#[expect(clippy::needless_pass_by_value, reason = "the form in which minijinja calls a filter")]
fn format(format: &str, values: Rest<Value>) -> Result<String, Error> {
    check_widths(format)?;
    let values = values.0.iter().map(bounded).collect::<Result<Vec<_>, _>>()?;
    bounded_result(format, &values, minijinja::formatting::FormatStyle::Printf)
}

fn bounded_result(format: &str, values: &[Value], style: minijinja::formatting::FormatStyle) -> Result<String, Error> {
    let fields = format.matches(['%', '{']).count();
    let longest = values.iter().filter_map(|value| value.as_str().map(str::len)).max().unwrap_or(0);
    let width = 10_usize.pow(u32::try_from(MAX_WIDTH_DIGITS).unwrap_or(4));
    if fields.saturating_mul(longest.max(width)).saturating_add(format.len()) > MAX_STRING {
        return Err(too_long());
    }
    minijinja::formatting::format(style, format, values)
}

/// Refuses widths that would turn one number into a string of gigabytes, and widths that are given by a value.
fn check_widths(format: &str) -> Result<(), Error> {
    let mut digits = 0;
    for letter in format.chars() {
        digits = if letter.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > MAX_WIDTH_DIGITS {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                format!("a format holds a number of more than {MAX_WIDTH_DIGITS} digits"),
            ));
        }
    }
    if format.contains("%*") || format.contains(".*") {
        return Err(Error::new(ErrorKind::InvalidOperation, "a format takes its width from a value"));
    }
    Ok(())
}

/// Methods of Python's strings, lists and maps; those that can make more than they get are limited first.
fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        match (name, arguments) {
            ("replace", [old, new, ..]) => {
                if let (Some(old), Some(new)) = (old.as_str(), new.as_str()) {
                    charge_replace(state, text, old, new)?;
                }
            }
            ("format", values) => {
                check_widths(text)?;
                let values = values.iter().map(bounded).collect::<Result<Vec<_>, _>>()?;
                return bounded_result(text, &values, minijinja::formatting::FormatStyle::StrFormat).map(Value::from);
            }
            ("join", [values]) => {
                return join(state, values, Some(text.to_owned()), None, Kwargs::from_iter::<[(String, Value); 0]>([]))
                    .map(Value::from);
            }
            ("zfill" | "ljust" | "rjust" | "center", [width, ..]) => {
                return pad(text, name, width, arguments.get(1)).map(Value::from);
            }
            ("removeprefix", [prefix]) => {
                let prefix = prefix.as_str().unwrap_or_default();
                return Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)));
            }
            ("removesuffix", [suffix]) => {
                let suffix = suffix.as_str().unwrap_or_default();
                return Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)));
            }
            ("rsplit", given) => {
                let none = Value::from(());
                return rsplit(text, given.first().unwrap_or(&none), given.get(1));
            }
            ("partition", [separator]) => {
                let separator = separator.as_str().filter(|separator| !separator.is_empty());
                let (before, middle, after) = separator
                    .and_then(|separator| text.split_once(separator).map(|(a, b)| (a, separator, b)))
                    .unwrap_or((text, "", ""));
                return Ok([before, middle, after].into_iter().map(Value::from).collect());
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}

fn pad(text: &str, name: &str, width: &Value, fill: Option<&Value>) -> Result<String, Error> {
    let width = usize::try_from(width.clone())?;
    if width > MAX_STRING {
        return Err(too_long());
    }
    let fill = fill.and_then(|fill| fill.as_str()?.chars().next()).unwrap_or(if name == "zfill" { '0' } else { ' ' });
    let missing = width.saturating_sub(text.chars().count());
    let signs = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    Ok(match name {
        "ljust" => text.to_owned() + &signs(missing),
        "rjust" => signs(missing) + text,
        "center" => {
            // If the width is odd, Python puts the extra blank on the left.
            let left = missing / 2 + (missing & width & 1);
            signs(left) + text + &signs(missing - left)
        }
        _ => match text.strip_prefix(['-', '+']) {
            Some(digits) => text[..1].to_owned() + &signs(missing) + digits,
            None => signs(missing) + text,
        },
    })
}

fn rsplit(text: &str, separator: &Value, most: Option<&Value>) -> Result<Value, Error> {
    let most = most.map_or(Ok(-1), |most| i64::try_from(most.clone()))?;
    let most = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
    let mut parts: Vec<&str> = match separator.as_str() {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => text.rsplitn(most, separator).collect(),
        None => {
            let mut rest = text.trim_end();
            let mut parts = Vec::new();
            while !rest.is_empty() && parts.len() + 1 < most {
                let Some(blank) = rest.rfind(char::is_whitespace) else { break };
                parts.push(&rest[blank..]);
                rest = rest[..blank].trim_end();
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts.into_iter().map(str::trim_start).collect()
        }
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}
