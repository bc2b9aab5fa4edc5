//! Decides which samples go together. It has no clock: whoever opens a group closes it when its window ends.

use std::collections::HashMap;
use std::hash::Hash;

/// One text, and all who want its score.
pub(super) struct Sample<W> {
    pub(super) text: String,
    pub(super) waiters: Vec<W>,
}

/// A group that is to be judged.
pub(super) struct Closed<K, W> {
    pub(super) key: K,
    pub(super) samples: Vec<Sample<W>>,
}

/// What happened to a sample.
pub(super) enum Added<K, W> {
    /// It opened the group with this number: close the group when the window ends.
    Opened(u64),
    /// It waits in a group.
    Waits,
    /// It completed a group, for this reason.
    Closed(Closed<K, W>, &'static str),
    /// Too many samples wait already.
    Full,
}

struct Group<W> {
    number: u64,
    samples: Vec<Sample<W>>,
    /// Samples that have come, duplicates included.
    come: usize,
}

/// The open groups, by what their samples have in common.
pub(super) struct Groups<K, W> {
    open: HashMap<K, Group<W>>,
    size: usize,
    limit: usize,
    waiting: usize,
    next: u64,
}

impl<K: Clone + Eq + Hash, W> Groups<K, W> {
    /// `size` samples complete a group (0: any number); in all groups at most `limit` wait.
    pub(super) fn new(size: usize, limit: usize) -> Self {
        Self { open: HashMap::new(), size, limit, waiting: 0, next: 0 }
    }

    /// Puts a sample into the group of its key. `most` different ones complete a group too.
    pub(super) fn add(&mut self, key: &K, text: String, waiter: W, most: usize) -> Added<K, W> {
        if self.waiting >= self.limit {
            return Added::Full;
        }
        self.waiting += 1;
        let (mut opened, number) = (false, self.next);
        let group = self.open.entry(key.clone()).or_insert_with(|| {
            opened = true;
            Group { number, samples: Vec::new(), come: 0 }
        });
        group.come += 1;
        match group.samples.iter_mut().find(|sample| sample.text == text) {
            Some(same) => same.waiters.push(waiter),
            None => group.samples.push(Sample { text, waiters: vec![waiter] }),
        }
        let full = self.size > 0 && group.come >= self.size;
        let limit = group.samples.len() >= most;
        self.next += u64::from(opened);
        if full || limit {
            let closed = self.take(key);
            return match closed {
                Some(closed) => Added::Closed(closed, if full { "full" } else { "limit" }),
                None => Added::Waits,
            };
        }
        if opened { Added::Opened(number) } else { Added::Waits }
    }

    /// Closes the group of this number, if it is open still.
    pub(super) fn close(&mut self, key: &K, number: u64) -> Option<Closed<K, W>> {
        if self.open.get(key)?.number == number { self.take(key) } else { None }
    }

    fn take(&mut self, key: &K) -> Option<Closed<K, W>> {
        let (key, group) = self.open.remove_entry(key)?;
        self.waiting -= group.come;
        Some(Closed { key, samples: group.samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a, W>(closed: &'a Closed<&'static str, W>) -> Vec<(&'a str, usize)> {
        closed.samples.iter().map(|sample| (sample.text.as_str(), sample.waiters.len())).collect()
    }

    #[test]
    fn a_group_is_complete_with_its_size_and_duplicates_are_judged_once() {
        let mut groups = Groups::new(4, 100);
        let Added::Opened(number) = groups.add(&"p", "a".into(), 1, 8) else { unreachable!("it is the first one") };
        assert!(matches!(groups.add(&"p", "b".into(), 2, 8), Added::Waits));
        assert!(matches!(groups.add(&"other", "b".into(), 3, 8), Added::Opened(_)));
        assert!(matches!(groups.add(&"p", "a".into(), 4, 8), Added::Waits));
        let Added::Closed(closed, "full") = groups.add(&"p", "c".into(), 5, 8) else { unreachable!("four have come") };
        assert_eq!(texts(&closed), [("a", 2), ("b", 1), ("c", 1)]);
        assert!(groups.close(&"p", number).is_none(), "its timer finds it gone");
        assert_eq!(groups.waiting, 1);
    }

    #[test]
    fn a_timer_closes_its_own_group_and_no_later_one() {
        let mut groups = Groups::new(2, 100);
        let Added::Opened(first) = groups.add(&"p", "a".into(), 1, 8) else { unreachable!("it is the first one") };
        assert!(matches!(groups.add(&"p", "b".into(), 2, 8), Added::Closed(..)));
        let Added::Opened(second) = groups.add(&"p", "c".into(), 3, 8) else { unreachable!("the first is closed") };
        assert!(groups.close(&"p", first).is_none());
        assert_eq!(texts(&groups.close(&"p", second).unwrap()), [("c", 1)]);
        assert_eq!((groups.waiting, groups.open.len()), (0, 0));
    }

    #[test]
    fn different_samples_and_waiting_ones_are_bounded() {
        let mut groups = Groups::new(0, 3);
        assert!(matches!(groups.add(&"p", "a".into(), 1, 2), Added::Opened(_)));
        assert!(matches!(groups.add(&"p", "a".into(), 2, 2), Added::Waits));
        assert!(matches!(groups.add(&"p", "b".into(), 3, 2), Added::Closed(_, "limit")));
        for (key, text) in [("p", "a"), ("q", "a"), ("r", "a")] {
            assert!(matches!(groups.add(&key, text.into(), 4, 2), Added::Opened(_)));
        }
        assert!(matches!(groups.add(&"s", "a".into(), 5, 2), Added::Full));
    }
}
