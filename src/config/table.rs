//! The tables of settings. A row has a name, a type, a default, a range and its documentation. The macros `settings!`
//! and `options!` make structs from the rows, with their JSON form, their defaults and their checks. The command line, the
//! JSON schema and the check of `docs/settings.md` read the rows.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// A number from `min` to `max`; if `above` is set, `min` itself is excluded.
    Number {
        /// Whether the value must be greater than `min`.
        above: bool,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// A whole number from `min` to `max`, or also 0 if `or_zero` is set.
    Whole {
        /// Whether 0, which is below `min`, is allowed too.
        or_zero: bool,
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The path of a file.
    Path,
    /// A list of whole numbers up to this one.
    Wholes(u64),
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A list of texts that are never shown.
    Secrets,
}

pub(super) const fn number(min: f64, max: f64) -> Kind {
    Kind::Number { above: false, min, max }
}

pub(super) const fn above(min: f64, max: f64) -> Kind {
    Kind::Number { above: true, min, max }
}

pub(super) const fn whole(min: u64, max: u64) -> Kind {
    Kind::Whole { or_zero: false, min, max }
}

pub(super) const fn zero_or(min: u64, max: u64) -> Kind {
    Kind::Whole { or_zero: true, min, max }
}

impl Kind {
    /// The values without their type, as in `from 0 to 2`.
    pub fn range(&self) -> String {
        match *self {
            Self::Number { above: true, min, max } => format!("above {min} and at most {max}"),
            Self::Number { above: false, min, max } => format!("from {min} to {max}"),
            Self::Whole { or_zero, min, max } => {
                let zero = if or_zero { "0, or " } else { "" };
                // The greatest possible number only means "no limit".
                if max == u64::MAX { format!("{zero}{min} or more") } else { format!("{zero}from {min} to {max}") }
            }
            Self::Switch => "true or false".to_owned(),
            Self::Choice(words) => match words {
                [] => String::new(),
                [only] => (*only).to_owned(),
                [first @ .., last] => format!("{} or {last}", first.join(", ")),
            },
            Self::Path | Self::Text => "text".to_owned(),
            Self::Texts | Self::Secrets => "a list of texts".to_owned(),
            Self::Wholes(max) => format!("from 0 to {max}"),
        }
    }

    /// Reads a value from the text of a command line's option.
    ///
    /// # Errors
    /// What the value must be, such as `a number from 0 to 2`.
    pub fn parse(&self, text: &str) -> std::result::Result<Value, String> {
        let value = match self {
            // JSON has no NaN and no infinity, and no setting allows them.
            Self::Number { .. } => text.parse::<f64>().ok().map(Value::from).filter(Value::is_number),
            Self::Whole { .. } => text.parse::<u64>().ok().map(Value::from),
            Self::Switch => text.parse::<bool>().ok().map(Value::from),
            Self::Choice(_) | Self::Path | Self::Text => Some(Value::from(text)),
            Self::Texts | Self::Secrets => Some(text.split(',').map(|item| Value::from(item.trim())).collect()),
            Self::Wholes(_) => text.split(',').map(|item| item.trim().parse::<u64>().ok().map(Value::from)).collect(),
        };
        let value = value.ok_or_else(|| self.to_string())?;
        if self.takes(&value) { Ok(value) } else { Err(self.range()) }
    }

    /// Whether a value has the right type.
    fn is_of_type(&self, value: &Value) -> bool {
        let all = |holds: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(holds));
        match self {
            Self::Number { .. } => value.is_number(),
            Self::Whole { .. } => value.is_u64(),
            Self::Switch => value.is_boolean(),
            Self::Choice(_) | Self::Path | Self::Text => value.is_string(),
            Self::Texts | Self::Secrets => all(Value::is_string),
            Self::Wholes(_) => all(Value::is_u64),
        }
    }

    /// Whether a value of the right type is in the range.
    fn takes(&self, value: &Value) -> bool {
        match (*self, value) {
            (Self::Number { .. }, Value::Number(number)) => number.as_f64().is_some_and(|number| self.has(number)),
            (Self::Whole { .. }, Value::Number(number)) => number.as_u64().is_some_and(|number| self.counts(number)),
            (Self::Choice(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Wholes(max), Value::Array(items)) => {
                items.iter().all(|item| item.as_u64().is_some_and(|item| item <= max))
            }
            _ => true,
        }
    }

    /// Whether a number is in the range. NaN is not, because every comparison with it is false.
    fn has(&self, number: f64) -> bool {
        match *self {
            Self::Number { above, min, max } => number <= max && if above { number > min } else { number >= min },
            _ => true,
        }
    }

    fn counts(&self, number: u64) -> bool {
        match *self {
            Self::Whole { or_zero, min, max } => (number >= min && number <= max) || (or_zero && number == 0),
            _ => true,
        }
    }

    /// The keywords of JSON Schema that say the same.
    fn schema(&self) -> Map<String, Value> {
        let schema = match *self {
            Self::Number { above: true, min, max } => {
                json!({ "type": "number", "exclusiveMinimum": min, "maximum": max })
            }
            Self::Number { above: false, min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
            Self::Whole { or_zero: false, min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Self::Whole { or_zero: true, min, max } => {
                json!({ "type": "integer", "anyOf": [{ "const": 0 }, { "minimum": min, "maximum": max }] })
            }
            Self::Switch => json!({ "type": "boolean" }),
            Self::Choice(words) => json!({ "type": "string", "enum": words }),
            Self::Path | Self::Text => json!({ "type": "string" }),
            Self::Texts | Self::Secrets => json!({ "type": "array", "items": { "type": "string" } }),
            Self::Wholes(max) => {
                json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": max } })
            }
        };
        let Value::Object(schema) = schema else { unreachable!("each arm makes an object") };
        schema
    }
}

/// The values with their type, as in `a number from 0 to 2`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Number { .. } => "a number ",
            Self::Whole { .. } => "a whole number ",
            Self::Wholes(_) => "a list of whole numbers ",
            Self::Switch | Self::Choice(_) | Self::Path | Self::Text | Self::Texts | Self::Secrets => "",
        };
        write!(f, "{what}{}", self.range())
    }
}

