//! How one judgment is made: decoding, reasoning, masking, deadline.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Kind;
use super::limits::MAX_RESPONSES;
use super::table::{Row, Setting, above, number, read_object, whole, words, zero_or};
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

words! {
    /// Where the ranking of a verdict comes from.
    pub enum RankingFrom {
        /// The judge writes it after the scores.
        #[default]
        Judge = "judge",
        /// The scores: the highest first; equal ones by expected score, then in the order given.
        Scores = "scores",
    }
}

words! {
    /// How the rankings of several runs become one.
    pub enum RankRule {
        /// The order with the fewest disagreements with the runs over pairs of responses (Kendall's distance). Exact up to
        /// 16 responses; for more, the order of the mean places is improved by moving one response at a time.
        #[default]
        Kendall = "kendall",
        /// By the mean place in the runs (Borda's count).
        Borda = "borda",
    }
}

words! {
    /// When an ensemble ends before all its runs are complete.
    pub enum StopEarly {
        /// Never.
        #[default]
        Never = "never",
        /// When the best response is settled.
        Top = "top",
        /// When the whole order is settled.
        Order = "order",
    }
}

words! {
    /// Whether a group of responses is judged in blocks.
    pub enum Blocks {
        /// Never: a group that does not fit the context is an error.
        #[default]
        Never = "never",
        /// If it does not fit the context, or has more than `block_size` responses.
        WhenNeeded = "when_needed",
    }
}

words! {
    /// Which value of a verdict is the reward.
    pub enum Reward {
        /// The mean of the score's distribution.
        #[default]
        Expected = "expected",
        /// The score as written.
        Score = "score",
        /// The expected score if the engine gives distributions, else the score as written.
        ExpectedOrScore = "expected_or_score",
        /// The place in the ranking: from 1 for the best to 0 for the worst in equal steps; 0.5 for a single response.
        Rank = "rank",
        /// How many standard deviations the (expected) score lies above the mean of the group; 0 if all are equal.
        Group = "group",
        /// The probability that the score is above that of another response of the group, from the distributions; a tie
        /// counts half. 0.5 for a single response.
        Win = "win",
    }
}

words! {
    /// How a rubric is judged.
    pub enum RubricMode {
        /// Each criterion by itself, over all responses.
        #[default]
        Separate = "separate",
        /// All criteria in one principle.
        Joint = "joint",
    }
}

words! {
    /// How the values of a rubric's criteria, each from 0 to 1, become one.
    pub enum RubricMerge {
        /// The weighted mean.
        #[default]
        Mean = "mean",
        /// The least value whose weight is not 0.
        Min = "min",
        /// The product, each value to the power of its share of the weights: the weighted geometric mean.
        Product = "product",
        /// 1 if every value with a weight reaches `rubric_pass`, else 0.
        AllPass = "all_pass",
    }
}

/// The greatest number of tokens of reasoning or verdict.
const MAX_TOKENS: u64 = 131_072;
/// The longest deadline: one day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// The type of a resolved setting: that of the row, or an `Option` of it if the row has no default.
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

/// Makes [`Options`] and [`Settings`]. Each row is `name: type = default, kind;`. If a row has no default, the judge decides
/// the value.
macro_rules! options {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty $(= $default:expr)?, $kind:expr;)+) => {
        /// Options that the profile, the configuration and the request may set. Precedence, key by key: request >
        /// configuration > profile.
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

            /// These options; those that are not set are taken from `lower`.
            #[must_use]
            pub fn or(&self, lower: &Self) -> Self {
                Self { $($field: self.$field.or(lower.$field)),+ }
            }

            /// Fills in the defaults and checks every value.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidConfig`] naming the key, the value and the range.
            pub fn resolve(&self) -> Result<Settings> {
                // The rows are in the order of the fields: no name is looked up, since every judgment comes here.
                let mut rows = Self::ROWS.iter();
                $(rows.next().map_or(Ok(()), |row| row.check("", &self.$field))?;)+
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
    /// Reason before the verdict, if the profile has a form for reasoning.
    reasoning: bool = true, Kind::Switch;
    /// Judge without reasoning first, and again with reasoning only if the probability that the best response is really the
    /// best is below this. 0 is off.
    adaptive_reasoning: f32 = 0.0, number(0.0, 1.0);
    /// End the reasoning after this many tokens, and flag the verdict.
    max_reasoning_tokens: u32 = 2048, whole(0, MAX_TOKENS);
    /// Most tokens of a verdict without a grammar.
    max_verdict_tokens: u32 = 1024, whole(1, MAX_TOKENS);
    /// Constrain the verdict by a grammar, so that it is always complete. Not set: use the best that the engine supports.
    /// `true` refuses an engine without grammars.
    guided: bool, Kind::Switch;
    /// Force the ranking to follow the scores. Otherwise a contradiction is only flagged. Needs a grammar.
    consistent_ranking: bool = false, Kind::Switch;
    /// Where the ranking comes from: the judge writes it, or its scores give it. With a grammar the judge then stops after its
    /// last score.
    ranking_from: RankingFrom = RankingFrom::Judge, Kind::Choice(RankingFrom::WORDS);
    /// How the names of the responses are hidden from the judge.
    mask: Mask = Mask::Shuffle, Kind::Choice(Mask::WORDS);
    /// Seed of the shuffle of the names. The default is that of the reference system.
    mask_seed: u64 = 42, whole(0, u64::MAX);
    /// Judge in this many different orders of the responses and merge the verdicts. If fewer orders exist, all of them are
    /// judged, and the verdict is flagged.
    orders: u32 = 1, whole(1, 64);
    /// Judge this many times in each order and merge the verdicts. Needs a temperature above 0.
    samples: u32 = 1, whole(1, 64);
    /// How the rankings of several runs become one: the order that disagrees least with them, or the mean place.
    rank_rule: RankRule = RankRule::Kendall, Kind::Choice(RankRule::WORDS);
    /// End an ensemble when its best response, or its whole order, is settled (a t-test at 99 %).
    stop_early: StopEarly = StopEarly::Never, Kind::Choice(StopEarly::WORDS);
    /// How many runs of an ensemble must give a verdict; the others may fail. 0: all of them must.
    min_runs: u32 = 0, whole(0, 4096);
    /// Judge a group that does not fit the context, or has more than `block_size` responses, in blocks that share anchor
    /// responses, and merge the blocks onto one scale; the verdict is flagged. Not set: `when_needed` if `block_size` is set,
    /// else `never`.
    blocks: Blocks, Kind::Choice(Blocks::WORDS);
    /// The most responses to judge at once, including the anchors; a longer list is judged in blocks. 0: as many as fit the
    /// context.
    block_size: u32 = 0, zero_or(2, MAX_RESPONSES as u64);
    /// The number of responses that all blocks share.
    block_anchors: u32 = 2, whole(1, 16);
    /// Put this reward into the verdict, under `rewards`. Not set: none.
    reward: Reward, Kind::Choice(Reward::WORDS);
    /// How a rubric is judged: each criterion by itself, or all in one principle.
    rubric_mode: RubricMode = RubricMode::Separate, Kind::Choice(RubricMode::WORDS);
    /// How the criteria of a rubric become one score.
    rubric_merge: RubricMerge = RubricMerge::Mean, Kind::Choice(RubricMerge::WORDS);
    /// The value that a criterion must reach to pass under `all_pass`, from 0 for the worst score to 1 for the best.
    rubric_pass: f32 = 0.5, above(0.0, 1.0);
    /// Give up on a request after this many milliseconds. Waiting counts too, except in a batch.
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
