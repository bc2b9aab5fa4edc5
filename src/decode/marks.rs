//! How scores are written: as numbers of a scale, or as the letter of the response that was chosen.

use serde::{Deserialize, Serialize};

use crate::prompt::profile::Scale;

/// What may stand at the place of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Marks {
    /// The whole numbers of a scale.
    Numbers(Scale),
    /// `A` or `B`. They count as 0 and 1.
    Letters,
}

impl Marks {
    /// The lowest mark.
    pub fn least(self) -> u8 {
        match self {
            Self::Numbers(scale) => scale.min,
            Self::Letters => 0,
        }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Self::Numbers(scale) => scale.len(),
            Self::Letters => 2,
        }
    }

    /// Whether there are none; never the case for a checked profile.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// All of them, the lowest first.
    pub fn all(self) -> impl Iterator<Item = u8> {
        (self.least()..).take(self.len())
    }

    /// A mark as it is written.
    pub fn spelled(self, mark: u8) -> String {
        match self {
            Self::Numbers(_) => mark.to_string(),
            Self::Letters => char::from(b'A' + mark).to_string(),
        }
    }

    /// The first of the marks that are longest when written.
    pub fn longest(self) -> String {
        let mut longest = String::new();
        for mark in self.all().map(|mark| self.spelled(mark)) {
            if mark.len() > longest.len() {
                longest = mark;
            }
        }
        longest
    }

    /// The mark that this text writes, and nothing else.
    pub fn read(self, text: &[u8]) -> Option<u8> {
        match self {
            Self::Numbers(scale) => scale.read(text),
            Self::Letters => match text {
                [letter @ b'A'..=b'B'] => Some(letter - b'A'),
                _ => None,
            },
        }
    }

    /// How many bytes at the beginning of a text belong to a mark.
    pub fn run(self, text: &[u8]) -> usize {
        match self {
            Self::Numbers(_) => text.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Self::Letters => usize::from(text.first().is_some_and(|letter| matches!(letter, b'A'..=b'B'))),
        }
    }

    /// Whether a longer mark begins with this text.
    pub fn goes_on(self, text: &[u8]) -> bool {
        match self {
            Self::Numbers(scale) => scale.goes_on(text),
            Self::Letters => text.is_empty(),
        }
    }

    /// Whether no mark begins with another one: it is complete with its last character.
    pub fn is_prefix_free(self) -> bool {
        match self {
            Self::Numbers(scale) => scale.is_prefix_free(),
            Self::Letters => true,
        }
    }

    /// Whether each mark is one byte.
    pub fn is_one_byte(self) -> bool {
        match self {
            Self::Numbers(scale) => scale.max < 10,
            Self::Letters => true,
        }
    }

    /// All marks as what comes before the last character, and the range of the last character.
    pub(crate) fn ranges(self) -> Vec<(String, char, char)> {
        match self {
            Self::Numbers(scale) => scale.digits(),
            Self::Letters => vec![(String::new(), 'A', 'B')],
        }
    }
}