/// One setting.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row {
    /// Its key in JSON.
    pub name: &'static str,
    /// The values that it takes.
    pub kind: Kind,
    /// What it means, in one paragraph.
    pub doc: &'static str,
    pub(super) default: fn() -> Option<Value>,
}

impl Row {
    /// The default value; `None` if it depends on other things, which [`Self::doc`] names.
    pub fn default(&self) -> Option<Value> {
        (self.default)()
    }

    /// Reads the value that a JSON object has under this key.
    pub(super) fn read<T: Setting>(&self, value: &Value) -> std::result::Result<T, String> {
        T::from_json(value).ok_or_else(|| self.wrong(value))
    }

    /// Checks a value of JSON, type and range; null is "not set".
    ///
    /// # Errors
    /// What it is and what it must be.
    pub(super) fn check_json(&self, value: &Value) -> std::result::Result<(), String> {
        if value.is_null() || (self.kind.is_of_type(value) && self.kind.takes(value)) {
            return Ok(());
        }
        Err(self.wrong(value))
    }

    fn wrong(&self, value: &Value) -> String {
        match self.kind {
            Kind::Secrets => format!("must be {}", self.kind),
            _ => format!("is {}: must be {}", shown(value), self.kind),
        }
    }

    /// Checks that a value is in its range.
    pub(super) fn check<T: Setting>(&self, section: &str, value: &T) -> Result<()> {
        match value.outside(self.kind) {
            None => Ok(()),
            Some(value) => {
                let message = format!("{section}{} is {value}: must be {}", self.name, self.kind.range());
                Err(Error::new(ErrorKind::InvalidConfig, message))
            }
        }
    }

    /// The setting as JSON Schema.
    fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if let Some(default) = self.default() {
            schema.insert("default".into(), default);
        }
        schema.insert("description".into(), self.doc.trim().into());
        Value::Object(schema)
    }
}

/// A table as JSON Schema.
pub(super) fn schema(rows: &[Row]) -> Value {
    let properties: Map<_, _> = rows.iter().map(|row| (row.name.to_owned(), row.schema())).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// A JSON value for a message, cut if it is long.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The type of a setting.
pub(super) trait Setting: Sized {
    /// Reads it without checking its range; `None` if the JSON has another type.
    fn from_json(value: &Value) -> Option<Self>;

    /// Its JSON form.
    fn to_json(&self) -> Value;

    /// The value, for people, if it is out of range.
    fn outside(&self, _kind: Kind) -> Option<String> {
        None
    }
}

impl Setting for f32 {
    fn from_json(value: &Value) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "the nearest one is meant")]
        value.as_f64().map(|number| number as Self)
    }

    fn to_json(&self) -> Value {
        // Through text, so that 0.9 does not become 0.8999999761581421.
        self.to_string().parse::<f64>().map_or(Value::Null, Value::from)
    }

    fn outside(&self, kind: Kind) -> Option<String> {
        // Through text as well: 0.99 as f32 is a little more than 0.99.
        let inside = self.to_string().parse().is_ok_and(|number| kind.has(number));
        (!inside).then(|| self.to_string())
    }
}

