//! The orders in which an ensemble shows the responses: balanced Latin squares.
//!
//! A square of N orders shows each response once at each place, and, over one square of an even N or two of an odd N, each
//! response as often behind any other (a Williams design). So what a judge gives to a place, or to the neighbour of a good
//! response, is the same for all. The first order is the one that a single run has; further squares start from orders
//! that are shuffled by a seed.

use std::collections::HashSet;

use crate::prompt::mask::shuffled;

/// Draws before the orders that are left are looked for one after the other.
const DRAWS: u64 = 1000;

/// `wanted` different orders that begin with `first`, or all that there are. `order[place]` is the response at that place.
pub(super) fn orders(first: &[usize], wanted: usize, seed: u64) -> Vec<Vec<usize>> {
    let count = first.len();
    let wanted = wanted.min(factorial(count).unwrap_or(usize::MAX));
    if wanted == 1 {
        // Nearly every judgment: no square needed.
        return vec![first.to_vec()];
    }
    let mut orders = Vec::with_capacity(wanted);
    let mut known = HashSet::new();
    let mut add = |order: Vec<usize>, orders: &mut Vec<Vec<usize>>| {
        if orders.len() < wanted && known.insert(order.clone()) {
            orders.push(order);
        }
    };
    for draw in 0..DRAWS {
        if orders.len() == wanted {
            return orders;
        }
        let start = if draw == 0 { first.to_vec() } else { shuffled(count, seed.wrapping_add(draw)) };
        for order in square(&start) {
            add(order, &mut orders);
        }
        if count % 2 == 1 {
            // The square of an odd number is balanced for neighbours together with its mirror image.
            for mut order in square(&start) {
                order.reverse();
                add(order, &mut orders);
            }
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    loop {
        add(order.clone(), &mut orders);
        if orders.len() == wanted || !next_permutation(&mut order) {
            return orders;
        }
    }
}

/// The square whose first row is `start`.
fn square(start: &[usize]) -> Vec<Vec<usize>> {
    let count = start.len();
    // Williams: 0, 1, N-1, 2, N-2, ...; each row adds 1.
    let base: Vec<usize> =
        (0..count).map(|place| if place % 2 == 1 { place.div_ceil(2) } else { (count - place / 2) % count }).collect();
    let mut label = vec![0; count];
    for (place, &number) in base.iter().enumerate() {
        label[number] = start[place];
    }
    (0..count).map(|row| base.iter().map(|&number| label[(number + row) % count]).collect()).collect()
}

/// How many orders of `count` things there are; `None` beyond a machine word.
pub(super) fn factorial(count: usize) -> Option<usize> {
    (1..=count).try_fold(1_usize, usize::checked_mul)
}

fn next_permutation(order: &mut [usize]) -> bool {
    let Some(at) = (1..order.len()).rev().find(|&at| order[at - 1] < order[at]) else { return false };
    let pivot = order[at - 1];
    let other = (at..order.len()).rev().find(|&other| order[other] > pivot).unwrap_or(at);
    order.swap(at - 1, other);
    order[at..].reverse();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_shows_each_response_once_at_each_place_and_behind_each_other() {
        for count in 2..=9 {
            let first = shuffled(count, 42);
            let squares = if count % 2 == 1 { 2 } else { 1 };
            let made = orders(&first, count * squares, 42);
            assert_eq!(made[0], first);
            let full = count * squares;
            assert_eq!(made.len(), full.min(factorial(count).unwrap()));
            let mut places = vec![0; count * count];
            let mut behind = vec![0; count * count];
            for order in &made {
                for (place, &index) in order.iter().enumerate() {
                    places[place * count + index] += 1;
                }
                for pair in order.windows(2) {
                    behind[pair[0] * count + pair[1]] += 1;
                }
            }
            assert!(places.iter().all(|&times| times == squares), "{count}: {places:?}");
            for (at, &times) in behind.iter().enumerate() {
                let wanted = if at / count == at % count { 0 } else { squares };
                assert_eq!(times, wanted, "{count}: {behind:?}");
            }
        }
    }

    #[test]
    fn orders_are_different_and_no_more_than_there_are() {
        for (count, wanted, got) in [(1, 5, 1), (2, 64, 2), (3, 64, 6), (4, 64, 24), (5, 64, 64), (20, 64, 64)] {
            let first = shuffled(count, 7);
            let made = orders(&first, wanted, 7);
            assert_eq!(made.len(), got, "{count}");
            assert_eq!(made.iter().collect::<HashSet<_>>().len(), got);
            assert_eq!(made, orders(&first, wanted, 7), "the same seed gives the same orders");
        }
        assert_ne!(orders(&[0, 1, 2, 3], 8, 1)[4..], orders(&[0, 1, 2, 3], 8, 2)[4..]);
    }

    #[test]
    fn permutations_follow_one_another() {
        let mut order = vec![0, 1, 2, 3];
        let mut count = 1;
        while next_permutation(&mut order) {
            count += 1;
        }
        assert_eq!(count, 24);
    }
}
