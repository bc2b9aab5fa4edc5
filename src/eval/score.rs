//! Compares a verdict with the known order of one item.

use super::metrics;

/// The metrics of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemScores {
    /// Pairs whose order is known, and how many of them the values put in that order; equal values are wrong.
    pub pairs: usize,
    /// See `pairs`.
    pub right: usize,
    /// Of these pairs, those with equal values.
    pub tied: usize,
    /// Whether one of the best responses alone has the highest value; `None` where all are equally good.
    pub best: Option<bool>,
    /// Kendall's tau-b of values and relevance.
    pub tau: Option<f64>,
    /// Of the order by values.
    pub ndcg: Option<f64>,
    /// The variance of the values.
    pub variance: f64,
    /// For an item of RM-Bench, the shares of right pairs: easy (chosen is more styled than rejected), normal (equally), hard (less).
    pub by_style: Option<[f64; 3]>,
    /// The share of the pairs that all runs of an ensemble put in the same order; `None` for a single run.
    pub consistency: Option<f64>,
}

/// Compares the values that a judge gave with what is known. `runs` are the values of each run of an ensemble. With
/// `by_style`, the first three responses are chosen ones and the last three rejected ones, each from plain to styled.
pub fn item_scores(values: &[f64], relevance: &[f64], runs: &[Vec<f64>], by_style: bool) -> ItemScores {
    let known: Vec<(usize, usize)> = (0..relevance.len())
        .flat_map(|better| (0..relevance.len()).map(move |worse| (better, worse)))
        .filter(|&(better, worse)| relevance[better] > relevance[worse])
        .collect();
    let right = |values: &[f64], (better, worse): (usize, usize)| values[better] > values[worse];
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let top: Vec<usize> = (0..values.len()).filter(|&index| values[index] >= highest).collect();
    let most = relevance.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Equal values at the top are right only if all of them are best.
    let best = !top.is_empty() && top.iter().all(|&index| relevance[index] >= most);
    let mean = metrics::mean(values).unwrap_or(0.0);
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    let share = |hits: usize, of: usize| metrics::mean(&[vec![1.0; hits], vec![0.0; of - hits]].concat());
    let style = |wanted: fn(usize, usize) -> bool| {
        let pairs: Vec<_> = (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|&(a, b)| wanted(a, b)).collect();
        let hits = pairs.iter().filter(|&&(a, b)| right(values, (a, b + 3))).count();
        share(hits, pairs.len()).unwrap_or(0.0)
    };
    let alike = |pair: (usize, usize)| {
        let mut ways = runs.iter().map(|run| run[pair.0].total_cmp(&run[pair.1]));
        let first = ways.next();
        ways.all(|way| Some(way) == first)
    };
    ItemScores {
        pairs: known.len(),
        right: known.iter().filter(|&&pair| right(values, pair)).count(),
        tied: known.iter().filter(|&&(a, b)| values[a].total_cmp(&values[b]).is_eq()).count(),
        best: (!known.is_empty()).then_some(best),
        tau: metrics::kendall_tau(values, relevance),
        ndcg: metrics::ndcg(values, relevance),
        variance: metrics::mean(&squares).unwrap_or(0.0),
        by_style: by_style.then(|| [style(|a, b| a > b), style(|a, b| a == b), style(|a, b| a < b)]),
        consistency: if runs.len() > 1 {
            share(known.iter().filter(|&&pair| alike(pair)).count(), known.len())
        } else {
            None
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_wrong_and_styles_are_told_apart() {
        let relevance = [1.0, 1.0, 1.0, 0.0, 0.0, 0.0];
        // Styled responses win: the plain chosen one loses to the styled rejected ones.
        let values = [2.0, 3.0, 4.0, 1.0, 2.0, 3.0];
        let scores = item_scores(&values, &relevance, &[], true);
        assert_eq!((scores.pairs, scores.right, scores.tied), (9, 6, 2));
        assert_eq!(scores.by_style, Some([1.0, 1.0, 0.0]));
        assert_eq!(scores.best, Some(true));
        let shared = item_scores(&[3.0, 3.0], &[1.0, 0.0], &[vec![1.0, 2.0], vec![2.0, 1.0]], false);
        assert_eq!((shared.right, shared.tied, shared.best, shared.consistency), (0, 1, Some(false), Some(0.0)));
        let equal = item_scores(&[3.0, 2.0], &[1.0, 1.0], &[], false);
        assert_eq!((equal.pairs, equal.best, equal.tau), (0, None, None));
    }
}
