//! How many threads compute a step: all if the machine is free, one if it is busy.
//!
//! The threads of a step wait for each other after every operation, spinning. If another program takes the core of one
//! of them, all wait until it is scheduled again: two threads on a busy machine were measured 10 to 60 times slower
//! than one. The engine's thread detects it by its own clocks: on a free core it computes or spins all the time.

use std::time::{Duration, Instant};

/// If the share of processor time in the time of a step is below this, another program had the core.
const FREE_SHARE: f64 = 0.9;
/// How long one thread computes alone before all threads are tried again. Doubled each time that fails, up to the
/// second bound.
const ALONE: Duration = Duration::from_millis(250);
const ALONE_MOST: Duration = Duration::from_secs(8);
/// Enough time in steps to decide by.
const SAMPLE: Duration = Duration::from_millis(10);

/// Chooses the number of threads, step by step.
pub(super) struct Pace {
    threads: i32,
    /// One thread computes alone until then.
    alone_until: Option<Instant>,
    alone: Duration,
    wall: Duration,
    processor: Duration,
}

impl Pace {
    /// At most `threads` threads compute.
    pub(super) fn new(threads: i32) -> Self {
        Self { threads, alone_until: None, alone: ALONE, wall: Duration::ZERO, processor: Duration::ZERO }
    }

    /// The threads for the step that begins now.
    pub(super) fn threads(&mut self, now: Instant) -> i32 {
        if self.alone_until.is_some_and(|until| now < until) {
            return 1;
        }
        self.alone_until = None;
        self.threads
    }

    /// Records how long a step took, by the clock and in processor time.
    pub(super) fn took(&mut self, now: Instant, wall: Duration, processor: Duration) {
        if self.threads < 2 || self.alone_until.is_some() {
            return;
        }
        self.wall += wall;
        self.processor += processor;
        if self.wall < SAMPLE {
            return;
        }
        if self.processor.as_secs_f64() < self.wall.as_secs_f64() * FREE_SHARE {
            self.alone_until = Some(now + self.alone);
            self.alone = (self.alone * 2).min(ALONE_MOST);
        } else {
            self.alone = ALONE;
        }
        (self.wall, self.processor) = (Duration::ZERO, Duration::ZERO);
    }
}

/// Processor time of the calling thread; `None` if the system does not give it.
#[cfg(unix)]
#[expect(unsafe_code, reason = "reads a clock of the C library")]
pub(super) fn processor_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call only writes the time that it is given.
    let told = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } == 0;
    told.then(|| Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0)))
}

/// Processor time of the calling thread; not measured on this system.
#[cfg(not(unix))]
pub(super) fn processor_time() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    #[test]
    fn a_busy_machine_gets_one_thread_for_longer_and_longer() {
        let (mut pace, start) = (Pace::new(4), Instant::now());
        assert_eq!(pace.threads(start), 4);
        pace.took(start, STEP, STEP);
        assert_eq!(pace.threads(start), 4);
        pace.took(start, STEP, STEP / 2);
        assert_eq!((pace.threads(start), pace.threads(start + ALONE / 2)), (1, 1));
        let later = start + ALONE;
        assert_eq!(pace.threads(later), 4);
        pace.took(later, STEP, STEP / 2);
        assert_eq!(pace.threads(later + ALONE), 1);
        assert_eq!(pace.threads(later + ALONE * 2), 4);
    }

    #[test]
    fn a_free_machine_forgets_that_it_was_busy() {
        let (mut pace, mut now) = (Pace::new(2), Instant::now());
        for _ in 0..3 {
            pace.took(now, STEP, STEP / 2);
            now += ALONE_MOST;
            assert_eq!(pace.threads(now), 2);
        }
        pace.took(now, STEP, STEP);
        pace.took(now, STEP, STEP / 2);
        assert_eq!(pace.threads(now + ALONE), 2);
    }

    #[test]
    fn the_clock_of_the_processor_goes_on_while_it_computes() {
        let Some(start) = processor_time() else { return };
        while processor_time().unwrap() == start {
            std::hint::spin_loop();
        }
    }
}
