//! Masking: the judge sees `model-1`…`model-N` in a permuted order, so that neither a name nor a place can sway it.

use std::collections::HashSet;

use crate::config::Mask;
use crate::error::{Error, ErrorKind, Result};

/// How the responses of a request are shown to the judge, and the way back.
///
/// There are three orders: that of the request (`names`), that in which the judge sees the responses (`shown`), and the
/// judge's ranking. Positions in the first two are plain indices here; names are compared nowhere after this point.
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
    /// Where the three do not have one length: all callers build them together.
    pub fn new(names: Vec<String>, shown: Vec<String>, order: Vec<usize>) -> Self {
        assert!(names.len() == shown.len() && names.len() == order.len(), "an alias map has one entry a response");
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

/// Masks `names` (in the order of the request): `prefix` and a number from 1 stand for each, in the order that `mode`
/// says; `seed` counts for [`Mask::Shuffle`] alone.
///
/// The shuffle is the one that Python's `random.seed(seed); random.shuffle(responses)` gives, for every seed.
pub fn mask(names: Vec<String>, prefix: &str, mode: Mask, seed: u64) -> AliasMap {
    let mut order: Vec<usize> = (0..names.len()).collect();
    match mode {
        Mask::Off => return AliasMap::identity(names),
        Mask::Given => {}
        Mask::Shuffle => MersenneTwister::from_seed(seed).shuffle(&mut order),
    }
    let shown = (1..=names.len()).map(|number| format!("{prefix}{number}")).collect();
    AliasMap::new(names, shown, order)
}

/// Words of state of MT19937.
const STATE: usize = 624;
/// Distance of the word that is mixed in when the state is renewed.
const SHIFT: usize = 397;

/// MT19937 (Matsumoto and Nishimura, 1998), seeded and drawn from as Python's `random` does.
struct MersenneTwister {
    state: [u32; STATE],
    next: usize,
}

impl MersenneTwister {
    /// Seeds by the words of `seed`, least significant first, without leading zero words.
    fn from_seed(seed: u64) -> Self {
        let words = seed.to_le_bytes();
        let low = u32::from_le_bytes([words[0], words[1], words[2], words[3]]);
        let high = u32::from_le_bytes([words[4], words[5], words[6], words[7]]);
        if high == 0 { Self::from_key(&[low]) } else { Self::from_key(&[low, high]) }
    }

    fn from_word(seed: u32) -> Self {
        let mut state = [seed; STATE];
        let mut previous = seed;
        for (word, index) in state.iter_mut().zip(0_u32..).skip(1) {
            previous = 1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(index);
            *word = previous;
        }
        Self { state, next: STATE }
    }

    fn from_key(key: &[u32]) -> Self {
        let mut this = Self::from_word(19_650_218);
        let state = &mut this.state;
        let mut at = 1;
        let wrap = |state: &mut [u32; STATE], at: usize| {
            if at == STATE {
                state[0] = state[STATE - 1];
                1
            } else {
                at
            }
        };
        // The key is gone through as often as it takes to touch every word; it is never longer than the state here.
        for (number, word) in (0_u32..).zip(key).cycle().take(STATE) {
            let mixed = (state[at - 1] ^ (state[at - 1] >> 30)).wrapping_mul(1_664_525);
            state[at] = (state[at] ^ mixed).wrapping_add(*word).wrapping_add(number);
            at = wrap(state, at + 1);
        }
        for _ in 1..STATE {
            let mixed = (state[at - 1] ^ (state[at - 1] >> 30)).wrapping_mul(1_566_083_941);
            let index = u32::try_from(at).expect("the state has 624 words");
            state[at] = (state[at] ^ mixed).wrapping_sub(index);
            at = wrap(state, at + 1);
        }
        state[0] = 0x8000_0000;
        this
    }

    fn renew(&mut self) {
        for at in 0..STATE {
            let joined = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % STATE] & 0x7fff_ffff);
            let twist = if joined & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[at] = self.state[(at + SHIFT) % STATE] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }

    fn word(&mut self) -> u32 {
        if self.next == STATE {
            self.renew();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number under `bound` (1 to 2^32 - 1): as many high bits as `bound` has, drawn again while they reach it.
    fn below(&mut self, bound: u32) -> u32 {
        let unused = bound.leading_zeros();
        loop {
            let drawn = self.word() >> unused;
            if drawn < bound {
                return drawn;
            }
        }
    }

    fn shuffle(&mut self, order: &mut [usize]) {
        for place in (1..order.len()).rev() {
            let bound = u32::try_from(place + 1).expect("fewer responses than 2^32");
            let other = self.below(bound) as usize;
            order.swap(place, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("r{index}")).collect()
    }

    #[test]
    fn words_are_those_of_the_published_generator() {
        // The first outputs of the authors' `mt19937ar` test, whose key is 0x123, 0x234, 0x345, 0x456.
        let mut generator = MersenneTwister::from_key(&[0x123, 0x234, 0x345, 0x456]);
        let words: Vec<u32> = (0..5).map(|_| generator.word()).collect();
        assert_eq!(words, [1_067_595_299, 955_945_823, 477_289_528, 4_107_218_783, 4_228_976_476]);
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
