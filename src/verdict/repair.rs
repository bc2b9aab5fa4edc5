//! What was repaired to read a verdict, and what a reader of a complete one should know.

use serde::{Deserialize, Serialize};

/// What the reader had to mend to read a verdict, in the order in which it was found.
///
/// A verdict without repairs was written as the profile asks for it. New variants may be added in any release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Repair {
    /// The reasoning was never closed; the verdict stood at the very end.
    ReasoningUnclosed,
    /// The reasoning was closed by another tag than the profile's, such as `</thinking>`.
    ReasoningTag(String),
    /// A tag that closes reasoning was written within the verdict or after it, and was taken as text.
    StrayReasoningTag,
    /// Prose, a code fence or a tag stood round the verdict.
    TextAround,
    /// The verdict stood in blocks of content, as servers write them.
    ContentBlocks,
    /// Several verdicts were written; the last complete one was taken.
    LastOfSeveral,
    /// Scores and ranking were written in two pieces.
    SeparatePieces,
    /// The verdict was written as a string: its quotes were escaped.
    Unescaped,
    /// Strings in single quotes or backticks.
    SingleQuotes,
    /// Strings in typographic quotes.
    TypographicQuotes,
    /// A key or a string without quotes.
    Unquoted,
    /// A quote was missing or stood where none belongs.
    MissingQuote,
    /// A comma after the last entry, or two in a row.
    ExtraComma,
    /// A comma was missing between two entries.
    MissingComma,
    /// Something else than a colon stood between a key and its value, or nothing.
    MissingColon,
    /// A bracket was missing, doubled or of the wrong kind.
    Bracket,
    /// A comment stood within the verdict.
    Comment,
    /// `True`, `False` or `None` were written.
    PythonLiteral,
    /// Full-width punctuation or digits.
    FullWidth,
    /// Digits or separators of another script, such as Arabic ones.
    OtherDigits,
    /// Characters that are not seen, such as variation selectors or marks of direction, stood within the answer.
    Invisible,
    /// A line break or another control character stood raw within a string.
    RawControl,
    /// An escape that JSON does not know.
    BadEscape,
    /// An ellipsis stood among the entries.
    Ellipsis,
    /// Another key than the profile's was read as scores or ranking; holds it as written.
    Key(String),
    /// Scores or ranking stood within another object or list, or were not grouped under a key.
    Nesting,
    /// The scores were written as a list of pairs or records.
    ScoreList,
    /// The scores were written as a list without names, in the order in which the responses were shown.
    PositionalScores,
    /// A score was not written as a bare number; holds it as written.
    ScoreText(String),
    /// The same score was written more than once for one name.
    DuplicateScore,
    /// A name was written in another form; holds it as written.
    Name(String),
    /// The ranking was not written as a list of names.
    RankingForm,
    /// The ranking was written from worst to best, and was turned round.
    RankingReversed,
    /// The ranking could be read in two ways, of which one agrees with the scores; that one was taken.
    RankingByScores,
    /// The verdict was not written as JSON; names and values were found in the text.
    Scanned,
    /// A score off the scale was moved to the nearest end of it; holds the name.
    Clamped(String),
    /// The scores were written on another scale and were mapped to the profile's; holds that scale.
    Rescaled(String),
    /// The ranking was missing and was derived from the scores.
    RankingDerived,
}

/// What a reader of a complete verdict should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flag {
    /// The ranking puts a response with a lower score before one with a higher score.
    InconsistentRanking,
    /// Two or more responses have the same score.
    Ties,
    /// A name that was not asked for was written, and was dropped.
    DroppedName(String),
    /// The reasoning reached its budget and was ended for the judge.
    ReasoningTruncated,
    /// Reasoning was asked for, but the chat template had closed it: the judge did not reason.
    ReasoningClosed,
    /// The distributions without reasoning had decided already: the judge did not reason (`adaptive_reasoning`).
    ReasoningSkipped,
    /// Fewer orders of the responses exist than were asked for: each was judged once.
    OrdersReduced,
    /// The responses were judged in blocks that share some of them, and the scores of the blocks were put on one scale:
    /// responses of different blocks were never compared directly.
    JudgedInBlocks,
    /// The judge reads one response at once: it has scored each by itself.
    JudgedOneByOne,
    /// The judge reads two responses at once: the scores are made of comparisons of pairs.
    ComparedInPairs,
    /// The calibration of the profile was learned on another model: its probabilities may be wrong.
    CalibrationOfOtherModel,
    /// The calibration of the profile was learned with other options, or the profile has changed since: its probabilities may
    /// be wrong.
    CalibrationOfOtherOptions,
}

/// How many repairs are listed at most; so many say no more than half as many do.
const MAX_LISTED: usize = 64;
/// How much of a piece of text a repair or a flag quotes, in characters.
const MAX_QUOTED: usize = 80;

/// Repairs in the order found, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Repairs(Vec<Repair>);

impl Repairs {
    pub(super) fn push(&mut self, repair: Repair) {
        if self.0.len() < MAX_LISTED && !self.0.contains(&repair) {
            self.0.push(repair);
        }
    }

    pub(super) fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|repair| self.push(repair));
    }

    pub(super) fn holds(&self, repair: &Repair) -> bool {
        self.0.contains(repair)
    }

    pub(super) fn into_vec(self) -> Vec<Repair> {
        self.0
    }
}

/// A piece of the judge's text as repairs, flags and messages quote it: short, without line breaks.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String =
        text.trim().chars().take(MAX_QUOTED).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MAX_QUOTED).is_some() {
        short.push('…');
    }
    short
}
