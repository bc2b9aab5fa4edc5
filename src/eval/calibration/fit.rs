//! Maps from a difference of values to a probability, fitted to pairs of which it is known which response is better.

use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::{CalibrationMap, MAX_POINTS};

use super::super::metrics::number;

/// How a map is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// A logistic curve through 0.5: one number, so few pairs are enough.
    Platt,
    /// Any curve that does not fall (pool adjacent violators): for many pairs.
    Isotonic,
}

impl Method {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platt => "platt",
            Self::Isotonic => "isotonic",
        }
    }

    /// Fits a map. Each difference is the value of the better response of a pair less that of the worse one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the differences are not finite numbers, or say nothing: the better response does
    /// not have the higher value more often or by more.
    pub fn fit(self, differences: &[f64]) -> Result<CalibrationMap> {
        if differences.iter().any(|difference| !difference.is_finite()) {
            return Err(Error::new(ErrorKind::InvalidRequest, "a difference of scores is no finite number"));
        }
        let map = match self {
            Self::Platt => platt(differences),
            Self::Isotonic => isotonic(differences),
        };
        map.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidRequest,
                "the scores order these pairs no better than chance: there is nothing to learn from them",
            )
        })
    }
}

/// What counts as sure by so many pairs: Platt's targets, which are 1 and 0 only with endless data.
fn target(pairs: usize) -> f64 {
    (number(pairs) + 1.0) / (number(pairs) + 2.0)
}

/// The slope that is most likely with the targets of Platt (1999) in the data with each pair both ways round. The
/// derivative of the loss rises with the slope, so bisection finds its only root.
fn platt(differences: &[f64]) -> Option<CalibrationMap> {
    let target = target(differences.len());
    let derivative = |slope: f64| -> f64 {
        differences.iter().map(|difference| difference * (1.0 / (1.0 + (-slope * difference).exp()) - target)).sum()
    };
    if derivative(0.0).partial_cmp(&0.0).is_none_or(std::cmp::Ordering::is_ge) {
        return None;
    }
    let (mut low, mut high) = (0.0, 1.0);
    while derivative(high) < 0.0 {
        (low, high) = (high, high * 2.0);
        if !high.is_finite() {
            return None;
        }
    }
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if derivative(middle) < 0.0 { low = middle } else { high = middle }
    }
    Some(CalibrationMap::Platt { slope: high })
}

/// Pairs with one difference, or with several that were pooled.
struct Block {
    first: f64,
    last: f64,
    sum: f64,
    count: usize,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / number(self.count)
    }
}

/// The curve that never falls with the least squared error over the data with each pair both ways round. What was pooled is no
/// surer than Platt's target for as many pairs: one pair that is right at the end of the curve is no certainty.
fn isotonic(differences: &[f64]) -> Option<CalibrationMap> {
    let mut points: Vec<(f64, f64)> =
        differences.iter().flat_map(|&difference| [(difference, 1.0), (-difference, 0.0)]).collect();
    // Zero has two signs, which are one difference.
    for point in &mut points {
        point.0 += 0.0;
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut blocks: Vec<Block> = Vec::new();
    let mut rest = points.as_slice();
    while let Some(&(place, _)) = rest.first() {
        let alike = rest.partition_point(|point| point.0 <= place);
        let sum = rest[..alike].iter().map(|point| point.1).sum();
        rest = &rest[alike..];
        blocks.push(Block { first: place, last: place, sum, count: alike });
        while let [.., before, last] = blocks.as_mut_slice()
            && before.mean() >= last.mean()
        {
            (before.last, before.sum, before.count) = (last.last, before.sum + last.sum, before.count + last.count);
            blocks.pop();
        }
    }
    // The other half is the same, turned round.
    let (mut places, mut probabilities) = (vec![0.0], vec![0.5]);
    for block in blocks.iter().filter(|block| block.last > 0.0) {
        let before = probabilities.last().copied().unwrap_or(0.5);
        let probability = block.mean().min(target(block.count)).max(before);
        for place in [block.first, block.last] {
            if places.last().is_some_and(|before| place > *before) {
                places.push(place);
                probabilities.push(probability);
            }
        }
    }
    thin(&mut places, &mut probabilities);
    let says_something = probabilities.last().is_some_and(|last| *last > 0.5);
    says_something.then_some(CalibrationMap::Isotonic { differences: places, probabilities })
}

/// Keeps as many points as a profile may have, with even steps, the first and the last among them.
fn thin(places: &mut Vec<f64>, probabilities: &mut Vec<f64>) {
    let count = places.len();
    if count > MAX_POINTS {
        let kept = |list: &[f64]| -> Vec<f64> {
            (0..MAX_POINTS).map(|index| list[index * (count - 1) / (MAX_POINTS - 1)]).collect()
        };
        (*places, *probabilities) = (kept(places), kept(probabilities));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_symmetric_and_never_falls() {
        let differences: Vec<f64> = (0..200).map(|index| f64::from(index % 23) / 5.0 - 1.2).collect();
        for method in [Method::Platt, Method::Isotonic] {
            let map = method.fit(&differences).unwrap();
            let mut before = 0.0;
            for step in -600..=600 {
                let difference = f64::from(step) / 100.0;
                let probability = map.probability(difference);
                assert!((0.0..=1.0).contains(&probability) && probability >= before, "{method:?} at {difference}");
                assert!((probability + map.probability(-difference) - 1.0).abs() < 1e-15, "{method:?} at {difference}");
                before = probability;
            }
            assert!((map.probability(0.0) - 0.5).abs() < 1e-15);
        }
    }

    #[test]
    fn pairs_that_say_nothing_are_refused() {
        for method in [Method::Platt, Method::Isotonic] {
            for differences in [&[][..], &[0.0; 5], &[-1.0, -2.0, 0.5], &[1.0, -1.0]] {
                let error = method.fit(differences).expect_err("nothing to learn");
                assert!(error.message().contains("no better than chance"), "{error}");
            }
            assert!(method.fit(&[1.0, f64::NAN]).is_err());
        }
    }

    #[test]
    fn pairs_that_are_all_right_give_no_certainty() {
        for method in [Method::Platt, Method::Isotonic] {
            let map = method.fit(&[1.0; 98]).unwrap();
            assert!((map.probability(1.0) - 0.99).abs() < 1e-9, "{map:?}");
        }
    }

    #[test]
    fn a_curve_of_too_many_points_keeps_its_ends() {
        let mut places: Vec<f64> = (0..25_000).map(f64::from).collect();
        let mut probabilities = places.iter().map(|place| 0.5 + place / 50_000.0).collect();
        thin(&mut places, &mut probabilities);
        assert_eq!((places.len(), probabilities.len()), (MAX_POINTS, MAX_POINTS));
        assert!(places[0].abs() < 1e-12 && (places[MAX_POINTS - 1] - 24_999.0).abs() < 1e-9);
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
