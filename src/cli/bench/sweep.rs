//! Finds the highest rate under which the objectives hold: first a bracket, then bisection.

use super::point::Swept;

/// The result of trying a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tried {
    pub(super) held: bool,
    /// Whether the result is certain: more judgments would hardly change it.
    pub(super) sure: bool,
    /// Ended by the user.
    pub(super) interrupted: bool,
}

/// How the search begins, and when it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// The most judgments per second that the target has done.
    pub(super) capacity: f64,
    /// It ends when the rates that were held and missed differ by less than this share.
    pub(super) tolerance: f64,
    /// Most rates that are tried.
    pub(super) trials: usize,
}

/// The lowest rate that is tried, as a share of the capacity.
const LOWEST: f64 = 1.0 / 64.0;

/// Searches. `attempt` puts a rate on the target and returns the result.
pub(super) fn search(search: Search, mut attempt: impl FnMut(f64) -> Tried) -> Swept {
    let Search { capacity, tolerance, trials } = search;
    let mut found = Swept { objectives: Vec::new(), held: None, missed: None, trials: 0, interrupted: false };
    let mut rate = capacity * 0.7;
    while found.trials < trials {
        let tried = attempt(rate);
        if tried.interrupted {
            found.interrupted = true;
            break;
        }
        found.trials += 1;
        if tried.held {
            found.held = Some((rate, tried.sure));
        } else {
            found.missed = Some((rate, tried.sure));
        }
        rate = match (found.held, found.missed) {
            (Some((held, _)), Some((missed, _))) if missed / held <= 1.0 + tolerance => break,
            (Some((held, _)), Some((missed, _))) => (held * missed).sqrt(),
            (Some((held, _)), None) => held * 1.4,
            (None, Some((missed, _))) if missed <= capacity * LOWEST => break,
            (None, Some((missed, _))) => missed / 2.0,
            (None, None) => break,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limit: f64, tolerance: f64, trials: usize) -> (Swept, Vec<f64>) {
        let mut rates = Vec::new();
        let found = search(Search { capacity: 10.0, tolerance, trials }, |rate| {
            rates.push(rate);
            Tried { held: rate <= limit, sure: true, interrupted: false }
        });
        (found, rates)
    }

    #[test]
    fn the_highest_rate_is_found_wherever_it_lies() {
        for limit in [0.3, 1.0, 5.0, 7.0, 9.9, 11.0, 37.0] {
            let (found, rates) = run(limit, 0.05, 40);
            let (held, missed) = (found.held.unwrap().0, found.missed.unwrap().0);
            assert!(held <= limit && missed > limit && missed / held <= 1.05, "{limit}: {held} {missed}");
            assert!(rates.len() <= 15, "{limit}: {rates:?}");
        }
    }

    #[test]
    fn a_target_that_never_holds_ends_the_search() {
        let (found, rates) = run(0.0, 0.05, 40);
        assert_eq!(found.held, None);
        assert!(rates.len() <= 8, "{rates:?}");
    }

    #[test]
    fn the_number_of_trials_is_bounded() {
        assert_eq!(run(f64::INFINITY, 0.05, 6).0.trials, 6);
        assert_eq!(run(7.7, 1e-9, 9).0.trials, 9);
    }

    #[test]
    fn an_interruption_keeps_what_was_found() {
        let mut left = 3;
        let found = search(Search { capacity: 10.0, tolerance: 0.01, trials: 40 }, |rate| {
            left -= 1;
            Tried { held: rate < 8.0, sure: false, interrupted: left == 0 }
        });
        assert!(found.interrupted && found.trials == 2);
        assert!(!found.held.unwrap().1 && found.missed.is_some());
    }
}
