//! The check that a number lies in its range.

use crate::error::{Error, ErrorKind, Result};

/// Checks that a setting lies in `min..=max`.
pub(super) fn in_range<T: Copy + PartialOrd + std::fmt::Display>(key: &str, value: T, min: T, max: T) -> Result<T> {
    // Written so that NaN, which compares with nothing, fails.
    if value >= min && value <= max {
        Ok(value)
    } else {
        Err(Error::new(ErrorKind::InvalidConfig, format!("{key} is {value}: it must be from {min} to {max}")))
    }
}
