//! Intervals and tests by resampling, with a fixed seed: the same results give the same numbers.

/// A small generator of random numbers (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        // The bias of the remainder is some 2^-50 for the counts here.
        usize::try_from(self.next() % count as u64).unwrap_or(0)
    }
}

/// Draws of a bootstrap.
const DRAWS: usize = 2000;
/// Draws of a permutation test.
const PERMUTATIONS: u32 = 10_000;
/// Up to this many differences, all signs are tried.
const EXACT: usize = 13;

/// The 95 % interval of a statistic of items, by bootstrap over them (2,000 draws, percentiles). `statistic` gets the indices of
/// the drawn items. `None` without items, or if no draw has a value.
pub fn interval(items: usize, statistic: impl Fn(&[usize]) -> Option<f64>) -> Option<(f64, f64)> {
    if items == 0 {
        return None;
    }
    let mut random = Random(42);
    let mut drawn = vec![0; items];
    let mut values: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            drawn.fill_with(|| random.below(items));
            statistic(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let tail = values.len() / 40;
    Some((values[tail.min(last)], values[last - tail.min(last)]))
}

/// The two-sided p-value of a mean difference of 0, by a permutation test that turns the sign of each paired difference: over
/// all signs for up to 13 differences that are not 0, else over 10,000 drawn ones.
pub fn sign_test(differences: &[f64]) -> f64 {
    // A difference of 0 does not change the sum with either sign.
    let kept: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let observed = kept.iter().sum::<f64>().abs() - 1e-12;
    if kept.is_empty() {
        return 1.0;
    }
    let sum = |signs: &mut dyn FnMut(usize) -> bool| -> f64 {
        kept.iter().enumerate().map(|(index, difference)| if signs(index) { *difference } else { -difference }).sum()
    };
    if kept.len() <= EXACT {
        let all = 1_u32 << kept.len();
        let hits = (0..all).filter(|bits| sum(&mut |index| bits >> index & 1 == 1).abs() >= observed).count();
        return f64::from(u32::try_from(hits).unwrap_or(u32::MAX)) / f64::from(all);
    }
    let mut random = Random(7);
    let mut hits = 0;
    for _ in 0..PERMUTATIONS {
        let mut bits = 0;
        let mut signs = |index: usize| {
            if index.is_multiple_of(64) {
                bits = random.next();
            }
            bits >> (index % 64) & 1 == 1
        };
        hits += u32::from(sum(&mut signs).abs() >= observed);
    }
    // The observed signs count as one of the draws.
    f64::from(hits + 1) / f64::from(PERMUTATIONS + 1)
}

/// P-values of several tests, adjusted by Holm's method, in their order.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let left = u32::try_from(p_values.len() - rank).map_or(f64::INFINITY, f64::from);
        least = least.max((p_values[index] * left).min(1.0));
        adjusted[index] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_mean_and_narrows_with_more_items() {
        let width = |count: usize| {
            let share = |drawn: &[usize]| {
                let hits = drawn.iter().filter(|index| *index % 4 > 0).count();
                Some(f64::from(u32::try_from(hits).unwrap()) / f64::from(u32::try_from(drawn.len()).unwrap()))
            };
            let (low, high) = interval(count, share).unwrap();
            assert!(low < 0.75 && 0.75 < high);
            high - low
        };
        // 1.96 standard errors on each side.
        assert!((width(400) - 2.0 * 1.96 * (0.75_f64 * 0.25 / 400.0).sqrt()).abs() < 0.01);
        assert!(width(1600) < width(400));
        assert_eq!(interval(0, |_| Some(0.0)), None);
    }

    #[test]
    fn a_sign_test_is_exact_for_few_and_close_for_many() {
        // All of five alike: 2 of 32 signs are as far off.
        assert!((sign_test(&[1.0; 5]) - 2.0 / 32.0).abs() < 1e-12);
        assert!((sign_test(&[1.0, -1.0]) - 1.0).abs() < 1e-12);
        assert!((sign_test(&[0.0, 0.0]) - 1.0).abs() < 1e-12);
        // 60 of 100 heads: the exact two-sided binomial gives 0.0569.
        let many: Vec<f64> = (0..100).map(|index| if index < 60 { 1.0 } else { -1.0 }).collect();
        assert!((sign_test(&many) - 0.0569).abs() < 0.01, "{}", sign_test(&many));
    }
}
