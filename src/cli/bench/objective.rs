//! What a load must hold: a limit on a quantile or on the mean of the latency, and whether it is certain that it holds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// 95 % of the normal distribution lie within this many standard deviations.
const Z95: f64 = 1.959_964;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Measure {
    Mean,
    /// This share of all judgments must be within the limit; 1 is all of them.
    Quantile(f64),
}

/// `p99=2s`: the limit of one measure of the latency. A judgment that failed counts as too late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Objective {
    pub(super) measure: Measure,
    pub(super) limit: Duration,
}

/// Whether an objective was held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Standing {
    pub(super) held: bool,
    /// Whether the 95 % interval of what was measured lies on one side of the objective.
    pub(super) sure: bool,
    /// The share of judgments within the limit, and its interval.
    pub(super) within: (f64, f64, f64),
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "write a measure and a limit, such as p99=2s, p50=300ms, mean=1.5s or max=10s; a limit is above 0"
                .to_owned()
        };
        let (measure, limit) = text.split_once('=').ok_or_else(wrong)?;
        let measure = match measure.trim() {
            "mean" => Measure::Mean,
            "max" => Measure::Quantile(1.0),
            quantile => {
                let percent: f64 = quantile.strip_prefix('p').and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
                if !(percent > 0.0 && percent < 100.0) {
                    return Err(wrong());
                }
                Measure::Quantile(percent / 100.0)
            }
        };
        let limit = duration(limit.trim()).filter(|limit| !limit.is_zero()).ok_or_else(wrong)?;
        Ok(Self { measure, limit })
    }
}

/// Reads `2s`, `1.5s`, `300ms`, `250us`, `2m` or `1h`; without a unit it is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" | "" => 1.0,
        "ms" => 1e-3,
        "us" => 1e-6,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    // No judgment waits longer than a day.
    Duration::try_from_secs_f64(number * unit).ok().filter(|duration| duration.as_secs() <= 86_400)
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::Quantile(1.0) => f.write_str("max"),
            // Twelve digits hide the binary rounding of a percentage.
            Self::Quantile(share) => write!(f, "p{}", (share * 1e14).round() / 1e12),
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={:?}", self.measure, self.limit)
    }
}

/// The 95 % interval of a share when `part` of `whole` were seen (Wilson).
#[expect(clippy::cast_precision_loss, reason = "counts of judgments")]
pub(super) fn interval(part: u64, whole: u64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let (count, share) = (whole as f64, part as f64 / whole as f64);
    let square = Z95 * Z95 / count;
    let middle = (share + square / 2.0) / (1.0 + square);
    let half = Z95 / (1.0 + square) * (share * (1.0 - share) / count + square / (4.0 * count)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

impl Objective {
    /// Judges a load by the latencies of what succeeded and the number of what failed.
    #[expect(clippy::cast_precision_loss, reason = "counts of judgments")]
    pub(super) fn held(&self, latencies: impl Iterator<Item = Duration> + Clone, failed: u64) -> Standing {
        let (succeeded, good) = latencies
            .clone()
            .fold((0u64, 0u64), |(all, good), latency| (all + 1, good + u64::from(latency <= self.limit)));
        let all = succeeded + failed;
        let (low, high) = interval(good, all);
        let within = (if all == 0 { 0.0 } else { good as f64 / all as f64 }, low, high);
        match self.measure {
            // No sample can show that nothing is ever slower.
            Measure::Quantile(1.0) => Standing { held: all > 0 && good == all, sure: good < all, within },
            Measure::Quantile(share) => {
                let held = all > 0 && within.0 >= share;
                Standing { held, sure: if held { low >= share } else { high < share }, within }
            }
            Measure::Mean => {
                let (count, limit) = (succeeded as f64, self.limit.as_secs_f64());
                let mean = latencies.clone().map(|latency| latency.as_secs_f64()).sum::<f64>() / count.max(1.0);
                let squares = latencies.map(|latency| (latency.as_secs_f64() - mean).powi(2)).sum::<f64>();
                let half = Z95 * (squares / (count - 1.0).max(1.0) / count.max(1.0)).sqrt();
                let held = succeeded > 0 && failed == 0 && mean <= limit;
                let sure = failed > 0 || (succeeded > 1 && (mean - limit).abs() > half);
                Standing { held, sure, within }
            }
        }
    }

    /// How many judgments, none of them too late, would make it certain that the objective holds.
    pub(super) fn enough(&self) -> Option<u64> {
        match self.measure {
            Measure::Quantile(share) if share < 1.0 => {
                let count = (Z95 * Z95 * share / (1.0 - share)).ceil();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count for people")]
                (count < 1e9).then_some(count as u64)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_read_and_written() {
        for (text, shown) in [
            ("p99=2s", "p99=2s"),
            ("p99.9=300ms", "p99.9=300ms"),
            ("p50 = 1.5", "p50=1.5s"),
            ("mean=2m", "mean=120s"),
            ("max=250us", "max=250µs"),
        ] {
            assert_eq!(text.parse::<Objective>().unwrap().to_string(), shown);
        }
        for text in ["p99", "p100=1s", "p0=1s", "median=2s", "p99=0s", "p99=-1s", "p99=2d", "p99=", "p99=1e300s"] {
            assert!(text.parse::<Objective>().unwrap_err().contains("p99=2s"), "{text}");
        }
    }

    #[test]
    fn an_interval_holds_the_share_and_narrows_with_the_count() {
        let (low, high) = interval(99, 100);
        assert!((0.94..0.95).contains(&low) && (0.998..0.999).contains(&high), "{low} {high}");
        let (low, high) = interval(9900, 10_000);
        assert!(low > 0.987 && high < 0.993);
        assert_eq!(interval(0, 0), (0.0, 1.0));
        assert!(interval(10, 10).1 <= 1.0 && interval(0, 10).0 >= 0.0);
    }

    fn held(objective: &str, fast: usize, slow: usize, failed: u64) -> Standing {
        let times = std::iter::repeat_n(Duration::from_millis(100), fast)
            .chain(std::iter::repeat_n(Duration::from_secs(3), slow));
        objective.parse::<Objective>().unwrap().held(times, failed)
    }

    #[test]
    fn failures_count_as_past_the_limit() {
        let good = held("p99=2s", 1000, 0, 0);
        assert!(good.held && good.sure);
        let bad = held("p99=2s", 900, 0, 100);
        assert!(!bad.held && bad.sure);
        assert!((bad.within.0 - 0.9).abs() < 1e-9);
        assert!(!held("mean=2s", 100, 0, 1).held);
        assert!(!held("p50=2s", 0, 0, 0).held, "nothing measured holds nothing");
    }

    #[test]
    fn few_judgments_are_not_sure() {
        let few = held("p99=2s", 100, 0, 0);
        assert!(few.held && !few.sure);
        let enough = "p99=2s".parse::<Objective>().unwrap().enough().unwrap();
        let enough = held("p99=2s", usize::try_from(enough).unwrap(), 0, 0);
        assert!(enough.held && enough.sure);
        let border = held("p90=2s", 89, 11, 0);
        assert!(!border.held && !border.sure);
        assert!(!held("max=2s", 1000, 0, 0).sure, "a maximum is never proven");
        assert!(held("max=2s", 1000, 1, 0).sure, "but disproven by one");
        let mean = held("mean=200ms", 990, 10, 0);
        assert!(mean.held && mean.sure);
    }
}
