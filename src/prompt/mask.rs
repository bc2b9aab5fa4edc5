//! Masking: the judge sees `model-1`…`model-N` in a permuted order, so that neither a name nor a place can influence it.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::config::Mask;
use crate::error::{Error, ErrorKind, Result};

use super::mersenne::MersenneTwister;

/// How the responses of a request are shown to the judge, and the way back.
///
/// There are three orders: that of the request (`names`), that in which the judge sees the responses (`shown`), and the
/// judge's ranking. Positions in the first two are plain indices here; after this point names are never compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMap {
    names: Vec<String>,
    shown: Vec<String>,
    order: Vec<usize>,
}

impl AliasMap {
    /// A map of `names` (in the order of the request) whose `order[i]` is the index of the response shown at place `i`
    /// under the name `shown[i]`.
    ///
    /// # Panics
    /// If the three differ in length: all callers build them together.
    pub fn new(names: Vec<String>, shown: Vec<String>, order: Vec<usize>) -> Self {
        assert!(
            names.len() == shown.len() && names.len() == order.len(),
            "an alias map has one entry for each response"
        );
        Self { names, shown, order }
    }

    /// The map that masks nothing: real names in the order given.
    pub fn identity(names: Vec<String>) -> Self {
        let order = (0..names.len()).collect();
        Self { shown: names.clone(), names, order }
    }

    /// Number of responses.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no responses.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The real names in the order of the request.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names that the judge sees, in the order it sees them.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// Index into the request of the response shown at `place`.
    pub fn request_index(&self, place: usize) -> usize {
        self.order[place]
    }

    /// The index into the request of the response at each place.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The real names in the order of the request, the names that the judge sees in the order it sees them, and the index into
    /// the request of each of these.
    pub(crate) fn into_parts(self) -> (Vec<String>, Vec<String>, Vec<usize>) {
        (self.names, self.shown, self.order)
    }

    /// Pairs of shown name and real name, in the order shown.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shown.iter().zip(&self.order).map(|(shown, &index)| (shown.as_str(), self.names[index].as_str()))
    }
}

/// Checks that there are names, each given once.
///
/// # Errors
/// [`ErrorKind::InvalidRequest`] naming the one that is given twice.
pub fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::new(ErrorKind::InvalidRequest, "there are no names: a verdict is read for at least one"));
    }
    let mut seen = HashSet::with_capacity(names.len());
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        None => Ok(()),
        Some(twice) => Err(Error::new(ErrorKind::InvalidRequest, format!("the name {twice:?} is given twice"))),
    }
}

/// Masks `names` (in the order of the request): each is replaced by `prefix` and a number from 1, in the order that `mode`
/// says; only [`Mask::Shuffle`] uses `seed`.
///
/// The shuffle is the one that Python's `random.seed(seed); random.shuffle(responses)` gives, for every seed.
pub fn mask(names: Vec<String>, prefix: &str, mode: Mask, seed: u64) -> AliasMap {
    let order = order(names.len(), mode, seed);
    in_order(names, prefix, mode, order)
}

/// The order in which [`mask`] shows so many names.
pub(crate) fn order(count: usize, mode: Mask, seed: u64) -> Vec<usize> {
    match mode {
        Mask::Off | Mask::Given => (0..count).collect(),
        Mask::Shuffle => shuffled(count, seed),
    }
}

/// As [`mask`], in this order.
pub(crate) fn in_order(names: Vec<String>, prefix: &str, mode: Mask, order: Vec<usize>) -> AliasMap {
    let shown = match mode {
        Mask::Off => order.iter().map(|&index| names[index].clone()).collect(),
        Mask::Given | Mask::Shuffle => (1..=names.len()).map(|number| numbered(prefix, number)).collect(),
    };
    AliasMap::new(names, shown, order)
}

/// `prefix` and the number. Every judgment names its responses, mostly fewer than ten: one digit needs no formatting.
fn numbered(prefix: &str, number: usize) -> String {
    let mut name = String::with_capacity(prefix.len() + 4);
    name.push_str(prefix);
    if let Some(digit) = u32::try_from(number).ok().and_then(|number| char::from_digit(number, 10)) {
        name.push(digit);
    } else {
        let _ = write!(name, "{number}");
    }
    name
}

/// The same responses, named by letters from A on.
pub(crate) fn by_letters(aliases: AliasMap) -> AliasMap {
    let shown = ('A'..='Z').take(aliases.len()).map(String::from).collect();
    AliasMap { shown, ..aliases }
}

/// The first `count` numbers as Python's `random.seed(seed); random.shuffle(...)` orders them.
pub(crate) fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    MersenneTwister::from_seed(seed).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("r{index}")).collect()
    }

    #[test]
    fn modes_differ_in_order_and_names_only() {
        let off = mask(names(3), "model-", Mask::Off, 42);
        assert_eq!(off, AliasMap::identity(names(3)));
        let given = mask(names(3), "a", Mask::Given, 42);
        assert_eq!(given.pairs().collect::<Vec<_>>(), [("a1", "r0"), ("a2", "r1"), ("a3", "r2")]);
        let shuffled = mask(names(40), "model-", Mask::Shuffle, 42);
        let mut order: Vec<usize> = (0..40).map(|place| shuffled.request_index(place)).collect();
        assert_ne!(order, (0..40).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..40).collect::<Vec<_>>());
        assert_eq!(shuffled.shown()[39], "model-40");
    }

    #[test]
    fn an_empty_and_a_single_list_shuffle_to_themselves() {
        assert!(mask(Vec::new(), "m", Mask::Shuffle, 42).is_empty());
        assert_eq!(mask(names(1), "m", Mask::Shuffle, u64::MAX).request_index(0), 0);
    }
}
