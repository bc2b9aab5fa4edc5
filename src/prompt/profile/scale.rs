//! The scale of a judge's scores: the one place that says which numbers are on it and how they are written.

use serde::{Deserialize, Serialize};

/// The whole numbers from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The worst score.
    pub min: u8,
    /// The best score, at most [`Scale::MAX`].
    pub max: u8,
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 1, max: 5 }
    }
}

impl Scale {
    /// The highest score that a scale may have.
    pub const MAX: u8 = 100;

    /// Number of scores on the scale.
    pub fn len(self) -> usize {
        usize::from(self.max - self.min) + 1
    }

    /// Whether the scale holds no score; never the case in a checked profile.
    pub fn is_empty(self) -> bool {
        self.max < self.min
    }

    /// Whether a score, whole or not, lies on the scale.
    pub fn contains(self, score: f64) -> bool {
        score >= f64::from(self.min) && score <= f64::from(self.max)
    }

    /// Whether no score begins with the digits of another one, as 10 begins with those of 1. If so, a score is known to be complete
    /// with its last digit.
    pub fn is_prefix_free(self) -> bool {
        self.max / 10 < self.min.max(1)
    }

    /// The score that these digits write; none for a number off the scale, or one with zeros before it.
    pub(crate) fn read(self, digits: &[u8]) -> Option<u8> {
        let number = number(digits)?;
        u8::try_from(number).ok().filter(|score| (self.min..=self.max).contains(score))
    }

    /// Whether a longer score begins with these digits.
    pub(crate) fn goes_on(self, digits: &[u8]) -> bool {
        if digits.is_empty() {
            return true;
        }
        let Some(number) = number(digits).filter(|number| *number > 0) else { return false };
        [10, 100].iter().any(|more| {
            let first = number.saturating_mul(*more);
            first <= u32::from(self.max) && first + more > u32::from(self.min)
        })
    }

    /// The scores as what comes before the last digit, and the range of the last digit.
    pub(crate) fn digits(self) -> Vec<(String, char, char)> {
        let digit = |score: u8| char::from(b'0' + score % 10);
        let tens = self.min / 10..=self.max / 10;
        tens.map(|ten| {
            let (first, last) = (self.min.max(ten * 10), self.max.min(ten.saturating_mul(10).saturating_add(9)));
            let before = if ten == 0 { String::new() } else { ten.to_string() };
            (before, digit(first), digit(last))
        })
        .collect()
    }

    /// Checks the range.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check(self) -> Result<(), String> {
        if self.min < self.max && self.max <= Self::MAX {
            if self.max > 9 && self.min > 1 {
                return Err(format!(
                    "scale is {} to {}: a scale above 9 must begin at 0 or 1, since a judge that means 1 could only write 10, or                      a number like that",
                    self.min, self.max
                ));
            }
            return Ok(());
        }
        Err(format!(
            "scale is {} to {}: it must go from a smaller to a larger whole number, 0 to {}",
            self.min,
            self.max,
            Self::MAX
        ))
    }
}

/// The number of at most three digits, without zeros before it.
fn number(digits: &[u8]) -> Option<u32> {
    let is_plain = matches!(digits.len(), 1..=3) && (digits.len() == 1 || digits[0] != b'0');
    if !is_plain || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scales() -> impl Iterator<Item = Scale> {
        (0..=Scale::MAX).flat_map(|min| (min + 1..=Scale::MAX).map(move |max| Scale { min, max }))
    }

    #[test]
    fn digits_write_exactly_the_scores_of_the_scale() {
        for scale in scales() {
            let all: Vec<String> = (scale.min..=scale.max).map(|score| score.to_string()).collect();
            let written: Vec<String> = scale
                .digits()
                .into_iter()
                .flat_map(|(before, first, last)| (first..=last).map(move |digit| format!("{before}{digit}")))
                .collect();
            assert_eq!(written, all, "{scale:?}");
        }
        for (min, max) in [(1, 10), (0, 100), (1, 5), (10, 20), (7, 13)] {
            let scale = Scale { min, max };
            for number in 0..=1200_u32 {
                let text = number.to_string();
                let on = number >= u32::from(min) && number <= u32::from(max);
                assert_eq!(scale.read(text.as_bytes()).map(u32::from), on.then_some(number), "{scale:?} {number}");
                assert_eq!(scale.read(format!("0{text}").as_bytes()), None);
            }
        }
    }

    #[test]
    fn a_number_goes_on_if_a_longer_score_begins_with_it() {
        for scale in scales() {
            let all: Vec<String> = (scale.min..=scale.max).map(|score| score.to_string()).collect();
            let longer = |text: &str| all.iter().any(|other| other.len() > text.len() && other.starts_with(text));
            for number in 0..=130 {
                let text = number.to_string();
                assert_eq!(scale.goes_on(text.as_bytes()), longer(&text), "{scale:?} {number}");
            }
            assert_eq!(scale.is_prefix_free(), !all.iter().any(|text| longer(text)), "{scale:?}");
        }
    }

    #[test]
    fn a_scale_ends_at_a_hundred_and_has_two_ends() {
        for (min, max, fits) in [
            (0, 1, true),
            (0, 100, true),
            (1, 10, true),
            (5, 5, false),
            (6, 5, false),
            (1, 101, false),
            (2, 9, true),
            (2, 10, false),
            (10, 19, false),
        ] {
            assert_eq!(Scale { min, max }.check().is_ok(), fits, "{min} {max}");
        }
    }
}
