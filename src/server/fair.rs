//! Whose turn it is: waiting judgments, fair between keys, by priority. No clock, no threads.

use std::collections::{HashMap, VecDeque};

use super::config::Priority;

/// One turn in this many goes to the lowest priority that waits, so that nobody starves.
const LOWEST_EVERY: u64 = 8;

/// The waiting judgments. Keys with the same priority take turns; within a key the first comes first.
pub(super) struct Fair<T> {
    classes: [Class<T>; 3],
    waiting: usize,
    limit: usize,
    turns: u64,
    next: u64,
}

struct Class<T> {
    /// Keys with something waiting, the next one first.
    ring: VecDeque<usize>,
    lines: HashMap<usize, VecDeque<(u64, T)>>,
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self { ring: VecDeque::new(), lines: HashMap::new() }
    }
}

/// The result of queueing a judgment.
pub(super) enum Pushed<T> {
    /// It waits, under this number.
    Waits(u64),
    /// It waits, and replaces the newest judgment of a key that had many more.
    Instead(u64, T),
    /// There is no room.
    Full(T),
}

fn index(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

impl<T> Fair<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { classes: Default::default(), waiting: 0, limit, turns: 0, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Queues a judgment. If the queue is full, the key with the most waiting judgments gives up its newest one, provided that it
    /// has at least two more than this key.
    pub(super) fn push(&mut self, priority: Priority, key: usize, item: T) -> Pushed<T> {
        let mut instead = None;
        if self.waiting >= self.limit {
            let mine: usize = self.classes.iter().filter_map(|class| class.lines.get(&key)).map(VecDeque::len).sum();
            let lines = self
                .classes
                .iter()
                .enumerate()
                .flat_map(|(class, queue)| queue.lines.iter().map(move |(key, line)| (line.len(), class, *key)));
            match lines.max() {
                Some((most, class, heavy)) if heavy != key && most > mine + 1 => {
                    instead =
                        self.classes[class].lines.get_mut(&heavy).and_then(VecDeque::pop_back).map(|(_, item)| item);
                    self.waiting -= 1;
                }
                _ => return Pushed::Full(item),
            }
        }
        let number = self.next;
        self.next += 1;
        self.waiting += 1;
        let class = &mut self.classes[index(priority)];
        let line = class.lines.entry(key).or_default();
        if line.is_empty() && !class.ring.contains(&key) {
            class.ring.push_back(key);
        }
        line.push_back((number, item));
        match instead {
            Some(item) => Pushed::Instead(number, item),
            None => Pushed::Waits(number),
        }
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.turns += 1;
        let lowest_first = self.turns.is_multiple_of(LOWEST_EVERY);
        let order = if lowest_first { [2, 1, 0] } else { [0, 1, 2] };
        let item = order.into_iter().find_map(|class| self.classes[class].pop())?;
        self.waiting -= 1;
        Some(item)
    }

    /// Removes a judgment that no longer waits.
    pub(super) fn remove(&mut self, priority: Priority, key: usize, number: u64) -> Option<T> {
        let line = self.classes[index(priority)].lines.get_mut(&key)?;
        let at = line.iter().position(|(other, _)| *other == number)?;
        self.waiting -= 1;
        line.remove(at).map(|(_, item)| item)
    }

    /// How many judgments start before this one, as things stand: those of its key before it, as many of each other key in its
    /// class, and all of the classes above.
    pub(super) fn place(&self, priority: Priority, key: usize, number: u64) -> Option<usize> {
        let class = index(priority);
        let ahead = self.classes[class].lines.get(&key)?.iter().position(|(other, _)| *other == number)?;
        let above: usize = self.classes[..class].iter().flat_map(|class| class.lines.values()).map(VecDeque::len).sum();
        let beside: usize = self.classes[class]
            .lines
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(_, line)| line.len().min(ahead + 1))
            .sum();
        Some(above + ahead + beside)
    }
}

impl<T> Class<T> {
    fn pop(&mut self) -> Option<T> {
        while let Some(key) = self.ring.pop_front() {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let item = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&key);
            } else {
                self.ring.push_back(key);
            }
            if let Some((_, item)) = item {
                return Some(item);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(fair: &mut Fair<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| fair.pop()).collect()
    }

    #[test]
    fn keys_take_turns_and_a_key_keeps_its_order() {
        let mut fair = Fair::new(10);
        for (key, item) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (3, "c1"), (2, "b2")] {
            fair.push(Priority::Normal, key, item);
        }
        assert_eq!(all(&mut fair), ["a1", "b1", "c1", "a2", "b2", "a3"]);
        assert_eq!(fair.len(), 0);
        assert!(
            fair.classes.iter().all(|class| class.lines.is_empty() && class.ring.is_empty()),
            "nothing is left over"
        );
    }

    #[test]
    fn a_high_priority_goes_first_and_a_low_one_does_not_starve() {
        let mut fair = Fair::new(100);
        for _ in 0..20 {
            fair.push(Priority::High, 1, "high");
        }
        fair.push(Priority::Low, 2, "low");
        let order = all(&mut fair);
        assert_eq!(order.iter().position(|item| *item == "low"), Some(7), "{order:?}");
    }

    #[test]
    fn a_full_queue_makes_room_for_a_key_that_has_little() {
        let mut fair = Fair::new(3);
        for item in ["a1", "a2", "a3"] {
            assert!(matches!(fair.push(Priority::Normal, 1, item), Pushed::Waits(_)));
        }
        assert!(matches!(fair.push(Priority::Normal, 1, "a4"), Pushed::Full("a4")));
        assert!(matches!(fair.push(Priority::Normal, 2, "b1"), Pushed::Instead(_, "a3")));
        assert!(matches!(fair.push(Priority::Normal, 2, "b2"), Pushed::Full("b2")));
        assert_eq!(all(&mut fair), ["a1", "b1", "a2"]);
    }

    #[test]
    fn a_place_counts_what_comes_before() {
        let mut fair = Fair::new(10);
        let number = |pushed| match pushed {
            Pushed::Waits(number) => number,
            _ => unreachable!("there is room"),
        };
        number(fair.push(Priority::High, 9, "h"));
        number(fair.push(Priority::Normal, 1, "a1"));
        let second = number(fair.push(Priority::Normal, 1, "a2"));
        let other = number(fair.push(Priority::Normal, 2, "b1"));
        assert_eq!(fair.place(Priority::Normal, 1, second), Some(3), "h, a1 and b1");
        assert_eq!(fair.place(Priority::Normal, 2, other), Some(2), "h and a1");
        assert_eq!(fair.remove(Priority::Normal, 1, second), Some("a2"));
        assert_eq!(fair.place(Priority::Normal, 1, second), None);
        assert_eq!(all(&mut fair), ["h", "a1", "b1"]);
    }
}
