//! Metrics of agreement and calibration. `tests/data/metrics.json` holds what scipy and scikit-learn give for the same data
//! (`scripts/metric_references.py`).

/// Kendall's tau-b of two lists of numbers; ties in either are accounted for. `None` for fewer than two entries, and where
/// all entries of a list are equal.
#[expect(clippy::cast_precision_loss, reason = "counts of pairs")]
pub fn kendall_tau(one: &[f64], other: &[f64]) -> Option<f64> {
    let count = one.len().min(other.len());
    let (mut agree, mut disagree, mut tied_one, mut tied_other) = (0_u64, 0_u64, 0_u64, 0_u64);
    for a in 0..count {
        for b in a + 1..count {
            let (first, second) = (one[a].total_cmp(&one[b]), other[a].total_cmp(&other[b]));
            tied_one += u64::from(first.is_eq());
            tied_other += u64::from(second.is_eq());
            if !first.is_eq() && !second.is_eq() {
                if first == second { agree += 1 } else { disagree += 1 }
            }
        }
    }
    let pairs = (count * count.saturating_sub(1) / 2) as u64;
    let free = ((pairs - tied_one) as f64 * (pairs - tied_other) as f64).sqrt();
    (free > 0.0).then(|| (agree as f64 - disagree as f64) / free)
}

/// The normalised discounted cumulative gain of an order by `values`, with gains `2^relevance - 1`. Entries of equal value
/// share the mean gain of their places. `None` where no entry is relevant.
pub fn ndcg(values: &[f64], relevance: &[f64]) -> Option<f64> {
    let gain = |relevance: f64| relevance.exp2() - 1.0;
    let ideal = {
        let mut sorted: Vec<f64> = relevance.iter().map(|&one| gain(one)).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted.iter().enumerate().map(|(place, gain)| gain * discount(place)).sum::<f64>()
    };
    let mut order: Vec<usize> = (0..values.len().min(relevance.len())).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut sum = 0.0;
    let mut at = 0;
    while at < order.len() {
        let tied = order[at..].iter().take_while(|&&index| values[index].total_cmp(&values[order[at]]).is_eq()).count();
        let mean = order[at..at + tied].iter().map(|&index| gain(relevance[index])).sum::<f64>() / number(tied);
        sum += (at..at + tied).map(|place| mean * discount(place)).sum::<f64>();
        at += tied;
    }
    (ideal > 0.0).then(|| sum / ideal)
}

fn discount(place: usize) -> f64 {
    1.0 / (number(place) + 2.0).log2()
}

#[expect(clippy::cast_precision_loss, reason = "counts of entries")]
pub(super) fn number(count: usize) -> f64 {
    count as f64
}

/// Cohen's kappa of two raters over the same units: 1 for full agreement, 0 for that of chance. `None` without units, and
/// where chance alone agrees fully.
pub fn cohen_kappa<T: Eq>(one: &[T], other: &[T]) -> Option<f64> {
    let count = one.len().min(other.len());
    if count == 0 {
        return None;
    }
    let mut classes: Vec<&T> = Vec::new();
    for label in one.iter().chain(other) {
        if !classes.contains(&label) {
            classes.push(label);
        }
    }
    let share = |labels: &[T], class: &T| {
        number(labels[..count].iter().filter(|label| *label == class).count()) / number(count)
    };
    let observed = number(one.iter().zip(other).filter(|(a, b)| a == b).count()) / number(count);
    let chance: f64 = classes.iter().map(|class| share(one, class) * share(other, class)).sum();
    (chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

/// How far two values differ for Krippendorff's alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Equal or not.
    Nominal,
    /// The square of the difference.
    Interval,
}

/// Krippendorff's alpha over `units`: the values of all raters for each unit, `None` where one gave none. `None` where fewer
/// than two values can be compared, or all are equal.
pub fn krippendorff_alpha(units: &[Vec<Option<f64>>], difference: Difference) -> Option<f64> {
    let distance = |a: f64, b: f64| match difference {
        Difference::Nominal => f64::from(u8::from(!a.total_cmp(&b).is_eq())),
        Difference::Interval => (a - b).powi(2),
    };
    let units: Vec<Vec<f64>> = units
        .iter()
        .map(|unit| unit.iter().copied().flatten().collect::<Vec<_>>())
        .filter(|values| values.len() > 1)
        .collect();
    let all: Vec<f64> = units.iter().flatten().copied().collect();
    let apart =
        |values: &[f64]| -> f64 { values.iter().flat_map(|&a| values.iter().map(move |&b| distance(a, b))).sum() };
    let observed: f64 =
        units.iter().map(|values| apart(values) / number(values.len() - 1)).sum::<f64>() / number(all.len());
    let expected = apart(&all) / (number(all.len()) * number(all.len().saturating_sub(1)));
    (all.len() > 1 && expected > 0.0).then(|| 1.0 - observed / expected)
}

/// The mean squared difference of probabilities and outcomes (Brier's score): 0 is best. `None` without entries.
pub fn brier(probabilities: &[f64], outcomes: &[bool]) -> Option<f64> {
    let squares = probabilities.iter().zip(outcomes).map(|(p, &outcome)| (p - f64::from(u8::from(outcome))).powi(2));
    mean(&squares.collect::<Vec<_>>())
}

/// The expected calibration error over `bins` bins of equal width: the mean distance of probability and share of outcomes,
/// weighted by the entries of each bin. `None` without entries.
pub fn calibration_error(probabilities: &[f64], outcomes: &[bool], bins: usize) -> Option<f64> {
    if probabilities.is_empty() || bins == 0 {
        return None;
    }
    let mut sums = vec![(0_usize, 0.0, 0.0); bins];
    for (&p, &outcome) in probabilities.iter().zip(outcomes) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a probability times a few bins")]
        let bin = ((p * number(bins)) as usize).min(bins - 1);
        let (count, probability, hits) = &mut sums[bin];
        *count += 1;
        *probability += p;
        *hits += f64::from(u8::from(outcome));
    }
    let apart: f64 = sums.iter().map(|(_, probability, hits)| (probability - hits).abs()).sum();
    Some(apart / number(probabilities.len()))
}

/// The mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / number(values.len()))
}