macro_rules! whole_settings {
    ($($type:ty)*) => {$(
        impl Setting for $type {
            fn from_json(value: &Value) -> Option<Self> {
                value.as_u64()?.try_into().ok()
            }

            fn to_json(&self) -> Value {
                (*self).into()
            }

            fn outside(&self, kind: Kind) -> Option<String> {
                let inside = u64::try_from(*self).is_ok_and(|number| kind.counts(number));
                (!inside).then(|| self.to_string())
            }
        }
    )*};
}
whole_settings!(u32 u64 usize);

impl Setting for bool {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }

    fn to_json(&self) -> Value {
        (*self).into()
    }
}

impl Setting for PathBuf {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }

    fn to_json(&self) -> Value {
        self.to_string_lossy().into()
    }
}

impl Setting for String {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }

    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl Setting for Vec<String> {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::from_json).collect()
    }

    fn to_json(&self) -> Value {
        self.as_slice().into()
    }
}

impl Setting for Vec<u32> {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(u32::from_json).collect()
    }

    fn to_json(&self) -> Value {
        self.as_slice().into()
    }

    fn outside(&self, kind: Kind) -> Option<String> {
        let Kind::Wholes(max) = kind else { return None };
        self.iter().find(|&&number| u64::from(number) > max).map(ToString::to_string)
    }
}

/// `null` is "not set".
impl<T: Setting> Setting for Option<T> {
    fn from_json(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_json(value).map(Some) }
    }

    fn to_json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::to_json)
    }

    fn outside(&self, kind: Kind) -> Option<String> {
        self.as_ref().and_then(|value| value.outside(kind))
    }
}

/// Reads an object whose keys are those of `rows`; `take` gets each value with its row.
pub(super) fn read_object<'de, D: Deserializer<'de>>(
    deserializer: D,
    section: &str,
    rows: &'static [Row],
    names: &'static [&'static str],
    take: &mut dyn FnMut(&Row, &Value) -> std::result::Result<(), String>,
) -> std::result::Result<(), D::Error> {
    struct Reading<'a> {
        section: &'a str,
        rows: &'static [Row],
        names: &'static [&'static str],
        take: &'a mut dyn FnMut(&Row, &Value) -> std::result::Result<(), String>,
    }

    impl<'de> Visitor<'de> for Reading<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let some: Vec<_> = self.names.iter().take(3).copied().collect();
            write!(f, "an object of settings such as {}", some.join(", "))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
            let mut seen = vec![false; self.rows.len()];
            while let Some(key) = map.next_key::<String>()? {
                let Some(index) = self.rows.iter().position(|row| row.name == key) else {
                    return Err(de::Error::unknown_field(&key, self.names));
                };
                let row = &self.rows[index];
                if std::mem::replace(&mut seen[index], true) {
                    return Err(de::Error::duplicate_field(row.name));
                }
                let value = map.next_value()?;
                (self.take)(row, &value)
                    .map_err(|wrong| de::Error::custom(format_args!("{}{key} {wrong}", self.section)))?;
            }
            Ok(())
        }
    }

    deserializer.deserialize_map(Reading { section, rows, names, take })
}

/// Makes a struct of settings. Each row is `name: type = default, kind;`.
macro_rules! settings {
    (
        $(#[$meta:meta])*
        pub struct $name:ident in $section:literal {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $kind:expr;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`. Values: `", stringify!($kind), "`.")]
                pub $field: $type,
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }

        impl $name {
            /// One row for each field, in their order.
            pub const ROWS: &'static [crate::config::Row] = &[$(crate::config::Row {
                name: stringify!($field),
                kind: $kind,
                doc: concat!($($doc),+),
                default: {
                    fn default() -> Option<serde_json::Value> {
                        let default: $type = $default;
                        Some(crate::config::table::Setting::to_json(&default)).filter(|value| !value.is_null())
                    }
                    default
                },
            }),+];

            /// Checks each value against its range.
            fn check_ranges(&self) -> crate::error::Result<()> {
                for row in Self::ROWS {
                    match row.name {
                        $(stringify!($field) => row.check(concat!($section, "."), &self.$field)?,)+
                        _ => {}
                    }
                }
                Ok(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let mut made = Self::default();
                crate::config::table::read_object(
                    deserializer,
                    concat!($section, "."),
                    Self::ROWS,
                    &[$(stringify!($field)),+],
                    &mut |row, value| {
                        match row.name {
                            $(stringify!($field) => made.$field = row.read(value)?,)+
                            _ => {}
                        }
                        Ok(())
                    },
                )?;
                Ok(made)
            }
        }
    };
}

/// Makes an enum whose variants are words in JSON.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$note])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The words in JSON, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// Its word in JSON.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl crate::config::table::Setting for $name {
            fn from_json(value: &serde_json::Value) -> Option<Self> {
                serde::Deserialize::deserialize(value).ok()
            }

            fn to_json(&self) -> serde_json::Value {
                self.word().into()
            }
        }
    };
}

pub(super) use {settings, words};
