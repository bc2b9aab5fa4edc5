//! How one judgment is made: decoding, reasoning, masking, deadline.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Kind;
use super::table::{Row, Setting, above, number, read_object, whole, words};
use crate::error::{Error, ErrorKind, Result};

words! {
    /// How the names of the responses are hidden from the judge.
    pub enum Mask {
        /// Aliases in an order shuffled by `mask_seed`, as Python's `random.seed(seed); random.shuffle(...)` does it.
        #[default]
        Shuffle = "shuffle",
        /// Aliases in the order given.
        Given = "given",
        /// The real names in the order given.
        Off = "off",
    }
}

/// The greatest number of tokens of reasoning or verdict.
const MAX_TOKENS: u64 = 131_072;
/// The longest deadline: one day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// The type of a setting once all is decided: that of the row, or an `Option` of it where the row has no default.
macro_rules! settled {
    (type $type:ty) => { Option<$type> };
    (type $type:ty, $default:expr) => { $type };
    (value $given:expr) => { $given };
    (value $given:expr, $default:expr) => { $given.unwrap_or($default) };
    (json $type:ty) => { None };
    (json $type:ty, $default:expr) => {{
        let default: $type = $default;
        Some(default.to_json())
    }};
}

/// Makes [`Options`] and [`Settings`]. Each row is `name: type = default, kind;`. A row without a default stays open: the
/// judge decides it.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty $(= $default:expr)?, $kind:expr;)+) => {
        /// What may be set by the profile, then by the configuration, then by the request: the later one wins, key by key.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct Options {
            $(
                $(#[doc = $doc])+
                $(#[doc = concat!("\n\nDefault: `", stringify!($default), "`.")])?
                #[doc = concat!("\n\nValues: `", stringify!($kind), "`.")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$type>,
            )+
        }

        /// [`Options`] with every value decided and checked.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $(
                #[doc = concat!("See [`Options::", stringify!($field), "`].")]
                pub $field: settled!(type $type $(, $default)?),
            )+
        }

        impl Options {
            /// One row for each option, in their order.
            pub const ROWS: &'static [Row] = &[$(Row {
                name: stringify!($field),
                kind: $kind,
                doc: concat!($($doc),+),
                default: || settled!(json $type $(, $default)?),
            }),+];

            /// These options, with what they leave open taken from `lower`.
            #[must_use]
            pub fn or(&self, lower: &Self) -> Self {
                Self { $($field: self.$field.or(lower.$field)),+ }
            }

            /// Decides what is still open and checks every value.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
            pub fn resolve(&self) -> Result<Settings> {
                for row in Self::ROWS {
                    match row.name {
                        $(stringify!($field) => row.check("", &self.$field)?,)+
                        _ => {}
                    }
                }
                Ok(Settings { $($field: settled!(value self.$field $(, $default)?)),+ })
            }
        }

        impl<'de> Deserialize<'de> for Options {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let mut made = Self::default();
                read_object(deserializer, "", Self::ROWS, &[$(stringify!($field)),+], &mut |row, value| {
                    match row.name {
                        $(stringify!($field) => made.$field = row.read(value)?,)+
                        _ => {}
                    }
                    Ok(())
                })?;
                Ok(made)
            }
        }
    };
}

options! {
    /// Sampling temperature; 0 is greedy.
    temperature: f32 = 0.0, number(0.0, 2.0);
    /// Nucleus sampling: sample from the smallest set of tokens whose probability reaches this; 1 is off.
    top_p: f32 = 1.0, above(0.0, 1.0);
    /// Sample from the K most probable tokens; 0 is off.
    top_k: u32 = 0, whole(0, 4_294_967_295);
    /// Seed of the sampling. The same model, request, options and seed give the same verdict.
    seed: u64 = 0, whole(0, u64::MAX);
    /// Reason before the verdict. A profile without a form for reasoning has none.
    reasoning: bool = true, Kind::Switch;
    /// End the reasoning after this many tokens, and flag the verdict.
    max_reasoning_tokens: u32 = 2048, whole(0, MAX_TOKENS);
    /// Most tokens of a verdict without a grammar.
    max_verdict_tokens: u32 = 1024, whole(1, MAX_TOKENS);
    /// Hold the verdict to a grammar, so that it is always complete. Not set: the best that the engine has. `true` refuses an
    /// engine without grammars.
    guided: bool, Kind::Switch;
    /// Hold the ranking to the order of the scores. Otherwise a contradiction is flagged. Needs a grammar.
    consistent_ranking: bool = false, Kind::Switch;
    /// How the names of the responses are hidden from the judge.
    mask: Mask = Mask::Shuffle, Kind::Choice(Mask::WORDS);
    /// Seed of the shuffle of the names. The default is that of the reference system.
    mask_seed: u64 = 42, whole(0, u64::MAX);
    /// Give up on a request after this many milliseconds, waiting included.
    timeout_ms: u64 = 600_000, whole(1, MAX_TIMEOUT_MS);
}

impl Options {
    /// As [`Self::resolve`], for options that came with a request.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] naming the key, the value and the range.
    pub fn resolve_request(&self) -> Result<Settings> {
        self.resolve()
            .map_err(|error| Error::new(ErrorKind::InvalidRequest, error.message().to_owned()).context("options"))
    }
}

impl Settings {
    /// How long the request may take, waiting included: [`Options::timeout_ms`].
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
