//! When judgments are due, and the random numbers behind it: the same seed gives the same times everywhere.

use std::time::Duration;

/// A small generator (`SplitMix64`): good enough for arrivals and texts, and the same on every machine.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A generator for one purpose: the same seed gives other numbers for another `purpose`.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number above 0 and below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    pub(super) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A whole number below `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from((u128::from(self.next()) * end as u128) >> 64).unwrap_or(0)
    }

    /// A draw of the exponential distribution with mean 1.
    fn exponential(&mut self) -> f64 {
        -self.unit().ln()
    }

    /// A draw of the normal distribution (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        let (radius, angle) = ((2.0 * self.exponential()).sqrt(), std::f64::consts::TAU * self.unit());
        radius * angle.cos()
    }

    /// A draw of the gamma distribution with this shape, at least 1, and scale 1 (Marsaglia and Tsang).
    pub(super) fn gamma(&mut self, shape: f64) -> f64 {
        let base = shape - 1.0 / 3.0;
        let spread = 1.0 / (9.0 * base).sqrt();
        loop {
            let normal = self.normal();
            let cube = (1.0 + spread * normal).powi(3);
            if cube > 0.0 && self.unit().ln() < 0.5 * normal * normal + base * (1.0 - cube + cube.ln()) {
                return base * cube;
            }
        }
    }
}

/// How judgments of an open loop arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Arrivals {
    /// Independent of each other, like those of many users.
    Poisson,
    /// Several at the same moment (--burst); the bursts are independent of each other.
    Bursty,
    /// At equal distances.
    Even,
}

impl Arrivals {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Poisson => "poisson",
            Self::Bursty => "bursty",
            Self::Even => "even",
        }
    }
}

/// The times of an open loop, from its start on. They never depend on how fast answers come.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    random: Random,
    arrivals: Arrivals,
    /// Seconds from one judgment to the next, on average.
    distance: f64,
    burst: u32,
    /// Judgments of the current burst that are still to come.
    left: u32,
    at: f64,
}

impl Schedule {
    /// `rate` judgments per second on average; `burst` of them at once if arrivals are bursty.
    pub(super) fn new(arrivals: Arrivals, rate: f64, burst: u32, seed: u64) -> Self {
        let burst = if arrivals == Arrivals::Bursty { burst.max(1) } else { 1 };
        Self { random: Random::new(seed, 1), arrivals, distance: 1.0 / rate, burst, left: 0, at: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.left == 0 {
            self.left = self.burst;
            let draw = if self.arrivals == Arrivals::Even { 1.0 } else { self.random.exponential() };
            self.at += draw * self.distance * f64::from(self.burst);
        }
        self.left -= 1;
        Duration::try_from_secs_f64(self.at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(arrivals: Arrivals, seed: u64) -> Vec<f64> {
        Schedule::new(arrivals, 50.0, 8, seed).take(20_000).map(|at| at.as_secs_f64()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_times() {
        assert_eq!(times(Arrivals::Poisson, 3), times(Arrivals::Poisson, 3));
        assert_ne!(times(Arrivals::Poisson, 3), times(Arrivals::Poisson, 4));
    }

    #[test]
    fn every_kind_of_arrival_keeps_the_rate() {
        for arrivals in [Arrivals::Poisson, Arrivals::Bursty, Arrivals::Even] {
            let times = times(arrivals, 7);
            let rate = 20_000.0 / times[19_999];
            assert!((48.0..52.0).contains(&rate), "{arrivals:?}: {rate}");
            assert!(times.is_sorted());
        }
    }

    #[test]
    fn distances_are_spread_as_their_kind_says() {
        let spread = |arrivals| {
            let times = times(arrivals, 11);
            let gaps: Vec<f64> = times.windows(2).map(|two| two[1] - two[0]).collect();
            let mean = gaps.iter().sum::<f64>() / 19_999.0;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 19_999.0;
            variance.sqrt() / mean
        };
        assert!(spread(Arrivals::Even) < 1e-6);
        assert!((0.97..1.03).contains(&spread(Arrivals::Poisson)));
        assert!(spread(Arrivals::Bursty) > 3.0);
        let bursts = times(Arrivals::Bursty, 1);
        assert!(bursts.chunks(8).all(|burst| burst.iter().all(|at| at.to_bits() == burst[0].to_bits())));
    }

    #[test]
    fn draws_have_the_mean_of_their_distribution() {
        let mut random = Random::new(5, 2);
        let count = 20_000;
        let mean = |draw: &mut dyn FnMut() -> f64| (0..count).map(|_| draw()).sum::<f64>() / f64::from(count);
        assert!(mean(&mut || random.normal()).abs() < 0.03);
        for shape in [1.0, 4.5, 900.0] {
            let got = mean(&mut || random.gamma(shape));
            assert!((got / shape - 1.0).abs() < 0.03, "{shape}: {got}");
        }
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
