//! Queues of work for an engine, by priority.

use std::collections::VecDeque;

use super::Priority;

/// If several priorities wait, one turn in this many goes to the item that has waited longest.
const FAIR_TURN: u32 = 4;

/// Three queues, one for each priority. The first item of the highest priority is next. But every fourth time it is the
/// item that has waited longest of all, so that a batch makes progress beside a stream of urgent requests.
pub(super) struct Lines<T> {
    /// By falling priority, each item with the number of its arrival.
    waiting: [VecDeque<(u64, T)>; 3],
    arrived: u64,
    turns: u32,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { waiting: [VecDeque::new(), VecDeque::new(), VecDeque::new()], arrived: 0, turns: 0 }
    }
}

impl<T> Lines<T> {
    pub(super) fn push(&mut self, priority: Priority, item: T) {
        let line = match priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        self.waiting[line].push_back((self.arrived, item));
        self.arrived += 1;
    }

    #[cfg(any(feature = "local", test))]
    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    #[cfg(feature = "local")]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().flatten().map(|(_, item)| item)
    }

    /// Whether more than one priority waits.
    fn is_mixed(&self) -> bool {
        self.waiting.iter().filter(|line| !line.is_empty()).count() > 1
    }

    /// The queue whose turn it is.
    fn line(&self) -> Option<usize> {
        if self.is_mixed() && self.turns % FAIR_TURN == FAIR_TURN - 1 {
            let longest = |line: &usize| self.waiting[*line].front().map_or(u64::MAX, |(arrival, _)| *arrival);
            return (0..self.waiting.len()).min_by_key(longest);
        }
        self.waiting.iter().position(|line| !line.is_empty())
    }

    /// The next item.
    pub(super) fn first(&self) -> Option<&T> {
        self.waiting[self.line()?].front().map(|(_, item)| item)
    }

    /// Takes the next item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let line = self.line()?;
        self.turns = self.turns.wrapping_add(u32::from(self.is_mixed()));
        self.waiting[line].pop_front().map(|(_, item)| item)
    }

    /// Takes out the item that matches.
    #[cfg(any(feature = "local", feature = "trtllm", test))]
    pub(super) fn remove(&mut self, matches: impl Fn(&T) -> bool) -> Option<T> {
        self.waiting.iter_mut().find_map(|line| {
            let place = line.iter().position(|(_, item)| matches(item))?;
            line.remove(place).map(|(_, item)| item)
        })
    }

    /// Takes out the items that match.
    #[cfg(any(feature = "local", test))]
    pub(super) fn extract(&mut self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for line in &mut self.waiting {
            if line.iter().any(|(_, item)| matches(item)) {
                let (out, left) =
                    std::mem::take(line).into_iter().partition::<VecDeque<_>, _>(|(_, item)| matches(item));
                *line = left;
                taken.extend(out);
            }
        }
        taken.sort_by_key(|(arrival, _)| *arrival);
        taken.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgent_go_first_and_nobody_starves() {
        let mut lines = Lines::default();
        for number in 0..4 {
            lines.push(Priority::Low, number);
        }
        lines.push(Priority::Normal, 10);
        for number in 20..26 {
            lines.push(Priority::High, number);
        }
        let order: Vec<_> = std::iter::from_fn(|| {
            let first = lines.first().copied();
            assert_eq!(first, lines.pop());
            first
        })
        .collect();
        assert_eq!(order, [20, 21, 22, 0, 23, 24, 25, 1, 10, 2, 3]);
    }

    #[test]
    fn one_priority_is_a_queue() {
        let mut lines = Lines::default();
        (0..9).for_each(|number| lines.push(Priority::Normal, number));
        assert_eq!(lines.remove(|number| *number == 4), Some(4));
        assert_eq!(lines.extract(|number| number % 4 == 1), [1, 5]);
        assert_eq!(lines.len(), 6);
        assert_eq!(std::iter::from_fn(|| lines.pop()).collect::<Vec<_>>(), [0, 2, 3, 6, 7, 8]);
    }
}
