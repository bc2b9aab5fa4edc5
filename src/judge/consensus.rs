//! One ranking of several: Kendall-optimal or Borda, and how far the rankings agree.

use crate::config::RankRule;

/// The most responses for which the best order is found exactly, over all sets of them (2^16 sets).
const EXACT: usize = 16;

/// The ranking that represents `rankings` (indices, best first). `preferred` orders what the rule leaves open. Also returns
/// whether no other order disagrees less with the rankings, which is known only if the order was found exactly.
pub(super) fn ranking(rule: RankRule, rankings: &[&[usize]], preferred: &[usize]) -> (Vec<usize>, bool) {
    match rule {
        RankRule::Borda => (borda(rankings, preferred), false),
        RankRule::Kendall if preferred.len() <= EXACT => (exact(&costs(rankings, preferred)), true),
        RankRule::Kendall => (local(&costs(rankings, preferred), borda(rankings, preferred)), false),
    }
}

/// The ranking that disagrees as little as possible with `rankings`, each of which has a part of the responses;
/// pairs that no ranking contains are in the order preferred if that does not contradict the rankings. Exact up to 16
/// responses; beyond, the order preferred is improved by moving one response at a time.
pub(super) fn of_parts(rankings: &[&[usize]], preferred: &[usize]) -> Vec<usize> {
    let costs = costs(rankings, preferred);
    if preferred.len() <= EXACT { exact(&costs) } else { local(&costs, preferred.to_vec()) }
}

/// By the sum of places; equal sums in the order preferred.
fn borda(rankings: &[&[usize]], preferred: &[usize]) -> Vec<usize> {
    let mut sums = vec![0_usize; preferred.len()];
    for ranking in rankings {
        for (place, &index) in ranking.iter().enumerate() {
            sums[index] += place;
        }
    }
    let mut order = preferred.to_vec();
    // A stable sort.
    order.sort_by_key(|&index| sums[index]);
    order
}

/// `costs[a][b]`: what it costs to rank `a` before `b`. Disagreements with the rankings weigh more than all those with
/// the order preferred together.
fn costs(rankings: &[&[usize]], preferred: &[usize]) -> Vec<Vec<u64>> {
    let count = preferred.len();
    let heavy = (count * count) as u64 + 1;
    let mut costs = vec![vec![0; count]; count];
    let mut add = |ranking: &[usize], weight: u64| {
        for (place, &better) in ranking.iter().enumerate() {
            for &worse in &ranking[place + 1..] {
                costs[worse][better] += weight;
            }
        }
    };
    for ranking in rankings {
        add(ranking, heavy);
    }
    add(preferred, 1);
    costs
}

/// The cheapest order, by the cheapest order of each set of responses.
fn exact(costs: &[Vec<u64>]) -> Vec<usize> {
    let count = costs.len();
    let all = (1_usize << count) - 1;
    // Of each set, the least cost of ranking it first, and which of it comes last then.
    let mut best = vec![(u64::MAX, 0_usize); all + 1];
    best[0] = (0, 0);
    for set in 1..=all {
        for last in (0..count).filter(|&index| set >> index & 1 == 1) {
            let before = set & !(1 << last);
            let behind: u64 =
                (0..count).filter(|&index| before >> index & 1 == 1).map(|index| costs[index][last]).sum();
            let cost = best[before].0 + behind;
            if cost < best[set].0 {
                best[set] = (cost, last);
            }
        }
    }
    let mut order = Vec::with_capacity(count);
    let mut set = all;
    while set != 0 {
        let last = best[set].1;
        order.push(last);
        set &= !(1 << last);
    }
    order.reverse();
    order
}

/// Moves one response at a time to its cheapest place, until no move helps.
fn local(costs: &[Vec<u64>], mut order: Vec<usize>) -> Vec<usize> {
    loop {
        let mut moved = false;
        for from in 0..order.len() {
            let index = order[from];
            // What is gained by moving it past each neighbour, summed as it goes on.
            let (mut gain, mut most, mut to) = (0_i64, 0_i64, from);
            let step = |first: usize, second: usize| {
                i64::try_from(costs[first][second]).unwrap_or(i64::MAX)
                    - i64::try_from(costs[second][first]).unwrap_or(i64::MAX)
            };
            for (place, &other) in order.iter().enumerate().skip(from + 1) {
                gain += step(index, other);
                if gain > most {
                    (most, to) = (gain, place);
                }
            }
            gain = 0;
            for (place, &other) in order.iter().enumerate().take(from).rev() {
                gain += step(other, index);
                if gain > most {
                    (most, to) = (gain, place);
                }
            }
            if to != from {
                order.remove(from);
                order.insert(to, index);
                moved = true;
            }
        }
        if !moved {
            return order;
        }
    }
}

