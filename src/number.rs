//! Numbers as JSON.

use serde_json::{Number, Value};

/// A score as a JSON number: whole where it is whole, `null` where it is none.
pub(crate) fn score(score: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "scores lie on a scale of digits")]
    if score.fract() == 0.0 {
        Value::from(score as i64)
    } else {
        Number::from_f64(score).map_or(Value::Null, Value::Number)
    }
}
