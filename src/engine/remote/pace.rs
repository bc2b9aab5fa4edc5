//! How a server is spared: when it may get the next request, and when a failed request is sent again. Pure types: the
//! caller passes the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A server that failed gets no requests for this long first, then for twice as long, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Longest wait before a retry.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// Stops requests to a server that fails again and again, and lets one trial request through after a rest.
#[derive(Debug)]
pub(super) struct Breaker {
    max_failures: u32,
    failures: u32,
    /// How often it has opened since the last success.
    trips: u32,
    rests_until: Option<Instant>,
    /// Whether the trial request is in progress.
    trying: bool,
}

impl Breaker {
    pub(super) fn new(max_failures: u32) -> Self {
        Self { max_failures, failures: 0, trips: 0, rests_until: None, trying: false }
    }

    /// Whether a request may be sent; if not, from when on one may.
    pub(super) fn allows(&self, now: Instant) -> Result<(), Option<Instant>> {
        match self.rests_until {
            Some(until) if until > now => Err(Some(until)),
            Some(_) if self.trying => Err(None),
            _ => Ok(()),
        }
    }

    /// Whether it stops requests.
    pub(super) fn is_open(&self) -> bool {
        self.rests_until.is_some()
    }

    /// A request is sent.
    pub(super) fn begin(&mut self) {
        self.trying = self.is_open();
    }

    /// A request has succeeded.
    pub(super) fn succeed(&mut self) {
        *self = Self::new(self.max_failures);
    }

    /// A request has failed by the server's fault.
    pub(super) fn fail(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.max_failures && (self.trying || !self.is_open()) {
            let rest = FIRST_REST.saturating_mul(1 << self.trips.min(10)).min(LONGEST_REST);
            self.trips += 1;
            self.rests_until = Some(now + rest);
        }
        self.trying = false;
    }

    /// A request has ended that says nothing about the server.
    pub(super) fn end(&mut self) {
        self.trying = false;
    }
}

/// At most this many requests in any period.
#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    period: Duration,
    begun: VecDeque<Instant>,
}

impl Window {
    /// A `limit` of 0 means no limit.
    pub(super) fn new(limit: usize, period: Duration) -> Self {
        Self { limit, period, begun: VecDeque::new() }
    }

    /// From when on a request may be sent, if it may not be sent now.
    pub(super) fn blocked_until(&mut self, now: Instant) -> Option<Instant> {
        while self.begun.front().is_some_and(|&begun| now.saturating_duration_since(begun) >= self.period) {
            self.begun.pop_front();
        }
        (self.limit > 0 && self.begun.len() >= self.limit)
            .then(|| self.begun.front().map_or(now, |&first| first + self.period))
    }

    /// A request is sent.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.limit > 0 {
            self.begun.push_back(now);
        }
    }
}

/// How long a request waits before it is sent again for the `tries`th time, from 1. `random` is from 0 to 1, so that
/// requests that failed together do not come back together.
pub(super) fn delay(tries: u32, first: Duration, random: f64) -> Duration {
    let longest = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_DELAY);
    longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// Numbers from 0 to 1 that are good enough to spread retries.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> f64 {
        let bits = mixed(self.0);
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
        let number = (bits >> 11) as f64 / (1_u64 << 53) as f64;
        number
    }
}

/// Mixes the bits of a number (splitmix64).
pub(super) fn mixed(value: u64) -> u64 {
    let mut bits = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_breaker_opens_lets_one_try_and_closes() {
        let now = Instant::now();
        let mut breaker = Breaker::new(2);
        breaker.fail(now);
        assert!(breaker.allows(now).is_ok());
        breaker.fail(now);
        assert_eq!(breaker.allows(now), Err(Some(now + FIRST_REST)));
        // Requests that were in progress fail too: the rest is not extended.
        breaker.fail(now + FIRST_REST / 2);
        assert_eq!(breaker.allows(now), Err(Some(now + FIRST_REST)));
        let later = now + FIRST_REST;
        assert!(breaker.allows(later).is_ok());
        breaker.begin();
        assert_eq!(breaker.allows(later), Err(None));
        breaker.fail(later);
        assert_eq!(breaker.allows(later), Err(Some(later + FIRST_REST * 2)));
        breaker.begin();
        breaker.end();
        assert!(breaker.allows(later + SECOND * 5).is_ok());
        breaker.begin();
        breaker.succeed();
        assert!(!breaker.is_open() && breaker.allows(now).is_ok());
    }

    #[test]
    fn a_rest_has_its_longest() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(1);
        for _ in 0..100 {
            breaker.begin();
            breaker.fail(now);
            let Err(Some(until)) = breaker.allows(now) else { panic!("it is closed") };
            assert!(until - now <= LONGEST_REST);
            now = until;
        }
    }

    #[test]
    fn no_period_has_more_than_its_limit() {
        let start = Instant::now();
        let mut window = Window::new(3, SECOND);
        let mut begun: Vec<Instant> = Vec::new();
        for step in 0..200 {
            let now = start + Duration::from_millis(50 * step);
            while window.blocked_until(now).is_none() {
                window.begin(now);
                begun.push(now);
            }
            assert!(begun.iter().filter(|&&at| now.saturating_duration_since(at) < SECOND).count() <= 3);
        }
        assert_eq!(begun.len(), 30);
        assert_eq!(Window::new(0, SECOND).blocked_until(start), None);
    }

    #[test]
    fn retries_wait_longer_and_not_all_as_long() {
        let first = Duration::from_millis(100);
        assert_eq!(delay(1, first, 1.0), first);
        assert_eq!(delay(3, first, 0.0), first * 2);
        assert_eq!(delay(60, first, 1.0), LONGEST_DELAY);
        let mut dice = Dice::new(1);
        let rolls: Vec<f64> = (0..1000).map(|_| dice.roll()).collect();
        assert!(rolls.iter().all(|roll| (0.0..1.0).contains(roll)));
        assert!((rolls.iter().sum::<f64>() / 1000.0 - 0.5).abs() < 0.05);
    }
}