/// Kendall's coefficient of concordance: 1 if all rankings are the same, 0 if they have nothing in common. `None` for
/// fewer than two rankings or responses.
#[expect(clippy::cast_precision_loss, reason = "a few dozen responses and runs")]
pub(super) fn concordance(rankings: &[&[usize]]) -> Option<f64> {
    let count = rankings.first()?.len();
    if rankings.len() < 2 || count < 2 {
        return None;
    }
    let mut sums = vec![0.0; count];
    for ranking in rankings {
        for (place, &index) in ranking.iter().enumerate() {
            sums[index] += place as f64;
        }
    }
    let (raters, count) = (rankings.len() as f64, count as f64);
    let mean = raters * (count - 1.0) / 2.0;
    let spread: f64 = sums.iter().map(|sum| (sum - mean).powi(2)).sum();
    Some(12.0 * spread / (raters * raters * (count.powi(3) - count)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::mask::shuffled;

    fn cost(costs: &[Vec<u64>], order: &[usize]) -> u64 {
        let pairs = order.iter().enumerate();
        pairs.map(|(place, &better)| order[place + 1..].iter().map(|&worse| costs[better][worse]).sum::<u64>()).sum()
    }

    /// The cheapest of all orders.
    fn cheapest(costs: &[Vec<u64>], order: &mut Vec<usize>, place: usize) -> u64 {
        if place == order.len() {
            return cost(costs, order);
        }
        let mut least = u64::MAX;
        for other in place..order.len() {
            order.swap(place, other);
            least = least.min(cheapest(costs, order, place + 1));
            order.swap(place, other);
        }
        least
    }

    #[test]
    fn the_exact_order_is_the_cheapest_of_all() {
        for seed in 0..20 {
            let count = 2 + usize::try_from(seed % 6).unwrap();
            let rankings: Vec<_> = (0..5).map(|run| shuffled(count, seed * 10 + run)).collect();
            let rankings: Vec<&[usize]> = rankings.iter().map(Vec::as_slice).collect();
            let preferred = shuffled(count, seed + 1000);
            let costs = costs(&rankings, &preferred);
            let (order, is_exact) = ranking(RankRule::Kendall, &rankings, &preferred);
            assert!(is_exact);
            assert_eq!(cost(&costs, &order), cheapest(&costs, &mut (0..count).collect(), 0));
        }
    }

    #[test]
    fn what_the_rankings_leave_open_follows_the_order_preferred() {
        let rankings: [&[usize]; 2] = [&[0, 1, 2], &[0, 2, 1]];
        assert_eq!(ranking(RankRule::Kendall, &rankings, &[2, 1, 0]).0, [0, 2, 1]);
        assert_eq!(ranking(RankRule::Borda, &rankings, &[1, 2, 0]).0, [0, 1, 2]);
    }

    #[test]
    fn kendall_and_borda_differ_where_one_run_is_far_off() {
        // Three of five put 0 first; the other two put it last.
        let rankings: [&[usize]; 5] = [&[0, 1, 2, 3], &[0, 1, 2, 3], &[0, 1, 2, 3], &[1, 2, 3, 0], &[1, 2, 3, 0]];
        assert_eq!(ranking(RankRule::Kendall, &rankings, &[3, 2, 1, 0]).0, [0, 1, 2, 3]);
        assert_eq!(ranking(RankRule::Borda, &rankings, &[3, 2, 1, 0]).0[0], 1);
    }

    #[test]
    fn many_responses_end_where_no_single_move_helps() {
        let rankings: Vec<_> = (0..7).map(|seed| shuffled(24, seed)).collect();
        let rankings: Vec<&[usize]> = rankings.iter().map(Vec::as_slice).collect();
        let preferred: Vec<usize> = (0..24).collect();
        let costs = costs(&rankings, &preferred);
        let (order, is_exact) = ranking(RankRule::Kendall, &rankings, &preferred);
        assert!(!is_exact);
        for from in 0..24 {
            for to in 0..24 {
                let mut moved = order.clone();
                let index = moved.remove(from);
                moved.insert(to, index);
                assert!(cost(&costs, &moved) >= cost(&costs, &order));
            }
        }
        let same = [preferred.as_slice(); 3];
        assert_eq!(ranking(RankRule::Kendall, &same, &shuffled(24, 1)).0, preferred);
    }

    #[test]
    fn rankings_of_parts_are_kept_and_joined_in_the_order_preferred() {
        // The two agree on 0 and 1, which both hold.
        let parts: [&[usize]; 2] = [&[2, 0, 1], &[0, 4, 1, 3]];
        assert_eq!(of_parts(&parts, &[4, 0, 1, 2, 3]), [2, 0, 4, 1, 3]);
        assert_eq!(of_parts(&parts, &[0, 1, 2, 3, 4]), [2, 0, 4, 1, 3]);
        assert_eq!(of_parts(&[&[0, 1], &[2, 3]], &[2, 0, 1, 3]), [2, 0, 1, 3]);
        // Where they contradict each other, the order preferred decides.
        assert_eq!(of_parts(&[&[0, 1, 2], &[1, 0, 3]], &[3, 1, 0, 2]), [1, 0, 3, 2]);
        for count in [5, 16, 17, 40] {
            let preferred = shuffled(count, 3);
            let halves = [&preferred[..count / 2], &preferred[count / 3..]];
            assert_eq!(of_parts(&halves, &preferred), preferred);
        }
    }

    #[test]
    fn concordance_is_kendalls_w() {
        let same: [&[usize]; 3] = [&[2, 0, 1]; 3];
        assert_eq!(concordance(&same), Some(1.0));
        assert_eq!(concordance(&[&[0, 1], &[1, 0]]), Some(0.0));
        // Sums of places 1, 2 and 6, their mean 3.
        let w = concordance(&[&[0, 1, 2], &[0, 1, 2], &[1, 0, 2]]).unwrap();
        assert!((w - 12.0 * (4.0 + 1.0 + 9.0) / (9.0 * 24.0)).abs() < 1e-12, "{w}");
        assert_eq!(concordance(&[&[0, 1]]), None);
    }
}
